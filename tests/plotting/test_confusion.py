import numpy as np
import pytest
from legible import complaints
from matplotlib.figure import Figure

from tinynet import metrics
from tinynet.datasets.fashion_mnist import class_names
from tinynet.plotting import classification_report, confusion_matrix


@pytest.fixture(scope="module")
def answered(mlp, photos):
    """True labels and scores of a network."""
    return photos[1], mlp.predict(photos[0], verbose=0)


def cells(figure):
    (image,) = figure.axes[0].images
    return np.ma.filled(image.get_array(), np.nan)


def written(ax, classes):
    """The texts in the cells: rows of columns."""
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    return [[texts[column, row] for column in range(classes)] for row in range(classes)]


def names(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


class TestConfusionMatrix:
    def test_counts(self, answered):
        labels, scores = answered
        counts = metrics.confusion_matrix(labels, scores, 10)
        figure = confusion_matrix(labels, scores, class_names)
        np.testing.assert_array_equal(cells(figure), counts)
        ax = figure.axes[0]
        assert written(ax, 10) == [[str(n) for n in row] for row in counts]
        assert names(ax.xaxis) == names(ax.yaxis) == class_names
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
        accuracy = (scores.argmax(axis=1) == labels).mean()
        assert ax.get_title() == f"accuracy {accuracy:.2%}, 200 samples"
        assert complaints(figure) == []

    def test_class_indices_give_the_same(self, answered):
        labels, scores = answered
        expected = cells(confusion_matrix(labels, scores))
        np.testing.assert_array_equal(cells(confusion_matrix(labels, scores.argmax(1))), expected)

    @pytest.mark.parametrize(("normalize", "axis"), [("true", 1), ("pred", 0), ("all", None)])
    def test_shares(self, answered, normalize, axis):
        counts = metrics.confusion_matrix(*answered, 10)
        figure = confusion_matrix(*answered, class_names, normalize)
        whole = counts.sum(axis=axis, keepdims=True)
        with np.errstate(invalid="ignore"):  # of a class that is never predicted
            np.testing.assert_allclose(cells(figure), counts / whole)
        assert complaints(figure) == []

    def test_shares_are_written_with_two_places(self):
        figure = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], normalize="true")
        assert written(figure.axes[0], 2) == [["0.67", "0.33"], ["0", "1.00"]]
        figure = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], normalize="all")
        assert written(figure.axes[0], 2) == [["0.500", "0.250"], ["0", "0.250"]]

    def test_a_share_of_nothing_is_left_empty(self):
        figure = confusion_matrix([0, 0], [0, 2], ["a", "b", "c"], normalize="true")
        assert np.isnan(cells(figure)[1:]).all()
        assert written(figure.axes[0], 3)[1:] == [["–"] * 3] * 2
        assert complaints(figure) == []

    def test_one_class(self):
        figure = confusion_matrix([0, 0], [0, 0], ["only"])
        assert written(figure.axes[0], 1) == [["2"]]
        assert complaints(figure) == []

    def test_one_sample(self):
        figure = confusion_matrix([3], [1])
        assert figure.axes[0].get_title() == "accuracy 0.00%, 1 sample"
        assert complaints(figure) == []

    def test_large_counts_have_room(self):
        true = np.repeat(np.arange(10), 123_456)
        figure = confusion_matrix(true, true, class_names)
        assert written(figure.axes[0], 10)[4][4] == "123,456"
        assert complaints(figure) == []

    def test_long_names(self, answered):
        long = [f"{name} that has a long name, longer than others" for name in class_names]
        figure = confusion_matrix(*answered, long)
        assert complaints(figure) == []
        assert all(
            long[i].startswith(name[:-1]) for i, name in enumerate(names(figure.axes[0].yaxis))
        )

    @pytest.mark.parametrize("classes", [12, 20, 21, 40])
    def test_more_classes(self, hundred, classes):
        true, predicted, long = hundred
        kept = (true < classes) & (predicted < classes)
        figure = confusion_matrix(true[kept], predicted[kept], long[:classes], "true")
        assert bool(figure.axes[0].texts) == (classes <= 20)
        assert complaints(figure) == []

    @pytest.mark.parametrize("normalize", [None, "true"])
    def test_a_hundred_classes(self, hundred, normalize):
        true, predicted, long = hundred
        figure = confusion_matrix(true, predicted, long, normalize)
        ax, scale = figure.axes
        assert not ax.texts
        assert names(ax.yaxis) == long
        norm = ax.images[0].norm
        assert norm(norm.vmax / 4) == pytest.approx(0.5)  # by the square root
        assert min(figure.get_size_inches()) > 12
        assert scale.get_ylabel() == ("samples" if normalize is None else "share of the true class")
        assert complaints(figure) == []

    def test_a_thousand_classes_have_some_of_their_names(self):
        figure = confusion_matrix(np.arange(1000), np.arange(1000))
        shown = names(figure.axes[0].yaxis)
        assert 50 < len(shown) < 250
        assert shown[0] == "0"
        assert complaints(figure) == []

    def test_in_an_axes_too_small_for_numbers(self, answered):
        figure = Figure(figsize=(3, 3), layout="constrained")
        ax = figure.subplots()
        confusion_matrix(*answered, class_names, ax=ax)
        assert not ax.texts
        assert ax.images
        assert complaints(figure) == []

    def test_in_an_axes_with_room_for_them(self, answered):
        figure = Figure(figsize=(5, 5), layout="constrained")
        confusion_matrix(*answered, class_names, ax=figure.subplots())
        assert len(figure.axes[0].texts) == 100
        assert complaints(figure) == []

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (([0, 1], [0]), ValueError, "y_true has 2 samples, y_pred has 1"),
            (([0, 2], [0, 1], ["a", "b"]), ValueError, "y_true must hold classes from 0 to 1, got"),
            (
                ([0, 1], [0, 1], None, "row"),
                ValueError,
                "normalize must be None, 'true', 'pred'",
            ),
            (([], []), ValueError, "y_true holds no samples"),
            ((["a"], [0]), TypeError, "y_true must be an array of numbers"),
            (([0], [0], "a"), TypeError, "class_names must be a list of names"),
        ],
    )
    def test_refuses(self, arguments, error, message):
        with pytest.raises(error, match=message):
            confusion_matrix(*arguments)


