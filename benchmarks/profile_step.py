"""Where the time of one training step goes: kernel by kernel, beside what the machine could do.

    python benchmarks/profile_step.py --model cnn --batch-size 32

``model.fit`` trains on some hundred batches of random images, shuffled. Every other time each
function of ``tinynet.kernels.KERNELS`` is replaced on the module ``tinynet.kernels``, where all
callers look it up, by one that also takes the time. For each kernel and the shapes that it is given
the table shows:

- calls in a step, microseconds of a call (the median), and the share of the step
- GFLOP/s, for matrix products and convolutions, counted as their formulas say
- GB/s: the bytes of all arrays that it reads and of all that it writes
- of the limit: the least time that this machine needs for it, divided by the time that it took.
  The least time is the larger of two: the arithmetic at the measured peak (products of 2048x2048,
  tinynet's or NumPy's, whichever is faster), and the bytes at the measured speed of copying, all
  threads at once, as many bytes as the call touches: small arrays stay in a cache. A convolution
  that gets by with less arithmetic than its formula may be above 100%.

A kernel called by another is part of that one. What is not in any kernel is the last row: the
median step of undisturbed fits minus the sum of the others. A kernel without a count of its
arithmetic in COSTS is measured all the same.

All that is with ``run_eagerly=True``: a step in Python, which every call of a kernel is part of,
with the handing over of its arguments. Without it, fit plays the recorded calls of most models
instead, with less between them; what a step takes then is said above the table.
"""

import inspect
import itertools
import math
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import networks
import numpy as np
import report
from workers import Others, Worker, matmul_rate, openblas, serve, timed

STEPS, QUICK_STEPS = 200, 20
PLAYED_STEPS = 1000  # a fit as short as the others is not recorded
COPY_SECONDS = 0.01
SMALLEST, LARGEST = 1 << 14, 1 << 28  # bytes that are copied to measure

# --- what a call costs ---------------------------------------------------------------------------
# Multiply-adds by kernel, from its arguments by name and its result.


def _matmul(given: dict[str, Any], result: Any) -> int:
    k = given["a"].shape[0 if given.get("transpose_a") else 1]
    return result.size * k


def _dense(given: dict[str, Any], result: Any) -> int:
    return given["x"].size * given["kernel"].shape[1]


def _dense_gradient(given: dict[str, Any], result: Any) -> int:
    return given["dy"].size * given["x"].shape[1] * (2 if given.get("need_dx", True) else 1)


def _conv2d(given: dict[str, Any], result: Any) -> int:
    """Of the output's size, a window's size times the input's channels for each entry."""
    y = result[0] if isinstance(result, tuple) else result
    return y.size * math.prod(given["kernel"].shape[:3])


def _conv2d_kernel_gradient(given: dict[str, Any], result: Any) -> int:
    return given["dy"].size * math.prod(given["kernel_shape"][:3])


def _conv2d_input_gradient(given: dict[str, Any], result: Any) -> int:
    return given["dy"].size * math.prod(given["kernel"].shape[:3])


COSTS: dict[str, Callable[[dict[str, Any], Any], int]] = {
    "matmul": _matmul,
    "dense": _dense,
    "dense_gradient": _dense_gradient,
    "conv2d": _conv2d,
    "conv2d_kernel_gradient": _conv2d_kernel_gradient,
    "conv2d_input_gradient": _conv2d_input_gradient,
}

# Where results go. Of the other arguments, a kernel writes to these as well:
OUTS = "out", "bias_out"
IN_PLACE = {
    "sgd_update": {"param", "velocity"},
    "sgd_updates": {"params"},
    "adam_update": {"param", "m", "v"},
    "adam_updates": {"params", "ms", "vs"},
    "rmsprop_update": {"param", "mean_square", "velocity"},
    "mean_update": {"sums"},
    "accuracy_update": {"sums"},
}


class Key(NamedTuple):
    """A kernel and the shapes that it is given: a row of the table."""

    kernel: str
    shapes: str


class Cost(NamedTuple):
    """What one call of it takes; multiply_adds is None where nobody has counted."""

    multiply_adds: int | None
    bytes: int


