"""Checksums of tensors, computed by other threads and by this one, while it reads or writes."""

import hashlib
import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Self

CHUNK = 1 << 20  # bytes that are hashed while the next ones are on their way
MAX_THREADS = 4  # this one among them

# What this thread does beside hashing, in bytes that it could have hashed meanwhile, of each byte:
# reading takes about a third of that time; writing takes as much with the wait for the disk.
READING, WRITING = 0.36, 1.0

DIGEST_BYTES = hashlib.sha256().digest_size


class Digest:
    """A SHA-256 of what comes chunk by chunk. Nobody may write to a chunk before `hexdigest`."""

    def __init__(self, thread: Executor | None) -> None:
        self._digest = hashlib.sha256()
        self._thread = thread
        self._last: Future[None] | None = None

    def update(self, chunk: memoryview) -> None:
        """Take in a chunk: in the thread, behind those before it, or here where there is none."""
        if self._thread is None:
            self._digest.update(chunk)
        else:
            self._last = self._thread.submit(self._digest.update, chunk)

    def hexdigest(self) -> str:
        """The digest of all chunks, in hexadecimal digits."""
        if self._last is not None:
            self._last.result()
        return self._digest.hexdigest()


class Hashers:
    """Threads for the digests of tensors of ``total`` bytes; only this one where those are few.

    A digest is the work of one thread, and each goes to the one that has the least to do. There
    are as many as cores, and not one more, which would keep this one from reading.
    """

    def __init__(self, total: int, own_work: float) -> None:
        count = min(MAX_THREADS, os.cpu_count() or 1) - 1 if total >= 4 * CHUNK else 0
        self._threads = [ThreadPoolExecutor(1) for _ in range(count)]
        self._bytes = [own_work * total, *[0.0] * count]  # this one first

    @property
    def are_threads(self) -> bool:
        """Whether other threads do the work, so that this one can do something else."""
        return bool(self._threads)

    def digest(self, size: int) -> Digest:
        """A new digest, for a tensor of so many bytes."""
        idlest = self._bytes.index(min(self._bytes))
        self._bytes[idlest] += size
        return Digest(self._threads[idlest - 1] if idlest else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the threads, without what they have not begun yet."""
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)
