"""Files are the old ones or the new ones at every moment, and whole.

What ends a process, or changes what it may do, is done to a process of its own: this file runs
itself, as a script, with the name of one of its PARTS.
"""

import ctypes
import errno
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinynet import saving
from tinynet.saving import ModelFile, file, replacing

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and permissions of POSIX")


def content(version, size):
    """Arrays, each of which shows from its first to its last byte which version it is of."""
    return {name: np.full(size, version, np.float32) for name in "abc"}


def write(path, version, size=1000):
    saving.write(path, {"version": version}, content(version, size))


def version_of(path, size=1000):
    """The version at ``path``; fails where it is not all of one."""
    with ModelFile(path) as opened:
        version = opened.header["version"]
        assert list(opened.tensors) == list("abc")
        for name in opened.tensors:
            np.testing.assert_array_equal(opened.read(name), np.full(size, version, np.float32))
    return version


@pytest.fixture
def path(tmp_path):
    """A file of version 1, alone in its folder."""
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "file.tinynet", 1)
    return tmp_path / "folder" / "file.tinynet"


def alone(path):
    return os.listdir(path.parent) == [path.name]


# --- what ends a save ----------------------------------------------------------------------------

ENDS = {
    "a full disk": OSError(errno.ENOSPC, "No space left on device"),
    "a broken disk": OSError(errno.EIO, "Input/output error"),
    "Ctrl-C": KeyboardInterrupt(),
    "too little memory": MemoryError(),
    "the interpreter's end": SystemExit(1),
}


def failing(function, error, after):
    """A function that raises in its call of number ``after``, counted from 0."""
    calls = iter(range(after + 1))

    def called(*arguments, **keywords):
        if next(calls) == after:
            raise error
        return function(*arguments, **keywords)

    return called


# Three tensors, then the header.
PLACES = [(file, "write_all", after, there) for after in range(4) for there in (True, False)]
PLACES += [(os, name, 0, there) for name in ("fsync", "replace") for there in (True, False)]
PLACES += [(os, "chmod", 0, True)]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("module", "name", "after", "there"), PLACES)
def test_the_old_file_stays_whatever_ends_the_save(
    path, monkeypatch, end, module, name, after, there
):
    if not there:
        path.unlink()
    monkeypatch.setattr(module, name, failing(getattr(module, name), ENDS[end], after))
    with pytest.raises(type(ENDS[end])) as caught:
        write(path, 2)
    assert caught.value is ENDS[end]
    monkeypatch.undo()
    if there:
        assert alone(path)
        assert version_of(path) == 1
    else:
        assert os.listdir(path.parent) == []
    write(path, 2)
    assert version_of(path) == 2


def test_when_the_folder_cannot_be_brought_to_the_disk_the_new_file_is_there(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(os.fsync, ENDS["a broken disk"], after=1))
    with pytest.raises(OSError, match="Input/output error"):
        write(path, 2)
    assert alone(path)
    assert version_of(path) == 2


# --- in which order ------------------------------------------------------------------------------


