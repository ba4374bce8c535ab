"""Figures of lesson 13, capstone."""

from collections.abc import Mapping, Sequence

import torch

from gmlp.capstone import differences, interval
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable

PLACES = 513  # along the axis of results


def tent(low: float, high: float, places: torch.Tensor) -> torch.Tensor:
    """1 at the middle, falling to 0 at both ends, NaN outside: a tent that stands on an interval.

    The nearest place to the middle is always drawn.
    """
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-12)
    height = 1 - (places - middle).abs() / half
    height = height.where(height >= 0, torch.nan)
    height[(places - middle).abs().argmin()] = 1
    return height


def seeds(results: Mapping[str, Sequence[float]], start: tuple[str, str] | None = None) -> Figure:
    """Two models and their 95 % intervals, with as many of the seeds as the reader grants.

    Args:
        results: for each model its results in bits per byte, the same seeds in the same order.
        start: the two models that are shown before a touch; by default the first two.

    Raises:
        ValueError: fewer than two models or three seeds, or models with different numbers of them.
    """
    counts = {name: len(values) for name, values in results.items()}
    if len(results) < 2 or min(counts.values()) < 3 or len(set(counts.values())) > 1:
        raise ValueError(
            f"at least two models, each with the same seeds, three or more of them; got {counts}"
        )
    names, most = list(results), next(iter(counts.values()))
    granted = range(2, most + 1)
    values = torch.tensor([list(results[name]) for name in names], dtype=torch.float64)
    span = values.max() - values.min()
    ends = (values.min() - span / 4).item(), (values.max() + span / 4).item()
    places = torch.linspace(*ends, PLACES, dtype=torch.float64)
    intervals = {name: [interval(results[name][:k]) for k in granted] for name in names}
    tents = torch.stack(
        [torch.stack([tent(*pair, places) for pair in intervals[name]]) for name in names]
    )  # (model, granted, place)
    runs = values[:, None].repeat(1, len(granted), 1)  # (model, granted, seed)
    for row, k in enumerate(granted):
        runs[:, row, k:] = torch.nan

    def told(a: str, b: str, k: int) -> str:
        (low, high), (other_low, other_high) = (interval(results[name][:k]) for name in (a, b))
        if a == b:
            return "The same model twice."
        beside = "overlap" if low <= other_high and other_low <= high else "lie apart"
        low, high = interval(differences(results[a][:k], results[b][:k]))
        verdict = "does not contain 0" if low > 0 or high < 0 else "contains 0: undecided"
        return (
            f"The intervals {beside}. Seed by seed, {b} less {a} is {low:+.3f} to {high:+.3f}, "
            f"which {verdict}."
        ).replace("-", "−")

    def written(pair: tuple[float, float]) -> str:
        return f"{sum(pair) / 2:.3f} ± {(pair[1] - pair[0]) / 2:.3f}"

    first, second = start or (names[0], names[1])
    least, top = values.min().item(), values.max().item()
    return Figure(
        title="How many seeds?",
        alt=f"Tents that stand on the 95 % intervals of {first} and {second}, and the results of "
        f"{most} seeds as two lines. {told(first, second, most)}",
        variables=[
            Variable("granted", len(granted), "seeds", most - 2, [str(k) for k in granted]),
            Variable("first", len(names), "first model", names.index(first), names),
            Variable("second", len(names), "second model", names.index(second), names),
        ],
        arrays={
            "one": Array(tents, ("first", "granted", "place"), low=0, high=1),
            "two": Array(tents, ("second", "granted", "place"), low=0, high=1),
            "runs_of_one": Array(runs, ("first", "granted", "seed"), low=least, high=top),
            "runs_of_two": Array(runs, ("second", "granted", "seed"), low=least, high=top),
        },
        texts={
            "is_one": Texts(
                [written(pair) for name in names for pair in intervals[name]],
                ("first", "granted"),
                (len(names), len(granted)),
            ),
            "is_two": Texts(
                [written(pair) for name in names for pair in intervals[name]],
                ("second", "granted"),
                (len(names), len(granted)),
            ),
            "told": Texts(
                [told(a, b, k) for k in granted for a in names for b in names],
                ("granted", "first", "second"),
                (len(granted), len(names), len(names)),
            ),
        },
        panels=[
            Panel(
                "line",
                "95 % intervals: the foot of a tent is the interval, its top the mean",
                x="place",
                lines=("one", "two"),
                names=("first model", "second model"),
                ticks=[f"{place:.2f}" for place in places.tolist()],
                xlabel="bits per byte",
                alt="a tent for each of two models, over bits per byte",
            ),
            Panel(
                "line",
                "the runs, seed by seed",
                x="seed",
                pick="granted",
                first=1,  # to point at seed 1 is to stop after two seeds
                lines=("runs_of_one", "runs_of_two"),
                names=("first model", "second model"),
                ticks=[str(seed) for seed in range(most)],
                xlabel="seed",
                ylabel="bits per byte",
                alt="the results of two models, one line each, over the seeds",
            ),
        ],
        note="{granted} seeds. {first}: {is_one}. {second}: {is_two}. {told}",
    )
