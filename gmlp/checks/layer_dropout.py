"""Lesson 09: what a right, and each known wrong, answer looks like."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction

Layer = Callable[[Tensor], Tensor]


# drop_numbers


def _draw_numbers(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3, least=3)
    p = ((0.2, 0.3), (0.7, 0.8), (0.6, 0.9), (0.3, 0.4))[rng.number][rng.integer(0, 2)]
    draws = torch.rand(b, n, d, generator=rng.generator)
    return rng.normal(b, n, d), draws, p, rng.number != 2


def _drop_numbers(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
    return x * (draws < p) / p if training else x


def _trained(f: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[..., Tensor]:
    """f(x, draws, p) in training, x as it is otherwise."""
    return lambda x, draws, p, training: f(x, draws, p) if training else x


def _by_its_own_share(x: Tensor, draws: Tensor, p: float) -> Tensor:
    kept = (draws < p).float()
    return x * kept / kept.mean()


def _if_of_many(x: Tensor, draws: Tensor, p: float) -> Tensor:
    return x / p if draws < p else torch.zeros_like(x)


def _numbers_by_loop(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
    if not training:
        return x
    out = torch.zeros_like(x)
    for place in itertools.product(*map(range, x.shape)):
        if draws[place] < p:
            out[place] = x[place] / p
    return out


def _numbers_filled(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
    return (x / p).masked_fill(draws >= p, 0.0) if training else x.clone()


def _numbers_where(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
    factor = torch.where(draws < p, 1 / p, 0.0)
    return torch.mul(x, factor if training else 1)


# surviving_layers


def _draw_survivors(rng: Draw) -> tuple[Any, ...]:
    """Some survive; none, twice; all; one.

    Smallest and largest draw stand at an end only where that helps, and never where code lands that
    draws the layer to be kept afresh: each run starts from the seed of these draws.
    """
    count, fresh = next(
        (count, fresh)
        for count in (7, 11, 5, 6, 8, 9, 10, 12, 13)
        if 0 < (fresh := _fresh(rng, count)) < count - 1
    )
    spread = (torch.arange(count) + 0.2 + 0.6 * torch.rand(count, generator=rng.generator)) / count
    places = (torch.randperm(count - 2, generator=rng.generator) + 1).tolist()
    places.remove(fresh)
    least, most, *rest = [*places, 0, fresh, count - 1]
    if rng.number == 0:
        most, rest = 0, [most, *[place for place in rest if place]]
    rest = [rest[i] for i in torch.randperm(len(rest), generator=rng.generator).tolist()]
    values, p = (
        (spread, 0.7),
        (0.4 + 0.6 * spread, 0.3),
        (0.4 + 0.6 * spread, 0.2),
        (0.5 * spread, 0.6),
        (torch.cat([spread[:1], 0.65 + 0.35 * spread[1:]]), 0.6),
    )[rng.number]
    draws = torch.empty(count)
    draws[[least, *rest, most]] = values
    return draws, p


def _fresh(rng: Draw, count: int) -> int:
    generator = torch.Generator().manual_seed(rng.generator.initial_seed())
    return int(torch.randint(count, (), generator=generator))


Rescue = Callable[[Tensor], Tensor | int]


def _kept(
    alive: Callable[[Tensor, float], Tensor],
    rescue: Rescue | None = torch.argmin,
) -> Callable[[Tensor, float], Tensor]:
    """alive(draws, p), and where that is none, the layer rescue(draws)."""

    def layers(draws: Tensor, p: float) -> Tensor:
        kept = alive(draws, p)
        if rescue is not None and not kept.any():
            kept[rescue(draws)] = True
        return kept

    return layers


def _below(draws: Tensor, p: float) -> Tensor:
    return draws < p


_surviving_layers = _kept(_below)


def _all_if_none(draws: Tensor, p: float) -> Tensor:
    alive = draws < p
    return alive if alive.any() else ~alive


def _first_always(draws: Tensor, p: float) -> Tensor:
    alive = draws < p
    alive[0] = True
    return alive


def _nearest_always(draws: Tensor, p: float) -> Tensor:
    alive = draws < p
    alive[(draws - p).abs().argmin()] = True
    return alive


def _one_only(draws: Tensor, p: float) -> Tensor:
    alive = torch.zeros_like(draws, dtype=torch.bool)
    alive[draws.argmin()] = True
    return alive


def _fixed_number(draws: Tensor, p: float) -> Tensor:
    return draws.argsort().argsort() < max(1, round(p * len(draws)))


def _numbers_of_layers(draws: Tensor, p: float) -> Tensor:
    return _surviving_layers(draws, p).nonzero().flatten()


def _smallest_too(draws: Tensor, p: float) -> Tensor:
    return (draws < p) | (draws == draws.min())


def _smallest_set(draws: Tensor, p: float) -> Tensor:
    return (draws < p).index_fill(0, draws.argmin(), True)


def _from_a_list(draws: Tensor, p: float) -> Tensor:
    numbers = draws.tolist()
    limit = p if min(numbers) < p else min(numbers) + 1e-9
    return torch.tensor([number < limit for number in numbers])


def _survivors_by_loop(draws: Tensor, p: float) -> Tensor:
    alive = torch.zeros(len(draws), dtype=torch.bool)
    best = 0
    for k in range(len(draws)):
        if draws[k] < p:
            alive[k] = True
        if draws[k] < draws[best]:
            best = k
    if alive.sum() == 0:
        alive[best] = True
    return alive


# skip_layers


class _Branch(nn.Module):
    def __init__(self, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d, d))

    def __repr__(self) -> str:
        return "a branch"

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight)


def _draw_stack(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3)
    alive = (
        [False, True, False, True],  # training; the last takes part
        [True, False, True, False],
        [True, False, False, True],  # eval; the draws do not matter
        [False, True, False, True],
    )[rng.number]
    branches = [rng.refill(_Branch(d)) for _ in alive]
    return rng.normal(b, n, d), branches, alive, rng.number < 2


def _skip_layers(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    for f, kept in zip(branches, alive, strict=True):
        if kept or not training:
            x = x + f(x)
    return x


def _found_skip_layers(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    for f, kept in zip(branches, alive, strict=True):
        x = kept * (x + f(x))
    return x


def _stack(
    layer: Callable[[Tensor, Layer, bool], Tensor],
    takes_part: Callable[[bool, bool], bool] = lambda kept, training: kept or not training,
) -> Callable[..., Tensor]:
    """layer(x, f, whether it takes part), one after the other."""

    def stack(
        x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
    ) -> Tensor:
        for f, kept in zip(branches, alive, strict=True):
            x = layer(x, f, takes_part(kept, training))
        return x

    return stack


def _residual(x: Tensor, f: Layer, on: bool) -> Tensor:
    return x + f(x) if on else x


def _all_or_nothing(x: Tensor, f: Layer, on: bool) -> Tensor:
    return x + f(x) if on else 0 * (x + f(x))


def _branch_kept(x: Tensor, f: Layer, on: bool) -> Tensor:
    return x + f(x) if on else f(x)


def _until_the_first_dropped(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    for f, kept in zip(branches, alive, strict=True):
        if training and not kept:
            break
        x = x + f(x)
    return x


def _side_by_side(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    on = [f for f, kept in zip(branches, alive, strict=True) if kept or not training]
    out = x
    for f in on:
        out = out + f(x)
    return out


def _scaled_in_eval(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    share = 1.0 if training else sum(alive) / len(alive)
    for f, kept in zip(branches, alive, strict=True):
        if kept or not training:
            x = x + share * f(x)
    return x


def _scaled_in_training(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    share = sum(alive) / len(alive) if training else 1.0
    for f, kept in zip(branches, alive, strict=True):
        if kept or not training:
            x = x + f(x) / share
    return x


def _nothing_returned_in_eval(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor | None:
    return _skip_layers(x, branches, alive, training) if training else None


def _chosen_first(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    chosen = list(branches)
    if training:
        chosen = [branches[k] for k in range(len(branches)) if alive[k]]
    for f in chosen:
        x = f(x) + x
    return x


# expected_layers


def _draw_chances(rng: Draw) -> tuple[Any, ...]:
    """Few layers and small chances, so that it happens often enough that none survives."""
    count = (2, 3, 5, 3)[rng.number]
    low, high = ((10, 40), (30, 90), (10, 60), (50, 90))[rng.number]
    chances = [rng.integer(low, high) / 100 for _ in range(count - 1)]
    return ([*chances, (high + rng.integer(0, 5)) / 100],)  # not all equal


def _none(chances: Sequence[float]) -> float:
    return math.prod(1 - p for p in chances)


def _expected_layers(chances: Sequence[float]) -> float:
    return sum(chances) + _none(chances)


def _by_enumeration(chances: Sequence[float]) -> float:
    expected = 0.0
    for alive in itertools.product((False, True), repeat=len(chances)):
        chance = 1.0
        for p, kept in zip(chances, alive, strict=True):
            chance *= p if kept else 1 - p
        expected += chance * max(1, sum(alive))
    return expected


def _by_torch(chances: Sequence[float]) -> float:
    p = torch.tensor(chances)
    return (p.sum() + (1 - p).prod()).item()


def _layer_by_layer(chances: Sequence[float]) -> float:
    expected, none = 0.0, 1.0
    for p in chances:
        expected += p
        none *= 1 - p
    return expected + none


def _chance_of_a_layer() -> float:
    p, layers = 0.5, 2
    return (p * layers + (1 - p) ** layers) / layers  # the rule is fair: all have the same chance


def _as_numbers(draws: Tensor, p: float) -> Tensor:
    return _surviving_layers(draws, p).float()


def _eval_does_not_end(
    x: Tensor, branches: Sequence[Layer], alive: Sequence[bool], training: bool
) -> Tensor:
    if not training:
        for f in branches:
            x = x + f(x)
    for f, kept in zip(branches, alive, strict=True):
        if kept:
            x = x + f(x)
    return x


def _min_for_argmin(draws: Tensor, p: float) -> Tensor:
    alive = draws < p
    if not alive.any():
        alive[draws.min()] = True
    return alive


EXERCISES = (
    Exercise(
        name="drop_numbers",
        lesson="09_layer_dropout",
        axes="b n d",
        draw=_draw_numbers,
        draws=4,
        solution=_drop_numbers,
        alternatives=(_numbers_by_loop, _numbers_filled, _numbers_where),
        misconceptions=(
            Misconception(
                "not rescaled",
                _trained(lambda x, draws, p: x * (draws < p)),
                "You drop the right numbers, but you leave the others as they are, so the mean "
                "shrinks.",
                "Of a thousand ones a share of p is left. What must each of them become to keep "
                "the sum?",
            ),
            Misconception(
                "multiplied by p",
                _trained(lambda x, draws, p: x * (draws < p) * p),
                "You multiply the survivors by p, so the mean shrinks twice.",
                "The survivors stand for those that were dropped. Should they get larger or "
                "smaller?",
            ),
            Misconception(
                "divided by 1 - p",
                _trained(lambda x, draws, p: x * (draws < p) / (1 - p)),
                "You drop the right numbers, but you divide by 1 - p, the chance to be dropped.",
                "Of ten numbers with p = 0.8 eight are left. Which factor makes eight count as "
                "ten?",
            ),
            Misconception(
                "multiplied by 1 - p",
                _trained(lambda x, draws, p: x * (draws < p) * (1 - p)),
                "You multiply the survivors by 1 - p, the chance to be dropped.",
                "The survivors stand for those that were dropped. Should they get larger or "
                "smaller?",
            ),
            Misconception(
                "the others kept",
                _trained(lambda x, draws, p: x * (draws >= p) / p),
                "You keep the numbers whose draw is p or more, and drop those that survive.",
                "How many draws lie below p = 0.9, most of them or few?",
            ),
            Misconception(
                "the others kept, not rescaled",
                _trained(lambda x, draws, p: x * (draws >= p)),
                "You keep the numbers whose draw is p or more, and you do not rescale them.",
                "How many draws lie below p = 0.9, most of them or few? And what keeps the mean?",
            ),
            Misconception(
                "p to be dropped",
                _trained(lambda x, draws, p: x * (draws >= p) / (1 - p)),
                "You take p for the chance to be dropped, as nn.Dropout does. Here it is the "
                "chance to survive.",
                "With p = 0.9, should most numbers be left or few?",
            ),
            Misconception(
                "below 1 - p",
                _trained(lambda x, draws, p: x * (draws < 1 - p) / (1 - p)),
                "You take p for the chance to be dropped: you keep the draws below 1 - p.",
                "With p = 0.9, should most numbers be left or few?",
            ),
            Misconception(
                "above 1 - p",
                _trained(lambda x, draws, p: x * (draws >= 1 - p) / p),
                "You keep as many numbers as you should, but those with the largest draws.",
                "Below what must a draw lie?",
            ),
            Misconception(
                "active in eval",
                lambda x, draws, p, training: _drop_numbers(x, draws, p, True),
                "You drop numbers in eval, too. There nobody wants chance in the answer.",
                "Which argument do you not use?",
            ),
            Misconception(
                "active in eval, not rescaled",
                lambda x, draws, p, training: x * (draws < p),
                "You drop numbers in eval, too, and you leave the others as they are.",
                "Which argument do you not use? And what keeps the mean in training?",
            ),
            Misconception(
                "only in eval",
                lambda x, draws, p, training: _drop_numbers(x, draws, p, not training),
                "You have the two modes exchanged: you drop in eval and not in training.",
                "In which of them does chance help?",
            ),
            Misconception(
                "scaled in eval instead",
                lambda x, draws, p, training: x * (draws < p) if training else x * p,
                "You multiply by p in eval instead of dividing by p in training. The means agree, "
                "but here eval leaves everything as it is.",
                "When must the scaling be done so that eval need not know p?",
            ),
            Misconception(
                "scaled in both modes",
                lambda x, draws, p, training: (
                    _drop_numbers(x, draws, p, training) * (1 if training else p)
                ),
                "You are right in training, but in eval you multiply by p once more.",
                "The survivors were scaled in training already. What is left to do in eval?",
            ),
            Misconception(
                "zero in eval",
                lambda x, draws, p, training: training * _drop_numbers(x, draws, p, True),
                "You return zeros in eval. There all numbers should pass.",
                "Print what comes out for training=False.",
            ),
            Misconception(
                "by its own share",
                _trained(_by_its_own_share),
                "You divide by the share that happened to survive, not by the chance to survive.",
                "Then each number would depend on the draws of all others. What is known before?",
            ),
            Misconception(
                "mask alone",
                _trained(lambda x, draws, p: (draws < p) / p),
                "You return the mask, scaled, without x.",
                "What is it that should be kept or dropped?",
            ),
            Misconception(
                "one draw for all",
                _trained(lambda x, draws, p: x / p if torch.rand(()) < p else 0 * x),
                "You draw once, and keep all numbers or none.",
                "Every number has a draw of its own, in `draws`.",
            ),
            Misconception(
                "draws of its own",
                _trained(lambda x, draws, p: x * (torch.rand_like(x) < p) / p),
                "You draw anew. The idea is right, but here the draws are given.",
                "Which argument do you not use?",
            ),
            Misconception(
                "F.dropout",
                lambda x, draws, p, training: F.dropout(x, 1 - p, training),
                "You leave it to F.dropout, which draws for itself. Here the draws are given.",
                "Compare `draws` with p.",
            ),
            Misconception(
                "F.dropout with p",
                lambda x, draws, p, training: F.dropout(x, p, training),
                "You leave it to F.dropout, which draws for itself, and to which p is the chance "
                "to be dropped.",
                "Here the draws are given, and p is the chance to survive. Compare the two.",
            ),
            Misconception(
                "p to be dropped, in eval too",
                lambda x, draws, p, training: x * (draws >= p) / (1 - p),
                "You take p for the chance to be dropped, and you drop numbers in eval, too.",
                "With p = 0.9, should most numbers be left or few? And which argument do you not "
                "use?",
            ),
            Misconception(
                "survivors only",
                _trained(lambda x, draws, p: x[draws < p] / p),
                "You return the survivors alone, in a row. The others should be there too, as 0.",
                "Multiply by the mask, and every number keeps its place.",
            ),
            Misconception(
                "survivors only, not rescaled",
                _trained(lambda x, draws, p: x[draws < p]),
                "You return the survivors alone, in a row, and as they are.",
                "Multiply by the mask, and every number keeps its place. And what keeps the mean?",
            ),
            Misconception(
                "one if for many draws",
                _trained(_if_of_many),
                "Your `if` asks one question of many draws at once.",
                "A comparison of tensors gives a tensor of True and False. What happens if you "
                "multiply by it?",
            ),
        ),
        hints=(
            "With p = 0.8, which of the draws 0.1, 0.5 and 0.9 survive, and what keeps the mean as "
            "it was?",
            "Two cases. Not in training: x as it is. In training: a mask of the same shape, by a "
            "comparison; then a factor for what is left.",
            "A mask of True and False may be multiplied with x: True counts as 1. The factor makes "
            "p of a thousand ones add up to a thousand.",
        ),
    ),
    Exercise(
        name="surviving_layers",
        lesson="09_layer_dropout",
        axes="L",
        draw=_draw_survivors,
        draws=5,
        solution=_surviving_layers,
        alternatives=(_smallest_too, _smallest_set, _from_a_list, _survivors_by_loop),
        misconceptions=(
            Misconception(
                "never rescued",
                _kept(_below, None),
                "You let it happen that no layer at all survives.",
                "What do you return for the draws 0.8 0.4 0.9 and p = 0.3?",
            ),
            Misconception(
                "all if none",
                _all_if_none,
                "You keep all layers where none would survive. One is enough.",
                "Which single layer came closest?",
            ),
            Misconception(
                "first if none",
                _kept(_below, lambda draws: 0),
                "You keep the first layer where none would survive, so it is trained more than "
                "the others.",
                "The layer to be kept should be another one each time. What do the draws say?",
            ),
            Misconception(
                "last if none",
                _kept(_below, lambda draws: -1),
                "You keep the last layer where none would survive, so it is trained more than "
                "the others.",
                "The layer to be kept should be another one each time. What do the draws say?",
            ),
            Misconception(
                "farthest if none",
                _kept(_below, torch.argmax),
                "You keep the layer with the largest draw where none would survive: the one that "
                "was farthest from taking part.",
                "To survive a draw must be below p. Which one came closest?",
            ),
            Misconception(
                "another draw if none",
                _kept(_below, lambda draws: torch.randint(len(draws), ())),
                "You draw the layer to be kept anew. That would be fair, too; but asked for is the "
                "one that came closest.",
                "The draws that you have been given are enough.",
            ),
            Misconception(
                "above p, smallest if none",
                _kept(lambda draws, p: draws > p),
                "You keep the layers whose draw is above p.",
                "With p = 0.9, should most layers survive or few?",
            ),
            Misconception(
                "above p, largest if none",
                _kept(lambda draws, p: draws > p, torch.argmax),
                "You keep the layers whose draw is above p, and the largest draw if there is none.",
                "With p = 0.9, should most layers survive or few?",
            ),
            Misconception(
                "above p, never rescued",
                _kept(lambda draws, p: draws > p, None),
                "You keep the layers whose draw is above p, and it may happen that none is left.",
                "With p = 0.9, should most layers survive or few?",
            ),
            Misconception(
                "below 1 - p",
                _kept(lambda draws, p: draws < 1 - p),
                "You compare with 1 - p, the chance to be skipped.",
                "With p = 0.9, should most layers survive or few?",
            ),
            Misconception(
                "above 1 - p",
                _kept(lambda draws, p: draws >= 1 - p, torch.argmax),
                "You keep the layers with the largest draws. As many, but not those asked for.",
                "Below what must a draw lie?",
            ),
            Misconception(
                "first always",
                _first_always,
                "You keep the first layer always, not only where none would survive.",
                "Ask first whether any is alive.",
            ),
            Misconception(
                "nearest always",
                _nearest_always,
                "You keep the layer whose draw is nearest to p always, so sometimes one too many.",
                "Ask first whether any is alive.",
            ),
            Misconception(
                "one only",
                _one_only,
                "You keep one layer always, the one with the smallest draw, and no other.",
                "The rescue is for the case that none survives.",
            ),
            Misconception(
                "fixed number",
                _fixed_number,
                "You keep a fixed number of layers, about p of all. By chance it may be more or "
                "fewer.",
                "Each layer is asked by itself: is its own draw below p?",
            ),
            Misconception(
                "numbers of the layers",
                _numbers_of_layers,
                "You return the numbers of the surviving layers. Asked for is True or False for "
                "each.",
                "The comparison itself has the right shape.",
            ),
            Misconception(
                "list of numbers of the layers",
                lambda draws, p: _numbers_of_layers(draws, p).tolist(),
                "You return the numbers of the surviving layers. Asked for is True or False for "
                "each, in a tensor.",
                "A comparison of the whole tensor with p has the right shape.",
            ),
            Misconception(
                "list of truth values",
                lambda draws, p: _surviving_layers(draws, p).tolist(),
                "You return the right truth values, but in a list. Asked for is a tensor.",
                "Compare the whole tensor with p at once, or make a tensor of your list.",
            ),
            Misconception(
                "number of the closest if none",
                lambda draws, p: draws < p if (draws < p).any() else draws.argmin(),
                "Where none would survive you return the number of the closest layer, and not "
                "which layers take part.",
                "The answer has one truth value for each layer, in this case, too.",
            ),
            Misconception(
                "draws of the survivors",
                lambda draws, p: draws[_surviving_layers(draws, p)],
                "You return the draws of the surviving layers. Asked for is True or False for "
                "each layer.",
                "The comparison itself has the right shape.",
            ),
            Misconception(
                "ones and zeros",
                _as_numbers,
                "The right layers take part, but you say so with ones and zeros.",
                "Asked for is True or False for each layer: a comparison gives that, and "
                "`.bool()` too.",
            ),
            Misconception(
                "min for argmin",
                _min_for_argmin,
                "You use the smallest draw as an index. It is a draw, not a place.",
                "Which function says where the smallest one stands?",
            ),
        ),
        hints=(
            "Which of the draws 0.8 0.4 0.9 survive with p = 0.5, and which with p = 0.3?",
            "A comparison gives True or False for each layer. Then ask with .any() whether there "
            "is a True at all.",
            "alive = a comparison of draws with p. If not alive.any(), set one entry of it to "
            "True; which one, the smallest draw says, and there is an arg-function for that.",
        ),
    ),
    Exercise(
        name="skip_layers",
        lesson="09_layer_dropout",
        axes="b n d",
        kind="debug",
        draw=_draw_stack,
        draws=4,
        solution=_skip_layers,
        stub=_found_skip_layers,
        alternatives=(
            _stack(lambda x, f, on: x + on * f(x)),
            _stack(lambda x, f, on: torch.where(torch.tensor(on), x + f(x), x)),
            _chosen_first,
        ),
        misconceptions=(
            Misconception(
                "residual dropped, in eval too",
                _stack(_all_or_nothing, lambda kept, training: kept),
                "Your stack still does both: it loses x where a layer is dropped, and it drops in "
                "eval, too.",
                "What should a dropped layer return? And which argument is not used?",
            ),
            Misconception(
                "residual dropped",
                _stack(_all_or_nothing),
                "You mended eval, but in training a dropped layer still takes x with it.",
                "Without its branch a layer should leave its input as it is.",
            ),
            Misconception(
                "active in eval",
                _stack(_residual, lambda kept, training: kept),
                "You mended the residual, but layers are dropped in eval, too.",
                "Which argument is not used?",
            ),
            Misconception(
                "x dropped, branch kept",
                _stack(_branch_kept),
                "You mended eval, but in training you drop x and keep the branch: just the wrong "
                "one of the two.",
                "Of x + f(x), which term should go?",
            ),
            Misconception(
                "x dropped, branch kept, in eval too",
                _stack(_branch_kept, lambda kept, training: kept),
                "You drop x and keep the branch: just the wrong one of the two. And you do so in "
                "eval, too.",
                "Of x + f(x), which term should go? And which argument is not used?",
            ),
            Misconception(
                "nothing runs in eval",
                _stack(_residual, lambda kept, training: kept and training),
                "You run no layer at all in eval, so x comes out as it went in.",
                "In eval all layers take part, whatever was drawn.",
            ),
            Misconception(
                "modes exchanged",
                _stack(_residual, lambda kept, training: kept or training),
                "You have the two modes exchanged: in training all layers run, in eval only some.",
                "In which of them should the draws count?",
            ),
            Misconception(
                "draws turned round",
                _stack(_residual, lambda kept, training: not (kept and training)),
                "You skip the layers that should take part, and run the others.",
                "True in `alive` means: takes part.",
            ),
            Misconception(
                "stops at the first dropped",
                _until_the_first_dropped,
                "You stop at the first dropped layer, so those above it never run.",
                "Skip one layer, then go on with the next.",
            ),
            Misconception(
                "no residual",
                _stack(lambda x, f, on: f(x) if on else x),
                "You skip the right layers, but where one runs x is not added any more.",
                "A residual layer returns a sum.",
            ),
            Misconception(
                "no residual in eval",
                lambda x, branches, alive, training: _stack(
                    _residual if training else lambda x, f, on: f(x)
                )(x, branches, alive, training),
                "You mended training, but in eval x is not added any more.",
                "A layer is the same sum in both modes.",
            ),
            Misconception(
                "x twice",
                _stack(lambda x, f, on: x + (x + f(x)) if on else x),
                "You skip the right layers, but where one runs x is added twice.",
                "A layer is x + f(x), with a single x.",
            ),
            Misconception(
                "x twice, and in eval",
                _stack(lambda x, f, on: x + on * (x + f(x)), lambda kept, training: kept),
                "Where a layer runs x is added twice, and layers are dropped in eval, too.",
                "A layer is x + f(x), with a single x. And which argument is not used?",
            ),
            Misconception(
                "x twice, in training only",
                lambda x, branches, alive, training: _stack(
                    lambda x, f, on: x + on * (training * x + f(x))
                )(x, branches, alive, training),
                "You mended eval, but in training x is added twice where a layer runs.",
                "A layer is x + f(x), with a single x.",
            ),
            Misconception(
                "first layer only",
                lambda x, branches, alive, training: _skip_layers(
                    x, branches[:1], alive[:1], training
                ),
                "You return after the first layer, so the others never run.",
                "How far is your return indented?",
            ),
            Misconception(
                "side by side",
                _side_by_side,
                "You give every branch the x from the bottom of the stack.",
                "The second layer reads what the first one returned.",
            ),
            Misconception(
                "scaled in eval",
                _scaled_in_eval,
                "You skip the right layers, but in eval you scale the branches down.",
                "The lesson scales neither in training nor in eval; the last norm takes care of "
                "it.",
            ),
            Misconception(
                "scaled in training",
                _scaled_in_training,
                "You skip the right layers, but in training you scale the branches up.",
                "The lesson scales neither in training nor in eval; the last norm takes care of "
                "it.",
            ),
            Misconception(
                "nothing returned in eval",
                _nothing_returned_in_eval,
                "You return nothing in eval.",
                "Does every way through your function end with a return?",
            ),
            Misconception(
                "eval does not end",
                _eval_does_not_end,
                "In eval, your code runs all layers, and then those that survived once more.",
                "What should happen after the loop of eval?",
            ),
        ),
        hints=(
            "The three branches add 1 each. What should come out if the middle one is skipped, and "
            "what if all take part?",
            "Two faults. `kept` multiplies too much, and one of the arguments is never read.",
            "A layer takes part if it was kept, or if this is not training. Only then is its "
            "branch added; x goes on in any case.",
        ),
    ),
    Exercise(
        name="expected_layers",
        lesson="09_layer_dropout",
        axes="",
        kind="extend",
        draw=_draw_chances,
        draws=4,
        tolerance=1e-5,
        solution=_expected_layers,
        alternatives=(_by_enumeration, _by_torch, _layer_by_layer),
        misconceptions=(
            Misconception(
                "without the rule",
                sum,
                "You leave out the rule that one layer survives always.",
                "In which passes does it add a layer, and how often do they occur?",
            ),
            Misconception(
                "all survive",
                lambda chances: sum(chances) + math.prod(chances),
                "You add the chance that all survive. The rule acts where none does.",
                "What is the chance of one layer not to survive?",
            ),
            Misconception(
                "at least one",
                lambda chances: max(1.0, sum(chances)),
                "You take 1 where the sum is smaller. The rule acts in single passes, not on the "
                "mean.",
                "Take two layers with 0.5 each. The sum is 1, and yet the rule adds something.",
            ),
            Misconception(
                "one more",
                lambda chances: sum(chances) + 1,
                "You add a whole layer. The rule adds one only in passes that would have none.",
                "How often does such a pass occur?",
            ),
            Misconception(
                "drawn again",
                lambda chances: sum(chances) / (1 - _none(chances)),
                "You compute what comes of drawing again until one survives. The rule keeps a "
                "single layer instead.",
                "A pass that would have none has exactly one in the end.",
            ),
            Misconception(
                "mean chance",
                lambda chances: sum(chances) + (1 - sum(chances) / len(chances)) ** len(chances),
                "You put the mean of the chances in the lesson's formula. The chance of none is a "
                "product, and the mean does not do for that.",
                "Two layers with 0 and 1: can it happen that none survives?",
            ),
            Misconception(
                "first chance for all",
                lambda chances: chances[0] * len(chances) + (1 - chances[0]) ** len(chances),
                "You use the chance of the first layer for all.",
                "Every layer has its own.",
            ),
            Misconception(
                "last chance for all",
                lambda chances: chances[-1] * len(chances) + (1 - chances[-1]) ** len(chances),
                "You use the chance of the last layer for all.",
                "Every layer has its own.",
            ),
            Misconception(
                "last chance in the power",
                lambda chances: sum(chances) + (1 - chances[-1]) ** len(chances),
                "Your chance of none is a power of the last layer's alone.",
                "Every layer has its own chance not to survive.",
            ),
            Misconception(
                "first chance in the power",
                lambda chances: sum(chances) + (1 - chances[0]) ** len(chances),
                "Your chance of none is a power of the first layer's alone.",
                "Every layer has its own chance not to survive.",
            ),
            Misconception(
                "all if none",
                lambda chances: sum(chances) + len(chances) * _none(chances),
                "You count all layers in passes that would have none. The rule keeps one.",
                "What does such a pass add to the mean?",
            ),
            Misconception(
                "counted out twice",
                lambda chances: sum(chances) * (1 - _none(chances)) + _none(chances),
                "You multiply the sum by the chance that any survive. But the sum is a mean over "
                "all passes already.",
                "How much do passes without a layer add to the sum of the chances?",
            ),
            Misconception(
                "none taken off",
                lambda chances: sum(chances) - _none(chances),
                "You subtract the chance of none.",
                "Are more layers taking part because of the rule, or fewer?",
            ),
            Misconception(
                "one minus the product",
                lambda chances: sum(chances) + 1 - math.prod(chances),
                "You add the chance that not all survive. The rule acts where none does.",
                "One minus a product is not the product of one minus each.",
            ),
            Misconception(
                "any",
                lambda chances: 1 - _none(chances),
                "You return the chance that any layer survives, not a number of layers.",
                "How many layers take part without the rule, on average?",
            ),
            Misconception(
                "none",
                _none,
                "You return the chance that no layer survives. That is one of two terms.",
                "How many layers take part without the rule, on average?",
            ),
            Misconception(
                "mean",
                lambda chances: (sum(chances) + _none(chances)) / len(chances),
                "You return the share of the layers, not their number.",
                "Do not divide by the number of layers.",
            ),
            Misconception(
                "skipped ones",
                lambda chances: sum(1 - p for p in chances) + math.prod(chances),
                "You take the chances for those of being skipped.",
                "They are chances to survive.",
            ),
            Misconception(
                "skipped ones alone",
                lambda chances: len(chances) - sum(chances),
                "You return how many layers are skipped, without the rule.",
                "Asked for are those that take part.",
            ),
            Misconception(
                "one minus the sum",
                lambda chances: sum(chances) + 1 - sum(chances),
                "You take one minus the sum for the chance of none, so your answer is always 1.",
                "Three layers with 0.5 each: is one minus the sum a chance at all?",
            ),
            Misconception(
                "power of one minus the sum",
                lambda chances: sum(chances) + (1 - sum(chances)) ** len(chances),
                "You put the sum of the chances where the lesson's formula has one chance.",
                "Every layer has its own chance not to survive.",
            ),
            Misconception(
                "rounded",
                lambda chances: round(_expected_layers(chances)),
                "You round to a whole number of layers. A mean need not be whole.",
                "Leave it as it is.",
            ),
            Misconception(
                "one minus a list",
                lambda chances: 1 - chances,
                "You compute with the list as if it were a single number.",
                "Go through it: `for p in chances`.",
            ),
            Misconception(
                "skipped in the sum",
                lambda chances: sum(1 - p for p in chances) + _none(chances),
                "Your sum counts the layers that are skipped.",
                "Only one of the two terms is about not surviving.",
            ),
            Misconception(
                "sum for product",
                lambda chances: sum(chances) + sum(1 - p for p in chances),
                "You add up the chances not to survive, so your answer is the number of layers, "
                "always.",
                "That several things happen together, each by itself: what becomes of their "
                "chances?",
            ),
        ),
        hints=(
            "Two layers, with the chances 0.5 and 0.2. How often does none of them survive?",
            "Without the rule it is a sum, one term for each layer. The rule adds one layer in "
            "some passes; how often these occur is a product.",
            "math.prod multiplies up what it is given, for instance a generator: "
            "`math.prod(… for p in chances)`. Each factor is a layer's chance not to survive.",
        ),
    ),
    prediction(
        "chance_of_a_layer",
        "09_layer_dropout",
        _chance_of_a_layer,
        because="On average 0.5 * 2 + 0.5 ** 2 = 1.25 layers take part, and the rule is fair, so "
        "each of the two has half of that. The rule lifts the chance of every layer above p: a "
        "quarter of the passes would have none, and half of these go to the first.",
        misconceptions=(
            Misconception(
                "p itself",
                lambda: 0.5,
                "You say p. That is the chance without the rule, which helps a layer now and then.",
                "Both draws are above 0.5 in some passes. What happens then?",
            ),
            Misconception(
                "always the rescued one",
                lambda: 0.75,
                "You give the first layer all passes that would have none. (It is also the chance "
                "that any layer survives.)",
                "In such a pass the other layer may have come closer.",
            ),
            Misconception(
                "drawn again",
                lambda: 2 / 3,
                "You leave out the passes that would have none, as if they were drawn again. The "
                "rule keeps one layer in them.",
                "Count four equally likely cases: both, the first, the second, none.",
            ),
            Misconception(
                "alone, or chance of none",
                lambda: 0.25,
                "You count one of the four cases only.",
                "Four equally likely cases: both, the first, the second, none. In which does the "
                "first take part?",
            ),
            Misconception(
                "expected number",
                lambda: 1.25,
                "You say how many layers take part on average. Asked for is the chance of one.",
                "A chance is at most 1. How is the number shared among the two?",
            ),
            Misconception(
                "without the other",
                lambda: 0.375,
                "You leave out the passes in which both survive.",
                "The first takes part in those as well.",
            ),
            Misconception(
                "sure",
                lambda: 1.0,
                "You say that the first takes part in every pass. One layer does, but not always "
                "the same.",
                "What happens when the second survives and the first does not?",
            ),
            Misconception(
                "in percent",
                lambda: 62.5,
                "You give the chance in percent.",
                "Write it as a number from 0 to 1.",
            ),
        ),
        hints=(
            "Each draw is below 0.5 or not. Which four cases are there, and how likely is each?",
            "In two of the four cases the first layer survives by itself. In one more it may be "
            "rescued. How often is it the one?",
            "Add up: both, the first alone, and half of the passes that would have none.",
        ),
    ),
)
