"""Laws of lesson 01."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, randomise
from torch import nn

from gmlp import SpatialGatingUnit, spatial_mix

sizes = {
    "b": st.integers(1, 3),
    "n": st.integers(1, 7),
    "h": st.integers(1, 4),
    "c": st.integers(1, 4),
    "seed": st.integers(0, 10**6),
}


@given(**sizes)
@DRAWS
def test_mixing_is_the_sum_over_positions_in_every_head(b, n, h, c, seed):
    v, weight, bias = draw(b, n, h * c, seed=seed), draw(h, n, n, seed=seed + 1), draw(h, n, seed=2)
    expected = torch.zeros(b, n, h * c, dtype=v.dtype)
    for channel in range(h * c):
        head = channel // c
        for i in range(n):
            expected[:, i, channel] = (weight[head, i] * v[:, :, channel]).sum(1) + bias[head, i]
    torch.testing.assert_close(spatial_mix(v, weight, bias), expected)


@given(**sizes)
@DRAWS
def test_heads_are_units_side_by_side(b, n, h, c, seed):
    v, weight, bias = draw(b, n, h * c, seed=seed), draw(h, n, n, seed=seed + 1), draw(h, n, seed=2)
    parts = [
        spatial_mix(part, weight[k : k + 1], bias[k : k + 1])
        for k, part in enumerate(v.chunk(h, dim=-1))
    ]
    torch.testing.assert_close(spatial_mix(v, weight, bias), torch.cat(parts, dim=-1))


@given(extra=st.integers(0, 3), **sizes)
@DRAWS
def test_the_unit_is_its_equation(extra, b, n, h, c, seed):
    """Also for inputs shorter than seq_len: they use the first rows and columns of W."""
    unit = randomise(SpatialGatingUnit(2 * h * c, n + extra, heads=h, act=torch.tanh), seed)
    unit = unit.double()
    x = draw(b, n, 2 * h * c, seed=seed)
    u, v = x[..., : h * c], x[..., h * c :]
    v = nn.functional.layer_norm(v, (h * c,), unit.norm.weight, unit.norm.bias)
    gate = spatial_mix(v, unit.weight[:, :n, :n], unit.bias[:, :n])
    torch.testing.assert_close(unit(x), torch.tanh(gate) * u)


@given(**sizes)
@DRAWS
def test_what_else_is_given_is_added_to_the_gate(b, n, h, c, seed):
    """As by an attention: before the activation, which nothing must follow but u."""
    unit = randomise(SpatialGatingUnit(2 * h * c, n, heads=h, act=torch.tanh), seed).double()
    x, extra = draw(b, n, 2 * h * c, seed=seed), draw(b, n, h * c, seed=seed + 1)
    u, v = x.chunk(2, dim=-1)
    gate = spatial_mix(unit.norm(v), unit.mixing_matrix(n), unit.bias)
    torch.testing.assert_close(unit(x, extra), torch.tanh(gate + extra) * u)
    torch.testing.assert_close(unit(x, torch.zeros_like(extra)), unit(x))


def test_permuting_w_permutes_positions():
    unit = randomise(SpatialGatingUnit(8, 5), seed=0).double()
    x, order = draw(2, 5, 8, seed=1), torch.tensor([3, 0, 4, 1, 2])
    other = SpatialGatingUnit(8, 5).double()
    other.load_state_dict(unit.state_dict())
    with torch.no_grad():
        other.weight.copy_(unit.weight[:, order][:, :, order])
        other.bias.copy_(unit.bias[:, order])
    torch.testing.assert_close(other(x[:, order]), unit(x)[:, order])


def test_it_starts_as_the_identity_on_u():
    torch.manual_seed(0)
    unit = SpatialGatingUnit(16, 50)
    assert unit.weight.abs().max() <= 1e-3 / 50
    assert unit.weight.std() > 0.5e-3 / 50  # uniform in ±eps: 0.58 eps
    assert (unit.bias == 1).all()
    x = torch.randn(2, 50, 16)
    torch.testing.assert_close(unit(x), x[..., :8], atol=1e-2, rtol=0)


def test_gradients_are_those_of_finite_differences():
    unit = randomise(SpatialGatingUnit(8, 4, heads=2), seed=0).double()
    x = draw(2, 3, 8, seed=1).requires_grad_()
    names, values = zip(*unit.named_parameters(), strict=True)

    def call(x, *values):
        return torch.func.functional_call(unit, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *values))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    unit = randomise(SpatialGatingUnit(8, 6, heads=2), seed=0).to(dtype)
    x = draw(1, 6, 8, seed=1)
    out = unit(x.to(dtype))
    assert out.dtype == dtype
    tolerance = {torch.bfloat16: 0.1, torch.float16: 0.02}.get(dtype, 1e-4)
    torch.testing.assert_close(out.double(), unit.double()(x), atol=tolerance, rtol=tolerance)


def test_state_compile_and_copy():
    import copy
    import io

    unit = randomise(SpatialGatingUnit(8, 6, heads=2), seed=0)
    file = io.BytesIO()
    torch.save(unit.state_dict(), file)
    file.seek(0)
    other = SpatialGatingUnit(8, 6, heads=2)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = draw(2, 6, 8, seed=1, dtype=torch.float32)
    assert torch.equal(other(x), unit(x))
    assert torch.equal(copy.deepcopy(unit)(x), unit(x))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dim": 7, "seq_len": 4}, "dim=7"),
        ({"dim": 0, "seq_len": 4}, "dim=0"),
        ({"dim": 8, "seq_len": 0}, "seq_len=0"),
        ({"dim": 8, "seq_len": 4, "heads": 3}, "heads=3"),
        ({"dim": 8, "seq_len": 4, "heads": 0}, "heads=0"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        SpatialGatingUnit(**arguments)


@pytest.mark.parametrize("shape", [(1, 5, 8), (1, 0, 8), (1, 4, 6)])
def test_inputs_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match=r"seq_len=4.*got \(" + ", ".join(map(str, shape))):
        SpatialGatingUnit(8, 4)(torch.zeros(shape))
