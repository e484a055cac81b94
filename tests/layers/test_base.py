"""What holds for every layer: its shapes, its contract, and the words of its errors."""

import math

import numpy as np
import pytest

from tinynet import layers
from tinynet.initializers import HeNormal
from tinynet.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    Layer,
    LeakyReLU,
    MaxPooling2D,
    ReLU,
    Rescaling,
    Reshape,
    Sigmoid,
    Softmax,
    Tanh,
)
from tinynet.layers.base import snake_case

# Layer, shape of one sample, shape of one output, how many params: by hand.
SHAPES = [
    (lambda: Dense(128), (784,), (128,), 100_480),  # 784 * 128 + 128
    (lambda: Dense(10, use_bias=False), (128,), (10,), 1_280),  # 128 * 10
    (lambda: Dense(3), (5, 4), (5, 3), 15),  # 4 * 3 + 3
    (lambda: Conv2D(32, 3), (28, 28, 1), (26, 26, 32), 320),  # 3 * 3 * 1 * 32 + 32
    (lambda: Conv2D(64, 3), (13, 13, 32), (11, 11, 64), 18_496),  # 3 * 3 * 32 * 64 + 64
    (lambda: Conv2D(8, (3, 5), use_bias=False), (10, 10, 2), (8, 6, 8), 240),  # 3 * 5 * 2 * 8
    (lambda: Conv2D(4, 3, padding="same"), (7, 6, 1), (7, 6, 4), 40),  # 3 * 3 * 4 + 4
    (lambda: Conv2D(4, 3, strides=2), (8, 7, 1), (3, 3, 4), 40),  # (8 - 3) // 2 + 1 = 3
    (lambda: Conv2D(4, 2, (2, 3), "same"), (7, 8, 1), (4, 3, 4), 20),  # ceil(7/2), ceil(8/3)
    (lambda: MaxPooling2D(), (26, 26, 32), (13, 13, 32), 0),
    (lambda: MaxPooling2D(2), (11, 11, 64), (5, 5, 64), 0),  # the last row is left out
    (lambda: MaxPooling2D(3, 1), (5, 4, 2), (3, 2, 2), 0),
    (lambda: AveragePooling2D(2, padding="same"), (11, 5, 3), (6, 3, 3), 0),
    (lambda: AveragePooling2D((1, 2)), (3, 4, 2), (3, 2, 2), 0),
    (lambda: GlobalAveragePooling2D(), (5, 7, 3), (3,), 0),
    (lambda: GlobalAveragePooling2D(keepdims=True), (5, 7, 3), (1, 1, 3), 0),
    (lambda: Flatten(), (5, 5, 64), (1600,), 0),  # 25 * 64
    (lambda: Flatten(), (), (1,), 0),
    (lambda: Reshape((28, 28, 1)), (784,), (28, 28, 1), 0),
    (lambda: Reshape((-1, 4)), (6, 6), (9, 4), 0),  # 36 / 4
    (lambda: Rescaling(1 / 255, offset=-0.5), (4, 4, 3), (4, 4, 3), 0),
    (lambda: Dropout(0.5), (4, 3), (4, 3), 0),
    (lambda: BatchNormalization(), (6, 6, 16), (6, 6, 16), 64),  # gamma, beta, 2 moving: 4 * 16
    (lambda: BatchNormalization(center=False, scale=False), (5,), (5,), 10),  # 2 moving: 2 * 5
    (lambda: Activation("tanh"), (4,), (4,), 0),
    (lambda: ReLU(), (2, 2, 3), (2, 2, 3), 0),
    (lambda: LeakyReLU(0.1), (4,), (4,), 0),
    (lambda: Softmax(), (10,), (10,), 0),
    (lambda: Sigmoid(), (3, 1), (3, 1), 0),
    (lambda: Tanh(), (4,), (4,), 0),
    (lambda: Input((3, 2)), (3, 2), (3, 2), 0),
]
EVERY = [pytest.param(make, shape, id=f"{make()!r}-{shape}") for make, shape, _, _ in SHAPES]
every_layer = pytest.mark.parametrize(("make", "shape"), EVERY)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])

RNG_SEED = 3


def built(make, shape, dtype="float32"):
    layer = make()
    layer.dtype = dtype
    layer.build(shape, np.random.default_rng(RNG_SEED))
    return layer


