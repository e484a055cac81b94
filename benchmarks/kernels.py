"""Single kernels: tinynet's matrix products beside NumPy's, its convolutions beside PyTorch's.

    pip install '.[bench]'
    python benchmarks/kernels.py --json kernels.json --picture benchmarks/pictures/kernels.png

What is measured, in float32:

- ``kernels.matmul`` beside ``np.matmul`` (OpenBLAS), both with ``out=``, at the shapes of training,
  written (m, k, n), in all forms: a @ b, a.T @ b with a stored as (k, m), and a @ b.T with b stored
  as (n, k); and two large square products.
- Conv2D forward and backward, a batch of 32 images and a 3x3 kernel: y, the kernel's gradient, the
  bias's and the input's, through ``layers.Conv2D``, beside the same in PyTorch (oneDNN) in both of
  its layouts, default and channels last.

How: each side works in a process of its own with ``--threads`` threads. For each case the results
are compared first: they may differ by 1e-4 of the largest. Then all take turns, round after round,
each repeating its case for some tens of milliseconds after a warm-up; what counts is the median of
a turn. Printed are the median of the turns, the fastest and the slowest, and tinynet's time divided
by that of the fastest peer of each round, then the median, with its limit. First calls, compilation
included, are summed up apart. Where matrix products are over their limits, the GFLOP/s that these
ask for follow the table: a fast peer can leave less room than the machine has.

The picture shows GFLOP/s. A convolution is counted as its formula says, whatever way there is to do
it with less, so that a bar may be longer than the machine's peak, the line: the fastest product of
two matrices of 2048x2048 in this run, tinynet's or NumPy's.

With ``--patience 20`` turns wait, or are repeated, for up to 20 seconds each, where the machine is
not at full speed before and after them, which a product of NumPy's tells: for virtual machines. It
begins with 20 seconds of looking at how fast that can be.

The exit status is 1 where a row is beyond its limit, and 0 where all are within. ``--only conv`` or
``--only 784`` takes the cases with that in their name (the peak is always measured); ``--quick`` is
one short round: it shows that everything works, and no more.
"""

import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import report
from report import Verdict
from workers import FullSpeed, Others, Worker, cached_rate, openblas, serve, timed, typical_seconds

TOLERANCE = 1e-4  # of the largest entry
TURN = 0.05  # seconds

MODULES = {
    "tinynet": "tinynet",
    "numpy": "numpy",
    "torch": "torch",
    "torch-channels-last": "torch",
}
FORMS = {"a @ b": (False, False), "a.T @ b": (True, False), "a @ b.T": (False, True)}


class Case(NamedTuple):
    """What is measured, and how much of the fastest peer's time tinynet may take."""

    kind: str  # "matmul" or "conv"
    sizes: tuple[int, ...]  # (m, k, n), or (image's height and width, channels, filters)
    limit: float
    form: str = "a @ b"

    @property
    def name(self) -> str:
        """As it stands in the table."""
        if self.kind == "conv":
            side, channels, filters = self.sizes
            return f"conv {side}x{side}x{channels} -> {filters}"
        return f"({', '.join(map(str, self.sizes))})  {self.form}"

    @property
    def peers(self) -> tuple[str, ...]:
        """With whom it is compared."""
        return ("numpy",) if self.kind == "matmul" else ("torch", "torch-channels-last")

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        if self.kind == "matmul":
            m, k, n = self.sizes
            return 2 * m * k * n
        side, channels, filters = self.sizes
        forward = 2 * BATCH * (side - 2) ** 2 * 9 * channels * filters
        return 3 * forward  # and as many for each of the two gradients


BATCH = 32
LAYERS = [
    (32, 784, 128), (784, 32, 128), (32, 784, 300), (784, 32, 300), (32, 300, 100),
    (32, 1600, 128), (1600, 32, 128),
]  # fmt: skip
PEAK = Case("matmul", (2048, 2048, 2048), 1.05)
CASES = [
    *(Case("matmul", sizes, 0.8, form) for sizes in LAYERS for form in FORMS),
    Case("matmul", (512, 512, 512), 1.0),
    PEAK,
    *(Case("conv", sizes, 0.8) for sizes in [(28, 1, 32), (13, 32, 64), (11, 64, 64)]),
]


