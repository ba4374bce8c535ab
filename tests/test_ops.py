"""Laws of the fast kernels, against slow ones that can be read, and of the cache."""

import os
import platform
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from unittest.mock import mock_open, patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, randomise
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gmlp import Cache, CausalSGU, ops
from gmlp.ops import causal_conv, causal_mix, local_mix, mix_rows, step

SLOW = pytest.mark.skipif(not os.environ.get("GMLP_TEST_ALL"), reason="slow: course.py test --all")

needs_onednn = pytest.mark.skipif(
    ops.ONEDNN_LINEAR is None, reason="this PyTorch was built without oneDNN"
)

SIZES = [127, 128, 129, 255, 256, 257, 300, 513]  # both sides of where blocks begin
BLOCKS = st.integers(1, 5) | st.just(ops.ROWS)  # of so few rows that small triangles have many
ONEDNN = st.none() | st.integers(1, 60)  # without it, or so many numbers at once
DRAWN = {"b": st.integers(1, 3), "h": st.integers(1, 3), "c": st.integers(1, 3)}
SEED = st.integers(0, 10**6)
THREADS = st.sampled_from([1, 2, 3, 4, 16])
LAYOUTS = st.lists(st.sampled_from(["plain", "turned", "cut"]), min_size=3, max_size=3)
WANTED = st.lists(st.booleans(), min_size=3, max_size=3).filter(any)
CUTS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def rows_slowly(v, weight, bias):
    """The last m of t positions; position i of them reads what is not later than t - m + i."""
    h, m, t = weight.shape
    may_read = torch.arange(t) <= torch.arange(t - m, t)[:, None]
    mixed = torch.einsum("hmt,bthc->bmhc", weight * may_read, v.unflatten(-1, (h, -1)))
    return (mixed + bias.T[..., None]).flatten(2)


def mix_slowly(v, weight, bias):
    """All of n positions, by the first n rows and columns."""
    n = v.shape[1]
    return rows_slowly(v, weight[:, :n, :n], bias[:, :n])


def local_mix_slowly(v, weight, bias):
    """All windows at once: for each pair of positions its place in W, if there is one."""
    w, i, j = bias.shape[1], torch.arange(v.shape[1])[:, None], torch.arange(v.shape[1])
    column = j - (i // w - 1) * w  # counted from where the previous window begins
    matrix = weight[:, i % w, column.clamp(0, 2 * w - 1)] * (column >= 0)
    return rows_slowly(v, matrix, bias[:, j % w])


def conv_slowly(x, weight, bias):
    e, n = weight.shape[-1], x.shape[1]
    out = [
        sum(weight[:, 0, k] * x[:, i - e + 1 + k] for k in range(e) if i - e + 1 + k >= 0)
        for i in range(n)
    ]
    return torch.stack(out, dim=1) + (0 if bias is None else bias)


def laid_out(x, layout):
    """The same numbers with other strides: of a transposed tensor, or of a part of a larger one."""
    if layout == "turned":
        return x.mT.contiguous().mT
    if layout == "cut":
        return nn.functional.pad(x, (1, 2) * x.ndim)[(slice(1, -2),) * x.ndim]
    return x


def agree(fast, slow, values, wanted=None, **tolerance):
    """Same values and same gradients; nothing that was given has changed."""
    inputs = [x.detach().requires_grad_(wanted is None or wanted[i]) for i, x in enumerate(values)]
    before = [x.detach().clone() for x in inputs]
    leaves = [x for x in inputs if x.requires_grad]
    out, expected = fast(*inputs), slow(*inputs)
    torch.testing.assert_close(out, expected, **tolerance)
    for upstream in (
        torch.ones_like(out[(slice(1),) * out.ndim]).expand_as(out),
        draw(*out.shape, seed=9),
    ):
        ours = torch.autograd.grad(out, leaves, upstream, retain_graph=True)
        theirs = torch.autograd.grad(expected, leaves, upstream, retain_graph=True)
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, **tolerance)
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))


