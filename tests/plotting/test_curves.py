import csv

import numpy as np
import pytest
from legible import complaints
from matplotlib.figure import Figure

from tinynet import Sequential, layers
from tinynet.callbacks import CSVLogger, History
from tinynet.plotting import learning_curves

PNG = b"\x89PNG\r\n\x1a\n"
NAN, INF = np.nan, np.inf


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

    @pytest.mark.parametrize("wrong", [None, [1.0, 0.5], 3, {"loss": 1.0}, {"loss": ["high"]}])
    def test_takes_a_history(self, wrong):
        with pytest.raises(TypeError, match="history must be a History or a dict of lists, got"):
            learning_curves(wrong)

    @pytest.mark.parametrize("empty", [History(), {}, {"loss": []}, {"val_loss": [1.0]}])
    def test_needs_an_epoch(self, empty):
        with pytest.raises(ValueError, match="no epochs to draw; fit the model first"):
            learning_curves(empty)

    def test_lists_of_different_lengths_belong_to_unknown_epochs(self):
        curves = {"loss": [6, 5, 4, 3], "val_loss": [5, 1]}
        with pytest.raises(ValueError, match=r"4 values for 'loss' and 2 for 'val_loss'.*what fit"):
            learning_curves(curves)
        learning_curves(history(4, every=2, **curves))

    def test_the_history_stays_as_it_is(self):
        one = history(2, loss=[2.0, 1.0], accuracy=[0.1, 0.2])
        learning_curves(one)
        assert one.epoch == [0, 1]
        assert list(one.history.items()) == [("loss", [2.0, 1.0]), ("accuracy", [0.1, 0.2])]


def stars(ax):
    """Where the best epochs are marked."""
    return [tuple(mark.get_offsets()[0].tolist()) for mark in ax.collections]


def note(ax):
    return ax.get_title(loc="right")


class TestTheBestEpoch:
    def test_by_validation_the_lowest_loss_and_the_highest_accuracy(self):
        one = {
            "loss": [3, 2, 1],
            "val_loss": [3, 1.5, 2],
            "accuracy": [0.1, 0.9, 0.2],
            "val_accuracy": [0.2, 0.3, 0.4],
        }
        loss, accuracy = learning_curves(one).axes
        assert stars(loss) == [(2, 1.5)]
        assert note(loss) == "★ best: epoch 2, 1.5"
        assert stars(accuracy) == [(3, 0.4)]
        assert note(accuracy) == "★ best: epoch 3, 0.4"

    def test_by_training_where_there_is_no_validation(self):
        loss, accuracy = learning_curves({"loss": [3, 1, 2], "accuracy": [0.5, 0.9, 0.1]}).axes
        assert (stars(loss), stars(accuracy)) == ([(2, 1)], [(2, 0.9)])

    @pytest.mark.parametrize(
        ("name", "best"), [("mean_absolute_error", 1), ("mse", 1), ("top_k_accuracy", 2), ("f1", 2)]
    )
    def test_errors_are_best_when_low(self, name, best):
        figure = learning_curves({"loss": [1, 1], name: [0.2, 0.7]})
        assert stars(figure.axes[1])[0][0] == best

    def test_the_first_of_equals(self):
        assert stars(learning_curves({"loss": [2, 1, 1]}).axes[0]) == [(2, 1)]

    def test_stands_at_the_epoch_that_was_validated(self):
        one = history(6, every=2, loss=[6, 5, 4, 3, 2, 1], val_loss=[5, 1, 3])
        assert stars(learning_curves(one).axes[0]) == [(4, 1)]

    @pytest.mark.parametrize("wrong", [NAN, INF, -INF])
    def test_is_a_number(self, wrong):
        assert stars(learning_curves({"loss": [3, wrong, 2]}).axes[0]) == [(3, 2)]


class TestNaN:
    def test_leaves_a_gap(self):
        figure = learning_curves({"loss": [3, NAN, 2], "val_loss": [NAN, 1, INF]})
        (ax,) = figure.axes
        np.testing.assert_array_equal(drawn(ax)["training"], ([1, 2, 3], [3, NAN, 2]))
        assert stars(ax) == [(2, 1)]
        assert complaints(figure) == []

    def test_alone(self):
        figure = learning_curves({"loss": [NAN] * 4, "accuracy": [0.1] * 4})
        loss = figure.axes[0]
        np.testing.assert_array_equal(drawn(loss)["training"], ([1, 2, 3, 4], [NAN] * 4))
        assert stars(loss) == []
        assert note(loss) == "no finite values"
        assert loss.get_xlim()[0] < 1
        assert loss.get_xlim()[1] > 4
        assert complaints(figure) == []

    def test_in_the_validation_alone(self):
        (ax,) = learning_curves({"loss": [2, 1], "val_loss": [NAN, NAN]}).axes
        assert stars(ax) == []
        assert note(ax) == "no finite validation"
        assert ax.get_ylim()[1] >= 2


