"""The names that Keras keeps in utils."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.errors import check_int, received
from tinynet.plotting import plot_model
from tinynet.random import set_random_seed

__all__ = ["plot_model", "set_random_seed", "to_categorical"]


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> NDArray[np.float64]:
    """Class indices as one-hot rows: x (n, ...) -> (n, ..., num_classes), of zeros and ones.

    x (n, 1) is taken for (n,), as in Keras. num_classes: by default the largest index plus 1.

    Raises TypeError where x does not hold whole numbers, ValueError for an index out of range.
    """
    labels: NDArray[Any] = np.asarray(x)
    if labels.dtype.kind not in "biuf" or not _whole(labels):
        raise TypeError(f"x must hold class indices, whole numbers, got {received(x)}")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        if not labels.size:
            raise ValueError("x has no entries to tell the number of classes by; give num_classes")
        num_classes = max(int(labels.max()) + 1, 1)
    num_classes = check_int("num_classes", num_classes, minimum=1)
    wrong = np.argwhere((labels < 0) | (labels >= num_classes))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"x must hold class indices from 0 to {num_classes - 1}, got {labels[index]} "
            f"at index {index[0] if len(index) == 1 else index}"
        )
    return np.eye(num_classes)[labels.astype(np.int64)]


def _whole(numbers: NDArray[Any]) -> bool:
    return bool((np.isfinite(numbers) & (numbers == np.floor(numbers))).all())
