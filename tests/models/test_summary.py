"""The summary: what it counts, and that it fits the line whatever the names."""

import io
import re
import sys
from unicodedata import east_asian_width

import numpy as np
import pytest

from tinynet import Input, Layer, Model, Sequential, layers, optimizers
from tinynet.models.summary import table


def text(model, **arguments):
    printed = []
    model.summary(print_fn=printed.append, **arguments)
    assert len(printed) == 1
    return printed[0]


def columns(line):
    """How many columns of a terminal a line takes."""
    return sum(2 if east_asian_width(c) in "FW" else 1 for c in line)


def cells(model, **arguments):
    """The rows of the table without its header, the lines of each cell joined again."""
    lines = [line for line in text(model, **arguments).split("\n") if line[0] in "├│"]
    body = lines[1 + next(i for i, line in enumerate(lines) if line[0] == "├") :]
    if not any(line[0] == "├" for line in body):  # every line is a row
        groups = [[line] for line in body]
    else:
        groups = [group.split("\n") for group in re.split(r"\n├.*\n", "\n".join(body))]
    return [
        [" ".join(filter(None, map(str.strip, cell))) for cell in zip(*parts, strict=True)]
        for parts in ([line.strip("│").split("│") for line in group] for group in groups)
    ]


def totals(model, **arguments):
    """The lines below the table, what they are about -> what they say."""
    lines = [line for line in text(model, **arguments).split("\n") if line.startswith(" ")]
    return dict(line.strip().split(": ", 1) for line in lines)


