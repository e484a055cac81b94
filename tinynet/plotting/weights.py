"""What the layers have learned: kernels as pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.errors import check_int, check_keywords, received
from tinynet.layers.base import Layer, Shape, check_shape
from tinynet.layers.watch import leaf_layers
from tinynet.plotting.figures import MEDIUM, SIGNED, SMALL, Path, fit, one_panel
from tinynet.plotting.subject import picture_shape
from tinynet.plotting.tiles import show_tiles, signed_limits

_SHOWN = {"filter": 64, "unit": 25}


@check_keywords
def kernels(
    layer: Any,
    *,
    channel: int | None = None,
    image_shape: Shape | None = None,
    count: int | None = None,
    ax: Any = None,
    to_file: Path | None = None,
) -> Any:
    """A layer's kernels as pictures: blue below 0, white at 0, red above, one scale for all.

    layer: a Conv2D, whose filters are drawn, or a Dense, of which each unit is drawn as a picture
    of its inputs; or a model, for its first layer that has a kernel.
    channel: of filters over several input channels, the one to draw; by default the mean over
    all of them.
    image_shape: (height, width) or (height, width, channels) of the inputs of a Dense layer. By
    default that of the model's inputs, if a model is given and it fits; else a square.
    count: how many to draw at most; the first 64 filters or 25 units by default.
    ax: where to draw; by default a new figure.   to_file: where to write it.

    Returns the Figure, or the Axes that was given. Raises TypeError for what is neither layer nor
    model; ValueError for a layer without a kernel, one that has no weights yet, and inputs that
    are no images.
    """
    count = None if count is None else check_int("count", count, minimum=1)
    layer, shape = _with_kernel(layer)
    if image_shape is not None:
        shape = check_shape("image_shape", image_shape)
    kernel = layer.params["kernel"]
    if kernel.ndim == 4:
        images, what = kernel, "filter"
    elif kernel.ndim == 2:
        images, what = _dense_images(layer, kernel, shape, image_shape is not None), "unit"
    else:
        raise ValueError(
            f"{layer.label} has a kernel of shape {kernel.shape}; those of Conv2D, (height, width, "
            "channels, filters), and Dense, (inputs, units), can be drawn"
        )
    tiles, of_channels = _one_channel(images, channel, layer)
    shown = tiles[: count or _SHOWN[what]]
    page = one_panel(ax, 5.6, 5.0)
    image = show_tiles(page.axes[0], shown, SIGNED, signed_limits(shown))
    scale = page.figure.colorbar(image, ax=page.axes[0], shrink=0.7, aspect=30, pad=0.02)
    scale.ax.tick_params(labelsize=SMALL)
    scale.set_label("weight", size=MEDIUM)
    number = f"{len(shown)} of {len(tiles)}" if len(shown) < len(tiles) else f"{len(tiles)}"
    size = f"{tiles.shape[1]}×{tiles.shape[2]}"
    plural = "" if len(tiles) == 1 else "s"
    page.axes[0].set_title(
        fit(f"{layer.name}: {number} {what}{plural} of {size}{of_channels}", page.width, MEDIUM, 2),
        fontsize=MEDIUM, parse_math=False,
    )  # fmt: skip
    return page.finish(to_file)


def _with_kernel(layer: Any) -> tuple[Layer, Shape | None]:
    """The layer whose kernel is meant, and the shape of a model's inputs where one was given."""
    if not isinstance(layer, Layer):
        raise TypeError(f"layer must be a layer or a model, got {received(layer)}")
    wanted = "pass a Conv2D or Dense layer, such as model.layers[0], or a model that has one"
    if layer.inner_layers():
        found = [leaf for leaf in leaf_layers(layer).values() if "kernel" in leaf.params]
        if not found:
            raise ValueError(f"{layer.label} has no layer with a kernel; {wanted}")
        return found[0], layer.input_shape
    if not layer.built:
        raise ValueError(
            f"{layer.label} has no weights before it knows its input's shape; call fit() first, or "
            "begin its model with Input(shape)"
        )
    if "kernel" not in layer.params:
        raise ValueError(f"{layer.label} has no kernel to draw; {wanted}")
    return layer, None


def _dense_images(
    layer: Layer, kernel: NDArray[Any], shape: Shape | None, given: bool
) -> NDArray[Any]:
    """kernel (d_in, units) -> (h, w, channels, units)"""
    inputs, units = kernel.shape
    images = shape is not None and len(shape) in (2, 3) and math.prod(shape) == inputs
    if given and not images:
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, channels) of the {inputs} "
            f"inputs of {layer.label}, got {shape}"
        )
    if not images:
        shape = picture_shape((inputs,))
        if shape is None:
            raise ValueError(
                f"the {inputs} inputs of {layer.label} make no square image; pass "
                "image_shape=(height, width), or another layer"
            )
    h, w, *_ = shape or ()
    return kernel.reshape(h, w, -1, units)


def _one_channel(
    images: NDArray[Any], channel: int | None, layer: Layer
) -> tuple[NDArray[Any], str]:
    """(h, w, channels, n) -> tiles (n, h, w), and words on the channels for the title."""
    channels = images.shape[2]
    if channel is None:
        tiles = images.mean(axis=2) if channels > 1 else images[:, :, 0]
        words = f", mean over {channels} input channels" if channels > 1 else ""
    else:
        channel = check_int("channel", channel, minimum=0)
        if channel >= channels:
            raise ValueError(
                f"channel must be below the {channels} input channels of {layer.label}, "
                f"got {channel}"
            )
        tiles, words = images[:, :, channel], f", input channel {channel}"
    return np.moveaxis(tiles, -1, 0), words
