"""A drawing of a model: its layers as boxes, from the input down to the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from tinynet.errors import check_float, check_keywords, received
from tinynet.layers.base import Layer, Shape
from tinynet.plotting.figures import (
    BLUE,
    DPI,
    INK,
    Page,
    Path,
    new_figure,
    one_panel,
    size_of,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 10.0
_LINE, _PAD, _GAP, _SIDE = 0.2, 0.11, 0.28, 0.16  # inches: a line, inside a box, between, beside
_BOX, _FRAME = "#eaf2f8", "#f7f7f7"


class _Box(NamedTuple):
    """A layer: its lines of text, and how many models it is inside of."""

    lines: list[str]
    depth: int


class _Frame(NamedTuple):
    """The beginning or the end of what is inside a model; ``title`` is None at the end."""

    title: str | None
    depth: int


@check_keywords
def model(
    model: Any,
    *,
    show_shapes: bool = True,
    show_layer_names: bool = True,
    show_layer_activations: bool = True,
    show_params: bool = True,
    expand_nested: bool = True,
    ax: Any = None,
    to_file: Path | None = None,
    dpi: float = DPI,
) -> Any:
    """A model's layers as boxes: name, class, activation (but linear), output shape, params.

    show_shapes, show_layer_names, show_layer_activations, show_params: whether to write these;
    shapes and params only where the model knows them.
    expand_nested: draw a model in the model as a frame around its layers; else as one box.
    ax: where to draw; by default a new figure as large as the drawing. An Axes that is smaller
    gets a smaller drawing, letters included.
    to_file: where to write it (.png, .svg, .pdf).   dpi: dots for each inch of a PNG.

    Returns the Figure, or the Axes that was given. Raises TypeError for what is no model,
    ValueError for one without layers.
    """
    _check(model, dpi)
    parts = list(
        _parts(
            model,
            model.input_shape,
            shapes=show_shapes,
            names=show_layer_names,
            activations=show_layer_activations,
            params=show_params,
            nested=expand_nested,
        )
    )
    return _drawn(parts, ax).finish(to_file, dpi)


@check_keywords
def plot_model(
    model: Any,
    to_file: Path = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    *,
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Draw a model's layers as boxes, from input to output, and write the picture.

    model: a Sequential.   to_file: its ending (.png, .svg, .pdf) says how to write.
    show_shapes: the output shape of each layer, where the model knows them.
    show_dtype: the dtype each computes in.   show_layer_names: names beside the classes.
    expand_nested: draw a model in the model as a frame around its layers; else as one box.
    dpi: dots for each inch of a PNG.   show_layer_activations: activations too.
    show_trainable: whether the optimizer changes the layer's params.

    The names are Keras's; `tinynet.plotting.model` draws the same with everything written in.

    Returns the Figure. Raises TypeError for what is no model, ValueError for one without layers.
    """
    _check(model, dpi)
    parts = list(
        _parts(
            model,
            model.input_shape,
            shapes=show_shapes,
            names=show_layer_names,
            activations=show_layer_activations,
            linear=True,
            dtypes=show_dtype,
            trainable=show_trainable,
            nested=expand_nested,
        )
    )
    return _drawn(parts, None).finish(to_file, dpi)


def _check(model: Any, dpi: float) -> None:
    if getattr(model, "layers", None) is None:
        raise TypeError(f"model must be a model, got {received(model)}")
    if not model.layers:
        raise ValueError("the model has no layers to draw")
    check_float("dpi", dpi, above=0)


# --- what is drawn -------------------------------------------------------------------------------


def _parts(
    model: Any, shape: Shape | None, depth: int = 0, **show: bool
) -> Iterator[_Box | _Frame]:
    """The boxes and frames from top to bottom; ``shape`` is that of the model's input."""
    if not depth and show["shapes"] and shape is not None:
        yield _Box(["Input", _shape_text(shape)], depth)
    for layer in model.layers:
        after = None if shape is None else layer.output_shape(shape)
        if show["nested"] and layer.inner_layers():
            yield _Frame(f"{layer.name} ({type(layer).__name__})", depth)
            yield from _parts(layer, shape, depth + 1, **show)
            yield _Frame(None, depth)
        else:
            yield _Box(_lines(layer, after, show), depth)
        shape = after


def _lines(layer: Layer, shape: Shape | None, show: dict[str, bool]) -> list[str]:
    kind = type(layer).__name__
    lines = [f"{layer.name} ({kind})" if show["names"] else kind]
    activation = getattr(layer, "activation", None)
    told = activation != "linear" or show.get("linear")
    if show["activations"] and told and isinstance(activation, str):
        lines.append(activation)
    if show.get("dtypes"):
        lines.append(layer.dtype)
    if show.get("trainable") and layer.params:
        lines.append("trainable" if layer.trainable else "not trainable")
    if show["shapes"] and shape is not None:
        lines.append(_shape_text(shape))
    if show.get("params") and layer.built and layer.count_params():
        count = layer.count_params()
        lines.append(f"{count:,} param{'' if count == 1 else 's'}")
    return lines


