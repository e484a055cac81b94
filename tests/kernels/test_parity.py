"""Every compiled kernel gives what its reference gives: one test, one entry in CASES a kernel."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import kernels
from tinynet.kernels import compiled, reference, threads, winograd
from tinynet.kernels.geometry import output_size
from tinynet.kernels.jit import config
from tinynet.kernels.vectors import LEAST_CHANNELS

Array = np.ndarray
DTYPES = ["float32", "float64"]


class Draw:
    """What a case is made from: sizes and choices drawn by hypothesis, numbers from a generator."""

    def __init__(self, data: st.DataObject, dtype: str, special: bool = False) -> None:
        self.data = data
        self.dtype = dtype
        self.special = special
        self.rng = np.random.default_rng(self.size(0, 1000))

    def size(self, low: int = 1, high: int = 40) -> int:
        return self.data.draw(st.integers(low, high))

    def choice(self, *options: Any) -> Any:
        return self.data.draw(st.sampled_from(options))

    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))

    def normal(self, *shape: int) -> Array:
        """Normal numbers, some of them special if so asked, in one of the layouts of NumPy."""
        x = self.rng.standard_normal(shape).astype(self.dtype)
        if self.special:
            special = self.rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
            x = np.where(self.rng.random(shape) < self.choice(0.05, 0.5), special, x)
        return self.layout(x.astype(self.dtype))

    def positive(self, *shape: int) -> Array:
        return self.layout(self.rng.random(shape).astype(self.dtype) + self.scalar(0.1))

    def scalar(self, x: float) -> Any:
        return np.dtype(self.dtype).type(x)

    def layout(self, x: Array) -> Array:
        match self.choice("C", "C", "F", "strided", "reversed", "read-only"):
            case "F":
                return np.asfortranarray(x)
            case "strided":
                wide = np.zeros([2 * n for n in x.shape], x.dtype)
                view = wide[(slice(None, None, 2),) * x.ndim]
            case "reversed":
                backwards = (slice(None, None, -1),) * x.ndim
                view = np.zeros_like(x)[backwards]
            case "read-only":
                x = x.copy()
                x.flags.writeable = False
                return x
            case _:
                return x
        view[...] = x
        return view

    def writable(self, x: Array) -> Array:
        return x if x.flags.writeable else x.copy()


class ByChance(Draw):
    """The same from a seed alone."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.dtype = dtype
        self.special = False
        self.rng = np.random.default_rng(seed)

    def size(self, low: int = 1, high: int = 40) -> int:
        return int(self.rng.integers(low, high + 1))

    def choice(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def shape(self) -> tuple[int, ...]:
        return tuple(self.size(1, 9) for _ in range(self.size(1, 4)))


class Large(ByChance):
    """Larger arrays, some of which are cut into parts that smaller ones are not."""

    def size(self, low: int = 1, high: int = 40) -> int:
        return super().size(low, high if self.rng.random() < 0.5 else 12 * high)

    def shape(self) -> tuple[int, ...]:
        return super().size(1, 2000), super().size(1, 70)


def matmul(d: Draw) -> dict[str, Any]:
    m, k, n = d.size(0), d.size(0), d.size(0, 70)
    transpose_a, transpose_b = d.choice(False, True), d.choice(False, True)
    return {
        "a": d.normal(*((k, m) if transpose_a else (m, k))),
        "b": d.normal(*((n, k) if transpose_b else (k, n))),
        "transpose_a": transpose_a,
        "transpose_b": transpose_b,
        "out": d.choice(None, d.writable(d.normal(m, n))),
    }


def dense(d: Draw) -> dict[str, Any]:
    m, k, n = d.size(0), d.size(0), d.size(1, 70)
    case = {"x": d.normal(m, k), "kernel": d.normal(k, n)}
    return case | finishing(d, n)


def dense_gradient(d: Draw) -> dict[str, Any]:
    m, k, n = d.size(0, 80), d.size(0), d.size(1, 70)
    arrays = {
        "dy": d.normal(m, n), "x": d.normal(m, k), "y": d.normal(m, n), "kernel": d.normal(k, n)
    }  # fmt: skip
    options = finishing(d, n)
    del options["bias"]
    out = d.choice(None, d.writable(d.normal(k, n)))
    return {**arrays, **options, "need_dx": d.choice(True, False), "out": out, **bias_out(d, n)}


def bias_out(d: Draw, channels: int) -> dict[str, Any]:
    return {"bias_out": d.choice(None, d.writable(d.normal(channels)))}


def finishing(d: Draw, channels: int) -> dict[str, Any]:
    return {
        "bias": d.choice(None, d.normal(channels)),
        "activation": d.choice("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax"),
        "negative_slope": 0.3,
    }


def unary(d: Draw) -> dict[str, Any]:
    return {"x": d.normal(*d.shape())}


def gradient(d: Draw) -> dict[str, Any]:
    shape = d.shape()
    return {"dy": d.normal(*shape), "y": d.normal(*shape)}


def bias_activation(d: Draw) -> dict[str, Any]:
    shape = d.shape()
    return {
        "x": d.normal(*shape),
        "bias": d.choice(None, d.normal(shape[-1])),
        "activation": d.choice("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax"),
        "negative_slope": 0.3,
        "out": d.choice(None, d.writable(d.normal(*shape))),
    }


def bias_activation_gradient(d: Draw) -> dict[str, Any]:
    activation = d.choice("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax")
    case = gradient(d) | {"activation": activation, "negative_slope": 0.3}
    return case | bias_out(d, case["dy"].shape[-1])


def labels(d: Draw, n: int, c: int) -> Array:
    kind = d.choice("index", "one-hot", "soft")
    if kind == "soft":
        return d.positive(n, c)
    index = d.rng.integers(0, c, n)
    if kind == "index":
        return d.layout(index.astype(d.choice("uint8", "int16", "int32", "int64", "uint64")))
    return d.layout(np.eye(c, dtype=d.dtype)[index])


def cross_entropy(d: Draw) -> dict[str, Any]:
    n, c = d.size(1, 20), d.size(1, 20)
    return {"logits": d.normal(n, c), "labels": labels(d, n, c)}


def cross_entropy_gradient(d: Draw) -> dict[str, Any]:
    n, c = d.size(1, 20), d.size(1, 20)
    return {
        "probabilities": d.positive(n, c),
        "labels": labels(d, n, c),
        "weights": d.positive(n),
    }


# Channels: full vectors, and some that are left over.
MANY = 16, 17, 32, 33, 48


def windows(d: Draw) -> tuple[tuple[int, ...], dict[str, Any], tuple[int, int], tuple[int, ...]]:
    """Shape of the images, strides and padding, size of the window, shape of the result."""
    n, c = d.size(1, 20), d.choice(1, 3, *MANY)
    window, strides = (d.size(1, 4), d.size(1, 4)), (d.size(1, 4), d.size(1, 4))
    if d.choice(False, True):  # what Winograd's algorithm is for, where there are channels enough
        window, strides = (3, 3), (1, 1)
    padding = d.choice("valid", "same")
    h, w = (d.size(size if padding == "valid" else 1, 14) for size in window)
    rows, columns = (
        output_size(*along, padding) for along in zip((h, w), window, strides, strict=True)
    )
    return (n, h, w, c), {"strides": strides, "padding": padding}, window, (n, rows, columns)


def conv2d(d: Draw) -> dict[str, Any]:
    shape, options, window, _ = windows(d)
    c_out = d.choice(1, 5, *MANY)
    return {
        "x": d.normal(*shape),
        "kernel": d.normal(*window, shape[3], c_out),
        **options,
        **finishing(d, c_out),
    }


def conv2d_kernel_gradient(d: Draw) -> dict[str, Any]:
    shape, options, window, result = windows(d)
    c_out = d.choice(1, 5, *MANY)
    return {
        "x": d.normal(*shape),
        "dy": d.normal(*result, c_out),
        "kernel_shape": (*window, shape[3], c_out),
        **options,
        "out": d.choice(None, d.writable(d.normal(*window, shape[3], c_out))),
    }


def conv2d_input_gradient(d: Draw) -> dict[str, Any]:
    shape, options, window, result = windows(d)
    c_out = d.choice(1, 5, *MANY)
    return {
        "dy": d.normal(*result, c_out),
        "kernel": d.normal(*window, shape[3], c_out),
        "input_shape": shape,
        **options,
    }


def pool(d: Draw) -> dict[str, Any]:
    shape, options, window, _ = windows(d)
    # Small whole numbers, so that windows have several largest entries.
    x = d.choice(d.normal(*shape), d.layout(d.rng.integers(-2, 2, shape).astype(d.dtype)))
    return {"x": x, "pool_size": window, **options}


def max_pool2d_gradient(d: Draw) -> dict[str, Any]:
    shape, options, window, result = windows(d)
    result = (*result, shape[3])
    winners = d.rng.integers(0, window[0] * window[1], result).astype(np.int32)
    return {
        "dy": d.normal(*result),
        "winners": d.layout(winners),
        "input_shape": shape,
        "pool_size": window,
        **options,
    }


def average_pool2d_gradient(d: Draw) -> dict[str, Any]:
    shape, options, window, result = windows(d)
    return {
        "dy": d.normal(*result, shape[3]),
        "input_shape": shape,
        "pool_size": window,
        **options,
    }


def take(d: Draw) -> dict[str, Any]:
    dtype = d.choice(d.dtype, "uint8", "int64")
    x = d.layout((100 * d.rng.random((d.size(1, 50), d.size(1, 900), 2))).astype(dtype))
    return {"x": x, "indices": d.rng.integers(0, len(x), d.size())}


def rescale(d: Draw) -> dict[str, Any]:
    return unary(d) | {"scale": d.choice(1 / 255, -2.0), "offset": d.choice(0.0, -0.5)}


def dropout(d: Draw) -> dict[str, Any]:
    shape = d.shape()
    noise = d.layout(d.rng.random(shape, dtype=np.float32))
    return {"x": d.normal(*shape), "noise": noise, "rate": d.choice(0.0, 0.3, 0.5)}


def batch_norm(d: Draw) -> dict[str, Any]:
    m, c = d.size(1, 50), d.size()
    return {"x": d.normal(m, c), "gamma": d.normal(c), "beta": d.normal(c), "epsilon": 1e-3}


def batch_norm_inference(d: Draw) -> dict[str, Any]:
    case = batch_norm(d)
    c = case["x"].shape[1]
    return case | {"mean": d.normal(c), "variance": d.positive(c)}


def batch_norm_gradient(d: Draw) -> dict[str, Any]:
    case = batch_norm_inference(d)
    del case["beta"]
    return case | {"dy": d.normal(*case["x"].shape)}


def update(d: Draw, *slots: str, **rates: float) -> dict[str, Any]:
    shape = d.shape()
    arrays = {name: d.writable(d.positive(*shape)) for name in ("param", *slots)}
    return {"grad": d.normal(*shape), **arrays, "learning_rate": 0.1, **rates}


def sgd_update(d: Draw) -> dict[str, Any]:
    case = update(d, "velocity", momentum=0.9) | {"nesterov": d.choice(False, True)}
    return case | d.choice({}, {"velocity": None})


def adam_update(d: Draw) -> dict[str, Any]:
    case = update(d, "m", "v", beta_1=0.9, beta_2=0.999, epsilon=1e-7)
    return case | {"step": d.size(1, 100)}


def updates(d: Draw, *slots: str, rates: tuple[float, ...]) -> dict[str, Any]:
    """Lists of arrays for several weights, as many as make two groups."""
    weights = [update(d, *slots) for _ in range(d.choice(0, 1, 3, 9))]
    names = {"params": "param", "grads": "grad", "ms": "m", "vs": "v"}
    lists = {name: [w[one] for w in weights] for name, one in names.items()
             if one in ("param", "grad", *slots)}  # fmt: skip
    return {**lists, "rates": np.array(rates)}


def sgd_updates(d: Draw) -> dict[str, Any]:
    return updates(d, rates=(0.1,))


def adam_updates(d: Draw) -> dict[str, Any]:
    return updates(d, "m", "v", rates=(0.1, 0.1, 0.001, 1e-7))


def rmsprop_update(d: Draw) -> dict[str, Any]:
    case = update(d, "mean_square", "velocity", rho=0.9, momentum=0.5, epsilon=1e-7)
    return case | d.choice({}, {"velocity": None})


def mean_update(d: Draw) -> dict[str, Any]:
    return {"sums": np.array([3.0, 4.0]), "values": d.normal(d.size()), "samples": d.size()}


def accuracy_update(d: Draw) -> dict[str, Any]:
    n, c = d.size(), d.size()
    scores = d.normal(n, c)
    return {"sums": np.array([3.0, 4.0]), "labels": labels(d, n, c), "scores": scores}


def with_slope(make: Callable[[Draw], dict[str, Any]]) -> Callable[[Draw], dict[str, Any]]:
    return lambda d: make(d) | {"negative_slope": d.choice(0.0, 0.3)}


CASES: dict[str, Callable[[Draw], dict[str, Any]]] = {
    "matmul": matmul,
    "dense": dense,
    "dense_gradient": dense_gradient,
    "relu": unary,
    "relu_gradient": gradient,
    "leaky_relu": with_slope(unary),
    "leaky_relu_gradient": with_slope(gradient),
    "sigmoid": unary,
    "sigmoid_gradient": gradient,
    "tanh": unary,
    "tanh_gradient": gradient,
    "softmax": unary,
    "softmax_gradient": gradient,
    "log_softmax": unary,
    "log_softmax_gradient": gradient,
    "bias_activation": bias_activation,
    "bias_activation_gradient": bias_activation_gradient,
    "softmax_cross_entropy": cross_entropy,
    "softmax_cross_entropy_gradient": cross_entropy_gradient,
    "conv2d": conv2d,
    "conv2d_kernel_gradient": conv2d_kernel_gradient,
    "conv2d_input_gradient": conv2d_input_gradient,
    "max_pool2d": pool,
    "max_pool2d_gradient": max_pool2d_gradient,
    "average_pool2d": pool,
    "average_pool2d_gradient": average_pool2d_gradient,
    "copy": unary,
    "take": take,
    "rescale": rescale,
    "dropout": dropout,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "batch_norm_gradient": batch_norm_gradient,
    "sgd_update": sgd_update,
    "adam_update": adam_update,
    "sgd_updates": sgd_updates,
    "adam_updates": adam_updates,
    "rmsprop_update": rmsprop_update,
    "mean_update": mean_update,
    "accuracy_update": accuracy_update,
}

# Kernels whose sums may go through an activation, which makes them small but not their errors.
SUMS = {"dense", "conv2d"}
LINEAR = {"activation": "linear"}

# What a kernel writes to, besides its result.
SLOTS = {"param", "velocity", "m", "v", "mean_square", "params", "ms", "vs", "sums"}


# Without compiled code, nothing is cut into parts, and large arrays take long.
compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="this is Python alone")


