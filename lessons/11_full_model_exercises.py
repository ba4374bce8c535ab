# %% [markdown]
# # Exercises 11: the full model
#
# You practise what happens where parts meet: a window inside a fold, a residual around a fold, a text
# shorter than the model allows. About 70 minutes, after lesson 11. `hint(weight_shape)`,
# `hint(folded_step)`, `hint(any_length)`, `hint(live_numbers)` and `hint(hungriest_window)` give hints,
# one at a time.

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.checks import check, hint

Layer = Callable[[Tensor], Tensor]

# %% [markdown]
# ## 1. Look at L first
#
# ●○○ · 10 minutes · rebuild
#
# A layer of a model for `seq_len` positions has a window `w` and a fold `e`. Say which shape its $W$ has, as
# three numbers: heads, rows, columns. A unit with windows looks back, as in lesson 07. A unit whose window
# holds the whole folded sequence is a plain one; so is a unit with `w=None`, which reads everything.
#
# For 64 positions and one head, `(w, e)` of (8, 2) gives `(1, 8, 16)`, and (16, 4) gives `(1, 16, 16)`.
# `seq_len` need not be a multiple of `e`.


# %%
def weight_shape(seq_len: int, w: int | None, e: int, heads: int) -> tuple[int, int, int]:
    """Heads, rows and columns of W in a layer with window w and fold e."""
    ### BEGIN SOLUTION
    length = math.ceil(seq_len / e)
    if w is None or w >= length:
        return heads, length, length
    return heads, w, 2 * w
    ### END SOLUTION


# %%
check(weight_shape)

# %% [markdown]
# ## 2. Around the fold
#
# ●●○ · 10 minutes · debug
#
# A folded layer, written out: `norm` and `block` work on the `e` hands, and `join` is the causal convolution
# that brings neighbours of the text together again. We try a block that has nothing to say: it returns zeros. `join`
# takes here the mean of each position and the one before. The step should leave `x` as it was: 4, -4, 4, -4.


# %%
def found_folded_step(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    """A residual step around a folded layer, as it was found."""
    hands = rearrange(x, "b (n e) d -> (b e) n d", e=e)
    hands = hands + block(norm(hands))
    return join(rearrange(hands, "(b e) n d -> b (n e) d", e=e))


def mean_of_two(y: Tensor) -> Tensor:
    return (y + F.pad(y, (0, 0, 1, -1))) / 2  # -1 cuts the last position off


x = torch.tensor([4.0, -4.0, 4.0, -4.0]).view(1, 4, 1)  # (b, n, d)
norm = nn.LayerNorm(1)
found_folded_step(x, norm, torch.zeros_like, mean_of_two, e=2).flatten()

# %% [markdown]
# Almost nothing of it is left. It is causal, the shapes are right, and no test for leaks complains. Find out what
# happens to `x`, and write the step as it should be. It still has one norm, one block, one convolution and
# one sum.
#
# Shapes: `x (b, n, d)`, with `n` a multiple of `e`; `block` takes and returns `(b e, n / e, d)`; `norm` and
# `join` keep any shape; the answer is `(b, n, d)`.


# %%
def folded_step(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    """A residual step around a folded layer, mended: (b, n, d) -> (b, n, d)."""
    ### BEGIN SOLUTION
    hands = rearrange(norm(x), "b (n e) d -> (b e) n d", e=e)
    out = rearrange(block(hands), "(b e) n d -> b (n e) d", e=e)
    return x + join(out)
    ### END SOLUTION


# %%
check(folded_step)

# %% [markdown]
# ## 3. A law for every length
#
# ●●○ · 20 minutes · extend
#
# The lesson's law *any length* tried one length, 37. Faults like to hide at others: at a single token, at
# one that starts a new window, at all but the last. Write the strict test. It says `True` if, for **every** `m`
# from 1 to `n - 1`, the first `m` tokens alone give the same outputs as they do within all `n`; and `False`
# otherwise.
#
# - `model` maps tokens `(b, m)`, int64 numbers from 0 to `num_tokens - 1`, to logits `(b, m, num_tokens)`, for
#   every `m` from 1 to `n`. You may call it as often as you like, with tokens of your choice.
# - The models of the check compute exactly, so equal means equal to the last bit; and one text tells as much as many.


# %%
def any_length(model: nn.Module, n: int, num_tokens: int) -> bool:
    """Do the first m of n tokens, alone, give the outputs that they give among all, for every m?"""
    ### BEGIN SOLUTION
    tokens = torch.arange(n)[None] % num_tokens  # (1, n)
    whole = model(tokens)
    return all(torch.equal(model(tokens[:, :m]), whole[:, :m]) for m in range(1, n))
    ### END SOLUTION


# %%
check(any_length)

# %% [markdown]
# ## 4. Numbers that can learn
#
# ●●● · 20 minutes · extend
#
# The careful layer stores fewer numbers than the careless one, but even of these not all can learn. Those above
# the diagonal never get a gradient; and a short sequence never uses some others. Count, for one
# head, the numbers of $W$ that some position of a text of `seq_len` positions uses.
#
# The plain unit of layer (16, 4) stores 256 numbers for 64 positions. Each row uses the columns up to its own: 136.
# With (4, 1) and 6 positions $W$ is 4 by 8. All four rows use their own window, 10 numbers. But only the first two
# have ever a window before them, because the second window ends there: 8 more, 18 in all.


# %%
def live_numbers(seq_len: int, w: int, e: int) -> int:
    """How many numbers of W (one head) a layer with window w and fold e uses for seq_len positions."""
    ### BEGIN SOLUTION
    length = math.ceil(seq_len / e)
    own = min(w, length)  # rows that are used
    before = min(w, max(length - w, 0))  # those of them that have ever a window before them
    return own * (own + 1) // 2 + before * w
    ### END SOLUTION


# %%
check(live_numbers)

# %% [markdown]
# ## 5. The hungriest window
#
# ●●○ · 10 minutes · predict
#
# A model for 64 positions, one head, and a layer folded by 3. You may choose its window, from 1 to 64. **With which
# window does $W$ have the most numbers**, if the layer is made with care, as in the lesson?


# %%
def hungriest_window() -> int:
    """The window w, from 1 to 64, for which W has the most numbers: seq_len 64, fold 3."""
    ### BEGIN SOLUTION
    return 21  # one more and it holds all of L = 22
    ### END SOLUTION


# %%
check(hungriest_window)
