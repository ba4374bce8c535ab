"""How an answer is checked: draw inputs, run it beside the solution, name the first fault.

An exercise is data (:class:`Exercise`), and so is a known mistake (:class:`Misconception`): a piece
of wrong code that runs on the same inputs. When the answer computes what the wrong code computes,
we know what the learner did. Every module of this package but this one holds one lesson's
exercises in a tuple called ``EXERCISES``.
"""

import difflib
import functools
import html
import importlib
import inspect
import linecache
import pkgutil
import re
import secrets
import traceback
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import gmlp.checks

State = Literal["not attempted", "raised", "wrong", "right"]


class Draw:
    """Random inputs for one run of an answer; the same seed gives the same inputs.

    ``number`` counts the draws of one check from 0, for exercises that want a different kind of
    input each time.
    """

    def __init__(self, generator: torch.Generator, number: int) -> None:
        self.generator = generator
        self.number = number

    def sizes(self, count: int, least: int = 2) -> list[int]:
        """Different primes: no size equals another one, nor a product of others."""
        primes = [p for p in (2, 3, 5, 7, 11) if p >= least][: max(count, 4)]
        order = torch.randperm(len(primes), generator=self.generator)
        return [primes[i] for i in order.tolist()[:count]]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float32)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from ``low`` to ``high - 1``, int64."""
        return torch.randint(low, high, shape, generator=self.generator)

    def refill(self, module: nn.Module) -> nn.Module:
        """The module with every parameter drawn afresh: initial ones hide mistakes."""
        for parameter in module.float().parameters():
            parameter.data.copy_(self.normal(*parameter.shape))
        return module


@dataclass(frozen=True)
class Misconception:
    """A known mistake, as code.

    ``what_it_means`` says what the learner's code does; ``nudge`` where to look next, without
    giving the answer.
    """

    name: str
    wrong_implementation: Callable[..., Any]
    what_it_means: str
    nudge: str


@dataclass(frozen=True)
class Exercise:
    """One function to write, and all that is known about it.

    Args:
        name: of the function; unique in the course.
        lesson: such as ``"02_causal_masking"``.
        axes: letters of the answer's axes, such as ``"b n c"``; empty for a single value.
        draw: makes the arguments for one run. Float tensors and parameters of modules among them
            get gradients, which are compared too.
        solution: a right answer.
        misconceptions: tried in this order.
        alternatives: other right answers, which the tests hold the check against.
        hints: a question, a pointer, a sketch.
        draws: how many runs make one check.
        stub: the broken code that the learner starts from, if any. Unchanged it is no mistake.
    """

    name: str
    lesson: str
    axes: str
    draw: Callable[[Draw], tuple[Any, ...]]
    solution: Callable[..., Any]
    misconceptions: tuple[Misconception, ...]
    alternatives: tuple[Callable[..., Any], ...]
    hints: tuple[str, str, str]
    draws: int = 3
    stub: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Result:
    """What :func:`check` found; shows itself as text or, in a notebook, as HTML.

    ``diagnosis`` is the name of the misconception if one fits, else the kind of fault
    (``"missing return"``, ``"type"``, ``"shape"``, ``"dtype"``, ``"not finite"``, ``"values"``,
    ``"gradients"``, ``"in place"``) or the name of the exception; ``None`` where nothing is wrong.
    """

    name: str
    state: State
    diagnosis: str | None
    lines: tuple[str, ...]
    picture: str = ""

    def __repr__(self) -> str:
        return "\n  ".join([f"{self.name}: {_HEADLINES[self.state][0]}", *self.lines])

    def _repr_html_(self) -> str:
        headline, colour = _HEADLINES[self.state]
        return _box(f"{self.name}: {headline}", self.lines, colour, self.picture)


@dataclass(frozen=True)
class Hint:
    """One hint; shows itself as text or, in a notebook, as HTML."""

    title: str
    text: str

    def __repr__(self) -> str:
        return f"{self.title}\n  {self.text}"

    def _repr_html_(self) -> str:
        return _box(self.title, (self.text,), "#0072b2")


def check(f: Callable[..., Any], *, seed: int | None = None) -> Result:
    """Check an answer, known by the name of the function.

    The answer runs on fresh random inputs beside the solution. The global random numbers of torch
    are left as they were.

    Args:
        f: the function that you wrote, not its value: ``check(mask_weights)``.
        seed: draws the same inputs again; by default they are new at each call.

    Raises:
        TypeError: ``f`` is not a function.
        ValueError: no exercise has the function's name.
    """
    if not callable(f):
        raise TypeError(
            f"check got a {type(f).__name__}; it wants the function itself. "
            "Write check(mask_weights), without calling mask_weights."
        )
    exercise = _find(getattr(f, "__name__", type(f).__name__)).exercise
    seed = secrets.randbits(63) if seed is None else seed
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are tiny: threads would only wait for each other
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)  # an answer may draw numbers of its own
            return _check(f, exercise, torch.Generator().manual_seed(seed))
    finally:
        torch.set_num_threads(threads)


def hint(f: Callable[..., Any] | str) -> Hint:
    """The next hint for an exercise, given as the function or its name.

    Raises:
        ValueError: no exercise has this name.
    """
    entry = _find(f if isinstance(f, str) else getattr(f, "__name__", type(f).__name__))
    hints = entry.exercise.hints
    number = min(entry.hints_shown, len(hints) - 1)
    entry.hints_shown = number + 1
    left = len(hints) - entry.hints_shown
    rest = f"{left} more if you need {'it' if left == 1 else 'them'}" if left else "the last one"
    return Hint(f"{entry.exercise.name}: hint {number + 1} of {len(hints)}, {rest}", hints[number])


@dataclass
class _Entry:
    exercise: Exercise
    hints_shown: int = 0


@functools.cache
def registry() -> dict[str, _Entry]:
    """Every exercise of the course by name; the lessons' modules are loaded at the first call."""
    entries: dict[str, _Entry] = {}
    for module in pkgutil.iter_modules(gmlp.checks.__path__, "gmlp.checks."):
        if module.name == __name__:
            continue
        for exercise in importlib.import_module(module.name).EXERCISES:
            if exercise.name in entries:
                raise ValueError(f"two exercises are called {exercise.name}; rename one of them")
            entries[exercise.name] = _Entry(exercise)
    return entries