def batch(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal((3, *shape)).astype(dtype)


def run(layer, x):
    """One forward and backward: y, dy, dx."""
    y = layer.forward(x, training=True)
    dy = batch(y.shape[1:], y.dtype, seed=1)
    return y, dy, layer.backward(dy)


def test_every_layer_is_in_the_list():
    assert {type(make()).__name__ for make, *_ in SHAPES} == set(layers.__all__) - {"Layer"}


@pytest.mark.parametrize(("make", "shape", "output_shape", "count"), SHAPES)
def test_output_shape_and_parameter_count(make, shape, output_shape, count):
    layer = make()
    assert layer.output_shape(shape) == output_shape
    assert layer(batch(shape)).shape == (3, *output_shape)
    assert layer.count_params() == count
    assert layer.input_shape == shape
    assert layer.params.keys() == layer.grads.keys()


@both_dtypes
@every_layer
def test_one_dtype_in_the_same_dtype_out(make, shape, dtype):
    layer = built(make, shape, dtype)
    x = batch(shape, dtype)
    y, _, dx = run(layer, x)
    found = [y, dx, layer.forward(x), *layer.weights, *layer.grads.values()]
    assert {array.dtype for array in found} == {np.dtype(dtype)}
    assert dx.shape == x.shape


@every_layer
def test_other_dtypes_are_converted(make, shape):
    layer = built(make, shape)
    whole = np.arange(2 * math.prod(shape)).reshape(2, *shape) % 256
    expected = layer.forward(whole.astype("float32"))
    for other in (whole, whole.astype("float64"), whole.astype("uint8"), whole.tolist()):
        y = layer.forward(other)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, expected)


@both_dtypes
@every_layer
def test_x_and_dy_are_never_written_to(make, shape, dtype):
    layer = built(make, shape, dtype)
    x = batch(shape, dtype)
    y = layer.forward(x, training=True)
    dy = batch(y.shape[1:], dtype, seed=1)
    x_before, dy_before = x.copy(), dy.copy()
    for array in (x, dy):
        array.flags.writeable = False
    layer.backward(dy)
    layer.forward(x)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dy, dy_before)


@pytest.mark.parametrize("training", [False, True])
@every_layer
def test_what_forward_returns_is_the_callers_own(make, shape, training):
    layer = built(make, shape)
    x = batch(shape)
    y = layer.forward(x, training=training)
    assert not np.shares_memory(x, y)
    before = y.copy()
    layer.forward(batch(shape, seed=2), training=training)
    layer.forward(batch(shape, seed=3))
    np.testing.assert_array_equal(y, before)
    y[...] = 7
    assert not (layer.forward(x, training=False) == 7).all()


