"""Callbacks that watch one value of the logs and know when it gets better."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.callbacks.base import Callback, Logs, check_verbose
from tinynet.errors import check_bool, check_float, check_int, check_keywords, received


class MonitorCallback(Callback):
    """The base of the callbacks that watch one value of the logs and know when it gets better.

    Better is lower for mode "min", higher for "max", by more than ``min_delta`` (its sign is
    ignored). Mode "auto" goes by the name: losses and errors are lower, accuracies higher. NaN is
    never better. The best value so far is in ``best``, None at first.

    Raises ValueError for a mode of another name, and where "auto" cannot tell from the name.
    """

    _STATE: tuple[str, ...] = ("best",)  # the attributes that change while training

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"monitor must be a name in the logs such as 'val_loss', got {received(monitor)}"
            )
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {received(mode)}")
        self.monitor = monitor
        self.mode = _direction(monitor) if mode == "auto" else mode
        self._mode_given = mode
        self.min_delta = abs(check_float("min_delta", min_delta))
        self.best: float | None = None

    def get_state(self) -> dict[str, Any]:
        """The best so far, and how long it was ago."""
        return {name: getattr(self, name) for name in self._STATE}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for name in self._STATE:
            setattr(self, name, state[name])

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "mode": self._mode_given}

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

    _STATE = "wait", "stopped_epoch", "best", "best_epoch", "best_weights"

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
        self.verbose = check_verbose(verbose)
        self.baseline = None if baseline is None else check_float("baseline", baseline)
        self.restore_best_weights = check_bool("restore_best_weights", restore_best_weights)
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

    _STATE = "best", "wait", "cooldown_counter"

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
        self.verbose = check_verbose(verbose)
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
