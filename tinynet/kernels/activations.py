"""Activations, bias, and softmax with cross-entropy, each in one pass over its numbers.

Where NumPy makes an array for every step of a formula, these loops do all steps for one number, or
one row, before the next. They work on arrays of one dimension or on (rows, columns).

What it bought: softmax with cross-entropy of 32 rows of 10 takes 4 microseconds instead of NumPy's
12, sigmoid of 51,200 numbers 67 instead of 107.
"""

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.bias import add_bias_to_rows, bias_gradient
from tinynet.kernels.jit import REORDER, Number, entry, jit, plain, rows
from tinynet.kernels.memory import empty, give, own
from tinynet.kernels.recording import not_recorded
from tinynet.kernels.reference import Array, Labels
from tinynet.kernels.threads import block_slice, blocks, pool_for, share

# What one entry takes, in multiply-adds: mostly memory, or a function such as exp.
_OPERATIONS = 4
_SLOW_OPERATIONS = 400


def _pool(x: Array) -> int:
    return pool_for(_OPERATIONS * x.size)


def _slow_pool(x: Array) -> int:
    return pool_for(_SLOW_OPERATIONS * x.size)


# --- entry by entry ------------------------------------------------------------------------------


def relu(x: Array) -> Array:
    """``y = max(x, 0)``; NaN stays NaN."""
    y = empty(x.shape, x.dtype)
    _relu(_pool(y), plain(x).reshape(-1), y.reshape(-1))
    return y


@entry()
def _relu(pool: int, x: Array, y: Array) -> None:
    share(pool, blocks(x), _relu_block, (x, y))


@jit()
def _relu_block(block: int, x: Array, y: Array) -> None:
    part = block_slice(block)
    x, y = x[part], y[part]
    zero = x.dtype.type(0)
    for i in range(len(x)):
        y[i] = zero if x[i] < zero else x[i]


def relu_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy where y > 0, else 0``."""
    dx = empty(dy.shape, dy.dtype)
    _relu_gradient(_pool(dx), plain(dy).reshape(-1), plain(y).reshape(-1), dx.reshape(-1))
    return dx


@entry()
def _relu_gradient(pool: int, dy: Array, y: Array, dx: Array) -> None:
    share(pool, blocks(dy), _relu_gradient_block, (dy, y, dx))


@jit()
def _relu_gradient_block(block: int, dy: Array, y: Array, dx: Array) -> None:
    part = block_slice(block)
    dy, y, dx = dy[part], y[part], dx[part]
    zero = dy.dtype.type(0)
    for i in range(len(dy)):
        dx[i] = dy[i] if y[i] > zero else zero


def leaky_relu(x: Array, negative_slope: float) -> Array:
    """``y = x where x > 0, else negative_slope * x``."""
    y = empty(x.shape, x.dtype)
    flat = plain(x).reshape(-1)
    _leaky_relu(_pool(y), flat, flat, x.dtype.type(negative_slope), y.reshape(-1))
    return y


def leaky_relu_gradient(dy: Array, y: Array, negative_slope: float) -> Array:
    """``dx = dy where y > 0, else negative_slope * dy``."""
    dx = empty(dy.shape, dy.dtype)
    slope = dy.dtype.type(negative_slope)
    _leaky_relu(_pool(dx), plain(dy).reshape(-1), plain(y).reshape(-1), slope, dx.reshape(-1))
    return dx


@entry()
def _leaky_relu(pool: int, x: Array, sign: Array, slope: Number, y: Array) -> None:
    """y = x where sign > 0, else slope * x."""
    share(pool, blocks(x), _leaky_relu_block, (x, sign, slope, y))


@jit()
def _leaky_relu_block(block: int, x: Array, sign: Array, slope: Number, y: Array) -> None:
    part = block_slice(block)
    x, sign, y = x[part], sign[part], y[part]
    zero = x.dtype.type(0)
    for i in range(len(x)):
        y[i] = x[i] if sign[i] > zero else slope * x[i]


def sigmoid(x: Array) -> Array:
    """``y = 1 / (1 + exp(-x))``."""
    y = empty(x.shape, x.dtype)
    _sigmoid(_slow_pool(y), plain(x).reshape(-1), y.reshape(-1))
    return y


@entry()
def _sigmoid(pool: int, x: Array, y: Array) -> None:
    share(pool, blocks(x), _sigmoid_block, (x, y))


@jit()
def _sigmoid_block(block: int, x: Array, y: Array) -> None:
    part = block_slice(block)
    x, y = x[part], y[part]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(len(x)):
        z = np.exp(-abs(x[i]))  # never overflows
        y[i] = (z if x[i] < zero else one) / (one + z)


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy * y * (1 - y)``."""
    dx = empty(dy.shape, dy.dtype)
    _sigmoid_gradient(_pool(dx), plain(dy).reshape(-1), plain(y).reshape(-1), dx.reshape(-1))
    return dx


