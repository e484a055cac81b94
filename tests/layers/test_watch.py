import numpy as np
import pytest

from tinynet import Input, Sequential, layers
from tinynet.layers.watch import leaf_layers, watched


@pytest.fixture
def model():
    inner = Sequential([layers.Dense(3, activation="relu"), layers.ReLU()], name="inner")
    return Sequential([Input((2, 2)), layers.Flatten(), inner, layers.Dense(2)], name="outer")


def test_leaf_layers_are_those_without_layers_inside(model):
    inner = model.layers[1]
    assert leaf_layers(model) == {
        "flatten": model.layers[0],
        "inner/dense": inner.layers[0],
        "inner/re_lu": inner.layers[1],
        "dense": model.layers[2],
    }
    assert list(leaf_layers(model)) == ["flatten", "inner/dense", "inner/re_lu", "dense"]


def test_a_layer_alone_has_none():
    assert leaf_layers(layers.Dense(3)) == {}


class TestWatched:
    def test_every_output_is_shown(self, model):
        x = np.ones((5, 2, 2), "float32")
        expected = model.forward(x)
        seen = {}
        with watched(leaf_layers(model), seen.__setitem__):
            np.testing.assert_array_equal(model.forward(x), expected)
        assert list(seen) == ["inner/dense", "inner/re_lu", "dense"]
        np.testing.assert_array_equal(seen["dense"], expected)

    def test_in_training_too(self, model):
        x, dy = np.ones((5, 2, 2), "float32"), np.ones((5, 2), "float32")
        model.forward(x, training=True)
        expected = model.backward(dy)
        with watched(leaf_layers(model), lambda name, y: None):
            model.forward(x, training=True, logits=True)
            np.testing.assert_array_equal(model.backward(dy), expected)

    def test_nothing_stays_behind(self, model):
        def fails(name, y):
            raise RuntimeError(name)

        leaves = leaf_layers(model)
        with pytest.raises(RuntimeError, match="inner/dense"), watched(leaves, fails):
            model.forward(np.ones((5, 2, 2), "float32"))
        assert all("forward" not in vars(layer) for layer in leaves.values())

    def test_a_forward_of_the_instances_own_comes_back(self, model):
        layer = model.layers[2]
        layer.forward = own = lambda x, training=False, logits=False: x[:, :2] * 0
        seen = {}
        with watched({"dense": layer}, seen.__setitem__):
            model.forward(np.ones((5, 2, 2), "float32"))
        assert layer.forward is own
        np.testing.assert_array_equal(seen["dense"], np.zeros((5, 2)))
