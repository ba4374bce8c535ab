"""Laws of lesson 02."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, moved, randomise, reach
from test_ops import CUTS, Gated, stepped
from torch import nn

from gmlp import CausalSGU, SpatialGatingUnit, spatial_mix

sizes = {
    "b": st.integers(1, 2),
    "n": st.integers(1, 7),
    "extra": st.integers(0, 3),
    "h": st.integers(1, 3),
    "c": st.integers(2, 4),
    "seed": st.integers(0, 10**6),
}


def unit_of(n, extra, h, c, seed, kind=CausalSGU):
    return randomise(kind(2 * h * c, n + extra, heads=h), seed).double()


@given(position=st.integers(0, 6), **sizes)
@DRAWS
def test_a_change_moves_itself_and_what_comes_later_only(position, b, n, extra, h, c, seed):
    position %= n
    unit = unit_of(n, extra, h, c, seed)
    assert moved(unit, draw(b, n, 2 * h * c, seed=seed), position) == list(range(position, n))


@given(**sizes)
@DRAWS
def test_the_jacobian_is_the_lower_triangle(b, n, extra, h, c, seed):
    found = reach(unit_of(n, extra, h, c, seed), draw(b, n, 2 * h * c, seed=seed))
    assert torch.equal(found, torch.ones(n, n, dtype=torch.bool).tril())


@given(cut=st.integers(1, 7), **sizes)
@DRAWS
def test_a_prefix_does_not_care_what_follows(cut, b, n, extra, h, c, seed):
    cut = min(cut, n)
    unit, x = unit_of(n, extra, h, c, seed), draw(b, n, 2 * h * c, seed=seed)
    torch.testing.assert_close(unit(x[:, :cut]), unit(x)[:, :cut])


@given(**sizes)
@DRAWS
def test_it_is_the_unmasked_unit_with_the_upper_triangle_at_zero(b, n, extra, h, c, seed):
    unit, x = unit_of(n, extra, h, c, seed), draw(b, n, 2 * h * c, seed=seed)
    unmasked = SpatialGatingUnit(2 * h * c, n + extra, heads=h).double()
    unmasked.load_state_dict(unit.state_dict())
    with torch.no_grad():
        unmasked.weight.copy_(unit.weight.tril())
    torch.testing.assert_close(unit(x), unmasked(x))


@given(cuts=CUTS, **sizes)
@DRAWS
def test_step_is_forward_however_the_text_is_cut(cuts, b, n, extra, h, c, seed):
    unit, x = unit_of(n, extra, h, c, seed), draw(b, n, 2 * h * c, seed=seed)
    torch.testing.assert_close(stepped(unit, x, cuts), unit(x))


@given(cuts=CUTS, **sizes)
@DRAWS
def test_attention_is_added_to_the_gate(cuts, b, n, extra, h, c, seed):
    """Before the activation; in step as in forward."""
    unit, x = unit_of(n, extra, h, c, seed), draw(b, n, 3 * h * c, seed=seed)
    unit.act = nn.Tanh()
    u, v, attended = x.chunk(3, dim=-1)
    gate = spatial_mix(unit.norm(v), unit.mixing_matrix(n), unit.bias[:, :n])
    expected = torch.tanh(gate + attended) * u
    torch.testing.assert_close(Gated(unit)(x), expected)
    torch.testing.assert_close(stepped(Gated(unit), x, cuts), expected)


@pytest.mark.parametrize("n", [1, 128, 300])
def test_a_long_text_is_mixed_by_the_same_matrix(n):
    """However many positions there are, the fast form is the plain one."""
    unit, x = unit_of(n, 13, 2, 3, seed=0), draw(2, n, 12, seed=1)
    u, v = x.chunk(2, dim=-1)
    plain = spatial_mix(unit.norm(v), unit.mixing_matrix(n), unit.bias[:, :n]) * u
    torch.testing.assert_close(unit(x), plain)
    torch.testing.assert_close(stepped(unit, x, [n - n // 2, n]), plain)


def test_the_upper_triangle_never_counts_and_never_learns():
    unit, x = unit_of(6, 0, 2, 3, seed=0), draw(2, 6, 12, seed=1)
    before = unit(x)
    before.square().sum().backward()
    assert (unit.weight.grad.triu(1) == 0).all()
    assert (unit.weight.grad.tril() != 0).sum() == 2 * 21  # 6 * 7 / 2 entries in each head
    with torch.no_grad():
        unit.weight += torch.full_like(unit.weight, 100.0).triu(1)
    assert torch.equal(unit(x), before)


def test_the_detectors_find_what_leaks():
    """moved() and reach() themselves: an unmasked unit lights up everywhere."""
    unit, x = unit_of(5, 0, 1, 3, seed=0, kind=SpatialGatingUnit), draw(1, 5, 6, seed=1)
    assert moved(unit, x, 4) == [0, 1, 2, 3, 4]
    assert reach(unit, x).all()
