import numpy as np
import pytest
from legible import complaints

from tinynet import Input, Sequential, layers, losses
from tinynet.datasets.fashion_mnist import class_names
from tinynet.plotting import mistakes, predictions
from tinynet.plotting.figures import BLUE, INK, VERMILION
from tinynet.plotting.subject import class_probabilities


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def fixed(rows, *last):
    """A model that answers image i, all pixels of which are i, with row i."""
    rows = np.asarray(rows, np.float32)
    model = Sequential([Input((2, 2)), layers.Flatten(), layers.Dense(rows.shape[1]), *last])
    kernel = np.zeros((4, rows.shape[1]), np.float32)
    # Linear in the pixels' value i: enough for two rows.
    kernel[0] = rows[1] - rows[0] if len(rows) > 1 else 0
    model.layers[1].set_weights([kernel, rows[0]])
    images = np.arange(len(rows), dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    return model, images


def heads(figure):
    return [ax.get_title(loc="left") for ax in figure.axes[::2]]


def colours(figure):
    return [ax._left_title.get_color() for ax in figure.axes[::2]]


def shown_bars(ax):
    """Class name -> length of its bar, from top to bottom."""
    names = [text.get_text() for text in ax.get_yticklabels()]
    return dict(zip(names, (bar.get_width() for bar in ax.patches), strict=True))


class TestPredictions:
    def test_images_classes_confidence_and_bars(self, cnn, photos):
        x, labels = photos[0][..., None], photos[1]
        p = cnn.predict(x, verbose=0)
        figure = predictions(cnn, x, labels, class_names)
        assert len(figure.axes) == 30
        for i in range(15):
            image, bars = figure.axes[2 * i : 2 * i + 2]
            np.testing.assert_array_equal(image.images[0].get_array(), photos[0][i])
            best, true = p[i].argmax(), labels[i]
            head = image.get_title(loc="left")
            sure = f"{class_names[best]}, {p[i].max():.0%}"
            if best == true:
                assert head == f"✓ {sure}"
            else:
                assert head == f"✗ {sure}\n    true: {class_names[true]}"
            assert colours(figure)[i] == (BLUE if best == true else VERMILION)
            drawn = shown_bars(bars)
            order = [class_names[c] for c in np.argsort(-p[i], kind="stable")[:5]]
            assert list(drawn)[:5] == order
            assert class_names[true] in drawn
            assert list(drawn.values()) == pytest.approx(
                [p[i][class_names.index(name)] for name in drawn]
            )
        assert len(set(colours(figure))) == 2
        assert complaints(figure) == []

    def test_the_true_class_has_a_bar_however_improbable(self):
        model, images = fixed([[4, 3, 2, 1, 0], [0, 0, 0, 0, 0]], layers.Softmax())
        figure = predictions(model, images[:1], [4], list("abcde"), top=2)
        drawn = shown_bars(figure.axes[1])
        assert list(drawn) == ["a", "b", "e"]
        chances = softmax(np.array([[4.0, 3, 2, 1, 0]]))[0]
        assert list(drawn.values()) == pytest.approx(chances[[0, 1, 4]], rel=1e-5)
        texts = [text.get_text() for text in figure.axes[1].texts]
        assert texts == [f"{p:.0%}" for p in chances[[0, 1, 4]]]

    def test_without_labels_nothing_is_right_or_wrong(self, mlp, photos):
        figure = predictions(mlp, photos[0][:3], class_names=class_names)
        assert not any(mark in head for head in heads(figure) for mark in "✓✗")
        assert set(colours(figure)) == {INK}
        assert complaints(figure) == []

    def test_numbers_without_names(self, mlp, photos):
        best = mlp.predict(photos[0][:1], verbose=0).argmax()
        assert heads(predictions(mlp, photos[0][:1]))[0].startswith(f"{best}, ")

    def test_images_in_rows(self, photos):
        model = Sequential([layers.Dense(10, activation="softmax", input_shape=(784,))])
        rows = photos[0][:2].reshape(2, 784) / 255
        figure = predictions(model, rows, photos[1][:2])
        np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), photos[0][1] / 255)

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_few(self, mlp, photos, count):
        figure = predictions(mlp, photos[0][:count], photos[1][:count], class_names)
        assert len(figure.axes) == 2 * count
        assert complaints(figure) == []

    def test_a_hundred_classes_with_long_names(self, photos, hundred):
        model = Sequential(
            [Input((28, 28)), layers.Flatten(), layers.Dense(100, activation="softmax")]
        )
        names = hundred[2]
        figure = predictions(model, photos[0], hundred[0][:200], names)
        assert complaints(figure) == []
        assert "✗ class number" in heads(figure)[0]

    def test_the_model_stays_as_it_is(self, cnn, photos):
        before = cnn.get_weights()
        predictions(cnn, photos[0][..., None], photos[1])
        for old, new in zip(before, cnn.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"labels": [0]}, ValueError, "images has 4 samples, labels has 1"),
            ({"labels": [0, 1, 2, 10]}, ValueError, "labels must hold classes from 0 to 9, got 10"),
            (
                {"class_names": ["a", "b"]},
                ValueError,
                "labels must hold classes from 0 to 1, as",
            ),
            ({"class_names": list("abcdefghijk")}, ValueError, "must have 10 names, as Sequential"),
            ({"images": np.zeros((4, 27, 28))}, ValueError, "was built for inputs of shape"),
            ({"images": np.zeros((4, 783))}, ValueError, r"images must have shape \(n, height"),
            ({"model": "mlp"}, TypeError, "model must be a model, got 'mlp'"),
            ({"model": Sequential([layers.Dense(2)])}, ValueError, "does not know its input's sh"),
            ({"top": 0}, ValueError, "top must be an integer of at least 1, got 0"),
            ({"columns": 0}, ValueError, "columns must be an integer of at least 1, got 0"),
        ],
    )
    @pytest.mark.parametrize("picture", [predictions, mistakes])
    def test_refuses(self, mlp, photos, picture, change, error, message):
        given = {"model": mlp, "images": photos[0][:4], "labels": [0, 1, 2, 3]} | change
        with pytest.raises(error, match=message):
            picture(**given)


