"""Benchmarks: that they measure what they say. No test here asserts a time."""

import ast
import copy
import gc
import json
import math
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import gpu, learning, original

MODEL = {"num_tokens": 16, "dim": 8, "depth": 2, "seq_len": 24}
FOLDED = MODEL | {"reversible": True, "window": (4, (16, 2)), "act": nn.Tanh()}
WRITER = MODEL | {"window": (4, 24), "attn_dim": 4, "num_tokens": 20}
TOY = {
    "recipe_16k": {"options": FOLDED},
    "recipe_first": {"options": MODEL | {"window": (4, 24)}},
    "causal_sgu": {"n": 8, "dim": 16},
    "causal_local_sgu": {"n": 10, "dim": 16, "window": 4},
    "generation": {"options": WRITER, "prompt": 3, "length": 5},
    "reversible_memory": {"options": MODEL | {"reversible": True}, "depths": (1, 3)},
}


@pytest.fixture(autouse=True, scope="module")
def quick_collections():
    """Garbage is collected before every timed call; here with all of pytest to look through."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def here(monkeypatch):
    """Rows measure in this process: toys need none of their own."""
    monkeypatch.setattr(original, "fresh", lambda function, *args: function(*args))


@pytest.mark.parametrize("name", original.ROWS)
def test_every_row_gives_both_sides_of_every_measure_as_plain_data(name, here):
    row, _ = original.ROWS[name]
    measures = list(row(1, False, **TOY[name]))
    assert len({measure["work"] for measure in measures}) == len(measures)
    for measure in measures:
        assert measure["ours"] > 0 and measure["original"] > 0
        if measure["unit"] == "s":
            assert [len(values) for values in measure["seconds"].values()] == [1, 1]
        assert json.loads(json.dumps(measure)) == measure
        line = original.table_row({"row": name} | measure | original.ratios(measure), True)
        assert line.startswith(name) and measure["work"] in line


def test_the_recipes_are_what_they_are_called():
    """Matrices of 16,384 tokens, counted without memory for them."""
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in package.gMLPGPT(**original.RECIPE_16K).parameters())
            for package in (original.gmlp, original.theirs)
        ]
    assert sizes == [64_390_128, 358_003_696]


def test_the_peak_of_live_tensors_is_exact():
    model = nn.Linear(10, 100, bias=False)
    model.weight.grad = torch.zeros(100, 10)  # its release in work() does not count

    def work():
        a = torch.zeros(1000)
        b = torch.zeros(500)
        del a
        c = torch.zeros(200)
        model.weight.grad = torch.zeros(100, 10)  # not counted: 4,000 bytes
        del b, c
        return torch.zeros(1400)

    assert original.peak_of(work, model) == 4 * 1500
    assert original.peak_of(work, nn.Identity()) == 4 * 2400


def test_a_gradient_is_left_out_where_something_else_lay_before():
    """Memory is used again: only the last thing at an address is the gradient."""
    model = nn.Linear(10_000, 1_000, bias=False)  # so large that the system hands it out anew

    def work():
        before = torch.empty(1_000, 10_000)
        place = before.data_ptr()
        torch.empty(20_000_000)  # the peak: both of them
        del before
        model.weight.grad = torch.empty(1_000, 10_000)
        return model.weight.grad.data_ptr() == place

    same = []
    assert original.peak_of(lambda: same.append(work()), model) == 4 * 30_000_000
    if not all(same):
        pytest.skip("the gradient got another place here, so this shows nothing")


@pytest.mark.parametrize("options", [MODEL, FOLDED], ids=["plain", "reversible"])
def test_both_sides_train_with_equal_weights_that_are_not_zero(options):
    ours, theirs = original.twins(options)
    tokens, targets = original.text(options)
    assert original.compare(ours, theirs, tokens) < 1e-5
    for model in (ours, theirs):
        assert model.training
        original.training_step(model, tokens, targets)
        assert all(p.grad is not None for p in model.parameters())
    once = ours.embed.weight.grad.clone()
    torch.testing.assert_close(once, theirs.to_embed.weight.grad)
    original.training_step(ours, tokens, targets)  # clears what was there
    torch.testing.assert_close(ours.embed.weight.grad, once)
    matrices = [p for name, p in theirs.named_parameters() if name.endswith("sgu.weight")]
    assert len(matrices) == 2 and all(matrix.abs().min() > 0 for matrix in matrices)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("backward", [False, True])
def test_a_unit_goes_forward_or_back_as_well(window, backward, monkeypatch):
    def run_once(ours, theirs, work, runs, compiled):
        for unit in (ours, theirs):
            work(unit)()
            assert {p.grad is not None for p in unit.parameters()} == {backward}
        return {}

    monkeypatch.setattr(original, "timed", run_once)
    original.time_unit(16, 10, window, 2, backward, 1, False)


def test_memory_of_plain_layers_grows_and_of_reversible_ones_hardly(here):
    options = {"num_tokens": 16, "dim": 32, "seq_len": 256, "reversible": True}
    *_, growth = original.reversible_memory(1, False, options, (1, 3))
    assert growth["plain"] == 100
    assert max(growth["ours"], growth["original"]) < 10


def test_work_that_is_not_the_same_is_not_measured():
    unit = original.gmlp.CausalSGU(8, 6)
    other = copy.deepcopy(unit)
    x = torch.randn(1, 6, 8)
    assert original.compare(unit, other, x) == 0
    with torch.no_grad():
        other.weight[0, 3, 1] += 1
    with pytest.raises(RuntimeError, match="do not compute the same"):
        original.compare(unit, other, x)
    with torch.no_grad():
        other.weight[0, 3, 1] = torch.nan
    with pytest.raises(RuntimeError, match="do not compute the same"):
        original.compare(unit, other, x)


def test_the_sides_take_turns_and_the_first_round_does_not_count():
    calls = []
    ours, theirs = nn.Linear(2, 2), nn.Linear(2, 2)
    names = {id(ours): "ours", id(theirs): "original"}
    found = original.timed(
        ours, theirs, lambda model: lambda: calls.append(names[id(model)]), 3, False
    )
    assert calls == ["ours", "original"] * 4
    assert [len(values) for values in found["seconds"].values()] == [3, 3]


def test_what_does_not_compile_is_named_and_the_rest_measured():
    ours, theirs = nn.Linear(2, 2), nn.Linear(2, 2)

    def work(model):
        def call():
            if model not in (ours, theirs):
                raise TypeError("no compiler\nat all")

        return call

    found = original.timed(ours, theirs, work, 1, True)
    assert found["not_compiled"] == dict.fromkeys(["ours", "original"], "TypeError: no compiler")
    assert set(found["seconds"]) == {"ours", "original"}


def test_reversible_layers_compile_in_place_and_other_models_whole():
    def compiled(model):
        copied = original.compile_copy(model)
        assert copied is not model
        return {name for name, m in copied.named_modules() if m._compiled_call_impl is not None}

    whole, reversible = (original.twins(options) for options in (MODEL, FOLDED))
    assert [compiled(model) for model in whole] == [{""}, {""}]
    ours, theirs = map(compiled, reversible)
    assert ours == {f"blocks.blocks.{i}.{part}" for i in range(2) for part in "fg"}
    assert theirs == {f"net.blocks.{i}.{part}.net" for i in range(2) for part in "fg"}


def in_child():
    before = original.resident_peak()
    torch.ones(25_000_000)
    return os.getpid(), torch.get_num_threads(), original.resident_peak() - before


def test_a_fresh_process_answers_fails_or_dies_and_says_so():
    pid, threads, grown = original.fresh(in_child)
    assert pid != os.getpid()
    assert threads == original.THREADS
    assert 90e6 < grown < 130e6  # a tensor of 100 MB, gone before the second look
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        original.fresh(divmod, 1, 0)
    with pytest.raises(RuntimeError, match="ended with code 3"):
        original.fresh(os._exit, 3)


def seen(work):
    return {"work": work, "unit": "s", "ours": 2.0, "original": 3.0}


def stopped(runs, compiled):
    yield seen("kept")
    raise KeyboardInterrupt


def broken(runs, compiled):
    yield seen("before")
    raise RuntimeError("out of luck")


def test_ctrl_c_keeps_what_was_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(original, "ROWS", {"bad": (broken, 1), "cut": (stopped, 1)})
    path = tmp_path / "result.json"
    assert original.main(["--json", str(path)]) == 130
    result = json.loads(path.read_text())
    assert [(m["row"], m["work"], m["ratio"]) for m in result["measures"]] == [
        ("bad", "before", 1.5),
        ("cut", "kept", 1.5),
    ]
    assert result["failed"] == {"bad": "out of luck"}
    assert result["machine"]["threads"] == original.THREADS
    printed = capsys.readouterr().out
    assert "out of luck" in printed and "1.50x" in printed


def test_a_row_that_failed_shows_in_the_exit_code(monkeypatch):
    monkeypatch.setattr(original, "ROWS", {"bad": (broken, 1)})
    assert original.main([]) == 1


def test_who_trains_in_turns_learns_the_same_as_alone():
    data, steps = torch.randint(0, 16, (500,), generator=torch.Generator().manual_seed(0)), 23

    def trainings():
        for seed in range(2):
            torch.manual_seed(seed)
            model = learning.gMLPGPT(**MODEL)
            settings = {"steps": steps, "peak": 1e-2, "seed": seed, "context": 24, "batch": 2}
            yield model, learning.learn(model, data, **settings)

    alone = {str(i): (model, list(each)) for i, (model, each) in enumerate(trainings())}
    together = {str(i): pair for i, pair in enumerate(trainings())}
    seconds = learning.side_by_side({name: each for name, (_, each) in together.items()}, steps)
    for name, (model, spent) in alone.items():
        assert len(spent) == steps and spent[0] > 0 and spent == sorted(spent)
        assert seconds[name] > 0 and not list(together[name][1])  # nothing is left to do
        torch.testing.assert_close(together[name][0].state_dict(), model.state_dict())


def test_the_learning_benchmark_chooses_rates_keeps_its_runs_and_goes_on(
    monkeypatch, tmp_path, capsys
):
    corpus, file = tmp_path / "corpus.txt", tmp_path / "learning.json"
    corpus.write_text("to be or not to be, that is the question. " * 40)

    def call(*more):
        words = ["learning", "--corpus", str(corpus), "--json", str(file), "--rates", "1e-4,1e-2"]
        monkeypatch.setattr(sys, "argv", [*words, "--steps", "11", *more])
        learning.main()
        return json.loads(file.read_text())

    kept = call("--seeds", "0,1")
    tried = [(run["model"], run["peak"], run["seed"]) for run in kept["runs"]]
    both = [(1e-4, 0), (1e-2, 0), (1e-4, 1), (1e-2, 1)]
    assert tried == [(name, peak, seed) for peak, seed in both for name in learning.MODELS]
    assert {row["peak"] for row in kept["best"].values()} == {1e-2}  # it hardly learns at the other
    assert "2 seeds" in capsys.readouterr().out
    assert call("--seeds", "0,1") == kept
    file.write_text(json.dumps(kept | {"runs": kept["runs"][:-2]}))
    again = call("--seeds", "0,1")["runs"]
    assert again[:-2] == kept["runs"][:-2]
    assert [run["valid_nats"] for run in again] == [run["valid_nats"] for run in kept["runs"]]
    with pytest.raises(SystemExit):
        call("--seeds", "0,1", "--steps", "7")
    assert "other conditions (steps)" in capsys.readouterr().err


def test_the_rate_with_the_lowest_median_counts_not_the_luckiest_seed():
    nats = {1e-3: (1.5, 1.9, 1.8), 2e-3: (1.6, 1.7, 1.8), 4e-3: (1.4, 1.4, math.nan)}
    runs = [
        {"model": name, "parameters": 1, "peak": peak, "seed": seed, "cpu_seconds": 9.0}
        | {"valid_nats": value + (name == "other")}
        for name in ("this", "other")
        for peak, values in nats.items()
        for seed, value in enumerate(values)
    ]
    found = learning.best(runs, "this", list(nats), [0, 1, 2])
    assert (found["peak"], found["valid_nats"]) == (2e-3, 1.7)
    assert found["of_seeds"] == [1.6, 1.7, 1.8]
    assert learning.best(runs, "this", [1e-3, 2e-3], [0])["peak"] == 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "causal_sgu,speed"], "no row is called speed.*recipe_16k"),
        (["--runs", "0"], "at least 1; got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        original.main(arguments)
    assert re.search(message, capsys.readouterr().err)


# --- on a GPU -------------------------------------------------------------------------------------

GPU = json.loads((Path(gpu.__file__).parent / "results" / "gpu.json").read_text("utf-8"))["rows"]


def test_what_was_measured_on_a_gpu_is_what_the_benchmark_asks_for():
    assert list(GPU) == [*gpu.ROWS, "learning"]
    runs = [gpu.Run(*(run[name] for name in gpu.Run._fields)) for run in GPU["learning"]["runs"]]
    assert runs == gpu.RUNS
    for run in GPU["learning"]["runs"]:
        assert run["best_nats"] == min(run["nats"])
        assert len(run["nats"]) == run["steps"] / gpu.EVERY


def test_lesson_12_says_what_was_measured_on_a_gpu():
    lesson = (Path(__file__).resolve().parents[1] / "lessons" / "12_scaling_up.py").read_text(
        "utf-8"
    )
    rates = re.search("^H200 = (.*)$", lesson, re.M)[1]
    assert ast.literal_eval(rates) == {
        name: round(rate) for name, rate in GPU["large"]["tokens_a_second"].items()
    }
    limits = GPU["ceilings"]
    flops, traffic = limits["bfloat16_flops"] / 1e12, limits["bytes"] / 1e12
    assert f'"H200, measured"] = ({flops:.0f}e12, {traffic:.2f}e12, 2)' in lesson
    assert f"{flops:.0f} / 989, {traffic:.2f} / 4.8" in lesson
    assert (
        f"at {limits['float32_flops'] / 1e12:.0f} TFLOP/s in float32 and at {flops:.0f}" in lesson
    )
    assert GPU["large"]["device"] == limits["device"] == "NVIDIA H200"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_so_and_names_the_other(capsys):
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "no GPU here; python -m benchmarks.original runs on a CPU" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--only", "speed"])
    assert "'speed'; the rows are ceilings, recipe_16k" in capsys.readouterr().err
