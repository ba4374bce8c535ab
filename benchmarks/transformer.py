"""The Transformer that the gMLP is measured against: nanoGPT's shape, in our own words."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.ops import Linear, linear  # as in the models that it is measured against


class Transformer(nn.Module):
    """A pre-norm Transformer with learned positions and no bias.

    The table that reads a token is also the one that scores the next: ``logits = norm(x) E^T``.

    Args:
        num_tokens: size ``v`` of the vocabulary.
        seq_len: the largest number of positions ``n``.
        dim, depth, heads: by default nanoGPT's shape for a CPU.
        dropout: chance to be set to zero in training, of what is read, of each weight that
            attention gives, and of what is added to the stream.

    Shapes:
        ``tokens (b, n)`` integer ``-> logits (b, n, v)``.

    Source: Radford et al. 2019 (GPT-2), with the shape, the initial weights and the shared table
    of github.com/karpathy/nanoGPT.
    """

    def __init__(
        self,
        num_tokens: int,
        seq_len: int,
        *,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_tokens, dim)
        self.position = nn.Embedding(seq_len, dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(*(Layer(dim, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                # What is added to the stream, twice a layer, starts smaller in a deeper model.
                into_stream = name.endswith("to_out.weight")
                nn.init.normal_(weight, std=0.02 / (2 * depth) ** 0.5 if into_stream else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.position.weight[: tokens.shape[1]]  # (b, n, d)
        return linear(self.norm(self.layers(self.dropout(x))), self.embed.weight)  # (b, n, v)


class Layer(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.LayerNorm(dim, bias=False), Attention(dim, heads, dropout)
        )
        self.mlp = nn.Sequential(nn.LayerNorm(dim, bias=False), MLP(dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(x))
        return x + self.dropout(self.mlp(x))


class Attention(nn.Module):
    """Causal self-attention of ``heads`` heads, each ``dim / heads`` wide."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_qkv = Linear(dim, 3 * dim, bias=False)
        self.to_out = Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.to_qkv(x), "b n (t h c) -> t b h n c", t=3, h=self.heads)
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        return self.to_out(rearrange(out, "b h n c -> b n (h c)"))


class MLP(nn.Module):
    """Four times as wide inside, with a GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_inner = Linear(dim, 4 * dim, bias=False)
        self.to_out = Linear(4 * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out(F.gelu(self.to_inner(x)))
