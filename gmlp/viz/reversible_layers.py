"""Figures of lesson 10, reversible layers."""

import itertools
import sys
import weakref
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gmlp.full_model import gMLPGPT
from gmlp.reversible_layers import ReversibleSequence
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.plots import diagram

MOMENTS = 129  # the marks of the engine then stand at every quarter


def reversible_layers_diagram() -> None:
    """The way of the two streams through a pair of layers."""
    plus, plus_below = "_+", "_+ "  # two boxes, one symbol: names of boxes differ
    diagram(
        {
            **{"x1": (0, 1.4), "f": (1, 0.7), plus: (1.8, 1.4), "y1": (4.4, 1.4)},
            **{"x2": (0, 0), "g": (2.6, 0.7), plus_below: (3.4, 0), "y2": (4.4, 0)},
        },
        [
            *[("x1", plus, ""), (plus, "y1", ""), ("x2", plus_below, ""), (plus_below, "y2", "")],
            *[("x2", "f", ""), ("f", plus, ""), (plus, "g", ""), ("g", plus_below, "")],
        ],
        alt="Two parallel lines. From the lower one, x2, an arrow leads up through f and is added "
        "to the upper one, x1, which becomes y1. From there an arrow leads down through g and is "
        "added to the lower one, which becomes y2",
    )


class LiveBytes(TorchDispatchMode):
    """Counts operations, and notes which of them stood at the birth and the death of each tensor
    that was made under it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done = 0
        self.lives: dict[int, tuple[int, int, int]] = {}  # (bytes, birth, death)
        self.alive: WeakKeyDictionary[torch.UntypedStorage, int] = WeakKeyDictionary()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        given = {storage.data_ptr() for storage in storages((args, kwargs))}
        for storage in storages(out):
            if storage.data_ptr() not in given and storage not in self.alive:
                name = len(self.lives)
                self.lives[name] = (storage.nbytes(), self.done, sys.maxsize)
                self.alive[storage] = name
                weakref.finalize(storage, self.note_death, name)
        self.done += 1
        return out

    def note_death(self, name: int) -> None:
        if name in self.lives:  # gradients of parameters are struck off
            size, birth, _ = self.lives[name]
            self.lives[name] = (size, birth, self.done)

    def timeline(self) -> list[int]:
        """Bytes alive after each operation."""
        change = [0] * (self.done + 1)
        for size, birth, death in self.lives.values():
            change[birth] += size
            change[min(death, self.done)] -= size
        return list(itertools.accumulate(change[:-1]))


def storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def live_bytes(model: nn.Module, tokens: Tensor) -> list[int]:
    """The bytes alive after each operation of a training step, but parameters and gradients."""
    with LiveBytes() as mode:
        model(tokens).mean().backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            mode.lives.pop(mode.alive.get(parameter.grad.untyped_storage(), -1), None)
    return mode.timeline()


def reversible_memory(
    depths: Sequence[int] = (4, 8, 16, 32), dim: int = 32, n: int = 64, batch: int = 4
) -> Figure:
    """The memory of one training step, moment by moment: plain layers and reversible ones.

    Bytes of live tensors other than parameters and their gradients, after every operation of a
    forward and a backward pass; and how far float32 drifts when activations are
    computed back instead of kept.

    Args:
        depths: how deep the models are; at most 32 positions of the scrubber are wise.
        dim, n, batch: their size.
    """
    plain: list[list[int]] = []
    kept: list[list[int]] = []
    drift = []
    for depth in depths:
        torch.manual_seed(0)
        model = gMLPGPT(num_tokens=256, dim=dim, depth=depth, seq_len=n, reversible=True)
        tokens = torch.randint(256, (batch, n))
        blocks = model.blocks
        assert isinstance(blocks, ReversibleSequence)
        for recompute, into in ((False, plain), (True, kept)):
            blocks.recompute = recompute
            model.zero_grad()
            into.append(sampled(live_bytes(model, tokens)))
        drift.append(drift_of(blocks, model.embed(tokens).detach()))
    memory = torch.tensor([plain, kept]) / 1e6  # (2, depth, moment)
    peaks = memory.amax(-1)
    top = memory.max().item()
    labels = [str(depth) for depth in depths]

    return Figure(
        title="The memory of a training step",
        alt=f"Memory over one training step. From {depths[0]} to {depths[-1]} layers the peak of "
        f"plain layers grows from {peaks[0, 0]:.0f} to {peaks[0, -1]:.0f} MB, that of reversible "
        f"ones from {peaks[1, 0]:.0f} to {peaks[1, -1]:.0f} MB.",
        variables=[Variable("depth", len(depths), "layers", len(depths) - 1, labels=labels)],
        arrays={
            "plain": Array(memory[0], ("depth", "moment"), low=0, high=top),
            "reversible": Array(memory[1], ("depth", "moment"), low=0, high=top),
            "drift": Array(torch.tensor(drift), ("depth",), low=0),
        },
        texts={
            "plain_peak": Texts.of(peaks[0], ("depth",), "{:.1f}"),
            "reversible_peak": Texts.of(peaks[1], ("depth",), "{:.1f}"),
            "far": Texts([f"{value * 1e6:.1f} millionths" for value in drift], ("depth",)),
        },
        panels=[
            Panel(
                "line",
                "MB alive, over the forward and backward pass",
                x="moment",
                lines=("plain", "reversible"),
                names=("plain", "reversible"),
                ticks=[f"{round(100 * k / (MOMENTS - 1))} %" for k in range(MOMENTS)],
                xlabel="operations done",
                alt="live memory over a training step, plain and reversible",
            ),
            Panel(
                "line",
                "how far the recomputed input is off",
                x="depth",
                lines=("drift",),
                names=("largest difference, float32",),
                xlabel="layers",
                alt="the drift of recomputed activations by depth",
            ),
        ],
        note="Layers: {depth}. Plain ones need {plain_peak} MB at their peak, reversible ones "
        "{reversible_peak} MB; the input that they compute back is off by {far}.",
    )


def sampled(timeline: list[int]) -> list[int]:
    """``MOMENTS`` moments; each shows the most of its share of the operations."""
    edges = [round(k * len(timeline) / MOMENTS) for k in range(MOMENTS + 1)]
    return [max(timeline[a : max(b, a + 1)]) for a, b in itertools.pairwise(edges)]


@torch.no_grad()
def drift_of(blocks: ReversibleSequence, x: Tensor) -> float:
    """How far the input is off that comes back through all blocks' inverses."""
    y1, y2 = x, x
    for block in blocks.blocks:
        y1, y2 = block(y1, y2)
    for block in reversed(list(blocks.blocks)):
        y1, y2 = block.inverse(y1, y2)
    return max((y1 - x).abs().max().item(), (y2 - x).abs().max().item())
