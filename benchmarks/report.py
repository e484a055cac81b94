"""What the benchmarks tell, and how: the machine, tables, verdicts, JSON, pictures."""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workers import FullSpeed, Others, cores

PACKAGES = (
    "numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "keras", "tensorflow", "tensorflow-cpu",
    "threadpoolctl", "safetensors",
)  # fmt: skip

# Of a core: more than that disturbs. Out of turn more is usual where turns are short: OpenBLAS's
# threads look for work for some 30 ms after each, and the others wait for that.
QUIET, QUIET_OUT_OF_TURN = 0.1, 0.3

MOST_THREADS = 256  # that tinynet takes
PICTURES = (".png", ".svg", ".pdf")

# Told apart by the colour-blind (Okabe and Ito 2008), tinynet's first.
COLOURS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#56b4e9", "#999999")


# --- the command line ----------------------------------------------------------------------------


def arguments(description: str, rounds: int, threads: bool = True) -> argparse.ArgumentParser:
    """A parser with the arguments that all benchmarks have; ``threads`` for those with workers."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=count, default=rounds, help=f"turns; default: {rounds}")
    parser.add_argument("--json", type=_file, help="write all figures and the machine there")
    if threads:
        parser.add_argument(
            "--threads", type=_threads, default=cores(), help="for each; default: all cores"
        )
        parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def add_patience(parser: argparse.ArgumentParser) -> None:
    """The argument of `FullSpeed`."""
    parser.add_argument(
        "--patience", type=_seconds, default=0.0, metavar="SECONDS",
        help="for each turn: have it begin and end with the machine at full speed, or repeat it",
    )  # fmt: skip


def count(text: str) -> int:
    """The type of an argument that is 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return value


def _threads(text: str) -> int:
    value = count(text)
    if value > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_THREADS}, got {value}")
    return value


def _file(text: str) -> Path:
    """The type of an argument that names a file to be written, when all has been measured."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"must be a file that can be written, got {text}")
    return path


def picture(text: str) -> Path:
    """The type of an argument that names a picture to be drawn."""
    path = _file(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"must end in one of {', '.join(PICTURES)}, got {text}")
    return path


# --- the machine ---------------------------------------------------------------------------------


def is_installed(*modules: str) -> bool:
    """Whether all of them can be imported; looks for them without importing."""
    return all(importlib.util.find_spec(module) for module in modules)


def machine(threads: int, blas: Sequence[str] = ()) -> dict[str, Any]:
    """What the figures of a run depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": _versions(),
        "blas": list(blas),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    """The CPU's name, and the widest of the vector instructions that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = {key.strip(): value.strip() for key, _, value in (li.partition(":") for li in lines)}
    name = entries.get("model name", platform.machine())
    flags = entries.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), "")
    return f"{name} ({widest})" if widest else name


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine_line(about: dict[str, Any]) -> str:
    """The machine in one line, as it stands under a picture."""
    return f"{about['cpu']}, {about['cores']} cores, threads: {about['threads']}"


def print_machine(about: dict[str, Any]) -> None:
    """The machine, and the versions of everything that matters."""
    print(f"{machine_line(about)}; {about['platform']}, Python {about['python']}")
    print(", ".join(f"{name} {version}" for name, version in about["packages"].items()))
    for library in about["blas"]:
        print(f"NumPy runs on {library}")


def quiet_notes(
    others: Others, idle: dict[str, float], speed: FullSpeed | None = None
) -> dict[str, Any]:
    """Say so where the machine was not quiet: other programs, workers out of turn, its speed."""
    used = others.cores_used()
    if used is not None:
        print(f"\nOther programs used {max(used, 0):.2f} cores meanwhile", end="")
        print(": the machine was not quiet" if used > QUIET else "")
    for name, share in idle.items():
        if share > QUIET_OUT_OF_TURN:
            print(f"{name} used {share:.2f} cores while it was not its turn")
    notes = {"cores_used_by_others": used, "cores_used_out_of_turn": idle}
    if speed is None or speed.notes is None:
        return notes
    print(speed.notes)
    return notes | {"full_speed": speed.notes}


# --- figures -------------------------------------------------------------------------------------


def ratio_to_fastest(own: Sequence[float], others: Iterable[Sequence[float]]) -> float:
    """``own`` divided by the fastest of ``others``: round by round, then the median.

    What disturbs the machine in one round disturbs both sides of its ratio.
    """
    rounds = zip(own, zip(*others, strict=True), strict=True)
    return statistics.median(mine / min(theirs) for mine, theirs in rounds)


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 2) -> list[str]:
    """Median, smallest and largest, as three cells of a table."""
    figures = statistics.median(values), min(values), max(values)
    return [f"{scale * figure:.{digits}f}" for figure in figures]


class Verdict(NamedTuple):
    """One row of the limits: a value that must not be above its limit, or not below it."""

    what: str
    value: float | None
    limit: float | None
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the value is within its limit; true where one of them is not there."""
        if self.limit is None or self.value is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def word(self) -> str:
        """ "ok", or on which side of its limit the value is."""
        if self.limit is None:
            return ""
        return "ok" if self.holds else "under" if self.at_least else "over"

    def cells(self) -> list[str]:
        """Value, limit and verdict, as three cells of a table."""
        if self.value is None:
            return ["", "", ""]
        if self.limit is None:
            return [f"{self.value:.2f}", "", ""]
        sign = ">=" if self.at_least else "<="
        return [f"{self.value:.2f}", f"{sign} {self.limit:g}", self.word]


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need to be, the first to the left, the others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def conclude(verdicts: Sequence[Verdict], quick: bool = False) -> int:
    """Say which rows miss their limits; returns the exit status, 0 where none does.

    quick: one short round was measured, of which that cannot be said.
    """
    if quick:
        print("\nOne short round: how its figures compare with the limits means nothing")
        return 0
    limited = [verdict for verdict in verdicts if verdict.limit is not None]
    missed = [verdict for verdict in limited if not verdict.holds]
    if not limited:
        print("\nNothing was measured that has a limit")
        return 0
    print(f"\n{len(limited) - len(missed)} of {len(limited)} rows are within their limits")
    for verdict in missed:
        value, limit, word = verdict.cells()
        print(f"  {word}: {verdict.what}: {value}, to be {limit}")
    return 1 if missed else 0


