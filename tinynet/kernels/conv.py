"""Convolution without copying windows out of the image: matrix products whose rows overlap.

In an image (h, w, c) the window of one output pixel is, for each row of the kernel, a run of
``kw * c`` consecutive numbers, and the window of the next pixel starts ``stride * c`` numbers
further on:

    one row of the image, c = 2:    x0 x0 x1 x1 x2 x2 x3 x3 x4 x4
    windows of three pixels:        [------ 0 ------]
                                          [------ 1 ------]
                                                [------ 2 ------]

So a row of output pixels is ``A @ B`` with A the image itself, read with that distance between its
rows, and B the kernel, (kh * kw * c_in, c_out). The two gradients are products of the same kind:

    y        [pixel, c_out]     = sum over kernel rows and kw * c_in   of  x  * kernel
    d_kernel [kw * c_in, c_out] = sum over rows and columns of pixels  of  x  * dy
    dx       [pixel, c_in]      = sum over kernel rows and kw * c_out  of  dy * flipped kernel

Rows of padding need no memory: kernel rows that would read them are left out of the sum. Columns
of padding are added to a copy, where there are any.

Windows of 3x3 with stride 1, the most common ones, have a quicker way: see `winograd`.

What it bought: the CNN's first convolution, forward, takes 0.13 ms, and 4.1 where NumPy copies the
windows out; one of 5x5 windows on 32 channels of 13x13 takes 1.2 instead of 1.8.
"""

from functools import lru_cache

from tinynet.kernels import winograd
from tinynet.kernels.activations import activate, finish
from tinynet.kernels.geometry import Pair, output_size, pad_amounts
from tinynet.kernels.jit import entry, jit, plain
from tinynet.kernels.matrices import matmul
from tinynet.kernels.memory import empty, give, own, zeros
from tinynet.kernels.operands import check_dtype
from tinynet.kernels.products import Plan, multiply, new_result, plan, strip, sum_of_parts
from tinynet.kernels.recording import not_recorded
from tinynet.kernels.reference import Array, Shape4
from tinynet.kernels.thread_count import get_num_threads
from tinynet.kernels.threads import pool_for, share
from tinynet.kernels.tile import panels, strips_across
from tinynet.kernels.transpose import swap_channels

# Up to so many channels of the image, dx is made by `_spread_products`.
_FEW_CHANNELS = 8
_ADD_OPERATIONS = 30  # what it takes to add one number up, in multiply-adds
_COPY_OPERATIONS = 4  # or to copy it

# With so many images for each thread, an image is a task, or those of its columns that a tile has;
# with fewer, each row of them is. A row of few channels takes less time to compute than to hand
# out: for 32 images and two threads, whole images take 5 to 15% less.
_IMAGES_OF_THREAD = 8

# The images of a batch are added up in this many parts, for any number of threads.
_PARTS = 8

# Strips have all channels where there are so many of them, and B is so small that it stays in a
# second-level cache while one tile after another passes.
_LEAST_STRIPS = 16
_SMALL_BYTES = 200_000


def conv2d(
    x: Array,
    kernel: Array,
    strides: Pair = (1, 1),
    padding: str = "valid",
    bias: Array | None = None,
    activation: str = "linear",
    negative_slope: float = 0.0,
) -> Array:
    """x (n, h, w, c_in), kernel (kh, kw, c_in, c_out), bias (c_out,) -> y (n, oh, ow, c_out)."""
    check_dtype(x.dtype)
    bias = bias if bias is None else plain(bias)
    relu = activation == "relu"
    fast = winograd.geometry(x.shape, kernel.shape, strides, padding)
    if fast is not None:
        y = winograd.conv2d(x, kernel, fast, bias, relu)
        activate(y, activation, negative_slope)
        return y
    kh, kw, _, c_out = kernel.shape
    n, h, w, _ = x.shape
    rows = output_size(h, kh, strides[0], padding)
    columns = output_size(w, kw, strides[1], padding)
    padded = _pad_columns(x, kw, strides[1], padding)
    together = rows if n >= _IMAGES_OF_THREAD * get_num_threads() else 1
    forward = _forward_plan(
        padded.shape, kernel.shape, strides, padding, columns, x.itemsize, together
    )
    y = new_result(forward, (n, rows, columns, c_out), x.dtype)
    if forward.complete:
        multiply(padded, plain(kernel), y, forward, bias, relu)
        activate(y, activation, negative_slope)
    else:
        multiply(padded, plain(kernel), y, forward)
        finish(y, bias, activation, negative_slope)
    return y


def _across(channels: int, strips: int, k: int, itemsize: int) -> list[tuple[int, int]]:
    """The first channel of each strip, and how many, where strips of all would be so many."""
    wide = strips >= _LEAST_STRIPS and k * channels * itemsize <= _SMALL_BYTES
    return (strips_across if wide else panels)(channels, itemsize)


