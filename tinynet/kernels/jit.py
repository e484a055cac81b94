"""How the compiled kernels are compiled, and the one array layout that they are compiled for."""

import os
from collections.abc import Callable
from threading import RLock
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
Scalar = TypeVar("Scalar", bound=np.generic)

# A single number of the arrays' dtype. A Python float would be double precision, and so would be
# all that is computed from it.
Number = np.floating[Any]

config: Any = numba.config  # what the variables NUMBA_... say

# Sums may be taken in another order, and x + 0 may be x: so loops with a sum can be vectorized.
# Left out are "nnan" and "ninf", under which the compiler may drop every check for NaN.
REORDER = frozenset({"contract", "reassoc", "nsz"})


def jit(
    fastmath: frozenset[str] = frozenset(), parallel: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile the decorated function at its first call, and keep the result on disk.

    ``error_model="numpy"`` makes 1 / 0 infinite instead of an error, without which no loop with a
    division is vectorized; ``nogil`` lets other Python threads run meanwhile.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        options = {"error_model": "numpy", "fastmath": set(fastmath), "parallel": parallel}
        compiled: Callable[P, R] = cached(numba.njit, nogil=True, **options)(function)
        return compiled

    return decorate


class _Launch:
    """Hold this while calling a function compiled with parallel=True: ``with launch: ...``.

    Some of numba's threading layers end the process when two Python threads start parallel work
    at once, so one waits for the other. And a process that is forked after the threads were
    started has none of them, and GNU OpenMP ends it when it asks for them: ``threads`` is False
    there, and all work is done by the one thread that there is.
    """

    def __init__(self) -> None:
        self.threads = config.NUMBA_NUM_THREADS > 1
        self._lock = RLock()
        self._started = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = RLock()  # the old one may be held by a thread that is no more
        self.threads = self.threads and not self._started

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._started:
            _start_threads()
            self._started = True

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def _start_threads() -> None:
    """Have numba start its threads, and make those of GNU OpenMP wait with moderation.

    A thread that has nothing to do goes on looking for work for a while before it sleeps. By
    default that is milliseconds, which wins nothing where the next kernel comes within
    microseconds, and costs dearly where another program wants the core: an epoch of mlp-128 took
    fifty times as long, and with this takes twice as long. The variable is read once, when the
    threads start, and is put back then.
    """
    variable = "GOMP_SPINCOUNT"
    ours = not os.environ.keys() & {variable, "OMP_WAIT_POLICY"}
    if ours:
        os.environ[variable] = "3000"
    try:
        numba.get_num_threads()
    finally:
        if ours:
            del os.environ[variable]


launch = _Launch()

# Multiply-adds. Below this, waking the other threads takes as long as they save: measured in whole
# training steps, where there is other work between two kernels.
_WORTH_THREADS = 5_000_000


def worth_threads(operations: int) -> bool:
    """Whether work of this many multiply-adds is done sooner by several threads."""
    return operations > _WORTH_THREADS and launch.threads


def cached(decorator: Any, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """``decorator(*arguments, cache=True, **options)``.

    Where no folder can be written, numba refuses to keep a cache; then everything is compiled
    anew in each process, which takes longer and is no reason to fail.
    """

    def decorate(function: Any) -> Any:
        try:
            return decorator(*arguments, cache=True, **options)(function)
        except RuntimeError:
            return decorator(*arguments, **options)(function)

    return decorate


def plain(x: NDArray[Scalar]) -> NDArray[Scalar]:
    """x itself if it is C-ordered, aligned and writable; otherwise a copy of it that is.

    numba compiles a function anew for each layout, and for read-only arrays. Copying those that
    are rare here means that each kernel is compiled once for each dtype.
    """
    return x if x.flags.carray else np.array(x, order="C")


def rows(x: NDArray[Scalar]) -> NDArray[Scalar]:
    """`plain` x with its leading axes made one: (..., c) -> (m, c)."""
    x = plain(x)
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
