"""repr of every public object is the call that makes it."""

import inspect

import numpy as np
import pytest

from tinynet import callbacks, initializers, layers, losses, metrics, models, optimizers
from tinynet.callbacks import CallbackList
from tinynet.display import constructor_call
from tinynet.initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    Ones,
    Zeros,
)
from tinynet.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    Reshape,
)
from tinynet.models import Model, Sequential

MODULES = [layers, models, optimizers, losses, metrics, initializers, callbacks]


def halve(epoch, rate):
    return rate / 2


def fifths(shape, dtype):
    return np.full(shape, 0.2, dtype)


class Scale(Layer):
    """A layer of somebody's own, who never heard of get_config: y = factor * x"""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor


class Count(callbacks.Callback):
    """A callback of somebody's own."""

    def __init__(self, every=1, names=()):
        self.every = every
        self.names = names


class Net(Sequential):
    """A model of somebody's own, with arguments of its own."""

    def __init__(self, units):
        super().__init__([Input((4,)), Dense(units)], name="net")
        self.units = units


def frozen():
    model = Sequential([Input((4,)), Dense(3), Dense(2, trainable=False)])
    model.build((4,))
    return model


def trained():
    model = Sequential([Flatten(), Dense(3, kernel_initializer=HeNormal(seed=1))], name="fitted")
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.ones((4, 2, 2)), [0, 1, 2, 0], verbose=0)
    return model


