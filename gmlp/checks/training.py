"""Lesson 04: what a right, and each known wrong, answer looks like."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.training import bits_per_byte, learning_rate


def _draw_logits(rng: Draw) -> tuple[Any, ...]:
    b, n, v = rng.sizes(3, least=3)
    return 2 * rng.normal(b, n, v), rng.integers(0, v, b, n)


def _picked(logits: Tensor, targets: Tensor) -> Tensor:
    """The log probability of each target, (b, n), in nats."""
    return logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def _by_logsumexp(logits: Tensor, targets: Tensor) -> Tensor:
    hit = F.one_hot(targets, logits.shape[-1])
    return (logits.logsumexp(-1) - (hit * logits).sum(-1)).mean() / math.log(2)


def _by_loop(logits: Tensor, targets: Tensor) -> Tensor:
    total = torch.zeros(())
    for row, wanted in zip(logits, targets, strict=True):
        for scores, byte in zip(row, wanted, strict=True):
            total = total - torch.log2(scores.softmax(0)[byte])
    return total / targets.numel()


def _draw_schedule(rng: Draw) -> tuple[Any, ...]:
    warmup, rest = rng.integer(4, 9), rng.integer(16, 40)
    steps = warmup + rest
    step = (
        0,
        warmup - 1,
        warmup,
        warmup + rest // 4,
        warmup + 3 * rest // 4,
        steps - 1,
        rng.integer(1, warmup - 1),
    )[rng.number]
    peak = rng.integer(2, 10) / 1000
    floor = (0.05, 0.2, 0.25, 0.3)[rng.integer(0, 4)]  # not the default, which is easily forgotten
    return step, steps, peak, warmup, floor


Schedule = Callable[[int, int, float, int, float], float]


def _warmed(falling: Schedule) -> Schedule:
    """A schedule with the right warm-up, and ``falling`` after it."""

    def rate(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
        if step < warmup:
            return peak * (step + 1) / warmup
        return falling(step, steps, peak, warmup, floor)

    return rate


def _falls(
    curve: Callable[[float], float] = lambda done: (1 + math.cos(math.pi * done)) / 2,
    done: Callable[[int, int, int], float] = lambda step, steps, warmup: (
        (step - warmup) / (steps - 1 - warmup)
    ),
) -> Schedule:
    """A schedule that falls along ``curve``, from 1 to 0, over ``done``, from 0 to 1."""

    def rate(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
        return peak * (floor + (1 - floor) * curve(done(step, steps, warmup)))

    return _warmed(rate)


def _rises(share: Callable[[int, int], float]) -> Schedule:
    """A schedule with another warm-up, and the right fall after it."""

    def rate(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
        if step < warmup:
            return peak * share(step, warmup)
        return learning_rate(step, steps, peak, warmup, floor)

    return rate


def _share_of_cosine(step: int, steps: int, warmup: int) -> float:
    return (1 + math.cos(math.pi * (step - warmup) / (steps - 1 - warmup))) / 2


def _one_step_longer(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
    if step <= warmup:
        return peak * (step + 1) / warmup
    return learning_rate(step, steps, peak, warmup, floor)


def _no_warmup(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
    done = step / (steps - 1)
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)


def _all_rates(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
    up = [peak * (i + 1) / warmup for i in range(warmup)]
    last = floor * peak
    angles = torch.linspace(0, math.pi, steps - warmup, dtype=torch.float64)
    down = last + (peak - last) * 0.5 * (1 + angles.cos())
    return (up + down.tolist())[step]


def _by_half_angle(step: int, steps: int, peak: float, warmup: int, floor: float) -> float:
    if step + 1 <= warmup:
        return peak / warmup * (step + 1)
    left = (steps - 1 - step) / (steps - 1 - warmup)
    return peak * (1 - (1 - floor) * math.cos(math.pi / 2 * left) ** 2)


def _in_tensors(step: int, steps: int, peak: float, warmup: int, floor: float) -> Any:
    angle = torch.tensor(math.pi) * (step - warmup) / (steps - warmup - 1)
    fall = floor * peak + (peak - floor * peak) * (1 + torch.cos(angle)) / 2
    return torch.where(torch.tensor(step < warmup), peak * (step + 1) / warmup, fall)


def _draw_training(rng: Draw) -> tuple[Any, ...]:
    b, n, v = rng.sizes(3)
    model = rng.refill(nn.Embedding(v, v))
    batches = [(rng.integers(0, v, b, n), rng.integers(0, v, b, n)) for _ in range(4)]
    rate = rng.integer(5, 15) / 10

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        if rng.number == 2:
            return torch.optim.AdamW(parameters, lr=rate)
        return torch.optim.SGD(parameters, lr=rate)

    optimizer.__name__ = f"{'AdamW' if rng.number == 2 else 'SGD'}(lr={rate})"
    return model, optimizer, batches


Batches = Sequence[tuple[Tensor, Tensor]]
Optimizer = torch.optim.Optimizer


def _trained(
    answer: Callable[..., Any],
    model: nn.Module,
    optimizer: Callable[..., Optimizer],  # makes it: it must hold the weights of this model
    batches: Batches,
) -> Any:
    losses = answer(model, optimizer(model.parameters()), batches)
    if losses is None:
        return None
    if isinstance(losses, Tensor) and losses.ndim == 1:
        losses = [*losses]
    if isinstance(losses, list | tuple):
        losses = [loss.detach() if isinstance(loss, Tensor) else loss for loss in losses]
    return losses, next(model.parameters()).detach().clone()


def _bits(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()) / math.log(2)


def _train_steps(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _found_train_steps(model, optimizer, batches):  # type: ignore[no-untyped-def]
    """The code that the learner is given; its bytecode must equal the notebook's."""
    losses = []
    optimizer.zero_grad()
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _zeroed_behind(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[Tensor]:
    losses = []
    for batch in batches:
        loss = _bits(model, *batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    return losses


def _set_to_none(model: nn.Module, optimizer: Optimizer, batches: Batches) -> Tensor:
    losses = torch.zeros(len(batches))
    for k, batch in enumerate(batches):
        for parameter in model.parameters():
            parameter.grad = None
        loss = _bits(model, *batch)
        loss.backward()
        optimizer.step()
        losses[k] = loss.detach()
    return losses


def _by_autograd(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for batch in batches:
        loss = _bits(model, *batch)
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, [*model.parameters()]), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
        losses.append(loss.item())
    return losses


def _add_up(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for batch in batches:
        losses.append(_bits(model, *batch))
        losses[-1].backward()
        optimizer.step()
    return [loss.item() for loss in losses]


def _thrown_away(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    return [_bits(model, *batch).item() for batch in batches]


def _a_step_late(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for batch in batches:
        loss = _bits(model, *batch)
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
    return losses


def _one_step_in_all(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = [_bits(model, *batch) for batch in batches]
    torch.stack(losses).sum().backward()
    optimizer.step()
    return [loss.item() for loss in losses]


def _last_gradient_only(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = [_bits(model, *batch) for batch in batches]
    losses[-1].backward()
    optimizer.step()
    return [loss.item() for loss in losses]


def _loss_after_the_step(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for batch in batches:
        _train_steps(model, optimizer, [batch])
        losses.append(_bits(model, *batch).item())
    return losses


def _in_nats(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for inputs, targets in batches:
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _backward_of_a_number(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    losses = []
    for batch in batches:
        loss: Any = _bits(model, *batch).item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    return losses


def _backward_of_the_total(model: nn.Module, optimizer: Optimizer, batches: Batches) -> list[float]:
    total, losses = torch.zeros(()), []
    for batch in batches:
        loss = _bits(model, *batch)
        total = total + loss
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _draw_gradients(rng: Draw) -> tuple[Any, ...]:
    a, b, c = rng.sizes(3)
    # No tensor is always the longest. Two wholes are shorter than the limit: the square of one is,
    # too, that of the other one is not.
    wanted = (
        (2.0, 5.0, 3.0),
        (0.3, 0.2, 0.4),
        (3.0, 2.0, 2.5),
        (4.0, 6.0, 3.0),
        (2.0, 3.0, 4.0),
    )[rng.number]
    gradients = [
        length * (1 + rng.integer(0, 10) / 50) * raw / raw.norm()
        for length, raw in zip(
            wanted, (rng.normal(a, b), rng.normal(c), rng.normal(b, c)), strict=True
        )
    ]
    whole = _length(gradients)
    longest = max(_length([gradient]) for gradient in gradients)
    mean_square = whole / math.sqrt(a * b + c + b * c)
    limit = (
        mean_square / 2,  # below the size of a single value
        1.2 * whole,
        (longest + whole) / 2,  # each tensor is shorter, all of them are longer
        whole / 2,
        1.2 * whole,
    )[rng.number]
    return gradients, round(limit, 4)


def _without_graph(answer: Callable[..., Any], gradients: list[Tensor], limit: float) -> Any:
    return answer([gradient.detach() for gradient in gradients], limit)


def _length(gradients: Sequence[Tensor]) -> float:
    """Of all gradients, taken as one long vector."""
    return torch.cat([gradient.flatten() for gradient in gradients]).norm().item()


def _clip_gradients(gradients: list[Tensor], limit: float) -> list[Tensor]:
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    share = (limit / length).clamp(max=1)
    return [gradient * share for gradient in gradients]


def _scaled(share: Callable[[Sequence[Tensor], float], float]) -> Callable[..., list[Tensor]]:
    def clipped(gradients: list[Tensor], limit: float) -> list[Tensor]:
        factor = share(gradients, limit)
        return [gradient * factor for gradient in gradients]

    return clipped


def _if_longer(
    length: Callable[[Sequence[Tensor]], float],
) -> Callable[[Sequence[Tensor], float], float]:
    """The share that is kept, with another measure for the length."""
    return lambda gradients, limit: min(1.0, limit / length(gradients))


def _in_squares(gradients: list[Tensor], limit: float) -> tuple[Tensor, ...]:
    squares = sum(gradient.square().sum() for gradient in gradients)
    length = torch.as_tensor(squares).sqrt()
    if length <= limit:
        return tuple(gradients)
    return tuple(gradient / length * limit for gradient in gradients)


def _by_torch(gradients: list[Tensor], limit: float) -> list[Tensor]:
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(parameters, limit)
    return [torch.as_tensor(parameter.grad) for parameter in parameters]


def _norm_of_norms(gradients: list[Tensor], limit: float) -> list[Tensor]:
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return [torch.where(norm > limit, gradient * limit / norm, gradient) for gradient in gradients]


def _adamw_step_ratio() -> float:
    small, large = (nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2))
    optimizer = torch.optim.AdamW([small, large], lr=0.01)
    small.grad, large.grad = torch.full_like(small, 0.02), torch.full_like(large, 20.0)
    optimizer.step()
    return large.item() / small.item()


EXERCISES = (
    Exercise(
        name="bits_per_byte",
        lesson="04_training",
        axes="",
        draw=_draw_logits,
        solution=bits_per_byte,
        alternatives=(
            lambda logits, targets: -_picked(logits, targets).mean() / math.log(2),
            lambda logits, targets: F.cross_entropy(logits.mT, targets) * math.log2(math.e),
            _by_logsumexp,
            _by_loop,
        ),
        misconceptions=(
            Misconception(
                "nats",
                lambda logits, targets: bits_per_byte(logits, targets) * math.log(2),
                "Your answer is in nats: PyTorch takes the natural logarithm.",
                "How many nats is one bit? A fair coin toss is -log(1/2) of them.",
            ),
            Misconception(
                "multiplied by ln 2",
                lambda logits, targets: bits_per_byte(logits, targets) * math.log(2) ** 2,
                "You multiply by ln 2 where you should divide.",
                "A bit is smaller than a nat. Does the number of bits come out larger or smaller?",
            ),
            Misconception(
                "sum",
                lambda logits, targets: bits_per_byte(logits, targets) * targets.numel(),
                "You add the bits of all bytes up. Asked for is the mean of one byte.",
                "The answer should not grow with the batch.",
            ),
            Misconception(
                "mean over the batch only",
                lambda logits, targets: bits_per_byte(logits, targets) * targets.shape[1],
                "You average over the batch, but add up along the positions.",
                "A batch holds b times n bytes. By how many do you divide?",
            ),
            Misconception(
                "mean over the positions only",
                lambda logits, targets: bits_per_byte(logits, targets) * targets.shape[0],
                "You average along the positions, but add up over the batch.",
                "A batch holds b times n bytes. By how many do you divide?",
            ),
            Misconception(
                "divided by the vocabulary too",
                lambda logits, targets: bits_per_byte(logits, targets) / logits.shape[-1],
                "Your mean runs over the v scores as well. Only one of them belongs to the target.",
                "A batch holds b times n bytes. By how many do you divide?",
            ),
            Misconception(
                "softmax before cross entropy",
                lambda logits, targets: bits_per_byte(logits.softmax(-1), targets),
                "You give probabilities to cross entropy, which applies its own softmax to them.",
                "F.cross_entropy wants the logits as they are.",
            ),
            Misconception(
                "shifted once more",
                lambda logits, targets: bits_per_byte(logits[:, :-1], targets[:, 1:]),
                "You shift the targets by one. They already are the next bytes.",
                "logits[b, i] is to be held against targets[b, i].",
            ),
            Misconception(
                "reshaped to (b, v, n)",
                lambda logits, targets: bits_per_byte(
                    logits.reshape(logits.shape[0], logits.shape[2], -1).mT, targets
                ),
                "Your reshape to (b, v, n) renumbers the scores; it does not move an axis.",
                "`transpose` swaps two axes. Or flatten b and n into one.",
            ),
            Misconception(
                "axes of cross entropy",
                lambda logits, targets: F.cross_entropy(logits, targets) / math.log(2),
                "F.cross_entropy looks for the scores on axis 1, and there it finds the positions.",
                "Flatten b and n into one axis, or bring v to axis 1.",
            ),
            Misconception(
                "log of the mean probability",
                lambda logits, targets: -_picked(logits, targets).exp().mean().log2(),
                "You average the probabilities and take the logarithm of that.",
                "Each byte costs its own bits. Take the logarithm first, then the mean.",
            ),
            Misconception(
                "no mean",
                lambda logits, targets: -_picked(logits, targets) / math.log(2),
                "You return the bits of every byte. Asked for is their mean, one number.",
                "`reduction` or `.mean()`.",
            ),
            Misconception(
                "sign",
                lambda logits, targets: _picked(logits, targets).mean() / math.log(2),
                "Your sign is wrong: this is the mean log probability, which is below 0.",
                "A loss counts how surprised the model was. It is never negative.",
            ),
            Misconception(
                "perplexity",
                lambda logits, targets: 2 ** bits_per_byte(logits, targets),
                "You return the perplexity, 2 to the power of the bits.",
                "Leave the bits as they are.",
            ),
        ),
        hints=(
            "A model that gives the right byte probability 1/4, each time: how many bits does a "
            "byte "
            "cost, and what would F.cross_entropy say?",
            "F.cross_entropy does the softmax, the logarithm and the mean, in nats. It wants "
            "(items, v) "
            "and (items,). One division is left.",
            "Flatten b and n of both into one axis, call F.cross_entropy, divide by math.log(2).",
        ),
    ),
    Exercise(
        name="learning_rate",
        lesson="04_training",
        axes="",
        draw=_draw_schedule,
        draws=7,
        tolerance=1e-5,
        solution=learning_rate,
        alternatives=(_all_rates, _by_half_angle, _in_tensors),
        misconceptions=(
            Misconception(
                "warm-up from zero",
                _rises(lambda step, warmup: step / warmup),
                "Your warm-up starts at 0, so the first batch teaches nothing.",
                "Step 0 is the first of `warmup` steps. Which share of the peak should it have?",
            ),
            Misconception(
                "both ends a step late",
                lambda step, steps, peak, warmup, floor: (
                    peak * step / warmup
                    if step < warmup
                    else learning_rate(step, steps + 1, peak, warmup, floor)
                ),
                "Your warm-up starts at 0, and your cosine would end one step after the last one.",
                "Put in `step = 0`, and then `step = steps - 1`. What should come out?",
            ),
            Misconception(
                "warm-up from zero to the peak",
                _rises(lambda step, warmup: step / (warmup - 1)),
                "Your warm-up reaches the peak in time, but it starts at 0.",
                "Step 0 should have `peak / warmup` already.",
            ),
            Misconception(
                "warm-up stops short",
                _rises(lambda step, warmup: (step + 1) / (warmup + 1)),
                "Your warm-up divides by one too many, so step `warmup - 1` is not at the peak.",
                "Put `step = warmup - 1` in. What should come out?",
            ),
            Misconception(
                "warm-up from the floor",
                lambda step, steps, peak, warmup, floor: (
                    peak * (floor + (1 - floor) * (step + 1) / warmup)
                    if step < warmup
                    else learning_rate(step, steps, peak, warmup, floor)
                ),
                "Your warm-up starts above the floor. The floor belongs to the way down only.",
                "The line of the warm-up would meet 0 one step before step 0.",
            ),
            Misconception(
                "warm-up a step too long",
                _one_step_longer,
                "Your warm-up has one step too many: step `warmup` goes above the peak.",
                "Count the steps from 0 that the warm-up has. Which is the last?",
            ),
            Misconception(
                "no warm-up",
                _no_warmup,
                "You have no warm-up: the rate begins at its peak and falls from step 0 on.",
                "The first `warmup` steps need a branch of their own.",
            ),
            Misconception(
                "cosine over all steps",
                _falls(done=lambda step, steps, warmup: step / (steps - 1)),
                "Your cosine counts from step 0, so at the end of the warm-up the rate jumps down.",
                "At step `warmup` nothing of the way down is behind us yet.",
            ),
            Misconception(
                "cosine over all steps, and one more",
                _falls(done=lambda step, steps, warmup: step / steps),
                "Your cosine counts from step 0, so at the end of the warm-up the rate jumps down; "
                "and it would end one step after the last one.",
                "At step `warmup` nothing of the way down is behind us yet, and at the last step "
                "all of it.",
            ),
            Misconception(
                "never at the end of the cosine",
                _falls(done=lambda step, steps, warmup: (step - warmup) / (steps - warmup)),
                "Your cosine would end one step after the last one.",
                "Put `step = steps - 1`, the last one, in. Is all of the way behind us?",
            ),
            Misconception(
                "cosine a step early",
                _falls(done=lambda step, steps, warmup: (step - warmup + 1) / (steps - warmup)),
                "Your cosine is one step down already at step `warmup`.",
                "Put `step = warmup` in. How much of the way down is behind us?",
            ),
            Misconception(
                "cosine over a number of steps that is too large",
                _falls(done=lambda step, steps, warmup: (step - warmup) / (steps - 1)),
                "You count from the end of the warm-up, but divide by all steps.",
                "How many steps are there from step `warmup` to the last one?",
            ),
            Misconception(
                "ends at zero",
                _warmed(
                    lambda step, steps, peak, warmup, floor: (
                        peak * _share_of_cosine(step, steps, warmup)
                    )
                ),
                "Your rate falls to 0, and the floor has no effect.",
                "At the end `floor * peak` should be left. How far is it from there to the peak?",
            ),
            Misconception(
                "floor on top",
                _warmed(
                    lambda step, steps, peak, warmup, floor: (
                        peak * (floor + _share_of_cosine(step, steps, warmup))
                    )
                ),
                "You add the floor to a whole cosine, so the way down starts above the peak.",
                "The cosine runs from the peak to the floor. How far is that?",
            ),
            Misconception(
                "floor as a rate",
                _warmed(
                    lambda step, steps, peak, warmup, floor: (
                        floor + (peak - floor) * _share_of_cosine(step, steps, warmup)
                    )
                ),
                "You take `floor` for a rate. It is a share of the peak.",
                "With peak 0.004 and floor 0.1, which rate should the last step have?",
            ),
            Misconception(
                "floor cuts off",
                _warmed(
                    lambda step, steps, peak, warmup, floor: (
                        peak * max(floor, _share_of_cosine(step, steps, warmup))
                    )
                ),
                "Your cosine runs down to 0 and is cut off at the floor.",
                "Only the last step should touch the floor: stretch the cosine, do not cut it.",
            ),
            Misconception(
                "floor forgotten to be given",
                _warmed(
                    lambda step, steps, peak, warmup, floor: learning_rate(
                        step, steps, peak, warmup
                    )
                ),
                "You take 0.1 for the floor, whatever the argument `floor` says.",
                "0.1 is only the default.",
            ),
            Misconception(
                "not halved",
                _falls(lambda done: 1 + math.cos(math.pi * done)),
                "Your way down starts at nearly twice the peak.",
                "1 + cos runs from 2 to 0. From where to where should it run?",
            ),
            Misconception(
                "cosine alone",
                _falls(lambda done: math.cos(math.pi * done)),
                "Your cosine runs from 1 to -1, so the rate becomes negative.",
                "Shift and shrink it, so that it runs from 1 to 0.",
            ),
            Misconception(
                "a quarter of a period",
                _falls(lambda done: math.cos(math.pi / 2 * done)),
                "You use the first quarter of a cosine: it arrives at the floor at full speed.",
                "Half a cosine is level at both ends. Up to which angle does it go?",
            ),
            Misconception(
                "a whole period",
                _falls(lambda done: (1 + math.cos(2 * math.pi * done)) / 2),
                "Your cosine goes down and comes up again: that is a whole period.",
                "Up to which angle does half a period go?",
            ),
            Misconception(
                "pi forgotten",
                _falls(lambda done: (1 + math.cos(done)) / 2),
                "Your angle only goes up to 1, so the rate hardly falls.",
                "math.cos wants an angle in radians. Up to which angle does half a period go?",
            ),
            Misconception(
                "degrees",
                _falls(lambda done: (1 + math.cos(180 * done)) / 2),
                "You give math.cos degrees. It takes them for radians.",
                "How many radians are 180 degrees?",
            ),
            Misconception(
                "sine",
                _falls(lambda done: (1 + math.sin(math.pi * done)) / 2),
                "You use a sine: it goes up and comes back.",
                "Which of the two is 1 at the angle 0, and -1 at the end of half a period?",
            ),
            Misconception(
                "upside down",
                _falls(lambda done: (1 - math.cos(math.pi * done)) / 2),
                "Your rate rises along the cosine. It begins at the floor and ends at the peak.",
                "Put done = 0 in. What should come out?",
            ),
            Misconception(
                "a straight line down",
                _falls(lambda done: 1 - done),
                "You come down in a straight line.",
                "The line is for the warm-up. Down it goes along half a cosine.",
            ),
            Misconception(
                "stays at the peak",
                _warmed(lambda step, steps, peak, warmup, floor: peak),
                "You warm up and then stay at the peak.",
                "After the warm-up the rate comes down.",
            ),
            Misconception(
                "share of the peak",
                lambda step, steps, peak, warmup, floor: learning_rate(
                    step, steps, 1.0, warmup, floor
                ),
                "You return the share of the peak, not the rate.",
                "One factor is missing.",
            ),
        ),
        hints=(
            "Which rates do you know already: at step 0, `warmup - 1`, `warmup` and `steps - 1`?",
            "Two branches. For the second, find `done`, which is 0 at step `warmup` and 1 at the "
            "last step, and a cosine of it that runs from 1 to 0.",
            "First: the peak times the share of the warm-up that is done when this step is over. "
            "Then: floor + (1 - floor) * half of (1 + cos(pi * done)), times the peak.",
        ),
    ),
    Exercise(
        name="train_steps",
        lesson="04_training",
        axes=", v v",
        parts=("the losses", "the weights"),
        draw=_draw_training,
        kind="debug",
        use=_trained,
        may_change=("model",),
        tolerance=1e-4,
        solution=_train_steps,
        stub=_found_train_steps,
        alternatives=(_zeroed_behind, _set_to_none, _by_autograd),
        misconceptions=(
            Misconception(
                "gradients add up",
                _add_up,
                "Your gradients still add up: a step follows the sum of all gradients so far.",
                "backward adds to what is there. What should be there when it is called?",
            ),
            Misconception(
                "gradients thrown away",
                _thrown_away,
                "Your weights never move: when the optimizer makes its step, there is no gradient.",
                "Follow one round. Who fills the gradients, who uses them, who empties them?",
            ),
            Misconception(
                "a step late",
                _a_step_late,
                "Your step comes before backward, so it follows the gradient of the batch before.",
                "Which of the two needs what the other one makes?",
            ),
            Misconception(
                "one step for all batches",
                _one_step_in_all,
                "You make a single step, with the gradients of all batches.",
                "How many steps should be made with four batches? Look at the indentation.",
            ),
            Misconception(
                "one step, with the last batch",
                _last_gradient_only,
                "You make a single step, with the gradient of the last batch.",
                "How many steps should be made with four batches? Look at the indentation.",
            ),
            Misconception(
                "loss after the step",
                _loss_after_the_step,
                "You note the loss after the step, when the model has seen the batch already.",
                "The loss from which the gradient comes is the one to be noted.",
            ),
            Misconception(
                "nats",
                _in_nats,
                "Your loss is in nats, so the losses are too small, and so are the steps.",
                "Only one line of the loop was out of place. What has become of the division?",
            ),
            Misconception(
                "first batch only",
                lambda model, optimizer, batches: _train_steps(
                    model, optimizer, [batches[0]] * len(batches)
                ),
                "Every one of your steps uses the first batch.",
                "By heart was the first test. Here each step has a batch of its own.",
            ),
            Misconception(
                "returns in the first round",
                lambda model, optimizer, batches: _train_steps(model, optimizer, batches[:1]),
                "You return within the loop, after the first batch.",
                "Look at the indentation of your `return`.",
            ),
            Misconception(
                "last loss",
                lambda model, optimizer, batches: _train_steps(model, optimizer, batches)[-1],
                "You return the last loss alone. Asked for is a list, with the loss of each batch.",
                "Collect the losses on the way.",
            ),
            Misconception(
                "mean loss",
                lambda model, optimizer, batches: (
                    sum(_train_steps(model, optimizer, batches)) / len(batches)
                ),
                "You return the mean. Asked for is a list, with the loss of each batch.",
                "Collect the losses on the way.",
            ),
            Misconception(
                "backward of a number",
                _backward_of_a_number,
                "You call backward on a number. `.item()` has cut it off from the model.",
                "backward needs the tensor. Which line needs the number?",
            ),
            Misconception(
                "backward of the total",
                _backward_of_the_total,
                "You add the losses up and go backward through all of them in each round; but what "
                "the first backward needs is gone after it.",
                "Which loss belongs to this round?",
            ),
        ),
        hints=(
            "What is in `parameter.grad` after the first `backward()`, and what after the second?",
            "`backward()` adds to the gradients that are there. Something has to take the old ones "
            "away in each round; before the loop it does so only once.",
            "One line moves. It may stand anywhere in the loop, but not between backward and step.",
        ),
    ),
    Exercise(
        name="clip_gradients",
        lesson="04_training",
        axes="",
        draw=_draw_gradients,
        draws=5,
        kind="extend",
        use=_without_graph,
        solution=_clip_gradients,
        alternatives=(_in_squares, _by_torch, _norm_of_norms, _scaled(_if_longer(_length))),
        misconceptions=(
            Misconception(
                "each by itself",
                lambda gradients, limit: [
                    gradient * min(1.0, limit / gradient.norm().item()) for gradient in gradients
                ],
                "You clip each tensor by itself. That changes the direction of the whole.",
                "All tensors together are one vector. How long is it?",
            ),
            Misconception(
                "each to the limit",
                lambda gradients, limit: [
                    gradient * limit / gradient.norm() for gradient in gradients
                ],
                "You bring each tensor by itself to the length `limit`, short ones too.",
                "All tensors together are one vector. When may it stay as it is?",
            ),
            Misconception(
                "each tested by itself",
                lambda gradients, limit: [
                    gradient * (limit / _length(gradients) if gradient.norm() > limit else 1.0)
                    for gradient in gradients
                ],
                "Your factor is the one of the whole, but only tensors that are too long by "
                "themselves get it.",
                "All tensors together are one vector. Which length decides, and for whom?",
            ),
            Misconception(
                "values cut off",
                lambda gradients, limit: [gradient.clamp(-limit, limit) for gradient in gradients],
                "You cut single values off at the limit. That changes the direction.",
                "One factor for all values keeps the direction.",
            ),
            Misconception(
                "short ones lengthened",
                _scaled(lambda gradients, limit: limit / _length(gradients)),
                "You always scale to the limit, so short gradients get longer.",
                "What should happen to a gradient that is short enough?",
            ),
            Misconception(
                "root missing",
                _scaled(_if_longer(lambda gradients: _length(gradients) ** 2)),
                "Your length is the sum of the squares. The root is missing.",
                "How long is the vector (3, 4)?",
            ),
            Misconception(
                "root missing, and always scaled",
                _scaled(lambda gradients, limit: limit / _length(gradients) ** 2),
                "You divide by the sum of the squares, and do so for short gradients, too.",
                "How long is the vector (3, 4)? And what if the limit is 10?",
            ),
            Misconception(
                "squares compared",
                _scaled(
                    lambda gradients, limit: (
                        limit / _length(gradients) if _length(gradients) ** 2 > limit else 1.0
                    )
                ),
                "You scale with the length, but it is the sum of the squares that you compare "
                "with the limit.",
                "The vector (3, 4) with the limit 6: is it too long?",
            ),
            Misconception(
                "lengths added",
                _scaled(_if_longer(lambda gradients: sum(_length([one]) for one in gradients))),
                "You add the lengths of the tensors up. Lengths at right angles do not add up.",
                "One tensor of length 3 and one of length 4: how long are both together?",
            ),
            Misconception(
                "absolute values added",
                _scaled(_if_longer(lambda gradients: sum(float(g.abs().sum()) for g in gradients))),
                "You add up absolute values. The length is something else.",
                "How long is the vector (3, 4)?",
            ),
            Misconception(
                "largest value",
                _scaled(_if_longer(lambda gradients: max(float(g.abs().max()) for g in gradients))),
                "You take the largest value for the length.",
                "How long is the vector (3, 4)?",
            ),
            Misconception(
                "longest tensor",
                _scaled(_if_longer(lambda gradients: max(_length([one]) for one in gradients))),
                "You take the length of the longest tensor for the whole.",
                "All tensors together are one vector. How long is it?",
            ),
            Misconception(
                "first tensor",
                _scaled(_if_longer(lambda gradients: _length(gradients[:1]))),
                "You measure the first tensor only.",
                "All tensors together are one vector. How long is it?",
            ),
            Misconception(
                "last tensor",
                _scaled(_if_longer(lambda gradients: _length(gradients[-1:]))),
                "You measure the last tensor only.",
                "All tensors together are one vector. Does your sum start anew in each round?",
            ),
            Misconception(
                "mean of squares",
                _scaled(
                    _if_longer(
                        lambda gradients: (
                            _length(gradients) / math.sqrt(sum(one.numel() for one in gradients))
                        )
                    )
                ),
                "You average the squares. The length is the root of their sum.",
                "A longer vector with the same values has a greater length.",
            ),
            Misconception(
                "mean length",
                _scaled(
                    _if_longer(
                        lambda gradients: sum(_length([one]) for one in gradients) / len(gradients)
                    )
                ),
                "You take the mean length of the tensors for the whole.",
                "One tensor of length 3 and one of length 4: how long are both together?",
            ),
            Misconception(
                "length one",
                _scaled(
                    lambda gradients, limit: (
                        1 / _length(gradients) if _length(gradients) > limit else 1.0
                    )
                ),
                "You cut to the length 1, whatever the limit is.",
                "1 was the limit of the chapter. Here it is an argument.",
            ),
            Misconception(
                "always length one",
                _scaled(lambda gradients, limit: 1 / _length(gradients)),
                "You bring everything to the length 1 and do not look at the limit.",
                "1 was the limit of the chapter. Here it is an argument.",
            ),
            Misconception(
                "multiplied by the limit",
                _scaled(lambda gradients, limit: limit if _length(gradients) > limit else 1.0),
                "You multiply by the limit, without dividing by the length.",
                "What length has a vector of length 5 after that?",
            ),
            Misconception(
                "wrong way round",
                _scaled(lambda gradients, limit: max(1.0, _length(gradients) / limit)),
                "You multiply by length / limit, so long gradients get longer still.",
                "The length should shrink from `length` to `limit`. By which factor?",
            ),
            Misconception(
                "the wrong ones scaled",
                _scaled(lambda gradients, limit: max(1.0, limit / _length(gradients))),
                "You leave long gradients as they are and lengthen the short ones.",
                "Is the factor to be at least 1, or at most 1?",
            ),
            Misconception(
                "nothing clipped",
                lambda gradients, limit: [gradient.clone() for gradient in gradients],
                "Your gradients come out as they went in.",
                "When all of them together are longer than the limit, each must shrink.",
            ),
            Misconception(
                "the length alone",
                lambda gradients, limit: torch.tensor(_length(gradients)),
                "You return the length of the gradient. Asked for are the clipped gradients.",
                "The function of PyTorch returns the length, and changes the gradients in place. "
                "Yours returns a list.",
            ),
            Misconception(
                "one long vector",
                lambda gradients, limit: torch.cat(
                    [gradient.flatten() for gradient in _clip_gradients(gradients, limit)]
                ),
                "You return one long vector. Asked for are tensors, shaped as those given.",
                "The vector is needed for the length. The factor then goes on the list.",
            ),
        ),
        hints=(
            "Two tensors, [3.0] and [4.0]: how long are they together, and what remains of each "
            "with the limit 1?",
            "The length of all is the root of the sum of all squares, over all tensors. From it "
            "and the limit comes one factor, the same for every tensor.",
            "length = norm of everything, flattened and joined; factor = limit / length, but at "
            "most 1; return each gradient times the factor.",
        ),
    ),
    prediction(
        "adamw_step_ratio",
        "04_training",
        _adamw_step_ratio,
        because="AdamW divides the mean of the recent gradients by their recent size. In the first "
        "step both come from one gradient, so its size cancels: each weight moves by the learning "
        "rate.",
        tolerance=1e-3,
        misconceptions=(
            Misconception(
                "in proportion",
                lambda: 1000,
                "You let a step grow with its gradient. Plain gradient descent does that.",
                "AdamW divides each gradient by something. By what, when there was only one so "
                "far?",
            ),
            Misconception(
                "in proportion, the other way round",
                lambda: 1 / 1000,
                "You say that the weight with the larger gradient moves a thousand times less.",
                "AdamW divides by the size of the gradient. But what is it that it divides?",
            ),
            Misconception(
                "root",
                lambda: math.sqrt(1000),
                "You let a step grow with the root of its gradient.",
                "AdamW divides by the root of the mean *square*. How large is that, when there "
                "was only one gradient so far?",
            ),
            Misconception(
                "square",
                lambda: 1000**2,
                "You let a step grow with the square of its gradient.",
                "The square only serves to measure the size, and then its root is taken.",
            ),
            Misconception(
                "gradient clipped",
                lambda: 50,
                "You clip the large gradient to 1 and divide by 0.02. Nothing is clipped here.",
                "AdamW divides each gradient by something. By what, when there was only one so "
                "far?",
            ),
            Misconception(
                "the step itself",
                lambda: 0.01,
                "That is how far a weight moves. Asked for is how many times as far the second "
                "one moves as the first.",
                "Divide the one distance by the other.",
            ),
        ),
        hints=(
            "How far would each weight move if AdamW had no memory of sizes at all, and what does "
            "it do with that memory?",
            "Every weight has its own step size, which comes from the recent size of its own "
            "gradients. At the first step, what is that recent size?",
            "The step is the learning rate times gradient / size. With a single gradient g, the "
            "size is the root of g times g. Work it out for 0.02 and for 20.",
        ),
    ),
)
