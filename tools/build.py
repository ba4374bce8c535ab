"""Build the notebooks of the course from its lessons.

    python tools/build.py [NN | NN_name ...] [--check | --no-execute | --exercises]

    lessons/NN_name.py            ->  chapters/NN_name.ipynb   executed
    lessons/NN_name_exercises.py  ->  solutions/NN_name.ipynb  executed, with nbgrader's metadata
                                  ->  exercises/NN_name.ipynb  no solutions, no outputs

The same lesson always gives the same bytes, outputs that depend on time or chance aside. A lesson's
notebooks are made in memory and written only when all of them are whole.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import hashlib
import itertools
import json
import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:  # they take seconds to import, and `--help` needs none of them
    from nbformat import NotebookNode

GLOSSARY = "docs/glossary.md"
FOLDERS = ("chapters", "exercises", "solutions")
STUB = "# your code here\nraise NotImplementedError"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
COLAB = """\
# Installs the course on Google Colab; does nothing anywhere else.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("gmlp") is None:
    %pip install -q "gmlp-course[colab] @ git+{repository}"
"""
CELL_SECONDS = 120
WIDGET = "application/vnd.jupyter.widget-view+json"  # blank wherever its kernel is not

# What ends every line that tqdm draws: "[00:12<00:03, 41.2it/s]" or, without a total, "[00:12, …]".
_BAR = re.compile(r"\[\d+:\d\d[^\]]*\]\s*$")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class BuildError(Exception):
    """A lesson that cannot become a notebook; the text says where, why and what to do."""


# ---------------------------------------------------------------- which lessons there are


def lesson_names(root: Path) -> list[str]:
    """The lessons of the course, in order: ``["00_welcome", ...]``."""
    stems = (path.stem for path in (root / "lessons").glob("*.py"))
    names = sorted({stem.removesuffix("_exercises") for stem in stems})
    for name in names:
        if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
            raise BuildError(f"lessons/{name}.py: a lesson is named like 07_local_windows.py")
    for before, after in itertools.pairwise(names):
        if before[:2] == after[:2]:
            raise BuildError(
                f"lessons/{before}.py and lessons/{after}.py have one number; change one"
            )
    return names


def select(root: Path, wanted: Iterable[str] = ()) -> list[str]:
    """The lessons asked for by number or by name; all of them if none was asked for."""
    names = lesson_names(root)
    wanted = list(wanted)
    for word in wanted:
        if word not in names and word not in [name[:2] for name in names]:
            known = "\n".join(f"  {name}" for name in names) or "  (none yet)"
            raise BuildError(f"there is no lesson {word!r} in lessons/. The lessons are:\n{known}")
    return [name for name in names if not wanted or name in wanted or name[:2] in wanted]


# ---------------------------------------------------------------- from a source to notebooks


def make(root: Path, name: str) -> dict[str, NotebookNode]:
    """The notebooks of one lesson, not executed, by path from ``root`` (``chapters/...ipynb``)."""
    repository = _repository(root)
    colab = repository.replace("github.com", "colab.research.google.com/github") + "/blob/main"
    exercises = f"lessons/{name}_exercises.py"
    has_exercises = (root / exercises).exists()

    links = [f"[Open in Colab]({colab}/chapters/{name}.ipynb)"]
    if has_exercises:
        links.append(f"[Exercises](../exercises/{name}.ipynb)")
    cells = _read(root, f"lessons/{name}.py")
    _link_terms(cells, glossary(root).get(name[:2], []), name)
    made = {f"chapters/{name}.ipynb": _notebook(cells, links, repository)}

    if has_exercises:
        # One line for both notebooks, because one is cut out of the other.
        links = [
            f"[Open the exercises in Colab]({colab}/exercises/{name}.ipynb)",
            f"[Chapter](../chapters/{name}.ipynb)",
        ]
        cells = _read(root, exercises)
        _mark_for_nbgrader(cells, exercises)
        solutions = _notebook(cells, links, repository)
        made[f"exercises/{name}.ipynb"] = _release(solutions, exercises)
        made[f"solutions/{name}.ipynb"] = solutions
    return made


def glossary(root: Path) -> dict[str, list[str]]:
    """The terms of docs/glossary.md by the number of the lesson that introduces them."""
    path = root / GLOSSARY
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    terms: dict[str, list[str]] = {}
    for term, number in re.findall(r"(?m)^### (.+)\n\*Lesson (\d\d)\.\*", text):
        terms.setdefault(number, []).append(term)
    return terms


def anchor(heading: str) -> str:
    """The fragment that GitHub and Sphinx give to a heading of a Markdown file."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _link_terms(cells: list[NotebookNode], terms: list[str], name: str) -> None:
    """Lead the first use of each term, which is in bold, to the glossary."""
    for term in terms:
        for cell in cells:
            if cell.cell_type == "markdown" and f"**{term}**" in cell.source:
                link = f"[**{term}**](../{GLOSSARY}#{anchor(term)})"
                cell.source = cell.source.replace(f"**{term}**", link, 1)
                break
        else:
            raise BuildError(
                f"{GLOSSARY} says that lesson {name[:2]} introduces {term!r}, but "
                f"lessons/{name}.py has no **{term}**; write it so where it is first used, or "
                f"change the glossary"
            )


