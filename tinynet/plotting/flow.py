"""How signals flow forward and gradients back: for one batch, and over a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.callbacks.gradient_history import MEASURES, dead_share, rms, update_ratio
from tinynet.errors import check_int, check_keywords, received
from tinynet.layers.base import Array, Layer
from tinynet.layers.dropout import Dropout
from tinynet.layers.reshaping import Flatten, Reshape
from tinynet.layers.watch import leaf_layers, watched
from tinynet.models import Model
from tinynet.plotting.figures import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    HEAT,
    INK,
    LARGE,
    MEDIUM,
    ORANGE,
    PURPLE,
    SMALL,
    VERMILION,
    Page,
    Path,
    fit,
    fit_end,
    panels,
    plain,
    text_width,
)
from tinynet.plotting.subject import check_model, copy_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEALTHY = 1e-3  # of the weights in a step: Karpathy, CS231n, "Neural Networks Part 3"


class LayerFlow(NamedTuple):
    """What one batch does in one layer; arrays are empty, numbers NaN, where there is nothing.

    activations: all entries of its output.
    gradients: all entries of the gradients of its weights.
    updates: how far the optimizer's step moves each weight, as a share of the root mean square of
    the array that it is in; an array of zeros, as biases are at first, is left out.
    ratio: ``norm(after - before) / norm(before)`` of its weights.
    dead: the share of a relu's units that are 0 for all of the batch.
    """

    activations: NDArray[np.floating]
    gradients: NDArray[np.floating]
    updates: NDArray[np.floating]
    ratio: float
    dead: float


def layer_flows(model: Any, x: ArrayLike, y: ArrayLike) -> dict[str, LayerFlow]:
    """What one step of training on the batch x, y does in each layer, by its name.

    The step is made by a copy, with the optimizer's own memory of the steps before: the model, its
    optimizer and the random numbers stay as they are.

    Raises TypeError or ValueError for a model that is not compiled or has no weights yet, and for
    x or y that do not fit.
    """
    seen: dict[str, tuple[Array, float]] = {}
    with copy_of(check_model(model, trained=True)) as trained:
        layers = leaf_layers(trained)
        before = {
            name: {key: w.copy() for key, w in layer.trainable_params.items()}
            for name, layer in layers.items()
        }

        def see(name: str, output: Array) -> None:
            seen[name] = output.flatten(), dead_share(layers[name], output)

        with watched(layers, see):
            trained.train_on_batch(x, y)
        return {
            name: _flow(layer, before[name], *seen.get(name, (_NOTHING, np.nan)))
            for name, layer in layers.items()
        }


@check_keywords
def gradient_flow(
    model: Any, x: ArrayLike, y: ArrayLike, *, axes: Any = None, to_file: Path | None = None
) -> Any:
    """Do signals and gradients reach every layer? Four panels with a row for each layer.

    1. activations, their sizes: the layer's output (of the last layer what goes into a softmax that
       the loss takes care of);
    2. gradients of its weights, their sizes;
    3. update to weight: how far the optimizer's next step moves each weight, as a share of the root
       mean square of its array; the diamond is that of all weights together,
       ``norm(update) / norm(weights)``, about 0.001 in a healthy training;
    4. dead units: the share of a relu's units that are 0 for all of the batch.

    In the first three a thin line goes from the 5th to the 95th percentile, a thick one from the
    25th to the 75th, with a dot at the median. What is exactly 0 is left out, as the scale is
    logarithmic.

    model: compiled, trained or not.   x, y: one batch, as fit takes it; a few hundred samples. One
    step is made on a copy: model, optimizer and random numbers stay as they are.
    axes: where to draw, four Axes; by default a new figure.   to_file: where to write it.

    Returns the Figure, or the axes that were given. Raises TypeError or ValueError for a model that
    is not compiled or has no weights yet, and for x or y that do not fit.
    """
    flows = layer_flows(model, x, y)
    shown = {name: flow for name, flow in flows.items() if flow.activations.size}
    names = list(shown)
    wide = min(2.2, max((text_width(name, SMALL) for name in names), default=0.0))
    page = panels(axes, 4, "measure", 4, 2.4 + wide / 4, 0.27 * len(names) + 1.0)
    spread, gradients, updates, dead = page.axes
    _boxes(spread, [flow.activations for flow in shown.values()], BLUE, "|activation|")
    _boxes(gradients, [flow.gradients for flow in shown.values()], VERMILION, "|gradient|")
    _boxes(updates, [flow.updates for flow in shown.values()], GREEN, "|update| / weight",
           "; ◆ all together")  # fmt: skip
    _ratios(updates, [flow.ratio for flow in shown.values()])
    _shares(dead, [flow.dead for flow in shown.values()])
    for i, ax in enumerate(page.axes):
        named = i == 0 or _begins_row(ax)
        labels = [fit_end(name, wide, SMALL) if named else "" for name in names]
        ax.set_yticks(range(len(names)), labels, parse_math=False)
        ax.set_ylim(len(names) - 0.5, -0.5)  # the first layer at the top
        plain(ax)
        ax.tick_params(axis="y", length=0)
        if ax.get_xscale() == "log":
            _number_decades(ax)
        ax.set_xlabel(fit(ax.get_xlabel(), page.width, MEDIUM, 2))
    return page.finish(to_file)


@check_keywords
def activation_histograms(
    model: Any,
    x: ArrayLike,
    *,
    bins: int = 50,
    axes: Any = None,
    to_file: Path | None = None,
) -> Any:
    """What values each layer's output takes for the samples x, in inference: a histogram for each.

    Flatten, Reshape and Dropout, which repeat what is before them, are left out. So are the zeros,
    of which a relu makes many: their share stands above the panel.

    x: as predict takes it; a few hundred samples.   bins: how many bars.
    axes: where to draw, one Axes for each layer; by default a new figure.
    to_file: where to write it.

    Returns the Figure, or the axes that were given. Raises TypeError or ValueError for what is no
    model, one that has no weights yet, and for x that does not fit.
    """
    model, bins = check_model(model), check_int("bins", bins, minimum=1)
    values = _activations(model, x)
    page = panels(axes, len(values), "layer", 4, 2.5, 1.9)
    for ax, (name, of_layer) in zip(page.axes, values.items(), strict=True):
        finite = of_layer[np.isfinite(of_layer)]
        counts, edges = np.histogram(finite[finite != 0], bins)
        ax.stairs(counts, edges, fill=True, color=BLUE)
        zeros, lost = np.mean(of_layer == 0), 1 - finite.size / of_layer.size
        notes = [f"{zeros:.0%} zeros, left out"] * bool(zeros) + [
            f"{lost:.0%} NaN or infinite"
        ] * bool(lost)
        head = fit_end(name, page.width - 0.2, MEDIUM)
        ax.set_title(f"{head}\n{', '.join(notes) or 'no zeros'}", fontsize=MEDIUM, parse_math=False)
        ax.set_yticks([])
        plain(ax)
        ax.spines["left"].set_visible(False)
        ax.locator_params(axis="x", nbins=5)
    return page.finish(to_file)


@check_keywords
def gradient_history(record: Any, *, axes: Any = None, to_file: Path | None = None) -> Any:
    """How signals and gradients went while training: four panels with a line for each layer.

    record: a `tinynet.callbacks.GradientHistory` that was given to fit; it says what the measures
    are: activations, gradients, update to weight (about 0.001 in a healthy training), dead units.
    axes: where to draw, four Axes; by default a new figure.   to_file: where to write it.

    Returns the Figure, or the axes that were given. Raises TypeError for what is no such record,
    ValueError for one without steps.
    """
    steps, history = getattr(record, "steps", None), getattr(record, "history", None)
    if not isinstance(steps, list) or not isinstance(history, Mapping):
        raise TypeError(f"record must be a GradientHistory, got {received(record)}")
    if not steps:
        raise ValueError("record holds no steps to draw; pass it to fit(callbacks=[record]) first")
    names = [name for name in history["activation"] if _drawable(history, name)]
    colours, markers = _colours(len(names)), "osD^vPX"
    page = panels(axes, 4, "measure", 2, 3.6, 2.5)
    titles = ("activations, root mean square", "gradients, root mean square",
              f"update / weight (dotted: {HEALTHY})", "dead relu units")  # fmt: skip
    lines: dict[str, Any] = {}
    for ax, measure, title in zip(page.axes, MEASURES, titles, strict=True):
        for i, name in enumerate(names):
            values = np.asarray(history[measure][name], np.float64)
            if np.isfinite(values).any():
                mark = markers[i % len(markers)] if len(steps) <= 60 else ""
                (line,) = ax.plot(steps, values, color=colours[i], label=name, marker=mark, ms=3,
                                  lw=1.2)  # fmt: skip
                lines.setdefault(name, line)
        _finish_history(ax, title, measure, steps, page.width)
    order = [name for name in names if name in lines]
    _legend(page, [fit_end(name, 2.0, SMALL) for name in order], [lines[name] for name in order])
    return page.finish(to_file)


# --- what is measured ----------------------------------------------------------------------------

_NOTHING = np.empty(0)


def _flow(layer: Layer, before: Mapping[str, Array], activations: Array, dead: float) -> LayerFlow:
    gradients = [layer.grads[key].ravel() for key in before]
    updates = []
    for key, w in before.items():
        if size := rms(w):
            with np.errstate(over="ignore", invalid="ignore"):
                updates.append(((layer.params[key] - w) / size).ravel())
    return LayerFlow(
        activations,
        np.concatenate(gradients) if gradients else _NOTHING,
        np.concatenate(updates) if updates else _NOTHING,
        update_ratio(before, layer.params),
        dead,
    )


def _activations(model: Model, x: ArrayLike) -> dict[str, Array]:
    layers = {
        name: layer
        for name, layer in leaf_layers(model).items()
        if not isinstance(layer, Flatten | Reshape | Dropout)
    }
    if not layers:
        raise ValueError(f"{model.label} has no layers that change anything")
    seen: dict[str, list[Array]] = {name: [] for name in layers}
    with watched(layers, lambda name, y: seen[name].append(y.flatten())):
        model.predict(x, verbose=0)
    return {name: np.concatenate(batches) for name, batches in seen.items() if batches}


# --- how it is drawn -----------------------------------------------------------------------------

PERCENTILES = (5, 25, 50, 75, 95)


def _boxes(
    ax: Axes, rows: Sequence[NDArray[np.floating]], colour: str, title: str, more: str = ""
) -> None:
    """Of the sizes in each row a line from the 5th to the 95th percentile, and thick in the middle.

    more: what else is in the panel, for the words below it.
    """
    finite = [values[np.isfinite(values)] for values in rows]
    kept = [np.abs(values[values != 0]) for values in finite]
    places = [i for i, values in enumerate(kept) if values.size]
    found = np.array([np.percentile(kept[i], PERCENTILES) for i in places]).reshape(-1, 5)
    low, lower, middle, upper, high = found.T
    ax.hlines(places, low, high, color=colour, linewidth=1.2)
    ax.hlines(places, lower, upper, color=colour, linewidth=6)
    ax.plot(middle, places, "o", color="white", mec=INK, mew=0.6, ms=4)
    lost = any(part.size < whole.size for part, whole in zip(finite, rows, strict=True))
    if places:
        ax.set_xscale("log")
        ax.set_xlabel(f"median, 25–75 %, 5–95 %{more}")
    else:
        words = "no finite values" if lost else "nothing but zeros"
        ax.text(0.5, 0.5, words, ha="center", va="center", fontsize=SMALL, color=GREY,
                transform=ax.transAxes)  # fmt: skip
        ax.set_xticks([])
    ax.set_title(f"{title}\n(some NaN or infinite)" if lost else title, fontsize=LARGE)


def _begins_row(ax: Axes) -> bool:
    """Whether nothing stands at the left of a panel, as far as the figure's grid tells."""
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()


