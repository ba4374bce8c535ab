"""Laws of lesson 07."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, moved, randomise, reach
from test_ops import CUTS, Gated, agree, as_function, stepped
from test_tiny_attention import attend_slowly
from torch import nn

from gmlp import (
    Attention,
    CausalLocalSGU,
    CausalSGU,
    LocalAttention,
    pad_to_multiple,
    spatial_mix,
)

SEED = st.integers(0, 10**6)
sizes = {"b": st.integers(1, 2), "n": st.integers(1, 11), "w": st.integers(1, 6), "seed": SEED}
shape = {"h": st.integers(1, 3), "c": st.integers(2, 3)}


def unit_of(n, w, h, c, seed):
    return randomise(CausalLocalSGU(2 * h * c, n, window=w, heads=h), seed).double()


def head_of(w, seed, kind=LocalAttention):
    size = {"window": w} if kind is LocalAttention else {}
    return randomise(kind(dim_in=3, dim_out=4, dim_inner=2, **size), seed).double()


def is_read(i, j, w):
    """Own window up to itself, and the whole window before."""
    return j <= i and i // w - j // w <= 1


def reads(n, w):
    return torch.tensor([[is_read(i, j, w) for j in range(n)] for i in range(n)])


@given(
    before=st.lists(st.integers(1, 3), max_size=2),
    n=st.integers(0, 9),
    after=st.lists(st.integers(1, 3), max_size=2),
    multiple=st.integers(1, 5),
    value=st.sampled_from([0.0, -1.5]),
    from_the_end=st.booleans(),
)
@DRAWS
def test_padding_fills_up_along_one_axis(before, n, after, multiple, value, from_the_end):
    x, axis = draw(*before, n, *after, seed=0), len(before)
    missing = next(k for k in range(multiple) if (n + k) % multiple == 0)
    expected = torch.cat((x, torch.full((*before, missing, *after), value)), dim=axis)
    dim = axis - x.ndim if from_the_end else axis
    padded = pad_to_multiple(x, multiple, dim=dim, value=value)
    assert torch.equal(padded, expected)
    assert (padded is x) == (missing == 0)


@given(**sizes, **shape)
@DRAWS
def test_the_unit_is_its_equation(b, n, w, seed, h, c):
    """Row by row, from the docstring; values and gradients."""
    unit = unit_of(n, w, h, c, seed)

    def equation(x, weight, bias, scale, shift):
        u, v = x.chunk(2, dim=-1)
        v = nn.functional.layer_norm(v, (h * c,), scale, shift).unflatten(-1, (h, c))
        rows = []
        for i in range(n):
            a, r = i // w, i % w
            terms = [
                weight[:, r, j - (a - 1) * w, None] * v[:, j]  # (h, 1) * (b, h, c)
                for j in range(max(0, (a - 1) * w), i + 1)
            ]
            rows.append((sum(terms) + bias[:, r, None]).flatten(1) * u[:, i])
        return torch.stack(rows, dim=1)

    values = [unit.weight, unit.bias, unit.norm.weight, unit.norm.bias]
    assert [id(p) for p in values] == [id(p) for p in unit.parameters()]
    agree(as_function(unit), equation, [draw(b, n, 2 * h * c, seed=seed), *values])


@given(**sizes, **shape)
@DRAWS
def test_it_is_a_unit_whose_matrix_is_made_of_windows(b, n, w, seed, h, c):
    unit, v = unit_of(n, w, h, c, seed), draw(b, n, h * c, seed=seed)
    matrix, bias = unit.mixing_matrix(n), unit.bias[:, torch.arange(n) % w]
    torch.testing.assert_close(unit.mix(v), spatial_mix(v, matrix, bias))
    assert torch.equal(matrix != 0, reads(n, w).expand(h, n, n))


@given(position=st.integers(0, 10), **sizes, **shape)
@DRAWS
def test_the_reach_is_the_own_window_and_the_one_before(position, b, n, w, seed, h, c):
    position %= n
    unit, x = unit_of(n, w, h, c, seed), draw(b, n, 2 * h * c, seed=seed)
    assert torch.equal(reach(unit, x), reads(n, w))
    assert moved(unit, x, position) == reads(n, w)[:, position].nonzero().flatten().tolist()


@given(more=st.integers(0, 3), **sizes, **shape)
@DRAWS
def test_a_window_as_long_as_the_text_is_no_window(more, b, n, w, seed, h, c):
    """The weights are those of the own window; the one before is empty."""
    w = n + more
    unit, x = unit_of(n, w, h, c, seed), draw(b, n, 2 * h * c, seed=seed)
    plain = CausalSGU(2 * h * c, n, heads=h).double()
    plain.norm.load_state_dict(unit.norm.state_dict())
    with torch.no_grad():
        plain.weight.copy_(unit.weight[:, :n, w : w + n])
        plain.bias.copy_(unit.bias[:, :n])
    torch.testing.assert_close(unit(x), plain(x))


@given(cuts=CUTS, more=st.integers(0, 9), **sizes, **shape)
@DRAWS
def test_step_is_forward_however_the_text_is_cut(cuts, more, b, n, w, seed, h, c):
    """And neither cares how much longer the text could have been, or is."""
    unit, x = unit_of(n + more, w, h, c, seed), draw(b, n + more, 2 * h * c, seed=seed)
    whole = unit(x)
    torch.testing.assert_close(unit(x[:, :n]), whole[:, :n])
    torch.testing.assert_close(stepped(unit, x, cuts), whole)


@given(cuts=CUTS, **sizes, **shape)
@DRAWS
def test_attention_is_added_to_the_gate(cuts, b, n, w, seed, h, c):
    """Before the activation; in step as in forward."""
    unit, x = unit_of(n, w, h, c, seed), draw(b, n, 3 * h * c, seed=seed)
    unit.act = nn.Tanh()
    u, v, extra = x.chunk(3, dim=-1)
    expected = torch.tanh(unit.mix(unit.norm(v)) + extra) * u
    torch.testing.assert_close(Gated(unit)(x), expected)
    torch.testing.assert_close(stepped(Gated(unit), x, cuts), expected)


def test_it_starts_as_the_identity_on_u():
    torch.manual_seed(0)
    unit = CausalLocalSGU(16, 50, window=8, heads=2)
    assert unit.weight.shape == (2, 8, 16)
    assert unit.bias.shape == (2, 8)
    assert 0.9e-3 / 8 < unit.weight.abs().max() <= 1e-3 / 8
    assert (unit.bias == 1).all()
    assert CausalLocalSGU(16, 50, window=8, init_eps=1.0).weight.abs().max() > 0.1


@given(**sizes)
@DRAWS
def test_local_attention_is_softmax_over_two_windows_written_out(b, n, w, seed):
    head = head_of(w, seed)

    def slowly(x, *values):
        return attend_slowly(x, *values, may_read=lambda i, j: is_read(i, j, w))

    agree(as_function(head), slowly, [draw(b, n, 3, seed=seed), *head.parameters()])


@given(**sizes)
@DRAWS
def test_local_attention_has_the_reach_of_the_unit(b, n, w, seed):
    assert torch.equal(reach(head_of(w, seed), draw(b, n, 3, seed=seed)), reads(n, w))


@given(more=st.integers(0, 3), **sizes)
@DRAWS
def test_attention_with_a_window_as_long_as_the_text_is_attention(more, b, n, w, seed):
    local, x = head_of(n + more, seed), draw(b, n, 3, seed=seed)
    everywhere = head_of(None, seed + 1, kind=Attention)
    everywhere.load_state_dict(local.state_dict())
    torch.testing.assert_close(local(x), everywhere(x))


@given(cuts=CUTS, **sizes)
@DRAWS
def test_stepwise_attention_is_attention_however_the_text_is_cut(cuts, b, n, w, seed):
    head, x = head_of(w, seed), draw(b, n, 3, seed=seed)
    torch.testing.assert_close(stepped(head, x, cuts), head(x))


def test_the_first_position_hears_only_itself_and_all_of_it():
    """Were the nothing before the first window counted, its share would be 1 / (w + 1)."""
    head, x = head_of(4, 0), draw(1, 9, 3, seed=1)
    value = x[:, 0] @ head.to_qkv.weight.chunk(3)[2].T
    for out in (head(x), stepped(head, x, [2])):
        torch.testing.assert_close(out[:, 0], head.to_out(value))


def test_queries_keys_and_values_all_learn():
    head = head_of(4, 0)
    head(draw(1, 9, 3, seed=1)).square().sum().backward()
    assert all((part != 0).all() for part in head.to_qkv.weight.grad.chunk(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("make", "d"), [(lambda: unit_of(9, 4, 2, 3, 0), 12), (lambda: head_of(4, 0), 3)]
)
def test_dtype_is_kept(make, d, dtype):
    module, x = make(), draw(2, 9, d, seed=1)
    expected = module(x)
    module, x = module.to(dtype), x.to(dtype)
    for found in (module(x), stepped(module, x, [3])):
        assert found.dtype == dtype
        assert (found.double() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: pad_to_multiple(torch.zeros(3), 0), "multiple=0"),
        (lambda: CausalLocalSGU(8, 9, window=0), "window=0"),
        (lambda: CausalLocalSGU(8, 0, window=3), "seq_len=0"),
        (lambda: CausalLocalSGU(7, 9, window=3), "dim=7"),
        (lambda: CausalLocalSGU(8, 9, window=3, heads=3), "heads=3"),
        (lambda: CausalLocalSGU(8, 9, window=3)(torch.zeros(1, 10, 8)), r"seq_len=9; got \(1, 10"),
        (lambda: CausalLocalSGU(8, 9, window=3)(torch.zeros(1, 0, 8)), r"1 <= n.*got \(1, 0"),
        (lambda: CausalLocalSGU(8, 9, window=3)(torch.zeros(1, 9, 6)), r"d=8.*got \(1, 9, 6"),
        (lambda: LocalAttention(dim_in=2, dim_out=2, dim_inner=2, window=0), "window=0"),
        (lambda: LocalAttention(dim_in=2, dim_out=2, dim_inner=0, window=3), "dim_inner=0"),
    ],
)
def test_what_does_not_fit_is_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()
