"""Lesson 13: the report and its complaints, the figure of seeds, and the benchmark's helpers."""

import ast
import copy
import json
import math
import statistics
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from laws import DRAWS
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gmlp import gMLPGPT
from gmlp.capstone import FACTORS, FIELDS, complain, differences, interval, spread, to_markdown
from gmlp.viz.capstone import PLACES, seeds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import capstone
from benchmarks.transformer import Transformer

results = st.lists(st.floats(0.1, 10), min_size=2, max_size=12)

REPORT = {
    "question": "Is a better than b?",
    "varied": "the kind",
    "equal": "all else",
    "budget": "600 steps, the best of three rates each",
    "seeds": [0, 1, 2],
    "results": {"a": [2.0, 2.1, 2.05], "b": [2.5, 2.62, 2.56]},
    "summary": {"a": spread([2.0, 2.1, 2.05]), "b": spread([2.5, 2.62, 2.56])},
    "winner": "a",
    "conclusion": "a needs half a bit less.",
    "not_shown": ["larger models"],
}


def changed(**fields):
    return copy.deepcopy(REPORT) | fields


# ---- the numbers ----


@DRAWS
@given(results)
def test_spread_is_what_the_standard_library_says(values):
    found = spread(values)
    assert found["mean"] == pytest.approx(statistics.mean(values))
    assert found["deviation"] == pytest.approx(statistics.stdev(values), abs=1e-9)
    assert found["error"] == pytest.approx(found["deviation"] / math.sqrt(len(values)))
    low, high = interval(values)
    assert low <= found["mean"] <= high
    assert high - low == pytest.approx(2 * FACTORS[min(len(values), 10)] * found["error"])


def test_one_value_has_no_spread():
    with pytest.raises(ValueError, match="at least two values; got 1"):
        spread([2.0])


@pytest.mark.parametrize(("count", "factor"), FACTORS.items())
def test_the_factors_are_students(count, factor):
    """A numerical integral of the density of t, with count - 1 degrees of freedom."""
    f = count - 1
    t = torch.linspace(0, factor, 20_001, dtype=torch.float64)
    scale = math.exp(math.lgamma((f + 1) / 2) - math.lgamma(f / 2)) / math.sqrt(f * math.pi)
    inside = 2 * torch.trapezoid(scale * (1 + t**2 / f) ** (-(f + 1) / 2), t).item()
    assert inside == pytest.approx(0.95, abs=5e-4)


@DRAWS
@given(results, st.floats(-1, 1))
def test_what_a_seed_does_to_both_cancels_in_the_differences(values, apart):
    low, high = interval(differences(values, [value + apart for value in values]))
    assert low == pytest.approx(apart, abs=1e-9) and high == pytest.approx(apart, abs=1e-9)


def test_differences_want_pairs():
    with pytest.raises(ValueError):
        differences([1.0], [1.0, 2.0])


# ---- the report ----


def test_a_whole_report_has_no_complaints_and_all_its_numbers_on_the_page():
    assert set(REPORT) == set(FIELDS)
    assert complain(REPORT) == []
    page = to_markdown(REPORT)
    table = [line.split(" | ") for line in page.splitlines() if line.startswith("|")]
    assert [len(row) for row in table] == [6] * 4
    for values in REPORT["results"].values():
        assert all(f"{value:.3f}" in page for value in values)
    for key in ("question", "varied", "equal", "budget", "conclusion"):
        assert REPORT[key] in page
    assert "- larger models" in page
    assert json.loads(json.dumps(REPORT)) == REPORT


@pytest.mark.parametrize("key", FIELDS)
def test_a_missing_field_is_named(key):
    report = changed()
    del report[key]
    (complaint,) = complain(report)
    assert complaint.startswith(f"{key} is missing: {FIELDS[key]}")
    with pytest.raises(ValueError, match=f"not ready to be printed: {key} is missing"):
        to_markdown(report)


