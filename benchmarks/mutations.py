"""Files with something changed in them, and what becomes of those who read them.

    python benchmarks/mutations.py [--count 20000]

The same changes are made to one small model in three formats: a tinynet model file, safetensors,
and NumPy's ``np.savez``. A changed file should be refused, by an error that is meant for that.
Counted is how it ended:

- refused: by the format's own error; by ValueError, OSError, EOFError or zipfile.BadZipFile where
  np.load reads, which has none
- loaded equal: as if nothing had happened, with the same content
- silently wrong: with another content, and not a word
- other exception: one that no caller would expect
- slow: more than a second of computing, whatever came of it
- large: memory of 50 MB more than the file, as Python counts it, whatever came of it

Nothing is sealed again after these changes: they are what disks and transfers do. A second table is
of changes to the description in a model file's header whose checksums are made right again: values
of another kind, keys that are gone, numbers that are huge. What such a file says may be another
model, so none is silently wrong, and "loaded equal" means loaded; but nothing else may come of it.

What is not installed is named and left out.
"""

import argparse
import copy
import hashlib
import io
import json
import struct
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

COUNT, SEALED_COUNT, QUICK_COUNT = 20_000, 4_000, 300
SLOW, LARGE = 1.0, 50e6  # seconds, bytes

OUTCOMES = (
    "refused", "loaded equal", "silently wrong", "other exception", "slow", "large",
)  # fmt: skip

Rng = np.random.Generator


# --- changes to bytes ----------------------------------------------------------------------------


def _range(rng: Rng, data: bytes, longest: int = 64) -> slice:
    """Some bytes of the file, at least one; anywhere, as often near the start as elsewhere."""
    head = int(rng.integers(min(len(data), 256)))
    start = head if rng.random() < 0.3 else int(rng.integers(len(data)))
    return slice(start, min(len(data), start + int(rng.integers(1, longest))))


def _replaced(data: bytes, where: slice, new: bytes) -> bytes:
    return data[: where.start] + new + data[where.stop :]


def flip_a_bit(rng: Rng, data: bytes) -> bytes:
    """One bit is another one."""
    where = _range(rng, data, 2)
    return _replaced(data, where, bytes([data[where][0] ^ 1 << int(rng.integers(8))]))


def change_a_byte(rng: Rng, data: bytes) -> bytes:
    """One byte is any other, and often one that means something."""
    byte = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, *b'0"{}[],', int(rng.integers(256))]))
    return _replaced(data, _range(rng, data, 2), bytes([byte]))


def change_bytes(rng: Rng, data: bytes) -> bytes:
    """A range is noise."""
    where = _range(rng, data)
    return _replaced(data, where, rng.bytes(where.stop - where.start))


def truncate(rng: Rng, data: bytes) -> bytes:
    """The end is missing."""
    return data[: int(rng.integers(len(data)))]


def insert(rng: Rng, data: bytes) -> bytes:
    """There are more bytes somewhere."""
    where = _range(rng, data)
    more = rng.bytes(where.stop - where.start)
    return _replaced(data, slice(where.start, where.start), more)


def delete(rng: Rng, data: bytes) -> bytes:
    """There are fewer bytes somewhere."""
    return _replaced(data, _range(rng, data), b"")


def append(rng: Rng, data: bytes) -> bytes:
    """Something follows."""
    return data + rng.bytes(int(rng.integers(1, 100)))


def zero(rng: Rng, data: bytes) -> bytes:
    """A range is zero, as of a page that never reached the disk."""
    where = _range(rng, data, 600)
    return _replaced(data, where, bytes(where.stop - where.start))


def duplicate(rng: Rng, data: bytes) -> bytes:
    """A range comes twice."""
    where = _range(rng, data, 300)
    return _replaced(data, slice(where.stop, where.stop), data[where])


