"""Model files taken apart, changed, and sealed again: for tests of what a reader refuses.

Whoever can write a file can write its checksums. So a test of a rule changes a file and then makes
all checksums right again; otherwise it would test the checksums.
"""

import hashlib
import json
import struct

import numpy as np

from tinynet import saving

PRELUDE = struct.Struct("<8sHHIQQ")
MAGIC = b"\x89TNN\r\n\x1a\n"
START = 64  # of the header


def aligned(offset):
    return -(-offset // 64) * 64


def checksum(data):
    return hashlib.sha256(data).hexdigest()


def seal(text, tail=b"", *, magic=MAGIC, version=(1, 0), flags=0, length=None, size=None, gap=None):
    """A file of the header ``text`` and of ``tail`` behind it: all is right but what is given."""
    end = START + len(text)
    gap = bytes(aligned(end) - end) if gap is None else gap
    size = len(text) if size is None else size
    length = end + len(gap) + len(tail) if length is None else length
    prelude = PRELUDE.pack(magic, *version, flags, length, size)
    return prelude + hashlib.sha256(prelude + text).digest() + text + gap + tail


def entry(name="x", dtype="float32", shape=(3,), offset=0, content=bytes(12), **other):
    """A row of the table of tensors."""
    row = {"name": name, "dtype": dtype, "shape": list(shape), "offset": offset}
    return row | {"bytes": len(content), "sha256": checksum(content)} | other


def table_file(rows, tail, **header):
    """A file with this table, whose offsets count from where the tensors begin, and this tail."""
    start = 0
    while True:
        moved = [
            row | {"offset": row["offset"] + start} if type(row.get("offset")) is int else row
            for row in rows
        ]
        text = json.dumps({**header, "tensors": moved}).encode()
        if aligned(START + len(text)) == start:
            return seal(text, tail)
        start = aligned(START + len(text))


def parts(data):
    """The text of the header, and everything behind it and its padding."""
    size = PRELUDE.unpack_from(data)[-1]
    return data[START : START + size], data[aligned(START + size) :]


def put(path, data):
    """Write a file over the one that is there, without emptying it first, which takes long."""
    with open(path, "r+b" if path.exists() else "xb") as file:
        file.write(data)
        file.truncate()


def change(path, edit):
    """Let ``edit(header, arrays)`` change what is in a file, and write that as if it were so."""
    with saving.ModelFile(path) as file:
        header = file.header
        arrays = {name: file.read(name) for name in file.tensors}
    edit(header, arrays)
    saving.write(path, header, arrays)


def write_text(path, edit):
    """Let ``edit(header)`` return the text of a header, and seal that with the tensors there are.

    Offsets are moved to where the tensors then begin.
    """
    text, tail = parts(path.read_bytes())
    header = json.loads(text)
    before = header["tensors"][0]["offset"] if header["tensors"] else 0
    start = before
    while True:
        moved = [row | {"offset": row["offset"] - before + start} for row in header["tensors"]]
        text = edit(header | {"tensors": moved})
        if aligned(START + len(text)) == start or not header["tensors"]:
            path.write_bytes(seal(text, tail))
            return
        start = aligned(START + len(text))


def small_arrays():
    rng = np.random.default_rng(0)
    return {
        "a": rng.standard_normal((3, 5)).astype("float32"),
        "b/c": rng.standard_normal(2),
        "d": np.array(-7),
        "e": np.arange(100, dtype="uint8"),
    }