def _find(name: str) -> _Entry:
    entries = registry()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, 1)
        raise ValueError(
            f"no exercise is called {name!r}"
            + (f"; did you mean {near[0]}?" if near else ".")
            + f" The exercises are: {', '.join(entries)}. Keep the name that the card gives."
        )
    return entries[name]


# Running an answer


@dataclass(frozen=True)
class _Outcome:
    """What one run did: a value with its gradients, or an error."""

    value: Any = None
    error: Exception | None = None
    gradients: dict[str, Tensor | None] | None = None  # None: the value carries no gradient
    backward_error: Exception | None = None
    changed: tuple[str, ...] = ()  # names of the inputs that were changed in place


def _run(f: Callable[..., Any], names: Sequence[str], inputs: Sequence[Any]) -> _Outcome:
    arguments: list[Any] = []
    leaves: dict[str, Tensor] = {}
    for name, given in zip(names, inputs, strict=True):
        if isinstance(given, Tensor):
            leaves[name] = given.clone().requires_grad_(given.is_floating_point())
            # A copy, because torch forbids to change a leaf in place, and we want to see that.
            arguments.append(leaves[name].clone())
        elif isinstance(given, nn.Module):
            module = deepcopy(given)
            leaves.update({f"{name}.{key}": value for key, value in module.named_parameters()})
            arguments.append(module)
        else:
            arguments.append(given)
    try:
        value = f(*arguments)
    except Exception as error:
        return _Outcome(error=error)
    changed = tuple(
        name
        for name, argument, given in zip(names, arguments, inputs, strict=True)
        if isinstance(given, Tensor) and not torch.equal(argument.detach(), given)
    )
    gradients: dict[str, Tensor | None] | None = None
    backward_error = None
    if isinstance(value, Tensor) and value.requires_grad:
        leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        generator = torch.Generator().manual_seed(0)  # the same direction for every answer
        try:
            direction = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            found = torch.autograd.grad(value, [*leaves.values()], direction, allow_unused=True)
            gradients = dict(zip(leaves, found, strict=True))
        except Exception as error:
            backward_error = error
    return _Outcome(value, None, gradients, backward_error, changed)