def arrays_in(value: Any) -> list[np.ndarray]:
    """The arrays of an argument or a result: itself, or what a list, tuple or dict holds."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [array for entry in value for array in arrays_in(entry)]
    return []


def describe(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """The shapes of the arrays, and what is switched on."""
    not_data = *OUTS, "prepared"
    given = [value for value in arguments if not isinstance(value, dict)]
    given += [value for name, value in keywords.items() if name not in not_data]
    shapes = ["x".join(map(str, array.shape)) or "()" for array in arrays_in(given)]
    runs = [(shape, len(list(same))) for shape, same in itertools.groupby(shapes)]
    words = [f"{shape} *{times}" if times > 1 else shape for shape, times in runs]
    if len(words) > 4:  # the weights of a whole model, for example
        words = [*words[:2], f"and {len(words) - 2} more"]
    flags = [name for name, value in keywords.items() if value is True]
    return " ".join([*words, *flags])


def cost_of(kernel: str, given: dict[str, Any], result: Any) -> Cost:
    """The count of `COSTS`, and the bytes of the arrays that are read and of those written."""
    count = COSTS.get(kernel)
    try:
        multiply_adds = count(given, result) if count else None
    except (KeyError, AttributeError, IndexError, TypeError):
        multiply_adds = None  # the kernel has other arguments by now
    read = [value for name, value in given.items() if name not in (*OUTS, "prepared")]
    if kernel == "take":  # of x, only as much as it returns
        return Cost(multiply_adds, _bytes([given.get("indices")]) + 2 * _bytes([result]))
    written = [given.get(name) for name in IN_PLACE.get(kernel, ())]
    return Cost(multiply_adds, _bytes(read) + _bytes([*written, *map(given.get, OUTS), result]))


def _bytes(values: list[Any]) -> int:
    """Of all arrays in there, each counted once."""
    return sum({id(array): array.nbytes for array in arrays_in(values)}.values())


# --- taking the time of kernels ------------------------------------------------------------------


class Stopwatch:
    """Replaces the kernels by functions that also take the time, within ``with stopwatch:``."""

    def __init__(self, kernels: Any) -> None:
        self.kernels = kernels
        self.originals = {name: getattr(kernels, name) for name in kernels.KERNELS}
        self.seconds: dict[Key, list[float]] = defaultdict(list)
        self.costs: dict[Key, Cost] = {}
        self.running = False

    def __enter__(self) -> None:
        for name, original in self.originals.items():
            setattr(self.kernels, name, self._watched(name, original))

    def __exit__(self, *error: object) -> None:
        for name, original in self.originals.items():
            setattr(self.kernels, name, original)

    def _watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(getattr(self.kernels.reference, name, original))

        def watched(*arguments: Any, **keywords: Any) -> Any:
            if self.running:
                return original(*arguments, **keywords)
            self.running = True
            try:
                start = time.perf_counter()
                result = original(*arguments, **keywords)
                seconds = time.perf_counter() - start
            finally:
                self.running = False
            key = Key(name, describe(arguments, keywords))
            if key not in self.costs:
                given = signature.bind(*arguments, **keywords).arguments
                self.costs[key] = cost_of(name, given, result)
            self.seconds[key].append(seconds)
            return result

        return watched


# --- what the machine can do ---------------------------------------------------------------------


class Memory:
    """How fast arrays are copied, measured once for each power of two of bytes."""

    def __init__(self, threads: int) -> None:
        import numba

        self.threads = threads
        self.known: dict[int, float] = {}
        # No parallel loop: numba's threads may be at work elsewhere. Each thread copies its own.
        self.copy = numba.njit(nogil=True)(_copy_there_and_back)
        self.copy(np.zeros(1, np.float32), np.zeros(1, np.float32), 1)

    def bandwidth(self, size: int) -> float:
        """Bytes a second, read and written, of a copy that touches about ``size`` bytes."""
        size = min(max(SMALLEST, 1 << (size - 1).bit_length()), LARGEST)
        if size not in self.known:
            self.known[size] = self._measure(size)
        return self.known[size]

    def _measure(self, size: int) -> float:
        entries = size // 2 // 4 // self.threads
        parts = [[np.ones(entries, np.float32) for _ in "ab"] for _ in range(self.threads)]
        times = 1
        while True:
            seconds = timed(lambda: self._copy_all(parts, times))[0]  # noqa: B023  (called at once)
            if seconds > COPY_SECONDS:
                return 2 * times * size / seconds  # there, and back
            times *= 2

    def _copy_all(self, parts: list[list[np.ndarray]], times: int) -> None:
        threads = [threading.Thread(target=self.copy, args=(*part, times)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _copy_there_and_back(a: np.ndarray, b: np.ndarray, times: int) -> None:
    for _ in range(times):
        for i in range(len(a)):  # a slice would be copied number by number, a loop is vectorized
            b[i] = a[i]
        for i in range(len(a)):
            a[i] = b[i]


# --- the worker ----------------------------------------------------------------------------------


class Bench:
    """Profiles one model; it has a process of its own, whose threads are counted."""

    def __init__(self, framework: str, threads: int) -> None:
        from tinynet import kernels

        self.kernels, self.threads = kernels, threads

    def profile(self, model: str, batch_size: int, steps: int, rounds: int) -> dict[str, Any]:
        """Undisturbed fits and watched ones in turn, after one that warms up."""
        network = networks.build("tinynet", model, batch_size, None)
        data = network.data(*networks.random_data(model, steps * batch_size))
        network.fit(*data)
        longer = network.data(*networks.random_data(model, PLAYED_STEPS * batch_size))
        watch = Stopwatch(self.kernels)
        undisturbed, watched, played = [], [], []
        for _ in range(rounds):
            network.model.run_eagerly = True
            undisturbed.append(timed(lambda: network.fit(*data))[0] / steps)
            with watch:
                watched.append(timed(lambda: network.fit(*data))[0] / steps)
            network.model.run_eagerly = False
            played.append(timed(lambda: network.fit(*longer))[0] / PLAYED_STEPS)
        return {
            "played_step": played,
            "step": undisturbed,
            "watched_step": watched,
            "kernels": self._rows(watch, steps * rounds),
            "peak": self.peak,
            "blas": openblas(),
            "backend": self.kernels.backend(),
        }

    def _rows(self, watch: Stopwatch, steps: int) -> list[dict[str, Any]]:
        memory = Memory(self.threads)
        self.peak = max(matmul_rate(self.kernels.matmul), matmul_rate(np.matmul))
        return [
            {
                **key._asdict(),
                "calls": len(seconds) / steps,
                "seconds": statistics.median(seconds),
                **self._limit(watch.costs[key], memory),
            }
            for key, seconds in watch.seconds.items()
        ]

    def _limit(self, cost: Cost, memory: Memory) -> dict[str, Any]:
        """What a call costs, and the least time that this machine needs for it."""
        arithmetic = 2e-9 * (cost.multiply_adds or 0) / self.peak
        touching = cost.bytes / memory.bandwidth(cost.bytes)
        return {
            **cost._asdict(),
            "set_by": "arithmetic" if arithmetic > touching else "memory",
            "least_seconds": max(arithmetic, touching),
        }


# --- the command ---------------------------------------------------------------------------------


def table(found: dict[str, Any]) -> list[list[str]]:
    """The kernels, the longest first, and what is left of the step."""
    step = statistics.median(found["step"])
    rows, total, least = [], 0.0, 0.0
    in_step = [(row["calls"] * row["seconds"], row) for row in found["kernels"]]
    for seconds, row in sorted(in_step, key=lambda pair: -pair[0]):
        total, least = total + seconds, least + row["calls"] * row["least_seconds"]
        rate = 2e-9 * row["multiply_adds"] / row["seconds"] if row["multiply_adds"] else None
        cells = [
            f"{row['kernel']}  {row['shapes']}",
            f"{row['calls']:g}",
            f"{1e6 * row['seconds']:.1f}",
            f"{seconds / step:.1%}",
            "" if rate is None else f"{rate:.0f}",
            f"{1e-9 * row['bytes'] / row['seconds']:.1f}",
            f"{row['least_seconds'] / row['seconds']:.0%}",
            row["set_by"],
        ]
        rows.append(cells)
    rest = step - total
    rows.append(["all kernels", "", f"{1e6 * total:.1f}", f"{total / step:.1%}", "", ""])
    rows[-1] += [f"{least / total:.0%}" if total else "", ""]
    rows.append(["Python and everything else", "", f"{1e6 * rest:.1f}", f"{rest / step:.1%}"])
    rows[-1] += [""] * 4
    return rows


def run(args: Any) -> int:
    """Profile one model, print and write everything."""
    others = Others()
    with Worker(__file__, "tinynet", args.threads) as worker:
        found = worker.ask(
            "profile",
            model=args.model,
            batch_size=args.batch_size,
            steps=args.steps,
            rounds=args.rounds,
        )
    about = report.machine(args.threads, found["blas"])
    report.print_machine(about)
    step = statistics.median(found["step"])
    products = networks.multiply_adds(args.model) * args.batch_size
    played = statistics.median(found["played_step"])
    rate = 2e-9 * products / played
    print(
        f"\n{args.model}, batches of {args.batch_size}, {found['backend']} kernels: a step takes "
        f"{1e6 * played:.1f} us, {rate:.0f} GFLOP/s of a peak of {found['peak']:.0f};\n"
        f"with run_eagerly=True {1e6 * step:.1f} us, "
        f"{1e6 * statistics.median(found['watched_step']):.1f} while watched:\n"
    )
    head = ["kernel, shapes", "calls", "us", "share", "GFLOP/s", "GB/s", "of the limit", "set by"]
    report.print_table(head, table(found))
    if args.quick:
        print("\nOne round of few steps: the figures are rough")
    about |= report.quiet_notes(others, {})
    settings = {"model": args.model, "batch_size": args.batch_size, "steps": args.steps}
    report.write_json(args.json, machine=about, **settings, **found)
    return 0


def main() -> int:
    """Profile, or be the worker that is profiled."""
    parser = report.arguments(__doc__, rounds=3)
    parser.add_argument("--model", choices=networks.MODELS, default="cnn", help="default: cnn")
    parser.add_argument("--batch-size", type=report.count, default=32)
    parser.add_argument("--steps", type=report.count, default=STEPS, help="of each fit")
    parser.add_argument("--quick", action="store_true", help="one round of few steps")
    args = parser.parse_args()
    if args.worker:
        serve(Bench, args.worker, args.threads)
        return 0
    if args.quick:
        args.steps, args.rounds = QUICK_STEPS, 1
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
