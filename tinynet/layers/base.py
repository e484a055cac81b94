"""The contract of a layer: what each file in this folder implements, and what a reader can write.

A layer is three things: a formula (`Layer.forward`), its gradient (`Layer.backward`), and the
arrays that both work on (`params`, `grads`, `state`). Shapes are without the batch axis wherever
they stand alone; arrays always have it, first.
"""

import inspect
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet import initializers, kernels, random
from tinynet.configs import Configurable
from tinynet.display import constructor_call, html_table, html_text, own_arguments
from tinynet.errors import received, unknown_arguments

Array = NDArray[np.floating]
Shape = tuple[int, ...]

_MAX_AXES = 63  # what NumPy has, without the batch axis

_shapes_only = ContextVar("_shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within the block layers are built without weights: zeros that take no memory stand for them.

    So a reader of files learns the shapes before it allocates anything, or draws random numbers
    that nobody needs.
    """
    token = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(token)


class Layer(Configurable):
    """Base of all layers.

    To write one, override `output_shape`, `forward` and `backward`, and `build` where it has
    weights; `tinynet.gradcheck.check_layer` tells whether the gradient is right. `multiply_adds` is
    for the summary. `Dense` is an example with weights; one without::

        class Double(Layer):
            def forward(self, x, training=False):
                x = self.check_input(x)
                if training:
                    self.keep(x)
                return 2 * x

            def backward(self, dy):
                dy, (x,) = self.recall(dy)
                return 2 * dy

    name: what the layer is called in its model, by default its class in snake_case, numbered.
    trainable: False keeps the optimizer from changing the params.
    input_shape: the shape of one sample, for the first layer of a Sequential.
    """

    output_activation: str = "linear"
    """What y went through last.

    A cross-entropy starts from the logits of a "softmax" or "sigmoid", where the layer's forward
    takes ``logits=True`` and then leaves that activation out, for its backward as well.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Shape | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_arguments(type(self).__name__, unknown, _constructor_arguments(self))
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a string without '/', got {received(name)}")
        self.auto_named = name is None
        self.placed = False  # whether it is in a model, where its name stays
        self.name: str = snake_case(type(self).__name__) if name is None else name
        self.trainable = trainable
        self.dtype = "float32"
        self.params: dict[str, Array] = {}
        self._grads: dict[str, Array] | None = None
        self.state: dict[str, Array] = {}
        self.built = False
        self.input_shape = None if input_shape is None else check_shape("input_shape", input_shape)
        self._saved: tuple[Any, ...] | None = None
        self._samples = 0

    @property
    def trainable(self) -> bool:
        """Whether the optimizer changes the params; setting it on a model sets it on its layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"trainable must be True or False, got {received(value)}")
        self._trainable = bool(value)
        for layer in self.inner_layers():
            layer.trainable = value

    def inner_layers(self) -> list["Layer"]:
        """The layers inside this one: none, unless it is a model."""
        return []

    # --- what a layer implements -----------------------------------------------------------------

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Learn the shape of the inputs and make the params; overriding it, call this first.

        Raises ValueError where inputs of that shape do not fit, before anything is made.
        """
        self._built_shape = self.output_shape(input_shape)
        self.input_shape = input_shape
        self.built = True

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of y for one sample of x; needs no weights. Raises ValueError for a misfit."""
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """y for a batch x; with ``training`` also keeps what `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, training=False)")

    def backward(self, dy: Array) -> Array:
        """dx, given dy: the gradients of the loss with respect to x and to the last y.

        Fills ``grads``, whose old content is overwritten. Raises ValueError where there was no
        forward(x, training=True) before.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(dy)")

    def backward_params(self, dy: Array) -> Any:
        """`backward` without dx, for the first layer of a model, where nobody needs it.

        A layer overrides this where leaving dx out saves work.
        """
        return self.backward(dy) if self.params else None

    def multiply_adds(self, input_shape: Shape) -> int | None:
        """How many products of a weight and an input forward adds up for one sample.

        As the formula says, however it is computed; None where a class does not say.
        """
        return None

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {"name": self.name, "trainable": self.trainable}

    def own_generator(self) -> np.random.Generator | None:
        """The generator that this layer alone draws from, if it has one: files keep its state."""
        return None

    # --- what a layer uses to implement it -------------------------------------------------------

    def add_param(
        self, name: str, shape: Shape, initializer: Any, rng: np.random.Generator
    ) -> None:
        """Make a trainable array."""
        self._grads = None  # which may have been asked for already
        self.params[name] = self._new_array(shape, initializer, rng)

    def add_state(
        self,
        name: str,
        shape: Shape,
        initializer: Any,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Make an array that the optimizer does not change."""
        self.state[name] = self._new_array(shape, initializer, rng)

    def _new_array(self, shape: Shape, initializer: Any, rng: np.random.Generator | None) -> Array:
        if _shapes_only.get():
            return np.broadcast_to(np.zeros((), self.dtype), shape)
        array = kernels.lasting_zeros(shape, self.dtype)
        array[...] = initializers.get(initializer)(shape, self.dtype, rng)
        return array

    def check_input(self, x: ArrayLike) -> Array:
        """x as an array of this layer's dtype, or an error that says what does not fit."""
        if not self.built:
            raise ValueError(
                f"{self.label} does not know its input's shape yet; call the layer on data, "
                "add it to a model, or call build(input_shape, rng)"
            )
        _refuse_symbolic(self, x)
        x = np.asarray(x, self.dtype)
        if x.shape[1:] != self.input_shape or not x.ndim:
            raise ValueError(self._misfit(x.shape))
        return x

    def keep(self, first: Array, *others: Any) -> None:
        """Keep what `backward` will ask for; the length of the first array is the batch's."""
        self._saved = first, *others
        self._samples = len(first)

    def forget(self) -> None:
        """Let go of what was kept: after training nobody needs the last batch any more."""
        self._saved = None
        for layer in self.inner_layers():
            layer.forget()

    def recall(self, dy: ArrayLike) -> tuple[Array, Any]:
        """Dy, checked, and what `keep` kept.

        Raises ValueError where nothing was kept, or where dy does not have the shape of y.
        """
        if self._saved is None:
            raise ValueError(
                f"{self.label}: backward(dy) needs a forward(x, training=True) before it"
            )
        dy = np.asarray(dy, self.dtype)
        if dy.shape[1:] != self._built_shape or len(dy) != self._samples:
            raise ValueError(
                f"{self.label}: dy must have the shape of the last output, "
                f"{(self._samples, *self._built_shape)}, got {dy.shape}"
            )
        return dy, self._saved

    # --- for everyone ----------------------------------------------------------------------------

    @property
    def grads(self) -> dict[str, Array]:
        """The gradients, same keys as params: zeros before the first backward.

        They are made when they are first asked for, since a model that only predicts needs none.
        """
        if self._grads is None:
            self._grads = {
                name: kernels.lasting_zeros(param.shape, param.dtype)
                for name, param in self.params.items()
            }
        return self._grads

    @grads.setter
    def grads(self, grads: dict[str, Array]) -> None:
        self._grads = grads

    def __call__(self, x: ArrayLike, training: bool = False) -> Array:
        """`forward`, after building the layer for inputs like x where it was not built yet."""
        if not self.built:
            _refuse_symbolic(self, x)
            x = np.asarray(x)
            self.build(
                x.shape[1:] if self.input_shape is None else self.input_shape, random.generator()
            )
        return self.forward(self.check_input(x), training=training)

    @property
    def trainable_params(self) -> dict[str, Array]:
        """The params that the optimizer changes: all of them, or none."""
        return self.params if self.trainable else {}

    @property
    def weights(self) -> list[Array]:
        """The arrays themselves: params, then state."""
        return [*self.params.values(), *self.state.values()]

    def get_weights(self) -> list[Array]:
        """Copies of the params, then of the state."""
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy ``weights``, in the order of `get_weights`, into the layer.

        Raises ValueError, before anything is changed, where their count or shapes do not fit.
        """
        if isinstance(weights, np.ndarray) or not hasattr(weights, "__len__"):
            raise TypeError(
                f"{self.label}: weights must be a list of arrays, got {received(weights)}"
            )
        own = self.weights
        if len(weights) != len(own):
            raise ValueError(
                f"{self.label} has {len(own)} weight arrays, got {len(weights)}"
                + ("" if self.built else "; it has none before it knows its input's shape")
            )
        new = [np.asarray(w, self.dtype) for w in weights]
        for i, (old, value) in enumerate(zip(own, new, strict=True)):
            if old.shape != value.shape:
                raise ValueError(
                    f"{self.label}: weight {i} has shape {old.shape}, got {value.shape}"
                )
        for old, value in zip(own, new, strict=True):
            old[...] = value

    def count_params(self) -> int:
        """How many numbers the layer holds, state included.

        Raises ValueError before the layer is built.
        """
        if not self.built:
            raise ValueError(f"{self.label} has no params before it knows its input's shape")
        return sum(w.size for w in self.weights)

    @property
    def label(self) -> str:
        """How errors call the layer: class and name."""
        return f"{type(self).__name__} {self.name!r}"

    def __repr__(self) -> str:
        # Attributes before the config, which may hold plain data in the place of objects.
        config = {key: getattr(self, key, value) for key, value in self.get_config().items()}
        arguments = {**own_arguments(self), **config}
        if self.trainable:
            arguments.pop("trainable", None)
        if self.built:  # a shape that was learned, as far as anybody knows
            arguments.pop("input_shape", None)
        elif self.input_shape is not None and "shape" not in arguments:
            arguments["input_shape"] = self.input_shape
        return constructor_call(type(self), arguments)

    def _repr_html_(self) -> str:
        """What a notebook shows: the call that makes the layer, and the arrays that it holds."""
        trains = "yes" if self.trainable else "no"
        rows = [(name, str(p.shape), f"{p.size:,}", trains) for name, p in self.params.items()]
        rows += [(name, str(s.shape), f"{s.size:,}", "no") for name, s in self.state.items()]
        header = ("array", "shape", "numbers", "trainable")
        return html_text(repr(self)) + (html_table(header, rows) if rows else "")

    def _misfit(self, got: Shape) -> str:
        """The message for an x of the wrong shape, with a hint where the cause can be guessed."""
        expected = self.input_shape or ()
        hint = f"pass an array of shape {('n', *expected)}".replace("'", "")
        if got[1:] == () and expected == (1,):
            hint = "add the feature axis: x[:, None]"
        elif (*got[1:], 1) == expected:
            hint = "add the channel axis: x[..., None]"
        elif got == expected:
            hint = "add the batch axis: x[None]"
        elif len(expected) == 1 and len(got) > 2 and math.prod(got[1:]) == expected[0]:
            hint = "add layers.Flatten() before it"
        features = f"{expected[0]} features" if len(expected) == 1 else f"shape {expected}"
        return (
            f"{self.label} was built for inputs of {features}, got an array of shape {got}; {hint}"
        )


class Weightless(Layer):
    """Base of the layers without weights."""

    def multiply_adds(self, input_shape: Shape) -> int | None:
        """None of them: 0."""
        return 0


class Input(Weightless):
    """The shape of one sample, at the head of a Sequential: y = x.

    It makes a model know its shapes before it sees data. A Sequential takes the shape and leaves
    the layer itself out of ``model.layers``, as Keras does.
    """

    def __init__(self, shape: Shape, **kwargs: Any) -> None:
        super().__init__(input_shape=check_shape("shape", shape), **kwargs)

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = x"""
        x = self.check_input(x)
        if training:
            self.keep(x)
        return kernels.copy(x)

    def backward(self, dy: Array) -> Array:
        """dx = dy"""
        return self.recall(dy)[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "shape": self.input_shape}


def _refuse_symbolic(layer: Layer, x: Any) -> None:
    if isinstance(x, Layer):
        raise TypeError(
            f"{layer.label} was called on a layer, {x!r}: layers take arrays here, and are chained "
            "by Sequential([...])"
        )


def snake_case(name: str) -> str:
    """Keras's snake_case: MaxPooling2D -> max_pooling2d, ReLU -> re_lu."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower().lstrip("_")


def check_shape(argument: str, shape: Any, open_size: bool = False) -> Shape:
    """``shape`` as a tuple of positive ints; with ``open_size`` one of them may be -1.

    Raises TypeError for what is no tuple, ValueError for other entries.
    """
    if isinstance(shape, str) or not hasattr(shape, "__iter__"):
        raise TypeError(
            f"{argument} must be a tuple of integers such as (28, 28), got {received(shape)}"
        )
    sizes = tuple(shape)
    if len(sizes) > _MAX_AXES:
        raise ValueError(f"{argument} can have at most {_MAX_AXES} sizes, got {len(sizes)}")
    known = [n for n in sizes if not (open_size and n == -1)]
    if any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in known):
        or_open = " or one -1" if open_size else ""
        raise ValueError(
            f"{argument} must hold positive integers{or_open}, without the batch axis, got {sizes}"
        )
    if len(sizes) - len(known) > 1:
        raise ValueError(f"{argument} can leave one size open with -1, got {sizes}")
    return tuple(int(n) for n in sizes)


def check_images(layer: Layer, input_shape: Shape) -> tuple[int, int, int]:
    """``input_shape`` as (height, width, channels). Raises ValueError with the way to get there."""
    if len(input_shape) != 3:
        hint = "; add the channel axis: x[..., None]" if len(input_shape) == 2 else ""
        raise ValueError(
            f"{layer.label} takes images of shape (height, width, channels), got inputs of shape "
            f"{input_shape}{hint}"
        )
    return input_shape


def _constructor_arguments(layer: Layer) -> list[str]:
    """Every argument a layer's constructor takes, those of its base classes included."""
    names: dict[str, None] = {}
    for cls in type(layer).__mro__[:-1]:
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD:
                names[parameter.name] = None
    return list(names)
