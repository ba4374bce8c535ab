"""What the modules share: fast forms of what a lesson writes as one line, and the memory of a model
that writes."""

import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import flop_registry, register_flop_formula

# Rows of a triangle that are multiplied at once: fewer waste less, more run faster.
ROWS = 256
ROWS_ON_GPU = 1024  # it has to be told of every product, and each is soon over
AT_ONCE = 2**18  # numbers of a batch of matrices that are laid side by side: 1 MB


def cpu_is_by_amd() -> bool:
    """What Linux or Windows says; False where neither does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as about:
            return "AuthenticAMD" in about.read(1000)  # the first core is enough
    except OSError:
        return "AuthenticAMD" in os.environ.get("PROCESSOR_IDENTIFIER", "")


# PyTorch multiplies matrices with MKL, but has oneDNN, too, by an operation that compiled models
# call. On two cores of an AMD processor with AVX-512 (EPYC, Zen 5) MKL reached 210 GFLOP/s, oneDNN
# 470; of an Intel one (Xeon, Sapphire Rapids) 250 and 220.
ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
ONEDNN = (
    torch.backends.mkldnn.is_available()
    and ONEDNN_LINEAR is not None
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and cpu_is_by_amd()
)
if ONEDNN_LINEAR is not None and ONEDNN_LINEAR not in flop_registry:

    @register_flop_formula(ONEDNN_LINEAR)
    def linear_flop(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
        """For ``FlopCounterMode``, which knows only PyTorch's other products."""
        return 2 * x.numel() * weight[0]


def at_least_one(**values: int) -> None:
    """Raise a ValueError that names the first value below 1, or not whole."""
    for name, value in values.items():
        if isinstance(value, float):
            raise ValueError(f"{name} must be a whole number; got {name}={value}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {name}={value}")


def rows_at_once(t: Tensor) -> int:
    return ROWS if t.device.type == "cpu" else ROWS_ON_GPU


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for the next training step.

    That of Linux (glibc) gives large blocks back to the system, which must find and clear new ones
    at every step. It learns: what is not larger than a block that it has seen go, it keeps, and of
    the free end of its memory twice as much; but nothing above 32 MB counts.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)  # made and freed, never touched


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, for large products by way of oneDNN: ``(…, d_in) -> (…, d_out)``."""
    if by_onednn(x, weight) and x.ndim > 1 and x.shape[-1] == weight.shape[1]:
        out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return F.linear(x, weight, bias)  # whose error, where widths differ, is clearer, too


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``, without gradients: ``(m, k), (k, n) -> (m, n)``."""
    return onednn_linear(a, b.t()) if by_onednn(a, b) else torch.mm(a, b)


def product_into(out: Tensor, a: Tensor, b: Tensor, plus: Tensor | None = None) -> None:
    """``out = plus + a @ b``; ``plus`` may be ``out``."""
    if by_onednn(a, b) and (a.is_contiguous() or b.shape[1] >= 256):  # else the copy of a counts
        torch.add(onednn_linear(a, b.t()), 0 if plus is None else plus, out=out)
    elif plus is None:
        torch.mm(a, b, out=out)
    else:
        torch.addmm(plus, a, b, out=out)


