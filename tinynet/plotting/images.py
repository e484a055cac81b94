"""Pictures of the data: images in a grid, and how many there are of each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.errors import check_int, check_keywords, received
from tinynet.plotting.classes import check_class_names, check_labels, names_of
from tinynet.plotting.figures import (
    CYCLE,
    MEDIUM,
    PHOTOGRAPH,
    SMALL,
    Path,
    bare,
    fit,
    one_panel,
    panels,
    plain,
    text_width,
)
from tinynet.plotting.tiles import finite_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pixels = NDArray[Any]

_NUMBERED = 60  # bars that have their number written behind them


@check_keywords
def image_grid(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    class_names: Any = None,
    columns: int = 5,
    rows: int = 5,
    *,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """The first ``rows * columns`` images, each with the name of its class below.

    images: (n, height, width), (n, height, width, 1) or, in colours, (n, height, width, 3); bytes
    or any other numbers. Grey images are drawn black on white, bytes from 0 to 255 and other
    numbers from the smallest to the largest of those shown.
    labels: class indices (n,).   class_names: one for each class; without them, the index.
    axes: where to draw, one Axes for each image; by default a new figure.
    to_file: where to write the picture, which is not done by default.

    Returns the Figure, or the axes that were given. Raises TypeError for what is no image, label or
    name; ValueError for another shape, for lengths that differ, and for a label out of range.
    """
    pictures = as_pictures("images", images)
    names = check_class_names(class_names)
    labels = None if labels is None else check_labels("labels", labels, names)
    check_same_length(pictures, labels)
    columns, rows = check_int("columns", columns, minimum=1), check_int("rows", rows, minimum=1)
    shown = pictures[: rows * columns]
    page = panels(axes, len(shown), "image", columns, 1.25, 1.25 if labels is None else 1.45)
    limits = grey_limits(shown)
    for i, (ax, picture) in enumerate(zip(page.axes, shown, strict=True)):
        show(ax, picture, limits)
        if labels is not None:
            name = str(labels[i]) if names is None else names[labels[i]]
            ax.set_xlabel(fit(name, page.width - 0.15, MEDIUM, 2), size=MEDIUM, parse_math=False)
    return page.finish(to_file)


@check_keywords
def class_counts(
    labels: Any, class_names: Any = None, *, ax: Any = None, to_file: Path | None = None
) -> Any:
    """How many samples there are of each class, as bars.

    labels: class indices (n,), or several of these in a dict, ``{"train": ..., "test": ...}``,
    whose bars stand side by side.
    class_names: one for each class; without them, the index.
    ax: where to draw; by default a new figure.   to_file: where to write it.

    Returns the Figure, or the Axes that was given. Raises TypeError for what is no label or name,
    ValueError for a label out of range, and where there are none.
    """
    names = check_class_names(class_names)
    several = isinstance(labels, Mapping)
    if several and not labels:
        raise ValueError("labels holds no labels")
    sets = {
        str(key): check_labels(f"labels[{key!r}]" if several else "labels", values, names)
        for key, values in (labels.items() if several else [("samples", labels)])
    }
    classes = 1 + max(int(indices.max()) for indices in sets.values())
    names = names_of(names, classes)
    # Inches for each class; among many of them the bars have no numbers that need room.
    thick = 0.13 * len(sets) + 0.08 if len(names) * len(sets) <= _NUMBERED else 0.14
    wide = max(text_width(name, SMALL) for name in names)
    page = one_panel(ax, min(wide, 2.2) + 4.5, thick * len(names) + 0.7)
    _bars(page.axes[0], sets, names, several)
    return page.finish(to_file)


def _bars(ax: Axes, sets: Mapping[str, Pixels], names: list[str], several: bool) -> None:
    places = np.arange(len(names))
    height = 0.8 / len(sets)
    for i, (label, indices) in enumerate(sets.items()):
        counts = np.bincount(indices, minlength=len(names))
        offset = (i - (len(sets) - 1) / 2) * height
        colour = CYCLE[i % len(CYCLE)]
        bars = ax.barh(places + offset, counts, height * 0.92, color=colour, label=label)
        if len(names) * len(sets) <= _NUMBERED:
            ax.bar_label(bars, [f"{n:,}" for n in counts], padding=2, fontsize=SMALL)
    ax.set_yticks(places, [fit(name, 2.2, SMALL) for name in names], parse_math=False)
    ax.set_ylim(len(names) - 0.4, -0.6)  # the first class at the top
    ax.set_xlabel("samples")
    ax.margins(x=0.12)
    plain(ax)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    if several:
        legend = ax.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=len(sets), frameon=False,
            fontsize=SMALL, borderaxespad=0,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


# --- pixels --------------------------------------------------------------------------------------


def as_pictures(argument: str, images: ArrayLike) -> Pixels:
    """Images to draw: greys (n, h, w), or colours (n, h, w, 3), which are bytes or from 0 to 1.

    Raises TypeError for what is not numbers, ValueError for another shape or no images.
    """
    array = np.asarray(images)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{argument} must be an array of numbers, got {received(images)}")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
        hint = f"; for a single image, {argument}[None]" if array.ndim == 2 else ""
        raise ValueError(
            f"{argument} must have shape (n, height, width), (n, height, width, 1) or "
            f"(n, height, width, 3), got {array.shape}{hint}"
        )
    if not array.size:
        raise ValueError(f"{argument} holds no images: its shape is {array.shape}")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return _colours(array) if array.ndim == 4 else array


def _colours(array: Pixels) -> Pixels:
    """Bytes as they are, and other numbers from 0 to 1, which is what matplotlib takes."""
    if array.dtype == np.uint8:
        return array
    low, high = grey_limits(array)
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return array
    return (array - low) / (high - low)


def grey_limits(pictures: Pixels) -> tuple[float, float]:
    """The numbers that are drawn white and black."""
    if pictures.dtype == np.uint8 and pictures.max() > 1:
        return 0.0, 255.0
    return finite_limits(pictures)


def show(ax: Axes, picture: Pixels, limits: tuple[float, float]) -> None:
    """One image, pixel by pixel, without ticks; grey ones from ``limits[0]`` to ``limits[1]``."""
    low, high = limits
    ax.imshow(picture, cmap=PHOTOGRAPH, vmin=low, vmax=high, interpolation="nearest")
    bare(ax)


def check_same_length(pictures: Pixels, labels: Pixels | None) -> None:
    """Raises ValueError where there is not one label for each image."""
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"images has {len(pictures)} samples, labels has {len(labels)}")
