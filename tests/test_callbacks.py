"""Callbacks: driven by hand on scripted logs, with a fake model; then inside a real fit."""

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest

from tinynet import Sequential, layers, optimizers
from tinynet.callbacks import (
    HOOKS,
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

NAN, INF = math.nan, math.inf


class FakeModel:
    """Whose weights are the number of the epoch that was trained last."""

    def __init__(self, learning_rate=1.0):
        self.optimizer = SimpleNamespace(learning_rate=learning_rate)
        self.stop_training = False
        self.weights = [np.array(-1.0)]

    def get_weights(self):
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        self.weights = [weight.copy() for weight in weights]


def run(callback, epochs, model=None):
    """Go through training with these logs, one dict (or one val_loss) an epoch.

    Returns the number of epochs trained and the model.
    """
    model = model or FakeModel()
    model.stop_training = False
    logs = [e if isinstance(e, dict) else {"loss": 1.0, "val_loss": e} for e in epochs]
    listeners = CallbackList(callback, model, {"verbose": 0, "epochs": len(logs), "steps": 1})
    listeners.on_train_begin()
    epoch = -1
    for epoch, epoch_logs in enumerate(logs):
        listeners.on_epoch_begin(epoch)
        model.weights = [np.array(float(epoch))]
        listeners.on_epoch_end(epoch, dict(epoch_logs))
        if model.stop_training:
            break
    listeners.on_train_end()
    return epoch + 1, model


# --- EarlyStopping -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({}, [3, 2, 1, 1, 0], 4),
        ({"patience": 1}, [3, 2, 1, 1, 0], 4),
        ({"patience": 2}, [3, 4, 2, 3, 3, 0], 5),
        ({"patience": 2}, [3, 4, 2, 3, 1], 5),
        ({"mode": "max"}, [1, 2, 3, 3, 4], 4),
        ({"min_delta": 0.5}, [3, 2, 1.5, 1], 3),
        ({"min_delta": -0.5}, [3, 2, 1.5, 1], 3),
        ({"min_delta": 0.5, "mode": "max"}, [1, 2, 2.5, 4], 3),
        ({"baseline": 2.0, "patience": 2}, [5, 4, 3, 3], 4),
        ({"baseline": 2.0, "patience": 2}, [5, 1, 2, 0], 4),
        ({"baseline": 2.0, "patience": 2, "mode": "max"}, [1, 1, 3], 2),
        ({"start_from_epoch": 2}, [1, 5, 3, 2, 2, 0], 5),
        ({"patience": 1}, [NAN, 3, 2, NAN, 1], 4),
        ({"patience": 1}, [NAN, NAN, 1], 2),
    ],
)
def test_early_stopping_ends_after_so_many_epochs(arguments, values, epochs):
    assert run(EarlyStopping(**arguments), values)[0] == epochs


@pytest.mark.parametrize(
    ("monitor", "rises"),
    [
        ("loss", False),
        ("val_loss", False),
        ("val_mean_squared_error", False),
        ("MSE", False),
        ("mae", False),
        ("sparse_categorical_crossentropy", False),
        ("accuracy", True),
        ("val_acc", True),
        ("val_sparse_categorical_accuracy", True),
        ("top_k_categorical_accuracy", True),
    ],
)
def test_mode_auto_goes_by_the_name(monitor, rises):
    logs = [{monitor: value} for value in ([1, 2, 3] if rises else [3, 2, 1])]
    assert run(EarlyStopping(monitor), logs)[0] == 3
    assert run(EarlyStopping(monitor), logs[::-1])[0] == 2


def test_mode_auto_asks_where_the_name_does_not_tell():
    with pytest.raises(ValueError, match="'val_hits' should fall or rise; pass mode='min' or"):
        EarlyStopping("val_hits")
    assert run(EarlyStopping("hits", mode="max"), [{"hits": 1}, {"hits": 2}])[0] == 2


def test_best_weights_are_restored_only_when_asked_for():
    values = [3, 1, 2, 2, 0]
    assert run(EarlyStopping(patience=2), values)[1].weights == [3]
    assert run(EarlyStopping(patience=2, restore_best_weights=True), values)[1].weights == [1]


