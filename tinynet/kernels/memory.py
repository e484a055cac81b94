"""Arrays for results, in memory that was used before; and arrays that last, apart from each other.

Memory fresh from the operating system comes page by page, each zeroed when it is first touched. A
training step makes the same arrays of megabytes again and again, and touching their pages can take
longer than computing what is in them: an epoch of the CNN took 15 seconds instead of 8.

So a few arrays of each shape are kept here and given out again, once nobody holds them any more,
nor any view of them: Python's count of references tells. Whoever gets an array owns it as long as
he keeps it, as if it came from np.empty.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable
from sys import getrefcount
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.kernels.recording import not_recorded

_LEAST = 1 << 16  # bytes; below this NumPy's own allocator is as quick
_FEW = _LEAST // 16  # entries, which are never that many bytes
_KEPT = 8  # arrays of one shape
_LIMIT = 1 << 28  # bytes of all arrays that are kept

_PAGE = 4096
_STEP = 17 * 64  # bytes: whole cache lines, and 64 steps before a place comes again
_steps = itertools.count()

_arrays: dict[tuple[tuple[int, ...], np.dtype[Any]], deque[NDArray[Any]]] = {}
_bytes = 0


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of any content, like np.empty."""
    global _bytes
    entries = math.prod(shape)
    if entries < _FEW:
        return np.empty(shape, dtype)
    dtype = np.dtype(dtype)
    size = entries * dtype.itemsize
    if size < _LEAST:
        return np.empty(shape, dtype)
    kept = _arrays.setdefault((shape, dtype), deque(maxlen=_KEPT))
    for array in tuple(kept):  # a copy, as another thread may append meanwhile
        if getrefcount(array) <= _UNUSED:
            return array
    if _bytes + size > _LIMIT:
        # Shapes of long ago, most likely. What is in use stays with those who use it.
        _arrays.clear()
        _bytes = 0
        kept = _arrays.setdefault((shape, dtype), deque(maxlen=_KEPT))
    if len(kept) < _KEPT:
        _bytes += size
    array = _spread(shape, dtype, _Room)
    kept.append(array)
    return array


class _Room(np.ndarray):
    """Memory that arrays are in. Its type differs from theirs, and so a view of such an array
    refers to the array. Otherwise it would refer to the memory, and the array would seem unused.
    """


def _spread(
    shape: tuple[int, ...], dtype: np.dtype[Any], make: Callable[..., NDArray[np.uint8]]
) -> NDArray[Any]:
    """An array in what ``make`` gives, which begins with a cache line, and elsewhere in a page than
    others do.

    NumPy's begin 16 bytes after a line, so that each vector of 64 is in two. And large ones all
    begin at the same place of a page of memory. A CPU that walks through several of them at once
    then takes a read from one for a read of what it has just written to another, since it compares
    the last 12 bits of an address first, and waits: an update by Adam took twice as long.
    """
    room = make((math.prod(shape) * dtype.itemsize + 2 * _PAGE,), np.uint8)
    start = -room.ctypes.data % _PAGE + next(_steps) * _STEP % _PAGE
    return np.ndarray(shape, dtype, room, start)


def own(out: NDArray[Any] | None, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """``out`` if compiled code can write to it, otherwise another array, for `give`."""
    return out if out is not None and out.flags.carray else empty(shape, dtype)


def give(result: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    """``out`` with the result in it; the result itself where there is no ``out``."""
    if out is None or out is result:
        return result
    out[...] = result
    not_recorded()
    return out


def _references_of_unused(kept: deque[NDArray[Any]]) -> int:
    """What getrefcount says, in a loop as above, of an array that only ``kept`` holds."""
    for array in tuple(kept):
        return getrefcount(array)
    return 0


_UNUSED = _references_of_unused(deque([np.empty(1)]))


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros, like np.zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def lasting_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros for weights, their gradients and an optimizer's slots."""
    dtype = np.dtype(dtype)
    if math.prod(shape) * dtype.itemsize < _PAGE:
        return np.zeros(shape, dtype)
    return _spread(shape, dtype, np.zeros)
