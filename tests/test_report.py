"""The report: what is in the file, that it needs nothing else, and what is refused."""

import base64
import importlib.metadata
import io
import os
import platform
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

import tinynet
from tinynet import Input, Sequential, callbacks, layers, losses, metrics, plotting, random
from tinynet.datasets.fashion_mnist import class_names
from tinynet.reporting import sections
from tinynet.utils import to_categorical

VOID = {"meta", "link", "img", "br", "wbr"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background"}
EVIL = "</td><script>alert('&amp;')</script>"
EVIL_NAME = "\"><script>alert('&amp;')"  # of a layer, which takes no slash


class Page(HTMLParser):
    """A report, taken apart; complains where tags are not closed in the order they were opened."""

    def __init__(self, path):
        super().__init__()
        self.html = Path(path).read_text(encoding="utf-8")
        self.tags, self.attributes, self.texts = [], [], {}
        self.rows, self._open, self._section = [], [], ""
        self.feed(self.html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.attributes.append((tag, attrs))
        if tag == "section":
            self._section = attrs["id"]
        if tag == "tr":
            self.rows.append((self._section, []))
        if tag in ("th", "td"):
            self.rows[-1][1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts[self._section] = self.texts.get(self._section, "") + data
        if {"th", "td"} & set(self._open):
            self.rows[-1][1][-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.attributes if name == tag]

    def table(self, section):
        return [row for where, row in self.rows if where == section]


def pixels(uri):
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return imread(io.BytesIO(base64.b64decode(data)), format="png")


def dense(*parts, shape=(28, 28), loss="sparse_categorical_crossentropy", scores=("accuracy",)):
    random.set_random_seed(1)
    model = Sequential([Input(shape), *parts])
    model.compile("adam", loss, metrics=list(scores))
    return model


@pytest.fixture(scope="module")
def data(sample):
    (x, y), (x_test, y_test) = sample
    return x[:1000], y[:1000], x_test[:300], y_test[:300]


@pytest.fixture(scope="module")
def mlp(data):
    """Trained for two epochs, with its history."""
    x, y, *_ = data
    model = dense(
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dense(10, activation="softmax"),
    )
    return model, model.fit(x, y, epochs=2, validation_split=0.2, verbose=0)


@pytest.fixture(scope="module")
def usual(mlp, data):
    """The arguments of a report on the MLP, but for the path."""
    model, history = mlp
    given = {"model": model, "history": history, "x_test": data[2], "y_test": data[3]}
    return {**given, "class_names": class_names}


@pytest.fixture(scope="module")
def page(usual, tmp_path_factory):
    """The report on the MLP, taken apart."""
    return Page(tinynet.report(**usual, path=tmp_path_factory.mktemp("report") / "report.html"))


@pytest.fixture
def write(usual, tmp_path):
    """Write a report with other arguments, and take it apart."""
    usual = {**usual, "path": tmp_path / "report.html"}
    return lambda **arguments: Page(tinynet.report(**{**usual, **arguments}))


class TestContent:
    def test_a_heading_for_each_section_and_a_link_to_it(self, page):
        anchors = [section.anchor for section in sections.SECTIONS]
        assert [attrs["id"] for attrs in page.all("section")] == anchors
        assert [a["href"] for a in page.all("a")] == [f"#{anchor}" for anchor in anchors]
        for section in sections.SECTIONS:
            assert section.heading in page.texts[section.anchor]

    def test_the_figures_that_matter(self, page, mlp, data):
        loss, accuracy = mlp[0].evaluate(data[2], data[3], verbose=0)
        text = page.texts["results"].split("\n")
        assert f"Test accuracy{accuracy:.2%}" in text
        assert f"Test loss{loss:.4f}" in text
        assert "Parameters12,730" in text
        assert "Epochs2" in text

    def test_other_metrics_are_there_too(self, write, data):
        top_3 = metrics.SparseTopKCategoricalAccuracy(3, name="top_3")
        model = dense(
            layers.Flatten(), layers.Dense(10, activation="softmax"), scores=["accuracy", top_3]
        )
        _, _, top = model.evaluate(data[2], data[3], verbose=0)
        assert f"Test top 3{top:.4f}" in write(model=model).texts["results"]

    def test_learning_curves_of_each_measure(self, page, mlp):
        history = mlp[1].history
        drawn = [a["alt"] for a in page.all("img") if "over the epochs" in a["alt"]]
        first, last = history["val_loss"][0], history["val_loss"][-1]
        assert [alt.split()[1] for alt in drawn] == ["loss", "accuracy"]
        assert f"validation from {first:.4g} to {last:.4g}" in drawn[0]

    def test_no_history(self, write):
        page = write(history=None)
        assert "The history of the training was not given." in page.texts["curves"]
        assert "Epochs" not in page.texts["results"]
        assert not [a for a in page.all("img") if "over the epochs" in a["alt"]]

    def test_several_histories_and_files(self, write, mlp, tmp_path):
        log = tmp_path / "log.csv"
        log.write_text("epoch,loss\n0,3.5\n1,0.25\n")
        page = write(history={"first": mlp[1], "from <file>": log})
        alt = next(a["alt"] for a in page.all("img") if "loss" in a["alt"])
        assert "from <file>, training from 3.5 to 0.25" in alt

    def test_nan_in_the_history(self, write):
        page = write(history={"loss": [1.0, np.nan], "val_loss": [np.nan, np.inf]})
        assert any("training from 1 to nan" in a["alt"] for a in page.all("img"))

    def test_the_confusion_matrix(self, page, mlp, data):
        head, names, *rows = page.table("confusion")
        assert head == ["", "predicted class"]
        assert names == ["true class", *class_names]
        predicted = mlp[0].predict(data[2], verbose=0)
        matrix = metrics.confusion_matrix(data[3], predicted)
        assert [row[0] for row in rows] == list(class_names)
        assert [[int(n) for n in row[1:]] for row in rows] == matrix.tolist()

    def test_the_classes(self, page, mlp, data):
        head, *rows, mean, weighted = page.table("classes")
        assert head == ["class", "precision", "recall", "F1", "support"]
        found = metrics.classification_report(data[3], mlp[0].predict(data[2], verbose=0))
        for i, row in enumerate(rows):
            assert row[:1] + row[-1:] == [class_names[i], str(found.support[i])]
            precision = f"{found.precision[i]:.3f}" if found.predicted[i] else "–"
            assert row[1:-1] == [precision, f"{found.recall[i]:.3f}", f"{found.f1[i]:.3f}"]
        assert mean[1:] == [*(f"{n:.3f}" for n in found.mean().values()), "300"]
        assert weighted[1:] == [*(f"{n:.3f}" for n in found.mean(True).values()), "300"]

    def test_a_share_of_nothing_is_a_dash(self, write, data):
        model = dense(layers.Flatten(), layers.Dense(10, activation="softmax"))
        bias = np.eye(10)[3] * 9  # always class 3
        model.set_weights([np.zeros((784, 10)), bias])
        only_4 = data[3] == 4
        rows = write(model=model, x_test=data[2][only_4], y_test=data[3][only_4]).table("classes")
        assert rows[1 + 4][1:4] == ["–", "0.000", "0.000"]
        assert rows[1 + 3][1:4] == ["0.000", "–", "0.000"]
        assert rows[1 + 5][1:4] == ["–", "–", "–"]

    def test_the_worst_mistakes_first_with_their_images(self, page, mlp, data):
        p = mlp[0].predict(data[2], verbose=0)
        wrong = np.flatnonzero(p.argmax(1) != data[3])
        order = wrong[np.argsort(-p.max(1)[wrong], kind="stable")]
        text = page.texts["mistakes"]
        assert f"{len(wrong)} of 300 samples are predicted wrong. The 12 most confident" in text
        assert [int(i) for i in re.findall(r"x_test\[(\d+)\]", text)] == order[:12].tolist()
        images = [a for a in page.all("img") if a.get("class") == "sample"]
        assert len(images) == 12
        worst = order[0]
        assert images[0]["alt"] == f"Test sample {worst}, of class {class_names[data[3][worst]]}"
        shown = pixels(images[0]["src"])
        assert shown.shape == (28, 28, 4)
        white_to_black = 1 - data[2][worst] / 255
        assert np.abs(shown[..., 0] - white_to_black).max() < 0.01
        assert f"✗ {class_names[p[worst].argmax()]}" in text
        assert f"{p[worst].max():.0%}" in text

    def test_few_mistakes_are_all_shown(self, write, mlp, data):
        right = mlp[0].predict(data[2], verbose=0).argmax(1)
        labels = right.copy()
        labels[[5, 7]] = (right[[5, 7]] + 1) % 10
        text = write(y_test=labels).texts["mistakes"]
        assert "2 of 300 samples are predicted wrong.\n" in text
        assert sorted(re.findall(r"x_test\[(\d+)\]", text)) == ["5", "7"]

    def test_no_mistakes(self, write, mlp, data):
        right = mlp[0].predict(data[2][:1], verbose=0).argmax(1)
        text = write(x_test=data[2][:1], y_test=right).texts["mistakes"]
        assert "There are none: the model is right every time." in text

    def test_the_summary_and_the_drawing(self, page):
        head, *rows = page.table("model")
        assert head[:2] == ["Layer (type)", "Output Shape"]
        assert [row[0] for row in rows] == [
            "rescaling (Rescaling)", "flatten (Flatten)", "dense (Dense)", "dense_1 (Dense)",
        ]  # fmt: skip
        assert rows[2][1].replace("\xa0", " ") == "(None, 16)"
        assert "Trainable params: 12,730" in page.texts["model"]
        assert any("The layers from the input to the output" in a["alt"] for a in page.all("img"))

    def test_the_kernels_of_the_first_layer_that_has_some(self, page):
        assert any("kernels of dense," in a["alt"] for a in page.all("img"))

    def test_timings(self, write, page):
        text = write(training_seconds=3723.4).texts["timings"]
        assert re.search(r"Evaluation[\d.]+ m?s for 300 samples in batches of 32", text)
        assert re.search(r"Rate[\d,]+ samples a second", text)
        assert "Training1 h 2 min" in text
        assert "Training" not in page.texts["timings"]

    def test_versions(self, page):
        text = page.texts["versions"]
        assert f"tinynet{tinynet.__version__}\n" in text
        assert f"NumPy{np.__version__}\n" in text
        assert f"Python{platform.python_version()}\n" in text
        assert f"numba{importlib.metadata.version('numba')}\n" in text
        for what in ("System", "Processor", "Kernels"):
            assert re.search(rf"{what}\S", text)

    def test_title(self, write, page):
        assert "<title>Report on sequential</title>" in page.html
        page = write(title="Clothes <again>")
        assert page.html.count("Clothes &lt;again&gt;") == 2
        assert page.tags.count("h1") == 1

    def test_only_timings_differ_from_one_report_to_the_next(self, write):
        def without_timings(page):
            return re.sub(r'(?s)<section id="timings".*?</section>', "", page.html)

        assert without_timings(write()) == without_timings(write())

    def test_small(self, page):
        assert len(page.html) < 1_000_000


class TestWritten:
    def test_well_formed_and_in_one_language(self, page):
        assert page.html.startswith("<!DOCTYPE html>\n")
        assert page.all("html") == [{"lang": "en"}]
        ids = [attrs["id"] for _, attrs in page.attributes if "id" in attrs]
        assert len(ids) == len(set(ids))

    def test_needs_nothing_else(self, write):
        page = write(title="http://example.com/")
        addresses = [v for _, attrs in page.attributes for k, v in attrs.items() if k in LOADING]
        assert addresses
        assert all(address.startswith(("data:", "#")) for address in addresses)
        assert not {"script", "iframe", "object", "embed", "form"} & set(page.tags)
        assert not [k for _, attrs in page.attributes for k in attrs if k.startswith("on")]
        style = re.search(r"(?s)<style>(.*)</style>", page.html)[1]
        assert "url(" not in style
        assert "@import" not in style
        policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
        assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

    def test_everything_has_a_name(self, page):
        assert all(attrs.get("alt") for attrs in page.all("img"))
        assert page.tags.count("table") == page.tags.count("caption") == 3
        assert all(attrs.get("scope") for attrs in page.all("th"))
        for attrs in page.all("section"):
            assert f'id="{attrs["aria-labelledby"]}"' in page.html

    def test_names_are_text_whatever_is_in_them(self, write, data):
        model = dense(
            layers.Flatten(name=f"f{EVIL_NAME}"),
            layers.Dense(10, activation="softmax", name=f"d{EVIL_NAME}"),
        )
        model.name = f"m{EVIL_NAME}"
        page = write(
            model=model, class_names=[f"{i}{EVIL}" for i in range(10)], title=f"t{EVIL}",
            history={f"h{EVIL}": {"loss": [1.0]}, "other": {f"e{EVIL}": [2.0]}},
        )  # fmt: skip
        assert "script" not in page.tags
        assert "<script" not in page.html
        for where in ("confusion", "classes", "mistakes"):
            assert f"7{EVIL}" in page.texts[where]
        assert f"t{EVIL}" in page.texts[""]
        assert f"m{EVIL_NAME}" in page.texts["model"]
        assert f"d{EVIL_NAME} (Dense)" in page.texts["model"]
        assert any(f"h{EVIL}, training" in a["alt"] for a in page.all("img"))

    def test_returns_the_path(self, write, mlp, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = tinynet.report(mlp[0], mlp[1], data[2], data[3])
        assert path == Path("report.html")
        assert os.listdir() == ["report.html"]

    @pytest.mark.parametrize("broken", ["kernels", "model"])
    def test_whole_or_not_at_all(self, write, broken, tmp_path, monkeypatch):
        old = tmp_path / "report.html"
        old.write_text("the old one")

        def interrupted(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(plotting, broken, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write()
        assert old.read_text() == "the old one"
        assert os.listdir(tmp_path) == ["report.html"]

    def test_a_full_disk_leaves_the_old_file(self, write, tmp_path, monkeypatch):
        old = tmp_path / "report.html"
        old.write_text("the old one")

        def full(descriptor):
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            write()
        assert old.read_text() == "the old one"
        assert os.listdir(tmp_path) == ["report.html"]

    def test_changes_nothing(self, write, mlp):
        def state():
            weights = [w.tobytes() for w in mlp[0].get_weights()]
            generator = str(random.generator().bit_generator.state)
            settings = {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
            return weights, generator, settings

        before = state()
        write()
        assert state() == before

    def test_says_nothing_where_nobody_watches(self, write, capsys):
        write()
        assert capsys.readouterr() == ("", "")


class TestModels:
    def test_a_cnn_in_a_model_in_a_model(self, write, data):
        inner = Sequential([layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D()], "eyes")
        model = dense(
            layers.Rescaling(1 / 255), inner, layers.Flatten(), layers.BatchNormalization(),
            layers.Dense(10), shape=(28, 28, 1),
            loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        )  # fmt: skip
        page = write(model=model, x_test=data[2][..., None])
        assert any("kernels of eyes/conv2d," in a["alt"] for a in page.all("img"))
        assert any("└ conv2d (Conv2D)" in row[0] for row in page.table("model"))
        assert len([a for a in page.all("img") if a.get("class") == "sample"]) == 12

    def test_colours(self, write, data):
        model = dense(layers.Flatten(), layers.Dense(10, activation="softmax"), shape=(28, 28, 3))
        x = np.repeat(data[2][..., None], 3, axis=3).copy()
        x[..., 0] = 255
        image = next(a for a in write(model=model, x_test=x).all("img") if "class" in a)
        shown = pixels(image["src"])
        index = int(re.search(r"sample (\d+),", image["alt"])[1])
        assert np.abs(shown[..., :3] - x[index] / 255).max() < 0.01

    def test_one_hot_labels(self, write, data):
        model = dense(
            layers.Flatten(), layers.Dense(10, activation="softmax"),
            loss="categorical_crossentropy",
        )  # fmt: skip
        rows = write(model=model, y_test=to_categorical(data[3], 10)).table("confusion")[2:]
        counts = np.bincount(data[3], minlength=10)
        assert [sum(map(int, row[1:])) for row in rows] == counts.tolist()

    @pytest.mark.parametrize("column", [False, True])
    @pytest.mark.parametrize("activation", ["sigmoid", None])
    def test_one_output_is_the_probability_of_the_second_class(
        self, write, data, activation, column
    ):
        loss = losses.BinaryCrossentropy(from_logits=activation is None)
        model = dense(layers.Flatten(), layers.Dense(1, activation=activation), loss=loss)
        y = (data[3] > 4).astype(int)
        given = y[:, None] if column else y
        page = write(model=model, y_test=given, class_names=["low", "high"])
        y_pred = model.predict(data[2], verbose=0)[:, 0] > (0 if activation is None else 0.5)
        rows = page.table("confusion")[2:]
        assert [[int(n) for n in row[1:]] for row in rows] == metrics.confusion_matrix(
            y, y_pred.astype(int), 2
        ).tolist()
        assert f"Test accuracy{(y == y_pred).mean():.2%}" in page.texts["results"]

    def test_features_that_are_no_image(self, write):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(50, 9)), rng.integers(0, 3, 50)
        model = dense(layers.Dense(3, activation="softmax"), shape=(9,))
        page = write(model=model, x_test=x, y_test=y, class_names=None)
        assert "Its inputs are not an image" in page.texts["kernels"]
        assert "x_test[" in page.texts["mistakes"]
        assert not [a for a in page.all("img") if a.get("class") == "sample"]

    def test_features_of_more_than_a_square_that_are_no_image(self, write):
        model = dense(layers.Dense(3, activation="softmax"), shape=(150,))
        x, y = np.random.default_rng(0).normal(size=(50, 150)), np.arange(50) % 3
        page = write(model=model, x_test=x, y_test=y, class_names=list("abc"))
        assert "Its inputs are not an image" in page.texts["kernels"]

    def test_images_in_rows(self, write, data):
        model = dense(layers.Dense(10, activation="softmax"), shape=(784,))
        page = write(model=model, x_test=data[2].reshape(-1, 784))
        assert all(a["width"] == a["height"] == "28" for a in page.all("img") if "class" in a)
        assert any("kernels of dense," in a["alt"] for a in page.all("img"))

    def test_no_kernel_at_all(self, write, data):
        model = dense(layers.GlobalAveragePooling2D(), layers.Softmax(), shape=(28, 28, 10))
        x = np.repeat(data[2][..., None], 10, axis=3) / 255
        text = write(model=model, x_test=x).texts["kernels"]
        assert "No layer of this model has a kernel." in text

    def test_a_hundred_classes_with_long_names(self, write, data):
        model = dense(layers.Flatten(), layers.Dense(100, activation="softmax"))
        names = [f"class {i} of a rather long name" for i in range(100)]
        y = np.arange(len(data[3])) % 100
        page = write(model=model, y_test=y, class_names=names)
        assert any("Confusion matrix of 100 classes" in a["alt"] for a in page.all("img"))
        predicted = model.predict(data[2], verbose=0).argmax(1)
        matrix = metrics.confusion_matrix(y, predicted, 100)
        np.fill_diagonal(matrix, 0)
        _, most, *_ = page.table("confusion")
        assert int(most[2]) == matrix.max()
        assert matrix[names.index(most[0]), names.index(most[1])] == matrix.max()
        assert len(page.table("classes")) == 100 + 3

    def test_a_model_that_gives_nan(self, write, data):
        model = dense(layers.Flatten(), layers.Dense(10, activation="softmax"))
        model.set_weights([np.full((784, 10), np.nan), np.zeros(10)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            page = write(model=model)
        assert "For 300 of 300 samples the model gives NaN or infinity" in page.texts["results"]
        assert "Test lossnan" in page.texts["results"]

    def test_float64(self, write, data):
        random.set_random_seed(1)
        model = Sequential(
            [Input((28, 28)), layers.Flatten(), layers.Dense(10, activation="softmax")],
            dtype="float64",
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        assert "Test accuracy" in write(model=model).texts["results"]


def unbuilt():
    model = Sequential([layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def regression():
    return dense(layers.Flatten(), layers.Dense(1), loss="mse")


def maps():
    return dense(layers.Conv2D(10, 3), shape=(28, 28, 1), loss="mse")


def not_compiled():
    return Sequential([Input((28, 28)), layers.Flatten(), layers.Dense(10, activation="softmax")])


# what is given, the error, and what it says
REFUSED = {
    "no model": ({"model": 3}, TypeError, "model must be a model, got 3"),
    "not compiled": ({"model": not_compiled}, ValueError, r"call compile\(optimizer, loss"),
    "not built": ({"model": unbuilt}, ValueError, "does not know its input's shape"),
    "a regression": (
        {"model": regression}, ValueError, "one number for each sample, which is no probability",
    ),
    "a map": ({"model": maps}, ValueError, r"arrays of shape \(26, 26, 10\) .* one row of class"),
    "lengths": (
        {"y_test": np.zeros(299, int)}, ValueError, "x_test has 300, y_test has 299",
    ),
    "labels too high": (
        {"y_test": np.full(300, 10)}, ValueError, "y_test must hold classes from 0 to 9, got 10",
    ),
    "labels negative": ({"y_test": np.full(300, -1)}, ValueError, "from 0 to 9, got -1 at index 0"),
    "labels broken": ({"y_test": np.full(300, 0.5)}, ValueError, "whole numbers, got 0.5"),
    "labels of text": ({"y_test": ["a"] * 300}, TypeError, "y_test must be an array of numbers"),
    "several right": (
        {"y_test": np.ones((300, 10))}, ValueError, "one-hot rows, .* for all others, got .1.0, 1",
    ),
    "too wide": ({"y_test": np.eye(300, 11)}, ValueError, "rows of 10 .* got rows of 11"),
    "one-hot for a loss of labels": (
        {"y_test": np.eye(10)[np.zeros(300, int)]}, ValueError, "takes class indices",
    ),
    "x of another shape": (
        {"x_test": np.zeros((300, 27, 27))}, ValueError, r"\(28, 28\), got .*\(300, 27, 27\)",
    ),
    "x of objects": ({"x_test": ["a"] * 300}, TypeError, "x_test must be an array of numbers"),
    "no samples": (
        {"x_test": np.zeros((0, 28, 28)), "y_test": np.zeros(0)}, ValueError, "x_test has no samp",
    ),
    "too few names": (
        {"class_names": ["a", "b"]}, ValueError, "class_names must have 10 names, .* got 2",
    ),
    "names in one": ({"class_names": "abcdefghij"}, TypeError, "class_names must be a list"),
    "no history": ({"history": 3}, TypeError, "history must be a History or a dict of lists"),
    "empty history": ({"history": callbacks.History()}, ValueError, "holds no epochs"),
    "no path": ({"path": 3}, TypeError, "path must be a str or an os.PathLike, got 3"),
    "an ending": ({"path": "report.pdf"}, ValueError, "must end in '.html'.*'report.pdf'"),
    "a home": ({"path": "~/report.html"}, ValueError, "which is not expanded here"),
    "no folder": ({"path": "not/there/report.html"}, FileNotFoundError, "no such folder"),
    "a folder": ({"path": "folder.html"}, OSError, "it is a folder"),
    "no title": ({"title": " "}, ValueError, "title is empty"),
    "title of numbers": ({"title": 3}, TypeError, "title must be a string, got 3"),
    "seconds": ({"training_seconds": -1}, ValueError, "training_seconds must be .* at least 0"),
    "verbose": ({"verbose": "loud"}, (TypeError, ValueError), "verbose must be"),
    "an unknown argument": ({"to_file": "x"}, TypeError, r"report\(\) has no argument 'to_file'"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    given, error, words, write, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    given = {k: v() if k == "model" and callable(v) else v for k, v in given.items()}
    with pytest.raises(error, match=words):
        write(**given)
    assert os.listdir() == ["folder.html"]
    assert os.listdir("folder.html") == []
