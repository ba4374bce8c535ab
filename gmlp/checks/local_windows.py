"""Lesson 07: what a right, and each known wrong, answer looks like."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.local_windows import CausalLocalSGU, pad_to_multiple

# pad_to_multiple


def _draw_long(rng: Draw) -> tuple[Any, ...]:
    """Two windows and a part of one; two windows, whole; and, last, less than one window."""
    dim = (1, -2, 0, -1, -3)[rng.number]
    multiple = (3, 5, 4, 3, 11)[rng.number]
    missing = 0 if rng.number == 1 else rng.integer(2, 6 if rng.number == 4 else multiple)
    n = (1 if rng.number == 4 else 3) * multiple - missing
    shape = [size for size in rng.sizes(4) if size != n][:3]
    shape[dim] = n
    value = 0.0 if rng.number == 2 else 1.0 + rng.integer(1, 9) / 2
    return rng.normal(*shape), multiple, dim, value


def _padded(
    x: Tensor, multiple: int, dim: int, value: float, before: int = 0, after: int | None = None
) -> Tensor:
    """x with so many entries before and after it, along ``dim``."""
    after = -x.shape[dim] % multiple if after is None else after
    x = x.movedim(dim, -1)
    return F.pad(x, (before, after), value=value).movedim(-1, dim)


def _pad_by_cat(x: Tensor, multiple: int, dim: int = -1, value: float = 0.0) -> Tensor:
    shape = [*x.shape]
    shape[dim] = (multiple - x.shape[dim] % multiple) % multiple
    return torch.cat([x, x.new_full(shape, value)], dim=dim)


def _pad_by_copy(x: Tensor, multiple: int, dim: int = -1, value: float = 0.0) -> Tensor:
    n = x.shape[dim]
    shape = list(x.shape)
    shape[dim] = math.ceil(n / multiple) * multiple
    out = torch.full(shape, value)
    out.narrow(dim, 0, n).copy_(x)
    return out


def _pad_one_by_one(x: Tensor, multiple: int, dim: int = -1, value: float = 0.0) -> Tensor:
    while x.size(dim) % multiple:
        x = torch.cat((x, torch.full_like(x.narrow(dim, 0, 1), value)), dim)
    return x


def _pad_from_the_first_axis(x: Tensor, multiple: int, dim: int, value: float) -> Tensor:
    return F.pad(x, (0, 0) * dim + (0, -x.shape[dim] % multiple), value=value)


def _pad_positive_axes(x: Tensor, multiple: int, dim: int, value: float) -> Tensor:
    after = x.ndim - 1 - dim
    return F.pad(x, (0, 0) * after + (0, -x.shape[dim] % multiple), value=value)


def _pairs_from_the_first_axis(x: Tensor, multiple: int, dim: int, value: float) -> Tensor:
    return F.pad(x, (0, 0) * (dim % x.ndim) + (0, -x.shape[dim] % multiple), value=value)


def _shape_around(x: Tensor, multiple: int, dim: int, value: float) -> Tensor:
    shape = (*x.shape[:dim], -x.shape[dim] % multiple, *x.shape[dim + 1 :])
    return torch.cat([x, x.new_full(shape, value)], dim=dim)


def _pad_along(axis: int) -> Callable[..., Tensor]:
    return lambda x, multiple, dim, value: _padded(x, multiple, axis, value)


def _pad_with_last(x: Tensor, multiple: int, dim: int, value: float) -> Tensor:
    last = x.narrow(dim, x.shape[dim] - 1, 1)
    return torch.cat([x, *[last] * (-x.shape[dim] % multiple)], dim)


def _pad_with_first(x: Tensor, multiple: int, dim: int, value: float) -> Tensor:
    return torch.cat([x, x.narrow(dim, 0, -x.shape[dim] % multiple)], dim)


# look_back


def _draw_windows(rng: Draw) -> tuple[Any, ...]:
    b, a, w, c = rng.sizes(4, least=3)
    return (rng.normal(b, a, w, c),)


def _look_back(own: Tensor) -> Tensor:
    nothing = torch.zeros_like(own[:, :1])
    before = torch.cat([nothing, own[:, :-1]], dim=1)
    return torch.cat([before, own], dim=2)


def _look_back_by_pad(own: Tensor) -> Tensor:
    return torch.cat([F.pad(own, (0, 0, 0, 0, 1, 0))[:, :-1], own], dim=-2)


def _look_back_by_unfold(own: Tensor) -> Tensor:
    w = own.shape[2]
    flat = F.pad(own.flatten(1, 2), (0, 0, w, 0))
    return flat.unfold(1, 2 * w, w).mT


def _look_back_by_loop(own: Tensor) -> Tensor:
    b, a, w, c = own.shape
    out = torch.zeros(b, a, 2 * w, c)
    for number in range(a):
        if number > 0:
            out[:, number, :w] = own[:, number - 1]
        out[:, number, w:] = own[:, number]
    return out


def _look_back_by_roll(own: Tensor) -> Tensor:
    before = own.roll(1, dims=1)
    first = torch.arange(own.shape[1], device=own.device) == 0
    before = before.masked_fill(first[:, None, None], 0.0)
    return rearrange([before, own], "two b a w c -> b a (two w) c")


def _before(own: Tensor) -> Tensor:
    return F.pad(own, (0, 0, 0, 0, 1, -1))


def _beside(before: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Each window behind another one, found in its own way."""
    return lambda own: torch.cat([before(own), own], dim=2)


def _first_text_opened(own: Tensor) -> Tensor:
    before = own.roll(1, dims=1)
    return torch.cat([torch.zeros_like(before[:1]), before[1:]])


