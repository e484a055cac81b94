"""The base class of callbacks, and the History that `fit` returns."""

from typing import Any

from tinynet.display import (
    constructor_call,
    format_value,
    html_table,
    html_text,
    loss_first,
    own_arguments,
)
from tinynet.errors import check_int

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

    # False where the hooks for training batches do nothing: training is quicker without calls.
    wants_batches = True

    # Whether it is called after the others, and the History, at every moment.
    comes_last = False

    # Any: the models import this module, and a callback may use whatever its model offers.
    model: Any = None
    params: Params | None = None

    def set_model(self, model: Any) -> None:
        """Take the model in training."""
        self.model = model

    def set_params(self, params: Params) -> None:
        """Take the dict of "verbose", "epochs" and "steps"."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """What this callback has learned from the training so far, for a backup of the training.

        A subclass that remembers anything from one call to the next overrides this and
        `set_state`: a dict of None, booleans, numbers, text, arrays (float32, float64, int64 or
        uint8, not empty), and lists and dicts of such. Tuples come back as lists.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` returned; called after `on_train_begin`."""

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

    def __repr__(self) -> str:
        return constructor_call(type(self), self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for repr; a subclass overrides it where it keeps others."""
        return own_arguments(self)


# More epochs than these do not fit a screen.
_SHOWN_EPOCHS = 20

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

    def get_state(self) -> dict[str, Any]:
        """All of it."""
        return {"epoch": self.epoch, "history": self.history, "epochs_of": self.epochs_of}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from this history."""
        self.epoch[:] = state["epoch"]
        for kept, own in ((state["history"], self.history), (state["epochs_of"], self.epochs_of)):
            own.clear()
            own.update(kept)

    def __repr__(self) -> str:
        last = ", ".join(
            f"{name} {self.history[name][-1]:.4g}" for name in loss_first(self.history)
        )
        epochs = f"{len(self.epoch)} epoch{'' if len(self.epoch) == 1 else 's'}"
        return f"{type(self).__name__}()  # {epochs}{', last ' if last else ''}{last}"

    def _repr_html_(self) -> str:
        """What a notebook shows: a row an epoch, the first and the last where there are many."""
        if not self.epoch:
            return html_text(repr(self))
        names = loss_first(self.history)
        rows = self._rows(names)
        if len(rows) > _SHOWN_EPOCHS:
            half = _SHOWN_EPOCHS // 2
            rows = [*rows[:half], ["…"] * len(rows[0]), *rows[-half:]]
        return html_table(["epoch", *names], rows, left=())

    def _rows(self, names: list[str]) -> list[list[str]]:
        """For each epoch its number, counted from 1, and the values it has."""
        left = {
            name: [*zip(self.epochs_of[name], self.history[name], strict=False)] for name in names
        }
        rows = []
        for epoch in self.epoch:
            row = [str(epoch + 1)]
            for values in left.values():
                has_one = bool(values) and values[0][0] == epoch
                row.append(format_value(values.pop(0)[1]) if has_one else "")
            rows.append(row)
        return rows


def check_verbose(value: object) -> int:
    """``verbose`` as an int; booleans are taken too, since scripts write verbose=True."""
    return check_int("verbose", int(value) if isinstance(value, bool) else value, minimum=0)
