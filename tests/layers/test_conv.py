import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.layers import AveragePooling2D, Conv2D, MaxPooling2D

X = np.arange(9.0, dtype="float32").reshape(1, 3, 3, 1)  # 0 1 2 / 3 4 5 / 6 7 8


def conv(kernel, **arguments):
    """A Conv2D of one filter over images of one channel."""
    kernel = np.array(kernel, "float32")
    layer = Conv2D(1, kernel.shape, **arguments)
    layer.build((3, 3, 1), np.random.default_rng(0))
    layer.params["kernel"][:] = kernel[..., None, None]
    return layer


def test_valid_by_hand():
    layer = conv([[1, 0], [0, 2]])
    layer.params["bias"][:] = 100
    # 0 + 2 * 4, 1 + 2 * 5, 3 + 2 * 7, 4 + 2 * 8: the kernel is not flipped
    y = layer.forward(X, training=True)
    np.testing.assert_array_equal(y[0, ..., 0], [[108, 111], [117, 120]])
    dx = layer.backward(np.array([[1, 0], [0, 10]], "float32").reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(dx[0, ..., 0], [[1, 0, 0], [0, 2 + 10, 0], [0, 0, 20]])
    # 1 * the window at the top left + 10 * the one at the bottom right
    np.testing.assert_array_equal(
        layer.grads["kernel"][..., 0, 0], [[0 + 40, 1 + 50], [3 + 70, 4 + 80]]
    )
    np.testing.assert_array_equal(layer.grads["bias"], [11])


def test_same_puts_the_odd_padding_at_the_end():
    y = conv(np.ones((2, 2)), padding="same")(X)
    # 0+1+3+4, 1+2+4+5, 2+5 / 3+4+6+7, 4+5+7+8, 5+8 / 6+7, 7+8, 8
    np.testing.assert_array_equal(y[0, ..., 0], [[8, 12, 7], [20, 24, 13], [13, 15, 8]])


def test_same_padding_depends_on_the_stride():
    y = conv(np.ones((2, 2)), padding="same", strides=2)(X)
    # windows start at 0 and 2; the second reaches one past the end
    np.testing.assert_array_equal(y[0, ..., 0], [[8, 7], [13, 8]])
    y = conv(np.ones((3, 3)), padding="SAME", strides=2)(X)
    # 3x3 at stride 2 on 3 pixels: one row before, one after
    np.testing.assert_array_equal(y[0, ..., 0], [[8, 12], [20, 24]])


def test_channels_are_summed_and_filters_are_apart():
    layer = Conv2D(2, 1, activation="relu")
    layer.build((1, 2, 3), np.random.default_rng(0))
    layer.params["kernel"][:] = [[[[1, -1], [2, -2], [3, -3]]]]
    y = layer.forward([[[[1, 1, 1], [0, 1, -2]]]])
    np.testing.assert_array_equal(y, [[[[6, 0], [0, 4]]]])  # 1 + 2 + 3, 2 - 6


sizes = st.integers(1, 7)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(
    kind=st.sampled_from([Conv2D, MaxPooling2D, AveragePooling2D]),
    shape=st.tuples(sizes, sizes, st.integers(1, 3)),
    window=pairs,
    strides=pairs,
    padding=st.sampled_from(["valid", "same"]),
)
def test_output_shape_is_that_of_the_output(kind, shape, window, strides, padding):
    arguments = (2, window) if kind is Conv2D else (window,)
    layer = kind(*arguments, strides=strides, padding=padding)
    if padding == "valid" and (window[0] > shape[0] or window[1] > shape[1]):
        with pytest.raises(ValueError, match="does not fit images of"):
            layer.output_shape(shape)
        return
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    y = layer(x, training=True)
    assert y.shape == (2, *layer.output_shape(shape))
    assert np.isfinite(y).all()
    assert layer.backward(np.ones_like(y)).shape == x.shape


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "filters must be an integer of at least 1, got 0"),
        ((3.0, 3), TypeError, "filters must be an integer"),
        ((3, 0), ValueError, "kernel_size must be an integer of at least 1, got 0"),
        ((3, (3, 3, 3)), ValueError, "kernel_size must be an integer or two of them"),
        ((3, "3"), TypeError, "kernel_size must be an integer"),
        ((3, 3, 0), ValueError, "strides must be an integer of at least 1, got 0"),
        ((3, 3, (1, -1)), ValueError, "strides must be an integer of at least 1, got -1"),
        ((3, 3, 1, "full"), ValueError, "padding must be 'valid' or 'same', got 'full'"),
        ((3, 3, 1, 2), ValueError, "padding must be 'valid' or 'same', got 2 of type int"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Conv2D(*arguments)


def test_bad_initializers():
    with pytest.raises(ValueError, match="unknown initializer 'glorot'"):
        Conv2D(3, 3, kernel_initializer="glorot")
