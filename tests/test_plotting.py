import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import tinynet
from tinynet import Input, Sequential, layers
from tinynet.callbacks import History
from tinynet.plotting import learning_curves, plot_model

PNG = b"\x89PNG\r\n\x1a\n"


def history(epochs, first=0, every=1, **curves):
    """A History of so many epochs; validation came with every ``every``-th of them."""
    made = History()
    for i in range(epochs):
        logs = {name: values[i] for name, values in curves.items() if not name.startswith("val_")}
        if (i + 1) % every == 0:
            validated = (i + 1) // every - 1
            logs |= {k: v[validated] for k, v in curves.items() if k.startswith("val_")}
        made.on_epoch_end(first + i, logs)
    return made


def drawn(ax):
    """The curves of a panel: label -> ([x], [y])."""
    return {line.get_label(): tuple(map(list, line.get_data())) for line in ax.get_lines()}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestLearningCurves:
    def test_one_panel_for_each_measure_the_loss_first(self):
        figure = learning_curves(
            history(
                3,
                accuracy=[0.5, 0.6, 0.7],
                loss=[3, 2, 1],
                val_accuracy=[0.4, 0.5, 0.6],
                val_loss=[4, 3, 2],
            )
        )
        assert isinstance(figure, Figure)
        loss, accuracy = figure.axes
        assert drawn(loss) == {
            "training": ([1, 2, 3], [3, 2, 1]),
            "validation": ([1, 2, 3], [4, 3, 2]),
        }
        assert drawn(accuracy) == {
            "training": ([1, 2, 3], [0.5, 0.6, 0.7]),
            "validation": ([1, 2, 3], [0.4, 0.5, 0.6]),
        }
        assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
        assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "epoch"]
        for ax in figure.axes:
            texts = [text.get_text() for text in ax.get_legend().get_texts()]
            assert texts == ["training", "validation"]

    def test_what_fit_returns(self):
        model = Sequential([layers.Dense(2, activation="softmax", input_shape=(3,))])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        x, y = np.ones((8, 3)), np.arange(8) % 2
        trained = model.fit(x, y, epochs=4, verbose=0, validation_split=0.25)
        loss, accuracy = learning_curves(trained).axes
        assert drawn(loss)["training"] == ([1, 2, 3, 4], trained.history["loss"])
        assert drawn(accuracy)["validation"] == ([1, 2, 3, 4], trained.history["val_accuracy"])

    def test_a_dict_of_lists(self):
        (ax,) = learning_curves({"loss": [2.0, 1.0]}).axes
        assert drawn(ax) == {"training": ([1, 2], [2.0, 1.0])}

    def test_one_epoch_is_a_point_to_be_seen(self):
        (ax,) = learning_curves(history(1, loss=[2.0], val_loss=[3.0])).axes
        assert drawn(ax) == {"training": ([1], [2.0]), "validation": ([1], [3.0])}
        assert all(line.get_marker() not in ("", "None", None) for line in ax.get_lines())

    def test_the_epochs_of_a_later_training(self):
        (ax,) = learning_curves(history(2, first=5, loss=[2.0, 1.0])).axes
        assert drawn(ax) == {"training": ([6, 7], [2.0, 1.0])}

    @pytest.mark.parametrize(("every", "epochs"), [(2, [2, 4, 6]), (3, [3, 6]), (4, [4])])
    def test_validation_stands_at_the_epochs_that_had_one(self, every, epochs):
        val_loss = [5, 3, 1][: len(epochs)]
        curves = {"loss": [6, 5, 4, 3, 2, 1], "val_loss": val_loss}
        (ax,) = learning_curves(history(6, every=every, **curves)).axes
        assert drawn(ax)["validation"] == (epochs, val_loss)

    def test_the_learning_rate_is_no_measure(self):
        figure = learning_curves(history(1, learning_rate=[0.1], loss=[1.0]))
        assert [ax.get_ylabel() for ax in figure.axes] == ["loss"]

    def test_names_are_written_with_spaces(self):
        figure = learning_curves(history(1, top_k_accuracy=[0.1], loss=[1.0]))
        assert figure.axes[1].get_ylabel() == "top k accuracy"

    def test_epochs_are_whole_numbers_on_the_axis(self):
        (ax,) = learning_curves(history(3, loss=[3, 2, 1])).axes
        ticks = ax.xaxis.get_major_locator().tick_values(1, 3)
        assert all(float(tick).is_integer() for tick in ticks)

    def test_a_notebook_can_show_it(self):
        assert learning_curves(history(2, loss=[2.0, 1.0]))._repr_png_().startswith(PNG)

    def test_a_file_only_where_asked(self, own_folder):
        one = history(2, loss=[2.0, 1.0])
        learning_curves(one)
        assert list(own_folder.iterdir()) == []
        learning_curves(one, to_file=own_folder / "curves.png")
        learning_curves(one, "curves.svg")
        assert sorted(path.name for path in own_folder.iterdir()) == ["curves.png", "curves.svg"]
        assert (own_folder / "curves.png").read_bytes().startswith(PNG)
        assert "<svg" in (own_folder / "curves.svg").read_text()

    @pytest.mark.parametrize("wrong", [None, [1.0, 0.5], "history", 3])
    def test_takes_a_history(self, wrong):
        with pytest.raises(TypeError, match="history must be a History or a dict of lists, got"):
            learning_curves(wrong)

    @pytest.mark.parametrize("empty", [History(), {}, {"loss": []}, {"val_loss": [1.0]}])
    def test_needs_an_epoch(self, empty):
        with pytest.raises(ValueError, match="no epochs to draw; fit the model first"):
            learning_curves(empty)

    def test_the_history_stays_as_it_is(self):
        one = history(2, loss=[2.0, 1.0], accuracy=[0.1, 0.2])
        learning_curves(one)
        assert one.epoch == [0, 1]
        assert list(one.history.items()) == [("loss", [2.0, 1.0]), ("accuracy", [0.1, 0.2])]


