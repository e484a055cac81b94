import random as python_random

import numpy as np
import pytest

from tinynet import Sequential, layers
from tinynet.random import generator
from tinynet.utils import set_random_seed, to_categorical


class TestToCategorical:
    @pytest.mark.parametrize(
        ("x", "num_classes", "expected"),
        [
            ([0, 2, 1], None, [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
            ([0, 1], 4, [[1, 0, 0, 0], [0, 1, 0, 0]]),
            ([[1], [0]], None, [[0, 1], [1, 0]]),
            ([[0, 1], [1, 1]], None, [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]),
            ([[[1]], [[0]]], None, [[[0, 1]], [[1, 0]]]),
            ([1], None, [[0, 1]]),
            (2, None, [0, 0, 1]),
            ([True, False], None, [[0, 1], [1, 0]]),
            ([1.0, 0.0], None, [[0, 1], [1, 0]]),
            (np.array([255], np.uint8), 300, [[0] * 255 + [1] + [0] * 44]),
            ([0, 0], np.int64(1), [[1], [1]]),
            ([], 3, np.zeros((0, 3))),
        ],
    )
    def test_rows_with_a_single_one(self, x, num_classes, expected):
        rows = to_categorical(x, num_classes)
        assert rows.dtype == np.float64
        assert rows.shape == np.shape(expected)
        np.testing.assert_array_equal(rows, expected)

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u4", "i8", "f4", "f8", ">i2"])
    def test_every_type_of_number(self, dtype):
        labels = np.array([3, 0, 3], dtype)
        np.testing.assert_array_equal(to_categorical(labels), np.eye(4)[[3, 0, 3]])
        assert labels.tolist() == [3, 0, 3]

    def test_is_undone_by_argmax(self):
        labels = np.random.default_rng(0).integers(0, 10, 50)
        rows = to_categorical(labels, num_classes=10)
        np.testing.assert_array_equal(rows.argmax(axis=1), labels)
        np.testing.assert_array_equal(rows.sum(axis=1), 1)

    @pytest.mark.parametrize(
        ("x", "num_classes", "error", "message"),
        [
            ([0, 3], 3, ValueError, "indices from 0 to 2, got 3 at index 1"),
            ([[0, 1], [1, 5]], 2, ValueError, r"from 0 to 1, got 5 at index \(1, 1\)"),
            ([0, -1], None, ValueError, "got -1 at index 1"),
            ([-1], None, ValueError, "indices from 0 to 0, got -1 at index 0"),
            ([], None, ValueError, "give num_classes"),
            ([0], 0, ValueError, "num_classes must be an integer of at least 1, got 0"),
            ([0], 2.0, TypeError, "num_classes must be an integer"),
            ([0.5], None, TypeError, r"whole numbers, got \[0.5\]"),
            ([np.nan], 3, TypeError, "whole numbers"),
            ([np.inf], 3, TypeError, "whole numbers"),
            ([1e300], 3, ValueError, "indices from 0 to 2, got 1e.300 at index 0"),
            (["a"], None, TypeError, "whole numbers"),
            (None, None, TypeError, "whole numbers, got None"),
            ([1j], None, TypeError, "whole numbers"),
        ],
    )
    def test_refuses(self, x, num_classes, error, message):
        with pytest.raises(error, match=message):
            to_categorical(x, num_classes)


class TestSetRandomSeed:
    def weights(self, seed):
        set_random_seed(seed)
        return Sequential([layers.Dense(7, input_shape=(5,))]).get_weights()[0]

    def test_the_same_seed_gives_the_same_weights(self):
        np.testing.assert_array_equal(self.weights(1), self.weights(1))
        np.testing.assert_array_equal(self.weights(np.uint8(1)), self.weights(1))
        assert (self.weights(1) != self.weights(2)).any()

    def test_without_it_weights_differ(self):
        a, b = (Sequential([layers.Dense(7, input_shape=(5,))]) for _ in range(2))
        assert (a.get_weights()[0] != b.get_weights()[0]).any()

    def test_layers_that_were_built_before_follow(self):
        dropout = layers.Dropout(0.5, input_shape=(50,))
        model = Sequential([dropout])
        drawn = []
        for _ in range(2):
            set_random_seed(3)
            drawn.append(model.forward(np.ones((2, 50)), training=True))
        np.testing.assert_array_equal(*drawn)
        assert dropout.rng is generator()

    def test_neither_numpys_nor_pythons_state_is_touched(self):
        before = np.random.get_state()[1].copy(), python_random.getstate()  # noqa: NPY002
        model = Sequential(
            [
                layers.Dense(7, activation="relu", input_shape=(5,)),
                layers.Dropout(0.5),
                layers.Dense(2, activation="softmax"),
            ]
        )
        set_random_seed(5)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(np.ones((9, 5)), np.arange(9) % 2, 2, verbose=0)
        after = np.random.get_state()[1], python_random.getstate()  # noqa: NPY002
        np.testing.assert_array_equal(before[0], after[0])
        assert before[1] == after[1]

    def test_nor_do_they_matter(self):
        np.random.seed(0)  # noqa: NPY002
        first = self.weights(4)
        np.random.seed(1)  # noqa: NPY002
        np.testing.assert_array_equal(first, self.weights(4))

    @pytest.mark.parametrize("seed", [1.0, "1", None, True])
    def test_a_seed_is_an_integer(self, seed):
        with pytest.raises(TypeError, match="seed must be an integer, got"):
            set_random_seed(seed)

    def test_a_seed_is_not_negative(self):
        with pytest.raises(ValueError, match="seed must not be negative, got -1"):
            set_random_seed(-1)
