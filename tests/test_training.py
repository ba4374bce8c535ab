"""Laws of lesson 04."""

import ast
import importlib.util
import json
import math
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, randomise
from torch import nn

from gmlp import (
    CausalSGU,
    LanguageModel,
    PreNorm,
    Residual,
    bits_per_byte,
    evaluate,
    gMLPBlock,
    learning_rate,
    load_checkpoint,
    load_tiny,
    sample_batch,
    save_checkpoint,
    train,
)

ROOT = Path(__file__).parents[1]
TEXT = torch.tensor(list(b"the quick brown fox jumps over the lazy dog. " * 20), dtype=torch.uint8)


def small(seed=0, n=16, d=16, depth=2):
    torch.manual_seed(seed)
    layers = [Residual(PreNorm(d, gMLPBlock(d, 2 * d, CausalSGU(2 * d, n)))) for _ in range(depth)]
    return LanguageModel(256, d, n, nn.Sequential(*layers))


def run(model, **changes):
    settings = {"steps": 12, "context": 16, "batch_size": 4, "warmup": 3, "eval_every": 4}
    return train(model, TEXT, TEXT[:200], progress=False, **{**settings, **changes})


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@given(b=st.integers(1, 3), n=st.integers(1, 6), v=st.integers(2, 9), seed=st.integers(0, 10**6))
@DRAWS
def test_bits_are_minus_log2_of_what_came(b, n, v, seed):
    logits = draw(b, n, v, seed=seed)
    targets = torch.randint(v, (b, n), generator=torch.Generator().manual_seed(seed))
    chances = logits.softmax(-1)
    bill = [-math.log2(chances[i, j, targets[i, j]]) for i in range(b) for j in range(n)]
    assert bits_per_byte(logits, targets).item() == pytest.approx(sum(bill) / len(bill))


@given(n=st.integers(1, 16), position=st.integers(0, 15), seed=st.integers(0, 10**6))
@DRAWS
def test_a_model_of_causal_layers_is_causal_at_every_length(n, position, seed):
    position %= n
    model = randomise(small(), seed).double()
    tokens = torch.randint(256, (2, n), generator=torch.Generator().manual_seed(seed))
    changed = tokens.clone()
    changed[:, position] = (changed[:, position] + 1) % 256
    moved = (model(tokens) - model(changed)).abs().amax((0, 2)).nonzero().flatten().tolist()
    assert moved and min(moved) == position
    torch.testing.assert_close(model(tokens[:, : position + 1]), model(tokens)[:, : position + 1])


@given(context=st.integers(1, 20), batch=st.integers(1, 5), seed=st.integers(0, 10**6))
@DRAWS
def test_a_batch_is_windows_of_the_text_and_their_next_bytes(context, batch, seed):
    data = torch.arange(50)
    inputs, targets = sample_batch(data, batch, context, seed)
    assert inputs.shape == targets.shape == (batch, context)
    assert torch.equal(targets, inputs + 1)  # in this text each byte is the one before plus one
    assert (inputs[:, 1:] - inputs[:, :-1] == 1).all() and targets.max() < 50
    assert torch.equal(sample_batch(data, batch, context, seed)[0], inputs)


def test_batches_reach_the_first_and_the_last_byte():
    inputs, targets = sample_batch(torch.arange(10), 500, 4, seed=0)
    assert inputs.min() == 0 and targets.max() == 9


@given(steps=st.integers(2, 300), warmup=st.integers(0, 100), floor=st.floats(0, 1))
@DRAWS
def test_the_rate_rises_in_a_line_and_falls_along_a_cosine(steps, warmup, floor):
    warmup = min(warmup, steps - 1)
    rates = [learning_rate(step, steps, 2.0, warmup, floor) for step in range(steps)]
    rising, falling = rates[:warmup], rates[warmup:]
    for step, rate in enumerate(rising):
        assert rate == pytest.approx(2.0 * (step + 1) / warmup)
    assert falling[0] == pytest.approx(2.0)
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))
    if len(falling) > 1:
        assert falling[-1] == pytest.approx(2.0 * floor)
    if len(falling) % 2 == 1 and len(falling) > 1:
        assert falling[len(falling) // 2] == pytest.approx(1 + floor)  # half way down


def test_evaluate_asks_for_each_byte_once():
    asked = []

    class Uniform(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.zeros(1))

        def forward(self, tokens):
            asked.append(tokens.flatten())
            return torch.zeros(*tokens.shape, 256)

    data = torch.arange(101)
    model = Uniform().train()
    assert evaluate(model, data, context=10, batch_size=3) == pytest.approx(8.0)
    assert torch.equal(torch.cat(asked), data[:100]) and model.training


def test_training_lowers_the_loss_and_is_the_same_each_time():
    one, two = small(), small()
    first, second = run(one, steps=60), run(two, steps=60)
    assert same(one, two)
    assert [r[:3] for r in first] == [r[:3] for r in second]
    assert first[-1].valid_bits < first[0].valid_bits - 1
    assert not same(one, small())


def test_another_seed_sees_other_batches():
    one, two = small(), small()
    run(one, seed=1), run(two, seed=2)
    assert not same(one, two)


@pytest.mark.parametrize("stop", [4, 8])
def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path, stop):
    undisturbed, resumed = small(), small(seed=5)
    expected = run(undisturbed)

    def interrupt(step):
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small(), checkpoint=tmp_path / "run.pt", on_eval=interrupt)
    history = run(resumed, checkpoint=tmp_path / "run.pt")
    assert same(resumed, undisturbed)
    assert [r[:3] for r in history] == [r[:3] for r in expected]
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
    assert run(small(), checkpoint=tmp_path / "run.pt") == history  # finished: nothing left to do


