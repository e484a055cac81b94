"""What `tinynet.saving.file` writes, and what it refuses to read, byte by byte."""

import json
import math
import os
import socket
import struct
import time
import tracemalloc

import numpy as np
import pytest
import sealing
from sealing import MAGIC, START, aligned, entry, seal, small_arrays, table_file

from tinynet import saving
from tinynet.saving import (
    CorruptError,
    MalformedError,
    ModelFile,
    ModelFileError,
    NewerVersionError,
    NotAModelFileError,
    TruncatedError,
)

HEADER = {"kind": "test", "ü": [1, 2.5, None, True, "\N{SNOWMAN}"]}
NOTHING = b'{"tensors":[]}'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.tinynet"


def read(path):
    with ModelFile(path) as file:
        return file.header, {name: file.read(name) for name in file.tensors}


def refuse(path, data, error, message):
    """``data`` is refused with this error, quickly, and without much memory."""
    path.write_bytes(data)
    began = time.process_time()
    with pytest.raises(ModelFileError, match=message) as caught:
        read(path)
    assert time.process_time() - began < 1
    tracemalloc.start()  # once more, since counting memory takes time
    try:
        with pytest.raises(ModelFileError, match=message):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6 + len(data)
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error
    assert str(caught.value).startswith(repr(str(path)))


@pytest.fixture
def written(path):
    saving.write(path, HEADER, small_arrays())
    return path.read_bytes()


def test_what_was_written_is_read(path, written):
    header, arrays = read(path)
    assert header == HEADER
    assert list(arrays) == list(small_arrays())
    for name, array in small_arrays().items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    with ModelFile(path) as file:
        assert file.version == (1, 0)
        assert file.length == len(written)
        for tensor in file.tensors.values():
            assert tensor.offset % 64 == 0
            assert file.is_whole(tensor.name)


def test_a_file_of_nothing(path):
    saving.write(path, {}, {})
    assert read(path) == ({}, {})
    assert len(path.read_bytes()) == 128
    assert path.read_bytes() == seal(NOTHING)


