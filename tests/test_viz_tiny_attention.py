"""The figure of lesson 06 shows what the modules do."""

import pytest
import torch
from laws import randomise
from torch import nn

from gmlp import Attention, CausalSGU, LanguageModel, PreNorm, Residual, gMLPBlock
from gmlp.viz.figure import LIMIT
from gmlp.viz.tiny_attention import attention_rows, shares

N, NAMES = 9, list("abcd1234")


def small(depth=2, *, attn=True, heads=1):
    layers = [
        Residual(
            PreNorm(
                8,
                gMLPBlock(
                    8,
                    16,
                    CausalSGU(16, N, heads=heads),
                    Attention(dim_in=8, dim_out=8, dim_inner=4) if attn else None,
                ),
            )
        )
        for _ in range(depth)
    ]
    return randomise(LanguageModel(len(NAMES), 8, N, nn.Sequential(*layers)), 0, 0.5)


def texts(count=3):
    return torch.randint(len(NAMES), (count, N), generator=torch.Generator().manual_seed(0))


def test_shares_are_those_of_the_head():
    head = randomise(Attention(dim_in=6, dim_out=5, dim_inner=3), 1)
    x = torch.randn(2, N, 6, generator=torch.Generator().manual_seed(0))
    weights = shares(head, x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, N))
    assert (weights.triu(1) == 0).all()
    v = head.to_qkv(x).chunk(3, dim=-1)[2]
    torch.testing.assert_close(head.to_out(weights @ v), head(x))


@pytest.mark.parametrize("depth", [1, 2])
def test_the_strips_are_the_rows_of_the_model(depth):
    model, tokens = small(depth), texts()
    figure = attention_rows(model, tokens, NAMES)
    row, look = figure.arrays["row"], figure.arrays["look"]
    x = model.embed(tokens)
    for layer, block in enumerate(model.blocks):
        weights = shares(block.fn.fn.attn, block.fn.norm(x)).detach()
        matrix = block.fn.fn.sgu.weight[0].detach()
        for i in range(N):
            for j in range(N):
                code = int(row.codes[layer, i, j])
                assert (code == 0) == (j > i)
                if j <= i:
                    assert row.value(code) == pytest.approx(matrix[i, j].item(), abs=0.02)
                for t in range(len(tokens)):
                    code = int(look.codes[t, layer, i, j])
                    assert (code == 0) == (j > i)
                    if j <= i:
                        assert abs(look.value(code) - weights[t, i, j].item()) < 1 / 254
        x = block(x)
    answers = model(tokens).argmax(-1)
    for t in range(len(tokens)):
        for i in range(N):
            state = {"text": t, "position": i}
            assert figure.text("here", state) == NAMES[tokens[t, i]]
            assert figure.text("says", state) == NAMES[answers[t, i]]


def test_it_is_small_has_words_and_leaves_the_model_as_it_was():
    model = small()
    figure = attention_rows(model, texts(), NAMES)
    assert len(figure.html) <= LIMIT and figure.png.startswith(b"\x89PNG")
    assert "Two strips of 9 tokens" in repr(figure)
    assert all(not m._forward_pre_hooks for m in model.modules())
    assert model.training


@pytest.mark.parametrize("wrong", [{"attn": False}, {"heads": 2}], ids=str)
def test_a_model_without_both_is_refused(wrong):
    with pytest.raises(ValueError, match="beside an Attention"):
        attention_rows(small(**wrong), texts(), NAMES)


def test_too_many_positions_are_refused():
    with pytest.raises(ValueError, match=r"attention_rows draws .* at most 128"):
        attention_rows(small(), torch.zeros(1, 129, dtype=torch.long), NAMES)
