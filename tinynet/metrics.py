"""Metrics: how good predictions are, in numbers for people; means over all samples seen.

``m.update_state(y_true, y_pred)`` for each batch, then ``m.result()``; ``m.reset_state()`` starts
over. The functions of the same names give the value of each sample. Names and results are Keras's.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet import configs, kernels
from tinynet.display import constructor_call
from tinynet.errors import (
    check_float,
    check_int,
    check_keywords,
    check_name,
    received,
    unknown_name,
)
from tinynet.kernels.recording import not_recorded

Values = NDArray[Any]


class Metric(configs.Configurable):
    """Base of all metrics; one of your own overrides update_state, result and reset_state."""

    @check_keywords
    def __init__(self, name: str | None = None) -> None:
        self.name = check_name(name) or re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
        self.reset_state()

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take in a batch; sample_weight (n,) says how much each sample counts."""
        raise NotImplementedError(f"{type(self).__name__} must define update_state")

    def result(self) -> float:
        """The metric over all batches since the last reset."""
        raise NotImplementedError(f"{type(self).__name__} must define result")

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__} must define reset_state")

    def get_state(self) -> dict[str, Any]:
        """What a backup in the middle of an epoch needs, to go on with the same numbers."""
        raise NotImplementedError(
            f"{type(self).__name__} must define get_state and set_state, so that a training can be "
            "backed up within an epoch; save_freq='epoch' does without"
        )

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `get_state` returned."""
        raise NotImplementedError(f"{type(self).__name__} must define set_state")

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """`update_state`, then `result`."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this metric again."""
        return {"name": self.name}

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"


class MeanMetric(Metric):
    """``result = sum(value * weight) / sum(weight)`` over samples; 0 before any sample came.

    A subclass overrides `values`. Where that gives more than one value a sample, the sample's value
    is their mean.
    """

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """The value of each sample: (n,) or (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} must define values(y_true, y_pred)")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take in a batch; sample_weight (n,) says how much each sample counts.

        Raises ValueError where the shapes do not fit each other.
        """
        values = self.values(y_true, y_pred)
        if values.ndim != 1:
            values = values.reshape(values.shape[0] if values.ndim else 1, -1).mean(axis=1)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            if weights.shape != values.shape:
                raise ValueError(
                    f"sample_weight must have one weight for each of {len(values)} samples, "
                    f"got shape {weights.shape}"
                )
            self._sums += np.array([values @ weights, weights.sum()])
            return
        right_or_wrong = values.dtype == np.bool
        total = np.count_nonzero(values) if right_or_wrong else values.sum(dtype=np.float64)
        self._sums += np.array([total, len(values)])

    def result(self) -> float:
        """The mean over all samples since the last reset."""
        total, count = self._sums.tolist()
        return float(total / count) if count else 0.0

    def reset_state(self) -> None:
        """Forget all samples."""
        # In an array, which kernels can write to. It stays the same one: a recorded step has it.
        self._sums: NDArray[np.float64] = getattr(self, "_sums", np.zeros(2))
        self._sums[:] = 0

    def get_state(self) -> dict[str, Any]:
        """The two sums."""
        return dict(zip(("total", "count"), self._sums.tolist(), strict=True))

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from these sums."""
        self._sums[:] = float(state["total"]), float(state["count"])


class MeanMetricWrapper(MeanMetric):
    """The mean of ``fn(y_true, y_pred)``, a function that gives the value of each sample."""

    @check_keywords
    def __init__(self, fn: Callable[..., ArrayLike], name: str | None = None) -> None:
        super().__init__(name or getattr(fn, "__name__", None))
        self.fn = fn

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """What the function returns."""
        return np.asarray(self.fn(np.asarray(y_true), np.asarray(y_pred)))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this metric again."""
        return {"fn": self.fn, "name": self.name}

    def __repr__(self) -> str:
        return constructor_call(type(self), {"fn": self.fn, "name": self.name})


class Accuracy(MeanMetric):
    """How often y_pred equals y_true, entry by entry."""

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """Whether each entry is right."""
        y_true, y_pred = _same_shape(y_true, y_pred)
        return np.asarray(y_true == y_pred)


class BinaryAccuracy(MeanMetric):
    """How often ``y_pred > threshold`` equals y_true, which holds zeros and ones."""

    @check_keywords
    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = check_float("threshold", threshold)

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """Whether each entry is right."""
        y_true, y_pred = _same_shape(y_true, y_pred)
        return np.asarray(y_true == (y_pred > self.threshold))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this metric again."""
        return {"name": self.name, "threshold": self.threshold}


class _ClassAccuracy(MeanMetric):
    """How often the largest score is the true class."""

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take in a batch; sample_weight (n,) says how much each sample counts.

        Raises ValueError where the shapes do not fit each other.
        """
        labels: Any = y_true
        scores: Any = y_pred
        if sample_weight is None and self._is_plain(labels, scores):
            kernels.accuracy_update(self._sums, labels, scores)
        else:
            not_recorded()
            super().update_state(y_true, y_pred, sample_weight)

    def _is_plain(self, y_true: Any, y_pred: Any) -> bool:
        """Whether these are what comes from a model: labels as numbers, scores in rows."""
        arrays = type(y_true) is type(y_pred) is np.ndarray
        return arrays and y_pred.ndim == 2 and y_pred.size > 0 and y_pred.dtype.kind == "f"


