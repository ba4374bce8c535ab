"""Laws of lesson 10."""

import copy
import gc
import io
import os

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from gmlp import FeedForward, ReversibleBlock, ReversibleSequence, SequentialSequence

slow = pytest.mark.skipif(not os.environ.get("GMLP_TEST_ALL"), reason="slow: course.py test --all")

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

sizes = {
    "depth": st.integers(1, 5),
    "b": st.integers(1, 3),
    "n": st.integers(1, 4),
    "d": st.integers(4, 7),  # a norm over two or three numbers may magnify rounding at will
    "seed": st.integers(0, 10**6),
}


class Mix(nn.Module):
    """An ``f`` that mixes channels, drops some, and takes two arguments by name."""

    def __init__(self, d, dropout=0.0):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(d), nn.Linear(d, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, scale=1.0, shift=0.0):
        return self.dropout(torch.tanh(self.linear(self.norm(x)))) * scale + shift


class Scaled(nn.Module):
    """A feed-forward ``g`` that takes an argument by name."""

    def __init__(self, d, dropout=0.0):
        super().__init__()
        self.net = FeedForward(d, 2, dropout=dropout)

    def forward(self, x, scale=1.0):
        return self.net(x) * scale


def sequence_of(depth, d, seed, dropout=0.0, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    blocks = [(Mix(d, dropout), Scaled(d, dropout)) for _ in range(depth)]
    return ReversibleSequence(blocks, **options).to(dtype)


def keeping(sequence):
    """A copy in which autograd keeps everything: what the gradients ought to be."""
    twin = copy.deepcopy(sequence)
    twin.recompute = False
    return twin


def grads_of(sequence, x, *others, seed=0, **kwargs):
    """Gradients of a loss by ``backward()``: of ``x``, of the parameters, of ``others``."""
    wanted = [x, *sequence.parameters(), *others]
    for tensor in wanted:
        tensor.grad = None
    torch.manual_seed(seed)
    out = sequence(x, **kwargs)
    (out * draw(*out.shape, seed=seed, dtype=out.dtype)).sum().backward()
    return [tensor.grad for tensor in wanted]


def assert_same_grads(found, expected, tolerance=1e-10, floor=0.0):
    """Relative to the norm of each, or to ``floor`` of the largest; none where there is none."""
    assert [grad is None for grad in found] == [grad is None for grad in expected]
    found, expected = ([grad for grad in grads if grad is not None] for grads in (found, expected))
    largest = max(grad.norm() for grad in expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert (mine - theirs).norm() <= tolerance * max(theirs.norm(), floor * largest)


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@given(
    dropout=st.sampled_from([0.0, 0.4]),
    survival=st.sampled_from([1.0, 0.5]),
    training=st.booleans(),
    x_learns=st.booleans(),
    frozen=st.integers(0, 2**20 - 1),
    **sizes,
)
@DRAWS
def test_gradients_are_those_of_the_sequence_that_keeps_everything(
    dtype, dropout, survival, training, x_learns, frozen, depth, b, n, d, seed
):
    """With dropout inside, layers dropped, parameters frozen, inputs without a gradient."""
    sequence = sequence_of(depth, d, seed, dropout, dtype, prob_survival=survival).train(training)
    for place, parameter in enumerate(sequence.parameters()):
        parameter.requires_grad = place == 0 or not frozen >> place % 20 & 1
    twin = keeping(sequence)
    x = draw(b, n, d, seed=seed, dtype=dtype).requires_grad_(x_learns)
    torch.manual_seed(seed)
    if not sequence(x).requires_grad:  # the layers that survived are frozen
        return
    found, state = grads_of(sequence, x, seed=seed), torch.get_rng_state()
    expected = grads_of(twin, x, seed=seed)
    # What is left of large terms that cancel has a larger error, recomputed or not.
    assert_same_grads(found, expected, TOLERANCE[dtype], floor=1e-3)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers moved"


@given(**sizes)
@DRAWS
def test_the_output_is_that_of_the_blocks_on_a_doubled_stream(depth, b, n, d, seed):
    sequence = sequence_of(depth, d, seed)
    x = draw(b, n, d, seed=seed)
    x1 = x2 = x
    for block in sequence.blocks:
        x1 = x1 + block.f(x2)
        x2 = x2 + block.g(x1)
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(sequence(x), x1 + x2)
            torch.testing.assert_close(keeping(sequence)(x), x1 + x2)


@given(**sizes)
@DRAWS
def test_a_block_computes_its_inputs_from_its_outputs(depth, b, n, d, seed):
    torch.manual_seed(seed)
    block = ReversibleBlock(Mix(d), Scaled(d)).double()
    x1, x2 = draw(b, n, d, seed=seed), draw(b, n, d, seed=seed + 1)
    kwargs = {"scale": 1 + depth}, {"scale": draw(d, seed=seed)}
    back = block.inverse(*block(x1, x2, *kwargs), *kwargs)
    torch.testing.assert_close(back, (x1, x2))
    torch.testing.assert_close(block.inverse(*block(x1, x2)), (x1, x2))


@given(dropout=st.sampled_from([0.0, 0.4]), constant=st.booleans(), **sizes)
@DRAWS
def test_arguments_by_name_get_their_gradients(dropout, constant, depth, b, n, d, seed):
    sequence = sequence_of(depth, d, seed, dropout)
    x = draw(b, n, d, seed=seed).requires_grad_()
    scale, base, for_g = (draw(d, seed=seed + k).requires_grad_(not constant) for k in range(3))
    found, expected = (
        grads_of(
            either,
            x,
            scale,
            base,
            for_g,
            seed=seed,
            # One leaf, one tensor with a history, one number.
            f_kwargs={"scale": scale, "shift": base.square()},
            g_kwargs={"scale": for_g} if constant else {"scale": 2.0},
        )
        for either in (sequence, keeping(sequence))
    )
    assert (found[-3] is None) == constant
    assert_same_grads(found, expected)


@pytest.mark.parametrize("relation", ["the same", "computed from it"])
def test_two_arguments_that_hang_together_are_counted_once_each(relation):
    sequence = sequence_of(3, 4, seed=0)
    x, a = draw(2, 3, 4, seed=1), draw(4, seed=2).requires_grad_()

    def grads(either):
        second = a if relation == "the same" else a * 2
        return grads_of(either, x, a, f_kwargs={"scale": a, "shift": second})

    assert_same_grads(grads(sequence), grads(keeping(sequence)))


def test_a_dictionary_of_arguments_may_be_reused_before_backward():
    sequence = sequence_of(2, 4, seed=0)
    x, scale = draw(2, 3, 4, seed=1), draw(4, seed=2)

    def grads(either):
        kwargs = {"scale": scale}
        out = either(x, f_kwargs=kwargs)
        kwargs["scale"] = scale * 100
        return torch.autograd.grad(out.square().sum(), list(either.parameters()))

    assert_same_grads(grads(sequence), grads(keeping(sequence)))


@given(seed=st.integers(0, 10**6), dropout=st.sampled_from([0.0, 0.3]))
@DRAWS
def test_blocks_may_share_parameters(seed, dropout):
    torch.manual_seed(seed)
    f, g = Mix(4, dropout), Scaled(4, dropout)
    blocks = [(f, g), (f, Scaled(4)), (Mix(4), g), (f, f)]
    sequence = ReversibleSequence(blocks).double()
    x = draw(2, 3, 4, seed=seed).requires_grad_()
    found, expected = (grads_of(either, x, seed=seed) for either in (sequence, keeping(sequence)))
    assert_same_grads(found, expected)


def test_a_parameter_may_be_used_outside_too():
    f = Mix(4)
    sequence = ReversibleSequence([(f, Scaled(4)), (Mix(4), f)])
    x = draw(2, 3, 4, seed=0, dtype=torch.float32)

    def grads(either):
        with torch.autocast("cpu", torch.bfloat16):
            loss = next(iter(either.blocks)).f(either(x)).float().square().mean()
        return torch.autograd.grad(loss, list(either.parameters()))

    assert_same_grads(grads(sequence), grads(keeping(sequence)), 5e-2)


def test_torch_autograd_grad_gives_what_backward_gives_and_writes_nothing():
    sequence = sequence_of(3, 4, seed=0)
    x = draw(2, 3, 4, seed=1).requires_grad_()
    expected = grads_of(sequence, x)
    sequence.zero_grad()
    x.grad = None
    out = sequence(x)
    loss = (out * draw(*out.shape, seed=0)).sum()
    some = [x, list(sequence.parameters())[5]]
    twice = [torch.autograd.grad(loss, some, retain_graph=keep) for keep in (True, False)]
    for found in twice:
        assert_same_grads(list(found), [expected[0], expected[6]])
    assert all(tensor.grad is None for tensor in (x, *sequence.parameters()))


def test_gradients_add_up_over_batches():
    sequence = sequence_of(3, 4, seed=0)
    x = draw(4, 3, 4, seed=1)

    def accumulated(either):
        either.zero_grad()
        for part in x.split(1):
            either(part).square().sum().backward()
        return [parameter.grad for parameter in either.parameters()]

    assert_same_grads(accumulated(sequence), accumulated(keeping(sequence)))
    for parameter in sequence.parameters():
        parameter.grad = torch.ones_like(parameter)
    sequence(x).square().sum().backward()
    whole = [parameter.grad - 1 for parameter in sequence.parameters()]
    assert_same_grads(whole, accumulated(keeping(sequence)))


def test_two_passes_may_wait_for_their_backward_at_once():
    sequence = sequence_of(2, 4, seed=0, dropout=0.5)
    x = draw(2, 3, 4, seed=1)

    def grads(either):
        torch.manual_seed(0)
        first, second = either(x), either(2 * x)
        loss = first.square().sum() + second.square().sum()
        return torch.autograd.grad(loss, list(either.parameters()))

    assert_same_grads(grads(sequence), grads(keeping(sequence)))


def test_nothing_to_learn_gives_nothing():
    sequence = sequence_of(2, 4, seed=0).requires_grad_(False)
    assert not sequence(draw(2, 3, 4, seed=0)).requires_grad
    x = draw(2, 3, 4, seed=0).requires_grad_()
    assert_same_grads(grads_of(sequence, x), grads_of(keeping(sequence), x))
    with torch.no_grad():
        assert not sequence.requires_grad_()(x).requires_grad


def test_a_layer_may_ignore_its_input():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    sequence = ReversibleSequence([(Constant(), Scaled(4)), (Mix(4), Constant())]).double()
    x = draw(2, 3, 4, seed=0).requires_grad_()
    assert_same_grads(grads_of(sequence, x), grads_of(keeping(sequence), x))


# --- hooks ----------------------------------------------------------------------------------------


def test_a_hook_on_a_parameter_sees_its_gradient_once():
    sequence = sequence_of(3, 4, seed=0)
    x = draw(2, 3, 4, seed=1)

    def hooked(either):
        calls = []
        for parameter in either.parameters():
            parameter.register_hook(lambda grad: calls.append("hook") or 3 * grad)
            parameter.register_post_accumulate_grad_hook(lambda _: calls.append("after"))
        grads = grads_of(either, x)
        count = len(grads) - 1
        assert calls.count("after") == count
        assert calls.count("hook") == count
        return grads

    assert_same_grads(hooked(sequence), hooked(keeping(sequence)))


def test_hooks_on_modules_work():
    sequence = sequence_of(3, 4, seed=0)
    x = draw(2, 3, 4, seed=1).requires_grad_()

    def hooked(either):
        for block in either.blocks:
            block.f.register_forward_hook(lambda module, given, out: out * 1.5)
            block.f.linear.register_full_backward_hook(lambda module, into, out: (into[0] * 2,))
            block.g.register_forward_pre_hook(lambda module, given: (given[0] / 2,))
            block.g.register_full_backward_hook(lambda module, into, out: (into[0] * 3,))
        return grads_of(either, x)

    plain = grads_of(sequence, x)
    found = hooked(sequence)
    assert_same_grads(found, hooked(keeping(sequence_of(3, 4, seed=0))))
    assert (found[0] - plain[0]).norm() > 0.01 * plain[0].norm()


# --- autocast -------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
@given(dropout=st.sampled_from([0.0, 0.4]), survival=st.sampled_from([1.0, 0.6]), **sizes)
@DRAWS
def test_the_recomputation_runs_in_the_autocast_of_the_forward_pass(
    inside, dropout, survival, depth, b, n, d, seed
):
    n = n + 2  # in bfloat16 the gradient of very few numbers is mostly rounding
    sequence = sequence_of(depth, d, seed, dropout, torch.float32, prob_survival=survival)
    x = draw(b, n, d, seed=seed, dtype=torch.float32).requires_grad_()
    seen = {False: [], True: []}  # dtypes without and with gradients: forward, then recomputed

    def note(module, given, out):
        seen[torch.is_grad_enabled()].append(out.dtype)

    def grads(either):
        either.zero_grad()
        x.grad = None
        torch.manual_seed(seed)
        with torch.autocast("cpu", torch.bfloat16):
            out = either(x)
            loss = (out * draw(*out.shape, seed=seed, dtype=torch.float32)).sum()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        return [x.grad, *(parameter.grad for parameter in either.parameters())]

    twin = keeping(sequence)
    for module in sequence.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(note)
    found, expected = grads(sequence), grads(twin)
    assert seen[True] and seen[True] == [torch.bfloat16] * len(seen[False])
    assert [grad is None for grad in found] == [grad is None for grad in expected]
    found, expected = (
        torch.cat([grad.flatten() for grad in either if grad is not None])
        for either in (found, expected)
    )
    assert (found - expected).norm() <= 5e-2 * expected.norm()


@pytest.mark.parametrize("forward", [None, torch.bfloat16])
@pytest.mark.parametrize("backward", [None, torch.bfloat16])
def test_the_autocast_around_backward_does_not_count(forward, backward):
    sequence = sequence_of(2, 4, seed=0, dtype=torch.float32)
    seen = []
    for module in sequence.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", forward, enabled=forward is not None):
        loss = sequence(draw(2, 3, 4, seed=0, dtype=torch.float32)).sum()
    with torch.autocast("cpu", backward, enabled=backward is not None):
        loss.backward()
        assert torch.is_autocast_enabled("cpu") == (backward is not None)
    assert seen == [forward or torch.float32] * (2 * 2 * 3)  # two passes, two blocks, three layers


# --- memory ---------------------------------------------------------------------------------------


def storages(tree):
    leaves = torch.utils._pytree.tree_leaves(tree)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, torch.Tensor)]


