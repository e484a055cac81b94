"""The state of a training as JSON and tensors, which is what a file holds."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.errors import received

Array = NDArray[Any]


def pack(value: Any, tensors: dict[str, Array]) -> Any:
    """``value`` as JSON has it; arrays, and lists of numbers, go to ``tensors`` and leave a name.

    Raises TypeError for anything but None, booleans, integers of 64 bits, floats, text, arrays,
    and lists and dicts of such.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray):
        return {"array": _put(value, tensors)}
    if isinstance(value, list | tuple):
        for kind, dtype in ((float, np.float64), (int, np.int64)):
            if value and all(type(item) is kind for item in value):
                return {"list": _put(np.array(value, dtype), tensors)}
        return [pack(item, tensors) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: pack(item, tensors) for key, item in value.items()}}
    raise TypeError(
        "the state of a callback or metric must be made of None, booleans, numbers, text, arrays, "
        f"lists and dicts with text for keys, got {received(value)}"
    )


def _put(array: Array, tensors: dict[str, Array]) -> str:
    name = f"training/{len(tensors)}"
    tensors[name] = array
    return name


def unpack(value: Any, tensors: Mapping[str, Array]) -> Any:
    """What `pack` was given; lists and tuples alike are lists.

    Raises KeyError or ValueError for what `pack` did not make.
    """
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content.items()}
    if kind == "float":
        return float(content)
    if kind == "list":
        return tensors[content].tolist()
    if kind == "array":
        return tensors[content]
    raise ValueError(f"a state cannot hold {received(value)}")
