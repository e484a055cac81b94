"""Fashion-MNIST: 70,000 photographs of clothes, 28x28 pixels of grey, in ten classes.

Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747. Copyright 2017 Zalando SE, MIT licence.
"""

import gzip
import hashlib
import os
import sys
import tempfile
import time
import zlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tinynet.datasets import idx

__all__ = ["class_names", "load_data", "load_sample"]

class_names = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class _File(NamedTuple):
    name: str
    sha256: str  # of the IDX data: the same however it was compressed
    gz_sha256: str  # of the authors' .gz file, which the mirrors serve


_FILES = (
    _File(
        "train-images-idx3-ubyte",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    _File(
        "train-labels-idx1-ubyte",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    _File(
        "t10k-images-idx3-ubyte",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    _File(
        "t10k-labels-idx1-ubyte",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)

_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_ROUNDS = 3
_PAUSE = 1.0  # seconds before the second round, twice that before the third
_TIMEOUT = (5.0, 20.0)  # seconds: to connect, and between two pieces of a file


def load_data() -> tuple[Split, Split]:
    """The whole data set: ``(x_train, y_train), (x_test, y_test)``.

    x_train (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28), y_test (10000,), all uint8
    and the caller's own; pixels 0 to 255, labels 0 to 9 (`class_names`).

    The four files are looked for in the folder that the environment variable ``TINYNET_DATA``
    names (compressed or not), in tinynet's cache, and in the folder of Debian's package
    ``dataset-fashion-mnist``; if none of these has all four, they are downloaded into the cache.
    Wherever they come from, their SHA-256 is checked, so the data are always the same.

    Raises OSError, which lists all that was tried and what you can do, when the data are nowhere
    to be had, and ValueError when a file in the folder that ``TINYNET_DATA`` names is damaged.
    """
    tried = ["the folder that TINYNET_DATA names: it is not set"]
    if named := os.environ.get("TINYNET_DATA"):
        try:
            return _load_folder(Path(named).expanduser())
        except FileNotFoundError as error:
            # Worth a word even if the next place has the data: the user meant this folder.
            _say(f"TINYNET_DATA is passed over: {error}")
            tried = [f"the folder that TINYNET_DATA names: {error}"]
        except ValueError as error:
            raise ValueError(f"{error}; replace the file, or unset TINYNET_DATA") from error
    cache = _cache_folder()
    for place, folder in ("tinynet's cache", cache), ("Debian's package", _DEBIAN_FOLDER):
        try:
            return _load_folder(folder)
        except (OSError, ValueError) as error:
            tried.append(f"{place}: {error}")
    if failures := _download(cache):
        raise OSError(_nowhere(tried + failures))
    return _load_folder(cache)


def load_sample() -> tuple[Split, Split]:
    """A tenth of the data set, bundled with tinynet: the same tuples, without any download.

    x_train (6000, 28, 28), y_train (6000,), x_test (1000, 28, 28), y_test (1000,), all uint8 and
    the caller's own: the first 600 and the first 100 images of each class, so arranged that every
    ten in a row, from the first on, are one of each class.
    """
    folder = resources.files("tinynet.datasets") / "sample"
    x_train, y_train, x_test, y_test = (
        idx.parse(gzip.decompress((folder / f"{file.name}.gz").read_bytes())) for file in _FILES
    )
    return _in_rounds(x_train, y_train), _in_rounds(x_test, y_test)


def _in_rounds(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> Split:
    """The same images, one of each class, then the next of each; y must be balanced.

    The files keep the original order, and in that the last images of a balanced choice are of a
    few classes only: a validation split, which takes the last, would not be balanced.
    """
    by_class = np.argsort(y, kind="stable").reshape(len(class_names), -1)
    order = np.sort(by_class, axis=0).T.ravel()
    return x[order], y[order]


def _load_folder(folder: Path) -> tuple[Split, Split]:
    """The data from the files in a folder.

    Raises FileNotFoundError if the folder or a file is not there, ValueError if a file is not
    what it should be, other kinds of OSError if one cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    x_train, y_train, x_test, y_test = (idx.parse(_read(folder, file)) for file in _FILES)
    return (x_train, y_train), (x_test, y_test)


def _read(folder: Path, file: _File) -> bytes:
    """The IDX data of one file, compressed or not, with its SHA-256 checked."""
    path = folder / f"{file.name}.gz"
    if not path.exists():
        path = folder / file.name
    if not path.exists():
        raise FileNotFoundError(f"{folder} has no {file.name}.gz")
    data = path.read_bytes()
    # Browsers may decompress what they save and keep the name, so the content decides.
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != file.sha256:
        raise ValueError(
            f"{path} is not Fashion-MNIST's {file.name}: the SHA-256 of its data should be "
            f"{file.sha256}, but is {sha256}"
        )
    return data


def _is_in(folder: Path, file: _File) -> bool:
    try:
        _read(folder, file)
    except (OSError, ValueError):
        return False
    return True


def _cache_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("tinynet")).expanduser() / "fashion-mnist"


def _download(cache: Path) -> list[str]:
    """Put all four files into the cache; an empty list, or why it could not be done.

    A file reaches its place in the cache in one move, after its SHA-256 was found right. A mirror
    that fails hands over to the next, which goes on with the files that are still missing.
    """
    import requests

    handled = sys.exception()
    failures: dict[str, str] = {}
    for attempt in range(_ROUNDS):
        time.sleep(attempt * _PAUSE)
        answered = False
        for mirror in _MIRRORS:
            _say(f"Downloading Fashion-MNIST (31 MB) from {urlsplit(mirror).hostname}")
            try:
                for file in _FILES:
                    if not _is_in(cache, file):
                        _fetch(mirror, file, cache)
                return []
            except (requests.RequestException, ValueError) as error:
                failures[mirror] = f"{mirror}: {_root_cause(error, handled)}"
                answered |= not isinstance(error, requests.ConnectionError)
            except OSError as error:
                return [*failures.values(), f"downloading to {cache}: {error}"]
        if not answered:
            # There is no network, and asking again would only make the user wait.
            break
    return list(failures.values())


def _fetch(mirror: str, file: _File, cache: Path) -> None:
    """Download one file into the cache.

    Raises ValueError for a wrong SHA-256, requests.RequestException for what went wrong on the
    way, other kinds of OSError if the cache cannot be written.
    """
    import pooch
    from tqdm import tqdm

    name = f"{file.name}.gz"
    # A bar in a log file is noise; a notebook is no terminal, but shows one.
    quiet = not (sys.stderr.isatty() or "ipykernel" in sys.modules)
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=cache) as folder,
        # pooch sets the total when it knows it; until then the bar must not count as empty.
        tqdm(desc=name, total=1, unit="B", unit_scale=True, leave=False, disable=quiet) as bar,
    ):
        part = Path(folder) / name
        download = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=1 << 16,
            timeout=_TIMEOUT,
            # The file as it is: a server that compresses it once more changes its hash.
            headers={"Accept-Encoding": "identity"},
        )
        download(mirror + name, str(part), None)
        sha256 = pooch.file_hash(str(part), alg="sha256")
        if sha256 != file.gz_sha256:
            raise ValueError(
                f"what came as {name} is not that file: its SHA-256 should be "
                f"{file.gz_sha256}, but is {sha256}"
            )
        part.replace(cache / name)


def _root_cause(error: BaseException, handled: BaseException | None) -> BaseException:
    """The error at the bottom: "Connection refused", not the five wrapped around it.

    ``handled`` is what the caller was handling already, which is no cause of this error.
    """
    while error.__context__ is not None and error.__context__ is not handled:
        error = error.__context__
    return error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nowhere(tried: list[str]) -> str:
    names = ", ".join(f"{file.name}.gz" for file in _FILES)
    remedies = [
        "on Debian or Ubuntu: apt-get install dataset-fashion-mnist",
        f"anywhere: copy {names} from https://github.com/zalandoresearch/fashion-mnist "
        "(data/fashion) into a folder and set the environment variable TINYNET_DATA to its path; "
        "unpacked files will do",
        "check the network, and HTTPS_PROXY and HTTP_PROXY if it needs a proxy; then run again",
        "use fashion_mnist.load_sample(): 6,000 training and 1,000 test images that come with "
        "tinynet",
    ]
    lines = ["Fashion-MNIST is nowhere to be had. Tried, in this order:"]
    lines += [f"  - {line}" for line in tried]
    lines += ["What you can do:"]
    lines += [f"  - {line}" for line in remedies]
    return "\n".join(lines)
