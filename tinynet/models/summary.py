"""What `Model.summary` prints, and what a notebook shows of a model."""

import re
import sys
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, zip_longest
from typing import Any
from unicodedata import combining, east_asian_width

from tinynet.display import html_table, html_text
from tinynet.errors import check_int
from tinynet.layers.base import Layer

HEADER = ("Layer (type)", "Output Shape", "Param # (memory)", "Trainable", "Multiply-adds")
LEFT = (0, 1, 3)  # columns of words; the others are numbers
NARROWED = (4, 0, 2, 1, 3)  # in which order columns give way where there is no room for all
TRAINABLE = HEADER.index("Trainable")

LINE_LENGTH = 80

# A column is never made narrower.
_LEAST = 8

_ASCII = str.maketrans("─│┌┬┐├┼┤└┴┘", "-|+++++++++")


def format_size(count: int, itemsize: int) -> str:
    """The memory that ``count`` numbers take: "397.54 KB"."""
    size = float(count * itemsize)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def say(text: str) -> None:
    """Print a table, with - | + for lines where standard output cannot show better ones."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    print(text)


# --- what is known of each layer -----------------------------------------------------------------


def summary_text(
    model: Any, line_length: int | None = None, expand_nested: bool = False, trainable: bool = True
) -> str:
    """The text that `Model.summary` prints. Raises ValueError for a ``line_length`` too small."""
    limit = LINE_LENGTH if line_length is None else check_int("line_length", line_length, 1)
    shown = [i for i in range(len(HEADER)) if trainable or i != TRAINABLE]

    def cells(row: Sequence[str]) -> list[str]:
        return [row[i] for i in shown]

    lines = [
        *_wrap(f'Model: "{_printable(model.name)}"', limit),
        table(
            cells(HEADER),
            map(cells, layer_rows(model.layers, expand_nested)),
            left=[shown.index(i) for i in LEFT if i in shown],
            narrowed=[shown.index(i) for i in NARROWED if i in shown],
            line_length=limit,
        ),
        *(part for line in totals(model) for part in _wrap(f" {line}", limit)),
    ]
    return "\n".join(lines)


def summary_html(model: Any) -> str:
    """The same, for a notebook."""
    caption = f'{type(model).__name__} "{_printable(model.name)}"'
    layers = html_table(HEADER, layer_rows(model.layers, expand_nested=True), caption, LEFT)
    return layers + html_text("\n".join(totals(model)))


def layer_rows(layers: Iterable[Layer], expand_nested: bool, depth: int = 0) -> list[Sequence[str]]:
    """A row of text for each layer, and below a model, with ``expand_nested``, those of its own."""
    rows: list[Sequence[str]] = []
    for layer in layers:
        lead = "   " * depth + "└ " if depth else ""
        shape = None if layer.input_shape is None else layer.output_shape(layer.input_shape)
        multiply_adds = _multiply_adds(layer)
        rows.append(
            (
                f"{lead}{_printable(layer.name)} ({type(layer).__name__})",
                "?" if shape is None else f"({', '.join(['None', *map(str, shape)])})",
                _params(layer),
                _trainable(layer),
                "?" if multiply_adds is None else f"{multiply_adds:,}",
            )
        )
        if expand_nested:
            rows += layer_rows(layer.inner_layers(), expand_nested, depth + 1)
    return rows


def _params(layer: Layer) -> str:
    if not layer.built:
        return "0 (unbuilt)"
    count = layer.count_params()
    # Number and unit stay together: a space that does not break.
    memory = _memory(layer.weights).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{count:,} ({memory})" if count else "0"


def _trainable(layer: Layer) -> str:
    """Whether the optimizer changes the params of a layer: of a model, of all in it."""
    if not layer.built:
        return "?"
    params = sum(p.size for leaf in _leaves(layer) for p in leaf.params.values())
    changed = sum(p.size for p in layer.trainable_params.values())
    if not params:
        return "-"
    return "yes" if changed == params else "partly" if changed else "no"


def _multiply_adds(layer: Layer) -> int | None:
    return None if layer.input_shape is None else layer.multiply_adds(layer.input_shape)


def _leaves(layer: Layer) -> list[Layer]:
    inside = layer.inner_layers()
    return [leaf for part in inside for leaf in _leaves(part)] if inside else [layer]


def _memory(arrays: Iterable[Any]) -> str:
    return format_size(sum(array.nbytes for array in arrays), 1)


def totals(model: Any) -> list[str]:
    """The lines below the table. As in Keras, the total counts the optimizer's slots, if any."""
    trainable = [*model.trainable_params.values()]
    ids = set(map(id, trainable))
    others = [w for w in model.weights if id(w) not in ids]
    slots = model.optimizer.slots.values() if model.compiled else ()
    optimizer = [array for of_weight in slots for array in of_weight.values()]
    groups = {
        "Total": [*trainable, *others, *optimizer],
        "Trainable": trainable,
        "Non-trainable": others,
    }
    if optimizer:
        groups["Optimizer"] = optimizer
    lines = [
        f"{what} params: {sum(array.size for array in arrays):,} ({_memory(arrays)})"
        for what, arrays in groups.items()
    ]
    counts = [_multiply_adds(layer) for layer in model.layers]
    known = [count for count in counts if count is not None]
    total = f"{sum(known):,}" if known or not counts else "?"
    at_least = "at least " if known and len(known) < len(counts) else ""
    return [*lines, f"Multiply-adds for one sample: {at_least}{total}"]


