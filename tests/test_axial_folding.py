"""Laws of lesson 08."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, moved, randomise, reach
from test_ops import CUTS, agree, as_function, stepped
from torch import nn

from gmlp import AxiallyFold, CausalLocalSGU, CausalSGU, gMLPBlock

sizes = {
    "b": st.integers(1, 2),
    "n": st.integers(1, 13),
    "e": st.integers(2, 5),
    "w": st.none() | st.integers(1, 4),
    "seed": st.integers(0, 10**6),
}
D = 3


def layer_of(length, w):
    sgu = CausalSGU(6, length) if w is None else CausalLocalSGU(6, length, window=w)
    return gMLPBlock(D, 6, sgu)


def fold_of(n, e, w, seed):
    return randomise(AxiallyFold(D, e, layer_of(-(-n // e), w)), seed).double()


def is_read(i, j, w):
    return j <= i and (w is None or i // w - j // w <= 1)


@given(**sizes)
@DRAWS
def test_the_fold_is_its_equation(b, n, e, w, seed):
    """Each sequence by itself, no padding; then the filter, term by term."""
    fold = fold_of(n, e, w, seed)
    names = [name.removeprefix("fn.") for name, _ in fold.named_parameters()]
    assert names[-2:] == ["conv.weight", "conv.bias"]

    def equation(x, *values):
        *of_fn, kernel, a = values
        layer = as_function(fold.fn)
        y = [None] * n
        for residue in range(min(e, n)):
            for place, out in enumerate(layer(x[:, residue::e], *of_fn).unbind(1)):
                y[residue + place * e] = out
        return torch.stack(
            [
                sum(kernel[:, 0, k] * y[i - e + 1 + k] for k in range(e) if i - e + 1 + k >= 0) + a
                for i in range(n)
            ],
            dim=1,
        )

    agree(as_function(fold), equation, [draw(b, n, D, seed=seed), *fold.parameters()])


@given(taps=st.lists(st.booleans(), min_size=5, max_size=5), **sizes)
@DRAWS
def test_it_reads_what_the_layer_reads_in_the_sequences_that_the_filter_joins(
    taps, b, n, e, w, seed
):
    """Some of the filter's terms are zero. With the last one alone a position reads only what
    stands a multiple of e before it; with all of them every sequence is heard."""
    fold, x = fold_of(n, e, w, seed), draw(b, n, D, seed=seed)
    on = [k for k in range(e) if taps[k]]
    with torch.no_grad():
        fold.conv.weight[..., [k for k in range(e) if not taps[k]]] = 0
    expected = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for p in (i - e + 1 + k for k in on):
            for j in range(n):
                expected[i, j] |= p >= 0 and (p - j) % e == 0 and is_read(p // e, j // e, w)
    assert torch.equal(reach(fold, x), expected)


@given(position=st.integers(0, 12), **sizes)
@DRAWS
def test_no_position_reads_a_later_one(position, b, n, e, w, seed):
    position %= n
    fold, x = fold_of(n, e, w, seed), draw(b, n, D, seed=seed)
    found = moved(fold, x, position)
    assert min(found) == position
    if w is None:  # and then every later one hears of it
        assert found == list(range(position, n))


@given(cut=st.integers(1, 13), cuts=CUTS, **sizes)
@DRAWS
def test_step_is_forward_however_the_text_is_cut(cut, cuts, b, n, e, w, seed):
    fold, x = fold_of(n, e, w, seed), draw(b, n, D, seed=seed)
    whole = fold(x)
    torch.testing.assert_close(stepped(fold, x, cuts), whole)
    torch.testing.assert_close(fold(x[:, :cut]), whole[:, :cut])


@given(cuts=CUTS, b=sizes["b"], n=sizes["n"], w=sizes["w"], seed=sizes["seed"])
@DRAWS
def test_a_fold_of_one_is_the_layer_itself(cuts, b, n, w, seed):
    layer, x = randomise(layer_of(n, w), seed).double(), draw(b, n, D, seed=seed)
    fold = AxiallyFold(D, 1, layer)
    assert torch.equal(fold(x), layer(x))
    torch.testing.assert_close(stepped(fold, x, cuts), layer(x))
    assert [id(p) for p in fold.parameters()] == [id(p) for p in layer.parameters()]


@given(**sizes)
@DRAWS
def test_folds_may_be_folded(b, n, e, w, seed):
    """Two folds around a layer deal the positions to 2 e sequences, and step goes on in each."""
    inner = AxiallyFold(D, 2, layer_of(-(-n // (2 * e)), w))
    fold = randomise(AxiallyFold(D, e, inner), seed).double()
    x = draw(b, n, D, seed=seed)
    torch.testing.assert_close(stepped(fold, x, [3, 1]), fold(x))
    with torch.no_grad():
        for conv in (fold.conv, inner.conv):
            conv.weight.zero_()[..., -1] = 1
            conv.bias.zero_()
    expected = torch.empty_like(x)
    for residue in range(min(2 * e, n)):
        expected[:, residue :: 2 * e] = inner.fn(x[:, residue :: 2 * e])
    torch.testing.assert_close(fold(x), expected)


def test_far_tokens_become_neighbours():
    """A window of 2 sees 3 positions back at most; folded eight times, 24 and more."""
    layer = layer_of(40, 2)
    plain = randomise(AxiallyFold(D, 1, layer), 0).double()
    folded = randomise(AxiallyFold(D, 8, layer_of(5, 2)), 0).double()
    x = draw(1, 40, D, seed=1)
    assert reach(plain, x)[31].nonzero().min() == 28
    assert reach(folded, x)[31].nonzero().min() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dtype_is_kept(dtype):
    fold, x = fold_of(7, 3, None, 0), draw(2, 7, D, seed=1)
    expected = fold(x)
    fold, x = fold.to(dtype), x.to(dtype)
    for found in (fold(x), stepped(fold, x, [3])):
        assert found.dtype == dtype
        assert (found.double() - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("every", [0, -2])
def test_a_fold_below_one_is_named(every):
    with pytest.raises(ValueError, match=f"at least 1; got every={every}"):
        AxiallyFold(D, every, nn.Identity())
