"""Steps that are played by several threads at once."""

import importlib
from typing import Any

import numpy as np
import pytest

from tinynet import kernels
from tinynet.kernels.jit import config
from tinynet.kernels.recording import Recording, each_time, in_order, record

pytestmark = pytest.mark.skipif(
    bool(config.DISABLE_JIT) or kernels.backend() != "numba", reason="without compiled code"
)

STEPS, ROWS = 40, 16


def players_of(recording: Recording, shared: list[Any], count: int = 2) -> Any:
    players: Any = importlib.import_module("tinynet.kernels.players")
    return players.Players(recording, players.own_arrays(recording, shared), count)


@pytest.fixture(autouse=True)
def two_threads() -> Any:
    before = kernels.get_num_threads()
    kernels.set_num_threads(2)
    yield
    kernels.set_num_threads(before)


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def starts(array: Any) -> Any:
    """Where the rows of each step begin."""
    return array.ctypes.data + array.strides[0] * ROWS * np.arange(STEPS)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_each_step_gets_its_own_results(count: int) -> None:
    x, kernel, bias = normal(STEPS * ROWS, 700), normal(700, 60) / 30, normal(60)
    y = np.zeros((STEPS * ROWS, 60), np.float32)
    with record() as recording:
        hidden = kernels.dense(x[:ROWS], kernel, bias, "relu")
        result = kernels.softmax(hidden)
    players = players_of(recording, [x, kernel, bias], count)
    (place,), (target,) = players.places_of(x[:ROWS]), players.places_of(result)
    expected = kernels.softmax(kernels.dense(x, kernel, bias, "relu"))
    for _ in range(5):
        y[...] = 0
        players.play(STEPS, [(place, starts(x)), (target, starts(y))])
        np.testing.assert_allclose(y, expected, atol=1e-6)
        for i in range(0, len(x), ROWS):
            part = kernels.softmax(kernels.dense(x[i : i + ROWS], kernel, bias, "relu"))
            np.testing.assert_array_equal(y[i : i + ROWS], part)
    kernel[...] = -kernel  # which they share
    players.play(STEPS, [(place, starts(x)), (target, starts(y))])
    expected = kernels.softmax(kernels.dense(x, kernel, bias, "relu"))
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_what_is_in_order_has_the_same_bits_as_one_step_after_another(count: int) -> None:
    # Of sizes so different that every other order would be rounded differently.
    sizes = np.float32(10) ** (np.arange(STEPS * ROWS) % 7)
    x = (normal(STEPS * ROWS, 50) * sizes[:, np.newaxis]).astype(np.float32)
    total, rate = np.zeros((ROWS, 50), np.float32), np.ones(1)
    expected = np.zeros_like(total)
    for i in range(0, len(x), ROWS):
        kernels.sgd_updates([expected], [kernels.relu(x[i : i + ROWS])], rate)
    with record() as recording:
        part = kernels.relu(x[:ROWS])
        in_order()
        kernels.sgd_updates([total], [part], rate)
    players = players_of(recording, [x], count)
    (place,) = players.places_of(x[:ROWS])
    for _ in range(20):
        total[...] = 0
        players.play(STEPS, [(place, starts(x))])
        np.testing.assert_array_equal(total, expected)


def test_what_is_in_order_may_take_longer_than_the_rest() -> None:
    # Long enough for the others to nap: see threads.wait.
    x, rate = np.ones(3, np.float32), np.ones(1)
    total, large = np.zeros(3, np.float32), np.zeros(1_000_000, np.float32)
    ones = np.ones_like(large)
    with record() as recording:
        part = kernels.relu(x)
        in_order()
        kernels.sgd_updates([total, large], [part, ones], rate)
    total[...] = large[...] = 0
    players_of(recording, [x]).play(STEPS)
    np.testing.assert_array_equal(total, -STEPS)
    np.testing.assert_array_equal(large, -STEPS)


def test_one_step_is_played_on_the_arrays_of_the_recording() -> None:
    x = normal(ROWS, 5)
    with record() as recording:
        y = kernels.relu(x)
    players = players_of(recording, [x])
    x[...] = -x
    players.play()
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_a_program_where_one_thread_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("tinynet.kernels.players")
    monkeypatch.setattr(module, "processors", lambda: 2)
    make, x = module.players_of, normal(3)
    with record() as recording:
        kernels.relu(x)
    kernels.set_num_threads(1)
    assert type(make(recording, [x])).__name__ == "Program"
    kernels.set_num_threads(2)
    assert type(make(recording, [x])).__name__ == "Players"
    monkeypatch.setattr(module, "_MOST_BYTES", 23)
    assert type(make(recording, [x])).__name__ == "Program"
    monkeypatch.setattr(module, "_MOST_BYTES", 24)
    assert type(make(recording, [x])).__name__ == "Players"
    with record() as recording:
        each_time(lambda values: values.fill(1), x)
        kernels.relu(x)
    assert type(make(recording, [x])).__name__ == "Program"
    with record() as recording:
        pass
    assert make(recording, []) is None
    with record() as recording:
        kernels.relu(x[::-1])  # copied by NumPy
    assert make(recording, []) is None
