# %% [markdown]
# # 10 · Reversible layers: can we forget the activations?
#
# *60 minutes. You need: [lesson 03](03_residual_blocks.ipynb), the layers and what a gradient is; for 10.7 dropout, which lesson 09 explains.*
#
# When you are done you can
#
# 1. count the bytes that a forward pass keeps for the backward pass, and say why it keeps them;
# 2. build two streams that can be computed back, whatever the layers in them do, and undo them in the right order;
# 3. write a backward pass of your own that forgets the activations and gives the same gradients;
# 4. say what this costs: time, rounding, and a trap with dropout;
# 5. decide between keeping, checkpointing and reversing.

# %%
import time

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from gmlp import CausalSGU, FeedForward, PreNorm, gMLPBlock, viz

b, n, d = 4, 64, 64  # texts in a batch, positions, channels


def gmlp_layer(dropout=0.0):  # of lesson 03, without the residual: (b, n, d) -> (b, n, d)
    return PreNorm(d, gMLPBlock(d, 4 * d, CausalSGU(4 * d, n), dropout=dropout))


torch.manual_seed(0)
x = torch.randn(b, n, d, requires_grad=True)
print(f"x has {x.nbytes:,} bytes")

# %% [markdown]
# ## 10.1 What a forward pass leaves behind
#
# The backward pass walks the forward pass in the opposite direction, and at each step it needs to know what happened there. The derivative of $a \cdot c$
# with respect to $a$ is $c$; so when you multiply, PyTorch puts $c$ aside. It lets us watch: `saved_tensors_hooks` takes a function that is called with
# each tensor that is put aside, and a second one for when it is taken out again.
#
# **Predict:** a sum, a product, an exponential. Which of them keep something, and what?


# %%
def look(tensor):
    print("   keeps", [round(number, 1) for number in tensor.tolist()])
    return tensor


a = torch.tensor([1.0, 2.0], requires_grad=True)
c = torch.tensor([5.0, 7.0], requires_grad=True)
with torch.autograd.graph.saved_tensors_hooks(look, lambda tensor: tensor):
    print("a + c")
    _ = a + c
    print("a * c")
    _ = a * c
    print("exp(a)")
    _ = torch.exp(a)

# %% [markdown]
# The sum keeps nothing: its derivative is 1, whatever came in. The product keeps both factors. And `exp` keeps neither 1 nor 2, but its *output*,
# because the derivative of $e^x$ is $e^x$. Remember that one: sometimes the output tells all that the input could.
#
# What a network computes on its way, from the first layer to the last, is called its **activations**. Let us count those that are kept. Tensors that are views
# of one another share their memory, the **storage**, so we count storages. Parameters do not count: they are there anyway.
#
# **Predict:** one layer takes `x` and gives back a tensor of the same size. How many times the size of `x` does it keep: 1, 2, 5, or more?


# %%
def kept_sizes(run, x, layers):
    """Bytes of each storage that run(x, layers) keeps for its backward pass."""
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()  # by its address: each counts once
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = run(x, layers)  # as long as out lives, so does what was kept
    assert out.requires_grad  # otherwise nothing is kept, and nothing is learned from it
    own = {parameter.untyped_storage().data_ptr() for parameter in layers.parameters()}
    return [size for address, size in kept.items() if address not in own]


def one_stream(x, layers):
    for f in layers:
        x = x + f(x)
    return x


sizes = kept_sizes(one_stream, x, nn.ModuleList([gmlp_layer()]))
print("in sizes of x:", *(f"{size / x.nbytes:.2g}" for size in sizes))
print(f"together: {sum(sizes) / x.nbytes:.1f}")

# %% [markdown]
# Sixteen times. The block widens to four times the channels, and both what enters the GELU and what leaves it are kept: the two fours. Three tensors in the unit
# have twice the size of `x`. (The small ones are means and deviations of norms, and the masked $W$.)
#
# That was one layer. **Predict:** what do 2, 4, … 32 layers keep? And in a model of middling size (24 layers, 512 channels, 32 texts of 1,024): what is larger, the activations, or all the rest, that is weights, gradients, and the
# two numbers that Adam remembers for each weight? (We take it that its layers keep 16 times their input, too.)

# %%
depths = (1, 2, 4, 8, 16, 32)
stack = nn.ModuleList(gmlp_layer() for _ in range(max(depths)))
for depth in depths:
    kept = sum(kept_sizes(one_stream, x, stack[:depth]))
    print(f"{depth:2} layers keep {kept / 1e6:4.1f} MB")
    assert kept == depth * sum(sizes)

