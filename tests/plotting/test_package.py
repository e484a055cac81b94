"""What holds for all of plotting: no global state, axes that are given, files where asked for."""

import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

import tinynet
from tinynet import plotting
from tinynet.callbacks import GradientHistory
from tinynet.datasets.fashion_mnist import class_names

PNG = b"\x89PNG\r\n\x1a\n"

# name -> how many Axes it takes, and a call on the data d that passes keywords on
DRAWINGS = {
    "learning_curves": (1, lambda d, **k: plotting.learning_curves({"loss": [2.0, 1.0]}, **k)),
    "image_grid": (4, lambda d, **k: plotting.image_grid(d.x[:4], **k)),
    "class_counts": (1, lambda d, **k: plotting.class_counts(d.y, **k)),
    "predictions": (4, lambda d, **k: plotting.predictions(d.mlp, d.x[:2], **k)),
    "mistakes": (2, lambda d, **k: plotting.mistakes(d.mlp, d.x, d.y, rows=1, columns=1, **k)),
    "confusion_matrix": (1, lambda d, **k: plotting.confusion_matrix(d.y, d.y, **k)),
    "classification_report": (1, lambda d, **k: plotting.classification_report(d.y, d.y, **k)),
    "model": (1, lambda d, **k: plotting.model(d.cnn, **k)),
    "kernels": (1, lambda d, **k: plotting.kernels(d.cnn, **k)),
    "feature_maps": (5, lambda d, **k: plotting.feature_maps(d.cnn, d.x[0][..., None], **k)),
    "saliency": (2, lambda d, **k: plotting.saliency(d.mlp, d.x[0], **k)),
    "occlusion": (2, lambda d, **k: plotting.occlusion(d.mlp, d.x[0], **k)),
    "gradient_flow": (4, lambda d, **k: plotting.gradient_flow(d.mlp, d.x, d.y, **k)),
    "activation_histograms": (3, lambda d, **k: plotting.activation_histograms(d.mlp, d.x, **k)),
    "gradient_history": (4, lambda d, **k: plotting.gradient_history(d.record, **k)),
}
ONE_AXES = {"class_counts", "confusion_matrix", "classification_report", "model", "kernels"}


@pytest.fixture(scope="module")
def record(sample):
    (x, y), _ = sample
    layers = tinynet.layers
    parts = [layers.Flatten(), layers.Dense(8, activation="relu"), layers.Dense(10)]
    model = tinynet.Sequential(parts)
    model.compile("sgd", tinynet.losses.SparseCategoricalCrossentropy(from_logits=True))
    record = GradientHistory(every=2)
    model.fit(x[:128] / 255, y[:128], callbacks=[record], verbose=0)
    return record


@pytest.fixture
def draw(cnn, mlp, photos, record):
    """Draw a picture by name, with these keywords."""
    data = SimpleNamespace(cnn=cnn, mlp=mlp, x=photos[0], y=photos[1], record=record)
    return lambda name, **keywords: DRAWINGS[name][1](data, **keywords)


def test_nothing_is_left_out_here():
    assert set(DRAWINGS) | {"plot_model"} == set(plotting.__all__)


@pytest.mark.parametrize("name", DRAWINGS)
class TestEveryPicture:
    def test_is_a_figure_that_shows_itself_in_a_notebook(self, draw, name, own_folder):
        figure = draw(name)
        assert type(figure) is Figure
        assert figure._repr_png_().startswith(PNG)
        assert list(own_folder.iterdir()) == []

    def test_goes_into_a_file_where_asked(self, draw, name, own_folder):
        draw(name, to_file=own_folder / "one.png")
        draw(name, to_file="two.svg")
        draw(name, to_file="three.pdf")
        assert sorted(os.listdir()) == ["one.png", "three.pdf", "two.svg"]
        assert (own_folder / "one.png").read_bytes().startswith(PNG)
        assert (own_folder / "three.pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in (own_folder / "two.svg").read_text()

    def test_is_drawn_into_axes_that_are_given(self, draw, name, own_folder):
        count, argument = DRAWINGS[name][0], "ax" if name in ONE_AXES else "axes"
        figure = Figure(figsize=(12, 9), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, count))
        spare = figure.add_subplot()
        given = axes[0] if argument == "ax" else axes
        assert draw(name, **{argument: given}) is given
        assert all(drawn_on(ax) for ax in axes)
        assert not drawn_on(spare)
        draw(name, **{argument: given, "to_file": "page.png"})
        assert os.listdir() == ["page.png"]

    def test_refuses_other_axes(self, draw, name):
        count, argument = DRAWINGS[name][0], "ax" if name in ONE_AXES else "axes"
        with pytest.raises(TypeError, match=f"{argument} must be matplotlib's Axes, got"):
            draw(name, **{argument: "here"})
        if argument == "axes" and count > 1:
            few = Figure().subplots(1, count - 1)
            message = f"axes must be {count} Axes or more, one for each .*, got {count - 1}"
            with pytest.raises(ValueError, match=message):
                draw(name, axes=few)

    def test_an_unknown_argument_is_named(self, draw, name):
        with pytest.raises(TypeError, match=rf"{name}\(\) has no argument 'colour'"):
            draw(name, colour="red")


def drawn_on(ax):
    artists = (*ax.lines, *ax.patches, *ax.images, *ax.collections, *ax.texts)
    return bool(artists)


def test_no_global_state_is_touched(own_folder):
    script = """
import sys
import tinynet
assert "matplotlib" not in sys.modules
import matplotlib
def settings():  # without the backend, which is chosen, and pyplot imported, when it is looked at
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
from tinynet import Sequential, layers, plotting
plotting.learning_curves({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]}, "curves.png")
model = Sequential([layers.Dense(3, activation="softmax", input_shape=(4,))])
plotting.plot_model(model, show_shapes=True)
plotting.model(model, to_file="model.svg")
plotting.kernels(model, to_file="kernels.pdf")
plotting.confusion_matrix([0, 1], [0, 1], ["a", "b"], to_file="confusion.png")
plotting.predictions(model, [[0.1, 0.2, 0.3, 0.4]], [1], to_file="predictions.png")
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert (run.stdout, run.stderr) == ("", "")


def test_a_figure_can_be_copied(photos):
    figure = plotting.class_counts(photos[1], class_names)
    again = pickle.loads(pickle.dumps(figure))
    assert again._repr_png_().startswith(PNG)
