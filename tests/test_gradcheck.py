"""The gradient of every layer, loss and kind of model; and that a wrong gradient is found."""

import re

import numpy as np
import pytest

from tinynet import layers, losses
from tinynet.gradcheck import check_layer, check_model
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
from tinynet.layers.activations import ACTIVATIONS
from tinynet.models import Sequential


def frozen_batch_norm(**arguments):
    """A frozen layer whose moving statistics are not the 0 and 1 that they start as."""
    layer = BatchNormalization(trainable=False, **arguments)
    layer.build((3,), np.random.default_rng(0))
    layer.state["moving_mean"][:] = 0.5, -1.0, 2.0
    layer.state["moving_variance"][:] = 0.3, 2.0, 5.0
    return layer


# A new layer is one more entry here.
LAYERS = [
    *((Activation(name), (4,)) for name in ACTIVATIONS),
    *((Dense(3, activation=name), (4,)) for name in (None, *ACTIVATIONS)),
    *((Conv2D(3, 3, activation=name), (5, 4, 2)) for name in (None, *ACTIVATIONS)),
    (Dense(1), (1,)),
    (Dense(3, use_bias=False), (4,)),
    (Dense(3, activation="softmax"), (2, 3, 4)),
    (Conv2D(1, 1), (1, 1, 1)),
    (Conv2D(2, (2, 3), use_bias=False), (4, 5, 1)),
    (Conv2D(3, 3, padding="same"), (5, 6, 2)),
    (Conv2D(2, 2, padding="same"), (3, 5, 2)),
    (Conv2D(2, 4, padding="same", activation="tanh"), (3, 3, 1)),
    (Conv2D(2, 3, strides=2), (7, 6, 2)),
    (Conv2D(2, 3, strides=(2, 3), padding="same"), (7, 8, 2)),
    (Conv2D(2, 2, strides=3), (8, 7, 1)),
    (Conv2D(2, 1, strides=3, padding="same"), (5, 7, 2)),
    *(
        (pooling(*arguments), shape)
        for pooling in (MaxPooling2D, AveragePooling2D)
        for arguments, shape in [
            ((), (4, 6, 2)),
            ((), (5, 7, 2)),
            ((2, None, "same"), (5, 7, 2)),
            ((3, 1), (5, 4, 2)),
            ((3, 2, "same"), (6, 5, 1)),
            (((2, 3), (3, 1), "same"), (7, 4, 1)),
            ((2, 3), (7, 8, 1)),
            ((1, 1), (2, 3, 2)),
        ]
    ),
    (GlobalAveragePooling2D(), (3, 5, 2)),
    (GlobalAveragePooling2D(keepdims=True), (4, 1, 3)),
    (BatchNormalization(), (3,)),
    (BatchNormalization(), (3, 2, 2)),
    (BatchNormalization(center=False, epsilon=0.1), (3,)),
    (BatchNormalization(scale=False), (2, 2, 3)),
    (BatchNormalization(center=False, scale=False), (3,)),
    (frozen_batch_norm(), (3,)),
    (frozen_batch_norm(center=False), (3,)),
    (frozen_batch_norm(scale=False), (3,)),
    (Dropout(0.4), (5, 4)),
    (Dropout(0.9, seed=1), (30,)),
    (Dropout(0.0), (4,)),
    (Flatten(), (2, 3, 2)),
    (Flatten(), (4,)),
    (Flatten(), ()),
    (Input((2, 3)), (2, 3)),
    (LeakyReLU(), (4,)),
    (LeakyReLU(0.0), (2, 3)),
    (ReLU(), (4, 3)),
    (Rescaling(1 / 255), (3, 2)),
    (Rescaling(-2.0, offset=5.0), (4,)),
    (Reshape((3, -1)), (2, 6)),
    (Reshape((2, 3, 4)), (24,)),
    (Sigmoid(), (4, 2)),
    (Softmax(), (5,)),
    (Softmax(), (2, 2, 3)),
    (Softmax(), (1,)),
    (Tanh(), (4,)),
]


