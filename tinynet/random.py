"""The one source of randomness: a numpy.random.Generator that is passed down.

Weights, shuffling and dropout draw from `generator()` unless they are given a ``seed`` of their
own. NumPy's global state is neither read nor changed.
"""

from typing import Any

import numpy as np


class _Shared(np.random.Generator):
    """The generator below: a copy of a model draws from the same one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return generator, ()


_generator = _Shared(np.random.PCG64())


def generator() -> np.random.Generator:
    """The generator that everything without a seed of its own draws from."""
    return _generator


def set_random_seed(seed: int) -> None:
    """Start `generator()` anew from ``seed``: the same seed gives the same weights, bit for bit.

    The generator object stays the same, so that layers that were built before follow too.

    Raises TypeError for a seed that is not an integer, ValueError for a negative one.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an integer, got {seed!r} of type {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    _generator.bit_generator.state = np.random.default_rng(int(seed)).bit_generator.state
