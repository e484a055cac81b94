"""Optimizer updates: one pass over the parameters and their slots, in place."""

import numpy as np
from numba import prange

from tinynet.kernels import reference
from tinynet.kernels.jit import Number, jit, launch, plain, worth_threads
from tinynet.kernels.reference import Array


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Stochastic gradient descent, with momentum if there is a velocity."""
    if not _in_place(param, velocity):
        reference.sgd_update(param, grad, velocity, learning_rate, momentum, nesterov)
        return
    dtype = param.dtype.type
    p, g = param.reshape(-1), plain(grad).reshape(-1)
    if velocity is None:
        _sgd(p, g, dtype(learning_rate))
    else:
        _sgd_momentum(p, g, velocity.reshape(-1), dtype(learning_rate), dtype(momentum), nesterov)


def _in_place(*arrays: Array | None) -> bool:
    """Whether reshape(-1) gives a view of each, for the compiled loops to write to."""
    return all(array is None or array.flags.carray for array in arrays)


@jit()
def _sgd(param: Array, grad: Array, learning_rate: Number) -> None:
    for i in range(len(param)):
        param[i] -= learning_rate * grad[i]


@jit()
def _sgd_momentum(
    param: Array,
    grad: Array,
    velocity: Array,
    learning_rate: Number,
    momentum: Number,
    nesterov: bool,
) -> None:
    for i in range(len(param)):
        step = learning_rate * grad[i]
        velocity[i] = momentum * velocity[i] - step
        param[i] += momentum * velocity[i] - step if nesterov else velocity[i]


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
    """One step of Adam; step counts from 1."""
    if not _in_place(param, m, v):
        reference.adam_update(param, grad, m, v, learning_rate, beta_1, beta_2, epsilon, step)
        return
    dtype = param.dtype.type
    alpha = learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    with launch:
        _adam(
            param.reshape(-1), plain(grad).reshape(-1), m.reshape(-1), v.reshape(-1),
            dtype(alpha), dtype(1 - beta_1), dtype(1 - beta_2), dtype(epsilon),
            worth_threads(_ADAM_OPERATIONS * param.size),
        )  # fmt: skip


# A square root and a division take as long as some forty multiplications.
_ADAM_OPERATIONS = 40
_BLOCK = 4096


@jit(parallel=True)
def _adam(
    param: Array, grad: Array, m: Array, v: Array, alpha: Number, rate_1: Number, rate_2: Number,
    epsilon: Number, threads: bool,
) -> None:  # fmt: skip
    if not threads:
        _adam_block(param, grad, m, v, alpha, rate_1, rate_2, epsilon)
        return
    for block in prange(-(-len(param) // _BLOCK)):
        # A loop over a slice is vectorized, which a loop from one index to another is not.
        part = slice(block * _BLOCK, (block + 1) * _BLOCK)
        _adam_block(
            param[part], grad[part], m[part], v[part], alpha, rate_1, rate_2, epsilon
        )  # fmt: skip


@jit()
def _adam_block(
    param: Array, grad: Array, m: Array, v: Array, alpha: Number, rate_1: Number, rate_2: Number,
    epsilon: Number,
) -> None:  # fmt: skip
    for i in range(len(param)):
        m[i] += rate_1 * (grad[i] - m[i])
        v[i] += rate_2 * (grad[i] * grad[i] - v[i])
        param[i] -= alpha * m[i] / (np.sqrt(v[i]) + epsilon)


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
    """One step of RMSprop, with momentum if there is a velocity."""
    if not _in_place(param, mean_square, velocity):
        reference.rmsprop_update(
            param, grad, mean_square, velocity, learning_rate, rho, momentum, epsilon
        )
        return
    dtype = param.dtype.type
    arrays = param.reshape(-1), plain(grad).reshape(-1), mean_square.reshape(-1)
    rates = dtype(learning_rate), dtype(rho), dtype(1 - rho), dtype(epsilon)
    if velocity is None:
        _rmsprop(*arrays, *rates)
    else:
        _rmsprop_momentum(*arrays, *rates, velocity.reshape(-1), dtype(momentum))


@jit()
def _rmsprop(
    param: Array, grad: Array, mean_square: Array, learning_rate: Number, rho: Number,
    one_minus_rho: Number, epsilon: Number,
) -> None:  # fmt: skip
    for i in range(len(param)):
        mean_square[i] = rho * mean_square[i] + one_minus_rho * grad[i] * grad[i]
        param[i] -= learning_rate * grad[i] / np.sqrt(mean_square[i] + epsilon)


@jit()
def _rmsprop_momentum(
    param: Array, grad: Array, mean_square: Array, learning_rate: Number, rho: Number,
    one_minus_rho: Number, epsilon: Number, velocity: Array, momentum: Number,
) -> None:  # fmt: skip
    for i in range(len(param)):
        mean_square[i] = rho * mean_square[i] + one_minus_rho * grad[i] * grad[i]
        step = learning_rate * grad[i] / np.sqrt(mean_square[i] + epsilon)
        velocity[i] = momentum * velocity[i] + step
        param[i] -= velocity[i]
