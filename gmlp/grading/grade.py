"""Grades the submissions of one lesson: scores, feedback for each student, a class summary."""

import ast
import csv
import functools
import hashlib
import html
import io
import json
import os
import pickletools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from gmlp.checks.core import Draw, Exercise, judge_elsewhere, registry, unchanged
from gmlp.checks.progress import write_whole
from gmlp.checks.report import Result
from gmlp.checks.verify import code_cells
from gmlp.grading.sandbox import Limits, Lost, Sandbox, SandboxError, pickled
from gmlp.grading.submissions import (
    Submission,
    broken_cell,
    defines,
    find_submissions,
    notebook_points,
    program,
)

STUB = {
    "gmlp/__init__.py": "",
    "gmlp/checks/__init__.py": "def check(*a, **k): pass\n\n\ndef hint(*a, **k): pass\n",
}


@dataclass(frozen=True)
class Mark:
    """What one exercise of one student came to."""

    exercise: str
    state: str  # right, wrong, raised, not attempted, lost
    diagnosis: str | None
    points: float
    text: str
    page: str


@dataclass(frozen=True)
class Lesson:
    """What grading needs to know of a lesson."""

    name: str
    exercises: tuple[str, ...]
    points: dict[str, float]
    given: tuple[str, ...]  # the code of its notebook of exercises
    modules: dict[str, str]  # files of the package that its exercises may import


