"""How much memory training takes: the peak of a whole process, for two ways to feed images.

    python benchmarks/memory.py

Each way runs in a process of its own, from ``import tinynet`` over loading Fashion-MNIST (all of it
where it can be had, which is what the figures are about) to the end of two epochs of mlp-128:

- float64: ``x / 255.0``, as every tutorial does it; NumPy makes that float64, 376 MB of it
- uint8: the images as they are, and a Rescaling layer at the head of the model

Printed is the process's peak resident set size as the operating system counted it, which holds
Python, NumPy, numba and the data as well.
"""

import argparse
import resource
import subprocess
import sys


def train(way: str) -> None:
    """Train mlp-128 for two epochs and print this process's peak memory."""
    import tinynet as keras
    from tinynet import layers

    try:
        (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    except OSError:
        (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_sample()
    head = [keras.Input((28, 28))]
    if way == "uint8":
        head.append(layers.Rescaling(1 / 255))
    else:
        x, x_test = x / 255.0, x_test / 255.0
    body = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10)]
    model = keras.Sequential(head + body)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x, y, epochs=2, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    # Linux counts in units of 1024 bytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(f"{way:8} {len(x):6,} images   test accuracy {accuracy:.4f}   peak {peak / 1e6:,.0f} MB")


def main() -> None:
    """Run each way in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--way", choices=("float64", "uint8"), help="only this one, in this process"
    )
    way = parser.parse_args().way
    if way:
        train(way)
        return
    import report  # not above: what is measured is as small as it can be

    ways = ("float64", "uint8")
    with report.progress(len(ways)) as bar:
        for each in ways:
            bar.set_description(each)
            command = [sys.executable, __file__, "--way", each]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            bar.clear()
            print(done.stdout, end="", flush=True)
            bar.update()


if __name__ == "__main__":
    main()
