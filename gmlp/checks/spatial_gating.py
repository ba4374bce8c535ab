"""Lesson 01: what a right, and each known wrong, answer looks like."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from gmlp.checks.core import Draw, Exercise, Misconception
from gmlp.spatial_gating import spatial_mix


def _draw_mix(rng: Draw) -> tuple[Any, ...]:
    b, n, h, d = rng.sizes(4)
    return rng.normal(b, n, h * d), rng.normal(h, n, n), rng.normal(h, n)


def _heads_interleaved(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (d h) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ v + bias[:, :, None], "b h n d -> b n (d h)")


def _heads_read_interleaved(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (d h) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ v + bias[:, :, None], "b h n d -> b n (h d)")


def _heads_by_view(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = v.reshape(v.shape[0], weight.shape[0], v.shape[1], -1)
    return (weight @ v + bias[:, :, None]).transpose(1, 2).flatten(2)


def _bias_along_channels(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ v + bias[:, None, :], "b h n d -> b n (h d)")


def _bias_first(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    v = rearrange(v, "b n (h d) -> b h n d", h=weight.shape[0])
    return rearrange(weight @ (v + bias[:, :, None]), "b h n d -> b n (h d)")


def _einsum(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    b, n, c = v.shape
    groups = v.reshape(b, n, len(weight), -1)
    mixed = torch.einsum("hij,bjhd->bihd", weight, groups) + bias.T[:, :, None]
    return mixed.reshape(b, n, c)


def _head_by_head(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    groups = v.chunk(len(weight), dim=-1)
    return torch.cat([w @ g + b[:, None] for w, g, b in zip(weight, groups, bias, strict=True)], -1)


def _triple_loop(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.zeros_like(v)
    heads, n, _ = weight.shape
    d = v.shape[-1] // heads
    for h in range(heads):
        group = slice(h * d, (h + 1) * d)
        for i in range(n):
            out[:, i, group] = bias[h, i]
            for j in range(n):
                out[:, i, group] += weight[h, i, j] * v[:, j, group]
    return out


EXERCISES = (
    Exercise(
        name="spatial_mix",
        lesson="01_spatial_gating",
        axes="b n d",
        draw=_draw_mix,
        solution=spatial_mix,
        alternatives=(_einsum, _head_by_head, _triple_loop),
        misconceptions=(
            Misconception(
                "weight transposed",
                lambda v, weight, bias: spatial_mix(v, weight.mT, bias),
                "Your weight is transposed: position i collects with column i, not with row i.",
                "Which index of weight[h, i, j] is summed away? The sum runs over the last one.",
            ),
            Misconception(
                "bias forgotten",
                lambda v, weight, bias: spatial_mix(v, weight, torch.zeros_like(bias)),
                "The mixing is right, but the bias is missing.",
                "Each head adds one number to each position: bias[h, i].",
            ),
            Misconception(
                "bias along channels",
                _bias_along_channels,
                "Your bias lies along the channels: its n numbers meet the channels of a head.",
                "Broadcasting lines shapes up from the right. Which axis must the bias gain, and "
                "where?",
            ),
            Misconception(
                "bias before mixing",
                _bias_first,
                "You add the bias before the mixing, so the weight mixes the bias as well.",
                "In the formula the bias stands outside the sum over j.",
            ),
            Misconception(
                "bias of one head",
                lambda v, weight, bias: spatial_mix(v, weight, bias[:1].expand_as(bias)),
                "Every head gets the bias of head 0.",
                "bias has a row for each head; bias[0] is only the first.",
            ),
            Misconception(
                "matrix of one head",
                lambda v, weight, bias: spatial_mix(v, weight[:1].expand_as(weight), bias),
                "Every head mixes with the matrix of head 0.",
                "Head h has a matrix of its own, weight[h], for its own group of channels.",
            ),
            Misconception(
                "heads interleaved",
                _heads_interleaved,
                "Your heads take every h-th channel: with 2 heads, one the even and one the odd.",
                "Groups are consecutive: the first c / h channels belong to head 0. In einops, the "
                "letter on the left of a bracket is the slow one.",
            ),
            Misconception(
                "heads cut one way, joined another",
                _heads_read_interleaved,
                "You cut the channels as (d h) and join them as (h d), so they change places.",
                "Cut and join with the same bracket, and let consecutive channels share a head.",
            ),
            Misconception(
                "positions reshaped into heads",
                _heads_by_view,
                "Your reshape to (b, h, n, d) cuts across positions: it renumbers the entries, it "
                "does not move an axis.",
                "Split the channel axis first, to (b, n, h, d). Then move the axis of heads.",
            ),
        ),
        hints=(
            "Take one head and one batch row. What are the shapes of weight[0] and of its channels "
            "of v[0], and which product of the two sums over positions?",
            "Give the heads an axis of their own: split (b, n, c) into (b, n, h, d) and bring h to "
            "the front of n. A matrix product acts on the last two axes.",
            "rearrange 'b n (h d) -> b h n d'; weight @ that; plus the bias with a trailing axis "
            "of "
            "size 1; then rearrange back.",
        ),
    ),
)
