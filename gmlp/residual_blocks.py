"""Lesson 03, residual blocks: the parts from which a deep gMLP is stacked."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.ops import Cache, Linear, step

PIECE = 4096  # positions of a long text that a feed-forward network reads at once, on a CPU


class Residual(nn.Module):
    r"""Add what a layer computes to what it was given: :math:`out = x + f(x)`.

    Args:
        fn: a module that keeps the shape of its input.

    Source: He et al. 2016, "Deep Residual Learning" (arXiv 1512.03385), equation 1.
    """

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        return x + step(self.fn, x, cache)


class PreNorm(nn.Module):
    r"""Normalise each position, then call a layer: :math:`f(\mathrm{LayerNorm}(x))`.

    Args:
        dim: channels ``d``.
        fn: the layer.

    Shapes:
        ``(b, n, d)`` to whatever ``fn`` makes of ``(b, n, d)``.

    Source: Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture"
    (arXiv 2002.04745), section 3: the norm stands before the layer, inside the residual branch.
    """

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        return step(self.fn, self.norm(x), cache)


class GEGLU(nn.Module):
    r"""Half of the channels, gated by the GELU of the other half.

    .. math:: x, g = \mathrm{split}(input), \qquad out = x \odot \mathrm{GELU}(g)

    Shapes:
        ``(..., 2 c) -> (..., c)``.

    Source: Shazeer 2020, "GLU Variants Improve Transformer" (arXiv 2002.05202), equation 5.
    """

    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, dim=-1)
        return x * F.gelu(gate.contiguous())  # faster than on a strided half

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        return self(x)


class FeedForward(nn.Module):
    r"""A per-token network with a GEGLU inside: :math:`\mathrm{GEGLU}(x W_1 + b_1) W_2 + b_2`.

    The inner width is ``int(2 / 3 * mult * dim)``: a gated layer has three matrices where a plain
    one has two, and two thirds of the width give both the same number of parameters.

    Args:
        dim: channels ``d`` of input and output.
        mult: width of the plain layer it stands for, in multiples of ``dim``.
        dropout: chance of an output to be set to zero in training.

    Shapes:
        ``(b, n, d) -> (b, n, d)``.

    Source: Shazeer 2020, equation 6 and the last paragraph of section 2.
    """

    def __init__(self, dim: int, mult: float = 4, *, dropout: float = 0.0) -> None:
        super().__init__()
        inner = int(dim * mult * 2 / 3)
        if inner < 1:
            raise ValueError(
                f"the inner width dim * mult * 2 / 3 must be at least 1; got dim={dim}, mult={mult}"
            )
        self.net = nn.Sequential(Linear(dim, inner * 2), GEGLU(), Linear(inner, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] <= PIECE or x.device.type != "cpu":
            return self.dropout(self.net(x))
        pieces = [self.net(piece) for piece in x.split(PIECE, dim=-2)]  # needs less room at a time
        return self.dropout(torch.cat(pieces, dim=-2))

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        return step(self.net, x, cache)  # each token by itself: nothing to remember


class gMLPBlock(nn.Module):
    r"""Widen the channels, let the positions talk in a spatial gating unit, project back.

    .. math:: Z = \mathrm{GELU}(x U), \qquad out = \mathrm{SGU}(Z) \, V

    Args:
        dim: channels ``d`` of input and output.
        dim_ff: inner channels; the unit returns half of them.
        sgu: the unit, ``(b, n, dim_ff) -> (b, n, dim_ff / 2)``, as ``CausalSGU(dim_ff, seq_len)``.
        attn: attention ``(b, n, d) -> (b, n, dim_ff / 2)`` that is added to the unit's gate.
        dropout: chance of an output to be set to zero in training.

    Shapes:
        ``(b, n, d) -> (b, n, d)``. The block holds neither norm nor residual; a layer of a model is
        ``Residual(PreNorm(dim, gMLPBlock(dim, dim_ff, sgu)))``.

    Source: Liu et al. 2021, section 2, equation 1; with attention, section 4 and figure 6.
    """

    def __init__(
        self,
        dim: int,
        dim_ff: int,
        sgu: nn.Module,
        attn: nn.Module | None = None,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim_ff < 2 or dim_ff % 2:
            raise ValueError(f"dim_ff must be even, to be split by the unit; got dim_ff={dim_ff}")
        self.proj_in = nn.Sequential(Linear(dim, dim_ff), nn.GELU())
        self.sgu = sgu
        self.proj_out = Linear(dim_ff // 2, dim)
        self.attn = attn
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate_res = () if self.attn is None else (self.attn(x),)
        x = self.proj_in(x)  # (b, n, dim_ff)
        x = self.sgu(x, *gate_res)  # (b, n, dim_ff / 2)
        return self.dropout(self.proj_out(x))

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        gate_res = () if self.attn is None else (step(self.attn, x, cache),)
        x = step(self.proj_in, x, cache)
        x = step(self.sgu, x, cache, *gate_res)
        return step(self.proj_out, x, cache)
