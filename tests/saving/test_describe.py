"""`tinynet.saving.describe` and the command of the same."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import sealing

from tinynet import Input, Sequential, layers, saving


def compiled_mlp():
    head = [Input((28, 28)), layers.Flatten(), layers.Dense(128, "relu")]
    model = Sequential([*head, layers.Dropout(0.2, seed=1), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def mlp(tmp_path):
    model = compiled_mlp()
    model.fit(np.zeros((64, 28, 28)), np.zeros(64), verbose=0)
    model.save(tmp_path / "mlp.tinynet")
    return tmp_path / "mlp.tinynet"


def run(*paths):
    command = [sys.executable, "-W", "error", "-m", "tinynet.saving", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True)


def test_everything_is_in_it(mlp):
    text = saving.describe(mlp)
    for part in (
        f"{mlp}: a model",
        "format 1.0, ",
        "101,770 parameters",
        "Sequential 'sequential' in float32",
        "flatten (Flatten)",
        "dense (Dense)",
        "units=128, activation=relu",
        "100,480",
        "dropout (Dropout)",
        "rate=0.2, seed=1",
        "dense_1 (Dense)",
        "1,290",
        "optimizer  Adam(learning_rate=0.001, beta_1=0.9",
        "steps      2",
        "loss       SparseCategoricalCrossentropy(",
        "metrics    accuracy",
        "weights/dense/kernel",
        "784 x 128",
        "392.0 KB",
        "optimizer/dense_1/bias/v",
        "40 B",
        "All checksums hold.",
    ):
        assert part in text, text
    assert f"{mlp.stat().st_size:,} bytes, 12 tensors" in text


def test_an_mlp_fits_the_width_of_a_terminal(mlp, monkeypatch):
    monkeypatch.chdir(mlp.parent)
    lines = saving.describe(mlp.name).splitlines()
    assert max(map(len, lines)) <= 100, "\n".join(lines)
    assert len(lines) < 50
    # Columns: everything under a title begins where the title does.
    titles = next(line for line in lines if line.startswith("Tensor"))
    rows = [line for line in lines if line.startswith(("weights/", "optimizer/"))]
    assert len(rows) == 12
    for title in ("dtype", "Shape", "Checksum"):
        place = titles.index(title)
        assert all(row[place - 1] == " " and row[place] != " " for row in rows)


def test_a_model_within_the_model_is_set_in(tmp_path):
    parts = [Input((3,)), layers.Dense(2), layers.BatchNormalization()]
    inner = Sequential(parts, name="inner", dtype="float64")
    inner.trainable = False
    model = Sequential([inner, layers.Dense(4)], name="outer", dtype="float64")
    model.save(tmp_path / "m.tinynet")
    text = saving.describe(tmp_path / "m.tinynet")
    assert "Sequential 'outer' in float64" in text
    row = next(line for line in text.splitlines() if line.startswith("inner (Sequential)"))
    assert row.split()[2] == "16"  # of all its layers
    row = next(line for line in text.splitlines() if line.startswith("  batch_normalization"))
    assert "momentum=0.99" in row
    assert "not trainable" in row
    assert row.split()[2] == "8"
    assert "optimizer" not in text


def test_weights_alone(tmp_path):
    compiled_mlp().save_weights(tmp_path / "w.tinynet")
    text = saving.describe(tmp_path / "w.tinynet")
    assert "w.tinynet: weights alone" in text
    assert "101,770 parameters" in text
    assert "Layer" not in text
    assert "All checksums hold." in text


def test_one_number_and_no_tensors(tmp_path):
    path = tmp_path / "x.tinynet"
    saving.write(path, {}, {"x": np.array(1.0)})
    assert "one number" in saving.describe(path)
    assert "something of an unknown kind" in saving.describe(path)
    saving.write(path, {}, {})
    assert "0 tensors, 0 parameters" in saving.describe(path)


def test_what_is_broken_is_named(mlp):
    with saving.ModelFile(mlp) as file:
        places = [
            file.tensors[name].offset for name in ("weights/dense/bias", "optimizer/dense/kernel/v")
        ]
    data = bytearray(mlp.read_bytes())
    for place in places:
        data[place] ^= 1
    mlp.write_bytes(data)
    text = saving.describe(mlp)
    assert text.count("BROKEN") == 2
    assert text.count("holds") == 10
    assert text.splitlines()[-1] == (
        "2 of 12 tensors are broken: weights/dense/bias, optimizer/dense/kernel/v"
    )
    assert "All checksums hold" not in text


def test_an_unknown_layer_is_described_since_no_model_is_built(mlp):
    def edit(header, arrays):
        header["model"]["config"]["layers"][1]["class_name"] = "os.system"
        header["compiled"]["loss"] = "something else"

    sealing.change(mlp, edit)
    text = saving.describe(mlp)
    assert "flatten (os.system)" in text
    assert "loss       something else" in text


@pytest.mark.parametrize("value", [None, 0, True, "x", [], {}, [[]], {"config": 3}, [{"a": []}]])
def test_headers_of_any_kind_are_described(tmp_path, value):
    path = tmp_path / "x.tinynet"
    model = {"class_name": value, "config": {"name": value, "dtype": value, "layers": value}}
    layer = {"class_name": value, "config": {"name": value, "trainable": value, "units": value}}
    deeper = {"class_name": "Sequential", "config": {"layers": [value, layer, {"config": value}]}}
    compiled = {"optimizer": value, "iterations": value, "loss": value, "metrics": [value, value]}
    for header in (
        {"kind": value, "model": value, "compiled": value, "training": value, "made_by": value},
        {"kind": "model", "model": model, "compiled": compiled},
        {"kind": "model", "model": deeper, "compiled": {"metrics": value}},
        {"kind": "training", "made_by": {"the model": deeper, "the data, x": value}},
        {
            "kind": "training",
            "training": {"dict": {"epoch": value}},
            "made_by": {"the data, x": {}},
        },
    ):
        saving.write(path, header, {"x": np.zeros(1)})
        assert "All checksums hold." in saving.describe(path)


def test_nothing_of_it_reaches_the_terminal_as_a_command(tmp_path):
    path = tmp_path / "x.tinynet"
    config = {"name": "\x1b[2Ja\nb\r\x07\u202e", "\x1b]0;title\x07": "\x9b31m"}
    layer = {"class_name": "\x1b[31mDense", "config": config}
    model = {"class_name": "Sequential", "config": {"name": "\x1b", "layers": [layer]}}
    compiled = {"optimizer": "\x1b", "iterations": "\x1b", "loss": "\x1b", "metrics": ["\x1b"]}
    saving.write(path, {"kind": "\x1b", "model": model, "compiled": compiled}, {})
    text = saving.describe(path)
    assert all(line.isprintable() for line in text.split("\n"))
    assert r"\x1b[2Ja\nb\r\x07\u202e (\x1b[31mDense)" in text


def test_endless_names_and_many_layers_are_described_quickly(tmp_path):
    path = tmp_path / "x.tinynet"
    rows = [{"class_name": "a", "config": {"name": str(i)}} for i in range(10_000)]
    rows[0] = {"class_name": "x" * 100_000, "config": {"name": "y" * 100_000}}
    tensors = {f"weights/{i}/{'z/' * 40}z": np.zeros(1, np.uint8) for i in range(1500)}
    model = {"class_name": "Sequential", "config": {"layers": rows}}
    saving.write(path, {"kind": "model", "model": model}, tensors)
    began = time.process_time()
    text = saving.describe(path)
    assert time.process_time() - began < 5
    assert len(text) < 10e6
    assert f"{'y' * 200}... " in text


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_the_description(mlp):
    ended = run(mlp)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == saving.describe(mlp) + "\n"


def test_the_command_names_the_corrupt_tensor(mlp):
    data = bytearray(mlp.read_bytes())
    data[-1] ^= 1
    mlp.write_bytes(data)
    ended = run(mlp)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "1 of 12 tensors are broken: optimizer/dense_1/bias/v" in ended.stdout


def test_the_command_goes_on_after_a_file_that_cannot_be_read(mlp):
    bad = mlp.with_name("bad.tinynet")
    bad.write_bytes(b"PK\3\4")
    ended = run(mlp.with_name("missing.tinynet"), bad, mlp.with_name("x.keras"), mlp, mlp)
    assert ended.returncode == 1
    errors = ended.stderr.splitlines()
    assert len(errors) == 3
    assert "No such file or directory" in errors[0]
    assert f"{str(bad)!r}: it is no model file: it begins with b'PK" in errors[1]
    assert "must end in '.tinynet'" in errors[2]
    assert ended.stdout.count("All checksums hold.") == 2
    assert ended.stdout.count(f"{mlp}: a model") == 2


def test_the_command_says_what_it_takes():
    ended = run()
    assert ended.returncode == 2
    assert "usage: python -m tinynet.saving [-h] file [file ...]" in ended.stderr


def test_names_that_the_terminal_cannot_show(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    saving.write(tmp_path / "x.tinynet", {}, {"\N{SNOWMAN}": np.zeros(1)})
    ended = run(tmp_path / "x.tinynet")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert r"\u2603" in ended.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs pipes of POSIX")
def test_a_reader_that_has_seen_enough(mlp):
    command = [sys.executable, "-m", "tinynet.saving", *[str(mlp)] * 50]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert str(mlp) in started.stdout.readline()
    started.stdout.close()
    assert started.stderr.read() == ""
    started.stderr.close()
    assert started.wait(timeout=60) == 1
