"""One run of an answer: its value, its gradients, and what it did to its inputs."""

import contextlib
import inspect
import io
import linecache
import sys
import traceback
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOST_PRINTED = 2000  # characters of an answer's own prints that are kept


@dataclass(frozen=True)
class Outcome:
    """What one run did: a value with its gradients, or an error."""

    value: Any = None
    error: BaseException | None = None
    gradients: dict[str, Tensor | None] | None = None  # None: the value carries no gradient
    backward_error: Exception | None = None
    changed: tuple[str, ...] = ()  # names of the inputs that were changed in place
    printed: str = ""
    where: str = ""  # the line of the answer that raised the error


class _Printed(io.StringIO):
    """Keeps the beginning of what is printed; an endless loop may print for ever."""

    def write(self, text: str) -> int:
        if self.tell() < MOST_PRINTED:
            super().write(text[:MOST_PRINTED])
        return len(text)


def run(
    f: Callable[..., Any],
    names: Sequence[str],
    inputs: Sequence[Any],
    seed: int,
    use: Callable[..., Any] | None = None,
    grad: bool = True,
) -> Outcome:
    """Run ``f`` on copies of ``inputs``, from the same random numbers each time.

    With ``use`` it is ``use(f, *inputs)`` that is called; with ``grad`` the inputs have gradients.
    """
    leaves: dict[str, Tensor] = {}
    pairs = zip(names, inputs, strict=True)
    arguments = [_copy(given, name, leaves, grad) for name, given in pairs]
    orders = [
        (name, one, [*one])
        for name, one in zip(names, arguments, strict=True)
        if isinstance(one, list)
    ]
    torch.default_generator.manual_seed(seed)
    printed = _Printed()
    try:
        with contextlib.redirect_stdout(printed):
            value = f(*arguments) if use is None else use(f, *arguments)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return Outcome(error=error, printed=printed.getvalue(), where=_where(error, f))
    reordered = {
        name
        for name, now, before in orders
        if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True))
    }
    changed = tuple(reordered) + tuple(
        found
        for name, argument, given in zip(names, arguments, inputs, strict=True)
        if name not in reordered
        for found in _changed(argument, given, name)
    )
    gradients: dict[str, Tensor | None] | None = None
    backward_error = None
    outputs = [tensor for tensor in tensors_of(value) if tensor.requires_grad]
    if outputs:
        leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        generator = torch.Generator().manual_seed(0)  # the same direction for every answer
        try:
            directions = [
                torch.randn(out.shape, generator=generator, dtype=out.dtype).to(out.device)
                for out in outputs
            ]
            found = torch.autograd.grad(outputs, [*leaves.values()], directions, allow_unused=True)
            gradients = dict(zip(leaves, found, strict=True))
        except Exception as error:
            backward_error = error
    return Outcome(value, None, gradients, backward_error, changed, printed.getvalue())


def _where(error: BaseException, f: Callable[..., Any]) -> str:
    """The innermost line of the answer's own that raised; frames of ours and torch's left out."""
    if isinstance(f, type):
        space = vars(sys.modules[f.__module__]) if f.__module__ in sys.modules else None
    else:
        space = getattr(inspect.unwrap(f), "__globals__", None)  # cells of a notebook share it
    for frame, number in reversed([*traceback.walk_tb(error.__traceback__)]):
        if frame.f_globals is space:
            source = linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
            return f"Line {number} of your code" + (f": `{source}`" if source else "")
    return ""


def reads(
    f: Callable[..., Any],
    names: Sequence[str],
    inputs: Sequence[Any],
    seed: int,
    name: str,
    use: Callable[..., Any] | None = None,
) -> Tensor | None:
    """Which output position depends on which position of the input ``name``: ``(n, m)``.

    Positions are axis 1 of both, or axis 0 of what has one axis. ``None`` where that makes no
    sense.
    """
    leaves: dict[str, Tensor] = {}
    arguments = [_copy(given, name, leaves) for name, given in zip(names, inputs, strict=True)]
    torch.default_generator.manual_seed(seed)
    try:
        with contextlib.redirect_stdout(_Printed()):
            value = f(*arguments) if use is None else use(f, *arguments)
        x = leaves[name]
        out_axis, in_axis = min(1, value.dim() - 1), min(1, x.dim() - 1)
        rows = []
        for i in range(value.shape[out_axis]):
            one = value.select(out_axis, i)
            direction = torch.randn(one.shape, generator=torch.Generator().manual_seed(i))
            (grad,) = torch.autograd.grad(one, x, direction, retain_graph=True)
            rows.append(grad.transpose(0, in_axis).reshape(x.shape[in_axis], -1).ne(0).any(1))
        return torch.stack(rows)
    except Exception:  # whatever a wrong answer does, this is only to say more about it
        return None


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of an answer: itself, or those in its tuples and lists."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in tensors_of(part)]
    return []


def _copy(given: Any, name: str, leaves: dict[str, Tensor], grad: bool = True) -> Any:
    """A copy of an input to be handed out; what in it can have a gradient goes to ``leaves``."""
    if isinstance(given, Tensor):
        leaves[name] = given.clone().requires_grad_(grad and given.is_floating_point())
        # A copy, because torch forbids to change a leaf in place, and we want to see that.
        return leaves[name].clone()
    if isinstance(given, nn.Module):
        module = deepcopy(given)
        leaves.update({f"{name}.{key}": value for key, value in module.named_parameters()})
        return module
    if isinstance(given, torch.Generator):
        return given.clone_state()
    if isinstance(given, list | tuple):
        return type(given)(_copy(one, f"{name}[{i}]", leaves, grad) for i, one in enumerate(given))
    return deepcopy(given)


def _changed(argument: Any, given: Any, name: str) -> list[str]:
    """The names of tensors in an input that are no longer what they were."""
    if any(tensor.is_meta for tensor in tensors_of(given)):
        return []  # they hold no numbers
    if isinstance(given, Tensor):
        same = argument.shape == given.shape and torch.equal(argument.detach(), given)
        return [] if same else [name]
    if isinstance(given, nn.Module):
        before = dict(given.named_parameters())
        return [
            f"{name}.{key}"
            for key, now in argument.named_parameters()
            if key in before
            and not now.is_meta
            and not torch.equal(now.detach(), before[key].detach())
        ]
    if isinstance(given, list | tuple):
        pairs = enumerate(zip(argument, given, strict=True))
        return [found for i, (a, g) in pairs for found in _changed(a, g, f"{name}[{i}]")]
    return [name] if isinstance(given, dict) and argument != given else []
