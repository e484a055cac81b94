"""Optimizer updates: one pass over the parameters and their slots, in place.

A pass is cut into shares or blocks, which threads share out.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tinynet.kernels import reference
from tinynet.kernels.jit import Number, config, entry, jit, plain
from tinynet.kernels.recording import not_recorded
from tinynet.kernels.reference import Array, Prepared, Rates
from tinynet.kernels.threads import block_slice, blocks, pool_for, share, threads_of
from tinynet.kernels.vectors import (
    array_data,
    channel_loops,
    divide,
    intrinsic,
    load_vector,
    multiply_add,
    splat,
    square_root,
    store_vector,
)

# What one entry takes, in multiply-adds: mostly memory; or a square root and a division.
_SGD_OPERATIONS = 6
_ADAM_OPERATIONS = 40


# --- the weights of a model in groups, so that there are few calls of compiled code --------------

Group = tuple[Array, ...]

# Compiled code is made for tuples of one length, so the last group is filled up with empty arrays.
# A step with six small weights took 11 microseconds one by one, and takes 5.
_GROUP = 8

# Arrays are cut into shares, each its part of every array, so that a thread gets the same half (of
# two) of each as in the products, where it is in its cache. Adam has so many, for any number of
# threads: what a share has beyond whole vectors may be rounded in another way (see `divide`).
_SHARES = 8


def _groups(
    prepared: Prepared | None, *lists: Sequence[Array]
) -> list[tuple[int, list[Group]]] | None:
    """For each group of weights, how many entries it has, and the arrays from each of the lists.

    None where compiled code cannot write to all arrays in place.
    """
    if prepared is not None and "groups" in prepared:
        groups: list[tuple[int, list[Group]]] | None = prepared["groups"]
        return groups
    groups = None
    if all(array.flags.carray for arrays in lists for array in arrays):
        groups = []
        for first in range(0, len(lists[0]), _GROUP):
            flat = [[x.reshape(-1) for x in arrays[first : first + _GROUP]] for arrays in lists]
            filling = [np.empty(0, flat[0][0].dtype)] * (_GROUP - len(flat[0]))
            size = sum(len(array) for array in flat[0])
            groups.append((size, [tuple(arrays + filling) for arrays in flat]))
    if prepared is not None:
        prepared["groups"] = groups
    return groups


@jit()
def _share_of(array: Array, share: int, shares: int) -> slice:
    """The entries of an array that are in this one of so many shares."""
    return slice(len(array) * share // shares, len(array) * (share + 1) // shares)


# --- the updates ---------------------------------------------------------------------------------


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Stochastic gradient descent, with momentum if there is a velocity."""
    if velocity is None:
        sgd_updates([param], [grad], np.array([learning_rate]))
        return
    if not (param.flags.carray and velocity.flags.carray):
        reference.sgd_update(param, grad, velocity, learning_rate, momentum, nesterov)
        return
    dtype = param.dtype.type
    pool = pool_for(_SGD_OPERATIONS * param.size)
    p, g = param.reshape(-1), plain(grad).reshape(-1)
    rates = dtype(learning_rate), dtype(momentum)
    _sgd_momentum(pool, p, g, velocity.reshape(-1), *rates, nesterov)


def sgd_updates(
    params: Sequence[Array],
    grads: Sequence[Array],
    rates: Rates,
    prepared: Prepared | None = None,
) -> None:
    """`sgd_update`, without a velocity, of all weights of a model; rates: (learning_rate,)."""
    groups = _groups(prepared, params, grads)
    if groups is None:
        not_recorded()
        reference.sgd_updates(params, grads, rates)
        return
    for size, (p, g) in groups:
        _sgd(pool_for(_SGD_OPERATIONS * size), p, g, rates)


@entry()
def _sgd(pool: int, params: Group, grads: Group, rates: Rates) -> None:
    learning_rate = params[0].dtype.type(rates[0])
    # A share for each thread. Of more, who is done first would take some of the other's, from the
    # other's cache, and the other get them back in the next step: on two cores of an EPYC that
    # share no cache, a step of an MLP took 6% longer. (Adam works on twice as much, more than these
    # caches have, and it made no difference that could be told.)
    shares = threads_of(pool)
    share(pool, shares, _sgd_share, (shares, params, grads, learning_rate))


@jit()
def _sgd_share(
    number: int, shares: int, params: Group, grads: Group, learning_rate: Number
) -> None:
    for which in range(_GROUP):
        if len(params[which]) == 0:
            continue  # nothing but filling
        part = _share_of(params[which], number, shares)
        p, g = params[which][part], grads[which][part]
        for i in range(len(p)):
            p[i] -= learning_rate * g[i]


