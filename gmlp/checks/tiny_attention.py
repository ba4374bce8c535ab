"""Lesson 06: what a right, and each known wrong, answer looks like."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.tasks import ASIDE
from gmlp.tiny_attention import attend

Head = Callable[[Tensor, Tensor, Tensor], Tensor]


# attend


def _draw_head(rng: Draw) -> tuple[Any, ...]:
    b, n, k = rng.sizes(3, least=3)
    return rng.normal(b, n, k), rng.normal(b, n, k), rng.normal(b, n, k)


def _later(scores: Tensor, diagonal: int = 1) -> Tensor:
    """(n, n), True where j >= i + diagonal."""
    n = scores.shape[-1]
    return torch.ones(n, n, dtype=torch.bool, device=scores.device).triu(diagonal)


def _scores(q: Tensor, key: Tensor) -> Tensor:
    return q @ key.mT / math.sqrt(q.shape[-1])


def _masked(scores: Tensor) -> Tensor:
    return scores.masked_fill(_later(scores), -math.inf)


def _with_weights(weights: Callable[[Tensor], Tensor]) -> Head:
    """A head that makes its weights of the scaled scores in its own way."""
    return lambda q, key, value: weights(_scores(q, key)) @ value


def _with_scores(scores: Callable[[Tensor, Tensor], Tensor]) -> Head:
    """A head that is right from the mask on."""
    return lambda q, key, value: _masked(scores(q, key)).softmax(-1) @ value


def _row_by_row(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out = torch.zeros_like(value)
    for i in range(q.shape[1]):
        scores = (q[:, i : i + 1] * key[:, : i + 1]).sum(-1) / q.shape[-1] ** 0.5  # (b, i + 1)
        out[:, i] = (scores.softmax(-1)[..., None] * value[:, : i + 1]).sum(1)
    return out


def _einsum(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.einsum("bik,bjk->bij", q, key) * q.shape[-1] ** -0.5
    weights = torch.where(_later(scores), -1e9, scores).softmax(-1)
    return torch.einsum("bij,bjk->bik", weights, value)


def _exp_and_divide(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    loud = _scores(q, key).exp().tril()
    return loud @ value / loud.sum(-1, keepdim=True)


def _keys_reshaped(q: Tensor, key: Tensor) -> Tensor:
    return q @ key.reshape(key.shape[0], key.shape[2], key.shape[1]) / math.sqrt(q.shape[-1])


# gate_with_attention


def _draw_gate(rng: Draw) -> tuple[Any, ...]:
    b, n, c = rng.sizes(3)
    halves = [rng.normal(b, n, c) for _ in range(3)]
    return *halves, rng.normal(n, n), rng.normal(n)


def _use_gate(
    answer: Callable[..., Any],
    u: Tensor,
    v: Tensor,
    attention: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> Any:
    """The mask is applied here, so an answer that masks once more has the same gradients."""
    return answer(u, v, attention, weight.tril(), bias)


def _gate_with_attention(
    u: Tensor, v: Tensor, attention: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return (weight @ v + bias[:, None] + attention) * u


def _gate_by_einsum(
    u: Tensor, v: Tensor, attention: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    mixed = torch.einsum("ij,bjc->bic", weight, v) + rearrange(bias, "n -> 1 n 1")
    return torch.einsum("bnc,bnc->bnc", u, mixed + attention)


def _gate_in_two_terms(
    u: Tensor, v: Tensor, attention: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return u * F.linear(v.mT, weight, bias).mT + u * attention


def _gate_by_loop(u: Tensor, v: Tensor, attention: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.zeros_like(u)
    for i in range(u.shape[1]):
        gate = bias[i] + attention[:, i]
        for j in range(i + 1):
            gate = gate + weight[i, j] * v[:, j]
        out[:, i] = gate * u[:, i]
    return out


# tiny_head


def _draw_layers(rng: Draw) -> tuple[Any, ...]:
    b, n, d, k, c = rng.sizes(5)
    to_qkv = rng.refill(nn.Linear(d, 3 * k, bias=False))
    to_qkv.weight.data /= d**0.5
    return rng.normal(b, n, d), to_qkv, rng.refill(nn.Linear(k, c))


def _tiny_head(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    return to_out(attend(*to_qkv(x).chunk(3, dim=-1)))


def _found_tiny_head(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    qkv = to_qkv(x)
    k = qkv.shape[-1] // 3
    q, key, value = qkv[..., :k], qkv[..., k : 2 * k], qkv[..., k : 2 * k]
    scores = q @ key.mT / math.sqrt(k)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return to_out(weights @ value)


def _mended_by_slice(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    qkv = to_qkv(x)
    k = qkv.shape[-1] // 3
    q, key, value = qkv[..., :k], qkv[..., k : 2 * k], qkv[..., 2 * k :]
    scores = q @ key.mT / math.sqrt(k)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return to_out(scores.masked_fill(future, -math.inf).softmax(-1) @ value)


def _out_before_the_sum(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    q, key, value = rearrange(to_qkv(x), "b n (three k) -> three b n k", three=3)
    return _masked(_scores(q, key)).softmax(-1) @ to_out(value)  # rows of weights sum to 1


def _one_call(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    qkv = to_qkv(x)
    q, key, value = qkv.split(qkv.shape[-1] // 3, dim=-1)
    return to_out(F.scaled_dot_product_attention(q, key, value, is_causal=True))


def _with_thirds(q: int, key: int, value: int) -> Callable[..., Any]:
    """A head that takes these thirds of to_qkv's output for its query, key and value."""

    def head(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
        thirds = to_qkv(x).chunk(3, dim=-1)
        return to_out(attend(thirds[q], thirds[key], thirds[value]))

    return head


def _with_head(head: Head) -> Callable[..., Any]:
    """The right thirds, but another head."""
    return lambda x, to_qkv, to_out: to_out(head(*to_qkv(x).chunk(3, dim=-1)))


def _value_to_the_end(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    qkv = to_qkv(x)
    k = qkv.shape[-1] // 3
    return to_out(_masked(_scores(qkv[..., :k], qkv[..., k : 2 * k])).softmax(-1) @ qkv[..., k:])


def _interleaved(x: Tensor, to_qkv: nn.Module, to_out: nn.Module) -> Tensor:
    qkv = to_qkv(x)
    return to_out(attend(qkv[..., ::3], qkv[..., 1::3], qkv[..., 2::3]))


def _root_of_three_k(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return attend(q / math.sqrt(3), key, value)


# last_told


def _draw_texts(rng: Draw) -> tuple[Any, ...]:
    keys, values, pairs = 3, 7, 11
    b = rng.integer(4, 7)
    both = rng.integers(0, keys, b, pairs), keys + rng.integers(0, values, b, pairs)
    return (torch.stack(both, dim=-1).flatten(1)[:, :-1],)


def _last_told(tokens: Tensor) -> Tensor:
    answers = torch.full_like(tokens, ASIDE)
    for row, text in zip(answers, tokens.tolist(), strict=True):
        told: dict[int, int] = {}
        for i in range(0, len(text), 2):
            row[i] = told.get(text[i], ASIDE)
            if i + 1 < len(text):
                told[text[i]] = text[i + 1]
    return answers


def _by_each_question(
    answer: Callable[[list[int], int, list[int]], int], nothing: int = ASIDE
) -> Callable[[Tensor], Tensor]:
    """``answer(text, i, places)`` for each key that stood earlier, at these places."""

    def answers(tokens: Tensor) -> Tensor:
        out = torch.full_like(tokens, nothing)
        for row, text in zip(out, tokens.tolist(), strict=True):
            for i in range(0, len(text), 2):
                if places := [j for j in range(0, i, 2) if text[j] == text[i]]:
                    row[i] = answer(text, i, places)
        return out

    return answers


def _by_table_of_scores(tokens: Tensor) -> Tensor:
    key, value = tokens[:, ::2], tokens[:, 1::2]
    same = (key[:, :, None] == key[:, None, :-1]).tril(-1)  # (b, p, p - 1)
    place = same * torch.arange(1, value.shape[1] + 1, device=tokens.device)
    last = place.amax(-1)  # 0: not told
    found = value.gather(1, (last - 1).clamp(min=0))
    answers = torch.full_like(tokens, ASIDE)
    answers[:, ::2] = found.where(last > 0, ASIDE)
    return answers


def _backwards(tokens: Tensor) -> Tensor:
    b, n = tokens.shape
    rows = []
    for r in range(b):
        row = []
        for i in range(n):
            answer = -100
            for j in range(i - 2, -1, -2):
                if i % 2 == 0 and tokens[r, j] == tokens[r, i]:
                    answer = int(tokens[r, j + 1])
                    break
            row.append(answer)
        rows.append(row)
    return torch.tensor(rows)


def _one_table_for_all(tokens: Tensor) -> Tensor:
    answers = torch.full_like(tokens, ASIDE)
    told: dict[int, int] = {}
    for row, text in zip(answers, tokens.tolist(), strict=True):
        for i in range(0, len(text), 2):
            row[i] = told.get(text[i], ASIDE)
            if i + 1 < len(text):
                told[text[i]] = text[i + 1]
    return answers


def _told_before_asked(tokens: Tensor) -> Tensor:
    answers = torch.full_like(tokens, ASIDE)
    for row, text in zip(answers, tokens.tolist(), strict=True):
        told: dict[int, int] = {}
        for i in range(0, len(text), 2):
            if i + 1 < len(text):
                told[text[i]] = text[i + 1]
            row[i] = told.get(text[i], ASIDE)
    return answers


def _past_the_end(tokens: Tensor) -> Tensor:
    answers = torch.full_like(tokens, ASIDE)
    for row, text in zip(answers, tokens, strict=True):
        told: dict[int, Tensor] = {}
        for i in range(0, len(text), 2):
            row[i] = told.get(int(text[i]), ASIDE)
            told[int(text[i])] = text[i + 1]
    return answers


def _past_the_end_of_a_list(tokens: Tensor) -> Tensor:
    for text in tokens.tolist():
        for i in range(0, len(text), 2):
            text[i + 1]
    return tokens


def _past_the_end_of_axis_1(tokens: Tensor) -> Tensor:
    for i in range(0, tokens.shape[1], 2):
        tokens[0, i + 1]
    return tokens


def _every_token_asks(tokens: Tensor) -> Tensor:
    answers = torch.full_like(tokens, ASIDE)
    for row, text in zip(answers, tokens.tolist(), strict=True):
        for i in range(len(text)):
            if places := [j for j in range(i) if text[j] == text[i]]:
                row[i] = text[places[-1] + 1]
    return answers


def _at_the_value(tokens: Tensor) -> Tensor:
    right = _last_told(tokens)
    return torch.cat([torch.full_like(right[:, :1], ASIDE), right[:, :-1]], dim=1)


def _last_question_only(tokens: Tensor) -> Tensor:
    right = _last_told(tokens)
    return torch.cat([torch.full_like(right[:, :-1], ASIDE), right[:, -1:]], dim=1)


def _most_said(text: list[int], places: list[int]) -> int:
    return Counter(text[j + 1] for j in places).most_common(1)[0][0]


# outputs_moved


def _outputs_moved() -> tuple[int, int, int]:
    n, k = 25, 32
    generator = torch.Generator().manual_seed(0)
    q, key, value = torch.randn(3, 1, n, k, generator=generator, dtype=torch.float64)
    c = torch.randn(k, generator=generator, dtype=torch.float64)
    before = attend(q, key, value)

    def moved(after: Tensor) -> int:
        return int(((after - before).abs().amax(-1) > 1e-9).sum())

    return (
        moved(attend(q, key + c, value)),
        moved(attend(q + c, key, value)),
        moved(attend(q, key, value + c)),
    )


EXERCISES = (
    Exercise(
        name="attend",
        lesson="06_tiny_attention",
        axes="b n k",
        draw=_draw_head,
        solution=_with_weights(lambda scores: _masked(scores).softmax(-1)),
        positions="value",
        alternatives=(
            attend,
            _row_by_row,
            _einsum,
            _exp_and_divide,
            _with_weights(lambda s: F.normalize(s.softmax(-1).tril(), p=1.0, dim=-1)),
            lambda q, key, value: (_masked(q @ key.mT / q.shape[-1] ** 0.5)).softmax(2).bmm(value),
        ),
        misconceptions=(
            Misconception(
                "no scale",
                _with_scores(lambda q, key: q @ key.mT),
                "You use the dot products as they are: they are not divided by anything.",
                "Read once more why section 6.4 has a root below the scores.",
            ),
            Misconception(
                "divided by k",
                _with_scores(lambda q, key: q @ key.mT / q.shape[-1]),
                "You divide the scores by k. That is too much: the softmax becomes nearly flat.",
                "A sum of k random numbers, some positive, some negative, is not of size k.",
            ),
            Misconception(
                "multiplied by the root",
                _with_scores(lambda q, key: q @ key.mT * math.sqrt(q.shape[-1])),
                "You multiply the scores by the root, and so make them larger still.",
                "What is the root there for: to make the scores larger, or smaller?",
            ),
            Misconception(
                "root of n",
                _with_scores(lambda q, key: q @ key.mT / math.sqrt(q.shape[1])),
                "You divide by the root of n, the number of positions.",
                "A score is a dot product. Over how many numbers does it add up?",
            ),
            Misconception(
                "scale after the softmax",
                lambda q, key, value: (
                    _masked(q @ key.mT).softmax(-1) / math.sqrt(q.shape[-1]) @ value
                ),
                "You divide after the softmax, so the weights of a row no longer sum to 1.",
                "The root is to keep the softmax from coming down on one side. Where must it "
                "stand for that?",
            ),
            Misconception(
                "softmax over the queries",
                _with_weights(lambda s: _masked(s).softmax(-2)),
                "Your softmax runs down the columns: it shares out each key among the queries.",
                "Each query shares its attention among the keys. Which axis of the scores are the "
                "keys?",
            ),
            Misconception(
                "softmax over the texts",
                _with_weights(lambda s: _masked(s).softmax(0)),
                "Your softmax runs over axis 0, the texts of the batch, which have nothing to do "
                "with each other.",
                "The scores are (b, n, n): text, query, key. Which axis must sum to 1?",
            ),
            Misconception(
                "mask after the softmax",
                _with_weights(lambda s: s.softmax(-1).tril()),
                "You mask after the softmax: it has already divided by a sum over later keys, and "
                "the rows no longer sum to 1.",
                "A mask must stand before the sum that it is to keep clean.",
            ),
            Misconception(
                "zeros before the softmax",
                _with_weights(lambda s: s.tril().softmax(-1)),
                "You set later scores to 0, and the softmax makes a positive weight of a 0.",
                "Which score becomes a weight of exactly 0?",
            ),
            Misconception(
                "ones added",
                _with_weights(lambda s: (s + _later(s)).softmax(-1)),
                "You add the mask itself, which is 1 at the later keys: they only become louder.",
                "Which score becomes a weight of exactly 0?",
            ),
            Misconception(
                "-inf times zero",
                _with_weights(lambda s: (s + _later(s) * -math.inf).softmax(-1)),
                "You multiply the mask by -inf, and 0 times -inf is NaN, not 0.",
                "`masked_fill` writes -inf at some places and leaves the others alone.",
            ),
            Misconception(
                "upside down",
                _with_weights(lambda s: s.masked_fill(_later(s).mT, -math.inf).softmax(-1)),
                "Your mask is upside down: a position reads itself and the future, not the past.",
                "Row i asks, column j offers. Which columns must be hidden from row i?",
            ),
            Misconception(
                "only the future",
                _with_weights(lambda s: s.masked_fill(~_later(s), -math.inf).softmax(-1)),
                "You hide what should be seen: only later keys are left, and none at all for the "
                "last position, which is why it is NaN.",
                "masked_fill fills where its mask is True. What does True mean in yours?",
            ),
            Misconception(
                "diagonal hidden",
                _with_weights(lambda s: s.masked_fill(_later(s, 0), -math.inf).softmax(-1)),
                "Your mask hides the diagonal. Position 0 then has nobody to listen to, and a "
                "softmax over nothing but -inf is NaN.",
                "A position may read itself. Print the mask for n = 3.",
            ),
            Misconception(
                "one step too far",
                _with_weights(lambda s: s.masked_fill(_later(s, 2), -math.inf).softmax(-1)),
                "Your mask lets every position read one later key, its right neighbour.",
                "Print the mask for n = 3, and count what its first row lets through.",
            ),
            Misconception(
                "no mask",
                _with_weights(lambda s: s.softmax(-1)),
                "You have no mask: every position reads all keys, the later ones too.",
                "Row i of the scores must not see the columns j > i.",
            ),
            Misconception(
                "no scale, no mask",
                lambda q, key, value: (q @ key.mT).softmax(-1) @ value,
                "Two things are missing: nothing divides the scores, and nothing hides later keys.",
                "Compare with the four steps of section 6.5: scores, mask, softmax, sum. And 6.4 "
                "has a root.",
            ),
            Misconception(
                "no scale, mask after the softmax",
                lambda q, key, value: (q @ key.mT).softmax(-1).tril() @ value,
                "Nothing divides the scores, and the mask comes after the softmax, so the rows no "
                "longer sum to 1.",
                "A mask must stand before the sum that it is to keep clean. And 6.4 has a root.",
            ),
            Misconception(
                "key and value swapped",
                lambda q, key, value: attend(q, value, key),
                "You compare the queries with the values, and add up the keys.",
                "What does a position offer for comparison, and what does it hold?",
            ),
            Misconception(
                "keys as values",
                lambda q, key, value: attend(q, key, key),
                "Your scores are right, but you add up the keys. The values are never read.",
                "What is it that the weights weigh?",
            ),
            Misconception(
                "queries as values",
                lambda q, key, value: attend(q, key, q),
                "Your weights are right, but you add up the queries. The values are never read.",
                "What is it that the weights weigh?",
            ),
            Misconception(
                "query and key swapped",
                lambda q, key, value: attend(key, q, value),
                "Your scores are transposed: the keys ask in the rows, the queries offer.",
                "Entry (i, j) of the scores is query i times key j.",
            ),
            Misconception(
                "weights transposed",
                _with_weights(lambda s: _masked(s).softmax(-1).mT),
                "You turn the weights over before the sum, so each value goes to earlier "
                "positions.",
                "Row i of the weights belongs to output i.",
            ),
            Misconception(
                "reshaped instead of transposed",
                _with_scores(_keys_reshaped),
                "Your reshape of the keys to (b, k, n) renumbers them; it does not swap two axes.",
                "`transpose(1, 2)` or `.mT` swaps axes. `reshape` and `view` only count on.",
            ),
            Misconception(
                "all axes reversed",
                lambda q, key, value: q @ key.permute(2, 1, 0),
                "`.T` on three axes reverses all of them, so the batch stands last.",
                "Swap the last two axes only: `.mT`, or `transpose` with two numbers.",
            ),
            Misconception(
                "key not transposed",
                lambda q, key, value: q @ key,
                "You multiply (b, n, k) by (b, n, k), and a matrix product needs (b, k, n) on the "
                "right.",
                "The k of each query must meet the k of each key. Swap two axes of one of them.",
            ),
            Misconception(
                "no softmax",
                _with_weights(torch.tril),
                "You weigh the values with the scores as they are, without a softmax.",
                "Weights are positive, and those of one row sum to 1.",
            ),
            Misconception(
                "weights returned",
                lambda q, key, value: _masked(_scores(q, key)).softmax(-1),
                "You return the weights, (b, n, n). One step is left.",
                "What do the weights weigh?",
            ),
        ),
        hints=(
            "For n = 3, how many dot products are there in one text, and which of them may "
            "position 1 look at?",
            "Four steps: a table of scores with a root below, -inf at every j > i, the softmax "
            "along j, and a matrix product with what the positions hold.",
            "`q @ key.mT` is the table (b, n, n). Divide it by the root of k, `masked_fill` it "
            "with a triangle `.triu(...)` of True, apply `.softmax(...)`, and multiply.",
        ),
    ),
    Exercise(
        name="gate_with_attention",
        lesson="06_tiny_attention",
        axes="b n c",
        draw=_draw_gate,
        use=_use_gate,
        solution=_gate_with_attention,
        positions="v",
        alternatives=(_gate_by_einsum, _gate_in_two_terms, _gate_by_loop),
        misconceptions=(
            Misconception(
                "added after the product",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None]) * u + a,
                "You add the attention after the product, so it passes by the gate.",
                "In the equation of section 6.6 the attention stands inside the brackets.",
            ),
            Misconception(
                "added to u",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None]) * (u + a),
                "You add the attention to u, which is the half that is gated.",
                "The attention is a third term of the gate. Which half does the gate come from?",
            ),
            Misconception(
                "added before the mixing",
                lambda u, v, a, weight, bias: (weight @ (v + a) + bias[:, None]) * u,
                "You add the attention to v before W mixes it, so what was found by content is "
                "then stirred by place.",
                "W mixes v alone.",
            ),
            Misconception(
                "attention multiplied",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None]) * a * u,
                "You multiply by the attention. It is one more term of a sum.",
                "With attention 0 the block must do what it did in lesson 03.",
            ),
            Misconception(
                "attention in place of W",
                lambda u, v, a, weight, bias: a * u,
                "Your gate is the attention alone; W v + b is gone.",
                "The gate is told two things. Which one is missing?",
            ),
            Misconception(
                "attention with the bias alone",
                lambda u, v, a, weight, bias: (a + bias[:, None]) * u,
                "Your gate has the attention and the bias; W v is gone.",
                "The gate is told two things. Which one is missing?",
            ),
            Misconception(
                "no attention",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None]) * u,
                "You build the unit of lesson 01; the attention is never read.",
                "One more term in the gate.",
            ),
            Misconception(
                "no bias",
                lambda u, v, a, weight, bias: (weight @ v + a) * u,
                "The bias is missing from your gate.",
                "Each position adds a number of its own.",
            ),
            Misconception(
                "bias added after the product",
                lambda u, v, a, weight, bias: (weight @ v + a) * u + bias[:, None],
                "You add the bias after the product, so it passes by the gate.",
                "All three terms of the gate are added before it multiplies.",
            ),
            Misconception(
                "attention and bias added after the product",
                lambda u, v, a, weight, bias: (weight @ v) * u + bias[:, None] + a,
                "Only W v multiplies u; bias and attention are added afterwards.",
                "Are there brackets around the three terms of the gate?",
            ),
            Misconception(
                "only the last term multiplies",
                lambda u, v, a, weight, bias: weight @ v + bias[:, None] + a * u,
                "Only the attention multiplies u, since a product comes before a sum.",
                "Are there brackets around the three terms of the gate?",
            ),
            Misconception(
                "bias along the channels",
                lambda u, v, a, weight, bias: (weight @ v + bias + a) * u,
                "`+ bias` puts the n numbers along the last axis, where the channels are.",
                "Each *position* has its number. Which shape makes (n,) fit to (b, n, c)?",
            ),
            Misconception(
                "bias along the texts",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None, None] + a) * u,
                "You put the n numbers of the bias along axis 0, where the texts are.",
                "Each *position* has its number. Which shape makes (n,) fit to (b, n, c)?",
            ),
            Misconception(
                "mixed along the channels",
                lambda u, v, a, weight, bias: (v @ weight + bias[:, None] + a) * u,
                "`v @ weight` multiplies W with the channels, and they are not as many.",
                "W mixes positions: (n, n) times (n, c). On which side does W stand?",
            ),
            Misconception(
                "weight transposed",
                lambda u, v, a, weight, bias: (weight.mT @ v + bias[:, None] + a) * u,
                "Your W is turned over: positions collect from the future.",
                "Output i is row i of W, times what the positions hold.",
            ),
            Misconception(
                "no product with u",
                lambda u, v, a, weight, bias: weight @ v + bias[:, None] + a,
                "You return the gate itself. It has not multiplied anything yet.",
                "What does the gate open and close?",
            ),
            Misconception(
                "v gated",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None] + a) * v,
                "Your gate multiplies v, from which it was made; u is never read.",
                "One half makes the gate, the other one passes it.",
            ),
            Misconception(
                "u and v swapped",
                lambda u, v, a, weight, bias: (weight @ u + bias[:, None] + a) * v,
                "You mix u and multiply by v: the halves have changed places.",
                "Which half does W mix in lesson 01?",
            ),
            Misconception(
                "sigmoid",
                lambda u, v, a, weight, bias: torch.sigmoid(weight @ v + bias[:, None] + a) * u,
                "You send the gate through a sigmoid, as other gates do.",
                "This gate is used as it is, and may be negative or above 1.",
            ),
            Misconception(
                "tanh",
                lambda u, v, a, weight, bias: torch.tanh(weight @ v + bias[:, None] + a) * u,
                "You send the gate through a tanh.",
                "This gate is used as it is, and may be negative or above 1.",
            ),
            Misconception(
                "attention weighed once more",
                lambda u, v, a, weight, bias: (weight @ v + bias[:, None] + a.softmax(-1)) * u,
                "You apply a softmax to the attention, which is what the head said: its softmax is "
                "over.",
                "What the head says may be negative, and is added as it is.",
            ),
            Misconception(
                "plus u",
                lambda u, v, a, weight, bias: weight @ v + bias[:, None] + a + u,
                "You add u. A gate multiplies.",
                "Where the gate is 0, nothing may pass.",
            ),
        ),
        hints=(
            "If the attention says 0 everywhere, what must come out?",
            "The gate is a sum of three terms, each (b, n, c) or made to fit. Then one product.",
            "`weight @ v` acts on the positions of each text. `bias[:, None]` is (n, 1). Put the "
            "sum of all three terms in brackets.",
        ),
    ),
    Exercise(
        name="tiny_head",
        lesson="06_tiny_attention",
        axes="b n c",
        kind="debug",
        stub=_found_tiny_head,
        draw=_draw_layers,
        solution=_tiny_head,
        positions="x",
        alternatives=(_mended_by_slice, _out_before_the_sum, _one_call),
        misconceptions=(
            Misconception(
                "keys as values",
                _with_thirds(0, 1, 1),
                "The keys still serve as values, and the last third of `to_qkv` is never read.",
                "Three slices, three thirds. Write down from where to where each of them goes.",
            ),
            Misconception(
                "queries as values",
                _with_thirds(0, 1, 0),
                "Now the queries serve as values, and the last third is still never read.",
                "Three slices, three thirds. Write down from where to where each of them goes.",
            ),
            Misconception(
                "values as keys",
                _with_thirds(0, 2, 2),
                "Now the last third is both key and value, and the second is never read.",
                "Only one of the slices was wrong. Which one do the scores need as it was?",
            ),
            Misconception(
                "key and value swapped",
                _with_thirds(0, 2, 1),
                "All thirds are read, but keys and values have changed places.",
                "The order is the one of the name: to_qkv.",
            ),
            Misconception(
                "query and key swapped",
                _with_thirds(1, 0, 2),
                "The values are right, but queries and keys have changed places.",
                "The order is the one of the name: to_qkv.",
            ),
            Misconception(
                "order reversed",
                _with_thirds(2, 1, 0),
                "You take the thirds in the order value, key, query.",
                "The order is the one of the name: to_qkv.",
            ),
            Misconception(
                "value too long",
                _value_to_the_end,
                "Your value starts where the keys start, and is 2k numbers long.",
                "Where does the last third begin?",
            ),
            Misconception(
                "every third number",
                _interleaved,
                "You take every third number. The thirds are consecutive blocks.",
                "Use the same kind of slice as the query has, further right.",
            ),
            Misconception(
                "root of all numbers",
                _with_head(_root_of_three_k),
                "The thirds are right, but your root now counts all 3k numbers of `qkv`.",
                "The root was right as it was: k is the size of one query.",
            ),
            Misconception(
                "no root",
                _with_head(lambda q, key, value: attend(q * math.sqrt(q.shape[-1]), key, value)),
                "The thirds are right, but the root has been lost on the way.",
                "The scores were right as they were. Only one thing needs to change.",
            ),
            Misconception(
                "mask lost",
                _with_head(_with_weights(lambda s: s.softmax(-1))),
                "The thirds are right, but the mask has been lost on the way: it reads the future.",
                "The mask was right as it was. Only one thing needs to change.",
            ),
            Misconception(
                "mask after the softmax",
                _with_head(_with_weights(lambda s: s.softmax(-1).tril())),
                "The thirds are right, but now you mask after the softmax.",
                "The mask was right as it was. Only one thing needs to change.",
            ),
            Misconception(
                "softmax over the queries",
                _with_head(_with_weights(lambda s: _masked(s).softmax(-2))),
                "The thirds are right, but now the softmax runs down the columns.",
                "The softmax was right as it was. Only one thing needs to change.",
            ),
            Misconception(
                "to_out lost",
                lambda x, to_qkv, to_out: attend(*to_qkv(x).chunk(3, dim=-1)),
                "The thirds are right, but `to_out` is no longer called.",
                "The last line was right as it was.",
            ),
        ),
        hints=(
            "Which rows of `to_qkv` never get a gradient, and which of the three names should "
            "they have fed?",
            "The scores, the mask and the softmax are right. Follow `value` back to where it is "
            "made.",
            "`qkv` has 3k numbers at each position: the first k, those from k to 2k, and the "
            "rest. Each name gets one of these three slices.",
        ),
    ),
    Exercise(
        name="last_told",
        lesson="06_tiny_attention",
        axes="b n",
        kind="extend",
        draw=_draw_texts,
        solution=_last_told,
        alternatives=(
            _by_each_question(lambda text, i, places: text[places[-1] + 1]),
            _by_table_of_scores,
            _backwards,
        ),
        misconceptions=(
            Misconception(
                "first told",
                _by_each_question(lambda text, i, places: text[places[0] + 1]),
                "You answer with the value that was told first. Here a later one overrules it.",
                "Does your search stop at the first place that fits, or at the last?",
            ),
            Misconception(
                "told most often",
                _by_each_question(lambda text, i, places: _most_said(text, places)),
                "You answer with the value that this key had most often.",
                "A text may change its mind. Only the latest word counts.",
            ),
            Misconception(
                "told most often, of whomever",
                _by_each_question(
                    lambda text, i, places: _most_said(text, [*range(0, i, 2)]),
                ),
                "You answer with the value that was told most often so far, whoever is asked for.",
                "That is the guesser of section 6.2. Look at the key, too.",
            ),
            Misconception(
                "the value just before",
                _by_each_question(lambda text, i, places: text[i - 1]),
                "You answer with the value that stands just before the question, whoever has it.",
                "The value must stand behind the same key.",
            ),
            Misconception(
                "never found",
                lambda tokens: torch.full_like(tokens, ASIDE),
                "You answer -100 everywhere: no key is ever found again.",
                "If your dict has tensors as keys, none equals another: a dict goes by object, not "
                "by number. `.tolist()` or int(...) makes numbers.",
            ),
            Misconception(
                "one table for all texts",
                _one_table_for_all,
                "What one text tells, your code still knows in the next one.",
                "Each text keeps to its own table. Where does yours begin?",
            ),
            Misconception(
                "told before asked",
                _told_before_asked,
                "You note the value of a pair before you answer its key, so the answer is the "
                "token that comes next.",
                "At position i only the tokens before i are known. First ask, then note.",
            ),
            Misconception(
                "past the end",
                _past_the_end,
                "You read the token behind every key, but behind the last key there is none.",
                "A text of n = 2p - 1 tokens ends with a key. Treat that one apart.",
            ),
            Misconception(
                "past the end of a list",
                _past_the_end_of_a_list,
                "You read the token behind every key, but behind the last key there is none.",
                "A text of n = 2p - 1 tokens ends with a key. Treat that one apart.",
            ),
            Misconception(
                "past the end of axis 1",
                _past_the_end_of_axis_1,
                "You read the token behind every key, but behind the last key there is none.",
                "A text of n = 2p - 1 tokens ends with a key. Treat that one apart.",
            ),
            Misconception(
                "every token asks",
                _every_token_asks,
                "You treat every token as a question: a value that comes again is answered, too, "
                "with the key that followed it.",
                "Keys stand at the even positions, 0, 2, 4. Only they ask.",
            ),
            Misconception(
                "one position late",
                _at_the_value,
                "Your answers stand one position late, where the value is.",
                "The answer belongs to the position of the key that asks.",
            ),
            Misconception(
                "last question only",
                _last_question_only,
                "You answer only the last question of each text.",
                "Every key that was told before asks.",
            ),
            Misconception(
                "zero where nothing is asked",
                _by_each_question(lambda text, i, places: text[places[-1] + 1], nothing=0),
                "The answers are right, but where nothing is asked you say 0, which is a token.",
                "-100 is the target that cross_entropy leaves out.",
            ),
            Misconception(
                "-1 where nothing is asked",
                _by_each_question(lambda text, i, places: text[places[-1] + 1], nothing=-1),
                "The answers are right, but where nothing is asked you say -1.",
                "-100 is the target that cross_entropy leaves out.",
            ),
            Misconception(
                "place of the value",
                _by_each_question(lambda text, i, places: places[-1] + 1),
                "You answer with the position of the value. Asked for is the token there.",
                "One look at the text is left.",
            ),
            Misconception(
                "place of the key",
                _by_each_question(lambda text, i, places: places[-1]),
                "You answer with the position where the key was told. Asked for is the value.",
                "The value stands one position further on. Read the token there.",
            ),
            Misconception(
                "pair just before only",
                _by_each_question(
                    lambda text, i, places: text[i - 1] if places[-1] == i - 2 else ASIDE
                ),
                "You compare a key only with the key of the pair before it.",
                "The key may have been told anywhere earlier in the text.",
            ),
        ),
        hints=(
            "Read a text from left to right, with pencil and paper. What do you note, and when "
            "do you cross it out?",
            "A dict from key to value, a new one for each text, does the noting. Answer a key "
            "first, note its value after that.",
            "Start with `torch.full_like(tokens, -100)`. For each text go through i = 0, 2, 4, …: "
            "is `text[i]` in the dict? Then write the answer at i. Then note `text[i + 1]`, if "
            "there is one.",
        ),
    ),
    prediction(
        name="outputs_moved",
        lesson="06_tiny_attention",
        answer=_outputs_moved,
        parts=("keys", "queries", "values"),
        because="The same vector c in every key adds q·c to all scores of a row, and the softmax "
        "does not notice what all have in common. In every query it adds key·c, which differs from "
        "key to key; only position 0, which has but itself, gives itself everything as before. "
        "In every value it moves each output by exactly c, since the weights of a row sum to 1.",
        misconceptions=(
            Misconception(
                "everything moves",
                lambda: (25, 25, 25),
                "You say that all 25 outputs move, whatever is changed.",
                "Write the scores of one row down before and after. What do the new ones have in "
                "common? And how many weights does position 0 share out?",
            ),
            Misconception(
                "keys count like queries",
                lambda: (24, 24, 25),
                "Position 0 is special, as you say. But queries and keys do not count alike.",
                "Row i has one query and many keys. Write its scores with key + c in place of key.",
            ),
            Misconception(
                "position 0 forgotten",
                lambda: (0, 25, 25),
                "Keys and values are right. For the queries you say that all outputs move.",
                "Among how many keys does position 0 share its attention?",
            ),
            Misconception(
                "queries cancel, too",
                lambda: (0, 0, 25),
                "Keys and values are right. You say that a change of all queries cancels as well.",
                "Row i has one query and many keys. Write its scores with q + c in place of q.",
            ),
            Misconception(
                "keys and queries swapped",
                lambda: (24, 0, 25),
                "The numbers are good, but two of them have changed places.",
                "The softmax runs along the keys of one query. What is the same for a whole row?",
            ),
            Misconception(
                "position 0 keeps its value",
                lambda: (0, 24, 24),
                "Keys and queries are right. You say that the output of position 0 stays when "
                "its value changes.",
                "Position 0 gives itself all of the weight. What is its output then?",
            ),
            Misconception(
                "softmax cancels everything",
                lambda: (0, 0, 0),
                "You say that nothing moves. The softmax does forget what all its scores have in "
                "common, but not everything here is common to all, or passes the softmax.",
                "Take the three changes one by one: which of them change all scores of a row by "
                "the same number?",
            ),
        ),
        hints=(
            "What does softmax make of the scores 1, 2, 3, and what of 101, 102, 103?",
            "Write out one score: q_i·(key_j + c) for the first case, (q_i + c)·key_j for the "
            "second. Which extra term is the same for all j?",
            "Then think of position 0: it has one weight, and that is 1. And of the values: what "
            "comes out if each is c larger, and the weights sum to 1?",
        ),
    ),
)
