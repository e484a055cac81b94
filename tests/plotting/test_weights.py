from itertools import combinations

import numpy as np
import pytest
from legible import complaints

from tinynet import Input, Sequential, layers
from tinynet.plotting import kernels


def tiles(figure, height, width):
    """The pictures in the panel, from left to right and from top to bottom, none over another."""
    images = figure.axes[0].images
    places = [image.get_extent() for image in images]  # left, right, bottom, top
    assert places == sorted(places, key=lambda place: (place[3], place[0]))
    for a, b in combinations(places, 2):
        assert a[1] < b[0] or b[1] < a[0] or a[2] < b[3] or b[2] < a[3]
    for left, right, bottom, top in places:
        assert (bottom - top, right - left) == pytest.approx((height, width))
    return [np.ma.filled(image.get_array(), np.nan) for image in images]


def built(layer, shape):
    Sequential([Input(shape), layer])
    return layer


def title(figure):
    return figure.axes[0].get_title().replace("\n", " ")


class TestConvolution:
    def test_every_filter_of_the_first_layer(self, cnn):
        kernel = cnn.get_layer("conv2d").params["kernel"]
        for given in (cnn, cnn.get_layer("conv2d")):
            figure = kernels(given)
            drawn = tiles(figure, 3, 3)
            assert len(drawn) == 8
            for i, tile in enumerate(drawn):
                np.testing.assert_array_equal(tile, kernel[:, :, 0, i])
            high = np.abs(kernel).max()
            assert figure.axes[0].images[0].get_clim() == pytest.approx((-high, high))
            assert title(figure) == "conv2d: 8 filters of 3×3"
            assert complaints(figure) == []

    def test_the_mean_over_several_channels(self, cnn):
        layer = cnn.get_layer("conv2d_1")
        figure = kernels(layer)
        drawn = tiles(figure, 3, 3)
        for i, tile in enumerate(drawn):
            np.testing.assert_allclose(tile, layer.params["kernel"][..., i].mean(axis=2), atol=1e-7)
        assert title(figure) == "conv2d_1: 6 filters of 3×3, mean over 8 input channels"

    def test_or_one_of_them(self, cnn):
        layer = cnn.get_layer("conv2d_1")
        figure = kernels(layer, channel=5)
        np.testing.assert_array_equal(tiles(figure, 3, 3)[2], layer.params["kernel"][:, :, 5, 2])
        assert title(figure) == "conv2d_1: 6 filters of 3×3, input channel 5"

    @pytest.mark.parametrize("filters", [1, 2, 17])
    def test_any_shape_and_number(self, filters):
        layer = built(layers.Conv2D(filters, (2, 5)), (8, 8, 1))
        figure = kernels(layer)
        drawn = tiles(figure, 2, 5)
        assert len(drawn) == filters
        np.testing.assert_array_equal(drawn[-1], layer.params["kernel"][:, :, 0, -1])
        assert complaints(figure) == []

    def test_the_first_so_many(self):
        layer = built(layers.Conv2D(100, 3), (8, 8, 1))
        assert len(tiles(kernels(layer), 3, 3)) == 64
        assert len(tiles(kernels(built(layers.Dense(30), (4,))), 2, 2)) == 25
        figure = kernels(layer, count=5)
        assert len(tiles(figure, 3, 3)) == 5
        assert title(figure) == "conv2d: 5 of 100 filters of 3×3"

    @pytest.mark.parametrize("value", [0.0, np.nan])
    def test_of_one_value(self, value):
        layer = built(layers.Conv2D(3, 3), (8, 8, 1))
        layer.params["kernel"][...] = value
        assert complaints(kernels(layer)) == []


class TestDense:
    def test_units_as_images_of_the_inputs(self, mlp):
        kernel = mlp.get_layer("dense").params["kernel"]
        for given in (mlp, mlp.get_layer("dense")):
            figure = kernels(given)
            drawn = tiles(figure, 28, 28)
            assert len(drawn) == 20
            for unit, tile in enumerate(drawn):
                np.testing.assert_array_equal(tile, kernel[:, unit].reshape(28, 28))
            assert title(figure) == "dense: 20 units of 28×28"
            assert complaints(figure) == []

    def test_of_the_shape_of_the_models_inputs(self):
        model = Sequential([Input((4, 9, 1)), layers.Flatten(), layers.Dense(3)])
        kernel = model.layers[1].params["kernel"]
        np.testing.assert_array_equal(tiles(kernels(model), 4, 9)[1], kernel[:, 1].reshape(4, 9))
        np.testing.assert_array_equal(  # alone it knows nothing of that: a square
            tiles(kernels(model.layers[1]), 6, 6)[1], kernel[:, 1].reshape(6, 6)
        )

    def test_of_the_shape_given(self):
        layer = built(layers.Dense(2), (24,))
        drawn = tiles(kernels(layer, image_shape=(2, 4, 3)), 2, 4)
        expected = layer.params["kernel"][:, 0].reshape(2, 4, 3).mean(axis=2)
        np.testing.assert_allclose(drawn[0], expected, rtol=1e-6)

    def test_no_image_is_refused(self):
        layer = built(layers.Dense(2), (24,))
        with pytest.raises(ValueError, match="the 24 inputs of Dense 'dense' make no square image"):
            kernels(layer)
        with pytest.raises(ValueError, match=r"of the 24 inputs of Dense 'dense', got \(5, 5\)"):
            kernels(layer, image_shape=(5, 5))


class TestRefuses:
    def test_a_layer_without_a_kernel(self, cnn):
        message = "MaxPooling2D 'max_pooling2d' has no kernel to draw; pass a Conv2D or Dense layer"
        with pytest.raises(ValueError, match=message):
            kernels(cnn.get_layer("max_pooling2d"))

    def test_a_model_without_one(self):
        model = Sequential([Input((4,)), layers.ReLU(), layers.BatchNormalization()])
        with pytest.raises(ValueError, match="Sequential 'sequential' has no layer with a kernel"):
            kernels(model)

    def test_a_layer_without_weights_yet(self):
        with pytest.raises(ValueError, match="has no weights before it knows its input's shape"):
            kernels(layers.Dense(3))

    @pytest.mark.parametrize("wrong", [None, np.zeros((3, 3, 1, 4)), layers.Conv2D])
    def test_what_is_no_layer(self, wrong):
        with pytest.raises(TypeError, match="layer must be a layer or a model, got"):
            kernels(wrong)

    def test_a_kernel_of_another_shape(self):
        layer = built(layers.Dense(2), (4,))
        layer.params["kernel"] = np.zeros((3, 4, 5))
        with pytest.raises(ValueError, match=r"Dense 'dense' has a kernel of shape \(3, 4, 5\)"):
            kernels(layer)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"channel": 1}, "channel must be below the 1 input channels of Conv2D 'conv2d', got"),
            ({"channel": -1}, "channel must be an integer of at least 0, got -1"),
            ({"count": 0}, "count must be an integer of at least 1, got 0"),
        ],
    )
    def test_numbers_out_of_range(self, cnn, arguments, message):
        with pytest.raises(ValueError, match=message):
            kernels(cnn, **arguments)

    def test_a_model_in_a_model_has_kernels(self):
        inner = Sequential([layers.Conv2D(2, 3), layers.Flatten()])
        model = Sequential([Input((5, 5, 1)), layers.ReLU(), inner, layers.Dense(2)])
        assert title(kernels(model)) == "conv2d: 2 filters of 3×3"
