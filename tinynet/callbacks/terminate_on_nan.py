"""The end of a training that has lost its way."""

import math
from typing import Any

from tqdm import tqdm

from tinynet.callbacks.base import Callback, Logs
from tinynet.errors import check_bool, check_keywords


class TerminateOnNaN(Callback):
    """Stop the training when the loss becomes NaN or infinite.

    raise_error: raise RuntimeError there, instead of ending the training in order.

    NaN or infinity in the input is found before the training: `fit` raises a ValueError with the
    epoch and batch in which it would have been trained on.
    """

    needs_finite_input = True

    @check_keywords
    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = check_bool("raise_error", raise_error)
        self.epoch = 0

    def get_state(self) -> dict[str, Any]:
        """The epoch's number."""
        return {"epoch": self.epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on in this epoch."""
        self.epoch = state["epoch"]

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
        tqdm.write(message)  # a line of its own, where there is a bar
        self.model.stop_training = True