EXAMPLES = {
    layers: [
        lambda: layers.Activation("relu"),
        lambda: layers.Activation(None, name="as it is"),
        lambda: layers.AveragePooling2D(),
        lambda: layers.AveragePooling2D(3, (2, 1), "SAME"),
        lambda: BatchNormalization(),
        lambda: BatchNormalization(-1, 0.9, 1e-5, False, False, "ones", HeNormal(3)),
        lambda: Conv2D(4, 3),
        lambda: Conv2D(
            4, (3, 1), [2, 2], "same", activation="tanh", use_bias=False,
            kernel_initializer=HeUniform(), bias_initializer=fifths, input_shape=(8, 8, 1),
        ),
        lambda: Dense(3),
        lambda: Dense(np.int64(3), "leaky_relu", False, HeNormal, "ones", name="it's \"odd\""),
        lambda: Dense(3, trainable=False, input_shape=(4,)),
        lambda: Dropout(0.5),
        lambda: Dropout(0, seed=3),
        lambda: Flatten(),
        lambda: Flatten(name="<b>größer"),
        lambda: layers.GlobalAveragePooling2D(),
        lambda: layers.GlobalAveragePooling2D(keepdims=True),
        lambda: Input((28, 28)),
        lambda: Input((), name="numbers"),
        lambda: Layer(),
        lambda: Layer(name="base", trainable=False, input_shape=(2,)),
        lambda: layers.LeakyReLU(),
        lambda: layers.LeakyReLU(0),
        lambda: layers.MaxPooling2D(),
        lambda: layers.MaxPooling2D((2, 3), 1, "same", input_shape=(8, 8, 1)),
        lambda: layers.ReLU(),
        lambda: layers.Rescaling(1 / 255),
        lambda: layers.Rescaling(2, offset=-1),
        lambda: Reshape((4, 4, 1)),
        lambda: Reshape([2, -1]),
        lambda: layers.Sigmoid(),
        lambda: layers.Softmax(),
        lambda: layers.Softmax(axis=-1, name="p"),
        lambda: layers.Tanh(),
        lambda: Scale(2),
        lambda: Scale(0.5, name="half"),
    ],
    models: [
        lambda: Model(),
        lambda: Model("own", "float64", False),
        lambda: Sequential(),
        lambda: Sequential([Dense(3)]),
        lambda: Sequential([Input((4,)), Dense(3)], "named", "float64"),
        lambda: Sequential([Dense(3, input_shape=(4,)), Dropout(0.1), Dense(2)], trainable=False),
        lambda: Sequential([Input((4,)), Sequential([Dense(3), Sequential([Dense(2)])])]),
        lambda: Net(5),
        frozen,
        trained,
    ],
    optimizers: [
        lambda: optimizers.Optimizer(),
        lambda: optimizers.SGD(),
        lambda: optimizers.SGD(np.float32(0.5), 0.9, True, name="descent"),
        lambda: optimizers.Adam(),
        lambda: optimizers.Adam(0, 0.5, 0.9, 1e-3),
        lambda: optimizers.RMSprop(),
        lambda: optimizers.RMSprop(1e-5, 0.5, 1, 1, name="r"),
    ],
    losses: [
        lambda: losses.Loss(name="own"),
        lambda: losses.SparseCategoricalCrossentropy(),
        lambda: losses.SparseCategoricalCrossentropy(True, name="s"),
        lambda: losses.CategoricalCrossentropy(),
        lambda: losses.CategoricalCrossentropy(True, 0.1),
        lambda: losses.BinaryCrossentropy(label_smoothing=1),
        lambda: losses.MeanSquaredError(),
    ],
    metrics: [
        lambda: metrics.Accuracy(),
        lambda: metrics.Accuracy("exact"),
        lambda: metrics.BinaryAccuracy(threshold=-1),
        lambda: metrics.CategoricalAccuracy(),
        lambda: metrics.SparseCategoricalAccuracy(),
        lambda: metrics.SparseTopKCategoricalAccuracy(3, "top3"),
        lambda: metrics.TopKCategoricalAccuracy(),
        lambda: metrics.MeanSquaredError(),
        lambda: metrics.MeanAbsoluteError(),
        lambda: metrics.MeanMetric(),
        lambda: metrics.MeanMetricWrapper(metrics.mean_absolute_error),
        lambda: metrics.MeanMetricWrapper(halve, "halved"),
    ],
    initializers: [
        lambda: Initializer(),
        lambda: Zeros(),
        lambda: Ones(),
        lambda: GlorotUniform(),
        lambda: GlorotNormal(seed=0),
        lambda: HeUniform(np.int32(3)),
        lambda: HeNormal(),
    ],
    callbacks: [
        lambda: callbacks.Callback(),
        lambda: CallbackList(callbacks.TerminateOnNaN(), Sequential([Dense(3)]), {"verbose": 0}),
        lambda: callbacks.CSVLogger("log  # 1.csv"),
        lambda: callbacks.CSVLogger("log.csv", ";", append=True),
        lambda: callbacks.EarlyStopping(),
        lambda: callbacks.EarlyStopping("loss", -1, 3, True, "min", 0.5, True, 2),
        lambda: callbacks.EarlyStopping("odd", mode="max"),
        lambda: callbacks.History(),
        lambda: callbacks.LambdaCallback(),
        lambda: callbacks.LambdaCallback(on_epoch_begin=halve, on_test_end=print),
        lambda: callbacks.LearningRateScheduler(halve),
        lambda: callbacks.LearningRateScheduler(halve, verbose=1),
        lambda: callbacks.MonitorCallback("loss", "auto", 0),
        lambda: callbacks.ReduceLROnPlateau(),
        lambda: callbacks.ReduceLROnPlateau("accuracy", 0, 1, 1, "max", 0.5, 2, 1e-6),
        lambda: callbacks.TerminateOnNaN(),
        lambda: callbacks.TerminateOnNaN(raise_error=True),
        lambda: Count(),
        lambda: Count(3, ["loss"]),
    ],
}  # fmt: skip

ABSTRACT = {metrics.Metric}  # cannot be made: it has nothing to reset


def namespace(module):
    """All public names of tinynet, those of ``module`` before others of the same name."""
    names = {name: value for each in MODULES for name, value in vars(each).items()}
    return {**names, **globals(), **vars(module)}


def state(value):
    """All that there is to be told of an object, so that == compares it."""
    if isinstance(value, list | tuple):
        return [state(each) for each in value]
    if isinstance(value, dict):
        return {key: state(each) for key, each in value.items()}
    if inspect.isclass(value):
        return value
    if isinstance(value, callbacks.Callback | CallbackList):
        known = {k: v for k, v in vars(value).items() if not k.startswith("_")}
    elif hasattr(value, "get_config"):
        known = value.get_config()
        if isinstance(value, Layer):
            known |= {"dtype": value.dtype, "input_shape": value.input_shape}
    else:
        return value
    return type(value), {key: state(each) for key, each in known.items()}


