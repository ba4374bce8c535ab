# %% [markdown]
# # 05 · Generation: how does it write, and fast?
#
# *55 minutes. You need: [lesson 02](02_causal_masking.ipynb), the causal unit, and [lesson 04](04_training.ipynb), the language model.*
#
# When you are done you can
#
# 1. show what happens to a model that always takes the likeliest byte;
# 2. build **temperature**, **top-k** and **top-p** by hand, and say in which order they work, and why it matters;
# 3. derive from lesson 02 how little of a text must be read again, and build the **cache** that remembers the rest;
# 4. catch a wrong cache with one test, and say with which model the test is worth nothing;
# 5. say what happens when a text outgrows the context, and write in batches, with an end, and byte by byte.

# %%
import math
import re
import textwrap
import time

import torch
import torch.nn.functional as F
from torch import nn

from gmlp import (
    CausalSGU,
    LanguageModel,
    PreNorm,
    Residual,
    decode,
    encode,
    generate,
    gMLPBlock,
    load_corpus,
    load_tiny,
    sample_batch,
    split_corpus,
    stream,
    viz,
)

train_text, valid_text = split_corpus(load_corpus("pydocs"))
model = load_tiny()  # the small model of lesson 00: four layers, trained
v = 256  # bytes in the vocabulary
print("reads at most", model.seq_len, "bytes at once")

# %% [markdown]
# ## 5.1 Always the likeliest
#
# At every position the model gives each of the 256 bytes a chance. Until now we drew from these chances, a little like rolling dice. Why leave it to dice, when we
# know which byte is likeliest? To take that one, always, is called **greedy** decoding.
#
# Here is the loop of lesson 02 once more, with the choice of the byte as an argument.
#
# **Predict:** the model of lesson 00 wrote something like a manual when it drew its bytes. Will the text be better if it always takes the best byte? Write
# down what you expect of 300 bytes.


# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def write(model, prompt, length, choose):
    tokens = encode(prompt)[None]  # (1, n)
    for _ in range(length):
        logits = model(tokens[:, -model.seq_len :])[:, -1]  # (1, v): only the last position counts
        tokens = torch.cat([tokens, choose(logits)[:, None]], dim=1)
    return decode(tokens[0])


def greedy(logits):  # (b, v) -> (b,)
    return logits.argmax(dim=-1)


def show(text):  # long lines, cut at spaces
    for line in text.splitlines():
        print(textwrap.fill(line, 88))


best_bytes = write(model, "The ", 300, greedy)
show(best_bytes)

# %% [markdown]
# Hardly a wrong letter, and it says the same as the same as the same. After the same last bytes the same byte is nearly always the
# likeliest. So when it comes back to a word where it has been, it goes on as it did before, and comes back again. (Not for ever: each position has a row of its own in $W$, so now and then another byte wins, and it falls into the next circle.)
#
# Let us give it a number: the share of the places at which the last twelve bytes stood in the text before.


# %% tags=["nbval-ignore-output"]
def repeated(text, length=12):
    """The share of pieces of `length` bytes that occurred further left in the same text."""
    pieces = [text[i : i + length] for i in range(len(text) - length + 1)]
    return 1 - len(set(pieces)) / len(pieces)


manual = [repeated(decode(valid_text[i : i + 300])) for i in range(0, 30_000, 300)]
drawn = generate(
    model, encode("The "), 300, temperature=0.7, generator=torch.Generator().manual_seed(0)
)
print(f"greedy     {repeated(best_bytes):.2f}")
print(f"drawn      {repeated(decode(drawn)):.2f}")
print(f"the manual {sum(manual) / len(manual):.2f}")

assert "same as the same as" in best_bytes and repeated(decode(drawn)) < 0.2
assert repeated(best_bytes) > 0.35 and repeated(best_bytes) > 1.5 * sum(manual) / len(manual)

# %% [markdown]
# The same model, drawing its bytes, does not go in circles. (The manual itself repeats a little: set phrases.) So the circle comes from the way we *choose*. Large models do the same: Holtzman et al. 2020,
# [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751), show it for models that are far larger than ours.
#
# ## 5.2 Temperature
#
# One position, looked at closely, will serve us for a while: what may follow `The p`?


# %%
def likeliest(logits, count=8):
    """{byte: chance} of the likeliest, for logits (v,)."""
    chances, tokens = logits.softmax(-1).topk(count)
    return {
        repr(chr(token)): chance
        for token, chance in zip(tokens.tolist(), chances.tolist(), strict=True)
    }


with torch.no_grad():
    logits = model(encode("The p")[None])[0, -1]  # (v,)
viz.bars(
    likeliest(logits),
    xlabel="chance of the next byte after “The p”",
    alt="The eight likeliest bytes after “The p”: r with more than half, o and a with about a "
    "fifth each, then u, l and e with about a hundredth, and nearly nothing for the rest",
)

