# %% [markdown]
# # 12 · Scaling up: what changes on real hardware?
#
# *70 minutes. You need: [lesson 04](04_training.ipynb), the training loop; lesson 10, what an activation is; lesson 11, `gMLPGPT`. No GPU is needed.*
#
# When you are done you can
#
# 1. cut a batch into parts, or share it among processes, and prove that the gradient is still the same;
# 2. start a training run as a command, kill it, and have it go on to the same end;
# 3. compute in 16 bits, and say which numbers must stay in 32;
# 4. count operations and bytes, draw a **roofline**, and say what bounds a piece of a model;
# 5. say what `torch.compile` saves, and when that pays.

# %%
import math
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from gmlp import (
    bits_per_byte,
    gMLPGPT,
    learning_rate,
    load_corpus,
    sample_batch,
    split_corpus,
    train,
    viz,
)

# One thread here, and in every process that we start: then times and results can be compared.
torch.set_num_threads(1)

# %% [markdown]
# ## 12.1 One run, to be repeated
#
# This lesson has one small run: two layers, 64 channels, 60 batches of 12 windows of text (as in lesson 04). We shall run it in pieces, in two processes, killed and
# resumed, and with 16 bits for a number instead of 32. **A change of machinery must not change what is learned**: each time, the loss has to come out as it did the
# first time, up to rounding (which is coarser with 16). Here is that first time, in the way of lesson 04, and a measure for all that follow: the largest distance, over its six validations.


# %% tags=["nbval-ignore-output"]
n, batch_size, steps = 64, 12, 60
folder = tempfile.TemporaryDirectory()
corpus = load_corpus("pydocs")[:100_000]
Path(folder.name, "manual.txt").write_bytes(corpus)  # for other processes to read
train_text, valid_text = split_corpus(corpus)
valid_text = valid_text[:4096]


def make():
    torch.manual_seed(0)
    return gMLPGPT(num_tokens=256, dim=64, depth=2, seq_len=n)  # no window: the whole W


def distance(name):
    pairs = zip(runs[name], runs["first run"], strict=True)
    return max(abs(a.valid_bits - b.valid_bits) for a, b in pairs)


settings = {"context": n, "batch_size": batch_size, "steps": steps, "warmup": 10}
settings |= {"eval_every": 10, "progress": False}
began = time.perf_counter()
runs = {"first run": train(make(), train_text, valid_text, **settings)}
first_run_took = time.perf_counter() - began
for record in runs["first run"]:
    print(f"step {record.step}: {record.valid_bits:.4f} bits per byte")

# %% [markdown]
# ## 12.2 A batch in parts
#
# The first wall that a growing model runs into is memory. Lesson 10 threw activations away to get past it. There is a cheaper way: their number
# grows with the number of windows, so send the windows through a few at a time. `live_bytes` is the tool behind the memory figure of
# lesson 10: the bytes alive at each moment of a step.

# %% tags=["nbval-ignore-output"]
from gmlp.viz.reversible_layers import live_bytes

inputs, targets = sample_batch(train_text, batch_size, n, seed=0)  # (b, n) each
peak_memory = {rows: max(live_bytes(make(), inputs[:rows])) for rows in (12, 6, 3)}
for rows, peak in peak_memory.items():
    print(f"{rows:2} windows at once: {peak / 1e6:.1f} MB")
assert peak_memory[3] < 0.4 * peak_memory[12]

# %% [markdown]
# But a step needs the gradient of *all twelve*. Now, `backward` does not overwrite `.grad`, it adds to it; so far we called `zero_grad` to be
# rid of that. Here it is the trick: one `backward` for each part, and no `zero_grad` in between. That is **gradient accumulation**.
#
# Below, all gradients of the model stand in one long row, to be compared. **Predict:** four parts of three windows each, one `backward` for each. How does
# the result differ from the gradient of the whole batch?


# %%
def gradient(model, parts, share):
    """All gradients in one row, after a backward for each part; share(x) weighs its loss."""
    model.zero_grad()
    for x, y in parts:
        (share(x) * bits_per_byte(model(x), y)).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


model = make()
whole = gradient(model, [(inputs, targets)], lambda x: 1)
quarters = list(zip(inputs.split(3), targets.split(3), strict=True))
careless = gradient(model, quarters, lambda x: 1)
divided = gradient(model, quarters, lambda x: 1 / 4)

print("one backward for each part:", f"{careless.norm() / whole.norm():.2f} times as long")
print("each loss divided by 4:    ", f"{divided.norm() / whole.norm():.2f} times as long")
torch.testing.assert_close(divided, whole, rtol=1e-4, atol=1e-6)

# %% [markdown]
# Four times too long. The loss is a *mean* over windows, and the mean of twelve is a quarter of the sum of four means. Divided by four, it is the
# gradient of the whole, number for number, up to rounding.
#
# Forgetting this division is an old mistake. A gradient four times too long must wreck a run, you would think. **Predict** what you will see with `SGD`, the
# plainest optimizer (it moves each weight by the rate times its gradient), and what with `AdamW`. Both are run with the division and without; nothing
# is clipped.