class Watch(TorchDispatchMode):
    """Counts the bytes of all that operations made (not views of what they were given)."""

    def __init__(self):
        super().__init__()
        self.storages = {}
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {storage._cdata for storage in storages((args, kwargs))}
        out = function(*args, **(kwargs or {}))
        for storage in storages(out):
            if storage._cdata not in given:
                self.storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, self.alive())
        return out

    def alive(self):
        kept = {key: ref for key, ref in self.storages.items() if not ref[0].expired()}
        self.storages = kept
        return sum(size for _, size in kept.values())


def watched(sequence, learns=True):
    """Bytes alive after the forward pass, at the peak of both, and when all is done."""
    x = draw(2, 3, 4, seed=0).requires_grad_()
    sequence.requires_grad_(learns)
    gc.disable()  # what lives in a cycle would stay
    try:
        with Watch() as watch:
            out = sequence(x)
            after = watch.alive()
            out.sum().backward()
            del out
            sequence.zero_grad()
            x.grad = None
            return after, watch.peak, watch.alive()
    finally:
        gc.enable()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_memory_does_not_grow_with_depth(dropout):
    watched(sequence_of(1, 4, 0))  # what PyTorch loads at its first call leaves a cycle behind
    short, long = (watched(sequence_of(depth, 4, 0, dropout)) for depth in (2, 12))
    assert short[0] == long[0] == 3 * (2 * 3 * 4) * 8  # both streams and their sum, float64
    assert short[2] == long[2] == 0, "something outlives the backward pass"
    one = sum(parameter.nbytes for parameter in sequence_of(1, 4, 0).parameters())
    assert long[1] - short[1] <= 10 * one, "more than the gradients of ten more blocks"
    kept = watched(keeping(sequence_of(12, 4, 0, dropout)))
    assert kept[0] > 20 * long[0], "what autograd keeps otherwise"


