"""This package beside the original research code, g-mlp-gpt 0.0.15: time, memory, parameters.

    python -m benchmarks.original [--only recipe_first,causal_sgu] [--runs 5] [--compile]
                                  [--json FILE]

Both do the same work with the same weights, in float32, batch 1, on two threads. Times are wall
time: each side in turn within one process (ours, original, ours, …), after a round that does not
count; medians are printed, all values go to the JSON file. Outputs are compared first, so that no
work is measured which is not the same. A ratio above 1 is in our favour. Every row runs in a
process of its own, and so does each measurement of memory, of which the median is given, too: how
much the C library keeps of what was freed is a matter of chance. Ctrl-C ends the run and keeps
what was measured. The original's `recipe_16k` and `generation` take minutes; the largest row needs
10 GB of memory, 15 GB with --compile. The original is among the course's requirements:
pip install -e ".[course]".

The rows:

recipe_16k         the original README's second recipe, 16,384 tokens, at 64 channels and with a
                   vocabulary of 256. With the README's 20,000 tokens the logits and their
                   gradients alone take 1.3 GB each on either side, more than all else of ours.
                   A training step here is: clear the gradients, forward, cross entropy, backward.
recipe_first       the first recipe, a training step on 1,024 tokens; with the README's vocabulary,
                   whose projection is most of the work, and with 256.
causal_sgu         one CausalSGU, n = 2048, dim = 1024; forward runs without gradients.
causal_local_sgu   one CausalLocalSGU, n = 4096, w = 128, dim = 1024.
generation         700 tokens after 64, drawn from the 25 likeliest of 256. The original reads the
                   whole text for each token and has no cache. Weights are equal, the texts are
                   not: the random numbers are used differently.
reversible_memory  peak bytes of live tensors in a training step, without parameters and without
                   their gradients, at two depths. Exact: every allocation and every release that
                   PyTorch's CPU allocator reports to the profiler, those inside operations too.
                   Beside it "plain", our same model with recompute=False. The growth from the
                   small depth to the large is given in per cent of the growth of plain.

With --compile each side is also timed under torch.compile (of reversible layers f and g, each in
place). Generation is not: a text grows by a token, so there is no shape to compile for.
"""

import argparse
import contextlib
import copy
import gc
import json
import math
import multiprocessing
import os
import platform
import signal
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import g_mlp_gpt.g_mlp_gpt as theirs
import torch
import torch.nn.functional as F
from g_mlp_gpt.autoregressive_wrapper import AutoregressiveWrapper
from g_mlp_gpt.reversible import Deterministic
from g_mlp_gpt.reversible import ReversibleBlock as TheirBlock
from torch import Tensor, nn

import gmlp

THREADS = 2
Measure = dict[str, Any]
Options = dict[str, Any]

RECIPE_16K: Options = {
    "num_tokens": 256,
    "dim": 64,
    "depth": 12,
    "seq_len": 16384,
    "reversible": True,
    "window": (
        *(128, 128, 256, 512, 1024, 1024),
        *((2048, 2), (2048, 2), (4096, 4), (4096, 4), (8192, 8), (8192, 8)),
    ),
    "act": nn.Tanh(),
}
RECIPE_FIRST: Options = {
    "num_tokens": 20000,
    "dim": 512,
    "depth": 4,
    "seq_len": 1024,
    "window": (128, 256, 512, 1024),
}
WRITER: Options = {
    "num_tokens": 256,
    "dim": 512,
    "depth": 8,
    "seq_len": 768,
    "window": (16, 32, 64, 128, 256, 384, 512, 768),
    "attn_dim": 16,
}
DEEP: Options = {"num_tokens": 256, "dim": 128, "seq_len": 1024, "reversible": True}


# ---- rows: each yields its measures as they come ----


def recipe_16k(runs: int, compiled: bool, options: Options = RECIPE_16K) -> Iterator[Measure]:
    yield fresh(time_steps, options, runs, compiled) | {"work": "training step"}
    sides = ("ours", "original")
    found = {side: [fresh(peak_memory, side, options) for _ in range(runs)] for side in sides}
    for work, key in (
        ("peak resident memory of the process", "peak"),
        ("of that, there after the imports", "imports"),
    ):
        values = {side: [process[key] for process in found[side]] for side in sides}
        medians = {side: statistics.median_low(values[side]) for side in sides}
        yield {"work": work, "unit": "B", "runs": runs, **medians, "bytes": values}
    parameters = {side: found[side][0]["parameters"] for side in sides}
    yield {"work": "parameters", "unit": "", **parameters}


def recipe_first(runs: int, compiled: bool, options: Options = RECIPE_FIRST) -> Iterator[Measure]:
    for num_tokens in (options["num_tokens"], 256):
        measure = fresh(time_steps, options | {"num_tokens": num_tokens}, runs, compiled)
        yield measure | {"work": f"training step, {num_tokens} tokens"}


