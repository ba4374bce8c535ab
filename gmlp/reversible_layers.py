"""Lesson 10, reversible layers: forget the activations, and compute them again on the way back."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.utils.checkpoint import get_device_states, set_device_states

from gmlp.layer_dropout import check_survival, dropout_layers
from gmlp.ops import Cache, step

Kwargs = dict[str, Any]


class ReversibleBlock(nn.Module):
    r"""Two streams, each changed by a function of the other, so that both can be computed back.

    .. math:: y_1 = x_1 + f(x_2), \quad y_2 = x_2 + g(y_1)
              \qquad\Longleftrightarrow\qquad
              x_2 = y_2 - g(y_1), \quad x_1 = y_1 - f(x_2)

    Args:
        f, g: modules that keep the shape of their input; nothing else is asked of them.

    Shapes:
        two tensors ``(b, n, d)`` in, two out.

    Source: Gomez et al. 2017, "The Reversible Residual Network" (arXiv 1707.04585), equations 6
    and 7.
    """

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        self.f = f
        self.g = g

    def forward(
        self, x1: Tensor, x2: Tensor, f_kwargs: Kwargs | None = None, g_kwargs: Kwargs | None = None
    ) -> tuple[Tensor, Tensor]:
        y1 = x1 + self.f(x2, **(f_kwargs or {}))
        y2 = x2 + self.g(y1, **(g_kwargs or {}))
        return y1, y2

    def inverse(
        self, y1: Tensor, y2: Tensor, f_kwargs: Kwargs | None = None, g_kwargs: Kwargs | None = None
    ) -> tuple[Tensor, Tensor]:
        """The inputs that led to these outputs, but for rounding (and dropout, if there is any)."""
        x2 = y2 - self.g(y1, **(g_kwargs or {}))
        x1 = y1 - self.f(x2, **(f_kwargs or {}))
        return x1, x2


class ReversibleSequence(nn.Module):
    r"""Reversible blocks on a doubled stream; only the last activations are kept for backward.

    Both streams start as ``x`` and are added up at the end. On the way back each block computes its
    inputs from its outputs, runs ``f`` and ``g`` once more, with the same random numbers and the
    same autocast, and takes their gradients. Memory does not grow with depth; time grows by one
    forward pass.

    Args:
        blocks: pairs ``(f, g)``, or blocks.
        prob_survival: the chance of a block to take part in a training pass.
        recompute: ``False`` lets autograd keep everything, as usual; the gradients are the same.

    Shapes:
        ``(b, n, d) -> (b, n, d)``. ``f_kwargs`` and ``g_kwargs`` are passed on to each ``f`` and
        each ``g``; tensors in them get their gradients too.

    Raises:
        ValueError: a probability outside ``(0, 1]``.

    Source: Gomez et al. 2017, algorithm 1; Kitaev et al. 2020 (arXiv 2001.04451), section 3.
    """

    def __init__(
        self,
        blocks: Iterable[ReversibleBlock | Iterable[nn.Module]],
        *,
        prob_survival: float = 1.0,
        recompute: bool = True,
    ) -> None:
        check_survival(prob_survival)
        super().__init__()
        self.blocks: Iterable[ReversibleBlock] = nn.ModuleList(  # type: ignore[assignment]
            block if isinstance(block, ReversibleBlock) else ReversibleBlock(*block)
            for block in blocks
        )
        self.prob_survival = prob_survival
        self.recompute = recompute

    def forward(
        self, x: Tensor, *, f_kwargs: Kwargs | None = None, g_kwargs: Kwargs | None = None
    ) -> Tensor:
        blocks = list(self.blocks)
        if self.training:
            blocks = dropout_layers(blocks, self.prob_survival)
        if self.recompute and torch.is_grad_enabled():
            y1, y2 = run_and_forget(blocks, x, f_kwargs or {}, g_kwargs or {})
        else:
            y1, y2 = x, x
            for block in blocks:
                y1, y2 = block(y1, y2, f_kwargs, g_kwargs)
        return y1 + y2

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        x1 = x2 = x
        for block in self.blocks:
            x1 = x1 + step(block.f, x2, cache)
            x2 = x2 + step(block.g, x1, cache)
        return x1 + x2


def run_and_forget(
    blocks: list[ReversibleBlock], x: Tensor, f_kwargs: Kwargs, g_kwargs: Kwargs
) -> tuple[Tensor, Tensor]:
    """Both streams after all blocks; autograd sees one function of ``x`` and every parameter."""
    wanted: dict[int, Tensor] = {
        id(p): p for block in blocks for p in block.parameters() if p.requires_grad
    }
    for value in (*f_kwargs.values(), *g_kwargs.values()):
        if isinstance(value, Tensor) and value.requires_grad:
            wanted[id(value)] = value
    return _RunAndForget.apply(  # type: ignore[no-untyped-call]
        blocks, f_kwargs, g_kwargs, x, *wanted.values()
    )


class _RunAndForget(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        blocks: list[ReversibleBlock],
        f_kwargs: Kwargs,
        g_kwargs: Kwargs,
        x: Tensor,
        *wanted: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.blocks, ctx.f_kwargs, ctx.g_kwargs = blocks, dict(f_kwargs), dict(g_kwargs)
        ctx.surroundings = []
        x1, x2 = x, x
        for block in blocks:
            for_f = Surroundings(x, *block.f.parameters())
            x1 = x1 + block.f(x2, **f_kwargs)
            for_g = Surroundings(x, *block.g.parameters())
            x2 = x2 + block.g(x1, **g_kwargs)
            ctx.surroundings.append((for_f, for_g))
        if not blocks:
            x1, x2 = x1.clone(), x2.clone()
        ctx.save_for_backward(x1, x2)
        ctx.wanted = wanted
        return x1, x2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d1: Tensor, d2: Tensor) -> tuple[Tensor | None, ...]:
        y1, y2 = ctx.saved_tensors
        wanted = {id(tensor) for tensor in ctx.wanted}
        total: dict[int, Tensor] = {}  # by the id of the tensor: two blocks may share one

        def back(
            layer: nn.Module, kwargs: Kwargs, given: Tensor, grad: Tensor, around: "Surroundings"
        ) -> tuple[Tensor, Tensor]:
            """The layer's output, and the gradient of ``given``; the others go to ``total``."""
            # Stand-ins for all that gets a gradient: hooks of the real ones wait for the whole.
            stand_ins: dict[int, Tensor] = {}

            def stand_in(value: Any) -> Any:
                if id(value) not in wanted:
                    return value
                return stand_ins.setdefault(id(value), value.detach().requires_grad_())

            parameters = {name: stand_in(p) for name, p in layer.named_parameters()}
            kwargs = {name: stand_in(value) for name, value in kwargs.items()}
            given = given.detach().requires_grad_()
            with around.restored(), torch.enable_grad():
                out = functional_call(layer, parameters, (given,), kwargs)
            grads: Iterable[Tensor | None] = [None] * (1 + len(stand_ins))
            if out.requires_grad:
                grads = torch.autograd.grad(
                    out, [given, *stand_ins.values()], grad.to(out.dtype), allow_unused=True
                )
            first, *others = grads
            for key, part in zip(stand_ins, others, strict=True):
                if part is not None:
                    total[key] = total[key] + part if key in total else part
            return out.detach(), torch.zeros_like(given) if first is None else first

        for block, (for_f, for_g) in zip(
            reversed(ctx.blocks), reversed(ctx.surroundings), strict=True
        ):
            out, grad = back(block.g, ctx.g_kwargs, y1, d2, for_g)
            y2 = y2 - out  # x2
            d1 = d1 + grad
            out, grad = back(block.f, ctx.f_kwargs, y2, d1, for_f)
            y1 = y1 - out  # x1
            d2 = d2 + grad
        dx = d1 + d2 if ctx.needs_input_grad[3] else None
        return None, None, None, dx, *(total.get(id(tensor)) for tensor in ctx.wanted)


class Surroundings:
    """What a layer depends on besides its input: random numbers and autocast, of every device."""

    def __init__(self, *tensors: Tensor) -> None:
        one_of_each = {tensor.device: tensor for tensor in tensors}
        self.cpu_state = torch.get_rng_state()
        self.devices, self.states = get_device_states(*one_of_each.values())
        self.types = sorted({device.type for device in one_of_each} | {"cpu"})
        self.autocast = [
            (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
            for kind in self.types
            if torch.amp.is_autocast_available(kind)
        ]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside, all is as it was; outside, nothing has changed."""
        (device_type,) = [kind for kind in self.types if kind != "cpu"] or ["cuda"]
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(self.devices, device_type=device_type))
            torch.set_rng_state(self.cpu_state)
            set_device_states(self.devices, self.states, device_type=device_type)
            for kind, enabled, dtype in self.autocast:
                # Casts are not shared: those of the pass without gradients have none.
                stack.enter_context(
                    torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)
                )
            yield
