"""Arrays for results, in memory that was used before; and arrays that last, apart from each other.

Memory fresh from the operating system comes page by page, each zeroed when it is first touched. A
training step makes the same arrays of megabytes again and again, and touching their pages can take
longer than computing what is in them: an epoch of the CNN took 15 seconds instead of 8.

So the memory of a few arrays of each shape is kept here and used again, once nobody holds the array
any more, nor any view of it: each of them refers to the memory, and Python's count of references
tells. Whoever gets an array owns it as long as he keeps it, as if it came from np.empty.
"""

import itertools
import math
from collections import deque
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

Room = tuple[NDArray[np.uint8], int]  # memory, and at which byte of it an array begins

_rooms: dict[tuple[tuple[int, ...], np.dtype[Any]], deque[Room]] = {}
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
    kept = _rooms.setdefault((shape, dtype), deque(maxlen=_KEPT))
    for memory, start in tuple(kept):  # a copy, as another thread may append meanwhile
        if getrefcount(memory) <= _UNUSED:
            return np.ndarray(shape, dtype, memory, start)
    if _bytes + size > _LIMIT:
        # Shapes of long ago, most likely. What is in use stays with those who use it.
        _rooms.clear()
        _bytes = 0
        kept = _rooms.setdefault((shape, dtype), deque(maxlen=_KEPT))
    if len(kept) < _KEPT:
        _bytes += size
    room = _room(np.empty(size + 2 * _PAGE, np.uint8))
    kept.append(room)
    return np.ndarray(shape, dtype, *room)


def _room(memory: NDArray[np.uint8]) -> Room:
    """Where in it an array begins: with a cache line, and elsewhere in a page than others do.

    NumPy's begin 16 bytes after a line, so that each vector of 64 is in two. And large ones all
    begin at the same place of a page of memory. A CPU that walks through several of them at once
    then takes a read from one for a read of what it has just written to another, since it compares
    the last 12 bits of an address first, and waits: an update by Adam took twice as long.
    """
    return memory, -memory.ctypes.data % _PAGE + next(_steps) * _STEP % _PAGE


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


def _references_of_unused(kept: deque[Room]) -> int:
    """What getrefcount says, in a loop as above, of memory that only ``kept`` holds."""
    for memory, _ in tuple(kept):
        return getrefcount(memory)
    return 0


_UNUSED = _references_of_unused(deque([_room(np.empty(1, np.uint8))]))


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros, like np.zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def lasting_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros for weights, their gradients and an optimizer's slots."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _PAGE:
        return np.zeros(shape, dtype)
    return np.ndarray(shape, dtype, *_room(np.zeros(size + 2 * _PAGE, np.uint8)))