def table(ax):
    """What stands in each row, from left to right, from top to bottom."""
    rows = {}
    for text in ax.texts:
        x, y = text.get_position()
        rows.setdefault(y, []).append((x, text.get_text()))
    return [[text for _, text in sorted(rows[y])] for y in sorted(rows)]


class TestClassificationReport:
    def test_the_numbers_of_the_metric(self, answered):
        report = metrics.classification_report(*answered, class_names)
        figure = classification_report(*answered, class_names)
        ax = figure.axes[0]
        *of_classes, mean, weighted = table(ax)
        for i, row in enumerate(of_classes):
            precision = f"{report.precision[i]:.3f}" if report.predicted[i] else "–"
            values = precision, f"{report.recall[i]:.3f}", f"{report.f1[i]:.3f}"
            assert row == [*values, str(report.support[i])]
        assert mean == [*(f"{v:.3f}" for v in report.mean().values()), "200"]
        assert weighted == [f"{v:.3f}" for v in report.mean(weighted=True).values()]
        assert names(ax.yaxis) == [*class_names, "mean", "weighted mean"]
        assert names(ax.xaxis) == ["precision", "recall", "f1", "support"]
        assert ax.get_title() == f"accuracy {report.accuracy:.2%}, 200 samples"
        assert complaints(figure) == []

    def test_bars_are_as_long_as_the_numbers(self):
        figure = classification_report([0, 0, 1, 1], [0, 1, 1, 1])
        lengths = [[bar.get_width() / 0.92 for bar in bars] for bars in figure.axes[0].containers]
        expected = [[1, 2 / 3], [5 / 6, 5 / 6], [0.5, 1], [0.75, 0.75], [2 / 3, 0.8]]
        for found, wanted in zip(lengths, expected, strict=False):
            assert found == pytest.approx(wanted)

    def test_a_share_of_nothing(self):
        figure = classification_report([0, 0, 1], [0, 0, 0], ["a", "b", "c"])
        assert table(figure.axes[0])[1:3] == [
            ["–", "0.000", "0.000", "1"],  # never predicted
            ["–", "–", "–", "0"],  # nor there
        ]

    @pytest.mark.parametrize("classes", [1, 2, 45])
    def test_any_number_of_classes(self, classes):
        labels = np.arange(classes)
        figure = classification_report(labels, labels)
        assert len(table(figure.axes[0])) == classes + 2
        assert complaints(figure) == []

    def test_a_hundred_with_long_names(self, hundred):
        figure = classification_report(*hundred)
        assert names(figure.axes[0].yaxis)[:100] == hundred[2]
        assert complaints(figure) == []

    def test_refuses(self):
        with pytest.raises(ValueError, match="y_true has 2 samples, y_pred has 1"):
            classification_report([0, 1], [0])
        with pytest.raises(ValueError, match="y_pred must hold classes from 0 to 1, got 2 at ind"):
            classification_report([0, 1], [0, 2], ["a", "b"])