# %% [markdown]
# *Present*, *possible*, *particular*, *public*, *place*, *period*: you can name the words behind the bars. Three bytes share nearly everything.
#
# A **temperature** $T$ divides the logits before the softmax: $p = \mathrm{softmax}(logits / T)$. **Predict:** what happens to the three large bars for $T = \frac12$,
# and for $T = 2$? And in the limits, $T \to 0$ and $T \to \infty$?

# %%
for T in (0.01, 0.5, 1, 2, 1000):
    chances = (logits / T).softmax(-1)
    shown = "  ".join(f"{letter} {chances[ord(letter)]:.2f}" for letter in "roau")
    rest = 1 - sum(chances[ord(letter)] for letter in "roau").item()
    print(f"T = {T:<6} {shown}  all others {rest:.2f}")

# %% [markdown]
# Half the temperature doubles every logit, and $e^{2x} = (e^x)^2$: it squares all chances, and scales them to sum up to one again. So what was likely gets likelier: near 0 only the best is left, and we are back at greedy. High temperatures make all alike:
# in the last line the four hold no more than their 4 places in 256.
#
# Now look at the column *all others*. At $T = 1$ it is small but not zero. Some of it is right, as the `l` of *place*; the rest is shared by some 250 bytes, hardly any of which can follow `The p`. It sounds like
# nothing. But if every byte carries a small risk, every few lines have a slip. At $T = 2$ it is a quarter.
#
# ## 5.3 Top-k: cut the tail
#
# A **tail** is what we call the many bytes with tiny chances. The plainest way to be rid of it: keep the $k$ likeliest bytes (**top-k**; Fan et al. 2018,
# [section 5.1 of their paper](https://arxiv.org/abs/1805.04833)). The others get $-\infty$. In lesson 02 that was a mistake, since no softmax followed. Here one follows.


# %%
def top_k(logits, k):  # (v,) -> (v,)
    least = logits.topk(k).values[-1]  # the k-th largest
    return logits.masked_fill(logits < least, -math.inf)


kept = top_k(logits, 3).softmax(-1)
print({chr(token): round(kept[token].item(), 2) for token in kept.nonzero().flatten().tolist()})
assert abs(kept.sum() - 1) < 1e-5


# %% [markdown]
# Three letters are left after `The p`, in the same proportions, and they sum up to one: the softmax has handed out what the others had.
#
# How should one choose $k$? A well-known piece of code says it by a share: *drop 90 %, keep the best tenth*. **Predict:** how many bytes are that of 256, and
# how many letters of the ten in lesson 01?


# %%
def top_tenth(logits):
    return top_k(logits, int((1 - 0.9) * len(logits)))


print("of 256:", int((1 - 0.9) * 256))
print("of  10:", int((1 - 0.9) * 10), " because (1 - 0.9) * 10 is", (1 - 0.9) * 10)

ten = torch.randn(10, generator=torch.Generator().manual_seed(0))
try:
    top_tenth(ten)
except IndexError as error:
    print("ours   IndexError:", error)

nothing = torch.full_like(ten, -math.inf)  # no logit is kept: all are -inf
chances = nothing.softmax(-1)
print("chances", chances[:3].tolist(), "…")
try:
    torch.multinomial(chances, 1)
except RuntimeError as error:
    print("drawing RuntimeError:", error)

# %% [markdown]
# A tenth of ten is none. On paper it is one; in binary numbers a tenth does not exist, the product ends a hair below one, and `int` cuts off what stands behind the point. What does a
# sampler do that may keep nothing?
#
# Ours stumbles at once, since it asks for the last of no values. Another version starts with a row of $-\infty$ and copies the best $k$ into it. With $k = 0$ it copies none and does not complain, and the softmax divides 0 by 0: NaN, far from where the mistake is. You will meet the code that does
# this in lesson 11. So: give $k$ as a number, at least 1.
#
# ## 5.4 Top-p: as many as it takes
#
# But which number? Compare two places in a text.
#
# After `The p` three bytes are nearly all that makes sense. After `The value of the ` a word begins: there the best three hold little more than a third of the chances (the first two lines below). No $k$ is right for both.
#
# **Top-p** (Holtzman et al. again, section 3.1 of their paper) fixes the sum and lets the number follow: keep the smallest set of likeliest bytes whose chances add up to $p$ or more. Sorted by
# chance, a byte stays as long as the ones *before* it hold less than $p$.

# %%
with torch.no_grad():
    open_logits = model(encode("The value of the ")[None])[0, -1]  # a word begins: all is open
for name, row in (("The p", logits), ("The value of the ", open_logits)):
    best = row.softmax(-1).sort(descending=True).values
    print(f"{name!r:20} the best 3 hold {best[:3].sum():.2f}, the best 15 {best[:15].sum():.2f}")


def top_p(logits, p):  # (v,) -> (v,)
    chances, order = logits.softmax(-1).sort(descending=True)
    before = chances.cumsum(0) - chances  # what all likelier bytes hold together
    return logits.index_fill(0, order[before >= p], -math.inf)


