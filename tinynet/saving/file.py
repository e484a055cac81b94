"""Reading and writing the file whose layout `tinynet.saving` describes: bytes, JSON and tensors.

Nothing here knows what a layer is. A header is a dict of what JSON can hold; a tensor is an array
with a name.
"""

import hashlib
import math
import os
import re
import stat
import struct
import sys
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tinynet.errors import received
from tinynet.saving import strict_json
from tinynet.saving.errors import (
    CorruptError,
    MalformedError,
    ModelFileError,
    NewerVersionError,
    NotAModelFileError,
    TruncatedError,
)
from tinynet.saving.hashing import CHUNK, DIGEST_BYTES, READING, WRITING, Digest, Hashers
from tinynet.saving.replacing import check_path, replacing, write_all

Array = NDArray[Any]

MAGIC = b"\x89TNN\r\n\x1a\n"
MAJOR, MINOR = 1, 0
PRELUDE = struct.Struct("<8sHHIQQ")  # magic, major, minor, flags, length of the file, of the header
HEADER_START = PRELUDE.size + DIGEST_BYTES  # 64

ALIGNMENT = 64
MAX_HEADER = 1 << 20  # bytes
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
MAX_NAME = 1_000  # characters

DTYPES = {
    name: np.dtype(name).newbyteorder("<") for name in ("float32", "float64", "int64", "uint8")
}

_ENTRY_KEYS = {"name", "dtype", "shape", "offset", "bytes", "sha256"}
_CHECKSUM_DIGITS = 2 * DIGEST_BYTES
_HEX = re.compile(f"[0-9a-f]{{{_CHECKSUM_DIGITS}}}")


