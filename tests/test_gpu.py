"""The laws of the whole model on a GPU, in float32 and under bfloat16 autocast; skipped without."""

import copy
import math

import pytest
import torch
from g_mlp_gpt import gMLPGPT as TheirModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import draw, model_arguments, randomise, tokens_of
from torch import nn

from gmlp import Cache, CausalLocalSGU, CausalSGU, generate, gMLPGPT, train
from gmlp.generation import next_token
from gmlp.ops import causal_mix, local_mix

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

DRAWS = settings(  # a GPU takes long to be told what to do
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# By how much a result may be off, as a share of its length.
ROUNDING = {torch.float32: 2e-4, torch.bfloat16: 5e-2}
dtypes = pytest.mark.parametrize("dtype", ROUNDING, ids=str)
models = {
    "arguments": model_arguments(),
    "b": st.integers(1, 3),
    "n": st.integers(1, 12),
    "seed": st.integers(0, 10**6),
}


def autocast(dtype, device="cuda"):
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)


def model_of(arguments, seed, **more):
    return randomise(gMLPGPT(**arguments, **more), seed, scale=0.3)


def text_of(arguments, b, n, seed):
    return tokens_of(b, min(n, arguments["seq_len"]), seed)


def assert_near(found, expected, share):
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    assert found.shape == expected.shape
    assert (found - expected).norm() <= share * expected.norm() + 1e-6


def grads_of(model, tokens, dtype=torch.float32, seed=0):
    """All gradients in one row."""
    model.zero_grad()
    torch.manual_seed(seed)
    with autocast(dtype, tokens.device.type):
        logits = model(tokens)
    weights = draw(*logits.shape, seed=seed, dtype=torch.float32).to(logits.device)
    (logits.float() * weights).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@dtypes
@given(**models)
@DRAWS
def test_logits_and_gradients_are_those_of_the_cpu_in_float64(dtype, arguments, b, n, seed):
    exact, tokens = model_of(arguments, seed), text_of(arguments, b, n, seed)
    model = copy.deepcopy(exact).cuda()
    exact.double()
    with torch.no_grad(), autocast(dtype):
        assert_near(model(tokens.cuda()), exact(tokens), ROUNDING[dtype])
    # Rounding of activations adds up over the layers, and norms of few channels magnify it.
    grads = grads_of(model, tokens.cuda(), dtype), grads_of(exact, tokens)
    assert_near(*grads, 5 * ROUNDING[dtype])


@dtypes
@given(position=st.integers(0, 11), **models)
@DRAWS
def test_no_output_hears_of_a_later_token(dtype, position, arguments, b, n, seed):
    model, tokens = model_of(arguments, seed).cuda(), text_of(arguments, b, n, seed).cuda()
    position %= tokens.shape[1]
    changed = tokens.clone()
    changed[:, position] = (changed[:, position] + 1) % 7
    with torch.no_grad(), autocast(dtype):
        moved = (model(tokens) - model(changed)).abs().amax((0, 2)).nonzero().flatten()
    assert moved.min() == position


@dtypes
@given(dropout=st.sampled_from([0.0, 0.4]), survival=st.sampled_from([1.0, 0.5]), **models)
@DRAWS
def test_reversible_gradients_are_those_of_keeping_everything(
    dtype, dropout, survival, arguments, b, n, seed
):
    """With dropout on the GPU, so its random numbers must be the same when f and g run again."""
    arguments = {**arguments, "reversible": True}
    model = model_of(arguments, seed, dropout=dropout, prob_survival=survival).cuda().train()
    tokens = text_of(arguments, b, n, seed).cuda()
    kinds: list[torch.dtype] = []
    for block in model.blocks.blocks:
        block.g.net[0].register_forward_hook(lambda *given: kinds.append(given[-1].dtype))
    found, state = grads_of(model, tokens, dtype, seed), torch.cuda.get_rng_state()
    assert len(kinds) >= 2 and set(kinds) == {dtype}, "the second pass computed otherwise"
    model.blocks.recompute = False
    expected = grads_of(model, tokens, dtype, seed)
    assert torch.equal(torch.cuda.get_rng_state(), state), "the caller's random numbers moved"
    assert_near(found, expected, ROUNDING[dtype])


