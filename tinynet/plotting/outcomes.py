"""What a model says of images, and where it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.errors import check_int, check_keywords
from tinynet.plotting.classes import check_class_names, check_labels, check_names_fit, names_of
from tinynet.plotting.figures import (
    BLUE,
    GREY,
    INK,
    MEDIUM,
    SMALL,
    VERMILION,
    Page,
    Path,
    bare,
    fit,
    new_figure,
    panels,
)
from tinynet.plotting.images import as_pictures, check_same_length, grey_limits, show
from tinynet.plotting.subject import check_model, class_probabilities, picture_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PICTURE, _BARS, _HEIGHT = 1.35, 1.85, 1.6  # inches: an image, its bars with their names; both


@check_keywords
def predictions(
    model: Any,
    images: ArrayLike,
    labels: ArrayLike | None = None,
    class_names: Any = None,
    *,
    rows: int = 5,
    columns: int = 3,
    top: int = 5,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """What the model says of the first ``rows * columns`` images, with the probabilities as bars.

    Above each image stands the predicted class and how sure the model is; where that is right in
    blue with a ✓, where it is wrong in vermilion with a ✗, and then the true class below it.

    model: any that gives a row of class scores for each image. Probabilities are taken as they
    are; logits, that is rows that are no probabilities, or any where the model's loss was made
    with ``from_logits=True``, go through a softmax. One output stands for two classes.
    images: as the model takes them: (n, h, w), (n, h, w, 1), (n, h, w, 3), or squares in rows.
    labels: the true classes (n,); without them nothing is right or wrong.
    top: how many of the most probable classes have bars; the true one always has.
    axes: where to draw, two Axes for each image, the second for the bars; by default a new figure.
    to_file: where to write the picture, which is not done by default.

    Returns the Figure, or the axes that were given. Raises TypeError or ValueError where model,
    images, labels and class_names do not fit each other.
    """
    count = check_int("rows", rows, minimum=1) * check_int("columns", columns, minimum=1)
    top = check_int("top", top, minimum=1)
    answers = _ask(model, images, labels, class_names, first=count)
    page = _cells(axes, len(answers.pictures), columns)
    for i in range(len(answers.pictures)):
        _cell(page.axes[2 * i], page.axes[2 * i + 1], answers, i, top, page.width)
    return page.finish(to_file)


@check_keywords
def mistakes(
    model: Any,
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Any = None,
    *,
    rows: int = 5,
    columns: int = 3,
    top: int = 5,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """The images that the model is most confidently wrong about, the worst first.

    All images are predicted; the arguments and the picture are those of `predictions`, with the
    number of each image below it. Where there are no mistakes the picture says so.
    """
    count = check_int("rows", rows, minimum=1) * check_int("columns", columns, minimum=1)
    top = check_int("top", top, minimum=1)
    if labels is None:
        raise TypeError("mistakes() needs labels, the true classes; predictions() does without")
    answers = _ask(model, images, labels, class_names)
    order = answers.mistakes()
    shown = order[:count]
    summary = f"{len(order):,} of {len(answers.pictures):,} images are predicted wrong"
    if not len(shown):
        page = _cells(axes, 1, 1)
        _say(page, f"No mistakes:\nall {len(answers.pictures):,} images are predicted right")
        return page.finish(to_file)
    page = _cells(axes, len(shown), columns)
    for place, i in enumerate(shown):
        ax = page.axes[2 * place]
        _cell(ax, page.axes[2 * place + 1], answers, int(i), top, page.width)
        ax.set_xlabel(f"image {i}", size=SMALL, color=GREY)
    if page.own:
        first = "" if len(shown) == len(order) else f"; the {len(shown)} most confident of them"
        page.figure.suptitle(summary + first, fontsize=MEDIUM)
    return page.finish(to_file)


class Answers:
    """What a model said of images: probabilities (n, classes), beside the truth where known."""

    def __init__(
        self,
        pictures: NDArray[Any],
        probabilities: NDArray[np.floating],
        labels: NDArray[np.int64] | None,
        names: list[str],
    ) -> None:
        self.pictures = pictures
        self.probabilities = probabilities
        self.predicted = probabilities.argmax(axis=1)
        self.confidence = probabilities.max(axis=1)
        self.labels = labels
        self.names = names
        self.limits = grey_limits(pictures)

    def mistakes(self) -> NDArray[np.intp]:
        """The indices of the wrong ones, the most confident first, the first of equals first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]


