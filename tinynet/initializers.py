"""Starting values for weights: zeros, ones, and the random ones of Glorot and of He.

An initializer is called as ``initializer(shape, dtype, rng)``. The random ones keep the variance of
what flows through a layer about the same from layer to layer, which is what their scale is for:

- Glorot: variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio 2010, section 4.2.1)
- He: variance ``2 / fan_in``, for relu (He, Zhang, Ren and Sun 2015, section 2.2)

A dense kernel (in, out) has fans in and out; a conv kernel (height, width, in, out) has fans
height * width * in and height * width * out.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet import configs, random
from tinynet.errors import check_int, check_keywords, unknown_name

Array = NDArray[np.floating]
Shape = tuple[int, ...]

# The standard deviation of a standard normal that is cut off at -2 and 2.
TRUNCATED_STD = 0.87962566103423978


class Initializer(configs.Configurable):
    """Base of all initializers; a subclass overrides ``__call__``, and get_config for arguments."""

    @check_keywords
    def __init__(self) -> None:
        pass

    def __call__(
        self, shape: Shape, dtype: DTypeLike = "float32", rng: np.random.Generator | None = None
    ) -> Array:
        """A new array of ``shape`` and ``dtype``."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype, rng)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again."""
        return {}

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"


class Zeros(Initializer):
    """All zeros."""

    def __call__(
        self, shape: Shape, dtype: DTypeLike = "float32", rng: np.random.Generator | None = None
    ) -> Array:
        """A new array of zeros."""
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """All ones."""

    def __call__(
        self, shape: Shape, dtype: DTypeLike = "float32", rng: np.random.Generator | None = None
    ) -> Array:
        """A new array of ones."""
        return np.ones(shape, dtype)


class _Random(Initializer):
    """An initializer that draws: with a ``seed`` the same values at every call.

    Without one it draws from the ``rng`` of the call, or else from `tinynet.random.generator`.
    Values are drawn in double precision and rounded, so that the dtype does not change them.
    """

    @check_keywords
    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else check_int("seed", seed, minimum=0)

    def __call__(
        self, shape: Shape, dtype: DTypeLike = "float32", rng: np.random.Generator | None = None
    ) -> Array:
        """A new array of random values, scaled by the shape's fans."""
        if self.seed is not None:
            rng = np.random.default_rng(self.seed)
        values = self._draw(rng or random.generator(), tuple(shape), *fans(shape))
        return values.astype(dtype)

    def _draw(
        self, rng: np.random.Generator, shape: Shape, fan_in: float, fan_out: float
    ) -> NDArray[np.float64]:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Random):
    """Uniform on [-limit, limit], ``limit = sqrt(6 / (fan_in + fan_out))``; Keras's default."""

    def _draw(
        self, rng: np.random.Generator, shape: Shape, fan_in: float, fan_out: float
    ) -> NDArray[np.float64]:
        limit = math.sqrt(6 / max(1.0, fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


class HeUniform(_Random):
    """Uniform on [-limit, limit], ``limit = sqrt(6 / fan_in)``."""

    def _draw(
        self, rng: np.random.Generator, shape: Shape, fan_in: float, fan_out: float
    ) -> NDArray[np.float64]:
        limit = math.sqrt(6 / max(1.0, fan_in))
        return rng.uniform(-limit, limit, shape)


class GlorotNormal(_Random):
    """Normal of standard deviation ``sqrt(2 / (fan_in + fan_out))``, without its far tails."""

    def _draw(
        self, rng: np.random.Generator, shape: Shape, fan_in: float, fan_out: float
    ) -> NDArray[np.float64]:
        return _truncated_normal(rng, shape, math.sqrt(2 / max(1.0, fan_in + fan_out)))


class HeNormal(_Random):
    """Normal of standard deviation ``sqrt(2 / fan_in)``, without its far tails."""

    def _draw(
        self, rng: np.random.Generator, shape: Shape, fan_in: float, fan_out: float
    ) -> NDArray[np.float64]:
        return _truncated_normal(rng, shape, math.sqrt(2 / max(1.0, fan_in)))


def _truncated_normal(rng: np.random.Generator, shape: Shape, std: float) -> NDArray[np.float64]:
    """Standard deviation ``std`` after what lies beyond two standard deviations is drawn anew."""
    values = rng.standard_normal(shape)
    # Drawing anew what fell outside is exact, and needs no inverse of the normal distribution.
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(np.count_nonzero(outside))
    return values * (std / TRUNCATED_STD)


def fans(shape: Shape) -> tuple[float, float]:
    """Fan in and fan out of a weight: how many inputs make one output, and the reverse."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    window = math.prod(shape[:-2])
    return float(window * shape[-2]), float(window * shape[-1])


class _Function(Initializer):
    """A function (shape, dtype) -> values, as an initializer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(
        self, shape: Shape, dtype: DTypeLike = "float32", rng: np.random.Generator | None = None
    ) -> Array:
        """What the function returns, as a new array; a ValueError where its shape is another."""
        values = np.array(self.function(shape, dtype=dtype), dtype)
        if values.shape != tuple(shape):
            raise ValueError(f"{self!r} must return shape {tuple(shape)}, got {values.shape}")
        return values

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


_CLASSES: dict[str, type[Initializer]] = {
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "zeros": Zeros,
    "ones": Ones,
}


def get(identifier: object) -> Initializer:
    """The initializer that ``identifier`` names or is.

    identifier: a name ("he_normal" or "HeNormal"), an Initializer, a subclass of it, what
    `serialize` makes of one, or a function (shape, dtype) -> array.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier):
        return _Function(identifier)
    for name, kind in _CLASSES.items():
        if identifier in (name, kind.__name__):
            return kind()
    raise unknown_name("initializer", identifier, _CLASSES)


def serialize(identifier: object) -> Any:
    """What `get` takes, as plain data that it takes as well; names and functions as they are."""
    if isinstance(identifier, _Function):
        return identifier.function
    if isinstance(identifier, Initializer):
        return configs.serialize(identifier)
    if isinstance(identifier, type):
        return identifier.__name__
    return identifier


def deserialize(data: object) -> Initializer:
    """The initializer that `serialize` described.

    Raises ValueError for an unknown class, TypeError for what is no such description.
    """
    return configs.deserialize("initializer", data, {c.__name__: c for c in _CLASSES.values()})
