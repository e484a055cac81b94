"""No kernel reads or writes past an array's end: beside each array lies forbidden memory.

numba checks no bounds in code that works on addresses. So the arrays lie right after, or right
before, pages that the processor refuses to read or to write:

    [ forbidden | array . . . | forbidden ]        [ forbidden | . . . array | forbidden ]

A kernel that goes too far ends the process, and so this file runs itself, as a script, with the
name of some of its CASES. The results must be those of arrays in ordinary memory, bit for bit, and
memory for them comes full of NaN, so that they cannot hold what was not computed.
"""

import ctypes
import faulthandler
import functools
import itertools
import math
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.kernels import compiled, memory
from tinynet.kernels.geometry import output_size
from tinynet.kernels.jit import config, jit
from tinynet.kernels.transform import Place, both_sides
from tinynet.kernels.vectors import LEAST_CHANNELS

Array = np.ndarray
Case = tuple[str, dict[str, Any]]  # a kernel and its arguments

FORBIDDEN = 1 << 20  # bytes on either side


def guarded(shape: tuple[int, ...], dtype: Any, at_end: bool) -> Array:
    """An array full of NaN (or -1) at the beginning, or the end, of what may be touched."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return np.empty(shape, dtype)
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    both = mmap.mmap(-1, pages + 2 * FORBIDDEN, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = np.frombuffer(both, np.uint8).ctypes.data
    for start in (address, address + FORBIDDEN + pages):
        if _protect(start, FORBIDDEN, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = FORBIDDEN + (pages - size if at_end else 0)
    array = np.frombuffer(both, dtype, math.prod(shape), offset).reshape(shape)
    array.fill(np.nan if dtype.kind == "f" else -1 if dtype.kind == "i" else 255)
    return array


def _protect(address: int, size: int, what: int) -> int:
    """mprotect of the C library; 0 forbids to read and to write."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    return protect(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_int(what))


def inside_guards(x: Array, at_end: bool) -> Array:
    copy = guarded(x.shape, x.dtype, at_end)
    copy[...] = x
    return copy


def each_array(value: Any, change: Callable[[Array], Any]) -> Any:
    """A value, or a list of values, with something else in the place of each array."""
    if isinstance(value, list):
        return [each_array(one, change) for one in value]
    return change(value) if isinstance(value, np.ndarray) else value


def results(kernel: str, arguments: dict[str, Any], change: Callable[[Array], Array]) -> list[Any]:
    """What the kernel returns and what it has written to, where the arguments are such copies."""
    copies = {name: each_array(value, change) for name, value in arguments.items()}
    result = getattr(compiled, kernel)(**copies)
    return [*(result if isinstance(result, tuple) else (result,)), *copies.values()]


def check(case: Case) -> None:
    expected = results(*case, np.copy)
    for at_end in (False, True):
        with results_inside_guards(at_end):
            got = results(*case, functools.partial(inside_guards, at_end=at_end))
        np.testing.assert_equal(got, expected)


@contextmanager
def results_inside_guards(at_end: bool) -> Iterator[None]:
    """Arrays for results come from memory.empty, under the names that the modules know it by."""

    def empty(shape: tuple[int, ...], dtype: Any) -> Array:
        return guarded(shape, dtype, at_end)

    usual = memory.empty
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("tinynet.kernels") and getattr(module, "empty", None) is usual:
                patch.setattr(module, "empty", empty)
        yield


# --- what is computed ----------------------------------------------------------------------------

FORMS = list(itertools.product([False, True], repeat=2))


def normal(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def products() -> Iterator[Case]:
    tails = itertools.product((1, 6, 7, 15, 29), (1, 7), (1, 3, 15, 16, 17, 33, 47))
    large = [(131, 733, 711), (200, 90, 80)]
    for m, k, n in (*tails, *large):
        for dtype, (ta, tb) in itertools.product(("float32", "float64"), FORMS):
            a = normal(*((k, m) if ta else (m, k)), dtype=dtype)
            b = normal(*((n, k) if tb else (k, n)), dtype=dtype)
            case = {"a": a, "b": b, "transpose_a": ta, "transpose_b": tb}
            yield "matmul", case
            yield "matmul", case | {"out": np.zeros((m, n), dtype)}


def convolutions() -> Iterator[Case]:
    channels = (1, 1), (1, 33), (3, 16), (16, 16), (16, 17), (17, 33), (33, 3), (33, 16)
    sizes = itertools.product(
        (1, 2, 3), channels, [(3, 3), (2, 1)], [(1, 1), (2, 2)], ["valid", "same"]
    )
    for n, (c_in, c_out), window, strides, padding in sizes:
        for dtype in ("float32", "float64") if n == 2 else ("float32",):
            h, w = 3 + 2 * n, 10 - n
            rows, columns = (
                output_size(*along, padding) for along in zip((h, w), window, strides, strict=True)
            )
            x, dy = normal(n, h, w, c_in, dtype=dtype), normal(n, rows, columns, c_out, dtype=dtype)
            kernel = normal(*window, c_in, c_out, dtype=dtype)
            how = {"strides": strides, "padding": padding}
            yield "conv2d", {"x": x, "kernel": kernel, **how}
            shape = {"kernel_shape": kernel.shape}
            yield "conv2d_kernel_gradient", {"x": x, "dy": dy, **shape, **how}
            shape = {"input_shape": x.shape}
            yield "conv2d_input_gradient", {"dy": dy, "kernel": kernel, **shape, **how}


def gradients_of_many_rows() -> Iterator[Case]:
    """Those of Dense for more than 64 samples; with 130 inputs and 300 units dz is transposed."""
    for m, k, n in itertools.product((65, 90), (1, 20, 130), (1, 16, 33, 300)):
        for dtype, need_dx in itertools.product(("float32", "float64"), (False, True)):
            x, kernel, dy = (normal(*shape, dtype=dtype) for shape in ((m, k), (k, n), (m, n)))
            case = {"dy": dy, "x": x, "y": normal(n, m, dtype=dtype).T.copy(), "kernel": kernel}
            yield "dense_gradient", case | {"activation": "relu", "need_dx": need_dx}


def windows() -> Iterator[Case]:
    """Pooling."""
    sizes = itertools.product(
        (1, 3, 16, 17, 33), [(2, 2), (3, 2)], [(2, 2), (1, 3)], ["valid", "same"]
    )
    for c, window, strides, padding in sizes:
        for (h, w), dtype in itertools.product([(7, 9), (6, 4)], ("float32", "float64")):
            x = normal(2, h, w, c, dtype=dtype)
            how = {"pool_size": window, "strides": strides, "padding": padding}
            y, winners = compiled.max_pool2d(x, **how)
            for kernel in ("max_pool2d", "average_pool2d"):
                yield kernel, {"x": x, **how}
            how["input_shape"] = x.shape
            yield "max_pool2d_gradient", {"dy": y, "winners": winners, **how}
            yield "average_pool2d_gradient", {"dy": y, **how}


def all_kernels() -> Iterator[Case]:
    """The cases of test_parity, drawn by chance, all arrays in C order."""
    sys.path.insert(0, str(Path(__file__).parent))
    import test_parity

    class Plain:
        """Without the layouts that a kernel copies before it begins."""

        def layout(self, x: Array) -> Array:
            return np.array(x, order="C")

    class Small(Plain, test_parity.ByChance):
        pass

    class Large(Plain, test_parity.Large):
        pass

    for name, make in test_parity.CASES.items():
        for seed, dtype in itertools.product(range(12), ("float32", "float64")):
            yield name, make(Small(seed, dtype))
            if "2d" not in name and seed < 6:
                yield name, make(Large(seed, dtype))


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "products": products,
    "convolutions": convolutions,
    "gradients_of_many_rows": gradients_of_many_rows,
    "windows": windows,
    "all_kernels": all_kernels,
}