def as_function(module):
    """The module as a function of its input and of its parameters, in their order."""
    names = [name for name, _ in module.named_parameters()]
    return lambda x, *values: torch.func.functional_call(
        module, dict(zip(names, values, strict=True)), (x,)
    )


def stepped(module, x, cuts):
    """The outputs of ``module`` when it reads ``x`` in pieces, of these lengths in turn."""
    cache, out, done = Cache(), [], 0
    while done < x.shape[1]:
        m = cuts[len(out) % len(cuts)]
        out.append(step(module, x[:, done : done + m], cache))
        done += m
    return torch.cat(out, dim=1)


class Gated(nn.Module):
    """A unit whose last input channels, as many as it returns, are an attention's output."""

    def __init__(self, unit):
        super().__init__()
        self.unit = unit

    def forward(self, both):
        return self.unit(both[..., : self.unit.dim], both[..., self.unit.dim :])

    def step(self, both, cache):
        return self.unit.step(both[..., : self.unit.dim], cache, both[..., self.unit.dim :])


def mix_inputs(b, n, larger, h, c, seed=0):
    """`larger` rows and columns of W are not used."""
    n_w = n + larger
    return draw(b, n, h * c, seed=seed), draw(h, n_w, n_w, seed=seed + 1), draw(h, n_w, seed=seed)


def rows_inputs(b, m, t, h, c, seed=0):
    return draw(b, t, h * c, seed=seed), draw(h, m, t, seed=seed + 1), draw(h, m, seed=seed + 2)


def local_inputs(b, n, w, h, c, seed=0):
    return draw(b, n, h * c, seed=seed), draw(h, w, 2 * w, seed=seed + 1), draw(h, w, seed=seed + 2)


def linear_inputs(shape, d, biased, layout, seed, dtype=torch.float64):
    """An input of so many positions, a weight and perhaps a bias of a layer from d[0] to d[1]."""
    sizes = [(*shape, d[0]), (d[1], d[0]), (d[1],)][: 2 + biased]
    values = [draw(*size, seed=seed + k, dtype=dtype) for k, size in enumerate(sizes)]
    return [*map(laid_out, values[:2], layout), *values[2:]]


LAYERED = {"layout": LAYOUTS, "wanted": WANTED, "seed": SEED, **DRAWN}


@contextmanager
def as_if_by_onednn(numbers=None):
    """All products as oneDNN would be asked for them, with so many numbers of a batch at once.

    Itself it takes no float64, but it is a linear layer (the law above).
    """
    with ExitStack() as patches:
        if numbers is not None:
            patches.enter_context(patch.object(ops, "by_onednn", lambda *given: True))
            patches.enter_context(patch.object(ops, "onednn_linear", nn.functional.linear))
            patches.enter_context(patch.object(ops, "AT_ONCE", numbers))
        yield


@needs_onednn
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    d=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    biased=st.booleans(),
    layout=LAYOUTS,
    seed=SEED,
)
@DRAWS
def test_onednn_is_a_linear_layer(shape, d, biased, layout, seed):
    """And is given weights that are whole, or turned: others it would take number by number."""

    def whole(x, weight, *more):
        assert weight.is_contiguous() or weight.t().is_contiguous()
        return multiply(x, weight, *more)

    multiply = ops.ONEDNN_LINEAR
    values = linear_inputs(shape, d, biased, layout, seed, torch.float32)
    with patch.object(ops, "ONEDNN_LINEAR", whole):
        found = ops.onednn_linear(*values)
    expected = nn.functional.linear(*values)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    d=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    biased=st.booleans(),
    layout=LAYOUTS,
    wanted=WANTED,
    seed=SEED,
)
@DRAWS
def test_a_linear_layer_by_way_of_onednn(shape, d, biased, layout, wanted, seed):
    """With its gradients, and theirs."""
    values = linear_inputs(shape, d, biased, layout, seed)
    wanted = wanted[:2] if any(wanted[:2]) else [True, False]
    with as_if_by_onednn(1):
        agree(ops.linear, nn.functional.linear, values, [*wanted, True])
        values = [x.detach().requires_grad_() for x in values]
        assert torch.autograd.gradgradcheck(ops.linear, values)


