"""The pool of threads: every task once, the same results whatever goes on, and a clean end."""

import ctypes
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tinynet import kernels
from tinynet.kernels import atomics, compiled, threads
from tinynet.kernels.jit import config, jit
from tinynet.kernels.threads import share

Array = np.ndarray
COUNTS = [1, 2, 3, 8]

# Without compiled code there is nothing for threads to do at the same time.
compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="there is no pool then")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def pool(count: int) -> int:
    threads.set_num_threads(count)
    return threads.pool_for(10**9)


# --- tasks ---------------------------------------------------------------------------------------


@jit()
def _count(number: int, done: Array) -> None:
    done[number] += 1


@jit(from_python=True)
def launch(pool: int, done: Array, times: int) -> None:
    for _ in range(times):
        share(pool, len(done), _count, (done,))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 1000])
def test_every_task_is_done_once(tasks: int, count: int) -> None:
    done = np.zeros(tasks, np.int64)
    for launches in range(1, 5):
        launch(pool(count), done, 1)
        assert_array_equal(done, launches)


@pytest.mark.parametrize("count", COUNTS)
def test_many_launches_in_a_row(count: int) -> None:
    done = np.zeros(11, np.int64)
    launch(pool(count), done, 20_000)
    assert_array_equal(done, 20_000)


@pytest.mark.parametrize("count", COUNTS)
def test_a_pool_that_sleeps_between_launches(count: int) -> None:
    done = np.zeros(11, np.int64)
    for launches in range(1, 6):
        time.sleep(0.05)
        launch(pool(count), done, 1)
        assert_array_equal(done, launches)


def test_one_pool_grows_and_shrinks() -> None:
    done = np.zeros(11, np.int64)
    for count in (2, 8, 3, 1, 8, 2) * 5:
        launch(pool(count), done, 10)
    assert_array_equal(done, 300)


@jit()
def _meet(number: int, here: Array, met: Array) -> None:
    """Wait until all tasks have begun; give up after some seconds."""
    atomics.add(here.ctypes.data, 1)
    for _ in range(30_000_000):
        if atomics.load(here.ctypes.data) == len(met):
            met[number] = True
            return
        atomics.pause()


@jit(from_python=True)
def meet(pool: int, here: Array, met: Array) -> None:
    share(pool, len(met), _meet, (here, met))


@compiled_only
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_as_many_tasks_as_threads_run_at_once(count: int, pause: float) -> None:
    for _ in range(3):
        time.sleep(pause)
        met = np.zeros(count, bool)
        meet(pool(count), np.zeros(1, np.int64), met)
        assert met.all()


# --- errors --------------------------------------------------------------------------------------


@jit()
def _fail(number: int, wrong: int, done: Array) -> None:
    done[number] += 1
    if wrong in (number, -1):
        raise RuntimeError("a task that fails")


@jit(from_python=True)
def fail(pool: int, wrong: int, done: Array) -> None:
    share(pool, len(done), _fail, (wrong, done))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("wrong", [0, 3, 6, -1])
def test_an_error_in_a_task_is_raised_by_the_caller(wrong: int, count: int) -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError, match="fail"):
            fail(pool(count), wrong, np.zeros(7, np.int64))
        done = np.zeros(7, np.int64)
        fail(pool(count), 7, done)  # no task has that number
        assert_array_equal(done, 1)


# --- the number of threads -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 256, np.int64(3)])
def test_the_number_of_threads_is_what_was_set(count: int) -> None:
    kernels.set_num_threads(count)
    assert kernels.get_num_threads() == count
    assert type(kernels.get_num_threads()) is int


@pytest.mark.parametrize(
    ("count", "error", "words"),
    [
        (0, ValueError, "must be from 1 to 256, got 0"),
        (-1, ValueError, "must be from 1 to 256, got -1"),
        (257, ValueError, "must be from 1 to 256, got 257"),
        (2.0, TypeError, "must be an integer, got 2.0 of type float"),
        ("2", TypeError, "must be an integer, got '2' of type str"),
        (True, TypeError, "must be an integer, got True of type bool"),
        (None, TypeError, "must be an integer, got None of type NoneType"),
    ],
)
def test_a_wrong_number_changes_nothing(count: object, error: type, words: str) -> None:
    kernels.set_num_threads(3)
    with pytest.raises(error, match=words):
        kernels.set_num_threads(count)
    assert kernels.get_num_threads() == 3


@jit(from_python=True)
def sleepers_after(pool: int, done: Array, launches: int, first: int, last: int) -> int:
    """How many of these threads sleep while the others have one launch after another."""
    launch(pool, done, launches)
    asleep = 0
    for thread in range(first, last + 1):
        asleep += atomics.load(threads._member(pool, thread) + threads._ASLEEP)
    return asleep