def left(logits):
    return int(logits.isfinite().sum())


for p in (0.5, 0.9, 0.99):
    inside, begins = left(top_p(logits, p)), left(top_p(open_logits, p))
    print(f"p = {p:<4}: {inside:2} after 'The p', {begins:2} where a word begins")

# %% [markdown]
# The same $p$, and a set that is small where the model is sure and large where it is not. (Before the first byte stands nothing, so it always stays: this filter
# cannot come out empty. Top-k and top-p are called filters; the filter of lesson 04 was another thing.)
#
# **Predict:** now use a temperature of 2 *and* a filter. Does it matter which comes first, for top-k? For top-p?

# %%
filters = {
    "top-k 3": lambda row: top_k(row, 3),
    "top-p 0.9": lambda row: top_p(row, 0.9),
}
for name, cut in filters.items():
    first, last = left(cut(logits) / 2), left(cut(logits / 2))
    print(f"{name:9}: before the temperature {first:2} bytes stay, after it {last:2}")

# %% [markdown]
# Dividing changes no order, so top-k does not care. But it changes the sums: at $T = 2$ the tail is heavy, and to come to 0.9 top-p has to
# take some of it in. Both orders are in use. We take the temperature first: then $p$ speaks of the chances that are really drawn from.
#
# All of it, to be touched. No filter, top-k and top-p over fifteen temperatures, always after `The p`:

# %% tags=["nbval-ignore-output"]
assert left(top_k(logits, 3) / 2) == left(top_k(logits / 2, 3)) == 3
assert left(top_p(logits / 2, 0.9)) > 2 * left(top_p(logits, 0.9))
degrees = [k / 5 for k in range(1, 16)]
by_p = {T: left(top_p(logits / T, 0.9)) for T in degrees}
assert by_p[1.2] == 3 and by_p[1.4] == 4 and by_p[2.0] == 15
assert by_p[2.2] <= 10 * 3 < by_p[2.4] == 43
filters = {"no filter": lambda row: row, **filters}
viz.filtered_chances(logits, filters, degrees, after="The p")

# %% [markdown]
# Stay with top-p and raise the temperature. **At which temperature does a fourth byte come in? And from which one on does top-p keep more than ten times
# as many bytes as top-k?**
#
# <details><summary>The answer</summary>Between 1.2 and 1.4. There the first three no longer hold 0.9, a fourth byte comes in, and all three give up some of what they had. From there on the set grows faster
# and faster: 15 bytes at 2, and from 2.4 on, with 43, more than ten times the three of top-k. When all bytes are nearly equal, 0.9 of the chances is 0.9 of the bytes.</details>
#
# ## 5.5 Two ways to fail
#
# Which settings write well? Two things can go wrong: the text repeats itself, or it makes words up. Both can be counted. (A word counts as made up if it does not
# stand in the training text; `repeated` looks at all texts in a row, so that it also sees when they say the same as one another.) Sixteen texts for each temperature.
#
# **Predict:** draw both curves over the temperature.

# %% tags=["nbval-ignore-output"]
known = set(re.findall("[A-Za-z]+", decode(train_text)))


def two_ways_to_fail(**settings):
    prompts = encode("The ").repeat(16, 1)  # (b, n)
    generator = torch.Generator().manual_seed(0)
    texts = [decode(row) for row in generate(model, prompts, 250, generator=generator, **settings)]
    words = [word for text in texts for word in re.findall("[A-Za-z]+", text[4:])]
    made_up = sum(word not in known for word in words) / len(words)
    return repeated("\n".join(texts)), made_up


temperatures = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5)
failed = {T: two_ways_to_fail(temperature=T) for T in temperatures}
repeats, inventions = zip(*failed.values(), strict=True)
for name, settings in {
    "no filter": {},
    "top-k 10": {"top_k": 10},
    "top-p 0.9": {"top_p": 0.9},
    "top-p 0.5": {"top_p": 0.5},
}.items():
    again, made_up = failed[name] = two_ways_to_fail(**settings)
    print(f"{name:9} repeats {again:.2f}, makes up {made_up:.2f}")
everything, some, few = (failed[name] for name in ("no filter", "top-p 0.9", "top-p 0.5"))
assert few[1] < some[1] < 0.75 * everything[1] and few[0] > 1.5 * some[0] > some[0] > everything[0]
viz.curves(
    {"repeats itself": (temperatures, repeats), "makes up words": (temperatures, inventions)},
    xlabel="temperature",
    ylabel="share",
    alt="Two shares over the temperature. Repeating falls steeply, from 0.7 at temperature 0.1, and "
    "is nearly nothing from 1 on; made-up words rise slowly up to 0.8 and then steeply, to 0.4 at "
    "1.5. The curves cross between 0.6 and 0.8",
)
assert repeats[0] > repeats[2] + 0.1 and inventions[-1] > inventions[3] + 0.2

