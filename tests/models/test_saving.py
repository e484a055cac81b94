"""Models into files and out of them: the same model comes back, in every part."""

import copy
import json
import os
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import (
    Input,
    Sequential,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    random,
    saving,
)
from tinynet.models import clone_model, load_model, model_from_json
from tinynet.models.writing import MAX_LAYERS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tinynet"


def mlp(features=8, classes=3, **kwargs):
    hidden = layers.Dense(5, "relu")
    return Sequential([Input((features,)), hidden, layers.Dense(classes, "softmax")], **kwargs)


def data(n=40, features=8):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)).astype(np.float32), np.arange(n) % 3


def compiled(model=None, optimizer="adam", loss="sparse_categorical_crossentropy", **kwargs):
    model = mlp() if model is None else model
    model.compile(optimizer, loss, **kwargs)
    return model


def named(model):
    """All arrays of a model and of its optimizer, by name."""
    arrays = {**model.params, **model.state}
    if model.compiled:
        slots = model.optimizer.slots
        arrays |= {f"{key} {name}": slot for key in slots for name, slot in slots[key].items()}
    return arrays


def assert_same(one, other):
    """Both have the same parts, and the same bits in all arrays."""
    assert other.get_config() == one.get_config()
    assert other.compiled == one.compiled
    if one.compiled:
        assert repr(other.optimizer) == repr(one.optimizer)
        assert other.optimizer.iterations == one.optimizer.iterations
        assert repr(other.loss) == repr(one.loss)
    arrays, others = named(one), named(other)
    assert others.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(others[name], array, strict=True)
        assert others[name] is not array
        assert others[name].flags.writeable


def assert_comes_back(model, path, x):
    """Saved and loaded it is the same, and so are its predictions and the file it makes."""
    model.save(path)
    content = path.read_bytes()
    loaded = load_model(path)
    assert_same(model, loaded)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    again = path.with_name("again.tinynet")
    loaded.save(again)
    assert again.read_bytes() == content
    return loaded


# --- every layer ---------------------------------------------------------------------------------

IMAGES = (7, 6, 2)

