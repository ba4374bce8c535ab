"""The course as a web site, which asks no network.

    python tools/publish.py [--out DIR]

Stages what is committed (chapters, exercises with their solutions, what teachers read) below
site/_build/source, in the same folders, adds a page for each module of the package, and lets
Sphinx make pages of it. Any warning is an error. Nothing is run.
"""

from __future__ import annotations

import argparse
import ast
import html
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "site"
SOURCE = SITE / "_build/source"
OUT = SITE / "_build/html"
BLOB = "https://github.com/gmlp-course/gmlp-course/blob/main/"
FOLDERS = ("chapters", "exercises", "docs")  # of the repository, which become pages
FIGURE = ("00_welcome", "viz.generation(")  # the chapter and the cell of the landing page's figure
MAP = ("00_welcome", "viz.course_map(")
LIVE = "*The panel of this cell needs a running notebook. Open it on Colab, or on your machine.*"


class PublishError(Exception):
    """A site that cannot be made; the text says why, and what to do."""


def chapters() -> list[str]:
    return sorted(path.stem for path in (ROOT / "chapters").glob("*.ipynb"))


def read(name: str) -> NotebookNode:
    import nbformat

    return nbformat.read(ROOT / name, as_version=4)


def published(name: str) -> bool:
    """Whether a file of the repository, named from its root, becomes a page."""
    return name.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and (ROOT / name).is_file()


def links(text: str, folder: str) -> str:
    """Markdown from this folder; what it links to and is no page is linked to on GitHub."""

    def lead(match: re.Match[str]) -> str:
        target, hash, anchor = match[2].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        name = posixpath.normpath(posixpath.join(folder, target))
        if published(name):
            return match[0]
        if not (ROOT / name).exists():
            raise PublishError(f"{folder} links to {target}, which does not exist")
        return f"{match[1]}{BLOB}{name}{hash}{anchor})"

    return re.sub(r"(\]\()([^)\s]+)\)", lead, text)


def unfold(text: str) -> str:
    """What is folded becomes Markdown: a notebook takes it for HTML, with its math as it is."""
    pattern = r"<details>\s*<summary>(.*?)</summary>(.*?)</details>\n?"
    return re.sub(
        pattern,
        lambda m: (
            f"<details>\n<summary>{m[1].strip()}</summary>\n\n{m[2].strip()}\n\n</details>\n\n"
        ),
        text,
        flags=re.S,
    )


def markdown(text: str, folder: str) -> str:
    """A piece of Markdown from this folder as the site wants it."""
    return unfold(links(text, folder))


