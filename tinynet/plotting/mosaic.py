"""Many small pictures as one: tiles in rows, with lines of nothing between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.plotting.figures import PALE, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def mosaic(tiles: NDArray[Any], columns: int) -> NDArray[np.float64]:
    """tiles (n, h, w) -> (rows * (h + 1) - 1, columns * (w + 1) - 1), NaN between the tiles.

    Tile i has its upper left corner at ``divmod(i, columns) * (h + 1, w + 1)``.
    """
    n, h, w = tiles.shape
    rows = -(-n // columns)
    whole = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        whole[top : top + h, left : left + w] = tile
    return whole


def mosaic_columns(count: int, ratio: float = 1.0) -> int:
    """How many columns make ``count`` tiles about ``ratio`` times as wide as they are tall."""
    return min(count, max(1, math.ceil(math.sqrt(count * ratio))))


def show_mosaic(ax: Axes, whole: NDArray[Any], colours: str, low: float, high: float) -> Any:
    """Draw it, what lies between the tiles in pale grey; returns the matplotlib image."""
    from matplotlib import colormaps

    shades = colormaps[colours].with_extremes(bad=PALE)
    image = ax.imshow(whole, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
    bare(ax)
    return image
