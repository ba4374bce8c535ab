# %% [markdown]
# # 02 · Causal masking: how do we stop it from cheating?
#
# *50 minutes. You need: [lesson 01](01_spatial_gating.ipynb), the spatial gating unit.*
#
# A model that writes may use only what is already there. A model whose output at each position depends on that position and those before it, and on
# nothing later, is called **causal**. We make ours causal with a **mask**: we strike out the entries of $W$ that look to the right.
#
# When you are done you can
#
# 1. recognise, by a loss that is too good, a model that sees the future;
# 2. find the leak in two ways: by changing one token, and by a table of derivatives, the Jacobian;
# 3. get the mask wrong in three ways, and say how each shows;
# 4. get it right, and predict exactly what a causal unit can and cannot do;
# 5. write text with a six-line sampler.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from gmlp import SpatialGatingUnit, count_bits, load_corpus, sample_batch, split_corpus, viz

# %% [markdown]
# ## 2.1 A model that writes
#
# The plan of every language model: read some text, guess the next token, append it, repeat. Our tokens are bytes
# again, and our text is the language reference that came with your Python.
#
# For training, a window of text serves as question and answer at once. At every position the model reads a byte and
# must name the next one, so the **targets** are the inputs, moved by one place.

# %%
train_text, valid_text = split_corpus(load_corpus("pydocs"))
n, d = 32, 64  # positions in a window, channels

phrase = torch.tensor(list(b"the import statement"))
inputs, targets = phrase[:-1], phrase[1:]
print("reads  ", bytes(inputs.tolist()).decode())
print("answers", bytes(targets.tolist()).decode())

# %% [markdown]
# The network is the one of lesson 01, with 256 bytes instead of ten letters. The `unit` in the middle is the only place
# where positions meet.


# %%
def network(unit):
    return nn.Sequential(
        nn.Embedding(256, d),  # (b, n) -> (b, n, d)
        nn.Linear(d, 4 * d),
        nn.GELU(),
        unit,  # (b, n, 4d) -> (b, n, 2d)
        nn.Linear(2 * d, 256),  # (b, n, 256): scores for the next byte, called logits
    )