def cnn():
    return Sequential(
        [
            layers.Conv2D(4, 3, input_shape=(8, 8, 1)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            Sequential([layers.Dense(10)], name="head"),
        ],
        name="net",
    )


class Silent(Layer):
    """A layer of somebody's own that does not say how much it computes."""

    def build(self, input_shape, rng):
        super().build(input_shape, rng)
        self.add_param("w", (2, 3), "ones", rng)


class TestText:
    def test_in_80_columns(self):
        assert (
            text(cnn())
            == """\
Model: "net"
┌──────────────────────┬─────────────────┬─────────────┬───────────┬───────────┐
│ Layer (type)         │ Output Shape    │     Param # │ Trainable │ Multiply- │
│                      │                 │    (memory) │           │      adds │
├──────────────────────┼─────────────────┼─────────────┼───────────┼───────────┤
│ conv2d (Conv2D)      │ (None, 6, 6, 4) │          40 │ yes       │     1,296 │
│                      │                 │  (160.00 B) │           │           │
├──────────────────────┼─────────────────┼─────────────┼───────────┼───────────┤
│ batch_normalization  │ (None, 6, 6, 4) │          16 │ yes       │       144 │
│ (BatchNormalization) │                 │   (64.00 B) │           │           │
├──────────────────────┼─────────────────┼─────────────┼───────────┼───────────┤
│ max_pooling2d        │ (None, 3, 3, 4) │           0 │ -         │         0 │
│ (MaxPooling2D)       │                 │             │           │           │
├──────────────────────┼─────────────────┼─────────────┼───────────┼───────────┤
│ flatten (Flatten)    │ (None, 36)      │           0 │ -         │         0 │
├──────────────────────┼─────────────────┼─────────────┼───────────┼───────────┤
│ dense (Dense)        │ (None, 100)     │       3,700 │ yes       │     3,600 │
│                      │                 │  (14.45 KB) │           │           │
├──────────────────────┼─────────────────┼─────────────┼───────────┼───────────┤
│ head (Sequential)    │ (None, 10)      │       1,010 │ yes       │     1,000 │
│                      │                 │   (3.95 KB) │           │           │
└──────────────────────┴─────────────────┴─────────────┴───────────┴───────────┘
 Total params: 4,766 (18.62 KB)
 Trainable params: 4,758 (18.59 KB)
 Non-trainable params: 8 (32.00 B)
 Multiply-adds for one sample: 6,040"""
        )

    def test_where_there_is_room_nothing_is_wrapped(self):
        assert (
            text(Sequential([layers.Dense(3, input_shape=(4,))]), line_length=100)
            == """\
Model: "sequential"
┌───────────────┬──────────────┬──────────────────┬───────────┬───────────────┐
│ Layer (type)  │ Output Shape │ Param # (memory) │ Trainable │ Multiply-adds │
├───────────────┼──────────────┼──────────────────┼───────────┼───────────────┤
│ dense (Dense) │ (None, 3)    │     15 (60.00 B) │ yes       │            12 │
└───────────────┴──────────────┴──────────────────┴───────────┴───────────────┘
 Total params: 15 (60.00 B)
 Trainable params: 15 (60.00 B)
 Non-trainable params: 0 (0.00 B)
 Multiply-adds for one sample: 12"""
        )

    def test_before_the_shape_is_known(self):
        assert (
            text(Sequential([layers.Flatten(), layers.Dense(3)]))
            == """\
Model: "sequential"
┌───────────────────┬──────────────┬──────────────────┬───────────┬────────────┐
│ Layer (type)      │ Output Shape │ Param # (memory) │ Trainable │  Multiply- │
│                   │              │                  │           │       adds │
├───────────────────┼──────────────┼──────────────────┼───────────┼────────────┤
│ flatten (Flatten) │ ?            │      0 (unbuilt) │ ?         │          ? │
│ dense (Dense)     │ ?            │      0 (unbuilt) │ ?         │          ? │
└───────────────────┴──────────────┴──────────────────┴───────────┴────────────┘
 Total params: 0 (0.00 B)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 0 (0.00 B)
 Multiply-adds for one sample: ?"""
        )

    def test_is_printed(self, capsys):
        model = cnn()
        model.summary()
        assert capsys.readouterr().out == text(model) + "\n"
        model.summary(print_fn=None)
        assert capsys.readouterr().out == text(model) + "\n"

    def test_where_lines_cannot_be_shown(self, monkeypatch):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        Sequential([layers.Dense(3, input_shape=(4,), name="größe")]).summary()
        sys.stdout.flush()
        lines = written.getvalue().decode().splitlines()
        assert re.fullmatch(r"\+(-+\+){5}", lines[1])
        assert re.match(r"\| gr\\xf6\\xdfe \(Dense\) +\| \(None, 3\)", lines[4]), lines

    def test_without_the_column_that_keras_leaves_out(self):
        assert "Trainable │" not in text(cnn(), show_trainable=False)
        assert [row[-1] for row in cells(cnn(), show_trainable=False)] == [
            row[-1] for row in cells(cnn())
        ]

    def test_without_layers(self):
        assert cells(Sequential()) == []
        assert totals(Sequential())["Multiply-adds for one sample"] == "0"


class TestCounts:
    def test_float64_takes_twice_the_memory_and_frozen_params_do_not_train(self):
        model = Sequential([layers.Dense(2, input_shape=(3,), trainable=False)], dtype="float64")
        assert cells(model)[0][2:4] == ["8 (64.00 B)", "no"]
        assert totals(model) == {
            "Total params": "8 (64.00 B)",
            "Trainable params": "0 (0.00 B)",
            "Non-trainable params": "8 (64.00 B)",
            "Multiply-adds for one sample": "6",
        }

    def test_the_optimizers_slots_count_once_they_are_there(self):
        model = Sequential([layers.Dense(2, input_shape=(3,))])
        model.compile("adam", "mse")
        before = totals(model)
        assert "Optimizer params" not in before
        model.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))
        assert totals(model) == {
            "Total params": "24 (96.00 B)",
            "Trainable params": "8 (32.00 B)",
            "Non-trainable params": "0 (0.00 B)",
            "Optimizer params": "16 (64.00 B)",  # m and v
            "Multiply-adds for one sample": "6",
        }

    def test_an_optimizer_without_slots_is_not_mentioned(self):
        model = Sequential([layers.Dense(2, input_shape=(3,))])
        model.compile(optimizers.SGD(), "mse")
        model.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))
        assert "Optimizer params" not in totals(model)

    def test_a_model_of_which_a_part_is_frozen(self):
        inner = Sequential([layers.Dense(2), layers.Dense(3, trainable=False), layers.ReLU()])
        model = Sequential([Input((4,)), inner])
        assert [row[3] for row in cells(model, expand_nested=True)] == ["partly", "yes", "no", "-"]

    def test_models_in_models(self):
        head = Sequential([layers.Dense(2)], name="head")
        model = Sequential([Input((4,)), Sequential([layers.Dense(3), head], name="body")])
        assert [row[0] for row in cells(model)] == ["body (Sequential)"]
        assert [row[0] for row in cells(model, expand_nested=True)] == [
            "body (Sequential)", "└ dense (Dense)", "└ head (Sequential)", "└ dense (Dense)",
        ]  # fmt: skip
        lines = text(model, expand_nested=True).split("\n")
        assert [line.index("└") for line in lines if "dense" in line] == [5, 8]
        assert totals(model)["Multiply-adds for one sample"] == "18"  # 4 * 3 + 3 * 2

    def test_a_layer_that_does_not_say(self):
        model = Sequential([Input((4,)), layers.Dense(3), Silent()])
        assert [row[-1] for row in cells(model)] == ["12", "?"]
        assert totals(model)["Multiply-adds for one sample"] == "at least 12"
        assert (
            cells(Sequential([Input((4,)), Sequential([layers.Dense(3), Silent()])]))[0][-1] == "?"
        )

    def test_what_is_known_of_a_model_of_ones_own(self):
        model = Model(name="branches")
        model.layers = [layers.Dense(3, input_shape=(4,)), layers.Dense(2)]
        model.layers[1].build((5,), np.random.default_rng(0))
        assert cells(model) == [
            ["dense (Dense)", "(None, 3)", "0 (unbuilt)", "?", "12"],
            ["dense (Dense)", "(None, 2)", "12 (48.00 B)", "yes", "10"],
        ]


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (layers.Dense(128), (784,), 784 * 128),
        (layers.Dense(3), (5, 6, 4), 5 * 6 * 4 * 3),
        (layers.Conv2D(32, 3), (28, 28, 1), 26 * 26 * 3 * 3 * 1 * 32),
        (layers.Conv2D(8, (3, 5), (2, 1), use_bias=False), (9, 9, 2), 4 * 5 * 3 * 5 * 2 * 8),
        (layers.Conv2D(4, 3, 2, "same"), (7, 6, 3), 4 * 3 * 3 * 3 * 3 * 4),
        (layers.BatchNormalization(), (6, 6, 4), 6 * 6 * 4),
        (layers.MaxPooling2D(), (6, 6, 4), 0),
        (layers.AveragePooling2D(), (6, 6, 4), 0),
        (layers.GlobalAveragePooling2D(), (6, 6, 4), 0),
        (layers.Flatten(), (6, 6, 4), 0),
        (layers.Reshape((36, 4)), (6, 6, 4), 0),
        (layers.Rescaling(2.0), (6,), 0),
        (layers.Dropout(0.5), (6,), 0),
        (layers.Softmax(), (6,), 0),
        (layers.Activation("tanh"), (6,), 0),
        (Input((6,)), (6,), 0),
        (Layer(), (6,), None),
        (Sequential([layers.Dense(3), layers.ReLU(), layers.Dense(2)]), (4,), 4 * 3 + 3 * 2),
        (Sequential([layers.Dense(3), Layer()]), (4,), None),
        (Sequential(), (4,), 0),
        (Model(), (4,), None),
    ],
)
def test_multiply_adds(layer, shape, count):
    assert layer.multiply_adds(shape) == count


