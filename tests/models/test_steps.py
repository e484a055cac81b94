"""Recorded steps: the same bits as steps in Python, which are made where somebody takes part."""

import copy
import inspect
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import kernels, layers, losses, metrics, optimizers, utils
from tinynet.callbacks import Callback, LambdaCallback
from tinynet.kernels.jit import config
from tinynet.models import Sequential, steps
from tinynet.models.steps import PredictionSteps, ScoringSteps, TrainingSteps, _Steps

pytestmark = pytest.mark.skipif(
    bool(config.DISABLE_JIT) or kernels.backend() != "numba", reason="without compiled code"
)

RNG = np.random.default_rng(0)
N = 150
X = RNG.random((N, 6, 5), dtype=np.float32)
Y = RNG.integers(0, 4, N)


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """Every step that can be is recorded; the list says by which class each one was played."""
    monkeypatch.setattr(steps, "_least_steps", lambda: 0)
    classes: list[type] = []
    play = _Steps._play

    def noted(self: _Steps, number: int, inputs: Any) -> None:
        classes.extend([type(self)] * number)
        play(self, number, inputs)

    monkeypatch.setattr(_Steps, "_play", noted)
    return classes


def test_as_many_steps_at_once_as_the_last_ones_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Program:
        most_steps = 100
        seconds_a_step = 0.0

        def play(self, number: int, inputs: Any) -> None:
            nonlocal now
            now += number * self.seconds_a_step

    now = 0.0
    monkeypatch.setattr(steps.time, "perf_counter", lambda: now)
    some = _Steps(None, 32)
    some._program = program = Program()
    at_once = []
    # The first step loads code; later, the machine is slower for a while.
    for program.seconds_a_step in (1.0, 0.00099, 0.00049, 0.0099, 0.00001):
        some._play(some._at_once, [])
        at_once.append(some._at_once)
    assert at_once == [1, 20, 40, 2, 100]


def network(*inner: layers.Layer, dtype: str = "float32") -> Sequential:
    return Sequential([layers.Input((6, 5)), layers.Flatten(), *inner], dtype=dtype)


def mlp(dtype: str = "float32") -> Sequential:
    hidden = layers.Dense(20, activation="relu"), layers.Dropout(0.3)
    return network(*hidden, layers.Dense(4, activation="softmax"), dtype=dtype)


def outcome(
    make: Callable[[], Sequential], eager: bool, y: Any = Y, optimizer: Any = "adam",
    loss: Any = "sparse_categorical_crossentropy", epochs: int = 3, **fit: Any,
) -> list[Any]:  # fmt: skip
    """All that training, evaluation and prediction leave behind."""
    utils.set_random_seed(1)
    model = make()
    chosen = optimizer() if callable(optimizer) else optimizer
    model.compile(chosen, loss, metrics=["accuracy"], run_eagerly=eager)
    history = model.fit(X, y, epochs=epochs, verbose=0, **({"batch_size": 16} | fit))
    slots = [slot for slots in model.optimizer.slots.values() for slot in slots.values()]
    return [
        *model.get_weights(), *slots, model.optimizer.iterations, history.history,
        *model.evaluate(X, y, verbose=0, batch_size=16), model.predict(X, 16, verbose=0),
        *model.collect("grads").values(),
    ]  # fmt: skip


def assert_same(*arguments: Any, **options: Any) -> None:
    np.testing.assert_equal(
        outcome(*arguments, eager=False, **options), outcome(*arguments, eager=True, **options)
    )