@compiled_only
def test_threads_beyond_the_number_sleep_while_others_work() -> None:
    done = np.zeros(2, np.int64)
    launch(pool(8), done, 1)
    address = pool(2)
    end = time.monotonic() + 10
    while sleepers_after(address, done, 10_000, 2, 7) < 6:
        assert time.monotonic() < end


@compiled_only
def test_fewer_threads_are_used_where_no_more_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_pool", None)
    monkeypatch.setattr(threading.Thread, "start", start)
    done = np.zeros(7, np.int64)
    launch(pool(3), done, 1)
    assert_array_equal(done, 1)


# --- several Python threads ----------------------------------------------------------------------


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def matmul() -> Array:
    return compiled.matmul(normal(130, 90), normal(90, 80))


def conv2d() -> Array:
    return compiled.conv2d(normal(4, 12, 12, 8), normal(2, 2, 8, 40))


def winograd() -> Array:
    return compiled.conv2d(normal(4, 12, 12, 16), normal(3, 3, 16, 20))


def adam() -> Array:
    param, m, v = normal(9000), normal(9000), abs(normal(9000))
    compiled.adam_update(param, normal(9000), m, v, 0.1, 0.9, 0.999, 1e-7, 1)
    return param


WORK = [matmul, conv2d, winograd, adam]


