"""Every figure that can be touched, with models that are at hand: ``gmlp figures``."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gmlp.causal_masking import CausalSGU
from gmlp.corpus import encode, load_corpus, split_corpus
from gmlp.full_model import gMLPGPT
from gmlp.residual_blocks import PreNorm, Residual, gMLPBlock
from gmlp.spatial_gating import SpatialGatingUnit
from gmlp.tasks import recall_batch
from gmlp.training import LanguageModel, load_tiny, train
from gmlp.viz.axial_folding import axial_folding
from gmlp.viz.capstone import seeds
from gmlp.viz.causal_masking import causal_probe, jacobian
from gmlp.viz.figure import Figure
from gmlp.viz.full_model import receptive_field, receptive_fields
from gmlp.viz.generation import filtered_chances, generation
from gmlp.viz.layer_dropout import survivors
from gmlp.viz.local_windows import local_windows
from gmlp.viz.residual_blocks import gradient_by_depth
from gmlp.viz.reversible_layers import reversible_memory
from gmlp.viz.scaling_up import roofline
from gmlp.viz.spatial_gating import sgu_row
from gmlp.viz.tiny_attention import attention_rows
from gmlp.viz.training import filters, training_weights

TEXT = b"A model that writes may not look ahead."


def _causal_probe() -> Figure:
    unmasked = stack(SpatialGatingUnit, depth=1, seq_len=64)
    return causal_probe({"without a mask": unmasked, "with a mask": load_tiny()}, TEXT)


def _training_weights() -> Figure:
    torch.manual_seed(0)
    model = stack(CausalSGU, depth=1, seq_len=32)
    data, valid = split_corpus(load_corpus("pydocs"))
    steps, matrices = [], []

    def note(done: int) -> None:
        steps.append(done)
        matrices.append(units(model)[0].mixing_matrix(32).detach().clone())

    run = {"steps": 240, "context": 32, "eval_every": 20, "progress": False}
    history = train(model, data, valid[:4096], on_eval=note, **run)  # type: ignore[arg-type]
    return training_weights(steps, matrices, [record.valid_bits for record in history])


def _filters() -> Figure:
    layers = units(load_tiny())
    return filters({f"layer {k + 1}": u.mixing_matrix(48)[0] for k, u in enumerate(layers)})


def _sgu_row() -> Figure:
    torch.manual_seed(0)
    unit = CausalSGU(8, 8)
    nn.init.normal_(unit.weight, std=0.5)
    return sgu_row(unit, torch.randn(8, 8))


def _attention_rows() -> Figure:
    torch.manual_seed(0)
    model = gMLPGPT(num_tokens=16, dim=32, depth=2, seq_len=25, attn_dim=16)
    tokens, _ = recall_batch(3, keys=8, values=8, pairs=13, seed=0)
    return attention_rows(model, tokens, list("abcdefgh12345678"))


def _seeds() -> Figure:
    """Three made-up models, of which two lie close together."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(5, generator=generator) * 0.02
    results = {
        name: (mean + common + 0.01 * torch.randn(5, generator=generator)).tolist()
        for name, mean in (("A", 2.17), ("B", 2.19), ("C", 2.25))
    }
    return seeds(results)


def _gradient_by_depth() -> Figure:
    """Stacks of plain layers, and of the same with a residual."""
    x = torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0))

    def heard(residual: bool, depth: int) -> list[float]:
        torch.manual_seed(0)
        blocks = [gMLPBlock(8, 32, CausalSGU(32, 16)) for _ in range(depth)]
        entering = [x.requires_grad_()]
        for block in blocks:
            out = block(entering[-1])
            entering.append(entering[-1] + out if residual else out)
        gradients = torch.autograd.grad(entering[-1].square().mean(), entering[:-1])
        return [gradient.norm().item() for gradient in gradients]

    return gradient_by_depth(
        {
            name: [heard(residual, depth) for depth in range(1, 13)]
            for name, residual in (("plain", False), ("residual", True))
        }
    )


def _receptive_field() -> Figure:
    torch.manual_seed(0)
    windows = ((4, 1), (4, 1), (4, 4), (4, 1))
    return receptive_field(
        gMLPGPT(num_tokens=256, dim=8, depth=4, seq_len=64, ff_mult=2, window=windows)
    )


def _generation() -> Figure:
    return generation(load_tiny(), "The gate ", 32, temperature=0.7)


def _filtered_chances() -> Figure:
    with torch.no_grad():
        logits = load_tiny()(encode("The p")[None])[0, -1]  # (v,)
    filters = {"no filter": lambda row: row, "top-p 0.9": _top_p}
    return filtered_chances(logits, filters, [k / 2 for k in range(1, 7)], after="The p")


def _top_p(logits: Tensor) -> Tensor:
    chances, order = logits.softmax(-1).sort(descending=True)
    return logits.index_fill(0, order[chances.cumsum(0) - chances >= 0.9], -torch.inf)


FIGURES: dict[str, Callable[[], Figure]] = {
    "causal_probe": _causal_probe,
    "jacobian": lambda: jacobian(load_tiny(), TEXT),
    "sgu_row": _sgu_row,
    "gradient_by_depth": _gradient_by_depth,
    "training_weights": _training_weights,
    "filters": _filters,
    "filtered_chances": _filtered_chances,
    "generation": _generation,
    "local_windows": local_windows,
    "axial_folding": axial_folding,
    "reversible_memory": reversible_memory,
    "receptive_field": _receptive_field,
    "receptive_fields": receptive_fields,
    "attention_rows": _attention_rows,
    "survivors": survivors,
    "roofline": lambda: roofline(1e11, 2e10),
    "seeds": _seeds,
}


def stack(unit: type[SpatialGatingUnit], depth: int, seq_len: int) -> LanguageModel:
    """A small language model over bytes whose matrices are large enough to be seen."""
    torch.manual_seed(0)
    blocks = nn.Sequential(
        *(Residual(PreNorm(32, gMLPBlock(32, 64, unit(64, seq_len)))) for _ in range(depth))
    )
    for part in blocks.modules():
        if isinstance(part, SpatialGatingUnit):
            nn.init.normal_(part.weight, std=0.05)
    return LanguageModel(256, 32, seq_len, blocks)


def units(model: nn.Module) -> list[SpatialGatingUnit]:
    return [part for part in model.modules() if isinstance(part, SpatialGatingUnit)]