def visible(text: str) -> str:
    """An untrained model writes any byte; what is no letter and no colour gets a sign."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\x1b(?!\[[\d;]*m)", "\ufffd", text)


def chapter(name: str) -> NotebookNode:
    """A chapter for reading: without the cell for Colab, and with a word on dead panels."""
    from nbformat.v4 import new_markdown_cell

    notebook = read(f"chapters/{name}.ipynb")
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, "chapters")
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = visible(output.text)
        if "colab" not in tags:
            cells.append(cell)
        if "live" in tags:
            cells.append(new_markdown_cell(LIVE, id=f"{cell.id}-live"))
    notebook.cells = cells
    return notebook


def exercises(name: str) -> NotebookNode:
    """The exercises of a lesson; below each check, folded, the solution and what the check said."""
    from nbformat.v4 import new_code_cell

    notebook, solved = read(f"exercises/{name}.ipynb"), read(f"solutions/{name}.ipynb")
    if [cell.id for cell in notebook.cells] != [cell.id for cell in solved.cells]:
        raise PublishError(f"exercises/ and solutions/{name}.ipynb differ: course.py build")
    cells, solution = [], []
    for cell, answer in zip(notebook.cells, solved.cells, strict=True):
        if "colab" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, "exercises")
        else:
            cell.outputs = answer.outputs if cell.source == answer.source else []
        cells.append(cell)
        grading = cell.metadata.get("nbgrader", {})
        if grading.get("solution"):
            solution.append(re.sub(r"(?m)^ *### (BEGIN|END) SOLUTION\n?", "", answer.source))
        elif grading.get("grade"):
            cell.outputs = []  # what the check says of the solution would give it away
            folded = new_code_cell(
                "\n\n\n".join(solution).strip(), id=f"{cell.id}-solution", outputs=answer.outputs
            )
            folded.metadata = {"tags": ["hide-cell"], "mystnb": PROMPTS}
            cells.append(folded)
            solution = []
    notebook.cells = cells
    return notebook


PROMPTS = {"code_prompt_show": "Solution", "code_prompt_hide": "Solution"}


def heading(notebook: NotebookNode) -> tuple[str, str, str]:
    """Of a chapter: its short title, its question, and its minutes, as its first lines say them."""
    found = re.match(r"# (.+?): (.+)\n\n\*(\d+) minutes\.", notebook.cells[0].source)
    if not found:
        raise PublishError(f"this is no heading of a chapter: {notebook.cells[0].source[:80]!r}")
    return found[1], found[2][0].upper() + found[2][1:], found[3]


def output_of(where: tuple[str, str]) -> str:
    """The HTML that a cell of a chapter shows; the cell is the one that holds this text."""
    name, text = where
    for cell in read(f"chapters/{name}.ipynb").cells:
        if cell.cell_type == "code" and text in cell.source:
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    return str(output.data["text/html"])
    raise PublishError(f"chapters/{name}.ipynb has no picture made by {text}")


def modules() -> dict[str, str]:
    """Public modules and the first line of each, those of lessons first and in their order."""
    known = {path.stem for path in (ROOT / "gmlp").glob("*.py") if not path.stem.startswith("_")}
    known.discard("cli")  # `gmlp --help` is its documentation
    lessons = [name.partition("_")[2].replace("welcome", "corpus") for name in chapters()]
    order = [name for name in lessons if name in known]
    order += [*sorted(known - set(order)), "checks", "viz", "viz.figure", "viz.live"]
    found = {}
    for name in order:
        path = ROOT / "gmlp" / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
        found[name] = text.partition("\n")[0].replace("``", "`")
    return found


def toctree(caption: str, entries: Sequence[str]) -> str:
    options = [":hidden:", ":maxdepth: 1", *[f":caption: {caption}"] * bool(caption)]
    return "\n".join(["```{toctree}", *options, "", *entries, "```\n\n"])


def stage() -> None:
    """Write the sources of the site."""
    import nbformat

    if SOURCE.exists():
        shutil.rmtree(SOURCE)

    def write(name: str, text: str) -> None:
        (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / name).write_text(text, "utf-8", newline="\n")

    names = chapters()
    rows = "| lesson | the question it answers | minutes |\n|---|---|---|\n"
    titles = {}
    makers: dict[str, Callable[[str], NotebookNode]]
    makers = {"chapters": chapter, "exercises": exercises}
    for name in names:
        for folder, make in makers.items():
            notebook = make(name)
            nbformat.validate(notebook)
            write(f"{folder}/{name}.ipynb", nbformat.writes(notebook))
            if folder == "chapters":
                titles[name], question, minutes = heading(notebook)
        rows += f"| [{titles[name]}](chapters/{name}.ipynb) | {question} | {minutes} |\n"
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT).as_posix()
        text = markdown(path.read_text("utf-8"), posixpath.dirname(name))
        if path.name == "README.md":
            text += "\n" + toctree("", names)
        write(name, text)

    pages = modules()
    index = "# The package\n\nEach lesson ends in a module; `import gmlp` has the names of all.\n\n"
    index += "| module | what is in it |\n|---|---|\n"
    for name, about in pages.items():
        index += f"| [`gmlp.{name}`]({name}.md) | {html.escape(about)} |\n"
        options = "\n   :imported-members:" if name in ("viz", "checks") else ""
        text = f"```{{eval-rst}}\n.. automodule:: gmlp.{name}\n   :members:{options}\n```\n"
        write(f"api/{name}.md", f"# gmlp.{name}\n\n{text}")
    write("api/index.md", f"{index}\n{toctree('', list(pages))}")

    write("index.md", (SITE / "index.md").read_text("utf-8"))
    write("included/figure.html", output_of(FIGURE))
    write("included/map.html", output_of(MAP))
    write("included/lessons.md", rows)
    contents = toctree("Chapters", [f"{titles[name]} <chapters/{name}>" for name in names])
    contents += toctree("Exercises", [f"{titles[name]} <exercises/{name}>" for name in names])
    teachers = ["docs/teaching", "docs/lessons/README", "docs/classroom", "docs/offline"]
    others = sorted(f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md"))
    others = [name for name in others if name not in teachers]
    contents += toctree("Reference", [*others, "The package <api/index>"])
    contents += toctree("For teachers", teachers)
    write("included/contents.md", contents)


def math_font(path: Path) -> None:
    """The part of STIX Two Math (OFL) that TeX of this kind uses, about a tenth of the whole."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options = subset.Options(flavor="woff", name_IDs=["*"])
    file = metadata.distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
    with TTFont(str(file)) as font:
        part = subset.Subsetter(options)
        letters = (0x20, 0x7F), (0xA0, 0x100), (0x370, 0x400), (0x2010, 0x2040), (0x1D434, 0x1D468)
        signs = (0x2100, 0x2150), (0x2190, 0x2300), (0x2308, 0x230C), (0x27E6, 0x2800)
        part.populate(unicodes=[k for begin, end in letters + signs for k in range(begin, end)])
        part.subset(font)
        subset.save_font(font, str(path), options)


def lighten(out: Path) -> None:
    """Remove what the theme brings and no page needs."""
    static = out / "_static"
    for path in [*static.rglob("*.map"), *static.rglob("*.ttf"), *static.glob("*.html")]:
        path.unlink()
    shutil.rmtree(static / "locales")
    # Icons come from a font; the script that would draw them as SVG weighs 1.5 MB.
    script = "// The icons of this site come from a font.\n"
    (static / "scripts/fontawesome.js").write_text(script, "utf-8")


def publish(out: Path) -> None:
    """Make the site in this folder.

    Raises:
        PublishError: the folder holds something else, or Sphinx has found fault.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / ".buildinfo").exists():
            raise PublishError(f"{out} is not empty and holds no earlier site: name another")
        shutil.rmtree(out)
    stage()
    doctrees = SITE / "_build/doctrees"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-E"]
    command += ["-c", str(SITE), "-d", str(doctrees), str(SOURCE), str(out)]
    if subprocess.run(command, check=False, env=dict(os.environ, PYTHONPATH=str(ROOT))).returncode:
        raise PublishError("Sphinx has found fault; the lines above say where")
    math_font(out / "_static/math.woff")
    lighten(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="publish.py", description="the course as a web site")
    parser.add_argument("--out", type=Path, default=OUT, help="default: site/_build/html")
    out = parser.parse_args(arguments).out.resolve()
    try:
        publish(out)
    except PublishError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Open {out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
