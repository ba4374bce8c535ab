"""Figures of lesson 09, layer dropout."""

from collections.abc import Sequence

import torch

from gmlp.layer_dropout import dropout_layers
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable


def survivors(
    layers: int = 6,
    chances: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    draws: int = 24,
) -> Figure:
    """Which layers take part in training passes, drawn by :func:`gmlp.dropout_layers`.

    Args:
        layers: how many there are.
        chances: the values of ``prob_survival`` that can be chosen.
        draws: passes that are drawn for each.
    """
    alive = torch.zeros(len(chances), draws, layers, dtype=torch.bool)
    with torch.random.fork_rng(devices=[]):
        for k, p in enumerate(chances):
            torch.manual_seed(0)
            for draw in range(draws):
                alive[k, draw, dropout_layers(range(layers), p)] = True
    many = alive.sum(-1)  # (chance, draw)
    passes = torch.stack([(many == count).sum(-1) for count in range(layers + 1)], dim=-1)
    chance = torch.tensor(chances, dtype=torch.float64)
    expected = chance * layers + (1 - chance) ** layers
    start = (len(chances) - 1) // 2
    return Figure(
        title="Which layers take part",
        alt=f"{draws} training passes of {layers} layers that survive with probability "
        f"{chances[start]:g}: in each some layers take part, {many[start].double().mean():.1f} on "
        f"average, never none.",
        variables=[
            Variable("p", len(chances), "p", start, [f"{p:g}" for p in chances]),
            Variable("draw", draws, "pass"),
        ],
        arrays={
            "alive": Array(alive, ("p", "draw", "layer"), "boolean"),
            "passes": Array(passes, ("p", "count"), low=0, high=draws),
        },
        texts={
            "counts": Texts([named(count) for count in range(layers + 1)], ("count",)),
            "many": Texts(
                [
                    f"{named(count)} {'takes' if count == 1 else 'take'}"
                    for count in many.flatten().tolist()
                ],
                ("p", "draw"),
                tuple(many.shape),
            ),
            "mean": Texts.of(many.double().mean(-1), ("p",), "{:.1f}"),
            "expected": Texts.of(expected, ("p",), "{:.2f}"),
        },
        panels=[
            Panel(
                "grid",
                "who takes part: a line is a pass",
                x="layer",
                y="draw",
                array="alive",
                xlabel="layer",
                ylabel="pass",
                caption="Blue: it takes part.",
                alt="for each pass, which layers take part",
            ),
            Panel(
                "bars",
                f"how many take part, in {draws} passes",
                x="count",
                array="passes",
                text="counts",
                alt="how often so many layers take part",
            ),
        ],
        note="p = {p}, pass {draw}: {many} part; on average {mean} (by the formula {expected}).",
    )


def named(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
