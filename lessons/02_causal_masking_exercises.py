# %% [markdown]
# # Exercises 02: causal masking
#
# You practise three things: hiding the future from a model, catching a model that sees it anyway, and saying
# what cheating pays. About 70 minutes, after lesson 02. `hint(mask_weights)`, `hint(cheaters_bits)`,
# `hint(causal_unit)`, `hint(who_reads_whom)` and `hint(leaks)` give hints, one at a time.

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
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
# ## 2. What cheating pays
#
# ●○○ · 5 minutes · predict
#
# Somebody trains a model without a mask on *noise*: each byte is drawn at random from all 256, and has nothing to
# do with any other. The model has learned to cheat, and does it perfectly. Where the answer stands in the window,
# it is sure of it. Where it does not, the model gives all 256 bytes the same chance.
#
# The window has 32 positions, and at each the model must name the next byte. What does the model pay on average over all 32, in bits
# per byte? Put `return` and your number where the `raise` stands, before you run anything.
#
# Shapes: none; the answer is one number.


# %%
def cheaters_bits() -> float:
    """Mean bits per byte of a perfect cheat on random bytes, in windows of 32."""
    ### BEGIN SOLUTION
    blind = 1  # only the last answer stands outside the window
    return blind * math.log2(256) / 32
    ### END SOLUTION


# %%
check(cheaters_bits)

# %% [markdown]
# ## 3. A right mask, and a leak
#
# ●●○ · 15 minutes · debug
#
# Here is somebody's causal unit, with one head. It cuts `x`, normalises `v`, mixes it with a masked matrix, and
# gates `u`. The norm is meant to be the LayerNorm of lesson 01, without learned numbers. (`nn.LayerNorm` also learns a
# factor and a shift for each channel. `correction=0` makes the variance a plain mean of squares.) Change the last of six
# positions, and look which outputs move.


# %%
def found_causal_unit(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A causal unit, as it was found."""
    u, v = x.chunk(2, dim=-1)
    mean = v.mean(dim=1, keepdim=True)
    variance = v.var(dim=1, keepdim=True, correction=0)
    v = (v - mean) / (variance + 1e-5).sqrt()
    gate = weight.tril() @ v + bias[:, None]
    return gate * u


torch.manual_seed(0)
x, weight, bias = torch.randn(1, 6, 8), torch.randn(6, 6), torch.ones(6)
changed = x.clone()
changed[:, 5] = torch.randn(8)
difference = found_causal_unit(x, weight, bias) - found_causal_unit(changed, weight, bias)
print("outputs that moved:", *difference.abs().amax((0, 2)).nonzero().flatten().tolist())

# %% [markdown]
# All of them moved, though `tril` stands where it should. Only output 5 may move. Find the line that leaks, and write
# the unit as it was meant. The parts, their order and the `1e-5` stay.
#
# Shapes: `x (b, n, 2c)`, `weight (n, n)`, `bias (n,)`; the answer is `(b, n, c)`.


# %%
def causal_unit(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A causal unit, mended: x (b, n, 2c), weight (n, n), bias (n,) -> (b, n, c)."""
    ### BEGIN SOLUTION
    u, v = x.chunk(2, dim=-1)
    mean = v.mean(dim=-1, keepdim=True)
    variance = v.var(dim=-1, keepdim=True, correction=0)
    v = (v - mean) / (variance + 1e-5).sqrt()
    gate = weight.tril() @ v + bias[:, None]
    return gate * u
    ### END SOLUTION


# %%
check(causal_unit)

# %% [markdown]
# ## 4. Who reads whom
#
# ●●○ · 20 minutes · rebuild
#
# The Jacobian of 2.3 follows one number of each output, the best score. A leak may hide in another one. Build the
# table without this blind spot: `True` at `[i, j]` when *any* channel of output `i` depends on *any* channel of input
# `j`, `False` when none does.
#
# For example, let each output be the input just before it. Then the table is `True` on the line just below the
# diagonal, and nowhere else.
#
# - `f` maps `x (n, d)`, the vectors of one text, to `(n, k)`; you learn `k` when you call it. It has smooth
#   derivatives and no randomness. You may call it as often as you like.
# - You choose the `x` at which you ask. Mind that at a special `x`, such as 0, a derivative may happen to be 0.
#
# Shapes: the answer is `(n, n)`, bool.


# %%
def who_reads_whom(f: Callable[[Tensor], Tensor], n: int, d: int) -> Tensor:
    """The table (n, n), bool: does output i of f, (n, d) -> (n, k), depend on input j?"""
    ### BEGIN SOLUTION
    x = torch.randn(n, d, requires_grad=True)
    out = f(x)  # (n, k)
    table = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for number in out[i]:  # one channel at a time: in a sum they could cancel
            (derivative,) = torch.autograd.grad(number, x, retain_graph=True)  # (n, d)
            table[i] |= (derivative != 0).any(-1)
    return table
    ### END SOLUTION


# %%
check(who_reads_whom)

# %% [markdown]
# ## 5. Find the leak
#
# ●●● · 25 minutes · extend
#
# A mask can sit in the wrong place, and a loss that looks too good is a late way to find out. Build
# the instrument that tells at once, for any model, from outside: `leaks` says `True` when some
# output depends on a token that comes later, `False` when none does.
#
# - `model` maps tokens `(b, n)`, int64 numbers from 0 to `num_tokens - 1`, to logits
#   `(b, n, num_tokens)`. It has no randomness, and the rows of a batch do not see each other.
# - **One call.** You may call `model` once, with as many rows as you like.
# - **Every pair counts.** A leak may run from any position to any earlier one: from the next token
#   or from far away, to a single output or to all of them. Changing one position shows only what
#   leaks from there.
# - A position may read itself and the past. That is no leak.
# - The models of the check compute exactly, so what does not depend on a token does not change at
#   all, and `!=` will do.


# %%
def leaks(model: nn.Module, n: int, num_tokens: int) -> bool:
    """Does any output of the model depend on a later token? One call, on tokens (b, n)."""
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