texts, positions, channels, layers = 32, 1024, 512, 24
per_layer = sum(sizes) / x.nbytes  # in sizes of x
activations = layers * per_layer * texts * positions * channels
weights = layers * (4 * channels**2 + 2 * channels**2 + positions**2)  # U, V, W
rest = 4 * weights  # each weight, its gradient, and the two numbers of Adam
print(f"\nmiddling: activations {4 * activations / 1e9:.0f} GB", end="")  # 4 bytes a number
print(f", all the rest {4 * rest / 1e9:.0f} GB")

# %% [markdown]
# Exactly proportional to the depth. The first six numbers are nothing for your machine. But batch, positions, channels and depth all multiply, and it is the activations that fill the memory, not the
# weights. Each of those bytes is made, waits, and is used once.
#
# ## 10.2 Can a layer be undone?
#
# If a layer's input could be computed from its output, we need not keep it (and what is inside the layer is computed again from the input, by running it). We would keep the last output only, compute the input of the
# last layer, which is the output of the one before, and so on back to the first.
#
# Our layers have the form $out = x + f(x)$. **Predict**, with a pencil: say $f(x) = x^2$, and the output is 2. What was $x$?

# %%
for number in (1, -2):
    print(f"x = {number:2}  ->  x + x * x = {number + number * number}")

# %% [markdown]
# Both 1 and −2 give 2. From the output alone nobody can tell which it was. A real layer has more channels and a more complicated $f$, and
# in general it cannot be undone either.
#
# ## 10.3 Two streams
#
# Gomez et al. (2017, [The Reversible Residual Network](https://arxiv.org/abs/1707.04585)) found a way. Take *two* streams, $x_1$ and $x_2$, and two layers, $f$ and $g$. Each
# layer reads one stream and adds to the other:
#
# $$y_1 = x_1 + f(x_2), \qquad y_2 = x_2 + g(y_1)$$

# %%
from gmlp.viz.reversible_layers import reversible_layers_diagram

reversible_layers_diagram()

# %% [markdown]
# **Predict**, with a pencil: $f(x) = x^2$ again, $g(x) = 10 x$, and $x_1 = 3$, $x_2 = 2$. What are $y_1$ and $y_2$? Then cover the question, keep the two answers, and find
# your way back to 3 and 2. You may *call* $f$ and $g$, but solve no equation.


# %%
def f(x):
    return x * x


def g(x):
    return 10 * x


x1, x2 = 3, 2
y1 = x1 + f(x2)
y2 = x2 + g(y1)
print("there", (y1, y2))

back2 = y2 - g(y1)  # y1 is in our hands: ask g again what it had added
back1 = y1 - f(back2)  # and now x2 is in our hands, too
print("back ", (back1, back2))

# %% [markdown]
# Back at 3 and 2, and nobody took a square root. $f$ was not undone. It was called *once more, forwards*, with the very number that it had been given, and what it had added
# was taken away. So $f$ and $g$ may be anything at all, squares or gMLP blocks. Such a pair is called **reversible**.
#
# The order matters. **Predict:** you undo the two lines in the order in which they were done, first $x_1$, then $x_2$. What do you get for $x_1$?

# %%
wrong1 = y1 - f(y2)  # all that we have of the second stream is y2
wrong2 = y2 - g(wrong1)
print("first things first:", (wrong1, wrong2))
assert (wrong1, wrong2) != (x1, x2)

# %% [markdown]
# $7 - 72^2$. When $f$ was called, the second stream was still $x_2$; meanwhile it has become $y_2$. Socks and shoes: what was put on last has to come off first.
#
# Now real layers: $f$ a gMLP block behind a norm, $g$ a feed-forward layer (both from lesson 03), both streams starting as our random `x`. **Predict:** do we come back exactly?


# %%
def make_pairs(depth, dropout=0.0):
    torch.manual_seed(0)
    pairs = [[gmlp_layer(dropout), FeedForward(d, dropout=dropout)] for _ in range(depth)]
    return nn.ModuleList(map(nn.ModuleList, pairs))  # lists whose parameters PyTorch finds


@torch.no_grad()
def there_and_back(pairs, x):
    """The largest error of the two inputs that come back through all pairs."""
    y1 = y2 = x
    for f, g in pairs:
        y1 = y1 + f(y2)
        y2 = y2 + g(y1)
    for f, g in reversed(pairs):
        y2 = y2 - g(y1)
        y1 = y1 - f(y2)
    return max((y1 - x).abs().max(), (y2 - x).abs().max()).item()


