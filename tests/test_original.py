"""Our model against the original, the PyPI package g-mlp-gpt 0.0.15.

First the same numbers from the same weights, then what we do otherwise on purpose: differences 1 to
8 of lesson 11, each shown on the original and gone in ours.
"""

import re
import warnings
from unittest import mock

import pytest
import torch
from g_mlp_gpt import gMLPGPT as Original
from g_mlp_gpt.autoregressive_wrapper import AutoregressiveWrapper, top_k
from g_mlp_gpt.g_mlp_gpt import LocalAttention as OriginalLocalAttention
from g_mlp_gpt.reversible import layer_drop
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, model_arguments, randomise, tokens_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gmlp import Attention, LocalAttention, dropout_layers, generate, gMLPGPT

BASE = {"num_tokens": 7, "dim": 8, "depth": 2, "seq_len": 12}


def original_of(arguments, seed):
    return randomise(Original(**arguments), seed, scale=0.5).double()


def ours_of(arguments, original):
    ours = gMLPGPT(**arguments).double()
    ours.load_original(original.state_dict())
    return ours


def each_layer(arguments):
    """(window, fold, size of the attention) for each."""
    depth, windows, sizes = (arguments[name] for name in ("depth", "window", "attn_dim"))
    windows = windows if isinstance(windows, tuple) else (windows,) * depth
    sizes = sizes if isinstance(sizes, tuple) else (sizes,) * depth
    pairs = [entry if isinstance(entry, tuple) else (entry, 1) for entry in windows]
    return [(w, e, size) for (w, e), size in zip(pairs, sizes, strict=True)]


# --- the same numbers -----------------------------------------------------------------------------


