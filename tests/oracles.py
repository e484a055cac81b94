"""What the kernels should give, written as plain loops over numbers: slow, and easy to believe.

Nothing here comes from tinynet, nor from a formula that tinynet uses in another form: the
gradients add up what each product contributes, and sizes and padding are found by counting.
"""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

Array = np.ndarray
Pair = tuple[int, int]


def matmul(a: Array, b: Array) -> Array:
    c = np.zeros((a.shape[0], b.shape[1]))
    for i, j, k in product(range(a.shape[0]), range(b.shape[1]), range(a.shape[1])):
        c[i, j] += a[i, k] * b[k, j]
    return c


def window_starts(size: int, window: int, stride: int, padding: str) -> list[int]:
    """Where windows start along one axis; before 0 is padding.

    valid: as many as fit. same: one for each ``stride`` entries begun, and the padding that the
    last one needs is put half in front (rounded down) and half behind.
    """
    if padding == "valid":
        return [start for start in range(0, size, stride) if start + window <= size]
    starts = list(range(0, size, stride))
    missing = max(starts[-1] + window - size, 0)
    return [start - missing // 2 for start in starts]


def windows(
    shape: tuple[int, ...], window: Pair, strides: Pair, padding: str
) -> Iterator[tuple[int, int, list[tuple[int, int, int, int]]]]:
    """For each window its row and column, and all (i, j, h, w): its entry i, j is at image h, w."""
    tops = window_starts(shape[1], window[0], strides[0], padding)
    lefts = window_starts(shape[2], window[1], strides[1], padding)
    for (r, top), (s, left) in product(enumerate(tops), enumerate(lefts)):
        entries = [
            (i, j, top + i, left + j)
            for i, j in product(range(window[0]), range(window[1]))
            if 0 <= top + i < shape[1] and 0 <= left + j < shape[2]
        ]
        yield r, s, entries


def conv2d_terms(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], strides: Pair, padding: str
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Indices (of y, of x, of the kernel) of each product that convolution adds up."""
    window, channels = kernel_shape[:2], product(*map(range, kernel_shape[2:]))
    channels = list(channels)
    for r, s, entries in windows(x_shape, window, strides, padding):
        for n, (i, j, h, w), (c, o) in product(range(x_shape[0]), entries, channels):
            yield (n, r, s, o), (n, h, w, c), (i, j, c, o)


def conv2d(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    rows = len(window_starts(x.shape[1], kernel.shape[0], strides[0], padding))
    columns = len(window_starts(x.shape[2], kernel.shape[1], strides[1], padding))
    y = np.zeros((x.shape[0], rows, columns, kernel.shape[3]))
    for at_y, at_x, at_kernel in conv2d_terms(x.shape, kernel.shape, strides, padding):
        y[at_y] += x[at_x] * kernel[at_kernel]
    return y


def conv2d_gradients(
    x: Array, kernel: Array, dy: Array, strides: Pair, padding: str
) -> tuple[Array, Array]:
    dx, d_kernel = np.zeros(x.shape), np.zeros(kernel.shape)
    for at_y, at_x, at_kernel in conv2d_terms(x.shape, kernel.shape, strides, padding):
        dx[at_x] += dy[at_y] * kernel[at_kernel]
        d_kernel[at_kernel] += dy[at_y] * x[at_x]
    return dx, d_kernel


def max_pool2d(
    x: Array, window: Pair, strides: Pair, padding: str, dy: Array | None = None
) -> tuple[dict[tuple[int, ...], float], Array]:
    """The largest entry of each window by the index it has in y, and dx for a dy."""
    y, dx = {}, np.zeros(x.shape)
    for r, s, entries in windows(x.shape, window, strides, padding):
        for n, c in product(range(x.shape[0]), range(x.shape[3])):
            _, _, h, w = max(entries, key=lambda at: x[n, at[2], at[3], c])
            y[n, r, s, c] = x[n, h, w, c]
            if dy is not None:
                dx[n, h, w, c] += dy[n, r, s, c]
    return y, dx


def average_pool2d(
    x: Array, window: Pair, strides: Pair, padding: str, dy: Array | None = None
) -> tuple[dict[tuple[int, ...], float], Array]:
    """The mean of each window by the index it has in y, and dx for a dy."""
    y, dx = {}, np.zeros(x.shape)
    for r, s, entries in windows(x.shape, window, strides, padding):
        for n, c in product(range(x.shape[0]), range(x.shape[3])):
            y[n, r, s, c] = sum(x[n, h, w, c] for _, _, h, w in entries) / len(entries)
            for _, _, h, w in entries:
                if dy is not None:
                    dx[n, h, w, c] += dy[n, r, s, c] / len(entries)
    return y, dx


def softmax(x: Array) -> Array:
    y = np.zeros(x.shape)
    for i, row in enumerate(x):
        exponentials = [math.exp(z) for z in row]
        for j, e in enumerate(exponentials):
            y[i, j] = e / sum(exponentials)
    return y


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Losses (n,) for labels (n, c), each row a distribution."""
    p = softmax(logits)
    return np.array([
        -sum(label * math.log(q) for label, q in zip(*rows, strict=True))
        for rows in zip(labels, p, strict=True)
    ])  # fmt: skip


def batch_norm(x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array]:
    m, c = x.shape
    y, mean, variance = np.zeros(x.shape), np.zeros(c), np.zeros(c)
    for j in range(c):
        mean[j] = sum(x[:, j]) / m
        variance[j] = sum((z - mean[j]) ** 2 for z in x[:, j]) / m
        for i in range(m):
            x_hat = (x[i, j] - mean[j]) / math.sqrt(variance[j] + epsilon)
            y[i, j] = gamma[j] * x_hat + beta[j]
    return y, mean, variance