def test_cases_cover_all_kernels() -> None:
    assert set(CASES) == set(kernels.KERNELS)


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_signatures_are_equal(name: str) -> None:
    fast, slow = getattr(compiled, name), getattr(reference, name)
    assert str(inspect.signature(fast)) == str(inspect.signature(slow))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_parity(name: str, dtype: str, data: st.DataObject) -> None:
    arguments = CASES[name](Draw(data, dtype))
    check_parity(name, arguments, dtype)


# A convolution's padding is left out of its sums here and multiplied by zero in the reference, so
# an infinite weight makes NaN in one only.
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("conv2d")])
@given(data=st.data())
def test_parity_of_special_values(name: str, data: st.DataObject) -> None:
    arguments = CASES[name](Draw(data, "float32", special=True))
    check_parity(name, arguments, "float32")


# Sizes of images go together with sizes of windows, and are as large as they need to be.
@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in CASES if "2d" not in name])
def test_parity_of_large_arrays(name: str, dtype: str) -> None:
    for seed in range(15):
        check_parity(name, CASES[name](Large(seed, dtype)), dtype)


@compiled_only
@pytest.mark.parametrize("name", CASES)
def test_any_number_of_threads_gives_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_WORTH_THREADS", 0)
    before = kernels.get_num_threads()
    for seed in range(8):
        draw = (ByChance if "2d" in name else Large)(seed, "float32")
        arguments = CASES[name](draw)
        results = []
        for count in (1, 2, 3, 8, 8):
            kernels.set_num_threads(count)
            copies = {key: like(value) for key, value in arguments.items()}
            results.append((getattr(compiled, name)(**copies), copies))
        kernels.set_num_threads(before)
        for result in results:
            np.testing.assert_equal(result, results[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("c_in", "c_out"), [(48, 48), (17, 33)])
def test_winograd_on_images_of_every_size(c_in: int, c_out: int, padding: str, dtype: str) -> None:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    for h in range(3, 15):
        w = 17 - h
        x, kernel = normal(2, h, w, c_in), normal(3, 3, c_in, c_out)
        rows, columns = (output_size(size, 3, 1, padding) for size in (h, w))
        dy = normal(2, rows, columns, c_out)
        options = {"strides": (1, 1), "padding": padding}
        for name, arguments in {
            "conv2d": {"x": x, "kernel": kernel},
            "conv2d_kernel_gradient": {"x": x, "dy": dy, "kernel_shape": kernel.shape},
            "conv2d_input_gradient": {"dy": dy, "kernel": kernel, "input_shape": x.shape},
        }.items():
            check_parity(name, arguments | options, dtype)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("c_in", "c_out", "window"), [(3, 5, 3), (32, 32, 3), (32, 32, 5)])
