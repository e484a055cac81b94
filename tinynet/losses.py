"""Losses: how wrong predictions are, as one number, and which way to move them.

``loss(y_true, y_pred)`` is that number; ``loss.forward(y_true, y_pred)`` followed by
``loss.backward()`` is the gradient with respect to the predictions. Names, formulas and clipping
are Keras's (with TensorFlow).

A cross-entropy of probabilities that come straight from a softmax (or a sigmoid) is better
computed from that activation's input, the logits: no logarithm of a rounded 0, and the gradient is
simply probability minus truth. ``paired_activation`` names the activation; a model that ends in it
calls ``compute(y, logits, from_logits=True)`` and finds the probabilities in ``prediction``.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinynet import configs, kernels
from tinynet.configs import serialize
from tinynet.errors import (
    check_bool,
    check_float,
    check_keywords,
    check_name,
    received,
    unknown_name,
)
from tinynet.kernels.reference import Array
from tinynet.metrics import mean_squared_error

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
]

EPSILON = 1e-7

Labels = NDArray[Any]  # class indices (integers), or numbers of the predictions' dtype


class Loss(configs.Configurable):
    """``loss = sum(losses * sample_weight) / n``, one loss for each of n samples.

    A loss of your own overrides two methods, both of which see rows, y_pred (n, c):

    - ``call(y_true, y_pred)`` -> losses (n,)
    - ``gradient(y_true, y_pred)`` -> (n, c), row i the derivative of losses[i] by y_pred[i]

    and ``check`` where y_true is not of y_pred's shape. Predictions of more axes arrive here with
    all axes but the last made one, y_true alike, and every row then counts as a sample.
    """

    name = "loss"
    from_logits = False
    paired_activation: str | None = None
    prediction: Array
    losses: Array  # of each row of the last `compute`, weighed
    _kept: tuple[Any, ...] | None = None

    @check_keywords
    def __init__(self, *, name: str | None = None) -> None:
        self.name = check_name(name) or re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def call(self, y_true: Labels, y_pred: Array) -> Array:
        """The loss of each row: y_true as `check` returns it, y_pred (n, c) -> losses (n,)."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")

    def gradient(self, y_true: Labels, y_pred: Array) -> Array:
        """The derivative of each row's loss by that row of y_pred: (n, c)."""
        raise NotImplementedError(f"{type(self).__name__} must define gradient(y_true, y_pred)")

    def check(
        self, y_true: ArrayLike, output_shape: tuple[int, ...], dtype: DTypeLike = "float32"
    ) -> Labels:
        """All of ``y_true``, converted for `compute`; an error if it does not fit the loss.

        y_true (n, ...), output_shape the shape of one sample's prediction. Here y_true must have
        one finite number for each number predicted; it becomes an array of ``dtype``.

        Raises TypeError for what is not numbers, ValueError for a wrong shape or value.
        """
        y = _as_numbers(self, y_true)
        expected = (len(y), *output_shape)
        # One number a sample may be written (n,) or (n, 1), on either side.
        if _without_last_one(y.shape) == _without_last_one(expected):
            y = y.reshape(expected)
        if y.shape != expected:
            raise ValueError(
                f"{_title(self)} takes y of the shape that the model predicts, "
                f"{_shape(output_shape)}, got {_shape(y.shape[1:])}"
            )
        _check_finite(self, y)
        return y.astype(dtype, copy=False)

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """The same as `forward`."""
        return self.forward(y_true, y_pred, sample_weight)

    def forward(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """The loss of predictions ``y_pred`` (n, ..., c); sample_weight (n,) weighs the samples.

        Raises TypeError or ValueError where y_true, y_pred and sample_weight do not fit.
        """
        y_true, y_pred = self._check_pair(y_true, y_pred)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight, y_pred.dtype)
            if sample_weight.shape != y_pred.shape[:1]:
                raise ValueError(
                    f"sample_weight must have one weight for each of {len(y_pred)} samples, "
                    f"got shape {sample_weight.shape}"
                )
        return self.compute(y_true, y_pred, sample_weight)

    def compute(
        self,
        y_true: Labels,
        y_pred: Array,
        sample_weight: Array | None = None,
        from_logits: bool | None = None,
    ) -> float:
        """`forward` for y_true that went through `check`: nothing is looked at again.

        ``from_logits=True`` says that y_pred is the input of ``paired_activation``; the activation
        is then computed on the way and left in ``prediction``. Otherwise that is y_pred itself.
        """
        logits = self.from_logits if from_logits is None else from_logits
        shape = y_pred.shape
        if len(shape) != 2:
            y_true, y_pred = _as_rows(y_true, y_pred)
        y_true = self._targets(y_true)
        losses, activated = self._forward(y_true, y_pred, logits)
        if sample_weight is not None:
            repeats = len(losses) // shape[0]
            sample_weight = np.repeat(np.asarray(sample_weight, y_pred.dtype), repeats)
            losses = losses * sample_weight
        self.losses = losses
        paired = logits and not self.from_logits
        self.prediction = (activated if paired else y_pred).reshape(shape)
        self._kept = y_true, y_pred, activated, logits, sample_weight, shape
        return float(np.add.reduce(losses)) / len(losses)

    def backward(self) -> Array:
        """d loss / d y_pred, for the y_pred of the last `forward` or `compute`; a new array.

        Raises ValueError without a forward before it.
        """
        if self._kept is None:
            raise ValueError(f"{_title(self)}: backward() needs a forward() before it")
        y_true, y_pred, activated, logits, sample_weight, shape = self._kept
        n = len(y_pred)
        if sample_weight is None:
            weights = np.full(n, 1 / n, y_pred.dtype)
        else:
            weights = sample_weight / y_pred.dtype.type(n)
        return self._backward(y_true, y_pred, activated, weights, logits).reshape(shape)

    def forget(self) -> None:
        """Let go of what `backward` needs, and of ``prediction``: the data of the last batch."""
        self._kept = None
        for name in ("prediction", "losses"):
            self.__dict__.pop(name, None)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this loss again."""
        return {"name": self.name}

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"

    def _targets(self, y_true: Labels) -> Labels:
        """What is compared with the predictions: y_true, after label smoothing if any."""
        return y_true

    def _forward(self, y_true: Labels, y_pred: Array, from_logits: bool) -> tuple[Array, Array]:
        """losses (n,), and y_pred after its paired activation if it is logits."""
        losses = self.call(y_true, y_pred)
        if losses.shape != y_pred.shape[:1]:
            raise ValueError(
                f"{_title(self)}: call must return one loss for each of {len(y_pred)} rows, "
                f"got shape {losses.shape}"
            )
        return losses, y_pred

    def _backward(
        self, y_true: Labels, y_pred: Array, activated: Array, weights: Array, from_logits: bool
    ) -> Array:
        """The derivative of sum(weights * losses) by y_pred."""
        return self.gradient(y_true, y_pred) * weights[:, None]

    def _check_pair(self, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Labels, Array]:
        y_pred = np.asarray(y_pred)
        if y_pred.dtype not in (np.float32, np.float64):
            y_pred = _as_numbers(self, y_pred).astype(np.float32)
        if not y_pred.size:
            raise ValueError(f"{_title(self)} needs predictions, got an array of {y_pred.shape}")
        if y_pred.ndim == 0:
            raise ValueError(f"{_title(self)} takes arrays of samples, got the number {y_pred}")
        y = self.check(y_true, y_pred.shape[1:], y_pred.dtype)
        if len(y) != len(y_pred):
            raise ValueError(f"y_true has {len(y)} samples, y_pred has {len(y_pred)}")
        return y, y_pred

    def _per_sample(self, y_true: ArrayLike, y_pred: ArrayLike) -> Array:
        """The losses before their mean is taken: y_pred (n, ..., c) -> losses (n, ...)."""
        y, y_pred = self._check_pair(y_true, y_pred)
        shape = y_pred.shape[:-1]
        y, y_pred = _as_rows(y, y_pred)
        return self._forward(self._targets(y), y_pred, self.from_logits)[0].reshape(shape)


class SparseCategoricalCrossentropy(Loss):
    """``losses = -log(p[label])``: how improbable the truth was, for labels that are class indices.

    y_true (n,) integers from 0 to c - 1, y_pred (n, c): probabilities p, or logits z with
    p = softmax(z)

    From logits: ``dz = (p - one_hot(label)) / n``. From probabilities, q = p clipped to
    [1e-7, 1 - 1e-7], ``losses = log(sum(q)) - log(q[label])`` and
    ``dp = (1 / sum(q) - one_hot(label) / q) / n``, 0 where the clip holds p.
    """

    paired_activation = "softmax"

    @check_keywords
    def __init__(self, from_logits: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.from_logits = check_bool("from_logits", from_logits)

    def check(
        self, y_true: ArrayLike, output_shape: tuple[int, ...], dtype: DTypeLike = "float32"
    ) -> Labels:
        """Class indices as int64, (n,) or (n, 1) -> (n,); floats must be whole numbers.

        Raises TypeError for what is not numbers; ValueError for one-hot labels, a wrong shape, or
        a label that is not a whole number from 0 to c - 1.
        """
        classes = _classes(self, output_shape)
        y = _as_numbers(self, y_true)
        expected = (len(y), *output_shape[:-1])
        if y.shape == (*expected, 1):
            y = y[..., 0]
        if y.shape != expected:
            one_hot = (
                ", which looks one-hot; use CategoricalCrossentropy ('categorical_crossentropy'), "
                "or y.argmax(axis=-1)"
            )
            raise ValueError(
                f"{_title(self)} takes class indices, y of shape {_shape(output_shape[:-1])}, "
                f"got {_shape(y.shape[1:])}{one_hot if y.ndim > len(expected) else ''}"
            )
        _check_finite(self, y)
        if y.dtype.kind == "f":
            _refuse(self, y, y != np.floor(y), "takes class indices, which are whole numbers")
        _refuse(
            self,
            y,
            (y < 0) | (y >= classes),
            f"takes labels from 0 to {classes - 1}, as the model predicts {classes} classes",
        )
        return y.astype(np.int64, copy=False)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this loss again."""
        return {"from_logits": self.from_logits, "name": self.name}

    def _forward(self, y_true: Labels, y_pred: Array, from_logits: bool) -> tuple[Array, Array]:
        return kernels.softmax_cross_entropy(
            y_pred if from_logits else np.log(_clip(y_pred)), y_true
        )

    def _backward(
        self, y_true: Labels, y_pred: Array, activated: Array, weights: Array, from_logits: bool
    ) -> Array:
        d_logits = kernels.softmax_cross_entropy_gradient(activated, y_true, weights)
        return d_logits if from_logits else d_logits * _d_clip(y_pred) / _clip(y_pred)


