# %% [markdown]
# # 08 · Axial folding: how do far tokens become neighbours?
#
# *60 minutes. You need: [lesson 07](07_local_windows.ipynb), local windows, and the two leak tests of [lesson 02](02_causal_masking.ipynb).*
#
# When you are done you can
#
# 1. **fold** a sequence and unfold it again, and say where any position lands;
# 2. show what a fold brings together and what it tears apart, and join it again with a **causal convolution**;
# 3. catch folds that run without an error and are wrong, each with the right test;
# 4. foretell who reads whom, for any window, fold and depth, and check it against the gradients;
# 5. say what a fold costs, what it cannot do, and whether a gain on text is really its own.

# %%
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from gmlp import CausalLocalSGU, PreNorm, Residual, gMLPBlock, viz

n, d = 24, 32  # positions, channels
w, e = 4, 4  # the window, and what this lesson is about: the fold; both are four

# %% [markdown]
# ## 8.1 Fourteen positions back
#
# A word of 24 random letters out of ten. At every position say the letter that stood **14 positions before**. (The first 14
# positions have no such letter. Their answer is `-100`, a number that `cross_entropy` skips.)
#
# The player is a stack of layers as in lesson 03, with the windows of lesson 07: a position reads its own window of four, up to itself, and the window before.
# So one layer reaches at least 4 positions back and at most 7, and each further layer adds one window.
#
# **Predict** the accuracy of two layers. (Chance is 0.10.)


# %%
def far(distance):
    def game(words):  # (b, n)
        answers = words.roll(distance, dims=1)
        answers[:, :distance] = -100
        return answers

    return game


def window_layer(positions=n):
    return gMLPBlock(d, 2 * d, CausalLocalSGU(2 * d, positions, window=w))


def play(game, *layers, letters=10):
    torch.manual_seed(0)
    stack = [Residual(PreNorm(d, layer())) for layer in layers]
    model = nn.Sequential(nn.Embedding(letters, d), *stack, nn.Linear(d, letters))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        words = torch.randint(letters, (32, n))
        loss = F.cross_entropy(model(words).transpose(1, 2), game(words))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words = torch.randint(letters, (1000, n))
    answers = game(words)
    right = (model(words).argmax(-1) == answers)[answers != -100]
    return right.float().mean().item(), model


# %% tags=["nbval-ignore-output"]
two_layers, _ = play(far(14), window_layer, window_layer)
print(f"two layers of windows: {two_layers:.2f}")
assert abs(two_layers - 0.1) < 0.02

# %% [markdown]
# Chance: two layers reach 11 positions back at most, and the letter stands 14 back. More layers would get there, and larger windows too; both have to be paid
# for. There is another way: bring far positions near *before* the layer looks.
#
# ## 8.2 Dealing cards
#
# Take the positions themselves, 0 to 23, and deal them like cards to four players: one to each, then round again. `rearrange`, from lesson 01, says it in one
# line. `(n e)` cuts the 24 into six rounds of four; from one position to the next `e` goes up by one, and after four of them `n` does. On the right, `e n` gives each player a row. (Names inside a pattern have nothing to do with our variables: there `n` is 6, the rounds, not 24.)
#
# **Predict:** to which player does position 13 go, and which card of that hand is it? (Count both from 0.)

# %%
positions = torch.arange(n)
hands = rearrange(positions, "(n e) -> e n", e=4)
print(hands)
print("13 lies at", (hands == 13).nonzero()[0].tolist())
print("quotient and remainder of 13 by 4:", divmod(13, 4))

# %% [markdown]
# Player 1, card 3. Thirteen divided by four is 3, remainder 1. The remainder `i % e` is called the **residue** of position `i`, and says which hand it is in. The
# quotient `i // e` says which **place** it has there. To deal a sequence out like this is to **fold** it, and the number of hands, $e$, is called the fold, too.
#
# Read along a row: 1, 5, 9, 13. What was four apart lies side by side now. That is the whole trick. (Why *axial*? As a table the deck has two axes, rounds and hands, and a layer will look along
# one of them. Ho et al. 2019, [Axial Attention in Multidimensional Transformers](https://arxiv.org/abs/1912.12180), did so with the rows and columns of pictures.)
#
# The same pattern backwards unfolds. And two letters in the wrong order, `(e n)` for `(n e)`? **Predict** what that does to the cards.

