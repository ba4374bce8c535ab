"""Laws of tools/build.py, on small lessons in a folder of their own, and on the course itself."""

import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import SimpleNamespace

import build
import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parents[1]

PYPROJECT = '[project.urls]\nRepository = "https://github.com/someone/some-course"\n'

LESSON = """\
# %% [markdown]
# # 7 Windows
# What is six times seven?

# %% tags=["first", "hide-input"]
x = 6 * 7
print("x is", x)

# %%
x + 1

# %% [markdown] tags=["bonus"]
# A remark.
"""

EXERCISES = '''\
# %% [markdown]
# # 7 Exercises

# %%
def check(answer):
    print("right" if callable(answer) or answer == 42 else "wrong")

# %% [markdown]
# ●○○ Write `double`.

# %% tags=["rebuild"]
def double(x: int) -> int:  # () -> ()
    """Twice as much."""
    ### BEGIN SOLUTION
    secret = 2 * x
    return secret
    ### END SOLUTION

# %% points=2
check(double)

# %%
# Say the number before you run it.
### BEGIN SOLUTION
guess = 42
### END SOLUTION

# %%
# The last one.
check(guess)
'''


@pytest.fixture(autouse=True)
def no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and nbgrader write their files here, not into the user's own folders."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / name))


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of one lesson, sources only; its path has a space."""
    root = tmp_path / "a course"
    (root / "lessons").mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "lessons/07_windows.py").write_text(LESSON)
    (root / "lessons/07_windows_exercises.py").write_text(EXERCISES)
    return root


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def snapshot(root: Path) -> dict[str, bytes]:
    paths = (path for folder in build.FOLDERS for path in (root / folder).rglob("*"))
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def read(root: Path, path: str) -> nbformat.NotebookNode:
    return nbformat.read(root / path, as_version=4)


# ---------------------------------------------------------------- what is made


def test_three_notebooks_of_a_lesson_and_one_of_a_lesson_without_exercises(course: Path) -> None:
    assert set(build.make(course, "07_windows")) == {
        "chapters/07_windows.ipynb",
        "exercises/07_windows.ipynb",
        "solutions/07_windows.ipynb",
    }
    (course / "lessons/07_windows_exercises.py").unlink()
    made = build.make(course, "07_windows")
    assert set(made) == {"chapters/07_windows.ipynb"}
    assert "exercises/" not in build.dumps(made["chapters/07_windows.ipynb"])


def test_the_first_use_of_a_term_leads_to_the_glossary(course: Path) -> None:
    (course / "docs").mkdir()
    entry = "### local window\n*Lesson 07.* A stretch of w positions.\n"
    (course / "docs/glossary.md").write_text(f"# Glossary\n\n{entry}", encoding="utf-8")
    with pytest.raises(build.BuildError, match=r"introduces 'local window', but lessons/07_win"):
        build.make(course, "07_windows")
    twice = "A **local window** is\n# a **local window**."
    edit(course, "lessons/07_windows.py", "# What is six times seven?", f"# {twice}")
    cells = build.make(course, "07_windows")["chapters/07_windows.ipynb"].cells
    (linked,) = [cell.source for cell in cells if "glossary" in cell.source]
    link = "[**local window**](../docs/glossary.md#local-window)"
    assert f"A {link} is\na **local window**." in linked


def test_cells_and_tags_arrive_as_written(course: Path) -> None:
    title, colab, *rest = build.make(course, "07_windows")["chapters/07_windows.ipynb"].cells
    assert title.source == (
        "# 7 Windows\nWhat is six times seven?\n\n"
        "[Open in Colab](https://colab.research.google.com/github/someone/some-course"
        "/blob/main/chapters/07_windows.ipynb) · [Exercises](../exercises/07_windows.ipynb)"
    )
    assert colab.metadata == {"tags": ["colab"]}
    assert [(cell.cell_type, cell.source, cell.metadata) for cell in rest] == [
        ("code", 'x = 6 * 7\nprint("x is", x)', {"tags": ["first", "hide-input"]}),
        ("code", "x + 1", {}),
        ("markdown", "A remark.", {"tags": ["bonus"]}),
    ]


@pytest.mark.parametrize("on_colab", [False, True])
@pytest.mark.parametrize("installed", [False, True])
def test_the_first_code_cell_installs_only_on_colab_and_only_once(
    course: Path, on_colab: bool, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[tuple[str, str]] = []
    shell = SimpleNamespace(run_line_magic=lambda name, line: run.append((name, line)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    if on_colab:
        monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    cell = build.make(course, "07_windows")["chapters/07_windows.ipynb"].cells[1]
    exec(TransformerManager().transform_cell(cell.source), {"get_ipython": lambda: shell})
    package = '"gmlp-course[colab] @ git+https://github.com/someone/some-course"'
    assert run == ([("pip", f"install -q {package}")] if on_colab and not installed else [])


def test_notebook_text_is_canonical_and_free_of_tool_metadata(course: Path) -> None:
    for path, notebook in build.make(course, "07_windows").items():
        text = build.dumps(notebook)
        data = json.loads(text)
        assert text == json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n", path
        assert data["metadata"] == build.METADATA
        assert (data["nbformat"], data["nbformat_minor"]) == (4, 5)
        assert "lines_to_next_cell" not in text and "jupytext" not in text
        nbformat.validate(notebook)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.tuples(st.booleans(), st.sampled_from(["a = 1", "b = 2", "print(3)\n\nc = 4"])),
        max_size=8,
    )
)
def test_ids_are_valid_unique_and_stay_when_another_cell_changes(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[bool, str]]
) -> None:
    root = tmp_path_factory.mktemp("ids")
    (root / "lessons").mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT)

    def ids(title: str) -> list[str]:
        cells = [f"# %% [markdown]\n# # {title}"]
        cells += [
            f"# %%\n{text}" if code else f"# %% [markdown]\n# {text!r}" for code, text in texts
        ]
        (root / "lessons/07_windows.py").write_text("\n\n".join(cells) + "\n")
        notebook = build.make(root, "07_windows")["chapters/07_windows.ipynb"]
        assert [cell.source for cell in notebook.cells[2:]] == [
            text if code else repr(text) for code, text in texts
        ]
        nbformat.validate(notebook)
        return [cell.id for cell in notebook.cells]

    before, after = ids("Old"), ids("New")
    assert len(set(before)) == len(before)
    assert before[0] != after[0] and before[1:] == after[1:]


# ---------------------------------------------------------------- exercises


def test_exercises_hold_stubs_instead_of_solutions_and_no_outputs(course: Path) -> None:
    made = build.make(course, "07_windows")
    exercises = made["exercises/07_windows.ipynb"]
    text = build.dumps(exercises)
    for secret in ("secret", "guess = 42", "SOLUTION"):
        assert secret in build.dumps(made["solutions/07_windows.ipynb"])
        assert secret not in text
    stub = exercises.cells[4].source
    assert stub.endswith(
        '"""Twice as much."""\n    # your code here\n    raise NotImplementedError'
    )
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in exercises.cells)


def test_nbgrader_knows_solutions_and_checks(course: Path) -> None:
    for folder in ("solutions", "exercises"):
        cells = build.make(course, "07_windows")[f"{folder}/07_windows.ipynb"].cells
        marked = [cell.metadata.nbgrader for cell in cells if "nbgrader" in cell.metadata]
        keys = ("grade_id", "solution", "grade", "locked", "points", "schema_version")
        assert [tuple(meta.get(key) for key in keys) for meta in marked] == [
            ("double", True, False, False, None, 3),
            ("check-double", False, True, True, 2, 3),
            ("guess", True, False, False, None, 3),
            ("check-guess", False, True, True, 1, 3),
        ]
        assert not any("points" in cell.metadata for cell in cells)
        assert cells[4].metadata.tags == ["rebuild"]


def test_a_solution_id_never_comes_from_the_answer(course: Path) -> None:
    edit(course, "lessons/07_windows_exercises.py", "guess = 42", 'print("the answer is 42")')
    edit(course, "lessons/07_windows_exercises.py", "check(guess)", "check(21 * 2)")
    text = build.dumps(build.make(course, "07_windows")["exercises/07_windows.ipynb"])
    assert "answer is" not in text and '"solution-3"' in text


def test_nbgrader_generate_assignment_gives_the_same_bytes(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    build.build(course, run=())
    source = tmp_path / "class/source/lesson"
    source.mkdir(parents=True)
    shutil.copy(course / "solutions/07_windows.ipynb", source)
    # nbgrader starts `alembic` by its bare name
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", scripts + os.pathsep + os.environ["PATH"])
    config = Config()
    config.CourseDirectory.root = str(tmp_path / "class")
    config.CourseDirectory.db_url = f"sqlite:///{tmp_path}/gradebook.db"
    config.CourseDirectory.assignment_id = "lesson"
    config.CourseDirectory.student_id = "."
    config.ClearSolutions.code_stub = {"python": build.STUB}
    GenerateAssignment(coursedir=CourseDirectory(config=config), config=config).start()
    released = tmp_path / "class/release/lesson/07_windows.ipynb"
    assert released.read_bytes() == (course / "exercises/07_windows.ipynb").read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("07_windows.py", "# # 7 Windows", "# Windows", "first cell must be the title"),
        ("07_windows.py", "# %% [markdown]\n# # 7", "# %%\n# # 7", "first cell must be the title"),
        ("07_windows.py", "# %%\nx + 1", "# %%\n\n# %%\nx + 1", "cell 3 is empty"),
        ("07_windows.py", "# %%\nx + 1", "# %% points=1\nx + 1", r"cell 3 \(x \+ 1\) has points"),
        (
            "07_windows_exercises.py",
            "return secret\n    ### END SOLUTION",
            "return secret",
            r"cell 4 \(def double.*needs its '### END",
        ),
        (
            "07_windows_exercises.py",
            "    ### BEGIN SOLUTION\n    secret",
            "    secret",
            r"cell 4 \(def double.*needs its '### END",
        ),
        (
            "07_windows_exercises.py",
            "# ●○○ Write",
            "# ### BEGIN SOLUTION\n# ### END SOLUTION\n# Write",
            "cell 3 .*only a code cell",
        ),
        (
            "07_windows_exercises.py",
            "guess = 42",
            "guess = ",
            r"cell 6 \(# Say the number.*not valid Python",
        ),
        (
            "07_windows_exercises.py",
            "check(double)",
            "check(triple)",
            r"cell 5 \(check\(triple\)\): no solution cell before it gives triple",
        ),
        (
            "07_windows_exercises.py",
            "check(guess)",
            "check(double)",
            r"cell 7 .*two checks named double",
        ),
        (
            "07_windows_exercises.py",
            "guess = 42",
            "def double(): ...",
            "cell 6 .*two solutions named double",
        ),
        ("07_windows_exercises.py", "check(double)", "check()", "cell 5 .*needs what it should"),
        (
            "07_windows_exercises.py",
            "# The last one.",
            "y = 1",
            "cell 7 .*must be the first statement",
        ),
        ("07_windows_exercises.py", "points=2", "points=-2", "cell 5 .*points=-2"),
    ],
)
def test_a_bad_source_is_refused_by_file_and_cell(
    course: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(course, f"lessons/{file}", old, new)
    with pytest.raises(build.BuildError, match=f"(?s)^lessons/{file}: .*{message}"):
        build.build(course, run=())
    assert snapshot(course) == {}


def test_lesson_names_are_checked_and_an_unknown_one_lists_them(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(course / "lessons/07_windows.py", course / "lessons/08_folds.py")
    assert build.select(course) == ["07_windows", "08_folds"]
    assert build.select(course, ["08", "08_folds"]) == ["08_folds"]
    assert build.main(["09"], course) == 1
    error = capsys.readouterr().err
    assert "'09'" in error and "07_windows" in error and "08_folds" in error
    for stray, message in [
        ("scratch.py", "is named like 07_"),
        ("09_folds_exercises.py", "^lessons/09_folds.py: missing"),
        ("07_other.py", "have one number"),
    ]:
        (course / "lessons" / stray).write_text(LESSON)
        with pytest.raises(build.BuildError, match=message):
            build.check(course)
        (course / "lessons" / stray).unlink()


# ---------------------------------------------------------------- execution


def test_building_twice_gives_the_same_bytes_and_passes_the_check(course: Path) -> None:
    out = io.StringIO()
    build.build(course, out=out)
    first = snapshot(course)
    assert len(first) == 3
    build.build(course, out=io.StringIO())
    assert snapshot(course) == first
    assert build.check(course) == []

    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[1/2] chapters/07_windows.ipynb  cell 5/5  ")
    assert lines[1].startswith("[2/2] solutions/07_windows.ipynb  cell 8/8  ")

    chapter = read(course, "chapters/07_windows.ipynb")
    printed, result = chapter.cells[2], chapter.cells[3]
    assert (printed.execution_count, printed.outputs[0].text) == (2, "x is 42\n")
    assert (result.execution_count, result.outputs[0].execution_count) == (3, 3)
    assert result.outputs[0].data == {"text/plain": "43"}
    solutions = read(course, "solutions/07_windows.ipynb")
    assert [cell.outputs[0].text for cell in (solutions.cells[5], solutions.cells[7])] == [
        "right\n",
        "right\n",
    ]

    # A word of prose changes no output: they stay. A changed cell and all after it lose theirs.
    edit(course, "lessons/07_windows.py", "A remark.", "Another remark.")
    build.build(course, run=())
    assert build.check(course) == []
    edit(course, "lessons/07_windows.py", "x + 1", "x + 2")
    build.build(course, run=())
    assert [
        cell.execution_count for cell in read(course, "chapters/07_windows.ipynb").cells[1:4]
    ] == [
        1,
        2,
        None,
    ]
    assert "were not run" in build.check(course)[0]


def test_outputs_are_what_a_terminal_shows_in_the_end_of_this_python(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A user's own kernel by the name of python3, which would be found first, is not used.
    kernel = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["no-such-python"], "display_name": "", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    edit(
        course,
        "lessons/07_windows.py",
        "# %%\nx + 1",
        """\
