"""Threads that share the tasks of a kernel out among themselves.

A kernel that is worth several threads cuts its work into tasks, 0 to count - 1, which can be done
in any order, and calls ``share(pool, count, task, arguments)``. It does the same as

    for number in range(count):
        task(number, *arguments)

but each thread has a share of the numbers, of two threads the first or the second half, and
takes what others have left when it is done with its own. So the same thread mostly works on the
same part of the arrays, which it then finds in its cache. But nobody can rely on it: a task writes
to what no other task touches, and the results have the same bits for any number of threads.

How it works. A pool is a few integers in memory. The caller writes down, for each thread in a place
of its own, what the task is, and then the number of this launch, its generation. A worker sees that
change in its own place and takes numbers of its share, one at a time: another integer, one for each
share, says how many are left and of which generation; as long as it tells of an earlier one, nobody
has taken any. Who is done with its own share takes from the others'. Who finishes last of all lets
the caller go on. A worker that has nothing to do looks for a new generation for some microseconds,
in which the next kernel most likely comes, and then sleeps on a lock of Python's, which (unlike
Python's objects) works without the interpreter lock.

What one core has written, another waits for, 30 to 400 nanoseconds on an EPYC, and who writes next
waits again. So a worker finds all that it has to know in the one cache line that it looks at; what
is left of a share is written by who takes from it, not by the caller (but for its own share); and
the caller is at its first task before anything has arrived.

Nobody waits for a worker that does not come: if another program has its core, the caller does the
tasks alone. It waits for those that were begun, though, and with another program at work a worker
may lose its core in the middle of one: a step then takes about twice as long. A caller that finds
the pool in use, by another Python thread or by the kernel of which it is a task, does all tasks by
itself, and so does one with more than a million.

numba's own ``parallel=True`` was here before. It takes 8 microseconds a call, where this takes 1, a
second more to compile each kernel, must not be entered by two Python threads, and does not
survive a fork.
"""

import atexit
import ctypes
import os
import threading
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock

from tinynet.kernels import atomics, denormals
from tinynet.kernels.jit import ONE, ZERO, cached, config, jit
from tinynet.kernels.outline import compiled_for, emit_named_call
from tinynet.kernels.thread_count import MOST_THREADS, on_change
from tinynet.kernels.thread_count import get_num_threads as get_num_threads
from tinynet.kernels.thread_count import set_num_threads as set_num_threads
from tinynet.kernels.vectors import cgutils, intrinsic

# Where in a pool's memory each integer is, in bytes. Those that different threads write to at
# every launch lie in different cache lines.
_BUSY, _GENERATION = 0, 8  # whether some caller has the pool, and the number of the last launch
_THREADS = 16  # how many shares to make
_ACQUIRE, _RELEASE = 128, 136  # where in the process the two functions for locks are,
_TOGETHER = 144  # and the one that shares tasks out;
_ACQUIRE_TIMED, _CLOSED = 152, 160  # one that waits for a lock for a time, and the lock for `wait`
_DONE, _FAILED = 256, 264  # tasks that are finished, of all generations; that ended in an error
_MEMBERS = 384  # the caller's integers, and each worker's:
_ASLEEP, _LOCK = 0, 8  # whether it sleeps, and on which lock
_CALL = 128  # the generation, and in the last 9 bits the number of shares; then the task,
_ENTRY, _ARGUMENTS, _COUNT = 136, 144, 152  # how many there are,
_ALL_DONE = 160  # and what _DONE is once all are finished
_LEFT = 256  # the generation, and in the last 20 bits how many of the share are left
_MEMBER_BYTES = 384
_LINE_BYTES = 128  # twice what a line has: neighbours are often fetched in pairs

# Above 20 bits a generation has 43: launches of a microsecond each would do for a hundred days.
_SHARES_BITS, _LEFT_BITS = 9, 20
_MOST_TASKS = (1 << _LEFT_BITS) - 1
_STOP = -1  # a count of tasks that ends the workers