@given(
    arguments=model_arguments(),
    b=st.integers(1, 3),
    n=st.sampled_from(range(1, 13)),
    seed=st.integers(0, 10**6),
)
@DRAWS
def test_weights_of_the_original_give_its_logits(arguments, b, n, seed):
    """Every combination but attention in windows, where the original is not what it means to be."""
    seq_len = arguments["seq_len"]
    sizes = [
        None if w is not None and w < seq_len else size for w, _, size in each_layer(arguments)
    ]
    arguments["attn_dim"] = tuple(sizes)
    original = original_of(arguments, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = ours_of(arguments, original)
    tokens = tokens_of(b, min(n, seq_len), seed)
    torch.testing.assert_close(ours(tokens), original(tokens), atol=1e-9, rtol=0)


@given(
    w=st.integers(1, 4),
    e=st.integers(1, 4),
    more=st.integers(1, 12),
    short=st.integers(0, 3),
    heads=st.integers(1, 2),
    reversible=st.booleans(),
    act=st.sampled_from([nn.Identity(), nn.Tanh()]),
    size=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
@DRAWS
def test_attention_in_windows_agrees_after_the_first_window(
    w, e, more, short, heads, reversible, act, size, seed
):
    arguments = {
        **{"num_tokens": 7, "dim": 4 * heads, "depth": 1, "seq_len": w * e + more},
        **{"heads": heads, "reversible": reversible, "act": act},
        **{"window": ((w, e),), "attn_dim": size},
    }
    original = original_of(arguments, seed)
    before = {name: weight.clone() for name, weight in original.state_dict().items()}
    ours = gMLPGPT(**arguments).double()
    with pytest.warns(UserWarning, match="LocalAttention never used its values"):
        ours.load_original(original.state_dict())
    _, keys, values = next(
        module for module in ours.modules() if isinstance(module, LocalAttention)
    ).to_qkv.weight.chunk(3)
    assert torch.equal(keys, values)
    after = original.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "it is only read"
    tokens = tokens_of(2, max(1, arguments["seq_len"] - short), seed)
    first = w * e + e - 1  # before it, a fold's convolution still mixes in the first window
    found, expected = ours(tokens)[:, first:], original(tokens)[:, first:]
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_a_window_over_all_of_a_folded_sequence_differs_too_and_says_so():
    """There the original's attention is still in windows, all of it in the first one."""
    arguments = {**BASE, "window": ((8, 2), 12), "attn_dim": (2, None)}
    with pytest.warns(UserWarning, match="LocalAttention never used its values"):
        ours = ours_of(arguments, original_of(arguments, 0))
    (attention,) = (module for module in ours.modules() if isinstance(module, Attention))
    assert type(attention) is Attention
    _, keys, values = attention.to_qkv.weight.chunk(3)
    assert torch.equal(keys, values)


@pytest.mark.parametrize(
    ("saved", "made"),
    [
        ({"dim": 16}, {}),
        ({"heads": 2}, {}),
        ({"depth": 3}, {}),
        ({}, {"depth": 3}),
        ({"reversible": True}, {}),
        ({}, {"reversible": True}),
        ({"attn_dim": 2}, {}),
        ({}, {"attn_dim": 2}),
        ({"window": ((None, 2), None)}, {}),
        ({}, {"window": ((None, 2), None)}),
        ({"window": ((None, 2), None)}, {"window": ((None, 3), None)}),
        ({"window": 4}, {}),
        ({}, {"window": 4}),
        ({"window": 4}, {"window": 3}),
        ({"window": 3}, {"window": 4}),
        ({"seq_len": 8}, {}),
        ({"seq_len": 16}, {}),
        ({"window": (6, 6), "seq_len": 16}, {"window": (6, 6), "seq_len": 6}),
    ],
    ids=str,
)
def test_weights_of_another_model_are_refused(saved, made):
    original, ours = original_of(BASE | saved, 0), gMLPGPT(**BASE | made)
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    with pytest.raises(ValueError, match="with the arguments of the one that was saved"):
        ours.load_original(original.state_dict())
    after = ours.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "half loaded"


# --- the differences ------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 4], ids=["global", "local"])
def test_difference_1_every_w_of_the_original_starts_at_exactly_zero(window):
    """Its block passes `causal`, which is False, where `init_eps` stands."""

    def largest(model):
        weights = [w for name, w in model.named_parameters() if name.endswith("sgu.weight")]
        assert len(weights) == 2
        return [weight.abs().max().item() for weight in weights]

    assert largest(Original(**BASE, window=window)) == [0, 0]
    n = window or BASE["seq_len"]
    for found in largest(gMLPGPT(**BASE, window=window)):
        assert 0.5e-3 / n < found <= 1e-3 / n


def test_difference_2_layers_of_the_original_survive_unless_reversible():
    def outputs(kind, reversible):
        torch.manual_seed(0)
        arguments = BASE | {"depth": 5, "reversible": reversible, "prob_survival": 0.3}
        model = randomise(kind(**arguments), 0, scale=0.3).train()
        return {tuple(model(tokens_of(1, 5, 0)).flatten().tolist()) for _ in range(5)}

    assert len(outputs(Original, reversible=False)) == 1
    assert len(outputs(Original, reversible=True)) > 1
    assert len(outputs(gMLPGPT, reversible=False)) > 1
    assert len(outputs(gMLPGPT, reversible=True)) > 1


def test_difference_2_and_when_all_are_dropped_its_first_layer_always_returns():
    torch.manual_seed(0)
    theirs = [layer_drop(list(range(5)), 0.999)[0] for _ in range(300)]
    ours = [dropout_layers(range(5), 0.001)[0] for _ in range(300)]
    assert theirs.count(0) > 290
    assert all(ours.count(layer) > 30 for layer in range(5))


def attentions():
    """The original's local attention and ours, the same weights, windows of 4."""
    sizes = {"dim_in": 6, "dim_inner": 3, "dim_out": 5, "window": 4}
    original, ours = OriginalLocalAttention(**sizes).double(), LocalAttention(**sizes).double()
    randomise(original, 0)
    ours.load_state_dict(original.state_dict())
    return original, ours


def test_difference_3a_keys_serve_as_values():
    x = draw(2, 12, 6, seed=1)
    learned = []
    for attention in attentions():
        attention(x).square().sum().backward()
        keys, values = attention.to_qkv.weight.grad.chunk(3)[1:]
        assert keys.abs().max() > 0
        learned.append(values.abs().max().item())
    assert learned[0] == 0.0 and learned[1] > 0.01


def test_difference_3b_the_first_window_reads_zeros_that_stand_before_it():
    """With queries of zero all that may be read gets the same weight."""
    x, found = draw(1, 12, 6, seed=1), []
    for attention in attentions():
        with torch.no_grad():
            query, key, value = attention.to_qkv.weight.chunk(3)
            query.zero_()
            value.copy_(key)
            one = attention.to_out(x[0, 0] @ key.T) - attention.to_out.bias
            out = attention(x)[0, 0] - attention.to_out.bias
        found.append((out / one).tolist())  # the weight that the first position gives itself
    assert found[0] == pytest.approx([1 / 5] * 5)
    assert found[1] == pytest.approx([1] * 5)


README = (128, 128, 256, 512, 1024, 1024, *[(2048, 2)] * 2, *[(4096, 4)] * 2, *[(8192, 8)] * 2)


def test_difference_4_windows_beyond_the_folded_sequence_cost_what_they_cannot_use():
    """The README's recipe for 16,384 tokens, at dim 64; nothing is computed or stored."""
    with torch.device("meta"):
        original, ours = (
            kind(
                **{"num_tokens": 256, "dim": 64, "depth": 12, "seq_len": 16384},
                **{"reversible": True, "act": nn.Tanh(), "window": README},
            )
            for kind in (Original, gMLPGPT)
        )
    millions = [sum(p.numel() for p in model.parameters()) / 1e6 for model in (original, ours)]
    assert [round(count) for count in millions] == [358, 64]


def test_difference_4_and_multiply_it_too():
    arguments = BASE | {"window": ((11, 4), (8, 12))}
    original = original_of(arguments, 0)
    ours, tokens, counts = ours_of(arguments, original), tokens_of(1, 12, 0), []
    torch.testing.assert_close(ours(tokens), original(tokens), atol=1e-9, rtol=0)
    for model in (original, ours):
        with FlopCounterMode(display=False) as counter:
            model(tokens)
        of = counter.get_flop_counts()["Global"]
        counts.append(sum(count for operation, count in of.items() if "bmm" in str(operation)))
    assert counts[0] > 10 * counts[1]


def test_difference_5_top_k_keeps_none_of_ten_tokens():
    for count, kept in ((10, 0), (11, 1), (256, 25)):
        assert top_k(draw(1, count, seed=0)).isfinite().sum() == kept
    assert top_k(draw(1, 10, seed=0)).softmax(-1).isnan().all()
    original = AutoregressiveWrapper(Original(**BASE))
    prompt = torch.tensor([1, 2])
    with pytest.raises(RuntimeError):
        original.generate(prompt, 4)
    for k in (1, 7, 100):
        assert generate(gMLPGPT(**BASE), prompt, 4, top_k=k).shape == (6,)


def dtypes(model, inside=False):
    """Of the first projection's outputs, under bfloat16 autocast: forward, then recomputed."""
    seen = []
    first = next(module for name, module in model.named_modules() if name.endswith("proj_in.0"))
    first.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(tokens_of(1, 5, 0)).float().sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return seen


def test_difference_6a_the_recomputation_leaves_autocast():
    arguments = BASE | {"reversible": True}
    assert dtypes(Original(**arguments)) == [torch.bfloat16, torch.float32]
    assert dtypes(gMLPGPT(**arguments)) == [torch.bfloat16, torch.bfloat16]


def test_difference_6b_it_keeps_a_graph_that_is_not_needed_again():
    kept = []
    for kind in (Original, gMLPGPT):
        loss = kind(**BASE, reversible=True)(tokens_of(1, 5, 0)).sum()
        with (
            mock.patch("torch.autograd.backward", wraps=torch.autograd.backward) as backward,
            mock.patch("torch.autograd.grad", wraps=torch.autograd.grad) as grad,
        ):
            loss.backward()
        calls = [*backward.call_args_list, *grad.call_args_list]
        assert len(calls) >= 1 + 2 * BASE["depth"]  # the loss, and f and g of every block
        kept.append(sum(bool(call.kwargs.get("retain_graph")) for call in calls))
    assert kept == [BASE["depth"], 0]  # it keeps that of every f


def test_difference_7_no_backward_pass_in_eval():
    arguments, tokens = BASE | {"reversible": True}, tokens_of(1, 5, 0)
    with pytest.raises(TypeError):
        Original(**arguments).eval()(tokens).sum().backward()
    ours = gMLPGPT(**arguments).eval()
    ours(tokens).sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_difference_8_a_short_tuple_makes_a_shallow_model():
    arguments = BASE | {"depth": 3, "attn_dim": (2,)}
    assert len(Original(**arguments).net.layers) == 1
    with pytest.raises(ValueError, match=re.escape("depth=3 layers; got 1 entries: attn_dim=(2,)")):
        gMLPGPT(**arguments)


def test_kept_as_it_is_reversible_adds_feed_forward_layers():
    for kind in (Original, gMLPGPT):
        plain, reversible = (
            sum(p.numel() for p in kind(**BASE, reversible=flag).parameters())
            for flag in (False, True)
        )
        inner = int(8 * 4 * 2 / 3)
        feed_forward = 8 * 2 * inner + 2 * inner + inner * 8 + 8
        assert reversible - plain == BASE["depth"] * feed_forward
