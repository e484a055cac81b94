"""Steps that have nothing to do with each other, each played by one thread alone.

A step of training begins with the weights that the one before has left. In a prediction each batch
is for itself, and the threads need not share out the work of every kernel, and wait for each other
after each: they can share out the batches. So the program of a step (see `program`) is there once
for each thread, with arrays of its own for everything between the input and the result, and with
kernels told that there is nobody to help. Each thread takes the next step that no one has taken:

    thread 0    step 0 ------- | step 2 --------- | step 3 ------- | step 5 ---
    thread 1    step 1 ------------ | step 4 ----------- ...

An evaluation adds up losses and hits over the batches, and sums have to be taken in order to have
the same bits each time. So what comes after `recording.in_order` (+) is put off until the step
before has done it. Meanwhile the thread goes on with its next step, on another set of the arrays
that are needed then (losses, predictions):

    thread 0    step 0 -------+ | step 2 --------- | step 3 ------- ++ | step 5 ---
    thread 1    step 1 ------------- + | step 4 ------------ + ...

What it bought: mlp-128 predicts 10,000 images in 9.4 milliseconds instead of 11.5, and, where
one core is slower than the other, in two thirds of the time. Putting off what is in order instead
of waiting takes 4 to 7% from an evaluation. And who has to wait for long naps: with another program
at work, plays of 0.7 milliseconds took up to 150, and 13 since.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels import atomics
from tinynet.kernels.jit import ZERO, jit
from tinynet.kernels.program import Program, Words, feed, feeds_of, make_calls
from tinynet.kernels.recording import Call, Recording
from tinynet.kernels.thread_count import get_num_threads, processors
from tinynet.kernels.threads import pool_for, share, wait

# What the steps of all threads work on may be so large together. With larger batches it is left to
# the kernels to share out their work, which is then enough.
_MOST_BYTES = 1 << 26

_PAGE = 4096

# How many steps of a thread are under way before it waits for those of the others.
_SETS = 4

# In the memory that the players look at, in bytes, each in a cache line of its own: which step is
# the next to be taken, whose turn it is to go on in order, and whether a kernel failed.
_NEXT, _TURN, _FAILED = 0, 128, 256
_BYTES = 384


def players_of(recording: Recording, shared: Iterable[NDArray[Any]]) -> "Program | None":
    """As `program.program_of`, for steps that may be done at the same time.

    shared: arrays that all steps read, such as weights, and those that `inputs` are parts of. All
        other arrays of the calls before `in_order` are the step's own.
    """
    if not (recording.complete and recording.calls):
        return None
    own = own_arrays(recording, shared)
    size = sum(array.nbytes for array in own.values())
    count = min(get_num_threads(), processors())
    if count == 1 or recording.fills or size * count > _MOST_BYTES:
        return Program(recording)
    return Players(recording, own, count)


def own_arrays(recording: Recording, shared: Iterable[NDArray[Any]]) -> dict[int, NDArray[Any]]:
    """By identity, those that have the memory of what is neither shared nor only used in order."""
    common = {id(_owner(array)) for array in shared}
    owners = _owners(recording.calls[: recording.apart])
    return {key: owner for key, owner in owners.items() if key not in common}


class Players(Program):
    """A program for each thread."""

    def __init__(self, recording: Recording, own: dict[int, NDArray[Any]], count: int) -> None:
        super().__init__(recording)
        calls = len(recording.calls)
        self._apart = calls if recording.apart is None else recording.apart
        self._pool = pool_for(1 << 62)
        sets = _SETS if self._apart < calls else 1
        again = _owners(recording.calls[self._apart :]).keys() & own.keys()
        owners = [(at, id(_owner(array))) for at, array in self._arrays]
        own_places = [(at, key) for at, key in owners if key in own]
        places = np.array([at for at, _ in own_places], np.intp)
        alone = np.where(self._words == self._pool, 0, self._words)
        self._own_words = np.tile(alone, (count, sets, 1))
        self._copies = []  # the memory that these words lead to
        for of_thread in self._own_words:
            moves: dict[int, int] = {}
            for words in of_thread:
                copies, moved = _copy({key: own[key] for key in (again if moves else own)})
                self._copies.append(copies)
                moves |= moved
                words[places] += np.array([moves[key] for _, key in own_places], np.int64)
        numbers = np.arange(count * sets).reshape(count, sets, 1)
        moved_words = self._own_words.ctypes.data - self._words.ctypes.data
        self._away = moved_words + self._words.nbytes * numbers  # from the words to those of a set
        self._tables = np.tile(self._table, (count, sets, 1, 1))
        self._tables[..., 1] += self._away

    def play(self, steps: int = 1, inputs: Sequence[tuple[Words, Words]] = ()) -> None:
        """As `Program.play`; what is in the arrays of the recorded step afterwards is left open."""
        count, sets, *_ = self._tables.shape
        if steps < 2 * count:
            super().play(steps, inputs)
            return
        feeds = np.tile(feeds_of(inputs), (count, sets, 1, 1))
        feeds[..., 0] += self._away
        memory = np.zeros(_BYTES // 8, np.int64)
        _play(self._pool, self._tables, feeds, self._apart, steps, memory.ctypes.data)
        if memory[_FAILED // 8]:
            raise RuntimeError("a kernel of a recorded step failed")


def _arrays(arguments: Any) -> Iterator[NDArray[Any]]:
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            yield argument
        elif isinstance(argument, tuple | list):
            yield from _arrays(argument)


def _owner(array: NDArray[Any]) -> NDArray[Any]:
    """The array that has the memory of this one."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _owners(calls: Sequence[Call]) -> dict[int, NDArray[Any]]:
    """By identity, the arrays that have the memory of all those in the calls."""
    owners = [_owner(array) for array in _arrays([call.arguments for call in calls])]
    return {id(owner): owner for owner in owners}


