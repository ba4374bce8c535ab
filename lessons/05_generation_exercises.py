# %% [markdown]
# # Exercises 05: generation
#
# You practise both halves of writing: which byte is drawn, and what need not be read again. The filters now work on a whole batch, and the cache
# takes several new positions at once. About 70 minutes, after lesson 05. `hint(top_k)`, `hint(top_p)`, `hint(next_token_chances)`,
# `hint(mix_next)` and `hint(vectors_to_recompute)` give hints, one at a time.

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks import check, hint

# %% [markdown]
# ## 1. The k likeliest, in every row
#
# ●○○ · 10 minutes · rebuild
#
# Keep the `k` largest logits of each row and set the others to `-math.inf`. What stays keeps its value and its place. Every row is a text of its
# own. `k` is at least 1 and less than `v`, and no two logits of a row are equal.
#
# For example, with `k = 2` the row `[1, 5, 3, 2]` becomes `[-inf, 5, 3, -inf]`.
#
# Shapes: `logits (b, v)`; the answer is a new tensor, `(b, v)`.


# %%
def top_k(logits: Tensor, k: int) -> Tensor:
    """The logits (b, v), all but the k largest of each row set to -inf."""
    ### BEGIN SOLUTION
    least = logits.topk(k).values[:, -1:]  # (b, 1), the k-th largest
    return logits.masked_fill(logits < least, -math.inf)
    ### END SOLUTION


# %%
check(top_k)

# %% [markdown]
# ## 2. As many as it takes, in every row
#
# ●●○ · 20 minutes · rebuild
#
# In each row, keep the smallest set of likeliest bytes whose chances add up to `p` or more; their logits keep value and place, the others
# become `-math.inf`. How many bytes that takes may be different in each row. At least one always stays, since `0 < p < 1`.
#
# For example, where four bytes have the chances `[0.15, 0.5, 0.05, 0.3]`, `p = 0.6` keeps the second and the fourth, and `p = 0.4` keeps the second alone.
#
# A tool: where `order` comes from a sort, row by row, `torch.zeros_like(x).scatter(-1, order, x)` puts the sorted values back to where they came from.
#
# Shapes: `logits (b, v)`; the answer is a new tensor, `(b, v)`.


# %%
def top_p(logits: Tensor, p: float) -> Tensor:
    """The logits (b, v), all outside the smallest set that holds p set to -inf, row by row."""
    ### BEGIN SOLUTION
    chances, order = logits.softmax(-1).sort(descending=True)  # (b, v) each
    dropped = chances.cumsum(-1) - chances >= p  # what all likelier bytes hold together
    dropped = torch.zeros_like(dropped).scatter(-1, order, dropped)  # back to the places of bytes
    return logits.masked_fill(dropped, -math.inf)
    ### END SOLUTION


# %%
check(top_p)

# %% [markdown]
# ## 3. A temperature that does nothing
#
# ●●○ · 15 minutes · debug
#
# This function returns the chances from which the next byte is drawn, with a temperature and top-p. Its filter is right: it keeps the smallest
# set that holds `p`, and puts every chance back to the place of its byte. But try some temperatures.


# %%
def found_next_token_chances(logits, temperature, p):
    """The chances of the next byte, as they were found."""
    chances, order = logits.softmax(-1).sort(descending=True)
    before = chances.cumsum(-1) - chances
    chances = chances.masked_fill(before >= p, 0) / temperature
    chances = chances / chances.sum(-1, keepdim=True)
    return torch.zeros_like(chances).scatter(-1, order, chances)


scores = torch.tensor([[1.0, 3.0, 0.0, 2.0]])  # (b, v)
for temperature in (0.5, 1, 2):
    found = found_next_token_chances(scores, temperature, 0.9)
    print(f"T = {temperature:<3}", " ".join(f"{chance:.2f}" for chance in found[0].tolist()))

# %% [markdown]
# Three times the same. Find out why, and write the function as it should be. `p` speaks of the chances that are really drawn from, as it
# does in the lesson: all that the temperature does is done when the filter looks at them.
#
# Shapes: `logits (b, v)`; the answer is `(b, v)`, each row adds up to 1, and bytes outside the set have the chance 0.


# %%
def next_token_chances(logits: Tensor, temperature: float, p: float) -> Tensor:
    """The chances (b, v) of the next byte, with a temperature and top-p."""
    ### BEGIN SOLUTION
    chances, order = (logits / temperature).softmax(-1).sort(descending=True)
    before = chances.cumsum(-1) - chances
    chances = chances.masked_fill(before >= p, 0)
    chances = chances / chances.sum(-1, keepdim=True)
    return torch.zeros_like(chances).scatter(-1, order, chances)
    ### END SOLUTION


# %%
check(next_token_chances)

# %% [markdown]
# ## 4. Several new positions at once
#
# ●●● · 20 minutes · extend
#
# The lesson's cache takes one new position at a time, so a prompt of 50 bytes needs 50 steps. Let it take `m` of them at once. `past` holds the
# normed $v$ of the `t` positions so far, 0 to t - 1; `v` is that of the next `m`, not normed yet. Each new position `i` collects
# $\sum_{j \le i} W_{i,j} \, v_j + b_i$, over the normed $v$ of the past and of the new ones.
#
# - Return two things: what was mixed, at the new positions only, and the normed $v$ of all positions, which the next call gets as `past`.
# - `weight` is $W$ as it is learned: nothing above its diagonal has been set to zero. It has rows for longer texts, too.
# - Mind that `t` does not count the new positions here; the lesson's `t` counted its new one. At the start of a text `past` is `(b, 0, c)`.
# - There is one head, and `norm` looks at each position alone.
#
# Shapes: `v (b, m, c)`, `past (b, t, c)`, `weight (n, n)`, `bias (n,)`, with `t + m < n`; the answers are `(b, m, c)` and `(b, t + m, c)`.


# %%
def mix_next(
    v: Tensor, past: Tensor, norm: Callable[[Tensor], Tensor], weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """The mixed values of m new positions, and the normed v of all: (b, m, c), (b, t + m, c)."""
    ### BEGIN SOLUTION
    seen = torch.cat([past, norm(v)], dim=1)  # (b, t + m, c)
    t, s = past.shape[1], seen.shape[1]
    rows = weight[t:s, :s].tril(t)  # (m, t + m): the first may read t + 1 of them
    return rows @ seen + bias[t:s, None], seen
    ### END SOLUTION


# %%
check(mix_next)

# %% [markdown]
# ## 5. One byte was wrong
#
# ●●○ · 5 minutes · predict
#
# A causal gMLP with 4 layers has read `The import statement`, 20 bytes, with a cache. It keeps one vector, the normed $v$, for each layer and each position: 80 in
# all. Then you see that the fifth byte should have been a capital: `The Import statement`. How many of the 80 vectors have to be computed again? (No weight of $W$ on or below the diagonal is zero.)


# %%
def vectors_to_recompute() -> int:
    """How many of 4 times 20 kept vectors change when the fifth byte does?"""
    ### BEGIN SOLUTION
    return 1 + 3 * 16
    ### END SOLUTION


# %%
check(vectors_to_recompute)
