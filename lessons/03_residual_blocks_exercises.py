# %% [markdown]
# # Exercises 03: residual blocks
#
# You practise the small parts that a deep stack is made of: a gate without learned weights, the step that goes
# around a layer, and the layer as a whole. Then you say what is left of `x` after sixteen layers, and who added what.
# About 60 minutes, after lesson 03. `hint(geglu)`, `hint(residual_step)`, `hint(GMLPLayer)`, `hint(share_left)` and
# `hint(contributions)` give hints, one at a time.

# %%
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp import CausalSGU
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
norm = nn.LayerNorm(4, elementwise_affine=False)  # without learned numbers
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

# %% [markdown]
# ## 3. A whole layer
#
# ●●○ · 15 minutes · rebuild
#
# Write one layer of our models as a single module: norm, widen, GELU, unit, narrow, and a residual around it all.
# It computes the same as `Residual(PreNorm(dim, gMLPBlock(dim, dim_ff, sgu)))`:
#
# $$Z = \mathrm{GELU}(\mathrm{LayerNorm}(x)\,U), \qquad out = x + \mathrm{SGU}(Z)\,V$$
#
# The unit is given: `sgu` turns `dim_ff` channels into `dim_ff / 2`. Build the rest of `nn.LayerNorm`, `nn.Linear` and
# GELU; both linear layers have a bias. Name the parts as you like: the check gives them weights by kind and shape.
#
# Shapes: `x (b, n, dim)`; the answer is `(b, n, dim)`.


# %%
class GMLPLayer(nn.Module):
    """A pre-norm gMLP layer, (b, n, dim) -> (b, n, dim); sgu is (b, n, dim_ff) -> (b, n, dim_ff / 2)."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        ### BEGIN SOLUTION
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.proj_in = nn.Linear(dim, dim_ff)  # U
        self.sgu = sgu
        self.proj_out = nn.Linear(dim_ff // 2, dim)  # V
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        z = F.gelu(self.proj_in(self.norm(x)))  # (b, n, dim_ff)
        return x + self.proj_out(self.sgu(z))
        ### END SOLUTION


# %%
check(GMLPLayer)

# %% [markdown]
# ## 4. What of x is left
#
# ●●○ · 10 minutes · predict
#
# Back to post-norm, the step that you mended in 2: each layer returns `LayerNorm(x + f(x))`, with the norm of exercise 2. The
# `x` that enters the first layer has mean 0 and variance 1 over its channels. Let every `f` return numbers with mean 0
# and variance 1, too, that have nothing to do with its input, nor with anything that was added before. (With many
# channels, random numbers come close to this.) Variances of numbers that have nothing to do with one another add up.
#
# The output of sixteen layers is then the first `x` times some factor, plus what the layers added, each with a factor
# of its own. In pre-norm the factor of `x` would be 1. What is it here? Put
# `return` and your number where the `raise` stands, before you try it out.
#
# Shapes: none; the answer is one number. A fraction such as `1 / 10` will do, and so will a number that is off by less
# than 1 %.


# %%
def share_left() -> float:
    """The factor of the first x in the output of sixteen post-norm layers."""
    ### BEGIN SOLUTION
    return (1 / 2**0.5) ** 16  # each norm divides a sum of variance 2 by its size
    ### END SOLUTION


# %%
check(share_left)

# %% [markdown]
# ## 5. Who added what
#
# ●●○ · 15 minutes · extend
#
# In a stack of residual layers nothing is overwritten: the output is `x`, plus what the first layer added, plus what
# the second added, and so on. So one can ask which layer did the work. Take the sum apart: return `x`
# and what each layer added to it, in this order, stacked along a new first axis.
#
# For example, let `x` be 1, with two layers `f1(x) = 2 * x` and `f2(x) = x + 1`. The first adds 2, which makes 3; the
# second reads 3 and adds 4. The answer is 1, 2, 4, and the output of the stack is their sum, 7.
#
# - `layers` is a list of `k` functions `f`, from `(b, n, d)` to `(b, n, d)`. A norm, if there is one, is part of `f`.
# - The residual is yours: after layer `f`, `x` has become `x + f(x)`.
#
# Shapes: `x (b, n, d)`; the answer is `(k+1, b, n, d)`.


# %%
def contributions(x: Tensor, layers: list[Layer]) -> Tensor:
    """x (b, n, d), and what each of k residual layers adds to it: (k+1, b, n, d)."""
    ### BEGIN SOLUTION
    parts = [x]
    for f in layers:
        added = f(x)
        parts.append(added)
        x = x + added
    return torch.stack(parts)
    ### END SOLUTION


# %%
check(contributions)
