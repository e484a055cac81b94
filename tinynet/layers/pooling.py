"""Pooling: each window of an image becomes one number."""

from typing import Any

from tinynet import kernels
from tinynet.errors import check_bool
from tinynet.kernels.geometry import Pair
from tinynet.layers.base import Array, Shape, Weightless, check_images
from tinynet.layers.conv import check_padding, check_pair, windowed_size


class _Pooling2D(Weightless):
    """What max and average pooling share: the window, its strides and the padding."""

    def __init__(
        self,
        pool_size: int | Pair = (2, 2),
        strides: int | Pair | None = None,
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = check_pair("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else check_pair("strides", strides)
        self.padding = check_padding(padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(h, w, c) -> (oh, ow, c)"""
        h, w, channels = check_images(self, input_shape)
        size = windowed_size(self, (h, w), self.pool_size, self.strides, self.padding)
        return *size, channels

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


class MaxPooling2D(_Pooling2D):
    """y[n, r, s, c] = the largest x in the window at (r * sh, s * sw)

    x (n, h, w, c) -> y (n, oh, ow, c), oh and ow as for Conv2D; padding never wins

    dx gets each dy at the entry that won its window, the first of equals, and 0 elsewhere

    pool_size: the window, an integer or (height, width).
    strides: how far it moves; by default the window's own size, so that windows do not overlap.
    padding: "valid" or "same".
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = the maximum of each window"""
        x = self.check_input(x)
        y, winners = kernels.max_pool2d(x, self.pool_size, self.strides, self.padding)
        if training:
            self.keep(x, winners)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = dy where x won its window, else 0"""
        dy, (x, winners) = self.recall(dy)
        return kernels.max_pool2d_gradient(
            dy, winners, x.shape, self.pool_size, self.strides, self.padding
        )


class AveragePooling2D(_Pooling2D):
    """y[n, r, s, c] = the mean of x in the window at (r * sh, s * sw), padding left out

    x (n, h, w, c) -> y (n, oh, ow, c), oh and ow as for Conv2D

    dx = the sum of dy / (entries in the window), over the windows that an entry lies in

    pool_size, strides, padding: as for MaxPooling2D.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = the mean of each window"""
        x = self.check_input(x)
        if training:
            self.keep(x)
        return kernels.average_pool2d(x, self.pool_size, self.strides, self.padding)

    def backward(self, dy: Array) -> Array:
        """dx = each dy, shared equally in its window"""
        dy, (x,) = self.recall(dy)
        return kernels.average_pool2d_gradient(
            dy, x.shape, self.pool_size, self.strides, self.padding
        )


class GlobalAveragePooling2D(Weightless):
    """y[n, c] = the mean of x[n, :, :, c]

    x (n, h, w, c) -> y (n, c), or (n, 1, 1, c) with keepdims

    dx[n, r, s, c] = dy[n, c] / (h * w)

    (Lin, Chen and Yan 2013, section 3.2.)
    """

    def __init__(self, *, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keepdims = check_bool("keepdims", keepdims)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(h, w, c) -> (c,)"""
        channels = check_images(self, input_shape)[2]
        return (1, 1, channels) if self.keepdims else (channels,)

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = the mean over height and width"""
        x = self.check_input(x)
        if training:
            self.keep(x)
        y = kernels.average_pool2d(x, x.shape[1:3], x.shape[1:3])
        return y if self.keepdims else y[:, 0, 0]

    def backward(self, dy: Array) -> Array:
        """dx = dy / (h * w), everywhere"""
        dy, (x,) = self.recall(dy)
        dy = dy.reshape(len(x), 1, 1, -1)
        return kernels.average_pool2d_gradient(dy, x.shape, x.shape[1:3], x.shape[1:3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "keepdims": self.keepdims}
