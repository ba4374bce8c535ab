"""Make the pictures of README.md.

    python tools/pictures.py [--out DIR]

    map.png      the map of the course, as it stands in chapter 00
    leak.png     a figure that can be touched, one of `gmlp figures`, photographed in Chromium

Run it when one of the two has changed; the tests compare.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/pictures"
MAP_CELL = "viz.course_map()"
WIDTH, SHARPNESS = 860, 1.5  # of the page that is photographed, and its pixels for each of CSS
COLOURS = 64


def course_map() -> bytes:
    """The output of the cell in chapter 00 that draws the map."""
    import nbformat

    chapter = nbformat.read(ROOT / "chapters/00_welcome.ipynb", as_version=4)
    for cell in chapter.cells:
        if cell.cell_type == "code" and cell.source == MAP_CELL and cell.outputs:
            image = re.search('data:image/png;base64,([^"]*)', cell.outputs[0].data["text/html"])
            if image:
                return smaller(base64.b64decode(image[1]))
    raise ValueError(f"chapters/00_welcome.ipynb has no cell {MAP_CELL!r} with a picture; build it")


def leak() -> bytes:
    """The figure in which a changed byte moves what stands before it, unless there is a mask."""
    from gmlp.viz.gallery import FIGURES

    sys.path.append(str(ROOT / "tests"))  # there it stands which Chromium, and how it is started
    from browser import chromium

    figure = FIGURES["causal_probe"]()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        figure.save(Path(folder, "figure.html"))
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 600}, device_scale_factor=SHARPNESS
        )
        page.goto(Path(folder, "figure.html").as_uri())
        page.add_style_tag(content="h1 { display: none }")
        page.locator(".gmlp-viz canvas").first.wait_for()
        return smaller(page.screenshot(full_page=True))


def smaller(png: bytes) -> bytes:
    """The same picture in few colours, which such drawings bear."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.open(io.BytesIO(png)).quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    image.save(file, format="png", optimize=True)
    return file.getvalue()


DRAWN = {"map": course_map, "leak": leak}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=PICTURES, help="default: docs/pictures")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        path = folder / f"{name}.png"
        path.write_bytes(draw())
        print(f"{path}  {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
