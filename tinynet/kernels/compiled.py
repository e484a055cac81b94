"""The kernels of `tinynet.kernels.reference`, compiled by numba: the same names, the same results.

From the ground up:

- `cache` keeps what was compiled, `jit` says how all is compiled, `vectors` has the registers of
  this CPU and the instructions for them, `outline` calls long functions by name, `atomics` has the
  instructions by which threads agree, `denormals` those about the smallest of numbers.
- `threads` shares tasks out, `thread_count` knows among how many threads.
- `operands` says what can be multiplied, `tile` multiplies one small block of a matrix, `products`
  does lists of such blocks, `matrices` and `conv` make the lists; `dense` is a whole layer.
- `winograd` needs fewer multiplications for windows of 3x3, and `transform` does its maps.
- `bias`, `activations`, `pooling`, `normalization`, `updates`, `samples`, `scores` and `transpose`
  are passes over numbers.
- `recording` notes down what is called, and `program` plays it again.
"""

from tinynet.kernels.activations import (
    leaky_relu,
    leaky_relu_gradient,
    log_softmax,
    log_softmax_gradient,
    relu,
    relu_gradient,
    sigmoid,
    sigmoid_gradient,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    softmax_gradient,
    tanh,
    tanh_gradient,
)
from tinynet.kernels.jit import config
from tinynet.kernels.normalization import (
    batch_norm,
    batch_norm_gradient,
    batch_norm_inference,
    dropout,
    rescale,
)
from tinynet.kernels.pooling import average_pool2d, average_pool2d_gradient
from tinynet.kernels.samples import copy, take
from tinynet.kernels.scores import accuracy_update, mean_update
from tinynet.kernels.updates import (
    adam_update,
    adam_updates,
    rmsprop_update,
    sgd_update,
    sgd_updates,
)

if config.DISABLE_JIT:
    # Some are made of CPU instructions, which Python cannot run; loops it can.
    from tinynet.kernels.reference import (
        bias_activation,
        bias_activation_gradient,
        conv2d,
        conv2d_input_gradient,
        conv2d_kernel_gradient,
        dense,
        dense_gradient,
        matmul,
        max_pool2d,
        max_pool2d_gradient,
    )
else:
    from tinynet.kernels.activations import bias_activation, bias_activation_gradient
    from tinynet.kernels.conv import conv2d, conv2d_input_gradient, conv2d_kernel_gradient
    from tinynet.kernels.dense import dense, dense_gradient
    from tinynet.kernels.matrices import matmul
    from tinynet.kernels.pooling import max_pool2d, max_pool2d_gradient

__all__ = [
    "accuracy_update",
    "adam_update",
    "adam_updates",
    "average_pool2d",
    "average_pool2d_gradient",
    "batch_norm",
    "batch_norm_gradient",
    "batch_norm_inference",
    "bias_activation",
    "bias_activation_gradient",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_kernel_gradient",
    "copy",
    "dense",
    "dense_gradient",
    "dropout",
    "leaky_relu",
    "leaky_relu_gradient",
    "log_softmax",
    "log_softmax_gradient",
    "matmul",
    "max_pool2d",
    "max_pool2d_gradient",
    "mean_update",
    "relu",
    "relu_gradient",
    "rescale",
    "rmsprop_update",
    "sgd_update",
    "sgd_updates",
    "sigmoid",
    "sigmoid_gradient",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_gradient",
    "softmax_gradient",
    "take",
    "tanh",
    "tanh_gradient",
]
