import copy
import math

import numpy as np
import pytest

from tinynet import Input, Sequential, layers, random
from tinynet.callbacks import Callback, GradientHistory
from tinynet.callbacks.gradient_history import MEASURES, dead_share, rms, update_ratio

X = np.random.default_rng(1).normal(size=(100, 6)).astype("float32")
Y = np.arange(100) % 3


def network(*more, optimizer="adam"):
    random.set_random_seed(2)
    parts = [Input((6,)), layers.Dense(5, activation="relu"), *more]
    model = Sequential([*parts, layers.Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def fit(model, *callbacks, epochs=2, **arguments):
    random.set_random_seed(3)
    arguments = {"batch_size": 32, "verbose": 0, "shuffle": False} | arguments
    return model.fit(X, Y, epochs=epochs, callbacks=[*callbacks], **arguments)


class TestWhen:
    @pytest.mark.parametrize(
        ("every", "steps"),
        [(None, [1, 5, 9]), (1, [*range(1, 13)]), (5, [1, 6, 11]), (100, [1])],
    )
    def test_the_first_batch_of_each_epoch_or_every_so_many(self, every, steps):
        record = GradientHistory(every)
        fit(network(), record, epochs=3)
        assert record.steps == steps
        for measure in MEASURES:
            assert list(record.history[measure]) == ["dense", "dense_1"]
            assert all(len(values) == len(steps) for values in record.history[measure].values())

    def test_goes_on_where_it_ended(self):
        record, model = GradientHistory(), network()
        fit(model, record)
        fit(model, record)
        assert record.steps == [1, 5, 9, 13]
        assert len(record.history["gradient"]["dense"]) == 4

    def test_starts_anew_with_another_model(self):
        record = GradientHistory(every=3)
        fit(network(), record)
        fit(network(layers.ReLU()), record, epochs=1)
        assert record.steps == [1, 4]
        assert list(record.history["activation"]) == ["dense", "re_lu", "dense_1"]

    @pytest.mark.parametrize(("every", "error"), [(0, ValueError), (1.5, TypeError)])
    def test_every_is_a_count(self, every, error):
        with pytest.raises(error, match="every must be an integer of at least 1, got"):
            GradientHistory(every)

    def test_repr_is_the_constructor_call(self):
        assert repr(GradientHistory(every=3)) == "GradientHistory(every=3)"
        assert eval(repr(GradientHistory())).every is None


class TestWhat:
    def test_is_what_a_step_by_hand_gives(self):
        record, model = GradientHistory(every=1), network(layers.Dropout(0.4))
        twin = copy.deepcopy(model)
        fit(model, record, epochs=1)
        random.set_random_seed(3)
        for step in range(4):
            batch = slice(32 * step, 32 * (step + 1))
            before = {key: w.copy() for key, w in twin.params.items()}
            state = random.generator().bit_generator.state
            y = twin.layers[0].forward(X[batch])
            noisy = twin.layers[1].forward(y, training=True)
            random.generator().bit_generator.state = state
            twin.train_on_batch(X[batch], Y[batch])
            found = {m: {k: v[step] for k, v in record.history[m].items()} for m in MEASURES}
            assert found["activation"]["dense"] == pytest.approx(rms(y), rel=1e-5)
            assert found["activation"]["dropout"] == pytest.approx(rms(noisy), rel=1e-5)
            assert found["dead"]["dense"] == (y <= 0).all(axis=0).mean()
            assert math.isnan(found["gradient"]["dropout"])
            assert math.isnan(found["update"]["dropout"])
            assert math.isnan(found["dead"]["dense_1"])
            for name in ("dense", "dense_1"):
                keys = [f"{name}/kernel", f"{name}/bias"]
                grads = np.concatenate([twin.grads[key].ravel() for key in keys])
                assert found["gradient"][name] == pytest.approx(rms(grads), rel=1e-5)
                moved = np.concatenate([(twin.params[k] - before[k]).ravel() for k in keys])
                size = np.concatenate([before[k].ravel() for k in keys])
                ratio = np.linalg.norm(moved) / np.linalg.norm(size)
                assert found["update"][name] == pytest.approx(ratio, rel=1e-4)

    def test_changes_nothing_of_the_training(self):
        plain, recorded = network(layers.Dropout(0.4)), network(layers.Dropout(0.4))
        one, other = fit(plain), fit(recorded, GradientHistory(every=2))
        assert one.history == other.history
        for a, b in zip(plain.get_weights(), recorded.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_frozen_layer_has_activations_only(self):
        record, model = GradientHistory(), network()
        model.layers[0].trainable = False
        fit(model, record)
        assert np.isfinite(record.history["activation"]["dense"]).all()
        assert np.isnan(record.history["gradient"]["dense"]).all()
        assert np.isnan(record.history["update"]["dense"]).all()

    def test_nan_is_recorded(self):
        record = GradientHistory()
        network().fit(np.full_like(X, np.nan), Y, epochs=2, verbose=0, callbacks=[record])
        assert len(record.steps) == 2
        assert np.isnan(record.history["activation"]["dense_1"]).all()
        assert np.isnan(record.history["gradient"]["dense_1"]).all()


class TestTheLayers:
    def test_are_left_alone_between_batches(self):
        class Look(Callback):
            def on_train_batch_end(self, batch, logs=None):
                assert all("forward" not in vars(layer) for layer in self.model.layers)

        fit(network(), GradientHistory(every=1), Look())

    def test_and_after_a_training_that_failed(self):
        class Fails(Callback):
            def on_train_batch_begin(self, batch, logs=None):
                raise RuntimeError("no more")

        model = network()
        with pytest.raises(RuntimeError, match="no more"):
            fit(model, GradientHistory(every=1), Fails())
        assert all("forward" not in vars(layer) for layer in model.layers)


class TestMeasures:
    def test_rms(self):
        assert rms(np.array([3.0, 4.0])) == pytest.approx(math.sqrt(12.5))
        assert rms(np.array([[3.0]]), np.array([4.0, 0.0, 0.0])) == pytest.approx(2.5)
        assert math.isnan(rms())
        assert math.isnan(rms(np.array([np.nan, 1.0])))
        large = np.full(4, 1e30, "float32")  # whose squares are beyond float32
        assert rms(large) == pytest.approx(1e30)

    def test_update_ratio(self):
        before = {"kernel": np.array([3.0, 4.0])}
        assert update_ratio(before, {"kernel": np.array([3.0, 4.5])}) == pytest.approx(0.1)
        assert math.isnan(update_ratio({}, {}))
        assert update_ratio({"bias": np.zeros(2)}, {"bias": np.ones(2)}) == math.inf

    def test_dead_share(self):
        y = np.zeros((2, 3, 3, 4))
        y[1, 2, 0, 1] = y[0, 0, 0, 3] = 0.1
        assert dead_share(layers.ReLU(), y) == 0.5
        assert dead_share(layers.Activation("relu"), y[:, 0, 0]) == 0.75
        assert math.isnan(dead_share(layers.Dense(4, activation="tanh"), y))
        assert math.isnan(dead_share(layers.LeakyReLU(), y))