def test_memory_does_not_grow_at_all_when_only_the_input_learns():
    short, long = (watched(sequence_of(depth, 4, 0), learns=False) for depth in (2, 12))
    assert short == long


def test_the_graph_is_one_node_whatever_the_depth():
    def nodes(out):
        seen, todo = set(), [out.grad_fn]
        while todo:
            node = todo.pop()
            if node is not None and node not in seen:
                seen.add(node)
                todo += [following for following, _ in node.next_functions]
        return [node.name() for node in seen if "AccumulateGrad" not in node.name()]

    x = draw(2, 3, 4, seed=0)
    short, long = (nodes(sequence_of(depth, 4, 0)(x)) for depth in (1, 12))
    assert sorted(short) == sorted(long) and len(short) == 2  # all blocks, and the sum


# --- copies, compilation, processes ---------------------------------------------------------------


def test_copies_and_files_give_the_same():
    sequence = sequence_of(3, 4, seed=0, prob_survival=0.7)
    x = draw(2, 3, 4, seed=1).requires_grad_()
    expected = grads_of(sequence, x)
    file = io.BytesIO()
    torch.save(sequence, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    fresh = sequence_of(3, 4, seed=9, prob_survival=0.7)
    fresh.load_state_dict(sequence.state_dict())
    for other in (copy.deepcopy(sequence), loaded, fresh):
        assert_same_grads(grads_of(other, x), expected, tolerance=0)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=slow)])