# --- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "adam", lambda: optimizers.Adam(0.01, beta_1=0.8, epsilon=1e-4)],
    ids=["sgd", "adam", "another adam"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_that_are_played_give_the_same_bits(
    optimizer: Any, dtype: str, played: list[type]
) -> None:
    assert_same(lambda: mlp(dtype), optimizer=optimizer)
    # Nine whole batches and a smaller one, the last. The first two of a fit are done in Python.
    assert played.count(TrainingSteps) == 3 * 9 - 2
    assert played.count(ScoringSteps) == played.count(PredictionSteps) == 9 - 2


def test_the_last_step_of_an_epoch_is_made_in_python(played: list[type]) -> None:
    compiled(mlp()).fit(X, Y, batch_size=15, epochs=3, verbose=0)
    assert played.count(TrainingSteps) == 3 * (10 - 1) - 2


@pytest.mark.parametrize(
    "fit",
    [
        {"shuffle": False},
        {"batch_size": 1},
        {"batch_size": 64, "epochs": 5},
        {"batch_size": 45, "epochs": 5},
        {"steps_per_epoch": 7},
        {"validation_split": 0.3},
        {"epochs": 5, "initial_epoch": 1},
    ],
    ids=str,
)
def test_ways_to_fit(fit: dict[str, Any], played: list[type]) -> None:
    assert_same(mlp, **fit)
    assert played.count(TrainingSteps) >= 3


@pytest.mark.parametrize(
    "inner",
    [
        lambda: [layers.Dense(4, activation="softmax")],
        lambda: [layers.Dense(70), layers.ReLU(), layers.Dense(4), layers.Softmax()],
        lambda: [layers.Dense(9, activation="leaky_relu"), layers.Dense(4, activation="softmax")],
        lambda: [layers.Dense(9, activation="sigmoid"), layers.Dense(4, activation="softmax")],
        lambda: [layers.Dense(9, use_bias=False), layers.LeakyReLU(), layers.Dense(4),
                 layers.Softmax()],
        lambda: [layers.Dense(300, activation="relu"), layers.Dense(600, activation="relu"),
                 layers.Dense(4, activation="softmax")],
        lambda: [layers.Dense(9), layers.Sigmoid(), layers.Dropout(0.5, seed=3),
                 layers.Reshape((9,)), layers.Dense(4, activation="softmax")],
        lambda: [layers.Rescaling(-0.7, 0.1), layers.Dense(9), layers.Rescaling(2.0),
                 layers.Dense(4, activation="softmax")],
    ],
    ids=["one", "relu", "leaky", "sigmoid", "no bias", "large", "seeded dropout", "rescaling"],
)  # fmt: skip
@pytest.mark.parametrize("batch_size", [16, 70])
def test_kinds_of_layers(inner: Any, batch_size: int, played: list[type]) -> None:
    assert_same(lambda: network(*inner()), batch_size=batch_size, epochs=5)
    assert {TrainingSteps, ScoringSteps, PredictionSteps} == set(played)


@pytest.mark.parametrize("channels", [(20, 24), (3, 5)], ids=["winograd", "direct"])
def test_convolutions(channels: tuple[int, int], played: list[type]) -> None:
    def make() -> Sequential:
        return Sequential([
            layers.Input((6, 5)),
            layers.Dense(8),
            layers.Reshape((6, 8, 1)),
            layers.Conv2D(channels[0], 2, activation="relu"),
            layers.Conv2D(channels[0], 2, padding="same"),
            layers.Conv2D(channels[1], 3),
            layers.LeakyReLU(),
            layers.MaxPooling2D((2, 1)),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ])  # fmt: skip

    assert_same(make)
    assert_same(make, batch_size=70, epochs=5)
    assert {TrainingSteps, ScoringSteps, PredictionSteps} == set(played)


@pytest.mark.parametrize(
    ("loss", "y", "last"),
    [
        (lambda: losses.SparseCategoricalCrossentropy(from_logits=True), Y, "linear"),
        (losses.CategoricalCrossentropy, np.eye(4, dtype=np.float32)[Y], "softmax"),
        (lambda: losses.CategoricalCrossentropy(from_logits=True), np.eye(4)[Y], "linear"),
        ("sparse_categorical_crossentropy", Y.astype(np.uint8), "softmax"),
        ("sparse_categorical_crossentropy", Y[:, None], "softmax"),
    ],
    ids=["logits", "one-hot", "one-hot, logits", "bytes", "column"],
)
def test_losses_and_labels(loss: Any, y: Any, last: str, played: list[type]) -> None:
    def make() -> Sequential:
        return network(layers.Dense(9, activation="relu"), layers.Dense(4, activation=last))

    options = {"loss": loss} if isinstance(loss, str) else {"loss": loss()}
    assert_same(make, y=y, **options)
    assert TrainingSteps in played


@given(
    units=st.lists(st.integers(1, 40), max_size=3),
    activations=st.lists(st.sampled_from(["linear", "relu", "leaky_relu", "sigmoid"]), min_size=3),
    dropout=st.booleans(),
    batch_size=st.integers(1, 75),
    optimizer=st.sampled_from(["sgd", "adam"]),
)
def test_any_network(
    units: list[int], activations: list[str], dropout: bool, batch_size: int, optimizer: str
) -> None:
    def make() -> Sequential:
        inner: list[layers.Layer] = [
            layers.Dense(n, activation=activation)
            for n, activation in zip(units, activations, strict=False)
        ]
        rest = [layers.Dropout(0.4)] if dropout else []
        return network(*inner, *rest, layers.Dense(4, activation="softmax"))

    assert_same(make, batch_size=batch_size, optimizer=optimizer, epochs=2)


def test_several_threads_and_one(played: list[type]) -> None:
    def make() -> Sequential:
        return network(layers.Dense(800, activation="relu"), layers.Dense(4, activation="softmax"))

    before = kernels.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        kernels.set_num_threads(threads)
        results.append(outcome(make, eager=False))
    kernels.set_num_threads(before)
    np.testing.assert_equal(results[1], results[0])
    np.testing.assert_equal(results[2], results[0])
    assert played


def test_models_that_are_trained_at_once() -> None:
    models = [compiled(mlp()) for _ in range(4)]
    others = [compiled(mlp()) for _ in models]

    def train(model: Sequential) -> None:
        model.fit(X, Y, batch_size=16, epochs=30, shuffle=False, verbose=0)

    for model, other in zip(models, others, strict=True):
        model.layers[2].rate = 0.0  # all would draw from one generator
        other.layers[2].rate = 0.0
        other.build((6, 5))
        model.build((6, 5))
        other.set_weights(model.get_weights())
    for model in models:
        train(model)
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(train, others))
    for model, other in zip(models, others, strict=True):
        np.testing.assert_equal(other.get_weights(), model.get_weights())