# %%
unfolded = rearrange(hands, "e n -> (n e)")
assert torch.equal(unfolded, positions)
print("unfolded:", *unfolded.tolist())
print(rearrange(positions, "(e n) -> e n", e=4))

# %% [markdown]
# The same shape and no error. But this does not deal the deck, it *cuts* it: neighbours stay neighbours, and nothing far comes near. It will come back in 8.5.
#
# ## 8.3 Four conversations
#
# Each hand shall be a sequence of its own, for a layer that knows nothing of cards. So we put the hands where a layer keeps separate texts: into the batch.
# Two texts of 24 positions become eight of six.


# %%
class Dealt(nn.Module):
    def __init__(self, every, fn):
        super().__init__()
        self.fn, self.every = fn, every  # every: the fold, e in the text

    def forward(self, x):  # (b, n, d)
        x = rearrange(x, "b (n e) d -> (b e) n d", e=self.every)
        x = self.fn(x)  # (b e, n / e, d)
        return rearrange(x, "(b e) n d -> b (n e) d", e=self.every)


def dealt_layer():
    return Dealt(e, window_layer(n // e))


x = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0))
print("the layer reads", tuple(rearrange(x, "b (n e) d -> (b e) n d", e=e).shape))
print("comes back as  ", tuple(dealt_layer()(x).shape))

# %% [markdown]
# **Is it causal?** The layer inside is. Is the whole? *Think first.*
#
# <details><summary>The answer</summary>Yes. Dealing keeps the order: in every hand the cards lie from small to large. To read only earlier cards of your own
# hand is to read only earlier positions.</details>
# <br>
#
# Let us see it, with both tests of lesson 02, here for a layer that takes vectors (`x` holds two texts of random ones). `moved` changes the input at one position and
# lists the outputs that move. `jacobian` says in row $i$ how strongly output $i$ reacts to each input $j$. `loud` gives $W$ large random numbers first, so that
# nothing that is read stays too faint to be seen.
#
# **Predict:** windows of four inside a fold of four; a hand of six cards is then two windows, so each card reads all before it in its hand. Which positions can position 13 read? Write the list. Is 12 in it?


# %%
def loud(layer):
    generator = torch.Generator().manual_seed(0)
    for name, parameter in layer.named_parameters():
        if name.endswith("sgu.weight"):
            nn.init.normal_(parameter, generator=generator)
    return layer


def moved(layer, position):
    changed = x.clone()
    changed[:, position] = -x[:, position]
    return (layer(x) != layer(changed)).any(-1).any(0).nonzero().flatten().tolist()


def jacobian(layer):
    vectors = x[:1].clone().requires_grad_()
    rows = []
    for out in layer(vectors)[0].sum(-1):  # one number for each position
        (derivative,) = torch.autograd.grad(out, vectors, retain_graph=True)
        rows.append(derivative[0].norm(dim=-1))
    return torch.stack(rows)  # (n, n)


# %%
torch.manual_seed(0)
windows, dealt = loud(window_layer()), loud(dealt_layer())
tables = {"windows of 4": jacobian(windows) > 0, "dealt to 4 hands": jacobian(dealt) > 0}
for name, table in tables.items():
    print(f"{name:16}  13 reads", *table[13].nonzero().flatten().tolist())
print("dealt: a change at 13 moves", *moved(dealt, 13))
assert moved(dealt, 13) == [13, 17, 21]

viz.matrices(
    tables,
    alt="Which of 24 positions reads which. Windows: a staircase of squares along the "
    "diagonal. Dealt: stripes parallel to the diagonal, four apart, that go on to the far "
    "left; all is white between them",
)

# %% [markdown]
# Stripes. With windows position 13 reads back to 8; dealt, back to 1, and with the same layer. But it does not read 12. Four conversations take place in one room, and nobody
# listens to the next one.
#
# **Predict:** which of the distances 12, 14 and 16 can this layer learn?

# %% tags=["nbval-ignore-output"]
alone = {distance: play(far(distance), dealt_layer)[0] for distance in (12, 14, 16)}
for distance, accuracy in alone.items():
    print(f"{distance} positions back: {accuracy:.2f}")
