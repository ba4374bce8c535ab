"""The checks, held against what they promise: each answer gets the verdict that it deserves.

Misconceptions and alternatives are code, so every one of them is handed in here as an answer.
"""

import functools
import html
import os
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

from gmlp.checks import check, hint
from gmlp.checks import core as machinery

LESSONS = Path(__file__).parents[1] / "lessons"
SEEDS = range(20 if os.environ.get("GMLP_TEST_ALL") == "1" else 3)
EXERCISES = {name: entry.exercise for name, entry in machinery.registry().items()}

each_exercise = pytest.mark.parametrize("name", EXERCISES)
each_misconception = pytest.mark.parametrize(
    ("name", "known"),
    [
        pytest.param(name, known, id=f"{name}-{known.name}")
        for name, exercise in EXERCISES.items()
        for known in exercise.misconceptions
    ],
)


handed_in = machinery.named  # code under the name of an exercise, as a learner would define it


def cells(name: str, *, solved: bool) -> dict[str, Any]:
    """The names that an exercise's notebook defines, with or without the solutions."""
    source = (LESSONS / f"{EXERCISES[name].lesson}_exercises.py").read_text(encoding="utf-8")
    if not solved:
        region = r"### BEGIN SOLUTION.*?### END SOLUTION"
        source, cut = re.subn(region, "raise NotImplementedError", source, flags=re.DOTALL)
        assert cut
    space: dict[str, Any] = {}
    exec(compile(source, "notebook", "exec"), space)
    return space


# What the lessons hand out


@each_exercise
def test_the_notebook_has_the_exercise_and_its_check(name: str) -> None:
    source = (LESSONS / f"{EXERCISES[name].lesson}_exercises.py").read_text(encoding="utf-8")
    assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE)
    assert f"\n# %%\ncheck({name})\n" in source
    assert f"hint({name})" in source
    (card,) = re.findall(rf"# ## \d\.(?:(?!\n# ## ).)*?\ncheck\({name}\)\n", source, re.DOTALL)
    dots, minutes, kind = re.search(r"# (●+○*) · (\d+) minutes · (\w+)", card).groups()
    assert (len(dots), kind) == (3, EXERCISES[name].kind)
    assert int(minutes) <= 40


@each_exercise
def test_an_untouched_stub_is_not_attempted(name: str) -> None:
    result = check(cells(name, solved=False)[name])
    assert (result.state, result.diagnosis) == ("not attempted", None)


@each_exercise
def test_the_notebooks_solution_is_right(name: str) -> None:
    answer = cells(name, solved=True)[name]
    assert [check(answer, seed=seed).state for seed in SEEDS] == ["right"] * len(SEEDS)


@pytest.mark.parametrize("name", [name for name in EXERCISES if EXERCISES[name].kind == "debug"])
def test_the_code_given_to_debug_is_not_attempted_but_code_like_it_is_wrong(name: str) -> None:
    given = cells(name, solved=True)[f"found_{name}"]
    given.__name__ = name
    assert check(given).state == "not attempted"
    result = check(handed_in(given, name))
    known = [misconception.name for misconception in EXERCISES[name].misconceptions]
    assert result.state == "wrong"
    assert result.diagnosis in known


def test_there_are_enough_exercises_of_every_kind_in_every_lesson() -> None:
    lessons: dict[str, list[str]] = {}
    for exercise in EXERCISES.values():
        lessons.setdefault(exercise.lesson, []).append(exercise.kind)
    assert len(lessons) == 14
    for lesson, kinds in lessons.items():
        least = 3 if lesson.startswith("00") else 4
        assert len(set(kinds)) >= least, (lesson, kinds)
    assert len(EXERCISES) >= 60
    assert sum(exercise.kind != "predict" for exercise in EXERCISES.values()) >= 45


@pytest.mark.parametrize("lesson", sorted({it.lesson for it in EXERCISES.values()}))
def test_each_lesson_ends_with_questions_answered_in_place(lesson: str) -> None:
    text = (LESSONS / f"{lesson}.py").read_text(encoding="utf-8")
    questions = re.findall(r"# \*\*\d\. .+?\*\*\n#\n((?:# <details>.*\n)+)", text)
    assert 2 <= len(questions) <= 3
    for options in questions:
        answers = re.findall(
            r"# <details><summary>(.+?)</summary>(Right|No): (.+?)</details>\n", options
        )
        assert len(answers) == options.count("\n") >= 3
        assert [verdict for _, verdict, _ in answers].count("Right") == 1
        assert all(len(reason.split()) >= 4 for _, _, reason in answers)