# --- a worker ------------------------------------------------------------------------------------


class Bench:
    """What a worker does: one side of one case at a time."""

    def __init__(self, framework: str, threads: int) -> None:
        self.framework = framework
        if framework == "tinynet":
            import tinynet  # noqa: F401  (so that importing it is no part of the first call)
        elif framework.startswith("torch"):
            import torch

            torch.set_num_threads(threads)

    def prepare(self, kind: str, sizes: list[int], form: str, results: str) -> float:
        """Make the inputs and call once; returns the seconds, and writes what came out."""
        make = self._matmul(*sizes, form) if kind == "matmul" else self._conv(*sizes)
        self.call, outputs = make
        seconds, _ = timed(self.call)
        np.savez(results, *outputs())
        return seconds

    def turn(self, seconds: float) -> float:
        """The median time of a call."""
        return typical_seconds(self.call, seconds)

    def speed(self) -> float:
        """What tells whether the machine is at full speed."""
        return cached_rate()

    def blas(self) -> list[str]:
        """Which OpenBLAS NumPy runs on."""
        return openblas()

    def _matmul(self, m: int, k: int, n: int, form: str) -> tuple[Callable, Callable]:
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        c = np.empty((m, n), np.float32)
        transpose_a, transpose_b = FORMS[form]
        if transpose_a:
            a = np.ascontiguousarray(a.T)
        if transpose_b:
            b = np.ascontiguousarray(b.T)
        if self.framework == "tinynet":
            from tinynet import kernels

            return lambda: kernels.matmul(a, b, transpose_a, transpose_b, out=c), lambda: [c]
        a, b = (a.T if transpose_a else a), (b.T if transpose_b else b)
        return lambda: np.matmul(a, b, out=c), lambda: [c]

    def _conv(self, side: int, channels: int, filters: int) -> tuple[Callable, Callable]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((BATCH, side, side, channels), np.float32)
        dy = rng.standard_normal((BATCH, side - 2, side - 2, filters), np.float32)
        kernel = rng.standard_normal((3, 3, channels, filters), np.float32)
        bias = rng.standard_normal(filters, np.float32)
        if self.framework == "tinynet":
            return _tinynet_conv(x, dy, kernel, bias)
        return _torch_conv(x, dy, kernel, bias, self.framework.endswith("last"))


