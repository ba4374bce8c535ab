"""Lesson 06, tiny attention: one small head that finds by content what W can only find by place."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.ops import Cache, Linear


class Attention(nn.Module):
    r"""One causal attention head of inner size ``k``, its output as wide as a gate.

    .. math:: Q, K, V = x W_{qkv}, \qquad
              out_i = \Big(\sum_{j \le i} \mathrm{softmax}_{j \le i}
              \Big(\frac{Q_i \cdot K_j}{\sqrt k}\Big) V_j\Big) W_o + b_o

    Args:
        dim_in: channels of the input.
        dim_out: channels of the output; in a block those of the gate, ``dim_ff / 2``.
        dim_inner: ``k``, the size of a query, a key and a value; 64 in the paper.

    Shapes:
        ``(b, n, dim_in) -> (b, n, dim_out)`` for every ``n``.

    Raises:
        ValueError: a size below 1.

    Source: Liu et al. 2021, section 4 and figure 6, made causal; Vaswani et al. 2017
    (arXiv 1706.03762), equation 1.
    """

    def __init__(self, *, dim_in: int, dim_out: int, dim_inner: int) -> None:
        super().__init__()
        if min(dim_in, dim_out, dim_inner) < 1:
            raise ValueError(
                f"an attention head needs sizes of at least 1; got dim_in={dim_in}, "
                f"dim_out={dim_out}, dim_inner={dim_inner}"
            )
        self.dim_inner = dim_inner
        self.to_qkv = Linear(dim_in, dim_inner * 3, bias=False)
        self.to_out = Linear(dim_inner, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(x).chunk(3, dim=-1)  # (b, n, k) each
        return self.to_out(attend(q, k, v))  # (b, n, dim_out)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """The outputs at the next positions; keys and values of the past come from the cache."""
        q, kv = self.to_qkv(x).tensor_split([self.dim_inner], dim=-1)  # (b, m, k), (b, m, 2 k)
        k, v = cache.append(self, kv).chunk(2, dim=-1)  # (b, t, k) each
        return self.to_out(attend(q, k, v))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The last ``m`` of ``t`` positions look back: ``q (b, m, k)``, ``k, v (b, t, k)``."""
    m, t = q.shape[1], k.shape[1]
    mask = None
    if 1 < m < t:  # a single last position sees all; m = t is the plain triangle
        mask = torch.ones(m, t, dtype=torch.bool, device=q.device).tril(t - m)
    q, k, v = (part[:, None] for part in (q, k, v))  # fast kernels want an axis for the heads
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=1 < m == t)
    return out[:, 0]
