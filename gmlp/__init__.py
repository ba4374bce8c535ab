"""A causal gMLP language model, one module a lesson. Import a part, or all of it from here."""

from gmlp.axial_folding import AxiallyFold
from gmlp.causal_masking import CausalSGU
from gmlp.corpus import count_bits, decode, encode, load_corpus, split_corpus
from gmlp.full_model import gMLPGPT
from gmlp.generation import generate, stream
from gmlp.layer_dropout import SequentialSequence, dropout_layers
from gmlp.local_windows import CausalLocalSGU, LocalAttention, pad_to_multiple
from gmlp.ops import Cache
from gmlp.residual_blocks import GEGLU, FeedForward, PreNorm, Residual, gMLPBlock
from gmlp.reversible_layers import ReversibleBlock, ReversibleSequence
from gmlp.spatial_gating import SpatialGatingUnit, spatial_mix
from gmlp.tiny_attention import Attention
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
    "Attention",
    "AxiallyFold",
    "Cache",
    "CausalLocalSGU",
    "CausalSGU",
    "FeedForward",
    "LanguageModel",
    "LocalAttention",
    "PreNorm",
    "Residual",
    "ReversibleBlock",
    "ReversibleSequence",
    "SequentialSequence",
    "SpatialGatingUnit",
    "bits_per_byte",
    "count_bits",
    "decode",
    "dropout_layers",
    "encode",
    "evaluate",
    "gMLPBlock",
    "gMLPGPT",
    "generate",
    "learning_rate",
    "load_checkpoint",
    "load_corpus",
    "load_tiny",
    "pad_to_multiple",
    "sample_batch",
    "save_checkpoint",
    "spatial_mix",
    "split_corpus",
    "stream",
    "train",
]
