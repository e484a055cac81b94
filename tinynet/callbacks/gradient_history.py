"""A callback that records how signals and gradients flow through the layers."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from tinynet.callbacks.base import Callback, Logs
from tinynet.errors import check_int, check_keywords
from tinynet.layers.base import Array, Layer
from tinynet.layers.watch import leaf_layers, watched

MEASURES = ("activation", "gradient", "update", "dead")


class GradientHistory(Callback):
    """Record, while training, how signals and gradients flow through each layer.

    every: record every so many batches, from the first on; by default the first of each epoch.

    steps: the batches recorded, counted from 1 over the whole training.
    history: ``history[measure][layer name]`` is a list with a number for each of these steps:

    - "activation": the root mean square of the layer's output (of the last layer, that of what
      goes into a softmax that the loss takes care of);
    - "gradient": the root mean square of the gradients of its weights;
    - "update": how far the step moved the weights, ``norm(after - before) / norm(before)``; about
      0.001 is a healthy pace (Karpathy, CS231n, "Neural Networks Part 3");
    - "dead": of the units (channels) that end in a relu, the share that gave 0 for all the batch.

    NaN stands where a layer has no such measure. `tinynet.plotting.gradient_history` draws it all.

    A batch that is recorded takes longer, in a small network twice as long; one that is not takes
    no time. A GradientHistory that is passed to several calls of `fit` on one model goes on where
    it ended.
    """

    @check_keywords
    def __init__(self, every: int | None = None) -> None:
        self.every = None if every is None else check_int("every", every, minimum=1)
        self._start_anew()

    def _start_anew(self) -> None:
        self.steps: list[int] = []
        self.history: dict[str, dict[str, list[float]]] = {measure: {} for measure in MEASURES}
        self._batches = 0  # trained on so far
        self._layers: dict[str, Layer] = {}
        self._seen: dict[str, dict[str, float]] = {}
        self._before: dict[str, dict[str, Array]] = {}
        self._watch = ExitStack()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look up the model's layers; where they are not those of before, start anew."""
        layers = leaf_layers(self.model)
        if list(layers.items()) != list(self._layers.items()):
            self._start_anew()
        self._layers = layers
        for of_layers in self.history.values():
            for name in layers:
                of_layers.setdefault(name, [])

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch that is recorded: keep the weights, and watch what the layers give."""
        due = batch == 0 if self.every is None else self._batches % self.every == 0
        self._batches += 1
        if due:
            self._seen = {}
            self._before = {
                name: {key: w.copy() for key, w in layer.trainable_params.items()}
                for name, layer in self._layers.items()
            }
            self._watch.enter_context(watched(self._layers, self._see))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch that is recorded: measure."""
        if not self._before:
            return
        self._watch.close()
        before, self._before = self._before, {}
        self.steps.append(self._batches)
        for name, layer in self._layers.items():
            grads = [layer.grads[key] for key in before[name]]
            measured = self._seen.get(name, {}) | {
                "gradient": rms(*grads),
                "update": update_ratio(before[name], layer.params),
            }
            for measure in MEASURES:
                self.history[measure][name].append(measured.get(measure, math.nan))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the layers alone, also where a batch came to no end."""
        self._watch.close()
        self._before = {}

    def _see(self, name: str, y: Array) -> None:
        self._seen[name] = {"activation": rms(y), "dead": dead_share(self._layers[name], y)}

    def get_state(self) -> dict[str, Any]:
        """All that was recorded."""
        return {"steps": self.steps, "history": self.history, "batches": self._batches}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from this record."""
        self.steps, self.history = state["steps"], state["history"]
        self._batches = state["batches"]


def rms(*arrays: Array) -> float:
    """The root mean square over all entries of the arrays; NaN where there are none."""
    count = sum(array.size for array in arrays)
    if not count:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore"):  # a training that explodes is drawn too
        total = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return math.sqrt(total / count)


def update_ratio(before: Mapping[str, Array], after: Mapping[str, Array]) -> float:
    """``norm(after - before) / norm(before)`` over the weights in ``before``; NaN without any."""
    if not before:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore"):
        moved, size = rms(*(after[key] - w for key, w in before.items())), rms(*before.values())
    return moved / size if size else math.inf


def dead_share(layer: Layer, y: Array) -> float:
    """The share of a relu's units that are 0 for all of a batch; NaN where there is no relu.

    y (n, ..., units): a channel of an image is dead where it is 0 everywhere.
    """
    if layer.output_activation != "relu" or y.ndim < 2:
        return math.nan
    return float((y.reshape(-1, y.shape[-1]) <= 0).all(axis=0).mean())
