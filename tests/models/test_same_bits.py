"""One seed gives the same bits after training: run to run, and for any number of threads."""

import numpy as np
import pytest

from tinynet import Sequential, kernels, layers, utils
from tinynet.kernels import threads
from tinynet.kernels.jit import config

COUNTS = [1, 2, 3, 8]


def mlp():
    return Sequential(
        [
            layers.Rescaling(1 / 255, input_shape=(28, 28)),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(40, activation="tanh"),
            layers.BatchNormalization(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def cnn():
    """With windows that Winograd's algorithm does, and others that it does not."""
    return Sequential(
        [
            layers.Rescaling(1 / 255, input_shape=(28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu", padding="same"),
            layers.Conv2D(32, 3),
            layers.LeakyReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(20, 2, strides=2, activation="relu"),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture(autouse=True)
def threads_always(monkeypatch):
    before = threads.get_num_threads()
    monkeypatch.setattr(threads, "_WORTH_THREADS", 0)
    yield
    threads.set_num_threads(before)


def launches():
    return threads._pool._words[threads._GENERATION // 8] if threads._pool else 0


def trained(network, optimizer, images, labels, count):
    """The weights, the losses and some predictions after training with that many threads."""
    threads.set_num_threads(count)
    before = launches()
    utils.set_random_seed(7)
    model = network()
    model.compile(optimizer, "sparse_categorical_crossentropy")
    history = model.fit(images, labels, batch_size=37, epochs=2, verbose=0)
    if kernels.backend() == "numba" and not config.DISABLE_JIT and count > 1:
        assert launches() > before + 50
    return [*model.get_weights(), history.history["loss"], model.predict(images[:50], verbose=0)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("network", [mlp, cnn])
def test_training_gives_the_same_bits(network, optimizer, sample):
    (x, y), _ = sample
    first = trained(network, optimizer, x[:200], y[:200], 1)
    for count in COUNTS:
        again = trained(network, optimizer, x[:200], y[:200], count)
        for got, expected in zip(again, first, strict=True):
            np.testing.assert_array_equal(got, expected)