def _tinynet_conv(
    x: np.ndarray, dy: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> tuple[Callable, Callable]:
    from tinynet import layers

    layer = layers.Conv2D(kernel.shape[3], 3)
    layer.build(x.shape[1:], np.random.default_rng(0))
    layer.params["kernel"][...], layer.params["bias"][...] = kernel, bias

    def call() -> tuple[np.ndarray, np.ndarray]:
        return layer.forward(x, training=True), layer.backward(dy)

    return call, lambda: [*call(), layer.grads["kernel"], layer.grads["bias"]]


def _torch_conv(
    x: np.ndarray, dy: np.ndarray, kernel: np.ndarray, bias: np.ndarray, channels_last: bool
) -> tuple[Callable, Callable]:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format

    def tensor(array: np.ndarray, *axes: int) -> torch.Tensor:
        made = torch.from_numpy(array).permute(axes).contiguous(memory_format=layout)
        return made.requires_grad_()

    images, filters = tensor(x, 0, 3, 1, 2), tensor(kernel, 3, 2, 0, 1)
    offsets = torch.from_numpy(bias).requires_grad_()
    d_maps = tensor(dy, 0, 3, 1, 2).detach()

    def call() -> tuple[torch.Tensor, ...]:
        y = torch.nn.functional.conv2d(images, filters, offsets)
        return y, *torch.autograd.grad(y, (images, filters, offsets), d_maps)

    def outputs() -> list[np.ndarray]:
        y, dx, d_kernel, d_bias = (each.detach() for each in call())
        back = [y.permute(0, 2, 3, 1), dx.permute(0, 2, 3, 1), d_kernel.permute(2, 3, 1, 0), d_bias]
        return [each.numpy() for each in back]

    return call, outputs


# --- the comparison ------------------------------------------------------------------------------


class Result:
    """The figures of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.first: dict[str, float] = {}  # seconds of the first call
        self.difference = 0.0  # the largest, as a share of the largest entry
        self.seconds: dict[str, list[float]] = {}  # side -> rounds

    def fastest_peer(self) -> str | None:
        """By the median of its turns; None where no peer is there."""
        peers = [name for name in self.seconds if name != "tinynet"]
        return min(peers, key=lambda name: statistics.median(self.seconds[name]), default=None)

    def rate(self, name: str) -> float:
        """GFLOP/s."""
        return self.case.operations / statistics.median(self.seconds[name]) / 1e9

    def verdict(self) -> Verdict:
        """Where there is no peer, a row without a value."""
        peers = [times for name, times in self.seconds.items() if name != "tinynet"]
        if not peers:
            return Verdict(self.case.name, None, None)
        ratio = report.ratio_to_fastest(self.seconds["tinynet"], peers)
        return Verdict(self.case.name, ratio, self.case.limit)

    def asked(self) -> float:
        """GFLOP/s at which this would be within its limit."""
        peer = self.fastest_peer()
        return self.rate(peer) / self.case.limit if peer else 0.0

    def cells(self) -> list[str]:
        """A row of the table."""
        peer = self.fastest_peer()
        theirs = [peer, *self._times(peer)] if peer else [""] * 4
        return [self.case.name, *self._times("tinynet"), *theirs, *self.verdict().cells()]

    def _times(self, name: str) -> list[str]:
        median, least, most = report.spread(self.seconds[name], 1e6, 1)
        return [median, f"{least} to {most}", f"{self.rate(name):.0f}"]


def compare(
    case: Case, workers: dict[str, Worker], machine: FullSpeed, rounds: int, folder: str, bar: Any
) -> Result:
    """Check one case on all sides, then time it, turn by turn."""
    result = Result(case)
    sides = [name for name in ("tinynet", *case.peers) if name in workers]
    outputs = {}
    for name in sides:
        file = str(Path(folder, f"{name}.npz"))
        settings = {"kind": case.kind, "sizes": case.sizes, "form": case.form}
        result.first[name] = workers[name].ask("prepare", **settings, results=file)
        with np.load(file) as stored:
            outputs[name] = [stored[key] for key in stored.files]
    for name in sides[1:]:
        for own, theirs in zip(outputs["tinynet"], outputs[name], strict=True):
            difference = float(np.abs(own - theirs).max() / np.abs(theirs).max())
            if not difference <= TOLERANCE:
                raise SystemExit(f"{case.name}: tinynet and {name} differ by {difference:.1e}")
            result.difference = max(result.difference, difference)
    result.seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name in sides:
            turn = machine.turn(lambda worker=workers[name]: worker.ask("turn", seconds=TURN))
            result.seconds[name].append(turn)
            bar.update()
    return result


def draw(results: list[Result], peak: float, about: dict[str, Any], path: Path) -> None:
    """GFLOP/s of every case: tinynet, the peers, and the machine's peak as a line."""
    names = [name for name in MODULES if any(name in result.seconds for result in results)]
    colours = dict(zip(MODULES, report.COLOURS, strict=False))
    series = {
        name: [result.rate(name) if name in result.seconds else None for result in results]
        for name in names
    }
    figure = report.new_figure(7.6, 1.7 + 0.34 * len(results))
    ax = figure.subplots()
    cases = [result.case.name for result in results]
    report.grouped_bars(ax, cases, series, "GFLOP/s: longer is faster", 0, colours)
    label = f"peak, 2048x2048: {peak:.0f}"
    ax.axvline(peak, color="black", linestyle="--", zorder=0.9, label=label)  # behind the bars
    report.legend_below(figure, columns=3)
    title = "Matrix products (m, k, n), and convolutions forward and backward, batch of 32"
    ax.set_title(f"{title}\n{report.machine_line(about)}", fontsize=10)
    ax.margins(x=0.08)
    report.save_picture(figure, path)


# --- the command ---------------------------------------------------------------------------------


def measure(args: Any) -> tuple[list[Result], dict[str, Any]]:
    """Compare all cases; returns the figures, and the machine that they depend on."""
    cases = [c for c in CASES if c == PEAK or any(part in c.name for part in args.only or [""])]
    wanted = ["tinynet", *dict.fromkeys(peer for case in cases for peer in case.peers)]
    others, machine, results = Others(), FullSpeed(args.patience), []
    with ExitStack() as stack:
        workers = {}
        for name in wanted:
            if report.is_installed(MODULES[name]):
                workers[name] = stack.enter_context(Worker(__file__, name, args.threads))
            else:
                print(f"{name} is not installed and left out")
        about = report.machine(args.threads, workers["numpy"].ask("blas"))
        report.print_machine(about)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        machine.speed = lambda: workers["numpy"].ask("speed")
        turns = args.rounds * sum(len({"tinynet", *c.peers} & {*workers}) for c in cases)
        bar = stack.enter_context(report.progress(turns))
        for case in cases:
            bar.set_description(case.name)
            results.append(compare(case, workers, machine, args.rounds, folder, bar))
        idle = {name: worker.idle_share for name, worker in workers.items()}
    return results, about | report.quiet_notes(others, idle, machine)


def print_results(results: list[Result], peak: float) -> None:
    """The check, what is counted apart, and the table."""
    worst = max(result.difference for result in results)
    print(f"\nAll results agree: within {worst:.1e} of the largest entry, {TOLERANCE:g} allowed")
    first: dict[str, float] = defaultdict(float)
    for result in results:
        for name, seconds in result.first.items():
            first[name] += seconds
    sums = ", ".join(f"{name} {seconds:.2f}" for name, seconds in first.items())
    print(f"Seconds of all first calls, compilation included: {sums}")
    print(f"The machine's peak, large products by the faster side: {peak:.0f} GFLOP/s")
    rounds = len(results[0].seconds["tinynet"])
    print(f"\nMedians, rounds: {rounds}; the ratio is tinynet / the fastest peer")
    side = ["us", "min to max", "GFLOP/s"]
    head = ["tinynet:", *side, "fastest peer:", *side, "ratio", "limit", "verdict"]
    report.print_table(head, (result.cells() for result in results))


def print_asked(results: list[Result], peak: float) -> None:
    """What the matrix products that are over their limits would have to achieve."""
    over = [r for r in results if r.case.kind == "matmul" and not r.verdict().holds]
    if over:
        print(f"\nGFLOP/s that the limits of rows that are over ask for, of a peak of {peak:.0f}:")
        for result in over:
            print(f"  {result.case.name}: {result.asked():.0f}, {result.asked() / peak:.0%}")


def run(args: Any) -> int:
    """Measure, print and write everything; returns the exit status."""
    results, about = measure(args)
    at_peak = next(result for result in results if result.case == PEAK)
    peak = max(at_peak.rate(name) for name in at_peak.seconds)
    print_results(results, peak)
    verdicts = [result.verdict() for result in results]
    figures = [{**vars(result), "case": result.case._asdict()} for result in results]
    report.write_json(args.json, machine=about, peak=peak, results=figures, limits=verdicts)
    if args.picture:
        draw(results, peak, about, args.picture)
    print_asked(results, peak)
    return report.conclude(verdicts, args.quick)


def main() -> int:
    """Compare, or be one worker."""
    parser = report.arguments(__doc__, rounds=7)
    parser.add_argument("--only", nargs="+", help="cases with one of these in their name")
    parser.add_argument("--picture", type=report.picture, help="draw GFLOP/s there")
    report.add_patience(parser)
    parser.add_argument("--quick", action="store_true", help="one round")
    args = parser.parse_args()
    if args.worker:
        serve(Bench, args.worker, args.threads)
        return 0
    for part in args.only or []:
        if not any(part in case.name for case in CASES):
            parser.error(f"--only {part}: no case has that in its name")
    if args.quick:
        args.rounds = 1
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
