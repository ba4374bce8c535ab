"""Laws of every notebook of the course: what a reader needs, and what nbval really compares.

Running the notebooks and comparing their outputs is nbval's work; here is what nbval cannot see.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import build
import nbformat
import pytest
from nbformat import NotebookNode, v4
from nbval.plugin import find_comment_markers, find_metadata_tags

from gmlp.viz.figure import asset

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in build.FOLDERS
    for path in (ROOT / folder).glob("*.ipynb")
)
MAX_NOTEBOOK = 1_000_000  # bytes
MAX_OUTPUT = 100_000

Law = Callable[[str, NotebookNode], list[str]]  # the notebook's path from the root -> complaints


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def output_text(output: NotebookNode) -> str:
    """All text of an output; pictures' bytes are left out."""
    data = output.get("data", {})
    texts = [output.get("text", ""), output.get("evalue", "")]
    texts += [str(value) for mime, value in data.items() if mime not in ("image/png", "image/jpeg")]
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "base64,", "\n".join(texts))


def compared(cell: NotebookNode) -> bool:
    """Whether nbval compares something in this cell that says more than "there was a figure"."""
    options = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    if options.get("skip") or not options.get("check", True) or cell.execution_count is None:
        return False
    for output in cell.outputs:
        text = output_text(output)
        figure = "<img" in text or any(mime.startswith("image/") for mime in output.get("data", {}))
        label = re.fullmatch(r"\s*<[^<>]*>\s*", text)  # <Figure size 640x480 with 1 Axes>
        widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
        if text.strip() and not (figure or label or widget):
            return True
    return False


# ---------------------------------------------------------------- the laws


def has_enough_compared_cells(path: str, notebook: NotebookNode) -> list[str]:
    if not path.startswith("chapters/"):
        return []
    least = 12 if 1 <= int(Path(path).name[:2]) <= 11 else 4
    number = sum(map(compared, code_cells(notebook)))
    return [f"nbval compares only {number} cells; {least} are wanted"] if number < least else []


def has_a_chapters_length(path: str, notebook: NotebookNode) -> list[str]:
    if not path.startswith("chapters/"):
        return []
    least = 20 if Path(path).name.startswith("00") else 30
    number = len(notebook.cells)
    return [] if least <= number <= 60 else [f"{number} cells; {least} to 60 are wanted"]


def is_small(path: str, notebook: NotebookNode) -> list[str]:
    size = len(build.dumps(notebook).encode())
    found = [f"{size:,} bytes; at most {MAX_NOTEBOOK:,}"] if size > MAX_NOTEBOOK else []
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            size = len(json.dumps(output, ensure_ascii=False).encode())
            if size > MAX_OUTPUT:
                found.append(f"cell {number}: an output of {size:,} bytes; at most {MAX_OUTPUT:,}")
    return found


def every_image_has_alt_text(path: str, notebook: NotebookNode) -> list[str]:
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown":
            text = prose(cell)
            alts = [(alt, alt) for alt, _ in MARKDOWN_IMAGE.findall(text)]
            htmls = [text]
        else:
            alts, htmls = [], []
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                htmls.append(data.get("text/html", ""))
                # JupyterLab and nbconvert drop the alt text in an output's metadata: only the
                # <img alt="..."> of an HTML output reaches a reader.
                if any(mime.startswith("image/") for mime in data) and "<img" not in htmls[-1]:
                    found.append(f"cell {number}: a picture with no <img alt=...> in text/html")
        for html in htmls:
            for image in re.findall(r"<img\b[^>]*>", html):
                alt = re.search(r"""\salt=(?:"([^"]*)"|'([^']*)')""", image)
                alts.append((alt[1] or alt[2] or "" if alt else "", image[:40]))
        for alt, image in alts:
            if len(alt.split()) < 3:
                found.append(f"cell {number}: alt text {alt!r} does not say what {image!r} shows")
    return found


def links_resolve(path: str, notebook: NotebookNode) -> list[str]:
    """In the repository, and in work/, which has copies of chapters, exercises and glossary."""
    found = []
    here = ROOT / path
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "markdown":
            continue
        text = prose(cell)
        for _, target in MARKDOWN_IMAGE.findall(text):
            if not target.startswith(("data:", "attachment:")):
                found.append(f"cell {number}: image {target}: embed it; work/ has notebooks alone")
        for target in [*MARKDOWN_LINK.findall(text), *re.findall(r'href="([^"]+)"', text)]:
            if re.match(r"(https?|mailto):", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            linked = (here.parent / file).resolve() if file else here
            if linked == ROOT / build.GLOSSARY:
                headings = re.findall(r"(?m)^#+ (.+)$", linked.read_text(encoding="utf-8"))
                if anchor not in map(build.anchor, headings):
                    found.append(f"cell {number}: link {target}: no such heading")
            elif linked.parent not in (ROOT / "chapters", ROOT / "exercises") and linked != here:
                found.append(f"cell {number}: link {target} leaves chapters/ and exercises/")
            elif linked != here and not linked.is_file():
                found.append(f"cell {number}: link {target}: no such file")
            elif anchor:
                other = notebook if linked == here else nbformat.read(linked, as_version=4)
                if anchor not in anchors(other):
                    found.append(f"cell {number}: link {target}: no such heading")
    return found


MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]*)[^)]*\)")
MARKDOWN_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*\]\(([^)\s]+)[^)]*\)")


