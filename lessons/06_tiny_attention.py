# %% [markdown]
# # 06 · Tiny attention: what does a little attention buy?
#
# *55 minutes. You need: [lessons 01](01_spatial_gating.ipynb) to [04](04_training.ipynb); from lesson 05 only the cache, for three lines at the end.*
#
# When you are done you can
#
# 1. say what a row of $W$ cannot know, and show it with a game;
# 2. tell, from how a model guesses, what it has *not* learned: find a simple guesser that scores the same;
# 3. build one causal **attention** head: query, key, value, scores, softmax, weighted sum;
# 4. get its mask wrong in two ways, and catch both;
# 5. add the head to the gate of a block, and say what it buys on the game, and what on text.

# %%
import copy
import inspect
import math

import torch
import torch.nn.functional as F
from torch import nn

from gmlp import (
    Attention,
    Cache,
    CausalSGU,
    LanguageModel,
    PreNorm,
    Residual,
    gMLPBlock,
    load_corpus,
    split_corpus,
    train,
    viz,
)
from gmlp.tasks import recall_accuracy, recall_batch, said_most
from gmlp.viz.tiny_attention import attention_rows, tiny_attention_diagram

# %% [markdown]
# ## 6.1 Look it up
#
# A game that is played on one line of text. There are eight **keys**, `a` to `h`, and eight **values**, `1` to `8`. A text is a row of pairs, and each text keeps to
# its own table: if it says `f3` once, then `f` is 3 to its end. A key that comes again is a **question**, and the answer is its value. In the research papers this
# is called **multi-query associative recall** (Arora et al. 2023, [Zoology](https://arxiv.org/abs/2312.04927)).

# %%
game = {"keys": 8, "values": 8, "pairs": 13}
names = list("abcdefgh12345678")
n, d = 2 * game["pairs"] - 1, 64  # n: the last value is only asked for; d: channels

tokens, targets = recall_batch(3, **game, seed=44)  # (b, n) each
# targets: the answer at a question, -100 elsewhere
for text, asked in zip(tokens, targets >= 0, strict=True):
    print("text     ", " ".join(names[token] for token in text))
    print("questions", " ".join("?" if question else " " for question in asked))
    place = (text[:-1] == text[-1]).nonzero().flatten().tolist()[-1]  # where it was told last
    print(f"the answer to the last one stands at position {place + 1}, of 0 to {n - 1}\n")

# %% [markdown]
# Answer some, and watch what you do: you search the line for the same letter, wherever it stands, and read what stands behind it. Where that is, differs from text
# to text.
#
# (Two keys may have the same value.)
#
# Now recall what a row of $W$ is: a list of numbers, one for each earlier *position*, fixed when training ends. The last row is the same for all three texts. It knows
# **place**. What we need here is **content**: which letter stands there.
#
# ## 6.2 The gMLP plays
#
# Two layers as in lesson 03, in the `LanguageModel` of lesson 04. The loss counts the questions alone: elsewhere the target is −100, which `cross_entropy`
# leaves out. Every step draws fresh texts. (`attn` stays empty for now.)


# %%
def make_model(depth=2, attn=None, dim_ff=2 * d):
    layers = []
    for _ in range(depth):
        unit = CausalSGU(dim_ff, n)
        attention = attn() if attn else None  # attn makes one for each layer
        block = gMLPBlock(d, dim_ff, unit, attention)
        layers.append(Residual(PreNorm(d, block)))
    return LanguageModel(len(names), d, n, nn.Sequential(*layers))


exam, answers = recall_batch(500, **game, seed=10**9)  # texts that it never trains on


def fit(model, steps):
    """Accuracy after every 50 steps; ends early when the game is learned."""
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    accuracy = []
    for step in range(steps):
        tokens, targets = recall_batch(32, **game, seed=step)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            with torch.no_grad():
                accuracy.append(recall_accuracy(model(exam).argmax(-1), answers))
            if accuracy[-1] > 0.99:
                break
    return accuracy


# %% [markdown]
# Chance is one in eight, 0.125. **Predict** the accuracy after 500 steps.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
gmlp_model = make_model()
gmlp_accuracy = fit(gmlp_model, 500)
print(*(f"{accuracy:.2f}" for accuracy in gmlp_accuracy))
assert 0.25 < gmlp_accuracy[-1] < min(0.5, gmlp_accuracy[2] + 0.1)