def test_a_killed_process_leaves_a_whole_checkpoint(tmp_path):
    """A real SIGKILL, at no chosen moment, in a loop that does nothing but save."""
    program = f"""
        import sys; sys.path.insert(0, {str(ROOT / "tests")!r})
        import torch
        from test_training import small
        from gmlp import save_checkpoint
        model = small(); optimizer = torch.optim.AdamW(model.parameters()); step = 0
        while True:
            step += 1
            with torch.no_grad():
                for p in model.parameters(): p.fill_(step)
            save_checkpoint({str(tmp_path / "run.pt")!r}, model, optimizer, step=step)
            if step == 3: print("ready", flush=True)
    """
    for pause in (0.0, 0.013, 0.031):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE
        )
        assert process.stdout.readline().strip() == b"ready"
        time.sleep(pause)
        process.kill()
        process.communicate()
        model = small()
        step = load_checkpoint(tmp_path / "run.pt", model)["step"]
        assert all((p == step).all() for p in model.parameters())


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path):
    model = small()
    optimizer = torch.optim.AdamW(model.parameters())
    save_checkpoint(tmp_path / "run.pt", model, optimizer, step=1)
    before = (tmp_path / "run.pt").read_bytes()
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(tmp_path / "run.pt", model, optimizer, step=lambda: 0)
    assert (tmp_path / "run.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_checkpoint(tmp_path / "evil.pt", small())
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path):
    run(small(), checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"peak 0\.004 there, 0\.001 here"):
        run(small(), checkpoint=tmp_path / "run.pt", peak=1e-3)


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_when():
    model = small()
    with torch.no_grad():
        model.to_logits.bias[0] = math.nan
    with pytest.raises(FloatingPointError, match=r"nan at step 0.*lower peak \(it was 0\.004\)"):
        run(model)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(1, 4), "integers"),
        (torch.zeros(4, dtype=torch.long), r"\(4,\)"),
        (torch.zeros(1, 0, dtype=torch.long), "n=0"),
        (torch.zeros(1, 17, dtype=torch.long), "seq_len=16 tokens at once; got n=17"),
        (torch.tensor([[3, 256]]), "got 3 … 256"),
        (torch.tensor([[-1]]), "got -1"),
    ],
)
def test_tokens_that_do_not_fit_are_named(tokens, message):
    with pytest.raises(ValueError, match=message):
        small()(tokens)


def test_texts_that_are_too_short_are_named():
    with pytest.raises(ValueError, match=r"context=10.*has 10"):
        sample_batch(torch.arange(10), 1, 10, seed=0)
    with pytest.raises(ValueError, match=r"context=10.*got 10"):
        evaluate(small(), torch.arange(10), 10)


def test_the_tiny_model_is_what_its_card_says():
    model = load_tiny()
    path = ROOT / "gmlp" / "assets" / "tiny.safetensors"
    card = (ROOT / "gmlp" / "assets" / "tiny.md").read_text(encoding="utf-8")
    assert path.stat().st_size <= 1_000_000
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card
    assert "tools/train_tiny.py" in card
    assert model(torch.zeros(1, model.seq_len, dtype=torch.long)).isfinite().all()


def test_lesson_04_shows_the_committed_sweep_and_its_steps():
    sweep = json.loads((ROOT / "benchmarks" / "results" / "learning_rates.json").read_text())
    source = (ROOT / "lessons" / "04_training.py").read_text(encoding="utf-8")
    (shown,) = (
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "sweep"
    )
    for name, losses in shown.items():
        runs = {run["peak"]: run["valid_bits"] for run in sweep["runs"] if run["model"] == name}
        assert losses == {peak: round(bits, 2) for peak, bits in runs.items()}
        best = min(losses, key=losses.get)
        assert sweep["best_peak"][name] == best
        assert min(runs) < best < max(runs), "the best rate must not stand at the edge of the sweep"
    assert f"steps = {sweep['steps']}\n" in source


def test_the_benchmark_and_the_chapter_compare_the_same_models():
    spec = importlib.util.spec_from_file_location(
        "learning_rates", ROOT / "benchmarks" / "learning_rates.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sweep = json.loads((ROOT / "benchmarks" / "results" / "learning_rates.json").read_text())
    for name, make in (("gMLP", module.gmlp), ("Transformer", module.Transformer)):
        count = sum(p.numel() for p in make().parameters())
        assert {r["parameters"] for r in sweep["runs"] if r["model"] == name} == {count}
        chapter = (ROOT / "chapters" / "04_training.ipynb").read_text(encoding="utf-8")
        assert f"'{name}': {count}" in chapter
