# %% [markdown]
# # 04 · Training: how does it learn?
#
# *60 minutes. You need: [lessons 00](00_welcome.ipynb) to [03](03_residual_blocks.ipynb).*
#
# When you are done you can
#
# 1. assemble a causal gMLP language model from the parts that you have built;
# 2. turn a text into batches, and a loss into **bits per byte**;
# 3. set a learning rate schedule and clip gradients, and say what each is for;
# 4. read a training and a validation curve, save a **checkpoint**, and resume an interrupted run exactly;
# 5. compare two models fairly, and know what the comparison does not show.

# %%
import math
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gmlp import (
    CausalSGU,
    PreNorm,
    Residual,
    count_bits,
    decode,
    encode,
    evaluate,
    generate,
    gMLPBlock,
    load_corpus,
    load_tiny,
    split_corpus,
    viz,
)

train_text, valid_text = split_corpus(load_corpus("pydocs"))
v, n, d = 256, 64, 128  # bytes in the vocabulary, positions, channels

# %% [markdown]
# ## 4.1 The model, whole
#
# Four layers as in lesson 03 (few, because they have to be trained in about a minute), between an **embedding**, which gives each byte a vector, and a layer of **logits**,
# which gives each possible next byte a score. A last norm, because the sum has grown on its way. (`v` is from here on the size of the vocabulary, not the half of the unit.)


# %%
class MyLanguageModel(nn.Module):
    def __init__(self, num_tokens, dim, seq_len, blocks):
        super().__init__()
        self.seq_len = seq_len
        self.embed = nn.Embedding(num_tokens, dim)
        self.blocks = blocks
        self.norm = nn.LayerNorm(dim)
        self.to_logits = nn.Linear(dim, num_tokens)

    def forward(self, tokens):  # (b, n)
        x = self.embed(tokens)  # (b, n, d)
        x = self.blocks(x)  # (b, n, d)
        return self.to_logits(self.norm(x))  # (b, n, v)


def make_gmlp(dim=d, depth=4, seq_len=n):
    torch.manual_seed(0)
    layers = [
        Residual(PreNorm(dim, gMLPBlock(dim, 4 * dim, CausalSGU(4 * dim, seq_len))))
        for _ in range(depth)
    ]
    return MyLanguageModel(v, dim, seq_len, nn.Sequential(*layers))


model = make_gmlp()
for name, part in model.named_children():
    print(f"{name:10} {sum(p.numel() for p in part.parameters()):7,} parameters")
print(f"{'in all':10} {sum(p.numel() for p in model.parameters()):7,}")

# %% [markdown]
# Is something missing? A Transformer adds a vector for each position to the embedding, since attention by itself does not know
# where a token stands. Here each position has its own row of $W$, with a weight for each position that it reads, and that is enough.
#
# ## 4.2 Batches
#
# Until now `sample_batch` cut our windows; time to open it. The text is one long row of bytes. For a batch we cut windows of $n + 1$ bytes at
# random places; the first $n$ are the inputs, the last $n$ the targets. The sum of a column `(b, 1)` of starts and a row `(n + 1)` of
# offsets is a table of places, and indexing with it gives all windows at once.


# %%
def my_sample_batch(data, batch_size, context, seed):
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(data) - context, (batch_size, 1), generator=generator)
    windows = data[starts + torch.arange(context + 1)]  # (b, n + 1)
    windows = windows.long()  # bytes to int64, which an embedding and a loss want
    return windows[:, :-1], windows[:, 1:]


inputs, targets = my_sample_batch(encode("a small text to cut windows from"), 3, 8, seed=0)
for row in range(3):
    print(repr(decode(inputs[row])), "->", repr(decode(targets[row])))
assert torch.equal(inputs[:, 1:], targets[:, :-1])

# %% [markdown]
# The seed will be the number of the step. So step 1,000 sees the same batch in every run, also in one that
# was interrupted at step 999. We shall use that.
#
# ## 4.3 The loss, in bits per byte
#
# You know it from lesson 00: a byte to which the model gave the probability $p$ costs $-\log_2 p$ bits. PyTorch's `cross_entropy` takes logits, does the softmax itself, and uses the natural logarithm. To get bits, divide by
# $\ln 2$.