# %% [markdown]
# Two curves that cross: where it repeats little it invents, and the other way round. The four lines above the picture are at temperature 1. With top-p 0.9 far fewer words are made up, and it repeats itself little. Much of the nonsense, then, came from the tail, though the tail holds a tenth of the chances at most. With 0.5 nearly every word exists,
# and the texts begin to say the same. There is no setting that is right; there is a price on either side.
#
# The whole choice in one function. Top-k and top-p both want the likeliest first, so we sort once.


# %% tags=["nbval-ignore-output"]
def choose(logits, temperature=1.0, top_k=None, top_p=None, generator=None):  # (b, v) -> (b,)
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits, order = logits.sort(dim=-1, descending=True, stable=True)
    logits = (logits - logits[:, :1]) / temperature  # the best at 0: a small T overflows nothing
    if top_k is not None:
        logits[:, top_k:] = -math.inf
    chances = logits.softmax(dim=-1)
    if top_p is not None:
        before = chances.cumsum(dim=-1) - chances
        chances = chances.masked_fill(before >= top_p, 0)
    drawn = torch.multinomial(chances, 1, generator=generator)  # (b, 1); need not sum up to 1
    return order.gather(-1, drawn)[:, 0]  # which byte stands at the place that was drawn


dice = torch.Generator().manual_seed(1)
text = write(model, "The ", 300, lambda row: choose(row, 0.8, top_p=0.9, generator=dice))
show(text)

# %% [markdown]
# Still nonsense, by a small model; but neither a circle nor a heap of letters.
#
# ## 5.6 How much of this is new?
#
# So much for *what* it writes. Now for the time. **Predict:** our loop goes from the 4 bytes of a prompt to 128. How many bytes does the model
# read for that, all calls together? And when a byte is appended, do the outputs of a *layer* change at the bytes before it?

# %%
read = sum(range(4, 128))  # each call reads all that is there
print(f"{read:,} bytes read, to write {128 - 4}: {read / 124:.0f} for each")


def after_each_layer(tokens):
    with torch.no_grad():
        x = model.embed(tokens)  # (b, n, d)
        outputs = []
        for layer in model.blocks:
            x = layer(x)
            outputs.append(x)
    return outputs


shorter, longer = encode("The import statement is"), encode("The import statement is ")
pairs = zip(after_each_layer(shorter[None]), after_each_layer(longer[None]), strict=True)
for k, (before, after) in enumerate(pairs, 1):
    same = torch.allclose(after[:, :-1], before, atol=1e-4)
    old, more = before.shape[1], after.shape[1] - before.shape[1]
    print(f"layer {k}: {old} positions as before: {same}, and {more} new")
    assert same

# %% [markdown]
# 66 for each, of which 65 have been read before, by the same weights. Has anything changed about *them*? Lesson 02 knows: in a causal model no output depends on a later token. Not only the logits: the
# same holds after every layer. So the cell appended one byte and compared, layer by layer: all as before.
#
# So a new token brings one new position to each layer, and the rest of the work is done again for nothing. What does that one position need of the others? Go through a layer:
#
# - the norm, the widening, the GELU, the projection back, the residual: each looks at one position alone;
# - the unit: $gate_i = \sum_{j \le i} W_{i,j} \, v_j + b_i$. Here, and nowhere else, the past comes in. ($v$ is here the half of the unit that is mixed, not the vocabulary.)
#
# For the new position $i$ that is **one row** of $W$, times the normed $v_j$ of all positions so far. These do not change. If somebody kept them, that would be enough. A store of
# results that would otherwise be computed again is called a **cache**.
#
# Count the multiplications in one layer, at its $n$-th position, with $d$ channels between the layers and $4d$ inside.
# **Predict:** at $n = 512$, $d = 128$, how many times fewer are they with a cache?


# %%
def multiplications(n, d=128):
    """(everything again, the new position alone), for a layer that has come to position n."""
    linear = d * 4 * d + 2 * d * d  # widen, and project back: the same at each position
    everything = n * linear + n * (n + 1) // 2 * 2 * d  # W: the lower triangle, 2d channels
    return everything, linear + n * 2 * d  # W: one row


for n in (32, 128, 512, 2048):
    again, new = multiplications(n)
    print(f"n = {n:4}: {again:13,} or {new:9,}: {again / new:5.0f} times fewer")

# %% [markdown]
# At $n = 512$ it is 366 times fewer. One row over $n$ positions costs $2dn$, the linear layers cost $6d^2$, so up to $n = 3d$ most of the work of a step does not even depend on how
# long the text is.
#
# Watch the one row at work. Below the text and the chances, the last strip shows the row of $W$ that was at work when the byte at the slider was drawn: that of the position before it, the last one already read. **Move the slider to the middle, then one step on: how many
# cells stop being grey? Is it a new strip, or the old one, moved?** Try layer 1, then layer 4. (In the text a `·` is a place that is not written yet; among the bytes in question, one that is no letter by itself.)


