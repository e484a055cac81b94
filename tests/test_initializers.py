import math

import numpy as np
import pytest

from tinynet import initializers
from tinynet.initializers import GlorotNormal, GlorotUniform, HeNormal, HeUniform, Ones, Zeros
from tinynet.random import set_random_seed

RANDOM = [GlorotUniform, GlorotNormal, HeUniform, HeNormal]
SHAPE = (300, 200)


def test_zeros_and_ones():
    assert Zeros()((2, 3)).tolist() == [[0.0] * 3] * 2
    assert Ones()((2, 3), "float64").tolist() == [[1.0] * 3] * 2
    assert Zeros()((2,)).dtype == np.float32
    assert Ones()((2,), "float64").dtype == np.float64


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((3, 5), (3, 5)),
        ((3, 3, 16, 32), (144, 288)),
        ((2, 5, 1, 4), (10, 40)),
    ],
)
def test_fans(shape, expected):
    assert initializers.fans(shape) == expected


@pytest.mark.parametrize(
    ("kind", "variance"),
    [
        (GlorotUniform, 2 / (300 + 200)),
        (GlorotNormal, 2 / (300 + 200)),
        (HeUniform, 2 / 300),
        (HeNormal, 2 / 300),
    ],
)
def test_mean_and_variance(kind, variance):
    values = kind(seed=1)(SHAPE, "float64")
    # 60,000 values: four standard errors of the mean, and of a variance with kurtosis up to 3.
    assert abs(values.mean()) < 4 * math.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / values.size))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (GlorotUniform, math.sqrt(6 / 500)),
        (HeUniform, math.sqrt(6 / 300)),
        (GlorotNormal, 2 * math.sqrt(2 / 500) / 0.87962566103423978),
        (HeNormal, 2 * math.sqrt(2 / 300) / 0.87962566103423978),
    ],
)
def test_limits_are_kept_and_reached(kind, limit):
    values = np.abs(kind(seed=1)(SHAPE, "float64"))
    assert 0.99 * limit < values.max() <= limit


def test_the_correction_is_the_standard_deviation_of_a_truncated_normal():
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    inside = math.erf(2 / math.sqrt(2))
    assert math.sqrt(1 - 4 * density / inside) == pytest.approx(initializers.TRUNCATED_STD)


def test_normals_are_bell_shaped_not_flat():
    for kind in (GlorotNormal, HeNormal):
        values = kind(seed=2)(SHAPE, "float64") / kind(seed=2)(SHAPE, "float64").std()
        within_half = np.mean(np.abs(values) < 0.5)
        # Of a normal cut at 2: erf(0.5 s / sqrt 2) / erf(2 / sqrt 2) with s = 0.8796.
        assert within_half == pytest.approx(0.3559, abs=0.01)


@pytest.mark.parametrize("kind", RANDOM)
class TestRandomness:
    def test_a_seed_gives_the_same_values_at_every_call(self, kind):
        one = kind(seed=3)
        assert np.array_equal(one(SHAPE), one(SHAPE))
        assert np.array_equal(one(SHAPE), kind(seed=3)(SHAPE, rng=np.random.default_rng(9)))
        assert not np.array_equal(one(SHAPE), kind(seed=4)(SHAPE))

    def test_without_a_seed_the_given_generator_is_used(self, kind):
        one, rng = kind(), np.random.default_rng(5)
        first, second = one(SHAPE, rng=rng), one(SHAPE, rng=rng)
        assert not np.array_equal(first, second)
        assert np.array_equal(first, one(SHAPE, rng=np.random.default_rng(5)))

    def test_and_otherwise_the_one_that_set_random_seed_starts(self, kind):
        set_random_seed(6)
        first = kind()(SHAPE)
        assert not np.array_equal(first, kind()(SHAPE))
        set_random_seed(6)
        assert np.array_equal(first, kind()(SHAPE))

    def test_the_dtype_only_rounds(self, kind):
        single, double = kind(seed=7)(SHAPE, "float32"), kind(seed=7)(SHAPE, "float64")
        assert single.dtype == np.float32
        assert np.array_equal(single, double.astype("float32"))

    def test_config_and_repr(self, kind):
        assert kind(seed=3).get_config() == {"seed": 3}
        assert repr(kind(seed=3)) == f"{kind.__name__}(seed=3)"

    def test_bad_seeds(self, kind):
        with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
            kind(seed=-1)
        with pytest.raises(TypeError, match=r"seed must be .* got 1.5 of type float"):
            kind(seed=1.5)


NAMES = {
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "zeros": Zeros,
    "ones": Ones,
}


class TestGet:
    @pytest.mark.parametrize(("name", "kind"), NAMES.items())
    def test_by_name_class_and_instance(self, name, kind):
        assert type(initializers.get(name)) is kind
        assert type(initializers.get(kind.__name__)) is kind
        assert type(initializers.get(kind)) is kind
        instance = kind()
        assert initializers.get(instance) is instance

    def test_by_function(self):
        def halves(shape, dtype):
            return np.full(shape, 0.5, dtype)

        initializer = initializers.get(halves)
        values = initializer((2, 3), "float64")
        assert values.tolist() == [[0.5] * 3] * 2
        assert values.dtype == np.float64
        assert repr(initializer) == "halves"

    def test_a_function_of_the_wrong_shape(self):
        initializer = initializers.get(lambda shape, dtype: np.zeros(3, dtype))
        with pytest.raises(ValueError, match=r"must return shape \(2, 2\), got \(3,\)"):
            initializer((2, 2))

    def test_unknown_name(self):
        with pytest.raises(
            ValueError, match=r"unknown initializer 'he_norml'; did you mean 'he_no"
        ):
            initializers.get("he_norml")

    @pytest.mark.parametrize("identifier", [3, None, ["zeros"]])
    def test_anything_else(self, identifier):
        with pytest.raises(TypeError, match="initializer must be a name, a class or an instance"):
            initializers.get(identifier)

    def test_unknown_arguments(self):
        with pytest.raises(TypeError, match="HeNormal has no argument 'scale'; it takes seed"):
            HeNormal(scale=2)
        with pytest.raises(TypeError, match="Zeros has no argument 'seed'; it takes none"):
            Zeros(seed=1)
