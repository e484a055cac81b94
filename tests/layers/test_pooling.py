import numpy as np
import pytest

from tinynet.layers import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D

X = np.array([[1, 5, 2], [4, 3, 0], [7, 6, 9]], "float32").reshape(1, 3, 3, 1)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (MaxPooling2D(), [[5]]),
        (MaxPooling2D(2, 1), [[5, 5], [7, 9]]),
        (MaxPooling2D(2, padding="same"), [[5, 2], [7, 9]]),
        (MaxPooling2D((1, 3)), [[5], [4], [9]]),
        (AveragePooling2D(), [[3.25]]),  # (1 + 5 + 4 + 3) / 4
        (AveragePooling2D(2, 1), [[3.25, 2.5], [5, 4.5]]),
        # What reaches over the end is left out of the mean: (2 + 0) / 2, (7 + 6) / 2, 9 / 1
        (AveragePooling2D(2, padding="same"), [[3.25, 1], [6.5, 9]]),
        (AveragePooling2D((3, 1)), [[4, 14 / 3, 11 / 3]]),
    ],
    ids=str,
)
def test_values_by_hand(layer, expected):
    np.testing.assert_allclose(layer(X)[0, ..., 0], expected, rtol=1e-6)


def test_the_padding_of_max_pooling_never_wins():
    np.testing.assert_array_equal(
        MaxPooling2D(2, padding="same")(X - 100), [[[[-95], [-98]], [[-93], [-91]]]]
    )


def test_max_gradient_goes_to_the_winners():
    layer = MaxPooling2D(2, 1)
    layer(X, training=True)
    dx = layer.backward(np.array([[1, 2], [4, 8]], "float32").reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(dx[0, ..., 0], [[0, 1 + 2, 0], [0, 0, 0], [4, 0, 8]])


def test_of_equals_the_first_wins():
    layer = MaxPooling2D(2)
    layer(np.ones((1, 2, 2, 1)), training=True)
    dx = layer.backward(np.ones((1, 1, 1, 1), "float32"))
    np.testing.assert_array_equal(dx[0, ..., 0], [[1, 0], [0, 0]])


def test_average_gradient_is_shared_in_the_window():
    layer = AveragePooling2D(2, padding="same")
    layer(X, training=True)
    dx = layer.backward(np.array([[4, 2], [6, 8]], "float32").reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(dx[0, ..., 0], [[1, 1, 1], [1, 1, 1], [3, 3, 8]])


def test_global_average_by_hand():
    x = np.stack([X[..., 0], 10 * X[..., 0]], axis=-1)
    layer = GlobalAveragePooling2D()
    np.testing.assert_allclose(layer(x, training=True), [[37 / 9, 370 / 9]], rtol=1e-6)
    dx = layer.backward(np.array([[9.0, 18.0]], "float32"))
    np.testing.assert_allclose(dx, np.broadcast_to([1.0, 2.0], (1, 3, 3, 2)), rtol=1e-6)
    y = GlobalAveragePooling2D(keepdims=True)(x)
    np.testing.assert_allclose(y, [[[[37 / 9, 370 / 9]]]], rtol=1e-6)


@pytest.mark.parametrize("kind", [MaxPooling2D, AveragePooling2D])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "pool_size must be an integer of at least 1, got 0"),
        (((2,),), ValueError, "pool_size must be an integer or two of them"),
        ((2.0,), TypeError, "pool_size must be an integer"),
        ((2, 0), ValueError, "strides must be an integer of at least 1, got 0"),
        ((2, 2, "causal"), ValueError, "padding must be 'valid' or 'same', got 'causal'"),
    ],
)
def test_bad_arguments(kind, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(*arguments)


def test_keras_data_format_is_not_taken_for_keepdims():
    with pytest.raises(TypeError, match="positional argument"):
        GlobalAveragePooling2D("channels_last")
