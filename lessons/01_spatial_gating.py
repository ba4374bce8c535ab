# %% [markdown]
# # 01 · Spatial gating: how do tokens talk without attention?
#
# *50 minutes. You need: [lesson 00](00_welcome.ipynb), and PyTorch as far as tensors, `nn.Module` and a training loop.*
#
# In a Transformer, the network behind most of today's language models, **attention** carries information from one token to another. The **gMLP** (Liu et al. 2021,
# [Pay Attention to MLPs](https://arxiv.org/abs/2105.08050), "the paper" from here on) does without: it is built of ordinary layers and one small unit, and
# that unit is what we build now.
#
# When you are done you can
#
# 1. say why a network that looks at one token at a time cannot reverse a word, and show it;
# 2. mix a sequence by loops, then by one matrix product, and read off the matrix what it does;
# 3. build the **spatial gating unit** (SGU) of the gMLP paper and train it to 100 %;
# 4. explain why its matrix starts near zero and its bias at one;
# 5. give it **heads**, and show a task that one head cannot do.

# %%
import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from gmlp import load_corpus, sample_batch, split_corpus, viz

# %% [markdown]
# ## 1.1 A task that needs talk
#
# Here is a game. You get a word of twelve random letters, and at every position you must say which
# letter stands at the mirrored position: the first letter swaps with the last, the second with the second-to-last,
# and so on. In other words: reverse the word.
#
# We write letters as numbers 0 to 9, called **tokens**. A batch of words is a tensor of shape
# `(b, n)`: `b` words of `n` positions.

# %%
n, letters = 12, "abcdefghij"


def spell(word):
    return "".join(letters[token] for token in word)


torch.manual_seed(0)
words = torch.randint(len(letters), (64, n))  # (b, n)
print("input  ", spell(words[0]))
print("reverse", spell(words[0].flip(0)))
print("shift  ", spell(words[0].roll(1)))
print("copy   ", spell(words[0]))

# %% [markdown]
# *Shift* and *copy* are two easier games for comparison: say the letter one place to the left (the
# last one wraps around to the front), or simply repeat your own letter.
#
# Our first player is a **per-token network**: it turns each letter into a vector of `d` numbers
# (`d` **channels**), sends each vector through the same two layers, and a third one guesses a letter. The
# same weights for every position; no position sees another. (`GELU` is the bend between two layers: a strongly negative number
# becomes nearly 0, a strongly positive one stays nearly as it is.)

# %%
d = 64


def per_token_network():
    return nn.Sequential(
        nn.Embedding(len(letters), d),  # (b, n) -> (b, n, d)
        nn.Linear(d, 2 * d),
        nn.GELU(),
        nn.Linear(2 * d, d),
        nn.GELU(),
        nn.Linear(d, len(letters)),  # (b, n, 10): a score for each letter
    )


per_token_network()(words).shape

# %% [markdown]
# And a training loop. It draws fresh words at every step, so there is
# nothing to memorise. Every 20 steps it notes the **accuracy**: the fraction of letters that the network
# gets right.


# %%
def fit(network, task, steps=200, lr=1e-2):
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    accuracy = []
    for step in range(steps):
        words = torch.randint(len(letters), (64, n))
        scores = network(words)  # (b, n, 10)
        loss = F.cross_entropy(scores.flatten(0, 1), task(words).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 20 == 0:
            accuracy.append((scores.argmax(-1) == task(words)).float().mean().item())
    return accuracy


tasks = {
    "copy": lambda words: words,
    "shift": lambda words: words.roll(1, dims=1),
    "reverse": lambda words: words.flip(1),
}

# %% [markdown]
# **Predict.** Three networks, one for each game. Which accuracies will you see? Write down three
# numbers before you run the cell.

# %%
torch.manual_seed(0)
for name, task in tasks.items():
    accuracy = fit(per_token_network(), task)[-1]
    print(f"{name:8} {accuracy:.2f}")

# %% [markdown]
# Copying is perfect. Shift and reverse stay at one in ten, which is what you get by rolling a
# ten-sided die: **chance**. More layers or more steps would change nothing. What the network
# needs stands at another position, and nothing carries it over.
#
# ## 1.2 Mixing, by hand
#
# So let positions talk. The simplest way: each position becomes a *weighted sum of all positions*. Take three positions with two channels
# each, the rows of `v`, and a table of weights $W$. Row $i$ of $W$ says from where position $i$ collects. Below, row 0 takes all of position 2; row 1
# keeps itself; row 2 takes half of position 0 and half of position 1.
#
# $$out_{i,c} = \sum_j W_{i,j} \, v_{j,c}$$

# %%
v = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])  # (n=3, d=2)
weight = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])  # W, (n, n)

