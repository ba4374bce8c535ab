"""Lesson 08: what a right, and each known wrong, answer looks like."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp import ops
from gmlp.axial_folding import AxiallyFold
from gmlp.checks.core import Draw, Exercise, Misconception, prediction

Layer = Callable[[Tensor], Tensor]

DEAL, CUT = "b (n e) d -> (b e) n d", "b (e n) d -> (b e) n d"
GATHER, STACK = "(b e) n d -> b (n e) d", "(b e) n d -> b (e n) d"


def _shape(rng: Draw, whole: bool) -> tuple[int, int, int, int]:
    """b, n, d and the fold; n a multiple of it, or not. No two of these, and ceil(n / e), agree."""
    e = (3, 5, 7)[rng.integer(0, 3)]  # odd: then n % e zeros are never the right number by luck
    b, d, m = (size for size in rng.sizes(4) if size != e)
    n = m * e
    while not whole and (n == m * e or n in (b, d, e, m)):
        n = m * e - rng.integer(1, e)
    return b, n, d, e


# fold


def _draw_fold(rng: Draw) -> tuple[Any, ...]:
    b, n, d, e = _shape(rng, whole=rng.number == 0)
    return rng.normal(b, n, d), e


def _padded(x: Tensor, e: int) -> Tensor:
    return F.pad(x, (0, 0, 0, -x.shape[1] % e))


def _in_pattern(pattern: str) -> Callable[[Tensor, int], Tensor]:
    return lambda x, e: rearrange(_padded(x, e), pattern, e=e)


def _with_zeros(zeros: Callable[[int, int], tuple[int, ...]]) -> Callable[[Tensor, int], Tensor]:
    return lambda x, e: rearrange(F.pad(x, zeros(x.shape[1], e)), DEAL, e=e)


def _hand_by_hand(x: Tensor, e: int) -> Tensor:
    x = _padded(x, e)
    return torch.stack([x[:, residue::e] for residue in range(e)], dim=1).flatten(0, 1)


def _card_by_card(x: Tensor, e: int) -> Tensor:
    b, n, d = x.shape
    out = torch.zeros(b * e, (n + e - 1) // e, d)
    for text in range(b):
        for i in range(n):
            out[text * e + i % e, i // e] = x[text, i]
    return out


def _fold_by_transpose(x: Tensor, e: int) -> Tensor:
    b, n, d = x.shape
    x = torch.cat([x, x.new_zeros(b, (e - n % e) % e, d)], dim=1)
    return x.view(b, -1, e, d).transpose(1, 2).reshape(b * e, -1, d)


# causal_conv


def _draw_conv(rng: Draw) -> tuple[Any, ...]:
    e = (3, 5, 7)[rng.integer(0, 3)]  # odd: then zeros on both sides are equally many
    b, d, more = (size for size in rng.sizes(4) if size != e)
    n = e + more + 6
    return rng.normal(b, n, d), rng.normal(d, e), rng.normal(d)


def _causal_conv(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    d, e = kernel.shape
    x = F.pad(x, (0, 0, e - 1, 0))
    return F.conv1d(x.transpose(1, 2), kernel[:, None], bias, groups=d).transpose(1, 2)


def _zeros_at(front: Callable[[int], int], behind: Callable[[int], int]) -> Callable[..., Tensor]:
    def conv(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        d, e = kernel.shape
        x = F.pad(x, (0, 0, front(e), behind(e))).transpose(1, 2)
        return F.conv1d(x, kernel[:, None], bias, groups=d).transpose(1, 2)

    return conv


def _late(x: Tensor, k: int) -> Tensor:
    """x, k positions later, with zeros in front."""
    return F.pad(x, (0, 0, k, -k))


def _no_groups(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    x = F.pad(x, (0, 0, kernel.shape[1] - 1, 0))
    return F.conv1d(x.transpose(1, 2), kernel[:, None], bias).transpose(1, 2)


def _channels_last(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    x = F.pad(x, (0, 0, kernel.shape[1] - 1, 0))
    return F.conv1d(x, kernel[:, None], bias, groups=len(kernel))


def _along_channels(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    x = F.pad(x, (kernel.shape[1] - 1, 0))
    return F.conv1d(x, kernel[:, None], bias, groups=len(kernel))


def _channels_padded(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    x = F.pad(x, (kernel.shape[1] - 1, 0)).transpose(1, 2)
    return F.conv1d(x, kernel[:, None], bias, groups=len(kernel)).transpose(1, 2)


def _around_the_end(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    e = kernel.shape[1]
    return sum((kernel[:, k] * x.roll(e - 1 - k, 1) for k in range(e)), torch.zeros(())) + bias


def _full_kernels_only(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, kernel.shape[1] - 1 :] = _zeros_at(lambda e: 0, lambda e: 0)(x, kernel, bias)
    return out


def _bias_for_every_term(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return _causal_conv(x, kernel, kernel.shape[1] * bias)


def _bias_for_every_term_inside(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    terms = (torch.arange(x.shape[1]) + 1).clamp(max=kernel.shape[1])
    return _causal_conv(x, kernel, 0 * bias) + terms[:, None] * bias


def _one_kernel_for_all(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return _causal_conv(x, kernel[:1].expand_as(kernel), bias)


def _summed_over_channels(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return _causal_conv(x, kernel, 0 * bias).sum(-1, keepdim=True) + bias


def _conv_by_loop(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    b, n, d = x.shape
    e = kernel.shape[1]
    out = torch.zeros(b, n, d)
    for i in range(n):
        for k in range(e):
            j = i - e + 1 + k
            if j >= 0:
                out[:, i] += kernel[:, k] * x[:, j]
    return out + bias


def _conv_by_windows(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    e = kernel.shape[1]
    windows = F.pad(x, (0, 0, e - 1, 0)).unfold(1, e, 1)  # (b, n, d, e)
    return torch.einsum("bnde,de->bnd", windows, kernel) + bias


def _conv_by_shifts(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    e = kernel.shape[1]
    out = bias.expand_as(x)
    for k in range(e):
        out = out + _late(x, e - 1 - k) * kernel[:, k]
    return out


def _conv_then_cut(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    d, e = kernel.shape
    y = F.conv1d(x.mT, kernel.unsqueeze(1), bias, padding=e - 1, groups=d)
    return y[..., : x.shape[1]].mT


# folded_layer


class _Mixed(nn.Module):
    """A causal layer: its rows of weights differ from place to place, and it multiplies."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, n))

    def __repr__(self) -> str:
        return "a causal layer"

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        return x * (1 + self.weight[:n, :n].tril() @ x)