@pytest.mark.parametrize("room", range(4))
def test_offsets_that_make_the_header_longer(path, room):
    # Where the tensors begin is written in the header before them, which must find its own length.
    for length in range(200):
        header = {"text": "x" * (64 * room + length)}
        arrays = {str(i): np.full(16, i, np.float32) for i in range(3)}
        saving.write(path, header, arrays)
        with ModelFile(path) as file:
            assert file.header == header
            assert all(file.is_whole(name) for name in arrays)


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(
        x.shape
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_any_layout(path, layout, dtype):
    array = LAYOUTS[layout](np.arange(24).reshape(2, 3, 4).astype(dtype))
    before = array.copy()
    saving.write(path, {}, {"x": array})
    there = read(path)[1]["x"]
    np.testing.assert_array_equal(there, array)
    assert there.dtype == dtype
    assert there.flags.c_contiguous
    np.testing.assert_array_equal(array, before, strict=True)
    plain = path.read_bytes()
    saving.write(path, {}, {"x": np.array(array, dtype, order="C")})
    assert path.read_bytes() == plain


@pytest.mark.parametrize("shape", [(), (1,), (1,) * 8, (2, 1, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_arrays_of_any_shape(path, shape, dtype):
    array = np.full(shape, 3, dtype)
    saving.write(path, {}, {"x": array})
    np.testing.assert_array_equal(read(path)[1]["x"], array, strict=True)


def test_every_bit_of_a_number_is_kept(path):
    bits = [0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001, 0x7F7FFFFF]
    array = np.array(bits, np.uint32).view(np.float32)
    saving.write(path, {}, {"x": array})
    assert read(path)[1]["x"].tobytes() == array.tobytes()


def test_large_tensors_are_hashed_beside_the_reading(path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.random((700, 1001), np.float32) for name in "abc"}
    saving.write(path, {}, arrays)
    for name, array in read(path)[1].items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)
    with open(path, "r+b") as file:
        file.seek(-5_000_000, os.SEEK_END)
        file.write(b"changed")
    with pytest.raises(CorruptError, match="tensor 'b' is corrupt"):
        read(path)


def test_saving_is_deterministic(path, written):
    for _ in range(3):
        path.unlink()
        saving.write(path, HEADER, small_arrays())
        assert path.read_bytes() == written


def test_read_into_arrays_that_are_there(path, written):
    out = np.zeros((3, 5), np.float32)
    with ModelFile(path) as file:
        assert file.read("a", into=out) is out
    np.testing.assert_array_equal(out, small_arrays()["a"])


def test_a_greater_minor_version_is_read(path):
    path.write_bytes(seal(b'{"tensors":[],"later":{"much":1}}', version=(1, 7)))
    with ModelFile(path) as file:
        assert file.version == (1, 7)
        assert file.header == {"later": {"much": 1}}


# --- what cannot be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": np.zeros(3, np.float16)}, TypeError, "'x' is of dtype float16"),
        ({"x": np.zeros(3, np.int32)}, TypeError, "'x' is of dtype int32"),
        ({"x": np.zeros(3, bool)}, TypeError, "'x' is of dtype bool"),
        ({"x": np.array([None])}, TypeError, "'x' is of dtype object"),
        ({"x": np.array(["a"])}, TypeError, "'x' is of dtype <U1"),
        ({"x": np.zeros(3, "f4,f4")}, TypeError, "'x' is of dtype"),
        ({"x": np.zeros((2, 0))}, ValueError, r"each at least 1; 'x' has shape \(2, 0\)"),
        ({"x": np.zeros((1,) * 9)}, ValueError, "up to 8 dimensions"),
        ({"": np.zeros(3)}, ValueError, "cannot be called ''"),
        ({"a/../b": np.zeros(3)}, ValueError, "has an empty part"),
        ({"a\0b": np.zeros(3)}, ValueError, "cannot be printed"),
        ({"x" * 1001: np.zeros(3)}, ValueError, "longer than 1000 characters"),
        ({str(i): np.zeros(1) for i in range(10_001)}, ValueError, "at most 10000 tensors"),
    ],
)
def test_arrays_that_the_format_does_not_have(path, arrays, error, message):
    with pytest.raises(error, match=message):
        saving.write(path, {}, arrays)
    assert not os.listdir(path.parent)


def nested(depth):
    return nested(depth - 1) | {"deeper": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        ({"x": math.nan}, ValueError, "not JSON compliant"),
        ({"x": math.inf}, ValueError, "not JSON compliant"),
        ({"x": 10**20}, ValueError, "an integer of 21 digits"),
        ({"x": "\ud800"}, ValueError, "surrogates not allowed"),
        ({"x": {1: 2, "1": 3}}, ValueError, "the key '1' twice"),
        ({"x": object()}, TypeError, "not JSON serializable"),
        ({"x": "x" * (1 << 20)}, ValueError, "has room for 1,048,576"),
    ],
)
def test_headers_that_the_format_does_not_have(path, header, error, message):
    with pytest.raises(error, match=message) as caught:
        saving.write(path, header, {"x": np.zeros(3)})
    assert not isinstance(caught.value, ModelFileError)
    assert not os.listdir(path.parent)


def test_nothing_is_written_that_is_nested_too_deep(path):
    deep = {}
    for _ in range(70):
        deep = {"deeper": deep}
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        saving.write(path, deep, {})
    assert not os.listdir(path.parent)


# --- damage --------------------------------------------------------------------------------------


def test_truncation_at_every_length(path, written):
    for length in range(len(written)):
        sealing.put(path, written[:length])
        expected = NotAModelFileError if length == 0 else TruncatedError
        with pytest.raises(ModelFileError) as caught:
            read(path)
        assert type(caught.value) is expected, length


def test_a_flip_of_each_bit(path, written):
    allowed = {}
    data = bytearray(written)
    for i in range(len(data)):
        for bit in range(8):
            data[i] ^= 1 << bit
            sealing.put(path, data)
            data[i] ^= 1 << bit
            with pytest.raises(ModelFileError) as caught:
                read(path)
            allowed.setdefault(type(caught.value), set()).add(i)
    assert allowed[NotAModelFileError] == set(range(8))
    assert allowed[NewerVersionError] <= set(range(8, 16))  # version and flags
    assert set(range(START - 32, START)) <= allowed[CorruptError]
    assert data == written


