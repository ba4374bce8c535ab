"""Lesson 02, causal masking: a position may read itself and what came before it."""

from torch import Tensor

from gmlp.spatial_gating import SpatialGatingUnit


class CausalSGU(SpatialGatingUnit):
    r"""A spatial gating unit in which no position reads a later one.

    .. math:: out_i = act\Big(\sum_{j \le i} W_{h,i,j} \, \mathrm{LayerNorm}(v)_j + b_{h,i}\Big)
              \odot u_i

    All that changes is the matrix: its entries above the diagonal are set to zero on every call.
    They stay in ``weight``, but get no gradient and never count. Arguments, shapes and errors are
    those of :class:`SpatialGatingUnit`.

    Source: Liu et al. 2021, section 2.1, with the lower-triangular ``W`` that a language model
    needs (the paper's own experiments are on masked language models and need none).
    """

    def mixing_matrix(self, n: int) -> Tensor:
        """The lower triangle of the first ``n`` rows and columns of ``W``: ``(heads, n, n)``."""
        return super().mixing_matrix(n).tril()
