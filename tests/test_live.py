"""Figures with a kernel: what they say is what the model says."""

import pytest
import torch
from torch import nn

from gmlp import CausalSGU, LanguageModel, SpatialGatingUnit, encode
from gmlp.viz import live
from gmlp.viz.causal_masking import moves
from gmlp.viz.gallery import stack

TEXT = encode("the cat sat on the mat and the rat sat on the hat " * 40)
RUN = {"steps": 6, "batch_size": 4, "eval_every": 2}


def test_the_prompt_shows_the_likeliest_bytes_and_what_moved_them_at_every_key():
    model = stack(CausalSGU, depth=1, seq_len=16)
    widget = live.prompt(model, "abc", context=16, top=3)
    typed, shown = widget.children
    for text in ("abcd", "<b>", "x" * 40):
        typed.value = text
        tokens = encode(text)[-16:]
        with torch.no_grad():
            chances = model(tokens[None])[0, -1].softmax(-1)
        assert shown.value.count("<div") == 4
        assert f"{chances.max():.2f}" in shown.value
        assert "<b>" not in shown.value
    torch.testing.assert_close(live.last_moves(model, tokens), moves(model, tokens)[:, -1])
    typed.value = ""
    assert "Type something" in shown.value


def test_training_runs_beside_the_notebook_and_can_be_scrubbed_and_stopped():
    model = stack(CausalSGU, depth=1, seq_len=8)
    run = live.Training(model, TEXT[:1500], TEXT[1500:], context=8, **RUN)
    assert not run.steps
    run.button.click()
    run.join()
    assert run.failed is None
    assert run.steps == [0, 2, 4, 6]
    assert torch.equal(run.matrices[-1], model.blocks[0].fn.fn.sgu.mixing_matrix(8))
    assert not torch.equal(run.matrices[0], run.matrices[-1])
    run.slider.value = 1
    assert "after 2 steps" in run.said.value
    first = run.picture.value
    run.slider.value = 3
    assert run.picture.value != first
    assert run.figure().variables[0].size == 4

    endless = live.Training(model, TEXT[:1500], TEXT[1500:], context=8, **RUN | {"steps": 10**6})
    endless.button.click()
    endless.button.click()
    endless.join()
    assert endless.failed is None
    assert len(endless.steps) < 5


def test_training_that_fails_says_why():
    model = stack(CausalSGU, depth=1, seq_len=8)
    run = live.Training(model, TEXT[:1500], TEXT[1500:], context=8, **RUN | {"batch_size": 0})
    run.start()
    run.join()
    assert "batch_size" in run.said.value


@pytest.mark.parametrize(("ahead", "says"), [(False, "Nothing looks ahead"), (True, "1 of its")])
def test_a_mask_built_by_hand_is_the_one_that_trains(ahead, says):
    made = []

    def make():
        made.append(stack(SpatialGatingUnit, depth=1, seq_len=4))
        return made[-1]

    widget = live.Mask(make, TEXT[:1500], TEXT[1500:], n=4, **RUN)
    assert torch.equal(widget.mask(), torch.ones(4, 4).tril())
    widget.boxes[1][2].value = ahead
    widget.boxes[3][0].value = False
    widget.train()
    assert says in widget.said.value
    matrix = made[0].blocks[0].fn.fn.sgu.mixing_matrix(4)[0]
    assert torch.equal(matrix != 0, widget.mask().bool())
    moved = moves(made[0], encode("abcd"))  # (changed, output)
    assert (moved[2, 1] != 0) == ahead
    with pytest.raises(ValueError, match="at most 12"):
        live.Mask(make, TEXT, TEXT, n=13)


def test_any_model_over_bytes_will_do():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(256, 256)

        def forward(self, tokens):
            return self.table(tokens)

    assert "0." in live.prompt(Own()).children[1].value
    assert isinstance(stack(CausalSGU, 1, 8), LanguageModel)
