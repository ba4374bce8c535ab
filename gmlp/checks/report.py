"""How a check speaks: as text, or as HTML in a notebook, with a picture of where answers differ."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

State = Literal["not attempted", "raised", "wrong", "right"]


@dataclass(frozen=True)
class Result:
    """What :func:`gmlp.checks.check` found; shows itself as text or, in a notebook, as HTML.

    ``diagnosis`` is the name of the misconception if one fits, else the kind of fault
    (``"missing return"``, ``"type"``, ``"shape"``, ``"dtype"``, ``"not finite"``, ``"values"``,
    ``"gradients"``, ``"in place"``), ``"interrupted"`` or the name of the exception; ``None`` where
    nothing is wrong.
    """

    name: str
    state: State
    diagnosis: str | None
    lines: tuple[str, ...]
    picture: str = ""

    def __repr__(self) -> str:
        return "\n  ".join([f"{self.name}: {HEADLINES[self.state][0]}", *self.lines])

    def _repr_html_(self) -> str:
        headline, colour = HEADLINES[self.state]
        return box(f"{self.name}: {headline}", self.lines, colour, self.picture)


@dataclass(frozen=True)
class Hint:
    """One hint; shows itself as text or, in a notebook, as HTML."""

    title: str
    text: str

    def __repr__(self) -> str:
        return f"{self.title}\n  {self.text}"

    def _repr_html_(self) -> str:
        return box(self.title, (self.text,), "#0072b2")


HEADLINES: dict[State, tuple[str, str]] = {
    "not attempted": ("not attempted yet", "#888888"),
    "raised": ("your code raised an error", "#cc79a7"),
    "wrong": ("not right yet", "#d55e00"),
    "right": ("right", "#009e73"),
}


def box(title: str, lines: Sequence[str], colour: str, picture: str = "") -> str:
    """A title, a few sentences and a picture beside a coloured line; words in backticks as code."""

    def marked(text: str) -> str:
        return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))

    body = "".join(f"<div>{marked(line)}</div>" for line in lines)
    return (
        f'<div style="border-left:4px solid {colour};padding:2px 12px;line-height:1.5">'
        f"<div><b>{html.escape(title)}</b></div>{body}{picture}</div>"
    )


def picture(off: Tensor, size: Tensor, axes: str) -> str:
    """Where and how much two tensors differ, as a grid over the last two axes; "" if nowhere.

    Args:
        off: where they differ.
        size: by how much.
        axes: the letters of their axes.
    """
    if not axes or not off.any():
        return ""
    size = size.where(off, 0.0).nan_to_num(posinf=1e30)
    while size.dim() > 2:
        size = size.amax(0)
    size = size.reshape(-1, size.shape[-1])
    rows, columns = size.shape
    # One path for the lines and no rectangle where nothing is wrong keep the output small.
    lines = "".join(f"M0 {12 * r}h{12 * columns}" for r in range(rows + 1))
    lines += "".join(f"M{12 * c} 0v{12 * rows}" for c in range(columns + 1))
    cells = "".join(
        f'<rect x="{12 * c}" y="{12 * r}" width="12" height="12" '
        f'fill-opacity="{0.25 + 0.75 * (size[r, c] / size.max()).item():.2f}"/>'
        for r, c in size.nonzero().tolist()
    )
    letters = axes.split()
    over = f", largest over {', '.join(letters[:-2])}" if letters[:-2] else ""
    down = f"{letters[-2]} down, " if letters[1:] else ""
    caption = f"|yours - expected|: {down}{letters[-1]} across{over}"
    wrong = f"{len(size.nonzero())} of {size.numel()} cells differ"
    return (
        f'<svg role="img" aria-label="{caption}; {wrong}" style="max-width:100%" '
        f'width="{12 * columns + 2}" height="{12 * rows + 2}" '
        f'viewBox="-1 -1 {12 * columns + 2} {12 * rows + 2}"><g fill="#d55e00">{cells}</g>'
        f'<path d="{lines}" fill="none" stroke="currentColor" stroke-opacity="0.3"/></svg>'
        f'<div style="font-size:85%">{caption}. Stronger colour: further off.</div>'
    )