@pytest.mark.parametrize("key", [key for key in FIELDS if key != "winner"])
def test_an_empty_field_is_named(key):
    (complaint,) = complain(changed(**{key: type(REPORT[key])()}))
    assert complaint.startswith(f"{key} is empty")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"question": "Is it good"}, "question does not end"),
        ({"seeds": [0, 0, 1]}, "seeds are [0, 0, 1]"),
        ({"seeds": [0, 1, 2, 3]}, "results of a: 3 values for 4 seeds"),
        ({"results": {"a": [2.0, 2.1, 2.05]}}, "results has one model"),
        ({"results": {**REPORT["results"], "b": [2.5, math.nan, 2.6]}}, "no finite number"),
        ({"results": {**REPORT["results"], "b": [2.5, math.inf, 2.6]}}, "no finite number"),
        ({"summary": {"a": spread([2.0, 2.1, 2.05])}}, "summary of b: mean is None"),
        (
            {"summary": REPORT["summary"] | {"a": {"mean": 2.0, "error": 0.0289}}},
            "summary of a: mean is 2.0, the results give 2.050",
        ),
        (
            {"summary": REPORT["summary"] | {"a": {"mean": 2.05, "error": 0.05}}},
            "summary of a: error is 0.05, the results give 0.029",
        ),
        ({"conclusion": "No one wins."}, "conclusion names none"),
        ({"not_shown": "larger models"}, "not_shown is one text"),
        ({"winner": "c"}, "winner is 'c', which is none of the models: a, b"),
        ({"winner": "b"}, "winner is b, but a minus b is -0."),
    ],
)
def test_what_is_wrong_is_said(fields, said):
    assert any(said in complaint for complaint in complain(changed(**fields)))


def test_two_seeds_are_too_few():
    two = {name: values[:2] for name, values in REPORT["results"].items()}
    found = complain(
        changed(
            seeds=[0, 1], results=two, summary={name: spread(bits) for name, bits in two.items()}
        )
    )
    assert found == ["seeds are [0, 1]: at least three, and each counts once"]


@DRAWS
@given(st.lists(st.tuples(st.floats(1, 3), st.floats(1, 3)), min_size=3, max_size=8))
def test_at_most_one_model_may_be_called_the_winner(pairs):
    a, b = ([round(value, 3) for value in part] for part in zip(*pairs, strict=True))
    both = {"a": a, "b": b}
    whole = {
        "seeds": list(range(len(a))),
        "results": both,
        "summary": {name: spread(values) for name, values in both.items()},
    }
    assert complain(changed(**whole, winner=None)) == []
    allowed = [name for name in both if not complain(changed(**whole, winner=name))]
    low, high = interval(differences(a, b))
    assert allowed == (["a"] if low > 0 else ["b"] if high < 0 else [])


# ---- the figure ----

THREE = {
    "a": [2.19, 2.18, 2.2, 2.21, 2.25],
    "b": [2.15, 2.14, 2.16, 2.18, 2.2],
    "c": [3.0, 3.1, 3.05, 3.02, 3.2],
}


def test_a_tent_stands_on_its_interval():
    figure = seeds(THREE)
    low, high = min(map(min, THREE.values())), max(map(max, THREE.values()))
    ends = low - (high - low) / 4, high + (high - low) / 4
    places = torch.linspace(*ends, PLACES, dtype=torch.float64)
    for first, name in enumerate(THREE):
        for granted, k in enumerate(range(2, 6)):
            state = {"first": first, "granted": granted}
            drawn = torch.from_numpy(figure.frame("one", ("place",), state)) > 0
            foot = interval(THREE[name][:k])
            inside = (places >= foot[0]) & (places <= foot[1])
            mean = (places - sum(foot) / 2).abs().argmin()
            assert drawn[mean] and torch.equal(drawn, inside | (torch.arange(PLACES) == mean))
            assert figure.text("is_one", state).startswith(f"{spread(THREE[name][:k])['mean']:.3f}")
            runs = figure.frame("runs_of_one", ("seed",), state)
            assert ((runs > 0) == [seed < k for seed in range(5)]).all()


