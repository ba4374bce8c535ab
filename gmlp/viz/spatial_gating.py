"""Figures of lesson 01, spatial gating."""

from gmlp.viz.plots import diagram


def spatial_gating_diagram() -> None:
    """The way of the data through a spatial gating unit."""
    x, u, v = "x\n(b, n, d)", "u\n(b, n, d/2)", "v\n(b, n, d/2)"
    mix, out = "W · + b\nalong positions", "out\n(b, n, d/2)"
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
