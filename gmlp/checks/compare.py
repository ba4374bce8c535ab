"""Holding an answer against the right one: the first fault, and what can be said about it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gmlp.checks.run import Outcome, tensors_of

Fault = tuple[str, str]  # its kind, and a sentence


def differs(yours: Tensor, expected: Tensor) -> Tensor:
    """Where two tensors differ by more than float32 rounding explains."""
    yours, expected = yours.detach().double(), expected.detach().double()
    scale = expected.where(expected.isfinite(), 0.0).abs()
    atol = 1e-5 * max(1.0, scale.max().item() if scale.numel() else 0.0)
    return ~torch.isclose(yours, expected, rtol=1e-4, atol=atol, equal_nan=True)


def find_fault(
    answer: Outcome,
    target: Outcome,
    *,
    axes: str = "",
    parts: Sequence[str] = (),
    tolerance: float = 1e-6,
) -> Fault | None:
    """The first fault of an answer; None when it equals the target.

    Args:
        axes: letters of the answer's axes; for several parts, those of each, with commas.
        parts: the names of the parts of an answer that is a tuple.
        tolerance: how far, in relation to its size, a number may be off.
    """
    if answer.error is not None or target.error is not None:
        # By name: the error of an answer that ran elsewhere is of a class made for it.
        kinds = [type(one.error).__name__ for one in (answer, target)]
        same = kinds[0] == kinds[1] and str(answer.error) == str(target.error)
        return None if same else ("raised", "")
    found = _value_fault(answer.value, target.value, axes, parts, tolerance)
    return found or _gradient_fault(answer, target)


def _value_fault(
    yours: Any, expected: Any, axes: str, parts: Sequence[str], tolerance: float, what: str = ""
) -> Fault | None:
    owner = _owner(what)
    if yours is None and expected is not None:
        if what:
            return "type", f"{owner} is None."
        return "missing return", (
            "Your function returned nothing (None). End it with `return` and the value; "
            "printing a value does not return it."
        )
    if isinstance(expected, Tensor):
        return _tensor_fault(yours, expected, axes, what)
    if isinstance(expected, list | tuple):
        return _parts_fault(yours, expected, axes, parts, tolerance)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        number = as_number(yours)
        if number is None:
            return "type", _type_message(yours, expected)
        if math.isclose(number, expected, rel_tol=tolerance, abs_tol=1e-12):
            return None
        rounded = isinstance(expected, float) and not expected.is_integer()
        if rounded and math.isclose(number, expected, rel_tol=0.02):
            return "values", f"{owner} is {number:.10g}. That is close: give it exactly."
        if not math.isfinite(number):
            return "values", f"{owner} is {number}."
        low = "low" if number < expected else "high"
        return "values", f"{owner} is {number:.10g}, and that is too {low}."
    if type(yours) is not type(expected):
        return "type", _type_message(yours, expected)
    return None if yours == expected else ("values", f"{owner} is {yours}, and should not be.")


def as_number(value: Any) -> float | int | None:
    """A number in any of the clothes in which people return one; None if it is none."""
    if isinstance(value, Tensor | np.ndarray):
        if value.ndim or str(value.dtype).endswith("bool"):
            return None
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _parts_fault(
    yours: Any, expected: Sequence[Any], axes: str, parts: Sequence[str], tolerance: float
) -> Fault | None:
    alike = len(parts) == len(expected)
    names = parts if alike else [f"part {i}" for i in range(len(expected))]
    if not isinstance(yours, list | tuple) and not parts:
        kind = type(yours).__name__
        return "type", f"Your function returned a value of type {kind}; asked for is a list."
    if not isinstance(yours, list | tuple):
        return "type", (
            f"Your function returned a value of type {type(yours).__name__}; asked for are "
            f"{len(expected)} values, {', '.join(names)}: `return a, b` returns two."
        )
    if len(yours) != len(expected):
        counted = "1 value" if len(yours) == 1 else f"{len(yours)} values"
        return "shape", f"You returned {counted}; asked for are {len(expected)}" + (
            f": {', '.join(names)}." if alike else "."
        )
    letters = [part.strip() for part in axes.split(",")]
    letters = letters if len(letters) == len(expected) else letters[:1] * len(expected)
    for one, other, own, name in zip(yours, expected, letters, names, strict=True):
        if found := _value_fault(one, other, own, (), tolerance, name):
            kind, message = found
            named = name.lower() in message.lower()
            return kind, message if named else f"{message} This is about {name}."
    return None


def _owner(what: str) -> str:
    """What a part of an answer is called at the head of a sentence."""
    if what.isidentifier():
        return f"`{what}`"
    return what[:1].upper() + what[1:] or "Your answer"


def _tensor_fault(yours: Any, expected: Tensor, axes: str, what: str) -> Fault | None:
    owner = _owner(what)
    if not isinstance(yours, Tensor):
        return "type", _type_message(yours, expected)
    if (yours.device, yours.layout) != (expected.device, expected.layout):
        return "type", (
            f"Your tensor is {yours.layout} on {yours.device}; asked for is {expected.layout} on "
            f"{expected.device}, as the inputs are."
        )
    if yours.shape != expected.shape:
        letters = f", that is ({', '.join(axes.split())})" if axes else ""
        letters = letters if expected.dim() else ", a single number"
        return "shape", (
            f"{owner} has shape {tuple(yours.shape)}; "
            f"asked for is {tuple(expected.shape)}{letters}."
        )
    if yours.dtype != expected.dtype:
        return "dtype", f"{owner} has dtype {yours.dtype}; asked for is {expected.dtype}."
    if (bad := ~yours.isfinite() & expected.isfinite()).any():
        if not expected.isfinite().all():
            return "values", f"At {_index(bad)} stands {yours[bad][0].item()}, and should not."
        return "not finite", (
            f"{int(bad.sum())} of {bad.numel()} numbers are NaN or infinite, the first at "
            f"{_index(bad)}. Look for a division by zero, a log of zero or an -inf."
        )
    if differs(yours, expected).any():
        about = f" of {what}" if " " in what else f" in {owner}" if what else ""
        return "values", f"The values{about} differ, and not in a way that we recognise."
    return None


def _gradient_fault(answer: Outcome, target: Outcome) -> Fault | None:
    if target.gradients is None:
        return None
    if answer.backward_error is not None:
        if answer.changed:
            return "gradients", f"The backward pass fails. {in_place(answer.changed)}"
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
        if yours.shape != expected.shape or differs(yours, expected).any():
            return "gradients", (
                f"The values are right, but the gradient of `{name}` is not. "
                "Look for a .detach(), a no_grad or an in-place change on the way to it."
            )
    return None


def _type_message(yours: object, expected: object) -> str:
    if isinstance(expected, bool):
        asked, advice = "True or False", "Wrap it in bool(...)."
    elif isinstance(expected, int | float):
        asked, advice = "a number", "One number, without a unit or quotation marks."
    elif isinstance(expected, str):
        asked, advice = "a text", "Put it in quotation marks."
    else:
        asked = "a tensor"
        if isinstance(yours, np.ndarray | np.generic):
            advice = "Stay in torch all the way: no .numpy(), which loses gradients."
        elif isinstance(yours, tuple):
            advice = "Return the tensor alone. A comma at the end of the return line makes a tuple."
        elif isinstance(yours, list) and not tensors_of(yours):
            advice = "torch.tensor(...) makes a tensor of a list of numbers."
        elif isinstance(yours, list):
            advice = "torch.stack or torch.cat joins a list of tensors into one."
        elif isinstance(yours, int | float):
            advice = "Leave it a tensor: without .item() or float(...)."
        elif callable(yours):
            advice = "Did you forget the brackets that call a function?"
        else:
            advice = "Build it from the inputs with torch."
    kind = type(yours).__name__
    return f"Your function returned a value of type {kind}; asked for is {asked}. {advice}"


def in_place(names: Sequence[str]) -> str:
    """What to say of arguments that were changed."""
    some = " and ".join(f"`{name}`" for name in names[:3]) + " …" * (len(names) > 3)
    return (
        f"Your code changes {some} in place, so for the caller it is no longer what it was. "
        "Methods that end in _, `+=` and `x[...] = ` do that to a tensor; `reverse`, `pop` and "
        "`sort` to a list. Make a new one, or copy first."
    )


def _some(mask: Tensor) -> str:
    """The places of a mask that are set: all of a few, the ends of many."""
    places = mask.nonzero().flatten().tolist()
    if len(places) <= 12:
        return str(places)
    return f"{len(places)} of {len(mask)}, from {places[0]} to {places[-1]},"


def _index(mask: Tensor) -> str:
    return str(mask.nonzero()[0].tolist())


def first_difference(yours: Any, expected: Any, axes: str) -> tuple[Tensor, Tensor, str] | None:
    """The first pair of tensors of one shape that differ, and the letters of their axes."""
    both = zip(tensors_of(yours), tensors_of(expected), strict=False)
    pairs = [(one.detach(), other.detach()) for one, other in both]
    letters = [part.strip() for part in axes.split(",")]
    letters = letters if len(letters) == len(pairs) else letters[:1] * len(pairs)
    for (one, other), own in zip(pairs, letters, strict=True):
        if one.shape == other.shape and one.device == other.device and differs(one, other).any():
            return one, other, own
    return None


def probes(pairs: Sequence[tuple[Outcome, Outcome]], first: int, axes: str) -> Iterator[str]:
    """What can be said of wrong values without giving the right ones away.

    ``pairs`` are answer and target of each run; ``first`` is the first run that is wrong.
    """
    answer, target = pairs[first]
    found = first_difference(answer.value, target.value, axes)
    if found is None:
        return
    yours, expected, letters = found
    off = differs(yours, expected)
    place = tuple(off.nonzero()[0].tolist())
    size = abs(yours[place].item() - expected[place].item())
    where = (
        f"The first of {int(off.sum())} wrong entries (of {off.numel()}) is {_index(off)}: yours"
    )
    yield f"{where if letters else 'Yours'} is {yours[place].item():.4g}, off by {size:.2g}."
    for axis, letter in enumerate(letters.split()):
        hit = off.transpose(0, axis).reshape(off.shape[axis], -1).any(1)
        if not hit.all():
            yield f"Along axis {axis} ({letter}) only {_some(hit)} differ."
    unused = [
        f"`{name}`"
        for name, wanted in (target.gradients or {}).items()
        if wanted is not None and wanted.any() and answer.backward_error is None
        if (had := (answer.gradients or {}).get(name)) is None or not had.any()
    ]
    if unused:
        some = ", ".join(unused[:3]) + ", …" * (len(unused) > 3)
        yield f"Your answer does not depend on {some} at all; the right one does."
    both = [(a.value, t.value) for a, t in pairs if isinstance(a.value, Tensor)]
    flat = [(a.detach().double(), t.detach().double()) for a, t in both if a.shape == t.shape]
    if not flat or not isinstance(target.value, Tensor):
        return
    a, t = (torch.cat([tensor.flatten() for tensor in side]) for side in zip(*flat, strict=True))
    factor = (a @ t) / (t @ t)
    if not differs(a, factor * t).any():
        yield f"Everything of yours is {factor.item():.3g} times what is asked for."
    elif not differs(a, t + (a - t).mean()).any():
        yield "Everything of yours is off by the same amount."
    elif (
        off.numel() > 1
        and not differs(yours.flatten().sort()[0], expected.flatten().sort()[0]).any()
    ):
        yield "Yours are the right numbers, in the wrong places."


def compare_reads(yours: Tensor | None, expected: Tensor | None, name: str) -> Iterator[str]:
    """The first position that an answer reads and should not, or does not read and should."""
    if yours is None or expected is None or yours.shape != expected.shape:
        return
    for wrong, verb in (
        (yours & ~expected, f"reads position {{}} of `{name}`, and should not"),
        (expected & ~yours, f"does not read position {{}} of `{name}`, and should"),
    ):
        if wrong.any():
            i, j = wrong.nonzero()[0].tolist()
            yield f"Output {i} {verb.format(j)}."
