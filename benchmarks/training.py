"""Seconds an epoch: tinynet beside PyTorch and Keras, on the same machine, in the same run.

    pip install '.[bench]'
    python benchmarks/training.py

Each framework works in a process of its own, so that no thread pool disturbs another. First all of
them train the same model from the same weights on the same batches, unshuffled, and the losses must
agree. Then they take turns: round after round each trains one epoch of Fashion-MNIST's size (60,000
images, batches of 32) with shuffling, the way its users would write it: ``model.fit`` in tinynet
and Keras, in PyTorch an eager loop over a shuffled index. The warm-up, with all compilation, is
apart and not counted. Printed are median, fastest and slowest epoch, and tinynet's time divided by
each peer's, round by round. The images are random: the arithmetic does not depend on them.

Peers that are not installed are named and left out. ``--threads`` pins the threads of all of them.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

# Name -> hidden Dense layers and optimizer; the CNN is built of its own.
MLPS = {
    "mlp-128": ([128], "adam"),
    "mlp-100-75": ([100, 75], "sgd"),
    "mlp-300-100": ([300, 100], "adam"),
}
MODELS = [*MLPS, "cnn"]
PEERS = {
    "tinynet": "numba",
    "torch": "torch",
    "torch-channels-last": "torch",
    "keras-tensorflow": "tensorflow",
}
BATCH, IMAGES, CHECKED_STEPS = 32, 60_000, 20

# Keras and tinynet agree to 1e-5; PyTorch adds Adam's epsilon after the correction of the bias, not
# before, which moves weights of tiny gradients a little differently in the first steps.
TOLERANCE = 5e-3

Train = Callable[[np.ndarray, np.ndarray, bool], float]  # images, labels, shuffle -> mean loss


# --- one model in each framework -----------------------------------------------------------------


def keras_model(keras, model: str, weights: list[np.ndarray] | None) -> Train:
    """The model in Keras, or in tinynet: the lines are the same."""
    layers = keras.layers
    if model == "cnn":
        parts = [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
        ]
        optimizer = "adam"
    else:
        hidden, optimizer = MLPS[model]
        parts = [keras.Input(shape=(28, 28)), layers.Flatten()]
        parts += [layers.Dense(units, activation="relu") for units in hidden]
    net = keras.Sequential([*parts, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    if weights is not None:
        net.set_weights(weights)

    def train(x: np.ndarray, y: np.ndarray, shuffle: bool) -> float:
        history = net.fit(x, y, batch_size=BATCH, epochs=1, verbose=0, shuffle=shuffle)
        return history.history["loss"][0]

    train.weights = net.get_weights()
    return train


def torch_model(torch, model: str, weights: list[np.ndarray], channels_last: bool) -> Train:
    """The model in PyTorch, with the weights brought into its layouts."""
    nn = torch.nn
    if model == "cnn":
        net = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
        optimizer = "adam"
    else:
        hidden, optimizer = MLPS[model]
        sizes, parts = [784, *hidden], [nn.Flatten()]
        for before, after in zip(sizes, hidden, strict=False):
            parts += [nn.Linear(before, after), nn.ReLU()]
        net = nn.Sequential(*parts, nn.Linear(sizes[-1], 10))
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), weights, strict=True):
            if value.ndim == 4:  # (height, width, in, out) -> (out, in, height, width)
                value = value.transpose(3, 2, 0, 1)
            elif value.shape == (1600, 128):  # rows counted by (h, w, c) -> by (c, h, w)
                value = value.reshape(5, 5, 64, 128).transpose(3, 2, 0, 1).reshape(128, 1600)
            elif value.ndim == 2:
                value = value.T
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    if optimizer == "adam":
        step = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-7)
    else:
        step = torch.optim.SGD(net.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss()

    def train(x: np.ndarray, y: np.ndarray, shuffle: bool) -> float:
        images, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
        if model == "cnn":
            images = images.permute(0, 3, 1, 2)
            if not channels_last:
                images = images.contiguous()
        n = len(images)
        order = torch.randperm(n) if shuffle else torch.arange(n)
        total, right = 0.0, 0
        for start in range(0, n, BATCH):
            batch = order[start : start + BATCH]
            target = labels[batch]
            step.zero_grad()
            logits = net(images[batch])
            loss = criterion(logits, target)
            loss.backward()
            step.step()
            # What fit reports too: the mean loss and the accuracy of the epoch.
            total += loss.item() * len(batch)
            right += int((logits.argmax(1) == target).sum())
        return total / n

    return train


# --- a worker: one framework in a process of its own ---------------------------------------------


def worker(framework: str, model: str, threads: int, weights_file: Path) -> None:
    """Obey lines on standard input ("check", "epoch") with a line of JSON each."""
    weights = None
    if weights_file.stat().st_size:
        with np.load(weights_file) as stored:
            weights = [stored[key] for key in stored.files]
    if framework == "tinynet":
        import numba

        import tinynet

        numba.set_num_threads(threads)
        tinynet.utils.set_random_seed(0)
        train = keras_model(tinynet, model, weights)
        if weights is None:
            np.savez(weights_file, *train.weights)
    elif framework.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
        train = torch_model(torch, model, weights, framework.endswith("last"))
    else:
        import keras
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        train = keras_model(keras, model, weights)
    rng = np.random.default_rng(0)
    shape = (IMAGES, 28, 28, 1) if model == "cnn" else (IMAGES, 28, 28)
    x = rng.random(shape, np.float32)
    y = rng.integers(0, 10, IMAGES).astype(np.uint8)
    for command in map(str.strip, sys.stdin):
        n = IMAGES if command == "epoch" else BATCH * CHECKED_STEPS
        start = time.perf_counter()
        loss = train(x[:n], y[:n], command == "epoch")
        answer = {"seconds": time.perf_counter() - start, "loss": loss}
        print(f"RESULT {json.dumps(answer)}", flush=True)


class Worker:
    """The parent's end of a worker."""

    def __init__(self, framework: str, model: str, threads: int, weights_file: Path) -> None:
        count = str(threads)
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", framework, "--models", model,
             "--threads", count, "--weights", str(weights_file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ
            | {"OMP_NUM_THREADS": count, "NUMBA_NUM_THREADS": count, "KERAS_BACKEND": "tensorflow"},
        )  # fmt: skip

    def ask(self, command: str) -> dict[str, float]:
        """Send a command and wait for its answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("RESULT "):
                return json.loads(line.removeprefix("RESULT "))
        raise RuntimeError(f"{self.process.args} ended without an answer")

    def close(self) -> None:
        """Let the worker end."""
        self.process.stdin.close()
        self.process.wait()


# --- the comparison ------------------------------------------------------------------------------


def compare(model: str, frameworks: list[str], rounds: int, threads: int) -> dict:
    """Check, warm up and time ``model`` in all frameworks; print and return the table."""
    with tempfile.TemporaryDirectory() as folder:
        weights_file = Path(folder, "weights.npz")
        weights_file.touch()
        workers = {}
        losses = {}
        for framework in frameworks:  # tinynet first: its initial weights are everybody's
            workers[framework] = Worker(framework, model, threads, weights_file)
            losses[framework] = workers[framework].ask("check")["loss"]
        for loss in losses.values():
            if abs(loss - losses["tinynet"]) > TOLERANCE * losses["tinynet"]:
                raise SystemExit(f"{model}: losses disagree after {CHECKED_STEPS} steps: {losses}")
        seconds = {framework: [] for framework in frameworks}
        for timed in range(rounds + 1):  # the first round is the warm-up
            for framework, each in workers.items():
                answer = each.ask("epoch")
                if timed:
                    seconds[framework].append(answer["seconds"])
        for each in workers.values():
            each.close()
    print(f"\n{model}: the losses agree after {CHECKED_STEPS} steps ({losses['tinynet']:.4f})")
    print(f"  {'seconds an epoch':22} {'median':>8} {'min':>8} {'max':>8}   tinynet / it")
    for framework, times in sorted(seconds.items(), key=lambda item: statistics.median(item[1])):
        ratios = [own / other for own, other in zip(seconds["tinynet"], times, strict=True)]
        print(
            f"  {framework:22} {statistics.median(times):8.2f} {min(times):8.2f} {max(times):8.2f}"
            f"   {statistics.median(ratios):8.2f}"
        )
    return {"seconds": seconds, "loss": losses}


def main() -> None:
    """Compare all models, or be one worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["mlp-128", "cnn"])
    parser.add_argument("--rounds", type=int, default=3, help="timed epochs of each framework")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for each framework")
    parser.add_argument("--json", type=Path, help="write all figures and the machine there")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.models[0], args.threads, args.weights)
        return
    installed = [f for f, module in PEERS.items() if importlib.util.find_spec(module)]
    for framework in PEERS.keys() - installed:
        print(f"{framework} is not installed and left out")
    print(f"{platform.platform()}, Python {platform.python_version()}, {args.threads} threads")
    results = {}
    for model in args.models:
        suited = [f for f in installed if model == "cnn" or not f.endswith("last")]
        results[model] = compare(model, suited, args.rounds, args.threads)
    if args.json:
        machine = {"platform": platform.platform(), "threads": args.threads}
        args.json.write_text(json.dumps({"machine": machine, "models": results}, indent=1))


if __name__ == "__main__":
    main()