# %%
def my_bits_per_byte(logits, targets):  # (b, n, v), (b, n)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)


logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0]]])  # four tokens, equally probable
print(my_bits_per_byte(logits, torch.tensor([[2]])).item(), "bits")

# %% [markdown]
# **Predict:** our model has not learned anything yet. How many bits per byte?

# %% tags=["nbval-ignore-output"]
inputs, targets = my_sample_batch(train_text, 12, n, seed=0)
untrained = my_bits_per_byte(model(inputs), targets).item()
print(f"{untrained:.1f} bits per byte")
assert 7.5 < untrained < 9.5

# %% [markdown]
# About 8, and a bit over: its random scores prefer some bytes without a reason, and it pays for that. A number far
# from 8 here would be the first sign of a bug.
#
# And what should it reach? Here is the ladder of lesson 00 again: counting what followed the last few bytes, and the small gMLP that
# came with the package.

# %% tags=["nbval-ignore-output"]
counted = {k: count_bits(train_text, valid_text, k) for k in range(7)}
best = min(counted, key=counted.get)
ladder = {f"counting, {k} byte{'s' * (k != 1)} of context": counted[k] for k in (0, 1, 2)}
ladder[f"the best counter ({best} bytes)"] = counted[best]
ladder["the small gMLP of lesson 00"] = evaluate(load_tiny(), valid_text, 128)
for name, bits in ladder.items():
    print(f"{name:28} {bits:.2f} bits per byte")
assert ladder["the small gMLP of lesson 00"] < counted[best] < counted[2]

# %% [markdown]
# ## 4.4 One step, and the first test of every model
#
# One step of training: forward, loss, backward, move every weight a little against its gradient. Before any long run, give the
# model *one* batch again and again. If it cannot learn 768 bytes (12 windows of 64) by heart, something is broken, and you have found
# out in seconds.

# %% tags=["nbval-ignore-output"]
model = make_gmlp()
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
by_heart = []
for _ in range(40):
    loss = my_bits_per_byte(model(inputs), targets)  # the same batch each time
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    by_heart.append(loss.item())
assert by_heart[-1] < 0.5
print("step  1:", round(by_heart[0], 2), "  step 40:", round(by_heart[-1], 2), "bits per byte")

# %% [markdown]
# It can. (`AdamW` averages the gradient of each weight over the last steps, and divides by the recent size of that weight's gradients, so that large and small ones make steps of about
# the same length, and pulls all weights slightly towards zero.)
#
# ## 4.5 How large a step?
#
# If you tune only one number, tune the **learning rate**. **Predict:** draw three curves of the loss over thirty
# steps, for the rates 0.0001, 0.004 and 0.3. Where does each one end?


# %%
def short_run(rate, steps=30):
    model = make_gmlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    losses, lengths = [], []
    for step in range(steps):
        inputs, targets = my_sample_batch(train_text, 12, n, seed=step)
        loss = my_bits_per_byte(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        lengths.append(nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, lengths


runs = {rate: short_run(rate) for rate in (1e-4, 4e-3, 3e-1)}
assert runs[4e-3][0][-1] < min(runs[1e-4][0][-1], runs[3e-1][0][-1]) - 1

viz.curves(
    {f"rate {rate:g}": (range(1, 31), losses) for rate, (losses, _) in runs.items()},
    xlabel="step",
    ylabel="bits per byte",
    log_y=True,
    alt="Loss over thirty steps. The small rate falls slowly, the middle one fast, to about "
    "half of where it began; the large one first jumps up to several times as much and "
    "then comes back to about where it began.",
)

# %% [markdown]
# Too small wastes your time; too large throws the model away first and then has to repair it. Now look at the gradient, all of it taken as one long vector: how long is it, step by step?

# %%
lengths = runs[4e-3][1]
viz.curves(
    {"": (range(1, 31), lengths)},
    xlabel="step",
    ylabel="length of the gradient",
    alt="The length of the gradient over thirty steps: above 2 in the first steps, nearly 3 in a "
    "peak at step 8, then mostly around 1, with peaks up to about 2",
)
assert max(lengths[:5]) > 1.2 * min(lengths[-5:])

# %% [markdown]
# Long in the first steps, later around 1, with single peaks. In the beginning the weights are random, and AdamW knows the size of each gradient from
# a few batches only; so we do not trust it with full steps yet, but **warm up**: over the first `warmup` steps the rate rises in a straight line
# to its largest value, the `peak`. In the end we want to settle, so we come down along half a
# **cosine**, to a last rate that is `floor` times the peak. (We do not prove here that this helps; try `warmup=1` in 4.7.) `done` says how much of the way
# down is behind us: 0 at the peak, 1 at the last step.


# %%
def my_learning_rate(step, steps, peak, warmup, floor=0.1):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)  # 0 … 1
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)