@entry()
def _sigmoid_gradient(pool: int, dy: Array, y: Array, dx: Array) -> None:
    share(pool, blocks(dy), _sigmoid_gradient_block, (dy, y, dx))


@jit()
def _sigmoid_gradient_block(block: int, dy: Array, y: Array, dx: Array) -> None:
    part = block_slice(block)
    dy, y, dx = dy[part], y[part], dx[part]
    one = dy.dtype.type(1)
    for i in range(len(dy)):
        dx[i] = dy[i] * y[i] * (one - y[i])


def tanh(x: Array) -> Array:
    """``y = tanh(x)``.

    NumPy's own computes a vector of them at once: 18 microseconds for 51,200 numbers, where a
    compiled loop over single ones took 365 on two threads.
    """
    not_recorded()
    return np.tanh(x, out=empty(x.shape, x.dtype))


def tanh_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy * (1 - y**2)``."""
    dx = empty(dy.shape, dy.dtype)
    _tanh_gradient(_pool(dx), plain(dy).reshape(-1), plain(y).reshape(-1), dx.reshape(-1))
    return dx


@entry()
def _tanh_gradient(pool: int, dy: Array, y: Array, dx: Array) -> None:
    share(pool, blocks(dy), _tanh_gradient_block, (dy, y, dx))


@jit()
def _tanh_gradient_block(block: int, dy: Array, y: Array, dx: Array) -> None:
    part = block_slice(block)
    dy, y, dx = dy[part], y[part], dx[part]
    one = dy.dtype.type(1)
    for i in range(len(dy)):
        dx[i] = dy[i] * (one - y[i] * y[i])


# --- row by row ----------------------------------------------------------------------------------


def softmax(x: Array) -> Array:
    """``y = exp(x) / sum(exp(x))`` over the last axis: x (..., c) -> y (..., c)."""
    y = empty(x.shape, x.dtype)
    _softmax(rows(x), rows(y))
    return y


@entry()
def _softmax(x: Array, y: Array) -> None:
    for i in range(x.shape[0]):
        highest = _highest(x[i])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            y[i, j] = np.exp(x[i, j] - highest)
            total += y[i, j]
        for j in range(x.shape[1]):
            y[i, j] /= total


@jit()
def _highest(x: Array) -> Number:
    highest = x[0]
    for j in range(1, len(x)):
        highest = max(highest, x[j])
    return highest


def softmax_gradient(dy: Array, y: Array) -> Array:
    """``dx = y * (dy - sum(dy * y))`` over the last axis."""
    dx = empty(dy.shape, dy.dtype)
    _softmax_gradient(rows(dy), rows(y), rows(dx))
    return dx


@entry(REORDER)
def _softmax_gradient(dy: Array, y: Array, dx: Array) -> None:
    for i in range(dy.shape[0]):
        total = dy.dtype.type(0)
        for j in range(dy.shape[1]):
            total += dy[i, j] * y[i, j]
        for j in range(dy.shape[1]):
            dx[i, j] = y[i, j] * (dy[i, j] - total)


def log_softmax(x: Array) -> Array:
    """``y = x - log(sum(exp(x)))`` over the last axis."""
    y = empty(x.shape, x.dtype)
    _log_softmax(rows(x), rows(y))
    return y


@entry()
def _log_softmax(x: Array, y: Array) -> None:
    for i in range(x.shape[0]):
        highest = _highest(x[i])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += np.exp(x[i, j] - highest)
        log_total = np.log(total)
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] - highest - log_total


def log_softmax_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy - exp(y) * sum(dy)``, the sum over the last axis."""
    dx = empty(dy.shape, dy.dtype)
    _log_softmax_gradient(rows(dy), rows(y), rows(dx))
    return dx


@entry(REORDER)
def _log_softmax_gradient(dy: Array, y: Array, dx: Array) -> None:
    for i in range(dy.shape[0]):
        total = dy.dtype.type(0)
        for j in range(dy.shape[1]):
            total += dy[i, j]
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] - np.exp(y[i, j]) * total


# --- bias and activation in one pass -------------------------------------------------------------


def bias_activation(
    x: Array,
    bias: Array | None,
    activation: str = "linear",
    negative_slope: float = 0.0,
    out: Array | None = None,
) -> Array:
    """``y = activation(x + bias)``: x (..., c), bias (c,) or None -> y (..., c); out may be x."""
    y = own(out, x.shape, x.dtype)
    if y is not x:
        y[...] = x
        not_recorded()
    finish(y, bias, activation, negative_slope)
    return give(y, out)


def finish(y: Array, bias: Array | None, activation: str, negative_slope: float) -> None:
    """y = activation(y + bias), in place."""
    if bias is not None:
        add_bias_to_rows(rows(y), plain(bias), activation == "relu")
    elif activation == "relu":
        flat = y.reshape(-1)
        _relu(_pool(y), flat, flat)
    activate(y, activation, negative_slope)


