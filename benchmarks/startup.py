"""Start-up: how long a fresh process takes to import tinynet, and to end its first training.

    python benchmarks/startup.py --json startup.json

What is measured, each in new processes that take turns, seconds and peak memory:

- ``import numpy``, ``import numba``, ``import tinynet``
- a first small CNN (conv 32, pool, conv 64, pool, Dense 128, Dense 10), from the line before
  ``import tinynet`` to the end of one epoch of ``fit`` on 256 of the bundled images; with a compile
  cache that is empty, in a temporary folder, and then with the warm one that is left there

The seconds are those of the code itself; Python's own start, some 20 milliseconds, comes before.
Memory is the process's peak resident set. One process runs before, uncounted, and leaves the byte
code of all modules in a temporary folder (`PYTHONPYCACHEPREFIX`), as an installed package has it
beside its modules: where Python is told not to write any, it reads all the source text in each
process anew. What a process says while its kernels are compiled is shown.

The exit status is 1 where a median is over its limit, and 0 where none is.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import report
from report import Verdict
from workers import Others, clean_environment

EMPTY_ROUNDS = 2  # each takes as long as compiling everything does
EMPTY, WARM = "first fit, empty cache", "first fit, warm cache"
LIMITS = {  # what -> seconds, MB
    "import tinynet": (0.8, 130.0),
    WARM: (2.0, None),
    EMPTY: (20.0, None),
}

BYTE_CODE = """
import numpy
import tinynet
tinynet.kernels.relu(numpy.ones(1, "float32"))  # numba imports what compiles only now
"""

FIRST_FIT = """
import tinynet as keras
from tinynet import layers

(x, y), _ = keras.datasets.fashion_mnist.load_sample()
model = keras.Sequential(
    [
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:256, ..., None] / 255.0, y[:256])
"""

# Linux's own count starts anew with the program; ru_maxrss may begin with what the parent had.
MEASURED = """
import time
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
import resource, sys
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
print()
print("MEASURED", seconds, peak)
"""

Figures = dict[str, list[tuple[float, float]]]  # what -> seconds and bytes of each process


def measure(code: str, variables: dict[str, str]) -> tuple[float, float, str]:
    """Seconds and peak bytes of ``code`` in a new process, and what it printed on the way.

    Raises RuntimeError, with what it printed, where it fails.
    """
    environment = clean_environment() | variables
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(code=code)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"a process that was measured failed:\n{done.stdout}{done.stderr}")
    said, _, figures = done.stdout.rpartition("MEASURED")
    seconds, peak = map(float, figures.split())
    return seconds, peak, "\n".join(part for part in (said.strip(), done.stderr.strip()) if part)


def imports(rounds: int, byte_code: dict[str, str], bar: Any) -> Figures:
    """Three imports in turn."""
    modules = ("numpy", "numba", "tinynet")
    found: Figures = {f"import {module}": [] for module in modules}
    for _ in range(rounds):
        for code, figures in found.items():
            bar.set_description(code)
            figures.append(measure(code, byte_code)[:2])
            bar.update()
    return found


def first_fits(rounds: int, byte_code: dict[str, str], bar: Any) -> tuple[Figures, str]:
    """With an empty compile cache, and then with the last one's; what the first process said."""
    found: Figures = {EMPTY: [], WARM: []}
    said = ""
    for turn in range(min(rounds, EMPTY_ROUNDS)):
        with tempfile.TemporaryDirectory() as folder:
            cache = byte_code | {"TINYNET_CACHE": folder, "NUMBA_CACHE_DIR": folder}
            bar.set_description(EMPTY)
            *figures, printed = measure(FIRST_FIT, cache)
            bar.update()
            found[EMPTY].append(tuple(figures))
            said = said or printed
            last = turn == min(rounds, EMPTY_ROUNDS) - 1
            for _ in range(rounds if last else 0):
                bar.set_description(WARM)
                found[WARM].append(measure(FIRST_FIT, cache)[:2])
                bar.update()
    return found, said


def verdicts_of(found: Figures) -> list[Verdict]:
    """Medians beside their limits."""
    rows = []
    for what, (seconds, megabytes) in LIMITS.items():
        times, peaks = zip(*found[what], strict=True)
        rows.append(Verdict(f"{what}, seconds", statistics.median(times), seconds))
        if megabytes is not None:
            peak = statistics.median(peaks) / 1e6
            rows.append(Verdict(f"{what}, MB", peak, megabytes))
    return rows


def run(args: argparse.Namespace) -> int:
    """Measure, print and write everything; returns the exit status."""
    about = report.machine(os.cpu_count() or 1)
    report.print_machine(about)
    others = Others()
    processes = 1 + 4 * args.rounds + min(args.rounds, EMPTY_ROUNDS)
    with report.progress(processes) as bar, tempfile.TemporaryDirectory() as folder:
        byte_code = {"PYTHONPYCACHEPREFIX": folder}
        measure(BYTE_CODE, byte_code | {"TINYNET_CACHE": folder, "NUMBA_CACHE_DIR": folder})
        bar.update()
        found = imports(args.rounds, byte_code, bar)
        fits, said = first_fits(args.rounds, byte_code, bar)
    found |= fits
    rows = []
    for what, figures in found.items():
        times, peaks = zip(*figures, strict=True)
        rows.append([what, *report.spread(times, 1, 3), *report.spread(peaks, 1e-6, 0)])
    head = ["in a fresh process", "seconds", "min", "max", "MB", "min", "max"]
    print()
    report.print_table(head, rows)
    print("\nWith an empty cache it said:", *(said or "nothing").splitlines(), sep="\n  | ")
    about |= report.quiet_notes(others, {})
    verdicts = verdicts_of(found)
    print()
    report.print_table(["median", "", "limit", "verdict"], ([v.what, *v.cells()] for v in verdicts))
    settings: dict[str, Any] = {"machine": about, "figures": found, "said": said}
    report.write_json(args.json, **settings, limits=verdicts)
    return report.conclude(verdicts)


def main() -> int:
    """Measure everything."""
    parser = report.arguments(__doc__, rounds=5, threads=False)
    parser.add_argument("--quick", action="store_true", help="one round")
    args = parser.parse_args()
    if args.quick:
        args.rounds = 1
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
