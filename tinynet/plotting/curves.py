"""Learning curves: how loss and metrics went, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.errors import check_keywords
from tinynet.plotting.figures import (
    BLUE,
    CYCLE,
    INK,
    MEDIUM,
    SMALL,
    VERMILION,
    Page,
    Path,
    fit,
    panels,
    plain,
)
from tinynet.plotting.runs import Run, best, best_is_low, measures, read_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 3  # panels beside each other

Best = tuple[str, int, float]  # the label of a run, its best epoch, the value there


@check_keywords
def learning_curves(history: Any, to_file: Path | None = None, *, axes: Any = None) -> Any:
    """Loss and metrics over the epochs, training and validation in one panel for each.

    history: what fit returned; a dict of lists such as ``history.history``; the path of a file
    that CSVLogger wrote; or several of these in a dict, ``{"adam": history, "sgd": "sgd.csv"}``,
    whose keys are written into the legend. A dict of lists is one training, a dict of anything
    else several.
    to_file: where to write the picture; its ending (.png, .svg, .pdf) says how.
    axes: where to draw, one Axes for each measure; by default a new figure.

    A star marks the best epoch of each measure, by its validation where there was one and else by
    the training. NaN and infinity leave a gap, and are never best.

    Returns the Figure, or the axes that were given. Raises TypeError for what is no history,
    ValueError for one without epochs, and for a dict whose lists differ in length.
    """
    runs = read_runs(history)
    names = measures(list(runs.values()))
    page = panels(axes, len(names), "measure", columns=_COLUMNS, width=4.8, height=3.6)
    for ax, name in zip(page.axes, names, strict=True):
        _panel(ax, name, runs, page.width)
    if page.own and len(runs) > 1:
        _legends_below(page)
    return page.finish(to_file)


def _panel(ax: Axes, name: str, runs: dict[str, Run], width: float) -> None:
    from matplotlib.ticker import MaxNLocator

    validated = any(f"val_{name}" in run for run in runs.values())
    found = [
        _curves(ax, name, run, label, validated, None if len(runs) == 1 else CYCLE[i % len(CYCLE)])
        for i, (label, run) in enumerate(runs.items())
    ]
    curves = [run[key] for run in runs.values() for key in (name, f"val_{name}") if key in run]
    _note_best(ax, name, [one for one in found if one], width, validated)
    if not any(np.isfinite(curve.values).any() for curve in curves):
        ax.set_ylim(0, 1)
        ax.set_yticks([])
    ax.set(xlabel="epoch", ylabel=name.replace("_", " "))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # Not left to matplotlib, which finds no place for NaN.
    first = min(min(curve.epochs) for curve in curves)
    last = max(max(curve.epochs) for curve in curves)
    margin = max(0.03 * (last - first), 0.05)
    ax.set_xlim(first - margin, last + margin)
    plain(ax)
    # Where it lies over curves, its words can still be read.
    legend = ax.legend(framealpha=0.8, edgecolor="none", fontsize=SMALL, handlelength=3.2)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_text(fit(text.get_text(), width - 1.4, SMALL, 2))


def _legends_below(page: Page) -> None:
    """Put the legends below their panels, and make the figure taller by as much for each row."""
    legends = [legend for ax in page.axes if (legend := ax.get_legend())]
    for legend in legends:
        legend.set_loc("upper center")
        legend.set_bbox_to_anchor((0.5, -0.12))
    figure = page.figure
    figure.draw_without_rendering()
    tallest = max(legend.get_window_extent().height for legend in legends) / figure.dpi
    rows = -(-len(page.axes) // _COLUMNS)
    figure.set_figheight(figure.get_figheight() + rows * tallest)


def _curves(
    ax: Axes, name: str, run: Run, label: str, validated: bool, colour: str | None
) -> Best | None:
    """Draw one run, one colour for all of it or one for each part; returns its best epoch."""
    parts = {name: ("training", BLUE, "-"), f"val_{name}": ("validation", VERMILION, "--")}
    point, of_point = None, BLUE
    for key, (part, own_colour, style) in parts.items():
        if key in run:
            shown = f"{label}, {part}" if label and validated else label or part
            of_part = colour or own_colour
            dots = 3 if len(run[key].epochs) <= 40 else 1.2  # small ones leave the dashes visible
            ax.plot(*run[key], style, color=of_part, label=shown, marker="o", ms=dots)
            point, of_point = best(run[key], name), of_part
    if point is None:
        return None
    ax.scatter(*point, s=110, marker="*", color=of_point, edgecolor=INK, linewidth=0.7, zorder=4)
    return label, *point


def _note_best(ax: Axes, name: str, found: list[Best], width: float, validated: bool) -> None:
    """Above the panel: the best epoch, of the best run where there are several."""
    note = "no finite validation" if validated else "no finite values"
    if found:
        choose = min if best_is_low(name) else max
        label, epoch, value = choose(found, key=lambda one: one[2])
        note = f"★ best: {label}{', ' if label else ''}epoch {epoch}, {value:.4g}"
    title = fit(note, width - 0.8, MEDIUM)
    ax.set_title(title, loc="right", fontsize=MEDIUM, parse_math=False)