@each_exercise
def test_the_known_mistakes_of_an_exercise_have_different_names(name: str) -> None:
    names = [known.name for known in EXERCISES[name].misconceptions]
    assert len(set(names)) == len(names)


# Every verdict


@each_exercise
@pytest.mark.parametrize("seed", SEEDS)
def test_solution_and_alternatives_are_right(name: str, seed: int) -> None:
    exercise = EXERCISES[name]
    assert len(exercise.alternatives) >= 2 or exercise.kind == "predict"
    for code in (exercise.solution, *exercise.alternatives):
        result = check(handed_in(code, name), seed=seed)
        assert (result.state, result.diagnosis) == ("right", None), result


@each_misconception
def test_a_misconception_is_wrong_and_named(name: str, known: machinery.Misconception) -> None:
    for seed in SEEDS:
        result = check(handed_in(known.wrong_implementation, name), seed=seed)
        assert (result.state, result.diagnosis) == ("wrong", known.name), result
        assert known.what_it_means in repr(result)
        assert known.nudge in repr(result)


def random_tokens(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    """The new token may be the old one: then nothing moves, leak or not."""
    tokens = torch.randint(num_tokens, (n,)).repeat(n, 1)
    for k in range(1, n):
        tokens[k, k] = torch.randint(num_tokens, ())
    logits = model(tokens)
    return any(bool((logits[k, :k] != logits[0, :k]).any()) for k in range(1, n))


def leaks_by_more_than(least: float) -> Callable[..., bool]:
    def leaks(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
        tokens = torch.zeros(n, n, dtype=torch.int64).fill_diagonal_(1)
        tokens[0] = 0
        logits = model(tokens)
        return bool(((logits - logits[:1]).abs().amax(-1) > least).tril(-1).any())

    return leaks


def derivatives_above(least: float) -> Callable[..., Tensor]:
    def who_reads_whom(f: Callable[[Tensor], Tensor], n: int, d: int) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(f, torch.randn(n, d))
        return (jacobian.abs() > least).any(3).any(1)

    return who_reads_whom


def never_at_the_start(*given: Tensor) -> Any:
    assert given[1].shape[1] > 0, "a text that begins has no past"
    return EXERCISES["mix_next"].solution(*given)


def nothing_later(inner: Tensor, e: int, width: int) -> Tensor:
    return EXERCISES["fold_reads"].solution(inner.tril(), e, width)


def itself_always(inner: Tensor, e: int, width: int) -> Tensor:
    return EXERCISES["fold_reads"].solution(inner | torch.eye(len(inner)).bool(), e, width)


def as_if_recorded(y1: Any, y2: Any, d1: Any, d2: Any, f: Any, g: Any) -> Any:
    """Leaves out the `torch.enable_grad` that a backward pass needs."""

    def again(layer: Any, given: Any, gradient: Any) -> Any:
        given = given.detach().requires_grad_()
        out = layer(given)
        return out.detach(), torch.autograd.grad(out, given, gradient)[0]

    out, more = again(g, y1, d2)
    x2, d1 = y2 - out, d1 + more
    out, more = again(f, x2, d1)
    return y1 - out, x2, d1, d2 + more


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("leaks", random_tokens),
        *(("leaks", leaks_by_more_than(least)) for least in (0.5, 0.1)),
        *(("who_reads_whom", derivatives_above(least)) for least in (0.1, 0.01)),
        ("mix_next", never_at_the_start),
        ("fold_reads", nothing_later),
        ("fold_reads", itself_always),
        ("backward_step", as_if_recorded),
    ],
)
def test_wrong_answers_that_once_passed_do_not(name: str, code: Callable[..., Any]) -> None:
    for seed in range(20):
        found = machinery.judge(handed_in(code, name), EXERCISES[name], seed)
        assert found.state in ("wrong", "raised"), seed


@pytest.mark.parametrize(
    "nameless", [lambda weight: weight.tril(), functools.partial(torch.tril, diagonal=0)]
)
def test_an_answer_without_a_name_is_told_to_take_one(nameless: Any) -> None:
    with pytest.raises(TypeError, match="Write it with `def` and the name that the card gives"):
        check(nameless)


