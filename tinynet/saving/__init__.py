"""The model file: tinynet's own format, extension ``.tinynet``, version 1.0.

One file holds a header of JSON and tensors of raw numbers. It can be read from this text alone, is
safe to open when it comes from a stranger (no code, no pickle, no paths, no names to import), and
is never half written. ``python -m tinynet.saving FILE`` shows what is in one.

Layout
------

All integers are little-endian and unsigned.

======  ======  ==========================================================================
offset  bytes   content
======  ======  ==========================================================================
0       8       magic number: 89 54 4E 4E 0D 0A 1A 0A, which any transfer in text mode breaks
8       2       major version: 1. A reader refuses every other
10      2       minor version: 0. A greater one only adds keys to the header, to be ignored
12      4       flags: 0. A reader refuses a file with flags that it does not know
16      8       length of the file in bytes
24      8       length of the header in bytes, at most 1 MiB
32      32      SHA-256 of the bytes 0 to 31 followed by the header
64      ...     the header: JSON in UTF-8
...     ...     the tensors, one after another, each at the next multiple of 64
======  ======  ==========================================================================

The bytes between header and tensors, and between tensors, are 0. The file ends with the last
tensor's last byte; without tensors, at the multiple of 64 after the header. So there are no holes
and no overlaps, and a tensor can be mapped into memory where it lies.

The header is one JSON object. No object in it has a key twice; numbers are finite, integers have at
most 20 digits; it is nested at most 64 deep. Its key ``"tensors"`` is a list, in the order of the
file, of objects with just these keys:

======  ==================================================================================
name    text without "", "." or ".." between its slashes and without unprintable characters,
        at most 1,000 long; no two tensors have the same
dtype   "float32", "float64", "int64" or "uint8": little-endian numbers in C order
shape   a list of at most 8 positive integers; [] for a single number
offset  where it begins, from the start of the file
bytes   its size, the product of the shape times that of a number
sha256  the SHA-256 of its bytes, in 64 lower-case hexadecimal digits
======  ==================================================================================

There are at most 10,000 tensors. The digest at offset 32 covers the header, the header holds the
checksum of every tensor, and all other bytes are 0: together they cover every bit of the file. They
tell damage, not forgery: whoever can write a file can write its checksums.

What else the header holds, and what the tensors are called, is the business of the writer:
`tinynet.models.writing`.

An example
----------

EXAMPLE

Reading and writing
-------------------

A reader checks, in this order: that it is a regular file; magic number, version and flags; the
lengths; the digest; the JSON; the whole table of tensors against the file's length; what the header
says, by the rules of what it describes. Only then does it allocate anything. What it refuses is a
`ModelFileError`; nothing else comes of a bad file but what the operating system says (OSError).

A writer writes a temporary file in the same folder, brings it to the disk, gives it its name, and
brings that to the disk too: see `tinynet.saving.replacing`. The same content gives the same bytes.

Every version that was ever released has a file among the tests, which is read for ever.
"""

from tinynet.saving.describe import describe
from tinynet.saving.errors import (
    CorruptError,
    MalformedError,
    MisfitError,
    ModelFileError,
    NewerVersionError,
    NotAModelFileError,
    TruncatedError,
    UnknownLayerError,
)
from tinynet.saving.file import ModelFile, TensorInfo, write
from tinynet.saving.replacing import check_path

__all__ = [
    "CorruptError",
    "MalformedError",
    "MisfitError",
    "ModelFile",
    "ModelFileError",
    "NewerVersionError",
    "NotAModelFileError",
    "TensorInfo",
    "TruncatedError",
    "UnknownLayerError",
    "check_path",
    "describe",
    "write",
]
