import numpy as np
import pytest

from tinynet import metrics
from tinynet.metrics import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    MeanAbsoluteError,
    MeanMetricWrapper,
    MeanSquaredError,
    Metric,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)

RNG = np.random.default_rng(4)
SCORES = RNG.normal(size=(23, 6)).astype("float32")
LABELS = RNG.integers(0, 6, 23)
ONE_HOT = np.eye(6, dtype="float32")[LABELS]
BITS = RNG.integers(0, 2, (23, 3))
CHANCES = RNG.random((23, 3))
WEIGHTS = RNG.random(23)


def best(row):
    return max(range(len(row)), key=lambda j: row[j])


def rank(row, label):
    return sum(score > row[label] for score in row)


# (metric, y_true, y_pred, the value of one sample as a plain loop)
CASES = [
    (SparseCategoricalAccuracy(), LABELS, SCORES, lambda y, p: best(p) == y),
    (SparseCategoricalAccuracy(), LABELS[:, None], SCORES, lambda y, p: best(p) == y[0]),
    (CategoricalAccuracy(), ONE_HOT, SCORES, lambda y, p: best(p) == best(y)),
    (SparseTopKCategoricalAccuracy(k=2), LABELS, SCORES, lambda y, p: rank(p, y) < 2),
    (SparseTopKCategoricalAccuracy(), LABELS, SCORES, lambda y, p: rank(p, y) < 5),
    (TopKCategoricalAccuracy(k=3), ONE_HOT, SCORES, lambda y, p: rank(p, best(y)) < 3),
    (
        BinaryAccuracy(),
        BITS,
        CHANCES,
        lambda y, p: sum((q > 0.5) == t for t, q in zip(y, p, strict=True)) / 3,
    ),
    (
        BinaryAccuracy(threshold=0.2),
        BITS[:, 0],
        CHANCES[:, :1],
        lambda y, p: (p[0] > 0.2) == y,
    ),
    (BinaryAccuracy(), BITS[:, :1], CHANCES[:, 0], lambda y, p: (p > 0.5) == y[0]),
    (
        Accuracy(),
        BITS,
        BITS[::-1],
        lambda y, p: sum(q == t for t, q in zip(y, p, strict=True)) / 3,
    ),
    (
        MeanSquaredError(),
        BITS,
        CHANCES,
        lambda y, p: sum((q - t) ** 2 for t, q in zip(y, p, strict=True)) / 3,
    ),
    (
        MeanAbsoluteError(),
        BITS.astype("uint8"),
        CHANCES,
        lambda y, p: sum(abs(q - float(t)) for t, q in zip(y, p, strict=True)) / 3,
    ),
]
IDS = [f"{i} {metric.name}" for i, (metric, *_) in enumerate(CASES)]


@pytest.mark.parametrize(("metric", "y_true", "y_pred", "loop"), CASES, ids=IDS)
class TestEveryMetric:
    def test_is_the_mean_of_a_plain_loop_over_all_batches(self, metric, y_true, y_pred, loop):
        metric.reset_state()
        for start in range(0, 23, 5):
            metric.update_state(y_true[start : start + 5], y_pred[start : start + 5])
        values = [float(loop(y, p)) for y, p in zip(y_true, y_pred, strict=True)]
        assert type(metric.result()) is float
        assert metric.result() == pytest.approx(sum(values) / 23, rel=1e-12)

    def test_weights(self, metric, y_true, y_pred, loop):
        metric.reset_state()
        for start in range(0, 23, 5):
            end = start + 5
            metric.update_state(y_true[start:end], y_pred[start:end], WEIGHTS[start:end])
        values = [float(loop(y, p)) for y, p in zip(y_true, y_pred, strict=True)]
        expected = np.dot(values, WEIGHTS) / WEIGHTS.sum()
        assert metric.result() == pytest.approx(expected, rel=1e-12)

    def test_reset_forgets(self, metric, y_true, y_pred, loop):
        metric.update_state(y_true, y_pred)
        metric.reset_state()
        assert metric.result() == 0.0
        again = metric(y_true[:5], y_pred[:5])
        values = [float(loop(y, p)) for y, p in zip(y_true[:5], y_pred[:5], strict=True)]
        assert again == pytest.approx(sum(values) / 5, rel=1e-12)

    def test_takes_lists(self, metric, y_true, y_pred, loop):
        metric.reset_state()
        expected = metric(y_true, y_pred)
        metric.reset_state()
        assert metric(y_true.tolist(), y_pred.tolist()) == pytest.approx(expected)

    def test_repr_is_the_constructor_call(self, metric, y_true, y_pred, loop):
        again = eval(repr(metric), vars(metrics))
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()

    def test_weights_must_fit(self, metric, y_true, y_pred, loop):
        with pytest.raises(ValueError, match=r"one weight for each of 23 samples, got shape \(2,"):
            metric.update_state(y_true, y_pred, [1.0, 2.0])

    def test_lengths_must_agree(self, metric, y_true, y_pred, loop):
        with pytest.raises(ValueError, match=r"got shape \(22,|got \(22,"):
            metric.update_state(y_true[:22], y_pred)