# %% [markdown]
# **Predict** the six numbers, then let three loops compute them.

# %%
out = torch.zeros(3, 2)
for i in range(3):  # the position that collects
    for j in range(3):  # the position it takes from
        for c in range(2):  # each channel by itself
            out[i, c] += weight[i, j] * v[j, c]
out

# %% [markdown]
# Row 2 reads `1.5, 15`: the mean of the first two positions, in each channel by itself.
#
# Sum over $j$, for every $i$ and $c$: you have met that sum before. It is a matrix product.

# %%
print(weight @ v)
assert torch.equal(weight @ v, out)

# %% [markdown]
# `nn.Linear` is a matrix product, too: `x @ A` and a bias. Its matrix stands on the right and mixes the channels of each position.
# In `W @ v` the matrix stands on the left and mixes positions. That is the first of the paper's two ideas.
#
# **Predict.** Which 3 × 3 matrix reverses three positions? Which one shifts them by one place to
# the right, with the last one wrapping to the front?

# %%
reverse, shift = torch.eye(3).flip(0), torch.eye(3).roll(1, dims=0)
print(reverse, shift, sep="\n")
print("reversed", (reverse @ v)[:, 0].tolist(), " shifted", (shift @ v)[:, 0].tolist())
batch = torch.stack([v, 2 * v])  # (b=2, n=3, d=2)
print("a batch of two, reversed", (reverse @ batch)[:, :, 0].tolist())

# %% [markdown]
# Ones on the diagonal, from the top left to the bottom right, mean "keep yourself"; from the bottom left to the top right, "take your mirror image"; one
# step below the diagonal, "take your left neighbour", with the wrap-around in the corner at the top right. You can read a mixing matrix like a map, and soon we will read one that a network has found by
# itself. (A batch needs no extra code: `(n, n) @ (b, n, d)` multiplies every sequence by the same matrix.)
#
# ## 1.3 Gating: why multiply?
#
# With mixing alone, a network could already reverse words. But a sum only adds up: what arrives has the same effect, whatever the position itself
# holds. The paper's second idea is to let the mixed signal act as a **gate**. Split the channels in two halves, $u$
# and $v$; mix $v$ along the sequence; multiply:
#
# $$u, v = \mathrm{split}(x), \qquad out = (W v + b) \odot u$$
#
# $\odot$ multiplies entry by entry; $b$, the **bias**, is one number for each position, added to what arrives. Where the gate is 0, nothing of $u$ passes; where it is 1, $u$
# passes as it is. $W$ is still the same for all words; but what happens at position $i$ is now a *product* of what $i$ itself holds
# and what others say to it.

# %%
u = torch.tensor([[5.0], [5.0], [5.0]])  # the same at every position
gate = reverse @ torch.tensor([[0.0], [1.0], [2.0]])  # what the mirror image says
(gate * u).flatten()