def test_a_part_with_a_name_of_several_words_is_told_in_a_sentence() -> None:
    exercise = EXERCISES["backward_step"]

    def three_times(*given: Any) -> Any:
        x1, x2, d1, d2 = exercise.solution(*given)
        return x1, x2, 3 * d1, d2

    found = machinery.judge(handed_in(three_times, "backward_step"), exercise, 0)
    assert found.lines[0].startswith("The values of the gradient of x1 differ, and not in a way")


def test_a_wrong_whole_number_is_not_called_close() -> None:
    for value, words in ((1022, "too low"), (1026, "too high")):
        found = machinery.judge(lambda value=value: value, EXERCISES["stands_still_at"], 0)
        assert words in found.lines[0] and "close" not in found.lines[0]


def test_right_answers_leave_the_same_output_at_every_run() -> None:
    for name, exercise in EXERCISES.items():
        answer = handed_in(exercise.solution, name)
        assert len({(repr(r), r._repr_html_()) for r in (check(answer) for _ in range(3))}) == 1


# Odd answers. `tril` is the right answer to mask_weights.


def add_in_place(w: Tensor) -> Tensor:
    return w.mul_(torch.ones_like(w).tril())


def helper_in_the_same_notebook(w: Tensor) -> Tensor:
    return w.no_such_method()


def not_implemented_by_torch(w: Tensor) -> Tensor:
    raise NotImplementedError("no kernel for this dtype")


def wrong_backward(w: Tensor) -> Tensor:
    out = w.tril()
    return out + (out - out.detach())  # the value of out, twice its gradient