def test_more_axes_are_averaged_over():
    scores, labels = RNG.normal(size=(4, 3, 5)), RNG.integers(0, 5, (4, 3))
    right = scores.argmax(-1) == labels
    assert SparseCategoricalAccuracy()(labels, scores) == pytest.approx(right.mean())
    one_hot = np.eye(5)[labels]
    weights = [1.0, 0.0, 2.0, 0.5]
    expected = np.dot(right.mean(axis=1), weights) / 3.5
    assert CategoricalAccuracy()(one_hot, scores, weights) == pytest.approx(expected)


class TestTopK:
    def test_ties_with_the_last_place_count(self):
        scores = [[1.0, 3.0, 2.0, 2.0]]
        for label, k, expected in [(2, 2, 1), (3, 2, 1), (0, 2, 0), (2, 1, 0), (0, 4, 1)]:
            assert metrics.sparse_top_k_categorical_accuracy([label], scores, k) == [expected]

    def test_more_than_all_classes_is_everything(self):
        assert metrics.sparse_top_k_categorical_accuracy([0, 1], np.eye(2), 5).tolist() == [1, 1]

    def test_a_row_that_is_not_finite_is_wrong(self):
        scores = np.array([[np.nan, 1.0, 2.0], [1.0, np.inf, 0.0], [3.0, 2.0, 1.0]])
        assert metrics.sparse_top_k_categorical_accuracy([2, 1, 0], scores, 3).tolist() == [0, 0, 1]

    def test_a_label_that_is_no_class_is_wrong(self):
        assert metrics.sparse_top_k_categorical_accuracy([-1, 2], np.eye(2), 2).tolist() == [0, 0]

    def test_k_is_a_count(self):
        with pytest.raises(ValueError, match="k must be an integer of at least 1, got 0"):
            TopKCategoricalAccuracy(k=0)


class TestFunctions:
    def test_values_are_float32_one_a_sample(self):
        for function, y_true in [
            (metrics.sparse_categorical_accuracy, LABELS),
            (metrics.categorical_accuracy, ONE_HOT),
            (metrics.sparse_top_k_categorical_accuracy, LABELS),
            (metrics.top_k_categorical_accuracy, ONE_HOT),
        ]:
            values = function(y_true, SCORES)
            assert values.dtype == np.float32
            assert values.shape == (23,)
            assert set(values.tolist()) <= {0.0, 1.0}

    def test_binary_accuracy_is_entry_by_entry(self):
        values = metrics.binary_accuracy([[1, 0], [1, 1]], [[0.6, 0.6], [0.2, 0.9]], threshold=0.5)
        assert values.tolist() == [[1, 0], [0, 1]]

    def test_errors_do_not_wrap_around_in_unsigned_integers(self):
        assert metrics.mean_absolute_error(np.array([[5]], "uint8"), np.array([[3]], "uint8")) == 2
        assert metrics.mean_squared_error([[5, 1]], [[3, 1]]).tolist() == [2.0]

    def test_one_hot_for_a_sparse_metric(self):
        with pytest.raises(ValueError, match="one-hot labels need the metric of the same name"):
            metrics.sparse_categorical_accuracy(ONE_HOT, SCORES)