def test_the_corrupt_tensor_is_named(path, written):
    with ModelFile(path) as file:
        places = {name: tensor.offset for name, tensor in file.tensors.items()}
    for name, offset in places.items():
        data = bytearray(written)
        data[offset] ^= 1
        path.write_bytes(data)
        with pytest.raises(CorruptError, match=f"its tensor {name!r} is corrupt"):
            read(path)
        with ModelFile(path) as file:
            assert [other for other in places if not file.is_whole(other)] == [name]
            for other in places.keys() - {name}:
                np.testing.assert_array_equal(file.read(other), small_arrays()[other])


@pytest.mark.parametrize("more", [b"\0", b"\n", bytes(64), b"PK\5\6" + bytes(18)])
def test_trailing_bytes(path, written, more):
    refuse(path, written + more, MalformedError, "says that it is .* bytes long, and is")
    refuse(path, seal(NOTHING, more), MalformedError, "should end with its last tensor at 128")


def test_an_empty_file(path):
    refuse(path, b"", NotAModelFileError, "it is empty")


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\3\4" + bytes(60), b"\x93NUMPY", b"x", b"{}"]
)
def test_a_wrong_magic_number(path, data):
    refuse(path, data, NotAModelFileError, "it begins with b'.*', not with")


def test_every_wrong_magic_number_is_refused(path):
    for i in range(8):
        magic = bytearray(MAGIC)
        magic[i] ^= 0x20
        refuse(path, seal(NOTHING, magic=bytes(magic)), NotAModelFileError, "begins with")


MANGLED = {
    "line feeds became two bytes": lambda data: data.replace(b"\n", b"\r\n"),
    "lone line feeds became two bytes": lambda data: data.replace(b"\r\n", b"\n").replace(
        b"\n", b"\r\n"
    ),
    "two bytes became line feeds": lambda data: data.replace(b"\r\n", b"\n"),
    "carriage returns became line feeds": lambda data: data.replace(b"\r", b"\n"),
    "line feeds became carriage returns": lambda data: data.replace(b"\n", b"\r"),
}


@pytest.mark.parametrize("how", MANGLED)
def test_mangled_line_endings_are_told(path, written, how):
    data = MANGLED[how](written)
    refuse(path, data, NotAModelFileError, "transfer in text mode has changed its line endings")


def test_a_transfer_of_seven_bits(path, written):
    data = bytes(byte & 0x7F for byte in written)
    refuse(path, data, NotAModelFileError, "begins with")


# --- sealed: the first 64 bytes ------------------------------------------------------------------


@pytest.mark.parametrize("version", [(2, 0), (2, 7), (65535, 65535)])
def test_a_newer_major_version(path, version):
    data = seal(NOTHING, version=version)
    refuse(path, data, NewerVersionError, f"of version {version[0]}.{version[1]}, and .* reads 1")


def test_a_major_version_that_never_was(path):
    refuse(path, seal(NOTHING, version=(0, 9)), MalformedError, r"of version 0\.9")


@pytest.mark.parametrize("bit", range(32))
def test_an_unknown_flag(path, bit):
    data = seal(NOTHING, flags=1 << bit)
    refuse(path, data, NewerVersionError, f"has flags {1 << bit:#x}, which")


@pytest.mark.parametrize("length", [0, 63, 127, 129, 2**63, 2**64 - 1])
def test_a_length_that_is_not_the_files(path, length):
    error = TruncatedError if length > 128 else MalformedError
    refuse(path, seal(NOTHING, length=length), error, "says that it is")


@pytest.mark.parametrize("size", [2**64 - 1, 2**64 - 64, 2**63, 2**32, 10_000_000, 2**20 + 1])
def test_a_header_longer_than_any_may_be(path, size):
    refuse(path, seal(NOTHING, size=size), MalformedError, "bytes, at most 1,048,576")


def test_a_header_of_10_mb(path):
    refuse(path, seal(b" " * 10_000_000 + NOTHING), MalformedError, "at most 1,048,576")


@pytest.mark.parametrize("size", [65, 128, 2**20])
def test_a_header_past_the_end(path, size):
    refuse(path, seal(NOTHING, size=size), MalformedError, "is longer than the file")


