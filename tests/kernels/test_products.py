"""Matrix products of every size a tile can have, and the same bits for any number of threads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.kernels import compiled, matrices, reference, threads
from tinynet.kernels.jit import config

Array = np.ndarray
TRANSPOSES = [(False, False), (True, False), (False, True), (True, True)]


def numbers(dtype: str, *shape: int) -> Array:
    """Whole numbers, so small that sums of their products are exact in either dtype."""
    return np.random.default_rng(sum(shape)).integers(-8, 8, shape).astype(dtype)


def check(dtype: str, m: int, k: int, n: int, transpose_a: bool, transpose_b: bool) -> None:
    a = numbers(dtype, *((k, m) if transpose_a else (m, k)))
    b = numbers(dtype, *((n, k) if transpose_b else (k, n)))
    # As integers: exact, and NumPy sums them itself. OpenBLAS, which it asks for floats, may read
    # beyond an operand and raise the flag of an invalid value for what happens to lie there.
    whole_a, whole_b = a.astype(np.int64), b.astype(np.int64)
    expected = (whole_a.T if transpose_a else whole_a) @ (whole_b.T if transpose_b else whole_b)
    got = compiled.matmul(a, b, transpose_a, transpose_b)
    np.testing.assert_array_equal(got, expected, err_msg=f"{(m, k, n)}")
    assert got.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [0, 1, 5])
def test_every_tail_of_a_tile(dtype: str, k: int) -> None:
    for m in range(1, 41):
        for n in range(1, 71):
            check(dtype, m, k, n, False, False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_transposes(dtype: str, transpose_a: bool, transpose_b: bool) -> None:
    for m in (0, 1, 2, 13, 29, 200):
        for n in (0, 1, 15, 33, 131):
            for k in (0, 1, 7, 64):
                check(dtype, m, k, n, transpose_a, transpose_b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_long_sums(dtype: str, transpose_a: bool, transpose_b: bool) -> None:
    for k in (63, 319, 320, 321, 640, 641, 1000):  # a tile may take them in blocks of 320
        for m in (1, 5, 32, 50):
            for n in (1, 16, 20, 33):
                check(dtype, m, k, n, transpose_a, transpose_b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_large_matrices(dtype: str, transpose_a: bool, transpose_b: bool) -> None:
    check(dtype, 131, 733, 711, transpose_a, transpose_b)
    check(dtype, 133, 601, 4099, transpose_a, transpose_b)  # so many columns that k is cut


@pytest.fixture
def plans_forgotten() -> Iterator[None]:
    def forget() -> None:
        threads.set_num_threads(threads.get_num_threads())
        matrices._large_plan.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
@pytest.mark.parametrize(("copies_rows", "tiles_first"), [(False, True), (True, False)])
@pytest.mark.usefixtures("plans_forgotten")
def test_every_tail_of_a_large_matrix(
    dtype: str,
    transpose_a: bool,
    transpose_b: bool,
    copies_rows: bool,
    tiles_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if these were large, in blocks of up to 192 k. The one way is that of CPUs without AVX-512,
    # the other that of those with it.
    monkeypatch.setattr(matrices, "_COPIES_ROWS", copies_rows)
    monkeypatch.setattr(matrices, "TILES_FIRST", tiles_first)
    monkeypatch.setattr(matrices, "_LONGEST_BLOCK", 192)
    monkeypatch.setattr(matrices, "_LARGE_BYTES", 0)
    monkeypatch.setattr(matrices, "_LARGE_ROWS", 1)
    for m in (1, 6, 13, 15, 29, 113, 120):
        for n in (1, 7, 16, 31, 33, 65):
            for k in (1, 5, 192, 193, 389):
                check(dtype, m, k, n, transpose_a, transpose_b)


def test_nothing_is_written_beside_the_result() -> None:
    for m, n in ((1, 1), (5, 3), (15, 17), (30, 33), (14, 47)):
        around = np.full(m * n + 128, np.float32(7))
        out = around[64:-64].reshape(m, n)
        compiled.matmul(numbers("float32", m, 4), numbers("float32", 4, n), out=out)
        assert (around[:64] == 7).all()
        assert (around[-64:] == 7).all()


@pytest.mark.parametrize("done_before", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_out_may_be_an_input(which: int, done_before: bool) -> None:
    inputs = numbers("float32", 20, 20), numbers("float32", 20, 20)
    expected = inputs[0].astype(np.int64) @ inputs[1].astype(np.int64)
    if done_before:
        compiled.matmul(*inputs, out=np.empty((20, 20), np.float32))
    out = inputs[which]
    assert compiled.matmul(*inputs, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_out_may_share_some_memory_with_an_input() -> None:
    for start in (20, 0, 1, 19):  # first apart: what is found to fit then is looked at again
        memory = numbers("float32", 40, 20)
        a, b, out = memory[:20], numbers("float32", 20, 20), memory[start : start + 20]
        expected = a.astype(np.int64) @ b.astype(np.int64)
        assert compiled.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
@pytest.mark.parametrize(("m", "k", "n"), [(4, 4, 4), (40, 9, 20), (5, 9, 30), (9, 0, 4)])
def test_what_was_right_once_is_looked_at_again(
    dtype: str, m: int, k: int, n: int, transpose_a: bool, transpose_b: bool
) -> None:
    rng = np.random.default_rng(0)

    def operands() -> tuple[Array, Array, Array]:
        a, b = rng.integers(-8, 8, (m, k)), rng.integers(-8, 8, (k, n))
        given = [x.T if turned else x for x, turned in ((a, transpose_a), (b, transpose_b))]
        return a @ b, *(np.ascontiguousarray(x, dtype) for x in given)

    out = np.empty((m, n), dtype)
    for _ in range(3):
        expected, a, b = operands()
        assert compiled.matmul(a, b, transpose_a, transpose_b, out) is out
        np.testing.assert_array_equal(out, expected)
    # The same shapes and dtypes, otherwise laid out.
    apart = np.zeros((m, 2 * n), dtype)
    for x, y, z in (
        (np.asfortranarray(a), b, out),
        (a, np.asfortranarray(b), out),
        (a, b, np.asfortranarray(out)),
        (a, b, apart[:, ::2]),
    ):
        z[...] = 0
        assert compiled.matmul(x, y, transpose_a, transpose_b, z) is z
        np.testing.assert_array_equal(z, expected)
    assert not apart[:, 1::2].any()
    frozen = np.zeros((m, n), dtype)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        compiled.matmul(a, b, transpose_a, transpose_b, frozen)
    assert not frozen.any()


# --- threads -------------------------------------------------------------------------------------


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def matmul() -> Array:
    return compiled.matmul(normal(130, 90), normal(90, 80))


def conv2d() -> Array:
    return compiled.conv2d(normal(9, 12, 12, 8), normal(3, 3, 8, 40))


def conv2d_kernel_gradient() -> Array:
    return compiled.conv2d_kernel_gradient(
        normal(9, 12, 12, 8), normal(9, 10, 10, 40), (3, 3, 8, 40)
    )


def conv2d_input_gradient() -> Array:
    return compiled.conv2d_input_gradient(
        normal(9, 10, 10, 40), normal(3, 3, 8, 40), (9, 12, 12, 8)
    )


def max_pool2d() -> Array:
    return compiled.max_pool2d(normal(5, 6, 6, 3), (3, 3), (2, 2))[0]


def max_pool2d_gradient() -> Array:
    _, winners = compiled.max_pool2d(normal(5, 6, 6, 3), (3, 3), (2, 2))
    return compiled.max_pool2d_gradient(
        normal(*winners.shape), winners, (5, 6, 6, 3), (3, 3), (2, 2)
    )


def dense_gradient() -> list[Array]:
    """With dx from the kernel transposed, and from dz transposed: as many numbers as fewer."""
    results = []
    for m, k, n in ((257, 90, 130), (100, 230, 310)):
        dy, x, y, kernel = normal(m, n), normal(m, k), normal(n, m).T.copy(), normal(k, n)
        results += compiled.dense_gradient(dy, x, y, kernel, "relu")
    return results


def adam_update() -> Array:
    param, m, v = normal(9000), normal(9000), abs(normal(9000))
    compiled.adam_update(param, normal(9000), m, v, 0.1, 0.9, 0.999, 1e-7, 1)
    return param


def winograd() -> list[Array]:
    x, dy, kernel = normal(9, 13, 12, 32), normal(9, 11, 10, 40), normal(3, 3, 32, 40)
    return [
        compiled.conv2d(x, kernel),
        compiled.conv2d_kernel_gradient(x, dy, kernel.shape),
        compiled.conv2d_input_gradient(dy, kernel, x.shape),
    ]


@pytest.fixture
def threads_always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "_WORTH_THREADS", 0)
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.usefixtures("threads_always")
@pytest.mark.parametrize(
    "kernel",
    [
        matmul,
        conv2d,
        conv2d_kernel_gradient,
        conv2d_input_gradient,
        dense_gradient,
        winograd,
        max_pool2d,
        max_pool2d_gradient,
        adam_update,
    ],
)
def test_any_number_of_threads_gives_the_same_bits(kernel: Callable[[], Any]) -> None:
    results = []
    for count in (1, 2, 3, 8):
        threads.set_num_threads(count)
        results += [kernel() for _ in range(3)]
    for result in results:
        np.testing.assert_equal(result, results[0])


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_a_dense_layer_of_few_inputs_and_many_units(k: int) -> None:
    """It is too large not to be cut into parts along k, and has hardly any k."""
    m, n = 1, 6000 if k > 2 else 16_384 // k
    x, kernel = numbers("float32", m, k), numbers("float32", k, n)
    for _ in range(3):
        spoilt = [np.full(4 * m * n, np.nan, np.float32) for _ in range(4)]
        del spoilt  # memory that is likely to be used next
        np.testing.assert_array_equal(compiled.dense(x, kernel, None), x @ kernel)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", [64, 65, 100, 300])
@pytest.mark.parametrize("n", [1, 16, 75, 300])
@pytest.mark.parametrize("k", [1, 20, 130, 800])
def test_the_gradients_of_a_dense_layer(dtype: str, m: int, k: int, n: int) -> None:
    dy, y = numbers(dtype, m, n), numbers(dtype, n, m).T.copy()
    x, kernel = numbers(dtype, m, k), numbers(dtype, k, n)
    for relu in (False, True):
        dz = (dy * (y > 0) if relu else dy).astype(np.int64)
        expected = dz @ kernel.T.astype(np.int64), x.T.astype(np.int64) @ dz, dz.sum(0)
        got = compiled.dense_gradient(dy, x, y, kernel, "relu" if relu else "linear")
        for each, right in zip(got, expected, strict=True):
            np.testing.assert_array_equal(each, right)
        dx, *rest = compiled.dense_gradient(
            dy, x, y, kernel, "relu" if relu else "linear", need_dx=False
        )
        assert dx is None
        np.testing.assert_equal(rest, list(got[1:]))


@pytest.mark.parametrize("used", [compiled, reference])
def test_operands_that_do_not_fit_are_refused_before_anything_is_read(used: Any) -> None:
    a, b = numbers("float32", 4, 3), numbers("float32", 3, 5)
    for wrong in (
        lambda: used.matmul(a, b, transpose_b=True),
        lambda: used.matmul(a, b, transpose_a=True),
        lambda: used.matmul(a, a),
        lambda: used.matmul(a, b.astype("float64")),
        lambda: used.matmul(a[0], b),
        lambda: used.matmul(a, b[np.newaxis]),
    ):
        with pytest.raises(ValueError, match=r"takes \(m, k\) and \(k, n\) of one dtype, got"):
            wrong()
    for out in (numbers("float32", 2, 2), numbers("float64", 4, 5), numbers("float32", 5, 4)):
        before = out.copy()
        with pytest.raises(ValueError, match=r"out must be \(4, 5\) in float32, got"):
            used.matmul(a, b, out=out)
        np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("used", [compiled, reference])
@pytest.mark.parametrize("dtype", ["int32", "bool", "float16", "complex64", ">f4"])
@pytest.mark.parametrize("size", [0, 4, 300])
def test_products_of_other_dtypes_are_refused(used: Any, dtype: str, size: int) -> None:
    a = np.ones((size, size), dtype)
    for transposes in ((False, False), (True, False), (False, True)):
        with pytest.raises(TypeError, match="arrays in float32 or float64, got "):
            used.matmul(a, a, *transposes)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the kernels in NumPy take them")
@pytest.mark.parametrize("dtype", ["int32", "float16", ">f4"])
def test_layers_of_other_dtypes_are_refused(dtype: str) -> None:
    def ones(*shape: int) -> Any:
        return np.ones(shape, dtype)

    images, kernel, windows = ones(2, 9, 9, 16), ones(3, 3, 16, 16), ones(5, 5, 16, 16)
    x, w = ones(40, 40), ones(40, 40)
    for product in (
        lambda: compiled.dense(x, w, None),
        lambda: compiled.dense(ones(100, 40), w, None),
        lambda: compiled.dense_gradient(x, x, x, w),
        lambda: compiled.conv2d(images, kernel),
        lambda: compiled.conv2d(images, windows),
        lambda: compiled.conv2d_kernel_gradient(images, ones(2, 7, 7, 16), kernel.shape),
        lambda: compiled.conv2d_kernel_gradient(images, ones(2, 5, 5, 16), windows.shape),
        lambda: compiled.conv2d_input_gradient(ones(2, 7, 7, 16), kernel, images.shape),
        lambda: compiled.conv2d_input_gradient(ones(2, 5, 5, 16), windows, images.shape),
    ):
        with pytest.raises(TypeError, match="arrays in float32 or float64, got "):
            product()


@pytest.mark.parametrize("used", [compiled, reference])
@pytest.mark.parametrize("done_before", [False, True])
@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.tolist(),
        lambda x: np.ma.masked_array(x, x > 0),
        lambda x: x.view(np.matrix),
        lambda x: None,
    ],
)
def test_products_of_what_is_no_plain_array_are_refused(
    used: Any, other: Callable[[Array], Any], done_before: bool
) -> None:
    a, b, out = (numbers("float32", 9, 9) for _ in range(3))
    if done_before:
        used.matmul(a, b, out=out)
    before = out.copy()
    for operands in ((other(a), b), (a, other(b))):
        with pytest.raises(TypeError, match="NumPy arrays, got"):
            used.matmul(*operands, out=out)
        np.testing.assert_array_equal(out, before)


def test_a_file_in_memory_is_an_array_like_others(tmp_path: Path) -> None:
    a = np.memmap(tmp_path / "a", np.float32, "w+", shape=(9, 9))
    a[:] = numbers("float32", 9, 9)
    expected = a.astype(np.int64) @ a.astype(np.int64)
    for _ in range(2):
        np.testing.assert_array_equal(compiled.matmul(a, a), expected)
        np.testing.assert_array_equal(compiled.matmul(a, a, out=np.empty_like(a)), expected)