def test_a_large_input_of_the_wrong_width_is_named_as_by_pytorch():
    with patch.object(ops, "ONEDNN", True):
        assert ops.linear(torch.zeros(2048), torch.zeros(2048, 2048)).shape == (2048,)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            ops.linear(torch.zeros(1, 512, 255), torch.zeros(256, 256))


@needs_onednn
def test_flops_are_counted_by_way_of_onednn_too():
    layer, x = ops.Linear(64, 256), torch.zeros(2, 256, 64, requires_grad=True)
    for yes in (False, True):
        with patch.object(ops, "ONEDNN", yes), FlopCounterMode(display=False) as counter:
            assert ops.by_onednn(x, layer.weight) == yes
            layer(x).sum().backward()
        assert counter.get_total_flops() == 3 * 2 * 512 * 64 * 256


@needs_onednn
@pytest.mark.parametrize("size", [(1, 700, 64, 256), (3, 256, 96, 160), (1, 1024, 130, 66)])
def test_a_large_linear_layer_by_way_of_onednn(size):
    """Its gradients lie in memory as those of nn.Linear, which distributed training expects, and
    which a reversible model, that returns many at once, would otherwise have twice.
    """
    b, n, d_in, d_out = size
    torch.manual_seed(0)
    ours, usual = ops.Linear(d_in, d_out), nn.Linear(d_in, d_out)
    usual.load_state_dict(ours.state_dict())
    values = [draw(*shape, seed=1, dtype=torch.float32) for shape in ((b, n, d_in), (b, n, d_out))]
    found = []
    with patch.object(ops, "ONEDNN", True):
        assert ops.by_onednn(values[0], ours.weight)
        for layer in (ours, usual):
            x = values[0].clone().requires_grad_()
            out = layer(x)
            wanted = (x, *layer.parameters())
            found.append([out, *torch.autograd.grad(out, wanted, values[1])])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
        assert mine.stride() == theirs.stride()