@entry()
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
    alpha = learning_rate * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    rates = np.array([alpha, 1 - beta_1, 1 - beta_2, epsilon])
    adam_updates([param], [grad], [m], [v], rates)


def adam_updates(
    params: Sequence[Array],
    grads: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    rates: Rates,
    prepared: Prepared | None = None,
) -> None:
    """`adam_update` of all weights of a model; rates: (alpha, 1 - beta_1, 1 - beta_2, epsilon)."""
    groups = _groups(prepared, params, grads, ms, vs)
    if groups is None:
        not_recorded()
        reference.adam_updates(params, grads, ms, vs, rates)
        return
    for size, (p, g, m, v) in groups:
        _adam(pool_for(_ADAM_OPERATIONS * size), p, g, m, v, rates)


_TINY_SINGLE, _TINY_DOUBLE = (float(np.finfo(x).tiny) for x in (np.float32, np.float64))


@jit()
def _smallest(x: Array) -> Number:
    """The smallest number that is not denormal: a smaller epsilon would be 0, and 0 / 0 is NaN."""
    return x.dtype.type(_TINY_SINGLE if x.itemsize == 4 else _TINY_DOUBLE)


@entry()
def _adam(pool: int, params: Group, grads: Group, ms: Group, vs: Group, rates: Rates) -> None:
    number = params[0].dtype.type
    alpha, rate_1 = number(rates[0]), number(rates[1])
    rate_2, epsilon = number(rates[2]), max(number(rates[3]), _smallest(params[0]))
    share(pool, _SHARES, _adam_share, (params, grads, ms, vs, alpha, rate_1, rate_2, epsilon))


def _adam_in_python(
    p: Array, g: Array, m: Array, v: Array, count: int, alpha: Number, rate_1: Number,
    rate_2: Number, epsilon: Number,
) -> None:  # fmt: skip
    for i in range(count):
        m[i] += rate_1 * (g[i] - m[i])
        v[i] += rate_2 * (g[i] * g[i] - v[i])
        p[i] -= alpha * m[i] / (np.sqrt(v[i]) + epsilon)


@intrinsic
def _adam_in_vectors(
    typingctx: Any, p: Any, g: Any, m: Any, v: Any, count: Any, alpha: Any, rate_1: Any,
    rate_2: Any, epsilon: Any,
) -> Any:  # fmt: skip
    """`_adam_in_python`, with the quick division: an update of 235,000 weights takes 28
    microseconds instead of the 36 of the loop that the compiler makes of it.
    """
    signature = types.void(p, g, m, v, types.intp, alpha, rate_1, rate_2, epsilon)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        arrays = [array_data(context, builder, signature, values, i) for i in range(4)]
        dtype = signature.args[0].dtype
        for vector, first in channel_loops(context, builder, dtype, values[4]):
            lanes = vector.count
            alpha, rate_1, rate_2, epsilon = (splat(builder, x, lanes) for x in values[5:])
            places = [builder.gep(array, [first]) for array in arrays]
            p, g, m, v = (load_vector(builder, vector, place, None) for place in places)
            m = multiply_add(builder, rate_1, builder.fsub(g, m), m)
            v = multiply_add(builder, rate_2, builder.fsub(builder.fmul(g, g), v), v)
            size = builder.fadd(square_root(builder, v), epsilon)
            p = builder.fsub(p, divide(builder, builder.fmul(alpha, m), size))
            for value, place in zip((p, m, v), (places[0], *places[2:]), strict=True):
                store_vector(builder, value, place, None)
        return context.get_dummy_value()

    return signature, generate


_adam_entries: Any = _adam_in_python if config.DISABLE_JIT else _adam_in_vectors


@jit()
def _adam_share(
    number: int, params: Group, grads: Group, ms: Group, vs: Group, alpha: Number, rate_1: Number,
    rate_2: Number, epsilon: Number,
) -> None:  # fmt: skip
    for which in range(_GROUP):
        if len(params[which]) == 0:
            continue  # nothing but filling
        part = _share_of(params[which], number, _SHARES)
        p, g, m, v = params[which][part], grads[which][part], ms[which][part], vs[which][part]
        _adam_entries(p, g, m, v, len(p), alpha, rate_1, rate_2, epsilon)


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
    epsilon = max(epsilon, float(np.finfo(dtype).tiny))  # a smaller one would be 0, 0 / 0 is NaN
    rates = dtype(learning_rate), dtype(rho), dtype(1 - rho), dtype(epsilon)
    if velocity is None:
        _rmsprop(*flat, *rates)
    else:
        _rmsprop_momentum(*flat, *rates, velocity.reshape(-1), dtype(momentum))


@entry()
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


@entry()
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
