"""The IDX format, in which MNIST and its successors are published.

Big-endian: two zero bytes, one byte for the type (8: unsigned bytes), one byte for the number of
axes, four bytes for the length of each axis, then the entries in C order
(http://yann.lecun.com/exdb/mnist/).
"""

import math
import struct

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x00\x00\x08"


def parse(data: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, as a new one that the caller may write to.

    Raises ValueError for another magic number, and where the length of ``data`` is not exactly
    what its header says.
    """
    if data[:3] != _MAGIC or len(data) < 4 or data[3] == 0:
        raise ValueError(
            "expected IDX data of unsigned bytes, which starts with 00 00 08 and the number of "
            f"axes, got {data[:4].hex(' ') or 'nothing'}"
        )
    axes = data[3]
    header = 4 + 4 * axes
    if len(data) < header:
        raise ValueError(
            f"expected an IDX header of {header} bytes for {axes} axes, got {len(data)} bytes"
        )
    shape = struct.unpack(f">{axes}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise ValueError(
            f"expected {expected} bytes of IDX data for an array of shape {shape}, got {len(data)}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()
