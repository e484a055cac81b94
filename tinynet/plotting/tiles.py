"""Many small pictures in one panel, in rows, with room between them and one scale for all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.plotting.figures import GREY, PALE, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_GAP = 0.07  # of a tile's longer side


def show_tiles(
    ax: Axes, tiles: NDArray[Any], colours: str, limits: tuple[float, float]
) -> AxesImage:
    """Draw tiles (n, h, w) from left to right and from top to bottom, in about a square.

    limits: the numbers at both ends of the colour map.   Returns the last tile's image, whose
    colours are those of all.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shades = colormaps[colours].with_extremes(bad=PALE)
    n, h, w = tiles.shape
    gap = _GAP * max(h, w)
    columns = min(n, math.ceil(math.sqrt(n * h / w)))
    for i, tile in enumerate(tiles):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        image = ax.imshow(
            tile, cmap=shades, vmin=limits[0], vmax=limits[1], interpolation="nearest",
            extent=(left, left + w, top + h, top),
        )  # fmt: skip
        ax.add_patch(Rectangle((left, top), w, h, fill=False, edgecolor=GREY, linewidth=0.4))
    rows = -(-n // columns)
    ax.set_xlim(-gap / 2, columns * (w + gap) - gap / 2)
    ax.set_ylim(rows * (h + gap) - gap / 2, -gap / 2)
    bare(ax)
    return image


def finite_limits(values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest of the finite values, apart; 0 and 1 where there are none."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if low < high else (low, low + 1)


def signed_limits(values: NDArray[Any]) -> tuple[float, float]:
    """As far below 0 as above it, so that 0 has the colour in the middle."""
    high = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    return -high, high
