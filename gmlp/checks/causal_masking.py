"""Lesson 02: what a right, and each known wrong, answer looks like."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception


def _draw_weight(rng: Draw) -> tuple[Any, ...]:
    h, n = rng.sizes(2, least=3)
    return (rng.normal(h, n, n),)


def _mask_weights(weight: Tensor) -> Tensor:
    return weight.tril()


def _future(weight: Tensor) -> Tensor:
    """True where a position would read a later one."""
    return torch.ones_like(weight, dtype=torch.bool).triu(1)


def _first_head_only(weight: Tensor) -> Tensor:
    return torch.cat([weight[:1].tril(), weight[1:]])


def _compared_indices(weight: Tensor) -> Tensor:
    position = torch.arange(weight.shape[-1])
    return weight * (position[:, None] >= position)


def _row_by_row(weight: Tensor) -> Tensor:
    out = torch.zeros_like(weight)
    for i in range(weight.shape[-1]):
        out[:, i, : i + 1] = weight[:, i, : i + 1]
    return out


class TooManyCallsError(Exception):
    """The model of an exercise was called more often than the exercise allows."""


class _Model(nn.Module):
    """A model whose output i is a sum of table rows of the tokens that it reads.

    All numbers are whole and small, so the sums are exact in float32: an output that should not
    move does not move in the last bit either, whatever the batch.
    """

    mix: Tensor
    table: Tensor

    def __init__(self, reads: str, mix: Tensor, table: Tensor) -> None:
        super().__init__()
        self.reads = reads
        self.calls = 0
        self.register_buffer("mix", mix.float())
        self.register_buffer("table", table.float())

    def __repr__(self) -> str:
        return f"a model in which {self.reads}"

    def forward(self, tokens: Tensor) -> Tensor:
        n, v = len(self.mix), len(self.table)
        if tokens.dim() != 2 or tokens.shape[1] != n:
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}; the model wants (b, {n})")
        if tokens.dtype != torch.int64 or not ((tokens >= 0) & (tokens < v)).all():
            raise ValueError(f"tokens must be int64 numbers from 0 to {v - 1}")
        self.calls += 1
        if self.calls > 1:
            raise TooManyCallsError("the model was called a second time")
        return torch.einsum("ij,bjv->biv", self.mix, self.table[tokens])


def _draw_model(rng: Draw) -> tuple[Any, ...]:
    n, v = rng.sizes(2, least=5)
    mix = rng.integers(1, 10, n, n)
    table = rng.integers(-9, 10, v, v)
    table[:, 0] = 1000  # token 0 is always the likeliest, so a leak need not change the winner
    table[:, 1] = torch.randperm(v, generator=rng.generator)  # no two tokens look alike
    past = mix.tril()
    if rng.number == 0:
        reads, kept = "a position reads itself and all before it", past
    elif rng.number == 1:
        reads, kept = "a position reads only itself", mix.diag().diag()
    elif rng.number == 2:
        reads, kept = "a position from 2 on reads only the one before it", past.tril(-1).triu(-1)
        kept[1, 0] = 0
    elif rng.number == 3:
        reads, kept = (
            "a position reads all before it and the next one",
            past + 1000 * mix.diag(1).diag(1),
        )
        table = torch.eye(v)  # here the winner is the token that leaks
    else:
        i, j = [(n - 2, n - 1), (0, n - 2), (0, 1)][rng.number - 4]
        reads, kept = f"a position reads all before it, and position {i} reads {j}", past
        kept[i, j] = mix[i, j]
    return _Model(reads, kept, table), n, v


def _moved(
    model: Callable[[Tensor], Tensor], n: int, num_tokens: int, winner: bool = False
) -> Tensor:
    """(n, n): did output i of row k move when its token k was changed? Row 0 is unchanged."""
    tokens = (torch.arange(n) % num_tokens).repeat(n, 1)
    later = torch.arange(1, n)
    tokens[later, later] = (tokens[later, later] + 1) % num_tokens
    logits = model(tokens)
    if winner:
        logits = logits.argmax(-1, keepdim=True)
    return (logits != logits[:1]).any(-1)


def _leaks(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    return bool(_moved(model, n, num_tokens).tril(-1).any())


def _first_token(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> Tensor:
    tokens = torch.zeros(2, n, dtype=torch.int64)
    tokens[1, 0] = 1
    logits = model(tokens)
    return (logits[0] != logits[1]).any(-1)


def _call_by_call(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    tokens = torch.zeros(1, n, dtype=torch.int64)
    before = model(tokens)
    for k in range(1, n):
        changed = tokens.clone()
        changed[0, k] = 1
        if not torch.equal(model(changed)[:, :k], before[:, :k]):
            return True
    return False


def _loop_over_rows(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    base = torch.randint(num_tokens, (n,))
    rows = [base]
    for k in range(n):
        row = base.clone()
        row[k] = (row[k] + 1) % num_tokens
        rows.append(row)
    logits = model(torch.stack(rows))
    return any(not torch.allclose(logits[k + 1, :k], logits[0, :k]) for k in range(n))


def _pairs(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    base = torch.randint(num_tokens, (n, n))
    logits = model(torch.cat([base, (base + torch.eye(n, dtype=torch.int64)) % num_tokens]))
    change = (logits[:n] - logits[n:]).abs().amax(-1)
    return change.tril(-1).max().item() > 0


def _all_later_tokens(model: Callable[[Tensor], Tensor], n: int, num_tokens: int) -> bool:
    tokens = torch.ones(n, n, dtype=torch.int64).triu(1)  # row k: every token after k is changed
    logits = model(tokens)
    own = torch.ones(n, n, dtype=torch.bool).tril()  # output i <= k may not see that
    return bool((own & (logits != logits[-1:]).any(-1)).any())


EXERCISES = (
    Exercise(
        name="mask_weights",
        lesson="02_causal_masking",
        axes="h n n",
        draw=_draw_weight,
        solution=_mask_weights,
        alternatives=(
            lambda weight: weight.masked_fill(_future(weight), 0.0),
            lambda weight: torch.where(_future(weight), torch.zeros_like(weight), weight),
            _compared_indices,
            _row_by_row,
        ),
        misconceptions=(
            Misconception(
                "diagonal hidden",
                lambda weight: weight.tril(-1),
                "Your mask hides the diagonal: token i cannot see itself.",
                "Position i may read j <= i. What is j when it reads itself?",
            ),
            Misconception(
                "one step too far",
                lambda weight: weight.tril(1),
                "Your mask lets every position read one later token, its right neighbour.",
                "Print your mask for n = 4 and count the ones in its first row.",
            ),
            Misconception(
                "upper triangle",
                lambda weight: weight.triu(),
                "Your mask is upside down: a position reads itself and the future, never the past.",
                "Row i is the position that reads. Which columns lie before i?",
            ),
            Misconception(
                "only the future",
                lambda weight: weight.triu(1),
                "You kept what should be hidden: only weights on later tokens are left.",
                "Is your mask True where a weight stays, or True where it goes?",
            ),
            Misconception(
                "transposed",
                lambda weight: weight.mT.tril(),
                "You turned the matrix over as well: entry (i, j) holds what was at (j, i).",
                "The kept weights stay where they are. Only the others become 0.",
            ),
            Misconception(
                "first head only",
                _first_head_only,
                "Only head 0 is masked; the other heads still read the future.",
                "The same mask holds for all heads. Broadcasting applies (n, n) to every one.",
            ),
            Misconception(
                "filled with -inf",
                lambda weight: weight.masked_fill(_future(weight), float("-inf")),
                "You fill with -inf. That belongs before a softmax; here no softmax follows.",
                "The weights multiply tokens as they are. Which weight makes a token count "
                "nothing?",
            ),
            Misconception(
                "filled with a large negative number",
                lambda weight: weight.masked_fill(_future(weight), -1e9),
                "You fill with -1e9. That belongs before a softmax; here no softmax follows.",
                "The weights multiply tokens as they are. Which weight makes a token count "
                "nothing?",
            ),
            Misconception(
                "softmax over rows",
                lambda weight: weight.masked_fill(_future(weight), float("-inf")).softmax(-1),
                "You mask as attention does, with a softmax over each row.",
                "These weights may be negative and need not add up to 1. Mask them and do no more.",
            ),
            Misconception(
                "rows divided by their sum",
                lambda weight: weight.tril() / weight.tril().sum(-1, keepdim=True),
                "The mask is right, but then you divide each row by its sum.",
                "These weights may be negative and need not add up to 1. Mask them and do no more.",
            ),
            Misconception(
                "mask without weights",
                lambda weight: torch.ones_like(weight).tril(),
                "You return the mask itself, ones and zeros, without the weights.",
                "Multiply the weights by the mask.",
            ),
        ),
        hints=(
            "Write the matrix down for n = 3. Row i reads, column j is read: which of the 9 "
            "entries "
            "may stay?",
            "The entries that may stay form a triangle. torch has a function that keeps one.",
            "`weight.tril()` or `weight.triu()`: one of them, with the diagonal kept. Both act on "
            "the "
            "last two axes, so heads need no loop.",
        ),
    ),
    Exercise(
        name="leaks",
        lesson="02_causal_masking",
        axes="",
        kind="extend",
        draw=_draw_model,
        draws=7,
        solution=_leaks,
        alternatives=(_loop_over_rows, _pairs, _all_later_tokens),
        # The drawn models are such that each of these gives another pattern of seven answers.
        misconceptions=(
            Misconception(
                "more than one call",
                _call_by_call,
                "You call the model more than once. The idea may well be right; one call is "
                "enough.",
                "A batch has many rows, and rows do not see each other. Put one experiment in "
                "each.",
            ),
            Misconception(
                "every move counts",
                lambda model, n, v: bool(_moved(model, n, v).any()),
                "You find a leak in every model, even where a position reads only the past.",
                "When token k changes, outputs k and later may move. Which ones may not?",
            ),
            Misconception(
                "own position counts",
                lambda model, n, v: bool(_moved(model, n, v).tril().any()),
                "You count it as a leak when a position reads its own token.",
                "When token k changes, output k may move. Only outputs before k may not.",
            ),
            Misconception(
                "looks to the right",
                lambda model, n, v: bool(_moved(model, n, v).triu(1).any()),
                "You look at outputs after the changed token. They may move: that is reading the "
                "past.",
                "A leak runs the other way. Which outputs lie before the changed token?",
            ),
            Misconception(
                "first token changed, later outputs",
                lambda model, n, v: bool(_first_token(model, n, v)[1:].any()),
                "You change the first token and look at the outputs after it. They may move.",
                "Nothing stands before the first token. Change a later one, and look before it.",
            ),
            Misconception(
                "never finds a leak",
                lambda model, n, v: bool(_first_token(model, n, v)[:0].any()),
                "You find no leak in any model, though some of them leak.",
                "Is a token changed that has outputs before it, and do you compare those outputs "
                "with a row in which it was not changed?",
            ),
            Misconception(
                "last token only",
                lambda model, n, v: bool(_moved(model, n, v)[-1, :-1].any()),
                "You find leaks from the last token only. Other tokens can leak as well.",
                "One row changes one token. How many rows does it take to change each once?",
            ),
            Misconception(
                "neighbour only",
                lambda model, n, v: bool(_moved(model, n, v).diagonal(-1).any()),
                "You find a leak only where the output just before the changed token moves.",
                "Look at all outputs before the changed token, also those far from it.",
            ),
            Misconception(
                "winner only",
                lambda model, n, v: bool(_moved(model, n, v, winner=True).tril(-1).any()),
                "You compare the likeliest tokens. A leak can move logits and leave the winner.",
                "Compare the logits themselves.",
            ),
            Misconception(
                "answer upside down",
                lambda model, n, v: not _leaks(model, n, v),
                "You say True for the models that do not leak, and False for those that do.",
                "True means: it leaks.",
            ),
        ),
        hints=(
            "Change one token and run the model. Which outputs are allowed to move, and which are "
            "not?",
            "A change at k shows only leaks from k, so every k needs its own run. But rows of a "
            "batch "
            "are separate runs: let row k change token k, and keep one row unchanged.",
            "`logits` has shape (n, n, v), with row 0 unchanged. Mark where it differs from row 0 "
            "in "
            "any of the v numbers: an (n, n) table, row k against output i. A leak has i < k.",
        ),
    ),
)
