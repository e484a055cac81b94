import math

import numpy as np
import pytest

from tinynet import losses, metrics
from tinynet.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Loss,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

EPSILON = 1e-7


def softmax(row):
    e = [math.exp(z - max(row)) for z in row]
    return [x / sum(e) for x in e]


def clip(p):
    return min(max(p, EPSILON), 1 - EPSILON)


def sparse_loss(label, row, from_logits):
    if from_logits:
        return -math.log(softmax(row)[label])
    clipped = [clip(p) for p in row]
    return -math.log(clipped[label] / sum(clipped))


def categorical_loss(target, row, from_logits, smoothing):
    target = [(1 - smoothing) * t + smoothing / len(row) for t in target]
    p = softmax(row) if from_logits else [clip(q / sum(row)) for q in row]
    return -sum(t * math.log(q) for t, q in zip(target, p, strict=True))


def binary_loss(target, row, from_logits, smoothing):
    total = 0.0
    for t, q in zip(target, row, strict=True):
        t = (1 - smoothing) * t + smoothing / 2
        p = 1 / (1 + math.exp(-q)) if from_logits else clip(q)
        total -= t * math.log(p) + (1 - t) * math.log(1 - p)
    return total / len(row)


def squared_loss(target, row):
    return sum((q - t) ** 2 for t, q in zip(target, row, strict=True)) / len(row)


# (a loss, the same as a plain loop over one row, how its labels look, whether y_pred are logits)
CASES = {
    "sparse, logits": (
        SparseCategoricalCrossentropy(from_logits=True),
        lambda y, row: sparse_loss(y, row, True),
        "indices",
        True,
    ),
    "sparse": (
        SparseCategoricalCrossentropy(),
        lambda y, row: sparse_loss(y, row, False),
        "indices",
        False,
    ),
    "categorical, logits": (
        CategoricalCrossentropy(from_logits=True),
        lambda y, row: categorical_loss(y, row, True, 0),
        "one-hot",
        True,
    ),
    "categorical, logits, smoothed": (
        CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
        lambda y, row: categorical_loss(y, row, True, 0.2),
        "one-hot",
        True,
    ),
    "categorical": (
        CategoricalCrossentropy(),
        lambda y, row: categorical_loss(y, row, False, 0),
        "one-hot",
        False,
    ),
    "categorical, smoothed": (
        CategoricalCrossentropy(label_smoothing=0.2),
        lambda y, row: categorical_loss(y, row, False, 0.2),
        "one-hot",
        False,
    ),
    "categorical, soft labels": (
        CategoricalCrossentropy(),
        lambda y, row: categorical_loss(y, row, False, 0),
        "soft",
        False,
    ),
    "binary, logits": (
        BinaryCrossentropy(from_logits=True),
        lambda y, row: binary_loss(y, row, True, 0),
        "bits",
        True,
    ),
    "binary": (
        BinaryCrossentropy(),
        lambda y, row: binary_loss(y, row, False, 0),
        "bits",
        False,
    ),
    "binary, smoothed": (
        BinaryCrossentropy(label_smoothing=0.2),
        lambda y, row: binary_loss(y, row, False, 0.2),
        "bits",
        False,
    ),
    "squared error": (MeanSquaredError(), squared_loss, "numbers", True),
}


def make(case, shape=(6, 4), dtype="float64"):
    """The loss, its loop, y_true and y_pred of a case."""
    loss, loop, labels, from_logits = CASES[case]
    rng = np.random.default_rng(11)
    y_pred = rng.normal(size=shape) * 2
    if not from_logits:
        # Probabilities that do not quite add up, as rounding leaves them, inside the clip.
        y_pred = np.exp(y_pred) / np.exp(y_pred).sum(-1, keepdims=True) * 0.95
    indices = rng.integers(0, shape[-1], shape[:-1])
    y_true = {
        "indices": indices,
        "one-hot": np.eye(shape[-1])[indices],
        "soft": rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
        "bits": rng.integers(0, 2, shape),
        "numbers": rng.normal(size=shape),
    }[labels]
    return loss, loop, y_true, y_pred.astype(dtype)


def numeric_gradient(f, x, h=1e-6):
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (f(up) - f(down)) / (2 * h)
    return gradient


