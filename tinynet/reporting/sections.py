"""What is in a report, section by section: each asks the findings and gives HTML."""

import io
import math
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet import metrics, plotting
from tinynet.layers.base import Shape
from tinynet.layers.watch import leaf_layers
from tinynet.models import summary
from tinynet.plotting.figures import PHOTOGRAPH, new_figure
from tinynet.plotting.images import as_pictures, grey_limits
from tinynet.plotting.runs import Run, measures
from tinynet.plotting.subject import picture_shape
from tinynet.reporting.findings import Findings, Training
from tinynet.reporting.machine import versions
from tinynet.reporting.markup import (
    Share,
    data_uri,
    drawing,
    framed_table,
    listing,
    numbers,
    paragraph,
    share_style,
    table,
)

_WRITTEN_OUT = 20  # classes; with more of them the confusion matrix is a picture
_CONFUSIONS = 20  # pairs of classes that are listed beside that picture
_MISTAKES = 12
_GUESSES = 3  # classes for each mistake
_SMALLEST_SIDE = 8  # pixels, of an image whose samples are rows


class Section(NamedTuple):
    """A part of the report: where links lead to, what stands above it, what makes its HTML."""

    anchor: str
    heading: str
    body: Callable[[Findings, Training], str]


def lead(findings: Findings) -> str:
    """The sentence below the title."""
    shape = findings.x.shape[1:]
    return (
        f"{findings.model.label}, tested on {_count(len(findings.x), 'sample')} of shape {shape} "
        f"in {len(findings.names)} classes."
    )


def results(findings: Findings, training: Training) -> str:
    """The figures that matter most."""
    tiles = [
        ("Test accuracy", _percent(findings.classes.accuracy)),
        ("Test loss", f"{findings.scores['loss']:.4f}"),
        *(
            (f"Test {name.replace('_', ' ')}", f"{value:.4f}")
            for name, value in findings.scores.items()
            # Keras's word for the share of right answers, which is there already.
            if name not in ("loss", "accuracy", "acc")
        ),
        ("Parameters", f"{findings.model.count_params():,}"),
    ]
    if len(training.runs) == 1:
        (run,) = training.runs.values()
        tiles.append(("Epochs", f"{max(len(curve.values) for curve in run.values()):,}"))
    strange = findings.not_finite()
    if not strange:
        return numbers(tiles, "tiles")
    whose = f"{strange:,} of {_count(len(findings.x), 'sample')}"
    warning = f"For {whose} the model gives NaN or infinity; its predictions of them mean nothing."
    return paragraph(warning, "warning") + numbers(tiles, "tiles")


def learning_curves(findings: Findings, training: Training) -> str:
    """A picture for each measure, so that a phone can show one below the other."""
    if not training.runs:
        return paragraph("The history of the training was not given.")
    names = measures(list(training.runs.values()))
    figures = [new_figure(4.2, 3.0) for _ in names]
    plotting.learning_curves(training.history, axes=[figure.subplots() for figure in figures])
    drawings = [
        drawing(figure, _curves_in_words(name, training.runs))
        for name, figure in zip(names, figures, strict=True)
    ]
    return '<div class="pictures">\n' + "\n".join(drawings) + "\n</div>"


def _curves_in_words(name: str, runs: dict[str, Run]) -> str:
    words = []
    for label, run in runs.items():
        for key, part in ((name, "training"), (f"val_{name}", "validation")):
            if key in run:
                values = run[key].values
                whose = f"{label}, {part}" if label else part
                words.append(f"{whose} from {values[0]:.4g} to {values[-1]:.4g}")
    return f"The {name.replace('_', ' ')} over the epochs: {'; '.join(words)}."


def confusion(findings: Findings, training: Training) -> str:
    """Which classes are taken for which: a table, or where there are many, a picture and a list."""
    if len(findings.names) <= _WRITTEN_OUT:
        return _confusion_table(findings)
    figure = plotting.confusion_matrix(findings.labels, findings.predicted, findings.names)
    alt = f"Confusion matrix of {len(findings.names)} classes; the largest mistakes are below."
    return drawing(figure, alt) + _confusion_list(findings)