# How often a worker looks for work before it sleeps: some 100 microseconds on x86. A step of
# training comes back sooner than that, and waking a sleeper takes 5 to 50 microseconds.
_LOOKS = 4000
_NAP = 50  # microseconds


@jit()
def _member(pool: int, thread: int) -> int:
    return pool + _MEMBERS + thread * _MEMBER_BYTES


@jit()
def _sleep(pool: int, member: int, word: int, value: int) -> None:
    """Sleep until `_wake`, unless the integer at ``word`` is no longer ``value``."""
    atomics.store(member + _ASLEEP, 1)
    # Looked at only now: a waker that came earlier has changed the word before it found nobody
    # asleep. One that comes later finds the sleeper, and opens the lock. (So it is where the word
    # was changed by `add` or `store`. After `publish` a sleeper may be missed: see `_start`.)
    if atomics.load(word) != value and atomics.replace(member + _ASLEEP, 1, 0):
        return
    atomics.call(atomics.load(pool + _ACQUIRE), atomics.load(member + _LOCK), 1)


@jit()
def _wake(pool: int, member: int) -> None:
    if atomics.load(member + _ASLEEP) and atomics.replace(member + _ASLEEP, 1, 0):
        atomics.call(atomics.load(pool + _RELEASE), atomics.load(member + _LOCK), 0)


@jit()
def wait(pool: int, looks: int) -> None:
    """What a task does that has looked so often for what another one is to leave.

    After a while it naps: another program may have the core of the other's thread, and this one's
    is then the only one left for it. (Naps are waiting for a lock that nobody opens.)
    """
    if looks > _LOOKS and pool != 0:
        atomics.call3(atomics.load(pool + _ACQUIRE_TIMED), atomics.load(pool + _CLOSED), _NAP, 0)
    atomics.pause()


@jit()
def _share_start(count: int, shares: int, share: int) -> int:
    return count * share // shares


@jit()
def _left_of(seen: int, generation: int, size: int) -> int:
    """How many of a share of this size are left, from the integer at `_LEFT`.

    All are, if it tells of an earlier generation: nobody has taken any of this one. None is left if
    it tells of a later one: then this one is over.
    """
    of = seen >> _LEFT_BITS
    if of == generation:
        return seen & _MOST_TASKS
    return size if of < generation else 0


@jit()
def _take_tasks(pool: int, call: int, thread: int, finished: int) -> None:
    """Do tasks of this generation as long as there are any, those of the own share first.

    call: as at `_CALL`.
    finished: how many this thread has done already, which are not yet added to `_DONE`.
    """
    generation, shares = call >> _SHARES_BITS, call & ((1 << _SHARES_BITS) - 1)
    own = _member(pool, thread)
    entry, arguments = atomics.load(own + _ENTRY), atomics.load(own + _ARGUMENTS)
    count, all_done = atomics.load(own + _COUNT), atomics.load(own + _ALL_DONE)
    for i in range(shares):
        share = (thread + i) % shares
        left_at = _member(pool, share) + _LEFT
        end = _share_start(count, shares, share + 1)
        size = end - _share_start(count, shares, share)
        while True:
            seen = atomics.load(left_at)
            left = _left_of(seen, generation, size)
            if left == 0:
                break
            # If this succeeds, a number was left. So the generation is not over, and what was read
            # above belongs to it. (A worker that comes late may have read half of what the next
            # generation is about. But how many shares its own had, it read together with the
            # number, and of none of them anything is left.)
            if atomics.replace(left_at, seen, generation << _LEFT_BITS | left - 1):
                if atomics.call(entry, arguments, end - left):
                    atomics.add(pool + _FAILED, 1)
                finished += 1
        # Said before looking at the next share, which takes a while to come from another core.
        if finished > 0 and atomics.add(pool + _DONE, finished) == all_done:
            _wake(pool, _member(pool, ZERO))
        finished = 0


