"""HTML: tables, pictures, and the page around them.

Text goes in as it is and is escaped here; what is called ``html`` is HTML already.
"""

import io
from base64 import b64encode
from collections.abc import Collection, Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from tinynet.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 200  # of pictures: sharp on a phone's screen and on paper
_CSS_DPI = 96  # by definition
_SMALLEST = 0.75  # of its size; where there is less room, a picture scrolls in its frame

_NAME = 15  # characters of the names of rows that are not broken, where there is little room

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="tinynet $version">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p>$lead</p>
<nav aria-label="Sections"><ul>
$contents
</ul></nav>
</header>
<main>
$sections
</main>
</body>
</html>
""")


class Share(NamedTuple):
    """A cell of a table whose number, from 0 to 1, is shown as a bar behind its text too."""

    text: str
    share: float


Cell = str | Share


def document(
    title: str, lead: str, headings: Sequence[tuple[str, str]], bodies: Sequence[str]
) -> str:
    """The whole page. headings: the anchor and the heading of each section; bodies: their HTML."""
    contents = [
        f'<li><a href="#{anchor}">{escape(heading)}</a></li>' for anchor, heading in headings
    ]
    sections = [
        f'<section id="{anchor}" aria-labelledby="{anchor}-heading">\n'
        f'<h2 id="{anchor}-heading">{escape(heading)}</h2>\n{body}\n</section>'
        for (anchor, heading), body in zip(headings, bodies, strict=True)
    ]
    return _PAGE.substitute(
        version=escape(__version__),
        title=escape(title),
        style=(files("tinynet.reporting") / "style.css").read_text(encoding="utf-8"),
        lead=escape(lead),
        contents="\n".join(contents),
        sections="\n".join(sections),
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is its class in the style sheet."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def listing(texts: Iterable[str]) -> str:
    """A list with a point for each text."""
    return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"


def numbers(named: Iterable[tuple[str, str]], kind: str) -> str:
    """Names and what they are: each a pair of lines, or a tile, as ``kind`` says."""
    pairs = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in named)
    return f'<dl class="{kind}">\n' + "\n".join(pairs) + "\n</dl>"


# --- tables --------------------------------------------------------------------------------------


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    foot: Iterable[Sequence[Cell]] = (),
    words: Collection[int] = (),
) -> str:
    """A table that scrolls in its own frame where it is too wide; the first cell names its row.

    foot: rows that sum the others up.   words: the columns of text; the others hold numbers.
    """
    heads = "".join(
        f'<th scope="col"{_class("words" if i in words or not i else "")}>{escape(name)}</th>'
        for i, name in enumerate(header)
    )
    rows = list(rows)
    longest = max((len(str(name)) for name, *_ in rows), default=0)
    body, end = _rows(rows, words), _rows(foot, words)
    return framed_table(
        caption,
        f"<thead>\n<tr>{heads}</tr>\n</thead>\n<tbody>\n{body}\n</tbody>"
        + (f"\n<tfoot>\n{end}\n</tfoot>" if end else ""),
        f' style="--name: {min(longest, _NAME)}ch"',
    )


def framed_table(caption: str, html: str, attributes: str = "") -> str:
    """A table around ``html``, in a frame that scrolls, also by the keyboard."""
    return (
        f'<div class="frame" role="region" aria-label="{escape(caption)}" tabindex="0">\n'
        f"<table{attributes}>\n<caption>{escape(caption)}</caption>\n{html}\n</table>\n</div>"
    )


def _rows(rows: Iterable[Sequence[Cell]], words: Collection[int]) -> str:
    return "\n".join(
        f'<tr><th scope="row">{_breakable(str(name))}</th>'
        + "".join(_cell(cell, i in words) for i, cell in enumerate(cells, 1))
        + "</tr>"
        for name, *cells in rows
    )


def _breakable(name: str) -> str:
    """A name that breaks behind an underscore sooner than anywhere else."""
    return escape(name).replace("_", "_<wbr>")


def _cell(cell: Cell, words: bool) -> str:
    if isinstance(cell, Share):
        return f'<td class="bar"{share_style(cell.share)}>{escape(cell.text)}</td>'
    return f"<td{_class('words' if words else '')}>{escape(cell)}</td>"


def share_style(share: float) -> str:
    """The attribute that tells the style sheet of a share; what is not finite is none."""
    return f' style="--share: {share:.4g}"' if 0 <= share <= 1 else ' style="--share: 0"'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


# --- pictures ------------------------------------------------------------------------------------


def drawing(figure: "Figure", alt: str, caption: str = "") -> str:
    """A figure of matplotlib's, in its size; smaller on a small screen as long as it is legible.

    alt: what it shows, for those who cannot see it.   caption: what stands below it.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    width, height = (round(_CSS_DPI * inches) for inches in figure.get_size_inches())
    below = f"\n<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure>\n<div class="frame">\n'
        f'<img src="{data_uri(buffer.getvalue())}" width="{width}" height="{height}"'
        f' style="--least: {round(_SMALLEST * width)}px" alt="{escape(alt)}">\n'
        f"</div>{below}\n</figure>"
    )


def data_uri(png: bytes) -> str:
    """The bytes of a picture as an address that holds them."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
