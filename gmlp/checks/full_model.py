"""Lesson 11: what a right, and each known wrong, answer looks like."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.causal_masking import CausalSGU
from gmlp.checks.axial_folding import Kernels
from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.full_model import gMLPGPT
from gmlp.local_windows import CausalLocalSGU

Shape = tuple[int, ...]


def _length(seq_len: int, e: int) -> int:
    return math.ceil(seq_len / e)


# The shape of W


def _draw_layer(rng: Draw) -> tuple[Any, ...]:
    """Seven kinds of layer, so that each wrong rule fails on one of them."""
    e, heads = rng.integer(3, 7), rng.integer(2, 6)
    length = rng.integer(13, 24)
    whole = length * e  # fills e sequences of `length`
    odd = whole - rng.integer(1, e)  # does not fill them, and the fullest is as long
    seq_len, w = (
        (whole, length),
        (odd, length - 1),
        (odd, length + rng.integer(2, 9)),
        (odd, odd + rng.integer(1, 9)),
        (odd, None),
        (odd, rng.integer(7, length - 1)),
        (whole, rng.integer(7, length - 1)),
    )[rng.number]
    if rng.number == 6:
        e = 1
    return seq_len, w, e, heads


def _weight_shape(seq_len: int, w: int | None, e: int, heads: int) -> Shape:
    length = math.ceil(seq_len / e)
    if w is None or w >= length:
        return heads, length, length
    return heads, w, 2 * w


def _shape_by(
    length: Callable[[int, int], int] = _length,
    *,
    window: Callable[[int, int], int] = lambda w, e: w,
    whole: Callable[[int, int, int], bool] = lambda w, length, seq_len: w >= length,
    plain: Callable[[int, int, int], Shape] = lambda heads, w, length: (heads, length, length),
    local: Callable[[int, int], Shape] = lambda heads, w: (heads, w, 2 * w),
) -> Callable[..., Shape]:
    """The right steps, one of which is done otherwise."""

    def weight_shape(seq_len: int, w: int | None, e: int, heads: int) -> Shape:
        size = length(seq_len, e)
        if w is None:
            return plain(heads, size, size)
        w = window(w, e)
        return plain(heads, w, size) if whole(w, size, seq_len) else local(heads, w)

    return weight_shape


def _none_compared(seq_len: int, w: Any, e: int, heads: int) -> Shape:
    length = _length(seq_len, e)
    return (heads, length, length) if w >= length else (heads, w, 2 * w)


def _none_compared_below(seq_len: int, w: Any, e: int, heads: int) -> Shape:
    length = _length(seq_len, e)
    return (heads, w, 2 * w) if w < length else (heads, length, length)


def _clipped(seq_len: int, w: int | None, e: int, heads: int) -> Shape:
    length = _length(seq_len, e)
    if w is None:
        return heads, length, length
    w = min(w, length)
    return heads, w, 2 * w


def _shape_of_the_model(seq_len: int, w: int | None, e: int, heads: int) -> Shape:
    with torch.device("meta"):
        model = gMLPGPT(
            num_tokens=2, dim=heads, depth=1, seq_len=seq_len, window=((w, e),), heads=heads
        )
    (unit,) = (part for part in model.modules() if isinstance(part, CausalSGU))
    return unit.weight.shape


def _in_positions_of_the_text(seq_len: int, w: int | None, e: int, heads: int) -> Shape:
    length = -(-seq_len // e)
    if w and w * e < seq_len:
        return heads, w, w + w
    return heads, length, length


def _by_a_list(seq_len: int, w: int | None, e: int, heads: int) -> Any:
    length = len(range(0, seq_len, e))
    rows = min(length, length if w is None else w)
    return [heads, rows, rows if rows == length else 2 * rows]


# A fold and a residual


class _Block(nn.Module):
    """The least that a block does: it mixes the positions of one hand, causally, and gates."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(length, length))

    def __repr__(self) -> str:
        return f"a block for sequences of {len(self.weight)}"

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or x.shape[1] != len(self.weight):
            raise ValueError(
                f"this block takes (b e, n / e, d) with n / e = {len(self.weight)}; got "
                f"{tuple(x.shape)}"
            )
        return F.gelu(x) * (self.weight.tril() @ x)


Layer = Callable[[Tensor], Tensor]