# --- what changes meanwhile ----------------------------------------------------------------------


def at_epoch(number: int, change: Callable[[Any], object]) -> Callback:
    class Change(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == number:
                change(self.model)

    return Change()


def freeze(model: Any) -> None:
    model.layers[1].trainable = False


def freeze_and_replace(model: Any) -> None:
    model.layers[3].trainable = False
    params = model.layers[3].params
    params["kernel"] = params["kernel"] + 0.5


def begin_adam_again(model: Any) -> None:
    model.optimizer.slots.clear()


def replace_gradients(model: Any) -> None:
    layer = model.layers[1]
    layer.grads = {name: np.ones_like(grad) for name, grad in layer.grads.items()}


def score_twice(model: Any) -> None:
    model.loop.running.scores.append(metrics.SparseCategoricalAccuracy(name="twice"))


def use_one_thread(model: Any) -> None:
    kernels.set_num_threads(3 - kernels.get_num_threads())


def replace_optimizer(model: Any) -> None:
    model.optimizer = optimizers.SGD(0.5)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.optimizer, "learning_rate", 0.1),
        lambda model: setattr(model.layers[2], "rate", 0.9),
        lambda model: setattr(model.layers[1], "activation", "linear"),
        lambda model: model.set_weights([0.5 * w for w in model.get_weights()]),
        lambda model: model.train_on_batch(X[:16], Y[:16]),
        lambda model: model.fit(X, Y, verbose=0),
        lambda model: model.predict(X, 16, verbose=0),
        lambda model: setattr(model.optimizer, "beta_1", 0.5),
        freeze,
        freeze_and_replace,
        begin_adam_again,
        replace_gradients,
        replace_optimizer,
        score_twice,
        use_one_thread,
    ],
    ids=["rate", "dropout", "activation", "weights", "train_on_batch", "fit", "predict", "beta",
         "freeze", "freeze and replace", "slots", "grads", "optimizer", "scores",
         "threads"],
)  # fmt: skip
def test_a_callback_may_change_the_model_between_epochs(change: Any, played: list[type]) -> None:
    threads = kernels.get_num_threads()
    results = [
        outcome(mlp, eager, epochs=4, callbacks=[at_epoch(1, change)]) for eager in (False, True)
    ]
    kernels.set_num_threads(threads)
    np.testing.assert_equal(*results)
    assert played.count(TrainingSteps) >= 25


