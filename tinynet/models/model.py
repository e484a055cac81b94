"""Model: compile, fit, evaluate and predict over forward, backward and layers.

The training loop knows nothing of how layers are connected; a subclass, such as
`tinynet.models.Sequential`, says that in build, forward, backward and backward_params.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from tinynet import losses, optimizers, random
from tinynet.callbacks import Callback, CallbackList, History
from tinynet.display import constructor_call, own_arguments
from tinynet.errors import check_bool, check_int, check_keywords, received, unknown_name
from tinynet.layers.base import Array, Layer, Shape
from tinynet.metrics import MeanMetricWrapper, Metric, resolve
from tinynet.models import writing
from tinynet.models.data import (
    Batches,
    Labels,
    as_inputs,
    as_sample_weight,
    check_numeric,
    check_same_length,
    class_to_sample_weight,
    non_finite_samples,
    split_point,
)
from tinynet.models.interrupt import Interrupt, catch_interrupt
from tinynet.models.loop import Running, TrainingLoop
from tinynet.models.progress import Progress, check_verbose
from tinynet.models.steps import PredictionSteps, ScoringSteps, TrainingSteps
from tinynet.models.summary import say, summary_html, summary_text

Logs = dict[str, float]
Data = tuple[Array, Labels, Array | None]
Callbacks = Callback | Sequence[Callback] | None

Default = TypeVar("Default", int, None)

BATCH_SIZE = 32


class Model(Layer):
    """A network of layers, and itself a layer: it can stand inside another model.

    dtype: "float32", or "float64" to run the whole model in double precision.

    Attributes:
        layers: the layers, in order.
        params, grads, state: those of all layers, keyed "layer name/param name".
        loss, optimizer: what compile was given, as objects.
        history: the History of the last fit.
        stop_training: set to True, by a callback for example, it ends fit after the batch.
        loop: where the fit at hand is, a `tinynet.models.loop.TrainingLoop`; None outside of it.
    """

    layers: list[Layer]
    loss: losses.Loss
    optimizer: optimizers.Optimizer
    history: History

    @check_keywords
    def __init__(
        self, name: str | None = None, dtype: str = "float32", trainable: bool = True
    ) -> None:
        if isinstance(name, Layer):
            raise TypeError(
                f"{type(self).__name__} got a layer, {name!r}, for its name: models of inputs and "
                "outputs are not there; chain layers by Sequential([...])"
            )
        super().__init__(name=name, trainable=trainable)
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {received(dtype)}")
        self.dtype = dtype
        self.compiled = False
        self.run_eagerly = False
        self.stop_training = False
        self.loop: TrainingLoop | None = None  # the fit at hand
        self.layers = []

    # --- what a kind of model says about itself --------------------------------------------------

    def forward(self, x: Array, training: bool = False, logits: bool = False) -> Array:
        """The output for a batch x; with ``logits``, what goes into the last activation instead."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def inner_layers(self) -> list[Layer]:
        """The layers."""
        return getattr(self, "layers", [])

    # --- the weights of all layers ---------------------------------------------------------------

    def collect(self, kind: str) -> dict[str, Array]:
        """The params, grads or state of all layers, keyed "layer name/param name"."""
        return {
            f"{layer.name}/{key}": array
            for layer in self.layers
            for key, array in getattr(layer, kind).items()
        }

    @property
    def grads(self) -> dict[str, Array]:
        """The gradients of all params."""
        return self.collect("grads") if self._grads is None else self._grads

    @grads.setter
    def grads(self, grads: dict[str, Array]) -> None:
        self._grads = grads

    @property
    def trainable_params(self) -> dict[str, Array]:
        """The params that the optimizer changes."""
        return self.collect("trainable_params") if self.trainable else {}

    @property
    def weights(self) -> list[Array]:
        """The arrays themselves: layer by layer the params, then the state."""
        return [w for layer in self.layers for w in layer.weights]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer called ``name``, or the one at ``index``.

        Raises ValueError where there is none, or where both or neither are given.
        """
        if (name is None) == (index is None):
            raise ValueError(f"give name or index, one of them; got name={name!r}, index={index!r}")
        if index is not None:
            index = check_int("index", index)
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"{self.label} has {len(self.layers)} layers, got index {index}")
            return self.layers[index]
        by_name = {layer.name: layer for layer in self.layers}
        if name not in by_name:
            raise unknown_name("layer", name, by_name, taken="a name")
        return by_name[name]

    # --- files -----------------------------------------------------------------------------------

    @check_keywords
    def save(
        self,
        filepath: str | PathLike[str],
        overwrite: bool = True,
        *,
        include_optimizer: bool = True,
    ) -> None:
        """Write the model to a file, from which `tinynet.models.load_model` makes the same one.

        In it are the architecture, the weights, the state of layers and, where the model was
        compiled, the loss, the metrics and the optimizer with its slots and steps, so that
        training goes on exactly where it stopped. ``python -m tinynet.saving FILE`` shows what is
        in a file. Until the new file is whole, the old one stays.

        filepath: must end in ``.tinynet``.   overwrite: False raises FileExistsError where it is.
        include_optimizer: False leaves out what `compile` was given.

        Raises TypeError, before anything is written, where the model has parts that are not
        tinynet's own, since a file holds no code; ValueError where it has no weights yet, or for
        another ending; OSError where the file cannot be written.
        """
        writing.save_model(self, filepath, overwrite, include_optimizer=include_optimizer)

    @check_keywords
    def save_weights(self, filepath: str | PathLike[str], overwrite: bool = True) -> None:
        """Write the weights alone, by the names of their layers; see `load_weights`.

        filepath: must end in ``.tinynet``.   overwrite: False raises FileExistsError where it is.

        Raises ValueError where the model has no weights yet, or for another ending; OSError where
        the file cannot be written.
        """
        writing.save_weights(self, filepath, overwrite)

    @check_keywords
    def load_weights(self, filepath: str | PathLike[str], skip_mismatch: bool = False) -> None:
        """Take the weights from a file that `save_weights` or `save` wrote.

        Weights are matched by the names of layers and params. They are rounded, or widened, to the
        model's dtype.

        skip_mismatch: load what fits, and warn of what is missing, extra or of another shape,
            instead of raising.

        Raises a `tinynet.saving.ModelFileError`, before any weight is changed, for what is wrong
        with the file and for weights that do not fit; OSError where it cannot be read.
        """
        writing.load_weights(self, filepath, skip_mismatch)

    def check_saveable(self) -> None:
        """Raises TypeError where `save` would, for parts that are not tinynet's own."""
        writing.header_of(self, self.compiled)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture, without weights, for `tinynet.models.model_from_json`.

        kwargs: for json.dumps, such as ``indent=2``.

        Raises TypeError where the model has parts that are not tinynet's own.
        """
        return json.dumps(writing.plain(writing.describe_model(self), "the model"), **kwargs)

    def learn_shape(self) -> None:
        """Find out the shape of the inputs where it can be known by now."""

    # --- compile ---------------------------------------------------------------------------------

    @check_keywords
    def compile(
        self,
        optimizer: str | optimizers.Optimizer = "rmsprop",
        loss: str | losses.Loss | None = None,
        *,
        metrics: list[Any] | None = None,
        run_eagerly: bool = False,
    ) -> None:
        """Choose how to train: each by name or as an object.

        metrics: a list of names ("accuracy"), metrics, or functions of (y_true, y_pred).
        run_eagerly: run the Python code of layers, loss and optimizer for every batch. By default,
            where there are many batches and nothing but tinynet's own layers, loss, metrics and
            optimizer has a part in it, only the first ones and the last of an epoch do so; for the
            others the recorded calls of the kernels are played, with the same results. Files do
            not keep this.

        Raises ValueError or TypeError for unknown names and for what is neither.
        """
        if loss is None:
            raise ValueError(
                "compile() needs a loss, for example loss='sparse_categorical_crossentropy'"
            )
        chosen_optimizer, chosen_loss = optimizers.get(optimizer), losses.get(loss)
        resolve(metrics)
        run_eagerly = check_bool("run_eagerly", run_eagerly)
        self.optimizer, self.loss = chosen_optimizer, chosen_loss
        self._metrics = list(metrics or [])
        self.run_eagerly = run_eagerly
        self.compiled = True

    @property
    def metrics_given(self) -> list[Any]:
        """What `compile` was given as metrics."""
        return self._metrics

    def _require_compiled(self, caller: str) -> None:
        if not self.compiled:
            raise ValueError(
                f"{self.label}: call compile(optimizer, loss, metrics=[...]) before {caller}()"
            )

    @property
    def scores_logits(self) -> bool:
        """Whether the loss takes the logits of the model's last activation, as the pair.

        Softmax and cross-entropy together are simpler and more accurate than one after the other:
        no logarithm of a rounded probability, and the gradient is probability minus truth.
        """
        paired = self.loss.paired_activation
        return paired is not None and paired == self.output_activation and not self.loss.from_logits

    # --- fit -------------------------------------------------------------------------------------

    @check_keywords
    def fit(
        self,
        x: ArrayLike | None = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Collection[int] = 1,
    ) -> History:
        """Train on x and y for ``epochs`` passes; returns the History of losses and metrics.

        x: (n, ...), converted once to the model's dtype.   y: (n, ...), as the loss takes it.
        batch_size: samples for each step, 32 by default; the last batch of a pass may be smaller.
        verbose: 0 silent, 1 a progress bar where somebody watches and else a line for each epoch,
            2 the line; "auto" is 1.
        callbacks: Callback objects.
        validation_split: this share of the samples, the last ones, is kept for validation.
        validation_data: (x, y) or (x, y, sample_weight), used instead of validation_split.
        shuffle: whether each pass takes the samples in a new random order.
        class_weight: how much the loss of a sample of a class counts: {class index: weight}.
        sample_weight: how much each sample's loss counts, (n,); the sum is divided by n all the
            same.
        initial_epoch: where to go on counting; ``epochs`` is the number of the last one.
        steps_per_epoch: batches for each epoch, by default those of one pass; the next epoch goes
            on where this one ended, and a pass that ends within an epoch is followed by another.
        validation_steps: batches to validate on, by default all.
        validation_batch_size: by default batch_size.
        validation_freq: validate every so many epochs, or after those listed, counted from 1.

        The loss and metrics of an epoch are means over its samples, taken while the weights move.
        Ctrl-C ends training after the batch at hand; the model keeps what it has learned, and the
        history the epochs that were finished.

        Raises ValueError or TypeError where anything does not fit, before any weight changes.
        """
        self._require_compiled("fit")
        if x is None or y is None:
            raise ValueError("fit() needs x and y, two arrays with one entry for each sample")
        batch_size = _at_least_1("batch_size", batch_size, BATCH_SIZE)
        epochs = check_int("epochs", epochs, 1)
        initial_epoch = check_int("initial_epoch", initial_epoch, 0)
        verbose = check_verbose(verbose)
        if not isinstance(shuffle, bool | np.bool_):
            raise TypeError(f"shuffle must be True or False, got {received(shuffle)}")
        steps_per_epoch = _at_least_1("steps_per_epoch", steps_per_epoch, None)
        validation_steps = _at_least_1("validation_steps", validation_steps, None)
        validation_batch = _at_least_1("validation_batch_size", validation_batch_size, batch_size)
        validates = _validation_epochs(validation_freq)
        train, validation = self._split_data(
            self._check_data(x, y, sample_weight), validation_data, validation_split, class_weight
        )
        if validation is None and (validation_steps is not None or validation_freq != 1):
            raise ValueError(
                "validation_steps and validation_freq need something to validate on; "
                "give validation_data or validation_split"
            )
        samples = len(train[0])
        scores = self._metrics_for(train[1], train[0].shape[1:])
        steps = steps_per_epoch or _steps(samples, batch_size, None)
        listeners = CallbackList(
            callbacks, self, {"verbose": verbose, "epochs": epochs, "steps": steps}
        )
        self._build_for(train[0])
        batches = Batches(samples, batch_size, bool(shuffle), random.generator())
        if listeners.needs_finite_input:
            _check_finite(train[0], batches, steps, initial_epoch)

        self.stop_training = False
        loop = TrainingLoop(
            self, listeners.callbacks, _named_data(train, validation), batches, scores,
            initial_epoch, steps,
        )  # fmt: skip
        ahead = (epochs - initial_epoch) * steps
        train_steps = TrainingSteps(self, self._train_step, train, batches, loop.running, ahead)
        logs: Logs = {}
        epoch = initial_epoch
        with catch_interrupt() as interrupt, self._within(loop):
            listeners.on_train_begin()
            try:
                # An epoch that was begun, and stopped, before a crash is brought to its end too.
                while loop.epoch < epochs and (loop.step or not self.stop_training):
                    epoch = loop.epoch
                    if not loop.step:  # and not in the middle of an epoch, after a crash
                        loop.running.reset()
                        listeners.on_epoch_begin(epoch)
                    with Progress(f"Epoch {epoch + 1}/{epochs}", steps, verbose) as progress:
                        logs = self._train_epoch(
                            train_steps, loop, steps, listeners, progress, interrupt
                        )
                        if interrupt.requested:
                            break
                        if validation is not None and validates(epoch + 1):
                            results = self._test(
                                validation, validation_batch, validation_steps, listeners
                            )
                            logs |= {f"val_{name}": value for name, value in results.items()}
                        progress.finish(logs)
                    logs = dict(sorted(logs.items()))
                    loop.epoch, loop.step = epoch + 1, 0
                    listeners.on_epoch_end(epoch, logs)
                    if interrupt.requested:
                        break
                loop.completed = not interrupt.requested
                if interrupt.requested and verbose:
                    print(f"Interrupted in epoch {epoch + 1}; the model keeps what it has learned.")
            finally:
                listeners.on_train_end(logs)
        return self.history

    @contextmanager
    def _within(self, loop: TrainingLoop) -> Iterator[None]:
        """Let callbacks find the loop, and let go of the data of its last batch in the end."""
        self.loop = loop
        try:
            yield
        finally:
            self.loop = None
            self.forget()
            self.loss.forget()

    def _split_data(
        self,
        data: Data,
        validation_data: Any,
        validation_split: float,
        class_weight: Mapping[int, float] | None,
    ) -> tuple[Data, Data | None]:
        """What to train on, and what to validate on, if anything."""
        train, validation = data, None
        point = split_point(len(data[0]), validation_split)
        if validation_data is not None:
            try:
                validation = self._check_data(*_unpack_validation(validation_data))
            except (TypeError, ValueError) as error:
                error.add_note("This is about validation_data.")
                raise
        elif point < len(data[0]):
            train, validation = _part(data, slice(point)), _part(data, slice(point, None))
        return self._weigh_classes(train, class_weight), validation

    def _weigh_classes(self, data: Data, class_weight: Mapping[int, float] | None) -> Data:
        x, y, weights = data
        if class_weight is None:
            return data
        if weights is not None:
            raise ValueError("give class_weight or sample_weight, not both")
        return x, y, class_to_sample_weight(class_weight, y, self.dtype)

    def _train_epoch(
        self,
        train: TrainingSteps,
        loop: TrainingLoop,
        steps: int,
        listeners: CallbackList,
        progress: Progress,
        interrupt: Interrupt,
    ) -> Logs:
        """One epoch, or what is left of it: the means of loss and metrics."""
        running = loop.running
        hooks = listeners.wants_train_batches
        train.begin_epoch(watched=hooks)
        while loop.step < steps:
            if loop.step and (self.stop_training or interrupt.requested):
                break
            if hooks:
                listeners.on_train_batch_begin(loop.step)
            made = train.advance(steps - loop.step)
            progress.step(running.logs, made)
            loop.step += made
            if hooks:
                listeners.on_train_batch_end(loop.step - 1, running.logs())
        return running.logs()

    def _train_step(
        self, x: Array, y: Labels, weights: Array | None, params: Mapping[str, Array]
    ) -> None:
        """Forward, loss, backward, update.

        This is all that training is; the rest of this file feeds it.
        """
        self._score(x, y, weights, training=True)
        self.backward_params(self.loss.backward())
        self.optimizer.apply(params, self.grads)

    def _score(
        self, x: Array, y: Labels, weights: Array | None = None, training: bool = False
    ) -> None:
        """Forward and loss, which then has ``losses`` and ``prediction``."""
        logits = self.scores_logits
        y_pred = self.forward(x, training=training, logits=logits)
        self.loss.compute(y, y_pred, weights, from_logits=logits or None)

    # --- evaluate and predict --------------------------------------------------------------------

    @check_keywords
    def evaluate(
        self,
        x: ArrayLike | None = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
    ) -> float | list[float] | Logs:
        """The loss and metrics on x and y, in inference mode.

        Returns ``[loss, metric, ...]``, the loss alone where there are no metrics, or a dict of
        all by name with ``return_dict``. The arguments are those of `fit`.

        Raises ValueError or TypeError where anything does not fit.
        """
        self._require_compiled("evaluate")
        self._require_built("evaluate")
        if x is None or y is None:
            raise ValueError("evaluate() needs x and y, two arrays with one entry for each sample")
        batch_size = _at_least_1("batch_size", batch_size, BATCH_SIZE)
        steps = _at_least_1("steps", steps, None)
        verbose = check_verbose(verbose)
        data = self._check_data(x, y, sample_weight)
        total = _steps(len(data[0]), batch_size, steps)
        listeners = CallbackList(callbacks, self, {"verbose": verbose, "epochs": 1, "steps": total})
        with Progress("Evaluate", total, verbose) as progress:
            logs = self._test(data, batch_size, steps, listeners, progress)
            progress.finish(logs)
        return _as_results(logs, return_dict)

    def _test(
        self,
        data: Data,
        batch_size: int,
        steps: int | None,
        listeners: CallbackList,
        progress: Progress | None = None,
    ) -> Logs:
        """The means of loss and metrics over ``data``, loss first."""
        x, y, _ = data
        running = Running(self._metrics_for(y, x.shape[1:]))
        total = _steps(len(x), batch_size, steps)
        listeners.on_test_begin()
        hooks = listeners.wants_test_batches
        score = ScoringSteps(self, self._score, data, batch_size, running, total, watched=hooks)
        step = 0
        while step < total:
            if hooks:
                listeners.on_test_batch_begin(step)
            made = score.advance(total - step)
            if progress is not None:
                progress.step(running.logs, made)
            step += made
            if hooks:
                listeners.on_test_batch_end(step - 1, running.logs())
        logs = running.logs()
        listeners.on_test_end(logs)
        return logs

    @check_keywords
    def predict(
        self,
        x: ArrayLike,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Callbacks = None,
    ) -> Array:
        """The model's output for x (n, ...), in inference mode: a new array of the model's dtype.

        Raises ValueError or TypeError where x does not fit, or before the model knows its input's
        shape.
        """
        self._require_built("predict")
        batch_size = _at_least_1("batch_size", batch_size, BATCH_SIZE)
        steps = _at_least_1("steps", steps, None)
        verbose = check_verbose(verbose)
        x = self.check_input(as_inputs(x, self.dtype))
        total = _steps(len(x), batch_size, steps)
        listeners = CallbackList(callbacks, self, {"verbose": verbose, "epochs": 1, "steps": total})
        y = np.empty((min(len(x), total * batch_size), *self._built_shape), self.dtype)
        listeners.on_predict_begin()
        hooks = listeners.wants_predict_batches
        forward = PredictionSteps(self, x, y, batch_size, total, watched=hooks)
        with Progress("Predict", total, verbose, line=False) as progress:
            step = 0
            while step < total:
                if hooks:
                    listeners.on_predict_batch_begin(step)
                made = forward.advance(total - step)
                progress.step(dict, made)
                step += made
                if hooks:
                    batch = slice((step - 1) * batch_size, step * batch_size)
                    listeners.on_predict_batch_end(step - 1, {"outputs": y[batch]})
            progress.finish({})
        listeners.on_predict_end()
        return y

    # --- one batch at a time ---------------------------------------------------------------------

    @check_keywords
    def train_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | Logs:
        """One step of training on one batch; returns its loss and metrics, as `evaluate` does.

        Raises ValueError or TypeError where anything does not fit, before any weight changes.
        """
        self._require_compiled("train_on_batch")
        data = self._check_data(x, y, sample_weight)
        x, y, weights = self._weigh_classes(data, class_weight)
        running = Running(self._metrics_for(y, x.shape[1:]))
        self._build_for(x)
        self._train_step(x, y, weights, self.trainable_params)
        running.add(self.loss.losses, y, self.loss.prediction)
        return _as_results(running.logs(), return_dict)

    @check_keywords
    def test_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | Logs:
        """The loss and metrics on one batch, as `evaluate` returns them."""
        samples = len(check_numeric("x", x))
        return self.evaluate(x, y, samples, 0, sample_weight, return_dict=return_dict)

    @check_keywords
    def predict_on_batch(self, x: ArrayLike) -> Array:
        """The output for one batch, as `predict` returns it."""
        return self.predict(x, len(check_numeric("x", x)), 0)

    # --- summary ---------------------------------------------------------------------------------

    @check_keywords
    def summary(
        self,
        line_length: int | None = None,
        *,
        print_fn: Callable[[str], object] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = True,
    ) -> None:
        """Print what the layers give, hold and take: a table, and totals below it.

        Output Shape: with the batch axis, None.
        Param #: how many numbers the layer holds, state included, and the memory that they take.
        Trainable: whether the optimizer changes the params.
        Multiply-adds: products of a weight and an input that forward adds up for one sample, as
            the layer says in `Layer.multiply_adds`.
        "?" is what is not known: before the shape of the inputs is, or of a layer that does not
        say.

        line_length: the most columns that a line takes, by default 80; longer names and shapes go
            on in the next line of their cell.
        print_fn: called once with the whole text, instead of print.
        expand_nested: show the layers of models in the model too.
        show_trainable: False leaves the column out, as Keras does by default.

        Raises ValueError where ``line_length`` is too small for the table.
        """
        expand_nested = check_bool("expand_nested", expand_nested)
        show_trainable = check_bool("show_trainable", show_trainable)
        text = summary_text(self, line_length, expand_nested, show_trainable)
        (print_fn or say)(text)

    def __repr__(self) -> str:
        return constructor_call(type(self), self._arguments(), width=80)

    def _arguments(self) -> dict[str, Any]:
        """The arguments that make a model like this one, of the same layers."""
        return {"name": self.name, **own_arguments(self)}

    def _repr_html_(self) -> str:
        """What a notebook shows: the summary."""
        return summary_html(self)

    # --- the door --------------------------------------------------------------------------------

    def _check_data(self, x: Any, y: Any, sample_weight: Any = None) -> Data:
        """x, y and weights, checked against each other, the model and the loss, and converted."""
        x, y = as_inputs(x, self.dtype), check_numeric("y", y)
        if self.built:
            self.check_input(x)
        expected = self.output_shape(x.shape[1:])
        check_same_length(x=x, y=y)
        y = self.loss.check(y, expected, self.dtype)
        return x, y, as_sample_weight(sample_weight, len(x), self.dtype)

    def _metrics_for(self, y: Labels, input_shape: Shape) -> list[Metric]:
        output_shape = self.output_shape(input_shape)
        scores = resolve(self._metrics, y.shape, output_shape)
        for score in scores:
            # One that does not fit is found now, not when the first step has been made. A function
            # of the caller's is not tried out: it may do more than look.
            if not isinstance(score, MeanMetricWrapper):
                try:
                    score.update_state(y[:1], np.zeros((1, *output_shape), self.dtype))
                except ValueError as error:
                    raise ValueError(
                        f"the metric {score.name!r} does not fit: {error}; "
                        "metrics=['accuracy'] takes the accuracy that fits"
                    ) from None
        return scores

    def _build_for(self, x: Array) -> None:
        if not self.built:
            self.build(x.shape[1:], random.generator())

    def _require_built(self, caller: str) -> None:
        self.learn_shape()
        if not self.built:
            raise ValueError(
                f"{self.label} does not know its input's shape and has no weights yet, so "
                f"{caller}() would return noise; begin it with Input(shape), or call fit() first"
            )


def _as_results(logs: Logs, return_dict: bool) -> float | list[float] | Logs:
    """A dict sorted by name, a list with the loss first, or the loss alone."""
    if return_dict:
        return dict(sorted(logs.items()))
    values = list(logs.values())
    return values if len(values) > 1 else values[0]


def _named_data(train: Data, validation: Data | None) -> dict[str, Any]:
    names = "x", "y", "sample_weight"
    found = dict(zip(names, train, strict=True))
    for name, array in zip(names, validation or (None, None, None), strict=True):
        found[f"validation {name}"] = array
    return found


def _part(data: Data, part: slice) -> Data:
    x, y, weights = data
    return x[part], y[part], None if weights is None else weights[part]


def _at_least_1(name: str, value: int | None, default: Default) -> int | Default:
    return default if value is None else check_int(name, value, 1)


def _steps(samples: int, batch_size: int, steps: int | None) -> int:
    available = -(-samples // batch_size)
    return available if steps is None else min(steps, available)


def _unpack_validation(validation_data: Any) -> tuple[Any, ...]:
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise ValueError(
            "validation_data must be (x, y) or (x, y, sample_weight), "
            f"got {type(validation_data).__name__}"
        )
    x, y, *weights = validation_data
    return x, y, weights[0] if weights else None


def _validation_epochs(validation_freq: int | Collection[int]) -> Callable[[int], bool]:
    """Whether to validate after an epoch, counted from 1."""
    if isinstance(validation_freq, Collection):
        epochs = {check_int("validation_freq", epoch, 1) for epoch in validation_freq}
        return epochs.__contains__
    every = check_int("validation_freq", validation_freq, 1)
    return lambda epoch: epoch % every == 0


def _check_finite(x: Array, batches: Batches, steps: int, initial_epoch: int) -> None:
    """Raises ValueError for a NaN or infinity in x, naming where training would meet it first."""
    bad = non_finite_samples(x)
    if len(bad):
        sample, batch = batches.first_position(bad)
        index = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(x[sample])))
        raise ValueError(
            f"x must be finite, got {x[sample][index]} at index {(sample, *index)}, which would be "
            f"trained on in epoch {initial_epoch + batch // steps + 1}, batch {batch % steps + 1}; "
            f"{len(bad)} of {len(x)} samples hold NaN or infinity: remove or mend them"
        )
