"""Model files: how fast they are saved and loaded, what that costs, and what damage does to them.

    pip install '.[bench]'
    python benchmarks/model_file.py --json model_file.json

What is measured, on a model of 100 MB of weights (what is not installed is named and left out):

- saving it: `model.save` beside safetensors, ``np.savez``, a copy of the same bytes by
  shutil.copyfile, and a copy that is brought to the disk and then renamed, as `model.save` does.
  The last is the fair peer: the others return while everything is still in the system's memory,
  and a loss of power would leave nothing or a part. So its speed is what has a limit.
- loading it: `load_model` beside safetensors, np.load, the file read into one array without a
  look at it (np.fromfile), and the same copy. The limit is about the copy.
- how much memory of its own a process takes for loading, beyond the tensors
- what it costs to save a model, optimizer included, after each epoch of training mlp-128 on
  60,000 random images (ModelCheckpoint)
- what becomes of thousands of changed files in each format: see `mutations`

How: all take turns, round after round, and the first round is not counted. Before each turn the
disk has written what it has to, and the file that is saved to is not there; what is loaded is in
the system's memory. The files lie in a folder below ``--folder``, by default the system's for
temporary files. Speeds are compared round by round; then the median.

The exit status is 1 where a limit is missed or a changed model file did anything but refuse, and 0
otherwise. ``--quick`` shows in little time that everything works, and no more.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mutations
import networks
import numpy as np
import report
from report import Verdict
from workers import Others, timed

UNITS, LAYERS, QUICK_LAYERS = 2048, 6, 1  # 16.8 MB for each layer
IMAGES, QUICK_IMAGES = 60_000, 3_200

LEAST_SPEED = 0.5  # of that of a copy
MOST_MEMORY = 10.0  # MB beyond the tensors
MOST_COST = 2.0  # percent of an epoch

COPY, DURABLE = "shutil.copyfile", "copied, fsynced, renamed"
SAVED, LOADED = "tinynet: model.save", "tinynet: load_model"
READ = "np.fromfile"

Seconds = dict[str, list[float]]  # what -> one entry for each round
Calls = dict[str, Callable[[], Any]]

PEAK = """
import sys, tinynet

