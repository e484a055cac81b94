"""Pooling: the inner loops run over channels, which lie side by side in memory.

Images are independent of each other, so threads share them out.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from tinynet.kernels.geometry import Pair, output_size, pad_amounts
from tinynet.kernels.jit import entry, jit, plain
from tinynet.kernels.memory import empty, zeros
from tinynet.kernels.recording import not_recorded
from tinynet.kernels.reference import Array, Shape4
from tinynet.kernels.threads import pool_for, share
from tinynet.kernels.vectors import (
    array_data,
    cgutils,
    intrinsic,
    load_vector,
    masked_channel_loops,
    splat,
    store_vector,
)

Winners = NDArray[np.int32]

# Finding the largest, or where it was, takes as long for each entry as some 10 multiply-adds.
_OPERATIONS = 10


def _pooled_shape(x: Array, pool_size: Pair, strides: Pair, padding: str) -> Shape4:
    n, h, w, c = x.shape
    rows = output_size(h, pool_size[0], strides[0], padding)
    columns = output_size(w, pool_size[1], strides[1], padding)
    return n, rows, columns, c


def _corner(shape: tuple[int, ...], pool_size: Pair, strides: Pair, padding: str) -> Pair:
    """How many rows and columns of padding the first window has."""
    top = pad_amounts(shape[1], pool_size[0], strides[0], padding)[0]
    left = pad_amounts(shape[2], pool_size[1], strides[1], padding)[0]
    return top, left


@jit()
def _on_image(start: int, window: int, size: int) -> Pair:
    """Which entries of a window that starts there lie on the image: first, and before which."""
    return max(-start, 0), min(window, size - start)


# --- maximum -------------------------------------------------------------------------------------
#
# What one window does, for all channels, is written as vector instructions: the largest entry so
# far and its number stay in registers. Loops over channels inside of the loops over the window,
# which is what the compiler can vectorize by itself, took more than twice as long.


class _Window(NamedTuple):
    """A window as LLVM values: x[at + i * row + j * column + c] is the entry i, j of channel c.

    The part of it that lies on the image is first_i <= i < end_i, first_j <= j < end_j, and entry
    i, j has the number i * width + j.
    """

    at: ir.Value
    row: ir.Value
    column: ir.Value
    first_i: ir.Value
    end_i: ir.Value
    first_j: ir.Value
    end_j: ir.Value
    width: ir.Value


# What makes code for one entry: the pointer to it and its number.
Visit = Callable[[ir.Value, ir.Value], None]


def _emit_window(
    builder: ir.IRBuilder, start: ir.Value, window: _Window, channel: ir.Value, visit: Visit,
    often_2x2: bool = True,
) -> None:  # fmt: skip
    """The loop over the entries of a window; one without jumps for 2x2, if these are common."""
    index = channel.type

    def entry(i: ir.Value, j: ir.Value) -> None:
        offset = builder.add(builder.mul(window.row, i), builder.mul(window.column, j))
        pointer = builder.gep(start, [builder.add(builder.add(window.at, offset), channel)])
        number = builder.add(builder.mul(window.width, i), j)
        visit(pointer, builder.trunc(number, ir.IntType(32)))

    def loop() -> None:
        rows = cgutils.for_range_slice(builder, window.first_i, window.end_i, index(1))
        with rows as (i, _):
            columns = cgutils.for_range_slice(builder, window.first_j, window.end_j, index(1))
            with columns as (j, _):
                entry(i, j)

    if not often_2x2:
        loop()
        return
    sizes = zip(window[3:], (0, 2, 0, 2, 2), strict=True)
    is_2x2 = functools.reduce(
        builder.and_, [builder.icmp_signed("==", value, index(size)) for value, size in sizes]
    )
    with builder.if_else(is_2x2, likely=True) as (then, otherwise):
        with then:
            for i, j in itertools.product(range(2), range(2)):
                entry(index(i), index(j))
        with otherwise:
            loop()


@intrinsic
def _largest(
    typingctx: Any, x: Any, window: Any, y: Any, winners: Any, at: Any, channels: Any
) -> Any:
    """y[at + c], winners[at + c] = the largest entry of the window and its number, each c."""
    signature = types.void(x, window, y, winners, types.intp, types.intp)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        packed, at, channels = values[1], values[4], values[5]
        x, y, winners = (array_data(context, builder, signature, values, i) for i in (0, 2, 3))
        window = _Window(*cgutils.unpack_tuple(builder, packed))
        dtype = signature.args[0].dtype
        for vector, channel, mask in masked_channel_loops(context, builder, dtype, channels):
            numbers = ir.VectorType(ir.IntType(32), vector.count)
            lowest = ir.Constant(vector, [float("-inf")] * vector.count)
            largest = cgutils.alloca_once(builder, vector)
            winner = cgutils.alloca_once(builder, numbers)
            builder.store(lowest, largest)
            builder.store(ir.Constant(numbers, [0] * vector.count), winner)

            def visit(
                pointer: ir.Value, number: ir.Value, vector: Any = vector, mask: Any = mask,
                largest: Any = largest, winner: Any = winner,
            ) -> None:  # fmt: skip
                new, old = load_vector(builder, vector, pointer, mask), builder.load(largest)
                # Larger, or NaN; but what is NaN already stays as it is.
                wins = builder.and_(
                    builder.fcmp_unordered(">", new, old), builder.fcmp_ordered("ord", old, old)
                )
                builder.store(builder.select(wins, new, old), largest)
                here = splat(builder, number, vector.count)
                builder.store(builder.select(wins, here, builder.load(winner)), winner)

            _emit_window(builder, x, window, channel, visit)
            place = builder.add(at, channel)
            store_vector(builder, builder.load(largest), builder.gep(y, [place]), mask)
            store_vector(builder, builder.load(winner), builder.gep(winners, [place]), mask)
        return context.get_dummy_value()

    return signature, generate


def _make_to_winner(add: bool) -> Any:
    @intrinsic
    def to_winner(
        typingctx: Any, dy: Any, winners: Any, at: Any, dx: Any, window: Any, channels: Any
    ) -> Any:
        signature = types.void(dy, winners, types.intp, dx, window, types.intp)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            at, packed, channels = values[2], values[4], values[5]
            dy, winners, dx = (
                array_data(context, builder, signature, values, i) for i in (0, 1, 3)
            )
            window = _Window(*cgutils.unpack_tuple(builder, packed))
            dtype = signature.args[0].dtype
            for vector, channel, mask in masked_channel_loops(context, builder, dtype, channels):
                numbers = ir.VectorType(ir.IntType(32), vector.count)
                place = builder.add(at, channel)
                given = load_vector(builder, vector, builder.gep(dy, [place]), mask)
                winner = load_vector(builder, numbers, builder.gep(winners, [place]), mask)

                def visit(
                    pointer: ir.Value, number: ir.Value, given: Any = given, winner: Any = winner,
                    mask: Any = mask,
                ) -> None:  # fmt: skip
                    here = splat(builder, number, winner.type.count)
                    zeros = ir.Constant(given.type, [0.0] * given.type.count)
                    value = builder.select(builder.icmp_signed("==", winner, here), given, zeros)
                    if add:
                        old = load_vector(builder, given.type, pointer, mask)
                        value = builder.fadd(old, value)
                    store_vector(builder, value, pointer, mask)

                # Windows that overlap are seldom 2x2.
                _emit_window(builder, dx, window, channel, visit, often_2x2=not add)
            return context.get_dummy_value()

        return signature, generate

    return to_winner


# (dy, winners, at, dx, window, channels): for each c, dy[at + c] goes to the entry of the window
# that won, and 0 to the others; instead of what is there, or added to it.
_put_to_winner = _make_to_winner(add=False)
_add_to_winner = _make_to_winner(add=True)


def max_pool2d(
    x: Array, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> tuple[Array, Winners]:
    """x (n, h, w, c) -> the largest entry of each window, and its number in the window."""
    shape = _pooled_shape(x, pool_size, strides, padding)
    y, winners = empty(shape, x.dtype), empty(shape, np.int32)
    corner = _corner(x.shape, pool_size, strides, padding)
    pool = pool_for(_OPERATIONS * x.size)
    _max_pool(pool, plain(x), pool_size, strides, corner, y, winners)
    return y, winners


@entry()
def _max_pool(
    pool: int, x: Array, pool_size: Pair, strides: Pair, corner: Pair, y: Array, winners: Winners
) -> None:
    share(pool, len(x), _max_pool_image, (x, pool_size, strides, corner, y, winners))


@jit()
def _max_pool_image(
    n: int, x: Array, pool_size: Pair, strides: Pair, corner: Pair, y: Array, winners: Winners
) -> None:
    x, y, winners = x[n], y[n], winners[n]
    rows, columns, channels = y.shape
    flat_x, flat_y, flat_winners = x.reshape(-1), y.reshape(-1), winners.reshape(-1)
    for r in range(rows):
        for s in range(columns):
            window = _window(r, s, x.shape, pool_size, strides, corner)
            at = (r * columns + s) * channels
            _largest(flat_x, window, flat_y, flat_winners, at, channels)


@jit()
def _window(
    r: int, s: int, shape: tuple[int, int, int], pool_size: Pair, strides: Pair, corner: Pair
) -> tuple[int, ...]:
    """The `_Window` of row r and column s of the result, on an image of this shape."""
    height, width, channels = shape
    top, left = r * strides[0] - corner[0], s * strides[1] - corner[1]
    i_first, i_end = _on_image(top, pool_size[0], height)
    j_first, j_end = _on_image(left, pool_size[1], width)
    at, row = (top * width + left) * channels, width * channels
    return at, row, channels, i_first, i_end, j_first, j_end, pool_size[1]


def max_pool2d_gradient(
    dy: Array,
    winners: Winners,
    input_shape: Shape4,
    pool_size: Pair,
    strides: Pair,
    padding: str = "valid",
) -> Array:
    """dx (n, h, w, c): all of each dy goes to the entry that won its window."""
    dx = empty(input_shape, dy.dtype)
    corner = _corner(input_shape, pool_size, strides, padding)
    pool = pool_for(_OPERATIONS * dx.size)
    _max_pool_gradient(pool, plain(dy), plain(winners), pool_size, strides, corner, dx)
    return dx


@entry()
def _max_pool_gradient(
    pool: int, dy: Array, winners: Winners, pool_size: Pair, strides: Pair, corner: Pair, dx: Array
) -> None:
    share(pool, len(dy), _max_pool_gradient_image, (dy, winners, pool_size, strides, corner, dx))


@jit()
def _max_pool_gradient_image(
    n: int, dy: Array, winners: Winners, pool_size: Pair, strides: Pair, corner: Pair, dx: Array
) -> None:
    dy, winners, dx = dy[n], winners[n], dx[n]
    rows, columns, channels = dy.shape
    flat_dy, flat_winners, flat_dx = dy.reshape(-1), winners.reshape(-1), dx.reshape(-1)
    # Windows side by side write every entry once, except for what is left at the end.
    add = strides != pool_size
    left_row, left_column = rows * strides[0] - corner[0], columns * strides[1] - corner[1]
    for i in range(dx.shape[0]):
        first = 0 if add or i >= left_row else left_column
        row = i * dx.shape[1]
        flat_dx[(row + first) * channels : (row + dx.shape[1]) * channels] = dy.dtype.type(0)
    for r in range(rows):
        for s in range(columns):
            window = _window(r, s, dx.shape, pool_size, strides, corner)
            at = (r * columns + s) * channels
            if add:
                _add_to_winner(flat_dy, flat_winners, at, flat_dx, window, channels)
            else:
                _put_to_winner(flat_dy, flat_winners, at, flat_dx, window, channels)


# --- mean ----------------------------------------------------------------------------------------


def average_pool2d(x: Array, pool_size: Pair, strides: Pair, padding: str = "valid") -> Array:
    """The mean of each window, padding left out: x (n, h, w, c) -> y (n, oh, ow, c)."""
    not_recorded()  # it needs the zeros
    y = zeros(_pooled_shape(x, pool_size, strides, padding), x.dtype)
    _average_pool(plain(x), pool_size, strides, _corner(x.shape, pool_size, strides, padding), y)
    return y


@entry()
def _average_pool(x: Array, pool_size: Pair, strides: Pair, corner: Pair, y: Array) -> None:
    images, rows, columns, channels = y.shape
    for n in range(images):
        for r in range(rows):
            top = r * strides[0] - corner[0]
            i_first, i_end = _on_image(top, pool_size[0], x.shape[1])
            for s in range(columns):
                left = s * strides[1] - corner[1]
                j_first, j_end = _on_image(left, pool_size[1], x.shape[2])
                for i in range(i_first, i_end):
                    for j in range(j_first, j_end):
                        for c in range(channels):
                            y[n, r, s, c] += x[n, top + i, left + j, c]
                count = x.dtype.type((i_end - i_first) * (j_end - j_first))
                for c in range(channels):
                    y[n, r, s, c] /= count


def average_pool2d_gradient(
    dy: Array, input_shape: Shape4, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> Array:
    """dx (n, h, w, c): each dy is shared equally among its window's entries."""
    not_recorded()
    dx = zeros(input_shape, dy.dtype)
    corner = _corner(input_shape, pool_size, strides, padding)
    _average_pool_gradient(plain(dy), pool_size, strides, corner, dx)
    return dx


@entry()
def _average_pool_gradient(
    dy: Array, pool_size: Pair, strides: Pair, corner: Pair, dx: Array
) -> None:
    images, rows, columns, channels = dy.shape
    for n in range(images):
        for r in range(rows):
            top = r * strides[0] - corner[0]
            i_first, i_end = _on_image(top, pool_size[0], dx.shape[1])
            for s in range(columns):
                left = s * strides[1] - corner[1]
                j_first, j_end = _on_image(left, pool_size[1], dx.shape[2])
                count = dy.dtype.type((i_end - i_first) * (j_end - j_first))
                for i in range(i_first, i_end):
                    for j in range(j_first, j_end):
                        for c in range(channels):
                            dx[n, top + i, left + j, c] += dy[n, r, s, c] / count