def causal_sgu(runs: int, compiled: bool, n: int = 2048, dim: int = 1024) -> Iterator[Measure]:
    for heads in (1, 4):
        for backward in (False, True):
            measure = fresh(time_unit, dim, n, None, heads, backward, runs, compiled)
            passes = "forward + backward" if backward else "forward"
            yield measure | {"work": f"{passes}, heads {heads}"}


def causal_local_sgu(
    runs: int, compiled: bool, n: int = 4096, dim: int = 1024, window: int = 128
) -> Iterator[Measure]:
    for heads in (1, 4):
        measure = fresh(time_unit, dim, n, window, heads, True, runs, compiled)
        yield measure | {"work": f"forward + backward, heads {heads}"}


def generation(
    runs: int, compiled: bool, options: Options = WRITER, prompt: int = 64, length: int = 700
) -> Iterator[Measure]:
    measure = fresh(time_generation, options, prompt, length, runs)
    yield measure | {"work": f"{length} tokens after {prompt}"}


def reversible_memory(
    runs: int, compiled: bool, options: Options = DEEP, depths: tuple[int, int] = (4, 32)
) -> Iterator[Measure]:
    peaks: list[dict[str, int]] = []
    for depth in depths:
        deep = options | {"depth": depth}
        peaks.append(
            {side: fresh(peak_tensors, side, deep) for side in ("ours", "original", "plain")}
        )
        yield {"work": f"peak of live tensors, depth {depth}", "unit": "B"} | peaks[-1]
    growth = {side: peaks[1][side] - peaks[0][side] for side in peaks[0]}
    yield {"work": "growth, of that of plain", "unit": "%"} | {
        side: 100 * grown / growth["plain"] for side, grown in growth.items()
    }


# ---- what a fresh process measures ----


def time_steps(options: Options, runs: int, compiled: bool) -> Measure:
    ours, original = twins(options)
    tokens, targets = text(options)
    difference = compare(ours, original, tokens)

    def work(model: nn.Module) -> Callable[[], None]:
        return lambda: training_step(model, tokens, targets)

    return timed(ours, original, work, runs, compiled) | {"difference": difference}


