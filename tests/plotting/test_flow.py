import copy

import numpy as np
import pytest
from legible import complaints
from matplotlib.figure import Figure

from tinynet import Input, Sequential, layers, random
from tinynet.callbacks import GradientHistory
from tinynet.plotting import activation_histograms, gradient_flow, gradient_history
from tinynet.plotting.figures import SMALL
from tinynet.plotting.flow import PERCENTILES, layer_flows


def everything(model):
    """All that a step of training changes, copied."""
    optimizer = model.optimizer
    return copy.deepcopy(
        {
            "weights": model.weights,
            "grads": [*model.grads.values()],
            "slots": [array for slots in optimizer.slots.values() for array in slots.values()],
            "iterations": optimizer.iterations,
            "random": random.generator().bit_generator.state,
        }
    )


def assert_same(one, other):
    for name, value in one.items():
        if isinstance(value, list):
            for a, b in zip(value, other[name], strict=True):
                np.testing.assert_array_equal(a, b)
        else:
            assert value == other[name]


@pytest.fixture
def batch(photos):
    return photos[0][:64, ..., None], photos[1][:64]


class TestLayerFlows:
    def test_is_what_the_next_step_of_training_does(self, cnn, batch):
        flows = layer_flows(cnn, *batch)
        twin = copy.deepcopy(cnn)
        state = random.generator().bit_generator.state
        before = {key: w.copy() for key, w in twin.trainable_params.items()}
        twin.train_on_batch(*batch)
        random.generator().bit_generator.state = state
        assert list(flows) == [layer.name for layer in cnn.layers]
        for layer in twin.layers:
            keys = [f"{layer.name}/{key}" for key in layer.params]
            flow = flows[layer.name]
            if not keys:
                assert not flow.gradients.size
                assert not flow.updates.size
                assert np.isnan(flow.ratio)
                continue
            grads = np.concatenate([twin.grads[key].ravel() for key in keys])
            np.testing.assert_array_equal(flow.gradients, grads)
            moves = [twin.params[key] - before[key] for key in keys]
            sizes = [np.sqrt((before[key] ** 2).mean()) for key in keys]
            shares = np.concatenate([(m / s).ravel() for m, s in zip(moves, sizes, strict=True)])
            np.testing.assert_allclose(flow.updates, shares, rtol=1e-5)
            norms = [
                np.sqrt(sum((a.astype(float) ** 2).sum() for a in arrays))
                for arrays in (moves, [before[key] for key in keys])
            ]
            assert flow.ratio == pytest.approx(norms[0] / norms[1], rel=1e-5)

    def test_activations_and_dead_units(self, batch):
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(4), layers.ReLU(),
                            layers.Dense(3, activation="relu"), layers.Dense(10)])  # fmt: skip
        model.compile("sgd", "mse")
        model.layers[1].params["bias"][:2] = -1e6  # two units that never speak
        x, labels = batch
        flows = layer_flows(model, x, np.eye(10)[labels])
        y = model.layers[1].forward(x.reshape(64, 784))
        np.testing.assert_allclose(flows["dense"].activations, y.ravel(), rtol=1e-5)
        assert np.isnan(flows["dense"].dead)
        expected = (y <= 0).all(axis=0).mean()
        assert expected >= 0.5
        assert flows["re_lu"].dead == expected
        assert not np.isnan(flows["dense_1"].dead)
        assert np.isnan(flows["dense_2"].dead)

    def test_a_dead_channel_is_zero_everywhere(self):
        model = Sequential([layers.Conv2D(4, 1, activation="relu", input_shape=(2, 2, 1)),
                            layers.Flatten(), layers.Dense(2)])  # fmt: skip
        model.compile("sgd", "mse")
        model.layers[0].set_weights([np.array([[[[1.0, -1.0, 1.0, 0.0]]]]), np.zeros(4)])
        x = np.zeros((3, 2, 2, 1))
        x[1, 0, 1] = 1  # one pixel is enough to live
        assert layer_flows(model, x, np.zeros((3, 2)))["conv2d"].dead == 0.5

    def test_frozen_layers_have_no_gradients(self, batch):
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(4, trainable=False),
                            layers.Dense(10, activation="softmax")])  # fmt: skip
        model.compile("adam", "sparse_categorical_crossentropy")
        flows = layer_flows(model, *batch)
        assert not flows["dense"].gradients.size
        assert flows["dense"].activations.size
        assert flows["dense_1"].gradients.size

    def test_layers_in_a_model_in_the_model(self, batch):
        inner = Sequential([layers.Dense(4), layers.Dense(3)], name="inner")
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), inner, layers.Dense(10)])
        model.compile("sgd", "mse")
        flows = layer_flows(model, batch[0] / 255, np.eye(10)[batch[1]])
        assert [name for name, flow in flows.items() if flow.gradients.size] == [
            "inner/dense",
            "inner/dense_1",
            "dense",
        ]