def prose(cell: NotebookNode) -> str:
    """A markdown cell without its code."""
    return re.sub(r"(?s)```.*?```|`[^`\n]*`", "", cell.source)


def anchors(notebook: NotebookNode) -> set[str]:
    """The fragments that JupyterLab and nbconvert give to headings, and those set by hand."""
    found: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            code_free = re.sub(r"(?s)```.*?```", "", cell.source)
            for heading in re.findall(r"(?m)^#{1,6} +(.+?) *#*$", code_free):
                found.add(re.sub(r"[*`]|\]\([^)]*\)|\[", "", heading).replace(" ", "-"))
            found.update(re.findall(r'\b(?:id|name)="([^"]+)"', code_free))
    return found


MACHINE = re.compile(
    r"(?<![\w./])/(?:home|root|work|tmp|usr|opt|var|private|Users|mnt)/|\b[A-Z]:\\|site-packages"
)
FLEETING = {
    "a path of this machine": MACHINE,
    "an address in memory": re.compile(r"\bat 0x[0-9a-fA-F]+"),
    "a warning": re.compile(r"\b\w*Warning\b:|warnings\.warn\("),
}


def outputs_are_fit_for_others(path: str, notebook: NotebookNode) -> list[str]:
    found = []
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            text = output_text(output)
            found += [
                f"code cell {number}: {what}" for what, it in FLEETING.items() if it.search(text)
            ]
            if output.output_type == "error":
                found.append(f"code cell {number}: an error")
            if output.get("name") == "stderr":  # warnings, and bars of progress that once moved
                found.append(f"code cell {number}: text on stderr")
    return found


def cells_are_tidy(path: str, notebook: NotebookNode) -> list[str]:
    found = []
    for number, cell in enumerate(code_cells(notebook), 1):
        if cell.source.rstrip().endswith(";"):  # nbval then misses the output it expects
            found.append(f"code cell {number} ends in ';'")
        if "gpu" in tags(cell) and "nbval-ignore-output" not in tags(cell):
            found.append(f"code cell {number} is tagged gpu, but not nbval-ignore-output")
    return found


def figures_have_the_present_engine(path: str, notebook: NotebookNode) -> list[str]:
    """Each carries its own: what draws it must be what the tests of figures look at."""
    present = [asset("engine.js"), asset("figure.css")]
    return [
        f"code cell {number}: a figure of an earlier engine; build the lesson again"
        for number, cell in enumerate(code_cells(notebook), 1)
        for text in (output.get("data", {}).get("text/html", "") for output in cell.outputs)
        if 'class="gmlp-viz"' in text and not all(part in text for part in present)
    ]


def exercises_are_untouched(path: str, notebook: NotebookNode) -> list[str]:
    if not path.startswith("exercises/"):
        return []
    run = [cell for cell in code_cells(notebook) if cell.outputs or cell.execution_count]
    return [f"{len(run)} cells were run"] if run else []


LAWS: list[Law] = [
    has_enough_compared_cells,
    has_a_chapters_length,
    is_small,
    every_image_has_alt_text,
    links_resolve,
    outputs_are_fit_for_others,
    cells_are_tidy,
    figures_have_the_present_engine,
    exercises_are_untouched,
]


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_notebook_keeps_the_laws(path: str) -> None:
    notebook = nbformat.read(ROOT / path, as_version=4)
    assert [complaint for law in LAWS for complaint in law(path, notebook)] == []


# ---------------------------------------------------------------- the laws can be broken


def code(source: str = "x", *outputs: NotebookNode, tags: list[str] | None = None) -> NotebookNode:
    metadata = {"tags": tags} if tags else {}
    return v4.new_code_cell(source, execution_count=1, metadata=metadata, outputs=list(outputs))


def shown(**data: str) -> NotebookNode:
    return v4.new_output(
        "display_data", data={key.replace("_", "/"): value for key, value in data.items()}
    )


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return v4.new_output("stream", name=name, text=text)


PNG = "iVBORw0KGgo="
ENGINE = asset("figure.css") + asset("engine.js")
FIGURE = shown(text_html=f'<img alt="Loss falls with steps." src="data:image/png;base64,{PNG}">')


