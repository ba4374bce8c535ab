"""Lesson 05: what a right, and each known wrong, answer looks like."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gmlp.causal_masking import CausalSGU
from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.corpus import encode
from gmlp.ops import Cache, mix_rows
from gmlp.residual_blocks import PreNorm, Residual, gMLPBlock
from gmlp.training import LanguageModel

# Who writes needs no gradients, so none are compared: what is filled with -inf may pass one or not.


def _draw_scores(rng: Draw) -> tuple[Any, ...]:
    b, v = sorted(rng.sizes(2, least=3))
    k = 1 if rng.number == 1 else rng.integer(2, v - 1)
    return 2 * rng.normal(b, v), k


def _no_grad_k(answer: Callable[..., Any], logits: Tensor, k: int) -> Any:
    with torch.no_grad():
        return answer(logits, k)


def _top_k(logits: Tensor, k: int) -> Tensor:
    least = logits.topk(k).values[:, -1:]
    return logits.masked_fill(logits < least, -math.inf)


def _by_sorting(logits: Tensor, k: int) -> Tensor:
    least = logits.sort(dim=1, descending=True).values[:, k - 1 : k]
    return torch.where(logits >= least, logits, torch.tensor(-math.inf, dtype=logits.dtype))


def _by_scatter(logits: Tensor, k: int) -> Tensor:
    values, places = logits.topk(k, dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, places, values)


def _by_row(logits: Tensor, k: int) -> Tensor:
    out = torch.zeros(logits.shape) - math.inf
    for i, row in enumerate(logits.tolist()):
        for j in sorted(range(len(row)), key=row.__getitem__)[-k:]:
            out[i, j] = row[j]
    return out


def _by_rank(logits: Tensor, k: int) -> Tensor:
    larger = (logits[:, None, :] > logits[:, :, None]).sum(-1)  # of each, how many are larger
    return logits + torch.zeros_like(logits).masked_fill(larger >= k, -math.inf)


def _places_of_all_rows(logits: Tensor, k: int) -> Tensor:
    places = logits.topk(k).indices.flatten()
    out = torch.full_like(logits, -math.inf)
    out[:, places] = logits[:, places]
    return out


def _best_of_columns(logits: Tensor, k: int) -> Tensor:
    return logits.masked_fill(logits < logits.topk(k, dim=0).values[-1:], -math.inf)


def _kept_chances(logits: Tensor, p: float) -> Tensor:
    """Where the smallest set of likeliest bytes lies whose chances add up to p or more."""
    chances, order = logits.softmax(-1).sort(descending=True)
    before = chances.cumsum(-1) - chances
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before < p)


def _clear(logits: Tensor, p: float) -> bool:
    """Whether no sum of chances is so near to p that rounding decides."""
    sums = logits.softmax(-1).sort(descending=True).values.cumsum(-1)
    return bool(((sums - p).abs() > 1e-3).all())


def _draw_open_scores(rng: Draw) -> tuple[Any, ...]:
    while True:
        b, v = sorted(rng.sizes(2, least=3))
        logits = 2 * rng.normal(b, v)
        largest = logits.softmax(-1).amax(-1)
        if rng.number == 0:  # one byte stays in each row
            p = round(largest.min().item() * 0.8, 2)
        else:
            p = rng.integer(*((0, 0), (40, 60), (60, 80), (80, 96))[rng.number]) / 100
        counts = _kept_chances(logits, p).sum(-1)
        # The border lies inside, and the tail alone, added up from its end, comes to p.
        told_apart = rng.number != 1 or (1 < counts.max() < v - 1 and largest.min() < 1 - p)
        if p > 0 and _clear(logits, p) and _clear(logits, 1 - p) and told_apart:
            return logits, p


def _no_grad_p(answer: Callable[..., Any], logits: Tensor, p: float) -> Any:
    with torch.no_grad():
        return answer(logits, p)


def _top_p(logits: Tensor, p: float) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    dropped = chances.cumsum(-1) - chances >= p
    return logits.masked_fill(dropped.gather(-1, order.argsort(-1)), -math.inf)


def _from_the_tail(logits: Tensor, p: float) -> Tensor:
    values, order = torch.sort(logits, dim=-1)
    dropped = values.softmax(-1).cumsum(-1) <= 1 - p
    return logits.masked_fill(torch.zeros_like(dropped).scatter(1, order, dropped), -math.inf)


def _shifted(logits: Tensor, p: float) -> Tensor:
    values, order = logits.sort(descending=True)
    over = values.softmax(-1).cumsum(-1) >= p
    over[:, 1:] = over[:, :-1].clone()
    over[:, 0] = False
    values = values.masked_fill(over, -math.inf)
    return torch.zeros_like(logits).scatter_(1, order, values)


def _held_before(logits: Tensor, p: float) -> Tensor:
    chances = logits.softmax(-1)
    likelier = chances[:, None, :] > chances[:, :, None]  # (b, v, v): is the other likelier?
    before = (likelier * chances[:, None, :]).sum(-1)
    return torch.where(before < p, logits, -torch.inf)


def _one_at_a_time(logits: Tensor, p: float) -> Tensor:
    out = torch.full(logits.shape, -math.inf)
    for i, row in enumerate(logits.softmax(-1)):
        held = 0.0
        for j in row.argsort(descending=True).tolist():
            out[i, j] = logits[i, j]
            held += row[j].item()
            if held >= p:
                break
    return out


def _cut_sorted(logits: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """The sorted logits, those outside the set dropped, and their order."""
    values, order = logits.sort(descending=True)
    chances = values.softmax(-1)
    return values.masked_fill(chances.cumsum(-1) - chances >= p, -math.inf), order


def _sums(
    keep: Callable[[Tensor, Tensor, float], Tensor], descending: bool = True
) -> Callable[[Tensor, float], Tensor]:
    """A filter that keeps where ``keep(chances, sums, p)``, on sorted chances, says so."""

    def cut(logits: Tensor, p: float) -> Tensor:
        chances, order = logits.softmax(-1).sort(descending=descending)
        kept = torch.zeros_like(logits, dtype=torch.bool).scatter(
            -1, order, keep(chances, chances.cumsum(-1), p)
        )
        return logits.masked_fill(~kept, -math.inf)

    return cut


def _sorted_mask(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(_cut_sorted(logits, p)[0] == -math.inf, -math.inf)


def _gathered_mask(logits: Tensor, p: float) -> Tensor:
    values, order = _cut_sorted(logits, p)
    return logits.masked_fill((values == -math.inf).gather(-1, order), -math.inf)


def _softmax_over_the_batch(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(_cut_unscaled(logits.softmax(0), p) == 0, -math.inf)


def _sums_of_logits(logits: Tensor, p: float) -> Tensor:
    values, order = logits.sort(descending=True)
    dropped = values.cumsum(-1) - values >= p
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)


def _not_sorted(logits: Tensor, p: float) -> Tensor:
    chances = logits.softmax(-1)
    return logits.masked_fill(chances.cumsum(-1) - chances >= p, -math.inf)


def _along_the_batch(logits: Tensor, p: float) -> Tensor:
    return _top_p(logits.mT, p).mT


def _sums_over_the_batch(logits: Tensor, p: float) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    dropped = chances.cumsum(0) - chances >= p
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)


def _order_of_the_first_row(logits: Tensor, p: float) -> Tensor:
    values, order = _cut_sorted(logits, p)
    return torch.empty_like(logits).scatter(-1, order[:1].expand_as(order), values)


def _indexed_by_the_table(logits: Tensor, p: float) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    return logits.index_fill(0, order[chances.cumsum(-1) - chances >= p], -math.inf)


def _indexed_in_all_rows(logits: Tensor, p: float) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    return logits.index_fill(1, order[chances.cumsum(-1) - chances >= p], -math.inf)


def _draw_chances(rng: Draw) -> tuple[Any, ...]:
    while True:
        b, v = sorted(rng.sizes(2, least=3))
        logits = 2 * rng.normal(b, v)
        temperature = (0.5, 2.0, 1.5)[rng.number]
        p = rng.integer(50, 90) / 100
        all_clear = all(_clear(logits * t, p) for t in (1, temperature, 1 / temperature))
        kept, kept_cold = (_kept_chances(logits / t, p) for t in (temperature, 1.0))
        # The order of the two steps shows, and there is something to drop, and not all but one.
        if all_clear and (kept != kept_cold).any() and not kept.all() and kept.sum() > b:
            return logits, temperature, p


def _no_grad_chances(
    answer: Callable[..., Any], logits: Tensor, temperature: float, p: float
) -> Any:
    with torch.no_grad():
        return answer(logits, temperature, p)


Chances = Callable[[Tensor, float, float], Tensor]


def _drop(chances: Tensor, p: float) -> Tensor:
    return chances * _kept_chances(chances.log(), p)


def _to_one(chances: Tensor) -> Tensor:
    return chances / chances.sum(-1, keepdim=True)


def _next_token_chances(logits: Tensor, temperature: float, p: float) -> Tensor:
    chances, order = (logits / temperature).softmax(-1).sort(descending=True)
    before = chances.cumsum(-1) - chances
    chances = chances.masked_fill(before >= p, 0)
    chances = chances / chances.sum(-1, keepdim=True)
    return torch.zeros_like(chances).scatter(-1, order, chances)


def _found_next_token_chances(logits, temperature, p):  # type: ignore[no-untyped-def]
    """The code that the learner is given; its bytecode must equal the notebook's."""
    chances, order = logits.softmax(-1).sort(descending=True)
    before = chances.cumsum(-1) - chances
    chances = chances.masked_fill(before >= p, 0) / temperature
    chances = chances / chances.sum(-1, keepdim=True)
    return torch.zeros_like(chances).scatter(-1, order, chances)


