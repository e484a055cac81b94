import math

import numpy as np
import pytest

from tinynet.layers import BatchNormalization

X = np.array([[1, 10], [3, 10], [5, 40]], "float32")
# Column 0: mean 3, variance (4 + 0 + 4) / 3 = 8/3. Column 1: mean 20, variance 600 / 3 = 200.
MEAN, VARIANCE = np.array([3, 20]), np.array([8 / 3, 200])


def test_training_uses_the_batchs_statistics():
    layer = BatchNormalization()
    x_hat = (X - MEAN) / np.sqrt(VARIANCE + 1e-3)
    np.testing.assert_allclose(layer(X, training=True), x_hat, rtol=1e-5)
    layer.params["gamma"][:] = 2, 3
    layer.params["beta"][:] = -1, 1
    np.testing.assert_allclose(
        layer(X, training=True), x_hat * [2, 3] + [-1, 1], rtol=1e-5, atol=1e-6
    )


def test_moving_statistics_by_hand():
    layer = BatchNormalization(momentum=0.9)
    layer(X, training=True)
    # 0.9 * 0 + 0.1 * batch;   0.9 * 1 + 0.1 * batch, the batch's variance divided by n
    np.testing.assert_allclose(layer.state["moving_mean"], [0.3, 2.0], rtol=1e-6)
    np.testing.assert_allclose(layer.state["moving_variance"], [0.9 + 0.8 / 3, 20.9], rtol=1e-6)
    layer(X, training=True)
    # 0.9 * 0.3 + 0.1 * 3, 0.9 * 2 + 0.1 * 20
    np.testing.assert_allclose(layer.state["moving_mean"], [0.57, 3.8], rtol=1e-6)


def test_the_default_momentum_is_keras():
    layer = BatchNormalization()
    layer(X, training=True)
    np.testing.assert_allclose(layer.state["moving_mean"], [0.03, 0.2], rtol=1e-5)


def test_inference_uses_the_moving_statistics_and_leaves_them():
    layer = BatchNormalization(epsilon=0.5)
    layer.build((2,), np.random.default_rng(0))
    layer.set_weights([[2, 3], [-1, 1], [1, 10], [3.5, 99.5]])
    # 2 * (1 - 1) / 2 - 1, 3 * (10 - 10) / 10 + 1, ...
    np.testing.assert_allclose(layer(X), [[-1, 1], [1, 1], [3, 10]], rtol=1e-6)
    np.testing.assert_array_equal(layer.state["moving_mean"], [1, 10])
    np.testing.assert_array_equal(layer.state["moving_variance"], [3.5, 99.5])


def test_a_frozen_layer_uses_the_moving_statistics_in_training_too():
    layer = BatchNormalization(trainable=False)
    layer.build((2,), np.random.default_rng(0))
    layer.set_weights([[2, 3], [-1, 1], [1, 10], [4, 25]])
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(X, training=True), layer(X))
    for now, was in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(now, was)
    dx = layer.backward(np.ones_like(X))
    np.testing.assert_allclose(dx, np.tile([2 / math.sqrt(4.001), 3 / math.sqrt(25.001)], (3, 1)))


def test_images_are_normalized_for_each_channel():
    x = np.random.default_rng(0).normal(5, 3, (6, 4, 5, 2)).astype("float32")
    y = BatchNormalization()(x, training=True)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), [0, 0], atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), [1, 1], rtol=1e-3)


def test_without_center_or_scale_there_is_no_beta_or_gamma():
    for arguments, names in [({"center": False}, ["gamma"]), ({"scale": False}, ["beta"])]:
        layer = BatchNormalization(**arguments)
        np.testing.assert_allclose(
            layer(X, training=True), (X - MEAN) / np.sqrt(VARIANCE + 1e-3), rtol=1e-5
        )
        layer.backward(np.ones_like(X))
        assert list(layer.params) == list(layer.grads) == names


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axis": 1}, ValueError, "works on the last axis, axis=-1, got axis=1"),
        ({"momentum": 1.1}, ValueError, "momentum must be .* at least 0 and of at most 1, got 1.1"),
        ({"momentum": "a"}, TypeError, "momentum must be a finite number"),
        ({"epsilon": 0}, ValueError, "epsilon must be .* above 0, got 0"),
        ({"epsilon": -1e-3}, ValueError, "epsilon must be .* above 0, got -0.001"),
        ({"gamma_initializer": "one"}, ValueError, "unknown initializer 'one'"),
        ({"beta_initializer": "nought"}, ValueError, "unknown initializer 'nought'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        BatchNormalization(**arguments)