@posix
def test_everything_is_on_the_disk_before_it_gets_its_name(path, monkeypatch):
    done = []

    def fsync(descriptor, usual=os.fsync):
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            assert os.path.samestat(os.fstat(descriptor), path.parent.stat())
            done.append(("fsync", "folder"))
        else:
            (unfinished,) = set(path.parent.iterdir()) - {path}
            assert os.path.samestat(os.fstat(descriptor), unfinished.stat())
            done.append(("fsync", unfinished.read_bytes()))
            assert version_of(path) == 1
        usual(descriptor)

    def replace(source, target, usual=os.replace):
        assert Path(source).parent == Path(target).parent == path.parent.resolve()
        done.append(("replace", Path(source).read_bytes()))
        usual(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write(path, 2)
    data = path.read_bytes()
    assert done == [("fsync", data), ("replace", data), ("fsync", "folder")]
    assert version_of(path) == 2
    assert alone(path)


# --- what stays ----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666, 0o444, 0o755])
def test_permissions_stay(path, mode):
    path.chmod(mode)
    write(path, 2)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert version_of(path) == 2


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_usual_permissions(path, mask):
    path.unlink()
    usual = os.umask(mask)
    try:
        write(path, 2)
    finally:
        os.umask(usual)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@posix
@pytest.mark.parametrize("target", ["absolute", "relative", "a link to a link", "to nothing yet"])
def test_a_symbolic_link_stays_one(path, tmp_path, target):
    link = tmp_path / "link.tinynet"
    if target == "a link to a link":
        (tmp_path / "second.tinynet").symlink_to(path)
        link.symlink_to("second.tinynet")
    else:
        link.symlink_to("folder/file.tinynet" if target == "relative" else path)
    if target == "to nothing yet":
        path.unlink()
    before = os.readlink(link)
    write(link, 2)
    assert link.is_symlink()
    assert os.readlink(link) == before
    assert not path.is_symlink()
    assert version_of(path) == version_of(link) == 2
    assert alone(path)


@posix
def test_links_in_a_circle_are_an_error_of_the_operating_system(tmp_path):
    link = tmp_path / "link.tinynet"
    link.symlink_to("link.tinynet")
    with pytest.raises(OSError, match="Too many levels"):
        write(link, 2)
    with pytest.raises(OSError, match="Too many levels"):
        ModelFile(link)
    assert os.listdir(tmp_path) == ["link.tinynet"]


def test_a_reader_keeps_the_file_that_it_has_opened(path):
    with ModelFile(path) as opened:
        write(path, 2)
        np.testing.assert_array_equal(opened.read("c"), content(1, 1000)["c"])
    assert version_of(path) == 2


def test_a_folder_that_does_not_exist_is_not_made(tmp_path):
    path = tmp_path / "missing" / "file.tinynet"
    with pytest.raises(FileNotFoundError) as caught:
        write(path, 1)
    assert caught.value.filename == str(path)  # not the temporary file's name
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_place_of_the_folder(path):
    with pytest.raises(NotADirectoryError):
        write(path / "file.tinynet", 2)
    assert alone(path)


def test_replacing_by_hand(path):
    with replacing.replacing(path) as opened:
        assert isinstance(opened, io.FileIO)
        opened.write(b"new")
        assert version_of(path) == 1
    assert path.read_bytes() == b"new"


# --- paths ---------------------------------------------------------------------------------------


class Somewhere(os.PathLike):
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def test_paths_of_any_kind(path):
    for kind in (str, Path, Somewhere):
        write(kind(str(path)), 2)
        assert version_of(kind(str(path))) == 2
    assert saving.check_path(Somewhere("a/b.tinynet")) == Path("a/b.tinynet")


@pytest.mark.parametrize(
    "wrong",
    [b"x.tinynet", Somewhere(b"x.tinynet"), None, 3, io.BytesIO(), ["x.tinynet"], Path],
)
def test_what_is_no_path(wrong):
    for take in (saving.check_path, ModelFile, saving.describe, lambda wrong: write(wrong, 1)):
        with pytest.raises(TypeError, match=r"path must be a str or an os\.PathLike, got"):
            take(wrong)


@pytest.mark.parametrize(
    "name", ["x.keras", "x.h5", "x", "x.tinynet.zip", "x.TINYNET", ".tinynet", "tinynet", "", "x."]
)
def test_another_ending_is_an_error_that_names_the_right_one(tmp_path, name):
    for take in (saving.check_path, ModelFile, saving.describe, lambda path: write(path, 1)):
        with pytest.raises(ValueError, match=r"must end in '\.tinynet', got"):
            take(os.path.join(tmp_path, name) if name else name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("make", [str, Path])
@pytest.mark.parametrize("name", ["~/x.tinynet", "~someone/x.tinynet", "~x.tinynet"])
def test_a_tilde_is_not_expanded_in_silence(tmp_path, monkeypatch, make, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for take in (saving.check_path, ModelFile, saving.describe, lambda path: write(path, 1)):
        with pytest.raises(
            ValueError, match=r"begins with '~', which is not expanded .*expanduser"
        ):
            take(make(name))
    assert os.listdir(tmp_path) == []
    (tmp_path / "~").mkdir()
    write("./~/x.tinynet", 1)  # as the message says
    assert version_of(tmp_path / "~" / "x.tinynet") == 1


def test_a_null_character_in_a_path():
    with pytest.raises(ValueError, match="null character"):
        saving.check_path("a\0.tinynet")


# --- in processes of their own -------------------------------------------------------------------


def start(part, *arguments):
    # A child that is forked must not find threads that are not there any more.
    variables = {"OPENBLAS_NUM_THREADS": "1", "TINYNET_KERNELS": "numpy"}
    return subprocess.Popen(
        [sys.executable, __file__, part, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process, timeout=60):
    """What the process printed last, as JSON."""
    try:
        said, complaints = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == 0, complaints
    return json.loads(said.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_100_random_moments(path):
    found = result(start("killed", path, 100))
    assert found["kills"] == 100
    assert found["unfinished"] > 30, "hardly a kill came in the middle of a save"
    assert found["versions"] > 10, "hardly a save came to its end"


def typical_seconds(path, size):
    """What saving version 1 takes where nothing disturbs it."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        write(path, 1, size)
        times.append(time.perf_counter() - began)
    return min(times)


def killed(path, kills):
    """Kill a child that saves version after version; what is there must be whole each time."""
    path, kills = Path(path), int(kills)
    size = 400_000  # enough for threads that hash beside the one that writes
    typical = typical_seconds(path, size)
    rng = random.Random(0)
    version, unfinished = 1, 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            try:
                for later in range(version + 1, version + 1000):
                    write(path, later, size)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0, 3 * typical))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        there = version_of(path, size)
        assert there >= version
        version = there
        for other in set(path.parent.iterdir()) - {path}:
            assert other.name.startswith(".tinynet-")
            other.unlink()
            unfinished += 1
    return {"kills": kills, "unfinished": unfinished, "versions": version}


@posix
def test_ctrl_c_at_random_moments(path):
    found = result(start("interrupted", path, 60))
    assert found["interrupted"] > 20, "hardly an interrupt came in the middle of a save"
    assert alone(path)


def interrupted(path, times):
    """Interrupt saves; what is there must be whole each time, and nothing else be left."""

    def interrupt(*_):
        raise KeyboardInterrupt

    path, size = Path(path), 400_000
    typical = typical_seconds(path, size)
    rng = random.Random(0)
    signal.signal(signal.SIGALRM, interrupt)
    version, count = 1, 0
    for _ in range(int(times)):
        try:
            signal.setitimer(signal.ITIMER_REAL, max(1e-5, rng.uniform(0, typical)))
            write(path, version + 1, size)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            count += 1
        there = version_of(path, size)
        assert there in (version, version + 1)
        assert alone(path)
        version = there
    return {"interrupted": count}


@posix
def test_a_full_disk(path):
    assert result(start("full", path)) == {"errno": errno.EFBIG}
    assert alone(path)
    assert version_of(path) == 1


def full(path):
    """The operating system lets no file grow beyond a limit; as on a full disk, writing fails."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    write(path, 2, 4_000)  # 48,000 bytes of tensors fit
    write(path, 1, 1_000)
    # Not even the length can be set; and where it could, writing fails in the middle.
    try:
        write(path, 2, 100_000)
    except OSError as error:
        return {"errno": error.errno}


@posix
def test_a_read_only_folder(path):
    path.parent.chmod(0o555)
    try:
        assert result(start("read_only", path)) == {"error": "PermissionError"}
    finally:
        path.parent.chmod(0o755)
    assert alone(path)
    assert version_of(path) == 1


def read_only(path):
    """Save into a folder where nothing can be made."""
    if os.geteuid() == 0:
        drop_override()
    assert version_of(path) == 1
    try:
        write(path, 2)
    except OSError as error:
        return {"error": type(error).__name__}


def drop_override():
    """Give up root's right to write where permissions say no (CAP_DAC_OVERRIDE of Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3; this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~(1 << 1)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


SECONDS = 10


@posix
def test_two_writers_and_a_reader(path):
    write(path, 1, 50_000)
    writers = [start("writer", path, first, SECONDS) for first in (2, 3)]
    reader = start("reader", path, SECONDS)
    found = result(reader)
    written = [result(writer) for writer in writers]
    assert all(each["saves"] > 20 for each in written), written
    assert found["reads"] > 20
    assert found["versions"] > 10
    assert alone(path)
    version_of(path, 50_000)


def writer(path, first, seconds):
    """Save versions of one's own, even or odd ones, until the time is over."""
    saves, end = 0, time.monotonic() + float(seconds)
    while time.monotonic() < end:
        write(path, int(first) + 2 * saves, 50_000)
        saves += 1
    return {"saves": saves}


def reader(path, seconds):
    """Read what is there, which must be whole each time, until the time is over."""
    reads, versions, end = 0, set(), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        versions.add(version_of(path, 50_000))
        reads += 1
    return {"reads": reads, "versions": len(versions)}


PARTS = {part.__name__: part for part in (killed, interrupted, full, read_only, writer, reader)}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
