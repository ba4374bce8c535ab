"""What a GPU does with the models: its limits, a long text, a large model, and what is learned.

    python -m benchmarks.gpu [--only ceilings,…] [--corpus FILE]
                             [--json benchmarks/results/gpu.json]

Times are wall time until the GPU has finished, medians over rounds in which the sides take turns,
after one round that does not count. float32 is without TF32; bfloat16 is autocast, with the weights
in float32. With --json every row is kept as it ends, and rows that are not asked for stay.

ceilings    the rate of a product of two 8192 x 8192 matrices, and of a copy of 2 GiB.
recipe_16k  the second recipe of the original's README, 16,384 tokens of a vocabulary of 20,000, at
            dim 512. Both sides have the same weights, and logits are compared first. A training
            step here is: clear the gradients, forward, cross entropy, backward. Memory is what
            PyTorch has allocated at the worst moment, with one of the models there.
row_blocks  our step of that recipe, with triangles cut into blocks of so many rows.
large       a training step of lesson 12's large model, 32 windows of 512 bytes.
learning    nanoGPT's run for one GPU: tinyshakespeare by characters, context 256, 64 windows a
            step, 5,000 steps, dropout. Every 250 steps all of the validation text is read, and the
            lowest loss counts, as nanoGPT reports it. Besides, gMLPs of several sizes. Four runs
            share the GPU; with --json each is kept as it ends, and the same command goes on after
            an interruption.
"""

import argparse
import gc
import json
import math
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.learning import autocast, characters, learn, write_json
from benchmarks.original import RECIPE_16K, compare, text, training_step, twins
from benchmarks.transformer import Transformer
from gmlp import bits_per_byte, evaluate, gMLPGPT, load_corpus, ops

Result = dict[str, Any]

RECIPE: Result = {**RECIPE_16K, "num_tokens": 20000, "dim": 512}
LARGE: Result = {"num_tokens": 256, "dim": 1024, "depth": 8, "seq_len": 512}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

CONTEXT, BATCH, EVERY = 256, 64, 250
BABY_GPT: Result = {"dim": 384, "depth": 6, "heads": 6, "dropout": 0.2}
WIDE: Result = {"dim": 384, "depth": 8, "attn_dim": 64}
LOCAL = [16, 32, 64, 128, None, None, None, None]
SMALL: Result = {"dim": 256, "depth": 8, "attn_dim": 64, "dropout": 0.2, "prob_survival": 0.8}


class Run(NamedTuple):
    model: str
    arguments: Result
    steps: int = 5000
    peak: float = 1e-3
    seed: int = 0


brief = partial(Run, "gMLP", steps=2000, peak=2e-3)
RUNS = [
    *(Run("Transformer", BABY_GPT, seed=seed) for seed in range(3)),
    Run("gMLP", {**WIDE, "dropout": 0.3}),
    Run("gMLP", {**WIDE, "dropout": 0.5}),
    Run("gMLP", {**WIDE, "dropout": 0.4, "prob_survival": 0.8}),
    brief({**WIDE, "dropout": 0.3, "prob_survival": 0.7}),
    brief(SMALL),
    brief({**SMALL, "window": LOCAL}),
    brief(
        {
            **WIDE,
            "depth": 6,
            "dropout": 0.3,
            "prob_survival": 0.7,
            "window": [16, 64, 128, None, None, None],
        }
    ),
    brief({**SMALL, "prob_survival": 0.6, "window": LOCAL}),
    brief({**SMALL, "depth": 12, "ff_mult": 2}),
]


def ceilings() -> Result:
    n = 8192
    found: Result = {"matrix": n}
    for name, dtype in PRECISIONS.items():
        a, b = torch.randn(2, n, n, device="cuda", dtype=dtype)
        (seconds,) = timed({name: lambda a=a, b=b: a @ b}, rounds=10).values()
        found[f"{name}_flops"] = 2 * n**3 / seconds
    source = torch.randn(2**29, device="cuda")
    target = torch.empty_like(source)
    (seconds,) = timed({"copy": lambda: target.copy_(source)}, rounds=10).values()
    return found | {"bytes": 2 * source.nbytes / seconds}


def recipe_16k(options: Result = RECIPE, rounds: int = 5) -> Result:
    torch.manual_seed(0)
    models = dict(zip(("ours", "original"), twins(options), strict=True))
    tokens, targets = (rows.cuda() for rows in text(options))
    found: Result = {
        "rows": ops.ROWS_ON_GPU,
        "parameters": {side: sum(p.numel() for p in m.parameters()) for side, m in models.items()},
    }
    for precision, dtype in PRECISIONS.items():

        def work(model: nn.Module, dtype: torch.dtype = dtype) -> None:
            with autocast("cuda", dtype):
                training_step(model, tokens, targets)

        peaks = {}
        for side, model in models.items():
            peaks[side] = peak_bytes(model.cuda(), partial(work, model))
            model.zero_grad()
            model.cpu()
        for model in models.values():
            model.cuda()
        if dtype == torch.float32:
            found["difference"] = compare(models["ours"], models["original"], tokens)
        works = {side: partial(work, model) for side, model in models.items()}
        found[precision] = {"seconds": timed(works, rounds), "peak_bytes": peaks}
        for model in models.values():
            model.zero_grad()
            model.cpu()
    return found