def _number_decades(ax: Axes) -> None:
    """Numbers at powers of ten alone, of which there are two at least: more would not have room."""
    from matplotlib.ticker import NullFormatter

    low, high = np.log10(ax.get_xlim())
    if np.floor(high) - np.ceil(low) < 1:
        ax.set_xlim(10 ** np.floor(low), 10 ** np.ceil(high))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _ratios(ax: Axes, ratios: Sequence[float]) -> None:
    """The ratio of all weights of a layer together, beside the line of a healthy pace."""
    drawn = [(ratio, i) for i, ratio in enumerate(ratios) if np.isfinite(ratio) and ratio > 0]
    if drawn:
        ax.plot(*zip(*drawn, strict=True), "D", color=ORANGE, mec=INK, mew=0.6, ms=5, label="all")
        ax.axvline(HEALTHY, color=GREY, linewidth=0.8, linestyle=":")


def _shares(ax: Axes, shares: Sequence[float]) -> None:
    """Bars from 0 to 1 with the number behind them; nothing where a layer is no relu."""
    places = [i for i, share in enumerate(shares) if np.isfinite(share)]
    bars = ax.barh(places, [shares[i] for i in places], 0.6, color=PURPLE)
    ax.bar_label(bars, [f"{shares[i]:.0%}" for i in places], padding=2, fontsize=SMALL)
    if not places:
        ax.text(0.6, (len(shares) - 1) / 2, "no relu", ha="center", va="center", fontsize=SMALL,
                color=GREY)  # fmt: skip
    ax.set_xlim(0, 1.2)
    ax.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
    ax.set_title("dead relu units", fontsize=LARGE)


