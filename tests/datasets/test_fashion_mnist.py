"""Loading Fashion-MNIST: small stand-in files, and real servers on loopback for the mirrors."""

import gzip
import hashlib
import io
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

import make_sample
import numpy as np
import pooch
import pytest

from tinynet.datasets import fashion_mnist

NAMES = [file.name for file in fashion_mnist._FILES]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def upstream_gz(name, data):
    """Compressed as the authors did: with a name and a time in the header, unlike Debian's."""
    buffer = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=buffer, mtime=1504176606) as stream:
        stream.write(data)
    return buffer.getvalue()


ARRAYS = {
    name: np.random.default_rng(len(name) + i).integers(0, 10, shape, dtype=np.uint8)
    for i, (name, shape) in enumerate(
        zip(NAMES, [(60, 28, 28), (60,), (20, 28, 28), (20,)], strict=True)
    )
}
PLAIN = {name: make_sample.idx_bytes(array) for name, array in ARRAYS.items()}
UPSTREAM = {name: upstream_gz(name, data) for name, data in PLAIN.items()}
STAND_INS = tuple(
    fashion_mnist._File(name, sha256(PLAIN[name]), sha256(UPSTREAM[name])) for name in NAMES
)


class Mirror(ThreadingHTTPServer):
    """Serves the stand-ins; ``faults`` says what goes wrong with the next requests, in order."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/files/"
        self.faults = []
        self.asked = []
        self.gate = None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        if self.server.gate is not None:
            self.server.gate.wait()
        body = UPSTREAM[name.removesuffix(".gz")]
        match self.server.faults.pop(0) if self.server.faults else None:
            case "unavailable":
                self.answer(503, b"busy")
            case "wrong":
                self.answer(200, body[:-1] + b"?")
            case "truncated":
                self.answer(200, body[: len(body) // 2], length=len(body))
            case "cut short":
                self.answer(200, body[: len(body) // 2])
            case "hung up":
                self.close_connection = True
            case None:
                self.answer(200, body)

    def answer(self, status, body, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def new_mirror():
    running = []

    def start():
        mirror = Mirror()
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((mirror, thread))
        return mirror

    yield start
    for mirror, thread in running:
        mirror.shutdown()
        mirror.server_close()
        thread.join()


@pytest.fixture
def deaf():
    """The address of a mirror that refuses connections."""
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound_but_not_listening.getsockname()[1]}/files/"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Nothing anywhere: no folder named, an empty cache, no Debian package, no mirrors."""
    folder = tmp_path / "cache" / "fashion-mnist"
    monkeypatch.delenv("TINYNET_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fashion_mnist, "_FILES", STAND_INS)
    monkeypatch.setattr(fashion_mnist, "_cache_folder", lambda: folder)
    monkeypatch.setattr(fashion_mnist, "_DEBIAN_FOLDER", tmp_path / "no-debian")
    monkeypatch.setattr(fashion_mnist, "_MIRRORS", ())
    monkeypatch.setattr(fashion_mnist, "_PAUSE", 0.0)
    return folder


@pytest.fixture
def use_mirrors(monkeypatch):
    def use(*mirrors):
        urls = tuple(m if isinstance(m, str) else m.url for m in mirrors)
        monkeypatch.setattr(fashion_mnist, "_MIRRORS", urls)

    return use


def fill(folder, files=None, suffix=".gz"):
    folder.mkdir(parents=True)
    for name, data in (UPSTREAM if files is None else files).items():
        (folder / f"{name}{suffix}").write_bytes(data)
    return folder


def check(loaded):
    (x_train, y_train), (x_test, y_test) = loaded
    for array, name in zip((x_train, y_train, x_test, y_test), NAMES, strict=True):
        np.testing.assert_array_equal(array, ARRAYS[name], strict=True)
        assert array.flags.writeable
        assert array.flags.c_contiguous


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CACHED = {f"{name}.gz": data for name, data in UPSTREAM.items()}


# --- folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "suffix"),
    [
        (UPSTREAM, ".gz"),
        ({name: make_sample.gz_bytes(data) for name, data in PLAIN.items()}, ".gz"),
        (PLAIN, ""),
        (PLAIN, ".gz"),
    ],
    ids=["as published", "compressed anew", "unpacked", "unpacked under the old name"],
)
def test_the_named_folder(files, suffix, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYNET_DATA", str(fill(tmp_path / "named", files, suffix)))
    check(fashion_mnist.load_data())
    assert capsys.readouterr().err == ""


def test_a_tilde_in_the_named_folder_is_the_home_folder(tmp_path, monkeypatch):
    fill(tmp_path / "home" / "named")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINYNET_DATA", "~/named")
    check(fashion_mnist.load_data())


def test_each_call_gives_arrays_of_its_own(cache):
    fill(cache)
    (x_train, _), _ = fashion_mnist.load_data()
    x_train[...] = 255
    check(fashion_mnist.load_data())


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (UPSTREAM[NAMES[2]][:-100], "is damaged: Compressed file ended"),
        (UPSTREAM[NAMES[2]][:-8] + bytes(8), "is damaged: CRC check failed"),
        (UPSTREAM[NAMES[2]][:60] + b"\xff" * 5000, "is damaged: "),
        (UPSTREAM[NAMES[0]], "is not Fashion-MNIST's t10k-images-idx3-ubyte: the SHA-256"),
        (b"<html>Not found</html>", "is not Fashion-MNIST's t10k-images-idx3-ubyte: the SHA-256"),
        (b"", "is not Fashion-MNIST's t10k-images-idx3-ubyte: the SHA-256"),
    ],
    ids=["truncated", "wrong CRC", "not deflate", "another file", "no gzip at all", "empty"],
)
def test_a_wrong_file_in_the_named_folder_is_an_error(damaged, said, tmp_path, monkeypatch, cache):
    fill(cache)
    folder = fill(tmp_path / "named", UPSTREAM | {NAMES[2]: damaged})
    monkeypatch.setenv("TINYNET_DATA", str(folder))
    with pytest.raises(ValueError, match=said) as raised:
        fashion_mnist.load_data()
    assert str(folder / f"{NAMES[2]}.gz") in str(raised.value)
    assert "replace the file, or unset TINYNET_DATA" in str(raised.value)


