import numpy as np
import pytest
from legible import complaints
from matplotlib.figure import Figure

from tinynet.datasets.fashion_mnist import class_names
from tinynet.plotting import class_counts, image_grid


def pixels(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


def below(figure):
    return [ax.get_xlabel() for ax in figure.axes]


class TestImageGrid:
    def test_the_first_25_with_the_names_of_their_classes(self, photos):
        images, labels = photos
        figure = image_grid(images, labels, class_names)
        assert len(figure.axes) == 25
        for i, ax in enumerate(figure.axes):
            np.testing.assert_array_equal(pixels(ax), images[i])
            assert ax.get_xlabel() == class_names[labels[i]]
            assert ax.images[0].get_clim() == (0, 255)
        assert complaints(figure) == []

    def test_five_rows_of_five(self, photos):
        figure = image_grid(photos[0])
        figure.draw_without_rendering()
        corners = {(round(ax.get_position().x0, 3), round(ax.get_position().y0, 3))
                   for ax in figure.axes}  # fmt: skip
        assert len({x for x, _ in corners}) == len({y for _, y in corners}) == 5

    def test_as_many_as_asked_for(self, photos):
        assert len(image_grid(photos[0], columns=4, rows=2).axes) == 8

    @pytest.mark.parametrize("count", [1, 3, 7])
    def test_as_many_as_there_are(self, photos, count):
        figure = image_grid(photos[0][:count], photos[1][:count], class_names)
        assert len(figure.axes) == count
        assert complaints(figure) == []

    def test_numbers_without_names_and_nothing_without_labels(self, photos):
        images, labels = photos
        assert below(image_grid(images[:3], labels[:3])) == [str(n) for n in labels[:3]]
        assert below(image_grid(images[:3])) == ["", "", ""]

    def test_with_a_channel_axis(self, photos):
        figure = image_grid(photos[0][:2, ..., None])
        np.testing.assert_array_equal(pixels(figure.axes[1]), photos[0][1])

    def test_any_numbers_from_the_smallest_to_the_largest_shown(self, photos):
        scaled = (photos[0] / 255 - 0.3) / 0.4
        figure = image_grid(scaled, rows=1, columns=2)
        limits = scaled[:2].min(), scaled[:2].max()
        for ax, image in zip(figure.axes, scaled, strict=False):
            np.testing.assert_array_equal(pixels(ax), image)
            assert ax.images[0].get_clim() == pytest.approx(limits)

    def test_in_colours(self):
        photos = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), np.uint8)
        figure = image_grid(photos)
        for ax, photo in zip(figure.axes, photos, strict=True):
            np.testing.assert_array_equal(pixels(ax), photo)
        shares = image_grid(photos / 255)
        np.testing.assert_allclose(pixels(shares.axes[0]), photos[0] / 255)

    def test_colours_of_any_range_are_brought_to_0_to_1(self):
        photos = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
        low, high = photos.min(), photos.max()
        figure = image_grid(photos)
        expected = (photos - low) / (high - low)
        np.testing.assert_allclose(pixels(figure.axes[1]), expected[1])

    @pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
    def test_an_image_of_one_value(self, value):
        assert complaints(image_grid(np.full((2, 5, 5), value))) == []

    def test_black_and_white(self):
        figure = image_grid(np.eye(6, dtype=bool)[None])
        np.testing.assert_array_equal(pixels(figure.axes[0]), np.eye(6))
        assert figure.axes[0].images[0].get_clim() == (0, 1)

    def test_long_names_stay_below_their_images(self, photos):
        names = [f"{name} of a kind that takes a long name" for name in class_names]
        figure = image_grid(*photos, names)
        assert complaints(figure) == []
        first = figure.axes[0].get_xlabel().replace("\n", " ").rstrip("…")
        assert names[photos[1][0]].startswith(first)

    def test_a_name_is_no_formula(self, photos):
        figure = image_grid(photos[0][:1], [0], ["$5 and $6"])
        assert complaints(figure) == []
        assert figure.axes[0].get_xlabel() == "$5 and $6"

    def test_given_axes(self, photos):
        axes = Figure().subplots(2, 3)
        assert image_grid(photos[0], rows=2, columns=3, axes=axes) is axes
        for ax, image in zip(axes.flat, photos[0], strict=False):
            np.testing.assert_array_equal(pixels(ax), image)

    def test_one_hot_labels(self, photos):
        images, labels = photos[0][:2], photos[1][:2]
        assert below(image_grid(images, np.eye(10)[labels])) == [str(n) for n in labels]

    @pytest.mark.parametrize(
        ("images", "error", "message"),
        [
            (np.zeros((28, 28)), ValueError, r"got \(28, 28\); for a single image, images\[None\]"),
            (np.zeros((2, 28, 28, 2)), ValueError, r"or \(n, height, width, 3\), got \(2, 28, 28,"),
            (np.zeros((0, 28, 28)), ValueError, "images holds no images"),
            ([["a"]], TypeError, "images must be an array of numbers, got"),
        ],
    )
    def test_refuses_what_is_no_image(self, images, error, message):
        with pytest.raises(error, match=message):
            image_grid(images)

    @pytest.mark.parametrize(
        ("labels", "names", "error", "message"),
        [
            ([0, 1], None, ValueError, "images has 3 samples, labels has 2"),
            ([0, 1, 10], class_names, ValueError, "0 to 9, as there are 10 class_names, got 10 at"),
            ([0, -1, 2], None, ValueError, "labels must hold classes from 0 on, got -1 at index 1"),
            ([0, 1.5, 2], None, ValueError, "labels must hold whole numbers, got 1.5 at index 1"),
            (["a", "b", "c"], None, TypeError, "labels must be an array of numbers"),
            ([0, 1, 2], "names", TypeError, "class_names must be a list of names, got 'names'"),
            ([0, 1, 2], [], ValueError, "class_names is empty"),
            ([], None, ValueError, "labels holds no labels"),
        ],
    )
    def test_refuses_labels(self, photos, labels, names, error, message):
        with pytest.raises(error, match=message):
            image_grid(photos[0][:3], labels, names)

    def test_refuses_no_rows(self, photos):
        with pytest.raises(ValueError, match="rows must be an integer of at least 1, got 0"):
            image_grid(photos[0], rows=0)


