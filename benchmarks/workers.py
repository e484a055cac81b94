"""Worker processes: each holds one framework with its threads counted, and all take turns.

Two frameworks in one process disturb each other: their thread pools compete, and a thread that has
nothing to do may go on looking for work for a while. So the benchmark that is started, the parent,
imports none of them. It starts a `Worker` for each and asks one at a time; the others wait for a
line on their standard input. In the worker `serve` answers, a line of JSON for each line of JSON.

All workers get the same number of threads: by the variables that OpenMP, numba, tinynet, OpenBLAS,
MKL and TensorFlow read, by each framework's own function where there is one, and, where that number
is smaller than the machine's, by being held to that many cores. That is all that JAX understands.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TINYNET_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

# They make OpenBLAS run kernels of another CPU; with them NumPy would not be at its best.
DROPPED_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# Before a turn: the threads of the worker before must have stopped looking for work. OpenBLAS's go
# on for some 100 ms, and take a core from whoever comes next.
PAUSE = 0.25

# Before it is timed, a call is repeated for so long at least: a core that slept is slow at first.
WARM_UP = 0.1


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def clean_environment(threads: int | None = None) -> dict[str, str]:
    """The variables of this process, without what slows NumPy down and with counted threads."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED_VARIABLES}
    if threads is None:
        return kept
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads))


@contextmanager
def _held_to(count: int) -> Iterator[None]:
    """What is started in here runs on that many cores, all threads of it, where Linux can do so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usual)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


class Others:
    """How many cores all other programs used while this one and its workers measured.

    Linux counts for the whole machine; elsewhere `cores_used` is None.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter(), self._busy()

    def _busy(self) -> float | None:
        """Seconds on a core so far, without those of this process and of workers that ended."""
        try:
            with open("/proc/stat") as stat:
                user, nice, system, _idle, _wait, *rest = map(int, stat.readline().split()[1:9])
        except OSError:
            return None
        here = os.times()
        own = here.user + here.system + here.children_user + here.children_system
        return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK") - own

    def cores_used(self) -> float | None:
        """Since this object was made; to be asked when the workers have ended."""
        began, before = self._start
        now = self._busy()
        if before is None or now is None:
            return None
        return (now - before) / (time.perf_counter() - began)


class FullSpeed:
    """Has turns begin and end while the machine runs at its full speed.

    For seconds at a time the cores of a virtual machine can be two threads of one real core, or
    lose half of their cache to a neighbour. Everything takes up to twice as long then, but not
    everything by the same factor. So ``speed()``, where more is faster, is asked after each turn,
    which is before the next, and for ``patience`` seconds before the first, to see what the best
    is. Where it is below `_FULL` of the best so far, the turn waits or is repeated, whoever has it,
    until that has taken ``patience`` seconds; 0 does without all this.

    speed: to be set.   notes: what became of it, in words; None with a patience of 0.
    """

    _FULL = 0.9

    def __init__(self, patience: float) -> None:
        self.speed: Callable[[], float] = lambda: 1.0
        self._patience = patience
        self._now = self._best = self._lost = 0.0
        self._repeated = 0
        self._counted: list[float] = []  # the lower speed of those at both ends of turns that count

    def turn(self, call: Callable[[], Any]) -> Any:
        """What ``call()`` returns, when it was called last."""
        if not self._patience:
            return call()
        if not self._best:
            self._lost += self._watch(self._patience)
        lost = 0.0  # with waiting, and with turns that do not count
        while True:
            while not self._is_full(self._now) and lost < self._patience:
                lost += self._watch(0)
            before = self._now
            seconds, result = timed(call)
            self._watch(0)
            if self._is_full(self._now) or lost + seconds > self._patience:
                self._counted.append(min(before, self._now))
                self._lost += lost
                return result
            lost += seconds
            self._repeated += 1

    def _watch(self, seconds: float) -> float:
        """See how fast the machine is, once at least; the seconds that it took."""
        start = time.perf_counter()
        while True:
            self._now = self.speed()
            self._best = max(self._best, self._now)
            if (taken := time.perf_counter() - start) >= seconds:
                return taken

    def _is_full(self, speed: float) -> bool:
        return speed >= self._FULL * self._best

    @property
    def notes(self) -> str | None:
        """For the end of a table."""
        if not self._patience:
            return None
        slow = sum(not self._is_full(speed) for speed in self._counted)
        return (
            f"Looked at the machine's speed, waited for it and repeated {self._repeated} turns for "
            f"{self._lost:.0f} s; not at full speed in {slow} of {len(self._counted)} turns"
        )