def _rolled_inside(own: Tensor) -> Tensor:
    before = own.roll(1, dims=2)
    return torch.cat([torch.zeros_like(before[:, :1]), before[:, 1:]], dim=1)


def _one_position_back(own: Tensor) -> Tensor:
    flat = own.flatten(1, 2)
    return F.pad(flat, (0, 0, 1, -1)).view_as(own)


def _pairs_with_axes_swapped(own: Tensor) -> Tensor:
    w = own.shape[2]
    return F.pad(own.flatten(1, 2), (0, 0, w, 0)).unfold(1, 2 * w, w)


def _pairs_reshaped(own: Tensor) -> Tensor:
    b, a, w, c = own.shape
    return _pairs_with_axes_swapped(own).reshape(b, a, 2 * w, c)


def _pairs_of_a_longer_text(own: Tensor) -> Tensor:
    w = own.shape[2]
    return F.pad(own.flatten(1, 2), (0, 0, w, w)).unfold(1, 2 * w, w).mT


def _pairs_without_the_first(own: Tensor) -> Tensor:
    return torch.cat([own[:, :-1], own[:, 1:]], dim=2)


# local_shares


def _draw_scores(rng: Draw) -> tuple[Any, ...]:
    b, a, w = rng.sizes(3, least=3)
    return (rng.normal(b, a, w, 2 * w),)


def _readable(scores: Tensor, diagonal: int = 0) -> Tensor:
    """(a, w, 2w): the window before, and the own one up to oneself; the first has none before."""
    _, a, w, _ = scores.shape
    readable = torch.ones(a, w, 2 * w, dtype=torch.bool).tril(w + diagonal)
    readable[0, :, :w] = False
    return readable


def _shares(scores: Tensor, readable: Tensor) -> Tensor:
    return scores.masked_fill(~readable, -math.inf).softmax(-1)


def _local_shares(scores: Tensor) -> Tensor:
    return _shares(scores, _readable(scores))


def _found_local_shares(scores: Tensor) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    a, w = scores.shape[1:3]
    may_read = torch.ones(a, w, 2 * w, dtype=torch.bool).tril(w)
    may_read[:, 0, :w] = False
    return scores.masked_fill(~may_read, -math.inf).softmax(-1)


def _shares_by_place(scores: Tensor) -> Tensor:
    _, a, w, _ = scores.shape
    i = torch.arange(a * w, device=scores.device).view(a, w, 1)
    j = torch.arange(2 * w, device=scores.device) + w * torch.arange(
        -1, a - 1, device=scores.device
    ).view(a, 1, 1)
    return torch.where((j >= 0) & (j <= i), scores, -1e9).softmax(-1)


def _shares_row_by_row(scores: Tensor) -> Tensor:
    out = torch.zeros_like(scores)
    _, a, w, _ = scores.shape
    for window in range(a):
        for r in range(w):
            start = 0 if window else w
            seen = scores[:, window, r, start : w + r + 1]
            out[:, window, r, start : w + r + 1] = seen.softmax(-1)
    return out


def _shares_in_two_parts(scores: Tensor) -> Tensor:
    w = scores.shape[2]
    own = scores[..., w:] + torch.full((w, w), -math.inf).triu(1)
    nothing = torch.full_like(scores[:, :1, :, :w], -math.inf)
    before = torch.cat([nothing, scores[:, 1:, :, :w]], dim=1)
    loud = torch.cat([before, own], dim=-1).exp()
    return loud / loud.sum(-1, keepdim=True)


def _shares_but(
    change: Callable[[Tensor, int], object], diagonal: int = 0
) -> Callable[[Tensor], Tensor]:
    """The right future; what else may be read is changed by ``change(may_read, w)``."""

    def shares(scores: Tensor) -> Tensor:
        _, a, w, _ = scores.shape
        readable = torch.ones(a, w, 2 * w, dtype=torch.bool).tril(w + diagonal)
        change(readable, w)
        return _shares(scores, readable)

    return shares


def _hide(*place: int | slice) -> Callable[[Tensor, int], object]:
    """Hides the window before at this place of ``may_read``: windows, or windows and rows."""

    def hide(readable: Tensor, w: int) -> None:
        readable[(*place, slice(w))] = False

    return hide


ALL = slice(None)


def _first_text_only(scores: Tensor) -> Tensor:
    w = scores.shape[2]
    future = ~torch.ones(w, 2 * w, dtype=torch.bool).tril(w)
    masked = scores.masked_fill(future, -math.inf)
    first = torch.cat([torch.full_like(masked[:1, ..., :w], -math.inf), masked[:1, ..., w:]], -1)
    return torch.cat([first, masked[1:]]).softmax(-1)


def _nothing_after_the_softmax(scores: Tensor) -> Tensor:
    w = scores.shape[2]
    shares = _shares_but(lambda readable, w: None)(scores)
    nothing = torch.zeros_like(shares[:, :1, :, :w])
    first = torch.cat([nothing, shares[:, :1, :, w:]], dim=-1)
    return torch.cat([first, shares[:, 1:]], dim=1)


def _first_window_zeroed(scores: Tensor) -> Tensor:
    w = scores.shape[2]
    future = ~torch.ones(w, 2 * w, dtype=torch.bool).tril(w)
    zeroed = scores.masked_fill(future, -math.inf).clone()
    zeroed[:, 0, :, :w] = 0.0
    return zeroed.softmax(-1)


# heard_from