def _cut_then_softmax(logits: Tensor, temperature: float, p: float) -> Tensor:
    return _top_p(logits / temperature, p).softmax(-1)


def _by_powers(logits: Tensor, temperature: float, p: float) -> Tensor:
    return _to_one(_drop(_to_one(logits.softmax(-1) ** (1 / temperature)), p))


def _from_the_best(logits: Tensor, temperature: float, p: float) -> Tensor:
    scores = ((logits - logits.amax(-1, keepdim=True)) / temperature).exp()
    likelier = scores[:, None, :] > scores[:, :, None]
    before = (likelier * scores[:, None, :]).sum(-1)
    scores = scores * (before < p * scores.sum(-1, keepdim=True))
    return scores / scores.sum(-1, keepdim=True)


def _border_dropped(logits: Tensor, temperature: float, p: float) -> Tensor:
    kept = _sums(lambda chances, sums, p: sums <= p)(logits / temperature, p)
    return kept.softmax(-1)


def _softmax_of_chances(logits: Tensor, temperature: float, p: float) -> Tensor:
    return _drop((logits / temperature).softmax(-1), p).softmax(-1)


def _sorted_chances(logits: Tensor, temperature: float, p: float) -> Tensor:
    return _next_token_chances(logits, temperature, p).sort(descending=True).values


def _gathered_chances(logits: Tensor, temperature: float, p: float) -> Tensor:
    values, order = _cut_sorted(logits / temperature, p)
    return values.softmax(-1).gather(-1, order)


def _cut_unscaled(chances: Tensor, p: float) -> Tensor:
    """What ``_drop`` does, for chances that need not add up to one."""
    ordered, order = chances.sort(descending=True)
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= p, 0.0)
    return torch.zeros_like(chances).scatter(-1, order, ordered)


def _scaled_over_the_batch(logits: Tensor, temperature: float, p: float) -> Tensor:
    chances = _drop((logits / temperature).softmax(-1), p)
    return chances / chances.sum()


def _draw_next(rng: Draw) -> tuple[Any, ...]:
    b, m, c = rng.sizes(3)
    if rng.number == 0 and m == 2:
        b, m = m, b  # from three on, a triangle that is one step too wide shows
    m = 1 if rng.number == 2 else m  # as in the chapter
    t = 0 if rng.number == 4 else (4, 6)[rng.integer(0, 2)]  # a text has to begin, too
    n = t + 2 * m + rng.integer(1, 3)
    n += n == c
    norm = rng.refill(nn.LayerNorm(c))
    with torch.no_grad():
        past = norm(rng.normal(b, t, c))
    return rng.normal(b, m, c), past, norm, rng.normal(n, n), rng.normal(n)


def _mix_use(
    answer: Callable[..., Any], v: Tensor, past: Tensor, norm: Any, weight: Tensor, bias: Tensor
) -> Any:
    with torch.no_grad():
        return answer(v, past, norm, weight, bias)


Norm = Callable[[Tensor], Tensor]
Mixed = tuple[Tensor, Tensor]


