"""The one source of randomness: a numpy.random.Generator that is passed down.

Weights, shuffling and dropout draw from `generator()` unless they are given a ``seed`` of their
own. NumPy's global state is neither read nor changed.
"""

import re
from typing import Any

import numpy as np

from tinynet.errors import received


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


def state_of(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a PCG64 generator, as tinynet's all are, in numbers of 64 bits and text."""
    state: dict[str, Any] = generator.bit_generator.state  # type: ignore[assignment]
    words = {name: f"{value:032x}" for name, value in state["state"].items()}
    return {**words, "has_uint32": state["has_uint32"], "uinteger": state["uinteger"]}


def restore(generator: np.random.Generator, state: Any) -> None:
    """Put ``generator`` into a state that `state_of` returned.

    Raises ValueError for what is no such state.
    """
    if not _is_state(state):
        raise ValueError(f"this is no state of a PCG64 generator: {received(state)}")
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {name: int(state[name], 16) for name in ("state", "inc")},
        "has_uint32": state["has_uint32"],
        "uinteger": state["uinteger"],
    }


def _is_state(state: Any) -> bool:
    return (
        isinstance(state, dict)
        and state.keys() == {"state", "inc", "has_uint32", "uinteger"}
        and all(
            isinstance(state[name], str) and re.fullmatch("[0-9a-f]{32}", state[name])
            for name in ("state", "inc")
        )
        and int(state["inc"], 16) % 2 == 1  # PCG64 steps by an odd number
        and all(type(state[name]) is int for name in ("has_uint32", "uinteger"))
        and state["has_uint32"] in (0, 1)
        and 0 <= state["uinteger"] < 1 << 32
    )
