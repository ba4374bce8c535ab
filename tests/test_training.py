"""Laws of lesson 04."""

import ast
import contextlib
import copy
import csv
import functools
import importlib.util
import itertools
import json
import math
import os
import signal
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
from safetensors.torch import save_file
from torch import nn

from gmlp import (
    CausalSGU,
    LanguageModel,
    PreNorm,
    Residual,
    bits_per_byte,
    evaluate,
    gMLPBlock,
    gMLPGPT,
    learning_rate,
    load_checkpoint,
    load_tiny,
    sample_batch,
    save_checkpoint,
    train,
)
from gmlp.training import _seeded

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
        run(small(), checkpoint=tmp_path / "run.safetensors", on_eval=interrupt)
    history = run(resumed, checkpoint=tmp_path / "run.safetensors")
    assert same(resumed, undisturbed)
    assert [r[:3] for r in history] == [r[:3] for r in expected]
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]
    assert (
        run(small(), checkpoint=tmp_path / "run.safetensors") == history
    )  # finished: nothing left to do


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
            save_checkpoint({str(tmp_path / "run.safetensors")!r}, model, optimizer, step=step)
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
        step = load_checkpoint(tmp_path / "run.safetensors", model)["step"]
        assert all((p == step).all() for p in model.parameters())


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path):
    model = small()
    optimizer = torch.optim.AdamW(model.parameters())
    save_checkpoint(tmp_path / "run.safetensors", model, optimizer, step=1)
    before = (tmp_path / "run.safetensors").read_bytes()
    with pytest.raises(TypeError, match="JSON"):
        save_checkpoint(tmp_path / "run.safetensors", model, optimizer, step=lambda: 0)
    assert (tmp_path / "run.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match=r"evil\.pt is damaged, or no safetensors file"):
        load_checkpoint(tmp_path / "evil.pt", small())
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path):
    run(small(), checkpoint=tmp_path / "run.safetensors")
    with pytest.raises(ValueError, match=r"peak 0\.004 there, 0\.001 here"):
        run(small(), checkpoint=tmp_path / "run.safetensors", peak=1e-3)


@pytest.mark.parametrize("kind", ["cut short", "empty", "text", "of another tool"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, kind):
    path, model = tmp_path / "run.safetensors", small()
    save_checkpoint(path, model, torch.optim.AdamW(model.parameters()))
    if kind == "of another tool":
        save_file({"a": torch.zeros(2)}, path, {"format": "pt"})
    else:
        whole = path.read_bytes()
        path.write_bytes({"cut short": whole[:-1], "empty": b"", "text": b"step,loss\n" * 9}[kind])
    with pytest.raises(ValueError, match=r"run\.safetensors is (damaged|not the kind)"):
        load_checkpoint(path, model)
    with pytest.raises(ValueError, match=r"run\.safetensors is (damaged|not the kind)"):
        run(model, checkpoint=path)


def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(tmp_path):
    save_checkpoint(tmp_path / "a", small(), torch.optim.AdamW(small().parameters()))
    for other, message in (
        (small(depth=3), r"'blocks\.2\.\S+' is missing there, \(16,\) here"),
        (small(depth=1), r"'blocks\.1\.\S+' is \(\d+,\) there, missing here"),
        (small(d=8), r"is \(256, 16\) there, \(256, 8\) here"),
    ):
        before = copy.deepcopy(other)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(tmp_path / "a", other)
        assert same(other, before)


def test_tied_weights_and_weights_with_gaps_come_back(tmp_path):
    def tied(seed):
        model = small(seed)
        model.to_logits.weight = model.embed.weight
        model.blocks[0].fn.fn.proj_in[0].weight = nn.Parameter(torch.randn(16, 32).T)
        model.norm.weight = nn.Parameter(torch.randn(32)[::2])
        return model

    one, two = tied(1), tied(2)
    save_checkpoint(tmp_path / "a", one, torch.optim.AdamW(one.parameters()))
    load_checkpoint(tmp_path / "a", two)
    assert same(one, two) and two.to_logits.weight is two.embed.weight


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.AdamW, {"amsgrad": True}),
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.SGD, {}),  # keeps None where others keep tensors
        (torch.optim.Adagrad, {}),
    ],
)
def test_every_optimizer_comes_back(tmp_path, kind, settings):
    def stepped(seed):
        model = small(seed)
        optimizer = kind(model.parameters(), lr=0.1 * seed, **settings)
        model(torch.zeros(1, 4, dtype=torch.long)).square().sum().backward()
        optimizer.step()
        return model, optimizer

    (one, first), (two, second) = stepped(1), stepped(2)
    save_checkpoint(tmp_path / "a", one, first)
    load_checkpoint(tmp_path / "a", two, second)
    for _ in range(2):
        for model, optimizer in ((one, first), (two, second)):
            optimizer.zero_grad()
            model(torch.ones(1, 4, dtype=torch.long)).square().sum().backward()
            optimizer.step()
        assert same(one, two)


