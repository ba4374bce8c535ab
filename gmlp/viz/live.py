"""Figures that need a kernel: they compute when they are touched.

Each is an ipywidget, alive while its notebook runs and nowhere else; the chapters show a recorded
figure before each.
"""

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gmlp.corpus import encode
from gmlp.spatial_gating import SpatialGatingUnit
from gmlp.training import evaluate, train
from gmlp.viz.causal_masking import visible
from gmlp.viz.figure import Figure
from gmlp.viz.reach import as_it_answers
from gmlp.viz.training import training_weights


def prompt(
    model: nn.Module, text: str = "The gate ", *, context: int = 64, top: int = 8
) -> widgets.Widget:
    """Type, and see at every key what the model expects next, and which bytes moved it.

    Args:
        model: ``(b, n) -> (b, n, 256)``, over bytes.
        text: how it begins.
        context: how many bytes the model can read; of a longer text it gets the last ones.
        top: how many of the likeliest bytes to show.
    """
    typed = widgets.Text(
        value=text, description="prompt", continuous_update=True, layout={"width": "480px"}
    )
    shown = widgets.HTML()

    def look(_: object = None) -> None:
        tokens = encode(typed.value)[-context:]
        if not len(tokens):
            shown.value = "Type something: the model has nothing to go on from."
            return
        moved = last_moves(model, tokens)
        strongest = moved.max().item() or 1.0
        cells = "".join(
            f'<span style="background:rgba(86,180,233,{share:.2f});padding:2px;'
            f'font-family:monospace">{html.escape(visible(token))}</span>'
            for token, share in zip(tokens.tolist(), (moved / strongest).tolist(), strict=True)
        )
        with torch.no_grad():
            chances, likely = torch.softmax(model(tokens[None])[0, -1], dim=-1).topk(top)
        bars = "".join(
            f'<div style="font-family:monospace">“{html.escape(visible(token))}” '
            f'<span style="display:inline-block;background:#0072b2;height:10px;'
            f'width:{240 * chance:.0f}px"></span> {chance:.2f}</div>'
            for token, chance in zip(likely.tolist(), chances.tolist(), strict=True)
        )
        shown.value = (
            f"<div>{cells} ← the bluer, the more it counts for what comes next</div>{bars}"
        )

    typed.observe(look, names="value")
    look()
    return widgets.VBox([typed, shown])


@torch.no_grad()
def last_moves(model: nn.Module, tokens: Tensor) -> Tensor:
    """How far the last output moves when each token is changed, ``(n,)``."""
    n = len(tokens)
    changed = tokens.repeat(n + 1, 1)
    place = torch.arange(n)
    with as_it_answers(model):
        vocabulary = model(tokens[None]).shape[-1]
        changed[place, place] = (changed[place, place] + 1) % vocabulary
        last = model(changed)[:, -1]  # (n + 1, v)
    return (last[:n] - last[n]).abs().amax(-1)


