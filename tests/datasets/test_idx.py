import struct

import make_sample
import numpy as np
import pytest

from tinynet.datasets import idx


@pytest.mark.parametrize("shape", [(0,), (7,), (3, 2), (2, 28, 28), (1, 2, 3, 4)])
def test_an_array_comes_back_writable_and_in_c_order(shape):
    array = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    data = make_sample.idx_bytes(array)
    parsed = idx.parse(data)
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array, strict=True)
    assert parsed.flags.writeable
    assert parsed.flags.c_contiguous


def test_bytes_written_by_hand():
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 20, 30, 40, 50, 60])
    assert idx.parse(data).tolist() == [[10, 20, 30], [40, 50, 60]]


HEADER = struct.pack(">HBBII", 0, 8, 2, 2, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "got nothing"),
        (b"\x00\x00\x08", "00 00 08 and the number of axes"),
        (b"<html>", "got 3c 68 74 6d"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "got 00 00 0d 01"),
        (b"\x00\x00\x08\x00\x00", "got 00 00 08 00"),
        (HEADER[:-1], "header of 12 bytes for 2 axes, got 11"),
        (HEADER + bytes(5), r"expected 18 bytes .* shape \(2, 3\), got 17"),
        (HEADER + bytes(7), r"expected 18 bytes .* shape \(2, 3\), got 19"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, r"got 16$"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value.replace(" ", "-"),
)
def test_what_is_not_idx_is_refused(data, said):
    with pytest.raises(ValueError, match=said):
        idx.parse(data)
