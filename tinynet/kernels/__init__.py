"""The kernels: all arithmetic on arrays that the layers, losses and optimizers are made of.

``kernels.matmul``, ``kernels.conv2d`` and the rest exist twice, with the same names, signatures
and results: in plain NumPy (`tinynet.kernels.reference`, the specification) and compiled by numba.
Which of the two runs is a switch for the whole process: the environment variable
``TINYNET_KERNELS`` (``numba``, the default, or ``numpy``), or `use`.
"""

import os
from importlib import import_module
from types import TracebackType
from typing import Self

from tinynet.kernels import reference
from tinynet.kernels.geometry import output_size, pad_amounts
from tinynet.kernels.reference import (
    adam_update,
    average_pool2d,
    average_pool2d_gradient,
    batch_norm,
    batch_norm_gradient,
    batch_norm_inference,
    bias_activation,
    bias_activation_gradient,
    conv2d,
    conv2d_input_gradient,
    conv2d_kernel_gradient,
    dropout,
    leaky_relu,
    leaky_relu_gradient,
    log_softmax,
    log_softmax_gradient,
    matmul,
    max_pool2d,
    max_pool2d_gradient,
    relu,
    relu_gradient,
    rmsprop_update,
    sgd_update,
    sigmoid,
    sigmoid_gradient,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    softmax_gradient,
    tanh,
    tanh_gradient,
)

KERNELS = tuple(
    name
    for name, function in vars(reference).items()
    if getattr(function, "__module__", None) == reference.__name__ and not name.startswith("_")
)

__all__ = [*KERNELS, "KERNELS", "backend", "output_size", "pad_amounts", "use"]

_MODULES = {"numpy": "tinynet.kernels.reference", "numba": "tinynet.kernels.compiled"}
_backend = "numpy"


def backend() -> str:
    """The name of the kernels in use: "numba" or "numpy"."""
    return _backend


class use:  # noqa: N801  (a function to its callers, a class so that `with` can undo it)
    """Run everything on the kernels called ``name``, from now on or for a ``with`` block.

    ``kernels.use("numpy")`` switches; ``with kernels.use("numpy"): ...`` switches back at the end.
    The switch holds for the whole process, all threads included.

    Raises ValueError for a name other than "numba" and "numpy".
    """

    def __init__(self, name: str) -> None:
        global _backend
        if name not in _MODULES:
            raise ValueError(
                f"kernels are called {' or '.join(map(repr, _MODULES))}, got {name!r} "
                "(from kernels.use or the environment variable TINYNET_KERNELS)"
            )
        self._previous = _backend
        module = import_module(_MODULES[name])
        # Callers look kernels up as kernels.matmul at each call, so rebinding the names is the
        # whole switch and costs a call nothing.
        globals().update({kernel: getattr(module, kernel) for kernel in KERNELS})
        _backend = name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        use(self._previous)


use(os.environ.get("TINYNET_KERNELS", "numba"))