# %% [markdown]
# Stuck, after the first hundred steps, at about one in three. That is far too little for somebody who looks the answer up. But it is also nearly three times chance. **What
# does it know?** Two experiments.
#
# First: how does it do early and late in the text? Early, only a few values have been told. Beside it, the simplest guesser that never looks at the question: it says
# the value that was told *most often* so far.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    guesses = gmlp_model(exam).argmax(-1)  # (b, n)
said = F.one_hot(exam, len(names))[..., 8:].cumsum(1) > 0  # (b, n, values): told so far?
different = said.sum(-1)  # (b, n): how many different values
for count in range(1, 7):
    here = (answers >= 0) & (different == count)
    share = (guesses == answers)[here].float().mean()
    most = (said_most(exam, 8) == answers)[here].float().mean()
    print(f"values told so far: {count}   right: {share:.2f}   the guesser: {most:.2f}")
level = recall_accuracy(said_most(exam, 8), answers)
print(f"over all questions: {gmlp_accuracy[-1]:.2f}, the guesser {level:.2f}")
assert abs(level - gmlp_accuracy[-1]) < 0.08

# %% [markdown]
# Nowhere better than somebody who does not look at the question, and with the same fall along the text. (It is even a little worse: the guesser counts exactly.) That is suspicious, but no proof. The second experiment is the one of lesson
# 02: change one token and see what moves. Change the last *question*: ask for another key that was told in this text and has another value. Whoever looks the
# answer up must now say something else, every time.


# %%
def ask_another(texts):
    """The same texts; the last key is now another that was told, with another value."""
    changed, keep = texts.clone(), torch.zeros(len(texts), dtype=torch.bool)
    for row, text in enumerate(texts.tolist()):
        table = dict(zip(text[:-1:2], text[1::2], strict=True))  # what was told
        others = [key for key, value in table.items() if value != table.get(text[-1])]
        if text[-1] in table and others:
            changed[row, -1], keep[row] = others[0], True
    return texts[keep], changed[keep]


@torch.no_grad()
def changes_its_answer(model):
    before, after = (model(texts)[:, -1].argmax(-1) for texts in ask_another(exam))
    return (before != after).float().mean().item()


# %% [markdown]
# **Predict:** in how many of the texts does the gMLP change its answer?

# %% tags=["nbval-ignore-output"]
gmlp_changes = changes_its_answer(gmlp_model)
print(f"another question, another answer: {gmlp_changes:.0%} of the texts")
assert gmlp_changes < 0.5

# %% [markdown]
# There it is. In most texts it gives the same answer, whoever is asked for. The question hardly matters: the model knows *what was said*, and not *of whom*. With one row of fixed weights it can add up all values that
# came before, so it knows which are frequent. It has found no way to pick out one of them by its key.
#
# ## 6.3 Reading by content
#
# What would help is a row of weights that is made anew for every text, and for every question. Take three pairs, `a2 c5 f7`, one position each. Each **offers** a
# key, here a vector with a single 1, and **holds** a value. The question is a vector of the same kind, the **query**. How well does a key answer a query? Multiply entry by
# entry and add: the **dot product** is 1 where they are alike and 0 where not.

# %%
keys = torch.eye(3)  # a, c, f: (n=3, k=3)
values = torch.tensor([[2.0], [5.0], [7.0]])  # (n=3, 1)
query = keys[1]  # who is c?

scores = torch.zeros(3)
for j in range(3):
    scores[j] = (query * keys[j]).sum()
print("scores", scores.tolist(), " the same as a product:", (keys @ query).tolist())

# %% [markdown]
# Now turn scores into weights that are positive and sum to 1. You know the function, `softmax`, from the sampler. Then take the weighted sum of the values.
#
# **Predict:** what comes out: 5?

# %%
for sharp in (1, 10):
    weights = (sharp * scores).softmax(-1)
    shares = [round(weight, 3) for weight in weights.tolist()]
    print(f"scores times {sharp:2}: weights {shares}  comes out: {(weights @ values).item():.3f}")