rates = [my_learning_rate(step, steps=200, peak=1.0, warmup=50) for step in range(200)]
print("step 0:", rates[0], " step 49:", rates[49], " step 199:", round(rates[199], 3))
viz.curves(
    {"": (range(200), rates)},
    xlabel="step",
    ylabel="share of the peak",
    alt="The rate rises in a straight line to its peak at step 49, then falls along half a "
    "cosine to a tenth of it at step 199.",
)

# %% [markdown]
# One more measure, **clipping**: if a gradient is longer than 1, we keep its direction and cut its length to 1. Here that leaves many gradients
# nearly as they are and cuts the peaks, so no single batch counts much more than the others.

# %%
gradient = torch.tensor([3.0, 4.0])  # length 5
weight = nn.Parameter(torch.zeros(2))
weight.grad = gradient.clone()
nn.utils.clip_grad_norm_([weight], 1.0)
print("before", gradient.tolist(), " after", [round(g, 2) for g in weight.grad.tolist()])

# %% [markdown]
# ## 4.6 The loop
#
# Everything together. (The optimizer keeps its rate in `param_groups`, where we set it anew at each step.) At the end we **validate**: bits
# per byte on the 10 % of the text that it never trains on, window after window; `evaluate` is that loop.


# %%
def my_train(model, steps, peak, warmup):
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = my_learning_rate(step, steps, peak, warmup)
        inputs, targets = my_sample_batch(train_text, 12, n, seed=step)
        loss = my_bits_per_byte(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return evaluate(model, valid_text, n)


# %% [markdown]
# That is the whole of it. The library's `train` is the same loop with a progress bar, a history and checkpoints. Trust, but
# verify: ten steps of both must give the same model.

# %%
from gmlp import LanguageModel, train

mine, theirs = make_gmlp(), make_gmlp()
settings = {"steps": 10, "peak": 8e-3, "warmup": 5}
mine_bits = my_train(mine, **settings)
theirs_history = train(
    theirs, train_text, valid_text, context=n, batch_size=12, progress=False, **settings
)
assert theirs_history[-1].valid_bits == mine_bits
for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
    assert torch.equal(a, b)
print("equal after 10 steps")

# %% [markdown]
# ## 4.7 The run
#
# Which learning rate? Nobody can know; one tries. `benchmarks/learning_rates.py` tried five for this model, and five for the one it
# will meet in 4.9, with the same steps and batches; you find the numbers in 4.9. The best:

# %%
best_peak = {"gMLP": 8e-3, "Transformer": 4e-3}
steps = 200

# %% [markdown]
# We let the model write before training, after 50 steps, and at the end. `generate` is your sampler of lesson 02, with one more number: a
# `temperature` below 1 makes probable bytes even more probable, so it takes fewer risks (lesson 05 looks closely). While it runs, the bar shows the loss
# on the training text and on the validation text.
#
# **Predict:** where on the ladder will it stand after 200 steps?

# %% tags=["nbval-ignore-output"]
gmlp_model = make_gmlp()
first_unit = gmlp_model.blocks[0].fn.fn.sgu  # through residual and norm to the block
written, matrices = {}, {}


def look(step):
    matrices[step] = first_unit.mixing_matrix(n).detach().clone()  # for 4.9
    generator = torch.Generator().manual_seed(4)
    if step in (0, 50, steps):
        tokens = generate(gmlp_model, encode("The "), 150, temperature=0.7, generator=generator)
        written[step] = decode(tokens)


look(0)
gmlp_history = train(
    gmlp_model,
    train_text,
    valid_text,
    steps=steps,
    peak=best_peak["gMLP"],
    context=n,
    batch_size=12,
    warmup=50,
    eval_every=25,
    on_eval=look,  # called after each validation, with the number of the step
)

for step in (0, 50, steps):
    print(f"--- after {step} steps\n{written[step]}\n")

# %% [markdown]
# First noise (� stands for bytes that are not valid UTF-8); then letters and spaces in about the right proportions; then words, and something of the
# shape of a sentence. The curve:

# %% tags=["nbval-ignore-output"]
result = gmlp_history[-1].valid_bits
assert result < ladder["counting, 2 bytes of context"]
print(f"gMLP {result:.2f}, counting with 2 bytes {ladder['counting, 2 bytes of context']:.2f}")
print(f"bytes read: {steps * 12 * n / len(train_text):.2f} times the length of the training text")
viz.curves(
    {
        "training": ([r.step for r in gmlp_history], [r.train_bits for r in gmlp_history]),
        "validation": ([r.step for r in gmlp_history], [r.valid_bits for r in gmlp_history]),
    },
    xlabel="steps",
    ylabel="bits per byte",
    alt="Training and validation loss from step 25 to 200. Both fall, fast at first and then more "
    "slowly. Training lies above, by more than one bit at first and by little in the end.",
)

# %% [markdown]
# The training figure is the mean over the steps since the last validation, when the model was still worse; so it lies above. In the end the two are
# close. They could hardly differ: the model has seen few windows twice, so there was little to learn by heart.
#
# ## 4.8 Checkpoints: nothing lost
#
# A run of a minute may be lost; a run of a night must not. A **checkpoint** holds all that the run needs to go on: the weights,
# the optimizer's memory, how far it was. By hand, with a new model, as if it had taken ten steps:

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "by_hand.pt"
model = make_gmlp()
optimizer = torch.optim.AdamW(model.parameters())

state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 10}
torch.save(state, path)

