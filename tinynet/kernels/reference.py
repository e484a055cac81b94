"""Every kernel in plain NumPy: the specification, and the file to read first.

Arrays in, arrays out. Inputs are never written to, except where a name ends in ``_update`` and
except for ``out``; results are new C-ordered arrays of the inputs' dtype (float32 or float64).
Images are (n, height, width, channels), conv kernels (height, width, in, out), dense kernels
(in, out). Kernels but `matmul` trust their caller: shapes and values are checked in the layers and
losses.

A gradient kernel takes ``dy``, the gradient of the loss with respect to the forward kernel's
result, and returns the gradient with respect to its inputs: the vector-Jacobian product. Where
the derivative is simpler in terms of the result ``y`` than of the input, it takes ``y``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tinynet.kernels.geometry import Pair, pad_amounts
from tinynet.kernels.operands import check_product

Array = NDArray[np.floating]
Labels = NDArray[Any]
Shape4 = tuple[int, int, int, int]
Prepared = dict[str, Any]
Sums = NDArray[np.float64]
Rates = NDArray[np.float64]  # the numbers of one step, in an array, so that a step can be recorded

# OpenBLAS may read beyond its operands and drop what it made of that. Where those bytes happen to
# be a NaN, NumPy warns of an invalid value in a product that has none (numpy issue 24067).
_blas = np.errstate(invalid="ignore")


# --- matrix product ------------------------------------------------------------------------------


@_blas
def matmul(
    a: Array,
    b: Array,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """``op(a) @ op(b)``, where op transposes or not: (m, k) and (k, n) -> (m, n).

    Its gradients are matrix products again: ``da = dy @ b.T`` and ``db = a.T @ dy``.

    Raises ValueError where shapes or dtypes do not fit or out is read-only, and TypeError where the
    dtype is neither float32 nor float64, or an operand is no NumPy array, or a matrix or masked
    array, to which ``@`` means something else.
    """
    check_product(a, b, transpose_a, transpose_b, out)
    return np.matmul(a.T if transpose_a else a, b.T if transpose_b else b, out=out)


# --- activations: x any shape -> y the same shape ------------------------------------------------


def relu(x: Array) -> Array:
    """``y = max(x, 0)``; NaN stays NaN."""
    return np.maximum(x, x.dtype.type(0))


def relu_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy where y > 0, else 0``; at the kink, x = 0, the derivative is taken as 0."""
    return np.where(y > 0, dy, dy.dtype.type(0))


def leaky_relu(x: Array, negative_slope: float) -> Array:
    """``y = x where x > 0, else negative_slope * x``, with negative_slope >= 0."""
    return np.where(x > 0, x, x.dtype.type(negative_slope) * x)


def leaky_relu_gradient(dy: Array, y: Array, negative_slope: float) -> Array:
    """``dx = dy where y > 0, else negative_slope * dy``."""
    return np.where(y > 0, dy, dy.dtype.type(negative_slope) * dy)


def sigmoid(x: Array) -> Array:
    """``y = 1 / (1 + exp(-x))``, written so that exp never overflows."""
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1).astype(x.dtype) / (1 + z)


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy * y * (1 - y)``."""
    return dy * y * (1 - y)


def tanh(x: Array) -> Array:
    """``y = tanh(x)``."""
    return np.tanh(x)


def tanh_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy * (1 - y**2)``."""
    return dy * (1 - y * y)


def softmax(x: Array) -> Array:
    """``y = exp(x) / sum(exp(x))`` over the last axis: x (..., c) -> y (..., c).

    Taking the maximum off first changes nothing in exact arithmetic and keeps exp finite.
    """
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_gradient(dy: Array, y: Array) -> Array:
    """``dx = y * (dy - sum(dy * y))``: row by row, the Jacobian diag(y) - y y^T times dy."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax(x: Array) -> Array:
    """``y = x - log(sum(exp(x)))`` over the last axis, without ever taking the log of a 0."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_softmax_gradient(dy: Array, y: Array) -> Array:
    """``dx = dy - exp(y) * sum(dy)``, the sum over the last axis."""
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)


# --- bias and activation in one pass -------------------------------------------------------------


