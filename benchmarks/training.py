"""Seconds an epoch: tinynet beside PyTorch, Keras and JAX, on the same machine, in the same run.

    pip install '.[bench]'
    python benchmarks/training.py --json training.json --picture benchmarks/pictures/training.png

Who takes part (what is not installed is named and left out):

- tinynet: ``model.fit``, ``predict``, ``evaluate``
- keras-tensorflow, keras-jax: the same lines in Keras
- torch, and for the CNN torch-channels-last: eager PyTorch, a loop over a shuffled index
- jax-scan, MLPs only: the whole epoch, shuffling included, is one compiled program

What is measured, on random images (the arithmetic does not depend on what they show):

- fit: one epoch over 60,000 images of 28x28, shuffled, with the mean loss and the accuracy
- predict and evaluate on 10,000 images, in batches of 32

How: each framework works in a process of its own with ``--threads`` threads. First all must agree:
on predictions and evaluation with the same weights, and on the losses of unshuffled training steps
from there. Then they take turns, round after round. A turn is epochs for a second at least, of
which the median counts, as one epoch follows another; and predict and evaluate three times, each
after a pause, as they are used, of which the median counts. (Repeated for a second without pauses,
jax-scan's of mlp-128 take 17 milliseconds instead of 28.) Import, compilation (most of it happens
while results are checked) and the first round are not counted, and stand in a table of their own.
What is not the framework's work, such as making tensors of the arrays, is done before.

Printed are median, fastest and slowest round, and tinynet's time divided by each peer's: round by
round, then the median. At the end stand the limits: tinynet's time divided by that of the fastest
peer of each round, and, for training the CNN, the arithmetic that a second achieves (all products
of forward, kernel gradient and input gradient, convolutions counted directly, whatever way they are
computed) as a share of the machine's peak: large matrix products by tinynet or by NumPy, whichever
is faster, measured in each round too. jax-scan takes no part in the CNN: XLA's gradients of
convolutions are slow inside a compiled loop, by far slower than step by step in keras-jax.

With ``--patience 20`` turns wait, or are repeated, for up to 20 seconds each, where the machine is
not at full speed before and after them, which a product of NumPy's tells: for virtual machines. It
begins with 20 seconds of looking at how fast that can be; turns that are longer are not repeated.

The exit status is 1 where a row is beyond its limit, and 0 where all are within.

``--quick`` is one round on few images: it shows that everything works, and no more.
"""

import statistics
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import networks
import numpy as np
import report
from report import Verdict
from workers import FullSpeed, Others, Worker, cached_rate, matmul_rate, openblas, serve, timed

IMAGES, INFERENCE_IMAGES, QUICK_IMAGES = 60_000, 10_000, 3_200

# The first are checked with weights that are the same to the bit, the losses after steps in which
# rounding adds up, and PyTorch adds Adam's epsilon after the correction of the bias, not before,
# which moves weights of tiny gradients a little differently in the first steps.
CHECKED_IMAGES, CHECKED_STEPS, CHECKED_EPOCHS = 80, 20, 2
SAME_WEIGHTS_TOLERANCE, TRAINED_TOLERANCE = 1e-4, 5e-3

# The most that tinynet's time may be of the fastest peer's.
FIT_LIMITS = {
    32: {"mlp-128": 0.7, "mlp-300-100": 0.6, "mlp-100-75": 0.6, "cnn": 0.33},
    256: dict.fromkeys(networks.MODELS, 0.8),
}
INFERENCE_LIMITS = {"mlp-128": 0.6, "cnn": 0.6}
PEAK_SHARE = 0.5

TURN = 1.0  # seconds, of epochs
CALLS = {"fit": 1, "predict": 3, "evaluate": 3}  # in a turn

Seconds = dict[str, list[float]]  # framework -> one entry for each round


# --- a worker ------------------------------------------------------------------------------------


