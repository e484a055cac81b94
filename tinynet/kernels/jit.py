"""How the compiled kernels are compiled, and the one array layout that they are compiled for."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from tinynet.kernels import cache, recording

P = ParamSpec("P")
R = TypeVar("R")
Scalar = TypeVar("Scalar", bound=np.generic)

# A single number of the arrays' dtype. A Python float would be double precision, and so would be
# all that is computed from it.
Number = np.floating[Any]

# A 0 or 1 in a call has a type of its own to numba, for which it compiles the function once more.
# These are of the type of all other integers.
ZERO: Any = np.intp(0)
ONE: Any = np.intp(1)

config: Any = numba.config  # what the variables NUMBA_... say

# A CPU named by NUMBA_CPU_NAME has what LLVM knows that it has. numba would add what the machine at
# hand has, and the code would not run on the one that is meant.
if config.CPU_NAME is not None and config.CPU_FEATURES is None:
    config.CPU_FEATURES = ""

# Sums may be taken in another order, and x + 0 may be x: so loops with a sum can be vectorized.
# Left out are "nnan" and "ninf", under which the compiler may drop every check for NaN.
REORDER = frozenset({"contract", "reassoc", "nsz"})


def jit(
    fastmath: frozenset[str] = frozenset(), from_python: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile the decorated function at its first call, and keep the result on disk.

    ``error_model="numpy"`` makes 1 / 0 infinite instead of an error, without which no loop with a
    division is vectorized; ``nogil`` lets other Python threads run meanwhile.

    from_python: whether Python can call it too. What numba makes for that, to take arrays out of
        Python's objects, is often longer than the function itself: left out, all kernels of a CNN
        are compiled in 15 seconds instead of 18.
    """
    options: dict[str, Any] = {
        "nogil": True, "error_model": "numpy", "fastmath": set(fastmath),
        "no_cpython_wrapper": not from_python, "no_cfunc_wrapper": True,
    }  # fmt: skip

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        compiled: Any = cached(numba.njit, **options)(function)
        usable: Any = compiled if from_python or config.DISABLE_JIT else _Inner(compiled)
        return cast(Callable[P, R], usable)

    return decorate


class _Inner:
    """A compiled function for other compiled functions: numba finds it, Python cannot call it."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher  # numba's type of it does not keep it
        self._numba_type_ = dispatcher._numba_type_
        update_wrapper(self, dispatcher.py_func)

    def __call__(self, *_: Any, **__: Any) -> None:
        raise TypeError(f"{self._dispatcher.__name__} can be called by compiled code only")


def entry(
    fastmath: frozenset[str] = frozenset(),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`jit` for a function that Python calls, so that it can be recorded (see `recording`)."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        compiled: Any = jit(fastmath, from_python=True)(function)
        usable: Any = compiled if config.DISABLE_JIT else recording.noted(compiled)
        return cast(Callable[P, R], usable)

    return decorate


def not_noted(function: Callable[P, R]) -> Callable[P, R]:
    """An `entry` for who has seen that nothing is recorded."""
    return cast(Callable[P, R], getattr(function, "__wrapped__", function))


def cached(decorator: Any, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """``decorator(*arguments, **options)``, with a cache on disk where there is a folder for it."""

    def decorate(function: Any) -> Any:
        with cache.in_folder() as option:
            try:
                return decorator(*arguments, **option, **options)(function)
            except RuntimeError:  # it is from no file
                return decorator(*arguments, **options)(function)

    return decorate


def plain(x: NDArray[Scalar]) -> NDArray[Scalar]:
    """x itself if it is C-ordered, aligned and writable; otherwise a copy of it that is.

    numba compiles a function anew for each layout, and for read-only arrays. Copying those that
    are rare here means that each kernel is compiled once for each dtype.
    """
    if x.flags.carray:
        return x
    recording.not_recorded()
    return np.array(x, order="C")


def rows(x: NDArray[Scalar]) -> NDArray[Scalar]:
    """`plain` x with its leading axes made one: (..., c) -> (m, c)."""
    x = plain(x)
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