def _confusion_table(findings: Findings) -> str:
    names = [escape(name) for name in findings.names]
    matrix = _matrix(findings)
    heads = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    rows = [
        f'<tr><th scope="row">{name}</th>'
        + "".join(_confusion_cell(int(n), int(row.sum()), i == j) for j, n in enumerate(row))
        + "</tr>"
        for i, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]
    html = (
        '<thead>\n<tr><td></td><th scope="colgroup" colspan="'
        f'{len(names)}">predicted class</th></tr>\n'
        f'<tr><th scope="col" class="words">true class</th>{heads}</tr>\n</thead>\n'
        "<tbody>\n" + "\n".join(rows) + "\n</tbody>"
    )
    note = (
        "A row for each true class. Right answers are blue and mistakes orange, the deeper the "
        "larger their share of the row."
    )
    table_html = framed_table("Counts of true and predicted classes", html, ' class="confusion"')
    return table_html + paragraph(note, "note")


def _confusion_cell(count: int, of: int, right: bool) -> str:
    if not count:
        return '<td class="none">0</td>'
    # The square root, so that rare mistakes can be seen too.
    shade = share_style(math.sqrt(count / of))
    return f'<td class="{"right" if right else "wrong"}"{shade}>{count:,}</td>'


def _confusion_list(findings: Findings) -> str:
    matrix = _matrix(findings)
    support = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    largest = np.argsort(-matrix, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [divmod(int(i), len(matrix)) for i in largest if matrix.flat[i]]
    names = findings.names
    rows = [
        (names[i], names[j], f"{matrix[i, j]:,}", _percent(matrix[i, j] / support[i]))
        for i, j in pairs
    ]
    if not rows:
        return ""
    header = ("true class", "predicted as", "times", "of the class")
    return table("The most frequent mistakes", header, rows, words=(1,))


def _matrix(findings: Findings) -> NDArray[np.int64]:
    return metrics.confusion_matrix(findings.labels, findings.predicted, len(findings.names))


def classes(findings: Findings, training: Training) -> str:
    """Precision, recall, F1 and support of each class."""
    found = findings.classes
    rows = [
        (
            name,
            _share(found.precision[i], found.predicted[i]),
            _share(found.recall[i], found.support[i]),
            _share(found.f1[i], found.predicted[i] + found.support[i]),
            f"{found.support[i]:,}",
        )
        for i, name in enumerate(found.class_names)
    ]
    total = f"{int(found.support.sum()):,}"
    foot = [
        (name, *(f"{value:.3f}" for value in found.mean(weighted).values()), total)
        for name, weighted in (("mean", False), ("weighted mean", True))
    ]
    note = (
        "Precision: the share of what was predicted as the class that is of it. Recall: the share "
        "of the class that was found. F1: their harmonic mean. Support: how many samples are of "
        "the class; the weighted mean counts each class by it. – is a share of nothing."
    )
    header = ("class", "precision", "recall", "F1", "support")
    return table("How well each class is found", header, rows, foot=foot) + paragraph(note, "note")


def _share(value: float, of: int) -> Share:
    return Share(f"{value:.3f}" if of else "–", float(value))


def mistakes(findings: Findings, training: Training) -> str:
    """The samples that the model is most confidently wrong about, as cards."""
    order, total = findings.mistakes(), len(findings.x)
    if not len(order):
        return paragraph("There are none: the model is right every time.")
    shown = order[:_MISTAKES]
    which = "" if len(shown) == len(order) else f" The {len(shown)} most confident of them:"
    text = f"{len(order):,} of {_count(total, 'sample')} are predicted wrong.{which}"
    pictures = _sample_pictures(findings, shown)
    cards = [
        f"<li><figure>\n{picture}<figcaption>\n{_mistake(findings, int(i))}\n"
        "</figcaption></figure></li>"
        for i, picture in zip(shown, pictures, strict=True)
    ]
    return paragraph(text) + '\n<ol class="mistakes">\n' + "\n".join(cards) + "\n</ol>"


def _mistake(findings: Findings, i: int) -> str:
    """Prediction and truth of a sample, and its most probable classes with bars."""
    row, true = np.nan_to_num(findings.probabilities[i]), int(findings.labels[i])
    best = int(findings.predicted[i])
    guesses = [int(c) for c in np.argsort(-row, kind="stable")[:_GUESSES]]
    if true not in guesses:
        guesses[-1] = true
    bars = [
        f'<li class="{"right" if c == true else "wrong" if c == best else "other"}"'
        f"{share_style(float(row[c]))}><span>{escape(findings.names[c])}</span> "
        f"<span>{row[c]:.0%}</span></li>"
        for c in guesses
    ]
    return (
        f'<p><strong class="wrong">✗ {escape(findings.names[best])}</strong><br>'
        f"true class: <strong>{escape(findings.names[true])}</strong></p>\n"
        f'<ul class="bars">\n' + "\n".join(bars) + f"\n</ul>\n<p><code>x_test[{i}]</code></p>"
    )


def _sample_pictures(findings: Findings, chosen: NDArray[np.intp]) -> list[str]:
    """An <img> for each of the chosen samples; nothing where they are no images."""
    shape = _picture_shape(findings)
    if shape is None:
        return [""] * len(chosen)
    pictures = as_pictures("x_test", findings.x[chosen].reshape(len(chosen), *shape))
    low, high = grey_limits(pictures)
    return [
        f'<img class="sample" src="{data_uri(_png(picture, low, high))}" '
        f'alt="Test sample {i}, of class {escape(findings.names[findings.labels[i]])}" '
        f'width="{shape[1]}" height="{shape[0]}">\n'
        for i, picture in zip(chosen, pictures, strict=True)
    ]


def _picture_shape(findings: Findings) -> Shape | None:
    """How a sample can be drawn; a few features in a row are no image, if four make a square."""
    sample = findings.x.shape[1:]
    shape = picture_shape(sample)
    small = len(sample) == 1 and shape is not None and shape[0] < _SMALLEST_SIDE
    return None if small else shape


def _png(picture: NDArray[Any], low: float, high: float) -> bytes:
    """An image, pixel by pixel; a grey one black on white, as in `tinynet.plotting`."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture, cmap=PHOTOGRAPH, vmin=low, vmax=high, format="png", origin="upper")
    return buffer.getvalue()


def architecture(findings: Findings, training: Training) -> str:
    """The summary as a table, and the drawing of the layers."""
    model = findings.model
    caption = f"{type(model).__name__} “{model.name}”"
    rows = [
        (name, shape.replace(" ", "\N{NO-BREAK SPACE}"), *others)
        for name, shape, *others in summary.layer_rows(model.layers, expand_nested=True)
    ]
    layers = table(caption, summary.HEADER, rows, words=summary.LEFT)
    names = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in model.layers)
    picture = drawing(plotting.model(model), f"The layers from the input to the output: {names}.")
    totals = listing(summary.totals(model))
    return f'<div class="beside">\n<div>\n{layers}\n{totals}\n</div>\n{picture}\n</div>'


def kernels(findings: Findings, training: Training) -> str:
    """What the first layer with a kernel looks for."""
    found = {n: leaf for n, leaf in leaf_layers(findings.model).items() if "kernel" in leaf.params}
    if not found:
        return paragraph("No layer of this model has a kernel.")
    name, layer = next(iter(found.items()))
    none = (
        f"The first layer with a kernel is {name}. Its inputs are not an image, so its weights "
        "cannot be drawn as one."
    )
    few = findings.x.ndim == 2 and _picture_shape(findings) is None
    if few and layer.params["kernel"].ndim == 2:
        return paragraph(none)
    figure = new_figure(4.4, 4.0)
    try:
        plotting.kernels(findings.model, ax=figure.subplots())
    except ValueError:
        return paragraph(none)
    caption = "Weights below 0 are blue, those above 0 red, and 0 is white."
    return drawing(figure, f"The kernels of {name}, each as a small picture.", caption)


def timings(findings: Findings, training: Training) -> str:
    """How long things took."""
    n, seconds = len(findings.x), findings.seconds
    lines = [
        ("Evaluation", f"{_duration(seconds)} for {_count(n, 'sample')} in batches of "
                       f"{findings.batch_size}"),
        ("Rate", f"{_rounded(n / seconds)} samples a second" if seconds else "too fast to tell"),
    ]  # fmt: skip
    if training.seconds is not None:
        lines.append(("Training", _duration(training.seconds)))
    return numbers(lines, "lines")


def made_with(findings: Findings, training: Training) -> str:
    """Versions and machine."""
    return numbers(versions().items(), "lines")


SECTIONS = (
    Section("results", "Results", results),
    Section("curves", "Learning curves", learning_curves),
    Section("confusion", "Confusion matrix", confusion),
    Section("classes", "Class by class", classes),
    Section("mistakes", "Worst mistakes", mistakes),
    Section("model", "Model", architecture),
    Section("kernels", "Kernels", kernels),
    Section("timings", "Timings", timings),
    Section("versions", "Versions", made_with),
)


# --- numbers in words ----------------------------------------------------------------------------


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _rounded(number: float) -> str:
    """To three digits: how fast a computer is cannot be said more exactly."""
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 10 else f"{number:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