def bias_activation(
    x: Array,
    bias: Array | None,
    activation: str = "linear",
    negative_slope: float = 0.0,
    out: Array | None = None,
) -> Array:
    """``y = activation(x + bias)``: x (..., c), bias (c,) or None for no bias -> y (..., c).

    activation: linear, relu, leaky_relu, sigmoid, tanh or softmax. ``out`` may be x itself.
    """
    z = x if bias is None else x + bias
    y = _activate(z, activation, negative_slope)
    if out is None:
        return y.copy() if y is x else y
    out[...] = y
    return out


def _activate(z: Array, activation: str, negative_slope: float) -> Array:
    match activation:
        case "relu":
            return relu(z)
        case "leaky_relu":
            return leaky_relu(z, negative_slope)
        case "sigmoid":
            return sigmoid(z)
        case "tanh":
            return tanh(z)
        case "softmax":
            return softmax(z)
    return z


def bias_activation_gradient(
    dy: Array,
    y: Array,
    activation: str = "linear",
    negative_slope: float = 0.0,
    bias_out: Array | None = None,
) -> tuple[Array, Array]:
    """``dx = dy * activation'(x + bias)`` and ``d_bias = dx`` summed over all axes but the last.

    d_bias goes into ``bias_out`` if there is one.
    """
    match activation:
        case "relu":
            dx = relu_gradient(dy, y)
        case "leaky_relu":
            dx = leaky_relu_gradient(dy, y, negative_slope)
        case "sigmoid":
            dx = sigmoid_gradient(dy, y)
        case "tanh":
            dx = tanh_gradient(dy, y)
        case "softmax":
            dx = softmax_gradient(dy, y)
        case _:
            dx = dy.copy()
    return dx, np.sum(dx, axis=tuple(range(dx.ndim - 1)), out=bias_out)


def dense(
    x: Array,
    kernel: Array,
    bias: Array | None,
    activation: str = "linear",
    negative_slope: float = 0.0,
) -> Array:
    """``y = activation(x @ kernel + bias)``: x (m, k), kernel (k, n), bias (n,) -> y (m, n).

    The compiled one adds the bias while a part of y is still in the first-level cache.
    """
    return bias_activation(matmul(x, kernel), bias, activation, negative_slope)


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
    """dx (m, k), or None where nobody needs it, d_kernel (k, n) and d_bias (n,).

    With z = x @ kernel + bias: ``dz = dy * activation'(z)``, ``d_bias = dz.sum(0)``,
    ``d_kernel = x.T @ dz`` and ``dx = dz @ kernel.T``; d_kernel goes into ``out`` and d_bias into
    ``bias_out`` where there is one.
    """
    dz, d_bias = bias_activation_gradient(dy, y, activation, negative_slope, bias_out)
    d_kernel = matmul(x, dz, transpose_a=True, out=out)
    dx = matmul(dz, kernel, transpose_b=True) if need_dx else None
    return dx, d_kernel, d_bias


# --- softmax and cross-entropy together ----------------------------------------------------------


def softmax_cross_entropy(logits: Array, labels: Labels) -> tuple[Array, Array]:
    """Cross-entropy of softmax(logits) against labels, and the probabilities.

    logits (n, c); labels either class indices (n,) of an integer dtype, or a distribution
    (n, c) of the logits' dtype, one-hot or soft -> losses (n,), probabilities (n, c)

    ``losses = -sum(labels * log_softmax(logits))``; with class indices, minus one entry of it.
    """
    log_p = log_softmax(logits)
    if labels.ndim == 1:
        losses = -np.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    else:
        # A label of exactly 0 contributes nothing, even where log_p is -inf.
        losses = -np.where(labels != 0, labels * log_p, 0).sum(axis=1, dtype=logits.dtype)
    return losses, np.exp(log_p)


def softmax_cross_entropy_gradient(probabilities: Array, labels: Labels, weights: Array) -> Array:
    """``d_logits = weights * (probabilities * sum(labels) - labels)``, row by row.

    probabilities (n, c), labels as in softmax_cross_entropy, weights (n,): how much each
    sample's loss counts in the total, 1 / n for a plain mean -> d_logits (n, c)

    For class indices and one-hot rows sum(labels) is 1: probabilities minus truth.
    """
    if labels.ndim == 1:
        d = probabilities.copy()
        d[np.arange(len(labels)), labels] -= 1
    else:
        d = probabilities * labels.sum(axis=1, keepdims=True) - labels
    return d * weights[:, None]


# --- convolution ---------------------------------------------------------------------------------