# %% [markdown]
# Not quite: a score of 1 against 0 is a mild preference. With larger numbers in the vectors the scores grow, and the softmax comes down on one side. Training can make
# them as large as it likes.
#
# And now the point. Shuffle the pairs; the row of $W$ that read position 1 stays what it was.

# %%
row_of_W = torch.tensor([0.0, 1.0, 0.0])  # "read position 1"
for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
    weights = (10 * (keys[order] @ query)).softmax(-1)
    text = " ".join(f"{'acf'[j]}{int(values[j])}" for j in order)
    by_place = (row_of_W @ values[order]).item()
    by_content = (weights @ values[order]).item()
    print(f"{text}   c?   by place {by_place:.0f}   by content {by_content:.0f}")
    assert round(by_content) == 5

# %% [markdown]
# This is **attention**: scores between a query and all keys, softmax, weighted sum of the values. Where $W$ knows the place, attention knows the content.
#
# ## 6.4 One head
#
# In a model every position asks, offers and holds at once. Three matrices, which are learned, make a query, a key and a value of size $k$ from the channels of each
# position, and one more makes the result as wide as we need it:
#
# $$Q = x W_Q, \quad K = x W_K, \quad V = x W_V, \qquad out = \mathrm{softmax}\Big(\frac{Q K^\top}{\sqrt k}\Big) V \, W_O$$
#
# $Q K^\top$ is the table of all dot products: row $i$ asks, column $j$ offers. ($K^\top$ is $K$ with rows and columns swapped.
# $W_Q$ to $W_O$ mix channels, unlike the $W$ of the unit; and $V$ is not the matrix of lesson 03.) Such a set of matrices is called a **head**. (In lesson 01
# a head was a group of channels with a $W$ of its own. Of these, too, a model may have several; we take one.)
#
# Mind the words: in the game, key and value are letters; in a head they are vectors, and every position makes one of each.

# %%
torch.manual_seed(0)
b, m, k = 2, 8, 4  # texts, positions, size of query, key and value
q, key, value = (torch.randn(b, m, k) for _ in range(3))
scores = q @ key.transpose(1, 2) / math.sqrt(k)  # (b, m, k) @ (b, k, m) -> (b, m, m)
weights = scores.softmax(-1)
print("scores", tuple(scores.shape), " each row of the weights sums to 1:", end=" ")
print(torch.allclose(weights.sum(-1), torch.ones(b, m)))

# %% [markdown]
# **Why $\sqrt k$?** A dot product of two random vectors adds up $k$ numbers of size about 1, some positive, some negative. They partly cancel, and what is left is of size $\sqrt k$. **Predict:** before any training, how
# does one position share its attention among 64 positions, if we do not divide? (As the size of the scores we print their standard deviation.)

# %%
print(f"{'':33}    k = 4   k = 64 k = 1024")
largest = {}
for name in ("not divided", "divided"):
    sizes, largest[name] = [], []
    for channels in (4, 64, 1024):  # k
        generator = torch.Generator().manual_seed(0)
        one, many = (torch.randn(500, j, channels, generator=generator) for j in (1, 64))
        random_scores = one @ many.transpose(1, 2)  # (500, 1, 64)
        if name == "divided":
            random_scores = random_scores / math.sqrt(channels)
        sizes.append(random_scores.std().item())
        largest[name].append(random_scores.softmax(-1).amax(-1).mean().item())
    print(f"{name:11}  size of the scores  ", *(f"{size:8.1f}" for size in sizes))
    print(f"{name:11}  largest of 64 shares", *(f"{share:8.1f}" for share in largest[name]))
assert largest["divided"][-1] < 0.2 < 0.8 < largest["not divided"][-1]

# %% [markdown]
# Undivided, the scores have the size $\sqrt k$; for a large $k$ nearly all goes to one position, picked at random before anything has been learned, and training must first undo
# that. Divided, it begins undecided, whatever $k$ is.
#
# ## 6.5 The mask, twice wrong
#
# No position may read a later one. In lesson 02 the mask was a triangle of zeros, and $-\infty$ was a mistake there, made by habit. **First try:** the way we
# know, zeros above the diagonal, on the weights.


# %%
def masked_after(scores):
    return scores.softmax(-1).tril()


print([round(total, 2) for total in masked_after(scores)[0].sum(-1).tolist()])

