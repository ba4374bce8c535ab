# %% [markdown]
# # 00 · Welcome: what will I have built?
#
# *25 minutes. You need: a little Python. You will see some lines of PyTorch; you need not understand them before lesson 01.*
#
# By the end of this course you will have built, from single matrix products up, a language model that writes text
# byte by byte: a **gMLP** (a *gated* multi-layer perceptron: ordinary layers, and a gate). It is *causal*: it reads only what stands to
# the left. And it does without *attention*, the part by which, in most language models, one place of a text hears of another.
#
# When you are done with this first lesson you can
#
# 1. say where the road leads, and find your way on it;
# 2. turn any text into numbers and back;
# 3. measure how well somebody guesses a text, in **bits per byte**;
# 4. build a guesser by counting, give it more and more context, and say why counting alone gets no further.
#
# If notebooks are new to you: click on a grey cell and press <kbd>Shift</kbd>+<kbd>Enter</kbd> to run it. Run them in order, from top to
# bottom, and change whatever you like; this copy is yours.

# %%
import math
import random
from collections import Counter

import torch

from gmlp import (
    count_bits,
    decode,
    encode,
    evaluate,
    generate,
    load_corpus,
    load_tiny,
    split_corpus,
    viz,
)

# %% [markdown]
# ## 0.1 Listen to it
#
# A very small model of the kind that you will build came with the package. Let it write.

# %% tags=["nbval-ignore-output"]
model = load_tiny()
generator = torch.Generator().manual_seed(0)
# temperature: below 1 it takes fewer risks (lesson 05)
print(decode(generate(model, encode("The "), 300, temperature=0.7, generator=generator)))

# %% [markdown]
# Is that true? No. Is it grammatical? Hardly. But the words are mostly English, and it sounds like a manual. The model
# has read one text in its life, the reference manual of the Python language, and nobody told it what a letter is. Change `"The "`, or the seed 0, and run the cell again.
#
# Watch it write, one byte at a time. For every byte it names a chance for each that could come, and one is drawn. (Leave the slider `layer` and the
# last strip for later.)

# %% tags=["nbval-ignore-output"]
viz.generation(model, "The ", 32, temperature=0.7)

# %% [markdown]
# Move the slider, or press play. **Where is it nearly sure, and where must it guess?** Find a byte that was drawn although another was likelier.
#
# <details><summary>What to look for</summary>Inside a word it is often nearly sure; at the first letter of a word many bytes come into question.</details>

# %%
print(f"{sum(p.numel() for p in model.parameters()):,} numbers make up the whole model")
assert sum(p.numel() for p in model.parameters()) < 500_000

# %% [markdown]
# Fewer than half a million numbers: a small photograph has more. In lesson 04 you will train one of about the same size
# yourself, in about a minute. (This one was trained for about seven minutes.)
#
# ## 0.2 The map
#
# (A **token** is the unit that a model reads; here, a byte.)

# %%
viz.course_map()

# %% [markdown]
# The lessons that follow are notebooks like this one, of 45 to 75 minutes, each with a notebook of exercises beside it. Three habits will carry you:
#
# - **Predict.** When you meet that word, stop and write down what you expect. Being wrong on paper is the cheapest way
#   to learn, and the part of this course that nobody can do for you.
# - **Run**, then change a number, then run again.
# - **Check.** In the exercises, `check(your_function)` tells you whether it is right and, if not, what it
#   does instead.
#
# ## 0.3 Text is numbers
#
# A computer keeps text as **bytes**: numbers from 0 to 255. Our models read and write just these. Each
# byte is one token, and 256 is the size of the **vocabulary**.

# %%
tokens = encode("gMLP")
print(tokens, "->", decode(tokens))

# %% [markdown]
# **Predict:** how many tokens are in `"naïve café"`?

# %%
print(len("naïve café"), "characters,", len(encode("naïve café")), "bytes")

# %% [markdown]
# Letters beyond the English alphabet take two bytes or more (the encoding is called UTF-8).
#
# Now some real text. It is on your machine already: Python brings its own manual.

# %% tags=["nbval-ignore-output"]
text = load_corpus("pydocs")
print(f"{len(text):,} bytes")
print(text[1000:1400].decode(errors="replace"))

# %% [markdown]
# (Other names that `load_corpus` knows: `"stdlib"`, the source of Python's library; `"tinyshakespeare"` and `"enwik8"`, which it
# fetches once; or the path of any file of yours. A wrong name gets a hint:)

# %%
try:
    load_corpus("tinyshakespear")
except ValueError as error:
    print(error)

# %% [markdown]
# ## 0.4 Learn from one part, be examined on another
#
# An examination on the very pages that somebody learned by heart proves nothing. So we cut the text: the front nine tenths to learn
# from, the **training part**; the last tenth for the examination, the **validation part**. (`split_corpus` also turns the bytes into tensors.)

