"""The fully connected layer."""

import math
from typing import Any

from tinynet import initializers, kernels
from tinynet.errors import check_bool, check_int
from tinynet.layers.activations import LEAKY_RELU_SLOPE, check_activation
from tinynet.layers.base import Array, Layer, Shape


class Dense(Layer):
    """y = activation(x @ kernel + bias)

    x (n, d_in), kernel (d_in, units), bias (units,) -> y (n, units)

    With z = x @ kernel + bias:
    dz = dy * activation'(z);  d_kernel = x.T @ dz;  d_bias = dz.sum(0);  dx = dz @ kernel.T
    (for softmax dz is that of the layer Softmax)

    (Rumelhart, Hinton and Williams 1986.) Inputs with more axes, (n, ..., d_in), are treated as
    that many more samples.

    units: how many outputs, at least 1.
    activation: linear, relu, leaky_relu, sigmoid, tanh, softmax, or None for linear.
    use_bias: False leaves the bias out.
    kernel_initializer, bias_initializer: names, or initializers.
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = check_int("units", units, minimum=1)
        self.activation = self.output_activation = check_activation(activation)
        self.use_bias = check_bool("use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        initializers.get(kernel_initializer), initializers.get(bias_initializer)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(..., d_in) -> (..., units)"""
        if not input_shape:
            raise ValueError(
                f"{self.label} takes inputs of shape (n, features), got (n,); "
                "add the feature axis: x[:, None]"
            )
        return *input_shape[:-1], self.units

    def build(self, input_shape: Shape, rng: Any) -> None:
        """Make kernel (d_in, units) and bias (units,)."""
        super().build(input_shape, rng)
        self.add_param("kernel", (input_shape[-1], self.units), self.kernel_initializer, rng)
        if self.use_bias:
            self.add_param("bias", (self.units,), self.bias_initializer, rng)

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """y = activation(x @ kernel + bias); with ``logits``, without the activation"""
        x = self.check_input(x)
        activation = "linear" if logits else self.activation
        kernel, bias = self.params["kernel"], self.params.get("bias")
        y = kernels.dense(_rows(x), kernel, bias, activation, LEAKY_RELU_SLOPE)
        if training:
            self.keep(x, y, activation)
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], self.units)

    def backward(self, dy: Array) -> Array:
        """d_kernel = x.T @ dz, d_bias = dz.sum(0); dx = dz @ kernel.T"""
        return self._backward(dy, need_dx=True)

    def backward_params(self, dy: Array) -> None:
        """`backward` without dx"""
        self._backward(dy, need_dx=False)

    def _backward(self, dy: Array, need_dx: bool) -> Any:
        dy, (x, y, activation) = self.recall(dy)
        dx, _, _ = kernels.dense_gradient(
            _rows(dy), _rows(x), y, self.params["kernel"], activation, LEAKY_RELU_SLOPE,
            need_dx, out=self.grads["kernel"], bias_out=self.grads.get("bias"),
        )  # fmt: skip
        return dx if dx is None or x.ndim == 2 else dx.reshape(x.shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        """positions * d_in * units; one position for inputs (n, d_in)"""
        return math.prod(self.output_shape(input_shape)) * input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }


def _rows(x: Array) -> Array:
    """All axes but the last as one: (n, ..., d) -> (rows, d)."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
