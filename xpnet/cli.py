"""The command line: ``xpnet train``, ``evaluate``, ``predict``, ``backends`` and ``bench``.

Every wrong option or file ends in one clear line on standard error and a nonzero exit status.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import xpnet
from xpnet.arguments import DTYPES, TASKS
from xpnet.backends.choose import BACKENDS
from xpnet.bench import compare_backends, libraries
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.table import OPTIMIZERS
from xpnet.core.schedules import SCHEDULES
from xpnet.data import datasets
from xpnet.network import Network
from xpnet.training.arguments import parse_rate
from xpnet.training.callbacks import EarlyStopping


class Recipe(NamedTuple):
    """Settings that are known to work for a data set; options override them."""

    sizes: tuple[int, ...]
    dropout: tuple[float, ...] = (0.0,)
    epochs: int = 15
    batch_size: int = 32
    lr: float = 0.1
    weight_decay: float = 0.0


DATA: dict[str, Callable[[], Any]] = {
    "mnist-sample": datasets.mnist_sample,
    "mnist": datasets.mnist,
    "fashion-mnist": datasets.fashion_mnist,
}
# benchmarks/accuracy.py measures their accuracies
RECIPES = {
    "mnist-sample": Recipe((784, 256, 128, 10), weight_decay=0.001),
    "mnist": Recipe((784, 256, 10), epochs=5, batch_size=64, lr=0.2, weight_decay=0.0001),
    "fashion-mnist": Recipe((784, 256, 10), epochs=5, batch_size=64, lr=0.2, weight_decay=0.0001),
}
CLASSES = {"sgd": "SGD", "rmsprop": "RMSProp", "adam": "Adam", "adamw": "AdamW"}
MOMENTUM = 0.9


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        The arguments; those of the process unless given.

    Returns
    -------
    int
        Exit status: 0, 1 for an error, 130 for Ctrl-C.

    Examples
    --------
    >>> main(["evaluate", "missing.safetensors"])
    1
    """
    options = parser().parse_args(argv)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("xpnet: interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError, OSError, MemoryError) as error:
        print(f"xpnet: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Build the parser of the commands and their options."""
    top = _Parser(prog="xpnet", description="Train and use feed-forward neural networks.")
    top.add_argument("--version", action="version", version=f"xpnet {xpnet.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a network and report its accuracy")
    train.set_defaults(run=run_train)
    _add_data(train)
    train.add_argument("--sizes", type=_sizes, help="units of each layer, as in 784,30,10 (by the data)")
    train.add_argument("--task", choices=TASKS, help="sets output activation and cost (classification)")
    train.add_argument(
        "--activation", type=_words, default="relu", help="of the hidden layers, or of each: relu,tanh (relu)"
    )
    train.add_argument("--output-activation", metavar="ACTIVATION", help="of the outputs (by the task)")
    train.add_argument("--cost", help="cost function (by the task)")
    train.add_argument("--epochs", type=int, help="passes over the data (by the data)")
    train.add_argument("--batch-size", type=int, help="examples in a minibatch (by the data)")
    train.add_argument("--optimizer", choices=CLASSES, default="sgd", help="optimizer (%(default)s)")
    train.add_argument("--lr", type=float, help="largest learning rate (of SGD by the data)")
    train.add_argument("--schedule", choices=SCHEDULES, default="one-cycle", help="of the learning rate (%(default)s)")
    train.add_argument("--momentum", type=float, help=f"of SGD; 0 turns it off ({MOMENTUM})")
    train.add_argument("--weight-decay", type=float, help="of the weights; 0 turns it off (of SGD by the data)")
    train.add_argument(
        "--dropout",
        type=_rates,
        metavar="RATE",
        help="dropout rate of the hidden layers; or rates of inputs and each hidden layer: 0.2,0.5 (0)",
    )
    train.add_argument("--standardize", action="store_true", help="bring inputs to mean 0 and standard deviation 1")
    train.add_argument(
        "--validation-split", type=float, metavar="FRACTION", help="of the training data, to validate on"
    )
    train.add_argument(
        "--early-stopping", type=int, metavar="EPOCHS", help="stop after this many without a lower validation cost"
    )
    train.add_argument("--seed", type=int, default=0, help="of initial weights and minibatches (%(default)s)")
    train.add_argument(
        "--blas-threads", type=_threads, metavar="N", default="auto", help="threads that multiply matrices (auto)"
    )
    _add_place(train)
    _add_dtype(train)
    train.add_argument("--save", type=Path, metavar="FILE", help="write the network to a safetensors file")

    evaluate = commands.add_parser("evaluate", help="report the accuracy of a saved network")
    evaluate.set_defaults(run=run_evaluate)
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="file written by train --save")
    _add_data(evaluate)
    _add_place(evaluate)

    predict = commands.add_parser("predict", help="predict an image, or the rows of a .npy file")
    predict.set_defaults(run=run_predict)
    predict.add_argument("model", type=Path, metavar="MODEL", help="file written by train --save")
    predict.add_argument("file", type=Path, metavar="FILE", help="an image, light strokes on dark, or a .npy array")
    _add_place(predict)

    backends = commands.add_parser("backends", help="list the libraries and devices that can be used here")
    backends.set_defaults(run=run_backends)

    bench = commands.add_parser("bench", help="find the library and device that train a network fastest here")
    bench.set_defaults(run=run_bench)
    bench.add_argument("--sizes", type=_sizes, default="784,30,10", help="units of each layer (%(default)s)")
    bench.add_argument("--task", choices=TASKS, help="sets output activation and cost (the book's: sigmoid, quadratic)")
    bench.add_argument(
        "--activation", type=_words, default="sigmoid", help="of the hidden layers, or of each: relu,tanh (%(default)s)"
    )
    bench.add_argument("--batch-size", type=int, default=10, help="examples in a minibatch (%(default)s)")
    _add_dtype(bench)
    bench.add_argument("--backend", type=_words, help="libraries to time: numpy,jax (all that can be used)")
    length = bench.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=0.2, help="length of a repetition (%(default)s)")
    length.add_argument("--steps", type=int, help="steps of a repetition (as many as take so long)")
    bench.add_argument("--repeats", type=int, default=7, help="repetitions that count, after a first one (%(default)s)")
    bench.add_argument("--seed", type=int, default=0, help="of weights and examples (%(default)s)")
    return top


