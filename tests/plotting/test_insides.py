import copy

import numpy as np
import pytest
from legible import complaints

from tinynet import Input, Sequential, layers, random
from tinynet.datasets.fashion_mnist import class_names
from tinynet.plotting import feature_maps, occlusion, saliency
from tinynet.plotting.insides import probability_falls, score_gradient


def shown(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def state_of(model):
    return copy.deepcopy([model.weights, model.grads, random.generator().bit_generator.state])


def same(one, other):
    assert one[2] == other[2]
    for a, b in zip([*one[0], *one[1].values()], [*other[0], *other[1].values()], strict=True):
        np.testing.assert_array_equal(a, b)


class TestFeatureMaps:
    def test_of_every_convolution_and_pooling(self, cnn, photos):
        image = photos[0][3][..., None]
        figure = feature_maps(cnn, image)
        np.testing.assert_array_equal(shown(figure.axes[0]), photos[0][3])
        assert [ax.get_title() for ax in figure.axes] == [
            "image",
            "conv2d (Conv2D)\n8 maps of 26×26",
            "max_pooling2d (MaxPooling2D)\n8 maps of 13×13",
            "conv2d_1 (Conv2D)\n6 maps of 11×11",
            "average_pooling2d (AveragePooling2D)\n6 maps of 5×5",
        ]
        y, maps = image[None].astype("float32"), []
        for layer in cnn.layers:
            y = layer.forward(y)
            if "conv" in layer.name or "pooling" in layer.name:
                maps.append(y[0])
        for ax, expected in zip(figure.axes[1:], maps, strict=True):
            for c, tile in enumerate(ax.images):
                np.testing.assert_array_equal(tile.get_array(), expected[..., c])
                assert tile.get_clim() == pytest.approx((expected.min(), expected.max()))
            assert len(ax.images) == expected.shape[2]
        assert complaints(figure) == []

    def test_the_first_so_many(self, cnn, photos):
        figure = feature_maps(cnn, photos[0][3][..., None], count=2)
        assert figure.axes[1].get_title() == "conv2d (Conv2D)\n2 of 8 maps of 26×26"

    def test_with_a_batch_axis(self, cnn, photos):
        figure = feature_maps(cnn, photos[0][3][None, ..., None])
        np.testing.assert_array_equal(shown(figure.axes[0]), photos[0][3])

    def test_in_a_model_in_the_model(self, photos):
        inner = Sequential([layers.Conv2D(2, 3, name="a_convolution_of_a_long_name" * 2)])
        model = Sequential([Input((28, 28, 1)), inner, layers.GlobalAveragePooling2D()])
        figure = feature_maps(model, photos[0][0][..., None])
        assert figure.axes[1].get_title().startswith("sequential/a_convolution_of")
        assert complaints(figure) == []

    def test_leaves_the_model_alone(self, cnn, photos):
        before = state_of(cnn)
        feature_maps(cnn, photos[0][0][..., None])
        same(state_of(cnn), before)
        assert all("forward" not in vars(layer) for layer in cnn.layers)

    def test_nan(self, cnn):
        assert complaints(feature_maps(cnn, np.full((28, 28, 1), np.nan))) == []

    def test_a_model_without_them(self, mlp, photos):
        with pytest.raises(ValueError, match="has no Conv2D or pooling layers, whose outputs are"):
            feature_maps(mlp, photos[0][0])


@pytest.mark.parametrize("picture", [feature_maps, saliency, occlusion])
class TestAnImage:
    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((28, 28), r"got \(28, 28\); add the channel axis: image\[..., None\]"),
            ((5, 28, 28, 1), r"got \(5, 28, 28, 1\); choose one: image\[0\]"),
            ((28, 28, 1, 1), r"take the channel axis off: image\[..., 0\]"),
            ((784,), r"image.reshape\(\(28, 28, 1\)\)"),
            ((27, 28, 1), r"of shape \(28, 28, 1\), got \(27, 28, 1\)$"),
        ],
    )
    def test_must_fit_the_model(self, cnn, picture, shape, message):
        with pytest.raises(ValueError, match=message):
            picture(cnn, np.zeros(shape))

    def test_must_be_numbers(self, cnn, picture):
        with pytest.raises(TypeError, match="image must be an array of numbers, got"):
            picture(cnn, "photo.png")

    def test_must_be_one(self, picture):
        model = Sequential([layers.Dense(3, activation="softmax", input_shape=(7,))])
        with pytest.raises(ValueError, match=r"inputs of shape \(7,\), which are no images"):
            picture(model, np.zeros(7))

    def test_needs_a_model_with_weights(self, picture):
        with pytest.raises(TypeError, match="model must be a model, got 'cnn'"):
            picture("cnn", np.zeros((28, 28, 1)))
        with pytest.raises(ValueError, match="does not know its input's shape and has no weights"):
            picture(Sequential([layers.Dense(2)]), np.zeros((28, 28, 1)))