assert min(alone[12], alone[16]) > 0.95 and alone[14] < 0.15

# %% [markdown]
# 12 and 16, the multiples of four. Both lie out of reach for two layers of windows, and this is one layer. But 14 positions back lies a letter of another hand, which for this layer may as
# well not exist.
#
# ## 8.4 The hands meet again
#
# After unfolding, the positions stand in their old order, each with what its own hand had to say. Any four neighbours come from four hands.
# So let every position collect from itself and the three before it: a weighted sum, with the same weights at every position. This is called a
# **convolution**, its row of weights the **kernel**, and their number its **width**.
#
# One channel, six positions that hold 1 0 0 2 0 0, and a kernel of width 3: 1, 10, 100. Its last weight is for the position itself. **Predict** the six
# numbers that come out.

# %%
kernel = torch.tensor([1.0, 10.0, 100.0])
signal = torch.tensor([1.0, 0.0, 0.0, 2.0, 0.0, 0.0])
by_loop = torch.zeros(6)
for i in range(6):  # the position that collects
    for k in range(3):
        j = i - 2 + k  # the position it takes from
        if j >= 0:  # nothing stands before the first
            by_loop[i] += kernel[k] * signal[j]
print(by_loop.tolist())

# %% [markdown]
# The 1 at the front is heard at its own position, and then by the next two: 100, 10, 1. (As a matrix $W$ this would be three diagonals with one number each, like the filters that
# lesson 04 found in a trained model.)
#
# PyTorch's `F.conv1d` does it for all channels at once; it wants the channels on axis 1. With `groups=d` every channel has a kernel of its own, and no channel hears another:
# such a convolution is called **depthwise**. **Predict:** six positions go in. How many come out?

# %%
rows = torch.stack([signal, -signal])[None]  # (b=1, d=2, n=6)
kernels = torch.stack([kernel, kernel])[:, None]  # (d, 1, width): each reads 1 channel
print(F.conv1d(rows, kernels, groups=2)[0, 0].tolist())
print(F.conv1d(F.pad(rows, (2, 0)), kernels, groups=2)[0, 0].tolist())
assert torch.equal(F.conv1d(F.pad(rows, (2, 0)), kernels, groups=2)[0, 0], by_loop)

# %% [markdown]
# Four: where the kernel would stick out at the front, it gives no answer. With two zeros in front, one fewer than the width, all six of the loop come back, and the convolution
# is **causal**: position $i$ collects from itself and from what came before.
#
# Now put it all together. A text whose length is no multiple of $e$ is padded at the end, as in lesson 07: the padding is later than everything else, so nobody reads it.


# %%
class MyFold(nn.Module):
    def __init__(self, dim, every, fn):
        super().__init__()
        self.fn, self.every = fn, every
        self.conv = nn.Conv1d(dim, dim, kernel_size=every, groups=dim)
        self.zeros = (every - 1, 0)  # in front of the first position, behind the last

    def forward(self, x):  # (b, n, d)
        n = x.shape[1]
        x = F.pad(x, (0, 0, 0, -n % self.every))  # to a multiple, at the end
        x = rearrange(x, "b (n e) d -> (b e) n d", e=self.every)
        x = self.fn(x)
        x = rearrange(x, "(b e) n d -> b (n e) d", e=self.every)[:, :n]
        x = F.pad(x, (0, 0, *self.zeros))
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


