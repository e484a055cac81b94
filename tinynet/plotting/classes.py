"""Labels and the names of their classes, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.errors import received
from tinynet.metrics import class_indices


def check_class_names(class_names: Any) -> list[str] | None:
    """The names as strings; None stays None.

    Raises TypeError for what is no list of names, ValueError for an empty one.
    """
    if class_names is None:
        return None
    if isinstance(class_names, str) or not hasattr(class_names, "__iter__"):
        raise TypeError(f"class_names must be a list of names, got {received(class_names)}")
    names = [str(name) for name in class_names]
    if not names:
        raise ValueError("class_names is empty; leave it out to number the classes")
    return names


def check_labels(
    argument: str, labels: ArrayLike, names: Sequence[str] | None = None, classes: int | None = None
) -> NDArray[np.int64]:
    """Class indices (n,), from such or from one-hot rows (n, c).

    Raises TypeError for what is not numbers; ValueError where there are none, and for an index
    that is no class: negative, or as large as the number of ``names`` or of ``classes``.
    """
    indices, _ = class_indices(argument, labels)
    if not len(indices):
        raise ValueError(f"{argument} holds no labels")
    if names is not None:
        classes = len(names)
    wrong = np.flatnonzero((indices < 0) | (indices >= (np.inf if classes is None else classes)))
    if wrong.size:
        limit = "from 0 on" if classes is None else f"from 0 to {classes - 1}"
        why = "" if names is None else f", as there are {classes} class_names"
        raise ValueError(
            f"{argument} must hold classes {limit}{why}, got {indices[wrong[0]]} "
            f"at index {wrong[0]}"
        )
    return indices


def check_names_fit(names: Sequence[str] | None, classes: int, whose: str) -> None:
    """Raises ValueError where names are given, but not one for each of the classes."""
    if names is not None and len(names) != classes:
        raise ValueError(f"class_names must have {classes} names, as {whose}, got {len(names)}")


def names_of(names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of so many classes: their numbers where none are given."""
    return [str(i) for i in range(classes)] if names is None else list(names)
