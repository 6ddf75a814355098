"""What programs do with a network: each operation checks what must be true after it."""

import copy
import random
from functools import partial

import numpy as np

from .generate import Operation, register
from .world import (
    Containers,
    Examples,
    Failure,
    World,
    assert_close,
    assert_same,
    clone,
    draw_training,
    near,
    strip_times,
    to_host,
)

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)


@operation(weight=8)
def train(world: World, r: random.Random) -> None:
    """Every option of a training, beside the oracle."""
    training = draw_training(world, r)
    x, y = training.examples.data
    world.log.append(f"n={training.examples.n} {training.expected}")
    oracle = copy.deepcopy(world.oracle)

    def act(net, containers: Containers) -> None:
        options = dict(training.options)
        if "sample_weight" in options:
            options["sample_weight"] = containers.array(options["sample_weight"])
        if "validation_data" in options:
            options["validation_data"] = containers.examples(*options["validation_data"])
        net.train(containers.examples(x, y), **options, callbacks=training.make_callbacks())

    error = world.act(r, act)
    if oracle is None:
        return
    rows = oracle.train(x, y, **training.expected)
    if error is None:
        world.oracle = oracle
        if world.exact:
            compare_histories(strip_times(world.net.history.rows), rows)
        world.check("after train")
    elif world.exact and all(np.isfinite(part).all() for pair in oracle.layers for part in pair):
        raise Failure(f"it diverges, and the oracle does not: {error}")


def compare_histories(rows: list[dict], expected: list[dict]) -> None:
    if len(rows) != len(expected):
        raise Failure(f"history: {len(rows)} epochs, expected {len(expected)}")
    for row, other in zip(rows, expected):
        if row.keys() != other.keys():
            raise Failure(f"history has {[*row]}, expected {[*other]}")
        for name, value in other.items():
            if not near(row[name], value, 1e-7) and not abs(value) > 1e6:
                raise Failure(f"history {name}: {row[name]!r}, expected {value!r} in epoch {row['epoch']}")


@operation(weight=2)
def replace_by_clone(world: World, r: random.Random) -> None:
    """The program goes on with a clone."""
    door, new = clone(world.net, r)
    assert_same(new, world.net, f"clone by {door}")
    world.net = new


@operation(weight=3, reads=True)
def forward(world: World, r: random.Random) -> None:
    """Outputs, row by row too."""
    x = Examples(world.net, r).x
    a = to_host(world.net.forward(x))
    if world.oracle is not None:
        assert_close(a, world.oracle.forward(x), 1e-9 if world.exact else 2e-3, "forward")
    rows = np.stack([to_host(world.net.forward(row)) for row in x])
    assert_close(rows, a, 1e-11 if world.exact else 1e-4, "forward, row by row")
