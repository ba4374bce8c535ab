"""The bridge to nbgrader: its folders, gradebook, formgrader and feedback; the marks are ours.

nbgrader never runs what a student wrote, and never scores it: submissions go through the sandbox of
:mod:`gmlp.grading`, and what came of them is written into nbgrader's own database. Importing
nbgrader takes seconds, so that is left to the functions here.
"""

import glob
import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gmlp.checks.progress import write_whole
from gmlp.grading.grade import Lesson, Mark, grade_class, lesson_of
from gmlp.grading.sandbox import Limits
from gmlp.grading.submissions import Submission, find_submissions, program

Cell = dict[str, Any]  # of a notebook, as JSON has it

CONFIG = """\
# Settings of this nbgrader course. https://nbgrader.readthedocs.io lists them all.
c = get_config()

# The name of the course on your JupyterHub, if there is one.
c.CourseDirectory.course_id = "gmlp"

# What stands in place of a solution; the checks know it as "not attempted".
c.ClearSolutions.code_stub = {"python": "# your code here\\nraise NotImplementedError"}

# `gmlp classroom grade` gives the scores, in a sandbox. nbgrader's own autograde would run the code
# of students on this machine, with the gradebook within its reach. So it neither runs nor scores.
c.Autograde.autograde_preprocessors = ["nbgrader.preprocessors.CheckCellMetadata"]
"""
MOST_TEXT, MOST_IMAGE = 100_000, 4_000_000  # characters of an output that are kept for the grader


@dataclass
class Report:
    """What came of one lesson.

    ``notes`` has a sentence for whatever a teacher should look at; ``failed`` one for each student
    whose marks could not be written.
    """

    lesson: str
    students: int = 0
    right: int = 0  # exercises
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- nbgrader, when it is needed


def _nbgrader() -> Any:
    """The package, with the parts that are used here.

    Raises:
        ValueError: it, or something else that grading needs, is not installed.
    """
    try:
        import cloudpickle  # type: ignore[import-untyped]  # noqa: F401
        import nbgrader.api
        import nbgrader.apps
        import nbgrader.converters
        import nbgrader.nbgraderformat
        import nbgrader.preprocessors
        import nbgrader.utils
    except ModuleNotFoundError as error:
        raise ValueError(
            f'{error.name} is not installed here: pip install "gmlp-course[classroom]"'
        ) from error
    # It starts `alembic` by name, which lies beside this Python and need not be on the path.
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if (beside := str(Path(sys.executable).parent)) not in paths:
        os.environ["PATH"] = os.pathsep.join([beside, *paths])
    return nbgrader


def _application(folder: Path) -> Any:
    """nbgrader as it starts in this folder, with the settings of its ``nbgrader_config.py``."""
    application = _nbgrader().apps.NbGrader(log_level="CRITICAL")
    application.load_cwd_config = False  # that of the course is meant, wherever we are
    before = sys.path.copy()
    try:
        application.initialize([], root=str(folder.resolve()))
    finally:
        sys.path[:] = before  # it adds the working directory
    return application


@contextmanager
def _gradebook(application: Any) -> Iterator[Any]:
    directory = application.coursedir
    with _nbgrader().api.Gradebook(directory.db_url, directory.course_id) as book:
        yield book


def _place(application: Any, step: str, student: str, lesson: str) -> Path:
    """Where a step (``source``, ``submitted``, …) of a lesson is kept."""
    directory = application.coursedir
    name = getattr(directory, f"{step}_directory")
    return Path(directory.format_path(name, student, lesson))


# ---------------------------------------------------------------- a new course