@pytest.mark.parametrize("missing", ["images", "c_in", "c_out"])
def test_convolutions_of_nothing(
    c_in: int, c_out: int, window: int, padding: str, missing: str
) -> None:
    sizes = {"images": 2, "c_in": c_in, "c_out": c_out} | {missing: 0}
    n, c_in, c_out = sizes.values()
    size = output_size(9, window, 1, padding)
    x, y = (np.ones(shape, "float32") for shape in ((n, 9, 9, c_in), (n, size, size, c_out)))
    kernel = np.ones((window, window, c_in, c_out), "float32")
    for name, arguments in (
        ("conv2d", (x, kernel, (1, 1), padding, np.ones(c_out, "float32"))),
        ("conv2d_kernel_gradient", (x, y, kernel.shape, (1, 1), padding)),
        ("conv2d_input_gradient", (y, kernel, x.shape, (1, 1), padding)),
    ):
        expected = getattr(reference, name)(*arguments)
        np.testing.assert_array_equal(getattr(compiled, name)(*arguments), expected)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("x", "kernel", "strides", "is_for_it"),
    [
        ((32, 13, 13, 32), (3, 3, 32, 64), (1, 1), True),
        ((32, 11, 11, 64), (3, 3, 64, 64), (1, 1), True),
        ((1, 14, 14, 16), (3, 3, 16, 16), (1, 1), True),
        ((2, 7, 10, 17), (3, 3, 17, 33), (1, 1), True),
        ((1, 26, 26, 5), (3, 3, 5, 200), (1, 1), LEAST_CHANNELS <= 5),
        ((32, 28, 28, 1), (3, 3, 1, 32), (1, 1), False),
        ((32, 13, 13, 32), (3, 3, 32, 64), (2, 1), False),
        ((32, 13, 13, 32), (3, 2, 32, 64), (1, 1), False),
        ((32, 13, 13, 32), (5, 5, 32, 64), (1, 1), False),
        ((0, 13, 13, 32), (3, 3, 32, 64), (1, 1), False),
    ],
)
def test_which_convolutions_winograd_does(
    x: Any, kernel: Any, strides: Any, is_for_it: bool, padding: str
) -> None:
    assert (winograd.geometry(x, kernel, strides, padding) is not None) == is_for_it


