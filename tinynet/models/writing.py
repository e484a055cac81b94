"""Models into files, and weights back out of them.

What such a file looks like to the byte stands in `tinynet.saving`. Its header has, beside the table
of tensors:

    kind         "model", "weights", or "training" for a backup in the middle of a training
    model        the class and config of the model
    generators   the states of the generators that layers with a seed of their own draw from
    compiled     optimizer, loss and metrics, where the model was compiled
    training     where the training is, in a backup

The tensors are called

    weights/dense/kernel            a param or the state of a layer; of a model within the model,
                                    weights/sequential/dense/kernel
    optimizer/dense/kernel/m        what the optimizer remembers of a param
    training/0                      an array of ``training``

How a model is made from a file: `tinynet.models.reading`.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinynet import configs, initializers, metrics, random, saving
from tinynet.errors import check_bool, check_keywords, received
from tinynet.layers.base import Array, Layer, Shape
from tinynet.layers.watch import leaf_layers

MAX_LAYERS = 1_000

_LISTED = 20  # weights of each kind in a message

PathLike = str | os.PathLike[str]


# --- writing -------------------------------------------------------------------------------------


@check_keywords
def save_model(
    model: Any, filepath: PathLike, overwrite: bool = True, *, include_optimizer: bool = True
) -> None:
    """``model.save(filepath)``: see `Model.save`.

    Raises TypeError for what is no model, and what `Model.save` raises.
    """
    if not hasattr(model, "learn_shape"):
        raise TypeError(f"save_model takes a model, got {received(model)}")
    check_target(filepath, overwrite)
    require_weights(model, "save", "; to_json() keeps the architecture alone")
    compiled = check_bool("include_optimizer", include_optimizer) and model.compiled
    header = header_of(model, compiled)
    slots = slots_of(model) if compiled else {}
    saving.write(filepath, header, {**weights_of(model), **slots})


def header_of(model: Any, compiled: bool) -> dict[str, Any]:
    """What a file says of a model beside its tensors; with ``compiled``, of its training too.

    Raises TypeError for what is not tinynet's own, ValueError for too many layers.
    """
    return {
        "kind": "model",
        "model": plain(describe_model(model), "the model"),
        "generators": generators_of(model),
        "compiled": plain(describe_compiled(model), "the model") if compiled else None,
    }


def save_weights(model: Any, path: PathLike, overwrite: bool = True) -> None:
    """Write a model's weights alone: see `Model.save_weights`."""
    check_target(path, overwrite)
    require_weights(model, "save_weights")
    saving.write(path, {"kind": "weights"}, weights_of(model))


def check_target(path: PathLike, overwrite: bool) -> None:
    """Raises FileExistsError where ``path`` is there and must not be overwritten."""
    path = saving.check_path(path)
    if not check_bool("overwrite", overwrite) and os.path.lexists(path):
        raise FileExistsError(f"{str(path)!r} exists already; pass overwrite=True to replace it")


def require_weights(model: Any, caller: str, advice: str = "") -> None:
    """Raises ValueError for a model that has no weights yet, or two layers of one name."""
    _check_names(model)
    model.learn_shape()
    if not model.built:
        raise ValueError(
            f"{model.label} does not know its input's shape and has no weights yet, which "
            f"{caller}() needs; begin it with Input(shape), or call build(shape){advice}"
        )


def _check_names(model: Any) -> None:
    """Raises ValueError where weights could not be told apart, or found again, by their names."""
    seen: set[str] = set()
    for layer in model.layers:
        if layer.name in seen or "/" in layer.name or not layer.name:
            raise ValueError(
                f"{model.label} has a layer called {layer.name!r}, and in a file each must have a "
                "name of its own, without '/'; set layer.name"
            )
        seen.add(layer.name)
        if layer.inner_layers():
            _check_names(layer)


# --- what is in a model --------------------------------------------------------------------------


def weights_of(model: Any) -> dict[str, Array]:
    """All params and states by their names in files."""
    arrays = {**model.collect("params"), **model.collect("state")}
    return {f"weights/{key}": array for key, array in arrays.items()}


def slots_of(model: Any) -> dict[str, Array]:
    """What the optimizer remembers of this model's params, by the names in files."""
    return {
        f"optimizer/{key}/{name}": slot
        for key, param in model.collect("params").items()
        for name, slot in model.optimizer.slots.get(key, {}).items()
        if slot.shape == param.shape  # and not of a layer that had this name before
    }