@jit(from_python=True)
def _work(pool: int, thread: int) -> None:
    """What a worker does, all its life."""
    member = _member(pool, thread)
    done = looks = 0
    denormals.flush_denormals()
    while True:
        call = atomics.load(member + _CALL)
        if call == done:
            looks += 1
            if looks > _LOOKS:
                _sleep(pool, member, member + _CALL, call)
                looks = 0
            atomics.pause()
            continue
        done, looks = call, 0
        if atomics.load(member + _COUNT) == _STOP:
            return
        _take_tasks(pool, call, thread, ZERO)


@jit()
def _start(pool: int, entry: int, arguments: int, count: int, shares: int) -> int:
    """Begin a new generation and wake the workers that it needs; returns what is at `_CALL` then.

    The caller has the first task of its share already.
    """
    generation = atomics.load(pool + _GENERATION) + 1
    call = generation << _SHARES_BITS | shares
    atomics.publish(pool + _GENERATION, generation)
    all_done = atomics.load(pool + _DONE) + count
    own = _share_start(count, shares, ONE) - 1
    # Before the first call: no worker may find the caller's share untouched.
    atomics.publish(_member(pool, ZERO) + _LEFT, generation << _LEFT_BITS | own)
    for thread in range(shares):
        member = _member(pool, thread)
        atomics.publish(member + _ENTRY, entry)
        atomics.publish(member + _ARGUMENTS, arguments)
        atomics.publish(member + _COUNT, count)
        atomics.publish(member + _ALL_DONE, all_done)
        atomics.publish(member + _CALL, call)
    # One that is about to sleep may neither see the new generation nor be seen to sleep. It comes
    # to the next launch that has a share for it then: waiting here until all have seen what was
    # written costs every launch.
    for thread in range(1, shares):
        _wake(pool, _member(pool, thread))
    return call


@jit()
def _alone(entry: int, arguments: int, count: int) -> int:
    """All tasks, by this thread; returns how many failed."""
    before = denormals.flush_denormals()
    failed = 0
    for number in range(count):
        failed += atomics.call(entry, arguments, number)
    denormals.restore(before)
    return failed


def _together(pool: int, entry: int, arguments: int, count: int) -> int:
    """All tasks, by this thread and those of the pool; returns how many failed."""
    if not 2 <= count <= _MOST_TASKS or not atomics.replace(pool + _BUSY, 0, 1):
        return _alone(entry, arguments, count)
    before = denormals.flush_denormals()
    # No share is empty: so all of them tell of this generation when it is over, see `_take_tasks`.
    shares = min(count, atomics.load(pool + _THREADS))
    call = _start(pool, entry, arguments, count, shares)
    if atomics.call(entry, arguments, 0):
        atomics.add(pool + _FAILED, 1)
    _take_tasks(pool, call, ZERO, ONE)
    all_done = atomics.load(_member(pool, ZERO) + _ALL_DONE)
    looks = 0
    done = atomics.load(pool + _DONE)
    while done < all_done:
        looks += 1
        if looks > _LOOKS:
            _sleep(pool, _member(pool, ZERO), pool + _DONE, done)
        atomics.pause()
        done = atomics.load(pool + _DONE)
    failed = atomics.load(pool + _FAILED)
    if failed > 0:
        atomics.store(pool + _FAILED, 0)
    atomics.publish(pool + _BUSY, 0)
    denormals.restore(before)
    return failed


# Compiled once, and called through an address in the pool's memory: as a part of each of the twenty
# kernels that a CNN is trained with, it took a tenth of a second to compile with each.
@cache
def _compiled_together() -> Any:
    word = types.int64
    return cached(numba.cfunc, word(word, word, word, word), error_model="numpy")(_together)


@jit()
def _run(pool: int, entry: int, arguments: int, count: int) -> int:
    """`_together`, or `_alone` where there is no pool."""
    if pool == 0:
        return _alone(entry, arguments, count)
    return atomics.call4(atomics.load(pool + _TOGETHER), pool, entry, arguments, count)