# %% tags=["nbval-ignore-output"]
train_text, valid_text = split_corpus(text)
print(f"{len(train_text):,} bytes to learn from, {len(valid_text):,} for the examination")

# %% [markdown]
# ## 0.5 How surprised are you?
#
# Somebody reads the validation part, one byte at a time, and before each byte must say how probable each of the 256
# values is. Then the true byte is shown, and the guesser pays
#
# $$-\log_2 p \quad\text{bits}$$
#
# where $p$ is the probability that it gave to the true byte. Sure and right, $p = 1$: nothing to pay. Half sure: one
# bit. Called impossible, $p = 0$: an infinite bill. The mean over the text is the guesser's score, in
# **bits per byte**. The name is meant literally: a good guesser can be turned into a zip program
# that needs about that many bits for each byte.
#
# **Predict:** what does somebody pay who gives each of the 256 bytes the same probability?

# %%
print(math.log2(256), "bits per byte")

# %% [markdown]
# Eight: exactly the size of a byte. Who knows nothing saves nothing.
#
# ## 0.6 Guessing by counting
#
# The space is more common than the letter q. Count the bytes of the training part, and use their shares as
# probabilities:

# %% tags=["nbval-ignore-output"]
counts = Counter(train_text.tolist())
for byte, count in counts.most_common(6):
    print(f"{chr(byte)!r:5} {count / len(train_text):.3f}")

# %% [markdown]
# Then send in the bill for the validation part.

# %%
total = len(train_text)
try:
    bill = [-math.log2(counts[byte] / total) for byte in [*valid_text.tolist(), ord("\0")]]
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# It breaks at a byte that never occurred in training (we put one at the end): $\log_2 0$ is the infinite bill.
# **Never say never.** The cure: pretend to have seen one byte more, spread evenly over all 256.


# %% tags=["nbval-ignore-output"]
def chance(byte):
    return (counts[byte] + 1 / 256) / (total + 1)


by_hand = sum(-math.log2(chance(byte)) for byte in valid_text.tolist()) / len(valid_text)
assert abs(by_hand - count_bits(train_text, valid_text, 0)) < 1e-9
assert 4 < by_hand < 5.5
print(f"{by_hand:.2f} bits per byte")

# %% [markdown]
# Well below 8, by counting alone. `count_bits` from the package gives the same number, and can do more: it counts what came after the last $k$
# bytes, the **context**. After `q` comes `u`. (Again one byte more is pretended. It is shared out not evenly, but by the guess of the counter with $k - 1$
# bytes of context; after a context that was never seen, only that guess is left.)
#
# **Predict** the bits for one and for two bytes of context. And is there an end to it: what about six?

# %% tags=["nbval-ignore-output"]
ks, valid_bits, train_bits = range(7), [], []
for k in ks:
    valid_bits.append(count_bits(train_text, valid_text, k))
    train_bits.append(count_bits(train_text, train_text[: len(valid_text)], k))
    print(f"{k} byte{'s' * (k != 1)} of context: {valid_bits[k]:.2f} bits per byte")

read, asked = bytes(train_text.tolist()), bytes(valid_text.tolist())
known = {read[i : i + 7] for i in range(len(read) - 6)}  # six of context and the next one
new = [asked[i : i + 7] not in known for i in range(len(asked) - 6)]
print(f"{sum(new) / len(new):.0%} of the strings of 7 bytes in the examination are new")
assert sum(new) / len(new) > 0.1

# %%
viz.curves(
    {
        "examined on new text": (ks, valid_bits),
        "examined on its own text": (ks, train_bits),
    },
    xlabel="bytes of context",
    ylabel="bits per byte",
    alt="Bits by length of context. On its own text the counter gets ever better, to below "
    "1 bit. On new text it improves up to three or four bytes and then gets worse "
    "again.",
)
best = min(ks, key=lambda k: valid_bits[k])
assert valid_bits[0] > valid_bits[1] > valid_bits[2] and 2 < best < 6
assert train_bits[6] < 1

# %% [markdown]
# Two curves, two stories. On the text that it has counted itself, more context is always better: it knows the pages by heart. On *new* text it
# gets better up to three or four bytes, then worse. Many strings of seven bytes (six of context and the next one) have never occurred before, and the
# counter is too sure of the few continuations that it has seen. (At 1 byte the curve of its own text is the higher one: the two are measured on different pieces of text, and with so little context there is hardly anything to know by heart.)
#
# This is the whole problem of learning in one picture: to do well on what one has *not* seen. For a counter `the list` and `the dict` are
# two strings that have nothing to do with each other. A model may learn that they are alike.
#
# Let the counters write, each byte drawn from what followed the same $k$ bytes in the training text.


