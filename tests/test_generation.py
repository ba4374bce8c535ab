"""Laws of lesson 05: the same text with and without a cache, drawn as softmax says, as it comes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, model_arguments, randomise, tokens_of
from test_training import small
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gmlp import Cache, LanguageModel, generate, gMLPGPT, stream
from gmlp.generation import next_token

V = 7
SEED = st.integers(0, 10**6)


def build(arguments, seed):
    """Weights large enough to matter and small enough to leave a choice; float64."""
    return randomise(gMLPGPT(**arguments), seed, scale=0.5).double().eval()


def fixed(seed=0, **changes):
    arguments = {"num_tokens": V, "dim": 4, "depth": 2, "seq_len": 8, "window": (3, (2, 2))}
    return build(arguments | changes, seed)


def from_seed(seed):
    return torch.Generator().manual_seed(seed)


temperatures = st.sampled_from([0, 0.3, 1.0, 2.5])
top_ks = st.none() | st.integers(1, V + 2)
top_ps = st.none() | st.floats(0.05, 1.0)


def context_length(n, k, seq_len, keep):
    """How much the model sees when it writes its token k, by the rule of `generate`."""
    n = min(n, seq_len)
    if n + k <= seq_len:
        return n + k
    return keep + (n + k - seq_len - 1) % (seq_len - keep + 1)


@given(
    arguments=model_arguments(),
    b=st.integers(1, 2),
    n=st.integers(1, 13),
    length=st.integers(0, 24),
    keep=st.none() | st.integers(1, 10),
    temperature=temperatures,
    top_k=top_ks,
    top_p=top_ps,
    stop_token=st.none() | st.integers(0, V - 1),
    seed=SEED,
)
@DRAWS
def test_with_and_without_a_cache_it_writes_the_same(
    arguments, b, n, length, keep, temperature, top_k, top_p, stop_token, seed
):
    """To the last token, far past seq_len, whatever the model is made of."""
    model, prompt = build(arguments, seed), tokens_of(b, n, seed)
    texts = [
        generate(
            model,
            prompt,
            length,
            keep=None if keep is None else min(keep, model.seq_len),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            stop_token=stop_token,
            generator=from_seed(seed),
            cached=cached,
        )
        for cached in (True, False)
    ]
    assert torch.equal(*texts)
    assert torch.equal(texts[0][:, :n], prompt)


@given(
    n=st.integers(1, 12),
    length=st.integers(0, 24),
    seq_len=st.integers(1, 8),
    keep=st.none() | st.integers(1, 8),
    cached=st.booleans(),
    seed=SEED,
)
@DRAWS
def test_a_full_context_starts_afresh_with_the_last_tokens(n, length, seq_len, keep, cached, seed):
    """How many tokens the model sees at each draw, counted out; and no matter how it came there."""
    model, tokens = fixed(seed, seq_len=seq_len), tokens_of(2, n, seed)
    keep = keep and min(keep, seq_len)
    written = generate(
        model, tokens, length, keep=keep, temperature=0.7, generator=from_seed(seed), cached=cached
    )
    generator = from_seed(seed)
    for k in range(length):
        seen = context_length(n, k, seq_len, keep or max(1, seq_len // 2))
        chances = (model(tokens[:, -seen:])[:, -1] / 0.7).softmax(-1)
        chances, order = chances.sort(descending=True)
        chosen = order.gather(-1, torch.multinomial(chances, 1, generator=generator))
        tokens = torch.cat((tokens, chosen), dim=1)
    assert torch.equal(written, tokens)


@given(length=st.integers(0, 24), n=st.integers(1, 20), cached=st.booleans(), seed=SEED)
@DRAWS
def test_keeping_everything_is_the_loop_of_lesson_02(length, n, cached, seed):
    """A window that slides: the model always sees the last seq_len tokens. On a plain
    nn.Sequential of the parts of lesson 03, with a prompt of one axis."""
    model = randomise(small(depth=1), seed, scale=0.5).double()
    start = torch.randint(256, (n,), generator=from_seed(seed))
    tokens = start[None]
    for _ in range(length):
        chosen = model(tokens[:, -16:])[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, chosen), dim=1)
    written = generate(model, start, length, temperature=0, keep=16, cached=cached)
    assert torch.equal(written, tokens[0])


def may_follow(logits, temperature, top_k, top_p):
    """{token: chance}, by going down the list of the likeliest."""
    if temperature == 0:
        return {max(range(V), key=lambda i: logits[i]): 1.0}
    order = sorted(range(V), key=lambda i: -logits[i])[:top_k]
    weights = [math.exp((logits[i] - max(logits)) / temperature) for i in order]
    kept, total = {}, 0.0
    for token, weight in zip(order, weights, strict=True):
        if top_p is not None and total >= top_p:
            break
        kept[token] = weight / sum(weights)
        total += kept[token]
    return {token: chance / sum(kept.values()) for token, chance in kept.items()}


@given(temperature=temperatures, top_k=top_ks, top_p=top_ps, seed=SEED)
@DRAWS
def test_tokens_are_drawn_as_softmax_says_among_those_that_are_kept(
    temperature, top_k, top_p, seed
):
    """Two thousand draws: none that is cut off, the others as often as they should be."""
    logits, count = draw(V, seed=seed), 2000
    found = next_token(
        logits.expand(count, V),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=from_seed(seed),
    )
    expected = may_follow(logits.tolist(), temperature, top_k, top_p)
    for token, times in enumerate(found.bincount(minlength=V).tolist()):
        chance = expected.get(token, 0.0)
        deviation = math.sqrt(count * chance * (1 - chance))
        assert abs(times - count * chance) <= 6 * deviation + (5 if chance else 0)


@given(top_k=st.integers(V, 2 * V), seed=SEED)
@DRAWS
def test_keeping_all_tokens_changes_nothing(top_k, seed):
    logits, before = draw(50, V, seed=seed), draw(50, V, seed=seed)
    plain = next_token(logits, generator=from_seed(seed))
    assert torch.equal(next_token(logits, top_k=top_k, generator=from_seed(seed)), plain)
    assert torch.equal(next_token(logits, top_p=1.0, generator=from_seed(seed)), plain)
    assert torch.equal(logits, before)  # nor the logits that were given


def test_the_smallest_set_is_no_larger_where_chances_are_equal():
    """Four equal chances: two of them are one half, and 0.51 takes a third."""
    logits = torch.zeros(400, 4)
    for top_p, size in ((0.25, 1), (0.5, 2), (0.51, 3), (1.0, 4)):
        drawn = next_token(logits, top_p=top_p, generator=from_seed(0))
        assert len(drawn.unique()) == size


@given(seed=SEED)
@DRAWS
def test_the_likeliest_alone_is_greedy(seed):
    """Temperature 0, one token kept, a set that the first one fills: all the same, and whatever
    the generator says."""
    model, prompt = fixed(seed), tokens_of(2, 3, seed)
    greedy = generate(model, prompt, 4, temperature=0)
    for cut in ({"top_k": 1}, {"top_p": 1e-9}):
        assert torch.equal(generate(model, prompt, 4, generator=from_seed(seed), **cut), greedy)


@given(
    b=st.integers(1, 3),
    n=st.integers(1, 5),
    length=st.integers(0, 20),
    stop_token=st.integers(0, V - 1),
    cached=st.booleans(),
    seed=SEED,
)
@DRAWS
def test_a_text_ends_with_the_stop_token(b, n, length, stop_token, cached, seed):
    """The others go on as if nothing had been; one that has ended is filled up. In the prompt the
    token does not count."""
    model, prompt = fixed(seed), tokens_of(b, n, seed)
    free = generate(model, prompt, length, generator=from_seed(seed), cached=cached)
    ends = []
    for row in free:
        places = (row[n:] == stop_token).nonzero().flatten().tolist()
        ends.append(places[0] + 1 if places else length)
        row[n + ends[-1] :] = stop_token
    written = generate(
        model, prompt, length, generator=from_seed(seed), stop_token=stop_token, cached=cached
    )
    assert torch.equal(written, free[:, : n + max(ends)])


@given(b=st.integers(1, 3), length=st.integers(0, 12), cached=st.booleans(), seed=SEED)
@DRAWS
def test_a_stream_is_the_same_text(b, length, cached, seed):
    model, prompt = fixed(seed), tokens_of(b, 3, seed)
    written = generate(model, prompt, length, generator=from_seed(seed), cached=cached)
    tokens = list(stream(model, prompt, length, generator=from_seed(seed), cached=cached))
    assert [token.shape for token in tokens] == [(b,)] * length
    assert torch.equal(torch.stack([*prompt.T, *tokens], dim=1), written)


def counted(model):
    """Notes in the list that is returned how many tokens the model reads in each call."""
    calls = []
    for name in ("forward", "step"):
        method = getattr(model, name)

        def noting(tokens, *rest, method=method):
            calls.append(tokens.shape[1])
            return method(tokens, *rest)

        setattr(model, name, noting)
    return calls


def test_nothing_is_computed_before_it_is_asked_for():
    model = fixed().train()
    calls, graphs = counted(model), []
    model.norm.register_forward_hook(lambda *_: graphs.append(torch.is_grad_enabled()))
    tokens = stream(model, tokens_of(1, 3, 0), 10)
    assert calls == []
    assert model.training
    for _ in range(4):
        next(tokens)
    assert calls == [3, 1, 1, 1]  # the prompt at once, then each token once
    assert graphs == [False] * 4
    assert torch.is_grad_enabled()  # the caller may go on as before between two tokens
    assert generate(model, tokens_of(1, 3, 0), 0).shape == (1, 3)
    assert len(calls) == 4


def test_past_seq_len_a_token_is_read_about_twice():
    """With half of the context kept, the default; with all of it, seq_len times."""
    model = fixed(seq_len=8)
    calls = counted(model)
    generate(model, tokens_of(1, 1, 0), 8 + 5 * 10)
    assert set(calls) == {1, 4}
    assert sum(calls) == 8 + 10 * (4 + 4)
    calls.clear()
    generate(model, tokens_of(1, 20, 0), 10, keep=8)
    assert calls == [8] * 10


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_the_mode_of_the_model_comes_back(training, cached):
    """Also when the text is abandoned, or the model fails; while it writes, nothing is dropped."""
    model = fixed(dropout=0.5).train(training)
    modes = lambda: {module.training for module in model.modules()}  # noqa: E731

    def write(tokens=5, **changes):
        return stream(model, tokens_of(1, 3, 0), tokens, cached=cached, **changes)

    assert len(list(write())) == 5
    assert modes() == {training}
    abandoned = write()
    next(abandoned)
    assert modes() == {False}
    abandoned.close()
    assert modes() == {training}
    forgotten = write()
    next(forgotten)
    del forgotten
    assert modes() == {training}

    def fail(module, inputs):
        raise RuntimeError("out of ink")

    model.norm.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of ink"):
        list(write())
    assert modes() == {training}
    assert torch.is_grad_enabled()


class Written(TorchDispatchMode):
    """Counts the numbers that are written anywhere; a view writes none."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.count += sum(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))
        return out


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"heads": 2, "attn_dim": 4},
        {"window": 16, "attn_dim": 4},
        {"window": ((None, 4), (16, 4)), "attn_dim": 4},
        {"reversible": True},
    ],
    ids=str,
)
def test_one_token_costs_one_row(changes):
    """Near the end of a long text: a step is a row of the whole, not the whole; in multiply-adds
    and in numbers written."""
    n = 512
    model = fixed(**({"seq_len": n, "window": None} | changes))
    text = tokens_of(1, n, 0)
    costs = []
    for start in (0, n - 1):
        cache = Cache()
        with torch.no_grad():
            for known in (start // 2, start - start // 2):
                if known:
                    model.step(text[:, cache.read(model) : cache.read(model) + known], cache)
            with FlopCounterMode(display=False) as flops, Written() as written:
                model.step(text[:, start:], cache)
        costs.append((flops.get_total_flops(), written.count))
    for whole, one in zip(*costs, strict=True):
        assert 0 < one * n < 10 * whole


def test_whatever_the_prompt_is_made_of():
    """Integers of any size, one text or many; what comes back are indices, where the prompt was."""
    model, prompt = fixed(), tokens_of(2, 3, 0)
    written = generate(model, prompt, 5, temperature=0)
    assert written.dtype == torch.int64
    assert written.device == prompt.device
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(generate(model, prompt.to(dtype), 5, temperature=0), written)
    for text, expected in zip(prompt, written, strict=True):
        assert torch.equal(generate(model, text, 5, temperature=0), expected)
    assert torch.equal(prompt, tokens_of(2, 3, 0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_other_dtypes_write_too(dtype):
    model = fixed().to(dtype)
    written = generate(model, tokens_of(2, 3, 0), 20, generator=from_seed(0), top_k=3, top_p=0.9)
    assert written.shape == (2, 23)


def test_the_generator_alone_decides():
    model, prompt = fixed(), tokens_of(2, 3, 0)
    before = torch.get_rng_state()
    texts = [generate(model, prompt, 12, generator=from_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])
    assert torch.equal(torch.get_rng_state(), before)


class Bigram(nn.Module):
    """What follows depends on the last token only: v -> v + 1. It has no step."""

    seq_len = 4

    def forward(self, tokens):
        return torch.eye(V)[(tokens + 1) % V]


def test_without_a_cache_any_model_writes():
    written = generate(Bigram(), torch.tensor([2]), 9, temperature=0, cached=False)
    assert written.tolist() == [token % V for token in range(2, 12)]


def test_a_layer_that_cannot_go_on_says_so():
    model = LanguageModel(V, 4, 8, nn.Softmax(dim=1)).train()
    with pytest.raises(TypeError, match=r"Softmax has no step.*cached=False"):
        generate(model, tokens_of(1, 3, 0), 2)
    assert model.training


ONE = torch.tensor([1])


@pytest.mark.parametrize("write", [generate, stream])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": torch.zeros(0, dtype=torch.long)}, r"at least one token.*\(0,\)"),
        ({"prompt": torch.zeros(2, 0, dtype=torch.long)}, r"at least one token.*\(2, 0\)"),
        ({"prompt": torch.zeros(0, 2, dtype=torch.long)}, r"at least one token.*\(0, 2\)"),
        ({"prompt": torch.tensor(1)}, r"\(n,\) or \(b, n\).*\(\)"),
        ({"prompt": torch.zeros(1, 1, 1, dtype=torch.long)}, r"\(n,\) or \(b, n\).*\(1, 1, 1\)"),
        ({"prompt": torch.tensor([1.5])}, "integers.*float32"),
        ({"length": -1}, "length must be 0 or more; got -1"),
        ({"temperature": -0.5}, "temperature must be 0 .* or more; got -0.5"),
        ({"temperature": math.nan}, "temperature must be 0 .* or more; got nan"),
        ({"top_k": 0}, "top_k must be at least 1; got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\]; got 0.0"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\]; got 1.5"),
        ({"stop_token": -1}, "stop_token must be a token, 0 or more; got -1"),
        ({"keep": 0}, "keep must lie in 1 … seq_len=8; got 0"),
        ({"keep": 9}, "keep must lie in 1 … seq_len=8; got 9"),
    ],
)
def test_bad_arguments_are_named_at_once(write, arguments, message):
    """By the call itself, not by the first token; and the model has not been touched."""
    model = fixed().train()
    calls = counted(model)
    with pytest.raises(ValueError, match=message):
        write(model, **({"prompt": ONE, "length": 1} | arguments))
    assert calls == []
    assert model.training


@pytest.mark.parametrize("cached", [True, False])
def test_tokens_that_the_model_does_not_know_are_named_cached_or_not(cached):
    model = fixed()
    with pytest.raises(ValueError, match=f"num_tokens={model.num_tokens}"):
        generate(model, torch.tensor([model.num_tokens]), 1, cached=cached)


def test_a_refused_step_is_not_counted_as_read():
    model, cache = fixed(), Cache()
    five = torch.zeros(1, 5, dtype=torch.long)
    model.step(five, cache)
    with pytest.raises(ValueError, match="seq_len=8 tokens in all; these would make 10"):
        model.step(five, cache)
    assert cache.read(model) == 5


@pytest.mark.parametrize("window", [None, 3, ((None, 2),)])
def test_a_cache_holds_no_gradient(window):
    model = gMLPGPT(num_tokens=7, dim=4, depth=1, seq_len=8, window=window, attn_dim=2)
    cache = Cache()
    for _ in range(2):
        logits = model.step(torch.zeros(1, 2, dtype=torch.long), cache)
    assert logits.requires_grad
    caches = [cache, *(own for owns in cache._residues.values() for own in owns)]
    kept = [tensor for one in caches for tensor in one._kept.values()]
    assert len(kept) == (5 if isinstance(window, tuple) else 2)
    assert not any(tensor.requires_grad for tensor in kept)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-40, 1e-3])
def test_a_temperature_near_zero_is_greedy_in_every_precision(dtype, temperature):
    logits = torch.tensor([[300.0, -300.0, 200.0]], dtype=dtype)
    assert next_token(logits, temperature=temperature).tolist() == [0]


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_what_was_written_may_be_learned_from(temperature):
    """Tensors made in inference mode could not be saved for a backward pass."""
    model = fixed().train()
    tokens = generate(model, tokens_of(1, 3, 0), 5, temperature=temperature)
    for token in stream(model, tokens_of(1, 3, 0), 2, temperature=temperature):
        model(token[:, None]).sum().backward()
    model(tokens).sum().backward()
    assert model.embed.weight.grad.abs().sum() > 0
