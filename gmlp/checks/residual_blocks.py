"""Lesson 03: what a right, and each known wrong, answer looks like."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.causal_masking import CausalSGU
from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.residual_blocks import GEGLU, PreNorm, Residual, gMLPBlock


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
    b, n, c = rng.sizes(3, least=3)  # a norm of two channels is all cancellation
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


# A whole layer: norm, block and residual


def _draw_layer(rng: Draw) -> tuple[Any, ...]:
    b, n, c, k = rng.sizes(4, least=3)
    return (
        rng.normal(b, n, c),
        rng.refill(CausalSGU(2 * k, n)),
        rng.refill(nn.LayerNorm(c)),
        rng.refill(nn.Linear(c, 2 * k)),
        rng.refill(nn.Linear(k, c)),
    )


def _use_layer(
    layer: Callable[..., nn.Module],
    x: Tensor,
    sgu: nn.Module,
    norm: nn.LayerNorm,
    proj_in: nn.Linear,
    proj_out: nn.Linear,
) -> Tensor:
    """Make a layer, and give its parts the weights drawn, known by kind and shape, not by name."""
    made = layer(proj_in.in_features, proj_in.out_features, sgu)
    inside = {*sgu.modules()}
    for part in made.modules():
        for given in (norm, proj_in, proj_out):
            if part in inside or not isinstance(part, type(given)):
                continue
            own = {key: p.shape for key, p in part.named_parameters()}
            drawn = dict(given.named_parameters())
            if own and own.items() <= {key: p.shape for key, p in drawn.items()}.items():
                for key in own:  # perhaps without a bias
                    setattr(part, key, drawn[key])
    return made(x)


class _Parts(nn.Module):
    """The parts of a layer; what is done with them differs from one mistake to the next."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.proj_in = nn.Linear(dim, dim_ff)
        self.sgu = sgu
        self.proj_out = nn.Linear(dim_ff // 2, dim)


def _layer(forward: Callable[[Any, Tensor], Tensor]) -> type[nn.Module]:
    return type("Layer", (_Parts,), {"forward": forward})


def _plain_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _unbiased(linear: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, linear.weight)


def _branch(activation: Callable[[Tensor], Tensor]) -> type[nn.Module]:
    """The layer with another function in the place of GELU."""
    return _layer(lambda s, x: x + s.proj_out(s.sgu(activation(s.proj_in(s.norm(x))))))


class _LayerInOne(nn.Module):
    """The branch as one Sequential, with names of its own."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        super().__init__()
        half = dim_ff // 2
        self.branch = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, dim_ff), nn.GELU(), sgu, nn.Linear(half, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + x


def _norm_kept(s: Any, x: Tensor) -> Tensor:
    x = s.norm(x)
    return x + s.proj_out(s.sgu(F.gelu(s.proj_in(x))))


class _NotHalved(_Parts):
    """A layer that forgets that the unit returns half of its channels."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        super().__init__(dim, dim_ff, sgu)
        self.proj_out = nn.Linear(dim_ff, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_out(self.sgu(F.gelu(self.proj_in(self.norm(x)))))


class _HalvedTooEarly(_Parts):
    """A layer that widens only to what the unit returns."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        super().__init__(dim, dim_ff, sgu)
        self.proj_in = nn.Linear(dim, dim_ff // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_out(self.sgu(F.gelu(self.proj_in(self.norm(x)))))


class _PartsInAList(nn.Module):
    """A module that does not know its parts."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        super().__init__()
        half = dim_ff // 2
        self.parts = [
            nn.LayerNorm(dim),
            nn.Linear(dim, dim_ff),
            nn.GELU(),
            sgu,
            nn.Linear(half, dim),
        ]

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.Sequential(*self.parts)(x)


class _NoSuperInit(nn.Module):
    """A module that is not set up before it gets its parts."""

    def __init__(self, dim: int, dim_ff: int, sgu: nn.Module) -> None:
        self.norm = nn.LayerNorm(dim)


# What of x is left


def _share_left() -> float:
    """Follow x through sixteen post-norm layers that add what is unlike anything before."""
    signs = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(5):  # 32 rows of +1 and -1, any two of them at right angles
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    start, *added = signs[1:18]
    x = start
    for one in added:
        x = F.layer_norm(x + one, x.shape, eps=0.0)
    return (x @ start / (start @ start)).item()


# Who added what


class _Branch(nn.Module):
    """Some layer, with one matrix; its repr is short, since lists of it are shown to learners."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def __repr__(self) -> str:
        return "a layer"

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.tanh(x @ self.weight)


def _draw_layers(rng: Draw) -> tuple[Any, ...]:
    b, n, c = rng.sizes(3)
    count = 3 + 2 * rng.number  # so that count + 1 is no prime, like the sizes
    return rng.normal(b, n, c), [_Branch(rng.normal(c, c)) for _ in range(count)]


Layers = Sequence[Callable[[Tensor], Tensor]]


def _states(x: Tensor, layers: Layers) -> Tensor:
    """x, and what it has become after each layer: (k+1, b, n, d)."""
    return torch.stack([*accumulate(layers, lambda x, f: x + f(x), initial=x)])


def _contributions(x: Tensor, layers: Layers) -> Tensor:
    parts = [x]
    for f in layers:
        parts.append(f(x))
        x = x + parts[-1]
    return torch.stack(parts)


def _by_difference(x: Tensor, layers: Layers) -> Tensor:
    return _states(x, layers).diff(dim=0, prepend=torch.zeros_like(x)[None])


def _by_sum_so_far(x: Tensor, layers: Layers) -> Tensor:
    out = torch.zeros(len(layers) + 1, *x.shape)
    out[0] = x
    for k, f in enumerate(layers):
        out[k + 1] = f(out[: k + 1].sum(0))
    return out


def _by_recursion(x: Tensor, layers: Layers) -> Tensor:
    if not layers:
        return x[None]
    added = layers[0](x)
    rest = _by_recursion(x + added, layers[1:])
    return torch.cat([x[None], added[None], rest[1:]])


def _one_after_another(x: Tensor, layers: Layers) -> Tensor:
    return torch.stack([*accumulate(layers, lambda x, f: f(x), initial=x)])


def _added_in_place(x: Tensor, layers: Layers) -> Tensor:
    parts = [x]
    for f in layers:
        parts.append(f(x))
        x += parts[-1]
    return torch.stack(parts)


def _since_the_start(x: Tensor, layers: Layers) -> Tensor:
    return torch.cat([x[None], _states(x, layers)[1:] - x])


def _with_x_each(x: Tensor, layers: Layers) -> Tensor:
    return torch.stack([x, *(x + f(x) for f in layers)])


def _layers_backwards(x: Tensor, layers: Layers) -> Tensor:
    return _contributions(x, layers[::-1])


def _output_as_new_x(x: Tensor, layers: list[Step]) -> Tensor:
    parts = [x]
    for f in layers:
        y = f(x)
        parts.append(y - x)
        x = y
    return torch.stack(parts)


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
                "Your gate goes through a ReLU; in GEGLU it goes through a GELU.",
                "torch.nn.functional has the function under its own name.",
            ),
            Misconception(
                "silu",
                _gated(F.silu),
                "Your gate is x times sigmoid(x), which only resembles a GELU.",
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
            Misconception(
                "root of 2 forgotten",
                _gated(lambda gate: 0.5 * gate * (1 + torch.erf(gate))),
                "You write GELU by hand, and the argument of erf is too large.",
                "erf is the normal distribution for a variance of one half. What must the gate "
                "be divided by?",
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
    Exercise(
        name="GMLPLayer",
        lesson="03_residual_blocks",
        axes="b n d",
        draw=_draw_layer,
        use=_use_layer,
        positions="x",
        solution=_layer(lambda s, x: x + s.proj_out(s.sgu(F.gelu(s.proj_in(s.norm(x)))))),
        alternatives=(
            _LayerInOne,
            lambda dim, dim_ff, sgu: Residual(PreNorm(dim, gMLPBlock(dim, dim_ff, sgu))),
            lambda dim, dim_ff, sgu: Residual(_LayerInOne(dim, dim_ff, sgu).branch),
        ),
        misconceptions=(
            Misconception(
                "no GELU",
                _branch(lambda wide: wide),
                "There is no GELU. Widening goes straight into the unit.",
                "Compare with the formula of the block: what is Z?",
            ),
            Misconception(
                "GELU after the unit",
                _layer(lambda s, x: x + s.proj_out(F.gelu(s.sgu(s.proj_in(s.norm(x)))))),
                "GELU comes after the unit. It should come before.",
                "In the formula the unit acts on Z. What has happened to Z by then?",
            ),
            Misconception(
                "GELU twice",
                _layer(lambda s, x: x + s.proj_out(F.gelu(s.sgu(F.gelu(s.proj_in(s.norm(x))))))),
                "There are two GELUs, one before and one after the unit.",
                "The block has one. The unit's gate already bends what passes.",
            ),
            Misconception(
                "GELU before widening",
                _layer(lambda s, x: x + s.proj_out(s.sgu(s.proj_in(F.gelu(s.norm(x)))))),
                "GELU acts on the d channels, before they are widened.",
                "Z = GELU(x U): which of the two comes first?",
            ),
            Misconception(
                "GELU at the end",
                _layer(lambda s, x: x + F.gelu(s.proj_out(s.sgu(s.proj_in(s.norm(x)))))),
                "GELU acts on what the branch returns, so nearly nothing can be subtracted from x.",
                "The branch ends with a plain linear layer. GELU has its place earlier.",
            ),
            Misconception(
                "relu",
                _branch(F.relu),
                "You bend with ReLU. The block has GELU.",
                "torch.nn has the function under its own name.",
            ),
            Misconception(
                "tanh approximation",
                _branch(lambda wide: F.gelu(wide, approximate="tanh")),
                "You use the tanh approximation of GELU, which differs in the fourth decimal. Here "
                "the exact one is asked for.",
                "Leave out `approximate`.",
            ),
            Misconception(
                "no residual",
                _layer(lambda s, x: s.proj_out(s.sgu(F.gelu(s.proj_in(s.norm(x)))))),
                "x itself does not reach the output: you return the branch alone.",
                "A deep stack of such layers is deaf. What goes around the branch?",
            ),
            Misconception(
                "norm of x kept",
                _norm_kept,
                "You add the branch to norm(x), not to x: x was overwritten, or taken too late.",
                "Follow the x of your last line back. Is it still the one that came in?",
            ),
            Misconception(
                "no norm",
                _layer(lambda s, x: x + s.proj_out(s.sgu(F.gelu(s.proj_in(x))))),
                "There is no norm of x. The one inside the unit does not replace it.",
                "The branch begins with a norm of its own.",
            ),
            Misconception(
                "norm after the sum",
                _layer(lambda s, x: s.norm(x + s.proj_out(s.sgu(F.gelu(s.proj_in(x)))))),
                "The norm acts on the sum: that is post-norm.",
                "In pre-norm the norm stands on the branch. Where does the branch begin?",
            ),
            Misconception(
                "norm behind the widening",
                _layer(lambda s, x: x + s.proj_out(s.sgu(F.gelu(_plain_norm(s.proj_in(x)))))),
                "Your norm stands behind the widening, on dim_ff channels.",
                "It is what the branch is given that should have standard size.",
            ),
            Misconception(
                "norm behind GELU",
                _layer(lambda s, x: x + s.proj_out(s.sgu(_plain_norm(F.gelu(s.proj_in(x)))))),
                "Your norm stands behind GELU, on dim_ff channels.",
                "It is what the branch is given that should have standard size.",
            ),
            Misconception(
                "widening without bias",
                _layer(lambda s, x: x + s.proj_out(s.sgu(F.gelu(_unbiased(s.proj_in, s.norm(x)))))),
                "Your widening layer has no bias.",
                "The block of the chapter has plain linear layers, with a bias each.",
            ),
            Misconception(
                "narrowing without bias",
                _layer(lambda s, x: x + _unbiased(s.proj_out, s.sgu(F.gelu(s.proj_in(s.norm(x)))))),
                "Your narrowing layer has no bias.",
                "The block of the chapter has plain linear layers, with a bias each.",
            ),
            Misconception(
                "no bias at all",
                _layer(
                    lambda s, x: (
                        x + _unbiased(s.proj_out, s.sgu(F.gelu(_unbiased(s.proj_in, s.norm(x)))))
                    )
                ),
                "Your linear layers have no bias.",
                "The block of the chapter has plain linear layers, with a bias each.",
            ),
            Misconception(
                "norm at the end of the branch",
                _layer(lambda s, x: x + s.norm(s.proj_out(s.sgu(F.gelu(s.proj_in(x)))))),
                "The norm stands at the end of the branch.",
                "It is what the branch is given that should have standard size.",
            ),
            Misconception(
                "unit not reckoned with",
                _NotHalved,
                "Your last linear layer expects dim_ff channels, but the unit returns half as "
                "many.",
                "Write the number of channels beside each step, from dim to dim.",
            ),
            Misconception(
                "halved too early",
                _HalvedTooEarly,
                "You widen to dim_ff / 2 channels, but the unit wants dim_ff: it does the halving "
                "itself.",
                "Write the number of channels beside each step, from dim to dim.",
            ),
            Misconception(
                "unit left out",
                _layer(lambda s, x: x + s.proj_out(F.gelu(s.proj_in(s.norm(x))))),
                "You go from GELU straight to the last linear layer: the unit is never called.",
                "In which step do the positions talk?",
            ),
            Misconception(
                "branch added to itself",
                _layer(lambda s, x: 2 * s.proj_out(s.sgu(F.gelu(s.proj_in(s.norm(x)))))),
                "You add the branch to itself: x was overwritten before the sum.",
                "Follow the x of your last line back. Is it still the one that came in?",
            ),
            Misconception(
                "parts in a list",
                _PartsInAList,
                "Your parts stand in a plain list or dict, or `forward` makes them anew at each "
                "call. nn.Module sees attributes that `__init__` sets, so neither the "
                "check nor an optimizer finds their weights.",
                "nn.Sequential and nn.ModuleList are lists that it does look into.",
            ),
            Misconception(
                "module not set up",
                _NoSuperInit,
                "A part is assigned before the module itself is set up.",
                "Every nn.Module of the chapter has the same first line in its __init__.",
            ),
        ),
        hints=(
            "Six steps lie between x and the output. Which of them stand on the branch, and which "
            "one does not?",
            "The block is `MyBlock` of 3.1, the rest is `MyResidual` and `MyPreNorm`. Write the "
            "number of channels beside each step: the unit halves it.",
            "In forward, from the inside out: norm, widen, GELU, unit, narrow; then add that to "
            "the x that came in. Keep this x under a name of its own.",
        ),
    ),
    prediction(
        "share_left",
        "03_residual_blocks",
        _share_left,
        because="Two unrelated vectors of variance 1 have a sum of variance 2, so each norm "
        "divides by √2, sixteen times: 1 / 256. In pre-norm the factor is 1, however many layers "
        "there are.",
        tolerance=0.01,
        hints=(
            "x and f(x) both have variance 1, and have nothing to do with each other. Which "
            "variance has their sum?",
            "The norm divides by the standard deviation, the root of the variance. By what is x "
            "divided in one layer?",
            "Sixteen layers divide by the same number, one after another. So it is a power.",
        ),
        misconceptions=(
            Misconception(
                "as in pre-norm",
                lambda: 1.0,
                "That holds for pre-norm, where nothing ever touches x.",
                "Here each layer divides the sum, and x with it, by its size.",
            ),
            Misconception(
                "halved at each layer",
                lambda: 0.5**16,
                "You halve x in each layer, as if the size of the sum were 2.",
                "Unrelated numbers partly cancel. It is their variances that add up.",
            ),
            Misconception(
                "equal parts of seventeen",
                lambda: 1 / 17,
                "You give x and the sixteen additions equal parts. But a late addition has been "
                "divided less often than an early one.",
                "How often is the x of the beginning divided? And what the last layer adds?",
            ),
            Misconception(
                "equal parts of sixteen",
                lambda: 1 / 16,
                "You divide by the number of layers. But each layer divides anew what the one "
                "before has left.",
                "By what is x divided in one layer? Then apply that sixteen times.",
            ),
            Misconception(
                "root of sixteen",
                lambda: 0.25,
                "You take the root of the number of layers, as for a sum that is normalised once.",
                "In post-norm every layer has its norm. What is the size after the first one?",
            ),
            Misconception(
                "one norm at the end",
                lambda: 17**-0.5,
                "You add everything up and normalise once, at the end.",
                "In post-norm every layer has its norm. What is the size after the first one?",
            ),
            Misconception(
                "one layer",
                lambda: 0.5**0.5,
                "That is right for one layer. There are sixteen.",
                "The second layer does to its input what the first did to x.",
            ),
            Misconception(
                "one layer, halved",
                lambda: 0.5,
                "You halve once. There are sixteen layers, and the size of a sum of unrelated "
                "numbers is not 2.",
                "Variances add up. What does one layer divide by, and how often is it done?",
            ),
            Misconception(
                "fifteen norms",
                lambda: 0.5**7.5,
                "You count one norm too few.",
                "Each of the sixteen layers ends with a norm, the last one as well.",
            ),
            Misconception(
                "upside down",
                lambda: 256.0,
                "You say how many times smaller it is. Asked for is the factor itself.",
                "A factor below 1 is less than all.",
            ),
            Misconception(
                "nothing left",
                lambda: 0.0,
                "It is not much, but a product of sixteen factors is only 0 if one of them is.",
                "Find the factor of a single layer first.",
            ),
        ),
    ),
    Exercise(
        name="contributions",
        lesson="03_residual_blocks",
        axes="k+1 b n d",
        kind="extend",
        draw=_draw_layers,
        solution=_contributions,
        alternatives=(_by_difference, _by_sum_so_far, _by_recursion),
        misconceptions=(
            Misconception(
                "sums so far",
                _states,
                "Your items are what x has become after each layer, not what each layer added.",
                "Your items, added up, should give the output. Yours contain x again and again.",
            ),
            Misconception(
                "every layer reads the first x",
                lambda x, layers: torch.stack([x, *(f(x) for f in layers)]),
                "Every layer is given the x of the beginning.",
                "Layer 1 reads what layer 0 has left: x and what was added to it.",
            ),
            Misconception(
                "no residual",
                _one_after_another,
                "Each layer reads only what the one before it added: the way around is missing.",
                "What a layer returns is added to x, and the sum goes on.",
            ),
            Misconception(
                "start left out",
                lambda x, layers: _contributions(x, layers)[1:],
                "The first item is missing: x itself, as it came in.",
                "Your items, added up, should give the output. What do they lack?",
            ),
            Misconception(
                "last layer left out",
                lambda x, layers: _contributions(x, layers)[:-1],
                "The last layer is missing.",
                "Is what a layer adds noted before or after you go on to the next?",
            ),
            Misconception(
                "start replaced by the output",
                _added_in_place,
                "Your first item is the output of the whole stack. Was x changed, by += or "
                "under its old name, after you kept it?",
                "A list holds the tensor, not a copy of it. `x = x + ...` makes a new one.",
            ),
            Misconception(
                "start at the end",
                lambda x, layers: _contributions(x, layers).roll(-1, 0),
                "The parts are right, but x stands at the end.",
                "Item 0 is x, item 1 what the first layer adds.",
            ),
            Misconception(
                "output at the end",
                lambda x, layers: torch.cat(
                    [_contributions(x, layers)[1:], _states(x, layers)[-1:]]
                ),
                "Your last item is the output of the stack, and x is missing.",
                "The items should add up to the output, so it is not one of them.",
            ),
            Misconception(
                "output as one more item",
                lambda x, layers: torch.cat([_contributions(x, layers), _states(x, layers)[-1:]]),
                "The output stands at the end as one more item.",
                "The items should add up to the output, so it is not one of them.",
            ),
            Misconception(
                "everything since the start",
                _since_the_start,
                "Your item k holds what layers 1 to k added together.",
                "What did this layer add, compared with the one before it?",
            ),
            Misconception(
                "x in every item",
                _with_x_each,
                "Every layer reads the first x, and every item contains x once more.",
                "The items add up to the output, in which x stands once.",
            ),
            Misconception(
                "layers backwards",
                _layers_backwards,
                "You begin with the last layer.",
                "The first layer of the list is the first that x meets.",
            ),
            Misconception(
                "f(x) for the new x",
                _output_as_new_x,
                "You take f(x) for the new x, and f(x) - x for what the layer added.",
                "The residual is yours: after layer f, x has become x + f(x).",
            ),
        ),
        hints=(
            "After two layers the output is x + f1(x) + f2(...). What does f2 read, and which of "
            "the three terms is which item?",
            "Keep two things: the sum so far, which the next layer reads, and a list of what was "
            "added to it.",
            "parts = [x]; for each f: added = f(the sum so far), put it into parts, and make a new "
            "sum (no +=). torch.stack(parts) at the end.",
        ),
    ),
)
