"""Where a training is, and how it goes on from there after a crash."""

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet import configs, kernels, random, saving
from tinynet.callbacks import Callback
from tinynet.errors import check_bool, check_float, check_int
from tinynet.metrics import Metric
from tinynet.models.data import Batches, Labels
from tinynet.models.packing import pack, unpack
from tinynet.models.writing import generators_of, own_generators, slots_from, slots_of, weights_of

Array = NDArray[Any]
PathLike = str | os.PathLike[str]

# How many samples stand for all of them where data is told from other data.
_LOOKED_AT = 256


class Running:
    """The means of loss and metrics over the batches so far."""

    def __init__(self, scores: list[Metric]) -> None:
        self.scores = scores
        self._sums = np.zeros(2)  # of the loss, and how many samples
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._sums[:] = 0
        for score in self.scores:
            score.reset_state()

    def add(self, losses: Array, y: Labels, y_pred: Array) -> None:
        """Count one batch in; its loss is the mean of ``losses``."""
        kernels.mean_update(self._sums, losses, len(y))
        for score in self.scores:
            score.update_state(y, y_pred)

    def logs(self) -> dict[str, float]:
        """The loss, then the metrics, by name."""
        loss, samples = self._sums.tolist()
        return {"loss": loss / samples} | {s.name: float(s.result()) for s in self.scores}

    def get_state(self) -> dict[str, Any]:
        """The sums so far."""
        scores = [score.get_state() for score in self.scores]
        loss, samples = self._sums.tolist()
        return {"loss": loss, "samples": int(samples), "scores": scores}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from these sums."""
        self._sums[:] = float(state["loss"]), check_int("samples", state["samples"], 0)
        for score, sums in zip(self.scores, state["scores"], strict=True):
            score.set_state(sums)


class TrainingLoop:
    """One call of fit: where it is, and all that the rest of it follows from.

    epoch, step: the epoch at hand and the batch within it that comes next, from 0.
    completed: whether the training came to its end, rather than being broken off.

    `save` and `restore` keep everything that the coming steps depend on: weights, the state of
    layers, optimizer, the generator and the order of the samples, the means of the epoch at hand,
    and the callbacks' states.
    """

    def __init__(
        self,
        model: Any,
        callbacks: list[Callback],
        data: Mapping[str, Array | None],
        batches: Batches,
        scores: list[Metric],
        epoch: int,
        steps: int,
    ) -> None:
        self.epoch = epoch
        self.step = 0
        self.completed = False
        self.batches = batches
        self.running = Running(scores)
        self._model = model
        self._callbacks = callbacks
        self._data = data
        self._steps = steps

    def save(self, path: PathLike) -> None:
        """Write a backup. Raises OSError where that is not possible."""
        tensors: dict[str, Array] = {}
        model = self._model
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "stop_training": bool(model.stop_training),
            "learning_rate": model.optimizer.learning_rate,
            "iterations": model.optimizer.iterations,
            "generator": random.state_of(random.generator()),
            "batches": self.batches.get_state(),
            "running": self.running.get_state() if self.step else None,
            "callbacks": [callback.get_state() for callback in self._callbacks],
        }
        header = {
            "kind": "training",
            "made_by": self._identity,
            "generators": generators_of(model),
            "training": pack(state, tensors),
        }
        saving.write(path, header, {**weights_of(model), **slots_of(model), **tensors})

    def restore(self, path: PathLike) -> None:
        """Go to where a backup was written.

        Raises ValueError, before anything is changed, where that was another training: of another
        model, with other data, batches or callbacks; a `tinynet.saving.ModelFileError` where the
        file is damaged; OSError where it cannot be read.
        """
        with saving.ModelFile(path) as file:
            if file.header.get("kind") != "training":
                raise saving.MisfitError(f"{str(path)!r} is no backup of a training")
            self._check_identity(path, file.header.get("made_by"))
            self._check_tensors(path, file.tensors)
            # What is read becomes the optimizer's slots, which last.
            arrays = {n: kernels.lasting_zeros(t.shape, t.dtype) for n, t in file.tensors.items()}
            file.read_into(arrays)
            try:
                self._go_to(file.header, arrays)
            except saving.ModelFileError:
                raise
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise saving.MisfitError(
                    f"{str(path)!r}: the training cannot go on from it: {error!r}"
                ) from error

    def _go_to(self, header: Mapping[str, Any], arrays: dict[str, Array]) -> None:
        model, optimizer = self._model, self._model.optimizer
        state = unpack(header["training"], arrays)
        weights = weights_of(model)
        iterations = check_int("iterations", state["iterations"], 0)
        learning_rate = check_float("learning_rate", state["learning_rate"], 0.0)
        stop_training = check_bool("stop_training", state["stop_training"])
        generators = own_generators(model)
        self.epoch = check_int("epoch", state["epoch"], 0)
        self.step = check_int("step", state["step"], 0)
        self.batches.set_state(state["batches"])
        if self.step:
            self.running.set_state(state["running"])
        for callback, kept_state in zip(self._callbacks, state["callbacks"], strict=True):
            callback.set_state(kept_state)
        for path, kept_state in header["generators"].items():
            random.restore(generators[path], kept_state)
        random.restore(random.generator(), state["generator"])
        for name, array in weights.items():
            array[...] = arrays[name]
        optimizer.slots = slots_from(arrays)
        optimizer.iterations = iterations
        optimizer.learning_rate = learning_rate
        model.stop_training = stop_training

    def _check_tensors(self, path: PathLike, tensors: Mapping[str, saving.TensorInfo]) -> None:
        """Raises MisfitError where weights and slots are not just those of model and optimizer."""
        model = self._model
        expected = {name: (a.shape, a.dtype.name) for name, a in weights_of(model).items()}
        for key, param in model.collect("params").items():
            slots = [f"optimizer/{key}/{slot}" for slot in model.optimizer.slot_names]
            if any(slot in tensors for slot in slots):  # before its first step a param has none
                expected |= dict.fromkeys(slots, (param.shape, param.dtype.name))
        found = {
            name: (tensor.shape, tensor.dtype)
            for name, tensor in tensors.items()
            if not name.startswith("training/")
        }
        for name in sorted({*expected, *found}):
            there, here = found.get(name), expected.get(name)
            if there != here:
                raise saving.MisfitError(
                    f"{str(path)!r}: its tensor {name!r} is {there or 'not there'}, and this "
                    f"training needs {here or 'none'}"
                )

    # --- whether it is the same training ---------------------------------------------------------

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a training is known by: a backup of one is refused by another."""
        model = self._model
        optimizer = configs.serialize(model.optimizer)
        optimizer["config"].pop("learning_rate", None)  # changes while training
        return {
            "the model": _named(configs.serialize(model)),
            "the optimizer": _named(optimizer),
            "the loss": _named(configs.serialize(model.loss)),
            "the metrics": [_named(metric) for metric in model.metrics_given],
            "the batches": {
                "batch_size": self.batches.batch_size,
                "steps": self._steps,
                "shuffle": self.batches.order is not None,
            },
            "the callbacks": [type(callback).__name__ for callback in self._callbacks],
            **{f"the data, {name}": _data_identity(array) for name, array in self._data.items()},
        }

    def _check_identity(self, path: PathLike, there: Any) -> None:
        if not isinstance(there, dict):
            raise saving.MalformedError(f"{str(path)!r} does not say what it was made by")
        difference = _difference("", there, self._identity)
        if difference:
            where, that, this = difference
            raise ValueError(
                f"{str(path)!r} is the backup of another training, which differs in {where}: there "
                f"it is {_short(that)}, here {_short(this)}. Go on with what it was made by, or "
                "delete it to begin anew"
            )


