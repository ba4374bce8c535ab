"""Laws of lesson 11; those that hold it against the original are in test_original.py."""

import copy
import io
import os
import re

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, model_arguments, randomise, reach, tokens_of
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gmlp import (
    Attention,
    Cache,
    CausalLocalSGU,
    CausalSGU,
    LocalAttention,
    ReversibleSequence,
    SequentialSequence,
    gMLPGPT,
    load_tiny,
)
from gmlp.ops import step

slow = pytest.mark.skipif(not os.environ.get("GMLP_TEST_ALL"), reason="slow: course.py test --all")

given_model = {
    "arguments": model_arguments(),
    "b": st.integers(1, 3),
    "n": st.sampled_from(range(1, 13)),
    "seed": st.integers(0, 10**6),
}


def model_of(arguments, seed, dtype=torch.float64, **more):
    """A model with large random weights; small enough that deep ones stay in range."""
    return randomise(gMLPGPT(**arguments, **more), seed, scale=0.5).to(dtype).eval()


def length(arguments, n):
    return min(n, arguments["seq_len"])


def grads_of(model, tokens, seed=0):
    model.zero_grad()
    torch.manual_seed(seed)
    model(tokens).square().mean().backward()
    return [parameter.grad for parameter in model.parameters()]


# --- what it may read -----------------------------------------------------------------------------


@given(position=st.integers(0, 11), **given_model)
@DRAWS
def test_a_token_moves_its_own_logits_and_later_ones_only(position, arguments, b, n, seed):
    n = length(arguments, n)
    position %= n
    model, tokens = model_of(arguments, seed), tokens_of(b, n, seed)
    changed = tokens.clone()
    changed[:, position] = (changed[:, position] + 1) % 7
    moved = (model(tokens) - model(changed)).abs().amax((0, 2)).nonzero().flatten()
    assert moved.min() == position


@given(**given_model)
@DRAWS
def test_the_jacobian_has_nothing_above_the_diagonal(arguments, b, n, seed):
    model, tokens = model_of(arguments, seed), tokens_of(1, length(arguments, n), seed)
    found = reach(model.blocks, model.embed(tokens).detach())
    assert not found.triu(1).any()
    assert found.diagonal().all()


@given(cut=st.integers(1, 12), **given_model)
@DRAWS
def test_a_prefix_does_not_care_what_follows(cut, arguments, b, n, seed):
    n = length(arguments, n)
    cut = min(cut, n)
    model, tokens = model_of(arguments, seed), tokens_of(b, n, seed)
    torch.testing.assert_close(model(tokens[:, :cut]), model(tokens)[:, :cut])


@given(**given_model)
@DRAWS
def test_a_text_does_not_care_for_its_neighbours_in_the_batch(arguments, b, n, seed):
    model, tokens = model_of(arguments, seed), tokens_of(b, length(arguments, n), seed)
    logits = model(tokens)
    assert logits.shape == (*tokens.shape, 7)
    torch.testing.assert_close(torch.cat([model(text) for text in tokens.split(1)]), logits)
    torch.testing.assert_close(model(tokens.to(torch.uint8)), logits)


@given(cuts=st.lists(st.integers(1, 5), min_size=12, max_size=12), **given_model)
@DRAWS
def test_reading_in_pieces_gives_what_reading_at_once_gives(cuts, arguments, b, n, seed):
    n = length(arguments, n)
    model, tokens = model_of(arguments, seed), tokens_of(b, n, seed)
    at_once, of_blocks = model(tokens), model.blocks(model.embed(tokens))
    cache, cache_of_blocks = Cache(), Cache()
    done = 0
    with torch.no_grad():
        for m in cuts:
            piece = tokens[:, done : done + m]
            if piece.shape[1] == 0:
                break
            inner = step(model.blocks, model.embed(piece), cache_of_blocks)
            torch.testing.assert_close(inner, of_blocks[:, done : done + m])
            done += piece.shape[1]
            torch.testing.assert_close(model.step(piece, cache), at_once[:, done - 1])
    assert done == n


# --- what its arguments mean ----------------------------------------------------------------------