def _ask(
    model: Any, images: ArrayLike, labels: Any, class_names: Any, first: int | None = None
) -> Answers:
    """The model's answers; to all images, or to the first so many."""
    model = check_model(model)
    x = np.asarray(images)
    shape = picture_shape(x.shape[1:]) if x.ndim == 2 else None
    pictures = as_pictures("images", x.reshape(len(x), *shape) if shape else x)
    names = check_class_names(class_names)
    labels = None if labels is None else check_labels("labels", labels, names)
    check_same_length(pictures, labels)
    probabilities = class_probabilities(model, x[:first])
    classes = probabilities.shape[1]
    check_names_fit(names, classes, f"{model.label} predicts {classes} classes")
    labels = None if labels is None else check_labels("labels", labels, None, classes)[:first]
    return Answers(pictures[:first], probabilities, labels, names_of(names, classes))


def _cells(axes: Any, count: int, columns: int) -> Page:
    """A page with a pair of panels, image and bars, for each of ``count`` images."""
    if axes is not None:
        return panels(axes, 2 * count, "image and one for its bars", 2, 1, 1)
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(columns * (_PICTURE + _BARS) + 0.1, rows * _HEIGHT + 0.2)
    # The names of the bars stand between the image and the bars, which are narrower for it.
    grid = figure.add_gridspec(rows, 2 * columns, width_ratios=[_PICTURE, _BARS - 0.9] * columns)
    cells = [divmod(i, columns) for i in range(count)]
    pairs = [grid[row, 2 * column + part] for row, column in cells for part in (0, 1)]
    return Page(figure, [figure.add_subplot(place) for place in pairs], _PICTURE)


def _cell(ax: Axes, bars: Axes, answers: Answers, i: int, top: int, width: float) -> None:
    show(ax, answers.pictures[i], answers.limits)
    ax.set_anchor("NW")  # so that the title stands above the bars too, however narrow the image
    names, predicted = answers.names, int(answers.predicted[i])
    true = None if answers.labels is None else int(answers.labels[i])
    sure = answers.confidence[i]
    right = true == predicted and bool(np.isfinite(sure))
    colour = INK if true is None else BLUE if right else VERMILION
    mark = "" if true is None else "✓ " if right else "✗ "
    room = width + _BARS - 0.3
    said = f"{fit(names[predicted], room - 0.5, MEDIUM)}, {sure:.0%}"
    title = mark + (said if np.isfinite(sure) else "no finite answer")
    if true is not None and not right:
        title += f"\n    true: {fit(names[true], room - 0.6, MEDIUM)}"
    ax.set_title(title, loc="left", fontsize=MEDIUM, color=colour, parse_math=False)
    _probability_bars(bars, answers, i, top, colour, true)


def _probability_bars(
    ax: Axes, answers: Answers, i: int, top: int, colour: str, true: int | None
) -> None:
    """The most probable classes from top to bottom; the predicted one in the title's colour."""
    row = answers.probabilities[i]
    chosen = [int(c) for c in np.argsort(-row, kind="stable")[:top]]
    if true is not None and true not in chosen:
        chosen.append(true)
    predicted = int(answers.predicted[i])
    colours = [colour if c == predicted else BLUE if c == true else GREY for c in chosen]
    places = range(len(chosen))
    bars = ax.barh(places, row[chosen], height=0.75, color=colours)
    ax.bar_label(bars, [f"{p:.0%}" for p in row[chosen]], padding=2, fontsize=SMALL)
    bare(ax)
    ax.set_yticks(places, [fit(answers.names[c], 0.95, SMALL) for c in chosen], parse_math=False)
    ax.tick_params(axis="y", length=0, labelsize=SMALL, pad=2)
    ax.set_xlim(0, 1.55)  # room for "100%" behind a full bar
    ax.set_ylim(max(len(chosen), 4) - 0.5, -0.5)  # a bar or two do not fill the panel


def _say(page: Page, text: str) -> None:
    """Words in the place of a picture, over the whole page."""
    for ax in page.axes:
        bare(ax)
    if page.own:
        page.figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=MEDIUM, color=BLUE)
    else:
        ax = page.axes[0]
        ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize=MEDIUM,
                color=BLUE)  # fmt: skip
