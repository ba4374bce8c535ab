"""How an answer is checked: draw inputs, run it beside the solution, name the first fault.

An exercise is data (:class:`Exercise`), and so is a known mistake (:class:`Misconception`): a piece
of wrong code that runs on the same inputs. When the answer computes what the wrong code computes,
we know what the learner did. A lesson's exercises stand in the tuple ``EXERCISES`` of the module
that has its name.
"""

import difflib
import functools
import importlib
import inspect
import pkgutil
import secrets
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any, Literal

import torch
from torch import Tensor, nn

import gmlp.checks
from gmlp.checks import progress
from gmlp.checks.compare import compare_reads, differs, find_fault, first_difference, in_place
from gmlp.checks.compare import probes as say_more
from gmlp.checks.report import Hint, Result, State, picture
from gmlp.checks.run import Outcome, reads, run, tensors_of

Kind = Literal["rebuild", "debug", "extend", "predict"]


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

    def integer(self, low: int, high: int) -> int:
        """One whole number from ``low`` to ``high - 1``."""
        return int(self.integers(low, high))

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
    """One function or class to write, and all that is known about it.

    Args:
        name: of the function; unique in the course.
        lesson: such as ``"02_causal_masking"``.
        axes: letters of the answer's axes, such as ``"b n c"``; empty for a single value; with
            commas for several parts.
        draw: makes the arguments for one run. Float tensors and parameters of modules among them
            get gradients, which are compared too.
        solution: a right answer.
        misconceptions: tried in this order.
        alternatives: other right answers, which the tests hold the check against.
        hints: a question, a pointer, a sketch.
        draws: how many runs make one check.
        stub: the broken code that the learner starts from, if any. Unchanged it is no mistake.
        kind: what the learner does.
        use: how an answer is run, ``use(answer, *arguments)``; by default it is called. A class is
            made and filled with weights here.
        parts: names of the parts of an answer that is a tuple.
        positions: the tensor among the arguments whose axis 1 is that of the answer: an unknown
            mistake is told which position it should not, or should, have read.
        tolerance: how far, in relation to its size, a number may be off.
        may_change: names of arguments that the answer is meant to change in place.
        because: said when the answer is right.
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
    kind: Kind = "rebuild"
    use: Callable[..., Any] | None = None
    parts: tuple[str, ...] = ()
    positions: str = ""
    tolerance: float = 1e-6
    may_change: tuple[str, ...] = ()
    because: str = ""


def prediction(
    name: str,
    lesson: str,
    answer: Callable[[], Any],
    *,
    because: str,
    misconceptions: tuple[Misconception, ...],
    hints: tuple[str, str, str],
    tolerance: float = 1e-6,
    parts: tuple[str, ...] = (),
    alternatives: tuple[Callable[..., Any], ...] = (),
) -> Exercise:
    """An exercise whose answer is a function without arguments that returns a predicted value.

    ``answer`` computes it, with the course's modules where it can; ``because`` is the reason, told
    once the prediction is right. A misconception's code returns the value to which it leads.
    """
    return Exercise(
        name=name,
        lesson=lesson,
        axes="",
        draw=lambda rng: (),
        draws=1,
        solution=answer,
        misconceptions=misconceptions,
        alternatives=alternatives,
        hints=hints,
        kind="predict",
        tolerance=tolerance,
        parts=parts,
        because=because,
    )


class _Plain(Exception):
    """A message to a learner: notebooks show it without the lines of ours that raised it."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class NotAnAnswerError(_Plain, TypeError):
    """What was given to ``check`` is neither a function nor a class."""


class NoSuchExerciseError(_Plain, ValueError):
    """No exercise has this name."""


def check(f: Callable[..., Any], *, seed: int | None = None) -> Result:
    """Check an answer, known by the name of the function or class.

    The answer runs on fresh random inputs beside the solution. The global random numbers of torch
    are left as they were. The verdict is noted for ``gmlp progress``.

    Args:
        f: the function that you wrote, not its value: ``check(mask_weights)``.
        seed: draws the same inputs again; by default they are new at each call.

    Raises:
        TypeError: ``f`` is not a function.
        ValueError: no exercise has the function's name.
    """
    if not callable(f) or isinstance(f, nn.Module):
        kind = type(f).__name__
        raise NotAnAnswerError(
            f"check got a value of type {kind}; it wants the function itself: check(mask_weights), "
            "for example, without calling mask_weights or quoting its name."
        )
    name = getattr(f, "__name__", "<nameless>")
    if name.startswith("<"):
        kind = "lambda" if name == "<lambda>" else type(f).__name__
        raise NotAnAnswerError(
            f"check goes by the name of an answer, and a {kind} has none. Write it with `def` and "
            "the name that the card gives."
        )
    exercise = find(name).exercise
    result = judge(f, exercise, seed)
    if trouble := progress.note(exercise.name, result.state):
        result = replace(result, lines=(*result.lines, trouble))
    return result