def notebook_of(cells: list[NotebookNode]) -> NotebookNode:
    cells = [NotebookNode({**cell, "id": f"cell-{n}"}) for n, cell in enumerate(cells)]
    return v4.new_notebook(cells=cells)


@pytest.mark.parametrize(
    ("law", "path", "good", "bad"),
    [
        (
            has_enough_compared_cells,
            "chapters/01_x.ipynb",
            [code("1", printed("1\n"))] * 12,
            [code("1", printed("1\n"))] * 11
            + [code("1"), code("1", shown(image_png=PNG, text_plain="<Figure size 1x1>"))]
            + [code("1", printed("1\n"), tags=["nbval-ignore-output"]), code("1", FIGURE)]
            + [code("# NBVAL_SKIP\n1", printed("1\n")), code("1", shown(text_plain="<Figure>"))],
        ),
        (
            has_enough_compared_cells,
            "chapters/12_x.ipynb",
            [code("1", shown(text_html="<b>1</b>"))] * 4,
            [code("1", printed("1\n"))] * 3,
        ),
        (has_a_chapters_length, "chapters/01_x.ipynb", [code()] * 30, [code()] * 29),
        (
            figures_have_the_present_engine,
            "chapters/01_x.ipynb",
            [code("x", shown(text_html=f'<div class="gmlp-viz">{ENGINE}</div>'))],
            [code("x", shown(text_html=f'<div class="gmlp-viz">{ENGINE[:-1]}</div>'))],
        ),
        (has_a_chapters_length, "chapters/00_x.ipynb", [code()] * 20, [code()] * 61),
        (is_small, "exercises/01_x.ipynb", [code("x" * 10**5)], [code("x" * 10**6)]),
        (is_small, "exercises/01_x.ipynb", [code()], [code("x", printed("x" * 10**5))]),
        (
            every_image_has_alt_text,
            "solutions/01_x.ipynb",
            [code("", FIGURE)],
            [code("", shown(image_png=PNG))],
        ),
        (
            every_image_has_alt_text,
            "solutions/01_x.ipynb",
            [],
            [code("", shown(text_html="<img src='x'>"))],
        ),
        (
            every_image_has_alt_text,
            "chapters/01_x.ipynb",
            [v4.new_markdown_cell("![A matrix, black above](data:x) `![](x)`")],
            [v4.new_markdown_cell("![](data:x)")],
        ),
        (
            every_image_has_alt_text,
            "chapters/01_x.ipynb",
            [],
            [v4.new_markdown_cell('<img src="x">')],
        ),
        (links_resolve, "chapters/01_x.ipynb", [], [v4.new_markdown_cell("[a](../README.md)")]),
        (links_resolve, "chapters/01_x.ipynb", [], [v4.new_markdown_cell("[a](99_none.ipynb)")]),
        (links_resolve, "chapters/01_x.ipynb", [], [v4.new_markdown_cell('<a href="99_x.ipynb">')]),
        (
            links_resolve,
            "chapters/01_x.ipynb",
            [
                v4.new_markdown_cell(
                    "## 2 An `SGU`\n[a](#2-An-SGU) [b](https://example.org/#c) `[c](d)`"
                )
            ],
            [v4.new_markdown_cell("## 2 An `SGU`\n[a](#2-an-sgu)")],
        ),
        (
            links_resolve,
            "chapters/01_x.ipynb",
            [v4.new_markdown_cell("[**bits per byte**](../docs/glossary.md#bits-per-byte)")],
            [v4.new_markdown_cell("[**bits per byte**](../docs/glossary.md#bits-per-bite)")],
        ),
        (
            links_resolve,
            "chapters/01_x.ipynb",
            [v4.new_markdown_cell("![a b c](data:image/png;base64,xx)")],
            [v4.new_markdown_cell("![a b c](https://example.org/badge.svg)")],
        ),
        (
            outputs_are_fit_for_others,
            "chapters/01_x.ipynb",
            [code("x", printed("work/chapters, 1/2, at 0.5, a warning\n"))],
            [code("x", printed("File /home/me/x.py"))],
        ),
        (outputs_are_fit_for_others, "solutions/01_x.ipynb", [], [code("x", printed(r"C:\me"))]),
        (
            outputs_are_fit_for_others,
            "solutions/01_x.ipynb",
            [],
            [code("x", shown(text_plain="<function f at 0x7f00>"))],
        ),
        (
            outputs_are_fit_for_others,
            "solutions/01_x.ipynb",
            [],
            [code("x", printed("UserWarning: x"))],
        ),
        (
            outputs_are_fit_for_others,
            "solutions/01_x.ipynb",
            [code("x", printed("3/3"))],
            [code("x", printed("3/3", "stderr"), tags=["nbval-ignore-output"])],
        ),
        (
            outputs_are_fit_for_others,
            "solutions/01_x.ipynb",
            [],
            [code("x", v4.new_output("error"))],
        ),
        (cells_are_tidy, "solutions/01_x.ipynb", [code("x;\ny")], [code("y\nx; ")]),
        (
            cells_are_tidy,
            "solutions/01_x.ipynb",
            [code(tags=["gpu", "nbval-ignore-output"])],
            [code(tags=["gpu"])],
        ),
        (exercises_are_untouched, "exercises/01_x.ipynb", [v4.new_code_cell("x")], [code("x")]),
    ],
)
def test_a_law_sees_when_it_is_broken(
    law: Law, path: str, good: list[NotebookNode], bad: list[NotebookNode]
) -> None:
    assert law(path, notebook_of(good)) == []
    assert len(law(path, notebook_of(bad))) == 1


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_hand_edit_is_found(path: str, tmp_path: Path) -> None:
    for folder in ("lessons", "docs", *build.FOLDERS):
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    notebook = nbformat.read(ROOT / path, as_version=4)
    notebook.cells[-1].source += "."
    (tmp_path / path).write_text(build.dumps(notebook), encoding="utf-8", newline="\n")
    name = Path(path).stem
    assert any(line.startswith(f"{path}: cell") for line in build.check(tmp_path, [name]))


