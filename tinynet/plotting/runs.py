"""Trainings as numbers to draw: from a History, a dict of lists, or a CSVLogger's file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.errors import received


class Curve(NamedTuple):
    """One measure over the epochs, which are counted from 1."""

    epochs: list[int]
    values: NDArray[np.float64]


Run = dict[str, Curve]  # the measures of one training that have values, by name: "loss", "val_loss"

_EXPECTED = "history must be a History or a dict of lists"


def read_runs(history: Any) -> dict[str, Run]:
    """The trainings in ``history`` by their labels; one that has none is called "".

    A mapping of lists is one training; a mapping of histories, of such mappings or of paths is
    several.

    Raises TypeError for what is neither, ValueError for a file that is no log, for lists of one
    mapping that differ in length, and where there are no epochs.
    """
    several = isinstance(history, Mapping) and bool(history)
    several = several and all(_is_run(value) for value in history.values())
    runs = {str(k): _read(v) for k, v in history.items()} if several else {"": _read(history)}
    for label, run in runs.items():
        if not measures([run]):
            whose = f"history[{label!r}]" if several else "history"
            raise ValueError(f"{whose} holds no epochs to draw; fit the model first")
    return runs


def measures(runs: Sequence[Run]) -> list[str]:
    """The names to draw, each together with its "val_" name; the loss first."""
    names = {name for run in runs for name in run if not name.startswith("val_")}
    return sorted(names - {"learning_rate"}, key=lambda name: (name != "loss", name))


def best(curve: Curve, name: str) -> tuple[int, float] | None:
    """The epoch with the best value, the first of equals, and the value; NaN is never best."""
    finite = np.flatnonzero(np.isfinite(curve.values))
    if not finite.size:
        return None
    among = curve.values[finite]
    index = finite[among.argmin() if best_is_low(name) else among.argmax()]
    return curve.epochs[index], float(curve.values[index])


def best_is_low(name: str) -> bool:
    """Whether a measure is better where it is lower: losses and errors are, nothing else is."""
    name = name.lower()
    return name.endswith(("loss", "error", "crossentropy")) or name in ("mse", "mae")


def _is_run(value: Any) -> bool:
    return isinstance(getattr(value, "history", value), Mapping | str | os.PathLike)


def _read(history: Any) -> Run:
    if isinstance(history, str | os.PathLike):
        return _read_file(Path(history))
    values = getattr(history, "history", history)
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{_EXPECTED}, got {received(history)}; the path of a CSVLogger's file, or a dict "
            "with several of these by their labels, will do too"
        )
    curves = {str(name): _as_numbers(name, numbers) for name, numbers in values.items()}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    epochs_of: Mapping[str, Sequence[int]] | None = getattr(history, "epochs_of", None)
    if epochs_of is None:
        _check_same_length(curves)
        epochs_of = {}
    counted = _count(getattr(history, "epoch", []))
    return {
        name: Curve(_place(epochs_of.get(name, range(len(curve))), counted), curve)
        for name, curve in curves.items()
    }


def _check_same_length(curves: Mapping[str, NDArray[np.float64]]) -> None:
    """Raises ValueError where lists that do not tell their epochs differ in length."""
    (first, length), *others = [(name, len(curve)) for name, curve in curves.items()] or [("", 0)]
    for name, other in others:
        if other != length:
            raise ValueError(
                f"history has {length} values for {first!r} and {other} for {name!r}, which may be "
                "of any epochs; pass what fit returned, which knows them"
            )


def _as_numbers(name: Any, values: Any) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or numbers.ndim != 1:
        raise TypeError(f"{_EXPECTED}, got {received(values)} for {name!r}")
    return numbers


def _count(epochs: Sequence[int]) -> list[tuple[int, int]]:
    """Each epoch, and its number from 1 on, through trainings of which each begins anew."""
    counted: list[tuple[int, int]] = []
    before = 0
    for i, epoch in enumerate(epochs):
        if i and epoch <= epochs[i - 1]:
            before = counted[-1][1]
        counted.append((epoch, before + epoch + 1))
    return counted


def _place(epochs: Sequence[int], counted: Sequence[tuple[int, int]]) -> list[int]:
    """The numbers of ``epochs``, which are some of all that were counted, in their order."""
    following = iter(counted)
    placed = [next((number for e, number in following if e == epoch), None) for epoch in epochs]
    numbers = [number for number in placed if number is not None]
    return numbers if len(numbers) == len(placed) else [epoch + 1 for epoch in epochs]


def _read_file(path: Path) -> Run:
    """The columns of a CSVLogger's file; NA and empty cells are values that are not there."""
    text = path.read_text(encoding="utf-8")
    header = text.partition("\n")[0].strip()
    if not header.startswith("epoch"):
        raise ValueError(
            f"{str(path)!r} is not a CSVLogger's file: its first line must begin with the column "
            f"'epoch', it is {header[:60]!r}"
        )
    (_, *names), *rows = csv.reader(text.splitlines(), delimiter=header[5:6] or ",")
    lines = [(number, row) for number, row in enumerate(rows, 2) if row]
    counted = _count([int(_cell(path, number, "epoch", row[0])) for number, row in lines])
    columns: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    for (number, row), (_, epoch) in zip(lines, counted, strict=True):
        for name, cell in zip(names, row[1:], strict=False):
            if cell not in ("NA", ""):
                columns[name].append((epoch, _cell(path, number, name, cell)))
    return {
        name: Curve([epoch for epoch, _ in points], np.array([value for _, value in points]))
        for name, points in columns.items()
        if points
    }


def _cell(path: Path, line: int, column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"{str(path)!r}, line {line}: {column} must be a number or NA, got {text!r}"
        ) from None
