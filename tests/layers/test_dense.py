import numpy as np
import pytest

from tinynet.layers import Dense


def dense(**arguments):
    layer = Dense(2, **arguments)
    layer.build((3,), np.random.default_rng(0))
    layer.params["kernel"][:] = [[1, 2], [3, 4], [5, 6]]
    return layer


def test_forward_and_backward_by_hand():
    layer = dense()
    layer.params["bias"][:] = 0.5, -20
    # 1 + 2 * 5 = 11, 2 + 2 * 6 = 14;   -1 + 3 = 2, -2 + 4 = 2;   then the bias
    y = layer.forward([[1, 0, 2], [-1, 1, 0]], training=True)
    np.testing.assert_array_equal(y, [[11.5, -6], [2.5, -18]])
    dx = layer.backward(np.array([[1.0, 0.0], [2.0, -1.0]], "float32"))
    np.testing.assert_array_equal(dx, [[1, 3, 5], [0, 2, 4]])  # dy @ kernel.T
    np.testing.assert_array_equal(layer.grads["kernel"], [[-1, 1], [2, -1], [2, 0]])  # x.T @ dy
    np.testing.assert_array_equal(layer.grads["bias"], [3, -1])


def test_the_activation_is_applied_last():
    layer = dense(activation="relu", use_bias=False)
    y = layer.forward([[1, 0, -2], [1, 1, 0]], training=True)
    np.testing.assert_array_equal(y, [[0, 0], [4, 6]])
    dx = layer.backward(np.array([[1.0, 1.0], [1.0, 0.0]], "float32"))
    np.testing.assert_array_equal(dx, [[0, 0, 0], [1, 3, 5]])
    assert layer.grads.keys() == {"kernel"}


def test_more_axes_are_more_samples():
    layer = dense()
    x = np.arange(24.0).reshape(2, 4, 3)
    deep = Dense(2)
    deep.build((4, 3), np.random.default_rng(0))
    deep.set_weights(layer.get_weights())
    rows = layer.forward(x.reshape(8, 3), training=True)
    np.testing.assert_array_equal(deep.forward(x, training=True), rows.reshape(2, 4, 2))
    dx = layer.backward(np.ones((8, 2), "float32"))
    np.testing.assert_array_equal(deep.backward(np.ones((2, 4, 2), "float32")), dx.reshape(2, 4, 3))
    np.testing.assert_array_equal(deep.grads["kernel"], layer.grads["kernel"])


def test_initial_weights():
    layer = Dense(30)
    layer.build((50,), np.random.default_rng(0))
    limit = np.sqrt(6 / 80)  # glorot_uniform: fans 50 and 30
    assert 0.95 * limit < np.abs(layer.params["kernel"]).max() <= limit
    assert not layer.params["bias"].any()
    layer = Dense(2, kernel_initializer="zeros", bias_initializer="ones")
    layer.build((3,), np.random.default_rng(0))
    assert not layer.params["kernel"].any()
    np.testing.assert_array_equal(layer.params["bias"], [1, 1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"units": 0}, ValueError, "units must be an integer of at least 1, got 0"),
        ({"units": 2.5}, TypeError, "units must be an integer of at least 1, got 2.5"),
        ({"units": True}, TypeError, "units must be an integer of at least 1, got True"),
        ({"units": "3"}, TypeError, "units must be an integer"),
        ({"units": 3, "kernel_initializer": "glorot"}, ValueError, "unknown initializer 'glorot'"),
        ({"units": 3, "bias_initializer": 7}, TypeError, "initializer must be a name"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Dense(**arguments)
