"""``python -m tinynet.saving FILE ...``: what is in model files, and whether they are whole."""

import argparse
import sys

from tinynet.saving.describe import examine


def main() -> int:
    """Print the description of each file; returns 1 where one is damaged or cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet.saving",
        description="Show what is in model files, and whether all their checksums hold.",
    )
    parser.add_argument("file", nargs="+", help="a file that ends in .tinynet")
    status = 0
    for i, path in enumerate(parser.parse_args().file):
        try:
            text, whole = examine(path)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        print("\n" * bool(i) + text)
        status = status if whole else 1
    return status


if __name__ == "__main__":
    sys.exit(main())
