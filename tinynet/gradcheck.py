"""Is a gradient right? `check_layer` and `check_model` compare backward with forward itself.

Each entry w of an array is moved by h to either side and the loss computed anew, in float64:
``numeric = (loss(w + h) - loss(w - h)) / 2h``, against ``analytic``, what backward says.
``error = |analytic - numeric| / max(|analytic|, |numeric|, 0.001)``; the 0.001 keeps rounding,
about 1e-10, from looking like an error. A layer's loss is ``sum(dy * y)`` for a random dy: with
ones, a softmax whose gradient is wrong would pass, as its outputs add up to 1 whatever x is.
At a kink (relu at 0, a tie in max pooling) there is no gradient: an entry that fails where the
slopes to the left and to the right differ about as much is counted as a kink, not as an error.
"""

import copy
from collections import namedtuple
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinynet import losses, random
from tinynet.errors import check_int, received
from tinynet.layers.base import Array, Layer, Shape, check_shape
from tinynet.models import Model
from tinynet.models.progress import Progress, check_verbose
from tinynet.models.summary import table

STEP, TOLERANCE = 1e-5, 1e-5  # h: rounding / h and curvature * h**2 both come to about 1e-10
Row = namedtuple("Row", "array shape checked kinks error index analytic numeric")


class Report(NamedTuple):
    """What was found: a table and a verdict. In a test, ``assert report.ok, str(report)``."""

    subject: str
    rows: list[Row]  # for each array, its worst entry that is not at a kink
    problems: list[str]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        cells = [[f"{v:.5g}" if isinstance(v, float) else str(v) for v in row] for row in self.rows]
        verdict = [f"WRONG: {problem}" for problem in self.problems] or ["The gradient is right."]
        return "\n".join([self.subject, table(Row._fields, cells), *verdict])


