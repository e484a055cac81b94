"""The kernels: all arithmetic on arrays that the layers, losses and optimizers are made of.

``kernels.matmul``, ``kernels.conv2d`` and the rest exist twice, with the same names, signatures
and results: in plain NumPy (`tinynet.kernels.reference`, the specification) and compiled by numba.
Which of the two runs is a switch for the whole process: the environment variable
``TINYNET_KERNELS`` (``numba``, the default, or ``numpy``), or `use`.

`matmul` checks what it gets. The others trust their caller, the layers, which have: shapes and
numbers that do not fit are an error here, nonsense there, or the end of the process.
"""

import os
from importlib import import_module
from types import TracebackType
from typing import Self

from tinynet.kernels import reference
from tinynet.kernels.geometry import output_size as output_size
from tinynet.kernels.geometry import pad_amounts as pad_amounts
from tinynet.kernels.memory import empty as empty
from tinynet.kernels.memory import lasting_zeros as lasting_zeros
from tinynet.kernels.reference import accuracy_update as accuracy_update
from tinynet.kernels.reference import adam_update as adam_update
from tinynet.kernels.reference import adam_updates as adam_updates
from tinynet.kernels.reference import average_pool2d as average_pool2d
from tinynet.kernels.reference import average_pool2d_gradient as average_pool2d_gradient
from tinynet.kernels.reference import batch_norm as batch_norm
from tinynet.kernels.reference import batch_norm_gradient as batch_norm_gradient
from tinynet.kernels.reference import batch_norm_inference as batch_norm_inference
from tinynet.kernels.reference import bias_activation as bias_activation
from tinynet.kernels.reference import bias_activation_gradient as bias_activation_gradient
from tinynet.kernels.reference import conv2d as conv2d
from tinynet.kernels.reference import conv2d_input_gradient as conv2d_input_gradient
from tinynet.kernels.reference import conv2d_kernel_gradient as conv2d_kernel_gradient
from tinynet.kernels.reference import copy as copy
from tinynet.kernels.reference import dense as dense
from tinynet.kernels.reference import dense_gradient as dense_gradient
from tinynet.kernels.reference import dropout as dropout
from tinynet.kernels.reference import leaky_relu as leaky_relu
from tinynet.kernels.reference import leaky_relu_gradient as leaky_relu_gradient
from tinynet.kernels.reference import log_softmax as log_softmax
from tinynet.kernels.reference import log_softmax_gradient as log_softmax_gradient
from tinynet.kernels.reference import matmul as matmul
from tinynet.kernels.reference import max_pool2d as max_pool2d
from tinynet.kernels.reference import max_pool2d_gradient as max_pool2d_gradient
from tinynet.kernels.reference import mean_update as mean_update
from tinynet.kernels.reference import relu as relu
from tinynet.kernels.reference import relu_gradient as relu_gradient
from tinynet.kernels.reference import rescale as rescale
from tinynet.kernels.reference import rmsprop_update as rmsprop_update
from tinynet.kernels.reference import sgd_update as sgd_update
from tinynet.kernels.reference import sgd_updates as sgd_updates
from tinynet.kernels.reference import sigmoid as sigmoid
from tinynet.kernels.reference import sigmoid_gradient as sigmoid_gradient
from tinynet.kernels.reference import softmax as softmax
from tinynet.kernels.reference import softmax_cross_entropy as softmax_cross_entropy
from tinynet.kernels.reference import (
    softmax_cross_entropy_gradient as softmax_cross_entropy_gradient,
)
from tinynet.kernels.reference import softmax_gradient as softmax_gradient
from tinynet.kernels.reference import take as take
from tinynet.kernels.reference import tanh as tanh
from tinynet.kernels.reference import tanh_gradient as tanh_gradient
from tinynet.kernels.thread_count import get_num_threads as get_num_threads
from tinynet.kernels.thread_count import set_num_threads as set_num_threads

KERNELS = tuple(
    name
    for name, function in vars(reference).items()
    if getattr(function, "__module__", None) == reference.__name__ and not name.startswith("_")
)

_MODULES = {"numpy": "tinynet.kernels.reference", "numba": "tinynet.kernels.compiled"}
_backend = "numpy"


def backend() -> str:
    """The name of the kernels in use: "numba" or "numpy"."""
    return _backend


def all_compiled() -> bool:
    """Whether all kernels are the compiled ones; somebody may have put others in their places."""
    compiled = import_module(_MODULES[_backend])
    here = globals()
    return _backend == "numba" and all(here[name] is getattr(compiled, name) for name in KERNELS)


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


use(os.environ.get("TINYNET_KERNELS") or "numba")