# --- the parent's end ----------------------------------------------------------------------------


class Worker:
    """A process that runs ``script --worker framework``, and the parent's line to it.

    Raises RuntimeError, with what the process had to say, where it did not get ready.

    start_seconds: what starting Python and importing the framework took.
    idle_share: how much of one core it used while it was not its turn.
    """

    def __init__(
        self, script: str, framework: str, threads: int, variables: Mapping[str, str] | None = None
    ) -> None:
        self.framework = framework
        self._idle_cpu = self._idle_wall = 0.0
        start = time.perf_counter()
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (see close)
        with _held_to(threads):
            self.process = subprocess.Popen(
                [sys.executable, script, "--worker", framework, "--threads", str(threads)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
                env=clean_environment(threads) | dict(variables or {}),
            )  # fmt: skip
        self._answer("start")
        self.start_seconds = time.perf_counter() - start

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have the worker's object do ``command(**arguments)``, and wait for what it returns.

        Raises RuntimeError, with what the worker had to say, where it failed.
        """
        time.sleep(PAUSE)
        with suppress(BrokenPipeError):  # then it ended, and there is no answer either
            self.process.stdin.write(json.dumps([command, arguments]) + "\n")
            self.process.stdin.flush()
        answer = self._answer(command)
        self._idle_cpu += answer["idle_cpu"]
        self._idle_wall += answer["idle_wall"]
        return answer["result"]

    def _answer(self, command: str) -> dict[str, Any]:
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended:\n{self._end_of_log()}"}
        if "error" in answer:
            raise RuntimeError(f"{self.framework}, asked to {command}: {answer['error']}")
        return answer

    @property
    def idle_share(self) -> float:
        """Seconds on a core for each second of waiting."""
        return self._idle_cpu / self._idle_wall if self._idle_wall else 0.0

    def _end_of_log(self) -> str:
        self.process.wait()
        self._log.seek(0)
        return "".join(self._log.readlines()[-20:])

    def close(self) -> None:
        """Let the worker end: its standard input is at its end."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# --- the worker's end ----------------------------------------------------------------------------


def serve(make: Callable[[str, int], Any], framework: str, threads: int) -> None:
    """Make an object, and answer each line ``[method, arguments]`` by calling it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints goes into the log, not between the answers
    target = make(framework, threads)
    print(json.dumps({"result": "ready"}), file=answers, flush=True)
    cpu, wall = time.process_time(), time.perf_counter()
    for line in sys.stdin:
        answer = {
            "idle_cpu": time.process_time() - cpu,
            "idle_wall": time.perf_counter() - wall,
        }
        command, arguments = json.loads(line)
        try:
            answer["result"] = getattr(target, command)(**arguments)
        except Exception:
            answer["error"] = traceback.format_exc()
        print(json.dumps(answer), file=answers, flush=True)
        cpu, wall = time.process_time(), time.perf_counter()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that ``call()`` took, and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def typical_seconds(call: Callable[[], Any], seconds: float, least: int = 3) -> float:
    """The median time of one call: warmed up, then repeated for ``seconds``, ``least`` times."""
    warm_until = time.perf_counter() + max(seconds / 4, WARM_UP)
    while timed(call) and time.perf_counter() < warm_until:
        pass
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        times.append(timed(call)[0])
    return statistics.median(times)


def matmul_rate(matmul: Callable[..., Any], size: int = 2048) -> float:
    """GFLOP/s of ``matmul(a, b, out=c)`` on large square matrices: what a CPU can do at most."""
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    c = np.empty_like(a)
    return 2 * size**3 / typical_seconds(lambda: matmul(a, b, out=c), 0.1) / 1e9


def cached_rate() -> float:
    """GFLOP/s of a product of NumPy's that caches can hold, for `FullSpeed`."""
    import numpy as np

    return matmul_rate(np.matmul, 512)


def openblas() -> list[str]:
    """The OpenBLAS under NumPy, and the CPU it takes this one for, if threadpoolctl can tell."""
    try:
        import threadpoolctl
    except ImportError:
        return []
    pools = [p for p in threadpoolctl.threadpool_info() if p["internal_api"] == "openblas"]
    # SciPy may have brought one of its own.
    numpys = [pool for pool in pools if "numpy" in pool["filepath"]]
    return [
        f"OpenBLAS {pool['version']} {pool['architecture']}, {pool['num_threads']} threads"
        for pool in numpys or pools
    ]
