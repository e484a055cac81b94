"""A report on a trained model as one HTML file, which needs nothing else to be read.

No script, no font, no picture is loaded from anywhere: what the file shows is in it, and it says so
to the browser, which would refuse anything else. `tinynet.reporting.sections` says what is in a
report, `tinynet.reporting.markup` how that is written in HTML, ``style.css`` how it looks: on a
screen, on a phone, light or dark as the reader's system is, and on paper.
"""

from tinynet.reporting.writing import report

__all__ = ["report"]
