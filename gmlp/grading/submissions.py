"""What students hand in: found, read with care, and cut down to the code of one exercise."""

import ast
import hashlib
import json
import re
import symtable
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 30 << 20  # of a notebook; its outputs may be large
MOST_SOURCE = 200_000  # characters of all its code


@dataclass(frozen=True)
class Submission:
    """One student's notebook; ``problem`` says why it could not be read, if so."""

    student: str
    path: Path
    digest: str
    cells: tuple[str, ...] = ()
    problem: str = ""


def find_submissions(folder: Path, names: Sequence[str]) -> list[Submission]:
    """The notebooks below a folder, one for each student, in order of their names.

    A file in the folder itself is named after its student, ``anna.ipynb``. In a folder of
    folders the first folder is the student, as nbgrader and most learning platforms have it; of
    several notebooks there the one that has most of the exercises counts; a folder without any is
    listed as such. Other files are ignored.

    Args:
        folder: where the submissions lie.
        names: the exercises of the lesson.

    Raises:
        ValueError: the folder is missing or holds no notebook.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the one that holds the notebooks")
    by_student: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        if ".ipynb_checkpoints" in parts or (path.is_dir() and not path.is_symlink()):
            continue
        student = parts[0] if len(parts) > 1 else path.stem
        by_student.setdefault(student, []).append(path)
    if not by_student:
        raise ValueError(f"no notebook (.ipynb) in {folder} or below it")
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            by_student.setdefault(path.name, [])
    found = []
    for student, paths in sorted(by_student.items()):
        none = Submission(student, folder / student, "", problem="there is no notebook (.ipynb)")
        read = [_read(student, path) for path in paths] or [none]
        found.append(max(read, key=lambda one: (not one.problem, _count(one.cells, names))))
    return found


def _count(cells: Sequence[str], names: Sequence[str]) -> int:
    text = "\n".join(cells)
    return sum(bool(re.search(rf"\b(def|class) {name}\b", text)) for name in names)


def _read(student: str, path: Path) -> Submission:
    def unreadable(why: str, digest: str = "") -> Submission:
        return Submission(student, path, digest, problem=why)

    try:
        if path.is_symlink() or not path.is_file():
            return unreadable("it is a link or no file; hand in the notebook itself")
        size = path.stat().st_size
        if size > MOST_BYTES:
            return unreadable(
                f"it has {size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} are read. Clear the "
                "outputs, save, and hand it in again"
            )
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        cells = json.loads(content)["cells"]
        sources = []
        for cell in cells:
            if cell["cell_type"] == "code":
                source = cell["source"]
                sources.append(source if isinstance(source, str) else "".join(source))
    except OSError as error:
        return unreadable(f"it cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        return unreadable("it is not a notebook, or a damaged one", digest)
    if sum(map(len, sources)) > MOST_SOURCE:
        return unreadable(f"it has more than {MOST_SOURCE:,} characters of code", digest)
    return Submission(student, path, digest, tuple(sources))


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell, by its lines there."""

    cell: int
    lines: range
    binds: frozenset[str]  # the names that it gives a value, or changes
    uses: frozenset[str]  # the names from outside that it or its functions mention


BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)


def _python(cell: str) -> str:
    """A cell without magics and questions, which only Jupyter understands.

    Lines stay where they are, so that an error names the line that the student sees.
    """
    try:
        ast.parse(cell)
    except BROKEN:
        return re.sub(r"(?m)^[ \t]*([%!?].*|\w+ *= *[%!].*|[\w.]+\?\??[ \t]*)$", "", cell)
    return cell