class _Distribution(Loss):
    """A cross-entropy whose labels are probabilities, which label_smoothing pulls to the middle."""

    @check_keywords
    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.from_logits = check_bool("from_logits", from_logits)
        self.label_smoothing = check_float("label_smoothing", label_smoothing, 0, 1)

    def check(
        self, y_true: ArrayLike, output_shape: tuple[int, ...], dtype: DTypeLike = "float32"
    ) -> Labels:
        """`Loss.check`, and all labels must lie from 0 to 1."""
        y = super().check(y_true, output_shape, dtype)
        _refuse(self, y, (y < 0) | (y > 1), "takes labels from 0 to 1")
        return y

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this loss again."""
        return {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }


class CategoricalCrossentropy(_Distribution):
    """``losses = -sum(y_true * log(p))`` over the classes, for labels that are one-hot.

    y_true (n, c) one-hot or any distribution, y_pred (n, c): probabilities p, or logits z with
    p = softmax(z). label_smoothing s makes y_true into ``(1 - s) * y_true + s / c``.

    From logits: ``dz = (p * sum(y_true) - y_true) / n``. From probabilities: q = p / sum(p) is
    clipped to [1e-7, 1 - 1e-7], ``dq = -y_true / q / n``, 0 where the clip holds q, and
    ``dp = (dq - sum(dq * q)) / sum(p)``.
    """

    paired_activation = "softmax"

    def check(
        self, y_true: ArrayLike, output_shape: tuple[int, ...], dtype: DTypeLike = "float32"
    ) -> Labels:
        """One-hot labels as an array of ``dtype``.

        Raises TypeError for what is not numbers; ValueError for class indices, a wrong shape, or
        values outside 0 to 1.
        """
        classes = _classes(self, output_shape)
        y = _as_numbers(self, y_true)
        expected = (len(y), *output_shape)
        if y.shape in (expected[:-1], (*expected[:-1], 1)) and y.shape != expected:
            raise ValueError(
                f"{_title(self)} takes one-hot labels, y of shape {_shape(output_shape)}, got "
                f"{_shape(y.shape[1:])}, which looks like class indices; use "
                "SparseCategoricalCrossentropy ('sparse_categorical_crossentropy'), or "
                f"utils.to_categorical(y, {classes})"
            )
        return super().check(y, output_shape, dtype)

    def _targets(self, y_true: Labels) -> Labels:
        if not self.label_smoothing:
            return y_true
        uniform = self.label_smoothing / y_true.shape[-1]
        smooth: Labels = y_true * (1 - self.label_smoothing) + uniform
        return smooth

    def _forward(self, y_true: Labels, y_pred: Array, from_logits: bool) -> tuple[Array, Array]:
        if from_logits:
            return kernels.softmax_cross_entropy(y_pred, y_true)
        q: Array = y_pred / y_pred.sum(axis=1, keepdims=True)
        return -(y_true * np.log(_clip(q))).sum(axis=1), q

    def _backward(
        self, y_true: Labels, y_pred: Array, activated: Array, weights: Array, from_logits: bool
    ) -> Array:
        if from_logits:
            return kernels.softmax_cross_entropy_gradient(activated, y_true, weights)
        q = activated
        dq = -weights[:, None] * y_true / _clip(q) * _d_clip(q)
        dp: Array = (dq - (dq * q).sum(axis=1, keepdims=True)) / y_pred.sum(axis=1, keepdims=True)
        return dp


class BinaryCrossentropy(_Distribution):
    """``losses = mean(-y_true * log(p) - (1 - y_true) * log(1 - p))`` over the last axis.

    y_true (n, c) of zeros and ones, y_pred (n, c): probabilities p, or logits z with
    p = sigmoid(z). label_smoothing s makes y_true into ``(1 - s) * y_true + s / 2``.

    From logits: ``dz = (p - y_true) / (n * c)``. From probabilities, clipped to [1e-7, 1 - 1e-7]:
    ``dp = ((1 - y_true) / (1 - p) - y_true / p) / (n * c)``, 0 where the clip holds p.
    """

    paired_activation = "sigmoid"

    def _targets(self, y_true: Labels) -> Labels:
        if not self.label_smoothing:
            return y_true
        smooth: Labels = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        return smooth

    def _forward(self, y_true: Labels, y_pred: Array, from_logits: bool) -> tuple[Array, Array]:
        if from_logits:
            # log(1 + exp(z)) - y_true * z, written so that exp never overflows.
            entropy = np.maximum(y_pred, 0) - y_pred * y_true + np.log1p(np.exp(-np.abs(y_pred)))
            return entropy.mean(axis=1), kernels.sigmoid(y_pred)
        p = _clip(y_pred)
        entropy = -y_true * np.log(p) - (1 - y_true) * np.log(1 - p)
        return entropy.mean(axis=1), y_pred

    def _backward(
        self, y_true: Labels, y_pred: Array, activated: Array, weights: Array, from_logits: bool
    ) -> Array:
        if from_logits:
            d: Array = activated - y_true
        else:
            p = _clip(y_pred)
            d = ((1 - y_true) / (1 - p) - y_true / p) * _d_clip(y_pred)
        return d * (weights[:, None] / y_pred.shape[1])


class MeanSquaredError(Loss):
    """``losses = mean((y_pred - y_true)**2)`` over the last axis: y_true and y_pred (n, c).

    ``dy_pred = 2 * (y_pred - y_true) / (n * c)``
    """

    def call(self, y_true: Labels, y_pred: Array) -> Array:
        """The mean squared error of each row."""
        error = y_pred - y_true
        losses: Array = (error * error).mean(axis=1)
        return losses

    def gradient(self, y_true: Labels, y_pred: Array) -> Array:
        """``2 * (y_pred - y_true) / c``"""
        d: Array = (y_pred - y_true) * (2 / y_pred.shape[1])
        return d


# --- the losses of single samples ----------------------------------------------------------------


def sparse_categorical_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False
) -> Array:
    """`SparseCategoricalCrossentropy` of each sample: y_pred (n, ..., c) -> losses (n, ...)."""
    return SparseCategoricalCrossentropy(from_logits)._per_sample(y_true, y_pred)


def categorical_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False, label_smoothing: float = 0.0
) -> Array:
    """`CategoricalCrossentropy` of each sample: y_pred (n, ..., c) -> losses (n, ...)."""
    return CategoricalCrossentropy(from_logits, label_smoothing)._per_sample(y_true, y_pred)


def binary_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False, label_smoothing: float = 0.0
) -> Array:
    """`BinaryCrossentropy` of each sample: y_pred (n, ..., c) -> losses (n, ...)."""
    return BinaryCrossentropy(from_logits, label_smoothing)._per_sample(y_true, y_pred)


_CLASSES: dict[str, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "mean_squared_error": MeanSquaredError,
}
_ALIASES = {"mse": "mean_squared_error", "MSE": "mean_squared_error"}
_ALIASES |= {"bce": "binary_crossentropy", "BCE": "binary_crossentropy"}
_FUNCTIONS: dict[Callable[..., Array], type[Loss]] = {
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    binary_crossentropy: BinaryCrossentropy,
    mean_squared_error: MeanSquaredError,
}


def get(identifier: object) -> Loss:
    """The loss that ``identifier`` names or is.

    identifier: a name ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", "mse"),
    a Loss, a subclass of it, or one of this module's functions.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if isinstance(identifier, str):
        wanted = _ALIASES.get(identifier, identifier)
        for name, kind in _CLASSES.items():
            if wanted in (name, kind.__name__):
                return kind()
    elif callable(identifier):
        if identifier in _FUNCTIONS:
            return _FUNCTIONS[identifier]()
        raise TypeError(
            f"a loss needs its gradient written out, which the function {received(identifier)} "
            "does not have; subclass losses.Loss with call and gradient"
        )
    raise unknown_name("loss", identifier, [*_CLASSES, *_ALIASES])


