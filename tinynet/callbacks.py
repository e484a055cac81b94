"""Callbacks: code that `fit` calls at fixed moments of the training.

`fit` calls, in this order, with epochs and batches counted from 0:

    on_train_begin
        on_epoch_begin(epoch)
            on_train_batch_begin(batch), on_train_batch_end(batch, logs)    for each batch
            on_test_begin ... on_test_end                                   where it validates
        on_epoch_end(epoch, logs)
    on_train_end(logs)

``logs`` maps names to floats: "loss", "accuracy", "val_loss". The callbacks of a list are called
one after the other with the same dict, so that what one adds ("learning_rate") reaches the next
ones; the History comes last. Setting ``self.model.stop_training = True`` ends the training.
"""

import csv
import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.errors import check_float, check_int, check_keywords, received, unknown_arguments

Logs = dict[str, float]
Params = dict[str, Any]


class Callback:
    """The base class: a hook for each moment, each doing nothing until a subclass overrides it.

    ``model`` is the model in training, ``params`` a dict of "verbose", "epochs" and "steps" (the
    batches of an epoch); both are set before the first hook is called.

    needs_finite_input: a subclass that sets it True makes `fit` look for NaN and infinity in x
    before it trains, and refuse them.
    """

    needs_finite_input = False

    # Any: the models import this module, and a callback may use whatever its model offers.
    model: Any = None
    params: Params | None = None

    def set_model(self, model: Any) -> None:
        """Take the model in training."""
        self.model = model

    def set_params(self, params: Params) -> None:
        """Take the dict of "verbose", "epochs" and "steps"."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch, with the logs of that epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before the first batch of an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after an epoch and its validation; ``logs`` has the means over the epoch."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch is trained on."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch was trained on; ``logs`` has the means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name for on_train_batch_begin."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name for on_train_batch_end."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation or validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation or validation, with its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch is evaluated."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch was evaluated; ``logs`` has the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch is predicted."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch was predicted; ``logs["outputs"]`` is the prediction."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class History(Callback):
    """What `fit` returns: ``history["loss"]`` is the list of losses, one an epoch.

    epoch: the numbers of the epochs, counted from 0.
    history: a list for each name in the logs; "val_" lists are shorter than ``epoch`` where
    `fit` does not validate after each epoch.
    epochs_of: for each of these lists, the epochs that its values are of.

    `fit` makes a new History each time. One that is passed to several calls of `fit` goes on
    where it ended.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.epochs_of: dict[str, list[int]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the epoch's number and logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self.epochs_of.setdefault(name, []).append(epoch)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.history.items())
        epochs = f"{len(self.epoch)} epoch{'' if len(self.epoch) == 1 else 's'}"
        return f"<History of {epochs}{', last ' if last else ''}{last}>"


class MonitorCallback(Callback):
    """The base of the callbacks that watch one value of the logs and know when it gets better.

    Better is lower for mode "min", higher for "max", by more than ``min_delta`` (its sign is
    ignored). Mode "auto" goes by the name: losses and errors are lower, accuracies higher. NaN is
    never better. The best value so far is in ``best``, None at first.

    Raises ValueError for a mode of another name, and where "auto" cannot tell from the name.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"monitor must be a name in the logs such as 'val_loss', got {received(monitor)}"
            )
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {received(mode)}")
        self.monitor = monitor
        self.mode = _direction(monitor) if mode == "auto" else mode
        self.min_delta = abs(check_float("min_delta", min_delta))
        self.best: float | None = None

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether ``value`` is better than ``reference``; any number is better than None."""
        if math.isnan(value):
            return False
        if reference is None:
            return True
        if self.mode == "min":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def monitored(self, logs: Logs) -> float | None:
        """The monitored value; None, with a warning, where only a validation can bring it.

        Raises ValueError where no epoch will bring it: the name is misspelled, or no such metric
        was given to `compile`.
        """
        if self.monitor in logs:
            return logs[self.monitor]
        validated = any(name.startswith("val_") for name in logs)
        missing = (
            f"{type(self).__name__} monitors {self.monitor!r}, which the logs do not have; "
            f"they have: {', '.join(map(repr, logs)) or 'nothing'}"
        )
        if validated or self.monitor.removeprefix("val_") not in logs:
            raise ValueError(f"{missing}. Monitor one of these, or give the metric to compile()")
        warnings.warn(
            f"{missing}. Epochs without validation do not count; if there is none, give fit() "
            "validation_data or validation_split",
            stacklevel=2,
        )
        return None


def _direction(monitor: str) -> str:
    """Whether a metric of this name gets better towards "min" or "max"."""
    name = monitor.removeprefix("val_").lower()
    if name.endswith(("loss", "error", "crossentropy")) or name in ("mse", "mae"):
        return "min"
    if name.endswith(("accuracy", "acc")):
        return "max"
    raise ValueError(
        f"mode 'auto' cannot tell whether {monitor!r} should fall or rise; "
        "pass mode='min' or mode='max'"
    )


class EarlyStopping(MonitorCallback):
    """Stop the training when the monitored value has not improved for ``patience`` epochs.

    min_delta: the least change that counts as an improvement.
    patience: epochs without improvement after which the training ends; 0 and 1 both end it with
    the first.
    verbose: 1 prints a line when the training is stopped and one when weights are restored.
    mode: "min", "max", or "auto" (by the name).
    baseline: a value to beat; epochs that do not beat it count as epochs without improvement, but
    the training does not end with one that is the best so far.
    restore_best_weights: at the end of the training, stopped early or not, go back to the weights
    of the best epoch, whether or not it beat ``baseline``.
    start_from_epoch: epochs before this one (counted from 0) are not looked at.

    A monitored name that the logs cannot have is a ValueError at the end of the first epoch.
    """

    @check_keywords
    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_int("patience", patience, minimum=0)
        self.verbose = _check_verbose(verbose)
        self.baseline = None if baseline is None else check_float("baseline", baseline)
        self.restore_best_weights = _check_bool("restore_best_weights", restore_best_weights)
        self.start_from_epoch = check_int("start_from_epoch", start_from_epoch, minimum=0)
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: list[NDArray[np.floating]] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the training before."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the epochs without improvement, and stop when there are too many."""
        current = self.monitored(logs or {})
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.is_improvement(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Go back to the best weights, where that was asked for."""
        if self.verbose and self.stopped_epoch:
            print(f"Epoch {self.stopped_epoch + 1}: no better {self.monitor}, training stopped")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Weights restored from the best epoch, {self.best_epoch + 1}")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Multiply the learning rate by ``factor`` when the monitored value stops improving.

    factor: at least 0 and below 1.
    patience: epochs without improvement after which the rate is reduced.
    verbose: 1 prints a line at each reduction.
    mode, min_delta: as for `EarlyStopping`.
    cooldown: epochs after a reduction in which none are counted.
    min_lr: the learning rate never goes below.

    The epoch's logs get "learning_rate", the rate that the epoch was trained with.
    """

    @check_keywords
    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = check_float("factor", factor, minimum=0.0, below=1.0)
        self.patience = check_int("patience", patience, minimum=0)
        self.verbose = _check_verbose(verbose)
        self.cooldown = check_int("cooldown", cooldown, minimum=0)
        self.min_lr = check_float("min_lr", min_lr, minimum=0.0)
        self._reset()

    def _reset(self) -> None:
        self.best = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the training before."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the epochs without improvement, and reduce the rate when there are too many."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = self.monitored(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        rate = float(self.model.optimizer.learning_rate)
        if rate <= self.min_lr:
            return
        self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            print(
                f"Epoch {epoch + 1}: no better {self.monitor}, learning rate reduced to "
                f"{self.model.optimizer.learning_rate:g}"
            )


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of each epoch.

    schedule: a function of the epoch (from 0) and the present learning rate, or of the epoch
    alone, that returns the new rate.
    verbose: 1 prints a line an epoch.

    The epoch's logs get "learning_rate". Raises TypeError where ``schedule`` is no such function
    or returns no number.
    """

    @check_keywords
    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.takes_rate = _takes_two(schedule)
        self.schedule = schedule
        self.verbose = _check_verbose(verbose)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate that ``schedule`` returns."""
        present = float(self.model.optimizer.learning_rate)
        rate = self.schedule(epoch, present) if self.takes_rate else self.schedule(epoch)
        self.model.optimizer.learning_rate = check_float(
            f"the learning rate that schedule returns for epoch {epoch}", rate, minimum=0.0
        )
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate set to {rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Put the learning rate into the logs."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(schedule: object) -> bool:
    """Whether ``schedule`` can be called with (epoch, rate); TypeError if with (epoch) neither."""
    if not callable(schedule):
        raise TypeError(f"schedule must be a function of (epoch, lr), got {received(schedule)}")
    try:
        signature = inspect.signature(schedule)
    except ValueError:  # a function written in C that does not tell
        return True
    for arguments in ((0, 0.1), (0,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) == 2
    raise TypeError(f"schedule must take (epoch, lr) or (epoch), but it takes {signature}")


class CSVLogger(Callback):
    """Write a row an epoch to a CSV file: the epoch (from 0), then the logs, sorted by name.

    separator: one character between the values.
    append: go on below the rows of an earlier training, with the columns that the file has; else
    start the file anew.

    The columns come from the first epoch. If that has no "val_" values there are columns for them
    all the same, since later epochs may have them (``validation_freq``). What an epoch lacks is
    written as NA; a value without a column is left out, with a warning.

    The file is open only while a row is written: it is complete after each epoch, and closed
    however the training ends. What cannot be written is an OSError before the training begins,
    and a file to append to that is no such log a ValueError.
    """

    @check_keywords
    def __init__(
        self, filename: str | PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
            raise ValueError(
                f"separator must be one character such as ',' or ';', got {received(separator)}"
            )
        self.filename = fspath(filename)
        self._path = Path(filename).absolute()
        self.separator = separator
        self.append = _check_bool("append", append)
        self.keys: list[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Make the file, or read the columns of the one to append to."""
        if not self._path.parent.is_dir():
            raise FileNotFoundError(
                f"CSVLogger cannot write {self.filename!r}: the folder "
                f"'{self._path.parent}' does not exist; create it first"
            )
        with open(self._path, "a+" if self.append else "w+", newline="") as file:
            file.seek(0)
            text = file.read()
            if text and not text.endswith("\n"):
                file.write("\r\n")
        header = next(csv.reader(text.splitlines(), delimiter=self.separator), [])
        if text and header[:1] != ["epoch"]:
            raise ValueError(
                f"CSVLogger cannot append to {self.filename!r}: its first line must begin with "
                f"the column 'epoch' followed by {self.separator!r}, it is "
                f"{text.splitlines()[0]!r}; pass the file's separator, or append=False"
            )
        self.keys = header[1:] if header else None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a row, below the header if it is the first."""
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
            self._write(["epoch", *self.keys])
        left_out = [key for key in logs if key not in self.keys]
        if left_out:
            warnings.warn(
                f"{self.filename!r} has no column for {', '.join(map(repr, left_out))}",
                stacklevel=2,
            )
        self._write([epoch, *(logs.get(key, "NA") for key in self.keys)])

    def _write(self, row: Sequence[object]) -> None:
        with open(self._path, "a", newline="") as file:
            csv.writer(file, delimiter=self.separator).writerow(row)


class TerminateOnNaN(Callback):
    """Stop the training when the loss becomes NaN or infinite.

    raise_error: raise RuntimeError there, instead of ending the training in order.

    NaN or infinity in the input is found before the training: `fit` raises a ValueError with the
    epoch and batch in which it would have been trained on.
    """

    needs_finite_input = True

    @check_keywords
    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = _check_bool("raise_error", raise_error)
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the epoch's number for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        message = f"Epoch {self.epoch + 1}, batch {batch + 1}: loss is {loss}, training stopped"
        if self.raise_error:
            raise RuntimeError(message)
        print(message)
        self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback made of functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: ...)``.

    Any hook of `Callback` can be given by its name, and is called with that hook's arguments by
    position. Raises TypeError for a name that is no hook and for what is no function.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[[int, Logs | None], object] | None = None,
        on_epoch_end: Callable[[int, Logs | None], object] | None = None,
        on_train_begin: Callable[[Logs | None], object] | None = None,
        on_train_end: Callable[[Logs | None], object] | None = None,
        on_train_batch_begin: Callable[[int, Logs | None], object] | None = None,
        on_train_batch_end: Callable[[int, Logs | None], object] | None = None,
        **hooks: Callable[..., object] | None,
    ) -> None:
        unknown = [name for name in hooks if name not in HOOKS]
        if unknown:
            raise unknown_arguments("LambdaCallback", unknown, HOOKS)
        hooks |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for name, function in hooks.items():
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{name} must be a function, got {received(function)}")
            setattr(self, name, function)


class CallbackList:
    """The callbacks of one `fit`, `evaluate` or `predict`, called together, in order.

    callbacks: a Callback, a list of them, or None.

    ``history`` is the History among them; where there is none, one is put at the end. It becomes
    ``model.history`` when a training begins.

    Raises TypeError for anything in the list that is not an instance of Callback.
    """

    def __init__(
        self, callbacks: Callback | Sequence[Callback] | None, model: Any, params: Params
    ) -> None:
        self.model = model
        self.callbacks = _check_callbacks(callbacks)
        if not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        self.history = next(c for c in reversed(self.callbacks) if isinstance(c, History))
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)

    @property
    def wants_train_batches(self) -> bool:
        """Whether any callback has a hook for training batches."""
        return self._overrides("on_train_batch_begin", "on_train_batch_end") or self._overrides(
            "on_batch_begin", "on_batch_end"
        )

    @property
    def wants_test_batches(self) -> bool:
        """Whether any callback has a hook for evaluated batches."""
        return self._overrides("on_test_batch_begin", "on_test_batch_end")

    @property
    def wants_predict_batches(self) -> bool:
        """Whether any callback has a hook for predicted batches."""
        return self._overrides("on_predict_batch_begin", "on_predict_batch_end")

    @property
    def needs_finite_input(self) -> bool:
        """Whether any callback asks for inputs without NaN and infinity."""
        return any(callback.needs_finite_input for callback in self.callbacks)

    def _overrides(self, *hooks: str) -> bool:
        # A hook may be overridden in a class, or set on an instance as LambdaCallback does.
        return any(
            getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
            for callback in self.callbacks
            for hook in hooks
        )

    def _each(self, hook: str, logs: dict[str, Any] | None, *number: int) -> None:
        # Always with logs, so that a hook may be written without a default for them.
        logs = {} if logs is None else logs
        for callback in self.callbacks:
            getattr(callback, hook)(*number, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Make the history the model's, and forward."""
        self.model.history = self.history
        self._each("on_train_begin", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_epoch_end", logs, epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_train_batch_begin", logs, batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_train_batch_end", logs, batch)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_test_batch_begin", logs, batch)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_test_batch_end", logs, batch)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Forward."""
        self._each("on_predict_batch_begin", logs, batch)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Forward."""
        self._each("on_predict_batch_end", logs, batch)


def _check_callbacks(callbacks: object) -> list[Callback]:
    if callbacks is None:
        return []
    given = []
    for callback in callbacks if isinstance(callbacks, list | tuple) else [callbacks]:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(
                f"callbacks must be instances, got the class {callback.__name__}; "
                f"write {callback.__name__}()"
            )
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must be a list of Callback instances, got {received(callback)} in it"
            )
        given.append(callback)
    return given


def _check_verbose(value: object) -> int:
    """``verbose`` as an int; booleans are taken too, since scripts write verbose=True."""
    return check_int("verbose", int(value) if isinstance(value, bool) else value, minimum=0)


def _check_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {received(value)}")
    return bool(value)
