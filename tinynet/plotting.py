"""Every picture. matplotlib is imported inside, when the first one is drawn.

Functions return what they drew, write files only where they are told to, and change no global
setting, so that they work the same in a script, a notebook and a test.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinynet.errors import check_float, received

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]

_TRAIN, _VALIDATION = "#0072b2", "#d55e00"  # blue and vermilion: told apart by the colour-blind


def learning_curves(history: Any, to_file: Path | None = None) -> Figure:
    """Loss and metrics over the epochs, training and validation in one panel for each.

    history: what fit returned, or a dict of lists such as ``history.history``.
    to_file: where to write the picture; its ending (.png, .svg, .pdf) says how.

    Raises TypeError for what is no history, ValueError for one without epochs.
    """
    values: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    epochs_of: Mapping[str, Sequence[int]] = getattr(history, "epochs_of", {})
    if not isinstance(values, Mapping):
        raise TypeError(f"history must be a History or a dict of lists, got {received(history)}")
    names = [name for name in values if not name.startswith("val_") and name != "learning_rate"]
    if not names or not any(len(values[name]) for name in names):
        raise ValueError("history holds no epochs to draw; fit the model first")
    names.sort(key=lambda name: (name != "loss", name))

    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = _shown(Figure(figsize=(4.8 * len(names), 3.6), layout="constrained"))
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        curves = [(name, "training", _TRAIN, "-"), (f"val_{name}", "validation", _VALIDATION, "--")]
        for key, label, colour, style in curves:
            if key in values:
                epochs = epochs_of.get(key, range(len(values[key])))
                x = [epoch + 1 for epoch in epochs]
                ax.plot(x, values[key], style, color=colour, label=label, marker="o", ms=3)
        ax.set(xlabel="epoch", ylabel=name.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    if to_file is not None:
        figure.savefig(to_file, dpi=150)
    return figure


def plot_model(
    model: Any,
    to_file: Path = "model.png",
    show_shapes: bool = False,
    *,
    show_layer_names: bool = False,
    show_layer_activations: bool = False,
    dpi: float = 200,
) -> Figure:
    """Draw a model's layers as boxes, from input to output, and write the picture.

    model: a Sequential.   to_file: its ending (.png, .svg, .pdf) says how to write.
    show_shapes: the output shape of each layer, where the model knows them.
    show_layer_names: names beside the classes.   show_layer_activations: activations too.
    dpi: dots for each inch of a PNG.

    Raises TypeError for what is no model, ValueError for one without layers.
    """
    layers = getattr(model, "layers", None)
    if layers is None:
        raise TypeError(f"model must be a model, got {received(model)}")
    if not layers:
        raise ValueError("the model has no layers to draw")
    check_float("dpi", dpi, above=0)

    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    boxes: list[list[str]] = []
    shape = model.input_shape
    if show_shapes and shape is not None:
        boxes.append(["Input", _shape_text(shape)])
    for layer in layers:
        kind = type(layer).__name__
        lines = [f"{layer.name} ({kind})" if show_layer_names else kind]
        if show_layer_activations and hasattr(layer, "activation"):
            lines.append(layer.activation)
        if shape is not None:
            shape = layer.output_shape(shape)
            if show_shapes:
                lines.append(_shape_text(shape))
        boxes.append(lines)

    line, pad, gap = 0.22, 0.12, 0.32  # inches
    heights = [line * len(lines) + 2 * pad for lines in boxes]
    width = max(2.2, 0.095 * max(len(text) for lines in boxes for text in lines) + 0.5)
    height = sum(heights) + gap * (len(boxes) - 1)
    figure = _shown(Figure(figsize=(width + 0.4, height + 0.4)))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-0.2, width + 0.2), ylim=(-0.2, height + 0.2))
    ax.set_axis_off()
    top = height
    for i, (lines, tall) in enumerate(zip(boxes, heights, strict=True)):
        box = FancyBboxPatch(
            (0.02, top - tall + 0.02), width - 0.04, tall - 0.04,
            boxstyle="round,pad=0.02", facecolor="#eaf2f8", edgecolor="#2c3e50",
        )  # fmt: skip
        ax.add_patch(box)
        for row, text in enumerate(lines):
            y = top - pad - line * (row + 0.5)
            weight = "bold" if row == 0 else "normal"
            ax.text(width / 2, y, text, ha="center", va="center", fontsize=10, weight=weight)
        if i:
            ax.annotate(
                "", (width / 2, top), (width / 2, top + gap),
                arrowprops={"arrowstyle": "-|>", "color": "#2c3e50", "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
        top -= tall + gap
    figure.savefig(to_file, dpi=dpi)
    return figure


def _shown(figure: Figure) -> Figure:
    """The figure, made so that a notebook shows it without pyplot and its global state."""

    def png() -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
    return figure


def _shape_text(shape: Sequence[int]) -> str:
    return f"({', '.join(['None', *map(str, shape)])})"