def whiskers(ax):
    """The ends of thin and thick lines of each row: (5 %, 25 %, 75 %, 95 %)."""
    thin, thick = ([path[:, 0] for path in lines.get_segments()] for lines in ax.collections)
    return [(a, c, d, b) for (a, b), (c, d) in zip(thin, thick, strict=True)]


def names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


class TestGradientFlow:
    def test_percentiles_of_every_layer(self, cnn, batch):
        flows = {k: f for k, f in layer_flows(cnn, *batch).items() if f.activations.size}
        figure = gradient_flow(cnn, *batch)
        activations, gradients, updates, dead = figure.axes
        assert names(activations) == list(flows)
        assert [ax.get_title() for ax in figure.axes] == [
            "|activation|",
            "|gradient|",
            "|update| / weight",
            "dead relu units",
        ]
        assert {ax.get_xscale() for ax in (activations, gradients, updates)} == {"log"}
        a, lower, median, upper, b = PERCENTILES
        learning = [f for f in flows.values() if f.gradients.size]
        for ax, rows in [
            (activations, [f.activations for f in flows.values()]),
            (gradients, [f.gradients for f in learning]),
            (updates, [f.updates for f in learning]),
        ]:
            rows = [np.abs(row[row != 0]) for row in rows]
            expected = [np.percentile(row, [a, lower, upper, b]) for row in rows]
            np.testing.assert_allclose(whiskers(ax), expected)
            medians = ax.get_lines()[0].get_xdata()
            np.testing.assert_allclose(medians, [np.percentile(row, median) for row in rows])
        ratios = updates.get_lines()[1].get_xdata()
        np.testing.assert_allclose(ratios, [flow.ratio for flow in learning])
        shares = [bar.get_width() for bar in dead.patches]
        assert shares == [f.dead for f in flows.values() if not np.isnan(f.dead)]
        assert [text.get_text() for text in dead.texts] == [f"{share:.0%}" for share in shares]
        assert complaints(figure) == []

    @pytest.mark.parametrize("picture", [gradient_flow, layer_flows])
    def test_changes_nothing(self, cnn, batch, picture):
        before = everything(cnn)
        picture(cnn, *batch)
        assert_same(everything(cnn), before)
        assert all("forward" not in vars(layer) for layer in cnn.layers)
        picture(cnn, *batch)
        again = [flow.activations for flow in layer_flows(cnn, *batch).values()]
        for one, other in zip(again, layer_flows(cnn, *batch).values(), strict=True):
            np.testing.assert_array_equal(one, other.activations)

    def test_of_a_model_that_was_not_trained(self, batch):
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
        model.compile("rmsprop", "mse")
        assert complaints(gradient_flow(model, batch[0], np.eye(10)[batch[1]])) == []
        assert not model.optimizer.slots

    def test_without_gradients(self, batch):
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
        model.compile("sgd", "mse")
        model.layers[1].set_weights([np.zeros((784, 10)), np.zeros(10)])
        figure = gradient_flow(model, batch[0], np.zeros((64, 10)))
        assert [text.get_text() for text in figure.axes[1].texts] == ["nothing but zeros"]
        assert complaints(figure) == []

    def test_exploding(self, batch):
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
        model.compile("sgd", "mse")
        x = batch[0].astype("float32")
        x[0, 0, 0] = np.nan
        figure = gradient_flow(model, x, np.eye(10)[batch[1]])
        assert figure.axes[0].get_title() == "|activation|\n(some NaN or infinite)"
        assert complaints(figure) == []

    @pytest.mark.parametrize("count", [1, 30])
    def test_many_layers_and_long_names(self, batch, count):
        parts = [layers.Dense(5, name=f"layer_{i}_of_a_name_that_goes_on") for i in range(count)]
        model = Sequential([Input((28, 28, 1)), layers.Flatten(), *parts, layers.Dense(10)])
        model.compile("sgd", "mse")
        assert complaints(gradient_flow(model, batch[0] / 255, np.eye(10)[batch[1]])) == []

    def test_axes_in_rows_have_the_names_once_in_each(self, mlp, photos):
        figure = Figure(layout="constrained", figsize=(8, 6))
        axes = figure.subplots(2, 2)
        assert gradient_flow(mlp, photos[0][:64], photos[1][:64], axes=axes) is axes
        shown = [[text.get_text() for text in ax.get_yticklabels()] for ax in axes.flat]
        named = ["rescaling", "dense", "dense_1"]
        assert shown == [named, [""] * 3, named, [""] * 3]
        assert complaints(figure) == []

    def test_sizes_within_a_decade(self):
        model = Sequential([Input((4,)), layers.Dense(3)])
        model.compile("sgd", "mse")
        model.set_weights([np.linspace(0.3, 0.8, 12).reshape(4, 3), np.zeros(3)])
        figure = gradient_flow(model, np.ones((5, 4)), np.zeros((5, 3)))
        assert complaints(figure) == []
        for ax in figure.axes[:3]:
            low, high = ax.get_xlim()
            powers = [tick for tick in ax.get_xticks() if low <= tick <= high]
            assert len(powers) >= 2

    def test_one_sample(self, mlp, photos):
        assert complaints(gradient_flow(mlp, photos[0][:1], photos[1][:1])) == []

    def test_refuses(self, cnn, batch):
        x, y = batch
        with pytest.raises(ValueError, match="same number of samples, but x has 64, y has 3"):
            gradient_flow(cnn, x, y[:3])
        with pytest.raises(ValueError, match="labels from 0 to 9"):
            gradient_flow(cnn, x, y + 10)
        with pytest.raises(TypeError, match="model must be a model, got None"):
            gradient_flow(None, x, y)
        model = Sequential([Input((28, 28, 1)), layers.Flatten()])
        with pytest.raises(ValueError, match=r"call compile\(optimizer, loss"):
            gradient_flow(model, x, y)
        model = Sequential([layers.Dense(3)])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="does not know its input's shape"):
            gradient_flow(model, x, y)