def test_only_large_products_in_float32_go_by_way_of_onednn():
    x, weight = torch.zeros(1, 64, 256), torch.zeros(256, 256)
    assert ops.ONEDNN or not ops.by_onednn(x, weight)
    with patch.object(ops, "ONEDNN", True):
        assert ops.by_onednn(x, weight)
        assert not ops.by_onednn(x[:, 1:], weight)
        assert not ops.by_onednn(x[..., 1:], weight[:, 1:])
        assert not ops.by_onednn(x.double(), weight.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not ops.by_onednn(x, weight)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does")
def test_freed_memory_is_kept_for_the_next_step():
    """Pages that the system had to find in steps like those before, of 20 to 60 MB at once."""
    program = """
import resource, torch
from gmlp.ops import keep_freed_memory

keep_freed_memory()
found = 0
for tensors in (3, 4, 5, 6, 7):
    for _ in range(11):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        activations = [torch.ones(2_000_000) for _ in range(tensors)]
        del activations
    found += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(found)
"""
    env = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    run = [sys.executable, "-c", program]
    found = subprocess.run(run, env=env, check=True, capture_output=True).stdout
    assert int(found) < 100  # of 2,000 for each tensor


@pytest.mark.parametrize("maker", ["AuthenticAMD", "GenuineIntel"])
def test_who_made_the_processor_is_read_from_the_system(maker, monkeypatch):
    linux = mock_open(read_data=f"processor\t: 0\nvendor_id\t: {maker}\n")
    with patch("builtins.open", linux):
        assert ops.cpu_is_by_amd() == (maker == "AuthenticAMD")
    with patch("builtins.open", side_effect=FileNotFoundError):
        monkeypatch.setenv("PROCESSOR_IDENTIFIER", f"Family 25 Model 97 Stepping 2, {maker}")
        assert ops.cpu_is_by_amd() == (maker == "AuthenticAMD")
        monkeypatch.delenv("PROCESSOR_IDENTIFIER")
        assert not ops.cpu_is_by_amd()


@given(n=st.integers(1, 12), larger=st.integers(0, 3), blocks=BLOCKS, onednn=ONEDNN, **LAYERED)
@DRAWS
def test_causal_mix_is_the_masked_sum(n, larger, blocks, onednn, layout, wanted, seed, b, h, c):
    """For inputs of any layout, with gradients for some of them only, in blocks of any size."""
    inputs = list(map(laid_out, mix_inputs(b, n, larger, h, c, seed), layout))
    with patch.object(ops, "ROWS", blocks), as_if_by_onednn(onednn):
        agree(causal_mix, mix_slowly, inputs, wanted)


@given(m=st.integers(1, 9), past=st.integers(0, 9), threads=THREADS, **LAYERED)
@DRAWS
def test_some_rows_are_the_masked_sum_of_the_last(m, past, threads, layout, wanted, seed, b, h, c):
    inputs = list(map(laid_out, rows_inputs(b, m, m + past, h, c, seed), layout))
    with patch.object(torch, "get_num_threads", lambda: threads):
        agree(mix_rows, rows_slowly, inputs, wanted)


@given(n=st.integers(1, 16), w=st.integers(1, 9), blocks=BLOCKS, onednn=ONEDNN, **LAYERED)
@DRAWS
def test_local_mix_is_the_sum_over_two_windows(n, w, blocks, onednn, layout, wanted, seed, b, h, c):
    inputs = list(map(laid_out, local_inputs(b, n, w, h, c, seed), layout))
    with patch.object(ops, "ROWS", blocks), as_if_by_onednn(onednn):
        agree(local_mix, local_mix_slowly, inputs, wanted)


@given(
    b=DRAWN["b"],
    n=st.integers(1, 9),
    d=st.integers(1, 4),
    e=st.integers(1, 6),
    biased=st.booleans(),
    layout=LAYOUTS,
    wanted=WANTED,
    seed=SEED,
)
@DRAWS
def test_causal_conv_is_the_sum_over_the_filter(b, n, d, e, biased, layout, wanted, seed):
    x, weight, bias = draw(b, n, d, seed=seed), draw(d, 1, e, seed=seed + 1), draw(d, seed=seed + 2)
    x, weight = laid_out(x, layout[0]), laid_out(weight, layout[1])
    if biased:
        agree(causal_conv, conv_slowly, [x, weight, bias], wanted)
    elif any(wanted[:2]):
        fast, slow = (lambda *xs, f=f: f(*xs, None) for f in (causal_conv, conv_slowly))
        agree(fast, slow, [x, weight], wanted)


@pytest.mark.parametrize("h", [1, 2])
@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize("n", SIZES)
def test_causal_mix_of_many_positions(n, b, h):
    inputs = mix_inputs(b, n, 10, h, 2)
    agree(causal_mix, mix_slowly, inputs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("m", "t"), [(1, 513), (2, 300), (257, 300), (300, 300)])
def test_some_rows_of_many_positions(m, t):
    for b in (1, 2):
        agree(mix_rows, rows_slowly, rows_inputs(b, m, t, 2, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("h", [1, 2])
@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize(
    ("n", "w"),
    [*((n, 40) for n in SIZES), (513, 128), (300, 256), (513, 256), (513, 300), (5, 300)],
)
def test_local_mix_of_many_positions(n, w, b, h):
    inputs = local_inputs(b, n, w, h, 2)
    agree(local_mix, local_mix_slowly, inputs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("h", [1, 2])
@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize("n", [40, 300])
def test_what_is_mixed_may_be_added_to_in_place(n, b, h):
    """As a unit adds what its attention says, whichever product made the gate."""

    def in_place(mix):
        def added(v, *more):
            mixed = mix(v, *more)
            mixed += v.sin()
            return mixed

        return added

    def slowly(mix):
        return lambda v, *more: mix(v, *more) + v.sin()

    agree(in_place(causal_mix), slowly(mix_slowly), mix_inputs(b, n, 10, h, 2))
    for w in (16, 20, 300):  # windows that fill n, that do not, and one of many rows
        agree(in_place(local_mix), slowly(local_mix_slowly), local_inputs(b, n, w, h, 2))


@pytest.mark.parametrize(("n", "e"), [(300, 8), (513, 2), (70, 33), (5, 16)])
def test_causal_conv_of_many_positions(n, e):
    x, weight, bias = draw(2, n, 3, seed=0), draw(3, 1, e, seed=1), draw(3, seed=2)
    agree(causal_conv, conv_slowly, [x, weight, bias], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("blocks", [2, ops.ROWS])
@pytest.mark.parametrize(
    ("mix", "inputs"),
    [
        (causal_mix, mix_inputs(2, 5, 1, 2, 2)),
        (mix_rows, rows_inputs(2, 3, 5, 2, 2)),
        (local_mix, local_inputs(2, 5, 3, 2, 2)),
        (causal_conv, (draw(2, 5, 2, seed=0), draw(2, 1, 3, seed=1), draw(2, seed=2))),
    ],
)
def test_gradients_are_those_of_finite_differences(mix, inputs, blocks):
    with patch.object(ops, "ROWS", blocks):
        assert torch.autograd.gradcheck(mix, [x.detach().requires_grad_() for x in inputs])


@pytest.mark.parametrize(
    ("mix", "inputs", "diagonal"),
    [
        *((causal_mix, mix_inputs(2, n, 0, 2, 2), 0) for n in (1, 6, *SIZES)),
        *((mix_rows, rows_inputs(2, m, 300, 2, 2), 300 - m) for m in (1, 5, 200)),
        *((local_mix, local_inputs(2, 2 * w + 1, w, 2, 2), w) for w in (1, 4, 128, 256, 300)),
    ],
)
def test_what_stands_above_the_diagonal_never_counts_and_never_learns(mix, inputs, diagonal):
    """Whatever stands there, even what is not a number."""
    v, weight, bias = inputs
    later = torch.ones_like(weight, dtype=torch.bool).triu(diagonal + 1)
    other = weight.masked_fill(later, torch.nan).requires_grad_()
    out = mix(v, other, bias)
    torch.testing.assert_close(out, mix(v, weight, bias))
    out.square().sum().backward()
    assert (other.grad[later] == 0).all()
    assert (other.grad[~later] != 0).all()


KERNELS = [
    *((causal_mix, mix_slowly, mix_inputs(2, n, 4, 2, 3)) for n in (6, 300)),
    (mix_rows, rows_slowly, rows_inputs(2, 2, 6, 2, 3)),
    *((local_mix, local_mix_slowly, local_inputs(2, n, w, 2, 3)) for n, w in [(7, 3), (600, 256)]),
    (causal_conv, conv_slowly, (draw(2, 7, 3, seed=0), draw(3, 1, 4, seed=1), draw(3, seed=2))),
]
each_kernel = pytest.mark.parametrize(("fast", "slow", "inputs"), KERNELS)


@each_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept(fast, slow, inputs, dtype):
    inputs = [x.detach().to(dtype).requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    out, expected = fast(*inputs), slow(*exact)
    upstream = draw(*out.shape, seed=9).to(dtype)
    found = torch.autograd.grad(out, inputs, upstream)
    wanted = torch.autograd.grad(expected, exact, upstream.double())
    for mine, other in zip((out, *found), (expected, *wanted), strict=True):
        assert mine.dtype == dtype
        assert (mine - other).norm() <= 10 * torch.finfo(dtype).eps * other.norm()


@each_kernel
def test_without_gradients(fast, slow, inputs):
    inputs = [x.detach().requires_grad_() for x in inputs]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            out = fast(*inputs)
            assert not out.requires_grad
            torch.testing.assert_close(out, slow(*inputs))


@each_kernel
def test_autocast(fast, slow, inputs):
    """In bfloat16, as a matrix product; and every input gets a gradient of its own dtype."""
    inputs = [x.detach().float().requires_grad_() for x in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = fast(*inputs)
    assert out.dtype == torch.bfloat16
    expected = slow(*inputs)
    found = torch.autograd.grad(out.float().square().sum(), inputs)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    for mine, other in zip((out, *found), (expected, *wanted), strict=True):
        assert (mine - other).norm() <= 0.02 * other.norm()
    assert all(mine.dtype == torch.float32 for mine in found)


@SLOW
@pytest.mark.parametrize(("fast", "slow", "inputs"), KERNELS[1:4] + KERNELS[-1:])
def test_compiled(fast, slow, inputs):
    """One of each kind."""
    torch.compiler.reset()
    agree(torch.compile(fast), slow, inputs, rtol=1e-9, atol=1e-9)


@given(n=st.integers(1, 20), cuts=CUTS, seed=SEED)
@DRAWS
def test_append_gives_all_that_was_read(n, cuts, seed):
    """Each owner its own, whatever becomes of the pieces afterwards."""
    cache, owners, done = Cache(), (nn.Identity(), nn.Identity()), 0
    texts = draw(2, 2, n, 3, seed=seed)
    while done < n:
        m = min(cuts[done % len(cuts)], n - done)
        for owner, x in zip(owners, texts, strict=True):
            assert cache.read(owner) == done
            piece = x[:, done : done + m].clone()
            assert torch.equal(cache.append(owner, piece), x[:, : done + m])
            piece.zero_()
            assert cache.read(owner) == done + m
        done += m


@given(n=st.integers(1, 20), w=st.integers(1, 6), cuts=CUTS, seed=SEED)
@DRAWS
def test_windows_are_the_one_before_and_the_own(n, w, cuts, seed):
    cache, owner, x = Cache(), nn.Identity(), draw(2, n, 3, seed=seed)
    padded = torch.cat((torch.zeros(2, w, 3, dtype=x.dtype), x), dim=1)
    taken = done = 0
    while done < n:
        size = cuts[done % len(cuts)]
        for first, stop, seen in cache.append_windows(owner, x[:, done : done + size], w):
            assert done + first == taken
            taken = done + stop
            start = (taken - 1) // w * w  # of the own window; in `padded`, of the one before
            assert done + first >= start  # the piece does not cross the end of a window
            assert torch.equal(seen, padded[:, start : taken + w])
            assert cache.read(owner) == taken
        done = min(done + size, n)
        assert taken == done


@given(n=st.integers(1, 12), size=st.integers(0, 6), cuts=CUTS, seed=SEED)
@DRAWS
def test_a_tail_is_what_stood_before(n, size, cuts, seed):
    cache, owner, x = Cache(), nn.Identity(), draw(2, n, 3, seed=seed)
    padded = torch.cat((torch.zeros(2, size, 3, dtype=x.dtype), x), dim=1)
    done = 0
    while done < n:
        new = x[:, done : done + cuts[done % len(cuts)]]
        seen = cache.append_tail(owner, new, size)
        assert torch.equal(seen, padded[:, done : done + size + new.shape[1]])
        done += new.shape[1]
        assert cache.read(owner) == done


def test_every_residue_of_every_fold_has_a_cache_of_its_own():
    cache, folds = Cache(), (nn.Identity(), nn.Identity())
    found = [own for fold in folds for own in cache.residues(fold, 3)]
    again = [own for fold in folds for own in cache.residues(fold, 3)]
    assert len({id(own) for own in (cache, *found)}) == 7
    assert all(a is b for a, b in zip(found, again, strict=True))


@given(
    positions=st.sampled_from([(1, 1), (1, 1), (1, 3), (3, 1)]),
    d_in=st.integers(1, 9),
    d_out=st.integers(1, 9),
    biased=st.booleans(),
    threads=THREADS,
    seed=SEED,
)
@DRAWS
def test_a_linear_layer_steps_as_it_is(positions, d_in, d_out, biased, threads, seed):
    linear, cache = nn.Linear(d_in, d_out, bias=biased), Cache()
    x = draw(*positions, d_in, seed=seed, dtype=torch.float32)
    with torch.no_grad(), patch.object(torch, "get_num_threads", lambda: threads):
        for _ in range(2):
            torch.testing.assert_close(step(linear, x, cache), linear(x))
    step(linear, x, cache).sum().backward()  # where a gradient is wanted there is one
    torch.testing.assert_close(linear.weight.grad, x.sum((0, 1)).expand(d_out, -1))


@given(
    positions=st.sampled_from([(1, 1), (1, 2), (2, 1)]),
    d=st.integers(1, 40),
    layout=st.sampled_from(["plain", "turned", "cut"]),
    approximate=st.sampled_from(["none", "tanh"]),
    seed=SEED,
)
@DRAWS
def test_a_gelu_steps_as_it_is(positions, d, layout, approximate, seed):
    gelu, x = nn.GELU(approximate), laid_out(draw(*positions, d, seed=seed), layout)
    with torch.no_grad():
        torch.testing.assert_close(step(gelu, x, Cache()), gelu(x))


@pytest.mark.parametrize(("d_in", "d_out"), [(3, 4), (4, 2)])
def test_all_residues_of_a_fold_share_the_parts_of_a_weight(d_in, d_out):
    cache, linear = Cache(), nn.Linear(d_in, d_out)
    with patch.object(torch, "get_num_threads", lambda: 2):
        parts = [own.in_parts(linear) for own in (cache, *cache.residues(nn.Identity(), 4))]
    weight, bias = parts[0]
    assert torch.equal(torch.cat([*weight], dim=1), linear.weight.t())
    assert torch.equal(torch.cat([*bias], dim=1)[0], linear.bias)
    assert {part.data_ptr() for part, _ in parts} == {weight.data_ptr()}


def test_two_caches_know_nothing_of_each_other():
    unit, x = randomise(CausalSGU(8, 5), 0).double(), draw(1, 5, 8, seed=1)
    other = draw(2, 5, 8, seed=2)
    caches, pieces = (Cache(), Cache()), ([], [])
    for i in range(5):
        for cache, text, out in zip(caches, (x, other), pieces, strict=True):
            out.append(unit.step(text[:, i : i + 1], cache))
    torch.testing.assert_close(torch.cat(pieces[0], 1), unit(x))
    torch.testing.assert_close(torch.cat(pieces[1], 1), unit(other))


@given(n=st.integers(1, 9), cuts=CUTS, seed=SEED)
@DRAWS
def test_a_chain_of_layers_goes_on_where_it_was(n, cuts, seed):
    chain = nn.Sequential(
        nn.Linear(3, 8),
        nn.Sequential(nn.GELU(), CausalSGU(8, 9), nn.Identity()),
        nn.LayerNorm(4),
        nn.Tanh(),
        CausalSGU(4, 9),
        nn.Dropout(0.5),
    )
    chain, x = randomise(chain, seed).double().eval(), draw(2, n, 3, seed=seed)
    torch.testing.assert_close(stepped(chain, x, cuts), chain(x))


@pytest.mark.parametrize("module", [nn.Conv1d(4, 4, 1), nn.GRU(4, 4), nn.Softmax(dim=1)])
def test_a_layer_that_may_look_back_and_has_no_step_is_named(module):
    with pytest.raises(TypeError, match=f"{type(module).__name__} has no step.*cached=False"):
        step(nn.Sequential(nn.Identity(), module), torch.zeros(1, 1, 4), Cache())
