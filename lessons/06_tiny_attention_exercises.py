# %% [markdown]
# # Exercises 06: tiny attention
#
# You practise the head, its place in the gate, a search for a part that never learns, and a game
# whose texts change their minds. About 60 minutes, after lesson 06. `hint(attend)`, `hint(gate_with_attention)`,
# `hint(tiny_head)`, `hint(last_told)` and `hint(outputs_moved)` give hints, one at a time.

# %%
import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.checks import check, hint

# %% [markdown]
# ## 1. One head
#
# ●●○ · 15 minutes · rebuild
#
# Queries, keys and values are given; do the rest of a causal head. Position `i` compares its query
# with the keys of all `j <= i`, divides the dot products by the root of `k`, makes weights of them
# with a softmax, and adds up the values by these weights. Two tests: the first output equals the
# first value, and with all queries 0 each output is the mean of the values so far.
#
# Shapes: `q, key, value (b, n, k)`; the answer is `(b, n, k)`.


# %%
def attend(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What each position hears from itself and the past: (b, n, k) each -> (b, n, k)."""
    ### BEGIN SOLUTION
    scores = q @ key.mT / math.sqrt(q.shape[-1])  # (b, n, n)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return weights @ value
    ### END SOLUTION


# %%
check(attend)

# %% [markdown]
# ## 2. Into the gate
#
# ●○○ · 10 minutes · rebuild
#
# In a block with attention the gate is told two things: what stands at certain places, and what was
# found by content. Write the equation of section 6.6 for halves that are already there:
# `(W v + b + attention) ⊙ u`. The norm has been applied to `v`, the mask to `weight`, and
# `attention` is what the head said. The bias has one number for each position.
#
# Shapes: `u, v, attention (b, n, c)`, `weight (n, n)`, `bias (n,)`; the answer is `(b, n, c)`.


# %%
def gate_with_attention(
    u: Tensor, v: Tensor, attention: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """u (b, n, c), times a gate made of v, W, b and the attention: (b, n, c)."""
    ### BEGIN SOLUTION
    gate = weight @ v + bias[:, None] + attention
    return gate * u
    ### END SOLUTION


# %%
check(gate_with_attention)

# %% [markdown]
# ## 3. A part that never learns
#
# ●●○ · 10 minutes · debug
#
# This head comes from somebody's model. It runs, it is causal, its rows sum to 1, and the loss goes
# down. But look at the gradient of `to_qkv`. It has 3 × 2 rows here: two make the queries, two the
# keys, two the values, in this order.


# %%
def found_tiny_head(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    """A head, as it was found."""
    qkv = to_qkv(x)
    k = qkv.shape[-1] // 3
    q, key, value = qkv[..., :k], qkv[..., k : 2 * k], qkv[..., k : 2 * k]
    scores = q @ key.mT / math.sqrt(k)  # mT swaps the last two axes
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return to_out(weights @ value)


torch.manual_seed(0)
to_qkv, to_out = nn.Linear(8, 3 * 2, bias=False), nn.Linear(2, 8)
found_tiny_head(torch.randn(4, 10, 8), to_qkv, to_out).square().sum().backward()
for number, row in enumerate(to_qkv.weight.grad):
    print(f"row {number}: gradient is zero: {not row.any()}")

# %% [markdown]
# Rows 4 and 5 never get a gradient: they stay what they were on the first day, however long it
# trains. Find out why, and write the head as it should be.
#
# Shapes: `x (b, n, d)`; `to_qkv` makes `3k` channels of `d`, `to_out` makes `c` of `k`; the answer
# is `(b, n, c)`.


# %%
def tiny_head(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    """A causal head, mended: (b, n, d) -> (b, n, c)."""
    ### BEGIN SOLUTION
    qkv = to_qkv(x)
    k = qkv.shape[-1] // 3
    q, key, value = qkv[..., :k], qkv[..., k : 2 * k], qkv[..., 2 * k :]
    scores = q @ key.mT / math.sqrt(k)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return to_out(weights @ value)
    ### END SOLUTION


# %%
check(tiny_head)

# %% [markdown]
# ## 4. The latest word counts
#
# ●●○ · 20 minutes · extend
#
# In the game of section 6.1 a key keeps its value to the end of the text. Now a text may change its
# mind: after `a3 a5` the key `a` is 5. Write the player who never errs. At every key that was told
# earlier in the same text, answer with the value that it was given *last*; everywhere else, at new
# keys and at values, answer -100. You may use loops.
#
# An example, with keys 0 and 1 and values from 7 on. As always, keys stand at the even positions,
# and the last token is a key without a value:
#
# ```
# tokens     0    7    1    8    0    9    0
# answers -100 -100 -100 -100    7 -100    9
# ```
#
# Shapes: `tokens (b, n)` int64, with `n` odd; the answer is a new tensor, `(b, n)` int64.


# %%
def last_told(tokens: Tensor) -> Tensor:
    """At each key told before in its text, its latest value; elsewhere -100: (b, n)."""
    ### BEGIN SOLUTION
    answers = torch.full_like(tokens, -100)
    for row, text in zip(answers, tokens.tolist(), strict=True):
        told = {}
        for i in range(0, len(text), 2):
            row[i] = told.get(text[i], -100)
            if i + 1 < len(text):
                told[text[i]] = text[i + 1]
    return answers
    ### END SOLUTION


# %%
check(last_told)

# %% [markdown]
# ## 5. Say it first: the same vector everywhere
#
# ●●○ · 5 minutes · predict
#
# A text has 25 positions, and one causal head with random queries, keys and values of size 32. Draw
# one more random vector `c`, and add it to *every key*. How many of the 25 outputs change? Undo
# that, and add `c` to every *query* instead. Undo that, and add it to every *value*.
#
# Think before you compute; what rounding does, does not count. Return three numbers, in this order.


# %%
def outputs_moved() -> tuple[int, int, int]:
    """How many of 25 outputs change with c added to every key; to every query; value?"""
    ### BEGIN SOLUTION
    return 0, 24, 25
    ### END SOLUTION


# %%
check(outputs_moved)