def _check(f: Callable[..., Any], exercise: Exercise, generator: torch.Generator) -> Result:
    def result(state: State, diagnosis: str | None, *lines: str, picture: str = "") -> Result:
        return Result(exercise.name, state, diagnosis, lines, picture)

    if exercise.stub is not None and _code(f) == _code(exercise.stub):
        return result("not attempted", None, "This is still the code that you were given.")

    names = [*inspect.signature(exercise.solution).parameters]
    cases = [exercise.draw(Draw(generator, number)) for number in range(exercise.draws)]
    answers = []
    for case in cases:
        answers.append(_run(f, names, case))
        error = answers[-1].error
        if isinstance(error, NotImplementedError) and not error.args:  # torch's own have a text
            return result(
                "not attempted", None, "Put your code where `raise NotImplementedError` stands."
            )
    targets = [_run(exercise.solution, names, case) for case in cases]

    pairs = [*zip(answers, targets, strict=True)]
    faults = [_fault(answer, target, exercise.axes) for answer, target in pairs]
    first = next((number for number, fault in enumerate(faults) if fault), None)
    if first is None:
        changed = sorted({name for answer in answers for name in answer.changed})
        if changed:
            return result("wrong", "in place", _in_place(changed))
        seen = "values and gradients" if targets[0].gradients else "answers"
        return result("right", None, f"Checked on {len(cases)} random inputs: {seen} agree.")

    answer, target = pairs[first]
    for known in exercise.misconceptions:
        if all(
            _fault(answer, _run(known.wrong_implementation, names, case), exercise.axes) is None
            for answer, case in zip(answers, cases, strict=True)
        ):
            lines = [known.what_it_means, known.nudge, *_explain(answer.error, f)]
            picture = _picture(answer.value, target.value, exercise.axes)
            return result("wrong", known.name, *lines, picture=picture)

    called = f"It was called as {_call(exercise.name, names, cases[first])}."
    if answer.error is not None:
        return result("raised", type(answer.error).__name__, *_explain(answer.error, f), called)
    kind, message = faults[first] or ("", "")
    if kind != "values":
        return result("wrong", kind, message, called)
    probes = _probes(pairs, first, exercise.axes) if isinstance(target.value, Tensor) else ()
    picture = _picture(answer.value, target.value, exercise.axes)
    return result("wrong", kind, message, *probes, called, picture=picture)