def test_best_weights_are_restored_at_the_end_of_all_epochs():
    _, model = run(EarlyStopping(patience=9, restore_best_weights=True), [3, 1, 2])
    assert model.weights == [1]
    assert not model.stop_training


def test_best_weights_are_restored_although_no_epoch_beat_the_baseline():
    callback = EarlyStopping(baseline=0.5, patience=3, restore_best_weights=True)
    assert run(callback, [3, 1, 2, 2])[1].weights == [1]


def test_weights_of_a_warm_up_or_of_nan_are_never_the_best():
    callback = EarlyStopping(start_from_epoch=1, patience=5, restore_best_weights=True)
    assert run(callback, [0, 2, 3])[1].weights == [1]
    assert run(callback, [0, NAN, 3, 4])[1].weights == [2]
    assert run(callback, [NAN, NAN])[1].weights == [1]


def test_early_stopping_starts_anew_with_each_training():
    callback = EarlyStopping(patience=1, restore_best_weights=True)
    assert run(callback, [1, 2])[0] == 2
    assert (callback.best, callback.best_epoch, callback.stopped_epoch) == (1, 0, 1)
    epochs, model = run(callback, [9, 8, 7])
    assert (epochs, model.weights) == (3, [2])
    assert (callback.best, callback.wait, callback.stopped_epoch) == (7, 0, 0)


def test_early_stopping_tells_what_it_does_when_verbose(capsys):
    values = [3, 1, 2]
    run(EarlyStopping(restore_best_weights=True), values)
    assert capsys.readouterr().out == ""
    run(EarlyStopping(restore_best_weights=True, verbose=1), values)
    assert capsys.readouterr().out == (
        "Epoch 3: no better val_loss, training stopped\nWeights restored from the best epoch, 2\n"
    )
    run(EarlyStopping(patience=5, verbose=True), values)
    assert capsys.readouterr().out == ""


# --- a monitored name that is not in the logs ----------------------------------------------------


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize(
    ("monitor", "logs"),
    [
        ("acc", {"accuracy": 0.5, "loss": 1.0}),
        ("val_acc", {"accuracy": 0.5, "loss": 1.0}),
        ("val_accuracy", {"loss": 1.0, "val_loss": 1.0}),
        ("val_accuracy", {"accuracy": 0.5, "loss": 1.0, "val_loss": 1.0}),
        ("val_loss", {}),
    ],
)
def test_a_name_that_no_epoch_will_have_is_an_error(kind, monitor, logs):
    known = ", ".join(map(repr, logs))
    with pytest.raises(ValueError, match=f"monitors '{monitor}', which .* have: {known}"):
        run(kind(monitor), [logs])


def test_epochs_without_validation_do_not_count():
    callback = EarlyStopping(patience=2, restore_best_weights=True)
    plain = {"loss": 1.0}
    with pytest.warns(UserWarning, match="'val_loss', which the logs do not have") as caught:
        epochs, model = run(callback, [plain, 3, plain, 4, plain, 4, plain, 0])
    assert len(caught) == 3
    assert (epochs, model.weights) == (6, [1])


def test_the_rate_is_kept_in_epochs_without_validation():
    callback = ReduceLROnPlateau(patience=1)
    with pytest.warns(UserWarning, match="do not count"):
        _, model = run(callback, [3, {"loss": 1.0}, {"loss": 1.0}])
    assert model.optimizer.learning_rate == 1.0


# --- ReduceLROnPlateau ---------------------------------------------------------------------------


def rates(callback, values):
    """The learning rate that each epoch was trained with, and the last one."""
    history = History()
    _, model = run([callback, history], values)
    return [*history.history["learning_rate"], model.optimizer.learning_rate]