@lru_cache(maxsize=256)
def _forward_plan(
    x_shape: Shape4,
    kernel_shape: Shape4,
    strides: Pair,
    padding: str,
    columns: int,
    itemsize: int,
    together: int,
) -> Plan:
    """x_shape counts columns of padding and not rows of padding."""
    n, h, w, c_in = x_shape
    kh, kw, _, c_out = kernel_shape
    rows, top = output_size(h, kh, strides[0], padding), pad_amounts(h, kh, strides[0], padding)[0]
    strips = []
    for column, width in _across(c_out, n * rows, kh * kw * c_in, itemsize):
        for r in range(rows):
            # Kernel rows first to last - 1 lie on the image.
            y = r * strides[0] - top
            first, last = max(-y, 0), min(kh, h - y)
            strips.append(strip(
                a_at=(y + first) * w * c_in, a_row=strides[1] * c_in, a_outer=w * c_in, a_inner=1,
                b_at=first * kw * c_in * c_out + column, b_outer=kw * c_in * c_out, b_inner=c_out,
                c_at=r * columns * c_out + column, c_row=c_out, rows=columns,
                columns=width, outer=last - first, inner=kw * c_in, itemsize=itemsize,
            ))  # fmt: skip
    return plan(
        strips, items=n, groups=n, a_step=h * w * c_in, c_step=rows * columns * c_out,
        together=together,
    )  # fmt: skip


