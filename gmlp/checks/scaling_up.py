"""Lesson 12: what a right, and each known wrong, answer looks like."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.training import bits_per_byte

LESSON = "12_scaling_up"

# accumulated_gradient


class OutOfMemoryError(RuntimeError):
    """More rows wait for their backward than the model of an exercise has room for."""


class _Small(nn.Module):
    """A model that keeps the activations of at most ``rows`` rows: only a backward frees them."""

    def __init__(self, v: int, d: int, rows: int) -> None:
        super().__init__()
        self.rows, self.waiting = rows, 0
        self.embed = nn.Embedding(v, d)
        self.to_logits = nn.Linear(d, v)

    def __repr__(self) -> str:
        return f"a model with room for {self.rows} rows"

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        if x.requires_grad:
            self.waiting += len(tokens)
            if self.waiting > self.rows:
                raise OutOfMemoryError(
                    f"{self.waiting} rows wait for their backward; there is room for {self.rows}"
                )
            x.register_hook(lambda grad: self._freed(len(tokens)))
        return self.to_logits(x)

    def _freed(self, rows: int) -> None:
        self.waiting -= rows


def _draw_batch(rng: Draw) -> tuple[Any, ...]:
    n, v, d = rng.sizes(3, least=3)
    # Parts of 2, 2, 2; of 3, 3, 3, 2; of 2, 2, 2, 1: two of them with a short last one.
    rows, b = [(2, 6), (3, 11), (2, 7)][rng.number]
    model = rng.refill(_Small(v, d, rows))
    return model, rng.integers(0, v, b, n), rng.integers(0, v, b, n), rows


def _use_gradient(
    answer: Callable[..., Any], model: nn.Module, inputs: Tensor, targets: Tensor, rows: int
) -> Any:
    for p in model.parameters():
        p.grad = torch.ones_like(p)  # of the step before
    return answer(model, inputs, targets, rows)


Parts = Iterable[tuple[Tensor, Tensor]]
Share = Callable[[Tensor], float]


def _row(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _backward(model: nn.Module, parts: Parts, share: Share, forget: bool = False) -> Tensor:
    """All gradients after a backward for each part; ``forget`` empties them in between."""
    for x, y in parts:
        if forget:
            model.zero_grad()
        (share(x) * bits_per_byte(model(x), y)).backward()
    return _row(model)


def _cut(inputs: Tensor, targets: Tensor, rows: int) -> list[tuple[Tensor, Tensor]]:
    return [*zip(inputs.split(rows), targets.split(rows), strict=True)]


def _accumulated_gradient(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    return _backward(model, _cut(inputs, targets, rows), lambda x: len(x) / len(inputs))


def _weighed(share: Callable[[Tensor, int, int, int], float], forget: bool = False) -> Any:
    """A wrong answer whose only fault is a part's share; it is given x, b, rows and parts."""

    def answer(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
        model.zero_grad()
        parts = _cut(inputs, targets, rows)
        return _backward(
            model, parts, lambda x: share(x, len(inputs), rows, len(parts)), forget=forget
        )

    return answer


def _old_kept(share: Callable[[Tensor, int, int], float]) -> Any:
    """As _weighed, but the gradients are never emptied; the share is given x, b and parts."""

    def answer(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
        parts = _cut(inputs, targets, rows)
        return _backward(model, parts, lambda x: share(x, len(inputs), len(parts)))

    return answer


def _only_whole_parts(share: Callable[[int, int], float]) -> Any:
    def answer(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
        model.zero_grad()
        whole = len(inputs) // rows * rows
        parts = _cut(inputs[:whole], targets[:whole], rows)
        return _backward(model, parts, lambda x: share(rows, len(inputs)))

    return answer


def _first_part(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    return _backward(model, [(inputs[:rows], targets[:rows])], lambda x: 1)


def _whole(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    return _backward(model, [(inputs, targets)], lambda x: 1)


def _one_backward(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    total = torch.zeros(())
    for x, y in _cut(inputs, targets, rows):
        total = total + bits_per_byte(model(x), y) * len(x) / len(inputs)
    total.backward()
    return _row(model)


def _chunked(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    parts = zip(inputs.chunk(rows), targets.chunk(rows), strict=True)
    return _backward(model, parts, lambda x: len(x) / len(inputs))


def _counted_again(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    parts = _cut(inputs, targets, rows)
    total = torch.zeros(())
    for part in parts:
        total = total + _backward(model, [part], lambda x: len(x) / len(inputs))
    return total


def _weights(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    _accumulated_gradient(model, inputs, targets, rows)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _in_nats(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    return _accumulated_gradient(model, inputs, targets, rows) * math.log(2)


def _row_by_row(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    model.zero_grad()
    for i in range(len(inputs)):
        loss = F.cross_entropy(model(inputs[i : i + 1])[0], targets[i])
        loss.backward()
    return _row(model) / math.log(2) / len(inputs)


def _autograd(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    weights = [*model.parameters()]
    total = torch.zeros(sum(p.numel() for p in weights))
    for start in range(0, len(inputs), rows):
        x, y = inputs[start : start + rows], targets[start : start + rows]
        found = torch.autograd.grad(bits_per_byte(model(x), y), weights)
        total += len(x) / len(inputs) * torch.cat([grad.flatten() for grad in found])
    return total


def _summed_losses(model: nn.Module, inputs: Tensor, targets: Tensor, rows: int) -> Tensor:
    for p in model.parameters():
        p.grad = None
    start = 0
    while start < len(inputs):
        x, y = inputs[start : start + rows], targets[start : start + rows]
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum")
        (loss / (math.log(2) * inputs.numel())).backward()
        start += rows
    return nn.utils.parameters_to_vector([p.grad for p in model.parameters() if p.grad is not None])


# sum_with_carry


def _draw_values(rng: Draw) -> tuple[Any, ...]:
    """A large number and many small ones; what the sum leaves over is neither 0 nor a tie."""
    step = 4 if rng.number < 2 else 8  # between two neighbours, where the sum will be
    (n,) = rng.sizes(1, least=11)
    small = rng.integers(1, step + 2, 3 * n)
    small[-1] = step - 1  # the last one must matter
    small[0] = 1
    values = torch.cat([torch.tensor([150 * step]), small])
    while int(values.sum()) % step in (0, step // 2):
        values[2] += 1
    return (values.float(),)


def _use_sum(answer: Callable[..., Any], values: Tensor) -> Any:
    return answer(values.detach().bfloat16())


def _zero(values: Tensor) -> Tensor:
    return torch.zeros((), dtype=values.dtype)


def _sum_with_carry(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        wanted = value + rest
        new = total + wanted
        rest = wanted - (new - total)
        total = new
    return total, rest


def _kahan(values: Tensor, sign: int = 1) -> tuple[Tensor, Tensor]:
    """As in the books: what is in excess is kept, and taken off."""
    total, excess = _zero(values), _zero(values)
    for value in values:
        wanted = value - excess
        new = total + wanted
        excess = (new - total) - wanted
        total = new
    return total, -sign * excess


def _two_sum(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = values[0], values[0] - values[0]
    for value in values[1:]:
        wanted = value + rest
        new = total + wanted
        seen = new - total
        rest = (total - (new - seen)) + (wanted - seen)
        total = new
    return total, rest


def _by_float32(values: Tensor) -> tuple[Tensor, Tensor]:
    exact = values.float().sum()
    total = exact.to(values.dtype)
    return total, (exact - total.float()).to(values.dtype)


def _plain_sum(values: Tensor) -> tuple[Tensor, Tensor]:
    total = _zero(values)
    for value in values:
        total = total + value
    return total, _zero(values)


def _wanted_less_new_first(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        wanted = value + rest
        new = total + wanted
        rest = wanted - new + total
        total = new
    return total, rest


def _carry_turned(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        wanted = value + rest
        new = total + wanted
        rest = (new - total) - wanted
        total = new
    return total, rest


def _old_rest_lost(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        new = total + (value + rest)
        rest = value - (new - total)
        total = new
    return total, rest


def _too_late(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        wanted = value + rest
        total = total + wanted
        rest = wanted - (total - total)
    return total, rest


def _collected(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        new = total + value
        rest = rest + (value - (new - total))
        total = new
    return total, rest


def _kept_as_well(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        wanted = value + rest
        new = total + wanted
        rest = rest + (wanted - (new - total))
        total = new
    return total, rest


def _rest_of_the_last(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        new = total + value
        rest = value - (new - total)
        total = new
    return total, rest


# scaled_step


def _draw_step(rng: Draw) -> tuple[Any, ...]:
    (k,) = rng.sizes(1, least=5)
    weight, grad = rng.normal(k), rng.normal(k)
    scale = float(2 ** rng.integer(6, 12))
    rate = rng.integer(20, 80) / 100
    clip = grad.norm().item() * (rng.integer(15, 30) / 10 if rng.number == 0 else 0.2)
    if rng.number == 2:  # nothing is ever clipped, however the scale is used
        scale = float(2 ** rng.integer(2, 5))
        clip *= 10 * scale * scale
    scaled = grad * scale
    if rng.number >= 3:
        scaled[rng.integer(0, k)] = [math.inf, math.nan, -math.inf][rng.number - 3]
    return weight, scaled, scale, rate, clip


def _use_step(
    answer: Callable[..., Any],
    weight: Tensor,
    scaled: Tensor,
    scale: float,
    rate: float,
    clip: float,
) -> Any:
    with torch.no_grad():
        found = answer(weight.detach(), scaled.detach(), scale, rate, clip)
    if isinstance(found, tuple | list):  # a Parameter is as good as its tensor
        return tuple(part.detach() if isinstance(part, Tensor) else part for part in found)
    return found


Step = Callable[[Tensor, Tensor, float, float, float], tuple[Tensor, float]]


def _clipped(grad: Tensor, clip: float) -> Tensor:
    length = grad.norm()
    return grad * clip / length if length > clip else grad


def _scaled_step(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    grad = scaled / scale
    if not grad.isfinite().all():
        return weight, scale / 2
    return weight - rate * _clipped(grad, clip), scale


def _found_scaled_step(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    if not scaled.isfinite().all():
        return weight, scale / 2
    length = scaled.norm()
    if length > clip:
        scaled = scaled * clip / length
    return weight - rate * scaled / scale, scale


def _stepping(
    move: Callable[[Tensor, float, float, float], Tensor],
    bad: Callable[[Tensor], Tensor] = lambda grad: ~grad.isfinite(),
    halve: float = 0.5,
    go_on: bool = False,
) -> Step:
    """A wrong answer: weight less move(scaled, scale, rate, clip), where nothing is bad."""

    def answer(
        weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
    ) -> tuple[Tensor, float]:
        overflow = bool(bad(scaled).any())
        after = scale * halve if overflow else scale
        if overflow and not go_on:
            return weight, after
        return weight - move(scaled, scale, rate, clip), after

    return answer


def _half_scale_and_on(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    if not scaled.isfinite().all():
        scale = scale / 2
    return weight - rate * _clipped(scaled / scale, clip), scale


def _right_move(scaled: Tensor, scale: float, rate: float, clip: float) -> Tensor:
    return rate * _clipped(scaled / scale, clip)


def _nothing(grad: Tensor) -> Tensor:
    return torch.zeros_like(grad, dtype=torch.bool)


def _always_halved(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    return _scaled_step(weight, scaled, scale, rate, clip)[0], scale / 2


def _nothing_after_overflow(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    grad = (scaled / scale).nan_to_num(0.0, 0.0, 0.0)
    after = scale if scaled.isfinite().all() else scale / 2
    return weight - rate * _clipped(grad, clip), after


def _by_optimizer(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    p = nn.Parameter(weight.clone())
    p.grad = scaled / scale
    length = nn.utils.clip_grad_norm_([p], clip)
    if not math.isfinite(length):
        return weight, 0.5 * scale
    torch.optim.SGD([p], lr=rate).step()
    return p, scale


def _clip_scaled_with(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    length = torch.linalg.vector_norm(scaled)
    if torch.isnan(length) or torch.isinf(length):
        return weight, scale / 2
    factor = min(1.0, clip * scale / length.item())
    return torch.add(weight, scaled, alpha=-rate * factor / scale), scale


def _by_where(
    weight: Tensor, scaled: Tensor, scale: float, rate: float, clip: float
) -> tuple[Tensor, float]:
    grad = scaled / scale
    fine = torch.isfinite(grad).all()
    factor = (clip / grad.norm()).clamp(max=1)
    return torch.where(fine, weight - rate * factor * grad, weight), scale if fine else scale / 2


# speed_up

Pieces = list[tuple[float, float]]


def _draw_pieces(rng: Draw) -> tuple[Any, ...]:
    def between(low: float, high: float) -> float:
        return low + (high - low) * rng.integer(0, 101) / 100

    faster, corner = float(rng.integer(3, 9)), between(1.2, 2)
    peak = 1e9 * rng.integer(20, 90)
    bound, free = (0.05, 0.15), (1.5 * faster, 3 * faster)
    meets = (1.3, 0.7 * faster)  # bound by arithmetic, until that is faster: then by memory
    pieces = []
    for limits, weight in ((meets, 3), (bound, 5), (free, 1), (bound, 3), (meets, 2)):
        traffic = round(weight * between(1e9, 2e9), -7)
        pieces.append((round(corner * between(*limits) * traffic, -7), traffic))
    return pieces, peak, round(peak / corner, -8), faster


def _seconds(pieces: Pieces, peak: float, bandwidth: float) -> float:
    return sum(max(flops / peak, traffic / bandwidth) for flops, traffic in pieces)


def _speed_up(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> float:
    after = _seconds(pieces, faster * peak, bandwidth)
    return _seconds(pieces, peak, bandwidth) / after


def _by_rates(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> float:
    total = [0.0, 0.0]
    for flops, traffic in pieces:
        for k, limit in enumerate((peak, peak * faster)):
            total[k] += flops / min(limit, flops / traffic * bandwidth)
    return total[0] / total[1]


def _by_tensors(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> Tensor:
    flops, traffic = torch.tensor(pieces, dtype=torch.float64).T
    before = torch.maximum(flops / peak, traffic / bandwidth).sum()
    after = torch.maximum(flops / (peak * faster), traffic / bandwidth).sum()
    return before / after


def _by_cases(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> float:
    before = after = 0.0
    for flops, traffic in pieces:
        memory = traffic / bandwidth
        before += memory if flops / traffic < peak / bandwidth else flops / peak
        after += memory if flops / traffic < faster * peak / bandwidth else flops / (faster * peak)
    return before / after


def _timed(seconds: Callable[[Pieces, float, float], float]) -> Any:
    """A wrong answer that takes another time for the right one."""

    def answer(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> float:
        return seconds(pieces, peak, bandwidth) / seconds(pieces, faster * peak, bandwidth)

    return answer


def _totals_first(pieces: Pieces, peak: float, bandwidth: float) -> float:
    return max(sum(f for f, _ in pieces) / peak, sum(t for _, t in pieces) / bandwidth)


def _intensity_inverted(pieces: Pieces, peak: float, bandwidth: float) -> float:
    return sum(f / min(peak, t / f * bandwidth) for f, t in pieces)


def _mean_rate(pieces: Pieces, peak: float, bandwidth: float) -> float:
    return len(pieces) / sum(min(peak, f / t * bandwidth) for f, t in pieces)


def _old_roof(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> float:
    after = 0.0
    for f, t in pieces:
        after += f / peak / faster if f / peak > t / bandwidth else t / bandwidth
    return _seconds(pieces, peak, bandwidth) / after


def _mean_of_speed_ups(pieces: Pieces, peak: float, bandwidth: float, faster: float) -> float:
    each = [_speed_up([piece], peak, bandwidth, faster) for piece in pieces]
    return sum(each) / len(each)


# stands_still_at


def _stands_still_at() -> float:
    total = torch.zeros((), dtype=torch.bfloat16)
    while total + 3 != total:
        total = total + 3
    return total.item()


def _signs_mixed(values: Tensor) -> tuple[Tensor, Tensor]:
    total, rest = _zero(values), _zero(values)
    for value in values:
        wanted = value - rest
        new = total + wanted
        rest = wanted - (new - total)
        total = new
    return total, rest


EXERCISES = (
    Exercise(
        name="accumulated_gradient",
        lesson=LESSON,
        axes="weights",
        draw=_draw_batch,
        use=_use_gradient,
        solution=_accumulated_gradient,
        alternatives=(_autograd, _row_by_row, _summed_losses),
        misconceptions=(
            Misconception(
                "not divided",
                _weighed(lambda x, b, rows, parts: 1),
                "You add up the gradients of the parts as they are. Each belongs to a mean of its "
                "own, so their sum is too long.",
                "Two parts of equal size, both with loss 3: what is the loss of the batch?",
            ),
            Misconception(
                "mean of the means",
                _weighed(lambda x, b, rows, parts: 1 / parts),
                "You weigh all parts alike. That is right as long as they are equally large; here "
                "the last one may be shorter.",
                "Parts of 3 rows and of 1: how much should the single row count in the whole?",
            ),
            Misconception(
                "every part weighed as a full one",
                _weighed(lambda x, b, rows, parts: rows / b),
                "You give each part the weight of a full one, also a last one that is shorter.",
                "How many rows does this part really have? Do your weights add up to 1?",
            ),
            Misconception(
                "divided by the full parts only",
                _weighed(lambda x, b, rows, parts: 1 / (b // rows)),
                "You divide by the number of full parts, and there is a shorter one as well.",
                "Do your weights add up to 1? Weigh each part by what it holds.",
            ),
            Misconception(
                "divided by the rows of a part",
                _weighed(lambda x, b, rows, parts: 1 / rows),
                "You divide by the number of rows in a part. Its loss is a mean over them already.",
                "What share of the batch does the part make up?",
            ),
            Misconception(
                "divided by the batch",
                _weighed(lambda x, b, rows, parts: 1 / b),
                "You divide each part by the number of rows in the batch, as if its loss were a "
                "sum. It is a mean.",
                "Add your weights up over all parts. What should come out?",
            ),
            Misconception(
                "rows added up",
                _weighed(lambda x, b, rows, parts: len(x)),
                "You weigh each part by its rows, which makes the sum over the batch, not its "
                "mean.",
                "Of how many rows in all are these len(x)?",
            ),
            Misconception(
                "emptied between the parts",
                _weighed(lambda x, b, rows, parts: len(x) / b, forget=True),
                "You empty the gradients before each part, so only the last one is left.",
                "`backward` adds to `.grad`. When do you want that, and when not?",
            ),
            Misconception(
                "emptied between the parts, divided by their number",
                _weighed(lambda x, b, rows, parts: 1 / parts, forget=True),
                "You empty the gradients before each part, so only the last one is left.",
                "`backward` adds to `.grad`. When do you want that, and when not?",
            ),
            Misconception(
                "the last part alone",
                _weighed(lambda x, b, rows, parts: 1, forget=True),
                "Your answer is the gradient of the last part alone.",
                "`backward` adds to `.grad`. When do you want that, and when not?",
            ),
            Misconception(
                "the first part alone",
                _first_part,
                "Your answer is the gradient of the first part alone.",
                "Does a `return` or a slice end it too early?",
            ),
            Misconception(
                "old gradients kept",
                _old_kept(lambda x, b, parts: len(x) / b),
                "Your answer contains the gradients of the step before, which the model still "
                "held.",
                "`backward` adds to what is there. What should be there before the first part?",
            ),
            Misconception(
                "old gradients kept, and not divided",
                _old_kept(lambda x, b, parts: 1),
                "Two things: the gradients of the step before are still in your answer, and the "
                "parts are added up as they are, though each is a mean of its own.",
                "What should `.grad` hold before the first part? And what share has each part?",
            ),
            Misconception(
                "old gradients kept, mean of the means",
                _old_kept(lambda x, b, parts: 1 / parts),
                "Two things: the gradients of the step before are still in your answer, and all "
                "parts weigh alike, though the last may be shorter.",
                "What should `.grad` hold before the first part? And what share has each part?",
            ),
            Misconception(
                "short part left out",
                _only_whole_parts(lambda rows, b: rows / b),
                "You leave out the rows that do not fill a part.",
                "7 rows in parts of 2: how many parts are there?",
            ),
            Misconception(
                "short part left out, mean of the others",
                _only_whole_parts(lambda rows, b: 1 / (b // rows)),
                "You average over the full parts and leave out the rows that do not fill one.",
                "7 rows in parts of 2: how many parts are there?",
            ),
            Misconception(
                "whole batch at once",
                _whole,
                "You send all rows through at once. So many do not fit into memory.",
                "Cut inputs and targets into parts of `rows` rows first; rows are axis 0.",
            ),
            Misconception(
                "one backward for all",
                _one_backward,
                "You call backward when all parts have been run. Until then the activations of "
                "all of them are kept, so nothing is saved.",
                "When are the activations of a part no longer needed?",
            ),
            Misconception(
                "chunk for split",
                _chunked,
                "You cut the batch into `rows` parts. Asked for are parts of `rows` rows.",
                "`chunk` is told how many parts to make. What is `split` told?",
            ),
            Misconception(
                "running sum counted again",
                _counted_again,
                "You add up `.grad` after each part, but `.grad` holds the parts before it "
                "already, so they count again and again.",
                "Who does the adding: you or `backward`? One is enough.",
            ),
            Misconception(
                "weights for gradients",
                _weights,
                "You return the weights themselves, not their gradients.",
                "Which attribute of a parameter does `backward` fill?",
            ),
            Misconception(
                "in nats",
                _in_nats,
                "Your loss is in nats: everything is ln 2 times too small.",
                "The loss of the course is `bits_per_byte`.",
            ),
        ),
        hints=(
            "Twelve rows in parts of 5, 5 and 2: what share of the mean does each part make up?",
            "`split(rows)` cuts, and its last piece may be short. `backward` adds to `.grad`, so "
            "empty it once, before the first part.",
            "For each part (x, y): `loss = bits_per_byte(model(x), y)`, times the share "
            "`len(x)` has in all rows, then backward. At the end `torch.cat` the flattened "
            "`p.grad`.",
        ),
    ),
    prediction(
        "stands_still_at",
        LESSON,
        _stands_still_at,
        because="At 1024 the neighbours are 8 apart, and 3 is less than half of that, so the sum "
        "is rounded back to where it was. From 512 to 1024 they are 4 apart: there 3 is rounded "
        "up to 4, and the sum grows faster than it should.",
        misconceptions=(
            Misconception(
                "where ones stop",
                lambda: 256,
                "At 256 a sum of ones stands still. From there on numbers are 2 apart, and 3 is "
                "more than that.",
                "256 + 3 = 259. Which numbers that bfloat16 knows are nearest?",
            ),
            Misconception(
                "one step after 256",
                lambda: 258,
                "You let it stop just after 256. There the neighbours are 2 apart: 258 + 3 = 261 "
                "is rounded to 260 or 262, and it goes on.",
                "From where on is 3 too little to reach the middle between two neighbours?",
            ),
            Misconception(
                "neighbours further apart than the step",
                lambda: 512,
                "At 512 the neighbours are 4 apart, further than your step. But 515 lies nearer to "
                "516 than to 512.",
                "Rounding goes to the nearest. How small must a step be to be rounded away?",
            ),
            Misconception(
                "256 additions",
                lambda: 768,
                "You let it stop after 256 additions. What counts is not how many there were, but "
                "how far apart numbers are where the sum stands.",
                "The distance of neighbours doubles at 256, 512, 1024, …",
            ),
            Misconception(
                "multiple of three",
                lambda: 1023,
                "You came near, but bfloat16 does not know this number: from 512 to 1024 it knows "
                "only multiples of 4.",
                "From which number on is half the distance of neighbours more than 3?",
            ),
            Misconception(
                "one doubling too many",
                lambda: 2048,
                "It does not get that far: at 2048 the neighbours are 16 apart, and 3 was "
                "too little before.",
                "A step is lost as soon as it is less than half the distance to the neighbour.",
            ),
            Misconception(
                "never",
                lambda: math.inf,
                "You let it grow for ever. But the distance of neighbours grows as well, and 3 "
                "stays 3.",
                "When does adding 3 no longer reach the next number?",
            ),
            Misconception(
                "largest number",
                lambda: torch.finfo(torch.bfloat16).max,
                "You give the largest number of bfloat16. The sum stands still long before.",
                "When does adding 3 no longer reach the next number?",
            ),
            Misconception(
                "as in float32",
                lambda: 3000,
                "You give the sum itself. In 16 bits additions get lost.",
                "When does adding 3 no longer reach the next number?",
            ),
        ),
        hints=(
            "A sum of ones stands still at 256. How far apart are the numbers there, and how "
            "large is the step, in that measure?",
            "A step is lost when the sum is nearer to where it was than to the next number. The "
            "distance of neighbours doubles at every power of two.",
            "Distances: 2 from 256 on, 4 from 512 on, and so on. Look for the first power of two "
            "where half of the distance is more than 3.",
        ),
    ),
    Exercise(
        name="sum_with_carry",
        lesson=LESSON,
        axes=",",
        kind="extend",
        draw=_draw_values,
        draws=4,
        use=_use_sum,
        parts=("total", "rest"),
        solution=_sum_with_carry,
        alternatives=(_kahan, _two_sum, _by_float32),
        misconceptions=(
            Misconception(
                "nothing carried",
                _plain_sum,
                "Your total is that of a plain sum, and your rest is always 0: what rounding takes "
                "away is lost.",
                "After `new = total + wanted`: by how much did the total really grow? In 16 bits "
                "brackets matter: a + b - c need not be a + (b - c).",
            ),
            Misconception(
                "rest measured against the sum on paper",
                _wanted_less_new_first,
                "You take the new total from what you wanted, and then add the old total. Both are "
                "rounded, so your rest is, too.",
                "new - total is exact. Compute that first, in brackets.",
            ),
            Misconception(
                "rest of zero",
                lambda values: (values.sum(), _zero(values)),
                "Your total is right. What rounding took from it is missing in your rest, which "
                "is 0.",
                "The two parts together should be the exact sum.",
            ),
            Misconception(
                "summed in float32",
                lambda values: (values.float().sum(), torch.zeros(())),
                "You add up in float32 and return that. The total should be in bfloat16, as the "
                "values are, with a rest.",
                "Two numbers of 16 bits can hold what one cannot. Which one is the rest?",
            ),
            Misconception(
                "rest of the wrong sign, and given back so",
                _carry_turned,
                "Your rest has the wrong sign: you take away once more what rounding took already.",
                "You wanted 3 and the total grew by 4. Should the next step be larger or smaller?",
            ),
            Misconception(
                "rest returned with the wrong sign",
                lambda values: _kahan(values, sign=-1),
                "The total is right. Your rest has the opposite sign: it is what the total has too "
                "much.",
                "`total + rest` should be the exact sum.",
            ),
            Misconception(
                "old rest forgotten",
                _old_rest_lost,
                "You add the old rest, but compute the new one from the value alone, so what was "
                "carried along is not counted.",
                "The new rest is what you wanted to add less what arrived. What did you want to "
                "add?",
            ),
            Misconception(
                "total overwritten too early",
                _too_late,
                "You overwrite the total before you measure how much it grew; the growth you see "
                "is 0, and the rest is everything.",
                "You need the old total and the new one at the same time.",
            ),
            Misconception(
                "only collected",
                _collected,
                "You collect what was lost, but never give it back: the total stays a plain sum.",
                "What if the rest went into the next addition?",
            ),
            Misconception(
                "given back, and kept as well",
                _kept_as_well,
                "You add the rest to the next value and keep it as well, so it is given back again "
                "and again.",
                "Once it has been added, the rest starts anew. Do you add to it, or replace it?",
            ),
            Misconception(
                "rest of the last addition",
                _rest_of_the_last,
                "You measure what each addition loses, but never add it to the next one.",
                "What if the rest went into the next addition?",
            ),
            Misconception(
                "the two swapped",
                lambda values: _sum_with_carry(values)[::-1],
                "You return the rest first and the total second.",
                "The order is: total, rest.",
            ),
            Misconception(
                "last value left out",
                lambda values: _sum_with_carry(values[:-1]),
                "You leave out the last value.",
                "Where does your loop end?",
            ),
            Misconception(
                "first value left out",
                lambda values: _sum_with_carry(values[1:]),
                "You leave out the first value.",
                "Where does your loop begin, and with which total?",
            ),
            Misconception(
                "first value twice",
                lambda values: _sum_with_carry(torch.cat([values[:1], values])),
                "You count the first value twice: as the start, and in the loop.",
                "Where does your loop begin, and with which total?",
            ),
            Misconception(
                "signs mixed",
                _signs_mixed,
                "You keep what is still missing, but you take it off the next number.",
                "What is missing must be added. What is in excess would be taken off. Which of "
                "the two is your rest?",
            ),
        ),
        hints=(
            "You add 3 to 512, and bfloat16 makes it 516. How can you find out, from the numbers "
            "you have, that the total grew by 4?",
            "new - total is what arrived. What you wanted to add, less what arrived, is the rest. "
            "It belongs to the next addition.",
            "In the loop: wanted = value + rest; new = total + wanted; rest = wanted less "
            "(new - total); then total = new. Both begin at 0, in bfloat16.",
        ),
    ),
    Exercise(
        name="scaled_step",
        lesson=LESSON,
        axes="k,",
        kind="debug",
        draw=_draw_step,
        draws=6,
        use=_use_step,
        may_change=("weight", "scaled"),
        parts=("weight", "scale"),
        stub=_found_scaled_step,
        solution=_scaled_step,
        alternatives=(_by_optimizer, _clip_scaled_with, _by_where),
        misconceptions=(
            Misconception(
                "clipped before it is divided",
                _stepping(lambda s, scale, rate, clip: rate * _clipped(s, clip) / scale),
                "You still clip the scaled gradient. It is long because it is scaled, so it is cut "
                "to the length `clip`, and then divided by the scale as well.",
                "For which gradient is `clip` meant: the true one or the scaled one?",
            ),
            Misconception(
                "never divided",
                _stepping(lambda s, scale, rate, clip: rate * _clipped(s, clip)),
                "You never divide by the scale; the clipping only hides it: every step has the "
                "full length `clip`.",
                "What must happen to the gradient before anybody looks at its length?",
            ),
            Misconception(
                "neither divided nor clipped",
                _stepping(lambda s, scale, rate, clip: rate * s),
                "You step with the scaled gradient as it is.",
                "What must happen to the gradient before anybody looks at its length?",
            ),
            Misconception(
                "not clipped",
                _stepping(lambda s, scale, rate, clip: rate * s / scale),
                "You divide by the scale, but a long gradient is no longer clipped.",
                "The length of the true gradient may still be more than `clip`.",
            ),
            Misconception(
                "short gradients lengthened",
                _stepping(lambda s, scale, rate, clip: rate * s / s.norm() * clip),
                "You give every gradient the length `clip`, also one that was shorter.",
                "When does clipping leave a gradient alone?",
            ),
            Misconception(
                "each number clipped",
                _stepping(lambda s, scale, rate, clip: rate * (s / scale).clamp(-clip, clip)),
                "You clip each number by itself. That turns the gradient; asked for is its length.",
                "All numbers are to shrink by one factor.",
            ),
            Misconception(
                "divided twice",
                _stepping(
                    lambda s, scale, rate, clip: rate * _clipped(s / scale, clip) / scale,
                ),
                "You divide by the scale before the clipping and once more in the step.",
                "The scale was multiplied on once.",
            ),
            Misconception(
                "multiplied by the scale",
                _stepping(lambda s, scale, rate, clip: rate * _clipped(s * scale, clip)),
                "You multiply by the scale where you should divide.",
                "The loss was multiplied by it. How do you take that back?",
            ),
            Misconception(
                "the step clipped",
                _stepping(lambda s, scale, rate, clip: _clipped(rate * s / scale, clip)),
                "You clip the step, rate included. Clipped is the gradient; the rate comes after.",
                "Divide, clip, then multiply by the rate.",
            ),
            Misconception(
                "uphill",
                _stepping(lambda s, scale, rate, clip: -_right_move(s, scale, rate, clip)),
                "Your step goes along the gradient, uphill.",
                "The loss should fall.",
            ),
            Misconception(
                "overflow not looked for",
                _stepping(_right_move, bad=_nothing),
                "You step also when the gradient overflowed, and weights become NaN.",
                "One bad number must stop the whole step.",
            ),
            Misconception(
                "overflow not looked for, all numbers spoilt",
                _stepping(
                    lambda s, scale, rate, clip: (
                        rate * s / scale * (clip * scale / s.norm()).clamp(max=1)
                    ),
                    bad=_nothing,
                ),
                "You step also when the gradient overflowed, and weights become NaN.",
                "One bad number must stop the whole step.",
            ),
            Misconception(
                "steps all the same, with half the scale",
                _half_scale_and_on,
                "You halve the scale after an overflow, but take the step all the same.",
                "What should the weight be after such a step?",
            ),
            Misconception(
                "compared with a scaled clip",
                _stepping(
                    lambda s, scale, rate, clip: (
                        rate * (s * clip / s.norm() if s.norm() > clip * scale else s) / scale
                    )
                ),
                "You compare with the right length, but then cut the scaled gradient to `clip`, "
                "as if it were the true one.",
                "Divide first. Then nothing that follows needs to know the scale.",
            ),
            Misconception(
                "length true, gradient scaled",
                _stepping(
                    lambda s, scale, rate, clip: (
                        rate * (s * clip * scale / s.norm() if s.norm() > clip * scale else s)
                    )
                ),
                "You look at the true length, but step with the scaled gradient.",
                "Divide the gradient itself, then take its length.",
            ),
            Misconception(
                "length is a sum",
                _stepping(
                    lambda s, scale, rate, clip: (
                        rate * s / scale * (clip * scale / s.abs().sum()).clamp(max=1)
                    )
                ),
                "Your length is the sum of the sizes of all numbers.",
                "The length of (3, 4) is 5.",
            ),
            Misconception(
                "steps all the same",
                _stepping(_right_move, go_on=True),
                "You halve the scale after an overflow, but take the step all the same.",
                "What should the weight be after such a step?",
            ),
            Misconception(
                "scale left as it was",
                _stepping(_right_move, halve=1.0),
                "You leave out the step after an overflow, but keep the scale. The next one will "
                "overflow, too.",
                "A smaller scale reaches less far. By what factor does it change?",
            ),
            Misconception(
                "scale doubled",
                _stepping(_right_move, halve=2.0),
                "You double the scale after an overflow. Then even more overflows.",
                "The numbers were too large. Which way must the scale go?",
            ),
            Misconception(
                "always halved",
                _always_halved,
                "You halve the scale after every step, also after a good one.",
                "What was wrong with the scale if nothing overflowed?",
            ),
            Misconception(
                "NaN overlooked",
                _stepping(_right_move, bad=torch.isinf),
                "You look for infinite numbers only. NaN (which is what infinite less infinite "
                "gives) passes.",
                "`isfinite` is false for both.",
            ),
            Misconception(
                "infinite overlooked",
                _stepping(_right_move, bad=torch.isnan),
                "You look for NaN only. Infinite numbers pass.",
                "`isfinite` is false for both.",
            ),
            Misconception(
                "minus infinity overlooked",
                _stepping(_right_move, bad=lambda s: s.isnan() | (s == math.inf)),
                "You overlook minus infinity.",
                "`isfinite` is false for NaN and for both infinities.",
            ),
            Misconception(
                "bad numbers replaced",
                _nothing_after_overflow,
                "You put 0 where a number overflowed and step with the others.",
                "If one number overflowed, the step is left out as a whole.",
            ),
        ),
        hints=(
            "The true gradient is 0.5, the scale 65,536, clip is 1. Which numbers does the given "
            "code compare with clip?",
            "Three things happen to a gradient: it is divided, it is looked at, it is clipped. In "
            "which order do they make sense?",
            "First grad = scaled / scale. Then everything else, with grad: is it finite, how long "
            "is it, the step. No further division at the end.",
        ),
    ),
    Exercise(
        name="speed_up",
        lesson=LESSON,
        axes="",
        kind="extend",
        draw=_draw_pieces,
        solution=_speed_up,
        alternatives=(_by_rates, _by_tensors, _by_cases),
        misconceptions=(
            Misconception(
                "the faster of the two",
                _timed(lambda pieces, p, b: sum(min(f / p, t / b) for f, t in pieces)),
                "You take the shorter of the two times. Nobody is done before the slower of "
                "arithmetic and memory.",
                "A piece needs 1 s of arithmetic and 10 s of memory, both at once. When is it "
                "done?",
            ),
            Misconception(
                "one after the other",
                _timed(lambda pieces, p, b: sum(f / p + t / b for f, t in pieces)),
                "You add the times of arithmetic and memory within a piece. A roofline lets both "
                "run at once.",
                "A piece needs 1 s of arithmetic and 10 s of memory, both at once. When is it "
                "done?",
            ),
            Misconception(
                "totals first",
                _timed(_totals_first),
                "You add up all FLOPs and all bytes and draw one roof for the total. But the "
                "pieces run one after the other, and each has its own limit.",
                "One piece is only arithmetic, the next only memory. Can they run at once?",
            ),
            Misconception(
                "turned over",
                lambda pieces, p, b, faster: 1 / _speed_up(pieces, p, b, faster),
                "You divide the new time by the old one; asked for is how many times as fast.",
                "Twice as fast is 2, not 1/2.",
            ),
            Misconception(
                "everything faster",
                lambda pieces, p, b, faster: faster,
                "Your answer is `faster` itself, as if memory had become faster, too, or all "
                "pieces were bound by arithmetic, before and after.",
                "Which limit stays where it was?",
            ),
            Misconception(
                "faster memory",
                lambda pieces, p, b, faster: (
                    _seconds(pieces, p, b) / _seconds(pieces, p, faster * b)
                ),
                "You make memory faster, not arithmetic.",
                "Which of the two limits is `peak`?",
            ),
            Misconception(
                "slower arithmetic",
                lambda pieces, p, b, faster: (
                    _seconds(pieces, p, b) / _seconds(pieces, p / faster, b)
                ),
                "You divide the peak by `faster`: then the arithmetic becomes slower.",
                "FLOPs a second: does a faster processor do more of them, or fewer?",
            ),
            Misconception(
                "old roof",
                _old_roof,
                "A piece that was bound by arithmetic is `faster` times as fast in your count, "
                "whatever its bytes. On its way it may meet the limit of memory.",
                "Look at each piece under the new roof, too.",
            ),
            Misconception(
                "mean of the speed-ups",
                _mean_of_speed_ups,
                "You average how much faster each piece gets. A piece that takes long counts for "
                "more.",
                "Add up times, and divide at the end.",
            ),
            Misconception(
                "mean of the rates",
                _timed(_mean_rate),
                "You average FLOPs a second over the pieces. Slow pieces take longer, so they "
                "count for more.",
                "Add up times: each piece's FLOPs by its own rate.",
            ),
            Misconception(
                "intensity turned over",
                _timed(_intensity_inverted),
                "Your intensity is bytes for each FLOP. It is FLOPs for each byte.",
                "FLOPs/byte times bytes/second gives FLOPs/second.",
            ),
            Misconception(
                "FLOPs and bytes swapped",
                lambda pieces, p, b, faster: _speed_up([(t, f) for f, t in pieces], p, b, faster),
                "You take FLOPs for bytes and bytes for FLOPs.",
                "In which order does a piece hold the two?",
            ),
            Misconception(
                "last piece only",
                lambda pieces, p, b, faster: _speed_up(pieces[-1:], p, b, faster),
                "Your answer is about the last piece alone.",
                "Times have to be added up over the loop.",
            ),
            Misconception(
                "first piece only",
                lambda pieces, p, b, faster: _speed_up(pieces[:1], p, b, faster),
                "Your answer is about the first piece alone.",
                "Does a `return` stand inside your loop?",
            ),
            Misconception(
                "seconds saved",
                lambda pieces, p, b, faster: (
                    _seconds(pieces, p, b) - _seconds(pieces, faster * p, b)
                ),
                "You return the seconds that are saved. Asked for is how many times as fast.",
                "A ratio of two times.",
            ),
            Misconception(
                "new time",
                lambda pieces, p, b, faster: _seconds(pieces, faster * p, b),
                "You return the new time in seconds. Asked for is how many times as fast.",
                "A ratio of two times.",
            ),
        ),
        hints=(
            "A piece needs 3 s of arithmetic and 2 s of memory, at the same time. How long does it "
            "take, and how long with arithmetic ten times as fast?",
            "Write a small function for the time of all pieces, given the peak and the bandwidth, "
            "and call it twice.",
            "Time: the sum of max(flops / peak, bytes / bandwidth) over the pieces. The answer is "
            "the old time divided by the time with faster * peak.",
        ),
    ),
)
