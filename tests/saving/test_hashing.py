"""Threads that compute checksums: what they find, what goes wrong in them, and when they end."""

import hashlib
import sys
import time

import numpy as np
import pytest

from tinynet.saving import hashing
from tinynet.saving.hashing import CHUNK, Hashers

LARGE = 8 * CHUNK


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    """Threads wherever the tests run, on one core as well."""
    monkeypatch.setattr(hashing.os, "cpu_count", lambda: 3)


def threads():
    """How many threads compute digests, or wait for something to do."""
    return sum(frame.f_code is hashing._work.__code__ for frame in sys._current_frames().values())


def there_are(count):
    """Whether there are so many, or are within a second."""
    end = time.monotonic() + 1
    while threads() != count and time.monotonic() < end:
        time.sleep(0.001)
    return threads() == count


def test_digests_are_those_of_hashlib():
    rng = np.random.default_rng(0)
    with Hashers(LARGE, 0.5) as hashers:
        assert hashers.are_threads
        contents = [rng.bytes(size) for size in (3 * CHUNK, 2 * CHUNK, CHUNK + 1, 1, 0, CHUNK)]
        digests = [hashers.digest(len(content)) for content in contents]
        for i in range(0, 3 * CHUNK, CHUNK):  # chunks of all of them in turn
            for content, digest in zip(contents, digests, strict=True):
                digest.update(memoryview(content)[i : i + CHUNK])
        for content, digest in zip(contents, digests, strict=True):
            assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


def test_little_needs_no_threads():
    assert there_are(0)
    with Hashers(CHUNK, 0.5) as hashers:
        assert not hashers.are_threads
        assert threads() == 0
        digest = hashers.digest(3)
        digest.update(memoryview(b"abc"))
        assert digest.hexdigest() == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_threads_end_with_the_block_and_leave_what_they_have_not_begun(error):
    content = memoryview(bytes(CHUNK))
    began = time.perf_counter()
    try:
        with Hashers(LARGE, 0.5) as hashers:
            assert there_are(2)
            digest = hashers.digest(LARGE)
            for _ in range(10_000):  # 10 GB, which takes seconds
                digest.update(content)
            if error is not None:
                raise error
    except KeyboardInterrupt:
        pass
    assert time.perf_counter() - began < 1
    assert there_are(0)


def test_what_goes_wrong_in_a_thread_is_raised_where_the_digest_is_asked_for():
    with Hashers(LARGE, 0.5) as hashers:
        wrong, right = hashers.digest(LARGE), hashers.digest(LARGE)
        wrong.update("text has no bytes")
        right.update(memoryview(b"abc"))
        with pytest.raises(TypeError, match="encoded"):
            wrong.hexdigest()
        assert right.hexdigest() == hashlib.sha256(b"abc").hexdigest()
        again = hashers.digest(0)  # in the thread where it went wrong
        again.update(memoryview(b"abc"))
        assert again.hexdigest() == hashlib.sha256(b"abc").hexdigest()
