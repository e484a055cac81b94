"""Dropout: training with a random part of the network left out."""

from typing import Any

import numpy as np

from tinynet import kernels, random
from tinynet.errors import check_float, check_int
from tinynet.kernels.recording import each_time
from tinynet.layers.base import Array, Shape, Weightless


class Dropout(Weightless):
    """In training y = x / (1 - rate) where noise >= rate, else 0;  otherwise y = x

    x any shape -> y the same shape; noise: uniform on [0, 1), anew for each entry of each batch

    dx = dy / (1 - rate) where noise >= rate, else 0

    Dividing by 1 - rate keeps the expected y equal to x, so that nothing changes after training.
    (Srivastava et al. 2014; "inverted" dropout.)

    rate: the share of entries set to 0, at least 0 and below 1.
    seed: for noise of the layer's own; by default it comes from the generator that
    `utils.set_random_seed` seeds.
    """

    def __init__(self, rate: float, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = check_float("rate", rate, minimum=0.0, below=1.0)
        self.seed = None if seed is None else check_int("seed", seed, minimum=0)
        self.rng = random.generator() if seed is None else np.random.default_rng(self.seed)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Take the generator that noise will come from."""
        super().build(input_shape, rng)
        if self.seed is None:
            self.rng = rng

    def forward(self, x: Array, training: bool = False) -> Array:
        """y = x, in training with some entries set to 0 and the others scaled up"""
        x = self.check_input(x)
        if not training:
            return kernels.copy(x)
        noise = kernels.empty(x.shape, np.float32)
        each_time(self._draw, noise)  # now, and whenever a recording of this step is played
        self.keep(noise)
        return kernels.dropout(x, noise, self.rate)

    def _draw(self, noise: Array) -> None:
        """Fill noise (1, ...); never early, as other layers draw from the same generator."""
        self.rng.random(out=noise, dtype=np.float32)

    def backward(self, dy: Array) -> Array:
        """dx = dy with the same entries set to 0 and the others scaled up"""
        dy, (noise,) = self.recall(dy)
        return kernels.dropout(dy, noise, self.rate)

    def own_generator(self) -> np.random.Generator | None:
        """The generator that ``seed`` started, if there is a seed."""
        return None if self.seed is None else self.rng

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
