"""Lesson 05, generation: one token at a time, each drawn from what the model expects."""

import torch
from torch import Tensor

from gmlp.training import LanguageModel


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompt: Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Continue ``prompt`` by ``length`` tokens, each drawn from :math:`softmax(logits / T)`.

    Args:
        model: anything with ``seq_len`` that maps tokens ``(b, n)`` to logits ``(b, n, v)``.
        prompt: tokens ``(n,)`` or ``(b, n)``, at least one.
        temperature: ``T``; below 1 the model plays safe, 0 always takes the likeliest token.
        generator: source of randomness; the same one gives the same text.

    Returns:
        The prompt and what follows, ``(n + length,)`` or ``(b, n + length)``. Past ``seq_len`` the
        model sees the last ``seq_len`` tokens.

    Raises:
        ValueError: an empty prompt, a negative length or temperature.
    """
    if prompt.ndim not in (1, 2) or prompt.shape[-1] < 1:
        raise ValueError(
            f"the prompt must hold at least one token, as (n,) or (b, n); got shape "
            f"{tuple(prompt.shape)}"
        )
    if length < 0:
        raise ValueError(f"length must be 0 or more; got {length}")
    if temperature < 0:
        raise ValueError(f"temperature must be 0 (greedy) or more; got {temperature}")
    was_training = model.training
    model.eval()
    tokens = prompt.reshape(-1, prompt.shape[-1]).long()  # (b, n)
    for _ in range(length):
        logits = model(tokens[:, -model.seq_len :])[:, -1]  # (b, v)
        if temperature == 0:
            chosen = logits.argmax(-1, keepdim=True)
        else:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        tokens = torch.cat((tokens, chosen), dim=1)
    model.train(was_training)
    return tokens if prompt.ndim == 2 else tokens[0]