@pytest.mark.parametrize("case", CASES)
class TestEveryLoss:
    def test_is_the_mean_of_a_plain_loop(self, case):
        loss, loop, y_true, y_pred = make(case)
        expected = [loop(y, row) for y, row in zip(y_true, y_pred.tolist(), strict=True)]
        value = loss(y_true, y_pred)
        assert type(value) is float
        assert value == pytest.approx(sum(expected) / 6, rel=1e-12)

    def test_sample_weights_multiply_and_the_batch_size_divides(self, case):
        loss, loop, y_true, y_pred = make(case)
        weights = [0.0, 1.0, 2.0, 0.5, 3.0, 0.25]
        rows = zip(weights, y_true, y_pred.tolist(), strict=True)
        expected = sum(w * loop(y, row) for w, y, row in rows) / 6
        assert loss(y_true, y_pred, sample_weight=weights) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("shape", [(6, 4), (1, 2), (2, 3, 4)])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_gradient(self, case, shape, weighted):
        loss, _, y_true, y_pred = make(case, shape)
        weights = np.linspace(0.5, 2, shape[0]) if weighted else None
        expected = numeric_gradient(lambda p: loss(y_true, p, weights), y_pred)
        loss.forward(y_true, y_pred, weights)
        assert loss.backward() == pytest.approx(expected, rel=1e-6, abs=1e-8)

    def test_float32_in_float32_out(self, case):
        loss, _, y_true, y_pred = make(case)
        exact = loss(y_true, y_pred)
        exact_gradient = loss.backward()
        assert loss(y_true, y_pred.astype("float32")) == pytest.approx(exact, rel=1e-5)
        gradient = loss.backward()
        assert gradient.dtype == np.float32
        assert gradient == pytest.approx(exact_gradient, rel=1e-4, abs=1e-6)

    def test_nothing_is_written_to_and_backward_is_new_each_time(self, case):
        loss, _, y_true, y_pred = make(case)
        y_true.setflags(write=False)
        y_pred.setflags(write=False)
        loss(y_true, y_pred)
        first = loss.backward()
        kept = first.copy()
        first[...] = 0
        assert np.array_equal(loss.backward(), kept)

    def test_more_axes_are_more_rows(self, case):
        loss, _, y_true, y_pred = make(case, (2, 3, 4))
        flat = y_true.reshape(6, *y_true.shape[2:])
        value = loss(y_true, y_pred)
        gradient = loss.backward()
        assert gradient.shape == (2, 3, 4)
        assert value == loss(flat, y_pred.reshape(6, 4))
        assert np.array_equal(gradient.reshape(6, 4), loss.backward())
        weighted = loss(y_true, y_pred, [1.0, 3.0])
        assert weighted == pytest.approx(
            loss(flat, y_pred.reshape(6, 4), [1, 1, 1, 3, 3, 3]), rel=1e-12
        )

    def test_backward_needs_a_forward(self, case):
        loss = type(CASES[case][0])()
        with pytest.raises(ValueError, match=f"{type(loss).__name__}: backward.. needs a forward"):
            loss.backward()

    def test_repr_is_the_constructor_call(self, case):
        loss = CASES[case][0]
        again = eval(repr(loss), vars(losses))
        assert type(again) is type(loss)
        assert again.get_config() == loss.get_config()

    def test_lengths_must_agree(self, case):
        loss, _, y_true, y_pred = make(case)
        with pytest.raises(ValueError, match="y_true has 5 samples, y_pred has 6"):
            loss(y_true[:5], y_pred)

    def test_sample_weights_must_fit(self, case):
        loss, _, y_true, y_pred = make(case)
        with pytest.raises(ValueError, match=r"one weight for each of 6 samples, got shape \(5,\)"):
            loss(y_true, y_pred, np.ones(5))

    @pytest.mark.parametrize("bad", [np.array([None] * 6), np.array(["a"] * 6)])
    def test_labels_must_be_numbers(self, case, bad):
        loss = CASES[case][0]
        with pytest.raises(TypeError, match="takes arrays of numbers, got dtype"):
            loss.check(bad, (4,))

    def test_labels_must_be_finite(self, case):
        loss, _, y_true, _ = make(case)
        bad = y_true.astype(float)
        bad[2] = np.nan
        with pytest.raises(ValueError, match=r"takes finite labels, got nan at index \(?2"):
            loss.check(bad, (4,))

    def test_predictions_must_be_there(self, case):
        loss, _, y_true, y_pred = make(case)
        with pytest.raises(ValueError, match=r"needs predictions, got an array of \(0, 4\)"):
            loss(y_true[:0], y_pred[:0])
        with pytest.raises(ValueError, match="takes arrays of samples, got the number"):
            loss(y_true, 0.5)


