# %% [markdown]
# # 11 · The full model: how does it all fit?
#
# *60 minutes. You need: [lessons 01](01_spatial_gating.ipynb) to [10](10_reversible_layers.ipynb), and about 2 GB of free memory for section 11.4.*
#
# When you are done you can
#
# 1. put the parts of ten lessons together into one function, argument by argument;
# 2. read a **schedule** of windows and folds: how far each layer reaches, and what it costs;
# 3. train a model that reads 16,384 bytes at once on the machine in front of you;
# 4. hold a whole model, with every option on, to the laws that its parts obey;
# 5. read other people's research code with the tests that you have written, and find what reading alone would miss.

# %%
import inspect
import math
import sys
import textwrap
import time
from collections import Counter

import torch
from torch import nn

from gmlp import (
    Attention,
    AxiallyFold,
    Cache,
    CausalLocalSGU,
    CausalSGU,
    FeedForward,
    LanguageModel,
    LocalAttention,
    PreNorm,
    Residual,
    ReversibleSequence,
    SequentialSequence,
    SpatialGatingUnit,
    bits_per_byte,
    count_bits,
    dropout_layers,
    gMLPBlock,
    gMLPGPT,
    load_corpus,
    sample_batch,
    split_corpus,
    viz,
)
from gmlp.viz.full_model import by_depth, full_model_diagram

# %% [markdown]
# ## 11.1 Ten lessons on one table
#
# You know every part. What is left is to say which part goes into which. From the outside, a language model as in lesson 04; from the inside, each layer
# is a nest:

# %%
full_model_diagram()

# %% [markdown]
# The upper row is the model. The lower row is the inside of one layer: $x$ is what enters it, and the last box, the residual, adds it again. Numbers in brackets are lessons. (Fold and attention are there only where they are wanted.)
#
# One example serves the whole lesson: a model of 64 positions and four layers. Each layer has a window $w$ and a fold $e$ of its own. The list of these pairs is the model's
# **schedule** (no relation to the learning rate's). Ours begins narrow and ends wide: windows of 4, 8, 8 and 16 positions, folded by 1 (that is, not at all), 1, 2 and 4.
#
# A layer, then, from the inside out. First the unit. With a fold of $e$ it works on sequences of $L = \lceil n / e \rceil$ positions, that is $n / e$, rounded up. (In lessons 07 and 09 $L$ counted layers.) **Predict:** which of the four
# layers needs no windows at all?

# %%
n, d = 64, 16  # positions, channels
schedule = ((4, 1), (8, 1), (8, 2), (16, 4))  # (w, e) for each layer
for w, e in schedule:
    length = math.ceil(n / e)
    print(f"w={w:2} e={e}  L={length:2}  {'windows' if w < length else 'one window holds it all'}")

# %% [markdown]
# The last one. Dealt to four, 64 positions make sequences of 16, and a window of 16 reads all of that. So this layer can be a plain `CausalSGU` over 16
# positions; a window as long as the text is no window (lesson 07). We shall see what forgetting this costs.
#
# Then attention, if wanted, with the same reach; the block; the fold around it; a norm in front.


# %%
def my_layer(dim, seq_len, w, e, k=None, heads=1, act=None):
    length = math.ceil(seq_len / e)  # what a folded sequence holds
    sizes = {"dim_in": dim, "dim_out": 2 * dim, "dim_inner": k}
    if w is None or w >= length:
        sgu = CausalSGU(4 * dim, length, heads=heads, act=act)
        attn = Attention(**sizes) if k else None
    else:
        sgu = CausalLocalSGU(4 * dim, length, window=w, heads=heads, act=act)
        attn = LocalAttention(window=w, **sizes) if k else None
    block = gMLPBlock(dim, 4 * dim, sgu, attn)
    return PreNorm(dim, AxiallyFold(dim, e, block) if e > 1 else block)


print(my_layer(d, n, 16, 4))

# %% [markdown]
# Read it from the outside: a norm, a fold, a block, a unit without windows, and the fold's convolution at the end.
#
# `act` is a function that bends the gate before it multiplies $u$. The default does nothing; **tanh** squashes every number into the range from −1 to 1, so that
# no gate can blow up what it gates. The recipe of 11.3 uses it. (A gate that starts at 1 then starts at $\tanh 1$, three quarters: $u$ still passes, a little softer.)
#
# **Where does the residual go?** Outside the fold, or inside, around the block alone? Both run. Both are causal. **Predict** what becomes of a
# signal on its way through eight folded layers, in each of the two. (The instrument is that of lesson 03: how different are the vectors of different texts?)