@pytest.mark.parametrize("size", [0, 1, 13, 15, 64])
def test_a_header_of_another_length(path, size):
    refuse(path, seal(NOTHING, size=size), CorruptError, "header is corrupt")


def test_the_largest_header_is_read(path):
    room = (1 << 20) - len('{"text":"","tensors":[]}')
    saving.write(path, {"text": "x" * room}, {})
    assert read(path)[0]["text"] == "x" * room
    with pytest.raises(ValueError, match="takes 1,048,577 bytes"):
        saving.write(path, {"text": "x" * (room + 1)}, {})


@pytest.mark.parametrize("gap", [1, 49])
def test_padding_that_is_not_zero_after_the_header(path, gap):
    padding = bytearray(50)
    padding[gap] = 1
    data = seal(NOTHING, gap=bytes(padding))
    assert len(data) == 128
    refuse(path, data, MalformedError, "padding before byte 128 is not zero")


@pytest.mark.parametrize("gap", [b"", bytes(49), bytes(114)])
def test_a_file_without_tensors_ends_where_they_would_begin(path, gap):
    refuse(path, seal(NOTHING, gap=gap), MalformedError, "should end with its last tensor at 128")


def test_no_padding_where_tensors_follow(path):
    row = entry(offset=128)
    text = json.dumps({"tensors": [row]}).encode()
    data = seal(text, bytes(12), gap=b"")
    refuse(path, data, MalformedError, "begins at 128, not")


# --- sealed: the header --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"0", b"null", b'"tensors"', b"{}", b'{"Tensors":[]}', b'[["tensors",[]]]']
)
def test_a_header_that_is_no_object_with_a_table(path, text):
    message = "this is not JSON" if not text else "an object with a table of tensors"
    refuse(path, seal(text), MalformedError, message)


@pytest.mark.parametrize("table", ["null", "{}", '""', "0", "[0]", "[[]]", '["x"]', "[null]"])
def test_a_table_that_is_none(path, table):
    data = seal(f'{{"tensors":{table}}}'.encode())
    refuse(path, data, MalformedError, "its table of tensors must be a list|a row of its table")


def test_too_many_tensors(path):
    data = seal(b'{"tensors":[' + b",".join([b"0"] * 10_001) + b"]}")
    refuse(path, data, MalformedError, "a list of at most 10000")


@pytest.mark.parametrize("key", ["name", "dtype", "shape", "offset", "bytes", "sha256"])
def test_a_row_that_lacks_a_key(path, key):
    row = entry()
    del row[key]
    refuse(path, table_file([row], bytes(12)), MalformedError, "a row of its table must be")


def test_a_row_with_another_key(path):
    data = table_file([entry(device="cuda")], bytes(12))
    refuse(path, data, MalformedError, "a row of its table must be an object of bytes, dtype, name")


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "/x", "x/", "a//b", ".", "..", "../x", "x/..", "a/../b", "a/./b", "a\0b", "\0",
        "a\nb", "\x1b[31m", "\x7f", "\u202e", "\ufeff", "\u2028", "x" * 1001, None, 3, True, ["x"],
    ],
)  # fmt: skip
def test_names_of_tensors(path, name):
    data = table_file([entry(name=name)], bytes(12))
    refuse(path, data, MalformedError, "it has a tensor called .* the name ")


@pytest.mark.parametrize("name", ["x", "...", "..x", "a/b/c", "ü", "\N{SNOWMAN}", "x" * 1000, " "])
def test_names_that_tensors_may_have(path, name):
    path.write_bytes(table_file([entry(name=name)], bytes(12)))
    assert list(read(path)[1]) == [name]
    saving.write(path, {}, {name: np.zeros(3, np.float32)})
    assert list(read(path)[1]) == [name]


def test_two_tensors_of_one_name(path):
    rows = [entry(), entry(offset=64)]
    refuse(path, table_file(rows, bytes(76)), MalformedError, "it has two tensors called 'x'")


@pytest.mark.parametrize(
    "dtype",
    [
        "object", "O", "|O", ">f4", "<f4", "f4", "float16", "float128", "complex64", "int32",
        "bool", "uint64", "str", "V8", "M8[ns]", "Float32", "float32 ", "", None, 4, ["float32"],
        {"": 1},
    ],
)  # fmt: skip
def test_dtypes(path, dtype):
    data = table_file([entry(dtype=dtype)], bytes(12))
    refuse(path, data, MalformedError, "its tensor 'x' is of dtype .* there are float32, float64")