@pytest.mark.parametrize(
    ("arguments", "values", "expected"),
    [
        ({"patience": 1}, [3, 2, 2, 1], [1, 1, 1, 0.5, 0.5]),
        ({"patience": 0}, [3, 2, 2, 1], [1, 1, 1, 0.5, 0.5]),
        ({"patience": 2}, [3, 3, 3, 3, 3], [1, 1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1, "mode": "max"}, [1, 2, 2], [1, 1, 1, 0.5]),
        ({"patience": 1, "factor": 0.25}, [1, 1, 1], [1, 1, 0.25, 0.0625]),
        ({"patience": 1, "factor": 0}, [1, 1, 1], [1, 1, 0, 0]),
        ({"patience": 1, "min_lr": 0.3}, [1, 1, 1, 1], [1, 1, 0.5, 0.3, 0.3]),
        ({"patience": 1, "min_lr": 2.0}, [1, 1], [1, 1, 1]),
        ({"patience": 1, "cooldown": 2}, [1, 1, 1, 1, 1], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "min_delta": 0.5}, [3, 2, 1.5], [1, 1, 1, 0.5]),
        ({"patience": 1}, [3, 3 - 5e-5], [1, 1, 0.5]),
        ({"patience": 1, "min_delta": 0}, [3, 3 - 5e-5], [1, 1, 1]),
        ({"patience": 1}, [NAN, 3, 2, NAN], [1, 0.5, 0.5, 0.5, 0.25]),
        ({"monitor": "loss", "patience": 1}, [3, 2, 1], [1, 1, 0.5, 0.25]),
    ],
)
def test_reduced_rates(arguments, values, expected):
    assert rates(ReduceLROnPlateau(**{"factor": 0.5, **arguments}), values) == expected


def test_defaults_of_reduce_lr_on_plateau():
    assert rates(ReduceLROnPlateau(), [1] * 11)[-2:] == [1, 0.1]


def test_reduce_lr_tells_what_it_does_when_verbose(capsys):
    run(ReduceLROnPlateau(patience=1), [1, 1])
    assert capsys.readouterr().out == ""
    run(ReduceLROnPlateau(patience=1, verbose=1), [1, 1])
    assert capsys.readouterr().out == (
        "Epoch 2: no better val_loss, learning rate reduced to 0.1\n"
    )


def test_a_rate_at_its_minimum_is_not_reduced(capsys):
    callback = ReduceLROnPlateau(patience=1, min_lr=1.0, cooldown=3, verbose=1)
    assert rates(callback, [1, 1, 1]) == [1, 1, 1, 1]
    assert (callback.wait, callback.cooldown_counter) == (2, 0)
    assert capsys.readouterr().out == ""


def test_reduce_lr_starts_anew_with_each_training():
    callback = ReduceLROnPlateau(patience=1, cooldown=5)
    run(callback, [1, 1])
    assert (callback.best, callback.cooldown_counter) == (1, 5)
    assert rates(callback, [9, 8, 8]) == [1, 1, 1, 0.1]


# --- LearningRateScheduler -----------------------------------------------------------------------


def count_arguments(*arguments):
    return len(arguments)


class Halved:
    def __call__(self, epoch, lr):
        return lr / 2


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lambda epoch: 1 / (epoch + 1), [1, 1 / 2, 1 / 3]),
        (lambda epoch, lr: lr / 2, [1 / 2, 1 / 4, 1 / 8]),
        (lambda epoch, lr=9.0: lr / 2, [1 / 2, 1 / 4, 1 / 8]),
        (lambda epoch: np.float32(0.5), [0.5, 0.5, 0.5]),
        (lambda epoch: 0, [0, 0, 0]),
        (count_arguments, [2, 2, 2]),
        (Halved(), [1 / 2, 1 / 4, 1 / 8]),
        (max, [1, 1, 2]),  # inspect cannot see what it takes
    ],
)
def test_scheduled_rates(schedule, expected):
    assert rates(LearningRateScheduler(schedule), [1] * 3) == [*expected, expected[-1]]


def test_scheduler_prints_the_rate_when_verbose(capsys):
    run(LearningRateScheduler(lambda epoch: 0.25), [1])
    assert capsys.readouterr().out == ""
    run(LearningRateScheduler(lambda epoch: 0.25, verbose=1), [1])
    assert capsys.readouterr().out == "Epoch 1: learning rate set to 0.25\n"


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (0.1, r"must be a function of \(epoch, lr\), got 0.1"),
        (lambda: 0.1, r"must take \(epoch, lr\) or \(epoch\), but it takes \(\)"),
        (lambda epoch, lr, step: 0.1, "but it takes"),
    ],
)
def test_what_is_no_schedule_is_refused_at_once(schedule, words):
    with pytest.raises(TypeError, match=words):
        LearningRateScheduler(schedule)