def run_train(options: argparse.Namespace) -> None:
    """Train, report, and save."""
    recipe = RECIPES.get(options.data, RECIPES["mnist-sample"])
    overrides = {name: getattr(options, name) for name in Recipe._fields if getattr(options, name) is not None}
    kind = OPTIMIZERS[CLASSES[options.optimizer]]
    if options.optimizer != "sgd":
        recipe = recipe._replace(weight_decay=kind().weight_decay, lr=kind.default_lr)
    recipe = recipe._replace(**overrides)
    net = Network(
        recipe.sizes,
        activation=_one_or_each(options.activation),
        output_activation=options.output_activation or (None if options.task else "softmax"),
        cost=options.cost or (None if options.task else "cross_entropy"),
        task=options.task,
        dropout=recipe.dropout[0] if len(recipe.dropout) == 1 else recipe.dropout,
        standardize=options.standardize,
        backend=options.backend,
        device=options.device,
        dtype=options.dtype,
        seed=options.seed,
    )
    schedule = SCHEDULES[options.schedule](parse_rate("--lr", recipe.lr))
    optimizer = make_optimizer(options.optimizer, options.momentum, recipe.weight_decay)
    stopping = [] if options.early_stopping is None else [EarlyStopping(options.early_stopping)]
    if stopping and options.validation_split is None:
        raise ValueError(f"--early-stopping {options.early_stopping} needs --validation-split, as in 0.1")
    if options.save and options.save.is_dir():
        raise OSError(f"--save {options.save} is a folder; name a file in it")
    if options.save and not options.save.absolute().parent.is_dir():
        raise OSError(f"--save {options.save}: there is no folder {options.save.absolute().parent}")
    train_data, test_data = read_data(options.data)
    print(net)
    started = time.perf_counter()
    history = net.train(
        train_data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=schedule,
        optimizer=optimizer,
        validation_split=options.validation_split,
        callbacks=stopping,
        test_data=test_data,
        blas_threads=options.blas_threads,
    )
    seconds = time.perf_counter() - started
    if options.save:
        net.save(options.save)
        print(f"Saved to {options.save}")
    if stopping and stopping[0].stopped_epoch:
        print(f"Stopped after epoch {stopping[0].stopped_epoch}; the network is that of epoch {stopping[0].best_epoch}")
    speed = sum(s * r for s, r in zip(history["seconds"], history["examples_per_second"]))
    speed /= max(sum(history["seconds"]), 1e-9)
    print(f"{score(net, test_data)} after {seconds:.1f} s, {speed:,.0f} examples/s")


def make_optimizer(name: str, momentum: float | None, weight_decay: float) -> Optimizer:
    """Make the optimizer that the options name."""
    if name == "sgd":
        return OPTIMIZERS["SGD"](momentum=MOMENTUM if momentum is None else momentum, weight_decay=weight_decay)
    if momentum is not None:
        raise ValueError(f"--momentum {momentum:g} is for SGD; --optimizer {name} has its own")
    return OPTIMIZERS[CLASSES[name]](weight_decay=weight_decay)


