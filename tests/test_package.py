"""What importing tinynet does, and what it leaves undone, in a process of its own."""

import json
import os
import subprocess
import sys
from importlib import resources

import pytest

import tinynet

KERAS_NAMES = {
    "tinynet": "Input Layer Model Sequential callbacks datasets initializers layers losses metrics "
    "models optimizers utils",
    "layers": "Activation AveragePooling2D BatchNormalization Conv2D Dense Dropout Flatten "
    "GlobalAveragePooling2D Input Layer LeakyReLU MaxPooling2D ReLU Rescaling Reshape Softmax",
    "losses": "BinaryCrossentropy CategoricalCrossentropy Loss MeanSquaredError "
    "SparseCategoricalCrossentropy binary_crossentropy categorical_crossentropy get "
    "mean_squared_error sparse_categorical_crossentropy",
    "metrics": "Accuracy BinaryAccuracy CategoricalAccuracy Metric SparseCategoricalAccuracy "
    "SparseTopKCategoricalAccuracy TopKCategoricalAccuracy binary_accuracy categorical_accuracy "
    "get sparse_categorical_accuracy top_k_categorical_accuracy",
    "optimizers": "Adam Optimizer RMSprop SGD get",
    "initializers": "GlorotNormal GlorotUniform HeNormal HeUniform Ones Zeros get",
    "callbacks": "CSVLogger Callback EarlyStopping History LambdaCallback LearningRateScheduler "
    "ModelCheckpoint BackupAndRestore ReduceLROnPlateau TerminateOnNaN",
    "models": "Model Sequential clone_model load_model model_from_json save_model",
    "utils": "plot_model set_random_seed to_categorical",
    "datasets": "fashion_mnist",
}
OWN_NAMES = {
    "tinynet": "gradcheck kernels plotting report saving",
    "layers": "Sigmoid Tanh",
    "callbacks": "GradientHistory",
    "metrics": "classification_report confusion_matrix",
    "gradcheck": "check_layer check_model",
    "saving": "CorruptError MalformedError MisfitError ModelFile ModelFileError NewerVersionError "
    "NotAModelFileError TensorInfo TruncatedError UnknownLayerError describe write",
    "plotting": "activation_histograms class_counts classification_report confusion_matrix "
    "feature_maps gradient_flow gradient_history image_grid kernels learning_curves mistakes model "
    "occlusion plot_model predictions saliency",
}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for names in (KERAS_NAMES, OWN_NAMES)
        for module, listed in names.items()
        for name in listed.split()
    ],
)
def test_public_names(module, name):
    owner = tinynet if module == "tinynet" else getattr(tinynet, module)
    assert hasattr(owner, name)


def test_what_is_listed_is_there():
    for name in tinynet.__all__:
        assert hasattr(tinynet, name)


def test_the_types_are_for_everyone():
    assert (resources.files("tinynet") / "py.typed").is_file()


def test_the_version():
    assert tinynet.__version__.count(".") == 2


def imported(kernels, cache):
    """What is loaded and what was compiled after ``import tinynet``."""
    script = """
import json, sys
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import tinynet
print(json.dumps({"modules": sorted(sys.modules), "compiled": len(recorder.buffer)}))
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "TINYNET_KERNELS": kernels, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return json.loads(run.stdout)


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_import_loads_nothing_heavy_and_compiles_nothing(kernels, tmp_path):
    found = imported(kernels, cache=tmp_path)  # an empty one, so that nothing is found compiled
    heavy = {"matplotlib", "pooch", "requests", "pandas", "IPython", "keras", "tensorflow"}
    assert not heavy & set(found["modules"])
    assert found["compiled"] == 0
    assert ("tinynet.kernels.compiled" in found["modules"]) == (kernels == "numba")


def test_numpy_kernels_do_without_numba():
    script = "import sys, tinynet; sys.exit('numba' in sys.modules)"
    environment = {**os.environ, "TINYNET_KERNELS": "numpy"}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0


def test_kernels_of_another_name_are_refused():
    run = subprocess.run(
        [sys.executable, "-c", "import tinynet"],
        env={**os.environ, "TINYNET_KERNELS": "cuda"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "ValueError: kernels are called 'numpy' or 'numba', got 'cuda'" in run.stderr
    assert "TINYNET_KERNELS" in run.stderr