def test_multiply_adds_of_a_shape_that_does_not_fit():
    with pytest.raises(ValueError, match=r"takes images of shape \(height, width, channels\)"):
        layers.Conv2D(4, 3).multiply_adds((28, 28))
    with pytest.raises(ValueError, match="add the feature axis"):
        layers.Dense(4).multiply_adds(())


NAMES = [
    "x" * 300,
    "block_one.branch-two_convolution_number_12",
    "a name of many words, each of which could stand at the end of a line",
    "名前" * 40,
    "two\nlines\tand\x1b[31m",
    " leading",
]


class TestLineLength:
    def model(self, name="layer"):
        return Sequential(
            [
                Input((1000, 1000, 1)),
                layers.Conv2D(8, 1, name=name),
                Sequential([Sequential([layers.BatchNormalization(name=name)])], name=name + "2"),
                layers.Flatten(),
            ],
            name=name,
        )

    @pytest.mark.parametrize("line_length", [None, 62, 80, 81, 97, 120])
    @pytest.mark.parametrize("name", NAMES)
    def test_no_line_is_longer_and_nothing_is_cut_off(self, name, line_length):
        shown = text(self.model(name), line_length=line_length, expand_nested=True)
        assert all(columns(line) <= (line_length or 80) for line in shown.split("\n"))
        assert shown.replace("\n", "").isprintable()
        rows = [line for line in shown.split("\n") if line.startswith(("│", "┌", "├", "└"))]
        assert len({columns(line) for line in rows}) == 1
        first, *others = [
            line.strip("│").split("│")
            for line in rows
            if line.startswith("│") and "(type)" not in line
        ]
        said = name.replace("\n", "\\n").replace("\t", "\\t").replace("\x1b", "\\x1b")
        whole = "".join(parts[0] for parts in [first, *others]).replace(" ", "")
        assert whole.count(said.replace(" ", "")) == 3
        for shape in ("(None,1000,1000,8)", "(None,8000000)"):
            assert shape in "".join(parts[1] for parts in [first, *others]).replace(" ", "")

    def test_numbers_are_broken_last(self):
        class Huge(Silent):
            def multiply_adds(self, input_shape):
                return 10**18

        shown = text(Sequential([Input((1000, 1000)), Huge()]))
        assert "│ 1,000,000,000,000,000,000 │" in shown
        assert "│ (None, 1000,  │" in shown

    def test_too_small(self):
        with pytest.raises(
            ValueError, match=r"line_length must be at least \d+ for this table, got 20"
        ):
            cnn().summary(line_length=20)
        with pytest.raises(ValueError, match="line_length must be an integer of at least 1, got 0"):
            cnn().summary(line_length=0)
        least = 56
        text(cnn(), line_length=least)
        with pytest.raises(ValueError, match=f"at least {least} for this table, got {least - 1}"):
            cnn().summary(line_length=least - 1)

    @pytest.mark.parametrize(
        "arguments", [{"line_length": "80"}, {"expand_nested": 1}, {"show_trainable": None}]
    )
    def test_arguments_of_a_wrong_kind(self, arguments):
        with pytest.raises(TypeError, match=next(iter(arguments))):
            cnn().summary(**arguments)

    @pytest.mark.parametrize("name", ["positions", "layer_range"])
    def test_what_is_not_there_is_named(self, name):
        with pytest.raises(TypeError, match=rf"summary\(\) has no argument '{name}'"):
            cnn().summary(**{name: None})


class TestTable:
    def test_as_wide_as_its_texts(self):
        assert (
            table(["a", "number"], [["one", "1"]])
            == """\
┌─────┬────────┐
│ a   │ number │
├─────┼────────┤
│ one │      1 │
└─────┴────────┘"""
        )

    def test_words_before_names_before_letters(self):
        def column(name, line_length):
            lines = table([name], [], line_length=line_length).split("\n")[1:-2]
            return [line.strip("│ ") for line in lines]

        assert column("first_part second", 16) == ["first_part", "second"]
        assert column("first_part second", 13) == ["first_", "part", "second"]
        assert column("first_part second", 12) == ["first_", "part", "second"]
        assert column("abcdefghijk", 12) == ["abcdefgh", "ijk"]

    def test_a_lead_stands_before_all_lines(self):
        lines = table(["└ first second"], [], left=[0], line_length=14).split("\n")
        assert lines[1:3] == ["│ └ first    │", "│   second   │"]
