"""The bridge to nbgrader, from an empty folder to a table of grades, with nbgrader's own commands
and its real gradebook."""

import csv
import json
import sqlite3
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from gmlp.cli import main
from gmlp.grading import classroom
from gmlp.grading.sandbox import containment

ROOT = Path(__file__).resolve().parents[1]
LESSON = "02_causal_masking"
EXERCISES = ["mask_weights", "cheaters_bits", "causal_unit", "who_reads_whom", "leaks"]
STUDENTS = ["anna", "ben", "cleo", "dora", "emil", "finn", "gina", "hugo"]
EVIL = "<script>document.title = 'mine'</script>"
ESSAY = {
    "cell_type": "markdown",
    "id": "essay",
    "metadata": {
        "nbgrader": {
            "grade": True,
            "grade_id": "essay",
            "locked": False,
            "points": 3,
            "schema_version": 3,
            "solution": True,
            "task": False,
        }
    },
    "source": "Your answer.",
}

pytestmark = pytest.mark.skipif(not containment().full, reason=containment().sentence)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def by_id(notebook):
    cells = notebook["cells"]
    facts = [cell["metadata"].get("nbgrader", {}) for cell in cells]
    return {fact["grade_id"]: cell for fact, cell in zip(facts, cells, strict=True) if fact}


def nbgrader(course, *words):
    command = [sys.executable, "-m", "nbgrader", *words]
    subprocess.run(command, check=True, cwd=course, timeout=120)


def hand_in(course, student, notebook):
    path = course / "submitted" / student / LESSON / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook))


def grade(course, *more):
    words = ["classroom", "grade", str(course), *more]
    return main([*words, "--jobs", "1", "--seconds", "3"])


def rows(course, query):
    """Straight from the database, past nbgrader's own code."""
    with sqlite3.connect(course / "gradebook.db") as book:
        return book.execute(query).fetchall()


def grades(course):
    found = rows(
        course,
        "select s.student_id, c.name, g.auto_score, g.manual_score, g.extra_credit, "
        "g.needs_manual_grade from grade g join base_cell c on c.id = g.cell_id "
        "join submitted_notebook n on n.id = g.notebook_id "
        "join submitted_assignment s on s.id = n.assignment_id",
    )
    return {(student, cell): tuple(scores) for student, cell, *scores in found}


def comments(course):
    found = rows(
        course,
        "select s.student_id, c.name, m.auto_comment from comment m "
        "join base_cell c on c.id = m.cell_id join submitted_notebook n on n.id = m.notebook_id "
        "join submitted_assignment s on s.id = n.assignment_id",
    )
    return {(student, cell): text for student, cell, text in found}