@pytest.mark.parametrize(("layer", "input_shape"), LAYERS, ids=str)
def test_the_gradient_of_every_layer(layer, input_shape):
    report = check_layer(layer, input_shape)
    assert report.ok, str(report)
    # Random inputs keep clear of kinks, so nothing was left out.
    assert [row.kinks for row in report.rows] == [0] * len(report.rows), str(report)
    assert report.rows[0].array == "x"


def test_no_layer_is_left_out_of_the_gradient_check():
    checked = {type(layer).__name__ for layer, _ in LAYERS}
    assert checked == set(layers.__all__) - {"Layer"}


# --- losses --------------------------------------------------------------------------------------

ONE_HOT = np.eye(3)[[0, 2, 1, 2]]
SOFT = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
CLASSES = np.array([0, 2, 1, 2])

# A new loss is one more entry here.
LOSSES = [
    (losses.SparseCategoricalCrossentropy(), CLASSES),
    (losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
    (losses.CategoricalCrossentropy(), ONE_HOT),
    (losses.CategoricalCrossentropy(), SOFT),
    (losses.CategoricalCrossentropy(label_smoothing=0.2), ONE_HOT),
    (losses.CategoricalCrossentropy(from_logits=True), SOFT),
    (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), ONE_HOT),
    (losses.BinaryCrossentropy(), ONE_HOT),
    (losses.BinaryCrossentropy(label_smoothing=0.2), SOFT),
    (losses.BinaryCrossentropy(from_logits=True), SOFT),
    (losses.MeanSquaredError(), SOFT),
]


class Prediction(Layer):
    """A layer whose one param is y itself, so that check_model checks nothing but the loss."""

    def build(self, input_shape, rng):
        super().build(input_shape, rng)
        self.add_param("y", (4, 3), lambda shape, dtype: rng.uniform(0.3, 0.7, shape), rng)

    def output_shape(self, input_shape):
        return (3,)

    def forward(self, x, training=False):
        self._x = self.check_input(x)
        return self.params["y"].copy()

    def backward(self, dy):
        self.grads["y"] = dy.copy()
        return np.zeros_like(self._x)


@pytest.mark.parametrize(("loss", "y"), LOSSES, ids=str)
def test_the_gradient_of_every_loss(loss, y):
    report = check_model(Sequential([Prediction()]), np.zeros((4, 1)), y, loss)
    assert report.ok, str(report)
    assert report.rows[0].checked == 12


def test_no_loss_is_left_out_of_the_gradient_check():
    own = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    assert {type(loss).__name__ for loss, _ in LOSSES} == own - {"Loss"}


def test_sample_weights_scale_each_samples_gradient():
    y_pred, weights = SOFT, np.array([0.0, 1.0, 2.0, 5.0])
    for loss, y in LOSSES:
        loss.forward(y, np.clip(y_pred, 0.1, 0.9))
        plain = loss.backward()
        loss.forward(y, np.clip(y_pred, 0.1, 0.9), weights)
        np.testing.assert_allclose(loss.backward(), plain * weights[:, None], rtol=1e-12)


# --- models --------------------------------------------------------------------------------------


def mlp(last="softmax"):
    return [Flatten(), Dense(6, activation="tanh"), Dense(5, activation="relu"), Dense(3, last)]


def cnn():
    return [
        Rescaling(0.5),
        Conv2D(3, 3, padding="same"),
        BatchNormalization(),
        ReLU(),
        MaxPooling2D(2),
        Conv2D(4, 2, activation="leaky_relu"),
        AveragePooling2D(2, strides=1),
        Dropout(0.3),
        Flatten(),
        Dense(3),
        Softmax(),
    ]


