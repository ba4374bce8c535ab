# %% [markdown]
# # 03 · Residual blocks: how do we go deep?
#
# *45 minutes. You need: [lesson 02](02_causal_masking.ipynb), the causal unit, and what a gradient is.*
#
# When you are done you can
#
# 1. build the **gMLP block** around the causal unit;
# 2. show why a plain stack of sixteen blocks does not learn, by listening in every layer;
# 3. mend it with a **residual** connection, and say what is still wrong;
# 4. mend that with a **norm**, and show why its place matters;
# 5. explain **GEGLU**, a gate inside one token, and what it is good at.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from gmlp import CausalSGU, count_bits, load_corpus, sample_batch, split_corpus, viz

train_text, valid_text = split_corpus(load_corpus("pydocs"))
n, d = 32, 64  # positions, channels

# %% [markdown]
# ## 3.1 The gMLP block
#
# Our network of lesson 02 was: widen the channels, let the positions talk, narrow them again. Wrapped up as a
# module with as many channels going out as come in, it can be stacked. With two matrices $U$ and $V$ (which have
# nothing to do with the halves $u$ and $v$ inside the unit):
#
# $$Z = \mathrm{GELU}(x\,U), \qquad out = \mathrm{SGU}(Z)\,V$$
#
# The unit halves its channels, from `dim_ff` to `dim_ff / 2`. So we widen first. (`ff`: feed-forward, the usual name of the wide middle.)


