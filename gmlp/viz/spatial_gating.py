"""Figures of lesson 01, spatial gating."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.plots import diagram

POSITIONS, CHANNELS = 16, 8  # of sgu_row: more cells than that nobody reads
TWO = "{:.2f}"


def spatial_gating_diagram() -> None:
    """The way of the data through a spatial gating unit."""
    x, u, v = "x\n(b, n, d)", "u\n(b, n, d/2)", "v\n(b, n, d/2)"
    mix, out = "W v + b,\nalong positions", "out\n(b, n, d/2)"
    diagram(
        {
            x: (0, 1),
            "split": (1, 1),
            u: (2, 1.8),
            v: (2, 0.2),
            "LayerNorm": (3.1, 0.2),
            mix: (4.4, 0.2),
            "_⊙": (5.6, 1),
            out: (6.7, 1),
        },
        [
            (x, "split", ""),
            ("split", u, ""),
            ("split", v, ""),
            (v, "LayerNorm", ""),
            ("LayerNorm", mix, ""),
            (mix, "_⊙", "gate "),
            (u, "_⊙", ""),
            ("_⊙", out, ""),
        ],
        alt="The spatial gating unit: x splits in two halves of channels. The half v is normalised "
        "and mixed along the positions by W, plus b; the result multiplies the half u.",
    )


@torch.no_grad()
def sgu_row(unit: Any, x: Tensor, labels: Sequence[str] | None = None) -> Figure:
    """How one number of a spatial gating unit's output comes about: a row of W at work.

    Args:
        unit: a :class:`gmlp.SpatialGatingUnit`, causal or not, whose activation is the identity;
            or a class of your own with a ``norm``, a ``weight`` ``(n, n)`` and a ``bias`` ``(n,)``.
        x: its input ``(n, d)``, at most 16 positions and 8 channels in each half.
        labels: what the positions are called; their numbers by default.

    Raises:
        ValueError: an input that is too large for the figure, or does not fit the unit; a gate
            that is squashed by an activation.
    """
    n, channels = x.shape[0], x.shape[-1] // 2
    if not (1 <= n <= POSITIONS and 1 <= channels <= CHANNELS):
        raise ValueError(
            f"sgu_row shows at most {POSITIONS} positions and {CHANNELS} channels in each half; "
            f"got x of {tuple(x.shape)}"
        )
    if not isinstance(getattr(unit, "act", None), nn.Identity | None):
        raise ValueError(f"sgu_row shows the gate itself; this unit squashes it by {unit.act}")
    out = unit(x[None])[0]  # (n, d/2)
    u, v = x.chunk(2, dim=-1)
    v = unit.norm(v)  # (n, d/2)
    matrix = unit.mixing_matrix(n) if hasattr(unit, "mixing_matrix") else unit.weight[:n, :n]
    matrix = matrix.reshape(-1, n, n)  # (h, n, n)
    each = channels // len(matrix)
    rows = matrix.repeat_interleave(each, dim=0)  # (d/2, n, n)
    products = rows * v.T[:, None]  # (d/2, i, j)
    sums = products.cumsum(-1)
    bias = unit.bias[..., :n].reshape(-1, n).repeat_interleave(each, dim=0)  # (d/2, n)
    labels = list(labels) if labels is not None else [str(i) for i in range(n)]
    written = {
        name: [f"{value:.2f}".replace("-", "−") for value in part.flatten().tolist()]
        for name, part in {"row": rows, "v": v.T, "product": products, "sum": sums}.items()
    }
    # Of one length, so that the cells of all strips stand below one another.
    wide = max(map(len, [*labels, *(word for words in written.values() for word in words)]))
    written = {name: [word.center(wide) for word in words] for name, words in written.items()}

    dims = ("channel", "position", "source")
    top = max(part[part.isfinite()].abs().max().item() for part in (v, products, sums))
    scale = {"low": -top, "high": top}
    first, last = labels[0], labels[-1]
    return Figure(
        title="How a spatial gating unit makes one number",
        alt=f"Four strips of {n} cells, named {first} to {last} above: a row of W, the normalised "
        f"channel that it reads, their products, and the running sum of these, whose end plus b is "
        f"the gate.",
        variables=[
            Variable("position", n, "output position i", n - 1, labels=labels),
            Variable("channel", channels, "channel"),
        ],
        arrays={
            "named": Array(torch.zeros(n), ("source",), low=0, high=1),
            "row": Array(rows, dims, "diverging"),
            "v": Array(v.T, ("channel", "source"), "diverging", **scale),
            "product": Array(products, dims, "diverging", **scale),
            "sum": Array(sums, dims, "diverging", **scale),
        },
        texts={
            "named_written": Texts([label.center(wide) for label in labels], ("source",)),
            "row_written": Texts(written["row"], dims, rows.shape),
            "v_written": Texts(written["v"], ("channel", "source"), v.T.shape),
            "product_written": Texts(written["product"], dims, products.shape),
            "sum_written": Texts(written["sum"], dims, sums.shape),
            **{
                name: Texts.of(values, ("channel", "position"), TWO)
                for name, values in {
                    "total": sums[..., -1],
                    "b": bias,
                    "gate": sums[..., -1] + bias,
                    "u": u.T,
                    "out": out.T,
                }.items()
            },
        },
        panels=[
            Panel(
                "strip",
                title,
                x="source",
                pick="position",
                array=array,
                text=f"{array}_written",
                caption="Purple above 0, orange below. The frame marks position i itself."
                if array == "sum"
                else "",
                alt=title,
            )
            for array, title in {
                "named": "position j",
                "row": "row i of W",
                "v": "the channel of v, normalised",
                "product": "row times channel",
                "sum": "summed from the left",
            }.items()
        ],
        note="Position {position}, channel {channel}: the sum {total} plus b = {b} is the gate "
        "{gate}; times u = {u} it lets {out} through.",
    )
