"""What fit, evaluate and predict do with one batch after another: in Python, then from a recording.

The first batch is done in Python, and so is the second, of which the kernels are recorded. For the
others of that size the recording is played (see `tinynet.kernels.recording`), where that is known
to be the same: where all work is left to kernels, and nobody of the caller's has a part in it.
Everything else is done in Python as before, and so is everything after
``compile(run_eagerly=True)``, or under a debugger.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet import kernels, layers, losses, metrics, optimizers
from tinynet.kernels.recording import record
from tinynet.layers.base import Array, Layer, Weightless
from tinynet.metrics import Metric
from tinynet.models.data import Labels, take

Batch = slice | NDArray[np.intp]
Result = tuple[float, Labels, Array]  # of a step: the loss, the labels, and what was predicted

# Classes that leave all work of a step to kernels; one derived from them may do anything.
_LAYERS = (
    layers.Dense, layers.Dropout, layers.Flatten, layers.LeakyReLU, layers.ReLU, layers.Reshape,
    layers.Sigmoid, layers.Softmax,
)  # fmt: skip
_LOSSES = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy
_OPTIMIZERS = optimizers.SGD, optimizers.Adam

# They, as they are written; somebody who wants to look at them may replace a method.
_WRITTEN = {
    cls: dict(vars(cls))
    for cls in (
        Layer, Weightless, losses.Loss, optimizers.Optimizer, *_LAYERS, *_LOSSES, *_OPTIMIZERS
    )
}  # fmt: skip

# So many steps make up for compiling what playing needs; once it is there, some do.
_WORTH = 1000
_WORTH_NEXT = 32


class _Steps:
    """Does something with each batch."""

    def __init__(self, model: Any, steps: int) -> None:
        self._model = model
        self._size = 0  # of the first batch
        self._steps = steps
        self._program: Any = None
        self._may_record = False

    def __call__(self, batch: Batch) -> Any:
        """What comes out for this batch. The next call may write to the same arrays."""
        size = batch.stop - batch.start if isinstance(batch, slice) else len(batch)
        if size != self._size or not self._may_record:
            self._size = self._size or size
            return self._in_python(batch)
        if self._program is None:
            return self._record(batch)
        return self._play(batch)

    def _record(self, batch: Batch) -> Any:
        from tinynet.kernels.program import program_of

        with record() as recording:
            result = self._in_python(batch)
        self._program = program_of(recording)
        self._may_record = self._program is not None
        return result

    def _in_python(self, batch: Batch) -> Any:
        raise NotImplementedError

    def _play(self, batch: Batch) -> Any:
        raise NotImplementedError


class TrainingSteps(_Steps):
    """The steps of one fit, on x, y and sample weights: forward, loss, backward, update.

    train: `Model` 's way to make one step.   steps: about how many there will be.
    """

    def __init__(
        self,
        model: Any,
        train: Callable[..., tuple[float, Array]],
        data: tuple[Array, Labels, Array | None],
        scores: list[Metric],
        steps: int,
    ) -> None:
        super().__init__(model, steps)
        self._train = train
        self._data = data
        self._scores = scores
        self._parts: list[Any] = []

    def begin_epoch(self, watched: bool) -> None:
        """Look at the model anew: between epochs, a callback may have changed anything.

        watched: whether a callback wants to know of each batch.
        """
        model = self._model
        self._params = model.trainable_params
        self._may_record = (
            not watched
            and self._data[2] is None
            and can_be_recorded(model, self._steps, *self._data[:2])
            and can_be_scored(model, self._scores)
            and _is_written(model.optimizer, _OPTIMIZERS)
        )
        parts = [*_parts(model), model.optimizer, *self._params.values()]
        if not _are_same(parts, self._parts):
            self._program, self._parts = None, parts

    def _in_python(self, batch: Batch) -> Result:
        x, y, weights = self._data
        y_batch = take(y, batch)
        w_batch = None if weights is None else take(weights, batch)
        loss, prediction = self._train(take(x, batch), y_batch, w_batch, self._params)
        return loss, y_batch, prediction

    def _record(self, batch: Batch) -> Result:
        self._indices = _indices(batch)
        loss, self._y_batch, self._prediction = super()._record(self._indices)
        self._losses = self._model.loss.losses
        return loss, self._y_batch, self._prediction

    def _play(self, batch: Batch) -> Result:
        self._indices[:] = _indices(batch)
        self._program.play()
        self._model.optimizer.iterations += 1
        return self._model.loss.mean(self._losses), self._y_batch, self._prediction


def _indices(batch: Batch) -> NDArray[np.intp]:
    return np.arange(batch.start, batch.stop) if isinstance(batch, slice) else batch


# --- what may be recorded ------------------------------------------------------------------------


def can_be_recorded(model: Any, steps: int, *data: Array) -> bool:
    """Whether playing the kernels of model.forward, and backward, is the same as calling them."""
    return (
        not model.run_eagerly
        and kernels.all_compiled()
        and not _debugging()
        and steps >= _worth()
        and all(array.flags.carray for array in data)
        and type(model) is _sequential()
        and not _has_own_methods(model)
        and all(_is_written(layer, _LAYERS) for layer in model.layers)
    )


def can_be_scored(model: Any, scores: list[Metric]) -> bool:
    """The same for the loss; and no metric is the caller's own, which may keep the arrays."""
    loss = model.loss
    return (
        _is_written(loss, _LOSSES)
        and (loss.from_logits or model.scores_logits)
        and not getattr(loss, "label_smoothing", 0)
        and all(type(score).__module__ == metrics.__name__ for score in scores)
        and not any(isinstance(score, metrics.MeanMetricWrapper) for score in scores)
    )


def _worth() -> int:
    program = sys.modules.get("tinynet.kernels.program")
    return _WORTH_NEXT if program and program.has_played() else _WORTH


def _debugging() -> bool:
    """Whether somebody goes through the code line by line, and should find it running."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    tool = monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID)
    return sys.gettrace() is not None or tool is not None


def _is_written(part: Any, classes: tuple[type, ...]) -> bool:
    """Whether it is of one of these classes, all of whose methods are those in this library."""
    return (
        type(part) in classes
        and not _has_own_methods(part)
        and all(dict(vars(cls)) == _WRITTEN.get(cls, vars(cls)) for cls in type(part).__mro__)
    )


def _has_own_methods(part: Any) -> bool:
    """Whether the object has a method of its class replaced by one of its own."""
    return any(callable(getattr(type(part), name, None)) for name in vars(part))


def _sequential() -> type:
    from tinynet.models.sequential import Sequential  # which is made of this

    return Sequential


def _parts(model: Any) -> list[Any]:
    """What the calls of the kernels follow from: the same parts, the same calls."""
    parts = [model.loss, *model.layers]
    return [*parts, *(part.get_config() for part in parts)]


def _are_same(parts: list[Any], others: list[Any]) -> bool:
    """Whether they are the same objects, or equal descriptions."""
    return len(parts) == len(others) and all(
        part is other or (isinstance(part, dict) and part == other)
        for part, other in zip(parts, others, strict=True)
    )