class Bench:
    """What a worker does: one framework, one model at a time."""

    def __init__(self, framework: str, threads: int) -> None:
        self.framework = framework
        if framework != "numpy":
            networks.load(framework, threads)

    def prepare(self, model: str, batch_size: int, images: int, weights_file: str) -> None:
        """Build the model with the weights of the file, or write those of tinynet there."""
        weights = None
        if Path(weights_file).exists():
            with np.load(weights_file) as stored:
                weights = [stored[key] for key in stored.files]
        self.network = networks.build(self.framework, model, batch_size, weights)
        if weights is None:
            np.savez(weights_file, *self.network.weights)
        x, y = networks.random_data(model, images)
        self.train = self.network.data(x, y)
        self.test = self.network.data(x[:INFERENCE_IMAGES], y[:INFERENCE_IMAGES])
        self.probe = self.network.data(x[:CHECKED_IMAGES], y[:CHECKED_IMAGES])
        steps = CHECKED_STEPS * batch_size
        self.steps = self.network.data(x[:steps], y[:steps])

    def check(self) -> dict[str, Any]:
        """What all must agree on, and the seconds that it took, compilation included."""
        seconds, results = timed(self._first_results)
        return {"seconds": seconds, **results}

    def _first_results(self) -> dict[str, list[float]]:
        """What comes out before training, and the losses of the first steps."""
        logits = self.network.predict(self.probe[0])
        evaluation = self.network.evaluate(*self.probe)
        losses = [self.network.fit(*self.steps, shuffle=False) for _ in range(CHECKED_EPOCHS)]
        return {"before": [*map(float, logits.ravel()), *evaluation], "losses": losses}

    def fit(self, least: float = 0.0) -> float:
        """Seconds of one epoch: the median of as many as ``least`` seconds take, or of one."""
        times: list[float] = []
        while not times or sum(times) < least:
            times.append(timed(lambda: self.network.fit(*self.train))[0])
        return statistics.median(times)

    def predict(self) -> float:
        """Seconds of predict."""
        return timed(lambda: self.network.predict(self.test[0]))[0]

    def evaluate(self) -> float:
        """Seconds of evaluate."""
        return timed(lambda: self.network.evaluate(*self.test))[0]

    def peak(self) -> float:
        """GFLOP/s of large matrix products: tinynet's or NumPy's."""
        if self.framework == "numpy":
            return matmul_rate(np.matmul)
        from tinynet import kernels

        return matmul_rate(kernels.matmul)

    def speed(self) -> float:
        """What tells whether the machine is at full speed."""
        return cached_rate()

    def blas(self) -> list[str]:
        """Which OpenBLAS NumPy runs on."""
        return openblas()


# --- the comparison ------------------------------------------------------------------------------


class Result:
    """The figures of one model at one batch size."""

    def __init__(self, model: str, batch_size: int, images: int) -> None:
        self.model, self.batch_size, self.images = model, batch_size, images
        self.start: dict[str, float] = {}  # seconds until the framework was imported
        self.checks: dict[str, Any] = {}
        self.first: dict[str, dict[str, float]] = {}  # work -> framework -> seconds of the warm-up
        self.seconds: dict[str, Seconds] = {}  # work -> framework -> rounds
        self.peaks: list[float] = []  # GFLOP/s, one for each round
        self.idle: dict[str, float] = {}

    def peers(self, work: str) -> Seconds:
        """All but tinynet."""
        return {name: times for name, times in self.seconds[work].items() if name != "tinynet"}

    def verdicts(self) -> list[Verdict]:
        """A row for each work that has a limit and a peer, and one for the share of the peak."""
        limits = {"fit": FIT_LIMITS.get(self.batch_size, {}).get(self.model)}
        limits |= dict.fromkeys(("predict", "evaluate"), INFERENCE_LIMITS.get(self.model))
        rows = []
        for work, seconds in self.seconds.items():
            peers = self.peers(work)
            if not peers:
                continue
            fastest = min(peers, key=lambda name: statistics.median(peers[name]))
            batch = f", batches of {self.batch_size}" if work == "fit" else ""
            what = f"{self.model} {work}{batch} (fastest: {fastest})"
            ratio = report.ratio_to_fastest(seconds["tinynet"], peers.values())
            rows.append(Verdict(what, ratio, limits[work]))
        if self.peaks:
            limit = PEAK_SHARE if self.batch_size == 32 else None
            what = f"{self.model} fit, batches of {self.batch_size}: GFLOP/s / the peak"
            rows.append(Verdict(what, self.peak_share(), limit, at_least=True))
        return rows

    def rates(self) -> list[float]:
        """GFLOP/s of tinynet's epochs."""
        work = 2e-9 * networks.multiply_adds(self.model) * self.images
        return [work / seconds for seconds in self.seconds["fit"]["tinynet"]]

    def peak_share(self) -> float:
        """Round by round, then the median."""
        rounds = zip(self.rates(), self.peaks, strict=True)
        return statistics.median(rate / peak for rate, peak in rounds)

    def print(self) -> None:
        """A table for each work."""
        optimizer = networks.MODELS[self.model].optimizer
        loss = self.checks["tinynet"]["losses"][0]
        head = f"{self.model}, {optimizer}, batches of {self.batch_size}"
        print(f"\n{head}: all agree (loss {loss:.4f})")
        for work, seconds in self.seconds.items():
            rows = []
            for name, times in sorted(seconds.items(), key=lambda it: statistics.median(it[1])):
                ratio = report.ratio_to_fastest(seconds["tinynet"], [times])
                rows.append([f"    {name}", *report.spread(times, digits=3), f"{ratio:.2f}"])
            head = [f"  {work}, seconds", "median", "min", "max", "tinynet / it"]
            report.print_table(head, rows)
        rows = [
            [f"    {name}", f"{start:.1f}", f"{self.checks[name]['seconds']:.1f}"]
            + [f"{first[name]:.2f}" for first in self.first.values()]
            for name, start in self.start.items()
        ]
        head = ["  before, seconds", "import", "check", *(f"first {work}" for work in self.first)]
        report.print_table(head, rows)
        if self.peaks:
            rate, peak = statistics.median(self.rates()), statistics.median(self.peaks)
            print(f"  tinynet's fit: {rate:.0f} GFLOP/s of a matmul peak of {peak:.0f} GFLOP/s")