def lesson_of(root: Path, name: str) -> Lesson:
    """The lesson of this name, with the modules that its notebook of exercises imports."""
    path = root / "exercises" / f"{name}.ipynb"
    given = code_cells(path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    exercises = [one.exercise for one in registry().values() if one.exercise.lesson == name]
    names = [exercise.name for exercise in exercises]
    points = {name: 1.0 for name in names} | notebook_points(cells)
    return Lesson(name, tuple(names), points, tuple(given), _files(given, exercises))


def _files(given: Sequence[str], exercises: Sequence[Exercise]) -> dict[str, str]:
    """Files of the package: what the notebook imports, what the inputs are made of, and what these
    import in their turn."""
    package = Path(__file__).parents[1]
    homes = {  # where the names that the package itself offers are defined
        alias.name: node.module
        for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    offered: set[str] = set()

    def imported(code: str) -> Iterator[str]:
        for node in ast.walk(ast.parse(re.sub(r"(?m)^[ \t]*[%!].*$", "", code))):
            if isinstance(node, ast.ImportFrom) and node.module == "gmlp":
                names = {alias.name for alias in node.names}
                offered.update(names & homes.keys())
                yield from (homes.get(name, f"gmlp.{name}") for name in names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""

    todo = [module for code in given for module in imported(code)]
    todo += [module for exercise in exercises for module in _mentioned(exercise)]
    files = dict(STUB)
    while todo:
        place = todo.pop().replace(".", "/") + ".py"
        path = package.parent / place
        if re.fullmatch(r"gmlp/\w+\.py", place) and place not in files and path.exists():
            files[place] = path.read_text(encoding="utf-8")
            todo += imported(files[place])
    lines = [f"from {homes[name]} import {name} as {name}\n" for name in sorted(offered)]
    return files | {"gmlp/__init__.py": "".join(lines)}


def _mentioned(exercise: Exercise) -> set[str]:
    """The modules of the package that must be there when an exercise's inputs are unpacked."""
    generator = torch.Generator().manual_seed(0)
    cases = [exercise.draw(Draw(generator, i)) for i in range(exercise.draws)]
    words = {word for _, word, _ in pickletools.genops(pickled([cases, exercise.use]))}
    return {word for word in words if isinstance(word, str) and word.startswith("gmlp.")}


def grade_one(sandbox: Sandbox, lesson: Lesson, submission: Submission, seed: int) -> list[Mark]:
    """The marks of one student, in the order of the lesson."""
    return [_mark(sandbox, lesson, submission, name, seed) for name in lesson.exercises]


def _mark(sandbox: Sandbox, lesson: Lesson, submission: Submission, name: str, seed: int) -> Mark:
    exercise = registry()[name].exercise
    result = _result(sandbox, lesson, submission, exercise, seed)
    state = "lost" if result.diagnosis == "lost" else str(result.state)
    points = lesson.points[name] if result.state == "right" else 0.0
    return Mark(name, state, result.diagnosis, points, repr(result), result._repr_html_())


def _result(
    sandbox: Sandbox, lesson: Lesson, submission: Submission, exercise: Exercise, seed: int
) -> Result:
    if submission.problem:
        told = f"The notebook could not be graded: {submission.problem}."
        return Result(exercise.name, "raised", "lost", (told,))
    cells = program(exercise.name, submission.cells, lesson.given)
    if cells is None:
        if told := broken_cell(exercise.name, submission.cells):
            return Result(exercise.name, "raised", "SyntaxError", (told,))
        told = f"The notebook does not define `{exercise.name}`."
        return Result(exercise.name, "not attempted", None, (told,))
    last = [cell for cell in cells if defines(exercise.name, cell)][-1:]
    if unchanged("".join(last), exercise):
        told = "This is still the code that you were given."
        return Result(exercise.name, "not attempted", None, (told,))
    # Another seed for each exercise, the same for every student.
    digest = hashlib.sha256(f"{seed} {exercise.name}".encode()).digest()
    own = int.from_bytes(digest[:7], "little")
    try:
        return judge_elsewhere(
            exercise,
            own,
            lambda names, cases, number, grad: sandbox.run(
                cells, exercise, names, cases, number, grad
            ),
        )
    except Lost as lost:
        told = (
            f"There is no result, because {lost}. Does a loop never end, or does it ask for much?"
        )
        return Result(exercise.name, "raised", "lost", (told,))
    except SandboxError:
        raise
    except Exception as error:  # a number or a reply of which nobody thought; the others go on
        told = f"Its answer could not be compared ({type(error).__name__}). Ask your teacher."
        return Result(exercise.name, "raised", "lost", (told,))


# ---------------------------------------------------------------- a class


def grade_class(
    root: Path,
    lesson_name: str,
    folder: Path,
    out: Path,
    *,
    seed: int = 0,
    jobs: int = 1,
    limits: Limits | None = None,
    on_student: Callable[[str, int], object] = lambda student, number: None,
) -> dict[str, Any]:
    """Grade every submission in ``folder`` and write ``grades.csv``, ``feedback/`` and
    ``summary.html`` to ``out``; the summary as data.

    Each student's marks are noted as soon as they are there. When it is started again with the same
    submissions, seed, limits and course, only the others are graded.

    Raises:
        ValueError: nothing to grade.
    """
    lesson = lesson_of(root, lesson_name)
    limits = limits or Limits()
    submissions = find_submissions(folder, lesson.exercises)
    keys = {one.student: _key(one, lesson, seed, limits) for one in submissions}
    out.mkdir(parents=True, exist_ok=True)
    notes = out / "marks.jsonl"
    done = _noted(notes)
    todo = [one for one in submissions if keys[one.student] not in done]
    number = len(submissions) - len(todo)
    with notes.open("a", encoding="utf-8") as file:
        file.write("\n" * bool(todo and file.tell()))  # after a line that a crash cut off
        for submission, marks in _graded(todo, lesson, seed, jobs, limits):
            key = keys[submission.student]
            done[key] = marks
            line = {"key": key, "student": submission.student, "marks": [*map(asdict, marks)]}
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            number += 1
            on_student(submission.student, number)
    graded = [(one, done[keys[one.student]]) for one in submissions]
    _write(out / "grades.csv", _table(lesson, graded))
    names = _file_names([one.student for one in submissions])
    for submission, marks in graded:
        page = _feedback(lesson, submission, marks)
        _write(out / "feedback" / f"{names[submission.student]}.html", page)
    found = _summary(lesson, graded)
    _write(out / "summary.html", _summary_page(found))
    found["marks"] = {one.student: marks for one, marks in graded}
    return found


def _graded(
    todo: Sequence[Submission], lesson: Lesson, seed: int, jobs: int, limits: Limits
) -> Iterator[tuple[Submission, list[Mark]]]:
    if not todo:
        return
    if jobs == 1:
        with Sandbox(lesson.modules, limits) as sandbox:
            for submission in todo:
                yield submission, grade_one(sandbox, lesson, submission, seed)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start, initargs=(lesson, limits)
    ) as pool:
        waiting = {pool.submit(_in_pool, submission, seed): submission for submission in todo}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_pool: dict[str, Any] = {}


def _start(lesson: Lesson, limits: Limits) -> None:
    import atexit

    torch.set_num_threads(1)
    _pool["lesson"], _pool["sandbox"] = lesson, Sandbox(lesson.modules, limits)
    atexit.register(_pool["sandbox"].close)


def _in_pool(submission: Submission, seed: int) -> list[Mark]:
    return grade_one(_pool["sandbox"], _pool["lesson"], submission, seed)


def _key(submission: Submission, lesson: Lesson, seed: int, limits: Limits) -> str:
    """Changes with all on which the marks depend."""
    facts = [submission.student, submission.digest, submission.problem, seed]
    all_facts = json.dumps([*facts, asdict(lesson), asdict(limits), _course()])
    return hashlib.sha256(all_facts.encode()).hexdigest()


@functools.cache
def _course() -> str:
    """A digest of the code that checks and grades."""
    digest = hashlib.sha256()
    for folder in ("checks", "grading"):
        for path in sorted((Path(__file__).parents[1] / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _noted(path: Path) -> dict[str, list[Mark]]:
    """The marks noted so far; a line that a crash cut off is left out."""
    found: dict[str, list[Mark]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                one = json.loads(line)
                found[one["key"]] = [Mark(**mark) for mark in one["marks"]]
            except (ValueError, KeyError, TypeError):
                continue
    return found


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # half a character, say


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    text = re.sub(r"[\x00-\x1f\x7f]", " ", text)
    return (
        f"'{text}"
        if text.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
        else text
    )


def _table(lesson: Lesson, graded: Sequence[tuple[Submission, list[Mark]]]) -> str:
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["student", "score", "points", *lesson.exercises, "remark"])
    for submission, marks in graded:
        points = sum(lesson.points[name] for name in lesson.exercises)
        score = sum(mark.points for mark in marks)
        states = [mark.state for mark in marks]
        remark = _cell(submission.problem)
        table.writerow([_cell(submission.student), f"{score:g}", f"{points:g}", *states, remark])
    return file.getvalue()


def _file_names(students: Sequence[str]) -> dict[str, str]:
    """A safe name of a file for each student, different for different ones."""
    names = {}
    for student in students:
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", student)[:60].strip("-")
        digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        names[student] = f"{safe}-{digest}".lstrip("-")
    return names


PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>{title}</title>'
    "<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;"
    "padding:0 1rem;color-scheme:light dark}}section{{margin:1.5rem 0}}"
    "td,th{{padding:.2rem .8rem .2rem 0;text-align:left}}"
    ".bar{{background:#0072b2;height:.8rem}}</style><h1>{title}</h1>{body}</html>\n"
)


def _feedback(lesson: Lesson, submission: Submission, marks: Sequence[Mark]) -> str:
    score, points = sum(mark.points for mark in marks), sum(lesson.points.values())
    body = f"<p>{html.escape(submission.student)}: {score:g} of {points:g} points.</p>"
    body += "".join(f"<section>{mark.page}</section>" for mark in marks)
    return PAGE.format(title=f"Lesson {html.escape(lesson.name)}", body=body)


def _summary(lesson: Lesson, graded: Sequence[tuple[Submission, list[Mark]]]) -> dict[str, Any]:
    states: dict[str, Counter[str]] = {name: Counter() for name in lesson.exercises}
    known: Counter[tuple[str, str]] = Counter()
    for _, marks in graded:
        for mark in marks:
            states[mark.exercise][mark.state] += 1
            if mark.state in ("wrong", "raised") and mark.diagnosis:
                known[mark.exercise, mark.diagnosis] += 1
    return {
        "lesson": lesson.name,
        "students": len(graded),
        "points": sum(lesson.points.values()),
        "scores": dict(Counter(f"{sum(mark.points for mark in marks):g}" for _, marks in graded)),
        "states": {name: dict(counted) for name, counted in states.items()},
        "misconceptions": [
            {"exercise": name, "diagnosis": what, "students": number}
            for (name, what), number in known.most_common(20)
        ],
    }


def _summary_page(found: dict[str, Any]) -> str:
    """Scores and mistakes of the class as bars; each bar's number stands beside it."""

    def bars(rows: Sequence[tuple[str, int]]) -> str:
        most = max((number for _, number in rows), default=0) or 1
        lines = [
            f"<tr><td>{html.escape(label)}</td><td>{number}</td><td style='width:14rem'>"
            f"<div class=bar style='width:{100 * number / most:.0f}%'></div></td></tr>"
            for label, number in rows
        ]
        return f"<table>{''.join(lines)}</table>"

    scores = sorted(found["scores"].items(), key=lambda one: float(one[0]))
    body = f"<p>{found['students']} students.</p><h2>Points</h2>"
    body += bars([(f"{score} of {found['points']:g}", number) for score, number in scores])
    body += "<h2>Exercises: right</h2>"
    body += bars([(name, states.get("right", 0)) for name, states in found["states"].items()])
    body += "<h2>Most common mistakes</h2>"
    body += bars(
        [(f"{m['exercise']}: {m['diagnosis']}", m["students"]) for m in found["misconceptions"]]
    )
    return PAGE.format(title=f"Lesson {html.escape(found['lesson'])}: the class", body=body)
