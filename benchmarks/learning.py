"""What a gMLP and a Transformer learn from the same text on the same small budget.

    python -m benchmarks.learning [--corpus FILE] [--json benchmarks/results/learning.json]

A language model by characters, at the size that nanoGPT suggests for a laptop's CPU. Both models
get the same windows of text, steps, schedule and optimizer, and train side by side, a few steps of
one, then of the other: what else the machine does slows both alike. Each runs at three learning
rates with every seed; of each rate the median counts, and of the medians the lowest. The loss is
the mean over the last tenth of the text, every character predicted once, in nats a character; the
seconds are CPU seconds, of training alone. With --json the runs are kept as they end, and the same
command goes on after an interruption.
"""

import argparse
import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.transformer import Transformer
from gmlp import evaluate, gMLPGPT, learning_rate, load_corpus, sample_batch
from gmlp.checks.progress import write_whole
from gmlp.ops import keep_freed_memory

CONTEXT, BATCH = 64, 12
WARMUP, BETAS, DECAY, CLIP = 100, (0.9, 0.99), 0.1, 1.0
TURN = 10  # steps of one model before the other's turn
LAST_RATE = 1e-4  # where the schedule ends, as in nanoGPT, whatever its peak
# The first layer goes without a head: with one it came no lower, and took 2 % longer.
SHAPE: dict[str, Any] = {"dim": 128, "depth": 6, "ff_mult": 3, "attn_dim": [None] + 5 * [16]}
MODELS: dict[str, Callable[[int], nn.Module]] = {
    "gMLP": lambda v: gMLPGPT(num_tokens=v, seq_len=CONTEXT, **SHAPE),
    "Transformer": lambda v: Transformer(v, CONTEXT),
}
RATES = {"gMLP": (3e-3, 4e-3, 6e-3), "Transformer": (2e-3, 4e-3, 8e-3)}


def characters(text: bytes) -> tuple[Tensor, int]:
    """Every character as its place in the alphabet of the text, ``(n,)``; size of the alphabet."""
    decoded = text.decode()
    place = {character: i for i, character in enumerate(sorted(set(decoded)))}
    return torch.tensor([place[character] for character in decoded]), len(place)


def autocast(device: str, dtype: torch.dtype) -> torch.autocast:
    """Products in ``dtype``; for float32, everything as it is."""
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)


def learn(
    model: nn.Module,
    data: Tensor,
    *,
    steps: int,
    peak: float,
    seed: int,
    context: int = CONTEXT,
    batch: int = BATCH,
    dtype: torch.dtype = torch.float32,
) -> Iterator[float]:
    """Train the model, where it is, with products in ``dtype``.

    Yields after every step the CPU seconds that were spent on all steps so far.
    """
    keep_freed_memory()
    device = next(model.parameters()).device
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[parameter.ndim > 1 and not name.endswith("bias")].append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": DECAY},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        betas=BETAS,
        fused=True,
    )
    seconds = 0.0
    for step in range(steps):
        began = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak, WARMUP, floor=LAST_RATE / peak)
        inputs, targets = (
            rows.to(device) for rows in sample_batch(data, batch, context, seed * 1_000_003 + step)
        )
        with autocast(device.type, dtype):
            loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        seconds += time.process_time() - began
        yield seconds


def side_by_side(trainings: dict[str, Iterator[float]], steps: int) -> dict[str, float]:
    """Go through trainings of ``steps`` steps in turns; the CPU seconds of each."""
    seconds: dict[str, float] = {}
    for _ in range(0, steps, TURN):
        for name, training in trainings.items():
            *_, seconds[name] = islice(training, TURN)
    return seconds


def write_json(path: Path, result: Any) -> None:
    """The file is there in full or not at all, whatever interrupts."""
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())


Run = dict[str, Any]


def best(runs: list[Run], name: str, rates: list[float], seeds: list[int]) -> dict[str, Any]:
    """The medians of a model over the seeds, at the rate where that of its loss is lowest."""
    medians = [summary(runs, name, peak, seeds) for peak in rates]
    learned = [one for one in medians if not any(map(math.isnan, one["of_seeds"]))]
    return min(learned, key=lambda one: one["valid_nats"])


