"""Lesson 02: what a right, and each known wrong, answer looks like."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.training import bits_per_byte


def _draw_weight(rng: Draw) -> tuple[Any, ...]:
    h, n = rng.sizes(2, least=3)
    return (rng.normal(h, n, n),)


def _mask_weights(weight: Tensor) -> Tensor:
    return weight.tril()


def _future(weight: Tensor) -> Tensor:
    """True where a position would read a later one."""
    return torch.ones_like(weight, dtype=torch.bool).triu(1)


def _first_head_only(weight: Tensor) -> Tensor:
    return torch.cat([weight[:1].tril(), weight[1:]])


def _compared_indices(weight: Tensor) -> Tensor:
    position = torch.arange(weight.shape[-1])
    return weight * (position[:, None] >= position)


def _row_by_row(weight: Tensor) -> Tensor:
    out = torch.zeros_like(weight)
    for i in range(weight.shape[-1]):
        out[:, i, : i + 1] = weight[:, i, : i + 1]
    return out


class TooManyCallsError(Exception):
    """The model of an exercise was called more often than the exercise allows."""


class _Model(nn.Module):
    """A model whose output i is a sum of table rows of the tokens that it reads.

    All numbers are small, and whole in units of 1/64, so the sums are exact in float32: an output
    that should not move does not move in the last bit either, whatever the batch.
    """

    mix: Tensor
    table: Tensor

    def __init__(self, reads: str, mix: Tensor, table: Tensor) -> None:
        super().__init__()
        self.reads = reads
        self.calls = 0
        self.register_buffer("mix", mix.float())
        self.register_buffer("table", table.float())

    def __repr__(self) -> str:
        return f"a model in which {self.reads}"

    def forward(self, tokens: Tensor) -> Tensor:
        n, v = len(self.mix), len(self.table)
        if tokens.dim() != 2 or tokens.shape[1] != n:
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}; the model wants (b, {n})")
        if tokens.dtype != torch.int64 or not ((tokens >= 0) & (tokens < v)).all():
            raise ValueError(f"tokens must be int64 numbers from 0 to {v - 1}")
        self.calls += 1
        if self.calls > 1:
            raise TooManyCallsError("the model was called a second time")
        return torch.einsum("ij,bjv->biv", self.mix, self.table[tokens])


def _draw_model(rng: Draw) -> tuple[Any, ...]:
    n, v = rng.sizes(2, least=5)
    if rng.number >= 7:
        v = 3  # who changes a token to a random one often gets the old one
    mix = rng.integers(1, 10, n, n).float()
    table = rng.integers(-9, 10, v, v)
    table[:, 0] = 1000  # token 0 is always the likeliest, so a leak need not change the winner
    table[:, 1] = torch.randperm(v, generator=rng.generator)  # no two tokens look alike
    past = mix.tril()
    if rng.number == 0:
        reads, kept = "a position reads itself and all before it", past
    elif rng.number == 1:
        reads, kept = "a position reads only itself", mix.diag().diag()
    elif rng.number == 2:
        reads, kept = "a position from 2 on reads only the one before it", past.tril(-1).triu(-1)
        kept[1, 0] = 0
    elif rng.number == 3:
        reads, kept = (
            "a position reads all before it and the next one",
            past + 1000 * mix.diag(1).diag(1),
        )
        table = torch.eye(v)  # here the winner is the token that leaks
    else:
        first = [(n - 2, n - 1), (0, n - 2), (0, 1)]
        i = rng.integer(0, n - 1)
        i, j = first[rng.number - 4] if rng.number < 7 else (i, rng.integer(i + 1, n))
        reads, kept = f"a position reads all before it, and position {i} reads {j}", past
        kept[i, j] = mix[i, j] if rng.number % 2 else 2**-6  # a weak leak is one, too
    return _Model(reads, kept, table), n, v


def _moved(
    model: Callable[[Tensor], Tensor],
    n: int,
    num_tokens: int,
    winner: bool = False,
    least: float = 0.0,
) -> Tensor:
    """(n, n): did output i of row k move, by more than ``least``, when its token k was changed?

    Row 0 is unchanged.
    """
    tokens = (torch.arange(n) % num_tokens).repeat(n, 1)
    later = torch.arange(1, n)
    tokens[later, later] = (tokens[later, later] + 1) % num_tokens
    logits = model(tokens)
    if winner:
        logits = logits.argmax(-1, keepdim=True)
    return ((logits - logits[:1]).abs() > least).any(-1)


def _leaks(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    return bool(_moved(model, n, num_tokens).tril(-1).any())


def _first_token(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> Tensor:
    tokens = torch.zeros(2, n, dtype=torch.int64)
    tokens[1, 0] = 1
    logits = model(tokens)
    return (logits[0] != logits[1]).any(-1)


def _call_by_call(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    tokens = torch.zeros(1, n, dtype=torch.int64)
    before = model(tokens)
    for k in range(1, n):
        changed = tokens.clone()
        changed[0, k] = 1
        if not torch.equal(model(changed)[:, :k], before[:, :k]):
            return True
    return False


def _loop_over_rows(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    base = torch.randint(num_tokens, (n,))
    rows = [base]
    for k in range(n):
        row = base.clone()
        row[k] = (row[k] + 1) % num_tokens
        rows.append(row)
    logits = model(torch.stack(rows))
    return any(not torch.allclose(logits[k + 1, :k], logits[0, :k]) for k in range(n))


def _pairs(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    base = torch.randint(num_tokens, (n, n))
    logits = model(torch.cat([base, (base + torch.eye(n, dtype=torch.int64)) % num_tokens]))
    change = (logits[:n] - logits[n:]).abs().amax(-1)
    return change.tril(-1).max().item() > 0


def _all_later_tokens(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    tokens = torch.ones(n, n, dtype=torch.int64).triu(1)  # row k: every token after k is changed
    logits = model(tokens)
    own = torch.ones(n, n, dtype=torch.bool).tril()  # output i <= k may not see that
    return bool((own & (logits != logits[-1:]).any(-1)).any())


# A unit whose mask is right and which leaks all the same


def _draw_unit(rng: Draw) -> tuple[Any, ...]:
    b, n = rng.sizes(2, least=3)
    c = 13
    x = rng.normal(b, n, 2 * c)
    if rng.number == 2:
        x = 0.005 * x  # so small that the 1e-5 below the root counts
    return x, rng.normal(n, n), rng.normal(n)


def _causal_unit(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    return u * (weight.tril() @ F.layer_norm(v, v.shape[-1:]) + bias[:, None])


def _found_causal_unit(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    u, v = x.chunk(2, dim=-1)
    mean = v.mean(dim=1, keepdim=True)
    variance = v.var(dim=1, keepdim=True, correction=0)
    v = (v - mean) / (variance + 1e-5).sqrt()
    gate = weight.tril() @ v + bias[:, None]
    return gate * u


Unit = Callable[[Tensor, Tensor, Tensor], Tensor]


def _unit(norm: Callable[[Tensor], Tensor], mask: Callable[[Tensor], Tensor] = torch.tril) -> Unit:
    """The unit with some way to normalise v."""

    def unit(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        u, v = x.chunk(2, dim=-1)
        return u * (mask(weight) @ norm(v) + bias[:, None])

    return unit


def _over(
    mean: int | tuple[int, ...], variance: int | tuple[int, ...], correction: int = 0
) -> Callable[[Tensor], Tensor]:
    """Normalise with the mean over some axes and the variance over others."""

    def norm(v: Tensor) -> Tensor:
        spread = v.var(dim=variance, keepdim=True, correction=correction)
        return (v - v.mean(dim=mean, keepdim=True)) / (spread + 1e-5).sqrt()

    return norm


def _unit_by_einsum(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    c = x.shape[-1] // 2
    u, v = x[..., :c], x[..., c:]
    centred = v - v.mean(-1, keepdim=True)
    v = centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    return u * (torch.einsum("ij,bjc->bic", weight.tril(), v) + bias[None, :, None])


def _unit_row_by_row(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.tensor_split(2, dim=2)
    v = nn.LayerNorm(v.shape[-1])(v)
    out = torch.zeros_like(u)
    for i in range(x.shape[1]):
        for j in range(i + 1):
            out[:, i] += weight[i, j] * v[:, j]
        out[:, i] = (out[:, i] + bias[i]) * u[:, i]
    return out


def _so_far(v: Tensor) -> Tensor:
    """Each position by mean and variance of itself and those before it, channel by channel."""
    past = [v[:, : i + 1] for i in range(v.shape[1])]
    mean = torch.stack([part.mean(1) for part in past], dim=1)
    variance = torch.stack([part.var(1, correction=0) for part in past], dim=1)
    return (v - mean) / (variance + 1e-5).sqrt()


def _norm_after_mixing(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    mixed = weight.tril() @ v
    return u * (F.layer_norm(mixed, mixed.shape[-1:]) + bias[:, None])


def _norm_of_both_halves(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _unit(lambda v: v)(F.layer_norm(x, x.shape[-1:]), weight, bias)


# Who reads whom


class _Reader(nn.Module):
    """A function (n, d) -> (n, k) of which one knows who reads whom.

    ``maps[i, j]``, (d, k) small whole numbers, leads from input j to output i: all zero where i
    does not read j. Sums of them are exact, so what cancels cancels to the last bit. With ``own``
    the sum is gated by a square of the position's own input, and all derivatives at 0 are 0. At
    last everything is multiplied by ``size``, a power of two.
    """

    maps: Tensor
    own: Tensor | None

    def __init__(self, reads: str, maps: Tensor, own: Tensor | None, size: float) -> None:
        super().__init__()
        self.reads, self.size = reads, size
        self.register_buffer("maps", maps.float())
        self.register_buffer("own", None if own is None else own.float())

    def __repr__(self) -> str:
        return f"a function in which {self.reads}"

    def forward(self, x: Tensor) -> Tensor:
        n, _, d, k = self.maps.shape
        if x.shape != (n, d):
            raise ValueError(f"the function wants x of shape ({n}, {d}); got {tuple(x.shape)}")
        out = torch.einsum("ijdk,jd->ik", self.maps, x) + 0.5
        if self.own is not None:
            out = out * (x @ self.own).square()
        out = out + 1e4 * (torch.arange(k) == 0)  # channel 0 is the largest, whatever x is
        return out * self.size


def _draw_reader(rng: Draw) -> tuple[Any, ...]:
    n = (5, 7)[rng.integer(0, 2)]
    d, k = ((2, 3), (3, 2))[rng.number % 2]
    if rng.number == 0:
        reads = "a position reads itself and all before it"
        pairs = torch.ones(n, n).tril()
    elif rng.number == 1:
        reads = "a position reads some of the others, earlier and later ones"
        pairs = (rng.normal(n, n) > 0).float()
        pairs[0, 1:], pairs[1:, 0] = 1, 0  # never its own mirror image, nor a triangle
    elif rng.number == 2:
        reads = "a position reads itself, and a gate lets it read all before it"
        pairs = torch.ones(n, n).tril(-1)
    else:
        reads = "a position reads all before it, not itself, and all a little"
        pairs = torch.ones(n, n).tril(-1)
    maps = torch.zeros(n, n, d, k)
    first = rng.integer(0, 6)
    for number, (i, j) in enumerate(pairs.nonzero().tolist()):
        a, b = rng.integers(1, 4, d, 1).float(), rng.integers(1, 4, 1, k).float()
        plus_minus = torch.tensor([1.0, -1.0, 0.0])
        last_in, last_out = torch.zeros(d, 1), torch.zeros(1, k)
        last_in[-1], last_out[:, -1] = 1, 1
        maps[i, j] = (
            a * b,
            -a * b,
            a * plus_minus[:k],  # the output channels cancel
            plus_minus[:d, None] * b,  # the input channels cancel
            last_in * b,  # only the last input channel counts
            a * last_out,  # only the last output channel moves
        )[(number + first) % 6]
    own = None
    if rng.number == 2:
        own = torch.full((d, k), 2.0)
        own[0] = -1
    return _Reader(reads, maps, own, 2**-10 if rng.number == 3 else 1), n, d


Positions = Callable[[Tensor], Tensor]


def _jacobian(f: Positions, n: int, d: int, x: Tensor | None = None) -> Tensor:
    """All derivatives, at a random point if no other is given: (n, k, n, d)."""
    x = torch.randn(n, d) if x is None else x
    return torch.autograd.functional.jacobian(f, x)


def _who_reads_whom(f: Positions, n: int, d: int) -> Tensor:
    return _jacobian(f, n, d).ne(0).any(3).any(1)


def _of_each(
    scalar: Callable[[Tensor], Tensor], found: Callable[[Tensor], Tensor]
) -> Callable[[Positions, int, int], Tensor]:
    """One derivative a position: of some number made of its channels."""

    def table(f: Positions, n: int, d: int) -> Tensor:
        x = torch.randn(n, d, requires_grad=True)
        out = f(x)
        return torch.stack(
            [found(torch.autograd.grad(scalar(one), x, retain_graph=True)[0]) for one in out]
        )

    return table


def _nonzero(derivative: Tensor) -> Tensor:
    return derivative.abs().sum(-1) > 0


def _gradients_add_up(f: Positions, n: int, d: int) -> Tensor:
    x = torch.randn(n, d, requires_grad=True)
    out, rows = f(x), []
    for i in range(n):
        out[i].sum().backward(retain_graph=True)
        assert x.grad is not None
        rows.append(_nonzero(x.grad))
    return torch.stack(rows)


def _graph_thrown_away(f: Positions, n: int, d: int) -> Tensor:
    x = torch.randn(n, d, requires_grad=True)
    out = f(x)
    return torch.stack([_nonzero(torch.autograd.grad(out[i].sum(), x)[0]) for i in range(n)])


def _no_gradient_asked(f: Positions, n: int, d: int) -> Tensor:
    x = torch.randn(n, d)
    return torch.stack([torch.autograd.grad(one.sum(), x)[0] for one in f(x)])


def _by_change(f: Positions, n: int, d: int, x: Tensor) -> Tensor:
    columns = []
    for j in range(n):
        changed = x.clone()
        changed[j] = torch.randn(d)
        columns.append((f(changed) != f(x)).any(-1))
    return torch.stack(columns, dim=1)


def _by_random_direction(f: Positions, n: int, d: int) -> Tensor:
    x = torch.randn(n, d, requires_grad=True)
    out = f(x)
    table = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        (derivative,) = torch.autograd.grad(out[i], x, torch.randn_like(out[i]), retain_graph=True)
        table[i] = derivative.norm(dim=-1) > 0
    return table


def _by_reset_gradients(f: Positions, n: int, d: int) -> Tensor:
    x = torch.rand(n, d, requires_grad=True)
    table = torch.zeros(n, n)
    for i in range(n):
        for score in range(f(x).shape[1]):
            x.grad = None
            f(x)[i, score].backward()
            assert x.grad is not None
            table[i] += x.grad.abs().sum(1)
    return table != 0


# What a perfect cheat pays


def _cheaters_bits() -> float:
    n = 32
    text = torch.randint(256, (1, n + 1))
    logits = torch.zeros(1, n, 256)  # the same chance for all
    seen = torch.arange(n - 1)
    logits[0, seen, text[0, seen + 1]] = 1e4  # sure of what stands in the window
    return bits_per_byte(logits, text[:, 1:]).item()


def _past_by_running_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    u, v = x.chunk(2, dim=-1)
    count = torch.arange(1, x.shape[1] + 1)[:, None]
    mean = v.cumsum(1) / count
    variance = (v.square().cumsum(1) / count - mean.square()).clamp(min=0)
    v = (v - mean) / (variance + 1e-5).sqrt()
    return (weight.tril() @ v + bias[:, None]) * u


EXERCISES = (
    Exercise(
        name="mask_weights",
        lesson="02_causal_masking",
        axes="h n n",
        draw=_draw_weight,
        solution=_mask_weights,
        alternatives=(
            lambda weight: weight.masked_fill(_future(weight), 0.0),
            lambda weight: torch.where(_future(weight), torch.zeros_like(weight), weight),
            _compared_indices,
            _row_by_row,
        ),
        misconceptions=(
            Misconception(
                "diagonal hidden",
                lambda weight: weight.tril(-1),
                "Your mask hides the diagonal: token i cannot see itself.",
                "Position i may read j <= i. What is j when it reads itself?",
            ),
            Misconception(
                "one step too far",
                lambda weight: weight.tril(1),
                "Your mask lets every position read one later token, its right neighbour.",
                "Print your mask for n = 4 and count the ones in its first row.",
            ),
            Misconception(
                "upper triangle",
                lambda weight: weight.triu(),
                "Your mask is upside down: a position reads itself and the future, never the past.",
                "Row i is the position that reads. Which columns lie before i?",
            ),
            Misconception(
                "only the future",
                lambda weight: weight.triu(1),
                "You kept what should be hidden: only weights on later tokens are left.",
                "Is your mask True where a weight stays, or True where it goes?",
            ),
            Misconception(
                "transposed",
                lambda weight: weight.mT.tril(),
                "You turned the matrix over as well: entry (i, j) holds what was at (j, i).",
                "The kept weights stay where they are. Only the others become 0.",
            ),
            Misconception(
                "first head only",
                _first_head_only,
                "Only head 0 is masked; the other heads still read the future.",
                "The same mask holds for all heads. Broadcasting applies (n, n) to every one.",
            ),
            Misconception(
                "filled with -inf",
                lambda weight: weight.masked_fill(_future(weight), float("-inf")),
                "You fill with -inf. That belongs before a softmax; here no softmax follows.",
                "The weights multiply tokens as they are. Which weight makes a token count "
                "nothing?",
            ),
            Misconception(
                "filled with a large negative number",
                lambda weight: weight.masked_fill(_future(weight), -1e9),
                "You fill with -1e9. That belongs before a softmax; here no softmax follows.",
                "The weights multiply tokens as they are. Which weight makes a token count "
                "nothing?",
            ),
            Misconception(
                "softmax over rows",
                lambda weight: weight.masked_fill(_future(weight), float("-inf")).softmax(-1),
                "You mask as attention does, with a softmax over each row.",
                "These weights may be negative and need not add up to 1. Mask them and do no more.",
            ),
            Misconception(
                "rows divided by their sum",
                lambda weight: weight.tril() / weight.tril().sum(-1, keepdim=True),
                "The mask is right, but then you divide each row by its sum.",
                "These weights may be negative and need not add up to 1. Mask them and do no more.",
            ),
            Misconception(
                "mask without weights",
                lambda weight: torch.ones_like(weight).tril(),
                "You return the mask itself, ones and zeros, without the weights.",
                "Multiply the weights by the mask.",
            ),
        ),
        hints=(
            "Write the matrix down for n = 3. Row i reads, column j is read: which of the 9 "
            "entries "
            "may stay?",
            "The entries that may stay form a triangle. torch has a function that keeps one.",
            "`weight.tril()` or `weight.triu()`: one of them, with the diagonal kept. Both act on "
            "the "
            "last two axes, so heads need no loop.",
        ),
    ),
    prediction(
        "cheaters_bits",
        "02_causal_masking",
        _cheaters_bits,
        tolerance=0.005,
        because="Of 32 answers 31 stand in the window and cost nothing. The last one is a blind "
        "guess among 256, 8 bits, and 8 / 32 = 0.25: on noise, where honest bits are 8.",
        hints=(
            "The answer to a position is the byte to its right. For how many of the 32 positions "
            "does that byte stand in the window?",
            "Who is sure, and right, pays 0 bits. Who gives each of 256 bytes the same chance pays "
            "as much as blind guessing, which the lesson names in 2.1.",
            "Add up the bits of all 32 positions, then divide by 32.",
        ),
        misconceptions=(
            Misconception(
                "last position forgotten",
                lambda: 0.0,
                "You let the cheat see every answer.",
                "Go along the window to its right end. Where is the answer to the last position?",
            ),
            Misconception(
                "noise cannot be guessed",
                lambda: 8.0,
                "That is the price of one blind guess. This model need not guess everywhere.",
                "At how many of the 32 positions can it see the byte that it is to name?",
            ),
            Misconception(
                "sure and blind swapped",
                lambda: 8 * 31 / 32,
                "You let the cheat guess at 31 positions and see at one.",
                "Is the byte to the right of position 0 in the window? To the right of position 1?",
            ),
            Misconception(
                "mean over 31",
                lambda: 8 / 31,
                "You divide by 31, but all 32 positions count in the mean.",
                "How many answers does a window of 32 positions ask for?",
            ),
            Misconception(
                "a share, not bits",
                lambda: 1 / 32,
                "That is the share of positions that are blind, not what they pay.",
                "How many bits does one blind guess among 256 bytes cost?",
            ),
            Misconception(
                "nats",
                lambda: math.log(256) / 32,
                "You use the natural logarithm, so your answer is in nats.",
                "Bits count doublings: how often must you double 1 to get 256?",
            ),
            Misconception(
                "two blind ends",
                lambda: 2 * 8 / 32,
                "You count two blind positions. Only one of the two ends of the window is blind.",
                "Its answers stand to the right. Which of position 0 and position 31 has a right "
                "neighbour?",
            ),
            Misconception(
                "half of it is seen",
                lambda: 4.0,
                "You let the cheat see half of the answers, as if the future were half of them.",
                "Each position needs one byte only, its right neighbour. How many can see theirs?",
            ),
            Misconception(
                "logarithm of 32",
                lambda: 5.0,
                "That is a guess among 32. The cheat guesses among bytes, and only where it is "
                "blind.",
                "How many positions cannot see their answer, and what does one of them pay?",
            ),
        ),
    ),
    Exercise(
        name="causal_unit",
        lesson="02_causal_masking",
        axes="b n c",
        kind="debug",
        draw=_draw_unit,
        solution=_causal_unit,
        stub=_found_causal_unit,
        positions="x",
        alternatives=(_unit_by_einsum, _unit_row_by_row, _unit(_over(-1, -1)), _unit(_over(2, 2))),
        misconceptions=(
            Misconception(
                "normalised over positions",
                _unit(lambda v: F.layer_norm(v.mT, v.shape[1:2]).mT),
                "Mean and variance are still taken over the positions, the later ones too.",
                "A mean over axis 1 tells every position a little of all. Which axis are the "
                "channels of one position?",
            ),
            Misconception(
                "halves exchanged",
                lambda x, weight, bias: _causal_unit(x.roll(x.shape[-1] // 2, -1), weight, bias),
                "You mix the first half and gate it with the second.",
                "`u, v = x.chunk(2, dim=-1)`: which of them was mixed in the given code?",
            ),
            Misconception(
                "mean mended only",
                _unit(_over(-1, 1)),
                "The mean is mended, but the variance is still taken over the positions.",
                "Two lines of the given code name an axis.",
            ),
            Misconception(
                "variance mended only",
                _unit(_over(1, -1)),
                "The variance is mended, but the mean is still taken over the positions.",
                "Two lines of the given code name an axis.",
            ),
            Misconception(
                "normalised over positions and channels",
                _unit(_over((1, 2), (1, 2))),
                "You normalise over channels and positions together, so each position still "
                "hears all others.",
                "One position at a time: which single axis is left?",
            ),
            Misconception(
                "normalised over the batch",
                _unit(_over(0, 0)),
                "You normalise over axis 0, the batch. No position reads a later one, but now "
                "texts read each other.",
                "LayerNorm looks at the channels of one position of one text.",
            ),
            Misconception(
                "no norm",
                _unit(lambda v: v),
                "The leak is gone, and so is the norm: v is mixed as it came.",
                "Keep a norm, but one that needs a single position only.",
            ),
            Misconception(
                "normalised over the past",
                _unit(_so_far),
                "You normalise each position by itself and those before it. That is causal, but "
                "it is no LayerNorm.",
                "LayerNorm needs no other position, not even an earlier one.",
            ),
            Misconception(
                "mask made stricter",
                _unit(_over(1, 1), lambda weight: weight.tril(-1)),
                "You hid the diagonal of the mask. The mask was right, and the leak is still "
                "there.",
                "Take the lines one by one: in which of them does position 0 meet position 5?",
            ),
            Misconception(
                "norm mended, diagonal hidden",
                _unit(_over(-1, -1), lambda weight: weight.tril(-1)),
                "The norm is mended, but you have hidden the diagonal of the mask as well.",
                "The mask of the given code was right. Put it back.",
            ),
            Misconception(
                "mask gone",
                _unit(_over(-1, -1), lambda weight: weight),
                "The norm is mended, but the mask is gone: the matrix is used as a whole.",
                "The mask of the given code was right. Put it back.",
            ),
            Misconception(
                "norm after mixing",
                _norm_after_mixing,
                "The axis is right, but you normalise what comes out of the mixing.",
                "The norm belongs to v, before the matrix meets it.",
            ),
            Misconception(
                "both halves normalised",
                _norm_of_both_halves,
                "You normalise x before you cut it, so u is normalised with v.",
                "Cut first. Only v is normalised; u stays as it is.",
            ),
            Misconception(
                "mean not subtracted",
                _unit(lambda v: v / (v.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()),
                "You divide by the spread, but the mean is no longer subtracted.",
                "LayerNorm does two things: mean 0, then variance 1.",
            ),
            Misconception(
                "variance by n - 1",
                _unit(_over(-1, -1, correction=1)),
                "The axis is right, but your variance divides by one less than the number of "
                "channels, as `var` and `std` do by default.",
                "What does `correction=0` in the given code stand for?",
            ),
            Misconception(
                "1e-5 lost",
                _unit(
                    lambda v: (v - v.mean(-1, keepdim=True)) / v.std(-1, keepdim=True, correction=0)
                ),
                "The axis is right, but the 1e-5 below the root is gone.",
                "It was no mistake: without it, a position of equal numbers is divided by 0.",
            ),
            Misconception(
                "1e-5 outside the root",
                _unit(
                    lambda v: (
                        (v - v.mean(-1, keepdim=True))
                        / (v.std(-1, keepdim=True, correction=0) + 1e-5)
                    )
                ),
                "The axis is right, but you add the 1e-5 outside the root.",
                "It is added to the variance, before the root is taken.",
            ),
            Misconception(
                "normalised along the past",
                _past_by_running_sums,
                "You normalise every channel along the positions so far. That is causal, but it "
                "is no LayerNorm.",
                "LayerNorm needs no other position, not even an earlier one.",
            ),
        ),
        hints=(
            "The mask is right. Which other line lets one position hear of another?",
            "A mean over an axis mixes all that lies along it. Give the axes of v (b, n, c) their "
            "numbers, and read the code again.",
            "LayerNorm takes mean and variance of the channels of one position: the last axis, in "
            "both lines. All else may stay.",
        ),
    ),
    Exercise(
        name="who_reads_whom",
        lesson="02_causal_masking",
        axes="n n",
        kind="rebuild",
        draw=_draw_reader,
        draws=4,
        solution=_who_reads_whom,
        alternatives=(
            _by_random_direction,
            _by_reset_gradients,
            lambda f, n, d: _by_change(f, n, d, torch.randn(n, d)),
        ),
        # The numbers of the drawn functions are such that each of these finds another table.
        misconceptions=(
            Misconception(
                "transposed",
                lambda f, n, d: _who_reads_whom(f, n, d).T,
                "Your table lies on its side: row j says whom position j reaches.",
                "Row i is the output that reads. If you change one input at a time, what you find "
                "is a column.",
            ),
            Misconception(
                "channels of the output added up",
                _of_each(Tensor.sum, _nonzero),
                "You take the derivative of the sum of an output's channels. If one channel rises "
                "by what another falls, the sum shows nothing.",
                "Ask for each channel by itself, or give each another weight.",
            ),
            Misconception(
                "channels of the input added up",
                lambda f, n, d: _jacobian(f, n, d).sum(3).ne(0).any(1),
                "You add up the derivatives of an input's channels with their signs, and +1 and -1 "
                "make 0.",
                "A length, or a sum of absolute values, cannot cancel.",
            ),
            Misconception(
                "all channels added up",
                lambda f, n, d: _jacobian(f, n, d).sum((1, 3)).ne(0),
                "You add up over the channels of outputs and of inputs, with their signs: in both "
                "sums +1 and -1 make 0.",
                "One derivative that is not 0 is enough. Ask whether there is any.",
            ),
            Misconception(
                "only rising ones",
                lambda f, n, d: _jacobian(f, n, d).gt(0).any(3).any(1),
                "You ask whether a derivative is above 0. One below 0 is reading, too.",
                "What matters is whether it is 0 or not.",
            ),
            Misconception(
                "only what makes the sum rise",
                _of_each(Tensor.sum, lambda derivative: (derivative > 0).any(-1)),
                "You take the derivative of the sum of an output's channels, which may cancel, and "
                "count only what is above 0.",
                "Ask for each channel by itself, and whether its derivative is 0 or not.",
            ),
            Misconception(
                "largest channel only",
                lambda f, n, d: _jacobian(f, n, d)[:, 0].ne(0).any(-1),
                "You follow one channel of each output, the first or the largest. The others may "
                "read more.",
                "The lesson followed the best score only. Here all channels count.",
            ),
            Misconception(
                "first input channel only",
                lambda f, n, d: _jacobian(f, n, d)[..., 0].ne(0).any(1),
                "You look at the first channel of each input only.",
                "An input has d channels, and each of them may be read.",
            ),
            Misconception(
                "gradients add up",
                _gradients_add_up,
                "Your rows grow from one to the next: backward() adds to x.grad, it does not "
                "replace it.",
                "Clear x.grad before each row. `torch.autograd.grad` does not store anything.",
            ),
            Misconception(
                "graph used once",
                _graph_thrown_away,
                "After the first derivative the graph is gone, and the second one fails.",
                "The lesson's `jacobian` asks PyTorch to keep the graph. With which argument?",
            ),
            Misconception(
                "x without gradient",
                _no_gradient_asked,
                "Your x is not marked as something to take derivatives by, so f(x) carries no "
                "graph.",
                "`requires_grad` is what is missing, before f is called.",
            ),
            Misconception(
                "small derivatives overlooked",
                lambda f, n, d: _jacobian(f, n, d).abs().gt(0.1).any(3).any(1),
                "You let small derivatives pass. Who reads only a little reads, too.",
                "What matters is whether it is 0 or not.",
            ),
            Misconception(
                "last channel only",
                lambda f, n, d: _jacobian(f, n, d)[:, -1].ne(0).any(-1),
                "Only the last channel of each output is left in your table: each one overwrites "
                "the one before.",
                "A position reads if *any* channel does. What joins two rows of True and False?",
            ),
            Misconception(
                "asked at zero",
                lambda f, n, d: (
                    torch.autograd.functional.jacobian(f, torch.zeros(n, d)).ne(0).any(3).any(1)
                ),
                "You ask at x = 0. There a gate may be shut, and lets nothing be seen.",
                "u * v does not react to v while u is 0. At which x is no gate shut?",
            ),
            Misconception(
                "changed from zero",
                lambda f, n, d: _by_change(f, n, d, torch.zeros(n, d)),
                "You change one input while all the others are 0. Their gates are shut, and "
                "nothing is seen through them.",
                "u * v does not react to v while u is 0. At which x is no gate shut?",
            ),
            Misconception(
                "table of a causal model",
                lambda f, n, d: torch.ones(n, n, dtype=torch.bool).tril(),
                "You return the lower triangle, whatever f does.",
                "The table is a measurement: it must be made with f.",
            ),
            Misconception(
                "answer upside down",
                lambda f, n, d: ~_who_reads_whom(f, n, d),
                "You say True where nothing is read, and False where something is.",
                "True means: output i depends on input j.",
            ),
        ),
        hints=(
            "Take one number of one output. Which derivatives tell you whom it reads?",
            "The lesson's `jacobian` has the loop. But it follows one number a position, and here "
            "each of the k channels may read somebody else. Take care that nothing cancels.",
            "x = torch.randn(n, d, requires_grad=True). For every i and every channel of f(x)[i]: "
            "torch.autograd.grad, with the graph kept, gives (n, d). Row i is True where any of it "
            "is not 0, for any channel.",
        ),
    ),
    Exercise(
        name="leaks",
        lesson="02_causal_masking",
        axes="",
        kind="extend",
        draw=_draw_model,
        draws=20,
        solution=_leaks,
        alternatives=(_loop_over_rows, _pairs, _all_later_tokens),
        # The first seven models are such that each of these gives another pattern of answers.
        misconceptions=(
            Misconception(
                "more than one call",
                _call_by_call,
                "You call the model more than once. The idea may well be right; one call is "
                "enough.",
                "A batch has many rows, and rows do not see each other. Put one experiment in "
                "each.",
            ),
            Misconception(
                "every move counts",
                lambda model, n, v: bool(_moved(model, n, v).any()),
                "You find a leak in every model, even where a position reads only the past.",
                "When token k changes, outputs k and later may move. Which ones may not?",
            ),
            Misconception(
                "own position counts",
                lambda model, n, v: bool(_moved(model, n, v).tril().any()),
                "You count it as a leak when a position reads its own token; or you compare with a "
                "row in which a token is changed, too.",
                "When token k changes, output k may move; only outputs before k may not, beside a "
                "row in which nothing was changed.",
            ),
            Misconception(
                "looks to the right",
                lambda model, n, v: bool(_moved(model, n, v).triu(1).any()),
                "You look at outputs after the changed token. They may move: that is reading the "
                "past.",
                "A leak runs the other way. Which outputs lie before the changed token?",
            ),
            Misconception(
                "first token changed, later outputs",
                lambda model, n, v: bool(_first_token(model, n, v)[1:].any()),
                "You change the first token and look at the outputs after it. They may move.",
                "Nothing stands before the first token. Change a later one, and look before it.",
            ),
            Misconception(
                "never finds a leak",
                lambda model, n, v: bool(_first_token(model, n, v)[:0].any()),
                "You find no leak in any model, though some of them leak.",
                "Is a token changed that has outputs before it, and do you compare those outputs "
                "with a row in which it was not changed?",
            ),
            Misconception(
                "last token only",
                lambda model, n, v: bool(_moved(model, n, v)[-1, :-1].any()),
                "You find leaks from the last token only. Other tokens can leak as well.",
                "One row changes one token. How many rows does it take to change each once?",
            ),
            Misconception(
                "neighbour only",
                lambda model, n, v: bool(_moved(model, n, v).diagonal(-1).any()),
                "You find a leak only where the output just before the changed token moves.",
                "Look at all outputs before the changed token, also those far from it.",
            ),
            Misconception(
                "small moves overlooked",
                lambda model, n, v: bool(_moved(model, n, v, least=0.1).tril(-1).any()),
                "You let small moves pass. A weak leak is a leak, too.",
                "The same sum gives the same number to the last bit. What does `!=` say?",
            ),
            Misconception(
                "leaks from everywhere only",
                lambda model, n, v: all(_moved(model, n, v)[k, :k].any() for k in range(1, n)),
                "You find a leak only where every token leaks.",
                "One is enough. `all` or `any`?",
            ),
            Misconception(
                "winner only",
                lambda model, n, v: bool(_moved(model, n, v, winner=True).tril(-1).any()),
                "You compare the likeliest tokens. A leak can move logits and leave the winner.",
                "Compare the logits themselves.",
            ),
            Misconception(
                "answer upside down",
                lambda model, n, v: not _leaks(model, n, v),
                "You say True for the models that do not leak, and False for those that do.",
                "True means: it leaks.",
            ),
        ),
        hints=(
            "Change one token and run the model. Which outputs are allowed to move, and which are "
            "not?",
            "A change at k shows only leaks from k, so every k needs its own run. But rows of a "
            "batch are separate runs: let row k change token k, and keep one row unchanged.",
            "Before token 0 stands nothing, so row 0 can be the unchanged one: `logits` is (n, n, "
            "num_tokens). Mark where it differs from row 0 in any of its numbers: an (n, n) table, "
            "row k against output i. A leak has i < k.",
        ),
    ),
)
