"""Lesson 09, layer dropout: skip whole layers while training, never all of them."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gmlp.ops import Cache, step

Layer = TypeVar("Layer")


def dropout_layers(layers: Sequence[Layer], prob_survival: float) -> list[Layer]:
    r"""The layers that take part in this pass: each survives with probability ``p``, one always.

    With ``L`` layers the expected number is :math:`p L + (1 - p)^L`. The draw uses PyTorch's global
    generator; with several processes the first one draws for all.

    Args:
        layers: any sequence.
        prob_survival: ``p``, in ``(0, 1]``; at 1 nothing is drawn.

    Raises:
        ValueError: a probability outside ``(0, 1]``.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth" (arXiv 1603.09382), section 3,
    with one ``p`` for all layers and no rescaling; Fan et al. 2019 (arXiv 1909.11556).
    """
    check_survival(prob_survival)
    if prob_survival == 1 or not layers:
        return list(layers)
    draws = torch.rand(len(layers))
    if dist.is_available() and dist.is_initialized():
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        draws = draws.to(device)
        dist.broadcast(draws, src=0)
        draws = draws.cpu()
    keep = draws < prob_survival
    if not keep.any():
        keep[draws.argmin()] = True  # the one that came closest: each is as likely
    return [layer for layer, kept in zip(layers, keep.tolist(), strict=True) if kept]


def check_survival(prob_survival: float) -> None:
    if not 0 < prob_survival <= 1:
        raise ValueError(f"prob_survival must lie in (0, 1]; got prob_survival={prob_survival}")


class SequentialSequence(nn.Sequential):
    """Layers one after the other, of which some are skipped while training.

    Args:
        layers: modules ``(b, n, d) -> (b, n, d)`` with a residual of their own, so that skipping
            one leaves its input as it is.
        prob_survival: the chance of a layer to take part in a training pass; ``eval()`` uses all.

    Shapes:
        ``(b, n, d) -> (b, n, d)``.

    Raises:
        ValueError: a probability outside ``(0, 1]``.

    Source: Huang et al. 2016, section 3.
    """

    def __init__(self, layers: Iterable[nn.Module], *, prob_survival: float = 1.0) -> None:
        check_survival(prob_survival)
        super().__init__(*layers)
        self.prob_survival = prob_survival

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self)
        if self.training:
            layers = dropout_layers(layers, self.prob_survival)
        for layer in layers:
            x = layer(x)
        return x

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        for layer in self:
            x = step(layer, x, cache)
        return x