@given(length=st.integers(0, 24), temperature=st.sampled_from([0, 1.0]), **models)
@DRAWS
def test_with_and_without_a_cache_it_writes_the_same(length, temperature, arguments, b, n, seed):
    model = model_of(arguments, seed).double().cuda().eval()
    prompt = text_of(arguments, b, n, seed).cuda()
    texts = [
        generate(
            model,
            prompt,
            length,
            temperature=temperature,
            generator=torch.Generator("cuda").manual_seed(seed),
            cached=cached,
        )
        for cached in (True, False)
    ]
    assert torch.equal(*texts)
    assert texts[0].device.type == "cuda"


@dtypes
@given(**models)
@DRAWS
def test_a_cache_gives_the_logits_of_the_whole(dtype, arguments, b, n, seed):
    model, tokens = model_of(arguments, seed).cuda().eval(), text_of(arguments, b, n, seed).cuda()
    cache = Cache()
    with torch.no_grad(), autocast(dtype):
        whole = model(tokens)
        pieces = torch.stack([model.step(piece, cache) for piece in tokens.split(1, 1)], dim=1)
    assert_near(pieces, whole, ROUNDING[dtype])


@dtypes
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize("n", [256, 1025, 2600])
def test_a_long_triangle_in_blocks_is_the_whole_triangle(dtype, heads, b, n):
    weight, bias = draw(heads, 2700, 2700, seed=0) / n**0.5, draw(heads, 2700, seed=1)
    v, grad = draw(b, n, 16, seed=2), draw(b, n, 16, seed=3)
    by_head = v.unflatten(-1, (heads, -1))
    expected = torch.einsum("hij,bjhc->bihc", weight[:, :n, :n].tril(), by_head)
    expected = (expected + bias[:, :n].T[None, :, :, None]).flatten(2)
    given = [t.float().cuda().requires_grad_() for t in (v, weight, bias)]
    with autocast(dtype):
        found = causal_mix(*given)
    assert found.dtype == dtype
    assert_near(found, expected, ROUNDING[dtype])
    (found.float() * grad.float().cuda()).sum().backward()
    dweight = torch.einsum("bihc,bjhc->hij", grad.unflatten(-1, (heads, -1)), by_head).tril()
    assert_near(given[1].grad[:, :n, :n], dweight, ROUNDING[dtype])


@dtypes
@pytest.mark.parametrize("w", [8, 128, 1100])
@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize("n", [5, 300, 2300])
def test_local_windows_are_a_band_of_the_whole(dtype, w, b, n):
    heads = 2
    weight, bias = draw(heads, w, 2 * w, seed=0) / w**0.5, draw(heads, w, seed=1)
    v, grad = draw(b, n, 16, seed=2), draw(b, n, 16, seed=3)
    band = torch.zeros(heads, n, n, dtype=torch.float64)
    for i in range(n):
        first = i // w * w - w  # the position of column 0
        columns = torch.arange(max(0, first), i + 1)
        band[:, i, columns] = weight[:, i % w, columns - first]
    expected = torch.einsum("hij,bjhc->bihc", band, v.unflatten(-1, (heads, -1)))
    rows = torch.arange(n) % w
    expected = (expected + bias[:, rows].T[None, :, :, None]).flatten(2)
    given = [t.float().cuda().requires_grad_() for t in (v, weight, bias)]
    with autocast(dtype):
        found = local_mix(*given)
    assert_near(found, expected, ROUNDING[dtype])
    (found.float() * grad.float().cuda()).sum().backward()
    dv = torch.einsum("hij,bihc->bjhc", band, grad.unflatten(-1, (heads, -1))).flatten(2)
    assert_near(given[0].grad, dv, ROUNDING[dtype])
    dband = torch.einsum("bihc,bjhc->hij", *(t.unflatten(-1, (heads, -1)) for t in (grad, v)))
    dweight = torch.zeros_like(weight)
    for i in range(n):
        first = i // w * w - w
        columns = torch.arange(max(0, first), i + 1)
        dweight[:, i % w, columns - first] += dband[:, i, columns]
    assert_near(given[1].grad, dweight, ROUNDING[dtype])


