"""Figures of lesson 05, generation."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gmlp.causal_masking import CausalSGU
from gmlp.corpus import encode
from gmlp.generation import next_token
from gmlp.tiny_attention import Attention
from gmlp.training import LanguageModel
from gmlp.viz.causal_masking import visible
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.reach import as_it_answers, check_positions


@torch.no_grad()
def generation(
    model: LanguageModel,
    prompt: str | bytes,
    length: int = 24,
    *,
    temperature: float = 1.0,
    top: int = 8,
    seed: int = 0,
) -> Figure:
    """A text as it is written: the likeliest bytes, the one drawn, and where the model looked.

    Args:
        model: a model over bytes whose layers are :class:`gmlp.CausalSGU`, with or without
            attention.
        prompt: what it goes on from; with ``length`` at most 128 bytes, and what it can read.
        length: bytes to write.
        temperature: that of :func:`gmlp.generate`.
        top: how many of the likeliest bytes to show; the drawn one takes the last place, if it is
            not among them.
        seed: for the draws.

    Raises:
        ValueError: a text that is too long for the figure or the model, or a model without
            spatial gating units over the whole text.
    """
    tokens = encode(prompt)
    first, n = len(tokens), len(tokens) + length
    check_positions("generation", n)
    units = [m for m in model.modules() if type(m) is CausalSGU and m.seq_len >= n]
    if not units:
        raise ValueError("generation draws rows of CausalSGU over the whole text; this has none")
    generator = torch.Generator().manual_seed(seed)
    attentions = [m for m in model.modules() if type(m) is Attention]
    seen: dict[Attention, Tensor] = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, x: seen.__setitem__(m, attended(m, x[0])))
        for m in attentions
    ]
    likely, drawn = torch.zeros(length, top), torch.zeros(length, top, dtype=torch.long)
    looks = torch.full((length, len(attentions), n), torch.nan)
    try:
        with as_it_answers(model):
            for step in range(length):
                logits = model(tokens[None])[:, -1]  # (1, v)
                chances = torch.softmax(logits[0] / (temperature or 1.0), dim=-1)
                likely[step], drawn[step] = chances.topk(top)
                for k, attention in enumerate(attentions):
                    looks[step, k, : len(tokens)] = seen[attention]
                written = next_token(logits, temperature=temperature, generator=generator)
                if written not in drawn[step]:
                    drawn[step, -1] = written.item()
                    likely[step, -1] = chances[drawn[step, -1]]
                tokens = torch.cat((tokens, written.flatten()))
    finally:
        for hook in hooks:
            hook.remove()
    place, steps = torch.arange(n), torch.arange(length)[:, None]
    kind = (place >= first).long() + (place == first + steps).long()  # prompt, written, newest
    kind = kind.double().masked_fill(place > first + steps, torch.nan)
    rows = torch.stack([unit.mixing_matrix(n).mean(0) for unit in units])  # (layer, n, n)
    rows = rows[:, first - 1 : n - 1].transpose(0, 1)  # (step, layer, n): of the last that is read
    rows = rows.masked_fill(place > first - 1 + steps[..., None], torch.nan)
    characters = [visible(token) for token in tokens.tolist()]
    grown = ["".join(characters[: first + k]) + "·" * (length - k) for k in range(1, length + 1)]
    variables = [
        Variable(
            "step",
            length,
            "byte written",
            length - 1,
            labels=[f"{k + 1} “{characters[first + k]}”" for k in range(length)],
            play=500,
        )
    ]
    if len(units) > 1:
        names = [str(k + 1) for k in range(len(units))]
        variables.append(Variable("layer", len(units), "layer", 0, labels=names))
    else:
        rows = rows[:, 0]
    where = ("step", "layer", "place") if len(units) > 1 else ("step", "place")
    arrays = {
        "kind": Array(kind, ("step", "place"), "category"),
        "likely": Array(likely, ("step", "k"), low=0, high=1),
        "row": Array(rows, where, "diverging"),
    }
    candidates = [
        f"{'→ ' * (token == newest)}“{visible(token)}”"
        for newest, tried in zip(tokens[first:].tolist(), drawn.tolist(), strict=True)
        for token in tried
    ]
    signs = {"␣": "space", "⏎": "new line", "·": "not printable"}
    legend = [f"{s} {meaning}" for s, meaning in signs.items() if f"“{s}”" in "".join(candidates)]
    strip: Any = {"x": "place", "text": "written"}
    panels = [
        Panel(
            "strip",
            "the text",
            array="kind",
            caption="Blue: the prompt. Orange: written. Green: the newest. Grey: not yet.",
            alt="the text so far",
            pick="step",
            first=first,
            **strip,
        ),
        Panel(
            "bars",
            "the likeliest next bytes",
            x="k",
            array="likely",
            text="candidates",
            caption="→ was drawn; it stands last if it is not among the likeliest. "
            + ", ".join(legend),
            alt="the likeliest bytes, the drawn one among them, and their chances",
        ),
        Panel(
            "strip",
            "the row of W that listened",
            array="row",
            caption="Purple above 0, orange below, grey: not read yet. The same for every text.",
            alt="the row of W at the last position that was read",
            **strip,
        ),
    ]
    for k, _ in enumerate(attentions):
        arrays[f"look{k}"] = Array(looks[:, k], ("step", "place"), low=0, high=1)
        panels.append(
            Panel(
                "strip",
                f"where attention looked{f' ({k + 1})' if len(attentions) > 1 else ''}",
                array=f"look{k}",
                caption="Darker: more; another for every text.",
                alt="the attention of the last position that was read",
                **strip,
            )
        )
    told = bytes(tokens.tolist()).decode(errors="replace")
    return Figure(
        title="A text as it is written",
        alt=f"The model goes on from “{told[:first]}” and writes “{told[first:]}”, byte by byte, "
        "with the chances of the likeliest bytes at each.",
        variables=variables,
        arrays=arrays,
        texts={
            "written": Texts([c for line in grown for c in line], ("step", "place"), (length, n)),
            "candidates": Texts(candidates, ("step", "k"), drawn.shape),
        },
        panels=panels,
        note="Byte {step} was drawn from these chances and became part of the text.",
    )


def attended(attention: Attention, x: Tensor) -> Tensor:
    """How the last position shares its attention among those before it, ``(n,)``."""
    q, k, _ = attention.to_qkv(x).chunk(3, dim=-1)  # (1, n, k)
    return F.softmax(q[0, -1] @ k[0].T / attention.dim_inner**0.5, dim=-1)


def filtered_chances(
    logits: Tensor,
    filters: Mapping[str, Callable[[Tensor], Tensor]],
    temperatures: Sequence[float],
    *,
    after: str,
    top: int = 10,
) -> Figure:
    """The chances of the likeliest bytes at one position, and how many bytes can be drawn there.

    Args:
        logits: of the byte that comes next, ``(v,)``.
        filters: by name; each gets the logits, divided by the temperature, and sets those of the
            bytes that it drops to minus infinity.
        temperatures: each above zero.
        after: what was read, for the title.
        top: how many of the likeliest bytes to show.

    Raises:
        ValueError: a temperature of zero or less.
    """
    if not min(temperatures) > 0:
        raise ValueError(f"temperatures must be above 0; got {min(temperatures)}")
    order = logits.argsort(descending=True)[:top]
    left = torch.stack(
        [torch.stack([cut(logits / t) for cut in filters.values()]) for t in temperatures]
    )  # (temperature, filter, v)
    chances = left.softmax(-1)[..., order]
    stay = left.isfinite().sum(-1)
    letters = [f"“{visible(token)}”" for token in order.tolist()]
    start = min(range(len(temperatures)), key=lambda k: abs(temperatures[k] - 1))
    labels, names = [f"{t:g}" for t in temperatures], list(filters)
    lines = tuple(f"stay{k}" for k in range(len(names)))
    told = ", ".join(
        f"{letter} {chance:.2f}"
        for letter, chance in zip(letters, chances[start, -1].tolist(), strict=True)
        if chance >= 0.005
    )
    return Figure(
        title="One position, cut",
        alt=f"The {len(letters)} likeliest bytes after “{after}” at temperature {labels[start]}, "
        f"{names[-1]}: {told}. {int(stay[start, -1])} of {len(logits)} can be drawn.",
        variables=[
            Variable("T", len(labels), "temperature", start, labels=labels),
            Variable("filter", len(names), "filter", len(names) - 1, labels=names),
        ],
        arrays={
            "chance": Array(chances, ("T", "filter", "k"), low=0, high=1),
            **{
                line: Array(stay[:, k], ("T",), low=0, high=math.log10(len(logits)), log=True)
                for k, line in enumerate(lines)
            },
        },
        texts={
            "byte": Texts(letters, ("k",)),
            "stay": Texts.of(stay, ("T", "filter")),
        },
        panels=[
            Panel(
                "bars",
                f"after “{after}”",
                x="k",
                array="chance",
                text="byte",
                alt="the likeliest bytes and their chances",
            ),
            Panel(
                "line",
                "how many bytes can be drawn, log scale",
                x="T",
                lines=lines,
                names=names,
                xlabel="temperature",
                alt="a line for each filter, over the temperature",
            ),
        ],
        note=f"Temperature {{T}}, {{filter}}: {{stay}} of {len(logits)} bytes can be drawn.",
    )
