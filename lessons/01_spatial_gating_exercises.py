# %% [markdown]
# # Exercises 01: spatial gating
#
# You practise the one step in which tokens talk: mixing along the sequence, with heads. About 15
# minutes, after chapter 01.
#
# Write your code where `raise NotImplementedError` stands, then run the cell below it. `check`
# tries your function on small random inputs, new ones each time, and compares values and
# gradients. If it recognises your mistake, it says which one you made. `hint(spatial_mix)` gives a
# hint: a question first, then a pointer, then a sketch.

# %%
from einops import rearrange
from torch import Tensor

from gmlp.checks import check, hint

# %% [markdown]
# ## 1. Mix along the sequence
#
# ●●○ · 15 minutes · rebuild (the dots say how hard)
#
# Every position collects from all positions, with weights of its own. The channels are cut into
# `h` equal groups, the heads: the first `d / h` channels are head 0, the next `d / h` are head 1,
# and so on. Each head has its own matrix and its own bias. For a channel of head `k`:
#
# $$out[b, i] = \sum_j weight[k, i, j] \; v[b, j] + bias[k, i]$$
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