def large(options: Result = LARGE, batch: int = 32, rounds: int = 10) -> Result:
    torch.manual_seed(0)
    tokens = torch.randint(256, (batch, options["seq_len"] + 1), device="cuda")
    plain = gMLPGPT(**options).cuda()
    compiled = torch.compile(plain)

    def work(model: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
        plain.zero_grad()
        with autocast("cuda", dtype):
            loss = bits_per_byte(model(tokens[:, :-1]), tokens[:, 1:])
        loss.backward()

    works = {name: partial(work, plain, dtype) for name, dtype in PRECISIONS.items()}
    works["bfloat16, compiled"] = partial(work, compiled, torch.bfloat16)
    seconds = timed(works, rounds)
    return {
        "rows": ops.ROWS_ON_GPU,
        "batch": batch,
        "tokens_a_second": {name: tokens[:, 1:].numel() / took for name, took in seconds.items()},
    }


def row_blocks(options: Result = RECIPE, rounds: int = 3) -> Result:
    torch.manual_seed(0)
    model = gMLPGPT(**options).cuda().train()
    tokens, targets = (rows.cuda() for rows in text(options))

    def work(rows: int, dtype: torch.dtype) -> None:
        with (
            mock.patch.object(ops, "ROWS_ON_GPU", rows),
            autocast("cuda", dtype),
        ):
            training_step(model, tokens, targets)

    sizes = (256, 512, 1024, 2048, 4096)
    return {
        precision: timed({str(rows): partial(work, rows, dtype) for rows in sizes}, rounds)
        for precision, dtype in PRECISIONS.items()
    }


def learning(corpus: str, keep: Callable[[Result], None], found: list[Result]) -> None:
    """Every run of ``RUNS`` that is not yet in ``found``; each is kept as it ends."""
    load_corpus(corpus)  # fetched once, if at all
    done = [Run(*(one[name] for name in Run._fields)) for one in found]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        waiting = [pool.submit(learn_once, corpus, run) for run in RUNS if run not in done]
        for future in as_completed(waiting):
            one = future.result()
            print({name: value for name, value in one.items() if name != "nats"}, flush=True)
            found.append(one)
            keep({"context": CONTEXT, "batch": BATCH, "every": EVERY, "runs": found})


def learn_once(corpus: str, run: Run) -> Result:
    tokens, alphabet = characters(load_corpus(corpus))
    train, valid = tokens.tensor_split([int(len(tokens) * 0.9)])
    torch.manual_seed(run.seed)
    model: nn.Module
    if run.model == "gMLP":
        model = gMLPGPT(num_tokens=alphabet, seq_len=CONTEXT, **run.arguments)
    else:
        model = Transformer(alphabet, CONTEXT, **run.arguments)
    model.cuda()
    nats: list[float] = []
    training = learn(
        model,
        train,
        steps=run.steps,
        peak=run.peak,
        seed=run.seed,
        context=CONTEXT,
        batch=BATCH,
        dtype=torch.bfloat16,
    )
    for done, _ in enumerate(training, 1):
        if done % EVERY == 0 or done == run.steps:
            nats.append(round(evaluate(model, valid, CONTEXT, 256) * math.log(2), 4))
    return {
        **run._asdict(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "best_nats": min(nats),
        "nats": nats,
    }


def timed(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            work()
            torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_bytes(model: nn.Module, work: Callable[[], object]) -> int:
    """What PyTorch has allocated on the GPU at the worst moment, the model included."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()


ROWS: dict[str, Callable[[], Result]] = {
    "ceilings": ceilings,
    "recipe_16k": recipe_16k,
    "row_blocks": row_blocks,
    "large": large,
}


def main(arguments: list[str] | None = None) -> None:
    names = (*ROWS, "learning")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME,…", default=",".join(names), help="these rows")
    parser.add_argument("--corpus", default="tinyshakespeare", help="a corpus of gmlp, or a file")
    parser.add_argument("--json", type=Path, help="keep the results here")
    given = parser.parse_args(arguments)
    wanted = given.only.split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; the rows are {', '.join(names)}")
    if not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU here; python -m benchmarks.original runs on a CPU")

    result: Result = {"made_by": "python -m benchmarks.gpu", "rows": {}}
    if given.json and given.json.exists():
        result = json.loads(given.json.read_text(encoding="utf-8"))

    def keep(name: str, row: Result) -> None:
        result["rows"][name] = {**machine(), **row}
        if given.json:
            write_json(given.json, result)

    for name in wanted:
        if name == "learning":
            kept = result["rows"].get(name, {}).get("runs", [])
            learning(given.corpus, partial(keep, name), kept)
        else:
            row = ROWS[name]()
            print(json.dumps({name: row}, indent=1), flush=True)
            keep(name, row)


def machine() -> Result:
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
