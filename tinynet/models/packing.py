"""The state of a training as JSON and tensors, which is what a file holds.

A file has room for 1 MiB of JSON and 10,000 tensors, and a callback may remember every batch of a
long training. So long lists go to tensors, those of numbers as numbers and others as JSON, and
short ones do not.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.errors import received
from tinynet.saving import strict_json
from tinynet.saving.file import DTYPES

Array = NDArray[Any]

_LONG = 32  # items of a list that goes to a tensor


def pack(value: Any, tensors: dict[str, Array]) -> Any:
    """``value`` as JSON has it; arrays and long lists go to ``tensors`` and leave a name.

    Raises TypeError for anything but None, booleans, integers of 64 bits, floats, text, arrays of
    the dtypes that a file has and at least one number, and lists and dicts of such.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray) and value.dtype.name in DTYPES and value.size:
        return {"array": _put(value, tensors)}
    if isinstance(value, list | tuple):
        return _pack_list(value, tensors)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: pack(item, tensors) for key, item in value.items()}}
    raise TypeError(
        "the state of a callback or metric must be made of None, booleans, numbers, text, lists, "
        f"dicts with text for keys, and arrays of {', '.join(DTYPES)} that are not empty, got "
        f"{received(value)}"
    )


def _pack_list(items: list[Any] | tuple[Any, ...], tensors: dict[str, Array]) -> Any:
    if len(items) < _LONG:
        return [pack(item, tensors) for item in items]
    if all(type(item) is float for item in items):
        return {"list": _put(np.array(items, np.float64), tensors)}
    if all(type(item) is int and abs(item) < 1 << 63 for item in items):
        return {"list": _put(np.array(items, np.int64), tensors)}
    text = strict_json.dumps([pack(item, tensors) for item in items])
    return {"json": _put(np.frombuffer(text, np.uint8), tensors)}


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
    if kind == "json":
        return unpack(strict_json.loads(tensors[content].tobytes()), tensors)
    if kind == "array":
        return tensors[content]
    raise ValueError(f"a state cannot hold {received(value)}")