def by_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether oneDNN is to multiply the two matrices: not small ones, where the call counts."""
    if not ONEDNN or torch.compiler.is_compiling():
        return False
    return (
        a.shape[:-1].numel() * b.numel() >= 2**22
        and a.device.type == "cpu"
        and a.dtype == b.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` by oneDNN, with no gradient; a part of a larger ``weight`` is copied first.

    The operation copies an ``x`` that is not whole, but would take such a weight number by number.
    """
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()
    assert ONEDNN_LINEAR is not None
    out: Tensor = ONEDNN_LINEAR(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    generate_vmap_rule = True  # and with setup_context torch.func takes it, too

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return onednn_linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        dx = dweight = dbias = None
        if wants_x:
            dx = linear(grad, weight.t())
        if wants_weight:
            x, rows = x.flatten(0, -2), grad.flatten(0, -2)
            if x.shape[1] < rows.shape[1]:  # what is turned is copied: the smaller one
                dweight = linear(x.t(), rows.t()).t().contiguous()
            else:
                dweight = linear(rows.t(), x.t())
        if wants_bias:
            dbias = grad.flatten(0, -2).sum(0)
        return dx, dweight, dbias


class Linear(nn.Linear):
    """``nn.Linear``, computed by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def causal_mix(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""Every position becomes a weighted sum of itself and those before it, head by head.

    .. math:: out_{b,i,(h,c)} = \sum_{j \le i} W_{h,i,j} \, v_{b,j,(h,c)} + b_{h,i}

    The same as ``spatial_mix(v, weight[:, :n, :n].tril(), bias[:, :n])``, but above the diagonal
    little is multiplied: rows are taken in blocks, each with the columns that it reads.

    Args:
        v: ``(b, n, d)``, with ``d`` a multiple of ``h``.
        weight: ``(h, N, N)`` with ``N >= n``; the first ``n`` rows and columns are used.
        bias: ``(h, N)``.

    Returns:
        ``(b, n, d)``.

    Source: Liu et al. 2021, section 2.1, equation 2, with a lower triangle for ``W``.
    """
    v, weight, bias = autocast(v, weight, bias)
    n = v.shape[1]
    if n > rows_at_once(v):
        return in_blocks(_CausalMix, v, weight, bias)
    return mix_rows(v, weight[:, :n, :n], bias[:, :n])


def local_mix(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""The same in windows of ``w``: a position reads its own up to itself, and the one before.

    .. math:: out_{b,aw+r,(h,c)} = \sum_{j=(a-1)w}^{aw+r} W_{h,r,\,j-(a-1)w} \, v_{b,j,(h,c)}
              + b_{h,r}

    with ``v`` zero before the first position. The same as mixing ``v.unfold(1, 2 * w, w)``, after
    padding, with ``weight.tril(w)``, but nothing is copied into pairs of windows.

    Args:
        v: ``(b, n, d)``, with ``d`` a multiple of ``h``; ``n`` need not be a multiple of ``w``.
        weight: ``(h, w, 2 w)``.
        bias: ``(h, w)``.

    Returns:
        ``(b, n, d)``.
    """
    v, weight, bias = autocast(v, weight, bias)
    n, w = v.shape[1], weight.shape[1]
    mix = _LargeWindows if w > rows_at_once(v) else _SmallWindows
    mixed = in_blocks(mix, F.pad(v, (0, 0, 0, -n % w)) if n % w else v, weight, bias)
    return mixed[:, :n] if n % w else mixed


def in_blocks(mix: type[torch.autograd.Function], *tensors: Tensor) -> Tensor:
    """``mix.apply``, hidden from ``torch.compile``, which would copy ``W`` for every block."""
    if torch.compiler.is_compiling():  # not as a decorator: that alone takes seconds to import
        return torch.compiler.disable(mix.apply)(*tensors)
    return mix.apply(*tensors)


def mix_rows(v: Tensor, rows: Tensor, bias: Tensor) -> Tensor:
    """The last ``m`` of ``t`` positions, each a weighted sum of itself and those before it.

    Args:
        v: ``(b, t, d)``, all positions so far.
        rows: ``(h, m, t)``, the rows of ``W`` that belong to the last ``m``.
        bias: ``(h, m)``.

    Returns:
        ``(b, m, d)``.
    """
    b, _, d = v.shape
    h, m, t = rows.shape
    rows = rows.tril(t - m) if m > 1 else rows
    if b == 1:  # one product; a single row of a single head is shared out to the threads
        p = shares(d) if m == h == 1 else h
        parts = v[0].unflatten(-1, (p, -1)).transpose(0, 1)  # (p, t, d / p)
        mixed = torch.baddbmm(bias.expand(p, m)[..., None], rows.expand(p, m, t), parts)
        return mixed.transpose(0, 1).reshape(1, m, d)
    by_head = [
        torch.baddbmm(bias[k, :, None], rows[k].expand(b, m, t), part)  # no copy of W for each text
        for k, part in enumerate(v.chunk(h, dim=-1))
    ]
    return by_head[0] if h == 1 else torch.cat(by_head, dim=-1)


def shares(size: int) -> int:
    """Into how many equal parts to cut ``size``, so that each thread has one; 1 if it cannot."""
    threads = torch.get_num_threads()
    return threads if size % threads == 0 else 1


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    r"""A depthwise convolution that ends at its own position: ``(b, n, d) -> (b, n, d)``.

    .. math:: out_{b,i,c} = \sum_{k=0}^{e-1} K_{c,k} \, x_{b,\,i-e+1+k,\,c} + a_c

    with ``x`` zero before the first position; ``weight`` is ``(d, 1, e)``, ``bias`` ``(d,)``.
    """
    n, e = x.shape[1], weight.shape[-1]
    row = x[:, None].permute(0, 3, 1, 2)  # (b, d, 1, n): pixels, whose channels stay side by side
    out = F.conv2d(row, weight[:, :, None], bias, padding=(0, e - 1), groups=len(weight))
    return out.permute(0, 2, 3, 1)[:, 0, :n]  # the last e - 1 read past the end


def autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast as autocast casts the operands of a matrix product, where it is on."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)


def no_view(t: Tensor) -> Tensor:
    """``t``, no more a view of what it was cut from, so that a unit may add to it in place."""
    return t.data


class _CausalMix(torch.autograd.Function):
    """One product for each head: the texts of a batch stand side by side, as columns."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        b, n, _ = v.shape
        v = rearrange(v, "b n (h c) -> h n (b c)", h=len(weight))
        ctx.save_for_backward(v, weight)
        out = v.new_empty(v.shape)
        for k, head in enumerate(weight):
            lower(head[:n, :n], v[k], bias[k, :n], out[k])
        return no_view(rearrange(out, "h n (b c) -> b n (h c)", b=b))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, weight = ctx.saved_tensors  # v by heads
        b, n, _ = grad.shape
        dbias = head_sum(grad.sum(0), weight)
        grad = rearrange(grad, "b n (h c) -> h n (b c)", h=len(weight))
        dv, dweight = v.new_empty(v.shape), torch.zeros_like(weight)
        for k, head in enumerate(weight):
            lower_transposed(head[:n, :n], grad[k], dv[k])
            add_lower_outer(grad[k], v[k], dweight[k, :n, :n])
        dv = rearrange(dv, "h n (b c) -> b n (h c)", b=b)
        return dv, dweight, F.pad(dbias, (0, weight.shape[1] - n))


class _SmallWindows(torch.autograd.Function):
    """Each window with the one before it, as a batch of pairs, which are seen, not copied.

    The windows of all texts stand in one row; what a pair across two texts gives is overwritten.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(v, weight)
        w = weight.shape[1]
        k = v.shape[1] // w
        out = v.new_empty(v.shape)
        by_head = zip(weight, bias, by_window(v, weight), by_window(out, weight), strict=True)
        for head, bias_h, v_h, out_h in by_head:
            rows, seen, first = head.tril(w), pairs(v_h), v_h[::k]  # the first of each text
            bmm_into(out_h[1:], rows, seen, bias_h)
            bmm_into(out_h[::k], rows[:, w:], first, bias_h)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, weight = ctx.saved_tensors
        w = weight.shape[1]
        k = v.shape[1] // w
        dv, dweight = v.new_empty(v.shape), torch.zeros_like(weight)
        by_head = zip(weight, dweight, *(by_window(t, weight) for t in (v, grad, dv)), strict=True)
        for head, dhead, v_h, grad_h, dv_h in by_head:  # a window is read by itself and by the next
            read_by = torch.cat((head[:, w:].tril().t(), head[:, :w].t()), dim=1)
            readers, last = pairs(grad_h), grad_h[k - 1 :: k]
            bmm_into(dv_h[:-1], read_by, readers)
            bmm_into(dv_h[k - 1 :: k], read_by[:, :w], last)
            if by_onednn(grad_h, v_h[0]):
                add_outer(dhead[:, w:], grad_h[::k], v_h[::k])
                for grad_b, v_b in zip(grad_h.split(k), v_h.split(k), strict=True):
                    add_outer(dhead, grad_b[1:], pairs(v_b))
            else:
                dhead[:, w:].addmm_(grad_h[0], v_h[0].t())
                for rows in (slice(0, w // 2), slice(w // 2, w)):  # the upper half reads less
                    products = torch.bmm(grad_h[1:, rows], pairs(v_h)[:, : w + rows.stop].mT)
                    products[k - 1 :: k, :, :w] = 0
                    dhead[rows, : w + rows.stop] += products.sum(0)
        return dv, dweight.tril_(w), window_bias_grad(grad, weight)


class _LargeWindows(torch.autograd.Function):
    """The same by two products, the own window and the one before, each of all windows at once.

    They stand side by side, as columns, so that the triangle of the own window can be cut.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        b, w = len(v), weight.shape[1]
        k = v.shape[1] // w
        v = columns(v, weight)
        ctx.save_for_backward(v, weight)
        out = v.new_empty(v.shape)
        for head, v_h, bias_h, out_h in zip(weight, v, bias, out, strict=True):
            before, own = head.chunk(2, dim=-1)
            lower(own, v_h.flatten(1), bias_h, out_h.flatten(1))
            for v_b, out_b in zip(v_h.split(k, 1), out_h.split(k, 1), strict=True):
                later = out_b[:, 1:].flatten(1)
                product_into(later, before, v_b[:, :-1].flatten(1), later)
        return no_view(rearrange(out, "h w (b k) c -> b (k w) (h c)", b=b))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, weight = ctx.saved_tensors  # v as columns
        b, w = len(grad), weight.shape[1]
        k = grad.shape[1] // w
        dbias = window_bias_grad(grad, weight)
        grad = columns(grad, weight)
        dv, dweight = v.new_empty(v.shape), torch.zeros_like(weight)
        for head, dhead, v_h, grad_h, dv_h in zip(weight, dweight, v, grad, dv, strict=True):
            (before, own), (dbefore, down) = head.chunk(2, dim=-1), dhead.chunk(2, dim=-1)
            lower_transposed(own, grad_h.flatten(1), dv_h.flatten(1))
            add_lower_outer(grad_h.flatten(1), v_h.flatten(1), down)
            by_text = (t.split(k, 1) for t in (v_h, grad_h, dv_h))
            for v_b, grad_b, dv_b in zip(*by_text, strict=True):
                earlier, later = v_b[:, :-1].flatten(1), grad_b[:, 1:].flatten(1)
                dearlier = dv_b[:, :-1].flatten(1)
                product_into(dearlier, before.t(), later, dearlier)
                dbefore += product(later, earlier.t())
        return rearrange(dv, "h w (b k) c -> b (k w) (h c)", b=b), dweight.tril_(w), dbias


def by_window(t: Tensor, weight: Tensor) -> Tensor:
    """By head and window: ``(b, (k w), (h c)) -> (h, (b k), w, c)``; a view of what is whole."""
    h, w, _ = weight.shape
    return rearrange(t, "b (k w) (h c) -> h (b k) w c", h=h, w=w)


def columns(t: Tensor, weight: Tensor) -> Tensor:
    """By head, the windows side by side: ``(b, (k w), (h c)) -> (h, w, (b k), c)``."""
    h, w, _ = weight.shape
    return rearrange(t, "b (k w) (h c) -> h w (b k) c", h=h, w=w)


def pairs(windows: Tensor) -> Tensor:
    """Every window but the last, and the next: ``(k, w, c) -> (k - 1, 2 w, c)``, a view."""
    k, w, c = windows.shape
    if k == 1:
        return windows.new_empty(0, 2 * w, c)
    return windows.flatten(0, 1).unfold(0, 2 * w, w).mT


def bmm_into(out: Tensor, rows: Tensor, v: Tensor, bias: Tensor | None = None) -> None:
    """``out[k] = rows @ v[k] + bias``: ``(m, j), (k, j, c), (m,) -> (k, m, c)``.

    ``out`` may be a part of the channels. PyTorch multiplies a batch at once only where ``out``
    lies in one piece.
    """
    if by_onednn(rows, v):
        for out_k, v_k in zip(*(t.split(at_once(v)) for t in (out, v)), strict=True):
            mixed = product(rows, side_by_side(v_k)).unflatten(1, (-1, v.shape[-1])).transpose(0, 1)
            torch.add(mixed, 0 if bias is None else bias[:, None], out=out_k)
        return
    each, target = rows.expand(len(v), -1, -1), out if out.is_contiguous() else None
    if bias is None:
        mixed = torch.bmm(each, v, out=target)
    else:
        mixed = torch.baddbmm(bias[:, None], each, v, out=target)
    if target is None:
        out.copy_(mixed)


def add_outer(out: Tensor, grad: Tensor, v: Tensor) -> None:
    """``out += sum_k grad[k] @ v[k].T``: ``(k, m, c), (k, j, c) -> (m, j)``."""
    for grad_k, v_k in zip(*(t.split(at_once(v)) for t in (grad, v)), strict=True):
        out += product(side_by_side(grad_k), side_by_side(v_k).t())


def at_once(v: Tensor) -> int:
    """How many of a batch of matrices to lay side by side: what a processor's cache holds."""
    return max(1, AT_ONCE // v.shape[1:].numel())


def side_by_side(t: Tensor) -> Tensor:
    """``(k, j, c) -> (j, (k c))``."""
    return t.transpose(0, 1).flatten(1)


def window_bias_grad(grad: Tensor, weight: Tensor) -> Tensor:
    """``(b, (k w), (h c)) -> (h, w)``: of the bias, which all windows share."""
    return head_sum(grad.unflatten(1, (-1, weight.shape[1])).sum((0, 1)), weight)


def head_sum(t: Tensor, weight: Tensor) -> Tensor:
    """``(n, (h c)) -> (h, n)``."""
    return t.unflatten(1, (len(weight), -1)).sum(-1).t()


def lower(weight: Tensor, v: Tensor, bias: Tensor, out: Tensor) -> None:
    """``out = tril(weight) @ v + bias``: ``(n, n), (n, c) -> (n, c)``."""
    n = len(v)
    if n <= rows_at_once(weight):
        product_into(out, weight.tril(), v, bias[:, None])
        return
    half = n // 2
    lower(weight[:half, :half], v[:half], bias[:half], out[:half])
    lower(weight[half:, half:], v[half:], bias[half:], out[half:])
    product_into(out[half:], weight[half:, :half], v[:half], out[half:])


def lower_transposed(weight: Tensor, grad: Tensor, out: Tensor) -> None:
    """``out = tril(weight).T @ grad``: ``(n, n), (n, c) -> (n, c)``."""
    n = len(grad)
    if n <= rows_at_once(weight):
        product_into(out, weight.tril().t(), grad)
        return
    half = n // 2
    lower_transposed(weight[:half, :half], grad[:half], out[:half])
    lower_transposed(weight[half:, half:], grad[half:], out[half:])
    product_into(out[:half], weight[half:, :half].t(), grad[half:], out[:half])


def add_lower_outer(grad: Tensor, v: Tensor, out: Tensor) -> None:
    """``out += tril(grad @ v.T)``: ``(n, c), (n, c) -> (n, n)``."""
    n = len(grad)
    if n <= rows_at_once(out):
        out += product(grad, v.t()).tril_()
        return
    half = n // 2
    add_lower_outer(grad[:half], v[:half], out[:half, :half])
    add_lower_outer(grad[half:], v[half:], out[half:, half:])
    out[half:, :half] += product(grad[half:], v[:half].t())


class Cache:
    """What the layers of a model keep of the positions that they have read.

    A model that writes reads each of its own tokens once. ``model.step(tokens, cache)`` reads the
    next ones, and every layer that looks back asks the cache for what stood before. Make a new
    cache for every text, or batch of texts. It holds no gradient, and knows layers by themselves:
    one that stands in two places of a model would mix both up.
    """

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}
        self._read: dict[nn.Module, int] = {}
        self._residues: dict[nn.Module, list[Cache]] = {}
        self._parts: dict[nn.Linear, tuple[Tensor, Tensor | None]] = {}

    def read(self, owner: nn.Module) -> int:
        """How many positions ``owner`` has read."""
        return self._read.get(owner, 0)

    def advance(self, owner: nn.Module, m: int) -> None:
        """Note that ``owner`` has read ``m`` more."""
        self._read[owner] = self.read(owner) + m

    def append(self, owner: nn.Module, new: Tensor) -> Tensor:
        """All that ``owner`` has read, ``new`` included: ``(b, t, d)``."""
        b, m, d = new.shape
        t = self.read(owner)
        kept = self._kept.get(owner)
        if kept is None or t + m > kept.shape[1]:  # twice the room: few copies as it grows
            room = new.new_empty(b, 2 * (t + m), d)
            if kept is not None:
                room[:, :t] = kept[:, :t]
            self._kept[owner] = kept = room
        kept.narrow(1, t, m).copy_(new.detach())
        self.advance(owner, m)
        return kept.narrow(1, 0, t + m)

    def append_windows(
        self, owner: nn.Module, new: Tensor, window: int
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Cut ``new`` where windows end; with each piece, the window before it and its own.

        Yields ``(start, stop, seen)``: the piece is ``new[:, start:stop]``, and its last position
        reads ``seen (b, window + i, d)``: the whole window before, then the ``i`` positions of its
        own window up to itself. The window before the first is zero.
        """
        b, n, d = new.shape
        if owner not in self._kept:
            self._kept[owner] = new.new_zeros(b, 2 * window, d)
        kept = self._kept[owner]
        start = 0
        while start < n:
            i = self.read(owner) % window
            if i == 0 and self.read(owner):
                kept[:, :window] = kept[:, window:]
            m = min(n - start, window - i)
            kept.narrow(1, window + i, m).copy_(new.detach().narrow(1, start, m))
            self.advance(owner, m)
            yield start, start + m, kept.narrow(1, 0, window + i + m)
            start += m

    def append_tail(self, owner: nn.Module, new: Tensor, size: int) -> Tensor:
        """The ``size`` positions before ``new``, zeros before the first, then ``new``."""
        b, m, d = new.shape
        before = self._kept.get(owner)
        if before is None:
            before = new.new_zeros(b, size, d)
        seen = torch.cat((before, new.detach()), dim=1)
        self._kept[owner] = seen[:, m:]
        self.advance(owner, m)
        return seen

    def residues(self, owner: nn.Module, every: int) -> list["Cache"]:
        """A cache for each of the ``every`` sequences into which a fold deals its positions."""
        if owner not in self._residues:
            self._residues[owner] = [Cache() for _ in range(every)]
            for own in self._residues[owner]:
                own._parts = self._parts
        return self._residues[owner]

    def in_parts(self, linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
        """Weight ``(p, d_in, d_out / p)`` and bias ``(p, 1, d_out / p)``: a part for each thread.

        A CPU multiplies a single position by one matrix on one thread, but by ``p`` on ``p``. Wide
        parts are copied, so that their columns lie one after the other: twice as fast again.
        """
        if linear not in self._parts:
            d_out, d_in = linear.weight.shape
            p = shares(d_out)
            weight = linear.weight.detach().view(p, -1, d_in).mT
            bias = None if linear.bias is None else linear.bias.detach().view(p, 1, -1)
            self._parts[linear] = weight.contiguous() if d_out > d_in else weight, bias
        return self._parts[linear]


def linear_in_parts(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear`` of a single position by :meth:`Cache.in_parts`."""
    p, d_in, _ = weight.shape
    each = x.expand(p, 1, d_in)
    out = torch.bmm(each, weight) if bias is None else torch.baddbmm(bias, each, weight)
    return out.view(*x.shape[:-1], -1)


def gelu_of_one(x: Tensor) -> Tensor:
    """``F.gelu`` of a single position.

    PyTorch hands to oneDNN what lies in one piece, and that call takes longer than the work.
    """
    if x.numel() % 2:
        return F.gelu(x)
    return F.gelu(x.reshape(2, -1).t()).t().reshape(x.shape)


PER_TOKEN = (nn.Linear, nn.LayerNorm, nn.Dropout, nn.Identity, nn.GELU, nn.ReLU, nn.Tanh, nn.SiLU)


def step(module: nn.Module, x: Tensor, cache: Cache, *more: Tensor) -> Tensor:
    """The outputs of ``module`` at the next positions ``x``, whatever it read before.

    A module that looks at one position at a time is simply called; one that looks back must have a
    ``step(x, cache)`` of its own; ``more`` is passed on to it.
    """
    one = x.numel() == x.shape[-1] and x.device.type == "cpu" and not torch.is_grad_enabled()
    if one and isinstance(module, nn.Linear) and type(module) in (nn.Linear, Linear):
        return linear_in_parts(x, *cache.in_parts(module))
    if one and type(module) is nn.GELU and module.approximate == "none":
        return gelu_of_one(x)
    if hasattr(module, "step"):
        return module.step(x, cache, *more)  # type: ignore[operator]
    if isinstance(module, nn.Sequential):
        for part in module:
            x = step(part, x, cache)
        return x
    if isinstance(module, PER_TOKEN):
        return module(x)
    raise TypeError(
        f"{type(module).__name__} has no step(x, cache), so it cannot go on from a cache; give it "
        f"one, or write without: generate(..., cached=False)"
    )