@pytest.mark.parametrize("steps_per_epoch", [None, 7])
def test_layers_and_loss_are_left_as_by_the_last_batch(steps_per_epoch: int | None) -> None:
    seen: dict[bool, list[Any]] = {False: [], True: []}
    kept: dict[bool, list[Any]] = {False: [], True: []}
    for eager, found in seen.items():

        def look(model: Any, found: list[Any] = found, mine: list[Any] = kept[eager]) -> None:
            found += [grad.copy() for grad in model.collect("grads").values()]
            found += [model.loss.losses.copy(), model.loss.backward()]
            mine.append(model.loss.prediction)  # not copied: nobody writes to it any more

        looks = [at_epoch(n, look) for n in range(3)]
        outcome(mlp, eager, epochs=3, callbacks=looks, steps_per_epoch=steps_per_epoch)
    np.testing.assert_equal(seen[False], seen[True])
    np.testing.assert_equal(kept[False], kept[True])


def test_the_loss_is_left_as_by_the_last_batch_of_an_evaluation() -> None:
    gradients = []
    for eager in (False, True):
        utils.set_random_seed(1)
        model = compiled(mlp(), run_eagerly=eager)
        model.evaluate(X, Y, batch_size=15, verbose=0)
        gradients.append(model.loss.backward())
    np.testing.assert_equal(*gradients)


def test_methods_replaced_as_an_evaluation_begins(played: list[type]) -> None:
    calls = []

    class Replace(Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            dense: Any = self.model.layers[1]
            forward = dense.forward

            def shown(*args: Any, **kwargs: Any) -> Any:
                calls.append(1)
                return forward(*args, **kwargs)

            dense.forward = shown

        on_predict_begin = on_test_begin

    compiled(mlp()).evaluate(X, Y, batch_size=16, verbose=0, callbacks=[Replace()])
    compiled(mlp()).predict(X, 16, verbose=0, callbacks=[Replace()])
    assert len(calls) == 2 * 10
    assert not played


def test_a_clock_that_stands_still(monkeypatch: pytest.MonkeyPatch, played: list[type]) -> None:
    monkeypatch.setattr(steps.time, "perf_counter", lambda: 0.0)
    model = network(layers.Dense(9), last())  # without dropout, some steps are played at once
    compiled(model).fit(X, Y, batch_size=2, epochs=2, verbose=0)
    assert played.count(TrainingSteps) == 2 * (75 - 1) - 2


# --- where Python has a part in it ---------------------------------------------------------------


class OwnDense(layers.Dense):
    pass


class WithoutConfig(layers.Dense):
    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError


class OwnLoss(losses.SparseCategoricalCrossentropy):
    pass


class OwnAccuracy(metrics.SparseCategoricalAccuracy):
    pass


class OwnModel(Sequential):
    pass


def compiled(model: Sequential, **options: Any) -> Sequential:
    usual = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy",
             "metrics": ["accuracy"]}  # fmt: skip
    model.compile(**{**usual, **options})
    return model


def with_own_forward() -> Sequential:
    model = mlp()
    dense: Any = model.layers[1]
    forward = dense.forward
    dense.forward = lambda *args, **kwargs: forward(*args, **kwargs)
    return model


def images(inner: layers.Layer) -> Sequential:
    return network(layers.Reshape((6, 5, 1)), layers.Conv2D(9, 2), inner, layers.Flatten(), last())


def last() -> layers.Layer:
    return layers.Dense(4, activation="softmax")