ODD = {
    "none": (lambda w: None, "wrong", "missing return", "returned nothing"),
    "list": (lambda w: [*w.tril()], "wrong", "type", "torch.stack"),
    "tuple": (lambda w: (w.tril(),), "wrong", "type", "comma"),
    "numpy": (lambda w: w.tril().detach().numpy(), "wrong", "type", "numpy"),
    "number": (lambda w: w.tril().sum().item(), "wrong", "type", "item()"),
    "method": (lambda w: w.tril, "wrong", "type", "brackets"),
    "text": (lambda w: "tril", "wrong", "type", "type str"),
    "shape": (lambda w: w.tril()[0], "wrong", "shape", "(h, n, n)"),
    "float64": (lambda w: w.tril().double(), "wrong", "dtype", "torch.float32"),
    "sparse": (lambda w: w.tril().to_sparse(), "wrong", "type", "sparse"),
    "complex": (lambda w: w.tril() + 0j, "wrong", "dtype", "torch.float32"),
    "elsewhere": (lambda w: w.tril().to("meta"), "wrong", "type", "meta"),
    "infinite": (lambda w: w.tril() / 0, "wrong", "not finite", "infinite"),
    "bool": (lambda w: w.tril() != 0, "wrong", "dtype", "torch.float32"),
    "nan": (lambda w: w.tril() / w.tril() * w.tril(), "wrong", "not finite", "NaN"),
    "detached": (lambda w: w.detach().tril(), "wrong", "gradients", "no gradient reaches `weight`"),
    "gradient": (wrong_backward, "wrong", "gradients", "gradient of `weight`"),
    "in place": (add_in_place, "wrong", "in place", "changes `weight` in place"),
    "raises": (lambda w: w.trill(), "raised", "AttributeError", "w.trill()"),
    "helper": (helper_in_the_same_notebook, "raised", "AttributeError", "w.no_such_method()"),
    "torch": (not_implemented_by_torch, "raised", "NotImplementedError", "no kernel"),
    "in einops": (lambda w: rearrange(w, "a b -> b a"), "raised", "EinopsError", "rearrange(w"),
    "signature": (lambda: None, "raised", "TypeError", "mask_weights(weight: tensor"),
    "unknown": (lambda w: w.tril().sin(), "wrong", "values", "off by"),
    "factor": (lambda w: 3 * w.tril(), "wrong", "values", "3 times what is asked for"),
    "one row": (
        lambda w: torch.cat([w[:, :-1].tril(), 0 * w[:, -1:]], 1),
        "wrong",
        "values",
        "(n)",
    ),
    "view": (lambda w: w.tril().view_as(w), "right", None, "agree"),
    "two mistakes": (lambda w: 2 * w.triu(1), "wrong", "values", "wrong entries"),
    "prints": (
        lambda w: print("noise " * 999) or w.triu(2),
        "wrong",
        "values",
        "It printed: noise",
    ),
    "exits": (lambda w: exit(), "raised", "SystemExit", "SystemExit"),
    "float32": (
        lambda w: torch.zeros(w.shape) + w.tril().float(),
        "right",
        None,
        "dtype=weight.dtype",
    ),
    "on the CPU": (
        lambda w: w * (torch.arange(w.shape[-1])[:, None] >= torch.arange(w.shape[-1])),
        "right",
        None,
        "device=weight.device",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_gets_its_state_and_something_to_act_on(odd: str) -> None:
    code, state, diagnosis, words = ODD[odd]
    code.__name__ = "mask_weights"
    result = check(code, seed=0)
    assert (result.state, result.diagnosis) == (state, diagnosis), result
    assert words in repr(result)
    assert words.replace("`", "") in re.sub("<.*?>", "", html.unescape(result._repr_html_()))
    assert "Traceback" not in repr(result)
    assert "core.py" not in repr(result)


def test_a_wrong_answer_is_shown_without_the_right_one() -> None:
    def mask_weights(weight: Tensor) -> Tensor:
        return weight.tril() + 5.0 * (torch.ones_like(weight).tril() - 1)

    exercise = EXERCISES["mask_weights"]
    result = check(mask_weights, seed=3)
    case = exercise.draw(machinery.Draw(torch.Generator().manual_seed(3), 0))
    first = (exercise.solution(*case) - mask_weights(*case)).nonzero()[0].tolist()
    assert f"is {first}: yours is -5, off by 5" in repr(result)


def test_gradients_of_a_modules_parameters_are_compared() -> None:
    def residual_step(x: Tensor, norm: torch.nn.LayerNorm, f: Callable[..., Tensor]) -> Tensor:
        frozen = torch.layer_norm(x, norm.normalized_shape, norm.weight.detach(), norm.bias)
        return x + f(frozen)

    result = check(residual_step)
    assert (result.state, result.diagnosis) == ("wrong", "gradients")
    assert "`norm.weight`" in repr(result)


def test_a_change_in_place_that_breaks_backward_is_named_as_such() -> None:
    def residual_step(x: Tensor, norm: Callable[..., Tensor], f: Callable[..., Tensor]) -> Tensor:
        x += f(norm(x))
        return x

    result = check(residual_step)
    assert result.state == "wrong"
    assert "changes `x` in place" in repr(result)


@pytest.mark.parametrize("wrap", [torch.tensor, lambda answer: torch.tensor(answer).numpy()[()]])
def test_leaks_must_return_a_bool(wrap: Callable[[bool], Any]) -> None:
    exercise = EXERCISES["leaks"]
    result = check(handed_in(lambda *a: wrap(exercise.solution(*a)), "leaks"))
    assert (result.state, result.diagnosis) == ("wrong", "type")
    assert "bool(...)" in repr(result)


def test_an_unknown_mistake_in_leaks_is_told_the_model_that_it_got_wrong() -> None:
    solution = EXERCISES["leaks"].solution
    wrong = handed_in(
        lambda model, n, v: model.reads.endswith("itself") or solution(model, n, v), "leaks"
    )
    result = check(wrong)
    assert (result.state, result.diagnosis) == ("wrong", "values")
    assert "answer is True" in repr(result)
    assert "a model in which a position reads only itself" in repr(result)


# What an exercise may ask for. These are made up for the tests.


def made_up(**parts: Any) -> machinery.Exercise:
    given = {
        "name": "made_up",
        "lesson": "00_welcome",
        "axes": "",
        "draw": lambda rng: (rng.normal(2, 5, 3),),
        "misconceptions": (),
        "alternatives": (),
        "hints": ("?", "", ""),
    }
    return machinery.Exercise(**(given | parts))


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:, :2] * 2, x[:, 2:]


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (lambda x: [x[:, :2] * 2, x[:, 2:]], "right", "values and gradients agree"),
        (lambda x: (x[:, :2] * 2, x[:, 3:]), "wrong", "`back` has shape"),
        (lambda x: (x[:, :2] * 2, x[:, 2:] + 1), "wrong", "The values in `back` differ"),
        (lambda x: (x[:, :2] * 2, x[:, 2:].detach()), "wrong", "gradient of `x` is not"),
        (lambda x: x, "wrong", "2 values, front, back: `return a, b`"),
        (lambda x: (x, x, x), "wrong", "You returned 3 values; asked for are 2: front, back"),
        (lambda x: (x[:, :2] * 2, None), "wrong", "`back` is None"),
    ],
)
def test_an_answer_of_two_parts(answer: Any, state: str, words: str) -> None:
    exercise = made_up(solution=halves, axes="b n d, b n d", parts=("front", "back"))
    result = machinery.judge(answer, exercise, 0)
    assert result.state == state, result
    assert words in repr(result)