# %%
def differences(make_layer):
    torch.manual_seed(0)
    x, found = torch.randn(32, n, d), []
    for _ in range(8):
        x = make_layer()(x).detach()
        found.append(x.std(dim=0).mean().item())
    return found


def outside():
    return Residual(my_layer(d, n, 16, 4))


def inside():
    layer = my_layer(d, n, 16, 4)
    return AxiallyFold(d, 4, Residual(PreNorm(d, layer.fn.fn)))


heard = {"outside the fold": differences(outside), "inside the fold": differences(inside)}
viz.curves(
    {name: (range(1, 9), sizes) for name, sizes in heard.items()},
    xlabel="after layer",
    ylabel="differences",
    log_y=True,
    alt="Differences by layer on a log scale. With the residual outside the fold the line is flat at "
    "one; inside, it falls in a straight line, by almost half with every layer.",
)
assert heard["inside the fold"][-1] < 0.1 < 0.5 < heard["outside the fold"][-1]

# %% [markdown]
# Inside, the layer's own input passes through the convolution as well, a random mixture at first, and shrinks each time: the vanishing stack of lesson 03 is
# back. Nothing raised an error. So the residual goes outside, and the whole model is this:


# %%
def my_gmlpgpt(
    *,
    num_tokens,
    dim,
    depth,
    seq_len,
    window,  # the schedule
    heads=1,
    attn_dim=None,
    act=None,
    reversible=False,
    prob_survival=1.0,
):
    if not isinstance(attn_dim, tuple):
        attn_dim = (attn_dim,) * depth  # one number serves all layers
    layers = [
        my_layer(dim, seq_len, w, e, k, heads, act)
        for (w, e), k in zip(window, attn_dim, strict=True)
    ]
    if reversible:  # lesson 10: two streams, f and g
        pairs = [(f, FeedForward(dim)) for f in layers]
        blocks = ReversibleSequence(pairs, prob_survival=prob_survival)
    else:  # lesson 09: some layers rest while training
        blocks = SequentialSequence(map(Residual, layers), prob_survival=prob_survival)
    return LanguageModel(num_tokens, dim, seq_len, blocks)


small = {"num_tokens": 256, "dim": d, "depth": 4, "seq_len": n, "window": schedule}
for reversible in (False, True):
    torch.manual_seed(0)
    model = my_gmlpgpt(**small, reversible=reversible)
    count = sum(p.numel() for p in model.parameters())
    print(f"reversible={reversible!s:5}  {count:6,} parameters")

# %% [markdown]
# That is the model of this course. `zip(…, strict=True)` stands there for a reason that will show. And note the two counts: `reversible=True` is no mere way of saving memory. It
# needs a $g$ for each $f$ and brings feed-forward layers along: another architecture, and a larger one. Who compares the two compares two things at once.
#
# ## 11.2 Three questions to a schedule
#
# Of each layer we want to know: how far back does it reach? How many numbers are in its $W$? How many multiplications does its $W$ cost for each token?
#
# With windows, a position reads at most $2w$ positions of its folded sequence, which lie $e$ apart; with the convolution that makes $2we$ positions of the text. Without
# windows it reads all $n$. For the cost we count, position by position, what it may read: its place in its window, plus a whole window before it if there is one (with $w = 4$, position 5 reads 2 + 4).


# %%
def layer_facts(w, e, n, channels, careless=False):  # careless: see 11.3
    """Reach, numbers in W, and multiplications by W for each token."""
    length = math.ceil(n / e)
    whole = w >= length
    reach = n if whole else min(2 * w * e, n)
    numbers = length * length if whole and not careless else 2 * w * w
    reads = sum(min(i, i % w + w) + 1 for i in range(length)) / length  # mean over positions
    return reach, numbers, reads * channels


# %% [markdown]
# A formula that nobody has checked is a guess. So we count as well: `mixing_matrix` hands out the matrix that a unit amounts to, and what is not zero in it is a pair
# of positions that meet.