class TestSeveralRuns:
    def test_on_one_picture_with_labels(self):
        figure = learning_curves(
            {
                "adam": history(3, loss=[3, 2, 1], val_loss=[3, 2, 2.5]),
                "sgd": {"loss": [4, 3], "val_loss": [4, 3.5], "accuracy": [0.1, 0.2]},
            }
        )
        loss, accuracy = figure.axes
        assert drawn(loss) == {
            "adam, training": ([1, 2, 3], [3, 2, 1]),
            "adam, validation": ([1, 2, 3], [3, 2, 2.5]),
            "sgd, training": ([1, 2], [4, 3]),
            "sgd, validation": ([1, 2], [4, 3.5]),
        }
        assert drawn(accuracy) == {"sgd": ([1, 2], [0.1, 0.2])}
        assert stars(loss) == [(2, 2), (2, 3.5)]
        assert note(loss) == "★ best: adam, epoch 2, 2"
        colours = {line.get_label(): line.get_color() for line in loss.get_lines()}
        assert colours["adam, training"] == colours["adam, validation"] != colours["sgd, training"]
        assert complaints(figure) == []

    @pytest.mark.parametrize("count", [2, 6])
    def test_the_legend_is_not_over_the_curves(self, count):
        run = {name: np.linspace(0, 1, 5) for name in ("loss", "val_loss", "a", "b", "c", "d")}
        figure = learning_curves({f"run {i}": run for i in range(count)})
        assert complaints(figure) == []
        for ax in figure.axes:
            panel = ax.get_window_extent()
            assert ax.get_legend().get_window_extent().y1 < panel.y0
            assert panel.height > 2 * figure.dpi

    def test_labels_are_no_formulas_and_may_be_long(self):
        labels = ["$x$ and $y$", "a very long label of a training " * 3]
        figure = learning_curves({label: {"loss": [2, 1]} for label in labels})
        (ax,) = figure.axes
        shown = [text.get_text() for text in ax.get_legend().get_texts()]
        assert shown[0] == labels[0]
        assert labels[1].startswith(shown[1].replace("\n", " ").rstrip("…"))
        assert list(drawn(ax)) == labels
        assert complaints(figure) == []
        assert not any(text.get_parse_math() for text in ax.get_legend().get_texts())
        assert learning_curves({labels[0]: {"loss": [2, 1]}})._repr_png_().startswith(PNG)

    def test_an_empty_one_is_named(self):
        with pytest.raises(ValueError, match=r"history\['b'\] holds no epochs"):
            learning_curves({"a": {"loss": [1.0]}, "b": History()})

    def test_lists_and_runs_are_not_mixed(self):
        with pytest.raises(TypeError, match=r"History or a dict of lists, got .* for 'a'"):
            learning_curves({"a": History(), "loss": [1.0]})


def fitted(*callbacks, epochs=5, **arguments):
    model = Sequential([layers.Dense(2, activation="softmax", input_shape=(3,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = np.random.default_rng(0).random((12, 3)), np.arange(12) % 2
    return [
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=[*callbacks], **arguments)
        for _ in range(2)
    ]


class TestAFile:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_that_a_csv_logger_wrote(self, separator):
        logger = CSVLogger("log.csv", separator)
        _, history = fitted(logger, validation_split=0.25, validation_freq=2)
        with open("log.csv", newline="") as file:
            assert "NA" in next(iter(list(csv.reader(file, delimiter=separator))[1:]))
        from_file = learning_curves("log.csv").axes
        for ax, expected in zip(from_file, learning_curves(history).axes, strict=True):
            assert drawn(ax) == drawn(expected)
            assert stars(ax) == stars(expected)
        assert drawn(from_file[0])["validation"][0] == [2, 4]

    def test_beside_a_history(self, own_folder):
        _, history = fitted(CSVLogger("log.csv"), epochs=2)
        loss, _ = learning_curves({"file": own_folder / "log.csv", "memory": history}).axes
        assert drawn(loss)["file"] == drawn(loss)["memory"]

    def test_that_was_appended_to_goes_on_counting(self):
        histories = fitted(CSVLogger("log.csv", append=True), epochs=3)
        loss, _ = learning_curves("log.csv").axes
        values = [value for history in histories for value in history.history["loss"]]
        assert drawn(loss)["training"] == ([1, 2, 3, 4, 5, 6], values)

    def test_so_does_a_history_of_two_trainings(self):
        both = History()
        fitted(both, epochs=3, validation_split=0.25, validation_freq=2)
        loss, _ = learning_curves(both).axes
        assert drawn(loss)["training"] == ([1, 2, 3, 4, 5, 6], both.history["loss"])
        assert drawn(loss)["validation"] == ([2, 5], both.history["val_loss"])

    def test_that_is_not_there(self):
        with pytest.raises(FileNotFoundError, match="history"):
            learning_curves("history")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not a CSVLogger's file: its first line must begin with the column 'epoch'"),
            ("loss,epoch\n1,2\n", "must begin with the column 'epoch', it is 'loss,epoch'"),
            ("epoch,loss\n0,1\n1,low\n", "line 3: loss must be a number or NA, got 'low'"),
            ("epoch,loss\nfirst,1\n", "line 2: epoch must be a number or NA, got 'first'"),
            ("epoch,loss\n", "holds no epochs to draw"),
        ],
    )
    def test_that_is_no_log(self, own_folder, text, message):
        (own_folder / "log.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            learning_curves("log.csv")


class TestSize:
    @pytest.mark.parametrize("epochs", [1, 2, 300])
    @pytest.mark.parametrize("names", [["loss"], ["loss", "accuracy", "top_k_accuracy", "mse"]])
    def test_all_can_be_read(self, epochs, names):
        values = {name: np.linspace(1, 0.1, epochs) for name in names}
        values |= {f"val_{name}": np.linspace(1.2, 0.4, epochs) for name in names}
        assert complaints(learning_curves(values)) == []

    def test_axes_for_each_measure(self):
        figure = Figure(layout="constrained")
        axes = figure.subplots(2)
        learning_curves({"loss": [2.0, 1.0], "accuracy": [0.1, 0.2]}, axes=axes)
        assert [ax.get_ylabel() for ax in axes] == ["loss", "accuracy"]
