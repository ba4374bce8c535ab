"""Make gmlp/assets/tiny.safetensors, the small model of lesson 00, and its card.

    python tools/train_tiny.py [--steps 1500]

Takes about five minutes on two CPU cores. The result is stored in half precision.
"""

import argparse
import platform
from pathlib import Path

import torch

from gmlp import (
    decode,
    encode,
    evaluate,
    generate,
    gMLPGPT,
    load_corpus,
    load_tiny,
    split_corpus,
    train,
)
from gmlp.training import save_tensors

ASSETS = Path(__file__).resolve().parent.parent / "gmlp" / "assets"
SIZE = {"num_tokens": 256, "dim": 120, "depth": 4, "seq_len": 128, "dim_ff": 480}

CARD = """# Model card: tiny

A causal gMLP language model over bytes, {parameters:,} parameters in half precision ({kilobytes} kB).
It ships with the course so that lesson 00 can show where the road leads.

| | |
|---|---|
| architecture | {depth} layers of `Residual(PreNorm(gMLPBlock))`, dim {dim}, dim_ff {dim_ff}, context {seq_len} |
| trained on | `load_corpus("pydocs")`, the first 90 % ({train_bytes:,} bytes), of Python {python} |
| training | {steps} steps of 16 windows, AdamW at 4e-3 with warm-up and cosine, {minutes:.0f} CPU minutes |
| bits per byte | {train_bits:.2f} on the training part, {valid_bits:.2f} on the last 10 %, which it has not seen |
| made by | `python tools/train_tiny.py`, torch {torch} |
| licence | MIT; the text it has read is Python's documentation (PSF licence) |

It knows the tone of a reference manual and nothing else. What it writes is not true, and not meant to be
used for anything but looking at how such a model works. With another version of Python the
bundled text differs a little, and some of what serves as validation text there may be text it has seen here.

A sample, from the prompt "The ", temperature 0.8, seed 0:

```
{sample}
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps

    train_text, valid_text = split_corpus(load_corpus("pydocs"))
    torch.manual_seed(0)
    shape = {name: size for name, size in SIZE.items() if name != "dim_ff"}
    model, seq_len = gMLPGPT(**shape, ff_mult=SIZE["dim_ff"] // SIZE["dim"]), SIZE["seq_len"]
    history = train(
        model, train_text, valid_text, steps=steps, context=seq_len, batch_size=16, eval_every=250
    )
    for record in history:
        print(record)

    weights = {name: value.half() for name, value in model.state_dict().items()}
    path = ASSETS / "tiny.safetensors"
    save_tensors(path, weights, SIZE)

    tiny = load_tiny()  # what readers will get, rounding included
    sample = generate(
        tiny, encode("The "), 400, temperature=0.8, generator=torch.Generator().manual_seed(0)
    )
    card = CARD.format(
        **SIZE,
        parameters=sum(p.numel() for p in model.parameters()),
        kilobytes=path.stat().st_size // 1000,
        train_bytes=len(train_text),
        python=platform.python_version(),
        steps=steps,
        minutes=history[-1].cpu_seconds / 60,
        train_bits=evaluate(tiny, train_text, seq_len),
        valid_bits=evaluate(tiny, valid_text, seq_len),
        torch=torch.__version__.split("+")[0],
        sample=decode(sample),
    )
    (ASSETS / "tiny.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
