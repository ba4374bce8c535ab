# %% [markdown]
# # 07 · Local windows: what if the text is long?
#
# *60 minutes. You need: the causal unit of [lesson 02](02_causal_masking.ipynb), the block of [lesson 03](03_residual_blocks.ipynb) and the training of [lesson 04](04_training.ipynb); for section 7.8 the
# attention head of lesson 06, for the end of 7.10 the cache of lesson 05.*
#
# When you are done you can
#
# 1. say what a long text costs, and why $W$ sends the bill;
# 2. fill a text up to a multiple of $w$ so that no output changes, and say where filling does harm;
# 3. build a causal unit that works in **local windows**, and get it wrong in five ways, one of which scores better than the right one;
# 4. foretell how far each position reads, after one layer and after many, and read it off the Jacobian;
# 5. give attention the same windows, and explain why a zero is not nothing before a softmax.

# %%
import math
import time

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from gmlp import (
    CausalSGU,
    LanguageModel,
    PreNorm,
    Residual,
    bits_per_byte,
    count_bits,
    gMLPBlock,
    learning_rate,
    load_corpus,
    load_tiny,
    sample_batch,
    split_corpus,
    viz,
)

# %% [markdown]
# ## 7.1 The bill
#
# All texts that we trained on were short: 32, 64, at most 128 bytes. A page of a book has some 2,000, a chapter, say, 16,384. In the unit every position has its own row of
# $W$, and the row has a number for every position that it may listen to. So a text of $n$ positions needs $n$ rows of $n$ numbers.
#
# **Predict:** from 1,024 positions to 16,384 the text becomes sixteen times as long. How many times as many numbers has $W$? How many gigabytes is that, at four
# bytes a number?

# %%
for n in (1024, 2048, 4096, 8192, 16384):
    print(f"n {n:6,}: {n * n:11,} numbers in W, {4 * n * n / 1e9:.3f} GB")
print(f"{16384**2 // 1024**2} times as many")
# n is 16,384 now. 4 bytes a number; weight, gradient and two memories are 4 numbers; 12 layers:
total = 4 * 4 * 12 * n * n
print(f"12 layers of it, with gradients and AdamW's two memories: {total / 1e9:.0f} GB")

# %% [markdown]
# Sixteen times the text, 256 times the numbers. And every number (or half of them: the upper triangle is zero) is multiplied once with each channel, so the
# multiplications grow as fast. **Predict:** how many times as long does a unit take for 4,096 positions as for 1,024? Here it has 32 channels in $v$.


# %% tags=["nbval-ignore-output"]
def seconds(unit, n):
    """The fastest of twenty calls: what disturbs a measurement only makes it longer."""
    x, times = torch.randn(1, n, 64), []
    with torch.no_grad():
        for _ in range(20):
            start = time.perf_counter()
            unit(x)
            times.append(time.perf_counter() - start)
    return min(times)


lengths = (512, 1024, 2048, 4096)
whole = {n: seconds(CausalSGU(64, n), n) for n in lengths}
for n in lengths:
    print(f"n {n:5,}: {1000 * whole[n]:6.2f} ms")
print(f"from 1,024 to 4,096 positions: {whole[4096] / whole[1024]:.0f} times as long")
assert whole[4096] > 2 * whole[1024]  # on a busy machine, too

# %% [markdown]
# Four times the text costs far more than four times the time. By the count it would be sixteen times. Fixed costs may make it less, and a $W$ that no longer fits into the fast memory of the
# processor makes it more.
#
# Is all of this needed? Ask somebody who was free to choose. The small model of lesson 00 reads 128 bytes, and nobody told it where to look. Take its rows 64 to
# 127: each may read at least 65 positions, 96.5 on average. **Predict:** which share of its weight (absolute values, summed up) lies on the nearest 16? If it
# did not care, it would be 16 of 96.5, a sixth.

# %%
n = 128
back = torch.arange(n)[:, None] - torch.arange(n)  # (n, n): how far back of i is j?
near = (back >= 0) & (back < 16)
for number, layer in enumerate(load_tiny().blocks, 1):
    size = layer.fn.fn.sgu.mixing_matrix(n)[0].detach().abs()
    share = size[64:][near[64:]].sum() / size[64:].sum()
    print(f"layer {number}: {share:.2f} on the nearest 16")