class Training(widgets.VBox):  # type: ignore[misc]
    """Train a model and scrub through its first matrix while it learns.

    Nothing happens before the button is pressed. Training then runs beside the notebook, so that
    the slider answers meanwhile; a second press ends it at the next validation.

    Args:
        model: its first spatial gating unit is shown.
        data, valid: see :func:`gmlp.train`.
        settings: of :func:`gmlp.train`.
    """

    def __init__(self, model: nn.Module, data: Tensor, valid: Tensor, **settings: Any) -> None:
        self.unit = next(m for m in model.modules() if isinstance(m, SpatialGatingUnit))
        self.steps: list[int] = []
        self.matrices: list[Tensor] = []
        self.bits: list[float] = []
        self.failed: BaseException | None = None
        self.stopping = False
        self.thread: threading.Thread
        context = settings.get("context", 64)
        self.slider = widgets.IntSlider(description="moment", min=0, max=0)
        self.follow = widgets.Checkbox(value=True, description="follow the newest")
        self.button = widgets.Button(description="train")
        self.said, self.picture = widgets.HTML(), widgets.Image(format="png")
        super().__init__(
            [widgets.HBox([self.slider, self.follow, self.button]), self.said, self.picture]
        )
        self.slider.observe(lambda _: self.draw(), names="value")
        self.button.on_click(lambda _: self.stop() if self.thread.is_alive() else self.start())

        def note(done: int) -> None:
            if self.stopping:
                raise Stopped
            self.steps.append(done)
            self.matrices.append(self.unit.mixing_matrix(context).detach().clone())
            self.bits.append(evaluate(model, valid, context))
            self.slider.max = len(self.steps) - 1
            if self.follow.value:
                self.slider.value = self.slider.max
            self.draw()

        def work() -> None:
            try:
                note(0)
                train(model, data, valid, on_eval=note, progress=False, **settings)
            except Stopped:
                pass
            except BaseException as error:  # a thread's error would go unseen
                self.failed = error
            self.button.disabled = True
            self.draw()

        self.thread = threading.Thread(target=work, daemon=True)

    def start(self) -> None:
        self.button.description = "stop"
        self.thread.start()

    def stop(self) -> None:
        self.stopping = True

    def join(self) -> None:
        self.thread.join()

    def figure(self) -> Figure:
        """What was recorded so far, as a figure that needs no kernel."""
        return training_weights(self.steps, self.matrices, self.bits)

    def draw(self) -> None:
        if self.failed is not None:
            self.said.value = f"stopped: {html.escape(str(self.failed))}"
        if not self.steps:
            return
        k = min(self.slider.value, len(self.steps) - 1)
        if self.failed is None:
            self.said.value = f"after {self.steps[k]} steps: {self.bits[k]:.2f} bits per byte"
        one = training_weights(
            self.steps[k : k + 1], self.matrices[k : k + 1], self.bits[k : k + 1]
        )
        self.picture.value = one.png


class Stopped(Exception):
    """The reader pressed stop."""


class Mask(widgets.VBox):  # type: ignore[misc]
    """Build a mask by hand, train with it, and see what the loss says, and what leaks.

    A ticked box lets position ``i`` (row) read position ``j`` (column).

    Args:
        make: a fresh model of ``n`` positions whose first spatial gating unit gets the mask; its
            ``weight`` is multiplied by it on every call.
        data, valid: bytes to learn from and to be judged by.
        n: positions, at most 12.
        settings: of :func:`gmlp.train`.
    """

    def __init__(
        self,
        make: Callable[[], nn.Module],
        data: Tensor,
        valid: Tensor,
        n: int = 8,
        **settings: Any,
    ) -> None:
        if not 1 <= n <= 12:
            raise ValueError(f"a mask by hand has at most 12 positions; got n={n}")
        self.make, self.data, self.valid, self.n, self.settings = make, data, valid, n, settings
        box = {"width": "28px", "height": "28px", "margin": "0", "padding": "0"}
        self.boxes = [
            [
                widgets.ToggleButton(
                    value=j <= i, tooltip=f"position {i} reads position {j}", layout=box
                )
                for j in range(n)
            ]
            for i in range(n)
        ]
        self.button = widgets.Button(description="train with it")
        self.said = widgets.HTML("Every pressed button in row i is a position that i may read.")
        grid = widgets.VBox([widgets.HBox(row) for row in self.boxes])
        super().__init__([grid, self.button, self.said])
        self.button.on_click(lambda _: self.train())

    def mask(self) -> Tensor:
        """``(n, n)``, 1 where the row may read the column."""
        return torch.tensor([[float(box.value) for box in row] for row in self.boxes])

    def train(self) -> None:
        """Train a fresh model with the mask; says its loss, and whether it cheated."""
        self.button.disabled = True
        self.said.value = "training …"
        try:
            mask = self.mask()
            model = self.make()
            unit = next(m for m in model.modules() if isinstance(m, SpatialGatingUnit))
            parametrize.register_parametrization(unit, "weight", Masked(mask))
            history = train(
                model, self.data, self.valid, context=self.n, progress=False, **self.settings
            )
            leaks = int(mask.triu(1).sum())
            self.said.value = f"{history[-1].valid_bits:.2f} bits per byte. " + (
                f"{leaks} of its buttons look{'s' * (leaks == 1)} ahead: "
                "this model may not be used to write."
                if leaks
                else "Nothing looks ahead: this model may be used to write."
            )
        finally:
            self.button.disabled = False


class Masked(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask  # type: ignore[operator]
