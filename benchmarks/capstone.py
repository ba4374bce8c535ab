"""gMLP, aMLP and Transformer at equal multiplications per token: the runs behind lesson 13.

    python -m benchmarks.capstone [--json benchmarks/results/capstone.json]

All models read the same windows of the text that ships with Python, for as many steps, with the
same schedule. With the first seed each runs at three learning rates, the same three for all; where
the best of them stands at an end, the next one beyond it is tried as well, until it does not. The
other seeds run at the best rate. A seed decides the first weights and the batches; so with one seed
all models meet the same batches. Bits per byte are those of the validation part, each byte
predicted once; seconds are CPU seconds of training and validation together.

Beside the three: an aMLP with heads in its lower half alone; the Transformer equal to the gMLP in
something else, with three seeds; and the gMLP and the Transformer once with five times the steps.
About 20 CPU minutes in one thread (OMP_NUM_THREADS=1). The runs are kept as they end, and the same
command goes on after an interruption.
"""

import argparse
import hashlib
import json
import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.learning import numbers, write_json
from benchmarks.transformer import Transformer
from gmlp import gMLPGPT, load_corpus, split_corpus, train
from gmlp.capstone import spread

VOCABULARY, CONTEXT, DEPTH, BATCH = 256, 64, 4, 12
STEPS, WARMUP, EVAL_EVERY = 600, 50, 100
RATES, SEEDS = (4e-3, 8e-3, 16e-3), (0, 1, 2, 3, 4)
LONGER = 5  # times the steps, once: with the first seed, at the rates chosen for the shorter runs
RESULT = Path(__file__).parent / "results" / "capstone.json"

# Widths at which the multiplications agree to one part in a hundred.
EQUAL: dict[str, dict[str, Any]] = {
    "gMLP": {"dim": 75},
    "aMLP": {"dim": 68, "attn_dim": (16, 16, 16, 16)},
    "Transformer": {"dim": 56},
}
ABLATION: dict[str, dict[str, Any]] = {
    "aMLP, lower half": {"dim": 72, "attn_dim": (16, 16, None, None)},
}
# The Transformer again, equal to the gMLP in something else. They run at its chosen rate.
OTHERWISE: dict[str, dict[str, Any]] = {
    "Transformer, equal parameters": {"dim": 60},
    "Transformer, equal width": {"dim": 76},
}
SHAPES = EQUAL | ABLATION | OTHERWISE
Run = dict[str, Any]


def make(name: str) -> nn.Module:
    if name.startswith("Transformer"):
        return Transformer(VOCABULARY, CONTEXT, depth=DEPTH, heads=4, **SHAPES[name])
    return gMLPGPT(num_tokens=VOCABULARY, depth=DEPTH, seq_len=CONTEXT, **SHAPES[name])


def gmlp_multiplications(
    *, dim: int, depth: int, n: int, vocabulary: int, attn_dim: Sequence[int | None] | None = None
) -> int:
    """Multiplications for one of ``n`` tokens, forward; a matrix counts as if nothing were masked.

    The inner width is ``4 d``. ``attn_dim`` has the size of the head of each layer.
    """
    layer = dim * 4 * dim + n * 2 * dim + 2 * dim * dim  # widen, mix the positions, narrow
    heads = [k for k in attn_dim or () if k]
    # queries, keys and values; scores and the mean of values; into the gate
    return (
        depth * layer
        + sum(3 * dim * k + 2 * n * k + k * 2 * dim for k in heads)
        + (dim * vocabulary)
    )


def transformer_multiplications(*, dim: int, depth: int, n: int, vocabulary: int) -> int:
    """The same of a Transformer whose inner width is ``4 d``."""
    attention = 3 * dim * dim + 2 * n * dim + dim * dim
    return depth * (attention + 2 * dim * 4 * dim) + dim * vocabulary


def multiplications(name: str) -> int:
    count: Callable[..., int] = (
        transformer_multiplications if name.startswith("Transformer") else gmlp_multiplications
    )
    return count(depth=DEPTH, n=CONTEXT, vocabulary=VOCABULARY, **SHAPES[name])


def next_rate(bits: dict[float, float]) -> float | None:
    """The rate that is still to be tried: beyond the best one, where that stands at an end."""
    best = min(bits, key=bits.__getitem__)
    if best == max(bits):
        return 2 * best
    return best / 2 if best == min(bits) else None


def table(runs: Sequence[Run], chosen: dict[str, float]) -> dict[str, Any]:
    """A row for each model: its runs at the chosen rate, by seed."""
    rows = {}
    for name, peak in chosen.items():
        same = [run for run in runs if (run["model"], run["peak"]) == (name, peak)]
        same.sort(key=lambda run: run["seed"])
        if len(same) > 1:
            rows[name] = {
                "peak": peak,
                "seeds": [run["seed"] for run in same],
                "valid_bits": [run["valid_bits"] for run in same],
                **spread([run["valid_bits"] for run in same]),
            }
    return rows


