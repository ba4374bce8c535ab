# %% [markdown]
# # Exercises 07: local windows
#
# You practise the two steps that make windows out of a text, the mask that keeps nobody from voting,
# and the reach of a stack whose windows differ. About 55 minutes, after lesson 07.
# `hint(pad_to_multiple)`, `hint(look_back)`, `hint(local_shares)`, `hint(heard_from)` and
# `hint(numbers_that_learn)` give hints, one at a time.

# %%
import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from gmlp.checks import check, hint

# %% [markdown]
# ## 1. Fill up the last window
#
# ●●○ · 10 minutes · rebuild
#
# The chapter's `pad_end` works along axis 1 and appends zeros. Write the general one: append `value`
# along the axis `dim` until its length is a multiple of `multiple`, and not one entry more. `dim`
# may be counted from the front or, if it is negative, from the end. For example
# `pad_to_multiple(torch.tensor([5.0, 6.0, 7.0]), 2)` is `5, 6, 7, 0`, and with `3` in place of `2`
# it is `5, 6, 7`.
#
# Shapes: `x (…, n, …)` with any number of axes; the answer is `(…, m, …)`, where `m` is the smallest
# multiple that is at least `n`.


# %%
def pad_to_multiple(x: Tensor, multiple: int, dim: int = -1, value: float = 0.0) -> Tensor:
    """x with `value` appended along dim until its length is a multiple of `multiple`."""
    ### BEGIN SOLUTION
    missing = -x.shape[dim] % multiple
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat([x, x.new_full(shape, value)], dim=dim)
    ### END SOLUTION


# %%
check(pad_to_multiple)

# %% [markdown]
# ## 2. Look back
#
# ●●○ · 10 minutes · rebuild
#
# Put the window before in front of each window. Before the first window there is nothing: zeros. With
# windows of 2 and the letters `ab cd ef`, where `·` is a zero, the answer is `··ab abcd cdef`.
#
# Shapes: `own (b, a, w, c)`, that is `a` windows of `w` positions with `c` channels; the answer is
# `(b, a, 2w, c)`.


# %%
def look_back(own: Tensor) -> Tensor:
    """Each window behind the one before it: (b, a, w, c) -> (b, a, 2w, c)."""
    ### BEGIN SOLUTION
    nothing = torch.zeros_like(own[:, :1])  # (b, 1, w, c)
    before = torch.cat([nothing, own[:, :-1]], dim=1)  # (b, a, w, c)
    return torch.cat([before, own], dim=2)
    ### END SOLUTION


# %%
check(look_back)

# %% [markdown]
# ## 3. Nobody may vote
#
# ●●○ · 15 minutes · debug
#
# Somebody gave attention the windows of section 7.8, and did not forget that before the first window
# stands nobody. But give it scores that are all 0, three
# windows of 2 positions: each row should then be shared out evenly among the positions that it may
# read, and in window 0 the two columns on the left stand for nobody.


# %%
def found_local_shares(scores: Tensor) -> Tensor:
    """The shares of attention in windows, as they were found."""
    a, w = scores.shape[1:3]
    may_read = torch.ones(a, w, 2 * w, dtype=torch.bool).tril(w)
    may_read[:, 0, :w] = False
    return scores.masked_fill(~may_read, -math.inf).softmax(-1)


for number, window in enumerate(found_local_shares(torch.zeros(1, 3, 2, 4))[0]):
    for row, shares in enumerate(window.tolist()):
        print(f"window {number}, row {row}:", "  ".join(f"{share:.2f}" for share in shares))

# %% [markdown]
# Row 1 of window 0 gives half of its attention to nobody, and row 0 of windows 1 and 2 hears only
# itself. No output reads the future, so the test of lesson 02 finds nothing. Find out what is wrong,
# and write the shares as they should be.
#
# Shapes: `scores (b, a, w, 2w)`: texts, windows, rows, and the columns of the window before and of
# the own one. The answer has the same shape.


# %%
def local_shares(scores: Tensor) -> Tensor:
    """The shares of attention in windows, mended: (b, a, w, 2w) -> (b, a, w, 2w)."""
    ### BEGIN SOLUTION
    a, w = scores.shape[1:3]
    may_read = torch.ones(a, w, 2 * w, dtype=torch.bool, device=scores.device).tril(w)
    may_read[0, :, :w] = False
    return scores.masked_fill(~may_read, -math.inf).softmax(-1)
    ### END SOLUTION


# %%
check(local_shares)

# %% [markdown]
# ## 4. A stack of different windows
#
# ●●● · 15 minutes · extend
#
# The stack of section 7.7 had the same window in each layer. Let every layer have its own: `windows`
# lists them, the layer nearest to the text first. From which position on does output `i` of the last
# layer hear the text?
#
# For windows of 4 in two layers and `i = 39` the chapter had 28: the last layer reads from 32 on, and
# what stands at 32 there has heard from 28 on. Mind the order: `heard_from(39, [4, 16])` is 12,
# `heard_from(39, [16, 4])` is 16.
#
# Shapes: none; `i` is a position, counted from 0; the answer is a number of the same kind.


# %%
def heard_from(i: int, windows: list[int]) -> int:
    """The earliest position that output i hears through layers with these windows."""
    ### BEGIN SOLUTION
    for w in reversed(windows):
        i = max(0, (i // w - 1) * w)
    return i
    ### END SOLUTION


# %%
check(heard_from)

# %% [markdown]
# ## 5. Say it first: the numbers that learn
#
# ●●○ · 5 minutes · predict
#
# A `CausalLocalSGU` has one head and windows of 16, so its `W` is `(16, 32)`: 512 numbers. A number
# that no output depends on gets the gradient 0, and never learns. How many of the 512 get a gradient
# other than 0 from texts of exactly 16 positions? And how many, if the texts have 17?
#
# Take a pencil. Return both numbers.


# %%
def numbers_that_learn() -> tuple[int, int]:
    """How many of W's 512 numbers get a gradient from texts of 16 positions; and of 17?"""
    ### BEGIN SOLUTION
    return 136, 152
    ### END SOLUTION


# %%
check(numbers_that_learn)
