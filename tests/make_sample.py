"""Make the sample of Fashion-MNIST that is bundled with tinynet: python tests/make_sample.py

It takes the first images of each class, so that the same files come out whoever runs it.
"""

import argparse
import gzip
import io
import struct
from pathlib import Path

import numpy as np

from tinynet.datasets import fashion_mnist

TRAIN_PER_CLASS = 600
TEST_PER_CLASS = 100


def first_of_each_class(y, count):
    """The indices of the first ``count`` entries of each class, in ascending order."""
    return np.sort(np.concatenate([np.flatnonzero(y == c)[:count] for c in np.unique(y)]))


def idx_bytes(array):
    """An array of uint8 as the content of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def gz_bytes(data):
    """Data compressed as far as gzip goes, with no name and no time that would differ each run."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bundled = Path(fashion_mnist.__file__).parent / "sample"
    parser.add_argument("folder", nargs="?", type=Path, default=bundled)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    train, test = fashion_mnist.load_data()
    for prefix, (x, y), count in ("train", train, TRAIN_PER_CLASS), ("t10k", test, TEST_PER_CLASS):
        chosen = first_of_each_class(y, count)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gz_bytes(idx_bytes(x[chosen])))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gz_bytes(idx_bytes(y[chosen])))
    for path in sorted(folder.glob("*.gz")):
        print(f"{path.stat().st_size:9,} bytes  {path}")


if __name__ == "__main__":
    main()