# %% [markdown]
# All three held the same, 5, and the outputs differ, because their mirror images said different things: position 2 was silenced
# by position 0, and position 0 was doubled by position 2.
#
# **What is a product good for?** *Think for a moment:* let letters be +1 or −1, and ask of two letters: are they equal? Can you tell from their
# sum, with one threshold? From their product?
#
# <details><summary>The answer</summary>The product is +1 exactly when they are equal. The sum is +2, 0 or −2: equal lies at both ends and different in
# the middle, and no single threshold tells them apart. A linear layer after a sum draws just such thresholds.</details>
#
# ## 1.4 The spatial gating unit
#
# Put together, with one more line: $v$ is normalised first (`LayerNorm`: each position's channels are
# shifted to mean 0 and scaled to variance 1), so that one loud position cannot drown the sum.
# $W$ starts with small random numbers; they are divided by $n$, because $n$ of them are summed at each position.

# %%
viz.spatial_gating_diagram()


# %%
class SGU(nn.Module):
    def __init__(self, dim, seq_len):
        super().__init__()
        self.norm = nn.LayerNorm(dim // 2)
        small = torch.empty(seq_len, seq_len).uniform_(-1e-3, 1e-3) / seq_len
        self.weight = nn.Parameter(small)
        self.bias = nn.Parameter(torch.ones(seq_len))

    def forward(self, x):  # (b, n, dim)
        u, v = x.chunk(2, dim=-1)  # (b, n, dim/2) each
        v = self.norm(v)
        gate = self.weight @ v + self.bias[:, None]  # (n, n) @ (b, n, dim/2) + (n, 1)
        return gate * u  # (b, n, dim/2)


def sgu_network(unit=SGU):
    return nn.Sequential(
        nn.Embedding(len(letters), d),
        nn.Linear(d, 2 * d),
        nn.GELU(),
        unit(2 * d, n),  # the only place where positions meet
        nn.Linear(d, len(letters)),
    )


# %% [markdown]
# One number of its output, step by step: a word of six letters, four channels in each half (random numbers here, not yet made from the letters), and a $W$
# with larger numbers than at the start, so that there is something to see.

# %%
torch.manual_seed(0)
small = SGU(8, 6)
nn.init.normal_(small.weight, std=0.5)
names = [f"{i} {letter}" for i, letter in enumerate("banana")]
viz.sgu_row(small, torch.randn(6, 8), labels=names)

# %% [markdown]
# Below the letters: a row of $W$, the channel of $v$ that it reads, their products, and the products summed from the left. The last number of the last
# strip, plus $b$, is the gate. Move the position, then the channel. **When does the row of $W$ change, when the channel of $v$, and why?**
#
# <details><summary>The answer</summary>Every position has a row of its own, so the position changes the row of $W$. All channels share one $W$, so the
# channel changes $v$ alone.</details>
# <br>
#
# The unit stands where the middle linear layer and the second GELU stood: 128 channels go in, 64 come out. Same game, same loop.
#
# **Predict** the three accuracies again.

# %%
torch.manual_seed(0)
trained = {name: sgu_network() for name in tasks}
for name, task in tasks.items():
    print(f"{name:8} {fit(trained[name], task)[-1]:.2f}")

# %% [markdown]
# All three, perfectly, and each batch was of new words. The unit made the difference, and positions meet only in its matrix of 12 × 12 numbers.
#
# **Predict:** you know which matrices shift and reverse. Did training find them? Ask for the strongest entry of each row: to whom does position 0 listen,
# position 1, and so on?

# %%
# [3] is the unit; abs, because a strong entry may be negative.
for name in ("shift", "reverse"):
    print(f"{name:8}", trained[name][3].weight.abs().argmax(dim=1).tolist())
assert trained["shift"][3].weight.abs().argmax(1).equal(torch.arange(n).roll(1))
assert trained["reverse"][3].weight.abs().argmax(1).equal(torch.arange(n).flip(0))
for name, task in tasks.items():
    assert (trained[name](words).argmax(-1) == task(words)).all()

# %% [markdown]
# It did: in *shift* position 1 listens to 0, in *reverse* to 10. The whole matrices:

# %%
viz.matrices(
    {name: network[3].weight for name, network in trained.items()},
    alt="Three learned 12 by 12 matrices. Shift has one strong line, a step below the main "
    "diagonal, reverse one from the bottom left to the top right, on nearly white ground. "
    "Copy is an even pale purple, without a line.",
)

# %% [markdown]
# Shift found the line one step below the diagonal (and the wrap-around in the upper right corner); reverse found the mirror line. (Purple is above zero, orange
# below. The sign is free, since the next layer can flip it.) How can `gate * u` be another position's letter, when `u` is made from its own? The layer before
# can make `u` the same for every letter; then only the gate speaks. Copy does the opposite: its letter comes through `u`. Its matrix has no line; it listens a
# little to everybody alike, and so to nobody in particular.
#
# ## 1.5 Why does it start near zero, with a bias of one?
#
# Look at the unit before any training:

# %%
torch.manual_seed(0)
fresh = SGU(2 * d, n)
x = torch.randn(1, n, 2 * d)
u, _ = x.chunk(2, dim=-1)
print(f"largest |out - u|: {(fresh(x) - u).abs().max().item():.4f}")
assert (fresh(x) - u).abs().max() < 0.01

# %% [markdown]
# $W \approx 0$ and $b = 1$ make the gate 1 everywhere: the unit hands $u$ through. The network
# starts out as a plain per-token network, which is easy to train, and listens to others only where that
# lowers the loss.
#
# Let us start it wrongly, in a stack of three units: once with large random
# weights, so that every position hears all others at once; once with $b = 0$, so that the gate is shut.


# %%
class WildStart(SGU):
    def __init__(self, dim, seq_len):
        super().__init__(dim, seq_len)
        nn.init.normal_(self.weight)  # W of size 1 instead of 0.0001


class ShutStart(SGU):
    def __init__(self, dim, seq_len):
        super().__init__(dim, seq_len)
        nn.init.zeros_(self.bias)  # b = 0 instead of 1


def stack(unit, d=32):
    layers = [nn.Embedding(len(letters), d)]
    for _ in range(3):
        layers += [nn.Linear(d, 2 * d), nn.GELU(), unit(2 * d, n), nn.Linear(d, d)]
    return nn.Sequential(*layers, nn.Linear(d, len(letters)))


# %% [markdown]
# **Predict:** which of the two wrong starts hurts more?

# %%
starts = {"W near 0, b = 1": SGU, "W of size 1": WildStart, "b = 0": ShutStart}
reached = {}
for name, unit in starts.items():
    torch.manual_seed(0)
    reached[name] = fit(stack(unit), tasks["reverse"], steps=160)
    print(f"{name:16}", "  ".join(f"{accuracy:.1f}" for accuracy in reached[name]))
torch.manual_seed(0)
single = fit(sgu_network(ShutStart), tasks["reverse"], steps=80)
print("one unit, b = 0 ", "  ".join(f"{accuracy:.1f}" for accuracy in single))
assert reached["W near 0, b = 1"][1] > max(reached["W of size 1"][1], reached["b = 0"][1])
assert reached["W of size 1"][-1] < reached["b = 0"][-1]

viz.curves(
    {name: (range(20, 161, 20), accuracy) for name, accuracy in reached.items()},
    xlabel="training steps",
    ylabel="accuracy",
    alt="Accuracy on reversing by training steps. The start with W near zero and b = 1 "
    "reaches 1.0 within 40 steps; the other two are still far below it then.",
)

# %% [markdown]
# After 40 steps the paper's start has reached 1.0, and the other two are far behind. The large $W$ hurts more: at its start every gate is a loud random mixture of
# all positions, which the layers must first quieten. A shut gate hurts when several stand in a row, and each must open before the next can learn much; with a *single*
# unit, in the last line printed above the picture, it does no harm. (This is one seed. A dip now and then passes by itself.)
#
# ## 1.6 Heads: two letters at once
#
# Now a harder game: at every position name **two** letters, the mirrored one *and* the left neighbour. The network
# gives two sets of scores, and a position counts as right only if both letters are.


# %%
def fit_pair(unit, steps=200):
    network = nn.Sequential(
        nn.Embedding(len(letters), d),
        nn.Linear(d, 2 * d),
        nn.GELU(),
        unit,
        nn.Linear(d, 2 * len(letters)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        words = torch.randint(len(letters), (64, n))
        pair = torch.stack([words.flip(1), words.roll(1, dims=1)], dim=-1)  # (b, n, 2)
        scores = network(words).unflatten(-1, (2, -1))  # (b, n, 2, 10)
        loss = F.cross_entropy(scores.flatten(0, 2), pair.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (scores.argmax(-1) == pair).all(-1).float().mean().item()


# %% tags=["nbval-ignore-output"]
one_head = []
for seed in range(4):
    torch.manual_seed(seed)
    one_head.append(fit_pair(SGU(2 * d, n)))
print("one matrix, four seeds:", [round(accuracy, 2) for accuracy in one_head])

# %% [markdown]
# It does not get there, with none of four seeds. The reason stands in the formula: all channels share *one* recipe $W$. Position 3 may collect from its mirror image and from its
# left neighbour, but both arrive in the same channels. Call the vector of the mirrored letter $p$, that of the left neighbour $q$. In $p + q$ both letters are there, but
# not which is which. In $2p + q$ one of them is louder. The scores for the neighbour read this same sum, in which the mirrored letter weighs double, so there too the mirrored letter wins.
#
# (Some seeds find $p - q$: one set of scores looks for the letter that comes in with plus, the other for the one with minus. But where the two letters are equal, one time in ten,
# nothing is left, and at positions 0 and 6 the mirror image *is* the left neighbour: one letter cannot come in with plus and with minus at once, so one of the sets misses it. So it gets $\frac{10}{12} \cdot \frac{9}{10} = 0.75$, and hardly more.)
#
# The remedy: cut the channels of $v$ into $h$ groups, the **heads**, and give each its own matrix and bias. First with a loop, so that there is no doubt what we mean:

# %%
h = 2
v = torch.randn(4, n, 6)  # (b, n, 6 channels): each head gets 3
weight = torch.randn(h, n, n)  # one matrix for each head
bias = torch.randn(h, n)

groups = v.chunk(h, dim=-1)  # h pieces of (b, n, 3)
mixed = [weight[k] @ groups[k] + bias[k][:, None] for k in range(h)]
by_loop = torch.cat(mixed, dim=-1)  # (b, n, 6)
by_loop.shape

# %% [markdown]
# Then without the loop. `rearrange`, from the small library einops, gives the new axis a name: `(h c)` says that the channels are $h$
# groups of $c$ each, and `b h n c` puts the heads in front, where a matrix product treats them as a batch.


# %%
def spatial_mix(v, weight, bias):
    v = rearrange(v, "b n (h c) -> b h n c", h=weight.shape[0])
    mixed = weight @ v + rearrange(bias, "h n -> h n 1")  # (h, n, n) @ (b, h, n, c)
    return rearrange(mixed, "b h n c -> b n (h c)")


torch.testing.assert_close(spatial_mix(v, weight, bias), by_loop)
print("loop and product agree:", tuple(by_loop.shape))


# %% [markdown]
# The unit hardly changes:


# %%
class SGUWithHeads(nn.Module):
    def __init__(self, dim, seq_len, heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim // 2)
        small = torch.empty(heads, seq_len, seq_len).uniform_(-1e-3, 1e-3) / seq_len
        self.weight = nn.Parameter(small)
        self.bias = nn.Parameter(torch.ones(heads, seq_len))

    def forward(self, x):
        u, v = x.chunk(2, dim=-1)
        return spatial_mix(self.norm(v), self.weight, self.bias) * u


two_heads = []
for seed in range(4):
    torch.manual_seed(seed)
    unit = SGUWithHeads(2 * d, n, heads=2)
    two_heads.append(fit_pair(unit))
print("two heads, four seeds:", [round(accuracy, 1) for accuracy in two_heads])
assert max(one_head) < 0.9 < 0.98 < min(two_heads)

# %% [markdown]
# **Predict:** sketch the two matrices of the last unit before you run the next cell.

# %%
viz.matrices(
    {"head 0": unit.weight[0], "head 1": unit.weight[1]},
    alt="The matrices of the two heads. Head 0 shows two lines, the mirror line and the line "
    "one below the main diagonal; head 1 the mirror line alone",
)

# %% [markdown]
# Did you expect one line in each? Nobody told the heads to share the work that way. Here head 1 fetches the mirrored letter alone and head 0 a
# mixture of both; other seeds find other mixtures. Two different ones are enough: the last linear layer takes them apart. With one head, one mixture must
# serve both answers.
#
# ## 1.7 The same on text
#
# Letters in a game are one thing. Take real text: the language reference that came with your Python. We
# cut windows (pieces) of 32 bytes out of it, hide 15 % of the bytes, and ask for them. This is how the gMLP paper trains its language models, and
# a fair question for a unit that may look both ways.
#
# We measure in **bits per hidden byte**: the mean of $-\log_2 p$, where $p$ is what the network gave to the true byte. That is PyTorch's
# `cross_entropy` divided by $\ln 2$. Blind guessing costs 8.
#
# **Predict:** how many bits for the per-token network, which sees a hidden byte only as "hidden"? (Lesson 00 has the number.) And with a unit?

# %%
train_text, valid_text = split_corpus(load_corpus("pydocs"))
context, HIDDEN = 32, 256  # 256 is no byte: it marks a hidden one


def hide(windows, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.rand(windows.shape, generator=generator) < 0.15
    return windows.masked_fill(hidden, HIDDEN), hidden


def fit_text(middle, steps=150):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Embedding(257, d), nn.Linear(d, 4 * d), nn.GELU(), middle, nn.Linear(2 * d, 256)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(steps):
        # 64 windows from random places; the second result waits for lesson 02.
        windows, _ = sample_batch(train_text, 64, context, seed=step)
        shown, hidden = hide(windows, seed=step)
        # The hidden ones only.
        loss = F.cross_entropy(network(shown)[hidden], windows[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


# %% tags=["nbval-ignore-output"]
alone = fit_text(nn.Linear(4 * d, 2 * d))
gated = fit_text(SGUWithHeads(4 * d, context, heads=4))

windows, _ = sample_batch(valid_text, 1000, context, seed=18)  # for the examination
shown, hidden = hide(windows, seed=18)


def examine(network):
    with torch.no_grad():
        return F.cross_entropy(network(shown)[hidden], windows[hidden]).item() / math.log(2)


print(f"{examine(alone):.2f} bits per hidden byte, with an SGU {examine(gated):.2f}")
assert examine(gated) < examine(alone) - 0.7


def readable(tokens):
    return bytes(ord("?") if token == HIDDEN else token for token in tokens.tolist())


guess = torch.where(hidden, gated(shown).argmax(-1), windows)
for name, tokens in {"text": windows, "shown": shown, "guess": guess}.items():
    print(f"{name:6}", readable(tokens[0]))
right, spaces = (guess == windows)[hidden], (windows == ord(" "))[hidden]
print(f"right: {right.float().mean():.0%} of the hidden bytes, ", end="")
print(f"{spaces.float().mean():.0%} for who always says a space")

# %% [markdown]
# The per-token network only knows how common each byte is, so it always says a space. The unit pays clearly less, and is right more often. One unit and a
# few seconds make no great reader; the point is that what stands around the gap gets through at all.
#
# ## 1.8 The finished module
#
# This is the class that all later lessons import: `SpatialGatingUnit(dim, seq_len, heads=1)`. It adds a few things to yours: inputs shorter than `seq_len` (they use the first rows and
# columns of $W$, which `mixing_matrix` hands out), an optional function `act` on the gate (some later models squash it), a place where something
# may be added to the gate (`gate_res`, nothing until lesson 06), and errors that explain themselves.

# %%
import inspect

from gmlp import SpatialGatingUnit

for method in ("mixing_matrix", "mix", "forward"):
    print(inspect.getsource(getattr(SpatialGatingUnit, method)))

# %% [markdown]
# Does it compute what you built? Give it your weights and compare. Shorter words fit too; longer ones
# do not, and it says so.

# %%
finished = SpatialGatingUnit(2 * d, n, heads=2)
finished.load_state_dict(unit.state_dict())
x = torch.randn(5, n, 2 * d)
assert torch.equal(finished(x), unit(x))
print("equal to yours on", tuple(x.shape))
print("7 positions:", tuple(finished(x[:, :7]).shape))
try:
    finished(torch.randn(5, n + 1, 2 * d))
except ValueError as error:
    print(error)

# %% [markdown]
# That is also the price: $W$ has one number for every pair of positions, so the longest input is fixed
# when the model is made, and the number of weights grows with its square.

# %%
for seq_len in (12, 128, 1024):
    weights = SpatialGatingUnit(128, seq_len).weight.numel()
    print(f"seq_len {seq_len:5}: {weights:>9,} weights in W")

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. Why can no per-token network learn to shift a word, however long it is trained?**
#
# <details><summary>Because it has too few layers.</summary>No: more layers work on the same single letter. What is wanted stands at another position.</details>
# <details><summary>Because its training needs a smaller learning rate.</summary>No: with any learning rate, nothing carries a letter from one position to another.</details>
# <details><summary>Because the letter that it should say stands where it cannot look.</summary>Right: each position sees its own letter alone, and that says nothing about its neighbour.</details>
# <br>
#
# **2. Row 4 of W is zero but for a single 1, in column 2. What does that mean for <code>W @ v</code>?**
#
# <details><summary>Position 4 of the result holds what position 2 of v held.</summary>Right: the row says who collects, the column says from whom.</details>
# <details><summary>Position 2 of the result holds what position 4 of v held.</summary>No: that would be a 1 in row 2, column 4. Row first, then column.</details>
# <details><summary>In every position, channel 4 of the result holds what channel 2 of v held.</summary>No: W stands on the left of v, and from there it mixes positions. Channels are mixed from the right.</details>
# <br>
#
# **3. The unit starts with W near 0 and b = 1. What does it do then?**
#
# <details><summary>Nothing comes out, because 0 times anything is 0.</summary>No: W v is about 0, but the bias is added before the product, so the gate is 1 and not 0.</details>
# <details><summary>Every position gets the mean of all positions.</summary>No: a mean would need 1/n in every entry of W. With W near 0 nobody hears anybody.</details>
# <details><summary>The mixed v comes out, with the size of u.</summary>No: what is mixed is about 0 at the start, and only the bias is left of the gate.</details>
# <details><summary>u comes out as it is, so the network begins as a per-token network.</summary>Right: the gate is 1 everywhere. To listen to others is something that it learns later.</details>
#
# ## What you can do now
#
# - ✓ say why a per-token network cannot reverse a word: what it needs stands elsewhere, and it stays at chance;
# - ✓ mix a sequence by loops or by `W @ v`, and read the recipe off the rows of $W$;
# - ✓ build the spatial gating unit, $(W v + b) \odot u$, and train it to 100 %;
# - ✓ explain the start: $W \approx 0$, $b = 1$ lets $u$ through, and listening is learned;
# - ✓ give it heads: one recipe per group of channels, for two letters at once.
#
# **Practise:** the [exercises](../exercises/01_spatial_gating.ipynb) of this lesson: five, in about 55 minutes.
#
# **Next:** our unit looked both ways, and that was fine for filling gaps. But a model that *writes* meets its
# text from left to right, and the letter on its right is just what it must guess. What happens if we let it
# look anyway? [Lesson 02](02_causal_masking.ipynb) lets it cheat, catches it, and stops it.
