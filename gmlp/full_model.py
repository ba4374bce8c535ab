"""Lesson 11, the full model: every part of the course, put together by a dozen arguments."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gmlp.axial_folding import AxiallyFold
from gmlp.causal_masking import CausalSGU
from gmlp.layer_dropout import SequentialSequence
from gmlp.local_windows import CausalLocalSGU, LocalAttention
from gmlp.ops import at_least_one
from gmlp.residual_blocks import FeedForward, PreNorm, Residual, gMLPBlock
from gmlp.reversible_layers import ReversibleSequence
from gmlp.tiny_attention import Attention
from gmlp.training import LanguageModel

Window = int | None | tuple[int | None, int]  # w, or (w, e) with the fold e


class gMLPGPT(LanguageModel):
    r"""A causal gMLP language model.

    Layer ``l`` of ``depth`` is a :class:`gMLPBlock` behind a norm, folded ``e_l`` times, with
    windows of ``w_l`` positions and an attention head of size ``k_l`` if wanted. Sequential layers
    add their output to their input; reversible ones are ``f`` of a :class:`ReversibleBlock` whose
    ``g`` is a feed-forward network, which makes them another, larger architecture.

    A fold leaves sequences of :math:`L = \lceil seq\_len / e \rceil` positions; a window of ``L``
    or more reads all of them, and the layer is a plain :class:`CausalSGU` over ``L``.

    Args:
        num_tokens: size ``v`` of the vocabulary; 256 for bytes.
        dim: channels ``d`` between the layers.
        depth: number of layers.
        seq_len: the largest number of positions ``n``.
        heads: groups of channels of each spatial gating unit; divides ``dim * ff_mult / 2``.
        ff_mult: inner channels are ``dim * ff_mult``.
        prob_survival: chance of a layer to take part in a training step.
        reversible: recompute activations in the backward pass, and add feed-forward layers.
        window: positions in a window, ``w``, for all layers; or a tuple of ``depth`` entries, each
            ``w`` or ``(w, e)`` with the fold ``e``. ``None`` reads everything.
        attn_dim: inner size of the attention head: one for all layers, or a tuple of ``depth`` of
            them; ``None`` has no attention.
        act: applied to the gate of each unit.
        dropout: chance of a layer's output to be set to zero in training.

    Shapes:
        ``tokens (b, n)`` integer ``-> logits (b, n, v)`` for every ``1 <= n <= seq_len``.

    Raises:
        ValueError: an argument that is out of range, by name, and what is allowed.

    Source: Liu et al. 2021, "Pay Attention to MLPs" (arXiv 2105.08050); arguments and their meaning
    are those of the PyPI package g-mlp-gpt 0.0.15, see :meth:`load_original`.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        dim: int,
        depth: int,
        seq_len: int,
        heads: int = 1,
        ff_mult: int = 4,
        prob_survival: float = 1.0,
        reversible: bool = False,
        window: int | Sequence[Window] | None = None,
        attn_dim: int | Sequence[int | None] | None = None,
        act: Callable[[Tensor], Tensor] = nn.Identity(),  # noqa: B008
        dropout: float = 0.0,
    ) -> None:
        at_least_one(
            num_tokens=num_tokens,
            dim=dim,
            depth=depth,
            seq_len=seq_len,
            heads=heads,
            ff_mult=ff_mult,
        )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got dropout={dropout}")
        dim_ff = dim * ff_mult
        if dim_ff % 2:
            raise ValueError(
                f"dim * ff_mult must be even, to be split in halves; got dim={dim}, "
                f"ff_mult={ff_mult}"
            )
        if (dim_ff // 2) % heads:
            raise ValueError(
                f"heads must divide dim * ff_mult / 2 = {dim_ff // 2}, the channels that are "
                f"mixed; got heads={heads}"
            )

        def mixer(w: int | None, e: int, k: int | None) -> nn.Module:
            length = -(-seq_len // e)  # positions of a folded sequence
            sgu: nn.Module
            attn: nn.Module | None = None
            if w is None or w >= length:
                sgu = CausalSGU(dim_ff, length, heads=heads, act=act)
                if k is not None:
                    attn = Attention(dim_in=dim, dim_out=dim_ff // 2, dim_inner=k)
            else:
                sgu = CausalLocalSGU(dim_ff, length, window=w, heads=heads, act=act)
                if k is not None:
                    attn = LocalAttention(dim_in=dim, dim_out=dim_ff // 2, dim_inner=k, window=w)
            fn: nn.Module = gMLPBlock(dim, dim_ff, sgu, attn, dropout=dropout)
            return PreNorm(dim, AxiallyFold(dim, e, fn) if e > 1 else fn)

        windows, sizes = windows_of(window, depth), sizes_of(attn_dim, depth)
        mixers = [mixer(w, e, k) for (w, e), k in zip(windows, sizes, strict=True)]
        blocks: nn.Module
        if reversible:
            blocks = ReversibleSequence(
                ((f, FeedForward(dim, ff_mult, dropout=dropout)) for f in mixers),
                prob_survival=prob_survival,
            )
        else:
            blocks = SequentialSequence(map(Residual, mixers), prob_survival=prob_survival)
        super().__init__(num_tokens, dim, seq_len, blocks)
        self.windows, self.heads = windows, heads

    def load_original(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take the weights of a model of g-mlp-gpt 0.0.15 that was made with the same arguments.

        The logits are then the same, but where the original has a local attention: it takes its
        keys for values and counts the padding of its first window. Its key projection is copied to
        where values are projected, with a warning, so that windows after the first agree.

        Raises:
            ValueError: weights that are missing, left over, or of another shape; nothing is loaded.
        """
        given = {name: t for name, t in state_dict.items() if not name.endswith(".sgu.mask")}
        advice = "make this model with the arguments of the one that was saved"
        taken: dict[str, Tensor] = {}
        for key, mine in self.state_dict().items():
            name, layer = self._original_name(key)
            if name not in given:
                raise ValueError(f"the state dict has no {name!r}, which {key!r} needs; {advice}")
            weight, shape = given.pop(name), tuple(mine.shape)
            w, e = (None, 1) if layer is None else self.windows[layer]
            if w is not None and w >= self.seq_len:
                w = None  # a window over everything is none, there too
            sgu = key.endswith((".sgu.weight", ".sgu.bias"))
            if sgu:  # it keeps matrices over all positions, or whole windows, where it folds too
                whole = (self.seq_len, self.seq_len) if w is None else (w, 2 * w)
                shape = (self.heads, *whole[: weight.ndim - 1])
            if tuple(weight.shape) != shape:
                raise ValueError(f"{name!r} is {tuple(weight.shape)}, not {shape}; {advice}")
            if sgu:
                if mine.ndim == 3 and w is not None and w * e >= self.seq_len:
                    weight = weight[:, :, w:]  # the own window; none stands before the first
                weight = weight[tuple(slice(size) for size in mine.shape)]
            if key.endswith(".attn.to_qkv.weight") and w is not None:
                q, k, _ = weight.chunk(3)
                weight = torch.cat((q, k, k))
                warnings.warn(
                    f"layer {layer}: g-mlp-gpt's LocalAttention never used its values; they are "
                    f"now its keys, as it computed. The first window read padding, and differs",
                    stacklevel=2,
                )
            taken[key] = weight
        if given:
            left = ", ".join(map(repr, list(given)[:4]))
            raise ValueError(f"this model has no place for {left}; {advice}")
        self.load_state_dict(taken)

    def _original_name(self, key: str) -> tuple[str, int | None]:
        """What g-mlp-gpt 0.0.15 calls our parameter ``key``, and its layer if it is in one."""
        outside = {
            "embed.weight": "to_embed.weight",
            "norm.weight": "to_logits.0.weight",
            "norm.bias": "to_logits.0.bias",
            "to_logits.weight": "to_logits.1.weight",
            "to_logits.bias": "to_logits.1.bias",
        }
        if key in outside:
            return outside[key], None
        if isinstance(self.blocks, ReversibleSequence):  # blocks.blocks.3.f.norm.weight
            _, _, layer, half, rest = key.split(".", 4)
            name = f"net.blocks.{layer}.{half}.net"
            if half == "g":
                return f"{name}.{rest}", int(layer)
        else:  # blocks.3.fn.norm.weight
            _, layer, _, rest = key.split(".", 3)
            name = f"net.layers.{layer}.0"
        _, e = self.windows[int(layer)]
        if e == 1 and rest.startswith("fn."):
            rest = f"fn.{rest}"  # it wraps a layer in a fold also where there is none
        return f"{name}.{rest}", int(layer)


def per_layer(name: str, given: Any, depth: int) -> list[Any]:
    """One entry for each layer, from one for all of them or a sequence."""
    listed = list(given) if isinstance(given, list | tuple) else [given] * depth
    if len(listed) != depth:
        raise ValueError(
            f"{name} must be one number, or a tuple with one entry for each of depth={depth} "
            f"layers; got {len(listed)} entries: {name}={given}"
        )
    return listed


def windows_of(window: int | Sequence[Window] | None, depth: int) -> list[tuple[int | None, int]]:
    """``(w, e)`` for each layer, checked."""
    pairs = []
    for entry in per_layer("window", window, depth):
        pair = entry if isinstance(entry, list | tuple) else (entry, 1)
        if len(pair) != 2:
            raise ValueError(f"an entry of window is w or (w, e); got {entry} in window={window}")
        w, e = pair
        if w is not None and w < 1:
            raise ValueError(f"a window must be at least 1, or None; got {w} in window={window}")
        if e < 1:
            raise ValueError(f"a fold must be at least 1; got {e} in window={window}")
        pairs.append((w, e))
    return pairs


def sizes_of(attn_dim: int | Sequence[int | None] | None, depth: int) -> list[int | None]:
    """The inner size of the attention of each layer, checked."""
    sizes = per_layer("attn_dim", attn_dim, depth)
    for size in sizes:
        if size is not None and size < 1:
            raise ValueError(f"attn_dim must be at least 1, or None; got {size} in {attn_dim}")
    return sizes