# %% [markdown]
# The rows do not sum to 1 any more: the first keeps only what it gave to itself. One could live with that, it is only a smaller number. **Predict:** does the
# *future* still get through? After all, every weight above the diagonal is zero.


# %%
def moved(make_weights, position):
    """Which outputs change when the query, key and value of one position do?"""

    def out(q, key, value):
        return make_weights(q @ key.transpose(1, 2) / math.sqrt(k)) @ value

    changed = [part.clone() for part in (q, key, value)]
    for part in changed:
        part[:, position] *= -1
    difference = (out(q, key, value) - out(*changed)).abs().amax((0, 2))
    return (difference > 1e-6).nonzero().flatten().tolist()


print("moved by the last position:", *moved(masked_after, m - 1))
assert moved(masked_after, m - 1) == list(range(m))

# %% [markdown]
# All of them. The softmax divides by the sum over *all* scores, the later ones too. So the size of every weight tells something of the future, and training has every
# reason to read it. **A mask must stand before the sum that it is to keep clean.**
#
# **Second try:** the mask first, as $-\infty$, which the softmax turns into 0. Twice: once with a slip of the finger, the softmax along the wrong axis, and once right.


# %%
future = torch.ones(m, m, dtype=torch.bool).triu(1)  # (m, m): j > i


def wrong_axis(scores):
    return scores.masked_fill(future, -math.inf).softmax(-2)  # -2: over i


def right(scores):
    return scores.masked_fill(future, -math.inf).softmax(-1)  # -1: over j


for make_weights in (wrong_axis, right):
    above = make_weights(scores)[:, future].abs().max().item()
    print(f"{make_weights.__name__:10} above the diagonal {above:.0f}", end="")
    print("   moved by position 5:", *moved(make_weights, 5))
assert moved(right, 5) == [5, 6, 7]
assert min(moved(wrong_axis, 5)) < 5

# %% [markdown]
# Both have nothing but zeros above the diagonal, and to look at the weights is not enough. Along the wrong axis the later *queries* share a sum with the earlier ones, and
# the future leaks through that. So again the experiment decides, not the look: $-\infty$, *before* the softmax, and the softmax along $j$. In code:


# %%
class MyAttention(nn.Module):
    def __init__(self, dim_in, dim_out, dim_inner):
        super().__init__()
        self.to_qkv = nn.Linear(dim_in, 3 * dim_inner, bias=False)  # three matrices in one
        self.to_out = nn.Linear(dim_inner, dim_out)

    def weights(self, x):  # (b, n, d) -> (b, n, n)
        q, key, _ = self.to_qkv(x).chunk(3, dim=-1)  # (b, n, k) each
        scores = q @ key.transpose(1, 2) / math.sqrt(q.shape[-1])
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return scores.masked_fill(future, -math.inf).softmax(-1)

    def forward(self, x):  # (b, n, d)
        value = self.to_qkv(x).chunk(3, dim=-1)[2]
        return self.to_out(self.weights(x) @ value)  # (b, n, dim_out)


# %% [markdown]
# ## 6.6 Into the block
#
# The spatial gating unit has had a place for it since lesson 01: whatever is given as `gate_res` is added to the gate.
#
# $$out = \big(W v + b + \mathrm{attention}(x)\big) \odot u$$
#
# ($x$ is what enters the block, with $d$ channels; $u$ and $v$ are made of it after the widening, and the head reads it before.) So a gate is now told two things: what stands at certain places, and what stands where the content fits. Liu et al. call such a model **aMLP**, and the head a **tiny**
# one: there is one for each layer, and it is small.

# %%
tiny_attention_diagram()

# %% [markdown]
# Same game, same loop, two layers, a head of size 32 in each. The gMLP stood still for 500 steps. **Predict:** draw the curve of the aMLP. Does it rise
# slowly and steadily?


# %% tags=["nbval-ignore-output"]
def head():
    return MyAttention(d, d, dim_inner=32)  # the gate has dim_ff / 2 = d channels


torch.manual_seed(0)
amlp_model = make_model(attn=head)
amlp_accuracy = fit(amlp_model, 2000)
print(*(f"{accuracy:.2f}" for accuracy in amlp_accuracy))

