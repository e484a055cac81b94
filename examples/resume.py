"""A training that is killed in the middle, is started again, and ends as if nothing had happened.

The same training runs twice, each time in a process of its own. The first run is left alone. The
second is killed, twice, at a moment that chance decides: SIGKILL, which no program can catch. Each
time it is started again with the same command, and `BackupAndRestore` goes on from the last backup.
At the end the weights of both runs are the same, bit for bit.
"""

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import tinynet as keras
from tinynet import layers

KILLS = 2


def train(arguments: argparse.Namespace, folder: Path) -> None:
    """The training itself: what anybody would write, and one callback."""
    keras.utils.set_random_seed(arguments.seed)
    fashion_mnist = keras.datasets.fashion_mnist
    load = fashion_mnist.load_data if arguments.data == "full" else fashion_mnist.load_sample
    (images, labels), _ = load()
    model = keras.Sequential(
        [
            keras.Input(shape=(28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        images,
        labels,
        epochs=arguments.epochs,
        validation_split=0.1,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
            keras.callbacks.BackupAndRestore(folder / "backup", save_freq=50),
        ],
    )
    model.save(folder / "model.tinynet")
    keras.plotting.learning_curves(history, to_file=folder / "curves.png")


def digest(path: Path) -> str:
    """The digest of a model's weights, and of what its optimizer remembers of them."""
    model = keras.models.load_model(path)
    slots = [slot for slots in model.optimizer.slots.values() for slot in slots.values()]
    found = hashlib.sha256()
    for array in [*model.weights, *slots]:
        found.update(array.tobytes())
    return found.hexdigest()


def start(arguments: argparse.Namespace, folder: Path) -> subprocess.Popen[bytes]:
    """One process that trains in ``folder``."""
    options = [
        f"--epochs={arguments.epochs}",
        f"--seed={arguments.seed}",
        f"--data={arguments.data}",
    ]
    return subprocess.Popen([sys.executable, __file__, "--train-in", str(folder), *options])


def kill_by_chance(process: subprocess.Popen[bytes], backup: Path) -> None:
    """Kill a process at some moment after it has written a backup."""

    def written() -> int:
        return backup.stat().st_mtime_ns if backup.exists() else 0

    before = written()
    while process.poll() is None and written() == before:
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    if process.wait():
        print("Killed.", flush=True)


def main() -> int:
    """Run the training twice; returns 1 where the two end with different weights."""
    parser = argparse.ArgumentParser(
        description="Kill a training and go on with it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images")
    parser.add_argument("--seed", type=int, default=1, help="of weights, order and dropout")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="folder for models and pictures"
    )
    parser.add_argument(
        "--data", choices=("full", "sample"), default="sample",
        help="all 60,000 images, or the 6,000 that come with tinynet",
    )  # fmt: skip
    parser.add_argument("--train-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train_in:
        train(arguments, arguments.train_in)
        return 0

    folders = {name: arguments.out / "resume" / name for name in ("left alone", "killed")}
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    print("The first run, left alone:", flush=True)
    if start(arguments, folders["left alone"]).wait():
        return 1

    print(f"\nThe second run, to be killed {KILLS} times:", flush=True)
    for _ in range(KILLS):
        process = start(arguments, folders["killed"])
        kill_by_chance(process, folders["killed"] / "backup" / "training.tinynet")
    if start(arguments, folders["killed"]).wait():
        return 1

    found = {name: digest(folder / "model.tinynet") for name, folder in folders.items()}
    print("\nSHA-256 of weights and optimizer:")
    for name, value in found.items():
        print(f"  {name:10}  {value}")
    print("Learning curves:", ", ".join(str(folder / "curves.png") for folder in folders.values()))
    same = len(set(found.values())) == 1
    print("The two are the same, bit for bit." if same else "The two differ.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