def cnn():
    return Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ]
    )


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def boxes(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


class TestPlotModel:
    def test_a_box_a_layer_from_top_to_bottom(self):
        figure = plot_model(cnn())
        assert isinstance(figure, Figure)
        assert texts(figure) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
        bottoms = [box.get_y() for box in boxes(figure)]
        assert len(bottoms) == 4
        assert bottoms == sorted(bottoms, reverse=True)

    def test_boxes_do_not_overlap_and_hold_their_texts(self):
        figure = plot_model(cnn(), show_shapes=True, show_layer_names=True)
        drawn_boxes = boxes(figure)
        for above, below in pairwise(drawn_boxes):
            assert below.get_y() + below.get_height() < above.get_y()
        figure.draw_without_rendering()
        pixels = [box.get_window_extent() for box in drawn_boxes]
        for text in figure.axes[0].texts:
            if text.get_text():
                extent = text.get_window_extent()
                assert any(
                    box.x0 <= extent.x0 and extent.x1 <= box.x1
                    and box.y0 <= extent.y0 and extent.y1 <= box.y1
                    for box in pixels
                )  # fmt: skip

    def test_shapes(self):
        assert texts(plot_model(cnn(), show_shapes=True)) == [
            *("Input", "(None, 8, 8, 1)"),
            *("Conv2D", "(None, 6, 6, 4)"),
            *("MaxPooling2D", "(None, 3, 3, 4)"),
            *("Flatten", "(None, 36)"),
            *("Dense", "(None, 10)"),
        ]

    def test_names_and_activations(self):
        figure = plot_model(cnn(), show_layer_names=True, show_layer_activations=True)
        assert texts(figure) == [
            *("conv2d (Conv2D)", "relu"),
            "max_pooling2d (MaxPooling2D)",
            "flatten (Flatten)",
            *("probabilities (Dense)", "softmax"),
        ]

    def test_a_model_that_does_not_know_its_shapes(self):
        model = Sequential([layers.Flatten(), layers.Dense(3)])
        assert texts(plot_model(model, show_shapes=True)) == ["Flatten", "Dense"]
        assert not model.built

    def test_a_model_in_a_model(self):
        model = Sequential([Input((8, 8, 1)), cnn(), layers.Dense(2)])
        assert texts(plot_model(model, show_shapes=True))[2:] == [
            *("Sequential", "(None, 10)"),
            *("Dense", "(None, 2)"),
        ]

    def test_writes_where_it_is_told(self, own_folder):
        plot_model(cnn())
        assert [path.name for path in own_folder.iterdir()] == ["model.png"]
        assert (own_folder / "model.png").read_bytes().startswith(PNG)
        plot_model(cnn(), to_file=own_folder / "other.svg")
        assert "<svg" in (own_folder / "other.svg").read_text()

    def test_dots_for_each_inch(self, own_folder):
        sizes = []
        for dpi in (50, 100):
            plot_model(cnn(), f"{dpi}.png", dpi=dpi)
            header = (own_folder / f"{dpi}.png").read_bytes()[16:24]
            sizes.append(np.frombuffer(header, ">u4"))
        np.testing.assert_allclose(sizes[1], 2 * sizes[0], atol=2)

    @pytest.mark.parametrize("wrong", [None, "model", layers.Dense(3)])
    def test_takes_a_model(self, wrong):
        with pytest.raises(TypeError, match="model must be a model, got"):
            plot_model(wrong)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"model": Sequential()}, ValueError, "no layers to draw"),
            ({"dpi": 0}, ValueError, "dpi must be a finite number above 0, got 0"),
            ({"dpi": "high"}, TypeError, "dpi must be a finite number above 0, got 'high'"),
            ({"rankdir": "LR"}, TypeError, "rankdir"),
        ],
    )
    def test_refuses_and_writes_nothing(self, own_folder, arguments, error, message):
        with pytest.raises(error, match=message):
            plot_model(**{"model": cnn(), **arguments})
        assert list(own_folder.iterdir()) == []

    def test_is_in_utils_too(self):
        assert tinynet.utils.plot_model is plot_model


def test_no_global_state_is_touched(own_folder):
    script = """
import sys
import matplotlib
def settings():  # without the backend, which is chosen, and pyplot imported, when it is looked at
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
from tinynet import Sequential, layers, plotting
plotting.learning_curves({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]}, "curves.png")
plotting.plot_model(Sequential([layers.Dense(3, input_shape=(2,))]), show_shapes=True)
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert (run.stdout, run.stderr) == ("", "")
