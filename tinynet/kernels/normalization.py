"""Rescaling, dropout and batch normalization, each in as few passes over memory as there can be.

What it bought: rescaling 256 images takes 35 microseconds instead of NumPy's 55, and is recorded;
dropout of 51,200 numbers takes 10 instead of 55, normalizing (3872, 64) takes 144 instead of 589,
and its gradient 96 instead of 555.
"""

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.jit import Number, entry, jit, plain
from tinynet.kernels.memory import empty
from tinynet.kernels.recording import not_recorded
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import block_slice, blocks, pool_for, share

# What one entry takes, in multiply-adds: mostly memory.
_RESCALE_OPERATIONS = 4


def rescale(x: Array, scale: float, offset: float = 0.0) -> Array:
    """``y = x * scale + offset``, each rounded."""
    y = empty(x.shape, x.dtype)
    number = x.dtype.type
    pool = pool_for(_RESCALE_OPERATIONS * x.size)
    _rescale(pool, plain(x).reshape(-1), number(scale), number(offset), y.reshape(-1))
    return y


@entry()
def _rescale(pool: int, x: Array, scale: Number, offset: Number, y: Array) -> None:
    share(pool, blocks(x), _rescale_block, (x, scale, offset, y))


@jit()
def _rescale_block(block: int, x: Array, scale: Number, offset: Number, y: Array) -> None:
    part = block_slice(block)
    x, y = x[part], y[part]
    for i in range(len(x)):
        y[i] = x[i] * scale + offset


def dropout(x: Array, noise: NDArray[np.float32], rate: float) -> Array:
    """``y = x / (1 - rate) where noise >= rate, else 0``."""
    y = empty(x.shape, x.dtype)
    scale = x.dtype.type(1 / (1 - rate))
    _dropout(plain(x).reshape(-1), plain(noise).reshape(-1), np.float32(rate), scale, y.reshape(-1))
    return y


@entry()
def _dropout(x: Array, noise: Array, rate: np.float32, scale: Number, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in range(len(x)):
        y[i] = x[i] * scale if noise[i] >= rate else zero


def batch_norm(x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``: y (m, c), mean, variance."""
    not_recorded()  # NumPy does some of it
    x = plain(x)
    mean, variance = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    _statistics(x, mean, variance)
    return batch_norm_inference(x, gamma, beta, mean, variance, epsilon), mean, variance


@entry()
def _statistics(x: Array, mean: Array, variance: Array) -> None:
    m, c = x.shape
    count = x.dtype.type(m)
    for i in range(m):
        for j in range(c):
            mean[j] += x[i, j]
    for j in range(c):
        mean[j] /= count
    for i in range(m):
        for j in range(c):
            d = x[i, j] - mean[j]
            variance[j] += d * d
    for j in range(c):
        variance[j] /= count


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
) -> Array:
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with statistics given."""
    not_recorded()  # NumPy does some of it
    y = empty(x.shape, x.dtype)
    scale = gamma / np.sqrt(variance + x.dtype.type(epsilon))
    _scale_and_shift(plain(x), plain(mean), scale, plain(beta), y)
    return y


@entry()
def _scale_and_shift(x: Array, mean: Array, scale: Array, beta: Array, y: Array) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = scale[j] * (x[i, j] - mean[j]) + beta[j]


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """dx (m, c), d_gamma (c,), d_beta (c,), as the reference has them."""
    not_recorded()  # NumPy does some of it
    inverse_std = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    dx = empty(dy.shape, dy.dtype)
    d_gamma, d_beta = np.zeros_like(gamma), np.zeros_like(gamma)
    _batch_norm_gradient(
        plain(dy), plain(x), plain(gamma), plain(mean), inverse_std, dx, d_gamma, d_beta
    )
    return dx, d_gamma, d_beta


@entry()
def _batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, inverse_std: Array,
    dx: Array, d_gamma: Array, d_beta: Array,
) -> None:  # fmt: skip
    m, c = x.shape
    count = x.dtype.type(m)
    for i in range(m):
        for j in range(c):
            d_beta[j] += dy[i, j]
            d_gamma[j] += dy[i, j] * ((x[i, j] - mean[j]) * inverse_std[j])
    for i in range(m):
        for j in range(c):
            x_hat = (x[i, j] - mean[j]) * inverse_std[j]
            mean_part = (d_beta[j] + x_hat * d_gamma[j]) / count
            dx[i, j] = gamma[j] * inverse_std[j] * (dy[i, j] - mean_part)