@pytest.mark.parametrize(
    "make",
    [
        lambda: compiled(network(OwnDense(9), last())),
        lambda: compiled(network(WithoutConfig(9), last())),
        lambda: compiled(network(layers.Dense(9, activation="tanh"), last())),
        lambda: compiled(network(layers.Dense(9), layers.BatchNormalization(), last())),
        lambda: compiled(network(Sequential([layers.Dense(9)]), last())),
        lambda: compiled(images(layers.Conv2D(3, 2, strides=4))),
        lambda: compiled(images(layers.AveragePooling2D())),
        lambda: compiled(OwnModel([layers.Flatten(), last()])),
        lambda: compiled(with_own_forward()),
        lambda: compiled(mlp(), loss=OwnLoss()),
        lambda: compiled(mlp(), metrics=[OwnAccuracy()]),
        lambda: compiled(mlp(), metrics=[lambda y_true, y_pred: y_true]),
        lambda: compiled(mlp(), metrics=[metrics.SparseTopKCategoricalAccuracy(2)]),
        lambda: compiled(mlp(), optimizer="rmsprop"),
        lambda: compiled(mlp(), optimizer=optimizers.SGD(momentum=0.9)),
        lambda: compiled(mlp(), run_eagerly=True),
    ],
)
def test_such_models_are_trained_in_python(make: Any, played: list[type]) -> None:
    make().fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert TrainingSteps not in played


@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": np.ones(N)},
        {"class_weight": {0: 2.0}},
        {"callbacks": [LambdaCallback(on_train_batch_end=lambda batch, logs: None)]},
    ],
    ids=["sample weights", "class weights", "a callback for batches"],
)
def test_such_fits_are_made_in_python(options: Any, played: list[type]) -> None:
    compiled(mlp()).fit(X, Y, batch_size=16, epochs=2, verbose=0, **options)
    assert TrainingSteps not in played


def test_arrays_that_cannot_be_written_to(played: list[type]) -> None:
    x = X.copy()
    x.flags.writeable = False
    results = [outcome(mlp, eager) for eager in (False, True)]
    played.clear()
    compiled(mlp()).fit(x, Y, batch_size=16, epochs=2, verbose=0)
    assert TrainingSteps not in played
    np.testing.assert_equal(*results)


def test_nobody_plays_where_methods_were_replaced(
    monkeypatch: pytest.MonkeyPatch, played: list[type]
) -> None:
    calls = []
    forward = layers.Dense.forward

    def shown(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(self)
        return forward(self, *args, **kwargs)

    model = compiled(mlp())
    monkeypatch.setattr(layers.Dense, "forward", shown)
    model.fit(X, Y, batch_size=16, verbose=0)
    assert len(calls) == 2 * 10
    assert not played


def test_looking_at_a_class_is_nothing(played: list[type]) -> None:
    for cls in (layers.Dropout, layers.Dense, Sequential, optimizers.Adam):
        assert cls.__annotations__ is not None  # which makes Python add them to the class
        inspect.signature(cls)
    copy.deepcopy(compiled(mlp()))
    compiled(mlp()).fit(X, Y, batch_size=16, verbose=0)
    assert played


def test_nobody_plays_where_a_kernel_was_replaced(
    monkeypatch: pytest.MonkeyPatch, played: list[type]
) -> None:
    calls = []
    dense = kernels.dense

    def shown(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return dense(*args, **kwargs)

    monkeypatch.setattr(kernels, "dense", shown)
    model = compiled(mlp())
    model.fit(X, Y, batch_size=16, verbose=0)
    assert len(calls) == 2 * 10
    assert not played


def test_nobody_plays_on_the_numpy_kernels(played: list[type]) -> None:
    with kernels.use("numpy"):
        compiled(mlp()).fit(X, Y, batch_size=16, verbose=0)
    assert not played


def test_nobody_plays_under_a_debugger(played: list[type]) -> None:
    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: None)
    try:
        compiled(mlp()).fit(X, Y, batch_size=16, verbose=0)
    finally:
        sys.settrace(before)
    assert not played


def test_few_steps_are_not_worth_recording(
    monkeypatch: pytest.MonkeyPatch, played: list[type]
) -> None:
    monkeypatch.setattr(steps, "_least_steps", lambda: 21)
    model = compiled(mlp())
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert not played
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0)
    assert played


def test_run_eagerly_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="run_eagerly must be True or False, got 'yes'"):
        compiled(mlp(), run_eagerly="yes")