def _draw_stack(rng: Draw) -> tuple[Any, ...]:
    """Layers of different windows; each draw is of a kind of its own."""
    pool = torch.tensor([3, 4, 5, 7, 8, 11, 13])
    pool = pool[torch.randperm(len(pool), generator=rng.generator)]
    depth = (1, 1, 3, 3, 2, 4, 3, 2)[rng.number]
    windows: list[int] = pool[:depth].tolist()
    if rng.number in (2, 3):  # one end of the stack looks much farther back than the other
        windows = sorted([rng.integer(3, 6), rng.integer(7, 9), rng.integer(11, 14)])
        windows = windows[:: 1 if rng.number == 2 else -1]
    i = rng.integer(2 * sum(windows), 4 * sum(windows))
    if rng.number == 0:  # the first row of a window
        i -= i % windows[0]
    elif rng.number == 1:  # the last row
        i -= i % windows[0] - windows[0] + 1
    elif rng.number == 4:  # the text begins within reach
        i = rng.integer(min(windows) + 1, sum(windows))
    return i, windows


def _stacked(step: Callable[[int, int], int], bottom_up: bool = False) -> Callable[..., int]:
    """One step back for each layer."""

    def heard(i: int, windows: list[int]) -> int:
        for w in windows if bottom_up else reversed(windows):
            i = step(i, w)
        return i

    return heard


