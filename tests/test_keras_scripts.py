"""Scripts written for Keras run here after one line of them was changed.

Each file in keras_scripts runs under Keras as it is. Here ``import keras`` becomes
``import tinynet as keras``, and the data are the bundled sample.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from tinynet.datasets import fashion_mnist

SCRIPTS = Path(__file__).parent / "keras_scripts"

# Of each script: how many training images it gets (fewer for the CNN, for which the NumPy kernels
# are slow), the files that it writes, and the least accuracy, some 0.03 below the lowest of four
# seeds. Keras 3.15 reaches 0.850, 0.775, 0.847, 0.825 and 0.859 on the same images.
EXPECTED = {
    "mlp_128": (6000, ["first_25_images.png", "first_image.png", "predictions.png"], 0.82),
    "cnn": (1000, ["accuracy.png"], 0.68),
    "mlp_100_75": (6000, ["learning_curves.png"], 0.78),
    "mlp_300_100": (6000, ["curves.png", "model.png"], 0.79),
    "end_to_end": (6000, ["classes.png", "curves.png", "log.csv"], 0.82),
}


def test_all_scripts_are_here():
    assert {path.stem for path in SCRIPTS.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_runs_with_one_line_changed(name, sample, tmp_path, monkeypatch, capfd):
    images, files, least = EXPECTED[name]
    source = (SCRIPTS / f"{name}.py").read_text()
    lines = source.splitlines()
    assert lines.count("import keras") == 1
    lines[lines.index("import keras")] = "import tinynet as keras"
    (x, y), (x_test, y_test) = sample
    part = (x[:images], y[:images]), (x_test[: images // 5], y_test[: images // 5])
    monkeypatch.setattr(fashion_mnist, "load_data", lambda: part)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    with mpl.rc_context({"backend": "agg"}):
        try:
            exec(compile("\n".join(lines), name, "exec"), namespace)
        finally:
            plt.close("all")
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert namespace["test_accuracy"] > least
    assert capfd.readouterr().err == ""