def learn(name: str, peak: float, seed: int, parts: Any, steps: int) -> Run:
    """One run, from the first weights to the last validation."""
    torch.manual_seed(seed)
    model = make(name)
    try:
        history = train(
            model,
            *parts,
            steps=steps,
            context=CONTEXT,
            batch_size=BATCH,
            peak=peak,
            warmup=WARMUP,
            eval_every=EVAL_EVERY,
            seed=seed,
            progress=False,
        )
    except FloatingPointError:  # the rate was too high; that is a result, too
        return {"model": name, "peak": peak, "seed": seed, "valid_bits": math.inf}
    return {
        "model": name,
        "peak": peak,
        "seed": seed,
        "valid_bits": round(history[-1].valid_bits, 4),
        "cpu_seconds": round(history[-1].cpu_seconds, 1),
        "curve": [
            [record.step, round(record.valid_bits, 4), round(record.cpu_seconds, 1)]
            for record in history
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpus", default="pydocs", help="a corpus of gmlp, or a file")
    parser.add_argument("--json", type=Path, default=RESULT, help="keep the runs here, and go on")
    parser.add_argument("--seeds", type=numbers(int), default=list(SEEDS), metavar="0,1,2")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()

    text = load_corpus(given.corpus)
    parts = split_corpus(text)
    conditions = {
        "device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "corpus": given.corpus,
        "corpus_sha256": hashlib.sha256(text).hexdigest(),
        "steps": given.steps,
        "context": CONTEXT,
        "batch": BATCH,
        "warmup": WARMUP,
        "depth": DEPTH,
        "rates": list(RATES),
    }
    models = {
        name: {
            **json.loads(json.dumps(SHAPES[name])),
            "parameters": sum(p.numel() for p in make(name).parameters()),
            "multiplications": multiplications(name),
        }
        for name in SHAPES
    }
    runs: list[Run] = []
    long_runs: list[Run] = []
    if given.json.exists():
        kept = json.loads(given.json.read_text(encoding="utf-8"))
        now = conditions | {"models": models}
        before = kept["conditions"] | {"models": kept["models"]}
        changed = [key for key, value in now.items() if before.get(key) != value]
        if changed:
            parser.error(
                f"{given.json} holds runs made under other conditions ({', '.join(changed)}); "
                f"name another file, or delete it to start again"
            )
        runs, long_runs = kept["runs"], kept.get("longer", [])

    chosen: dict[str, float] = {}

    def bits(name: str, peak: float, seed: int) -> float:
        for run in runs:
            if (run["model"], run["peak"], run["seed"]) == (name, peak, seed):
                return float(run["valid_bits"])
        run = learn(name, peak, seed, parts, given.steps)
        print({key: value for key, value in run.items() if key != "curve"}, flush=True)
        runs.append(run)
        keep()
        return float(run["valid_bits"])

    def longer(name: str) -> None:
        if not any(run["model"] == name for run in long_runs):
            run = learn(name, chosen[name], first, parts, LONGER * given.steps)
            print({key: value for key, value in run.items() if key != "curve"}, flush=True)
            long_runs.append(run)
            keep()

    def keep() -> None:
        result = {
            "made_by": "python -m benchmarks.capstone",
            "conditions": conditions,
            "models": models,
            "chosen": chosen,
            "table": table(runs, chosen),
            "runs": runs,
            "longer": long_runs,
        }
        write_json(given.json, result)

    def choose(names: Sequence[str]) -> None:
        tried = {name: {peak: bits(name, peak, first) for peak in RATES} for name in names}
        for name, by_rate in tried.items():
            while (more := next_rate(by_rate)) is not None:
                by_rate[more] = bits(name, more, first)
            chosen[name] = min(by_rate, key=by_rate.__getitem__)

    first, *others = given.seeds
    choose(list(EQUAL))
    for seed in others[:2]:  # three seeds of what matters most come first
        for name in EQUAL:
            bits(name, chosen[name], seed)
    choose(list(ABLATION))
    chosen.update(dict.fromkeys(OTHERWISE, chosen["Transformer"]))
    for place, seed in enumerate(given.seeds):
        for name in SHAPES:
            if place < 3 or name not in OTHERWISE:  # three are enough for these
                bits(name, chosen[name], seed)
    for name in ("gMLP", "Transformer"):
        longer(name)
    keep()

    print(f"\n{'':30} parameters  multiplications  rate    bits per byte   error")
    for name, row in table(runs, chosen).items():
        print(
            f"{name:30} {models[name]['parameters']:10,}  {models[name]['multiplications']:15,}  "
            f"{row['peak']:<6g}  {row['mean']:13.3f}  {row['error']:6.3f}"
        )


if __name__ == "__main__":
    main()
