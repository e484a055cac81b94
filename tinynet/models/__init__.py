"""Models: layers connected, the loop that trains them, and files of them."""

from tinynet.models.model import Model
from tinynet.models.reading import clone_model, load_model, model_from_json
from tinynet.models.sequential import Sequential
from tinynet.models.writing import save_model

__all__ = [
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
]