def _printable(name: str) -> str:
    """A name with escapes for what would break the line, or the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


# --- tables of text ------------------------------------------------------------------------------


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[int] | None = None,
    narrowed: Sequence[int] | None = None,
    line_length: int | None = None,
) -> str:
    """Rows of text between box-drawing lines.

    left: the columns aligned to the left; by default all but the last.
    line_length: where a line would be longer, texts go on in a second line of their cell, and so
        forth; nothing is cut off.
    narrowed: in which order columns give way for that; by default from the first to the last.

    Raises ValueError where ``line_length`` is too small for so many columns.
    """
    rows = list(rows)
    columns = [[header[i], *(row[i] for row in rows)] for i in range(len(header))]
    left = range(len(header) - 1) if left is None else left
    room = None if line_length is None else line_length - 3 * len(header) - 1
    order = range(len(header)) if narrowed is None else narrowed
    widths = _widths(columns, room, order)

    def rule(start: str, middle: str, end: str) -> str:
        return start + middle.join("─" * (width + 2) for width in widths) + end

    def text(row: Sequence[str]) -> list[str]:
        wrapped = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        lines = zip_longest(*wrapped, fillvalue="")
        return [
            "│ "
            + " │ ".join(_pad(line[i], widths[i], i in left) for i in range(len(header)))
            + " │"
            for line in lines
        ]

    body = [text(row) for row in rows]
    # Where a row takes several lines, rules tell where it ends.
    between = [rule("├", "┼", "┤")] if any(len(lines) > 1 for lines in body) else []
    lines = [rule("┌", "┬", "┐"), *text(header), rule("├", "┼", "┤")]
    for i, row_lines in enumerate(body):
        lines += [*(between if i else []), *row_lines]
    return "\n".join([*lines, rule("└", "┴", "┘")])


def _widths(columns: list[list[str]], room: int | None, order: Sequence[int]) -> list[int]:
    """The width of each column: its longest text's, or less where all have to fit in ``room``.

    Columns give way in ``order``: first as far as texts break between words, then as far as they
    break within names, and then as far as `_LEAST`.
    """
    widths = [max(map(_columns, column)) for column in columns]
    if room is None:
        return widths
    for breaks in (_WORDS, _NAMES, None):
        for i in order:
            excess = sum(widths) - room
            floor = max(_longest_piece(text, breaks) for text in columns[i])
            widths[i] -= max(0, min(excess, widths[i] - max(floor, _LEAST)))
    if sum(widths) > room:
        borders = 3 * len(columns) + 1
        raise ValueError(
            f"line_length must be at least {sum(widths) + borders} for this table, "
            f"got {room + borders}"
        )
    return widths


# Where a line may end: between words, else within a name, or between a number and its unit.
_WORDS = re.compile(r" |(?<=-)")
_NAMES = re.compile("[ \N{NO-BREAK SPACE}]|(?<=[-_/,])")


def _longest_piece(text: str, breaks: re.Pattern[str] | None) -> int:
    lead, body = _split_lead(text)
    return _columns(lead) + max(map(_columns, breaks.split(body) if breaks else ["  "]))


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns; what stands before a name stands before all of them."""
    lead, body = _split_lead(text)
    lines: list[str] = []
    while body or not lines:
        line, body = _break(body, width - _columns(lead))
        lines.append(lead + line)
        lead = " " * _columns(lead)
    return lines


def _break(text: str, width: int) -> tuple[str, str]:
    """What goes into a line of ``width`` columns, and what is left."""
    fitting = sum(end <= width for end in accumulate(map(_columns, text)))
    if fitting == len(text):
        return text, ""
    for breaks in (_WORDS, _NAMES):
        found = [match for match in breaks.finditer(text) if 0 < match.start() <= fitting]
        if found:
            return text[: found[-1].start()], text[found[-1].end() :]
    return text[: max(fitting, 1)], text[max(fitting, 1) :]


def _split_lead(text: str) -> tuple[str, str]:
    body = text.lstrip(" └")
    return text[: len(text) - len(body)], body


def _pad(text: str, width: int, to_the_left: bool) -> str:
    space = " " * (width - _columns(text))
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    return text + space if to_the_left else space + text


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese characters take two."""
    return sum(2 if east_asian_width(c) in "FW" else 0 if combining(c) else 1 for c in text)