def test_a_named_folder_without_a_file_is_passed_over_with_a_word(
    tmp_path, monkeypatch, cache, capsys
):
    fill(cache)
    folder = fill(tmp_path / "named")
    (folder / f"{NAMES[3]}.gz").unlink()
    monkeypatch.setenv("TINYNET_DATA", str(folder))
    check(fashion_mnist.load_data())
    said = f"TINYNET_DATA is passed over: {folder} has no {NAMES[3]}.gz\n"
    assert capsys.readouterr().err == said


def test_a_named_folder_that_is_not_there_is_passed_over_with_a_word(
    tmp_path, monkeypatch, cache, capsys
):
    fill(cache)
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path / "typo"))
    check(fashion_mnist.load_data())
    assert f"there is no folder {tmp_path / 'typo'}" in capsys.readouterr().err


def test_an_empty_variable_counts_as_not_set(monkeypatch, cache, capsys):
    fill(cache)
    monkeypatch.setenv("TINYNET_DATA", "")
    check(fashion_mnist.load_data())
    assert capsys.readouterr().err == ""


def test_debians_package_is_taken_before_a_mirror_is_asked(
    tmp_path, monkeypatch, new_mirror, use_mirrors
):
    use_mirrors(mirror := new_mirror())
    files = {name: make_sample.gz_bytes(data) for name, data in PLAIN.items()}
    monkeypatch.setattr(fashion_mnist, "_DEBIAN_FOLDER", fill(tmp_path / "debian", files))
    check(fashion_mnist.load_data())
    assert mirror.asked == []


def test_a_damaged_cache_and_a_damaged_package_give_way_to_a_mirror(
    tmp_path, monkeypatch, cache, new_mirror, use_mirrors
):
    use_mirrors(new_mirror())
    fill(cache, UPSTREAM | {NAMES[0]: b"damaged"})
    debian = fill(tmp_path / "debian", UPSTREAM | {NAMES[1]: b"damaged"})
    monkeypatch.setattr(fashion_mnist, "_DEBIAN_FOLDER", debian)
    check(fashion_mnist.load_data())


# --- downloads -----------------------------------------------------------------------------------


