"""fit, evaluate and predict, against a training loop written out in NumPy."""

import os
import re
import signal
import threading

import numpy as np
import pytest

from tinynet import Input, Sequential, callbacks, layers, losses, metrics, optimizers
from tinynet.utils import set_random_seed, to_categorical

N, FEATURES, HIDDEN, CLASSES = 22, 4, 6, 3


def data(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, FEATURES)), rng.integers(0, CLASSES, n)


def mlp(optimizer=None, loss="sparse_categorical_crossentropy", scores=("accuracy",), last=None):
    """Two Dense layers in float64, the second with softmax, always of the same weights."""
    set_random_seed(1)
    model = Sequential(
        [
            Input((FEATURES,)),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(CLASSES, activation="softmax" if last is None else last),
        ],
        dtype="float64",
    )
    model.compile(optimizer or optimizers.SGD(0.1), loss, metrics=list(scores))
    return model


class Oracle:
    """The same network and its training by SGD, written out."""

    def __init__(self, model, rate=0.1):
        self.weights = model.get_weights()
        self.rate = rate

    def probabilities(self, x):
        k1, b1, k2, b2 = self.weights
        z = np.maximum(x @ k1 + b1, 0) @ k2 + b2
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def score(self, x, y, weights=None):
        """The mean loss and the accuracy."""
        p = self.probabilities(x)
        losses_ = -np.log(p[np.arange(len(y)), y])
        if weights is not None:
            losses_ = losses_ * weights
        return losses_.sum() / len(y), (p.argmax(axis=1) == y).mean()

    def step(self, x, y, weights=None):
        k1, b1, k2, _ = self.weights
        n = len(y)
        h = np.maximum(x @ k1 + b1, 0)
        dz = self.probabilities(x)
        dz[np.arange(n), y] -= 1
        dz *= (np.ones(n) if weights is None else weights)[:, None] / n
        dh = dz @ k2.T * (h > 0)
        grads = x.T @ dh, dh.sum(axis=0), h.T @ dz, dz.sum(axis=0)
        self.weights = [w - self.rate * g for w, g in zip(self.weights, grads, strict=True)]

    def epoch(self, x, y, batch_size, weights=None):
        """The means of loss and accuracy over the samples, while the weights move."""
        total = np.zeros(2)
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            w = None if weights is None else weights[part]
            total += np.array(self.score(x[part], y[part], w)) * len(y[part])
            self.step(x[part], y[part], w)
        return total / len(y)


def assert_same_weights(model, expected, tolerance=1e-12):
    for own, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=tolerance, atol=tolerance)


class Recorder(callbacks.Callback):
    """Every hook that is called, with its number and the names in its logs."""

    def __init__(self):
        self.calls = []

    def _note(self, hook, *args):
        numbers = [a for a in args if isinstance(a, int)]
        names = [tuple(sorted(a)) for a in args if a and isinstance(a, dict)]
        self.calls.append((hook, *numbers, *names))


def _noting(name):
    return lambda self, *args: self._note(name.removeprefix("on_"), *args)


for _name in callbacks.HOOKS:
    if not _name.startswith("on_batch"):  # the second names of the hooks for batches
        setattr(Recorder, _name, _noting(_name))


class At(callbacks.Callback):
    """Do something after one batch of one epoch."""

    def __init__(self, action, epoch=0, batch=0):
        self.action, self.when, self.epoch = action, (epoch, batch), 0
        self.batches = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if (self.epoch, batch) == self.when:
            self.action(self.model)


