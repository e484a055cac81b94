"""Models out of files and of JSON.

A file may come from a stranger. So nothing is believed before it is checked: layers come from a
closed table and check their own arguments; they are built without memory first, and only where the
file has just the tensors that such a model has, and of their shapes, is anything allocated.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet import kernels, layers, losses, metrics, optimizers, random, saving
from tinynet.configs import deserialize
from tinynet.errors import check_bool, check_int, check_keywords, received, shortened
from tinynet.layers.base import Layer, shapes_only
from tinynet.models.sequential import Sequential
from tinynet.models.writing import MAX_LAYERS, own_generators, slots_from, weights_of
from tinynet.saving import (
    MalformedError,
    MisfitError,
    ModelFileError,
    UnknownLayerError,
    strict_json,
)

_MODELS = {"Sequential": Sequential}
_LAYERS = {**layers.CLASSES, **_MODELS}


@check_keywords
def load_model(filepath: str | os.PathLike[str], compile: bool = True) -> Sequential:
    """The model that ``model.save`` wrote, which predicts the same, bit for bit.

    compile: whether to compile it as it was; training then goes on where it stopped. Without, what
        the optimizer remembers is not even read.

    Raises a `tinynet.saving.ModelFileError`, a ValueError, that says what is wrong with the file,
    OSError where it cannot be read, ValueError for a path that does not end in ``.tinynet``.
    """
    compile = check_bool("compile", compile)
    with saving.ModelFile(filepath) as file, _speaking_of(file):
        return _model_in(file, compile)


def _model_in(file: saving.ModelFile, compile: bool) -> Sequential:
    kind, description = file.header.get("kind"), file.header.get("model")
    if kind == "weights":
        raise MisfitError(
            "it holds weights alone; make the model and call model.load_weights(path)"
        )
    if kind == "training":
        raise MisfitError(
            "it is the backup of a training, which callbacks.BackupAndRestore goes on from"
        )
    if kind != "model":
        raise MalformedError(f"it holds {received(kind)}, not a model")
    _check_classes(description, _LAYERS)
    with shapes_only():
        model = deserialize("model", description, _MODELS)
    if not model.built:
        raise MisfitError("its model does not know the shape of its inputs")
    compiled = file.header.get("compiled")
    parts = None if compiled is None else _compiled(compiled)
    expected = {name: (array.shape, model.dtype) for name, array in weights_of(model).items()}
    slots = _slot_names(file, model, parts)
    expected |= slots
    _check_tensors(file, expected)
    generators = _check_generators(file.header.get("generators"), model)

    _allocate(model)
    arrays = weights_of(model)
    found = {name: kernels.lasting_zeros(*like) for name, like in slots.items()} if compile else {}
    file.read_into({**arrays, **found})
    for generator, state in generators:
        random.restore(generator, state)
    if parts is not None and compile:
        optimizer, loss, scores = parts
        model.compile(optimizer, loss, metrics=scores)
        optimizer.slots = slots_from(found)
    return model


@contextmanager
def _speaking_of(file: saving.ModelFile) -> Iterator[None]:
    """Whatever the making of a model raises is about the file, which is named."""
    try:
        yield
    except OSError:
        raise
    except ModelFileError as error:
        if not str(error).startswith(repr(str(file.path))):
            error.args = (f"{str(file.path)!r}: {error}",)
        raise
    except Exception as error:
        # The layers' own validation, most likely; but the file is a stranger's, and no error of
        # another kind may come of it.
        raise MisfitError(f"{str(file.path)!r}: no model can be made of it: {error}") from error


def _check_classes(description: object, classes: Mapping[str, object]) -> None:
    """Raises UnknownLayerError for a class that is none of ``classes``, wherever it stands."""
    todo = [description]
    inputs = others = 0
    while todo:
        here = todo.pop()
        if not isinstance(here, dict) or not isinstance(here.get("config"), dict):
            raise MalformedError(
                f"a layer must be an object of 'class_name' and 'config', got {received(here)}"
            )
        name = here.get("class_name")
        if not isinstance(name, str) or name not in classes:
            raise UnknownLayerError(f"it has a layer of the unknown class {received(name)}")
        inputs += name == "Input"  # a shape, and no layer of the model
        others += name != "Input"
        if max(inputs, others) > MAX_LAYERS:
            raise MalformedError(f"it has more than {MAX_LAYERS} layers")
        if name in _MODELS:
            inner = here["config"].get("layers")
            if not isinstance(inner, list):
                raise MalformedError(f"the layers of a model must be a list, got {received(inner)}")
            todo += inner


def _compiled(data: Any) -> tuple[optimizers.Optimizer, losses.Loss, list[Any]]:
    if not isinstance(data, dict) or data.keys() != {"optimizer", "iterations", "loss", "metrics"}:
        raise MalformedError("its 'compiled' must have optimizer, iterations, loss and metrics")
    if not isinstance(data["metrics"], list):
        raise MalformedError(f"its metrics must be a list, got {received(data['metrics'])}")
    optimizer = optimizers.deserialize(data["optimizer"])
    optimizer.iterations = check_int("iterations", data["iterations"], 0)
    if optimizer.iterations >= 1 << 62:
        raise MisfitError("its iterations must be fewer than 2**62")
    scores = [metrics.deserialize(metric) for metric in data["metrics"]]
    metrics.resolve(scores)
    return optimizer, losses.deserialize(data["loss"]), scores


def _slot_names(
    file: saving.ModelFile, model: Sequential, parts: Any
) -> dict[str, tuple[tuple[int, ...], str]]:
    """The slots that the file must have: of a param either all or, before its first step, none."""
    if parts is None:
        return {}
    return {
        f"optimizer/{key}/{slot}": (param.shape, model.dtype)
        for key, param in model.collect("params").items()
        if any(f"optimizer/{key}/{slot}" in file.tensors for slot in parts[0].slot_names)
        for slot in parts[0].slot_names
    }


def _check_tensors(file: saving.ModelFile, expected: Mapping[str, Any]) -> None:
    """Raises MisfitError where the tensors are not just those of the model."""
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in file.tensors.items()}
    for what, names in (
        ("it lacks the tensor", expected.keys() - found.keys()),
        ("its model has no place for the tensor", found.keys() - expected.keys()),
    ):
        if names:
            raise MisfitError(f"{what} {', '.join(map(shortened, sorted(names)[:5]))}")
    for name, like in expected.items():
        if found[name] != like:
            raise MisfitError(
                f"its tensor {name!r} is {found[name][0]} in {found[name][1]}, and its model needs "
                f"{like[0]} in {like[1]}"
            )


def _check_generators(data: Any, model: Sequential) -> list[tuple[np.random.Generator, Any]]:
    own = own_generators(model)
    if not isinstance(data, dict) or data.keys() != own.keys():
        raise MisfitError(
            f"it must have the states of the generators of {', '.join(own) or 'no layer'}, got "
            f"{received(data)}"
        )
    for state in data.values():
        random.restore(np.random.default_rng(0), state)  # raises for what is no state
    return [(own[path], state) for path, state in data.items()]


def _allocate(model: Sequential) -> None:
    """Give every layer arrays in the place of the zeros that take no memory."""
    for layer in model.layers:
        if isinstance(layer, Sequential):
            _allocate(layer)
        else:
            for arrays in (layer.params, layer.state):
                for name, array in arrays.items():
                    arrays[name] = kernels.lasting_zeros(array.shape, array.dtype)
    model.refresh()


@check_keywords
def model_from_json(json_string: str) -> Sequential:
    """A new model of the architecture that ``model.to_json`` returned, with new weights.

    Raises ValueError or TypeError for what describes no model of tinynet's own layers.
    """
    if not isinstance(json_string, str):
        raise TypeError(f"json_string must be a string, got {received(json_string)}")
    return deserialize("model", strict_json.loads(json_string.encode()), _MODELS)


@check_keywords
def clone_model(model: Sequential, clone_function: Any = None) -> Sequential:
    """A new model of the same layers, with new weights and not compiled.

    clone_function: called with each layer, returns the one to take in its place; by default a new
    layer of the same config. Layers of models inside are cloned by it too.

    Raises TypeError for what is no Sequential.
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"clone_model takes a Sequential, got {received(model)}")
    clone = clone_function or _clone
    inner = [
        clone_model(layer, clone_function) if isinstance(layer, Sequential) else clone(layer)
        for layer in model.layers
    ]
    head = [] if model.input_shape is None else [layers.Input(model.input_shape)]
    return Sequential([*head, *inner], model.name, model.dtype, model.trainable)


def _clone(layer: Layer) -> Layer:
    return type(layer).from_config(layer.get_config())