def init_course(root: Path, folder: Path, lessons: Sequence[str]) -> list[Path]:
    """Make a course directory for nbgrader, or add lessons to one; nothing is overwritten.

    Args:
        root: the folder of our course.
        folder: the course directory: new, empty, or with an ``nbgrader_config.py``.
        lessons: names of the lessons.

    Returns:
        The released notebooks, one for each lesson; the gradebook knows their cells.

    Raises:
        ValueError: something is in the way, nbgrader is missing, or it refuses a notebook.
    """
    config = folder / "nbgrader_config.py"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give the name of a folder")
    if folder.exists() and any(folder.iterdir()) and not config.exists():
        raise ValueError(
            f"{folder} is not empty, and no course of nbgrader: it has no {config.name}. "
            "Give a new folder; nothing was changed"
        )
    sources = [root / "solutions" / f"{lesson}.ipynb" for lesson in lessons]
    if missing := [path for path in sources if not path.exists()]:
        raise ValueError(f"{missing[0]} is missing: that lesson has no exercises to hand out")
    nbgrader = _nbgrader()
    fresh = not config.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        config.write_text(CONFIG, encoding="utf-8")
    made: list[Path] = []
    try:
        application = _application(folder)
        steps = ("source", "release")
        places = [_place(application, step, ".", lesson) for lesson in lessons for step in steps]
        if there := [place for place in places if place.exists()]:
            raise ValueError(
                f"{there[0]} is there already; nothing was changed. Give other lessons "
                "(--lesson NN) or a new folder"
            )
        made += places
        for lesson, source in zip(lessons, sources, strict=True):
            path = _place(application, "source", ".", lesson) / f"{lesson}.ipynb"
            path.parent.mkdir(parents=True)
            path.write_text(_source(source), encoding="utf-8")
        for lesson in lessons:
            directory = application.coursedir
            directory.assignment_id = lesson
            step = nbgrader.converters.GenerateAssignment(coursedir=directory, parent=application)
            came = nbgrader.utils.capture_log(step)
            if not came["success"]:
                told = (came.get("log") or came["error"]).strip()
                raise ValueError(f"nbgrader could not make an assignment of {lesson}: {told}")
    except BaseException:
        for place in [*made, *(folder.iterdir() if fresh else ())]:
            shutil.rmtree(place, ignore_errors=True)
            place.unlink(missing_ok=True)
        raise
    return [_place(application, "release", ".", one) / f"{one}.ipynb" for one in lessons]