# --- maps of tiles, whose arrays are made in compiled code ---------------------------------------

MATRIX = np.array([[1.0, 0.0, 0.75], [-1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
_map = both_sides(MATRIX)
_add_map = both_sides(MATRIX, add=True)


@jit(from_python=True)
def apply_map(x: Array, x_place: Place, y: Array, y_place: Place, channels: int) -> None:
    _map(x, x_place, y, y_place, channels)


@jit(from_python=True)
def apply_add_map(x: Array, x_place: Place, y: Array, y_place: Place, channels: int) -> None:
    _add_map(x, x_place, y, y_place, channels)


def place(first: int, end: int, channels: int) -> Place:
    """Pixels first to end - 1 of a tile, along both axes, are all that there is in memory."""
    row = (end - first) * channels
    return Place(-first * (row + channels), row, channels, first, end, first, end)


def check_maps() -> None:
    rows, columns = MATRIX.shape
    pairs = itertools.product(
        itertools.combinations(range(columns + 1), 2), itertools.combinations(range(rows + 1), 2)
    )
    sizes = [size for size in (1, 3, 4, 8, 9, 15, 16, 17, 33) if size >= LEAST_CHANNELS]
    for (x_first, x_end), (y_first, y_end) in pairs:
        for channels, at_end, dtype in itertools.product(
            sizes, (False, True), ("float32", "float64")
        ):
            print(x_first, x_end, y_first, y_end, channels, at_end, dtype, flush=True)
            # Small whole numbers: every sum is exact.
            whole = np.random.default_rng(0).integers(-8, 8, (columns, columns, channels))
            x_there, y_there = slice(x_first, x_end), slice(y_first, y_end)
            full = np.zeros(whole.shape)
            full[x_there, x_there] = whole[x_there, x_there]
            expected = np.einsum("pi,qj,ijc->pqc", MATRIX, MATRIX, full)[y_there, y_there]
            x = inside_guards(full[x_there, x_there].astype(dtype), at_end).reshape(-1)
            y = guarded(expected.shape, dtype, at_end)
            source = x, place(x_first, x_end, channels)
            target = y.reshape(-1), place(y_first, y_end, channels)
            apply_map(*source, *target, channels)
            np.testing.assert_array_equal(y, expected)
            apply_add_map(*source, *target, channels)
            np.testing.assert_array_equal(y, 2 * expected)


# --- in a process of its own ---------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="no mprotect")
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="Python checks the bounds itself")
@pytest.mark.parametrize("cases", [*CASES, "maps", "too far"])
def test_nothing_past_the_ends_is_touched(cases: str) -> None:
    ended = subprocess.run(
        [sys.executable, __file__, cases],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if cases == "too far":
        assert ended.returncode < 0, "the guards do not guard"
        return
    last = ended.stdout.splitlines()[-1:]
    assert ended.returncode == 0, f"status {ended.returncode} in the case {last}\n{ended.stderr}"
    assert last == ["done"]


def describe(x: Array) -> str:
    return f"{x.dtype}{x.shape}"


def main(cases: str) -> None:
    if cases == "too far":
        array = guarded((3,), "float32", at_end=True)
        ctypes.c_float.from_address(array.ctypes.data + array.nbytes).value = 1.0
    elif cases == "maps":
        check_maps()
    else:
        for case in CASES[cases]():
            arguments = {name: each_array(value, describe) for name, value in case[1].items()}
            print(case[0], arguments, flush=True)
            check(case)
    print("done")


if __name__ == "__main__":
    faulthandler.enable()
    main(*sys.argv[1:])
