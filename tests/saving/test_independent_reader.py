"""The docstring of `tinynet.saving` is enough to write another reader from; its example is true."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sealing

from tinynet import Input, Sequential, layers, saving

READER = Path(__file__).with_name("independent_reader.py")


def read_all(path):
    with saving.ModelFile(path) as file:
        return file.header, {name: file.read(name) for name in file.tensors}


def load_reader():
    spec = importlib.util.spec_from_file_location("independent_reader", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trained(tmp_path):
    """A model with everything in it, and where it was saved."""
    head = [Input((6, 6, 1)), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten()]
    model = Sequential([*head, layers.Dropout(0.5, seed=1), layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(0).random((32, 6, 6, 1), np.float32)
    model.fit(x, np.arange(32) % 2, verbose=0)
    model.save(tmp_path / "model.tinynet")
    return model, tmp_path / "model.tinynet"


def test_the_reader_is_small_and_imports_nothing_of_tinynet():
    lines = READER.read_text().splitlines()
    assert len(lines) <= 60
    imports = [line.split()[1] for line in lines if re.match(r"\s*(import|from)\s", line)]
    assert imports == ["hashlib", "json", "re", "sys", "numpy"]
    assert "__import__" not in READER.read_text()


def test_it_reads_equal_tensors(trained):
    model, path = trained
    header, tensors = load_reader().read(path)
    expected = {f"weights/{key}": array for key, array in {**model.params, **model.state}.items()}
    expected |= {
        f"optimizer/{key}/{name}": array
        for key, slots in model.optimizer.slots.items()
        for name, array in slots.items()
    }
    assert tensors.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)
    assert header["kind"] == "model"
    assert header["model"]["config"]["layers"][1]["config"]["filters"] == 3
    assert header["compiled"]["iterations"] == 1


def test_it_runs_where_there_is_no_tinynet(trained):
    # -I: neither this folder nor PYTHONPATH is looked into; and a tinynet that was would fail.
    code = "import sys, runpy; sys.modules['tinynet'] = None; sys.argv.pop(0)\n"
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-I", "-c", code, str(READER), str(trained[1])]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stderr == ""
    assert "weights/conv2d/kernel" in ended.stdout


def test_it_refuses_each_changed_byte(trained):
    reader, path = load_reader(), trained[1]
    data = bytearray(path.read_bytes())
    for i in range(0, len(data), 7):
        data[i] ^= 0x10
        sealing.put(path, data)
        with pytest.raises(ValueError, match=r"."):
            reader.read(path)
        data[i] ^= 0x10
    path.write_bytes(data)
    reader.read(path)


@pytest.mark.parametrize(
    ("rows", "length"),
    [
        ([sealing.entry(name="../x")], 12),
        ([sealing.entry(name="")], 12),
        ([sealing.entry(name="a/./b")], 12),
        ([sealing.entry(name="a\0")], 12),
        ([sealing.entry(), sealing.entry(offset=64)], 76),
        ([sealing.entry(offset=64)], 76),
        ([sealing.entry("a"), sealing.entry("b", offset=12)], 24),
        ([sealing.entry()], 11),
        ([sealing.entry()], 13),
        ([sealing.entry(shape=(3, 0))], 12),
        ([sealing.entry(sha256="0" * 64)], 12),
    ],
)
def test_it_refuses_what_the_library_refuses(tmp_path, rows, length):
    path = tmp_path / "file.tinynet"
    path.write_bytes(sealing.table_file(rows, bytes(length)))
    with pytest.raises(saving.ModelFileError):
        read_all(path)
    with pytest.raises(ValueError, match=r"."):
        load_reader().read(path)


# --- the example in the docstring ----------------------------------------------------------------

CONTENT = {"x": np.array([[1, -2]], "float32"), "n": np.array(3)}
ROW = re.compile(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} ?){1,16}) *(.*)$", re.MULTILINE)


def example():
    """The bytes of the dump in the docstring, which stand there at their offsets."""
    data = b""
    for offset, digits, _ in ROW.findall(saving.__doc__):
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(digits)
    return data


def test_the_example_in_the_docstring_is_what_is_written(tmp_path):
    path = tmp_path / "example.tinynet"
    saving.write(path, {"kind": "example"}, CONTENT)
    assert example() == path.read_bytes()


def test_both_readers_read_the_example(tmp_path):
    path = tmp_path / "example.tinynet"
    path.write_bytes(example())
    header, tensors = load_reader().read(path)
    assert read_all(path)[0] == header == {"kind": "example"}
    for name, array in read_all(path)[1].items():
        np.testing.assert_array_equal(array, CONTENT[name], strict=True)
        np.testing.assert_array_equal(tensors[name], CONTENT[name], strict=True)


def test_the_header_of_the_example_stands_beside_its_bytes():
    text = ""
    for _, digits, beside in ROW.findall(saving.__doc__):
        if beside.startswith("|"):
            assert beside == f"|{bytes.fromhex(digits).decode()}|"
            text += beside[1:-1]
    assert text == sealing.parts(example())[0].decode()
    assert json.loads(text)["kind"] == "example"