pair = make_pairs(1)
error = there_and_back(pair, x)
print("float32: exact?", error == 0, "  off by less than 1e-5? ", error < 1e-5)
error = there_and_back(pair.double(), x.double())
print("float64: exact?", error == 0, "  off by less than 1e-14?", error < 1e-14)
print("0.1 + 1000 - 1000 =", ((torch.tensor(0.1) + 1000) - 1000).item())

# %% [markdown]
# Very nearly. A number in a computer has a limited number of digits, `float32` about 7, `float64` about 16. The last line shows what that does: while the 1000 was there, no room was
# left for the last digits of 0.1. Taking away what was added gives back almost what was there. In 10.6 we shall see whether *almost* is enough.
#
# A whole stack, then. Both streams begin as $x$, and in the end they are added up, so that it fits where a plain stack stood.


# %%
def two_streams(x, pairs):
    x1 = x2 = x
    for f, g in pairs:
        x1 = x1 + f(x2)
        x2 = x2 + g(x1)
    return x1 + x2


pairs = make_pairs(8)
print("8 pairs keep", round(sum(kept_sizes(two_streams, x, pairs)) / x.nbytes), "sizes of x")

# %% [markdown]
# (A pair is two layers, $f$ and $g$.) No memory is won yet. *We* could compute the inputs back, but PyTorch does not know that, and keeps everything as before. We have to tell it.
#
# ## 10.4 A backward pass of your own
#
# To tell PyTorch how to go back through a piece of computation, write a `torch.autograd.Function`: a class with a `forward`, in which nothing is recorded, and a `backward`,
# which is given the gradient of the output and returns the gradient of the input. What `forward` wants to leave for `backward` goes into **`ctx`**, the context.
#
# To practise, here is `exp`, which needs to keep only its output. The mark `once_differentiable` says: this `backward` computes numbers and does not record how. The last lines try what
# happens to somebody who wants the gradient *of that gradient*.


# %%
class Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)  # the output, not the input
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y  # the gradient of the input


(gradient,) = torch.autograd.grad(Exp.apply(a).sum(), a)  # call apply, never forward
print("equal to the derivative of exp:", torch.equal(gradient, a.exp()))
# Squared, so that the dy that comes in depends on a; create_graph: record the backward pass, too.
(gradient,) = torch.autograd.grad(Exp.apply(a).square().sum(), a, create_graph=True)
try:
    gradient.sum().backward()
except RuntimeError as error:
    print("error:", error)

# %% [markdown]
# Equal. And the second request ends in an error, not in a number that might be wrong.
#
# Now our pairs. On the way back we hold $y_1$ and $y_2$, and the gradient of the loss with respect to each of them, $d_1$ and $d_2$. Take the second line, $y_2 = x_2 + g(y_1)$:
#
# - undo it: $x_2 = y_2 - g(y_1)$;
# - the loss felt $y_1$ in two ways, directly and through $g$. So send $d_2$ back through $g$, and add what comes out to $d_1$;
# - $x_2$ gets $d_2$ as it is, since a sum hands its gradient on.
#
# The first line is the same with the roles swapped. Both need one tool: **recompute** a layer, that is, run it once more, this time recorded, send a gradient back through it, and forget again: a small backward pass inside the large one. (What the layer returns is not one number, so `backward` must be told the gradient to begin with: `out.backward(gradient)`.)


# %%
def again(layer, given, gradient):
    """The layer's output once more, and the gradient of what it was given."""
    given = given.detach().requires_grad_()
    with torch.enable_grad():  # in a backward pass nothing is recorded, unless we ask
        out = layer(given)
    out.backward(gradient)  # the layer's parameters collect their gradients here
    return out.detach(), given.grad


class Forget(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, pairs):
        x1 = x2 = x
        for f, g in pairs:
            x1 = x1 + f(x2)
            x2 = x2 + g(x1)
        ctx.pairs = pairs
        ctx.save_for_backward(x1, x2)  # the last two, and none of the others
        return x1 + x2

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        y1, y2 = ctx.saved_tensors
        d1 = d2 = gradient  # the output was their sum
        for f, g in reversed(ctx.pairs):
            out, more = again(g, y1, d2)
            y2, d1 = y2 - out, d1 + more  # y2 is x2 now
            out, more = again(f, y2, d1)
            y1, d2 = y1 - out, d2 + more  # and y1 is x1
        return d1 + d2, None  # x went into both streams; pairs is no tensor