@pytest.mark.parametrize(
    "shape",
    [
        [-3], [-1, -3], [3, 0], [0], [True, 3], [False], [3.0], [1.5], ["3"], [None], [[3]], "3", 3,
        None, {}, {"3": 3}, [1] * 9, [1] * 100_000, [1e300],
    ],
)  # fmt: skip
def test_shapes(path, shape):
    data = table_file([entry(shape=()) | {"shape": shape}], bytes(12))
    refuse(path, data, MalformedError, "the shape of its tensor 'x' must be a list of up to 8")


@pytest.mark.parametrize(
    "shape", [[2**62, 4, 3], [2**32, 2**32], [2**64], [2**64 - 1], [99999999999999999999] * 8, [4]]
)
def test_products_of_shapes(path, shape):
    # Each wraps around to a small number, or to none, in 64 bits.
    for content in (b"", bytes(12)):
        data = table_file([entry(shape=shape, content=content)], content)
        refuse(path, data, MalformedError, "says that it takes")


@pytest.mark.parametrize("count", [-12, 12.0, "12", None, True, [12]])
@pytest.mark.parametrize("key", ["bytes", "offset"])
def test_offsets_and_bytes_that_are_no_counts(path, key, count):
    data = table_file([entry() | {key: count}], bytes(12))
    if key == "offset" and type(count) is int:  # table_file moves it
        data = seal(json.dumps({"tensors": [entry(offset=-12)]}).encode(), bytes(12))
    refuse(path, data, MalformedError, "offset and bytes of its tensor 'x' must be integers")


@pytest.mark.parametrize("count", [0, 11, 13, 24, 2**63, 2**64 - 1])
def test_bytes_that_are_not_those_of_the_shape(path, count):
    data = table_file([entry(bytes=count)], bytes(12))
    refuse(path, data, MalformedError, "says that it takes")


LAYOUT = {
    "an overlap": ([entry("a"), entry("b", offset=0)], 76),
    "an overlap of a part": (
        [entry("a", shape=(32,), content=bytes(128)), entry("b", offset=64)], 128,
    ),
    "a hole": ([entry("a"), entry("b", offset=128)], 140),
    "a hole before the first": ([entry("a", offset=64)], 76),
    "a misaligned tensor": ([entry("a"), entry("b", offset=12)], 24),
    "another alignment": ([entry("a"), entry("b", offset=32)], 44),
    "another order": ([entry("b", offset=64), entry("a")], 76),
    "a tensor before the file's": ([entry("a", offset=-64)], 12),
}  # fmt: skip


@pytest.mark.parametrize("what", LAYOUT)
def test_tensors_that_do_not_follow_each_other(path, what):
    rows, length = LAYOUT[what]
    refuse(path, table_file(rows, bytes(length)), MalformedError, r"its tensor '\w' begins at")


@pytest.mark.parametrize("length", [0, 1, 11])
def test_a_tensor_that_ends_behind_the_file(path, length):
    data = table_file([entry()], bytes(length))
    refuse(path, data, MalformedError, "its tensor 'x' ends at .* behind the file's end")


@pytest.mark.parametrize("offset", [2**31, 2**63, 2**64 - 64, 10**19])
def test_a_tensor_outside_the_file(path, offset):
    text = json.dumps({"tensors": [entry(offset=offset)]}).encode()
    refuse(path, seal(text, bytes(12)), MalformedError, "its tensor 'x' begins at")


def test_a_tensor_of_terabytes_is_refused_before_memory_is_taken(path):
    row = entry(shape=(10**12,), content=b"", bytes=4 * 10**12)
    refuse(path, table_file([row], bytes(12)), MalformedError, "behind the file's end")


def test_bytes_behind_the_last_tensor(path):
    data = table_file([entry()], bytes(13))
    refuse(path, data, MalformedError, "should end with its last tensor")


