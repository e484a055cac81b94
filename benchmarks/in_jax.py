"""An MLP in JAX with the whole epoch in one compiled program: as fast as JAX gets.

Nothing is left to Python: the shuffling, the loop over the batches (``lax.scan``) and every step's
forward, backward and update are one program, and weights and optimizer state are donated to it, so
that it may write over them. Adam is Keras's formula.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from networks import INFERENCE_BATCH, MODELS, Array

Weights = list[jax.Array]


class Network:
    """The model's weights, the optimizer's state, and the three compiled programs."""

    def __init__(self, model: str, batch_size: int, weights: list[Array]) -> None:
        self.weights = weights
        start = [jnp.array(w) for w in weights]
        self.state: dict[str, Any] = {"weights": start}
        if MODELS[model].optimizer == "adam":
            zeros = [jnp.zeros_like(w) for w in start]
            # No two of the donated arrays may be the same.
            self.state |= {"m": zeros, "v": [z.copy() for z in zeros], "t": jnp.float32(0)}
        self.key = jax.random.key(0)
        self.fits = 0
        self.epoch = jax.jit(
            partial(_epoch, batch_size), donate_argnums=0, static_argnames="shuffle"
        )

    def data(self, x: Array, y: Array) -> tuple[jax.Array, jax.Array]:
        """Arrays of JAX, images as rows (n, 784)."""
        return jnp.asarray(x.reshape(len(x), -1)), jnp.asarray(y, jnp.int32)

    def fit(self, x: jax.Array, y: jax.Array, shuffle: bool = True) -> float:
        """One epoch, with the mean loss and the accuracy."""
        key = jax.random.fold_in(self.key, self.fits)
        self.fits += 1
        self.state, loss, accuracy = self.epoch(self.state, key, x, y, shuffle=shuffle)
        accuracy.block_until_ready()
        return float(loss)

    def predict(self, x: jax.Array) -> Array:
        """The logits, in batches of 32."""
        return jax.device_get(_predict(self.state["weights"], x))

    def evaluate(self, x: jax.Array, y: jax.Array) -> tuple[float, float]:
        """Mean loss and accuracy, in batches of 32."""
        loss, accuracy = _evaluate(self.state["weights"], x, y)
        return float(loss), float(accuracy)


# --- one batch -----------------------------------------------------------------------------------


def _logits(weights: Weights, x: jax.Array) -> jax.Array:
    """Dense layers with ReLU between them."""
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in hidden:
        x = jax.nn.relu(x @ kernel + bias)
    return x @ last[0] + last[1]


def _sums(weights: Weights, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of the losses, and how many are right."""
    logits = _logits(weights, x)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
    return -log_p.sum(), (logits.argmax(axis=1) == y).sum()


def _mean_loss(weights: Weights, x: jax.Array, y: jax.Array) -> tuple[jax.Array, Any]:
    loss, right = _sums(weights, x, y)
    return loss / len(x), (loss, right)


def _step(state: dict[str, Any], x: jax.Array, y: jax.Array) -> tuple[dict[str, Any], Any]:
    weights = state["weights"]
    gradients, sums = jax.grad(_mean_loss, has_aux=True)(weights, x, y)
    if "m" not in state:
        new = [w - 0.01 * g for w, g in zip(weights, gradients, strict=True)]
        return {"weights": new}, sums
    t = state["t"] + 1
    m = [m + 0.1 * (g - m) for m, g in zip(state["m"], gradients, strict=True)]
    v = [v + 0.001 * (g * g - v) for v, g in zip(state["v"], gradients, strict=True)]
    alpha = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    new = [w - alpha * m / (jnp.sqrt(v) + 1e-7) for w, m, v in zip(weights, m, v, strict=True)]
    return {"weights": new, "m": m, "v": v, "t": t}, sums


# --- whole passes --------------------------------------------------------------------------------


def _epoch(
    batch_size: int, state: dict[str, Any], key: Any, x: jax.Array, y: jax.Array, shuffle: bool
) -> tuple[dict[str, Any], jax.Array, jax.Array]:
    """All batches in one scan, and what is left, a smaller batch, in one more step."""
    n = len(x)
    order = jax.random.permutation(key, n) if shuffle else jnp.arange(n)
    full = n // batch_size * batch_size

    def step(state: dict[str, Any], batch: jax.Array) -> tuple[dict[str, Any], Any]:
        return _step(state, x[batch], y[batch])

    state, sums = lax.scan(step, state, order[:full].reshape(-1, batch_size))
    loss, right = (each.sum() for each in sums)
    if full < n:
        state, (last_loss, last_right) = step(state, order[full:])
        loss, right = loss + last_loss, right + last_right
    return state, loss / n, right / n


def _batches(x: jax.Array) -> tuple[jax.Array, int]:
    """The numbers of the full batches, and where they end."""
    count = len(x) // INFERENCE_BATCH
    return jnp.arange(count), count * INFERENCE_BATCH


def _slice(x: jax.Array, i: jax.Array) -> jax.Array:
    """Batch i: a slice, as cutting all of x into batches beforehand would copy it."""
    return lax.dynamic_slice_in_dim(x, i * INFERENCE_BATCH, INFERENCE_BATCH)


@jax.jit
def _predict(weights: Weights, x: jax.Array) -> jax.Array:
    numbers, end = _batches(x)
    y = lax.map(lambda i: _logits(weights, _slice(x, i)), numbers).reshape(end, -1)
    return jnp.concatenate([y, _logits(weights, x[end:])]) if end < len(x) else y


@jax.jit
def _evaluate(weights: Weights, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    numbers, end = _batches(x)
    sums = lax.map(lambda i: _sums(weights, _slice(x, i), _slice(y, i)), numbers)
    loss, right = (each.sum() for each in sums)
    if end < len(x):
        last_loss, last_right = _sums(weights, x[end:], y[end:])
        loss, right = loss + last_loss, right + last_right
    return loss / len(x), right / len(x)
