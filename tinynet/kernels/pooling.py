"""Pooling: the inner loop runs over channels, which lie side by side in memory."""

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.geometry import Pair, output_size, pad_amounts
from tinynet.kernels.jit import jit, plain
from tinynet.kernels.reference import Array, Shape4

Winners = NDArray[np.int32]


def max_pool2d(
    x: Array, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> tuple[Array, Winners]:
    """x (n, h, w, c) -> the largest entry of each window, and its number in the window."""
    shape = _pooled_shape(x, pool_size, strides, padding)
    y, winners = np.empty(shape, x.dtype), np.empty(shape, np.int32)
    _max_pool(
        plain(x), *pool_size, *strides, *_corner(x.shape, pool_size, strides, padding), y, winners
    )
    return y, winners


def _pooled_shape(x: Array, pool_size: Pair, strides: Pair, padding: str) -> Shape4:
    n, h, w, c = x.shape
    rows = output_size(h, pool_size[0], strides[0], padding)
    columns = output_size(w, pool_size[1], strides[1], padding)
    return n, rows, columns, c


def _corner(shape: tuple[int, ...], pool_size: Pair, strides: Pair, padding: str) -> Pair:
    """How far the first window reaches over the image's top and left."""
    top = pad_amounts(shape[1], pool_size[0], strides[0], padding)[0]
    left = pad_amounts(shape[2], pool_size[1], strides[1], padding)[0]
    return top, left


@jit()
def _max_pool(
    x: Array, ph: int, pw: int, sh: int, sw: int, top: int, left: int, y: Array, winners: Winners
) -> None:
    n, rows, columns, _ = y.shape
    for image in range(n):
        for r in range(rows):
            for s in range(columns):
                best, winner = y[image, r, s], winners[image, r, s]
                best[:] = -np.inf
                winner[:] = 0
                for i in range(ph):
                    for j in range(pw):
                        row, column = r * sh + i - top, s * sw + j - left
                        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                            _compete(x[image, row, column], i * pw + j, best, winner)


@jit()
def _compete(challenger: Array, number: int, best: Array, winner: Winners) -> None:
    number32 = np.int32(number)
    for c in range(len(challenger)):
        value, old = challenger[c], best[c]
        # A number that is not equal to itself is NaN: the first NaN wins, and stays.
        wins = value > old or (value != value and old == old)
        best[c] = value if wins else old
        winner[c] = number32 if wins else winner[c]


def max_pool2d_gradient(
    dy: Array,
    winners: Winners,
    input_shape: Shape4,
    pool_size: Pair,
    strides: Pair,
    padding: str = "valid",
) -> Array:
    """dx (n, h, w, c): all of each dy goes to the entry that won its window."""
    dx = np.zeros(input_shape, dy.dtype)
    corner = _corner(input_shape, pool_size, strides, padding)
    _max_pool_gradient(plain(dy), plain(winners), *pool_size, *strides, *corner, dx)
    return dx


@jit()
def _max_pool_gradient(
    dy: Array, winners: Winners, ph: int, pw: int, sh: int, sw: int, top: int, left: int, dx: Array
) -> None:
    n, rows, columns, _ = dy.shape
    for image in range(n):
        for r in range(rows):
            for s in range(columns):
                for i in range(ph):
                    for j in range(pw):
                        row, column = r * sh + i - top, s * sw + j - left
                        if 0 <= row < dx.shape[1] and 0 <= column < dx.shape[2]:
                            _award(
                                dy[image, r, s], winners[image, r, s], i * pw + j,
                                dx[image, row, column],
                            )  # fmt: skip


@jit()
def _award(prize: Array, winner: Winners, number: int, dx: Array) -> None:
    zero, number32 = prize.dtype.type(0), np.int32(number)
    for c in range(len(prize)):
        dx[c] += prize[c] if winner[c] == number32 else zero


def average_pool2d(x: Array, pool_size: Pair, strides: Pair, padding: str = "valid") -> Array:
    """The mean of each window, padding left out: x (n, h, w, c) -> y (n, oh, ow, c)."""
    y = np.zeros(_pooled_shape(x, pool_size, strides, padding), x.dtype)
    _average_pool(plain(x), *pool_size, *strides, *_corner(x.shape, pool_size, strides, padding), y)
    return y


@jit()
def _average_pool(
    x: Array, ph: int, pw: int, sh: int, sw: int, top: int, left: int, y: Array
) -> None:
    n, rows, columns, channels = y.shape
    for image in range(n):
        for r in range(rows):
            first_row, end_row = _clip(r * sh - top, ph, x.shape[1])
            for s in range(columns):
                first, end = _clip(s * sw - left, pw, x.shape[2])
                for row in range(first_row, end_row):
                    for column in range(first, end):
                        _add(y[image, r, s], x[image, row, column], x.dtype.type(1))
                count = x.dtype.type((end_row - first_row) * (end - first))
                for c in range(channels):
                    y[image, r, s, c] /= count


@jit()
def _clip(first: int, window: int, size: int) -> Pair:
    """The part of a window that lies on the image: from its first entry to before its end."""
    return max(first, 0), min(first + window, size)


@jit()
def _add(total: Array, x: Array, divisor: float) -> None:
    for c in range(len(total)):
        total[c] += x[c] / divisor


def average_pool2d_gradient(
    dy: Array, input_shape: Shape4, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> Array:
    """dx (n, h, w, c): each dy is shared equally among its window's entries."""
    dx = np.zeros(input_shape, dy.dtype)
    corner = _corner(input_shape, pool_size, strides, padding)
    _average_pool_gradient(plain(dy), *pool_size, *strides, *corner, dx)
    return dx


@jit()
def _average_pool_gradient(
    dy: Array, ph: int, pw: int, sh: int, sw: int, top: int, left: int, dx: Array
) -> None:
    n, rows, columns, _ = dy.shape
    for image in range(n):
        for r in range(rows):
            first_row, end_row = _clip(r * sh - top, ph, dx.shape[1])
            for s in range(columns):
                first, end = _clip(s * sw - left, pw, dx.shape[2])
                count = dy.dtype.type((end_row - first_row) * (end - first))
                for row in range(first_row, end_row):
                    for column in range(first, end):
                        _add(dx[image, row, column], dy[image, r, s], count)