@pytest.mark.parametrize("case", ["sparse", "categorical", "binary"])
class TestPairedActivation:
    """Probabilities that a model has just made are scored from their logits."""

    def test_scores_and_gradient_are_those_of_the_logits(self, case):
        loss, _, y_true, y_pred = make(case)
        logits = np.log(y_pred)
        exact = type(loss)(from_logits=True)
        y = loss.check(y_true, (4,), "float64")
        weights = np.linspace(0, 1, 6)
        assert loss.compute(y, logits, weights, from_logits=True) == exact(y, logits, weights)
        assert np.array_equal(loss.backward(), exact.backward())

    def test_the_prediction_is_the_activation(self, case):
        loss, _, y_true, y_pred = make(case)
        loss.compute(loss.check(y_true, (4,), "float64"), np.log(y_pred), from_logits=True)
        if loss.paired_activation == "softmax":
            expected = [softmax(row) for row in np.log(y_pred).tolist()]
        else:
            expected = y_pred / (1 + y_pred)
        assert loss.prediction == pytest.approx(np.array(expected), rel=1e-12)

    def test_without_it_the_prediction_is_what_was_given(self, case):
        loss, _, y_true, y_pred = make(case)
        loss(y_true, y_pred)
        assert np.array_equal(loss.prediction, y_pred)
        logits_loss = type(loss)(from_logits=True)
        logits_loss(y_true, y_pred)
        assert np.array_equal(logits_loss.prediction, y_pred)

    def test_extreme_logits_stay_finite(self, case):
        loss, _, y_true, y_pred = make(case)
        y = loss.check(y_true, (4,), "float64")
        logits = np.where(y_pred > 0.3, 1e4, -1e4)
        assert math.isfinite(loss.compute(y, logits, from_logits=True))
        assert np.isfinite(loss.backward()).all()


class TestClip:
    """Where the clip holds a probability, moving it changes nothing: a gradient of 0."""

    def test_binary(self):
        p = np.array([[0.0], [EPSILON / 2], [0.5], [1 - EPSILON / 2], [1.0]])
        loss = BinaryCrossentropy()
        expected = -(2 * math.log(EPSILON) + math.log(0.5) + 2 * math.log(1 - EPSILON)) / 5
        assert loss(np.ones((5, 1)), p) == pytest.approx(expected, rel=1e-12)
        assert loss.backward()[:, 0].tolist() == pytest.approx([0, 0, -2 / 5, 0, 0])

    def test_sparse(self):
        p = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
        loss = SparseCategoricalCrossentropy()
        total = 1 + EPSILON
        certain = 1 - EPSILON
        expected = math.log(total / EPSILON) + math.log((certain + 2 * EPSILON) / certain)
        assert loss([0, 0], p) == pytest.approx(expected / 2, rel=1e-12)
        gradient = loss.backward()
        assert gradient[0].tolist() == pytest.approx([0, 0.5 / total, 0.5 / total])
        assert gradient[1].tolist() == [0, 0, 0]

    def test_categorical(self):
        p = np.array([[0.0, 0.5, 1.5], [2.0, 0.0, 0.0]])
        loss = CategoricalCrossentropy()
        expected = -(math.log(EPSILON) + math.log(1 - EPSILON)) / 2
        assert loss(np.eye(3)[[0, 0]], p) == pytest.approx(expected, rel=1e-12)
        assert loss.backward().tolist() == [[0, 0, 0], [0, 0, 0]]

    @pytest.mark.parametrize("end", [EPSILON, 1 - EPSILON])
    def test_the_ends_themselves_are_free(self, end):
        loss = BinaryCrossentropy()
        loss([[1.0]], np.array([[end]]))
        assert loss.backward()[0, 0] == pytest.approx(-1 / end)

    def test_float32_never_reaches_an_infinity(self):
        loss = BinaryCrossentropy()
        value = loss([[1], [0]], np.array([[0], [1]], "float32"))
        assert 15 < value < 17
        assert np.isfinite(loss.backward()).all()


def test_known_values():
    assert SparseCategoricalCrossentropy()([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]) == (
        pytest.approx(-(math.log(0.95) + math.log(0.1)) / 2, rel=1e-6)
    )
    assert SparseCategoricalCrossentropy(from_logits=True)([3], np.zeros((1, 10))) == (
        pytest.approx(math.log(10))
    )
    assert BinaryCrossentropy()([0, 1, 0, 0], [0.6, 0.3, 0.2, 0.8]) == pytest.approx(
        -(math.log(0.4) + math.log(0.3) + math.log(0.8) + math.log(0.2)) / 4
    )
    assert MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [1, 0]]) == 0.5


