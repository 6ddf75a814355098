"""Programs: lists of random operations, each with its own seed, so that leaving some out changes no other."""

import importlib
import random
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import cache
from io import StringIO
from typing import Any, NamedTuple

import numpy as np

from .thresholds import draw_thresholds
from .world import Failure, remove_paths

# The modules of each kind of program; each hands on OPERATIONS, and the first one the World that they act on
KINDS = {
    "networks": ("operations", "calibrations", "ensembles", "mistakes"),
    "estimators": ("estimators", "own_estimators", "table_models"),
    "doors": ("operations", "kills", "doors", "exports", "shell"),
}
LEAST, MOST = 3, 12  # operations of a program


class Operation(NamedTuple):
    """Something to do in a world: ``act(world, r)``."""

    act: Callable[[Any, random.Random], None]
    weight: float
    reads: bool  # whether it must leave the network as it is


class Program(NamedTuple):
    """Operations in the world of a seed."""

    kind: str
    seed: int
    operations: tuple[tuple[str, int], ...]  # the name of each, and its own seed


def register(table: dict[str, Operation], weight: float = 1, reads: bool = False) -> Callable[[Any], Any]:
    """Make a decorator that adds a function to a table of operations, by its name.

    A module of operations begins with ``operation = partial(register, OPERATIONS)``.
    """

    def add(act: Any) -> Any:
        table[act.__name__] = Operation(act, weight, reads)
        return act

    return add


@cache
def load_kind(kind: str) -> tuple[type, dict[str, Operation]]:
    """The class of the worlds of a kind, and its operations."""
    names = [f"{__package__}.{name}" for name in KINDS[kind]]
    modules = [importlib.import_module(name) for name in names]
    return modules[0].World, {name: each for module in modules for name, each in module.OPERATIONS.items()}


def write(kind: str, seed: int) -> Program:
    """Write the program of a seed."""
    r, (_, table) = random.Random(f"{kind} {seed}"), load_kind(kind)
    names = r.choices([*table], [each.weight for each in table.values()], k=r.randint(LEAST, MOST))
    return Program(kind, seed, tuple((name, r.randrange(2**40)) for name in names))


def run(
    program: Program, backend: str, digests: list[Any] | None = None, skipped: Counter[str] | None = None
) -> Failure | None:
    """Run a program; return what failed, with the number of the operation and what it had drawn.

    The fingerprint of the world after each operation is appended to `digests`, and what was not compared is counted in
    `skipped`, if they are given.
    """
    make_world, table = load_kind(program.kind)
    place, world = -1, None
    # Other processes, which doors start, would have the thresholds as they are
    thresholds = (
        nullcontext() if program.kind == "doors" else draw_thresholds(program.kind, random.Random(program.seed))
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"), redirect_stdout(StringIO()), thresholds:
        warnings.simplefilter("ignore")
        try:
            world = make_world(program.seed, backend)
            for place, (name, seed) in enumerate(program.operations):  # noqa: B007
                world.log = []
                run_operation(table[name], world, random.Random(seed))
                if digests is not None:
                    digests.append(world.fingerprint())
        except Exception as error:
            return describe_failure(error, place, world)
        finally:
            remove_paths()
            if skipped is not None and world is not None:
                skipped.update(world.skipped)
    return None


def run_operation(operation: Operation, world: Any, r: random.Random) -> None:
    before = world.fingerprint() if operation.reads else None
    operation.act(world, r)
    if operation.reads and world.fingerprint() != before:
        raise Failure(f"{operation.act.__name__} changed what it only reads")


def describe_failure(error: Exception, place: int, world: Any) -> Failure:
    lines = traceback.format_exception(error)
    text = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
    failure = Failure(text)
    failure.place, failure.trace = place, "".join(lines[-6:])
    failure.log, failure.settings = getattr(world, "log", None), getattr(world, "settings", None)
    last = traceback.extract_tb(error.__traceback__)[-1]
    failure.kind = text.split(":")[0] if isinstance(error, Failure) else f"{type(error).__name__} in {last.name}"
    return failure


def shrink(program: Program, failure: Failure, backend: str) -> tuple[Program, Failure]:
    """Leave out operations while the program fails in the same way."""
    operations = program.operations[: failure.place + 1]
    k = 0
    while k < len(operations) - 1:
        shorter = program._replace(operations=operations[:k] + operations[k + 1 :])
        other = run(shorter, backend)
        if other is not None and other.kind == failure.kind:
            failure, operations = other, shorter.operations[: other.place + 1]
        else:
            k += 1
    return program._replace(operations=operations), failure


def repeat_line(program: Program, backend: str) -> str:
    """The command that repeats a program, which may have lost operations."""
    whole = write(program.kind, program.seed).operations
    only = " ".join(str(whole.index(operation)) for operation in program.operations)
    return f"python tests/run_programs.py --repeat {program.kind} {program.seed} --only {only} --backend {backend}"


def keep(program: Program, names: list[str] | None) -> Program:
    """Keep only the operations of these names."""
    if names is None:
        return program
    return program._replace(operations=tuple(each for each in program.operations if each[0] in names))


def choose(program: Program, places: list[int] | None) -> Program:
    """Keep only the operations at these places."""
    if places is None:
        return program
    return program._replace(operations=tuple(program.operations[place] for place in places))