def slots_from(arrays: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The slots among ``arrays``, named as by `slots_of`, in the way an optimizer keeps them."""
    slots: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        if name.startswith("optimizer/"):
            key, slot = name.removeprefix("optimizer/").rsplit("/", 1)
            slots.setdefault(key, {})[slot] = array
    return slots


def own_generators(model: Any) -> dict[str, np.random.Generator]:
    """The generators that layers have for themselves, by the layers' paths."""
    found = {path: layer.own_generator() for path, layer in leaf_layers(model).items()}
    return {path: generator for path, generator in found.items() if generator is not None}


def generators_of(model: Any) -> dict[str, Any]:
    """The states of layers' own generators, by the layers' paths."""
    return {path: random.state_of(rng) for path, rng in own_generators(model).items()}


def describe_model(model: Any) -> dict[str, Any]:
    """Class and config of a model all of whose layers are tinynet's own.

    Raises TypeError for a class of somebody else's, ValueError for too many layers.
    """
    layers = [model, *_all_layers(model)]
    if len(layers) > MAX_LAYERS:
        raise ValueError(f"a model file holds at most {MAX_LAYERS} layers, got {len(layers)}")
    for layer in layers:
        check_own(layer)
        for argument in layer.get_config():
            if argument.endswith("_initializer"):
                check_own(initializers.get(getattr(layer, argument)))
    return configs.serialize(model)


def _all_layers(layer: Layer) -> Iterator[Layer]:
    for inner in layer.inner_layers():
        yield inner
        yield from _all_layers(inner)


def describe_compiled(model: Any) -> dict[str, Any]:
    """Optimizer, loss and metrics as plain data.

    Raises TypeError for a class or function of somebody else's.
    """
    for part in (model.optimizer, model.loss):
        check_own(part)
    for metric in model.metrics_given:
        if isinstance(metric, metrics.Metric):
            check_own(metric)
    return {
        "optimizer": configs.serialize(model.optimizer),
        "iterations": model.optimizer.iterations,
        "loss": configs.serialize(model.loss),
        "metrics": [metrics.serialize(metric) for metric in model.metrics_given],
    }


def check_own(thing: object) -> None:
    """Raises TypeError for a class that tinynet does not have: a file holds data, never code."""
    kind = type(thing)
    if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
        raise TypeError(
            f"a model file holds no code, so it cannot hold {received(thing)}: its class is "
            f"{kind.__module__}.{kind.__qualname__}, not one of tinynet's. save_weights() keeps "
            "the weights of any model; save(include_optimizer=False) does without optimizer, loss "
            "and metrics"
        )


def plain(value: Any, where: str) -> Any:
    """``value`` as what JSON has: tuples as lists, NumPy's numbers as Python's.

    Raises TypeError for what JSON does not have, such as a function given as an initializer.
    """
    if isinstance(value, dict):
        return {key: plain(item, f"{where}, {key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a model file holds no code, so it cannot hold {received(value)}, which is in {where}"
    )


# --- weights back into a model -------------------------------------------------------------------


def load_weights(model: Any, path: PathLike, skip_mismatch: bool = False) -> None:
    """Put a file's weights into a model: see `Model.load_weights`."""
    check_bool("skip_mismatch", skip_mismatch)
    require_weights(model, "load_weights")
    own = weights_of(model)
    with saving.ModelFile(path) as file:
        stored = {name: t for name, t in file.tensors.items() if name.startswith("weights/")}
        fitting = {name: t for name, t in stored.items() if _fits(own.get(name), t)}
        account = _account(own, stored)
        if account and not skip_mismatch:
            raise saving.MisfitError(
                f"{str(file.path)!r} does not fit {model.label}: {account}; "
                "skip_mismatch=True loads what does"
            )
        if account and not fitting:
            raise saving.MisfitError(
                f"{str(file.path)!r} has no weights for {model.label}: {account}"
            )
        new = {name: np.empty(t.shape, t.dtype) for name, t in fitting.items()}
        file.read_into(new)
    for name, array in new.items():
        own[name][...] = array
    if account:
        warnings.warn(f"not all weights of {model.label} were loaded: {account}", stacklevel=4)


def _fits(array: Array | None, tensor: saving.TensorInfo) -> bool:
    return (
        array is not None and array.shape == tensor.shape and tensor.dtype in ("float32", "float64")
    )


def _account(own: Mapping[str, Array], stored: Mapping[str, saving.TensorInfo]) -> str:
    """What is missing, extra, or of another shape, in words; nothing where all fits."""
    missing = [_named(name, own[name].shape) for name in own if name not in stored]
    extra = [_named(name, stored[name].shape) for name in stored if name not in own]
    other = [
        f"{_named(name, own[name].shape)} is {tensor.shape} in {tensor.dtype} there"
        for name, tensor in stored.items()
        if name in own and not _fits(own[name], tensor)
    ]
    groups = {"the file lacks": missing, "the model has no": extra, "of another shape": other}
    return "; ".join(f"{what} {_listed(names)}" for what, names in groups.items() if names)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _named(name: str, shape: Shape) -> str:
    return f"{name.removeprefix('weights/')} {shape}"