def _difference(where: str, there: Any, here: Any) -> tuple[str, Any, Any] | None:
    """The first place where two descriptions differ, and what stands there in each."""
    if there == here:
        return None
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = [(key, there.get(key), here.get(key)) for key in [*here, *there]]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(i, *items) for i, items in enumerate(zip(there, here, strict=True))]
    for key, that, this in pairs:
        found = _difference(f"{where}, {key}" if where else str(key), that, this)
        if found:
            return found
    return where, there, here


def _named(value: Any) -> Any:
    """``value`` as JSON has it, functions and classes by name: to compare, not to rebuild."""
    if isinstance(value, Mapping):
        return {str(key): _named(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, configs.Configurable):
        return _named(configs.serialize(value))
    return getattr(value, "__qualname__", type(value).__qualname__)


def _data_identity(array: Array | None) -> dict[str, Any] | None:
    """Shape, dtype, and a digest of samples from the first to the last."""
    if array is None:
        return None
    chosen = np.linspace(0, len(array) - 1, min(len(array), _LOOKED_AT)).astype(np.intp)
    digest = hashlib.sha256(np.ascontiguousarray(array[chosen]).tobytes())
    return {"shape": list(array.shape), "dtype": str(array.dtype), "digest": digest.hexdigest()}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:297]}..."