def test_layers_may_be_compiled_in_place(backend):
    sequence = sequence_of(3, 4, seed=0, dropout=0.0)
    x = draw(2, 3, 4, seed=1).requires_grad_()
    expected = grads_of(sequence, x)
    torch._dynamo.reset()
    for block in sequence.blocks:
        block.f.compile(backend=backend)
        block.g.compile(backend=backend)
    assert_same_grads(grads_of(sequence, x), expected, 1e-9)
    torch._dynamo.reset()


MODELS = {  # name: kind, chance of a layer to survive
    "reversible": (ReversibleSequence, 1.0),
    "reversible, dropped": (ReversibleSequence, 0.5),
    "sequential, dropped": (SequentialSequence, 0.5),
}
BATCHES = draw(3, 4, 3, 4, seed=0)  # three steps of four texts


def model_of(name):
    kind, survival = MODELS[name]
    torch.manual_seed(1)
    pairs = [(Mix(4), Scaled(4)) for _ in range(4)]
    if kind is SequentialSequence:
        pairs = [f for f, _ in pairs]
    return kind(pairs, prob_survival=survival).double()


def steps(model, batches):
    """Gradient descent; the gradients at each step."""
    history = []
    for batch in batches:
        model.zero_grad()
        model(batch).square().mean().backward()
        history.append([parameter.grad for parameter in model.parameters()])
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.1)
    return history


def one_of_two(rank, folder):
    """A process of two: half of each batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name, (_, survival) in MODELS.items():
        model = model_of(name)
        model = DistributedDataParallel(model, find_unused_parameters=survival < 1)
        torch.manual_seed(7 + rank)  # the first process draws for both
        found[name] = steps(model, BATCHES[:, 2 * rank : 2 * rank + 2])
    torch.save(found, f"{folder}/{rank}")
    dist.destroy_process_group()


def test_two_processes_learn_what_one_does(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    zero, one = (torch.load(tmp_path / str(rank)) for rank in (0, 1))
    for name in MODELS:
        model = model_of(name)
        torch.manual_seed(7)
        expected = steps(model, BATCHES)
        dropped = sum(grad is None for grads in expected for grad in grads)
        assert (dropped > 0) == (MODELS[name][1] < 1)
        for step, grads in enumerate(expected):
            for here, there, whole in zip(zero[name][step], one[name][step], grads, strict=True):
                if whole is None:  # neither has one, or nothing but zeros
                    assert all(grad is None or not grad.any() for grad in (here, there))
                else:
                    torch.testing.assert_close(here, whole, rtol=1e-10, atol=1e-14)
                    assert torch.equal(here, there)