def _code(f: Callable[..., Any]) -> object:
    """What a function does, without its name, place and docstring."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    if code is None:
        return f
    constants = [constant for constant in code.co_consts if constant != f.__doc__]
    return code.co_code, code.co_names, code.co_varnames, constants


# Finding the fault


def _differs(yours: Tensor, expected: Tensor) -> Tensor:
    """Where two tensors differ by more than float32 rounding explains."""
    yours, expected = yours.detach().double(), expected.detach().double()
    scale = expected.where(expected.isfinite(), 0.0).abs().max().clamp(min=1.0)
    return ~torch.isclose(yours, expected, rtol=1e-4, atol=1e-5 * scale.item(), equal_nan=True)


def _fault(answer: _Outcome, target: _Outcome, axes: str) -> tuple[str, str] | None:
    """The first fault, as its kind and a sentence; None when the answer equals the target."""
    if answer.error is not None or target.error is not None:
        same = type(answer.error) is type(target.error) and str(answer.error) == str(target.error)
        return None if same else ("raised", "")
    yours, expected = answer.value, target.value
    if yours is None and expected is not None:
        return "missing return", (
            "Your function returned nothing (None). End it with `return` and the value; "
            "printing a value does not return it."
        )
    if not isinstance(expected, Tensor):
        if type(yours) is not type(expected):
            return "type", _type_message(yours, expected)
        return None if yours == expected else ("values", f"It returned {yours}, and should not.")
    if not isinstance(yours, Tensor):
        return "type", _type_message(yours, expected)
    if (yours.device, yours.layout) != (expected.device, expected.layout):
        return "type", (
            f"Your tensor is {yours.layout} on {yours.device}; asked for is {expected.layout} on "
            f"{expected.device}, as the inputs are."
        )
    if yours.shape != expected.shape:
        letters = f", that is ({', '.join(axes.split())})" if axes else ", a single number"
        return "shape", (
            f"Your answer has shape {tuple(yours.shape)}; "
            f"asked for is {tuple(expected.shape)}{letters}."
        )
    if yours.dtype != expected.dtype:
        return "dtype", (
            f"Your answer has dtype {yours.dtype}; asked for is {expected.dtype}, as in the inputs."
        )
    if (bad := ~yours.isfinite() & expected.isfinite()).any():
        return "not finite", (
            f"{int(bad.sum())} of {bad.numel()} numbers are NaN or infinite, the first at "
            f"{_index(bad)}. Look for a division by zero, a log of zero or an -inf."
        )
    if _differs(yours, expected).any():
        return "values", "The values differ, and not in a way that we recognise."
    return _gradient_fault(answer, target)


def _gradient_fault(answer: _Outcome, target: _Outcome) -> tuple[str, str] | None:
    if target.gradients is None:
        return None
    if answer.backward_error is not None:
        if answer.changed:
            return "gradients", f"The backward pass fails. {_in_place(answer.changed)}"
        return "gradients", f"The values are right, but backward fails: {answer.backward_error}"
    gradients = answer.gradients or {}
    for name, expected in target.gradients.items():
        yours = gradients.get(name)
        if expected is None or (yours is None and not expected.any()):
            continue
        if yours is None:
            return "gradients", (
                f"The values are right, but no gradient reaches `{name}`, so it could not be "
                "learned. Look for .detach(), .data, .item(), no_grad, numpy or torch.tensor(...)."
            )
        if _differs(yours, expected).any():
            return "gradients", (
                f"The values are right, but the gradient of `{name}` is not. "
                "Look for a .detach(), a no_grad or an in-place change on the way to it."
            )
    return None


def _type_message(yours: object, expected: object) -> str:
    if isinstance(expected, bool):
        asked, advice = "True or False", "Wrap it in bool(...)."
    else:
        asked = "a tensor"
        if isinstance(yours, np.ndarray | np.generic):
            advice = "Stay in torch all the way; numpy carries no gradients."
        elif isinstance(yours, tuple):
            advice = "Return the tensor alone. A comma at the end of the return line makes a tuple."
        elif isinstance(yours, list):
            advice = "torch.stack or torch.cat joins a list of tensors into one."
        elif isinstance(yours, int | float):
            advice = "Leave it a tensor; .item() and float(...) cut the gradient off."
        elif callable(yours):
            advice = "Did you forget the brackets that call a function?"
        else:
            advice = "Build it from the inputs with torch."
    kind = type(yours).__name__
    return f"Your function returned a value of type {kind}; asked for is {asked}. {advice}"


def _in_place(names: Sequence[str]) -> str:
    return (
        f"Your code changes {' and '.join(f'`{name}`' for name in names)} in place, so the "
        f"caller's "
        "tensor is no longer what it was. Methods that end in _, `+=` and `x[...] = ` do that: "
        "make a new tensor, or clone first."
    )


# Saying it


def _explain(error: Exception | None, f: Callable[..., Any]) -> Iterator[str]:
    """The learner's own error and line, if any; our frames and torch's are left out."""
    if error is None:
        return
    yield _short(f"{type(error).__name__}: {error}", 400)
    space = getattr(inspect.unwrap(f), "__globals__", None)  # cells of a notebook share it
    for frame, number in reversed([*traceback.walk_tb(error.__traceback__)]):
        if frame.f_globals is space:
            source = linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
            yield f"Line {number} of your code" + (f": `{source}`" if source else "")
            return


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _call(name: str, names: Sequence[str], inputs: Sequence[Any]) -> str:
    def shown(given: Any) -> str:
        return f"tensor {tuple(given.shape)}" if isinstance(given, Tensor) else repr(given)

    pairs = zip(names, inputs, strict=True)
    return f"{name}({', '.join(f'{key}: {_short(shown(given), 120)}' for key, given in pairs)})"


def _index(mask: Tensor) -> str:
    return str(mask.nonzero()[0].tolist())


def _probes(pairs: Sequence[tuple[_Outcome, _Outcome]], first: int, axes: str) -> Iterator[str]:
    """What can be said of a wrong tensor without giving the right one away."""
    yours, expected = (outcome.value.detach() for outcome in pairs[first])
    off = _differs(yours, expected)
    place = off.nonzero()[0]
    size = (yours - expected)[tuple(place)].abs().item()
    where = (
        f"The first of {int(off.sum())} wrong entries (of {off.numel()}) is {_index(off)}: yours"
    )
    yield f"{where if axes else 'Yours'} is {yours[tuple(place)].item():.4g}, off by {size:.2g}."
    for axis, letter in enumerate(axes.split()):
        hit = off.transpose(0, axis).flatten(1).any(1)
        if not hit.all():
            yield f"Along axis {axis} ({letter}) only {hit.nonzero().flatten().tolist()} differ."
    tensors = [(a.value, t.value) for a, t in pairs if isinstance(a.value, Tensor)]
    flat = [(a.detach().double(), t.detach().double()) for a, t in tensors if a.shape == t.shape]
    a, t = (torch.cat([tensor.flatten() for tensor in side]) for side in zip(*flat, strict=True))
    factor = (a @ t) / (t @ t)
    if not _differs(a, factor * t).any():
        yield f"Everything of yours is {factor.item():.3g} times what is asked for."
    elif not _differs(a, t + (a - t).mean()).any():
        yield "Everything of yours is off by the same amount."
    elif (
        off.numel() > 1
        and not _differs(yours.flatten().sort()[0], expected.flatten().sort()[0]).any()
    ):
        yield "Yours are the right numbers, in the wrong places."


def _picture(yours: Any, expected: Any, axes: str) -> str:
    """|yours - expected| as a grid over the last two axes, or nothing if that makes no sense."""
    if not (isinstance(yours, Tensor) and isinstance(expected, Tensor) and axes):
        return ""
    if yours.shape != expected.shape or not (off := _differs(yours, expected)).any():
        return ""
    size = (yours.detach().double() - expected.detach().double()).abs()
    size = size.where(off, 0.0).nan_to_num(posinf=1e30)
    while size.dim() > 2:
        size = size.amax(0)
    size = size.reshape(-1, size.shape[-1])
    rows, columns = size.shape
    # One path for the lines and no rectangle where nothing is wrong keep the output small.
    lines = "".join(f"M0 {12 * r}h{12 * columns}" for r in range(rows + 1))
    lines += "".join(f"M{12 * c} 0v{12 * rows}" for c in range(columns + 1))
    cells = "".join(
        f'<rect x="{12 * c}" y="{12 * r}" width="12" height="12" '
        f'fill-opacity="{0.25 + 0.75 * (size[r, c] / size.max()).item():.2f}"/>'
        for r, c in size.nonzero().tolist()
    )
    letters = ["", *axes.split()]
    over = f", largest over {', '.join(letters[1:-2])}" if letters[1:-2] else ""
    caption = f"|yours - expected|: {letters[-2]} down, {letters[-1]} across{over}"
    wrong = f"{len(size.nonzero())} of {size.numel()} cells differ"
    return (
        f'<svg role="img" aria-label="{caption}; {wrong}" style="max-width:100%" '
        f'width="{12 * columns + 2}" height="{12 * rows + 2}" '
        f'viewBox="-1 -1 {12 * columns + 2} {12 * rows + 2}"><g fill="#d55e00">{cells}</g>'
        f'<path d="{lines}" fill="none" stroke="currentColor" stroke-opacity="0.3"/></svg>'
        f'<div style="font-size:85%">{caption}. Stronger colour: further off.</div>'
    )


_HEADLINES: dict[State, tuple[str, str]] = {
    "not attempted": ("not attempted yet", "#888888"),
    "raised": ("your code raised an error", "#cc79a7"),
    "wrong": ("not right yet", "#d55e00"),
    "right": ("right", "#009e73"),
}


def _box(title: str, lines: Sequence[str], colour: str, picture: str = "") -> str:
    def marked(text: str) -> str:
        return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))

    body = "".join(f"<div>{marked(line)}</div>" for line in lines)
    return (
        f'<div style="border-left:4px solid {colour};padding:2px 12px;line-height:1.5">'
        f"<div><b>{html.escape(title)}</b></div>{body}{picture}</div>"
    )