def dumps(notebook: NotebookNode) -> str:
    """The one text of a notebook: sorted keys, an indent of 1, one newline at the end."""
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _repository(root: Path) -> str:
    with (root / "pyproject.toml").open("rb") as file:
        url = tomllib.load(file).get("project", {}).get("urls", {}).get("Repository", "")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise BuildError(
            f"pyproject.toml: [project.urls] Repository is {url!r}; "
            "it must look like https://github.com/OWNER/REPO"
        )
    return str(url)


def _read(root: Path, source: str) -> list[NotebookNode]:
    import jupytext

    if not (root / source).exists():
        raise BuildError(f"{source}: missing; only its exercises are there")
    cells = jupytext.reads((root / source).read_text(encoding="utf-8"), fmt="py:percent").cells
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise BuildError(
            f"{source}: the first cell must be the title, a markdown cell that starts with '# '"
        )
    for number, cell in enumerate(cells, 1):
        cell.metadata.pop("lines_to_next_cell", None)
        if not cell.source.strip():
            raise BuildError(f"{source}: cell {number} is empty; fill it or delete it")
        if "points" in cell.metadata and not (
            source.endswith("_exercises.py") and _check_call(cell)
        ):
            raise BuildError(
                f"{source}: {_name_cell(number, cell.source)} has points, but only a cell of an "
                "exercise that starts with check(...) is graded"
            )
    return list(cells)


def _notebook(cells: list[NotebookNode], links: list[str], repository: str) -> NotebookNode:
    from nbformat import v4

    title = copy.deepcopy(cells[0])
    title.source += "\n\n" + " · ".join(links)
    colab = COLAB.format(repository=repository).rstrip()
    cells = [title, v4.new_code_cell(colab, metadata={"tags": ["colab"]}), *cells[1:]]
    seen: dict[str, int] = {}
    for cell in cells:
        # An id from the content: an edit elsewhere leaves it alone.
        id_ = hashlib.sha1(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[id_] = seen.get(id_, 0) + 1
        cell.id = id_ if seen[id_] == 1 else f"{id_}-{seen[id_]}"
    notebook = v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))
    notebook.nbformat_minor = 5
    return notebook


def _name_cell(number: int, source: str) -> str:
    return f"cell {number} ({_first_line(source)})"


def _first_line(source: str) -> str:
    line = source.strip().split("\n", 1)[0].strip()
    return line if len(line) <= 70 else line[:69] + "…"


# ---------------------------------------------------------------- exercises


def _check_call(cell: NotebookNode) -> ast.Call | None:
    """The ``check(...)`` with which a code cell starts, if it does."""
    if cell.cell_type != "code" or "check(" not in cell.source:
        return None
    try:
        statements = ast.parse(cell.source).body
    except SyntaxError:  # a magic, perhaps; a graded cell has none
        return None
    match statements:
        case [ast.Expr(value=ast.Call(func=ast.Name(id="check")) as call), *_]:
            return call
    return None