loaded = torch.load(path, weights_only=True)  # True: read data only, run no code
model.load_state_dict(loaded["model"])
optimizer.load_state_dict(loaded["optimizer"])
print("go on at step", loaded["step"])

# %% [markdown]
# `train` does that by itself if you name a file: it writes the file at each validation (first under another name, so that a crash while writing
# leaves the old one), and if the file is there when it begins, it goes on from it. Let us pull the plug in the middle of a small run.
# (A `.safetensors` file holds named tensors and nothing else, so that no code can hide in it.)

# %%
settings = {"steps": 20, "context": n, "eval_every": 10, "progress": False}


def small():
    return make_gmlp(dim=32, depth=2)


def pull_the_plug(step):
    if step == 10:
        raise KeyboardInterrupt


checkpoint = Path(folder.name) / "run.safetensors"
try:
    train(small(), train_text, valid_text, checkpoint=checkpoint, on_eval=pull_the_plug, **settings)
except KeyboardInterrupt:
    print("interrupted; kept:", checkpoint.name, checkpoint.exists())

# %% [markdown]
# Then we start again, with a *new* model, the same call and the same file. For comparison, a run that was never interrupted.

# %%
resumed, undisturbed = small(), small()
resumed_history = train(resumed, train_text, valid_text, checkpoint=checkpoint, **settings)
whole_history = train(undisturbed, train_text, valid_text, **settings)
for a, b in zip(resumed.parameters(), undisturbed.parameters(), strict=True):
    assert torch.equal(a, b)
assert [r.valid_bits for r in resumed_history] == [r.valid_bits for r in whole_history]
folder.cleanup()
print("the same model, to the last bit")

