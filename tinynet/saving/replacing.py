"""Files that are written whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

EXTENSION = ".tinynet"


def check_path(path: object) -> Path:
    """``path`` as a Path that ends in ``.tinynet``.

    Raises TypeError and ValueError as `check_folder`, ValueError for another ending.
    """
    name = _text_of(path)
    if Path(name).suffix != EXTENSION:
        raise ValueError(
            f"tinynet reads and writes files of its own format, so the path must end in "
            f"{EXTENSION!r}, got {name!r}"
        )
    return _without_tilde(name)


def check_folder(path: object) -> Path:
    """``path`` as a Path.

    Raises TypeError for what is neither str nor os.PathLike of str, ValueError for a path that is
    empty, has a null character, or begins with ~, which would be a folder of that name.
    """
    name = _text_of(path)
    if not name:
        raise ValueError("path must name a folder, got ''; '.' is the present one")
    return _without_tilde(name)


def _text_of(path: object) -> str:
    if not isinstance(path, str | os.PathLike) or not isinstance(name := os.fspath(path), str):
        raise TypeError(f"path must be a str or an os.PathLike, got {path!r}")
    if "\0" in name:
        raise ValueError(f"path must not hold a null character, got {name!r}")
    return name


def _without_tilde(name: str) -> Path:
    if name.startswith("~"):
        raise ValueError(
            f"{name!r} begins with '~', which is not expanded here; pass "
            f"pathlib.Path({name!r}).expanduser(), or './{name}' for a folder of that name"
        )
    return Path(name)


@contextmanager
def replacing(path: Path) -> Iterator[FileIO]:
    """A file to write into, which takes the place of ``path`` when the block has ended well.

    The bytes go to a temporary file in the same folder. They are brought to the disk before the
    file gets its name, and so is the name before this returns: at every moment, through a crash or
    a loss of power as well, ``path`` is the old file or the new one, and whole. Whatever ends the
    block otherwise, Ctrl-C included, the temporary file is removed and ``path`` is as it was. Only
    a process that is killed, or a machine that stops, can leave a temporary file behind.

    A symbolic link stays one: the file that it leads to is replaced. The new file has the old
    one's permissions.

    Raises OSError for what cannot be written, and where ``path`` is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    mode = _mode(target)
    if mode is not None and not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise OSError(errno.EINVAL, f"cannot be replaced: it is {what}", str(path))
    temporary = target.parent / f".tinynet-{secrets.token_hex(8)}.tmp"
    try:
        with _create(temporary, path) as file:
            yield file
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _create(temporary: Path, path: Path) -> FileIO:
    try:
        return open(temporary, "xb", buffering=0)
    except OSError as error:  # the name that was asked for says more
        error.filename = str(path)
        raise


def write_all(file: FileIO, data: memoryview) -> None:
    """Write all of ``data``, where the system takes a part at a time only as well."""
    while data:
        data = data[file.write(data) :]


def _mode(path: Path) -> int | None:
    """Kind and permissions of what is at ``path``; None where nothing is."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """Bring the folder's list of names to the disk, where the system lets one open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
