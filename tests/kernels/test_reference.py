"""The reference against loops that a reader can check by eye, and against numbers by hand."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.kernels import reference

Array = np.ndarray
Pair = tuple[int, int]


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, ...], Pair, Pair, str]:
    """Shape of the images, window, strides, padding."""
    size = st.integers(1, 3)
    window, strides = (draw(size), draw(size)), (draw(size), draw(size))
    padding = draw(st.sampled_from(["valid", "same"]))
    least = window if padding == "valid" else (1, 1)
    h, w = (draw(st.integers(low, 6)) for low in least)
    return (draw(st.integers(1, 2)), h, w, draw(size)), window, strides, padding


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def filled(entries: dict[tuple[int, ...], float]) -> Array:
    y = np.zeros([1 + max(along) for along in zip(*entries, strict=True)])
    for at, value in entries.items():
        y[at] = value
    return y


@given(m=st.integers(1, 5), k=st.integers(1, 5), n=st.integers(1, 5))
def test_matmul(m: int, k: int, n: int) -> None:
    a, b = normal(0, m, k), normal(1, k, n)
    expected = oracles.matmul(a, b)
    np.testing.assert_allclose(reference.matmul(a, b), expected)
    np.testing.assert_allclose(reference.matmul(a.T, b, transpose_a=True), expected)
    np.testing.assert_allclose(reference.matmul(a, b.T, transpose_b=True), expected)
    out = np.empty((m, n))
    assert reference.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out, expected)


@given(case=windows(), c_out=st.integers(1, 3))
def test_conv2d(case: tuple[tuple[int, ...], Pair, Pair, str], c_out: int) -> None:
    shape, window, strides, padding = case
    x, kernel = normal(0, *shape), normal(1, *window, shape[3], c_out)
    y = reference.conv2d(x, kernel, strides, padding)
    np.testing.assert_allclose(y, oracles.conv2d(x, kernel, strides, padding), atol=1e-12)

    dy = normal(2, *y.shape)
    dx, d_kernel = oracles.conv2d_gradients(x, kernel, dy, strides, padding)
    got_dx = reference.conv2d_input_gradient(dy, kernel, x.shape, strides, padding)
    np.testing.assert_allclose(got_dx, dx, atol=1e-12)
    got_d_kernel = reference.conv2d_kernel_gradient(x, dy, kernel.shape, strides, padding)
    np.testing.assert_allclose(got_d_kernel, d_kernel, atol=1e-12)


@given(case=windows())
def test_max_pool2d(case: tuple[tuple[int, ...], Pair, Pair, str]) -> None:
    shape, window, strides, padding = case
    x = normal(0, *shape)
    y, winners = reference.max_pool2d(x, window, strides, padding)
    dy = normal(1, *y.shape)
    expected, dx = oracles.max_pool2d(x, window, strides, padding, dy)
    np.testing.assert_array_equal(y, filled(expected))
    got = reference.max_pool2d_gradient(dy, winners, x.shape, window, strides, padding)
    np.testing.assert_allclose(got, dx, atol=1e-12)


@given(case=windows())
def test_average_pool2d(case: tuple[tuple[int, ...], Pair, Pair, str]) -> None:
    shape, window, strides, padding = case
    x = normal(0, *shape)
    y = reference.average_pool2d(x, window, strides, padding)
    dy = normal(1, *y.shape)
    expected, dx = oracles.average_pool2d(x, window, strides, padding, dy)
    np.testing.assert_allclose(y, filled(expected))
    got = reference.average_pool2d_gradient(dy, x.shape, window, strides, padding)
    np.testing.assert_allclose(got, dx, atol=1e-12)


def test_softmax_and_cross_entropy() -> None:
    logits, index = normal(0, 5, 4), np.array([0, 3, 1, 1, 2])
    one_hot, soft = np.eye(4)[index], oracles.softmax(normal(1, 5, 4))
    probabilities = oracles.softmax(logits)
    np.testing.assert_allclose(reference.softmax(logits), probabilities)
    np.testing.assert_allclose(reference.log_softmax(logits), np.log(probabilities))
    for labels, rows in ((index, one_hot), (one_hot, one_hot), (soft, soft)):
        losses, p = reference.softmax_cross_entropy(logits, labels)
        np.testing.assert_allclose(losses, oracles.cross_entropy(logits, rows))
        np.testing.assert_allclose(p, probabilities)


@pytest.mark.parametrize("kind", ["index", "soft", "not normalized"])
def test_cross_entropy_gradient_is_the_slope(kind: str) -> None:
    logits, weights, h = normal(0, 3, 4), np.array([0.2, 0.5, 1.0]), 1e-6
    rows = {"index": np.eye(4)[[2, 0, 3]], "soft": oracles.softmax(normal(1, 3, 4))}
    rows["not normalized"] = 3 * rows["soft"]
    labels = np.array([2, 0, 3]) if kind == "index" else rows[kind]
    got = reference.softmax_cross_entropy_gradient(oracles.softmax(logits), labels, weights)
    for i, j in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[i, j] = h
        up, down = (oracles.cross_entropy(logits + s, rows[kind]) for s in (step, -step))
        assert got[i, j] == pytest.approx(weights @ (up - down) / (2 * h), abs=1e-8)


def test_batch_norm() -> None:
    x, gamma, beta = normal(0, 6, 3), normal(1, 3), normal(2, 3)
    got = reference.batch_norm(x, gamma, beta, 1e-3)
    for g, e in zip(got, oracles.batch_norm(x, gamma, beta, 1e-3), strict=True):
        np.testing.assert_allclose(g, e, atol=1e-12)


def test_batch_norm_gradient_is_the_slope() -> None:
    x, gamma, beta, dy, h = normal(0, 4, 2), normal(1, 2), normal(2, 2), normal(3, 4, 2), 1e-6
    _, mean, variance = oracles.batch_norm(x, gamma, beta, 1e-3)
    gradients = reference.batch_norm_gradient(dy, x, gamma, mean, variance, 1e-3)
    for values, gradient in zip((x, gamma, beta), gradients, strict=True):
        for at in np.ndindex(values.shape):
            old, losses = values[at], []
            for new in (old + h, old - h):
                values[at] = new
                losses.append((oracles.batch_norm(x, gamma, beta, 1e-3)[0] * dy).sum())
            values[at] = old
            assert gradient[at] == pytest.approx((losses[0] - losses[1]) / (2 * h), abs=1e-7)


def test_dropout_keeps_what_the_noise_says() -> None:
    x, noise = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.25, 0.5, 0.9], np.float32)
    np.testing.assert_allclose(reference.dropout(x, noise, 0.25), [0, 2 / 0.75, 4, 4 / 0.75])


def test_a_nan_wins_its_window() -> None:
    x = np.array([1.0, np.nan, 5.0, np.nan]).reshape(1, 2, 2, 1)
    y, winners = reference.max_pool2d(x, (2, 2), (2, 2))
    assert np.isnan(y).all()
    assert winners.item() == 1


def test_sgd_by_hand() -> None:
    # lr 0.5: w = 1 - 0.5 * 2 = 0. Momentum 0.5 from v = 4: v = 2 - 1 = 1, w = 1 + 1 = 2;
    # nesterov: w = 1 + 0.5 * 1 - 1 = 0.5.
    for velocity, nesterov, expected in ((None, False, 0.0), (4, False, 2.0), (4, True, 0.5)):
        w, g = np.array([1.0]), np.array([2.0])
        v = None if velocity is None else np.array([float(velocity)])
        reference.sgd_update(w, g, v, 0.5, 0.5, nesterov)
        assert w.item() == expected


def test_adam_by_hand() -> None:
    # The first step is learning_rate * sign(g), whatever g, as far as epsilon allows.
    w, m, v = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
    reference.adam_update(w, np.array([3.0, -0.2]), m, v, 0.1, 0.9, 0.999, 1e-7, 1)
    np.testing.assert_allclose(w, [0.9, 1.1], rtol=1e-5)
    np.testing.assert_allclose(m, [0.3, -0.02])
    np.testing.assert_allclose(v, [0.009, 0.00004])


def test_rmsprop_by_hand() -> None:
    # mean_square = 0.5 * 1 + 0.5 * 4 = 2.5; step = 0.1 * 2 / sqrt(2.5 + 1.5) = 0.1.
    w, square = np.array([1.0]), np.array([1.0])
    reference.rmsprop_update(w, np.array([2.0]), square, None, 0.1, 0.5, 0.0, 1.5)
    np.testing.assert_allclose(w, [0.9])
    w, square, v = np.array([1.0]), np.array([1.0]), np.array([2.0])
    reference.rmsprop_update(w, np.array([2.0]), square, v, 0.1, 0.5, 0.5, 1.5)
    np.testing.assert_allclose(v, [1.1])
    np.testing.assert_allclose(w, [-0.1])