# %% tags=["nbval-ignore-output"]
def run(kind, peak, share):
    model, losses = make(), []
    optimizer = kind(model.parameters())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak, warmup=10)
        x, y = sample_batch(train_text, batch_size, n, seed=step)
        parts = list(zip(x.split(3), y.split(3), strict=True))
        gradient(model, parts, lambda x: share)
        optimizer.step()
        with torch.no_grad():
            losses.append(bits_per_byte(model(x), y).item())
    return losses


end = {}
for kind, peak in ((torch.optim.SGD, 1.0), (torch.optim.AdamW, 4e-3)):
    for name, share in (("divided", 1 / 4), ("forgotten", 1)):
        losses = run(kind, peak, share)
        end[kind.__name__, name] = losses[-1]
        print(f"{kind.__name__:5} {name:9}", *(f"{loss:10.3f}" for loss in losses[9::10]))
assert not end["SGD", "forgotten"] < end["SGD", "divided"] + 1  # NaN, or far worse
assert abs(end["AdamW", "forgotten"] - end["AdamW", "divided"]) < 0.01

# %% [markdown]
# SGD breaks. AdamW does not notice: it divides each gradient by that gradient's own recent size, so a factor of four cancels. **The loss curve does not show you
# this mistake.** It waits for the day when you clip at a fixed length, or change the number of parts. So compare gradients, not curves.
#
# The second mistake is to divide by the *number* of parts. As long as all parts are equal, no test sees it. Twelve losses: ten are 1, the last two are 6. Cut them into parts of 5, 5 and 2.
# **Predict:** their mean, and the mean of the three means.

# %%
losses = torch.tensor([1.0] * 10 + [6.0] * 2)
means = [part.mean().item() for part in losses.split(5)]
print(f"mean of all {losses.mean():.2f}, mean of the means {sum(means) / 3:.2f}")

unequal = list(zip(inputs.split(5), targets.split(5), strict=True))
ways = {"a third each": lambda x: 1 / 3, "by size": lambda x: len(x) / batch_size}
for name, share in ways.items():
    off = (gradient(model, unequal, share) - whole).norm() / whole.norm()
    assert off > 0.05 or off < 1e-4
    print(f"weighed {name:13} the gradient is", "wrong" if off > 0.05 else "that of the batch")

try:
    train(make(), train_text, valid_text, accumulate=5, **settings)
except ValueError as error:
    print(textwrap.fill(f"train: {error}", 90))
runs["four parts"] = train(make(), train_text, valid_text, accumulate=4, **settings)
assert distance("four parts") < 1e-4
print("train in four parts: within 0.0001 bits of the first run")

# %% [markdown]
# In a short part each window counts for more than in a long one. Weigh each part by its size, and it is right again. The library is stricter: it refuses a batch
# that cannot be cut into equal parts. With four, the run is the one you know.
#
# ## 12.3 Two workers, by hand
#
# The parts need not come one after the other. Give each to a **worker** with its own copy of the model, average the gradients, and let every worker make the
# same step. This is **data parallel** training. Two copies are enough to play it, and no second processor is needed.
#
# **Predict:** after ten steps, how far apart are the two copies? And after an eleventh, in which the average is forgotten?


# %%
workers = (make(), make())
optimizers = [torch.optim.AdamW(worker.parameters(), lr=4e-3) for worker in workers]

for step in range(11):
    x, y = sample_batch(train_text, batch_size, n, seed=step)
    # Each worker gets half of the rows, and its own gradients.
    for worker, mine in zip(workers, zip(x.chunk(2), y.chunk(2), strict=True), strict=True):
        gradient(worker, [mine], lambda x: 1)
    pairs = list(zip(*(worker.parameters() for worker in workers), strict=True))
    if step < 10:  # the eleventh time we forget it
        for a, b in pairs:  # the same weight in both copies
            mean = (a.grad + b.grad) / 2
            a.grad, b.grad = mean, mean.clone()
    for optimizer in optimizers:
        optimizer.step()
    equal = all(torch.equal(a, b) for a, b in pairs)
    if step >= 9:
        print(f"after step {step + 1}:", "equal" if equal else "two different models")
assert not equal

# %% [markdown]
# Equal, not nearly equal: the same weights and the same gradient make the same step, so nobody ever has to send weights around. But one exchange forgotten, and there are two
# models. Nothing brings them together again, and no error is raised.
#
# Between processes the average is a conversation, called **all-reduce**: each brings a tensor, and each leaves with the mean (or the sum) of all.