def run_evaluate(options: argparse.Namespace) -> None:
    """Report the accuracy of a saved network on test data."""
    net = Network.load(options.model, backend=options.backend, device=options.device)
    _, test_data = read_data(options.data, in_bytes=net.scale is not None)
    print(score(net, test_data))


def run_predict(options: argparse.Namespace) -> None:
    """Print the predictions of a saved network, one line per example."""
    net = Network.load(options.model, backend=options.backend, device=options.device)
    x = read_examples(options.file, net.sizes[0], in_bytes=net.scale is not None)
    predicted, outputs = net.backend.to_numpy(net.predict(x)), net.backend.to_numpy(net.forward(x))
    for prediction, output in zip(predicted, outputs):
        if net.task == "classification":
            print(f"{prediction}\t(output {output[prediction]:.4f})")
        else:
            print(*np.atleast_1d(prediction), sep="\t")


def run_backends(options: argparse.Namespace) -> None:
    """List libraries and devices, and for libraries that cannot be used the reason and the remedy."""
    for library in libraries():
        print(library)


def run_bench(options: argparse.Namespace) -> None:
    """Time a step of a network on every library and device, and name the fastest."""
    net = Network(
        options.sizes,
        activation=_one_or_each(options.activation),
        task=options.task,
        dtype=options.dtype,
        seed=options.seed,
    )
    settings = {name: getattr(options, name) for name in ("steps", "seconds", "repeats", "seed")}
    print(compare_backends(net, options.batch_size, backends=options.backend, **settings))


def score(net: Network, test_data: Any) -> str:
    """Format the accuracy or the cost of a network on test data."""
    if net.task == "regression":
        return f"Test cost: {net.cost(test_data):.6g}"
    correct = net.evaluate(test_data)
    n = len(test_data[1])
    return f"Test accuracy: {correct / n:.2%} ({correct}/{n})"


def read_data(name: str, in_bytes: bool = False) -> Any:
    """Load ((x_train, y_train), (x_test, y_test)) by name, or from an .npz file that holds arrays so named.

    Pixels are in [0, 1], or bytes if `in_bytes`, for a network that scales them itself.
    """
    if name in DATA:
        data = DATA[name]()
        return tuple((np.round(255 * x).astype(np.uint8), y) for x, y in data) if in_bytes else data
    if Path(name).suffix != ".npz":
        raise ValueError(f"--data {name} is unknown; choose from {', '.join(DATA)}, or give a file FILE.npz")
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(name, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test = (arrays[name] for name in names)
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds on a broken file
        raise ValueError(f"--data {name} must hold the arrays {', '.join(names)} ({error})") from error
    return (_scaled(x_train, in_bytes), y_train), (_scaled(x_test, in_bytes), y_test)


def read_examples(path: Path, n_in: int, in_bytes: bool) -> np.ndarray:
    """Read examples (n, n_in): the rows of a .npy array, or an image made grey and of the right size."""
    if path.suffix == ".npy":
        try:
            x = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not an array of numbers ({error})") from error
        if not isinstance(x, np.ndarray):
            raise ValueError(f"{path} holds several arrays; give one, written by numpy.save")
        return _scaled(x.reshape(1, -1) if x.size == n_in else x, in_bytes)
    side = round(n_in**0.5)
    if side * side != n_in:
        raise ValueError(
            f"the network takes {n_in} inputs, which do not form a square image; give a .npy file of (n, {n_in})"
        )
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(f'an image needs Pillow ({error}); install it with: pip install "xpnet[vision]"') from error
    try:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L").resize((side, side)))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not an image that Pillow can read; give an image or a .npy file") from error
    return _scaled(grey.reshape(1, -1), in_bytes)


def _scaled(x: np.ndarray, in_bytes: bool) -> np.ndarray:
    """Scale bytes to float32 in [0, 1], unless they are to stay bytes; leave everything else."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 and not in_bytes else x


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.replace(",", " ").split()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers with commas, as in 784,30,10") from error


def _threads(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _words(text: str) -> list[str]:
    """Split at commas, except inside brackets, as in "elu(1.0, 2.0)"."""
    return [word.strip() for word in re.split(r",(?![^(]*\))", text)]


def _one_or_each(words: list[str]) -> str | list[str]:
    """Return a single name for all layers, or the list of names."""
    return words[0] if len(words) == 1 else words


def _rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(rate) for rate in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number, or numbers with commas, as in 0.2,0.5") from error


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", default="mnist-sample", help=f"{', '.join(DATA)}, or an .npz file (%(default)s)")


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backend", choices=BACKENDS, help="library that computes (NumPy, or by the device)")
    command.add_argument("--device", help="cpu, cuda, cuda:1, auto, or a device in the backend's own terms")


def _add_dtype(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dtype", choices=DTYPES, default="float32", help="of all arrays (%(default)s)")
