# %% [markdown]
# # Exercises 04: training
#
# You practise the parts of a training loop: the loss, the learning rate, the order of the steps, the clipping of gradients, and
# what the optimizer makes of them. About 55 minutes, after lesson 04. `hint(bits_per_byte)`, `hint(learning_rate)`,
# `hint(train_steps)`, `hint(clip_gradients)` and `hint(adamw_step_ratio)` give hints, one at a time.

# %%
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp import encode
from gmlp.checks import check, hint

# %% [markdown]
# ## 1. Bits per byte
#
# ●●○ · 10 minutes · rebuild
#
# A model that gives the right next byte the probability `p` needs `-log2(p)` bits to write it down.
# Return the mean over all bytes of a batch. The probabilities are the softmax of the logits over
# their last axis; `targets` already holds the *next* byte for each position.
#
# Shapes: `logits (b, n, v)`, `targets (b, n)` int64; the answer is a single number, a tensor of
# shape `()`.


# %%
def bits_per_byte(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean bits for a byte of targets (b, n) under the softmax of logits (b, n, v)."""
    ### BEGIN SOLUTION
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return nats / math.log(2)
    ### END SOLUTION


# %%
check(bits_per_byte)

# %% [markdown]
# ## 2. Up a line, down a cosine
#
# ●●○ · 10 minutes · rebuild
#
# Steps are counted from 0. The first `warmup` of them rise in a straight line: step 0 has `peak / warmup`, step `warmup - 1` has
# `peak`. From there the rate comes down along half a cosine: step `warmup` still has `peak`, and the last step, `steps - 1`, has
# `floor * peak`. Half-way between these two it stands half-way between the two rates.
#
# For example, with 10 steps, 5 of them to warm up, a peak of 1.0 and a floor of 0.2: `0.2 0.4 0.6 0.8 1.0`, then
# `1.0 0.88 0.6 0.32 0.2`. The check has at least 16 steps after the warm-up.
#
# Shapes: numbers only.


# %%
def learning_rate(step: int, steps: int, peak: float, warmup: int, floor: float = 0.1) -> float:
    """The learning rate of a step, 0 … steps - 1."""
    ### BEGIN SOLUTION
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (steps - 1 - warmup)  # 0 … 1
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)
    ### END SOLUTION


# %%
check(learning_rate)

# %% [markdown]
# ## 3. A loss that does not settle
#
# ●●○ · 15 minutes · debug
#
# Somebody's loop makes one step for each batch and notes the loss in bits per byte, before the step. We give it the first test of every model: one text,
# again and again. The model is a table, with a row of logits for each byte, and it knows nothing yet. In `abracadabra` an
# `a` is followed by `b`, `c`, `d` and `b` again: 1.5 bits each at best, so over all ten bytes it cannot get below 0.6; but near that it should arrive, and settle.


# %%
def found_train_steps(model, optimizer, batches):
    """A training loop, as it was found."""
    losses = []
    optimizer.zero_grad()
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


table = nn.Embedding(256, 256)
nn.init.zeros_(table.weight)  # all bytes equally likely
text = encode("abracadabra").long()[None]  # (1, n + 1)
batches = [(text[:, :-1], text[:, 1:])] * 16
losses = found_train_steps(table, torch.optim.SGD(table.parameters(), lr=10), batches)
print(*[f"{loss:.1f}" for loss in losses])

# %% [markdown]
# It comes down from 8 as it should, and even faster than you would expect. But then it jumps up and down, and never stays. The learning
# rate is not to blame: a right loop settles with the same one. Find out why, and write the loop as it should be. (`SGD` is the plainest optimizer: weight minus rate
# times gradient.)
#
# Shapes: `model` maps `inputs (b, n)` to logits `(b, n, v)`; `batches` is a list of `(inputs, targets)`, `(b, n)` each. The answer is a list of
# numbers, one for each batch; the model is trained in place, one step for each batch.


# %%
def train_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[Tensor, Tensor]],
) -> list[float]:
    """Train the model, one step for each batch; the bits per byte of each, before its step."""
    ### BEGIN SOLUTION
    losses = []
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# %%
check(train_steps)

# %% [markdown]
# ## 4. One length for all
#
# ●●○ · 15 minutes · extend
#
# The lesson clipped with a function of PyTorch. Write it yourself, as a function that changes nothing in place. All gradients of a model, joined, are
# one long vector. If it is longer than `limit`, every gradient shrinks by the same factor, so that the length of the whole becomes `limit` and its
# direction stays. If it is not longer, all gradients stay as they are.
#
# For example, `[3.0]` and `[4.0]` have the length 5 together. With the limit 1 they become `[0.6]` and `[0.8]`; with the limit 10, `[3.0]` and `[4.0]`.
#
# Shapes: `gradients` is a list of tensors of any shapes, not all zero; the answer is a list of new tensors of the same shapes.


# %%
def clip_gradients(gradients: list[Tensor], limit: float) -> list[Tensor]:
    """The gradients, scaled down together if their common length is above the limit."""
    ### BEGIN SOLUTION
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    share = (limit / length).clamp(max=1)
    return [gradient * share for gradient in gradients]
    ### END SOLUTION


# %%
check(clip_gradients)

# %% [markdown]
# ## 5. A thousand times the gradient
#
# ●●○ · 5 minutes · predict
#
# Two weights stand at 0. After the first batch one has the gradient 0.02, the other one 20. AdamW, with the learning rate 0.01 and nothing clipped, makes its first
# step. How many times as far does the second weight move as the first? Write the number into the function, before you try it.


# %%
def adamw_step_ratio() -> float:
    """In AdamW's first step, how many times as far goes a gradient of 20 as one of 0.02?"""
    ### BEGIN SOLUTION
    return 1.0
    ### END SOLUTION


# %%
check(adamw_step_ratio)
