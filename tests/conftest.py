"""What all tests share: a seed, so that a failure can be seen again, and the bundled images."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from tinynet import random
from tinynet.datasets import fashion_mnist

# The first example of a kernel takes as long as compiling it.
settings.register_profile(
    "tinynet", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tinynet")

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