def _mix_next(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    seen = torch.cat([past, norm(v)], dim=1)
    t, s = past.shape[1], seen.shape[1]
    rows = weight[t:s, :s].tril(t)
    return rows @ seen + bias[t:s, None], seen


def _whole_triangle(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    seen = torch.cat([past, norm(v)], dim=1)
    s = seen.shape[1]
    mixed = torch.einsum("ij,bjc->bic", weight.tril()[:s, :s], seen) + bias[:s].unsqueeze(-1)
    return mixed[:, past.shape[1] :], seen


def _one_by_one(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    out = torch.zeros(v.shape)
    for i in range(v.shape[1]):
        past = torch.cat([past, norm(v[:, i : i + 1])], dim=1)
        t = past.shape[1]
        out[:, i] = weight[t - 1, :t] @ past + bias[t - 1]
    return out, past


def _sum_by_sum(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    t, seen = past.shape[1], torch.cat((past, norm(v)), 1)
    rows = []
    for i in range(t, t + v.shape[1]):
        rows.append(sum(weight[i, j] * seen[:, j] for j in range(i + 1)) + bias[i])
    return torch.stack(rows, dim=1), seen


def _by_mix_rows(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    t, seen = past.shape[1], torch.cat((past, norm(v)), 1)
    s = seen.shape[1]
    return mix_rows(seen, weight[None, t:s, :s], bias[None, t:s]), seen


def _mix(
    rows: Callable[[Tensor, int, int], Tensor] = lambda weight, t, s: weight[t:s, :s].tril(t),
    bias: Callable[[Tensor, int, int], Tensor] = lambda bias, t, s: bias[t:s, None],
    seen: Callable[[Tensor, Tensor, Norm], Tensor] = lambda v, past, norm: torch.cat(
        [past, norm(v)], dim=1
    ),
) -> Callable[..., Mixed]:
    """The right answer, with one part replaced: ``t`` positions are past, ``s`` are there now."""
    own_rows, own_bias, own_seen = rows, bias, seen

    def mix(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
        seen = own_seen(v, past, norm)
        t, s = past.shape[1], past.shape[1] + v.shape[1]
        return own_rows(weight, t, s) @ seen + own_bias(bias, t, s), seen

    return mix


def _past_alone(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    t, s = past.shape[1], past.shape[1] + v.shape[1]
    mixed = weight[t:s, :t] @ past + bias[t:s, None]
    return mixed, torch.cat([past, norm(v)], dim=1)


def _new_alone(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    t, s = past.shape[1], past.shape[1] + v.shape[1]
    mixed = weight[t:s, t:s].tril() @ norm(v) + bias[t:s, None]
    return mixed, torch.cat([past, norm(v)], dim=1)


def _new_numbered_from_zero(
    v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor
) -> Mixed:
    m = v.shape[1]
    mixed = weight[:m, :m].tril() @ norm(v) + bias[:m, None]
    return mixed, torch.cat([past, norm(v)], dim=1)


def _last_row_for_all(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    seen = torch.cat([past, norm(v)], dim=1)
    s = seen.shape[1]
    return (weight[s - 1, :s] @ seen + bias[s - 1])[:, None].repeat(1, v.shape[1], 1), seen


def _last_position_alone(
    v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor
) -> Mixed:
    mixed, seen = _mix_next(v, past, norm, weight, bias)
    return mixed[:, -1:], seen


def _all_positions(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    seen = torch.cat([past, norm(v)], dim=1)
    s = seen.shape[1]
    return weight[:s, :s].tril() @ seen + bias[:s, None], seen


def _norm_behind(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    mixed, seen = _mix_next(v, past, lambda v: v, weight, bias)
    return norm(mixed), seen


def _raw_in_the_cache(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    return _mix_next(v, past, norm, weight, bias)[0], torch.cat([past, v], dim=1)


def _cached(
    keep: Callable[[Tensor, Tensor], Tensor],
) -> Callable[..., Mixed]:
    """The right mixed values, and another cache: ``keep(past, new)``."""

    def mix(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
        return _mix_next(v, past, norm, weight, bias)[0], keep(past, norm(v))

    return mix


TEXT, CHANGED = "The import statement", "The Import statement"


def _vectors_to_recompute() -> int:
    """Read both texts with a small model of four layers, and compare what the caches hold."""
    dim, seq_len = 6, len(TEXT)
    generator = torch.Generator().manual_seed(0)
    layers = []
    for _ in range(4):
        block = gMLPBlock(dim, 4 * dim, CausalSGU(4 * dim, seq_len))
        layers.append(Residual(PreNorm(dim, block)))
    model = LanguageModel(256, dim, seq_len, nn.Sequential(*layers)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
            )
        kept = []
        for text in (TEXT, CHANGED):
            seen: list[Tensor] = []
            hooks = [
                layer.fn.fn.sgu.norm.register_forward_hook(  # type: ignore[union-attr]
                    lambda module, given, normed, seen=seen: seen.append(normed)
                )
                for layer in layers
            ]
            model.step(encode(text)[None], Cache())
            for hook in hooks:
                hook.remove()
            kept.append(torch.cat(seen))  # (layer, n, c)
    return int((kept[0] != kept[1]).any(-1).sum())


def _min_p(logits: Tensor, p: float) -> Tensor:
    chances = logits.softmax(-1)
    return logits.masked_fill(chances < p * chances.amax(-1, keepdim=True), -math.inf)


def _longest_for_all(logits: Tensor, p: float) -> Tensor:
    chances = logits.softmax(-1).sort(descending=True).values
    k = int((chances.cumsum(-1) < p).sum(-1).max()) + 1
    return logits.masked_fill(logits < logits.topk(k).values[:, -1:], -math.inf)


def _log_chances(logits: Tensor, p: float) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    dropped = chances.cumsum(-1) - chances >= p
    dropped = torch.zeros_like(dropped).scatter(-1, order, dropped)
    return logits.log_softmax(-1).masked_fill(dropped, -math.inf)


def _the_chapters_top_p(logits: Tensor, p: float) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    before = chances.cumsum(0) - chances
    return logits.index_fill(0, order[before >= p], -math.inf)


def _last_rows_of_the_triangle(
    v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor
) -> Mixed:
    seen = torch.cat([past, norm(v)], dim=1)
    m, s = v.shape[1], seen.shape[1]
    return weight.tril()[-m:, :s] @ seen + bias[-m:, None], seen


def _no_norm_no_mask(v: Tensor, past: Tensor, norm: Norm, weight: Tensor, bias: Tensor) -> Mixed:
    seen = torch.cat([past, v], dim=1)
    t, s = past.shape[1], seen.shape[1]
    return weight[t:s, :s] @ seen + bias[t:s, None], seen


EXERCISES = (
    Exercise(
        name="top_k",
        lesson="05_generation",
        axes="b v",
        draw=_draw_scores,
        draws=4,
        use=_no_grad_k,
        solution=_top_k,
        alternatives=(_by_sorting, _by_scatter, _by_row, _by_rank),
        misconceptions=(
            Misconception(
                "one too few",
                lambda logits, k: logits.masked_fill(
                    logits <= logits.topk(k).values[:, -1:], -math.inf
                ),
                "You drop the k-th as well: only k - 1 are left in each row.",
                "With k = 1, how many should be left? Look at the comparison.",
            ),
            Misconception(
                "one too many",
                lambda logits, k: _top_k(logits, k + 1),
                "You keep k + 1 in each row.",
                "Positions in a sorted row are counted from 0. At which one is the k-th largest?",
            ),
            Misconception(
                "the least likely",
                lambda logits, k: (
                    -_top_k(-logits, k).masked_fill(_top_k(-logits, k) == -math.inf, math.inf)
                ),
                "You keep the k smallest.",
                "In which order does your sort, or topk, give them?",
            ),
            Misconception(
                "k dropped",
                lambda logits, k: _top_k(logits, logits.shape[1] - k),
                "You drop the k smallest. Asked for is to keep the k largest.",
                "With v logits in a row, how many have to go?",
            ),
            Misconception(
                "ascending order",
                lambda logits, k: _top_k(logits, logits.shape[1] - k + 1),
                "Your border is the k-th smallest, so you drop only what lies below that.",
                "In which order does your sort give them?",
            ),
            Misconception(
                "mask upside down",
                lambda logits, k: logits.masked_fill(
                    logits >= logits.topk(k).values[:, -1:], -math.inf
                ),
                "You drop the k likeliest and keep the rest.",
                "Is your mask True where a logit stays, or True where it goes?",
            ),
            Misconception(
                "over the whole batch",
                lambda logits, k: logits.masked_fill(
                    logits < logits.flatten().topk(k).values[-1], -math.inf
                ),
                "You keep k in the whole batch. Some rows may have none left.",
                "Each row is a text of its own and needs its own k.",
            ),
            Misconception(
                "along the batch",
                _best_of_columns,
                "You look for the k largest along the batch, column by column.",
                "Which axis of (b, v) holds the bytes?",
            ),
            Misconception(
                "border of the first row",
                lambda logits, k: logits.masked_fill(
                    logits < logits.topk(k).values[0, -1], -math.inf
                ),
                "You use the border of row 0 for all rows.",
                "Each row has a k-th largest of its own.",
            ),
            Misconception(
                "the chapter's border",
                lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[-1], -math.inf),
                "`values[-1]` was the k-th largest of a single row. Of a batch it is the last row.",
                "`topk(k).values` is (b, k) here. Where in it are the k-th largest?",
            ),
            Misconception(
                "all k in place of the border",
                lambda logits, k: logits.masked_fill(logits < logits.topk(k).values, -math.inf),
                "You compare with all k largest at once. Only the smallest of them is the border.",
                "`topk(k).values` is (b, k). Which of its columns do you need?",
            ),
            Misconception(
                "border without its axis",
                lambda logits, k: logits.masked_fill(
                    logits < logits.topk(k).values[:, -1], -math.inf
                ),
                "Your border has shape (b,), and that is compared along the bytes, not the rows.",
                "The border of a row must stand beside the row: as (b, 1).",
            ),
            Misconception(
                "places of all rows",
                _places_of_all_rows,
                "A byte that is among the best of one row stays in all rows.",
                "`out[:, places]` takes whole columns. `scatter` and `gather` go row by row.",
            ),
            Misconception(
                "filled with zeros",
                lambda logits, k: _top_k(logits, k).masked_fill(
                    _top_k(logits, k) == -math.inf, 0.0
                ),
                "You set the others to 0. That is a logit like any other, and not even a low one.",
                "A softmax follows. Which logit gets no chance at all?",
            ),
            Misconception(
                "filled with a large negative number",
                lambda logits, k: _top_k(logits, k).masked_fill(
                    _top_k(logits, k) == -math.inf, -1e9
                ),
                "You fill with -1e9. After a softmax it is the same here, but it is a number that "
                "a logit may have.",
                "`-math.inf` has no such limit, and `isfinite` then tells what is left.",
            ),
            Misconception(
                "chances",
                lambda logits, k: _top_k(logits, k).softmax(-1),
                "You return chances. Asked for are logits, so that another filter can follow.",
                "The softmax comes later.",
            ),
            Misconception(
                "chances cut",
                lambda logits, k: _top_k(logits.softmax(-1), k),
                "You cut the right ones, but you return chances, not logits.",
                "No softmax is needed here: it would not change the order.",
            ),
            Misconception(
                "the kept alone",
                lambda logits, k: logits.topk(k).values,
                "You return the k largest alone, and nobody knows any more which bytes they are.",
                "Each logit keeps its place. Only the others become -inf.",
            ),
            Misconception(
                "the places alone",
                lambda logits, k: logits.topk(k).indices,
                "You return which bytes are kept. Asked for are all logits, the others at -inf.",
                "`topk` returns two things.",
            ),
            Misconception(
                "nothing dropped",
                lambda logits, k: logits.clone(),
                "Your logits come out as they went in.",
                "`masked_fill` and `scatter` return a new tensor. Is it used?",
            ),
            Misconception(
                "the best in front",
                lambda logits, k: logits.sort(descending=True).values.masked_fill(
                    torch.arange(logits.shape[1]) >= k, -math.inf
                ),
                "You return the row sorted, so a logit no longer stands at the place of its byte.",
                "Each logit keeps its place. Only the others become -inf.",
            ),
            Misconception(
                "first k places",
                lambda logits, k: logits.masked_fill(torch.arange(logits.shape[1]) >= k, -math.inf),
                "You keep the first k places of each row, whatever stands there.",
                "The k largest may stand anywhere.",
            ),
        ),
        hints=(
            "In the row [1.0, 3.0, 2.0], with k = 2: which number is the smallest that stays?",
            "Find that border for every row with `topk`, as the chapter does for one row. Keep "
            "its axis, so that (b, 1) stands beside (b, v).",
            "least = last column of logits.topk(k).values, as (b, 1); then masked_fill where the "
            "logits are below it.",
        ),
    ),
    Exercise(
        name="top_p",
        lesson="05_generation",
        axes="b v",
        draw=_draw_open_scores,
        draws=4,
        use=_no_grad_p,
        solution=_top_p,
        alternatives=(_from_the_tail, _shifted, _held_before, _one_at_a_time),
        misconceptions=(
            Misconception(
                "the last one dropped",
                _sums(lambda chances, sums, p: sums <= p),
                "You drop the byte with which the sum reaches p, so less than p is left; where "
                "the first holds p alone, nothing is left.",
                "A byte stays as long as the ones before it hold less than p. Does your sum count "
                "the byte itself?",
            ),
            Misconception(
                "the last one dropped, but never the first",
                _sums(lambda chances, sums, p: (sums <= p) | (chances == chances[:, :1])),
                "You drop the byte with which the sum reaches p, and save only the likeliest.",
                "The bytes that stay should hold p or more.",
            ),
            Misconception(
                "the last one dropped, and order not undone",
                lambda logits, p: logits.sort(descending=True).values.masked_fill(
                    logits.softmax(-1).sort(descending=True).values.cumsum(-1) > p, -math.inf
                ),
                "You return the row sorted, and you drop the byte with which the sum reaches p.",
                "`order` says where each logit came from. And does your sum count the byte itself?",
            ),
            Misconception(
                "the last one dropped, and mask in sorted order",
                lambda logits, p: logits.masked_fill(
                    logits.softmax(-1).sort(descending=True).values.cumsum(-1) > p, -math.inf
                ),
                "Your mask is in sorted order and the logits are not; and it drops the byte with "
                "which the sum reaches p.",
                "`order` says where an entry belongs. And does your sum count the byte itself?",
            ),
            Misconception(
                "one too many",
                _sums(
                    lambda chances, sums, p: torch.cat(
                        [torch.ones_like(sums[:, :2]), (sums < p)[:, :-2]], dim=1
                    ).bool()
                ),
                "You keep one byte more than it takes.",
                "Where the likeliest holds more than p alone, how many should stay?",
            ),
            Misconception(
                "order not undone",
                lambda logits, p: _cut_sorted(logits, p)[0],
                "You return the row sorted, so a logit no longer stands at the place of its byte.",
                "`order` says where each one came from. `scatter` brings it back.",
            ),
            Misconception(
                "mask in sorted order",
                _sorted_mask,
                "Your mask is in the order of the sorted row, and the logits are not.",
                "`order` says where each entry of the mask belongs. `scatter` brings it there.",
            ),
            Misconception(
                "mask sorted once more",
                _gathered_mask,
                "You apply the order to the mask a second time, in place of undoing it.",
                "`gather` takes from these places, `scatter` puts to them.",
            ),
            Misconception(
                "sorted once more",
                lambda logits, p: _cut_sorted(logits, p)[0].gather(-1, _cut_sorted(logits, p)[1]),
                "You apply the order a second time, in place of undoing it.",
                "`gather` takes from these places, `scatter` puts to them.",
            ),
            Misconception(
                "ascending order",
                _sums(lambda chances, sums, p: sums - chances < p, descending=False),
                "You add up from the least likely byte on, so the tail stays.",
                "In which order does your sort give them?",
            ),
            Misconception(
                "mask upside down",
                _sums(lambda chances, sums, p: sums - chances >= p),
                "You keep the tail and drop the likeliest.",
                "Is your mask True where a logit stays, or True where it goes?",
            ),
            Misconception(
                "sums of logits",
                _sums_of_logits,
                "You add up logits. p is a share of the chances.",
                "What makes chances of logits?",
            ),
            Misconception(
                "not sorted",
                _not_sorted,
                "You add up in the order of the bytes, not from the likeliest on.",
                "Which byte should come first in the sum?",
            ),
            Misconception(
                "chance of at least p",
                lambda logits, p: logits.masked_fill(logits.softmax(-1) < p, -math.inf),
                "You keep the bytes that have a chance of p each. p is meant for their sum.",
                "Sort by chance, and add up.",
            ),
            Misconception(
                "chance of at least 1 - p",
                lambda logits, p: logits.masked_fill(logits.softmax(-1) < 1 - p, -math.inf),
                "You drop each byte with a chance below 1 - p. p is meant for the sum of chances.",
                "Sort by chance, and add up.",
            ),
            Misconception(
                "a share of the bytes",
                lambda logits, p: _top_k(logits, max(1, math.ceil(p * logits.shape[1]))),
                "You keep a share p of the bytes. Asked for is the share p of the chances.",
                "How many bytes that takes is different in each row.",
            ),
            Misconception(
                "1 - p",
                lambda logits, p: _top_p(logits, 1 - p),
                "What you keep holds 1 - p together.",
                "With p = 0.9, only a tail that holds 0.1 at most may go.",
            ),
            Misconception(
                "along the batch",
                _along_the_batch,
                "You work down the columns: softmax, sort and sum run along the batch.",
                "Which axis of (b, v) holds the bytes?",
            ),
            Misconception(
                "softmax along the batch",
                _softmax_over_the_batch,
                "Your chances add up to one along the batch, not within a row.",
                "Which axis does your softmax run along?",
            ),
            Misconception(
                "sums along the batch",
                _sums_over_the_batch,
                "You sort within a row, but add up along the batch.",
                "Which axis does your cumsum run along?",
            ),
            Misconception(
                "order of the first row",
                _order_of_the_first_row,
                "You put all rows back in the order of row 0.",
                "Each row has an order of its own.",
            ),
            Misconception(
                "the chapter's index_fill",
                _indexed_by_the_table,
                "`index_fill(0, …)` was made for one row. Here it fills whole rows of the batch.",
                "`scatter` puts a mask back row by row.",
            ),
            Misconception(
                "dropped in all rows",
                _indexed_in_all_rows,
                "A byte that is dropped in one row is dropped in all rows.",
                "`index_fill` fills whole columns. `scatter` puts a mask back row by row.",
            ),
            Misconception(
                "filled with zeros",
                lambda logits, p: _top_p(logits, p).masked_fill(~_kept_chances(logits, p), 0.0),
                "You set the others to 0. That is a logit like any other.",
                "A softmax follows. Which logit gets no chance at all?",
            ),
            Misconception(
                "chances",
                lambda logits, p: _top_p(logits, p).softmax(-1),
                "You return chances, scaled to add up to one. Asked for are logits.",
                "The softmax is needed to decide. What is returned are the logits.",
            ),
            Misconception(
                "chances not scaled",
                lambda logits, p: logits.softmax(-1) * _kept_chances(logits, p),
                "You return chances, with 0 for those that are dropped. Asked for are logits.",
                "The softmax is needed to decide. What is returned are the logits.",
            ),
            Misconception(
                "chances among -inf",
                lambda logits, p: logits.softmax(-1).masked_fill(
                    ~_kept_chances(logits, p), -math.inf
                ),
                "The right ones stay, but as chances. Asked for are the logits.",
                "The softmax is needed to decide. What is returned are the logits.",
            ),
            Misconception(
                "nothing dropped",
                lambda logits, p: logits.clone(),
                "Your logits come out as they went in.",
                "`masked_fill` and `scatter` return a new tensor. Is it used?",
            ),
            Misconception(
                "a share of the best chance",
                _min_p,
                "You keep what has at least p times the best chance. That is another filter, "
                "min-p.",
                "Sort by chance, and add up until p is reached.",
            ),
            Misconception(
                "as many in every row",
                _longest_for_all,
                "You find how many bytes the longest row needs, and keep as many in all rows.",
                "How many it takes may be different in each row.",
            ),
            Misconception(
                "logarithms of the chances",
                _log_chances,
                "The right ones stay, but as logarithms of their chances. Asked for are the "
                "logits as they were.",
                "What stays keeps its value. The softmax is needed to decide only.",
            ),
            Misconception(
                "the chapter's function",
                _the_chapters_top_p,
                "You take the chapter's function, which was made for one row: its cumsum and "
                "index_fill work along axis 0, here the batch.",
                "Which axis of (b, v) holds the bytes? And `scatter` puts a mask back row by row.",
            ),
        ),
        hints=(
            "A row has the chances 0.2, 0.5, 0.3, and p is 0.6. Which bytes stay, and what do "
            "those before the last of them hold?",
            "Sort the chances downwards and keep `order`. `cumsum` counts the byte itself; take "
            "it out, and compare with p. The mask is then in sorted order: `scatter` puts it back.",
            "dropped = cumsum - chances >= p, both sorted; "
            "torch.zeros_like(dropped).scatter(-1, order, dropped) stands beside the logits.",
        ),
    ),
    Exercise(
        name="next_token_chances",
        lesson="05_generation",
        axes="b v",
        draw=_draw_chances,
        kind="debug",
        use=_no_grad_chances,
        solution=_next_token_chances,
        stub=_found_next_token_chances,
        alternatives=(_cut_then_softmax, _by_powers, _from_the_best),
        misconceptions=(
            Misconception(
                "temperature without effect",
                lambda logits, temperature, p: _to_one(_drop(logits.softmax(-1), p)),
                "The temperature still has no effect: it divides all chances by one number, and "
                "then they are scaled to add up to one.",
                "A temperature has to change how the chances stand to each other. What does it "
                "divide in the chapter?",
            ),
            Misconception(
                "temperature after the filter",
                lambda logits, temperature, p: (_top_p(logits, p) / temperature).softmax(-1),
                "The temperature works now, but the filter has been before it: p speaks of "
                "chances from which nobody draws.",
                "Which chances does the cumsum see?",
            ),
            Misconception(
                "multiplied",
                lambda logits, temperature, p: _next_token_chances(logits, 1 / temperature, p),
                "You multiply by the temperature, so a high one plays safe.",
                "A high temperature makes all bytes alike. What does that to differences of "
                "logits?",
            ),
            Misconception(
                "multiplied after the filter",
                lambda logits, temperature, p: (_top_p(logits, p) * temperature).softmax(-1),
                "You multiply by the temperature, and you do so after the filter.",
                "A high temperature makes all bytes alike. And which chances does the cumsum see?",
            ),
            Misconception(
                "softmax in place of scaling",
                lambda logits, temperature, p: (_drop(logits.softmax(-1), p) / temperature).softmax(
                    -1
                ),
                "You scale with a softmax over chances, which gives a dropped byte a chance again.",
                "A softmax is for logits, and so is the temperature.",
            ),
            Misconception(
                "powers not scaled",
                lambda logits, temperature, p: _to_one(
                    _cut_unscaled(logits.softmax(-1) ** (1 / temperature), p)
                ),
                "You raise the chances to the right power, but their sum is then no longer 1, and "
                "p means something else.",
                "Scale them before the cumsum sees them. Or let the temperature divide logits.",
            ),
            Misconception(
                "divided at the very end",
                lambda logits, temperature, p: _to_one(_drop(logits.softmax(-1), p)) / temperature,
                "You divide the scaled chances, so they no longer add up to one.",
                "A temperature has to change how the chances stand to each other. What does it "
                "divide in the chapter?",
            ),
            Misconception(
                "chances divided before the softmax",
                lambda logits, temperature, p: _next_token_chances(
                    logits.softmax(-1), temperature, p
                ),
                "You take the softmax twice: chances, divided, go through another one.",
                "The temperature divides logits. Which softmax is one too many?",
            ),
            Misconception(
                "divided before the filter, not scaled",
                lambda logits, temperature, p: _to_one(
                    _cut_unscaled(logits.softmax(-1) / temperature, p)
                ),
                "You divide the chances before they are added up, so their sum is no longer 1 and "
                "p means something else.",
                "The temperature divides logits, before they become chances.",
            ),
            Misconception(
                "filter twice, temperature between",
                lambda logits, temperature, p: _next_token_chances(
                    _top_p(logits, p), temperature, p
                ),
                "You filter before the temperature and once more after it.",
                "One filter is enough. After which step?",
            ),
            Misconception(
                "temperature twice",
                lambda logits, temperature, p: (
                    _top_p(logits / temperature, p) / temperature
                ).softmax(-1),
                "The temperature works twice, before the filter and after it.",
                "The old division is still there in another form. Once is enough.",
            ),
            Misconception(
                "not scaled",
                lambda logits, temperature, p: _drop((logits / temperature).softmax(-1), p),
                "Your chances add up to less than one: what the dropped ones had is lost.",
                "Divide by the sum of what is left.",
            ),
            Misconception(
                "still divided at the end",
                lambda logits, temperature, p: (
                    _next_token_chances(logits, temperature, p) / temperature
                ),
                "The chances are right, but you divide them by the temperature at the end.",
                "What do they add up to?",
            ),
            Misconception(
                "no filter",
                lambda logits, temperature, p: (logits / temperature).softmax(-1),
                "The temperature is right, but the tail is back: p has no effect.",
                "Bytes outside the set get the chance 0.",
            ),
            Misconception(
                "the last one dropped",
                _border_dropped,
                "You drop the byte with which the sum reaches p.",
                "The filter that you were given was right. Only the temperature has to move.",
            ),
            Misconception(
                "softmax of chances",
                _softmax_of_chances,
                "You scale with a softmax, which gives a dropped byte a chance again.",
                "Chances are scaled by their sum. A softmax is for logits.",
            ),
            Misconception(
                "order not undone",
                _sorted_chances,
                "You return the chances sorted, so they no longer stand at the places of the "
                "bytes.",
                "`order` says where each one came from. `scatter` brings it back.",
            ),
            Misconception(
                "sorted once more",
                _gathered_chances,
                "You apply the order a second time, in place of undoing it.",
                "`gather` takes from these places, `scatter` puts to them.",
            ),
            Misconception(
                "logits returned",
                lambda logits, temperature, p: _top_p(logits / temperature, p),
                "You return logits. Asked for are chances.",
                "One softmax is missing.",
            ),
            Misconception(
                "scaled over the batch",
                _scaled_over_the_batch,
                "You scale the whole batch to add up to one. Each row should.",
                "`sum` wants an axis, and `keepdim`.",
            ),
        ),
        hints=(
            "Divide 0.6, 0.3 and 0.1 by 2, and scale them to add up to one. What has changed?",
            "In the chapter the temperature divides logits, not chances. And it comes before the "
            "filter, because the sum that is compared with p should be one of chances that are "
            "drawn from.",
            "Take the division out of its line. In the first line the softmax should get logits "
            "that are divided already.",
        ),
    ),
    Exercise(
        name="mix_next",
        lesson="05_generation",
        axes="b m c, b s c",
        parts=("mixed", "seen"),
        draw=_draw_next,
        draws=5,
        kind="extend",
        use=_mix_use,
        solution=_mix_next,
        alternatives=(_whole_triangle, _one_by_one, _sum_by_sum, _by_mix_rows),
        misconceptions=(
            Misconception(
                "new positions see each other",
                _mix(lambda weight, t, s: weight[t:s, :s]),
                "Your new positions read each other, later ones too. With one new position that "
                "could not happen; with m it is a leak.",
                "Which columns may the first of the new rows read?",
            ),
            Misconception(
                "triangle from column 0",
                _mix(lambda weight, t, s: weight[t:s, :s].tril()),
                "Your triangle begins at column 0, so nearly all of the past is hidden.",
                "The first new row may read t + 1 columns. `tril` takes a diagonal.",
            ),
            Misconception(
                "diagonal hidden",
                _mix(lambda weight, t, s: weight[t:s, :s].tril(t - 1)),
                "Your new positions do not read themselves.",
                "The first new row may read t + 1 columns: the past, and itself.",
            ),
            Misconception(
                "triangle one step too far",
                _mix(lambda weight, t, s: weight[t:s, :s].tril(t + 1)),
                "Each of your new positions reads the one after it, too.",
                "The first new row may read t + 1 columns: the past, and itself.",
            ),
            Misconception(
                "next row",
                _mix(
                    lambda weight, t, s: weight[t + 1 : s + 1, :s].tril(t),
                    lambda bias, t, s: bias[t + 1 : s + 1, None],
                ),
                "You take rows one too far down.",
                "The past has the positions 0 … t - 1. Which is the first new one?",
            ),
            Misconception(
                "next row of W",
                _mix(lambda weight, t, s: weight[t + 1 : s + 1, :s].tril(t)),
                "You take rows of W one too far down. The bias is right.",
                "The past has the positions 0 … t - 1. Which is the first new one?",
            ),
            Misconception(
                "row before",
                _mix(
                    lambda weight, t, s: weight[t - 1 : s - 1, :s].tril(t),
                    lambda bias, t, s: bias[t - 1 : s - 1, None],
                ),
                "You take rows one too far up.",
                "In the chapter t counted the new position, too. Here it is the length of `past`.",
            ),
            Misconception(
                "all one too far up",
                _mix(
                    lambda weight, t, s: weight[t - 1 : s - 1, :s].tril(t - 1),
                    lambda bias, t, s: bias[t - 1 : s - 1, None],
                ),
                "Your rows, and the columns that they may read, are one too far up.",
                "In the chapter t counted the new position, too. Here it is the length of `past`.",
            ),
            Misconception(
                "row before, of W",
                _mix(lambda weight, t, s: weight[t - 1 : s - 1, :s].tril(t)),
                "You take rows of W one too far up. The bias is right.",
                "In the chapter t counted the new position, too. Here it is the length of `past`.",
            ),
            Misconception(
                "first rows",
                _mix(
                    lambda weight, t, s: weight[: s - t, :s].tril(t),
                    lambda bias, t, s: bias[: s - t, None],
                ),
                "You take the first m rows of W and b, as if the text began here.",
                "The past has the positions 0 … t - 1. Which is the first new one?",
            ),
            Misconception(
                "last rows",
                _mix(
                    lambda weight, t, s: weight[t - s :, :s].tril(t),
                    lambda bias, t, s: bias[t - s :, None],
                ),
                "You take the last m rows of W and b. They belong to the end of the context.",
                "The text has come to position t + m - 1. W has rows for more than that.",
            ),
            Misconception(
                "rows behind the new ones",
                _mix(
                    lambda weight, t, s: weight[s : 2 * s - t, :s],
                    lambda bias, t, s: bias[s : 2 * s - t, None],
                ),
                "You take the rows that come after the new positions.",
                "The length of what has been seen counts the new positions, too.",
            ),
            Misconception(
                "all columns",
                _mix(lambda weight, t, s: weight[t:s]),
                "Your rows have n columns, but only t + m positions have been seen.",
                "Cut the columns as well.",
            ),
            Misconception(
                "columns",
                _mix(lambda weight, t, s: weight[:s, t:s].mT.tril(t)),
                "You take columns of W where you should take rows.",
                "`weight[i, j]` says how much position i reads of position j. Which index is the "
                "new one?",
            ),
            Misconception(
                "past forgotten",
                _new_alone,
                "Your new positions read each other and themselves, but not the past.",
                "The rows are over all positions so far: t + m columns.",
            ),
            Misconception(
                "numbered from zero",
                _new_numbered_from_zero,
                "You treat the new positions as a text of their own, which begins at position 0.",
                "The past has the positions 0 … t - 1, and it is read, too.",
            ),
            Misconception(
                "itself forgotten",
                _past_alone,
                "Your new positions read the past only, neither themselves nor each other.",
                "Put the new ones behind the past first, then mix.",
            ),
            Misconception(
                "new ones in front",
                _mix(seen=lambda v, past, norm: torch.cat([norm(v), past], dim=1)),
                "You put the new positions in front of the past.",
                "Column j of W belongs to position j. Which positions come first?",
            ),
            Misconception(
                "last row for all",
                _last_row_for_all,
                "All your new positions use the row, and read the positions, of the last one.",
                "m new positions need m rows.",
            ),
            Misconception(
                "last position alone",
                _last_position_alone,
                "You return the last of the new positions alone.",
                "The next layer needs all m of them.",
            ),
            Misconception(
                "past ones too",
                _all_positions,
                "You return all positions. That is right, but all the work is done again.",
                "Only rows t … t + m - 1 are asked for.",
            ),
            Misconception(
                "no norm",
                lambda v, past, norm, weight, bias: _mix_next(v, past, lambda v: v, weight, bias),
                "You use the new v as it comes. The past is normed, and the new ones should be.",
                "What does `unit_step` do to the new v before it keeps it?",
            ),
            Misconception(
                "normed twice",
                _mix(seen=lambda v, past, norm: norm(torch.cat([past, v], dim=1))),
                "You norm all that has been seen. The past has been normed already.",
                "Norm the new positions alone, before they join the others.",
            ),
            Misconception(
                "norm after the mix",
                _norm_behind,
                "You mix first and norm what comes out.",
                "The norm acts on v, before it is mixed and kept.",
            ),
            Misconception(
                "raw in the cache",
                _raw_in_the_cache,
                "What you mix is right, but what you keep is not normed.",
                "At the next call `past` will be what you return now.",
            ),
            Misconception(
                "new ones alone in the cache",
                _cached(lambda past, new: new),
                "What you mix is right, but you keep the new positions alone.",
                "At the next call `past` will be what you return now.",
            ),
            Misconception(
                "old cache",
                _cached(lambda past, new: past),
                "What you mix is right, but you return the cache as it was.",
                "At the next call `past` will be what you return now.",
            ),
            Misconception(
                "cache in place of the mix",
                lambda v, past, norm, weight, bias: _mix_next(v, past, norm, weight, bias)[::-1],
                "You return the two in the wrong order.",
                "First what was mixed, then what was seen.",
            ),
            Misconception(
                "the mix alone",
                lambda v, past, norm, weight, bias: _mix_next(v, past, norm, weight, bias)[0],
                "You return what was mixed, but not what was seen. The next call needs it.",
                "Two values: `return a, b`.",
            ),
            Misconception(
                "no bias",
                _mix(bias=lambda bias, t, s: torch.zeros_like(bias[t:s, None])),
                "The bias is missing.",
                "gate_i has two terms.",
            ),
            Misconception(
                "bias of the first positions",
                _mix(bias=lambda bias, t, s: bias[: s - t, None]),
                "Your rows of W are right, but your biases are those of the first m positions.",
                "A position has one row and one bias, at the same place.",
            ),
            Misconception(
                "bias of one position",
                _mix(bias=lambda bias, t, s: bias[s - 1]),
                "All your new positions get the bias of the last one.",
                "A position has one row and one bias, at the same place.",
            ),
            Misconception(
                "bias of the first new position",
                _mix(bias=lambda bias, t, s: bias[t]),
                "All your new positions get the bias of the first of them.",
                "A position has one row and one bias, at the same place.",
            ),
            Misconception(
                "bias one too far",
                _mix(bias=lambda bias, t, s: bias[t + 1 : s + 1, None]),
                "Your rows of W are right, but your biases are one too far.",
                "A position has one row and one bias, at the same place.",
            ),
            Misconception(
                "bias one too early",
                _mix(bias=lambda bias, t, s: bias[t - 1 : s - 1, None]),
                "Your rows of W are right, but your biases are one too early.",
                "A position has one row and one bias, at the same place.",
            ),
            Misconception(
                "bias along the channels",
                _mix(bias=lambda bias, t, s: bias[t:s]),
                "Your bias (m,) is added along the channels. It belongs to the positions.",
                "Make it (m, 1), so that it stands beside (b, m, c).",
            ),
            Misconception(
                "last rows of the triangle",
                _last_rows_of_the_triangle,
                "You take the last m rows of W. They belong to the end of the context, not of "
                "this text.",
                "The text has come to position t + m - 1. Which rows belong to the new positions?",
            ),
            Misconception(
                "no norm and no mask",
                _no_norm_no_mask,
                "You use the new v as it comes, and your new positions read each other, later "
                "ones too.",
                "What does `unit_step` do to the new v first? And which columns may the first of "
                "the new rows read?",
            ),
        ),
        hints=(
            "With 5 positions in the past and 2 new ones: which rows of W do you need, and which "
            "columns may each of them read?",
            "Norm the new v and put it behind the past: (b, t + m, c). Take rows t … t + m - 1, "
            "with as many columns. Then cut what lies in the future: a triangle that begins at "
            "column t.",
            "rows = weight[t : t + m, : t + m], with its upper part cut off by `tril` from "
            "diagonal t on; mixed = rows @ seen + the same places of bias, as (m, 1).",
        ),
    ),
    prediction(
        "vectors_to_recompute",
        "05_generation",
        _vectors_to_recompute,
        because="In layer 1 the normed v comes from the byte alone, so 1 changes. Its output mixes "
        "the past, so from layer 2 on all 16 positions from the changed one to the end differ: "
        "1 + 3 × 16 = 49.",
        misconceptions=(
            Misconception(
                "everything",
                lambda: 4 * 20,
                "You compute everything again. But no output depends on a later token.",
                "Which positions come before the changed byte?",
            ),
            Misconception(
                "from the byte on, in all layers",
                lambda: 4 * 16,
                "You count all positions from the changed byte on, in all four layers.",
                "What has v in the first layer been mixed with, when it is kept?",
            ),
            Misconception(
                "later ones only, in all layers",
                lambda: 4 * 15,
                "You count the positions after the changed byte, in all four layers.",
                "Does the position of the byte itself stay as it was? And is the first layer like "
                "the others?",
            ),
            Misconception(
                "its own position in each layer",
                lambda: 4,
                "You count the position of the changed byte alone, in each layer.",
                "The unit of layer 1 mixes. What do the later positions hand on to layer 2?",
            ),
            Misconception(
                "one in all",
                lambda: 1,
                "You count the changed byte alone.",
                "That is right for layer 1. What does its unit hand on to layer 2?",
            ),
            Misconception(
                "one layer",
                lambda: 16,
                "You count one layer. The model has four, and each has a cache.",
                "In how many layers do these positions differ? Look at the first one closely.",
            ),
            Misconception(
                "the first layer left out",
                lambda: 3 * 16,
                "You leave the first layer out. One of its vectors has changed, too.",
                "Which v of layer 1 comes from the changed byte?",
            ),
            Misconception(
                "itself left out",
                lambda: 1 + 3 * 15,
                "From layer 2 on you count the positions after the changed byte, without its own.",
                "A position reads itself, too.",
            ),
            Misconception(
                "counted from 1",
                lambda: 1 + 3 * 17,
                "You count one position too many in each layer from the second on.",
                "The byte has number 4, counted from 0. How many of 20 stand before it?",
            ),
            Misconception(
                "the positions before",
                lambda: 4 * 5,
                "You count the positions up to the changed byte. Those before it have not seen it.",
                "Who reads whom in a causal model?",
            ),
            Misconception(
                "nothing",
                lambda: 0,
                "You say that nothing has to be computed again.",
                "Does v of layer 1, at the changed byte, not come from that byte?",
            ),
            Misconception(
                "whole layers from the second on",
                lambda: 1 + 3 * 20,
                "From layer 2 on you count all positions, also those before the changed byte.",
                "No output depends on a later token, in any layer.",
            ),
            Misconception(
                "one layer, and one",
                lambda: 17,
                "You count one layer's positions from the fifth on, and one more.",
                "In which layers has a position after the fifth byte heard of it?",
            ),
        ),
        hints=(
            "In layer 1: from what is the v of a position computed, and has anything been mixed "
            "by then?",
            "Go up layer by layer. What is kept in a layer is made before its unit mixes; what "
            "goes on to the next layer is made after.",
            "Layer 1: only where the byte itself changed. Layers 2, 3 and 4: wherever the output "
            "of the layer below could read the changed byte.",
        ),
    ),
)
