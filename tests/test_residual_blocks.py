"""Laws of lesson 03."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, moved, randomise
from torch import nn

from gmlp import (
    GEGLU,
    CausalSGU,
    FeedForward,
    PreNorm,
    Residual,
    gMLPBlock,
    residual_blocks,
)

sizes = {
    "b": st.integers(1, 2),
    "n": st.integers(1, 6),
    "d": st.integers(2, 6),
    "seed": st.integers(0, 10**6),
}


def layer(d, n, seed):
    block = gMLPBlock(d, 4 * d, CausalSGU(4 * d, n))
    return randomise(Residual(PreNorm(d, block)), seed).double()


@given(**sizes)
@DRAWS
def test_residual_adds_and_prenorm_normalises(b, n, d, seed):
    inner = randomise(nn.Linear(d, d), seed).double()
    x = draw(b, n, d, seed=seed)
    norm = PreNorm(d, inner).double()
    torch.testing.assert_close(Residual(inner)(x) - x, inner(x))
    torch.testing.assert_close(norm(x), inner(nn.functional.layer_norm(x, (d,))))


@given(c=st.integers(1, 5), **sizes)
@DRAWS
def test_geglu_is_first_half_times_gelu_of_the_second(c, b, n, d, seed):
    x = draw(b, n, 2 * c, seed=seed)
    normal = torch.distributions.Normal(0.0, 1.0)
    gate = x[..., c:] * normal.cdf(x[..., c:])  # GELU(g) = g P(N < g)
    torch.testing.assert_close(GEGLU()(x), x[..., :c] * gate, atol=1e-6, rtol=1e-5)


@given(mult=st.integers(1, 5), **sizes)
@DRAWS
def test_feed_forward_is_per_token(mult, b, n, d, seed):
    network = randomise(FeedForward(d, mult), seed).double()
    x = draw(b, n, d, seed=seed)
    assert network.net[2].in_features == int(d * mult * 2 / 3)
    for i in range(n):
        torch.testing.assert_close(network(x)[:, i], network(x[:, i : i + 1])[:, 0])


@given(piece=st.integers(1, 5), **sizes)
@DRAWS
def test_a_long_text_is_fed_forward_in_pieces(piece, b, n, d, seed):
    network = randomise(FeedForward(d), seed).double()
    x, grad = draw(b, n, d, seed=seed), draw(b, n, d, seed=seed + 1)
    lengths, found = [], []
    network.net.register_forward_pre_hook(lambda net, given: lengths.append(given[0].shape[1]))
    for longest in (n, piece):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(residual_blocks, "PIECE", longest)
            out = network(x.requires_grad_())
        found.append([out, *torch.autograd.grad(out, (x, *network.parameters()), grad)])
    torch.testing.assert_close(*found)
    assert lengths == [n, *[piece] * (n // piece), *[n % piece] * (n % piece > 0)]


def test_other_devices_read_a_long_text_at_once():
    n, lengths = residual_blocks.PIECE + 1, []
    network = FeedForward(2)
    network.net.register_forward_pre_hook(lambda net, given: lengths.append(given[0].shape[1]))
    for device in ("cpu", "meta"):  # the latter computes shapes alone, and is no CPU
        network.to(device)(torch.zeros(1, n, 2, device=device))
    assert lengths == [n - 1, 1, n]


@given(position=st.integers(0, 5), **sizes)
@DRAWS
def test_a_stack_of_layers_is_causal(position, b, n, d, seed):
    stack = nn.Sequential(*(layer(d, n, seed + k) for k in range(3)))
    assert min(moved(stack, draw(b, n, d, seed=seed), position % n)) == position % n


def test_the_block_is_its_equation():
    block = gMLPBlock(3, 8, CausalSGU(8, 5)).double()
    x = draw(2, 5, 3, seed=0)
    z = nn.functional.gelu(x @ block.proj_in[0].weight.T + block.proj_in[0].bias)
    expected = block.sgu(z) @ block.proj_out.weight.T + block.proj_out.bias
    torch.testing.assert_close(block(x), expected)


def test_gradients_survive_sixteen_layers():
    """The reason for the lesson: without x + …, almost nothing reaches the first layer."""

    def first_to_last(make):
        torch.manual_seed(0)
        x = torch.randn(4, 16, 32, requires_grad=True)
        entering = [x]
        for _ in range(16):
            entering.append(make()(entering[-1]))
        last = entering[-2]
        first, end = torch.autograd.grad(entering[-1].square().mean(), [x, last])
        return (first.norm() / end.norm()).item()

    def block():
        return gMLPBlock(32, 128, CausalSGU(128, 16))

    assert first_to_last(block) < 1e-6
    assert first_to_last(lambda: Residual(PreNorm(32, block()))) > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dtype_is_kept(dtype):
    assert layer(4, 5, 0).to(dtype)(torch.zeros(1, 5, 4, dtype=dtype)).dtype == dtype


def test_widths_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="dim_ff=7"):
        gMLPBlock(4, 7, nn.Identity())
    with pytest.raises(ValueError, match=r"mult=0\.1"):
        FeedForward(4, 0.1)