class Kernels(nn.Module):
    """The depthwise causal convolution of the lesson."""

    def __init__(self, d: int, e: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d, 1, e))
        self.bias = nn.Parameter(torch.empty(d))

    def __repr__(self) -> str:
        return "a causal convolution"

    def forward(self, x: Tensor) -> Tensor:
        return ops.causal_conv(x, self.weight, self.bias)


def _draw_layer(rng: Draw) -> tuple[Any, ...]:
    b, n, d, e = _shape(rng, whole=rng.number == 0)
    return rng.normal(b, n, d), e, rng.refill(_Mixed(n + e)), rng.refill(Kernels(d, e))


def _folded_layer(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    n = x.shape[1]
    x = F.pad(x, (0, 0, 0, -n % e))
    x = fn(rearrange(x, DEAL, e=e))
    return mix(rearrange(x, GATHER, e=e)[:, :n])


def _found_folded_layer(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    n = x.shape[1]
    x = F.pad(x, (0, 0, 0, -n % e))
    x = rearrange(x, "b (n e) d -> (b e) n d", e=e)
    x = mix(fn(x))
    x = rearrange(x, "(b e) n d -> b (n e) d", e=e)
    return x[:, :n]


def _same(x: Tensor) -> Tensor:
    return x


def _mix_in_the_hands(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    return _folded_layer(x, e, lambda hand: mix(fn(hand)), _same)


def _ordered(there: str, back: str, inside: bool = False) -> Callable[..., Tensor]:
    def layer(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
        y = fn(rearrange(_padded(x, e), there, e=e))
        y = rearrange(mix(y) if inside else y, back, e=e)[:, : x.shape[1]]
        return y if inside else mix(y)

    return layer


def _zeros_in_front(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    n = x.shape[1]
    y = fn(rearrange(F.pad(x, (0, 0, -n % e, 0)), DEAL, e=e))
    return mix(rearrange(y, GATHER, e=e)[:, -n:])


def _padding_kept(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    return mix(rearrange(fn(rearrange(_padded(x, e), DEAL, e=e)), GATHER, e=e))


def _cut_last(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    return _padding_kept(x, e, fn, mix)[:, : x.shape[1]]


def _hands_in_a_loop(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    y = torch.zeros_like(x)
    for residue in range(min(e, x.shape[1])):
        y[:, residue::e] = fn(x[:, residue::e])
    return mix(y)


def _layer_by_transpose(x: Tensor, e: int, fn: Layer, mix: Layer) -> Tensor:
    b, n, d = x.shape
    y = fn(_fold_by_transpose(x, e)).view(b, e, -1, d)
    return mix(y.transpose(1, 2).flatten(1, 2)[:, :n])


# fold_reads


def _draw_reads(rng: Draw) -> tuple[Any, ...]:
    e, m = ((2, 5), (3, 5), (3, 7), (5, 7))[rng.integer(0, 4)]
    width = (e, 1, e - 1, e + 2, e)[rng.number]
    inner = rng.integers(0, 3, m, m).bool()  # one of three is missing
    if rng.number != 3:  # the others look back only
        inner = inner.tril()
    inner[range(m), range(m)] = rng.number != 4  # a layer need not read the place itself
    inner[-1, 0] = True
    inner[2, 1] = False
    inner[0, -1] = rng.number == 3
    return inner, e, width


def _hands(inner: Tensor, e: int) -> Tensor:
    i = torch.arange(len(inner) * e)
    return (i[:, None] % e == i % e) & inner[i[:, None] // e, i // e]


def _kernel(n: int, width: int) -> Tensor:
    return torch.ones(n, n).tril().triu(1 - width)


def _fold_reads(inner: Tensor, e: int, width: int) -> Tensor:
    hands = _hands(inner, e)
    return _kernel(len(hands), width) @ hands.float() > 0


def _by_product(
    kernel: Callable[[int, int, int], Tensor],
) -> Callable[[Tensor, int, int], Tensor]:
    """kernel(n, width, e) in place of the right table of the convolution."""

    def reads(inner: Tensor, e: int, width: int) -> Tensor:
        hands = _hands(inner, e).float()
        return kernel(len(hands), width, e) @ hands > 0

    return reads


def _kron(one: Tensor, other: Tensor) -> Tensor:
    return torch.kron(one.float(), other.float())


def _rounds(inner: Tensor, e: int, width: int) -> Tensor:
    i = torch.arange(len(inner) * e)
    same = (i[:, None] // e == i // e) & inner[i[:, None] % e, i % e]
    return _kernel(len(i), width) @ same.float() > 0


def _as_if(
    inside: Callable[[Tensor], Tensor],
) -> Callable[[Tensor, int, int], Tensor]:
    """Right for another table of the layer than the one that is given."""

    def reads(inner: Tensor, e: int, width: int) -> Tensor:
        return _fold_reads(inside(inner), e, width)

    return reads


def _truth_times_truth(inner: Tensor, e: int, width: int) -> Tensor:
    hands = _hands(inner, e)
    return _kernel(len(hands), width).bool() @ hands


def _reads_by_loop(inner: Tensor, e: int, width: int) -> Tensor:
    n = len(inner) * e
    table = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for k in range(max(0, i - width + 1), i + 1):  # the convolution of i collects from k
            for place in range(len(inner)):
                if inner[k // e, place]:
                    table[i, place * e + k % e] = True
    return table


def _reads_by_rows(inner: Tensor, e: int, width: int) -> Tensor:
    hands = torch.kron(inner.int(), torch.eye(e, dtype=torch.int32)).bool()
    table = hands.clone()
    for back in range(1, width):
        table[back:] |= hands[:-back]
    return table


def _reads_measured(inner: Tensor, e: int, width: int) -> Tensor:
    x = torch.eye(len(inner) * e)[None]  # channel j holds a one at position j, and nothing else
    y = inner.float() @ rearrange(x, DEAL, e=e)
    y = rearrange(y, GATHER, e=e)
    return F.pad(y, (0, 0, width - 1, 0)).unfold(1, width, 1).sum(-1)[0] > 0


# heard_through_two_folds


class _RunningSum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(dim=1)


def _heard_through_two_folds() -> int:
    layers = []
    for e in (4, 6) * 5:
        fold = AxiallyFold(1, e, _RunningSum()).double()
        own = torch.tensor([0.0] * (e - 1) + [1.0])  # a kernel that mixes nothing
        fold.load_state_dict({"conv.weight": own[None, None], "conv.bias": torch.zeros(1)})
        layers.append(fold)
    x = torch.ones(1, 24, 1, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(nn.Sequential(*layers)(x)[0, -1, 0], x)
    return int((grad != 0).sum())


def _zeros_before_the_hand(x: Tensor, e: int) -> Tensor:
    m = -(-x.shape[1] // e)
    hands = [F.pad(x[:, h::e], (0, 0, m - x[:, h::e].shape[1], 0)) for h in range(e)]
    return torch.stack(hands, 1).flatten(0, 1)


def _kernel_reshaped(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    d, e = kernel.shape
    n = x.shape[1]
    columns = kernel.reshape(e, d)
    padded = F.pad(x, (0, 0, e - 1, 0))
    out = torch.zeros_like(x)
    for k in range(e):
        out = out + columns[k] * padded[:, k : k + n]
    return out + bias


EXERCISES = (
    Exercise(
        name="fold",
        lesson="08_axial_folding",
        axes="b*e m d",
        draw=_draw_fold,
        draws=4,
        solution=_in_pattern(DEAL),
        alternatives=(_hand_by_hand, _card_by_card, _fold_by_transpose),
        misconceptions=(
            Misconception(
                "cut, not dealt",
                _in_pattern(CUT),
                "You cut the text into consecutive pieces: neighbours stay neighbours.",
                "Fold 0 to 11 by 4 and look at the first hand: 0 1 2, or 0 4 8? A bare reshape "
                "cuts, too.",
            ),
            Misconception(
                "hands before texts",
                _in_pattern("b (n e) d -> (e b) n d"),
                "Your sequences come in the wrong order: hand 0 of every text first, then hand 1.",
                "Which of the two should count faster along the first axis, texts or hands?",
            ),
            Misconception(
                "cut, and pieces before texts",
                _in_pattern("b (e n) d -> (e b) n d"),
                "You cut the text into consecutive pieces, and you put the first piece of every "
                "text before the second.",
                "Two things to look at: which positions form a hand, and which of texts and hands "
                "counts faster along the first axis.",
            ),
            Misconception(
                "rounds",
                _in_pattern("b (n e) d -> (b n) e d"),
                "Your sequences are the rounds: e neighbours each. A round gives one card to each "
                "player.",
                "How many sequences does one text become, and how long is each?",
            ),
            Misconception(
                "residues by the number of rounds",
                _in_pattern("b (e n) d -> (b n) e d"),
                "You deal to n / e players, e cards each, and not to e players.",
                "The letter that counts fastest on the left is the number of hands.",
            ),
            Misconception(
                "texts and hands apart",
                _in_pattern("b (n e) d -> b e n d"),
                "Your answer has four axes: texts and hands are still apart.",
                "The layer inside wants three axes. Which two belong together?",
            ),
            Misconception(
                "hands in the channels",
                _in_pattern("b (n e) d -> b n (e d)"),
                "You put the hands side by side in the channels, so a layer would see them all "
                "at once.",
                "Where does a layer keep separate texts?",
            ),
            Misconception(
                "places and channels exchanged",
                _in_pattern("b (n e) d -> (b e) d n"),
                "Your last two axes are exchanged: channels come before places.",
                "The channels stay on the last axis.",
            ),
            Misconception(
                "one hand only",
                lambda x, e: _padded(x, e)[:, ::e],
                "You return hand 0 of every text, and none of the other hands.",
                "`::e` starts at 0. From where do the other hands start?",
            ),
            Misconception(
                "zeros in front",
                _with_zeros(lambda n, e: (0, 0, -n % e, 0)),
                "You put the zeros in front of the text, so every position moves to another hand.",
                "Position 0 should be the first card of hand 0. Where may the zeros stand?",
            ),
            Misconception(
                "not padded",
                lambda x, e: rearrange(x, DEAL, e=e),
                "You do not pad, so a length that is no multiple of e cannot be dealt.",
                "Fold a text of 10 by 4. How many zeros are missing, and at which end?",
            ),
            Misconception(
                "not padded, hands stacked",
                lambda x, e: torch.stack([x[:, k::e] for k in range(e)], dim=1).flatten(0, 1),
                "You do not pad, so where the length is no multiple of e the hands are not equally "
                "long.",
                "What should stand in the last place of a hand that has one card fewer?",
            ),
            Misconception(
                "not padded, hands before texts",
                lambda x, e: torch.cat([x[:, k::e] for k in range(e)]),
                "You put hand 0 of every text first, then hand 1; and you do not pad, so the hands "
                "are not always equally long.",
                "First make the length a multiple of e. Then see to it that all hands of text 0 "
                "come first.",
            ),
            Misconception(
                "not padded, cut",
                lambda x, e: rearrange(x, CUT, e=e),
                "You cut the text into consecutive pieces; and you do not pad, so a length that is "
                "no multiple of e fails.",
                "Fold 0 to 11 by 4 and look at the first hand: 0 1 2, or 0 4 8? Then try 0 to 9.",
            ),
            Misconception(
                "n % e zeros",
                _with_zeros(lambda n, e: (0, 0, 0, n % e)),
                "You append n % e zeros: so many are left over, not missing.",
                "For n = 10 and e = 4 two are left over, and two are missing. Try n = 9.",
            ),
            Misconception(
                "a round of zeros too many",
                _with_zeros(lambda n, e: (0, 0, 0, e - n % e)),
                "You append e zeros to a text whose length is a multiple of e already.",
                "What is e - n % e when nothing is missing?",
            ),
            Misconception(
                "channels padded",
                _with_zeros(lambda n, e: (0, -n % e)),
                "You append zeros to the channels, not to the positions.",
                "F.pad counts its pairs of numbers from the last axis. Which pair is for axis 1?",
            ),
            Misconception(
                "remainder lost",
                lambda x, e: rearrange(x[:, : x.shape[1] // e * e], DEAL, e=e),
                "You cut the text to whole rounds, so its last positions are lost.",
                "No position may be lost. What else can make the length a multiple of e?",
            ),
            Misconception(
                "zeros in front of short hands",
                _zeros_before_the_hand,
                "You put the zero in front of a short hand, so all of its cards move by one place.",
                "Position i is card i // e of its hand. Where is room for the zero?",
            ),
        ),
        hints=(
            "Write down 0 to 9 and deal them to 4 players. Which card of which player is 6, and "
            "which two players have an empty last place?",
            "Two steps: first F.pad the positions at the end up to a multiple of e, then one "
            "rearrange, with two brackets in its pattern.",
            "`F.pad(x, (0, 0, 0, …))` pads axis 1 at its end, and `-n % e` is how many are "
            "missing. In the pattern, `b (n e) d` says that e counts fastest along the positions; "
            "the answer's first axis is one bracket of b and e.",
        ),
    ),
    Exercise(
        name="causal_conv",
        lesson="08_axial_folding",
        axes="b n d",
        draw=_draw_conv,
        positions="x",
        solution=_causal_conv,
        alternatives=(_conv_by_loop, _conv_by_windows, _conv_by_shifts, _conv_then_cut),
        misconceptions=(
            Misconception(
                "zeros behind",
                _zeros_at(lambda e: 0, lambda e: e - 1),
                "Your convolution looks ahead: a position collects from itself and from those "
                "after it.",
                "At which end of the text must the zeros stand, or which end must be cut?",
            ),
            Misconception(
                "zeros on both sides",
                _zeros_at(lambda e: e // 2, lambda e: e // 2),
                "Your kernel is centred, as for pictures: half of it looks ahead.",
                "The last weight of the kernel is for the position itself. What may stand after "
                "it?",
            ),
            Misconception(
                "not padded",
                _zeros_at(lambda e: 0, lambda e: 0),
                "You do not pad, so the first positions, where the kernel sticks out, get no "
                "output.",
                "Every position needs an output. What stands before the first one?",
            ),
            Misconception(
                "one zero too many",
                _zeros_at(lambda e: e, lambda e: 0),
                "You put e zeros in front: one too many, so one output too many comes out.",
                "A kernel of width 1 needs no zeros at all. And one of width e?",
            ),
            Misconception(
                "one position late",
                lambda x, kernel, bias: _causal_conv(_late(x, 1), kernel, bias),
                "Your kernel ends one position too early: position i collects from those before "
                "it, but not from itself.",
                "Put a single 1 into x. It should be heard at its own position already.",
            ),
            Misconception(
                "zeros on both ends kept",
                _zeros_at(lambda e: e - 1, lambda e: e - 1),
                "You pad both ends and keep all outputs, e - 1 too many.",
                "conv1d's `padding` adds zeros at both ends. Which outputs belong to positions of "
                "the text?",
            ),
            Misconception(
                "kernel turned round",
                lambda x, kernel, bias: _causal_conv(x, kernel.flip(1), bias),
                "You have the kernel the wrong way round: its first weight is for the position "
                "itself.",
                "Compare with the chapter: a single 1 and the kernel 1, 10, 100 give 100, 10, 1.",
            ),
            Misconception(
                "summed over channels",
                _summed_over_channels,
                "You add up all channels, so every channel hears every other one.",
                "Depthwise means that channel c of the answer comes from channel c of x alone.",
            ),
            Misconception(
                "one kernel for all",
                _one_kernel_for_all,
                "You use the kernel of channel 0 for every channel.",
                "kernel has a row for each channel.",
            ),
            Misconception(
                "groups forgotten",
                _no_groups,
                "You do not tell conv1d that it is depthwise, so it wants kernels that read all "
                "channels.",
                "conv1d has an argument for it; the chapter gives it the number of channels.",
            ),
            Misconception(
                "channels left on the last axis",
                _channels_last,
                "Your conv1d gets the positions where it expects the channels.",
                "conv1d wants (b, d, n). Which two axes change places, before and after?",
            ),
            Misconception(
                "along the channels",
                _along_channels,
                "You pad and convolve along the channels, not along the positions.",
                "conv1d wants (b, d, n), and F.pad starts with the last axis. Which axis is last?",
            ),
            Misconception(
                "channels padded",
                _channels_padded,
                "You put the zeros before the first channel, not before the first position.",
                "F.pad starts with the last axis. Pad after you have turned x, or use the next "
                "pair.",
            ),
            Misconception(
                "not turned back",
                lambda x, kernel, bias: _causal_conv(x, kernel, bias).transpose(1, 2),
                "You return (b, d, n): the axes are not turned back.",
                "What conv1d returns has its channels on axis 1, too.",
            ),
            Misconception(
                "around the end",
                _around_the_end,
                "Your first positions read the last ones: what falls out at one end comes in at "
                "the other.",
                "A negative index counts from the end, and roll goes round. Before position 0 "
                "there is nothing.",
            ),
            Misconception(
                "first positions left out",
                _full_kernels_only,
                "You leave the first e - 1 positions at zero. They collect as well, from as many "
                "as there are.",
                "Position 0 hears itself, and the bias is for all.",
            ),
            Misconception(
                "first positions only biased",
                lambda x, kernel, bias: _full_kernels_only(x, kernel, 0 * bias) + bias,
                "Your first e - 1 positions hold the bias alone. They collect as well, from as "
                "many as there are.",
                "Position 0 hears itself.",
            ),
            Misconception(
                "turned round, around the end",
                lambda x, kernel, bias: _around_the_end(x, kernel.flip(1), bias),
                "Your first positions read the last ones, through an index below 0; and the "
                "kernel's first weight is for the position itself.",
                "A negative index counts from the end. And compare with the chapter: a single 1 "
                "and the kernel 1, 10, 100 give 100, 10, 1.",
            ),
            Misconception(
                "position 0 unheard",
                lambda x, kernel, bias: _causal_conv(
                    torch.cat([0 * x[:, :1], x[:, 1:]], dim=1), kernel, bias
                ),
                "Nobody hears position 0 in your convolution.",
                "Is 0 an index from which you may collect?",
            ),
            Misconception(
                "last term only",
                lambda x, kernel, bias: x * kernel[:, -1] + bias,
                "You keep one term of the sum, the last: position i hears nobody but itself.",
                "In a loop, does each term come on top of the others or in their place?",
            ),
            Misconception(
                "kernel as (d, e)",
                lambda x, kernel, bias: (
                    F.conv1d(
                        F.pad(x.mT, (kernel.shape[1] - 1, 0)), kernel, bias, groups=len(kernel)
                    ).mT
                ),
                "You hand conv1d the kernel as it is; it wants one more axis, in the middle.",
                "In the chapter the kernels have the shape (d, 1, width). Index with None.",
            ),
            Misconception(
                "kernel as (1, d, e)",
                lambda x, kernel, bias: (
                    F.conv1d(
                        F.pad(x.mT, (kernel.shape[1] - 1, 0)),
                        kernel[None],
                        bias,
                        groups=len(kernel),
                    ).mT
                ),
                "You hand conv1d a kernel of the shape (1, d, e).",
                "In the chapter the kernels have the shape (d, 1, width). Where does None stand?",
            ),
            Misconception(
                "self left out",
                lambda x, kernel, bias: _causal_conv(
                    x, torch.cat([kernel[:, :-1], 0 * kernel[:, -1:]], 1), bias
                ),
                "You leave out the kernel's last weight, that of the position itself.",
                "How many weights has a kernel of width e, and which k does your loop end with?",
            ),
            Misconception(
                "no bias",
                lambda x, kernel, bias: _causal_conv(x, kernel, 0 * bias),
                "You leave out the bias.",
                "What is not used of the arguments?",
            ),
            Misconception(
                "bias once for every weight",
                _bias_for_every_term,
                "You add the bias e times, once with each weight of the kernel.",
                "It stands after the sum, not in it.",
            ),
            Misconception(
                "bias once for every term",
                _bias_for_every_term_inside,
                "You add the bias again with every position that you collect from.",
                "It stands after the sum, not in it.",
            ),
            Misconception(
                "kernel reshaped",
                _kernel_reshaped,
                "You reshape the kernel to (e, d), which renumbers its weights; it does not turn "
                "it.",
                "Two axes change places with a transpose, not with a reshape.",
            ),
        ),
        hints=(
            "Take one channel and a kernel of width 3. From which positions does position 1 "
            "collect, and what stands where there is none?",
            "Either put e - 1 zeros in front and let F.conv1d do it, with as many groups as "
            "channels; or add up e shifted copies of x, each times one column of the kernel.",
            "F.conv1d wants x as (b, d, n) and the kernel as (d, 1, e): `x.transpose(1, 2)`, "
            "`kernel[:, None]`. On the last axis of the turned x, `F.pad(…, (e - 1, 0))` puts the "
            "zeros in front. Turn the result back.",
        ),
    ),
    Exercise(
        name="folded_layer",
        lesson="08_axial_folding",
        axes="b n d",
        kind="debug",
        draw=_draw_layer,
        positions="x",
        solution=_folded_layer,
        stub=_found_folded_layer,
        alternatives=(_cut_last, _hands_in_a_loop, _layer_by_transpose),
        misconceptions=(
            Misconception(
                "mix in the hands",
                _mix_in_the_hands,
                "Your mix still works inside each hand, so the hands never meet.",
                "Whose neighbours are in the same hand, and whose are in different ones?",
            ),
            Misconception(
                "mix in the hands, before fn",
                lambda x, e, fn, mix: _folded_layer(x, e, lambda hand: fn(mix(hand)), _same),
                "Your mix now comes before fn, but still inside each hand, so the hands never "
                "meet.",
                "Not what comes before or after fn matters, but how the positions lie then.",
            ),
            Misconception(
                "no mix",
                lambda x, e, fn, mix: _folded_layer(x, e, fn, _same),
                "Your mix is gone, so the hands never meet.",
                "It is needed. Where do neighbours come from different hands?",
            ),
            Misconception(
                "mix before the deal",
                lambda x, e, fn, mix: _folded_layer(mix(x), e, fn, _same),
                "You mix before the cards are dealt: what fn finds out in one hand the others do "
                "not hear.",
                "The hands should meet after each of them has been through fn.",
            ),
            Misconception(
                "mix twice",
                lambda x, e, fn, mix: _folded_layer(x, e, lambda hand: mix(fn(hand)), mix),
                "You mix twice, once inside the hands and once outside.",
                "One of the two is the fault that you were asked to find.",
            ),
            Misconception(
                "fn and mix exchanged",
                lambda x, e, fn, mix: _folded_layer(x, e, mix, fn),
                "You have exchanged fn and mix: fn now reads the text as it lies, and mix works "
                "in the hands.",
                "fn is the layer that is to reach far. Which of the two must be folded?",
            ),
            Misconception(
                "both outside",
                lambda x, e, fn, mix: mix(fn(x)),
                "Your layer does not fold any more: fn reads the text as it lies.",
                "fn belongs inside the hands. Only one of the two has to move.",
            ),
            Misconception(
                "hands stacked",
                _ordered(DEAL, STACK),
                "You mix in the right place, but you stack the hands one after another, so outputs "
                "stand at positions that are not theirs.",
                "The pattern back must be the pattern there, read from right to left.",
            ),
            Misconception(
                "hands stacked, mix inside",
                _ordered(DEAL, STACK, inside=True),
                "You stack the hands one after another, so outputs stand at positions that are not "
                "theirs; and mix still works inside each hand.",
                "The two patterns that you were given fit together. Look at the line between them.",
            ),
            Misconception(
                "cut, not dealt",
                _ordered(CUT, STACK),
                "You cut the text into consecutive pieces. That is no fold: fn reaches no farther.",
                "The two patterns that you were given do deal.",
            ),
            Misconception(
                "cut, not dealt, mix inside",
                _ordered(CUT, STACK, inside=True),
                "You cut the text into consecutive pieces that do not hear each other, and mix "
                "works inside each of them.",
                "The two patterns that you were given do deal. Look at the line between them.",
            ),
            Misconception(
                "texts shuffled",
                _ordered(DEAL, "(e b) n d -> b (n e) d"),
                "You put texts and hands back in another order, so what one text says is heard in "
                "another.",
                "Run it on two texts and change one. Which outputs move?",
            ),
            Misconception(
                "padding kept",
                _padding_kept,
                "You return the padding, too.",
                "As many positions come out as went in.",
            ),
            Misconception(
                "zeros in front",
                _zeros_in_front,
                "You put the zeros in front, so position 0 is no longer the first card of hand 0.",
                "The padding stands at the end, where nobody reads it, and is cut off there.",
            ),
        ),
        hints=(
            "Follow the 1 at position 5. At which line could it reach position 6, and is 6 its "
            "neighbour there?",
            "Every line of the code is needed, and the patterns are right. One of them comes too "
            "early.",
            "The order is: pad, deal, fn, gather, cut. Where in it do neighbours come from "
            "different hands? There mix belongs.",
        ),
    ),
    Exercise(
        name="fold_reads",
        lesson="08_axial_folding",
        axes="n n",
        kind="extend",
        draw=_draw_reads,
        draws=5,
        solution=_fold_reads,
        alternatives=(_reads_by_loop, _reads_by_rows, _reads_measured),
        misconceptions=(
            Misconception(
                "without the convolution",
                lambda inner, e, width: _hands(inner, e),
                "Your table is that of the hands alone, before the convolution.",
                "Row i should also have what the width - 1 positions before i have heard.",
            ),
            Misconception(
                "without the hands",
                lambda inner, e, width: _kernel(len(inner) * e, width).bool(),
                "Your table is that of the convolution alone.",
                "What have the positions heard from which it collects?",
            ),
            Misconception(
                "one or the other",
                lambda inner, e, width: _hands(inner, e) | _kernel(len(inner) * e, width).bool(),
                "You join the two tables with or: i reads what its hand or its kernel reads.",
                "They act one after the other: i collects from k, and k has heard j.",
            ),
            Misconception(
                "both at once",
                lambda inner, e, width: _hands(inner, e) & _kernel(len(inner) * e, width).bool(),
                "You join the two tables with and: only what hand and kernel both read is left.",
                "They act one after the other: i collects from k, and k has heard j.",
            ),
            Misconception(
                "convolution first",
                lambda inner, e, width: (
                    _hands(inner, e).float() @ _kernel(len(inner) * e, width) > 0
                ),
                "You have the two in the wrong order: the convolution comes first, then the hands.",
                "Which of the two tables tells where output i collects from? It stands on the "
                "left.",
            ),
            Misconception(
                "convolution inside the hands",
                lambda inner, e, width: (
                    _kron(_kernel(len(inner), width) @ inner.float(), torch.eye(e)) > 0
                ),
                "Your convolution works inside each hand, so the hands never meet.",
                "width counts positions of the text, not places in a hand.",
            ),
            Misconception(
                "cut, not dealt",
                lambda inner, e, width: (
                    _kernel(len(inner) * e, width) @ _kron(torch.eye(e), inner) > 0
                ),
                "Your hands are consecutive pieces: the text is cut, not dealt.",
                "Quotient and remainder: which of them says the hand, which the place, and of what "
                "division?",
            ),
            Misconception(
                "quotient and remainder exchanged",
                _rounds,
                "You take i // e for the hand of position i and i % e for its place.",
                "Deal 0 to 7 to two players. What do 0, 2, 4 and 6 have in common?",
            ),
            Misconception(
                "each place reads itself",
                _as_if(lambda inner: inner | torch.eye(len(inner)).bool()),
                "You take it that each place reads itself. Not every layer lets it.",
                "Is the diagonal of `inner` always True? Look it up.",
            ),
            Misconception(
                "a layer that looks back only",
                _as_if(torch.tril),
                "You let no place of a hand read a later one, whatever `inner` says.",
                "The card says *any* layer. What `inner` allows is in `inner`.",
            ),
            Misconception(
                "everything before",
                _as_if(lambda inner: torch.ones_like(inner).tril()),
                "You let every place of a hand read all places before it, whatever `inner` says.",
                "`inner` has holes. Look up places in it.",
            ),
            Misconception(
                "whole hands",
                _as_if(torch.ones_like),
                "You let every place of a hand read all others, later ones too.",
                "The same residue is not enough. Look up the two places in `inner`.",
            ),
            Misconception(
                "looks ahead",
                _by_product(lambda n, width, e: _kernel(n, width).T),
                "Your convolution collects from the positions after i.",
                "It is causal. Which sign has i - k?",
            ),
            Misconception(
                "both directions",
                _by_product(
                    lambda n, width, e: torch.maximum(_kernel(n, width), _kernel(n, width).T)
                ),
                "Your convolution collects from both sides of i.",
                "It is causal. Which sign has i - k?",
            ),
            Misconception(
                "one too wide",
                _by_product(lambda n, width, e: _kernel(n, width + 1)),
                "Your kernel is one too wide.",
                "With a width of 1 position i collects from itself alone.",
            ),
            Misconception(
                "one too narrow",
                _by_product(lambda n, width, e: _kernel(n, width - 1)),
                "Your kernel is one too narrow.",
                "With a width of 1 position i collects from itself.",
            ),
            Misconception(
                "one position late",
                _by_product(lambda n, width, e: _kernel(n, width + 1).tril(-1)),
                "Your kernel ends one position too early: position i collects from those before "
                "it, but not from itself.",
                "With a width of 1 position i collects from itself.",
            ),
            Misconception(
                "self left out",
                _by_product(lambda n, width, e: _kernel(n, width).tril(-1)),
                "In your kernel position i does not collect from itself.",
                "With a width of 1 position i collects from itself.",
            ),
            Misconception(
                "around the end",
                _by_product(
                    lambda n, width, e: sum(
                        (torch.eye(n).roll(k, 0) for k in range(width)), torch.zeros(n, n)
                    )
                ),
                "Your first positions read the last ones: what falls out at one end comes in at "
                "the other.",
                "A negative index counts from the end, and roll goes round. Before position 0 "
                "there is nothing.",
            ),
            Misconception(
                "e for the width",
                _by_product(lambda n, width, e: _kernel(n, e)),
                "You take e for the width of the kernel, as in the chapter. Here it has its own.",
                "Which argument do you not use?",
            ),
            Misconception(
                "all before",
                _by_product(lambda n, width, e: torch.ones(n, n).tril()),
                "Your kernel has no end: position i collects from all before it.",
                "It collects from `width` positions.",
            ),
            Misconception(
                "rows and columns exchanged",
                lambda inner, e, width: _fold_reads(inner, e, width).T,
                "You have rows and columns exchanged: your row j says who reads j.",
                "Row i is the position that reads.",
            ),
            Misconception(
                "inner exchanged",
                lambda inner, e, width: _fold_reads(inner.T, e, width),
                "You look up `inner` with rows and columns exchanged.",
                "In `inner`, too, the row is the place that reads.",
            ),
            Misconception(
                "numbers, not truth values",
                lambda inner, e, width: _kernel(len(inner) * e, width) @ _hands(inner, e).float(),
                "You return how many ways there are from j to i, not whether there is one.",
                "Asked for is a table of True and False.",
            ),
            Misconception(
                "product of truth values",
                _truth_times_truth,
                "You multiply two tables of True and False as matrices. torch does that with "
                "numbers only.",
                "The chapter's `through` shows the way there and back.",
            ),
        ),
        hints=(
            "Position i collects from k, and k has heard j in its hand. Which k are there, and "
            "when has k heard j?",
            "Make two tables (n, n): what a position hears in its hand, and what its kernel "
            "collects from. The chapter's `through` tells how to put one after the other.",
            "Hands: i % e equals j % e, and `inner` at [i // e, j // e] is true. Kernel: i - j is "
            "at least 0 and less than the width. Then a matrix product of numbers, and > 0.",
        ),
    ),
    prediction(
        "heard_through_two_folds",
        "08_axial_folding",
        _heard_through_two_folds,
        because="A layer goes back in steps of 4, or in steps of 6, so what can be heard lies 0, "
        "4, 6, 8, 10 … 22 back. All of these are even, so odd distances never come up; and 2 could "
        "only be had by 6 back and 4 forward, and nothing goes forward. With the convolutions it "
        "would be all 24.",
        misconceptions=(
            Misconception(
                "everything",
                lambda: 24,
                "You say that all 24 are heard: with enough layers everything is.",
                "Can steps of 4 and 6 ever add up to an odd number?",
            ),
            Misconception(
                "every second one",
                lambda: 12,
                "You count every second position. Parity is the right idea, but not every even "
                "distance can be had.",
                "Try the smallest ones: which sums of fours and sixes are there? Each step goes "
                "back.",
            ),
            Misconception(
                "itself not counted, or two hands added",
                lambda: 10,
                "You leave out position 23 itself, or you add up one hand of 6 and one of 4 cards.",
                "Zero steps are a way as well. And after a step of 4 in one layer may come a step "
                "of 6 in the next.",
            ),
            Misconception(
                "both kinds, never mixed",
                lambda: 8,
                "You count the multiples of 4 and those of 6, once each, but never a sum of both.",
                "After a step of 4 in one layer may come a step of 6 in the next.",
            ),
            Misconception(
                "one hand of four",
                lambda: 6,
                "You count one hand of the fold by 4. The other layers deal to other hands.",
                "Where are two cards that have met in a layer of one kind, in a layer of the "
                "other?",
            ),
            Misconception(
                "one hand of six",
                lambda: 4,
                "You count one hand of the fold by 6. The other layers deal to other hands.",
                "Where are two cards that have met in a layer of one kind, in a layer of the "
                "other?",
            ),
            Misconception(
                "common to both",
                lambda: 2,
                "You count the positions that share both hands with position 23.",
                "It is enough to share one hand in one layer, and to go on from there.",
            ),
            Misconception(
                "everything but one",
                lambda: 23,
                "You leave out one position of the 24, but there are more that cannot be heard.",
                "Can steps of 4 and 6 ever add up to an odd number?",
            ),
        ),
        hints=(
            "In the last layer, which deals to six, 23 hears 17. What has 17 heard in the layer "
            "before, which deals to four?",
            "Each layer goes back some number of fours, or some number of sixes. So which "
            "distances can be had?",
            "Write down 0 to 23 and mark every sum of fours and sixes: 0 is one, of none of "
            "either. Count the marks.",
        ),
    ),
)
