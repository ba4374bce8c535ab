# %% [markdown]
# # Exercises 08: axial folding
#
# You practise folding, the convolution that lets the hands meet again, and saying who reads whom before anything runs. About 70
# minutes, after lesson 08. `hint(fold)`, `hint(causal_conv)`, `hint(folded_layer)`, `hint(fold_reads)` and
# `hint(heard_through_two_folds)` give hints, one at a time.

# %%
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from gmlp.checks import check, hint

Layer = Callable[[Tensor], Tensor]

# %% [markdown]
# ## 1. Deal
#
# ●○○ · 10 minutes · rebuild
#
# Deal the positions of every text to `e` hands: position `i` becomes card `i // e` of hand `i % e`. Each hand is a sequence of its own: first all hands of
# text 0, in order, then those of text 1. Where the length is no multiple of `e`, append zeros to the text, as few as it takes.
#
# With `e = 4`, a text of the positions 0 to 9 becomes four sequences: 0 4 8, 1 5 9, then 2 6 and a zero, 3 7 and a zero.
#
# Shapes: `x (b, n, d)`; the answer is `(b e, m, d)`, where `m` is `n / e`, rounded up.


# %%
def fold(x: Tensor, e: int) -> Tensor:
    """The e hands of each text, one after the other: (b, n, d) -> (b e, m, d)."""
    ### BEGIN SOLUTION
    x = F.pad(x, (0, 0, 0, -x.shape[1] % e))
    return rearrange(x, "b (n e) d -> (b e) n d", e=e)
    ### END SOLUTION


# %%
check(fold)

# %% [markdown]
# ## 2. Collect from those before
#
# ●●○ · 15 minutes · rebuild
#
# Write the depthwise causal convolution. Position `i` of channel `c` collects from itself and from the `e - 1` positions before it, each times a weight
# of row `c` of the kernel; then the channel's bias is added. The last weight is for the position itself, the one before it for position `i - 1`, and so on. Nothing stands before the first position. A
# loop is as good as `F.conv1d`.
#
# One channel, the kernel 1, 10, 100, and a bias of 5: from 1 0 0 2 0 0 come 105 15 6 205 25 7.
#
# Shapes: `x (b, n, d)`, `kernel (d, e)`, `bias (d,)`; the answer is `(b, n, d)`. `n` is larger than `e`.


# %%
def causal_conv(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Each channel of x (b, n, d), convolved with its row of kernel (d, e): (b, n, d)."""
    ### BEGIN SOLUTION
    d, e = kernel.shape
    x = F.pad(x.transpose(1, 2), (e - 1, 0))  # (b, d, n + e - 1)
    return F.conv1d(x, kernel[:, None], bias, groups=d).transpose(1, 2)
    ### END SOLUTION


# %%
check(causal_conv)

# %% [markdown]
# ## 3. The hands that never meet
#
# ●●○ · 15 minutes · debug
#
# This is somebody's folded layer. `fn` is a causal layer, and `mix` a causal convolution of width `e`. No output reads the future, and every test of lesson 02
# passes. But something is missing.
#
# We try it with two layers whose outputs are easy to follow: `fn` adds up all that came before, `mix` the last three. Of twelve positions only 5 holds a 1.
# With a fold of 3 every position from 5 on should hear of it.


# %%
def found_folded_layer(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    """A folded layer, as it was found."""
    n = x.shape[1]
    x = F.pad(x, (0, 0, 0, -n % e))
    x = rearrange(x, "b (n e) d -> (b e) n d", e=e)
    x = mix(fn(x))
    x = rearrange(x, "(b e) n d -> b (n e) d", e=e)
    return x[:, :n]


def running_sum(x: Tensor) -> Tensor:
    return x.cumsum(dim=1)


def last_three(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 2, 0)).unfold(1, 3, 1).sum(-1)


x = torch.zeros(1, 12, 1)
x[0, 5] = 1
heard = found_folded_layer(x, 3, running_sum, last_three)
print("heard at", *heard[0, :, 0].nonzero().flatten().tolist())

# %% [markdown]
# 6 and 7 hear nothing, nor do 9 and 10. Find out why, and write the layer as it should be. It uses `fn` once and `mix` once.
#
# Shapes: `x (b, n, d)`, for every `n`; `fn` and `mix` keep the shape; the answer is `(b, n, d)`.


# %%
def folded_layer(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    """fn on each of e hands, then mix, mended: (b, n, d) -> (b, n, d)."""
    ### BEGIN SOLUTION
    n = x.shape[1]
    x = F.pad(x, (0, 0, 0, -n % e))
    x = rearrange(x, "b (n e) d -> (b e) n d", e=e)
    x = fn(x)
    x = rearrange(x, "(b e) n d -> b (n e) d", e=e)
    return mix(x[:, :n])
    ### END SOLUTION


# %%
check(folded_layer)

# %% [markdown]
# ## 4. Foretell any fold
#
# ●●● · 20 minutes · extend
#
# The chapter foretold who reads whom for windows, and for kernels as wide as the fold. Now for any layer and any width. `inner` says for the layer alone which place reads which:
# row `a`, column `c` is `True` if place `a` reads place `c`. Run it in `e` hands of `m` places each, and then a causal convolution of width `width`: position `i` collects from itself and the `width - 1` before it.
# Which positions `j` does output `i` read?
#
# With two places, of which each reads only itself, two hands and a width of 2, position 3 reads 2 and 3. If place 1 also reads place 0, it reads 0 and 1 as well.
#
# Shapes: `inner (m, m)`, bool; the answer is `(n, n)`, bool, with `n = m e`: row `i` reads column `j`.


# %%
def fold_reads(inner: Tensor, e: int, width: int) -> Tensor:
    """Who reads whom, after a fold by e and a convolution: (m, m) -> (m e, m e)."""
    ### BEGIN SOLUTION
    i = torch.arange(len(inner) * e)[:, None]
    j = i.T
    hands = (i % e == j % e) & inner[i // e, j // e]
    kernel = (i - j >= 0) & (i - j < width)
    return kernel.float() @ hands.float() > 0
    ### END SOLUTION


# %%
check(fold_reads)

# %% [markdown]
# ## 5. Two folds take turns
#
# ●●○ · 10 minutes · predict
#
# 24 positions, ten layers, and **no** convolution. The layers take turns: the first deals to 4 hands, the second to 6, the third to 4 again, and so on. In its hand, a position reads
# everything up to itself. How many of the 24 positions does the last one, 23, read in the end, itself included? Take a pencil; then write the number down.


# %%
def heard_through_two_folds() -> int:
    """How many of 24 positions 23 reads, itself included, through ten folds by 4 and 6."""
    ### BEGIN SOLUTION
    return 11  # 0 back, and 4, 6, 8 … 22
    ### END SOLUTION


# %%
check(heard_through_two_folds)