def activate(y: Array, activation: str, negative_slope: float) -> None:
    """y = activation(y), in place, but for relu, which goes with the bias."""
    if activation in ("linear", "relu"):
        return
    flat = y.reshape(-1)
    match activation:
        case "leaky_relu":
            _leaky_relu(_pool(y), flat, flat, y.dtype.type(negative_slope), flat)
        case "sigmoid":
            _sigmoid(_slow_pool(y), flat, flat)
        case "tanh":
            np.tanh(flat, out=flat)
            not_recorded()
        case "softmax":
            _softmax(rows(y), rows(y))


def bias_activation_gradient(
    dy: Array,
    y: Array,
    activation: str = "linear",
    negative_slope: float = 0.0,
    bias_out: Array | None = None,
) -> tuple[Array, Array]:
    """``dx = dy * activation'(x + bias)`` and ``d_bias = dx`` summed over all axes but the last."""
    match activation:
        case "leaky_relu":
            dx = leaky_relu_gradient(dy, y, negative_slope)
        case "sigmoid":
            dx = sigmoid_gradient(dy, y)
        case "tanh":
            dx = tanh_gradient(dy, y)
        case "softmax":
            dx = softmax_gradient(dy, y)
        case _:
            dx = plain(dy)
    d_bias = own(bias_out, dy.shape[-1:], dy.dtype)
    dx = bias_gradient(rows(dx), rows(y), activation == "relu", d_bias)
    return dx.reshape(dy.shape), give(d_bias, bias_out)


# --- softmax and cross-entropy together ----------------------------------------------------------


def softmax_cross_entropy(logits: Array, labels: Labels) -> tuple[Array, Array]:
    """Cross-entropy of softmax(logits) against labels, and the probabilities.

    logits (n, c); labels (n,) class indices, or (n, c) a distribution
    -> losses (n,), probabilities (n, c)
    """
    probabilities = empty(logits.shape, logits.dtype)
    losses = np.empty(len(logits), logits.dtype)
    if labels.ndim == 1:
        _cross_entropy_of_index(plain(logits), as_index(labels), losses, probabilities)
    else:
        _cross_entropy(plain(logits), plain(labels), losses, probabilities)
    return losses, probabilities


def as_index(labels: Labels) -> NDArray[np.intp]:
    """Labels, which come in every integer type, in the one that the loops are compiled for."""
    if labels.dtype != np.intp:
        not_recorded()
    return plain(labels.astype(np.intp, copy=False))


@entry()
def _cross_entropy_of_index(
    logits: Array, labels: NDArray[np.intp], losses: Array, probabilities: Array
) -> None:
    for i in range(logits.shape[0]):
        highest = _highest(logits[i])
        log_total = _log_total(logits[i], highest, probabilities[i])
        losses[i] = -(logits[i, labels[i]] - highest - log_total)


@entry()
def _cross_entropy(logits: Array, labels: Array, losses: Array, probabilities: Array) -> None:
    zero = logits.dtype.type(0)
    for i in range(logits.shape[0]):
        highest = _highest(logits[i])
        log_total = _log_total(logits[i], highest, probabilities[i])
        loss = zero
        for j in range(logits.shape[1]):
            if labels[i, j] != zero:
                loss -= labels[i, j] * (logits[i, j] - highest - log_total)
        losses[i] = loss


@jit()
def _log_total(logits: Array, highest: Number, probabilities: Array) -> Number:
    """Fill in the probabilities of one row; the logarithm of what the exponentials add up to."""
    total = logits.dtype.type(0)
    for j in range(len(logits)):
        probabilities[j] = np.exp(logits[j] - highest)
        total += probabilities[j]
    for j in range(len(logits)):
        probabilities[j] /= total
    return np.log(total)


def softmax_cross_entropy_gradient(probabilities: Array, labels: Labels, weights: Array) -> Array:
    """``d_logits = weights * (probabilities * sum(labels) - labels)``, row by row."""
    d_logits = empty(probabilities.shape, probabilities.dtype)
    given = plain(probabilities), plain(weights)
    if labels.ndim == 1:
        _cross_entropy_gradient_of_index(*given, as_index(labels), d_logits)
    else:
        _cross_entropy_gradient(*given, plain(labels), d_logits)
    return d_logits


@entry()
def _cross_entropy_gradient_of_index(
    probabilities: Array, weights: Array, labels: NDArray[np.intp], d_logits: Array
) -> None:
    one = probabilities.dtype.type(1)
    for i in range(probabilities.shape[0]):
        for j in range(probabilities.shape[1]):
            d_logits[i, j] = probabilities[i, j] * weights[i]
        d_logits[i, labels[i]] = (probabilities[i, labels[i]] - one) * weights[i]


@entry(REORDER)
def _cross_entropy_gradient(
    probabilities: Array, weights: Array, labels: Array, d_logits: Array
) -> None:
    for i in range(probabilities.shape[0]):
        total = probabilities.dtype.type(0)
        for j in range(probabilities.shape[1]):
            total += labels[i, j]
        for j in range(probabilities.shape[1]):
            d_logits[i, j] = (probabilities[i, j] * total - labels[i, j]) * weights[i]
