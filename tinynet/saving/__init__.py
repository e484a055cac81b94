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

A file of two tensors, 456 bytes long, which

    write("example.tinynet", {"kind": "example"},
          {"x": np.array([[1, -2]], "float32"), "n": np.array(3, "int64")})

writes. At the left are offsets; the header stands beside its bytes:

    0000  89 54 4e 4e 0d 0a 1a 0a                          magic number
    0008  01 00 00 00                                      version 1.0
    000c  00 00 00 00                                      flags
    0010  c8 01 00 00 00 00 00 00                          length of the file: 456
    0018  39 01 00 00 00 00 00 00                          length of the header: 313
    0020  98 0f fd 00 22 6f 3f bd b2 af bc 16 da f3 56 22  SHA-256 of the bytes 0 to 31
    0030  e4 ce e5 d9 6e b6 34 f1 d5 bd 69 6e 6e 88 02 a1  and of the header
    0040  7b 22 6b 69 6e 64 22 3a 22 65 78 61 6d 70 6c 65  |{"kind":"example|
    0050  22 2c 22 74 65 6e 73 6f 72 73 22 3a 5b 7b 22 6e  |","tensors":[{"n|
    0060  61 6d 65 22 3a 22 78 22 2c 22 64 74 79 70 65 22  |ame":"x","dtype"|
    0070  3a 22 66 6c 6f 61 74 33 32 22 2c 22 73 68 61 70  |:"float32","shap|
    0080  65 22 3a 5b 31 2c 32 5d 2c 22 6f 66 66 73 65 74  |e":[1,2],"offset|
    0090  22 3a 33 38 34 2c 22 62 79 74 65 73 22 3a 38 2c  |":384,"bytes":8,|
    00a0  22 73 68 61 32 35 36 22 3a 22 65 65 34 61 63 37  |"sha256":"ee4ac7|
    00b0  33 63 32 62 64 32 37 37 35 36 61 62 38 32 37 38  |3c2bd27756ab8278|
    00c0  30 66 32 37 63 37 33 61 37 62 63 34 64 33 66 30  |0f27c73a7bc4d3f0|
    00d0  62 62 36 61 63 62 33 37 65 30 30 38 62 63 32 37  |bb6acb37e008bc27|
    00e0  65 63 63 64 37 65 35 38 38 62 22 7d 2c 7b 22 6e  |eccd7e588b"},{"n|
    00f0  61 6d 65 22 3a 22 6e 22 2c 22 64 74 79 70 65 22  |ame":"n","dtype"|
    0100  3a 22 69 6e 74 36 34 22 2c 22 73 68 61 70 65 22  |:"int64","shape"|
    0110  3a 5b 5d 2c 22 6f 66 66 73 65 74 22 3a 34 34 38  |:[],"offset":448|
    0120  2c 22 62 79 74 65 73 22 3a 38 2c 22 73 68 61 32  |,"bytes":8,"sha2|
    0130  35 36 22 3a 22 33 35 62 65 33 32 32 64 30 39 34  |56":"35be322d094|
    0140  66 39 64 31 35 34 61 38 61 62 61 34 37 33 33 62  |f9d154a8aba4733b|
    0150  38 34 39 37 66 31 38 30 33 35 33 62 64 37 61 65  |8497f180353bd7ae|
    0160  37 62 30 61 31 35 66 39 30 62 35 38 36 62 35 34  |7b0a15f90b586b54|
    0170  39 66 32 38 62 22 7d 5d 7d                       |9f28b"}]}|
    0179  00 00 00 00 00 00 00                             padding
    0180  00 00 80 3f 00 00 00 c0                          x: 1.0 and -2.0
    0188  00 00 00 00 00 00 00 00                          padding
    0190  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    01a0  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    01b0  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    01c0  03 00 00 00 00 00 00 00                          n: 3


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
from tinynet.saving.replacing import check_folder, check_path

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
    "check_folder",
    "check_path",
    "describe",
    "write",
]