def _back(i: int, w: int) -> int:
    return max(0, (i // w - 1) * w)


def _heard_by_recursion(i: int, windows: list[int]) -> int:
    if not windows:
        return i
    *lower, top = windows
    start = i - i % top
    return _heard_by_recursion(start - top if start else 0, lower)


def _heard_by_sets(i: int, windows: list[int]) -> int:
    heard = {i}
    for w in windows[::-1]:
        heard |= {j for k in heard for j in range(k + 1) if j // w >= k // w - 1}
    return min(heard)


def _heard_by_tables(i: int, windows: list[int]) -> Tensor:
    place = torch.arange(i + 1)
    reach = torch.eye(i + 1)
    for w in windows:
        table = (place[:, None] >= place) & (place[:, None] // w - place // w <= 1)
        reach = table.float() @ reach  # (n, n): who has heard whom so far
    return reach[i].nonzero()[0, 0]


# numbers_that_learn


def _numbers_that_learn() -> tuple[int, int]:
    def reached(n: int) -> int:
        unit = CausalLocalSGU(8, 17, window=16)
        x = torch.randn(4, n, 8, generator=torch.Generator().manual_seed(0))
        unit(x).square().sum().backward()
        assert unit.weight.grad is not None
        return int(unit.weight.grad.count_nonzero())

    return reached(16), reached(17)


def _sliding(scores: Tensor) -> Tensor:
    a, w = scores.shape[1:3]
    may_read = torch.ones(a, w, 2 * w, dtype=torch.bool).tril(w).triu(1)
    may_read[0, :, :w] = False
    return scores.masked_fill(~may_read, -math.inf).softmax(-1)


EXERCISES = (
    Exercise(
        name="pad_to_multiple",
        lesson="07_local_windows",
        axes="b n c",
        draw=_draw_long,
        draws=5,
        solution=pad_to_multiple,
        alternatives=(_pad_by_cat, _pad_by_copy, _pad_one_by_one, _padded),
        misconceptions=(
            Misconception(
                "in front",
                lambda x, multiple, dim, value: _padded(
                    x, multiple, dim, value, before=-x.shape[dim] % multiple, after=0
                ),
                "You pad in front, so every entry moves to another place.",
                "Each pair that F.pad gets is (before, after).",
            ),
            Misconception(
                "on both sides",
                lambda x, multiple, dim, value: _padded(
                    x,
                    multiple,
                    dim,
                    value,
                    before=-x.shape[dim] % multiple // 2,
                    after=-x.shape[dim] % multiple - -x.shape[dim] % multiple // 2,
                ),
                "You share the padding out between both ends, so every entry moves.",
                "Nothing may stand in front of what was there.",
            ),
            Misconception(
                "missing at both ends",
                lambda x, multiple, dim, value: _padded(
                    x, multiple, dim, value, before=-x.shape[dim] % multiple
                ),
                "You append what is missing at both ends.",
                "Each pair that F.pad gets is (before, after).",
            ),
            Misconception(
                "a whole window too many",
                lambda x, multiple, dim, value: _padded(
                    x, multiple, dim, value, after=multiple - x.shape[dim] % multiple
                ),
                "Where nothing is missing, you append a whole window.",
                "What does `multiple - n % multiple` give for n = 12 and multiple = 4?",
            ),
            Misconception(
                "the rest instead of what is missing",
                lambda x, multiple, dim, value: _padded(
                    x, multiple, dim, value, after=x.shape[dim] % multiple
                ),
                "You append as many as there are in the last window, not as many as it lacks.",
                "For n = 13 and multiple = 4: what is 13 % 4, and how many are missing?",
            ),
            Misconception(
                "a whole multiple",
                lambda x, multiple, dim, value: _padded(x, multiple, dim, value, after=multiple),
                "You append `multiple` entries, whatever the length is.",
                "How many are missing when n = 13 and multiple = 4?",
            ),
            Misconception(
                "cut off",
                lambda x, multiple, dim, value: x.narrow(
                    dim, 0, x.shape[dim] - x.shape[dim] % multiple
                ),
                "You cut the incomplete window off. The text is shorter now.",
                "All entries of x must be there, and some more.",
            ),
            Misconception(
                "last axis",
                lambda x, multiple, dim, value: F.pad(x, (0, -x.shape[-1] % multiple), value=value),
                "You pad the last axis, whatever `dim` says.",
                "F.pad takes pairs from the last axis on. How many pairs of zeros come before "
                "that of `dim`?",
            ),
            Misconception(
                "length of dim, last axis",
                lambda x, multiple, dim, value: F.pad(
                    x, (0, -x.shape[dim] % multiple), value=value
                ),
                "You count what `dim` lacks, and append it to the last axis.",
                "F.pad takes pairs from the last axis on. How many pairs of zeros come before "
                "that of `dim`?",
            ),
            Misconception(
                "axis 1",
                _pad_along(1),
                "You pad axis 1, whatever `dim` says.",
                "In the chapter it was axis 1 each time. Here `dim` decides.",
            ),
            Misconception(
                "length of dim, axis 1",
                lambda x, multiple, dim, value: _padded(
                    x, multiple, 1, value, after=-x.shape[dim] % multiple
                ),
                "You count what `dim` lacks, and append it to axis 1.",
                "How many axes come after `dim`? F.pad wants a pair of zeros for each of them.",
            ),
            Misconception(
                "length of dim, axis 1, zeros",
                lambda x, multiple, dim, value: F.pad(x, (0, 0, 0, -x.shape[dim] % multiple)),
                "You count what `dim` lacks, and append as many zeros to axis 1.",
                "How many axes come after `dim`? And F.pad has an argument for what it appends.",
            ),
            Misconception(
                "counted from the first axis",
                _pad_from_the_first_axis,
                "You give F.pad one pair of zeros for each axis before `dim`.",
                "F.pad starts at the last axis. Which axes does it pass before it comes to `dim`?",
            ),
            Misconception(
                "pairs from the first axis on",
                _pairs_from_the_first_axis,
                "You give F.pad one pair of zeros for each axis before `dim`.",
                "F.pad starts at the last axis. Which axes does it pass before it comes to `dim`?",
            ),
            Misconception(
                "shape cut at -1",
                _shape_around,
                "You build the shape of the padding around `dim`, and for dim = -1 that goes "
                "wrong: `dim + 1` is then 0, and all axes come once more.",
                "`dim % x.ndim` is never negative. Or copy the shape to a list, and change one "
                "entry.",
            ),
            Misconception(
                "axis not moved back",
                lambda x, multiple, dim, value: F.pad(
                    x.transpose(dim, -1), (0, -x.shape[dim] % multiple), value=value
                ),
                "You swap the axis with the last one and pad it, and leave it there.",
                "What was swapped must be swapped back.",
            ),
            Misconception(
                "the chapter's pad_end",
                lambda x, multiple, dim, value: F.pad(x, (0, 0, 0, -x.shape[1] % multiple)),
                "This is the chapter's `pad_end`: axis 1 and zeros, whatever `dim` and `value` "
                "say.",
                "How many axes come after `dim`? And F.pad has an argument for what it appends.",
            ),
            Misconception(
                "last axis, zeros",
                lambda x, multiple, dim, value: F.pad(x, (0, -x.shape[-1] % multiple)),
                "You append zeros to the last axis, whatever `dim` and `value` say.",
                "How many axes come after `dim`? And F.pad has an argument for what it appends.",
            ),
            Misconception(
                "length of dim, last axis, zeros",
                lambda x, multiple, dim, value: F.pad(x, (0, -x.shape[dim] % multiple)),
                "You count what `dim` lacks, and append as many zeros to the last axis.",
                "How many axes come after `dim`? And F.pad has an argument for what it appends.",
            ),
            Misconception(
                "negative axes forgotten",
                _pad_positive_axes,
                "Axes counted from the front are right; with a negative `dim` you add too many "
                "pairs.",
                "`dim % x.ndim` is never negative.",
            ),
            Misconception(
                "always zero",
                lambda x, multiple, dim, value: _padded(x, multiple, dim, 0.0),
                "You append zeros, whatever `value` says.",
                "F.pad has an argument for what it appends.",
            ),
            Misconception(
                "last entry repeated",
                _pad_with_last,
                "You repeat the last entry. `value` is never used.",
                "What is appended should mean nothing, and it is given.",
            ),
            Misconception(
                "begins again",
                _pad_with_first,
                "You append the first entries once more, as if the text were a ring.",
                "What is appended should mean nothing, and it is given.",
            ),
            Misconception(
                "only the padding",
                lambda x, multiple, dim, value: torch.full_like(
                    x.narrow(dim, 0, -x.shape[dim] % multiple), value
                ),
                "You return the padding alone, without x in front of it.",
                "torch.cat puts the two together.",
            ),
            Misconception(
                "not padded",
                lambda x, multiple, dim, value: x,
                "You return x as it came.",
                "`-n % multiple` says how many are missing.",
            ),
            Misconception(
                "up to multiple",
                lambda x, multiple, dim, value: _padded(
                    x, multiple, dim, value, after=max(0, multiple - x.shape[dim])
                ),
                "You fill up to `multiple` itself, so a longer text stays as it is.",
                "A text of 13 and windows of 4: which multiple of 4 is the next one?",
            ),
        ),
        hints=(
            "How many entries are missing for n = 12, 13, 14, 15 and multiple = 4?",
            "F.pad takes pairs (before, after), from the *last* axis on. For axis 1 of three one "
            "pair of zeros comes first; for axis 0, two. Or swap axes, or use torch.cat.",
            "With missing = -n % multiple: make a tensor of the shape of x, but `missing` long "
            "along dim, filled with value (`x.new_full`), and put it behind x with torch.cat.",
        ),
    ),
    Exercise(
        name="look_back",
        lesson="07_local_windows",
        axes="b a 2w c",
        draw=_draw_windows,
        solution=_look_back,
        alternatives=(
            _look_back_by_pad,
            _look_back_by_unfold,
            _look_back_by_loop,
            _look_back_by_roll,
        ),
        misconceptions=(
            Misconception(
                "ring",
                _beside(lambda own: own.roll(1, dims=1)),
                "Your windows stand in a ring: the first one reads the last.",
                "What stands before the first window?",
            ),
            Misconception(
                "ring, opened in the first text only",
                _beside(_first_text_opened),
                "Only in the first text of the batch does nothing stand before the first window.",
                "Axis 0 are the texts. Which axis are the windows?",
            ),
            Misconception(
                "rolled inside the windows",
                _beside(_rolled_inside),
                "You move the positions inside each window by one, not the windows.",
                "Axis 2 are the positions of a window. Which axis are the windows?",
            ),
            Misconception(
                "next window",
                _beside(lambda own: F.pad(own, (0, 0, 0, 0, -1, 1))),
                "You pair each window with the one *after* it, and the last one with nothing.",
                "For window a you want window a - 1. On which side does the nothing go?",
            ),
            Misconception(
                "ring, the wrong way round",
                _beside(lambda own: own.roll(-1, dims=1)),
                "You pair each window with the one *after* it, and the last one with the first.",
                "Send the places 0, 1, 2, … through your function and print the pairs.",
            ),
            Misconception(
                "own window first",
                lambda own: torch.cat([own, _before(own)], dim=2),
                "The pairs are right, but your own window stands in front of the one before.",
                "In which order do the letters of a pair stand in the text?",
            ),
            Misconception(
                "ring, own window first",
                lambda own: torch.cat([own, own.roll(1, dims=1)], dim=2),
                "Your own window stands in front, and the windows stand in a ring: behind the "
                "first one comes the last.",
                "In which order do the letters of a pair stand in the text? And what stands before "
                "the first window?",
            ),
            Misconception(
                "own window lost",
                _before,
                "You return the windows before, without the own ones.",
                "Each pair has two halves.",
            ),
            Misconception(
                "own window first, then the next",
                lambda own: torch.cat([own, F.pad(own, (0, 0, 0, 0, -1, 1))], dim=2),
                "You put the window *after* it behind each window.",
                "A window looks back. Which window stands in front of it?",
            ),
            Misconception(
                "first window twice",
                _beside(lambda own: torch.cat([own[:, :1], own[:, :-1]], dim=1)),
                "Before the first window you put the first window once more.",
                "What stands before the first window?",
            ),
            Misconception(
                "own window twice",
                _beside(lambda own: own),
                "You pair each window with itself.",
                "The first half of each pair is the window before.",
            ),
            Misconception(
                "zeros everywhere",
                _beside(torch.zeros_like),
                "Every window has nothing before it. That is true for the first one only.",
                "Window 1 has window 0 before it.",
            ),
            Misconception(
                "ones for nothing",
                _beside(lambda own: torch.cat([torch.ones_like(own[:, :1]), own[:, :-1]], dim=1)),
                "You put ones before the first window. In a sum they are not nothing.",
                "Which number adds nothing, whatever W multiplies it with?",
            ),
            Misconception(
                "two windows back",
                _beside(lambda own: F.pad(own, (0, 0, 0, 0, 2, -2))),
                "You go two windows back.",
                "How many windows of nothing does it take to move all windows one place on?",
            ),
            Misconception(
                "one position back",
                _beside(_one_position_back),
                "You move the text by one position. It should move by one window.",
                "Axis 1 counts the windows.",
            ),
            Misconception(
                "moved inside the window",
                _beside(lambda own: F.pad(own, (0, 0, 1, -1))),
                "You move the entries inside each window. Nothing comes from the window before.",
                "Axis 1 counts the windows, axis 2 the positions in one.",
            ),
            Misconception(
                "rolled inside the window",
                _beside(lambda own: own.roll(1, dims=2)),
                "You roll the entries inside each window. Nothing comes from the window before.",
                "Axis 1 counts the windows, axis 2 the positions in one.",
            ),
            Misconception(
                "rolled over the texts",
                _beside(lambda own: own.roll(1, dims=0)),
                "You pair each window with the same window of another text.",
                "Axis 0 counts the texts. Which one counts the windows?",
            ),
            Misconception(
                "texts moved",
                _beside(lambda own: torch.cat([torch.zeros_like(own[:1]), own[:-1]])),
                "You pair each window with the same window of the text before.",
                "Axis 0 counts the texts. Which one counts the windows?",
            ),
            Misconception(
                "windows joined along axis 1",
                lambda own: torch.cat([_before(own), own], dim=1),
                "You put the second set of windows behind the first one: 2a windows.",
                "The number of windows stays. Which axis becomes twice as long?",
            ),
            Misconception(
                "windows joined along the channels",
                lambda own: torch.cat([_before(own), own], dim=-1),
                "You join the windows along their channels.",
                "Which axis becomes twice as long, w or c?",
            ),
            Misconception(
                "stacked",
                lambda own: torch.stack([_before(own), own], dim=2),
                "You stack the two windows on an axis of their own.",
                "`torch.cat` joins along an axis that is there; `stack` makes a new one.",
            ),
            Misconception(
                "interleaved",
                lambda own: torch.stack([_before(own), own], dim=3).flatten(2, 3),
                "You deal the two windows like cards: one entry of each in turn.",
                "First all of the window before, then all of the own one.",
            ),
            Misconception(
                "first pair lost",
                _pairs_without_the_first,
                "You have one pair too few: the first window has no pair.",
                "The first window is paired with nothing.",
            ),
            Misconception(
                "one pair too many",
                _pairs_of_a_longer_text,
                "You have one pair too many: nothing was added at both ends.",
                "Count what stands before the first window, and what behind the last one.",
            ),
            Misconception(
                "axes of unfold",
                _pairs_with_axes_swapped,
                "`unfold` puts the new axis last: yours is (b, a, c, 2w).",
                "Swap the last two axes.",
            ),
            Misconception(
                "axes of unfold reshaped",
                _pairs_reshaped,
                "`unfold` puts the new axis last, and your reshape renumbers the entries.",
                "Swapping two axes is not a reshape. `.mT` swaps the last two.",
            ),
        ),
        hints=(
            "Take windows A, B, C. Which three pairs do you want, and which of them needs "
            "something that is not there?",
            "Make the row of windows that stand *before*: one window of zeros, then all but the "
            "last. Then join the two rows along the axis of positions.",
            "`torch.zeros_like(own[:, :1])` is one window of nothing, `own[:, :-1]` all but the "
            "last. Two calls of torch.cat: one along axis 1, one along axis 2.",
        ),
    ),
    Exercise(
        name="local_shares",
        lesson="07_local_windows",
        axes="b a w 2w",
        kind="debug",
        stub=_found_local_shares,
        draw=_draw_scores,
        solution=_local_shares,
        alternatives=(_shares_by_place, _shares_row_by_row, _shares_in_two_parts),
        misconceptions=(
            Misconception(
                "row 0 of every window",
                _shares_but(_hide(ALL, 0)),
                "Row 0 of every window still cannot look back, and the other rows of the first "
                "window still give shares to nobody.",
                "`may_read` has three axes: windows, rows, columns. On which of them does the 0 "
                "stand?",
            ),
            Misconception(
                "row 0 of the first window",
                _shares_but(_hide(0, 0)),
                "Position 0 is right now. The other positions of the first window still give "
                "shares to nobody.",
                "Before the whole first window stands nobody, not only before its first row.",
            ),
            Misconception(
                "nothing not hidden",
                _shares_but(lambda readable, w: None),
                "You hide only the future. The first window votes for zeros again: a zero before a "
                "softmax is a vote.",
                "The line about the first window was needed. What is wrong in it?",
            ),
            Misconception(
                "no window looks back",
                _shares_but(_hide(ALL, ALL)),
                "Now no window looks back at all.",
                "Only before one window stands nobody.",
            ),
            Misconception(
                "last window",
                _shares_but(_hide(-1)),
                "It is the last window that cannot look back in yours.",
                "Which number has the first one?",
            ),
            Misconception(
                "all but the first",
                _shares_but(_hide(slice(1, None))),
                "You hide the window before from all windows but the first. It is the other way "
                "round.",
                "Which window has nobody before it?",
            ),
            Misconception(
                "rows after the first",
                _shares_but(_hide(ALL, slice(1, None))),
                "In every window all rows but the first cannot look back.",
                "`may_read` has three axes: windows, rows, columns. Which one counts windows?",
            ),
            Misconception(
                "own half hidden",
                _shares_but(lambda readable, w: readable[0, :, w:].fill_(False)),
                "In the first window you hide the own half, so it listens only to nobody.",
                "The first w columns are the window before.",
            ),
            Misconception(
                "first window hidden",
                _shares_but(lambda readable, w: readable[0].fill_(False)),
                "The first window may read nothing at all, and a softmax over nothing but -inf "
                "is NaN.",
                "It may still read itself. Which columns are that?",
            ),
            Misconception(
                "first row hidden",
                _shares_but(lambda readable, w: readable[0, 0].fill_(False)),
                "Position 0 may read nothing at all, not even itself, and a softmax over nothing "
                "but -inf is NaN. The other rows of the first window still give shares to nobody.",
                "Before the whole first window stands nobody. And which columns are a row's own?",
            ),
            Misconception(
                "all that is hidden gets zeros",
                lambda scores: scores.masked_fill(~_readable(scores), 0.0).softmax(-1),
                "You hide the right places, but with a score of 0, and a 0 before a softmax is a "
                "vote.",
                "Which score becomes a share of exactly 0?",
            ),
            Misconception(
                "first column only",
                _shares_but(lambda readable, w: readable[0, :, 0].fill_(False)),
                "In the first window you hide one column. The nothing before it is w columns wide.",
                "Which columns of the 2w are the window before?",
            ),
            Misconception(
                "first column of all",
                _shares_but(lambda readable, w: readable[:, :, 0].fill_(False)),
                "You hide column 0 from all windows.",
                "`may_read` has three axes: windows, rows, columns. Which one counts windows?",
            ),
            Misconception(
                "first text",
                _first_text_only,
                "You hide the window before from all windows of the first *text*.",
                "The scores are (b, a, w, 2w): axis 0 counts texts, and windows come after it.",
            ),
            Misconception(
                "zeros instead of -inf",
                _first_window_zeroed,
                "You set the scores of nobody to 0, and a 0 before a softmax is a vote.",
                "Which score becomes a share of exactly 0?",
            ),
            Misconception(
                "nothing hidden after the softmax",
                _nothing_after_the_softmax,
                "You hide the nothing after the softmax, so the rows of the first window no longer "
                "sum to 1.",
                "A mask must stand before the sum that it is to keep clean.",
            ),
            Misconception(
                "mask after the softmax",
                lambda scores: scores.softmax(-1) * _readable(scores),
                "You mask after the softmax, so rows no longer sum to 1.",
                "A mask must stand before the sum that it is to keep clean.",
            ),
            Misconception(
                "softmax over the rows",
                lambda scores: scores.masked_fill(~_readable(scores), -math.inf).softmax(-2),
                "The mask is right, but your softmax runs down the columns.",
                "The softmax was right as it was.",
            ),
            Misconception(
                "one step too far",
                _shares_but(_hide(0), diagonal=1),
                "The first window is right, but every row reads one position of the future.",
                "`tril(w)` was right as it was.",
            ),
            Misconception(
                "diagonal hidden",
                _shares_but(_hide(0), diagonal=-1),
                "The first window is hidden as it should be, but no position reads itself.",
                "`tril(w)` was right as it was.",
            ),
            Misconception(
                "future not hidden",
                lambda scores: _shares(scores, _readable(scores, scores.shape[2])),
                "The first window is right, but the future is no longer hidden.",
                "`tril(w)` was right as it was.",
            ),
            Misconception(
                "upside down",
                lambda scores: _shares(scores, ~_readable(scores)),
                "You hide what may be read, and read what should be hidden.",
                "masked_fill fills where its mask is True.",
            ),
            Misconception(
                "a sliding window",
                _sliding,
                "You let each row read w positions, itself included, as if the window slid along.",
                "The windows stand still: a row reads all of the window before.",
            ),
            Misconception(
                "triangle from column 0",
                _shares_but(
                    lambda readable, w: (
                        readable.copy_(torch.ones_like(readable).tril()),
                        readable[0, :, :w].fill_(False),
                    )
                ),
                "Your triangle begins at column 0, so no row reads its own window, and the rows "
                "of window 0 read nothing at all.",
                "`tril(w)` was right as it was.",
            ),
        ),
        hints=(
            "Which rows of the printed table are wrong, and what do the wrong rows have in common?",
            "The future is hidden rightly. The line below it should close the window before for "
            "one window, in all its rows. For what does it close it?",
            "`may_read[window, row, column]`: one of the three places wants a 0, one a full "
            "slice `:`, and one the slice `:w`.",
        ),
    ),
    Exercise(
        name="heard_from",
        lesson="07_local_windows",
        axes="",
        kind="extend",
        draw=_draw_stack,
        draws=8,
        solution=_stacked(_back),
        alternatives=(_heard_by_recursion, _heard_by_sets, _heard_by_tables),
        misconceptions=(
            Misconception(
                "from the bottom up",
                _stacked(_back, bottom_up=True),
                "You begin with the layer nearest to the text. The output comes out of the last "
                "one.",
                "Stand at the output and walk down. Which layer do you meet first?",
            ),
            Misconception(
                "w positions back",
                lambda i, windows: max(0, i - sum(windows)),
                "You go w positions back in each layer, as if the windows slid along.",
                "Row 3 of a window reads farther back than row 0. Where does the window before "
                "begin?",
            ),
            Misconception(
                "2w positions back",
                _stacked(lambda i, w: max(0, i - 2 * w + 1)),
                "You give each position the full 2w: itself and 2w - 1 before it. Only the last "
                "row of a window has that many.",
                "Row 0 of a window reads w + 1. Where does the window before begin?",
            ),
            Misconception(
                "no look-back",
                _stacked(lambda i, w: i // w * w),
                "You stop at the start of the own window. It reads the one before as well.",
                "One window more with each layer.",
            ),
            Misconception(
                "two windows back",
                _stacked(lambda i, w: max(0, (i // w - 2) * w)),
                "You go one window too far back in each layer.",
                "Position 12 with windows of 4 opens window 3. It reads from 8 on.",
            ),
            Misconception(
                "before the text",
                _stacked(lambda i, w: (i // w - 1) * w),
                "Your answer can be negative. Nothing stands before position 0.",
                "What does the first window hear?",
            ),
            Misconception(
                "end of the window before",
                _stacked(lambda i, w: max(0, i // w * w - 1)),
                "You stop at the last position of the window before.",
                "The window before is read whole. Which of its positions is the earliest?",
            ),
            Misconception(
                "off by one",
                _stacked(lambda i, w: max(0, (i // w - 1) * w + 1)),
                "You lose one position with each layer: you begin one after the start of the "
                "window before.",
                "Windows of 4: position 4 reads from 0 on.",
            ),
            Misconception(
                "one too far",
                _stacked(lambda i, w: max(0, (i // w - 1) * w - 1)),
                "You go one position too far back with each layer.",
                "Windows of 4: position 8 reads from 4 on.",
            ),
            Misconception(
                "rounded up",
                _stacked(lambda i, w: max(0, (-(-i // w) - 1) * w)),
                "You round i / w up, where the number of the window is i / w rounded down.",
                "Position 5 with windows of 4 is in window 1.",
            ),
            Misconception(
                "counted from 1",
                _stacked(lambda i, w: max(0, ((i + 1) // w - 1) * w)),
                "You use i + 1 to find the window, as if positions counted from 1.",
                "Position 3 with windows of 4 is in window 0, position 4 in window 1.",
            ),
            Misconception(
                "last layer only",
                lambda i, windows: _back(i, windows[-1]),
                "You look only at the last layer. What it reads has heard something, too.",
                "Go on from the position that you have found, one layer further down.",
            ),
            Misconception(
                "first layer only",
                lambda i, windows: _back(i, windows[0]),
                "You look only at the layer nearest to the text.",
                "Each layer goes on from where the one above it stopped.",
            ),
            Misconception(
                "layers side by side",
                lambda i, windows: min(_back(i, w) for w in windows),
                "You ask each layer from position i, and take the farthest. They stand on top of "
                "each other.",
                "Go on from the position that you have found, one layer further down.",
            ),
            Misconception(
                "one layer too few",
                lambda i, windows: _stacked(_back)(i, windows[1:]),
                "You forget the layer nearest to the text.",
                "windows[0] is a layer, too.",
            ),
            Misconception(
                "last layer forgotten",
                lambda i, windows: _stacked(_back)(i, windows[:-1]),
                "You forget the last layer.",
                "windows[-1] is a layer, too.",
            ),
            Misconception(
                "all as the first",
                lambda i, windows: max(0, (i // windows[0] - len(windows)) * windows[0]),
                "You take the window of the first layer for all of them.",
                "The formula of the chapter holds for equal windows. Go layer by layer.",
            ),
            Misconception(
                "all as the last",
                lambda i, windows: max(0, (i // windows[-1] - len(windows)) * windows[-1]),
                "You take the window of the last layer for all of them.",
                "The formula of the chapter holds for equal windows. Go layer by layer.",
            ),
            Misconception(
                "one window of all",
                lambda i, windows: max(0, (i // sum(windows) - 1) * sum(windows)),
                "You treat the stack as one layer whose window is the sum.",
                "Walls do not add up. Go layer by layer.",
            ),
            Misconception(
                "lengths added",
                lambda i, windows: max(0, i - sum(i % w + w for w in windows)),
                "You add up how far each layer reads from position i. But the next layer goes on "
                "from another position, in another row of its window.",
                "After the first step you stand somewhere else. Take i % w from there.",
            ),
            Misconception(
                "how many",
                lambda i, windows: i - _stacked(_back)(i, windows) + 1,
                "You return how many positions it hears. Asked for is the earliest one.",
                "If it hears 28 to 39, the answer is 28.",
            ),
            Misconception(
                "how far",
                lambda i, windows: i - _stacked(_back)(i, windows),
                "You return how far back it hears. Asked for is the position itself.",
                "If it hears 28 to 39, the answer is 28.",
            ),
        ),
        hints=(
            "Stand at output i of the last layer. Which positions does it read, and which of "
            "them is the earliest?",
            "That earliest position is an output of the layer below. Ask the same question there, "
            "with that layer's window, until you come to the text.",
            "A loop over the windows, the last one first. In window i // w of length w, the window "
            "before begins at (i // w - 1) * w, or there is none.",
        ),
    ),
    prediction(
        name="numbers_that_learn",
        lesson="07_local_windows",
        answer=_numbers_that_learn,
        parts=("16 positions", "17 positions"),
        because="With 16 positions there is one window, and nobody before it: only the own half "
        "counts, and of that the triangle with the diagonal, 16 · 17 / 2 = 136. Position 16 opens "
        "window 1 as its row 0. It brings the 16 numbers of row 0 for the window before; the one "
        "for itself is there already, since all windows share their rows.",
        misconceptions=(
            Misconception(
                "everything learns",
                lambda: (512, 512),
                "You say that all 512 numbers learn. Some are masked, and some have nothing to "
                "multiply.",
                "Draw W for windows of 4. What does `tril` close, and what does the first window "
                "find before it?",
            ),
            Misconception(
                "only the mask",
                lambda: (392, 392),
                "You have counted what the mask lets through, but the first window has nobody "
                "before it, and zeros teach nothing.",
                "With 16 positions, how many windows are there? And with 17, how many rows has "
                "the second?",
            ),
            Misconception(
                "window before whole",
                lambda: (136, 392),
                "16 positions are right. With 17 you let all rows of W look back.",
                "How many positions stand in the second window?",
            ),
            Misconception(
                "17 numbers more",
                lambda: (136, 153),
                "16 positions are right. Then you count 17 new numbers, one for each position that "
                "position 16 reads. Not all of them are new.",
                "All windows share the rows of W. Which row does position 16 take, and what is in "
                "it already?",
            ),
            Misconception(
                "one number more",
                lambda: (136, 137),
                "16 positions are right. Position 16 brings more than one number.",
                "Position 16 opens a window. Whom does it read?",
            ),
            Misconception(
                "the two exchanged",
                lambda: (152, 136),
                "Both numbers are there, in the wrong order.",
                "Asked for are those of 16 positions, then those of 17.",
            ),
            Misconception(
                "nothing new",
                lambda: (136, 136),
                "16 positions are right. You say that position 16 brings nothing new.",
                "Which columns of W has no position used before?",
            ),
            Misconception(
                "own half without a mask",
                lambda: (256, 272),
                "You count the whole own half, as if nothing of it were masked.",
                "Row 0 of the first window reads one position.",
            ),
            Misconception(
                "own half, and no more",
                lambda: (256, 256),
                "You count the whole own half, as if nothing of it were masked, and nothing for "
                "position 16.",
                "Row 0 of the first window reads one position. And whom does position 16 read?",
            ),
            Misconception(
                "those that do not learn",
                lambda: (512 - 136, 512 - 152),
                "You have counted the numbers that do not learn.",
                "The question asks for the others.",
            ),
            Misconception(
                "diagonal left out",
                lambda: (120, 136),
                "You leave the diagonal out: 15 · 16 / 2.",
                "A position may read itself.",
            ),
            Misconception(
                "whole rows",
                lambda: (256, 512),
                "You count whole halves of W, as if nothing of them were masked.",
                "Row 0 of the first window reads one position. And how many rows has a window "
                "with one position in it?",
            ),
            Misconception(
                "own half, then all before",
                lambda: (136, 256),
                "16 positions are right. With 17 you count the whole own half.",
                "The second window has one position. Which row of W is its row, and which "
                "columns does it read?",
            ),
            Misconception(
                "positions, not numbers",
                lambda: (16, 17),
                "You count positions. Asked for are numbers of W.",
                "How many numbers of its row does position 5 use?",
            ),
            Misconception(
                "as many as positions",
                lambda: (136, 17),
                "16 positions are right. With 17 all that learned before still learns.",
                "What does position 16 add to the 136?",
            ),
        ),
        hints=(
            "Draw W for windows of 4, four rows of eight. Which of the 32 numbers does a text of "
            "4 positions use?",
            "In a text of exactly one window nobody stands before it. A number that only ever "
            "multiplies a zero, or that the mask closes, gets no gradient.",
            "For 17: position 16 stands alone in window 1. It uses one row of W: which row, which "
            "columns, and which of these are used already?",
        ),
    ),
)