# %%
batch, reduce = "batch\n(b, n)", "all-reduce\nmean gradient"
boxes = {batch: (0, 1), reduce: (3.4, 1)}
arrows = []
for k, row in ((0, 2), (1, 0)):
    rows, same = f"process {k}\nhalf of the rows", f"process {k}\nthe same step"
    boxes |= {rows: (1.6, row), same: (5.2, row)}
    arrows += [(batch, rows, ""), (rows, reduce, ""), (reduce, same, "")]
viz.diagram(
    boxes,
    arrows,
    alt="A batch goes half to process 0, half to process 1. Both bring their gradients to one box, "
    "all-reduce, and the same mean leads each of them to the same step.",
)

# %% [markdown]
# ## 12.4 Two real processes
#
# Processes start from outside, so we need the run as a command. `python -m gmlp train` is lesson 04's `train` around lesson 11's model, with an option for each
# argument. `torchrun`, which comes with PyTorch, starts a command several times and tells each process its number, the **rank**, and how many there are.
# (Below it goes by its long name, since the short one may not be on your path.)
#
# **Predict:** for so small a model, are two processes faster than one? And how far from the first run's will their six numbers be?


# %% tags=["nbval-ignore-output"]
def command(out, launcher=""):
    # --attn-dim none, because the command would give each layer a head of lesson 06.
    options = "--corpus manual.txt --valid-bytes 4096 --device cpu --dim 64 --depth 2 "
    options += "--seq-len 64 --attn-dim none --batch-size 12 --steps 60 --warmup 10 "
    options += "--eval-every 10"
    return f"{launcher} -m gmlp train --out {out} {options}".split()


torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2"
line = " ".join(["python", *command("two-processes", torchrun)])
print(textwrap.fill(line, 90, break_on_hyphens=False), end="\n\n")

environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "90"}  # 90: how wide it prints
child = {"cwd": folder.name, "env": environment}
child |= {"capture_output": True, "text": True, "timeout": 110}
began = time.perf_counter()
words = [sys.executable, *command("two-processes", torchrun)]
done = subprocess.run(words, check=False, **child)
assert done.returncode == 0, done.stderr
print(f"two processes, starting included: {time.perf_counter() - began:.1f} seconds")
print(f"the first run, here in the notebook: {first_run_took:.1f} seconds")
print(done.stdout.splitlines()[-2])  # the last line but one of what the command printed

# %% [markdown]
# Not by this clock, which counts the start of two processes, with PyTorch in each; and after each step they wait for one another. Two pay off when a step takes long. What counts here is whether it was the same
# run. The command writes a line into `log.csv` for each validation:


# %%
from gmlp.training import Record


def read_log(out):
    lines = Path(folder.name, out, "log.csv").read_text().splitlines()
    return [Record(*map(float, line.split(","))) for line in lines[1:]]


runs["two processes"] = read_log("two-processes")
assert distance("two processes") < 1e-4
count = len(runs["two processes"])
print("two processes: within 0.0001 bits of the first run, at", count, "validations")

# %% [markdown]
# A command instead of a notebook, two processes of which each saw half of every batch, and the same six numbers. Here `--batch-size` is the batch of all processes *together*. Many
# tools count it per process: there, twice the processes make twice the batch, and that is another run, which wants another learning rate.
#
# What did `train` need for this? Hardly more than you wrote. PyTorch's `DistributedDataParallel` wraps the model and calls all-reduce during `backward`; `gloo` carries the messages between
# CPUs, `nccl` between GPUs.
#
# ## 12.5 Kill it
#
# Lesson 04 interrupted a run politely. A power cut is not polite, and a rented machine may be taken away without a word. So: start the command, wait until its log
# has two validations, and **kill** the process: the system ends it (by SIGKILL, a signal that nobody can catch), and it gets no chance to write another byte.

# %%
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen(
    [sys.executable, *command("killed")], cwd=child["cwd"], env=child["env"], **quiet
)
log = Path(folder.name, "killed", "log.csv")
while not (log.exists() and log.read_text().count("\n") >= 3):  # a heading and two lines
    assert process.poll() is None, "it ended by itself"
    time.sleep(0.02)
process.kill()

print("ended well:", process.wait() == 0)
for name in ("checkpoint.safetensors", "model.safetensors"):
    print(f"{name:22}", "is there" if log.with_name(name).exists() else "is not there")

# %% [markdown]
# The finished model never came to be. The checkpoint is there. Now the same command again, word for word. **Predict:** from which step does it go on, and will its end be that of
# the undisturbed run?

# %% tags=["nbval-ignore-output"]
from gmlp.training import read_notes

kept = read_notes(log.with_name("checkpoint.safetensors"))["step"]
done = subprocess.run([sys.executable, *command("killed")], check=False, **child)
assert done.returncode == 0, done.stderr
runs["killed and resumed"] = read_log("killed")
assert 10 <= kept < steps and distance("killed and resumed") < 1e-4
print(
    f"went on from step {kept}; validations at",
    *(f"{r.step:.0f}" for r in runs["killed and resumed"]),
)