@jit(from_python=True)
def _end(pool: int, workers: int) -> None:
    """Wait until no kernel uses the pool, and end the workers; later calls do all tasks alone."""
    while not atomics.replace(pool + _BUSY, 0, 1):
        atomics.pause()
    call = atomics.load(pool + _GENERATION) + 1 << _SHARES_BITS
    for thread in range(1, workers + 1):
        member = _member(pool, thread)
        atomics.publish(member + _COUNT, _STOP)
        atomics.store(member + _CALL, call)
        _wake(pool, member)


@intrinsic
def _compiled_share(typingctx: Any, pool: Any, count: Any, task: Any, arguments: Any) -> Any:
    """`_run` for a compiled function ``task``: the entry that it is called by, and the call.

    The arguments are put into memory as they are; the entry takes them out again and calls the
    task, whatever their types.
    """
    compiled = compiled_for(typingctx, task, (types.int64, *arguments.types))
    run_signature = types.int64(*[types.int64] * 4)
    run: Any = _run
    run_compiled = compiled_for(typingctx, run._numba_type_, run_signature.args)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        pool, count, _, packed = values
        context.active_code_library.add_linking_library(run_compiled.library)
        word = ir.IntType(64)
        entry = _entry(context, builder.module, task, compiled, packed.type)
        memory = cgutils.alloca_once_value(builder, packed)
        call = pool, builder.ptrtoint(entry, word), builder.ptrtoint(memory, word), count
        _, failed = context.call_internal_no_propagate(
            builder, run_compiled.fndesc, run_signature, call
        )
        with builder.if_then(builder.icmp_signed("!=", failed, word(0)), likely=False):
            message = (f"a task of a kernel failed: {task.dispatcher.py_func.__qualname__}",)
            context.call_conv.return_user_exc(builder, RuntimeError, message)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, task, arguments), generate


def _entry(
    context: Any, module: ir.Module, task: Any, compiled: Any, packed: ir.Type
) -> ir.Function:
    """A C function int64 (arguments, number) that calls a compiled task."""
    word = ir.IntType(64)
    name = f"{compiled.fndesc.mangled_name}.entry"
    if name in module.globals:
        return module.globals[name]
    entry = ir.Function(module, ir.FunctionType(word, [word] * 2), name)
    entry.linkage = "internal"
    builder = ir.IRBuilder(entry.append_basic_block())
    memory, number = entry.args
    values = builder.load(builder.inttoptr(memory, packed.as_pointer()))
    unpacked = [builder.extract_value(values, i) for i in range(len(packed.elements))]
    failed = emit_named_call(context, builder, task, compiled, [number, *unpacked])
    builder.ret(builder.zext(failed, word))
    return entry


# --- the pool of this process --------------------------------------------------------------------