@pytest.mark.parametrize("clothes", [int, float, torch.tensor, lambda n: torch.tensor(n).numpy()])
def test_a_number_may_come_in_any_clothes(clothes: Callable[[int], Any]) -> None:
    exercise = made_up(draw=lambda rng: (rng.integer(3, 99),), solution=lambda n: 2 * n)
    assert machinery.judge(lambda n: clothes(2 * n), exercise, 0).state == "right"
    low = machinery.judge(lambda n: clothes(2 * n - 1), exercise, 0)
    assert (low.state, low.diagnosis) == ("wrong", "values")
    assert "too low" in repr(low)


@pytest.mark.parametrize("odd", ["12", None, True, [3], torch.ones(2), float("nan")])
def test_what_is_no_number_is_told_so(odd: Any) -> None:
    exercise = made_up(draw=lambda rng: (), solution=lambda: 12)
    result = machinery.judge(lambda: odd, exercise, 0)
    assert result.state == "wrong"
    assert len(result.lines) >= 1


def test_a_prediction_gives_its_reason_only_when_it_is_right() -> None:
    known = machinery.Misconception("squared", lambda: 144, "You squared it.", "Do not.")
    exercise = machinery.prediction(
        "made_up",
        "00_welcome",
        lambda: 12,
        because="A dozen.",
        misconceptions=(known,),
        hints=("?", "", ""),
    )
    right, wrong, other = (machinery.judge(lambda n=n: n, exercise) for n in (12, 144, 13))
    assert right.lines == ("A dozen.",)
    assert wrong.diagnosis == "squared"
    assert "dozen" not in repr(wrong) + repr(other)
    assert "too high" in repr(other)
    assert "It was called" not in repr(other)