def _shape_text(shape: Sequence[int]) -> str:
    return f"({', '.join(['None', *map(str, shape)])})"


# --- how it is drawn -----------------------------------------------------------------------------


def _drawn(parts: list[_Box | _Frame], ax: Any) -> Page:
    deepest = max(part.depth for part in parts) + 1
    widest = max(_text_inches(part) for part in parts)
    width = max(2.0, widest + 0.3) + 2 * _SIDE * deepest
    height = sum(_tall(part) for part in parts) + _gaps(parts)
    if ax is None:
        figure = new_figure(width, height + 2 * _SIDE)
        figure.set_layout_engine("none")
        panel = figure.add_axes((0, 0, 1, 1))
        page, points = Page(figure, [panel], width), _POINTS
    else:
        page = one_panel(ax, width, height)
        panel = page.axes[0]
        page.figure.draw_without_rendering()  # which gives the panel its place
        across, down = size_of(panel)
        points = _POINTS * min(1.0, across / width, down / (height + 2 * _SIDE))
    panel.set(xlim=(0, width), ylim=(-_SIDE, height + _SIDE))
    panel.set_aspect("equal")
    panel.set_axis_off()
    _draw(panel, parts, width, height, points)
    return page


def _text_inches(part: _Box | _Frame) -> float:
    lines = part.lines if isinstance(part, _Box) else [part.title or ""]
    return max(text_width(line, _POINTS, "bold" if i == 0 else "normal")
               for i, line in enumerate(lines))  # fmt: skip


def _tall(part: _Box | _Frame) -> float:
    """The inches from the top of a part to its end; of a frame, those of its upper or lower rim."""
    if isinstance(part, _Box):
        return _LINE * len(part.lines) + 2 * _PAD
    return _LINE + 2 * _PAD if part.title is not None else _PAD


def _gaps(parts: list[_Box | _Frame]) -> float:
    return sum(_gap(above, below) for above, below in pairwise(parts))


def _gap(above: _Box | _Frame, below: _Box | _Frame) -> float:
    """The inches between two parts, which an arrow crosses; none just inside of a frame."""
    inside = isinstance(above, _Frame) and above.title is not None
    ends = isinstance(below, _Frame) and below.title is None
    return 0.0 if inside or ends else _GAP


def _draw(ax: Axes, parts: list[_Box | _Frame], width: float, height: float, points: float) -> None:
    """From the top down; y is where the next part begins."""
    y = height
    frames: list[float] = []  # where the frames that are open began
    for i, part in enumerate(parts):
        if i and (gap := _gap(parts[i - 1], part)):
            _arrow(ax, width / 2, y, y - gap)
            y -= gap
        tall, side = _tall(part), _SIDE * (1 + part.depth)
        if isinstance(part, _Box):
            _rectangle(ax, side, y, width - side, y - tall, _BOX, zorder=2)
            for row, text in enumerate(part.lines):
                _write(ax, width / 2, y - _PAD - _LINE * (row + 0.5), text, points, row == 0)
        elif part.title is not None:
            frames.append(y)
            _write(ax, width / 2, y - _PAD - _LINE / 2, part.title, points, True)
        else:
            top = frames.pop()
            _rectangle(ax, side, top, width - side, y - tall, _FRAME, zorder=1 + 0.01 * part.depth)
        y -= tall


def _rectangle(
    ax: Axes, left: float, top: float, right: float, bottom: float, colour: str, zorder: float
) -> None:
    from matplotlib.patches import FancyBboxPatch

    rim = 0.03
    ax.add_patch(
        FancyBboxPatch(
            (left + rim, bottom + rim),
            right - left - 2 * rim,
            top - bottom - 2 * rim,
            boxstyle=f"round,pad={rim}",
            facecolor=colour,
            edgecolor=INK,
            linewidth=0.8,
            zorder=zorder,
        )
    )


def _write(ax: Axes, x: float, y: float, text: str, points: float, bold: bool) -> None:
    ax.text(
        x, y, text, ha="center", va="center", fontsize=points, color=INK,
        weight="bold" if bold else "normal", parse_math=False, zorder=3,
    )  # fmt: skip


def _arrow(ax: Axes, x: float, top: float, bottom: float) -> None:
    ax.annotate(
        "", (x, bottom), (x, top), zorder=3,
        arrowprops={"arrowstyle": "-|>", "color": BLUE, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