@pytest.mark.parametrize(
    ("rate", "error"), [(None, TypeError), (-1, ValueError), (NAN, ValueError)]
)
def test_what_is_no_learning_rate_is_refused(rate, error):
    model = FakeModel()
    with pytest.raises(error, match="schedule returns for epoch 0 must be a finite number"):
        run(LearningRateScheduler(lambda epoch: rate), [1], model)
    assert model.optimizer.learning_rate == 1.0


def test_an_error_inside_a_schedule_is_not_hidden():
    def broken(epoch, lr):
        return lr + "0.1"

    with pytest.raises(TypeError, match="unsupported operand"):
        run(LearningRateScheduler(broken), [1])


# --- CSVLogger -----------------------------------------------------------------------------------


def read_rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_csv_has_sorted_columns_and_a_row_an_epoch(tmp_path):
    path = tmp_path / "log.csv"
    run(CSVLogger(path), [{"loss": 0.5, "accuracy": 0.25, "val_loss": 2.0}] * 2)
    assert path.read_bytes() == (
        b"epoch,accuracy,loss,val_loss\r\n0,0.25,0.5,2.0\r\n1,0.25,0.5,2.0\r\n"
    )


def test_csv_has_columns_for_validation_that_comes_late(tmp_path):
    run(CSVLogger(str(tmp_path / "log")), [{"loss": 0.5}, 2.0])
    assert read_rows(tmp_path / "log") == [
        ["epoch", "loss", "val_loss"],
        ["0", "0.5", "NA"],
        ["1", "1.0", "2.0"],
    ]


def test_csv_is_complete_after_each_epoch(tmp_path):
    path = tmp_path / "log.csv"
    seen = []
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(read_rows(path))))
    run([CSVLogger(path), look], [1, 1])
    assert seen == [2, 3]


def test_csv_separator(tmp_path):
    run(CSVLogger(tmp_path / "log", separator=";"), [2.0])
    assert (tmp_path / "log").read_text().splitlines() == ["epoch;loss;val_loss", "0;1.0;2.0"]


def test_csv_starts_anew_or_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    run(CSVLogger(path, append=True), [2.0])
    run(CSVLogger(path, append=True), [3.0])
    assert read_rows(path)[1:] == [["0", "1.0", "2.0"], ["0", "1.0", "3.0"]]
    run(CSVLogger(path), [4.0])
    assert read_rows(path)[1:] == [["0", "1.0", "4.0"]]