def deserialize(data: object) -> Loss:
    """The loss that `serialize` described: ``{"class_name": ..., "config": ...}``.

    Raises ValueError for an unknown class, TypeError for what is no such description.
    """
    return configs.deserialize("loss", data, {c.__name__: c for c in _CLASSES.values()})


# --- shapes, values, clipping --------------------------------------------------------------------


def _clip(p: Array) -> Array:
    return np.minimum(np.maximum(p, EPSILON), 1 - EPSILON)


def _d_clip(p: Array) -> NDArray[np.bool]:
    """The derivative of _clip: 1 where p is between the ends or on one of them."""
    return (p >= p.dtype.type(EPSILON)) & (p <= p.dtype.type(1 - EPSILON))


def _as_rows(y_true: Labels, y_pred: Array) -> tuple[Labels, Array]:
    """y_pred (n, ..., c) as (m, c), y_true alike: every position is a row. (n,) becomes (n, 1)."""
    rows = y_pred.reshape(-1, y_pred.shape[-1] if y_pred.ndim > 1 else 1)
    if y_true.ndim == y_pred.ndim:
        return y_true.reshape(rows.shape), rows
    return y_true.reshape(-1), rows


def _without_last_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def _classes(loss: Loss, output_shape: tuple[int, ...]) -> int:
    if not output_shape or output_shape[-1] < 2:
        raise ValueError(
            f"{_title(loss)} takes predictions of shape (n, classes), at least 2 classes, got "
            f"{_shape(output_shape)}; for two classes with one output use BinaryCrossentropy"
        )
    return output_shape[-1]


def _title(loss: Loss) -> str:
    return type(loss).__name__


def _shape(sample: tuple[int, ...]) -> str:
    """The shape of a batch of n samples: (10,) as "(n, 10)"."""
    return f"({', '.join(map(str, ('n', *sample)))}{',' if not sample else ''})"


def _as_numbers(loss: Loss, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"{_title(loss)} takes arrays of numbers, got dtype {array.dtype}; "
            "convert it first, e.g. y.astype('float32'), or number the classes from 0"
        )
    if array.ndim == 0:
        raise ValueError(f"{_title(loss)} takes arrays of samples, got the single value {array}")
    return array


def _check_finite(loss: Loss, y: NDArray[Any]) -> None:
    if y.dtype.kind == "f":
        _refuse(loss, y, ~np.isfinite(y), "takes finite labels")


def _refuse(loss: Loss, y: NDArray[Any], wrong: NDArray[np.bool], expected: str) -> None:
    """An error that names the first entry of y that is wrong, if there is one."""
    if wrong.any():
        index = tuple(map(int, np.argwhere(wrong)[0]))
        where = index[0] if len(index) == 1 else index
        raise ValueError(f"{_title(loss)} {expected}, got {y[index]} at index {where}")