class TestActivationHistograms:
    def test_of_every_layer_that_changes_something(self, cnn, batch):
        x = batch[0]
        figure = activation_histograms(cnn, x, bins=20)
        heads = [ax.get_title().split("\n") for ax in figure.axes]
        assert [name for name, _ in heads] == [
            *("rescaling", "conv2d", "max_pooling2d", "conv2d_1", "batch_normalization", "re_lu"),
            *("average_pooling2d", "dense"),
        ]
        y = x.astype("float32")
        outputs = {}
        for layer in cnn.layers:
            y = outputs[layer.name] = layer.forward(y)
        for ax, (name, note) in zip(figure.axes, heads, strict=True):
            counts, edges = np.histogram(outputs[name][outputs[name] != 0], 20)
            drawn = ax.patches[0].get_data()
            np.testing.assert_allclose(drawn.edges, edges, rtol=1e-5, atol=1e-6)
            assert np.abs(drawn.values - counts).sum() <= 4  # values at an edge, by rounding
            zeros = (outputs[name] == 0).mean()
            assert note == (f"{zeros:.0%} zeros, left out" if zeros else "no zeros")
        assert complaints(figure) == []

    def test_leaves_the_model_alone(self, cnn, batch):
        before = everything(cnn)
        activation_histograms(cnn, batch[0])
        assert_same(everything(cnn), before)
        assert all("forward" not in vars(layer) for layer in cnn.layers)

    @pytest.mark.parametrize(("value", "note"), [(0.0, "100% zeros, left out"), (2.0, "no zeros")])
    def test_of_one_value(self, value, note):
        model = Sequential([layers.ReLU(input_shape=(3,))])
        figure = activation_histograms(model, np.full((1, 3), value))
        assert figure.axes[0].get_title() == f"re_lu\n{note}"
        assert complaints(figure) == []

    def test_nan(self):
        model = Sequential([layers.Rescaling(1.0, input_shape=(4,))])
        figure = activation_histograms(model, [[np.nan, 1.0, 0.0, np.inf]])
        assert figure.axes[0].get_title() == "rescaling\n25% zeros, left out, 50% NaN or infinite"
        assert complaints(figure) == []
        everywhere = activation_histograms(model, [[np.inf] * 4])
        assert everywhere.axes[0].get_title() == "rescaling\n100% NaN or infinite"

    def test_refuses(self, cnn, batch):
        with pytest.raises(ValueError, match="bins must be an integer of at least 1, got 0"):
            activation_histograms(cnn, batch[0], bins=0)
        with pytest.raises(ValueError, match="was built for inputs of shape"):
            activation_histograms(cnn, batch[0][:, 1:])
        with pytest.raises(ValueError, match="has no layers that change anything"):
            activation_histograms(
                Sequential([layers.Flatten(input_shape=(2, 2))]), np.ones((1, 2, 2))
            )


