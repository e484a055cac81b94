"""``python -m tinynet.saving FILE ...``: what is in model files, and whether they are whole."""

import argparse
import io
import os
import sys

from tinynet.saving.describe import examine


def main() -> int:
    """Print the description of each file; returns 1 where one is damaged or cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet.saving",
        description="Show what is in model files, and whether all their checksums hold.",
    )
    parser.add_argument("file", nargs="+", help="a file that ends in .tinynet")
    paths = parser.parse_args().file
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that it cannot show
    try:
        return max([_show(path, first=i == 0) for i, path in enumerate(paths)])
    except BrokenPipeError:  # whoever read has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _show(path: str, first: bool) -> int:
    try:
        text, whole = examine(path)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text if first else f"\n{text}", flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