# %% tags=["nbval-ignore-output"]
def strongest(layer):
    """How far back each row looks most, for the answer below: 0 is the position itself."""
    W = model.blocks[layer].fn.fn.sgu.mixing_matrix(45)[0]
    return {i - W[i].abs().argmax().item() for i in range(13, 45)}


assert strongest(0) == {1} and len(strongest(3)) > 3
viz.generation(model, "The value of ", 32, temperature=0.7)

# %% [markdown]
# <details><summary>The answer</summary>One: a new byte is heard through the next row, which is one longer. (The new cell may be nearly white: a small weight.) In layer 1 the pattern walks along with the text, the strongest cell always the last but one of those that are not grey: the rows agree, as they did in lesson 04. In
# layer 4 the strongest cell jumps about: each row is a new one.</details>
#
# ## 5.7 One row
#
# First the unit alone. The cache is a dictionary: for each unit the normed $v$ of all positions that it has seen, `(b, t, c)`, where $t$ counts them and $c$
# is half of the inner channels.


# %%
def unit_step(unit, x, cache):  # x: (b, 1, 2c), the new position
    u, new = x.chunk(2, dim=-1)  # (b, 1, c) each
    new = unit.norm(new)
    seen = torch.cat([cache[unit], new], dim=1) if unit in cache else new
    cache[unit] = seen  # (b, t, c)
    t = seen.shape[1]
    # the only head, its row t - 1: (t,) @ (b, t, c) -> (b, c)
    gate = unit.weight[0, t - 1, :t] @ seen + unit.bias[0, t - 1]
    return gate[:, None] * u


unit = model.blocks[0].fn.fn.sgu  # through residual and norm to the block
x = torch.randn(2, 20, unit.dim, generator=torch.Generator().manual_seed(0))
cache = {}
with torch.no_grad():
    one_by_one = torch.cat([unit_step(unit, x[:, i : i + 1], cache) for i in range(20)], dim=1)
    torch.testing.assert_close(one_by_one, unit(x), atol=1e-4, rtol=1e-4)
print(
    "position by position:",
    tuple(one_by_one.shape),
    "equal to all at once; kept:",
    tuple(cache[unit].shape),
)

# %% [markdown]
# Position number $t$, counted from 1, has row $t - 1$, counted from 0. Note that there is no mask: the future cannot leak in, because it is not there yet.
#
# Now the whole model. All that is not a unit works on the new position as it works on any:


# %%
def model_step(model, token, cache, unit_step=unit_step):  # (b, 1) -> (b, v)
    x = model.embed(token)  # (b, 1, d)
    for layer in model.blocks:
        block = layer.fn.fn
        z = block.proj_in(layer.fn.norm(x))  # (b, 1, 4d)
        x = x + block.proj_out(unit_step(block.sgu, z, cache))
    return model.to_logits(model.norm(x))[:, -1]


@torch.no_grad()
def write_cached(model, prompt, length, choose, unit_step=unit_step):
    tokens, cache = encode(prompt)[None], {}
    for i in range(tokens.shape[1]):  # the prompt, read once
        logits = model_step(model, tokens[:, i : i + 1], cache, unit_step)
    for _ in range(length):
        token = choose(logits)[:, None]
        tokens = torch.cat([tokens, token], dim=1)
        if tokens.shape[1] < model.seq_len:  # full: no next byte, so no step
            logits = model_step(model, token, cache, unit_step)
    return decode(tokens[0])


# %% [markdown]
# The examination: the same prompt, the same dice, with the cache and without. Every byte should be the same (rounding can turn a draw, but hardly ever does). And the logits, at each position? Not to the last bit: a sum over one row is rounded otherwise than a product of matrices.


# %%
def with_dice(seed=0):
    dice = torch.Generator().manual_seed(seed)
    return lambda logits: choose(logits, 0.8, generator=dice)


slow = write(model, "The value of", 100, with_dice())
fast = write_cached(model, "The value of", 100, with_dice())
assert slow == fast
print("the same", len(fast), "bytes:", slow == fast)

text = valid_text[: model.seq_len].long()[None]
with torch.no_grad():
    whole, cache = model(text)[0], {}  # (n, v)
    steps = torch.cat([model_step(model, text[:, i : i + 1], cache) for i in range(model.seq_len)])
difference = (whole - steps).abs().max().item()
assert difference < 1e-3
print("some logits are larger than 5:", whole.max().item() > 5)
print("none differs by more than 0.001:", difference < 1e-3)

# %% [markdown]
# ## 5.8 Wrong caches, and a test that is worth nothing
#
# Three other ways to write `unit_step`. **Predict** for each: does it write the same text?
#
# - *norm it later*: keep $v$ as it comes, and norm all of it at every step;
# - *no norm*: keep $v$ as it comes, and use it so;
# - *next row*: take row $t$ instead of $t - 1$.