# %% tags=["nbval-ignore-output"]
def write_by_counting(k, length=80):
    followers = {}  # what came after each string of k bytes
    for i in range(k, len(read)):
        followers.setdefault(read[i - k : i], []).append(read[i])
    chooser = random.Random(0)
    out = bytearray(b"The "[:k])
    while len(out) < length:
        context = bytes(out[len(out) - k :])  # the last k bytes (out[-k:] fails for k = 0)
        choices = followers.get(context, read)  # never seen: any byte of the text
        out.append(chooser.choice(choices))
    return out.decode(errors="replace")


for k in (0, 1, 2, 3):
    print(f"{k}: {write_by_counting(k)!r}")

# %% [markdown]
# You can watch words come into being. (Claude Shannon did this in 1948, with a book and a finger.)
#
# ## 0.7 The ladder
#
# And the model from the beginning? **Predict:** where does it stand?

# %% tags=["nbval-ignore-output"]
# The mean bill, as before; the model sees up to 128 bytes back.
tiny_bits = evaluate(model, valid_text, context=128)
print(f"{tiny_bits:.2f} bits per byte")

# %%
ladder = {"blind guessing": 8.0}
for k in (0, 1, 2):
    ladder[f"counting, {k} byte{'s' * (k != 1)} of context"] = valid_bits[k]
ladder[f"the best counter ({best} bytes)"] = valid_bits[best]
ladder["the small gMLP of 0.1"] = tiny_bits
viz.bars(
    ladder,
    xlabel="bits per byte on the validation part (less is better)",
    alt="A ladder of bars: blind guessing 8 bits per byte, counting with 0, 1 and 2 bytes "
    "of context each lower, the best counter lower still, and the small gMLP lowest.",
)
assert tiny_bits < valid_bits[best] - 0.1

# %% [markdown]
# The small gMLP beats every counter that we tried. Like them, it has learned from the training part only. This ladder comes back in lesson 04, where your own model gets a rung. (The small gMLP was trained with one version of Python. With
# another, some of your validation part may be text that it has read; its description, `gmlp/assets/tiny.md`, says so, too.)
#
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. A guesser gives every one of the 256 bytes the same probability. What does it pay on a text that says nothing but `aaaa`?**
#
# <details><summary>Nearly nothing, because the text is so easy.</summary>No: the text is easy only for who has noticed that it is. This guesser gives the a no more than any other byte.</details>
# <details><summary>Eight bits per byte, as on every other text.</summary>Right: it gives the true byte 1/256 each time, whatever that byte is, and log2 of 256 is 8.</details>
# <details><summary>An infinite bill, because it is wrong so often.</summary>No: infinite is only what was called impossible, with a probability of 0, and here nothing has 0.</details>
# <br>
#
# **2. Two counters report their bits per byte: one on the text that it has counted, the other on new text. The first number is lower. Who guesses better?**
#
# <details><summary>The first: fewer bits are better bits.</summary>No: fewer bits are better on one and the same text. Who is examined on the pages learned by heart gets a low number for nothing.</details>
# <details><summary>The second: new text is always harder.</summary>No: new text is harder for both, but how the first would do on it has not been measured.</details>
# <details><summary>You cannot tell.</summary>Right: a score on the text that was counted also measures memory. Examine both on the same new text.</details>
# <br>
#
# **3. Why does the counter pretend to have seen one byte more, spread evenly?**
#
# <details><summary>So that nothing has probability 0: a single byte that was never seen would make the whole bill infinite.</summary>Right: one infinite payment makes the mean infinite, too, however good the other guesses were.</details>
# <details><summary>So that rare bytes become as probable as common ones.</summary>No: 1/256 of one byte hardly changes the share of a byte that was seen, and common ones stay common.</details>
# <details><summary>So that the score on the training part gets better.</summary>No: there the bare shares would be a little better. It pays off on new text, where something unseen can come.</details>
# <details><summary>So that longer contexts are seen more often.</summary>No: nothing is seen more often. It only says what to answer when the counts say nothing.</details>
#
# ## What you can do now
#
# - ✓ say where the road leads: a causal gMLP that writes, long texts, deep models, an honest comparison;
# - ✓ turn text into bytes and back: a token is a byte, the vocabulary is 256;
# - ✓ measure a guesser in bits per byte, on text that it has not learned from;
# - ✓ guess by counting, and say why that stops: what was never seen cannot be counted.
#
# **Practise:** the [exercises](../exercises/00_welcome.ipynb) of this lesson: four, in about 40 minutes.
#
# **Next:** what does a model have that a counter has not? It looks at many positions and *combines* them. How positions
# can talk to each other, with one matrix and no attention, is [lesson 01](01_spatial_gating.ipynb).
