# %% [markdown]
# # 09 · Layer dropout: can we skip layers while training?
#
# *50 minutes. You need: [lesson 03](03_residual_blocks.ipynb), residual layers, and [lesson 04](04_training.ipynb), training.*
#
# When you are done you can
#
# 1. say what **dropout** does in training and what it does afterwards, and recognise a forgotten `eval()`;
# 2. skip whole layers, and say why only residual layers bear it;
# 3. foretell how many layers take part, and never be left with none;
# 4. say what **layer dropout** buys, and what it costs;
# 5. write a test that proves that an argument of a model does anything at all.

# %%
import time
from statistics import median

import torch
from torch import nn

from gmlp import (
    CausalSGU,
    LanguageModel,
    PreNorm,
    Residual,
    bits_per_byte,
    count_bits,
    encode,
    evaluate,
    gMLPBlock,
    load_corpus,
    sample_batch,
    split_corpus,
    train,
    viz,
)

train_text, valid_text = split_corpus(load_corpus("pydocs"))
n, d, depth = 32, 48, 6  # positions, channels, layers


# %% [markdown]
# ## 9.1 Dropping numbers
#
# A model with many weights can learn its training text by heart. An old remedy is to disturb it: in every training step, set some of the numbers
# that pass through to zero, at random. The network can rely on no single number, so it spreads the work. That is **dropout** (Srivastava et al. 2014,
# [Dropout](https://jmlr.org/papers/v15/srivastava14a.html)).
#
# **Predict:** half of a thousand ones become zero. What has to happen to the other half, so that the layer that comes next sees the same mean as before?

# %%
torch.manual_seed(0)
dropout = nn.Dropout(0.5)  # 0.5: the chance of a number to be dropped
ones = torch.ones(1000)
dropped = dropout(ones)
print("values:", sorted(dropped.unique().tolist()))
print("zeros near half:", abs((dropped == 0).float().mean().item() - 0.5) < 0.05)
print("mean near one:  ", abs(dropped.mean().item() - 1) < 0.1)

# %% [markdown]
# The others are doubled: what survives is divided by its chance to survive, $p$. PyTorch is given the other chance, $1 - p$. (It calls that one `p`; we call it `drop`, and keep $p$ for surviving.) By hand:


# %%
def my_dropout(x, drop):
    kept = torch.rand_like(x) >= drop
    return x * kept / (1 - drop)


print("values:", sorted(my_dropout(ones, 0.75).unique().tolist()))

# %% [markdown]
# That is for training. When the model has to answer, nobody wants chance in it. Every PyTorch module knows which of the two is meant:
# The methods `train()` and `eval()` (not our function `train`) set a flag, `module.training`, in the module and in all of its parts.

# %%
dropout.eval()
print("in eval nothing changes:", torch.equal(dropout(ones), ones))
dropout.train()
print("in training it does:    ", not torch.equal(dropout(ones), ones))

# %% [markdown]
# The blocks of lesson 03 have a `dropout` that we left at 0. It stands at the end of the block, on what is added to the **stream**: the $x$ that runs from the first layer to the
# last, and to which each layer adds.

# %%
torch.manual_seed(0)
block = gMLPBlock(d, 4 * d, CausalSGU(4 * d, n), dropout=0.5)
x = torch.randn(2, n, d)
zeros = (block(x) == 0).float().mean().item()
print("about half of a block's outputs are zero:", abs(zeros - 0.5) < 0.05)

# %% [markdown]
# ## 9.2 The forgotten `eval()`
#
# Here is a mistake that everybody makes once. A small model, with dropout, trained for a few seconds. It is validated three times on the same text, by
# somebody who wrote the loop himself and forgot one line.


# %%
def layer(dropout=0.0):
    return Residual(PreNorm(d, gMLPBlock(d, 4 * d, CausalSGU(4 * d, n), dropout=dropout)))


run = {"context": n, "batch_size": 16, "peak": 8e-3, "warmup": 30, "progress": False}
torch.manual_seed(0)
model = LanguageModel(256, d, n, nn.Sequential(layer(dropout=0.3), layer(dropout=0.3)))
train(model, train_text, valid_text[:2048], steps=60, **run)
model.train()  # as it is in the middle of a training run

inputs, targets = sample_batch(valid_text, 64, n, seed=0)


@torch.no_grad()
def validate_by_hand():
    return bits_per_byte(model(inputs), targets).item()


