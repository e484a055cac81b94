"""Trainings that are broken off at any moment, and end as if they had not been."""

import json
import os
import random as python_random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinynet import Sequential, layers, random, saving
from tinynet.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientHistory,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from tinynet.metrics import Metric
from tinynet.models.packing import pack, unpack
from tinynet.utils import set_random_seed

EPOCHS, STEPS = 5, 6


class Crash(Callback):
    """Raises at one moment of the training, or never."""

    def __init__(self, hook=None, epoch=0, batch=0):
        self.hook, self.at, self.batch = hook, epoch, batch
        self.epoch = 0

    def get_state(self):
        return {"epoch": self.epoch}

    def set_state(self, state):
        self.epoch = state["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.maybe("on_epoch_begin")

    def on_train_batch_begin(self, batch, logs=None):
        self.maybe("on_train_batch_begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self.maybe("on_train_batch_end", batch)

    def on_test_begin(self, logs=None):
        self.maybe("on_test_begin")

    def on_epoch_end(self, epoch, logs=None):
        self.maybe("on_epoch_end")

    def maybe(self, hook, batch=None):
        if (hook, self.epoch) == (self.hook, self.at) and batch in (None, self.batch):
            raise RuntimeError("crash")


class Slow(Crash):
    """Leaves time to be killed in."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.01)


class Counter(Callback):
    """Remembers every batch, in a state of its own."""

    def __init__(self):
        self.batches = 0
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self.losses.append(logs["loss"])

    def get_state(self):
        return {"batches": self.batches, "losses": self.losses}

    def set_state(self, state):
        self.batches, self.losses = state["batches"], list(state["losses"])


def images(sample, count=92):
    (x, y), _ = sample
    return x[:count, ::4, ::4, None] / np.float32(255), y[:count]


def make_model():
    set_random_seed(5)
    return Sequential(
        [
            layers.Input((7, 7, 1)),
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.2, seed=3),
            layers.Dense(10, activation="softmax"),
        ]
    )


def train(sample, folder, crash=None, save_freq="epoch", fit=None, patience=2, **backup):
    """The whole of a script: returns all that it ends with."""
    model = make_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = images(sample)
    folder.mkdir(exist_ok=True)
    stop = EarlyStopping(patience=patience, restore_best_weights=True)
    reduce = ReduceLROnPlateau(patience=0, factor=0.5, min_delta=0.3)
    counter, gradients = Counter(), GradientHistory(every=4)
    callbacks = [
        BackupAndRestore(folder / "backup", save_freq, **backup),
        LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        stop,
        reduce,
        CSVLogger(folder / "log.csv"),
        ModelCheckpoint(folder / "best.tinynet", save_best_only=True),
        TerminateOnNaN(),
        counter,
        gradients,
        crash or Crash(),
    ]
    history = model.fit(
        x, y, **{"batch_size": 16, "epochs": EPOCHS, "validation_split": 0.1, "verbose": 0,
                 "callbacks": callbacks, **(fit or {})},
    )  # fmt: skip
    slots = model.optimizer.slots
    return {
        "weights": [w.tobytes() for w in model.weights],
        "slots": {k: {n: a.tobytes() for n, a in s.items()} for k, s in slots.items()},
        "optimizer": (model.optimizer.iterations, model.optimizer.get_config()),
        "history": (history.epoch, history.history, history.epochs_of, list(history.history)),
        "generator": random.state_of(random.generator()),
        "dropout": random.state_of(model.layers[5].own_generator()),
        "monitors": [stop.best, stop.wait, stop.best_epoch, reduce.best, reduce.wait],
        "counter": (counter.batches, counter.losses),
        "gradients": (gradients.steps, repr(gradients.history)),
        "log": (folder / "log.csv").read_bytes(),
        "best": (folder / "best.tinynet").read_bytes(),
        "left": sorted(path.name for path in folder.iterdir()),
    }


@pytest.fixture(scope="module")
def never_crashed(sample, tmp_path_factory):
    return train(sample, tmp_path_factory.mktemp("whole"))


MOMENTS = [
    ("on_epoch_begin", 0, 0),
    ("on_train_batch_begin", 0, 3),
    ("on_test_begin", 0, 0),
    ("on_epoch_end", 0, 0),
    ("on_epoch_begin", 1, 0),
    ("on_train_batch_end", 2, 0),
    ("on_train_batch_end", 2, 4),
    ("on_train_batch_end", 2, STEPS - 1),
    ("on_test_begin", 2, 0),
    ("on_epoch_end", 3, 0),
]


@pytest.mark.parametrize("save_freq", ["epoch", 1, 2, 4])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_training_that_crashes_ends_as_one_that_does_not(
    sample, tmp_path, never_crashed, moment, save_freq
):
    with pytest.raises(RuntimeError, match="crash"):
        train(sample, tmp_path, Crash(*moment), save_freq)
    assert train(sample, tmp_path, save_freq=save_freq) == never_crashed


def test_a_training_may_crash_again_and_again(sample, tmp_path, never_crashed):
    for moment in MOMENTS:
        with pytest.raises(RuntimeError, match="crash"):
            train(sample, tmp_path, Crash(*moment), save_freq=1)
    assert train(sample, tmp_path, save_freq=1) == never_crashed


@pytest.mark.parametrize("fit", [{"shuffle": False}, {"steps_per_epoch": 4}, {"batch_size": 200}])
def test_other_ways_through_the_data(sample, tmp_path, fit):
    whole = train(sample, tmp_path / "whole", fit=fit)
    with pytest.raises(RuntimeError, match="crash"):
        train(sample, tmp_path / "crashed", Crash("on_epoch_end", 2), save_freq=1, fit=fit)
    assert train(sample, tmp_path / "crashed", save_freq=1, fit=fit) == whole


def test_batches_are_counted_through_the_epochs(sample, tmp_path, never_crashed):
    save_freq = 2 * STEPS - 1
    with pytest.raises(RuntimeError, match="crash"):
        train(sample, tmp_path, Crash("on_train_batch_end", 1, STEPS - 1), save_freq)
    with saving.ModelFile(tmp_path / "backup" / "training.tinynet") as file:
        state = file.header["training"]["dict"]
    assert (state["epoch"], state["step"]) == (1, STEPS - 1)
    with pytest.raises(RuntimeError, match="crash"):
        train(sample, tmp_path, Crash("on_epoch_end", 3), save_freq)
    with saving.ModelFile(tmp_path / "backup" / "training.tinynet") as file:
        state = file.header["training"]["dict"]
    assert (state["epoch"], state["step"]) == (3, STEPS - 2)
    assert train(sample, tmp_path, save_freq=save_freq) == never_crashed


class StopWithin(Callback):
    """Stops the training after a batch in the middle of the second epoch."""

    epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 2):
            self.model.stop_training = True


def test_a_training_that_stops_within_an_epoch_has_that_epoch_after_a_crash_too(sample, tmp_path):
    x, y = images(sample)

    def run(folder, crash):
        callbacks = [BackupAndRestore(folder, save_freq=1), StopWithin(), crash]
        model = make_model()
        model.compile("adam", "sparse_categorical_crossentropy")
        history = model.fit(
            x, y, 16, epochs=3, validation_split=0.1, verbose=0, callbacks=callbacks
        )
        return history.history, [w.tobytes() for w in model.weights], model.optimizer.iterations

    whole = run(tmp_path / "whole", Crash())
    with pytest.raises(RuntimeError, match="crash"):
        run(tmp_path / "crashed", Crash("on_test_begin", 1))
    assert run(tmp_path / "crashed", Crash()) == whole
    assert (len(whole[0]["val_loss"]), whole[2]) == (2, STEPS + 3)


def test_a_finished_training_deletes_its_backup(sample, tmp_path):
    train(sample, tmp_path)
    assert not (tmp_path / "backup").exists()


def test_a_kept_backup_of_a_finished_training_trains_no_further(sample, tmp_path, never_crashed):
    first = train(sample, tmp_path, delete_checkpoint=False)
    assert (tmp_path / "backup" / "training.tinynet").exists()
    again = train(sample, tmp_path, delete_checkpoint=False)
    assert again == first
    assert first["weights"] == never_crashed["weights"]


def test_more_epochs_go_on_from_a_kept_backup(sample, tmp_path):
    whole = train(sample, tmp_path / "a", fit={"epochs": 3})
    train(sample, tmp_path / "b", fit={"epochs": 2}, delete_checkpoint=False)
    assert train(sample, tmp_path / "b", fit={"epochs": 3}) == whole


def test_the_folder_that_one_works_in_stays(sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = images(sample)
    model = Sequential([layers.Input(x.shape[1:]), layers.Flatten(), layers.Dense(10)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0, callbacks=[BackupAndRestore(".")])
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


def test_other_files_in_the_folder_stay(sample, tmp_path):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine.txt").write_text("mine")
    (tmp_path / "backup" / ".tinynet-0123456789abcdef.tmp").write_text("of a killed save")
    train(sample, tmp_path)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["mine.txt"]


# --- what is refused -----------------------------------------------------------------------------


def simple(x, y, folder, *others, model=None, loss="sparse_categorical_crossentropy", **fit):
    model = model or Sequential([layers.Input(x.shape[1:]), layers.Flatten(), layers.Dense(10)])
    model.compile("sgd", loss)
    callbacks = [BackupAndRestore(folder, delete_checkpoint=False), *others]
    return model, model.fit(x, y, verbose=0, callbacks=callbacks, **fit)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y, kw: kw.update(x=x + 1), "in the data, x, "),
        (lambda x, y, kw: kw.update(x=x[:-1], y=y[:-1]), "in the data, x, "),
        (lambda x, y, kw: kw.update(y=(y + 1) % 10), "in the data, y, digest: "),
        (lambda x, y, kw: kw.update(validation_split=0.2), "the data"),
        (lambda x, y, kw: kw.update(sample_weight=np.ones(len(x))), "the data, sample_weight"),
        (lambda x, y, kw: kw.update(batch_size=7), "batch_size: there it is 32, here 7"),
        (lambda x, y, kw: kw.update(shuffle=False), "the batches, shuffle"),
        (lambda x, y, kw: kw.update(others=[LambdaCallback()]), "the callbacks"),
        (
            lambda x, y, kw: kw.update(
                model=Sequential([layers.Input((7, 7, 1)), layers.Flatten(), layers.Dense(11)])
            ),
            "the model, config, layers, 2, config, units: there it is 10, here 11",
        ),
    ],
)
def test_another_training_is_refused(sample, tmp_path, change, said):
    x, y = images(sample)
    simple(x, y, tmp_path, epochs=2)
    before = (tmp_path / "training.tinynet").read_bytes()
    arguments = {"x": x, "y": y, "others": [], "epochs": 3}
    change(x, y, arguments)
    x, y, others = (arguments.pop(name) for name in ("x", "y", "others"))
    with pytest.raises(ValueError, match=said):
        simple(x, y, tmp_path, *others, **arguments)
    assert (tmp_path / "training.tinynet").read_bytes() == before


def test_a_loop_is_there_only_while_it_trains(sample, tmp_path):
    x, y = images(sample)
    seen = []

    class Look(Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((self.model.loop.epoch, self.model.loop.step))

    model, _ = simple(x, y, tmp_path, Look(), epochs=2)
    assert seen == [(1, 0), (2, 0)]
    assert model.loop is None
    with pytest.raises(ValueError, match="another training"):
        model.fit(x + 1, y, verbose=0, callbacks=[BackupAndRestore(tmp_path), Look()])
    assert model.loop is None


def test_a_damaged_backup_is_refused(sample, tmp_path):
    x, y = images(sample)
    simple(x, y, tmp_path, epochs=1)
    path = tmp_path / "training.tinynet"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(saving.CorruptError, match=r"training\.tinynet"):
        simple(x, y, tmp_path, epochs=2)


def test_a_model_is_no_backup(sample, tmp_path):
    x, y = images(sample)
    model, _ = simple(x, y, tmp_path / "first", epochs=1)
    (tmp_path / "second").mkdir()
    model.save(tmp_path / "second" / "training.tinynet")
    with pytest.raises(saving.MisfitError, match="no backup"):
        simple(x, y, tmp_path / "second", epochs=1)


def test_a_state_of_the_wrong_kind_is_a_misfit(sample, tmp_path):
    x, y = images(sample)
    simple(x, y, tmp_path, epochs=1)
    path = tmp_path / "training.tinynet"
    with saving.ModelFile(path) as file:
        header, tensors = dict(file.header), {name: file.read(name) for name in file.tensors}
    for key, value in [
        ("epoch", "one"), ("epoch", -1), ("generator", {"dict": {}}), ("batches", None),
        ("callbacks", []), ("learning_rate", "fast"), ("iterations", 1.5), ("step", [1]),
        ("stop_training", []),
    ]:  # fmt: skip
        state = {"dict": {**header["training"]["dict"], key: value}}
        saving.write(path, {**header, "training": state}, tensors)
        with pytest.raises(saving.MisfitError, match=r"training\.tinynet"):
            simple(x, y, tmp_path, epochs=2)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("optimizer/dense/kernel/m", None),
        ("optimizer/dense/kernel/m", np.zeros((10, 49), np.float32)),
        ("optimizer/dense/bias/v", np.zeros(10, np.float64)),
        ("optimizer/dense/bias/velocity", np.zeros(10, np.float32)),
        ("optimizer/other/kernel/m", np.zeros(10, np.float32)),
        ("weights/dense/bias", None),
        ("weights/dense/bias", np.zeros(10, np.int64)),
        ("weights/dense/bias", np.zeros((1, 10), np.float32)),
        ("weights/other/bias", np.zeros(10, np.float32)),
        ("other", np.zeros(10, np.float32)),
    ],
)
def test_tensors_that_do_not_fit_are_refused_before_anything_is_changed(
    sample, tmp_path, name, array
):
    x, y = images(sample)

    def run(epochs, model):
        model.compile("adam", "sparse_categorical_crossentropy")
        callback = BackupAndRestore(tmp_path, delete_checkpoint=False)
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=[callback])

    def make():
        return Sequential([layers.Input((7, 7, 1)), layers.Flatten(), layers.Dense(10)])

    run(1, make())
    path = tmp_path / "training.tinynet"
    with saving.ModelFile(path) as file:
        header, tensors = dict(file.header), {each: file.read(each) for each in file.tensors}
    tensors[name] = array
    saving.write(path, header, {each: a for each, a in tensors.items() if a is not None})
    model = make()
    before = [w.copy() for w in model.weights]
    with pytest.raises(saving.MisfitError, match=rf"training\.tinynet.*'{name}' is .* needs "):
        run(2, model)
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert (model.optimizer.slots, model.optimizer.iterations) == ({}, 0)


def test_a_metric_without_state_can_be_backed_up_between_epochs_only(sample, tmp_path):
    class Last(Metric):
        def reset_state(self):
            self.value = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value = float(y_pred[-1, 0])

        def result(self):
            return self.value

    x, y = images(sample)
    for save_freq in ("epoch", 2):
        model = Sequential([layers.Input((7, 7, 1)), layers.Flatten(), layers.Dense(10)])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=[Last()])
        callback = BackupAndRestore(tmp_path, save_freq)
        if save_freq == "epoch":
            model.fit(x, y, verbose=0, callbacks=[callback])
        else:
            with pytest.raises(NotImplementedError, match="Last must define get_state"):
                model.fit(x, y, verbose=0, callbacks=[callback])


@pytest.mark.parametrize("save_freq", [0, -1, 1.5, "batch", True, None])
def test_a_wrong_save_freq(tmp_path, save_freq):
    for make in (
        BackupAndRestore,
        lambda path, save_freq: ModelCheckpoint(path, save_freq=save_freq),
    ):
        with pytest.raises((TypeError, ValueError), match="save_freq"):
            make(tmp_path / "m.tinynet", save_freq=save_freq)


@pytest.mark.parametrize("folder", ["~/backup", Path("~/backup"), "", "a\0b", b"backup", None, 3])
def test_a_wrong_backup_dir(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=r"path must|not expanded"):
        BackupAndRestore(folder)
    BackupAndRestore(tmp_path / "~")
    assert not list(tmp_path.iterdir())


# --- states in files -----------------------------------------------------------------------------


def test_states_come_back_as_they_were():
    state = {
        "none": None, "true": True, "int": -(1 << 62), "float": 0.1, "text": "é/..", "empty": [],
        "infinite": float("-inf"), "floats": [0.5, float("nan"), float("inf")], "ints": [1, 2],
        "mixed": [1, 2.0, "three", [None]], "deep": {"tensor": {"array": [1.0]}},
        "array": np.arange(6, dtype=np.float32).reshape(2, 3), "numpy": np.float32(0.5),
    }  # fmt: skip
    tensors = {}
    packed = json.loads(json.dumps(pack(state, tensors), allow_nan=False))
    found = unpack(packed, tensors)
    np.testing.assert_equal(found, {**state, "numpy": 0.5})
    assert [type(item) for item in found["mixed"]] == [int, float, str, list]
    assert all(type(item) is int for item in found["ints"])


def test_a_state_of_every_batch_of_a_long_training_fits_into_a_file(tmp_path):
    rng = np.random.default_rng(0)
    losses = rng.random(60_000).tolist()
    state = {
        "pairs": [[loss, -loss] for loss in losses],
        "mixed": [[i, loss] for i, loss in enumerate(losses)],
        "dicts": [{"batch": i, "loss": float("nan")} for i in range(60_000)],
        "long": [losses, losses[:100]],
        "ints": list(range(60_000)),
    }
    tensors = {}
    path = tmp_path / "state.tinynet"
    saving.write(path, {"state": pack(state, tensors)}, tensors)
    with saving.ModelFile(path) as file:
        found = unpack(file.header["state"], {name: file.read(name) for name in file.tensors})
    assert repr(found) == repr(state)  # in which one NaN is as another


@pytest.mark.parametrize(
    "value",
    [
        object(), {1: 2}, 1 << 63, {"a": {1, 2}}, b"bytes", [1 << 63] * 99,
        np.zeros(3, np.int32), np.array([True]), np.zeros(0), [np.zeros((2, 0), np.float32)] * 99,
    ],
)  # fmt: skip
def test_a_state_of_anything_else_is_refused(value):
    with pytest.raises(TypeError, match="state of a callback"):
        pack(value, {})


# --- a process that is killed --------------------------------------------------------------------

SCRIPT = """
import hashlib, json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from models.test_backup import Slow, train
from tinynet.datasets import fashion_mnist
folder, save_freq = Path(sys.argv[1]), sys.argv[2]
if save_freq != "epoch":
    save_freq = int(save_freq)
sample, fit = fashion_mnist.load_sample(), {{"epochs": 12}}
result = train(sample, folder, Slow(), save_freq, fit, patience=20)
del result["left"]  # killing it while it saves may leave an unfinished file
(folder / "result.txt").write_text(repr(result))
"""


@pytest.mark.parametrize("save_freq", ["epoch", "1"])
def test_a_process_that_is_killed_again_and_again(tmp_path, save_freq):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1])))

    def start(folder):
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(script), str(folder), save_freq]
        return subprocess.Popen(command, env=environment)

    assert start(tmp_path / "whole").wait() == 0
    killed = tmp_path / "killed"
    chance = python_random.Random(save_freq)
    kills = 0
    while kills < 6:
        process = start(killed)
        backup = killed / "backup" / "training.tinynet"
        before = backup.stat().st_mtime_ns if backup.exists() else 0
        while process.poll() is None:  # until it has come further than the last one
            if backup.exists() and backup.stat().st_mtime_ns > before:
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        if (killed / "result.txt").exists():
            break
    else:
        assert start(killed).wait() == 0
    expected = (tmp_path / "whole" / "result.txt").read_text()
    assert (killed / "result.txt").read_text() == expected
    assert kills >= 3


# --- History, alone ------------------------------------------------------------------------------


def test_a_history_keeps_its_lists():
    history = History()
    history.on_epoch_end(0, {"loss": 1.0})
    other = History()
    lists = other.epoch, other.history
    other.set_state(history.get_state())
    assert (other.epoch, other.history) == ([0], {"loss": [1.0]})
    assert lists[0] is other.epoch
    assert lists[1] is other.history