# %%
def wrong_step(keep, use, row):
    def unit_step(unit, x, cache):
        u, new = x.chunk(2, dim=-1)
        new = keep(unit, new)
        seen = torch.cat([cache[unit], new], dim=1) if unit in cache else new
        cache[unit] = seen
        t = seen.shape[1]
        gate = unit.weight[0, row(t), :t] @ use(unit, seen) + unit.bias[0, row(t)]
        return gate[:, None] * u

    return unit_step


def normed(unit, v):
    return unit.norm(v)


def as_it_is(unit, v):
    return v


variants = {
    "as above": unit_step,
    "norm it later": wrong_step(as_it_is, normed, lambda t: t - 1),
    "no norm": wrong_step(as_it_is, as_it_is, lambda t: t - 1),
    "next row": wrong_step(normed, as_it_is, lambda t: t),
}


def examine(model):
    expected, passed = write(model, "The value of", 60, with_dice()), {}
    for name, step in variants.items():
        passed[name] = write_cached(model, "The value of", 60, with_dice(), step) == expected
        print(f"{name:14} {'the same text' if passed[name] else 'another text'}")
    return passed


trained = examine(model)

# %% [markdown]
# *Norm it later* is right: the norm looks at one position alone, so it does not matter when it is done. It only does the same work again at each step. The other two are caught.
#
# Does the test catch them in *every* model? Try one that has not been trained, made like those of lessons 03 and 04. Then set its $W$ to random numbers of size 0.3. Nothing about the caches changes. **Predict** four lines for each.


# %%
def make_gmlp(d, n, depth=4):
    torch.manual_seed(0)
    layers = [Residual(PreNorm(d, gMLPBlock(d, 4 * d, CausalSGU(4 * d, n)))) for _ in range(depth)]
    return LanguageModel(v, d, n, nn.Sequential(*layers)).eval()


print("fresh")
fresh = examine(make_gmlp(d=64, n=128))

shaken = make_gmlp(d=64, n=128)
with torch.no_grad():
    for layer in shaken.blocks:
        nn.init.normal_(layer.fn.fn.sgu.weight, std=0.3)
print("\nthe same with a W of size 0.3")
shaken_passed = examine(shaken)

# %% [markdown]
# In the fresh model all four pass. In a fresh model $W$ is almost zero and $b$ is 1 everywhere, so each gate is about 1, whatever row it takes and whatever the cache holds. The test is the right one; the
# *model* made it worthless. Such a test needs weights that are large enough to matter.
#
# ## 5.9 How fast?
#
# Now the time, with a larger model: 512 positions, 256 channels, weights as they are born, since for the clock they are as good as any. We time the writing of *one* byte when the text is 32, 64, …, 512 bytes long, the best of
# several tries.
#
# **Predict:** 5.6 counted hundreds of times fewer multiplications (here, with 256 channels, it would say 410). How many times faster, at 512?

# %%
assert all(fresh.values()) and trained == shaken_passed  # what 5.8 said
assert [name for name in trained if not trained[name]] == ["no norm", "next row"]

large = make_gmlp(d=256, n=512)
text = torch.randint(v, (1, 512), generator=torch.Generator().manual_seed(0))


def fastest(call, tries=5):
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)  # milliseconds


def both(n):
    everything = fastest(lambda: large(text[:, :n]))
    # A copy of the cache, so that each try goes on from the same past.
    return everything, fastest(lambda: model_step(large, text[:, n - 1 : n], dict(cache)))


lengths, times = (32, 64, 128, 256, 384, 512), []
with torch.no_grad():
    cache, read = {}, 0
    for n in lengths:
        while read < n - 1:  # the past, read once
            model_step(large, text[:, read : read + 1], cache)
            read += 1
        times.append(both(n))
again, new = zip(*times, strict=True)

# %% tags=["nbval-ignore-output"]
print(f"at 512: {again[-1]:.1f} ms or {new[-1]:.2f} ms, {again[-1] / new[-1]:.0f} times faster")
assert again[-1] > 4 * new[-1] and again[-1] > 3 * again[0]
counted = multiplications(512, d=256)
assert again[-1] / new[-1] < counted[0] / counted[1]
print(f"counted: {counted[0] / counted[1]:.0f} times fewer multiplications")
kept = sum(seen.numel() for seen in cache.values())
print(f"{kept:,} numbers kept, for a model of {sum(p.numel() for p in large.parameters()):,}")
assert kept == 4 * (2 * 256) * 511
viz.curves(
    {"everything again": (lengths, again), "the new position": (lengths, new)},
    xlabel="length of the text",
    ylabel="milliseconds for one byte",
    alt="Milliseconds for one byte over the length of the text. Reading everything again rises "
    "steadily; the new position alone stays far below",
)