def summary(runs: list[Run], name: str, peak: float, seeds: list[int]) -> dict[str, Any]:
    """The medians of a model over the seeds, at one rate."""
    same = [
        run for run in runs if (run["model"], run["peak"]) == (name, peak) and run["seed"] in seeds
    ]
    return {
        "parameters": same[0]["parameters"],
        "peak": peak,
        "valid_nats": median(run["valid_nats"] for run in same),
        "of_seeds": sorted(run["valid_nats"] for run in same),
        "cpu_seconds": median(run["cpu_seconds"] for run in same),
    }


def numbers(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [kind(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpus", default="tinyshakespeare", help="a corpus of gmlp, or a file")
    parser.add_argument("--json", type=Path, help="keep the runs here, and go on with those there")
    parser.add_argument("--seeds", type=numbers(int), default=[0, 1, 2], metavar="0,1,2")
    parser.add_argument(
        "--rates", type=numbers(float), help=f"peak learning rates, for both; default: {RATES}"
    )
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()

    text = load_corpus(given.corpus)
    tokens, alphabet = characters(text)
    train, valid = tokens.tensor_split([int(len(tokens) * 0.9)])
    conditions = {
        "device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "corpus_sha256": hashlib.sha256(text).hexdigest(),
        "alphabet": alphabet,
        "steps": given.steps,
        "context": CONTEXT,
        "batch": BATCH,
        "warmup": WARMUP,
        "betas": list(BETAS),
        "weight_decay": DECAY,
        "clip": CLIP,
        "last_rate": LAST_RATE,
        "turn": TURN,
        "gMLP": SHAPE,
    }
    runs: list[Run] = []
    if given.json and given.json.exists():
        kept = json.loads(given.json.read_text(encoding="utf-8"))
        changed = [key for key, value in conditions.items() if kept["conditions"].get(key) != value]
        if changed:
            parser.error(
                f"{given.json} holds runs made under other conditions ({', '.join(changed)}); "
                f"name another file, or delete it to start again"
            )
        runs = kept["runs"]

    def train_both(
        peaks: dict[str, float], seed: int, steps: int
    ) -> tuple[dict[str, nn.Module], dict[str, float]]:
        models: dict[str, nn.Module] = {}
        trainings: dict[str, Iterator[float]] = {}
        for name, peak in peaks.items():
            torch.manual_seed(seed)
            models[name] = MODELS[name](alphabet)
            trainings[name] = learn(models[name], train, steps=steps, peak=peak, seed=seed)
        return models, side_by_side(trainings, steps)

    def run_once(peaks: dict[str, float], seed: int) -> None:
        known = {(run["model"], run["peak"], run["seed"]) for run in runs}
        if known >= {(name, peak, seed) for name, peak in peaks.items()}:
            return
        models, seconds = train_both(peaks, seed, given.steps)
        for name, model in models.items():
            run = {
                "model": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "peak": peaks[name],
                "seed": seed,
                "valid_nats": round(evaluate(model, valid, CONTEXT) * math.log(2), 4),
                "cpu_seconds": round(seconds[name], 1),
            }
            print(run, flush=True)
            runs.append(run)
        keep()

    def keep(**more: Any) -> None:
        if given.json:
            result = {"made_by": "python -m benchmarks.learning", "conditions": conditions}
            write_json(given.json, result | more | {"runs": runs})

    # What PyTorch loads at the first step is no part of the comparison.
    train_both(dict.fromkeys(MODELS, 1e-3), seed=0, steps=2)

    rates = {name: given.rates or list(RATES[name]) for name in MODELS}
    for seed in given.seeds:
        for peaks in zip(*rates.values(), strict=True):
            run_once(dict(zip(MODELS, peaks, strict=True)), seed)
    found = {name: best(runs, name, rates[name], given.seeds) for name in MODELS}
    keep(best=found)

    print(f"\n{'':12} parameters  rate    nats a character  CPU seconds")
    for name, row in found.items():
        print(
            f"{name:12} {row['parameters']:10,}  {row['peak']:<6g}  {row['valid_nats']:16.3f}  "
            f"{row['cpu_seconds']:11.0f}"
        )
    ours, theirs = found["gMLP"], found["Transformer"]
    print(
        f"\nThe gMLP stands {theirs['valid_nats'] - ours['valid_nats']:.3f} nats lower and takes "
        f"{ours['cpu_seconds'] / theirs['cpu_seconds']:.2f} times the CPU seconds "
        f"({conditions['device']}, median of {len(given.seeds)} seeds)."
    )


if __name__ == "__main__":
    main()
