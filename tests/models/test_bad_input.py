"""What does not fit is refused in words that help, and changes nothing.

Each row of the tables is a call, the kind of error, and what its message must contain: what was
expected, what came, and what to do.
"""

import re

import numpy as np
import pytest

from tinynet import Input, Model, Sequential, callbacks, initializers, layers, losses, metrics
from tinynet import optimizers as opt
from tinynet.utils import to_categorical

N, CLASSES = 12, 10


def images(n=N):
    return np.random.default_rng(0).random((n, 6, 6, 1)).astype(np.float32)


def labels(n=N):
    return np.arange(n) % CLASSES


def trained(loss="sparse_categorical_crossentropy", y=None):
    """A model after two steps: its weights moved, its optimizer remembers something."""
    model = Sequential(
        [
            layers.Conv2D(2, 3, activation="relu", input_shape=(6, 6, 1)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(images(), labels() if y is None else y, 6, verbose=0)
    return model


def sparse():
    return trained()


def one_hot():
    return trained("categorical_crossentropy", to_categorical(labels()))


def regression():
    model = Sequential([layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(images(), np.ones((N, 3)), verbose=0)
    return model


def binary():
    model = Sequential([layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    model.fit(images(), labels() % 2, verbose=0)
    return model


def snapshot(model):
    """All that training changes."""
    slots = [a for group in model.optimizer.slots.values() for a in group.values()]
    return (
        [a.tobytes() for a in (*model.weights, *slots)],
        model.optimizer.iterations,
        model.optimizer.learning_rate,
        [layer.name for layer in model.layers],
        model.history,
    )


def with_entry(array, index, value):
    array = np.array(array, dtype=type(value) if isinstance(value, float) else None)
    array[index] = value
    return array


X, Y = images(), labels()
FLAT = X.reshape(N, -1)
ROUGH = with_entry(X, (7, 2, 3, 0), float("nan"))


def backward_without_forward():
    model = Sequential([layers.Dense(3, input_shape=(4,))])
    model.forward(np.ones((2, 4)))  # not in training
    model.backward(np.ones((2, 3)))


CALLS = {
    # --- the number of samples
    "x and y of different lengths": (
        sparse, lambda m: m.fit(X, Y[:-1]), ValueError,
        ["same number of samples", "x has 12", "y has 11"],
    ),
    "different lengths in evaluate": (
        sparse, lambda m: m.evaluate(X[:3], Y), ValueError, ["x has 3", "y has 12"],
    ),
    "different lengths in train_on_batch": (
        sparse, lambda m: m.train_on_batch(X, Y[:1]), ValueError, ["x has 12", "y has 1"],
    ),
    "different lengths in validation_data": (
        sparse, lambda m: m.fit(X, Y, validation_data=(X, Y[:3])), ValueError,
        ["x has 12", "y has 3", "validation_data"],
    ),
    "no samples": (
        sparse, lambda m: m.fit(X[:0], Y[:0]), ValueError, ["x has no samples", "(0, 6, 6, 1)"],
    ),
    "no samples to evaluate": (
        sparse, lambda m: m.evaluate(X[:0], Y[:0]), ValueError, ["x has no samples"],
    ),
    "no samples to predict": (
        sparse, lambda m: m.predict(X[:0]), ValueError, ["x has no samples"],
    ),
    "an empty batch to predict": (
        sparse, lambda m: m.predict_on_batch([]), ValueError, ["x has no samples"],
    ),
    "an empty batch to test": (
        sparse, lambda m: m.test_on_batch(X[:0], Y[:0]), ValueError, ["x has no samples"],
    ),
    "no samples to validate on": (
        sparse, lambda m: m.fit(X, Y, validation_data=(X[:0], Y[:0])), ValueError,
        ["x has no samples", "validation_data"],
    ),
    "one number for x": (
        sparse, lambda m: m.fit(3.0, Y), ValueError, ["x must be an array of samples", "3.0"],
    ),
    "one number for y": (
        sparse, lambda m: m.fit(X, 3), ValueError, ["y must be an array of samples", "3"],
    ),
    "no x": (sparse, lambda m: m.fit(), ValueError, ["fit() needs x and y"]),
    "no y": (sparse, lambda m: m.fit(X), ValueError, ["fit() needs x and y"]),
    "no y to evaluate": (sparse, lambda m: m.evaluate(X), ValueError, ["evaluate() needs x and y"]),
    # --- labels
    "a label out of range": (
        sparse, lambda m: m.fit(X, with_entry(Y, 5, 10)), ValueError,
        ["labels from 0 to 9", "10 classes", "got 10 at index 5"],
    ),
    "a negative label": (
        sparse, lambda m: m.fit(X, with_entry(Y, 2, -1)), ValueError,
        ["labels from 0 to 9", "got -1 at index 2"],
    ),
    "a label out of range to evaluate": (
        sparse, lambda m: m.evaluate(X, Y + 90), ValueError, ["0 to 9", "got 90 at index 0"],
    ),
    "a label out of range in the validation part": (
        sparse, lambda m: m.fit(X, with_entry(Y, 11, 77), validation_split=0.2), ValueError,
        ["0 to 9", "got 77 at index 11"],
    ),
    "a label out of range in validation_data": (
        sparse, lambda m: m.fit(X, Y, validation_data=(X, Y + 1)), ValueError,
        ["0 to 9", "got 10 at index 9", "validation_data"],
    ),
    "a label that is not whole": (
        sparse, lambda m: m.fit(X, with_entry(Y, 3, 0.5)), ValueError,
        ["class indices", "whole numbers", "got 0.5 at index 3"],
    ),
    "a label that is NaN": (
        sparse, lambda m: m.fit(X, with_entry(Y, 3, float("nan"))), ValueError,
        ["finite labels", "nan at index 3"],
    ),
    "one-hot labels for a sparse loss": (
        sparse, lambda m: m.fit(X, to_categorical(Y)), ValueError,
        ["takes class indices", "got (n, 10)", "'categorical_crossentropy'", "argmax"],
    ),
    "class indices for a categorical loss": (
        one_hot, lambda m: m.fit(X, Y), ValueError,
        ["takes one-hot labels", "(n, 10)", "got (n,)", "'sparse_categorical_crossentropy'",
         "to_categorical(y, 10)"],
    ),
    "class indices (n, 1) for a categorical loss": (
        one_hot, lambda m: m.fit(X, Y[:, None]), ValueError,
        ["takes one-hot labels", "got (n, 1)", "'sparse_categorical_crossentropy'"],
    ),
    "one-hot labels of another number of classes": (
        one_hot, lambda m: m.fit(X, np.eye(12)), ValueError, ["(n, 10)", "got (n, 12)"],
    ),
    "one-hot labels out of range": (
        one_hot, lambda m: m.fit(X, 2.0 * to_categorical(Y)), ValueError,
        ["labels from 0 to 1", "got 2.0 at index (0, 0)"],
    ),
    "binary labels out of range": (
        binary, lambda m: m.fit(X, Y), ValueError,
        ["labels from 0 to 1", "got 2.0 at index (2, 0)"],
    ),
    "a target of the wrong shape": (
        regression, lambda m: m.fit(X, np.ones((N, 4))), ValueError,
        ["the shape that the model predicts", "(n, 3)", "got (n, 4)"],
    ),
    "a target that is infinite": (
        regression, lambda m: m.fit(X, with_entry(np.ones((N, 3)), (4, 1), float("inf"))),
        ValueError, ["finite labels", "inf at index (4, 1)"],
    ),
    "a metric that does not fit the labels": (
        sparse,
        lambda m: (m.compile(m.optimizer, m.loss, metrics=["categorical_accuracy"]), m.fit(X, Y)),
        ValueError, ["'categorical_accuracy' does not fit", "same shape", "metrics=['accuracy']"],
    ),
    "a metric object that does not fit the labels": (
        sparse,
        lambda m: (m.compile(m.optimizer, m.loss, metrics=[metrics.Accuracy()]),
                   m.train_on_batch(X, Y)),
        ValueError, ["'accuracy' does not fit", "same shape", "metrics=['accuracy']"],
    ),
    # --- the shape of x
    "images without a channel axis": (
        sparse, lambda m: m.fit(X[..., 0], Y), ValueError,
        ["shape (6, 6, 1)", "got an array of shape (12, 6, 6)", "x[..., None]"],
    ),
    "images without a channel axis to predict": (
        sparse, lambda m: m.predict(X[..., 0]), ValueError, ["(12, 6, 6)", "x[..., None]"],
    ),
    "images without a channel axis to evaluate": (
        sparse, lambda m: m.evaluate(X[..., 0], Y), ValueError, ["(12, 6, 6)", "x[..., None]"],
    ),
    "images without a channel axis to validate": (
        sparse, lambda m: m.fit(X, Y, validation_data=(X[..., 0], Y)), ValueError,
        ["(12, 6, 6)", "x[..., None]", "validation_data"],
    ),
    "one image without the batch axis": (
        sparse, lambda m: m.predict(X[0]), ValueError,
        ["shape (6, 6, 1)", "got an array of shape (6, 6, 1)", "x[None]"],
    ),
    "images of another size": (
        sparse, lambda m: m.fit(np.ones((N, 7, 6, 1)), Y), ValueError,
        ["(6, 6, 1)", "(12, 7, 6, 1)"],
    ),
    "flat images": (
        sparse, lambda m: m.train_on_batch(FLAT, Y), ValueError, ["(6, 6, 1)", "(12, 36)"],
    ),
    # --- what is not numbers
    "strings": (
        sparse, lambda m: m.fit(X.astype(str), Y), TypeError,
        ["x must be an array of numbers", "<U", "np.asarray(x, 'float32')"],
    ),
    "objects": (
        sparse, lambda m: m.fit(X.astype(object), Y), TypeError,
        ["x must be an array of numbers", "object"],
    ),
    "objects to predict": (
        sparse, lambda m: m.predict(X.astype(object)), TypeError, ["array of numbers", "object"],
    ),
    "None to predict": (
        sparse, lambda m: m.predict(None), TypeError, ["array of numbers", "object"],
    ),
    "complex numbers": (
        sparse, lambda m: m.fit(X * 1j, Y), TypeError, ["array of numbers", "complex64"],
    ),
    "dates": (
        sparse, lambda m: m.fit(X.astype("datetime64[s]"), Y), TypeError, ["datetime64"],
    ),
    "labels that are strings": (
        sparse, lambda m: m.fit(X, np.array(list("abcdefghijkl"))), TypeError,
        ["y must be an array of numbers", "<U1"],
    ),
    "labels that are objects": (
        sparse, lambda m: m.fit(X, np.array([None] * N)), TypeError,
        ["y must be an array of numbers", "object"],
    ),
    "no labels to validate with": (
        sparse, lambda m: m.fit(X, Y, validation_data=(X, None)), TypeError,
        ["y must be an array of numbers", "validation_data"],
    ),
    "rows of different lengths": (
        sparse, lambda m: m.fit([[1.0], [1.0, 2.0]], [0, 1]), ValueError,
        ["x must be one array, but its rows differ"],
    ),
    "labels of different lengths": (
        sparse, lambda m: m.fit(X[:2], [[1], [1, 2]]), ValueError,
        ["y must be one array, but its rows differ"],
    ),
    "a batch of strings": (
        sparse, lambda m: m.predict_on_batch(["a"]), TypeError, ["array of numbers", "<U1"],
    ),
    "a batch of objects to test": (
        sparse, lambda m: m.test_on_batch(X.astype(object), Y), TypeError, ["object"],
    ),
    # --- NaN and infinity, where asked for
    "NaN in x": (
        sparse,
        lambda m: m.fit(ROUGH, Y, 5, shuffle=False, callbacks=[callbacks.TerminateOnNaN()]),
        ValueError,
        ["x must be finite", "got nan at index (7, 2, 3, 0)", "epoch 1, batch 2",
         "1 of 12 samples"],
    ),
    "infinity in x": (
        sparse,
        lambda m: m.fit(
            with_entry(X, (0, 0, 0, 0), float("-inf")), Y, callbacks=[callbacks.TerminateOnNaN()]
        ),
        ValueError, ["x must be finite", "got -inf at index (0, 0, 0, 0)", "epoch 1, batch 1"],
    ),
    "NaN in a later epoch": (
        sparse,
        lambda m: m.fit(
            ROUGH, Y, 2, 9, shuffle=False, steps_per_epoch=3, initial_epoch=4,
            callbacks=[callbacks.TerminateOnNaN()],
        ),
        ValueError, ["index (7, 2, 3, 0)", "epoch 6, batch 1"],
    ),
    # --- weights for samples
    "sample_weight and class_weight": (
        sparse, lambda m: m.fit(X, Y, class_weight={0: 2.0}, sample_weight=np.ones(N)), ValueError,
        ["class_weight or sample_weight, not both"],
    ),
    "both for one batch": (
        sparse, lambda m: m.train_on_batch(X, Y, np.ones(N), {0: 2.0}), ValueError, ["not both"],
    ),
    "sample_weight of another length": (
        sparse, lambda m: m.fit(X, Y, sample_weight=np.ones(5)), ValueError,
        ["each of the 12 samples", "(5,)"],
    ),
    "sample_weight of another shape": (
        sparse, lambda m: m.fit(X, Y, sample_weight=np.ones((N, 2))), ValueError, ["(12, 2)"],
    ),
    "a negative sample_weight": (
        sparse, lambda m: m.fit(X, Y, sample_weight=-np.ones(N)), ValueError, ["negative"],
    ),
    "a sample_weight that is NaN": (
        sparse, lambda m: m.evaluate(X, Y, sample_weight=np.full(N, np.nan)), ValueError,
        ["finite"],
    ),
    "sample_weight of strings": (
        sparse, lambda m: m.fit(X, Y, sample_weight=["a"] * N), TypeError,
        ["sample_weight must be an array of numbers"],
    ),
    "class_weight as a list": (
        sparse, lambda m: m.fit(X, Y, class_weight=[1.0, 2.0]), TypeError,
        ["class_weight must be a dict", "[1.0, 2.0] of type list"],
    ),
    "class_weight by name": (
        sparse, lambda m: m.fit(X, Y, class_weight={"Coat": 2.0}), TypeError,
        ["class in class_weight must be an integer", "'Coat'"],
    ),
    "class_weight negative": (
        sparse, lambda m: m.fit(X, Y, class_weight={1: -2.0}), ValueError,
        ["class_weight[1] must be a finite number of at least 0", "-2.0"],
    ),
    # --- numbers out of range
    **{
        f"fit({name}={value!r})": (
            sparse,
            lambda m, name=name, value=value: m.fit(
                X, Y, **{"validation_data": (X, Y), name: value}
            ),
            error, [name, repr(value)],
        )
        for error, name, value in [
            (ValueError, "batch_size", 0),
            (ValueError, "batch_size", -1),
            (TypeError, "batch_size", 2.5),
            (TypeError, "batch_size", "32"),
            (TypeError, "batch_size", True),
            (ValueError, "epochs", 0),
            (ValueError, "epochs", -3),
            (TypeError, "epochs", 1.0),
            (ValueError, "initial_epoch", -1),
            (ValueError, "steps_per_epoch", 0),
            (ValueError, "validation_steps", 0),
            (ValueError, "validation_batch_size", 0),
            (ValueError, "validation_freq", 0),
            (TypeError, "validation_freq", 1.5),
            (TypeError, "validation_freq", "1"),
            (ValueError, "validation_split", 1.0),
            (ValueError, "validation_split", -0.1),
            (ValueError, "validation_split", float("nan")),
            (TypeError, "validation_split", "0.1"),
            (ValueError, "verbose", 3),
            (ValueError, "verbose", "loud"),
            (TypeError, "shuffle", "batch"),
            (TypeError, "callbacks", 3),
            (TypeError, "callbacks", "EarlyStopping"),
        ]
    },
    "a validation_split that leaves nothing to train on": (
        sparse, lambda m: m.fit(X[:1], Y[:1], validation_split=0.5), ValueError,
        ["validation_split=0.5 leaves 0 of 1 samples for training"],
    ),
    "validation_data without labels": (
        sparse, lambda m: m.fit(X, Y, validation_data=X), ValueError,
        ["validation_data must be (x, y) or (x, y, sample_weight)", "ndarray"],
    ),
    "validation_data of four": (
        sparse, lambda m: m.fit(X, Y, validation_data=(X, Y, Y, Y)), ValueError, ["(x, y)"],
    ),
    "a class for a callback": (
        sparse, lambda m: m.fit(X, Y, callbacks=[callbacks.TerminateOnNaN]), TypeError,
        ["must be instances", "TerminateOnNaN()"],
    ),
    **{
        f"{method}({name}=0)": (
            sparse,
            lambda m, method=method, name=name: getattr(m, method)(
                *((X, Y) if method == "evaluate" else (X,)), **{name: 0}
            ),
            ValueError, [name, "got 0"],
        )
        for method in ("evaluate", "predict")
        for name in ("batch_size", "steps")
    },
    # --- unknown names
    "an unknown loss": (
        sparse, lambda m: m.compile("adam", "categorical_crosentropy"), ValueError,
        ["unknown loss 'categorical_crosentropy'", "did you mean 'categorical_crossentropy'"],
    ),
    "an unknown optimizer": (
        sparse, lambda m: m.compile("Adams", "mse"), ValueError,
        ["unknown optimizer 'Adams'", "did you mean 'adam'", "'sgd'"],
    ),
    "an unknown metric": (
        sparse, lambda m: m.compile("adam", "mse", metrics=["acuracy"]), ValueError,
        ["unknown metric 'acuracy'", "did you mean 'accuracy'"],
    ),
    "an unknown activation": (
        sparse, lambda m: m.add(layers.Dense(2, activation="rellu")), ValueError,
        ["unknown activation 'rellu'", "did you mean 'relu'"],
    ),
    "an unknown initializer": (
        sparse, lambda m: m.add(layers.Dense(2, kernel_initializer="he_norml")), ValueError,
        ["unknown initializer 'he_norml'", "did you mean 'he_normal'"],
    ),
    "an unknown layer": (
        sparse, lambda m: m.get_layer("conv2"), ValueError, ["unknown layer", "'conv2d'"],
    ),
    "a number for a loss": (
        sparse, lambda m: m.compile("adam", 3), TypeError, ["loss must be", "3 of type int"],
    ),
    "a number for an optimizer": (
        sparse, lambda m: m.compile(0.01, "mse"), TypeError, ["optimizer must be", "0.01"],
    ),
    "a function for a loss": (
        sparse, lambda m: m.compile("adam", lambda t, p: 0.0), TypeError,
        ["needs its gradient written out", "subclass losses.Loss"],
    ),
    "a metric as a bare string": (
        sparse, lambda m: m.compile("adam", "mse", metrics="accuracy"), TypeError,
        ["metrics must be a list", "metrics=['accuracy']"],
    ),
    "the same metric twice": (
        sparse, lambda m: m.compile("adam", "mse", metrics=["mae", "mae"]), ValueError,
        ["'mae' is the name of more than one", "give a metric another one"],
    ),
    "no loss": (
        sparse, lambda m: m.compile("adam"), ValueError,
        ["compile() needs a loss", "loss='sparse_categorical_crossentropy'"],
    ),
    # --- sizes out of range
    "a window larger than its input": (
        sparse, lambda m: Sequential([layers.Conv2D(2, 7, input_shape=(6, 6, 1))]), ValueError,
        ["a window of 7x7 does not fit images of 6x6", "padding='same'"],
    ),
    "a pool larger than its input": (
        sparse, lambda m: Sequential([layers.MaxPooling2D((2, 9), input_shape=(6, 6, 1))]),
        ValueError, ["a window of 2x9 does not fit images of 6x6"],
    ),
    "images without a channel axis by input_shape": (
        sparse, lambda m: Sequential([layers.Conv2D(2, 3, input_shape=(28, 28))]), ValueError,
        ["(height, width, channels)", "(28, 28)", "x[..., None]"],
    ),
    "Dense after images": (
        sparse,
        lambda m: Sequential([layers.Dense(5, input_shape=(36,))]).predict(X),
        ValueError, ["36 features", "(12, 6, 6, 1)", "add layers.Flatten() before it"],
    ),
    "a wrong feature count": (
        sparse, lambda m: Sequential([layers.Dense(5, input_shape=(4,))]).predict(FLAT), ValueError,
        ["4 features", "(12, 36)", "(n, 4)"],
    ),
    "one feature without its axis": (
        sparse, lambda m: Sequential([layers.Dense(5, input_shape=(1,))]).predict(Y), ValueError,
        ["1 features", "(12,)", "x[:, None]"],
    ),
    **{
        name: (sparse, lambda m, make=make: m.add(make()), error, expected)
        for name, make, error, expected in [
            ("no units", lambda: layers.Dense(0), ValueError, ["units", "at least 1", "0"]),
            ("negative units", lambda: layers.Dense(-4), ValueError, ["units", "-4"]),
            ("half a unit", lambda: layers.Dense(2.5), TypeError, ["units", "integer", "2.5"]),
            ("units as text", lambda: layers.Dense("8"), TypeError, ["units", "'8'"]),
            ("no filters", lambda: layers.Conv2D(0, 3), ValueError, ["filters", "at least 1"]),
            ("no window", lambda: layers.Conv2D(2, 0), ValueError, ["kernel_size", "at least 1"]),
            ("three sizes", lambda: layers.Conv2D(2, (3, 3, 3)), ValueError, ["kernel_size"]),
            ("no stride", lambda: layers.Conv2D(2, 3, 0), ValueError, ["strides", "at least 1"]),
            ("no pool", lambda: layers.MaxPooling2D(0), ValueError, ["pool_size", "at least 1"]),
            ("padding", lambda: layers.Conv2D(2, 3, padding="sane"), ValueError,
             ["'valid' or 'same'", "'sane'"]),
            ("rate 1", lambda: layers.Dropout(1.0), ValueError, ["rate", "below 1", "1.0"]),
            ("rate -0.1", lambda: layers.Dropout(-0.1), ValueError, ["rate", "at least 0", "-0.1"]),
            ("rate as text", lambda: layers.Dropout("0.5"), TypeError, ["rate", "'0.5'"]),
            ("momentum", lambda: layers.BatchNormalization(momentum=2.0), ValueError,
             ["momentum", "at most 1"]),
            ("learning rate", lambda: opt.Adam(-1e-3), ValueError, ["learning_rate", "at least 0"]),
            ("beta", lambda: opt.Adam(beta_1=1.0), ValueError, ["beta_1", "below 1"]),
            ("smoothing", lambda: losses.CategoricalCrossentropy(label_smoothing=2.0), ValueError,
             ["label_smoothing", "at most 1"]),
            ("input shape", lambda: Input((0, 3)), ValueError, ["shape", "positive", "(0, 3)"]),
            ("input shape as a number", lambda: Input(784), TypeError, ["shape", "tuple", "784"]),
        ]
    },
    # --- unknown keyword arguments
    **{
        name: (sparse, call, TypeError, expected)
        for name, call, expected in [
            ("layer argument", lambda m: layers.Dense(3, unit=4), ["'unit'", "'units'"]),
            ("layer argument of Keras", lambda m: layers.Dense(3, kernel_regularizer="l2"),
             ["Dense", "'kernel_regularizer'", "units"]),
            ("fit argument", lambda m: m.fit(X, Y, epoch=3), ["fit()", "'epoch'", "'epochs'"]),
            ("fit argument of Keras", lambda m: m.fit(X, Y, workers=2), ["fit()", "'workers'"]),
            ("compile argument", lambda m: m.compile("sgd", "mse", metric=["mae"]),
             ["compile()", "'metric'", "'metrics'"]),
            ("compile argument of Keras", lambda m: m.compile("sgd", "mse", jit_compile=True),
             ["compile()", "'jit_compile'"]),
            ("evaluate argument", lambda m: m.evaluate(X, Y, batchsize=3),
             ["evaluate()", "'batchsize'", "'batch_size'"]),
            ("predict argument", lambda m: m.predict(X, workers=3), ["predict()", "'workers'"]),
            ("summary argument", lambda m: m.summary(length=3), ["summary()", "'line_length'"]),
            ("optimizer argument", lambda m: opt.Adam(lr=0.1), ["Adam", "'lr'", "learning_rate"]),
            ("loss argument", lambda m: losses.MeanSquaredError(reduction="sum"), ["'reduction'"]),
            ("callback argument", lambda m: callbacks.EarlyStopping(monitr="loss"),
             ["EarlyStopping", "'monitr'", "'monitor'"]),
            ("initializer argument", lambda m: initializers.HeNormal(sed=3), ["'sed'", "'seed'"]),
        ]
    },
    # --- too early, or not what it was made for
    "fit before compile": (
        sparse, lambda m: Sequential([layers.Dense(3)]).fit(X, Y), ValueError,
        ["call compile(optimizer, loss, metrics=[...]) before fit()"],
    ),
    "evaluate before compile": (
        sparse, lambda m: Sequential([layers.Dense(3)]).evaluate(X, Y), ValueError,
        ["before evaluate()"],
    ),
    "train_on_batch before compile": (
        sparse, lambda m: Sequential([layers.Dense(3)]).train_on_batch(X, Y), ValueError,
        ["before train_on_batch()"],
    ),
    "predict before the shape is known": (
        sparse, lambda m: Sequential([layers.Dense(3)]).predict(FLAT), ValueError,
        ["does not know its input's shape", "Input(shape)", "fit()"],
    ),
    "fit without layers": (
        sparse,
        lambda m: [s := Sequential([Input((6, 6, 1))]), s.compile("sgd", "mse"), s.fit(X, X)],
        ValueError, ["has no layers; add some first"],
    ),
    "forward of a Model": (
        sparse, lambda m: Model().forward(X), NotImplementedError, ["must define forward"],
    ),
    "backward before forward": (
        sparse, lambda m: backward_without_forward(), ValueError,
        ["backward(dy) needs a forward(x, training=True) before it"],
    ),
    "weights of a wrong count": (
        sparse, lambda m: m.set_weights(m.get_weights()[1:]), ValueError,
        ["has 8 weight arrays, got 7"],
    ),
    "weights of a wrong shape": (
        sparse, lambda m: m.set_weights([w * 0 for w in m.get_weights()[:-1]] + [np.ones(3)]),
        ValueError, ["weight 7 has shape (10,), got (3,)"],
    ),
    "weights of another order": (
        sparse, lambda m: m.set_weights(m.get_weights()[::-1]), ValueError, ["weight 0 has shape"],
    ),
    "one layer instance twice": (
        sparse, lambda m: m.add(m.layers[0]), ValueError,
        ["Conv2D 'conv2d' is in Sequential 'sequential' already", "make another one"],
    ),
    "one layer instance twice, hidden in a model": (
        sparse, lambda m: m.add(Sequential([m.layers[1]], name="other")), ValueError,
        ["BatchNormalization 'batch_normalization' is in", "already"],
    ),
    "a class for a layer": (
        sparse, lambda m: m.add(layers.ReLU), TypeError, ["got the class", "ReLU(...)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "call", "error", "expected"), CALLS.values(), ids=CALLS)
def test_is_refused_and_changes_nothing(make, call, error, expected):
    model = make()
    before = snapshot(model)
    with pytest.raises(error) as caught:
        call(model)
    assert snapshot(model) == before
    message = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    for words in expected:
        assert words in message


def test_nothing_is_printed_before_an_error(capfd):
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        sparse().fit(X, Y + 1, epochs=3)
    assert capfd.readouterr() == ("", "")


NEAR_MISSES = {
    "bytes": (sparse, lambda m: m.fit((X * 255).astype(np.uint8), Y.astype(np.uint8))),
    "labels (n, 1)": (sparse, lambda m: m.fit(X, Y[:, None])),
    "labels that are whole floats": (sparse, lambda m: m.fit(X, Y.astype(np.float32))),
    "labels of every integer type": (
        sparse,
        lambda m: [
            m.train_on_batch(X, Y.astype(dtype))
            for dtype in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4")
        ],
    ),
    "the last label there is": (sparse, lambda m: m.fit(X, np.full(N, 9, np.uint8))),
    "lists": (sparse, lambda m: m.fit(X.tolist(), Y.tolist())),
    "one sample": (sparse, lambda m: m.fit(X[:1], Y[:1])),
    "NumPy's integers": (sparse, lambda m: m.fit(X, Y, np.int64(4), np.uint8(1))),
    "a batch larger than the data": (sparse, lambda m: m.fit(X, Y, 1000)),
    "one-hot labels of bool": (one_hot, lambda m: m.fit(X, to_categorical(Y) > 0)),
    "one-hot labels of bytes": (one_hot, lambda m: m.fit(X, to_categorical(Y).astype(np.uint8))),
    "soft labels": (one_hot, lambda m: m.fit(X, np.full((N, CLASSES), 0.1))),
    "binary labels (n,)": (binary, lambda m: m.fit(X, Y % 2)),
    "binary labels (n, 1)": (binary, lambda m: m.fit(X, (Y % 2)[:, None].astype(bool))),
    "targets of bytes": (regression, lambda m: m.fit(X, np.ones((N, 3), np.uint8))),
    "finite x with TerminateOnNaN": (
        sparse, lambda m: m.fit(X, Y, callbacks=callbacks.TerminateOnNaN()),
    ),
    "class_weight of classes that do not occur": (
        sparse, lambda m: m.fit(X[:3], Y[:3], class_weight={9: 2.0, np.int64(1): 1}),
    ),
    "callbacks as a tuple": (sparse, lambda m: m.fit(X, Y, callbacks=(callbacks.History(),))),
    "images in Fortran's order": (sparse, lambda m: m.fit(np.asfortranarray(X), Y)),
    "a view of every second image": (sparse, lambda m: m.fit(X[::2], Y[::2])),
}  # fmt: skip


@pytest.mark.parametrize(("make", "call"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_works_and_trains(make, call):
    model = make()
    before = snapshot(model)
    call(model)
    after = snapshot(model)
    assert after[0] != before[0]
    assert after[1] > before[1]
    assert all(np.isfinite(w).all() for w in model.weights)


def test_scaled_bytes_and_bytes_with_rescaling_are_the_same():
    pixels = (X * 255).astype(np.uint8)
    model = Sequential([layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(CLASSES)])
    scaled = Sequential([layers.Rescaling(1 / 255, input_shape=(6, 6, 1)), model])
    np.testing.assert_allclose(
        scaled.predict(pixels, verbose=0),
        model.predict(pixels / 255.0, verbose=0),
        rtol=1e-4,
        atol=1e-6,
    )


def test_nan_is_looked_for_only_where_asked():
    model = sparse()
    model.fit(ROUGH, Y, verbose=0)
    assert np.isnan(model.weights[0]).any()


def test_a_loss_that_becomes_nan_stops_the_training(capsys):
    model = regression()
    model.compile(opt.SGD(1e30), "mse")
    with np.errstate(all="ignore"):
        history = model.fit(
            X, np.ones((N, 3)), 4, 5, verbose=0, callbacks=[callbacks.TerminateOnNaN()]
        )
    assert len(history.epoch) == 1
    pattern = r"Epoch 1, batch \d: loss is (nan|inf), training stopped\n"
    assert re.fullmatch(pattern, capsys.readouterr().out)
