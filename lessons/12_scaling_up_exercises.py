# %% [markdown]
# # Exercises 12: scaling up
#
# You practise what keeps a large run right: a batch in parts, sums and steps in few bits, and the
# question what bounds it. About 75 minutes, after lesson 12. `hint(accumulated_gradient)`,
# `hint(stands_still_at)`, `hint(sum_with_carry)`, `hint(scaled_step)` and `hint(speed_up)` give
# hints, one at a time.

# %%
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp import bits_per_byte
from gmlp.checks import check, hint

# %% [markdown]
# ## 1. A batch in parts
#
# ●●○ · 20 minutes · rebuild
#
# A batch does not fit into memory. Send it through in parts of `rows` rows; the last part may be shorter. Return the gradient of the *whole*
# batch's loss, the mean over all its rows, as one long row.
#
# The model of the check has room for `rows` rows and no more: their activations are kept until their `backward`. And it still holds the
# gradients of the step before, as a model does.
#
# Example: 7 rows with `rows=3` are parts of 3, 3 and 1.
#
# Shapes: `inputs` and `targets` `(b, n)`; the answer has as many numbers as the model has weights, in the order of `model.parameters()`.


# %%
def accumulated_gradient(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    """The gradient of bits_per_byte over all b rows, with at most `rows` of them at once."""
    ### BEGIN SOLUTION
    model.zero_grad()
    for x, y in zip(inputs.split(rows), targets.split(rows), strict=True):
        share = len(x) / len(inputs)
        (share * bits_per_byte(model(x), y)).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])
    ### END SOLUTION


# %%
check(accumulated_gradient)

# %% [markdown]
# ## 2. Where a sum stands still
#
# ●●○ · 10 minutes · predict
#
# In bfloat16, a sum of ones stands still at 256. Now start at 0 and add 3, again and again. From 256 to 512 bfloat16 knows every second number, from
# 512 to 1024 every fourth, and so on: the distance doubles at each power of two. A sum that falls between two neighbours goes to the nearer one (and exactly half-way, to one of the two: which, makes no difference here).
#
# Give the number, without running the sum.


# %%
def stands_still_at() -> int:
    """At which number does a sum of threes stand still in bfloat16?"""
    ### BEGIN SOLUTION
    return 1024
    ### END SOLUTION


# %%
check(stands_still_at)

# %% [markdown]
# ## 3. A sum that loses nothing
#
# ●●● · 20 minutes · extend
#
# A sum in 16 bits loses something at almost every addition. But what it loses can be computed, in the same 16 bits, and added to the next number.
# So keep two numbers: the total, and the **rest** that still belongs to it. This is Kahan's summation (1965).
#
# Example: you add 3 to 512, and bfloat16 makes 516 of it. You wanted 3 and got 4, so the rest is -1. If the next number is 3 again, you try
# to add 2.
#
# Go through the values in their order. At the end total + rest is the exact sum. (In the check all values are whole numbers, so small that only
# additions to the total are rounded.)
#
# Shapes: `values (n,)` in bfloat16; total and rest are tensors of one number each, `()`, in bfloat16.


# %%
def sum_with_carry(values: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of values (n,) in bfloat16, and what is still missing: total, rest."""
    ### BEGIN SOLUTION
    total = rest = torch.zeros((), dtype=values.dtype)
    for value in values:
        wanted = value + rest
        new = total + wanted
        rest = wanted - (new - total)
        total = new
    return total, rest
    ### END SOLUTION


# %%
check(sum_with_carry)

# %% [markdown]
# ## 4. A step that hardly moves
#
# ●●○ · 10 minutes · debug
#
# Somebody trains in float16 with a loss scaler, and clips gradients. The loss was multiplied by `scale` before `backward`, so `scaled` is `scale` times
# the true gradient (already in float32). The step should move the weight by the rate times the true gradient, which is first cut to the length `clip` if it is longer. If
# any number overflowed, the step is left out and the scale halved.
#
# Try it with a true gradient of 0.5, which is shorter than `clip`: the weight should go from 1 to 0.95.


# %%
def found_scaled_step(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    """A step of gradient descent with a scaled gradient, as it was found."""
    if not scaled.isfinite().all():
        return weight, scale / 2
    length = scaled.norm()
    if length > clip:
        scaled = scaled * clip / length
    return weight - rate * scaled / scale, scale


weight, gradient = torch.tensor([1.0]), torch.tensor([0.5])
moved, _ = found_scaled_step(weight, 65_536 * gradient, 65_536.0, rate=0.1, clip=1.0)
print(f"weight {moved.item():.6f}")

# %% [markdown]
# It hardly moves, and no error tells you: training only seems very slow. Find out why, and write the step as it should be.
#
# Shapes: `weight` and `scaled` `(k,)`; the answer is the new weight `(k,)` and the scale for the next step.


# %%
def scaled_step(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    """A step of gradient descent with a scaled gradient, mended: the weight and the scale after."""
    ### BEGIN SOLUTION
    grad = scaled / scale
    if not grad.isfinite().all():
        return weight, scale / 2
    length = grad.norm()
    if length > clip:
        grad = grad * clip / length
    return weight - rate * grad, scale
    ### END SOLUTION


# %%
check(scaled_step)

# %% [markdown]
# ## 5. Would a faster processor help?
#
# ●●○ · 15 minutes · extend
#
# A model is a list of pieces that run one after the other. Each is given by its FLOPs and the bytes that it reads and writes. In a piece, arithmetic and memory work at the same time,
# and the slower one sets the time: that is the roofline.
#
# Now the arithmetic becomes `faster` times as fast; memory stays as it is. How many times as fast is the whole?
#
# Example: pieces `[(100, 1), (1, 10)]`, a peak of 10 FLOPs a second and a bandwidth of 1 byte a second. They take 10 s and 10 s. With arithmetic ten times as fast they take 1 s and 10 s:
# the whole is 20 / 11 times as fast.
#
# Shapes: none, all are numbers.


# %%
def speed_up(
    pieces: list[tuple[float, float]], peak: float, bandwidth: float, faster: float
) -> float:
    """How many times as fast pieces of (flops, bytes) are together, if peak is `faster` times as high?"""

    ### BEGIN SOLUTION
    def seconds(peak):
        return sum(max(flops / peak, traffic / bandwidth) for flops, traffic in pieces)

    return seconds(peak) / seconds(faster * peak)
    ### END SOLUTION


# %%
check(speed_up)
