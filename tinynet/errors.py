"""The words of the library's errors: what was expected, what came, and what to do.

`unknown_name` and `unknown_arguments` make errors for the caller to raise; the ``check_`` functions
return their value, converted, or raise.
"""

import difflib
import inspect
import math
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def unknown_name(
    kind: str,
    name: object,
    known: Iterable[str],
    taken: str = "a name, a class or an instance",
) -> ValueError | TypeError:
    """The error for a ``name`` that is none of the ``known`` ones; ``kind`` is "loss", "metric".

    A ValueError that suggests near misses; a TypeError where ``name`` is not a string at all.
    """
    known = list(known)
    listed = ", ".join(map(repr, known))
    if not isinstance(name, str):
        return TypeError(f"{kind} must be {taken}, got {received(name)}; names are: {listed}")
    near = _near_misses([name], known)
    suggestion = f"; did you mean {near}?" if near else "."
    return ValueError(f"unknown {kind} {name!r}{suggestion} Known: {listed}")


def unknown_arguments(owner: str, unknown: Iterable[str], known: Iterable[str]) -> TypeError:
    """The error for arguments that ``owner`` does not have; ``known`` lists those that it has."""
    unknown, known = list(unknown), list(known)
    near = _near_misses(unknown, known)
    suggestion = f" (did you mean {near}?)" if near else ""
    names = " or ".join(map(repr, unknown))
    return TypeError(
        f"{owner} has no argument {names}{suggestion}; it takes {', '.join(known) or 'none'}"
    )


def received(value: object) -> str:
    """``value`` in one line and its type, for the end of a message; a long value is cut short."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return f"{text if len(text) <= 60 else text[:57] + '...'} of type {type(value).__name__}"


def _near_misses(names: list[str], known: list[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    near = [
        by_lower[match]
        for name in names
        for match in difflib.get_close_matches(name.lower(), by_lower, n=1)
    ]
    return " or ".join(map(repr, near))


def check_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that an unknown keyword is answered by `unknown_arguments`.

    A constructor speaks for its class ("Adam"), anything else for itself ("fit()").
    """
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    known = frozenset(names)
    is_constructor = function.__name__ == "__init__"

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.keys() <= known:
            owner = type(args[0]).__name__ if is_constructor else f"{function.__name__}()"
            unknown = [name for name in kwargs if name not in known]
            raise unknown_arguments(owner, unknown, [name for name in names if name != "self"])
        return function(*args, **kwargs)

    return checked


def check_name(name: object) -> str | None:
    """``name``, which may be None. Raises TypeError for what is neither that nor a string."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, got {received(name)}")
    return name


def check_bool(name: str, value: object) -> bool:
    """``value`` as a bool. Raises TypeError for anything else than True and False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {received(value)}")
    return bool(value)


def check_int(name: str, value: object, minimum: int | None = None) -> int:
    """``value`` as an int; NumPy's integers are taken, booleans and floats are not.

    Raises TypeError for what is not an integer, ValueError for one below ``minimum``.
    """
    expected = "an integer" if minimum is None else f"an integer of at least {minimum}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be {expected}, got {received(value)}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be {expected}, got {value}")
    return int(value)


def check_float(
    name: str,
    value: object,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """``value`` as a float; ``minimum`` and ``maximum`` are allowed, ``above`` and ``below`` not.

    Raises TypeError for what is not a number (a boolean, a string), ValueError for NaN, an
    infinity, or a number out of range.
    """
    ends = {"of at least": minimum, "above": above, "of at most": maximum, "below": below}
    limits = " and ".join(f"{words} {end:g}" for words, end in ends.items() if end is not None)
    expected = f"{name} must be a finite number {limits}".rstrip()
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{expected}, got {received(value)}")
    number = float(value)
    if (
        not math.isfinite(number)
        or (minimum is not None and number < minimum)
        or (maximum is not None and number > maximum)
        or (above is not None and number <= above)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{expected}, got {value}")
    return number