# %% tags=["nbval-ignore-output"]
viz.curves(
    {
        "gMLP": (range(50, 501, 50), gmlp_accuracy),
        "aMLP": (range(50, 50 * len(amlp_accuracy) + 1, 50), amlp_accuracy),
        "says what was said most": ((50, 500), (level, level)),
    },
    xlabel="training steps",
    ylabel="accuracy",
    alt="Accuracy by training steps. The gMLP stays on a flat line, that of the guesser "
    "who says what was said most. The aMLP begins at the same level, then jumps to 1 within "
    "a hundred steps.",
)
amlp_changes = changes_its_answer(amlp_model)
print(f"right: {amlp_accuracy[-1]:.2f}")
print(f"another question, another answer: {amlp_changes:.0%} of the texts")
assert amlp_accuracy[0] < 0.5 and min(amlp_accuracy[-1], amlp_changes) > 0.95

# %% [markdown]
# It first stands on the very same level as the gMLP: what was said most is easy to learn. Then it leaves it, and within a hundred steps or so it is right everywhere. Not a slow
# climb but a jump. A guess why: one half of the trick is worth little without the other. 6.7 shows the halves. (When the jump comes is luck, and this seed is an early one. With another it may not come within 2,000 steps; then the asserts here and in 6.7 fail.)
#
# ## 6.7 Who does what?
#
# Two layers, and in each a $W$ and a head. Silence one of the four at a time in the trained model, and examine it again. **Predict:** which of the four can it do
# without?


# %% tags=["nbval-ignore-output"]
def silenced(layer, part):
    model = copy.deepcopy(amlp_model)
    block = model.blocks[layer].fn.fn  # through residual and norm to the block
    weights = block.attn.to_out.parameters() if part == "head" else [block.sgu.weight]
    with torch.no_grad():
        for weight in weights:
            weight.zero_()
        return recall_accuracy(model(exam).argmax(-1), answers)


without = {}
for layer in (0, 1):
    for part in ("W", "head"):
        without[layer, part] = silenced(layer, part)
        print(f"without the {part:4} of layer {layer + 1}: {without[layer, part]:.2f}")

# %%
assert max(without[0, "W"], without[1, "head"]) < 0.5
assert min(without[0, "head"], without[1, "W"]) > 0.8

# %% [markdown]
# A division of labour that nobody asked for. The first $W$ and the second head are needed; without either of the others it does as well, or nearly. Look at what these
# two read: the first $W$, which is one for all texts, and the second head (layer 2) on two of our texts. In row $i$ a dark cell in
# column $j$ says that position $i$ reads position $j$.

# %% tags=["nbval-ignore-output"]
normed_1, normed_2 = (layer.fn for layer in amlp_model.blocks)
with torch.no_grad():
    x = amlp_model.blocks[0](amlp_model.embed(tokens))  # what enters layer 2
    looks = normed_2.fn.attn.weights(normed_2.norm(x))  # (b, n, n)
W = normed_1.fn.sgu.mixing_matrix(n)[0].detach()
viz.matrices(
    {
        "W, layer 1": W / W.abs().max(),
        "layer 2, text 1": looks[0],
        "layer 2, text 2": looks[1],
    },
    alt="Three squares. W of layer 1 has a line one step below the diagonal on which every "
    "second cell is strong. The attention of layer 2 has single dark cells that stand in "
    "different places for the two texts, in the rows of keys mostly on columns of values.",
)

# %%
line = W.diagonal(-1).abs()  # what each position takes from the one before it
strong, weak = line[::2].mean().item(), line[1::2].mean().item()
print("a value listens to the token before it more than a key does:", strong > 2 * weak)
assert strong > 2 * weak
assert (looks[0] - looks[1]).abs().max() > 0.5

# %% [markdown]
# Read the line below the diagonal of $W$: strong, weak, strong, weak. Position 1 listens to 0, position 3 to 2: each *value letter* hears the key letter before it. That is a matter of place, the
# same in every text, so $W$ can do it. After layer 1 every value letter carries its key letter with it. Then the head of layer 2 asks: who has *my* letter? That is a matter of content.
#
# In the figure: the last question of the text, the row of $W$ that serves it, and what attention reads. **Change the text: in which strip do the colours change?** Then go to layer 1, touch
# a value letter and a key letter in turn, and look at the upper strip: **what does the one read that the other does not?** (`Attention` is the finished module of 6.10; it takes the weights of yours.)