def test_the_sentence_says_what_the_intervals_say():
    figure = seeds(THREE, start=("b", "a"))
    for granted, k in enumerate(range(2, 6)):
        for first, a in enumerate(THREE):
            for second, b in enumerate(THREE):
                told = figure.text("told", {"granted": granted, "first": first, "second": second})
                if a == b:
                    assert told == "The same model twice."
                    continue
                (low, high), (from_, to) = interval(THREE[a][:k]), interval(THREE[b][:k])
                assert ("overlap" in told) == (low <= to and from_ <= high)
                low, high = interval(differences(THREE[a][:k], THREE[b][:k]))
                assert ("undecided" in told) == (low <= 0 <= high)
    assert "b and a" in figure.alt


@pytest.mark.parametrize(
    "wrong", [{"a": [1.0] * 3}, {"a": [1.0] * 3, "b": [1.0] * 4}, {"a": [1.0] * 2, "b": [1.0] * 2}]
)
def test_the_figure_wants_models_with_the_same_seeds(wrong):
    with pytest.raises(ValueError, match="at least two models"):
        seeds(wrong)


# ---- the benchmark ----


def counted(model, n):
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, n, dtype=torch.long))
    return counter.get_total_flops() / 2 / n


@DRAWS
@given(
    st.integers(1, 9),
    st.lists(st.sampled_from([None, 1, 3, 4]), min_size=1, max_size=3),
    st.integers(2, 12),
    st.integers(2, 20),
)
def test_multiplications_of_a_gmlp_are_those_that_pytorch_counts(dim, attn_dim, n, vocabulary):
    depth = len(attn_dim)
    shape = {"dim": dim, "depth": depth, "attn_dim": tuple(attn_dim)}
    model = gMLPGPT(num_tokens=vocabulary, seq_len=n, **shape)
    found = capstone.gmlp_multiplications(n=n, vocabulary=vocabulary, **shape)
    assert found == counted(model, n)


@DRAWS
@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 12), st.integers(2, 20))
def test_multiplications_of_a_transformer_are_those_that_pytorch_counts(size, depth, n, vocabulary):
    model = Transformer(vocabulary, n, dim=2 * size, depth=depth, heads=2)
    found = capstone.transformer_multiplications(
        dim=2 * size, depth=depth, n=n, vocabulary=vocabulary
    )
    assert found == counted(model, n)


def test_the_compared_models_multiply_equally_often():
    for name in capstone.SHAPES:
        assert capstone.multiplications(name) == counted(capstone.make(name), capstone.CONTEXT)
    equal = [capstone.multiplications(name) for name in capstone.EQUAL]
    assert max(equal) < 1.01 * min(equal)
    for name in capstone.ABLATION:
        assert abs(capstone.multiplications(name) / equal[0] - 1) < 0.02
    sizes = {
        name: sum(p.numel() for p in capstone.make(name).parameters())
        for name in ("gMLP", "Transformer, equal parameters")
    }
    assert abs(sizes["gMLP"] / sizes["Transformer, equal parameters"] - 1) < 0.01


@DRAWS
@given(st.dictionaries(st.integers(0, 5), st.floats(1, 5), min_size=3))
def test_the_next_rate_stands_beyond_the_best_one_at_an_end(bits):
    by_rate = {2.0**power: value for power, value in bits.items()}
    assume(len(set(bits.values())) == len(bits))
    best, more = min(by_rate, key=by_rate.__getitem__), capstone.next_rate(by_rate)
    if min(by_rate) < best < max(by_rate):
        assert more is None
    else:
        assert more not in by_rate and more in (best / 2, best * 2)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """The benchmark with runs that take no time; how often it ran, and how to call it."""
    ran = []

    def learn(name, peak, seed, parts, steps):
        ran.append((name, peak, seed, steps))
        bits = round(2 + abs(math.log2(peak / 2e-3)) / 8 + seed / 100, 4)
        curve = [[steps, bits, 1.0]]
        return {"model": name, "peak": peak, "seed": seed, "valid_bits": bits, "curve": curve}

    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(bytes(range(32, 127)) * 20)
    file = tmp_path / "capstone.json"
    monkeypatch.setattr(capstone, "learn", learn)

    def call(*more):
        words = ["capstone", "--corpus", str(corpus), "--json", str(file), *more]
        monkeypatch.setattr(sys, "argv", words)
        capstone.main()
        return json.loads(file.read_text())

    return ran, call


