"""The callbacks of one training, called together."""

from collections.abc import Sequence
from typing import Any

from tinynet.callbacks.base import Callback, History, Logs, Params
from tinynet.errors import received


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
        self.params = params
        self.callbacks = _check_callbacks(callbacks)
        if not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        # A backup holds what the others have made of an epoch.
        self.callbacks.sort(key=lambda callback: callback.comes_last)
        self.history = next(c for c in reversed(self.callbacks) if isinstance(c, History))
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)

    def __repr__(self) -> str:
        # Not by their own repr, which may say more than the call.
        callbacks = ", ".join(map(Callback.__repr__, self.callbacks))
        return f"CallbackList(callbacks=[{callbacks}], model={self.model!r}, params={self.params})"

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
