"""Where compiled kernels are kept: with which text, by whom, and what is said about it."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core import ccallback, dispatcher

import tinynet
from tinynet.kernels import cache
from tinynet.kernels.jit import config

# There is nothing to keep where nothing is compiled.
pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")

FOLDER = "from tinynet.kernels import cache; print(cache.FOLDER)"
WORK = """
import numpy as np
from tinynet import kernels
x = np.array([[-1.0, 2.0]], np.float32)
print(kernels.relu(x), kernels.matmul(x, x.T))
"""
RESULT = "[[0. 2.]] [[5.]]"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of a copy of tinynet, to be changed."""
    copy = tmp_path / "tinynet"
    assert tinynet.__file__ is not None
    shutil.copytree(
        Path(tinynet.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    return copy


def run(package: Path, code: str, **variables: str) -> tuple[str, str]:
    """What the code prints to stdout and to stderr, run with that tinynet."""
    inherited = {name: value for name, value in os.environ.items() if name != "TINYNET_KERNELS"}
    ended = subprocess.run(
        [sys.executable, "-B", "-c", code],
        env={
            **inherited,
            "PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path]),
            "TINYNET_CACHE": str(package.parent / "cache"),
            **variables,
        },
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip(), ended.stderr


# --- which text ----------------------------------------------------------------------------------


def test_the_folder_is_that_of_the_text(package: Path) -> None:
    folder = run(package, FOLDER)[0]
    assert Path(folder).parent == package.parent / "cache"
    assert run(package, FOLDER)[0] == folder
    kernel = package / "kernels" / "updates.py"
    text = kernel.read_bytes()
    kernel.write_bytes(text.replace(b"p[i]", b"q[i]", 1))
    assert run(package, FOLDER)[0] != folder
    kernel.write_bytes(text)
    assert run(package, FOLDER)[0] == folder


def test_checks_of_bounds_are_kept_apart(package: Path) -> None:
    other = "0" if config.BOUNDSCHECK else "1"
    assert run(package, FOLDER)[0] != run(package, FOLDER, NUMBA_BOUNDSCHECK=other)[0]


def test_a_changed_module_that_a_kernel_imports_is_noticed(package: Path) -> None:
    amount, kernel = (package / "kernels" / name for name in ("amount.py", "kernel.py"))
    kernel.write_text(
        "from tinynet.kernels.amount import amount\n"
        "from tinynet.kernels.jit import jit\n"
        "@jit(from_python=True)\n"
        "def kernel(x):\n"
        "    return x + amount()\n"
    )
    code = (
        "from tinynet.kernels.kernel import kernel\n"
        "print(kernel(10), sum(kernel.stats.cache_hits.values()))"
    )
    for number in (1, 2):
        amount.write_text(
            f"from tinynet.kernels.jit import jit\n@jit()\ndef amount():\n    return {number}\n"
        )
        assert run(package, code)[0] == f"{10 + number} 0"
        assert run(package, code)[0] == f"{10 + number} 1"  # this time from the folder


# --- what is written, and said -------------------------------------------------------------------


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_compiling_is_announced_once_and_only_the_cache_is_written_to(package: Path) -> None:
    before = files(package.parent)
    said, notice = run(package, WORK)
    assert said == RESULT
    assert notice.count("\n") == 1
    assert notice.startswith("tinynet: compiling kernels for this machine")
    assert str(package.parent / "cache") in notice
    written = files(package.parent) - before
    assert any(path.suffix == ".nbc" for path in written)
    assert {path.suffix for path in written} <= {".nbi", ".nbc"}
    assert all(path.is_relative_to(package.parent / "cache") for path in written)

    assert run(package, WORK) == (RESULT, "")
    assert files(package.parent) - before == written


def test_a_folder_that_cannot_be_made_is_no_error(package: Path) -> None:
    blocked = package.parent / "file"
    blocked.touch()
    before = files(package.parent)
    said, notice = run(package, WORK, TINYNET_CACHE=str(blocked))
    assert said == RESULT
    assert f"they cannot be kept in {blocked}, to which" in notice
    assert files(package.parent) == before


def test_no_other_place_is_written_to_or_read(package: Path) -> None:
    """numba would take __pycache__ beside a file where its first choice does not suit it."""
    elsewhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "InTreeCacheLocator"}
    assert run(package, WORK, **elsewhere)[0] == RESULT
    kept = files(package.parent / "cache")
    assert kept
    shutil.rmtree(package.parent / "cache")
    (package.parent / "cache").touch()
    assert run(package, WORK, **elsewhere)[0] == RESULT
    assert not [path for path in files(package.parent) if path.suffix in (".nbi", ".nbc")]


# Who may write anywhere gives that up, with the next program that the process becomes.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-B", "-c", {code!r}])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's permissions and privileges")
def test_a_folder_that_cannot_be_written_to_is_read(package: Path) -> None:
    count = """
import os
from numba.core import event
from tinynet.kernels import cache
assert not os.access(cache.FOLDER, os.W_OK)
with event.install_recorder("numba:compile") as compiled:
    exec(WORK)
print(len(compiled.buffer) > 0)
"""
    code = WITHOUT_PRIVILEGES.format(code=f"WORK = {WORK!r}\n{count}")
    assert run(package, WORK)[0] == RESULT
    folder = Path(run(package, FOLDER)[0])
    kept = files(folder)
    for missing, compiles in ((False, False), (True, True)):
        if missing:
            gone = next(path for path in kept if "._multiply_directly-" in path.name)
            kept.remove(gone)
            gone.unlink()
        folder.chmod(0o500)
        said, notice = run(package, code)
        folder.chmod(0o700)
        assert said == f"{RESULT}\n{compiles}"
        assert "they are kept" not in notice
        assert files(folder) == kept


def test_where_a_program_is_does_not_matter(package: Path) -> None:
    """What was compiled for one copy of tinynet is used by another with the same text."""
    assert run(package, WORK)[0] == RESULT
    copy = package.parent / "other" / "tinynet"
    shutil.copytree(package, copy)
    for path in copy.rglob("*.py"):
        os.utime(path, (0, 0))
    assert run(copy, WORK, TINYNET_CACHE=str(package.parent / "cache")) == (RESULT, "")


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_files_are_compiled_anew(package: Path, suffix: str) -> None:
    assert run(package, WORK)[0] == RESULT
    damaged = [path for path in files(package.parent / "cache") if path.suffix == suffix]
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(package, WORK)[0] == RESULT
    assert run(package, WORK) == (RESULT, "")


def test_missing_files_are_compiled_anew(package: Path) -> None:
    """Also those of functions that others, which are there, call by name."""
    assert run(package, WORK)[0] == RESULT
    kept = files(package.parent / "cache")
    for name in ("_task-", "_relu_block-", "_multiply_directly-"):
        missing = {path for path in kept if f".{name}" in path.name}
        assert missing
        for path in missing:
            path.unlink()
        assert run(package, WORK)[0] == RESULT
        assert missing <= files(package.parent / "cache")


def test_what_a_part_calls_by_name_is_known_to_the_whole(package: Path) -> None:
    """The first process keeps a function that the second makes a part of another, and calls."""
    start = """
import numpy as np
from tinynet import kernels
from tinynet.kernels.bias import bias_gradient
x, y, bias_out = (np.ones(shape, np.float32) for shape in ((99, 5), (99, 5), 5))
"""
    dense = "print(kernels.dense_gradient(y, x, y, np.eye(5, dtype=np.float32))[2])"
    bias = "print(bias_gradient(y, y, False, bias_out).sum(), bias_out)"
    assert run(package, start + dense)[0] == "[99. 99. 99. 99. 99.]"
    for _ in range(2):
        assert run(package, start + bias)[0] == "495.0 [99. 99. 99. 99. 99.]"


@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_is_left_as_it_was(package: Path, collects: bool) -> None:
    code = f"""
import gc
import numpy as np
from tinynet import kernels
{"" if collects else "gc.disable()"}
kernels.copy(np.ones(3, np.float32))
print(gc.isenabled())
"""
    assert run(package, code)[0] == str(collects)


def test_what_others_compile_is_not_announced(package: Path) -> None:
    code = """
import gc, time
import tinynet
from numba import extending, njit, types
@extending.intrinsic
def slow(typingctx):
    print(gc.isenabled())
    time.sleep(1.1)
    return types.intp(), lambda context, builder, signature, values: context.get_constant(*SEVEN)
SEVEN = types.intp, 7
made = {"slow": slow}
exec("def others(): return slow()", made)
print(made["others"].__module__, njit(made["others"])())
"""
    assert run(package, code) == ("True\nNone 7", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
def test_a_full_disk_is_no_error(package: Path) -> None:
    full = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""
    assert run(package, full + WORK)[0] == RESULT
    assert run(package, WORK)[0] == RESULT


# --- whose folder --------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYNET_CACHE", str(tmp_path / "a" / "b"))
    return tmp_path / "a" / "b"


def test_a_new_folder_is_the_users_alone(base: Path) -> None:
    folder = cache._folder()
    assert folder is not None
    assert folder.parent == base
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cache._folder() == folder


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
@pytest.mark.usefixtures("base")
def test_a_folder_that_others_can_write_to_is_not_used(mode: int) -> None:
    folder = cache._folder()
    assert folder is not None
    folder.chmod(mode)
    assert cache._folder() is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
@pytest.mark.parametrize(("mode", "used"), [(0o777, False), (0o1777, True), (0o775, True)])
def test_a_folder_that_others_can_rename_is_not_used(base: Path, mode: int, used: bool) -> None:
    assert cache._folder() is not None
    for parent in base, base.parent:
        parent.chmod(mode)
        assert (cache._folder() is not None) == used
        parent.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives away")
@pytest.mark.usefixtures("base")
def test_a_folder_of_another_user_is_not_used() -> None:
    folder = cache._folder()
    assert folder is not None
    os.chown(folder, 12345, -1)
    assert cache._folder() is None


@pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_not_used(base: Path) -> None:
    base.mkdir(parents=True)
    base.chmod(0o500)
    assert cache._folder() is None


def test_a_file_in_the_place_of_the_folder(base: Path) -> None:
    folder = cache._folder()
    assert folder is not None
    folder.rmdir()
    folder.touch()
    assert cache._folder() is None


def test_a_relative_path_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_CACHE", "here")
    folder = cache._folder()
    assert folder is not None
    assert folder.is_absolute()
    assert folder.parent == tmp_path / "here"


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is Linux's")
def test_without_the_variable_it_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TINYNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache._folder()
    assert folder is not None
    assert folder.parent == tmp_path / "tinynet"


def test_a_user_without_a_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("TINYNET_CACHE", raising=False)
    monkeypatch.setattr(cache.platformdirs, "user_cache_path", nowhere)
    assert cache._folder() is None


# --- what is numba's own -------------------------------------------------------------------------


def of_numba() -> bool:
    """Whether numba keeps what is not tinynet's as it does without tinynet."""
    caches = dispatcher.FunctionCache, ccallback.FunctionCache
    folder: str = numba.config.CACHE_DIR
    return folder == os.environ.get("NUMBA_CACHE_DIR", "") and set(caches) == {cache.FunctionCache}


def test_the_caches_of_others_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_numba()
    monkeypatch.setattr(cache, "FOLDER", tmp_path)
    with cache.in_folder() as options:
        assert options == {"cache": True}
        assert not of_numba()
    assert of_numba()


def test_the_caches_of_others_are_left_alone_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), cache.in_folder():
        raise ZeroDivisionError
    assert of_numba()


def test_nothing_is_kept_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FOLDER", None)
    with cache.in_folder() as options:
        assert options == {}
        assert of_numba()
