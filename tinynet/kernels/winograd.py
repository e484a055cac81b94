"""Convolution with fewer multiplications: Winograd's algorithm for windows of 3x3, stride 1.

**In one dimension.** Four neighbouring outputs of a convolution with three weights take 4 * 3 = 12
multiplications, ``y[j] = sum over i of g[i] * x[j + i]``, and can be had for 6. Look at another
problem first: to multiply two polynomials, one with the weights g as its coefficients, one with
four numbers d. Their product c has 6 coefficients, ``c[j + i]`` being the sum of all
``g[i] * d[j]``. So it is known from its values at 6 points, and each value is the product of two
values, one multiplication. To evaluate at the points (G, A), and to find coefficients from values
(B), are multiplications by constant matrices:

    c = B @ ((G @ g) * (A @ d))            g: 3 weights, d: 4 numbers, c: 6 coefficients

For given weights that is a matrix times d, with ``g[i]`` in row j + i and column j. And the
convolution is its transpose times x: the same factors, each transposed, from last to first.

    y = A.T @ ((G @ g) * (B.T @ x))        x: 6 inputs, g: 3 weights, y: 4 outputs

**In two dimensions** the maps are applied along rows and along columns, and a tile of 4x4 outputs
takes 6 * 6 = 36 multiplications instead of 4 * 4 * 9 = 144 (x is 6x6 pixels of the image, and what
stands side by side is multiplied as matrices, except for U * V, entry by entry):

    V = B.T x B   (6x6 of the image -> 6x6)           x tiles overlap by 2:
    U = G g G.T   (3x3 of the kernel -> 6x6)           +------+---+------+
    M = U * V     (36 products)                         | tile 0|///| tile 1
    y = A.T M A   (6x6 -> 4x4 of the result)           +------+---+------+

**With channels** each of the 36 products becomes a product of matrices, and these are where nearly
all of the time goes, so they are `tile`'s:

    M[p] (tiles, c_out) = V[p] (tiles, c_in) @ U[p] (c_in, c_out)          p = 0 .. 35

In memory V and M are (tiles, 36, channels), as the maps read and write them, a tile at a time; the
rows of ``V[p]`` lie 36 * c_in apart.

**The gradients** are the transposed maps, in reverse order; nothing new has to be thought of:

    dM = A dy A.T    dU[p] = V[p].T @ dM[p]    d_kernel = G.T dU G
                     dV[p] = dM[p] @ U[p].T    dx      += B dV B.T   (the tiles overlap)

**The points** are 0, +-3/4, +-3/2 and infinity (the leading coefficient). 0, +-1, +-2, as in most
papers, make rounding errors twice as large. In float32 (root mean squares, normal numbers, 32 to
256 channels) outputs are wrong by 0.6 to 1.5 parts in a million, twice what `tile`'s direct sums
are wrong by.

What it bought: the CNN's second convolution, there and back, takes 1.0 ms instead of 2.4.

(Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308; about the points Barabasz et al. 2018,
arXiv:1803.10986.)
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinynet.kernels.bias import add_bias
from tinynet.kernels.geometry import Pair, output_size, pad_amounts
from tinynet.kernels.jit import ZERO, entry, jit, plain
from tinynet.kernels.memory import empty
from tinynet.kernels.outline import outlined
from tinynet.kernels.products import sum_of_parts, zero_bias
from tinynet.kernels.reference import Array, Shape4
from tinynet.kernels.threads import pool_for, share
from tinynet.kernels.tile import (
    MAX_ROWS,
    address_of,
    empty_lines,
    multiply_strip,
    panel_width,
    tile_rows,
)
from tinynet.kernels.transform import Matrix, Place, both_sides
from tinynet.kernels.transpose import swap_channels
from tinynet.kernels.vectors import LEAST_CHANNELS, in_either

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity
OUTPUTS, WINDOW = 4, 3
INPUTS = OUTPUTS + WINDOW - 1
PRODUCTS = INPUTS * INPUTS


def _matrices() -> tuple[Matrix, Matrix, Matrix]:
    """A (6, 4), B (6, 6) and G (6, 3) for the points."""

    def values(coefficients: int) -> Matrix:
        """Row i has the powers of point i; infinity sees the highest coefficient alone."""
        return np.vstack([np.vander(POINTS, coefficients, increasing=True),
                          np.eye(coefficients)[-1]])  # fmt: skip

    # Which polynomial is not 0 at one point, and 0 at the others: the product of (x - other).
    others = [[q for q in POINTS if q != p] for p in POINTS]
    b = np.zeros((INPUTS, INPUTS))
    for i, roots in enumerate([*others, list(POINTS)]):
        b[: len(roots) + 1, i] = np.poly(roots)[::-1]
    g = values(WINDOW)
    g[:-1] /= [[np.prod([p - q for q in roots])] for p, roots in zip(POINTS, others, strict=True)]
    return values(OUTPUTS), b, g


A, B, G = _matrices()

_image_to_v = both_sides(B.T)
_add_v_to_image = both_sides(B, add=True)
_m_to_result = both_sides(A.T)
_result_to_m = both_sides(A)
_kernel_to_u = both_sides(G)
_u_to_kernel = both_sides(G.T)

# Tiles that are worked on together: enough to fill the rows of a register tile three times, few
# enough that all their V and M stay in a second-level cache.
_CHUNK = 3 * MAX_ROWS

# The tiles of a batch are added up in this many parts, for any number of threads.
_PARTS = 8

# Matrices that lie a power of two apart compete for the same few places in the cache.
_GAP = 16

# What one entry of V or M takes, in multiply-adds, for the maps.
_MAP_OPERATIONS = 8


class Geometry(NamedTuple):
    """The sizes of one convolution."""

    images: int
    height: int
    width: int
    c_in: int
    rows: int  # of the result
    columns: int
    c_out: int
    top: int  # padding
    left: int
    tile_rows: int
    tile_columns: int


@lru_cache(maxsize=256)
def geometry(x_shape: Shape4, kernel_shape: Shape4, strides: Pair, padding: str) -> Geometry | None:
    """The sizes, or None where windows are others, channels few, or a direct sum is quicker."""
    n, h, w, c_in = x_shape
    c_out = kernel_shape[3]
    if kernel_shape[:2] != (WINDOW, WINDOW) or strides != (1, 1):
        return None
    if min(c_in, c_out) < LEAST_CHANNELS:
        return None
    rows, columns = (output_size(size, WINDOW, 1, padding) for size in (h, w))
    top, left = (pad_amounts(size, WINDOW, 1, padding)[0] for size in (h, w))
    down, across = -(-rows // OUTPUTS), -(-columns // OUTPUTS)
    products = down * across * PRODUCTS * (c_in * c_out + _MAP_OPERATIONS * (c_in + c_out))
    if n == 0 or products > 0.8 * rows * columns * WINDOW**2 * c_in * c_out:
        return None
    return Geometry(n, h, w, c_in, rows, columns, c_out, top, left, down, across)


def _pool(g: Geometry) -> int:
    return pool_for(g.images * g.tile_rows * g.tile_columns * PRODUCTS * g.c_in * g.c_out)


# --- forward -------------------------------------------------------------------------------------


def conv2d(x: Array, kernel: Array, g: Geometry, bias: Array | None, relu: bool) -> Array:
    """x (n, h, w, c_in), kernel (3, 3, c_in, c_out), bias (c_out,) -> y (n, oh, ow, c_out)."""
    y = empty((g.images, g.rows, g.columns, g.c_out), x.dtype)
    u = _u(plain(kernel))
    finish = relu or bias is not None
    _conv2d(
        _pool(g), plain(x).reshape(-1), u, y.reshape(-1), g, finish,
        zero_bias(g.c_out, x.dtype) if bias is None else bias, relu,
    )  # fmt: skip
    return y


@entry()
def _conv2d(
    pool: int, x: Array, u: Array, y: Array, g: Geometry, finish: bool, bias: Array, relu: bool
) -> None:
    tiles = g.images * g.tile_rows * g.tile_columns
    tasks = _PARTS * -(-tiles // (_PARTS * _CHUNK))
    share(pool, tasks, _conv2d_chunk, (tasks, x, u, y, g, finish, bias, relu))


@jit()
def _conv2d_chunk(
    number: int, tasks: int, x: Array, u: Array, y: Array, g: Geometry, finish: bool,
    bias: Array, relu: bool,
) -> None:  # fmt: skip
    all_tiles = g.images * g.tile_rows * g.tile_columns
    first, last = all_tiles * number // tasks, all_tiles * (number + 1) // tasks
    if first == last:
        return
    v = empty_lines(PRODUCTS * (last - first) * g.c_in, x)
    m = empty_lines(PRODUCTS * (last - first) * g.c_out, x)
    outlined(_x_to_v, (x, first, last, v, g))
    _multiply(v, u, m, last - first, g.c_in, g.c_out)
    outlined(_m_to_y, (m, first, last, y, g))
    if finish:
        _finish_tiles(first, last, y, g, bias, relu)


@jit()
def _multiply(a: Array, b: Array, c: Array, m: int, k: int, n: int) -> None:
    """C[:, p] = A[:, p] @ B[p] for each of the products: A (m, p, k), B (p, k, n), C (m, p, n)."""
    # Always of this width: with `next_columns`, what this is part of took up to 2 seconds more to
    # compile, and for 64 channels it comes to the same.
    width = panel_width(a.itemsize)
    rows = tile_rows(m, width, a.itemsize)
    for p in range(PRODUCTS):
        outlined(multiply_strip, (
            address_of(a, p * k), rows * PRODUCTS * k, PRODUCTS * k, 0, 1,
            address_of(b, p * (k * n + _GAP)), width, 0, n, address_of(c, p * n), PRODUCTS * n,
            m, rows, n, min(width, n), 1, k, False,
        ))  # fmt: skip


# --- gradients -----------------------------------------------------------------------------------


def conv2d_kernel_gradient(x: Array, dy: Array, g: Geometry, out: Array | None) -> Array:
    """d_kernel (3, 3, c_in, c_out)."""
    parts = empty((_PARTS, WINDOW, WINDOW, g.c_in, g.c_out), x.dtype)
    flat = parts.reshape(_PARTS, -1)
    _kernel_gradient(_pool(g), plain(x).reshape(-1), plain(dy).reshape(-1), flat, g)
    return sum_of_parts(parts, out)


@entry()
def _kernel_gradient(pool: int, x: Array, dy: Array, parts: Array, g: Geometry) -> None:
    share(pool, _PARTS, _kernel_gradient_part, (x, dy, parts, g))


@jit()
def _kernel_gradient_part(number: int, x: Array, dy: Array, parts: Array, g: Geometry) -> None:
    all_tiles = g.images * g.tile_rows * g.tile_columns
    first, last = all_tiles * number // _PARTS, all_tiles * (number + 1) // _PARTS
    size = g.c_in * g.c_out + _GAP
    du = empty_lines(PRODUCTS * size, x)
    du[:] = x.dtype.type(0)
    chunk = min(_CHUNK, last - first)
    v = empty_lines(PRODUCTS * chunk * g.c_in, x)
    m = empty_lines(PRODUCTS * chunk * g.c_out, x)
    while first < last:
        end = min(first + _CHUNK, last)
        outlined(_x_to_v, (x, first, end, v, g))
        outlined(_dy_to_m, (dy, first, end, m, g))
        _add_products(v, m, du, end - first, g.c_in, g.c_out)
        first = end
    channels = g.c_in * g.c_out
    _u_to_kernel(du, _whole(0, INPUTS, size), parts[number], _whole(0, WINDOW, channels), channels)


@jit()
def _add_products(v: Array, m: Array, du: Array, k: int, c_in: int, c_out: int) -> None:
    """dU[p] += V[:, p].T @ dM[:, p]: V (k, p, c_in), dM (k, p, c_out), dU (p, c_in, c_out)."""
    width = panel_width(v.itemsize)
    rows = tile_rows(c_in, width, v.itemsize)
    for p in range(PRODUCTS):
        outlined(multiply_strip, (
            address_of(v, p * c_in), rows, 1, 0, PRODUCTS * c_in,
            address_of(m, p * c_out), width, 0, PRODUCTS * c_out,
            address_of(du, p * (c_in * c_out + _GAP)), c_out,
            c_in, rows, c_out, min(width, c_out), 1, k, True,
        ))  # fmt: skip


def conv2d_input_gradient(dy: Array, kernel: Array, g: Geometry) -> Array:
    """dx (n, h, w, c_in)."""
    dx = empty((g.images, g.height, g.width, g.c_in), dy.dtype)
    u = _u(swap_channels(plain(kernel)))
    _input_gradient(_pool(g), plain(dy).reshape(-1), u, dx.reshape(-1), g)
    return dx


@entry()
def _input_gradient(pool: int, dy: Array, u: Array, dx: Array, g: Geometry) -> None:
    tiles = g.tile_rows * g.tile_columns
    images = max(1, _CHUNK // tiles)  # for a task, since tiles of an image are added to each other
    tasks = -(-g.images // images)
    share(pool, tasks, _input_gradient_of_images, (images, dy, u, dx, g))


@jit()
def _input_gradient_of_images(
    number: int, images: int, dy: Array, u: Array, dx: Array, g: Geometry
) -> None:
    begin, end = number * images, min((number + 1) * images, g.images)
    size = g.height * g.width * g.c_in
    dx[begin * size : end * size] = dx.dtype.type(0)
    tiles = g.tile_rows * g.tile_columns
    chunk = min(_CHUNK, (end - begin) * tiles)
    m = empty_lines(PRODUCTS * chunk * g.c_out, dy)
    v = empty_lines(PRODUCTS * chunk * g.c_in, dy)
    for first in range(begin * tiles, end * tiles, chunk):
        last = min(first + chunk, end * tiles)
        outlined(_dy_to_m, (dy, first, last, m, g))
        _multiply(m, u, v, last - first, g.c_out, g.c_in)
        outlined(_v_to_dx, (v, first, last, dx, g))


# --- the maps, tile by tile ----------------------------------------------------------------------


def _u(kernel: Array) -> Array:
    """U (36, a * b, and a gap) of a kernel (3, 3, a, b)."""
    a, b = kernel.shape[2:]
    u = empty((PRODUCTS * (a * b + _GAP),), kernel.dtype)
    _map_kernel(kernel.reshape(-1), u, a * b)
    return u


@entry()
def _map_kernel(kernel: Array, u: Array, channels: int) -> None:
    _kernel_to_u(
        kernel, _whole(0, WINDOW, channels), u, _whole(0, INPUTS, channels + _GAP), channels
    )


@in_either
def _whole(at: int, size: int, channels: int) -> Place:
    """A tile by itself."""
    return Place(at, size * channels, channels, 0, size, 0, size)


@jit()
def _on_image(
    tile: int, top: int, left: int, height: int, width: int, channels: int, g: Geometry
) -> Place:
    """A tile on its image, which may reach over the edges."""
    image, inside = tile // (g.tile_rows * g.tile_columns), tile % (g.tile_rows * g.tile_columns)
    row = inside // g.tile_columns * OUTPUTS - top
    column = inside % g.tile_columns * OUTPUTS - left
    at = ((image * height + row) * width + column) * channels
    return Place(at, width * channels, channels, -row, height - row, -column, width - column)


@jit()
def _on_x(tile: int, g: Geometry) -> Place:
    return _on_image(tile, g.top, g.left, g.height, g.width, g.c_in, g)


@jit()
def _on_y(tile: int, g: Geometry) -> Place:
    return _on_image(tile, ZERO, ZERO, g.rows, g.columns, g.c_out, g)


@jit()
def _x_to_v(x: Array, first: int, last: int, v: Array, g: Geometry) -> None:
    for t in range(first, last):
        place = _whole((t - first) * PRODUCTS * g.c_in, INPUTS, g.c_in)
        _image_to_v(x, _on_x(t, g), v, place, g.c_in)


@jit()
def _v_to_dx(v: Array, first: int, last: int, dx: Array, g: Geometry) -> None:
    for t in range(first, last):
        place = _whole((t - first) * PRODUCTS * g.c_in, INPUTS, g.c_in)
        _add_v_to_image(v, place, dx, _on_x(t, g), g.c_in)


@jit()
def _m_to_y(m: Array, first: int, last: int, y: Array, g: Geometry) -> None:
    for t in range(first, last):
        place = _whole((t - first) * PRODUCTS * g.c_out, INPUTS, g.c_out)
        _m_to_result(m, place, y, _on_y(t, g), g.c_out)


@jit()
def _dy_to_m(dy: Array, first: int, last: int, m: Array, g: Geometry) -> None:
    for t in range(first, last):
        place = _whole((t - first) * PRODUCTS * g.c_out, INPUTS, g.c_out)
        _result_to_m(dy, _on_y(t, g), m, place, g.c_out)


@jit()
def _finish_tiles(first: int, last: int, y: Array, g: Geometry, bias: Array, relu: bool) -> None:
    for t in range(first, last):
        place = _on_y(t, g)
        columns = min(OUTPUTS, place.end_column)
        for i in range(min(OUTPUTS, place.end_row)):
            at = place.at + i * place.row
            add_bias(y, at, g.c_out, columns, g.c_out, bias, 0, relu)
