"""Laws of generation, as far as it goes: one token at a time, from the last position."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, randomise
from test_training import small

from gmlp import generate


@given(length=st.integers(0, 24), prompt=st.integers(1, 20), seed=st.integers(0, 10**6))
@DRAWS
def test_it_is_the_loop_of_lesson_02(length, prompt, seed):
    model = randomise(small(depth=1), seed)
    start = torch.randint(256, (prompt,), generator=torch.Generator().manual_seed(seed))
    tokens, generator = start[None], torch.Generator().manual_seed(seed)
    for _ in range(length):
        chances = (model(tokens[:, -16:])[:, -1] / 0.7).softmax(-1)
        chosen = torch.multinomial(chances, 1, generator=generator)
        tokens = torch.cat([tokens, chosen], dim=1)
    generator.manual_seed(seed)
    written = generate(model, start, length, temperature=0.7, generator=generator)
    assert torch.equal(written, tokens[0])


def test_temperature_zero_takes_the_likeliest():
    model = randomise(small(), 0)
    start = torch.tensor([[1, 2], [3, 4]])
    written = generate(model, start, 5, temperature=0.0)
    assert written.shape == (2, 7)
    for k in range(2, 7):
        assert torch.equal(written[:, k], model(written[:, :k])[:, -1].argmax(-1))


def test_the_mode_of_the_model_comes_back():
    model = small().train()
    generate(model, torch.tensor([1]), 2)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": torch.zeros(0, dtype=torch.long), "length": 1}, "at least one token"),
        ({"prompt": torch.tensor([1]), "length": -1}, "length.*-1"),
        ({"prompt": torch.tensor([1]), "length": 1, "temperature": -0.5}, "temperature.*-0.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(small(), **arguments)
