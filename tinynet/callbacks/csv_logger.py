"""The logs of a training as a table in a file."""

import csv
import warnings
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.callbacks.base import Callback, Logs
from tinynet.errors import check_bool, check_keywords, received


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
        self.append = check_bool("append", append)
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

    def get_state(self) -> dict[str, Any]:
        """The columns, and the file as it is."""
        text = self._path.read_bytes() if self.keys is not None else b""
        return {"keys": self.keys, "text": np.frombuffer(text, np.uint8) if text else None}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put the file back, without the rows of epochs that will be trained again."""
        self.keys = state["keys"]
        if state["text"] is not None:
            self._path.write_bytes(state["text"].tobytes())

    def _write(self, row: Sequence[object]) -> None:
        with open(self._path, "a", newline="") as file:
            csv.writer(file, delimiter=self.separator).writerow(row)