def write_json(path: Path | None, **content: Any) -> None:
    """Write the figures where --json says, if it does."""
    if path is None:
        return
    verdicts = content.get("limits", [])
    content["limits"] = [{**each._asdict(), "verdict": each.word} for each in verdicts]
    path.write_text(json.dumps(content, indent=1) + "\n")


def progress(total: int) -> Any:
    """A bar on standard error, where somebody watches."""
    from tqdm import tqdm

    return tqdm(total=total, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)


# --- pictures ------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Any:
    """A figure of matplotlib's that needs no screen."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grouped_bars(
    ax: Any,
    groups: Sequence[str],
    series: dict[str, Sequence[float | None]],
    label: str,
    digits: int,
    colours: dict[str, str],
) -> None:
    """Horizontal bars, a group for each entry of ``groups`` from the top down, numbers at them.

    A group has no place for what has no value in it.
    """
    counts = [sum(values[g] is not None for values in series.values()) for g in range(len(groups))]
    thickness = [0.84 / max(1, count) for count in counts]
    places = [g - 0.42 + thick / 2 for g, thick in enumerate(thickness)]
    for name, values in series.items():
        known = [g for g, value in enumerate(values) if value is not None]
        bars = ax.barh(
            [places[g] for g in known],
            [values[g] for g in known],
            [thickness[g] for g in known],
            color=colours[name],
            label=name,
        )
        box = {"color": "white", "pad": 0}  # a line behind is not to go through the number
        ax.bar_label(bars, fmt=f"{{:.{digits}f}}", padding=2, fontsize=6.5, bbox=box)
        for g in known:
            places[g] += thickness[g]
    ax.set_yticks(range(len(groups)), groups)
    ax.set_ylim(len(groups) - 0.45, -0.55)
    ax.set_xlabel(label)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Any, columns: int) -> None:
    """One legend for all panels: each name once, bars before lines."""
    named: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    labels = sorted(named, key=lambda label: not hasattr(named[label], "patches"))
    handles = [named[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def save_picture(figure: Any, path: Path) -> None:
    """Write the picture, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"\nPicture: {path}")
