"""What recordings note down, and what programs do."""

import importlib
from typing import Any

import numpy as np
import pytest

from tinynet import kernels
from tinynet.kernels.jit import config
from tinynet.kernels.recording import each_time, record

pytestmark = pytest.mark.skipif(
    bool(config.DISABLE_JIT) or kernels.backend() != "numba", reason="without compiled code"
)

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "float32") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def program_of(recording: Any) -> Any:
    return importlib.import_module("tinynet.kernels.program").program_of(recording)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_program_makes_the_same_calls_on_what_is_in_the_arrays_now(dtype: str) -> None:
    x, kernel, bias = normal(40, 30, dtype=dtype), normal(30, 20, dtype=dtype), normal(20)
    bias = bias.astype(dtype)
    with record() as recording:
        y = kernels.relu(kernels.dense(x, kernel, bias))
    program = program_of(recording)
    for array in (x, kernel, bias):
        array[...] = normal(*array.shape)
    program.play()
    np.testing.assert_equal(y, kernels.relu(kernels.dense(x, kernel, bias)))


def test_arguments_of_every_kind() -> None:
    """Numbers, truth values, tuples of numbers and of arrays."""
    images = normal(3, 8, 8, 2)
    params, grads = [normal(5), normal(2, 3)], [normal(5), normal(2, 3)]
    ms, vs = [np.zeros_like(p) for p in params], [np.ones_like(p) for p in params]
    rates = np.array([0.1, 0.1, 0.001, 1e-7])
    with record() as recording:
        y, winners = kernels.max_pool2d(images, (2, 3), (2, 2), "same")
        leaky = kernels.leaky_relu(images, 0.3)
        kernels.adam_updates(params, grads, ms, vs, rates)
    program = program_of(recording)
    expected = [array.copy() for array in (*params, *ms, *vs)]
    images[...] = normal(*images.shape)
    program.play()
    halves = expected[:2], expected[2:4], expected[4:]
    kernels.adam_updates(halves[0], grads, halves[1], halves[2], rates)
    np.testing.assert_equal([*params, *ms, *vs], [*halves[0], *halves[1], *halves[2]])
    np.testing.assert_equal((y, winners), kernels.max_pool2d(images, (2, 3), (2, 2), "same"))
    np.testing.assert_equal(leaky, kernels.leaky_relu(images, 0.3))


def test_several_steps_with_inputs_and_fills() -> None:
    x = normal(100, 3)
    indices, factor = np.arange(4), np.zeros(1)
    steps_seen = []

    def fill(values: Any) -> None:
        steps_seen.append(len(values))
        values[:, 0] = np.arange(len(values))

    param, grad = np.zeros(3, np.float32), np.ones(3, np.float32)
    with record() as recording:
        batch = kernels.take(x, indices)
        each_time(fill, factor, early=True)
        kernels.sgd_updates([param], [grad], factor)
    program = program_of(recording)
    assert program.most_steps > 1
    param[...] = 0
    several = np.array([[1, 2, 3, 4], [9, 8, 7, 6], [50, 0, 99, 5]])
    program.play(3, [(indices, several)])
    np.testing.assert_equal(batch, x[several[-1]])
    np.testing.assert_equal(param, np.full(3, -(0 + 1 + 2), np.float32))
    assert steps_seen == [1, 3]


def test_one_step_at_a_time_where_something_is_to_be_filled_in_between() -> None:
    noise = np.zeros(3, np.float32)
    with record() as recording:
        each_time(lambda values: values.fill(1), noise)
        kernels.relu(noise)
    assert program_of(recording).most_steps == 1


@pytest.mark.parametrize("size", [0, 1, 3, 7, 8, 12, 16, 24])
@pytest.mark.parametrize("offset", [0, 1, 4, 8])
def test_samples_of_any_length_anywhere_in_memory(size: int, offset: int) -> None:
    memory = np.arange(offset + 50 * size).astype(np.uint8)
    x = memory[offset:].reshape(50, size)
    indices = RNG.integers(0, 50, 9)
    np.testing.assert_array_equal(kernels.take(x, indices), x[indices])


def test_places_of_arrays() -> None:
    data = normal(5, 4, 3)
    with record() as recording:
        y = kernels.relu(data[0])
    program = program_of(recording)
    (place,) = program.places_of(data[0])
    results = np.empty_like(data)
    (target,) = program.places_of(y)
    starts = np.arange(5) * data[0].nbytes
    program.play(5, [(place, data.ctypes.data + starts), (target, results.ctypes.data + starts)])
    np.testing.assert_equal(results, np.maximum(data, 0))
    assert program.places_of(np.zeros(3)) == []


@pytest.mark.parametrize(
    "work",
    [
        lambda: kernels.tanh(normal(3, 4)),
        lambda: kernels.copy(normal(4, 3).T),
        lambda: kernels.take(np.asfortranarray(normal(4, 3)), np.arange(2)),
        lambda: kernels.average_pool2d(normal(1, 4, 4, 2), (2, 2), (2, 2)),
        lambda: kernels.batch_norm(normal(4, 3), normal(3), normal(3), 1e-3),
        lambda: kernels.matmul(normal(3, 4)[:, ::2], normal(2, 3)),
        lambda: kernels.softmax_cross_entropy(normal(2, 3), np.array([0, 1], np.uint8)),
    ],
)
def test_what_numpy_does_makes_a_recording_incomplete(work: Any) -> None:
    with record() as recording:
        work()
        kernels.relu(normal(3))
    assert not recording.complete
    assert program_of(recording) is None


def test_nothing_is_no_program() -> None:
    with record() as recording:
        pass
    assert program_of(recording) is None


def test_a_recording_within_a_recording() -> None:
    with record() as outer:
        kernels.relu(normal(3))
        with record() as inner:
            kernels.relu(normal(3))
        kernels.relu(normal(3))
    assert len(inner.calls) == 1
    assert inner.complete
    assert len(outer.calls) == 2
    assert not outer.complete


def test_denormal_numbers_count_as_0_on_every_thread_and_only_in_kernels() -> None:
    small, one = np.full((300, 300), 1e-40, np.float32), np.eye(300, dtype=np.float32)
    before = kernels.get_num_threads()
    for threads in (1, 2, 3):
        kernels.set_num_threads(threads)
        assert not kernels.matmul(small, one).any()
        assert not kernels.matmul(small[:2, :2].copy(), one[:2, :2].copy()).any()
        assert (small * np.float32(1) > 0).all()
    kernels.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_smallest_epsilon_is_not_0(dtype: str) -> None:
    epsilon = 1e-40 if dtype == "float32" else 1e-310
    param, zero = np.ones(20, dtype), np.zeros(20, dtype)
    kernels.adam_update(param, zero, zero.copy(), zero.copy(), 0.1, 0.9, 0.999, epsilon, 1)
    kernels.rmsprop_update(param, zero, zero.copy(), None, 0.1, 0.9, 0.0, epsilon)
    np.testing.assert_equal(param, np.ones(20, dtype))
