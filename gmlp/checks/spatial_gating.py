"""Lesson 01: what a right, and each known wrong, answer looks like."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.spatial_gating import SpatialGatingUnit, spatial_mix

Layer = Callable[[Tensor], Tensor]

_LETTERS, _POSITIONS = 10, 5


def _per_token_accuracy() -> float:
    """The best that can be done who sees one letter only: for each letter, the likeliest answer."""
    words = torch.cartesian_prod(*[torch.arange(_LETTERS)] * _POSITIONS)
    pairs = words * _LETTERS + words.flip(1)  # what a position sees, and what it should say
    table = torch.bincount(pairs.flatten(), minlength=_LETTERS**2).view(_LETTERS, _LETTERS)
    return (table.amax(1).sum() / table.sum()).item()


def _draw_sums(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3)
    return rng.normal(b, n, d), rng.normal(n, n)


def _weighted_sums(v: Tensor, weight: Tensor) -> Tensor:
    return weight @ v


def _found_weighted_sums(v: Tensor, weight: Tensor) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    out = torch.zeros_like(v)
    for i in range(len(weight)):
        for j in range(len(weight)):
            out[:, j] += weight[i, j] * v[:, i]
    return out


def _sums_by_loop(v: Tensor, weight: Tensor) -> Tensor:
    out = torch.zeros_like(v)
    for i in range(len(weight)):
        for j in range(len(weight)):
            out[:, i] += weight[i, j] * v[:, j]
    return out


def _sums_row_by_row(v: Tensor, weight: Tensor) -> Tensor:
    return torch.stack([(row[:, None] * v).sum(1) for row in weight], dim=1)


def _only_the_last(v: Tensor, weight: Tensor) -> Tensor:
    out = torch.zeros_like(v)
    for i in range(len(weight)):
        for j in range(len(weight)):
            out[:, i] = weight[i, j] * v[:, j]
    return out


def _written_into_v(v: Tensor, weight: Tensor) -> Tensor:
    out = v
    for i in range(len(weight)):
        for j in range(len(weight)):
            out[:, i] += weight[i, j] * v[:, j]
    return out


def _row_by_row_into_v(v: Tensor, weight: Tensor) -> Tensor:
    for i in range(len(weight)):
        v[:, i] = weight[i] @ v
    return v


def _along_the_batch(v: Tensor, weight: Tensor) -> Tensor:
    out = torch.zeros_like(v)
    for i in range(len(weight)):
        for j in range(len(weight)):
            out[i] += weight[i, j] * v[j]
    return out


def _returned_after_one_row(v: Tensor, weight: Tensor) -> Tensor:
    sums = torch.zeros_like(v)
    sums[:, 0] = weight[0] @ v
    return sums


def _draw_shift(rng: Draw) -> tuple[Any, ...]:
    (n,) = rng.sizes(1, least=5)
    return n, (1, -1, 2, -3, 0, 3, -2)[rng.number]


def _shift_matrix(n: int, k: int) -> Tensor:
    return torch.ones(n, n).tril(-k).triu(-k)


def _shift_by_loop(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    for i in range(n):
        if 0 <= i - k < n:
            matrix[i, i - k] = 1
    return matrix


def _shift_by_comparing(n: int, k: int) -> Tensor:
    i = torch.arange(n)
    return (i[:, None] - k == i).float()


def _shift_by_diag(n: int, k: int) -> Tensor:
    return torch.diag(torch.ones(n - abs(k)), -k)


def _shift_by_slices(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    if k >= 0:
        matrix[k:, : n - k] = torch.eye(n - k)
    else:
        matrix[:k, -k:] = torch.eye(n + k)
    return matrix


def _shift_by_roll(n: int, k: int) -> Tensor:
    matrix = torch.eye(n).roll(k, 0)
    if k > 0:
        matrix[:k] = 0
    elif k < 0:
        matrix[k:] = 0
    return matrix


def _difference(n: int) -> Tensor:
    return torch.arange(n)[:, None] - torch.arange(n)


def _guarded_above(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    for i in range(n):
        if i - k < n:
            matrix[i, i - k] = 1
    return matrix


def _as_many_as_fit(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    for j in range(n - abs(k)):
        matrix[j + k, j] = 1
    return matrix


def _in_a_corner(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    matrix[k:, : n - k] = torch.eye(n - k)
    return matrix


def _index_below_zero(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    for i in range(n):
        matrix[i, i - k] = 1
    return matrix


def _index_too_large(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    for j in range(n):
        matrix[j + k, j] = 1
    return matrix


def _begins_at_k(n: int, k: int) -> Tensor:
    matrix = torch.zeros(n, n)
    for i in range(k, n):
        matrix[i, i - k] = 1
    return matrix


def _front_emptied(n: int, k: int) -> Tensor:
    matrix = torch.eye(n).roll(k, 0)
    matrix[:k] = 0
    return matrix


def _draw_sgu(rng: Draw) -> tuple[Any, ...]:
    b, c = rng.sizes(2, least=3)  # a norm over two channels has hardly a gradient
    n = (4, 8)[rng.integer(0, 2)]  # even, so cutting it in halves gives no error of itself
    norm = rng.refill(nn.LayerNorm(c))
    return rng.normal(b, n, 2 * c), norm, rng.normal(n, n), rng.normal(n)


Unit = Callable[[Tensor, Layer, Tensor, Tensor], Tensor]


def _sgu(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ norm(v) + bias[:, None]) * u


def _gate_of(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    return weight @ norm(x.chunk(2, dim=-1)[1]) + bias[:, None]


def _activated(activation: Layer) -> Unit:
    def sgu(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
        return activation(_gate_of(x, norm, weight, bias)) * x.chunk(2, dim=-1)[0]

    return sgu


def _swapped(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    v, u = x.chunk(2, dim=-1)
    return (weight @ norm(v) + bias[:, None]) * u


def _interleaved(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    return (weight @ norm(x[..., 1::2]) + bias[:, None]) * x[..., ::2]


def _halves_of_positions(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=1)
    return (weight @ norm(v) + bias[:, None]) * u


def _halves_of_the_batch(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2)
    return (weight @ norm(v) + bias[:, None]) * u


def _sliced_positions(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    c = x.shape[-1] // 2
    u, v = x[:, :c], x[:, c:]
    return (weight @ norm(v) + bias[:, None]) * u


def _norm_on_u(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ v + bias[:, None]) * norm(u)


def _brackets_missing(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return weight @ norm(v) + bias[:, None] * u


def _matrix_product_with_u(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ norm(v) + bias[:, None]) @ u


def _weight_entry_by_entry(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight * norm(v) + bias[:, None]) * u


def _norm_before_the_cut(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = norm(x).chunk(2, dim=-1)
    return (weight @ v + bias[:, None]) * u


def _norm_after_mixing(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (norm(weight @ v) + bias[:, None]) * u


def _norm_of_the_gate(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return norm(weight @ v + bias[:, None]) * u


def _no_axis_for_the_bias(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ norm(v) + bias) * u


def _along_channels(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (norm(v) @ weight + bias[:, None]) * u


def _not_cut(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    return _gate_of(x, norm, weight, bias) * x


def _product_first(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return weight @ (norm(v) * u) + bias[:, None]


def _bias_after_the_product(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ norm(v)) * u + bias[:, None]


def _bias_mixed(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ (norm(v) + bias[:, None])) * u


def _mixed_u(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return (weight @ u + bias[:, None]) * norm(v)


def _by_the_module(x: Tensor, norm: nn.Module, weight: Tensor, bias: Tensor) -> Tensor:
    unit = SpatialGatingUnit(x.shape[-1], x.shape[1])
    given: dict[str, Tensor] = {"weight": weight[None], "bias": bias[None]}
    given |= {f"norm.{key}": value for key, value in norm.named_parameters()}
    out: Tensor = torch.func.functional_call(unit, given, x)
    return out


def _by_linear(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = rearrange(x, "b n (two c) -> two b n c", two=2)
    return u * F.linear(norm(v).mT, weight, bias).mT


def _sgu_by_loop(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    c = x.shape[-1] // 2
    v = norm(x[..., c:])
    out = torch.zeros_like(v)
    for i in range(x.shape[1]):
        gate = bias[i].expand_as(v[:, i])
        for j in range(x.shape[1]):
            gate = gate + weight[i, j] * v[:, j]
        out[:, i] = gate * x[:, i, :c]
    return out


def _sgu_by_einsum(x: Tensor, norm: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.split(x.shape[-1] // 2, dim=2)
    return torch.einsum("bic,ij,bjc->bic", u, weight, norm(v)) + u * bias.view(-1, 1)


def _draw_mix(rng: Draw) -> tuple[Any, ...]:
    b, n, h, d = rng.sizes(4)
    return rng.normal(b, n, h * d), rng.normal(h, n, n), rng.normal(h, n)


def _heads_interleaved(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (d h) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ v + bias[:, :, None], "b h n d -> b n (d h)")


def _heads_read_interleaved(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (d h) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ v + bias[:, :, None], "b h n d -> b n (h d)")


def _heads_by_view(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = v.reshape(v.shape[0], weight.shape[0], v.shape[1], -1)
    return (weight @ v + bias[:, :, None]).transpose(1, 2).flatten(2)


def _bias_along_channels(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ v + bias[:, None, :], "b h n d -> b n (h d)")


def _bias_first(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ (v + bias[:, :, None]), "b h n d -> b n (h d)")


def _joined_by_reshape(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    cut = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return (weight @ cut + bias[:, :, None]).reshape(v.shape)


def _cut_and_joined_by_view(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    cut = v.reshape(v.shape[0], weight.shape[0], v.shape[1], -1)
    return (weight @ cut + bias[:, :, None]).reshape(v.shape)


def _joined_interleaved(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    cut = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ cut + bias[:, :, None], "b h n d -> b n (d h)")


def _not_joined(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    cut = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return weight @ cut + bias[:, :, None]


def _heads_summed(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.einsum("hij,bjd->bid", weight, v) + bias.sum(0)[:, None]


def _einsum(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    b, n, c = v.shape
    groups = v.reshape(b, n, len(weight), -1)
    mixed = torch.einsum("hij,bjhd->bihd", weight, groups) + bias.T[:, :, None]
    return mixed.reshape(b, n, c)


def _head_by_head(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    groups = v.chunk(len(weight), dim=-1)
    return torch.cat([w @ g + b[:, None] for w, g, b in zip(weight, groups, bias, strict=True)], -1)


def _triple_loop(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.zeros_like(v)
    heads, n, _ = weight.shape
    d = v.shape[-1] // heads
    for h in range(heads):
        group = slice(h * d, (h + 1) * d)
        for i in range(n):
            out[:, i, group] = bias[h, i]
            for j in range(n):
                out[:, i, group] += weight[h, i, j] * v[:, j, group]
    return out


def _halves_swapped_and_transposed(
    x: Tensor, norm: Callable[[Tensor], Tensor], weight: Tensor, bias: Tensor
) -> Tensor:
    v, u = x.chunk(2, dim=-1)
    return (weight.T @ norm(v) + bias[:, None]) * u


EXERCISES = (
    prediction(
        "per_token_accuracy",
        "01_spatial_gating",
        _per_token_accuracy,
        because=(
            "The letter in the middle is its own mirror image, and a network that repeats every "
            "letter gets it right without knowing where it stands. The other four are chance: "
            "(1 + 4 × 0.1) / 5."
        ),
        misconceptions=(
            Misconception(
                "chance",
                lambda: 0.1,
                "One in ten is chance. It holds where the wanted letter stands elsewhere.",
                "Write a word of five letters above its mirror image. Does every letter move?",
            ),
            Misconception(
                "only the middle",
                lambda: 0.2,
                "You count the letter that stays in its place, and nothing else.",
                "How often is the guess at the other positions right by luck?",
            ),
            Misconception(
                "luck in the middle, too",
                lambda: 0.3,
                "You add the luck of all five positions to the one that is right anyway.",
                "At how many positions is luck needed?",
            ),
            Misconception(
                "luck at one position",
                lambda: 0.22,
                "You count luck at one position only.",
                "How many of the five letters move?",
            ),
            Misconception(
                "always right",
                lambda: 1.0,
                "That is what the unit reaches, which lets positions talk.",
                "A per-token network sees one letter, and says something about another.",
            ),
            Misconception(
                "never right",
                lambda: 0.0,
                "Never right would take knowledge: whoever rolls a die is right at times.",
                "What is the accuracy of a guess among ten letters?",
            ),
            Misconception(
                "in per cent",
                lambda: 28.0,
                "That is in per cent.",
                "Asked for is a fraction from 0 to 1, as the lesson prints it.",
            ),
        ),
        hints=(
            "Reverse `abcde` with a pencil. Is there a letter that need not move?",
            "A per-token network cannot know where it stands. Which answer, given everywhere, is "
            "right where nothing moves, and what does it get at the other positions?",
            "One position is always right. Each of the others is right one time in ten. Take the "
            "mean over all five.",
        ),
    ),
    Exercise(
        name="weighted_sums",
        lesson="01_spatial_gating",
        axes="b n d",
        draw=_draw_sums,
        solution=_weighted_sums,
        kind="debug",
        stub=_found_weighted_sums,
        positions="v",
        alternatives=(
            _sums_by_loop,
            _sums_row_by_row,
            lambda v, weight: torch.einsum("ij,bjd->bid", weight, v),
            lambda v, weight: F.linear(v.mT, weight).mT,
        ),
        misconceptions=(
            Misconception(
                "rows and columns exchanged",
                lambda v, weight: weight.mT @ v,
                "Position i still collects with column i of the weight, not with row i.",
                "weight[i, j] says how much i takes from j. Where should the product be added?",
            ),
            Misconception(
                "along channels",
                lambda v, weight: v @ weight,
                "You multiply from the right. That would mix the channels of one position.",
                "Positions are axis 1 of v. On which side of v must the weight stand?",
            ),
            Misconception(
                "entry by entry",
                lambda v, weight: weight * v,
                "You multiply entry by entry, so the n numbers of a row meet the channels.",
                "Each number of a row belongs to a position. Which axis is that in v? Or take a "
                "product that also sums.",
            ),
            Misconception(
                "own value only",
                lambda v, weight: weight.sum(1)[:, None] * v,
                "Position i adds up its own value, with the weights of its row; nobody is heard.",
                "Which position of v belongs to weight[i, j]?",
            ),
            Misconception(
                "own value, weights of the column",
                lambda v, weight: weight.sum(0)[:, None] * v,
                "Every position adds up its own value, with the weights of its column.",
                "The position that collects and the one it takes from are two: i and j.",
            ),
            Misconception(
                "only the last one",
                _only_the_last,
                "Each product writes over the one before, so only the last position is heard.",
                "Add each product to what is there already.",
            ),
            Misconception(
                "begins with v",
                lambda v, weight: v + weight @ v,
                "Your sum begins with v itself, so every position hears itself once more.",
                "With what should a sum begin?",
            ),
            Misconception(
                "written into v",
                _written_into_v,
                "You write the sums into v, from which the later positions still read.",
                "All positions collect from the old v. Put the sums into a tensor of their own.",
            ),
            Misconception(
                "written into v, row by row",
                _row_by_row_into_v,
                "You write each new position into v, from which the later ones still read.",
                "All positions collect from the old v. Put the sums into a tensor of their own.",
            ),
            Misconception(
                "last position lost",
                lambda v, weight: F.pad(weight[:-1, :-1] @ v[:, :-1], (0, 0, 0, 1)),
                "Your loops end one position too early.",
                "`range(n)` already leaves out n.",
            ),
            Misconception(
                "not from itself",
                lambda v, weight: (weight - weight.diag().diag()) @ v,
                "Your positions hear the others, but not themselves.",
                "The sum runs over all j, i included.",
            ),
            Misconception(
                "only from the left",
                lambda v, weight: weight.tril() @ v,
                "Your positions hear only those before them, and themselves.",
                "The sum runs over all j, on both sides of i.",
            ),
            Misconception(
                "batch taken for positions",
                _along_the_batch,
                "You index axis 0 of v, which is the batch.",
                "In v (b, n, d), which axis has the positions? `v[:, j]` takes one of them.",
            ),
            Misconception(
                "axes left exchanged",
                lambda v, weight: v.mT @ weight.mT,
                "The sums are right, but positions and channels have changed places.",
                "You exchanged two axes on the way. Exchange them back at the end.",
            ),
            Misconception(
                "stacked in front",
                lambda v, weight: torch.stack([(row[:, None] * v).sum(1) for row in weight]),
                "The sums are right, but the positions come first in your answer, and then the "
                "batch.",
                "torch.stack puts the new axis in front, unless you tell it `dim`.",
            ),
            Misconception(
                "first row only",
                _returned_after_one_row,
                "You return after the first position; the others are still 0.",
                "Is `return` inside the loop?",
            ),
            Misconception(
                "softmax over rows",
                lambda v, weight: weight.softmax(-1) @ v,
                "You put each row through a softmax, as attention does.",
                "These weights may be negative and need not add up to 1. Take them as they are.",
            ),
            Misconception(
                "divided by n",
                lambda v, weight: weight @ v / len(weight),
                "You divide by the number of positions: a mean, not a sum.",
                "The formula has no division.",
            ),
            Misconception(
                "rows divided by their sum",
                lambda v, weight: weight / weight.sum(-1, keepdim=True) @ v,
                "You divide each row by its sum, so that its weights add up to 1.",
                "These weights may be negative and need not add up to 1. Take them as they are.",
            ),
        ),
        hints=(
            "A matrix that is not symmetric has weight[0, 2] = 1 and weight[2, 0] = 0. Which of "
            "the two positions should hear the other, and which one does in the given code?",
            "Compare the line in the middle with the three loops of 1.2, index by index.",
            "The position that collects is the row; it takes from the column. Two letters in one "
            "line change places. Or do it in one matrix product.",
        ),
    ),
    Exercise(
        name="shift_matrix",
        lesson="01_spatial_gating",
        axes="i j",
        draw=_draw_shift,
        draws=7,
        solution=_shift_matrix,
        kind="extend",
        alternatives=(
            _shift_by_loop,
            _shift_by_comparing,
            _shift_by_diag,
            _shift_by_slices,
            _shift_by_roll,
        ),
        misconceptions=(
            Misconception(
                "other direction",
                lambda n, k: _shift_matrix(n, -k),
                "Your matrix shifts the other way: position i takes from i + k.",
                "With k = 1, row 1 should have its one in column 0. Row first, then column.",
            ),
            Misconception(
                "wraps around",
                lambda n, k: torch.eye(n).roll(k, 0),
                "What leaves at one end comes in at the other: your shift wraps around.",
                "Rows that have nothing to take from should be all zeros.",
            ),
            Misconception(
                "wraps around, other direction",
                lambda n, k: torch.eye(n).roll(k, 1),
                "Your matrix shifts the other way, and what leaves at one end comes in at the "
                "other.",
                "Row i collects. Which axis do you roll? And rows that have nothing to take from "
                "should be all zeros.",
            ),
            Misconception(
                "index below zero",
                _index_below_zero,
                "You set column i - k in every row, also where there is no such column. Below 0 "
                "Python counts from the end; from n on it raises an error.",
                "Which rows have nothing to take from? Leave them out.",
            ),
            Misconception(
                "index too large",
                _index_too_large,
                "You set row j + k for every column, also where there is no such row. From n on "
                "that is an error; below 0 Python counts from the end.",
                "Which columns have nobody to give to? Leave them out.",
            ),
            Misconception(
                "rows from k on",
                _begins_at_k,
                "Right for k >= 0. For a negative k your indices leave the matrix: below 0 Python "
                "counts from the end, and from n on there is nothing.",
                "For k = -1, which row has nothing to take from: the first or the last?",
            ),
            Misconception(
                "diagonal too long",
                lambda n, k: torch.diag(torch.ones(n - k), -k),
                "Right for k >= 0. For a negative k your diagonal is longer than n, and so the "
                "matrix becomes larger.",
                "How many ones are left after a shift by -1?",
            ),
            Misconception(
                "the wrong part emptied",
                _front_emptied,
                "Right for k >= 0. For a negative k you empty what should stay, and keep what has "
                "wrapped around.",
                "For k = -1, which row has nothing to take from: the first or the last?",
            ),
            Misconception(
                "sign ignored",
                lambda n, k: _shift_matrix(n, abs(k)),
                "Your matrix shifts to the right even when k is negative.",
                "With k = -1, position i takes from i + 1.",
            ),
            Misconception(
                "never to the left",
                lambda n, k: _shift_matrix(n, max(k, 0)),
                "When k is negative, your matrix shifts nothing.",
                "With k = -1, position i takes from i + 1.",
            ),
            Misconception(
                "always by one",
                lambda n, k: _shift_matrix(n, 1),
                "Your matrix shifts by one, whatever k is.",
                "Try k = 2.",
            ),
            Misconception(
                "shifts nothing",
                lambda n, k: torch.eye(n),
                "Your matrix shifts nothing: every position keeps its own.",
                "Where do the ones lie when i takes from i - k?",
            ),
            Misconception(
                "mirrored",
                lambda n, k: _shift_matrix(n, k).flip(1),
                "Your ones lie on a line from the bottom left to the top right: that mirrors.",
                "In a shift everybody looks equally far, so the line runs parallel to the one for "
                "keep yourself.",
            ),
            Misconception(
                "all of a triangle",
                lambda n, k: torch.ones(n, n).tril(-k),
                "You keep a whole triangle: position i takes from i - k and from all before it.",
                "Each row has at most one 1.",
            ),
            Misconception(
                "keeps itself, too",
                lambda n, k: torch.eye(n) + _shift_matrix(n, k),
                "Each position takes from i - k, but keeps its own value as well.",
                "Begin with zeros, not with the identity.",
            ),
            Misconception(
                "all up to k",
                lambda n, k: torch.ones(n, n).tril().triu(-k),
                "Position i takes from itself and all before it down to i - k.",
                "Each row has at most one 1.",
            ),
            Misconception(
                "both directions",
                lambda n, k: (_difference(n).abs() == abs(k)).float(),
                "Position i takes from i - k and from i + k.",
                "Each row has at most one 1. Which sign does i - j have there?",
            ),
            Misconception(
                "both directions, sign ignored",
                lambda n, k: (_difference(n).abs() == k).float(),
                "Position i takes from both sides if k is positive, and from nobody if it is "
                "negative.",
                "Each row has at most one 1. Which sign does i - j have there?",
            ),
            Misconception(
                "one too far",
                lambda n, k: _shift_matrix(n, k + 1),
                "Your matrix shifts by k + 1.",
                "Position i takes from i - k. Where are the ones for k = 0?",
            ),
            Misconception(
                "one too few",
                lambda n, k: _shift_matrix(n, k - 1),
                "Your matrix shifts by k - 1.",
                "Position i takes from i - k. Where are the ones for k = 0?",
            ),
            Misconception(
                "rolled as one long row",
                lambda n, k: torch.eye(n).roll(k),
                "Without `dims`, roll treats the matrix as one long row, and it wraps around.",
                "Which axis should move? And rows that have nothing to take from are all zeros.",
            ),
            Misconception(
                "held at the ends",
                lambda n, k: torch.eye(n)[(torch.arange(n) - k).clamp(0, n - 1)],
                "Rows that have nothing to take from take the first or last position instead.",
                "They should be all zeros.",
            ),
            Misconception(
                "position 0 left out",
                lambda n, k: _shift_matrix(n, k) * (torch.arange(n) > 0),
                "Nobody takes from position 0.",
                "Positions are counted from 0. Is it > 0 or >= 0?",
            ),
            Misconception(
                "wraps around at the front",
                _guarded_above,
                "You guard against columns from n on, but not against those below 0: there Python "
                "counts from the end.",
                "A position lies between 0 and n - 1. That is two conditions.",
            ),
            Misconception(
                "right number, wrong place",
                _as_many_as_fit,
                "You set as many ones as fit, but for a negative k in rows below 0, where Python "
                "counts from the end.",
                "For k = -1 the ones start in row 0, column 1.",
            ),
            Misconception(
                "diagonal of n",
                lambda n, k: torch.diag(torch.ones(n), -k),
                "Your diagonal has n ones, and beside the middle there is no room for them: the "
                "matrix becomes larger.",
                "How many ones are left after a shift by one?",
            ),
            Misconception(
                "diagonal too long, other direction",
                lambda n, k: torch.diag(torch.ones(n - k), k),
                "Your matrix shifts the other way, and for a negative k it becomes larger.",
                "With k = 1, row 1 should have its one in column 0. And how many ones are left "
                "after a shift by -1?",
            ),
            Misconception(
                "zeros above",
                lambda n, k: torch.cat([torch.zeros(k, n), torch.eye(n)[: n - k]]),
                "Right for k >= 0. A negative k would need a negative number of rows.",
                "For k = -1, where do the zeros go: above or below?",
            ),
            Misconception(
                "identity in a corner",
                _in_a_corner,
                "Right for k >= 0. For a negative k your smaller identity is larger than n.",
                "For k = -1, in which corner do the ones start, and how many are there?",
            ),
            Misconception(
                "truth values",
                lambda n, k: _shift_matrix(n, k).bool(),
                "The entries are in the right places, but they are True and False.",
                "A matrix that multiplies floats must hold floats: `.float()`.",
            ),
            Misconception(
                "whole numbers",
                lambda n, k: _shift_matrix(n, k).long(),
                "The entries are right, but they are stored as whole numbers.",
                "A matrix that multiplies floats must hold floats: `.float()`.",
            ),
        ),
        hints=(
            "Take n = 3 and k = 1. From where does position 0 take, position 1, position 2, and "
            "which entry of which row says so?",
            "The ones lie on one diagonal. Loop over the rows and leave out those that take from "
            "outside.",
            "Zeros first. For each i: j = i - k; if j is a position, from 0 to n - 1, set entry "
            "(i, j) to 1.",
        ),
    ),
    Exercise(
        name="sgu",
        lesson="01_spatial_gating",
        axes="b n c",
        draw=_draw_sgu,
        solution=_sgu,
        positions="x",
        alternatives=(_by_the_module, _by_linear, _sgu_by_loop, _sgu_by_einsum),
        misconceptions=(
            Misconception(
                "halves swapped",
                _swapped,
                "You have the halves the other way round: yours mixes the first and multiplies "
                "the second.",
                "`u, v = split(x)`: which of the two comes first, and which one is mixed?",
            ),
            Misconception(
                "first half mixed",
                _mixed_u,
                "You mix u and normalise v. Both belong to the same half.",
                "Only v goes through the norm and the weight. u waits.",
            ),
            Misconception(
                "channels interleaved",
                _interleaved,
                "You take every second channel. The halves are consecutive.",
                "The first c channels are u, the last c are v.",
            ),
            Misconception(
                "cut along positions",
                _halves_of_positions,
                "You cut the sequence in halves, not the channels.",
                "Which axis of (b, n, 2c) has size 2c? Tell chunk with `dim`.",
            ),
            Misconception(
                "cut along the batch",
                _halves_of_the_batch,
                "You cut the batch in two: without `dim`, chunk takes axis 0.",
                "Which axis of (b, n, 2c) has size 2c? Tell chunk with `dim`.",
            ),
            Misconception(
                "sliced along positions",
                _sliced_positions,
                "`x[:, :c]` slices axis 1, the positions.",
                "Which axis of (b, n, 2c) has size 2c? `x[..., :c]` slices the last one.",
            ),
            Misconception(
                "not cut",
                _not_cut,
                "You multiply the gate by all of x, which has twice as many channels.",
                "The gate acts on the first half only.",
            ),
            Misconception(
                "norm forgotten",
                lambda x, norm, weight, bias: _sgu(x, lambda v: v, weight, bias),
                "The norm is missing: v is mixed as it comes, and one loud position can drown the "
                "sum.",
                "v is normalised before it is mixed.",
            ),
            Misconception(
                "norm and bias forgotten",
                lambda x, norm, weight, bias: _sgu(x, lambda v: v, weight, torch.zeros_like(bias)),
                "Both the norm and the bias are missing.",
                "v is normalised before it is mixed, and each position adds bias[i] afterwards.",
            ),
            Misconception(
                "halves swapped, norm forgotten",
                lambda x, norm, weight, bias: _swapped(x, lambda v: v, weight, bias),
                "You have the halves the other way round, and the norm is missing.",
                "`u, v = split(x)`: which of the two comes first? And v is normalised before it is "
                "mixed.",
            ),
            Misconception(
                "a norm of its own",
                lambda x, norm, weight, bias: _sgu(
                    x, lambda v: F.layer_norm(v, v.shape[-1:]), weight, bias
                ),
                "You normalise v without the given norm, so its learned weights have no effect.",
                "`norm` is a function. Call it.",
            ),
            Misconception(
                "norm on the wrong half",
                _norm_on_u,
                "You normalise u instead of v.",
                "The norm keeps one loud position from drowning a sum. Which half is summed?",
            ),
            Misconception(
                "norm at the end",
                lambda x, norm, weight, bias: norm(_sgu(x, lambda v: v, weight, bias)),
                "You normalise the result instead of v.",
                "One loud position has drowned the others by then. The norm comes before the sum.",
            ),
            Misconception(
                "norm before the cut",
                _norm_before_the_cut,
                "You normalise x, but the norm is made for one half of the channels.",
                "Cut first. Only v is normalised.",
            ),
            Misconception(
                "norm on both halves",
                lambda x, norm, weight, bias: (
                    _gate_of(x, norm, weight, bias) * norm(x.chunk(2, dim=-1)[0])
                ),
                "You normalise both halves. u should pass as it is.",
                "Only what is mixed needs a norm.",
            ),
            Misconception(
                "norm after mixing",
                _norm_after_mixing,
                "You mix first and normalise what arrives.",
                "One loud position has drowned the others by then. The norm comes before the sum.",
            ),
            Misconception(
                "norm of the gate",
                _norm_of_the_gate,
                "You normalise the finished gate, bias and all.",
                "One loud position has drowned the others by then. The norm comes before the sum.",
            ),
            Misconception(
                "weight transposed",
                lambda x, norm, weight, bias: _sgu(x, norm, weight.mT, bias),
                "Your weight is transposed: position i collects with column i, not with row i.",
                "Which index of weight[i, j] is summed away? The sum runs over the last one.",
            ),
            Misconception(
                "along channels",
                _along_channels,
                "You multiply from the right. That would mix the channels of one position.",
                "Positions are axis 1 of v. On which side of v must the weight stand?",
            ),
            Misconception(
                "bias forgotten",
                lambda x, norm, weight, bias: _sgu(x, norm, weight, torch.zeros_like(bias)),
                "The bias is missing. At the start of training, that shuts the gate.",
                "Each position adds one number to what arrives: bias[i].",
            ),
            Misconception(
                "bias without an axis",
                _no_axis_for_the_bias,
                "Your bias lies along the channels: its n numbers meet the c channels.",
                "Broadcasting lines shapes up from the right. Which axis must the bias gain, and "
                "where?",
            ),
            Misconception(
                "bias before mixing",
                _bias_mixed,
                "You add the bias before the mixing, so the weight mixes the bias as well.",
                "In the formula b is added to what arrives.",
            ),
            Misconception(
                "bias after the product",
                _bias_after_the_product,
                "You multiply first and add the bias last, so it does not act on u.",
                "The bias is part of the gate: with W = 0 and b = 1, u must come out.",
            ),
            Misconception(
                "product before mixing",
                _product_first,
                "You multiply by u first and mix the product.",
                "The mixed signal is the gate. u meets it at the end.",
            ),
            Misconception(
                "sum instead of product",
                lambda x, norm, weight, bias: (
                    _gate_of(x, norm, weight, bias) + x.chunk(2, dim=-1)[0]
                ),
                "You add u to the gate. A sum cannot silence anybody.",
                "Which operation does the sign in the formula mean, a dot in a circle?",
            ),
            Misconception(
                "u added once more",
                lambda x, norm, weight, bias: _sgu(x, norm, weight, bias + 1),
                "You let u pass once more: it is added to the product, or 1 to the gate.",
                "In this unit there is no way around the gate. It is the bias that lets u pass.",
            ),
            Misconception(
                "brackets missing",
                _brackets_missing,
                "Your u multiplies the bias alone: a product binds more tightly than a sum.",
                "All of the gate multiplies u, the mixed part as well.",
            ),
            Misconception(
                "matrix product with u",
                _matrix_product_with_u,
                "You join gate and u with a matrix product, which sums over channels.",
                "The sign in the formula multiplies entry by entry.",
            ),
            Misconception(
                "weight entry by entry",
                _weight_entry_by_entry,
                "You multiply weight and v entry by entry, so n positions meet c channels.",
                "Mixing is a weighted sum over positions: a product of matrices.",
            ),
            Misconception(
                "v joined on",
                lambda x, norm, weight, bias: torch.cat(
                    [_sgu(x, norm, weight, bias), x.chunk(2, dim=-1)[1]], dim=-1
                ),
                "You put v back beside the result.",
                "The unit takes 2c channels and returns c: v lives on in the gate only.",
            ),
            Misconception(
                "gate alone",
                _gate_of,
                "You return the gate. u is not used at all.",
                "What does the gate act on?",
            ),
            Misconception(
                "sigmoid gate",
                _activated(torch.sigmoid),
                "You put the gate through a sigmoid, as gates elsewhere often are.",
                "Here the gate multiplies as it is: it may be negative, or above 1.",
            ),
            Misconception(
                "relu gate",
                _activated(F.relu),
                "You put the gate through a ReLU.",
                "Here the gate multiplies as it is: it may be negative.",
            ),
            Misconception(
                "gelu on u",
                lambda x, norm, weight, bias: (
                    _gate_of(x, norm, weight, bias) * F.gelu(x.chunk(2, dim=-1)[0])
                ),
                "You put u through GELU. In the network that layer stands before the unit.",
                "Here u waits as it is.",
            ),
            Misconception(
                "only from the left",
                lambda x, norm, weight, bias: _sgu(x, norm, weight.tril(), bias),
                "Your positions hear only those before them, and themselves.",
                "In this lesson a position may listen in both directions.",
            ),
            Misconception(
                "tanh gate",
                _activated(torch.tanh),
                "You put the gate through a tanh.",
                "Here the gate multiplies as it is: it may be far above 1.",
            ),
            Misconception(
                "gelu gate",
                _activated(F.gelu),
                "You put the gate through GELU.",
                "Here the gate multiplies as it is: it may be negative.",
            ),
            Misconception(
                "softmax over rows",
                lambda x, norm, weight, bias: _sgu(x, norm, weight.softmax(-1), bias),
                "You put each row of the weight through a softmax, as attention does.",
                "These weights may be negative and need not add up to 1. Take them as they are.",
            ),
            Misconception(
                "halves swapped, weight transposed",
                _halves_swapped_and_transposed,
                "You have the halves the other way round, and position i collects with column i "
                "of the weight.",
                "`u, v = split(x)`: which of the two comes first? And which index of weight[i, "
                "j] is summed away?",
            ),
        ),
        hints=(
            "The unit has two halves of channels. Which of them goes through the norm and the "
            "weight, and what happens to the other one meanwhile?",
            "Four steps, one a line: cut the last axis in two, normalise, mix and add the bias, "
            "multiply. A bias of shape (n,) must gain an axis to lie along the positions.",
            "u, v = the halves; v = norm of v; gate = weight @ v plus the bias with a trailing "
            "axis of size 1; return gate times u.",
        ),
    ),
    Exercise(
        name="spatial_mix",
        lesson="01_spatial_gating",
        axes="b n d",
        draw=_draw_mix,
        solution=spatial_mix,
        positions="v",
        alternatives=(_einsum, _head_by_head, _triple_loop),
        misconceptions=(
            Misconception(
                "weight transposed",
                lambda v, weight, bias: spatial_mix(v, weight.mT, bias),
                "Your weight is transposed: position i collects with column i, not with row i.",
                "Which index of weight[h, i, j] is summed away? The sum runs over the last one.",
            ),
            Misconception(
                "bias forgotten",
                lambda v, weight, bias: spatial_mix(v, weight, torch.zeros_like(bias)),
                "The mixing is right, but the bias is missing.",
                "Each head adds one number to each position: bias[k, i].",
            ),
            Misconception(
                "bias along channels",
                _bias_along_channels,
                "Your bias lies along the channels: its n numbers meet the channels of a head.",
                "Broadcasting lines shapes up from the right. Which axis must the bias gain, and "
                "where?",
            ),
            Misconception(
                "bias before mixing",
                _bias_first,
                "You add the bias before the mixing, so the weight mixes the bias as well.",
                "In the formula the bias stands outside the sum over j.",
            ),
            Misconception(
                "bias of one head",
                lambda v, weight, bias: spatial_mix(v, weight, bias[:1].expand_as(bias)),
                "Every head gets the bias of head 0.",
                "bias has a row for each head; bias[0] is only the first.",
            ),
            Misconception(
                "matrix of one head",
                lambda v, weight, bias: spatial_mix(v, weight[:1].expand_as(weight), bias),
                "Every head mixes with the matrix of head 0.",
                "Head h has a matrix of its own, weight[h], for its own group of channels.",
            ),
            Misconception(
                "heads interleaved",
                _heads_interleaved,
                "Your heads take every h-th channel: with 2 heads, one the even and one the odd.",
                "Groups are consecutive: the first d / h channels belong to head 0. In einops, the "
                "letter on the left of a bracket is the slow one.",
            ),
            Misconception(
                "heads cut one way, joined another",
                _heads_read_interleaved,
                "You cut the channels as (c h) and join them as (h c), so they change places.",
                "Cut and join with the same bracket, and let consecutive channels share a head.",
            ),
            Misconception(
                "positions reshaped into heads",
                _heads_by_view,
                "Your reshape to (b, h, n, c) cuts across positions: it renumbers the entries, it "
                "does not move an axis.",
                "Split the channel axis first, to (b, n, h, c). Then move the axis of heads.",
            ),
            Misconception(
                "heads reshaped into positions",
                _joined_by_reshape,
                "You cut well, but your reshape back to (b, n, d) renumbers the entries: it does "
                "not move the axis of heads back behind the positions.",
                "First (b, h, n, c) to (b, n, h, c), then join the last two.",
            ),
            Misconception(
                "cut and joined by reshape",
                _cut_and_joined_by_view,
                "Both your reshapes cut across positions: they renumber the entries, they do not "
                "move an axis.",
                "Split the channel axis first, to (b, n, h, c). Then move the axis of heads, and "
                "move it back before you join.",
            ),
            Misconception(
                "joined interleaved",
                _joined_interleaved,
                "You cut the channels as (h c) and join them as (c h), so they change places.",
                "Cut and join with the same bracket.",
            ),
            Misconception(
                "heads summed",
                _heads_summed,
                "Every channel is mixed by all heads, and you add these up.",
                "Each head has a group of channels for itself. Cut before you mix.",
            ),
            Misconception(
                "mean of the heads",
                lambda v, weight, bias: _heads_summed(v, weight, bias) / len(weight),
                "Every channel is mixed by all heads, and you take the mean of these.",
                "Each head has a group of channels for itself. Cut before you mix.",
            ),
            Misconception(
                "head 0 alone",
                lambda v, weight, bias: weight[0] @ v + bias[0][:, None],
                "All channels are mixed by head 0; the others do nothing.",
                "Head h has a matrix and a bias of its own, for its own group of channels.",
            ),
            Misconception(
                "heads not joined",
                _not_joined,
                "Your heads still have an axis of their own.",
                "Put the groups side by side again, along the channels.",
            ),
            Misconception(
                "joined along positions",
                lambda v, weight, bias: torch.cat([*_not_joined(v, weight, bias).unbind(1)], 1),
                "You join the heads along the positions, so the sequence gets longer.",
                "The groups belong side by side, along the last axis.",
            ),
            Misconception(
                "all channels for every head",
                lambda v, weight, bias: torch.cat(
                    [w @ v + b[:, None] for w, b in zip(weight, bias, strict=True)], dim=-1
                ),
                "Every head mixes all the channels, so h times as many come out.",
                "Each head has a group of channels for itself. Cut before you mix.",
            ),
            Misconception(
                "along channels",
                lambda v, weight, bias: torch.cat(
                    [g @ w for g, w in zip(v.chunk(len(weight), -1), weight, strict=True)], dim=-1
                ),
                "You multiply from the right. That would mix the channels of one position.",
                "Positions are axis 1 of v. On which side of v must the weight stand?",
            ),
            Misconception(
                "bias along channels, head by head",
                lambda v, weight, bias: torch.cat(
                    [
                        w @ g + b
                        for g, w, b in zip(v.chunk(len(weight), -1), weight, bias, strict=True)
                    ],
                    dim=-1,
                ),
                "In your loop the bias lies along the channels: n numbers meet those of a head.",
                "Broadcasting lines shapes up from the right. Which axis must bias[k] gain, and "
                "where?",
            ),
            Misconception(
                "channels not cut",
                lambda v, weight, bias: weight @ v + bias[:, :, None],
                "You do not cut the channels, so the axis of heads meets the axis of the batch.",
                "Give the heads an axis of their own in v, too.",
            ),
            Misconception(
                "softmax over rows",
                lambda v, weight, bias: spatial_mix(v, weight.softmax(-1), bias),
                "You put each row of the weight through a softmax, as attention does.",
                "These weights may be negative and need not add up to 1. Take them as they are.",
            ),
        ),
        hints=(
            "Take one head and one batch row. What are the shapes of weight[0] and of its channels "
            "of v[0], and which product of the two sums over positions?",
            "Give the heads an axis of their own: split (b, n, d) into (b, n, h, c) and bring h to "
            "the front of n. A matrix product acts on the last two axes.",
            "rearrange 'b n (h c) -> b h n c'; weight @ that; plus the bias with a trailing axis "
            "of "
            "size 1; then rearrange back.",
        ),
    ),
)