# %% [markdown]
# Three layers of four spend about 70 to 75 % of their weight on the nearest 16 bytes. (Lesson 04 guessed why: much of what one can learn about text lies close by.) The last layer looks
# farther. So here is the bargain of this lesson: let each layer read *nearby* only, and let depth carry things farther. What does it save, and what does it cost?
#
# ## 7.2 Fill up the last window
#
# Cut the text into **local windows** of $w$ positions. (Until now "window" meant the piece of text that a model gets to read; from here on we cut that piece
# once more.) Our running example: a word of 14 random letters, in windows of 4. At first we look at their places only.
#
# Fourteen is no multiple of four, and `rearrange` will refuse. So we fill the text up, which is called **padding**: append entries that mean nothing, compute, and cut
# their outputs off again. **Predict:** Python's `-n % w` says how many are missing. What is `-14 % 4`?


# %%
n, w = 14, 4
places = torch.arange(n)
try:
    rearrange(places, "(a w) -> a w", w=w)  # a counts the windows
except Exception as error:
    print(str(error).splitlines()[-1].strip())


def pad_end(x, w):  # (b, n, c) -> (b, n + missing, c)
    missing = -x.shape[1] % w
    return F.pad(x, (0, 0, 0, missing))  # pairs, last axis first: channels, positions


def spell(row):
    return " ".join(" ·" if place < 0 else f"{place:2}" for place in row.tolist())


print("missing for n = 12, 13, 14, 15, 16:", *(-n % w for n in range(12, 17)))
filled = F.pad(places, (0, 2), value=-1)  # -1, so that we can tell it from place 0
for number, window in enumerate(rearrange(filled, "(a w) -> a w", w=w)):
    print(f"window {number}: {spell(window)}")

# %% [markdown]
# Two questions. *What* do we append, zeros? And *where*, behind the text or in front of it? Try it on the causal unit of lesson 02, with large random weights, so
# that nothing hides. Compare its 14 outputs on the word alone with those on the padded word. **Predict:** which of these change them: two zeros behind, two loud random vectors behind,
# two zeros in front?
#
# And the promise of lesson 02: the first outputs stay as they are, whatever comes after them. Compare a word of 13 letters (three entries are missing) with the same
# word and a 14th (two are). **Predict** for both sides: do the first 13 outputs stay?


# %%
def pad_start(x, w):
    return F.pad(x, (0, 0, -x.shape[1] % w, 0))


def same(a, b):
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4)


torch.manual_seed(0)
d = 64
unit = CausalSGU(2 * d, 16, init_eps=16)  # W starts in ±init_eps / 16, so in ±1
x = torch.randn(1, n, 2 * d)  # (b, n, 2d)
noisy = torch.cat([x, 99 * torch.randn(1, 2, 2 * d)], dim=1)
print("zeros behind  same:", same(unit(pad_end(x, w))[:, :n], unit(x)))
print("noise behind  same:", same(unit(noisy)[:, :n], unit(x)))
print("zeros in front same:", same(unit(pad_start(x, w))[:, 2:], unit(x)))

short = x[:, :13]
behind = same(unit(pad_end(short, w))[:, :13], unit(pad_end(x, w))[:, :13])
front = same(unit(pad_start(short, w))[:, 3:], unit(pad_start(x, w))[:, 2:15])
print("a 14th letter comes, the first 13 stay; behind:", behind, " in front:", front)
assert behind and not front

# %% [markdown]
# Behind the text you may append what you like: in a causal model nobody reads it, for it stands in everybody's future. In front, even zeros do harm. They add nothing
# to any sum (they pass this fresh norm as zeros; 7.5 returns to that), but they push every letter two places on, to another row of $W$.
#
# Padded in front, the number of zeros depends on how long the text is. So a letter still to come shifts all earlier ones, and changes what they say. That is a leak, though a small one: it tells how long the text will be. **We
# pad behind, and cut off.**
#
# ## 7.3 Each window by itself
#
# The simplest unit with windows: take the windows as if each were a text of its own, all with the same small matrix, $w$ by $w$. `look` says what a
# window gets to see, and `matrix` which of it counts; later versions will change hardly more than these two.


# %%
class OwnWindow(nn.Module):
    windows = 1  # how many windows a row of W spans

    def __init__(self, dim, w):
        super().__init__()
        self.w = w
        self.norm = nn.LayerNorm(dim // 2)
        start = torch.empty(w, self.windows * w).uniform_(-1e-3, 1e-3) / w
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.ones(w))

    def look(self, own):  # (b, a, w, c): all windows, c channels in v
        return own

    def matrix(self):
        return self.weight.tril()

    def forward(self, x):  # (b, n, 2c)
        u, v = x.chunk(2, dim=-1)  # (b, n, c) each
        own = rearrange(pad_end(self.norm(v), self.w), "b (a w) c -> b a w c", w=self.w)
        gate = self.matrix() @ self.look(own) + self.bias[:, None]  # (b, a, w, c)
        return rearrange(gate, "b a w c -> b (a w) c")[:, : x.shape[1]] * u


