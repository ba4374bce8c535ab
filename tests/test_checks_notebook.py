"""A learner's work outside the notebook: progress, fresh copies, checks from the terminal."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from gmlp.checks import progress
from gmlp.checks.core import registry
from gmlp.checks.notebook import check_notebook, fresh_copy
from gmlp.cli import main

ROOT = Path(__file__).parents[1]
EXERCISES = ROOT / "exercises/02_causal_masking.ipynb"


@pytest.fixture
def state(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    monkeypatch.setenv("GMLP_STATE", str(folder))
    return folder / "progress.json"


def answered(tmp_path, **answers):
    """The exercises of lesson 02 with these cells in the place of stubs."""
    notebook = nbformat.read(EXERCISES, as_version=4)
    for cell in notebook.cells:
        for name, source in answers.items():
            if cell.cell_type == "code" and cell.source.startswith(f"def {name}("):
                cell.source = source
    path = tmp_path / "mine.ipynb"
    nbformat.write(notebook, path)
    return path


# ---------------------------------------------------------------- gmlp check


def test_a_notebook_is_checked_from_the_terminal(tmp_path, state, capsys):
    path = answered(
        tmp_path,
        mask_weights="def mask_weights(weight):\n    return weight.tril(-1)",
        leaks="def leaks(model, n, num_tokens):\n    return tril(model)",
    )
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr().out
    assert "mask_weights: not right yet\n  Your mask hides the diagonal" in said
    assert "leaks: your code raised an error\n  NameError: name 'tril' is not defined" in said
    assert "Line 2 of your code: `return tril(model)`" in said
    assert re.search(r"\n0 of \d+ right\n$", said)
    assert "Traceback" not in said
    kept = json.loads(state.read_text("utf-8"))["exercises"]
    assert (kept["mask_weights"]["state"], kept["mask_weights"]["tries"]) == ("wrong", 1)


def test_a_solved_notebook_is_right_and_the_exit_code_says_so(state, capsys):
    assert main(["check", str(ROOT / "solutions/02_causal_masking.ipynb")]) == 0
    said = capsys.readouterr().out
    right, of = map(int, re.search(r"(\d+) of (\d+) right", said).groups())
    assert right == of >= 2


def test_an_endless_loop_is_stopped_and_the_rest_is_checked(tmp_path, state):
    path = answered(
        tmp_path,
        mask_weights="def mask_weights(weight):\n    while True:\n        print('more')",
        leaks="def leaks(model, n, num_tokens):\n    return None",
    )
    verdicts = {verdict.name: verdict for verdict in check_notebook(path, seconds=8)}
    assert "Does a loop never end, or is it slow?" in verdicts["mask_weights"].text
    assert re.search(r"Line [23] of your code", verdicts["mask_weights"].text)
    assert "returned nothing" in verdicts["leaks"].text


def test_a_kernel_that_does_not_heed_an_interrupt_is_ended(tmp_path, state):
    deaf = """def mask_weights(weight):
    while True:
        try:
            import time
            time.sleep(100)
        except BaseException:
            pass"""
    *_, last = check_notebook(answered(tmp_path, mask_weights=deaf), seconds=5)
    assert last.name == "mask_weights"
    assert "did not heed an interrupt; the cells after it were not run" in last.text


def test_a_cell_that_ends_python_is_said_so(tmp_path, state):
    path = answered(tmp_path, mask_weights="import os\ndef mask_weights(weight):\n    os._exit(0)")
    *_, last = check_notebook(path, seconds=30)
    assert "ended its Python process" in last.text


def test_a_syntax_error_is_told_with_its_cell(tmp_path, state, capsys):
    path = answered(tmp_path, mask_weights="def mask_weights(weight)\n    return weight")
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"Code cell \d+, line 1: SyntaxError: expected ':'", said)
    assert "NameError: name 'mask_weights' is not defined" in said


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"cells": 3}', '{"cells": []}'])
def test_what_is_no_notebook_of_exercises_is_refused(tmp_path, content, capsys):
    path = tmp_path / "other.ipynb"
    path.write_text(content)
    assert main(["check", str(path)]) == 2
    assert "notebook" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "missing.ipynb")]) == 2


# ---------------------------------------------------------------- progress


def test_progress_is_a_line_a_lesson_and_right_stays_right(state, capsys):
    for name, verdict in (
        ("mask_weights", "wrong"),
        ("mask_weights", "right"),
        ("mask_weights", "raised"),
        ("leaks", "wrong"),
        ("geglu", "not attempted"),
    ):
        assert progress.note(name, verdict) == ""
    assert main(["progress"]) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("02_causal_masking"))
    assert line.split()[1].count("●") == 1
    assert line.split()[1].count("◐") == 1
    assert len(said.splitlines()) == len({one.exercise.lesson for one in registry().values()}) + 1
    assert f"1 of {len(registry())} exercises right" in said
    assert main(["progress", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["exercises"]
    assert kept["mask_weights"]["tries"] == 3
    assert kept["geglu"]["tries"] == 0


@pytest.mark.parametrize("damage", ["{", "[]", '{"exercises": {"leaks": 1}}', "\0" * 100])
def test_a_damaged_record_is_kept_aside_and_said_so(state, damage):
    state.parent.mkdir(parents=True)
    state.write_text(damage)
    assert "damaged" in progress.note("leaks", "right")
    (aside,) = state.parent.glob("progress-damaged-*.json")
    assert aside.read_text() == damage
    assert progress.read() == (
        {"leaks": progress.read()[0]["leaks"]},
        "",
    )


NOTE = """
import sys
from gmlp.checks import progress
print("ready", flush=True)
input()
for i in range(int(sys.argv[2])):
    assert progress.note(f"{sys.argv[1]}{i}", "right") == ""
