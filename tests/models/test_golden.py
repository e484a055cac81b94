"""Model files of every version that was ever released are read, and predict what they did."""

import json
from pathlib import Path

import make_golden
import numpy as np
import pytest

from tinynet import random, saving
from tinynet.models import load_model
from tinynet.saving.file import MAJOR, MINOR

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ["1.0"]
MODELS = ["mlp", "cnn"]

# Of each version, for ever: a reader that no longer takes them breaks what people have kept.
FILES = {f"{name}-{version}.tinynet" for name in (*MODELS, "weights") for version in VERSIONS}


def expected(path):
    return np.array(json.loads(path.with_suffix(".json").read_text()))


def test_the_version_that_is_written_has_its_files():
    assert f"{MAJOR}.{MINOR}" in VERSIONS
    assert {path.name for path in GOLDEN.glob("*.tinynet")} == FILES
    for path in GOLDEN.iterdir():
        assert path.stat().st_size < 10_000


@pytest.mark.parametrize("name", sorted(FILES))
def test_they_are_whole(name):
    assert saving.describe(GOLDEN / name).endswith("All checksums hold.")
    with saving.ModelFile(GOLDEN / name) as file:
        assert "{}.{}".format(*file.version) == name.removesuffix(".tinynet").split("-")[1]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MODELS)
def test_models_predict_what_they_did(name, version, tmp_path):
    path = GOLDEN / f"{name}-{version}.tinynet"
    model = load_model(path)
    x = make_golden.inputs(model.input_shape)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected(path), rtol=1e-5)
    model.save(tmp_path / "again.tinynet")
    assert (tmp_path / "again.tinynet").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_weights_alone_predict_what_they_did(version, tmp_path):
    path = GOLDEN / f"weights-{version}.tinynet"
    model = make_golden.mlp()
    model.load_weights(path)
    x = make_golden.inputs(model.input_shape)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected(path), rtol=1e-5)
    model.save_weights(tmp_path / "again.tinynet")
    assert (tmp_path / "again.tinynet").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_else_is_in_them(version):
    mlp, cnn = (load_model(GOLDEN / f"{name}-{version}.tinynet") for name in MODELS)
    assert repr(mlp.optimizer) == (
        "Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, name='adam')"
    )
    assert mlp.optimizer.iterations == 15
    assert mlp.metrics_given == ["accuracy"]
    assert mlp.optimizer.slots.keys() == mlp.params.keys()
    assert repr(cnn.optimizer) == (
        "SGD(learning_rate=0.05, momentum=0.9, nesterov=True, name='sgd')"
    )
    assert cnn.loss.label_smoothing == 0.1
    assert not cnn.get_layer("dense").trainable
    assert "dense/kernel" not in cnn.optimizer.slots
    assert [layer.name for layer in cnn.get_layer("inner").layers] == ["conv2d", "leaky_re_lu"]
    fresh = np.random.default_rng(11)
    assert random.state_of(cnn.get_layer("dropout").rng) != random.state_of(fresh)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MODELS)
def test_training_goes_on_from_them(name, version):
    model = load_model(GOLDEN / f"{name}-{version}.tinynet")
    x = make_golden.inputs(model.input_shape)
    y = np.arange(len(x)) % 3
    y = np.eye(3)[y] if name == "cnn" else y
    losses = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_the_script_makes_them_and_replaces_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make_golden.py", str(tmp_path / "out")])
    make_golden.main()
    assert "All checksums hold." in capsys.readouterr().out
    contents = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    version = f"{MAJOR}.{MINOR}"
    for name in (*MODELS, "weights"):
        made = contents[f"{name}-{version}.tinynet"]
        assert len(made) == (GOLDEN / f"{name}-{version}.tinynet").stat().st_size
    assert len(contents) == 6
    make_golden.main()
    assert capsys.readouterr().out.count("is there and stays") == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == contents