# %% [markdown]
# Read `backward` beside the list above. The last pair comes first, and in each pair $g$ comes before $f$: shoes, then socks.
#
# Is it right? There is a strict judge: the same streams with everything kept. We put all gradients, of `x` and of every parameter, in one long vector, in `float64`, and compare.


# %%
def gradients(run, x, pairs):
    torch.manual_seed(0)  # matters only where something is drawn
    pairs.zero_grad()
    x = x.detach().clone().requires_grad_()
    run(x, pairs).square().mean().backward()
    return torch.cat([tensor.grad.flatten() for tensor in (x, *pairs.parameters())])


def off(found, expected):
    """The length of the difference, as a share of the length of what was expected."""
    return ((found - expected).norm() / expected.norm()).item()


pairs.double()
expected = gradients(two_streams, x.double(), pairs)
found = gradients(Forget.apply, x.double(), pairs)
pairs.float()
print(f"{len(expected):,} gradients, equal up to 1e-12:", off(found, expected) < 1e-12)

# %% [markdown]
# The same half a million gradients, from a forward pass that kept two tensors.
#
# ## 10.5 Memory and time
#
# **Predict:** draw two lines, the kept bytes over the depth, for both ways.

# %%
deep = make_pairs(max(depths))
memory = {}
for name, run in (("keep", two_streams), ("forget", Forget.apply)):
    memory[name] = [sum(kept_sizes(run, x, deep[:depth])) / 1e6 for depth in depths]
    print(f"{name:6}", *(f"{size:6.2f}" for size in memory[name]), "MB")
assert memory["forget"] == [2 * x.nbytes / 1e6] * len(depths)

viz.curves(
    {name: (depths, sizes) for name, sizes in memory.items()},
    xlabel="pairs of layers",
    ylabel="MB kept by the forward pass",
    alt="Kept memory over the depth. With everything kept it rises in a straight line to 64 MB "
    "at 32 pairs; forgetting lies flat on the bottom",
)

# %% [markdown]
# Flat: two tensors of the size of `x`, for one pair and for thirty-two.
#
# That is what lies there at the end of the *forward* pass. On the way back, each recomputed layer needs its activations for a moment. So let us watch a whole step. For the figure we
# followed every tensor of a small model, from the first operation of the forward pass to the last of the backward pass, without weights and their gradients. (A *layer* is a pair there; *plain* ones are the same pairs with everything kept.) **How many times the memory
# of reversible layers do plain ones need, with 4 layers and with 32? And where on the way is the top of the blue line?**

# %% tags=["nbval-ignore-output"]
figure = viz.reversible_memory()
peaks = [
    [float(figure.text(peak, {"depth": k})) for k in (0, 3)]  # with 4 layers, with 32
    for peak in ("plain_peak", "reversible_peak")
]
times = [plain / reversible for plain, reversible in zip(*peaks, strict=True)]
assert 4 <= times[0] < 5 and 30 < times[1] < 36
figure

# %% [markdown]
# <details><summary>The answer</summary>About 4 times with 4 layers, and about 33 times with 32. The blue line is a mountain: up while the forward pass piles up activations, down while the backward pass uses them.
# Its top is the turning point, and each layer makes it higher.</details>
# <br>
#
# The orange line takes one small step up at *its* turning point, where the recomputing begins, one layer at a time, and there it stays nearly to the end. (It turns earlier, because its way back is longer. The lower picture shows the drift, of which 10.6 speaks; each step to the right there doubles the layers.)
#
# Nothing is free. **Predict:** a backward pass takes about as long as two forward passes. Forgetting adds one more run of every layer. How much longer does a
# whole training step take?


# %% tags=["nbval-ignore-output"]
def cpu_seconds(run, backward=True, size=16):
    many = torch.randn(size, n, d, requires_grad=True)
    began = time.process_time()
    with torch.set_grad_enabled(backward):
        loss = run(many, pairs).square().mean()
    if backward:
        loss.backward()
    return time.process_time() - began


rounds = [
    (cpu_seconds(two_streams, backward=False), cpu_seconds(two_streams), cpu_seconds(Forget.apply))
    for _ in range(7)
]
forward, keep, forget = map(min, zip(*rounds, strict=True))
print(f"in forward passes: keep {keep / forward:.1f}, forget {forget / forward:.1f}")
print(f"forgetting takes {forget / keep:.2f} times as long")
assert forward < keep < forget < 3 * keep

