"""A callback made of functions."""

from collections.abc import Callable
from typing import Any

from tinynet.callbacks.base import HOOKS, Callback, Logs
from tinynet.errors import received, unknown_arguments


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

    def _arguments(self) -> dict[str, Any]:
        return {name: function for name, function in vars(self).items() if name in HOOKS}
