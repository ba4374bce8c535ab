"""Lesson 07, local windows: a position reads its own window and the one before."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.causal_masking import CausalSGU
from gmlp.ops import Cache, at_least_one, local_mix, mix_rows
from gmlp.tiny_attention import Attention, attend


def pad_to_multiple(x: Tensor, multiple: int, dim: int = -1, value: float = 0.0) -> Tensor:
    """Append ``value`` along ``dim`` until its length is a multiple of ``multiple``.

    Shapes:
        ``(…, n, …) -> (…, ceil(n / multiple) * multiple, …)``; ``x`` itself if that is ``n``.

    Raises:
        ValueError: a multiple below 1.
    """
    at_least_one(multiple=multiple)
    missing = -x.shape[dim] % multiple
    if missing == 0:
        return x
    after = x.ndim - 1 - dim % x.ndim  # F.pad counts from the last axis
    return F.pad(x, (0, 0) * after + (0, missing), value=value)


class CausalLocalSGU(CausalSGU):
    r"""A causal spatial gating unit whose positions read their own window and the one before.

    With windows of ``w`` positions, position ``i = a w + r`` reads from ``(a - 1) w`` to ``i``:

    .. math:: out_i = act\Big(\sum_{j = (a-1) w}^{i} W_{h,r,\,j - (a-1) w} \,
              \mathrm{LayerNorm}(v)_j + b_{h,r}\Big) \odot u_i

    ``W`` is ``(heads, w, 2 w)`` and ``b`` ``(heads, w)``, the same for all windows; before the
    first window there is nothing. The cost grows with ``n w``, not with ``n²``.

    Args:
        dim, heads, act, init_eps: those of :class:`CausalSGU`; ``W`` starts in ``±init_eps / w``.
        seq_len: the largest number of positions ``n``; no weight depends on it.
        window: ``w``, positions in a window.

    Shapes:
        ``(b, n, d) -> (b, n, d / 2)`` for every ``1 <= n <= seq_len``; the last window may be
        incomplete.

    Raises:
        ValueError: a window below 1, and what :class:`CausalSGU` raises.

    Source: the public gMLP-GPT code; the windows are those of Roy et al. 2021 and others for
    attention.
    """

    def __init__(
        self,
        dim: int,
        seq_len: int,
        *,
        window: int = 128,
        heads: int = 1,
        act: Callable[[Tensor], Tensor] | None = None,
        init_eps: float = 1e-3,
    ) -> None:
        at_least_one(window=window, seq_len=seq_len)
        super().__init__(dim, window, heads=heads, act=act)
        self.seq_len, self.window = seq_len, window
        self.weight = nn.Parameter(torch.empty(heads, window, 2 * window))
        nn.init.uniform_(self.weight, -init_eps / window, init_eps / window)

    def mixing_matrix(self, n: int) -> Tensor:
        """The matrix over ``n`` positions that the windows amount to: ``(heads, n, n)``."""
        w = self.window
        k = -(-n // w)  # n / w, rounded up
        matrix = self.weight.new_zeros(self.heads, (k + 1) * w, (k + 1) * w)
        for a in range(k):
            matrix[:, (a + 1) * w : (a + 2) * w, a * w : (a + 2) * w] = self.weight.tril(w)
        return matrix[:, w : w + n, w : w + n]

    def mix(self, v: Tensor) -> Tensor:
        return local_mix(v, self.weight, self.bias)

    def mix_next(self, v: Tensor, cache: Cache) -> Tensor:
        w, mixed = self.window, []
        for start, stop, seen in cache.append_windows(self, v, w):
            end = seen.shape[1] - w  # how much of the own window is read: (b, w + end, d/2)
            rows = slice(end - (stop - start), end)
            mixed.append(mix_rows(seen, self.weight[:, rows, : w + end], self.bias[:, rows]))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)


class LocalAttention(Attention):
    """:class:`Attention` with the reach of :class:`CausalLocalSGU`: own window and the one before.

    Args:
        dim_in, dim_out, dim_inner: those of :class:`Attention`.
        window: ``w``, positions in a window.

    Shapes:
        ``(b, n, dim_in) -> (b, n, dim_out)`` for every ``n``.

    Raises:
        ValueError: a size or window below 1.
    """

    def __init__(self, *, dim_in: int, dim_out: int, dim_inner: int, window: int = 128) -> None:
        at_least_one(window=window)
        super().__init__(dim_in=dim_in, dim_out=dim_out, dim_inner=dim_inner)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        n, w = x.shape[1], self.window
        q, k, v = self.to_qkv(x).chunk(3, dim=-1)  # (b, n, k) each
        out = attend(q[:, :w], k[:, :w], v[:, :w])
        if n > w:  # later windows have one before them
            q, k, v = (pad_to_multiple(t, w, dim=1) for t in (q, k, v))
            q = rearrange(q[:, w:], "b (a w) c -> (b a) w c", w=w)
            k, v = (rearrange(t.unfold(1, 2 * w, w), "b a c t -> (b a) t c") for t in (k, v))
            later = rearrange(attend(q, k, v), "(b a) w c -> b (a w) c", b=len(x))
            out = torch.cat((out, later[:, : n - w]), dim=1)
        return self.to_out(out)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """The outputs at the next positions; keys and values of two windows are kept."""
        q, kv = self.to_qkv(x).tensor_split([self.dim_inner], dim=-1)
        out: list[Tensor] = []
        for start, stop, seen in cache.append_windows(self, kv, self.window):
            first = self.window if cache.read(self) <= self.window else 0
            k, v = seen[:, first:].chunk(2, dim=-1)  # nothing stands before the first window
            out.append(attend(q[:, start:stop], k, v))
        return self.to_out(out[0] if len(out) == 1 else torch.cat(out, dim=1))
