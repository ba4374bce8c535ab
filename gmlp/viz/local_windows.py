"""Figures of lesson 07, local windows."""

from collections.abc import Sequence

import torch

from gmlp.local_windows import CausalLocalSGU
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.reach import check_positions, places, reading


@torch.no_grad()
def local_windows(
    n: int = 32, windows: Sequence[int] = (2, 4, 8, 16), *, first: int | None = None
) -> Figure:
    """What each position can read with local windows, and how uneven that is.

    Args:
        n: positions, at most 128.
        windows: the windows to choose from.
        first: the one that is shown before a touch; by default one in the middle.

    Raises:
        ValueError: too many positions, or a ``first`` that is not among the windows.
    """
    check_positions("local_windows", n)
    read = []
    for window in windows:
        unit = CausalLocalSGU(2, n, window=window)
        unit.weight.fill_(1.0)
        read.append(unit.mixing_matrix(n)[0] != 0)
    reads = torch.stack(read)  # (windows, position, source)
    counts = reads.sum(-1)
    if first is not None and first not in windows:
        raise ValueError(f"first must be one of the windows {tuple(windows)}; got {first}")
    start = len(windows) // 2 if first is None else list(windows).index(first)
    behind = counts[start][windows[start] :]  # the first window
    if not len(behind):
        behind = counts[start]
    return Figure(
        title="What local windows let through",
        alt=f"What each of {n} positions reads with windows of {windows[start]}: a staircase of "
        f"squares. Behind the first window the number read swings between {behind.min()} and "
        f"{behind.max()}.",
        variables=[
            Variable("window", len(windows), "window w", start, labels=[str(w) for w in windows]),
            Variable("position", n, "position i", min(n - 1, 2 * windows[start] + 1)),
        ],
        arrays={
            "reads": Array(reads, ("window", "position", "source"), "boolean"),
            "count": Array(counts, ("window", "position"), low=0),
        },
        texts={
            "place": places(n),
            "many": Texts.of(counts, ("window", "position")),
        },
        panels=[
            *reading("reads", "reads"),
            Panel(
                "line",
                "how many it reads",
                x="position",
                lines=("count",),
                names=("positions read",),
                xlabel="position i",
                alt="the number of positions read, by position: a saw",
            ),
        ],
        note="Windows of {window}: position {position} reads {many} positions.",
    )
