"""Figures of lesson 08, axial folding."""

from collections.abc import Sequence

import torch
from torch import nn

from gmlp.axial_folding import AxiallyFold
from gmlp.causal_masking import CausalSGU
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.reach import check_positions, gradients, places, reading

STAGES = ["folded and mixed", "then the convolution"]


def axial_folding(n: int = 24, folds: Sequence[int] = (1, 2, 3, 4, 6)) -> Figure:
    """Which positions a fold brings together, and what the convolution adds.

    Args:
        n: positions, at most 128.
        folds: the folds ``e`` to choose from.
    """
    check_positions("axial_folding", n)
    place = torch.arange(n)
    residues = torch.stack([place % e for e in folds])  # (folds, n)
    reads = []
    for e in folds:
        fold = mixing_fold(e, n)
        full = gradients(fold, torch.randn(n, 2, dtype=torch.float64))
        if fold.conv is not None:
            with torch.no_grad():  # a convolution that passes its own position on, and no other
                fold.conv.weight.zero_()[..., -1] = 1
        alone = gradients(fold, torch.randn(n, 2, dtype=torch.float64))
        reads.append(torch.stack([alone != 0, full != 0]))
    reach = torch.stack(reads)  # (folds, stage, position, source)
    counts = reach.sum(-1)
    start = len(folds) // 2
    e = folds[start]
    return Figure(
        title="Folding: far positions become neighbours",
        alt=f"{n} positions coloured by their residue, i % {e}: those of one colour are one hand "
        f"and are mixed with each other; a convolution of width {e} then joins the hands.",
        variables=[
            Variable("fold", len(folds), "fold e", start, labels=[str(e) for e in folds]),
            Variable("stage", 2, "stage", 0, labels=STAGES),
            Variable("position", n, "position i", max(0, n - 2)),
        ],
        arrays={
            "residue": Array(residues, ("fold", "source"), "category"),
            "reads": Array(reach, ("fold", "stage", "position", "source"), "boolean"),
        },
        texts={
            "place": places(n),
            "many": Texts.of(counts, ("fold", "stage", "position")),
        },
        panels=[
            Panel(
                "strip",
                "one colour, one hand: the residue i % e",
                x="source",
                pick="position",
                array="residue",
                text="place",
                alt="positions, coloured by their residue i % e",
            ),
            *reading("reads", "reads"),
        ],
        note="Fold {fold}, {stage}: position {position} reads {many} positions up to itself.",
    )


def mixing_fold(e: int, n: int) -> AxiallyFold:
    """A fold around one causal unit, in float64, with weights that nothing hides behind."""
    length = -(-n // e)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(e)
        unit = CausalSGU(4, length)
        nn.init.normal_(unit.weight)
        return AxiallyFold(2, e, nn.Sequential(nn.Linear(2, 4), unit)).double()