def test_the_glossary_is_in_order_and_of_lessons_that_there_are() -> None:
    text = (ROOT / build.GLOSSARY).read_text(encoding="utf-8")
    terms = re.findall(r"(?m)^### (.+)$", text)
    assert terms == sorted(terms, key=str.lower)
    by_lesson = build.glossary(ROOT)
    assert sorted(term for own in by_lesson.values() for term in own) == sorted(terms)
    assert set(by_lesson) <= {name[:2] for name in build.lesson_names(ROOT)}


# ---------------------------------------------------------------- nbval itself

SAMPLE = """\
# %% [markdown]
# # 1 Sample

# %%
print("loss 0.123")

# %%
6 * 7

# %%
from IPython.display import HTML, display
display(HTML("<b>8</b>"))

# %%
display(HTML('<img alt="Nothing to see here" src="data:image/png;base64,AAAA">'))

# %%
display({"image/png": "AAAA"}, raw=True)

# %% tags=["nbval-ignore-output"]
print("took 3 s")

# %%
# NBVAL_IGNORE_OUTPUT
print("took 4 s")

# %% tags=["nbval-skip"]
print("it is skipped")
"""


def test_nbval_fails_on_exactly_the_cells_we_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One notebook as built, one in which every output was changed by hand."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons/01_sample.py").write_text(SAMPLE)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    build.build(tmp_path, out=io.StringIO())
    good = tmp_path / "chapters/01_sample.ipynb"
    notebook = nbformat.read(good, as_version=4)
    counted = [f"Cell {n}" for n, cell in enumerate(code_cells(notebook)) if compared(cell)]
    # nbval counts code cells from 0; that one is the builder's, for Colab.
    assert counted == ["Cell 1", "Cell 2", "Cell 3"]

    for cell in code_cells(notebook):
        outputs = json.dumps(cell.outputs)
        for old, new in [
            ("0.123", "0.124"),
            ("42", "43"),
            ("8</b>", "9</b>"),
            ("AAAA", "BBBB"),
            ("took", "lost"),
            ("skipped", "run"),
        ]:
            outputs = outputs.replace(old, new)
        assert outputs != json.dumps(cell.outputs) or not cell.outputs
        cell.outputs = [NotebookNode(output) for output in json.loads(outputs)]
    changed = tmp_path / "chapters/02_changed.ipynb"
    changed.write_text(build.dumps(notebook), encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "chapters", "--nbval", "--nbval-current-env", "-q"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests/nbval_sanitize.cfg"), "-rA"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", ".", "--color=no"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    results = re.findall(r"(?m)^(PASSED|FAILED) (\S+)::(Cell \d+)", done.stdout)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [(Path(file).name, cell) for result, file, cell in results if result == "FAILED"]
    assert failed == [(changed.name, cell) for cell in counted]
    assert len(results) == 16  # 8 of 9 cells in each of two notebooks; one is skipped


def test_sanitize_file_is_ascii_and_hides_only_packed_data() -> None:
    """nbval reads it with the system's encoding, and applies each pair to every text output."""
    from nbval.plugin import get_sanitize_patterns

    text = (ROOT / "tests/nbval_sanitize.cfg").read_bytes().decode("ascii")
    html = '<img alt="loss 0.25" src="data:image/png;base64,iVBORw0KGgo="> done'
    for pattern, replacement in get_sanitize_patterns(text):
        html = re.sub(pattern, replacement, html)
    assert html == '<img alt="loss 0.25" src="data:image/png;base64,DATA"> done'