# Dropped layers and dropped outputs, on both ways through a model.
RANDOM = {"dropout": 0.2, "prob_survival": 0.5}


def full(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"num_tokens": 256, "dim": 16, "depth": 3, "seq_len": 16, **changes}
    return gMLPGPT(**settings, window=(None, 4, (4, 2)), attn_dim=(8, None, 8)).train()


def at_call(model, number, action):
    """Do something in a training pass: ``action(logits)`` may return others."""
    calls = iter(range(10**6))

    def hook(module, _, logits):
        if module.training and next(calls) == number:
            return action(logits)

    model.register_forward_hook(hook)
    return model


@pytest.mark.parametrize("reversible", [False, True])
def test_random_numbers_of_a_run_depend_on_seed_and_step_alone(tmp_path, reversible):
    expected = full(**RANDOM, reversible=reversible)
    before = torch.get_rng_state()
    history = run(expected, eval_every=6)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers were used"

    def pull_the_plug(logits):
        raise OSError("out of power")

    every = {"eval_every": 6, "checkpoint_every": 5, "checkpoint": tmp_path / "run.safetensors"}
    with pytest.raises(OSError, match="power"):
        run(at_call(full(**RANDOM, reversible=reversible), 8, pull_the_plug), **every)
    torch.manual_seed(99)
    resumed = full(5, **RANDOM, reversible=reversible)
    again = run(resumed, **every)
    assert same(resumed, expected)
    assert [r[:3] for r in again] == [r[:3] for r in history]
    assert not same(expected, full()), "nothing was learnt"


def test_each_seed_step_and_process_has_random_numbers_of_its_own():
    drawn = set()
    for seed, step, rank in itertools.product(range(3), repeat=3):
        with _seeded(seed, step, rank, torch.device("cpu")):
            drawn.add(torch.rand(()).item())
    assert len(drawn) == 27


def test_the_log_has_each_validation_once_whatever_happened(tmp_path):
    every = {"eval_every": 2, "checkpoint_every": 6, "log": tmp_path / "log.csv"}
    every |= {"checkpoint": tmp_path / "run.safetensors"}
    lines = []

    def pull_the_plug(logits):
        lines.append(len((tmp_path / "log.csv").read_text().splitlines()))
        raise OSError("out of power")

    for call in (5, 11, 5):  # steps 5 and 11, then, going on from 6, step 11 again
        with pytest.raises(OSError, match="power"):
            run(at_call(small(), call, pull_the_plug), **every)
    assert lines == [3, 6, 6], "it must be written while the run goes on"
    history = run(small(), **every)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [tuple(map(float, row.values())) for row in rows] == [tuple(r) for r in history]


def test_ctrl_c_finishes_the_step_and_saves_it(tmp_path):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        path = tmp_path / "run.safetensors"
        model = at_call(small(), 5, lambda _: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match="after 6 of 12 steps"):
            run(model, checkpoint=path)
        saved = small(9)
        assert load_checkpoint(path, saved)["step"] == 6 and same(saved, model)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

        def twice(_):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            run(at_call(small(), 2, twice), checkpoint=path)
        assert load_checkpoint(path, saved)["step"] == 8, "the second one must not wait"
    finally:
        signal.signal(signal.SIGINT, handler)
    undisturbed, resumed = small(), small(9)
    run(undisturbed), run(resumed, checkpoint=path)
    assert same(undisturbed, resumed)


