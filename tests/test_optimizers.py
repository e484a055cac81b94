import math

import numpy as np
import pytest

from tinynet import optimizers
from tinynet.optimizers import SGD, Adam, Optimizer, RMSprop

GRADIENTS = [0.5, -1.0, 2.0, 0.25, 0.0, -3.0]
START = 1.5


def sgd_by_hand(lr=0.01):
    w, path = START, []
    for g in GRADIENTS:
        w -= lr * g
        path.append(w)
    return path


def momentum_by_hand(lr, momentum, nesterov):
    w, velocity, path = START, 0.0, []
    for g in GRADIENTS:
        velocity = momentum * velocity - lr * g
        w += momentum * velocity - lr * g if nesterov else velocity
        path.append(w)
    return path


def adam_by_hand(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    w, m, v, path = START, 0.0, 0.0, []
    for t, g in enumerate(GRADIENTS, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        alpha = lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w -= alpha * m / (math.sqrt(v) + epsilon)
        path.append(w)
    return path


def rmsprop_by_hand(lr=0.001, rho=0.9, momentum=0.0, epsilon=1e-7):
    w, mean_square, velocity, path = START, 0.0, 0.0, []
    for g in GRADIENTS:
        mean_square = rho * mean_square + (1 - rho) * g * g
        velocity = momentum * velocity + lr * g / math.sqrt(mean_square + epsilon)
        w -= velocity
        path.append(w)
    return path


CASES = [
    (SGD(), sgd_by_hand()),
    (SGD(0.1, 0.9), momentum_by_hand(0.1, 0.9, False)),
    (SGD(0.1, momentum=0.9, nesterov=True), momentum_by_hand(0.1, 0.9, True)),
    (Adam(), adam_by_hand()),
    (Adam(0.1, 0.8, 0.95, 1e-3), adam_by_hand(0.1, 0.8, 0.95, 1e-3)),
    (RMSprop(), rmsprop_by_hand()),
    (RMSprop(0.1, 0.8, 0.5, 1e-3), rmsprop_by_hand(0.1, 0.8, 0.5, 1e-3)),
]


def again(optimizer):
    """A new optimizer with the same arguments."""
    return type(optimizer)(**optimizer.get_config())


def walk(optimizer, dtype="float64"):
    """The weight after each step, from START."""
    params, path = {"dense/kernel": np.array([[START]], dtype)}, []
    for g in GRADIENTS:
        optimizer.apply(params, {"dense/kernel": np.array([[g]], dtype)})
        path.append(float(params["dense/kernel"][0, 0]))
    return path


@pytest.mark.parametrize(("optimizer", "by_hand"), CASES, ids=[repr(o) for o, _ in CASES])
class TestEveryOptimizer:
    def test_steps_are_those_made_by_hand(self, optimizer, by_hand):
        assert walk(again(optimizer)) == pytest.approx(by_hand, rel=1e-12)

    def test_in_float32_too(self, optimizer, by_hand):
        assert walk(again(optimizer), "float32") == pytest.approx(by_hand, rel=1e-6)

    def test_many_weights_at_once_each_on_its_own(self, optimizer, by_hand):
        one = again(optimizer)
        kernel, bias = np.full((2, 3), START), np.zeros(3)
        params = {"dense/kernel": kernel, "dense/bias": bias}
        for g in GRADIENTS:
            one.apply(params, {"dense/kernel": np.full((2, 3), g), "dense/bias": np.zeros(3)})
        assert kernel == pytest.approx(np.full((2, 3), by_hand[-1]), rel=1e-12)
        assert bias.tolist() == [0, 0, 0]
        assert params["dense/kernel"] is kernel
        assert one.iterations == len(GRADIENTS)

    def test_gradients_are_not_written_to(self, optimizer, by_hand):
        grad = np.array([1.0, 2.0])
        grad.setflags(write=False)
        again(optimizer).apply({"w": np.zeros(2)}, {"w": grad})
        assert grad.tolist() == [1.0, 2.0]

    def test_slots_start_at_zero_and_have_the_weights_shape(self, optimizer, by_hand):
        one = again(optimizer)
        one.apply({"w": np.ones((2, 3), "float32")}, {"w": np.zeros((2, 3), "float32")})
        for slot in one.slots["w"].values():
            assert slot.dtype == np.float32
            assert slot.tolist() == [[0] * 3] * 2

    def test_state_moved_to_another_optimizer_goes_on(self, optimizer, by_hand):
        first, second = again(optimizer), again(optimizer)
        params = {"w": np.array([START])}
        for g in GRADIENTS[:3]:
            first.apply(params, {"w": np.array([g])})
        second.iterations = first.iterations
        second.slots = {k: {n: a.copy() for n, a in s.items()} for k, s in first.slots.items()}
        for g in GRADIENTS[3:]:
            second.apply(params, {"w": np.array([g])})
        assert params["w"][0] == pytest.approx(by_hand[-1], rel=1e-12)

    def test_learning_rate_can_be_set_between_steps(self, optimizer, by_hand):
        one, params = again(optimizer), {"w": np.array([START])}
        one.learning_rate = 0
        one.apply(params, {"w": np.array([1.0])})
        assert params["w"][0] == START
        one.learning_rate = np.float32(0.5)
        assert type(one.learning_rate) is float
        one.apply(params, {"w": np.array([1.0])})
        assert params["w"][0] < START

    @pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
    def test_learning_rate_out_of_range(self, optimizer, by_hand, bad):
        one = again(optimizer)
        with pytest.raises(ValueError, match="learning_rate must be a finite number of at least"):
            one.learning_rate = bad
        with pytest.raises(ValueError, match="learning_rate must be a finite number of at least"):
            type(one)(learning_rate=bad)
        assert one.learning_rate == optimizer.learning_rate

    @pytest.mark.parametrize("bad", ["0.1", None, True, lambda step: 0.1])
    def test_learning_rate_that_is_no_number(self, optimizer, by_hand, bad):
        with pytest.raises(TypeError, match=r"learning_rate must be .*, got .* of type"):
            again(optimizer).learning_rate = bad

    @pytest.mark.parametrize(
        ("grads", "got"),
        [
            ({}, "got none"),
            ({"b": np.ones((2, 1))}, r"got \(2, 1\) float64"),
            ({"b": np.ones(2, "float32")}, r"got \(2,\) float32"),
        ],
    )
    def test_a_gradient_that_does_not_fit_changes_nothing(self, optimizer, by_hand, grads, got):
        one, params = again(optimizer), {"a": np.ones(2), "b": np.ones(2)}
        with pytest.raises(ValueError, match=f"the weight 'b' of shape .* needs a grad.*{got}"):
            one.apply(params, {"a": np.ones(2), **grads})
        assert params["a"].tolist() == params["b"].tolist() == [1.0, 1.0]
        assert one.iterations == 0
        assert one.slots == {}

    def test_repr_is_the_constructor_call(self, optimizer, by_hand):
        one = eval(repr(optimizer), vars(optimizers))
        assert type(one) is type(optimizer)
        assert one.get_config() == optimizer.get_config()


def test_slots_are_keyed_like_weights():
    for optimizer, names in [
        (SGD(), set()),
        (SGD(momentum=0.9), {"velocity"}),
        (Adam(), {"m", "v"}),
        (RMSprop(), {"mean_square"}),
        (RMSprop(momentum=0.9), {"mean_square", "velocity"}),
    ]:
        optimizer.apply({"dense/kernel": np.ones(2)}, {"dense/kernel": np.ones(2)})
        assert list(optimizer.slots) == ["dense/kernel"]
        assert set(optimizer.slots["dense/kernel"]) == names


def test_slots_of_another_model_are_refused():
    optimizer = Adam()
    optimizer.apply({"dense/kernel": np.ones(2)}, {"dense/kernel": np.ones(2)})
    other = np.ones(3)
    with pytest.raises(ValueError, match=r"was used on another model before.*new optimizer"):
        optimizer.apply({"dense/kernel": other}, {"dense/kernel": np.ones(3)})
    assert other.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SGD, {"momentum": -0.1}, "momentum must be a finite number of at least 0 and of at most"),
        (SGD, {"momentum": 1.1}, "momentum must be"),
        (Adam, {"beta_1": 1.0}, "beta_1 must be a finite number of at least 0 and below 1, got 1"),
        (Adam, {"beta_2": -0.5}, "beta_2 must be"),
        (Adam, {"epsilon": 0}, "epsilon must be a finite number above 0, got 0"),
        (RMSprop, {"rho": 1}, "rho must be"),
        (RMSprop, {"momentum": 2}, "momentum must be"),
        (RMSprop, {"epsilon": -1e-7}, "epsilon must be"),
    ],
)
def test_arguments_out_of_range(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_unknown_arguments():
    with pytest.raises(TypeError, match=r"Adam has no argument 'beta1' .did you mean 'beta_1'"):
        Adam(beta1=0.9)
    with pytest.raises(TypeError, match="SGD has no argument 'decay'; it takes learning_rate, mom"):
        SGD(decay=0.1)


class TestGet:
    @pytest.mark.parametrize(
        ("identifier", "kind"),
        [("sgd", SGD), ("SGD", SGD), ("adam", Adam), ("Adam", Adam), ("rmsprop", RMSprop)],
    )
    def test_by_name(self, identifier, kind):
        optimizer = optimizers.get(identifier)
        assert type(optimizer) is kind
        assert optimizer.get_config() == kind().get_config()

    def test_by_class_and_instance(self):
        assert type(optimizers.get(RMSprop)) is RMSprop
        instance = Adam(0.5)
        assert optimizers.get(instance) is instance

    def test_each_name_gives_a_new_one(self):
        assert optimizers.get("adam") is not optimizers.get("adam")

    def test_unknown_name(self):
        with pytest.raises(ValueError, match=r"unknown optimizer 'adma'; did you mean 'adam'\?"):
            optimizers.get("adma")

    @pytest.mark.parametrize("identifier", [None, 0.01, ["adam"]])
    def test_anything_else(self, identifier):
        with pytest.raises(TypeError, match="optimizer must be a name, a class or an instance"):
            optimizers.get(identifier)


def test_defaults_are_keras_defaults():
    assert SGD().get_config() == {
        "learning_rate": 0.01,
        "momentum": 0.0,
        "nesterov": False,
        "name": "sgd",
    }
    assert Adam().get_config() == {
        "learning_rate": 0.001,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
        "name": "adam",
    }
    assert RMSprop().get_config() == {
        "learning_rate": 0.001,
        "rho": 0.9,
        "momentum": 0.0,
        "epsilon": 1e-7,
        "name": "rmsprop",
    }


def test_an_optimizer_of_your_own():
    class SignDescent(Optimizer):
        def update(self, param, grad, slots):
            param -= self.learning_rate * np.sign(grad)

    optimizer, w = SignDescent(0.5), np.array([1.0, 1.0])
    optimizer.apply({"w": w}, {"w": np.array([3.0, -3.0])})
    assert w.tolist() == [0.5, 1.5]
