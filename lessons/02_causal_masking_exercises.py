# %% [markdown]
# # Exercises 02: causal masking
#
# You practise two things: hiding the future from a model, and catching a model that sees it anyway.
# About 30 minutes, after chapter 02. `hint(mask_weights)` and `hint(leaks)` give hints, one at a
# time.

# %%
import torch
from torch import Tensor, nn

from gmlp.checks import check, hint

# %% [markdown]
# ## 1. Hide the future
#
# ●○○ · 5 minutes · rebuild
#
# Row `i` of a mixing matrix says how much position `i` collects from each position `j`. Set to zero
# whatever comes from the future: position `i` may read `j <= i`, itself included. All other weights
# stay as they are, in every head.
#
# Shapes: `weight (h, n, n)`; the answer is a new tensor, `(h, n, n)`.


# %%
def mask_weights(weight: Tensor) -> Tensor:
    """The weight (h, n, n) with which position i reads only positions j <= i."""
    ### BEGIN SOLUTION
    return weight.tril()
    ### END SOLUTION


# %%
check(mask_weights)

# %% [markdown]
# ## 2. Find the leak
#
# ●●● · 25 minutes · extend
#
# A mask can sit in the wrong place, and a loss that looks too good is a late way to find out. Build
# the instrument that tells at once, for any model, from outside: `leaks` says `True` when some
# output depends on a token that comes later, `False` when none does.
#
# - `model` maps tokens `(b, n)`, int64 numbers from 0 to `num_tokens - 1`, to logits
#   `(b, n, num_tokens)`. It has no dropout, and the rows of a batch do not see each other.
# - **One call.** You may call `model` once, with as many rows as you like.
# - **Every pair counts.** A leak may run from any position to any earlier one: from the next token
#   or from far away, to a single output or to all of them. Changing one position shows only what
#   leaks from there.
# - A position may read itself and the past. That is no leak.
# - The models of the check compute exactly, so what does not depend on a token does not change at
#   all, and `!=` will do.


# %%
def leaks(model: nn.Module, n: int, num_tokens: int) -> bool:
    """Does any output of the model depend on a later token? One call of model on tokens (b, n)."""
    ### BEGIN SOLUTION
    tokens = torch.zeros(n, n, dtype=torch.int64)
    later = torch.arange(1, n)
    tokens[later, later] = 1  # row k: token k is changed; row 0: none
    logits = model(tokens)  # (n, n, v)
    moved = (logits != logits[0]).any(-1)  # row k, output i
    return bool(moved.tril(-1).any())  # i < k
    ### END SOLUTION


# %%
check(leaks)
