import numpy as np
import pytest

from tinynet import random
from tinynet.layers import Dropout

ONES = np.ones((100, 1000), "float32")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_rate_is_kept_on_average_and_the_rest_scaled_up(rate):
    y = Dropout(rate)(ONES, training=True)
    values = np.unique(y)
    np.testing.assert_allclose(values, [0, 1 / (1 - rate)], rtol=1e-6)
    # The standard deviation of the share is below sqrt(0.25 / 100_000) = 0.0016.
    assert abs((y == 0).mean() - rate) < 0.01
    assert abs(y.mean() - 1) < 0.03


def test_inference_and_a_rate_of_0_change_nothing():
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    np.testing.assert_array_equal(Dropout(0.9)(x), x)
    np.testing.assert_array_equal(Dropout(0)(x, training=True), x)


def test_the_gradient_has_the_same_mask():
    layer = Dropout(0.5)
    y = layer(ONES, training=True)
    np.testing.assert_array_equal(layer.backward(3 * ONES), 3 * y)


def test_each_batch_has_noise_of_its_own():
    layer = Dropout(0.5)
    assert (layer(ONES, training=True) != layer(ONES, training=True)).any()


def test_the_same_seed_gives_the_same_masks():
    one, two, other = Dropout(0.5, seed=7), Dropout(0.5, seed=7), Dropout(0.5, seed=8)
    for _ in range(2):
        y = one(ONES, training=True)
        np.testing.assert_array_equal(two(ONES, training=True), y)
        assert (other(ONES, training=True) != y).any()


def test_without_a_seed_the_librarys_generator_is_drawn_from():
    layer = Dropout(0.5)
    random.set_random_seed(3)
    y = layer(ONES, training=True)
    random.set_random_seed(3)
    np.testing.assert_array_equal(layer(ONES, training=True), y)
    with_own = Dropout(0.5, seed=7)
    state = random.generator().bit_generator.state
    with_own(ONES, training=True)
    assert random.generator().bit_generator.state == state


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rate": 1.0}, ValueError, "rate must be .* at least 0 and below 1, got 1.0"),
        ({"rate": -0.1}, ValueError, "rate must be .* at least 0 and below 1, got -0.1"),
        ({"rate": "half"}, TypeError, "rate must be a finite number"),
        ({"rate": float("nan")}, ValueError, "rate must be a finite number"),
        ({"rate": 0.5, "seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
        ({"rate": 0.5, "seed": 1.5}, TypeError, "seed must be an integer of at least 0, got 1.5"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Dropout(**arguments)