class TestAgainstTheOracle:
    @pytest.mark.parametrize("batch_size", [1, 5, 8, 11, 22, 50, None])
    def test_weights_and_history(self, batch_size):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        history = model.fit(x, y, batch_size, epochs=4, shuffle=False, verbose=0)
        for epoch in range(4):
            loss, accuracy = oracle.epoch(x, y, batch_size or 32)
            assert history.history["loss"][epoch] == pytest.approx(loss, rel=1e-12)
            assert history.history["accuracy"][epoch] == pytest.approx(accuracy, rel=1e-12)
        assert_same_weights(model, oracle.weights)
        assert model.optimizer.iterations == 4 * -(-N // (batch_size or 32))

    @pytest.mark.parametrize(
        ("loss", "last", "one_hot"),
        [
            ("categorical_crossentropy", "softmax", True),
            (losses.CategoricalCrossentropy(from_logits=True), "linear", True),
            (losses.SparseCategoricalCrossentropy(from_logits=True), "linear", False),
        ],
    )
    def test_the_other_ways_to_write_it(self, loss, last, one_hot):
        model, (x, y) = mlp(loss=loss, last=last), data()
        oracle = Oracle(model)
        labels = to_categorical(y, CLASSES) if one_hot else y
        history = model.fit(x, labels, 5, epochs=2, shuffle=False, verbose=0)
        expected = [oracle.epoch(x, y, 5) for _ in range(2)]
        np.testing.assert_allclose(history.history["loss"], [e[0] for e in expected], rtol=1e-12)
        np.testing.assert_allclose(history.history["accuracy"], [e[1] for e in expected])
        assert_same_weights(model, oracle.weights)

    def test_float32_does_the_same_to_rounding(self):
        double, (x, y) = mlp(), data()
        single = Sequential(
            [
                layers.Dense(HIDDEN, "relu", input_shape=(FEATURES,)),
                layers.Dense(CLASSES, "softmax"),
            ]
        )
        single.set_weights(double.get_weights())
        single.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        for model in (double, single):
            model.fit(x, y, 5, epochs=4, shuffle=False, verbose=0)
        assert_same_weights(single, double.get_weights(), tolerance=1e-5)

    def test_sample_weight_is_divided_by_the_number_of_samples(self):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        weights = np.random.default_rng(3).random(N)
        weights[4] = 0
        history = model.fit(x, y, 5, verbose=0, shuffle=False, sample_weight=weights)
        loss, accuracy = oracle.epoch(x, y, 5, weights)
        assert history.history["loss"] == pytest.approx([loss], rel=1e-12)
        assert history.history["accuracy"] == pytest.approx([accuracy])
        assert_same_weights(model, oracle.weights)

    @pytest.mark.parametrize("one_hot", [False, True])
    def test_class_weight_weighs_each_sample_by_its_class(self, one_hot):
        kind = "categorical" if one_hot else "sparse_categorical"
        model, (x, y) = mlp(loss=f"{kind}_crossentropy"), data()
        oracle = Oracle(model)
        labels = to_categorical(y, CLASSES) if one_hot else y
        model.fit(x, labels, 5, verbose=0, shuffle=False, class_weight={0: 3.0, 2: 0})
        oracle.epoch(x, y, 5, np.array([3.0, 1.0, 0.0])[y])
        assert_same_weights(model, oracle.weights)

    def test_class_weight_of_two_classes_with_one_output(self):
        weighted = []
        x, y = data()[0], (data()[1] > 1).astype(np.float32)
        for options in ({"class_weight": {1: 4.0}}, {"sample_weight": np.where(y > 0, 4.0, 1.0)}):
            set_random_seed(2)
            model = Sequential([layers.Dense(1, activation="sigmoid")])
            model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
            model.fit(x, y[:, None], 5, verbose=0, shuffle=False, **options)
            weighted.append(model.get_weights())
        np.testing.assert_array_equal(weighted[0][0], weighted[1][0])

    def test_learning_rate_set_while_training(self):
        class Halve(callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                self.model.optimizer.learning_rate *= 0.5

        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        model.fit(x, y, 5, verbose=0, shuffle=False, callbacks=[Halve()])
        for start in range(0, N, 5):
            oracle.step(x[start : start + 5], y[start : start + 5])
            oracle.rate /= 2
        assert_same_weights(model, oracle.weights)

    def test_train_on_batch_is_one_step(self):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        for _ in range(3):
            expected = oracle.score(x, y)
            oracle.step(x, y)
            assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-12)
        assert_same_weights(model, oracle.weights)

    def test_train_on_batch_with_weights(self):
        weights = np.array([2.0, 0.5, 1.0])[data()[1]]
        for options in ({"sample_weight": weights}, {"class_weight": {0: 2.0, 1: 0.5}}):
            model, (x, y) = mlp(), data()
            oracle = Oracle(model)
            loss, _ = oracle.score(x, y, weights)
            oracle.step(x, y, weights)
            assert model.train_on_batch(x, y, **options)[0] == pytest.approx(loss, rel=1e-12)
            assert_same_weights(model, oracle.weights)


class TestPairOfSoftmaxAndCrossEntropy:
    """A last softmax and a cross-entropy are computed together, from the logits."""

    def models(self, loss):
        model = mlp(loss=loss)
        # A Reshape between the two hides the softmax from the loss.
        apart = Sequential([model, layers.Reshape((CLASSES,))], dtype="float64")
        apart.compile(optimizers.SGD(0.1), loss, metrics=["accuracy"])
        return model, apart

    @pytest.mark.parametrize(
        "loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"]
    )
    def test_gives_the_loss_and_gradient_of_the_two_apart(self, loss):
        model, apart = self.models(loss)
        x, y = data()
        labels = to_categorical(y, CLASSES) if loss.startswith("cat") else y
        assert model.evaluate(x, labels, verbose=0) == pytest.approx(
            apart.evaluate(x, labels, verbose=0), rel=1e-12
        )
        before = model.get_weights()
        together_loss = model.train_on_batch(x, labels)
        together = [g.copy() for g in model.grads.values()]
        model.set_weights(before)
        apart_loss = apart.train_on_batch(x, labels)
        assert together_loss == pytest.approx(apart_loss, rel=1e-12)
        for a, b in zip(together, apart.grads.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)

    def test_binary_crossentropy_and_sigmoid_too(self):
        x, y = data()[0], (data()[1] > 1).astype(float)[:, None]
        dense = layers.Dense(1, activation="sigmoid", input_shape=(FEATURES,))
        model = Sequential([dense], dtype="float64")
        apart = Sequential([model, layers.Reshape((1,))], dtype="float64")
        results = []
        before = model.get_weights()
        for one in (model, apart):
            model.set_weights(before)
            one.compile("sgd", "binary_crossentropy")
            results.append((one.train_on_batch(x, y), dense.grads["kernel"].copy()))
        assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
        np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9)

    @pytest.mark.parametrize("head", ["Dense", "Softmax", "Activation", "nested"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_stays_finite_for_huge_logits(self, head, dtype):
        tail = {
            "Dense": [layers.Dense(3, activation="softmax")],
            "Softmax": [layers.Dense(3), layers.Softmax()],
            "Activation": [layers.Dense(3), layers.Activation("softmax")],
            "nested": [layers.Dense(3), Sequential([layers.Softmax()])],
        }[head]
        model = Sequential([Input((3,)), *tail], dtype=dtype)
        model.set_weights([np.eye(3), np.zeros(3)])
        model.compile(optimizers.SGD(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        x = np.array([[1e4, 0, 0], [0, 1e4, 0]])
        # The loss of being sure and wrong is the distance of the logits, not -log(1e-7).
        assert model.evaluate(x, [0, 2], verbose=0) == pytest.approx([5e3, 0.5])
        loss, _ = model.train_on_batch(x, [0, 2])
        assert loss == pytest.approx(5e3)
        np.testing.assert_allclose(model.grads["dense/bias"], [0, 0.5, -0.5], atol=1e-6)
        assert all(np.isfinite(w).all() for w in model.weights)

    def test_metrics_see_probabilities(self):
        seen = []

        def look(y_true, y_pred):
            seen.append(y_pred.sum(axis=-1))
            return y_pred.sum(axis=-1)

        model, (x, y) = mlp(scores=[look]), data()
        model.fit(x, y, verbose=0, validation_split=0.5)
        np.testing.assert_allclose(np.concatenate(seen), 1)


class TestBatches:
    def seen(self, n, batch_size, **options):
        """The samples of each batch, by epoch."""
        epochs = []

        class Look(layers.Layer):
            def forward(self, x, training=False):
                if training:
                    self.keep(x)
                    epochs[-1].append(x[:, 0].astype(int).tolist())
                return x

            def backward(self, dy):
                return self.recall(dy)[0]

        model = Sequential([Look(input_shape=(1,)), layers.Dense(1)])
        begin = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append([]))
        x = np.arange(n)[:, None]
        model.compile(optimizers.SGD(0.0), "mse")
        model.fit(x, x, batch_size, verbose=0, callbacks=[begin], **options)
        return epochs

    def test_the_last_batch_is_smaller(self):
        assert self.seen(7, 3, shuffle=False) == [[[0, 1, 2], [3, 4, 5], [6]]]

    def test_every_sample_once_a_pass_in_a_new_order_each_time(self):
        passes = self.seen(50, 7, epochs=3)
        assert [len(batch) for batch in passes[0]] == [7] * 7 + [1]
        orders = [[i for batch in batches for i in batch] for batches in passes]
        assert all(sorted(order) == list(range(50)) for order in orders)
        assert len({tuple(order) for order in [*orders, range(50)]}) == 4

    def test_the_order_comes_from_the_seed(self):
        set_random_seed(5)
        first = self.seen(50, 7, epochs=2)
        again = self.seen(50, 7, epochs=2)
        set_random_seed(5)
        assert self.seen(50, 7, epochs=2) == first != again

    def test_validation_split_takes_the_last_before_shuffling(self):
        (batches,) = self.seen(20, 4, validation_split=0.25)
        order = [i for batch in batches for i in batch]
        assert sorted(order) == list(range(15))
        assert order != sorted(order)

    def test_steps_per_epoch_go_on_over_passes(self):
        assert self.seen(5, 2, shuffle=False, steps_per_epoch=2, epochs=4) == [
            [[0, 1], [2, 3]],
            [[4], [0, 1]],
            [[2, 3], [4]],
            [[0, 1], [2, 3]],
        ]

    def test_an_epoch_can_be_longer_than_a_pass(self):
        (epoch,) = self.seen(4, 2, steps_per_epoch=5)
        assert len(epoch) == 5
        assert sorted(epoch[0] + epoch[1]) == sorted(epoch[2] + epoch[3]) == [0, 1, 2, 3]

    def test_initial_epoch_counts_on(self):
        assert len(self.seen(4, 2, initial_epoch=3, epochs=5)) == 2
        assert self.seen(4, 2, initial_epoch=5, epochs=5) == []


class TestReproducible:
    def train(self, seed):
        set_random_seed(seed)
        model = Sequential(
            [
                layers.Dense(16, activation="relu", input_shape=(FEATURES,)),
                layers.Dropout(0.5),
                layers.Dense(CLASSES, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(*data(), 5, epochs=3, verbose=0)
        return model.get_weights()

    def test_the_same_seed_gives_the_same_bits(self):
        first, again, other = self.train(3), self.train(3), self.train(4)
        for a, b, c in zip(first, again, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert (a != c).any()


class TestValidation:
    def test_data_are_scored_after_each_epoch(self):
        model, (x, y), (x_val, y_val) = mlp(), data(), data(9, seed=1)
        oracle = Oracle(model)
        history = model.fit(
            x, y, 5, 3, shuffle=False, verbose=0, validation_data=(x_val, y_val)
        ).history
        for epoch in range(3):
            oracle.epoch(x, y, 5)
            loss, accuracy = oracle.score(x_val, y_val)
            assert history["val_loss"][epoch] == pytest.approx(loss, rel=1e-12)
            assert history["val_accuracy"][epoch] == pytest.approx(accuracy)
        assert_same_weights(model, oracle.weights)

    @pytest.mark.parametrize("container", [tuple, list])
    def test_data_with_weights(self, container):
        model, (x, y), (x_val, y_val) = mlp(), data(), data(9, seed=1)
        oracle = Oracle(model)
        weights = np.random.default_rng(2).random(9)
        history = model.fit(
            x, y, 5, shuffle=False, verbose=0, validation_data=container([x_val, y_val, weights])
        ).history
        oracle.epoch(x, y, 5)
        loss, accuracy = oracle.score(x_val, y_val, weights)
        assert history["val_loss"] == pytest.approx([loss], rel=1e-12)
        assert history["val_accuracy"] == pytest.approx([accuracy])

    @pytest.mark.parametrize(("split", "point"), [(0.15, 18), (0.5, 11), (0.05, 20)])
    def test_split(self, split, point):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        history = model.fit(x, y, 5, shuffle=False, verbose=0, validation_split=split).history
        loss, _ = oracle.epoch(x[:point], y[:point], 5)
        assert history["loss"] == pytest.approx([loss], rel=1e-12)
        assert history["val_loss"] == pytest.approx([oracle.score(x[point:], y[point:])[0]])

    def test_split_takes_its_weights_along(self):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        weights = np.random.default_rng(2).random(N)
        options = {"validation_split": 0.5, "sample_weight": weights}
        history = model.fit(x, y, 5, shuffle=False, verbose=0, **options).history
        loss, _ = oracle.epoch(x[:11], y[:11], 5, weights[:11])
        assert history["loss"] == pytest.approx([loss], rel=1e-12)
        expected = oracle.score(x[11:], y[11:], weights[11:])[0]
        assert history["val_loss"] == pytest.approx([expected], rel=1e-12)

    def test_class_weight_is_for_training_alone(self):
        model, (x, y) = mlp(optimizers.SGD(0.0)), data()
        history = model.fit(
            x, y, verbose=0, class_weight={0: 9.0, 1: 9.0, 2: 9.0}, validation_data=(x, y)
        ).history
        assert history["loss"][0] == pytest.approx(9 * history["val_loss"][0])

    def test_data_go_before_a_split(self):
        model, (x, y) = mlp(), data()
        recorder = Recorder()
        model.fit(
            x, y, 5, verbose=0, validation_split=0.5, validation_data=(x, y), callbacks=[recorder]
        )
        calls = [call[0] for call in recorder.calls]
        assert calls.count("train_batch_begin") == calls.count("test_batch_begin") == 5

    @pytest.mark.parametrize(
        ("frequency", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3]), (9, []), ([1, 4], [0, 3])]
    )
    def test_frequency(self, frequency, epochs):
        model, (x, y) = mlp(), data()
        recorder = Recorder()
        history = model.fit(
            x, y, epochs=5, verbose=0, validation_data=(x, y), validation_freq=frequency,
            callbacks=[recorder],
        )  # fmt: skip
        assert len(history.history["loss"]) == 5
        assert len(history.history.get("val_loss", [])) == len(epochs)
        ends = [call[1:] for call in recorder.calls if call[0] == "epoch_end"]
        assert [epoch for epoch, logs in ends if "val_loss" in logs] == epochs

    def test_frequency_counts_all_epochs_from_the_first(self):
        model, (x, y) = mlp(), data()
        options = {"validation_data": (x, y), "validation_freq": 3}
        history = model.fit(x, y, initial_epoch=4, epochs=6, verbose=0, **options)
        assert history.epoch == [4, 5]
        assert len(history.history["val_loss"]) == 1

    def test_batches_and_steps(self):
        model, (x, y) = mlp(optimizers.SGD(0.0)), data()
        recorder = Recorder()
        options = {"validation_batch_size": 4, "validation_steps": 2, "callbacks": [recorder]}
        history = model.fit(x, y, 5, verbose=0, validation_data=(x, y), **options).history
        assert [c[0] for c in recorder.calls].count("test_batch_begin") == 2
        expected, _ = Oracle(model).score(x[:8], y[:8])
        assert history["val_loss"] == pytest.approx([expected], rel=1e-12)


class TestHistory:
    def test_keys_types_and_epochs(self):
        model, (x, y) = mlp(), data()
        history = model.fit(x, y, epochs=5, initial_epoch=2, verbose=0, validation_split=0.2)
        assert isinstance(history, callbacks.History)
        assert history is model.history
        assert history.model is model
        assert history.epoch == [2, 3, 4]
        assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
        for values in history.history.values():
            assert [type(value) for value in values] == [float] * 3
        assert history.params == {"verbose": 0, "epochs": 5, "steps": 1}

    def test_each_fit_has_its_own(self):
        model, (x, y) = mlp(), data()
        first = model.fit(x, y, epochs=2, verbose=0)
        second = model.fit(x, y, verbose=0)
        assert (first.epoch, second.epoch) == ([0, 1], [0])
        assert model.history is second

    def test_what_callbacks_add_is_in_it(self):
        model, (x, y) = mlp(), data()
        schedule = callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
        ended = []
        end = callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(logs))
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=[schedule, end]).history
        assert history["learning_rate"] == [0.1, 0.05]
        assert ended == [{name: values[-1] for name, values in history.items()}]

    def test_metrics_by_the_names_they_were_given(self):
        named = metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")
        model, (x, y) = mlp(scores=["acc", named]), data()
        history = model.fit(x, y, verbose=0).history
        assert list(history) == ["acc", "loss", "top2"]
        assert history["top2"][0] >= history["acc"][0]


class TestCallbacks:
    def test_order_of_calls(self):
        model, (x, y) = mlp(), data(10)
        recorder = Recorder()
        model.fit(
            x, y, 4, epochs=2, verbose=0, validation_data=(x[:5], y[:5]), callbacks=[recorder]
        )
        means = ("accuracy", "loss")
        both = ("accuracy", "loss", "val_accuracy", "val_loss")
        # What Keras 3.15 calls, for the same arguments.
        expected = [("train_begin",)]
        for epoch in range(2):
            expected += [
                ("epoch_begin", epoch),
                ("train_batch_begin", 0),
                ("train_batch_end", 0, means),
                ("train_batch_begin", 1),
                ("train_batch_end", 1, means),
                ("train_batch_begin", 2),
                ("train_batch_end", 2, means),
                ("test_begin",),
                ("test_batch_begin", 0),
                ("test_batch_end", 0, means),
                ("test_batch_begin", 1),
                ("test_batch_end", 1, means),
                ("test_end", means),
                ("epoch_end", epoch, both),
            ]
        expected += [("train_end", both)]
        assert recorder.calls == expected

    def test_order_in_evaluate_and_predict(self):
        model, (x, y) = mlp(), data(10)
        recorder = Recorder()
        model.evaluate(x, y, 5, verbose=0, callbacks=[recorder])
        model.predict(x, 5, verbose=0, callbacks=recorder)
        means = ("accuracy", "loss")
        assert recorder.calls == [
            ("test_begin",),
            ("test_batch_begin", 0),
            ("test_batch_end", 0, means),
            ("test_batch_begin", 1),
            ("test_batch_end", 1, means),
            ("test_end", means),
            ("predict_begin",),
            ("predict_batch_begin", 0),
            ("predict_batch_end", 0, ("outputs",)),
            ("predict_batch_begin", 1),
            ("predict_batch_end", 1, ("outputs",)),
            ("predict_end",),
        ]

    def test_logs_of_a_batch_are_the_means_so_far(self):
        model, (x, y) = mlp(optimizers.SGD(0.0)), data()
        logs = []
        keep = callbacks.LambdaCallback(on_train_batch_end=lambda batch, now: logs.append(now))
        model.fit(x, y, 5, verbose=0, shuffle=False, callbacks=[keep])
        oracle = Oracle(model)
        for i, now in enumerate(logs):
            seen = slice((i + 1) * 5)
            loss, accuracy = oracle.score(x[seen], y[seen])
            assert now == pytest.approx({"loss": loss, "accuracy": accuracy}, rel=1e-12)

    def test_stop_after_a_batch(self):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        recorder = Recorder()
        stop = At(lambda model: setattr(model, "stop_training", True), epoch=1, batch=2)
        options = {"validation_data": (x, y), "callbacks": [stop, recorder]}
        history = model.fit(x, y, 5, epochs=9, shuffle=False, verbose=0, **options)
        oracle.epoch(x, y, 5)
        loss, _ = oracle.epoch(x[:15], y[:15], 5)
        assert_same_weights(model, oracle.weights)
        # The epoch that was cut short is still validated and counted, as in Keras.
        assert history.epoch == [0, 1]
        assert history.history["loss"][1] == pytest.approx(loss, rel=1e-12)
        assert len(history.history["val_loss"]) == 2
        assert recorder.calls[-1][0] == "train_end"

    def test_stop_after_an_epoch(self):
        model, (x, y) = mlp(), data()

        def stop(epoch, logs):
            model.stop_training = epoch == 1

        history = model.fit(
            x, y, epochs=9, verbose=0, callbacks=[callbacks.LambdaCallback(on_epoch_end=stop)]
        )
        assert history.epoch == [0, 1]
        assert model.fit(x, y, epochs=3, verbose=0).epoch == [0, 1, 2]

    def test_an_error_in_a_callback_comes_through_and_the_model_is_usable(self):
        def fail(model):
            raise KeyError("mine")

        model, (x, y) = mlp(), data()
        recorder = Recorder()
        with pytest.raises(KeyError, match="mine"):
            model.fit(x, y, 5, verbose=0, callbacks=[At(fail, batch=1), recorder])
        assert recorder.calls[-1][0] == "train_end"
        assert model.optimizer.iterations == 2
        assert model.fit(x, y, verbose=0).epoch == [0]

    def test_evaluate_inside_a_callback(self):
        model, (x, y) = mlp(), data()
        results = []
        look = callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: results.append(model.evaluate(x, y, verbose=0))
        )
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=[look], validation_data=(x, y))
        assert [loss for loss, _ in results] == history.history["val_loss"]


class TestInterrupt:
    @pytest.fixture(autouse=True)
    def _answers_to_ctrl_c(self):
        """As Python does by itself, but not where a shell has started it in the background."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def press(self, model):
        os.kill(os.getpid(), signal.SIGINT)

    def test_ends_after_the_batch_and_keeps_what_was_learned(self):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        recorder = Recorder()
        handler = signal.getsignal(signal.SIGINT)
        press = At(self.press, epoch=2, batch=1)
        history = model.fit(
            x, y, 5, epochs=9, shuffle=False, verbose=0, callbacks=[press, recorder]
        )
        assert signal.getsignal(signal.SIGINT) is handler
        assert press.batches == 5 + 5 + 2
        oracle.epoch(x, y, 5)
        oracle.epoch(x, y, 5)
        oracle.epoch(x[:10], y[:10], 5)
        assert_same_weights(model, oracle.weights)
        assert history is model.history
        assert history.epoch == [0, 1]
        assert len(history.history["loss"]) == 2
        assert recorder.calls[-1][0] == "train_end"
        assert model.evaluate(x, y, verbose=0) == pytest.approx(oracle.score(x, y), rel=1e-12)
        assert model.fit(x, y, verbose=0).epoch == [0]

    def test_during_validation_lets_the_epoch_finish_and_begins_no_other(self):
        model, (x, y) = mlp(), data()
        recorder = Recorder()
        press = callbacks.LambdaCallback(on_test_begin=lambda logs: self.press(model))
        options = {"validation_data": (x, y), "callbacks": [press, recorder]}
        history = model.fit(x, y, epochs=5, verbose=0, **options)
        assert history.epoch == [0]
        assert len(history.history["val_loss"]) == 1
        assert [call[0] for call in recorder.calls].count("epoch_begin") == 1

    def test_says_so(self, capsys):
        model, (x, y) = mlp(), data()
        model.fit(x, y, epochs=5, verbose=2, callbacks=[At(self.press, epoch=1)])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("Epoch 1/5")
        assert lines[1] == "Interrupted in epoch 2; the model keeps what it has learned."

    def test_a_second_one_interrupts_at_once(self):
        def twice(model):
            self.press(model)
            self.press(model)

        model, (x, y) = mlp(), data()
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, 5, verbose=0, callbacks=[At(twice, batch=1)])
        assert signal.getsignal(signal.SIGINT) is handler
        assert model.fit(x, y, verbose=0).epoch == [0]

    def test_a_programs_own_handler_is_left_alone(self):
        pressed = []
        before = signal.signal(signal.SIGINT, lambda signum, frame: pressed.append(signum))
        try:
            model, (x, y) = mlp(), data()
            history = model.fit(x, y, epochs=3, verbose=0, callbacks=[At(self.press)])
        finally:
            signal.signal(signal.SIGINT, before)
        assert pressed == [signal.SIGINT]
        assert history.epoch == [0, 1, 2]

    def test_fit_in_a_thread(self):
        model, (x, y) = mlp(), data()
        oracle = Oracle(model)
        histories = []
        thread = threading.Thread(
            target=lambda: histories.append(model.fit(x, y, 5, shuffle=False, verbose=0))
        )
        thread.start()
        thread.join()
        loss, _ = oracle.epoch(x, y, 5)
        assert histories[0].history["loss"] == pytest.approx([loss], rel=1e-12)
        assert_same_weights(model, oracle.weights)


class TestEvaluate:
    def test_is_the_mean_over_samples(self):
        model, (x, y) = mlp(), data()
        expected = Oracle(model).score(x, y)
        for batch_size in (None, 1, 5, 22, 100):
            assert model.evaluate(x, y, batch_size, verbose=0) == pytest.approx(expected, rel=1e-12)

    def test_returned_types(self):
        x, y = data()
        with_metrics, without = mlp(), mlp(scores=[])
        for method in ("evaluate", "test_on_batch", "train_on_batch"):
            options = {"verbose": 0} if method == "evaluate" else {}
            results = getattr(with_metrics, method)(x, y, **options)
            assert [type(result) for result in results] == [float, float]
            assert type(results) is list
            assert type(getattr(without, method)(x, y, **options)) is float
            by_name = getattr(with_metrics, method)(x, y, return_dict=True, **options)
            assert list(by_name) == ["accuracy", "loss"]
            assert [type(result) for result in by_name.values()] == [float, float]
            assert list(getattr(without, method)(x, y, return_dict=True, **options)) == ["loss"]

    def test_with_weights_and_steps(self):
        model, (x, y) = mlp(), data()
        weights = np.random.default_rng(1).random(N)
        loss, _ = Oracle(model).score(x[:10], y[:10], weights[:10])
        result = model.evaluate(x, y, 5, 0, weights, steps=2)
        assert result[0] == pytest.approx(loss, rel=1e-12)
        whole, _ = Oracle(model).score(x, y, weights)
        assert model.test_on_batch(x, y, weights)[0] == pytest.approx(whole, rel=1e-12)

    def test_changes_nothing(self):
        model = Sequential(
            [layers.BatchNormalization(input_shape=(FEATURES,)), layers.Dense(CLASSES, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        x, y = data()
        model.fit(x, y, 5, verbose=0)
        before = model.get_weights()
        assert (before[2] != 0).any()  # fit moved the moving mean
        for call in (
            lambda: model.evaluate(x, y, verbose=0),
            lambda: model.test_on_batch(x, y),
            lambda: model.predict(x, verbose=0),
            lambda: model.predict_on_batch(x),
            lambda: model(x),
        ):
            call()
            for a, b in zip(before, model.weights, strict=True):
                np.testing.assert_array_equal(a, b)
        assert model.optimizer.iterations == 5

    def test_validation_leaves_moving_statistics_alone(self):
        def train(**options):
            set_random_seed(0)
            model = Sequential(
                [layers.BatchNormalization(input_shape=(FEATURES,)), layers.Dense(3)]
            )
            model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
            model.fit(*data(), 5, epochs=2, verbose=0, shuffle=False, **options)
            return model.get_weights()

        far = data(9, seed=1)
        for a, b in zip(train(), train(validation_data=(far[0] + 100, far[1])), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_dropout_is_for_training_alone(self):
        model = Sequential([Input((FEATURES,)), layers.Dropout(0.9)])
        x, _ = data()
        np.testing.assert_array_equal(model.predict(x, verbose=0), x.astype(np.float32))

    def test_a_metric_object_starts_anew_each_time(self):
        model, (x, y) = mlp(scores=[metrics.SparseCategoricalAccuracy(name="acc")]), data()
        expected = model.evaluate(x, y, verbose=0)
        model.optimizer.learning_rate = 0.0
        history = model.fit(x, y, 5, epochs=2, verbose=0, validation_data=(x[:3], y[:3])).history
        assert history["acc"] == pytest.approx([expected[1]] * 2)
        assert model.evaluate(x, y, verbose=0) == expected


class TestCompile:
    def test_a_second_one_starts_the_optimizer_anew(self):
        model, (x, y) = mlp("adam"), data()
        model.fit(x, y, verbose=0)
        model.compile("adam", model.loss)
        assert model.optimizer.iterations == 0
        assert model.optimizer.slots == {}

    def test_without_an_optimizer_it_is_rmsprop(self):
        model = Sequential([layers.Dense(1)])
        model.compile(loss="mse")
        assert isinstance(model.optimizer, optimizers.RMSprop)

    def test_a_refused_one_leaves_the_old(self):
        model, (x, y) = mlp("adam"), data()
        optimizer, loss = model.optimizer, model.loss
        for wrong in (
            {"optimizer": "adamm", "loss": "mse"},
            {"optimizer": "sgd", "loss": "mses"},
            {"optimizer": "sgd", "loss": "mse", "metrics": ["accurac"]},
            {"optimizer": "sgd", "loss": None},
        ):
            with pytest.raises(ValueError, match=r"unknown|needs a loss"):
                model.compile(**wrong)
        assert (model.optimizer, model.loss) == (optimizer, loss)
        assert list(model.fit(x, y, verbose=0).history) == ["accuracy", "loss"]

    def test_a_frozen_model_learns_nothing(self):
        model, (x, y) = mlp(), data()
        for layer in model.layers:
            layer.trainable = False
        before = model.get_weights()
        model.fit(x, y, verbose=0)
        assert_same_weights(model, before, tolerance=0)

    def test_a_frozen_layer_does_not_learn_and_those_before_it_do(self):
        model, (x, y) = mlp(), data()
        model.layers[1].trainable = False
        before = model.get_weights()
        oracle = Oracle(model)
        model.fit(x, y, verbose=0, shuffle=False)
        oracle.epoch(x, y, 32)
        assert_same_weights(model, [*oracle.weights[:2], *before[2:]])


LINE = re.compile(
    r"Epoch (\d)/2 - \d+\.\ds - loss: \d\.\d{4} - accuracy: \d\.\d{4}"
    r"( - val_loss: \d\.\d{4} - val_accuracy: \d\.\d{4})?"
)


class TestOutput:
    """Where output is redirected, as pytest does."""

    @pytest.mark.parametrize("verbose", ["auto", 1, 2, True])
    def test_fit_prints_a_line_an_epoch(self, capfd, verbose):
        model, (x, y) = mlp(), data()
        model.fit(x, y, 5, epochs=2, verbose=verbose, validation_data=(x, y), validation_freq=2)
        out, err = capfd.readouterr()
        assert err == ""
        matches = [LINE.fullmatch(line) for line in out.splitlines()]
        assert [match and match[1] for match in matches] == ["1", "2"]
        assert [bool(match and match[2]) for match in matches] == [False, True]
        assert out.isascii()
        assert out.replace("\n", "").isprintable()

    def test_the_values_are_those_of_the_history(self, capsys):
        model, (x, y) = mlp(), data()
        history = model.fit(x, y, verbose=2).history
        line = capsys.readouterr().out
        assert f"loss: {history['loss'][0]:.4f} - accuracy: {history['accuracy'][0]:.4f}" in line

    def test_a_small_loss_is_not_shown_as_zero(self, capsys):
        model = Sequential([layers.Dense(1, input_shape=(1,))])
        model.set_weights([[[1.0]], [0.001]])
        model.compile(optimizers.SGD(0.0), "mse")
        model.evaluate([[1.0], [2.0]], [[1.0], [2.0]], verbose=2)
        assert "loss: 1.000e-06" in capsys.readouterr().out

    def test_silence(self, capfd):
        model, (x, y) = mlp(), data()
        model.fit(x, y, 5, epochs=2, verbose=0, validation_split=0.5)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        model.train_on_batch(x, y)
        model.test_on_batch(x, y)
        model.predict_on_batch(x)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("verbose", ["auto", 1, 2])
    def test_evaluate_prints_one_line(self, capfd, verbose):
        model, (x, y) = mlp(), data()
        model.evaluate(x, y, 5, verbose=verbose)
        out, err = capfd.readouterr()
        assert err == ""
        assert re.fullmatch(r"Evaluate - \d+\.\ds - loss: \d\.\d{4} - accuracy: \d\.\d{4}\n", out)

    def test_predict_prints_nothing_unless_asked_for_a_line(self, capfd):
        model, (x, _) = mlp(), data()
        model.predict(x, 5)
        model.predict(x, 5, verbose=1)
        assert capfd.readouterr() == ("", "")
        model.predict(x, 5, verbose=2)
        assert re.fullmatch(r"Predict - \d+\.\ds\n", capfd.readouterr().out)
