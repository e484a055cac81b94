"""What a notebook shows: HTML that is whole, and in which every name is text."""

from html.parser import HTMLParser

import numpy as np
import pytest

from tinynet import Input, Layer, Sequential, layers
from tinynet.callbacks import History
from tinynet.display import format_value, html_table


class Page(HTMLParser):
    """The tags of a page and the cells of its tables; an error where a tag is not closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.rows, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def recorded(*epochs, first=0):
    history = History()
    for i, logs in enumerate(epochs):
        history.on_epoch_end(first + i, logs)
    return history


class TestHistory:
    def test_a_row_an_epoch(self):
        page = Page(recorded({"loss": 0.5, "val_loss": 0.0001}, {"loss": 12.25})._repr_html_())
        assert page.rows == [
            ["epoch", "loss", "val_loss"],
            ["1", "0.5000", "1.000e-04"],
            ["2", "12.2500", ""],
        ]

    def test_values_stand_at_their_epochs(self):
        page = Page(recorded({"loss": 3.0}, {"loss": 2.0, "val_loss": 1.0}, first=4)._repr_html_())
        assert page.rows[1:] == [["5", "3.0000", ""], ["6", "2.0000", "1.0000"]]

    def test_many_epochs_are_the_first_and_the_last(self):
        page = Page(recorded(*({"loss": float(i)} for i in range(100)))._repr_html_())
        numbers = [row[0] for row in page.rows[1:]]
        assert numbers == [*map(str, range(1, 11)), "…", *map(str, range(91, 101))]

    def test_exactly_what_fits_is_shown_whole(self):
        page = Page(recorded(*({"loss": 1.0} for _ in range(20)))._repr_html_())
        assert [row[0] for row in page.rows[1:]] == [*map(str, range(1, 21))]

    def test_nan(self):
        assert Page(recorded({"loss": float("nan")})._repr_html_()).rows[1] == ["1", "nan"]

    def test_before_the_first_epoch(self):
        assert Page(History()._repr_html_()).texts == ["History()  # 0 epochs"]

    def test_names_are_text(self):
        page = Page(recorded({"loss": 1.0, "<script>": 2.0})._repr_html_())
        assert "script" not in page.tags
        assert page.rows[0] == ["epoch", "loss", "<script>"]

    def test_the_history_stays_as_it_is(self):
        history = recorded({"loss": 1.0})
        history._repr_html_()
        assert history.history == {"loss": [1.0]}
        assert history.epochs_of == {"loss": [0]}


class TestModel:
    def model(self):
        return Sequential(
            [
                Input((4,)),
                layers.Dense(3, name="<script>"),
                Sequential([layers.Dense(2, trainable=False)], name="in & out"),
            ],
            name="<b>",
        )

    def test_the_summary_with_the_layers_of_inner_models(self):
        page = Page(self.model()._repr_html_())
        assert [row[0] for row in page.rows] == [
            "Layer (type)", "<script> (Dense)", "in & out (Sequential)", "   └ dense (Dense)",
        ]  # fmt: skip
        assert page.rows[1][1:] == ["(None, 3)", "15 (60.00\xa0B)", "yes", "12"]
        assert page.rows[2][1:] == ["(None, 2)", "8 (32.00\xa0B)", "no", "6"]
        assert any("Total params: 23" in text for text in page.texts)

    def test_names_are_text(self):
        page = Page(self.model()._repr_html_())
        assert not {"script", "b"} & set(page.tags)
        assert 'Sequential "<b>"' in page.texts

    def test_before_the_shape_is_known(self):
        page = Page(Sequential([layers.Flatten()])._repr_html_())
        assert page.rows[1] == ["flatten (Flatten)", "?", "0 (unbuilt)", "?", "?"]

    def test_without_layers(self):
        assert len(Page(Sequential()._repr_html_()).rows) == 1


class TestLayer:
    def test_the_call_and_the_arrays(self):
        layer = layers.BatchNormalization(name="<script>")
        layer.build((4,), np.random.default_rng(0))
        page = Page(layer._repr_html_())
        assert "script" not in page.tags
        assert page.texts[0] == repr(layer)
        assert page.rows == [
            ["array", "shape", "numbers", "trainable"],
            ["gamma", "(4,)", "4", "yes"],
            ["beta", "(4,)", "4", "yes"],
            ["moving_mean", "(4,)", "4", "no"],
            ["moving_variance", "(4,)", "4", "no"],
        ]

    def test_a_frozen_layer(self):
        layer = layers.Dense(1000, trainable=False)
        layer.build((4,), np.random.default_rng(0))
        assert Page(layer._repr_html_()).rows[1] == ["kernel", "(4, 1000)", "4,000", "no"]

    @pytest.mark.parametrize("layer", [layers.Dense(3), layers.ReLU(), Layer(), Input((3,))])
    def test_without_arrays_the_call_alone(self, layer):
        page = Page(layer._repr_html_())
        assert page.tags == ["pre"]
        assert page.texts == [repr(layer)]


def test_the_colours_are_those_of_the_page():
    html = html_table(["a", "b"], [["1", "2"]], "caption")
    assert "color: inherit; background: none" in html
    assert not any(word in html for word in ("<script", "<style", "http", "#", "white;", "black"))


def test_columns_are_aligned():
    html = html_table(["a", "b"], [["1", "2"]], left=(1,))
    assert html.count("text-align: right") == html.count("text-align: left") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (1.0, "1.0000"),
        (9.99e-4, "9.990e-04"),
        (-1e-5, "-1.000e-05"),
        (1e-3, "0.0010"),
    ],
)
def test_values(value, text):
    assert format_value(value) == text
