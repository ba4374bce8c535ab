"""Figures of lesson 12, scaling up."""

import math
from collections.abc import Mapping, Sequence

import torch

from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable

TOKENS = tuple(2**k for k in range(12))  # 1 … 2048
LOWEST = -1.984  # log10 of a percent: with 100 above, the engine's marks are 0.01, 1 and 100


def roofline(
    peak_flops: float,
    peak_bytes: float,
    *,
    dim: int = 2048,
    itemsize: int = 4,
    name: str = "this processor",
    others: Mapping[str, tuple[float, float, int]] | None = None,
    tokens: Sequence[int] = TOKENS,
) -> Figure:
    """What bounds the product ``(tokens, dim) @ (dim, 4 * dim)``: arithmetic, or memory?

    Each number is read or written once, so this is the best that a machine can do. For comparison
    ``u * v``, number by number: it reads two, does one operation and writes one.

    Args:
        peak_flops, peak_bytes: most operations, and bytes read or written, a second.
        dim: channels.
        itemsize: bytes of a number.
        name: what the machine is called.
        others: more machines: ``(peak_flops, peak_bytes, itemsize)``.
        tokens: how many rows the slider offers.

    Raises:
        ValueError: a rate or a size that is not above zero.

    Source: Williams, Waterman & Patterson 2009, "Roofline" (Communications of the ACM 52, 4).
    """
    machines = {name: (peak_flops, peak_bytes, itemsize), **(others or {})}
    if min(dim, *tokens, *(number for rates in machines.values() for number in rates)) <= 0:
        raise ValueError(
            f"rates and sizes must be above 0; got dim={dim}, tokens={tuple(tokens)}, {machines}"
        )
    rows = torch.tensor(tokens, dtype=torch.float64)  # (t,)
    rates = torch.tensor(list(machines.values()), dtype=torch.float64)  # (machine, 3)
    flops, bandwidth, size = rates[:, :, None].unbind(1)  # (machine, 1) each
    work = 2 * rows * dim * 4 * dim  # (t,)
    moved = size * (rows * dim + dim * 4 * dim + rows * 4 * dim)  # (machine, t)
    needs = torch.stack((work / flops, moved / bandwidth), dim=-1)  # (machine, t, need): seconds
    longest = needs.amax(-1)  # (machine, t)
    share = needs[..., 0] / longest  # of the peak
    gating = (1 / (3 * size) * bandwidth / flops).clamp(max=1).expand_as(share)
    bound = needs[..., 1] > needs[..., 0]  # by memory
    low = min(LOWEST, math.log10(100 * min(share.min().item(), gating.min().item())))
    labels = [f"{count:,}" for count in tokens]
    dims = ("machine", "tokens")

    def written(values: Sequence[str]) -> Texts:
        return Texts(values, dims, tuple(share.shape))

    first = next((t for t, memory in zip(tokens, bound[0].tolist(), strict=True) if not memory), 0)
    until = f"from {first} on the arithmetic sets it" if first else "up to the last"
    return Figure(
        title="What bounds a product?",
        alt=f"The share of {name}'s peak that a product of {dim} by {4 * dim} channels can reach, "
        f"over the number of tokens at once: {share[0, 0]:.2g} with {tokens[0]}, "
        f"{share[0, -1]:.2g} with {tokens[-1]:,}. Memory sets the limit at first; {until}.",
        variables=[
            Variable("tokens", len(tokens), "tokens at once", labels=labels, play=500),
            Variable("machine", len(machines), "machine", labels=list(machines)),
        ],
        arrays={
            "product": Array(100 * share, dims, low=low, high=2.0, log=True),
            "gating": Array(100 * gating, dims, low=low, high=2.0, log=True),
            "needs": Array(needs / longest[..., None], (*dims, "need"), low=0, high=1),
        },
        texts={
            "intensity": written([f"{value:.1f}" for value in (work / moved).flatten().tolist()]),
            "ridge": Texts.of((flops / bandwidth)[:, 0], ("machine",), "{:.3g}"),
            "reached": written([percent(value) for value in share.flatten().tolist()]),
            "limit": written(
                ["memory" if memory else "arithmetic" for memory in bound.flatten().tolist()]
            ),
            "each": written(
                [time(value) for value in (longest / rows).flatten().tolist()],
            ),
            "need": Texts(["compute", "move bytes"], ("need",)),
        },
        panels=[
            Panel(
                "line",
                "percent of the peak, log scale",
                x="tokens",
                lines=("product", "gating"),
                names=("the product", "u * v"),
                xlabel="tokens at once",
                alt="the share of the peak that each operation can reach, over the tokens at once",
            ),
            Panel(
                "bars",
                "time needed; the longer of the two = 1",
                x="need",
                array="needs",
                text="need",
                alt="the time for the arithmetic beside the time for moving the bytes",
            ),
        ],
        note="Machine: {machine}. Tokens at once: {tokens}. That makes {intensity} FLOPs for each "
        "byte; to be busy it wants {ridge}. The limit is set by {limit}: at best {reached} of the "
        "peak, {each} a token.",
    )


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def time(seconds: float) -> str:
    for unit, name in ((1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"
