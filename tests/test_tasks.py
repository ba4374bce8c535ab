"""Laws of the tasks: what is asked can be answered, and only by what they are made for."""

import ast
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS

from gmlp.tasks import ASIDE, recall_accuracy, recall_batch, said_most

ROOT = Path(__file__).resolve().parents[1]

sizes = {
    "batch_size": st.integers(1, 4),
    "keys": st.integers(1, 6),
    "values": st.integers(1, 6),
    "pairs": st.integers(2, 9),
    "seed": st.integers(0, 10**6),
}


def read(tokens, keys):
    """Every text as a list of ``(position of the key, key, value)``; the last has no value."""
    for text in tokens.tolist():
        yield [
            (i, text[i], text[i + 1] if i + 1 < len(text) else None) for i in range(0, len(text), 2)
        ]


@given(**sizes)
@DRAWS
def test_a_question_is_a_key_told_before_and_its_answer_what_was_told(
    batch_size, keys, values, pairs, seed
):
    tokens, targets = recall_batch(batch_size, keys=keys, values=values, pairs=pairs, seed=seed)
    assert tokens.shape == targets.shape == (batch_size, 2 * pairs - 1)
    assert tokens.dtype == targets.dtype == torch.int64
    for text, answers in zip(read(tokens, keys), targets.tolist(), strict=True):
        told = {}
        for i, key, value in text:
            assert 0 <= key < keys
            assert answers[i] == told.get(key, ASIDE)
            if value is not None:
                assert keys <= value < keys + values
                assert told.setdefault(key, value) == value  # a text keeps to its table
                assert answers[i + 1] == ASIDE


@given(**sizes)
@DRAWS
def test_a_seed_is_a_text_and_the_next_another(batch_size, keys, values, pairs, seed):
    one, again = (
        recall_batch(batch_size, keys=keys, values=values, pairs=pairs, seed=seed) for _ in range(2)
    )
    assert torch.equal(one.tokens, again.tokens) and torch.equal(one.targets, again.targets)
    before = torch.get_rng_state()
    recall_batch(batch_size, keys=keys, values=values, pairs=pairs, seed=seed)
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_differ_and_every_key_and_value_comes():
    first, second = (recall_batch(50, seed=seed).tokens for seed in (0, 1))
    assert not torch.equal(first, second)
    assert first.unique().tolist() == list(range(32))


@given(**sizes)
@DRAWS
def test_who_says_most_counts_as_a_reader_would(batch_size, keys, values, pairs, seed):
    tokens, _ = recall_batch(batch_size, keys=keys, values=values, pairs=pairs, seed=seed)
    for text, answers in zip(tokens.tolist(), said_most(tokens, keys).tolist(), strict=True):
        for i, answer in enumerate(answers):
            said = [token for token in text[: i + 1] if token >= keys]
            assert answer == max(sorted({keys, *said}), key=said.count)


@given(**sizes)
@DRAWS
def test_accuracy_counts_questions_alone(batch_size, keys, values, pairs, seed):
    _, targets = recall_batch(batch_size, keys=keys, values=values, pairs=pairs, seed=seed)
    asked = targets != ASIDE
    if not asked.any():
        with pytest.raises(ValueError, match="no question"):
            recall_accuracy(targets, targets)
        return
    noise = torch.randint(2, targets.shape, generator=torch.Generator().manual_seed(seed))
    answers = targets + noise  # wrong where 1
    assert math.isclose(
        recall_accuracy(answers, targets), 1 - noise[asked].double().mean().item(), abs_tol=1e-12
    )


@pytest.mark.parametrize(("size", "level"), [((16, 16, 25), 0.22), ((8, 8, 13), 0.36)])
def test_levels_without_the_key(size, level):
    """Chance is 1 in as many as there are values; who counts what was said does far better."""
    keys, values, pairs = size
    tokens, targets = recall_batch(4000, keys=keys, values=values, pairs=pairs, seed=0)
    generator = torch.Generator().manual_seed(1)
    blind = keys + torch.randint(values, targets.shape, generator=generator)
    assert recall_accuracy(blind, targets) == pytest.approx(1 / values, abs=0.01)
    assert recall_accuracy(said_most(tokens, keys), targets) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"keys": 0}, {"values": 0}, {"pairs": 1}], ids=str
)
def test_sizes_without_a_question_are_named(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        recall_batch(**{"batch_size": 2, "seed": 0, **wrong})


def test_the_chapter_shows_what_was_measured():
    """Lesson 06 writes the curves of the benchmark down, every second of them, rounded."""
    kept = json.loads((ROOT / "benchmarks/results/recall.json").read_text("utf-8"))
    count = kept["conditions"]["steps"] // kept["conditions"]["every"]
    expected = {}
    for run in sorted(kept["runs"], key=lambda run: run["seed"]):
        line = run["accuracy"] + run["accuracy"][-1:] * (count - len(run["accuracy"]))
        expected.setdefault(run["model"], []).append([round(x, 2) for x in line[1::2]])
    assert {len(lines) for lines in expected.values()} == {3}
    lesson = ast.parse((ROOT / "lessons/06_tiny_attention.py").read_text("utf-8"))
    (written,) = (
        ast.literal_eval(node.value)
        for node in lesson.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "measured"
    )
    assert written == expected
