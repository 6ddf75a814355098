"""The measurements of gpu.py: times of steps, the sizes from which on a GPU is faster than the CPU, and MNIST.

Each adds lines to the record as soon as they are known. Every contender, and every library, has a process of its own.
"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from children import Child, run_alone
from contenders import BOOK, Contender, Row, TorchCompiled, TorchGraph, TorchTraining, engine, jax_by_hand, xpnet
from machine import best_rate, operations
from places import LIBRARIES, device, prepare
from record import Record
from turns import ABSENT, FILES, launch, library, measure, save, spread

from xpnet import Adam, Callback, Network, get_backend
from xpnet.cli.bench import compare_backends

# As in peers.py, with fewer examples where steps are short, so that every row takes seconds on a GPU
ROWS = {
    **BOOK,
    "r1": BOOK["r1"]._replace(examples=20_000),
    "r2": BOOK["r2"]._replace(examples=30_000),
    "r3": BOOK["r3"]._replace(examples=30_000),
    "r7": Row((784, 4096, 4096, 10), 1024, 0.1, relu=True, examples=20_480),
}
SIDES = {"cuda": (4096, 8192, 8192), "host": (256,)}  # square matrices to measure the peak rate
WARM_UP = 2  # PyTorch's compiler records a graph the second time it sees a shape
COMPILED = ("cupy xpnet", "cupy xpnet, unfused graph")
PLAIN = "cupy xpnet, plain loop"  # CuPy's steps as they are written, for comparison
PATIENCE = {"first_patience": 300, "patience": 120}  # seconds; a process that takes longer to answer is ended
SWEPT = ("r1", "r4", "r5", "r6", "r7")
SLOWEST = "torch compile"  # takes a minute or more until it is ready, so the others do not wait for it
TABLE = (
    *("network", "contender", "µs a step (quartiles)", "set-up, s", "/ fastest framework", "/ CuPy's plain loop"),
    *("of the peak rate", "test accuracy", "remarks"),
)


class Size(NamedTuple):
    """Amount of work."""

    rows: tuple[str, ...]
    rounds: int
    examples: int | None  # per epoch; None: those of the row
    widths: tuple[int, ...]  # for the crossover
    batch_sizes: tuple[int, ...]
    swept: tuple[str, ...]  # the networks of the sweep
    seconds: float  # per repetition of the crossover
    repeats: int
    epochs: int  # for MNIST, at most
    target: float  # accuracy for MNIST


FULL = Size(tuple(ROWS), 7, None, (128, 2048), (10, 128, 2048), SWEPT, 0.2, 5, 20, 0.98)
QUICK = Size(("r1",), 2, 600, (16,), (8, 64), ("r1",), 0.01, 2, 5, 0.5)


def contenders(where):
    """Build the contenders, {name: contender}; the first word of a name is the library."""
    frameworks = {
        "torch eager": ("PyTorch, eager", TorchTraining.contender),
        "torch graph": ("PyTorch, CUDA graph", TorchGraph.contender),
        "jax scan": ("JAX, jit(lax.scan), jax.grad", jax_by_hand),
        SLOWEST: ('PyTorch, compile(mode="reduce-overhead")', TorchCompiled.contender),
    }
    ours = {
        "cupy xpnet": ("xpnet on cupy", partial(xpnet, "cupy", "rows")),
        "cupy xpnet, unfused graph": ("xpnet on cupy, unfused graph", partial(xpnet, "cupy", "rows", fuse=False)),
        PLAIN: ("xpnet on cupy, plain loop", partial(xpnet, "cupy", "rows", plain=True)),
        "torch xpnet": ("xpnet on torch", partial(xpnet, "torch", "rows")),
        "jax xpnet": ("xpnet on jax", partial(xpnet, "jax", "rows")),
    }
    return {
        name: Contender(title, partial(make_there, where, device(library(name), where), make))
        for name, (title, make) in (frameworks | ours).items()
    }


def make_there(where, device, make, row, x, labels):
    """Make a contender, in its own process."""
    prepare(where)
    return make(row, x, labels, device=device)


def is_ours(name):
    """Whether a contender is xpnet."""
    return " xpnet" in name


# Which libraries can be used, and how fast they multiply


def open_libraries(where, names=LIBRARIES):
    """Open each library in a process; return {library: process}, and {library: the reason} for those that fail."""
    children = {name: Child(open_library, name, where, **PATIENCE) for name in names}
    reasons = {}
    for name, child in children.items():
        try:
            child.answer()
        except RuntimeError as error:
            reasons[name] = str(error)
    return {name: child for name, child in children.items() if name not in reasons}, reasons


def open_library(report, name, where):
    """Open a library, and measure its rate of products, in operations per second, if that is asked for."""
    prepare(where)
    backend = get_backend(name, device(name, where))
    report(None)
    report(best_rate(backend, SIDES[where]))


# Steps


def time_steps(record, where, size, names, digits, rate):
    """Time epochs of each network with every contender in turn; then the slowest to start, beside the fastest.

    `rate` is the peak rate of products.
    """
    (x, labels), test = digits
    rows = [shorten(ROWS[each], size, len(x)) for each in size.rows]
    with tempfile.TemporaryDirectory() as folder:
        save(folder, x, labels)
        compile_kernels(record, where, rows, [name for name in COMPILED if name in names], Path(folder))
        turns = Turns(record, where, size, Path(folder), test, rate)
        others, fastest = [name for name in names if name != SLOWEST], {}
        for row in rows:
            result, hung = turns.time(row, others)
            others = [name for name in others if name not in hung]  # it would hang again
            fastest[row] = result.best([name for name in others if not is_ours(name)])
        for row in rows if SLOWEST in names else []:
            _, hung = turns.time(row, [SLOWEST], beside=[fastest[row].name] if fastest[row] else [])
            if hung:
                break


def shorten(row, size, examples):
    """Return a row with as many examples as there are, or fewer in a short run."""
    return row._replace(examples=min(size.examples or row.examples, examples))


class Turns(NamedTuple):
    """Where and how to time contenders, and what to compare them with."""

    record: Record
    where: str
    size: Size
    folder: Path
    test: tuple
    rate: float | None

    def time(self, row, names, beside=()):
        """Time the contenders of a network in turn, and record them; return the result, and the names that hung.

        Others may run beside them for comparison, and are not recorded.
        """
        record, makes = self.record, contenders(self.where)
        workers = [launch(name, makes[name], row, self.folder, **PATIENCE) for name in (*beside, *names)]
        result = measure(row, workers, self.size.rounds, self.test, WARM_UP, record.line)
        record.head(*TABLE)
        for worker in workers:
            if worker.name in names:
                record.row(row, worker.contender.title, *step_cells(result, worker, self.rate))
            if worker.wrong or worker.failure:
                what = "failed" if worker.failure else "differs"
                record.problems.append(f"{row}: {worker.contender.title} {what}")
        if self.size.examples is None:  # after few examples, accuracies differ
            for text in spread(result.workers):
                record.row(row, "all", *[ABSENT] * 6, text)
                record.problems.append(f"{row}: {text}")
        return result, {worker.name for worker in workers if worker.child.hung}


def compile_kernels(record, where, rows, names, folder):
    """Train each network once with contenders on CuPy, so that its cache has the kernels before processes share it."""
    record.line()
    try:
        for row, seconds in Child(train_once, where, rows, names, folder, **PATIENCE) if names else []:
            record.line(f"{row}: an epoch of each graph with its kernels, before all others: {seconds:.1f} s")
    except RuntimeError as error:  # a contender that fails here will fail again, and be named
        record.line(f"Compiling the kernels ended: {error}")


def train_once(report, where, rows, names, folder):
    """Report the seconds that each network takes, with all of these contenders one after the other."""
    x, labels = (np.load(folder / name, mmap_mode="r") for name in FILES)
    for row in rows:
        started = time.perf_counter()
        for name in names:
            make = contenders(where)[name].make
            make(row, *(np.array(each[: row.examples]) for each in (x, labels)))(lambda epoch: None, 1)
        report((str(row), time.perf_counter() - started))


def find_peak_rate(record, where, opened):
    """Measure the rate of products of each library that `open_libraries` has opened, and return the highest."""
    rates = {}
    for name, child in opened.items():
        try:
            child.ask()
            rates[name] = child.answer()
        except RuntimeError as error:
            record.line(f"The peak rate of {name} failed: {error}")
            record.problems.append(f"the peak rate of {name}")
    rows = " and ".join(map(str, dict.fromkeys(SIDES[where])))
    said = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in rates.items())
    record.line(f"\nPeak rates in TFLOP/s, of float32 products with {rows} rows: {said}.")
    return max(rates.values(), default=None)


def step_cells(result, worker, rate):
    """Cells of a contender; what differs from the others is marked, and still shown."""
    remarks = [*([worker.engine] if worker.engine else []), *(f"DIFFERS: it {text}" for text in worker.wrong)]
    if worker.failure or not worker.seconds:
        return *[ABSENT] * 6, "; ".join([f"FAILED: {worker.failure}", *remarks])
    low, middle, high = np.quantile(worker.seconds, [0.25, 0.5, 0.75]) / result.row.steps
    frameworks = [each.name for each in result.workers if not is_ours(each.name) and each.name != SLOWEST]
    work = operations(result.row.sizes, result.row.batch_size)
    return (
        f"{1e6 * middle:.1f} ({1e6 * low:.1f}–{1e6 * high:.1f})",
        f"{worker.setup:.2f}",
        ratio_cell(result, worker, frameworks),
        ratio_cell(result, worker, [PLAIN]) if library(worker.name) == "cupy" else ABSENT,
        f"{work / middle / rate:.1%}" if rate else ABSENT,
        f"{worker.share:.2%}",
        "; ".join(remarks),
    )


def ratio_cell(result, worker, names):
    """Format the median of the ratio of times in each round."""
    quartiles = result.ratio([worker.name], names)
    return ABSENT if quartiles is None else f"{quartiles[1]:.2f}"


# The sizes from which on the GPU is faster


def time_crossover(record, where, size, libraries):
    """Time a step of networks with one hidden layer on every library and device."""
    record.head("network", "GPU / CPU", "µs a step, each", "left out")
    try:
        for network, times, left_out in Child(compare, where, size, ["numpy", *libraries], **PATIENCE):
            record.row(network, *crossover_cells(times), "; ".join(left_out))
            record.problems.extend(f"{network}: a library was left out" for _ in left_out)
    except RuntimeError as error:
        record.line(f"The crossover ended: {error}")
        record.problems.append("the crossover ended early")


def compare(report, where, size, libraries):
    """Report for each network the times of all libraries and devices, the fastest first, and what was left out."""
    prepare(where)
    for width in size.widths:
        net = Network([784, width, 10], activation="relu", task="classification", seed=0)
        for m in size.batch_sizes:
            compared = compare_backends(net, m, seconds=size.seconds, repeats=size.repeats, backends=libraries)
            times = {(row["backend"], row["device"]): 1e6 * row["seconds"] for row in compared.rows}
            report((f"784-{width}-10, batch {m}", times, [str(each) for each in compared.unusable]))


def crossover_cells(times):
    """Cells of a network: the ratio of the fastest on each side, and all times."""
    sides = {True: [], False: []}
    for (_, there), time_taken in times.items():
        sides[there.startswith("cpu")].append(time_taken)
    said = ", ".join(f"{name} on {there} {time_taken:.1f}" for (name, there), time_taken in times.items())
    ratio = min(sides[False]) / min(sides[True]) if sides[False] and sides[True] else None
    return ABSENT if ratio is None else f"{ratio:.2f}", said


# MNIST


def time_mnist(record, where, size, libraries, digits):
    """Train a network with each library until it reaches the target accuracy."""
    record.head(
        *("784-512-10, batch 128, Adam", f"seconds to {size.target:.0%}", "seconds an epoch", "epochs", "accuracy"),
        "remarks",
    )
    (x, labels), test = digits
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        few = None if size.examples is None else 10 * size.examples
        np.savez(path, x=x[:few], labels=labels[:few], test_x=test[0], test_labels=test[1])
        for name in libraries:
            try:
                reached, *cells = run_alone(train_mnist, name, where, size, path, **PATIENCE)
            except RuntimeError as error:
                record.row(f"xpnet on {name}", *[ABSENT] * 4, f"FAILED: {error}")
                record.problems.append(f"MNIST on {name} failed")
                continue
            record.row(f"xpnet on {name}", ABSENT if reached is None else f"{reached:.2f}", *cells)
            if reached is None:
                record.problems.append(f"MNIST on {name} has not reached {size.target:.0%} after {size.epochs} epochs")


def train_mnist(name, where, size, path):
    """Train; return the seconds until the target accuracy, None if it was not reached, and what the table shows."""
    prepare(where)
    with np.load(path) as file:
        x, labels, *test = (file[key] for key in ("x", "labels", "test_x", "test_labels"))
    place = {"backend": name, "device": device(name, where)}
    net = Network([784, 512, 10], activation="relu", task="classification", seed=0, **place)
    until, settings = Until(size.target), {"optimizer": Adam(), "lr": 0.001, "metrics": ["accuracy"]}
    history = net.train(
        (x, labels), size.epochs, 128, validation_data=tuple(test), callbacks=[until], progress=False, **settings
    )
    epochs, accuracy = history["seconds"], history["validation_accuracy"]
    middle = np.median(epochs[1:] or epochs)
    return until.reached, f"{middle:.3f}", len(epochs), f"{accuracy[-1]:.2%}", engine(net)


class Until(Callback):
    """Stop at a validation accuracy, and record the seconds from the creation of this callback."""

    def __init__(self, accuracy):
        self.accuracy, self.reached, self.started = accuracy, None, time.perf_counter()

    def on_train_begin(self, training):
        """Keep the training, to stop it later."""
        self.training = training

    def on_epoch_end(self, logs):
        """Compare the validation accuracy with the target."""
        if logs["validation_accuracy"] >= self.accuracy:
            self.reached, self.training.stopped = time.perf_counter() - self.started, True