class Doubled(torch.nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def used(cls: Any, x: Tensor, weight: Tensor) -> Tensor:
    module = cls(x.shape[-1])
    del module.weight
    module.weight = weight
    return module(x)


def test_a_class_is_made_filled_and_called() -> None:
    class Added(Doubled):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.weight

    class Broken(Doubled):
        def forward(self, x: Tensor) -> Tensor:
            return x * self.wieght

    class Untouched(Doubled):
        def forward(self, x: Tensor) -> Tensor:
            raise NotImplementedError

    exercise = made_up(
        draw=lambda rng: (rng.normal(2, 5, 3), rng.normal(3)),
        use=used,
        solution=Doubled,
        axes="b n d",
        misconceptions=(machinery.Misconception("added", Added, "You add.", "Do not."),),
    )
    again = type("made_up", (Added,), {})
    verdicts = [machinery.judge(cls, exercise, 0) for cls in (Doubled, again, Broken, Untouched)]
    assert [verdict.state for verdict in verdicts] == ["right", "wrong", "raised", "not attempted"]
    assert verdicts[1].diagnosis == "added"
    assert "return x * self.wieght" in repr(verdicts[2])


def test_random_numbers_are_the_same_for_every_answer() -> None:
    def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
        return x + torch.rand(3) + torch.rand(3, generator=generator)

    exercise = made_up(
        draw=lambda rng: (rng.normal(2, 5, 3), torch.Generator().manual_seed(rng.integer(0, 99))),
        solution=noisy,
        axes="b n d",
    )
    assert machinery.judge(noisy, exercise).state == "right"
    assert machinery.judge(lambda x, g: noisy(x, torch.Generator()), exercise).state == "wrong"


def test_only_what_may_be_changed_may_be_changed() -> None:
    def step(x: Tensor, layer: torch.nn.Module) -> Tensor:
        with torch.no_grad():
            layer.weight -= 0.1
        return layer(x)

    parts = {
        "draw": lambda rng: (rng.normal(2, 5, 3), rng.refill(torch.nn.Linear(3, 2))),
        "solution": step,
        "axes": "b n d",
    }
    assert machinery.judge(step, made_up(**parts, may_change=("layer",)), 0).state == "right"
    assert machinery.judge(step, made_up(**parts), 0).diagnosis == "in place"


def test_an_unknown_mistake_is_told_what_it_reads() -> None:
    exercise = made_up(solution=lambda x: x.cumsum(1), axes="b n d", positions="x")
    ahead = machinery.judge(lambda x: x.flip(1).cumsum(1).flip(1) * 3, exercise, 0)
    assert "Output 0 reads position 1 of `x`, and should not." in repr(ahead)
    assert "Output 1 does not read position 0 of `x`, and should." in repr(ahead)


def test_an_input_that_is_not_used_is_named() -> None:
    exercise = made_up(
        draw=lambda rng: (rng.normal(2, 5), rng.normal(5)),
        solution=lambda x, bias: (x + bias) * 2,
        axes="b n",
    )
    result = machinery.judge(lambda x, bias: x.exp(), exercise, 0)
    assert "Your answer does not depend on `bias` at all" in repr(result)


def test_an_interrupt_names_the_line_and_ends_the_check() -> None:
    def mask_weights(weight: Tensor) -> Tensor:
        print("here")
        raise KeyboardInterrupt

    result = check(mask_weights)
    assert (result.state, result.diagnosis) == ("raised", "interrupted")
    assert "`raise KeyboardInterrupt`" in repr(result)
    assert "It printed: here" in repr(result)


def test_a_changed_lambda_is_a_change() -> None:
    def given(x: Tensor) -> Tensor:
        return (lambda t: t + 1)(x)

    def changed(x: Tensor) -> Tensor:
        return (lambda t: t + 2)(x)

    exercise = made_up(solution=changed, stub=given, axes="b n d")
    assert machinery.judge(given, exercise, 0).state == "not attempted"
    assert machinery.judge(changed, exercise, 0).state == "right"


def test_our_own_errors_are_one_line_in_a_notebook() -> None:
    with pytest.raises(TypeError) as not_a_function:
        check(torch.ones(2))
    with pytest.raises(ValueError, match="no exercise") as unknown:
        hint("nothing")
    for raised in (not_a_function, unknown):
        assert raised.value._render_traceback_() == [str(raised.value)]


# Inputs


@each_exercise
@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_sizes_are_equal_and_no_weight_is_initial(name: str, seed: int) -> None:
    exercise = EXERCISES[name]
    generator = torch.Generator().manual_seed(seed)
    for number in range(exercise.draws):
        inputs = exercise.draw(machinery.Draw(generator, number))
        for given in inputs:
            if isinstance(given, Tensor):  # a matrix may be n x n
                assert len(set(given.shape)) >= given.dim() - 1
            if isinstance(given, Tensor) and given.is_floating_point():
                assert given.dtype == torch.float32
            if isinstance(given, torch.nn.Module):
                for parameter in given.parameters():
                    assert parameter.unique().numel() == parameter.numel()


def test_the_seed_decides_the_inputs_and_no_seed_draws_afresh() -> None:
    seen: list[list[Tensor]] = []

    def mask_weights(weight: Tensor) -> Tensor:
        seen[-1].append(weight.detach().clone())
        return weight.tril() + torch.rand(()) * 1e-9  # numbers of one's own are allowed

    for seed in (7, 7, None, None):
        seen.append([])
        check(mask_weights, seed=seed)
        del seen[-1][3:]  # a right answer is then tried on another dtype and device
    same = [all(torch.equal(a, b) for a, b in zip(seen[0], runs, strict=True)) for runs in seen]
    assert same == [True, True, False, False]
    assert not all(torch.equal(a, b) for a, b in zip(seen[2], seen[3], strict=True))


@pytest.mark.parametrize("seed", [None, 5])
def test_global_random_numbers_and_threads_are_as_before(seed: int | None) -> None:
    def leaks(model: Any, n: int, num_tokens: int) -> bool:
        return bool(torch.rand(()) < 2)

    def geglu(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        raise ValueError("no idea")

    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for answer in (leaks, geglu, handed_in(EXERCISES["geglu"].solution, "geglu")):
            check(answer, seed=seed)
            assert torch.equal(torch.get_rng_state(), before)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_an_answer_cannot_change_what_the_solution_is_given() -> None:
    def bits_per_byte(logits: Tensor, targets: Tensor) -> Tensor:
        bits = EXERCISES["bits_per_byte"].solution(logits.clone(), targets.clone())
        logits.data.zero_()
        targets.zero_()
        return bits

    result = check(bits_per_byte)
    assert (result.state, result.diagnosis) == ("wrong", "in place")
    assert "`logits` and `targets`" in repr(result)


# Finding exercises, hints


def test_an_unknown_name_is_told_the_names() -> None:
    def mask_weight(weight: Tensor) -> Tensor:
        return weight

    with pytest.raises(
        ValueError, match=r"no exercise is called 'mask_weight'; did you mean mask_"
    ):
        check(mask_weight)
    with pytest.raises(ValueError, match="gmlp progress --all"):
        hint("zzz")
    with pytest.raises(TypeError, match="without calling"):
        check(torch.ones(2))


def test_names_are_unique_in_the_course(monkeypatch: pytest.MonkeyPatch) -> None:
    from gmlp.checks import training

    monkeypatch.setattr(training, "EXERCISES", training.EXERCISES * 2)
    with pytest.raises(ValueError, match="two exercises are called bits_per_byte"):
        machinery.registry.__wrapped__()


def test_hints_come_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = machinery.registry.__wrapped__()
    monkeypatch.setattr(machinery, "registry", functools.cache(lambda: fresh))
    hints = EXERCISES["geglu"].hints
    shown = [hint("geglu"), hint(handed_in(torch.sin, "geglu")), hint("geglu"), hint("geglu")]
    assert [given.text for given in shown] == [*hints, hints[-1]]
    lefts = ["2 more", "1 more", "the last one", "the last one"]
    assert all(left in repr(given) for left, given in zip(lefts, shown, strict=True))
    assert hint("leaks").text == EXERCISES["leaks"].hints[0]  # each exercise counts its own


@each_exercise
def test_hints_begin_with_a_question(name: str) -> None:
    first, *rest = EXERCISES[name].hints
    assert first.endswith("?")
    assert len(rest) == 2


# How it looks


class Balanced(HTMLParser):
    """Notes references to anything outside, and fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@each_exercise
def test_html_is_small_self_contained_and_deterministic(name: str) -> None:
    for known in EXERCISES[name].misconceptions:
        answer = handed_in(known.wrong_implementation, name)
        page = check(answer, seed=1)._repr_html_()
        assert page == check(answer, seed=1)._repr_html_()
        assert len(page) < 30_000
        names = {key for key, _ in Balanced(page).attributes}
        assert not names & {"src", "href", "onclick", "class", "id"}
        assert "http" not in page


def test_the_picture_marks_the_cells_that_differ_and_says_so_in_words() -> None:
    page = check(handed_in(lambda w: w.tril(-1), "mask_weights"), seed=2)._repr_html_()
    (label,) = re.findall('aria-label="(.*?)"', page)
    wrong, size = map(int, re.search(r"(\d+) of (\d+) cells", label).groups())
    corners = [(x, y) for x, y in re.findall(r'<rect x="(\d+)" y="(\d+)"', page)]
    assert wrong * wrong == size  # the diagonal, and it alone
    assert len(corners) == wrong
    assert all(x == y for x, y in corners)


def test_the_picture_is_stronger_where_the_answer_is_further_off() -> None:
    def mask_weights(weight: Tensor) -> Tensor:
        off = torch.arange(weight[0].numel()).view_as(weight[0])
        return weight.tril() + off * (off < 3)

    page = check(mask_weights)._repr_html_()
    assert re.findall(r'fill-opacity="(.*?)"', page) == ["0.62", "1.00"]


def test_what_a_learner_wrote_cannot_become_html() -> None:
    def mask_weights(weight: Tensor) -> Tensor:
        raise ValueError("<script>alert(1)</script>")

    page = check(mask_weights)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@each_exercise
def test_a_check_is_quick(name: str) -> None:
    exercise = EXERCISES[name]
    slowest = handed_in(exercise.misconceptions[-1].wrong_implementation, name)
    check(slowest)  # the first call loads things
    times = []
    for _ in range(3):
        start = time.perf_counter()
        check(slowest)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.2
