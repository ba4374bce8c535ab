# %% [markdown]
# # Exercises 04: training
#
# You practise reading a loss: the number by which every model of this course is judged. About 10
# minutes, after chapter 04. `hint(bits_per_byte)` gives hints, one at a time.

# %%
import math

import torch.nn.functional as F
from torch import Tensor

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
