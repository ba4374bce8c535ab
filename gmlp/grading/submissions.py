"""What students hand in: found, read with care, and cut down to the code of one exercise."""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 100 << 20  # of a notebook; its outputs may be large
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
    several notebooks there the one that has most of the exercises counts. Other files are ignored.

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
        if ".ipynb_checkpoints" in parts:
            continue
        student = parts[0] if len(parts) > 1 else path.stem
        by_student.setdefault(student, []).append(path)
    if not by_student:
        raise ValueError(f"no notebook (.ipynb) in {folder} or below it")
    found = []
    for student, paths in sorted(by_student.items()):
        read = [_read(student, path) for path in paths]
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
    """A statement at the top level of a cell; ``source`` begins on its own line of the cell."""

    source: str
    binds: frozenset[str]
    uses: frozenset[str]
    imports: bool


def statements(cells: Sequence[str]) -> Iterator[Statement]:
    """The statements of cells that are valid Python; magics are left out, broken cells too."""
    for cell in cells:
        # Lines stay where they are, so that an error names the line that the student sees.
        plain = re.sub(r"(?m)^[ \t]*[%!?].*$", "", cell)
        try:
            tree = ast.parse(plain)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        lines = plain.split("\n")
        for node in tree.body:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            text = "\n" * (first - 1) + "\n".join(lines[first - 1 : node.end_lineno])
            binds, uses = _names(node)
            imports = isinstance(node, ast.Import | ast.ImportFrom)
            yield Statement(text, frozenset(binds), frozenset(uses), imports)


def _names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """What a statement binds at the top level, and all names that it mentions."""
    uses = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}, uses
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        return names, uses
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in ast.walk(target)]
        return {node.id for node in nodes if isinstance(node, ast.Name)}, uses
    return set(), uses  # a loop, a call, a test: not needed to define anything


def program(name: str, cells: Sequence[str], given: Sequence[str]) -> list[str] | None:
    """The code that defines one exercise: the answer, what it uses, and the imports.

    Nothing else of the notebook is run, so what goes wrong elsewhere costs nothing here.

    Args:
        name: of the exercise.
        cells: the student's code.
        given: the code of the exercise's own notebook, for what the student's lacks.

    Returns:
        Statements in their order, each to be run by itself; ``None`` if nothing defines the name.
    """
    own, ours = [*statements(cells)], [*statements(given)]
    if not any(name in one.binds for one in own):
        return None
    wanted, seen = {name}, set[str]()
    while missing := wanted - seen:
        seen |= missing
        for pool in (own, ours):
            found = [one for one in pool if one.binds & missing]
            wanted |= {use for one in found for use in one.uses}
            missing -= {bound for one in found for bound in one.binds}
    bound = {name for one in own for name in one.binds}
    parts = [one for one in ours if one.imports or (one.binds & wanted and not one.binds & bound)]
    parts += [one for one in own if one.imports or one.binds & wanted]
    safe = "try:\n    {}\nexcept ImportError:\n    pass"
    return [
        safe.format(one.source.strip().replace("\n", "\n    ")) if one.imports else one.source
        for one in parts
    ]


def broken_cell(name: str, cells: Sequence[str]) -> str:
    """The syntax error of a cell that would define the exercise; empty if there is none."""
    for cell in cells:
        if re.search(rf"(?m)^(def|class) {name}\b", cell):
            try:
                ast.parse(re.sub(r"(?m)^[ \t]*[%!?].*$", "", cell))
            except SyntaxError as error:
                return f"SyntaxError: {error.msg}, line {error.lineno} of your code"
            except (ValueError, RecursionError, MemoryError) as error:
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
