"""`report`: check, ask the model, write."""

import os
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from tinynet.errors import check_float, check_keywords, received
from tinynet.models.progress import Progress, check_verbose
from tinynet.plotting.runs import read_runs
from tinynet.plotting.subject import check_model
from tinynet.reporting.findings import Training, examine
from tinynet.reporting.markup import document
from tinynet.reporting.sections import SECTIONS, lead
from tinynet.saving.replacing import replacing, write_all


@check_keywords
def report(
    model: Any,
    history: Any,
    x_test: ArrayLike,
    y_test: ArrayLike,
    class_names: Any = None,
    path: str | os.PathLike[str] = "report.html",
    *,
    title: str | None = None,
    training_seconds: float | None = None,
    verbose: str | int = "auto",
) -> Path:
    """Write a report on a model that tells classes apart: one HTML file, to be opened offline.

    In it are loss, accuracy and the other metrics on the test data, the learning curves, the
    confusion matrix, precision, recall and F1 of each class, the most confident mistakes, the
    model's summary and drawing, the kernels of its first layer that has some, timings, and the
    versions of what was used. It is made for screens of any size, light and dark, and for print.

    model: compiled, and with weights. It gives a row of class scores for each sample, or one
    probability, of the second of two classes.
    history: what `tinynet.plotting.learning_curves` takes; None where it is not known.
    x_test, y_test: as ``model.evaluate`` takes them: class indices, or one-hot rows.
    class_names: one for each class; without them, the index.
    path: must end in ``.html``; a file that is there is replaced, when the new one is whole.
    title: by default one that names the model.
    training_seconds: how long the training took, where somebody has measured it.
    verbose: 0 shows nothing; "auto" and 1 a bar where somebody watches.

    Returns the path. Raises TypeError or ValueError, before anything is written, where model,
    data, class_names and history do not fit each other, and for a model that does not tell
    classes apart; OSError where the file cannot be written.
    """
    path = _check_path(path)
    model = check_model(model, trained=True)
    training = Training(
        history,
        {} if history is None else read_runs(history),
        None if training_seconds is None
        else check_float("training_seconds", training_seconds, minimum=0.0),
    )  # fmt: skip
    title = _check_title(f"Report on {model.name}" if title is None else title)
    with Progress("Report", len(SECTIONS) + 1, check_verbose(verbose), line=False) as progress:
        findings = examine(model, x_test, y_test, class_names)
        progress.step(dict)
        bodies = []
        for section in SECTIONS:
            bodies.append(section.body(findings, training))
            progress.step(dict)
        progress.finish({})
    headings = [(section.anchor, section.heading) for section in SECTIONS]
    text = document(title, lead(findings), headings, bodies)
    with replacing(path) as file:
        write_all(file, memoryview(text.encode()))
    return path


def _check_path(path: object) -> Path:
    """``path`` as a Path that ends in ``.html``, in a folder that is there.

    Raises TypeError for what is no path, ValueError for another ending, FileNotFoundError where
    there is no such folder.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(name := os.fspath(path), str):
        raise TypeError(f"path must be a str or an os.PathLike, got {received(path)}")
    if Path(name).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path must end in '.html', so that a browser opens it, got {name!r}")
    if name.startswith("~"):
        raise ValueError(
            f"{name!r} begins with '~', which is not expanded here; pass "
            f"pathlib.Path({name!r}).expanduser()"
        )
    if not Path(name).parent.is_dir():
        raise FileNotFoundError(f"{name!r} cannot be written: there is no such folder; make it")
    return Path(name)


def _check_title(title: object) -> str:
    """Raises TypeError for what is no string, ValueError for an empty one."""
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, got {received(title)}")
    if not title.strip():
        raise ValueError("title is empty; leave it out to have the model named")
    return title
