"""A fully connected layer, there and back, each as one call of compiled code.

The products and the pass over bias and activation are those of `matrices` and `bias`. For layers
of some hundred units, the way from Python into compiled code and back takes as long as the work,
so it is made once: a step of mlp-100-75 became a tenth shorter.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.activations import activate, bias_activation_gradient, finish
from tinynet.kernels.bias import row_gradient
from tinynet.kernels.jit import jit, plain
from tinynet.kernels.matrices import fill, is_large, matmul, product_plan
from tinynet.kernels.memory import empty
from tinynet.kernels.products import multiply, share_strips
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import pool_for
from tinynet.kernels.tile import strip_address
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
    plan = product_plan(m, k, n, False, y.itemsize)
    multiply(x, kernel, y, plan, bias, activation == "relu")
    activate(y, activation, negative_slope)
    return y


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