def _pad(x: Array, window: Pair, strides: Pair, padding: str, value: float = 0.0) -> Array:
    """x with the border that "same" asks for; x itself for "valid"."""
    if padding == "valid":
        return x
    rows = pad_amounts(x.shape[1], window[0], strides[0], padding)
    columns = pad_amounts(x.shape[2], window[1], strides[1], padding)
    return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def _unpad(x_padded: Array, shape: Shape4, window: Pair, strides: Pair, padding: str) -> Array:
    """The part of a padded image that is not border: the gradient of _pad."""
    top = pad_amounts(shape[1], window[0], strides[0], padding)[0]
    left = pad_amounts(shape[2], window[1], strides[1], padding)[0]
    return np.ascontiguousarray(x_padded[:, top : top + shape[1], left : left + shape[2]])


def _windows(x_padded: Array, window: Pair, strides: Pair) -> Array:
    """A view of every window: (n, rows, columns, c) -> (n, out_rows, out_columns, c, *window)."""
    views = sliding_window_view(x_padded, window, axis=(1, 2))
    return views[:, :: strides[0], :: strides[1]]


@_blas
def conv2d(
    x: Array,
    kernel: Array,
    strides: Pair = (1, 1),
    padding: str = "valid",
    bias: Array | None = None,
    activation: str = "linear",
    negative_slope: float = 0.0,
) -> Array:
    """Cross-correlation of images with a bank of filters, which is what networks call convolution.

    x (n, h, w, c_in), kernel (kh, kw, c_in, c_out), bias (c_out,) -> y (n, oh, ow, c_out)

    ``z[n, r, s, o] = sum over i, j, c of x[n, r * sh + i, s * sw + j, c] * kernel[i, j, c, o]``,
    ``y = activation(z + bias)``
    """
    window = kernel.shape[0], kernel.shape[1]
    windows = _windows(_pad(x, window, strides, padding), window, strides)
    z = np.tensordot(windows, kernel, axes=((4, 5, 3), (0, 1, 2)))
    return bias_activation(z, bias, activation, negative_slope)


