"""Recipes of ``xpnet train``: settings that work well for a kind of data, unless options say otherwise."""

import argparse
from typing import NamedTuple

from xpnet._checks import count
from xpnet.cli._data import Data
from xpnet.core.optimizers import OPTIMIZERS
from xpnet.core.optimizers.base import Optimizer, needs_all_examples
from xpnet.core.schedules import SCHEDULES, Cosine, Schedule
from xpnet.errors import ArgumentError
from xpnet.tables._recipe import WARMUP
from xpnet.tables._recipe import Recipe as TableRecipe
from xpnet.tables.reading import is_table
from xpnet.training import parse_rate

CLASSES = {
    "sgd": "SGD",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
    "lm": "LevenbergMarquardt",
    "lbfgs": "LBFGS",
}
MOMENTUM = 0.9


class Recipe(NamedTuple):
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
FULL_MNIST = Recipe(hidden=(256,), epochs=5, batch_size=64, lr=0.2, weight_decay=0.0001)
RECIPES = {"mnist-sample": Recipe(), "mnist": FULL_MNIST, "fashion-mnist": FULL_MNIST}
TABLES = TableRecipe()
SGD_FOR_TABLES = {"lr": 0.02, "weight_decay": 0.01}


def choose_recipe(options: argparse.Namespace, data: Data) -> Recipe:
    """Choose the recipe for the data, and replace its settings by the user's options."""
    is_of_table = data.columns is not None
    recipe = make_table_recipe(len(data.train[1])) if is_of_table else RECIPES.get(data.name, Recipe())
    if options.optimizer not in (None, recipe.optimizer):
        kind = OPTIMIZERS[CLASSES[options.optimizer]]
        settings = {"lr": kind.default_lr, "weight_decay": kind().weight_decay}
        recipe = recipe._replace(**(SGD_FOR_TABLES if options.optimizer == "sgd" else settings))
    settings = {name: getattr(options, name) for name in Recipe._fields}
    return recipe._replace(**{name: value for name, value in settings.items() if value is not None})


def make_table_recipe(n: int) -> Recipe:
    """Make the recipe for a table with n rows to train on."""
    return Recipe(
        members=TABLES.members,
        hidden=TABLES.choose_hidden(n),
        standardize=True,
        epochs=TABLES.choose_epochs(n),
        batch_size=TABLES.choose_batch_size(n),
        optimizer="adamw",
        lr=TABLES.lr,
        schedule="cosine",
        weight_decay=TABLES.weight_decay,
        early_stopping=TABLES.patience,
    )


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
    given = {
        "--validation-split": options.validation_split is not None,
        "--distributed": options.distributed,
        "--blas-threads": options.blas_threads != "auto",
        f"--optimizer {options.optimizer}": takes_all_examples(options.optimizer),
    }
    return next((option for option, is_given in given.items() if is_given), None)


def takes_all_examples(optimizer: str | None) -> bool:
    """Tell whether every step of an optimizer takes all examples, by its name; None stands for the recipe's own."""
    return optimizer is not None and needs_all_examples(OPTIMIZERS[CLASSES[optimizer]])  # type: ignore[arg-type]


def make_schedule(recipe: Recipe, for_table: bool) -> Schedule:
    """Make the schedule of the learning rate."""
    rate = parse_rate("lr", recipe.lr)
    if for_table and recipe.schedule == "cosine":
        return Cosine(rate, warmup=WARMUP)
    return SCHEDULES[recipe.schedule](rate)


def make_optimizer(name: str, momentum: float | None, weight_decay: float) -> Optimizer:
    """Make the optimizer."""
    if name == "sgd":
        return OPTIMIZERS["SGD"](momentum=MOMENTUM if momentum is None else momentum, weight_decay=weight_decay)
    if momentum is not None:
        raise ArgumentError(f"--momentum {momentum:g} is for SGD; --optimizer {name} has its own")
    return OPTIMIZERS[CLASSES[name]](weight_decay=weight_decay)
