"""Looking at layers while they work, without changing what they do."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from tinynet.layers.base import Array, Layer


def leaf_layers(model: Layer, path: str = "") -> dict[str, Layer]:
    """The layers of a model that have none inside, in order, by name.

    The name of a layer in a model in the model has both: "block/dense".
    """
    leaves: dict[str, Layer] = {}
    for layer in model.inner_layers():
        if layer.inner_layers():
            leaves |= leaf_layers(layer, f"{path}{layer.name}/")
        else:
            leaves[path + layer.name] = layer
    return leaves


@contextmanager
def watched(layers: Mapping[str, Layer], see: Callable[[str, Array], object]) -> Iterator[None]:
    """Within the ``with``, every ``y = layer.forward(x)`` is shown to ``see(name, y)`` too.

    A Sequential passes by the forward of Flatten and Reshape, which only give x another shape, so
    that these are not seen. Who sees y may neither write to it nor keep it.
    """
    # A layer may have a forward of its own on the instance, which is then put back.
    before = {name: vars(layer).get("forward") for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            vars(layer)["forward"] = _shown(name, layer.forward, see)
        yield
    finally:
        for name, layer in layers.items():
            vars(layer).pop("forward", None)
            if before[name] is not None:
                vars(layer)["forward"] = before[name]


def _shown(name: str, forward: Callable[..., Array], see: Callable[[str, Array], object]) -> Any:
    @wraps(forward)
    def shown(*args: Any, **kwargs: Any) -> Array:
        y = forward(*args, **kwargs)
        see(name, y)
        return y

    return shown
