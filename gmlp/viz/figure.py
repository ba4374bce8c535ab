"""Figures that can be touched: in a notebook, saved or running, on a page, offline.

A figure is panels over shared variables. PyTorch makes an array for everything that can be seen,
with a named dimension for each variable; ``engine.js`` looks up what the variables choose, and
computes nothing. The whole figure is one piece of HTML that asks no network and no kernel, with a
still picture in it for readers without scripts.
"""

import base64
import hashlib
import html
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from gmlp.viz.plots import COLOURS, GREY, STYLE

LIMIT, PICTURE = 100_000, 20_000  # bytes of one figure's output; of that, for its still picture

Stops = list[tuple[int, int, int]]


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#0072B2"`` as ``(0, 114, 178)``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


# Straight lines between these; told apart in every kind of colour vision, and by lightness alone.
PALETTES: dict[str, dict[str, Stops]] = {
    "sequential": {
        "light": [rgb("#ffffff"), rgb("#56b4e9"), rgb("#0072b2"), rgb("#002b49")],
        "dark": [rgb("#16181c"), rgb("#0b5c8f"), rgb("#56b4e9"), rgb("#f2faff")],
    },
    "diverging": {
        "light": [rgb("#7f3b08"), rgb("#e08214"), rgb("#f7f7f7"), rgb("#8073ac"), rgb("#2d004b")],
        "dark": [rgb("#ffd9a8"), rgb("#c2670c"), rgb("#16181c"), rgb("#7d6bc4"), rgb("#e0d9ff")],
    },
    "boolean": {
        "light": [rgb("#ffffff"), rgb("#0072b2")],
        "dark": [rgb("#16181c"), rgb("#56b4e9")],
    },
    "category": {
        "light": [rgb(colour) for colour in COLOURS[:-1]],
        "dark": [
            rgb(colour)
            for colour in ("#56b4e9", "#ff8c42", "#2ecc9a", "#e6a5cb", "#f0c04a", "#8fb7ff")
        ],
    },
}
NAN = rgb("#999999")
STRIP = 32  # cells in a line of the still picture


@dataclass(frozen=True)
class Variable:
    """What the reader moves: a whole number from 0 to ``size - 1``.

    Args:
        name: the dimension of arrays and texts that it chooses along.
        label: stands beside its slider.
        start: where it stands before a touch.
        labels: what each value is called, instead of its number.
        play: milliseconds a step; 0 is no button that plays it.
    """

    name: str
    size: int
    label: str
    start: int = 0
    labels: Sequence[str] | None = None
    play: int = 0