def check_layer(
    layer: Layer,
    input_shape: Shape,
    *,
    x: Any = None,
    entries: int = 100,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Report:
    """Check the gradients of x and all params of a layer, your own too, and its contract.

    A copy is checked, in float64, with noise on its params, as a gamma of 1 can hide an error.
    input_shape: of one sample.   x: the batch to check at, by default three random samples.
    entries: how many of each array to move, chosen at random where it has more.
    verbose: 0 silent; "auto" and 1 a bar where somebody watches for more than a second; 2 a line.
    """
    shape, rng = check_shape("input_shape", input_shape), np.random.default_rng(seed)
    layer = _prepare(layer, shape, rng)
    x = rng.standard_normal((3, *shape)) if x is None else np.array(x, np.float64)
    dy = rng.standard_normal((len(x), *layer.output_shape(shape)))
    moved, score = {"x": x, **layer.params}, partial(np.vdot, dy)
    return _check(layer, x, moved, score, dy.copy, entries, rng, check_verbose(verbose))


def check_model(
    model: Model,
    x: Any,
    y: Any,
    loss: Any,
    *,
    entries: int = 20,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Report:
    """Check the gradients of ``loss(y, model(x))`` for all params; a few samples are enough.

    entries, seed, verbose: as for `check_layer`.
    """
    x, loss, rng = np.array(x, np.float64), losses.get(loss), np.random.default_rng(seed)
    model = _prepare(model, x.shape[1:], rng)
    score = partial(loss.forward, y)
    return _check(
        model, x, model.params, score, loss.backward, entries, rng, check_verbose(verbose)
    )


def _prepare(layer: Any, shape: Shape, rng: np.random.Generator) -> Any:
    if not isinstance(layer, Layer):
        raise TypeError(f"expected a layer, such as layers.Dense(10), got {received(layer)}")
    layer = copy.deepcopy(layer)
    _to_double(layer)
    if not layer.built:
        layer.build(shape, *rng.spawn(1))  # which a dropout then keeps
        _to_double(layer)  # for a build that knows nothing of dtypes
    for array in layer.params.values():
        array += 0.05 * rng.standard_normal(array.shape)
    return layer


def _to_double(layer: Any) -> None:
    layer.dtype = "float64"
    if getattr(layer, "rng", None) is random.generator():  # shared, so that no copy has its own
        layer.rng = np.random.default_rng(0)
    for part in layer.layers if isinstance(layer, Model) else ():
        _to_double(part)
    for kind in ("params", "grads", "state"):
        arrays = layer.collect(kind) if isinstance(layer, Model) else getattr(layer, kind)
        setattr(layer, kind, {name: np.asarray(a, np.float64) for name, a in arrays.items()})


def _check(
    layer: Any,
    x: Array,
    moved: dict[str, Array],
    score: Any,
    gradient: Any,
    entries: int,
    rng: Any,
    verbose: int,
) -> Report:
    def run() -> Any:
        # In a copy, so that dropout draws the same noise each time and moving averages stay put.
        used, given = copy.deepcopy((layer, x))
        return used, given, used.forward(given, training=True)

    used, given, y = run()
    expected = {"y": f"float64 {(len(x), *layer.output_shape(x.shape[1:]))}"}
    if _kinds({"y": y}) != expected:
        return Report(repr(layer), [], [f"forward must give {expected}, got {_kinds({'y': y})}"])
    score(y)
    dy, passed = gradient(), gradient()
    found = copy.deepcopy({"x": used.backward(passed), **used.grads})
    if _kinds(found) != (expected := _kinds({"x": x, **layer.params})):
        return Report(repr(layer), [], [f"backward must give {expected}, got {_kinds(found)}"])
    again = {"x": used.backward(gradient()), **used.grads}
    pairs = {f"a second backward adds to the gradient of {k}": (found[k], again[k]) for k in found}
    pairs["forward is random: draw from a Generator that the layer keeps"] = y, run()[2]
    pairs |= {"x is written to": (given, x), "dy is written to": (passed, dy)}
    problems = [text for text, pair in pairs.items() if not np.array_equal(*pair, equal_nan=True)]
    most = check_int("entries", entries, 1)
    chosen = {name: rng.permutation(array.size)[:most] for name, array in moved.items()}
    steps, rows = sum(map(len, chosen.values())), list[Row]()
    with Progress(f"Check {layer.label}", steps, verbose, line=False, delay=1.0) as progress:
        for name, array in moved.items():
            at, loss = chosen[name], lambda: score(run()[2])
            rows.append(_compare(name, array, found[name], at, loss, progress))
        progress.finish({})
    problems += [f"the gradient of {r.array} is wrong" for r in rows if r.error > TOLERANCE]
    problems += [f"{r.array} is nearly all kinks: move x" for r in rows if 2 * r.kinks > r.checked]
    return Report(repr(layer), rows, problems)


def _compare(
    name: str, array: Array, analytic: Array, chosen: Any, loss: Any, progress: Progress
) -> Row:
    slopes, middle = np.empty((2, len(chosen))), loss()
    for i, entry in enumerate(chosen):
        value = array.flat[entry]
        for side, step in enumerate((-STEP, STEP)):
            array.flat[entry] = value + step
            slopes[side, i] = (loss() - middle) / step
        array.flat[entry] = value
        progress.step()
    said, numeric = np.ravel(analytic)[chosen], slopes.mean(axis=0)
    error = (gap := np.abs(said - numeric)) / np.maximum(1e-3, np.maximum(abs(said), abs(numeric)))
    kinks = (error > TOLERANCE) & (np.ptp(slopes, axis=0) > 0.1 * gap)
    error = np.where(kinks, 0, np.nan_to_num(error, nan=np.inf))
    worst = int(error.argmax())
    index = tuple(map(int, np.unravel_index(chosen[worst], array.shape)))
    values = error.item(worst), index, said.item(worst), numeric.item(worst)
    return Row(name, array.shape, len(chosen), int(kinks.sum()), *values)


def _kinds(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{np.asarray(a).dtype} {np.shape(a)}" for name, a in arrays.items()}
