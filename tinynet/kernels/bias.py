"""Adding a bias and ReLU to rows, and the gradient of both, in one pass over memory.

The rows (m, c) are walked down one vector of columns after another, so that the bias of these
columns, or the sum of their gradients, stays in a register:

            columns ->
    row 0  [ v ] [   ] [   ]
    row 1  [ v ] [   ] [   ]       y = max(x + bias, 0)
     ...   [ | ] [   ] [   ]       dx = dy where y > 0;  d_bias += dx
           [ v ] [   ] [   ]

What it bought: on one thread, the gradient at the CNN's first layer takes 112 microseconds instead
of the 241 of loops over each row, which the compiler vectorizes by itself.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tinynet.kernels.jit import entry, jit
from tinynet.kernels.memory import empty
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import pool_for, share
from tinynet.kernels.vectors import (
    array_data,
    cgutils,
    channel_loops,
    intrinsic,
    load_vector,
    splat,
    store_vector,
)

# What one entry takes, in multiply-adds.
_OPERATIONS = 6

# Rows of a task have about so many entries, which fit a first-level cache.
_BLOCK = 4096

# Sums over rows are taken in this many parts, for any number of threads.
_PARTS = 8


@intrinsic
def add_bias(
    typingctx: Any, y: Any, at: Any, row: Any, rows: Any, columns: Any, bias: Any, bias_at: Any,
    relu: Any,
) -> Any:  # fmt: skip
    """``y = y + bias``, or ``max(y + bias, 0)``: row i begins at y[at + i * row]."""
    size = types.intp
    signature = types.void(y, size, size, size, size, bias, size, types.boolean)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        _, at, row, rows, columns, _, bias_at, relu = values
        y, bias = (array_data(context, builder, signature, values, i) for i in (0, 5))
        for vector, column in channel_loops(context, builder, signature.args[0].dtype, columns, 2):
            zeros = ir.Constant(vector, [0.0] * vector.count)
            added = builder.gep(bias, [builder.add(bias_at, column)])
            added = load_vector(builder, vector, added, None)
            first = builder.add(at, column)
            with cgutils.for_range(builder, rows) as loop:
                place = builder.gep(y, [builder.add(first, builder.mul(loop.index, row))])
                z = builder.fadd(load_vector(builder, vector, place, None), added)
                # A NaN is not smaller than 0 and stays.
                negative = builder.fcmp_ordered("<", z, zeros)
                clipped = builder.select(negative, zeros, z)
                store_vector(builder, builder.select(relu, clipped, z), place, None)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def row_gradient(
    typingctx: Any, dy: Any, y: Any, dx: Any, dx_row: Any, first: Any, rows: Any, columns: Any,
    sums: Any, sums_at: Any, relu: Any,
) -> Any:  # fmt: skip
    """``dx = dy``, or dy where y > 0; and dx added to the sums: for so many rows from the first on.

    Row i of dy and y begins at i * columns, that of dx at i * dx_row.
    """
    size = types.intp
    signature = types.void(dy, y, dx, size, size, size, size, sums, size, types.boolean)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        _, _, _, dx_row, first, rows, columns, _, sums_at, relu = values
        dy, y, dx, sums = (array_data(context, builder, signature, values, i) for i in (0, 1, 2, 7))
        linear = builder.not_(relu)
        for vector, column in channel_loops(context, builder, signature.args[0].dtype, columns, 2):
            zeros = ir.Constant(vector, [0.0] * vector.count)
            all_linear = splat(builder, linear, vector.count)
            place = builder.gep(sums, [builder.add(sums_at, column)])
            total = cgutils.alloca_once(builder, vector)
            builder.store(load_vector(builder, vector, place, None), total)
            with cgutils.for_range(builder, rows) as loop:
                row = builder.add(first, loop.index)
                offset = builder.add(column, builder.mul(row, columns))
                to = builder.add(column, builder.mul(row, dx_row))
                given = load_vector(builder, vector, builder.gep(dy, [offset]), None)
                result = load_vector(builder, vector, builder.gep(y, [offset]), None)
                passes = builder.or_(builder.fcmp_ordered(">", result, zeros), all_linear)
                value = builder.select(passes, given, zeros)
                store_vector(builder, value, builder.gep(dx, [to]), None)
                builder.store(builder.fadd(builder.load(total), value), total)
            store_vector(builder, builder.load(total), place, None)
        return context.get_dummy_value()

    return signature, generate


def add_bias_to_rows(y: Array, bias: Array, relu: bool) -> None:
    """y (m, c) + bias (c,), in place, with ReLU or without."""
    m, c = y.shape
    _add_bias(pool_for(_OPERATIONS * y.size), y.reshape(-1), m, c, bias, relu)


@entry()
def _add_bias(pool: int, y: Array, m: int, c: int, bias: Array, relu: bool) -> None:
    block = max(1, _BLOCK // c)
    share(pool, -(-m // block), _add_bias_block, (block, y, m, c, bias, relu))


@jit()
def _add_bias_block(
    number: int, block: int, y: Array, m: int, c: int, bias: Array, relu: bool
) -> None:
    first = number * block
    add_bias(y, first * c, c, min(block, m - first), c, bias, 0, relu)


def bias_gradient(dy: Array, y: Array, relu: bool, d_bias: Array) -> Array:
    """dx = dy, or dy where y > 0, and in d_bias (c,) the sum of its rows: dy, y (m, c)."""
    dx = empty(dy.shape, dy.dtype)
    _gradient(pool_for(_OPERATIONS * dy.size), dy, y, dx, bias_parts(dy.size), d_bias, relu)
    return dx


def bias_parts(size: int) -> int:
    """In how many parts the bias's gradient is taken where dy has this size."""
    return _PARTS if size > _PARTS * _BLOCK else 1


@entry()
def _gradient(
    pool: int, dy: Array, y: Array, dx: Array, parts: int, d_bias: Array, relu: bool
) -> None:
    m, c = dy.shape
    share_gradient(pool, dy.reshape(-1), y.reshape(-1), dx.reshape(-1), c, m, parts, d_bias, relu)


@jit()
def share_gradient(
    pool: int, dy: Array, y: Array, dx: Array, dx_row: int, m: int, parts: int, d_bias: Array,
    relu: bool,
) -> None:  # fmt: skip
    """`bias_gradient` for compiled code, and arrays of one dimension: dx's rows dx_row apart."""
    c = len(d_bias)
    sums = np.empty((parts, c), dy.dtype)
    share(pool, parts, _gradient_part, (dy, y, dx, dx_row, m, c, sums, relu))
    for j in range(c):
        d_bias[j] = sums[0, j]
    for part in range(1, parts):
        for j in range(c):
            d_bias[j] += sums[part, j]


@jit()
def _gradient_part(
    part: int, dy: Array, y: Array, dx: Array, dx_row: int, m: int, c: int, sums: Array, relu: bool
) -> None:
    sums[part] = dy.dtype.type(0)
    first, last = m * part // len(sums), m * (part + 1) // len(sums)
    block = max(1, _BLOCK // c)
    for start in range(first, last, block):
        rows = min(block, last - start)
        row_gradient(dy, y, dx, dx_row, start, rows, c, sums.reshape(-1), part * c, relu)