# %% tags=["nbval-ignore-output"]
finished_model = make_model(attn=lambda: Attention(dim_in=d, dim_out=d, dim_inner=32))
finished_model.load_state_dict(amlp_model.state_dict())
attention_rows(finished_model, tokens, names)

# %% [markdown]
# <details><summary>What to look for</summary>In layer 2 the colours of the upper strip stay where they are when the text changes, and those of the lower one jump to the value letter of the key that is asked for. It
# looks at the <i>value letter</i>, not at the key letter, since the value letter carries both. If the key was told more than once, the shares are divided. In layer 1 a value letter's strongest cell is
# the one to its left, its key letter; a key letter has no such cell.</details>
#
# ## 6.8 Could $W$ do it alone?
#
# It could, with pencil and paper. Give each *possible* pair of key and value a channel of $v$: 8 × 8. Where `f3` is told, channel (f, 3) holds 1. (The two letters stand at two positions. A first layer would
# bring them together: its $W$ fetches the key, its gate multiplies the two. The code writes that product down directly.) A row of ones adds up the past, so channel (f, 3) of the gate says whether
# `f3` was told. Now $u$ opens the eight channels of the key that is asked for:


# %%
def by_gate(tokens):
    key = F.one_hot(tokens[:, ::2], 16)[..., :8].float()  # (b, 13, keys)
    value = F.one_hot(tokens[:, 1::2], 16)[..., 8:].float()  # (b, 12, values)
    v = key[:, :-1, :, None] * value[:, :, None, :]  # (b, 12, keys, values): who says what
    W = torch.ones(13, 12).tril(-1)  # row i adds up the pairs before pair i
    gate = (W @ v.flatten(2)).unflatten(2, (8, 8))  # (b, 13, keys, values): told so far
    opened = gate * key[..., None]  # u: 1 for the key that is asked for, else 0
    return opened.sum(2).argmax(-1) + 8  # (b, 13): the value that is left


found = (by_gate(exam) == answers[:, ::2])[answers[:, ::2] >= 0]
print(f"by gate: {found.float().mean().item():.2f}, with {8 * 8} channels")
assert found.all()

# %% [markdown]
# Every answer is right, without any attention. The price is a channel for each pair that could be told: 64 here, 256 for sixteen keys and values, where a head needs room
# for *one* key and *one* value. And being possible does not mean that training finds it. The gMLP above has 64 channels in its gate, and stood still.
#
# So does **depth** help, more gates one after the other? Here is the game with 16 keys, 16 values and 25 pairs, three seeds for each model, 2,000 steps, as measured by
# `benchmarks/recall.py`. The median accuracy of three seeds, after every 200 steps:

