# %% [markdown]
# # Exercises 09: layer dropout
#
# You practise dropping numbers and layers, in training only, and counting what is left. About 55 minutes, after lesson 09.
# `hint(drop_numbers)`, `hint(surviving_layers)`, `hint(skip_layers)`, `hint(expected_layers)` and `hint(chance_of_a_layer)` give hints, one at a
# time.

# %%
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gmlp.checks import check, hint

Layer = Callable[[Tensor], Tensor]

# %% [markdown]
# ## 1. Drop numbers
#
# ●○○ · 10 minutes · rebuild
#
# Write dropout, with the chance handed in from outside: `draws` holds a number between 0 and 1 for every number of `x`. In training a number
# survives if its draw is below `p`; the others become 0. So here `p` is the chance to **survive**, as in the lesson; PyTorch's `Dropout` is given the chance to be dropped. Scale the
# survivors such that the mean stays, on average, as it was. When the model is not training, `x` passes as it is.
#
# Shapes: `x (b, n, d)`, `draws (b, n, d)`; the answer is `(b, n, d)`.


# %%
def drop_numbers(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
    """Dropout by given draws; p is the chance to survive: (b, n, d) -> (b, n, d)."""
    ### BEGIN SOLUTION
    if not training:
        return x
    return x * (draws < p) / p
    ### END SOLUTION


# %%
check(drop_numbers)

# %% [markdown]
# ## 2. Never none
#
# ●○○ · 10 minutes · rebuild
#
# One draw for each layer. A layer takes part in this pass if its draw is below `p`. If that would leave none, the one layer takes part whose draw came
# closest to `p`. Say for each layer whether it takes part.
#
# With the draws 0.8 0.4 0.9 and `p = 0.85`, the first two take part. With `p = 0.3`, the second alone does.
#
# Shapes: `draws (L,)`, for `L` layers; the answer is `(L,)`, bool.


# %%
def surviving_layers(draws: Tensor, p: float) -> Tensor:
    """Which layers take part in this pass, at least one: (L,) -> (L,), bool."""
    ### BEGIN SOLUTION
    alive = draws < p
    if not alive.any():
        alive[draws.argmin()] = True
    return alive
    ### END SOLUTION


# %%
check(surviving_layers)

# %% [markdown]
# ## 3. More is lost than a layer
#
# ●●○ · 15 minutes · debug
#
# This is somebody's stack with layer dropout. `branches` are the layers, each without its residual: a layer of the stack is `x + f(x)`. `alive` says which of them survived the draw of this
# pass.
#
# We try it on three branches that return ones, so a layer adds 1. With the middle one skipped, 3 and 1 should become 5 and 3 in training. In eval
# all three layers take part, whatever was drawn: 6 and 4.


# %%
def found_skip_layers(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    """A stack of residual layers, as it was found."""
    for f, kept in zip(branches, alive, strict=True):
        x = kept * (x + f(x))
    return x


x = torch.tensor([[[3.0, 1.0]]])  # (b, n, d)
branches, alive = [torch.ones_like] * 3, [True, False, True]
for training in (True, False):
    out = found_skip_layers(x, branches, alive, training)
    print("training:", training, out.flatten().tolist())

# %% [markdown]
# There are two faults in it. Find both, and write the stack as it should be. Nothing is scaled, neither in training nor in eval.
#
# Shapes: `x (b, n, d)`; a branch keeps the shape; `branches` and `alive` are lists of the same length; the answer is `(b, n, d)`.


# %%
def skip_layers(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    """Residual layers, some skipped in training, mended: (b, n, d) -> (b, n, d)."""
    ### BEGIN SOLUTION
    for f, kept in zip(branches, alive, strict=True):
        if kept or not training:
            x = x + f(x)
    return x
    ### END SOLUTION


# %%
check(skip_layers)

# %% [markdown]
# ## 4. To each layer its own chance
#
# ●●○ · 10 minutes · extend
#
# The chapter has one `p` for all layers. Huang et al. gave each its own: the first layer nearly always takes part, the last one about every second time. Each layer is drawn by itself. By the rule of this lesson, one
# layer takes part where none survived. How many take part on average?
#
# With the chances 0.5 and 0.5 it is the chapter's formula: 1.25. With 0 and 1 it is 1.
#
# Shapes: `chances` is a list of `L` numbers; the answer is one number.


# %%
def expected_layers(chances: Sequence[float]) -> float:
    """How many layers take part on average; chances[k] is that of layer k; never none."""
    ### BEGIN SOLUTION
    none = math.prod(1 - p for p in chances)
    return sum(chances) + none
    ### END SOLUTION


# %%
check(expected_layers)

# %% [markdown]
# ## 5. What the rule does to p
#
# ●●○ · 10 minutes · predict
#
# Two layers, `p = 0.5`, and the rule of this lesson: if none survives, the one whose draw came closest takes part. With which probability does
# the **first** layer take part in a pass? Take a pencil, and write down a number from 0 to 1.


# %%
def chance_of_a_layer() -> float:
    """The probability that the first of two layers takes part; p = 0.5, never none."""
    ### BEGIN SOLUTION
    return 0.5 + 0.25 / 2
    ### END SOLUTION


# %%
check(chance_of_a_layer)
