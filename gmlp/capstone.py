"""Lesson 13, capstone: a report on a comparison, and what is still missing in it.

A report is a plain dict, so that it can be kept as JSON, printed and checked. ``FIELDS`` says what
each of its keys holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

FIELDS: Mapping[str, str] = {
    "question": "one sentence that ends with a question mark and that a number can answer",
    "varied": "the one thing in which the models differ",
    "equal": "what they have in common, and how nearly",
    "budget": "text, steps and batch, and how each learning rate was chosen",
    "seeds": "a list of different whole numbers, at least three",
    "results": "{model: [its result with each seed, in the order of seeds]}, less is better",
    "summary": "{model: {'mean': ..., 'error': ...}}, as spread() computes them",
    "winner": "the model that beats every other one, by its interval; None where none does",
    "conclusion": "what follows from the numbers, with the name of a model",
    "not_shown": "a list of sentences: what a reader might conclude, but should not",
}

# Student's t, 95 %, both sides, by the number of values. For more it comes down, at last to 1.96.
FACTORS = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}

Report = Mapping[str, Any]


def spread(values: Sequence[float]) -> dict[str, float]:
    r"""Mean, standard deviation and standard error of some results.

    .. math:: m = \frac1k \sum_i x_i, \qquad s = \sqrt{\frac1{k-1} \sum_i (x_i - m)^2}, \qquad
              e = \frac{s}{\sqrt k}

    Raises:
        ValueError: fewer than two values, which have no spread.
    """
    k = len(values)
    if k < 2:
        raise ValueError(f"a spread needs at least two values; got {k}")
    mean = sum(values) / k
    deviation = float((sum((value - mean) ** 2 for value in values) / (k - 1)) ** 0.5)
    return {"mean": mean, "deviation": deviation, "error": float(deviation / k**0.5)}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a 95 % interval for the mean: so many standard errors to either side.

    How many depends on the number of values: few values know little of their own spread. Source:
    Student 1908, "The probable error of a mean".
    """
    found = spread(values)
    half = FACTORS[min(len(values), max(FACTORS))] * found["error"]  # never too narrow
    return found["mean"] - half, found["mean"] + half


def differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """How much ``b`` lies above ``a``, seed by seed.

    Raises:
        ValueError: not as many values in one as in the other.
    """
    return [y - x for x, y in zip(a, b, strict=True)]


def complain(report: Report) -> list[str]:
    """What a report still lacks, a sentence each; an empty list where nothing is missing.

    Looks at what can be looked up: that every field is filled, that results and seeds fit, that the
    summary is that of the results, and that a winner beats every other model: the 95 % interval of
    the other's results minus its own, seed by seed, lies above 0.
    """
    found = [f"{key} is missing: {what}" for key, what in FIELDS.items() if key not in report]
    found += [
        f"{key} is empty: {FIELDS[key]}"
        for key in FIELDS
        if key in report and key != "winner" and not report[key]
    ]
    if found:
        return found

    seeds, results, summary = report["seeds"], report["results"], report["summary"]
    if not str(report["question"]).rstrip().endswith("?"):
        found.append("question does not end with a question mark: what do you want to know?")
    if len(set(seeds)) < 3 or len(set(seeds)) < len(seeds):
        found.append(f"seeds are {list(seeds)}: at least three, and each counts once")
    if len(results) < 2:
        found.append("results has one model: nothing to compare it with")
    for name, values in results.items():
        if len(values) != len(seeds):
            found.append(f"results of {name}: {len(values)} values for {len(seeds)} seeds")
        if not all(abs(value) < float("inf") for value in values):
            found.append(f"results of {name}: a value that is no finite number")
        elif len(values) > 1:
            found += complain_of_summary(name, values, summary)
    if not any(name in report["conclusion"] for name in results):
        found.append("conclusion names none of the models")
    if isinstance(report["not_shown"], str):
        found.append("not_shown is one text: make it a list of sentences")
    return found or complain_of_winner(report["winner"], results)


def complain_of_summary(
    name: str, values: Sequence[float], summary: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Whether a model's mean and error are those of its results, to three decimals."""
    right, given = spread(values), summary.get(name, {})
    return [
        f"summary of {name}: {key} is {given.get(key)}, the results give {right[key]:.3f}"
        for key in ("mean", "error")
        if not abs(given.get(key, float("inf")) - right[key]) <= 1e-3
    ]


def complain_of_winner(winner: str | None, results: Mapping[str, Sequence[float]]) -> list[str]:
    """Whether a model that is called the winner beats every other one."""
    if winner is None:
        return []
    if winner not in results:
        return [f"winner is {winner!r}, which is none of the models: {', '.join(results)}"]
    found = []
    for name, values in results.items():
        if name != winner:
            low, high = interval(differences(results[winner], values))
            if low <= 0:
                so = "0 lies within" if high >= 0 else "that is below 0"
                found.append(
                    f"winner is {winner}, but {name} minus {winner} is {low:+.3f} to {high:+.3f} "
                    f"(95 %), and {so}"
                )
    return found


def to_markdown(report: Report) -> str:
    """The report as a page, with a table of all results.

    Raises:
        ValueError: a report of which :func:`complain` has something to say.
    """
    missing = complain(report)
    if missing:
        raise ValueError("not ready to be printed: " + "; ".join(missing))
    head = ["model", *(f"seed {seed}" for seed in report["seeds"]), "mean", "error"]
    rows = [
        [
            name,
            *(f"{value:.3f}" for value in values),
            *(f"{report['summary'][name][key]:.3f}" for key in ("mean", "error")),
        ]
        for name, values in report["results"].items()
    ]
    lines = [
        f"## {report['question']}",
        "",
        f"**Varied:** {report['varied']}",
        "",
        f"**Held equal:** {report['equal']}",
        "",
        f"**Budget:** {report['budget']}",
        "",
        *(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]),
        "",
        f"**Conclusion:** {report['conclusion']}",
        "",
        "**What this does not show:**",
        "",
        *(f"- {sentence}" for sentence in report["not_shown"]),
    ]
    return "\n".join(lines) + "\n"
