"""The learning rates of lesson 04: a gMLP and a Transformer, each at several rates.

    python -m benchmarks.learning_rates

Both get the same batches, steps and schedule. Writes benchmarks/results/learning_rates.json, from
which lesson 04 takes each one's best rate. About five minutes on two CPU cores.
"""

import json
import platform
from pathlib import Path

import torch
from torch import Tensor, nn

from gmlp import gMLPGPT, load_corpus, split_corpus, train

STEPS, CONTEXT, BATCH, DIM, DEPTH = 200, 64, 12, 128, 4
RATES = [1e-3, 2e-3, 4e-3, 8e-3, 16e-3]
RESULT = Path(__file__).parent / "results" / "learning_rates.json"


class Transformer(nn.Module):
    """nanoGPT's CPU shape: 4 layers, 4 heads, 128 channels, pre-norm, GELU."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            DIM, 4, 4 * DIM, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.embed = nn.Embedding(256, DIM)
        self.position = nn.Embedding(CONTEXT, DIM)
        self.layers = nn.TransformerEncoder(layer, DEPTH, nn.LayerNorm(DIM), False)
        self.to_logits = nn.Linear(DIM, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        n = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(n)
        x = self.embed(tokens) + self.position.weight[:n]
        return self.to_logits(self.layers(x, mask=mask, is_causal=True))


def gmlp() -> gMLPGPT:
    return gMLPGPT(num_tokens=256, dim=DIM, depth=DEPTH, seq_len=CONTEXT)


def main() -> None:
    train_text, valid_text = split_corpus(load_corpus("pydocs"))
    runs = []
    for name, make in (("gMLP", gmlp), ("Transformer", Transformer)):
        for peak in RATES:
            torch.manual_seed(0)
            model = make()
            last = train(
                model,
                train_text,
                valid_text,
                steps=STEPS,
                context=CONTEXT,
                batch_size=BATCH,
                peak=peak,
                eval_every=STEPS,
            )[-1]
            run = {
                "model": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "peak": peak,
                "valid_bits": round(last.valid_bits, 4),
                "cpu_seconds": round(last.cpu_seconds, 1),
            }
            print(run, flush=True)
            runs.append(run)
    best = {
        name: min((run for run in runs if run["model"] == name), key=lambda run: run["valid_bits"])
        for name in ("gMLP", "Transformer")
    }
    result = {
        "made_by": "python -m benchmarks.learning_rates",
        "device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "steps": STEPS,
        "context": CONTEXT,
        "batch": BATCH,
        "best_peak": {name: run["peak"] for name, run in best.items()},
        "runs": runs,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
