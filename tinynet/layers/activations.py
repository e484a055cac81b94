"""Activations, as layers and as the ``activation=`` of Dense and Conv2D.

All work entry by entry on x of any shape, except softmax, which works along the last axis. Each
backward is written in terms of the output y, which is all that forward keeps.
"""

from typing import Any

from tinynet import kernels
from tinynet.errors import check_float, received, unknown_name
from tinynet.layers.base import Array, Layer, Shape, Weightless

ACTIVATIONS = ("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax")

# What Keras takes where only the name "leaky_relu" is given; the layer's own default is 0.3.
LEAKY_RELU_SLOPE = 0.2


def check_activation(activation: str | None) -> str:
    """The name of an activation; None means linear.

    Raises ValueError for an unknown name, TypeError for what is not a name.
    """
    if activation is None:
        return "linear"
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS, taken="a name")
    return activation


def _check_classes(layer: Layer, input_shape: Shape) -> Shape:
    """``input_shape``, which must have an axis for softmax to sum over."""
    if not input_shape:
        raise ValueError(f"{layer.label} needs inputs of shape (n, classes), got (n,)")
    return input_shape


class Activation(Weightless):
    """y = activation(x), the activation chosen by name; see the layers below for the formulas."""

    def __init__(self, activation: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = self.output_activation = check_activation(activation)

    def output_shape(self, input_shape: Shape) -> Shape:
        """The same as the input's, which for softmax must have an axis to sum over."""
        return _check_classes(self, input_shape) if self.activation == "softmax" else input_shape

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """y = activation(x); with ``logits``, y = x"""
        x = self.check_input(x)
        activation = "linear" if logits else self.activation
        y = kernels.bias_activation(x, None, activation, LEAKY_RELU_SLOPE)
        if training:
            self.keep(y, activation)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy * activation'(x)"""
        dy, (y, activation) = self.recall(dy)
        return kernels.bias_activation_gradient(dy, y, activation, LEAKY_RELU_SLOPE)[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "activation": self.activation}


class ReLU(Weightless):
    """y = max(x, 0)

    dx = dy where x > 0, else 0
    """

    output_activation = "relu"

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = max(x, 0)"""
        y = kernels.relu(self.check_input(x))
        if training:
            self.keep(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else 0"""
        dy, (y,) = self.recall(dy)
        return kernels.relu_gradient(dy, y)


class LeakyReLU(Weightless):
    """y = x where x > 0, else negative_slope * x

    dx = dy where x > 0, else negative_slope * dy

    (Maas, Hannun and Ng 2013.) negative_slope: at least 0.
    """

    output_activation = "leaky_relu"

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.negative_slope = check_float("negative_slope", negative_slope, minimum=0.0)

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = x where x > 0, else negative_slope * x"""
        y = kernels.leaky_relu(self.check_input(x), self.negative_slope)
        if training:
            self.keep(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else negative_slope * dy"""
        dy, (y,) = self.recall(dy)  # y > 0 exactly where x > 0, as the slope is not negative
        return kernels.leaky_relu_gradient(dy, y, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "negative_slope": self.negative_slope}


class Sigmoid(Weightless):
    """y = 1 / (1 + exp(-x))

    dx = dy * y * (1 - y)
    """

    output_activation = "sigmoid"

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """y = 1 / (1 + exp(-x)); with ``logits``, y = x"""
        x = self.check_input(x)
        y = kernels.copy(x) if logits else kernels.sigmoid(x)
        if training:
            self.keep(y, logits)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy * y * (1 - y)"""
        dy, (y, logits) = self.recall(dy)
        return dy if logits else kernels.sigmoid_gradient(dy, y)


class Tanh(Weightless):
    """y = tanh(x)

    dx = dy * (1 - y**2)
    """

    output_activation = "tanh"

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = tanh(x)"""
        y = kernels.tanh(self.check_input(x))
        if training:
            self.keep(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy * (1 - y**2)"""
        dy, (y,) = self.recall(dy)
        return kernels.tanh_gradient(dy, y)


class Softmax(Weightless):
    """y = exp(x) / sum(exp(x)), along the last axis: scores to probabilities.

    x (n, ..., classes) -> y (n, ..., classes)

    dx = y * (dy - sum(dy * y)): each y depends on every x of its row, so the Jacobian is the full
    matrix diag(y) - y y^T, here multiplied out.
    """

    output_activation = "softmax"

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if axis != -1:
            raise ValueError(
                f"Softmax works along the last axis, axis=-1, got axis={received(axis)}"
            )
        self.axis = axis

    def output_shape(self, input_shape: Shape) -> Shape:
        """The same as the input's, which must have an axis to sum over."""
        return _check_classes(self, input_shape)

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """y = exp(x) / sum(exp(x)); with ``logits``, y = x"""
        x = self.check_input(x)
        y = kernels.copy(x) if logits else kernels.softmax(x)
        if training:
            self.keep(y, logits)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = y * (dy - sum(dy * y))"""
        dy, (y, logits) = self.recall(dy)
        return dy if logits else kernels.softmax_gradient(dy, y)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "axis": self.axis}