def alone(monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """What WORK gives on one thread; afterwards it is shared among threads, small as it is."""
    threads.set_num_threads(1)
    expected = [work() for work in WORK]
    monkeypatch.setattr(threads, "_WORTH_THREADS", 0)
    return expected


def wrong_results(expected: list[Array], rounds: int, first: int = 0) -> list[str]:
    wrong = []
    for i in range(first, first + rounds):
        work = WORK[i % len(WORK)]
        if not np.array_equal(work(), expected[i % len(WORK)]):
            wrong.append(work.__name__)
    return wrong


def in_threads(count: int, work: Callable[[int], list[str]]) -> list[str]:
    """What ``work`` returns, all in one list, when several Python threads do it at once."""
    results: list[list[str]] = [["not finished"] for _ in range(count)]
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        results[number] = work(number)

    running = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return [word for result in results for word in result]


@pytest.mark.parametrize("callers", [2, 4])
@pytest.mark.parametrize("count", [2, 8])
def test_python_threads_may_call_kernels_at_once(
    callers: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(monkeypatch)
    threads.set_num_threads(count)
    assert in_threads(callers, lambda number: wrong_results(expected, 40, number)) == []


def test_the_number_may_change_while_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = alone(monkeypatch)

    def work(number: int) -> list[str]:
        if number:
            return wrong_results(expected, 100, number)
        for i in range(200):
            kernels.set_num_threads(COUNTS[i % len(COUNTS)])
            time.sleep(0.0005)
        return []

    assert in_threads(3, work) == []


@compiled_only
def test_tasks_are_done_once_while_the_number_changes() -> None:
    threads.set_num_threads(2)
    end = time.monotonic() + 2

    def work(number: int) -> list[str]:
        done, expected = np.zeros(5 + number, np.int64), 0
        while time.monotonic() < end:
            if number:
                launch(threads.pool_for(1 << 40), done, 200)
                expected += 200
            else:
                kernels.set_num_threads(random.randint(1, 5))
                time.sleep(0.002)
        return [] if (done == expected).all() else [f"{done}, not {expected}"]

    assert in_threads(3, work) == []


# --- what a processor that comes late, or millions of launches, would meet -----------------------


@jit(from_python=True)
def take_tasks(pool: int, call: int, thread: int) -> None:
    threads._take_tasks(pool, call, thread, 0)


@compiled_only
@pytest.mark.parametrize("tasks", [2, 4, 50])
def test_a_thread_that_is_late_takes_nothing_of_the_next_generation(tasks: int) -> None:
    mine, taken = threads._Pool(), []
    mine._words[threads._THREADS // 8] = 2  # two shares, but this thread plays all parts
    launch(mine.address, np.zeros(4, np.int64), 1)
    late = int(mine._words[(threads._MEMBERS + threads._CALL) // 8])

    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    def take(arguments: int, number: int) -> int:
        taken.append(number)
        return 0

    # The caller has begun to write down the next generation, but not its number yet.
    for thread in (0, 1):
        member = (threads._MEMBERS + thread * threads._MEMBER_BYTES) // 8
        mine._words[member + threads._ENTRY // 8] = ctypes.cast(take, ctypes.c_void_p).value
        mine._words[member + threads._COUNT // 8] = tasks
    for begun in (False, True):
        if begun:  # and its own share is ready
            generation = (late >> threads._SHARES_BITS) + 1
            left = generation << threads._LEFT_BITS | tasks // 2
            mine._words[(threads._MEMBERS + threads._LEFT) // 8] = left
        for thread in (0, 1):
            take_tasks(mine.address, late, thread)
        assert taken == []


@jit(from_python=True)
def run_tasks(pool: int, entry: int, count: int) -> int:
    return threads._run(pool, entry, 0, count)


@compiled_only
def test_a_thread_that_is_late_leaves_shares_alone_that_its_generation_did_not_have() -> None:
    mine, taken = threads._Pool(), []
    mine._words[threads._THREADS // 8] = 2
    launch(mine.address, np.zeros(4, np.int64), 1)
    late = int(mine._words[(threads._MEMBERS + threads._CALL) // 8])
    mine._words[threads._THREADS // 8] = 3

    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    def take(arguments: int, number: int) -> int:
        taken.append(number)
        if number == 0:  # the next generation has begun, and nobody has looked at the third share
            take_tasks(mine.address, late, 1)
        return 0

    assert run_tasks(mine.address, ctypes.cast(take, ctypes.c_void_p).value, 6) == 0
    assert sorted(taken) == [0, 1, 2, 3, 4, 5]


# Python, in a process of its own, which may crash, or hang for all that this one minds. -----------


def run(code: str, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {key: value for key, value in os.environ.items() if not key.startswith("TINYNET_NUM")}
    ended = subprocess.run(
        # Python 3.12 warns of every fork where there are threads: that is what is tested here.
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", SETUP + code],
        env=given | {"PYTHONPATH": os.pathsep.join(sys.path), "TINYNET_KERNELS": "numba"}
        | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )  # fmt: skip
    lines = ended.stderr.splitlines(keepends=True)
    ended.stderr = "".join(line for line in lines if "compiling kernels" not in line)
    return ended


SETUP = """
import atexit, multiprocessing, os, signal, sys, threading, time
import numpy as np
from tinynet import kernels
from tinynet.kernels import threads

if hasattr(os, "fork"):  # neither this process nor its children hang for long
    signal.alarm(40)
    os.register_at_fork(after_in_child=lambda: signal.alarm(20))

a = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)

def product():
    return kernels.matmul(a, a, out=np.empty_like(a))

def forever():
    while True:
        product()

def start(work, **options):
    thread = threading.Thread(target=work, **options)
    thread.start()
    return thread

def in_child(work):
    '''Whether it returns true in a forked process.'''
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1] == 0
    status = 1
    try:
        status = 0 if work() else 1
    finally:
        os._exit(status)

def workers():
    return threads._pool._workers if threads._pool else []
"""


def check(code: str, says: str = "", **variables: str) -> None:
    """The code ends without an error or anything on stderr, and prints that."""
    ended = run(code, **variables)
    assert (ended.returncode, ended.stderr, ended.stdout.strip()) == (0, "", says)


def test_by_default_there_are_as_many_threads_as_processors() -> None:
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    check("print(kernels.get_num_threads())", str(processors))


@pytest.mark.parametrize("count", ["1", "3", "256"])
def test_environment_variable(count: str) -> None:
    check("print(kernels.get_num_threads())", count, TINYNET_NUM_THREADS=count)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("many", "TINYNET_NUM_THREADS must be an integer, got 'many'"),
        ("2.5", "TINYNET_NUM_THREADS must be an integer, got '2.5'"),
        ("0", "must be from 1 to 256, got 0"),
        ("-2", "must be from 1 to 256, got -2"),
        ("257", "must be from 1 to 256, got 257"),
    ],
)
def test_environment_variable_with_a_wrong_number(given: str, words: str) -> None:
    ended = run("", TINYNET_NUM_THREADS=given)
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[-1].startswith("ValueError: ")
    assert words in ended.stderr
    assert "TINYNET_NUM_THREADS" in ended.stderr


@compiled_only
def test_there_may_be_very_many_launches() -> None:
    code = """
expected = product()
at = threads._GENERATION // 8
for launches in 2**32 - 20, 2**43 - 100:
    threads._pool._words[at] = launches
    print(all(np.array_equal(product(), expected) for _ in range(40)), end=" ")
    print(threads._pool._words[at] >= launches + 40)
"""
    check(code, "True True\nTrue True", TINYNET_NUM_THREADS="3")


@compiled_only
def test_an_interrupt_while_a_thread_starts() -> None:
    code = """
def interrupted(thread):
    start_thread(thread)
    raise KeyboardInterrupt

product()
start_thread, threading.Thread.start = threading.Thread.start, interrupted
try:
    kernels.set_num_threads(3)
except KeyboardInterrupt:
    threading.Thread.start = start_thread
kernels.set_num_threads(3)
product()
time.sleep(0.2)
print(threading.active_count())
"""
    check(code, "3", TINYNET_NUM_THREADS="2")


ENDS = {
    "asleep": "product(); time.sleep(0.2)",
    "looking for work": "product()",
    "never used": "",
    "sys.exit": "product(); sys.exit(0)",
    "sys.exit in a thread": "start(lambda: (product(), sys.exit(1))).join()",
    "used by a thread": "start(product)",
    "used at exit": "atexit.register(product)",
    "used at exit for the first time": "atexit._run_exitfuncs(); atexit.register(product)",
    "in a kernel of a daemon": "start(forever, daemon=True); time.sleep(0.05)",
    "in kernels of daemons": "for _ in range(3): start(forever, daemon=True)\ntime.sleep(0.05)",
    "one": "kernels.set_num_threads(1); product()",
    "changed": "product(); kernels.set_num_threads(8); product(); kernels.set_num_threads(2)",
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_the_process_ends(code: str) -> None:
    check(code, TINYNET_NUM_THREADS="4")


@compiled_only
def test_the_end_lets_a_kernel_finish() -> None:
    code = """
from numba import njit
from tinynet.kernels.threads import share

@njit(nogil=True)
def count(number, done):
    done[number] += 1

@njit(nogil=True)
def launch(pool, done, times):
    for _ in range(times):
        share(pool, len(done), count, (done,))

launch(0, np.zeros(8, np.int64), 1)
for _ in range(100):
    pool, done = threads._Pool(), np.zeros(8, np.int64)
    pool.use(3)
    caller = start(lambda: launch(pool.address, done, 1000))
    time.sleep(0.0002)
    pool.stop()
    caller.join()
    assert (done == 1000).all()
"""
    check(code)


# --- fork ----------------------------------------------------------------------------------------

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

FORKS = {
    "asleep": "product(); time.sleep(0.1); ",
    "looking for work": "product(); ",
    "never used": "",
    "used in a thread": "start(product).join(); ",
}


@can_fork
@compiled_only
@pytest.mark.parametrize("before", FORKS.values(), ids=FORKS)
def test_a_forked_process_makes_its_own_threads(before: str) -> None:
    code = """
expected = kernels.matmul(a, a) if workers() else None

def child():
    assert workers() == []
    result = [product() for _ in range(20)]
    assert len(workers()) == 2 and all(worker.is_alive() for worker in workers())
    if not in_child(lambda: np.array_equal(product(), result[0])):  # a grandchild
        return False
    return all(np.array_equal(each, result[0] if expected is None else expected) for each in result)

print(*(in_child(child) for _ in range(3)))
product()
print(len(workers()))
"""
    check(before + code, "True True True\n2", TINYNET_NUM_THREADS="3")


@can_fork
@compiled_only  # NumPy's own product may be in the hands of a thread that the new process lacks
def test_a_fork_while_python_threads_are_busy() -> None:
    code = """
expected = product()
for _ in range(3):
    start(forever, daemon=True)
time.sleep(0.05)
right = [in_child(lambda: all(np.array_equal(product(), expected) for _ in range(5)))
         for _ in range(20)]
print(sum(right), np.array_equal(product(), expected))
"""
    check(code, "20 True", TINYNET_NUM_THREADS="3")


@can_fork
def test_a_fork_from_a_python_thread() -> None:
    code = """
expected = product()
right = []
start(lambda: right.append(in_child(lambda: np.array_equal(product(), expected)))).join()
print(right)
"""
    check(code, "[True]", TINYNET_NUM_THREADS="3")


@can_fork
@compiled_only
def test_a_fork_while_a_python_thread_compiles() -> None:
    code = """
from numba.core.compiler_lock import global_compiler_lock
compiling = threading.Event()

def compile_something():
    with global_compiler_lock:
        compiling.set()
        time.sleep(0.3)

start(compile_something)
compiling.wait()
print(in_child(lambda: kernels.matmul(a, a).shape == (200, 200)))
"""
    check(code, "True", TINYNET_NUM_THREADS="3")


@can_fork
def test_a_forked_process_that_ends_by_itself() -> None:
    code = """
product()
process = os.fork()
product()
if process:
    print(os.waitpid(process, 0)[1])
"""
    check(code, "0", TINYNET_NUM_THREADS="3")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(method: str) -> None:
    if method not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"no {method}")
    code = f"""
expected = product()
with multiprocessing.get_context({method!r}).Pool(2) as pool:
    results = pool.starmap(kernels.matmul, [(a, a)] * 6)
print(all(np.array_equal(result, expected) for result in results))
"""
    check(code, "True", TINYNET_NUM_THREADS="3")