@_blas
def conv2d_kernel_gradient(
    x: Array,
    dy: Array,
    kernel_shape: Shape4,
    strides: Pair = (1, 1),
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """d_kernel (kh, kw, c_in, c_out): each window of x times the dy that it led to, summed.

    ``d_kernel[i, j, c, o] = sum over n, r, s of x[n, r * sh + i, s * sw + j, c] * dy[n, r, s, o]``

    It goes into ``out`` if there is one.
    """
    window = kernel_shape[0], kernel_shape[1]
    windows = _windows(_pad(x, window, strides, padding), window, strides)
    d_kernel = np.tensordot(windows, dy, axes=((0, 1, 2), (0, 1, 2)))  # (c_in, kh, kw, c_out)
    if out is None:
        return np.ascontiguousarray(d_kernel.transpose(1, 2, 0, 3))
    out[...] = d_kernel.transpose(1, 2, 0, 3)
    return out


@_blas
def conv2d_input_gradient(
    dy: Array,
    kernel: Array,
    input_shape: Shape4,
    strides: Pair = (1, 1),
    padding: str = "valid",
) -> Array:
    """dx (n, h, w, c_in): each dy, times the filter that made it, put back onto its window.

    ``dx[n, r * sh + i, s * sw + j, c] += sum over o of dy[n, r, s, o] * kernel[i, j, c, o]``
    """
    window = kernel.shape[0], kernel.shape[1]
    rows, columns = dy.shape[1], dy.shape[2]
    sh, sw = strides
    dx = np.zeros_like(_pad(np.empty(input_shape, dy.dtype), window, strides, padding))
    for i in range(window[0]):
        for j in range(window[1]):
            dx[:, i : i + rows * sh : sh, j : j + columns * sw : sw] += dy @ kernel[i, j].T
    return _unpad(dx, input_shape, window, strides, padding)


# --- pooling -------------------------------------------------------------------------------------


def max_pool2d(
    x: Array, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> tuple[Array, NDArray[np.int32]]:
    """The largest entry of each window, and which one it was.

    x (n, h, w, c) -> y (n, oh, ow, c), winners (n, oh, ow, c)

    winners counts the window's entries row by row from 0; the first of several equal entries
    wins. Padding is minus infinity. A NaN wins over everything.
    """
    windows = _windows(_pad(x, pool_size, strides, padding, -np.inf), pool_size, strides)
    flat = windows.reshape(*windows.shape[:4], pool_size[0] * pool_size[1])
    winners = flat.argmax(axis=-1)
    y = np.take_along_axis(flat, winners[..., None], axis=-1)[..., 0]
    return y, winners.astype(np.int32)


def max_pool2d_gradient(
    dy: Array,
    winners: NDArray[np.int32],
    input_shape: Shape4,
    pool_size: Pair,
    strides: Pair,
    padding: str = "valid",
) -> Array:
    """dx (n, h, w, c): all of each dy goes to the entry that won its window."""
    rows, columns = dy.shape[1], dy.shape[2]
    sh, sw = strides
    dx = np.zeros_like(_pad(np.empty(input_shape, dy.dtype), pool_size, strides, padding))
    for i in range(pool_size[0]):
        for j in range(pool_size[1]):
            won = np.where(winners == i * pool_size[1] + j, dy, dy.dtype.type(0))
            dx[:, i : i + rows * sh : sh, j : j + columns * sw : sw] += won
    return _unpad(dx, input_shape, pool_size, strides, padding)


def _window_counts(input_shape: Shape4, pool_size: Pair, strides: Pair, padding: str) -> Array:
    """How many entries of each window lie on the image rather than on padding: (oh, ow, 1)."""
    on_image = _pad(np.ones((1, *input_shape[1:3], 1)), pool_size, strides, padding)
    windows = _windows(on_image, pool_size, strides)
    return windows.sum(axis=(4, 5))[0]


def average_pool2d(x: Array, pool_size: Pair, strides: Pair, padding: str = "valid") -> Array:
    """The mean of each window, padding left out: x (n, h, w, c) -> y (n, oh, ow, c)."""
    windows = _windows(_pad(x, pool_size, strides, padding), pool_size, strides)
    counts = _window_counts(x.shape, pool_size, strides, padding)
    return windows.sum(axis=(4, 5)) / counts.astype(x.dtype)


def average_pool2d_gradient(
    dy: Array, input_shape: Shape4, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> Array:
    """dx (n, h, w, c): each dy is shared equally among its window's entries."""
    rows, columns = dy.shape[1], dy.shape[2]
    sh, sw = strides
    share = dy / _window_counts(input_shape, pool_size, strides, padding).astype(dy.dtype)
    dx = np.zeros_like(_pad(np.empty(input_shape, dy.dtype), pool_size, strides, padding))
    for i in range(pool_size[0]):
        for j in range(pool_size[1]):
            dx[:, i : i + rows * sh : sh, j : j + columns * sw : sw] += share
    return _unpad(dx, input_shape, pool_size, strides, padding)


# --- moving numbers ------------------------------------------------------------------------------


def copy(x: NDArray[Any]) -> NDArray[Any]:
    """A copy of x in C order."""
    return np.array(x, order="C")


def take(x: NDArray[Any], indices: NDArray[np.intp]) -> NDArray[Any]:
    """``y = x[indices]``: the samples of a batch, x of any dtype; indices from 0 to len(x) - 1."""
    return np.take(x, indices, axis=0)


# --- rescaling, dropout and batch normalization --------------------------------------------------


def rescale(x: Array, scale: float, offset: float = 0.0) -> Array:
    """``y = x * scale + offset``, each rounded; x any shape. Its gradient: rescale(dy, scale)."""
    y: Array = x * x.dtype.type(scale)
    y += x.dtype.type(offset)
    return y


def dropout(x: Array, noise: NDArray[np.float32], rate: float) -> Array:
    """``y = x / (1 - rate) where noise >= rate, else 0``; noise is uniform on [0, 1), x's shape.

    Its own gradient: dx = dropout(dy, noise, rate). 0 <= rate < 1.
    """
    keep = noise >= np.float32(rate)
    return np.where(keep, x * x.dtype.type(1 / (1 - rate)), x.dtype.type(0))


def batch_norm(x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with this batch's statistics.

    x (m, c), gamma and beta (c,) -> y (m, c), mean (c,), variance (c,); the variance is the
    biased one, divided by m.
    """
    mean, variance = x.mean(axis=0), x.var(axis=0)
    return batch_norm_inference(x, gamma, beta, mean, variance, epsilon), mean, variance


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
) -> Array:
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with statistics given."""
    return gamma * ((x - mean) / np.sqrt(variance + x.dtype.type(epsilon))) + beta


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """dx (m, c), d_gamma (c,), d_beta (c,); mean and variance are the batch's, functions of x.

    With x_hat = (x - mean) / sqrt(variance + epsilon):
    ``d_beta = sum(dy)``, ``d_gamma = sum(dy * x_hat)``,
    ``dx = gamma / sqrt(variance + epsilon) * (dy - d_beta / m - x_hat * d_gamma / m)``
    (Ioffe and Szegedy 2015, section 3).
    """
    inverse_std = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    x_hat = (x - mean) * inverse_std
    d_beta, d_gamma = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    dx = gamma * inverse_std * (dy - (d_beta + x_hat * d_gamma) / x.dtype.type(len(x)))
    return dx, d_gamma, d_beta


# --- running means: sums is (total, count) -------------------------------------------------------


def mean_update(sums: Sums, values: Array, samples: int) -> None:
    """Count ``samples`` more in, whose mean is that of the values (m,)."""
    sums += np.array([values.mean(dtype=np.float64) * samples, samples])


def accuracy_update(sums: Sums, labels: Labels, scores: Array) -> None:
    """Count in how many of the scores (n, c) are largest where the label is.

    labels: (n,) class indices, or (n, c) with the largest entry at the class.
    """
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    sums += np.array([np.count_nonzero(scores.argmax(axis=1) == labels), len(scores)])


# --- optimizer updates: these write to their first argument and to the slots ---------------------


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """``velocity = momentum * velocity - learning_rate * grad``; ``param += velocity``.

    With nesterov ``param += momentum * velocity - learning_rate * grad``; without a velocity
    ``param -= learning_rate * grad``.
    """
    step = param.dtype.type(learning_rate) * grad
    if velocity is None:
        param -= step
        return
    decay = param.dtype.type(momentum)
    velocity *= decay
    velocity -= step
    param += decay * velocity - step if nesterov else velocity


def adam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    step: int,
) -> None:
    """One step of Adam (Kingma and Ba 2015, the form before section 2.1); step counts from 1.

    ``m += (1 - beta_1) * (grad - m)``, ``v += (1 - beta_2) * (grad**2 - v)``,
    ``alpha = learning_rate * sqrt(1 - beta_2**step) / (1 - beta_1**step)``,
    ``param -= alpha * m / (sqrt(v) + epsilon)``
    """
    alpha = learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    rates = np.array([alpha, 1 - beta_1, 1 - beta_2, epsilon])
    adam_updates([param], [grad], [m], [v], rates)


def sgd_updates(
    params: Sequence[Array],
    grads: Sequence[Array],
    rates: Rates,
    prepared: Prepared | None = None,
) -> None:
    """`sgd_update`, without a velocity, of all weights of a model; rates: (learning_rate,).

    ``prepared`` is a dict that the caller keeps as long as he comes with the same arrays: room for
    what the compiled kernel needs to do only once.
    """
    for param, grad in zip(params, grads, strict=True):
        sgd_update(param, grad, None, rates[0])


def adam_updates(
    params: Sequence[Array],
    grads: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    rates: Rates,
    prepared: Prepared | None = None,
) -> None:
    """`adam_update` of all weights of a model; ``prepared`` as for `sgd_updates`.

    rates: (alpha, 1 - beta_1, 1 - beta_2, epsilon), with the alpha of this step.
    """
    for param, grad, m, v in zip(params, grads, ms, vs, strict=True):
        alpha, rate_1, rate_2, epsilon = rates.astype(param.dtype)
        m += rate_1 * (grad - m)
        v += rate_2 * (grad * grad - v)
        param -= alpha * m / (np.sqrt(v) + epsilon)


def rmsprop_update(
    param: Array,
    grad: Array,
    mean_square: Array,
    velocity: Array | None,
    learning_rate: float,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """One step of RMSprop (Hinton, Neural Networks for Machine Learning, lecture 6e).

    ``mean_square = rho * mean_square + (1 - rho) * grad**2``,
    ``step = learning_rate * grad / sqrt(mean_square + epsilon)``, ``param -= step``; with a
    velocity, ``velocity = momentum * velocity + step`` and ``param -= velocity``.
    """
    dtype = param.dtype.type
    mean_square *= dtype(rho)
    mean_square += dtype(1 - rho) * grad * grad
    step: Array = dtype(learning_rate) * grad / np.sqrt(mean_square + dtype(epsilon))
    if velocity is not None:
        velocity *= dtype(momentum)
        velocity += step
        step = velocity
    param -= step
