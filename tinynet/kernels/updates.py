"""Optimizer updates: one pass over the parameters and their slots, in place.

A pass is cut into blocks, which threads share out.
"""

import math

import numpy as np

from tinynet.kernels import reference
from tinynet.kernels.jit import Number, jit, plain
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import block_slice, blocks, pool_for, share

# What one entry takes, in multiply-adds: mostly memory; or a square root and a division.
_SGD_OPERATIONS = 6
_ADAM_OPERATIONS = 40


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Stochastic gradient descent, with momentum if there is a velocity."""
    if not (param.flags.carray and (velocity is None or velocity.flags.carray)):
        reference.sgd_update(param, grad, velocity, learning_rate, momentum, nesterov)
        return
    dtype = param.dtype.type
    pool = pool_for(_SGD_OPERATIONS * param.size)
    p, g = param.reshape(-1), plain(grad).reshape(-1)
    if velocity is None:
        _sgd(pool, p, g, dtype(learning_rate))
    else:
        rates = dtype(learning_rate), dtype(momentum)
        _sgd_momentum(pool, p, g, velocity.reshape(-1), *rates, nesterov)


@jit()
def _sgd(pool: int, param: Array, grad: Array, learning_rate: Number) -> None:
    share(pool, blocks(param), _sgd_block, (param, grad, learning_rate))


@jit()
def _sgd_block(block: int, param: Array, grad: Array, learning_rate: Number) -> None:
    part = block_slice(block)
    p, g = param[part], grad[part]
    for i in range(len(p)):
        p[i] -= learning_rate * g[i]


@jit()
def _sgd_momentum(
    pool: int, param: Array, grad: Array, velocity: Array, learning_rate: Number, momentum: Number,
    nesterov: bool,
) -> None:  # fmt: skip
    share(
        pool, blocks(param), _sgd_momentum_block,
        (param, grad, velocity, learning_rate, momentum, nesterov),
    )  # fmt: skip


@jit()
def _sgd_momentum_block(
    block: int, param: Array, grad: Array, velocity: Array, learning_rate: Number,
    momentum: Number, nesterov: bool,
) -> None:  # fmt: skip
    part = block_slice(block)
    p, g, v = param[part], grad[part], velocity[part]
    for i in range(len(p)):
        step = learning_rate * g[i]
        v[i] = momentum * v[i] - step
        p[i] += momentum * v[i] - step if nesterov else v[i]


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
    if not (param.flags.carray and m.flags.carray and v.flags.carray):
        reference.adam_update(param, grad, m, v, learning_rate, beta_1, beta_2, epsilon, step)
        return
    dtype = param.dtype.type
    alpha = learning_rate * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    _adam(
        pool_for(_ADAM_OPERATIONS * param.size),
        param.reshape(-1), plain(grad).reshape(-1), m.reshape(-1), v.reshape(-1),
        dtype(alpha), dtype(1 - beta_1), dtype(1 - beta_2), dtype(epsilon),
    )  # fmt: skip


@jit()
def _adam(
    pool: int, param: Array, grad: Array, m: Array, v: Array, alpha: Number, rate_1: Number,
    rate_2: Number, epsilon: Number,
) -> None:  # fmt: skip
    share(
        pool, blocks(param), _adam_block, (param, grad, m, v, alpha, rate_1, rate_2, epsilon)
    )  # fmt: skip


@jit()
def _adam_block(
    block: int, param: Array, grad: Array, m: Array, v: Array, alpha: Number,
    rate_1: Number, rate_2: Number, epsilon: Number,
) -> None:  # fmt: skip
    part = block_slice(block)
    p, g, m, v = param[part], grad[part], m[part], v[part]
    for i in range(len(p)):
        m[i] += rate_1 * (g[i] - m[i])
        v[i] += rate_2 * (g[i] * g[i] - v[i])
        p[i] -= alpha * m[i] / (np.sqrt(v[i]) + epsilon)


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
    arrays = param, mean_square, param if velocity is None else velocity
    if not all([array.flags.carray for array in arrays]):
        reference.rmsprop_update(
            param, grad, mean_square, velocity, learning_rate, rho, momentum, epsilon
        )
        return
    dtype = param.dtype.type
    pool = pool_for(_ADAM_OPERATIONS * param.size)
    flat = pool, param.reshape(-1), plain(grad).reshape(-1), mean_square.reshape(-1)
    rates = dtype(learning_rate), dtype(rho), dtype(1 - rho), dtype(epsilon)
    if velocity is None:
        _rmsprop(*flat, *rates)
    else:
        _rmsprop_momentum(*flat, *rates, velocity.reshape(-1), dtype(momentum))


@jit()
def _rmsprop(
    pool: int, param: Array, grad: Array, mean_square: Array, learning_rate: Number, rho: Number,
    one_minus_rho: Number, epsilon: Number,
) -> None:  # fmt: skip
    share(
        pool, blocks(param), _rmsprop_block,
        (param, grad, mean_square, learning_rate, rho, one_minus_rho, epsilon),
    )  # fmt: skip


@jit()
def _rmsprop_block(
    block: int, param: Array, grad: Array, mean_square: Array, learning_rate: Number,
    rho: Number, one_minus_rho: Number, epsilon: Number,
) -> None:  # fmt: skip
    part = block_slice(block)
    p, g, square = param[part], grad[part], mean_square[part]
    for i in range(len(p)):
        square[i] = rho * square[i] + one_minus_rho * g[i] * g[i]
        p[i] -= learning_rate * g[i] / np.sqrt(square[i] + epsilon)


@jit()
def _rmsprop_momentum(
    pool: int, param: Array, grad: Array, mean_square: Array, learning_rate: Number, rho: Number,
    one_minus_rho: Number, epsilon: Number, velocity: Array, momentum: Number,
) -> None:  # fmt: skip
    share(
        pool, blocks(param), _rmsprop_momentum_block,
        (param, grad, mean_square, learning_rate, rho, one_minus_rho, epsilon, velocity, momentum),
    )  # fmt: skip


@jit()
def _rmsprop_momentum_block(
    block: int, param: Array, grad: Array, mean_square: Array, learning_rate: Number,
    rho: Number, one_minus_rho: Number, epsilon: Number, velocity: Array, momentum: Number,
) -> None:  # fmt: skip
    part = block_slice(block)
    p, g, square, v = param[part], grad[part], mean_square[part], velocity[part]
    for i in range(len(p)):
        square[i] = rho * square[i] + one_minus_rho * g[i] * g[i]
        v[i] = momentum * v[i] + learning_rate * g[i] / np.sqrt(square[i] + epsilon)
        p[i] -= v[i]
