"""JSON that is read strictly, and in little time whatever it is."""

import contextlib
import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.saving import MalformedError, strict_json

WITHIN_64_BITS = st.integers(-(1 << 63), (1 << 64) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | WITHIN_64_BITS | TEXT
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS, lambda part: st.lists(part) | st.dictionaries(TEXT, part))


@given(VALUES)
def test_what_is_written_is_read(value):
    data = strict_json.dumps(value)
    assert strict_json.loads(data) == value
    assert strict_json.dumps(strict_json.loads(data)) == data
    assert json.loads(data) == value


@given(st.binary(max_size=40) | TEXT.map(str.encode))
def test_whatever_comes_is_read_or_refused(data):
    try:
        value = strict_json.loads(data)
    except MalformedError:
        return
    assert strict_json.loads(strict_json.dumps(value)) == value


def without_duplicates(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


@given(st.text('[]{}"\\,:1u', max_size=12))
def test_brackets_and_quotes_in_any_order(text):
    try:
        value = json.loads(text, object_pairs_hook=without_duplicates)
    except ValueError:
        with pytest.raises(MalformedError):
            strict_json.loads(text.encode())
    else:
        assert strict_json.loads(text.encode()) == value


def levels(depth, opened="[", closed="]", inside=""):
    return (opened * depth + inside + closed * depth).encode()


def test_nesting_up_to_the_limit():
    value = strict_json.loads(levels(64))
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 63
    assert strict_json.loads(levels(32, '{"a":[', "]}")) is not None


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}"), ("[", ""), ("{", "")])
def test_deep_nesting(depth, opened, closed):
    inside = "0" if opened == '{"a":' else ""
    with pytest.raises(MalformedError, match="nested deeper than 64 levels"):
        strict_json.loads(levels(depth, opened, closed, inside))


def test_brackets_within_strings_are_no_nesting():
    text = '"' + "[{" * 500 + r"\"" + "[" * 500 + r"\\" + '"'
    assert strict_json.loads(text.encode()) == json.loads(text)
    assert strict_json.loads(f'[{text},{{"{"[" * 100}":1}}]'.encode())[0] == json.loads(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff{}", "not UTF-8"),
        (b'{"a":"\xc3"}', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),  # a surrogate
        (b'"\xc0\xaf"', "not UTF-8"),  # a slash in two bytes
        ("\ufeff{}".encode(), "not JSON"),
        ("{}".encode("utf-16"), "not UTF-8|not JSON"),
        ("{}".encode("utf-16-le"), "not JSON"),
        ("{}".encode("utf-32"), "not UTF-8|not JSON"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{},", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"[1,]", "not JSON"),
        (b"// x\n{}", "not JSON"),
        (b"\0{}", "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b'"a\0b"', "not JSON"),
        (rb'"\ud800"', "not Unicode"),
        (rb'{"\udfff":1}', "not Unicode"),
        (rb'{"\ud800":1,"\ud800":2}', "twice"),
        (b"NaN", "has NaN"),
        (b"[Infinity]", "has Infinity"),
        (b'{"a":-Infinity}', "has -Infinity"),
        (b"1e400", "no finite float"),
        (b"-1e400", "no finite float"),
        (b"1" * 400 + b".0", "no finite float"),
        (b"1" * 5000, "an integer of 5000 digits"),
        (b"-" + b"1" * 21, "an integer of 22 digits"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b".5", "not JSON"),
        (b"0x10", "not JSON"),
        (b"1_000", "not JSON"),
        ("\N{ARABIC-INDIC DIGIT ONE}".encode(), "not JSON"),
        (b'{"a":1,"a":1}', "the key 'a' twice"),
        (rb'{"a":1,"\u0061":2}', "the key 'a' twice"),
        (b'[{"b":{"a":1,"c":0,"a":null}}]', "the key 'a' twice"),
    ],
)
def test_what_is_refused(data, message):
    with pytest.raises(MalformedError, match=message):
        strict_json.loads(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"99999999999999999999", 10**20 - 1),
        (b"-99999999999999999999", 1 - 10**20),
        (b"1e308", 1e308),
        (b"1e-400", 0.0),
        (b'{"a":{"a":{"a":1}}}', {"a": {"a": {"a": 1}}}),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (rb'"\u0000"', "\0"),
        (b" [ ] ", []),
    ],
)
def test_what_is_taken(data, value):
    assert strict_json.loads(data) == value


LARGE = 1 << 20
SLOW = {
    "a string without an end, of quotes": b'"' + rb"\"" * (LARGE // 2),
    "the same and a backslash": b'"' + rb"\"" * (LARGE // 2) + b"\\",
    "a string without an end": b'"' + b"a" * LARGE,
    "a string": b'"' + b"a" * LARGE + b'"',
    "quotes": b'"' * LARGE,
    "backslashes": b'"' + b"\\" * LARGE,
    "brackets": b"[]" * (LARGE // 2),
    "opened brackets": b"[" * LARGE,
    "closed brackets": b"]" * LARGE,
    "empty lists": b"[" + b"[]," * (LARGE // 3) + b"[]]",
    "empty objects": b"[" + b"{}," * (LARGE // 3) + b"{}]",
    "different keys": b"{" + b",".join(b'"%x":0' % i for i in range(LARGE // 10)) + b"}",
    "the last key twice": b"{" + b",".join(b'"%x":0' % i for i in range(LARGE // 10)) + b',"0":1}',
    "a long integer": b"1" * LARGE,
    "a long float": b"0." + b"1" * LARGE,
    "a long exponent": b"1e" + b"1" * LARGE,
    "a long large float": b"1" * LARGE + b".5",
    "a long name": b"a" * LARGE,
    "white space": b" " * LARGE,
}


@pytest.mark.parametrize("what", SLOW)
def test_the_largest_header_is_read_quickly(what):
    tracemalloc.start()
    began = time.process_time()
    try:
        with contextlib.suppress(MalformedError):
            strict_json.loads(SLOW[what])
        seconds = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < 10, seconds  # quadratic work would take minutes; tracing takes its time too
    assert peak < 50e6, peak