def statements(cells: Sequence[str]) -> Iterator[Statement]:
    """The statements of cells that are valid Python; broken cells are left out, as in Jupyter."""
    for number, cell in enumerate(cells):
        try:
            tree, lines, found = ast.parse(cell), cell.split("\n"), []
            for node in tree.body:
                marks = getattr(node, "decorator_list", [])
                own = range(min(one.lineno for one in (node, *marks)) - 1, node.end_lineno or 0)
                table = symtable.symtable("\n".join(lines[own.start : own.stop]), "cell", "exec")
                found.append(Statement(number, own, _binds(table, node), _globals(table)))
        except BROKEN:
            continue
        yield from found


def _globals(table: symtable.SymbolTable) -> frozenset[str]:
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return frozenset(own).union(*map(_globals, table.get_children()))


def _binds(table: symtable.SymbolTable, statement: ast.stmt) -> frozenset[str]:
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):  # also a[0] = 1, a.b = 1
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in ast.walk(target)]
        names |= {node.id for node in nodes if isinstance(node, ast.Name)}
    if isinstance(statement, ast.ImportFrom):
        always = statement.module == "__future__" or statement.names[0].name == "*"
        names |= {ALWAYS} if always else set()
    return frozenset(names)


ALWAYS = "*"  # "bound" by imports of which we cannot tell who needs them


def program(name: str, cells: Sequence[str], given: Sequence[str]) -> list[str] | None:
    """The code that defines one exercise: the answer, and what it uses.

    Nothing else of the notebook is run, so what goes wrong elsewhere costs nothing here.

    Args:
        name: of the exercise.
        cells: the student's code.
        given: the code of the exercise's own notebook, for what the student's lacks.

    Returns:
        Cells of which all other lines are blank; ``None`` if nothing defines the name.
    """
    pools = [[*map(_python, cells)], [*map(_python, given)]]
    own, ours = ([*statements(pool)] for pool in pools)
    tables: list[dict[str, list[Statement]]] = [{}, {}]
    for table, pool in zip(tables, (own, ours), strict=True):
        for one in pool:
            for bound in one.binds:
                table.setdefault(bound, []).append(one)
    if name not in tables[0]:
        return None
    wanted, todo = set[str](), [name, ALWAYS]
    while todo:
        if (this := todo.pop()) not in wanted:
            wanted.add(this)
            found = tables[0].get(this) or tables[1].get(this, [])
            todo += {use for one in found for use in one.uses}
    lacking = wanted - tables[0].keys()
    parts = _cut(pools[1], [one for one in ours if one.binds & (lacking | {ALWAYS})])
    return parts + _cut(pools[0], [one for one in own if one.binds & wanted])


def _cut(cells: Sequence[str], kept: Sequence[Statement]) -> list[str]:
    """Cells with these statements alone, every line in its place."""
    lines: dict[int, set[int]] = {}
    for one in kept:
        lines.setdefault(one.cell, set()).update(one.lines)
    return [
        "\n".join(
            line if number in own else "" for number, line in enumerate(cells[cell].split("\n"))
        )
        for cell, own in lines.items()
    ]


def defines(name: str, cell: str) -> bool:
    """Whether a cell, valid or not, has the definition of a function or class."""
    return bool(re.search(rf"(?m)^(async +)?(def|class) +{name}\b", cell))


def broken_cell(name: str, cells: Sequence[str]) -> str:
    """The syntax error of a cell that would define the exercise; empty if there is none."""
    for cell in cells:
        if defines(name, cell):
            try:
                ast.parse(_python(cell))
            except SyntaxError as error:
                return f"SyntaxError: {error.msg}, line {error.lineno} of your code"
            except BROKEN as error:
                return f"{type(error).__name__}: {error}"
    return ""


def notebook_points(cells: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """The points of each check of a notebook, by exercise, as its metadata has them."""
    points: dict[str, float] = {}
    for cell in cells:
        facts = cell.get("metadata", {})
        facts = facts.get("nbgrader", {}) if isinstance(facts, dict) else {}
        if facts.get("grade") and str(facts.get("grade_id", "")).startswith("check-"):
            points[str(facts["grade_id"]).removeprefix("check-")] = float(facts.get("points", 1))
    return points