# %%
class MyBlock(nn.Module):
    def __init__(self, dim, dim_ff, seq_len):
        super().__init__()
        self.proj_in = nn.Sequential(nn.Linear(dim, dim_ff), nn.GELU())  # U
        self.sgu = CausalSGU(dim_ff, seq_len)
        self.proj_out = nn.Linear(dim_ff // 2, dim)  # V

    def forward(self, x):  # (b, n, d)
        x = self.proj_in(x)  # (b, n, dim_ff)
        x = self.sgu(x)  # (b, n, dim_ff / 2)
        return self.proj_out(x)  # (b, n, d)


torch.manual_seed(0)
block = MyBlock(d, 4 * d, n)
x = torch.randn(2, n, d)
for name, part in block.named_children():
    print(f"{name:9} {sum(p.numel() for p in part.parameters()):6,} parameters")
print("in", tuple(x.shape), "out", tuple(block(x).shape))

# %% [markdown]
# Same shape in and out. Why stack them? One block multiplies what stands at a position by *one* sum over itself and what came before. A second
# block does so with the results of the first: it can ask about combinations, a third about combinations
# of those.
#
# ## 3.2 Deep and deaf
#
# So let us stack sixteen. `make_layer` makes one layer, now a block, later a block with what we put around it; the layers stand between an embedding
# and a linear layer that scores the next byte. (The `LayerNorm` before that brings the numbers to a standard size, whatever
# happened in between. Norms get their due in 3.4.)


# %%
def stack(make_layer, depth):
    torch.manual_seed(0)
    layers = [make_layer() for _ in range(depth)]
    return nn.Sequential(nn.Embedding(256, d), *layers, nn.LayerNorm(d), nn.Linear(d, 256))


def bits(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)


def fit(model, steps=40, lr=1e-2):
    """Train a little; returns the mean loss over the last ten steps, in bits per byte."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        inputs, targets = sample_batch(train_text, 16, n, seed=step)
        loss = bits(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10


def plain():
    return MyBlock(d, 4 * d, n)


for depth, name in ((0, "no block"), (16, "sixteen blocks")):
    count = sum(p.numel() for p in stack(plain, depth).parameters())
    print(f"{name:14} {count:7,} parameters")

# %% [markdown]
# **Predict:** no block at all, one block, sixteen blocks; forty steps each. How many bits for each? (No block is not nothing: the embedding and
# the scores still see the current byte.)
#
# For comparison, the bits of somebody who knows how common each byte is and no more (lesson 00, zero bytes
# of context). That number is taken on the validation part; ours are taken while training, on windows that are new at each step.

# %% tags=["nbval-ignore-output"]
counted, short = count_bits(train_text, valid_text, 0), {}
print(f"counting single bytes {counted:.1f} bits per byte")
for depth, name in {0: "no block", 1: "one block", 16: "sixteen blocks"}.items():
    short[depth] = fit(stack(plain, depth))
    print(f"{name:21} {short[depth]:.1f} bits per byte")
assert short[16] > max(short[0], short[1]) + 0.5 and short[16] > counted - 0.2

# %% [markdown]
# Sixteen blocks can say everything that one can, and more. Yet they do worse than no block at all, and no better than counting single bytes, which needs no input. It is
# as if the input did not get through. (One block gains next to nothing in forty steps; in 3.4 it gets more of them.)
#
# Let us see. Two numbers for each layer of a fresh stack. **Forward**: how different are the vectors that stand at the same position of
# different windows (their standard deviation)? If all are alike, the layer is told nothing about the text. **Backward**: how strongly does the loss react
# to a small change of what enters the layer? That is the length of the gradient. (`retain_grad` tells PyTorch to keep a gradient
# that it would throw away.)


# %%
def listen(model):
    inputs, targets = sample_batch(train_text, 16, n, seed=0)
    x, entering = model[0](inputs), []
    for layer in model[1:-2]:  # without the embedding, the last norm and the scores
        x.retain_grad()
        entering.append(x)
        x = layer(x)
    bits(model[-1](model[-2](x)), targets).backward()
    # In 64 bits, since the differences may be tiny beside the numbers themselves.
    forward = [x.detach().double().std(dim=0).mean().item() for x in entering]
    backward = [x.grad.norm().item() for x in entering]
    model.zero_grad()
    return forward, backward


forward, backward = listen(stack(plain, 16))
layers = range(1, 17)
viz.curves(
    {"forward: differences": (layers, forward), "backward: gradient": (layers, backward)},
    xlabel="layer",
    ylabel="size",
    log_y=True,
    alt="A fresh plain stack on a log scale. Going forward, the differences fall by nearly nine "
    "powers of ten and level off at layer 12; going backward, the gradient falls by eleven from "
    "layer 16 to 1, in a straight line",
)

# %%
powers = math.log10(forward[0] / forward[-1]), math.log10(backward[-1] / backward[0])
print(f"powers of ten lost: {int(powers[0])} forward, {int(powers[1])} backward")
each = (backward[0] / backward[-1]) ** (1 / 15)  # 15 times this factor, from layer 16 to 1
print(f"each layer passes on {each:.2f} of the gradient")
assert powers[0] > 7 and powers[1] > 9

# %% [markdown]
# Lost in both directions. A layer with small random weights shrinks what passes through it, by about the same factor each time; sixteen such
# factors make nothing. (Forward, the curve stops falling where the rounding of 32-bit numbers begins.) The last layers get gradients but see no differences; the first ones see the differences but get no gradient. The
# second half of this has a name: the **vanishing gradient**.
#
# Could the last `LayerNorm` not bring the differences back? No: it scales the whole vector, and nearly all of that is the same in every window, as it comes from the biases of the linear layers.
#
# ## 3.3 The residual: let it through
#
# The remedy is one plus sign. Do not replace $x$ by what the layer computes; *add* it:
#
# $$out = x + f(x)$$
#
# Forward, $x$ itself goes on. Backward, the derivative is $1 + f'$, and the 1 does not fade, however many layers there are. In numbers, for sixteen layers with $f' = 0.1$:


# %%
class MyResidual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return x + self.fn(x)


print(f"without: 0.1 ** 16 = {0.1**16:.0e}   with: 1.1 ** 16 = {1.1**16:.1f}")


def residual():
    return MyResidual(plain())


_, backward_residual = listen(stack(residual, 16))
assert 0.2 < backward_residual[0] / backward_residual[-1] < 5
viz.curves(
    {"plain": (layers, backward), "residual": (layers, backward_residual)},
    xlabel="layer",
    ylabel="gradient",
    log_y=True,
    alt="Gradient by layer on a log scale. From layer 16 down to layer 1 plain falls in a "
    "straight line by about eleven powers of ten; residual is flat.",
)

# %% [markdown]
# The gradient goes from right to left. In the plain stack it falls in a straight line, on a log scale: a constant factor for each
# layer. With the residual it is flat: the first layer hears as well as the last.
#
# Must it be sixteen? Here are all stacks from one layer to sixteen. **From how many plain layers on does the first one get less than a
# thousandth of the gradient?** Move the slider to the left, and read the sentence below.


# %% tags=["nbval-ignore-output"]
def gradients(make_layer):
    return [listen(stack(make_layer, depth))[1] for depth in range(1, 17)]


heard = {"plain": gradients(plain), "residual": gradients(residual)}
shares = [sizes[0] / sizes[-1] for sizes in heard["plain"]]
assert shares[3] > 1e-3 > shares[4]  # four layers, five layers
viz.gradient_by_depth(heard)

# %% [markdown]
# <details><summary>The answer</summary>From five on. From the fifth layer to the first it is four steps; each passes on about a sixth, and a sixth of a sixth of a sixth of
# a sixth is less than a thousandth.</details>
# <br>
#
# **Predict:** sixteen residual blocks, once with the learning rate 0.003 and once with 0.01. Do both learn?

# %% tags=["nbval-ignore-output"]
table, trained = {}, {}


def compare(name, make_layer):
    for rate in (3e-3, 1e-2):
        trained[name] = stack(make_layer, 16)  # the last one stays: the large rate
        table[name, rate] = fit(trained[name], lr=rate)
    print(f"{name:9}  rate 0.003: {table[name, 3e-3]:.1f}   rate 0.01: {table[name, 1e-2]:.1f}")


compare("plain", plain)
compare("residual", residual)
assert short[0] < table["residual", 3e-3] < table["plain", 3e-3] - 0.3
assert table["residual", 3e-3] < table["residual", 1e-2] - 0.3

# %% [markdown]
# Half a success. At the small learning rate it learns something, where the plain stack learns no more than how common each byte is. At the large one most of that is lost again. And no block at all was still better: forty
# steps are few for sixteen layers. First they must learn at all; whether depth pays, we ask below.
#
# ## 3.4 The norm, and where it stands
#
# Listen once more to the residual stack, the one that was trained at the large rate.

# %% tags=["nbval-ignore-output"]
forward, _ = listen(trained["residual"])
print("differences at layers 1, 4, 7 …:", *(f"{size:.0e}" for size in forward[::3]))
assert forward[-1] > 1e4 * forward[0]

# %% [markdown]
# It has exploded. What a layer adds to $x$ grows with the $x$ that it sees (in the unit the gate is normalised, but the half $u$ is not), so what is
# large becomes larger. The last layer sees differences more than ten thousand times as large as those that the first one sees. So give each layer an
# input of standard size: normalise. But where?
#
# - *after* the sum: $\mathrm{LayerNorm}(x + f(x))$, called **post-norm**, the first Transformer's way;
# - *before* the layer, on the branch only: $x + f(\mathrm{LayerNorm}(x))$, called **pre-norm**.


# %%
class MyPreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x):
        return self.fn(self.norm(x))


def post_norm():
    return nn.Sequential(MyResidual(plain()), nn.LayerNorm(d))


def pre_norm():
    return MyResidual(MyPreNorm(d, plain()))


x = 1000 * torch.randn(2, n, d)
seen = MyPreNorm(d, nn.Identity())(x)  # with nothing as f: what any f would see
print(f"numbers of size {x.std():,.0f} come in, f sees numbers of size {seen.std():.1f}")


# %% [markdown]
# **Predict:** which of the two will learn at the large rate?

# %% tags=["nbval-ignore-output"]
compare("post-norm", post_norm)
compare("pre-norm", pre_norm)

# %%
large = {name: table[name, 1e-2] for name in trained}
assert large["pre-norm"] < min(large[k] for k in large if k != "pre-norm") - 0.3
print("best at the large rate:", min(large, key=large.get))

# %% [markdown]
# At the small rate all three residual stacks are about equal. At the large one only pre-norm keeps what it had. It has two things at once: $x$ is never rescaled on its way (in
# post-norm it is), and every layer sees numbers of standard size (without a norm it does not). So this is what a norm on the branch buys: training bears larger steps. Listen to all three, after their training at the large rate:

# %%
heard = {name: listen(trained[name]) for name in ("residual", "post-norm", "pre-norm")}
viz.curves(
    {name: (layers, forward) for name, (forward, _) in heard.items()},
    xlabel="layer",
    ylabel="differences after training",
    log_y=True,
    alt="Differences by layer, after forty steps at the large rate, on a log scale. Residual "
    "explodes, by more than four powers of ten up to layer 16; pre-norm grows to about ten; "
    "post-norm does not grow",
)
last = {name: forward[-1] for name, (forward, _) in heard.items()}
assert last["residual"] > 100 * last["pre-norm"] > 100 * last["post-norm"]

# %% [markdown]
# In pre-norm the sum still grows, but gently, and no layer ever sees its size.
#
# And post-norm? Its numbers are the tamest of all, and still it does not learn at this rate. Our instrument does not show why, so we only
# note it. (Xiong et al. 2020, [On Layer Normalization in the Transformer Architecture](https://arxiv.org/abs/2002.04745), find the reason in the first
# steps, and a remedy: a slow start, which lesson 04 calls warm-up. We choose what works at once.)
#
# Does depth pay, then? With eight layers, which take half the time of sixteen, and over a somewhat longer run, at the small rate:

# %% tags=["nbval-ignore-output"]
longer = {}
for depth, name in {0: "no layer", 1: "one layer", 8: "eight layers"}.items():
    longer[depth] = fit(stack(pre_norm, depth), 150, lr=3e-3)
    print(f"{name:12} {longer[depth]:.2f} bits per byte")
assert longer[8] < longer[1] < longer[0]

# %% [markdown]
# A little, in this one run. The main gain is another: a deep model can now be trained at all.
#
# One layer of all our models from here on:

# %%
viz.residual_blocks_diagram()

# %% [markdown]
# In code, with the names of the package (3.6): `Residual(PreNorm(dim, gMLPBlock(dim, dim_ff, sgu)))`.
#
# ## 3.5 A side room: GEGLU, a gate inside one token
#
# The unit gates one half of the channels by what *other positions* say. It has a small sibling that stays within
# one position: one half of the channels gates the other. It has nothing to do with depth; we build it here because it is made of the same two steps, split and multiply, and lesson 10 needs it.
#
# $$value, gate = \mathrm{split}(x), \qquad out = value \odot \mathrm{GELU}(gate)$$


# %%
class MyGEGLU(nn.Module):
    def forward(self, x):
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


print(MyGEGLU()(torch.tensor([5.0, 5.0, 5.0, -3.0, 0.0, 3.0])))

# %% [markdown]
# Three times a 5: the first all but shut off by its gate of −3, the second shut off by 0, the third let through, about tripled.
#
# What is it good for? Products. Two such gates together compute an exact product, because $\mathrm{GELU}(g) - \mathrm{GELU}(-g) = g$:

# %%
value, g = torch.tensor([2.0, -3.0]), torch.tensor([4.0, 0.5])
print(value * F.gelu(g) - value * F.gelu(-g), value * g)

# %% [markdown]
# So give a per-token network eight random numbers and ask for each times its neighbour. One network has GELU, the other GEGLU. GEGLU needs a
# value and a gate, so its first layer has twice the outputs. To keep the number of parameters about the same, we make the middle two thirds as wide. (Such a network, widen, bend or gate, narrow, is called a **feed-forward** layer.)


# %%
def plain_feed_forward(dim, mult=4):
    return nn.Sequential(nn.Linear(dim, dim * mult), nn.GELU(), nn.Linear(dim * mult, dim))


def geglu_feed_forward(dim, mult=4):
    inner = int(dim * mult * 2 / 3)
    return nn.Sequential(nn.Linear(dim, 2 * inner), MyGEGLU(), nn.Linear(inner, dim))


def learn_products(network, steps=400):
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        x = torch.randn(256, 8)
        error = F.mse_loss(network(x), x * x.roll(1, dims=1))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    return error.item()


# %% [markdown]
# **Predict:** who is better at products, by a little or by a lot? (Always saying 0 gives an error of 1, the variance of a product of two
# independent standard normal numbers.)

# %%
errors, feed_forwards = {}, {"GELU": plain_feed_forward(8), "GEGLU": geglu_feed_forward(8)}
for name, network in feed_forwards.items():
    torch.manual_seed(0)
    count = sum(p.numel() for p in network.parameters())
    errors[name] = learn_products(network)
    print(f"{name:6} {count} parameters")

# %% tags=["nbval-ignore-output"]
print({name: round(error, 4) for name, error in errors.items()})
assert errors["GEGLU"] < errors["GELU"] / 4

# %% [markdown]
# Many times better. A sum of bent lines can only come near a product; a gate is made for it. Do not conclude that GEGLU is always so much
# better: we picked the task that suits it. On text its advantage is real but small (Shazeer 2020,
# [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202), measured it).
#
# ## 3.6 The finished module

# %%
import inspect

from gmlp import GEGLU, FeedForward, PreNorm, Residual, gMLPBlock

for part in (Residual, PreNorm, GEGLU, gMLPBlock):
    print(f"class {part.__name__}:\n{inspect.getsource(part.forward)}")

# %% [markdown]
# `gMLPBlock` takes the unit as an argument, so that later lessons can put another one in. Two of its parts do nothing yet: `attn`, which lesson 06
# brings (without it `gate_res` is empty, and `*gate_res` adds no argument), and `dropout`, which waits for lesson 09. (`.contiguous()` lays the gate out in one piece of memory.) Give the finished
# layer the weights of yours and compare; the names of the parts are the same. `FeedForward(dim)` is your `geglu_feed_forward`, kept in `.net`.

# %%
x = torch.randn(2, n, d)
yours = pre_norm()
finished = Residual(PreNorm(d, gMLPBlock(d, 4 * d, CausalSGU(4 * d, n))))
finished.load_state_dict(yours.state_dict())
assert torch.equal(finished(x), yours(x))
torch.testing.assert_close(GEGLU()(x), MyGEGLU()(x))

feed_forward = FeedForward(8)
feed_forward.net.load_state_dict(feed_forwards["GEGLU"].state_dict())
torch.testing.assert_close(feed_forward(x[..., :8]), feed_forwards["GEGLU"](x[..., :8]))
print("layer, GEGLU and feed-forward: equal to yours")

# %% [markdown]
# And a stack of them is still causal, because every layer is: a change at position 20 moves nothing before it.

# %%
deep = nn.Sequential(*(pre_norm() for _ in range(4)))
changed = x.clone()
changed[:, 20] = -x[:, 20]
moved = (deep(x) - deep(changed)).abs().amax((0, 2)).nonzero().flatten().tolist()
print("moved:", *moved)
assert moved == list(range(20, n))

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. Sixteen plain blocks learned less than no block at all. Why?**
#
# <details><summary>They have so many parameters that they learned the text by heart.</summary>No: then the loss in training would have been low, and it was high.</details>
# <details><summary>Sixteen blocks cannot say what a single one can.</summary>No: they could say it, and more; they are not able to learn it.</details>
# <details><summary>What tells the windows apart fades on the way up, and the gradient fades on the way down.</summary>Right: the last layers see no differences, and the first ones get no gradient.</details>
# <br>
#
# **2. Why does the gradient reach the first of sixteen residual layers?**
#
# <details><summary>Adding x makes the derivative of f larger.</summary>No: f and its derivative are what they were; what is new stands beside them.</details>
# <details><summary>The derivative of a step is 1 + f', and the 1 does not fade.</summary>Right: however many layers there are, one way down goes through none of them.</details>
# <details><summary>The residual brings each gradient to a standard size.</summary>No: nothing is rescaled; the gradient of the output is handed down as it is, with something added.</details>
# <br>
#
# **3. Where does the norm of a pre-norm layer stand, and what does that give?**
#
# <details><summary>Before f, on the branch: f sees numbers of standard size, and x passes untouched.</summary>Right: the sum may grow from layer to layer, but no layer ever sees its size.</details>
# <details><summary>After the sum: x has standard size in every layer.</summary>No: that is post-norm, where x is rescaled at each layer and nothing passes untouched.</details>
# <details><summary>Behind f, on the branch: what is added always has the same size.</summary>No: then f itself would see an x that grows from layer to layer.</details>
# <details><summary>Before f and around it: both x and what f reads are normalised.</summary>No: x itself must not be normalised, or it is rescaled on its way from layer to layer.</details>
#
# ## What you can do now
#
# - ✓ build the gMLP block: widen, talk, narrow;
# - ✓ show a plain stack losing its message in both directions, a constant factor for each layer;
# - ✓ mend it: $x + f(x)$ has a derivative with a 1 in it; but in training the sum explodes;
# - ✓ place the norm on the branch, $x + f(\mathrm{LayerNorm}(x))$, and show what it buys there: training bears larger steps;
# - ✓ explain GEGLU: it multiplies where others must approximate.
#
# **Practise:** the [exercises](../exercises/03_residual_blocks.ipynb) of this lesson: five, in about 60 minutes.
#
# **Next:** all parts are there. [Lesson 04](04_training.ipynb) puts them together and trains a language model properly, beside
# a Transformer of nearly twice the size.
