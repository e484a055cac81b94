"""Data sets, under Keras's names: ``tinynet.datasets.fashion_mnist.load_data()``."""

from tinynet.datasets import fashion_mnist

__all__ = ["fashion_mnist"]
