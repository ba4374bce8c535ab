# %% [markdown]
# # Exercises 10: reversible layers
#
# You practise two streams: the way there, the way back, and the gradients on the way back. About 60
# minutes, after lesson 10. `hint(reversible_forward)`, `hint(inverse_stack)`,
# `hint(inverse_with_dropout)`, `hint(backward_step)` and `hint(numbers_that_return)` give hints,
# one at a time.

# %%
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gmlp.checks import check, hint

Layer = Callable[[Tensor], Tensor]

# %% [markdown]
# ## 1. The way there
#
# ●○○ · 5 minutes · rebuild
#
# Two streams pass a pair of layers. First `f` reads the second stream and adds to the first; then
# `g` reads the first stream, as it is now, and adds to the second. With $f(x) = x^2$, $g(x) = 10x$,
# $x_1 = 3$ and $x_2 = 2$ the answer is 7 and 72.
#
# Shapes: `x1, x2 (b, n, d)`; `f` and `g` keep the shape; the answer is two new tensors, `(b, n, d)`.


# %%
def reversible_forward(x1: Tensor, x2: Tensor, f: Layer, g: Layer) -> tuple[Tensor, Tensor]:
    """The streams y1 and y2 (b, n, d) after the pair of layers f and g."""
    ### BEGIN SOLUTION
    y1 = x1 + f(x2)
    y2 = x2 + g(y1)
    return y1, y2
    ### END SOLUTION


# %%
check(reversible_forward)

# %% [markdown]
# ## 2. The way back, through a whole stack
#
# ●●○ · 10 minutes · rebuild
#
# `layers` is a list of pairs `(f, g)`, in the order in which they ran on the way there. Each pair
# did what your first function does, and handed both streams to the next. You are given what the last
# pair returned. Find what the first one was given. You may call the layers, but need no inverse of
# any.
#
# Shapes: `y1, y2 (b, n, d)`; the answer is the two tensors `x1, x2`, `(b, n, d)`.


# %%
def inverse_stack(
    y1: Tensor, y2: Tensor, layers: list[tuple[Layer, Layer]]
) -> tuple[Tensor, Tensor]:
    """The streams x1 and x2 (b, n, d) that went into a stack of pairs (f, g), from its outputs."""
    ### BEGIN SOLUTION
    for f, g in reversed(layers):
        y2 = y2 - g(y1)
        y1 = y1 - f(y2)
    return y1, y2
    ### END SOLUTION


# %%
check(inverse_stack)

# %% [markdown]
# ## 3. The dice fall differently
#
# ●●○ · 10 minutes · debug
#
# Somebody undoes a pair of layers with dropout. On the way there the state of the random numbers was
# noted twice, before `f` ran and before `g` ran. `dice` holds both, in this order. On the way back
# both are set again, and still the inputs do not come back.


# %%
def found_inverse_with_dropout(
    y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The inputs of a pair of layers with dropout, as it was found."""
    before_f, before_g = dice
    torch.set_rng_state(before_f)
    x2 = y2 - g(y1)
    torch.set_rng_state(before_g)
    x1 = y1 - f(x2)
    return x1, x2


torch.manual_seed(0)
x1, x2 = torch.arange(1.0, 9.0).view(1, 2, 4), torch.arange(11.0, 19.0).view(1, 2, 4)
f, g = nn.Dropout(0.5), nn.Dropout(0.5)  # layers that do nothing but drop
before_f = torch.get_rng_state()
y1 = x1 + f(x2)
before_g = torch.get_rng_state()
y2 = x2 + g(y1)

back1, back2 = found_inverse_with_dropout(y1, y2, f, g, (before_f, before_g))
print("x1 was      ", x1.flatten().tolist())
print("and comes as", back1.flatten().tolist())
print("x2 was      ", x2.flatten().tolist())
print("and comes as", back2.flatten().tolist())

# %% [markdown]
# Nothing is missing, and there is no error. Find out why the dice fall differently, and write the function
# as it should be.
#
# Shapes: `y1, y2 (b, n, d)`; `dice` two states; the answer is the two tensors `x1, x2`, `(b, n, d)`.


# %%
def inverse_with_dropout(
    y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The inputs x1 and x2 (b, n, d) of a pair; dice: the states before f and before g ran."""
    ### BEGIN SOLUTION
    before_f, before_g = dice
    torch.set_rng_state(before_g)  # g runs first here
    x2 = y2 - g(y1)
    torch.set_rng_state(before_f)
    x1 = y1 - f(x2)
    return x1, x2
    ### END SOLUTION


# %%
check(inverse_with_dropout)

# %% [markdown]
# ## 4. One step back, with gradients
#
# ●●● · 25 minutes · extend
#
# Now one pair of a backward pass. You hold its outputs `y1` and `y2`, and the gradients `d1` and `d2`
# of the loss with respect to them. Return its inputs, and the gradients with respect to *them*.
# With $f(x) = x^2$, $g(x) = 10x$, outputs 7 and 72 and gradients 1 and 1 the inputs are 3 and 2, and
# their gradients 11 and 45.
#
# `f` and `g` are any layers: write no derivative by hand, let autograd make a small backward pass through
# each. You are called as in a backward pass: what you are given has no graph, and nothing is recorded unless
# you ask for it. (The gradients of the layers' own parameters are not asked for.)
#
# Shapes: all tensors are `(b, n, d)`; the answer is four of them: `x1`, `x2`, the gradient of `x1`,
# the gradient of `x2`.


# %%
def backward_step(
    y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The inputs x1 and x2 of a pair, and their gradients, from those of its outputs: (b, n, d)."""
    ### BEGIN SOLUTION

    def again(layer: Layer, given: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            given = given.detach().requires_grad_()
            out = layer(given)
        (found,) = torch.autograd.grad(out, given, gradient)
        return out.detach(), found

    out, more = again(g, y1, d2)
    x2, d1 = y2 - out, d1 + more
    out, more = again(f, x2, d1)
    x1, d2 = y1 - out, d2 + more
    return x1, x2, d1, d2
    ### END SOLUTION


# %%
check(backward_step)

# %% [markdown]
# ## 5. What a loud layer leaves
#
# ●●○ · 10 minutes · predict
#
# A stream `x1` in `float32` holds the numbers 0, 1, 2, … 99. A very loud layer adds `2.0**26` to
# each; on the way back it is taken away again. **How many of the hundred come back as they were?**
#
# Up to `2**24`, float32 has every whole number. From `2**24` to `2**25` it has only every second one, and
# with each further doubling the gap doubles, too. A sum that falls in a gap goes to the nearest number
# that is there.


# %%
def numbers_that_return() -> int:
    """How many of 0, 1, … 99 are the same after + 2.0**26 and - 2.0**26, in float32?"""
    ### BEGIN SOLUTION
    return 13  # the multiples of 8
    ### END SOLUTION


# %%
check(numbers_that_return)