def of_status(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

before = of_status("VmRSS")
model = tinynet.models.load_model(sys.argv[1])
print((of_status("VmHWM") - before - sum(w.nbytes for w in model.weights)) / 1e6)
"""


# --- saving and loading --------------------------------------------------------------------------


def large_model(layers: int) -> Any:
    """A model of so many dense layers, with random weights."""
    import tinynet

    dense = [tinynet.layers.Dense(UNITS, kernel_initializer="zeros") for _ in range(layers)]
    model = tinynet.Sequential([tinynet.Input((UNITS,)), *dense])
    rng = np.random.default_rng(0)
    for weight in model.weights:
        rng.random(out=weight, dtype=np.float32)
    return model


def durable_copy(source: Path, target: Path) -> None:
    """A copy that a loss of power leaves whole or not there at all."""
    unfinished = target.with_suffix(".tmp")
    shutil.copyfile(source, unfinished)
    for path, flags in ((unfinished, os.O_RDWR), (target.parent, os.O_RDONLY)):
        descriptor = os.open(path, flags)
        os.fsync(descriptor)
        os.close(descriptor)
        if path == unfinished:
            os.replace(unfinished, target)


def savers(model: Any, source: Path, target: Path) -> Calls:
    """All ways to write the model, or the bytes of its file."""
    arrays = {f"weights/{name}": array for name, array in model.params.items()}
    calls: Calls = {
        COPY: lambda: shutil.copyfile(source, target),
        DURABLE: lambda: durable_copy(source, target),
        SAVED: lambda: model.save(target),
        "np.savez": lambda: np.savez(target.with_suffix(".npz"), **arrays),
    }
    if report.is_installed("safetensors"):
        from safetensors.numpy import save_file

        calls["safetensors"] = lambda: save_file(arrays, target.with_suffix(".safetensors"))
    return calls


def loaders(source: Path, target: Path) -> Calls:
    """All ways to read the files that `savers` left, and the copy."""
    from tinynet.models import load_model

    def load_npz() -> Any:
        with np.load(source.with_suffix(".npz")) as found:
            return [found[name] for name in found.files]

    calls: Calls = {
        COPY: lambda: shutil.copyfile(source, target),
        LOADED: lambda: load_model(source),
        READ: lambda: np.fromfile(source, np.uint8),
        "np.load": load_npz,
    }
    if report.is_installed("safetensors"):
        from safetensors.numpy import load_file

        calls["safetensors"] = lambda: load_file(source.with_suffix(".safetensors"))
    return calls


def take_turns(calls: Calls, rounds: int, folder: Path, kept: Sequence[Path]) -> Seconds:
    """Seconds of each call in each round, which begins with another one each time.

    Every turn begins with a quiet disk, without new files, and with free memory that is there: a
    virtual machine may have to ask for it first.
    """
    found: Seconds = {name: [] for name in calls}
    size = kept[0].stat().st_size
    names = list(calls)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for path in set(folder.iterdir()) - set(kept):
                path.unlink()
            os.sync()
            np.ones(2 * size, np.uint8)
            seconds = timed(calls[name])[0]
            if turn:
                found[name].append(seconds)
    return found


def save_and_load(layers: int, rounds: int, folder: Path) -> dict[str, Any]:
    """The figures of saving and of loading, and the bytes of the file."""
    model = large_model(layers)
    source, target = folder / "source.tinynet", folder / "target.tinynet"
    model.save(source)
    calls = savers(model, source, target)
    saving = take_turns(calls, rounds, folder, [source])
    kept = [source]
    for name, suffix in (("np.savez", ".npz"), ("safetensors", ".safetensors")):
        if name in calls:
            calls[name]()
            kept.append(target.with_suffix(suffix).rename(source.with_suffix(suffix)))
    del calls, model
    loading = take_turns(loaders(source, target), rounds, folder, kept)
    size = source.stat().st_size
    memory = memory_of_loading(source)
    return {"bytes": size, "saving": saving, "loading": loading, "memory": memory}


def memory_of_loading(path: Path) -> float | None:
    """MB that a process which loads the file takes beyond the tensors; None where none can tell."""
    if not Path("/proc/self/status").exists():
        return None
    command = [sys.executable, "-c", PEAK, str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_speeds(what: str, seconds: Seconds, own: str, size: int) -> None:
    """A table of the times, the fastest first, with the speed beside that of tinynet."""
    rows = [
        [
            f"  {name}",
            *report.spread(times, 1e3, 0),
            f"{size / statistics.median(times) / 1e9:.2f}",
            f"{report.ratio_to_fastest(times, [seconds[own]]):.2f}",
        ]
        for name, times in sorted(seconds.items(), key=lambda it: statistics.median(it[1]))
    ]
    print()
    head = [f"{what} {size / 1e6:.0f} MB, milliseconds", "median", "min", "max", "GB/s"]
    report.print_table([*head, "speed of tinynet / its"], rows)


# --- a checkpoint after each epoch ---------------------------------------------------------------


def checkpoints(images: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of epochs with and without a checkpoint, in turns, and of the saves in them."""
    import tinynet

    path = folder / "checkpoint.tinynet"
    x, y = networks.random_data("mlp-128", images)
    network = networks.build("tinynet", "mlp-128", networks.INFERENCE_BATCH, None)
    model = network.model
    saves: list[float] = []

    class Timed(tinynet.callbacks.ModelCheckpoint):
        """Tells how long its part of the epoch takes."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            saves.append(timed(lambda: super(Timed, self).on_epoch_end(epoch, logs))[0])

    def fit(*callbacks: Any) -> float:
        return timed(
            lambda: model.fit(x, y, networks.INFERENCE_BATCH, verbose=0, callbacks=[*callbacks])
        )[0]

    found: dict[str, list[float]] = {"without": [], "with": []}
    for turn in range(rounds + 1):
        os.sync()
        ways = {"without": (), "with": (Timed(path),)}
        for way in sorted(ways, reverse=bool(turn % 2)):
            seconds = fit(*ways[way])
            if turn:
                found[way].append(seconds)
    return found | {"saves": saves[1:]}


def print_checkpoints(found: dict[str, list[float]], images: int) -> None:
    """The epochs and the saves."""
    rows = [
        ["  without a checkpoint", *report.spread(found["without"], 1e3, 0)],
        ["  with a checkpoint", *report.spread(found["with"], 1e3, 0)],
        ["  the checkpoint itself", *report.spread(found["saves"], 1e3, 1)],
    ]
    print()
    head = [f"an epoch of mlp-128 on {images:,} images, milliseconds", "median", "min", "max"]
    report.print_table(head, rows)


# --- the limits ----------------------------------------------------------------------------------


def verdicts_of(files: dict[str, Any], epochs: dict[str, list[float]]) -> list[Verdict]:
    """A row for each limit, and for what is beside it."""
    saving, loading = files["saving"], files["loading"]

    def speed(seconds: Seconds, own: str, peer: str) -> float:
        return report.ratio_to_fastest(seconds[peer], [seconds[own]])

    pairs = zip(epochs["with"], epochs["without"], strict=True)
    slower = 100 * (statistics.median(after / before for after, before in pairs) - 1)
    shares = zip(epochs["saves"], epochs["without"], strict=True)
    share = 100 * statistics.median(save / epoch for save, epoch in shares)
    return [
        Verdict(f"saving: speed / {DURABLE}", speed(saving, SAVED, DURABLE), LEAST_SPEED, True),
        Verdict(f"saving: speed / {COPY}", speed(saving, SAVED, COPY), None, True),
        Verdict(f"loading: speed / {COPY}", speed(loading, LOADED, COPY), LEAST_SPEED, True),
        Verdict(f"loading: speed / {READ}", speed(loading, LOADED, READ), None, True),
        Verdict("loading: MB beyond the tensors", files["memory"], MOST_MEMORY),
        Verdict("checkpoints: % of an epoch, by the epochs", slower, None),
        Verdict("checkpoints: % of an epoch, by the saves in them", share, MOST_COST),
    ]


# --- the command ---------------------------------------------------------------------------------


@contextmanager
def folder_below(parent: Path | None) -> Iterator[Path]:
    """A folder for the files, that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write everything; returns the exit status."""
    about = report.machine(os.cpu_count() or 1)
    report.print_machine(about)
    if not report.is_installed("safetensors"):
        print("safetensors is not installed and left out")
    others = Others()
    with folder_below(args.folder) as folder:
        files = save_and_load(args.layers, args.rounds, folder)
    print_speeds("saving", files["saving"], SAVED, files["bytes"])
    print_speeds("loading", files["loading"], LOADED, files["bytes"])
    with folder_below(args.folder) as folder:
        epochs = checkpoints(args.images, args.rounds, folder)
    print_checkpoints(epochs, args.images)
    about |= report.quiet_notes(others, {})
    with folder_below(args.folder) as folder:
        table = mutations.compare(args.count, min(args.count, mutations.SEALED_COUNT), folder)
    print()
    report.print_table(["changed files", *mutations.OUTCOMES], mutations.rows_of(table))
    verdicts = verdicts_of(files, epochs)
    wrong = sum(
        counts[outcome]
        for name, counts in table.items()
        if name.startswith("tinynet")
        for outcome in mutations.OUTCOMES[2:]
    )
    verdicts.append(Verdict("changed model files that were not refused or equal", wrong, 0))
    print()
    report.print_table(["median", "", "limit", "verdict"], ([v.what, *v.cells()] for v in verdicts))
    figures = {"files": files, "checkpoints": epochs, "mutations": table}
    report.write_json(args.json, machine=about, figures=figures, limits=verdicts)
    return report.conclude(verdicts)


def main() -> int:
    """Measure everything."""
    parser = report.arguments(__doc__, rounds=9, threads=False)
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    parser.add_argument("--count", type=int, default=mutations.COUNT, help="changed files")
    parser.add_argument("--quick", action="store_true", help="one round, little of everything")
    args = parser.parse_args()
    args.layers, args.images = LAYERS, IMAGES
    if args.quick:
        args.rounds, args.layers, args.images = 1, QUICK_LAYERS, QUICK_IMAGES
        args.count = mutations.QUICK_COUNT
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