@given(**given_model)
@DRAWS
def test_each_layer_is_made_of_the_parts_that_its_window_asks_for(arguments, b, n, seed):
    """A window that covers the folded sequence is no window, and costs none."""
    model, depth, seq_len = model_of(arguments, seed), arguments["depth"], arguments["seq_len"]
    windows, sizes = arguments["window"], arguments["attn_dim"]
    windows = windows if isinstance(windows, tuple) else (windows,) * depth
    sizes = sizes if isinstance(sizes, tuple) else (sizes,) * depth
    kind = ReversibleSequence if arguments["reversible"] else SequentialSequence
    assert type(model.blocks) is kind
    units = [module for module in model.modules() if isinstance(module, CausalSGU)]
    heads = {name: part for name, part in model.named_modules() if isinstance(part, Attention)}
    assert len(units) == depth and len(heads) == depth - sizes.count(None)
    heads = iter(heads.values())
    for unit, entry, size in zip(units, windows, sizes, strict=True):
        w, e = entry if isinstance(entry, tuple) else (entry, 1)
        folded = -(-seq_len // e)
        local = w is not None and w < folded
        shape = (w, 2 * w) if local else (folded, folded)
        assert type(unit) is (CausalLocalSGU if local else CausalSGU)
        assert unit.weight.shape == (arguments["heads"], *shape)
        if size is not None:
            attention = next(heads)
            assert type(attention) is (LocalAttention if local else Attention)
            assert attention.to_qkv.out_features == 3 * size


@given(e=st.integers(1, 5), beyond=st.integers(0, 3), **given_model)
@DRAWS
def test_a_window_over_the_whole_folded_sequence_is_none(e, beyond, arguments, b, n, seed):
    folded = -(-arguments["seq_len"] // e)
    depth, tokens = arguments["depth"], tokens_of(b, length(arguments, n), seed)
    without, whole = (
        model_of(arguments | {"window": ((w, e),) * depth}, seed) for w in (None, folded + beyond)
    )
    assert torch.equal(without(tokens), whole(tokens))


@given(**given_model)
@DRAWS
def test_one_number_stands_for_all_layers_and_a_fold_of_one_for_none(arguments, b, n, seed):
    w, depth = arguments["seq_len"] // 2 or None, arguments["depth"]
    tokens = tokens_of(b, length(arguments, n), seed)
    one, each, unfolded = (
        model_of(arguments | {"window": window, "attn_dim": size}, seed)
        for window, size in ((w, 2), ((w,) * depth, (2,) * depth), (((w, 1),) * depth, 2))
    )
    assert one.state_dict().keys() == each.state_dict().keys() == unfolded.state_dict().keys()
    assert torch.equal(one(tokens), each(tokens)) and torch.equal(one(tokens), unfolded(tokens))


@given(**given_model)
@DRAWS
def test_every_parameter_gets_a_gradient_and_reversing_does_not_change_it(arguments, b, n, seed):
    model, tokens = model_of(arguments, seed), tokens_of(b, length(arguments, n), seed)
    randomise(model, seed, scale=0.3)  # a feed-forward without a norm squares what it is given
    found = grads_of(model.train(), tokens)
    assert all(grad is not None for grad in found)
    model.blocks.recompute = False  # nothing to a sequential model
    for mine, theirs in zip(found, grads_of(model, tokens), strict=True):
        assert (mine - theirs).norm() <= 1e-10 * theirs.norm() + 1e-14


@given(survival=st.sampled_from([0.4, 1.0]), dropout=st.sampled_from([0.0, 0.5]), **given_model)
@DRAWS
def test_layers_and_outputs_are_dropped_in_training_only(survival, dropout, arguments, b, n, seed):
    arguments = arguments | {"depth": 3, "window": None, "attn_dim": None}
    model = model_of(arguments, seed, prob_survival=survival, dropout=dropout)
    tokens = tokens_of(b, length(arguments, n), seed)
    torch.manual_seed(seed)
    plain = model_of(arguments, seed)(tokens)
    assert torch.equal(model(tokens), plain)
    model.train()
    passes = [model(tokens) for _ in range(12)]
    changes = any(not torch.equal(out, plain) for out in passes)
    assert changes == (survival < 1 or dropout > 0)


# --- numbers, copies and files --------------------------------------------------------------------


@given(**given_model)
@DRAWS
def test_it_runs_in_bfloat16(arguments, b, n, seed):
    n = length(arguments, n)
    torch.manual_seed(seed)
    exact = gMLPGPT(**arguments).eval()
    for name, weight in exact.named_parameters():
        if name.endswith("sgu.weight"):  # starts so near to zero that it would not show
            nn.init.normal_(weight, std=0.5)
    model, tokens = copy.deepcopy(exact).bfloat16(), tokens_of(b, n, seed)
    logits = model(tokens)
    assert logits.dtype == torch.bfloat16
    with torch.no_grad():
        expected = exact(tokens)
        close = {"rtol": 0.0, "atol": 0.15 * expected.abs().max().item() + 0.05}
        torch.testing.assert_close(logits.float(), expected, **close)
        last = model.step(tokens, Cache())
        torch.testing.assert_close(last.float(), logits[:, -1].float(), **close)
    assert all(grad.isfinite().all() for grad in grads_of(model.train(), tokens))
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 7
    assert torch.equal(model.eval()(changed)[:, :-1], logits[:, :-1])


@given(**given_model)
@DRAWS
def test_copies_and_files_give_the_same(arguments, b, n, seed):
    model, tokens = model_of(arguments, seed), tokens_of(b, length(arguments, n), seed)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded, fresh = torch.load(file, weights_only=False), model_of(arguments, seed + 1)
    fresh.load_state_dict(loaded.state_dict())
    for other in (copy.deepcopy(model), loaded, fresh):
        assert torch.equal(other(tokens), model(tokens))
    other.embed.weight.data.zero_()  # a copy, not the same weights
    assert not torch.equal(other(tokens), model(tokens))


def test_the_small_checkpoint_fits():
    tiny = load_tiny()
    model = gMLPGPT(num_tokens=256, dim=120, depth=4, seq_len=128).eval()
    assert model.state_dict().keys() == tiny.state_dict().keys()
    model.load_state_dict(tiny.state_dict())
    tokens = torch.randint(256, (2, 100), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(tokens), tiny(tokens))


# --- compilation and processes, on a list of models -----------------------------------------------

BASE = {"num_tokens": 7, "dim": 8, "depth": 2, "seq_len": 12}
MODELS = {
    "plain": {},
    "heads, act, ff_mult": {"heads": 2, "act": nn.Tanh(), "ff_mult": 2},
    "windows, folds, attention": {"window": ((3, 2), 5), "attn_dim": (2, 3)},
    "reversible": {"reversible": True, "window": ((2, 3), None), "attn_dim": (None, 2)},
    "layers dropped": {"depth": 4, "prob_survival": 0.5},
    "reversible, layers dropped": {"depth": 4, "prob_survival": 0.5, "reversible": True},
}
names = pytest.mark.parametrize("name", MODELS)


def listed(name):
    return randomise(gMLPGPT(**BASE | MODELS[name]), 0, scale=0.3).double()


def compare_compiled(name, backend, lengths):
    """Gradients in training and logits after; the lengths one by one, which compiles faster."""
    torch._dynamo.reset()
    model = listed(name)
    compiled = torch.compile(model, backend=backend, dynamic=False)
    for n in lengths:
        tokens = tokens_of(2, n, seed=n)
        expected, found = (grads_of(either.train(), tokens, seed=n) for either in (model, compiled))
        for mine, theirs in zip(found, expected, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-11)
        with torch.no_grad():
            torch.testing.assert_close(compiled.eval()(tokens), model.eval()(tokens))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["plain", "reversible, layers dropped"])
def test_torch_compile_can_trace_it(name):
    compare_compiled(name, "eager", lengths=[12])


@slow
@names
def test_a_compiled_model_computes_the_same(name):
    compare_compiled(name, "aot_eager", lengths=[12, 7])


@slow
@pytest.mark.parametrize("name", ["windows, folds, attention", "reversible"])
def test_a_model_compiled_to_machine_code_computes_the_same(name):
    compare_compiled(name, "inductor", lengths=[12])  # a minute each, most of it the C++ compiler


def one_of_two(rank, folder):
    """A process of two, which sees half of the batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name in MODELS:
        dropped = "dropped" in name
        model = DistributedDataParallel(listed(name), find_unused_parameters=dropped)
        found[name] = grads_of(model, tokens_of(4, 9, seed=0)[2 * rank : 2 * rank + 2], seed=rank)
    torch.save(found, f"{folder}/{rank}")
    dist.destroy_process_group()


@slow
def test_two_processes_learn_what_one_does(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    zero, one = (torch.load(tmp_path / str(rank)) for rank in (0, 1))
    for name in MODELS:
        expected = grads_of(listed(name), tokens_of(4, 9, seed=0), seed=0)
        for here, there, whole in zip(zero[name], one[name], expected, strict=True):
            if whole is None:  # a layer that was dropped
                assert all(grad is None or not grad.any() for grad in (here, there))
            else:
                torch.testing.assert_close(here, whole, rtol=1e-10, atol=1e-14)
                assert torch.equal(here, there)


def test_a_list_for_each_layer_is_a_tuple():
    """As JSON has them."""
    listed = gMLPGPT(**BASE | {"window": [4, [3, 2]], "attn_dim": [2, None]})
    tupled = gMLPGPT(**BASE | {"window": (4, (3, 2)), "attn_dim": (2, None)})
    assert str(listed) == str(tupled) and listed.windows == tupled.windows == [(4, 1), (3, 2)]


# --- what it does not take ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_tokens": 0}, "num_tokens must be at least 1; got num_tokens=0"),
        ({"dim": 0}, "dim must be at least 1; got dim=0"),
        ({"depth": 0}, "depth must be at least 1; got depth=0"),
        ({"seq_len": 0}, "seq_len must be at least 1; got seq_len=0"),
        ({"heads": 0}, "heads must be at least 1; got heads=0"),
        ({"ff_mult": 0}, "ff_mult must be at least 1; got ff_mult=0"),
        ({"ff_mult": 2.5}, "ff_mult must be a whole number; got ff_mult=2.5"),
        ({"heads": 3}, "heads=3"),
        ({"heads": 3}, "ff_mult"),  # with dim it makes the channels that heads must divide
        ({"dim": 3, "ff_mult": 3}, "dim=3, ff_mult=3"),
        ({"prob_survival": 0.0}, "prob_survival must lie in (0, 1]; got prob_survival=0.0"),
        ({"prob_survival": 1.1}, "prob_survival must lie in (0, 1]; got prob_survival=1.1"),
        ({"dropout": 1.0}, "dropout must lie in [0, 1); got dropout=1.0"),
        ({"dropout": -0.1}, "dropout must lie in [0, 1); got dropout=-0.1"),
        ({"window": 0}, "a window must be at least 1, or None; got 0 in window=0"),
        ({"window": (4, -1)}, "a window must be at least 1, or None; got -1 in window=(4, -1)"),
        ({"window": (4, (3, 0))}, "a fold must be at least 1; got 0 in window=(4, (3, 0))"),
        ({"window": (4, 4, 4)}, "one entry for each of depth=2 layers; got 3 entries"),
        ({"window": (4,)}, "window=(4,)"),
        ({"window": (4, (3, 2, 1))}, "window=(4, (3, 2, 1))"),
        ({"attn_dim": 0}, "attn_dim must be at least 1, or None; got 0"),
        ({"attn_dim": (2, 0)}, "attn_dim must be at least 1, or None; got 0 in (2, 0)"),
        ({"attn_dim": (2,)}, "one entry for each of depth=2 layers; got 1 entries: attn_dim=(2,)"),
        ({"attn_dim": (2, 2, 2)}, "got 3 entries: attn_dim=(2, 2, 2)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("reversible", [False, True])
def test_a_bad_argument_is_named(wrong, message, reversible):
    with pytest.raises(ValueError, match=re.escape(message)):
        gMLPGPT(**BASE | wrong, reversible=reversible)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(1, 13, dtype=torch.long), "1 to seq_len=12 tokens at once; got n=13"),
        (torch.zeros(1, 0, dtype=torch.long), "1 to seq_len=12 tokens at once; got n=0"),
        (torch.zeros(1, 3), "must be integers of shape (b, n); got torch.float32"),
        (torch.zeros(3, dtype=torch.long), "got torch.int64 of shape (3,)"),
        (torch.tensor([[0, 7]]), "must lie in 0 … 6 (num_tokens=7); got 0 … 7"),
        (torch.tensor([[-1, 2]]), "must lie in 0 … 6 (num_tokens=7); got -1 … 2"),
    ],
    ids=str,
)
def test_tokens_that_it_cannot_read_are_named(tokens, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        gMLPGPT(**BASE)(tokens)


def test_reading_in_pieces_ends_with_the_context():
    model, cache = gMLPGPT(**BASE), Cache()
    with torch.no_grad():
        model.step(torch.zeros(1, 12, dtype=torch.long), cache)
        with pytest.raises(ValueError, match="seq_len=12 tokens in all; these would make 13"):
            model.step(torch.zeros(1, 1, dtype=torch.long), cache)
