"""Lesson 04, training: a language model of blocks, and the loop that teaches it to read bytes."""

import contextlib
import csv
import json
import math
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gmlp.ops import Cache, Linear, at_least_one, keep_freed_memory, step

TINY = Path(__file__).parent / "assets" / "tiny.safetensors"


class LanguageModel(nn.Module):
    r"""Tokens in, a score for every possible next token out, at every position at once.

    .. math:: logits = \mathrm{LayerNorm}(blocks(E[tokens])) \, V + c

    Args:
        num_tokens: size ``v`` of the vocabulary; 256 for bytes.
        dim: channels ``d`` between the blocks.
        seq_len: the largest number of positions, the context.
        blocks: ``(b, n, d) -> (b, n, d)``, causal; nothing here keeps it from looking ahead.

    Shapes:
        ``tokens (b, n)`` integer ``-> logits (b, n, v)`` for every ``1 <= n <= seq_len``. There is
        no position embedding: the rows of ``W`` already know where they stand.

    Raises:
        ValueError: tokens that are not integers, out of range (seen on the CPU only: elsewhere
            looking would make the device wait), of the wrong shape or too many.

    Source: Liu et al. 2021, section 2 (no positional encodings), appendix A.
    """

    def __init__(self, num_tokens: int, dim: int, seq_len: int, blocks: nn.Module) -> None:
        super().__init__()
        self.num_tokens, self.dim, self.seq_len = num_tokens, dim, seq_len
        self.embed = nn.Embedding(num_tokens, dim)
        self.blocks = blocks
        self.norm = nn.LayerNorm(dim)
        self.to_logits = Linear(dim, num_tokens)

    def check(self, tokens: Tensor) -> None:
        if tokens.is_floating_point() or tokens.ndim != 2:
            raise ValueError(
                f"tokens must be integers of shape (b, n); got {tokens.dtype} of shape "
                f"{tuple(tokens.shape)}"
            )
        if not 1 <= tokens.shape[1] <= self.seq_len:
            raise ValueError(
                f"this model reads 1 to seq_len={self.seq_len} tokens at once; got n="
                f"{tokens.shape[1]} (keep the last ones: tokens[:, -{self.seq_len}:])"
            )
        if tokens.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = (int(end) for end in tokens.aminmax())  # 256 does not fit into uint8
            if low < 0 or high >= self.num_tokens:
                raise ValueError(
                    f"tokens must lie in 0 … {self.num_tokens - 1} (num_tokens={self.num_tokens}); "
                    f"got {low} … {high}"
                )

    def forward(self, tokens: Tensor) -> Tensor:
        self.check(tokens)
        x = self.embed(tokens.long())  # (b, n, d)
        x = self.blocks(x)  # (b, n, d)
        return self.to_logits(self.norm(x))  # (b, n, v)

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read the next tokens ``(b, m)``; the logits ``(b, v)`` of what follows the last.

        The cache remembers what came before, so that a token costs one row of each ``W``.

        Raises:
            ValueError: more than ``seq_len`` tokens in all, or what :meth:`forward` does not take.
        """
        self.check(tokens)
        read = cache.read(self) + tokens.shape[1]
        if read > self.seq_len:
            raise ValueError(
                f"this model reads seq_len={self.seq_len} tokens in all; these would make {read} "
                f"(start a new cache with the last of them)"
            )
        cache.advance(self, tokens.shape[1])
        x = step(self.blocks, self.embed(tokens.long()), cache)  # (b, m, d)
        return self.to_logits(self.norm(x[:, -1]))  # (b, v)


def bits_per_byte(logits: Tensor, targets: Tensor) -> Tensor:
    r"""The mean number of bits that the model needs to write down the next byte.

    .. math:: -\frac{1}{bn} \sum_{b,i} \log_2 p_{b,i}(target_{b,i}),
              \qquad p = \mathrm{softmax}(logits)

    Args:
        logits: ``(b, n, v)``.
        targets: ``(b, n)``, what came next at each position.

    Returns:
        A scalar. Guessing blindly among 256 bytes costs 8 bits.

    Source: Shannon 1948, section 6; cross entropy in units of base 2.
    """
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten().long())
    return nats / math.log(2)


def sample_batch(data: Tensor, batch_size: int, context: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cut ``batch_size`` windows at random places: inputs, and the same one byte further on.

    Args:
        data: ``(bytes,)`` of integers, longer than ``context``.
        seed: decides the places. The loop below uses the number of the step, so that a run which
            was interrupted goes on with just the batches that it would have seen.

    Returns:
        Inputs and targets, ``(batch_size, context)`` each, int64.
    """
    if len(data) <= context:
        raise ValueError(
            f"a batch needs more than context={context} bytes (inputs and the byte after them); "
            f"the data has {len(data)}"
        )
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(data) - context, (batch_size, 1), generator=generator)
    windows = data[starts + torch.arange(context + 1)].long()
    return windows[:, :-1], windows[:, 1:]