def recorded(epochs=2, samples=320, parts=None, **arguments):
    random.set_random_seed(0)
    parts = parts or [layers.Dense(6, activation="relu"), layers.Dropout(0.2)]
    model = Sequential([Input((12,)), *parts, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    record = GradientHistory(**arguments)
    x = np.random.default_rng(0).normal(size=(samples, 12))
    model.fit(x, np.arange(samples) % 3, epochs=epochs, verbose=0, callbacks=[record])
    return record


class TestGradientHistory:
    def test_a_line_for_each_layer(self):
        record = recorded(every=3)
        learning = ["dense", "dense_1"]
        figure = gradient_history(record)
        for ax, measure, expected in zip(
            figure.axes,
            ("activation", "gradient", "update", "dead"),
            (
                ["dense", "dropout", "dense_1"],
                learning,
                learning,
                ["dense"],
            ),
            strict=True,
        ):
            lines = {line.get_label(): line for line in ax.get_lines()[: len(expected)]}
            assert list(lines) == expected
            for name, line in lines.items():
                assert list(line.get_xdata()) == record.steps
                np.testing.assert_array_equal(line.get_ydata(), record.history[measure][name])
        assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "log", "linear"]
        (legend,) = figure.legends
        assert [t.get_text() for t in legend.get_texts()] == ["dense", "dropout", "dense_1"]
        assert complaints(figure) == []

    def test_one_step_is_a_point_to_be_seen(self):
        figure = gradient_history(recorded(epochs=1))
        assert all(line.get_marker() not in ("", "None") for line in figure.axes[0].get_lines())
        assert complaints(figure) == []

    def test_all_numbers_have_one_size(self):
        record = GradientHistory()
        record.steps = [1, 2]
        values = {"activation": [2.0, 6.0], "gradient": [0.2, 0.3], "update": [1.0, 2.0]}
        record.history = {m: {"dense": values.get(m, [0.0, 0.0])} for m in record.history}
        figure = gradient_history(record)
        assert complaints(figure) == []
        for ax in figure.axes:
            labels = [*ax.get_yticklabels(), *ax.get_yticklabels(minor=True)]
            assert {label.get_fontsize() for label in labels} == {SMALL}

    def test_many_steps_layers_and_long_names(self):
        parts = [layers.Dense(4, name=f"layer_{i}_of_a_name_that_goes_on") for i in range(20)]
        figure = gradient_history(recorded(epochs=10, parts=parts, every=1))
        assert len({line.get_color() for line in figure.axes[1].get_lines()}) == 21
        assert complaints(figure) == []

    def test_nan_and_zero(self):
        record = recorded(epochs=3)
        for of_layers in record.history.values():
            of_layers["dense"][1] = np.nan
            of_layers["dense_1"][:] = [0.0] * 3
        assert complaints(gradient_history(record)) == []
        for of_layers in record.history.values():
            for values in of_layers.values():
                values[:] = [np.nan] * 3
        assert complaints(gradient_history(record)) == []

    @pytest.mark.parametrize("wrong", [None, {"loss": [1.0]}, [1, 2]])
    def test_takes_a_record(self, wrong):
        with pytest.raises(TypeError, match="record must be a GradientHistory, got"):
            gradient_history(wrong)

    def test_needs_a_step(self):
        with pytest.raises(ValueError, match="record holds no steps to draw; pass it to fit"):
            gradient_history(GradientHistory())