# %% [markdown]
# By counting it is three passes against four, a third more. The clock may say somewhat less or more. This is the trade: time, for memory that does not grow with depth.
#
# ## 10.6 Rounding, there and back
#
# The way back is not exact. Each pair adds a small error, and the next pair starts from an input that is already a little wrong. This is called **drift**.
#
# **Predict:** how much does it grow from 4 to 64 pairs: 2 times, 16 times, or a million times? And in `float64`?

# %% tags=["nbval-ignore-output"]
drift_depths = (4, 8, 16, 32, 64)


def drifts(dtype, change=lambda pairs: pairs):
    stacks = [change(make_pairs(depth)).to(dtype) for depth in drift_depths]
    return [there_and_back(pairs, x.to(dtype)) for pairs in stacks]


def draw(drift, alt):
    lines = {name: (drift_depths, far) for name, far in drift.items()}
    viz.curves(lines, xlabel="pairs", ylabel="input is off by", log_y=True, alt=alt)


drift = {"float32": drifts(torch.float32), "float64": drifts(torch.float64)}
for name, far in drift.items():
    growth = far[-1] / far[0]
    print(f"{name}: {far[0]:.0e} at 4 pairs, {far[-1]:.0e} at 64: {growth:.0f} times as much")
    assert 2 < growth < 200
assert max(drift["float32"]) < 1e-4 and max(drift["float64"]) < 1e-12
draw(
    drift,
    alt="How far the input that comes back is off, on a log scale. float32 begins below a "
    "millionth, float64 nine powers of ten lower; both rise gently, by about one power of ten "
    "from 4 to 64 pairs",
)

# %% [markdown]
# It grows about as the depth does, and from almost nothing; the entries of `x` are around 1.
#
# Is it harmful? Do not compare with perfection: the run that keeps everything rounds as well. Let `float64` be the truth, and ask how far from it each of the two gradients is. And
# because these layers are fresh, and gentle, let us ask the same of layers in which the matrix of every `Linear`, and the bias of the gate, are multiplied by 4. **Predict:** which of the four gradients can be trusted?


# %% tags=["nbval-ignore-output"]
def louder(pairs):
    with torch.no_grad():
        for parameter in pairs.parameters():
            if parameter.ndim == 2:  # matrices of linear layers, and the bias of the gate (h, n)
                parameter.mul_(4)
    return pairs


def errors(pairs):
    truth = gradients(two_streams, x.double(), pairs.double())
    pairs.float()
    return [off(gradients(run, x, pairs).double(), truth) for run in (two_streams, Forget.apply)]


print("pairs    fresh: keep, forget   louder: keep, forget")
for depth in (4, 16, 64):
    fresh, loud = errors(make_pairs(depth)), errors(louder(make_pairs(depth)))
    print(
        f"{depth:5}         {fresh[0]:.0e}, {fresh[1]:.0e}           {loud[0]:.0e}, {loud[1]:.0e}"
    )
assert fresh[1] < 10 * fresh[0] < 1e-4
assert loud[0] < 1e-3 and loud[1] > 0.1

# %% [markdown]
# While the layers are fresh, the two are about equally far from the truth, and both are near it. With the louder ones, keeping is still right, and what was computed back gets worse with every layer, until at the end of the table it is *wrong*. There
# is no error message and no NaN; nothing complains.
#
# What happened? Look at what $g$ adds to its stream, and at the drift. **Predict** also: $f$ stands behind a norm and $g$ does not; would a norm before $g$ help?


# %% tags=["nbval-ignore-output"]
def louder_with_norm(pairs):
    return louder(nn.ModuleList(nn.ModuleList([f, PreNorm(d, g)]) for f, g in pairs))


added = []
for one in (make_pairs(1), louder(make_pairs(1)), louder_with_norm(make_pairs(1))):
    ((f, g),) = one
    added.append(g(x + f(x)).std().item())
print("g adds: fresh {:.1f}, louder {:.0f}, louder behind a norm {:.0f}".format(*added))
_, rescued = errors(louder_with_norm(make_pairs(64)))
print(f"64 pairs, forgetting: louder {loud[1]:.0e}, louder behind a norm {rescued:.0e}")

