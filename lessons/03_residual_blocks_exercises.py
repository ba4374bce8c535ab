# %% [markdown]
# # Exercises 03: residual blocks
#
# You practise the two small parts that a deep stack is made of: a gate without learned weights, and
# the step that goes around a layer. About 20 minutes, after chapter 03. `hint(geglu)` and
# `hint(residual_step)` give hints, one at a time.

# %%
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks import check, hint

Layer = Callable[[Tensor], Tensor]

# %% [markdown]
# ## 1. A gate made of GELU
#
# ●○○ · 10 minutes · rebuild
#
# Cut the channels into two halves, consecutive and equal. The first half is the value; the second
# goes through GELU and multiplies it. GELU is `F.gelu`, the exact one, without an approximation.
#
# Shapes: `x (b, n, 2c)`; the answer is `(b, n, c)`.


# %%
def geglu(x: Tensor) -> Tensor:
    """The first half of the channels of x (b, n, 2c), times GELU of the second: (b, n, c)."""
    ### BEGIN SOLUTION
    value, gate = x.chunk(2, dim=-1)
    return value * F.gelu(gate)
    ### END SOLUTION


# %%
check(geglu)

# %% [markdown]
# ## 2. Around the layer, untouched
#
# ●●○ · 10 minutes · debug
#
# This is the residual step of somebody's model. It has every part that it needs: a sum, a norm, a
# layer `f`. But a layer that has nothing to say should do no harm, so we try one that returns
# zeros. `x` should then come out as it went in: 3, 1, -1, -3.


# %%
def found_residual_step(x: Tensor, norm: Layer, f: Layer) -> Tensor:
    """A residual step around f, as it was found."""
    return norm(x + f(x))


x = torch.tensor([[[3.0, 1.0, -1.0, -3.0]]])  # (b, n, c)
norm = nn.LayerNorm(4, elementwise_affine=False)
found_residual_step(x, norm, torch.zeros_like)

# %% [markdown]
# It does not: already the first step loses the size of `x` for good. Find out why, and write the step as
# it should be. It still has one sum, one norm and one `f`, and `f` still sees numbers of standard size.
#
# Shapes: `x (b, n, c)`; `norm` and `f` keep the shape; the answer is `(b, n, c)`.


# %%
def residual_step(x: Tensor, norm: Layer, f: Layer) -> Tensor:
    """A residual step around f, mended: (b, n, c) -> (b, n, c)."""
    ### BEGIN SOLUTION
    return x + f(norm(x))
    ### END SOLUTION


# %%
check(residual_step)
