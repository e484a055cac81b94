"""The learning rate as a function of the epoch."""

import inspect
from collections.abc import Callable

from tinynet.callbacks.base import Callback, Logs, check_verbose
from tinynet.errors import check_float, check_keywords, received


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
        self.verbose = check_verbose(verbose)

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
