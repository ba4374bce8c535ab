"""Slides of a chapter, which ask no network.

    python tools/slides.py NN [NN ...] [--out DIR] [--reveal PATH] [--mathjax PATH]

Reads the built chapter and writes DIR/NN_name.html, with reveal.js and MathJax in DIR beside it.
What goes on a slide is chosen by simple rules: the title and the aims; each section's heading with
its first paragraph, if short; what is to be predicted; equations; figures, which can be touched;
short code with its output and the paragraph that reads it; the questions at the end. All other text
goes into the speaker's notes (press S).
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they take seconds to import, and `--help` needs none of them
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
CODE, LINES, WORDS = 14, 18, 75  # a slide carries so many lines of code, lines in all, and words
ROOM = 13  # lines, above which no text goes below them
REVEAL = ("dist/reveal.css", "dist/reveal.js", "dist/plugin/notes.js")
MATHJAX = ("es5/tex-svg.js",)  # all in one file, glyphs included
GET = "npm install --no-save reveal.js mathjax@3"

STYLE = """
:root { --r-controls-color: #0072b2; --r-progress-color: #0072b2; }
html, body { height: 100%; margin: 0; background: #fff; }
.reveal { font: 400 clamp(18px, 2.1vw, 34px)/1.4 system-ui, sans-serif; color: #1d2228; }
.reveal .slides { text-align: left; }
.reveal .slides section {
  box-sizing: border-box; height: 100%; padding: 6vh 7vw 7vh; overflow: auto; scrollbar-width: thin;
  font-size: calc(1em * var(--fit, 1));
}
.reveal .slides section.present {
  display: flex !important; flex-direction: column; justify-content: safe center;
}
.reveal .slides section > * { flex: none; }
.reveal .where {
  position: absolute; top: 2.2vh; left: 7vw; color: #59636e; font-size: calc(.62em / var(--fit, 1));
}
.reveal .slide-number { background: none; color: #59636e; right: auto; left: 12px; }
.reveal h1 { font-size: 2em; line-height: 1.15; margin: 0 0 .5em; }
.reveal h2 { font-size: 1.5em; line-height: 1.2; margin: 0 0 .6em; }
.reveal p, .reveal ul, .reveal ol { margin: .5em 0; max-width: 46em; }
.reveal li { margin: .35em 0; }
.reveal a { color: #0072b2; text-decoration: none; }
.reveal pre, .reveal code {
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
.reveal code { font-size: .9em; }
.reveal pre { margin: .4em 0; white-space: pre-wrap; line-height: 1.35; font-size: .74em; }
.reveal pre code { font-size: 1em; }
.reveal .code { background: #f6f8fa; border-radius: 6px; padding: .3em .8em; }
.reveal .code .highlight { background: none; }
.reveal .output { border-left: 4px solid #0072b2; padding: .1em .8em; }
.reveal .predict { border-left: 8px solid #d55e00; padding: .2em 0 .2em 1em; font-size: 1.25em; }
.reveal .right { color: #00684b; font-weight: 600; }
.reveal .figure > img, .reveal .figure > :not(.gmlp-viz) img {
  display: block; max-width: 100%; max-height: 66vh; margin: auto;
}
.reveal .gmlp-viz { max-width: min(100%, 62rem); margin: auto; font-size: 17px; }
.reveal .gmlp-viz .gmlp-caption { font-size: 13px; }
.reveal .gmlp-viz .gmlp-grid + .gmlp-panel:not(.gmlp-grid) { flex: 1 1 45%; }
.reveal .gmlp-viz .gmlp-grid { max-width: calc(min(400px, 44vh) * var(--fit, 1)); }
.reveal mjx-container[display="true"] { font-size: 125%; margin: .8em 0; }
.reveal table { border-collapse: collapse; font-size: .85em; }
.reveal td, .reveal th { border-bottom: 1px solid #d0d7de; padding: .2em .7em; text-align: left; }
"""

# No scaling: a figure finds the cell under the pointer by counting the page's own pixels.
SCRIPT = """
Reveal.initialize({
  width: "100%", height: "100%", margin: 0, minScale: 1, maxScale: 1, center: false, hash: true,
  controls: true, progress: true, slideNumber: "c/t", transition: "none", plugins: [RevealNotes]
});
// What is too large for its slide becomes smaller, step by step; there is an end, then it scrolls.
function fit(slide, size) {
  slide.style.setProperty("--fit", size);
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const over = slide.scrollHeight > slide.clientHeight + 1
      || slide.scrollWidth > slide.clientWidth + 1;
    const least = slide.querySelector(".gmlp-viz") ? 0.8 : 0.5;
    if (over && size > least) fit(slide, size - 0.05);
  }));
}
const again = () => fit(Reveal.getCurrentSlide(), 1);
for (const event of ["ready", "slidechanged", "resize"]) Reveal.on(event, again);
if (window.MathJax?.startup?.promise) MathJax.startup.promise.then(again);
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="reveal.js/reveal.css">
<style>{style}</style>
{mathjax}
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal.js/reveal.js"></script>
<script src="reveal.js/notes.js"></script>
<script>{script}</script>
</body>
</html>
"""

MATH = """<script>
MathJax = {
  tex: {inlineMath: [["$", "$"]]},
  options: {enableMenu: false, skipHtmlTags: ["script", "style", "pre", "code"]}
};
</script>
<script defer src="mathjax/tex-svg.js"></script>"""


class SlidesError(Exception):
    """Slides that cannot be made; the text says why, and what to do."""


@dataclass
class Slide:
    """One slide: pieces of HTML, and the paragraphs that its speaker may say."""

    where: str
    parts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def html(self) -> str:
        where = f'<div class="where">{self.where}</div>' if self.where else ""
        notes = f'<aside class="notes">{"".join(self.notes)}</aside>' if self.notes else ""
        return f"<section>\n{where}{''.join(self.parts)}{notes}\n</section>"


@cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter

    return HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )


@cache
def _pygments() -> str:
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(style="friendly").get_style_defs(".highlight"))


def markdown(text: str) -> str:
    """Markdown as nbconvert shows it; links within the course lose their target."""
    import nbformat

    # A slide lies somewhere else than the chapter, and the projector is no place to wander off.
    text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="text")])
    body, _ = _exporter().from_notebook_node(notebook)
    return str(body)


def code(source: str) -> str:
    """Code with its colours."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return f'<div class="code">{highlight(source, PythonLexer(), HtmlFormatter())}</div>'


def bare(source: str) -> str:
    """Code without what only proves it to the tests: its ``assert`` lines."""
    import ast

    lines = source.splitlines()
    tree = ast.parse("\n".join("pass" if line.startswith(("%", "!")) else line for line in lines))
    proofs = [node for node in tree.body if isinstance(node, ast.Assert)]
    gone = {k for node in proofs for k in range(node.lineno, (node.end_lineno or 0) + 1)}
    kept = "\n".join(line for k, line in enumerate(lines, 1) if k not in gone).strip()
    return re.sub(r"\n{3,}", "\n\n", kept)


def text_of(outputs: Iterable[NotebookNode]) -> str:
    """What a cell printed, and its last value where that is a text."""
    found = []
    for output in outputs:
        if output.output_type == "stream":
            found.append(output.text if output.name == "stdout" else "")
        else:
            found.append(output.get("data", {}).get("text/plain", ""))
    return "".join(found).rstrip()


def figures_of(outputs: Iterable[NotebookNode]) -> list[str]:
    """The figures among a cell's outputs, as HTML."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        if "text/html" in data:
            found.append(data["text/html"])
        elif "image/png" in data:
            alt = html.escape(output.metadata.get("image/png", {}).get("alt", ""))
            image = data["image/png"].strip()
            found.append(f'<img alt="{alt}" src="data:image/png;base64,{image}">')
    return found


def paragraphs(text: str) -> list[str]:
    """A cell's paragraphs; what is folded away (``<details>``) comes with what stands before it."""
    found: list[str] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        if found and (part.startswith("<details") or found[-1].count("$$") == 1):
            found[-1] += "\n\n" + part
        else:
            found.append(part)
    return found


def questions(text: str, where: str) -> list[Slide]:
    """A slide for each question at the end of a chapter; the right answer comes last."""
    slides = []
    for part in re.split(r"(?m)^(?=\*\*\d+\. )", text)[1:]:
        asked, _, rest = part.partition("<details>")
        slide = Slide(where, [markdown(asked)])
        answers = re.findall(r"(?s)<summary>(.+?)</summary>(\w+): (.+?)</details>", rest)
        slide.parts.append("<ol type='A'>")
        slide.parts += [f"<li>{answer}</li>" for answer, _, _ in answers]
        slide.parts.append("</ol>")
        for number, (_, verdict, why) in enumerate(answers):
            said = f"<b>{'ABCDEFG'[number]}.</b> {why[0].upper()}{why[1:]}"
            if verdict == "Right":
                slide.parts.append(f'<p class="fragment right">{said}</p>')
            else:
                slide.notes.append(f"<p>{said}</p>")
        slides.append(slide)
    return slides


def choose(notebook: NotebookNode) -> list[Slide]:
    """The slides of a chapter."""
    slides: list[Slide] = []
    where, reading = "", False  # `reading`: the next paragraph reads the output on the last slide
    for cell in notebook.cells:
        if cell.cell_type == "code":
            reading = False
            if not where:  # imports
                continue
            source, printed = bare(cell.source), text_of(cell.outputs).splitlines()
            lines = source.splitlines()
            if figures := figures_of(cell.outputs):
                slides.append(Slide(where, [f'<div class="figure">{f}</div>' for f in figures]))
                reading = "gmlp-viz" not in figures[0]  # those say themselves what they show
            elif 0 < len(lines) <= CODE and len(lines) + len(printed) <= LINES:
                slide = Slide(where, [code(source)])
                if printed:
                    text = html.escape("\n".join(printed))
                    slide.parts.append(f'<div class="output"><pre>{text}</pre></div>')
                slides.append(slide)
                reading = bool(printed) and len(lines) + len(printed) <= ROOM
            continue
        lead = ""  # the paragraph before, if it is short and went into the notes
        for part in paragraphs(cell.source):
            words = len(part.split())
            if match := re.match(r"# (\d\d · )(.+)", part):
                title, _, question = match[2].partition(": ")
                question = f"<p>{question[:1].upper()}{question[1:]}</p>" if question else ""
                slides.append(Slide("", [f"<h1>{match[1]}{title}</h1>{question}"]))
            elif match := re.match(r"## (.+)", part):
                where = html.escape(match[1])
                if where == "Do you remember?":
                    rest = cell.source[cell.source.index("## Do you remember?") :]
                    slides += questions(rest.partition("\n## ")[0], where)
                else:
                    slides.append(Slide("", [f"<h2>{where}</h2>"]))
                reading = True
            elif where == "Do you remember?":
                continue
            elif not where:  # the opening: the list of aims is what the class sees
                if re.match(r"1\. ", part):
                    slides.append(Slide("", ["<h2>When you are done you can</h2>", markdown(part)]))
                elif slides and words > 3:
                    slides[-1].notes.append(markdown(part))
            elif "**Predict" in part:
                slides.append(Slide(where, [f'<div class="predict">{markdown(part)}</div>']))
                reading = False
            elif part.startswith("$$") or "\n$$" in part:
                slide = Slide(where, [markdown(part)])
                if part.startswith("$$") and lead:  # what it is about
                    slides[-1].notes.remove(lead)
                    slide.parts.insert(0, lead)
                slides.append(slide)
                reading = False
            elif (reading and words <= WORDS) or part.startswith("- ✓"):
                said = markdown(re.sub(r"(?m)^- \[x\]", "-", part))
                hidden = "output" in slides[-1].parts[-1] or "figure" in slides[-1].parts[-1]
                slides[-1].parts.append(f'<div class="fragment">{said}</div>' if hidden else said)
                reading = False
            else:
                slides[-1].notes.append(markdown(part))
                reading = False
                lead = slides[-1].notes[-1] if words <= WORDS else ""
                continue
            lead = ""
    return [slide for slide in slides if slide.parts]


def page(notebook: NotebookNode, math: bool = True) -> str:
    """The whole page of a chapter."""
    slides = choose(notebook)
    title = re.sub(r"<[^>]+>", "", slides[0].parts[0].partition("</h1>")[0])
    return PAGE.format(
        title=title,
        style=STYLE + _pygments(),
        mathjax=MATH if math else "",
        slides="\n".join(slide.html for slide in slides),
        script=SCRIPT,
    )


def package(given: Path | None, name: str, files: Sequence[str]) -> Path | None:
    """The folder of an npm package: the one that was given, or the one in ``node_modules``.

    Raises:
        SlidesError: the folder that was given does not hold it.
    """
    folders = [Path.cwd() / "node_modules" / name, ROOT / "node_modules" / name]
    for folder in [given] if given else folders:
        if all((folder / file).exists() for file in files):
            return folder
    if given:
        raise SlidesError(f"{given} holds no {files[0]}; to get it: {GET}")
    return None


def make(
    numbers: Iterable[str], out: Path, reveal: Path | None = None, mathjax: Path | None = None
) -> list[Path]:
    """Write the slides of these chapters; the paths of their pages.

    Raises:
        SlidesError: there is no such chapter, or no reveal.js.
    """
    import nbformat

    chapters = []
    for number in numbers:
        found = sorted((ROOT / "chapters").glob(f"{number.zfill(2)}_*.ipynb"))
        if not found:
            raise SlidesError(f"there is no chapter {number}")
        chapters += found
    shown = package(reveal, "reveal.js", REVEAL)
    if shown is None:
        raise SlidesError(f"reveal.js is not here. In this folder: {GET}; or give --reveal PATH")
    math = package(mathjax, "mathjax", MATHJAX)
    if math is None:
        print(f"Without MathJax, equations stay as TeX. To get it: {GET}", file=sys.stderr)
    copies = [(shown, REVEAL, "reveal.js"), (math, MATHJAX, "mathjax")]
    for source, files, name in copies:
        if source is not None:
            (out / name).mkdir(parents=True, exist_ok=True)
            for file in (*files, "LICENSE"):
                if (source / file).exists():
                    shutil.copyfile(source / file, out / name / Path(file).name)
    paths = []
    for chapter in chapters:
        path = out / f"{chapter.stem}.html"
        text = page(nbformat.read(chapter, as_version=4), math is not None)
        path.write_text(text, "utf-8", newline="\n")
        paths.append(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="slides.py", description="slides of a chapter, offline")
    parser.add_argument("lesson", nargs="+", metavar="NN", help="numbers of lessons")
    parser.add_argument("--out", type=Path, default=ROOT / "slides", help="default: slides/")
    parser.add_argument("--reveal", type=Path, help="the folder of the npm package reveal.js")
    parser.add_argument("--mathjax", type=Path, help="that of mathjax, version 3")
    options = parser.parse_args(arguments)
    try:
        for path in make(options.lesson, options.out, options.reveal, options.mathjax):
            print(path)
    except SlidesError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
