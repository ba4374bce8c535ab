"""Proves the exercises: every stub, solution, known mistake and alternative gets its verdict."""

import contextlib
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmlp.checks.core import Exercise, judge, named, registry


@dataclass(frozen=True)
class Trial:
    """One answer handed in, and what came of it."""

    exercise: str
    kind: str  # stub, solution, alternative, misconception
    what: str  # which of them
    seed: int
    caught: bool  # the state is as it should be
    named: bool  # and so is the diagnosis


PACKAGED = Path(__file__).resolve().parents[1] / "course"  # in a wheel; setup.py puts it there


def course_folder(start: Path | None = None) -> Path:
    """The folder with the course's notebooks: the repository at or above ``start`` or around the
    package, or else :data:`PACKAGED`, what came with the installed package.

    Raises:
        FileNotFoundError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "course.py").is_file() and (folder / "exercises").is_dir():
            return folder
    if PACKAGED.is_dir():
        return PACKAGED
    raise FileNotFoundError(
        f"no course found at {here} or above it; go to the folder that holds course.py"
    )


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell, without what installs it on Colab.

    Raises:
        ValueError: the file is not a notebook.
    """
    if not notebook.is_file():
        raise ValueError(f"there is no notebook {notebook}")
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return [
            "".join(cell["source"])
            for cell in cells
            if cell["cell_type"] == "code" and "colab" not in cell["metadata"].get("tags", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{notebook} is not a notebook (.ipynb, as Jupyter saves it)") from None


def checked_name(cell: str) -> str | None:
    """The name in a cell that starts with ``check(name)``."""
    found = re.match(r"check\((\w+)\)", cell)
    return found[1] if found else None


def definitions(notebook: Path) -> dict[str, Any]:
    """What the cells of a notebook define, run in order but for those that check."""
    space: dict[str, Any] = {"__name__": notebook.stem}
    for cell in code_cells(notebook):
        if checked_name(cell) is None:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(cell, str(notebook), "exec"), space)
    return space


def trials(
    root: Path, seeds: Sequence[int], lessons: Sequence[str] | None = None
) -> Iterator[Trial]:
    """Hand in everything there is, with each seed."""
    spaces: dict[Path, dict[str, Any]] = {}

    def written(folder: str, exercise: Exercise) -> Callable[..., Any]:
        path = root / folder / f"{exercise.lesson}.ipynb"
        if path not in spaces:
            spaces[path] = definitions(path)
        return spaces[path][exercise.name]

    for exercise in [entry.exercise for entry in registry().values()]:
        if lessons and exercise.lesson not in lessons:
            continue
        answers: list[tuple[str, str, Callable[..., Any], tuple[str, str | None]]] = [
            ("stub", "", written("exercises", exercise), ("not attempted", None)),
            ("solution", "notebook", written("solutions", exercise), ("right", None)),
            ("solution", "module", exercise.solution, ("right", None)),
        ]
        if exercise.stub is not None:
            answers.append(("stub", "given", exercise.stub, ("not attempted", None)))
        for i, code in enumerate(exercise.alternatives):
            answers.append(("alternative", f"{i}", code, ("right", None)))
        for known in exercise.misconceptions:
            expected = ("wrong", known.name)
            answers.append(("misconception", known.name, known.wrong_implementation, expected))
        for seed in seeds:
            for kind, what, code, (state, diagnosis) in answers:
                handed_in = code if kind == "stub" else named(code, exercise.name)
                result = judge(handed_in, exercise, seed)
                caught = result.state == state
                hit = caught and result.diagnosis == diagnosis
                yield Trial(exercise.name, kind, what, seed, caught, hit)


def summary(done: Sequence[Trial], seconds: float) -> dict[str, Any]:
    """Counts and shares by kind, and every trial that went wrong."""
    kinds: dict[str, Any] = {}
    for kind in ("stub", "solution", "alternative", "misconception"):
        own = [trial for trial in done if trial.kind == kind]
        kinds[kind] = {
            "trials": len(own),
            "caught": sum(trial.caught for trial in own) / max(1, len(own)),
            "named": sum(trial.named for trial in own) / max(1, len(own)),
        }
    tried = {trial.exercise for trial in done}
    exercises = [entry.exercise for name, entry in registry().items() if name in tried]
    return {
        "exercises": len(exercises),
        "code": sum(exercise.kind != "predict" for exercise in exercises),
        "misconceptions": sum(len(exercise.misconceptions) for exercise in exercises),
        "alternatives": sum(len(exercise.alternatives) for exercise in exercises),
        **kinds,
        "seconds": round(seconds, 1),
        "failures": [vars(trial) for trial in done if not (trial.caught and trial.named)],
    }


def verify(
    root: Path,
    seeds: Sequence[int],
    lessons: Sequence[str] | None = None,
    on_trial: Callable[[Trial], object] = lambda trial: None,
) -> dict[str, Any]:
    """Run all :func:`trials`; their :func:`summary`."""
    started = time.monotonic()
    done = []
    for trial in trials(root, seeds, lessons):
        done.append(trial)
        on_trial(trial)
    return summary(done, time.monotonic() - started)
