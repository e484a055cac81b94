"""What the five examples share around the lesson: arguments, data, and the closing report."""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import tinynet as keras

fashion_mnist = keras.datasets.fashion_mnist

# How far below the lowest accuracy that Keras was measured at a run may end and still count.
TOLERANCE = 0.005


class Measured(NamedTuple):
    """What Keras 3.15 reaches on all 60,000 images with the same network, over several seeds."""

    seeds: int
    accuracy: float  # the mean; then the lowest and the highest
    lowest: float
    highest: float
    loss: float  # the mean
    published: float | None = None  # what the project that the lesson follows states itself


class Lesson:
    """One run of an example: ``load`` its data, ``report`` its result."""

    def __init__(self, name: str, title: str, epochs: int, measured: Measured | None) -> None:
        parser = argparse.ArgumentParser(
            description=title, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        parser.add_argument("--epochs", type=int, default=epochs, help="passes over the images")
        parser.add_argument("--seed", type=int, default=1, help="of weights, order and dropout")
        parser.add_argument("--out", type=Path, default=Path("out"), help="folder for pictures")
        parser.add_argument(
            "--data",
            choices=("full", "sample", "auto"),
            default="auto",
            help="all 70,000 images; the 7,000 bundled with tinynet; all where they can be had",
        )
        arguments = parser.parse_args()
        if arguments.epochs < 1:
            parser.error(f"--epochs must be at least 1, got {arguments.epochs}")
        if arguments.seed < 0:
            parser.error(f"--seed must not be negative, got {arguments.seed}")
        self.name = name
        self.epochs: int = arguments.epochs
        self.out: Path = arguments.out
        self._default_epochs = epochs
        self._data: str = arguments.data
        self._measured = measured
        self._is_sample = False
        self._pictures: list[Path] = []
        keras.utils.set_random_seed(arguments.seed)
        self.out.mkdir(parents=True, exist_ok=True)

    def load(self):
        """(train_images, train_labels), (test_images, test_labels), as --data says."""
        if self._data != "sample":
            try:
                data = fashion_mnist.load_data()
            except ValueError as error:  # data that were named, and are damaged
                sys.exit(f"{error}")
            except OSError as error:
                if self._data == "full":
                    sys.exit(f"{error}")
                print(f"{error}\n")
            else:
                print("Training on all of Fashion-MNIST: 60,000 images, and 10,000 to test.\n")
                return data
        self._is_sample = True
        print("Training on the sample that comes with tinynet: 6,000 images, and 1,000 to test.\n")
        return fashion_mnist.load_sample()

    def picture(self, what: str = "") -> Path:
        """The file for a picture of ``what``; the report says where the pictures are."""
        path = self.out / f"{self.name}{'_' if what else ''}{what}.png"
        self._pictures.append(path)
        return path

    def report(self, history: keras.callbacks.History, accuracy: float, loss: float) -> int:
        """Print the result beside Keras's and draw the learning curves; returns the exit status.

        It is 1 where a run of the default length on all images ends well below Keras.
        """
        print()
        if history.epoch:
            keras.plotting.learning_curves(history, to_file=self.picture())
        else:
            print("Interrupted before an epoch was finished: there are no learning curves.")
        print(f"Pictures in {self.out}: {', '.join(path.name for path in self._pictures)}")
        print(f"Test accuracy {accuracy:.4f}, loss {loss:.4f}")
        if self._is_sample:
            print("This was the sample, a tenth of the data; with all of it networks do better.")
        if self._is_sample and self._data == "auto":
            print("On Debian or Ubuntu: apt-get install dataset-fashion-mnist, and run this again.")
        if self._measured is None:
            return 0
        low, high = self._measured.lowest, self._measured.highest
        print(
            f"Keras on all 60,000: accuracy {self._measured.accuracy:.4f} ({low:.4f} to {high:.4f} "
            f"over {self._measured.seeds} seeds), loss {self._measured.loss:.4f}"
        )
        if self._measured.published is not None:
            print(f"The original states an accuracy of {self._measured.published:.4f}.")
        failed = accuracy < low - TOLERANCE
        if self._is_sample or len(history.epoch) != self._default_epochs or not failed:
            return 0
        print(f"That is more than {TOLERANCE} below the lowest of Keras's.")
        return 1