def fold_layer():
    return MyFold(d, e, window_layer(n // e))


torch.manual_seed(0)
folded = loud(fold_layer())
print("a change at 13 moves", *moved(folded, 13))
assert moved(folded, 13) == list(range(13, n))
torch.testing.assert_close(folded(x[:, :22]), folded(x)[:, :22])
print("22 positions: as the first 22 of 24")

# %% [markdown]
# Nothing before 13 moves, and everything after it does, its neighbours 14, 15 and 16 included. Touch it: choose a fold and a position, and switch `stage` from "folded and mixed" to "then the convolution". (The layer in this
# figure has no windows. It reads its whole hand, up to the position.)

# %% tags=["nbval-ignore-output"]
viz.axial_folding(24)

# %% [markdown]
# **At the stage "folded and mixed", with which fold does position 22 read the fewest, and how many does the convolution give back?** Then move the position
# to the left: **at which position does the convolution add nothing?**
#
# <details><summary>The answer</summary>Fold 6 leaves it four: 4, 10, 16 and 22. The convolution gives back the other 19, so that it reads all 23; and so it is with every fold. At position 0
# it does not help: there is nobody to collect from.</details>
# <br>
#
# Must the kernel be just $e$ wide? **Predict** what a width of 3 misses, with a fold of 4.

# %%
narrow = loud(fold_layer())
narrow.conv, narrow.zeros = nn.Conv1d(d, d, kernel_size=3, groups=d), (2, 0)
for name, layer in {"width 3": narrow, "width 4": folded}.items():
    heard = jacobian(layer)[22].nonzero().flatten()
    residues = (heard % e).unique().tolist()
    print(f"{name}: 22 reads {len(heard)} of 23, of the residues", residues)

# the answer about the figure, checked: fold 6 leaves these to position 22
assert list(range(22 % 6, 23, 6)) == [4, 10, 16, 22]

# %% [markdown]
# With width 3 position 22 collects from 20, 21 and 22, and their residues are 0, 1 and 2. A whole hand, number 3, stays unheard. Four in a row have every residue
# once: the width must be at least $e$, and need not be more.
#
# ## 8.5 Four ways to get it wrong
#
# All four run without an error. **First: zeros on the wrong side.** A picture has no past and no future, so in image code a convolution is padded on both
# sides. **Predict** for zeros on both sides (one in front, two behind), and for all three behind: which outputs move when 13 changes?

# %%
sides = {"in front": (3, 0), "both sides": (1, 2), "behind": (0, 3)}
tables = {}
for name, zeros in sides.items():
    layer = loud(fold_layer())
    layer.zeros = zeros
    tables[f"zeros {name}"] = jacobian(layer) > 0
    found = moved(layer, 13)
    print(f"zeros {name:10}  a change at 13 moves {found[0]} to {found[-1]}")
    assert found == list(range(found[0], found[-1] + 1))

viz.matrices(
    tables,
    alt="Three tables of who reads whom. Zeros in front: the triangle below the diagonal. "
    "Both sides: the triangle goes two steps above the diagonal. Behind: three steps",
)

# %% [markdown]
# Only zeros in front are causal. With zeros behind, a position collects from the three *after* it; with zeros on both sides, from two after it. In the last rows there are holes, and 13 no longer reaches the last outputs: after the end there is nobody to
# collect from, so there some hands go unheard.
#
# What would training say? Play the game that nobody can win:
# guess the *next* random letter. **Predict** both accuracies.


# %% tags=["nbval-ignore-output"]
def ahead(words):
    answers = words.roll(-1, dims=1)
    answers[:, -1] = -100
    return answers


def leaky_layer():
    layer = fold_layer()
    layer.zeros = (0, 3)
    return layer


honest, leaky = play(ahead, fold_layer)[0], play(ahead, leaky_layer)[0]
print(f"zeros in front {honest:.2f}   zeros behind {leaky:.2f}")
assert honest < 0.15 and leaky > 0.95

# %% [markdown]
# Whoever foresees dice has looked. This is the score that is too good, once more.
#
# **Second and third: the wrong order in the pattern.** The cards can be dealt, or the deck cut; and they can be gathered round by round, or stacked hand on hand. That makes four
# pairs, and all return the right shape. **Predict:** which of the four are causal? Which of them is a fold?

# %%
there = {"deal": "b (n e) d -> (b e) n d", "cut": "b (e n) d -> (b e) n d"}
back = {"gather": "(b e) n d -> b (n e) d", "stack": "(b e) n d -> b (e n) d"}


def reordered(first, last):
    return lambda x: rearrange(dealt.fn(rearrange(x, there[first], e=e)), back[last], e=e)


pairs = [("deal", "gather"), ("cut", "stack"), ("deal", "stack"), ("cut", "gather")]
for first, last in pairs:
    found = moved(reordered(first, last), 13)
    verdict = "causal" if min(found) >= 13 else "LEAKS "
    print(f"{first:4} and {last:6}  {verdict}  a change at 13 moves", *found)

# %% [markdown]
# *Deal and gather* is our fold. The second mistake is *cut and stack*: causal, but no fold, only four blocks of six neighbours, and none hears an earlier block. The third is to pick
# the cards up in another order than they were given out, as the other two pairs do: answers end up at positions that are not theirs. What 13 says is heard at 9, or at 6, which lie before it.
#
# **Fourth: the batch.** `(b e)` on the way there, `(e b)` on the way back. **Predict:** which test finds that?


# %%
def shuffled(x):
    y = dealt.fn(rearrange(x, "b (n e) d -> (b e) n d", e=e))
    return rearrange(y, "(e b) n d -> b (n e) d", e=e)


print("with one text, equal to ours:", torch.equal(shuffled(x[:1]), dealt(x[:1])))
changed = x.clone()
changed[0, 13] = -x[0, 13]  # text 0 only
for name, layer in {"ours": dealt, "(e b)": shuffled}.items():
    texts = (layer(x) != layer(changed)).flatten(1).any(1).nonzero().flatten().tolist()
    print(f"{name:6} a change in text 0 moves outputs of text", *texts)

# %% [markdown]
# Part of what text 0 should say is now said in text 1. With a single text the two are the same, so the tests of lesson 02, which had one, would notice nothing. **Test with a batch of two, and change one of them.**
#
# ## 8.6 Division with remainder
#
# Back to the game, with one folded layer, for the distances 11, 12 and 14. Inside a hand one can only go in steps of four; the kernel goes
# 0 to 3 positions further. **Predict** for each: how many cards back will a row of $W$ look, and how many positions back will the kernels look?

# %% tags=["nbval-ignore-output"]
for distance in (11, 12, 14):
    accuracy, model = play(far(distance), fold_layer)
    layer = model[1].fn.fn  # through residual and norm
    # both backwards from the position itself: a row of W, and the mean over all kernels
    w_row = layer.fn.sgu.mixing_matrix(n // e)[0, -1].abs().flip(0)  # (n / e,)
    kernel_row = layer.conv.weight[:, 0].abs().mean(dim=0).flip(0)  # (e,)
    steps, more = w_row.argmax().item(), kernel_row.argmax().item()
    print(f"{distance} positions back: {accuracy:.2f}", end="   ")
    print(f"W looks {steps} cards back, the kernels {more} positions")
    assert accuracy > 0.95 and (steps, more) == divmod(distance, e)

viz.bars(
    dict(zip(("itself", "1 back", "2 back", "3 back"), kernel_row.tolist(), strict=True)),
    xlabel="size of a kernel's weight, mean over channels (last game: distance 14)",
    alt="Four bars. The one for 2 back is several times as long as the other three, which "
    "are about equal",
)

# %% [markdown]
# One layer learns all three: $11 = 2 \cdot 4 + 3$, $12 = 3 \cdot 4 + 0$, $14 = 3 \cdot 4 + 2$. Nobody told it how. Training has found the division with remainder: the quotient stands in $W$, the
# remainder in the kernels.
#
# ## 8.7 Foretell the reach
#
# Who reads whom is a table of yes and no, and it can be written down without any layer. For windows: $j$ is not later than $i$, and their windows are at
# most one apart. For hands: the same residue, and the place of $i$ reads the place of $j$. For the convolution: $0 \le i - j < e$.
#
# And one after the other? Position $i$ reads $j$ if there is some $k$ such that $i$ reads $k$, and $k$ has read $j$. Count over all $k$: that is a matrix product.


# %%
def through(first, second):
    return second.float() @ first.float() > 0


def reads(n, w, e):
    i, j = torch.arange(n)[:, None], torch.arange(n)
    windows = (j <= i) & (i // w - j // w <= 1)
    hands = (i % e == j % e) & windows[i // e, j // e]  # same hand; place reads place
    kernel = (j <= i) & (i - j < e)
    return through(hands, kernel)


once = reads(n, w, e)
twice = nn.Sequential(folded, loud(fold_layer()))
assert torch.equal(once, jacobian(folded) > 0)
assert torch.equal(through(once, once), jacobian(twice) > 0)
print("one layer and two: foretold and measured agree in all", n * n, "pairs")

# %% [markdown]
# So we may trust the tables where measuring would take long. How many of 64 positions does the last one read? (A fold of 1 is no fold: one hand, and a kernel of
# width 1.) Three lines will come, for the folds 1, 2 and 4, each with four numbers, after 1, 2, 3 and 4 layers. The first line is lesson 07: 8, 12, 16, 20.
# **Predict** the last.


# %%
def heard(w, e, depth, n=64):
    table = layer = reads(n, w, e)
    for _ in range(depth - 1):
        table = through(layer, table)
    return table[-1]  # of the last position


for every in (1, 2, 4):
    counts = [int(heard(w, every, depth).sum()) for depth in (1, 2, 3, 4)]
    print(f"windows of {w}, fold {every}: after 1, 2, 3 and 4 layers", *counts)

# %% [markdown]
# One layer: 8, 16, 32, which is $2w \cdot e$. Without a fold each further layer adds a window, 4 positions. With fold 4 you might expect a window of each hand, 16. The second layer adds 28 = 16 + 3 · 4.
# Take position 63. In the second layer it reads back to position 32, and there the kernel of the *first* layer has already brought in 29, 30 and 31: card 7 of hands 1, 2 and 3, one window earlier than
# card 8, which is 32. So these three hands reach one window further, 4 cards each.
#
# And the one hand that is left? Build it in the figure (which writes the 64 positions in several lines). **Windows of 4, fold 4, two layers: which four positions does position 63 not hear?** And **how many layers
# with windows of 8 and no fold hear as much as one layer with windows of 4 and fold 4?**

# %% tags=["nbval-ignore-output"]
viz.receptive_fields(64, windows=(4, 8), folds=(1, 2, 4))

# %% [markdown]
# <details><summary>The answers</summary>0, 4, 8 and 12: the first cards of hand 0. From 63 the second layer reaches back to 32. The kernel of 32 also collects from 29, 30 and 31, which lie a
# window earlier and hear their hands from the first card on; but these are the hands 1, 2 and 3. Hand 0 is heard by 32 itself, and its look-back ends at 16. (For the other question: three.)</details>
# <br>
#
# The answers, checked:

# %%
assert (~heard(4, 4, 2)).nonzero().flatten().tolist() == [0, 4, 8, 12]
assert [int(heard(8, 1, depth).sum()) for depth in (1, 2, 3)] == [16, 24, 32]

# %% [markdown]
# ## 8.8 What it costs, and what it cannot do
#
# **Predict:** a layer with windows of 128 mixes 4,096 positions. Now give it a fold of 8. How many times as many multiplications?

# %%
long, channels = 4096, 64
print("window fold       mixing      kernels   weights of both  farthest back")
for window, every in ((128, 1), (128, 8), (1024, 1)):
    places = long // every  # in each hand
    mixing = every * places * 2 * window * channels  # hands * places * 2w * channels
    kernels = long * every * channels if every > 1 else 0
    weights = window * 2 * window + (channels * every if every > 1 else 0)
    farthest = 2 * window * every - 1
    print(f"{window:6} {every:4} {mixing:12,} {kernels:12,} {weights:17,} {farthest:14,}")

# the last column, checked on a smaller layer: 64 positions, windows of 4, fold 4
back_to = reads(64, w, 4).float().argmax(dim=1)  # the first position that each one reads
assert (torch.arange(64) - back_to).max() == 2 * w * 4 - 1

# %% [markdown]
# The mixing costs the same: eight hands, each an eighth as long, are $n$ positions together, and each position takes $2w$ products in each channel, as before. The kernels add $n \cdot e$ in each channel, a few in a hundred. Windows of
# 1,024 reach as far, and cost eight times as much.
#
# Too good? Two things have been given away. **First, a layer in a fold does not know which hand it is playing.** Positions 12 to 15 are all card 3 of their hands, and one row of $W$
# serves them all. Let two players swap hands: their answers swap, and nothing else happens.

# %%
swap = torch.arange(n).view(-1, e)[:, [0, 2, 1, 3]].flatten()  # 0 2 1 3, 4 6 5 7, …
torch.testing.assert_close(dealt(x[:, swap]), dealt(x)[:, swap])
print("positions now:", *swap[:8].tolist(), "…   hands swapped, answers swapped")

# %% [markdown]
# **Second, hands only add up.** Within a hand the gate multiplies what a position holds by what others say. Between hands there is nothing but a weighted sum. Lesson 01 asked what a product
# is good for; its example was *are you equal to your neighbour?* Play that with the letters 0 and 1.
#
# **Predict** the accuracy (chance is 0.50) of one layer with windows, of one folded layer, of windows followed by a fold, and of two folds. And windows followed by a fold in our first game, 14 positions back?


# %% tags=["nbval-ignore-output"]
def equal(words):
    answers = (words == words.roll(1, dims=1)).long()
    answers[:, 0] = -100
    return answers


near = {
    "windows": play(equal, window_layer, letters=2)[0],
    "fold": play(equal, fold_layer, letters=2)[0],
    "windows, fold": play(equal, window_layer, fold_layer, letters=2)[0],
    "fold, fold": play(equal, fold_layer, fold_layer, letters=2)[0],
}
both = play(far(14), window_layer, fold_layer)[0]
for name, accuracy in near.items():
    print(f"equal to your neighbour? {name:13} {accuracy:.2f}")
print(f"14 positions back?       windows, fold {both:.2f}")
assert near["fold"] < 0.8
assert min(both, near["windows"], near["windows, fold"], near["fold, fold"]) > 0.95

# %% [markdown]
# One folded layer is not better than guessing. Why? Let $s$ be its score for *equal* less its score for *different*. It must be above zero for the letters 00 and 11, and below zero for 01 and 10. Your letter $a$ and your neighbour's $b$ are in
# different hands, and hands only add up: with everything else fixed, $s = A(a) + B(b)$. But then $s(0, 0) + s(1, 1) = A(0) + B(0) + A(1) + B(1) = s(0, 1) + s(1, 0)$, and what is above zero on the left is
# below it on the right: impossible. So at most three of the four cases can be right, and the loss is lowest where it does not decide at all, $s = 0$.
#
# Two folds can: the second one may multiply what the first one's kernels have brought to one position. And windows followed by a fold win both games: windows for what is near, the fold for what is far.
#
# ## 8.9 And on text?
#
# Three layers with windows of 8 read the manual, as in lesson 04, for 120 steps. Then the same with a fold of 4 in the middle layer. **Predict:** does it help?

# %% tags=["nbval-ignore-output"]
from gmlp import LanguageModel, load_corpus, split_corpus, train

train_text, valid_text = split_corpus(load_corpus("pydocs"))
context, channels = 64, 64  # positions and channels of this model


def read_manual(middle):
    torch.manual_seed(0)
    units = [CausalLocalSGU(4 * channels, context, window=8) for _ in range(3)]
    blocks = [gMLPBlock(channels, 4 * channels, unit) for unit in units]
    blocks[1] = middle(blocks[1])
    layers = nn.Sequential(*(Residual(PreNorm(channels, block)) for block in blocks))
    model = LanguageModel(256, channels, context, layers)
    settings = {"context": context, "batch_size": 12, "steps": 120, "eval_every": 120}
    settings |= {"peak": 8e-3, "warmup": 30, "progress": False}
    return train(model, train_text, valid_text[:16384], **settings)[-1].valid_bits


text = {
    "windows": read_manual(lambda block: block),
    "a fold in the middle": read_manual(lambda block: MyFold(channels, 4, block)),
}
print({name: round(bits, 2) for name, bits in text.items()}, "bits per byte")
assert text["a fold in the middle"] < text["windows"] - 0.03

# %% [markdown]
# It helps. **Is it because the model reads farther?** Do not answer yet. We changed *two* things: the middle layer deals its positions to hands, and it has a small convolution. To know which of them helped, change only
# one. Such a run is called a **control**. **Predict:** the convolution of width 4 behind the middle layer, and no cards dealt.


# %% tags=["nbval-ignore-output"]
class OnlyTheKernel(MyFold):
    def forward(self, x):
        x = F.pad(self.fn(x), (0, 0, *self.zeros))
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


text["only the kernel"] = read_manual(lambda block: OnlyTheKernel(channels, 4, block))
print({name: round(bits, 2) for name, bits in text.items()}, "bits per byte")
assert abs(text["only the kernel"] - text["a fold in the middle"]) < 0.06
assert text["only the kernel"] < text["windows"] - 0.03

# %% [markdown]
# The kernel alone helps about as much. So what looked like the merit of the fold was, as far as this run can tell, that of its convolution: a cheap extra look at the last few bytes. A guess why: after 120 steps a model is still
# busy with what is near, and there a long reach does not pay. Whether it pays in long runs on long texts, one short run with one seed cannot say. In the first game it made all the difference, because there we *know* that the answer lies
# far away.
#
# ## 8.10 The finished module
#
# It is yours; padding and convolution have become functions. With a fold of 1, `forward` ends after its first two lines: the layer alone, without a convolution.
#
# It also has a method `step`, to write one position at a time as in lesson 05. Every hand has a memory of its own there, each new position goes to the hand whose turn it is, and the kernels keep the last $e - 1$
# outputs.

# %%
import inspect

from gmlp import AxiallyFold, Cache

print(inspect.getsource(AxiallyFold.forward))

# %%
finished = AxiallyFold(d, e, window_layer(n // e))
finished.load_state_dict(folded.state_dict())
for length in (1, 3, 22, 24):  # multiples of 4 and others
    torch.testing.assert_close(finished(x[:, :length]), folded(x[:, :length]))
assert torch.equal(AxiallyFold(d, 1, windows)(x), windows(x))
print("equal to yours for every length; fold 1 is no fold")

cache = Cache()
with torch.no_grad():
    one_by_one = torch.cat([finished.step(x[:, i : i + 1], cache) for i in range(n)], dim=1)
torch.testing.assert_close(one_by_one, finished(x))
print("one position at a time: the same", tuple(one_by_one.shape))

try:
    AxiallyFold(d, 0, windows)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Do you remember?
#
# Choose an answer, then click it.
#
# **1. A fold brings far positions together. Why can it still not read the future?**
#
# <details><summary>The convolution behind it hides the future.</summary>No: it only mixes what the hands have said; the fold is causal without it, too.</details>
# <details><summary>In every hand the positions lie in their old order, and the layer inside is causal.</summary>Right: to read only earlier cards of your own hand is to read only earlier positions.</details>
# <details><summary>The zeros at the end of the text take the place of the future.</summary>No: they only make the length a multiple; nobody reads them.</details>
# <details><summary>Positions of one hand stand too far apart to tell anything about the next one.</summary>No: distance is no protection; a layer that looks ahead would read <code>e</code> positions into the future.</details>
# <br>
#
# **2. You leave out the convolution and put ten layers with a fold of 4 on top of each other. Which of these can the model not learn?**
#
# <details><summary>To repeat what stood 40 positions back.</summary>No: that is ten steps of four, all in one hand.</details>
# <details><summary>To repeat what stood 4 positions back.</summary>No: that is the card before in the same hand.</details>
# <details><summary>To repeat what stood 2 positions back.</summary>Right: it lies in another hand, and without the convolution the hands never meet, however many layers there are.</details>
# <br>
#
# **3. Your test has a single text. It changes one position and looks at which outputs move. Which mistake does it not find?**
#
# <details><summary>Texts and hands that come back in the order <code>(e b)</code>.</summary>Right: with one text both orders are the same; it takes two texts, of which you change one.</details>
# <details><summary>Zeros behind the last position, for the convolution.</summary>No: then outputs before the changed position move.</details>
# <details><summary>Cards that are dealt, but then stacked hand on hand.</summary>No: then answers stand at positions that are not theirs, some of them earlier ones.</details>
#
# ## What you can do now
#
# - ✓ fold and unfold, and say where any position lands: hand `i % e`, place `i // e`;
# - ✓ show the stripes that a fold leaves, and join them with a depthwise causal convolution of width $e$;
# - ✓ catch zeros on the wrong side, cards gathered in another order, a batch put back wrongly, and a cut that is no fold;
# - ✓ foretell who reads whom by three small tables and a matrix product;
# - ✓ say what a fold costs (its kernels), what it gives away (which hand it is, products across hands), and ask for a control before you praise it.
#
# **Practise:** the [exercises](../exercises/08_axial_folding.ipynb) of this lesson: five, in about 70 minutes.
#
# **Next:** with windows and folds a layer reads far and stays cheap, and stacks get deep. Lesson 09 asks whether all of them must be there at every step of training.