def public_classes(module):
    named = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    own = {value for value in named.values() if inspect.isclass(value)}
    return {kind for kind in own if kind.__module__.startswith(module.__name__)}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_class_has_an_example(module):
    assert public_classes(module) - ABSTRACT <= {type(make()) for make in EXAMPLES[module]}


@pytest.mark.parametrize(
    ("module", "make"), [(module, make) for module, makes in EXAMPLES.items() for make in makes]
)
def test_repr_is_the_constructors_call(module, make):
    made = make()
    again = eval(repr(made), namespace(module))
    assert type(again) is type(made)
    assert state(again) == state(made)
    assert repr(again) == repr(made)


def test_what_was_given_is_shown_and_defaults_are_not():
    assert repr(callbacks.EarlyStopping()) == "EarlyStopping()"
    assert repr(callbacks.EarlyStopping("loss", patience=3)) == (
        "EarlyStopping(monitor='loss', patience=3)"
    )
    assert repr(callbacks.LambdaCallback(on_epoch_begin=halve)) == (
        "LambdaCallback(on_epoch_begin=halve)"
    )
    assert repr(callbacks.LearningRateScheduler(halve, 1)) == (
        "LearningRateScheduler(schedule=halve, verbose=1)"
    )
    assert repr(Scale(2)) == "Scale(factor=2, name='scale')"
    assert repr(Count(names=["loss"])) == "Count(names=['loss'])"
    assert repr(Net(5)) == "Net(units=5)"
    assert repr(Dense(3, kernel_initializer=fifths)) == (
        "Dense(units=3, activation='linear', kernel_initializer=fifths, name='dense')"
    )
    assert repr(metrics.MeanMetricWrapper(halve)) == "MeanMetricWrapper(fn=halve, name='halve')"


def test_a_shape_that_was_given_is_shown_and_one_that_was_learned_is_not():
    layer = Dense(3, input_shape=(4,))
    assert repr(layer) == "Dense(units=3, activation='linear', name='dense', input_shape=(4,))"
    layer.build((4,), np.random.default_rng(0))
    assert repr(layer) == "Dense(units=3, activation='linear', name='dense')"


def test_a_long_model_is_spread_over_lines():
    model = Sequential(
        [
            Input((28, 28)),
            Flatten(),
            Sequential([Dense(32, "relu"), Dense(10, "softmax")], name="head"),
        ],
        name="net",
    )
    assert (
        repr(model)
        == """\
Sequential(
    layers=[
        Input(shape=(28, 28), name='input'),
        Flatten(name='flatten'),
        Sequential(
            layers=[
                Input(shape=(784,), name='input'),
                Dense(units=32, activation='relu', name='dense'),
                Dense(units=10, activation='softmax', name='dense_1'),
            ],
            name='head',
        ),
    ],
    name='net',
)"""
    )


def test_a_short_model_is_one_line():
    assert repr(Sequential([Flatten()])) == (
        "Sequential(layers=[Flatten(name='flatten')], name='sequential')"
    )


class TestConstructorCall:
    class Takes:
        def __init__(self, one, two=2, *, three=(3, 3)):
            pass

    def test_order_and_defaults_are_those_of_the_constructor(self):
        assert constructor_call(self.Takes, {"three": 3, "two": 2, "one": 1}) == (
            "Takes(one=1, three=3)"
        )

    def test_what_the_constructor_does_not_take_is_left_out(self):
        assert constructor_call(self.Takes, {"four": 4, "one": 1}) == "Takes(one=1)"

    def test_arrays_are_not_compared_with_defaults(self):
        text = constructor_call(self.Takes, {"one": 1, "two": np.array([2, 2])})
        assert text == "Takes(one=1, two=array([2, 2]))"

    def test_a_long_call(self):
        assert constructor_call(self.Takes, {"one": [1, 2], "two": []}, width=10) == (
            "Takes(\n    one=[\n        1,\n        2,\n    ],\n    two=[],\n)"
        )