@torch.no_grad()
def evaluate(model: nn.Module, data: Tensor, context: int, batch_size: int = 64) -> float:
    """Bits per byte over all of ``data``, each byte predicted once.

    The text is cut into windows of ``context`` that do not overlap; at the start of a window the
    model has nothing to look back on, so the figure is a little worse than what it could do.
    """
    if len(data) <= context:
        raise ValueError(f"evaluate needs more than context={context} bytes; got {len(data)}")
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    count = (len(data) - 1) // context
    inputs = data[: count * context].view(count, context)
    targets = data[1 : count * context + 1].view(count, context)
    bits = 0.0
    for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        logits = model(x.long().to(device))
        bits += bits_per_byte(logits, y.to(device)).item() * len(x)
    model.train(was_training)
    return bits / count


def learning_rate(step: int, steps: int, peak: float, warmup: int, floor: float = 0.1) -> float:
    r"""Warm up in a straight line, then come down along half a cosine.

    Rises from ``peak / warmup`` at step 0 to ``peak`` at step ``warmup - 1``, then falls to
    ``floor * peak`` at the last step.

    Source: Loshchilov & Hutter 2017, "SGDR" (arXiv 1608.03983), equation 5, with one cycle; the
    warm-up of Goyal et al. 2017 (arXiv 1706.02677), section 2.2.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)  # 0 … 1
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2)


class Record(NamedTuple):
    """What :func:`train` notes down; bits are bits per byte, seconds those of all processes."""

    step: int
    train_bits: float
    valid_bits: float
    cpu_seconds: float


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def train(
    model: nn.Module,
    data: Tensor,
    valid: Tensor,
    *,
    steps: int,
    context: int = 64,
    batch_size: int = 12,
    peak: float = 4e-3,
    warmup: int = 50,
    clip: float = 1.0,
    weight_decay: float = 0.01,
    accumulate: int = 1,
    precision: str = "float32",
    compile: bool = False,
    eval_every: int = 100,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    about: Mapping[str, Any] | None = None,
    log: str | os.PathLike[str] | None = None,
    on_eval: Callable[[int], object] | None = None,
    progress: bool = True,
) -> list[Record]:
    """Train ``model`` in place with AdamW and return what was noted on the way.

    In several processes (``torch.distributed`` is initialised, as under ``torchrun``) each takes
    its rows of every batch, and the result is that of one process but for rounding. All call this
    with the same arguments; the first validates, writes and prints.

    Args:
        data, valid: ``(bytes,)`` of integers: what it learns from, and what it is judged by.
        steps: batches in all, each of ``batch_size`` windows of ``context`` bytes.
        peak, warmup: see :func:`learning_rate`.
        clip: a gradient that is longer than this is cut to this length.
        weight_decay: share of each weight that is taken away in a step, per unit of learning rate.
        accumulate: equal parts in which a batch is run, one after the other, to save memory.
        precision: ``"bfloat16"`` or ``"float16"`` for autocast, the latter with scaled losses;
            weights, and validation, stay as they are.
        compile: run the model through ``torch.compile``; of reversible blocks each ``f`` and ``g``,
            since autograd is written by hand around them.
        eval_every: steps from one validation to the next (the last step always has one).
        seed: decides the batches and, within each step, all random numbers; those of the caller
            go on as if nothing had been drawn.
        checkpoint: a file that is read if it is there: call again with the same arguments and an
            interrupted run goes on, to the same result. Ctrl-C waits until a step has been finished
            and written.
        checkpoint_every: steps from one writing to the next (and after the last); by default
            ``eval_every``.
        about: more that must be the same when a run goes on, such as the arguments of the model;
            anything that JSON can hold.
        log: a CSV file that gets one line for each validation.
        on_eval: called with the number of steps done, after each validation.
        progress: a bar with the loss, tokens a second, and what is left.

    Raises:
        ValueError: an argument out of range, or a checkpoint of a run with other settings.
        FloatingPointError: the loss, or its gradient, became NaN or infinite; says at which step
            and what to try. The weights are still those before that step. With ``"float16"``
            infinite gradients are usual: such a step is skipped and the loss scaled less.
        KeyboardInterrupt: the run was stopped; with a checkpoint, nothing is lost.
    """
    from tqdm import tqdm

    several = dist.is_available() and dist.is_initialized()
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    first = rank == 0
    checkpoint_every = eval_every if checkpoint_every is None else checkpoint_every
    at_least_one(
        steps=steps,
        context=context,
        batch_size=batch_size,
        accumulate=accumulate,
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
    )
    if batch_size % (accumulate * ranks):
        raise ValueError(
            f"batch_size must be a multiple of {accumulate * ranks}, to be cut into equal parts "
            f"(accumulate={accumulate}, processes={ranks}); got batch_size={batch_size}"
        )
    if not clip > 0:
        raise ValueError(f"clip must be more than 0; got clip={clip}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")

    keep_freed_memory()
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=weight_decay)
    autocast = torch.autocast(
        device.type, dtype=PRECISIONS[precision], enabled=precision != "float32"
    )
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    settings = {
        **(about or {}),
        "steps": steps,
        "context": context,
        "batch_size": batch_size,
        "peak": peak,
        "warmup": warmup,
        "clip": clip,
        "weight_decay": weight_decay,
        "accumulate": accumulate,
        "precision": precision,
        "eval_every": eval_every,
        "seed": seed,
    }
    history: list[Record] = []
    recent: list[float] = []  # losses since the last validation
    start, seconds_before, saved_at = 0, 0.0, None
    if checkpoint is not None and Path(checkpoint).exists():
        _compare(checkpoint, read_notes(checkpoint, "settings")["settings"], settings)
        notes = load_checkpoint(checkpoint, model, optimizer)
        history = [Record(*row) for row in notes["history"]]
        recent, start, seconds_before = notes["recent"], notes["step"], notes["cpu_seconds"]
        scaler.load_state_dict(notes["scaler"])
        saved_at = start
    began = time.process_time() - (seconds_before if first else 0.0)

    def save(done: int) -> None:
        nonlocal saved_at
        saved_at = done
        if first and checkpoint is not None:
            save_checkpoint(
                checkpoint,
                model,
                optimizer,
                settings=settings,
                step=done,
                history=history,
                recent=recent,
                cpu_seconds=time.process_time() - began,
                scaler=scaler.state_dict(),
            )

    def stop(what: str, value: float, step: int) -> NoReturn:
        if checkpoint is None:
            where = "No checkpoint was asked for"
        elif saved_at is None:
            where = "No checkpoint had been written yet"
        else:
            where = f"The last good checkpoint is {os.fspath(checkpoint)}, after {saved_at} steps"
        raise FloatingPointError(
            f"{what} became {value} at step {step}. {where}. Try a lower peak (it was {peak:g}) or "
            f"a longer warmup (it was {warmup})"
        )

    if first and log is not None:
        _write_log(log, history)
    model.train()
    # On stdout, because notebooks paint stderr red.
    bar = tqdm(
        total=steps * batch_size * context,
        initial=start * batch_size * context,
        disable=not (progress and first) or start == steps,
        file=sys.stdout,
        unit=" tokens",
        unit_scale=True,
    )
    valid_text = f", valid {history[-1].valid_bits:.3f}" if history else ""
    with contextlib.ExitStack() as stack:
        stack.callback(bar.close)
        running = stack.enter_context(_compiled(model)) if compile else model
        if several:
            running = DistributedDataParallel(
                running,
                # Looking for layers without a gradient costs time; only dropped ones have none.
                find_unused_parameters=any(
                    getattr(module, "prob_survival", 1.0) < 1 for module in model.modules()
                ),
            )
        interrupts = stack.enter_context(_noting_interrupts(checkpoint is not None))
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak, warmup)
            inputs, targets = sample_batch(data, batch_size, context, seed * 1_000_003 + step)
            optimizer.zero_grad(set_to_none=True)
            losses = []
            with _seeded(seed, step, rank, device):
                parts = zip(inputs.chunk(accumulate), targets.chunk(accumulate), strict=True)
                for part, rows in enumerate(parts):
                    x, y = (t.chunk(ranks)[rank].to(device) for t in rows)
                    with contextlib.ExitStack() as once:
                        last = part + 1 == accumulate  # then the processes share their gradients
                        if isinstance(running, DistributedDataParallel) and not last:
                            once.enter_context(running.no_sync())
                        with autocast:
                            loss = bits_per_byte(running(x), y)
                        scaler.scale(loss / accumulate).backward()
                    losses.append(loss.detach())
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
            loss = torch.stack(losses).mean()
            interrupted = bool(interrupts)
            if several:
                shared = torch.stack((loss / ranks, loss.new_tensor(float(interrupted))))
                dist.all_reduce(shared)
                loss, interrupted = shared[0], bool(shared[1])
            bits, length = loss.item(), norm.item()
            if not math.isfinite(bits):
                stop("the loss", bits, step)
            if not (math.isfinite(length) or scaler.is_enabled()):
                stop("the length of the gradient", length, step)
            scaler.step(optimizer)
            scaler.update()
            recent.append(bits)

            done = step + 1
            validating = done % eval_every == 0 or done == steps
            train_bits = torch.tensor(recent, dtype=loss.dtype).mean().item()
            if validating:
                valid_bits = evaluate(model, valid, context) if first else 0.0
                seconds = time.process_time() - began
                if several:
                    shared = torch.tensor([valid_bits, seconds], dtype=torch.float64, device=device)
                    dist.all_reduce(shared)
                    valid_bits, seconds = shared.tolist()
                if not math.isfinite(valid_bits):
                    stop("the validation loss", valid_bits, step)
                history.append(Record(done, train_bits, valid_bits, seconds))
                recent.clear()
                valid_text = f", valid {valid_bits:.3f}"
                if first and log is not None:
                    _write_log(log, history[-1:], "a")
            bar.set_postfix_str(
                f"step {done}/{steps}, train {train_bits:.3f}{valid_text} bits/byte", refresh=False
            )
            bar.update(batch_size * context)
            if interrupted or done % checkpoint_every == 0 or done == steps:
                save(done)
            if validating and first and on_eval is not None:
                on_eval(done)
            if interrupted and done < steps:
                raise KeyboardInterrupt(f"stopped after {done} of {steps} steps")
    if several:
        dist.barrier()  # the last checkpoint is written when any process returns
    return history


@contextlib.contextmanager
def _seeded(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Random numbers that depend on these alone; afterwards the caller's go on as before."""
    number = random.Random(f"{seed} {step} {rank}").getrandbits(32)
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type):
        torch.default_generator.manual_seed(number)
        for one in devices:
            state = torch.Generator(one).manual_seed(number).get_state()
            getattr(torch, one.type).set_rng_state(state, one)
        yield


