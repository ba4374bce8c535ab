"""What every causal layer and model must obey, for the tests of the lessons."""

import os

import torch
from hypothesis import HealthCheck, settings
from torch import Tensor, nn

# `course.py test --all` draws ten times as many examples.
DRAWS = settings(
    max_examples=500 if os.environ.get("GMLP_TEST_ALL") else 50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Give every parameter a large random value: near its start a wrong layer often looks right."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def moved(module: nn.Module, x: Tensor, position: int) -> list[int]:
    """Positions whose output changes when the input at ``position`` does."""
    changed = x.clone()
    changed[:, position] = draw(*x[:, position].shape, seed=99, dtype=x.dtype)
    return (module(x) - module(changed)).abs().amax((0, 2)).nonzero().flatten().tolist()


def reach(module: nn.Module, x: Tensor) -> Tensor:
    """(n, n) of bool: does output i depend on input j, by the Jacobian?"""
    jacobian = torch.autograd.functional.jacobian(lambda t: module(t).sum((0, 2)), x)
    return jacobian.abs().sum((1, 3)) > 0  # (n, b, n, d) -> (n, n)
