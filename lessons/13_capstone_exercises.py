# %% [markdown]
# # Exercises 13: capstone
#
# You practise what makes a number a result: its error, pairs, a choice that does not flatter, and at
# the end a report of your own. About 75 minutes, after lesson 13. `hint(standard_error)`,
# `hint(chance_of_five_wins)`, `hint(paired_difference)`, `hint(tuned_result)` and
# `hint(my_report)` give hints, one at a time.

# %%
import random
import statistics
from typing import Any

import torch
from torch import nn

from gmlp import gMLPGPT, load_corpus, split_corpus, train
from gmlp.capstone import FIELDS, complain, differences, interval, spread, to_markdown
from gmlp.checks import check, hint

# %% [markdown]
# ## 1. How far may the mean be off?
#
# ●○○ · 5 minutes · rebuild
#
# Write the standard error of some results from nothing but sums and roots: first the standard deviation of 13.3, then what becomes of it for the mean of
# $k$ runs.
#
# Example: of 1 and 3 the mean is 2, the deviation $\sqrt 2$, the error 1.
#
# Shapes: `values` is a list of $k \ge 2$ numbers; the answer is one number.


# %%
def standard_error(values: list[float]) -> float:
    """How far the mean of the values may be off: one standard error."""
    ### BEGIN SOLUTION
    k = len(values)
    mean = sum(values) / k
    deviation = (sum((x - mean) ** 2 for x in values) / (k - 1)) ** 0.5
    return deviation / k**0.5
    ### END SOLUTION


# %%
check(standard_error)

# %% [markdown]
# ## 2. Five out of five
#
# ●●○ · 5 minutes · predict
#
# In 13.5 the aMLP was better than the gMLP with every one of the five seeds. Suppose that in truth the two are equally good: with each seed, either is as likely
# to come out ahead, whatever the other seeds did.
#
# How often does one of the two, whichever it is, then win all five? Give a share, such as 0.25 for one time in four.


# %%
def chance_of_five_wins() -> float:
    """How often one of two equally good models wins with all five seeds."""
    ### BEGIN SOLUTION
    return 2 / 2**5
    ### END SOLUTION


# %%
check(chance_of_five_wins)

# %% [markdown]
# ## 3. Pairs with gaps
#
# ●●○ · 15 minutes · extend
#
# Two models were run, each result was noted under its seed. But runs crash, and runs end in any order: each model may lack seeds that the other has, and the
# seeds do not stand in one order. Compare the two seed by seed: how much does `b` lie above `a` on average, and what is the standard error of that mean? A
# seed that only one of them has tells nothing about the difference.
#
# Example: `a = {0: 2.0, 1: 2.2, 2: 2.1}` and `b = {2: 2.4, 5: 9.9, 0: 2.2}` share the seeds 0 and 2. The differences are 0.2 and 0.3; their mean is 0.25, their error 0.05.
#
# Shapes: `a` and `b` are `{seed: result}`, with at least two seeds in common; the answer is two numbers.


# %%
def paired_difference(a: dict[int, float], b: dict[int, float]) -> tuple[float, float]:
    """How much b lies above a, seed by seed: the mean and its standard error."""
    ### BEGIN SOLUTION
    found = spread([b[seed] - a[seed] for seed in a if seed in b])
    return found["mean"], found["error"]
    ### END SOLUTION


# %%
check(paired_difference)

# %% [markdown]
# ## 4. A result that does not come again
#
# ●●○ · 10 minutes · debug
#
# A model was run at several learning rates, with five seeds at each: `runs[rate]` is the list of results in bits per byte, seed 0 first. This function makes one number of
# them, which goes into a table.
#
# To try it, we invent a model that is indifferent to its rate: each run gives 2.2 bits, but for chance. A thousand such tables should give 2.2 on average.


# %%
def found_tuned_result(runs: dict[float, list[float]]) -> float:
    """What a tuned model achieves, as it was found."""
    return min(min(bits) for bits in runs.values())


chance = random.Random(0)
rates = (4e-3, 8e-3, 16e-3)
tables = [
    {rate: [chance.gauss(2.2, 0.03) for seed in range(5)] for rate in rates} for _ in range(1000)
]
print(f"{statistics.mean(map(found_tuned_result, tables)):.3f} bits, and should be 2.200")