@every_layer
def test_memory_order_does_not_matter(make, shape):
    x = batch(shape)
    wide = np.zeros((6, *x.shape[1:], 2), np.float32)
    wide[::2, ..., 1] = x
    expected = run(built(make, shape), x)
    # A BatchNormalization or a Dropout starts anew, with the same seed.
    for same in (wide[::2, ..., 1], np.asfortranarray(x)):
        for got, wanted in zip(run(built(make, shape), same), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@every_layer
def test_backward_needs_a_forward_in_training(make, shape):
    layer = built(make, shape)
    y = layer.forward(batch(shape), training=False)
    with pytest.raises(ValueError, match=r"needs a forward\(x, training=True\) before it"):
        layer.backward(np.ones_like(y))


@every_layer
def test_dy_must_have_the_shape_of_y(make, shape):
    layer = built(make, shape)
    y = layer.forward(batch(shape), training=True)
    for wrong in (np.ones((2, *y.shape[1:])), np.ones((*y.shape, 2))):
        with pytest.raises(ValueError, match="dy must have the shape of the last output"):
            layer.backward(wrong)


@every_layer
def test_backward_params_fills_the_same_grads(make, shape):
    layer = built(make, shape)
    _, dy, _ = run(layer, batch(shape))
    grads = {name: grad.copy() for name, grad in layer.grads.items()}
    for grad in layer.grads.values():
        grad.fill(np.nan)
    layer.backward_params(dy)
    for name, grad in grads.items():
        np.testing.assert_array_equal(layer.grads[name], grad)


@every_layer
def test_an_input_of_another_shape_is_refused(make, shape):
    layer = built(make, shape)
    with pytest.raises(ValueError, match=f"'{layer.name}' was built for inputs of"):
        layer.forward(np.ones((2, *shape, 2)))


@every_layer
def test_a_layer_that_is_not_built_says_so(make, shape):
    layer = make()
    with pytest.raises(ValueError, match="does not know its input's shape yet"):
        layer.forward(batch(shape))
    with pytest.raises(ValueError, match="has no params before it knows its input's shape"):
        layer.count_params()


@every_layer
def test_config_makes_an_equal_layer(make, shape):
    layer = make()
    again = type(layer).from_config(layer.get_config())
    assert repr(again) == repr(layer)
    assert again.get_config() == layer.get_config()
    one, two = built(lambda: layer, shape), built(lambda: again, shape)
    two.set_weights(one.get_weights())
    for got, wanted in zip(run(two, batch(shape)), run(one, batch(shape)), strict=True):
        np.testing.assert_array_equal(got, wanted)


@every_layer
def test_repr_is_the_constructors_call(make, shape):
    layer = make()
    again = eval(repr(layer), vars(layers).copy())
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


@every_layer
def test_an_unknown_argument_is_named(make, shape):
    layer = make()
    with pytest.raises(TypeError, match=f"{type(layer).__name__} has no argument 'colour'"):
        type(layer)(**layer.get_config(), colour="red")


@pytest.mark.parametrize(
    ("make", "suggestion"),
    [
        (lambda: Dense(3, activaton="relu"), "did you mean 'activation'"),
        (lambda: Conv2D(3, 3, stride=2), "did you mean 'strides'"),
        (lambda: MaxPooling2D(poolsize=2), "did you mean 'pool_size'"),
        (lambda: ReLU(nmae="r"), "did you mean 'name'"),
    ],
)
def test_a_near_miss_is_suggested(make, suggestion):
    with pytest.raises(TypeError, match=suggestion):
        make()


def test_repr_shows_what_was_given():
    layer = Dense(3, "relu", kernel_initializer=HeNormal(), name="first", trainable=False)
    assert repr(layer) == (
        "Dense(units=3, activation='relu', kernel_initializer=HeNormal(seed=None), name='first', "
        "trainable=False)"
    )


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([np.ones((4, 3))], ValueError, "has 2 weight arrays, got 1"),
        ([], ValueError, "has 2 weight arrays, got 0"),
        ([np.ones((4, 3)), np.ones(3), np.ones(3)], ValueError, "has 2 weight arrays, got 3"),
        ([np.ones((4, 3)), np.ones(4)], ValueError, r"weight 1 has shape \(3,\), got \(4,\)"),
        ([np.ones((3, 4)), np.ones(3)], ValueError, r"weight 0 has shape \(4, 3\), got \(3, 4\)"),
        (np.ones((2, 3)), TypeError, "weights must be a list of arrays"),
        (7, TypeError, "weights must be a list of arrays, got 7 of type int"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(weights, error, message):
    layer = built(lambda: Dense(3), (4,))
    before = layer.get_weights()
    with pytest.raises(error, match=message):
        layer.set_weights(weights)
    for now, was in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(now, was)


def test_weights_are_copied_in_and_out():
    layer = built(lambda: BatchNormalization(), (3,))
    weights = [np.full(3, float(i)) for i in range(4)]
    layer.set_weights(weights)
    weights[0][:] = 9
    layer.get_weights()[1][:] = 9
    for i, key in enumerate(("gamma", "beta")):
        np.testing.assert_array_equal(layer.params[key], np.full(3, i))
    for i, key in enumerate(("moving_mean", "moving_variance")):
        np.testing.assert_array_equal(layer.state[key], np.full(3, i + 2))


def test_weights_before_the_shape_is_known():
    with pytest.raises(ValueError, match="it has none before it knows its input's shape"):
        Dense(3).set_weights([np.ones((4, 3)), np.ones(3)])


def test_a_frozen_layer_has_no_trainable_params():
    assert built(lambda: Dense(3), (4,)).trainable_params.keys() == {"kernel", "bias"}
    assert built(lambda: Dense(3, trainable=False), (4,)).trainable_params == {}


# --- names and shapes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dense", "dense"),
        ("Conv2D", "conv2d"),
        ("MaxPooling2D", "max_pooling2d"),
        ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ("BatchNormalization", "batch_normalization"),
        ("ReLU", "re_lu"),
        ("LeakyReLU", "leaky_re_lu"),
        ("_Private", "private"),
    ],
)
def test_snake_case_is_keras(name, expected):
    assert snake_case(name) == expected


@pytest.mark.parametrize("name", ["a/b", "", 7])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ValueError, match="name must be a string without '/'"):
        Dense(3, name=name)