viz.curves(
    {
        name: ([r.step for r in history], [r.valid_bits for r in history])
        for name, history in runs.items()
    },
    xlabel="steps",
    ylabel="bits per byte",
    alt="Four runs stand in the legend, and one falling line in the picture: the first run, the "
    "one in four parts, the one of two processes and the killed one coincide.",
)

# %% [markdown]
# Four names, one line. This is how such a picture has to look. (The log had two validations when we killed the run, and still it may go on from the first of them: the line is written before the
# checkpoint. Then the second start takes that line back and makes it again. What counts is the checkpoint, not the log.)
#
# You know all that makes it possible: the checkpoint holds weights, optimizer and step; it is written under another name first, so a kill while writing leaves the old one; and the batch of a step
# depends on the number of the step alone.
#
# ## 12.6 Fewer bits
#
# A number in float32 takes 32 bits, four bytes. With 16 bits half as much has to be carried about, and GPUs multiply such numbers several times faster. There are two kinds. **bfloat16** has
# the range of float32 and fewer digits; **float16** has more digits than that and a much smaller range.
#
# **Predict:** what is 256 + 1 in bfloat16? And what do you get when you start at 0 and add 1 a thousand times?

# %%
t = torch.tensor
print("          bfloat16     float16")
for name, number in (("1/3", t(1 / 3)), ("256 + 1", t(257.0)), ("70000", t(70_000.0))):
    both = number.to(torch.bfloat16), number.to(torch.float16)
    print(f"{name:8}", *(f"{rounded.item():12.8g}" for rounded in both))

total = t(0.0, dtype=torch.bfloat16)
for _ in range(1000):
    total += 1
print("\n1 added 1000 times, in bfloat16: ", total.item())
ones = torch.ones(1000, dtype=torch.bfloat16)
print("PyTorch's own sum, in bfloat16:  ", ones.sum().item())

# %% [markdown]
# From 256 to 512 bfloat16 knows only every second whole number, so 257 becomes 256. With each doubling the steps double, too: near 70,000 they are 512. And a sum that has reached 256 stands still for good. PyTorch's own `sum` gets 1000 because it adds in float32
# inside and rounds once, at the end. float16 is finer, and calls 70,000 infinite. A rule begins to show: **multiply in 16 bits, add up in 32.**
#
# Training adds up, too: thousands of small steps on each weight. **Predict:** what happens to a step when the *weights* are stored in bfloat16?


# %%
def moved(model, peak=1e-4):
    """Of the weights with a gradient, the share that one step of AdamW changes."""
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0)
    bits_per_byte(model(inputs), targets).backward()
    optimizer.step()
    triples = zip(model.parameters(), before, strict=True)
    changed = [(p != old)[p.grad.abs() > 1e-6] for p, old in triples]
    return torch.cat(changed).float().mean().item()


share = {"float32": moved(make()), "bfloat16": moved(make().bfloat16())}
assert share["float32"] > 0.99 and share["bfloat16"] < 0.5
for name, s in share.items():
    print(f"weights in {name}: {s:.0%} of them moved")
tenth = moved(make().bfloat16(), peak=1e-5)
assert tenth < share["bfloat16"] / 2
print(f"with a tenth of the rate: {tenth:.0%}")

# %% [markdown]
# AdamW divides each gradient by its own size, so each weight wanted to move by about the rate, 0.0001. In bfloat16 the next number is often so far away that the sum is rounded back to where it was. And a smaller rate, such as the schedule
# gives to the end of every run, moves still fewer.
#
# So the weights stay in float32, and only the arithmetic gets fewer bits. `torch.autocast` decides that, operation by operation. **Predict:** which of the outputs below come out in
# bfloat16? (A hook is a function that a module calls after its forward; ours notes the dtype.)

# %%
model, seen = make(), {}
for name, part in model.named_modules():
    part.register_forward_hook(lambda m, _, out, name=name: seen.update({name: out.dtype}))
with torch.autocast("cpu", dtype=torch.bfloat16):
    loss = bits_per_byte(model(inputs), targets)

places = {"embedding": "embed", "norm before the block": "blocks.0.fn.norm"}
places |= {"Linear, to the inside": "blocks.0.fn.fn.proj_in.0"}
places |= {"spatial gating unit": "blocks.0.fn.fn.sgu", "Linear, back": "blocks.0.fn.fn.proj_out"}
places |= {"x + block(x)": "blocks.0", "last norm": "norm", "logits": "to_logits"}
for label, name in places.items():
    print(f"{label:22} {seen[name]}")
print(f"{'loss':22} {loss.dtype}")
print(f"{'weights':22} {model.to_logits.weight.dtype}")

# %% [markdown]
# Products of matrices go to bfloat16: the `Linear` layers, and $W v$ inside the unit. What is added to again and again stays in float32: the stream $x$, to which each layer adds, the loss, and the
# weights.
#
# What does it cost? The same run, once more. **Predict:** how far from the first?