# %% tags=["nbval-ignore-output"]
forgotten = [validate_by_hand() for _ in range(3)]
model.eval()
right = [validate_by_hand() for _ in range(3)]
print("forgotten:", *(f"{bits:.3f}" for bits in forgotten))
print("eval():   ", *(f"{bits:.3f}" for bits in right))

# %%
assert len(set(forgotten)) == 3 and len(set(right)) == 1
assert min(forgotten) > right[0] + 0.03
print("without eval(): three values, all of them worse")

# %% [markdown]
# No error, no warning: a validation that is a little too bad and never twice the same. If a figure wobbles that should not, look for this first. (The
# library's `evaluate` calls `eval()` itself, and afterwards sets the model back as it was.)
#
# ## 9.3 Dropping a layer
#
# Now the step from numbers to whole layers. Take one layer out of a stack of six that nobody has trained. **Predict** for the residual stack of lesson 03, and for a
# plain one (norm and block, but nothing is added): does the output change a little, or altogether?


# %% tags=["nbval-ignore-output"]
def plain():
    return nn.Sequential(nn.LayerNorm(d), gMLPBlock(d, 4 * d, CausalSGU(4 * d, n)))


def change_without(layers, k):
    """By how much the stack's output changes without layer k, as a share of its length."""
    with torch.no_grad():
        whole = nn.Sequential(*layers)(x)
        short = nn.Sequential(*layers[:k], *layers[k + 1 :])(x)
    return ((whole - short).norm() / whole.norm()).item()


changes = {}
for name, make in (("plain", plain), ("residual", layer)):
    torch.manual_seed(0)
    layers = [make() for _ in range(depth)]
    changes[name] = [change_without(layers, k) for k in range(depth)]
    print(f"{name:8}", *(f"{share:.2f}" for share in changes[name]))
assert 0.1 < max(changes["residual"]) < 0.3 < 0.5 < min(changes["plain"])

# %% [markdown]
# Without a layer the plain stack says something altogether different: the change is about as long as the output itself. The residual stack changes by a fifth, whichever
# is missing, because a layer that is skipped leaves its input as it is: $x + f(x)$ becomes $x$. In the plain stack nothing goes around a layer: without
# it, the next one is given something altogether different. (Nobody has trained these stacks, and a fresh layer adds little. How trained layers bear it, 9.6 will show.)
#
# That is an invitation. In every training step let each layer take part with probability $p$, and skip the others: **layer dropout**, or stochastic
# depth (Huang et al. 2016, [Deep Networks with Stochastic Depth](https://arxiv.org/abs/1603.09382)). What is skipped costs no time, forward or backward.
#
# ## 9.4 Never none
#
# One draw for each layer (counted from 0, as Python does):

# %%
torch.manual_seed(0)
for _ in range(4):
    alive = torch.rand(depth) < 0.5
    print("take part:", *alive.nonzero().flatten().tolist())

# %% [markdown]
# **Predict:** with $p = 0.5$ and four layers, how often does no layer at all take part?

# %%
torch.manual_seed(0)
alive = torch.rand(10_000, 4) < 0.5
none = (~alive.any(dim=1)).float().mean().item()
print(f"none: {none:.4f}   by pencil: {(1 - 0.5) ** 4:.4f}")
assert abs(none - 0.5**4) < 0.01

# %% [markdown]
# $(1 - p)^L$ for $L$ layers: here one pass in sixteen. Such a pass trains only the embedding, the last norm and the logits. So one layer has to
# stay. Which? The easiest is the first. **What is wrong with that?** Count how often each layer takes part, in 10,000 passes with $p = 0.3$:


# %%
def keep_the_first(p, layers):
    alive = torch.rand(layers) < p
    if not alive.any():
        alive[0] = True
    return alive


def keep_the_closest(p, layers):
    draws = torch.rand(layers)
    alive = draws < p
    if not alive.any():
        alive[draws.argmin()] = True  # the one that came closest to taking part
    return alive


shares = {}
for keep in (keep_the_first, keep_the_closest):
    torch.manual_seed(0)
    shares[keep] = torch.stack([keep(0.3, 4) for _ in range(10_000)]).float().mean(dim=0)
    print(f"{keep.__name__:17}", *(f"{share:.2f}" for share in shares[keep].tolist()))
