"""Laws of lesson 06."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import DRAWS, draw, moved, randomise, reach
from test_ops import CUTS, agree, as_function, stepped

from gmlp import Attention, Cache
from gmlp.tiny_attention import attend

sizes = {
    "b": st.integers(1, 2),
    "n": st.integers(1, 8),
    "d": st.integers(1, 4),
    "out": st.integers(1, 4),
    "k": st.integers(1, 4),
    "seed": st.integers(0, 10**6),
}


def head_of(d, out, k, seed):
    """Of a size at which no share of the attention is so small that it rounds to nothing."""
    return randomise(Attention(dim_in=d, dim_out=out, dim_inner=k), seed, scale=0.5).double()


def attend_slowly(x, to_qkv, to_out, bias, may_read=lambda i, j: j <= i):
    """Position by position: how well does each key answer my query, and what does it tell me?"""
    q, k, v = (x @ part.T for part in to_qkv.chunk(3))
    out = []
    for i in range(x.shape[1]):
        read = [j for j in range(x.shape[1]) if may_read(i, j)]
        scores = torch.stack([(q[:, i] * k[:, j]).sum(-1) for j in read], dim=-1)  # (b, read)
        chances = (scores / math.sqrt(q.shape[-1])).exp()
        chances = chances / chances.sum(-1, keepdim=True)
        out.append(sum(chances[:, [r]] * v[:, j] for r, j in enumerate(read)))
    return torch.stack(out, dim=1) @ to_out.T + bias


@given(**sizes)
@DRAWS
def test_attention_is_softmax_written_out(b, n, d, out, k, seed):
    head = head_of(d, out, k, seed)
    agree(as_function(head), attend_slowly, [draw(b, n, d, seed=seed), *head.parameters()])


@given(position=st.integers(0, 7), **sizes)
@DRAWS
def test_no_position_reads_a_later_one(position, b, n, d, out, k, seed):
    position %= n
    head, x = head_of(d, out, k, seed), draw(b, n, d, seed=seed)
    assert moved(head, x, position) == list(range(position, n))
    assert torch.equal(reach(head, x), torch.ones(n, n, dtype=torch.bool).tril())


@given(cuts=CUTS, **sizes)
@DRAWS
def test_step_is_forward_however_the_text_is_cut(cuts, b, n, d, out, k, seed):
    head, x = head_of(d, out, k, seed), draw(b, n, d, seed=seed)
    torch.testing.assert_close(stepped(head, x, cuts), head(x))


@given(m=st.integers(1, 4), past=st.integers(0, 4), seed=sizes["seed"])
@DRAWS
def test_the_last_positions_attend_as_they_would_among_all(m, past, seed):
    q, k, v = (draw(2, m + past, 4, seed=seed + i) for i in range(3))
    whole = attend(q, k, v)
    torch.testing.assert_close(attend(q[:, past:], k, v), whole[:, past:])
    torch.testing.assert_close(whole[:, 0], v[:, 0])


def test_it_finds_by_content_what_stands_anywhere():
    """Keys are unit vectors, and the last query is the first half of one of them: it gets what
    that position holds, wherever it stands."""
    head = Attention(dim_in=8, dim_out=4, dim_inner=4).double()
    find, tell = torch.eye(8, dtype=torch.double).split(4)
    with torch.no_grad():
        head.to_qkv.weight.copy_(torch.cat((100 * find, find, tell)))
        head.to_out.weight.copy_(torch.eye(4))
        head.to_out.bias.zero_()
    for place in range(3):
        x = draw(1, 4, 8, seed=place)
        x[0, :3, :4] = torch.eye(4)[torch.arange(3).roll(place)]
        x[0, 3, :4] = x[0, place, :4]
        x[0, 3, 4:] = x[0, place, 4:]  # its own key answers too
        torch.testing.assert_close(head(x)[0, 3], x[0, place, 4:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dtype_is_kept(dtype):
    head, x = head_of(4, 6, 3, seed=0), draw(2, 7, 4, seed=1)
    expected = head(x)
    head, x = head.to(dtype), x.to(dtype)
    for found in (head(x), stepped(head, x, [3])):
        assert found.dtype == dtype
        assert (found.double() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("name", ["dim_in", "dim_out", "dim_inner"])
def test_sizes_below_one_are_named(name):
    with pytest.raises(ValueError, match=f"at least 1.*{name}=0"):
        Attention(**{"dim_in": 4, "dim_out": 4, "dim_inner": 4, name: 0})


def test_a_new_cache_is_a_new_text():
    head, x = head_of(3, 3, 2, seed=0), draw(1, 4, 3, seed=1)
    first = head.step(x, Cache())
    torch.testing.assert_close(head.step(x, Cache()), first)