def test_a_layer_has_its_classes_name_unless_given_one():
    assert (Dense(3).name, Dense(3).auto_named) == ("dense", True)
    assert (Dense(3, name="first").name, Dense(3, name="first").auto_named) == ("first", False)


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (28, TypeError, r"must be a tuple of integers such as \(28, 28\), got 28 of type int"),
        ("28", TypeError, "must be a tuple of integers"),
        ((0,), ValueError, r"must hold positive integers, without the batch axis, got \(0,\)"),
        ((None, 28), ValueError, "must hold positive integers"),
        ((2.0,), ValueError, "must hold positive integers"),
        ((True,), ValueError, "must hold positive integers"),
    ],
)
def test_a_bad_input_shape_is_refused(shape, error, message):
    with pytest.raises(error, match=f"input_shape {message}"):
        Dense(3, input_shape=shape)
    with pytest.raises(error, match=f"shape {message}"):
        Input(shape)


def test_input_shape_is_kept_for_the_first_call():
    layer = Dense(3, input_shape=[np.int64(4)])
    assert layer.input_shape == (4,)
    with pytest.raises(ValueError, match="was built for inputs of 4 features"):
        layer(np.ones((2, 5)))


@pytest.mark.parametrize(
    ("layer", "shape", "x", "hint"),
    [
        (Dense(3), (784,), np.ones((32, 28, 28)), r"add layers.Flatten\(\) before it"),
        (Dense(3), (4,), np.ones((2, 5)), r"4 features, .* \(2, 5\); pass .* shape \(n, 4\)"),
        (Dense(3), (4,), np.ones(4), r"add the batch axis: x\[None\]"),
        (Dense(3), (1,), np.ones(4), r"add the feature axis: x\[:, None\]"),
        (Conv2D(1, 2), (5, 5, 1), np.ones((2, 5, 5)), r"add the channel axis: x\[\.\.\., None\]"),
        (Conv2D(1, 2), (5, 5, 1), np.ones((5, 5, 1)), r"add the batch axis: x\[None\]"),
        (ReLU(), (), np.float32(1), r"got an array of shape \(\)"),
    ],
)
def test_a_misfit_says_what_to_do(layer, shape, x, hint):
    layer.build(shape, np.random.default_rng(0))
    with pytest.raises(ValueError, match=hint):
        layer.forward(x)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Dense(3), (), r"takes inputs of shape \(n, features\).* x\[:, None\]"),
        (lambda: Conv2D(3, 3), (28, 28), r"takes images .* got .* \(28, 28\).* x\[\.\.\., None\]"),
        (lambda: Conv2D(3, 3), (784,), r"takes images of shape \(height, width, channels\)"),
        (lambda: Conv2D(3, 5), (4, 8, 1), "a window of 5x5 does not fit images of 4x8; use"),
        (lambda: MaxPooling2D(3), (5, 2, 1), "a window of 3x3 does not fit images of 5x2"),
        (lambda: AveragePooling2D(2), (1, 4, 1), "a window of 2x2 does not fit images of 1x4"),
        (lambda: MaxPooling2D(), (4, 4), r"takes images .* x\[\.\.\., None\]"),
        (lambda: GlobalAveragePooling2D(), (4, 4), r"takes images .* x\[\.\.\., None\]"),
        (lambda: BatchNormalization(), (), r"needs inputs of shape \(n, \.\.\., channels\)"),
        (lambda: Softmax(), (), r"needs inputs of shape \(n, classes\)"),
        (lambda: Activation("softmax"), (), r"needs inputs of shape \(n, classes\)"),
        (lambda: Reshape((3, 4)), (10,), r"10 entries .* \(10,\) into the shape \(3, 4\)"),
        (lambda: Reshape((3, -1)), (10,), r"10 entries .* \(10,\) into the shape \(3, -1\)"),
    ],
)
def test_an_input_shape_that_does_not_fit_builds_nothing(make, shape, message):
    layer = make()
    with pytest.raises(ValueError, match=message):
        layer.build(shape, np.random.default_rng(0))
    assert not layer.built
    assert layer.params == {}


# --- a layer of one's own ------------------------------------------------------------------------


class Double(Layer):
    def forward(self, x, training=False):
        return 2 * self.check_input(x)


def test_a_layer_of_ones_own_needs_two_methods():
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(Double()(x), np.full((2, 3), 2))
    with pytest.raises(NotImplementedError, match=r"Double must define backward\(dy\)"):
        Double().backward(x)
    with pytest.raises(
        NotImplementedError, match=r"Layer must define forward\(x, training=False\)"
    ):
        Layer().forward(x)