def test_what_was_downloaded_once_is_taken_from_the_cache(cache, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    check(fashion_mnist.load_data())
    assert mirror.asked == [f"{name}.gz" for name in NAMES]
    assert contents(cache) == CACHED
    use_mirrors()
    check(fashion_mnist.load_data())


@pytest.mark.parametrize("fault", ["unavailable", "wrong", "truncated", "cut short", "hung up"])
def test_the_next_mirror_goes_on_where_one_fails(fault, cache, new_mirror, use_mirrors):
    use_mirrors(first := new_mirror(), second := new_mirror())
    first.faults = [None, fault]
    check(fashion_mnist.load_data())
    assert first.asked == [f"{name}.gz" for name in NAMES[:2]]
    assert second.asked == [f"{name}.gz" for name in NAMES[1:]]
    assert contents(cache) == CACHED


@pytest.mark.parametrize("fault", ["unavailable", "wrong", "truncated", "cut short"])
def test_a_mirror_that_fails_twice_is_asked_a_third_time(fault, cache, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    mirror.faults = [fault, fault]
    check(fashion_mnist.load_data())
    assert mirror.asked == [f"{NAMES[0]}.gz"] * 2 + [f"{name}.gz" for name in NAMES]
    assert contents(cache) == CACHED


@pytest.mark.parametrize("damaged", [b"", b"damaged", UPSTREAM[NAMES[0]][:-20]])
def test_a_damaged_file_in_the_cache_is_fetched_again(damaged, cache, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    fill(cache, UPSTREAM | {NAMES[0]: damaged})
    check(fashion_mnist.load_data())
    assert mirror.asked == [f"{NAMES[0]}.gz"]
    assert contents(cache) == CACHED


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("unavailable", "503 Server Error"),
        ("wrong", "is not that file: its SHA-256"),
        ("truncated", "IncompleteRead"),
        ("cut short", "is not that file: its SHA-256"),
        ("hung up", "Remote end closed connection without response"),
    ],
)
def test_failed_downloads_leave_nothing_behind(fault, said, cache, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    mirror.faults = [fault] * 10
    with pytest.raises(OSError, match=said):
        fashion_mnist.load_data()
    assert list(cache.iterdir()) == []


def test_a_failed_repair_leaves_the_cache_as_it_was(cache, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    mirror.faults = ["truncated"] * 10
    fill(cache, before := UPSTREAM | {NAMES[0]: b"damaged"})
    with pytest.raises(OSError, match="IncompleteRead"):
        fashion_mnist.load_data()
    assert contents(cache) == {f"{name}.gz": data for name, data in before.items()}


def test_the_error_lists_what_was_tried_and_what_can_be_done(
    tmp_path, monkeypatch, cache, new_mirror, use_mirrors, deaf
):
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path / "typo"))
    use_mirrors(deaf, mirror := new_mirror())
    mirror.faults = ["unavailable"] * 10
    with pytest.raises(OSError, match="nowhere to be had") as raised:
        fashion_mnist.load_data()
    tried, can_do = str(raised.value).split("What you can do:")
    places = [line for line in tried.splitlines() if line.startswith("  - ")]
    for line, parts in zip(
        places,
        [
            ["TINYNET_DATA", str(tmp_path / "typo")],
            ["tinynet's cache", str(cache)],
            ["Debian's package", str(tmp_path / "no-debian")],
            [deaf, "Connection refused"],
            [mirror.url, "503 Server Error"],
        ],
        strict=True,
    ):
        assert all(part in line for part in parts), line
    for remedy in ["apt-get install dataset-fashion-mnist", "TINYNET_DATA", "load_sample()"]:
        assert remedy in can_do
    assert all(f"{name}.gz" in can_do for name in NAMES)


def test_without_a_network_each_mirror_is_asked_once(deaf, use_mirrors, capsys):
    use_mirrors(deaf, deaf)
    with pytest.raises(OSError, match=rf"{deaf}: \[Errno \d+\] Connection refused\n"):
        fashion_mnist.load_data()
    assert capsys.readouterr().err.count("Downloading") == 2


def test_an_error_that_the_caller_is_handling_is_no_cause(deaf, use_mirrors):
    use_mirrors(deaf)
    try:
        raise KeyError("of the caller")
    except KeyError:
        with pytest.raises(OSError, match="Connection refused") as raised:
            fashion_mnist.load_data()
    assert "of the caller" not in str(raised.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    (tmp_path / "file").write_bytes(b"")
    blocked = tmp_path / "file" / "cache"
    monkeypatch.setattr(fashion_mnist, "_cache_folder", lambda: blocked)
    with pytest.raises(OSError, match="What you can do") as raised:
        fashion_mnist.load_data()
    assert f"downloading to {blocked}: [Errno 20] Not a directory" in str(raised.value)
    assert mirror.asked == []


def test_two_downloads_at_once_do_not_disturb_each_other(cache, new_mirror, use_mirrors):
    use_mirrors(mirror := new_mirror())
    # Every request waits for its twin, so that both are under way at the same time.
    mirror.gate = threading.Barrier(2, timeout=10)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fashion_mnist.load_data) for _ in range(2)]
        for run in runs:
            check(run.result())
    assert contents(cache) == CACHED