drift["float32, louder"] = drifts(torch.float32, louder)
drift["float64, louder"] = drifts(torch.float64, louder)
drift["float32, louder, norm before g"] = drifts(torch.float32, louder_with_norm)
draw(
    drift,
    alt="The two lines from before, and three that begin higher and rise more steeply. Louder "
    "float32 begins near 1 and passes 100 at 64 pairs; louder float64 rises in much the same way, "
    "eight or nine powers of ten below. With a norm before g, louder float32 lies about three powers "
    "of ten lower than without",
)
assert 500 < added[1] > 10 * added[2] and rescued < loud[1] / 10
assert drift["float32, louder, norm before g"][-1] < drift["float32, louder"][-1] / 10
growth = {name: far[-1] / far[0] for name, far in drift.items()}
assert growth["float64, louder"] > 5 * growth["float64"]

# %% [markdown]
# It helps very much. Two things had come together:
#
# - The lines *begin* higher. To a stream around 1, $g$ adds numbers more than 500 times as large, and it goes as with 0.1 + 1000 − 1000: digits get lost. (Why so large? $f$ is louder too, and hands $g$ more; and GEGLU multiplies two of its inputs with each other.) Behind a norm $g$ adds far less, and far fewer digits get lost.
# - They *rise* more steeply. A steep layer answers a small error of its input by a larger one of its output, and the next layer does so again, until the error is as large as what it is an error of.
#
# The line *float64, louder* rises in much the same way, far below: all of it is rounding. On paper two streams can be undone whatever the layers do. In a computer, what they add must not be much larger than
# what it is added to; norms and moderate weights see to that. To be sure, compute the gradient of one batch in both ways, now and then, and compare.
#
# ## 10.7 Dropout: the dice must fall the same
#
# Recomputing has a silent condition: the layer must do *the same again*. With **dropout** it does not: in training it sets some of its outputs to zero, drawn at random, and
# at the next call draws others. **Predict:** with one output in ten dropped, will forgetting raise an error, give somewhat noisy gradients, or wrong ones?

# %%
dropping = make_pairs(8, dropout=0.1).double()
expected = gradients(two_streams, x.double(), dropping)
found = gradients(Forget.apply, x.double(), dropping)
wrong_by = off(found, expected), there_and_back(dropping, x.double())
print("the gradient is off by {:.1f} of its length, the input by {:.1f}".format(*wrong_by))
assert min(wrong_by) > 0.1

# %% [markdown]
# Wrong, in silence again. What is taken away is not what was added, so the input is one that never was, and the earlier pairs start from it.
#
# The cure lies in the nature of these dice. A computer's random numbers follow from the **state** of their generator: set it back, and the same numbers come again.

# %%
torch.manual_seed(0)
state = torch.get_rng_state()
print("first ", torch.randint(10, (8,)).tolist())
torch.set_rng_state(state)
print("second", torch.randint(10, (8,)).tolist())
print(f"a state has {state.nbytes:,} bytes, whatever the size of the layer")

# %% [markdown]
# So note the state before each layer runs, and set it back before it runs again. New are the lines with `dice`, and `fork_rng`, which in the end puts the generator back to where it was, so that the rest of the program does
# not notice. (The empty list means: no generators of other devices.)


# %%
class ForgetFairly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, pairs):
        x1 = x2 = x
        ctx.dice = []
        for f, g in pairs:
            ctx.dice.append(torch.get_rng_state())
            x1 = x1 + f(x2)
            ctx.dice.append(torch.get_rng_state())
            x2 = x2 + g(x1)
        ctx.pairs = pairs
        ctx.save_for_backward(x1, x2)
        return x1 + x2

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        y1, y2 = ctx.saved_tensors
        d1 = d2 = gradient
        dice = reversed(ctx.dice)
        with torch.random.fork_rng(devices=[]):
            for f, g in reversed(ctx.pairs):
                torch.set_rng_state(next(dice))
                out, more = again(g, y1, d2)
                y2, d1 = y2 - out, d1 + more
                torch.set_rng_state(next(dice))
                out, more = again(f, y2, d1)
                y1, d2 = y1 - out, d2 + more
        return d1 + d2, None


found = gradients(ForgetFairly.apply, x.double(), dropping)
print("equal up to 1e-12:", off(found, expected) < 1e-12)

# %% [markdown]
# The same numbers dropped, the same gradients.
#
# ## 10.8 Another way, and when to take none
#
# There is an older remedy that asks nothing of the layers: keep the *input* of each layer, forget what was inside, and on the way back run the layer once more from its input. PyTorch has it as
# `torch.utils.checkpoint` (Chen et al. 2016, [Training Deep Nets with Sublinear Memory Cost](https://arxiv.org/abs/1604.06174)). The name is unlucky: this **activation checkpointing** has nothing to do with the files of
# lesson 04. **Predict** how many sizes of `x` it keeps, for 4, 16 and 32 layers.

