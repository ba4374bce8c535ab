"""Figures of lesson 03, residual blocks."""

import math
from collections.abc import Mapping, Sequence

import torch

from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.plots import diagram


def gradient_by_depth(heard: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """How much of the gradient reaches each layer, in stacks of 1, 2, … layers.

    Args:
        heard: for each kind of stack, for 1, 2, … layers: the length of the gradient that enters
            each of them, first layer first. All above zero.

    Raises:
        ValueError: kinds with different depths, or a stack without a number for each layer.
    """
    depth = max(map(len, heard.values()), default=0)
    layers = torch.full((len(heard), depth, depth), torch.nan)
    for k, (name, stacks) in enumerate(heard.items()):
        if [len(stack) for stack in stacks] != list(range(1, depth + 1)):
            raise ValueError(
                f"a number for each layer of stacks of 1 to {depth}; {name!r} has "
                f"{[len(stack) for stack in stacks]}"
            )
        for of, stack in enumerate(stacks):
            layers[k, of, : of + 1] = torch.tensor(stack)
    share = layers[..., 0] / layers.diagonal(dim1=1, dim2=2)  # (kind, depth): first of last
    powers = layers.log10()
    shown = powers[powers.isfinite()]
    low, high = math.floor(shown.min()), math.ceil(shown.max())
    low -= (high - low) % 2  # a whole power of ten in the middle, too
    names = {name: f"kind{k}" for k, name in enumerate(heard)}
    told = "; ".join(f"{name}: {part[-1]:.2g}" for name, part in zip(heard, share, strict=True))
    number = [str(k) for k in range(1, depth + 1)]
    return Figure(
        title="What reaches the first layer",
        alt=f"The length of the gradient at each layer of stacks of 1 to {depth}. Of what reaches "
        f"the last of {depth} layers, the first gets this share: {told}.",
        variables=[Variable("depth", depth, "layers", depth - 1, labels=number, play=500)],
        arrays={
            array: Array(powers[k], ("depth", "layer"), low=low, high=high)
            for k, array in enumerate(names.values())
        },
        texts={
            array + "share": Texts([f"{value:.2g}" for value in share[k].tolist()], ("depth",))
            for k, array in enumerate(names.values())
        },
        panels=[
            Panel(
                "line",
                "length of the gradient, as a power of ten (−3 is a thousandth)",
                x="layer",
                pick="depth",
                lines=tuple(names.values()),
                names=tuple(heard),
                ticks=number,
                xlabel="layer",
                alt="a line for each kind of stack, over its layers",
            )
        ],
        note="{depth} layers. Of the last layer's gradient the first gets: "
        + "; ".join(f"{name} {{{array}share}}" for name, array in names.items())
        + ".",
    )


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