@pytest.mark.parametrize("at", [12, 40, 63])
def test_padding_that_is_not_zero_between_tensors(path, at):
    tail = bytearray(76)
    tail[at] = 0xFF
    data = table_file([entry("a"), entry("b", offset=64)], bytes(tail))
    refuse(path, data, MalformedError, "its padding before byte .* is not zero")
    with ModelFile(path) as file:
        assert file.is_whole("a")
        assert not file.is_whole("b")


@pytest.mark.parametrize(
    "digits", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 63 + "\n", "٠" * 64, None, 0, []]
)
def test_checksums_that_are_none(path, digits):
    data = table_file([entry(sha256=digits)], bytes(12))
    refuse(path, data, MalformedError, "the checksum of its tensor 'x' must be 64 hexadecimal")


def test_a_checksum_of_something_else(path):
    data = table_file([entry(sha256=sealing.checksum(b"else"))], bytes(12))
    refuse(path, data, CorruptError, "its tensor 'x' is corrupt")


def test_a_sealed_file_is_read_where_nothing_is_wrong_with_it(path):
    # Otherwise the tests above might refuse everything.
    rows = [entry("a"), entry("b", offset=64, shape=(2,), dtype="int64", content=bytes(16))]
    path.write_bytes(table_file(rows, bytes(80), kind="test"))
    header, arrays = read(path)
    assert header == {"kind": "test"}
    np.testing.assert_array_equal(arrays["a"], np.zeros(3, np.float32), strict=True)
    np.testing.assert_array_equal(arrays["b"], np.zeros(2, np.int64), strict=True)


# --- what is at the path -------------------------------------------------------------------------


def make_folder(path):
    path.mkdir()


def make_pipe(path):
    os.mkfifo(path)


def make_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs an operating system with pipes")
@pytest.mark.parametrize("make", [make_folder, make_pipe, make_device])
def test_what_is_no_regular_file(path, make):
    # Opening a pipe that nobody writes into would wait for ever.
    make(path)
    with pytest.raises(NotAModelFileError, match="it is no regular file"):
        ModelFile(path)
    with pytest.raises(OSError, match="cannot be replaced: it is"):
        saving.write(path, {}, {})
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets with names")
def test_a_socket(path, monkeypatch):
    monkeypatch.chdir(path.parent)  # as the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
        with pytest.raises(OSError, match=r"No such device|not configured|not supported"):
            ModelFile(path)
        with pytest.raises(OSError, match="cannot be replaced: it is"):
            saving.write(path, {}, {})


def test_a_symbolic_link_is_followed(path, written):
    link = path.with_name("link.tinynet")
    link.symlink_to(path)
    assert read(link)[0] == HEADER
    link.unlink()
    link.symlink_to("missing.tinynet")
    with pytest.raises(FileNotFoundError):
        read(link)


def test_errors_of_the_operating_system_pass_through(path):
    with pytest.raises(FileNotFoundError):
        ModelFile(path)
    with pytest.raises(FileNotFoundError):
        saving.write(path.parent / "missing" / "file.tinynet", {}, {})
    (path.parent / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        ModelFile(path.parent / "file" / "file.tinynet")


def test_a_file_that_becomes_shorter_while_it_is_read(path, written):
    with ModelFile(path) as file:
        os.truncate(path, len(written) - 50)
        with pytest.raises(TruncatedError, match="became shorter while it was read"):
            file.read("e")
        assert not file.is_whole("e")


def test_the_file_is_closed_whatever_happens(path, written):
    # A warning of a file that was left open is an error in these tests.
    path.write_bytes(written[:-1])
    for _ in range(10):
        with pytest.raises(TruncatedError):
            ModelFile(path)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(10):
        with pytest.raises(TruncatedError):
            ModelFile(path)
    assert before in (0, len(os.listdir("/proc/self/fd")))


# --- small things --------------------------------------------------------------------------------


def test_the_constants_of_the_specification(written):
    magic, major, minor, flags, length, size = struct.unpack_from("<8sHHIQQ", written)
    assert magic == bytes.fromhex("89544E4E0D0A1A0A") == MAGIC
    assert (major, minor, flags, length) == (1, 0, 0, len(written))
    text = written[START : START + size]
    assert json.loads(text)["tensors"][0]["offset"] == aligned(START + size)
    assert b" " not in text
