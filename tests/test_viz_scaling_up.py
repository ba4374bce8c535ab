"""The figure of lesson 12: it says what an own count of operations and bytes says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS

from gmlp.viz.figure import LIMIT
from gmlp.viz.scaling_up import TOKENS, percent, roofline, time

rates = st.floats(1e8, 1e15)


@given(flops=rates, bandwidth=rates, dim=st.integers(1, 4096), itemsize=st.sampled_from([2, 4]))
@DRAWS
def test_the_slower_of_two_sets_the_limit(flops, bandwidth, dim, itemsize):
    figure = roofline(flops, bandwidth, dim=dim, itemsize=itemsize)
    product, gating = figure.arrays["product"], figure.arrays["gating"]
    assert (product.low, product.high) == (gating.low, gating.high)  # one scale
    step = 10 ** ((product.high - product.low) / 250)
    for k, tokens in enumerate(TOKENS):
        x, weight = torch.empty(tokens, dim), torch.empty(dim, 4 * dim)
        numbers = x.numel() + weight.numel() + tokens * 4 * dim
        operations = tokens * 4 * dim * 2 * dim  # a multiplication and an addition each
        compute, move = operations / flops, numbers * itemsize / bandwidth
        state = {"tokens": k}
        share = compute / max(compute, move)
        assert 1 / step <= product.value(int(product.codes[0, k])) / (100 * share) <= step
        assert figure.text("limit", state) == ("memory" if move > compute else "arithmetic")
        assert figure.text("reached", state) == percent(share)
        assert figure.text("each", state) == time(max(compute, move) / tokens)
        said = float(figure.text("intensity", state).replace("−", "-"))
        assert said == pytest.approx(operations / (numbers * itemsize), abs=0.051)
    assert float(figure.text("ridge").replace("−", "-")) == pytest.approx(
        flops / bandwidth, rel=5e-3
    )
    alone = min(1.0, bandwidth / (3 * itemsize) / flops)
    assert 1 / step <= gating.value(int(gating.codes[0, 0])) / (100 * alone) <= step


def test_more_tokens_never_lower_the_share_and_machines_are_told_apart():
    figure = roofline(5e10, 1e10, others={"large": (1e15, 3e12, 2)})
    codes = figure.arrays["product"].codes.astype(int)
    assert (codes[:, 1:] >= codes[:, :-1]).all()
    assert figure.text("limit", {"tokens": 5}) == "arithmetic"
    assert figure.text("limit", {"tokens": 5, "machine": 1}) == "memory"
    assert figure.text("intensity") == "0.5"
    assert len(figure.html) <= LIMIT and figure.png.startswith(b"\x89PNG")


def test_times_and_shares_are_short():
    assert [time(seconds) for seconds in (2.5, 0.0123, 4.56e-5, 7.8e-8)] == [
        "2.5e+03 ms",
        "12.3 ms",
        "45.6 µs",
        "78 ns",
    ]
    assert [percent(share) for share in (1.0, 0.123, 0.0034)] == ["100 %", "12 %", "0.34 %"]


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"itemsize": 0}, {"others": {"x": (0.0, 1.0, 2)}}])
def test_rates_and_sizes_above_zero_are_wanted(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        roofline(1e9, 1e9, **wrong)