# %% [markdown]
# Much faster, and by much less than the count says. A likely reason: to multiply a weight, a processor must first fetch it from memory. A pass over 512 positions fetches each weight once and uses it 512 times. A step
# uses it once, so it spends its time on fetching, and on Python. The lower curve looks flat beside the other: what a byte costs depends little on how much was written before.
#
# What does it cost in memory? $2d$ numbers for each position and layer; the last line above the picture counts them.
#
# ## 5.10 When the text outgrows the context
#
# The tiny model has 128 rows in each $W$. What about byte 129? Our first loop dropped the oldest byte, and read the last 128 again. With a cache
# we could try the same: drop the oldest $v$, and use the last row again and again.
#
# **Predict:** is that the same as reading the last 128 bytes?


# %%
def sliding_step(unit, x, cache):
    if unit in cache:
        cache[unit] = cache[unit][:, -(unit.seq_len - 1) :]  # make room for one
    return unit_step(unit, x, cache)


text = valid_text[:200].long()[None]
cache = {}
with torch.no_grad():
    for i in range(200):
        slid = model_step(model, text[:, i : i + 1], cache, sliding_step)  # (1, v)
    honest = model(text[:, -128:])[:, -1]
print("largest difference of a logit above 0.1:", ((slid - honest).abs().max() > 0.1).item())
assert (slid - honest).abs().max() > 0.1

# %% [markdown]
# It is not. **Positions are absolute**: row $i$ of $W$ belongs to position $i$. When the text moves one place to the left, every byte gets another row, in every layer, and each $v$ after the first layer comes
# out differently. Of the whole cache only the first layer still holds: there $v$ is made from the byte alone, before any row of $W$.
#
# So something has to be read again. How much, and how often? `generate` has a number for it, `keep`: when the context is full, start afresh with the last `keep` bytes, and
# go on with a cache from there. It reads by calling `model.step(tokens, cache)`, the library's version of your `model_step`. We count what each call is given.


# %%
def bytes_read(keep, length=1000):
    model, read = load_tiny(), []
    step = model.step

    def counting_step(tokens, cache):  # the same, but it notes how many bytes it is given
        read.append(tokens.shape[1])
        return step(tokens, cache)

    model.step = counting_step
    generate(model, encode("The " * 32), length, keep=keep)  # full from the start
    return sum(read) / length


for keep in (128, 127, 96, 64, 32):
    print(f"keep {keep:3}: {bytes_read(keep):5.1f} bytes read for each that is written")

# %% [markdown]
# To keep everything is the loop of lesson 02: it always sees 128 bytes, and reads them for every one that it writes. Keep one byte less, 127, and one place is free: 128 bytes are read for two that are written, which halves the bill. If you do not set `keep`, it is half of the context, and each byte is read about twice.
#
# And what does it lose? After each new start it sees only 64 bytes, and up to 128 before the next. **Predict:** does a byte cost fewer bits when 128 bytes have been seen, or are 64 enough? Are 16?

# %% tags=["nbval-ignore-output"]
windows, answers = sample_batch(valid_text, 512, 128, seed=1)
with torch.no_grad():
    bits = F.cross_entropy(model(windows).transpose(1, 2), answers, reduction="none") / math.log(2)
for first, last in ((1, 1), (2, 4), (5, 16), (17, 64), (65, 96), (97, 128)):
    print(f"{first:3} to {last:3} bytes seen: {bits[:, first - 1 : last].mean():.2f} bits per byte")

assert bits[:, 0].mean() > bits[:, 4:16].mean() + 0.5
assert abs(bits[:, 16:64].mean() - bits[:, 64:].mean()) < 0.3

# %% [markdown]
# The first few bytes are worth a lot. What stands more than 16 back is worth little: the last lines lie close together, and not always in favour of the longer context. (How much of that is chance, one sample does not tell.) So this small model loses little by forgetting half. (A model that does make use of far bytes would lose something; for it, raise `keep`.)
#
# ## 5.11 In batches, with an end, byte by byte
#
# Several prompts can go in one batch, which fetches each weight once for all of them (5.9). They must have the same length. A `stop_token` ends a text; one that ends before the others is
# filled up with that token. Let each text end with its first full stop.

# %% tags=["nbval-ignore-output"]
prompts = torch.stack([encode(prompt) for prompt in ("The value ", "An object ", "A function")])
dice = torch.Generator().manual_seed(3)
texts = generate(
    model, prompts, 200, temperature=0.7, top_p=0.9, generator=dice, stop_token=ord(".")
)
for row in texts:
    print(repr(decode(row)))

for row in texts.tolist():
    ends = row.index(ord(".")) if ord(".") in row else len(row)
    assert all(token == ord(".") for token in row[ends:])

# %% [markdown]
# You need not wait for the last byte to read the first. `stream` hands out each byte as it is drawn, and when you stop asking, the model stops working. One trap lies on the way. **Predict:** what does the first line
# print? The second uses a decoder of Python's library that waits until a letter is whole.

# %%
import codecs

print(*[decode(byte[None]) for byte in encode("naïve")])
whole_letters = codecs.getincrementaldecoder("utf-8")(errors="replace")
print(*[whole_letters.decode(bytes([byte])) for byte in encode("naïve").tolist()])