def judge(f: Callable[..., Any], exercise: Exercise, seed: int | None = None) -> Result:
    """What :func:`check` finds, without a note of it."""
    seed = secrets.randbits(63) if seed is None else seed
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are tiny: threads would only wait for each other
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.device("cpu"):
            return _Judge(exercise, seed, f).result()
    finally:
        torch.set_num_threads(threads)


def judge_elsewhere(
    exercise: Exercise,
    seed: int,
    run_elsewhere: Callable[[list[str], list[tuple[Any, ...]], int, bool], list[Outcome]],
) -> Result:
    """What :func:`judge` finds of an answer that another process runs.

    ``run_elsewhere`` gets the names of the arguments, the inputs of each run, a seed for the global
    random numbers, and whether the inputs have gradients; it returns what came of each run. Nothing
    of the answer runs here.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.device("cpu"):
        one = _Judge(exercise, seed)
        return one.verdict(run_elsewhere(one.names, one.cases, one.seed, one.grad))


def hint(f: Callable[..., Any] | str) -> Hint:
    """The next hint for an exercise, given as the function or its name.

    Raises:
        ValueError: no exercise has this name.
    """
    entry = find(f if isinstance(f, str) else getattr(f, "__name__", type(f).__name__))
    hints = entry.exercise.hints
    number = min(entry.hints_shown, len(hints) - 1)
    entry.hints_shown = number + 1
    left = len(hints) - entry.hints_shown
    rest = f"{left} more if you need {'it' if left == 1 else 'them'}" if left else "the last one"
    return Hint(f"{entry.exercise.name}: hint {number + 1} of {len(hints)}, {rest}", hints[number])


@dataclass
class Entry:
    exercise: Exercise
    hints_shown: int = 0


@functools.cache
def registry() -> dict[str, Entry]:
    """Every exercise of the course by name, in its order; lessons are loaded at the first call."""
    found: list[Exercise] = []
    for module in pkgutil.iter_modules(gmlp.checks.__path__, "gmlp.checks."):
        found += getattr(importlib.import_module(module.name), "EXERCISES", ())
    entries: dict[str, Entry] = {}
    for exercise in sorted(found, key=lambda exercise: exercise.lesson):
        if exercise.name in entries:
            raise ValueError(f"two exercises are called {exercise.name}; rename one of them")
        entries[exercise.name] = Entry(exercise)
    return entries


def find(name: str) -> Entry:
    """The exercise of this name.

    Raises:
        ValueError: there is none.
    """
    entries = registry()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, 1)
        raise NoSuchExerciseError(
            f"no exercise is called {name!r}"
            + (f"; did you mean {near[0]}?" if near else "; `gmlp progress --all` lists them.")
            + " What counts is the name behind `def` or `class`; keep the one that the card gives."
        )
    return entries[name]


def named(code: Callable[..., Any], name: str) -> Callable[..., Any]:
    """An answer that does what ``code`` does, under the name of an exercise."""
    if isinstance(code, type):
        return type(name, (code,), {})

    def answer(*arguments: Any) -> Any:
        return code(*arguments)

    answer.__name__ = name
    return answer


class _Judge:
    """The runs of one check; of an answer that runs elsewhere, ``f`` is None."""

    def __init__(self, exercise: Exercise, seed: int, f: Callable[..., Any] | None = None) -> None:
        self.f, self.exercise, self.seed = f, exercise, seed % 2**63
        generator = torch.Generator().manual_seed(self.seed)
        self.cases = [exercise.draw(Draw(generator, i)) for i in range(exercise.draws)]
        signature = inspect.signature(exercise.use or exercise.solution)
        self.names = [*signature.parameters][1 if exercise.use else 0 :]
        # Where the right answer has no gradients, nobody need trip over those of the inputs.
        self.grad = True
        self.grad = self.run(exercise.solution, self.cases[0]).gradients is not None

    def run(self, code: Callable[..., Any], case: Sequence[Any]) -> Outcome:
        return run(code, self.names, case, self.seed, self.exercise.use, self.grad)

    def fault(self, answer: Outcome, target: Outcome) -> tuple[str, str] | None:
        it = self.exercise
        return find_fault(answer, target, axes=it.axes, parts=it.parts, tolerance=it.tolerance)

    def say(
        self, state: State, diagnosis: str | None, *lines: str, answer: Outcome | None = None
    ) -> Result:
        if answer is not None and answer.printed.strip():
            lines = (*lines, f"It printed: {_short(answer.printed.strip(), 300)}")
        return Result(self.exercise.name, state, diagnosis, lines)

    def result(self) -> Result:
        f, stub = self.f, self.exercise.stub
        if f is None or (stub is not None and _code(f) == _code(stub)):
            return self.say("not attempted", None, "This is still the code that you were given.")
        answers: list[Outcome] = []
        for case in self.cases:
            answers.append(self.run(f, case))
            if isinstance(answers[-1].error, NotImplementedError | KeyboardInterrupt):
                break
        return self.verdict(answers)

    def verdict(self, answers: Sequence[Outcome]) -> Result:
        """What a run for each case, or as many as there were until one was stopped, comes to."""
        exercise = self.exercise
        for answer in answers:
            error = answer.error
            if isinstance(error, NotImplementedError) and not error.args:  # torch's own have a text
                return self.say(
                    "not attempted", None, "Put your code where `raise NotImplementedError` stands."
                )
            if isinstance(error, KeyboardInterrupt):
                stopped = (
                    "It was stopped while your code ran. Does a loop never end, or is it slow?"
                )
                lines = [line for line in (stopped, answer.where) if line]
                return self.say("raised", "interrupted", *lines, answer=answer)
        self.cases = self.cases[: len(answers)]
        targets = [self.run(exercise.solution, case) for case in self.cases]
        if targets[0].error is not None:
            raise RuntimeError(f"the solution of {exercise.name} fails") from targets[0].error
        pairs = [*zip(answers, targets, strict=True)]
        faults = [self.fault(answer, target) for answer, target in pairs]
        first = next((number for number, fault in enumerate(faults) if fault), None)
        return self.right(pairs) if first is None else self.wrong(pairs, first, faults[first])

    def right(self, pairs: Sequence[tuple[Outcome, Outcome]]) -> Result:
        exercise = self.exercise
        changed = sorted({name for answer, _ in pairs for name in answer.changed})
        changed = [name for name in changed if name.split(".")[0] not in exercise.may_change]
        if changed:
            return self.say("wrong", "in place", in_place(changed), answer=pairs[0][0])
        if exercise.kind == "predict":
            return self.say("right", None, exercise.because)
        seen = "values and gradients" if pairs[0][1].gradients else "answers"
        lines = [f"Checked on {len(pairs)} random inputs: {seen} agree."] * bool(self.names)
        lines += [exercise.because] * bool(exercise.because)
        return self.say("right", None, *lines, *self._remarks(), answer=pairs[0][0])

    def wrong(
        self,
        pairs: Sequence[tuple[Outcome, Outcome]],
        first: int,
        fault: tuple[str, str] | None,
    ) -> Result:
        exercise, case = self.exercise, self.cases[first]
        answer, _ = pairs[first]
        for known in exercise.misconceptions:
            if all(
                self.fault(answer, self.run(known.wrong_implementation, case)) is None
                for (answer, _), case in zip(pairs, self.cases, strict=True)
            ):
                lines = [known.what_it_means, known.nudge, *_explain(answer)]
                return self._drawn(
                    self.say("wrong", known.name, *lines, answer=answer), pairs[first]
                )

        called = []
        if self.names and exercise.use is None:
            called = [f"It was called as {_call(exercise.name, self.names, case)}."]
        if answer.error is not None:
            kind = type(answer.error).__name__
            return self.say("raised", kind, *_explain(answer), *called, answer=answer)
        kind, message = fault or ("", "")
        if kind != "values":
            return self.say("wrong", kind, message, *called, answer=answer)
        lines = [message, *say_more(pairs, first, exercise.axes)]
        if exercise.positions and self.f is not None:
            mine, wanted = (
                reads(code, self.names, case, self.seed, exercise.positions, exercise.use)
                for code in (self.f, exercise.solution)
            )
            lines += compare_reads(mine, wanted, exercise.positions)
        result = self.say("wrong", kind, *lines, *called, answer=answer)
        return self._drawn(result, pairs[first])

    def _drawn(self, result: Result, pair: tuple[Outcome, Outcome]) -> Result:
        """The result with a picture of |yours - expected|, where that makes sense."""
        found = first_difference(pair[0].value, pair[1].value, self.exercise.axes)
        if found is None:
            return result
        yours, expected, letters = found
        size = (yours.double() - expected.double()).abs()
        return replace(result, picture=picture(differs(yours, expected), size, letters))

    def _remarks(self) -> Iterator[str]:
        """What a right answer would still trip over: another dtype, another device."""
        if self.exercise.use is not None or self.f is None:
            return
        pairs = zip(self.names, self.cases[-1], strict=True)
        one = next((name for name, given in pairs if isinstance(given, Tensor)), "x")
        for to, words, remark in (
            (
                torch.float64,
                ("dtype", "Double", "double"),
                "A remark: somewhere your code makes a tensor of float32 whatever the inputs are, "
                f"so with float64 it would differ. `dtype={one}.dtype` follows the input.",
            ),
            (
                "meta",
                ("device", "meta"),
                "A remark: somewhere your code makes a tensor on the CPU wherever the inputs are, "
                f"and fails on a GPU. `device={one}.device` in torch.arange, torch.ones and the "
                "like follows the input.",
            ),
        ):
            case = [_moved(given, to) for given in self.cases[-1]]
            right = self.run(self.exercise.solution, case)
            if right.error is not None or not tensors_of(right.value):
                continue  # the solution itself looks at numbers, or is not about tensors
            yours = self.run(self.f, case)
            if yours.error is not None:
                differ = any(word in str(yours.error) for word in words)
            else:
                differ = _kinds(yours) != _kinds(right)
            if differ:
                yield remark


def _kinds(outcome: Outcome) -> list[tuple[torch.dtype, torch.device]]:
    return [(tensor.dtype, tensor.device) for tensor in tensors_of(outcome.value)]


def _moved(given: Any, to: Any) -> Any:
    """A copy of an argument, its float tensors with another dtype or all on another device."""
    if isinstance(given, Tensor):
        return given.to(to) if to == "meta" or given.is_floating_point() else given
    if isinstance(given, nn.Module):
        return deepcopy(given).to(to)
    if isinstance(given, list | tuple):
        return type(given)(_moved(one, to) for one in given)
    return given


def unchanged(source: str, exercise: Exercise) -> bool:
    """Whether the source of a function is still the code that was given, without running it."""
    if exercise.stub is None:
        return False
    try:
        code = compile(source, "cell", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        inspect.iscode(one)
        and one.co_name == exercise.name
        and _code_of(one, one.co_consts[0] if one.co_consts else None) == _code(exercise.stub)
        for one in code.co_consts
    )


def _code(f: Callable[..., Any]) -> object:
    """What a function does, without its name, place and docstring."""
    if isinstance(f, type):
        methods = {key: value for key, value in vars(f).items() if inspect.isfunction(value)}
        return {key: _code(value) for key, value in methods.items()}
    code = getattr(inspect.unwrap(f), "__code__", None)
    if code is None:
        return f
    return _code_of(code, f.__doc__)


def _code_of(code: CodeType, doc: str | None) -> object:
    constants = [
        _code_of(constant, None) if inspect.iscode(constant) else constant
        for constant in code.co_consts
        if constant != doc and not (isinstance(constant, str) and "<locals>" in constant)
    ]
    return code.co_code, code.co_names, code.co_varnames, constants


def _explain(answer: Outcome) -> Iterator[str]:
    """The learner's own error and line, if any."""
    if answer.error is not None:
        yield _short(f"{type(answer.error).__name__}: {answer.error}", 400)
        if answer.where:
            yield answer.where


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _call(name: str, names: Sequence[str], inputs: Sequence[Any]) -> str:
    def shown(given: Any) -> str:
        if isinstance(given, Tensor):
            return f"tensor {tuple(given.shape)}"
        if isinstance(given, list | tuple) and tensors_of(given):
            return f"[{', '.join(map(shown, given))}]"
        if isinstance(given, nn.Module) and "__repr__" not in vars(type(given)):
            return type(given).__name__
        return getattr(given, "__name__", None) or repr(given)

    pairs = zip(names, inputs, strict=True)
    return f"{name}({', '.join(f'{key}: {_short(shown(given), 120)}' for key, given in pairs)})"
