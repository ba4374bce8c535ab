"""Figures of lesson 04, training."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable


def training_weights(
    steps: Sequence[int], matrices: Sequence[Tensor], bits: Sequence[float]
) -> Figure:
    """The matrices of a layer while it learns, with a scrubber.

    Args:
        steps: when they were taken.
        matrices: ``mixing_matrix(n)`` at each of these steps, ``(h, n, n)``.
        bits: the loss at each of these steps, in bits per byte.

    Raises:
        ValueError: lists of different lengths, or more than a figure can carry.
    """
    if not len(steps) == len(matrices) == len(bits) > 0:
        raise ValueError(
            f"a matrix and a loss for each step; got {len(steps)} steps, {len(matrices)} matrices, "
            f"{len(bits)} losses"
        )
    weights = torch.stack([matrix.detach().cpu() for matrix in matrices])  # (s, h, n, n)
    _, heads, n, _ = weights.shape
    labels = [str(step) for step in steps]
    variables = [Variable("step", len(steps), "step", len(steps) - 1, labels, play=400)]
    if heads > 1:
        variables.append(Variable("head", heads, "head"))
    dims = ["step", "head", "to", "from"]
    if heads == 1:
        weights = weights[:, 0]
        dims.remove("head")
    size = weights.abs().amax((-2, -1)).reshape(len(steps), -1)[:, 0]
    return Figure(
        title="A matrix learns",
        alt=f"A matrix of {n} by {n} at {len(steps)} moments of a training run, with the loss. The "
        f"largest entry grows from {size[0]:.2g} to {size[-1]:.2g} while the loss falls from "
        f"{bits[0]:.2f} to {bits[-1]:.2f} bits per byte.",
        variables=variables,
        arrays={
            "W": Array(weights, dims, "diverging"),
            "loss": Array(torch.tensor(bits), ("step",), low=0, high=max(bits)),
        },
        texts={"bits": Texts([f"{value:.2f}" for value in bits], ("step",))},
        panels=[
            Panel(
                "line",
                "loss",
                x="step",
                lines=("loss",),
                names=("bits per byte",),
                xlabel="step",
                alt="the loss over the run",
            ),
            Panel(
                "grid",
                "W",
                x="from",
                y="to",
                array="W",
                xlabel="from position j",
                ylabel="to position i",
                caption=f"Purple above 0, orange below; full colour ±{weights.abs().max():.2g}.",
                alt="the mixing matrix at this step",
            ),
        ],
        note="After {step} steps: {bits} bits per byte.",
    )


def filters(matrices: Mapping[str, Tensor]) -> Figure:
    """Rows of W by distance: how much position ``i`` takes from the position ``k`` before it.

    Args:
        matrices: causal mixing matrices ``(n, n)`` by name, as of several layers or heads.
    """
    names = list(matrices)
    weights = torch.stack([matrix.detach().cpu().double() for matrix in matrices.values()])
    n = weights.shape[-1]
    place = torch.arange(n)
    source = place[:, None] - place  # (row, offset): from where
    rows = weights[:, place[:, None], source.clamp(min=0)]
    rows = rows.masked_fill(source < 0, torch.nan)  # (m, n, offset)
    mean = rows.nanmean(1)  # (m, offset)
    finite = rows[rows.isfinite()]
    top = finite.abs().max().item() if finite.numel() else 1.0
    strongest = mean.abs().nan_to_num(0).argmax(1).tolist()
    told = "; ".join(f"{name}: distance {k}" for name, k in zip(names, strongest, strict=True))
    return Figure(
        title="Rows of W by distance",
        alt=f"Rows of W drawn over the distance that they look back, and the mean of all rows, "
        f"which is strongest at: {told}.",
        variables=[
            Variable("matrix", len(names), "matrix", labels=names),
            Variable("row", n, "position i", n - 1 - n // 5),  # clear of the labels below
        ],
        arrays={
            "of_row": Array(rows, ("matrix", "row", "offset"), "diverging", low=-top, high=top),
            "of_all": Array(mean, ("matrix", "offset"), "diverging", low=-top, high=top),
            "W": Array(weights, ("matrix", "row", "source"), "diverging"),
        },
        texts={
            "strongest": Texts([f"{k} place{'s' * (k != 1)}" for k in strongest], ("matrix",)),
        },
        panels=[
            Panel(
                "line",
                "what it takes, by distance",
                x="offset",
                lines=("of_row", "of_all"),
                names=("this row", "mean of all rows"),
                xlabel="distance i − j",
                alt="one row of W and the mean of all rows, over the distance they look back",
            ),
            Panel(
                "grid",
                "W: touch a row",
                x="source",
                y="row",
                array="W",
                xlabel="from position j",
                ylabel="to position i",
                alt="the matrix, a row of which is drawn",
            ),
        ],
        note="Row {row} of {matrix}. In the mean of all rows, what stands {strongest} back counts "
        "most.",
    )
