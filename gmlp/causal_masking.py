"""Lesson 02, causal masking: a position may read itself and what came before it."""

from torch import Tensor

from gmlp.ops import Cache, causal_mix, mix_rows
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

    def mix(self, v: Tensor) -> Tensor:
        return causal_mix(v, self.weight, self.bias)

    def mix_next(self, v: Tensor, cache: Cache) -> Tensor:
        """``mix`` at the next ``m`` positions: ``m`` rows of ``W``, over all that was read."""
        m = v.shape[1]
        v = cache.append(self, v)  # (b, t, d/2)
        t = v.shape[1]
        return mix_rows(v, self.weight[:, t - m : t, :t], self.bias[:, t - m : t])

    def step(self, x: Tensor, cache: Cache, gate_res: Tensor | None = None) -> Tensor:
        """The outputs at the next positions; the cache holds what stood before."""
        u, v = x.chunk(2, dim=-1)  # (b, m, d/2) each
        gate = self.mix_next(self.norm(v), cache)  # (b, m, d/2)
        if gate_res is not None:
            gate += gate_res
        return self.act(gate) * u
