"""The figure of lesson 09 shows what dropout_layers draws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS

from gmlp import dropout_layers
from gmlp.viz.layer_dropout import survivors


@DRAWS
@given(
    st.integers(1, 8), st.lists(st.floats(0.05, 1.0), min_size=1, max_size=3), st.integers(1, 12)
)
def test_survivors_are_those_that_are_drawn(layers, chances, draws):
    state = torch.get_rng_state()
    figure = survivors(layers, chances, draws)
    assert torch.equal(torch.get_rng_state(), state)  # the reader's random numbers are untouched
    alive = torch.tensor(figure.arrays["alive"].codes == 255)
    assert alive.any(-1).all()
    for k, p in enumerate(chances):
        torch.manual_seed(0)
        for draw in range(draws):
            assert alive[k, draw].nonzero().flatten().tolist() == dropout_layers(range(layers), p)
        counts = alive[k].sum(-1)
        passes = figure.arrays["passes"]
        for count in range(layers + 1):
            shown = passes.value(int(passes.codes[k, count]))
            assert shown == pytest.approx((counts == count).sum().item(), abs=0.05)
        expected = p * layers + (1 - p) ** layers
        assert float(figure.text("expected", {"p": k})) == pytest.approx(expected, abs=6e-3)
