"""Defaults of ``xpnet train``: settings that work well for a kind of data, unless options say otherwise."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from xpnet._checks import choices, count
from xpnet.core.optimizers import OPTIMIZERS, Optimizer, needs_all_examples
from xpnet.core.schedules import SCHEDULES
from xpnet.errors import ArgumentError
from xpnet.tables import Recipe
from xpnet.tables.reading import is_table
from xpnet.training import parse_rate

OPTIMIZER_CLASSES = {
    "sgd": "SGD",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
    "lm": "LevenbergMarquardt",
    "lbfgs": "LBFGS",
}
MOMENTUM = 0.9


class Defaults(NamedTuple):
    """How networks are made and trained; each field is an option of the same name."""

    members: int = 1
    hidden: tuple[int, ...] = (256, 128)
    dropout: tuple[float, ...] = (0.0,)
    standardize: bool = False
    epochs: int = 15
    batch_size: int = 32
    optimizer: str = "sgd"
    lr: float = 0.1
    schedule: str = "one-cycle"
    weight_decay: float = 0.001
    early_stopping: int | None = None


# benchmarks/accuracy.py measures the accuracies of these
FULL_MNIST = Defaults(hidden=(256,), epochs=5, batch_size=64, lr=0.2, weight_decay=0.0001)
DEFAULTS = {"mnist-sample": Defaults(), "mnist": FULL_MNIST, "fashion-mnist": FULL_MNIST}
TABLES = Recipe()
DEFAULTS_FOR_TABLES = Defaults(
    members=TABLES.members,
    optimizer="adamw",
    lr=TABLES.lr,
    schedule="cosine",
    weight_decay=TABLES.weight_decay,
    early_stopping=TABLES.patience,
)
SGD_FOR_TABLES = {"lr": 0.02, "weight_decay": 0.01}


def choose_defaults(options: argparse.Namespace, defaults: Defaults) -> Defaults:
    """Replace defaults by the user's options."""
    if options.optimizer not in (None, defaults.optimizer):
        kind = OPTIMIZERS[OPTIMIZER_CLASSES[options.optimizer]]
        settings = {"lr": kind.default_lr, "weight_decay": kind().weight_decay}
        defaults = defaults._replace(**(SGD_FOR_TABLES if options.optimizer == "sgd" else settings))
    settings = {name: getattr(options, name) for name in Defaults._fields}
    return defaults._replace(**{name: value for name, value in settings.items() if value is not None})


def choose_members(options: argparse.Namespace) -> int:
    """Choose the number of networks: for a table that of its recipe, unless an option is for a single network."""
    lone = find_lone_option(options)
    if options.members is None:
        return TABLES.members if is_table(options.data) and lone is None else 1
    members = count("members", options.members, 1)
    if members > 1 and lone is not None:
        raise ArgumentError(f"{lone} is for one network, and --members {members} makes several; leave one of them out")
    return members


def find_lone_option(options: argparse.Namespace) -> str | None:
    """Find an option that the user gives, and that only a single network has."""
    options_of_one = {
        "--validation-split": options.validation_split is not None,
        "--distributed": options.distributed,
        "--blas-threads": options.blas_threads != "auto",
        f"--optimizer {options.optimizer}": takes_all_examples(options.optimizer),
    }
    return next((option for option, is_given in options_of_one.items() if is_given), None)


def takes_all_examples(optimizer: str | None) -> bool:
    """Tell whether every step of an optimizer takes all examples, by its name; None stands for the recipe's own."""
    return optimizer is not None and needs_all_examples(OPTIMIZERS[OPTIMIZER_CLASSES[optimizer]])  # type: ignore[arg-type]


def choose_steps(options: argparse.Namespace, settings: Defaults) -> dict[str, Any]:
    """Choose the optimizer, the learning rate, and the size of minibatches if the user gives it."""
    optimizer = make_optimizer(settings.optimizer, options.momentum, settings.weight_decay)
    batch = {} if options.batch_size is None else {"batch_size": options.batch_size}
    if not takes_all_examples(options.optimizer):
        rate = parse_rate("lr", settings.lr)
        is_usual = settings.schedule == "cosine" and is_table(options.data)
        return {
            **batch,
            "optimizer": optimizer,
            "lr": (TABLES.schedule if is_usual else SCHEDULES[settings.schedule])(rate),
        }
    if options.schedule is not None:  # it takes whole steps, and refuses the others if the user gives them
        raise ArgumentError(
            f"--schedule {options.schedule} is for other optimizers: {options.optimizer} has no learning rate"
        )
    return {**batch, "optimizer": optimizer, **({} if options.lr is None else {"lr": options.lr})}


def choose_network(options: argparse.Namespace, settings: Defaults) -> dict[str, Any]:
    """Collect the arguments of a network, but for its sizes and where it computes; None where there is no option."""
    words = options.activation
    return {
        "activation": words[0] if len(words) == 1 else words,
        "output_activation": options.output_activation,
        "cost": options.cost,
        "task": options.task,
        "init": options.init,
        "dropout": settings.dropout[0] if len(settings.dropout) == 1 else settings.dropout,
        "standardize": options.standardize,
        "dtype": options.dtype,
        "seed": options.seed,
    }


def number_class_weights(weights: str | Mapping[str, float] | None, labels: Sequence[str] | None) -> Any:
    """Convert the weights of classes from labels to class numbers; those of arrays, None, are numbers."""
    if weights is None or isinstance(weights, str):
        return weights
    numbers = {}
    for label, weight in weights.items():
        if labels is not None and label not in labels:
            raise ArgumentError(f"--class-weight names the class {label!r}; choose from {choices(labels)}")
        if labels is None and not label.isdecimal():
            raise ArgumentError(
                f"--class-weight names the class {label!r}; classes of arrays are numbers, as in 0=1,1=5"
            )
        numbers[int(label) if labels is None else labels.index(label)] = weight
    return numbers


def make_optimizer(name: str, momentum: float | None, weight_decay: float) -> Optimizer:
    """Make the optimizer."""
    if name == "sgd":
        return OPTIMIZERS["SGD"](momentum=MOMENTUM if momentum is None else momentum, weight_decay=weight_decay)
    if momentum is not None:
        raise ArgumentError(f"--momentum {momentum:g} is for SGD; --optimizer {name} has its own")
    return OPTIMIZERS[OPTIMIZER_CLASSES[name]](weight_decay=weight_decay)