@contextlib.contextmanager
def _compiled(model: nn.Module) -> Iterator[nn.Module]:
    """What to run instead of ``model``; nothing of it stays compiled afterwards."""
    pairs = [module for module in model.modules() if hasattr(module, "f") and hasattr(module, "g")]
    if not pairs:
        yield torch.compile(model)  # type: ignore[misc]
        return
    halves = [half for pair in pairs for half in (pair.f, pair.g) if isinstance(half, nn.Module)]
    for half in halves:
        half.compile()
    try:
        yield model
    finally:
        for half in halves:
            half._compiled_call_impl = None


@contextlib.contextmanager
def _noting_interrupts(wanted: bool) -> Iterator[list[int]]:
    """Inside, a first Ctrl-C is only noted, so that a step can be finished; a second one stops."""
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    # Only a main thread may; and who handles interrupts in another way has reasons.
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (wanted and usual and threading.current_thread() is threading.main_thread()):
        yield noted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _write_log(path: str | os.PathLike[str], records: Sequence[Record], mode: str = "w") -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        if mode == "w":
            rows.writerow(Record._fields)
        rows.writerows(records)


def _compare(
    checkpoint: str | os.PathLike[str], saved: dict[str, Any], given: dict[str, Any]
) -> None:
    given = json.loads(json.dumps(given))  # tuples become lists, as in the file
    changed = ", ".join(
        f"{name} {saved.get(name)} there, {given.get(name)} here"
        for name in {**given, **saved}
        if saved.get(name) != given.get(name)
    )
    if changed:
        raise ValueError(
            f"{os.fspath(checkpoint)} belongs to a run with other settings ({changed}); give "
            f"those, or another file, or delete it to start again"
        )


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], notes: Mapping[str, Any]
) -> None:
    """Write a safetensors file, whole or not at all; ``notes`` become JSON in its metadata.

    A temporary file is renamed at the end, so that a crash while writing leaves the old one.
    """
    from safetensors.torch import save_file

    metadata = {name: json.dumps(value) for name, value in notes.items()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its name is always the same: what a killed process leaves is written over by the next.
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch()
        rights = part.stat().st_mode  # the usual ones; safetensors gives them to the owner alone
        # The format holds neither shared memory nor gaps; tied weights are written twice.
        save_file({key: _solid(tensor) for key, tensor in tensors.items()}, part, metadata)
        part.chmod(rights)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _solid(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    **notes: Any,
) -> None:
    """Write model, optimizer and ``notes`` (what JSON can hold) to one file: whole or not at all.

    A safetensors file: ``model.<name>`` are the weights, ``optimizer.<index>.<name>`` what the
    optimizer keeps for each parameter; its other settings and the notes are JSON in the metadata.
    """
    state = optimizer.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    plain: dict[str, dict[str, Any]] = {}
    for index, kept in state["state"].items():
        plain[index] = {}
        for name, value in kept.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                plain[index][name] = value
    optimizer_notes = {"param_groups": state["param_groups"], "state": plain}
    save_tensors(path, tensors, {**notes, "optimizer": optimizer_notes})


def load_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; returns its notes. Nothing is unpickled.

    Raises:
        ValueError: the file is damaged, is no checkpoint, or holds another model.
    """
    notes = read_notes(path, "optimizer")
    load_weights(path, model, "model.")
    saved = notes.pop("optimizer")
    if optimizer is not None:
        state = {int(index): values for index, values in saved["state"].items()}
        for key, tensor in read_tensors(path, "optimizer.").items():
            index, name = key.split(".", 1)
            state[int(index)][name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    return notes


def load_weights(path: str | os.PathLike[str], model: nn.Module, prefix: str = "") -> None:
    """Fill ``model`` with the tensors of a file whose names begin with ``prefix``.

    Raises:
        ValueError: the file is damaged, or holds another model; ``model`` is then unchanged.
    """
    weights = read_tensors(path, prefix)
    mine = model.state_dict()
    for name in [*mine, *weights]:
        there, here = (
            tuple(tensors[name].shape) if name in tensors else None for tensors in (weights, mine)
        )
        if there != here:
            raise ValueError(
                f"{os.fspath(path)} holds another model: {name!r} is {there or 'missing'} there, "
                f"{here or 'missing'} here; make the model as it was made for that file"
            )
    model.load_state_dict(weights)


def read_tensors(path: str | os.PathLike[str], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names begin with ``prefix``, without it.

    They are copies: while tensors lie in the file itself, Windows lets nobody replace it.
    """
    with _opened(path) as file:
        return {
            key.removeprefix(prefix): file.get_tensor(key).clone()
            for key in file.keys()  # noqa: SIM118
            if key.startswith(prefix)
        }


def read_notes(path: str | os.PathLike[str], *wanted: str) -> dict[str, Any]:
    """The notes of :func:`save_tensors` or :func:`save_checkpoint`, without reading the tensors.

    Raises:
        ValueError: the file is damaged, or lacks one of the ``wanted`` notes.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
    missing = [name for name in wanted if name not in metadata]
    if missing:
        raise ValueError(
            f"{os.fspath(path)} is not the kind of file that is needed here: it has no note "
            f"{missing[0]!r}"
        )
    return {name: json.loads(text) for name, text in metadata.items()}


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f"{os.fspath(path)} is damaged, or no safetensors file ({error}); delete it, or name "
            f"another"
        ) from error


def load_tiny() -> LanguageModel:
    """The small trained model that ships with the package; its card is ``assets/tiny.md``."""
    from gmlp.causal_masking import CausalSGU
    from gmlp.residual_blocks import PreNorm, Residual, gMLPBlock

    size = read_notes(TINY)
    dim, seq_len, dim_ff = size["dim"], size["seq_len"], size["dim_ff"]
    blocks = nn.Sequential(
        *(
            Residual(PreNorm(dim, gMLPBlock(dim, dim_ff, CausalSGU(dim_ff, seq_len))))
            for _ in range(size["depth"])
        )
    )
    model = LanguageModel(size["num_tokens"], dim, seq_len, blocks)
    load_weights(TINY, model)
    return model.eval()
