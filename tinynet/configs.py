"""Objects as plain data, and back: ``{"class_name": "HeNormal", "config": {"seed": 3}}``."""

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from tinynet.errors import received, unknown_name


class Configurable:
    """What can be described by its class and the arguments of its constructor."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this object again."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new object with the arguments of ``config``."""
        return cls(**config)


T = TypeVar("T", bound=Configurable)


def serialize(thing: Configurable) -> dict[str, Any]:
    """The object's class and the arguments that make it again."""
    return {"class_name": type(thing).__name__, "config": thing.get_config()}


def deserialize(kind: str, data: object, classes: Mapping[str, type[T]]) -> T:
    """The object that `serialize` described, one of ``classes``; ``kind`` is "layer", "loss".

    Raises ValueError for another class, TypeError for what is no such description, and what the
    class raises for its arguments.
    """
    if (
        not isinstance(data, Mapping)
        or data.keys() != {"class_name", "config"}
        or not isinstance(data["config"], Mapping)
    ):
        raise TypeError(
            f"a {kind} must be described by a dict of its 'class_name' and 'config', "
            f"got {received(data)}"
        )
    name = data["class_name"]
    if not isinstance(name, str) or name not in classes:
        raise unknown_name(kind, name, classes, taken="a name")
    return classes[name].from_config(data["config"])