def bits(logits, targets):
    """Bits for each byte of a batch, (b, n); cross_entropy wants the scores on axis 1."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none") / math.log(2)


def fit(model, steps=200):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        inputs, targets = sample_batch(train_text, 32, n, seed=step)  # (b, n) each
        loss = bits(model(inputs), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


# %% [markdown]
# We measure in **bits per byte**, as in lesson 00: blind guessing costs 8, and a model that knows the text by
# heart 0. In 1951 Claude Shannon had people guess English letter by letter, and put the language itself near 1 bit a letter.
#
# **Predict:** one spatial gating unit, only 200 steps, a few seconds. How many bits on text it
# has not seen?

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
model = fit(network(SpatialGatingUnit(4 * d, n)))

windows, answers = sample_batch(valid_text, 256, n, seed=0)
with torch.no_grad():
    window_bits = bits(model(windows), answers)  # (b, n)
print(f"{window_bits.mean():.1f} bits per byte")

# %% [markdown]
# That would be a sensation: far below what Shannon gave to English, in seconds, on a laptop. So let us have
# it write.
#
# The sampler: feed what is there, take the scores at the *last* position, turn them into probabilities with
# `softmax`, draw a byte, append, repeat.


# %%
def write(model, prompt, length):
    torch.manual_seed(0)
    tokens = torch.tensor([list(prompt)])  # (1, n)
    for _ in range(length):
        chances = model(tokens[:, -n:])[0, -1].softmax(-1)  # (256,)
        tokens = torch.cat([tokens, torch.multinomial(chances, 1)[None]], dim=1)
    return bytes(tokens[0].tolist())


# %% tags=["nbval-ignore-output"]
for prompt in (b"The value of", b"If the name ", b"An expression"):
    print(write(model, prompt, 18))

# %% [markdown]
# Rubbish. **What did it learn?** Write down one sentence before you go on.
#
# ## 2.2 Catch it cheating
#
# Suspicion needs an experiment. Change nothing but the *last* byte of the input, and look which
# outputs move at all, even a tiny bit. An honest model cannot know at position 5 what stands at position 31.


# %%
def moved(model, position):
    """Which outputs change when the byte at `position` changes?"""
    tokens = torch.randint(256, (1, n), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, position] = (changed[0, position] + 1) % 256
    difference = (model(tokens) - model(changed)).abs().amax(-1)[0]  # (n,)
    return difference.nonzero().flatten().tolist()


cheater = model  # for that is what it is
assert window_bits.mean() < 0.3
print("outputs that moved:", *moved(cheater, n - 1))
assert moved(cheater, n - 1) == list(range(n))

# %% [markdown]
# Every output moved, even the first: position 0 has already heard of byte 31. And the answer at each position *is* its right neighbour's input. Why learn
# to write, when you can look one step to the right? Compare with the sentence that you wrote down.
#
# That was one byte. Here is the same experiment for each byte of a line of the manual: touch one, and every output that moves gets a colour.

# %% tags=["nbval-ignore-output"]
line = bytes(windows[0].tolist())
viz.causal_probe({"no mask": cheater}, line)

# %% [markdown]
# Wherever you touch it, the whole line answers. **Which outputs answer most?** Read it off the square: a column is a byte that was changed, a row an
# output.
#
# <details><summary>The answer</summary>The changed byte's own position, and the one just before it: the diagonal and the line above it have the strongest colour. That
# neighbour is the output whose answer <i>is</i> the changed byte.</details>
# <br>
#
# **Predict:** is there one position that cannot cheat? Are the bits there near 0, near 8, or in between?

# %% tags=["nbval-ignore-output"]
for position in (0, 1, 15, 30, 31):
    print(f"position {position:2}: {window_bits[:, position].mean():.1f} bits")
assert window_bits[:, :-1].mean() < 0.1 < 2 < window_bits[:, -1].mean()
last = window_bits[:, -1].mean() / n
print(f"mean over all 32: {window_bits.mean():.2f}, of which the last one makes {last:.2f}")

# %% [markdown]
# The last one: its answer stands outside the window. Nearly the whole bill comes from there. And when you *write*, nothing ever stands to your right: then every
# position is as blind as the last one, and, unlike the last one, has never practised it.
#
# ## 2.3 The Jacobian: all leaks at once
#
# What you see in the square depends on the byte that was put in. Derivatives need no replacement: how much does the output at $i$ react when the
# input at $j$ changes a little? An output has 256 numbers; we follow the largest, the score of the byte that it finds likeliest. An input is a byte,
# and a byte has no small changes; we change the vector that the embedding makes of it. Its $d$ numbers give $d$ derivatives, together a vector, and we keep
# its length, written ‖ ‖:
#
# $$J_{i,j} = \Big\lVert \frac{\partial\, out_i}{\partial\, in_j} \Big\rVert$$
#
# ($\partial$: the derivative by one of several variables.) The table of all derivatives, for every pair, is the **Jacobian**; ours has their lengths.


# %%
def jacobian(model, n):
    tokens = torch.randint(256, (1, n), generator=torch.Generator().manual_seed(0))
    vectors = model[0](tokens).detach().requires_grad_()  # the embedding alone: (1, n, d)
    best = model[1:](vectors)[0].amax(-1)  # all the rest; the best score of each: (n,)
    rows = []
    for i in range(n):
        # Like backward(), but hands the gradient out; the graph is kept for the next i.
        (derivative,) = torch.autograd.grad(best[i], vectors, retain_graph=True)
        rows.append(derivative[0].norm(dim=-1))  # (n,): one length for each input
    return torch.stack(rows)  # (n, n)


table = jacobian(cheater, n)
future = torch.ones(n, n).triu(1) == 1  # above the diagonal: j > i
print(int((table[future] > 0).sum()), "of", int(future.sum()), "pairs with j > i leak")
assert (table[future] > 0).all()

# %% [markdown]
# Row $i$ is an output and column $j$ an input, as in $W$. Above the diagonal lies the future, and all of it leaks, for one window of random bytes. Now
# look at the corner of the first ten positions, beside $W$ itself:


# %%
def corner(table):
    return (table / table.abs().max())[:10, :10]


viz.matrices(
    {"reaction J": corner(table), "weights W": corner(cheater[3].weight[0])},  # [3]: the unit
    alt="The first ten rows and columns of the Jacobian and of W. The Jacobian has colour on "
    "the diagonal and on the line one step above it, dark in some rows and pale in others; "
    "the rest is nearly white. W has one strong line, a step above the diagonal",
)

# %% [markdown]
# Most of the 496 leaks are too weak to be seen here; of those on the line just above the diagonal most can be seen. (The diagonal itself is no leak: every position also has its own
# byte, through $u$.) $W$ says it plainly: listen to your right neighbour, and to hardly anybody else.
#
# ## 2.4 Three wrong masks
#
# The remedy seems plain: in $\sum_j W_{i,j} v_j$ let $j$ run up to $i$ only, that is, set the upper
# triangle of $W$ to zero. That is the mask. PyTorch has a function for it (`tril`: the *tri*angle, *l*ower part; `triu` is the upper one):

# %%
W = torch.arange(1.0, 17.0).view(4, 4)
print(W.tril())

# %% [markdown]
# Here are three ways to get it wrong. (At each call our unit asks its method `mixing_matrix(n)` for the $W$ to use; you saw
# it at the end of lesson 01. The second and the third way replace that method.)
#
# **First: once, at the beginning.** Why mask at every call? Zero the upper triangle when the unit is made,
# and be done.


# %%
class MaskedOnce(SpatialGatingUnit):
    def __init__(self, dim, seq_len):
        super().__init__(dim, seq_len)
        with torch.no_grad():
            self.weight.copy_(self.weight.tril())


torch.manual_seed(0)
model = network(MaskedOnce(4 * d, n))
print("before training, moved by the last byte:", moved(model, n - 1))
fit(model, steps=1)
print("after one step                         :", moved(model, n - 1)[:6], "…")
assert moved(model, n - 1) == list(range(n))

# %% [markdown]
# Before training all is well, and a test that looks only then would pass. Then gradients flow into the zeros and
# fill them. **A mask is not a starting value.**
#
# **Second: off by one.** `tril(1)` keeps one line more, the one just above the diagonal. **Predict** what a model with `tril(1)` will score.


# %% tags=["nbval-ignore-output"]
class OffByOne(SpatialGatingUnit):
    def mixing_matrix(self, n):
        return self.weight[:, :n, :n].tril(1)


torch.manual_seed(0)
off_by_one = fit(network(OffByOne(4 * d, n)))
with torch.no_grad():
    print(f"{bits(off_by_one(windows), answers).mean():.1f} bits per byte")

# %%
print("moved by the last byte:", moved(off_by_one, n - 1))
assert moved(off_by_one, n - 1) == [n - 2, n - 1]

# %% [markdown]
# One diagonal too many, and the score is as absurd as without any mask: in each row only one entry leaks, and it is the one with the answer. A mask that is *almost* right is no better than none.
#
# **Third: copied from attention.** There (lesson 06) the mask goes in as $-\infty$, because a softmax comes after it ($e$ to the power of each score, divided by their sum) and
# turns $-\infty$ into 0. No softmax follows here.


# %%
class MinusInfinity(SpatialGatingUnit):
    def mixing_matrix(self, n):
        future = torch.ones(n, n, dtype=torch.bool).triu(1)
        return self.weight[:, :n, :n].masked_fill(future, -math.inf)


torch.manual_seed(0)
logits = network(MinusInfinity(4 * d, n))(windows)
print("share of logits that are numbers:", logits.isfinite().float().mean().item())
assert not logits.isfinite().any(dim=-1)[:, :-1].any()

# %% [markdown]
# $-\infty$ times a positive and $-\infty$ times a negative number add up to NaN, in the sum over positions or, at the latest, in that over channels. Only the last row has no future, so only one position in 32 survives. This
# mistake at least is loud.
#
# ## 2.5 The mask in the right place
#
# Zeros, above the diagonal, on *every* call:


# %%
class MyCausalSGU(SpatialGatingUnit):
    def mixing_matrix(self, n):
        return self.weight[:, :n, :n].tril()


torch.manual_seed(0)
honest = fit(network(MyCausalSGU(4 * d, n)))
for position in (0, 12, 30, 31):
    print(f"a change at {position:2} moves", *moved(honest, position))
    assert moved(honest, position) == list(range(position, n))
assert (jacobian(honest, n)[future] == 0).all()

# %% [markdown]
# A change moves its own position and what comes after it, and nothing before; above the diagonal its Jacobian is zero. Touch the three models side by side:

# %% tags=["nbval-ignore-output"]
viz.causal_probe({"no mask": cheater, "off by one": off_by_one, "causal": honest}, line)

# %% [markdown]
# A model that may be used to write lights up only from your finger to the right. **How many outputs before the touched byte does "off by one" move?**
#
# <details><summary>The answer</summary>One, the output just before it. Byte 0 moves none, because nothing stands before it.</details>
# <br>
#
# Build a mask by hand. (This panel appears only while the notebook runs.) A pressed button lets its row read its column, for a small model of eight positions; *train with it* takes some
# seconds. **Predict** first: open one entry above the diagonal. How many bits does that save? Which entry saves most?

# %% tags=["live", "nbval-ignore-output"]
from gmlp.viz import live

# peak: the learning rate; eval_every: measure once, at the end
small = {"steps": 600, "peak": 1e-2, "eval_every": 600}


def panel():
    def fresh():
        return network(SpatialGatingUnit(4 * d, 8))

    return live.Mask(fresh, train_text, valid_text[:8192], 8, **small)


panel()

# %% [markdown]
# Here its buttons are pressed by code: an entry that is open anyway, the one right above the diagonal, and the next one.

# %% tags=["nbval-ignore-output"]
with_leak = {}
for i, j in ((3, 3), (3, 4), (3, 5)):
    torch.manual_seed(0)
    pressed = panel()
    pressed.boxes[i][j].value = True
    pressed.train()
    print(f"row {i} reads column {j}:", pressed.said.value)
    with_leak[j] = float(pressed.said.value.split()[0])
assert with_leak[4] < min(with_leak[3], with_leak[5]) - 0.05

# %% [markdown]
# Right above the diagonal stands the answer, and of these two only that leak pays. (It saves a fraction of a bit, because one position of eight can use it.)
#
# Now a fair examination. At position 15, ask once with the whole window there, and once with the text cut off after byte 15, as it is for a
# writer. **Predict:** whose bits will change?


# %% tags=["nbval-ignore-output"]
def at_15(name, model):
    with torch.no_grad():
        whole = bits(model(windows), answers)[:, 15].mean().item()
        cut_off = bits(model(windows[:, :16]), answers[:, :16])[:, 15].mean().item()
    print(f"{name:8} whole window {whole:.2f}   cut off {cut_off:.2f}")
    return whole, cut_off


cheater_whole, cheater_cut = at_15("cheater", cheater)
honest_whole, honest_cut = at_15("honest", honest)
assert abs(honest_whole - honest_cut) < 1e-4
assert cheater_whole < 0.5 < honest_whole < cheater_cut - 0.5

# %% [markdown]
# The honest bits look worse and are worth more: they are the same whether the future is there or not. Over all positions, and written out:

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    honest_bits = bits(honest(windows), answers).mean().item()
counted = count_bits(train_text, valid_text, 2)
print(f"{honest_bits:.2f} bits per byte; counting with two bytes of context: {counted:.2f}")
assert abs(honest_bits - counted) < 0.5
for prompt in (b"The value of", b"If the name "):
    print(write(honest, prompt, 70).decode(errors="replace").replace("\n", "⏎"))

# %% [markdown]
# To the eye this is hardly better than what the cheater wrote; the fair examination tells the two apart. Counting with two bytes does about as well, so far. But this is *one* unit,
# trained for seconds, and at the front of each window it has hardly any context. Lessons 03 and 04 make it deep and train it properly.
#
# **Why does this matter so much?** A causal model gives the same answers for the first bytes, whatever comes after them, even nothing:

# %%
with torch.no_grad():
    torch.testing.assert_close(
        honest(windows[:, :10]), honest(windows)[:, :10], atol=1e-4, rtol=1e-4
    )
    difference = (cheater(windows[:, :10]) - cheater(windows)[:, :10]).abs().max()
assert difference > 1
print("causal: equal   no mask: its scores differ by more than 1")

# %% [markdown]
# So *one* pass over a window of 32 bytes asks 32 honest questions: from 1 byte guess the 2nd, from 2 the 3rd, …, from 32 the 33rd, each as if the rest did
# not exist. Without the mask you would need 32 passes for that. This is why language models are masked.
#
# ## 2.6 What a causal unit cannot do, exactly
#
# Back to the game of lesson 01, twelve random letters out of ten. Now the unit is causal.
#
# **Predict**, with pencil and paper, the accuracy on *copy*, on *shift* (say your left neighbour's letter; the first
# position has to say the last letter) and on *reverse*.


# %%
def play(unit, task, letters=10, n=12):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(letters, d),
        nn.Linear(d, 2 * d),
        nn.GELU(),
        unit,
        nn.Linear(d, letters),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        words = torch.randint(letters, (64, n))
        loss = F.cross_entropy(model(words).transpose(1, 2), task(words))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words = torch.randint(letters, (5000, n))
    return (model(words).argmax(-1) == task(words)).float().mean().item()


tasks = {
    "copy": lambda words: words,
    "shift": lambda words: words.roll(1, dims=1),
    "reverse": lambda words: words.flip(1),
}
accuracy = {name: play(MyCausalSGU(2 * d, 12), task) for name, task in tasks.items()}
for name in tasks:
    print(f"{name:8} {accuracy[name]:.2f}")

# %%
pencil = {"copy": 1, "shift": (11 + 0.1) / 12, "reverse": (6 + 6 * 0.1) / 12}
for name in tasks:
    print(f"{name:8} by pencil {pencil[name]:.3f}")
    assert abs(accuracy[name] - pencil[name]) < 0.015

# %% [markdown]
# *Copy* needs only yourself. *Shift* can be done everywhere but at position 0, whose letter stands at the far right: there
# it is one in ten. *Reverse* works in the right half, whose mirror images have already been read, and is chance in the left one. The
# mask takes exactly what it must take and nothing else.
#
# ## 2.7 Heads, and a price
#
# Every head has its own matrix, and every matrix needs the mask. `tril` works on the last two axes, so heads need no extra code:

# %%
torch.manual_seed(0)
two_heads = network(SpatialGatingUnit(4 * d, n, heads=2))
print("unmasked, two heads:", len(moved(two_heads, n - 1)), "outputs move")
two_heads[3] = MyCausalSGU(4 * d, n, heads=2)
print("causal, two heads  :", len(moved(two_heads, n - 1)), "output moves")
assert moved(two_heads, n - 1) == [n - 1]

# %% [markdown]
# The price: almost half of $W$ is stored and never used. The gradient of that half is zero:

# %%
unit = honest[3]
bits(honest(windows), answers).mean().backward()
untouched = int((unit.weight.grad == 0).sum())
print(f"{untouched} of {n * n} entries of W get no gradient")
assert untouched == n * (n - 1) // 2

# %% [markdown]
# ## 2.8 The finished module
#
# `CausalSGU` is a `SpatialGatingUnit` with the mask in its `mixing_matrix`:

# %%
import inspect

from gmlp import CausalSGU

print(inspect.getsource(CausalSGU.mixing_matrix))

# %% [markdown]
# For short inputs this matrix is used as it stands. But half of it is zeros, and multiplying by zero takes as long as multiplying by anything else. So for long inputs the
# finished unit takes the rows in blocks, each with the columns that it may read (`gmlp/ops.py`). The order of the additions may differ from yours, so
# compare up to rounding.

# %%
finished = network(CausalSGU(4 * d, n))
finished.load_state_dict(honest.state_dict())
torch.testing.assert_close(finished(windows), honest(windows), atol=1e-4, rtol=1e-4)
print("equal to yours on", tuple(windows.shape))

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. The cheater scores near 0 bits on text that it has not seen. Why does it write rubbish?**
#
# <details><summary>It has learned the training text by heart.</summary>No: the bits were measured on text that it has not seen, and were as low there.</details>
# <details><summary>Two hundred steps are too few to learn to write.</summary>No: they were enough to learn what pays, and more of them would only make the peeking surer.</details>
# <details><summary>Where it writes there is no byte to its right, and it has learned nothing but to read that byte.</summary>Right: when it writes, every position is as blind as the last one of a window.</details>
# <details><summary>The sampler draws at random instead of taking the best byte.</summary>No: it draws by the model's own chances, and a model that knew the next byte would give it nearly all of them.</details>
# <br>
#
# **2. Why do we fill the upper triangle with 0, and not with minus infinity as attention does?**
#
# <details><summary>Here the weights multiply the tokens as they are; no softmax follows.</summary>Right: a weight of 0 takes a token out of the sum, while minus infinity becomes 0 only in a softmax.</details>
# <details><summary>Minus infinity would hide the diagonal as well.</summary>No: which entries are filled is up to the mask, not to the number that fills them.</details>
# <details><summary>0 keeps the gradient of the hidden weights alive.</summary>No: hidden weights get no gradient, and need none, since they never count.</details>
# <br>
#
# **3. A unit masks with <code>tril(-1)</code>, so the diagonal is hidden, too. Byte 20 of 32 changes. Which outputs move?**
#
# <details><summary>21 to 31</summary>No: the mask hides byte 20 from the gate of position 20, but the gate is not all that reaches an output.</details>
# <details><summary>20 to 31</summary>Right: the half <code>u</code> carries every position's own byte around the matrix, whatever the mask says.</details>
# <details><summary>0 to 20</summary>No: a change is read by later positions; row i of a lower triangle reads columns before i.</details>
# <details><summary>all of them</summary>No: a lower triangle reads nothing to the right, so outputs 0 to 19 cannot hear of byte 20.</details>
#
# ## What you can do now
#
# - ✓ be suspicious of a score that is too good, and ask where the answer could have come from;
# - ✓ find a leak by changing one token, or all leaks by the Jacobian: the upper triangle must be zero;
# - ✓ name three wrong masks: once at the start, off by one, $-\infty$ without a softmax;
# - ✓ mask right: zeros above the diagonal, on every call; and predict 1, 0.925 and 0.55 with a pencil;
# - ✓ write text with six lines.
#
# **Practise:** the [exercises](../exercises/02_causal_masking.ipynb) of this lesson: five, in about 70 minutes.
#
# **Next:** one unit is a shallow reader. Stack sixteen of them, and they learn no more than how common each byte is. Why, and what two small
# additions mend it, is the subject of [lesson 03](03_residual_blocks.ipynb).
