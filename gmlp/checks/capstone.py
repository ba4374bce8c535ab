"""Lesson 13: what a right, and each known wrong, answer looks like."""

import itertools
import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gmlp.capstone import FACTORS, complain, complain_of_winner, spread, to_markdown
from gmlp.checks.core import Draw, Exercise, Misconception, prediction

LESSON = "13_capstone"


def _results(rng: Draw, k: int, middle: float = 2.2) -> list[float]:
    """Bits per byte of k runs, with four decimals as in the chapter."""
    return [round(middle + 0.05 * x, 4) for x in rng.normal(k).tolist()]


# standard_error


def _draw_values(rng: Draw) -> tuple[Any, ...]:
    return (_results(rng, [5, 3, 7][rng.number]),)


def _standard_error(values: list[float]) -> float:
    return spread(values)["error"]


def _squares(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum((x - mean) ** 2 for x in values)


def _by_population(values: list[float]) -> float:
    return statistics.pstdev(values) / (len(values) - 1) ** 0.5


def _by_torch(values: list[float]) -> Tensor:
    return torch.tensor(values).std() / len(values) ** 0.5


def _by_pairs(values: list[float]) -> float:
    k = len(values)
    total = sum((x - y) ** 2 for x, y in itertools.combinations(values, 2))
    return math.sqrt(total / (k * k * (k - 1)))


# chance_of_five_wins


def _chance_of_five_wins() -> float:
    outcomes = [*itertools.product(("aMLP", "gMLP"), repeat=5)]  # who was ahead, seed by seed
    return sum(len(set(winners)) == 1 for winners in outcomes) / len(outcomes)


# paired_difference

Runs = dict[int, float]
Pair = tuple[float, float]


def _draw_runs(rng: Draw) -> tuple[Any, ...]:
    """Results by seed, in two orders; from the second draw on, each lacks some."""
    k = 7 if rng.number else 5
    # What is common to both models leads from seed to seed further than what is not.
    a = _results(rng, k)
    b = [round(x + 0.06 + 0.03 * y, 4) for x, y in zip(a, rng.normal(k).tolist(), strict=True)]
    b[k // 2] = round(a[k // 2] - 0.02, 4)  # once b is ahead: signs matter
    first = dict(enumerate(a))
    second = {seed: b[seed] for seed in torch.randperm(k, generator=rng.generator).tolist()}
    while [*second] == sorted(second):
        second = dict(reversed(second.items()))
    if rng.number:
        del first[5], second[0], second[2]
    return first, second


def _pairs(a: Runs, b: Runs) -> list[float]:
    return [b[seed] - a[seed] for seed in a if seed in b]


def _mean_and_error(values: list[float]) -> Pair:
    found = spread(values)
    return found["mean"], found["error"]


def _paired_difference(a: Runs, b: Runs) -> Pair:
    return _mean_and_error(_pairs(a, b))


def _by_sets(a: Runs, b: Runs) -> Pair:
    seeds = sorted(set(a) & set(b))
    d = np.array([b[s] for s in seeds]) - np.array([a[s] for s in seeds])
    return d.mean(), d.std(ddof=1) / np.sqrt(len(d))


def _in_torch(a: Runs, b: Runs) -> tuple[Tensor, Tensor]:
    both = torch.tensor([[a[s], b[s]] for s in range(100) if s in a and s in b])
    d = both[:, 1] - both[:, 0]
    return d.mean(), d.std() / len(d) ** 0.5


def _with_statistics(a: Runs, b: Runs) -> list[float]:
    d = []
    for seed, value in b.items():
        try:
            d.append(value - a[seed])
        except KeyError:
            continue
    return [statistics.mean(d), statistics.stdev(d) / math.sqrt(len(d))]


def _common(a: Runs, b: Runs) -> tuple[list[float], list[float]]:
    seeds = [seed for seed in a if seed in b]
    return [a[seed] for seed in seeds], [b[seed] for seed in seeds]


def _in_given_order(a: Runs, b: Runs) -> Pair:
    return _mean_and_error([y - x for x, y in zip(a.values(), b.values(), strict=False)])


def _in_given_order_strictly(a: Runs, b: Runs) -> Pair:
    return _mean_and_error([y - x for x, y in zip(a.values(), b.values(), strict=True)])


def _in_order_of_seeds(a: Runs, b: Runs) -> Pair:
    pairs = zip(sorted(a.items()), sorted(b.items()), strict=False)
    return _mean_and_error([y - x for (_, x), (_, y) in pairs])


def _in_order_of_results(a: Runs, b: Runs) -> Pair:
    x, y = _common(a, b)
    found = spread([q - p for p, q in zip(sorted(x), sorted(y), strict=True)])
    return found["mean"], found["error"]


def _two_errors(
    combine: Callable[[float, float], float], common: bool = True
) -> Callable[[Runs, Runs], Pair]:
    """A wrong answer that makes its error of those of the two models."""

    def answer(a: Runs, b: Runs) -> Pair:
        x, y = _common(a, b) if common else ([*a.values()], [*b.values()])
        mean = sum(y) / len(y) - sum(x) / len(x)
        return mean, combine(spread(x)["error"], spread(y)["error"])

    return answer


def _mean_of_all(a: Runs, b: Runs) -> Pair:
    mean = sum(b.values()) / len(b) - sum(a.values()) / len(a)
    return mean, _paired_difference(a, b)[1]


def _one_row(a: Runs, b: Runs) -> Pair:
    x, y = _common(a, b)
    return sum(y) / len(y) - sum(x) / len(x), spread(x + y)["error"]


def _changed(change: Callable[[list[float]], Pair]) -> Callable[[Runs, Runs], Pair]:
    """A wrong answer that has the right pairs and computes something else of them."""
    return lambda a, b: change(_pairs(a, b))


# tuned_result

Sweep = dict[float, list[float]]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _tuned(
    by: Callable[[list[float]], float], result: Callable[[list[float]], float]
) -> Callable[[Sweep], float]:
    """The rate whose ``by`` is least, and what its row gives."""
    return lambda runs: result(min(runs.values(), key=by))


def _tuned_result(runs: Sweep) -> float:
    return _tuned(lambda bits: bits[0], lambda bits: _mean(bits[1:]))(runs)


def _found_tuned_result(runs: Sweep) -> float:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    return min(min(bits) for bits in runs.values())


_SEVERAL_RESULTS: dict[str, Callable[[Sweep], float]] = {
    "best of everything": lambda runs: sorted(itertools.chain(*runs.values()))[0],
    "the choosing seed counted": _tuned(lambda bits: bits[0], _mean),
    "the choosing seed alone": lambda runs: min(bits[0] for bits in runs.values()),
    "all seeds choose, all count": lambda runs: min(map(_mean, runs.values())),
    "the others choose and count": lambda runs: min(_mean(bits[1:]) for bits in runs.values()),
    "all seeds choose": _tuned(_mean, lambda bits: _mean(bits[1:])),
    "the best seed chooses": _tuned(min, lambda bits: _mean(bits[1:])),
    "the best seed chooses, all count": _tuned(min, _mean),
    "best of the others": _tuned(lambda bits: bits[0], lambda bits: min(bits[1:])),
    "worst rate": _tuned(lambda bits: -bits[0], lambda bits: _mean(bits[1:])),
    "all rates": lambda runs: _mean([_mean(bits[1:]) for bits in runs.values()]),
    "everything": lambda runs: _mean([_mean(bits) for bits in runs.values()]),
    "smallest rate": lambda runs: _mean(runs[min(runs)][1:]),
    "last seed left out": _tuned(lambda bits: bits[0], lambda bits: _mean(bits[:-1])),
    "last seed chooses": _tuned(lambda bits: bits[-1], lambda bits: _mean(bits[:-1])),
    "added up": _tuned(lambda bits: bits[0], lambda bits: sum(bits[1:])),
    "divided by all seeds": _tuned(lambda bits: bits[0], lambda bits: sum(bits[1:]) / len(bits)),
    "the rate": lambda runs: min(runs, key=lambda rate: runs[rate][0]),
    "last rate": lambda runs: _mean([*runs.values()][-1][1:]),
}


def _draw_sweep(rng: Draw) -> tuple[Any, ...]:
    """Rates of which each way to choose takes another one."""
    rows = [  # seed 0, seeds 1 to 3, seed 4
        [2.10, 2.22, 2.22, 2.22, 2.22],  # seed 0 chooses this one
        [2.14, 2.16, 2.16, 2.16, 2.16],  # the best mean
        [2.26, 2.15, 2.15, 2.15, 2.15],  # the best mean without seed 0
        [2.27, 2.27, 2.04, 2.27, 2.27],  # the best run
        [2.25, 2.25, 2.25, 2.25, 2.08],  # the last seed chooses this one
        [2.40, 2.22, 2.22, 2.22, 2.22],  # the worst with seed 0
    ]
    order = torch.randperm(len(rows), generator=rng.generator).tolist()
    usual = [2.2] * 5  # of the smallest rate and of the last one
    drawn = [usual, *(rows[i] for i in order), usual]
    rates = (1, 16, 24, 4, 12, 2, 32, 8)
    chance = (0.008 * (2 * torch.rand(len(rates), 5, generator=rng.generator) - 1)).tolist()
    return (
        {
            rate / 1000: [round(x + y, 4) for x, y in zip(row, off, strict=True)]
            for rate, row, off in zip(rates, drawn, chance, strict=True)
        },
    )


def _by_hand(runs: Sweep) -> float:
    best: list[float] | None = None
    for rate in runs:
        if best is None or runs[rate][0] < best[0]:
            best = runs[rate]
    assert best is not None
    return statistics.mean(best[1:])


def _by_lists(runs: Sweep) -> float:
    rates = [*runs]
    first = [runs[rate][0] for rate in rates]
    _, *rest = runs[rates[first.index(min(first))]]
    return sum(rest) / len(rest)


def _as_table(runs: Sweep) -> Tensor:
    table = torch.tensor([*runs.values()])  # (rates, seeds)
    return table[table[:, 0].argmin(), 1:].mean()


# my_report

Report = dict[str, Any]

RESULTS = {
    "plain gate": [3.174, 3.0763, 3.0522, 3.0801],
    "tanh gate": [3.2425, 3.0945, 3.1183, 3.173],
}


def _report(**changes: Any) -> Report:
    """The report of the solution, with some fields changed."""
    report: Report = {
        "question": "Does a tanh on the gate slow down learning?",
        "varied": "the activation of the gate: none, or tanh",
        "equal": "multiplications and parameters, exactly; text, steps, batches, seeds",
        "budget": "pydocs, 150 steps of 12 windows of 32 bytes, rate 0.008, not tuned",
        "seeds": [0, 1, 2, 3],
        "results": RESULTS,
        "winner": "plain gate",
        "conclusion": "The plain gate needs 0.061 bits less; the 95 % interval is 0.011 to 0.111.",
        "not_shown": ["longer runs", "other rates: the one rate was found for the plain gate"],
    }
    report |= changes
    return {"summary": {name: spread(bits) for name, bits in report["results"].items()}} | report


def _summary(key: str, of: Callable[[list[float]], float]) -> dict[str, Any]:
    """The summary of the results, one of its numbers computed in another way."""
    return {name: spread(bits) | {key: of(bits)} for name, bits in RESULTS.items()}


def _without(report: Report, key: str) -> Report:
    return {name: value for name, value in report.items() if name != key}


def _use_report(answer: Callable[[], Any]) -> Any:
    """The name of the first fault of a report; an empty text where there is none.

    A report is a dict, or a text or the path of a file that holds one: as JSON, or the page that
    ``to_markdown`` makes. What ``complain`` says of it is printed, and so shown below the verdict.
    """
    report = answer()
    if report is None:
        return None
    if isinstance(report, str | Path):
        text = str(report).strip()
        if "\n" not in text and not text.startswith("{"):
            if not Path(text).is_file():
                return "no report, and no file"
            text = Path(text).read_text(encoding="utf-8").strip()
        report = json.loads(text) if text.startswith("{") else _from_page(text)
    if not isinstance(report, Mapping):
        raise TypeError(
            f"my_report returned a {type(report).__name__}; asked for is a dict with the fields "
            "that FIELDS names"
        )
    try:
        complaints = complain(report)
        fault = _fault(report, complaints)
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise ValueError(
            f"the report cannot be read ({error}). Look at print(FIELDS): is each field of the "
            "kind that stands there?"
        ) from None
    if complaints:
        print("`complain` says:", "; ".join(complaints))
    return fault


LABELS = {
    "varied": "**Varied:**",
    "equal": "**Held equal:**",
    "budget": "**Budget:**",
    "conclusion": "**Conclusion:**",
}


def _from_page(page: str) -> Report:
    """The report of a page in the form of ``to_markdown``; what it lacks is missing here, too.

    The page does not say who won. It is taken to be who did, so the conclusion has to name it.
    """
    report: Report = {}
    rows = []
    for line in map(str.strip, page.splitlines()):
        if line.startswith("## "):
            report["question"] = line[3:]
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif line.startswith("- "):
            report.setdefault("not_shown", []).append(line[2:])
        for key, label in LABELS.items():
            if line.startswith(label):
                report[key] = line.removeprefix(label).strip()
    if len(rows) < 3:
        return report
    head, _, *rows = rows
    runs = [i for i, cell in enumerate(head) if cell.startswith("seed ")]
    report["seeds"] = [int(head[i].removeprefix("seed ")) for i in runs]
    report["results"] = {row[0]: [float(row[i]) for i in runs] for row in rows}
    report["summary"] = {
        row[0]: {key: float(row[head.index(key)]) for key in ("mean", "error") if key in head}
        for row in rows
    }
    apart = []
    if len(runs) > 1:
        results = report["results"]
        apart = [name for name in results if not complain_of_winner(name, results)]
    return report | {"winner": apart[0] if len(apart) == 1 else None}


STARTS = {
    "question": "no question mark",
    "results has one": "one model",
    "conclusion": "conclusion names no model",
    "not_shown": "one text for a list",
}


def _fault(report: Mapping[str, Any], complaints: list[str]) -> str:
    if not complaints:
        return _fault_of_claim(report)
    first, results = complaints[0], report.get("results", {})
    if " is missing: " in first:
        return "field missing"
    if " is empty: " in first:
        return "field empty"
    if first.startswith("seeds"):
        twice = len(set(report["seeds"])) < len(report["seeds"])
        return "a seed counted twice" if twice else "too few seeds"
    if first.startswith("winner"):
        if report["winner"] not in results:
            return "winner is none of the models"
        return "undecided, and yet a winner" if "0 lies" in first else "opposite of the table"
    for start, fault in STARTS.items():
        if first.startswith(start):
            return fault
    if first.startswith("results"):
        return "no finite number" if "finite" in first else "results do not fit the seeds"
    return _fault_of_summary(first, report)


def _fault_of_summary(complaint: str, report: Mapping[str, Any]) -> str:
    name = next(n for n in report["results"] if complaint.startswith(f"summary of {n}: "))
    key = "mean" if complaint.startswith(f"summary of {name}: mean") else "error"
    values, given = report["results"][name], report["summary"].get(name, {}).get(key)
    if given is None:
        return "no mean" if key == "mean" else "no error bars"
    right = spread(values)
    known = {"best seed for the mean": min(values)}
    if key == "error":
        known = {
            "deviation for the error": right["deviation"],
            "interval for the error": right["error"] * FACTORS[min(len(values), max(FACTORS))],
            "two errors": 2 * right["error"],
            "range for the error": (max(values) - min(values)) / 2,
        }
    near = [fault for fault, value in known.items() if abs(given - value) <= 1e-3]
    return near[0] if near else f"another {key}"


def _fault_of_claim(report: Mapping[str, Any]) -> str:
    """What ``complain`` lets pass: a winner that the text does not name, or that is kept back."""
    winner, results = report["winner"], report["results"]
    if winner is None:
        apart = [name for name in results if not complain_of_winner(name, results)]
        return "decided, and no winner" if apart else ""
    return "" if winner in report["conclusion"] else "conclusion without the winner"


def _undecided_report() -> Report:
    return _report(
        results={
            "small": [2.2, 2.3, 2.1],
            "wide": [2.21, 2.27, 2.12],
            "deep": [2.25, 2.29, 2.11],
        },
        seeds=range(3),
        winner=None,
        conclusion="Undecided: wide and deep are as small, as far as three seeds can tell.",
    )


def _one_seed() -> Report:
    bits = {name: values[:1] for name, values in RESULTS.items()}
    summary = {name: {"mean": values[0], "error": 0.0} for name, values in bits.items()}
    return _report(seeds=[0], results=bits, summary=summary)


def _two_errors_in_a_report() -> Report:
    report = _undecided_report()  # of three seeds: with four, two errors are a deviation
    for found in report["summary"].values():
        found["error"] *= 2
    return report


def _zipped_as_they_stand(a: dict[int, float], b: dict[int, float]) -> tuple[float, float]:
    left = [value for seed, value in a.items() if seed in b]
    right = [value for seed, value in b.items() if seed in a]
    found = spread([y - x for x, y in zip(left, right, strict=True)])
    return found["mean"], found["error"]


EXERCISES = (
    Exercise(
        name="standard_error",
        lesson=LESSON,
        axes="",
        draw=_draw_values,
        tolerance=1e-4,  # float32 will do
        solution=_standard_error,
        alternatives=(
            lambda values: statistics.stdev(values) / math.sqrt(len(values)),
            lambda values: np.std(values, ddof=1) / np.sqrt(len(values)),
            _by_torch,
            _by_population,
            _by_pairs,
        ),
        misconceptions=(
            Misconception(
                "k for k - 1",
                lambda values: statistics.pstdev(values) / len(values) ** 0.5,
                "You divide the squares by k. The mean was computed from the same values, so they "
                "lie a little too near to it.",
                "numpy's `std` does so unless told otherwise; torch's does not.",
            ),
            Misconception(
                "deviation",
                statistics.stdev,
                "You return the standard deviation: how far a single run lies from the mean. Asked "
                "for is how far the mean may be off.",
                "What becomes of it when there are more runs?",
            ),
            Misconception(
                "deviation, and k for k - 1",
                statistics.pstdev,
                "You return a standard deviation, and one that divides by k. Asked for is how far "
                "the mean may be off.",
                "The formulas of 13.3 have two divisions. By what, each time?",
            ),
            Misconception(
                "divided by k, not its root",
                lambda values: statistics.stdev(values) / len(values),
                "You divide the deviation by k. That shrinks too fast.",
                "To halve the error it takes four times the runs.",
            ),
            Misconception(
                "k for k - 1, and divided by k, not its root",
                lambda values: statistics.pstdev(values) / len(values),
                "You divide by k both times. In the deviation stands k - 1, and the deviation is "
                "divided by a root.",
                "The formulas of 13.3 have two divisions. By what, each time?",
            ),
            Misconception(
                "variance over k",
                lambda values: statistics.variance(values) / len(values),
                "You return the square of the error: the last root is missing.",
                "In which unit is it? Bits, or bits squared?",
            ),
            Misconception(
                "variance",
                statistics.variance,
                "You return the variance, a square. Two steps are missing.",
                "In which unit is it? And what becomes of it when there are more runs?",
            ),
            Misconception(
                "variance over the root of k",
                lambda values: statistics.variance(values) / len(values) ** 0.5,
                "You divide the variance by the root of k; its own root is missing.",
                "In which unit is it? Bits, or bits squared?",
            ),
            Misconception(
                "k - 1 twice",
                lambda values: statistics.stdev(values) / (len(values) - 1) ** 0.5,
                "You divide by k - 1 both times. In the second place stands k.",
                "Why k - 1 in the deviation? Does that hold for the number of runs as well?",
            ),
            Misconception(
                "root before the division",
                lambda values: _squares(values) ** 0.5 / (len(values) - 1) / len(values) ** 0.5,
                "You take the root of the sum, and then divide by k - 1.",
                "The division by k - 1 stands under the root.",
            ),
            Misconception(
                "no division",
                lambda values: _squares(values) ** 0.5,
                "You take the root of the sum of squares, and divide by nothing.",
                "There are two divisions, one for each formula.",
            ),
            Misconception(
                "distances not squared",
                lambda values: (
                    sum(abs(x - _mean(values)) for x in values) / len(values) / len(values) ** 0.5
                ),
                "You average the distances themselves, not their squares.",
                "A deviation is the root of a mean of squares.",
            ),
            Misconception(
                "signs kept",
                lambda values: sum(x - _mean(values) for x in values) / len(values),
                "You add up the distances with their signs. Those above and below the mean cancel, "
                "and 0 is left.",
                "What makes every distance count, up or down?",
            ),
            Misconception(
                "half of the range",
                lambda values: (max(values) - min(values)) / 2,
                "You return half of the range. That hangs on two runs, and grows with their "
                "number.",
                "What should become of the error when there are more runs?",
            ),
            Misconception(
                "two errors",
                lambda values: 2 * _standard_error(values),
                "You return two errors, the half of a common error bar.",
                "One standard error is asked for.",
            ),
            Misconception(
                "half of the interval",
                lambda values: FACTORS[len(values)] * _standard_error(values),
                "You multiply by Student's factor: this is half of the 95 % interval.",
                "One standard error is asked for.",
            ),
            Misconception(
                "mean",
                _mean,
                "You return the mean itself.",
                "Asked for is how far it may be off.",
            ),
        ),
        hints=(
            "How far does one run lie from the mean? And why is the mean of many runs a better "
            "guess than one?",
            "Two steps: the standard deviation, with k - 1 below, and then a division by the root "
            "of k.",
            "mean = sum / k; add the squares of the distances, divide by k - 1, take the root, "
            "divide by k ** 0.5.",
        ),
    ),
    prediction(
        "chance_of_five_wins",
        LESSON,
        _chance_of_five_wins,
        because="There are 32 ways in which five seeds can fall, and in two of them one model wins "
        "all: 1 in 16. So five wins in five happen by chance more often than 1 time in 20. What "
        "decided in 13.5 were not the wins but their sizes.",
        misconceptions=(
            Misconception(
                "one model named beforehand",
                lambda: 1 / 32,
                "This is how often a model that you named beforehand wins all five. Here either "
                "may.",
                "In how many of the 32 ways are all five alike?",
            ),
            Misconception(
                "95 %",
                lambda: 0.05,
                "You took the 5 % that a 95 % interval leaves. Nobody chose this experiment to "
                "have it.",
                "Count: in how many ways can five seeds fall, and in how many are all alike?",
            ),
            Misconception(
                "one in five",
                lambda: 1 / 5,
                "You divide 1 by the number of seeds.",
                "Each further seed must fall like the ones before it. How often does it?",
            ),
            Misconception(
                "one seed",
                lambda: 1 / 2,
                "This is the chance for one seed.",
                "Each further seed must fall like the first. How often does it?",
            ),
            Misconception(
                "wins counted from none to five",
                lambda: 2 / 6,
                "You treat 0, 1, 2, … 5 wins as equally likely. Three wins can come about in more "
                "ways than five.",
                "Count the ways, seed by seed: 2 times 2 times …",
            ),
            Misconception(
                "five wins of six numbers",
                lambda: 1 / 6,
                "You treat 0, 1, 2, … 5 wins as equally likely. Three wins can come about in more "
                "ways than five.",
                "Count the ways, seed by seed: 2 times 2 times …",
            ),
            Misconception(
                "the other way round",
                lambda: 1 - 1 / 16,
                "This is how often the seeds do not agree.",
                "Asked for is how often all five agree.",
            ),
            Misconception(
                "in percent",
                lambda: 100 / 16,
                "The number is right, in percent. Asked for is a share, between 0 and 1.",
                "A quarter is 0.25.",
            ),
            Misconception(
                "five squared",
                lambda: 1 / 25,
                "You count 5 times 5 ways. Each of five seeds falls in one of two ways.",
                "For two seeds there are 4 ways: list them.",
            ),
            Misconception(
                "one step too few",
                lambda: 1 / 8,
                "This is the chance for four seeds.",
                "For two seeds there are 4 ways: list them, and mark those that agree.",
            ),
        ),
        hints=(
            "Seed 0 falls as it likes. How often does seed 1 fall like it? And seed 2?",
            "Each of the four further seeds agrees with the first half of the time.",
            "Four halves, multiplied.",
        ),
    ),
    Exercise(
        name="paired_difference",
        lesson=LESSON,
        axes=",",
        kind="extend",
        draw=_draw_runs,
        draws=4,
        parts=("mean", "error"),
        tolerance=1e-4,
        solution=_paired_difference,
        alternatives=(_by_sets, _in_torch, _with_statistics),
        misconceptions=(
            Misconception(
                "paired by place",
                _in_given_order,
                "You pair the results in the order in which they stand. Their seeds are not in one "
                "order.",
                "What do `a` and `b` have in common: the place, or the key?",
            ),
            Misconception(
                "paired by place, strictly",
                _in_given_order_strictly,
                "You pair the results in the order in which they stand, and there are not equally "
                "many. Even where there are, their seeds are not in one order.",
                "What do `a` and `b` have in common: the place, or the key?",
            ),
            Misconception(
                "paired in the order of seeds",
                _in_order_of_seeds,
                "You sort by seed and pair by place. Where a seed is missing, all that follow are "
                "paired with a wrong one.",
                "Which seeds do both have?",
            ),
            Misconception(
                "paired in the order of results",
                _in_order_of_results,
                "You sort the results before you pair them: best with best, worst with worst. "
                "That is no longer seed by seed.",
                "The seed decides who belongs together.",
            ),
            Misconception(
                "seed missing in b",
                lambda a, b: _mean_and_error([b[seed] - a[seed] for seed in a]),
                "You look up every seed of `a` in `b`, and one is not there.",
                "Which seeds do both have?",
            ),
            Misconception(
                "seed missing in a",
                lambda a, b: _mean_and_error([b[seed] - a[seed] for seed in b]),
                "You look up every seed of `b` in `a`, and one is not there.",
                "Which seeds do both have?",
            ),
            Misconception(
                "missing counts as 0",
                lambda a, b: _mean_and_error([b.get(seed, 0.0) - x for seed, x in a.items()]),
                "A run that is missing counts as 0 bits in yours, better than any model.",
                "What can be said about a seed that only one of them has?",
            ),
            Misconception(
                "unpaired",
                _two_errors(math.hypot, common=False),
                "You take the difference of the two means, each over all its runs, and put their "
                "errors together. That is the unpaired way.",
                "Subtract seed by seed, before you take a mean.",
            ),
            Misconception(
                "error unpaired",
                _two_errors(math.hypot),
                "Your mean is right. Your error adds those of both models as squares, as if the "
                "seeds had nothing in common.",
                "You have one row of differences. How much do they spread?",
            ),
            Misconception(
                "errors added",
                _two_errors(lambda x, y: x + y),
                "Your mean is right. Your error is the sum of the two models' errors.",
                "You have one row of differences. How much do they spread?",
            ),
            Misconception(
                "difference of the errors",
                _two_errors(lambda x, y: y - x),
                "Your mean is right. Your error is the difference of two errors; it says nothing.",
                "You have one row of differences. How much do they spread?",
            ),
            Misconception(
                "mean of all runs",
                _mean_of_all,
                "Your error is right. Your mean also counts runs whose seed the other model lacks.",
                "Mean and error belong to the same row of differences.",
            ),
            Misconception(
                "all in one row",
                _one_row,
                "Your error is that of all results in one row, of both models together.",
                "Subtract first: then there is one row, of differences.",
            ),
            Misconception(
                "sign",
                _changed(lambda d: _mean_and_error([-x for x in d])),
                "Your sign is turned: this is how much `a` lies above `b`.",
                "Where b is larger, the difference is positive.",
            ),
            Misconception(
                "absolute values",
                _changed(lambda d: _mean_and_error([abs(x) for x in d])),
                "You drop the signs. A seed with which `b` was ahead then counts for `a`.",
                "Differences that go up and down should cancel.",
            ),
            Misconception(
                "k for k - 1",
                _changed(lambda d: (_mean(d), statistics.pstdev(d) / len(d) ** 0.5)),
                "Your error divides the squares by k, not by k - 1.",
                "numpy's `std` does so unless told otherwise.",
            ),
            Misconception(
                "deviation",
                _changed(lambda d: (_mean(d), statistics.stdev(d))),
                "Your second number is the deviation of the differences, not the error of their "
                "mean.",
                "What becomes of it when there are more seeds?",
            ),
            Misconception(
                "deviation, and k for k - 1",
                _changed(lambda d: (_mean(d), statistics.pstdev(d))),
                "Your second number is a deviation, and one that divides by k. Asked for is the "
                "standard error of the mean.",
                "There are two divisions, as in exercise 1.",
            ),
            Misconception(
                "the two swapped",
                lambda a, b: _paired_difference(a, b)[::-1],
                "You return the error first and the mean second.",
                "The order is: mean, error.",
            ),
            Misconception(
                "divided by k, not its root",
                _changed(lambda d: (_mean(d), statistics.stdev(d) / len(d))),
                "You divide the deviation by k. That shrinks too fast.",
                "To halve the error it takes four times the runs.",
            ),
            Misconception(
                "half of the interval",
                _changed(lambda d: (_mean(d), FACTORS[len(d)] * spread(d)["error"])),
                "Your second number is half of the 95 % interval.",
                "One standard error is asked for.",
            ),
            Misconception(
                "interval",
                _changed(
                    lambda d: (
                        _mean(d) - FACTORS[len(d)] * spread(d)["error"],
                        _mean(d) + FACTORS[len(d)] * spread(d)["error"],
                    )
                ),
                "You return the two ends of the 95 % interval.",
                "Asked for are the mean and its standard error.",
            ),
            Misconception(
                "added up",
                _changed(lambda d: (sum(d), spread(d)["error"])),
                "Your first number is the sum of the differences, not their mean.",
                "It should not grow with the number of seeds.",
            ),
            Misconception(
                "zipped as they stand",
                _zipped_as_they_stand,
                "You drop the seeds without a partner, but then pair the others in the order in "
                "which they stand.",
                "The two dicts need not list their seeds in one order. What does `b[seed]` give?",
            ),
        ),
        hints=(
            "Seed 3 is in both, seed 5 only in one. Of which can you form a difference?",
            "Make one list of differences, b minus a, for the seeds that are keys of both. Then it "
            "is a row of values like any other.",
            "`[b[seed] - a[seed] for seed in a if seed in b]`, its mean, and its standard error.",
        ),
    ),
    Exercise(
        name="tuned_result",
        lesson=LESSON,
        axes="",
        kind="debug",
        draw=_draw_sweep,
        stub=_found_tuned_result,
        tolerance=1e-5,
        solution=_tuned_result,
        alternatives=(_by_hand, _by_lists, _as_table),
        misconceptions=(
            Misconception(
                "best of everything",
                _SEVERAL_RESULTS["best of everything"],
                "You still report the best of all runs: best rate and best seed. The luck in it "
                "does not come again.",
                "Who chooses, and who counts? They should not be the same runs.",
            ),
            Misconception(
                "the choosing seed counted",
                _SEVERAL_RESULTS["the choosing seed counted"],
                "The rate is chosen by seed 0, and then seed 0 counts in the mean as well: its "
                "luck comes along.",
                "Which seeds had no part in the choice?",
            ),
            Misconception(
                "the choosing seed alone",
                _SEVERAL_RESULTS["the choosing seed alone"],
                "You report the very run by which the rate was chosen.",
                "Which seeds had no part in the choice?",
            ),
            Misconception(
                "all seeds choose, all count",
                _SEVERAL_RESULTS["all seeds choose, all count"],
                "You choose the rate with the best mean and report that mean. The same runs choose "
                "and count, so the result is a little too good.",
                "Here seed 0 chooses. Who is left to count?",
            ),
            Misconception(
                "the others choose and count",
                _SEVERAL_RESULTS["the others choose and count"],
                "You leave seed 0 out, and then choose the rate by the very seeds that count.",
                "Seed 0 is there to choose.",
            ),
            Misconception(
                "all seeds choose",
                _SEVERAL_RESULTS["all seeds choose"],
                "You choose the rate by the mean of all seeds, so those that count have had a "
                "part in the choice.",
                "Seed 0 alone chooses.",
            ),
            Misconception(
                "the best seed chooses",
                _SEVERAL_RESULTS["the best seed chooses"],
                "You choose the rate that has the best single run, whatever its seed.",
                "Seed 0 alone chooses.",
            ),
            Misconception(
                "the best seed chooses, all count",
                _SEVERAL_RESULTS["the best seed chooses, all count"],
                "You choose the rate that has the best single run, and then that run counts.",
                "Seed 0 alone chooses. Who is left to count?",
            ),
            Misconception(
                "best of the others",
                _SEVERAL_RESULTS["best of the others"],
                "You report the best of the other seeds. Asked for is their mean.",
                "Best against mean is no comparison (13.6).",
            ),
            Misconception(
                "worst rate",
                _SEVERAL_RESULTS["worst rate"],
                "You choose the rate with the most bits. Less is better.",
                "`min`, not `max`.",
            ),
            Misconception(
                "all rates",
                _SEVERAL_RESULTS["all rates"],
                "You average over all rates, good and bad. Nothing has been chosen.",
                "First choose one rate, then average its seeds.",
            ),
            Misconception(
                "everything",
                _SEVERAL_RESULTS["everything"],
                "You average over all runs there are. Nothing has been chosen.",
                "First choose one rate, then average its seeds.",
            ),
            Misconception(
                "smallest rate",
                _SEVERAL_RESULTS["smallest rate"],
                "You take the smallest rate: `min` of a dict looks at its keys.",
                "`min(runs, key=...)` lets you say by what to compare.",
            ),
            Misconception(
                "last rate",
                _SEVERAL_RESULTS["last rate"],
                "Your answer is that of the last rate.",
                "Does your loop keep the best one, or the latest?",
            ),
            Misconception(
                "last seed left out",
                _SEVERAL_RESULTS["last seed left out"],
                "You leave out the last seed. The one that chose is the first.",
                "At which place in the list does seed 0 stand?",
            ),
            Misconception(
                "last seed chooses",
                _SEVERAL_RESULTS["last seed chooses"],
                "You let the last seed choose. It should be seed 0, the first.",
                "At which place in the list does seed 0 stand?",
            ),
            Misconception(
                "added up",
                _SEVERAL_RESULTS["added up"],
                "You add the results of the other seeds up. Asked for is their mean.",
                "It should not grow with the number of seeds.",
            ),
            Misconception(
                "divided by all seeds",
                _SEVERAL_RESULTS["divided by all seeds"],
                "You divide by the number of all seeds; one of them is not in your sum.",
                "How many results did you add up?",
            ),
            Misconception(
                "the rate",
                _SEVERAL_RESULTS["the rate"],
                "You return the chosen rate. Asked for is what it achieves.",
                "Which list belongs to that rate?",
            ),
        ),
        hints=(
            "In the example all rates are equally good. Which luck does the given code pick, and "
            "how many chances does it have?",
            "Split the runs in two: those that choose the rate, and those that say how good it is. "
            "No run may do both.",
            "rate = the one with the least `runs[rate][0]`; the result is the mean of "
            "`runs[rate][1:]`.",
        ),
    ),
    Exercise(
        name="my_report",
        lesson=LESSON,
        axes="",
        kind="extend",
        draw=lambda rng: (),
        draws=1,
        use=_use_report,
        solution=_report,
        alternatives=(
            _undecided_report,
            lambda: json.dumps(_report()),
            lambda: to_markdown(_report()),
        ),
        because="The form is right: every field, the seeds, the errors, and a claim that the "
        "numbers carry. Whether the question was worth asking, you must say. "
        "`print(to_markdown(my_report()))` makes the page.",
        misconceptions=(
            Misconception(
                "no report, and no file",
                lambda: "my_report.json",
                "You return a text of one line, and no file has that name.",
                "Return the dict itself, or the path of a file that is there.",
            ),
            Misconception(
                "field missing",
                lambda: _without(_report(), "not_shown"),
                "A field is missing: a reader of the page would have to ask you.",
                "`FIELDS` names all ten.",
            ),
            Misconception(
                "field empty",
                lambda: _report(equal=""),
                "A field is there, but empty.",
                "`FIELDS` says what it should hold.",
            ),
            Misconception(
                "too few seeds",
                _one_seed,
                "One or two seeds are no result: nobody can tell chance from effect.",
                "At least three runs of each model; fix their number before you look.",
            ),
            Misconception(
                "a seed counted twice",
                lambda: _report(seeds=[0, 1, 2, 2]),
                "A seed stands there twice. The same run counted twice makes the error too small.",
                "Each seed once: the second run with it has the same result.",
            ),
            Misconception(
                "results do not fit the seeds",
                lambda: _report(results={**RESULTS, "tanh gate": RESULTS["tanh gate"][:3]}),
                "A model has not as many results as there are seeds.",
                "One result for each seed, in the order of the seeds. What became of the others?",
            ),
            Misconception(
                "one model",
                lambda: _report(results={"plain gate": RESULTS["plain gate"]}),
                "There is one model, and nothing to compare it with.",
                "Good beside what? See 13.1.",
            ),
            Misconception(
                "no finite number",
                lambda: _report(
                    results={**RESULTS, "tanh gate": [3.2, math.nan, 3.1, 3.2]},
                    summary=_summary("mean", _mean),
                ),
                "A result is NaN or infinite. A run that broke off has no result.",
                "Say so under not_shown, or run it again with another rate for all.",
            ),
            Misconception(
                "no error bars",
                lambda: _report(summary={n: {"mean": _mean(b)} for n, b in RESULTS.items()}),
                "Your means have no errors: nobody can see how far they may be off.",
                "Exercise 1 computes them, and so does `spread`.",
            ),
            Misconception(
                "no mean",
                lambda: _report(
                    summary={n: {"error": spread(b)["error"]} for n, b in RESULTS.items()}
                ),
                "A model has no mean in the summary. Its name there must be the one in the "
                "results.",
                "`spread(values)` is what the summary wants for each model.",
            ),
            Misconception(
                "best seed for the mean",
                lambda: _report(summary=_summary("mean", min)),
                "In your summary the best seed stands where the mean should. The best of several "
                "runs is partly luck.",
                "Mean against mean: see 13.6.",
            ),
            Misconception(
                "another mean",
                lambda: _report(summary=_summary("mean", max)),
                "A mean in your summary is not that of the results above it.",
                "Were the results changed after the summary? Compute it from them with `spread`.",
            ),
            Misconception(
                "deviation for the error",
                lambda: _report(summary=_summary("error", statistics.stdev)),
                "Your error is the standard deviation: how far a single run lies off, not how far "
                "the mean does.",
                "Question four of 13.6: how long is the bar, and what is it?",
            ),
            Misconception(
                "interval for the error",
                lambda: _report(
                    summary=_summary("error", lambda b: FACTORS[len(b)] * spread(b)["error"])
                ),
                "Your error is half of the 95 % interval; the field wants one standard error.",
                "Question four of 13.6: how long is the bar, and what is it?",
            ),
            Misconception(
                "two errors",
                _two_errors_in_a_report,
                "Your error is two standard errors; the field wants one.",
                "Question four of 13.6: how long is the bar, and what is it?",
            ),
            Misconception(
                "range for the error",
                lambda: _report(summary=_summary("error", lambda b: (max(b) - min(b)) / 2)),
                "Your error is half of the range of the results.",
                "Exercise 1 computes what is asked for, and so does `spread`.",
            ),
            Misconception(
                "another error",
                lambda: _report(summary=_summary("error", statistics.variance)),
                "An error in your summary is not that of the results above it.",
                "Were the results changed after the summary? Compute it from them with `spread`.",
            ),
            Misconception(
                "opposite of the table",
                lambda: _report(winner="tanh gate", conclusion="The tanh gate is better."),
                "Your winner is worse than another model, and clearly so. The claim says the "
                "opposite of the table.",
                "These are bits per byte. Is more of them better?",
            ),
            Misconception(
                "undecided, and yet a winner",
                lambda: _undecided_report() | {"winner": "small"},
                "You name a winner, but the interval of its differences to another model contains "
                "0: these runs cannot tell.",
                "`None` is a result, too. Or fix a larger number of seeds, and run them all.",
            ),
            Misconception(
                "decided, and no winner",
                lambda: _report(winner=None, conclusion="Between plain gate and tanh gate: open."),
                "You name no winner, but one model beats every other one.",
                "Put the interval on the differences, seed by seed: does it contain 0?",
            ),
            Misconception(
                "winner is none of the models",
                lambda: _report(winner="the plain one"),
                "Your winner is none of the models in the results.",
                "Write its name as it stands there.",
            ),
            Misconception(
                "conclusion without the winner",
                lambda: _report(conclusion="The tanh gate is the better one."),
                "Your conclusion does not name the winner. Do the two say the same?",
                "Read `winner` and `conclusion` side by side.",
            ),
            Misconception(
                "conclusion names no model",
                lambda: _report(conclusion="It is a little better."),
                "Your conclusion names none of the models.",
                "Write a name as it stands in the results.",
            ),
            Misconception(
                "no question mark",
                lambda: _report(question="Tanh on the gate"),
                "Your question is none. A topic cannot be answered.",
                "What do you want to know? It ends with a question mark.",
            ),
            Misconception(
                "one text for a list",
                lambda: _report(not_shown="Longer runs."),
                "`not_shown` is one text. It should be a list, a sentence for each thing.",
                "Square brackets, even around a single one.",
            ),
        ),
        hints=(
            "What do you want to know, beside what, and after how much work? Can a number answer "
            "it?",
            "Choose the seeds first, run both models with each, and write the results down. "
            "`spread` makes the summary; `interval(differences(a, b))` tells whether you may name "
            "a winner.",
            "A dict with the ten keys of FIELDS. While you write it, print(complain(report)); what "
            "is left in the list is to be mended. If the interval contains 0, winner is None.",
        ),
    ),
)
