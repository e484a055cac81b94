"""Whether a figure can be read: all of its texts there, large enough, and none over another."""

from itertools import combinations

from matplotlib.text import Text

SMALLEST = 7  # points


def complaints(figure):
    """What is wrong with the texts of a figure, each in a sentence; it is drawn for that."""
    texts = _drawn(figure)
    page = figure.bbox
    boxes = [(text, text.get_window_extent()) for text in texts]
    found = [f"{text.get_text()!r} has {text.get_fontsize()} points" for text in texts
             if text.get_fontsize() < SMALLEST]  # fmt: skip
    for text, box in boxes:
        if box.x0 < -1 or box.y0 < -1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1:
            found.append(f"{text.get_text()!r} is cut off at the edge: {box.extents.round(1)}")
    # The box around a slanting text is larger than the text.
    upright = [(text, box.padded(-1)) for text, box in boxes if text.get_rotation() % 90 == 0]
    for (one, first), (other, second) in combinations(upright, 2):
        if first.overlaps(second):
            found.append(f"{one.get_text()!r} lies over {other.get_text()!r}")
    return found


def _drawn(figure):
    """The texts that are really drawn: not those of ticks beyond the end of an axis."""
    seen = {}
    draw = Text.draw

    def watched(text, renderer):
        if text.get_visible() and text.get_text().strip():
            seen[id(text)] = text
        return draw(text, renderer)

    Text.draw = watched
    try:
        figure.draw_without_rendering()
    finally:
        Text.draw = draw
    return list(seen.values())
