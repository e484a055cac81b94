"""What fit, evaluate and predict show while they run."""

import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Self

from tqdm import TqdmWarning

from tinynet.errors import received

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm says so, and draws its bar of text, which is all right.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm


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


# Short, so that loss and metrics have room in a terminal of 80 columns.
_BAR = "{desc}: {percentage:3.0f}%|{bar:10}| {elapsed}<{remaining}{postfix}"


class Progress:
    """The progress of one epoch, one evaluation or one prediction, for a ``with`` statement.

    verbose 1 is a bar where somebody watches, and in its place a line when all is done; 2 is the
    line alone, 0 nothing. ``line=False`` leaves the line of verbose 1 out.
    """

    def __init__(self, title: str, steps: int, verbose: int, line: bool = True) -> None:
        self._title = title
        self._steps = steps
        self._start = time.perf_counter()
        self._bar = None
        if verbose == 1 and interactive():
            self._bar = tqdm(total=steps, desc=title, file=sys.stdout, leave=False, bar_format=_BAR)
        self._line = verbose == 2 or (verbose == 1 and line)

    def step(self, logs: Callable[[], Mapping[str, float]]) -> None:
        """One batch is done; ``logs`` is asked only where the bar is drawn anew."""
        if self._bar is not None and self._bar.update():
            self._bar.set_postfix(format_logs(logs()))

    def finish(self, logs: Mapping[str, float]) -> None:
        """All is done: the line, in the place of the bar."""
        if self._bar is not None:
            self._bar.close()
        if self._line:
            seconds = time.perf_counter() - self._start
            values = [f"{name}: {value}" for name, value in format_logs(logs).items()]
            print(" - ".join([self._title, f"{seconds:.1f}s", *values]), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it is, also where the end was not reached."""
        if self._bar is not None:
            self._bar.close()
