"""Memory is used again only when nobody holds it, and the arrays are like any others."""

import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinynet import layers
from tinynet.kernels import memory

SHAPE = (100, 1000)  # large enough to be kept


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(memory, "_rooms", {})
    monkeypatch.setattr(memory, "_bytes", 0)


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_used_again():
    first = memory.empty(SHAPE, "float32")
    at = address(first)
    del first
    assert address(memory.empty(SHAPE, "float32")) == at


@pytest.mark.parametrize(
    "hold",
    [
        lambda x: x,
        lambda x: x[1:],
        lambda x: x.T,
        lambda x: x.reshape(-1)[5:].view("int32")[::2],
        lambda x: [{"in": x}],
        lambda x: memoryview(x),
        lambda x: np.lib.stride_tricks.as_strided(x),
        lambda x: np.asarray(memoryview(x)),
    ],
)
def test_memory_that_anybody_holds_is_left_alone(hold):
    first = memory.empty(SHAPE, "float32")
    at, held = address(first), hold(first)
    del first
    others = [memory.empty(SHAPE, "float32") for _ in range(20)]
    assert at not in map(address, others)
    assert held is not None


@pytest.mark.parametrize(
    ("attribute", "value"), [("shape", (1000, 100)), ("shape", (-1,)), ("dtype", "int32")]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # later versions of NumPy advise against
def test_what_was_set_on_an_array_does_not_outlive_it(attribute, value):
    first = memory.empty(SHAPE, "float32")
    at, reference = address(first), weakref.ref(first)
    first.flags.writeable = False
    setattr(first, attribute, value)
    del first
    assert reference() is None
    again = memory.empty(SHAPE, "float32")
    assert address(again) == at
    assert (again.shape, again.dtype, again.flags.carray) == (SHAPE, np.float32, True)


def test_many_arrays_at_once_are_all_different():
    arrays = [memory.empty(SHAPE, "float32") for _ in range(50)]
    for number, array in enumerate(arrays):
        array.fill(number)
    assert [array[0, 0] for array in arrays] == list(range(50))


def test_shape_and_dtype_are_those_asked_for():
    memory.empty(SHAPE, "float32")
    for shape, dtype in [(SHAPE, "float64"), (SHAPE[::-1], "float32"), ((3,), "int32"), ((), "f8")]:
        array = memory.empty(shape, dtype)
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.carray


def test_zeros_are_zeros_in_used_memory_too():
    memory.empty(SHAPE, "float32").fill(7)
    assert not memory.zeros(SHAPE, "float32").any()


def test_what_is_kept_is_limited(monkeypatch):
    size = 4 * 100_000
    monkeypatch.setattr(memory, "_LIMIT", 3 * size)
    held = [memory.empty((100, 1000 + i), "float32") for i in range(10)]
    assert sum(len(kept) for kept in memory._rooms.values()) <= 3
    assert len({address(array) for array in held}) == 10


def test_threads_never_get_the_same_memory_at_once():
    def work(number):
        for _ in range(300):
            array = memory.empty(SHAPE, "float32")
            array.fill(number)
            if not (array == number).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_what_a_layer_returned_stays_as_it_was():
    relu = layers.ReLU()
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((64, 1000), np.float32) for _ in range(12)]
    y = [relu(each) for each in x]
    for given, got in zip(x, y, strict=True):
        np.testing.assert_array_equal(got, np.maximum(given, 0))


@pytest.mark.parametrize("shape", [(3,), (784, 128), (0, 5), (1600, 128)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lasting_zeros_begin_apart(shape, dtype):
    arrays = [memory.lasting_zeros(shape, dtype) for _ in range(8)]
    for number, array in enumerate(arrays):
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.carray
        assert not array.any()
        array.fill(number)
    for number, array in enumerate(arrays):
        assert (array == number).all()
    if arrays[0].nbytes >= 4096:
        assert len({address(array) % 4096 for array in arrays}) == 8
        assert all(address(array) % 64 == 0 for array in arrays)
