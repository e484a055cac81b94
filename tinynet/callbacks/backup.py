"""Training that goes on after a crash."""

import contextlib
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tinynet.callbacks.base import Callback, Logs
from tinynet.callbacks.checkpoint import check_save_freq
from tinynet.errors import check_bool, check_int, check_keywords
from tinynet.saving import check_folder

FILE_NAME = "training.tinynet"


class BackupAndRestore(Callback):
    """Keep a backup of the training, and go on from it where there is one.

    A script that is killed at any moment and started again, unchanged, goes on from the last backup
    and ends with the same bits as if it had never been killed: weights, optimizer, order of the
    samples, dropout, history, and the state of the other callbacks.

    backup_dir: a folder of its own for each call of fit; it is made where it does not exist. A path
    that begins with ~ is refused.
    save_freq: "epoch", or a number of batches, counted through the epochs.
    delete_checkpoint: delete the backup when the training has come to its end. False keeps it, and
    the same script then trains no further than the batches since the last backup, if any.

    A backup is one file, ``training.tinynet``, and stays until the next one is whole. It remembers
    what it was made by: model, optimizer, loss, metrics, batches, the classes of the callbacks, and
    the data (shape, dtype and a digest of samples). A training that differs in one of these is
    refused. The number of epochs and the arguments of callbacks may change; the learning rate goes
    on from the backup, whatever `compile` was given.

    A training that is ended by Ctrl-C or by an error keeps its backup. After Ctrl-C `fit` returns
    and the script goes on: one with another `fit` behind it should end there, since a backup that
    the second then makes does not know that the first was not finished.

    This callback is called after all others. One of your own that remembers anything defines
    `Callback.get_state` and `Callback.set_state`.

    Raises ValueError when the training begins, before anything is changed, for the backup of
    another training, a `tinynet.saving.ModelFileError` for a damaged one, OSError where the folder
    cannot be written.
    """

    comes_last = True

    @check_keywords
    def __init__(
        self,
        backup_dir: str | PathLike[str],
        save_freq: int | str = "epoch",
        delete_checkpoint: bool = True,
    ) -> None:
        folder = check_folder(backup_dir)
        self.backup_dir = fspath(backup_dir)
        self.save_freq = save_freq
        self.delete_checkpoint = check_bool("delete_checkpoint", delete_checkpoint)
        self._every = check_save_freq(save_freq)
        self._path = folder.absolute() / FILE_NAME
        self.wants_batches = self._every is not None
        self._batches = 0

    def get_state(self) -> dict[str, Any]:
        """The number of batches so far."""
        return {"batches": self._batches}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on counting from there."""
        self._batches = check_int("batches", state["batches"], 0)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go to where the backup was made, if there is one."""
        self._batches = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for unfinished in self._path.parent.glob(".tinynet-*.tmp"):  # of a save that was killed
            unfinished.unlink(missing_ok=True)
        if not self._path.exists():
            return
        loop = self.model.loop
        loop.restore(self._path)
        if (self.params or {}).get("verbose"):
            within = f" and {loop.step} batches of the next" if loop.step else ""
            print(f"Going on after {loop.epoch} epochs{within}, from {str(self._path)!r}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write a backup, where batches are counted and it is time."""
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            self.model.loop.save(self._path)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a backup, where epochs are counted."""
        if not self._every:
            self.model.loop.save(self._path)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Delete the backup of a training that has come to its end."""
        if self.delete_checkpoint and self.model.loop.completed:
            self._path.unlink(missing_ok=True)
            if self._path.parent != Path.cwd():
                with contextlib.suppress(OSError):  # other files in it
                    self._path.parent.rmdir()
