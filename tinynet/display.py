"""How objects show themselves: as the call that makes them, and as a table in a notebook."""

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from textwrap import indent
from typing import Any

# Colours are those of the page around it, light or dark.
_PLAIN = "color: inherit; background: none"
_CELL = "padding: 0.2em 0.7em; border-bottom: 1px solid rgba(128, 128, 128, 0.4)"
_CELL += "; white-space: pre-wrap"


def format_value(value: float) -> str:
    """Four places, and a small number in scientific notation, so that it does not look like 0."""
    return f"{value:.4f}" if not 0 < abs(value) < 1e-3 else f"{value:.3e}"


def loss_first(names: Iterable[str]) -> list[str]:
    """Names in the order to read them: the loss, the metrics, then those of a validation."""
    return sorted(names, key=lambda name: (name.startswith("val_"), not name.endswith("loss")))


# --- the constructor's call ----------------------------------------------------------------------


def own_arguments(obj: object) -> dict[str, Any]:
    """The arguments of an object's constructor that it keeps as attributes of the same names."""
    parameters = inspect.signature(type(obj)).parameters.values()
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {name: getattr(obj, name) for name in names if hasattr(obj, name)}


def constructor_call(kind: type, arguments: Mapping[str, Any], width: int | None = None) -> str:
    """``Kind(argument=value, ...)``, in the order of the constructor, functions by their names.

    What is at its default is left out, and what the constructor does not take. A call longer than
    ``width`` is spread over lines, one for each argument and for each entry of a list.
    """
    parameters = inspect.signature(kind).parameters
    takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    shown = {
        name: arguments[name]
        for name, parameter in parameters.items()
        if name in arguments and not _is_default(arguments[name], parameter.default)
    }
    if takes_more:
        shown |= {name: value for name, value in arguments.items() if name not in parameters}
    listed = ", ".join(f"{name}={_text(value)}" for name, value in shown.items())
    if width is not None and (len(kind.__name__) + len(listed) + 2 > width or "\n" in listed):
        listed = "\n" + _block(f"{name}={_spread(value)}" for name, value in shown.items())
    return f"{kind.__name__}({listed})"


def _is_default(value: object, default: object) -> bool:
    # Only of these kinds: == of two arrays is no single answer.
    plain = isinstance(value, bool | int | float | str | tuple)
    return value is default or (plain and value == default)


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, type) or inspect.isroutine(value):
        return getattr(value, "__name__", repr(value))
    return repr(value)


def _spread(value: object) -> str:
    if not isinstance(value, list) or not value:
        return _text(value)
    return "[\n" + _block(map(_text, value)) + "]"


def _block(entries: Iterable[str]) -> str:
    """Each entry in lines of its own, indented and with a comma behind it."""
    return indent("".join(f"{entry},\n" for entry in entries), "    ")


# --- HTML ----------------------------------------------------------------------------------------


def html_text(text: str) -> str:
    """Text as it is, lines and spaces kept."""
    return f'<pre style="{_PLAIN}; white-space: pre-wrap">{escape(text)}</pre>'


def html_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    left: Collection[int] = (0,),
) -> str:
    """A table of text, the columns of ``left`` aligned to the left and the others to the right.

    Names in it may be anything: all of it is escaped.
    """

    def line(tag: str, cells: Sequence[str]) -> str:
        aligned = ["left" if i in left else "right" for i in range(len(cells))]
        inside = "".join(
            f'<{tag} style="text-align: {side}; {_CELL}">{escape(cell)}</{tag}>'
            for side, cell in zip(aligned, cells, strict=True)
        )
        return f'<tr style="{_PLAIN}">{inside}</tr>'

    title = f'<caption style="text-align: left; {_PLAIN}">{escape(caption)}</caption>'
    lines = [
        f'<table style="border-collapse: collapse; {_PLAIN}">',
        *([title] if caption else []),
        f"<thead>{line('th', header)}</thead>",
        "<tbody>",
        *(line("td", row) for row in rows),
        "</tbody>",
        "</table>",
    ]
    return "\n".join(lines)