def _draw_fold(rng: Draw) -> tuple[Any, ...]:
    b, length, d, e = rng.sizes(4)
    if d == 2:  # a norm over two channels is nearly a sign, and its gradient nearly nothing
        d, e = e, d
    norm = rng.refill(nn.LayerNorm(d))
    block = rng.refill(_Block(length))
    return rng.normal(b, length * e, d), norm, block, rng.refill(Kernels(d, e)), e


def _folded_step(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    hands = rearrange(norm(x), "b (n e) d -> (b e) n d", e=e)
    out = rearrange(block(hands), "(b e) n d -> b (n e) d", e=e)
    return x + join(out)


def _found_folded_step(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    hands = rearrange(x, "b (n e) d -> (b e) n d", e=e)
    hands = hands + block(norm(hands))
    return join(rearrange(hands, "(b e) n d -> b (n e) d", e=e))


def _fold(x: Tensor, e: int, pattern: str = "b (n e) d -> (b e) n d") -> Tensor:
    return rearrange(x, pattern, e=e)


def _unfold(x: Tensor, e: int, pattern: str = "(b e) n d -> b (n e) d") -> Tensor:
    return rearrange(x, pattern, e=e)


def _join_outside_too(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    hands = _fold(x, e)
    return x + join(_unfold(hands + block(norm(hands)), e))


def _join_in_the_hands(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    return x + _unfold(join(block(norm(_fold(x, e)))), e)


def _stacked(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    hands = norm(_fold(x, e, "b (e n) d -> (b e) n d"))
    return x + join(_unfold(block(hands), e, "(b e) n d -> b (e n) d"))


def _by_slices(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    y, out = norm(x), torch.zeros_like(x)
    for residue in range(e):
        out[:, residue::e] = block(y[:, residue::e])
    return torch.add(join(out), x)


def _by_reshape(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    b, n, d = x.shape
    hands = x.reshape(b, n // e, e, d).transpose(1, 2).flatten(0, 1)
    out = block(norm(hands)).unflatten(0, (b, e)).transpose(1, 2).reshape(b, n, d)
    return join(out) + x


def _hands_outermost(x: Tensor, norm: Layer, block: Layer, join: Layer, e: int) -> Tensor:
    hands = block(norm(_fold(x, e, "b (n e) d -> (e b) n d")))
    return x + join(_unfold(hands, e, "(e b) n d -> b (n e) d"))


# Any length


class _Model(nn.Module):
    """A model whose output i is a sum over the tokens that it reads, wrong for some lengths.

    All numbers are whole and small, so sums are exact: what should be equal is equal to the bit.
    """

    mix: Tensor
    table: Tensor

    def __init__(
        self, says: str, mix: Tensor, table: Tensor, fault: Callable[[int], Tensor | None]
    ) -> None:
        super().__init__()
        self.says, self.fault = says, fault
        self.register_buffer("mix", mix.float())
        self.register_buffer("table", table.float())

    def __repr__(self) -> str:
        return f"a model that {self.says}"

    def forward(self, tokens: Tensor) -> Tensor:
        n, v = len(self.mix), len(self.table)
        if tokens.dim() != 2 or not 1 <= tokens.shape[1] <= n:
            raise ValueError(
                f"tokens have shape {tuple(tokens.shape)}; the model wants (b, m) with m from 1 "
                f"to {n}"
            )
        if tokens.dtype != torch.int64 or not ((tokens >= 0) & (tokens < v)).all():
            raise ValueError(f"tokens must be int64 numbers from 0 to {v - 1}")
        m = tokens.shape[1]
        logits = torch.einsum("ij,bjv->biv", self.mix[:m, :m], self.table[tokens])
        wrong = self.fault(m)
        return logits if wrong is None else logits + wrong[:, None] * self.table[0]


def _draw_any_length(rng: Draw) -> tuple[Any, ...]:
    k, v = rng.integer(2, 4), rng.sizes(1, least=5)[0]
    n = 4 * k + 2  # half of it is odd
    mix = rng.integers(1, 10, n, n)
    table = rng.integers(1, 10, v, v)
    table[:, 0] = 1000  # token 0 is always the likeliest, so a fault need not change the winner
    past = mix.tril()
    middle = n // 2

    def at(places: Callable[[int], Sequence[int]], *lengths: int) -> Callable[[int], Tensor | None]:
        """A fault in these places of the output, for these lengths of the input."""

        def fault(m: int) -> Tensor | None:
            if m not in lengths:
                return None
            wrong = torch.zeros(m)
            wrong[list(places(m))] = 5.0
            return wrong

        return fault

    def everywhere(m: int) -> Sequence[int]:
        return range(m)

    one_odd = 2 * rng.integer(1, k) + 1  # less than half
    says, mix, fault = (
        ("reads the past", past, at(everywhere)),
        ("reads only the own token", past.diag().diag(), at(everywhere)),
        ("is right but for one length", past, at(everywhere, one_odd)),
        ("is wrong for a single token", past, at(everywhere, 1)),
        ("is wrong when one token is missing", past, at(everywhere, n - 1)),
        ("is wrong for half of the tokens", past, at(everywhere, middle)),
        ("is wrong at position 0 unless all are there", past, at(lambda m: [0], *range(2, n))),
        ("is wrong at its last output", past, at(lambda m: [m - 1], *range(2, n))),
        ("reads the next token", past + 1000 * mix.diag(1).diag(1), at(everywhere)),
        ("is wrong unless all tokens are there", past, at(everywhere, *range(1, n))),
        ("is wrong for four tokens", past, at(everywhere, 4)),
    )[rng.number]
    if rng.number == 8:
        table = torch.eye(v)  # here the winner is the token that leaks
    return _Model(says, mix, table, fault), n, v


Net = Callable[[Tensor], Tensor]


def _any_length(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.arange(n)[None] % num_tokens
    whole = model(tokens)
    return all(torch.equal(model(tokens[:, :m]), whole[:, :m]) for m in range(1, n))


def _compared(
    lengths: Callable[[int], Iterable[int]] = lambda n: range(1, n),
    see: Callable[[Tensor], Tensor] = lambda logits: logits,
    judge: Callable[[Iterable[bool]], bool] = all,
) -> Callable[[Net, int, int], bool]:
    """The right test, one part of which is done otherwise."""

    def any_length(model: Net, n: int, num_tokens: int) -> bool:
        tokens = torch.arange(n)[None] % num_tokens
        whole = model(tokens)
        pairs = ((model(tokens[:, :m]), whole[:, :m]) for m in lengths(n))
        return judge(torch.equal(see(short), see(long)) for short, long in pairs)

    return any_length


def _last_of_the_whole(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.arange(n)[None] % num_tokens
    whole = model(tokens)
    return all(torch.equal(model(tokens[:, :m]), whole[:, -m:]) for m in range(1, n))


def _no_empty_text(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.arange(n)[None] % num_tokens
    whole = model(tokens)
    return all(torch.equal(model(tokens[:, :m]), whole[:, :m]) for m in range(n))


def _first_verdict(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.arange(n)[None] % num_tokens
    whole = model(tokens)
    for m in range(1, n):
        return torch.equal(model(tokens[:, :m]), whole[:, :m])
    return True


def _each_and_the_next(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.randint(num_tokens, (2, n))
    outputs = [model(tokens[:, :m]) for m in range(1, n + 1)]
    pairs = itertools.pairwise(outputs)
    return all(bool((one == two[:, :-1]).all()) for one, two in pairs)


def _in_a_loop(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.randint(0, num_tokens, (1, n))
    with torch.no_grad():
        whole = model(tokens)
        for m in range(n, 0, -1):
            if not torch.allclose(model(tokens[:, :m]), whole[:, :m]):
                return False
    return True


def _largest_difference(model: Net, n: int, num_tokens: int) -> bool:
    tokens = torch.zeros(1, n, dtype=torch.int64)
    whole = model(tokens)
    apart = [(model(tokens[:, :m]) - whole[:, :m]).abs().max() for m in range(1, n + 1)]
    return torch.stack(apart).max().item() == 0


# Numbers that can learn


def _draw_live(rng: Draw) -> tuple[Any, ...]:
    e = rng.integer(3, 7)
    w = rng.integer(5, 10)
    length = (w, 2 * w + rng.integer(1, w), w + rng.integer(2, w - 1), 3 * w, w - 2)[rng.number]
    seq_len = length * e - rng.integer(1, e)
    return seq_len, w, e


def _live_numbers(seq_len: int, w: int, e: int) -> int:
    length = math.ceil(seq_len / e)
    own = min(w, length)  # rows that are used
    before = min(w, max(length - w, 0))  # rows of them with a window before
    return own * (own + 1) // 2 + before * w


def _met_pairs(seq_len: int, w: int, e: int) -> int:
    length = math.ceil(seq_len / e)
    used = set()
    for i in range(length):
        start = i // w * w
        for j in range(max(0, start - w), i + 1):
            used.add((i - start, j - start))
    return len(used)


def _by_gradients(seq_len: int, w: int, e: int) -> int:
    length = math.ceil(seq_len / e)
    unit = CausalSGU(6, length) if w >= length else CausalLocalSGU(6, length, window=w)
    unit(torch.randn(1, length, 6)).sum().backward()
    assert unit.weight.grad is not None
    return int(unit.weight.grad.count_nonzero())


def _row_by_row(seq_len: int, w: int, e: int) -> int:
    length = -(-seq_len // e)
    most = [0] * w
    for i in range(length):
        most[i % w] = max(most[i % w], i % w + 1 + (w if i >= w else 0))
    return sum(most)


def _live_by(
    length: Callable[[int, int], int] = _length,
    *,
    own: Callable[[int], int] = lambda m: m * (m + 1) // 2,
    before: Callable[[int, int], int] = lambda w, rows: w * rows,
    rows_before: Callable[[int, int], int] = lambda w, length: min(w, max(length - w, 0)),
) -> Callable[[int, int, int], int]:
    """The right count, one part of which is done otherwise."""

    def live_numbers(seq_len: int, w: int, e: int) -> int:
        size = length(seq_len, e)
        return own(min(w, size)) + before(w, rows_before(w, size))

    return live_numbers


def _stored(seq_len: int, w: int, e: int) -> int:
    _, rows, columns = _weight_shape(seq_len, w, e, 1)
    return rows * columns


def _pairs_of_positions(seq_len: int, w: int, e: int) -> int:
    return sum(min(i, i % w + w) + 1 for i in range(_length(seq_len, e)))


# The largest W


def _hungriest_window() -> int:
    return max(range(1, 65), key=lambda w: math.prod(_weight_shape(64, w, 3, 1)))


def _last_window_only(seq_len: int, w: int, e: int) -> int:
    length = math.ceil(seq_len / e)
    own = min(w, length)
    return own * (own + 1) // 2 + (length % w * w if length > w else 0)


def _without_end(seq_len: int, w: int, e: int) -> int:
    length = math.ceil(seq_len / e)
    own = min(w, length)
    return own * (own + 1) // 2 + max(0, length - w) * w


def _for_every_hand(seq_len: int, w: int, e: int) -> int:
    length = math.ceil(seq_len / e)
    own, before = min(w, length), min(w, max(length - w, 0))
    return e * (own * (own + 1) // 2 + before * w)


EXERCISES = (
    Exercise(
        name="weight_shape",
        lesson="11_full_model",
        axes="",
        parts=("heads", "rows", "columns"),
        draw=_draw_layer,
        draws=7,
        solution=_weight_shape,
        alternatives=(_shape_of_the_model, _in_positions_of_the_text, _by_a_list),
        misconceptions=(
            Misconception(
                "L rounded down",
                _shape_by(lambda seq_len, e: seq_len // e),
                "You round L down. When e does not divide seq_len, some sequences are longer.",
                "Deal 7 positions to 3 hands. How many does the fullest hand hold?",
            ),
            Misconception(
                "fold forgotten",
                _shape_by(lambda seq_len, e: seq_len),
                "Your unit works on the whole text. Inside a fold it sees one sequence of several.",
                "How many positions has one hand, after dealing them to e?",
            ),
            Misconception(
                "window compared with the text",
                _shape_by(whole=lambda w, length, seq_len: w >= seq_len),
                "You compare the window with seq_len. The unit never sees so many positions.",
                "Which length does the unit work on, inside the fold?",
            ),
            Misconception(
                "equal counts as local",
                _shape_by(whole=lambda w, length, seq_len: w > length),
                "A window of exactly L still gets windows in your layer.",
                "If w equals L, is anything left that the window does not hold?",
            ),
            Misconception(
                "None compared, with >=",
                _none_compared,
                "Your code compares None with a number, and Python refuses.",
                "`window=None` reads everything. Ask for it before you compare.",
            ),
            Misconception(
                "None compared, with <",
                _none_compared_below,
                "Your code compares None with a number, and Python refuses to.",
                "`window=None` reads everything. Ask for it before you compare.",
            ),
            Misconception(
                "never plain",
                _shape_by(whole=lambda w, length, seq_len: False),
                "Your layer has windows however wide they are. That is the careless version of "
                "11.3.",
                "What if a window holds the whole sequence?",
            ),
            Misconception(
                "window ignored",
                lambda seq_len, w, e, heads: (heads, *[_length(seq_len, e)] * 2),
                "Every layer of yours is a plain one, however narrow its window.",
                "What shape has the W of lesson 07, and when is it used?",
            ),
            Misconception(
                "no look-back",
                _shape_by(local=lambda heads, w: (heads, w, w)),
                "Your windows do not look back: a row has only the w columns of its own window.",
                "Which windows does a position read besides its own?",
            ),
            Misconception(
                "transposed",
                _shape_by(local=lambda heads, w: (heads, 2 * w, w)),
                "You have rows and columns of the windows the other way round.",
                "A row is a position that writes. How many has one window, and how many does each "
                "read?",
            ),
            Misconception(
                "look-back in a plain unit",
                _shape_by(plain=lambda heads, w, length: (heads, length, 2 * length)),
                "Your plain unit looks back, too. It has no windows, so there is none before.",
                "Which positions can a position of a plain unit read?",
            ),
            Misconception(
                "window clipped, still local",
                _clipped,
                "You cut the window down to L, and then treat it as a window all the same.",
                "If one window holds everything, does another stand before it?",
            ),
            Misconception(
                "w by w",
                _shape_by(plain=lambda heads, w, length: (heads, w, w)),
                "Your plain unit has w rows and columns, though there are only L positions.",
                "How many positions can write, and how many can be read?",
            ),
            Misconception(
                "window folded, too",
                _shape_by(window=lambda w, e: w // e),
                "You divide the window by the fold. It counts places in a hand, not positions of "
                "the text.",
                "In the chapter, how many places does the layer `(8, 2)` read at most in its hand?",
            ),
            Misconception(
                "heads multiplied in",
                lambda seq_len, w, e, heads: (
                    heads,
                    heads * _weight_shape(seq_len, w, e, 1)[1],
                    _weight_shape(seq_len, w, e, 1)[2],
                ),
                "You multiply the rows by the heads. They have an axis of their own.",
                "The matrix of one head has as many rows as there are positions.",
            ),
        ),
        hints=(
            "What does the unit see of a text of 64 positions, when it sits in a fold of 4?",
            "First L, rounded up. Then ask whether one window holds it all: without a window, and "
            "with one that is not smaller than L, the unit is plain.",
            "Plain: heads, and L by L. With windows: heads, w rows (the places of a window), and "
            "a column for each place of two windows.",
        ),
    ),
    Exercise(
        name="folded_step",
        lesson="11_full_model",
        axes="b n d",
        positions="x",
        kind="debug",
        draw=_draw_fold,
        draws=2,
        solution=_folded_step,
        stub=_found_folded_step,
        alternatives=(_by_slices, _by_reshape, _hands_outermost),
        misconceptions=(
            Misconception(
                "residual inside the fold",
                lambda x, norm, block, join, e: join(x + _unfold(block(norm(_fold(x, e))), e)),
                "x still goes through the convolution: the residual ends before it.",
                "x should reach the output untouched. What is the last thing that happens to it?",
            ),
            Misconception(
                "no residual",
                lambda x, norm, block, join, e: join(_unfold(block(norm(_fold(x, e))), e)),
                "x itself no longer reaches the output: the way around the layer is gone.",
                "A residual step adds something to x.",
            ),
            Misconception(
                "x through a convolution of its own",
                lambda x, norm, block, join, e: (
                    join(x) + join(_unfold(block(norm(_fold(x, e))), e))
                ),
                "The two paths are apart now, but x still goes through the convolution on its own.",
                "x should reach the output untouched.",
            ),
            Misconception(
                "two residuals",
                _join_outside_too,
                "You added a residual outside, but the one inside is still there.",
                "A block that returns zeros should leave x as it is. What does the convolution "
                "get here?",
            ),
            Misconception(
                "convolution left out",
                lambda x, norm, block, join, e: x + _unfold(block(norm(_fold(x, e))), e),
                "The convolution is gone, so the sequences never meet.",
                "What the block returns still goes through `join`. Only x should not.",
            ),
            Misconception(
                "convolution inside the fold",
                _join_in_the_hands,
                "Your convolution runs inside the hands, before they are put together again.",
                "It joins neighbours of the text. When do they stand side by side?",
            ),
            Misconception(
                "convolution before the fold",
                lambda x, norm, block, join, e: x + _unfold(block(_fold(join(norm(x)), e)), e),
                "Your convolution runs before the fold, on what goes into the block.",
                "It brings together what the sequences have found. When is that known?",
            ),
            Misconception(
                "norm on both branches",
                lambda x, norm, block, join, e: (
                    norm(x) + join(_unfold(block(_fold(norm(x), e)), e))
                ),
                "The block sees the norm of x, but so does the sum: it adds norm(x), not x.",
                "The first term of the sum should be x as it came.",
            ),
            Misconception(
                "norm after the sum",
                lambda x, norm, block, join, e: norm(x + join(_unfold(block(_fold(x, e)), e))),
                "The norm acts on the sum, so it stands on the path from layer to layer.",
                "Lesson 03: the norm belongs in front of the block.",
            ),
            Misconception(
                "no norm",
                lambda x, norm, block, join, e: x + join(_unfold(block(_fold(x, e)), e)),
                "The norm is gone. Then the input of the block grows from layer to layer.",
                "Only the way of x was wrong in the code that you were given.",
            ),
            Misconception(
                "norm behind the block",
                lambda x, norm, block, join, e: x + join(_unfold(norm(block(_fold(x, e))), e)),
                "The norm acts on what the block returns, not on what it is given.",
                "The norm comes before the block.",
            ),
            Misconception(
                "cut and stacked",
                _stacked,
                "You cut the text into e pieces. A fold deals it out, position by position.",
                "`(e n)` and `(n e)`: which of the two counts fast? Only the way of x was wrong.",
            ),
            Misconception(
                "hands put together in another order",
                lambda x, norm, block, join, e: (
                    x + join(_unfold(block(norm(_fold(x, e))), e, "(b e) n d -> b (e n) d"))
                ),
                "You deal the positions out rightly, but put them together in another order.",
                "Unfolding is the same pattern backwards.",
            ),
            Misconception(
                "texts and hands mixed up",
                lambda x, norm, block, join, e: (
                    x + join(_unfold(block(norm(_fold(x, e, "b (n e) d -> (e b) n d"))), e))
                ),
                "You fold into `(e b)` and unfold from `(b e)`, so texts of the batch get mixed.",
                "The same letters in the same order, there and back.",
            ),
        ),
        hints=(
            "Stack the given step eight times, with blocks that return zeros. What does x go "
            "through on its way up?",
            "There are two paths again: x itself, and the branch through norm, fold, block and "
            "convolution. In the given code the sum comes too early.",
            "Fold the norm of x, run the block, unfold, join. None of this touches x itself; add "
            "it at the very end.",
        ),
    ),
    Exercise(
        name="any_length",
        lesson="11_full_model",
        axes="",
        kind="extend",
        draw=_draw_any_length,
        draws=11,
        solution=_any_length,
        alternatives=(_each_and_the_next, _in_a_loop, _largest_difference),
        # The drawn models are such that each of these gives another pattern of eleven answers.
        misconceptions=(
            Misconception(
                "one length",
                _compared(lambda n: [6]),
                "You try a single length, or a few. A model can fail at others.",
                "The chapter's 37 was one length of 63. Which are the others?",
            ),
            Misconception(
                "one length, half of the text",
                _compared(lambda n: [n // 2]),
                "You try a single length, half of the text. A model can fail at others.",
                "The chapter's 37 was one length of 63. Which are the others?",
            ),
            Misconception(
                "one length, all but one",
                _compared(lambda n: [n - 1]),
                "You try a single length, all tokens but the last. A model can fail at others.",
                "Try every length from a single token on.",
            ),
            Misconception(
                "one length, a single token",
                _first_verdict,
                "You come to a verdict after the first length, a single token.",
                "When is it too early for True? Does a `return` stand inside the loop?",
            ),
            Misconception(
                "a single token left out",
                _compared(lambda n: range(2, n)),
                "You never try a single token.",
                "What is the shortest text that a model can be given?",
            ),
            Misconception(
                "longest one left out",
                _compared(lambda n: range(1, n - 1)),
                "You never try the text that lacks only its last token.",
                "A range stops before its end. Which is the last length that you try?",
            ),
            Misconception(
                "even lengths only",
                _compared(lambda n: range(2, n, 2)),
                "You try only even lengths.",
                "A model with windows of 4 may fail just when one token is left over.",
            ),
            Misconception(
                "last outputs compared",
                _compared(see=lambda logits: logits[:, -1]),
                "You compare only the last output of each shorter text.",
                "A shorter text of m tokens has m outputs. All of them count.",
            ),
            Misconception(
                "first outputs compared",
                _compared(see=lambda logits: logits[:, 0]),
                "You compare only the first output of each shorter text.",
                "A shorter text of m tokens has m outputs. All of them count.",
            ),
            Misconception(
                "winners compared",
                _compared(see=lambda logits: logits.argmax(-1)),
                "You compare the likeliest tokens. Logits can move and leave the winner.",
                "Compare the logits themselves.",
            ),
            Misconception(
                "always equal",
                _compared(see=lambda logits: torch.tensor(logits.shape)),
                "You find every model in order, though some of them are not.",
                "What do you compare with what? Shapes agree in every one of these models, and a "
                "text always agrees with itself.",
            ),
            Misconception(
                "one that agrees is enough",
                _compared(judge=any),
                "You say True as soon as one length agrees.",
                "The law speaks of every length: `all`, not `any`.",
            ),
            Misconception(
                "never equal",
                _last_of_the_whole,
                "You find a fault in every model, even where there is none.",
                "The first m tokens have the first m outputs. Which slice of the long output do "
                "you take?",
            ),
            Misconception(
                "answer upside down",
                lambda model, n, v: not _any_length(model, n, v),
                "You say True for the models that break the law, and False for those that keep it.",
                "True means: it gives the same, whatever the length.",
            ),
            Misconception(
                "a text of no tokens",
                _no_empty_text,
                "You give the model a text of no tokens.",
                "Where does your range begin?",
            ),
        ),
        hints=(
            "You have the outputs of the whole text. Which of them should come out again when the "
            "model is given only the first three tokens?",
            "Call the model once with n tokens, and once with the first m of them, for every m "
            "from 1 to n - 1. Compare all outputs of the short text.",
            "`model(tokens[:, :m])` against the first m outputs of the whole, with torch.equal; "
            "`all(... for m in ...)` joins the verdicts.",
        ),
    ),
    Exercise(
        name="live_numbers",
        lesson="11_full_model",
        axes="",
        kind="extend",
        draw=_draw_live,
        draws=5,
        solution=_live_numbers,
        alternatives=(_met_pairs, _by_gradients, _row_by_row),
        misconceptions=(
            Misconception(
                "all that are stored",
                _stored,
                "You count every number in W, also those above the diagonal.",
                "Which columns does the first row of a causal unit never use?",
            ),
            Misconception(
                "diagonal left out",
                _live_by(own=lambda m: m * (m - 1) // 2),
                "You leave the diagonal out: a position reads itself, too.",
                "How many numbers does the triangle of a 3 by 3 matrix hold, diagonal included?",
            ),
            Misconception(
                "no look-back",
                _live_by(before=lambda w, rows: 0),
                "You count the own window only. With windows, a row also reads the one before.",
                "Which columns of the (w, 2w) matrix belong to the window before?",
            ),
            Misconception(
                "look-back as a triangle",
                _live_by(before=lambda w, rows: rows * (rows + 1) // 2),
                "You count a triangle in the window before. All of it lies in the past.",
                "May the first place of a window read the last place of the one before?",
            ),
            Misconception(
                "own window in full",
                _live_by(own=lambda m: m * m),
                "You count the whole own window. Half of it lies in the future.",
                "Which places of its own window may place 0 read?",
            ),
            Misconception(
                "incomplete second window",
                _live_by(rows_before=lambda w, length: w if length > w else 0),
                "You take it that every row looks back. That is so only if the second window is "
                "complete.",
                "Take 7 positions and windows of 5. Which places of a window have ever one before "
                "them?",
            ),
            Misconception(
                "always with look-back",
                _live_by(rows_before=lambda w, length: w),
                "You count a window before even where one window holds it all.",
                "Compare w with the length of the sequence first.",
            ),
            Misconception(
                "short sequence taken for a full window",
                lambda seq_len, w, e: (
                    w * (w + 1) // 2 + w * min(w, max(_length(seq_len, e) - w, 0))
                ),
                "You count w rows even where the sequence has fewer positions than that.",
                "If a sequence is shorter than a window, how many rows of W are left?",
            ),
            Misconception(
                "pairs of positions",
                _pairs_of_positions,
                "You count pairs of positions that meet. All windows share one W, so many pairs "
                "share a number.",
                "How many rows has W, and how many of your pairs belong to the same row and "
                "column?",
            ),
            Misconception(
                "L rounded down",
                _live_by(lambda seq_len, e: seq_len // e),
                "You round L down. When e does not divide seq_len, some sequences are longer.",
                "Deal 7 positions to 3 hands. How many does the fullest hand hold?",
            ),
            Misconception(
                "many windows assumed",
                _live_by(lambda seq_len, e: seq_len),
                "You count as if every sequence had two full windows, or more. In a fold it has "
                "only L positions.",
                "First L, the positions of the fullest hand. Then compare it with w, and with 2 w.",
            ),
            Misconception(
                "window ignored",
                lambda seq_len, w, e: _length(seq_len, e) * (_length(seq_len, e) + 1) // 2,
                "You count the triangle of a plain unit, whatever the window.",
                "What shape has W, if the window is smaller than the sequence?",
            ),
            Misconception(
                "careless matrix",
                lambda seq_len, w, e: 2 * w * w,
                "You count all numbers of a matrix with windows, the careless one of 11.3.",
                "A number counts only if some position reads another one with it.",
            ),
            Misconception(
                "last window only",
                _last_window_only,
                "You ask only the last window which rows look back. A full window before it may "
                "have used them all.",
                "Rows are shared by all windows. Which rows has the second window, if a third "
                "one follows?",
            ),
            Misconception(
                "rows without end",
                _without_end,
                "You count a row for every position after the first window, but W has only w rows.",
                "How many rows does W have, and how many of them can look back?",
            ),
            Misconception(
                "once for every hand",
                _for_every_hand,
                "You count W once for every hand.",
                "All hands go through the same layer. How many W has it?",
            ),
        ),
        hints=(
            "Draw W for windows of 3, 3 rows and 6 columns. Which of its numbers does a text of 2, "
            "of 4, of 100 positions use?",
            "Go through the positions of the longest sequence. Each uses one row of W: its place "
            "in its window; and in that row the columns of the places that it reads.",
            "Own windows give a triangle over min(w, L) rows, diagonal included. The window before "
            "gives w more for each place that has ever one before it; how many places that is "
            "depends on how far L exceeds w.",
        ),
    ),
    prediction(
        "hungriest_window",
        "11_full_model",
        _hungriest_window,
        because="Folded by 3, a sequence holds 22 positions. A window of 22 or more is none and "
        "costs 22 * 22 = 484 numbers; one of 21 costs 2 * 21 * 21 = 882, and reads less.",
        alternatives=(lambda: 21,),
        misconceptions=(
            Misconception(
                "largest number",
                lambda: 64,
                "You name the widest window. From a certain width on it is no window any more.",
                "What does the careful layer do when one window holds the whole sequence?",
            ),
            Misconception(
                "fold forgotten",
                lambda: 63,
                "You saw that the widest window is none, but you took it for one of the whole "
                "text.",
                "How long is a sequence, after 64 positions have been dealt to three?",
            ),
            Misconception(
                "window of L",
                lambda: 22,
                "You name a window as long as the sequence. Then the layer is plain already.",
                "`w >= L`, says the layer. And how many numbers has the plain matrix?",
            ),
            Misconception(
                "L rounded down",
                lambda: 20,
                "You round 64 / 3 down to 21, and take one less.",
                "Deal 64 positions to three hands. How many does the fullest hand hold?",
            ),
            Misconception(
                "half of L",
                lambda: 11,
                "You name half of L. With that window two of them make up the sequence.",
                "Compare 2 w * w for windows that are wider than this.",
            ),
            Misconception(
                "half of L, rounded down",
                lambda: 10,
                "You name the widest window of which two fit into the sequence.",
                "Compare 2 w * w for windows that are wider than this.",
            ),
            Misconception(
                "half of the text",
                lambda: 32,
                "You name half of the text. But the layer is folded by 3.",
                "How long is a sequence, and what happens to a window that is longer?",
            ),
            Misconception(
                "number of numbers",
                lambda: 882,
                "You say how many numbers that W has. Asked for is the window.",
                "Which w has led you there?",
            ),
        ),
        hints=(
            "What does W look like for w = 64, and what for w = 1?",
            "With windows W has 2 w * w numbers, without it has L * L. Up to which w does a layer "
            "have windows?",
            "L is 64 / 3, rounded up. 2 w * w grows with w, until w reaches L; there it drops. "
            "Take the last w before.",
        ),
    ),
)
