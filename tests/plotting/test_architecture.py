from itertools import pairwise

import numpy as np
import pytest
from legible import complaints
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import tinynet
from tinynet import Input, Sequential, layers, plotting
from tinynet.plotting import plot_model

PNG = b"\x89PNG\r\n\x1a\n"


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

    def test_dtype_and_whether_it_learns(self):
        model = cnn()
        model.layers[0].trainable = False
        assert texts(plot_model(model, show_dtype=True, show_trainable=True)) == [
            *("Conv2D", "float32", "not trainable"),
            *("MaxPooling2D", "float32"),
            *("Flatten", "float32"),
            *("Dense", "float32", "trainable"),
        ]


def inside(box, other):
    return other.x0 <= box.x0 and box.x1 <= other.x1 and other.y0 <= box.y0 and box.y1 <= other.y1


def extents(figure):
    """The boxes in pixels, the frames, and the texts, after the figure was drawn."""
    figure.draw_without_rendering()
    patches = [box.get_window_extent() for box in boxes(figure)]
    frames = [a for a in patches if any(inside(b, a) for b in patches if b is not a)]
    labels = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    return [box for box in patches if box not in frames], frames, labels


class TestModel:
    def test_everything_is_written_in(self):
        assert texts(plotting.model(cnn())) == [
            *("Input", "(None, 8, 8, 1)"),
            *("conv2d (Conv2D)", "relu", "(None, 6, 6, 4)", "40 params"),
            *("max_pooling2d (MaxPooling2D)", "(None, 3, 3, 4)"),
            *("flatten (Flatten)", "(None, 36)"),
            *("probabilities (Dense)", "softmax", "(None, 10)", "370 params"),
        ]

    def test_or_what_is_asked_for(self):
        figure = plotting.model(
            cnn(), show_shapes=False, show_layer_names=False, show_layer_activations=False,
            show_params=False,
        )  # fmt: skip
        assert texts(figure) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]

    def test_writes_no_file_of_its_own(self, own_folder):
        plotting.model(cnn())
        assert list(own_folder.iterdir()) == []
        plotting.model(cnn(), to_file="model.png", dpi=50)
        plotting.model(cnn(), to_file="model.pdf")
        plotting.model(cnn(), to_file="model.svg")
        assert (own_folder / "model.png").read_bytes().startswith(PNG)
        assert (own_folder / "model.pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in (own_folder / "model.svg").read_text()

    def test_a_model_in_a_model_is_a_frame_around_its_layers(self):
        inner = Sequential([layers.Dense(4, activation="relu"), layers.Dense(3)], name="inner")
        outer = Sequential([Input((8,)), layers.Dense(5), inner, layers.Dense(2)], name="outer")
        figure = plotting.model(outer, show_shapes=False)
        assert texts(figure) == [
            *("dense (Dense)", "45 params"),
            "inner (Sequential)",
            *("dense (Dense)", "relu", "24 params"),
            *("dense_1 (Dense)", "15 params"),
            *("dense_1 (Dense)", "8 params"),
        ]
        whole, frames, labels = extents(figure)
        assert (len(whole), len(frames)) == (4, 1)
        assert sum(inside(box, frames[0]) for box in whole) == 2
        assert all(any(inside(label, box) for box in [*whole, *frames]) for label in labels)
        assert complaints(figure) == []

    def test_or_one_box(self):
        model = Sequential([Input((8, 8, 1)), cnn(), layers.Dense(2)])
        figure = plotting.model(model, expand_nested=False)
        assert texts(figure)[2:5] == ["sequential (Sequential)", "(None, 10)", "410 params"]

    def test_frames_in_frames(self):
        model = layers.Dense(3)
        for depth in range(4):
            model = Sequential([model, layers.ReLU()], name=f"level_{depth}")
        model.build((5,))
        figure = plotting.model(model)
        whole, frames, labels = extents(figure)
        assert (len(whole), len(frames)) == (6, 3)
        assert all(any(inside(label, box) for box in [*whole, *frames]) for label in labels)
        tops = sorted(frames, key=lambda frame: -frame.width)
        assert all(inside(below, above) for above, below in pairwise(tops))
        assert complaints(figure) == []

    @pytest.mark.parametrize("name", ["i", "W" * 60, "a_name_that_is_rather_long_" * 4])
    def test_long_names_fit_their_boxes(self, name):
        model = Sequential([layers.Dense(3, input_shape=(2,), name=name), layers.Dense(2)])
        figure = plotting.model(model)
        whole, _, labels = extents(figure)
        assert all(any(inside(label, box) for box in whole) for label in labels)
        assert texts(figure)[2] == f"{name} (Dense)"
        assert complaints(figure) == []

    def test_a_name_is_no_formula(self):
        model = Sequential([layers.Dense(3, input_shape=(2,), name="$x$ $")])
        assert texts(plotting.model(model))[2] == "$x$ $ (Dense)"

    def test_many_layers(self):
        model = Sequential([Input((4,)), *(layers.Dense(4) for _ in range(60))])
        figure = plotting.model(model)
        assert len(boxes(figure)) == 61
        assert complaints(figure) == []

    def test_without_shapes_as_long_as_they_are_unknown(self):
        model = Sequential([layers.Flatten(), layers.Dense(3)])
        assert texts(plotting.model(model)) == ["flatten (Flatten)", "dense (Dense)"]
        assert not model.built

    @pytest.mark.parametrize("size", [(1.5, 2), (8, 3), (4, 30)])
    def test_fits_an_axes_that_is_given(self, size):
        figure = Figure(figsize=size, layout="constrained")
        plotting.model(cnn(), ax=figure.subplots())
        whole, _, labels = extents(figure)
        assert all(any(inside(label, box) for box in whole) for label in labels)
        assert all(inside(box, figure.bbox) for box in whole)

    @pytest.mark.parametrize("wrong", [None, "model", layers.Dense(3), Sequential])
    def test_takes_a_model(self, wrong):
        with pytest.raises(TypeError, match="model must be a model, got"):
            plotting.model(wrong)

    def test_refuses(self):
        with pytest.raises(ValueError, match="no layers to draw"):
            plotting.model(Sequential())
        with pytest.raises(ValueError, match="dpi must be a finite number above 0, got -1"):
            plotting.model(cnn(), dpi=-1)