class Array:
    """Numbers with named dimensions, kept as 255 levels; 0 stands for NaN and infinities.

    Args:
        values: a tensor of any dtype.
        dims: a name for each of its dimensions; those of variables are chosen by them.
        colours: ``"sequential"``, ``"diverging"`` (zero in the middle), ``"boolean"`` or
            ``"category"`` (whole numbers from 0).
        low, high: the ends of the scale; by default those of the finite values.
        log: levels by the logarithm; a level of its own for exact zeros. No negative values.

    Raises:
        ValueError: dimensions that do not fit, or a negative value on a log scale.
    """

    def __init__(
        self,
        values: Tensor,
        dims: Sequence[str],
        colours: Literal["sequential", "diverging", "boolean", "category"] = "sequential",
        *,
        low: float | None = None,
        high: float | None = None,
        log: bool = False,
    ) -> None:
        if values.ndim != len(dims):
            raise ValueError(f"{values.ndim} dimensions want as many names; got {tuple(dims)}")
        given = values.detach().cpu().double()
        shown = given[given.isfinite()]
        if log:
            if (shown < 0).any():
                raise ValueError(f"a log scale takes no negative value; got {shown.min():.3g}")
            shown = shown[shown > 0].log10()
        ends = (shown.min().item(), shown.max().item()) if shown.numel() else (0.0, 1.0)
        if colours == "diverging":
            top = max(-ends[0], ends[1]) or 1.0
            ends = (-top, top)
        elif colours == "category":
            ends = (0.0, 254.0)
        elif colours == "boolean":
            ends = (0.0, 1.0)
        self.low = ends[0] if low is None else low
        self.high = ends[1] if high is None else high
        if self.high <= self.low:
            self.high = self.low + 1
        self.dims, self.shape, self.colours, self.log = tuple(dims), given.shape, colours, log
        self.codes = self._encode(given)

    def _encode(self, given: Tensor) -> NDArray[np.uint8]:
        first, levels = (2, 253) if self.log else (1, 254)
        at = given.log10() if self.log else given
        at = first + ((at - self.low) / (self.high - self.low) * levels).round()
        codes = at.clamp(first, 255).where(given.isfinite(), 0)
        if self.log:
            codes = codes.where(given != 0, 1)
        return codes.to(torch.uint8).numpy()

    def value(self, code: int) -> float:
        """The number that a level stands for."""
        if code == 0:
            return float("nan")
        if not self.log:
            return self.low + (code - 1) / 254 * (self.high - self.low)
        return 0.0 if code == 1 else 10 ** (self.low + (code - 2) / 253 * (self.high - self.low))

    def rgb(self, codes: NDArray[np.uint8], theme: str = "light") -> NDArray[np.uint8]:
        """The colours of levels, ``(…) -> (…, 3)``."""
        stops = np.array(PALETTES[self.colours][theme], dtype=float)
        level = np.arange(256.0)
        if self.colours == "category":
            table = stops[(np.arange(256) - 1) % len(stops)]
        else:
            first = np.where(level < 2, 0, 0.12 + 0.88 * (level - 2) / 253)
            at = (first if self.log else (level - 1) / 254) * (len(stops) - 1)
            table = np.stack([np.interp(at, range(len(stops)), c) for c in stops.T], axis=-1)
        table[0] = NAN
        return table.round().astype(np.uint8)[codes]


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Args:
        kind: ``"grid"`` (``y`` down, ``x`` across), ``"strip"`` (cells in reading order),
            ``"bars"`` or ``"line"``.
        title, caption: words above and below.
        alt: what can be seen here, for those who cannot.
        array: the name of an array; for lines several, in ``lines``, on the scale of the first.
        x, y: the dimensions that are drawn. Those of variables follow the pointer.
        pick: the variable that follows the pointer along ``x``, where ``x`` is none itself.
        first: the cell of a strip that stands for the first value of this variable.
        text: names of texts with the dimension ``x``, written into cells or beside bars.
        names: what the lines are called.
        ticks: what stands below a line at each ``x``.
    """

    kind: Literal["grid", "strip", "bars", "line"]
    title: str
    x: str
    y: str = ""
    pick: str = ""
    first: int = 0
    array: str = ""
    lines: Sequence[str] = ()
    names: Sequence[str] = ()
    text: str = ""
    xlabel: str = ""
    ylabel: str = ""
    ticks: Sequence[str] | None = None
    caption: str = ""
    alt: str = ""

    @property
    def drawn(self) -> Sequence[str]:
        return self.lines or (self.array,)


@dataclass(frozen=True)
class Texts:
    """Strings with named dimensions, in the order of ``torch.Tensor.flatten``.

    Args:
        shape: how long each dimension is; by default there is one.
    """

    values: Sequence[str]
    dims: Sequence[str]
    shape: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.shape:
            object.__setattr__(self, "shape", (len(self.values),))

    @classmethod
    def of(cls, values: Tensor, dims: Sequence[str], form: str = "{}") -> "Texts":
        """Numbers, written down."""
        written = [form.format(value).replace("-", "−") for value in values.flatten().tolist()]
        return cls(written, dims, tuple(values.shape))


class Figure:
    """A figure that can be touched; shown by a notebook when it is the last value of a cell.

    Args:
        title: a few words, the heading of a page of its own.
        alt: what the figure shows before a touch; for readers who cannot see it, and its repr.
        variables: what the reader moves.
        arrays, texts: what can be seen, by name.
        panels: how it is drawn.
        note: a sentence below; ``{name}`` stands for a variable, or for the number or text that
            the variables choose.

    Raises:
        ValueError: no alt text, a dimension of two sizes, or more than 100 KB.
    """

    def __init__(
        self,
        *,
        title: str,
        alt: str,
        variables: Sequence[Variable],
        arrays: Mapping[str, Array],
        panels: Sequence[Panel],
        note: str,
        texts: Mapping[str, Texts] | None = None,
    ) -> None:
        if not alt.strip():
            raise ValueError("say in alt=… what the figure shows; readers without it have no other")
        self.title, self.alt, self.note = title, alt, note
        self.variables, self.panels = list(variables), list(panels)
        self.arrays, self.texts = dict(arrays), dict(texts or {})
        sizes = {variable.name: variable.size for variable in self.variables}
        tables: dict[str, Array | Texts] = {**self.arrays, **self.texts}
        for name, table in tables.items():
            for dim, size in zip(table.dims, table.shape, strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise ValueError(f"{name} has {size} along {dim}, which is {sizes[dim]} long")
        size = len(self.script) + PICTURE
        if size > LIMIT:
            raise ValueError(
                f"this figure takes {size:,} bytes, a page bears {LIMIT:,}: "
                f"show fewer positions, or fewer steps ({sizes})"
            )

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        return self.html

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | Path) -> None:
        """Write a page of its own, to be opened without a network: for slides, or to send."""
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(self.title)}</title>"
            "<style>html{background:#fff}@media(prefers-color-scheme:dark)"
            "{html{background:#111;color:#eee}}body{margin:16px}h1{font:600 20px system-ui}</style>"
            f"<main><h1>{html.escape(self.title)}</h1>{self.html}</main></html>\n"
        )
        Path(path).write_text(page, encoding="utf-8")

    def frame(
        self, name: str, drawn: Sequence[str], state: Mapping[str, int] | None = None
    ) -> NDArray[np.uint8]:
        """The levels of an array along the dimensions ``drawn``, the variables where they stand."""
        at = {variable.name: variable.start for variable in self.variables} | dict(state or {})
        array = self.arrays[name]
        codes = array.codes[tuple(slice(None) if d in drawn else at[d] for d in array.dims)]
        kept = [dim for dim in array.dims if dim in drawn]
        found: NDArray[np.uint8] = codes.transpose([kept.index(dim) for dim in drawn])
        return found

    def text(self, name: str, state: Mapping[str, int] | None = None) -> str:
        """The string of a text where the variables stand."""
        at = {variable.name: variable.start for variable in self.variables} | dict(state or {})
        texts = self.texts[name]
        place = np.ravel_multi_index([at[dim] for dim in texts.dims], tuple(texts.shape))
        return texts.values[int(place)]

    @cached_property
    def html(self) -> str:
        picture = base64.b64encode(self.png).decode()
        return (
            f'<div class="gmlp-viz" data-gmlp="{self.name}">'
            f"<style>{asset('figure.css')}</style>"
            f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{picture}">'
            f"<script>{self.script}</script></div>"
        )

    @cached_property
    def name(self) -> str:
        """The same wherever the figure is made: numbers may differ in their last bits."""
        return hashlib.sha256(json.dumps(self.spec).encode()).hexdigest()[:10]

    @cached_property
    def script(self) -> str:
        words = json.dumps(self.spec, ensure_ascii=False, separators=(",", ":"))
        words = words.replace("<", "\\u003c")  # no </script> within
        blob = b"".join(array.codes.tobytes() for array in self.arrays.values())
        data = base64.b64encode(zlib.compress(blob, 9)).decode()
        return (
            f"{{const spec={words};\n"
            f'spec.data="data:application/octet-stream;base64,{data}";\n'
            f"const figure={asset('engine.js')};\n"
            f"for(const host of document.querySelectorAll('[data-gmlp=\"{self.name}\"]'))"
            "figure(host,spec);}"
        )

    @cached_property
    def spec(self) -> dict[str, Any]:
        arrays, start = {}, 0
        for name, array in self.arrays.items():
            arrays[name] = {
                "dims": array.dims,
                "shape": list(array.shape),
                "start": start,
                "colours": array.colours,
                # what may differ in its last bits from machine to machine is rounded
                "low": float(f"{array.low:.4g}"),
                "high": float(f"{array.high:.4g}"),
                "log": array.log,
            }
            start += array.codes.size
        return {
            "variables": [brief(variable) for variable in self.variables],
            "arrays": arrays,
            "texts": {name: asdict(texts) for name, texts in self.texts.items()},
            "panels": [brief(panel) for panel in self.panels],
            "note": self.note,
            "colours": {**PALETTES, "nan": NAN},
        }

    # ---- the still picture ----

    @cached_property
    def png(self) -> bytes:
        """What stands there before a touch, on no ground: for pages light and dark."""
        from PIL import Image

        grids = [panel for panel in self.panels if panel.kind == "grid"]
        others = [panel for panel in self.panels if panel.kind != "grid"]
        rows = [[panel] for panel in others] + ([grids] if grids else [])
        heights = [self._height(row[0]) for row in rows]
        with plt.rc_context({**STYLE, "font.size": 9, "axes.grid": False}):
            figure = plt.figure(figsize=(7, sum(heights)), layout="constrained")
            parts: Any = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
            for part, row in zip(parts, rows, strict=True):
                for axes, panel in zip(np.atleast_1d(part.subplots(1, len(row))), row, strict=True):
                    self._draw(axes, panel)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=90)
            plt.close(figure)
        image = Image.open(file).quantize(64, method=Image.Quantize.FASTOCTREE)
        file = io.BytesIO()
        image.save(file, format="png", optimize=True)
        return file.getvalue()

    def _height(self, panel: Panel) -> float:
        """Inches of the still picture."""
        array = self.arrays[panel.drawn[0]]
        lines = -(-array.shape[array.dims.index(panel.x)] // STRIP)
        return {"grid": 3.1, "strip": 0.35 + 0.22 * lines, "bars": 2.0, "line": 2.2}[panel.kind]

    def _draw(self, axes: Any, panel: Panel) -> None:
        axes.set_title(panel.title, fontsize=10, loc="left")
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
        array = self.arrays[panel.drawn[0]]
        starts = {variable.name: variable.start for variable in self.variables}
        mark = starts.get(panel.pick or panel.x)
        if mark is not None:
            mark += panel.first

        def words(i: int) -> str:
            return self.text(panel.text, {panel.x: i})

        if panel.kind == "grid":
            levels = self.frame(panel.array, (panel.y, panel.x))
            axes.imshow(array.rgb(levels), interpolation="nearest")
            axes.locator_params(integer=True)
            if mark is not None:
                axes.axvline(mark, color=GREY, lw=0.8)
            if panel.y in starts:
                axes.axhline(starts[panel.y], color=GREY, lw=0.8)
        elif panel.kind == "strip":
            levels = self.frame(panel.array, (panel.x,))
            each = min(len(levels), STRIP)
            for i, fill in enumerate(array.rgb(levels)):
                corner = (i % each, -(i // each))
                axes.add_patch(Rectangle(corner, 0.96, 0.9, fc=fill / 255, ec="#aaaaaa", lw=0.5))
                if panel.text:
                    dark = fill @ (0.3, 0.59, 0.11) < 140
                    axes.text(
                        corner[0] + 0.48,
                        corner[1] + 0.42,
                        words(i),
                        ha="center",
                        va="center",
                        color="white" if dark else "black",
                        fontsize=7,
                        parse_math=False,
                    )
                if mark == i:
                    frame = Rectangle(corner, 0.96, 0.9, fill=False, ec=GREY, lw=2)
                    axes.add_patch(frame)
            axes.set(xlim=(0, each), ylim=(-((len(levels) - 1) // each) - 0.1, 1))
            axes.axis("off")
        elif panel.kind == "bars":
            values = [array.value(int(code)) for code in self.frame(panel.array, (panel.x,))]
            axes.barh(range(len(values)), values, color=COLOURS[0])
            labels = [words(i) for i in range(len(values))] if panel.text else None
            axes.set_yticks(range(len(values)), labels, parse_math=False)
            axes.invert_yaxis()
        else:
            names = panel.names or panel.lines
            for k, (line, name) in enumerate(zip(panel.lines, names, strict=True)):
                one = self.arrays[line]
                values = [one.value(int(code)) for code in self.frame(line, (panel.x,))]
                axes.plot(values, color=COLOURS[k], label=name, ls=("-", "--", ":")[k % 3])
            if panel.ticks:
                step = -(-len(panel.ticks) // 8)
                axes.set_xticks(range(0, len(panel.ticks), step), panel.ticks[::step])
            axes.set_yscale("log" if array.log else "linear")
            axes.legend(fontsize=8)
            if mark is not None:
                axes.axvline(mark, color=GREY, lw=0.8)


def brief(part: Variable | Panel) -> dict[str, Any]:
    """The fields that say something."""
    return {k: v for k, v in asdict(part).items() if v or k in ("start", "size", "name", "title")}


def asset(name: str) -> str:
    """A file beside this one, without indentation: every figure carries it."""
    text = resources.files("gmlp.viz").joinpath(name).read_text(encoding="utf-8")
    lines = (line.split(" // ")[0].strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))
