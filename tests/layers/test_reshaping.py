import math

import numpy as np
import pytest

from tinynet.layers import Flatten, Rescaling, Reshape

X = np.arange(12.0, dtype="float32").reshape(1, 2, 3, 2)


def test_flatten_keeps_the_order():
    layer = Flatten()
    np.testing.assert_array_equal(layer(X, training=True), [range(12)])
    np.testing.assert_array_equal(layer.backward(np.arange(12.0).reshape(1, 12)), X)


def test_reshape_keeps_the_order():
    layer = Reshape((4, -1))
    y = layer(X, training=True)
    np.testing.assert_array_equal(y, [[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]])
    np.testing.assert_array_equal(layer.backward(y), X)


def test_rescaling_by_hand():
    layer = Rescaling(1 / 255, offset=-0.5)
    y = layer(np.array([[0, 51, 255]], "uint8"), training=True)
    np.testing.assert_allclose(y, [[-0.5, -0.3, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(layer.backward([[255.0, 51.0, 0.0]]), [[1, 0.2, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Reshape(4), TypeError, r"target_shape must be a tuple of integers .* got 4"),
        (lambda: Reshape("4"), TypeError, "target_shape must be a tuple of integers"),
        (
            lambda: Reshape((0, 4)),
            ValueError,
            r"target_shape must hold positive integers or one -1, .* got \(0, 4\)",
        ),
        (
            lambda: Reshape((-2, 4)),
            ValueError,
            r"target_shape must hold positive integers or one -1, .* got \(-2, 4\)",
        ),
        (lambda: Reshape((2.0, 4)), ValueError, "target_shape must hold positive integers"),
        (lambda: Reshape((-1, -1)), ValueError, r"leave one size open with -1, got \(-1, -1\)"),
        (lambda: Rescaling("a"), TypeError, "scale must be a finite number, got 'a'"),
        (lambda: Rescaling(math.inf), ValueError, "scale must be a finite number, got inf"),
        (lambda: Rescaling(1.0, None), TypeError, "offset must be a finite number, got None"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
