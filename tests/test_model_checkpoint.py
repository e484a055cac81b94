"""ModelCheckpoint: which files, when, and what is in them."""

import numpy as np
import pytest

from tinynet import Sequential, layers
from tinynet.callbacks import CallbackList, LambdaCallback, ModelCheckpoint
from tinynet.models import load_model

NAN = float("nan")


class Saver:
    """Writes how often it was asked to, instead of a model."""

    def __init__(self):
        self.saved = []

    def check_saveable(self):
        pass

    def save(self, path):
        self.saved.append(("model", path.name))
        path.write_text("")

    def save_weights(self, path):
        self.saved.append(("weights", path.name))
        path.write_text("")


def run(callback, epochs, batches=0):
    """The files that are saved in epochs with these logs, one dict (or one val_loss) an epoch."""
    model = Saver()
    logs = [e if isinstance(e, dict) else {"loss": 1.0, "val_loss": e} for e in epochs]
    listeners = CallbackList(callback, model, {"verbose": 0, "epochs": len(logs), "steps": batches})
    listeners.on_train_begin()
    for epoch, epoch_logs in enumerate(logs):
        listeners.on_epoch_begin(epoch)
        for batch in range(batches):
            listeners.on_train_batch_end(batch, {"loss": 10.0 - epoch * batches - batch})
        listeners.on_epoch_end(epoch, dict(epoch_logs))
    listeners.on_train_end()
    return model.saved


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({}, [3, 4, 2], [1, 2, 3]),
        ({"save_best_only": True}, [3, 4, 2, 2, 1], [1, 3, 5]),
        ({"save_best_only": True, "mode": "max"}, [3, 4, 2, 5], [1, 2, 4]),
        ({"save_best_only": True}, [NAN, 3, NAN, 2], [2, 4]),
        ({"save_best_only": True, "initial_value_threshold": 2.5}, [3, 2.5, 2, 1], [3, 4]),
        ({"initial_value_threshold": 0}, [3, 2], [1, 2]),
        ({"monitor": "anything"}, [3, 2], [1, 2]),
    ],
)
def test_after_which_epochs_a_file_is_saved(tmp_path, arguments, values, epochs):
    callback = ModelCheckpoint(tmp_path / "m-{epoch}.tinynet", **arguments)
    assert run(callback, values) == [("model", f"m-{epoch}.tinynet") for epoch in epochs]


def test_batches_are_counted_through_the_epochs(tmp_path):
    callback = ModelCheckpoint(tmp_path / "m-{epoch}-{batch}.tinynet", save_freq=3)
    saved = run(callback, [1.0, 1.0], batches=4)
    assert [name for _, name in saved] == ["m-1-3.tinynet", "m-2-2.tinynet"]


def test_the_best_of_batches(tmp_path):
    callback = ModelCheckpoint(
        tmp_path / "m-{epoch}-{batch}.tinynet", "loss", save_best_only=True, save_freq=2, mode="max"
    )
    assert run(callback, [1.0, 1.0], batches=4) == [("model", "m-1-2.tinynet")]


def test_nothing_is_called_for_batches_where_epochs_are_counted(tmp_path):
    listeners = CallbackList(ModelCheckpoint(tmp_path / "m.tinynet"), Saver(), {})
    assert not listeners.wants_train_batches


def test_the_name_is_filled_from_epoch_and_logs(tmp_path):
    path = tmp_path / "deep" / "er" / "{epoch:02d}-{val_loss:.2f}-{accuracy:.1%}.tinynet"
    saved = run(ModelCheckpoint(path, save_weights_only=True), [{"val_loss": 0.123, "accuracy": 1}])
    assert saved == [("weights", "01-0.12-100.0%.tinynet")]


def test_a_line_for_each_file(tmp_path, capsys):
    path = tmp_path / "m.tinynet"
    run(ModelCheckpoint(path, verbose=1, save_best_only=True), [3, 4, 2])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"Epoch 1: val_loss is 3, the best so far; saved {str(path)!r}",
        f"Epoch 3: val_loss is 2, the best so far; saved {str(path)!r}",
    ]
    run(ModelCheckpoint(path, verbose=1), [3])
    assert capsys.readouterr().out == f"Epoch 1: saved {str(path)!r}\n"


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        ("m.keras", {}, r"'\.tinynet'"),
        ("m-{epoch.tinynet", {}, "no template"),
        ("m-{}.tinynet", {}, "what it is filled with"),
        ("m-{0}.tinynet", {}, "what it is filled with"),
        ("m.tinynet", {"mode": "up"}, "mode"),
        ("m.tinynet", {"save_best_only": True, "save_freq": 3}, "within an epoch"),
        ("m.tinynet", {"save_best_only": True, "monitor": "anything"}, "cannot tell"),
        ("m.tinynet", {"initial_value_threshold": NAN}, "initial_value_threshold"),
        ("m.tinynet", {"save_best_only": "yes"}, "save_best_only must be True or False"),
    ],
)
def test_what_cannot_be_is_refused_at_once(tmp_path, path, arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        ModelCheckpoint(tmp_path / path, **arguments)


@pytest.mark.parametrize("field", ["epoch.foo", "epoch[0]", "loss:d"])
def test_a_template_that_cannot_be_filled_is_named(tmp_path, field):
    with pytest.raises(ValueError, match=r"cannot fill '.*\.tinynet'.*there are epoch, loss"):
        run(ModelCheckpoint(f"{tmp_path}/{{{field}}}.tinynet"), [1.0])


def test_a_name_that_the_logs_lack_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"val_accuracy.*there are epoch, loss, val_loss"):
        run(ModelCheckpoint(tmp_path / "{val_accuracy}.tinynet"), [1.0])


def test_a_monitored_value_that_no_epoch_brings_is_an_error(tmp_path):
    callback = ModelCheckpoint(tmp_path / "m.tinynet", "val_accuracy", save_best_only=True)
    with pytest.raises(ValueError, match="monitors 'val_accuracy'"):
        run(callback, [1.0])


def test_the_best_model_of_a_real_training_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 5)), rng.integers(0, 3, 64)
    model = Sequential([layers.Input((5,)), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    losses = [0.9, 0.5, 0.7]
    weights = []
    callbacks = [
        LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=losses[epoch])),
        LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights())),
        ModelCheckpoint(tmp_path / "best.tinynet", save_best_only=True),
        ModelCheckpoint(tmp_path / "weights-{epoch}.tinynet", save_weights_only=True),
    ]
    model.fit(x, y, epochs=3, verbose=0, callbacks=callbacks)
    best = load_model(tmp_path / "best.tinynet")
    assert best.optimizer.iterations == 4
    for found, expected in zip(best.weights, weights[1], strict=True):
        np.testing.assert_array_equal(found, expected)
    model.load_weights(tmp_path / "weights-1.tinynet")
    for found, expected in zip(model.weights, weights[0], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_model_that_cannot_be_saved_is_refused_before_it_trains(tmp_path):
    class Mine(layers.ReLU):
        pass

    model = Sequential([layers.Input((5,)), layers.Dense(3), Mine()])
    model.compile("adam", "mse")
    before = model.get_weights()
    x, y = np.ones((8, 5)), np.ones((8, 3))
    with pytest.raises(TypeError, match="Mine"):
        model.fit(x, y, verbose=0, callbacks=[ModelCheckpoint(tmp_path / "m.tinynet")])
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    callback = ModelCheckpoint(tmp_path / "m.tinynet", save_weights_only=True)
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert (tmp_path / "m.tinynet").exists()