def test_csv_goes_on_with_the_columns_of_the_file(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,val_loss,accuracy\n0,5.0,0.5")  # no end of line
    with pytest.warns(UserWarning, match="has no column for 'loss'"):
        run(CSVLogger(path, append=True), [2.0])
    assert read_rows(path)[1:] == [["0", "5.0", "0.5"], ["0", "2.0", "NA"]]


@pytest.mark.parametrize(
    "text", ["epoch;loss\n0;1\n", "loss,epoch\n", "\nepoch,loss\n", "Dear M.\n"]
)
def test_csv_appends_to_nothing_but_its_logs(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="first line must begin with the column 'epoch'"):
        run(CSVLogger(path, append=True), [1.0])
    assert path.read_text() == text


def test_csv_without_its_folder_is_an_error_before_training(tmp_path):
    model = FakeModel()
    with pytest.raises(FileNotFoundError, match=r"the folder '.*runs' does not exist; create it"):
        run(CSVLogger(tmp_path / "runs" / "log.csv"), [1.0], model)
    assert model.weights == [-1]


@pytest.mark.parametrize("separator", ["", ", ", '"', "\n", None])
def test_csv_separator_must_be_one_character(separator):
    with pytest.raises(ValueError, match="separator must be one character"):
        CSVLogger("log.csv", separator=separator)


# --- TerminateOnNaN ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_stops_the_training(loss, capsys):
    model = FakeModel()
    listeners = CallbackList(TerminateOnNaN(), model, {})
    listeners.on_epoch_begin(2)
    listeners.on_train_batch_end(10, {"loss": 1e30})
    assert not model.stop_training
    listeners.on_train_batch_end(11, {"loss": loss})
    assert model.stop_training
    assert capsys.readouterr().out == f"Epoch 3, batch 12: loss is {loss}, training stopped\n"


def test_terminate_on_nan_can_raise():
    listeners = CallbackList(TerminateOnNaN(raise_error=True), FakeModel(), {})
    listeners.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(RuntimeError, match="Epoch 1, batch 2: loss is nan"):
        listeners.on_train_batch_end(1, {"loss": NAN})


# --- LambdaCallback ------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_lambda_callback_takes_every_hook(hook):
    calls = []
    callback = LambdaCallback(**{hook: lambda *arguments: calls.append(arguments)})
    getattr(callback, hook)(1, {"loss": 2.0})
    assert calls == [(1, {"loss": 2.0})]


@pytest.mark.parametrize("moment", ["begin", "end"])
def test_batch_hooks_have_a_second_name(moment):
    calls = []
    short = LambdaCallback(**{f"on_batch_{moment}": lambda *arguments: calls.append(arguments)})
    listeners = CallbackList(short, FakeModel(), {})
    listeners.on_train_batch_begin(1)
    listeners.on_train_batch_end(2, {"loss": 3.0})
    assert calls == [{"begin": (1, {}), "end": (2, {"loss": 3.0})}[moment]]


def test_lambda_callback_takes_the_first_hooks_by_position():
    functions = [lambda *arguments: None for _ in range(6)]
    callback = LambdaCallback(*functions)
    assert functions == [
        callback.on_epoch_begin,
        callback.on_epoch_end,
        callback.on_train_begin,
        callback.on_train_end,
        callback.on_train_batch_begin,
        callback.on_train_batch_end,
    ]


def test_lambda_callback_refuses_what_is_no_hook_or_function():
    with pytest.raises(
        TypeError, match=r"no argument 'on_epoch_ends'.*did you mean 'on_epoch_end'"
    ):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="on_epoch_end must be a function, got 'print'"):
        LambdaCallback(on_epoch_end="print")


# --- History -------------------------------------------------------------------------------------


def test_history_takes_names_that_come_late():
    history = History()
    run(history, [{"loss": 3.0}, {"loss": 2.0, "val_loss": 4.0}, {"loss": 1.0}])
    assert history.epoch == [0, 1, 2]
    assert history.history == {"loss": [3.0, 2.0, 1.0], "val_loss": [4.0]}
    assert repr(history) == "History()  # 3 epochs, last loss 1, val_loss 4"
    assert repr(History()) == "History()  # 0 epochs"


def test_a_history_of_several_trainings_goes_on():
    history = History()
    run(history, [{"loss": 3.0}])
    run(history, [{"loss": 2.0}])
    assert history.epoch == [0, 0]
    assert history.history == {"loss": [3.0, 2.0]}


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (EarlyStopping, {"patience": -1}, "patience must be an integer of at least 0, got -1"),
        (EarlyStopping, {"start_from_epoch": -1}, "start_from_epoch must be"),
        (EarlyStopping, {"mode": "down"}, "mode must be 'auto', 'min' or 'max', got 'down'"),
        (EarlyStopping, {"min_delta": NAN}, "min_delta must be a finite number"),
        (EarlyStopping, {"baseline": INF}, "baseline must be a finite number"),
        (EarlyStopping, {"verbose": -1}, "verbose must be"),
        (ReduceLROnPlateau, {"factor": 1.0}, "factor must be .* of at least 0 and below 1, got 1"),
        (ReduceLROnPlateau, {"factor": -0.1}, "factor must be"),
        (ReduceLROnPlateau, {"patience": -1}, "patience must be"),
        (ReduceLROnPlateau, {"cooldown": -1}, "cooldown must be"),
        (ReduceLROnPlateau, {"min_lr": -1e-3}, "min_lr must be"),
        (ReduceLROnPlateau, {"mode": "MIN"}, "mode must be"),
    ],
)
def test_arguments_out_of_range(kind, arguments, words):
    with pytest.raises(ValueError, match=words):
        kind(**arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (EarlyStopping, {"monitor": 1}, "monitor must be a name in the logs"),
        (EarlyStopping, {"monitor": ["val_loss"]}, "monitor must be a name in the logs"),
        (EarlyStopping, {"patience": 1.5}, "patience must be an integer"),
        (EarlyStopping, {"baseline": "0.5"}, "baseline must be a finite number"),
        (EarlyStopping, {"restore_best_weights": "no"}, "restore_best_weights must be True or"),
        (EarlyStopping, {"patiance": 1}, "no argument 'patiance' .did you mean 'patience'"),
        (ReduceLROnPlateau, {"epsilon": 1e-4}, "ReduceLROnPlateau has no argument 'epsilon'"),
        (ReduceLROnPlateau, {"verbose": "yes"}, "verbose must be an integer"),
        (CSVLogger, {"filename": 3}, "expected str"),
        (CSVLogger, {"filename": "log.csv", "append": "yes"}, "append must be True or False"),
        (TerminateOnNaN, {"raise_error": 2}, "raise_error must be True or False"),
        (TerminateOnNaN, {"raises": True}, "TerminateOnNaN has no argument 'raises'"),
    ],
)
def test_arguments_of_a_wrong_kind(kind, arguments, words):
    with pytest.raises(TypeError, match=words):
        kind(**arguments)