assert shares[keep_the_first][0] > shares[keep_the_first][1] + 0.2
assert shares[keep_the_closest].max() - shares[keep_the_closest].min() < 0.03

# %% [markdown]
# Kept by habit, the first layer takes part almost twice as often as the others, and so is trained almost twice as much. The layer whose draw came closest
# is another one each time.
#
# How many take part on average? Without the rule $p L$. The rule adds one in every pass that would have none, so
#
# $$\text{expected number} = p\,L + (1 - p)^L$$
#
# **Predict** it for $p = 0.5$ and $L = 6$, then look.

# %%
torch.manual_seed(0)
counts = torch.stack([keep_the_closest(0.5, depth) for _ in range(10_000)]).sum(dim=1)
print(f"counted {counts.float().mean():.2f}   by pencil {0.5 * depth + 0.5**depth:.2f}")
assert abs(counts.float().mean() - (0.5 * depth + 0.5**depth)) < 0.05

# %% [markdown]
# Twenty-four passes, for every $p$. **At which $p$ do you first see a pass in which all six take part? And how low must $p$ be until most passes have one layer alone?** Move `p`.

# %%
viz.survivors(layers=depth)

# %% [markdown]
# <details><summary>The answer</summary>At 0.5, in one of the passes. And at 0.2: there more than half of them have one layer alone, at 0.3 not
# yet.</details>
#
# ## 9.5 In a model
#
# A list of layers that draws anew in each training pass, and is whole in `eval()`:


# %%
class MySequence(nn.Sequential):
    def __init__(self, layers, prob_survival):
        super().__init__(*layers)
        self.prob_survival = prob_survival

    def forward(self, x):
        layers = list(self)
        if self.training:
            alive = keep_the_closest(self.prob_survival, len(layers))
            layers = [layer for layer, kept in zip(layers, alive, strict=True) if kept]
        for layer in layers:
            x = layer(x)
        return x


def make_model(prob_survival):
    torch.manual_seed(0)
    layers = MySequence([layer() for _ in range(depth)], prob_survival)
    return LanguageModel(256, d, n, layers)


model = make_model(0.5)
tokens = encode("the same text, five times")[None].long()
torch.manual_seed(0)
with torch.no_grad():
    in_training = {model(tokens).sum().item() for _ in range(5)}
    model.eval()
    in_eval = {model(tokens).sum().item() for _ in range(5)}
print("five passes in training:", "several values" if len(in_training) > 1 else "one value")
print("five passes in eval:    ", "several values" if len(in_eval) > 1 else "one value")
assert len(in_training) > 1 == len(in_eval)

# %% [markdown]
# And the scaling of 9.1? Should what a layer adds be divided by $p$? One may; Huang et al. multiply by $p$ in `eval()` instead. We do neither. So more layers add to the
# stream in `eval()` than in training; the last norm of the model brings the sum back to size. The model of 9.6 learns that way.
#
# Does it save time? About half of the layers are skipped, embedding and logits never. **Predict** the share of a step's time that $p = 0.5$ saves. Some training steps of both, in
# turns:


