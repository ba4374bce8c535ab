"""Lesson 03: what a right, and each known wrong, answer looks like."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception
from gmlp.residual_blocks import GEGLU


def _draw_halves(rng: Draw) -> tuple[Any, ...]:
    b, m, c = rng.sizes(3)
    return (rng.normal(b, 2 * m, 2 * c),)  # n is even, so cutting it in halves gives no error


def _gated(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def gated(x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * activation(gate)

    return gated


def _swapped(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, dim=-1)
    return value * F.gelu(gate)


def _along_positions(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=1)
    return value * F.gelu(gate)


def _sliced_by_erf(x: Tensor) -> Tensor:
    c = x.shape[-1] // 2
    gate = x[..., c:]
    return x[..., :c] * gate * 0.5 * (1 + torch.erf(gate / 2**0.5))


def _rearranged(x: Tensor) -> Tensor:
    value, gate = rearrange(x, "b n (two c) -> two b n c", two=2)
    return torch.einsum("bnc,bnc->bnc", value, F.gelu(gate))


def _draw_step(rng: Draw) -> tuple[Any, ...]:
    b, n, c = rng.sizes(3)
    norm = rng.refill(nn.LayerNorm(c))
    f = rng.refill(nn.Sequential(nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c)))
    return rng.normal(b, n, c), norm, f


Step = Callable[[Tensor], Tensor]


def _residual_step(x: Tensor, norm: Step, f: Step) -> Tensor:
    return x + f(norm(x))


def _found_residual_step(x: Tensor, norm: Step, f: Step) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    return norm(x + f(x))


def _in_three_lines(x: Tensor, norm: Step, f: Step) -> Tensor:
    y = norm(x)
    y = f(y)
    return torch.add(y, x)


def _into_a_copy(x: Tensor, norm: Step, f: Step) -> Tensor:
    out = x.clone()
    out += f(norm(x))
    return out


def _norm_after(x: Tensor, norm: Step, f: Step) -> Tensor:
    total = x + f(x)
    return norm(total)


EXERCISES = (
    Exercise(
        name="geglu",
        lesson="03_residual_blocks",
        axes="b n c",
        draw=_draw_halves,
        solution=_gated(F.gelu),
        alternatives=(GEGLU(), _sliced_by_erf, _rearranged),
        misconceptions=(
            Misconception(
                "halves swapped",
                _swapped,
                "You have the halves the other way round: GELU goes on the second, not the first.",
                "Name the two halves `value` and `gate` in the order in which they come.",
            ),
            Misconception(
                "sigmoid",
                _gated(torch.sigmoid),
                "Your gate is a sigmoid. That is GLU; GEGLU has GELU in its place.",
                "GELU is x times a curve that looks like a sigmoid. Is there one x too few?",
            ),
            Misconception(
                "relu",
                _gated(F.relu),
                "Your gate is a ReLU. That is ReGLU; GEGLU has GELU in its place.",
                "torch.nn.functional has the function under its own name.",
            ),
            Misconception(
                "silu",
                _gated(F.silu),
                "Your gate is x times sigmoid(x). That is SwiGLU; GEGLU has GELU in its place.",
                "torch.nn.functional has the function under its own name.",
            ),
            Misconception(
                "tanh approximation",
                _gated(lambda gate: F.gelu(gate, approximate="tanh")),
                "You use the tanh approximation of GELU. It would serve as well in a model, but it "
                "differs in the fourth decimal, and here the exact one is asked for.",
                "`F.gelu(gate)`, without `approximate`, is exact.",
            ),
            Misconception(
                "no activation",
                _gated(lambda gate: gate),
                "You multiply the halves as they are, without GELU.",
                "One half passes through GELU first.",
            ),
            Misconception(
                "gelu on both",
                lambda x: F.gelu(x).chunk(2, dim=-1)[0] * F.gelu(x).chunk(2, dim=-1)[1],
                "GELU acts on both halves. The first must pass as it is.",
                "Cut first, then apply GELU to one of the pieces.",
            ),
            Misconception(
                "gelu on the product",
                lambda x: F.gelu(x.chunk(2, dim=-1)[0] * x.chunk(2, dim=-1)[1]),
                "You multiply first and apply GELU to the product.",
                "GELU belongs on the gate alone, before it multiplies.",
            ),
            Misconception(
                "channels interleaved",
                lambda x: x[..., ::2] * F.gelu(x[..., 1::2]),
                "You take every second channel. The halves are consecutive.",
                "The first c channels are the value, the last c the gate.",
            ),
            Misconception(
                "cut along positions",
                _along_positions,
                "You cut the sequence in halves, not the channels.",
                "Which axis of (b, n, 2c) has size 2c? Tell chunk with `dim`.",
            ),
            Misconception(
                "not cut",
                lambda x: x * F.gelu(x),
                "You do not cut: x gates itself, and all 2c channels come out.",
                "Cut the last axis in two pieces first.",
            ),
        ),
        hints=(
            "From 2c channels come c. Which operation makes one number of two?",
            "`x.chunk(2, dim=...)` cuts in two. One piece goes through F.gelu, the other does not.",
            "value, gate = the two pieces along the last axis; return value times F.gelu of gate.",
        ),
    ),
    Exercise(
        name="residual_step",
        lesson="03_residual_blocks",
        axes="b n c",
        draw=_draw_step,
        solution=_residual_step,
        kind="debug",
        stub=_found_residual_step,
        alternatives=(_in_three_lines, _into_a_copy),
        misconceptions=(
            Misconception(
                "norm after the sum",
                _norm_after,
                "The norm still acts on the sum, so it stands on the path from layer to layer.",
                "x should reach the output untouched. What may the norm act on instead?",
            ),
            Misconception(
                "no residual",
                lambda x, norm, f: f(norm(x)),
                "x itself no longer reaches the output: the way around f is gone.",
                "A residual step adds something to x.",
            ),
            Misconception(
                "no norm",
                lambda x, norm, f: x + f(x),
                "The norm is gone. Then the input of f grows from layer to layer.",
                "f should see a normalised x.",
            ),
            Misconception(
                "norm on both branches",
                lambda x, norm, f: norm(x) + f(norm(x)),
                "f now sees the norm of x, but so does the sum: it adds norm(x), not x.",
                "The first term of the sum should be x as it came.",
            ),
            Misconception(
                "norm behind f",
                lambda x, norm, f: x + norm(f(x)),
                "x passes untouched, but the norm acts on what f returns.",
                "The norm comes before f.",
            ),
            Misconception(
                "norm at both ends",
                lambda x, norm, f: norm(x + f(norm(x))),
                "f sees the norm of x, but the sum is normalised once more.",
                "x should reach the output untouched, so the sum is the last thing you do.",
            ),
        ),
        hints=(
            "Stack the given step 40 times and follow x from the bottom to the top. How many norms "
            "does it go through?",
            "There are two paths: x itself, and the branch through f. The norm belongs on one of "
            "them.",
            "The result is a sum of two terms. One is x. The other starts with x, then norm, then "
            "f.",
        ),
    ),
)