class CategoricalAccuracy(_ClassAccuracy):
    """How often the largest score is the true class: y_true (n, c) one-hot, y_pred (n, c)."""

    def _is_plain(self, y_true: Any, y_pred: Any) -> bool:
        return super()._is_plain(y_true, y_pred) and y_true.shape == y_pred.shape

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """Whether each sample is right."""
        y_true, y_pred = _same_shape(y_true, y_pred)
        return np.asarray(y_true.argmax(-1) == y_pred.argmax(-1))


class SparseCategoricalAccuracy(_ClassAccuracy):
    """How often the largest score is the true class: y_true (n,) class indices, y_pred (n, c)."""

    def _is_plain(self, y_true: Any, y_pred: Any) -> bool:
        plain = super()._is_plain(y_true, y_pred)
        return plain and y_true.shape == y_pred.shape[:1] and y_true.dtype.kind in "iu"

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """Whether each sample is right."""
        labels, scores = _labels_and_scores(y_true, y_pred)
        return np.asarray(labels == scores.argmax(-1))


class SparseTopKCategoricalAccuracy(MeanMetric):
    """How often the true class is among the k largest scores: y_true (n,), y_pred (n, c).

    Every class that ties with the k-th largest is among them. A row that holds a NaN or an infinity
    is wrong, and so is a label that is no class. (So does
    TensorFlow's in_top_k, which Keras calls.)
    """

    @check_keywords
    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = check_int("k", k, minimum=1)

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """Whether each sample is right."""
        labels, scores = _labels_and_scores(y_true, y_pred)
        return _in_top_k(labels, scores, self.k)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this metric again."""
        return {"k": self.k, "name": self.name}


class TopKCategoricalAccuracy(MeanMetric):
    """`SparseTopKCategoricalAccuracy` for one-hot labels: y_true (n, c), y_pred (n, c)."""

    @check_keywords
    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = check_int("k", k, minimum=1)

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """Whether each sample is right."""
        y_true, y_pred = _same_shape(y_true, y_pred)
        return _in_top_k(y_true.argmax(-1), y_pred, self.k)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this metric again."""
        return {"k": self.k, "name": self.name}


class MeanSquaredError(MeanMetric):
    """``mean((y_pred - y_true)**2)``"""

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """The mean over the last axis."""
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(MeanMetric):
    """``mean(abs(y_pred - y_true))``"""

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Values:
        """The mean over the last axis."""
        return mean_absolute_error(y_true, y_pred)


# --- the metrics of single samples ---------------------------------------------------------------


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> Values:
    """1 where ``y_pred > threshold`` equals y_true, else 0; float32, of y_true's shape."""
    return BinaryAccuracy(threshold=threshold).values(y_true, y_pred).astype(np.float32)


def categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Values:
    """1 where the largest score is the true class, else 0; y_true (n, c) one-hot."""
    return CategoricalAccuracy().values(y_true, y_pred).astype(np.float32)


def sparse_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Values:
    """1 where the largest score is the true class, else 0; y_true (n,) labels."""
    return SparseCategoricalAccuracy().values(y_true, y_pred).astype(np.float32)


def top_k_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike, k: int = 5) -> Values:
    """1 where the true class has one of the k largest scores, else 0; y_true (n, c) one-hot."""
    return TopKCategoricalAccuracy(k).values(y_true, y_pred).astype(np.float32)


def sparse_top_k_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike, k: int = 5) -> Values:
    """1 where the true class has one of the k largest scores, else 0; y_true (n,) labels."""
    return SparseTopKCategoricalAccuracy(k).values(y_true, y_pred).astype(np.float32)


def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> Values:
    """``mean((y_pred - y_true)**2)`` over the last axis: (n, ..., c) -> (n, ...)."""
    return np.asarray(np.square(_error(y_true, y_pred)).mean(axis=-1))


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> Values:
    """``mean(abs(y_pred - y_true))`` over the last axis: (n, ..., c) -> (n, ...)."""
    return np.asarray(np.abs(_error(y_true, y_pred)).mean(axis=-1))


