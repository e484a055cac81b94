"""Layers without weights that rearrange or rescale their input."""

import math
from typing import Any

from tinynet import kernels
from tinynet.errors import check_float
from tinynet.layers.base import Array, Shape, Weightless, check_shape


class Reshape(Weightless):
    """y = x, each sample in another shape, entries in the same order

    x (n, *input_shape) -> y (n, *target_shape)

    dx = dy in the shape of x

    target_shape: the shape of one sample; one entry may be -1, for whatever remains.
    """

    def __init__(self, target_shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = check_shape("target_shape", target_shape, open_size=True)

    def output_shape(self, input_shape: Shape) -> Shape:
        """target_shape, with what remains in the place of -1"""
        entries, known = math.prod(input_shape), abs(math.prod(self.target_shape))
        if entries % known or (-1 not in self.target_shape and entries != known):
            raise ValueError(
                f"{self.label} cannot put the {entries} entries of a sample of shape "
                f"{input_shape} into the shape {self.target_shape}"
            )
        return tuple(entries // known if size == -1 else size for size in self.target_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = a copy of x in the new shape"""
        return kernels.copy(self.view(x, training))

    def view(self, x: Array, training: bool = False) -> Array:
        """`forward` without the copy: y is another view of x's memory, for use within a model."""
        x = self.check_input(x)
        if training:
            self.keep(x)
        return x.reshape(len(x), *self._built_shape)

    def backward(self, dy: Array) -> Array:
        """dx = dy in the shape of x"""
        dy, (x,) = self.recall(dy)
        return dy.reshape(x.shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "target_shape": self.target_shape}


class Flatten(Weightless):
    """y = x, each sample as one row: an image of 28x28 becomes 784 features

    x (n, ...) -> y (n, product of the rest)

    dx = dy in the shape of x
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        """(h, w, c) -> (h * w * c,)"""
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = a copy of x, in rows"""
        return kernels.copy(self.view(x, training))

    def view(self, x: Array, training: bool = False) -> Array:
        """`forward` without the copy: y is another view of x's memory, for use within a model."""
        x = self.check_input(x)
        if training:
            self.keep(x)
        return x.reshape(len(x), *self._built_shape)

    def backward(self, dy: Array) -> Array:
        """dx = dy in the shape of x"""
        dy, (x,) = self.recall(dy)
        return dy.reshape(x.shape)


class Rescaling(Weightless):
    """y = x * scale + offset

    x any shape -> y the same shape

    dx = dy * scale

    Put first in a model, ``Rescaling(1 / 255)`` lets it take images as they are, in bytes.
    """

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = check_float("scale", scale)
        self.offset = check_float("offset", offset)

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = x * scale + offset"""
        x = self.check_input(x)
        if training:
            self.keep(x)
        return kernels.rescale(x, self.scale, self.offset)

    def backward(self, dy: Array) -> Array:
        """dx = dy * scale"""
        dy, _ = self.recall(dy)
        return kernels.rescale(dy, self.scale)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}
