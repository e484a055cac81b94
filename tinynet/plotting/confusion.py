"""Which classes are taken for which: the confusion matrix, and a table with a row for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet import metrics
from tinynet.errors import check_keywords, received
from tinynet.plotting.classes import check_class_names, names_of
from tinynet.plotting.figures import (
    AMOUNT,
    GREY,
    INK,
    LARGE,
    MEDIUM,
    PALE,
    SKY,
    SMALL,
    Path,
    fit,
    one_panel,
    size_of,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ANNOTATED = 20  # classes; with more of them the numbers would be too small to read
_LINE = 0.125  # inches for a line of the smallest text
_LONGEST = 1.9  # inches for the name of a class


@check_keywords
def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    class_names: Any = None,
    normalize: str | None = None,
    *,
    ax: Any = None,
    to_file: Path | None = None,
) -> Any:
    """How often each class was predicted as which: a row for each true class.

    y_true: class indices (n,), or one-hot (n, c).   y_pred: class indices, or scores (n, c).
    class_names: one for each class; without them, the index.
    normalize: None for counts; "true" for shares of each true class, which are the rows; "pred"
    for shares of each predicted class, the columns; "all" for shares of all samples. A share of
    nothing is left empty.
    ax: where to draw; by default a new figure, larger for more classes.   to_file: where to write
    it.

    Up to 20 classes have their numbers written in; with more, a scale says what the colours mean,
    which then go by the square root, so that a few mistakes among many samples can be seen.
    The numbers themselves are `tinynet.metrics.confusion_matrix`.

    Returns the Figure, or the Axes that was given. Raises TypeError for what is not numbers;
    ValueError for lengths that differ, a class out of range, an unknown normalize.
    """
    if normalize not in (None, "true", "pred", "all"):
        raise ValueError(
            f"normalize must be None, 'true', 'pred' or 'all', got {received(normalize)}"
        )
    names = check_class_names(class_names)
    matrix = metrics.confusion_matrix(y_true, y_pred, None if names is None else len(names))
    total = int(matrix.sum())
    if not total:
        raise ValueError("y_true holds no samples")
    names = names_of(names, len(matrix))
    cells = _normalized(matrix, normalize)
    texts = _texts(cells, normalize) if len(names) <= _ANNOTATED else None
    cell = _cell_size(len(names), texts)
    margin = min(_LONGEST, max(text_width(name, SMALL) for name in names))
    side, turn = cell * len(names), _turn(names, cell)
    below = {0: 0.15, 45: 0.75 * margin, 90: margin}[turn]
    accuracy = matrix.trace() / total
    title = f"accuracy {accuracy:.2%}, {total:,} sample{'' if total == 1 else 's'}"
    width = max(side + margin + (0.4 if texts else 1.2), text_width(title, LARGE) + 0.8)
    page = one_panel(ax, width, side + below + 0.7)
    panel = page.axes[0]
    panel.set_title(title, fontsize=LARGE)
    image = _colour(panel, cells)
    _name_axes(panel, names, cell if page.own else min(size_of(panel)) / len(names))
    if texts and not page.own:
        page.figure.draw_without_rendering()  # which gives the panel its place
        if min(size_of(panel)) / len(names) < _widest(texts):
            texts = None
    if texts:
        _write_in(panel, cells, texts, dark=0.55 * image.norm.vmax)
    else:
        scale = page.figure.colorbar(image, ax=panel, shrink=0.6, aspect=30, pad=0.02)
        scale.set_label(_UNITS[normalize], size=MEDIUM)
        scale.ax.tick_params(labelsize=SMALL)
    return page.finish(to_file)


_UNITS = {
    None: "samples",
    "true": "share of the true class",
    "pred": "share of the predicted class",
    "all": "share of all samples",
}


def _normalized(matrix: NDArray[np.int64], normalize: str | None) -> NDArray[Any]:
    if normalize is None:
        return matrix
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    whole = matrix.sum(axis=axis, keepdims=True)
    return np.where(whole > 0, matrix / np.maximum(whole, 1), np.nan)


def _texts(cells: NDArray[Any], normalize: str | None) -> list[list[str]]:
    def text(value: float) -> str:
        if math.isnan(value):
            return "–"
        if normalize is None:
            return f"{int(value):,}"
        return f"{value:.{3 if normalize == 'all' else 2}f}" if value else "0"

    return [[text(value) for value in row] for row in cells]


def _widest(texts: list[list[str]]) -> float:
    """The inches that a cell needs for the longest of its texts."""
    return text_width(max((text for row in texts for text in row), key=len), SMALL) + 0.08


def _cell_size(classes: int, texts: list[list[str]] | None) -> float:
    """The inches of a cell in a figure of its own."""
    if texts is not None:
        return max(_widest(texts), min(0.5, 6 / classes), 0.32)
    return min(_LINE, 24 / classes) if classes > 48 else 6 / classes


def _colour(ax: Axes, cells: NDArray[Any]) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, PowerNorm

    colours = colormaps[AMOUNT].with_extremes(bad=PALE)
    finite = cells[np.isfinite(cells)]
    high = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    # Among many classes mistakes are few in each cell: the square root brings them out.
    norm = Normalize(0, high) if len(cells) <= _ANNOTATED else PowerNorm(0.5, 0, high)
    ax.grid(False)
    return ax.imshow(cells, cmap=colours, norm=norm, interpolation="nearest")


def _write_in(ax: Axes, cells: NDArray[Any], texts: list[list[str]], dark: float) -> None:
    """The numbers in the cells, white where these are darker than ``dark``."""
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            colour = "white" if cells[row, column] > dark else GREY if text == "0" else INK
            ax.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=colour)


def _step(cell: float) -> int:
    """Of how many classes one has its name written, so that each has a line for itself."""
    return max(1, math.ceil(_LINE / cell - 0.01))


def _turn(names: list[str], cell: float) -> int:
    """The angle of the names below the columns: as little as there is room for."""
    widest = max(text_width(fit(name, _LONGEST, SMALL), SMALL) for name in names)
    return 0 if widest < _step(cell) * cell - 0.05 else 90 if cell < 0.25 else 45


def _name_axes(ax: Axes, names: list[str], cell: float) -> None:
    """The names of the classes along both sides; only every so many where they are too many."""
    places = range(0, len(names), _step(cell))
    shown = [fit(names[i], _LONGEST, SMALL) for i in places]
    thin = len(names) > _ANNOTATED
    ax.set_xticks(places, shown, parse_math=False)
    ax.set_yticks(places, shown, parse_math=False)
    ax.tick_params(labelsize=SMALL, length=2 if thin else 0, width=0.4 if thin else 0.8)
    turn = _turn(names, cell)
    if turn:
        ax.tick_params(axis="x", pad=2)
        for text in ax.get_xticklabels():
            text.set_rotation(turn)
            text.set_rotation_mode("anchor")
            text.set_horizontalalignment("right")
            text.set_verticalalignment("center" if turn == 90 else "top")
    ax.spines[:].set_linewidth(0.5)
    ax.set_xlabel("predicted class", size=MEDIUM)
    ax.set_ylabel("true class", size=MEDIUM)


# --- the table -----------------------------------------------------------------------------------


@check_keywords
def classification_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    class_names: Any = None,
    *,
    ax: Any = None,
    to_file: Path | None = None,
) -> Any:
    """Precision, recall, F1 and support of each class as a table, with bars behind the numbers.

    The arguments are those of `confusion_matrix`; the numbers themselves are
    `tinynet.metrics.classification_report`. Below the classes stand their means, plain and
    weighted by support. A share of nothing (the precision of a class that was never predicted) is
    written "–".

    Returns the Figure, or the Axes that was given. Raises TypeError for what is not numbers;
    ValueError for lengths that differ and a class out of range.
    """
    report = metrics.classification_report(y_true, y_pred, check_class_names(class_names))
    names = report.class_names
    margin = min(_LONGEST, max(text_width(name, SMALL) for name in (*names, _MEANS[1])))
    line = 0.2 if len(names) <= 40 else _LINE + 0.015
    page = one_panel(ax, margin + 4.0, line * (len(names) + 2.5) + 0.75)
    _table(page.axes[0], report)
    total = int(report.support.sum())
    page.axes[0].set_title(
        f"accuracy {report.accuracy:.2%}, {total:,} sample{'' if total == 1 else 's'}",
        fontsize=LARGE,
    )
    return page.finish(to_file)


_COLUMNS = ("precision", "recall", "f1")
_MEANS = ("mean", "weighted mean")


def _table(ax: Axes, report: metrics.ClassReport) -> None:
    classes = len(report.class_names)
    rows = np.arange(classes)
    mean_rows = classes + 0.5 + np.arange(2)
    means = [report.mean(), report.mean(weighted=True)]
    undefined = {
        "precision": report.predicted == 0,
        "recall": report.support == 0,
        "f1": report.predicted + report.support == 0,
    }
    for column, name in enumerate(_COLUMNS):
        values = getattr(report, name)
        texts = ["–" if gone else f"{v:.3f}" for v, gone in
                 zip(values, undefined[name], strict=True)]  # fmt: skip
        averages = [mean[name] for mean in means]
        ax.barh(rows, 0.92 * values, 0.8, left=column, color=SKY, alpha=0.45)
        ax.barh(mean_rows, 0.92 * np.array(averages), 0.8, left=column, color=PALE)
        for row, text in zip([*rows, *mean_rows], [*texts, *(f"{v:.3f}" for v in averages)],
                             strict=True):  # fmt: skip
            ax.text(column + 0.06, row, text, va="center", fontsize=SMALL, color=INK)
    for row, n in zip([*rows, mean_rows[0]], [*report.support, report.support.sum()], strict=True):
        ax.text(len(_COLUMNS) + 0.7, row, f"{n:,}", ha="right", va="center", fontsize=SMALL,
                color=INK)  # fmt: skip
    ax.axhline(classes - 0.25, color=INK, linewidth=0.6)
    ax.set_xlim(-0.04, len(_COLUMNS) + 0.8)
    ax.set_ylim(classes + 2, -0.6)
    named = [fit(name, _LONGEST, SMALL) for name in report.class_names]
    ax.set_yticks([*rows, *mean_rows], [*named, *_MEANS], parse_math=False)
    heads = [*(column + 0.06 for column in range(len(_COLUMNS))), len(_COLUMNS) + 0.7]
    ax.xaxis.tick_top()
    ax.set_xticks(heads, [*_COLUMNS, "support"])
    for i, head in enumerate(ax.get_xticklabels()):
        head.set_horizontalalignment("right" if i == len(_COLUMNS) else "left")
    ax.tick_params(length=0, labelsize=SMALL)
    ax.tick_params(axis="x", labelsize=MEDIUM)
    ax.grid(False)
    ax.spines[:].set_visible(False)