# --- CallbackList --------------------------------------------------------------------------------


def test_list_gives_model_and_params_to_all_and_ends_with_a_history():
    model, params = FakeModel(), {"verbose": 0, "epochs": 2, "steps": 3}
    callback = Callback()
    listeners = CallbackList([callback], model, params)
    history = listeners.callbacks[-1]
    assert [type(each) for each in listeners.callbacks] == [Callback, History]
    assert all(each.model is model and each.params == params for each in listeners.callbacks)
    listeners.on_train_begin()
    assert model.history is history


def test_list_keeps_the_callers_history_where_it_is():
    model, history, callback = FakeModel(), History(), Callback()
    given = [history, callback]
    listeners = CallbackList(given, model, {})
    listeners.on_train_begin()
    assert listeners.callbacks == given == [history, callback]
    assert model.history is history


@pytest.mark.parametrize("given", [None, [], ()])
def test_list_of_none(given):
    assert [type(each) for each in CallbackList(given, FakeModel(), {}).callbacks] == [History]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (EarlyStopping, r"got the class EarlyStopping; write EarlyStopping\(\)"),
        ([History(), TerminateOnNaN], r"got the class TerminateOnNaN; write TerminateOnNaN\(\)"),
        ([print], "must be a list of Callback instances, got <built-in function print>"),
        ("EarlyStopping", "must be a list of Callback instances, got 'EarlyStopping'"),
    ],
)
def test_list_refuses_what_is_no_callback(given, words):
    with pytest.raises(TypeError, match=words):
        CallbackList(given, FakeModel(), {})


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if "on_batch" not in hook])
def test_list_forwards_every_hook_in_order(hook):
    calls = []
    listeners = CallbackList(
        [
            LambdaCallback(**{hook: lambda *arguments: calls.append(("first", *arguments))}),
            LambdaCallback(**{hook: lambda *arguments: calls.append(("second", *arguments))}),
        ],
        FakeModel(),
        {},
    )
    arguments = (7, {"loss": 1.0}) if "batch" in hook or "epoch" in hook else ({"loss": 1.0},)
    getattr(listeners, hook)(*arguments)
    assert calls == [("first", *arguments), ("second", *arguments)]
    calls.clear()
    getattr(listeners, hook)(*arguments[:-1])  # a hook gets logs even where there are none
    assert calls == [("first", *arguments[:-1], {}), ("second", *arguments[:-1], {})]


def test_what_one_callback_logs_reaches_the_next():
    history = History()
    note = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(note=5.0))
    run([note, history], [1])
    assert history.history["note"] == [5.0]


