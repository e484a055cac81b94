"""A fully connected layer, there and back, each as one call of compiled code.

The products and the pass over bias and activation are those of `matrices` and `bias`. For layers
of some hundred units and batches of some dozen samples, the way from Python into compiled code and
back takes as long as the work, so it is made once.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.activations import activate, bias_activation_gradient, finish
from tinynet.kernels.bias import add_bias, bias_parts, row_gradient, share_gradient
from tinynet.kernels.jit import entry, plain
from tinynet.kernels.matrices import (
    LEFT_TRANSPOSED,
    direct,
    fill,
    is_large,
    matmul,
    product_plan,
    times_transposed,
)
from tinynet.kernels.memory import empty, give, own
from tinynet.kernels.operands import check_dtype
from tinynet.kernels.products import multiply, plan, share_strips, strip
from tinynet.kernels.reference import Array
from tinynet.kernels.thread_count import on_change
from tinynet.kernels.threads import pool_for
from tinynet.kernels.tile import (
    empty_lines,
    from_line,
    line,
    panels,
    whole_vectors,
)

# Up to so many rows (samples), x @ kernel may be cut along k, one thread makes dz, and dx is made
# from dz transposed.
_MOST_ROWS = 64

# For kernels of at least this size the sum over k is taken in parts. So a thread works on the same
# rows of the kernel here, in its gradient and in the optimizer, and has them in its cache. With the
# columns shared out instead, half of the rows came from the other thread's cache each time: an
# update of 80,000 weights took 28 microseconds instead of 16.
_LEAST_SPLIT = 16_384
_PARTS = 4  # which `_dense` adds up one by one


def dense(
    x: Array,
    kernel: Array,
    bias: Array | None,
    activation: str = "linear",
    negative_slope: float = 0.0,
) -> Array:
    """``y = activation(x @ kernel + bias)``: x (m, k), kernel (k, n), bias (n,) -> y (m, n)."""
    x, kernel, bias = plain(x), plain(kernel), bias if bias is None else plain(bias)
    (m, k), n = x.shape, kernel.shape[1]
    y = empty((m, n), x.dtype)
    relu = activation == "relu"
    if 0 < m <= _MOST_ROWS and k and n:
        layer = _prepare(m, k, n, x.dtype)
        _dense(
            pool_for(m * k * n), x, kernel, y, layer.parts, layer.strips,
            layer.zero_bias if bias is None else bias, relu,
        )  # fmt: skip
    elif not (m and k and n) or is_large(m, kernel.nbytes):
        fill(x, kernel, False, False, y)
        finish(y, bias, activation, negative_slope)
        return y
    else:
        multiply(x, kernel, y, product_plan(m, k, n, False, y.itemsize), bias, relu)
    if activation not in ("linear", "relu"):
        activate(y, activation, negative_slope)
    return y


class _Layer(NamedTuple):
    """What a call needs to know of a layer with these sizes."""

    zero_bias: Array
    parts: int  # in which the sum over k is taken
    strips: NDArray[np.int64]  # of x[:, part] @ kernel[part], for each part


@lru_cache(maxsize=256)
def _prepare(m: int, k: int, n: int, dtype: np.dtype[Any]) -> _Layer:
    check_dtype(dtype)
    size = dtype.itemsize
    parts = _PARTS if k >= _PARTS and k * n >= _LEAST_SPLIT else 1
    bounds = [k * part // parts for part in range(parts + 1)]
    forward = plan([
        strip(
            a_at=first, a_row=k, a_outer=0, a_inner=1, b_at=first * n + column, b_outer=0,
            b_inner=n, c_at=part * m * n + column, c_row=n, rows=m, columns=width,
            outer=1, inner=last - first, itemsize=size,
        )
        for part, (first, last) in enumerate(pairwise(bounds))
        for column, width in panels(n, size)
    ])  # fmt: skip
    return _Layer(np.zeros(n, dtype), parts, forward.strips)


@entry()
def _dense(
    pool: int, x: Array, kernel: Array, y: Array, parts: int, strips: NDArray[np.int64],
    bias: Array, relu: bool,
) -> None:  # fmt: skip
    m, n = y.shape
    total = y.reshape(-1)
    if parts == 1:
        share_strips(pool, x.reshape(-1), kernel.reshape(-1), total, strips)
    else:
        sums = empty_lines(_PARTS * m * n, total).reshape(_PARTS, m * n)
        share_strips(pool, x.reshape(-1), kernel.reshape(-1), sums.reshape(-1), strips)
        for i in range(m * n):
            total[i] = sums[0, i] + sums[1, i] + sums[2, i] + sums[3, i]
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
    bias_out: Array | None = None,
) -> tuple[Array | None, Array, Array]:
    """dx (m, k) or None, d_kernel (k, n), d_bias (n,); these two go to ``out`` and ``bias_out``."""
    (m, k), n = x.shape, kernel.shape[1]
    d_kernel, d_bias = own(out, (k, n), x.dtype), own(bias_out, (n,), x.dtype)
    back = None
    if activation in ("linear", "relu"):
        back = _prepare_gradient(m, k, n, x.dtype, need_dx)
    if back is None or not all([array.flags.carray for array in (dy, x, y, kernel)]):
        dz, _ = bias_activation_gradient(dy, y, activation, negative_slope, d_bias)
        matmul(x, dz, transpose_a=True, out=d_kernel)
        dx = matmul(dz, kernel, transpose_b=True) if need_dx else None
        return dx, give(d_kernel, out), give(d_bias, bias_out)
    pool, relu = pool_for(m * k * n), activation == "relu"
    dx = empty((m, k) if need_dx else (0, 0), x.dtype)
    if m <= _MOST_ROWS:
        _dense_gradient(pool, dy, x, y, kernel, relu, back.strips, dx, d_kernel, d_bias)
    else:
        _gradient_of_many_rows(
            pool, dy, x, y, kernel, relu, back.strips, empty((back.size,), x.dtype),
            bias_parts(m * n), back.turned, dx, d_kernel, d_bias,
        )  # fmt: skip
    return dx if need_dx else None, give(d_kernel, out), give(d_bias, bias_out)


class _Back(NamedTuple):
    """What `dense_gradient` needs to know of a layer with these sizes."""

    strips: NDArray[np.int64]  # of x.T @ dz
    size: int  # of the memory for dz, where there are many rows
    turned: bool  # whether dx is made from dz transposed, or from the kernel transposed


@lru_cache(maxsize=256)
def _prepare_gradient(m: int, k: int, n: int, dtype: np.dtype[Any], need_dx: bool) -> _Back | None:
    """None where x.T @ dz or dz @ kernel.T copies a large matrix first, or has nothing to do."""
    check_dtype(dtype)
    size = dtype.itemsize
    if not (m and k and n) or is_large(k, m * n * size):
        return None
    if m <= _MOST_ROWS:
        return _Back(product_plan(k, m, n, True, size).strips, 0, True)
    dx = direct(m, n, k, False, True, dtype)
    if need_dx and dx is None:
        return None
    room = whole_vectors(n, size)
    strips = product_plan(k, m, n, True, size, room).strips
    turned = dx is not None and dx.kind == LEFT_TRANSPOSED
    return _Back(strips, m * room + line(size), turned)


@on_change.append
def _forget_strips(threads: int) -> None:
    _prepare_gradient.cache_clear()


@entry()
def _dense_gradient(
    pool: int, dy: Array, x: Array, y: Array, kernel: Array, relu: bool, strips: NDArray[np.int64],
    dx: Array, d_kernel: Array, d_bias: Array,
) -> None:  # fmt: skip
    """``dz = dy * activation'(z)``, d_bias = dz.sum(0), d_kernel = x.T @ dz, dx = dz @ kernel.T"""
    (m, n), k = dy.shape, x.shape[1]
    dz = empty_lines(m * n, d_bias)
    d_bias[:] = dy.dtype.type(0)
    row_gradient(dy.reshape(-1), y.reshape(-1), dz, n, 0, m, n, d_bias, 0, relu)
    share_strips(pool, x.reshape(-1), dz, d_kernel.reshape(-1), strips)
    if dx.size > 0:
        times_transposed(pool, kernel.reshape(-1), n, dz, n, dx.reshape(-1), k, n, m, True)


@entry()
def _gradient_of_many_rows(
    pool: int, dy: Array, x: Array, y: Array, kernel: Array, relu: bool, strips: NDArray[np.int64],
    memory: Array, parts: int, turned: bool, dx: Array, d_kernel: Array, d_bias: Array,
) -> None:  # fmt: skip
    """`_dense_gradient` for more rows, where threads share out what makes dz, too.

    The rows of dz are whole vectors, each in a line of the cache. With 300 columns side by side,
    x.T @ dz takes a Xeon 5% longer.
    """
    (m, n), k = dy.shape, x.shape[1]
    dz, row = from_line(memory), whole_vectors(n, dy.itemsize)
    share_gradient(pool, dy.reshape(-1), y.reshape(-1), dz, row, m, parts, d_bias, relu)
    share_strips(pool, x.reshape(-1), dz, d_kernel.reshape(-1), strips)
    if dx.size == 0:
        return
    w, dx_flat = kernel.reshape(-1), dx.reshape(-1)
    if turned:
        times_transposed(pool, w, n, dz, row, dx_flat, k, n, m, True)
    else:
        times_transposed(pool, dz, row, w, n, dx_flat, m, n, k, False)
