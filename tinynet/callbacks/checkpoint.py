"""The model as a file, again and again while it trains."""

import string
from os import PathLike, fspath
from pathlib import Path

from tinynet.callbacks.base import Logs, check_verbose
from tinynet.callbacks.monitors import MonitorCallback
from tinynet.errors import check_bool, check_float, check_int, check_keywords, received
from tinynet.saving import check_path


def check_save_freq(save_freq: int | str) -> int | None:
    """After how many batches to save; None for after each epoch, "epoch"."""
    return None if save_freq == "epoch" else check_int("save_freq, if not 'epoch',", save_freq, 1)


class ModelCheckpoint(MonitorCallback):
    """Save the model, or its weights, after each epoch or every so many batches.

    filepath: ends in ``.tinynet``. May name what it is filled with, as in
    ``"best-{epoch:02d}-{val_loss:.3f}.tinynet"``: the epoch (from 1), the batch (from 1, where
    batches are counted) and anything in the logs. The folder is made where it does not exist.
    monitor: what tells whether the model is the best so far; matters with save_best_only alone.
    verbose: 1 prints a line for each file.
    save_best_only: save only when ``monitor`` is better than before.
    save_weights_only: ``model.save_weights`` instead of ``model.save``.
    mode: "min", "max", or "auto" (by the name).
    save_freq: "epoch", or a number of batches, counted through the epochs.
    initial_value_threshold: a value that the first file must already be better than.

    A file is replaced when the new one is whole: however the training ends, what is there is whole.

    Raises ValueError for a filepath of another ending or a template that cannot be filled, and
    where a value of the validation is to be monitored after batches, which do not have it;
    TypeError when the training begins for a model that `Model.save` cannot write.
    """

    @check_keywords
    def __init__(
        self,
        filepath: str | PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        self.save_best_only = check_bool("save_best_only", save_best_only)
        # Where nothing is compared it does not matter what the name of "auto" means.
        super().__init__(monitor, mode if save_best_only or mode != "auto" else "min", 0.0)
        self._mode_given = mode
        self.filepath = fspath(check_path(filepath))
        _check_template(self.filepath)
        self.verbose = check_verbose(verbose)
        self.save_weights_only = check_bool("save_weights_only", save_weights_only)
        self.save_freq = save_freq
        self._every = check_save_freq(save_freq)
        if self._every and self.save_best_only and monitor.startswith("val_"):
            raise ValueError(
                f"save_freq={save_freq} saves within an epoch, where there is no {monitor!r} yet; "
                "use save_freq='epoch', or monitor 'loss'"
            )
        self.initial_value_threshold = initial_value_threshold
        if initial_value_threshold is not None:
            self.best = check_float("initial_value_threshold", initial_value_threshold)
        self.wants_batches = self._every is not None
        self._epoch = 0
        self._batches = 0

    _STATE = "best", "_epoch", "_batches"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Find out now, and not after an epoch, whether the model can be saved."""
        if not self.save_weights_only:
            self.model.check_saveable()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the epoch's number for the file's name."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, where batches are counted and it is time."""
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            self._save(logs or {}, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, where epochs are counted."""
        self._epoch = epoch
        if not self._every:
            self._save(logs or {})

    def _save(self, logs: Logs, **names: int) -> None:
        before = self.best
        if self.save_best_only:
            value = self.monitored(logs)
            if value is None or not self.is_improvement(value, before):
                return
            self.best = value
        path = self._path(logs, **names)
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            better = (
                f"{self.monitor} is {self.best:.5g}, the best so far; "
                if self.save_best_only
                else ""
            )
            print(f"Epoch {self._epoch + 1}: {better}saved {str(path)!r}")

    def _path(self, logs: Logs, **names: int) -> Path:
        known = {"epoch": self._epoch + 1, **names, **logs}
        try:
            return check_path(self.filepath.format(**known))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint cannot fill {self.filepath!r}: {error}; "
                f"there are {', '.join(known)}"
            ) from None


def _check_template(template: str) -> None:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"filepath {template!r} is no template: {error}") from None
    if any(field is not None and (not field or field.isdigit()) for field in fields):
        raise ValueError(
            f"filepath must say what it is filled with, as in {{epoch}}, got {received(template)}"
        )
