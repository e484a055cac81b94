"""What a network sees in one image: its feature maps, and which pixels its answer hangs on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.errors import check_float, check_int, check_keywords
from tinynet.layers.base import Array
from tinynet.layers.conv import Conv2D
from tinynet.layers.pooling import AveragePooling2D, MaxPooling2D
from tinynet.layers.watch import leaf_layers, watched
from tinynet.models import Model
from tinynet.plotting.classes import check_class_names, check_names_fit, names_of
from tinynet.plotting.figures import HEAT, MEDIUM, SIGNED, SMALL, Path, bare, fit, panels
from tinynet.plotting.images import as_pictures, grey_limits, show
from tinynet.plotting.subject import (
    check_label,
    check_model,
    check_one,
    check_picture_shape,
    class_probabilities,
    differentiable_copy,
)
from tinynet.plotting.tiles import finite_limits, show_tiles, signed_limits


@check_keywords
def feature_maps(
    model: Any,
    image: ArrayLike,
    *,
    count: int = 16,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """What every convolution and pooling layer makes of one image, in inference.

    The image comes first, then a panel for each layer with its first ``count`` maps, bright where
    they are high; all maps of a layer have one scale.

    image: one input of the model.
    axes: where to draw, one Axes for the image and one for each layer; by default a new figure.
    to_file: where to write it.

    Returns the Figure, or the axes that were given. Raises TypeError for what is no model;
    ValueError for a model without such layers, and an image that does not fit it.
    """
    model = check_model(model)
    count = check_int("count", count, minimum=1)
    shape, x = check_picture_shape(model), check_one(model, image)
    layers = {
        name: layer
        for name, layer in leaf_layers(model).items()
        if isinstance(layer, Conv2D | MaxPooling2D | AveragePooling2D)
    }
    if not layers:
        raise ValueError(
            f"{model.label} has no Conv2D or pooling layers, whose outputs are feature maps; "
            "activation_histograms(model, x) shows those of any layer"
        )
    maps: dict[str, NDArray[Any]] = {}
    with watched(layers, lambda name, y: maps.__setitem__(name, np.moveaxis(y[0], -1, 0).copy())):
        model.forward(x)
    page = panels(axes, 1 + len(maps), "layer and one for the image", 3, 3.0, 3.1)
    picture = as_pictures("image", x.reshape(1, *shape))
    show(page.axes[0], picture[0], grey_limits(picture))
    page.axes[0].set_title("image", fontsize=MEDIUM)
    for ax, (name, of_layer) in zip(page.axes[1:], maps.items(), strict=True):
        shown = of_layer[:count]
        show_tiles(ax, shown, HEAT, finite_limits(shown))
        number, (h, w) = len(of_layer), of_layer.shape[1:]
        part = f"{len(shown)} of {number}" if len(shown) < number else str(number)
        title = fit(f"{name} ({type(layers[name]).__name__})", page.width - 0.1, MEDIUM, 2)
        ax.set_title(f"{title}\n{part} map{'s' * (number > 1)} of {h}×{w}", fontsize=MEDIUM,
                     parse_math=False)  # fmt: skip
    return page.finish(to_file)


@check_keywords
def saliency(
    model: Any,
    image: ArrayLike,
    label: int | None = None,
    class_names: Any = None,
    *,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """Which pixels move the score of a class most: ``|d score / d pixel|``, by the backward pass.

    The score is what goes into the last softmax or sigmoid, and the largest of the channels counts
    (Simonyan, Vedaldi and Zisserman 2014, section 3). Everything works as in inference: dropout
    leaves nothing out and batch normalization keeps to its moving statistics.

    image: one input of the model.   label: the class; by default the one that is predicted.
    class_names: one for each class; without them, the index.
    axes: where to draw, two Axes; by default a new figure.   to_file: where to write it.

    Returns the Figure, or the axes that were given. Raises TypeError or ValueError for a model, an
    image or a label that do not fit each other.
    """
    model, x, picture = _image_of(model, image)
    label, title = _class_of(model, x, label, class_names)
    gradient = score_gradient(model, x, label)
    heat = np.abs(gradient.reshape(*picture.shape[:2], -1)).max(axis=2)
    page = _image_beside(axes, picture, title)
    _, high = signed_limits(heat)
    drawn = page.axes[1].imshow(heat, cmap=HEAT, vmin=0, vmax=high, interpolation="nearest")
    _finish_heat(page, drawn, "saliency", "|d score / d pixel|")
    return page.finish(to_file)


@check_keywords
def occlusion(
    model: Any,
    image: ArrayLike,
    label: int | None = None,
    class_names: Any = None,
    *,
    size: int = 4,
    stride: int | None = None,
    fill: float = 0.0,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """How far the probability of a class falls when a patch of the image is covered.

    A patch of ``size`` by ``size`` pixels is covered at every ``stride``-th place (Zeiler and
    Fergus 2014, section 4.2), and at the edges; each pixel shows the mean fall over the patches
    that covered it: red where the class needs it, blue where it stands in the class's way.

    image: one input of the model.   label: the class; by default the one that is predicted.
    class_names: one for each class; without them, the index.
    stride: half of size by default.   fill: what covered pixels are set to.
    axes: where to draw, two Axes; by default a new figure.   to_file: where to write it.

    Returns the Figure, or the axes that were given. Raises TypeError or ValueError for a model, an
    image or a label that do not fit each other, and for a patch larger than the image.
    """
    model, x, picture = _image_of(model, image)
    size = check_int("size", size, minimum=1)
    stride = max(1, size // 2) if stride is None else check_int("stride", stride, minimum=1)
    fill = check_float("fill", fill)
    if size > min(picture.shape[:2]):
        h, w = picture.shape[:2]
        raise ValueError(f"size must not be larger than the image, {h}×{w}, got {size}")
    label, title = _class_of(model, x, label, class_names)
    falls = probability_falls(model, x, label, picture.shape[:2], size, stride, fill)
    page = _image_beside(axes, picture, title)
    low, high = signed_limits(falls)
    drawn = page.axes[1].imshow(falls, cmap=SIGNED, vmin=low, vmax=high, interpolation="nearest")
    _finish_heat(page, drawn, f"occlusion by {size}×{size}", "fall of the probability")
    return page.finish(to_file)


def score_gradient(model: Model, x: Array, label: int) -> Array:
    """d score / d x for one sample x (1, ...); the score of a class before softmax or sigmoid."""
    before_activation = model.output_activation in ("softmax", "sigmoid")
    with differentiable_copy(model) as still:
        y = still.forward(x, training=True, logits=before_activation)
        dy = np.zeros_like(y)
        if y.shape[1] == 1:  # one output for two classes: the score of class 0 falls as it rises
            dy[0, 0] = 1 if label else -1
        else:
            dy[0, label] = 1
        return still.backward(dy)[0].copy()


def probability_falls(
    model: Model, x: Array, label: int, image: tuple[int, ...], size: int, stride: int, fill: float
) -> NDArray[np.float64]:
    """For each pixel of x (1, ...) the mean fall of the probability where it is covered: (h, w)."""
    h, w = image
    places = [(r, c) for r in _places(h, size, stride) for c in _places(w, size, stride)]
    covered = np.repeat(x, len(places), axis=0)
    pixels = covered.reshape(len(places), h, w, -1)  # a view
    for one, (row, column) in zip(pixels, places, strict=True):
        one[row : row + size, column : column + size] = fill
    whole = class_probabilities(model, x)[0, label]
    falls = whole - class_probabilities(model, covered)[:, label].astype(np.float64)
    total, times = np.zeros((h, w)), np.zeros((h, w))
    for fall, (row, column) in zip(falls, places, strict=True):
        total[row : row + size, column : column + size] += fall
        times[row : row + size, column : column + size] += 1
    return total / np.maximum(times, 1)


def _places(length: int, size: int, stride: int) -> list[int]:
    """Where patches begin along one side, the last of them at the edge."""
    return sorted({*range(0, length - size + 1, stride), length - size})


def _image_of(model: Any, image: ArrayLike) -> tuple[Model, Array, NDArray[Any]]:
    """The model, the image as its batch of one, and as a picture (h, w) or (h, w, 3)."""
    model = check_model(model)
    shape, x = check_picture_shape(model), check_one(model, image)
    return model, x, as_pictures("image", x.reshape(1, *shape))[0]


def _class_of(model: Model, x: Array, label: int | None, class_names: Any) -> tuple[int, str]:
    """The class that is looked at, and its name and probability for the title."""
    probabilities = class_probabilities(model, x)[0]
    names = check_class_names(class_names)
    classes = len(probabilities)
    check_names_fit(names, classes, f"{model.label} predicts {classes} classes")
    label = check_label(model, label, probabilities)
    return label, f"{fit(names_of(names, classes)[label], 2.2, MEDIUM)}, {probabilities[label]:.0%}"


def _image_beside(axes: Any, picture: NDArray[Any], title: str) -> Any:
    page = panels(axes, 2, "image and one for the map", 2, 3.1, 3.0)
    show(page.axes[0], picture, grey_limits(picture))
    page.axes[0].set_title(title, fontsize=MEDIUM, parse_math=False)
    return page


def _finish_heat(page: Any, drawn: Any, title: str, scale_label: str) -> None:
    ax = page.axes[1]
    bare(ax)
    ax.set_title(title, fontsize=MEDIUM)
    scale = page.figure.colorbar(drawn, ax=ax, shrink=0.7, aspect=25, pad=0.02)
    scale.set_label(scale_label, size=MEDIUM)
    scale.ax.tick_params(labelsize=SMALL)