# %% tags=["nbval-ignore-output"]
def step_time(model, optimizer, seed):
    inputs, targets = sample_batch(train_text, 64, n, seed)
    began = time.perf_counter()
    loss = bits_per_byte(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.perf_counter() - began


pairs = {p: make_model(p) for p in (1.0, 0.5)}
optimizers = {p: torch.optim.AdamW(model.parameters()) for p, model in pairs.items()}
times = {p: [] for p in pairs}
for seed in range(24):
    for p, model in pairs.items():
        times[p].append(step_time(model, optimizers[p], seed))
saved = 1 - sum(times[0.5]) / sum(times[1.0])
print(f"time saved per step: {100 * saved:.0f} %")
print(f"median step with all layers: {1000 * median(times[1.0]):.0f} ms")

# %% [markdown]
# About half: here the layers are nearly all of the work. The figure wobbles, with the machine and with the draws.
#
# ## 9.6 Train shallow, run deep
#
# Two models of six layers, the same start, the same 400 batches. One trains with all layers, the other with $p = 0.8$. **Predict:** which one is better in the
# end, with all layers in place? And which one when you take a layer out of the finished model?

# %% tags=["nbval-ignore-output"]
trained, results = {}, {}
for p in (1.0, 0.8):
    model = make_model(p)
    torch.manual_seed(1)  # for the draws
    history = train(model, train_text, valid_text[:8192], steps=400, eval_every=400, **run)
    trained[p], results[p] = model, history[-1]
    print(
        f"p = {p}: {results[p].valid_bits:.2f} bits per byte after "
        f"{results[p].cpu_seconds:.0f} CPU seconds"
    )


# %% tags=["nbval-ignore-output"]
def bits_without(model, k):
    layers = list(model.blocks)
    short = LanguageModel(256, d, n, nn.Sequential(*layers[:k], *layers[k + 1 :]))
    for part in ("embed", "norm", "to_logits"):  # the same parts around fewer layers
        setattr(short, part, getattr(model, part))
    return evaluate(short, valid_text[:8192], n)


without = {}
for p, model in trained.items():
    without[p] = [bits_without(model, k) for k in range(depth)]
    print(f"p = {p}, without layer 0, 1, …:", *(f"{bits:.2f}" for bits in without[p]))
lost = {p: [bits - results[p].valid_bits for bits in without[p]] for p in trained}
viz.curves(
    {f"trained with p = {p}": (range(depth), lost[p]) for p in trained},
    xlabel="layer that is taken out",
    ylabel="bits per byte lost",
    alt="What is lost when one of six layers is taken out. Trained with all layers, taking "
    "out the first costs more than one bit, the second nearly half of one, the others little. "
    "Trained with layer dropout, the first costs a few tenths, the others almost nothing.",
)

# %%
assert results[1.0].valid_bits < results[0.8].valid_bits
assert max(lost[1.0]) > max(lost[0.8]) + 0.4
print("better with all layers: p = 1.0")
better = min(without, key=lambda p: max(without[p]))
print("better without the layer it misses most: p =", better)
assert max(without[1.0]) > count_bits(train_text, valid_text, 1)
print("p = 1.0 without that layer: worse than counting with one byte of context")

# %% [markdown]
# Two answers. After the same number of steps the model with layer dropout is the worse one; and it misses none of its layers much. The model with $p = 1$ depends on its first: without that you are
# better off with counting, as in lesson 00. (Without one of its later layers it is still ahead of the other model with all six.) With layer dropout the two expensive cuts
# cost far less, and *any* cut is bearable.
#
# Be honest about what that buys. In so few steps no text is seen more than a few times, so there is little to learn by heart and little for dropout to prevent, and each step teaches
# fewer layers (how much of the loss is the missing scaling of 9.5 we have not measured). Huang et al. trained networks of more than a hundred layers for hundreds of passes over the same pictures; there it made them better *and* faster. For you, here: a cheaper step,
# and a model from which you may cut *any* layer afterwards (Fan et al. 2019, [Reducing Transformer Depth on Demand](https://arxiv.org/abs/1909.11556), made that their aim). If you only ever cut a late one, you were better off without layer dropout. Which $p$ is best depends on depth, data and budget; measure.
#
# ## 9.7 Does it do anything?
#
# An argument that is never read raises no error. Then a whole study may be made of a number that does nothing. The names in our course come from a small public research package,
# `g-mlp-gpt` (lesson 11 reads all of it, with thanks to its authors). Its model has an argument `prob_survival`. What would a test have to show? **Write down yours first.**
#
# <details><summary>One test</summary>The same input, five passes in training mode, <code>prob_survival=0.3</code>: if layers are drawn, not all five outputs are equal. With six layers, the chance
# that all five draws agree by accident is tiny.</details>


# %%
def draws_layers(model, tokens):
    """Whether training passes over the same tokens differ."""
    model.train()
    with torch.no_grad():
        return len({model(tokens).sum().item() for _ in range(5)}) > 1


torch.manual_seed(0)
print("our model, p = 0.3:", draws_layers(make_model(0.3), tokens))
print("our model, p = 1:  ", draws_layers(make_model(1.0), tokens))

# %%
try:
    from g_mlp_gpt import gMLPGPT as Original
except ImportError:
    print("g-mlp-gpt is not installed here (pip install g-mlp-gpt==0.0.15): skipped")
else:
    torch.manual_seed(0)
    sizes = {"num_tokens": 256, "dim": d, "depth": depth, "seq_len": n, "heads": 1}
    original = Original(**sizes, prob_survival=0.3)
    draws = draws_layers(original, tokens)
    print("the research package, p = 0.3:", draws)
    assert not draws

# %% [markdown]
# Not one pass differs: one value, five times. At every call the model gives its list of layers a probability of dropping, and the list ignores it. The list uses a number of its own, given when it is made. The model gives none, so it is the default, 0: nothing is dropped. A single line of a test would have told; nothing else did. Nobody is to blame: research code is
# written to find something out, and its authors were looking elsewhere. (With `reversible=True` the package does draw layers; lessons 10 and 11 come to that.)
#
# **The rule to keep:** for each argument of a model that you write, one test that fails if the argument is ignored.
#
# ## 9.8 The finished module

# %%
import inspect

from gmlp import SequentialSequence, dropout_layers

print(inspect.getsource(SequentialSequence.forward))

# %% [markdown]
# `dropout_layers(layers, prob_survival)` is your draw. Two things are added: it refuses a probability that makes no sense, and where several processes train one model (lesson 12)
# the first one draws for all of them. From the same seed yours and ours keep the same layers:

# %%
for seed in range(200):
    for p in (0.1, 0.5, 0.9):
        torch.manual_seed(seed)
        mine = keep_the_closest(p, depth).nonzero().flatten().tolist()
        torch.manual_seed(seed)
        assert dropout_layers(range(depth), p) == mine
print("600 draws: equal to yours")

for wrong in (0.0, 1.5):
    try:
        dropout_layers(range(depth), wrong)
    except ValueError as error:
        print(error)

# %%
finished = LanguageModel(
    256, d, n, SequentialSequence([layer() for _ in range(depth)], prob_survival=0.5)
)
model = make_model(0.5)
finished.load_state_dict(model.state_dict())
for seed in range(5):
    torch.manual_seed(seed)
    mine = model(inputs)
    torch.manual_seed(seed)
    assert torch.equal(finished(inputs), mine)
assert torch.equal(finished.eval()(inputs), model.eval()(inputs))
print("equal to yours, in training and in eval")

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. You compute the validation loss of a finished model three times on the same text, and get three values. What do you look for first?**
#
# <details><summary>A learning rate that is too high.</summary>No: no weight changes while you validate, so the rate plays no part.</details>
# <details><summary>A survivor's number that was not divided by <code>p</code>.</summary>No: a wrong scale gives a wrong value, but the same one each time.</details>
# <details><summary>A forgotten <code>eval()</code>.</summary>Right: dropout is still drawing, and each pass gets other draws.</details>
# <br>
#
# **2. Why does a stack of residual layers bear it when one is skipped?**
#
# <details><summary>Because the input of a layer that is skipped goes on as it is.</summary>Right: <code>x + f(x)</code> becomes <code>x</code>, and the next layer finds what it is used to.</details>
# <details><summary>Because the norm makes all layers do the same.</summary>No: the layers learn different things; the plain stack of the chapter has norms as well, and does not bear it.</details>
# <details><summary>Because the other layers are scaled up by one over <code>p</code>.</summary>No: the lesson scales nothing; even an untrained residual stack changes only a little.</details>
# <br>
#
# **3. No layer survived the draw. Why not simply keep the first one?**
#
# <details><summary>Because then more layers would take part on average.</summary>No: the number is the same, whichever layer is kept.</details>
# <details><summary>Because the first layer is the one that is missed least.</summary>No: in the chapter's model it is missed most; but that is not the point of the rule.</details>
# <details><summary>Because a pass with the first layer alone trains nothing.</summary>No: it trains that layer, and the embedding and the logits with it.</details>
# <details><summary>Because it would take part more often than the others, and be trained more.</summary>Right: the layer whose draw came closest is another one each time, so all have the same share.</details>
#
# ## What you can do now
#
# - ✓ say what dropout does in training and afterwards, and find a forgotten `eval()` by figures that wobble;
# - ✓ skip layers of a residual stack, and say why a plain one does not bear it;
# - ✓ foretell the number of layers, $p L + (1 - p)^L$, and keep one of them fairly;
# - ✓ say what layer dropout gives (cheaper steps, layers that can be cut) and takes (it learns less from each step);
# - ✓ test that an argument does something.
#
# **Practise:** the [exercises](../exercises/09_layer_dropout.ipynb) of this lesson: five, in about 55 minutes.
#
# **Next:** to train a deep model, PyTorch keeps what every layer computed until the backward pass. Lesson 10 asks whether it must.
