"""Two small networks trained on the bundled images, and images to ask them about."""

import matplotlib
import numpy as np
import pytest

from tinynet import Input, Sequential, layers, losses, random


def settings():
    # Looking at the backend would choose one.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


@pytest.fixture(autouse=True)
def no_setting_changes():
    before = settings()
    yield
    assert settings() == before


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(parts, loss, x, y):
    random.set_random_seed(1)
    model = Sequential(parts)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x, y, epochs=1, verbose=0)
    return model


@pytest.fixture(scope="session")
def cnn(sample):
    """A convolutional network that ends in a softmax; with dropout and batch normalization."""
    (x, y), _ = sample
    parts = [
        Input((28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(6, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.AveragePooling2D(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
    ]
    return trained(parts, "sparse_categorical_crossentropy", x[:1500, ..., None], y[:1500])


@pytest.fixture(scope="session")
def mlp(sample):
    """Dense layers that end in logits."""
    (x, y), _ = sample
    parts = [
        Input((28, 28)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(20, activation="relu"),
        layers.Dense(10),
    ]
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    return trained(parts, loss, x[:1500], y[:1500])


@pytest.fixture(scope="session")
def photos(sample):
    """Test images (n, 28, 28) and their labels."""
    _, (x, y) = sample
    return x[:200], y[:200]


@pytest.fixture
def hundred():
    """Labels of a hundred classes, predictions that are right four times of five, long names."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 100, 3000)
    predicted = np.where(rng.random(3000) < 0.8, true, rng.integers(0, 100, 3000))
    names = [f"class number {i} of a rather long name" for i in range(100)]
    return true, predicted, names
