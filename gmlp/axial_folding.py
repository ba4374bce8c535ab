"""Lesson 08, axial folding: every e-th token forms a sequence of its own, and far becomes near."""

import torch
from einops import rearrange
from torch import Tensor, nn

from gmlp.local_windows import pad_to_multiple
from gmlp.ops import Cache, causal_conv, step


class AxiallyFold(nn.Module):
    r"""Deal the positions to ``e`` sequences, run a layer on each, and mix them back.

    Position ``i`` goes to sequence ``i mod e``. Inside, tokens that stood ``e`` apart are
    neighbours, so a layer with reach ``r`` reaches ``e r``. Afterwards a causal convolution, one
    filter of width ``e`` a channel, lets the sequences meet again:

    .. math:: y_i = fn(x_{i \bmod e},\, x_{i \bmod e + e},\, \dots)_{\lfloor i / e \rfloor}

    .. math:: out_{i,c} = \sum_{k=0}^{e-1} K_{c,k} \, y_{i - e + 1 + k,\,c} + a_c

    with ``y`` zero before the first position. ``e = 1`` is the layer alone, without convolution.

    Args:
        dim: channels ``d``.
        every: ``e``, the number of sequences.
        fn: a causal layer, ``(b e, ceil(n / e), d) -> (b e, ceil(n / e), d)``.

    Shapes:
        ``(b, n, d) -> (b, n, d)`` for every ``n``; it need not be a multiple of ``e``.

    Raises:
        ValueError: a fold below 1.

    Source: the public gMLP-GPT code, after the axes of Ho et al. 2019 (arXiv 1912.12180).
    """

    def __init__(self, dim: int, every: int, fn: nn.Module) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every, the fold, must be at least 1; got every={every}")
        self.fn = fn
        self.every = every
        self.conv = nn.Conv1d(dim, dim, kernel_size=every, groups=dim) if every > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is None:
            return self.fn(x)
        n, e = x.shape[1], self.every
        x = pad_to_multiple(x, e, dim=1)
        x = rearrange(x, "b (n e) d -> (b e) n d", e=e)
        x = self.fn(x)
        x = rearrange(x, "(b e) n d -> b (n e) d", e=e)
        return causal_conv(x[:, :n], self.conv.weight, self.conv.bias)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """The outputs at the next positions; each of the ``e`` sequences has its own cache."""
        if self.conv is None:
            return step(self.fn, x, cache)
        e, m, read = self.every, x.shape[1], cache.read(self)
        y = torch.empty_like(x)
        for residue, own in enumerate(cache.residues(self, e)):
            first = (residue - read) % e  # the first new position of this sequence
            if first < m:
                y[:, first::e] = step(self.fn, x[:, first::e], own)
        seen = cache.append_tail(self, y, e - 1)
        return causal_conv(seen, self.conv.weight, self.conv.bias)[:, e - 1 :]