@pytest.mark.parametrize("accumulate", [2, 3, 12])
@pytest.mark.parametrize("make", [small, full, functools.partial(full, reversible=True)])
def test_a_batch_in_parts_is_the_batch(make, accumulate):
    whole, parts = make(), make()
    passes = []
    parts.register_forward_hook(lambda m, rows, _: passes.append(len(rows[0])))
    settings = {"steps": 1, "batch_size": 12, "clip": 1e9}  # a clipped gradient hides its length
    (expected,) = run(whole, **settings)
    (record,) = run(parts, **settings, accumulate=accumulate)
    assert passes[:accumulate] == [12 // accumulate] * accumulate
    assert record.train_bits == pytest.approx(expected.train_bits, rel=1e-5)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-5 * a.grad.abs().max()


@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_computes_in_it_and_learns(precision, reversible):
    model, seen = full(reversible=reversible), set()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda m, _, out: seen.add((m.training, out.dtype)))
    settings = {"steps": 24, "peak": 1e-2}
    history = run(model, **settings, precision=precision)
    assert seen == {(True, getattr(torch, precision)), (False, torch.float32)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history[-1].valid_bits < history[0].valid_bits - 1
    exact = run(full(reversible=reversible), **settings)
    assert history[-1].valid_bits == pytest.approx(exact[-1].valid_bits, abs=0.2)


def test_float16_skips_steps_with_infinite_gradients_and_keeps_its_scale(tmp_path):
    def pull_the_plug(logits):
        raise OSError("out of power")

    settings = {"steps": 2, "precision": "float16", "checkpoint_every": 1}
    settings["checkpoint"] = path = tmp_path / "run.safetensors"
    for scale in (2**15, 2**14):  # halved once, and once more by who goes on
        model = small()
        model.to_logits.bias.register_hook(lambda gradient: gradient * math.inf)
        with contextlib.suppress(OSError):
            run(at_call(model, 1, pull_the_plug), **settings)
        assert same(model, small())
        assert load_checkpoint(path, model)["scaler"]["scale"] == scale


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_when():
    model = small()
    with torch.no_grad():
        model.to_logits.bias[0] = math.nan
    with pytest.raises(FloatingPointError, match=r"nan at step 0.*lower peak \(it was 0\.004\)"):
        run(model)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_stopped_run_keeps_its_weights_and_names_the_last_good_checkpoint(tmp_path, precision):
    path = tmp_path / "run.safetensors"
    settings = {"checkpoint": path, "checkpoint_every": 1, "precision": precision}
    model = at_call(small(), 5, lambda logits: logits * math.nan)
    message = r"the loss became nan at step 5\. .*run\.safetensors, after 5 steps"
    with pytest.raises(FloatingPointError, match=message):
        run(model, **settings)
    good = small(9)
    assert load_checkpoint(path, good)["step"] == 5
    assert same(model, good) and not same(model, small())
    with pytest.raises(FloatingPointError, match="No checkpoint had been written yet"):
        run(at_call(small(), 0, lambda logits: logits * math.nan), checkpoint=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_infinite_gradient_stops_the_run(precision):
    model = small()
    model.to_logits.bias.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(FloatingPointError, match=r"length of the gradient became (inf|nan)"):
        run(model, precision=precision)
    assert same(model, small())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1; got steps=0"),
        ({"context": 0}, "context must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"accumulate": 3}, "multiple of 3.*accumulate=3.*got batch_size=4"),
        ({"clip": 0.0}, "clip must be more than 0"),
        ({"precision": "half"}, "float32, bfloat16, float16; got 'half'"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        run(small(), **changes)


def test_what_a_run_is_about_is_compared_too(tmp_path):
    path = tmp_path / "run.safetensors"
    run(small(), checkpoint=path, about={"window": (4, None), "text": "fox"})
    run(small(), checkpoint=path, about={"window": (4, None), "text": "fox"})
    with pytest.raises(ValueError, match=r"text fox there, dog here\)"):
        run(small(), checkpoint=path, about={"window": (4, None), "text": "dog"})
    with pytest.raises(ValueError, match=r"text fox there, None here\)"):
        run(small(), checkpoint=path, about={"window": (4, None)})


MODELS = {
    "sequential": {},
    "reversible": {"reversible": True},
    "sequential, layers dropped": {"prob_survival": 0.5},
    "reversible, layers dropped": {"reversible": True, "prob_survival": 0.5},
}


def test_two_processes_are_one(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(ROOT / "tests")!r})
        import json, torch.distributed as dist
        from pathlib import Path
        from test_training import MODELS, full, run
        dist.init_process_group("gloo")
        rank, found = dist.get_rank(), {{}}
        for name, settings in MODELS.items():
            for accumulate in (1, 2):
                # Rank 0's weights count; and only it may call on_eval.
                model, asked = full(rank, **settings), []
                history = run(model, accumulate=accumulate, on_eval=asked.append)
                assert asked == ([4, 8, 12] if rank == 0 else [])
                found[f"{{name}} {{accumulate}}"] = [r[:3] for r in history]
        Path({str(tmp_path)!r}, f"{{rank}}.json").write_text(json.dumps(found))
        dist.destroy_process_group()
        """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(program)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1], "all processes must return the same history"
    for name, settings in MODELS.items():
        for accumulate in (1, 2):
            expected = run(full(**settings), accumulate=accumulate)
            for two, one in zip(found[0][f"{name} {accumulate}"], expected, strict=True):
                assert two == pytest.approx(one[:3], abs=1e-4)


@pytest.mark.skipif(not os.environ.get("GMLP_TEST_ALL"), reason="slow: course.py test --all")
@pytest.mark.parametrize("reversible", [False, True])
def test_a_compiled_model_learns_the_same(reversible):
    def make():
        torch.manual_seed(0)
        settings = {"num_tokens": 256, "dim": 16, "depth": 1, "seq_len": 16}
        return gMLPGPT(**settings, window=4, attn_dim=8, reversible=reversible).train()

    plain, compiled = make(), make()
    expected = run(plain, steps=4, eval_every=1)
    history = run(compiled, steps=4, eval_every=1, compile=True)
    for a, b in zip(history, expected, strict=True):
        assert a[:3] == pytest.approx(b[:3], abs=1e-3)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert not any(module._compiled_call_impl for module in compiled.modules())


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
