"""Where compiled kernels are kept, and the line that says that they are being compiled.

numba can keep what it has compiled in files. It notices that a function's own file has changed,
but not that a file which that one imports has, and it reads its files by pickle, so that whoever
can write to them can run code. So tinynet's are in a folder that is named after the text of all
kernels, and that is used only where nobody but the user can write to it. numba itself keeps CPUs
apart: each entry of its files is under the CPU's name and all that this one can do.

The folder is in the user's cache folder, or in ``TINYNET_CACHE`` where that is set. One that cannot
be written to is only read, and one that cannot be used costs time in each process, and nothing
else.
"""

import gc
import hashlib
import inspect
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import platformdirs
from numba.core import caching, ccallback, dispatcher, event

config: Any = numba.config  # what the variables NUMBA_... say


def _folder() -> Path | None:
    """The folder for these kernels, made where it is not there; None where it cannot be used."""
    try:
        folder = _root() / f"kernels-{_fingerprint()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_private(folder) and os.access(folder, os.R_OK | os.X_OK):
            return folder.absolute()
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        pass
    return None


def _root() -> Path:
    """The folder that it is in."""
    named = os.environ.get("TINYNET_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("tinynet")


def _fingerprint() -> str:
    """A number for all that the compiled code follows from, the CPU excepted."""
    options = config.BOUNDSCHECK, config.OPT
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {options}".encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _is_private(folder: Path) -> bool:
    """Whether only this user can write to it, as far as the operating system can tell."""
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    # Where all may rename what is not theirs, they could put a folder of theirs in its place.
    modes = [parent.stat().st_mode for parent in folder.absolute().parents]
    return all(not mode & stat.S_IWOTH or mode & stat.S_ISVTX for mode in modes)


FOLDER = _folder()


@contextmanager
def in_folder() -> Iterator[dict[str, bool]]:
    """Options for a decorator of numba's, which within the block keeps its cache in FOLDER."""
    if FOLDER is None:
        yield {}
        return
    makers: tuple[Any, ...] = dispatcher, ccallback
    for maker in makers:
        maker.FunctionCache = _Cache
    try:
        yield {"cache": True}
    finally:
        for maker in makers:
            maker.FunctionCache = FunctionCache


# What compiled code may call by name (see `outline`), and what makes that known in another process:
# numba calls it there before it loads the code.
named: dict[str, Any] = {}

FunctionCache: Any = caching.FunctionCache
Format: Any = caching.CompileResultCacheImpl


class _Place(Format):  # type: ignore[misc]
    """Where numba's cache of one function is: in FOLDER and nowhere else.

    Where a folder does not suit numba, it would take another, such as __pycache__ beside the
    function's file; and it would take that at once where NUMBA_CACHE_LOCATOR_CLASSES says so.
    """

    filename_base = ""
    locator: Any = None

    def __init__(self, function: Any) -> None:
        file, line = Path(inspect.getfile(function)), function.__code__.co_firstlineno
        name = function.__qualname__.replace("<", "").replace(">", "")  # as in file names
        if not file.is_file():
            raise RuntimeError(f"{name} is from no file, and cannot be kept in one")
        self.filename_base = f"{file.stem}.{name}-{line}.{sys.implementation.cache_tag}"
        self.locator = self
        self._file = file

    def get_cache_path(self) -> str:
        """The folder."""
        return str(FOLDER)

    def get_source_stamp(self) -> bytes:
        """What changes with the function's file, which FOLDER may not be named after."""
        return _digest(self._file)

    def ensure_cache_path(self) -> None:
        """Make the folder, if it is no longer there."""
        os.makedirs(self.get_cache_path(), mode=0o700, exist_ok=True)


@cache
def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache of one function, where a file that cannot be used is one that is not there.

    A full disk or a file cut short by a crash must cost time only.
    """

    _impl_class = _Place

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was kept, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged pickle raises any
            with suppress(Exception):
                self.flush()  # the index, so that both files are written anew
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, if that can be done."""
        # Found in the code: parts of it, which numba may have had from here, call by name, too.
        called = [function.name for function in data.library._final_module.functions]
        data.reload_init.extend(named[name] for name in called if name in named)
        with suppress(OSError):
            super().save_overload(sig, data)


# --- while kernels are compiled ------------------------------------------------------------------


class _Watch(event.Listener):
    """Says once that kernels are being compiled, as soon as that has taken a second.

    Meanwhile there is no garbage collection: numba and LLVM make so many objects that looking
    through them takes a tenth of the time.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._started = 0.0
        self._depth = 0
        self._said = False
        self._collects = True

    def on_start(self, event: Any) -> None:
        """A function begins to be compiled, maybe as part of another."""
        if self._depth == 0:
            if not _is_kernel(event):
                return
            self._started = time.perf_counter()
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1
        self._say_if_long()

    def on_end(self, event: Any) -> None:
        """It is compiled."""
        if self._depth == 0:
            return
        self._say_if_long()
        self._depth -= 1
        if self._depth == 0:
            self._seconds += time.perf_counter() - self._started
            if self._collects:
                gc.enable()

    def _say_if_long(self) -> None:
        if not self._said and self._seconds + time.perf_counter() - self._started > 1:
            self._said = True
            what = "tinynet: compiling kernels for this machine, which takes some seconds"
            print(f"{what}; {_where()}", file=sys.stderr, flush=True)


def _where() -> str:
    """What becomes of compiled kernels."""
    if FOLDER and os.access(FOLDER, os.W_OK | os.X_OK):
        return f"they are kept in {FOLDER}"
    with suppress(RuntimeError):
        return f"they cannot be kept in {_root()}, to which you and only you must be able to write"
    return "you have no home to keep them in, and TINYNET_CACHE does not name a folder"


def _is_kernel(event: Any) -> bool:
    """Whether what is compiled is tinynet's, and not some other program's."""
    module = event.data["dispatcher"].py_func.__module__
    return str(module).partition(".")[0] == "tinynet"  # a function that exec made may have None


register: Any = event.register
register("numba:compile", _Watch())
