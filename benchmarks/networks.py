"""The four networks that are measured, and in which frameworks.

How each framework builds and trains one is in `in_keras` (tinynet's code too, as it is the same),
`in_torch` and `in_jax`: a class `Network` with the same four methods. Each is imported in a worker
of its own.
"""

import importlib
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CLASSES = 10
INFERENCE_BATCH = 32  # what predict and evaluate take by default, in tinynet and in Keras


class Recipe(NamedTuple):
    """3x3 convolutions, each with ReLU and 2x2 max pooling; ReLU layers; a layer of 10 logits."""

    convolutions: tuple[int, ...]
    hidden: tuple[int, ...]
    optimizer: str


MODELS = {
    "mlp-128": Recipe((), (128,), "adam"),
    "mlp-300-100": Recipe((), (300, 100), "adam"),
    "mlp-100-75": Recipe((), (100, 75), "sgd"),
    "cnn": Recipe((32, 64), (128,), "adam"),
}

# Name -> the modules that it needs.
FRAMEWORKS = {
    "tinynet": ("tinynet",),
    "jax-scan": ("jax",),
    "keras-jax": ("keras", "jax"),
    "torch": ("torch",),
    "torch-channels-last": ("torch",),
    "keras-tensorflow": ("keras", "tensorflow"),
}


class Network(Protocol):
    """A model in one framework. What it trains on went through `data` before."""

    weights: list[Array]  # in Keras's layouts

    def data(self, x: Array, y: Array) -> tuple[Any, Any]:
        """Images and labels as the framework likes them best."""

    def fit(self, x: Any, y: Any, shuffle: bool = True) -> float:
        """One epoch; returns the mean loss."""

    def predict(self, x: Any) -> Array:
        """The logits, in batches of 32."""

    def evaluate(self, x: Any, y: Any) -> tuple[float, float]:
        """Mean loss and accuracy, in batches of 32."""


def is_suited(framework: str, model: str) -> bool:
    """Whether the framework has something of its own to show.

    A layout of images needs images. And inside a compiled loop XLA has only slow gradients of
    convolutions: one epoch of the CNN took jax-scan six times as long as Keras on JAX.
    """
    if framework == "torch-channels-last":
        return has_images(model)
    return framework != "jax-scan" or not has_images(model)


def has_images(model: str) -> bool:
    """Whether the model takes images with a channel axis."""
    return bool(MODELS[model].convolutions)


def variables(framework: str) -> dict[str, str]:
    """Environment variables of its worker, beside the threads."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if framework.startswith("keras-"):
        return {**quiet, "KERAS_BACKEND": framework.removeprefix("keras-")}
    return quiet


def load(framework: str, threads: int) -> None:
    """Import it, and set its threads where the environment's variables do not reach."""
    for module in FRAMEWORKS[framework]:
        importlib.import_module(module)
    if framework.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
    elif framework == "keras-tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)


def build(framework: str, model: str, batch_size: int, weights: list[Array] | None) -> Network:
    """The model in a framework, with these weights, or, in tinynet, with new ones."""
    if framework == "tinynet":
        from in_keras import Network

        import tinynet

        tinynet.utils.set_random_seed(0)
        return Network(tinynet, model, batch_size, weights)
    if framework.startswith("keras-"):
        import keras
        from in_keras import Network

        return Network(keras, model, batch_size, weights)
    if framework == "jax-scan":
        from in_jax import Network

        return Network(model, batch_size, weights)
    from in_torch import Network

    return Network(model, batch_size, weights, channels_last=framework.endswith("last"))


def random_data(model: str, samples: int) -> tuple[Array, Array]:
    """Images between 0 and 1 and labels: the arithmetic does not depend on what they show."""
    rng = np.random.default_rng(0)
    shape = (samples, 28, 28, 1) if has_images(model) else (samples, 28, 28)
    return rng.random(shape, np.float32), rng.integers(0, CLASSES, samples).astype(np.uint8)


def multiply_adds(model: str) -> int:
    """Multiply-adds that training takes for each image, in all matrix products and convolutions.

    Forward, the kernel's gradient and the input's gradient take the same number; nobody needs the
    input's gradient of the first layer. A convolution is counted as its formula says, whatever
    way there is to do it with less.
    """
    side, channels, layers = 28, 1, []
    recipe = MODELS[model]
    for filters in recipe.convolutions:
        side -= 2
        layers.append(side * side * 9 * channels * filters)
        side, channels = side // 2, filters
    features = side * side * channels
    for units in (*recipe.hidden, CLASSES):
        layers.append(features * units)
        features = units
    return 3 * sum(layers) - layers[0]
