"""A causal gMLP language model, one module a lesson. Import a part, or all of it from here."""

from gmlp.causal_masking import CausalSGU
from gmlp.corpus import count_bits, decode, encode, load_corpus, split_corpus
from gmlp.generation import generate
from gmlp.residual_blocks import GEGLU, FeedForward, PreNorm, Residual, gMLPBlock
from gmlp.spatial_gating import SpatialGatingUnit, spatial_mix
from gmlp.training import (
    LanguageModel,
    bits_per_byte,
    evaluate,
    learning_rate,
    load_checkpoint,
    load_tiny,
    sample_batch,
    save_checkpoint,
    train,
)

__version__ = "0.1.0"

__all__ = [
    "GEGLU",
    "CausalSGU",
    "FeedForward",
    "LanguageModel",
    "PreNorm",
    "Residual",
    "SpatialGatingUnit",
    "bits_per_byte",
    "count_bits",
    "decode",
    "encode",
    "evaluate",
    "gMLPBlock",
    "generate",
    "learning_rate",
    "load_checkpoint",
    "load_corpus",
    "load_tiny",
    "sample_batch",
    "save_checkpoint",
    "spatial_mix",
    "split_corpus",
    "train",
]