# %% [markdown]
# **What would be lost** if the checkpoint held the weights alone? *Think first.*
#
# <details><summary>The answer</summary>Two things. AdamW remembers the recent mean and size of every gradient; without them its first steps would be
# wrong. And without the number of the step the schedule would warm up again, and the batches would start from seed 0. The state of the random numbers need not
# be kept: step 10 draws its batch from the seed 10, in every run.</details>
#
# ## 4.9 Is it any good? Beside a Transformer
#
# A well-known opponent: PyTorch's own Transformer, in the shape that nanoGPT (a popular small language model in PyTorch) uses on a CPU: 4 layers, 4 heads,
# 128 channels, pre-norm, and a causal mask. You need not know its inside. Same text, same batches, same number of steps, the same schedule, and each at its own best learning rate. Both start with
# the weights that PyTorch gives them (but for $W$ and $b$ of the gMLP); nobody has tuned those of the Transformer.


# %%
class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq_len = n
        layer = nn.TransformerEncoderLayer(
            d, 4, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.embed = nn.Embedding(v, d)
        self.position = nn.Embedding(n, d)
        norm = nn.LayerNorm(d)
        self.layers = nn.TransformerEncoder(layer, 4, norm, enable_nested_tensor=False)
        self.to_logits = nn.Linear(d, v)

    def forward(self, tokens):
        n = tokens.shape[1]
        x = self.embed(tokens) + self.position.weight[:n]
        mask = nn.Transformer.generate_square_subsequent_mask(n)
        return self.to_logits(self.layers(x, mask=mask, is_causal=True))


torch.manual_seed(0)
transformer = Transformer()
parameters = {
    name: sum(p.numel() for p in model.parameters())
    for name, model in (("gMLP", gmlp_model), ("Transformer", transformer))
}
print(parameters, f"ratio {parameters['Transformer'] / parameters['gMLP']:.1f}")

# %% [markdown]
# **Predict:** it has nearly twice the parameters. Who wins, and who takes longer?

# %% tags=["nbval-ignore-output"]
transformer_history = train(
    transformer,
    train_text,
    valid_text,
    steps=steps,
    peak=best_peak["Transformer"],
    context=n,
    batch_size=12,
    warmup=50,
    eval_every=25,
)

# %% tags=["nbval-ignore-output"]
histories = {"gMLP": gmlp_history, "Transformer": transformer_history}
for name, history in histories.items():
    last = history[-1]
    print(
        f"{name:12} {parameters[name]:8,} parameters  {last.cpu_seconds:5.0f} CPU seconds  "
        f"{last.valid_bits:.2f} bits per byte"
    )
assert parameters["gMLP"] <= parameters["Transformer"]
assert gmlp_history[-1].valid_bits < transformer_history[-1].valid_bits

viz.curves(
    {
        name: ([record.cpu_seconds for record in history], [r.valid_bits for r in history])
        for name, history in histories.items()
    },
    xlabel="CPU seconds",
    ylabel="validation, bits per byte",
    alt="Validation loss by CPU seconds. The gMLP's curve lies below the Transformer's "
    "everywhere and ends earlier.",
)

# %% [markdown]
# (CPU seconds count the work of all cores together, validation included; the bar shows the time on the clock.) And the whole ladder:

# %%
rungs = {"blind guessing": 8.0, **ladder}
rungs |= {f"{name}, {steps} steps": h[-1].valid_bits for name, h in histories.items()}
assert ladder[f"the best counter ({best} bytes)"] < result
viz.bars(
    dict(sorted(rungs.items(), key=lambda rung: -rung[1])),
    xlabel="bits per byte on the validation part (less is better)",
    alt="Bits per byte as bars, from blind guessing, 8, down to the small gMLP of lesson 00, "
    "the lowest. The gMLP of this lesson stands between counting with 2 bytes of context and "
    "the best counter, the Transformer between counting with 1 byte and with 2.",
)

# %% [markdown]
# Your gMLP has passed counting with two bytes, but not yet the best counter. The small one of lesson 00 has: it is of the same kind and size, but it was
# trained for about seven minutes, and reads up to 128 bytes, not 64.
#
# All the rates that were tried, in bits per byte, one run each, copied from a run of `benchmarks/learning_rates.py`:

# %%
sweep = {
    "gMLP": {1e-3: 3.21, 2e-3: 2.96, 4e-3: 2.69, 8e-3: 2.54, 16e-3: 2.64},
    "Transformer": {1e-3: 3.42, 2e-3: 3.31, 4e-3: 3.19, 8e-3: 3.27, 16e-3: 3.35},
}
for name, losses in sweep.items():
    print(f"{name:12}", *(f"{rate:g}: {bits:.2f} " for rate, bits in losses.items()))
    assert min(losses, key=losses.get) == best_peak[name]

# %% [markdown]
# **What may you conclude?** On this text, with these few steps, at this size, the gMLP learns faster: no rate of the Transformer comes near the gMLP's best (only at 0.001, its own worst rate, does the gMLP fall just behind the Transformer's best). **What may you
# not?** Nearly everything else. PyTorch's four Transformer layers start as copies of one; nobody tuned that start, and a better one may help. The Transformer has not even passed counting with two bytes: it is far from finished, and what happens after ten or
# a hundred times the steps, we have not seen. The rates were chosen on the same validation part, and it is one text and one seed. Lesson 13 compares
# with several seeds, error bars and longer runs; lesson 06 shows a task at which the gMLP fails and attention shines.
#
# Why so fast? A guess: much of what a beginner can learn about text lies in the last few bytes, and a row of $W$ can point at them
# directly. We kept the matrix of the first unit at each validation. **Predict:** does it learn to look at the last few bytes early in the run, or late? Move
# the slider from the left.

# %% tags=["nbval-ignore-output"]
line = {step: matrix[0].diagonal(-1).mean().abs() for step, matrix in matrices.items()}
viz.training_weights(
    [record.step for record in gmlp_history],
    [matrices[record.step] for record in gmlp_history],
    [record.valid_bits for record in gmlp_history],
)

# %%
assert line[25] < 0.1
assert line[100] > max(0.1, 0.6 * line[steps])

# %% [markdown]
# Neither at once nor late. After 25 steps there is hardly anything to see. Then a line appears, one step below the diagonal: the byte right before. (Its own byte comes
# through $u$.) Half-way through the run most of it is there.
#
# In the picture every row looks like the one above it, one step to the right. **Is that so?** Draw the rows over the distance that they look back, and they
# should lie on one another. Touch some rows.
#
# And a number for each layer, `agreement`: the square of the mean row over the mean of the squares, both summed over the first 16 distances. At 1 all rows are equal; at 0 their mean is zero and tells nothing about any of them.


# %% tags=["nbval-ignore-output"]
def agreement(matrix):
    lines = [matrix.diagonal(-k) for k in range(16)]  # all rows, k places back
    return sum(line.mean() ** 2 for line in lines) / sum((line**2).mean() for line in lines)


W = {
    f"layer {k}": block.fn.fn.sgu.mixing_matrix(n)[0].detach()
    for k, block in enumerate(gmlp_model.blocks, 1)
}
agree = [agreement(matrix).item() for matrix in W.values()]
print("agreement:", *(f"{name}: {share:.2f} " for name, share in zip(W, agree, strict=True)))
assert min(agree[:2]) > 0.8 and max(agree[2:]) < 0.5
viz.filters(W)

# %% [markdown]
# In layers 1 and 2 the rows agree with their mean: each layer has become a **filter**, the same weights at every position, though nobody asked for it.
# A convolution, one row of weights that slides along the text, has that built in, and needs no square full of them. Now move `matrix` to layers 3 and 4: there the mean
# is nearly zero everywhere and no row is like the next. What they look for, if they look for anything after so few steps, depends on the position.
#
# While this notebook runs, you can ask the model itself: type, and see what it expects next. And you can watch a new one while it learns: press *train*,
# and move the slider while it runs. (The panels appear only while the notebook runs.)

# %% tags=["live", "nbval-ignore-output"]
from IPython.display import display

from gmlp.viz import live

run = {"steps": steps, "peak": best_peak["gMLP"], "context": n, "eval_every": 20}
display(live.prompt(gmlp_model, context=n))
live.Training(make_gmlp(), train_text, valid_text[:8192], **run)

# %% [markdown]
# ## 4.10 The finished module
#
# `LanguageModel` is yours, with errors that explain themselves; `train` you have met.

# %%
finished = LanguageModel(v, d, n, make_gmlp().blocks)
finished.load_state_dict(gmlp_model.state_dict())
with torch.no_grad():
    assert torch.equal(finished(inputs), gmlp_model(inputs))
print("equal to yours on", tuple(inputs.shape))

for wrong in (torch.full((1, 3), 256), torch.zeros(1, n + 1, dtype=torch.long)):
    try:
        finished(wrong)
    except ValueError as error:
        print(error)

# %%
from gmlp import bits_per_byte, learning_rate, sample_batch

for seed in range(3):
    for a, b in zip(
        sample_batch(train_text, 5, n, seed), my_sample_batch(train_text, 5, n, seed), strict=True
    ):
        assert torch.equal(a, b)
assert torch.equal(bits_per_byte(model(inputs), targets), my_bits_per_byte(model(inputs), targets))
assert [learning_rate(s, 200, 1.0, 50) for s in range(200)] == rates
print("batches, loss and schedule: equal to yours")

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. A new model, not trained at all, scores 0.4 bits per byte on its first batch. What do you make of it?**
#
# <details><summary>It had luck with its starting weights, and will learn fast</summary>No: random scores know nothing of the text, so they cost about 8 bits, whatever the seed.</details>
# <details><summary>The batch was easy, so another one has to be drawn</summary>No: for a model that knows nothing, no batch is easy; every byte costs about 8 bits.</details>
# <details><summary>There is a bug: it cannot know that much</summary>Right: without knowledge a byte of 256 costs about 8 bits. Far less means that the loss, or what it is held against, is wrong.</details>
# <br>
#
# **2. What does clipping at 1 do to a gradient of length 0.3?**
#
# <details><summary>Nothing</summary>Right: it only cuts what is longer than the limit, so this one stays as it is.</details>
# <details><summary>It makes it longer, to the length 1, and keeps the direction</summary>No: it keeps the direction, but it only shortens; a short gradient would gain nothing from being stretched.</details>
# <details><summary>It cuts off each number in it that is above 1</summary>No: it looks at the length of the whole, and one factor for all numbers keeps the direction.</details>
# <br>
#
# **3. A checkpoint holds the weights and the number of the step, but not the optimizer. You go on from it with AdamW. What is different?**
#
# <details><summary>Nothing, since a model is its weights</summary>No: a step of AdamW depends on the gradients before it, and these are forgotten.</details>
# <details><summary>The first steps have another size than they would have had</summary>Right: AdamW sets the step of each weight by the recent size of its gradients, and has to collect that anew.</details>
# <details><summary>The same batches come again from the start</summary>No: the seed of a batch is the number of the step, and that was kept.</details>
# <details><summary>The schedule warms up again</summary>No: the rate comes from the number of the step, and that was kept.</details>
#
# ## What you can do now
#
# - ✓ assemble a language model: embedding, blocks, norm, logits;
# - ✓ cut batches, and count in bits per byte, from 8 downwards;
# - ✓ warm up, come down along a cosine, clip; and test every model first on a single batch;
# - ✓ tell training loss from validation loss, and resume a run to the last bit;
# - ✓ compare two models over the same batches and steps, and say what follows and what does not.
#
# **Practise:** the [exercises](../exercises/04_training.ipynb) of this lesson: five, in about 55 minutes.
#
# **Play:** change `"pydocs"` at the top to `"stdlib"`, Python's own source code, or to the path of a text of
# your own, and raise `steps` to 2,000. It takes ten times as long (the Transformer as well), and what it writes is better. If an `assert` that
# was written for 200 steps stops you, delete it.
#
# **Next:** to write one byte, `generate` re-reads the whole window, again and again. Lesson 05 will find out how
# little of that is needed.
