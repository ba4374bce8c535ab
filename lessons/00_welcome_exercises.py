# %% [markdown]
# # Exercises 00: bytes, bits and counting
#
# You practise what a guesser of text is made of: tokens, a score in bits, and a table of counts. About 40 minutes,
# after lesson 00.
#
# Write your code where `raise NotImplementedError` stands, then run the cell below it. `check` tries your function on small random
# inputs, new ones each time. If it recognises your mistake, it says which one you made. `hint(encode_text)`, `hint(mean_bits)`,
# `hint(bits_for_unseen_byte)` and `hint(next_byte_chances)` give hints, one at a time: a question first, then a pointer, then a
# sketch.

# %%
import math
from collections import Counter

import torch
from torch import Tensor

from gmlp.checks import check, hint

# %% [markdown]
# ## 1. From text to tokens
#
# ●○○ · 5 minutes · rebuild (the dots say how hard)
#
# Turn a text into tokens, without the package's `encode` (the method `text.encode()` of Python is allowed). The tokens are the bytes of the text in UTF-8, in order, each a
# number from 0 to 255. So `"gMLP"` becomes `tensor([103, 77, 76, 80])`, and `"é"` becomes two tokens. All of the text
# counts, spaces and line breaks too. (`torch.tensor([1, 2])` makes a tensor of a list, here of whole numbers, int64.)
#
# Shapes: the answer is `(n,)`, int64, for `n` bytes.


# %%
def encode_text(text: str) -> Tensor:
    """The UTF-8 bytes of a text: (n,), int64 from 0 to 255."""
    ### BEGIN SOLUTION
    return torch.tensor(list(text.encode()))
    ### END SOLUTION


# %%
check(encode_text)

# %% [markdown]
# ## 2. A bill that is too low
#
# ●○○ · 10 minutes · debug
#
# The list `chances` has one number for each byte of a text: the probability that a guesser gave to the byte that came. The
# score is in bits per byte, as in 0.5. Somebody wrote this for it, and we try it on two guessers. One is half sure,
# twice. The other is nearly sure and right, and then calls the true byte next to impossible.


# %%
def found_mean_bits(chances: list[float]) -> float:
    """The bits per byte of a guesser, as it was found."""
    return -math.log2(sum(chances) / len(chances))


print("half sure, twice      ", found_mean_bits([1 / 2, 1 / 2]))
print("sure twice, right once", found_mean_bits([1023 / 1024, 1 / 1024]))

# %% [markdown]
# It says 1 for both. But the second guesser's bill for the byte that it called next to impossible is 10 bits, and that alone makes 5 a
# byte. Find out why the function does not see it, and write it as it should be.
#
# No chance is 0. The answer is one number.


# %%
def mean_bits(chances: list[float]) -> float:
    """The bits per byte of a guesser who gave these chances to the bytes that came."""
    ### BEGIN SOLUTION
    return sum(-math.log2(chance) for chance in chances) / len(chances)
    ### END SOLUTION


# %%
check(mean_bits)

# %% [markdown]
# ## 3. Too sure
#
# ●●○ · 5 minutes · predict
#
# The counter of 0.6, without context, has read a training part of 255 bytes, and all of them were `a`. As there, it
# pretends to have seen one byte more, spread evenly over all 256. Now it is examined on a single byte: a `b`.
#
# What does it pay, in bits? Put `return` and your number where the `raise` stands, before you compute anything with Python. It is a whole number.


# %%
def bits_for_unseen_byte() -> float:
    """The bits that the counter pays for one b, after 255 times a."""
    ### BEGIN SOLUTION
    return 16
    ### END SOLUTION


# %%
check(bits_for_unseen_byte)

# %% [markdown]
# ## 4. One byte of context
#
# ●●● · 20 minutes · extend
#
# Give the counter one byte of context: build the table of what comes after what. Row `c`, column `x` has the chance that token
# `x` comes right after token `c`.
#
# - Count the pairs of neighbours in `tokens`. The tokens `a b b a` have three: `ab`, `bb`, `ba`.
# - Never say never: after *each* `c`, pretend to have seen one token more, spread evenly over all `num_tokens` (which is simpler than the sharing of 0.6). In a row that was
#   never seen, all chances are then equal.
#
# With `a` = 0, `b` = 1 and `num_tokens = 2`, the row of `a` has seen one pair, `ab`: its chances are 0.5 / 2 and 1.5 / 2. Every row
# adds up to 1.
#
# Shapes: `tokens (n,)`, int64 from 0 to `num_tokens - 1`; the answer is `(num_tokens, num_tokens)`, float32: a row for each token
# before, a column for each token after. Loops are welcome.


# %%
def next_byte_chances(tokens: Tensor, num_tokens: int) -> Tensor:
    """Row c, column x: the chance that x follows c, counted in tokens (n,), smoothed."""
    ### BEGIN SOLUTION
    counts = torch.zeros(num_tokens, num_tokens)
    for i in range(len(tokens) - 1):
        counts[tokens[i], tokens[i + 1]] += 1
    return (counts + 1 / num_tokens) / (counts.sum(1, keepdim=True) + 1)
    ### END SOLUTION


# %%
check(next_byte_chances)