"""


def noting(who, times):
    """A process that notes so many exercises once it gets a line, and is ready for that."""
    words = [sys.executable, "-c", NOTE, who, str(times)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_notebooks_at_once_lose_nothing(state):
    both = [noting(who, 200) for who in "ab"]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait() for process in both] == [0, 0]
    assert len(progress.read()[0]) == 400


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_notebook_leaves_the_record_whole(state):
    many = {f"old{i}": {"tries": 1, "state": "right"} for i in range(2_000)}
    for wait in (0.3, 0.5, 0.7):
        state.parent.mkdir(exist_ok=True)
        state.write_text(json.dumps({"exercises": many}, indent=1))  # so large that writing takes
        process = noting("a", 1000)
        process.stdin.write("go\n")
        process.stdin.flush()
        until = time.monotonic() + wait
        while time.monotonic() < until:  # at no moment is it half written
            json.loads(state.read_text(encoding="utf-8"))
        process.kill()
        process.communicate()
        kept, trouble = progress.read()
        assert trouble == ""
        assert len(kept) >= len(many)
        assert progress.note("b", "right") == ""  # and nobody holds the lock


def test_a_place_that_cannot_be_written_stops_no_check(tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.touch()
    monkeypatch.setenv("GMLP_STATE", str(blocked / "below"))
    assert "not noted" in progress.note("leaks", "right")


# ---------------------------------------------------------------- reset


def test_reset_brings_a_fresh_notebook_and_loses_nothing(tmp_path):
    (tmp_path / "exercises").mkdir()
    source = tmp_path / "exercises/02_causal_masking.ipynb"
    source.write_bytes(EXERCISES.read_bytes())
    target, kept = fresh_copy(tmp_path, "exercises", "02_causal_masking")
    assert (target.read_bytes(), kept) == (source.read_bytes(), None)
    assert fresh_copy(tmp_path, "exercises", "02_causal_masking")[1] is None  # nothing to keep
    target.write_text("my work")
    target, kept = fresh_copy(tmp_path, "exercises", "02_causal_masking")
    assert (target.read_bytes(), kept.read_text()) == (source.read_bytes(), "my work")
    assert sorted(path.name for path in target.parent.iterdir()) == sorted((target.name, kept.name))


def test_reset_knows_a_lesson_by_number_and_by_name(tmp_path, monkeypatch, capsys):
    (tmp_path / "exercises").mkdir()
    (tmp_path / "course.py").touch()
    (tmp_path / "exercises/02_causal_masking.ipynb").write_bytes(EXERCISES.read_bytes())
    monkeypatch.chdir(tmp_path)
    for word in ("02", "2", "causal_masking", "02_causal_masking"):
        assert main(["reset", word]) == 0
    assert "gmlp progress" in capsys.readouterr().out
    assert main(["reset", "77"]) == 2
    assert "there are 02_causal_masking" in capsys.readouterr().err


# ---------------------------------------------------------------- verify


def test_verify_reports_every_answer(capsys):
    assert main(["verify", "03", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failures"] == []
    for kind in ("stub", "solution", "alternative", "misconception"):
        assert found[kind]["trials"] > 0
        assert found[kind]["caught"] == found[kind]["named"] == 1


def test_verify_sees_a_misconception_that_is_none(monkeypatch, capsys):
    exercise = registry()["geglu"].exercise
    right = exercise.misconceptions[0].__class__("none", exercise.solution, "You …", "…")
    broken = exercise.__class__(**{**vars(exercise), "misconceptions": (right,)})
    monkeypatch.setattr(registry()["geglu"], "exercise", broken)
    assert main(["verify", "03"]) == 1
    assert "geglu, misconception 'none', seed 0: judged rightly False" in capsys.readouterr().out
