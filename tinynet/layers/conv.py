"""Convolution over images."""

import math
from typing import Any

from tinynet import initializers, kernels
from tinynet.errors import check_bool, check_int, received
from tinynet.kernels.geometry import Pair
from tinynet.layers.activations import LEAKY_RELU_SLOPE, check_activation
from tinynet.layers.base import Array, Layer, Shape, check_images


def check_pair(argument: str, value: int | Pair) -> Pair:
    """An integer, or two, as (height, width), each at least 1. Raises TypeError or ValueError."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{argument} must be an integer or two of them, got {received(value)}")
    return check_int(argument, pair[0], minimum=1), check_int(argument, pair[1], minimum=1)


def check_padding(padding: str) -> str:
    """The padding, "valid" or "same", in lower case. Raises ValueError."""
    if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {received(padding)}")
    return padding.lower()


def windowed_size(layer: Layer, size: Pair, window: Pair, strides: Pair, padding: str) -> Pair:
    """Output (height, width) of a window that moves over an image of ``size``.

    Raises ValueError where a window of padding "valid" is larger than the image.
    """
    if padding == "valid" and (window[0] > size[0] or window[1] > size[1]):
        raise ValueError(
            f"{layer.label}: a window of {window[0]}x{window[1]} does not fit images of "
            f"{size[0]}x{size[1]}; use a smaller window, fewer layers before it, or padding='same'"
        )
    return (
        kernels.output_size(size[0], window[0], strides[0], padding),
        kernels.output_size(size[1], window[1], strides[1], padding),
    )


class Conv2D(Layer):
    """y = activation(z),  z[n, r, s, o] = bias[o] +
    sum over i, j, c of x[n, r * sh + i, s * sw + j, c] * kernel[i, j, c, o]

    x (n, h, w, c_in), kernel (kh, kw, c_in, filters), bias (filters,) -> y (n, oh, ow, filters);
    padding "valid": oh = (h - kh) // sh + 1;  "same": oh = ceil(h / sh), x bordered with zeros,
    the odd row and column of them at the end, and r * sh + i counted from the border's first row

    dz = dy * activation'(z);  d_bias = dz summed over n, r, s;
    d_kernel[i, j, c, o] = sum over n, r, s of x[n, r * sh + i, s * sw + j, c] * dz[n, r, s, o];
    dx[n, r * sh + i, s * sw + j, c] += sum over o of dz[n, r, s, o] * kernel[i, j, c, o]

    (LeCun et al. 1989.) A Dense layer on each window of the image, with the same kernel for all.

    filters: how many output channels, at least 1.
    kernel_size, strides: an integer, or (height, width).
    padding: "valid" or "same".
    activation, use_bias, kernel_initializer, bias_initializer: as for Dense.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair,
        strides: int | Pair = (1, 1),
        padding: str = "valid",
        *,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = check_int("filters", filters, minimum=1)
        self.kernel_size = check_pair("kernel_size", kernel_size)
        self.strides = check_pair("strides", strides)
        self.padding = check_padding(padding)
        self.activation = self.output_activation = check_activation(activation)
        self.use_bias = check_bool("use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        initializers.get(kernel_initializer), initializers.get(bias_initializer)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(h, w, c_in) -> (oh, ow, filters)"""
        h, w, _ = check_images(self, input_shape)
        size = windowed_size(self, (h, w), self.kernel_size, self.strides, self.padding)
        return *size, self.filters

    def build(self, input_shape: Shape, rng: Any) -> None:
        """Make kernel (kh, kw, c_in, filters) and bias (filters,)."""
        super().build(input_shape, rng)
        shape = *self.kernel_size, input_shape[2], self.filters
        self.add_param("kernel", shape, self.kernel_initializer, rng)
        if self.use_bias:
            self.add_param("bias", (self.filters,), self.bias_initializer, rng)

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """y = activation(conv2d(x, kernel) + bias); with ``logits``, without the activation"""
        x = self.check_input(x)
        activation = "linear" if logits else self.activation
        kernel, bias = self.params["kernel"], self.params.get("bias")
        y = kernels.conv2d(
            x, kernel, self.strides, self.padding, bias, activation, LEAKY_RELU_SLOPE
        )
        if training:
            self.keep(x, y, activation)
        return y

    def backward(self, dy: Array) -> Array:
        """dx from dz and the kernel, and what backward_params does"""
        dz = self.backward_params(dy)
        input_shape = len(dz), *check_images(self, self.input_shape or ())
        return kernels.conv2d_input_gradient(
            dz, self.params["kernel"], input_shape, self.strides, self.padding
        )

    def backward_params(self, dy: Array) -> Array:
        """d_kernel from x and dz, d_bias = the sum of dz; returns dz = dy * activation'(z)"""
        dy, (x, y, activation) = self.recall(dy)
        dz, _ = kernels.bias_activation_gradient(
            dy, y, activation, LEAKY_RELU_SLOPE, self.grads.get("bias")
        )
        shape = self.params["kernel"].shape
        kernels.conv2d_kernel_gradient(
            x, dz, shape, self.strides, self.padding, out=self.grads["kernel"]
        )
        return dz

    def multiply_adds(self, input_shape: Shape) -> int:
        """oh * ow * kh * kw * c_in * filters, counting those with the border, too"""
        positions = math.prod(self.output_shape(input_shape)[:2])
        return positions * math.prod(self.kernel_size) * input_shape[2] * self.filters

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
