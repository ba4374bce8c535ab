"""Lesson 04: what a right, and each known wrong, answer looks like."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gmlp.checks.core import Draw, Exercise, Misconception
from gmlp.training import bits_per_byte


def _draw_logits(rng: Draw) -> tuple[Any, ...]:
    b, n, v = rng.sizes(3, least=3)
    return 2 * rng.normal(b, n, v), rng.integers(0, v, b, n)


def _picked(logits: Tensor, targets: Tensor) -> Tensor:
    """The log probability of each target, (b, n), in nats."""
    return logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def _by_logsumexp(logits: Tensor, targets: Tensor) -> Tensor:
    hit = F.one_hot(targets, logits.shape[-1])
    return (logits.logsumexp(-1) - (hit * logits).sum(-1)).mean() / math.log(2)


def _by_loop(logits: Tensor, targets: Tensor) -> Tensor:
    total = torch.zeros(())
    for row, wanted in zip(logits, targets, strict=True):
        for scores, byte in zip(row, wanted, strict=True):
            total = total - torch.log2(scores.softmax(0)[byte])
    return total / targets.numel()


EXERCISES = (
    Exercise(
        name="bits_per_byte",
        lesson="04_training",
        axes="",
        draw=_draw_logits,
        solution=bits_per_byte,
        alternatives=(
            lambda logits, targets: -_picked(logits, targets).mean() / math.log(2),
            lambda logits, targets: F.cross_entropy(logits.mT, targets) * math.log2(math.e),
            _by_logsumexp,
            _by_loop,
        ),
        misconceptions=(
            Misconception(
                "nats",
                lambda logits, targets: bits_per_byte(logits, targets) * math.log(2),
                "Your answer is in nats: PyTorch takes the natural logarithm.",
                "How many nats is one bit? A fair coin toss is -log(1/2) of them.",
            ),
            Misconception(
                "multiplied by ln 2",
                lambda logits, targets: bits_per_byte(logits, targets) * math.log(2) ** 2,
                "You multiply by ln 2 where you should divide.",
                "A bit is smaller than a nat. Does the number of bits come out larger or smaller?",
            ),
            Misconception(
                "sum",
                lambda logits, targets: bits_per_byte(logits, targets) * targets.numel(),
                "You add the bits of all bytes up. Asked for is the mean of one byte.",
                "The answer should not grow with the batch.",
            ),
            Misconception(
                "mean over the batch only",
                lambda logits, targets: bits_per_byte(logits, targets) * targets.shape[1],
                "You average over the batch, but add up along the positions.",
                "A batch holds b times n bytes. By how many do you divide?",
            ),
            Misconception(
                "mean over the positions only",
                lambda logits, targets: bits_per_byte(logits, targets) * targets.shape[0],
                "You average along the positions, but add up over the batch.",
                "A batch holds b times n bytes. By how many do you divide?",
            ),
            Misconception(
                "divided by the vocabulary too",
                lambda logits, targets: bits_per_byte(logits, targets) / logits.shape[-1],
                "Your mean runs over the v scores as well. Only one of them belongs to the target.",
                "A batch holds b times n bytes. By how many do you divide?",
            ),
            Misconception(
                "softmax before cross entropy",
                lambda logits, targets: bits_per_byte(logits.softmax(-1), targets),
                "You give probabilities to cross entropy, which applies its own softmax to them.",
                "F.cross_entropy wants the logits as they are.",
            ),
            Misconception(
                "shifted once more",
                lambda logits, targets: bits_per_byte(logits[:, :-1], targets[:, 1:]),
                "You shift the targets by one. They already are the next bytes.",
                "logits[b, i] is to be held against targets[b, i].",
            ),
            Misconception(
                "reshaped to (b, v, n)",
                lambda logits, targets: bits_per_byte(
                    logits.reshape(logits.shape[0], logits.shape[2], -1).mT, targets
                ),
                "Your reshape to (b, v, n) renumbers the scores; it does not move an axis.",
                "`transpose` swaps two axes. Or flatten b and n into one.",
            ),
            Misconception(
                "axes of cross entropy",
                lambda logits, targets: F.cross_entropy(logits, targets) / math.log(2),
                "F.cross_entropy looks for the scores on axis 1, and there it finds the positions.",
                "Flatten b and n into one axis, or bring v to axis 1.",
            ),
            Misconception(
                "log of the mean probability",
                lambda logits, targets: -_picked(logits, targets).exp().mean().log2(),
                "You average the probabilities and take the logarithm of that.",
                "Each byte costs its own bits. Take the logarithm first, then the mean.",
            ),
            Misconception(
                "no mean",
                lambda logits, targets: -_picked(logits, targets) / math.log(2),
                "You return the bits of every byte. Asked for is their mean, one number.",
                "`reduction` or `.mean()`.",
            ),
            Misconception(
                "sign",
                lambda logits, targets: _picked(logits, targets).mean() / math.log(2),
                "Your sign is wrong: this is the mean log probability, which is below 0.",
                "A loss counts how surprised the model was. It is never negative.",
            ),
            Misconception(
                "perplexity",
                lambda logits, targets: 2 ** bits_per_byte(logits, targets),
                "You return the perplexity, 2 to the power of the bits.",
                "Leave the bits as they are.",
            ),
        ),
        hints=(
            "A model that gives the right byte probability 1/4, each time: how many bits does a "
            "byte "
            "cost, and what would F.cross_entropy say?",
            "F.cross_entropy does the softmax, the logarithm and the mean, in nats. It wants "
            "(items, v) "
            "and (items,). One division is left.",
            "Flatten b and n of both into one axis, call F.cross_entropy, divide by math.log(2).",
        ),
    ),
)