def _source(path: Path) -> str:
    """A notebook of solutions without outputs; its links lead out of the course directory."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    title = _text(notebook["cells"][0])
    found = re.search(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+/blob/[\w.-]+)/", title)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        elif found:
            there = f"](https://github.com/{found[1]}/"
            cell["source"] = _text(cell).replace("](../", there)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


# ---------------------------------------------------------------- grading


def grade_course(
    root: Path,
    folder: Path,
    lesson: str | None = None,
    *,
    seed: int = 0,
    jobs: int = 1,
    limits: Limits | None = None,
    keep_overrides: bool = False,
    on_student: Callable[[str, int], object] = lambda student, number: None,
) -> list[Report]:
    """Grade what lies in ``submitted/STUDENT/LESSON`` and enter it in nbgrader's gradebook.

    The score of every autograded cell is all of its points or none, and its comment is what the
    check says. Cells for a person to grade keep the scores that they have. The copies in
    ``autograded/`` are what formgrader and ``nbgrader generate_feedback`` show: the student's
    cells with our results, without anything that a browser would run.

    Args:
        root: the folder of our course.
        folder: the course directory.
        lesson: its name; ``None`` takes all that have submissions.
        seed: decides the inputs.
        jobs: students graded at once.
        limits: for each exercise of each student.
        keep_overrides: leave scores that a person gave to autograded cells.
        on_student: called with each student and how many are done.

    Raises:
        ValueError: no course, no such assignment in it, nothing to grade, or nbgrader is missing.
    """
    if not (folder / "nbgrader_config.py").exists():
        raise ValueError(
            f"{folder} is no course of nbgrader: it has no nbgrader_config.py. To make one: "
            "gmlp classroom init DIR"
        )
    application = _application(folder)
    with _gradebook(application) as book:
        known = [assignment.name for assignment in book.assignments]
    ours = [one for one in known if (root / "exercises" / f"{one}.ipynb").exists()]
    wanted = [lesson] if lesson else [one for one in ours if _students(application, one)]
    if lesson and lesson not in known:
        raise ValueError(
            f"the gradebook has no assignment {lesson}; add it with gmlp classroom init "
            f"{folder} --lesson {lesson[:2]}"
        )
    if not wanted or not all(_students(application, one) for one in wanted):
        place = _place(application, "submitted", "STUDENT", lesson or "LESSON")
        raise ValueError(f"no submissions; they belong in {place}")
    return [
        _grade_lesson(
            application,
            lesson_of(root, one),
            folder / "grading" / one,
            lambda lesson, found, out: _marks(
                root, lesson, found, out, seed, jobs, limits, on_student
            ),
            keep_overrides,
        )
        for one in wanted
    ]


def _students(application: Any, lesson: str) -> dict[str, Path]:
    """The folder of each student who handed this lesson in."""
    directory = application.coursedir
    pattern = directory.directory_structure.format(
        nbgrader_step=directory.submitted_directory, student_id="*", assignment_id=lesson
    )
    name = directory.format_path(
        directory.submitted_directory, r"(?P<student>[^/\\]*)", lesson, escape=True
    )
    found = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(directory.root), pattern))):
        match = re.fullmatch(name, path)
        if match and Path(path).is_dir():
            found[match["student"]] = Path(path)
    return found


def _grade_lesson(
    application: Any,
    lesson: Lesson,
    out: Path,
    grade: Callable[[Lesson, Sequence[Submission], Path], dict[str, list[Mark]]],
    keep_overrides: bool,
) -> Report:
    report = Report(lesson.name)
    with _gradebook(application) as book:
        released = _Released.read(application, book, lesson)
        report.notes += released.notes
        found: list[Submission] = []
        for student, folder in _students(application, lesson.name).items():
            if not student.isprintable() or "," in student:
                report.failed.append(
                    f"{student!r}: nbgrader cannot have a student of this name; rename the folder"
                )
                continue
            one = _handed_in(student, folder, lesson)
            found.append(replace(one, problem=one.problem or _duplicates(one, released)))
        sound = [one for one in found if not one.problem]
        marks = grade(lesson, sound, out) if sound else {}
        for one in found:
            try:
                notes = _enter(
                    application, book, released, one, marks.get(one.student), keep_overrides
                )
            except Exception as error:  # whatever it is, the others have a right to their marks
                book.db.rollback()
                report.failed.append(f"{one.student}: {type(error).__name__}: {error}")
                continue
            report.students += 1
            report.right += sum(mark.state == "right" for mark in marks.get(one.student, ()))
            report.notes += [f"{one.student}: {note}" for note in notes]
    return report


def _marks(
    root: Path,
    lesson: Lesson,
    submissions: Sequence[Submission],
    out: Path,
    seed: int,
    jobs: int,
    limits: Limits | None,
    on_student: Callable[[str, int], object],
) -> dict[str, list[Mark]]:
    """The marks of each student; those that are noted in ``out`` are not made again."""
    with tempfile.TemporaryDirectory(prefix="gmlp-classroom-") as stage:
        for one in submissions:
            path = Path(stage, one.student, f"{lesson.name}.ipynb")
            path.parent.mkdir()
            shutil.copyfile(one.path, path, follow_symlinks=False)
        found = grade_class(
            root,
            lesson.name,
            Path(stage),
            out,
            seed=seed,
            jobs=jobs,
            limits=limits,
            on_student=on_student,
        )
        return found["marks"]


def _handed_in(student: str, folder: Path, lesson: Lesson) -> Submission:
    """The notebook that counts: that of the lesson's name, else the one with most exercises."""
    expected = folder / f"{lesson.name}.ipynb"
    try:
        found = find_submissions(folder, lesson.exercises)
    except ValueError:
        return Submission(student, expected, "", problem="there is no notebook in the submission")

    def rank(one: Submission) -> tuple[bool, bool, int]:
        defined = [program(name, one.cells, lesson.given) for name in lesson.exercises]
        return one.path == expected, not one.problem, len(defined) - defined.count(None)

    return replace(max(found, key=rank), student=student)


def _duplicates(submission: Submission, released: "_Released") -> str:
    """Says which known id two cells have, if two have; which of them is meant, nobody can tell."""
    where: dict[str, list[int]] = {}
    for number, cell in enumerate(_cells(submission), 1):
        if (name := _id(cell)) in released.cells:
            where.setdefault(name, []).append(number)
    told = [
        f"cells {', '.join(map(str, numbers))} have one nbgrader id, `{name}`"
        for name, numbers in where.items()
        if len(numbers) > 1
    ]
    if not told:
        return ""
    return (
        f"{'; '.join(told)}. A cell that is copied keeps its id: put the text of the copy into a "
        "new cell, delete the copy, and hand it in again"
    )


