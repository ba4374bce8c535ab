"""Lesson 01, spatial gating: tokens talk to each other through one learned matrix."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from gmlp.ops import at_least_one


def spatial_mix(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""Mix along the sequence: every position becomes a weighted sum of positions.

    .. math:: out_{b,i,(h,c)} = \sum_j W_{h,i,j} \, v_{b,j,(h,c)} + b_{h,i}

    The channels are cut into ``h`` consecutive groups of equal size, the heads. Each head has a
    matrix and a bias of its own; one head is the unit of the paper.

    Args:
        v: ``(b, n, d)``, with ``d`` a multiple of ``h``.
        weight: ``(h, n, n)``; row ``i`` says how much position ``i`` takes from every position.
        bias: ``(h, n)``; a number for each head and position.

    Returns:
        ``(b, n, d)``.

    Source: Liu et al. 2021, "Pay Attention to MLPs" (arXiv 2105.08050), section 2.1, equation 2.
    Heads are an addition of the public gMLP-GPT code.
    """
    v = rearrange(v, "b n (h c) -> b h n c", h=weight.shape[0])
    mixed = weight @ v + rearrange(bias, "h n -> h n 1")  # (h, n, n) @ (b, h, n, c)
    return rearrange(mixed, "b h n c -> b n (h c)")


class SpatialGatingUnit(nn.Module):
    r"""One half of the channels, mixed along the sequence, gates the other half.

    .. math:: u, v = \mathrm{split}(x), \qquad
              out = act(W \, \mathrm{LayerNorm}(v) + b) \odot u

    ``W`` starts almost at zero and ``b`` at one: in the beginning the gate is one everywhere, the
    unit lets ``u`` pass unchanged, and the network starts out as an ordinary per-token MLP.

    Args:
        dim: channels ``d`` of the input; even, and ``d / 2`` a multiple of ``heads``.
        seq_len: the largest number of positions ``n``; ``W`` is ``(heads, seq_len, seq_len)``.
        heads: groups of channels, each with a matrix of its own.
        act: applied to the gate before it multiplies ``u``; by default nothing.
        init_eps: ``W`` starts uniform in ``±init_eps / seq_len``.

    Shapes:
        ``(b, n, d) -> (b, n, d / 2)`` for every ``1 <= n <= seq_len``.

    Raises:
        ValueError: sizes that do not divide, or an input that does not fit them.

    Source: Liu et al. 2021, section 2.1: equations 2 and 4, and the paragraph on initialisation.
    """

    def __init__(
        self,
        dim: int,
        seq_len: int,
        *,
        heads: int = 1,
        act: Callable[[Tensor], Tensor] | None = None,
        init_eps: float = 1e-3,
    ) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim must be even, to be split in two halves; got dim={dim}")
        if heads < 1 or (dim // 2) % heads:
            raise ValueError(
                f"heads must divide dim / 2 = {dim // 2}, the channels that are mixed; "
                f"got heads={heads}"
            )
        at_least_one(seq_len=seq_len)
        self.dim, self.seq_len, self.heads = dim, seq_len, heads
        self.norm = nn.LayerNorm(dim // 2)
        self.weight = nn.Parameter(torch.empty(heads, seq_len, seq_len))
        self.bias = nn.Parameter(torch.ones(heads, seq_len))
        nn.init.uniform_(self.weight, -init_eps / seq_len, init_eps / seq_len)
        self.act = act if act is not None else nn.Identity()

    def mixing_matrix(self, n: int) -> Tensor:
        """The part of ``W`` that ``n`` positions use: ``(heads, n, n)``."""
        return self.weight[:, :n, :n]

    def mix(self, v: Tensor) -> Tensor:
        """``W v + b``: ``(b, n, d / 2) -> (b, n, d / 2)``."""
        n = v.shape[1]
        return spatial_mix(v, self.mixing_matrix(n), self.bias[:, :n])

    def forward(self, x: Tensor, gate_res: Tensor | None = None) -> Tensor:
        if x.shape[-1] != self.dim or not 1 <= x.shape[-2] <= self.seq_len:
            raise ValueError(
                f"this {type(self).__name__} takes (b, n, d={self.dim}) with 1 <= n <= "
                f"seq_len={self.seq_len}; got {tuple(x.shape)}"
            )
        u, v = x.chunk(2, dim=-1)  # (b, n, d/2) each
        gate = self.mix(self.norm(v))  # (b, n, d/2)
        if gate_res is not None:
            gate += gate_res
        return self.act(gate) * u

    def extra_repr(self) -> str:
        return f"dim={self.dim}, seq_len={self.seq_len}, heads={self.heads}"