def _copy(arrays: dict[int, NDArray[Any]]) -> tuple[NDArray[np.uint8], dict[int, int]]:
    """Copies of these, each at the same place of a page, and how far away they are."""
    size = sum(array.nbytes + _PAGE for array in arrays.values())
    room = np.empty(size, np.uint8)
    at, moves = room.ctypes.data, {}
    for key, array in arrays.items():
        start = array.ctypes.data
        at += (start - at) % _PAGE
        ctypes.memmove(at, start, array.nbytes)
        moves[key] = at - start
        at += array.nbytes
    return room, moves


@jit(from_python=True)
def _play(
    pool: int, tables: NDArray[np.int64], feeds: NDArray[np.int64], apart: int, steps: int,
    memory: int,
) -> None:  # fmt: skip
    share(pool, len(tables), _player, (pool, tables, feeds, apart, steps, memory))


@jit()
def _player(
    number: int, pool: int, tables: NDArray[np.int64], feeds: NDArray[np.int64], apart: int,
    steps: int, memory: int,
) -> None:  # fmt: skip
    """One step after another, until all are taken; in between, what is in order once it can be."""
    own_tables, own_feeds = tables[number], feeds[number]
    sets, calls, _ = own_tables.shape
    steps_of = np.empty(sets, np.int64)
    begun = ended = failed = looks = 0
    step = atomics.add(memory + _NEXT, 1) - 1
    while step < steps or ended < begun:
        first, free = ended % sets, begun % sets
        if ended < begun and atomics.load(memory + _TURN) == steps_of[first]:
            failed |= make_calls(own_tables[first], apart, calls)
            atomics.store(memory + _TURN, steps_of[first] + 1)
            ended += 1
        elif step < steps and begun - ended < sets:
            feed(own_feeds[free], step)
            failed |= make_calls(own_tables[free], ZERO, apart)
            steps_of[free] = step
            begun += 1
            if apart == calls:
                ended = begun
            step = atomics.add(memory + _NEXT, 1) - 1
        else:
            wait(pool, looks)
            looks += 1
            continue
        looks = 0
    if failed:
        atomics.store(memory + _FAILED, 1)
