"""What is in a model file, for a person to read."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from tinynet.saving.file import ModelFile, TensorInfo

_TITLES = {"model": "a model", "weights": "weights alone", "training": "the backup of a training"}
_UNITS = ("B", "KB", "MB", "GB")


def describe(path: str | os.PathLike[str]) -> str:
    """What is in a file, as text: layers, parameters, tensors, training state, and what is broken.

    No model is built; every tensor is read once, to compare its checksum.

    Raises a `tinynet.saving.ModelFileError` where not even the header can be read, OSError where
    the file cannot be.
    """
    return "\n".join(_lines(path)[0])


def examine(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """What `describe` returns, and whether all checksums hold."""
    lines, whole = _lines(path)
    return "\n".join(lines), whole


def _lines(path: str | os.PathLike[str]) -> tuple[list[str], bool]:
    with ModelFile(path) as file:
        broken = [name for name in file.tensors if not file.is_whole(name)]
        weights = [t for t in file.tensors.values() if t.name.startswith("weights/")]
        major, minor = file.version
        lines = [
            f"{file.path}: {_TITLES.get(_text(file.header.get('kind')), 'of an unknown kind')}",
            f"format {major}.{minor}, {file.length:,} bytes, {len(file.tensors)} tensors, "
            f"{sum(_count(t) for t in weights):,} parameters",
        ]
        model = file.header.get("model")
        if isinstance(model, dict):
            lines += ["", *_layers(model, weights)]
        lines += [*_training(file.header)]
        if file.tensors:
            rows = [
                [
                    t.name,
                    t.dtype,
                    _shape(t.shape),
                    _size(t.bytes),
                    "BROKEN" if t.name in broken else "holds",
                ]
                for t in file.tensors.values()
            ]
            lines += [
                "",
                *_table(["Tensor", "dtype", "Shape", "Size", "Checksum"], rows, right=(3,)),
            ]
        lines += [
            "",
            "All checksums hold."
            if not broken
            else f"{len(broken)} of {len(file.tensors)} tensors are broken: {', '.join(broken)}",
        ]
        return lines, not broken


def _layers(model: dict[str, Any], weights: list[TensorInfo]) -> Iterator[str]:
    """The layers as a table, those of a model within the model set in."""
    rows: list[list[str]] = []

    def add(description: Any, before: str, depth: int) -> None:
        config = description.get("config") if isinstance(description, dict) else None
        if not isinstance(config, dict):
            return
        name = _text(config.get("name"))
        inner = config.get("layers")
        inside = isinstance(inner, list)
        own = [t for t in weights if t.name.startswith(f"weights/{before}{name}/")]
        arguments = ", ".join(
            f"{key}={value}"
            for key, value in config.items()
            if key not in ("name", "layers", "trainable") and not key.endswith("_initializer")
        )
        rows.append(
            [
                "  " * depth + f"{name} ({_text(description.get('class_name'))})",
                arguments + ("" if config.get("trainable", True) else ", not trainable"),
                f"{sum(map(_count, own)):,}",
            ]
        )
        if inside:
            for layer in inner:
                add(layer, f"{before}{name}/", depth + 1)

    config = model.get("config")
    if isinstance(config, dict):
        yield f"{_text(model.get('class_name'))} {_text(config.get('name'))!r} in {config.get('dtype')}"
        for layer in config.get("layers") or []:
            add(layer, "", 0)
        yield from _table(["Layer", "Arguments", "Parameters"], rows, right=(2,))


def _training(header: dict[str, Any]) -> Iterator[str]:
    compiled, state = header.get("compiled"), header.get("training")
    if isinstance(compiled, dict):
        yield ""
        yield f"optimizer  {_call(compiled.get('optimizer'))}, after {compiled.get('iterations')} steps"
        yield f"loss       {_call(compiled.get('loss'))}"
        scores = compiled.get("metrics")
        if isinstance(scores, list) and scores:
            yield f"metrics    {', '.join(map(_call, scores))}"
    elif header.get("kind") == "model":
        yield ""
        yield "not compiled"
    if isinstance(state, dict) and isinstance(state.get("dict"), dict):
        state = state["dict"]
        yield ""
        yield (
            f"training   {state.get('epoch')} epochs and {state.get('step')} batches done, "
            f"learning rate {state.get('learning_rate')}, after {state.get('iterations')} steps"
        )
        made_by = header.get("made_by")
        if isinstance(made_by, dict):
            for what, value in made_by.items():
                if what.startswith("the data, ") and isinstance(value, dict):
                    shape = value.get("shape")
                    yield f"data       {what.removeprefix('the data, ')}: {shape} {value.get('dtype')}"


def _call(description: Any) -> str:
    """A description of an object as the call that makes it."""
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        return str(description)
    arguments = ", ".join(f"{key}={value!r}" for key, value in description["config"].items())
    return f"{_text(description.get('class_name'))}({arguments})"


def _table(header: list[str], rows: list[list[str]], right: Sequence[int]) -> Iterator[str]:
    """Columns side by side, those in ``right`` aligned to the right, under a line."""
    rows = [header, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _count(tensor: TensorInfo) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _size(count: float) -> str:
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
