"""tinynet: neural networks on NumPy and numba, with every gradient written by hand.

The API is Keras's: a script written for Keras runs after ``import keras`` becomes
``import tinynet as keras``. How the library works is in `tinynet.layers` (each file a page of
mathematics) and `tinynet.kernels.reference` (the arithmetic in plain NumPy).
"""

from tinynet import (
    callbacks,
    datasets,
    gradcheck,
    initializers,
    kernels,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    plotting,
    saving,
    utils,
)
from tinynet.layers import Input, Layer
from tinynet.models import Model, Sequential

__version__ = "0.1.0"

__all__ = [
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "callbacks",
    "datasets",
    "gradcheck",
    "initializers",
    "kernels",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "plotting",
    "saving",
    "utils",
]