@pytest.mark.parametrize("hook", HOOKS)
def test_list_knows_which_batches_are_listened_to(hook):
    class Listener(Callback):
        pass

    setattr(Listener, hook, lambda self, *arguments: None)
    for listener in (Listener(), LambdaCallback(**{hook: print})):
        listeners = CallbackList([Callback(), listener], FakeModel(), {})
        kind = hook.split("_")[1] if hook.split("_")[-2] == "batch" else None
        assert listeners.wants_train_batches == (kind in ("train", "batch"))
        assert listeners.wants_test_batches == (kind == "test")
        assert listeners.wants_predict_batches == (kind == "predict")


def test_only_terminate_on_nan_needs_finite_input():
    others = [EarlyStopping(), ReduceLROnPlateau(), CSVLogger("log.csv"), LambdaCallback()]
    assert not CallbackList(others, FakeModel(), {}).needs_finite_input
    listeners = CallbackList([*others, TerminateOnNaN()], FakeModel(), {})
    assert listeners.needs_finite_input
    assert listeners.wants_train_batches


# --- in a real fit -------------------------------------------------------------------------------


X = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def compiled(learning_rate=0.01):
    model = Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile(optimizers.SGD(learning_rate), loss="mse")
    return model


def fit(model, given, **arguments):
    return model.fit(X, Y, **{"batch_size": 5, "verbose": 0, "callbacks": given} | arguments)


