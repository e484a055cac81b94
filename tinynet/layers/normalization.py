"""Batch normalization."""

import math
from typing import Any

import numpy as np

from tinynet import initializers, kernels
from tinynet.errors import check_bool, check_float, received
from tinynet.layers.base import Array, Layer, Shape


class BatchNormalization(Layer):
    """y = gamma * x_hat + beta,  x_hat = (x - mean) / sqrt(variance + epsilon)

    x (n, ..., c), gamma and beta (c,) -> y (n, ..., c). mean and variance (c,) are taken over all
    axes but the last: in training those of the batch, otherwise the moving ones, for which each
    training batch does ``moving = momentum * moving + (1 - momentum) * batch``.

    With m the entries for each channel:
    d_beta = sum(dy);  d_gamma = sum(dy * x_hat);
    dx = gamma / sqrt(variance + epsilon) * (dy - d_beta / m - x_hat * d_gamma / m)

    The last two terms of dx are there because mean and variance depend on x too.
    (Ioffe and Szegedy 2015, section 3.)

    axis: -1, the channels.
    momentum: at least 0 and at most 1.   epsilon: above 0.
    center, scale: False leaves beta or gamma out.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if axis != -1:
            raise ValueError(
                f"BatchNormalization works on the last axis, axis=-1, got axis={received(axis)}"
            )
        self.axis = axis
        self.momentum = check_float("momentum", momentum, minimum=0.0, maximum=1.0)
        self.epsilon = check_float("epsilon", epsilon, above=0.0)
        self.center = check_bool("center", center)
        self.scale = check_bool("scale", scale)
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        initializers.get(beta_initializer), initializers.get(gamma_initializer)

    def output_shape(self, input_shape: Shape) -> Shape:
        """The same as the input's, which must have a channel axis."""
        if not input_shape:
            raise ValueError(f"{self.label} needs inputs of shape (n, ..., channels), got (n,)")
        return input_shape

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Make gamma, beta, moving_mean and moving_variance, all (c,)."""
        super().build(input_shape, rng)
        channels = (input_shape[-1],)
        if self.scale:
            self.add_param("gamma", channels, self.gamma_initializer, rng)
        if self.center:
            self.add_param("beta", channels, self.beta_initializer, rng)
        self.add_state("moving_mean", channels, "zeros")
        self.add_state("moving_variance", channels, "ones")

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta"""
        x = self.check_input(x)
        rows = x.reshape(-1, x.shape[-1])
        gamma, beta = self._gamma(), self._beta()
        mean, variance = self.state["moving_mean"], self.state["moving_variance"]
        # A frozen layer keeps to the moving statistics, in training too.
        if training and self.trainable:
            y, mean, variance = kernels.batch_norm(rows, gamma, beta, self.epsilon)
            self._update_moving(mean, variance)
        else:
            y = kernels.batch_norm_inference(rows, gamma, beta, mean, variance, self.epsilon)
        if training:
            self.keep(x, mean, variance, self.trainable)
        return y.reshape(x.shape)

    def backward(self, dy: Array) -> Array:
        """dx, d_gamma and d_beta as the class says"""
        dy, (x, mean, variance, batch_statistics) = self.recall(dy)
        rows, d_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
        dx, d_gamma, d_beta = kernels.batch_norm_gradient(
            d_rows, rows, self._gamma(), mean, variance, self.epsilon
        )
        if not batch_statistics:  # constants, so dx is the first term alone
            dx = d_rows * (self._gamma() / np.sqrt(variance + dy.dtype.type(self.epsilon)))
        if self.scale:
            self.grads["gamma"][:] = d_gamma
        if self.center:
            self.grads["beta"][:] = d_beta
        return dx.reshape(x.shape)

    def _gamma(self) -> Array:
        moving_mean = self.state["moving_mean"]
        return self.params["gamma"] if self.scale else np.ones_like(moving_mean)

    def _beta(self) -> Array:
        moving_mean = self.state["moving_mean"]
        return self.params["beta"] if self.center else np.zeros_like(moving_mean)

    def _update_moving(self, mean: Array, variance: Array) -> None:
        for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
            moving = self.state[name]
            moving *= self.momentum
            moving += (1 - self.momentum) * batch

    def multiply_adds(self, input_shape: Shape) -> int:
        """One for each entry of x: gamma times x_hat, plus beta"""
        return math.prod(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
        }
