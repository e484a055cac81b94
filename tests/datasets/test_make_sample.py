import gzip

import make_sample
import numpy as np
import pytest

from tinynet.datasets import fashion_mnist, idx


def test_the_first_of_each_class_are_chosen_in_their_order():
    y = np.array([2, 0, 2, 1, 2, 1, 0, 0, 1], np.uint8)
    assert make_sample.first_of_each_class(y, 2).tolist() == [0, 1, 2, 3, 5, 6]


def test_compressed_data_hold_no_name_and_no_time():
    data = make_sample.gz_bytes(b"shirt" * 100)
    assert gzip.decompress(data) == b"shirt" * 100
    flags, time = data[3], data[4:8]
    assert flags == 0
    assert time == bytes(4)


def test_the_script_writes_the_four_files(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(3)

    def split(n):
        y = rng.permutation(np.arange(n) % 10).astype(np.uint8)
        return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), y

    train, test = split(50), split(30)
    monkeypatch.setattr(fashion_mnist, "load_data", lambda: (train, test))
    monkeypatch.setattr(make_sample, "TRAIN_PER_CLASS", 3)
    monkeypatch.setattr(make_sample, "TEST_PER_CLASS", 2)
    monkeypatch.setattr("sys.argv", ["make_sample.py", str(tmp_path / "out")])
    make_sample.main()

    def read(name):
        path = tmp_path / "out" / f"{name}-ubyte.gz"
        return idx.parse(gzip.decompress(path.read_bytes()))

    for prefix, (x, y), n in ("train", train, 30), ("t10k", test, 20):
        images, labels = read(f"{prefix}-images-idx3"), read(f"{prefix}-labels-idx1")
        assert images.shape == (n, 28, 28)
        assert np.bincount(labels).tolist() == [n // 10] * 10
        for image, label in zip(images, labels, strict=True):
            [index] = np.flatnonzero((x == image).all(axis=(1, 2)))
            assert y[index] == label
    assert capsys.readouterr().out.count(" bytes ") == 4


@pytest.mark.parametrize("count", [0, 4])
def test_choosing_none_or_all(count):
    y = np.arange(40) % 10
    assert make_sample.first_of_each_class(y, count).tolist() == list(range(10 * count))