def compare(
    model: str,
    batch_size: int,
    workers: dict[str, Worker],
    machine: FullSpeed,
    args: Any,
    bar: Any,
    folder: str,
) -> Result:
    """Check, warm up and time ``model`` in all frameworks, in turn."""
    result = Result(model, batch_size, args.images)
    peers = {name: w for name, w in workers.items() if name != "numpy"}
    weights_file = str(Path(folder, f"{model}.npz"))
    for name, worker in peers.items():  # tinynet first: its initial weights are everybody's
        bar.set_description(f"{model} {batch_size} check {name}")
        result.start[name] = worker.start_seconds
        settings = {"model": model, "batch_size": batch_size, "images": args.images}
        worker.ask("prepare", **settings, weights_file=weights_file)
        result.checks[name] = worker.ask("check")
        bar.update()
    agree(model, result.checks)
    works = ["fit", "predict", "evaluate"] if batch_size == networks.INFERENCE_BATCH else ["fit"]
    result.seconds = {work: {name: [] for name in peers} for work in works}
    result.first = {work: {} for work in works}
    settings = {"fit": {"least": 0.0 if args.quick else TURN}, "predict": {}, "evaluate": {}}
    for turn in range(args.rounds + 1):  # the first is the warm-up
        for name, worker in peers.items():
            bar.set_description(f"{model} {batch_size} round {turn} {name}")
            for work in works:
                if turn == 0:
                    result.first[work][name] = worker.ask(work)
                else:
                    times = [
                        machine.turn(partial(worker.ask, work, **settings[work]))
                        for _ in range(1 if args.quick else CALLS[work])
                    ]
                    result.seconds[work][name].append(statistics.median(times))
            bar.update()
        if turn and networks.has_images(model):
            result.peaks.append(max(workers[name].ask("peak") for name in ("tinynet", "numpy")))
    result.idle = {name: worker.idle_share for name, worker in peers.items()}
    return result


def agree(model: str, checks: dict[str, Any]) -> None:
    """Raises SystemExit where a framework's results are not those of tinynet."""
    own = checks["tinynet"]
    for framework, theirs in checks.items():
        for key, tolerance in (("before", SAME_WEIGHTS_TOLERANCE), ("losses", TRAINED_TOLERANCE)):
            mine, other = np.array(own[key]), np.array(theirs[key])
            difference = np.abs(mine - other).max() / np.abs(mine).max()
            if not difference <= tolerance:
                raise SystemExit(
                    f"{model}: {framework} and tinynet disagree ({key}) by {difference:.2e}, "
                    f"more than {tolerance:g}: {theirs['losses']} and {own['losses']}"
                )


