"""How many threads the compiled kernels use; known, and checked, also where none of them runs."""

import os
from collections.abc import Callable
from threading import Lock

import numpy as np

MOST_THREADS = 256

# Who wants to know; they are told in a new process after a fork, too.
on_change: list[Callable[[int], None]] = []

_threads = 1
_changing = Lock()


def get_num_threads() -> int:
    """How many threads the compiled kernels use, the caller's among them."""
    return _threads


def set_num_threads(threads: int) -> None:
    """Let the compiled kernels use this many threads, the caller's among them.

    By default they use as many as there are processors, or what ``TINYNET_NUM_THREADS`` says. The
    results are the same, bit for bit, for any number. NumPy's own threads are not concerned.

    Raises TypeError for what is not an integer, ValueError where it is not from 1 to 256.
    """
    global _threads
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer):
        raise TypeError(
            f"the number of threads must be an integer, got {threads!r} of type "
            f"{type(threads).__name__}"
        )
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(
            f"the number of threads must be from 1 to {MOST_THREADS}, got {threads} "
            "(from kernels.set_num_threads or the environment variable TINYNET_NUM_THREADS)"
        )
    with _changing:
        _threads = int(threads)
        for tell in on_change:
            tell(_threads)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _from_environment() -> int:
    given = os.environ.get("TINYNET_NUM_THREADS", "")
    if not given:
        return min(processors(), MOST_THREADS)
    try:
        return int(given)
    except ValueError:
        raise ValueError(
            f"the environment variable TINYNET_NUM_THREADS must be an integer, got {given!r}"
        ) from None


def _after_fork() -> None:
    global _changing
    _changing = Lock()  # the old one may be held by a thread that is no more


set_num_threads(_from_environment())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