# %%
from torch.utils.checkpoint import checkpoint


def checkpointed(x, layers):
    for f in layers:
        x = x + checkpoint(f, x, use_reentrant=False)  # False: the newer of two ways inside
    return x


print("layers       4   16   32")
ways = {
    "keep": (one_stream, stack),
    "checkpoint": (checkpointed, stack),
    "forget": (ForgetFairly.apply, deep),
}
for name, (run, layers) in ways.items():
    kept = [sum(kept_sizes(run, x, layers[:depth])) / x.nbytes for depth in (4, 16, 32)]
    print(f"{name:10}", *(f"{size:4.0f}" for size in kept))
assert kept == [2, 2, 2]

# %% [markdown]
# (For *forget*, a pair counts as one layer. Not in the table: the states of its dice, a few kilobytes for each pair.) Checkpointing keeps sixteen times less than keeping everything. That still grows with depth; but it takes the plain layers as they are, costs the same extra forward pass, sets the dice back by itself, and starts each layer from its true input, so there is no drift. Often that is enough. Reversing wins where even one
# tensor of the size of `x` for each layer is too much: many layers, or long texts.
#
# And when is neither worth it? Count for two cases: the training of lesson 04, and one text of 16,384 bytes in 12 layers of 512 channels (with the windows of lesson 07, so that $W$ stays small). Count also what a pair has that a plain layer has not: $g$.

# %%
cases = {"lesson 04": (12, 64, 128, 4), "long text": (1, 16_384, 512, 12)}
for name, (texts, positions, channels, layers) in cases.items():
    size = texts * positions * channels * 4 / 1e6
    print(
        f"{name}: keep {layers * per_layer * size:5,.0f} MB, "
        f"checkpoint {layers * size:3.0f} MB, forget {2 * size:2.0f} MB"
    )
for name, part in (("f, the gMLP block", gmlp_layer()), ("g, the feed-forward", FeedForward(d))):
    print(f"{name:20} {sum(p.numel() for p in part.parameters()):,} parameters")

# %% [markdown]
# In the first case do not bother: you would pay a third more time, by the count, to save what nobody misses. In the second it may decide whether the model fits.
#
# And a reversible model is not the plain one with less memory. It is *another architecture*: two streams, more parameters (here about twice as many), more to compute. In the course's model `reversible=True` changes both at once, the memory and the
# architecture. When you compare two models, say which of the two differences you measure.
#
# ## 10.9 The finished module

# %%
import inspect

from gmlp import ReversibleBlock, ReversibleSequence

print(inspect.getsource(ReversibleBlock.inverse))
print(inspect.getsource(ReversibleSequence.forward))

# %% [markdown]
# Two streams, and their sum. `run_and_forget` does what `ForgetFairly` does; with `recompute=False` everything is kept, so your judge is built in. Give it your layers with their dropout, and compare.
#
# Yours has a gap, though. PyTorch sees a function of `x`; that there are parameters inside, it does not know. **Predict:** what happens if `x` itself needs no gradient?

# %%
finished = ReversibleSequence([ReversibleBlock(f, g) for f, g in dropping])
ways = {"yours": ForgetFairly.apply, "finished": lambda x, pairs: finished(x)}

torch.manual_seed(1)
right = two_streams(x.double(), dropping)
for name, run in ways.items():
    torch.testing.assert_close(gradients(run, x.double(), dropping), expected)
    torch.manual_seed(1)
    out = run(x.detach().double(), dropping)
    assert torch.equal(out, right)
    print(
        f"{name:8} same outputs, same gradients; learns if x needs no gradient:",
        out.requires_grad,
    )

# %% [markdown]
# Yours is equal, but where `x` needs no gradient, it would not learn: PyTorch sees nothing in it that could. (In a model `x` comes from an embedding, which learns; so nobody notices.) The finished one hands every parameter to `apply` and returns its
# gradient. It also sets back the dice of a GPU, recomputes in the number format of the first run (`autocast`, lesson 12), passes arguments by name on to `f` and `g`, and can skip whole layers as in lesson 09.
#
# A last proof: a short training in the manner of lesson 04, once keeping and once forgetting, from the same start.

# %% tags=["nbval-ignore-output"]
from gmlp import LanguageModel, load_corpus, split_corpus, train