def test_a_log_gets_one_line_and_no_bar(new_mirror, use_mirrors, capsys):
    use_mirrors(new_mirror())
    fashion_mnist.load_data()
    captured = capsys.readouterr()
    assert captured.err == "Downloading Fashion-MNIST (31 MB) from 127.0.0.1\n"
    assert captured.out == ""


def test_a_terminal_gets_a_bar(new_mirror, use_mirrors, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    use_mirrors(new_mirror())
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    fashion_mnist.load_data()
    for name in NAMES:
        assert f"{name}.gz:   0%|" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r"), "the bar is wiped off when it is done"


def test_the_cache_is_the_users_own_folder(monkeypatch):
    monkeypatch.undo()
    folder = fashion_mnist._cache_folder()
    assert folder.is_absolute()
    assert folder == Path(pooch.os_cache("tinynet")) / "fashion-mnist"


# --- the bundled sample --------------------------------------------------------------------------

SAMPLE_SHA256 = {
    "train-images-idx3-ubyte": "cf313073c7eb485392848071d5c433571d7166043e971e3345b095cc30518084",
    "train-labels-idx1-ubyte": "097b93fbcf9bd5bc648b1a457ddc55c9e4ab49afb33f9ecae8ce068399a75e3a",
    "t10k-images-idx3-ubyte": "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef",
    "t10k-labels-idx1-ubyte": "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909",
}


def test_the_sample_is_whole_and_every_part_of_it_balanced():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_sample()
    for x, y, n in (x_train, y_train, 6000), (x_test, y_test, 1000):
        assert x.shape == (n, 28, 28)
        assert x.dtype == y.dtype == np.uint8
        assert x.flags.writeable
        assert y.flags.writeable
        assert x.flags.c_contiguous
        np.testing.assert_array_equal(
            np.sort(y.reshape(-1, 10), axis=1), np.tile(np.arange(10, dtype=np.uint8), (n // 10, 1))
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_is_what_the_script_made(name):
    bundled = (resources.files("tinynet.datasets") / "sample" / f"{name}.gz").read_bytes()
    assert sha256(gzip.decompress(bundled)) == SAMPLE_SHA256[name]


def test_images_and_labels_of_the_sample_stay_together():
    """Each image keeps its label when the sample is put in rounds."""
    folder = resources.files("tinynet.datasets") / "sample"
    stored = [gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in NAMES]
    for (x, y), images, labels in zip(
        fashion_mnist.load_sample(), stored[::2], stored[1::2], strict=True
    ):
        label_of = {images[16 + 784 * i :][:784]: label for i, label in enumerate(labels[8:])}
        assert [label_of[image.tobytes()] for image in x] == y.tolist()


def test_the_sample_is_small_and_states_its_licence():
    folder = resources.files("tinynet.datasets") / "sample"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) <= 3.5e6
    licence = (folder / "LICENSE.txt").read_text(encoding="utf-8")
    assert "MIT License" in licence
    assert "2017 Zalando SE" in licence
    assert "https://github.com/zalandoresearch/fashion-mnist" in licence
    assert "arXiv:1708.07747" in licence


def test_class_names():
    assert len(fashion_mnist.class_names) == 10
    assert fashion_mnist.class_names[0] == "T-shirt/top"
    assert fashion_mnist.class_names[9] == "Ankle boot"