MODELS = [
    (lambda: Sequential(mlp()), "sparse_categorical_crossentropy", CLASSES),
    (lambda: Sequential(mlp(None)), losses.SparseCategoricalCrossentropy(True), CLASSES),
    (lambda: Sequential(mlp("sigmoid"), dtype="float64"), "binary_crossentropy", ONE_HOT),
    (lambda: Sequential(mlp("linear")), "mse", SOFT),
    (lambda: Sequential(cnn()), "categorical_crossentropy", SOFT),
    (lambda: Sequential([Sequential(cnn()[:-1]), Softmax()]), "categorical_crossentropy", ONE_HOT),
]
IMAGES = np.random.default_rng(0).standard_normal((4, 7, 6, 2))


@pytest.mark.parametrize(("make", "loss", "y"), MODELS)
def test_the_gradient_of_whole_models(make, loss, y):
    model = make()
    report = check_model(model, IMAGES, y, loss)
    assert report.ok, str(report)
    model.build(IMAGES.shape[1:])
    assert [row.array for row in report.rows] == list(model.params)


@pytest.mark.parametrize(
    ("last", "loss", "y"),
    [
        (Softmax(), losses.SparseCategoricalCrossentropy(), CLASSES),
        (Dense(3, "softmax"), losses.CategoricalCrossentropy(), SOFT),
        (Activation("softmax"), losses.CategoricalCrossentropy(label_smoothing=0.1), ONE_HOT),
        (Sigmoid(), losses.BinaryCrossentropy(), ONE_HOT),
        (Activation("sigmoid"), losses.BinaryCrossentropy(label_smoothing=0.1), SOFT),
        (Conv2D(3, 1, activation="sigmoid"), losses.BinaryCrossentropy(), None),
    ],
    ids=str,
)
def test_an_activation_and_its_loss_as_one_step_have_the_gradient_of_the_two(last, loss, y):
    model = Sequential([Conv2D(3, (7, 6)), last], dtype="float64")
    if not isinstance(last, Conv2D):
        model = Sequential([Conv2D(3, (7, 6)), Flatten(), last], dtype="float64")
    model.build(IMAGES.shape[1:])
    y = ONE_HOT[:, None, None] if y is None else y
    probabilities = model.forward(IMAGES, training=True)
    two_steps = loss.forward(y, probabilities)
    dx = model.backward(loss.backward())
    grads = {name: grad.copy() for name, grad in model.grads.items()}

    logits = model.forward(IMAGES, training=True, logits=True)
    y = loss.check(y, logits.shape[1:], "float64")
    assert loss.compute(y, logits, from_logits=True) == pytest.approx(two_steps, rel=1e-9)
    np.testing.assert_allclose(loss.prediction, probabilities, rtol=1e-12)
    np.testing.assert_allclose(model.backward(loss.backward()), dx, rtol=1e-8, atol=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(model.grads[name], grad, rtol=1e-8, atol=1e-12)


# --- wrong layers are found ----------------------------------------------------------------------


class SoftmaxWithoutJacobian(Softmax):
    def backward(self, dy):
        dy, (y, _) = self.recall(dy)
        return dy * y * (1 - y)


class AveragedBias(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["bias"] = self.grads["bias"] / len(dy)
        return dx


class AddsToGrads(Dense):
    def backward(self, dy):
        before = self.grads["bias"].copy()
        dx = super().backward(dy)
        self.grads["bias"] = self.grads["bias"] + before
        return dx


class TransposedKernel(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["kernel"] = self.grads["kernel"].T.copy()
        return dx


class NoFactor(Rescaling):
    def backward(self, dy):
        return self.recall(dy)[0].copy()


class NoMeanTerm(BatchNormalization):
    def backward(self, dy):
        dx = super().backward(dy)
        return dx + 0.01 * np.mean(dy)


class NoGamma(BatchNormalization):
    def backward(self, dy):
        return super().backward(dy) / self._gamma()


class ForgetsGrads(Dense):
    def backward(self, dy):
        kept = dict(self.grads)
        dx = super().backward(dy)
        self.grads = {"kernel": kept["kernel"]}
        return dx


class WritesToX(ReLU):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        x[x < 0] = 0
        return y


class WritesToDy(ReLU):
    def backward(self, dy):
        dx = super().backward(dy)
        dy[...] = dx
        return dx


class FreshNoise(Layer):
    def forward(self, x, training=False):
        self.noise = np.random.default_rng().random(x.shape)
        return x * self.noise

    def backward(self, dy):
        return dy * self.noise


class SinglePrecision(Tanh):
    def forward(self, x, training=False):
        return super().forward(x, training).astype(np.float32)


class WrongShape(Flatten):
    def backward(self, dy):
        return self.recall(dy)[0].copy()


class NotANumber(ReLU):
    def backward(self, dy):
        return super().backward(dy) * np.nan


@pytest.mark.parametrize(
    ("layer", "input_shape", "problem"),
    [
        (SoftmaxWithoutJacobian(), (4,), "the gradient of x is wrong"),
        (AveragedBias(3), (4,), "the gradient of bias is wrong"),
        (AddsToGrads(3), (4,), "a second backward adds to the gradient of bias"),
        (TransposedKernel(4), (4,), "the gradient of kernel is wrong"),
        (TransposedKernel(3), (4,), r"'kernel': 'float64 \(4, 3\)'.* got .*'float64 \(3, 4\)'"),
        (NoFactor(1.01), (4,), "the gradient of x is wrong"),
        (NoMeanTerm(), (4,), "the gradient of x is wrong"),
        (NoGamma(), (4,), "the gradient of x is wrong"),
        (ForgetsGrads(3), (4,), "backward must give .*'bias'"),
        (WritesToX(), (4,), "x is written to"),
        (WritesToDy(), (4,), "dy is written to"),
        (FreshNoise(), (4,), "forward is random"),
        (SinglePrecision(), (4,), r"forward must give .*float64 \(3, 4\).* got .*float32"),
        (WrongShape(), (2, 2), r"backward must give .*\(3, 2, 2\).* got .*\(3, 4\)"),
        (NotANumber(), (4,), "the gradient of x is wrong"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Layer) else "",
)
def test_a_wrong_layer_is_found(layer, input_shape, problem):
    report = check_layer(layer, input_shape)
    assert not report.ok
    assert not report
    assert re.search(f"WRONG: .*{problem}", str(report)), str(report)


# --- for a student -------------------------------------------------------------------------------


class Scale(Layer):
    """A first layer of one's own, by someone who never heard of dtypes: y = x * w"""

    def build(self, input_shape, rng):
        super().build(input_shape, rng)
        self.params["w"] = np.ones(input_shape, "float32")

    def forward(self, x, training=False):
        self.x = x
        return x * self.params["w"]

    def backward(self, dy):
        self.grads["w"] = (dy * self.x).sum(axis=0)
        return dy * self.params["w"]


class Logarithm(Layer):
    """Wants positive inputs."""

    def forward(self, x, training=False):
        self.x = x
        return np.log(x)

    def backward(self, dy):
        return dy / self.x


def test_a_students_layer_passes_and_prints_a_table():
    report = check_layer(Scale(), (2, 3))
    assert report.ok, str(report)
    assert [(row.array, row.shape, row.checked) for row in report.rows] == [
        ("x", (3, 2, 3), 18),
        ("w", (2, 3), 6),
    ]
    text = str(report)
    for word in ("array", "shape", "checked", "kinks", "error", "index", "analytic", "numeric"):
        assert word in text
    assert "Scale" in text
    assert text.endswith("The gradient is right.")
    assert repr(report) == text


def test_the_worst_entry_is_named():
    class OneWrong(Scale):
        def backward(self, dy):
            dx = super().backward(dy)
            self.grads["w"][1, 2] += 1
            return dx

    row = check_layer(OneWrong(), (2, 3)).rows[1]
    assert row.index == (1, 2)
    assert row.analytic == pytest.approx(row.numeric + 1)
    expected = 1 / max(abs(row.analytic), abs(row.numeric))
    assert row.error == pytest.approx(expected, rel=1e-6)


def test_inputs_can_be_chosen():
    assert check_layer(Logarithm(), (3,), x=np.linspace(1, 2, 6).reshape(2, 3)).ok


def test_the_layer_stays_as_it_is():
    layer = BatchNormalization()
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    layer(x, training=True)
    before = layer.get_weights()
    assert check_layer(layer, (3,)).ok
    assert layer.dtype == "float32"
    for was, now in zip(before, layer.get_weights(), strict=True):
        assert now.dtype == np.float32
        np.testing.assert_array_equal(now, was)
    unbuilt = Dense(3)
    assert check_layer(unbuilt, (4,)).ok
    assert not unbuilt.built


def test_a_model_stays_as_it_is():
    model = Sequential(cnn())
    model.build(IMAGES.shape[1:])
    before = model.get_weights()
    assert check_model(model, IMAGES, CLASSES, "sparse_categorical_crossentropy").ok
    for was, now in zip(before, model.get_weights(), strict=True):
        assert now.dtype == np.float32
        np.testing.assert_array_equal(now, was)


def test_kinks_are_counted_and_left_out():
    x = np.array([[0.0, 1.0, -1.0], [2.0, 0.0, -3.0]])
    report = check_layer(ReLU(), (3,), x=x)
    assert report.ok, str(report)
    assert (report.rows[0].checked, report.rows[0].kinks) == (6, 2)


def test_ties_in_a_pool_are_kinks():
    report = check_layer(MaxPooling2D(2), (2, 2, 1), x=[[[[1.0], [1.0]], [[0.0], [-1.0]]]])
    assert report.ok, str(report)
    assert report.rows[0].kinks == 2


def test_a_verdict_needs_entries_that_are_no_kinks():
    report = check_layer(ReLU(), (3,), x=np.zeros((2, 3)))
    assert not report.ok
    assert "WRONG: x is nearly all kinks" in str(report)


def test_a_wrong_gradient_is_found_beside_kinks():
    report = check_layer(WrongSlope(), (3,), x=[[0.0, 1.0, -1.0]])
    assert (report.rows[0].kinks, report.rows[0].index) == (1, (0, 1))
    assert not report.ok


class WrongSlope(ReLU):
    def backward(self, dy):
        return 1.1 * super().backward(dy)


def test_large_arrays_are_sampled():
    report = check_layer(Dense(50), (40,), entries=7)
    assert report.ok, str(report)
    assert [row.checked for row in report.rows] == [7, 7, 7]


def test_the_same_seed_gives_the_same_report():
    assert check_layer(Dense(3), (4,)) == check_layer(Dense(3), (4,))
    assert check_layer(Dense(3), (4,), seed=1) != check_layer(Dense(3), (4,))


def test_arguments_that_do_not_fit():
    with pytest.raises(TypeError, match=r"expected a layer, .* got"):
        check_layer(Dense, (4,))
    with pytest.raises(TypeError, match="input_shape must be a tuple"):
        check_layer(Dense(3), 4)
    with pytest.raises(ValueError, match="entries must be an integer of at least 1, got 0"):
        check_layer(Dense(3), (4,), entries=0)
    built = Dense(3)
    built.build((4,), np.random.default_rng(0))
    with pytest.raises(ValueError, match="built for inputs of 4 features"):
        check_layer(built, (5,))
    model = Sequential([Dense(3)])
    with pytest.raises(ValueError, match="unknown loss"):
        check_model(model, np.zeros((2, 4)), [0, 1], "sparse")
    with pytest.raises(ValueError, match="y_true has 3 samples, y_pred has 2"):
        check_model(model, np.zeros((2, 4)), [0, 1, 2], "sparse_categorical_crossentropy")
