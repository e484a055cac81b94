"""JSON of which nothing is left to chance: the header of a model file.

Python's own reader takes duplicate keys, NaN, numbers beyond a float, integers of any length, and
nesting as deep as its stack. From a stranger's file none of that is welcome.
"""

import itertools
import json
import math
import re
from typing import Any, NoReturn

from tinynet.saving.errors import MalformedError

MAX_DEPTH = 64
MAX_DIGITS = 20  # of an integer: enough for 64 bits

# A string with all that is in it, be it without an end, or anything else but brackets. Nothing that
# was taken is given back (++, *+): the time is that of one pass over the text, whatever is in it.
_NO_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^"\[\]{}]++', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def dumps(value: Any, *, check: bool = True) -> bytes:
    """``value`` as JSON in UTF-8, without spaces, keys in their order.

    Raises ValueError for what `loads` would refuse, unless ``check`` is False; TypeError for what
    JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = text.encode()
    if check:
        try:
            loads(data)
        except MalformedError as error:
            raise ValueError(f"a model file cannot hold this: {error}") from None
    return data


def loads(data: bytes) -> Any:
    """The value that ``data`` holds.

    Raises MalformedError for anything but JSON in UTF-8 whose objects have no key twice, whose
    numbers are finite and not longer than MAX_DIGITS, whose nesting is at most MAX_DEPTH and whose
    text is Unicode throughout.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"the JSON is not UTF-8: {error}") from None
    if _depth(text) > MAX_DEPTH:
        raise MalformedError(f"the JSON is nested deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_float=_finite,
            parse_int=_short,
            parse_constant=_refuse,
        )
        # "\ud800" is JSON, but no text: it could be neither printed nor written again.
        json.dumps(value, ensure_ascii=False).encode()
    except MalformedError:
        raise
    except UnicodeEncodeError as error:
        raise MalformedError(f"the JSON holds text that is not Unicode: {error}") from None
    except ValueError as error:
        raise MalformedError(f"this is not JSON: {error}") from None
    return value


def _depth(text: str) -> int:
    steps = map(_STEPS.__getitem__, _NO_BRACKETS.sub("", text))
    return max(itertools.accumulate(steps), default=0)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise MalformedError(f"the JSON has the key {key!r} twice in one object")
        found[key] = value
    return found


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise MalformedError(f"the JSON has the number {number[:40]}, which is no finite float")
    return value


def _short(number: str) -> int:
    if len(number.lstrip("-")) > MAX_DIGITS:
        raise MalformedError(f"the JSON has an integer of {len(number)} digits")
    return int(number)


def _refuse(constant: str) -> NoReturn:
    raise MalformedError(f"the JSON has {constant}, which is no number there")
