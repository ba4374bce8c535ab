"""How long a class takes to grade, how much memory, and whether every score is the right one.

    python -m benchmarks.grading [--lesson 02_causal_masking] [--students 200] [--jobs 2]

The class is made up, from a seed. For each exercise a student hands in the stub as it was given,
the solution, one of the other right answers or one of the known mistakes, as their source stands
in gmlp/checks; so we know what each mark should be. Memory is the proportional set size of all
processes together, measured once a second. Linux only.
"""

import argparse
import ast
import csv
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gmlp.checks.core import registry
from gmlp.checks.verify import code_cells
from gmlp.grading.grade import grade_class, lesson_of
from gmlp.grading.submissions import program

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Answer:
    """Source that binds the name of an exercise, and the mark that it should get."""

    source: str
    state: str
    diagnosis: str | None = None


def answers(lesson: str) -> tuple[str, dict[str, list[Answer]]]:
    """The code that answers of a lesson share, and the answers by exercise.

    Of those in gmlp/checks, the ones that use what is not there in the sandbox are left out.
    """
    package = ROOT / "gmlp/checks" / f"{lesson.partition('_')[2]}.py"
    tree = ast.parse(package.read_text(encoding="utf-8"))
    shared = ast.unparse([node for node in tree.body if not _binds_exercises(node)])
    given = code_cells(ROOT / f"exercises/{lesson}.ipynb")
    found: dict[str, list[Answer]] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "Exercise"):
            continue
        parts = {keyword.arg: keyword.value for keyword in node.keywords}
        name = ast.literal_eval(parts["name"])
        right = [parts["solution"], *_items(parts["alternatives"])]
        wrong = [one for one in _items(parts["misconceptions"]) if isinstance(one, ast.Call)]
        made = [Answer(f"{name} = {ast.unparse(one)}", "right") for one in right]
        for call in wrong:
            diagnosis = ast.literal_eval(call.args[0])
            made.append(Answer(f"{name} = {ast.unparse(call.args[1])}", "wrong", diagnosis))
        works = [
            one
            for one in made
            if "from gmlp." not in "".join(program(name, [shared, one.source], []) or [])
        ]
        found[name] = [Answer("\n\n".join(given), "not attempted"), *works]
    return shared, found


def _items(node: ast.expr) -> Sequence[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else []


def _binds_exercises(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXERCISES"


def hand_in(folder: Path, lesson: str, students: int, seed: int) -> dict[str, dict[str, Answer]]:
    """Write a notebook for each student; what they answered, by student and exercise."""
    shared, known = answers(lesson)
    rng = random.Random(seed)
    handed: dict[str, dict[str, Answer]] = {}
    for number in range(students):
        chosen = {name: rng.choice(known[name]) for name in known if known[name]}
        cells = [shared, *dict.fromkeys(answer.source for answer in chosen.values())]
        # A stub is the whole notebook as it was given: what answers comes after it.
        cells.sort(key=lambda source: "raise NotImplementedError" not in source)
        code = [{"cell_type": "code", "metadata": {}, "source": source} for source in cells]
        handed[f"{number:03}"] = chosen
        path = folder / f"{number:03}.ipynb"
        path.write_text(json.dumps({"cells": code, "nbformat": 4, "nbformat_minor": 5}))
    return handed


def memory() -> int:
    """Bytes that this process and all below it hold; what several share counts once."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return sum(_own(pid) for pid in _below(parents))


def _below(parents: dict[int, int]) -> Iterator[int]:
    import os

    for pid in parents:
        one = pid
        while one in parents and one != os.getpid():
            one = parents[one]
        if one == os.getpid():
            yield pid


def _own(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--lesson", default="02_causal_masking")
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(1):
            peak = max(peak, memory())

    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "in", Path(place) / "out"
        folder.mkdir()
        handed = hand_in(folder, arguments.lesson, arguments.students, arguments.seed)
        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        grade_class(ROOT, arguments.lesson, folder, out, jobs=arguments.jobs, seed=arguments.seed)
        seconds = time.monotonic() - started
        done.set()
        watcher.join()
        noted = [json.loads(line) for line in (out / "marks.jsonl").read_text().splitlines()]
        with (out / "grades.csv").open(newline="") as file:
            scores = {row["student"]: float(row["score"]) for row in csv.DictReader(file)}
    points = lesson_of(ROOT, arguments.lesson).points
    unexpected = 0
    for student, chosen in handed.items():
        right = [name for name, answer in chosen.items() if answer.state == "right"]
        unexpected += scores[student] != sum(points[name] for name in right)
    misnamed = 0
    for one in noted:
        for mark in one["marks"]:
            answer = handed[one["student"]].get(mark["exercise"])
            if answer and (mark["state"], mark["diagnosis"]) != (answer.state, answer.diagnosis):
                misnamed += 1
                print(one["student"], mark["exercise"], answer, mark["state"], mark["diagnosis"])
    kinds = len({answer.source for chosen in handed.values() for answer in chosen.values()})
    print(
        f"{arguments.students} students, {len(registry())} exercises in the course, "
        f"{kinds} different answers: {seconds:.1f} s, at most {peak / 2**30:.2f} GiB, "
        f"{unexpected} unexpected scores, {misnamed} unexpected verdicts"
    )


if __name__ == "__main__":
    main()
