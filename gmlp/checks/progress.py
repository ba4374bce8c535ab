"""What a learner has done so far: one small file in the user's own folder for such things."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def folder() -> Path:
    """Where the file is: the environment variable ``GMLP_STATE``, or else the system's place."""
    if chosen := os.environ.get("GMLP_STATE"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_state_path("gmlp-course", appauthor=False)


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file that is either there in full or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    if mode is not None:
        part.chmod(mode)
    os.replace(part, path)


def read() -> tuple[dict[str, Record], str]:
    """The record of each exercise tried, and a sentence if the file was damaged.

    A damaged file is renamed, never written over.
    """
    path = folder() / "progress.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["exercises"]
        if all(isinstance(record["tries"], int) and record["state"] for record in kept.values()):
            return kept, ""
    except FileNotFoundError:
        return {}, ""
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    aside = path.with_name(f"progress-damaged-{datetime.now():%Y%m%d-%H%M%S}.json")
    os.replace(path, aside)
    return {}, f"The record of your progress was damaged. It is kept as {aside}; a new one begins."


def note(name: str, state: str) -> str:
    """Note the verdict on one exercise; what went wrong in doing so, or an empty text.

    Two notebooks may do so at once, and a crash at any moment leaves the file whole.
    """
    from filelock import FileLock, Timeout

    path = folder() / "progress.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=5):
            kept, trouble = read()
            record = kept.setdefault(name, {"tries": 0, "right_since": None})
            record["state"] = state
            record["tries"] += state != "not attempted"
            if state == "right":
                record["right_since"] = record.get("right_since") or f"{datetime.now():%Y-%m-%d}"
            write_whole(path, (json.dumps({"exercises": kept}, indent=1) + "\n").encode())
            return trouble
    except Timeout:
        return f"This was not noted for `gmlp progress`: another notebook holds {path}."
    except OSError as error:
        return f"This was not noted for `gmlp progress`: {error}"


def table(lessons: Mapping[str, list[str]], kept: Mapping[str, Record], every: bool = False) -> str:
    """The course as a text: a line for each lesson, its exercises and how they stand.

    Args:
        lessons: the names of the exercises of each lesson.
        kept: what :func:`read` gives.
        every: with a line for each exercise.
    """
    signs = {"right": "●", "wrong": "◐", "raised": "◐", "not attempted": "○"}
    width = max(map(len, lessons), default=0)
    lines, done = [], 0
    for lesson, names in lessons.items():
        states = []
        for name in names:
            record = kept.get(name, {"state": "not attempted"})
            # What was right once has been understood, whatever was tried afterwards.
            states.append("right" if record.get("right_since") else record["state"])
        done += states.count("right")
        dots = "".join(signs.get(state, "○") for state in states)
        open_ = [name for name, state in zip(names, states, strict=True) if state != "right"]
        rest = f"next: {open_[0]}" if open_ else "all done" if names else "no exercises"
        lines.append(f"{lesson:{width}}  {dots:8}  {states.count('right')} of {len(names)}  {rest}")
        if every:
            for name, state in zip(names, states, strict=True):
                tries = kept.get(name, {"tries": 0})["tries"]
                lines.append(
                    f"    {signs.get(state, '○')} {name}" + f", {tries} tries" * (tries > 1)
                )
    total = sum(map(len, lessons.values()))
    lines.append(f"{done} of {total} exercises right.  ● right  ◐ tried  ○ not yet")
    return "\n".join(lines)