class _Pool:
    """The memory that the threads look at, the locks they sleep on, and the workers."""

    def __init__(self) -> None:
        size = _MEMBERS + MOST_THREADS * _MEMBER_BYTES
        memory = np.zeros((size + _LINE_BYTES) // 8, np.int64)
        start = -memory.ctypes.data % _LINE_BYTES
        self._words = memory[start // 8 :]
        self.address: int = self._words.ctypes.data
        # Never freed: a thread that the end of Python meets in a kernel may still look at it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
        self._workers: list[threading.Thread] = []
        for at, function in (
            (_ACQUIRE, ctypes.pythonapi.PyThread_acquire_lock),
            (_RELEASE, ctypes.pythonapi.PyThread_release_lock),
            (_ACQUIRE_TIMED, ctypes.pythonapi.PyThread_acquire_lock_timed),
        ):
            self._words[at // 8] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self._words[_TOGETHER // 8] = _compiled_together().address
        self._words[_CLOSED // 8] = self._closed_lock()
        self._make_lock(0)

    def _make_lock(self, thread: int) -> None:
        self._words[(_MEMBERS + thread * _MEMBER_BYTES + _LOCK) // 8] = self._closed_lock()

    def _closed_lock(self) -> int:
        """A lock on which a thread sleeps until somebody opens it."""
        allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThread_allocate_lock", ctypes.pythonapi))
        acquire = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(
            ("PyThread_acquire_lock", ctypes.pythonapi)
        )
        lock: int = allocate()
        acquire(lock, 1)  # who acquires it again sleeps
        return lock

    def use(self, threads: int) -> None:
        """Have this many threads, the caller's among them, or as many as can be had."""
        if threads > 1:
            # Not left to the workers: a fork meanwhile would copy numba's lock, closed for good.
            work: Any = _work
            work.compile((types.int64, types.int64))
        for thread in range(len(self._workers) + 1, threads):
            self._make_lock(thread)
            worker = threading.Thread(
                target=_work, args=(self.address, thread), name=f"tinynet {thread}", daemon=True
            )
            self._workers.append(worker)  # before it starts: Ctrl-C may come while it does
            try:
                worker.start()
            except RuntimeError:  # the system has no more, or Python is about to end
                self._workers.pop()
                break
        self._words[_THREADS // 8] = min(threads, len(self._workers) + 1)

    def stop(self) -> None:
        """End the workers: once the interpreter is gone, nothing may run any more."""
        if self._workers:
            _end(self.address, len(self._workers))
        for worker in self._workers:
            if worker.is_alive():
                worker.join()
        self._workers.clear()


compiler_lock: Any = global_compiler_lock

_pool: _Pool | None = None
_threads = get_num_threads()
_changing = threading.Lock()


def _use(threads: int) -> None:
    global _threads
    with _changing:
        _threads = threads
        if _pool is not None:
            _pool.use(threads)


on_change.append(_use)


def _make_pool() -> _Pool:
    global _pool
    with _changing:
        if _pool is None:
            pool = _Pool()
            pool.use(_threads)
            _pool = pool
        return _pool


def _after_fork() -> None:
    """A forked process has none of the threads, and makes its own when it needs them.

    It must not use the pool it has from its parent, where a launch may have been half done.
    """
    global _pool, _changing
    _pool, _changing = None, threading.Lock()
    for tell in on_change:  # some know the pool
        tell(_threads)
    compiler_lock.release()


def _at_exit() -> None:
    global _threads
    _threads = 1
    with _changing:
        if _pool is not None:
            _pool.stop()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    # A thread that compiles meanwhile would leave numba's lock closed in the new process.
    os.register_at_fork(
        before=compiler_lock.acquire,
        after_in_parent=compiler_lock.release,
        after_in_child=_after_fork,
    )

# Multiply-adds. Below this, handing the work over takes as long as the others save.
_WORTH_THREADS = 200_000


def pool_for(operations: int) -> int:
    """What `share` takes: the pool, or 0 where work of so many multiply-adds needs no threads."""
    if operations < _WORTH_THREADS or _threads == 1 or config.DISABLE_JIT:
        return 0
    return (_pool or _make_pool()).address


@jit()
def threads_of(pool: int) -> int:
    """Among how many threads `share` shares tasks out."""
    return atomics.load(pool + _THREADS) if pool != 0 else 1


def _share_in_python(pool: int, count: int, task: Any, arguments: tuple[Any, ...]) -> None:
    for number in range(count):
        task(number, *arguments)


share: Any = _share_in_python if config.DISABLE_JIT else _compiled_share
"""``share(pool, count, task, arguments)`` does the tasks, as the head of this file says."""


# --- one pass over long arrays -------------------------------------------------------------------

_BLOCK = 4096


@jit()
def blocks(x: Any) -> int:
    """How many blocks an array of one dimension is cut into."""
    return -(-len(x) // _BLOCK)


@jit()
def block_slice(block: int) -> slice:
    """Which entries a block has.

    A loop over a slice, from 0, is vectorized; one over the whole array, from one index to
    another, is not.
    """
    return slice(block * _BLOCK, (block + 1) * _BLOCK)