# %%
import os, sys
for step in range(3):
    print(f"\\rstep {step}", end="", flush=True)
    sys.stdout.flush()
print("\\na long line\\rshort")
print(os.path.basename(os.getcwd()), sys.executable == PYTHON, "gmlp" in sys.modules)

# %% tags=["nbval-ignore-output"]
import sys
from tqdm import tqdm
for step in tqdm(range(3), desc="steps"):
    pass
print("done")""".replace("PYTHON", repr(sys.executable)),
    )
    (course / "lessons/07_windows_exercises.py").unlink()
    build.build(course, out=io.StringIO())
    plain, bar = read(course, "chapters/07_windows.ipynb").cells[3:5]
    assert [output.text for output in plain.outputs] == [
        "step 2\nshortg line\nchapters True False\n"
    ]
    assert plain.metadata == {}
    texts = {output.name: output.text for output in bar.outputs}
    assert texts["stdout"] == "done\n"
    assert texts["stderr"].startswith("steps: 100%|██████████| 3/3 [00:00<00:00, ")
    assert texts["stderr"].count("\n") == 1 and "\r" not in texts["stderr"]


def test_widgets_leave_no_dead_state(course):
    live = "# %%\nimport ipywidgets\n\nprint('kept')\nipywidgets.IntSlider()"
    edit(course, "lessons/07_windows.py", "# %%\nx + 1", live)
    (course / "lessons/07_windows_exercises.py").unlink()
    build.build(course, out=io.StringIO())
    built = read(course, "chapters/07_windows.ipynb")
    (cell,) = (cell for cell in built.cells if "IntSlider" in cell.source)
    assert [output.get("text") for output in cell.outputs] == ["kept\n"]
    assert "widgets" not in built.metadata


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            ' tags=["raises-exception"]\nvalue = 1\nvalue / 0',
            "line 11: .*    value = 1\nraised ZeroDivisionError: division",
        ),
        (
            ' tags=["nbval-ignore-output"]\nimport warnings\nwarnings.warn("old")',
            "line 10: .*stderr:\n.*UserWarning: old",
        ),
        (
            "\nfrom tqdm import tqdm\nlist(tqdm([1]))",
            "stderr:\n    100%.*tagged nbval-ignore-output",
        ),
        ("\nimport os\nos._exit(3)", "ended its Python process"),
    ],
)
def test_a_cell_that_fails_stops_the_build_and_changes_no_notebook(
    course: Path, code: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build.build(course, run=())
    old = snapshot(course)
    edit(course, "lessons/07_windows.py", "# %%\nx + 1", f"# %%{code}")
    edit(course, "lessons/07_windows.py", "A remark.", "A remark that must not be written.")
    assert build.main([], course) == 1
    assert snapshot(course) == old
    error = capsys.readouterr().err
    assert error.startswith("lessons/07_windows.py, line ")
    assert re.search(message, error, re.DOTALL), error


def test_a_cell_that_takes_too_long_stops_the_build(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CELL_SECONDS", 1)
    edit(course, "lessons/07_windows.py", "x + 1", "import time\ntime.sleep(60)")
    with pytest.raises(build.BuildError, match=r"(?s), line 10: .*did not end within 1 s"):
        build.build(course, out=io.StringIO())
    assert not any((course / "chapters").iterdir())


def test_a_failing_solution_leaves_its_chapter_too(course: Path) -> None:
    build.build(course, run=())
    old = snapshot(course)
    edit(course, "lessons/07_windows_exercises.py", "guess = 42", "guess = unknown")
    with pytest.raises(build.BuildError, match=r"(?s)_exercises.py, line 25: .*NameError"):
        build.build(course, out=io.StringIO())
    assert snapshot(course) == old


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_control_c_leaves_the_notebooks_and_no_kernel(course: Path) -> None:
    build.build(course, run=())
    old = snapshot(course)
    pid_file = course / "pid"
    edit(
        course,
        "lessons/07_windows.py",
        "x + 1",
        f"import os, pathlib, time\npathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)",
    )
    code = f"import build, pathlib, sys; sys.exit(build.main([], pathlib.Path({str(course)!r})))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT / "tools", stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "Stopped" in error and "Traceback" not in error
    assert snapshot(course) == old
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_on_a_terminal_progress_is_one_line_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    progress = build._Progress("[2/9] chapters/01_spatial_gating.ipynb", 40, out)
    progress.start -= 8
    progress(1)
    progress(12)
    progress.close()
    assert out.getvalue().count("\n") == 1
    assert build._overwrite(out.getvalue().rstrip("\n")) == (
        "[2/9] chapters/01_spatial_gating.ipynb  cell 12/40  8 s"
    )


# ---------------------------------------------------------------- check


@pytest.fixture
def built(course: Path) -> Path:
    """The course with notebooks as if executed: counts, no outputs."""
    build.build(course, run=())
    for folder in ("chapters", "solutions"):
        path = course / folder / "07_windows.ipynb"
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for count, cell in enumerate(cells, 1):
            cell.execution_count = count
        path.write_text(build.dumps(notebook), encoding="utf-8", newline="\n")
    assert build.check(course) == []
    return course


@pytest.mark.parametrize("folder", build.FOLDERS)
def test_check_finds_every_change_of_one_character(built: Path, folder: str) -> None:
    path = built / folder / "07_windows.ipynb"
    good = json.loads(path.read_text(encoding="utf-8"))
    for number, cell in enumerate(good["cells"], 1):
        for line in range(len(cell["source"])):
            bad = json.loads(json.dumps(good))
            bad["cells"][number - 1]["source"][line] += " "
            path.write_text(json.dumps(bad, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
            first, *mend = build.check(built)
            assert first.startswith(f"{folder}/07_windows.ipynb: cell {number} (")
            assert first.endswith(" differs in its source")
            assert mend == ["  to mend it: python3 course.py build 07"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda nb: nb["cells"][2]["metadata"]["tags"].pop(), "cell 3 (x = 6 * 7) differs in its"),
        (
            lambda nb: nb["cells"][2].update(metadata={}),
            "cell 3 (x = 6 * 7) differs in its metadata",
        ),
        (lambda nb: nb["cells"][3].update(id="abc"), "cell 4 (x + 1) differs in its id"),
        (lambda nb: nb["cells"].pop(3), "cell 4 (x + 1) is missing"),
        (lambda nb: nb["cells"].insert(3, nb["cells"][3]), "cell 5 (x + 1) is not in the lesson"),
        (lambda nb: nb["metadata"].update(widgets={}), "its metadata differs"),
        (lambda nb: nb.update(nbformat_minor=4), "its nbformat_minor differs"),
        (lambda nb: nb["cells"][3].update(execution_count=None), "its code cells were not run"),
        (lambda nb: nb["cells"][3].update(execution_count=7), "its code cells were not run"),
    ],
)
def test_check_names_what_was_changed(built: Path, change, message: str) -> None:
    path = built / "chapters/07_windows.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    found = build.check(built)
    assert any(line.startswith(f"chapters/07_windows.ipynb: {message}") for line in found), found
    assert found[-1] == "  to mend it: python3 course.py build 07"


def test_check_finds_missing_extra_broken_and_reformatted_notebooks(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = built / "exercises/07_windows.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(text)), encoding="utf-8")
    assert "not in the builder's bytes" in build.check(built)[0]
    path.write_text("{}", encoding="utf-8")
    assert "cannot be read as a notebook" in build.check(built)[0]
    path.unlink()
    assert build.check(built)[0] == "exercises/07_windows.ipynb: missing"
    path.write_text(text, encoding="utf-8", newline="\n")

    shutil.copy(path, built / "exercises/09_gone.ipynb")
    assert build.check(built, ["07"]) == []
    assert build.check(built)[0] == "exercises/09_gone.ipynb: no lesson makes it"
    assert build.main(["--check"], built) == 1
    assert "delete exercises/09_gone.ipynb" in capsys.readouterr().out
    (built / "exercises/09_gone.ipynb").unlink()
    assert build.main(["--check"], built) == 0


def test_check_wants_no_outputs_in_exercises(built: Path) -> None:
    path = built / "exercises/07_windows.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="hello")]
    path.write_text(build.dumps(notebook), encoding="utf-8", newline="\n")
    assert build.check(built)[0] == "exercises/07_windows.ipynb: has outputs"


def test_a_lesson_takes_a_tenth_of_a_second(course: Path) -> None:
    cells = [f"# %% [markdown]\n# Remark {k}.\n\n# %%\nx = {k}\nprint(x)\n" for k in range(25)]
    (course / "lessons/07_windows.py").write_text(LESSON + "\n" + "\n".join(cells))
    times = []
    for _ in range(6):
        start = time.process_time()
        build.build(course, run=())
        times.append(time.process_time() - start)
    assert statistics.median(times[1:]) < 0.3  # seen: 0.08; three times that for a busy machine


def test_the_course_is_as_its_lessons_say() -> None:
    assert build.check(ROOT) == []


def test_a_lesson_edited_in_jupyterlab_changes_only_where_it_was_edited(tmp_path):
    """By the contents manager of Lab, to which jupytext adds "Open With > Notebook"."""
    from jupyter_server.services.contents.largefilemanager import LargeFileManager
    from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class

    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(tmp_path))
    sources = sorted((ROOT / "lessons").glob("*.py"))
    assert len(sources) >= 28
    for source in sources:
        before = source.read_text("utf-8")
        (tmp_path / source.name).write_text(before, "utf-8", newline="\n")
        opened = manager.get(source.name, type="notebook", format="json")
        notebook = opened["content"]
        notebook.metadata.language_info = {"name": "python", "version": "3.11.2"}
        run = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for count, cell in enumerate(run, start=1):
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", text="seen")]
        notebook.cells[0].source += "\nOne more line."
        manager.save(opened, source.name)
        first, rest = before.split("\n\n", 1)
        after = (tmp_path / source.name).read_bytes().decode()
        assert after == f"{first}\n# One more line.\n\n{rest}", source.name
