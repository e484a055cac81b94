"""The model that a picture is about: checked, asked, and copied where it would change."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet import kernels, random
from tinynet.errors import received
from tinynet.layers.base import Array, Shape
from tinynet.layers.dropout import Dropout
from tinynet.layers.watch import leaf_layers
from tinynet.losses import BinaryCrossentropy
from tinynet.models import Model


def check_model(model: Any, trained: bool = False) -> Model:
    """``model``, which must be one that knows its input's shape.

    trained: whether it must have been compiled too.

    Raises TypeError for what is no model, ValueError for one that is not so far.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a model, got {received(model)}")
    if not model.built or model.input_shape is None:
        raise ValueError(
            f"{model.label} does not know its input's shape and has no weights yet; begin it with "
            "Input(shape), or call fit() first"
        )
    if trained and not model.compiled:
        raise ValueError(f"{model.label}: call compile(optimizer, loss, metrics=[...]) first")
    return model


@contextmanager
def copy_of(model: Model) -> Iterator[Model]:
    """A copy of the model, its optimizer and its loss, to train or to change in a ``with``.

    Dropout in it draws from the generator that everything shares, which is put back at the end.
    """
    shared = random.generator().bit_generator
    before = shared.state
    try:
        yield copy.deepcopy(model)
    finally:
        shared.state = before


@contextmanager
def differentiable_copy(model: Model) -> Iterator[Model]:
    """A copy whose forward(x, training=True) computes what forward(x) does, for a backward.

    Batch normalization keeps to its moving statistics, as it does where it is frozen, and dropout
    leaves nothing out.
    """
    with copy_of(model) as still:
        still.trainable = False
        for layer in leaf_layers(still).values():
            if isinstance(layer, Dropout):
                layer.rate = 0.0
        yield still


def class_probabilities(model: Model, x: ArrayLike) -> NDArray[np.floating]:
    """What the model says of x as a probability for each class: (n, classes).

    A softmax's rows and a sigmoid's entries are taken as they are. Rows that are neither, or whose
    loss was made with ``from_logits=True``, are logits and go through a softmax. One output stands
    for two classes, 1 - p and p.

    Raises ValueError where x does not fit, and where the model gives no row for each sample, or one
    number that its loss takes for a quantity.
    """
    y = model.predict(x, verbose=0)
    if y.ndim != 2:
        raise ValueError(
            f"{model.label} must give one row of class scores for each sample, it gives arrays of "
            f"shape {y.shape[1:]}"
        )
    if y.shape[1] == 1 and estimates_a_quantity(model):
        raise ValueError(
            f"{model.label} gives one number for each sample, which is no probability: its loss is "
            f"{type(model.loss).__name__}; pictures of classes are of models that tell them apart"
        )
    with np.errstate(invalid="ignore"):
        shares = bool(np.all((y >= 0) & (y <= 1 + 1e-6)))
        sums = np.allclose(y.sum(axis=1), 1, atol=1e-3)
    logits = bool(model.compiled and model.loss.from_logits)
    if y.shape[1] == 1:
        p = y if shares and not logits else kernels.sigmoid(y)
        return np.concatenate([1 - p, p], axis=1)
    if not logits and shares and (sums or model.output_activation == "sigmoid"):
        return y
    return kernels.softmax(y) if np.isfinite(y).all() else y


def estimates_a_quantity(model: Model) -> bool:
    """Whether the one output of a compiled model is neither a probability nor its logit."""
    sigmoid = model.output_activation == "sigmoid"
    return model.compiled and not sigmoid and not isinstance(model.loss, BinaryCrossentropy)


def check_one(model: Model, image: ArrayLike) -> Array:
    """``image`` as the one sample of a batch for the model; it may have the batch axis already.

    Raises TypeError for what is not numbers, ValueError for another shape.
    """
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"image must be an array of numbers, got {received(image)}")
    shape = model.input_shape or ()
    if array.shape == (1, *shape):
        array = array[0]
    if array.shape != shape:
        hint = ""
        if (*array.shape, 1) == shape:
            hint = "; add the channel axis: image[..., None]"
        elif array.shape == (*shape, 1):
            hint = "; take the channel axis off: image[..., 0]"
        elif array.shape[1:] == shape:
            hint = "; choose one: image[0]"
        elif math.prod(array.shape) == math.prod(shape):
            hint = f"; image.reshape({shape})"
        raise ValueError(
            f"image must be one input of {model.label}, of shape {shape}, got {array.shape}{hint}"
        )
    return array[None].astype(model.dtype)


def picture_shape(shape: Shape) -> Shape | None:
    """How a sample of ``shape`` can be drawn: (h, w) or (h, w, 3); a square for features in a row.

    None where it can not.
    """
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3):
        return shape
    if len(shape) == 3 and shape[2] == 1:
        return shape[:2]
    side = math.isqrt(shape[0]) if len(shape) == 1 else 0
    return (side, side) if side > 1 and shape == (side * side,) else None


def check_picture_shape(model: Model) -> Shape:
    """`picture_shape` of the model's inputs. Raises ValueError where they are no images."""
    shape = picture_shape(model.input_shape or ())
    if shape is None:
        raise ValueError(
            f"{model.label} takes inputs of shape {model.input_shape}, which are no images: they "
            "must be (height, width), with 1 or 3 channels, or a square of features in a row"
        )
    return shape


def check_label(model: Model, label: Any, probabilities: NDArray[np.floating]) -> int:
    """The class ``label``, or the most probable one where that is None.

    Raises TypeError for what is no integer, ValueError for no class of the model.
    """
    if label is None:
        return int(probabilities.argmax())
    classes = len(probabilities)
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise TypeError(
            f"label must be a class index from 0 to {classes - 1}, got {received(label)}"
        )
    if not 0 <= label < classes:
        raise ValueError(
            f"label must be a class index from 0 to {classes - 1}, as {model.label} predicts "
            f"{classes} classes, got {label}"
        )
    return int(label)
