"""Models that are frozen, copied, pickled, forked, or made of somebody's own layers."""

import copy
import multiprocessing
import os
import pickle

import numpy as np
import pytest

import tinynet
from tinynet import Input, Model, Sequential, kernels, layers, utils


def data(n=20):
    rng = np.random.default_rng(0)
    return rng.random((n, 8), np.float32), np.arange(n) % 3


def base():
    return Sequential([Input((8,)), layers.Dense(5), layers.BatchNormalization()])


def compiled(*parts):
    model = Sequential(parts)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("depth", [1, 2])
def test_a_frozen_model_does_not_change_inside_another(depth):
    frozen = base()
    outer = frozen if depth == 1 else Sequential([frozen])
    outer.trainable = False
    assert not any(layer.trainable for layer in frozen.layers)
    model = compiled(outer, layers.Dense(3, activation="softmax"))
    before = frozen.get_weights()
    model.fit(*data(), verbose=0)
    for old, new in zip(before, frozen.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_trainable_is_true_or_false():
    with pytest.raises(TypeError, match="trainable must be True or False, got 'no'"):
        layers.Dense(3).trainable = "no"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_the_seed_reaches_the_dropout_of_a_copy(copied):
    original = compiled(Input((8,)), layers.Dropout(0.5), layers.Dense(3, activation="softmax"))
    model, losses = copied(original), []
    start = model.get_weights()
    for _ in range(2):
        model.set_weights(start)
        model.compile("sgd", "sparse_categorical_crossentropy")
        utils.set_random_seed(5)
        losses.append(model.fit(*data(), verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_a_trained_model_does_not_keep_the_data():
    model = compiled(Input((8,)), layers.Dense(3, activation="softmax"))
    size = len(pickle.dumps(model))
    x, y = data(5000)
    model.fit(x, y, 5000, verbose=0)
    assert len(pickle.dumps(model)) < size + 20_000
    with pytest.raises(ValueError, match=r"needs a forward\(x, training=True\) before it"):
        model.backward(np.zeros((5000, 3), np.float32))


class Doubled(layers.Layer):
    """A last layer of somebody's own, which knows nothing of logits."""

    output_activation = "softmax"

    def forward(self, x, training=False):
        y = kernels.softmax(self.check_input(x))
        if training:
            self.keep(y)
        return y

    def backward(self, dy):
        dy, (y,) = self.recall(dy)
        return kernels.softmax_gradient(dy, y)


def test_a_last_layer_of_your_own_trains_with_cross_entropy():
    own = compiled(Input((8,)), layers.Dense(3), Doubled())
    usual = compiled(Input((8,)), layers.Dense(3), layers.Softmax())
    usual.set_weights(own.get_weights())
    losses = [m.fit(*data(), shuffle=False, verbose=0).history["loss"][0] for m in (own, usual)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("layer", [layers.Dense(3), layers.Flatten(), layers.ReLU(), base()])
def test_a_layer_called_on_a_layer_is_refused_by_name(layer):
    with pytest.raises(TypeError, match=r"called on a layer, .* chained by Sequential"):
        layer(Input((8,)))


def test_a_model_of_inputs_and_outputs_is_refused_by_name():
    with pytest.raises(TypeError, match=r"chain layers by Sequential"):
        Model(Input((8,)), layers.Dense(3))
    with pytest.raises(TypeError, match="Model has no argument 'inputs' or 'outputs'"):
        Model(inputs=Input((8,)), outputs=layers.Dense(3))


def train_large(seed):
    """A loss that comes from kernels which use several threads, where they may."""
    utils.set_random_seed(seed)
    model = compiled(Input((300,)), layers.Dense(400, "relu"), layers.Dense(3, "softmax"))
    x = np.random.default_rng(0).random((512, 300), np.float32)
    return model.fit(x, np.arange(512) % 3, 256, verbose=0).history["loss"][0]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking with threads
def test_a_process_forked_after_training_trains_the_same():
    if not hasattr(os, "fork"):
        return  # nothing to fork with, nothing to break
    here = train_large(1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(train_large, [1, 1]).get(timeout=60) == [here, here]
    assert train_large(1) == here


def test_the_short_names_of_keras():
    assert tinynet.layers.MaxPool2D is layers.MaxPooling2D
    assert tinynet.layers.AvgPool2D is layers.AveragePooling2D
    assert tinynet.layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