# %% [markdown]
# `ï` takes two bytes, as in lesson 00, and half a letter is no letter: each half gives a �. The second decoder keeps the first half back until the other one is there. Now the stream, until
# three words are there:

# %% tags=["nbval-ignore-output"]
asked, spaces = 0, 0
for token in stream(model, encode("The "), 1000, temperature=0.7, generator=dice):
    print(whole_letters.decode(bytes(token.tolist())), end="")
    asked, spaces = asked + 1, spaces + (token.item() == ord(" "))
    if spaces == 3:
        break
print(f"\n{asked} bytes written, though 1,000 were ordered")
assert asked < 500

# %% [markdown]
# ## 5.12 The finished module
#
# `generate` is the loop, `next_token` is your `choose`, and `Cache` your dictionary: by unit, what it has seen. `model.step` goes through the layers and hands the cache on; `mix_rows` is your `weight @ seen + bias`, for all heads. Here is the part of the unit that you
# wrote in 5.7; it also takes several new positions at once, so that a prompt is read in one pass.
#
# In place of `torch.cat`, which copies everything at each step, `Cache.append` keeps a tensor with room to spare, and doubles it when it is full. The rest is as you have it.

# %%
import inspect

from gmlp import Cache
from gmlp.generation import next_token

print(inspect.getsource(CausalSGU.mix_next))

rows = torch.randn(50, v, generator=torch.Generator().manual_seed(0))
for settings in (
    {},
    {"temperature": 0},
    {"temperature": 0.5, "top_k": 9},
    {"top_k": 99, "top_p": 0.8},
):
    mine = choose(rows, **settings, generator=torch.Generator().manual_seed(1))
    theirs = next_token(rows, **settings, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mine, theirs)
print("choices: equal to yours")

cache, yours = Cache(), {}
text = encode("The value of")[None]
with torch.no_grad():
    for i in range(text.shape[1]):
        mine = model_step(model, text[:, i : i + 1], yours)
    torch.testing.assert_close(model.step(text, cache), mine, atol=1e-4, rtol=1e-4)
print("steps: equal to yours, after", cache.read(model), "bytes")  # read: how many it has seen

theirs = generate(
    model, encode("The value of"), 100, temperature=0.8, generator=torch.Generator().manual_seed(0)
)
assert decode(theirs) == fast == slow
print("texts: equal to yours")

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. You raise the temperature. Why does top-p then keep more bytes, when it comes after the temperature, and top-k as many as before?**
#
# <details><summary>Because the temperature changes the order of the bytes</summary>No: dividing all logits by one number leaves their order as it was.</details>
# <details><summary>Because top-p looks at sums of chances, and top-k only at their order</summary>Right: the likeliest lose chances to the tail, so it takes more of them to come to p; the order stays.</details>
# <details><summary>Because top-k cuts logits, and the temperature works on chances</summary>No: both filters come after the same division of the logits.</details>
# <br>
#
# **2. In a model that has just been made, a cached step writes the same text as a full pass. What does that prove of the cache?**
#
# <details><summary>That it is right: the same text cannot come about by chance</summary>No: it does not take chance; in a new model any gate is about 1, so a wrong cache writes the same text, too.</details>
# <details><summary>That it is right, but not that it is fast</summary>No: about speed it says nothing, that is true, but wrong caches pass this test as well.</details>
# <details><summary>Little: the cache hardly counts in such a model</summary>Right: W is nearly 0 and b is 1, so each gate is about 1, whatever the cache holds. Make W large, then test.</details>
# <br>
#
# **3. The context is full. Why can the cache not drop the oldest byte and go on?**
#
# <details><summary>Because every byte then has another position, and so another row of W</summary>Right: row i belongs to position i. From the second layer on, what is kept was mixed by rows that no longer apply.</details>
# <details><summary>Because the oldest byte is the one that the model needs most</summary>No: the far past helped this model so little that our sample could not show it.</details>
# <details><summary>Because a cache can only grow, and never shrink</summary>No: what is kept can be cut like any tensor; our sliding step did so, and its logits were wrong.</details>
# <details><summary>Because the mask would have to move along with it</summary>No: a step needs no mask, since the future is not there yet.</details>
#
# ## What you can do now
#
# - ✓ show that the likeliest byte, always, leads in a circle;
# - ✓ build temperature, top-k and top-p, and put the temperature first, because top-p looks at sums;
# - ✓ write with a cache: one row of $W$ for a new position, and the normed $v$ of the past;
# - ✓ test it by "cached equals full", on a model whose weights are large enough to matter;
# - ✓ say why a full cache must be begun anew, what `keep` costs, and write in batches, with an end, and as a stream.
#
# **Practise:** the [exercises](../exercises/05_generation.ipynb) of this lesson: five, in about 70 minutes.
#
# **Next:** a row of $W$ listens at fixed places, whatever the text says. In some tasks *what* was said decides where to look. Lesson 06 shows one at which a gMLP is
# stuck, and how little attention it takes.
