"""Figures of lesson 06, tiny attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gmlp.causal_masking import CausalSGU
from gmlp.tiny_attention import Attention
from gmlp.training import LanguageModel
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.plots import diagram
from gmlp.viz.reach import as_it_answers, check_positions


def shares(attention: Attention, x: Tensor) -> Tensor:
    """How each position shares its attention: ``(b, n, d) -> (b, n, n)``, rows that sum to 1."""
    q, k, _ = attention.to_qkv(x).chunk(3, dim=-1)  # (b, n, k)
    scores = q @ k.mT / attention.dim_inner**0.5
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(-1)


@torch.no_grad()
def attention_rows(model: LanguageModel, tokens: Tensor, names: Sequence[str]) -> Figure:
    """What a row of W reads, beside what attention reads, at every position of several texts.

    Args:
        model: its layers hold a :class:`gmlp.CausalSGU` with one head and a
            :class:`gmlp.Attention` each.
        tokens: ``(texts, n)``, at most 128 positions.
        names: what each token of the vocabulary is called, one or two characters.

    Raises:
        ValueError: too many positions, or a model without both parts in every layer.
    """
    count, n = tokens.shape
    check_positions("attention_rows", n)
    units = [m for m in model.modules() if type(m) is CausalSGU and m.heads == 1]
    heads = [m for m in model.modules() if type(m) is Attention]
    if not units or len(units) != len(heads):
        raise ValueError(
            f"attention_rows draws a CausalSGU with one head beside an Attention, layer by layer; "
            f"this model has {len(units)} and {len(heads)}"
        )
    seen: dict[Attention, Tensor] = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, x: seen.__setitem__(m, shares(m, x[0])))
        for m in heads
    ]
    try:
        with as_it_answers(model):
            answers = model(tokens).argmax(-1)  # (text, n)
    finally:
        for hook in hooks:
            hook.remove()
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    rows = torch.stack([unit.mixing_matrix(n)[0] for unit in units]).masked_fill(future, torch.nan)
    looks = torch.stack([seen[m] for m in heads], dim=1)  # (text, layer, position, place)
    looked = looks.argmax(-1)  # (text, layer, position)
    written = [[names[token] for token in text] for text in tokens.tolist()]
    flat = [name for text in written for name in text]
    four = ("text", "layer", "position", "place")
    layer, last = len(units) - 1, n - 1
    return Figure(
        title="What W reads, and what attention reads",
        alt=f"Two strips of {n} tokens, for the last position of “{' '.join(written[0])}”: the row "
        f"of W of layer {layer + 1}, which is the same for every text, and the attention, most of "
        f"which, {looks[0, layer, last].max().item():.2f}, lies on position "
        f"{looked[0, layer, last].item()}, “{written[0][int(looked[0, layer, last])]}”.",
        variables=[
            Variable("position", n, "position that reads", last),
            Variable("text", count, "text", 0, labels=[str(k + 1) for k in range(count)]),
            Variable(
                "layer", layer + 1, "layer", layer, labels=[str(k + 1) for k in range(layer + 1)]
            ),
        ],
        arrays={
            "row": Array(rows, ("layer", "position", "place"), "diverging"),
            "look": Array(looks.masked_fill(future, torch.nan), four, low=0, high=1),
        },
        texts={
            "written": Texts(flat, ("text", "place"), (count, n)),
            "here": Texts(flat, ("text", "position"), (count, n)),
            "says": Texts(
                [names[token] for token in answers.flatten().tolist()],
                ("text", "position"),
                (count, n),
            ),
            "most": Texts(
                [
                    f"{looks[t, k, i, j]:.2f}, to “{written[t][j]}” at {j}"
                    for t in range(count)
                    for k in range(layer + 1)
                    for i, j in enumerate(looked[t, k].tolist())
                ],
                ("text", "layer", "position"),
                (count, layer + 1, n),
            ),
        },
        panels=[
            Panel(
                "strip",
                "the row of W",
                x="place",
                pick="position",
                array="row",
                text="written",
                caption="Purple above 0, orange below. Grey: the future.",
                alt="the text, coloured by the row of W at the chosen position",
            ),
            Panel(
                "strip",
                "where attention looks",
                x="place",
                pick="position",
                array="look",
                text="written",
                caption="The darker, the larger the share; all shares sum to 1.",
                alt="the text, coloured by the attention of the chosen position",
            ),
        ],
        note="Position {position} reads “{here}”, and the model expects “{says}” next. Attention "
        "gives most, {most}.",
    )


def tiny_attention_diagram() -> None:
    """The way of the data through a block with attention: the gate is told two things."""
    x, widen, narrow = "x\n(b, n, d)", "Linear, GELU", "Linear"
    place, content = "W v + b\nby place", "attention\nby content"
    diagram(
        {
            x: (0, 1),
            widen: (1.3, 1.8),
            "u": (2.6, 2.6),
            place: (2.6, 1.4),
            content: (2.6, 0.2),
            "_+": (3.8, 0.9),
            "_⊙": (4.7, 1.8),
            narrow: (5.7, 1.8),
        },
        [
            (x, widen, ""),
            (x, content, ""),
            (widen, "u", ""),
            (widen, place, ""),
            (place, "_+", ""),
            (content, "_+", ""),
            ("_+", "_⊙", "gate "),
            ("u", "_⊙", ""),
            ("_⊙", narrow, ""),
        ],
        alt="The block with attention: x is widened and split into u and v as before. Beside that, "
        "attention reads x itself; its result is added to W v + b, and the sum is the gate that "
        "multiplies u.",
    )
