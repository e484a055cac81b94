"""What is in a model file, for a person to read."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tinynet.saving.file import ModelFile, TensorInfo

_TITLES = {"model": "a model", "weights": "weights alone", "training": "the backup of a training"}
_UNITS = ("B", "KB", "MB", "GB")
_LONGEST = 200  # characters of a cell that a stranger may have filled


def describe(path: str | os.PathLike[str]) -> str:
    """What is in a file, as text: layers, parameters, tensors, training state, and what is broken.

    No model is built; every tensor is read once, to compare its checksum.

    Raises a `tinynet.saving.ModelFileError` where not even the header can be read, OSError where
    the file cannot be.
    """
    return examine(path)[0]


def examine(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """What `describe` returns, and whether all checksums hold."""
    lines, whole = _lines(path)
    return "\n".join(map(_printable, lines)), whole


def _lines(path: str | os.PathLike[str]) -> tuple[list[str], bool]:
    with ModelFile(path) as file:
        tensors = list(file.tensors.values())
        broken = {tensor.name: None for tensor in tensors if not file.is_whole(tensor.name)}
        counts = _parameters(tensors)
        major, minor = file.version
        model = _dict(file.header, "model") or _dict(file.header, "made_by", "the model")
        kind = _TITLES.get(_text(file.header.get("kind")), "something of an unknown kind")
        lines = [
            f"{file.path}: {kind}",
            f"format {major}.{minor}, {file.length:,} bytes, {len(tensors)} tensors, "
            f"{counts['weights/']:,} parameters",
            *_model(model, counts),
            *_compiled(_dict(file.header, "compiled")),
            *_training(_dict(file.header, "training", "dict"), _dict(file.header, "made_by")),
        ]
        rows = [
            [
                tensor.name,
                tensor.dtype,
                _shape(tensor.shape),
                _size(tensor.bytes),
                "BROKEN" if tensor.name in broken else "holds",
            ]
            for tensor in tensors
        ]
        lines += ["", *_table(["Tensor", "dtype", "Shape", "Size", "Checksum"], rows, right=3), ""]
        if broken:
            lines.append(f"{len(broken)} of {len(tensors)} tensors are broken: {', '.join(broken)}")
        else:
            lines.append("All checksums hold.")
        return lines, not broken


def _parameters(tensors: list[TensorInfo]) -> Counter[str]:
    """How many parameters are under each beginning of tensors' names, up to a slash."""
    counts: Counter[str] = Counter()
    for tensor in tensors:
        before = ""
        for part in tensor.name.split("/")[:-1]:
            before += f"{part}/"
            counts[before] += math.prod(tensor.shape)
    return counts


def _model(model: dict[str, Any], counts: Counter[str]) -> list[str]:
    """The layers as a table."""
    config = _dict(model, "config")
    if not config:
        return []
    title = f"{_text(model.get('class_name'))} {config.get('name')!r} in {config.get('dtype')}"
    rows = list(_layers(config, counts, "weights/", 0))
    return ["", title, *_table(["Layer", "Parameters", "Arguments"], rows, right=1)]


def _layers(
    config: dict[str, Any], counts: Counter[str], before: str, depth: int
) -> Iterator[list[str]]:
    """A row for each layer, those of a model within the model set in."""
    layers = config.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        own = _dict(layer, "config")
        name = _text(own.get("name"))
        path = f"{before}{name}/"
        arguments = [
            f"{key}={value}"
            for key, value in own.items()
            if key not in ("name", "layers", "trainable") and not key.endswith("_initializer")
        ]
        if own.get("trainable") is False:
            arguments.append("not trainable")
        kind = _text(_dict(layer).get("class_name"))
        title = "  " * depth + f"{name} ({kind})"
        yield [_cut(title), f"{counts[path]:,}", _cut(", ".join(arguments))]
        yield from _layers(own, counts, path, depth + 1)


def _compiled(compiled: dict[str, Any]) -> list[str]:
    if not compiled:
        return []
    scores = compiled.get("metrics")
    lines = [
        "",
        f"optimizer  {_call(compiled.get('optimizer'))}",
        f"steps      {compiled.get('iterations')}",
        f"loss       {_call(compiled.get('loss'))}",
    ]
    if isinstance(scores, list) and scores:
        lines.append(f"metrics    {', '.join(map(_call, scores))}")
    return lines


def _training(state: dict[str, Any], made_by: dict[str, Any]) -> list[str]:
    if not state:
        return []
    lines = [
        "",
        f"training   {state.get('epoch')} epochs and {state.get('step')} batches of the next",
        f"steps      {state.get('iterations')}, learning rate {state.get('learning_rate')}",
        f"callbacks  {made_by.get('the callbacks')}",
    ]
    for what in made_by:
        data = _dict(made_by, what)
        if what.startswith("the data, ") and data:
            name = what.removeprefix("the data, ")
            lines.append(f"data       {name}: {data.get('shape')} {data.get('dtype')}")
    return lines


def _call(description: Any) -> str:
    """A description of an object as the call that makes it."""
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        return str(description)
    arguments = ", ".join(f"{key}={value!r}" for key, value in description["config"].items())
    return f"{_text(description.get('class_name'))}({arguments})"


def _table(header: list[str], rows: list[list[str]], right: int) -> Iterator[str]:
    """Columns side by side under a line; column ``right`` is aligned to the right."""
    rows = [header, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if i == right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _size(count: float) -> str:
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"


def _dict(value: Any, *keys: str) -> dict[str, Any]:
    """``value[key][key]...`` where that is a dict; elsewhere nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _printable(line: str) -> str:
    """What a stranger put in must not reach the terminal as a command to it."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
