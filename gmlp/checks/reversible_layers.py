"""Lesson 10: what a right, and each known wrong, answer looks like."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.reversible_layers import ReversibleBlock

Layer = Callable[[Tensor], Tensor]
Pair = tuple[Layer, Layer]
Two = tuple[Tensor, Tensor]
Four = tuple[Tensor, Tensor, Tensor, Tensor]


class _Layer(nn.Module):
    """One matrix, then tanh or dropout: small, because every run of a check copies it."""

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d, d))
        self.dropout = dropout

    def __repr__(self) -> str:
        return "a layer with dropout" if self.dropout else "a layer"

    def forward(self, x: Tensor) -> Tensor:
        out = x @ self.weight
        return F.dropout(out, self.dropout, self.training) if self.dropout else torch.tanh(out)


def _layer(rng: Draw, d: int, dropout: float = 0.0) -> nn.Module:
    """A layer that no other one equals."""
    return rng.refill(_Layer(d, dropout))


def _draw_pair(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3)
    return rng.normal(b, n, d), rng.normal(b, n, d), _layer(rng, d), _layer(rng, d)


def _reversible_forward(x1: Tensor, x2: Tensor, f: Layer, g: Layer) -> Two:
    y1 = x1 + f(x2)
    y2 = x2 + g(y1)
    return y1, y2


def _one_stream_updated(x1: Tensor, x2: Tensor, f: Layer, g: Layer) -> Two:
    x1 = x1 + f(x2)
    x2 = x2 + g(x1)
    return x1, x2


def _separate_streams(x1: Tensor, x2: Tensor, f: Layer, g: Layer) -> Two:
    return x1 + f(x1), x2 + g(x2)


# A whole stack, undone


def _draw_stack(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3)
    depth = (3, 2, 1)[rng.number]
    pairs = [(_layer(rng, d), _layer(rng, d)) for _ in range(depth)]
    return rng.normal(b, n, d), rng.normal(b, n, d), pairs


def _inverse_stack(y1: Tensor, y2: Tensor, layers: Sequence[Pair]) -> Two:
    for f, g in reversed(layers):
        y2 = y2 - g(y1)
        y1 = y1 - f(y2)
    return y1, y2


def _undo(y1: Tensor, y2: Tensor, f: Layer, g: Layer) -> Two:
    x2 = y2 - g(y1)
    return y1 - f(x2), x2


def _undo_f_first(y1: Tensor, y2: Tensor, f: Layer, g: Layer) -> Two:
    x1 = y1 - f(y2)
    return x1, y2 - g(x1)


def _undo_with_plus(y1: Tensor, y2: Tensor, f: Layer, g: Layer) -> Two:
    x2 = y2 + g(y1)
    return y1 + f(x2), x2


def _over_layers(
    undo: Callable[[Tensor, Tensor, Layer, Layer], Two],
    order: Callable[[Sequence[Pair]], Iterable[Pair]] = reversed,
) -> Callable[[Tensor, Tensor, Sequence[Pair]], Two]:
    """Apply ``undo`` to one pair after the other, each to what the last one gave."""

    def inverse_stack(y1: Tensor, y2: Tensor, layers: Sequence[Pair]) -> Two:
        for f, g in order(layers):
            y1, y2 = undo(y1, y2, f, g)
        return y1, y2

    return inverse_stack


def _all_g_then_all_f(y1: Tensor, y2: Tensor, layers: Sequence[Pair]) -> Two:
    for _, g in reversed(layers):
        y2 = y2 - g(y1)
    for f, _ in reversed(layers):
        y1 = y1 - f(y2)
    return y1, y2


def _by_blocks(y1: Tensor, y2: Tensor, layers: Any) -> Two:
    for f, g in layers[::-1]:
        y1, y2 = ReversibleBlock(f, g).inverse(y1, y2)
    return y1, y2


def _by_recursion(y1: Tensor, y2: Tensor, layers: Sequence[Pair]) -> Two:
    if not layers:
        return y1, y2
    *before, last = layers
    return _by_recursion(*_undo(y1, y2, *last), before)


def _by_index(y1: Tensor, y2: Tensor, layers: Sequence[Pair]) -> Two:
    streams = torch.stack((y1, y2))
    for k in range(len(layers) - 1, -1, -1):
        f, g = layers[k]
        x2 = streams[1] - g(streams[0])
        streams = torch.stack((streams[0] - f(x2), x2))
    return streams[0], streams[1]


# With dropout


def _draw_dice(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3)
    f, g = _layer(rng, d, dropout=0.5), _layer(rng, d, dropout=0.5)
    x1, x2 = rng.normal(b, n, d), rng.normal(b, n, d)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(rng.integer(1, 10**6))
        before_f = torch.get_rng_state()
        y1 = x1 + f(x2)
        torch.rand(1)  # so that g does not simply go on where f stopped
        before_g = torch.get_rng_state()
        y2 = x2 + g(y1)
    return y1, y2, f, g, (before_f, before_g)


def _inverse_with_dropout(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    before_f, before_g = dice
    torch.set_rng_state(before_g)
    x2 = y2 - g(y1)
    torch.set_rng_state(before_f)
    x1 = y1 - f(x2)
    return x1, x2


def _found_inverse_with_dropout(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    before_f, before_g = dice
    torch.set_rng_state(before_f)
    x2 = y2 - g(y1)
    torch.set_rng_state(before_g)
    x1 = y1 - f(x2)
    return x1, x2


def _with_states(for_g: int | None, for_f: int | None) -> Callable[..., Two]:
    """The right steps, with ``dice[for_g]`` before g and ``dice[for_f]`` before f, if any."""

    def undo(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
        def rolled(layer: Layer, given: Tensor, which: int | None) -> Tensor:
            if which is not None:
                torch.set_rng_state(dice[which])
            return layer(given)

        x2 = y2 - rolled(g, y1, for_g)
        return y1 - rolled(f, x2, for_f), x2

    return undo


def _states_too_late(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    before_f, before_g = dice
    x2 = y2 - g(y1)
    torch.set_rng_state(before_g)
    x1 = y1 - f(x2)
    torch.set_rng_state(before_f)
    return x1, x2


def _dice_for_both_at_once(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    torch.set_rng_state(dice[1])
    torch.set_rng_state(dice[0])
    return _undo(y1, y2, f, g)


def _f_first_with_dice(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    torch.set_rng_state(dice[0])
    x1 = y1 - f(y2)
    torch.set_rng_state(dice[1])
    return x1, y2 - g(x1)


def _f_of_y2_with_dice(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    torch.set_rng_state(dice[1])
    x2 = y2 - g(y1)
    torch.set_rng_state(dice[0])
    return y1 - f(y2), x2


def _plus_with_dice(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    torch.set_rng_state(dice[1])
    x2 = y2 + g(y1)
    torch.set_rng_state(dice[0])
    return y1 + f(x2), x2


def _swapped_with_dice(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    x1, x2 = _inverse_with_dropout(y1, y2, f, g, dice)
    return x2, x1


def _fixed_seed(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    torch.manual_seed(0)
    x2 = y2 - g(y1)
    torch.manual_seed(0)
    return y1 - f(x2), x2


def _without_dropout(y1: Tensor, y2: Tensor, f: Any, g: Any, dice: Two) -> Two:
    return _undo(y1, y2, f.eval(), g.eval())


def _dice_of_the_generator(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    torch.default_generator.set_state(dice[1])
    x2 = torch.sub(y2, g(y1))
    torch.default_generator.set_state(dice[0])
    return torch.sub(y1, f(x2)), x2


def _dice_put_back(y1: Tensor, y2: Tensor, f: Layer, g: Layer, dice: Two) -> Two:
    def same_again(layer: Layer, given: Tensor, state: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            return layer(given)

    before_f, before_g = dice
    x2 = y2 - same_again(g, y1, before_g)
    return y1 - same_again(f, x2, before_f), x2


# The gradients, by hand


def _draw_backward(rng: Draw) -> tuple[Any, ...]:
    b, n, d = rng.sizes(3)
    tensors = [rng.normal(b, n, d) for _ in range(4)]
    return *tensors, _layer(rng, d), _layer(rng, d)


def _run_backward(
    answer: Callable[..., Any],
    y1: Tensor,
    y2: Tensor,
    d1: Tensor,
    d2: Tensor,
    f: Layer,
    g: Layer,
) -> Any:
    """As in a backward pass: what comes in has no graph, and nothing is recorded unasked."""
    with torch.no_grad():
        found = answer(y1.detach(), y2.detach(), d1.detach(), d2.detach(), f, g)
    if not isinstance(found, list | tuple):
        return found
    return tuple(one.detach() if isinstance(one, Tensor) else one for one in found)


def _again(layer: Layer, given: Tensor, gradient: Tensor) -> Two:
    with torch.enable_grad():
        given = given.detach().requires_grad_()
        out = layer(given)
    (found,) = torch.autograd.grad(out, given, gradient)
    return out.detach(), found


def _backward_step(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    out, more = _again(g, y1, d2)
    x2, d1 = y2 - out, d1 + more
    out, more = _again(f, x2, d1)
    x1, d2 = y1 - out, d2 + more
    return x1, x2, d1, d2


def _backward_with(
    *,
    direct: float = 1.0,
    through_g: float = 1.0,
    through_f: float = 1.0,
    into_g: Callable[[Tensor, Tensor], Tensor] = lambda d1, d2: d2,
    into_f: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda d1, d2, new1: new1,
    swapped: bool = False,
    back: Callable[[Layer, Tensor, Tensor], Tensor] = lambda layer, given, d: _again(
        layer, given, d
    )[1],
) -> Callable[..., Four]:
    """The right inputs, with gradients in which one thing is changed."""

    def step(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
        x1, x2 = _undo(y1, y2, f, g)
        new1 = direct * d1 + through_g * back(g, y1, into_g(d1, d2))
        new2 = direct * d2 + through_f * back(f, x2, into_f(d1, d2, new1))
        return (x1, x2, new2, new1) if swapped else (x1, x2, new1, new2)

    return step


def _of_the_sum(layer: Layer, given: Tensor, d: Tensor) -> Tensor:
    return _again(layer, given, torch.ones_like(d))[1]


def _f_at_y2(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    out, more = _again(g, y1, d2)
    x2, d1 = y2 - out, d1 + more
    out, more = _again(f, y2, d1)
    return y1 - out, x2, d1, d2 + more


def _f_before_g(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    out, more = _again(f, y2, d1)
    x1, d2 = y1 - out, d2 + more
    out, more = _again(g, x1, d2)
    return x1, y2 - out, d1 + more, d2


def _through_the_inverse(
    y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer
) -> Four:
    with torch.enable_grad():
        y1, y2 = y1.requires_grad_(), y2.requires_grad_()
        x1, x2 = _undo(y1, y2, f, g)
    new1, new2 = torch.autograd.grad((x1, x2), (y1, y2), (d1, d2))
    return x1, x2, new1, new2


def _nothing_recorded(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    y1 = y1.detach().requires_grad_()
    (more,) = torch.autograd.grad(g(y1), y1, d2)
    x1, x2 = _undo(y1, y2, f, g)
    return x1, x2, d1 + more, d2


def _not_watched(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    with torch.enable_grad():
        (more,) = torch.autograd.grad(g(y1), y1, d2)
    x1, x2 = _undo(y1, y2, f, g)
    return x1, x2, d1 + more, d2


def _grad_is_none(y1: Any, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    with torch.enable_grad():
        g(y1).backward(d2)
    x1, x2 = _undo(y1, y2, f, g)
    return x1, x2, d1 + y1.grad, d2


def _graph_of_g_again(y1: Any, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    with torch.enable_grad():
        y1 = y1.requires_grad_()
        out = g(y1)
        out.backward(d2)
        x2 = y2 - out
        f(x2).backward(d1 + y1.grad)
    return y1, x2, d1, d2


def _sums_exchanged(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    out, more = _again(g, y1, d2)
    x2, d2 = y2 - out, d2 + more
    out, more = _again(f, x2, d1)
    return y1 - out, x2, d1 + more, d2


def _g_at_x1(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    x1, x2 = _undo(y1, y2, f, g)
    d1 = d1 + _again(g, x1, d2)[1]
    return x1, x2, d1, d2 + _again(f, x2, d1)[1]


def _in_pairs(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    x1, x2, d1, d2 = _backward_step(y1, y2, d1, d2, f, g)
    return x1, d1, x2, d2


def _forward_once_more(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    x1, x2 = (x.detach().requires_grad_() for x in _undo(y1, y2, f, g))
    with torch.enable_grad():
        outputs = _reversible_forward(x1, x2, f, g)
    new1, new2 = torch.autograd.grad(outputs, (x1, x2), (d1, d2))
    return x1, x2, new1, new2


def _by_vjp(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    from_g, back_through_g, *_ = torch.func.vjp(g, y1)
    x2, d1 = y2 - from_g, d1 + back_through_g(d2)[0]
    from_f, back_through_f, *_ = torch.func.vjp(f, x2)
    return y1 - from_f, x2, d1, d2 + back_through_f(d1)[0]


def _by_grad_attribute(y1: Tensor, y2: Tensor, d1: Tensor, d2: Tensor, f: Layer, g: Layer) -> Four:
    torch.set_grad_enabled(True)
    y1 = y1.clone().requires_grad_()
    out = g(y1)
    out.backward(d2)
    assert y1.grad is not None
    d1 = d1 + y1.grad
    x2 = (y2 - out).detach().requires_grad_()
    out = f(x2)
    (out * d1).sum().backward()
    assert x2.grad is not None
    return y1 - out, x2, d1, d2 + x2.grad


# Rounding


def _numbers_that_return() -> int:
    x1 = torch.arange(100.0)
    y1 = x1 + 2.0**26
    return int((y1 - 2.0**26 == x1).sum())


def _streams_change_places(
    y1: Tensor, y2: Tensor, layers: list[tuple[Layer, Layer]]
) -> tuple[Tensor, Tensor]:
    for f, g in reversed(layers):
        x2 = y2 - g(y1)
        x1 = y1 - f(x2)
        y1, y2 = x2, x1
    return x1, x2


def _first_stream_not_handed_on(
    y1: Tensor, y2: Tensor, layers: list[tuple[Layer, Layer]]
) -> tuple[Tensor, Tensor]:
    x1 = y1
    for f, g in reversed(layers):
        y2 = y2 - g(y1)
        x1 = y1 - f(y2)
    return x1, y2


EXERCISES = (
    Exercise(
        name="reversible_forward",
        lesson="10_reversible_layers",
        axes="b n d, b n d",
        parts=("y1", "y2"),
        draw=_draw_pair,
        solution=_reversible_forward,
        alternatives=(
            lambda x1, x2, f, g: ReversibleBlock(f, g)(x1, x2),
            _one_stream_updated,
            lambda x1, x2, f, g: (torch.add(f(x2), x1), g(f(x2) + x1) + x2),
            lambda x1, x2, f, g: [x1 + f(x2), x2 + g(x1 + f(x2))],
        ),
        misconceptions=(
            Misconception(
                "f twice",
                lambda x1, x2, f, g: _reversible_forward(x1, x2, f, f),
                "You use f in both halves; g is never called.",
                "Each half has a layer of its own.",
            ),
            Misconception(
                "g reads x1",
                lambda x1, x2, f, g: (x1 + f(x2), x2 + g(x1)),
                "Your g reads x1 as it came in, so both layers work on the old streams.",
                "Which stream has changed already when g is called?",
            ),
            Misconception(
                "g reads x2",
                lambda x1, x2, f, g: (x1 + f(x2), x2 + g(x2)),
                "Your g reads x2, the stream to which it adds.",
                "Follow the arrow that leads into g in the chapter's figure. Where does it start?",
            ),
            Misconception(
                "g reads what f added",
                lambda x1, x2, f, g: (x1 + f(x2), x2 + g(f(x2))),
                "Your g reads only what f has added, without the stream to which it was added.",
                "f(x2) and y1 are not the same. What is missing in the first?",
            ),
            Misconception(
                "f reads x1",
                lambda x1, x2, f, g: (x1 + f(x1), x2 + g(x1 + f(x1))),
                "Your f reads x1, the stream to which it adds.",
                "Each layer reads one stream and adds to the other.",
            ),
            Misconception(
                "each stream by itself",
                _separate_streams,
                "Your streams never meet: each layer reads the stream to which it adds.",
                "That is x + f(x) twice, and 10.2 shows that it cannot be undone. Who has to read "
                "whom?",
            ),
            Misconception(
                "f and g swapped",
                lambda x1, x2, f, g: (x1 + g(x2), x2 + f(x1 + g(x2))),
                "You call g first and f second.",
                "Which of the two layers changes the first stream?",
            ),
            Misconception(
                "streams swapped",
                lambda x1, x2, f, g: (x2 + f(x1), x1 + g(x2 + f(x1))),
                "You took the streams the other way round: f reads x1 and adds to x2.",
                "f belongs to the line for y1, which starts from x1.",
            ),
            Misconception(
                "second stream changed first",
                lambda x1, x2, f, g: (x1 + f(x2 + g(x1)), x2 + g(x1)),
                "You change the second stream first, and f reads it when it has changed.",
                "The first line needs nothing but x1 and x2. Which line is that?",
            ),
            Misconception(
                "outputs swapped",
                lambda x1, x2, f, g: _reversible_forward(x1, x2, f, g)[::-1],
                "Both streams are right, but you return the second before the first.",
                "Look at the order in your return line.",
            ),
            Misconception(
                "nothing added to x1",
                lambda x1, x2, f, g: (f(x2), x2 + g(f(x2))),
                "Your first stream is f(x2) alone: x1 is lost, and nothing can bring it back.",
                "A layer adds to a stream. It does not replace it.",
            ),
            Misconception(
                "nothing added to x2",
                lambda x1, x2, f, g: (x1 + f(x2), g(x1 + f(x2))),
                "Your second stream is what g returns, alone: x2 is lost from it.",
                "A layer adds to a stream. It does not replace it.",
            ),
            Misconception(
                "no stream kept",
                lambda x1, x2, f, g: (f(x2), g(f(x2))),
                "You only chain f and g: neither stream is left in your answer.",
                "A layer adds to a stream. It does not replace it.",
            ),
            Misconception(
                "streams added up",
                lambda x1, x2, f, g: sum(_reversible_forward(x1, x2, f, g)),
                "You add the two streams up. That is done once, after the last pair of a stack.",
                "From the sum alone nobody finds the two streams again. Return both.",
            ),
            Misconception(
                "subtracted",
                lambda x1, x2, f, g: (x1 - f(x2), x2 - g(x1 - f(x2))),
                "You subtract what the layers return. That is how a pair is undone.",
                "This is the way there, not the way back.",
            ),
        ),
        hints=(
            "Two lines are to be computed. Which of them can you compute at once, and what does "
            "the other one wait for?",
            "f reads the second stream and adds to the first. Then g reads the first stream, as "
            "it is by then, and adds to the second.",
            "`y1 = x1 + ...` with f of a stream, then `y2 = x2 + ...` with g of what the first "
            "line gave; return both, in this order.",
        ),
    ),
    Exercise(
        name="inverse_stack",
        lesson="10_reversible_layers",
        axes="b n d, b n d",
        parts=("x1", "x2"),
        draw=_draw_stack,
        solution=_inverse_stack,
        alternatives=(_by_blocks, _by_recursion, _by_index),
        misconceptions=(
            Misconception(
                "first all g, then all f",
                _all_g_then_all_f,
                "You undo all g first, and then all f.",
                "The last pair ran as a whole, after all others. Undo it as a whole.",
            ),
            Misconception(
                "first pair first",
                _over_layers(_undo, iter),
                "You undo each pair rightly, but you begin with the first pair of the stack.",
                "Socks and shoes again, one size larger: which pair was put on last?",
            ),
            Misconception(
                "f before g",
                _over_layers(_undo_f_first),
                "The pairs come off in the right order, but in each you undo f before g.",
                "When f was called, the second stream was still what it had been before g.",
            ),
            Misconception(
                "everything in the order of the way there",
                _over_layers(_undo_f_first, iter),
                "You go the way there once more, with minus for plus: first pair first, f before "
                "g.",
                "What was put on last has to come off first, among the pairs and within each pair.",
            ),
            Misconception(
                "f reads the old y2",
                _over_layers(lambda y1, y2, f, g: (y1 - f(y2), y2 - g(y1))),
                "Your f reads y2 as it came in, not the stream from which g has been taken away.",
                "What had f been given on the way there? You have it after the first of the two "
                "steps.",
            ),
            Misconception(
                "f and g swapped",
                _over_layers(lambda y1, y2, f, g: _undo(y1, y2, g, f)),
                "You take f away from the second stream and g from the first.",
                "g had added to the second stream, so g is what you take away from it.",
            ),
            Misconception(
                "plus for minus",
                _over_layers(_undo_with_plus),
                "You add once more what the layers had added.",
                "To undo an addition, do what?",
            ),
            Misconception(
                "the way there",
                _over_layers(_reversible_forward, iter),
                "You run the stack forwards once more.",
                "The answer are the streams that went *in*.",
            ),
            Misconception(
                "outputs swapped",
                lambda y1, y2, layers: _inverse_stack(y1, y2, layers)[::-1],
                "Both streams come back, but you return the second before the first.",
                "Look at the order in your return line.",
            ),
            Misconception(
                "streams swapped at each pair",
                _over_layers(lambda y1, y2, f, g: _undo(y1, y2, f, g)[::-1]),
                "After each pair your two streams change places.",
                "Where one pair hands over to the next, the first stream should stay the first.",
            ),
            Misconception(
                "last pair only",
                lambda y1, y2, layers: _undo(y1, y2, *layers[-1]),
                "Only the last pair of the stack is undone.",
                "Does a `return` stand inside the loop, or does each turn start from y1 and y2 "
                "as they came in?",
            ),
            Misconception(
                "first pair only",
                lambda y1, y2, layers: _undo(y1, y2, *layers[0]),
                "What you return is what the first pair makes of the last outputs; what the other "
                "turns of your loop found is lost.",
                "Each turn should start from what the turn before has found.",
            ),
            Misconception(
                "one pair too few",
                lambda y1, y2, layers: _inverse_stack(y1, y2, layers[1:]),
                "The first pair of the stack is never undone.",
                "Which numbers does your loop count through? A range stops before its end.",
            ),
            Misconception(
                "streams change places",
                _streams_change_places,
                "You let the streams change places between two pairs.",
                "In `reversible_forward`, does stream 1 stay stream 1?",
            ),
            Misconception(
                "first stream not handed on",
                _first_stream_not_handed_on,
                "You undo f, but you do not hand the new first stream on to the next pair.",
                "What does the pair before take as its first stream?",
            ),
        ),
        hints=(
            "You hold the outputs of the last pair. Which pair can you undo with them, and what "
            "do you hold then?",
            "Go through the layers from the last to the first, `reversed(layers)`. In each pair "
            "two lines undo the two lines of the way there, the second one first.",
            "for f, g in reversed(layers): first change y2, with g of y1 taken away; then y1, "
            "with f of the new y2 taken away. Return both after the loop.",
        ),
    ),
    Exercise(
        name="inverse_with_dropout",
        lesson="10_reversible_layers",
        axes="b n d, b n d",
        parts=("x1", "x2"),
        kind="debug",
        draw=_draw_dice,
        solution=_inverse_with_dropout,
        stub=_found_inverse_with_dropout,
        alternatives=(_dice_of_the_generator, _dice_put_back, _with_states(1, 0)),
        misconceptions=(
            Misconception(
                "states set after the layers",
                _states_too_late,
                "You set each state after its layer has run. By then it has drawn.",
                "When does a layer look at the state: while it runs, or afterwards?",
            ),
            Misconception(
                "states exchanged",
                _with_states(0, 1),
                "g still gets the dice of f, and f those of g.",
                "The states are noted in the order of the way there. Which layer runs first here?",
            ),
            Misconception(
                "no state set",
                lambda y1, y2, f, g, dice: _undo(y1, y2, f, g),
                "You set no state back, so the layers drop other numbers than on the way there.",
                "`dice` holds what the generator was before each of the two layers.",
            ),
            Misconception(
                "state set for g only",
                _with_states(1, None),
                "g drops the same numbers again, but f goes on from where g left the generator.",
                "How many layers draw, and for how many do you set the state?",
            ),
            Misconception(
                "state set for f only",
                _with_states(None, 0),
                "f would drop the same numbers again, but g draws new ones.",
                "How many layers draw, and for how many do you set the state?",
            ),
            Misconception(
                "state of g for both",
                _with_states(1, 1),
                "Both layers run with the dice of g.",
                "On the way there, f did not draw the same numbers as g.",
            ),
            Misconception(
                "state of f for both",
                _with_states(0, 0),
                "Both layers run with the dice of f.",
                "On the way there, g did not draw the same numbers as f.",
            ),
            Misconception(
                "both states set at the start",
                _dice_for_both_at_once,
                "You set both states before a layer runs; the second one wipes out the first.",
                "A state holds until somebody draws. Set each just before its layer.",
            ),
            Misconception(
                "f undone first",
                _f_first_with_dice,
                "The dice are right, but now you undo f before g.",
                "f had read the second stream before g changed it. Only the states were wrong in "
                "the code that you were given.",
            ),
            Misconception(
                "f reads y2",
                _f_of_y2_with_dice,
                "The dice are right, but your f reads y2, to which g has added.",
                "Only the states were wrong in the code that you were given.",
            ),
            Misconception(
                "plus for minus",
                _plus_with_dice,
                "The dice are right, but you add once more what the layers had added.",
                "Only the states were wrong in the code that you were given.",
            ),
            Misconception(
                "outputs swapped",
                _swapped_with_dice,
                "Both streams come back, but you return the second before the first.",
                "Look at the order in your return line.",
            ),
            Misconception(
                "a seed of your own",
                _fixed_seed,
                "You set a seed of your own. Your runs repeat each other, not the way there.",
                "The numbers that were drawn on the way there follow from the states in `dice`.",
            ),
            Misconception(
                "dropout switched off",
                _without_dropout,
                "You switch dropout off with eval(). On the way there it was on.",
                "What is taken away must be what was added, with its zeros.",
            ),
        ),
        hints=(
            "Write down in which order f and g ran on the way there, and in which order they run "
            "here. What does that mean for their dice?",
            "A state belongs to the layer that ran right after it was noted. Follow each of the "
            "two states to the call that it serves here.",
            "Two steps, each of two lines: set the state from before this layer, then undo this "
            "layer. g comes first, as before.",
        ),
    ),
    Exercise(
        name="backward_step",
        lesson="10_reversible_layers",
        axes="b n d, b n d, b n d, b n d",
        parts=("x1", "x2", "the gradient of x1", "the gradient of x2"),
        kind="extend",
        draw=_draw_backward,
        use=_run_backward,
        solution=_backward_step,
        alternatives=(_forward_once_more, _by_vjp, _by_grad_attribute),
        misconceptions=(
            Misconception(
                "direct paths forgotten",
                _backward_with(direct=0.0),
                "Your gradients hold only what comes back through the layers.",
                "A stream also passes a pair directly. What does the loss feel through that path?",
            ),
            Misconception(
                "path through g forgotten",
                _backward_with(through_g=0.0),
                "Nothing comes back through g: the gradient of x1 is d1 as it was given.",
                "Does the loss feel y1 in one way, or in two?",
            ),
            Misconception(
                "path through f forgotten",
                _backward_with(through_f=0.0),
                "Nothing comes back through f: the gradient of x2 is d2 as it was given.",
                "x2 went into y2 directly. Where else did it go?",
            ),
            Misconception(
                "neither path through a layer",
                _backward_with(through_g=0.0, through_f=0.0),
                "Your gradients are d1 and d2 as they were given; nothing comes back through the "
                "layers.",
                "Each stream was also read by a layer. Send a gradient back through each.",
            ),
            Misconception(
                "f gets the old d1",
                _backward_with(into_f=lambda d1, d2, new1: d1),
                "You send d1 as it was given back through f. What came through g is missing there.",
                "f had a share in y1, and y1 is felt in two ways. When is its gradient complete?",
            ),
            Misconception(
                "f at y2",
                _f_at_y2,
                "You run f on y2. On the way there it had been given x2.",
                "One of the streams that you need is found in the first half of the step.",
            ),
            Misconception(
                "f before g",
                _f_before_g,
                "You take f before g. Then f is run on a stream that it has never seen.",
                "Shoes, then socks: which of the two layers ran last?",
            ),
            Misconception(
                "gradients of sums",
                _backward_with(back=_of_the_sum),
                "You take the gradient of the sum of what a layer returns, as if each output "
                "counted 1.",
                "How much each output counts for the loss is given to you. Hand it to the "
                "backward pass of the layer.",
            ),
            Misconception(
                "gradients subtracted",
                _backward_with(through_g=-1.0, through_f=-1.0),
                "You subtract what comes back through the layers.",
                "The streams are undone with a minus. But on the way there the layers *added*.",
            ),
            Misconception(
                "through the inverse",
                _through_the_inverse,
                "You send the gradients backwards through the way *back*, that is through "
                "y2 - g(y1) and y1 - f(x2).",
                "The gradients belong to the way there, to x1 + f(x2) and x2 + g(y1).",
            ),
            Misconception(
                "layers called on gradients",
                _backward_with(back=lambda layer, given, d: layer(d)),
                "You call the layers on the gradients. That runs them forwards.",
                "To send a gradient back, record a run of the layer and use `torch.autograd.grad` "
                "or `.backward`.",
            ),
            Misconception(
                "gradients times outputs",
                _backward_with(back=lambda layer, given, d: d * layer(given)),
                "You multiply a gradient by what the layer returns.",
                "The chain rule wants the derivative of the layer there, not its value. Autograd "
                "has it.",
            ),
            Misconception(
                "gradients swapped",
                _backward_with(swapped=True),
                "The gradients are right, but you return the second before the first.",
                "Asked for are x1, x2, and then their gradients in the same order.",
            ),
            Misconception(
                "nothing recorded",
                _nothing_recorded,
                "You run a layer where nothing is recorded, so there is no graph to go back "
                "through.",
                "How does the chapter's `backward` ask torch to record, for a moment?",
            ),
            Misconception(
                "not watched",
                _not_watched,
                "You ask for the gradient of a tensor that nobody has told torch to watch.",
                "`.detach().requires_grad_()` makes one that is watched. Give that to the layer.",
            ),
            Misconception(
                "no gradient collected",
                _grad_is_none,
                "You read `.grad` of a tensor that nobody has told torch to watch. It is None.",
                "`.detach().requires_grad_()` makes one that is watched. Give that to the layer.",
            ),
            Misconception(
                "graph of g used again",
                _graph_of_g_again,
                "Your x2 hangs on the recorded run of g, so the backward pass of f goes on into g, "
                "whose graph has been used up.",
                "Each layer has a small backward pass of its own. Cut x2 off before you give it "
                "to f.",
            ),
            Misconception(
                "gradients crossed",
                _backward_with(into_g=lambda d1, d2: d1, into_f=lambda d1, d2, new1: d2),
                "You send d1 through g and d2 through f.",
                "g adds to the second stream. Which gradient belongs to its output?",
            ),
            Misconception(
                "f gets d2",
                _backward_with(into_f=lambda d1, d2, new1: d2),
                "You send d2 through f as well.",
                "f adds to the first stream. Which gradient belongs to its output?",
            ),
            Misconception(
                "sums exchanged",
                _sums_exchanged,
                "You add what comes back through g to d2, and what comes back through f to d1.",
                "g was given y1. For which stream is what comes back at its input?",
            ),
            Misconception(
                "g at x1",
                _g_at_x1,
                "You run g on x1. On the way there it had been given y1.",
                "g came after f: what did the first stream hold by then?",
            ),
            Misconception(
                "each with its gradient",
                _in_pairs,
                "All four are right, but in another order: x1, its gradient, x2, its gradient.",
                "Asked for are x1, x2, and then their gradients in the same order.",
            ),
        ),
        hints=(
            "In the chapter's `backward`, what does one turn of the loop hold at its start, and "
            "what at its end?",
            "Write a small tool first: run a layer on a detached tensor that requires a gradient, "
            "and send a gradient back through it. You need it twice, first for g, then for f.",
            "g: run it on y1 and send d2 back; this gives x2 and the gradient of x1, a sum of two "
            "terms. f: run it on x2 and send that sum back; this gives x1 and the gradient of "
            "x2, again a sum of two.",
        ),
    ),
    prediction(
        "numbers_that_return",
        "10_reversible_layers",
        _numbers_that_return,
        because="From 2**26 to 2**27 the numbers of float32 lie 8 apart, so only multiples of 8 "
        "find a place there: 0, 8, 16, ... 96. The others come back as a neighbour.",
        alternatives=(lambda: 13, lambda: len(range(0, 100, 8))),
        misconceptions=(
            Misconception(
                "all of them",
                lambda: 100,
                "You take it that nothing is lost, because all of these are whole numbers.",
                "With 2**26 in front, how many digits does 67,108,867 have, and how many has "
                "float32?",
            ),
            Misconception(
                "none of them",
                lambda: 0,
                "You take it that everything is lost beside so large a number.",
                "Start with the 0. What is 0 + 2**26 - 2**26?",
            ),
            Misconception(
                "only the 0",
                lambda: 1,
                "You take it that only the 0 comes back, because 2**26 leaves no room for digits.",
                "How far apart are the numbers of float32 just above 2**26? Some of the hundred "
                "may hit one of them.",
            ),
            Misconception(
                "gap of 2",
                lambda: 50,
                "You count every second number. The gap is 2 from 2**24 to 2**25.",
                "Above 2**25 the gap has doubled again, and so it goes on.",
            ),
            Misconception(
                "gap of 4",
                lambda: 25,
                "You count every fourth number. The gap is 4 from 2**25 to 2**26.",
                "Our sums lie above 2**26, not below. How wide is the gap there?",
            ),
            Misconception(
                "0 not counted",
                lambda: 12,
                "You divide a hundred by the gap and round down. That counts one too few.",
                "Write down the first and the last number that come back, and count both.",
            ),
            Misconception(
                "gap of 16",
                lambda: 7,
                "You count every sixteenth number. The gap is 16 from 2**27 on.",
                "Up to 2**24 the gap is 1. How often does it double until you are above 2**26?",
            ),
            Misconception(
                "gap of four",
                lambda: 26,
                "You have a gap of 4, and count 0 as one more.",
                "How wide is the gap beyond 2**26? It doubles at every power of two from 2**24 on.",
            ),
        ),
        hints=(
            "Take x1 = 3. Which numbers does float32 have near 2**26 + 3?",
            "From 2**24 to 2**25 only every second whole number is there, from 2**25 to 2**26 "
            "every fourth. Go on.",
            "A number comes back if 2**26 plus this number is one that float32 has. Count from 0 "
            "to 99 in steps of the gap above 2**26.",
        ),
    ),
)