class TestLabels:
    def test_class_indices_become_int64(self):
        loss = SparseCategoricalCrossentropy()
        for labels in (np.array([0, 9], "uint8"), [0.0, 9.0], np.array([[0], [9]], "int32")):
            checked = loss.check(labels, (10,))
            assert checked.dtype == np.int64
            assert checked.tolist() == [0, 9]

    def test_other_labels_get_the_dtype_asked_for(self):
        for loss in (CategoricalCrossentropy(), BinaryCrossentropy(), MeanSquaredError()):
            assert loss.check(np.eye(3, dtype="uint8"), (3,)).dtype == np.float32
            assert loss.check(np.eye(3), (3,), "float64").dtype == np.float64

    @pytest.mark.parametrize("loss", [BinaryCrossentropy(), MeanSquaredError()])
    def test_one_number_a_sample_may_have_an_axis_or_not(self, loss):
        assert loss.check([0, 1, 1], (1,)).shape == (3, 1)
        assert loss.check([[0], [1], [1]], ()).shape == (3,)
        value = loss([0, 1, 1], [[0.1], [0.7], [0.6]])
        assert value == loss([[0], [1], [1]], [0.1, 0.7, 0.6])

    @pytest.mark.parametrize(("label", "index"), [(10, 3), (-1, 0)])
    def test_out_of_range(self, label, index):
        labels = [0, 1, 2, 3, 4]
        labels[index] = label
        with pytest.raises(
            ValueError,
            match=f"takes labels from 0 to 9, as the model predicts 10 classes, got {label} "
            f"at index {index}$",
        ):
            SparseCategoricalCrossentropy().check(labels, (10,))

    def test_unsigned_labels_out_of_range(self):
        with pytest.raises(ValueError, match="got 255 at index 1"):
            SparseCategoricalCrossentropy().check(np.array([0, 255], "uint8"), (10,))

    def test_not_whole(self):
        with pytest.raises(ValueError, match=r"are whole numbers, got 1\.5 at index 1"):
            SparseCategoricalCrossentropy().check([0, 1.5], (10,))

    def test_one_hot_for_the_sparse_loss_names_the_other(self):
        with pytest.raises(ValueError, match=r"shape \(n,\), got \(n, 10\).*use Categorical") as e:
            SparseCategoricalCrossentropy().check(np.eye(10), (10,))
        assert "argmax" in str(e.value)

    @pytest.mark.parametrize("shape", [(5,), (5, 1)])
    def test_indices_for_the_categorical_loss_name_the_other(self, shape):
        labels = np.zeros(shape, int)
        with pytest.raises(ValueError, match=r"one-hot labels.*use SparseCategoricalCross") as e:
            CategoricalCrossentropy().check(labels, (10,))
        assert "utils.to_categorical(y, 10)" in str(e.value)

    def test_another_number_of_classes(self):
        with pytest.raises(ValueError, match=r"the model predicts, \(n, 10\), got \(n, 7\)"):
            CategoricalCrossentropy().check(np.eye(7), (10,))
        with pytest.raises(ValueError, match=r"y of shape \(n, 3\), got \(n,\)$"):
            SparseCategoricalCrossentropy().check([1, 2], (3, 10))

    def test_one_output_is_no_classification_into_many(self):
        for loss in (SparseCategoricalCrossentropy(), CategoricalCrossentropy()):
            for shape in ((), (1,)):
                with pytest.raises(ValueError, match=r"at least 2 classes.*use BinaryCrossentropy"):
                    loss.check([0, 1], shape)

    def test_probabilities_out_of_range(self):
        with pytest.raises(ValueError, match=r"takes labels from 0 to 1, got -1.0 at index \(1, 0"):
            BinaryCrossentropy().check([1, -1], (1,))
        with pytest.raises(ValueError, match=r"takes labels from 0 to 1, got 3.0 at index \(0, 0"):
            CategoricalCrossentropy().check(3 * np.eye(2), (2,))

    def test_a_single_value_is_no_array(self):
        with pytest.raises(ValueError, match="takes arrays of samples, got the single value 3"):
            SparseCategoricalCrossentropy().check(3, (10,))


