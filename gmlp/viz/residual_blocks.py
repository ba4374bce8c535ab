"""Figures of lesson 03, residual blocks."""

from gmlp.viz.plots import diagram


def residual_blocks_diagram() -> None:
    """The way of the data through one layer: norm and gMLP block on a branch, added back."""
    x, out = "x\n(b, n, d)", "out\n(b, n, d)"
    widen, narrow = "Linear, GELU\nd → dim_ff", "Linear\ndim_ff/2 → d"
    gate = "SGU\ndim_ff → dim_ff/2"
    diagram(
        {
            x: (0, 1),
            "LayerNorm": (1.1, 0),
            widen: (2.4, 0),
            gate: (3.9, 0),
            narrow: (5.4, 0),
            "_+": (6.5, 1),
            out: (7.5, 1),
        },
        [
            (x, "_+", "residual: x itself"),
            (x, "LayerNorm", ""),
            ("LayerNorm", widen, ""),
            (widen, gate, ""),
            (gate, narrow, ""),
            (narrow, "_+", ""),
            ("_+", out, ""),
        ],
        alt="One layer: x goes straight on to a plus sign; a branch leaves it through LayerNorm, a "
        "widening linear layer with GELU, the spatial gating unit and a narrowing linear layer, "
        "and is added back to x.",
    )