def _legend(page: Page, labels: list[str], handles: list[Any]) -> None:
    """The layers, beside the panels where there is room or it can be made; else in the first."""
    if not labels:
        return
    figure = page.figure
    beside: dict[str, Any]
    if page.own:
        figure.set_figwidth(figure.get_figwidth() + max(text_width(n, SMALL) for n in labels) + 0.6)
        beside = {"loc": "outside right upper", "frameon": False}
        legend = figure.legend(handles, labels, fontsize=SMALL, **beside)
    elif figure.get_constrained_layout():
        beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
        legend = page.axes[-1].legend(handles, labels, fontsize=SMALL, **beside)
    else:
        legend = page.axes[0].legend(handles, labels, fontsize=SMALL, framealpha=0.8)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _drawable(history: Mapping[str, Mapping[str, list[float]]], name: str) -> bool:
    return any(np.isfinite(history[measure][name]).any() for measure in MEASURES)


def _colours(count: int) -> list[Any]:
    """Colours that differ, for a few; for many, shades from the first layer to the last."""
    if count <= len(CYCLE):
        return list(CYCLE[:count])
    from matplotlib import colormaps

    return [tuple(colour) for colour in colormaps[HEAT](np.linspace(0, 0.9, count))]


def _finish_history(ax: Axes, title: str, measure: str, steps: Sequence[int], width: float) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    plain(ax)
    if measure == "dead":
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    else:
        values = [line.get_ydata() for line in ax.get_lines()]
        if any((np.asarray(y) > 0).any() for y in values):
            ax.set_yscale("log")
    if measure == "update":
        ax.axhline(HEALTHY, color=GREY, linewidth=0.8, linestyle=":")
    if not ax.get_lines():
        ax.set_yticks([])
    margin = max(0.03 * (steps[-1] - steps[0]), 0.5)
    ax.set_xlim(steps[0] - margin, steps[-1] + margin)
    few = min(9, max(2, int(2.5 * width)))
    ax.xaxis.set_major_locator(MaxNLocator(few, integer=True, min_n_ticks=1))
    ax.set_xlabel("batch", size=MEDIUM)
    ax.set_title(fit(title, width, LARGE, 2), fontsize=LARGE)
