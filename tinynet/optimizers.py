"""Optimizers: from gradients to new weights.

``optimizer.apply(params, grads)`` makes one step over all of a model's weights, in place. What an
optimizer remembers of a weight from step to step (a velocity, a mean) are its slots; they and the
weights are keyed "layer name/param name".
"""

import math
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np

from tinynet import configs, kernels
from tinynet.configs import serialize
from tinynet.errors import check_bool, check_float, check_keywords, check_name, unknown_name
from tinynet.kernels.recording import each_time
from tinynet.kernels.reference import Array, Rates

__all__ = ["SGD", "Adam", "Optimizer", "RMSprop", "deserialize", "get", "serialize"]

Slots = dict[str, Array]
Weight = tuple[Array, Array, Slots]  # a weight, its gradient, its slots


class Optimizer(configs.Configurable):
    """Base of all optimizers: the learning rate, the count of steps, the slots.

    A subclass names its slots and overrides `update`, which is called once for each weight.

    Attributes:
        iterations: how many steps were made.
        slots: weight key -> slot name -> array of the weight's shape and dtype.
    """

    slot_names: tuple[str, ...] = ()

    def __init__(self, learning_rate: float = 0.01, name: str = "optimizer") -> None:
        self.learning_rate = learning_rate
        self.name = check_name(name) or "optimizer"
        self.iterations = 0
        self.slots: dict[str, Slots] = {}
        # The arrays of the last step: training brings the same ones again and again.
        self._checked: list[Array | None] = []
        self._weights: list[Weight] = []
        self._prepared: dict[str, Any] = {}

    @property
    def learning_rate(self) -> float:
        """The size of the steps; may be set while training. At least 0, finite."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = check_float("learning_rate", value, minimum=0)

    def apply(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """One step: every array of ``params`` is updated in place from the one in ``grads``.

        Raises ValueError, before anything is changed, where a gradient is missing or is not of
        its weight's shape and dtype, or where the slots belong to a weight of another shape.
        """
        slots = [slot for slots in self.slots.values() for slot in slots.values()]
        arrays = [*params.values(), *map(grads.get, params), *slots]
        if len(arrays) != len(self._checked) or not all(map(is_, arrays, self._checked)):
            for key, param in params.items():
                self._check(key, param, grads.get(key))
            for key, param in params.items():
                if key not in self.slots:
                    self.slots[key] = {
                        name: kernels.lasting_zeros(param.shape, param.dtype)
                        for name in self.slot_names
                    }
            self._checked = arrays
            self._prepared = {}
            self._weights = [(param, grads[key], self.slots[key]) for key, param in params.items()]
        self.update_all(self._weights, self._prepared)
        self.iterations += 1

    def update_all(self, weights: Sequence[Weight], prepared: dict[str, Any]) -> None:
        """One step of all weights, each with its gradient and slots: `update` for each.

        A subclass overrides this where all at once are quicker; it can keep in ``prepared`` what
        holds as long as the arrays are the same ones.
        """
        for param, grad, slots in weights:
            self.update(param, grad, slots)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: it works on other arrays, so nothing of what is known of these."""
        return self.__dict__ | {"_checked": [], "_weights": [], "_prepared": {}}

    def _check(self, key: str, param: Array, grad: Array | None) -> None:
        if grad is None or grad.shape != param.shape or grad.dtype != param.dtype:
            raise ValueError(
                f"{_describe(key, param)} needs a gradient like it, got "
                f"{'none' if grad is None else f'{grad.shape} {grad.dtype}'}"
            )
        for slot in self.slots.get(key, {}).values():
            if slot.shape != param.shape or slot.dtype != param.dtype:
                raise ValueError(
                    f"{type(self).__name__} was used on another model before: it remembers "
                    f"{key!r} as {slot.shape} {slot.dtype}, not as {_describe(key, param)}; "
                    "compile each model with a new optimizer"
                )

    def update(self, param: Array, grad: Array, slots: Slots) -> None:
        """One step of one weight; ``iterations`` counts the steps before this one."""
        raise NotImplementedError(f"{type(self).__name__} must define update(param, grad, slots)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, with the learning rate of now."""
        return {"learning_rate": self.learning_rate, "name": self.name}

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"


class SGD(Optimizer):
    """Gradient descent: ``w -= learning_rate * g``.

    With momentum: ``velocity = momentum * velocity - learning_rate * g``, ``w += velocity``; with
    nesterov as well: ``w += momentum * velocity - learning_rate * g`` (Sutskever, Martens, Dahl
    and Hinton 2013, section 2).
    """

    @check_keywords
    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        name: str = "sgd",
    ) -> None:
        super().__init__(learning_rate, name)
        self.momentum = check_float("momentum", momentum, minimum=0, maximum=1)
        self.nesterov = check_bool("nesterov", nesterov)
        self.slot_names = ("velocity",) if self.momentum else ()

    def update(self, param: Array, grad: Array, slots: Slots) -> None:
        """One step of one weight."""
        kernels.sgd_update(
            param, grad, slots.get("velocity"), self._learning_rate, self.momentum, self.nesterov
        )

    def update_all(self, weights: Sequence[Weight], prepared: dict[str, Any]) -> None:
        """One step of all weights."""
        if self.momentum:
            super().update_all(weights, prepared)
            return
        params = [param for param, _, _ in weights]
        grads = [grad for _, grad, _ in weights]
        # In an array that stays, so that a step can be recorded and played at other rates.
        rates = prepared.setdefault("rates", np.empty(1))
        each_time(self._set_rates, rates, early=True)
        kernels.sgd_updates(params, grads, rates, prepared)

    def _set_rates(self, rates: Rates) -> None:
        """The learning rate of this step and those after it: (steps, 1)."""
        rates[...] = self._learning_rate

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, with the learning rate of now."""
        own = {"momentum": self.momentum, "nesterov": self.nesterov}
        return {"learning_rate": self.learning_rate, **own, "name": self.name}


class Adam(Optimizer):
    """Steps scaled by running means m of the gradient and v of its square.

    ``m += (1 - beta_1) * (g - m)``, ``v += (1 - beta_2) * (g**2 - v)``; both start at 0, which step
    t makes up for: ``alpha = learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t)``,
    ``w -= alpha * m / (sqrt(v) + epsilon)`` (Kingma and Ba 2015, the end of section 2).
    """

    slot_names = ("m", "v")

    @check_keywords
    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        name: str = "adam",
    ) -> None:
        super().__init__(learning_rate, name)
        self.beta_1 = check_float("beta_1", beta_1, minimum=0, below=1)
        self.beta_2 = check_float("beta_2", beta_2, minimum=0, below=1)
        self.epsilon = check_float("epsilon", epsilon, above=0)

    def update(self, param: Array, grad: Array, slots: Slots) -> None:
        """One step of one weight."""
        self.update_all([(param, grad, slots)], {})

    def update_all(self, weights: Sequence[Weight], prepared: dict[str, Any]) -> None:
        """One step of all weights."""
        # In an array that stays, so that a step can be recorded and played at other rates.
        rates = prepared.setdefault("rates", np.empty(4))
        each_time(self._set_rates, rates, early=True)
        kernels.adam_updates(
            [param for param, _, _ in weights],
            [grad for _, grad, _ in weights],
            [slots["m"] for _, _, slots in weights],
            [slots["v"] for _, _, slots in weights],
            rates,
            prepared,
        )

    def _set_rates(self, rates: Rates) -> None:
        """alpha of this step and those after it, and what stays the same: (steps, 4)."""
        first = self.iterations + 1
        rates[:, 0] = [
            self._learning_rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
            for t in range(first, first + len(rates))
        ]
        rates[:, 1:] = 1 - self.beta_1, 1 - self.beta_2, self.epsilon

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, with the learning rate of now."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {"learning_rate": self.learning_rate, **own, "name": self.name}


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of the squared gradient.

    ``mean_square = rho * mean_square + (1 - rho) * g**2``,
    ``step = learning_rate * g / sqrt(mean_square + epsilon)``, ``w -= step``; with momentum
    ``velocity = momentum * velocity + step``, ``w -= velocity`` (Hinton, Neural Networks for
    Machine Learning, lecture 6e).
    """

    @check_keywords
    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        *,
        name: str = "rmsprop",
    ) -> None:
        super().__init__(learning_rate, name)
        self.rho = check_float("rho", rho, minimum=0, below=1)
        self.momentum = check_float("momentum", momentum, minimum=0, maximum=1)
        self.epsilon = check_float("epsilon", epsilon, above=0)
        self.slot_names = ("mean_square", "velocity") if self.momentum else ("mean_square",)

    def update(self, param: Array, grad: Array, slots: Slots) -> None:
        """One step of one weight."""
        kernels.rmsprop_update(
            param,
            grad,
            slots["mean_square"],
            slots.get("velocity"),
            self._learning_rate,
            self.rho,
            self.momentum,
            self.epsilon,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, with the learning rate of now."""
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}
        return {"learning_rate": self.learning_rate, **own, "name": self.name}


def _describe(key: str, param: Array) -> str:
    return f"the weight {key!r} of shape {param.shape} and dtype {param.dtype}"


_CLASSES: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "rmsprop": RMSprop}


def get(identifier: object) -> Optimizer:
    """The optimizer that ``identifier`` names or is: a name in any case, an Optimizer or a class.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()
    if isinstance(identifier, str) and identifier.lower() in _CLASSES:
        return _CLASSES[identifier.lower()]()
    raise unknown_name("optimizer", identifier, _CLASSES)


def deserialize(data: object) -> Optimizer:
    """The optimizer that `serialize` described: ``{"class_name": ..., "config": ...}``.

    Raises ValueError for an unknown class, TypeError for what is no such description.
    """
    return configs.deserialize("optimizer", data, {c.__name__: c for c in _CLASSES.values()})