# %% [markdown]
# It promises what no further run will keep. Mend it: **seed 0 alone chooses the rate**, the one with which it needs the fewest bits. The other seeds, which had no part in the choice, tell
# what that rate achieves: their mean is the result.
#
# Shapes: `runs` is `{rate: [result with seed 0, 1, …]}`; the answer is one number.


# %%
def tuned_result(runs: dict[float, list[float]]) -> float:
    """What a tuned model achieves, mended: chosen by seed 0, told by the other seeds."""
    ### BEGIN SOLUTION
    rate = min(runs, key=lambda rate: runs[rate][0])
    others = runs[rate][1:]
    return sum(others) / len(others)
    ### END SOLUTION


# %%
check(tuned_result)

# %% [markdown]
# ## 5. Your report
#
# ●●● · 40 minutes · extend
#
# Now an experiment of your own. Choose a question from 13.9, or another that an argument of `gMLPGPT` can answer, and write down your guess. `small_run` below is the laboratory: a small model, 150 steps, a few
# seconds. `small_run(0)` is the plain model, `small_run(0, act=nn.Tanh())` one with a tanh on the gate. Add a cell, run both versions with at least three seeds, the same for both, and keep the numbers. (Here one seed serves the weights and the batches. Whether both multiply equally often, `measured` of 13.2 tells: ask it in the chapter.)


# %%
def small_run(seed: int, **more: Any) -> float:
    """Bits per byte on the validation part, after 150 steps of a small gMLP."""
    train_text, valid_text = split_corpus(load_corpus("pydocs"))
    torch.manual_seed(seed)
    sizes = {"num_tokens": 256, "dim": 48, "depth": 2, "seq_len": 32}
    settings = {
        "steps": 150,
        "batch_size": 12,
        "context": 32,
        "peak": 8e-3,
        "eval_every": 150,
        "progress": False,
    }
    history = train(gMLPGPT(**sizes | more), train_text, valid_text, seed=seed, **settings)
    return history[-1].valid_bits


# %% [markdown]
# Return the report as the dict of 13.9, its numbers written into it. The check reads its form, not your taste: all ten fields of `FIELDS`, three seeds or more, results that fit the seeds, means and standard errors
# that are those of the results, and a claim that the numbers carry. `winner` is the model that beats every other one: the other's bits minus the winner's, seed by seed, have a 95 % interval above 0. Where none does, it is
# `None`, and that is a report, too. The conclusion names a model: the winner, where there is one.
#
# (The check reads JSON as well, and the page that `to_markdown` makes: return the text, or the path of the file.)
#
# Shapes: none; the answer is a dict, or a text.


# %%
def my_report() -> dict[str, Any]:
    """The report on an experiment of my own: a dict with the ten fields of FIELDS."""
    ### BEGIN SOLUTION
    results = {
        "plain gate": [3.1740, 3.0763, 3.0522, 3.0801],
        "tanh gate": [3.2425, 3.0945, 3.1183, 3.1730],
    }
    low, high = interval(differences(results["plain gate"], results["tanh gate"]))
    return {
        "question": "Does a small gMLP learn more slowly with a tanh on its gate?",
        "varied": "the activation of the gate: none, or tanh",
        "equal": "multiplications and parameters, exactly; text, steps, batches, seeds",
        "budget": "pydocs, 150 steps of 12 windows of 32 bytes; one rate for both, 0.008, not tuned",
        "seeds": [0, 1, 2, 3],
        "results": results,
        "summary": {name: spread(bits) for name, bits in results.items()},
        "winner": "plain gate",
        "conclusion": "Yes: the tanh gate needs more bits than the plain gate with every seed, "
        f"{low:.3f} to {high:.3f} of them in the 95 % interval, seed by seed.",
        "not_shown": [
            "other rates: the one rate was found for the plain gate",
            "longer runs, in which the tanh gate may catch up",
            "deeper models, where a bounded gate may help",
        ],
    }
    ### END SOLUTION


# %%
check(my_report)