class TestProbabilities:
    ROWS = ((2.0, -1.0, 0.5), (0.1, 0.2, 0.3))

    def test_a_softmax_is_taken_as_it_is(self):
        model, images = fixed(self.ROWS, layers.Softmax())
        expected = softmax(np.array(self.ROWS))
        np.testing.assert_allclose(class_probabilities(model, images), expected, rtol=1e-5)

    def test_logits_go_through_a_softmax(self):
        model, images = fixed(self.ROWS)
        expected = softmax(np.array(self.ROWS))
        np.testing.assert_allclose(class_probabilities(model, images), expected, rtol=1e-5)

    def test_a_loss_from_logits_says_that_they_are(self):
        rows = [[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]]  # might be probabilities
        model, images = fixed(rows)
        np.testing.assert_allclose(class_probabilities(model, images), rows, rtol=1e-5)
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
        expected = softmax(np.array(rows))
        np.testing.assert_allclose(class_probabilities(model, images), expected, rtol=1e-5)

    def test_sigmoids_are_taken_as_they_are(self):
        model, images = fixed(self.ROWS, layers.Sigmoid())
        expected = 1 / (1 + np.exp(-np.array(self.ROWS)))
        np.testing.assert_allclose(class_probabilities(model, images), expected, rtol=1e-5)

    @pytest.mark.parametrize("last", [[layers.Sigmoid], []])
    def test_one_output_stands_for_two_classes(self, last):
        model, images = fixed([[2.0], [-3.0]], *(layer() for layer in last))
        p = 1 / (1 + np.exp(-np.array([[2.0], [-3.0]])))
        expected = np.hstack([1 - p, p])
        np.testing.assert_allclose(class_probabilities(model, images), expected, rtol=1e-5)
        assert heads(predictions(model, images, [1, 1], ["no", "yes"])) == [
            "✓ yes, 88%",
            "✗ no, 95%\n    true: yes",
        ]

    def test_two_bars_do_not_fill_the_panel(self):
        model, images = fixed([[0.5], [-0.5]], layers.Sigmoid())
        bars = predictions(model, images).axes[1]
        low, high = bars.get_ylim()
        assert len(bars.patches) == 2
        assert bars.patches[0].get_height() < (low - high) / 4

    def test_a_quantity_is_no_probability(self):
        model, images = fixed([[0.25], [0.5]])
        model.compile("sgd", "mse")
        message = (
            "one number for each sample, which is no probability: its loss is MeanSquaredError"
        )
        with pytest.raises(ValueError, match=message):
            predictions(model, images)
        model.compile("sgd", losses.BinaryCrossentropy(from_logits=True))
        assert class_probabilities(model, images)[1, 1] == pytest.approx(1 / (1 + np.exp(-0.5)))

    def test_nan_can_be_drawn(self):
        model, images = fixed([[np.nan, 1.0], [np.nan, 1.0]])
        assert np.isnan(class_probabilities(model, images)[:, 0]).all()
        figure = predictions(model, images, [0, 1])
        assert heads(figure) == [f"✗ no finite answer\n    true: {true}" for true in (0, 1)]
        assert complaints(figure) == []

    def test_more_than_a_row_is_refused(self):
        model = Sequential([layers.ReLU(input_shape=(2, 2))])
        with pytest.raises(ValueError, match="one row of class scores for each sample, it gives"):
            predictions(model, np.zeros((3, 2, 2)))


class TestMistakes:
    def test_the_most_confident_first(self, mlp, photos):
        p = softmax(mlp.predict(photos[0], verbose=0))
        guess, sure = p.argmax(axis=1), p.max(axis=1)
        expected = sorted(np.flatnonzero(guess != photos[1]), key=lambda i: -sure[i])
        figure = mistakes(mlp, *photos, class_names)
        assert len(expected) > 15
        assert len(figure.axes) == 30
        for i, ax in zip(expected, figure.axes[::2], strict=False):
            np.testing.assert_array_equal(ax.images[0].get_array(), photos[0][i])
            assert ax.get_xlabel() == f"image {i}"
        assert heads(figure)[0].startswith(f"✗ {class_names[guess[expected[0]]]}, ")
        assert set(colours(figure)) == {VERMILION}
        assert figure.get_suptitle() == (
            f"{len(expected)} of 200 images are predicted wrong; the 15 most confident of them"
        )
        assert complaints(figure) == []

    def test_all_of_a_few(self, mlp, photos):
        guess = mlp.predict(photos[0], verbose=0).argmax(axis=1)
        wrong = np.flatnonzero(guess != photos[1])[:2]
        figure = mistakes(mlp, photos[0][wrong], photos[1][wrong], class_names)
        assert len(figure.axes) == 4
        assert figure.get_suptitle() == "2 of 2 images are predicted wrong"
        assert complaints(figure) == []

    def test_none_is_said(self, mlp, photos):
        guess = mlp.predict(photos[0], verbose=0).argmax(axis=1)
        figure = mistakes(mlp, photos[0], guess)
        (words,) = figure.texts
        assert words.get_text() == "No mistakes:\nall 200 images are predicted right"
        assert not any(ax.images for ax in figure.axes)
        assert complaints(figure) == []

    def test_needs_labels(self, mlp, photos):
        with pytest.raises(TypeError, match=r"mistakes\(\) needs labels, the true classes"):
            mistakes(mlp, photos[0], None)
