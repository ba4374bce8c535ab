"""Laws of lesson 09."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS
from torch import nn

from gmlp import ReversibleSequence, SequentialSequence, dropout_layers

sizes = {
    "count": st.integers(1, 8),
    "survival": st.floats(0.01, 0.99),
    "seed": st.integers(0, 10**6),
}


class Add(nn.Module):
    """Adds its own bit, so that a sum tells which layers ran."""

    def __init__(self, bit):
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(2.0**bit))

    def forward(self, x):
        return x + self.amount


class Bit(Add):
    """The same as ``f`` of a reversible block, which adds it to the stream."""

    def forward(self, x):
        return 0 * x + self.amount


class Nothing(nn.Module):
    def forward(self, x):
        return 0 * x


KINDS = {
    "sequential": lambda count, p: SequentialSequence(map(Add, range(count)), prob_survival=p),
    "reversible": lambda count, p: ReversibleSequence(
        [(Bit(k), Nothing()) for k in range(count)], prob_survival=p
    ),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def survivors(sequence):
    total = int(sequence(torch.zeros(1, 1, 1)))
    return [bit for bit in range(8) if total >> bit & 1]


def next_draw(count, survival, seed):
    """The layers that will be drawn next."""
    torch.manual_seed(seed)
    drawn = dropout_layers(range(count), survival)
    torch.manual_seed(seed)
    return drawn


@given(**sizes)
@DRAWS
def test_some_layers_survive_in_their_order_and_never_none(count, survival, seed):
    torch.manual_seed(seed)
    kept = dropout_layers(range(count), survival)
    assert kept and kept == sorted(set(kept)) and set(kept) <= set(range(count))


@pytest.mark.parametrize("survival", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_survive_as_the_formula_says_and_each_layer_as_often(count, survival):
    torch.manual_seed(0)
    passes = 3000
    kept = torch.zeros(passes, count)
    for row in kept:
        row[dropout_layers(range(count), survival)] = 1
    expected = survival * count + (1 - survival) ** count
    error = kept.sum(1).std() / passes**0.5  # 0 where there is one layer: it always survives
    assert abs(kept.sum(1).mean() - expected) <= 5 * error
    each = expected / count
    assert (kept.mean(0) - each).abs().max() <= 5 * (each * (1 - each) / passes) ** 0.5 + 1e-6


@kinds
@given(**sizes)
@DRAWS
def test_a_training_pass_runs_the_layers_that_were_drawn(kind, count, survival, seed):
    sequence = kind(count, survival).train()
    drawn = next_draw(count, survival, seed)
    assert survivors(sequence) == drawn


@kinds
@given(**sizes)
@DRAWS
def test_only_layers_that_ran_get_gradients(kind, count, survival, seed):
    sequence = kind(count, survival).train()
    drawn = next_draw(count, survival, seed)
    sequence(torch.zeros(2, 1, 1, requires_grad=True)).sum().backward()
    grads = [parameter.grad for parameter in sequence.parameters()]
    assert [bit for bit, grad in enumerate(grads) if grad is not None] == drawn
    assert all(grads[bit] == 2 for bit in drawn)  # one for each of the batch


@kinds
@given(**sizes)
@DRAWS
def test_eval_runs_every_layer_and_draws_nothing(kind, count, survival, seed):
    sequence = kind(count, survival).eval()
    torch.manual_seed(seed)
    before = torch.get_rng_state()
    assert survivors(sequence) == list(range(count))
    assert torch.equal(torch.get_rng_state(), before)


@kinds
def test_certain_survival_draws_nothing(kind):
    before = torch.get_rng_state()
    assert dropout_layers([1, 2, 3], 1) == [1, 2, 3]
    assert survivors(kind(5, 1.0).train()) == list(range(5))
    assert torch.equal(torch.get_rng_state(), before)


@kinds
def test_each_pass_draws_anew_and_a_copy_draws_alike(kind):
    sequence = kind(6, 0.5).train()
    torch.manual_seed(0)
    passes = [survivors(sequence) for _ in range(20)]
    assert len(set(map(tuple, passes))) > 5
    torch.manual_seed(0)
    assert [survivors(copy.deepcopy(sequence)) for _ in range(20)] == passes


def test_no_layers_stay_no_layers():
    assert dropout_layers([], 0.5) == []


@pytest.mark.parametrize("survival", [0, -0.1, 1.5, float("nan")])
def test_a_chance_that_is_none_is_named(survival):
    message = rf"prob_survival must lie in \(0, 1\]; got prob_survival={survival}"
    with pytest.raises(ValueError, match=message):
        dropout_layers([1, 2], survival)
    for kind in KINDS.values():
        with pytest.raises(ValueError, match=message):
            kind(2, survival)
