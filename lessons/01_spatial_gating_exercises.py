# %% [markdown]
# # Exercises 01: spatial gating
#
# You practise the one step in which tokens talk: mixing along the sequence, from a single matrix to the unit with its gate,
# and to heads. About 55 minutes, after lesson 01.
#
# Write your code where `raise NotImplementedError` stands, then run the cell below it. `check` tries your function on small random
# inputs, new ones each time, and compares values and gradients. If it recognises your mistake, it says which one you made.
# `hint(per_token_accuracy)`, `hint(weighted_sums)`, `hint(shift_matrix)`, `hint(sgu)` and `hint(spatial_mix)` give hints, one at a
# time: a question first, then a pointer, then a sketch.

# %%
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.checks import check, hint

Layer = Callable[[Tensor], Tensor]

# %% [markdown]
# ## 1. The best without talk
#
# ●●○ · 5 minutes · predict (the dots say how hard)
#
# In 1.1 the words had twelve letters, and at reversing them a per-token network got no further than chance. Now the words have *five* random
# letters, out of the same ten. The network is trained as long as you like. It still sees one letter at a time, and is not told where
# that letter stands.
#
# Which accuracy can it reach at reversing, as a fraction from 0 to 1? Put `return` and your number where the `raise` stands.


# %%
def per_token_accuracy() -> float:
    """The best accuracy, from 0 to 1, of a per-token network at reversing five letters."""
    ### BEGIN SOLUTION
    return (1 + 4 * 0.1) / 5
    ### END SOLUTION


# %%
check(per_token_accuracy)

# %% [markdown]
# ## 2. It passed its test
#
# ●○○ · 10 minutes · debug
#
# Somebody wrote the loops of 1.2 for a whole batch, `v (b, n, d)`: every position becomes a weighted sum of all
# positions, and row `i` of `weight` says from where position `i` collects. It was tested with the matrix that reverses, and it
# reversed. Here is the same test, and then the matrix that moves everything one place to the right.


# %%
def found_weighted_sums(v: Tensor, weight: Tensor) -> Tensor:
    """Every position becomes a weighted sum of all positions, as it was found."""
    out = torch.zeros_like(v)
    for i in range(len(weight)):
        for j in range(len(weight)):
            out[:, j] += weight[i, j] * v[:, i]
    return out


word = torch.tensor([[[1.0], [2.0], [3.0]]])  # (b=1, n=3, d=1)
reverse, shift = torch.eye(3).flip(0), torch.eye(3).roll(1, dims=0)
print("reversed", found_weighted_sums(word, reverse).flatten().tolist())
moved = found_weighted_sums(word, shift)
print("shifted ", moved.flatten().tolist(), "instead of [3, 1, 2]")

# %% [markdown]
# The second word moved to the left. Find out why the first test could not see that, and write the function as it should be:
#
# $$out[b, i] = \sum_j weight[i, j] \; v[b, j]$$
#
# Shapes: `v (b, n, d)`, `weight (n, n)`; the answer is a new tensor, `(b, n, d)`. You may keep the loops.


# %%
def weighted_sums(v: Tensor, weight: Tensor) -> Tensor:
    """Every position of v (b, n, d): the sum of all, weighted by its row of weight (n, n)."""
    ### BEGIN SOLUTION
    return weight @ v
    ### END SOLUTION


# %%
check(weighted_sums)

# %% [markdown]
# ## 3. A shift by any number of places
#
# ●●○ · 10 minutes · extend
#
# The shift of 1.2 moved by one place, and the last position wrapped around to the front. Build the matrix that
# shifts by `k` places, without wrapping around: in `matrix @ v`, position `i` holds what was at `i - k`, and 0 where there is no such
# position. So a positive `k` shifts to the right. A negative `k` shifts to the left, and 0 changes nothing. For `n = 3`:
#
# ```
# k = 1:  0 0 0     k = -1:  0 1 0
#         1 0 0              0 0 1
#         0 1 0              0 0 0
# ```
#
# Shapes: `-n < k < n`; the answer is `(n, n)`, float32.


# %%
def shift_matrix(n: int, k: int) -> Tensor:
    """The matrix (n, n): position i collects what position i - k holds, or else 0."""
    ### BEGIN SOLUTION
    matrix = torch.zeros(n, n)
    for i in range(n):
        if 0 <= i - k < n:
            matrix[i, i - k] = 1
    return matrix
    ### END SOLUTION


# %%
check(shift_matrix)

# %% [markdown]
# ## 4. The spatial gating unit
#
# ●●○ · 15 minutes · rebuild
#
# Write the unit of 1.4 as a function, with one head. The channels are cut in two consecutive halves, $u$ and $v$ in this
# order; $v$ is normalised and mixed along the sequence, the bias is added, and the result is the gate of $u$:
#
# $$out = (W \, \mathrm{norm}(v) + b) \odot u$$
#
# `norm` is a function that keeps the shape: a `LayerNorm` for `c` channels, with weights of its own.
#
# Shapes: `x (b, n, 2c)`, `weight (n, n)`, `bias (n,)`; the answer is `(b, n, c)`.


# %%
def sgu(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    """The first half of x's channels (b, n, 2c), gated by the second, mixed: (b, n, c)."""
    ### BEGIN SOLUTION
    u, v = x.chunk(2, dim=-1)  # (b, n, c) each
    gate = weight @ norm(v) + bias[:, None]  # (n, n) @ (b, n, c) + (n, 1)
    return gate * u
    ### END SOLUTION


# %%
check(sgu)

# %% [markdown]
# ## 5. Mix along the sequence, with heads
#
# ●●● · 15 minutes · rebuild
#
# Every position collects from all positions, with weights of its own. The channels are cut into
# `h` equal groups, the heads: the first `d / h` channels are head 0, the next `d / h` are head 1,
# and so on. Each head has its own matrix and its own bias. For a channel of head `k`:
#
# $$out[:, i] = \sum_j weight[k, i, j] \; v[:, j] + bias[k, i]$$
#
# Shapes: `v (b, n, d)`, `weight (h, n, n)`, `bias (h, n)`; the answer is `(b, n, d)`.
# Loops are welcome. So is `rearrange`, if you would rather have two lines.


# %%
def spatial_mix(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Mix v (b, n, d) along n, with weight (h, n, n) and bias (h, n), one matrix a head."""
    ### BEGIN SOLUTION
    v = rearrange(v, "b n (h c) -> b h n c", h=weight.shape[0])
    mixed = weight @ v + rearrange(bias, "h n -> h n 1")
    return rearrange(mixed, "b h n c -> b n (h c)")
    ### END SOLUTION


# %%
check(spatial_mix)
