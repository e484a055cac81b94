"""What a report is about: the data, checked, and what the model says of them."""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet import metrics
from tinynet.models import Model
from tinynet.models.data import check_numeric, check_same_length
from tinynet.models.model import BATCH_SIZE
from tinynet.plotting.classes import check_class_names, check_labels, check_names_fit, names_of
from tinynet.plotting.runs import Run
from tinynet.plotting.subject import class_probabilities, estimates_a_quantity


class Training(NamedTuple):
    """What is known of how the model was trained.

    history: as it was given, or None.   runs: the same as numbers, empty where there is none.
    seconds: how long it took, or None.
    """

    history: Any
    runs: dict[str, Run]
    seconds: float | None


class Findings(NamedTuple):
    """A model, the test data, and what came of them."""

    model: Model
    x: NDArray[Any]
    labels: NDArray[np.int64]
    names: list[str]
    probabilities: NDArray[np.floating]  # (n, classes)
    scores: dict[str, float]  # what evaluate gives, by name
    seconds: float  # that evaluate took
    batch_size: int  # with which it did

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable class of each sample."""
        return self.probabilities.argmax(axis=1)

    @property
    def classes(self) -> metrics.ClassReport:
        """How well each class is told from the others."""
        return metrics.classification_report(self.labels, self.predicted, self.names)

    def mistakes(self) -> NDArray[np.intp]:
        """The samples that are predicted wrong, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        confidence = np.nan_to_num(self.probabilities.max(axis=1)[wrong])
        return wrong[np.argsort(-confidence, kind="stable")]

    def not_finite(self) -> int:
        """For how many samples the model gives NaN or infinity."""
        return int((~np.isfinite(self.probabilities).all(axis=1)).sum())


def examine(model: Model, x_test: ArrayLike, y_test: ArrayLike, class_names: Any) -> Findings:
    """Ask a compiled model about test data.

    Raises TypeError and ValueError where model, data and names do not fit each other.
    """
    classes = _class_count(model)
    names = check_class_names(class_names)
    check_names_fit(names, classes, f"{model.label} tells {classes} classes apart")
    x, y = check_numeric("x_test", x_test), check_numeric("y_test", y_test)
    check_same_length(x_test=x, y_test=y)
    labels = _class_labels(y, classes)
    probabilities = class_probabilities(model, x)
    # Now that the kernels are compiled and the weights are at hand.
    start = time.perf_counter()
    scores: Any = model.evaluate(x, y, batch_size=BATCH_SIZE, verbose=0, return_dict=True)
    seconds = time.perf_counter() - start
    return Findings(
        model, x, labels, names_of(names, classes), probabilities, scores, seconds, BATCH_SIZE
    )


def _class_count(model: Model) -> int:
    """How many classes a model tells apart. Raises ValueError for one that does not."""
    shape = model.output_shape(model.input_shape or ())
    wanted = "a report is on models that tell classes apart"
    if len(shape) != 1:
        raise ValueError(
            f"{model.label} gives arrays of shape {shape} for each sample, and {wanted}: it must "
            "give one row of class scores"
        )
    if shape[0] > 1:
        return shape[0]
    if not estimates_a_quantity(model):
        return 2
    raise ValueError(
        f"{model.label} gives one number for each sample, which is no probability, and {wanted}: "
        "let it end in a sigmoid, or in one output for each class"
    )


def _class_labels(y: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """The class index of each sample. Raises ValueError for what is none."""
    if y.ndim == 2 and y.shape[1] > 1:
        if y.shape[1] != classes:
            raise ValueError(
                f"y_test must hold class indices, or rows of {classes} as the model tells "
                f"{classes} classes apart, got rows of {y.shape[1]}"
            )
        shares = (y >= 0).all(axis=1) & np.isclose(y.sum(axis=1), 1)
        if not shares.all():
            first = int(np.flatnonzero(~shares)[0])
            raise ValueError(
                "y_test must hold class indices, or one-hot rows, which are 1 for the one class of "
                f"a sample and 0 for all others, got {y[first].tolist()} at index {first}"
            )
    return check_labels("y_test", y, None, classes)