class TestFunctions:
    @pytest.mark.parametrize(
        ("function", "case", "arguments"),
        [
            (losses.sparse_categorical_crossentropy, "sparse", {}),
            (losses.sparse_categorical_crossentropy, "sparse, logits", {"from_logits": True}),
            (losses.categorical_crossentropy, "categorical, smoothed", {"label_smoothing": 0.2}),
            (losses.binary_crossentropy, "binary, logits", {"from_logits": True}),
            (losses.mean_squared_error, "squared error", {}),
        ],
    )
    def test_one_value_a_sample(self, function, case, arguments):
        _, loop, y_true, y_pred = make(case)
        expected = [loop(y, row) for y, row in zip(y_true, y_pred.tolist(), strict=True)]
        assert function(y_true, y_pred, **arguments) == pytest.approx(np.array(expected))
        _, _, y_true, y_pred = make(case, (2, 3, 4))
        assert function(y_true, y_pred, **arguments).shape == (2, 3)

    def test_mean_squared_error_is_one_function(self):
        assert losses.mean_squared_error is metrics.mean_squared_error


class TestGet:
    @pytest.mark.parametrize(
        ("identifier", "kind"),
        [
            ("sparse_categorical_crossentropy", SparseCategoricalCrossentropy),
            ("SparseCategoricalCrossentropy", SparseCategoricalCrossentropy),
            ("categorical_crossentropy", CategoricalCrossentropy),
            ("binary_crossentropy", BinaryCrossentropy),
            ("bce", BinaryCrossentropy),
            ("mse", MeanSquaredError),
            ("MeanSquaredError", MeanSquaredError),
            (CategoricalCrossentropy, CategoricalCrossentropy),
            (losses.categorical_crossentropy, CategoricalCrossentropy),
        ],
    )
    def test_finds(self, identifier, kind):
        assert type(losses.get(identifier)) is kind

    def test_an_instance_is_itself(self):
        loss = BinaryCrossentropy()
        assert losses.get(loss) is loss

    def test_unknown_name(self):
        with pytest.raises(ValueError, match="did you mean 'sparse_categorical_crossentropy'"):
            losses.get("sparse_categorical_crossentrop")

    def test_a_function_has_no_gradient(self):
        with pytest.raises(TypeError, match=r"needs its gradient written out.*subclass"):
            losses.get(lambda y_true, y_pred: 0)

    @pytest.mark.parametrize("identifier", [3, ["mse"]])
    def test_anything_else(self, identifier):
        with pytest.raises(TypeError, match="loss must be a name, a class or an instance, got"):
            losses.get(identifier)


class TestArguments:
    def test_names_are_keras_names(self):
        assert SparseCategoricalCrossentropy().name == "sparse_categorical_crossentropy"
        assert CategoricalCrossentropy().name == "categorical_crossentropy"
        assert BinaryCrossentropy().name == "binary_crossentropy"
        assert MeanSquaredError().name == "mean_squared_error"
        assert MeanSquaredError(name="mine").name == "mine"

    def test_unknown(self):
        with pytest.raises(TypeError, match="MeanSquaredError has no argument 'reduction'"):
            MeanSquaredError(reduction="sum")

    def test_label_smoothing_out_of_range(self):
        for kind in (CategoricalCrossentropy, BinaryCrossentropy):
            with pytest.raises(ValueError, match=r"label_smoothing must be .* of at least 0 and"):
                kind(label_smoothing=1.5)


class AbsoluteDifference(Loss):
    def call(self, y_true, y_pred):
        return np.abs(y_pred - y_true).mean(axis=1)

    def gradient(self, y_true, y_pred):
        return np.sign(y_pred - y_true) / y_pred.shape[1]


class TestALossOfYourOwn:
    def test_two_methods_are_enough(self):
        loss = AbsoluteDifference()
        assert loss.name == "absolute_difference"
        _, _, y_true, y_pred = make("squared error", (2, 3, 4))
        weights = [1.0, 3.0]
        mean = np.abs(y_pred - y_true).mean(axis=(1, 2))
        assert loss(y_true, y_pred, weights) == pytest.approx((mean * weights).sum() / 2)
        expected = numeric_gradient(lambda p: loss(y_true, p, weights), y_pred)
        loss(y_true, y_pred, weights)
        assert loss.backward() == pytest.approx(expected)

    def test_call_must_return_one_loss_a_row(self):
        class Total(AbsoluteDifference):
            def call(self, y_true, y_pred):
                return np.abs(y_pred - y_true)

        with pytest.raises(ValueError, match=r"Total: call must return one loss .*\(2, 3\)"):
            Total()(np.ones((2, 3)), np.ones((2, 3)))

    def test_what_is_missing_is_named(self):
        with pytest.raises(NotImplementedError, match=r"Loss must define call"):
            Loss()([1.0], [1.0])
