"""A fully connected layer, there and back, each as one call of compiled code.

The products and the pass over bias and activation are those of `matrices` and `bias`. For layers
of some hundred units, the way from Python into compiled code and back takes as long as the work,
so it is made once: a step of mlp-100-75 became a tenth shorter.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.activations import activate, bias_activation_gradient, finish
from tinynet.kernels.bias import add_bias, row_gradient
from tinynet.kernels.jit import jit, plain
from tinynet.kernels.matrices import fill, is_large, matmul, product_plan
from tinynet.kernels.memory import empty
from tinynet.kernels.products import multiply, plan, share_strips, strip, zero_bias
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import pool_for
from tinynet.kernels.tile import panel_width, strip_address
from tinynet.kernels.transpose import transpose_serially


def dense(
    x: Array,
    kernel: Array,
    bias: Array | None,
    activation: str = "linear",
    negative_slope: float = 0.0,
) -> Array:
    """``y = activation(x @ kernel + bias)``: x (m, k), kernel (k, n), bias (n,) -> y (m, n)."""
    x, kernel = plain(x), plain(kernel)
    (m, k), n = x.shape, kernel.shape[1]
    y = empty((m, n), x.dtype)
    if not (m and k and n) or is_large(m, kernel):
        fill(x, kernel, False, False, y)
        finish(y, bias, activation, negative_slope)
        return y
    bias = bias if bias is None else plain(bias)
    relu = activation == "relu"
    if m <= _MOST_ROWS and k * n >= _LEAST_SPLIT:
        _split_dense(
            pool_for(m * k * n), strip_address(x.dtype), x, kernel, y,
            _split_strips(m, k, n, x.itemsize),
            zero_bias(n, x.dtype) if bias is None else bias, relu,
        )  # fmt: skip
    else:
        multiply(x, kernel, y, product_plan(m, k, n, False, y.itemsize), bias, relu)
    activate(y, activation, negative_slope)
    return y


@lru_cache(maxsize=256)
def _split_strips(m: int, k: int, n: int, itemsize: int) -> NDArray[np.int64]:
    """The strips of each part's product: (x[:, part] @ kernel[part]) for each part of k."""
    width = panel_width(itemsize)
    bounds = [k * part // _PARTS for part in range(_PARTS + 1)]
    return plan([
        strip(
            a_at=first, a_row=k, a_outer=0, a_inner=1, b_at=first * n + column, b_outer=0,
            b_inner=n, c_at=part * m * n + column, c_row=n, rows=m, columns=min(width, n - column),
            outer=1, inner=last - first,
        )
        for part, (first, last) in enumerate(pairwise(bounds))
        for column in range(0, n, width)
    ]).strips  # fmt: skip


@jit()
def _split_dense(
    pool: int, address: int, x: Array, kernel: Array, y: Array, strips: NDArray[np.int64],
    bias: Array, relu: bool,
) -> None:  # fmt: skip
    m, n = y.shape
    parts = np.empty((_PARTS, m * n), x.dtype)
    share_strips(pool, address, x.reshape(-1), kernel.reshape(-1), parts.reshape(-1), strips)
    total = y.reshape(-1)
    for i in range(len(total)):
        total[i] = parts[0, i]
    for part in range(1, _PARTS):
        added = parts[part]
        for i in range(len(total)):
            total[i] += added[i]
    add_bias(total, 0, n, m, n, bias, 0, relu)


def dense_gradient(
    dy: Array,
    x: Array,
    y: Array,
    kernel: Array,
    activation: str = "linear",
    negative_slope: float = 0.0,
    need_dx: bool = True,
    out: Array | None = None,
) -> tuple[Array | None, Array, Array]:
    """dx (m, k) or None, d_kernel (k, n) and d_bias (n,); ``out`` is where d_kernel goes."""
    (m, k), n = x.shape, kernel.shape[1]
    d_kernel = out
    if d_kernel is None or not d_kernel.flags.carray:
        d_kernel = empty((k, n), x.dtype)
    if (
        activation not in ("linear", "relu")
        or m > _MOST_ROWS
        or is_large(k, dy)
        or not (m and k and n and dy.flags.carray and x.flags.carray)
        or not (y.flags.carray and kernel.flags.carray)
    ):
        dz, d_bias = bias_activation_gradient(dy, y, activation, negative_slope)
        matmul(x, dz, transpose_a=True, out=d_kernel)
        dx = matmul(dz, kernel, transpose_b=True) if need_dx else None
    else:
        for_kernel, for_dx = _gradient_plans(m, k, n, x.itemsize)
        dx = empty((m, k) if need_dx else (0, 0), x.dtype)
        d_bias = np.zeros(n, x.dtype)
        _dense_gradient(
            pool_for(m * k * n), strip_address(x.dtype), dy, x, y, kernel, activation == "relu",
            for_kernel, for_dx, dx, d_kernel, d_bias,
        )  # fmt: skip
    if out is not None and out is not d_kernel:
        out[...] = d_kernel
        d_kernel = out
    return dx if need_dx else None, d_kernel, d_bias


# With fewer rows than that, and a kernel of at least this size, the sum over k is cut into parts.
# Then a thread works on the same rows of the kernel here, in its gradient and in the optimizer,
# which stay in its cache. Split by columns, half of each came from the other one's: an update took
# 28 microseconds instead of 9.
_LEAST_SPLIT = 16_384
_PARTS = 4

# With more rows the parts of the gradient are worth a call, and threads, of their own.
_MOST_ROWS = 64


@lru_cache(maxsize=256)
def _gradient_plans(
    m: int, k: int, n: int, itemsize: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The strips of x.T @ dz, and those of kernel @ dz.T, which is dx.T."""
    return (
        product_plan(k, m, n, True, itemsize).strips, product_plan(k, n, m, False, itemsize).strips
    )  # fmt: skip


@jit()
def _dense_gradient(
    pool: int, address: int, dy: Array, x: Array, y: Array, kernel: Array, relu: bool,
    for_kernel: NDArray[np.int64], for_dx: NDArray[np.int64], dx: Array, d_kernel: Array,
    d_bias: Array,
) -> None:  # fmt: skip
    """``dz = dy * activation'(z)``, d_bias = dz.sum(0), d_kernel = x.T @ dz, dx = dz @ kernel.T"""
    m, n = dy.shape
    k = x.shape[1]
    dz = np.empty(m * n, dy.dtype)
    row_gradient(dy.reshape(-1), y.reshape(-1), dz, 0, m, n, d_bias, 0, relu)
    share_strips(pool, address, x.reshape(-1), dz, d_kernel.reshape(-1), for_kernel)
    if dx.size > 0:
        # There are few rows, and the transposes of dz and dx are small beside the kernel's.
        dz_transposed, dx_transposed = np.empty(n * m, dy.dtype), np.empty(k * m, dy.dtype)
        transpose_serially(dz, dz_transposed, m, n)
        share_strips(pool, address, kernel.reshape(-1), dz_transposed, dx_transposed, for_dx)
        transpose_serially(dx_transposed, dx.reshape(-1), k, m)