def bars(ax):
    """The lengths of the bars, a list for each set."""
    return [[bar.get_width() for bar in container] for container in ax.containers]


def named(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


class TestClassCounts:
    def test_a_bar_for_each_class(self, photos):
        labels = photos[1]
        figure = class_counts(labels, class_names)
        (ax,) = figure.axes
        assert bars(ax) == [[int((labels == c).sum()) for c in range(10)]]
        assert named(ax) == class_names
        assert [text.get_text() for text in ax.texts] == [f"{n:.0f}" for n in bars(ax)[0]]
        assert ax.yaxis_inverted()
        assert ax.get_legend() is None
        assert complaints(figure) == []

    def test_several_sets_side_by_side(self, sample):
        (_, train), (_, test) = sample
        figure = class_counts({"train": train, "test": test}, class_names)
        (ax,) = figure.axes
        assert bars(ax) == [[600] * 10, [100] * 10]
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "test"]
        places = [bar.get_y() for container in ax.containers for bar in container]
        assert len(set(places)) == 20
        assert complaints(figure) == []

    def test_a_class_without_samples(self):
        assert bars(class_counts([0, 2, 2]).axes[0]) == [[1, 0, 2]]
        assert bars(class_counts([0], ["a", "b"]).axes[0]) == [[1, 0]]

    def test_one_class(self):
        figure = class_counts([0, 0, 0], ["all"])
        assert bars(figure.axes[0]) == [[3]]
        assert complaints(figure) == []

    def test_a_hundred_with_long_names(self, hundred):
        true, predicted, names = hundred
        figure = class_counts({"true": true, "predicted": predicted}, names)
        assert named(figure.axes[0]) == names
        assert complaints(figure) == []

    @pytest.mark.parametrize(
        ("labels", "names", "message"),
        [
            ([], None, "labels holds no labels"),
            ({}, None, "labels holds no labels"),
            ({"train": [0], "test": [3]}, ["a"], r"labels\['test'\] must hold classes from 0 to 0"),
        ],
    )
    def test_refuses(self, labels, names, message):
        with pytest.raises(ValueError, match=message):
            class_counts(labels, names)
