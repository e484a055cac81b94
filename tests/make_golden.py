"""Make the model files that every later tinynet must read: python tests/make_golden.py

They are made once for each version of the format, by the tinynet that wrote it first, and never
again: what is there already is not replaced. Beside them stand the predictions that they must give.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import tinynet
from tinynet import Input, Sequential, layers, saving
from tinynet.saving.file import MAJOR, MINOR

FOLDER = Path(__file__).parent / "models" / "golden"
VERSION = f"{MAJOR}.{MINOR}"
SAMPLES = 4


def inputs(shape, samples=SAMPLES):
    """Numbers between -1 and 1 that are the same wherever they are computed."""
    count = samples * int(np.prod(shape))
    return np.sin(np.arange(count, dtype=np.float64)).astype(np.float32).reshape(samples, *shape)


def mlp():
    """What the weights alone are of, too."""
    return Sequential(
        [
            Input((6,)),
            layers.Dense(7, activation="relu", kernel_initializer="he_normal"),
            layers.Dense(5, activation="tanh"),
            layers.Dense(3, activation="softmax"),
        ],
        name="mlp",
    )


def trained_mlp():
    """An MLP after some steps of Adam."""
    model = mlp()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(inputs((6,), 40), np.arange(40) % 3, 8, epochs=3, verbose=0)
    return model


def trained_cnn():
    """A CNN with statistics, noise of its own, a frozen layer and a model within."""
    model = Sequential(
        [
            Input((8, 8, 1)),
            layers.Rescaling(0.5),
            layers.Conv2D(3, 3, activation="relu", padding="same"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            Sequential(
                [layers.Conv2D(2, (3, 2), use_bias=False), layers.LeakyReLU()], name="inner"
            ),
            layers.Flatten(),
            layers.Dropout(0.25, seed=11),
            layers.Dense(4, trainable=False),
            layers.Dense(3, activation="softmax"),
        ],
        name="cnn",
    )
    loss = tinynet.losses.CategoricalCrossentropy(label_smoothing=0.1)
    optimizer = tinynet.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    model.compile(optimizer, loss, metrics=[tinynet.metrics.TopKCategoricalAccuracy(k=2)])
    model.fit(inputs((8, 8, 1), 24), np.eye(3)[np.arange(24) % 3], 8, epochs=2, verbose=0)
    return model


def golden():
    """The files: what each is called, a function that writes it, and the model that is in it."""
    tinynet.utils.set_random_seed(1)
    trained, cnn, weights = trained_mlp(), trained_cnn(), mlp()
    return {
        "mlp": (trained.save, trained),
        "cnn": (cnn.save, cnn),
        "weights": (weights.save_weights, weights),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (save, model) in golden().items():
        path = folder / f"{name}-{VERSION}.tinynet"
        if path.exists():
            print(f"{path} is there and stays")
            continue
        save(path)
        predictions = model.predict(inputs(model.input_shape), verbose=0)
        path.with_suffix(".json").write_text(json.dumps(predictions.tolist(), indent=1) + "\n")
        print(saving.describe(path), end="\n\n")


if __name__ == "__main__":
    main()
