"""Figures of lesson 02, causal masking."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gmlp.corpus import encode
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.reach import as_it_answers, check_positions, jacobian_of, reach


def visible(token: int) -> str:
    """A byte as one printable character."""
    return {10: "⏎", 32: "␣"}.get(token) or (chr(token) if 32 < token < 127 else "·")


@torch.no_grad()
def moves(model: nn.Module, tokens: Tensor) -> Tensor:
    """How far each output moves when one token is changed: ``(n changed, n outputs)``.

    The largest change of a logit; exactly 0 where nothing moved. A token is changed to the next in
    the vocabulary.
    """
    with as_it_answers(model):
        before = model(tokens[None])[0]  # (n, v)
        rows = []
        for j in range(len(tokens)):
            changed = tokens.clone()
            changed[j] = (changed[j] + 1) % before.shape[-1]
            rows.append((model(changed[None])[0] - before).abs().amax(-1))
    return torch.stack(rows)


def causal_probe(models: nn.Module | Mapping[str, nn.Module], text: str | bytes) -> Figure:
    """Change one byte of a text: which outputs move, and how far?

    Args:
        models: a model ``(b, n) -> (b, n, v)`` over bytes, or several by name.
        text: at most 128 bytes, and what the models can read.

    Raises:
        ValueError: a text that is too long for the figure or a model.
    """
    named = {"the model": models} if isinstance(models, nn.Module) else dict(models)
    tokens = encode(text)
    n = len(tokens)
    check_positions("causal_probe", n)
    characters = [visible(token) for token in tokens.tolist()]
    arrays, texts, panels, grids, said, seen = {}, {}, [], [], [], []
    for k, (name, model) in enumerate(named.items()):
        moved = moves(model, tokens)
        early = moved.tril(-1) != 0
        arrays[f"moved{k}"] = Array(moved, ("changed", "output"), log=True)
        outputs, leaks = (moved != 0).sum(1).tolist(), early.sum(1).tolist()
        texts[f"count{k}"] = Texts(
            [f"{a} outputs move, {b} before it" for a, b in zip(outputs, leaks, strict=True)],
            ("changed",),
        )
        leaking = int(early.any(1).sum())
        caption = "Empty: not moved at all. The stronger the colour, the more it moved (log scale)."
        panels.append(
            Panel(
                "strip",
                f"{name}: touch a byte, see which outputs move",
                x="output",
                pick="changed",
                array=f"moved{k}",
                text="characters",
                alt=f"{name}: one cell for each output, coloured by how far it moves",
            )
        )
        grids.append(
            Panel(
                "grid",
                name,
                x="changed",
                y="output",
                array=f"moved{k}",
                xlabel="byte that was changed",
                ylabel="output",
                caption=caption,
                alt=f"{name}: how far every output moves, for every byte that is changed",
            )
        )
        said.append(f"{name}: {{count{k}}}")
        seen.append(f"in {name}, {leaking} of {n} bytes move an output that stands before them")
    texts["characters"] = Texts(characters, ("output",))
    start = n // 2
    return Figure(
        title="Change one byte: which outputs move?",
        alt=f"Each byte of a text of {n} is changed in turn, and the outputs that move are "
        f"coloured: {'; '.join(seen)}.",
        variables=[
            Variable(
                "changed",
                n,
                "byte that is changed",
                start,
                labels=[f"{j} “{c}”" for j, c in enumerate(characters)],
            )
        ],
        arrays=arrays,
        texts=texts,
        panels=panels + grids,
        note=f"Byte {{changed}} is changed. {'; '.join(said)}.",
    )


def jacobian(model: nn.Module, text: str | bytes | Tensor) -> Figure:
    """What a model's form allows, and what its gradients say: which input moves which output?

    Beside a model whose form cannot be told from outside, such as one of your own classes, stands
    what a model that writes may read: itself and what came before.

    Args:
        model: ``(b, n) -> (b, n, v)`` with an ``nn.Embedding``, trained or not.
        text: bytes, or tokens ``(n,)``; at most 128, and what the model can read.

    Raises:
        ValueError: a text that is too long for the figure or the model.
    """
    tokens = text if isinstance(text, Tensor) else encode(text)
    n = len(tokens)
    check_positions("jacobian", n)
    measured = jacobian_of(model, tokens)
    try:
        allowed, title = reach(nn.Sequential(*model.children()), n), "foretold from its form"
    except TypeError:
        allowed = torch.ones(n, n, dtype=torch.bool).tril()
        title = "what a model that writes may read"
    wrong = int(((measured != 0) & ~allowed).sum())
    silent = int(((measured == 0) & allowed).sum())
    axes: Any = {"x": "input", "y": "output", "xlabel": "input j", "ylabel": "output i"}
    start = {"output": 2 * n // 3, "input": n // 3}
    return Figure(
        title="What may be read, and what is",
        alt=f"Two squares of {n} by {n}: what may be read, and the measured gradient of every "
        f"output by every input on a log scale. {wrong} gradients stand where nothing may be read; "
        f"{silent} others are exactly zero.",
        variables=[
            Variable("output", n, "output i", start["output"]),
            Variable("input", n, "input j", start["input"]),
        ],
        arrays={
            "allowed": Array(allowed, ("output", "input"), "boolean"),
            "measured": Array(measured, ("output", "input"), log=True),
        },
        texts={
            "can": Texts(
                ["can" if x else "cannot" for x in allowed.flatten().tolist()],
                ("output", "input"),
                (n, n),
            )
        },
        panels=[
            Panel(
                "grid",
                title,
                array="allowed",
                caption="Blue: may be read.",
                alt="which input each output may read",
                **axes,
            ),
            Panel(
                "grid",
                "measured",
                array="measured",
                caption="Empty: exactly 0. Strong: a large gradient (log scale). Grey: NaN.",
                alt="the gradient of each output by each input",
                **axes,
            ),
        ],
        note="Output {output} {can} read input {input}; the gradient between them is {measured}.",
    )