# ---------------------------------------------------------------- what was handed out


@dataclass(frozen=True)
class _Released:
    """The notebook of the assignment, of which gradebook and students have the cells."""

    lesson: str
    notebook: dict[str, Any]
    cells: dict[str, Cell]  # by their nbgrader id, in order
    exercises: dict[str, str]  # of each autograded cell; empty where no check of ours knows it
    comments: dict[str, str]  # the cell whose comment tells what an autograded cell found
    notes: tuple[str, ...]

    @classmethod
    def read(cls, application: Any, book: Any, lesson: Lesson) -> "_Released":
        name = lesson.name
        path = _place(application, "release", ".", name) / f"{name}.ipynb"
        mend = f"run nbgrader generate_assignment {name} --force in the course directory"
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is missing; {mend}") from None
        cells = {_id(cell): cell for cell in notebook["cells"] if _id(cell)}
        assignment = book.find_assignment(name)
        known = [
            cell.name
            for one in assignment.notebooks
            if one.name == name
            for cell in one.source_cells
        ]
        if set(known) != set(cells):
            raise ValueError(f"{path} and the gradebook do not have the same cells; {mend}")
        exercises, comments, answer = {}, {}, ""
        for key, cell in cells.items():
            facts = cell["metadata"]["nbgrader"]
            if facts["solution"]:
                answer = key
            elif facts["grade"]:
                exercise = key.removeprefix("check-")
                exercises[key] = exercise if exercise in lesson.exercises else ""
                comments[key] = exercise if exercise in cells else answer
        notes = [
            f"cell {key}: no check of the course knows it, so it has no points; a person may give "
            "them in formgrader"
            for key, exercise in exercises.items()
            if not exercise
        ]
        notes += [
            f"notebook {one.name}: only {name}.ipynb is graded here"
            for one in assignment.notebooks
            if one.name != name
        ]
        return cls(name, notebook, cells, exercises, comments, tuple(notes))


# ---------------------------------------------------------------- one student's entry


def _enter(
    application: Any,
    book: Any,
    released: _Released,
    submission: Submission,
    marks: Sequence[Mark] | None,
    keep_overrides: bool,
) -> list[str]:
    """Write one student's scores, comments and graded copy; what a teacher should know of it."""
    student, lesson = submission.student, released.lesson
    notes: list[str] = []
    by_name = {mark.exercise: mark for mark in marks or ()}
    if submission.problem:
        notes.append(f"not graded: {submission.problem}")
    for name, lost in by_name.items():
        if lost.state == "lost":
            _, *lines = lost.text.splitlines()
            notes.append(f"{name}: {' '.join(map(str.strip, lines))}")
    path = _place(application, "autograded", student, lesson) / f"{lesson}.ipynb"
    before = _answers(path)
    copy = _graded_copy(submission, released, by_name)
    answers = {_id(cell): _text(cell) for cell in copy["cells"]}

    when, trouble = _timestamp(application, lesson, student)
    notes += trouble
    book.update_or_create_student(student)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbgrader's own order of steps, which SQLAlchemy dislikes
        book.update_or_create_submission(lesson, student, timestamp=when)
    entry = book.find_submission_notebook(lesson, lesson, student)
    comments: dict[str, list[str]] = {}
    for grade in entry.grades:
        if grade.name in released.exercises:
            mark = by_name.get(released.exercises[grade.name])
            told = mark.text if mark else f"Not graded: {submission.problem or 'no check'}."
            comments.setdefault(released.comments[grade.name], []).append(told)
            notes += _score(grade, mark, released.exercises[grade.name], keep_overrides)
        else:
            _await_person(grade, released, before.get(grade.name), answers[grade.name])
    for comment in entry.comments:
        if comment.name in comments:
            comment.auto_comment = _inert("\n\n".join(comments[comment.name]))
        elif not released.cells[comment.name]["metadata"]["nbgrader"].get("task"):
            untouched = answers[comment.name] == _text(released.cells[comment.name])
            comment.auto_comment = "No response." if untouched else None
    book.db.commit()

    mode = 0o664 if application.coursedir.groupshared else 0o444
    _write(path, json.dumps(copy, ensure_ascii=False, indent=1) + "\n", mode)
    if when is not None:  # nbgrader compares it with that of the submission
        _write(path.with_name("timestamp.txt"), f"{when:%Y-%m-%d %H:%M:%S.%f} UTC\n", mode)
    facts = {
        "student": student,
        "assignment": lesson,
        "notebook": lesson,
        "db_url": application.coursedir.db_url,
    }
    penalties = _nbgrader().preprocessors.AssignLatePenalties(parent=application)
    penalties.preprocess(_node(copy), {"nbgrader": facts})
    return notes