print("W is", tuple(OwnWindow(2 * d, w).weight.shape), "for every n")

# %% [markdown]
# And the game of lesson 02: *shift*, say your left neighbour's letter; the first position has to say the last letter. Ten letters, a to j. `play` trains for 200
# steps, with the schedule of lesson 04, and returns the accuracy at each position.


# %%
def shift(words):
    return words.roll(1, dims=1)


def draw(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(10, (count, n), generator=generator)  # (b, n)


def play(middle, task, steps=200, peak=1e-2):
    model = nn.Sequential(nn.Embedding(10, d), *middle, nn.Linear(d, 10))
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak, warmup=50)
        words = draw(64, step)
        loss = F.cross_entropy(model(words).transpose(1, 2), task(words))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words = draw(2000, steps)
    with torch.no_grad():
        return (model(words).argmax(-1) == task(words)).float().mean(0)  # (n,)


word = draw(1, 0)
print("word ", *("abcdefghij"[letter] for letter in word[0]))
print("shift", *("abcdefghij"[letter] for letter in shift(word)[0]))

# %% [markdown]
# **Predict**, with a pencil: at which of the 14 positions will it fail? And which accuracy is that, over all of them, if it rolls a ten-sided die where it cannot know?


# %% tags=["nbval-ignore-output"]
def train_unit(kind, task):
    torch.manual_seed(0)
    unit = kind(2 * d, w)
    return unit, play([nn.Linear(d, 2 * d), nn.GELU(), unit], task)


def report(accuracy, known):
    """A square for each position that knows, a dot for each that guesses; the pencil."""
    assert ((accuracy > 0.9) | (accuracy < 0.2)).all()
    marks = "".join("■" if share > 0.9 else "·" for share in accuracy)
    windows = " ".join(marks[start : start + w] for start in range(0, n, w))
    pencil = (known + (n - known) / 10) / n  # a die for those that it cannot know
    print(f"{windows}  seen {accuracy.mean():.3f}, by pencil {pencil:.3f}")
    return accuracy.mean() - pencil


own_window, accuracy = train_unit(OwnWindow, shift)
assert abs(report(accuracy, known=10)) < 0.015

# %% [markdown]
# Every window is blind at its start: the neighbour stands on the other side of the cut. In a long text that is one position in $w$: with windows of 4 a quarter of the
# answers is lost. Larger windows only make the blind spots rarer. And depth will not help: a second layer with the same cuts has the same walls.
#
# ## 7.4 Look back
#
# So let each window see the one before as well: it **looks back**. A row of $W$ now spans two windows, $2w$ numbers, first those of the window before, then those of its own. The mask: all of
# the window before, and of your own up to yourself. **Predict:** which $k$ in `tril(k)` says that? (`tril(0)` ends at the diagonal, and each 1 more lets one column more through.)


# %%
class LookBack(OwnWindow):
    windows = 2

    def look(self, own):  # (b, a, w, c) -> (b, a, 2w, c)
        return torch.cat([own.roll(1, dims=1), own], dim=2)  # all windows, one place on

    def matrix(self):
        return self.weight.tril(self.w)


print(torch.ones(w, 2 * w).tril(w).int())

# %% [markdown]
# `tril(w)`. Row 0 reads five positions, row 3 all eight. And what stands "before" is found with `roll`, which moves the row of windows by one place. (Where does the last one go?)
#
# **Predict:** the blind spots are gone, except for position 0, whose answer is the last letter. So 13 of 14 are known. What will be seen?

# %% tags=["nbval-ignore-output"]
look_back, accuracy = train_unit(LookBack, shift)
assert report(accuracy, known=13) > 0.05

# %% [markdown]
# Everything right. **Rejoice?** Position 0 has said the last letter, in every word, and no causal unit can know it. Lesson 02 taught us to be suspicious of a score
# that is too good. So ask the places themselves: send them through `look` instead of channels.


# %%
def pairs(unit):
    own = rearrange(F.pad(places, (0, 2), value=-1), "(a w) -> 1 a w 1", w=w)
    for number, pair in enumerate(unit.look(own)[0, :, :, 0]):
        print(f"window {number}: {spell(pair[:w])}  |  {spell(pair[w:])}")


pairs(look_back)

# %% [markdown]
# Before window 0 stands window 3. `roll` is a ring: what leaves on one side comes in on the other, and so the first window reads the end of the text. Before the first
# window there must be *nothing*:


# %% tags=["nbval-ignore-output"]
class MyLocalSGU(LookBack):
    def look(self, own):  # (b, a, w, c) -> (b, a, 2w, c)
        nothing = torch.zeros_like(own[:, :1])
        before = torch.cat([nothing, own[:, :-1]], dim=1)  # one place on, nothing in front
        return torch.cat([before, own], dim=2)