train_text, valid_text = split_corpus(load_corpus("pydocs"))
settings = {"steps": 60, "peak": 4e-3, "warmup": 15, "context": n, "eval_every": 5}
curves, trained = {}, {}
for name, recompute in (("keep", False), ("forget", True)):
    trained[name] = make_pairs(4)
    blocks = ReversibleSequence(trained[name], recompute=recompute)
    kept = sum(kept_sizes(lambda x, blocks: blocks(x), x, blocks)) / x.nbytes
    print(f"{name:6} {kept:4.0f} sizes of x, between the two passes")
    assert (kept == 2) == recompute
    model = LanguageModel(256, d, n, blocks)  # the same seed each time: make_pairs set it
    history = train(model, train_text, valid_text[:2048], progress=False, **settings)
    curves[name] = [record.step for record in history], [record.train_bits for record in history]

(_, keep), (_, forget) = curves.values()
apart = max(abs(p - q) for p, q in zip(keep, forget, strict=True))
ends = zip(trained["keep"].parameters(), trained["forget"].parameters(), strict=True)
weights_apart = max((p - q).abs().max().item() for p, q in ends)
print(f"largest distance of the curves {apart:.4f} bits, of the weights {weights_apart:.0e}")
far = there_and_back(trained["forget"], x)
print(f"drift of the trained layers {far:.0e}")
assert forget[-1] < forget[0] - 1 and apart < 1e-3 and 0 < weights_apart < 1e-3 and far < 1e-3
viz.curves(
    curves,
    xlabel="steps",
    ylabel="bits per byte, training",
    alt="Two training curves that fall together from about 8 to below 4 bits; the second hides "
    "the first",
)

# %% [markdown]
# You see one curve, because the other lies under it: two different runs, whose weights end apart by no more than rounding. And so short a training has not made these layers loud.
#
# **So, can we forget the activations?** We can: for a third more time by the count (and by the clock, what section 10.5 measured), as long as the layers are not too loud and the dice fall the same.
#
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. Why can a pair be undone, whatever <code>f</code> and <code>g</code> are?**
#
# <details><summary>Because <code>f</code> and <code>g</code> are small enough for their inverses to be computed.</summary>No: neither is ever inverted; squaring, which has no inverse, served as <code>f</code>.</details>
# <details><summary>Because the outputs of <code>f</code> and <code>g</code> are kept until the backward pass.</summary>No: only the last two streams are kept; what the layers returned is computed again.</details>
# <details><summary>Because the stream that a layer has read is still there when its turn comes, so it can be called again.</summary>Right: called with the same input it returns what it had added, and that is taken away.</details>
# <details><summary>Because both streams start as the same <code>x</code>.</summary>No: from the first pair on the streams differ, and the way back never uses how they began.</details>
# <br>
#
# **2. You train with dropout, and your backward pass does not set the dice back. How do you notice?**
#
# <details><summary>You do not, unless you compare the gradients with those of a run that keeps everything.</summary>Right: shapes are right, nothing is NaN, and the loss may even fall; only the strict judge sees it.</details>
# <details><summary>By an error: the streams that come back do not fit.</summary>No: they have the right shape and type, and no step checks their values.</details>
# <details><summary>By gradients that are a little noisier, which training evens out.</summary>No: all pairs further down start from inputs that never were, so their gradients are wrong, not just noisy.</details>
# <br>
#
# **3. A model with <code>reversible=True</code> guesses better than the same one with <code>reversible=False</code>. What has been shown?**
#
# <details><summary>That exact gradients are worth more than those of ordinary training.</summary>No: the gradients of both are those of the usual rules, up to rounding.</details>
# <details><summary>That forgetting activations does not harm.</summary>No: for that you compare the same two-stream model, once keeping and once forgetting.</details>
# <details><summary>That the larger one of two different architectures guesses better.</summary>Right: two streams and a <code>g</code> for each <code>f</code> came along, and saving memory had no part in it.</details>
#
# ## What you can do now
#
# - ✓ count what a forward pass keeps: here sixteen times its input for each layer, and proportional to depth;
# - ✓ undo two streams by calling $f$ and $g$ forwards, last things first;
# - ✓ write a `torch.autograd.Function` with a `ctx`, and prove its gradients against a run that keeps everything;
# - ✓ name the price: one more forward pass, drift that loud layers make harmful, dice that must be set back;
# - ✓ choose: keep while memory suffices, checkpoint plain layers, reverse where depth or length is large.
#
# **Practise:** the [exercises](../exercises/10_reversible_layers.ipynb) of this lesson: five, in about 60 minutes.
#
# **Next:** you have met every part by itself. Lesson 11 puts them into one model, lets it read 16,384 bytes at once, and holds it beside the research code, with tests like yours.
