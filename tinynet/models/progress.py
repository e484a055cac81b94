"""What fit, evaluate, predict and the gradient check show while they run."""

import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self

from tqdm import TqdmWarning

from tinynet.display import format_value, loss_first
from tinynet.errors import received

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm says so, and draws its bar of text, which is all right.
    # (tqdm.auto is the same but for loops in asyncio, whose import takes 25 ms.)
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.autonotebook import tqdm


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
    return in_notebook or _in_terminal()


def _in_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def format_logs(logs: Mapping[str, float]) -> dict[str, str]:
    """Each value in four places, small ones in scientific notation; the loss first."""
    return {name: format_value(logs[name]) for name in loss_first(logs)}


_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"

# The bar is as long as that where there is room, so that it does not run away from its numbers.
_BAR_LENGTH = 10


class Bar(tqdm):  # type: ignore[misc]
    """tqdm's bar, of a length that leaves room for loss and metrics in 80 columns."""

    @staticmethod
    def format_meter(
        n: float,
        total: float,
        elapsed: float,
        ncols: int | None = None,
        bar_format: str = _FORMAT,
        **others: Any,
    ) -> str:
        """The line: short enough for a terminal of ``ncols`` columns, whose last it leaves free."""
        if ncols:
            without_bar = bar_format.replace("{bar}", "")
            text = tqdm.format_meter(n, total, elapsed, bar_format=without_bar, **others)
            ncols = min(ncols - 1, len(text) + _BAR_LENGTH)
        return tqdm.format_meter(n, total, elapsed, ncols, bar_format=bar_format, **others)


class Progress:
    """The progress of one epoch, one evaluation or one prediction, for a ``with`` statement.

    verbose 1 is a bar where somebody watches, and in its place a line when all is done; 2 is the
    line alone, 0 nothing. ``line=False`` leaves the line of verbose 1 out.

    The bar appears with the first step that ends ``delay`` seconds after the beginning or later:
    what is said in the first one, while kernels are compiled for example, has a line to itself.
    """

    def __init__(
        self, title: str, steps: int, verbose: int, line: bool = True, delay: float = 0.1
    ) -> None:
        self._title = title
        self._start = time.perf_counter()
        self._bar = None
        if verbose == 1 and interactive():
            self._bar = Bar(
                total=steps,
                desc=title,
                file=sys.stdout,
                leave=False,
                bar_format=_FORMAT,
                unit="step",
                unit_scale=True,
                delay=delay,
                # A notebook keeps each state of a bar of text, a terminal only shows it.
                mininterval=0.1 if _in_terminal() else 0.5,
            )
        self._line = verbose == 2 or (verbose == 1 and line)

    def step(self, logs: Callable[[], Mapping[str, float]] = dict, steps: int = 1) -> None:
        """So many steps are done; ``logs`` is asked only where the bar is drawn anew."""
        if self._bar is not None and self._bar.update(steps):
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
        """Take the bar away, also where the end was not reached."""
        if self._bar is not None:
            self._bar.close()