def _score(grade: Any, mark: Mark | None, exercise: str, keep_overrides: bool) -> list[str]:
    """Enter the score of an autograded cell; a note if one by hand was in the way."""
    notes = []
    grade.auto_score = float(grade.max_score) if mark and mark.state == "right" else 0.0
    by_hand = [
        what for what in ("manual_score", "extra_credit") if getattr(grade, what) is not None
    ]
    if by_hand and exercise and not keep_overrides:
        told = " and ".join(f"{what} {getattr(grade, what):g}" for what in by_hand)
        notes.append(f"{grade.name}: removed {told}; --keep-overrides would have left it")
        for what in by_hand:
            setattr(grade, what, None)
        by_hand = []
    # What gave no result, a person should see; that is not the zero of a wrong answer.
    unclear = mark is None or mark.state == "lost"
    grade.needs_manual_grade = unclear and not by_hand
    return notes


def _await_person(grade: Any, released: _Released, before: str | None, now: str) -> None:
    """Leave a cell to formgrader, as nbgrader does: an answer that was not touched has no points.

    A score by hand stays; when the answer has changed since, somebody should look again.
    """
    cell = released.cells[grade.name]
    untouched = now == _text(cell) and not cell["metadata"]["nbgrader"].get("task")
    grade.auto_score = 0.0 if untouched else None
    if grade.manual_score is None:
        grade.needs_manual_grade = not untouched
    elif before is not None and before != now:
        grade.needs_manual_grade = True


def _timestamp(application: Any, lesson: str, student: str) -> tuple[Any, list[str]]:
    """When it was handed in, as ``timestamp.txt`` says, and what a teacher should know of that."""
    path = _place(application, "submitted", student, lesson) / "timestamp.txt"
    if path.is_symlink() or not path.is_file():
        return None, []
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(100).strip()
        return (_nbgrader().utils.parse_utc(text) if text else None), []
    except (OSError, ValueError, OverflowError, TypeError, AttributeError):
        return None, ["timestamp.txt is no point in time, so nothing is known of its being late"]


def _write(path: Path, text: str, mode: int) -> None:
    """Replace a file, whole or not at all; one that is right already stays as it is."""
    content = text.encode("utf-8")
    if not (path.is_file() and path.read_bytes() == content):
        write_whole(path, content, mode)


# ---------------------------------------------------------------- the graded copy