OUTS = {"out", "bias_out"}  # where results go


def check_parity(name: str, arguments: dict[str, Any], dtype: str) -> None:
    written = (OUTS | SLOTS) if "_update" in name else OUTS
    fast_arguments = {key: like(value) for key, value in arguments.items()}
    slow_arguments = {key: like(value) for key, value in arguments.items()}
    with np.errstate(all="ignore"):
        fast = getattr(compiled, name)(**fast_arguments)
        slow = getattr(reference, name)(**slow_arguments)
        sums = getattr(reference, name)(**arguments | LINEAR) if name in SUMS else ()

    outs = [out for name in OUTS if (out := fast_arguments.get(name)) is not None]
    assert all(any(got is out for got in as_tuple(fast)) for out in outs)
    for got, expected in zip(as_tuple(fast), as_tuple(slow), strict=True):
        if got is not None and not any(got is out for out in outs):
            # Where there is no compiled code, some kernels are those of the reference itself.
            assert got.flags.c_contiguous or getattr(compiled, name) is getattr(reference, name)
            given = fast_arguments.values()
            assert not any(isinstance(x, Array) and np.may_share_memory(got, x) for x in given)
        assert_close(got, expected, dtype, as_tuple(sums))
    for key, value in arguments.items():
        fast, slow = as_tuple(fast_arguments[key]), as_tuple(slow_arguments[key])
        for got, expected, before in zip(fast, slow, as_tuple(value), strict=True):
            if key in written:
                assert_close(got, expected, dtype)
            else:
                np.testing.assert_array_equal(got, before)


