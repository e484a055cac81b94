"""Where compiled kernels are kept, and the line that says that they are being compiled.

numba can keep what it has compiled in a folder. It notices that a function's own file has changed,
but not that a file which that one imports has, and it reads the folder by pickle, so that whoever
can write to it can run code. So tinynet's folder is named after the text of all kernels, and is
used only where nobody but the user can write to it. numba itself keeps different CPUs apart.

The folder is in the user's cache folder, or in ``TINYNET_CACHE`` where that is set. A folder that
cannot be used costs time in each process, and nothing else.
"""

import gc
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
import platformdirs
from numba.core import caching, ccallback, dispatcher, event

config: Any = numba.config  # what the variables NUMBA_... say


def _folder() -> Path | None:
    """The folder for these kernels, made where it is not there; None where it cannot be used."""
    base = os.environ.get("TINYNET_CACHE")
    try:
        root = Path(base) if base else platformdirs.user_cache_path("tinynet")
        folder = root / f"kernels-{_fingerprint()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_private(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder.absolute()
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        pass
    return None


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
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


FOLDER = _folder()


@contextmanager
def in_folder() -> Iterator[dict[str, bool]]:
    """Options for a decorator of numba's, which within the block keeps its cache in FOLDER."""
    if FOLDER is None:
        yield {}
        return
    makers: tuple[Any, ...] = dispatcher, ccallback
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(FOLDER)
    for maker in makers:
        maker.FunctionCache = _Cache
    try:
        yield {"cache": True}
    finally:
        config.CACHE_DIR = previous
        for maker in makers:
            maker.FunctionCache = FunctionCache


# What compiled code may call by name (see `outline`), and what makes that known in another process:
# numba calls it there before it loads the code.
named: dict[str, Any] = {}

FunctionCache: Any = caching.FunctionCache


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache of one function, where a file that cannot be used is one that is not there.

    A full disk, a file cut short by a crash, or a folder inside FOLDER that belongs to somebody
    else must cost time only.
    """

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
            where = f"they are kept in {FOLDER}" if FOLDER else "there is no folder to keep them in"
            print(
                f"tinynet: compiling kernels for this machine, which takes some seconds; {where}",
                file=sys.stderr,
                flush=True,
            )


def _is_kernel(event: Any) -> bool:
    """Whether what is compiled is tinynet's, and not some other program's."""
    module = event.data["dispatcher"].py_func.__module__
    return str(module).partition(".")[0] == "tinynet"  # a function that exec made may have None


register: Any = event.register
register("numba:compile", _Watch())