@pytest.mark.parametrize("heads", [1, 4])
def test_a_window_over_everything_is_no_window(heads):
    n, dim = 40, 16
    whole = randomise(CausalSGU(dim, n, heads=heads), 0).cuda()
    local = randomise(CausalLocalSGU(dim, n, heads=heads, window=n), 1).cuda()
    with torch.no_grad():
        local.weight[..., n:] = whole.weight
        local.bias.copy_(whole.bias)
        local.norm.load_state_dict(whole.norm.state_dict())
        x = draw(2, n, dim, seed=2, dtype=torch.float32).cuda()
        assert_near(local(x), whole(x), 1e-5)


@dtypes
@pytest.mark.parametrize("reversible", [False, True])
def test_weights_of_the_original_give_its_logits(dtype, reversible):
    arguments = {"num_tokens": 7, "dim": 32, "depth": 4, "seq_len": 48, "heads": 2, "ff_mult": 4}
    arguments |= {"window": (4, (8, 2), 32, 48), "reversible": reversible, "act": nn.Tanh()}
    original = randomise(TheirModel(**arguments), 0, scale=0.2).cuda().eval()
    model = gMLPGPT(**arguments).cuda().eval()
    model.load_original(original.state_dict())
    tokens = tokens_of(2, 48, seed=0).cuda()
    with torch.no_grad():
        expected = original(tokens)
        with autocast(dtype):
            assert_near(model(tokens), expected, ROUNDING[dtype])


# --- training -------------------------------------------------------------------------------------

TEXT = torch.tensor(list(b"to be or not to be, that is the question; " * 60), dtype=torch.uint8)
RUN = {"steps": 40, "context": 32, "batch_size": 8, "warmup": 5, "eval_every": 10}
RUN |= {"progress": False, "peak": 3e-3}


def small(**more):
    torch.manual_seed(0)
    arguments = {"num_tokens": 256, "dim": 32, "depth": 2, "seq_len": 32, "window": (8, None)}
    return gMLPGPT(**arguments, **more)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("reversible", [False, True])
def test_it_learns_as_on_the_cpu_in_every_precision(precision, reversible):
    found, expected = (
        train(small(reversible=reversible).to(device), TEXT, TEXT[:600], precision=kind, **RUN)
        for device, kind in (("cuda", precision), ("cpu", "float32"))
    )
    assert expected[-1].valid_bits < 5
    off = max(abs(a.valid_bits - b.valid_bits) for a, b in zip(found, expected, strict=True))
    assert off < (2e-3 if precision == "float32" else 0.1)


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path):
    def run(on_eval=None, **more):
        model = small(dropout=0.2, prob_survival=0.7, reversible=True).cuda()
        history = train(model, TEXT, TEXT[:600], on_eval=on_eval, **more, **RUN)
        return [record.valid_bits for record in history], model

    def pull_the_plug(done):
        if done == 20:
            raise RuntimeError("no power")

    expected, undisturbed = run()
    kept = {"checkpoint": tmp_path / "kept.safetensors"}
    with pytest.raises(RuntimeError, match="no power"):
        run(pull_the_plug, **kept)
    found, model = run(**kept)
    assert found == pytest.approx(expected, abs=2e-4)
    for mine, theirs in zip(model.parameters(), undisturbed.parameters(), strict=True):
        assert_near(mine, theirs, 1e-3)


def test_a_compiled_run_learns_the_same():
    plain = train(small().cuda(), TEXT, TEXT[:600], **RUN)
    torch.compiler.reset()
    fast = train(small().cuda(), TEXT, TEXT[:600], compile=True, **RUN)
    assert max(abs(a.valid_bits - b.valid_bits) for a, b in zip(plain, fast, strict=True)) < 5e-3


def test_tokens_are_drawn_by_their_chances():
    logits = torch.tensor([0.5, 0.3, 0.2], device="cuda").log().expand(20_000, 3)
    drawn = next_token(logits, generator=torch.Generator("cuda").manual_seed(0))
    shares = drawn.bincount(minlength=3) / len(drawn)
    assert (shares.cpu() - torch.tensor([0.5, 0.3, 0.2])).abs().max() < 5 / math.sqrt(20_000)