LAYERS = {
    "Activation": ((5,), lambda: layers.Activation("leaky_relu")),
    "AveragePooling2D": (IMAGES, lambda: layers.AveragePooling2D((3, 2), (1, 2), "same")),
    "BatchNormalization": (
        IMAGES,
        lambda: layers.BatchNormalization(
            momentum=0.5, epsilon=0.1, scale=False, beta_initializer="glorot_normal"
        ),
    ),
    "Conv2D": (
        IMAGES,
        lambda: layers.Conv2D(
            3, (2, 3), (2, 1), "same", activation="sigmoid", use_bias=False,
            kernel_initializer=initializers.HeNormal(seed=3),
        ),
    ),
    "Dense": (
        (2, 5),
        lambda: layers.Dense(
            4, "tanh", kernel_initializer="he_uniform", bias_initializer=initializers.Ones
        ),
    ),
    "Dropout": ((5,), lambda: layers.Dropout(0.3, seed=7)),
    "Flatten": ((3, 2), lambda: layers.Flatten(name="flat")),
    "GlobalAveragePooling2D": (IMAGES, lambda: layers.GlobalAveragePooling2D(keepdims=True)),
    "Input": ((5,), lambda: layers.ReLU(trainable=False)),  # Input stands before all of them
    "LeakyReLU": ((5,), lambda: layers.LeakyReLU(0.125)),
    "MaxPooling2D": (IMAGES, lambda: layers.MaxPooling2D(3, 1, "same")),
    "ReLU": (IMAGES, layers.ReLU),
    "Rescaling": ((5,), lambda: layers.Rescaling(1 / 255, offset=-0.5)),
    "Reshape": ((6, 2), lambda: layers.Reshape((3, -1))),
    "Sigmoid": ((5,), layers.Sigmoid),
    "Softmax": ((2, 5), layers.Softmax),
    "Tanh": ((5,), layers.Tanh),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", layers.CLASSES)
def test_every_layer_comes_back(path, kind, dtype):
    shape, make = LAYERS[kind]
    model = Sequential([Input(shape), make()], dtype=dtype)
    x = np.random.default_rng(0).standard_normal((9, *shape)).astype(dtype)
    for _ in range(3):
        model.forward(x, training=True)  # moves what moves: statistics, generators
    loaded = assert_comes_back(model, path, x)
    assert kind in ("Input", type(loaded.layers[0]).__name__)
    np.testing.assert_array_equal(
        loaded.forward(x, training=True), model.forward(x, training=True), strict=True
    )
    dy = np.ones_like(model.predict(x, verbose=0))
    np.testing.assert_array_equal(loaded.backward(dy), model.backward(dy), strict=True)


def test_every_argument_of_every_layer_is_in_its_config():
    # Of a layer's own constructor; what all layers have is in the base's.
    for kind, layer in layers.CLASSES.items():
        shape, make = LAYERS[kind]
        made = layers.Input(shape) if kind == "Input" else make()
        own = layer.__init__.__code__
        names = own.co_varnames[1 : own.co_argcount + own.co_kwonlyargcount]
        if layer.__init__ is layers.Layer.__init__:
            names = ()
        assert set(names) - {"input_shape"} <= made.get_config().keys(), kind


def test_batch_normalization_keeps_its_moving_statistics(path):
    model = compiled(
        Sequential([Input((8,)), layers.BatchNormalization(), layers.Dense(3, "softmax")])
    )
    model.fit(*data(), epochs=2, verbose=0)
    loaded = assert_comes_back(model, path, data()[0])
    assert abs(loaded.layers[0].state["moving_mean"]).max() > 0


def test_seeded_dropout_goes_on_with_its_noise(path):
    def make():
        return Sequential(
            [
                Sequential([Input((50,)), layers.Dropout(0.5, seed=3)], name="inner"),
                layers.Dropout(0.5, seed=3),
                layers.Dropout(0.5),
            ]
        )

    x = np.ones((4, 50), np.float32)
    model = make()
    for _ in range(5):
        model.forward(x, training=True)
    model.save(path)
    loaded = load_model(path)
    for _ in range(3):
        random.set_random_seed(1)
        expected = model.forward(x, training=True)
        random.set_random_seed(1)
        np.testing.assert_array_equal(loaded.forward(x, training=True), expected)
    random.set_random_seed(1)
    fresh = make().forward(x, training=True)
    assert not np.array_equal(fresh, expected)


def test_loading_draws_no_random_numbers(path):
    model = Sequential([Input((8,)), layers.Dense(3), layers.Dropout(0.5, seed=1)])
    model.save(path)
    before = random.state_of(random.generator())
    load_model(path)
    assert random.state_of(random.generator()) == before


# --- optimizers, losses, metrics -----------------------------------------------------------------

OPTIMIZERS = [
    lambda: optimizers.SGD(0.1),
    lambda: optimizers.SGD(0.1, momentum=0.9, name="mine"),
    lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    lambda: optimizers.Adam(0.02, beta_1=0.8, beta_2=0.9, epsilon=1e-5),
    lambda: optimizers.RMSprop(0.01, rho=0.8),
    lambda: optimizers.RMSprop(0.01, momentum=0.5, epsilon=1e-3),
]


def test_no_optimizer_is_forgotten():
    tested = {type(make()).__name__.lower() for make in OPTIMIZERS}
    assert tested == optimizers._CLASSES.keys()


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_where_it_stopped(path, make, dtype):
    def trained_on(model):
        random.set_random_seed(5)
        history = model.fit(*data(), 16, epochs=3, verbose=0).history
        return history, named(model)

    body = [Input((8,)), layers.Dense(5, "relu"), layers.BatchNormalization()]
    body += [layers.Dropout(0.2, seed=2), layers.Dense(3, "softmax")]
    model = compiled(Sequential(body, dtype=dtype), make(), metrics=["accuracy"])
    model.fit(*data(), 16, epochs=2, verbose=0)
    model.optimizer.learning_rate *= 0.5
    loaded = assert_comes_back(model, path, data()[0])
    assert loaded.optimizer.iterations == 6
    expected, found = trained_on(model), trained_on(loaded)
    assert found[0] == expected[0]
    for name, array in expected[1].items():
        np.testing.assert_array_equal(found[1][name], array, strict=True)


def test_training_on_needs_what_is_saved(path):
    # Otherwise the test above could not fail.
    model = compiled(optimizer=optimizers.Adam(0.02))
    model.fit(*data(), epochs=2, verbose=0)
    model.save(path, include_optimizer=False)
    loaded = compiled(load_model(path), optimizers.Adam(0.02))
    for each in (model, loaded):
        random.set_random_seed(5)
        each.fit(*data(), verbose=0)
    assert not np.array_equal(model.weights[0], loaded.weights[0])


def test_an_optimizer_that_made_no_step_yet(path):
    loaded = assert_comes_back(compiled(), path, data()[0])
    assert loaded.optimizer.slots == {}
    loaded.fit(*data(), verbose=0)


def test_slots_of_layers_that_thawed_later(path):
    # Their slots were made last, and stand in the file all the same where their weights do.
    model = mlp()
    model.layers[0].trainable = False
    compiled(model).fit(*data(), verbose=0)
    half = assert_comes_back(model, path, data()[0])
    assert half.optimizer.slots.keys() == {"dense_1/kernel", "dense_1/bias"}
    assert not half.layers[0].trainable
    model.layers[0].trainable = True
    model.fit(*data(), verbose=0)
    assert_comes_back(model, path, data()[0])


def test_slots_of_a_layer_that_is_gone_are_left_out(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.pop()
    model.add(layers.Dense(4, "softmax", name="dense_1"))
    model.save(path)
    loaded = load_model(path)
    assert loaded.optimizer.slots.keys() == {"dense/kernel", "dense/bias"}
    loaded.fit(*data(), verbose=0)


LOSSES = [
    ("sparse_categorical_crossentropy", 3),
    ("mse", 1),
    (losses.SparseCategoricalCrossentropy(from_logits=True, name="mine"), 3),
    (losses.CategoricalCrossentropy(label_smoothing=0.1), 3),
    (losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2), 1),
    (losses.MeanSquaredError(name="other"), 2),
    (losses.mean_squared_error, 2),
    (losses.MeanSquaredError, 2),
]


def labels(loss, outputs, n=40):
    if "parse" in repr(loss):
        return np.arange(n) % outputs
    y = np.zeros((n, outputs))
    y[np.arange(n), np.arange(n) % outputs] = 1
    return y


def test_no_loss_is_forgotten():
    tested = {type(losses.get(loss)) for loss, _ in LOSSES}
    assert tested == set(losses._CLASSES.values())


@pytest.mark.parametrize(("loss", "outputs"), LOSSES)
def test_every_loss_comes_back(path, loss, outputs):
    last = layers.Dense(outputs, "linear" if getattr(loss, "from_logits", False) else "sigmoid")
    model = compiled(Sequential([Input((8,)), last]), "sgd", loss)
    x, y = data()[0], labels(loss, outputs)
    model.fit(x, y, verbose=0)
    loaded = assert_comes_back(model, path, x)
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


METRICS = [
    "accuracy",
    "acc",
    "SparseCategoricalAccuracy",
    metrics.SparseCategoricalAccuracy(name="mine"),
    metrics.SparseCategoricalAccuracy,
    metrics.sparse_categorical_accuracy,
    metrics.SparseTopKCategoricalAccuracy(k=2),
]
ONE_HOT_METRICS = [
    "mse",
    metrics.Accuracy(),
    metrics.BinaryAccuracy(threshold=0.3),
    metrics.CategoricalAccuracy(name="c"),
    metrics.TopKCategoricalAccuracy(k=2, name="k"),
    metrics.MeanSquaredError(),
    metrics.MeanAbsoluteError(),
    metrics.mean_squared_error,
]


def test_no_metric_is_forgotten():
    tested = {type(metrics.get(metric)) for metric in (*METRICS, *ONE_HOT_METRICS)}
    assert set(metrics._CLASSES.values()) <= tested


@pytest.mark.parametrize("metric", [*METRICS, *ONE_HOT_METRICS])
def test_every_metric_comes_back(path, metric):
    one_hot = metric in ONE_HOT_METRICS
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    model = compiled(loss=loss, metrics=[metric])
    x, y = data()[0], labels(loss, 3)
    before = model.evaluate(x, y, verbose=0, return_dict=True)
    loaded = assert_comes_back(model, path, x)
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == before
    assert len(before) == 2


def test_several_metrics_keep_their_order(path):
    scores = ["mse", metrics.MeanAbsoluteError(name="far"), "accuracy"]
    model = Sequential([Input((8,)), layers.Dense(2)])
    compiled(model, "sgd", "mse", metrics=["mae", *scores[1:]])
    model.save(path)
    assert list(map(repr, load_model(path).metrics_given)) == list(map(repr, model.metrics_given))


# --- kinds of models -----------------------------------------------------------------------------


def test_a_model_that_is_not_compiled(path):
    loaded = assert_comes_back(mlp(), path, data()[0])
    assert not loaded.compiled
    with pytest.raises(ValueError, match="call compile"):
        loaded.fit(*data())


def test_without_the_optimizer(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.save(path, include_optimizer=False)
    with saving.ModelFile(path) as file:
        assert list(file.tensors) == [f"weights/{key}" for key in model.params]
        assert file.header["compiled"] is None
    loaded = load_model(path)
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded.predict(data()[0]), model.predict(data()[0]))


def test_loading_without_compiling(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.save(path)
    loaded = load_model(path, compile=False)
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded.predict(data()[0]), model.predict(data()[0]))


def test_nested_models(path):
    middle = Sequential([layers.Dense(4, "tanh"), layers.BatchNormalization()], name="middle")
    inner = Sequential([Input((8,)), layers.Dense(6), middle], name="inner")
    model = compiled(Sequential([inner, layers.Dense(3, "softmax")]))
    model.fit(*data(), epochs=2, verbose=0)
    loaded = assert_comes_back(model, path, data()[0])
    key = "inner/middle/batch_normalization/moving_mean"
    assert loaded.layers[0].layers[1].layers[1].state["moving_mean"] is loaded.state[key]
    for each in (model, loaded):
        random.set_random_seed(0)
        each.fit(*data(), verbose=0)
    assert_same(model, loaded)


def test_frozen_layers_stay_frozen(path):
    inner = Sequential([Input((8,)), layers.Dense(6), layers.BatchNormalization()])
    inner.trainable = False
    inner.layers[0].trainable = True  # one of them alone
    model = compiled(Sequential([inner, layers.Dense(3, "softmax")]))
    model.fit(*data(), verbose=0)
    loaded = assert_comes_back(model, path, data()[0])
    found = [(layer.name, layer.trainable) for layer in (loaded, *inner.layers, *loaded.layers)]
    assert [trainable for _, trainable in found] == [True, True, False, False, True]
    assert [layer.trainable for layer in loaded.layers[0].layers] == [True, False]
    assert loaded.trainable_params.keys() == model.trainable_params.keys()


def test_a_frozen_model_of_thawed_layers(path):
    model = mlp(trainable=False)
    model.layers[0].trainable = True
    loaded = assert_comes_back(model, path, data()[0])
    assert [layer.trainable for layer in (loaded, *loaded.layers)] == [False, True, True]


def test_a_model_that_learned_its_shape_from_data(path):
    model = compiled(Sequential([layers.Dense(5), layers.Dense(3, "softmax")], name="late"))
    model.fit(*data(), verbose=0)
    loaded = assert_comes_back(model, path, data()[0])
    assert loaded.input_shape == (8,)
    assert loaded.name == "late"


def test_a_model_without_weights(path):
    model = Sequential([Input((4, 2)), layers.Flatten(), layers.Softmax()])
    assert_comes_back(model, path, np.ones((3, 4, 2)))


def test_a_loaded_model_can_grow(path):
    mlp().save(path)
    model = load_model(path)
    model.pop()
    model.add(layers.Dense(4))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert_comes_back(compiled(model, loss="mse"), path, data()[0])


def test_a_copy_makes_the_same_file(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.save(path)
    again = path.with_name("again.tinynet")
    copy.deepcopy(model).save(again)
    assert again.read_bytes() == path.read_bytes()


def test_saving_is_deterministic_and_changes_nothing(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    before = copy.deepcopy(model)
    contents = set()
    for _ in range(3):
        model.save(path)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    assert_same(before, model)


def test_saving_onto_the_file_just_loaded(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.save(path)
    for epoch in range(3):
        loaded = load_model(path)
        assert loaded.optimizer.iterations == 2 + 2 * epoch
        loaded.fit(*data(), verbose=0)
        loaded.save(path)
    assert_same(load_model(path), loaded)


def test_a_model_out_of_a_file_does_not_hold_on_to_it(path):
    mlp().save(path)
    loaded = load_model(path)
    before = loaded.predict(data()[0])
    path.write_bytes(bytes(len(path.read_bytes())))
    np.testing.assert_array_equal(loaded.predict(data()[0]), before)


def test_weights_of_any_layout_are_saved(path):
    model = mlp()
    kernel = model.layers[0].params["kernel"]
    model.layers[0].params["kernel"] = np.asfortranarray(kernel)
    model.layers[1].params["kernel"] = np.repeat(model.layers[1].params["kernel"], 2, axis=0)[::2]
    model.refresh()
    expected = model.get_weights()
    model.save(path)
    for there, here in zip(load_model(path).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(there, here, strict=True)


def test_not_a_number_and_infinities_are_kept(path):
    model = mlp()
    model.layers[0].params["kernel"][0, :3] = np.nan, np.inf, -np.inf
    model.save(path)
    np.testing.assert_array_equal(load_model(path).weights[0], model.weights[0])


@pytest.mark.parametrize("name", ["ü", "\N{SNOWMAN} 1", "a.b", "kernel", "weights", "x" * 900, " "])
def test_names_of_any_kind(path, name):
    model = compiled(Sequential([Input((8,)), layers.Dense(3, "softmax", name=name)], name=name))
    model.fit(*data(), verbose=0)
    assert_comes_back(model, path, data()[0])


def test_as_many_layers_as_a_file_holds(path):
    model = Sequential([Input((2,)), *(layers.ReLU(name=str(i)) for i in range(MAX_LAYERS - 1))])
    model.save(path)
    assert len(load_model(path).layers) == MAX_LAYERS - 1
    model.add(layers.ReLU())
    with pytest.raises(ValueError, match="at most 1000 layers, got 1001"):
        model.save(path)
    assert len(load_model(path).layers) == MAX_LAYERS - 1


def test_several_threads_load_at_once(path):
    model = compiled()
    model.save(path)
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_model(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in found:
        assert_same(model, each)
    assert len(found) == 8


def test_the_functions_of_models(path):
    assert models.load_model is load_model
    model = mlp()
    models.save_model(model, filepath=path, overwrite=False)
    assert_same(model, models.load_model(str(path)))
    for wrong in (layers.Dense(3), None, "model"):
        with pytest.raises(TypeError, match="save_model takes a model, got"):
            models.save_model(wrong, path)
    with pytest.raises(TypeError, match=r"load_model\(\) has no argument 'custom_object'"):
        load_model(path, custom_object={})
    with pytest.raises(TypeError, match="compile must be True or False"):
        load_model(path, compile="no")


# --- what is not saved ---------------------------------------------------------------------------


class OwnLayer(layers.Layer):
    def forward(self, x, training=False):
        return self.check_input(x)

    def backward(self, dy):
        return dy


class OwnDense(layers.Dense):
    pass


class OwnModel(Sequential):
    pass


class OwnLoss(losses.MeanSquaredError):
    pass


class OwnOptimizer(optimizers.SGD):
    pass


class OwnMetric(metrics.MeanSquaredError):
    pass


class OwnInitializer(initializers.Zeros):
    pass


def own_metric(y_true, y_pred):
    return np.abs(y_true - y_pred).mean(axis=-1)


def own_initializer(shape, dtype=None):
    return np.zeros(shape, dtype)


def with_layers(*parts, kind=Sequential, **kwargs):
    return compiled(kind([Input((8,)), *parts]), "sgd", "mse", **kwargs)


OWN = {
    "a layer": lambda: with_layers(OwnLayer()),
    "a layer derived from one of tinynet's": lambda: with_layers(OwnDense(3)),
    "a layer within a model": lambda: with_layers(Sequential([Input((8,)), OwnLayer()])),
    "a model": lambda: with_layers(layers.Dense(3), kind=OwnModel),
    "a model within a model": lambda: with_layers(OwnModel([Input((8,)), layers.Dense(3)])),
    "an initializer": lambda: with_layers(layers.Dense(3, kernel_initializer=OwnInitializer())),
    "the class of one": lambda: with_layers(layers.Dense(3, bias_initializer=OwnInitializer)),
    "a function": lambda: with_layers(layers.Dense(3, kernel_initializer=own_initializer)),
    "a function of statistics": lambda: with_layers(
        layers.BatchNormalization(gamma_initializer=own_initializer)
    ),
}
OWN_COMPILED = {
    "a loss": lambda: compiled(loss=OwnLoss()),
    "an optimizer": lambda: compiled(optimizer=OwnOptimizer()),
    "a metric": lambda: compiled(metrics=[OwnMetric()]),
    "the class of a metric": lambda: compiled(metrics=["accuracy", OwnMetric]),
    "a metric's function": lambda: compiled(metrics=[own_metric]),
    "a lambda": lambda: compiled(metrics=[lambda y_true, y_pred: y_true * 0.0]),
    "a wrapped function": lambda: compiled(metrics=[metrics.MeanMetricWrapper(own_metric)]),
}


@pytest.mark.parametrize("what", [*OWN, *OWN_COMPILED])
def test_what_is_somebodys_own_is_refused_before_anything_is_written(path, what):
    path.write_bytes(b"what was there before")
    model = {**OWN, **OWN_COMPILED}[what]()
    said = r".* save\(include_optimizer=False\) does without" if what in OWN_COMPILED else ""
    with pytest.raises(TypeError, match=f"holds no code{said}"):
        model.save(path)
    if what in OWN:
        with pytest.raises(TypeError, match="holds no code"):
            model.save(path, include_optimizer=False)
        with pytest.raises(TypeError, match="holds no code"):
            model.to_json()
    assert path.read_bytes() == b"what was there before"
    assert os.listdir(path.parent) == [path.name]
    if what in OWN_COMPILED:
        model.save(path, include_optimizer=False)
        assert not load_model(path).compiled


@pytest.mark.parametrize("what", OWN)
def test_weights_of_somebodys_own_layers_are_saved(path, what):
    model = OWN[what]()
    for weight in model.weights:
        weight += 3
    model.save_weights(path)
    other = OWN[what]()
    other.load_weights(path)
    for there, here in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(there, here)


def test_a_model_without_a_shape_has_nothing_to_save(path):
    model = Sequential([layers.Dense(3)])
    for save in (model.save, model.save_weights, model.load_weights):
        with pytest.raises(ValueError, match=r"does not know its input's shape .* Input\(shape\)"):
            save(path)
    with pytest.raises(ValueError, match=r"load_weights\(\) needs; begin .* build\(shape\)$"):
        model.load_weights(path)
    with pytest.raises(ValueError, match="does not know its input's shape"):
        Sequential().save(path)
    assert os.listdir(path.parent) == []


def test_overwrite(path):
    model = mlp()
    for save in (model.save, model.save_weights):
        save(path, overwrite=False)
        content = path.read_bytes()
        with pytest.raises(FileExistsError, match=r"exists already; pass overwrite=True"):
            save(path, overwrite=False)
        assert path.read_bytes() == content
        save(path, overwrite=True)
        path.unlink()
        path.symlink_to("nothing")
        with pytest.raises(FileExistsError):
            save(path, overwrite=False)
        path.unlink()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"overwrite": 1}, TypeError, "overwrite must be True or False"),
        ({"include_optimizer": "no"}, TypeError, "include_optimizer must be True or False"),
        ({"save_format": "h5"}, TypeError, r"save\(\) has no argument 'save_format'"),
    ],
)
def test_arguments_of_save(path, arguments, error, message):
    with pytest.raises(error, match=message):
        mlp().save(path, **arguments)
    assert os.listdir(path.parent) == []


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = mlp()
    for save in (model.save, model.save_weights, model.load_weights, load_model):
        with pytest.raises(ValueError, match=r"must end in '\.tinynet', got 'x\.keras'"):
            save("x.keras")
        with pytest.raises(ValueError, match="begins with '~'"):
            save("~/x.tinynet")
        with pytest.raises(TypeError, match="path must be a str or an"):
            save(b"x.tinynet")
    assert os.listdir(tmp_path) == []
    os.mkdir("~")
    model.save("./~/x.tinynet")
    assert_same(model, load_model("./~/x.tinynet"))


@pytest.mark.parametrize("names", [("a", "a"), ("a/b", "c"), ("a", "")])
def test_names_that_do_not_tell_layers_apart(path, names):
    model = mlp()
    for layer, name in zip(model.layers, names, strict=True):
        layer.name = name
    outer = Sequential([model, layers.ReLU()])
    for each in (model, outer):
        for save in (each.save, each.save_weights):
            with pytest.raises(ValueError, match="each must have a name of its own"):
                save(path)
    assert os.listdir(path.parent) == []


def test_what_no_reader_would_take_is_not_written(path):
    model = Sequential([Input((8,)), layers.Dropout(0.5, seed=10**30)])
    with pytest.raises(ValueError, match="an integer of 31 digits"):
        model.save(path)
    model = Sequential([Input((8,)), layers.Dense(3, name="..")])
    with pytest.raises(ValueError, match="a tensor cannot be called"):
        model.save(path)
    assert os.listdir(path.parent) == []


# --- weights alone -------------------------------------------------------------------------------


def test_weights_alone(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.save_weights(path)
    other = mlp()
    other.load_weights(path)
    np.testing.assert_array_equal(other.predict(data()[0]), model.predict(data()[0]))
    again = path.with_name("again.tinynet")
    other.save_weights(again)
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(saving.MisfitError, match=r"weights alone; .*model\.load_weights\(path\)"):
        load_model(path)


def test_weights_out_of_a_whole_model(path):
    model = compiled()
    model.fit(*data(), verbose=0)
    model.save(path)
    other = mlp()
    arrays = dict(other.params)
    other.load_weights(path)
    for name, array in other.params.items():
        assert array is arrays[name]  # the arrays themselves stay, an optimizer knows them
        np.testing.assert_array_equal(array, model.params[name])


def test_state_is_among_the_weights(path):
    def make():
        return Sequential([Input((8,)), layers.BatchNormalization(name="norm")])

    model = make()
    model.forward(data()[0], training=True)
    model.save_weights(path)
    other = make()
    other.load_weights(path)
    for there, here in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize(("of", "to"), [("float32", "float64"), ("float64", "float32")])
def test_weights_of_another_dtype_are_converted(path, of, to):
    model, other = mlp(dtype=of), mlp(dtype=to)
    model.save_weights(path)
    other.load_weights(path)
    for there, here in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(there, here.astype(to), strict=True)


def other_models():
    """Models that a file of mlp() does not fit, and what must be said of it."""
    named = [Input((8,)), layers.Dense(5, name="first"), layers.Dense(3, name="dense_1")]
    return {
        "missing": (
            Sequential([Input((8,)), layers.Dense(5), layers.Dense(3), layers.Dense(2)]),
            r"the file lacks dense_2/kernel \(3, 2\), dense_2/bias \(2,\)$",
        ),
        "extra": (
            Sequential([Input((8,)), layers.Dense(5)]),
            r"the model has no dense_1/kernel \(5, 3\), dense_1/bias \(3,\)$",
        ),
        "other shapes": (
            mlp(classes=4),
            r"of another shape dense_1/kernel \(5, 4\) is \(5, 3\) in float32 there, dense_1/bias "
            r"\(4,\) is \(3,\) in float32 there$",
        ),
        "other names": (
            Sequential(named),
            r"the file lacks first/kernel \(8, 5\), first/bias \(5,\); the model has no "
            r"dense/kernel \(8, 5\), dense/bias \(5,\)$",
        ),
    }


@pytest.mark.parametrize("kind", ["missing", "extra", "other shapes", "other names"])
def test_what_does_not_fit_is_accounted_for(path, kind):
    source = mlp()
    source.save_weights(path)
    model, account = other_models()[kind]
    before = model.get_weights()
    with pytest.raises(saving.MisfitError, match=account.replace("$", "; skip_mismatch=True")):
        model.load_weights(path)
    for there, here in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(there, here)
    with pytest.warns(UserWarning, match=f"not all weights of .* were loaded: {account}") as caught:
        model.load_weights(path, skip_mismatch=True)
    assert caught[0].filename == __file__
    for name, array in model.params.items():
        fits = name in source.params and source.params[name].shape == array.shape
        expected = (
            source.params[name] if fits else dict(zip(model.params, before, strict=True))[name]
        )
        np.testing.assert_array_equal(array, expected)


def test_a_long_account_is_cut_short(path):
    layer_names = [f"layer {i}" for i in range(30)]
    many = [layers.Dense(1, name=name) for name in layer_names]
    Sequential([Input((1,)), *many]).save_weights(path)
    model = Sequential([Input((1,)), layers.Dense(1)])
    with pytest.raises(saving.MisfitError, match=r"layer 9/bias \(1,\) and 40 more; skip_mismatch"):
        model.load_weights(path)


def test_nothing_fits(path):
    mlp().save_weights(path)
    model = Sequential([Input((2,)), layers.Dense(2, name="other")])
    with pytest.raises(saving.MisfitError, match="has no weights for"):
        model.load_weights(path, skip_mismatch=True)
    with pytest.raises(TypeError, match="skip_mismatch must be True or False"):
        model.load_weights(path, skip_mismatch=2)


@pytest.mark.parametrize("skip_mismatch", [False, True])
def test_damaged_weights_change_nothing(path, skip_mismatch):
    mlp().save_weights(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last tensor, after all others were read
    path.write_bytes(content)
    model = mlp()
    before = model.get_weights()
    with pytest.raises(saving.CorruptError, match="'weights/dense_1/bias' is corrupt"):
        model.load_weights(path, skip_mismatch)
    for there, here in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(there, here)


def test_integers_are_no_weights(path):
    model = Sequential([Input((1,)), layers.Dense(1)])
    tensors = {
        f"weights/{key}": np.ones(array.shape, np.int64) for key, array in model.params.items()
    }
    saving.write(path, {"kind": "weights"}, tensors)
    with pytest.raises(
        saving.MisfitError, match=r"dense/kernel \(1, 1\) is \(1, 1\) in int64 there"
    ):
        model.load_weights(path)


# --- architecture alone --------------------------------------------------------------------------


def everything():
    """A model with one layer of each kind that fits behind images."""
    return Sequential(
        [
            Input((12, 12, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", kernel_initializer=initializers.HeNormal(seed=1)),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.1),
            layers.MaxPooling2D(),
            Sequential([layers.Conv2D(2, (3, 2)), layers.Tanh()], name="inner"),
            layers.Dropout(0.25, seed=4),
            layers.Reshape((-1, 2)),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ],
        name="everything",
    )


def without_weights(model):
    return {name: array.shape for name, array in {**model.params, **model.state}.items()}


@pytest.mark.parametrize("indent", [None, 2])
def test_the_architecture_as_json(indent):
    model = everything()
    text = model.to_json(indent=indent)
    assert json.loads(text)["class_name"] == "Sequential"
    other = model_from_json(text)
    assert other.get_config() == model.get_config()
    assert without_weights(other) == without_weights(model)
    assert other.to_json(indent=indent) == text
    kernels = [each.get_layer("conv2d").params["kernel"] for each in (model, other)]
    np.testing.assert_array_equal(*kernels)  # its initializer has a seed
    assert not np.array_equal(other.layers[-1].weights[0], model.layers[-1].weights[0])


def test_json_of_a_model_without_a_shape():
    model = Sequential([layers.Dense(3), layers.Dense(2)])
    other = model_from_json(model.to_json())
    assert not other.built
    assert other.get_config() == model.get_config()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "not JSON"),
        ("{", ValueError, "not JSON"),
        ("[]", TypeError, "a model must be described by a dict"),
        ("{}", TypeError, "a model must be described by a dict"),
        ('{"class_name":"Dense","config":{"units":3}}', ValueError, "unknown model 'Dense'"),
        ('{"class_name":"Sequential","config":{"layers":3}}', TypeError, "not iterable"),
        ('{"class_name":"Sequential","config":{"layers":[3]}}', TypeError, "a layer must be"),
        ('{"class_name":"Sequential","config":{"units":3}}', TypeError, "no argument 'units'"),
        (
            '{"class_name":"Sequential","config":{"layers":[{"class_name":"X","config":{}}]}}',
            ValueError,
            "unknown layer 'X'",
        ),
        ('{"a":1,"a":2}', ValueError, "twice"),
        (b"{}", TypeError, "json_string must be a string"),
        (None, TypeError, "json_string must be a string"),
        ("\ud800", ValueError, "surrogates"),
    ],
)
def test_json_of_no_model(text, error, message):
    with pytest.raises(error, match=message):
        model_from_json(text)


def test_get_config_and_from_config():
    model = everything()
    other = Sequential.from_config(model.get_config())
    assert other.get_config() == model.get_config()
    assert without_weights(other) == without_weights(model)
    config = json.loads(json.dumps(model.get_config()))  # tuples become lists
    assert Sequential.from_config(config).get_config() == model.get_config()


def test_a_clone_is_a_new_model_of_the_same_layers():
    model = everything()
    model.trainable = False
    model.layers[1].trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    clone = clone_model(model)
    assert clone.get_config() == model.get_config()
    assert without_weights(clone) == without_weights(model)
    assert not clone.compiled
    mine = [part for layer in model.layers for part in (layer, *layer.inner_layers())]
    others = [part for layer in clone.layers for part in (layer, *layer.inner_layers())]
    assert len(mine) == len(others) == 12
    assert not {id(part) for part in mine} & {id(part) for part in others}
    assert [part.trainable for part in mine] == [part.trainable for part in others]
    before = model.get_weights()
    for weight in clone.weights:
        weight += 1
    for there, here in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(there, here)
    clone.set_weights(before)
    x = np.random.default_rng(0).random((3, 12, 12, 1))
    np.testing.assert_array_equal(clone.predict(x), model.predict(x))


def test_a_clone_of_a_model_without_a_shape():
    model = Sequential([layers.Dense(3), layers.Dense(2)], name="late", dtype="float64")
    clone = clone_model(model)
    assert clone.get_config() == model.get_config()
    assert not clone.built


def test_a_clone_of_somebodys_own_layers():
    model = Sequential(
        [Input((8,)), OwnLayer(name="mine"), OwnDense(3, kernel_initializer=own_initializer)]
    )
    clone = clone_model(model)
    assert [type(layer) for layer in clone.layers] == [OwnLayer, OwnDense]
    assert clone.layers[0] is not model.layers[0]
    assert clone.layers[0].name == "mine"
    assert not clone.layers[1].weights[0].any()


def test_a_clone_with_other_layers():
    def clone_function(layer):
        if isinstance(layer, layers.LeakyReLU):
            return layers.ReLU(name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = clone_model(everything(), clone_function)
    assert isinstance(clone.get_layer("leaky_re_lu"), layers.ReLU)
    assert [layer.name for layer in clone.layers] == [layer.name for layer in everything().layers]
    with pytest.raises(TypeError, match="clone_model takes a Sequential, got"):
        clone_model(layers.Dense(3))


# --- architectures by chance ---------------------------------------------------------------------

NUMBERS = st.floats(0, 1, width=32)
SEEDS = st.none() | st.integers(0, 2**63 - 1)
ACTIVATIONS = st.sampled_from(["linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax"])
INITIALIZERS = st.sampled_from(
    ["glorot_uniform", "HeNormal", "ones", initializers.HeUniform(3), initializers.GlorotNormal]
)
ANYWHERE = [
    st.builds(
        layers.BatchNormalization, momentum=NUMBERS, center=st.booleans(), scale=st.booleans()
    ),
    st.builds(layers.Dropout, st.floats(0, 0.9), seed=SEEDS),
    st.builds(layers.Activation, ACTIVATIONS),
    st.builds(layers.LeakyReLU, NUMBERS),
    st.builds(layers.Rescaling, NUMBERS, NUMBERS),
    st.builds(layers.ReLU, trainable=st.booleans()),
    st.builds(layers.Sigmoid) | st.builds(layers.Tanh) | st.builds(layers.Softmax),
    st.builds(layers.Reshape, st.just((-1, 1))),
    st.builds(
        layers.Dense, st.integers(1, 5), ACTIVATIONS, st.booleans(), INITIALIZERS,
        trainable=st.booleans(),
    ),
]  # fmt: skip
PADDINGS = st.sampled_from(["same", "valid"])
WINDOWS = st.integers(1, 2) | st.tuples(st.integers(1, 2), st.integers(1, 2))
ON_IMAGES = [
    st.builds(layers.Conv2D, st.integers(1, 3), WINDOWS, WINDOWS, PADDINGS, activation=ACTIVATIONS),
    st.builds(layers.MaxPooling2D, WINDOWS, st.none() | WINDOWS, PADDINGS),
    st.builds(layers.AveragePooling2D, WINDOWS, padding=st.just("same")),
    st.builds(layers.GlobalAveragePooling2D, keepdims=st.booleans()),
    st.builds(layers.Flatten),
]


@st.composite
def architectures(draw, depth=2):
    """Layers one after another, as far as each fits, and models among them."""
    shape = draw(st.sampled_from([(3,), (2, 3), (5, 4, 2), (6, 6, 1)]))
    return draw(models_for(shape, draw(st.sampled_from(["float32", "float64"])), depth))


@st.composite
def models_for(draw, shape, dtype, depth):
    model = Sequential([Input(shape)], dtype=dtype, name=draw(st.sampled_from(["a", "b", None])))
    for _ in range(draw(st.integers(1, 5))):
        if depth and draw(st.integers(0, 4)) == 0:
            layer = draw(models_for(model._end_shape(), dtype, depth - 1))
        else:
            layer = draw(st.one_of(*(ON_IMAGES if len(model._end_shape()) == 3 else []), *ANYWHERE))
        try:
            model.add(layer)
        except ValueError:  # a window that does not fit, a name that is taken
            continue
    if not model.layers:
        model.add(layers.ReLU())
    return model


@settings(max_examples=100)
@given(
    architectures(), st.sampled_from([None, *OPTIMIZERS]), st.integers(0, 3), st.integers(0, 2**32)
)
def test_any_architecture_comes_back(tmp_path_factory, model, optimizer, steps, seed):
    path = tmp_path_factory.mktemp("chance") / "model.tinynet"
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, *model.input_shape))
    y = rng.standard_normal((4, *model.output_shape(model.input_shape)))
    trains = optimizer is not None and model.trainable_params
    if optimizer is not None:
        model.compile(optimizer(), "mse", metrics=["mae"])
    with np.errstate(all="ignore"):  # some diverge
        for _ in range(steps if trains else 0):
            model.train_on_batch(x, y)
        loaded = assert_comes_back(model, path, x)
        for each in (model, loaded) if trains else ():
            random.set_random_seed(seed)
            each.train_on_batch(x, y)
    assert_same(model, loaded)


# --- memory --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 108 MB: a kernel of 36 MB and its two slots."""
    dense = layers.Dense(3000, kernel_initializer="zeros")
    model = compiled(Sequential([Input((3000,)), dense]), "adam", "mse")
    model.train_on_batch(np.ones((1, 3000)), np.ones((1, 3000)))
    path = tmp_path_factory.mktemp("large") / "large.tinynet"
    model.save(path)
    return path


def test_loading_allocates_the_tensors_and_little_more(large):
    with saving.ModelFile(large) as file:
        tensors = sum(tensor.bytes for tensor in file.tensors.values())
    assert tensors > 100e6
    tracemalloc.start()
    try:
        model = load_model(large)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now > tensors
    assert peak < tensors + 10e6
    assert model.optimizer.iterations == 1


def test_saving_allocates_little(large, tmp_path):
    model = load_model(large)
    tracemalloc.start()
    try:
        model.save(tmp_path / "again.tinynet")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6
    assert (tmp_path / "again.tinynet").read_bytes() == large.read_bytes()


PEAK = """
import sys, tinynet

def of_status(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

before = of_status("VmRSS")
model = tinynet.models.load_model(sys.argv[1])
print(of_status("VmHWM") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux counts the pages")
def test_a_process_grows_by_the_tensors_and_little_more(large):
    ended = subprocess.run(
        [sys.executable, "-c", PEAK, str(large)], capture_output=True, text=True, check=True
    )
    assert 100e6 < int(ended.stdout) < large.stat().st_size + 10e6
