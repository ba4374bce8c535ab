"""Lesson 04, training: a language model of blocks, and the loop that teaches it to read bytes."""

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        self.to_logits = nn.Linear(dim, num_tokens)

    def forward(self, tokens: Tensor) -> Tensor:
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
            low, high = tokens.aminmax()
            if low < 0 or high >= self.num_tokens:
                raise ValueError(
                    f"tokens must lie in 0 … {self.num_tokens - 1} (num_tokens={self.num_tokens}); "
                    f"got {int(low)} … {int(high)}"
                )
        x = self.embed(tokens.long())  # (b, n, d)
        x = self.blocks(x)  # (b, n, d)
        return self.to_logits(self.norm(x))  # (b, n, v)


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
    """What :func:`train` notes down; bits are bits per byte."""

    step: int
    train_bits: float
    valid_bits: float
    cpu_seconds: float


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
    eval_every: int = 100,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    on_eval: Callable[[int], object] | None = None,
    progress: bool = True,
) -> list[Record]:
    """Train ``model`` in place with AdamW and return what was noted on the way.

    Args:
        data, valid: ``(bytes,)`` of integers: what it learns from, and what it is judged by.
        steps: batches in all, each of ``batch_size`` windows of ``context`` bytes.
        peak, warmup: see :func:`learning_rate`.
        clip: a gradient that is longer than this is cut to this length.
        eval_every: steps from one validation to the next (the last step always has one).
        seed: decides the batches.
        checkpoint: a file, written at each validation and read if it is there: call again with the
            same arguments and an interrupted run goes on, to the same result.
        on_eval: called with the number of steps done, after each validation.
        progress: a bar with the loss and what is left.

    Raises:
        ValueError: the checkpoint belongs to a run with other settings.
        FloatingPointError: the loss became NaN or infinite; says at which step and what to try.
    """
    from tqdm import tqdm

    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak)
    settings = {
        "steps": steps,
        "context": context,
        "batch_size": batch_size,
        "peak": peak,
        "warmup": warmup,
        "clip": clip,
        "eval_every": eval_every,
        "seed": seed,
    }
    history: list[Record] = []
    recent: list[Tensor] = []  # losses since the last validation
    start, seconds_before = 0, 0.0
    if checkpoint is not None and Path(checkpoint).exists():
        saved = load_checkpoint(checkpoint, model, optimizer)
        if saved["settings"] != settings:
            raise ValueError(_difference(checkpoint, saved["settings"], settings))
        history = [Record(*row) for row in saved["history"]]
        start = history[-1].step if history else 0
        seconds_before = history[-1].cpu_seconds if history else 0.0
    began = time.process_time() - seconds_before

    model.train()
    # On stdout, because notebooks paint stderr red.
    bar = tqdm(total=steps, initial=start, disable=not progress, file=sys.stdout, unit="step")
    try:
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak, warmup)
            inputs, targets = sample_batch(data, batch_size, context, seed * 1_000_003 + step)
            loss = bits_per_byte(model(inputs.to(device)), targets.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss became {loss.item()} at step {step}. The model as it was before is "
                    f"in the last checkpoint, if you gave one. Try a lower peak (it was {peak:g}) "
                    f"or a longer warmup (it was {warmup})"
                )
            optimizer.step()
            recent.append(loss.detach())
            bar.update()
            if (step + 1) % eval_every == 0 or step + 1 == steps:
                train_bits = torch.stack(recent).mean().item()
                valid_bits = evaluate(model, valid, context)
                seconds = time.process_time() - began
                history.append(Record(step + 1, train_bits, valid_bits, seconds))
                recent.clear()
                bar.set_postfix_str(f"train {train_bits:.3f}, valid {valid_bits:.3f} bits/byte")
                if checkpoint is not None:
                    save_checkpoint(
                        checkpoint,
                        model,
                        optimizer,
                        settings=settings,
                        history=[tuple(record) for record in history],
                    )
                if on_eval is not None:
                    on_eval(step + 1)
    finally:
        bar.close()
    return history


def _difference(
    checkpoint: str | os.PathLike[str], saved: dict[str, Any], given: dict[str, Any]
) -> str:
    changed = ", ".join(
        f"{name} {saved.get(name)} there, {value} here"
        for name, value in given.items()
        if saved.get(name) != value
    )
    return (
        f"{os.fspath(checkpoint)} belongs to a run with other settings ({changed}); give those, "
        f"or another file, or delete it to start again"
    )


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    **extra: Any,
) -> None:
    """Write model, optimizer and ``extra`` to one file: whole or not at all.

    A temporary file is renamed at the end, so that a crash while writing leaves the old one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **extra}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; returns all of it. Runs no code from the file."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    return state


def load_tiny() -> LanguageModel:
    """The small trained model that ships with the package; its card is ``assets/tiny.md``."""
    from safetensors import safe_open

    from gmlp.causal_masking import CausalSGU
    from gmlp.residual_blocks import PreNorm, Residual, gMLPBlock

    with safe_open(TINY, framework="pt") as file:
        size = {key: int(value) for key, value in file.metadata().items()}
        weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    dim, seq_len, dim_ff = size["dim"], size["seq_len"], size["dim_ff"]
    blocks = nn.Sequential(
        *(
            Residual(PreNorm(dim, gMLPBlock(dim, dim_ff, CausalSGU(dim_ff, seq_len))))
            for _ in range(size["depth"])
        )
    )
    model = LanguageModel(size["num_tokens"], dim, seq_len, blocks)
    model.load_state_dict(weights)
    return model.eval()
