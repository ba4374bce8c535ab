"""Lesson 06, tiny attention: a task with known answers, which the place of a word cannot solve."""

from typing import NamedTuple

import torch
from torch import Tensor

ASIDE = -100  # what cross_entropy passes over: no question stands here


class Recall(NamedTuple):
    """Texts for :func:`recall_batch`: what is read, and what must be answered."""

    tokens: Tensor
    targets: Tensor


def recall_batch(
    batch_size: int, *, keys: int = 16, values: int = 16, pairs: int = 25, seed: int
) -> Recall:
    r"""Multi-query associative recall: whose key has been told must be given its value again.

    A text is a row of pairs, a key and then its value. Each text has a table of its own,
    :math:`t(key)`, drawn at random, and keeps to it. A key that stands for the first time tells
    something; wherever the same key stands again, it is a question, and the answer is the token
    that follows.

    Args:
        batch_size: the number of texts ``b``.
        keys: how many keys there are; they are the tokens ``0 … keys - 1``.
        values: how many values there are; the tokens ``keys … keys + values - 1``.
        pairs: pairs in a text. The last value is a target only, so ``n = 2 * pairs - 1``.
        seed: decides the texts.

    Returns:
        ``tokens (b, n)`` and ``targets (b, n)``, int64. A target is the token that comes next
        where a question stands, and ``ASIDE`` elsewhere, which ``cross_entropy`` leaves out.

    Raises:
        ValueError: a number below 1, or fewer than 2 pairs, which leave no question.

    Source: Arora et al. 2023, "Zoology" (arXiv 2312.04927), section 3, which introduces the task;
    here pairs that tell and pairs that ask are mixed.
    """
    if min(batch_size, keys, values) < 1 or pairs < 2:
        raise ValueError(
            f"recall_batch needs at least 1 text, 1 key, 1 value and 2 pairs; got batch_size="
            f"{batch_size}, keys={keys}, values={values}, pairs={pairs}"
        )
    generator = torch.Generator().manual_seed(seed)
    key = torch.randint(keys, (batch_size, pairs), generator=generator)  # (b, pairs)
    table = torch.randint(values, (batch_size, keys), generator=generator)  # (b, keys)
    value = keys + table.gather(1, key)  # (b, pairs)
    told = (key[:, :, None] == key[:, None, :]).tril(-1).any(-1)  # (b, pairs): stood before
    tokens = torch.stack((key, value), dim=-1).flatten(1)[:, :-1]  # (b, n)
    targets = torch.full_like(tokens, ASIDE)
    targets[:, ::2] = value.where(told, ASIDE)
    return Recall(tokens, targets)


def recall_accuracy(answers: Tensor, targets: Tensor) -> float:
    """The share of questions with the right answer: ``answers (b, n)``, ``targets (b, n)``.

    Raises:
        ValueError: texts without a single question.
    """
    asked = targets != ASIDE
    if not asked.any():
        raise ValueError("there is no question in these texts; take more of them, or more pairs")
    return (answers == targets)[asked].double().mean().item()


def said_most(tokens: Tensor, keys: int) -> Tensor:
    r"""Answer every question with the value that was said most often so far, whoever is asked for.

    The level of a reader who knows which values a text has told, and not of which key: chance is
    ``1 / values``, and this stands well above it. Of values said equally often, the first in the
    vocabulary.

    Args:
        tokens: ``(b, n)`` of :func:`recall_batch`.
        keys: the number of keys, by which values are known.

    Returns:
        Answers ``(b, n)``, int64. Before any value has been told, the first one.
    """
    values = torch.arange(keys, max(int(tokens.max()), keys) + 1, device=tokens.device)
    said = (tokens[:, :, None] == values).cumsum(1)  # (b, n, values)
    return keys + said.argmax(-1)
