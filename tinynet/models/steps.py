"""What fit, evaluate and predict do with one batch after another: in Python, then from a recording.

The first batch is done in Python, and so is the second, of which the kernels are recorded. For the
others of that size the recording is played (see `tinynet.kernels.recording`), where that is known
to be the same: where all work is left to kernels, and nothing of the caller's has a part in it; and
where there are steps enough. Everything else is done in Python, and so is everything after
``compile(run_eagerly=True)``, or under a debugger. The last batch of an epoch, an evaluation or a
prediction is always done in Python, so that layers and loss are left as by any batch.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinynet import kernels, layers, losses, metrics, optimizers
from tinynet.kernels.recording import Recording, in_order, record
from tinynet.layers.base import Array, Layer
from tinynet.models.data import Batches, Labels, take
from tinynet.models.loop import Running

M = TypeVar("M", bound=Layer)
Batch = slice | NDArray[np.intp]
Data = tuple[Array, Labels, Array | None]
Inputs = list[tuple[NDArray[Any], NDArray[Any]]]  # arrays, and what they get before each step

# Classes that leave all work of a step to kernels; one derived from them may do anything.
_LAYERS = (
    layers.Conv2D, layers.Dense, layers.Dropout, layers.Flatten, layers.LeakyReLU,
    layers.MaxPooling2D, layers.ReLU, layers.Rescaling, layers.Reshape, layers.Sigmoid,
    layers.Softmax,
)  # fmt: skip
_LOSSES = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy
_OPTIMIZERS = optimizers.SGD, optimizers.Adam
_METRICS = metrics.SparseCategoricalAccuracy, metrics.CategoricalAccuracy

# All classes concerned, with what they define: somebody who wants to look on may replace methods.
_OURS: dict[type, dict[str, Any]] = {}


def _remember(classes: Iterable[type]) -> None:
    bases = {base for cls in classes for base in cls.__mro__}
    _OURS.update({cls: dict(vars(cls)) for cls in bases - _OURS.keys()})


_remember((*_LAYERS, *_LOSSES, *_OPTIMIZERS, *_METRICS))
_MODELS: list[type] = []


def may_be_recorded(model: type[M]) -> type[M]:
    """Decorates a class of models that only calls its layers, one after another."""
    _MODELS.append(model)
    _remember([model])
    return model


# So many steps make up for compiling what playing needs; once it is there, some do.
_LEAST_STEPS = 1000
_LEAST_STEPS_NEXT = 32

# Steps that are played at once take about so long: Ctrl-C and the progress bar wait for them. The
# Python between them takes 0.2 milliseconds, as it finds nothing of its own in the caches any more.
_SECONDS = 0.02


class _Steps:
    """Does something with one batch after another."""

    def __init__(self, model: Any, batch_size: int, may_record: bool = False) -> None:
        self._model = model
        self._batch_size = batch_size
        self._may_record = may_record
        self._is_warm = False  # whether a whole batch was done
        self._program: Any = None
        self._at_once = 1

    def advance(self, most: int) -> int:
        """Do the next batch, or some of them at once, but at most so many; how many.

        most: how many there are yet to come.
        """
        if self._may_record and self._program is not None and most > 1:
            steps, inputs = self._whole_batches(min(most - 1, self._at_once))
            if steps:
                self._play(steps, inputs)
                return steps
        batch = self._next_batch()
        size = batch.stop - batch.start if isinstance(batch, slice) else len(batch)
        is_whole = size == self._batch_size
        if self._may_record and self._program is None and is_whole and self._is_warm:
            self._record(batch)
        else:
            self._in_python(batch)
            self._is_warm |= is_whole
        return 1

    def _record(self, batch: Batch) -> None:
        with record() as recording:
            self._in_python(batch)
        self._program = self._program_of(recording)
        self._may_record = self._program is not None
        self._at_once = 1

    def _program_of(self, recording: Recording) -> Any:
        from tinynet.kernels.program import program_of  # which needs numba

        return program_of(recording)

    def _play(self, steps: int, inputs: Inputs) -> None:
        start = time.perf_counter()
        self._program.play(steps, inputs)
        # Looked at each time: the first step comes with the loading of code.
        seconds_a_step = max(time.perf_counter() - start, 1e-6) / steps
        self._at_once = min(max(1, int(_SECONDS / seconds_a_step)), self._program.most_steps)

    def _next_batch(self) -> Batch:
        raise NotImplementedError

    def _whole_batches(self, most: int) -> tuple[int, Inputs]:
        """How many whole batches are done now, at most so many, and what is put where for them."""
        raise NotImplementedError

    def _in_python(self, batch: Batch) -> None:
        raise NotImplementedError


class TrainingSteps(_Steps):
    """The steps of one fit: forward, loss, backward, update, and the means so far.

    train: the step, from x, y, weights and params.   steps: about how many there will be.
    """

    def __init__(
        self,
        model: Any,
        train: Callable[..., None],
        data: Data,
        batches: Batches,
        running: Running,
        steps: int,
    ) -> None:
        super().__init__(model, batches.batch_size)
        self._train = train
        self._data = data
        self._batches = batches
        self._running = running
        self._steps = steps
        self._recorded: list[Any] = []

    def begin_epoch(self, watched: bool) -> None:
        """Look at the model anew: between epochs, a callback may have changed anything.

        watched: whether a callback wants to know of each batch.
        """
        model = self._model
        self._params = model.trainable_params
        self._may_record = (
            not watched
            and _can_be_recorded(model, self._data, self._steps)
            and _can_be_scored(model, self._running)
            and _are_ours([model.optimizer], _OPTIMIZERS)
            and not getattr(model.optimizer, "momentum", 0)  # its rate goes to kernels as a number
        )
        if self._program is not None and not (self._may_record and self._is_as_recorded()):
            self._program = None

    def _next_batch(self) -> Batch:
        return next(self._batches)

    def _whole_batches(self, most: int) -> tuple[int, Inputs]:
        indices = self._batches.whole(most)
        return len(indices), [(self._indices, indices)]

    def _in_python(self, batch: Batch) -> None:
        x, y, weights = self._data
        y_batch = take(y, batch)
        w_batch = None if weights is None else take(weights, batch)
        self._train(take(x, batch), y_batch, w_batch, self._params)
        loss = self._model.loss
        self._running.add(loss.losses, y_batch, loss.prediction)

    def _record(self, batch: Batch) -> None:
        if isinstance(batch, slice):
            batch = np.arange(batch.start, batch.stop)
        self._indices = batch.copy()
        super()._record(self._indices)
        if self._program is not None:
            self._recorded = self._parts()

    def _parts(self) -> list[Any]:
        """All that the calls of the kernels follow from: the same parts, the same calls."""
        model = self._model
        arrays = [[*layer.weights, *layer.grads.values()] for layer in model.layers]
        slots = [list(slots.values()) for slots in model.optimizer.slots.values()]
        parts = [model.loss, model.optimizer, *model.layers, *self._running.scores]
        return [
            *parts, *itertools.chain(*arrays, *slots), *self._params.values(),
            [part.get_config() for part in (model.loss, *model.layers)],
            [kernels.get_num_threads(), os.getpid()],
        ]  # fmt: skip

    def _is_as_recorded(self) -> bool:
        """Whether these are the same objects still, and equal descriptions."""
        parts = self._parts()
        return len(parts) == len(self._recorded) and all(
            part is other or (isinstance(part, list) and part == other)
            for part, other in zip(parts, self._recorded, strict=True)
        )

    def _play(self, steps: int, inputs: Inputs) -> None:
        super()._play(steps, inputs)
        self._model.optimizer.iterations += steps


class _StepsInOrder(_Steps):
    """Does something with one slice of the arrays after another, where they are."""

    def __init__(self, model: Any, batch_size: int, arrays: list[Array], may_record: bool) -> None:
        super().__init__(model, batch_size, may_record)
        self._arrays = arrays
        self._position = 0

    def _next_batch(self) -> slice:
        start = self._position
        self._position = min(start + self._batch_size, len(self._arrays[0]))
        return slice(start, self._position)

    def _whole_batches(self, most: int) -> tuple[int, Inputs]:
        steps = min(most, (len(self._arrays[0]) - self._position) // self._batch_size)
        starts = self._position + self._batch_size * np.arange(steps)
        self._position += steps * self._batch_size
        return steps, [(place, begin + stride * starts) for place, begin, stride in self._places]

    def _program_of(self, recording: Recording) -> Any:
        from tinynet.kernels.players import players_of

        weights = [array for layer in self._model.layers for array in layer.weights]
        return players_of(recording, [*self._arrays, *weights])

    def _record(self, batch: Batch) -> None:
        super()._record(batch)
        if self._program is not None:
            found = [self._program.places_of(part) for part in self._parts_used(batch)]
            self._may_record = all(found)
            self._places = [
                (place, array.ctypes.data, array.strides[0])
                for array, places in zip(self._arrays, found, strict=True)
                for place in places
            ]

    def _parts_used(self, batch: Batch) -> list[Array]:
        """For each of the arrays, what kernels had of it, or in its place, in the step recorded."""
        return [array[batch] for array in self._arrays]


class ScoringSteps(_StepsInOrder):
    """The steps of one evaluation: forward, loss, and the means so far."""

    def __init__(
        self, model: Any, score: Callable[..., None], data: Data, batch_size: int,
        running: Running, steps: int, watched: bool,
    ) -> None:  # fmt: skip
        super().__init__(
            model,
            batch_size,
            [array for array in data if array is not None],
            not watched and _can_be_recorded(model, data, steps) and _can_be_scored(model, running),
        )
        self._score = score
        self._running = running

    def _in_python(self, batch: Batch) -> None:
        x, y, *weights = (array[batch] for array in self._arrays)
        self._score(x, y, *weights)
        in_order()
        self._running.add(self._model.loss.losses, y, self._model.loss.prediction)


class PredictionSteps(_StepsInOrder):
    """The steps of one prediction: forward, from x to y."""

    def __init__(
        self, model: Any, x: Array, y: Array, batch_size: int, steps: int, watched: bool
    ) -> None:
        may_record = not watched and _can_be_recorded(model, (x, None, None), steps)
        super().__init__(model, batch_size, [x, y], may_record)

    def _in_python(self, batch: Batch) -> None:
        x, y = self._arrays
        self._result = self._model.forward(x[batch])
        y[batch] = self._result

    def _parts_used(self, batch: Batch) -> list[Array]:
        return [self._arrays[0][batch], self._result]


# --- what may be recorded ------------------------------------------------------------------------


def _can_be_recorded(model: Any, data: Any, steps: int) -> bool:
    """Whether playing the kernels of the model, on x and y, is the same as calling its methods."""
    x, y, weights = data
    return (
        not model.run_eagerly
        and kernels.all_compiled()
        and not _debugging()
        and steps >= _least_steps()
        and weights is None
        and x.flags.carray
        and (y is None or y.flags.carray)
        and _are_ours([model], _MODELS)
        and _are_ours(model.layers, _LAYERS)
    )


def _can_be_scored(model: Any, running: Running) -> bool:
    """The same for the loss and the metrics."""
    loss = model.loss
    return (
        _are_ours([loss], _LOSSES)
        and (loss.from_logits or model.scores_logits)
        and not getattr(loss, "label_smoothing", 0)
        and _are_ours(running.scores, _METRICS)
    )


def _least_steps() -> int:
    program = sys.modules.get("tinynet.kernels.program")
    is_warm = getattr(program, "is_warm", None)  # another thread may be importing the module
    return _LEAST_STEPS_NEXT if is_warm and is_warm() else _LEAST_STEPS


def _debugging() -> bool:
    """Whether somebody goes through the code line by line, and should find it running."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    tool = monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID)
    return sys.gettrace() is not None or tool is not None


def _are_ours(parts: Collection[Any], classes: Iterable[type]) -> bool:
    """Whether they are all of these classes, and all methods are still this library's."""
    kinds = {type(part) for part in parts}
    return (
        kinds.issubset(classes)
        and not any(map(_has_own_methods, parts))
        and all(_is_as_it_was(base) for base in {base for kind in kinds for base in kind.__mro__})
    )


def _has_own_methods(part: Any) -> bool:
    """Whether the object has a method of its class replaced by one of its own."""
    kind: Any = type(part)
    return not vars(part).keys().isdisjoint(_method_names(kind))


@cache
def _method_names(cls: type) -> frozenset[str]:
    return frozenset(name for name in dir(cls) if callable(getattr(cls, name, None)))


def _is_as_it_was(cls: type) -> bool:
    """Whether a class has the methods that it had when it was `_remember`ed."""
    now, before = vars(cls), _OURS[cls]
    return now == before or _methods(now) == _methods(before)


def _methods(defined: Mapping[str, Any]) -> dict[str, Any]:
    """What a class defines, but for data: Python itself adds some, such as ``__annotations__``."""
    return {key: value for key, value in defined.items() if callable(value) or key[:2] != "__"}
