"""Figures of lesson 11, the full model."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn

from gmlp.full_model import gMLPGPT
from gmlp.reversible_layers import ReversibleSequence
from gmlp.training import LanguageModel
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.plots import diagram
from gmlp.viz.reach import check_positions, gradients, places, reading


def full_model_diagram() -> None:
    """A model and the inside of one of its layers, with the lessons of their parts."""
    model = ["bytes", "embedding\n(04)", "layer 1", "layer 2", "layer 3 …", "norm, logits\n(04)"]
    deal, gate, attention = "deal to e\n(08)", "gate:\nW v + b\n(01, 02, 07)", "attention\n(06, 07)"
    layer = ["x", "norm\n(03)", deal, "widen\n(03)", gate, "narrow\n(03)", "join\n(08)"]
    layer += ["+ x\n(03)"]
    diagram(
        {name: (0.95 * k, 1.8) for k, name in enumerate(model)}
        | {name: (0.85 * k, 0.4) for k, name in enumerate(layer)}
        | {attention: (0.85 * 3, -0.8)},
        [
            *[(a, b, "") for row in (model, layer) for a, b in pairwise(row)],
            *[(deal, attention, ""), (attention, gate, "")],
        ],
        alt="Two rows of boxes with the numbers of their lessons. Above: bytes, embedding, layers, "
        "norm and logits. Below, the inside of one layer: x, norm, deal to e sequences, widen, "
        "gate, narrow, join, plus x. A side path leads from the dealt sequences through attention "
        "into the gate.",
    )


def by_depth(model: LanguageModel, tokens: Tensor) -> Tensor:
    """The gradients of every position by every other after 1, 2, … layers: ``(depth, n, n)``.

    In float64, so that many small factors do not come to look like nothing.
    """
    model.check(tokens[None])
    model = deepcopy(model).cpu().double().eval()
    x, blocks = model.embed(tokens.cpu()), model.blocks
    layers: list[nn.Module]
    if isinstance(blocks, ReversibleSequence):
        layers = list(blocks.blocks)
        parts = [ReversibleSequence(layers[:k]) for k in range(1, len(layers) + 1)]  # type: ignore[arg-type]
    else:
        layers = list(blocks.children())
        parts = [nn.Sequential(*layers[:k]) for k in range(1, len(layers) + 1)]  # type: ignore[misc]
    return torch.stack([gradients(part, x) for part in parts])


def receptive_field(model: LanguageModel, n: int | None = None) -> Figure:
    """How far each position of a model can hear, layer after layer.

    Args:
        model: any :class:`gmlp.LanguageModel` whose ``blocks`` hold one layer after the other.
        n: positions, at most 128; by default what the model can read, or 64 if that is more.

    Raises:
        ValueError: more positions than the figure or the model bears.
    """
    n = min(64, model.seq_len) if n is None else n
    check_positions("receptive_field", n)
    tokens = torch.randint(model.num_tokens, (n,), generator=torch.Generator().manual_seed(0))
    strength = by_depth(model, tokens)  # (depth, n, n)
    depth, counts = len(strength), (strength != 0).sum(-1)
    layers = [str(k) for k in range(1, depth + 1)]
    heard = ", ".join(str(count) for count in counts[:, -1].tolist())
    return Figure(
        title="How far a model hears",
        alt=f"How many positions the last of {n} can hear after each of {depth} layers: {heard}.",
        variables=[
            Variable("depth", depth, "layers", depth - 1, labels=layers),
            Variable("position", n, "position i", n - 1),
        ],
        arrays={
            "strength": Array(strength, ("depth", "position", "source"), log=True),
            "count": Array(counts, ("depth", "position"), low=0),
        },
        texts={
            "place": places(n),
            "many": Texts.of(counts, ("depth", "position")),
        },
        panels=[
            *reading(
                "strength",
                "hears",
                "Empty: nothing at all. The stronger the colour, the more (gradient, log scale).",
            ),
            Panel(
                "line",
                "how many it hears",
                x="position",
                lines=("count",),
                names=("positions heard",),
                xlabel="position i",
                alt="the number of positions heard, by position",
            ),
        ],
        note="Layers: {depth}. Position {position} hears {many} positions.",
    )


def receptive_fields(
    n: int = 48,
    depth: int = 4,
    windows: Sequence[int] = (4, 8, 16),
    folds: Sequence[int] = (1, 2, 4),
) -> Figure:
    """How far a model hears, by its depth, window and fold: build one and look.

    Args:
        n: positions, at most 128.
        depth: layers at most.
        windows: the windows to choose from; every layer has the same.
        folds: the folds to choose from.
    """
    check_positions("receptive_fields", n)
    tokens = torch.zeros(n, dtype=torch.long)
    reads = torch.stack(
        [
            torch.stack([by_depth(listener(n, depth, w, e), tokens) != 0 for e in folds])
            for w in windows
        ]
    )  # (windows, folds, depth, position, source)
    counts = reads.sum(-1)
    dims = ("window", "fold", "depth", "position")
    few, far = counts[0, 0, 0, -1].item(), counts[0, -1, -1, -1].item()
    return Figure(
        title="Depth, window, fold: how far does it hear?",
        alt=f"How many of {n} positions the last one hears: {few} with one layer of windows of "
        f"{windows[0]}, {far} with {depth} layers and a fold of {folds[-1]}.",
        variables=[
            Variable("depth", depth, "layers", 0, labels=[str(k + 1) for k in range(depth)]),
            Variable("window", len(windows), "window w", 0, labels=[str(w) for w in windows]),
            Variable("fold", len(folds), "fold e", 0, labels=[str(e) for e in folds]),
            Variable("position", n, "position i", n - 1),
        ],
        arrays={"reads": Array(reads, (*dims, "source"), "boolean")},
        texts={
            "place": places(n),
            "many": Texts.of(counts, dims),
        },
        panels=[
            *reading("reads", "hears"),
        ],
        note="Layers: {depth}; windows of {window}; fold {fold}: position {position} hears {many} "
        f"of {n} positions.",
    )


def listener(n: int, depth: int, window: int, fold: int) -> gMLPGPT:
    """A small model with weights large enough that nothing allowed is silent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = gMLPGPT(
            num_tokens=2, dim=4, depth=depth, seq_len=n, ff_mult=2, window=((window, fold),) * depth
        )
        for name, parameter in model.named_parameters():
            if name.endswith("sgu.weight"):
                nn.init.normal_(parameter, std=0.3)
    return model