# %%
measured = {  # a row for each seed; a run that has reached 99.5 % ends, and keeps its last
    "gMLP, 2 layers": [
        [0.23, 0.2, 0.19, 0.21, 0.2, 0.2, 0.2, 0.21, 0.21, 0.21],
        [0.23, 0.22, 0.21, 0.19, 0.2, 0.2, 0.2, 0.19, 0.19, 0.21],
        [0.22, 0.2, 0.2, 0.19, 0.19, 0.2, 0.2, 0.21, 0.2, 0.2],
    ],
    "gMLP, 4 layers": [
        [0.22, 0.19, 0.19, 0.21, 0.2, 0.2, 0.24, 0.33, 0.36, 0.4],
        [0.22, 0.19, 0.2, 0.19, 0.19, 0.2, 0.2, 0.2, 0.2, 0.21],
        [0.21, 0.2, 0.2, 0.22, 0.3, 0.39, 0.44, 0.5, 0.51, 0.54],
    ],
    "aMLP, 2 layers": [
        [0.22, 0.2, 0.85, 0.97, 0.98, 0.99, 1.0, 1.0, 1.0, 1.0],
        [0.22, 0.21, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [0.22, 0.22, 0.21, 0.2, 0.2, 0.2, 0.2, 0.21, 0.2, 0.21],
    ],
}
large, large_answers = recall_batch(2000, keys=16, values=16, pairs=25, seed=0)
large_level = recall_accuracy(said_most(large, 16), large_answers)
steps = range(200, 2001, 200)
middle = {name: torch.tensor(runs).median(0).values for name, runs in measured.items()}
viz.curves(
    {name: (steps, line.tolist()) for name, line in middle.items()}
    | {"says what was said most": ((200, 2000), (large_level, large_level))},
    xlabel="training steps",
    ylabel="accuracy",
    alt="Accuracy by training steps in the larger game, the middle of three seeds. The gMLP "
    "of two layers stays at the level of the guesser. With four it stays there for half of "
    "the run, then climbs slowly. The aMLP leaves it before step 600 and reaches 1.",
)
for name, runs in measured.items():
    last = sorted(run[-1] for run in runs)
    print(f"{name}: after 2,000 steps", *(f"{accuracy:.2f}" for accuracy in last))
print(f"says what was said most: {large_level:.2f}, chance {1 / 16:.2f}")

# %% [markdown]
# The gMLP of two layers never leaves the level of the guesser. With four layers two runs of three have begun to climb: depth does buy something, slowly. Two of the
# three aMLPs learn the whole game. The third still waits for its jump when the time is up. A head makes the answer easy to *say*; to *find out* how, training still
# needs luck or patience.
#
# ## 6.9 On text
#
# And on the manual of Python? Two layers again, twice as wide inside and with a context of 64, 300 steps on `pydocs` with lesson 04's `train`. The head has weights of its own, so for a fair comparison there is a third
# model: a gMLP made wider, until it has as many parameters as the aMLP.
#
# **Predict** the order, and whether the gaps are large.

# %% tags=["nbval-ignore-output"]
train_text, valid_text = split_corpus(load_corpus("pydocs"))
context = 64


def text_model(dim_ff, attn_dim=None):
    torch.manual_seed(0)
    layers = []
    for _ in range(2):
        attn = attn_dim and MyAttention(d, dim_ff // 2, attn_dim)
        block = gMLPBlock(d, dim_ff, CausalSGU(dim_ff, context), attn)
        layers.append(Residual(PreNorm(d, block)))
    return LanguageModel(256, d, context, nn.Sequential(*layers))


text_models = {
    "gMLP": text_model(4 * d),
    "aMLP": text_model(4 * d, attn_dim=32),
    "gMLP, wider": text_model(364),  # as many parameters as the aMLP
}
run = {"steps": 300, "context": context, "peak": 8e-3, "eval_every": 300, "progress": False}
text_bits = {}
for name, model in text_models.items():
    text_bits[name] = train(model, train_text, valid_text, **run)[-1].valid_bits
    size = sum(p.numel() for p in model.parameters())
    print(f"{name:12} {size:7,} parameters   {text_bits[name]:.2f} bits per byte")

# %%
sizes = [sum(p.numel() for p in model.parameters()) for model in text_models.values()]
assert 0.98 < sizes[1] / sizes[2] < 1.02 < sizes[1] / sizes[0]
gap = max(text_bits.values()) - min(text_bits.values())
print("all three lie within 0.2 bits:", gap < 0.2)
assert gap < 0.2

# %% [markdown]
# On the game it was all or nothing; here it is hardly anything. The aMLP may be a little ahead of the gMLP, but so is the wider one, and one seed of a
# short run settles nothing between them. To guess the next byte of a manual from 64 bytes, the last few usually suffice, and for those place is enough. We would expect looking up by content to pay
# where a text defines a name and comes back to it much later: long contexts, larger models.
#
# That is also how the paper reads: Liu et al. 2021 (section 4) put a single head of size 64 into each layer, and see the gain mostly on tasks where two sentences must be
# aligned. Lesson 13 measures gMLP, aMLP and Transformer at equal cost, with several seeds.
#
# ## 6.10 The finished module
#
# `Attention` is your head. Below is its `forward`. Its helper `attend` does scores, mask, softmax and sum in one function of PyTorch, `scaled_dot_product_attention`, which is fast and does what yours does. It says `q, k, v` for your `q, key, value`; the $k$ in its comments is still the size.

# %%
print(inspect.getsource(Attention.forward))
mine, finished = MyAttention(d, 2 * d, 32), Attention(dim_in=d, dim_out=2 * d, dim_inner=32)
finished.load_state_dict(mine.state_dict())
x = torch.randn(4, 10, d)
torch.testing.assert_close(finished(x), mine(x))
torch.testing.assert_close(finished_model(exam[:50]), amlp_model(exam[:50]), atol=1e-4, rtol=1e-4)
print("equal to yours on", tuple(x.shape), "and in the whole model")

# %% [markdown]
# And when it writes? In lesson 05 a unit kept the $v$ of the past. A head keeps the *keys and values* of the past, since a later token does not change them; a new token
# brings one query, which is compared with all keys in the cache.

# %%
cache = Cache()
with torch.no_grad():
    steps = [finished.step(x[:, i : i + 1], cache) for i in range(x.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), finished(x))
print("position by position: equal")

# %% [markdown]
# Three things differ from $W$. A head has no weight that belongs to a position, so it takes texts of any length; but it does not know where anything stands: without $W$ a later position
# could not tell whether it has read `a2` or `2a`. And its table of scores has $n$ × $n$ entries for *every text*, where $W$ has them once.

# %%
for n_long in (25, 100, 400):
    long = CausalSGU(2 * d, n_long).weight.numel()
    small = sum(p.numel() for p in head().parameters())
    print(f"{n_long:3} positions: W {long:7,} weights, a head {small:,}")

shuffled = torch.randperm(9)
y = x.clone()
y[:, :9] = x[:, shuffled]  # the past in another order, the last position where it was
torch.testing.assert_close(finished(y)[:, 9], finished(x)[:, 9])
print("the last position does not notice the order of its past")

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. A row of $W$ may be trained for as long as you like. What can it still not do?**
#
# <details><summary>Read a position that is far away.</summary>No: row <code>i</code> has a number for every earlier position, near or far.</details>
# <details><summary>Read one position in this text and another one in the next, as the letters demand.</summary>Right: its numbers are fixed when training ends, so it reads the same places in every text.</details>
# <details><summary>Take something away instead of adding it.</summary>No: its numbers may be negative. It is the shares of attention that may not.</details>
# <details><summary>Listen to one position alone.</summary>No: a row with a single 1 does just that, and in the recall game it brings each value its key.</details>
# <br>
#
# **2. Somebody masks after the softmax: all weights above the diagonal are 0. What is wrong?**
#
# <details><summary>Nothing: no later value is added up any more.</summary>No: the values are kept out, but the later keys have already been counted.</details>
# <details><summary>The rows sum to less than 1, and training cannot cope with that.</summary>No: one could live with smaller numbers. What they depend on is the trouble.</details>
# <details><summary>Each weight was divided by a sum over later positions, too, so its size tells something of the future.</summary>Right: change the last key, and every output before it moves.</details>
# <br>
#
# **3. In the model that learned the recall game, which work does the first $W$ do, and which the second head?**
#
# <details><summary>The first W finds the key that is asked for, the second head says its value.</summary>No: W is the same for every text, so it cannot know where that key stands.</details>
# <details><summary>The first W counts how often each value was told, the second head takes the largest.</summary>No: that is the guesser who never looks at the question, and from his level the model jumped.</details>
# <details><summary>The first W brings each value the key before it, the second head finds the value that carries the key of the question.</summary>Right: the first is a matter of place, the second one of content.</details>
#
# ## What you can do now
#
# - ✓ say what a row of $W$ cannot know: it is fixed after training, so it knows place, not content;
# - ✓ unmask a score: the gMLP's was that of a guesser who says what was said most, and another question hardly moved it;
# - ✓ build a head: $\mathrm{softmax}(QK^\top / \sqrt k)\, V$, and say what the root is for;
# - ✓ mask it with $-\infty$ before the softmax, along the right axis, and test that by changing all that one position holds;
# - ✓ add it to the gate, and divide the labour: $W$ brings each value its key, attention finds it. On text it bought little.
#
# **Practise:** the [exercises](../exercises/06_tiny_attention.ipynb) of this lesson: five, in about 60 minutes.
#
# **Next:** both $W$ and the scores are tables of $n$ × $n$. For a few hundred positions that is nothing; for a book it is more than a
# laptop has. Lesson 07 cuts the text into windows.