def overwrite(rng: Rng, data: bytes) -> bytes:
    """A range is a copy of another one."""
    source = _range(rng, data, 300)
    length = source.stop - source.start
    start = int(rng.integers(max(1, len(data) - length)))
    return _replaced(data, slice(start, start + length), data[source])


def swap(rng: Rng, data: bytes) -> bytes:
    """Two blocks of one size have changed places."""
    size = int(rng.choice([1, 4, 8, 16, 64, 128, 512]))
    places = rng.integers(max(1, len(data) // size), size=2) * size
    first, second = (slice(int(place), int(place) + size) for place in sorted(places))
    if first == second:
        return data
    ends = data[first.stop : second.start], data[second.stop :]
    return data[: first.start] + data[second] + ends[0] + data[first] + ends[1]


def splice(rng: Rng, data: bytes, other: bytes) -> bytes:
    """The beginning of this file, and the end of one of the same model at another time."""
    point = int(rng.integers(1, len(data)))
    changed = data[:point] + other[point:]
    return data if changed == other else changed


CHANGES: tuple[Callable[[Rng, bytes], bytes], ...] = (
    flip_a_bit, change_a_byte, change_bytes, truncate, insert, delete, append, zero, duplicate,
    overwrite, swap,
)  # fmt: skip


def mutations(data: bytes, other: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` changed files and how each was changed: all kinds in turn, none unchanged.

    other: a file of the same model at another time, for `splice`.
    """
    rng = np.random.default_rng(seed)
    changes = (*CHANGES, partial(splice, other=other))
    made = 0
    while made < count:
        change = changes[made % len(changes)]
        changed = change(rng, data)
        if changed != data:
            made += 1
            yield getattr(change, "__name__", "splice"), changed


# --- changes to a header that is sealed again ----------------------------------------------------

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e308, 5e-324, 10**9, 10**18, 2**63, -(2**63),
    10**19, "", "x", "relu", "float64", "Dense", "os.system", "../x", "\0", "0" * 64, "x" * 3000,
    [], [0], [-1], [10**18, 10**18], [None], [[]], [1] * 70, {},
    {"class_name": "Zeros", "config": {}}, {"class_name": "Dense", "config": {"units": 10**9}},
    {"x": {"x": {}}},
)  # fmt: skip


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a tree of lists and dicts: the container and the key."""
    found, todo = [], [value]
    while todo:
        here = todo.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        for key in keys:
            found.append((here, key))
            if isinstance(here[key], dict | list):
                todo.append(here[key])
    return found


def _change_tree(rng: Rng, tree: Any) -> str:
    """Change one place of the tree; returns how."""
    places = _places(tree)
    container, key = places[int(rng.integers(len(places)))]
    other, other_key = places[int(rng.integers(len(places)))]
    how = str(rng.choice(["replace", "replace", "replace", "drop", "swap", "copy", "add", "scale"]))
    value = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
    if how == "drop":
        del container[key]
    elif how == "copy":
        container[key] = copy.deepcopy(other[other_key])
    elif how == "swap":
        mine, theirs = copy.deepcopy(container[key]), copy.deepcopy(other[other_key])
        other[other_key] = mine
        container[key] = theirs
    elif how == "add" and isinstance(container, list):
        container.insert(key, value)
    elif how == "add":
        container[str(rng.choice([*map(str, container), "more", "name", "seed"]))] = value
    elif how == "scale" and type(container[key]) in (int, float):
        container[key] *= int(rng.choice([-1, 2, 64, 10**6]))
    else:
        container[key] = value
    return how


class Sealed:
    """A tinynet model file whose header can be changed and sealed again.

    White space behind the header gives it room, so that the tensors stay where they are.
    """

    ROOM = 4096
    PRELUDE = struct.Struct("<8sHHIQQ")

    def __init__(self, data: bytes) -> None:
        length = self.PRELUDE.unpack_from(data)[-1]
        start = -(-(64 + length) // 64) * 64
        self.header = json.loads(data[64 : 64 + length])
        self.tail = data[start:]
        self.start = start + self.ROOM
        for row in self.header["tensors"]:
            row["offset"] += self.ROOM

    def seal(self, header: Any) -> bytes | None:
        """A file with this header, or None where there is no room for it."""
        text = json.dumps(header).encode()
        text += b" " * (self.start - 64 - len(text))
        if len(text) > self.start - 64:
            return None
        length = self.start + len(self.tail)
        prelude = self.PRELUDE.pack(b"\x89TNN\r\n\x1a\n", 1, 0, 0, length, len(text))
        return prelude + hashlib.sha256(prelude + text).digest() + text + self.tail

    def mutations(self, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
        """``count`` sealed files, in each of which one to three places of the header changed."""
        rng = np.random.default_rng(seed)
        made = 0
        while made < count:
            header = copy.deepcopy(self.header)
            how = [_change_tree(rng, header) for _ in range(int(rng.choice([1, 1, 1, 2, 3])))]
            changed = self.seal(header)
            if changed is not None and header != self.header:
                made += 1
                yield " ".join(how), changed


# --- what becomes of them ------------------------------------------------------------------------


class Format(NamedTuple):
    """How a file of a format is read, and what its refusal looks like."""

    name: str
    suffix: str
    read: Callable[[Path], Any]  # the content, comparable
    refusals: tuple[type[BaseException], ...]


def put(path: Path, data: bytes) -> None:
    """Write a file in the place of the one that is there.

    Emptying it first takes a file system milliseconds, and that ten thousands of times.
    """
    with open(path, "r+b" if path.exists() else "xb") as file:
        file.write(data)
        file.truncate()


class Case(NamedTuple):
    """What became of one changed file."""

    outcome: str
    how: str
    seconds: float
    peak: int
    error: BaseException | None


def classify(form: Format, path: Path, how: str, data: bytes, expected: Any) -> Case:
    """Read a changed file, and tell how that ended. ``expected`` None: any content will do."""
    put(path, data)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    began = time.process_time()
    error: BaseException | None = None
    try:
        content = form.read(path)
        outcome = "loaded equal" if expected in (None, content) else "silently wrong"
    except form.refusals as refusal:
        outcome, error = "refused", refusal
    except Exception as other:
        outcome, error = "other exception", other
    seconds = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1] - before
    if outcome != "silently wrong" and outcome != "other exception":
        outcome = "slow" if seconds > SLOW else outcome
        outcome = "large" if peak > len(data) + LARGE else outcome
    return Case(outcome, how, seconds, peak, error)


def count_outcomes(
    form: Format, changed: Iterator[tuple[str, bytes]], expected: Any, folder: Path
) -> tuple[Counter[str], list[Case]]:
    """How many ended how, and the cases that should not have been."""
    path = folder / f"changed{form.suffix}"
    counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    wrong = []
    tracemalloc.start()
    try:
        for how, data in changed:
            case = classify(form, path, how, data, expected)
            counts[case.outcome] += 1
            if case.outcome not in OUTCOMES[:2]:
                wrong.append(case)
    finally:
        tracemalloc.stop()
    return counts, wrong


# --- one small model in all formats --------------------------------------------------------------


def small_model(epochs: int = 1) -> Any:
    """A compiled model that was trained a little: some 5 KB of weights, slots and description."""
    import tinynet
    from tinynet import layers

    tinynet.utils.set_random_seed(0)
    model = tinynet.Sequential(
        [
            tinynet.Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.25, seed=1),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(0).random((16, 6, 6, 1), np.float32)
    model.fit(x, np.arange(16) % 3, epochs=epochs, verbose=0)
    return model


def content_of(model: Any) -> Any:
    """All that must be the same after loading: comparable, and small."""
    compiled = None
    slots: dict[str, bytes] = {}
    if model.compiled:
        optimizer = model.optimizer
        scores = list(map(repr, model.metrics_given))
        compiled = (repr(optimizer), optimizer.iterations, repr(model.loss), scores)
        slots = {
            f"{key}/{name}": slot.tobytes()
            for key, each in optimizer.slots.items()
            for name, slot in each.items()
        }
    noise = [
        layer.own_generator().bit_generator.state
        for layer in model.layers
        if layer.own_generator() is not None
    ]
    return model.to_json(), [w.tobytes() for w in model.get_weights()], compiled, slots, noise


def tinynet_format() -> Format:
    """tinynet's own."""
    from tinynet import models, saving

    def read(path: Path) -> Any:
        return content_of(models.load_model(path))

    return Format("tinynet", ".tinynet", read, (saving.ModelFileError,))


def _arrays(found: Any) -> Any:
    return {name: (a.shape, a.dtype.str, a.tobytes()) for name, a in found.items()}


def numpy_format() -> Format:
    """np.savez."""

    def read(path: Path) -> Any:
        with open(path, "rb") as file, np.load(file) as found:
            return _arrays({name: found[name] for name in found.files})

    return Format("np.savez", ".npz", read, (ValueError, OSError, EOFError, zipfile.BadZipFile))


def safetensors_format() -> Format | None:
    """safetensors, where it is installed."""
    try:
        import safetensors
        from safetensors.numpy import load_file
    except ImportError:
        return None

    def read(path: Path) -> Any:
        return _arrays(load_file(path))

    return Format("safetensors", ".safetensors", read, (safetensors.SafetensorError,))


def files_of(model: Any, folder: Path) -> dict[Format, bytes]:
    """The model in each format: the bytes of its file. All hold the same tensors."""
    from tinynet import saving

    path = folder / "model.tinynet"
    model.save(path)
    files = {tinynet_format(): path.read_bytes()}
    with saving.ModelFile(path) as file:
        tensors = {name: file.read(name) for name in file.tensors}
    safe = safetensors_format()
    if safe is not None:
        from safetensors.numpy import save

        files[safe] = save(tensors)
    buffer = io.BytesIO()
    np.savez(buffer, **tensors)
    files[numpy_format()] = buffer.getvalue()
    return files


def compare(count: int, sealed_count: int, folder: Path) -> dict[str, dict[str, int]]:
    """The table of outcomes: a row for each format, and one for sealed changes to tinynet's."""
    table = {}
    others = files_of(small_model(epochs=3), folder).values()
    files = files_of(small_model(), folder)
    for (form, data), other in zip(files.items(), others, strict=True):
        path = folder / f"whole{form.suffix}"
        path.write_bytes(data)
        expected = form.read(path)
        changed = mutations(data, other, count)
        table[form.name], _ = count_outcomes(form, changed, expected, folder)
        if form.name == "tinynet":
            changed = Sealed(data).mutations(sealed_count)
            table["tinynet, sealed again"], _ = count_outcomes(form, changed, None, folder)
    return {name: dict(counts) for name, counts in table.items()}


def rows_of(table: dict[str, dict[str, int]]) -> list[list[str]]:
    """The cells to print."""
    return [
        [name, *(f"{counts[outcome]:,}" for outcome in OUTCOMES)] for name, counts in table.items()
    ]


def main() -> int:
    """Compare the formats; returns 1 where tinynet's did anything but refuse or load equal."""
    import report

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT, help=f"files; default: {COUNT:,}")
    parser.add_argument("--quick", action="store_true", help="few of them")
    args = parser.parse_args()
    count = QUICK_COUNT if args.quick else args.count
    if safetensors_format() is None:
        print("safetensors is not installed and left out")
    with tempfile.TemporaryDirectory() as folder:
        table = compare(count, min(count, SEALED_COUNT), Path(folder))
    report.print_table(["changed files", *OUTCOMES], rows_of(table))
    own = [counts for name, counts in table.items() if name.startswith("tinynet")]
    return int(any(counts[outcome] for counts in own for outcome in OUTCOMES[2:]))


if __name__ == "__main__":
    sys.exit(main())
