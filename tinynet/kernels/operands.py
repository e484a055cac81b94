"""What can be multiplied, and the errors that say so: the same for both sets of kernels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = frozenset((np.dtype("float32"), np.dtype("float64")))


def check_dtype(dtype: np.dtype[Any]) -> None:
    """TypeError for dtypes of which no products are computed."""
    if dtype not in _DTYPES:
        raise TypeError(f"products are of arrays in float32 or float64, got {dtype}")


def check_product(
    a: NDArray[Any], b: NDArray[Any], transpose_a: bool, transpose_b: bool, out: NDArray[Any] | None
) -> None:
    """The errors of `matmul`."""
    other = np.matrix, np.ma.MaskedArray
    for operand in (a, b) if out is None else (a, b, out):
        if not isinstance(operand, np.ndarray) or isinstance(operand, other):
            raise TypeError(f"matmul takes NumPy arrays, got {type(operand).__name__}")
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    if not left.ndim == right.ndim == 2 or left.shape[1] != right.shape[0] or a.dtype != b.dtype:
        raise ValueError(
            "matmul takes (m, k) and (k, n) of one dtype, got "
            f"{left.shape} in {a.dtype} and {right.shape} in {b.dtype}"
        )
    check_dtype(a.dtype)
    shape = left.shape[0], right.shape[1]
    if out is not None and (out.shape != shape or out.dtype != a.dtype):
        raise ValueError(f"out must be {shape} in {a.dtype}, got {out.shape} in {out.dtype}")
    if out is not None and not out.flags.writeable:
        raise ValueError("out must be an array that can be written to, got a read-only one")
