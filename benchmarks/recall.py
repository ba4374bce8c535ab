"""Lesson 06's game in full: who learns to look up, by training step.

    python -m benchmarks.recall [--json benchmarks/results/recall.json]

Multi-query associative recall with 16 keys, 16 values and 25 pairs (49 positions), fresh texts at
every step, Adam at one rate. A gMLP of two layers, one of four, and one of two with an attention
head of size 32, three seeds each; a run ends early when its accuracy on 500 other texts has reached
99.5 %. With --json the runs are kept as they end, and the same command goes on after an
interruption. About eight CPU minutes.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.learning import write_json
from gmlp import gMLPGPT
from gmlp.tasks import recall_accuracy, recall_batch, said_most

KEYS, VALUES, PAIRS = 16, 16, 25
DIM, FF_MULT, BATCH, RATE = 64, 2, 32, 4e-3
EVERY, ENOUGH = 100, 0.995
MODELS: dict[str, dict[str, Any]] = {
    "gMLP, 2 layers": {"depth": 2},
    "gMLP, 4 layers": {"depth": 4},
    "aMLP, 2 layers": {"depth": 2, "attn_dim": 32},
}
TASK = {"keys": KEYS, "values": VALUES, "pairs": PAIRS}


def learn(name: str, seed: int, steps: int) -> dict[str, Any]:
    """One run: the accuracy after every ``EVERY`` steps, until it is enough."""
    torch.manual_seed(seed)
    model = gMLPGPT(
        num_tokens=KEYS + VALUES,
        dim=DIM,
        seq_len=2 * PAIRS - 1,
        ff_mult=FF_MULT,
        **MODELS[name],
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    texts, answers = recall_batch(500, **TASK, seed=10**9)
    accuracy: list[float] = []
    began = time.process_time()
    for step in range(steps):
        tokens, targets = recall_batch(BATCH, **TASK, seed=10**6 * seed + step)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % EVERY == 0:
            with torch.no_grad():
                accuracy.append(round(recall_accuracy(model(texts).argmax(-1), answers), 4))
            if accuracy[-1] >= ENOUGH:
                break
    return {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": seed,
        "accuracy": accuracy,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="keep the runs here, and go on with those there")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()

    texts, answers = recall_batch(4000, **TASK, seed=10**9 + 1)
    conditions = {
        "device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "task": TASK,
        "dim": DIM,
        "ff_mult": FF_MULT,
        "models": MODELS,
        "batch": BATCH,
        "rate": RATE,
        "steps": given.steps,
        "every": EVERY,
        "enough": ENOUGH,
        "chance": 1 / VALUES,
        "said_most": round(recall_accuracy(said_most(texts, KEYS), answers), 4),
    }
    runs: list[dict[str, Any]] = []
    if given.json and given.json.exists():
        kept = json.loads(given.json.read_text(encoding="utf-8"))
        changed = [key for key, value in conditions.items() if kept["conditions"].get(key) != value]
        if changed:
            parser.error(
                f"{given.json} holds runs made under other conditions ({', '.join(changed)}); "
                f"name another file, or delete it to start again"
            )
        runs = kept["runs"]

    for seed in range(given.seeds):
        for name in MODELS:
            if any((run["model"], run["seed"]) == (name, seed) for run in runs):
                continue
            run = learn(name, seed, given.steps)
            print(run, flush=True)
            runs.append(run)
            if given.json:
                result = {
                    "made_by": "python -m benchmarks.recall",
                    "conditions": conditions,
                    "runs": runs,
                }
                write_json(given.json, result)

    print(f"\nwithout the key {conditions['said_most']:.3f}, chance {conditions['chance']:.3f}")
    for name in MODELS:
        last = [run["accuracy"][-1] for run in runs if run["model"] == name]
        print(f"{name:16} last accuracy {sorted(last)}, median {median(last):.3f}")


if __name__ == "__main__":
    main()