def test_the_benchmark_chooses_rates_keeps_its_runs_and_goes_on(quick, capsys):
    ran, call = quick
    kept = call("--seeds", "0,1,2")
    assert set(kept["chosen"].values()) == {2e-3}  # an end of what was tried: one more beyond
    for name in capstone.EQUAL:
        assert {peak for model, peak, _, _ in ran if model == name} == {1e-3, 2e-3, *capstone.RATES}
    for row in kept["table"].values():
        assert row["valid_bits"] == [2.0, 2.01, 2.02] and row["mean"] == pytest.approx(2.01)
    assert len(ran) == len(set(ran)) == len(kept["runs"]) + len(kept["longer"])
    before = list(ran)
    assert call("--seeds", "0,1,2") == kept and ran == before
    call("--seeds", "0,1,2,3")
    assert {seed for _, _, seed, _ in ran[len(before) :]} == {3}
    with pytest.raises(SystemExit):
        call("--steps", "7")
    assert "other conditions (steps)" in capsys.readouterr().err


def test_a_run_that_diverges_is_a_result(monkeypatch):
    def diverge(*_, **__):
        raise FloatingPointError

    monkeypatch.setattr(capstone, "train", diverge)
    assert capstone.learn("gMLP", 1.0, 0, (None, None), 1)["valid_bits"] == math.inf


def test_a_short_run_is_decided_by_its_seed():
    data = torch.randint(256, (2000,), generator=torch.Generator().manual_seed(0))
    one, same, other = (
        capstone.learn("aMLP", 1e-3, seed, (data, data[:300]), 2)["valid_bits"]
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_the_numbers_of_the_lesson_are_those_of_the_benchmark():
    """Read from its source; the lesson itself compares what its table is made of."""
    lesson = Path(__file__).resolve().parents[1] / "lessons" / "13_capstone.py"
    said: dict = {}
    for node in ast.parse(lesson.read_text(encoding="utf-8")).body:
        names = {"runs", "lower_half", "sweep", "cpu_seconds", "other", "longer"}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in names:
            exec(ast.unparse(node), said)
    kept = json.loads(capstone.RESULT.read_text(encoding="utf-8"))
    table = {name: row["valid_bits"] for name, row in kept["table"].items()}
    width, size = "Transformer, equal width", "Transformer, equal parameters"
    assert said["runs"] | {"aMLP, lower half": said["lower_half"]} == {
        name: bits for name, bits in table.items() if name not in (width, size)
    }
    equal, *others = said["other"].values()
    assert (equal, others) == (table["Transformer"][:3], [table[size], table[width]])
    tried = {name: {} for name in said["sweep"]}
    for run in kept["runs"]:
        if run["seed"] == 0 and run["model"] in tried:
            tried[run["model"]][run["peak"]] = run["valid_bits"]
    assert said["sweep"] == tried
    for run in kept["longer"]:
        curve = {step: bits for step, bits, _ in run["curve"]}
        assert said["longer"][run["model"]].items() <= curve.items()
    for name, value in said["cpu_seconds"].items():
        chosen = (name, kept["chosen"][name])
        spent = [r["cpu_seconds"] for r in kept["runs"] if (r["model"], r["peak"]) == chosen]
        assert statistics.median(spent) == value


def test_the_kept_results_are_whole():
    kept = json.loads(capstone.RESULT.read_text(encoding="utf-8"))
    assert kept["table"] == capstone.table(kept["runs"], kept["chosen"])
    assert len(kept["conditions"]["corpus_sha256"]) == 64
    for name in (*capstone.EQUAL, *capstone.ABLATION):
        assert kept["table"][name]["seeds"] == list(capstone.SEEDS)
        first = {
            run["peak"]: run["valid_bits"]
            for run in kept["runs"]
            if run["seed"] == 0
            if run["model"] == name
        }
        assert capstone.next_rate(first) is None
        assert kept["chosen"][name] == min(first, key=first.__getitem__)
    for name, model in kept["models"].items():
        assert model["multiplications"] == capstone.multiplications(name)
        assert model["parameters"] == sum(p.numel() for p in capstone.make(name).parameters())
