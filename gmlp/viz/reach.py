"""Who can be heard where: foretold from the form of a model, and measured by its gradients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gmlp.axial_folding import AxiallyFold
from gmlp.causal_masking import CausalSGU
from gmlp.local_windows import CausalLocalSGU, LocalAttention
from gmlp.ops import PER_TOKEN
from gmlp.residual_blocks import GEGLU, FeedForward, PreNorm, Residual, gMLPBlock
from gmlp.reversible_layers import ReversibleSequence
from gmlp.spatial_gating import SpatialGatingUnit
from gmlp.tiny_attention import Attention
from gmlp.viz.figure import Panel, Texts

PER_POSITION = (*PER_TOKEN, nn.Embedding, FeedForward, GEGLU)
POSITIONS = 128  # a figure draws a cell for each pair


@contextmanager
def as_it_answers(model: nn.Module) -> Iterator[None]:
    """The model in ``eval()``, whole and without dropout; afterwards as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def check_positions(name: str, n: int) -> None:
    if not 1 <= n <= POSITIONS:
        raise ValueError(
            f"{name} draws a cell for every pair of positions, at most {POSITIONS} of them; got {n}"
            f" (give it a shorter text)"
        )


def reading(array: str, verb: str, caption: str = "") -> tuple[Panel, Panel]:
    """Who reads whom: the row of one position as a strip, and all rows.

    For an array with the dimensions ``position`` and ``source``, and a text ``place``.
    """
    caption = caption or f"Blue: position i {verb} it."
    strip = Panel(
        "strip",
        f"what position i {verb}",
        x="source",
        pick="position",
        array=array,
        text="place",
        alt=f"one cell for each position, coloured if position i {verb} it",
    )
    grid = Panel(
        "grid",
        "every position",
        x="source",
        y="position",
        array=array,
        xlabel=f"{verb} j",
        ylabel="position i",
        caption=caption,
        alt=f"which position {verb} which",
    )
    return strip, grid


def places(n: int) -> Texts:
    return Texts([str(j) for j in range(n)], ("source",))


def reach(module: nn.Module, n: int) -> Tensor:
    """Which of ``n`` positions each position can read: ``(n, n)``, boolean, row reads column.

    Foretold from the masks and windows alone, whatever the weights are.

    Raises:
        TypeError: a module whose form is not known, as a class of your own.
    """
    everything = torch.ones(n, n, dtype=torch.bool)
    itself = torch.eye(n, dtype=torch.bool)
    kind = type(module)  # a subclass may mix as it likes
    if kind in (CausalLocalSGU, LocalAttention):
        assert isinstance(module, CausalLocalSGU | LocalAttention)  # for mypy
        window = torch.arange(n) // module.window
        return everything.tril() & (window[:, None] - window <= 1)
    if kind in (CausalSGU, Attention):
        return everything.tril()
    if kind is SpatialGatingUnit:
        return everything
    if isinstance(module, gMLPBlock):
        return reach(module.sgu, n) | (itself if module.attn is None else reach(module.attn, n))
    if isinstance(module, Residual):
        return itself | reach(module.fn, n)
    if isinstance(module, AxiallyFold):
        e, place = module.every, torch.arange(n)
        folded = reach(module.fn, -(-n // e))
        same = (place[:, None] - place) % e == 0
        after = everything.tril() & (place[:, None] - place < e)
        return follow(same & folded[place // e][:, place // e], after)
    if isinstance(module, ReversibleSequence):
        first = second = itself
        for block in module.blocks:
            first = first | follow(second, reach(block.f, n))
            second = second | follow(first, reach(block.g, n))
        return first | second
    if isinstance(module, PER_POSITION):
        return itself
    if isinstance(module, PreNorm):
        return reach(module.fn, n)
    if isinstance(module, nn.Sequential):
        whole = itself
        for part in module:
            whole = follow(whole, reach(part, n))
        return whole
    raise TypeError(f"what a {type(module).__name__} lets through cannot be told from outside")


def follow(first: Tensor, then: Tensor) -> Tensor:
    """What can be read through two modules, one after the other."""
    return (then.double() @ first.double()) > 0


def gradients(function: Callable[[Tensor], Tensor], x: Tensor, seed: int = 0) -> Tensor:
    """How strongly each output depends on each input: ``(n, n)``, exactly 0 where it does not.

    Entry ``(i, j)`` is the norm of the gradient of ``r · function(x)_i`` by ``x_j``, with ``r`` a
    fixed random direction.

    Args:
        function: ``(b, n, d) -> (b, n, c)``, each text by itself.
        x: ``(n, d)``.
    """
    n = len(x)
    rows = []
    for part in torch.arange(n).split(16):  # one copy of the text for each output that is asked
        copies = x.detach().expand(len(part), -1, -1).clone().requires_grad_()
        out = function(copies)  # (16, n, c)
        generator = torch.Generator().manual_seed(seed)
        direction = torch.randn(out.shape[-1], generator=generator, dtype=torch.float64)
        own = out[range(len(part)), part] @ direction.to(out)
        rows.append(torch.autograd.grad(own.sum(), copies)[0].norm(dim=-1))
    return torch.cat(rows)


def jacobian_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """:func:`gradients` of a model's logits by the embeddings of its tokens ``(n,)``.

    Any model ``(b, n) -> (b, n, v)`` will do that looks its tokens up in an ``nn.Embedding``, the
    first that it has.
    """
    embed = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    if embed is None:
        raise ValueError("a Jacobian is taken by what an nn.Embedding returns; this model has none")

    def logits(x: Tensor) -> Tensor:
        hook = embed.register_forward_hook(lambda *_: x)  # whatever the tokens are
        try:
            return model(tokens.expand(len(x), -1))
        finally:
            hook.remove()

    with as_it_answers(model):
        return gradients(logits, embed(tokens))