def draw(results: list[Result], about: dict[str, Any], path: Path) -> None:
    """Seconds an epoch by framework and model: a panel for each batch size."""
    sizes = list(dict.fromkeys(result.batch_size for result in results))
    figure = report.new_figure(5.4 * len(sizes), 5.6)
    for ax, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        shown = [result for result in results if result.batch_size == size]
        medians = [
            {name: statistics.median(times) for name, times in result.seconds["fit"].items()}
            for result in shown
        ]
        names = [name for name in networks.FRAMEWORKS if any(name in each for each in medians)]
        colours = dict(zip(networks.FRAMEWORKS, report.COLOURS, strict=True))
        series = {name: [each.get(name) for each in medians] for name in names}
        label = f"seconds an epoch, batches of {size} (logarithmic)"
        ax.set_xscale("log")
        report.grouped_bars(ax, [result.model for result in shown], series, label, 2, colours)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")  # or they are printed over each other in a short range
        ax.margins(x=0.14)
    report.legend_below(figure, columns=3)
    title = f"Training on {about['images']:,} images: shorter is faster"
    figure.suptitle(f"{title}\n{report.machine_line(about)}", fontsize=10)
    report.save_picture(figure, path)


# --- the command ---------------------------------------------------------------------------------


def measure(args: Any) -> tuple[list[Result], dict[str, Any]]:
    """Compare all models; returns the figures, and the machine that they depend on."""
    chosen = ["tinynet", *(name for name in args.frameworks if name != "tinynet")]
    installed = [name for name in chosen if report.is_installed(*networks.FRAMEWORKS[name])]
    for name in chosen:
        if name not in installed:
            print(f"{name} is not installed and left out")
    others, machine, results = Others(), FullSpeed(args.patience), []
    turns = len(args.batch_sizes) * (args.rounds + 2)
    total = turns * sum(networks.is_suited(f, m) for f in installed for m in args.models)
    with tempfile.TemporaryDirectory() as folder, report.progress(total) as bar:
        for model in args.models:
            with ExitStack() as stack:
                workers = {
                    name: stack.enter_context(
                        Worker(__file__, name, args.threads, networks.variables(name))
                    )
                    for name in ("numpy", *installed)
                    if networks.is_suited(name, model)
                }
                if not results:
                    about = report.machine(args.threads, workers["numpy"].ask("blas"))
                    report.print_machine(about)
                machine.speed = lambda numpy=workers["numpy"]: numpy.ask("speed")
                for batch_size in args.batch_sizes:
                    results.append(compare(model, batch_size, workers, machine, args, bar, folder))
                    bar.clear()
                    results[-1].print()
    idle: dict[str, float] = {}
    for result in results:
        idle |= {name: max(share, idle.get(name, 0)) for name, share in result.idle.items()}
    return results, about | {"images": args.images} | report.quiet_notes(others, idle, machine)


def run(args: Any) -> int:
    """Measure, print and write everything; returns the exit status."""
    results, about = measure(args)
    verdicts = [verdict for result in results for verdict in result.verdicts()]
    if verdicts:
        print(f"\nLimits, rounds: {args.rounds}")
        head = ["tinynet / the fastest peer", "ratio", "limit", "verdict"]
        report.print_table(head, ([v.what, *v.cells()] for v in verdicts))
    else:
        print("\nNone of the peers took part: tinynet is compared with nothing")
    figures = [vars(result) for result in results]
    report.write_json(args.json, machine=about, results=figures, limits=verdicts)
    if args.picture:
        draw(results, about, args.picture)
    return report.conclude(verdicts, args.quick)


def main() -> int:
    """Compare, or be one worker."""
    parser = report.arguments(__doc__, rounds=3)
    models = list(networks.MODELS)
    parser.add_argument("--models", nargs="+", choices=models, default=models)
    parser.add_argument("--batch-sizes", nargs="+", type=report.count, default=[32, 256])
    frameworks = list(networks.FRAMEWORKS)
    parser.add_argument("--frameworks", nargs="+", choices=frameworks, default=frameworks)
    parser.add_argument(
        "--images", type=report.count, default=IMAGES, help="limits are meant for 60,000"
    )
    parser.add_argument("--picture", type=report.picture, help="draw seconds an epoch there")
    report.add_patience(parser)
    parser.add_argument("--quick", action="store_true", help="one round, few images")
    args = parser.parse_args()
    if args.worker:
        serve(Bench, args.worker, args.threads)
        return 0
    if args.quick:
        args.images, args.rounds = QUICK_IMAGES, 1
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