def everything(course):
    tables = [name for (name,) in rows(course, "select name from sqlite_master where type='table'")]
    book = {name: sorted(map(repr, rows(course, f'select * from "{name}"'))) for name in tables}
    folders = [course / name for name in ("source", "release", "submitted", "autograded")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    facts = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    return book, facts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A course with an essay in it, and what eight students make of it."""
    course = tmp_path_factory.mktemp("classroom") / "a course"
    assert main(["classroom", "init", str(course), "--lesson", "02"]) == 0
    source = course / "source" / LESSON / f"{LESSON}.ipynb"
    edited = read(source)
    edited["cells"].append(ESSAY)
    source.write_text(json.dumps(edited))
    nbgrader(course, "generate_assignment", LESSON, "--force")
    released = read(course / "release" / LESSON / f"{LESSON}.ipynb")
    solved = {name: "".join(by_id(edited)[name]["source"]) for name in EXERCISES}

    def answer(**changes):
        notebook = deepcopy(released)
        for name, text in {**solved, **changes}.items():
            by_id(notebook)[name]["source"] = text
        return notebook

    def mask(body):
        return answer(mask_weights=f"def mask_weights(weight):\n    {body}\n")

    anna = answer(essay=f"It must not look ahead, as $a<b$. {EVIL}")
    picture = {"image/png": "iVBORw0KGgo=", "text/html": EVIL, "text/plain": "a figure"}
    shown = {"output_type": "display_data", "metadata": {}, "data": picture}
    by_id(anna)["leaks"]["outputs"] = [shown]
    hand_in(course, "anna", anna)
    hand_in(course, "ben", mask("return weight.tril(-1)"))
    hand_in(course, "cleo", released)
    hand_in(course, "dora", mask("return weight.tril(((("))
    hand_in(course, "emil", mask("while True: pass"))

    finn = answer(mask_weights="def mask_weights(weight):\n    return weight\n")
    check = by_id(finn)["check-mask_weights"]
    check["source"] = "print('right')"
    check["metadata"]["nbgrader"]["points"] = 100
    check["outputs"] = [shown]
    by_id(finn)["mask_weights"]["metadata"]["nbgrader"].update(grade=True, points=50)
    by_id(finn)["check-leaks"]["metadata"]["nbgrader"]["grade_id"] = "check-mine"
    hand_in(course, "finn", finn)

    gina = answer()
    gina["cells"].append(by_id(gina)["leaks"])
    hand_in(course, "gina", gina)
    hand_in(course, "hugo", "this is no notebook {")
    (course / "submitted" / "ben" / LESSON / "timestamp.txt").write_text("2026-01-05 10:00:00 UTC")
    (course / "submitted" / "ben" / LESSON / "torch.py").write_text("raise SystemExit")
    return course


@pytest.fixture(scope="module")
def graded(made):
    assert grade(made) == 0
    return made


def test_what_is_released_is_our_exercises(made):
    ours = read(ROOT / "exercises" / f"{LESSON}.ipynb")["cells"]
    theirs = read(made / "release" / LESSON / f"{LESSON}.ipynb")["cells"][:-1]
    for one, other in zip(ours, theirs, strict=True):
        if one["cell_type"] == "code":
            assert "".join(one["source"]) == "".join(other["source"])
            assert one["metadata"] == other["metadata"]
    source = read(made / "source" / LESSON / f"{LESSON}.ipynb")["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in source)
    assert "](../" not in json.dumps(theirs), "a link that leads nowhere in a course directory"
    assert "](https://github.com/" in json.dumps(theirs)


def test_every_autograded_cell_has_a_score_of_ours(graded):
    found = grades(graded)
    assert len(found) == len(STUDENTS) * (len(EXERCISES) + 1)
    scores = {
        student: [found[student, f"check-{name}"][0] for name in EXERCISES] for student in STUDENTS
    }
    one_wrong = [0.0, 1.0, 1.0, 1.0, 1.0]
    assert scores == {
        "anna": [1.0] * 5,
        "ben": one_wrong,
        "cleo": [0.0] * 5,
        "dora": one_wrong,
        "emil": one_wrong,
        "finn": one_wrong,
        "gina": [0.0] * 5,
        "hugo": [0.0] * 5,
    }
    unclear = {key for key, scores in found.items() if scores[3] and key[1] != "essay"}
    lost = {("emil", "check-mask_weights")}
    assert unclear == lost | {
        (who, f"check-{name}") for who in ("gina", "hugo") for name in EXERCISES
    }
    limits = rows(graded, "select max_score from grade_cells")
    assert sorted(limits) == [(1.0,)] * 5 + [(3.0,)], "no submission changes the points"


def test_every_comment_says_why(graded):
    found = comments(graded)
    assert "diagonal" in found["ben", "mask_weights"]
    assert "SyntaxError" in found["dora", "mask_weights"]
    assert "did not end in time" in found["emil", "mask_weights"]
    assert "not attempted" in found["cleo", "leaks"]
    assert found["anna", "leaks"].startswith("leaks: right")
    for name in EXERCISES:
        assert "have one nbgrader id, `leaks`" in found["gina", name]
        assert "not a notebook" in found["hugo", name]
    assert found["anna", "essay"] is None and found["ben", "essay"] == "No response."


def test_written_answers_wait_for_a_person(graded):
    found = grades(graded)
    assert found["anna", "essay"] == (None, None, None, 1)
    assert {found[who, "essay"] for who in STUDENTS[1:]} == {(0.0, None, None, 0)}


def test_the_copy_for_the_grader_holds_nothing_that_runs(graded):
    for student in STUDENTS:
        path = graded / "autograded" / student / LESSON / f"{LESSON}.ipynb"
        copy = read(path)
        assert "<script" not in path.read_text(encoding="utf-8")
        released = by_id(read(graded / "release" / LESSON / f"{LESSON}.ipynb"))
        cells = by_id(copy)
        assert set(cells) == set(released)
        for name, cell in released.items():
            assert cells[name]["metadata"]["nbgrader"] == cell["metadata"]["nbgrader"]
            if name.startswith("check-"):
                assert "".join(cells[name]["source"]) == "".join(cell["source"])
    anna = by_id(read(graded / "autograded" / "anna" / LESSON / f"{LESSON}.ipynb"))
    kept = anna["leaks"]["outputs"][0]["data"]
    assert kept == {"image/png": "iVBORw0KGgo=", "text/plain": "a figure"}
    assert "$a<" in anna["essay"]["source"]
    assert "leaks: right" in anna["check-leaks"]["outputs"][0]["data"]["text/html"]
    names = {path.name for path in (graded / "autograded" / "ben" / LESSON).iterdir()}
    assert names == {f"{LESSON}.ipynb", "timestamp.txt"}, "nothing else is copied"


def test_forged_scores_go_and_those_of_a_person_stay(graded, capsys):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded / 'gradebook.db'}") as book:
        forged = book.find_grade("check-mask_weights", LESSON, LESSON, "finn")
        forged.manual_score, forged.extra_credit = 99.0, 7.0
        essay = book.find_grade("essay", LESSON, LESSON, "anna")
        essay.manual_score, essay.needs_manual_grade = 2.5, False
        said = book.find_comment("essay", LESSON, LESSON, "anna")
        said.manual_comment = "Well said."
        book.db.commit()
    assert grade(graded, LESSON, "--keep-overrides") == 0
    assert grades(graded)["finn", "check-mask_weights"] == (0.0, 99.0, 7.0, 0)
    capsys.readouterr()
    assert grade(graded, "02") == 0
    told = capsys.readouterr().out
    assert "finn: check-mask_weights: removed manual_score 99 and extra_credit 7" in told
    assert "gina: not graded: cells" in told and "hugo: not graded: it is not a notebook" in told
    assert grades(graded)["finn", "check-mask_weights"] == (0.0, None, None, 0)
    assert grades(graded)["anna", "essay"] == (None, 2.5, None, 0)

    before = everything(graded)
    assert grade(graded) == 0
    assert everything(graded) == before


def test_nbgrader_makes_feedback_and_a_table(graded):
    nbgrader(graded, "generate_feedback", LESSON)
    pages = {
        student: (graded / "feedback" / student / LESSON / f"{LESSON}.html").read_text("utf-8")
        for student in STUDENTS
    }
    assert "(Score: 7.5 / 8.0)" in pages["anna"] and "Well said." in pages["anna"]
    assert "(Score: 4.0 / 8.0)" in pages["ben"] and "diagonal" in pages["ben"]
    assert "This notebook was not graded" in pages["gina"]
    assert "This notebook was not graded" in pages["hugo"]
    assert EVIL in json.dumps(read(graded / "submitted" / "anna" / LESSON / f"{LESSON}.ipynb"))
    assert not any(EVIL in page for page in pages.values())

    nbgrader(graded, "export", "--to", "grades.csv")
    with (graded / "grades.csv").open(newline="") as file:
        table = {row["student_id"]: row for row in csv.DictReader(file)}
    scores = {student: float(row["score"]) for student, row in table.items()}
    expected = [7.5, 4.0, 0.0, 4.0, 4.0, 4.0, 0.0, 0.0]
    assert scores == dict(zip(STUDENTS, expected, strict=True))
    assert {float(row["max_score"]) for row in table.values()} == {8.0}
    assert table["ben"]["timestamp"].startswith("2026-01-05 10:00:00")


def test_what_is_handed_in_again_is_graded_again(graded):
    before = grades(graded)
    folder = graded / "submitted"
    right = read(folder / "anna" / LESSON / f"{LESSON}.ipynb")
    (folder / "ben" / LESSON / f"{LESSON}.ipynb").write_text(json.dumps(right))
    by_id(right)["essay"]["source"] = "I thought again."
    (folder / "anna" / LESSON / f"{LESSON}.ipynb").write_text(json.dumps(right))
    assert grade(graded, "02") == 0
    after = grades(graded)
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {("anna", "essay"), ("ben", "essay"), ("ben", "check-mask_weights")}
    assert after["anna", "essay"] == (None, 2.5, None, 1), "kept, and somebody should look again"
    assert after["ben", "essay"] == (None, None, None, 1)
    assert after["ben", "check-mask_weights"] == (1.0, None, None, 0)


# ---------------------------------------------------------------- a second course: what goes wrong


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A course with two lessons, of which one was handed in, by students who hardly tried."""
    course = tmp_path_factory.mktemp("classroom") / "small"
    assert main(["classroom", "init", str(course), "--lesson", "02", "spatial_gating"]) == 0
    released = read(course / "release" / LESSON / f"{LESSON}.ipynb")
    by_id(released)["cheaters_bits"]["source"] = "def cheaters_bits():\n    return 1 - 1"
    for student in ("ada", "bob", "cem", "d,e", "eve"):
        hand_in(course, student, released)
    folders = {student: course / "submitted" / student / LESSON for student in ("bob", "cem")}
    notebook = folders["bob"] / f"{LESSON}.ipynb"
    notebook.rename(folders["bob"] / "my copy (1).ipynb")
    (folders["bob"] / "shopping.ipynb").write_text('{"cells": []}')
    (folders["cem"] / f"{LESSON}.ipynb").unlink()
    (folders["bob"] / "timestamp.txt").write_text("a while ago")
    return course


def test_one_bad_submission_does_not_stop_the_others(small, capsys, monkeypatch):
    whole = classroom._graded_copy

    def breaks(submission, released, marks):
        if submission.student == "ada":
            raise RuntimeError("out of luck")
        return whole(submission, released, marks)

    monkeypatch.setattr(classroom, "_graded_copy", breaks)
    assert grade(small) == 1
    told = capsys.readouterr()
    assert "NOT in the gradebook: ada: RuntimeError: out of luck" in told.err
    assert "NOT in the gradebook: 'd,e': nbgrader cannot have a student of this name" in told.err
    assert "bob: timestamp.txt is no point in time" in told.out
    assert "cem: not graded: there is no notebook in the submission" in told.out
    assert f"{LESSON}: 3 students, 0 exercises right" in told.out
    assert {student for student, _ in grades(small)} == {"bob", "cem", "eve"}
    assert "not attempted" in comments(small)["bob", "leaks"], "whatever the file is called"

    monkeypatch.undo()
    assert grade(small) == 1
    assert {student for student, _ in grades(small)} == {"ada", "bob", "cem", "eve"}


def test_nbgraders_autograde_gives_no_scores(small):
    """Without a run it would take every cell without output for right, and it must not run them."""
    assert grade(small) == 1
    before = grades(small)
    nbgrader(small, "autograde", LESSON, "--student", "eve", "--force")
    assert grades(small) == before
    assert grade(small) == 1
    path = small / "autograded" / "eve" / LESSON / f"{LESSON}.ipynb"
    assert "not attempted" in path.read_text(encoding="utf-8")


def refused(capsys, *words):
    """The one line on stderr, after the one on what is contained."""
    capsys.readouterr()
    assert main(["classroom", *map(str, words)]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_init_overwrites_nothing(small, tmp_path, capsys):
    before = everything(small)
    assert f"{LESSON} is there already" in refused(capsys, "init", small, "--lesson", "03", "02")
    assert everything(small) == before
    assert not (small / "source" / "03_residual_blocks").exists()
    (tmp_path / "mine.txt").write_text("mine")
    assert "not empty" in refused(capsys, "init", tmp_path)
    assert "is a file" in refused(capsys, "init", tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert "no lesson is called '77'" in refused(capsys, "init", tmp_path / "new", "--lesson", "77")
    assert not (tmp_path / "new").exists()


def test_grade_says_what_is_missing(small, tmp_path, capsys, monkeypatch):
    assert "gmlp classroom init" in refused(capsys, "grade", tmp_path)
    assert "no submissions; they belong in" in refused(capsys, "grade", small, "01")
    assert "no assignment 05_generation" in refused(capsys, "grade", small, "05")
    release = small / "release" / LESSON / f"{LESSON}.ipynb"
    text = release.read_text(encoding="utf-8")
    release.write_text(text.replace('"check-leaks"', '"check-leak"'))
    assert f"nbgrader generate_assignment {LESSON}" in refused(capsys, "grade", small)
    release.write_text(text)
    monkeypatch.setitem(sys.modules, "nbgrader.api", None)
    assert 'pip install "gmlp-course[classroom]"' in refused(capsys, "grade", small)
