"""What all tests share: a seed, so that a failure can be seen again, and the bundled images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tinynet import random
from tinynet.datasets import fashion_mnist

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.set_random_seed(0)


@pytest.fixture(scope="session")
def sample() -> tuple[Split, Split]:
    """The bundled images, read-only, since the tests share them."""
    train, test = fashion_mnist.load_sample()
    for array in (*train, *test):
        array.flags.writeable = False
    return train, test