def numeric(model, x, label, pixels):
    """The slope of a class's score, by moving pixels; in double precision."""
    twin = Sequential([Input(model.input_shape), *map(again, model.layers)], dtype="float64")
    twin.set_weights(model.get_weights())
    slopes = []
    for pixel in pixels:
        scores = []
        for step in (1e-4, -1e-4):
            moved = x.astype("float64")
            moved[(0, *pixel)] += step
            scores.append(twin.forward(moved, logits=True)[0, label])
        slopes.append((scores[0] - scores[1]) / 2e-4)
    return slopes


def again(layer):
    return type(layer).from_config(layer.get_config())


class TestSaliency:
    def test_is_the_gradient_of_the_score_in_inference(self, cnn, photos):
        # Noise, as in an even background all windows of the max pooling have ties.
        x = photos[0][5][None, ..., None] + np.random.default_rng(0).random((1, 28, 28, 1)) * 9
        x = x.astype("float32")
        pixels = [(9, 9, 0), (14, 13, 0), (20, 15, 0), (3, 14, 0)]
        for label in (0, 7):
            gradient = score_gradient(cnn, x, label)
            assert gradient.shape == (28, 28, 1)
            found = [gradient[pixel] for pixel in pixels]
            assert found == pytest.approx(numeric(cnn, x, label, pixels), rel=1e-2, abs=1e-5)

    def test_of_logits(self, mlp, photos):
        x = photos[0][5][None].astype("float32")
        pixels = [(9, 9), (14, 13), (20, 15)]
        found = [score_gradient(mlp, x, 2)[pixel] for pixel in pixels]
        assert found == pytest.approx(numeric(mlp, x, 2, pixels), rel=1e-2, abs=1e-5)

    def test_two_panels(self, cnn, photos):
        image = photos[0][5][..., None]
        p = cnn.predict(image[None], verbose=0)[0]
        figure = saliency(cnn, image, class_names=class_names)
        picture, heat, scale = figure.axes
        np.testing.assert_array_equal(shown(picture), photos[0][5])
        expected = np.abs(score_gradient(cnn, image[None].astype("float32"), int(p.argmax())))
        np.testing.assert_array_equal(shown(heat), expected[..., 0])
        assert picture.get_title() == f"{class_names[p.argmax()]}, {p.max():.0%}"
        assert heat.get_title() == "saliency"
        assert scale.get_ylabel() == "|d score / d pixel|"
        assert complaints(figure) == []

    def test_of_another_class(self, cnn, photos):
        image = photos[0][5][..., None]
        p = cnn.predict(image[None], verbose=0)[0]
        assert saliency(cnn, image, 3).axes[0].get_title() == f"3, {p[3]:.0%}"

    def test_the_largest_of_three_channels(self):
        model = Sequential(
            [Input((4, 4, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")]
        )
        image = np.random.default_rng(0).random((4, 4, 3))
        kernel = model.layers[1].params["kernel"][:, 1].reshape(4, 4, 3)
        figure = saliency(model, image, 1)
        np.testing.assert_allclose(shown(figure.axes[1]), np.abs(kernel).max(axis=2), rtol=1e-6)
        np.testing.assert_allclose(shown(figure.axes[0]), image, rtol=1e-6)

    def test_of_one_output_for_two_classes(self):
        model = Sequential([layers.Dense(1, activation="sigmoid", input_shape=(4,))])
        kernel = model.layers[0].params["kernel"][:, 0]
        x = np.ones((1, 4), "float32")
        np.testing.assert_allclose(score_gradient(model, x, 1), kernel)
        np.testing.assert_allclose(score_gradient(model, x, 0), -kernel)

    def test_leaves_the_model_alone(self, cnn, photos):
        before = state_of(cnn)
        saliency(cnn, photos[0][0][..., None])
        same(state_of(cnn), before)
        assert cnn.trainable
        assert cnn.get_layer("dropout").rate == 0.3


@pytest.mark.parametrize("picture", [saliency, occlusion])
class TestALabel:
    @pytest.mark.parametrize(
        ("label", "error", "message"),
        [
            (10, ValueError, "from 0 to 9, as Sequential 'sequential' predicts 10 classes, got 10"),
            (-1, ValueError, "label must be a class index from 0 to 9, as .* got -1"),
            (1.0, TypeError, "label must be a class index from 0 to 9, got 1.0 of type float"),
            (True, TypeError, "label must be a class index from 0 to 9, got True"),
        ],
    )
    def test_is_a_class(self, cnn, photos, picture, label, error, message):
        with pytest.raises(error, match=message):
            picture(cnn, photos[0][0][..., None], label)

    def test_names_are_as_many_as_the_classes(self, cnn, photos, picture):
        with pytest.raises(ValueError, match=r"class_names must have 10 names, as .*, got 2"):
            picture(cnn, photos[0][0][..., None], class_names=["a", "b"])

    def test_a_long_name(self, cnn, photos, picture):
        names = [f"{name}, with a long description of what it is" for name in class_names]
        assert complaints(picture(cnn, photos[0][0][..., None], 2, names)) == []


class TestOcclusion:
    @pytest.mark.parametrize(("size", "stride"), [(4, 2), (7, 3), (5, 5), (28, 1), (1, 9)])
    def test_against_a_loop(self, mlp, photos, size, stride):
        image = photos[0][1].astype("float32")
        p = mlp.predict(image[None], verbose=0)
        label, whole = 4, np.exp(p[0, 4]) / np.exp(p).sum()
        places = sorted({*range(0, 28 - size + 1, stride), 28 - size})
        falls = [[[] for _ in range(28)] for _ in range(28)]
        for r in places:
            for c in places:
                covered = image.copy()
                covered[r : r + size, c : c + size] = 9.0
                z = mlp.predict(covered[None], verbose=0)
                fall = whole - np.exp(z[0, label]) / np.exp(z).sum()
                for i in range(r, r + size):
                    for j in range(c, c + size):
                        falls[i][j].append(fall)
        expected = [[np.mean(f) if f else 0 for f in row] for row in falls]
        found = probability_falls(mlp, image[None], label, (28, 28), size, stride, 9.0)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_two_panels(self, cnn, photos):
        image = photos[0][5][..., None]
        figure = occlusion(cnn, image, 5, class_names, size=6)
        picture, heat, scale = figure.axes
        expected = probability_falls(
            cnn, image[None].astype("float32"), 5, (28, 28), size=6, stride=3, fill=0.0
        )
        np.testing.assert_array_equal(shown(heat), expected)
        low, high = heat.images[0].get_clim()
        assert -low == high == pytest.approx(np.abs(expected).max())
        assert picture.get_title().startswith("Sandal, ")
        assert heat.get_title() == "occlusion by 6×6"
        assert scale.get_ylabel() == "fall of the probability"
        assert complaints(figure) == []

    def test_the_image_stays_as_it_is(self, cnn, photos):
        image = photos[0][5][..., None].astype("float32")
        before = image.copy()
        occlusion(cnn, image)
        np.testing.assert_array_equal(image, before)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"size": 29}, "size must not be larger than the image, 28×28, got 29"),
            ({"size": 0}, "size must be an integer of at least 1, got 0"),
            ({"stride": 0}, "stride must be an integer of at least 1, got 0"),
            ({"fill": np.nan}, "fill must be a finite number, got nan"),
        ],
    )
    def test_refuses(self, mlp, photos, arguments, message):
        with pytest.raises(ValueError, match=message):
            occlusion(mlp, photos[0][0], **arguments)