class TestConfusionMatrix:
    def test_against_a_loop(self):
        expected = np.zeros((6, 6), int)
        for label, row in zip(LABELS, SCORES, strict=True):
            expected[label, best(row)] += 1
        for y_true in (LABELS, ONE_HOT, LABELS[:, None], LABELS.astype(float).tolist()):
            for y_pred in (SCORES, SCORES.argmax(1), SCORES.argmax(1).astype("uint8")):
                matrix = metrics.confusion_matrix(y_true, y_pred, 6)
                assert matrix.dtype == np.int64
                assert np.array_equal(matrix, expected)

    def test_rows_are_true_and_columns_predicted(self):
        assert metrics.confusion_matrix([0, 0, 1], [1, 1, 1]).tolist() == [[0, 2], [0, 1]]

    def test_as_many_classes_as_appear_or_as_there_are_scores(self):
        assert metrics.confusion_matrix([0, 1], [3, 0]).shape == (4, 4)
        assert metrics.confusion_matrix([0, 1], np.eye(5)[:2]).shape == (5, 5)
        assert metrics.confusion_matrix([0, 1], [0, 1], num_classes=7).shape == (7, 7)

    def test_different_lengths(self):
        with pytest.raises(ValueError, match="y_true has 2 samples, y_pred has 3"):
            metrics.confusion_matrix([0, 1], [0, 1, 1])

    def test_out_of_range(self):
        with pytest.raises(ValueError, match="y_true must hold classes from 0 to 2, got 3 at ind"):
            metrics.confusion_matrix([0, 3], [0, 1], num_classes=3)
        with pytest.raises(ValueError, match="y_pred must hold classes from 0 to 1, got -1 at in"):
            metrics.confusion_matrix([0, 1], [0, -1])

    def test_not_whole(self):
        with pytest.raises(
            ValueError, match=r"y_pred must hold whole numbers, got 0\.7 at index 1"
        ):
            metrics.confusion_matrix([0, 1], [0.0, 0.7])

    def test_probabilities_of_the_second_of_two_classes(self):
        with pytest.raises(ValueError, match=r"got 0\.25 at index 0; .* second .* pass p > 0\.5"):
            metrics.confusion_matrix([0, 1], [[0.25], [1.0]])
        with pytest.raises(ValueError, match=r"got 1\.5 at index 0$"):
            metrics.confusion_matrix([0, 1], [[1.5], [1.0]])

    def test_not_finite(self):
        with pytest.raises(ValueError, match="y_true must hold whole numbers, got nan at index 0"):
            metrics.confusion_matrix([np.nan, 1], [0, 1])

    def test_not_numbers(self):
        with pytest.raises(TypeError, match="y_true must be an array of numbers, got dtype"):
            metrics.confusion_matrix(["cat", "dog"], [0, 1])

    def test_too_many_axes(self):
        with pytest.raises(ValueError, match=r"y_pred must have shape \(n,\) or \(n, classes\)"):
            metrics.confusion_matrix([0, 1], np.zeros((2, 2, 2)))


class TestClassificationReport:
    def test_against_a_loop(self):
        report = metrics.classification_report(LABELS, SCORES)
        guesses = [best(row) for row in SCORES]
        pairs = list(zip(LABELS.tolist(), guesses, strict=True))
        for c in range(6):
            hits = sum(true == guess == c for true, guess in pairs)
            predicted = sum(guess == c for _, guess in pairs)
            support = sum(true == c for true, _ in pairs)
            assert (report.predicted[c], report.support[c]) == (predicted, support)
            precision = hits / predicted if predicted else 0
            recall = hits / support if support else 0
            both = precision + recall
            assert report.precision[c] == pytest.approx(precision)
            assert report.recall[c] == pytest.approx(recall)
            assert report.f1[c] == pytest.approx(2 * precision * recall / both if both else 0)
        assert report.accuracy == sum(true == guess for true, guess in pairs) / 23

    def test_means(self):
        report = metrics.classification_report([0, 0, 0, 1], [0, 1, 0, 1])
        assert report.mean() == pytest.approx({"precision": 0.75, "recall": 5 / 6, "f1": 11 / 15})
        weighted = {"precision": 0.875, "recall": 0.75, "f1": 0.75 * 0.8 + 0.25 * 2 / 3}
        assert report.mean(weighted=True) == pytest.approx(weighted)

    def test_a_share_of_nothing_is_0(self):
        report = metrics.classification_report([0, 1], [0, 0], ["a", "b", "c"])
        assert report.precision.tolist() == [0.5, 0, 0]
        assert report.recall.tolist() == [1, 0, 0]
        assert report.f1.tolist() == pytest.approx([2 / 3, 0, 0])

    def test_names(self):
        assert metrics.classification_report([0, 1], [0, 1]).class_names == ["0", "1"]
        assert metrics.classification_report([0], [0], ("a", "b")).class_names == ["a", "b"]

    def test_one_hot_labels(self):
        one = metrics.classification_report(ONE_HOT, SCORES)
        np.testing.assert_array_equal(one.f1, metrics.classification_report(LABELS, SCORES).f1)

    def test_refuses(self):
        with pytest.raises(ValueError, match="y_true must hold classes from 0 to 1, got 2"):
            metrics.classification_report([0, 2], [0, 1], ["a", "b"])
        with pytest.raises(ValueError, match="y_true has 2 samples, y_pred has 1"):
            metrics.classification_report([0, 1], [0])
        with pytest.raises(ValueError, match="needs samples, y_true has none"):
            metrics.classification_report([], [])