mine, accuracy = train_unit(MyLocalSGU, shift)
assert abs(report(accuracy, known=13)) < 0.015

# %% [markdown]
# The right unit scores less than the wrong one, and exactly what the pencil said. The Jacobian shows what each of our units reads. As in lesson 02: how strongly does output $i$ react
# to input $j$? We only ask whether it does at all.


# %%
def reads(module, n=n, dim=2 * d):
    """Who reads whom: (n, n), True where output i reacts to input j."""
    x = torch.randn(1, n, dim, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rows = []
    for out in module(x)[0].sum(-1):  # one number for each position
        (derivative,) = torch.autograd.grad(out, x, retain_graph=True)
        rows.append(derivative[0].norm(dim=-1) > 0)
    return torch.stack(rows)


future = torch.ones(n, n).triu(1) == 1  # above the diagonal: j > i
tables = {"own window": own_window, "roll": look_back, "nothing before": mine}
tables = {name: reads(unit) for name, unit in tables.items()}
for name, table in tables.items():
    print(f"{name:15} reads {int(table[future].sum())} pairs of the future")

viz.matrices(
    tables,
    alt="Who reads whom among 14 positions. Own window: four separate triangles along the "
    "diagonal. Roll: each triangle has a full square on its left, and there is a block in "
    "the upper right corner, rows 0 to 3 by columns 12 and 13. Nothing before: the same "
    "without it",
)

# %% [markdown]
# The stairs are what we wanted; the block in the upper right corner is the leak, 4 positions that read 2 each.
#
# ## 7.5 Three more ways to get it wrong
#
# Next: `tril(w + 1)`, off by one; and `roll(-1)` instead of `roll(1)`, the wrong way round. Our game asks for the past; it may not notice who reads the future. So here is
# another one, which **nobody can win**: *ahead*, say your *right* neighbour's letter. No causal unit can: nothing to the left of a letter tells it. (The last position is asked for the first
# letter, which stands three windows back: too far for us.) Who does better than one in ten is reading what it may not.
#
# **Predict** six patterns: three units, two games. At which positions does *ahead* catch `tril(w + 1)`, and at which the wrong way round?


# %% tags=["nbval-ignore-output"]
class OffByOne(MyLocalSGU):
    def matrix(self):
        return self.weight.tril(self.w + 1)


class WrongWay(LookBack):
    def look(self, own):
        return torch.cat([own.roll(-1, dims=1), own], dim=2)


def ahead(words):
    return words.roll(-1, dims=1)


for kind, known in {MyLocalSGU: (13, 0), OffByOne: (13, 10), WrongWay: (10, 4)}.items():
    for task, count in zip((shift, ahead), known, strict=True):
        print(f"{kind.__name__:10} {task.__name__:5} ", end=" ")
        assert abs(report(train_unit(kind, task)[1], count)) < 0.015

# %% [markdown]
# In *shift*, *off by one* looks as good as the right unit. In *ahead* it knows its right neighbour wherever that stands in the same window. *Wrong way* knows it at the end of each window, where the neighbour opens the next one;
# and its last position even knows the first letter, because of the ring. The right unit is at chance, as it must be. **Test a causal model with a game that it must lose.**
#
# The last mistake is the quietest. "Nothing" is a zero *after* the norm. If you put the zeros in front first and norm afterwards, you get what `LayerNorm` makes of them: its own bias (it multiplies each channel by a learned number and adds another, which start at 1 and 0). That
# is zero in a fresh unit, and something else after training.


# %%
class ZerosBeforeTheNorm(LookBack):
    def look(self, own):
        before = torch.cat([self.norm(torch.zeros_like(own[:, :1])), own[:, :-1]], dim=1)
        return torch.cat([before, own], dim=2)


def differs(unit):
    """The positions at which the same weights give something else in the right unit."""
    right = MyLocalSGU(2 * d, w)
    right.load_state_dict(unit.state_dict())
    return (unit(x) - right(x)).abs().amax((0, 2)).gt(1e-5).nonzero().flatten().tolist()


print("fresh  : differs at", differs(ZerosBeforeTheNorm(2 * d, w)))
quiet, accuracy = train_unit(ZerosBeforeTheNorm, shift)
print("trained: differs at", differs(quiet))
print("pairs of the future that it reads:", int(reads(quiet)[future].sum()))
assert (accuracy > 0.9).sum() == 13

# %% [markdown]
# A fresh unit passes, it scores in *shift* like the right one, and the Jacobian is clean. Still the first window hears a voice where nobody stands. It is no leak; but the unit no longer does what its
# equation says. (In 7.8, before a softmax, such a nothing does more harm.) Here is what the right one says, for position $i = a\,w + r$, row $r$ of window $a$:
#
# $$gate_i = \sum_{j=(a-1)w}^{i} W_{r,\;j-(a-1)w}\;\mathrm{LayerNorm}(v)_j + b_r \qquad (\text{nothing where } j < 0)$$
#
# ## 7.6 The bill again
#
# A row has $2w$ numbers now, whatever $n$ is, and all windows share the same $w$ rows. **Predict**, for $n = 16{,}384$ and $w = 128$: how many numbers has $W$, and how
# many times fewer multiplications are there for each channel? For which $n$ would windows save nothing?

# %%
print(f"W: {16384**2:,} numbers without windows, {128 * 2 * 128:,} with windows of 128")
for n_long in (256, 1024, 4096, 16384):
    everything, local = n_long * n_long, n_long * 2 * 128
    lead = everything / local
    print(f"n {n_long:6,}: {everything:11,} against {local:9,}: {lead:2.0f} to 1")

# %% [markdown]
# The cost grows with $n \cdot w$ and no longer with $n^2$. By this count there is nothing to gain at $n = 2w$. But both columns count the zeros above the diagonal. The finished unit of lesson 02
# skips most of its zeros, so the true lead is about half as large, and windows pay from about $n = 4w$ on. And the clock, with windows of 64?

# %% tags=["nbval-ignore-output"]
local = {n: seconds(MyLocalSGU(64, 64), n) for n in lengths}
ratio = {n: whole[n] / local[n] for n in lengths}
print("whole W against windows:", *(f"n {n:,}: {ratio[n]:.0f} to 1  " for n in lengths))
print(f"n 4,096 by the count: {4096 / (2 * 64):.0f} to 1, or half of it: {4096 / (4 * 64):.0f}")
viz.curves(
    {
        "whole W": (lengths, [1000 * whole[n] for n in lengths]),
        "windows of 64": (lengths, [1000 * local[n] for n in lengths]),
    },
    xlabel="positions n",
    ylabel="milliseconds for one unit",
    alt="Time by length of the text. The curve of the whole W bends upwards, ever more "
    "steeply; that of the windows stays near the ground.",
)
assert ratio[4096] > 2 and ratio[4096] > ratio[1024]

# %% [markdown]
# By the count, windows should be 32 times as fast at 4,096 positions, or 16 times, since the whole unit skips most of its zeros. The clock may show less, as the rest of the work (norm, copies, the product with $u$) is no smaller with windows. It
# may also show more, as a small matrix stays in the fast memory.
#
# ## 7.7 How far does it reach?
#
# Now the price. Call the positions that a position can read its **reach**: its own window up to itself, $r + 1$ positions in row $r$, and the $w$ of the window before. **Predict:** who reads more, position 11
# or position 12? How many does each of the 14 read?

# %%
foretold = [i + 1 - max(0, (i // w - 1) * w) for i in range(n)]
counted = reads(mine).sum(1).tolist()
print("position ", *(f"{i:2}" for i in range(n)))
print("foretold ", *(f"{count:2}" for count in foretold))
print("Jacobian ", *(f"{count:2}" for count in counted))
assert counted == foretold

# %% [markdown]
# Position 11 reads 8, position 12 only 5. One step further in the text, and it reads *three letters fewer* (four are gone, one is new): the reach is a saw, between $w + 1$ and $2w$. (In the first window it is less, as there is
# no more.) Touch it. **Windows of 5, 6, 7 or 8: with which does position 24 read the most? Is it the largest?** Decide first, then move the slider.

# %% tags=["nbval-ignore-output"]
viz.local_windows(32, windows=(5, 6, 7, 8), first=5)

# %% [markdown]
# <details><summary>The answer</summary>7: there position 24 is row 3 of its window and reads 11. With windows of 8 it is row 0, and reads 9; with 6 it is row 0 as well, and reads 7. With
# 5 it is the last row, and reads 10.</details>
# <br>
#
# A game for this: *far*, say the letter six places back. **Predict** the pattern for one layer. (Positions 0 to 5 are asked for a letter that stands to their right;
# they can only guess.) Then for two layers, stacked as in lesson 03.


# %% tags=["nbval-ignore-output"]
def far(words):
    return words.roll(6, dims=1)


def layers(depth, make_unit=lambda: MyLocalSGU(2 * d, w)):
    torch.manual_seed(0)
    return [Residual(PreNorm(d, gMLPBlock(d, 2 * d, make_unit()))) for _ in range(depth)]


for depth, known in ((1, 4), (2, 8)):
    accuracy = play([*layers(depth), nn.LayerNorm(d)], far, steps=400, peak=5e-3)
    print("layers:", depth, end="  ")
    assert abs(report(accuracy, known)) < 0.02

# %% [markdown]
# One layer knows the letter at 6 and 7, not at 8 and 9, and again at 10 and 11: the saw, seen from inside. (Position 8 opens window 2. It reads from 4 on, and its letter stands at
# 2.) With two layers all eight, 6 to 13, know it: someone in between, who has heard the letter, passes it on.
#
# **Predict:** how far does position $i$ hear through $L$ layers? And how many layers of windows of 128 does a text of 16,384 need, so that the last position hears the first?
# Follow the windows, not the letters.


# %%
def first_heard(i, w, depth):
    """Each layer hands on one window more."""
    return max(0, (i // w - depth) * w)


deep = nn.Sequential(*layers(4))
for depth in (1, 2, 3, 4):
    table = reads(deep[:depth], n=40, dim=d)
    first = table.int().argmax(dim=1).tolist()  # the first True of each row
    assert first == [first_heard(i, w, depth) for i in range(40)]
    print(f"layers: {depth}  39 hears from {first[39]:2} on, 36 from {first[36]:2} on")
walls = reads(nn.Sequential(*layers(4, lambda: OwnWindow(2 * d, w))), n=40, dim=d)
wall = walls[39].int().argmax().item()
print("4 layers without look-back: 39 hears from", wall, "on")
needed = next(depth for depth in range(1, 1000) if first_heard(16383, 128, depth) == 0)
print("layers for 16,384 positions with windows of 128:", needed)

# %% [markdown]
# One window more with each layer, and the saw stays on top of it: 39 hears no farther back than 36, which stands at the start of the same window. (Without look-back depth is of
# no use: the walls stay where they are.) 127 layers for a chapter of a book are too many;
# lesson 08 has another idea.
#
# To be *able* to hear is not to hear *well*, least of all before training. The figure has the same four layers, fresh and untrained, on 32 positions, and shows how strongly the gradient arrives. **Which positions does the last one hear
# through two layers, but not through one, and how do their colours compare with the nearest ones?** Move *layers* from right to left.

# %% tags=["nbval-ignore-output"]
viz.receptive_field(LanguageModel(10, d, 32, deep), 32)

# %% [markdown]
# <details><summary>The answer</summary>20 to 23. What comes through two layers is paler than what comes through one, and each further layer makes it paler still: in a fresh unit each step
# from one position to another costs a small weight of W. Training has to make the path louder, and the longer it is, the more steps have to be found.</details>
#
# ## 7.8 The same windows for attention
#
# The head of lesson 06 pays $n^2$ too: a score for each pair of positions. It can have the same windows, **local attention**. Call a window with the
# one before it a double window: $2w$ positions. `unfold(axis, size, step)` takes `size` entries, goes `step` on, takes again. So put one window of nothing in front; then `unfold(1, 2 * w, w)` takes the double windows one
# after another. (In front, although 7.2 forbade it? A *whole* window leaves each position in its own row of its own window.)
#
# Then as in the unit: zeros for the nothing, and `tril(w)` for the future. The scores of what must not be read become $-\infty$,
# before the softmax.
#
# **Predict:** let all scores be 0. Position 0 has nobody to listen to but itself. Which share of its attention does it give to itself?


# %%
def local_weights(q, k, may_read):
    """The shares that queries give to keys: (b, n, c) each -> (b, a, w, 2w)."""
    own = rearrange(pad_end(q, w), "b (a w) c -> b a w c", w=w)
    both = F.pad(pad_end(k, w), (0, 0, w, 0)).unfold(1, 2 * w, w)  # (b, a, c, 2w)
    # unfold put 2w last, as we need it: (b, a, w, c) @ (b, a, c, 2w) -> (b, a, w, 2w)
    scores = own @ both / math.sqrt(q.shape[-1])
    return scores.masked_fill(~may_read, -math.inf).softmax(-1)


def first_window(may_read):
    calm = torch.zeros(1, n, 8)  # queries and keys alike: every score is 0
    for number, row in enumerate(local_weights(calm, calm, may_read)[0, 0]):
        print(f"position {number}:", "  ".join(f"{share:.2f}" for share in row.tolist()))


pairs_again = F.pad(places, (w, 2), value=-1).unfold(0, 2 * w, w)
print("double windows 0 and 1:", spell(pairs_again[0]), " / ", spell(pairs_again[1]))
as_in_the_unit = torch.ones(4, w, 2 * w).tril(w) == 1  # (a, w, 2w)
first_window(as_in_the_unit)

# %% [markdown]
# A fifth. Four fifths go to four zeros, where nobody stands. In the unit a zero was nothing: $W$ times zero adds zero. Here the zero comes *before* a softmax, and $e^0 = 1$ is as good a vote as any
# other. So the nothing before the first window must be masked, like the future:


# %%
may_read = as_in_the_unit.clone()
may_read[0, :, :w] = False  # before the first window stands nobody
first_window(may_read)


def my_local_attention(head, x):
    """`head` has the layers: to_qkv and to_out, as in lesson 06."""
    q, k, v = head.to_qkv(x).chunk(3, dim=-1)  # (b, n, c) each
    both = F.pad(pad_end(v, w), (0, 0, w, 0)).unfold(1, 2 * w, w)  # (b, a, c, 2w)
    shares = local_weights(q, k, may_read)  # (b, a, w, 2w)
    out = shares @ both.mT  # mT swaps the last two axes: (b, a, 2w, c)
    return head.to_out(rearrange(out, "b a w c -> b (a w) c")[:, : x.shape[1]])


# %% [markdown]
# Now position 0 hears itself and nothing else. The values go into double windows as the keys did, and the shares weigh them: that is the whole head. The finished one of 7.10 will tell whether it is right.
#
# ## 7.9 The same on text
#
# Letters in a game are one thing. Take the manual, in pieces of 2,048 bytes, and two models of two layers each: one with the whole $W$, one with windows of 32. Sixty steps, one piece a step, the same pieces,
# the same learning rate for both.
#
# **Predict:** which is faster, and does the other one get something for its patience?


# %% tags=["nbval-ignore-output"]
def read_long(make_unit, n=2048, steps=60):
    model = LanguageModel(256, d, n, nn.Sequential(*layers(2, make_unit)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
    start = time.process_time()
    for step in range(steps):
        inputs, targets = sample_batch(train_text, 1, n, seed=step)
        loss = bits_per_byte(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    took = time.process_time() - start
    inputs, targets = sample_batch(valid_text, 8, n, seed=0)
    with torch.no_grad():
        bits = bits_per_byte(model(inputs), targets).item()
    return bits, took, sum(p.numel() for p in model.parameters())


train_text, valid_text = split_corpus(load_corpus("pydocs"))
units = {
    "whole W": lambda: CausalSGU(2 * d, 2048),
    "windows of 32": lambda: MyLocalSGU(2 * d, 32),
}
results = {name: read_long(make_unit) for name, make_unit in units.items()}
for name, (bits, took, numbers) in results.items():
    print(f"{name:13} {numbers:9,} parameters {took:5.1f} CPU s  {bits:.2f} bits per byte")
(whole_bits, whole_took, _), (local_bits, local_took, _) = results.values()
assert local_bits < whole_bits + 0.1 and whole_took > 1.5 * local_took
assert min(local_bits, whole_bits) > count_bits(train_text, valid_text, 1)

# %% [markdown]
# Both have a long way to go: counting with one byte of context, as in lesson 00, does better. The windows took less time, and their bits are no worse: so far the distant part of $W$ has bought nothing. Besides "what matters is near" there is a likely reason: the rows. The whole $W$ has 2,048 of them, and each learns from its own
# position only. With windows 32 rows serve all 64 windows of the piece, so each row sees 64 times as many examples.
#
# **What may you not conclude?** That far text is useless. Sixty steps are only a beginning, this is one learning rate and one seed, and a bracket that was opened a page ago is out of
# reach for the windows, however long they train.
#
# ## 7.10 The finished module
#
# Three names. `pad_to_multiple` is your `pad_end` along any axis; `CausalLocalSGU` your unit, with heads; `LocalAttention` your head.

# %%
import inspect

from gmlp import Attention, Cache, CausalLocalSGU, LocalAttention, pad_to_multiple

print(inspect.getsource(CausalLocalSGU.mixing_matrix))
finished = CausalLocalSGU(2 * d, n, window=w)
yours = mine.state_dict()
one_head = {name: yours[name][None] for name in ("weight", "bias")}  # (1, w, 2w), (1, w)
finished.load_state_dict({**yours, **one_head})
torch.testing.assert_close(finished(x), mine(x), atol=1e-4, rtol=1e-4)
cache = Cache()
letter_by_letter = [finished.step(x[:, i : i + 1], cache) for i in range(n)]
torch.testing.assert_close(torch.cat(letter_by_letter, dim=1), mine(x), atol=1e-4, rtol=1e-4)

head = LocalAttention(dim_in=2 * d, dim_out=d, dim_inner=8, window=w)
torch.testing.assert_close(head(x), my_local_attention(head, x))
assert torch.equal(reads(head), reads(mine))  # the same reach, too
assert torch.equal(pad_to_multiple(x, w, dim=1), pad_end(x, w))
print("unit, head and padding: equal to yours on", tuple(x.shape))

# %% [markdown]
# `mixing_matrix` is the whole matrix that the windows amount to, for looking at: your small matrix, again and again, each time one window further down; the extra window in front is cut off in the end. For
# computing it is never built (`local_mix` in `gmlp/ops.py` multiplies window by window; nor does it copy each window into two double windows, as yours does).
#
# It writes, too (`step`, lesson 05). A position asks for nothing older than the window before its own, so a layer that writes has to keep two windows, however long the text becomes.
#
# Last, a test for every such unit: *a window as long as the text is no window at all*. Then there is only the first one, nobody stands before it, and the right half of the $(w, 2w)$ matrix must do what the
# whole $W$ of lesson 02 does. **Predict:** which of its columns are used, if $n = 14$ and $w = 20$? And which of our wrong units pass?


# %%
def is_no_window(unit, w=20):
    nn.init.normal_(unit.weight)  # nothing small, nothing zero: nothing hides
    nn.init.normal_(unit.norm.bias)
    whole = CausalSGU(2 * d, n)
    whole.norm = unit.norm
    own = unit.weight[..., -w:]  # the last w columns: the own window
    with torch.no_grad():
        whole.weight.copy_(own[..., :n, :n])
    return same(unit(x), whole(x))


torch.manual_seed(0)
print(f"{'CausalLocalSGU':18}", is_no_window(CausalLocalSGU(2 * d, n, window=20)))
for kind in (MyLocalSGU, LookBack, OffByOne, WrongWay, ZerosBeforeTheNorm, OwnWindow):
    print(f"{kind.__name__:18}", is_no_window(kind(2 * d, 20)))

whole_head = Attention(dim_in=2 * d, dim_out=d, dim_inner=8)
local_head = LocalAttention(dim_in=2 * d, dim_out=d, dim_inner=8, window=20)
whole_head.load_state_dict(local_head.state_dict())
print(f"{'LocalAttention':18}", same(local_head(x), whole_head(x)))

# %% [markdown]
# Columns 20 to 33. Four of the wrong ones do not pass, not even the quiet one. But `OwnWindow` does: with a single window nobody looks back, so nobody sees that it never
# does. For that there is *shift*. No single test is enough.
#
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. We append zeros behind the text, and not in front of it. Why?**
#
# <details><summary>Because zeros in front would be added to the sums.</summary>No: a zero adds nothing, wherever it stands. It is the places that change.</details>
# <details><summary>Because in front they move every letter to another row of W, and by how much tells the length of the text.</summary>Right: a letter that is not yet written would change what was said before it.</details>
# <details><summary>Because it takes fewer zeros.</summary>No: as many are missing on either side. Only their place differs.</details>
# <br>
#
# **2. In *shift*, the unit with <code>roll</code> was right everywhere, and the right unit was not. Why is it still the wrong one?**
#
# <details><summary>It is slower, since every window is copied.</summary>No: the right one copies its windows just as often.</details>
# <details><summary>It has more numbers in W, and has learned the words by heart.</summary>No: both have w rows of 2w numbers, and they were examined on fresh words.</details>
# <details><summary>Its first window reads the last one, so position 0 knew what no causal unit can know.</summary>Right: roll is a ring. A game that a causal model must lose finds that out.</details>
# <br>
#
# **3. Before the first window we put zeros. In the unit that was enough; in attention the same zeros did harm. What is the difference?**
#
# <details><summary>Attention puts a softmax behind the scores, and a score of 0 gets a share like any other.</summary>Right: so the scores of nobody must become minus infinity before the softmax.</details>
# <details><summary>Attention has no bias that could make up for the zeros.</summary>No: a bias could not give back the shares that went to nobody.</details>
# <details><summary>The values of the zeros are added up, and make the output larger.</summary>No: their values are 0 as well. The output becomes smaller, since the shares for the others shrink.</details>
#
# ## What you can do now
#
# - ✓ say what a long text costs: sixteen times the text, 256 times the numbers in $W$;
# - ✓ pad behind and cut off; in front, it moves every position and tells something of the length of the text;
# - ✓ build the unit with windows, $(w, 2w)$ and `tril(w)`; and name five wrong ones: no look-back, the ring, off by one, the wrong way round, zeros before the norm;
# - ✓ foretell its reach: between $w + 1$ and $2w$, one window more with each layer; and test it with a game that it must lose;
# - ✓ give attention the same windows, and mask the nothing: before a softmax, zero is a vote.
#
# **Practise:** the [exercises](../exercises/07_local_windows.ipynb) of this lesson: five, in about 55 minutes.
#
# **Next:** 127 layers to cross a chapter are too many. What if far letters were made neighbours instead? Deal the text like cards, and lesson 08
# begins.
