"""What every causal layer and model must obey, for the tests of the lessons."""

import os

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, nn

# `course.py test --all` draws ten times as many examples.
DRAWS = settings(
    max_examples=500 if os.environ.get("GMLP_TEST_ALL") else 50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def randomise(module: nn.Module, seed: int, scale: float = 1.0) -> nn.Module:
    """Give every parameter a large random value: near its start a wrong layer often looks right."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator).mul_(scale)
    return module


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def moved(module: nn.Module, x: Tensor, position: int) -> list[int]:
    """Positions whose output changes when the input at ``position`` does."""
    changed = x.clone()
    changed[:, position] = draw(*x[:, position].shape, seed=10**7, dtype=x.dtype)
    return (module(x) - module(changed)).abs().amax((0, 2)).nonzero().flatten().tolist()


def reach(module: nn.Module, x: Tensor) -> Tensor:
    """(n, n) of bool: does output i depend on input j, by the Jacobian?"""
    jacobian = torch.autograd.functional.jacobian(lambda t: module(t).sum((0, 2)), x)
    return jacobian.abs().sum((1, 3)) > 0  # (n, b, n, d) -> (n, n)


@st.composite
def model_arguments(pick) -> dict:
    """Arguments of gMLPGPT, small: windows, folds, heads, attention, act, both sequences."""
    depth, seq_len, heads = (pick(st.sampled_from(range(1, top + 1))) for top in (3, 12, 2))
    # sampled_from, because integers() and | prefer the small and the simple: hardly any folds.
    width = st.sampled_from([None, *range(1, seq_len + 3)])
    size = st.sampled_from([None, 1, 2, 3])
    layer = st.tuples(width, st.sampled_from(range(1, 6)))
    window = pick(
        st.sampled_from([width, st.tuples(*[layer] * depth), st.tuples(*[width] * depth)])
    )
    attn_dim = pick(st.sampled_from([st.none(), size, st.tuples(*[size] * depth)]))
    return {
        "num_tokens": 7,
        "dim": 4 * heads,
        "depth": depth,
        "seq_len": seq_len,
        "heads": heads,
        "ff_mult": pick(st.integers(2, 3)),
        "reversible": pick(st.booleans()),
        "window": pick(window),
        "attn_dim": pick(attn_dim),
        "act": pick(st.sampled_from([nn.Identity(), nn.Tanh(), torch.tanh])),
    }


def tokens_of(b: int, n: int, seed: int) -> Tensor:
    """Random tokens for a model of ``model_arguments``."""
    return torch.randint(7, (b, n), generator=torch.Generator().manual_seed(seed))
