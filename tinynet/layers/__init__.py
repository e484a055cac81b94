"""The layers: one small file a family, each with its formula, shapes and gradient."""

from tinynet.layers.activations import (
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from tinynet.layers.base import Input, Layer
from tinynet.layers.conv import Conv2D
from tinynet.layers.dense import Dense
from tinynet.layers.dropout import Dropout
from tinynet.layers.normalization import BatchNormalization
from tinynet.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from tinynet.layers.reshaping import Flatten, Rescaling, Reshape

# Keras's short names.
MaxPool2D, AvgPool2D, GlobalAvgPool2D = MaxPooling2D, AveragePooling2D, GlobalAveragePooling2D

# By the name that configs and files have for them: only what stands here can come out of a file.
CLASSES: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Activation,
        AveragePooling2D,
        BatchNormalization,
        Conv2D,
        Dense,
        Dropout,
        Flatten,
        GlobalAveragePooling2D,
        Input,
        LeakyReLU,
        MaxPooling2D,
        ReLU,
        Rescaling,
        Reshape,
        Sigmoid,
        Softmax,
        Tanh,
    )
}

__all__ = [
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "Input",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