# %% tags=["nbval-ignore-output"]
runs["bfloat16"] = train(make(), train_text, valid_text, precision="bfloat16", **settings)
print(f"largest distance: {distance('bfloat16'):.5f} bits")
fell = runs["first run"][0].valid_bits - runs["first run"][-1].valid_bits
print(f"what the first run learned between its first and last validation: {fell:.1f} bits")
assert distance("bfloat16") < 0.02

# %% [markdown]
# No longer the same numbers, and no worse ones: next to what the run learned, the difference is small.
#
# The trouble of float16 is its small range, at the lower end as well. **Predict:** a gradient of 0.00000001 in float16? And what could you multiply the *loss* by, so that it survives? (The
# gradient of $c \cdot loss$ is $c$ times the gradient.)

# %%
tiny = t(1e-8)
scaled = (tiny * 65_536).to(torch.float16)
print("as it is          ", tiny.to(torch.float16).item())
print("times 65536       ", scaled.item())
print("and divided again ", f"{scaled.float().item() / 65_536:.2g}\n")

weight = nn.Parameter(t([1.0]))
optimizer = torch.optim.SGD([weight], lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for size in (1.0, math.inf, 1.0):
    optimizer.zero_grad()
    scaler.scale((size * weight).sum()).backward()
    scaler.step(optimizer)  # divides the gradient, and steps only if all of it is finite
    scaler.update()
    print(f"a gradient of {size}: weight {weight.item():.1f}, scale {scaler.get_scale():.0f}")

# %% [markdown]
# A **loss scaler** (Micikevicius et al. 2017, [Mixed Precision Training](https://arxiv.org/abs/1710.03740)) multiplies the loss before `backward` and divides the gradient, in float32, before the step. If something overflows on the way, it leaves out that step and halves the scale: the
# weight stayed at 0.9. `train(precision="float16")` has one. With bfloat16 you need none, since it has the range of float32; where you can choose, take that.
#
# ## 12.7 What bounds us?
#
# Would your model be faster on a processor that computes faster? Not always. Before numbers can be multiplied, they have to come from memory. So every operation has two prices:
#
# - its **FLOPs** (floating-point operations), how many additions and multiplications it takes;
# - its bytes, how much it reads from memory and writes back.
#
# FLOPs for each byte is its **arithmetic intensity**. Count three pieces of a model with 2048 channels, in float32. The product widens $t$ tokens from $d$ to $4d$ channels, and its weights have to be read
# once, however many tokens there are. **Predict:** which piece does most with each byte, which least?


# %%
def product(t, d=2048, size=4):
    """(t, d) @ (d, 4d), numbers of `size` bytes: FLOPs, bytes."""
    return 2 * t * d * 4 * d, size * (t * d + d * 4 * d + t * 4 * d)


def gating(t, d=2048, size=4):
    """u * v, each (t, 2d): one multiplication a number; read u, read v, write."""
    return t * 2 * d, size * 3 * t * 2 * d


pieces = {"product, 256 tokens": product(256), "product, 1 token": product(1)}
pieces["u * v, 4096 tokens"] = gating(4096)
for name, (flops, traffic) in pieces.items():
    print(f"{name:20} {flops:14,} FLOPs {traffic:12,} bytes  intensity {flops / traffic:6.2f}")

# %% [markdown]
# One token is what a model reads when it *writes* (lesson 05). There each weight is fetched, used for one multiplication and one addition, and not used again.
#
# Now the two limits of your processor: its **peak**, FLOPs a second when the numbers are at hand, and its **bandwidth**, bytes a second when there is next to nothing to compute. We take the best of several rounds, because other programs only ever slow it down.


# %% tags=["nbval-ignore-output"]
# CPU time, where the system counts it finely: waiting for other programs is left out.
cpu_clock = time.perf_counter if os.name == "nt" else time.process_time


def seconds(function, rounds=8, clock=cpu_clock):
    best = math.inf
    for _ in range(rounds):
        began = clock()
        function()
        best = min(best, clock() - began)
    return best


squares = [torch.randn(2, k, k) for k in (256, 512, 1024)]
peak_flops = max(2 * a.shape[-1] ** 3 / seconds(lambda a=a: a[0] @ a[1], 20) for a in squares)
source, other, target = torch.zeros(3, 2**23)
moved = {1: source.sum, 2: lambda: target.copy_(source)}  # tensors read and written
moved[3] = lambda: torch.mul(source, other, out=target)
peak_bytes = max(k * source.nbytes / seconds(move) for k, move in moved.items())
print(f"{peak_flops / 1e9:.0f} GFLOP/s (G: thousand millions) and {peak_bytes / 1e9:.0f} GB/s")
print(f"to be busy, this core wants {peak_flops / peak_bytes:.1f} FLOPs for each byte")

# %% [markdown]
# So an operation of intensity $I$ can reach at most $\min(peak,\ I \cdot bandwidth)$. Drawn over $I$, this is a roof: it climbs as long as memory sets the limit, and is flat where arithmetic
# does. The picture is called the **roofline** (Williams, Waterman and Patterson 2009, [Roofline](https://doi.org/10.1145/1498765.1498785)). Its corner is the number that you just saw.
#
# **Predict**, with the last column of the table and that number: which of the three pieces are bound by memory? Then measure.

# %% tags=["nbval-ignore-output"]
from gmlp.viz.plots import COLOURS, STYLE

wide = torch.randn(2048, 4 * 2048)
many, one = torch.randn(256, 2048), torch.randn(1, 2048)
u, v, gated = torch.randn(3, 4096, 2 * 2048)
out = torch.empty(256, 4 * 2048)
took = {
    "product, 256 tokens": seconds(lambda: torch.mm(many, wide, out=out), rounds=3),
    "product, 1 token": seconds(lambda: torch.mm(one, wide, out=out[:1])),
    "u * v, 4096 tokens": seconds(lambda: torch.mul(u, v, out=gated)),
}
with plt.rc_context(STYLE):
    figure, axes = plt.subplots(figsize=(7, 3.6))
    intensity = [2 ** (k / 4) for k in range(-20, 37)]
    roof = [min(peak_flops, i * peak_bytes) / 1e9 for i in intensity]
    axes.loglog(intensity, roof, color=COLOURS[0], label="the roof")
    for k, (name, (flops, traffic)) in enumerate(pieces.items(), 1):
        speed = flops / took[name] / 1e9
        axes.loglog(flops / traffic, speed, "osD"[k - 1], ms=9, color=COLOURS[k], label=name)
        print(f"{name:20} {speed:6.2f} GFLOP/s")
    axes.set(xlabel="FLOPs for each byte", ylabel="GFLOP/s")
    axes.legend(loc="lower right")
    viz.show(
        figure,
        "A line that climbs and then turns flat. The gating and the product with one token lie by "
        "its climbing part, on the left; the product with 256 tokens far right, by the flat part.",
    )
alone = took["product, 1 token"] / (took["product, 256 tokens"] / 256)
print(f"a token alone costs {alone:.1f} times as much as one among 256")
assert alone > 1.5

# %% [markdown]
# The gating and the single token lie by the slope, or below it, for a roof is a limit: for them, faster arithmetic would change nothing, and fewer bytes would. The large product lies by the flat part. (Why so many tokens for $u v$? The tensors of 256 could stay
# in the processor's own **cache** (not that of lesson 05), a small, fast memory on the chip, which our roof leaves out. And measurements scatter: a point may come out a little above the roof.)
#
# And the last line that was printed is the price of writing for one reader. The weights are read in any case; among 256 tokens they share that bill. So those who write for many readers put them into one batch.
#
# Below (solid: the product, dashed: $u v$), move *tokens at once*: $b \cdot n$ while training, $b$ while writing. Three GPUs of NVIDIA are there as well, with bfloat16: two by their data sheets, and one, an H200, as we
# measured it, by large products and large copies. **How many tokens at once does the H100 need until memory no longer sets the limit? And your processor?**

# %% tags=["nbval-ignore-output"]
from gmlp.viz.scaling_up import roofline

# A machine: FLOP/s, bytes a second, bytes of a number.
gpus = {"A100, data sheet": (312e12, 2.039e12, 2), "H100, data sheet": (989e12, 3.35e12, 2)}
gpus["H200, measured"] = (768e12, 4.08e12, 2)  # python -m benchmarks.gpu
roofline(peak_flops, peak_bytes, others=gpus)

# %% tags=["nbval-ignore-output"]
busy = {}
for name, (flop_rate, byte_rate, size) in {"yours": (peak_flops, peak_bytes, 4), **gpus}.items():
    for tokens in (2**k for k in range(12)):
        flops, traffic = product(tokens, size=size)
        if flops / flop_rate > traffic / byte_rate:
            break
    busy[name] = tokens
    print(
        f"{name:16} {flop_rate / byte_rate:5.1f} FLOPs for each byte; busy from {tokens} tokens"
    )  # of 1, 2, 4 …
assert (busy["A100, data sheet"], busy["H100, data sheet"]) == (256, 512)
flop_share, byte_share = 768 / 989, 4.08 / 4.8  # 989 TFLOP/s and 4.8 TB/s: its data sheet
print(f"the H200 gave {flop_share:.0%} of the FLOPs and {byte_share:.0%} of the bytes it promises")

# %% [markdown]
# The faster the arithmetic beside the memory, the more tokens it wants at once. (The H200 is an H100 with faster memory; and what a data sheet promises is a roof over the roof.) And the dashed line stays where it is: two numbers read and one written for one operation, whatever the batch.
#
# ## 12.8 Fewer trips: `torch.compile`
#
# That dashed line has a remedy. Take the gate of our unit with tanh: add the bias, squash, multiply by $u$. PyTorch runs three operations, one after the other; each reads large tensors and writes one. A single loop could read
# $u$ and $v$ once, do all three, and write once.
#
# `torch.compile` makes such loops. At the first call it runs your function with stand-ins for the tensors, notes the operations as a **graph**, and hands that to a **backend**, which writes code for it. A backend of our own
# can look at the graph, and then run it as it is. **Predict:** how much would one loop gain, if only the large tensors that are read and written counted? (`bias` is small.)


# %%
def gate(u, v, bias):  # (b, n, d), (b, n, d), (n, 1)
    return torch.tanh(v + bias) * u


def look(graph, example_inputs):
    print(*(node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"))
    return graph.forward


u, v, bias = torch.randn(32, 512, 256), torch.randn(32, 512, 256), torch.randn(512, 1)
expected = gate(u, v, bias)
assert torch.equal(torch.compile(gate, backend=look)(u, v, bias), expected)

trips = sum({"add": 2, "tanh": 2, "mul": 3}.values())  # large tensors read and written
print(f"{trips} trips against 3: by this count, one loop is {trips / 3:.1f} times as fast")

# %% [markdown]
# PyTorch's own backend writes C++ for a CPU and needs a compiler for that. The first call waits for it.

# %% tags=["nbval-ignore-output"]
if not any(map(shutil.which, ("g++", "clang++", "cl"))):
    print("No C++ compiler here, so torch.compile cannot write code for this processor.")
elif " " in sys.prefix:
    print("The path of this Python has a space in it, at which torch.compile stumbles.")
else:
    compiled = torch.compile(gate)
    began = time.perf_counter()
    torch.testing.assert_close(compiled(u, v, bias), expected)
    first_call = time.perf_counter() - began
    plain, later = seconds(lambda: gate(u, v, bias)), seconds(lambda: compiled(u, v, bias))
    print(f"first call {first_call:.1f} s; later ones {plain / later:.1f} times as fast as plain")
    if later < plain:
        print(f"paid for after {first_call / (plain - later):,.0f} calls")

# %% [markdown]
# What it gains depends on your machine. (It may be more than the count says, which leaves out that plain PyTorch must make room for two large tensors at every call.) It cannot speed up a large product that
# arithmetic bounds already, and a run of seconds is over before it has paid. For a run of hours try `train(…, compile=True)`.
#
# ## 12.9 If you have a GPU
#
# Two things change in the code: the model moves there once, with `.to("cuda")`, and each batch when it is cut, which `train` does. On our small run expect little or nothing of a GPU:
# each operation is so short that the GPU waits for Python. It needs a larger model. (`"cuda"` is PyTorch's name for GPUs of NVIDIA.)
#
# So take eight layers of 1024 channels, and 32 windows of 512 bytes: `large`, in the last cell of this section. On the H200 of the roofline above (PyTorch 2.11), products of large matrices run
# at 51 TFLOP/s in float32 and at 768 in bfloat16 (T: a thousand G), for which it has circuits of its own. **Predict:** how many times as fast do forward and backward become?

# %%
# NVIDIA H200, python -m benchmarks.gpu, kept in benchmarks/results/gpu.json: tokens a second.
H200 = {"float32": 123_923, "bfloat16": 647_567, "bfloat16, compiled": 935_861}
print(f"products of large matrices: {768 / 51:.0f} times as fast with bfloat16")
for name, rate in H200.items():
    print(f"{name:18} {rate:9,} tokens a second: {rate / H200['float32']:.1f} times as many")

# Multiplications a token: linear layers, and W whole (lesson 11 counted only pairs that may meet).
per_token = 8 * (6 * 1024**2 + 512 * 2 * 1024) + 1024 * 256
for name, speed in (("float32", 51e12), ("bfloat16", 768e12)):
    share = 3 * 2 * per_token * H200[name] / speed  # a multiplication and an addition; 3: backward
    print(f"{name:18} the products alone would take {share:.0%} of that time")

# %% [markdown]
# Far fewer than fifteen. Once the products are so fast, the rest is what takes the time: norms, gates, GELU, all of them on the slope of the roof, where faster arithmetic changes nothing. Fewer trips do; compiling pays here.
#
# Now yours. One trap: a call to a GPU returns before the result is there, so a clock that does not wait measures only the asking. `torch.cuda.synchronize()` waits.

# %% tags=["gpu", "nbval-ignore-output"]
if not torch.cuda.is_available():
    print("No GPU here: this cell would show our run there, and tokens a second.")
else:
    began = time.perf_counter()
    runs["GPU"] = train(make().to("cuda"), train_text, valid_text, **settings)
    took_gpu = time.perf_counter() - began
    print(f"largest distance {distance('GPU'):.4f} bits")
    print(f"{took_gpu:.1f} seconds; the first run: {first_run_took:.1f}")

    large = gMLPGPT(num_tokens=256, dim=1024, depth=8, seq_len=512).to("cuda")
    x, y = (rows.to("cuda") for rows in sample_batch(train_text, 32, 512, seed=0))

    def forward_and_backward(half):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            bits_per_byte(large(x), y).backward()
        torch.cuda.synchronize()

    for name, half in (("float32", False), ("bfloat16", True)):
        took_gpu = seconds(lambda half=half: forward_and_backward(half), clock=time.perf_counter)
        print(f"{name}: {x.numel() / took_gpu:,.0f} tokens a second")

# %% [markdown]
# ## 12.10 The finished module
#
# All of this stands in one loop. Its middle, from `gmlp/training.py`; the second print is what you can ask of the command.

# %%
import inspect

text = inspect.getsource(train)
start = text.index("                parts = zip(")
print(textwrap.dedent(text[start : text.index("            norm = nn.utils", start)]))

words = [sys.executable, "-m", "gmlp", "train", "--help"]
print(subprocess.run(words, check=True, **child).stdout.split("\n\n")[0])

# %% [markdown]
# `chunk(accumulate)` cuts the batch, `chunk(ranks)[rank]` takes the rows of this process (without `torchrun`, `ranks` is 1), and `loss / accumulate` is the division that
# AdamW would not have missed. `running` is the model, or what wraps it: `DistributedDataParallel`, or a compiled model. An `ExitStack` is a `with` that is filled as it goes: here with `no_sync`, in every part but the last, so that the processes do not talk before. `unscale_` takes
# the scale of 12.6 out of the gradient again, before it is clipped. Your parts against the library's, one step:

# %%
mine, theirs = make(), make()
optimizer = torch.optim.AdamW(mine.parameters(), lr=4e-3, weight_decay=0.01)
x, y = sample_batch(train_text, batch_size, n, seed=0)
gradient(mine, zip(x.chunk(4), y.chunk(4), strict=True), lambda x: 1 / 4)
nn.utils.clip_grad_norm_(mine.parameters(), 1.0)
optimizer.step()

one_step = settings | {"steps": 1, "warmup": 1, "peak": 4e-3}
train(theirs, train_text, valid_text, accumulate=4, **one_step)
for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(a.grad, b.grad)
folder.cleanup()
print("gradients and weights equal to yours, after a step in four parts")

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. You forget to divide the losses of four parts by 4, and train with AdamW. What does the loss curve show?**
#
# <details><summary>It explodes, since every step is four times too long.</summary>No: so it is with SGD. AdamW divides each gradient by its own recent size, so the four cancels.</details>
# <details><summary>Hardly anything: the mistake shows in the gradient, not in the curve.</summary>Right: AdamW does not notice a factor, so compare gradients, before you clip at a fixed length or change the number of parts.</details>
# <details><summary>It falls four times as fast.</summary>No: a gradient four times as long does not make AdamW's steps longer, for it looks at each gradient beside its own recent size.</details>
# <br>
#
# **2. Two workers hold copies of one model. After one step the average of the gradients was forgotten. What then?**
#
# <details><summary>The next average brings the copies together again.</summary>No: averaged are the gradients, not the weights; equal steps from two places end in two places.</details>
# <details><summary>The next all-reduce raises an error, because the weights differ.</summary>No: nobody compares the weights, and the gradients still have one shape.</details>
# <details><summary>There are two different models from then on, and nobody is told.</summary>Right: equal steps keep equal weights equal, and different weights different.</details>
# <br>
#
# **3. A model writes one token at a time, and memory sets the limit. What makes a token cheaper?**
#
# <details><summary>Several texts at once, for then one reading of the weights serves all of them.</summary>Right: the weights are read in any case, and more tokens at once share that bill.</details>
# <details><summary>A processor with the same memory that multiplies twice as fast.</summary>No: it only waits longer; on the slope of the roof the arithmetic is not what limits.</details>
# <details><summary>Nothing: each token costs the same number of FLOPs.</summary>No: FLOPs are not what sets the time here; the bytes are, and they can be shared.</details>
# <details><summary>Adding up in 16 bits as well as multiplying.</summary>No: that saves few bytes next to the weights, and sums stand still.</details>
#
# ## What you can do now
#
# - ✓ cut a batch into parts, or share it among processes, and prove it by the gradient, since the loss may hide a mistake;
# - ✓ start a run as a command, kill it, and have it go on to the same end;
# - ✓ multiply in 16 bits, add up in 32, and scale a loss whose gradients float16 would lose;
# - ✓ count FLOPs and bytes, draw the roof, and say what memory bounds: gating, and writing one token at a time;
# - ✓ say what `torch.compile` saves, trips to memory, and after how many calls that has paid.
#
# **Practise:** the [exercises](../exercises/12_scaling_up.ipynb) of this lesson: five, in about 75 minutes.
#
# **Next:** the machinery may grow, and what is learned stays what it was. So what *is* learned, and is it any good? In lesson 13 you find out, with an experiment of your own, several seeds, and error
# bars.