def time_unit(
    dim: int, n: int, window: int | None, heads: int, backward: bool, runs: int, compiled: bool
) -> Measure:
    ours: nn.Module
    if window is None:
        ours = gmlp.CausalSGU(dim, n, heads=heads)
        original = theirs.CausalSGU(dim, n, heads=heads)
    else:
        ours = gmlp.CausalLocalSGU(dim, n, heads=heads, window=window)
        original = theirs.CausalLocalSGU(dim, n, heads=heads, window=window)
    randomise(original)
    ours.load_state_dict({k: v for k, v in original.state_dict().items() if k != "mask"})
    x, grad = torch.randn(1, n, dim), torch.randn(1, n, dim // 2)
    difference = compare(ours, original, x)

    def work(unit: nn.Module) -> Callable[[], None]:
        def forward() -> None:
            with torch.no_grad():
                unit(x)

        def forward_and_backward() -> None:
            unit.zero_grad()
            unit(x.detach().requires_grad_()).backward(grad)

        return forward_and_backward if backward else forward

    return timed(ours, original, work, runs, compiled) | {"difference": difference}


def time_generation(options: Options, prompt: int, length: int, runs: int) -> Measure:
    ours, original = twins(options)
    start = torch.randint(options["num_tokens"], (1, prompt))
    k = int((1 - 0.9) * options["num_tokens"])  # the original's filter keeps so many

    def work(model: Any, length: int = length) -> Callable[[], None]:
        def write() -> None:
            if model is original:
                written = AutoregressiveWrapper(original).generate(start, length)
            else:
                written = gmlp.generate(model, start, length, top_k=k)[:, prompt:]
            assert written.shape == (1, length)

        return write

    for model in (ours, original):
        work(model, min(length, 4))()  # warm; a whole round would take minutes
    return timed(ours, original, work, runs, compiled=False, warm=False)


def peak_memory(side: str, options: Options) -> dict[str, int]:
    """Bytes of this process at its largest, and what was there before the model."""
    imports = resident_peak()
    model = theirs.gMLPGPT(**options) if side == "original" else gmlp.gMLPGPT(**options)
    training_step(model.train(), *text(options))
    parameters = sum(p.numel() for p in model.parameters())
    return {"peak": resident_peak(), "imports": imports, "parameters": parameters}


def resident_peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # of this program alone; getrusage would count the one that started it
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_tensors(side: str, options: Options) -> int:
    """Bytes of live tensors at their peak in a training step, but parameters and gradients."""
    model: nn.Module
    if side == "original":
        model = theirs.gMLPGPT(**options)
        randomise(model)
    else:
        model = gmlp.gMLPGPT(**options)
        model.blocks.recompute = side == "ours"
    tokens, targets = text(options)
    return peak_of(lambda: training_step(model.train(), tokens, targets), model)


def peak_of(work: Callable[[], object], model: nn.Module) -> int:
    """Peak bytes that ``work`` allocates, the gradients that it leaves in ``model`` left out."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = list(profiler.profiler.kineto_results.experimental_event_tree())
    moments = []
    while events:
        event = events.pop()
        events += event.children
        if type(event.extra_fields).__name__ == "_ExtraFields_Allocation":
            moments.append((event.start_time_ns, event.extra_fields))
    moments.sort(key=lambda moment: moment[0])
    # The last thing to be put where a gradient lies now is that gradient.
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    kept = {grad.untyped_storage().data_ptr(): grad.nbytes for grad in gradients}
    last = {event.ptr: i for i, (_, event) in enumerate(moments) if event.alloc_size > 0}
    sizes: dict[int, int] = {}
    live = peak = 0
    for i, (_, event) in enumerate(moments):
        if event.alloc_size > 0:
            is_gradient = i == last[event.ptr] and event.ptr in kept
            sizes[event.ptr] = event.alloc_size - (kept[event.ptr] if is_gradient else 0)
            live += sizes[event.ptr]
            peak = max(peak, live)
        else:  # nothing, if it was there before
            live -= sizes.pop(event.ptr, 0)
    return peak


# ---- the two sides ----


def twins(options: Options) -> tuple[gmlp.gMLPGPT, nn.Module]:
    """Both models, ready to train, with the same weights."""
    original = theirs.gMLPGPT(**options)
    randomise(original)
    ours = gmlp.gMLPGPT(**options)
    with warnings.catch_warnings():  # local attention differs, on purpose
        warnings.simplefilter("ignore")
        ours.load_original(original.state_dict())
    return ours.train(), original.train()


@torch.no_grad()
def randomise(original: nn.Module) -> None:
    """The original's matrices start at exactly zero, where a wrong one would go unseen."""
    for module in original.modules():
        if isinstance(module, theirs.CausalSGU | theirs.CausalLocalSGU):
            module.weight.normal_(std=module.weight.shape[-1] ** -0.5)


def text(options: Options) -> tuple[Tensor, Tensor]:
    """A full context of random tokens, and targets."""
    tokens = torch.randint(options["num_tokens"], (1, options["seq_len"] + 1))
    return tokens[:, :-1], tokens[:, 1:]


def training_step(model: nn.Module, tokens: Tensor, targets: Tensor) -> None:
    model.zero_grad()
    F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).backward()


@torch.no_grad()
def compare(ours: nn.Module, original: nn.Module, given: Tensor) -> float:
    """The largest difference of outputs; an error if it is more than rounding."""
    expected = original(given)
    difference = (ours(given) - expected).abs().max().item()
    allowed = 1e-4 * expected.abs().max().item()
    if not difference <= allowed:
        raise RuntimeError(
            f"the two sides do not compute the same: outputs differ by {difference:.1e}, rounding "
            f"explains {allowed:.1e}"
        )
    return difference


def compile_copy(model: nn.Module) -> nn.Module:
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = 64  # each window is a program of its own
    model = copy.deepcopy(model)
    blocks = [m for m in model.modules() if isinstance(m, gmlp.ReversibleBlock | TheirBlock)]
    for part in [part for block in blocks for part in (block.f, block.g)] or [model]:
        (part.net if isinstance(part, Deterministic) else part).compile(dynamic=False)
    return model


def timed(
    ours: nn.Module,
    original: nn.Module,
    work: Callable[[nn.Module], Callable[[], None]],
    runs: int,
    compiled: bool,
    warm: bool = True,
) -> Measure:
    """Median seconds of each side's work, side after side in every round."""
    models = {"ours": ours, "original": original}
    failed = {}
    for side in list(models) if compiled else []:
        say(f"  {side}, compiling")
        try:
            fast = compile_copy(models[side])
            work(fast)()
        except Exception as error:  # whatever the compiler meets: say so, measure the others
            failed[side] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            models[f"{side}_compiled"] = fast
    works = {side: work(model) for side, model in models.items()}
    seconds: dict[str, list[float]] = {side: [] for side in works}
    took = math.inf
    for run in range(0 if warm else 1, runs + 1):
        for side, call in works.items():
            if took > 1:  # quick work needs no progress line
                say(f"  {side}, run {run} of {runs}" if run else f"  {side}, warming up")
            gc.collect()
            started = time.perf_counter()
            call()
            took = time.perf_counter() - started
            if run:
                seconds[side].append(took)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return {"unit": "s", "runs": runs, **medians, "seconds": seconds, "not_compiled": failed}


