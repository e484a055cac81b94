"""Sequential: a chain of layers, each taking what the one before it gives."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tinynet import kernels, random
from tinynet.configs import deserialize, serialize
from tinynet.errors import check_keywords, received
from tinynet.layers import CLASSES
from tinynet.layers.base import Array, Input, Layer, Shape, check_shape
from tinynet.layers.reshaping import Flatten, Reshape
from tinynet.models.model import Model
from tinynet.models.steps import may_be_recorded


@may_be_recorded
class Sequential(Model):
    """y = layers[-1](... layers[1](layers[0](x)))

    By the chain rule, dx = layers[0].backward(... layers[-2].backward(layers[-1].backward(dy))).

    layers: Layer objects; models may be among them, and share their weights with this one.
    name: by default "sequential".
    dtype: "float32", or "float64" to run all layers in double precision.

    The weights are made as soon as the shape of the inputs is known: from an Input or from the
    ``input_shape`` of the first layer, or else from the first data.
    """

    @check_keywords
    def __init__(
        self,
        layers: Iterable[Layer] | None = None,
        name: str | None = None,
        dtype: str = "float32",
        trainable: bool = True,
    ) -> None:
        super().__init__(name, dtype, trainable)
        if layers is not None and not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {received(layers)}")
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Put a layer at the end of the chain.

        Raises TypeError for what is no layer; ValueError where the layer is in the model already,
        where its name is, or where its input does not fit. The model is then as it was.
        """
        self._check_new(layer)
        if isinstance(layer, Input):
            self._start_with(layer)
            return
        first = not self.layers and self.input_shape is None
        shape = layer.input_shape if first else self._end_shape()
        if shape is not None:
            _check_joint(layer, shape)
        if not layer.built:
            _set_dtype(layer, self.dtype)
        name = layer.name
        layer.name = self._free_name(layer)
        try:
            if shape is not None and not layer.built:
                layer.build(shape, random.generator())
        except (TypeError, ValueError):
            layer.name = name
            raise
        if first:
            self.input_shape = shape
        layer.placed = True
        self.layers.append(layer)
        self.refresh()

    def pop(self) -> Layer:
        """Take the last layer off and return it. Raises ValueError where there is none."""
        if not self.layers:
            raise ValueError(f"{self.label} has no layers to take off")
        layer = self.layers.pop()
        self.refresh()
        return layer

    def build(
        self, input_shape: Sequence[int | None], rng: np.random.Generator | None = None
    ) -> None:
        """Make all weights, for samples of ``input_shape``; (None, ...), with batch axis, too.

        Raises ValueError where a layer does not fit, before any weights are made.
        """
        batched = isinstance(input_shape, tuple | list) and [*input_shape[:1]] == [None]
        shape = check_shape("input_shape", input_shape[1:] if batched else input_shape)
        if self.input_shape not in (None, shape):
            raise ValueError(f"{self.label} was built for {self.input_shape}, got {shape}")
        self.output_shape(shape)
        self.input_shape = shape
        for layer in self.layers:
            if not layer.built:
                layer.build(shape, random.generator() if rng is None else rng)
            shape = layer.output_shape(shape)
        self.refresh()

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the last layer's output. Raises ValueError where a layer does not fit."""
        if not self.layers:
            raise ValueError(f"{self.label} has no layers; add some first")
        for layer in self.layers:
            _check_joint(layer, input_shape)
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """Through all layers, first to last; with ``logits``, without the last activation."""
        y = self.check_input(x)
        for layer in self.layers[:-1]:
            y = _give_on(layer, y, training)
        last: Any = self.layers[-1]
        if logits:
            return last.forward(y, training=training, logits=True)
        y = last.forward(y, training=training)
        # What the last layer kept for its backward must not change when the caller writes to y.
        return kernels.copy(y) if training else y

    def backward(self, dy: Array) -> Array:
        """Back through all layers, last to first: dx, and the grads of every layer on the way."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        self.grads = self.collect("grads")
        return dy

    def backward_params(self, dy: Array) -> None:
        """`backward` down to the first layer that learns, whose dx nobody needs."""
        learning = [i for i, layer in enumerate(self.layers) if layer.trainable_params]
        first = learning[0] if learning else len(self.layers)
        for layer in reversed(self.layers[first + 1 :]):
            dy = layer.backward(dy)
        if learning:
            self.layers[first].backward_params(dy)
        self.grads = self.collect("grads")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make a model like this one, its layers as plain data."""
        inner = [serialize(layer) for layer in self._chain()]
        return {**super().get_config(), "dtype": self.dtype, "layers": inner}

    def _chain(self) -> list[Layer]:
        """The layers, behind an Input where the shape is known."""
        head = [Input(self.input_shape)] if self.input_shape is not None else []
        return [*head, *self.layers]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new model of what `get_config` returned; layers may be there as objects, too.

        Raises ValueError for a layer that tinynet does not have.
        """
        classes = {**CLASSES, "Sequential": Sequential}
        inner = [
            layer if isinstance(layer, Layer) else deserialize("layer", layer, classes)
            for layer in config.get("layers") or ()
        ]
        return cls(**{**config, "layers": inner})

    def _arguments(self) -> dict[str, Any]:
        arguments = super()._arguments()
        if "layers" in arguments:
            arguments["layers"] = self._chain() or None
        return arguments

    def multiply_adds(self, input_shape: Shape) -> int | None:
        """Those of all layers together; None where one of them does not say."""
        counts = []
        for layer in self.layers:
            counts.append(layer.multiply_adds(input_shape))
            input_shape = layer.output_shape(input_shape)
        return None if None in counts else sum(filter(None, counts))

    def learn_shape(self) -> None:
        """A model at the head, nested before it knew its shapes, may have learned them since."""
        if not self.built and self.layers and self.layers[0].built:
            self.build(self.layers[0].input_shape or ())

    # --- joints of the chain ---------------------------------------------------------------------

    def _end_shape(self) -> Shape | None:
        """What the last layer gives, where that is known."""
        if self.input_shape is None or not self.layers:
            return self.input_shape
        return self.output_shape(self.input_shape)

    def _start_with(self, layer: Input) -> None:
        if self.layers or self.input_shape is not None:
            raise ValueError(f"Input must stand first in {self.label} and only once, got {layer}")
        self.input_shape = layer.input_shape

    def refresh(self) -> None:
        """Bring up to date what follows from the layers and their arrays."""
        self.built = bool(self.layers) and all(layer.built for layer in self.layers)
        last = self.layers[-1] if self.layers else None
        # A layer of somebody's own may end in a softmax and not know how to leave it out.
        paired = last is not None and "logits" in inspect.signature(last.forward).parameters
        self.output_activation = last.output_activation if last and paired else "linear"
        if self.built and self.input_shape is not None:
            self._built_shape = self.output_shape(self.input_shape)
        self.params = self.collect("params")
        self._grads = None
        self.state = self.collect("state")

    def _check_new(self, layer: Layer) -> None:
        if isinstance(layer, type):
            raise TypeError(f"add() takes a layer, got the class; call it: {layer.__name__}(...)")
        if not isinstance(layer, Layer):
            raise TypeError(f"add() takes a layer, got {received(layer)}")
        here = {id(part): part for part in _parts(self)}
        twice = [part for part in _parts(layer) if id(part) in here]
        if twice:
            raise ValueError(
                f"{twice[0].label} is in {self.label} already; a layer has room for one place, so "
                "make another one with the same arguments"
            )
        if layer.built and layer.dtype != self.dtype:
            raise ValueError(
                f"{layer.label} was built in {layer.dtype}, and {self.label} is {self.dtype}; "
                f"make the model with dtype={layer.dtype!r}"
            )

    def _free_name(self, layer: Layer) -> str:
        """The layer's name, numbered where it was not given and is taken."""
        taken = {other.name for other in self.layers}
        if layer.name not in taken:
            return layer.name
        if layer.auto_named and not layer.placed:
            return next(
                name
                for name in (f"{layer.name}_{i}" for i in range(1, len(taken) + 2))
                if name not in taken
            )
        raise ValueError(
            f"{self.label} has a layer called {layer.name!r} already; give one another name, "
            "by name= or by layer.name = ..."
        )


def _give_on(layer: Layer, x: Array, training: bool) -> Array:
    """`layer.forward`, or a view of x where the layer only reshapes.

    Nobody writes to what goes from layer to layer. A class derived from these two may have a
    forward of its own.
    """
    if isinstance(layer, Flatten | Reshape) and type(layer) in (Flatten, Reshape):
        return layer.view(x, training)
    return layer.forward(x, training=training)


def _parts(layer: Layer) -> list[Layer]:
    """A layer and, if it is a model, everything inside it."""
    inside = layer.layers if isinstance(layer, Model) else []
    return [layer, *(part for child in inside for part in _parts(child))]


def _set_dtype(layer: Layer, dtype: str) -> None:
    for part in _parts(layer):
        part.dtype = dtype


def _check_joint(layer: Layer, shape: Shape) -> None:
    """Raises ValueError where a layer that knows its input's shape is given another."""
    if layer.input_shape not in (None, shape):
        raise ValueError(
            f"{layer.label} takes inputs of shape {layer.input_shape}, got {shape} from before it"
        )