def conv2d_kernel_gradient(
    x: Array,
    dy: Array,
    kernel_shape: Shape4,
    strides: Pair = (1, 1),
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """d_kernel (kh, kw, c_in, c_out): each window of x times the dy that it led to, summed."""
    check_dtype(x.dtype)
    if x.size == 0 or dy.size == 0:  # a sum of nothing
        not_recorded()
        total = own(out, kernel_shape, x.dtype)
        total[...] = 0
        return give(total, out)
    fast = winograd.geometry(x.shape, kernel_shape, strides, padding)
    if fast is not None:
        return winograd.conv2d_kernel_gradient(x, dy, fast, out)
    padded = _pad_columns(x, kernel_shape[1], strides[1], padding)
    summing = _kernel_gradient_plan(
        padded.shape, dy.shape, kernel_shape, strides, padding, x.itemsize
    )
    parts = new_result(summing, (summing.groups, *kernel_shape), x.dtype)
    multiply(padded, plain(dy), parts, summing)
    return sum_of_parts(parts, out)


@lru_cache(maxsize=256)
def _kernel_gradient_plan(
    x_shape: Shape4,
    dy_shape: Shape4,
    kernel_shape: Shape4,
    strides: Pair,
    padding: str,
    itemsize: int,
) -> Plan:
    n, h, w, c_in = x_shape
    _, rows, columns, c_out = dy_shape
    kh, kw = kernel_shape[0], kernel_shape[1]
    top = pad_amounts(h, kh, strides[0], padding)[0]
    strips = []
    for column, width in _across(c_out, min(n, _PARTS) * kh, rows * columns, itemsize):
        for i in range(kh):
            # Output rows first to last - 1 put kernel row i on the image.
            first = max(-((i - top) // strides[0]), 0)
            last = min((h - 1 + top - i) // strides[0] + 1, rows)
            strips.append(strip(
                a_at=(first * strides[0] + i - top) * w * c_in, a_row=1,
                a_outer=strides[0] * w * c_in, a_inner=strides[1] * c_in,
                b_at=first * columns * c_out + column, b_outer=columns * c_out, b_inner=c_out,
                c_at=i * kw * c_in * c_out + column, c_row=c_out, rows=kw * c_in,
                columns=width, outer=last - first, inner=columns, itemsize=itemsize,
            ))  # fmt: skip
    return plan(
        strips, items=n, groups=min(n, _PARTS), a_step=h * w * c_in,
        b_step=rows * columns * c_out, c_step=kh * kw * c_in * c_out,
    )  # fmt: skip


def conv2d_input_gradient(
    dy: Array,
    kernel: Array,
    input_shape: Shape4,
    strides: Pair = (1, 1),
    padding: str = "valid",
) -> Array:
    """dx (n, h, w, c_in): each dy, times the filter that made it, put back onto its window."""
    check_dtype(dy.dtype)
    if dy.size == 0:
        not_recorded()
        return zeros(input_shape, dy.dtype)
    fast = winograd.geometry(input_shape, kernel.shape, strides, padding)
    if fast is not None:
        return winograd.conv2d_input_gradient(dy, kernel, fast)
    if kernel.shape[2] <= _FEW_CHANNELS:
        return _spread_products(dy, kernel, input_shape, strides, padding)
    kw = kernel.shape[1]
    left = pad_amounts(input_shape[2], kw, strides[1], padding)[0]
    # Pixel s of dx gets kernel column j from column (s + left - j) / stride of dy: the stride
    # becomes a gap between the columns of dy, and the kernel runs backwards.
    spread = _spread_columns(dy, kw - 1 - left, strides[1], input_shape[2] + kw - 1)
    flipped = swap_channels(plain(kernel), backwards=True)
    backward = _input_gradient_plan(
        spread.shape, kernel.shape, input_shape, strides, padding, dy.itemsize
    )
    dx = new_result(backward, input_shape, dy.dtype)
    multiply(spread, flipped, dx, backward)
    return dx


@lru_cache(maxsize=256)
def _input_gradient_plan(
    spread_shape: Shape4,
    kernel_shape: Shape4,
    input_shape: Shape4,
    strides: Pair,
    padding: str,
    itemsize: int,
) -> Plan:
    n, rows, spread, c_out = spread_shape
    kh, kw, c_in = kernel_shape[:3]
    _, h, w, _ = input_shape
    top = pad_amounts(h, kh, strides[0], padding)[0]
    strips = []
    for column, width in _across(c_in, n * h, kh * kw * c_out, itemsize):
        for q in range(h):
            # Row q of dx gets kernel row i from row (q + top - i) / stride of dy: from rows first
            # to last - 1, and each row of dy further down takes a kernel row ``stride`` further up.
            first = max(-((kh - 1 - q - top) // strides[0]), 0)
            last = min((q + top) // strides[0] + 1, rows)
            i = q + top - first * strides[0]
            strips.append(strip(
                a_at=first * spread * c_out, a_row=c_out, a_outer=spread * c_out, a_inner=1,
                b_at=(kh - 1 - i) * kw * c_in * c_out + column,
                b_outer=strides[0] * kw * c_in * c_out, b_inner=c_in,
                c_at=q * w * c_in + column, c_row=c_in, rows=w,
                columns=width, outer=last - first, inner=kw * c_out, itemsize=itemsize,
            ))  # fmt: skip
    return plan(strips, items=n, groups=n, a_step=rows * spread * c_out, c_step=h * w * c_in)


def _spread_products(
    dy: Array, kernel: Array, input_shape: Shape4, strides: Pair, padding: str
) -> Array:
    """dx for images of few channels, which would leave most of a vector's lanes empty.

    What each dy gives to its window, (pixels, kh * kw * c_in), is one product of matrices with
    columns enough; then all windows are added up. For the CNN's first layer this takes a quarter
    of the time.
    """
    kh, kw, c_in, c_out = kernel.shape
    given = matmul(plain(dy).reshape(-1, c_out), plain(kernel).reshape(-1, c_out), transpose_b=True)
    dx = empty(input_shape, dy.dtype)
    top = pad_amounts(input_shape[1], kh, strides[0], padding)[0]
    left = pad_amounts(input_shape[2], kw, strides[1], padding)[0]
    _add_windows(
        pool_for(_ADD_OPERATIONS * given.size), given.reshape(*dy.shape[:3], kh, kw * c_in),
        strides, (top, left), dx,
    )  # fmt: skip
    return dx


@entry()
def _add_windows(pool: int, given: Array, strides: Pair, corner: Pair, dx: Array) -> None:
    share(pool, len(dx), _add_windows_of_image, (given, strides, corner, dx))


@jit()
def _add_windows_of_image(n: int, given: Array, strides: Pair, corner: Pair, dx: Array) -> None:
    _, height, width, c = dx.shape
    _, rows, columns, kh, run = given.shape
    image = dx[n].reshape(height, width * c)
    image[:] = dx.dtype.type(0)
    for r in range(rows):
        for i in range(kh):
            row = r * strides[0] - corner[0] + i
            if 0 <= row < height:
                for s in range(columns):
                    at = (s * strides[1] - corner[1]) * c
                    for j in range(max(-at, 0), min(run, width * c - at)):
                        image[row, at + j] += given[n, r, s, i, j]


def _pad_columns(x: Array, window: int, stride: int, padding: str) -> Array:
    left, right = pad_amounts(x.shape[2], window, stride, padding)
    return _spread_columns(x, left, 1, left + x.shape[2] + right)


def _spread_columns(x: Array, left: int, stride: int, width: int) -> Array:
    """Columns of x at left, left + stride, ... of an image with that width, zeros elsewhere."""
    if width == x.shape[2]:
        return plain(x)
    n, h, w, c = x.shape
    spread = empty((n, h, width, c), x.dtype)
    rows = plain(x).reshape(n * h, w, c), spread.reshape(n * h, width, c)
    _spread(pool_for(_COPY_OPERATIONS * spread.size), *rows, left, stride)
    return spread


@entry()
def _spread(pool: int, x: Array, y: Array, left: int, stride: int) -> None:
    share(pool, len(x), _spread_row, (x, y, left, stride))


@jit()
def _spread_row(row: int, x: Array, y: Array, left: int, stride: int) -> None:
    y[row] = y.dtype.type(0)
    for s in range(x.shape[1]):
        for c in range(x.shape[2]):
            y[row, left + s * stride, c] = x[row, s, c]