class TensorInfo(NamedTuple):
    """What the header says of one tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int
    sha256: str


# --- writing -------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str], header: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """Write a file of ``header``, what JSON can hold, and ``tensors``, in their order.

    The same content gives the same bytes. ``path`` is the old file or the new one at every moment:
    see `tinynet.saving.replacing`.

    Raises TypeError or ValueError, before anything is written, for what the format cannot hold;
    OSError where the file cannot be written.
    """
    path = check_path(path)
    arrays = {name: _as_stored(name, array) for name, array in tensors.items()}
    if len(arrays) > MAX_TENSORS:
        raise ValueError(f"a model file holds at most {MAX_TENSORS} tensors, got {len(arrays)}")
    table = _table(header, arrays)
    total = _end_of(table[-1]) if table else _start(header, table, check=False)
    with replacing(path) as file, Hashers(total, WRITING) as hashers:
        file.truncate(total)
        digests = []
        for entry in table:
            digests.append(hashers.digest(entry.bytes))
            file.seek(entry.offset)
            _write_hashed(file, arrays[entry.name], digests[-1])
        if hashers.are_threads:
            os.fsync(file.fileno())  # while they compute the last checksums
        pairs = zip(table, digests, strict=True)
        table = [entry._replace(sha256=digest.hexdigest()) for entry, digest in pairs]
        file.seek(0)
        write_all(file, memoryview(_head(header, table, total)))


def _as_stored(name: str, array: Array) -> Array:
    """The array as it stands in the file: little-endian, in C order; itself where it is so."""
    problem = _name_problem(name)
    if problem:
        raise ValueError(f"a tensor cannot be called {name!r} in a model file: the name {problem}")
    dtype = DTYPES.get(array.dtype.name)
    if dtype is None:
        raise TypeError(
            f"a model file holds {', '.join(DTYPES)}; {name!r} is of dtype {array.dtype}"
        )
    if array.ndim > MAX_DIMENSIONS or not array.size:
        raise ValueError(
            f"a model file holds tensors of up to {MAX_DIMENSIONS} dimensions, each at least 1; "
            f"{name!r} has shape {array.shape}"
        )
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _table(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> list[TensorInfo]:
    """The table of tensors, with zeros for checksums, which are as long.

    Offsets stand in the header, and begin behind it. Greater ones may make it longer, which makes
    them greater; that ends after a few rounds.
    """
    start = 0
    while True:
        table = []
        offset = start
        for name, array in arrays.items():
            entry = TensorInfo(
                name, array.dtype.name, array.shape, offset, array.nbytes, "0" * _CHECKSUM_DIGITS
            )
            table.append(entry)
            offset = _aligned(_end_of(entry))
        needed = _start(header, table, check=not start)  # once is enough
        if needed == start:
            return table
        start = needed


def _start(header: Mapping[str, Any], table: list[TensorInfo], check: bool) -> int:
    """Where the first tensor begins."""
    return _aligned(HEADER_START + len(_header_json(header, table, check)))


def _header_json(header: Mapping[str, Any], table: list[TensorInfo], check: bool) -> bytes:
    rows = [entry._asdict() for entry in table]
    data = strict_json.dumps({**header, "tensors": rows}, check=check)
    if len(data) > MAX_HEADER:
        raise ValueError(
            f"the description of the model takes {len(data):,} bytes, and a model file has room "
            f"for {MAX_HEADER:,}"
        )
    return data


def _head(header: Mapping[str, Any], table: list[TensorInfo], total: int) -> bytes:
    """Everything before the first tensor but the padding."""
    text = _header_json(header, table, check=False)
    prelude = PRELUDE.pack(MAGIC, MAJOR, MINOR, 0, total, len(text))
    return prelude + hashlib.sha256(prelude + text).digest() + text


def _write_hashed(file: FileIO, array: Array, digest: Digest) -> None:
    data = _bytes_of(array)
    for i in range(0, len(data), CHUNK):
        chunk = data[i : i + CHUNK]
        digest.update(chunk)
        write_all(file, chunk)


# --- reading -------------------------------------------------------------------------------------


class ModelFile:
    """A model file that is open for reading; a ``with`` statement closes it.

    Opening it checks everything but the tensors' content, and allocates nothing for them. What is
    checked, in this order: that it is a regular file; magic number, version and flags; the lengths;
    the header's digest; the header's JSON; the table of tensors against the file's length.

    header: the header, without the table.   tensors: the table, by name, in the order of the file.
    version: (major, minor).

    Raises a ModelFileError for what is wrong with the file, OSError where it cannot be read,
    TypeError or ValueError for a path that does not end in ``.tinynet``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path(path)
        self._file = _open_regular(self.path)
        try:
            self.length, self.version, self.header, table = self._read_header()
            self.tensors = _check_table(table, self._start, self.length)
        except BaseException as error:
            self.close()
            _name_file(error, self.path)
            raise
        ends = [self._start, *map(_end_of, self.tensors.values())]
        self._end_before = dict(zip(self.tensors, ends, strict=False))

    def _read_header(self) -> tuple[int, tuple[int, int], dict[str, Any], Any]:
        size = os.fstat(self._file.fileno()).st_size
        head = self._read(min(size, HEADER_START))
        if head[: len(MAGIC)] != MAGIC[: len(head)] or not head:
            raise NotAModelFileError(_no_magic(head))
        if len(head) < HEADER_START:
            raise TruncatedError(f"it ends after {size} bytes, within its first {HEADER_START}")
        _, major, minor, flags, length, header_length = PRELUDE.unpack_from(head)
        if major != MAJOR:
            kind = NewerVersionError if major > MAJOR else MalformedError
            raise kind(f"it is of version {major}.{minor}, and this tinynet reads {MAJOR}")
        if flags:
            raise NewerVersionError(f"it has flags {flags:#x}, which this tinynet does not know")
        if size != length:
            error = TruncatedError if size < length else MalformedError
            raise error(f"it says that it is {length:,} bytes long, and is {size:,}")
        if header_length > MAX_HEADER:
            raise MalformedError(f"its header is {header_length:,} bytes, at most {MAX_HEADER:,}")
        if HEADER_START + header_length > length:
            raise MalformedError(f"its header of {header_length:,} bytes is longer than the file")
        text = self._read(header_length)
        if hashlib.sha256(head[: PRELUDE.size] + text).digest() != head[PRELUDE.size :]:
            raise CorruptError("its header is corrupt: the digest is another one")
        header = strict_json.loads(text)
        if not isinstance(header, dict) or "tensors" not in header:
            raise MalformedError("its header must be an object with a table of tensors")
        self._start = _aligned(HEADER_START + header_length)
        self._check_padding(HEADER_START + header_length, min(self._start, length))
        table = header.pop("tensors")
        return length, (major, minor), header, table

    def read(self, name: str, into: Array | None = None) -> Array:
        """The tensor ``name``, in a new array or in ``into``, which has its dtype and shape.

        Raises CorruptError where its bytes are not those that were written.
        """
        entry = self.tensors[name]
        out = np.empty(entry.shape, entry.dtype) if into is None else into
        self.read_into({name: out})
        return out

    def read_into(self, arrays: Mapping[str, Array]) -> None:
        """Fill C-ordered ``arrays`` from the tensors of their names.

        Raises CorruptError where a tensor's bytes are not those that were written; the arrays may
        then hold anything.
        """
        try:
            total = sum(array.nbytes for array in arrays.values())
            with Hashers(total, READING) as hashers:
                digests = {}
                for name, array in arrays.items():
                    digests[name] = hashers.digest(array.nbytes)
                    self._fill(self.tensors[name], array, digests[name])
                for name, digest in digests.items():
                    if digest.hexdigest() != self.tensors[name].sha256:
                        raise CorruptError(f"its tensor {name!r} is corrupt: the checksum differs")
            if sys.byteorder == "big":
                for array in arrays.values():
                    array.byteswap(inplace=True)
        except BaseException as error:
            _name_file(error, self.path)
            raise

    def is_whole(self, name: str) -> bool:
        """Whether a tensor's checksum holds, and the padding before it is zero."""
        entry = self.tensors[name]
        digest = hashlib.sha256()
        try:
            self._seek(entry)
            for i in range(0, entry.bytes, CHUNK):
                digest.update(self._read(min(CHUNK, entry.bytes - i)))
        except (MalformedError, TruncatedError):
            return False
        return digest.hexdigest() == entry.sha256

    def _fill(self, entry: TensorInfo, array: Array, digest: Digest) -> None:
        self._seek(entry)
        data = _bytes_of(array)
        for i in range(0, entry.bytes, CHUNK):
            chunk = data[i : i + CHUNK]
            self._read_into(chunk)
            digest.update(chunk)

    def _seek(self, entry: TensorInfo) -> None:
        """Go to where a tensor begins, through the padding before it."""
        self._check_padding(self._end_before[entry.name], entry.offset)

    def _check_padding(self, start: int, end: int) -> None:
        self._file.seek(start)
        if any(self._read(end - start)):
            raise MalformedError(f"its padding before byte {end} is not zero")

    def _read(self, length: int) -> bytes:
        data = bytearray(length)
        self._read_into(memoryview(data))
        return bytes(data)

    def _read_into(self, data: memoryview) -> None:
        while data:
            count = self._file.readinto(data)
            if not count:
                raise TruncatedError("it became shorter while it was read")
            data = data[count:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()


def _open_regular(path: Path) -> FileIO:
    # Opening a pipe would wait for somebody to write into it, if it were not for O_NONBLOCK.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAModelFileError(f"{str(path)!r} is not a model file: it is no regular file")
    return FileIO(descriptor)


def _no_magic(head: bytes) -> str:
    if not head:
        return "it is no model file: it is empty"
    mangled = _one_line_ending(head).startswith(_one_line_ending(MAGIC)[:6])
    why = ": a transfer in text mode has changed its line endings" if mangled else ""
    return f"it is no model file: it begins with {head[:8]!r}, not with {MAGIC!r}{why}"


def _one_line_ending(data: bytes) -> bytes:
    return re.sub(rb"[\r\n]+", b"\n", data)


def _check_table(table: object, start: int, length: int) -> dict[str, TensorInfo]:
    """The table as TensorInfos by name, each in its place: no holes, no overlaps, nothing behind.

    Raises MalformedError.
    """
    if not isinstance(table, list) or len(table) > MAX_TENSORS:
        raise MalformedError(f"its table of tensors must be a list of at most {MAX_TENSORS}")
    found: dict[str, TensorInfo] = {}
    offset = end = start
    for row in table:
        entry = _check_entry(row)
        if entry.name in found:
            raise MalformedError(f"it has two tensors called {entry.name!r}")
        if entry.offset != offset:
            raise MalformedError(
                f"its tensor {entry.name!r} begins at {entry.offset}, not {offset}"
            )
        end = _end_of(entry)
        if end > length:
            raise MalformedError(
                f"its tensor {entry.name!r} ends at {end:,}, behind the file's end"
            )
        found[entry.name] = entry
        offset = _aligned(end)
    if end != length:
        raise MalformedError(
            f"it should end with its last tensor at {end:,}, and ends at {length:,}"
        )
    return found


def _check_entry(row: object) -> TensorInfo:
    if not isinstance(row, dict) or row.keys() != _ENTRY_KEYS:
        raise MalformedError(
            f"a row of its table must be an object of {', '.join(sorted(_ENTRY_KEYS))}, "
            f"got {received(row)}"
        )
    name, dtype, shape = row["name"], row["dtype"], row["shape"]
    problem = _name_problem(name)
    if problem:
        raise MalformedError(f"it has a tensor called {received(name)}: the name {problem}")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise MalformedError(
            f"its tensor {name!r} is of dtype {received(dtype)}; there are {', '.join(DTYPES)}"
        )
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(_is_count(size) and size > 0 for size in shape)
    ):
        raise MalformedError(
            f"the shape of its tensor {name!r} must be a list of up to {MAX_DIMENSIONS} positive "
            f"integers, got {received(shape)}"
        )
    if not _is_count(row["offset"]) or not _is_count(row["bytes"]):
        raise MalformedError(f"offset and bytes of its tensor {name!r} must be integers")
    if row["bytes"] != math.prod(shape) * DTYPES[dtype].itemsize:
        raise MalformedError(
            f"its tensor {name!r} of shape {tuple(shape)} and dtype {dtype} says that it takes "
            f"{row['bytes']:,} bytes"
        )
    if not isinstance(row["sha256"], str) or not _HEX.fullmatch(row["sha256"]):
        raise MalformedError(f"the checksum of its tensor {name!r} must be 64 hexadecimal digits")
    return TensorInfo(**{**row, "shape": tuple(shape)})


def _name_problem(name: object) -> str:
    """What keeps ``name`` from being a tensor's; nothing where it can be."""
    if not isinstance(name, str):
        return "must be text"
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if not name.isprintable():
        return "has characters that cannot be printed"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty part, '.' or '..' between its slashes"
    return ""


def _name_file(error: BaseException, path: Path) -> None:
    """Begin the message of what is wrong with a file with the file."""
    if isinstance(error, ModelFileError):
        error.args = (f"{str(path)!r}: {error}",)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# --- both ----------------------------------------------------------------------------------------


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _end_of(entry: TensorInfo) -> int:
    return entry.offset + entry.bytes


def _bytes_of(array: Array) -> memoryview:
    """The memory of a C-ordered array as bytes."""
    return array.reshape(-1).view(np.uint8).data
