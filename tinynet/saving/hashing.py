"""Checksums of tensors, computed by other threads and by this one, while it reads or writes."""

import _thread
import hashlib
import os
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Self

CHUNK = 1 << 20  # bytes that are hashed while the next ones are on their way
MAX_THREADS = 4  # this one among them

# What this thread does beside hashing, in bytes that it could have hashed meanwhile, of each byte:
# reading takes about a third of that time; writing takes as much with the wait for the disk.
READING, WRITING = 0.36, 1.0

DIGEST_BYTES = hashlib.sha256().digest_size

Task = tuple["Digest", memoryview | None] | None


class Digest:
    """A SHA-256 of what comes chunk by chunk. Nobody may write to a chunk before `hexdigest`."""

    def __init__(self, tasks: SimpleQueue[Task] | None) -> None:
        self._digest = hashlib.sha256()
        self._tasks = tasks
        self._done: SimpleQueue[None] = SimpleQueue()
        self._error: BaseException | None = None

    def update(self, chunk: memoryview) -> None:
        """Take in a chunk: in the thread, behind those before it, or here where there is none."""
        if self._tasks is None:
            self._digest.update(chunk)
        else:
            self._tasks.put((self, chunk))

    def take_in(self, chunk: memoryview | None) -> None:
        """What the thread does with a chunk, and with None, which stands for the end."""
        if chunk is None:
            self._done.put(None)
        else:
            try:
                self._digest.update(chunk)
            except BaseException as error:  # which would end the thread, and nobody would know
                self._error = error

    def hexdigest(self) -> str:
        """The digest of all chunks, in hexadecimal digits."""
        if self._tasks is not None:
            self._tasks.put((self, None))
            self._done.get()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()


def _work(tasks: SimpleQueue[Task]) -> None:
    """What a thread does, until it finds None among its tasks."""
    while task := tasks.get():
        digest, chunk = task
        digest.take_in(chunk)
        del task, digest, chunk  # which are not to live until the next ones come


class Hashers:
    """Threads for the digests of tensors of ``total`` bytes; only this one where those are few.

    A digest is the work of one thread, and each goes to the one that has the least to do. There
    are as many as cores, and not one more, which would keep this one from reading.

    Ctrl-C can come between any two instructions of Python, and the locks of `threading` and
    `concurrent.futures` are written in Python: one that was just taken may stay so for good, and
    whoever waits for it, too. Starting a thread and the steps of a SimpleQueue are one instruction.
    """

    def __init__(self, total: int, own_work: float) -> None:
        count = min(MAX_THREADS, os.cpu_count() or 1) - 1 if total >= 4 * CHUNK else 0
        self._tasks: list[SimpleQueue[Task]] = [SimpleQueue() for _ in range(count)]
        self._bytes = [own_work * total, *[0.0] * count]  # this one first
        for tasks in self._tasks:
            _thread.start_new_thread(_work, (tasks,))

    @property
    def are_threads(self) -> bool:
        """Whether other threads do the work, so that this one can do something else."""
        return bool(self._tasks)

    def digest(self, size: int) -> Digest:
        """A new digest, for a tensor of so many bytes."""
        idlest = self._bytes.index(min(self._bytes))
        self._bytes[idlest] += size
        return Digest(self._tasks[idlest - 1] if idlest else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the threads, without what they have not begun yet."""
        for tasks in self._tasks:
            with suppress(Empty):
                while True:
                    tasks.get_nowait()
            tasks.put(None)
