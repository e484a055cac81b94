import math

import numpy as np
import pytest

from tinynet.layers import Activation, Conv2D, Dense, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh

X = np.array([[-2.0, 0.0, 3.0]], "float32")


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (ReLU(), [0, 0, 3]),
        (LeakyReLU(), [-0.6, 0, 3]),  # 0.3 * -2
        (LeakyReLU(0.1), [-0.2, 0, 3]),
        (LeakyReLU(2), [-4, 0, 3]),
        (Tanh(), [-0.9640276, 0, 0.9950548]),
        (Sigmoid(), [0.1192029, 0.5, 0.9525741]),  # 1 / (1 + exp(2)), ..., 1 / (1 + exp(-3))
        # exp(-2) + exp(0) + exp(3) = 0.1353353 + 1 + 20.0855369 = 21.2208722
        (Softmax(), [0.0063775, 0.0471234, 0.9464991]),
        (Activation("linear"), [-2, 0, 3]),
        (Activation(None), [-2, 0, 3]),
        (Activation("relu"), [0, 0, 3]),
        (Activation("leaky_relu"), [-0.4, 0, 3]),  # by name the slope is Keras's 0.2
        (Activation("tanh"), [-0.9640276, 0, 0.9950548]),
        (Activation("sigmoid"), [0.1192029, 0.5, 0.9525741]),
        (Activation("softmax"), [0.0063775, 0.0471234, 0.9464991]),
    ],
    ids=str,
)
def test_values_by_hand(layer, expected):
    np.testing.assert_allclose(layer(X), [expected], rtol=1e-5, atol=1e-7)


def test_softmax_gradient_by_hand():
    layer = Softmax()
    y = layer(np.log([[1.0, 3.0]]), training=True)
    np.testing.assert_allclose(y, [[0.25, 0.75]], rtol=1e-6)
    # sum(dy * y) = 0.25, so dx = [0.25 * (1 - 0.25), 0.75 * (0 - 0.25)]
    np.testing.assert_allclose(layer.backward([[1.0, 0.0]]), [[0.1875, -0.1875]], rtol=1e-6)


def test_softmax_works_along_the_last_axis():
    y = Softmax()(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    np.testing.assert_allclose(y.sum(axis=-1), np.ones((2, 3, 4)), rtol=1e-6)


def test_large_inputs_stay_finite():
    x = np.array([[-1e4, 0.0, 1e4]])
    np.testing.assert_array_equal(Softmax()(x), [[0, 0, 1]])
    np.testing.assert_array_equal(Sigmoid()(x), [[0, 0.5, 1]])
    np.testing.assert_array_equal(Tanh()(x), [[-1, 0, 1]])


@pytest.mark.parametrize(
    "layer",
    [Softmax(), Sigmoid(), Activation("softmax"), Dense(3, "softmax"), Dense(3, "relu")],
    ids=str,
)
def test_logits_are_what_goes_into_the_activation(layer):
    x = np.random.default_rng(0).standard_normal((2, 3)).astype("float32")
    layer(x)
    expected = x @ layer.params["kernel"] if layer.params else x
    dy = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "float32")
    np.testing.assert_allclose(
        layer.forward(x, training=True, logits=True), expected, rtol=1e-5, atol=1e-6
    )
    d_expected = dy @ layer.params["kernel"].T if layer.params else dy
    np.testing.assert_allclose(layer.backward(dy), d_expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "activation"),
    [
        (Softmax(), "softmax"),
        (Sigmoid(), "sigmoid"),
        (Tanh(), "tanh"),
        (ReLU(), "relu"),
        (LeakyReLU(), "leaky_relu"),
        (Activation("sigmoid"), "sigmoid"),
        (Dense(3), "linear"),
        (Conv2D(3, 3, activation="tanh"), "tanh"),
    ],
    ids=str,
)
def test_output_activation_names_what_y_went_through(layer, activation):
    assert layer.output_activation == activation


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Activation("rellu"),
            ValueError,
            "unknown activation 'rellu'; did you mean 'relu'",
        ),
        (lambda: Dense(3, "swoosh"), ValueError, "unknown activation 'swoosh'.* Known: 'linear'"),
        (lambda: Conv2D(3, 3, activation="Tanh"), ValueError, "did you mean 'tanh'"),
        (lambda: Activation(7), TypeError, "activation must be a name.* got 7 of type int"),
        (lambda: Softmax(axis=1), ValueError, "works along the last axis, axis=-1, got axis=1"),
        (lambda: LeakyReLU(-0.1), ValueError, "negative_slope must be .* at least 0, got -0.1"),
        (lambda: LeakyReLU("a"), TypeError, "negative_slope must be a finite number"),
        (lambda: LeakyReLU(math.nan), ValueError, "negative_slope must be a finite number"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
