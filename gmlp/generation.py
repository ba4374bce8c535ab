"""Lesson 05, generation: one token at a time, each drawn from what the model expects."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gmlp.ops import Cache
from gmlp.training import LanguageModel


def next_token(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Draw a token from :math:`softmax(logits / T)`, cut to the likeliest.

    Args:
        logits: ``(b, v)``.
        temperature: ``T``; below 1 the model plays safe, 0 takes the likeliest token.
        top_k: keep the ``k`` likeliest tokens.
        top_p: keep the smallest set of likeliest tokens whose chances, after ``top_k``, add up to
            ``p`` or more.
        generator: source of randomness.

    Returns:
        Tokens ``(b,)``, int64.

    Source: Fan et al. 2018 (arXiv 1805.04833), section 5.1, for top-k; Holtzman et al. 2020
    (arXiv 1904.09751), section 3.1, for top-p.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits, order = logits.sort(dim=-1, descending=True, stable=True)
    logits = (logits - logits[:, :1]) / temperature  # the likeliest at 0: nothing overflows
    if top_k is not None:
        logits[:, top_k:] = -torch.inf
    chances = logits.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        before = chances.cumsum(dim=-1) - chances  # of all that are likelier
        chances = chances.masked_fill(before >= top_p, 0.0)
    drawn = torch.multinomial(chances, 1, generator=generator)  # scales them by itself
    return order.gather(-1, drawn).squeeze(-1)


def stream(
    model: LanguageModel,
    prompt: Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_token: int | None = None,
    keep: int | None = None,
    cached: bool | None = None,
) -> Iterator[Tensor]:
    """What :func:`generate` writes, token by token as it comes: ``(b,)`` each."""
    if prompt.ndim not in (1, 2) or prompt.numel() < 1 or prompt.is_floating_point():
        raise ValueError(
            f"the prompt must hold at least one token, as integers (n,) or (b, n); got "
            f"{prompt.dtype} of shape {tuple(prompt.shape)}"
        )
    if length < 0:
        raise ValueError(f"length must be 0 or more; got {length}")
    if not temperature >= 0:  # NaN too
        raise ValueError(f"temperature must be 0 (greedy) or more; got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1; got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1]; got {top_p}")
    if stop_token is not None and stop_token < 0:
        raise ValueError(f"stop_token must be a token, 0 or more; got {stop_token}")
    if keep is not None and not 1 <= keep <= model.seq_len:
        raise ValueError(f"keep must lie in 1 … seq_len={model.seq_len}; got {keep}")
    keep = max(1, model.seq_len // 2) if keep is None else keep
    cached = hasattr(model, "step") if cached is None else cached

    @torch.no_grad()
    def written() -> Iterator[Tensor]:
        tokens = prompt.reshape(-1, prompt.shape[-1]).long()[:, -model.seq_len :]  # (b, n)
        cache, unread = Cache(), tokens
        stopped = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        was_training = model.training
        model.eval()
        try:
            for _ in range(length):
                if cached:
                    with torch.inference_mode():  # for small steps faster; the cache stays here
                        logits = model.step(unread, cache)
                else:
                    logits = model(tokens)[:, -1]
                chosen = next_token(
                    logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator
                )
                if stop_token is not None:
                    chosen = chosen.masked_fill(stopped, stop_token)
                    stopped |= chosen == stop_token
                yield chosen
                if stop_token is not None and stopped.all():
                    return
                unread = chosen[:, None]
                tokens = torch.cat((tokens, unread), dim=1)
                if tokens.shape[1] > model.seq_len:
                    tokens = tokens[:, -keep:]
                    cache, unread = Cache(), tokens
        finally:
            model.train(was_training)

    return written()  # the arguments are checked at once, the model runs when a token is asked for


def generate(
    model: LanguageModel,
    prompt: Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_token: int | None = None,
    keep: int | None = None,
    cached: bool | None = None,
) -> Tensor:
    r"""Continue ``prompt`` by up to ``length`` tokens, each drawn by :func:`next_token`.

    A token that has been written is read once: every layer keeps what it needs of the past, and the
    next token costs one row of each ``W``.

    A model cannot look back further than ``seq_len``. When that many tokens have been read, it
    starts afresh with the last ``keep`` of them. Its positions are absolute, so nothing can be
    carried over: with ``keep = seq_len`` it always sees as much as it can, and reads ``seq_len``
    tokens for each that it writes; with half of it, the default, it sees at least half, and reads
    each token about twice. Of a longer prompt it reads the last ``seq_len`` tokens.

    Args:
        model: a :class:`LanguageModel`, or anything with ``seq_len`` that maps tokens ``(b, n)`` to
            logits ``(b, n, v)``; without a ``step(tokens, cache)`` it is not cached.
        prompt: tokens ``(n,)`` or ``(b, n)``, at least one.
        length: the number of tokens to write.
        temperature, top_k, top_p, generator: see :func:`next_token`.
        stop_token: a text ends with this token; in a batch, shorter ones are filled up with it.
        keep: tokens with which a full context starts again, ``1 … seq_len``.
        cached: ``False`` reads everything again for each token, and writes the same; by default
            what the model can do.

    Returns:
        The prompt and what follows, ``(n + length,)`` or ``(b, n + length)``; less where all texts
        have met ``stop_token``.

    Raises:
        ValueError: an empty prompt, or an argument out of range, by name.
    """
    written = stream(
        model,
        prompt,
        length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator,
        stop_token=stop_token,
        keep=keep,
        cached=cached,
    )
    start = prompt.reshape(-1, prompt.shape[-1]).long()
    tokens = torch.cat((start, *(token[:, None] for token in written)), dim=1)
    return tokens if prompt.ndim == 2 else tokens[0]
