"""Pooling: the inner loops run over channels, which lie side by side in memory.

Images are independent of each other, so threads share them out.
"""

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.geometry import Pair, output_size, pad_amounts
from tinynet.kernels.jit import jit, plain
from tinynet.kernels.memory import empty, zeros
from tinynet.kernels.reference import Array, Shape4
from tinynet.kernels.threads import pool_for, share

Winners = NDArray[np.int32]

# Finding the largest, or where it was, takes as long for each entry as some 25 multiply-adds.
_OPERATIONS = 25


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


@jit()
def _max_pool(
    pool: int, x: Array, pool_size: Pair, strides: Pair, corner: Pair, y: Array, winners: Winners
) -> None:
    share(pool, len(x), _max_pool_image, (x, pool_size, strides, corner, y, winners))


@jit()
def _max_pool_image(
    n: int, xs: Array, pool_size: Pair, strides: Pair, corner: Pair, ys: Array,
    all_winners: Winners,
) -> None:  # fmt: skip
    x, y, winners = xs[n], ys[n], all_winners[n]
    rows, columns, channels = y.shape
    for r in range(rows):
        top = r * strides[0] - corner[0]
        i_first, i_end = _on_image(top, pool_size[0], x.shape[0])
        for s in range(columns):
            left = s * strides[1] - corner[1]
            j_first, j_end = _on_image(left, pool_size[1], x.shape[1])
            for c in range(channels):
                y[r, s, c] = -np.inf
                winners[r, s, c] = 0
            for i in range(i_first, i_end):
                for j in range(j_first, j_end):
                    number = np.int32(i * pool_size[1] + j)
                    for c in range(channels):
                        new, old = x[top + i, left + j, c], y[r, s, c]
                        # What is not equal to itself is NaN: the first one wins, and stays.
                        wins = (new > old) | ((new != new) & (old == old))
                        y[r, s, c] = new if wins else old
                        winners[r, s, c] = number if wins else winners[r, s, c]


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


@jit()
def _max_pool_gradient(
    pool: int, dy: Array, winners: Winners, pool_size: Pair, strides: Pair, corner: Pair, dx: Array
) -> None:
    share(pool, len(dy), _max_pool_gradient_image, (dy, winners, pool_size, strides, corner, dx))


@jit()
def _max_pool_gradient_image(
    n: int, dys: Array, all_winners: Winners, pool_size: Pair, strides: Pair,
    corner: Pair, dxs: Array,
) -> None:  # fmt: skip
    dy, winners, dx = dys[n], all_winners[n], dxs[n]
    zero = dy.dtype.type(0)
    dx[:] = zero
    rows, columns, channels = dy.shape
    for r in range(rows):
        top = r * strides[0] - corner[0]
        i_first, i_end = _on_image(top, pool_size[0], dx.shape[0])
        for s in range(columns):
            left = s * strides[1] - corner[1]
            j_first, j_end = _on_image(left, pool_size[1], dx.shape[1])
            for i in range(i_first, i_end):
                for j in range(j_first, j_end):
                    number = np.int32(i * pool_size[1] + j)
                    for c in range(channels):
                        d = dy[r, s, c]  # read in any case, so that there is no branch
                        dx[top + i, left + j, c] += d if winners[r, s, c] == number else zero


# --- mean ----------------------------------------------------------------------------------------


def average_pool2d(x: Array, pool_size: Pair, strides: Pair, padding: str = "valid") -> Array:
    """The mean of each window, padding left out: x (n, h, w, c) -> y (n, oh, ow, c)."""
    y = zeros(_pooled_shape(x, pool_size, strides, padding), x.dtype)
    _average_pool(plain(x), pool_size, strides, _corner(x.shape, pool_size, strides, padding), y)
    return y


@jit()
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
    dx = zeros(input_shape, dy.dtype)
    corner = _corner(input_shape, pool_size, strides, padding)
    _average_pool_gradient(plain(dy), pool_size, strides, corner, dx)
    return dx


@jit()
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
