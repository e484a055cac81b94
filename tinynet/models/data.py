"""The door of a model: what comes in as x, y and weights is checked and converted here, once."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet import kernels, random
from tinynet.errors import check_float, check_int, received

Array = NDArray[np.floating]
Labels = NDArray[Any]

# How much of x is looked at in one go where all of it has to be: keeps temporaries small.
_CHUNK_BYTES = 1 << 24


def check_numeric(name: str, values: Any) -> NDArray[Any]:
    """``values`` as an array of numbers with at least one sample.

    Raises TypeError for objects, strings and complex numbers, ValueError for no samples.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array, but its rows differ: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must be an array of numbers, got dtype {array.dtype}; convert it first, "
            f"for example np.asarray({name}, 'float32')"
        )
    if not array.ndim:
        raise ValueError(f"{name} must be an array of samples, got the single value {array}")
    if not len(array):
        raise ValueError(f"{name} has no samples: its shape is {array.shape}")
    return array


def as_inputs(x: Any, dtype: str) -> Array:
    """x as a C-ordered array of ``dtype``; the array itself where it is one already."""
    return np.ascontiguousarray(check_numeric("x", x), dtype)


def check_same_length(**arrays: Any) -> None:
    """Raises ValueError where the arrays do not all have the same number of samples."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"every array must have the same number of samples, but {counts}")


def as_sample_weight(sample_weight: Any, samples: int, dtype: str) -> Array | None:
    """sample_weight (n,) in ``dtype``. Raises ValueError for another shape, NaN or a negative."""
    if sample_weight is None:
        return None
    weights = check_numeric("sample_weight", sample_weight).astype(dtype)
    if weights.shape != (samples,):
        raise ValueError(
            f"sample_weight must be one number for each of the {samples} samples, "
            f"got shape {weights.shape}"
        )
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError("sample_weight must hold finite numbers, none of them negative")
    return weights


def class_to_sample_weight(class_weight: Any, y: Labels, dtype: str) -> Array:
    """The weight of each sample's class; a class that is not named weighs 1.

    Raises TypeError for what is no dict of class index to weight, ValueError for a bad weight.
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "class_weight must be a dict from class index to weight, such as {0: 1.0, 1: 5.0}, "
            f"got {received(class_weight)}"
        )
    classes = y if y.ndim == 1 else y.argmax(axis=-1) if y.shape[-1] > 1 else y[:, 0]
    weights = np.ones(len(y), dtype)
    for label, weight in class_weight.items():
        check_int("a class in class_weight", label, minimum=0)
        weights[classes == label] = check_float(f"class_weight[{label!r}]", weight, minimum=0.0)
    return weights


def split_point(samples: int, validation_split: float) -> int:
    """Where the training part ends and the validation part, the last of the samples, begins.

    Raises ValueError where one of them would be empty.
    """
    validation_split = check_float("validation_split", validation_split, minimum=0.0, below=1.0)
    point = math.floor(samples * (1.0 - validation_split))
    if validation_split and point in (0, samples):
        raise ValueError(
            f"validation_split={validation_split} leaves {point} of {samples} samples for training "
            f"and {samples - point} for validation; both must have at least one"
        )
    return point


def non_finite_samples(x: Array) -> NDArray[np.intp]:
    """The indices of the samples that hold a NaN or an infinity."""
    rows = x.reshape(len(x), -1)
    step = max(1, _CHUNK_BYTES // max(1, rows[:1].nbytes))
    chunks = (np.isfinite(rows[i : i + step]).all(axis=1) for i in range(0, len(rows), step))
    return np.flatnonzero(~np.concatenate(list(chunks)))


class Batches:
    """The batches of one pass over the data after another, without end.

    Each batch is what an array is indexed with: a slice of a pass in the order of the data, or an
    array of indices of a shuffled one. Every pass is shuffled anew; the last batch of a pass is
    what is left, and may be smaller.
    """

    def __init__(
        self, samples: int, batch_size: int, shuffle: bool, rng: np.random.Generator
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self._rng = rng
        self._shuffle = shuffle
        # The first order is drawn at once, so that the first pass can be looked at beforehand.
        self._begin_pass()

    def _begin_pass(self) -> None:
        self.position = 0
        # A backup keeps what the order was drawn from, which is shorter than the order.
        self._drawn_from = random.state_of(self._rng)
        self.order = self._rng.permutation(self.samples) if self._shuffle else None

    def __next__(self) -> slice | NDArray[np.intp]:
        if self.position == self.samples:
            self._begin_pass()
        start = self.position
        self.position = min(start + self.batch_size, self.samples)
        batch = slice(start, self.position)
        return batch if self.order is None else self.order[batch]

    def whole(self, most: int) -> NDArray[np.intp]:
        """The next batches of this pass, at most so many, (batches, batch_size); no smaller one."""
        if self.position == self.samples:
            self._begin_pass()
        start = self.position
        count = min(most, (self.samples - start) // self.batch_size)
        self.position += count * self.batch_size
        some = slice(start, self.position)
        indices = np.arange(start, self.position) if self.order is None else self.order[some]
        return indices.reshape(count, self.batch_size)

    def get_state(self) -> dict[str, Any]:
        """Where the present pass is, and what its order was drawn from."""
        return {"position": self.position, "drawn_from": self._drawn_from}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to where `get_state` was called; the generator is left as it is just after the order.

        Raises ValueError for what is no such state.
        """
        position = check_int("position", state["position"], 0)
        if position > self.samples:
            raise ValueError(f"position must be at most {self.samples}, got {position}")
        random.restore(self._rng, state["drawn_from"])
        self._begin_pass()
        self.position = position

    def first_position(self, samples: NDArray[np.intp]) -> tuple[int, int]:
        """Of ``samples``, the one that the first pass meets first, and the batch, from 0."""
        if self.order is None:
            sample = position = int(samples.min())
        else:
            position = int(np.flatnonzero(np.isin(self.order, samples))[0])
            sample = int(self.order[position])
        return sample, position // self.batch_size


def take(array: NDArray[Any], batch: slice | NDArray[np.intp]) -> NDArray[Any]:
    """The samples of one batch."""
    if isinstance(batch, slice):
        return array[batch]
    return kernels.take(array, batch)
