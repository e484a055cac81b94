"""The table that model.summary() prints."""

from collections.abc import Iterable, Sequence


def format_size(count: int, itemsize: int) -> str:
    """The memory that ``count`` numbers take: "397.54 KB"."""
    size = float(count * itemsize)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text between box-drawing lines; the last column is aligned to the right."""
    rows = [header, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]

    def line(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def text(row: Sequence[str]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[-1] = row[-1].rjust(widths[-1])
        return "│ " + " │ ".join(cells) + " │"

    body = [text(row) for row in rows]
    return "\n".join(
        [line("┌", "┬", "┐"), body[0], line("├", "┼", "┤"), *body[1:], line("└", "┴", "┘")]
    )
