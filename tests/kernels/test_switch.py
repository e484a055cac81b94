"""Which kernels run: kernels.use, TINYNET_KERNELS and kernels.backend."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tinynet import kernels
from tinynet.kernels import compiled, reference

MODULES = {"numpy": reference, "numba": compiled}


@pytest.fixture(autouse=True)
def previous() -> Iterator[str]:
    name = kernels.backend()
    yield name
    kernels.use(name)


def assert_in_use(name: str) -> None:
    assert kernels.backend() == name
    for kernel in kernels.KERNELS:
        assert getattr(kernels, kernel) is getattr(MODULES[name], kernel)


@pytest.mark.parametrize("name", MODULES)
def test_use_switches(name: str) -> None:
    kernels.use(name)
    assert_in_use(name)


@pytest.mark.parametrize("name", MODULES)
def test_with_block_switches_back(name: str, previous: str) -> None:
    with kernels.use(name):
        assert_in_use(name)
    assert_in_use(previous)


def test_with_block_switches_back_after_an_error(previous: str) -> None:
    with pytest.raises(ZeroDivisionError), kernels.use("numpy"):
        raise ZeroDivisionError
    assert_in_use(previous)


def test_unknown_name_changes_nothing(previous: str) -> None:
    with pytest.raises(ValueError, match="'numpy' or 'numba', got 'cuda'"):
        kernels.use("cuda")
    assert_in_use(previous)


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "TINYNET_KERNELS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


BACKEND = "from tinynet import kernels; print(kernels.backend())"


def test_numba_is_the_default() -> None:
    assert run(BACKEND).stdout.strip() == "numba"


@pytest.mark.parametrize("name", MODULES)
def test_environment_variable(name: str) -> None:
    assert run(BACKEND, TINYNET_KERNELS=name).stdout.strip() == name


def test_environment_variable_with_an_unknown_name() -> None:
    ended = run(BACKEND, TINYNET_KERNELS="cuda")
    assert ended.returncode != 0
    assert "got 'cuda'" in ended.stderr
    assert "TINYNET_KERNELS" in ended.stderr


def test_importing_compiles_nothing() -> None:
    code = (
        "from numba.core import compiler, event\n"
        "with event.install_recorder('numba:compile') as recorder:\n"
        "    import tinynet.kernels\n"
        "print(len(recorder.buffer))"
    )
    assert run(code, TINYNET_KERNELS="numba").stdout.strip() == "0"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: os.PathLike[str]) -> None:
    # A file stands where numba would make its folders.
    blocked = os.path.join(tmp_path, "file")
    with open(blocked, "w"):
        pass
    code = (
        "import numpy as np; from tinynet import kernels\n"
        "print(kernels.relu(np.array([-1.0, 2.0])), kernels.matmul(np.eye(2), np.eye(2)).sum())"
    )
    ended = run(
        code, NUMBA_CACHE_DIR=blocked, TINYNET_KERNELS="numba",
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )  # fmt: skip
    assert ended.stdout.strip() == "[0. 2.] 2.0", ended.stderr
