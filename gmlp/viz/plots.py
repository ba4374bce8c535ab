"""Plots in one style, safe for colour-blind readers, none without alt text."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from torch import Tensor

# Okabe & Ito's colours: told apart by readers of every kind of colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a"]
GREY, INK = "#797979", "#222222"  # words on the page, light or dark; words on a light box

STYLE: Any = {  # matplotlib's own type for it lists every setting by name
    # No ground of its own, and a grey that can be read on white and on black: for both themes.
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"), GREY),
    **dict.fromkeys(("xtick.color", "ytick.color", "legend.labelcolor"), GREY),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8a8a8a40",
    "axes.axisbelow": True,
    "font.size": 11,
    "lines.linewidth": 2,
    "legend.frameon": False,
}


def show(figure: Figure, alt: str) -> None:
    """Show a matplotlib figure in a notebook, with words for those who cannot see it.

    Args:
        alt: what the picture shows (not what it is), in one or two sentences.

    Raises:
        ValueError: no alt text.
    """
    from IPython.display import display

    if not alt.strip():
        raise ValueError("say in alt=… what the picture shows: readers without it have only that")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    # As HTML, because Lab and nbconvert drop the alt text of an image/png output.
    data = base64.b64encode(buffer.getvalue()).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
    display({"text/html": image, "text/plain": alt}, raw=True)  # type: ignore[no-untyped-call]


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    log_y: bool = False,
) -> None:
    """Draw lines over one another, with a legend: ``{name: (x, y)}``."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 3.4))
        for index, (name, (x, y)) in enumerate(lines.items()):
            marker = "o" if len(x) < 50 else None
            axes.plot(x, y, color=COLOURS[index % len(COLOURS)], marker=marker, ms=4, label=name)
        if len(lines) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log_y else "linear")
        low, high = axes.get_ylim()
        if log_y and low >= 1 and high < 1e4:  # 40, not 4 × 10¹
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        show(figure, alt)


def bars(values: Mapping[str, float], *, xlabel: str, alt: str) -> None:
    """Draw one horizontal bar for each name, the value written at its end."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 0.42 * len(values) + 0.8))
        drawn = axes.barh(list(values), list(values.values()), color=COLOURS[0])
        axes.bar_label(drawn, fmt="%.2f", padding=4)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set(xlabel=xlabel)
        show(figure, alt)


def matrices(
    pictures: Mapping[str, Tensor],
    *,
    alt: str,
    xlabel: str = "from position j",
    ylabel: str = "to position i",
) -> None:
    """Draw matrices side by side: purple above zero, orange below, white at zero.

    All share one scale, up to the largest absolute value, which stands below them. NaN is grey.
    """
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, row = plt.subplots(
            1, len(pictures), figsize=(2.9 * len(pictures) + 0.4, 3.3), squeeze=False
        )
        arrays = {name: matrix.detach().cpu().double().numpy() for name, matrix in pictures.items()}
        finite = np.concatenate([abs(array[np.isfinite(array)]) for array in arrays.values()])
        top = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
        for axes, (name, values) in zip(row[0], arrays.items(), strict=True):
            colours = plt.get_cmap("PuOr").with_extremes(bad="#999999")
            axes.imshow(values, cmap=colours, vmin=-top, vmax=top)
            axes.set(title=name, xlabel=xlabel)
            axes.spines[["top", "right"]].set_visible(True)
            axes.locator_params(integer=True)
        row[0][0].set(ylabel=ylabel)
        yes_or_no = all(matrix.dtype == torch.bool for matrix in pictures.values())
        scale = "dark: yes" if yes_or_no else f"darkest colour: ±{top:.2g}"
        figure.supxlabel(scale, fontsize="medium", y=-0.06)
        show(figure, alt)


def diagram(
    boxes: Mapping[str, tuple[float, float]],
    arrows: Sequence[tuple[str, str, str]],
    *,
    alt: str,
) -> None:
    """Draw named boxes at ``(column, row)`` and arrows ``(from, to, label)`` between them.

    Row 0 is the lowest. A name may hold a line break; a box whose name starts with ``_`` is a bare
    symbol without a frame (the underscore is not drawn).
    """
    columns, rows = zip(*boxes.values(), strict=True)
    size = (1.45 * (max(columns) - min(columns)) + 1.6, 1.0 * (max(rows) - min(rows)) + 0.9)
    with plt.rc_context({**STYLE, "font.size": 10}):
        figure, axes = plt.subplots(figsize=size)
        axes.axis("off")
        axes.set_xlim(min(columns) - 0.6, max(columns) + 0.6)
        axes.set_ylim(min(rows) - 0.5, max(rows) + 0.5)
        drawn = {}
        for name, place in boxes.items():
            bare = name.startswith("_")
            drawn[name] = axes.annotate(
                name.lstrip("_"),
                place,
                ha="center",
                va="center",
                fontsize=16 if bare else 10,
                color=GREY if bare else INK,
                bbox={
                    "boxstyle": "round,pad=0.45",
                    "facecolor": "none" if bare else "#eaf3fa",
                    "edgecolor": "none" if bare else COLOURS[0],
                },
            )
        figure.canvas.draw()  # the arrows need to know how large the boxes became
        for start, end, label in arrows:
            axes.annotate(
                "",
                boxes[end],
                boxes[start],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": GREY,
                    "patchA": drawn[start].get_bbox_patch(),
                    "patchB": drawn[end].get_bbox_patch(),
                    "shrinkA": 1,
                    "shrinkB": 1,
                },
            )
            middle = np.mean([boxes[start], boxes[end]], axis=0)
            axes.annotate(
                label, middle, (0, 5), textcoords="offset points", ha="center", color=GREY
            )
        show(figure, alt)
