"""Models: layers connected, and the loop that trains them."""

from tinynet.models.model import Model
from tinynet.models.sequential import Sequential

__all__ = ["Model", "Sequential"]