class Recorder(Callback):
    """Which hooks were called, with which numbers and which names in the logs."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name not in HOOKS or "on_batch" in name:
            return super().__getattribute__(name)
        short = name.removeprefix("on_")

        def record(*arguments):
            *number, logs = arguments
            self.calls.append(" ".join([short, *map(str, number), *logs]))

        return record


def test_fit_calls_in_keras_order():
    recorder = Recorder()
    fit(compiled(), recorder, epochs=2, batch_size=10, validation_data=(X, Y), validation_freq=2)
    batches = [
        "train_batch_begin 0",
        "train_batch_end 0 loss",
        "train_batch_begin 1",
        "train_batch_end 1 loss",
    ]
    test_batches = [batch.replace("train", "test") for batch in batches]
    assert recorder.calls == [
        "train_begin",
        *("epoch_begin 0", *batches, "epoch_end 0 loss"),
        *("epoch_begin 1", *batches, "test_begin", *test_batches, "test_end loss"),
        "epoch_end 1 loss val_loss",
        "train_end loss val_loss",
    ]


def test_fit_sets_model_and_params():
    callback = Callback()
    model = compiled()
    fit(model, callback, epochs=2)
    assert callback.model is model
    assert callback.params == {"verbose": 0, "epochs": 2, "steps": 4}


def test_evaluate_and_predict_call_their_hooks_and_keep_the_history():
    model = compiled()
    history = fit(model, None)
    recorder = Recorder()
    model.evaluate(X, Y, batch_size=20, verbose=0, callbacks=[recorder])
    model.predict(X, batch_size=20, verbose=0, callbacks=[recorder])
    assert [call.split()[0] for call in recorder.calls] == [
        *("test_begin", "test_batch_begin", "test_batch_end", "test_end"),
        *("predict_begin", "predict_batch_begin", "predict_batch_end", "predict_end"),
    ]
    assert model.history is history


def test_fit_stops_early():
    history = fit(compiled(learning_rate=0.0), EarlyStopping("loss", 1e-4, patience=3), epochs=9)
    assert history.epoch == [0, 1, 2, 3]


def test_fit_ends_with_the_best_weights():
    kept = {}
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: kept.update({epoch: weights()}))
    grow = LearningRateScheduler(lambda epoch: 0.02 if epoch < 3 else 2.0)
    model = compiled()
    weights = model.get_weights
    stop = EarlyStopping(patience=2, restore_best_weights=True)
    history = fit(model, [keep, grow, stop], epochs=9, validation_data=(X, Y))
    assert history.epoch == [0, 1, 2, 3, 4]
    for restored, best, last in zip(weights(), kept[2], kept[4], strict=True):
        assert np.array_equal(restored, best)
        assert not np.array_equal(restored, last)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(min(history.history["val_loss"]))


def test_fit_trains_with_the_scheduled_rate():
    model = compiled()
    before = model.get_weights()
    history = fit(model, LearningRateScheduler(lambda epoch: 0.0), epochs=2)
    assert history.history["learning_rate"] == [0.0, 0.0]
    assert all(map(np.array_equal, before, model.get_weights()))
    fit(model, LearningRateScheduler(lambda epoch: 0.1))
    assert not any(map(np.array_equal, before, model.get_weights()))


def test_fit_reduces_the_rate():
    plateau = ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    history = fit(compiled(0.5 / 4), plateau, epochs=4)
    assert history.history["learning_rate"] == [0.125, 0.125, 0.0625, 0.03125]


def test_fit_writes_the_csv_that_the_history_tells(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(compiled(), CSVLogger(path), epochs=3, validation_split=0.25)
    rows = read_rows(path)
    assert rows[0] == ["epoch", "loss", "val_loss"]
    columns = [history.epoch, history.history["loss"], history.history["val_loss"]]
    assert [[float(value) for value in row] for row in rows[1:]] == list(
        map(list, zip(*columns, strict=True))
    )


def test_the_csv_is_whole_after_an_exception_in_fit(tmp_path):
    def fail(epoch, logs):
        if epoch == 1:
            raise ZeroDivisionError

    path = tmp_path / "log.csv"
    with pytest.raises(ZeroDivisionError):
        fit(compiled(), [CSVLogger(path), LambdaCallback(on_epoch_end=fail)], epochs=3)
    assert [row[0] for row in read_rows(path)] == ["epoch", "0", "1"]


def test_fit_stops_within_an_epoch_when_the_loss_is_not_finite(capsys):
    ends = []
    count = LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(batch))
    with np.errstate(all="ignore"):
        history = fit(compiled(1e30), [TerminateOnNaN(), count], epochs=3)
    stopped = ends[-1] + 1
    assert history.epoch == [0]
    assert 1 < stopped < 4
    assert f"Epoch 1, batch {stopped}: loss is" in capsys.readouterr().out


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize(("steps", "place"), [(None, "epoch 1, batch 3"), (2, "epoch 2, batch 1")])
def test_input_that_is_not_finite_is_found_before_training(value, steps, place):
    x = X.copy()
    x[[18, 12], 1] = value
    model = compiled()
    before = model.get_weights()
    with pytest.raises(ValueError, match=place):
        model.fit(
            *(x, Y, 5),
            epochs=3,
            verbose=0,
            shuffle=False,
            steps_per_epoch=steps,
            callbacks=[TerminateOnNaN()],
        )
    assert all(map(np.array_equal, before, model.get_weights()))


def test_the_epoch_of_bad_input_counts_from_initial_epoch():
    x = X.copy()
    x[0, 0] = NAN
    with pytest.raises(ValueError, match="epoch 8, batch 1"):
        compiled().fit(
            *(x, Y),
            epochs=9,
            initial_epoch=7,
            verbose=0,
            shuffle=False,
            callbacks=[TerminateOnNaN()],
        )


def test_fit_refuses_a_class_before_any_weight_changes():
    model = compiled()
    before = model.get_weights()
    with pytest.raises(TypeError, match=r"write EarlyStopping\(\)"):
        fit(model, [EarlyStopping])
    assert all(map(np.array_equal, before, model.get_weights()))


def test_validation_every_second_epoch():
    with pytest.warns(UserWarning, match="Epochs without validation do not count"):
        history = fit(
            compiled(0.0),
            EarlyStopping(patience=2, min_delta=1e-4),
            epochs=9,
            validation_data=(X, Y),
            validation_freq=2,
        )
    assert history.epoch == [0, 1, 2, 3, 4, 5]
    assert len(history.history["val_loss"]) == 3


def test_the_weights_and_the_history_are_those_of_the_same_training_without_callbacks():
    def trained(given):
        model = compiled()
        model.set_weights([np.ones((3, 1), "float32"), np.zeros(1, "float32")])
        history = fit(model, given, epochs=2, shuffle=False, validation_split=0.25)
        return model.get_weights(), history.history

    weights, history = trained(None)
    watched_weights, watched = trained([Recorder(), EarlyStopping(patience=9)])
    assert all(map(np.array_equal, weights, watched_weights))
    assert history == watched