def _graded_copy(
    submission: Submission, released: _Released, marks: Mapping[str, Mark]
) -> dict[str, Any]:
    """What is shown of a submission: the student's cells, our metadata and our results.

    Ids, points, locked text and results are as they were handed out, whatever the submission says;
    cells that it lacks stand at the end.
    """
    given = {_text(cell) for cell in released.notebook["cells"]}
    cells: list[Cell] = []
    seen: set[str] = set()
    for cell in _cells(submission):
        name = _id(cell)
        if name in released.cells and name not in seen:
            seen.add(name)
            cells.append(_restored(cell, released.cells[name]))
        else:
            cells.append(_plain(cell, cell.get("cell_type") == "code", given))
    if submission.problem:
        told = f"**This notebook was not graded:** {_inert(submission.problem)}."
        cells.insert(0, {"cell_type": "markdown", "metadata": {}, "source": told})
    cells += [_restored(cell, cell) for name, cell in released.cells.items() if name not in seen]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        mark = marks.get(released.exercises.get(_id(cell), ""))
        if _id(cell) in released.exercises and cell["cell_type"] == "code":
            page = {"text/html": mark.page, "text/plain": mark.text} if mark else None
            shown = {"output_type": "display_data", "metadata": {}, "data": page}
            cell["outputs"] = [shown] if page else []
    notebook = {
        "cells": cells,
        "metadata": released.notebook["metadata"],
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    _nbgrader().nbgraderformat.MetadataValidator().validate_nb(_node(notebook))
    return notebook


def _restored(cell: Cell, ours: Cell) -> Cell:
    """A cell that was handed out, with the student's answer if it is one to answer in."""
    facts = ours["metadata"]["nbgrader"]
    answer = facts["solution"] and cell is not ours
    made = _plain(cell if answer else ours, ours["cell_type"] == "code", {_text(ours)})
    made["metadata"] = {"nbgrader": facts}
    return made


def _plain(cell: Cell, code: bool, given: set[str]) -> Cell:
    """A cell with no more than text and pictures: it is shown in the browser of a grader."""
    text = _text(cell)
    if code:
        shown = [_output(output) for output in _list(cell.get("outputs"))]
        return {
            "cell_type": "code",
            "metadata": {},
            "source": text,
            "execution_count": None,
            "outputs": [output for output in shown if output],
        }
    made: Cell = {"cell_type": "markdown", "metadata": {}, "source": text}
    if text not in given:
        made["source"] = _inert(text)
        attached = cell.get("attachments")
        pictures = {
            _joined(name): _pictures(data)
            for name, data in (attached.items() if isinstance(attached, dict) else ())
        }
        if any(pictures.values()):
            made["attachments"] = {name: data for name, data in pictures.items() if data}
    return made


def _output(output: object) -> dict[str, Any] | None:
    """An output's text or picture; ``None`` if it has neither."""
    if not isinstance(output, dict):
        return None
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": _joined(output.get("text"))}
    if kind == "error":
        lines = [_joined(line) for line in _list(output.get("traceback"))[:200]]
        name, value = _joined(output.get("ename")), _joined(output.get("evalue"))
        return {"output_type": "error", "ename": name, "evalue": value, "traceback": lines}
    data = output.get("data")
    if not isinstance(data, dict):
        return None
    kept = _pictures(data)
    if text := _joined(data.get("text/plain")):
        kept["text/plain"] = text
    return {"output_type": "display_data", "metadata": {}, "data": kept} if kept else None


def _pictures(data: object) -> dict[str, str]:
    """Pictures that are base64 and nothing else."""
    found: dict[str, str] = {}
    if not isinstance(data, dict):
        return found
    for kind in ("image/png", "image/jpeg"):
        text = "".join(map(str, _list(data.get(kind)) or [data.get(kind, "")]))
        if len(text) <= MOST_IMAGE and re.fullmatch(r"[A-Za-z0-9+/=\s]+", text):
            found[kind] = text
    return found


def _inert(text: str) -> str:
    """Markdown in which nothing is HTML: a space without width parts ``<`` from what follows."""
    return re.sub(r"<(?=[A-Za-z/!?])", "<\u200b", text)


# ---------------------------------------------------------------- cells as JSON has them


def _cells(submission: Submission) -> list[Cell]:
    """The cells of a notebook that could be read; none of another."""
    try:
        cells = json.loads(submission.path.read_bytes())["cells"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [cell for cell in _list(cells) if isinstance(cell, dict)]


def _answers(path: Path) -> dict[str, str]:
    """The text of each cell of an earlier copy, by its id."""
    if not path.exists():
        return {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {_id(cell): _text(cell) for cell in cells if _id(cell)}


def _id(cell: Cell) -> str:
    """The nbgrader id of a cell; empty if it has none."""
    facts = cell.get("metadata")
    facts = facts.get("nbgrader") if isinstance(facts, dict) else None
    name = facts.get("grade_id") if isinstance(facts, dict) else None
    return name if isinstance(name, str) else ""


def _text(cell: Cell) -> str:
    return _joined(cell.get("source"), None)


def _joined(text: object, most: int | None = MOST_TEXT) -> str:
    parts = [text] if isinstance(text, str) else _list(text)
    # A lone half of a character (a surrogate) fits in JSON, but in no file.
    return "".join(map(str, parts)).encode("utf-8", "replace").decode()[:most]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _node(notebook: dict[str, Any]) -> Any:
    import nbformat

    return nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