# ---- processes and print ----


def fresh(function: Callable[..., Any], *args: Any) -> Any:
    """What ``function`` returns, called in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    receive, send = spawn.Pipe(duplex=False)
    process = spawn.Process(target=answer, args=(send, function, args))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for us
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    send.close()
    try:
        error, value = receive.recv()
    except EOFError:
        process.join()
        code = process.exitcode
        raise RuntimeError(f"its process ended with code {code}; enough memory?") from None
    finally:
        process.kill()
        process.join()
    if error:
        raise RuntimeError(error)
    return value


def answer(send: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    try:
        send.send((None, function(*args)))
    except Exception:
        send.send((traceback.format_exc(), None))


def say(words: str) -> None:
    """A progress line; on a terminal the next one is written over it."""
    over = sys.stderr.isatty()
    if words or over:
        start, end = ("\r\x1b[K", "") if over else ("", "\n")
        print(start + words, end=end, file=sys.stderr, flush=True)


RATIOS = {
    "ratio": ("original", "ours"),
    "ratio_ours_compiled": ("original", "ours_compiled"),
    "ratio_both_compiled": ("original_compiled", "ours_compiled"),
}


def ratios(measure: Measure) -> dict[str, float]:
    """How many times as much the original needs."""
    return {
        name: measure[top] / measure[bottom]
        for name, (top, bottom) in RATIOS.items()
        if measure["unit"] != "%" and top in measure and bottom in measure
    }


def table_line(cells: list[str]) -> str:
    row, work, *figures, remark = cells
    return f"{row:18} {work:36}" + "".join(f"{figure:>12}" for figure in figures) + f"  {remark}"


def table_head(compiled: bool) -> str:
    more = ["ours comp.", "ratio", "orig. comp.", "ratio"] if compiled else []
    return table_line(["row", "work", "original", "ours", "ratio", *more, ""])


def table_row(measure: Measure, compiled: bool) -> str:
    def figure(name: str) -> str:
        value, unit = measure.get(name), measure["unit"]
        if value is None:
            return "–"
        if name in RATIOS:
            return f"{value:.2f}x"
        if unit == "s":
            return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"
        if unit == "B":
            return f"{value / 1e9:.3f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
        return f"{value:.1f} %" if unit == "%" else f"{value:,}"

    names = ["original", "ours", "ratio"]
    if compiled:
        names += ["ours_compiled", "ratio_ours_compiled", "original_compiled"]
        names += ["ratio_both_compiled"]
    remarks = [f"{measure['runs']} runs"] if "runs" in measure else []
    if "difference" in measure:
        remarks.append(f"outputs differ by {measure['difference']:.0e}")
    if "plain" in measure:
        remarks.append(f"plain {figure('plain')}")
    remarks += [f"{side} not compiled" for side in measure.get("not_compiled", ())]
    return table_line([measure["row"], measure["work"], *map(figure, names), ", ".join(remarks)])


def machine() -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "g-mlp-gpt": metadata.version("g-mlp-gpt"),
        "gmlp": gmlp.__version__,
    }


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# The rows, and how many runs each gets unless told: few of what takes minutes.
ROWS: dict[str, tuple[Callable[[int, bool], Iterator[Measure]], int]] = {
    "recipe_16k": (recipe_16k, 3),
    "recipe_first": (recipe_first, 7),
    "causal_sgu": (causal_sgu, 15),
    "causal_local_sgu": (causal_local_sgu, 15),
    "generation": (generation, 3),
    "reversible_memory": (reversible_memory, 1),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.original",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME,…", default=",".join(ROWS), help="these rows")
    parser.add_argument("--runs", type=int, metavar="N", help="counted rounds, for every row")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values to FILE")
    given = parser.parse_args(arguments)
    names = given.only.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if given.runs is not None and given.runs < 1:
        parser.error(f"--runs must be at least 1; got {given.runs}")

    result: dict[str, Any] = {
        "made_by": "python -m benchmarks.original",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "dtype": "float32",
        "measures": [],
        "failed": {},
    }

    def keep() -> None:
        if given.json:
            given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    def show(line: str) -> None:
        say("")
        print(line, flush=True)

    keep()  # a file that cannot be written is better known now
    print(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    show(table_head(given.compile))
    try:
        for name in names:
            row, runs = ROWS[name]
            say(name)
            try:
                for found in row(given.runs or runs, given.compile):
                    measure = {"row": name} | found | ratios(found)
                    result["measures"].append(measure)
                    keep()
                    show(table_row(measure, given.compile))
            except Exception as error:
                result["failed"][name] = str(error)
                keep()
                show(f"{name} failed: {error}")
    except KeyboardInterrupt:
        show("stopped; what stands above was measured")
        return 130
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
