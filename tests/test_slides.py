"""Slides of the chapters: what is on them, and that they live without a network."""

import re
from pathlib import Path

import nbformat
import pytest
import slides
from browser import chromium, needs_browser

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
REVEAL = slides.package(None, "reveal.js", slides.REVEAL)
MATHJAX = slides.package(None, "mathjax", slides.MATHJAX)


@pytest.fixture(scope="module")
def chapters():
    return {path.stem: nbformat.read(path, as_version=4) for path in CHAPTERS}


@pytest.mark.parametrize("name", [path.stem for path in CHAPTERS])
def test_a_chapter_becomes_slides_that_ask_no_network(chapters, name):
    notebook = chapters[name]
    chosen = slides.choose(notebook)
    shown = "".join("".join(slide.parts) for slide in chosen)
    assert chosen[0].parts[0].startswith(f"<h1>{name[:2]} · ")
    assert 25 <= len(chosen) <= 80
    sources = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert shown.count('class="predict"') >= len(re.findall(r"(?m)^\*\*Predict", sources))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert shown.count('class="figure"') == len(
        [o for o in outputs if {"text/html", "image/png"} & set(o.get("data", {}))]
    )
    assert shown.count('class="fragment right"') == 3
    page = slides.page(notebook)
    asked = re.findall(r"""(?:src|href|url\()\s*=?\s*["']?((?:https?:)?//[^"')\s]+)""", page)
    linked = re.findall(r'<a href="([^"]+)"', page)
    assert set(asked) <= set(linked)
    assert slides.page(notebook) == page
    assert not re.search(r"(?m)^assert ", re.sub(r"<[^>]+>", "", shown))


def test_what_only_proves_a_cell_is_left_out():
    source = "%time\nx = 1\nassert x == (\n    1\n)\n\n\n\nprint(x)\nassert x"
    assert slides.bare(source) == "%time\nx = 1\n\nprint(x)"


def test_what_is_missing_is_said(tmp_path, capsys):
    with pytest.raises(slides.SlidesError, match="no chapter 99"):
        slides.make(["99"], tmp_path)
    with pytest.raises(slides.SlidesError, match="npm install"):
        slides.make(["01"], tmp_path, reveal=tmp_path)
    assert slides.main(["99", "--out", str(tmp_path)]) == 1
    assert "there is no chapter 99" in capsys.readouterr().err


def test_the_readme_of_the_slides_tells_how_to_get_reveal():
    assert slides.GET in (ROOT / "docs" / "teaching.md").read_text("utf-8")


@needs_browser
@pytest.mark.skipif(REVEAL is None, reason=f"no reveal.js here; to get it: {slides.GET}")
@pytest.mark.parametrize("name", ["02_causal_masking", "10_reversible_layers"])
def test_slides_live_without_a_network(tmp_path, name):
    (path,) = slides.make([name[:2]], tmp_path, REVEAL, MATHJAX)
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        asked, faults = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.route(re.compile("^(?!file:|data:)"), lambda route: route.abort())
        page.goto(path.as_uri())
        page.wait_for_function("Reveal.isReady()")
        if MATHJAX is not None:
            page.wait_for_selector("mjx-container svg", state="attached")
        figures = page.evaluate(
            "Reveal.getSlides().map((s, k) => s.querySelector('.gmlp-viz') ? k : -1)"
            ".filter(k => k >= 0)"
        )
        assert figures
        for number in figures:
            page.evaluate(f"Reveal.slide({number})")
            page.wait_for_timeout(700)
            figure = page.locator("section.present .gmlp-viz").first
            assert figure.locator("canvas").first.is_visible()
            assert figure.locator("> img").is_hidden()
            # The pointer falls on the cell that lies under it: what the figure says changes.
            said = set()
            for canvas in figure.locator("canvas").all():
                box = canvas.bounding_box()
                for k in range(1, 8):
                    page.mouse.move(
                        box["x"] + box["width"] * k / 8, box["y"] + min(box["height"] / 2, 150)
                    )
                    said.add(figure.locator("output").inner_text())
            assert len(said) > 2
        for number in range(page.evaluate("Reveal.getTotalSlides()")):
            page.evaluate(f"Reveal.slide({number}, 0, 99)")
            page.wait_for_timeout(400 if number not in figures else 0)
            if number not in figures:  # nothing is cut off
                over = page.evaluate(
                    "(s => [s.scrollHeight - s.clientHeight, s.scrollWidth - s.clientWidth])"
                    "(Reveal.getCurrentSlide())"
                )
                assert max(over) <= 2, number
        assert faults == []
        assert all(url.startswith(("file:", "data:")) for url in asked)