class TestResolve:
    @pytest.mark.parametrize(
        ("y_shape", "output_shape", "kind"),
        [
            ((60, 10), (10,), CategoricalAccuracy),
            ((60,), (10,), SparseCategoricalAccuracy),
            ((60, 1), (10,), SparseCategoricalAccuracy),
            ((60,), (1,), BinaryAccuracy),
            ((60, 1), (1,), BinaryAccuracy),
            ((60, 8, 8), (8, 8, 10), SparseCategoricalAccuracy),
            ((60, 8, 8, 10), (8, 8, 10), CategoricalAccuracy),
        ],
    )
    @pytest.mark.parametrize("name", ["accuracy", "acc"])
    def test_accuracy_depends_on_the_shapes(self, y_shape, output_shape, kind, name):
        (metric,) = metrics.resolve([name], y_shape, output_shape)
        assert type(metric) is kind
        assert metric.name == name

    def test_names_given_are_names_kept(self):
        resolved = metrics.resolve(["mse", "MeanAbsoluteError", "top_k_categorical_accuracy"])
        assert [type(m) for m in resolved] == [
            MeanSquaredError,
            MeanAbsoluteError,
            TopKCategoricalAccuracy,
        ]
        assert [m.name for m in resolved] == [
            "mse",
            "MeanAbsoluteError",
            "top_k_categorical_accuracy",
        ]

    def test_instances_classes_and_functions(self):
        def largest(y_true, y_pred):
            return y_pred.max(axis=1)

        instance = SparseTopKCategoricalAccuracy(k=3, name="top 3")
        resolved = metrics.resolve((instance, MeanSquaredError, largest), (23,), (6,))
        assert resolved[0] is instance
        assert [m.name for m in resolved] == ["top 3", "mean_squared_error", "largest"]
        assert resolved[2](LABELS, SCORES) == pytest.approx(SCORES.max(axis=1).mean(), rel=1e-6)

    def test_none_is_nothing(self):
        assert metrics.resolve(None, (60,), (10,)) == []

    def test_a_bare_string(self):
        with pytest.raises(TypeError, match=r"write metrics=\['accuracy'\]"):
            metrics.resolve("accuracy", (60,), (10,))

    def test_what_is_no_list(self):
        with pytest.raises(TypeError, match=r"metrics must be a list, got .* of type Accuracy"):
            metrics.resolve(Accuracy())

    def test_an_unknown_name(self):
        with pytest.raises(
            ValueError, match=r"unknown metric 'acuracy'; did you mean 'accuracy'\?"
        ):
            metrics.resolve(["acuracy"])

    def test_what_is_no_metric(self):
        with pytest.raises(TypeError, match="metric must be a name, a class or an instance, got 3"):
            metrics.resolve([3])

    @pytest.mark.parametrize("twice", [["acc", "acc"], [Accuracy(), "accuracy"]])
    def test_one_name_twice(self, twice):
        with pytest.raises(ValueError, match="is the name of more than one"):
            metrics.resolve(twice, (60,), (10,))

    def test_loss_is_taken(self):
        with pytest.raises(ValueError, match="'loss' is the name of more than one"):
            metrics.resolve([Accuracy(name="loss")])


class TestAMetricOfYourOwn:
    def test_from_a_function(self):
        metric = MeanMetricWrapper(lambda y_true, y_pred: np.abs(y_pred - y_true), name="gap")
        assert metric([1.0, 2.0], [2.0, 4.0]) == 1.5
        assert metric([1.0], [1.0]) == 1.0
        assert metric.name == "gap"

    def test_from_a_function_of_the_whole_batch(self):
        metric = MeanMetricWrapper(lambda y_true, y_pred: np.max(y_pred), name="largest")
        metric.update_state([0.0, 0.0], [2.0, 4.0])
        assert metric([0.0], [8.0]) == 6.0

    def test_by_three_methods(self):
        class Largest(Metric):
            def reset_state(self):
                self.largest = 0.0

            def update_state(self, y_true, y_pred, sample_weight=None):
                self.largest = max(self.largest, float(np.max(y_pred)))

            def result(self):
                return self.largest

        metric = Largest()
        assert metric.name == "largest"
        assert metric([0], [3.0]) == 3.0
        assert metric([0], [2.0]) == 3.0

    def test_unknown_arguments(self):
        with pytest.raises(TypeError, match=r"BinaryAccuracy has no argument 'treshold' .did you"):
            BinaryAccuracy(treshold=0.3)