def confusion_matrix(
    y_true: ArrayLike, y_pred: ArrayLike, num_classes: int | None = None
) -> NDArray[np.int64]:
    """How often each class was predicted as which: entry [i, j] counts class i taken for class j.

    y_true: class indices (n,), or one-hot (n, c). y_pred: class indices (n,), or scores (n, c), of
    which the largest is the prediction. num_classes: as many as appear, or as c says, when None.

    Returns (classes, classes) int64, rows true and columns predicted.

    Raises TypeError for what is not numbers; ValueError for different lengths, class indices that
    are not whole, negative, or not below num_classes.
    """
    true, columns = class_indices("y_true", y_true)
    predicted, scores = class_indices("y_pred", y_pred)
    if len(true) != len(predicted):
        raise ValueError(f"y_true has {len(true)} samples, y_pred has {len(predicted)}")
    if num_classes is None:
        seen = max(true.max(initial=-1), predicted.max(initial=-1)) + 1
        classes = max(int(seen), columns, scores)
    else:
        classes = check_int("num_classes", num_classes, minimum=1)
    for name, indices in (("y_true", true), ("y_pred", predicted)):
        if (outside := np.flatnonzero((indices < 0) | (indices >= classes))).size:
            first = outside[0]
            raise ValueError(
                f"{name} must hold classes from 0 to {classes - 1}, got {indices[first]} "
                f"at index {first}"
            )
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64, copy=False)


class ClassReport(NamedTuple):
    """How well each of c classes is told from the others: what `classification_report` returns.

    With hits the samples of a class that were predicted as it:
    ``precision = hits / predicted``, ``recall = hits / support``,
    ``f1 = 2 * hits / (predicted + support)``, the harmonic mean of both; 0 where that is 0 / 0.
    """

    class_names: list[str]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]  # samples that are of the class
    predicted: NDArray[np.int64]  # samples that were taken for it
    accuracy: float  # the share of all samples that was predicted right

    def mean(self, weighted: bool = False) -> dict[str, float]:
        """The means of precision, recall and f1 over the classes; or weighted by support."""
        weights = self.support if weighted else np.ones(len(self.support))
        return {
            name: float(np.average(getattr(self, name), weights=weights))
            for name in ("precision", "recall", "f1")
        }


def classification_report(
    y_true: ArrayLike, y_pred: ArrayLike, class_names: Sequence[str] | None = None
) -> ClassReport:
    """Precision, recall, F1 and support of each class, and the accuracy.

    y_true, y_pred: as for `confusion_matrix`. class_names: one for each class, whose number they
    then say; numbers when None.

    Raises TypeError and ValueError as `confusion_matrix` does, and ValueError for no samples.
    """
    names = None if class_names is None else list(map(str, class_names))
    matrix = confusion_matrix(y_true, y_pred, None if names is None else len(names))
    total = int(matrix.sum())
    if not total:
        raise ValueError("a classification report needs samples, y_true has none")
    hits, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassReport(
        [str(i) for i in range(len(matrix))] if names is None else names,
        precision=_share(hits, predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, predicted + support),
        support=support,
        predicted=predicted,
        accuracy=int(hits.sum()) / total,
    )


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """part / whole, 0 where both are 0."""
    return part / np.maximum(whole, 1)


# --- which metric is meant -----------------------------------------------------------------------