# %%
torch.manual_seed(0)
model = gMLPGPT(**small)  # the library's; yours comes back in 11.7
units = [part for part in model.modules() if isinstance(part, CausalSGU)]
print("  w  e   reach  numbers in W  multiplications  counted")
for unit, (w, e) in zip(units, schedule, strict=True):
    reach, numbers, products = layer_facts(w, e, n, 2 * d)
    pairs = int(unit.mixing_matrix(n // e).count_nonzero())
    counted = pairs / (n // e) * 2 * d
    print(f"{w:3} {e:2} {reach:7} {numbers:13} {products:16.1f} {counted:8.1f}")
    assert numbers == unit.weight.numel() and products == counted

# %% [markdown]
# The last two columns agree. And the reach of the whole, layer on layer? The gradients tell (lesson 02), and none is allowed to hide behind a tiny weight: $W$ starts almost at zero, so we
# fill it with larger numbers first. We shall need this again.


# %%
def wake(model):
    """Random numbers of some size into every W, so that nothing allowed is silent."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if name.endswith("sgu.weight"):
            nn.init.normal_(weight, std=0.3)
    return model


viz.receptive_field(wake(model))

# %% [markdown]
# With all four layers every position hears everything before it. **Is layer 4 needed for that?** Move *layers* to 3 and walk along the positions. Which is the first that no longer
# hears byte 0, and what happened between it and its left neighbour? (`by_depth`, below, gives the numbers behind the figure: how output $i$ reacts to input $j$ after the first layer, the first two, and so on.)
#
# <details><summary>The answer</summary>Position 33. Its neighbour 32 hears 33 positions, all there are; 33 hears only 30. Windows of 8, folded by 2, are 16 positions long, so a new
# window begins at 32. The convolution at 32 still brings what 31 knows, from the window before; at 33 it brings 32 and 33, which both belong to the new one.</details>

# %%
tokens = torch.randint(256, (n,), generator=torch.Generator().manual_seed(0))
hears = by_depth(model, tokens) != 0  # (depth, n, n)
for depth in range(4):
    deaf = (~hears[depth, :, 0]).nonzero().flatten().tolist()
    print(f"after layer {depth + 1}: position 63 hears {int(hears[depth, 63].sum()):2};", end=" ")
    print("first deaf to byte 0:", deaf[0] if deaf else "none")

# %% [markdown]
# ## 11.3 The recipe for 16,384
#
# Now in earnest. The package that this course's model comes from has a recipe in its README: twelve reversible layers for a context of 16,384 tokens, tanh on the
# gates, and this schedule: windows of 128, 128, 256, 512, 1024 and 1024 without a fold; then twice 2048 folded by 2, twice 4096 folded by 4, twice 8192 folded by 8.
#
# **Predict**, and write it down: of these kinds of layer, which has the most parameters in $W$, and which costs the most
# multiplications? (Take $d = 64$ channels, so that 128 are mixed.)

# %%
long, mixed = 16384, 128  # positions; channels of the gate, 2 d
deep = [(2048, 2)] * 2 + [(4096, 4)] * 2 + [(8192, 8)] * 2
recipe = ((128, 1), (128, 1), (256, 1), (512, 1), (1024, 1), (1024, 1), *deep)
kinds = sorted(set(recipe))
facts = {kind: layer_facts(*kind, long, mixed) for kind in kinds}
print("   w  e      L   reach  numbers in W  multiplications a token")
for (w, e), (reach, numbers, products) in facts.items():
    print(f"{w:4} {e:2} {long // e:6} {reach:7,} {numbers:13,} {products:23,.0f}")
print("most numbers:", max(kinds, key=lambda kind: facts[kind][1]), end="; ")
print("most multiplications:", max(kinds, key=lambda kind: facts[kind][2]))

per_token = 4 * 64 * 64 + 2 * 64 * 64 + 3 * 64 * 170  # f: widen, narrow; g: 170 inside (3.5)
print(f"in every layer besides: {per_token:,} multiplications a token")
viz.bars(
    {f"({w}, {e})": facts[w, e][2] / per_token for w, e in kinds},
    xlabel="multiplications by W, for each one that the rest of the layer makes",
    alt="Seven bars. They double from (128, 1), under a half, to (1024, 1), over three; "
    "(2048, 2) is the longest, then they shrink: (8192, 8) is shorter than (1024, 1).",
)

# %% [markdown]
# Two winners, and neither is the layer with the largest numbers in its name. Folded by 8, a sequence has only 2,048 positions; a window of 8,192 over it is no window,
# and (8192, 8), which reaches everything, is cheaper than (2048, 2) in both columns. In the narrow layers $W$ is not even the larger part of the work. What costs is not the number $w$ but what a position really reads, and with one window
# for all that is on average half of $L$, which each fold makes smaller.
#
# A careless version does not see that. It hears "8192" and makes a matrix of 8,192 rows and 16,384 columns. On a small unit, with a window of 64 over sequences of 16:

# %%
torch.manual_seed(0)
careless, careful = CausalLocalSGU(4 * d, 16, window=64), CausalSGU(4 * d, 16)
nn.init.normal_(careless.weight)
careful.weight.data = careless.weight.data[:, :16, 64:80].clone()  # lesson 07's law
x = torch.randn(2, 16, 4 * d)
torch.testing.assert_close(careless(x), careful(x))
careless(x).square().sum().backward()
used = int(careless.weight.grad.count_nonzero())
print(f"same output; of {careless.weight.numel():,} numbers {used} ever get a gradient")
assert used == 16 * 17 // 2

# %% [markdown]
# The rest is there, takes memory, is written to every checkpoint, and cannot learn. **Predict:** for the recipe, how much larger is the careless version?

# %%
numbers = {
    "no windows, no folds": len(recipe) * long * long,
    "careless": sum(layer_facts(w, e, long, mixed, careless=True)[1] for w, e in recipe),
    "careful": sum(layer_facts(w, e, long, mixed)[1] for w, e in recipe),
}
for name, count in numbers.items():
    print(f"{name:21} {count / 1e6:8,.1f} million numbers in all W")
assert numbers["careless"] < numbers["no windows, no folds"] / 8
assert numbers["careful"] < numbers["careless"] / 5

# %% [markdown]
# Windows and folds take away almost nine tenths; the last four layers still reach the whole text. Noticing that a window is larger than its sequence takes away most of the rest, without changing
# anything at all.
#
# ## 11.4 Sixteen thousand bytes at once
#
# So let us train it, here. How much memory will it take? Four bytes for each parameter and four for its gradient are certain. AdamW (lesson 04) would remember
# two more numbers for each parameter. We shall take only a step or two, so we do without: **plain gradient descent** (PyTorch calls it `SGD`) moves every weight against its gradient and remembers nothing. (Nor does it
# rescale, so its rate is of another size: 1.0, for a gradient that is clipped to length 1.)

# %%
recipe_model = {"num_tokens": 256, "dim": 64, "depth": 12, "seq_len": long}
recipe_model |= {"window": recipe, "reversible": True, "act": nn.Tanh()}
torch.manual_seed(0)
big = gMLPGPT(**recipe_model)
parameters = sum(p.numel() for p in big.parameters())
print(f"{parameters:,} parameters: {4 * parameters / 1e9:.2f} GB")
print(f"with gradients {8 * parameters / 1e9:.2f} GB, with AdamW {16 * parameters / 1e9:.2f} GB")
# A unit has a bias for each place of its window: w of them, where the sequence has but L places.
extra_biases = sum(w - math.ceil(long / e) for w, e in recipe if w >= long / e)
careless_count = parameters + numbers["careless"] - numbers["careful"] + extra_biases
print(f"the careless version would have {careless_count:,}")

# %% [markdown]
# **Predict:** the activations of twelve layers come on top, over 16,384 positions. How much memory at the peak, and how many seconds for one step? (`ru_maxrss` is the most memory that
# this process has ever had at once. Python's `resource` does not exist on Windows.)


# %% tags=["nbval-ignore-output"]
def peak_memory():
    if sys.platform == "win32":
        return math.nan
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform != "darwin":
        peak *= 1024  # macOS counts bytes, Linux 1,024 of them at a time
    return peak / 1e9


train_text, valid_text = split_corpus(load_corpus("pydocs"))
optimizer = torch.optim.SGD(big.parameters(), lr=1.0)


def take_step(model, optimizer, step):
    began = time.process_time()
    inputs, targets = sample_batch(train_text, 1, long, seed=step)  # (1, 16384) each
    loss = bits_per_byte(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    print(f"step {step}: {loss.item():.2f} bits, {time.process_time() - began:.0f} CPU seconds")
    return loss.item()


losses = [take_step(big, optimizer, 0)]
print(f"peak memory of this notebook: {peak_memory():.1f} GB")

# %% [markdown]
# It fits. Another piece of the text, another step, and then an examination on 16,384 bytes of the validation part. **Predict:** two steps in all; will anything have been
# learned?

# %% tags=["nbval-ignore-output"]
losses.append(take_step(big, optimizer, 1))
with torch.no_grad():
    inputs, targets = sample_batch(valid_text, 1, long, seed=0)
    examined = bits_per_byte(big(inputs), targets).item()
alone = count_bits(train_text, valid_text, 0)
print(f"first batch, before any step: {losses[0]:.1f} bits per byte")
print(f"new text, after two steps:    {examined:.1f}")
print(f"counting single bytes (00):   {alone:.1f}")

# %%
assert losses[0] > 7 and losses[1] < losses[0] - 0.3 and alone < examined < losses[0] - 1
assert not peak_memory() > 2.2  # on Windows it is NaN, and NaN > 2.2 is False
del big, optimizer  # gives the memory back
print("the loss went down, within 2.2 GB")

# %% [markdown]
# A context of 16,384 bytes, several pages at once, and it learns on an ordinary processor. Four ideas share the credit: windows (07), folds (08),
# forgetting the activations (10), and the look at $L$ before a matrix is made.
#
# **What does it not show?** That the model is any good. After two steps it is worse than counting single bytes: it has hardly begun to learn which bytes are common. The rest is patience, and lesson 12
# is about machines that have more of it.
#
# ## 11.5 All options on, all laws kept
#
# Each part was tested in its lesson. Does the whole obey, whatever is switched on? (But for `prob_survival` and `dropout`, which do nothing in `eval()`; lesson 09 has tested them.) A fault often sits where two parts meet. The three laws that a model for
# writing must keep:
#
# - **causal:** a changed byte moves its own output and later ones, none before (02);
# - **any length:** the first 37 bytes alone give the same outputs as within a longer text (07, 08);
# - **cached:** reading byte by byte with a cache gives the same as reading at once (05).


# %%
def moved(model, position):
    """Which outputs change when the byte at `position` changes? (lesson 02)"""
    tokens = torch.randint(256, (1, n), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, position] = (changed[0, position] + 1) % 256
    with torch.no_grad():
        difference = (model(tokens) - model(changed)).abs().amax(-1)[0]  # (n,)
    return difference.nonzero().flatten().tolist()


def laws(model):
    tokens = torch.randint(256, (2, n), generator=torch.Generator().manual_seed(1))
    cache = Cache()
    with torch.no_grad():
        whole = model(tokens)  # (b, n, v)
        prefix = model(tokens[:, :37])
        steps = [model.step(tokens[:, i : i + 1], cache) for i in range(n)]  # (b, v) each
    return {
        "causal": all(min(moved(model, position)) == position for position in range(n)),
        "any length": torch.allclose(prefix, whole[:, :37]),
        "cached": torch.allclose(torch.stack(steps, dim=1), whole),
    }


# %%
options = {
    "the schedule alone": {},
    "two heads": {"heads": 2},
    "tanh on the gate": {"act": nn.Tanh()},
    "attention in 2 and 4": {"attn_dim": (None, 4, None, 4)},
    "reversible": {"reversible": True},
}
options["everything"] = {name: value for more in options.values() for name, value in more.items()}
for name, more in options.items():
    model = wake(gMLPGPT(**small, **more)).double().eval()
    kept = laws(model)
    print(f"{name:21}", *(f"{law}: {holds}" for law, holds in kept.items()))
    assert all(kept.values())

# %% [markdown]
# Would these tests see a fault? Make one: deep inside the last layer, whose unit works on four folded sequences, put the unmasked unit of lesson 01.
#
# **Predict:** if byte 63 changes, which outputs move now? Are there any that still cannot cheat?

# %%
leaky = wake(gMLPGPT(**small)).double().eval()
block = leaky.blocks[3].fn.fn.fn  # through residual, norm and fold
block.sgu = SpatialGatingUnit(4 * d, 16).double()
print("moved by byte 63:", *moved(wake(leaky), 63)[:6], "…")
assert moved(leaky, 63) == list(range(3, n))

# %% [markdown]
# Byte 63 belongs to the sequence of 3, 7, 11 … 63, and the unmasked unit betrays it to all of them. The convolution carries it on to the three positions after each. Only 0, 1 and 2 come before
# the first of them. One wrong line in one layer, and the test on the outside saw it, through norm, fold and residual.
#
# ## 11.6 Reading research code
#
# The model of this course is not our invention. [`g-mlp-gpt`](https://github.com/lucidrains/g-mlp-gpt) 0.0.15 by Phil Wang has all of it, in a few files: the heads, the windows with look-back, the
# fold, the reversible layers. The names that you have been typing come from there. Research code is written to find things out, the first of them being whether a thing can be done at
# all. This one showed that it can, and gave it away. Thanks are due, and meant.
#
# It can also be read with what you have: your tests. First the control: before one looks for differences, the two should agree where they ought to. `load_original` takes its weights.
# (A function under `@finding` is handed to `finding` as soon as it is defined, and that runs it, if the package is there.)

# %%
try:
    from g_mlp_gpt import gMLPGPT as Original
except ImportError:
    Original = None
    print("g-mlp-gpt is not here; the cells below skip themselves (pip install g-mlp-gpt==0.0.15)")


def finding(test):
    if Original is not None:
        test()


full = {**small, "heads": 2, "act": nn.Tanh(), "reversible": True}


@finding
def same_logits():
    theirs = wake(Original(**full)).double()
    ours = gMLPGPT(**full).double()
    ours.load_original(theirs.state_dict())
    tokens = torch.randint(256, (2, 61), generator=torch.Generator().manual_seed(0))
    difference = (ours(tokens) - theirs(tokens)).abs().max().item()
    print("largest difference of two times 61 times 256 logits below 1e-9:", difference < 1e-9)
    assert difference < 1e-9


# %% [markdown]
# Windows, folds, heads, two streams: the same numbers. Now the tests, one after the other. (The differences that they find are numbered as in the course's `tests/test_original.py`, which has all eight.)
#
# **Eyes first.** This line of the original makes the unit of a block, and below it stands what block and unit take.
# (`init_eps` is the size of the first random numbers in $W$.) Read slowly. **What is wrong?**


# %%
@finding
def two_lines():
    from g_mlp_gpt import g_mlp_gpt as source

    lines = inspect.getsource(source.gMLPBlock.__init__).splitlines()
    print(*(line.strip() for line in lines if "SGU_klass(" in line))
    block = inspect.signature(source.gMLPBlock.__init__).parameters.values()
    print("gMLPBlock takes", *(str(given) for given in list(block)[1:]), sep="  ")
    print("CausalSGU takes", *inspect.signature(source.CausalSGU).parameters, sep="  ")


# %% [markdown]
# Did you see it? Now your test of lesson 02, on a fresh model without windows and folds: change byte 0, and see what moves. In a causal model it may move every output, and
# should, however little.


# %%
@finding
def test_a_new_model_listens():
    torch.manual_seed(0)
    flat = {**small, "window": None}
    ours, theirs = gMLPGPT(**flat).double(), Original(**flat).double()
    weights = [w for name, w in theirs.named_parameters() if name.endswith("sgu.weight")]
    print("ours:   byte 0 moves", len(moved(ours, 0)), "outputs")
    print("theirs: byte 0 moves", len(moved(theirs, 0)), "output")
    print("theirs: the largest number in all W:", max(w.abs().max().item() for w in weights))
    assert moved(theirs, 0) == [0] and len(moved(ours, 0)) == n
    theirs(tokens[None]).square().mean().backward()
    print("theirs: a gradient reaches every W:", all(w.grad.any().item() for w in weights))

    leaky.blocks[3].fn.fn.fn.sgu.weight.data.zero_()  # the broken model of 11.5, with such a W
    print("the leaky one: byte 63 moves", *moved(leaky, 63))
    assert moved(leaky, 63) == [63]


# %% [markdown]
# **Difference 1.** Nobody hears anybody: every $W$ is exactly 0. The third argument, `causal`, lands where `init_eps` stands. It is `False`, which counts as 0 (their `CausalSGU` masks in any case), and a range of ±0 has one number in it. Training can still begin, since the gradient of $W$ is not zero.
# But see what it does to our instrument. The last line is the leaky model of 11.5 with such a $W$: its mask is still missing, and now the test passes. That is why `wake` comes first.
#
# Next, lesson 09. In the original's sequential model `prob_survival` did nothing; in its reversible one it works. But what happens when all layers
# are to be dropped? **Predict** what the two lines will show: 300 draws from five layers, with a chance of survival of one in a thousand.


# %%
@finding
def test_which_layer_is_left():
    from g_mlp_gpt.reversible import layer_drop

    torch.manual_seed(0)
    # Theirs is told the chance of a layer to be dropped, ours the chance to survive.
    theirs = Counter(layer_drop(list(range(5)), 0.999)[0] for _ in range(300))
    ours = Counter(dropout_layers(list(range(5)), 0.001)[0] for _ in range(300))
    print("theirs: often the only one to survive:", *(k for k in range(5) if theirs[k] > 30))
    print("ours:   often the only one to survive:", *(k for k in range(5) if ours[k] > 30))
    assert theirs[0] > 290 and min(ours[k] for k in range(5)) > 30


# %% [markdown]
# **Difference 2.** When none survives, the original always revives layer 0. (Ours keeps the one that came closest, so that each has its turn: lesson 09.)
#
# Lesson 03 followed gradients. Ask the original's local attention: do queries, keys and values all get one? And with lesson 07's pencil: if all scores are equal, how much weight does the
# first position give itself, when there is nobody else? (Windows of 4. **Predict** for ours, at least.)


# %%
@finding
def test_attention_in_windows():
    from g_mlp_gpt.g_mlp_gpt import LocalAttention as TheirLocalAttention

    for name, kind in (("ours", LocalAttention), ("theirs", TheirLocalAttention)):
        attention = kind(dim_in=1, dim_inner=1, dim_out=1, window=4)
        attention(torch.randn(2, 12, 1)).square().sum().backward()
        gradients = attention.to_qkv.weight.grad.flatten()
        reached = ["yes" if gradient != 0 else "no" for gradient in gradients]
        print("{:7} query {}, key {}, value {}".format(name, *reached), end="")
        assert (gradients[2] != 0) == (name == "ours")

        with torch.no_grad():
            attention.to_qkv.weight.copy_(torch.tensor([[0.0], [1.0], [1.0]]))  # query 0
            attention.to_out.weight.fill_(1.0)
            attention.to_out.bias.zero_()
            weight = attention(torch.ones(1, 4, 1))[0, 0].item()
        print(f"; gives itself {weight:.2f}")
        assert abs(weight - (1 if name == "ours" else 1 / 5)) < 1e-6


# %% [markdown]
# **Difference 3**, twice. The values get no gradient, because they are never used. A small function joins the windows. It ignores its own argument and takes the variable `k` from outside, so it hands out keys where values were asked for. Nothing
# breaks: a key is a vector of the right size, too. And the first position keeps one fifth for itself: four zeros of padding stand before the first window, no mask hides them, and each gets as
# much as the one real byte.
#
# **Difference 4** you know: a window larger than its sequence. On the **meta device** of PyTorch tensors have a shape and no numbers, so one can count without
# taking the memory. Is the count of 11.4 right?


# %%
@finding
def test_no_more_than_it_can_use():
    with torch.device("meta"):
        theirs = Original(**recipe_model)
    count = sum(p.numel() for p in theirs.parameters())
    print(f"theirs {count:,} parameters, by the formula {careless_count:,}; ours {parameters:,}")
    assert count == careless_count and count > 5 * parameters


# %% [markdown]
# Right, to the last digit. **Difference 5** you met in 5.3: a filter that keeps a tenth of the tokens keeps none of ten, because `int` cuts 0.99… down to 0. And in 11.1 a `strict=True` was waiting for its reason.


# %%
@finding
def test_as_deep_as_asked():
    theirs = Original(**{**small, "attn_dim": (4,)})
    print("asked for", small["depth"], "layers, got", len(theirs.net.layers))
    try:
        gMLPGPT(**{**small, "attn_dim": (4,)})
    except ValueError as error:
        print(textwrap.fill(f"ours: {error}", 90))
    assert len(theirs.net.layers) == 1


# %% [markdown]
# **Difference 8:** one entry for four layers, and `zip` stops at the shortest: a model of one layer,
# without a word.
#
# The other two have no cell here. **6:** under `autocast` (lesson 12) parts of a forward pass are computed with fewer bits; the original's reversible backward pass recomputes them with all bits, so they are not the same. It also
# holds on to a recomputed layer's activations after they have been used. **7:** a reversible model that has never run in training mode crashes in the backward pass.
#
# | | found by | what you would have noticed without the test |
# |---|---|---|
# | 1 · $W$ starts at 0 | one changed byte (02) | nothing: it trains |
# | 2 · survival | counting draws (09) | nothing |
# | 3 · values unused, padding read | gradients, a weight by pencil (03, 07) | nothing: it trains |
# | 4 · 358 million | a formula (11.4) | a slow run, a full memory |
# | 5 · top-k of ten tokens | counting what is left (05) | an error, when it first writes with a small vocabulary |
# | 8 · one layer | counting layers | nothing, or a puzzling loss |
#
# **Why tests and not eyes?** Look down the last column. Four of the six never say anything, and one more only runs slowly. A mistake that raises an error is found within the hour. What
# stays is what runs, and trains, and is a little worse than it could be; and who knows how good it should have been? A law knows: it says what must hold before anybody has seen a loss.
#
# ## 11.7 The finished module
#
# `gMLPGPT` is your `my_gmlpgpt` with checked arguments. The core, which makes a layer:

# %%
source = inspect.getsource(gMLPGPT.__init__)
start, end = source.index("        def mixer("), source.index("        windows, sizes =")
print(textwrap.dedent(source[start:end]).rstrip())  # the inner function that makes a layer

# %% [markdown]
# Yours has shorter names and fewer checks. Give it the weights of the finished one, for every set of options of 11.5; and see what the finished one says to wrong arguments. (It
# also understands `window=8` for all layers, `window=None` for none, `ff_mult` and `dropout`.)

# %%
tokens = torch.randint(256, (2, 50), generator=torch.Generator().manual_seed(0))
for more in options.values():
    mine, finished = my_gmlpgpt(**small, **more), wake(gMLPGPT(**small, **more))
    mine.load_state_dict(finished.state_dict())  # strict: the same names, the same shapes
    assert torch.equal(mine(tokens), finished(tokens))
print("equal to yours:", ", ".join(options))

for wrong in ({"heads": 3}, {"window": ((0, 1),) * 4}, {"prob_survival": 0}):
    try:
        gMLPGPT(**{**small, **wrong})
    except ValueError as error:
        print(error)

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. A layer reads its whole sequence, because its window is as long as that. You make the window one shorter, and <code>W</code> gets almost twice as large. Why?**
#
# <details><summary>The last position now needs a window of its own, with weights of its own.</summary>No: all windows share the rows of one <code>W</code>, however many there are.</details>
# <details><summary>The layer was plain, and now it has windows, whose rows span two of them.</summary>Right: a row of the plain unit has a column for each position, a row with look-back one for each place of two windows.</details>
# <details><summary>Shorter windows need more heads to reach as far.</summary>No: heads are an argument of their own, and a window does not change them.</details>
# <details><summary>It cannot: a shorter window always has a smaller <code>W</code>.</summary>No: that holds as long as both are windows, but the longer one was none.</details>
# <br>
#
# **2. Somebody puts the residual inside the fold. What tells you?**
#
# <details><summary>The test for leaks: the convolution now mixes later positions in.</summary>No: the convolution is causal wherever the residual stands.</details>
# <details><summary>An error of shapes, because a folded <code>x</code> is added to one that is not folded.</summary>No: inside the fold both are folded, and the sum fits.</details>
# <details><summary>Listening in the layers: the differences between texts shrink with each of them.</summary>Right: what should pass untouched goes through the convolution every time.</details>
# <br>
#
# **3. A fresh model, with <code>W</code> all zeros, passes your test for leaks. What do you know?**
#
# <details><summary>Next to nothing about its mask: weights of zero carry no information from anywhere.</summary>Right: the leaky model passed as well, until its weights were awake.</details>
# <details><summary>That it is causal: a test that passes with one set of weights passes with all.</summary>No: a leak whose weight is zero moves nothing, and training makes the weight larger.</details>
# <details><summary>That it will not learn, since no gradient reaches a <code>W</code> of zeros.</summary>No: the gradient of <code>W</code> depends on its input, so it is not zero, and training can begin.</details>
#
# ## What you can do now
#
# - ✓ put the parts together: norm, fold, block, unit and attention inside; the residual outside;
# - ✓ read a schedule by three questions, and know that reach, parameters and cost have different winners;
# - ✓ train on 16,384 bytes at once in about 2 GB, and say why 64 million parameters do what 358 million did;
# - ✓ test a whole model: causal, any length, cached, with weights that are awake;
# - ✓ read research code with tests: first the control, then one law after the other; and with thanks.
#
# **Practise:** the [exercises](../exercises/11_full_model.ipynb) of this lesson: five, in about 70 minutes.
#
# **Play:** write a schedule of your own for 64 positions, with folds of at most 4, in which every position hears everything after *three* layers, with as few numbers
# in $W$ as you can. `viz.receptive_field` is the judge. Why the limit? Try `((1, 64),) * 3`: who does the listening there?
#
# <details><summary>The answer</summary>The convolution of the fold. Dealt to 64, each sequence holds one position, so the unit reads nobody else. But the convolution mixes each position with the 63 before it, and one layer of it hears everything.</details>
# <br>
#
# **Next:** two steps are a proof, not a training. [Lesson 12](12_scaling_up.ipynb) takes training to real hardware: half the bits for a number, several processes, a
# compiler, and asks after each whether it still computes the same.