def _bound_names(source: str) -> list[str]:
    """What the top level defines or assigns; functions and classes first, each in order."""
    defined: list[str] = []
    assigned: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.append(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            nodes = [node for target in targets for node in ast.walk(target)]
            assigned += [node.id for node in nodes if isinstance(node, ast.Name)]
    return defined + assigned


def _mark_for_nbgrader(cells: list[NotebookNode], source: str) -> None:
    """Give solution and check cells the metadata by which nbgrader knows them."""
    grade_ids: set[str] = set()
    solved: set[str] = set()  # names that solution cells bind
    fresh = False  # a solution cell has come since the last check
    for number, cell in enumerate(cells, 1):

        def wrong(reason: str, number: int = number, cell: NotebookNode = cell) -> BuildError:
            return BuildError(f"{source}: {_name_cell(number, cell.source)}: {reason}")

        # The words nbgrader itself looks for, in any cell, so that nothing can slip past.
        marks = re.findall(r"(?:BEGIN|END) SOLUTION", cell.source)
        if marks != ["BEGIN SOLUTION", "END SOLUTION"] * (len(marks) // 2):
            raise wrong("every '### BEGIN SOLUTION' needs its '### END SOLUTION' after it")
        if marks and cell.cell_type != "code":
            raise wrong("only a code cell can hold a solution")

        if marks:
            try:
                names = _bound_names(cell.source)
            except SyntaxError as error:
                raise wrong(f"the solution is not valid Python: {error}") from None
            # Never from the solution's text: the id stays in the exercise.
            grade_id = names[0] if names else f"solution-{len(grade_ids) + 1}"
            facts: dict[str, Any] = {"grade": False, "locked": False, "solution": True}
            solved.update(names)
            fresh = True
        elif call := _check_call(cell):
            if not call.args:
                raise wrong("check() needs what it should check")
            name = ast.unparse(call.args[0])
            if not (name in solved if isinstance(call.args[0], ast.Name) else fresh):
                raise wrong(
                    f"no solution cell before it gives {name}; "
                    "is there a '### BEGIN SOLUTION' around the answer?"
                )
            grade_id = "check-" + re.sub(r"\W+", "-", name).strip("-")
            points = cell.metadata.pop("points", 1)
            if isinstance(points, bool) or not isinstance(points, int | float) or points < 0:
                raise wrong(f"points={points!r}; it must be a number that is not negative")
            facts = {"grade": True, "locked": True, "solution": False, "points": points}
            fresh = False
        else:
            if cell.cell_type == "code" and re.search(r"^check\(", cell.source, re.MULTILINE):
                raise wrong("check(...) must be the first statement of its cell to be graded")
            continue
        if grade_id in grade_ids:
            kind = "checks" if facts["grade"] else "solutions"
            raise wrong(f"there are two {kind} named {grade_id.removeprefix('check-')}; rename one")
        grade_ids.add(grade_id)
        cell.metadata["nbgrader"] = {
            **facts,
            "grade_id": grade_id,
            "schema_version": 3,
            "task": False,
        }


@cache
def _release_steps() -> list[Any]:
    """What ``nbgrader generate_assignment`` does to a notebook, in its order, less the database."""
    from nbgrader import preprocessors as p

    return [
        p.LockCells(),
        p.ClearSolutions(code_stub={"python": STUB}),
        p.ClearOutput(),
        p.ComputeChecksums(),
        p.ClearHiddenTests(),
        p.ClearMarkScheme(),
        p.ComputeChecksums(),
        p.CheckCellMetadata(),
    ]


def _release(solutions: NotebookNode, source: str) -> NotebookNode:
    notebook = copy.deepcopy(solutions)
    try:
        for step in _release_steps():
            notebook, _ = step.preprocess(notebook, {})
    except Exception as error:  # nbgrader raises RuntimeError, ValidationError and others
        raise BuildError(f"{source}: nbgrader cannot make exercises of it: {error}") from error
    return notebook


# ---------------------------------------------------------------- execution


def execute(
    notebook: NotebookNode,
    folder: Path,
    source: Path,
    on_cell: Callable[[int], None] = lambda number: None,
) -> None:
    """Run a notebook in ``folder`` with this very Python and keep its outputs, normalised.

    Raises:
        BuildError: a cell raised, took longer than ``CELL_SECONDS``, or wrote to stderr.
    """
    client = _client(notebook)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        environment = {
            **os.environ,
            "IPYTHONDIR": profile,  # nobody's own start-up files in the course
            "GMLP_STATE": profile,  # and nobody's progress
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        # Cell by cell, not client.execute(), which would make a dead kernel of Ctrl-C.
        with client.setup_kernel(cleanup_kc=True, cwd=str(folder), env=environment):
            for index, cell in enumerate(notebook.cells):
                on_cell(index + 1)
                problem, line = _run(client, index) if cell.cell_type == "code" else ("", 0)
                if problem:
                    start = _line_in(source, notebook, index)
                    raise BuildError(
                        f"lessons/{source.name}{f', line {start + line}' if start else ''}: "
                        f"the cell that starts with\n    {_first_line(cell.source)}\n{problem}\n"
                        "The notebooks of this lesson are as they were."
                    )


def _client(notebook: NotebookNode) -> Any:
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(KernelSpecManager):  # the kernel called python3 may be another interpreter's
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(**get_kernel_dict())

    return NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=ThisPython()),
        timeout=CELL_SECONDS,
        force_raise_errors=True,
        record_timing=False,
        store_widget_state=False,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=40"],  # no notes on encryption amid the progress line
    )


def _run(client: Any, index: int) -> tuple[str, int]:
    """Execute one cell; what went wrong ("" if nothing) and how many lines into the cell."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    cell = client.nb.cells[index]
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        at = re.search(r"Cell In\[\d+\], line (\d+)", _ANSI.sub("", error.traceback))
        line = int(at[1]) - 1 if at else 0
        return f"raised {error.ename}: {_ANSI.sub('', error.evalue)}", line
    except CellTimeoutError:
        return f"did not end within {CELL_SECONDS} s.", 0
    except DeadKernelError:
        return "ended its Python process.", 0
    _normalise(cell)
    texts = [output.text for output in cell.outputs if output.get("name") == "stderr"]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    bars_only = all(_BAR.search(line) for line in lines)
    if lines and not (bars_only and "nbval-ignore-output" in cell.metadata.get("tags", [])):
        shown = "".join(f"    {line}\n" for line in lines)
        rule = "Only a cell tagged nbval-ignore-output may, and only tqdm's bars."
        return f"wrote to stderr:\n{shown}{rule}", 0
    return "", 0


def _line_in(source: Path, notebook: NotebookNode, index: int) -> int | None:
    """The line of the lesson on which a code cell starts; None if it does not stand there as is."""
    text = "\n" + source.read_text(encoding="utf-8") + "\n"
    end, found = 0, -1
    for cell in notebook.cells[: index + 1]:
        found = text.find(f"\n{cell.source}\n", end) if cell.cell_type == "code" else -1
        end = found + len(cell.source) + 1 if found >= 0 else end
    return text.count("\n", 0, found + 1) if found >= 0 else None


def _normalise(cell: NotebookNode) -> None:
    """One output for each stream between two displays, as a terminal would show it in the end."""
    outputs: list[NotebookNode] = []
    streams: dict[str, NotebookNode] = {}  # in what order two streams arrive is chance
    for output in cell.outputs:
        if output.output_type != "stream":
            streams = {}
        elif output.name in streams:
            streams[output.name].text += output.text
            continue
        else:
            streams[output.name] = output
        outputs.append(output)
    for output in outputs:
        if output.output_type == "stream":
            output.text = "\n".join(_overwrite(line) for line in output.text.split("\n"))
    cell.outputs = [
        output
        for output in outputs
        if output.get("text", True) and WIDGET not in output.get("data", {})
    ]


def _overwrite(line: str) -> str:
    """What stays of a line on which carriage returns made a terminal start again."""
    if "\r" not in line:
        return line
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown.rstrip()


# ---------------------------------------------------------------- build and check


def build(
    root: Path,
    wanted: Iterable[str] = (),
    *,
    run: Collection[str] = ("chapters", "solutions"),
    out: TextIO | None = None,
) -> None:
    """Write the notebooks of the lessons asked for, each lesson's at once or not at all.

    Those that are not in the folders ``run`` are not executed: their outputs are kept up to the
    first code cell that changed.
    """
    out = out or sys.stdout
    made = {name: make(root, name) for name in select(root, wanted)}  # all sources before any run
    total = sum(
        not path.startswith("exercises/") for notebooks in made.values() for path in notebooks
    )
    number = 0
    for name, notebooks in made.items():
        for path, notebook in notebooks.items():
            if path.startswith("exercises/"):
                continue
            number += 1
            if path.partition("/")[0] not in run:
                _keep_outputs(root / path, notebook)
                continue
            suffix = "_exercises" if path.startswith("solutions/") else ""
            source = root / "lessons" / f"{name}{suffix}.py"
            progress = _Progress(f"[{number}/{total}] {path}", len(notebook.cells), out)
            try:
                execute(notebook, (root / path).parent, source, progress)
            finally:
                progress.close()
        _write({root / path: dumps(notebook) for path, notebook in notebooks.items()})


class _Progress:
    """One line for a notebook: redrawn at every cell on a terminal, else printed at the end."""

    def __init__(self, label: str, cells: int, out: TextIO) -> None:
        self.label, self.cells, self.out = label, cells, out
        self.cell, self.start = 0, time.monotonic()

    def __call__(self, cell: int) -> None:
        self.cell = cell
        if self.out.isatty():
            self.out.write(f"\r{self}")
            self.out.flush()

    def __str__(self) -> str:
        seconds = time.monotonic() - self.start
        return f"{self.label}  cell {self.cell}/{self.cells}  {seconds:.0f} s"

    def close(self) -> None:
        self.out.write(f"\r{self}\n" if self.out.isatty() else f"{self}\n")
        self.out.flush()


def _keep_outputs(path: Path, notebook: NotebookNode) -> None:
    if not path.exists():
        return
    import nbformat

    old = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    new = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for before, after in zip(old, new, strict=False):
        if before.source != after.source:  # from here on, any output may be another
            return
        after.outputs, after.execution_count = before.outputs, before.execution_count


def _write(texts: dict[Path, str]) -> None:
    staged = {path.with_name(f".{path.name}.{os.getpid()}"): path for path in texts}
    try:
        for temporary, path in staged.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(texts[path], encoding="utf-8", newline="\n")
        for temporary, path in staged.items():
            os.replace(temporary, path)
    finally:
        for temporary in staged:
            temporary.unlink(missing_ok=True)


def check(root: Path, wanted: Iterable[str] = ()) -> list[str]:
    """What in the notebooks is not as the lessons say, a line each; empty if all is well.

    Outputs are not compared (running them is nbval's work), but they must be there.
    """
    wanted = list(wanted)
    made = {name: make(root, name) for name in select(root, wanted)}
    found: list[str] = []
    for name, notebooks in made.items():
        before = len(found)
        for path, notebook in notebooks.items():
            found += [f"{path}: {what}" for what in _differences(root / path, notebook)]
        if len(found) > before:
            found.append(f"  to mend it: python3 course.py build {name[:2]}")
    if not wanted:
        paths = [path for folder in FOLDERS for path in sorted((root / folder).glob("*.ipynb"))]
        for path in (path.relative_to(root).as_posix() for path in paths):
            if not any(path in notebooks for notebooks in made.values()):
                found += [f"{path}: no lesson makes it", f"  to mend it: delete {path}"]
    return found


def _differences(path: Path, expected: NotebookNode) -> list[str]:
    if not path.exists():
        return ["missing"]
    text = path.read_text(encoding="utf-8")
    wanted = json.loads(dumps(expected))
    try:
        actual = json.loads(text)
        canonical = json.dumps(actual, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        want, got = wanted.pop("cells"), actual.pop("cells")
        names = [
            [_name_cell(n, "".join(cell["source"])) for n, cell in enumerate(cells, 1)]
            for cells in (want, got)
        ]
        counts = [cell["execution_count"] for cell in got if cell["cell_type"] == "code"]
        outputs = any(cell.get("outputs") for cell in got)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["cannot be read as a notebook"]
    want, got = [_bare(cell) for cell in want], [_bare(cell) for cell in got]

    keys = sorted(wanted | actual)
    found = [f"its {key} differs" for key in keys if wanted.get(key) != actual.get(key)]
    matcher = difflib.SequenceMatcher(
        a=[json.dumps(cell, sort_keys=True) for cell in want],
        b=[json.dumps(cell, sort_keys=True) for cell in got],
        autojunk=False,
    )
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        both = min(i_end - i, j_end - j)
        for k in range(both):
            a, b = want[i + k], got[j + k]
            what = [key for key in sorted(a | b) if a.get(key) != b.get(key)]
            found.append(f"{names[0][i + k]} differs in its {' and '.join(what)}")
        found += [f"{name} is missing" for name in names[0][i + both : i_end]]
        found += [f"{name} is not in the lesson" for name in names[1][j + both : j_end]]

    if path.parent.name == "exercises":
        found += ["has outputs"] * (outputs or any(counts))
    elif counts != list(range(1, len(counts) + 1)):
        found.append("its code cells were not run once each, from first to last")
    if not found and text != canonical:
        found.append("the right content, but not in the builder's bytes")
    return found


def _bare(cell: dict[str, Any]) -> dict[str, Any]:
    return {key: cell[key] for key in cell if key not in ("outputs", "execution_count")}


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="build.py", description="lessons/ to notebooks")
    parser.add_argument("lesson", nargs="*", help="a number or name, e.g. 07; default: all lessons")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare only; write nothing")
    mode.add_argument(
        "--no-execute", action="store_true", help="keep outputs up to the first change"
    )
    mode.add_argument(
        "--exercises", action="store_true", help="execute solutions; chapters keep their outputs"
    )
    options = parser.parse_args(arguments)
    root = root or Path(__file__).resolve().parents[1]
    try:
        if options.check:
            found = check(root, options.lesson)
            print("\n".join(found) or "The notebooks are as the lessons say.")
            return int(bool(found))
        run = ("solutions",) if options.exercises else ("chapters", "solutions")
        build(root, options.lesson, run=() if options.no_execute else run)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The notebooks of the lesson at work are as they were.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