_CLASSES: dict[str, type[MeanMetric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
}
_ALIASES = {
    "acc": "accuracy",
    "mse": "mean_squared_error",
    "MSE": "mean_squared_error",
    "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error",
}
_Shape = tuple[int, ...]


def get(
    identifier: object, y_shape: _Shape | None = None, output_shape: _Shape | None = None
) -> Metric:
    """The metric that ``identifier`` names or is.

    identifier: a name ("accuracy", "mse", "SparseCategoricalAccuracy"), which becomes the metric's
    own; a Metric; a subclass of it; or a function (y_true, y_pred) -> values, one a sample.
    y_shape: the shape of all labels, samples first. output_shape: that of one sample's prediction.

    With the shapes "accuracy" and "acc" become, as in Keras, binary accuracy for one output, sparse
    categorical accuracy for labels (n,) or (n, 1), else categorical accuracy.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if isinstance(identifier, str):
        if identifier in ("accuracy", "acc") and y_shape is not None and output_shape is not None:
            return _accuracy(y_shape, output_shape)(identifier)
        wanted = _ALIASES.get(identifier, identifier)
        for name, kind in _CLASSES.items():
            if wanted in (name, kind.__name__):
                return kind(name=identifier)
    elif callable(identifier):
        return MeanMetricWrapper(identifier)
    raise unknown_name("metric", identifier, [*_CLASSES, *_ALIASES])


def serialize(identifier: object) -> Any:
    """What `get` takes, as plain data that `deserialize` makes into the same.

    A function of this module becomes its name. Raises TypeError for other functions.
    """
    if isinstance(identifier, type) and identifier in _CLASSES.values():
        identifier = identifier()
    if isinstance(identifier, Metric) and not isinstance(identifier, MeanMetricWrapper):
        return configs.serialize(identifier)
    if isinstance(identifier, str):
        return identifier
    name = getattr(identifier, "__name__", None)
    if name in _CLASSES and globals().get(name) is identifier:
        return name
    raise TypeError(
        f"a model file holds no code, so it cannot hold {received(identifier)}: the metric is a "
        "function of your own. save(include_optimizer=False) does without optimizer, loss and "
        "metrics"
    )


def deserialize(data: object) -> Metric | str:
    """What `serialize` described: a metric, or a name for `get`.

    Raises ValueError for an unknown class or name, TypeError for what is no such description.
    """
    if isinstance(data, str):
        get(data)
        return data
    return configs.deserialize("metric", data, {c.__name__: c for c in _CLASSES.values()})


def resolve(
    metrics: object, y_shape: _Shape | None = None, output_shape: _Shape | None = None
) -> list[Metric]:
    """The metrics that a list names, each by `get`; None is the empty list.

    Without the shapes this is a check of the list, which can be made before any data came.

    Raises TypeError for what is not a list or tuple, ValueError for an unknown name and for two
    metrics of one name.
    """
    if metrics is None:
        return []
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, got {metrics!r}; write metrics=[{metrics!r}]")
    if not isinstance(metrics, list | tuple):
        raise TypeError(f"metrics must be a list, got {received(metrics)}")
    resolved = [get(metric, y_shape, output_shape) for metric in metrics]
    names = ["loss", *(metric.name for metric in resolved)]
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(
                f"{name!r} is the name of more than one of the loss and the metrics, and their "
                "results are kept by name; give a metric another one, e.g. Accuracy(name='exact')"
            )
    return resolved


def _accuracy(y_shape: _Shape, output_shape: _Shape) -> type[MeanMetric]:
    if output_shape[-1:] in ((), (1,)):
        return BinaryAccuracy
    if len(y_shape) <= len(output_shape) or y_shape[-1] == 1:
        return SparseCategoricalAccuracy
    return CategoricalAccuracy


# --- labels, scores, shapes ----------------------------------------------------------------------


def _same_shape(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Values, Values]:
    """Both as arrays of one shape; (n,) and (n, 1) are taken for each other."""
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.shape != predicted.shape:
        if true.shape == (*predicted.shape, 1):
            predicted = predicted[..., None]
        elif predicted.shape == (*true.shape, 1):
            true = true[..., None]
        else:
            raise ValueError(
                f"y_true and y_pred must have the same shape, got {true.shape} and "
                f"{predicted.shape}"
            )
    return true, predicted


def _labels_and_scores(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Values, Values]:
    """Class indices (n, ...) and scores (n, ..., c); labels may end in an axis of length 1."""
    labels, scores = np.asarray(y_true), np.asarray(y_pred)
    if labels.shape != scores.shape[:-1] and labels.shape == (*scores.shape[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != scores.shape[:-1] or not scores.ndim:
        raise ValueError(
            f"y_true must hold one class index for each row of scores, got shape {labels.shape} "
            f"for y_pred of shape {scores.shape}; one-hot labels need the metric of the same name "
            "without 'sparse'"
        )
    return labels, scores


def _in_top_k(labels: Values, scores: Values, k: int) -> NDArray[np.bool]:
    classes = scores.shape[-1]
    known = (labels >= 0) & (labels < classes)
    index = np.where(known, labels, 0).astype(np.int64)
    true_score = np.take_along_axis(scores, index[..., None], axis=-1)
    larger = (scores > true_score).sum(axis=-1)
    return np.asarray((larger < k) & known & np.isfinite(scores).all(axis=-1))


def _error(y_true: ArrayLike, y_pred: ArrayLike) -> Values:
    """y_pred - y_true in floating point, where unsigned integers would wrap around."""
    true, predicted = _same_shape(y_true, y_pred)
    if predicted.dtype.kind != "f":
        predicted = predicted.astype(np.float32)
    error: Values = predicted - true.astype(predicted.dtype, copy=False)
    return error


def class_indices(name: str, values: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """Class indices (n,), from such or from the largest entry of rows (n, c); and c, or 0."""
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    if array.ndim == 2 and array.shape[1] > 1:
        return array.argmax(axis=1), array.shape[1]
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,) or (n, classes), got {array.shape}")
    if (wrong := np.flatnonzero(~np.isfinite(array) | (array != np.floor(array)))).size:
        found, hint = array[wrong[0]], ""
        if ((array >= 0) & (array <= 1)).all():
            hint = "; where these are probabilities of the second of two classes, pass p > 0.5"
        raise ValueError(f"{name} must hold whole numbers, got {found} at index {wrong[0]}{hint}")
    return array.astype(np.int64), 0