def like(value: Any) -> Any:
    """A copy of an array with the same strides and flags, or of a list; anything else itself."""
    if isinstance(value, list):
        return [like(each) for each in value]
    if not isinstance(value, np.ndarray):
        return value
    order = np.argsort([-abs(stride) for stride in value.strides], kind="stable")
    if value.size and not (value.flags.c_contiguous or value.flags.f_contiguous):
        wide = np.zeros([2 * n for n in value.shape], value.dtype)
        copy = wide[tuple(slice(None, None, 2 if s > 0 else -2) for s in value.strides)]
    else:
        copy = np.empty([value.shape[axis] for axis in order], value.dtype)
        copy = copy.transpose(np.argsort(order))
    copy[...] = value
    copy.flags.writeable = value.flags.writeable
    return copy


def as_tuple(result: Any) -> tuple[Any, ...]:
    if result is None:
        return ()
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def assert_close(got: Any, expected: Any, dtype: str, sums: tuple[Array, ...] = ()) -> None:
    if expected is None:
        assert got is None
        return
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if expected.dtype.kind in "iu":
        np.testing.assert_array_equal(got, expected)
        return
    # Inputs are about 1; where sums of them cancel, the result keeps the error of the terms.
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    scale = max(1.0, *(np.abs(x[np.isfinite(x)]).max(initial=0) for x in (expected, *sums)))
    np.testing.assert_allclose(got, expected, rtol=10 * tolerance, atol=tolerance * scale)
