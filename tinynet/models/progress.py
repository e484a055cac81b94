"""What fit, evaluate and predict show while they run."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Self

from tqdm.auto import tqdm

from tinynet.errors import received


def check_verbose(verbose: object) -> int:
    """0, 1 or 2; "auto" means 1. Raises ValueError for anything else."""
    if verbose == "auto":
        return 1
    if isinstance(verbose, int) and verbose in (0, 1, 2):
        return int(verbose)
    raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {received(verbose)}")


def interactive() -> bool:
    """Whether somebody watches: a terminal or a notebook, rather than a file or a pipe."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    in_notebook = shell is not None and "IPKernelApp" in getattr(shell, "config", {})
    return in_notebook or sys.stdout.isatty()


def format_logs(logs: Mapping[str, float]) -> dict[str, str]:
    """Each value in four places, small ones in scientific notation; the loss first."""
    ordered = sorted(logs, key=lambda name: (name.startswith("val_"), not name.endswith("loss")))
    return {
        name: f"{logs[name]:.4f}" if not 0 < abs(logs[name]) < 1e-3 else f"{logs[name]:.3e}"
        for name in ordered
    }


class Progress:
    """The progress of one epoch, one evaluation or one prediction, for a ``with`` statement.

    verbose 1 is a bar where somebody watches and otherwise ``line``, 2 is always the line, 0 is
    nothing. ``line=False`` leaves the line of verbose 1 out too.
    """

    def __init__(self, title: str, steps: int, verbose: int, line: bool = True) -> None:
        self._title = title
        self._steps = steps
        self._start = time.perf_counter()
        self._bar = None
        if verbose == 1 and interactive():
            self._bar = tqdm(total=steps, desc=title, unit="batch", file=sys.stdout)
        self._line = verbose == 2 or (verbose == 1 and line and self._bar is None)

    def step(self, logs: Callable[[], Mapping[str, float]]) -> None:
        """One batch is done; ``logs`` is asked only where the bar is drawn anew."""
        if self._bar is not None and self._bar.update():
            self._bar.set_postfix(format_logs(logs()), refresh=False)

    def finish(self, logs: Mapping[str, float]) -> None:
        """All is done: the last values, in the bar or in a line."""
        if self._bar is not None:
            self._bar.set_postfix(format_logs(logs))
        elif self._line:
            seconds = time.perf_counter() - self._start
            values = [f"{name}: {value}" for name, value in format_logs(logs).items()]
            print(" - ".join([self._title, f"{seconds:.1f}s", *values]), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it is, also where the end was not reached."""
        if self._bar is not None:
            self._bar.close()
