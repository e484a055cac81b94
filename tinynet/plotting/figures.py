"""What all pictures share: figures without pyplot, files, colours, and texts that fit.

A picture goes onto the axes that its caller gives, or else into a new Figure, which belongs to
nobody but the caller: pyplot, which keeps a list of figures and global settings, is not used.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), which people who cannot
tell red from green can tell apart; the colour maps are safe for them too.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.errors import received

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]

BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
INK, GREY, PALE = "#333333", "#8c8c8c", "#dddddd"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)

PHOTOGRAPH = "binary"  # black on white, which spares ink and looks as the data set's own pictures
AMOUNT = "Blues"  # from nothing to much
SIGNED = "RdBu_r"  # blue below 0, white at 0, red above
HEAT = "viridis"

SMALL, MEDIUM, LARGE = 7.0, 8.0, 9.0  # points; smaller cannot be read in print
DPI = 150  # dots for each inch of a file


class Page:
    """Where a picture is drawn.

    axes: its panels, in order.
    width: how wide a panel is, in inches, about.
    own: whether the figure was made for this picture; else the axes were given.
    """

    def __init__(self, figure: Figure, axes: list[Axes], width: float, given: Any = None) -> None:
        self.figure = figure
        self.axes = axes
        self.width = width
        self.own = given is None
        self._given = given

    def finish(self, to_file: Path | None, dpi: float = DPI) -> Any:
        """Write the figure where that is asked for; returns it, or the axes that were given."""
        if to_file is not None:
            self.figure.savefig(to_file, dpi=dpi)
        return self.figure if self.own else self._given


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that finds room for all texts and shows itself in a notebook."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def one_panel(ax: Any, width: float, height: float) -> Page:
    """A page with one panel: ``ax``, or where that is None a new figure of this size."""
    if ax is not None:
        return _page_of(ax, 1, "picture", "ax")
    figure = new_figure(width, height)
    return Page(figure, [figure.subplots()], width)


def panels(axes: Any, count: int, each: str, columns: int, width: float, height: float) -> Page:
    """A page with ``count`` panels: ``axes``, or a grid in a new figure, each of this size.

    each: what has a panel of its own, for the error where too few axes are given.
    """
    if axes is not None:
        return _page_of(axes, count, each, "axes")
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(columns * width, rows * height)
    grid = figure.add_gridspec(rows, columns)
    return Page(figure, [figure.add_subplot(grid[divmod(i, columns)]) for i in range(count)], width)


def size_of(ax: Axes) -> tuple[float, float]:
    """Width and height of a panel in inches, as it stands now."""
    extent = ax.get_window_extent()
    dpi = _figure_of(ax).dpi
    return extent.width / dpi, extent.height / dpi


def bare(ax: Axes) -> None:
    """Take away ticks, grid and frame, which pictures of pixels do without."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def plain(ax: Axes) -> None:
    """The frame of all charts: a line at the left and below, small figures, a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(which="both", labelsize=SMALL)
    ax.xaxis.label.set_fontsize(MEDIUM)
    ax.yaxis.label.set_fontsize(MEDIUM)
    ax.grid(alpha=0.3)
    ax.set_axisbelow(True)


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """How many inches the widest line of ``text`` takes at ``size`` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    widths = (text_to_path.get_text_width_height_descent(line, font, False)[0] for line in
              text.split("\n"))  # fmt: skip
    return float(max(widths)) / 72


def fit(text: str, width: float, size: float, lines: int = 1) -> str:
    """``text`` in at most so many lines of ``width`` inches, broken between words where it can be.

    What does not go in is cut off and ends in "…".
    """
    rest = " ".join(text.split())
    done: list[str] = []
    while rest and text_width(rest, size) > width:
        last = len(done) == lines - 1
        room = width - text_width("…", size) if last else width
        letters = _letters(rest, room, size)
        if last:
            return "\n".join([*done, rest[:letters].rstrip() + "…"])
        space = rest.rfind(" ", 0, letters + 1)
        end = space if space > 0 else letters
        done.append(rest[:end])
        rest = rest[end:].lstrip()
    return "\n".join([*done, rest] if rest else done)


def fit_end(text: str, width: float, size: float) -> str:
    """``text`` in ``width`` inches, cut off at its beginning: paths differ at their ends."""
    start, shown = 0, text
    while text_width(shown, size) > width and start < len(text):
        start += 1
        shown = f"…{text[start:]}"
    return shown


def _letters(text: str, width: float, size: float) -> int:
    """How many of its letters go into ``width`` inches; at least one."""
    counts = range(1, len(text))
    fitting = bisect_right(counts, width, key=lambda n: text_width(text[:n], size))
    return max(fitting, 1)


def _page_of(given: Any, count: int, each: str, argument: str) -> Page:
    from matplotlib.axes import Axes

    axes = list(np.ravel(np.asarray(given, dtype=object)))
    wrong = [ax for ax in axes if not isinstance(ax, Axes)]
    if wrong:
        raise TypeError(f"{argument} must be matplotlib's Axes, got {received(wrong[0])}")
    if len(axes) < count or (argument == "ax" and len(axes) > 1):
        wanted = "one Axes" if argument == "ax" else f"{count} Axes or more, one for each {each}"
        raise ValueError(f"{argument} must be {wanted}, got {len(axes)}")
    used = axes[:count]
    return Page(_figure_of(used[0]), used, size_of(used[0])[0], given)


def _figure_of(ax: Axes) -> Any:
    """The figure that an Axes is in, also where a part of it lies between."""
    return ax.figure.figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
