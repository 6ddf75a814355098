"""The sweep of gpu.py: times of steps with other sizes of the kernels that xpnet generates for CuPy.

The sizes are those of `xpnet.backends.cuda.sizes`; what is tried is in `SWEEPS`. Each network has a process of its own,
which trains it with one setting after the other, beginning and ending with the sizes as they are.
"""

import itertools
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from children import Child
from contenders import start
from gpu_check import BOUND, GRAPH, largest_difference
from gpu_times import PATIENCE, ROWS, contenders, shorten
from places import prepare
from turns import ABSENT, COST_BOUND, FILES, RELU_COST_BOUND, save

from xpnet.backends.cuda import sizes

SECONDS = 230  # of the whole sweep
LONGEST = 20  # seconds of a setting, as estimated: none begins later than this before the end
# Sizes that are tried in every combination, the others staying as they are; and the networks that have loops so long
SWEEPS = (
    ({"ONE_BLOCK_ELEMENTS": (1 << 10, 1 << 12, 1 << 14), "MAX_KERNEL_THREADS": (512, 1024)}, ("r1", "r4", "r5")),
    ({"MAX_BLOCKS": (1024, 2112, 4224)}, ("r5", "r6", "r7")),
    ({"ELEMENTS_AT_ONCE": (1, 4)}, ("r1", "r5", "r7")),
)


class Trial(NamedTuple):
    """Seconds of the epochs with one setting, and of set-up in the first; and what is wrong."""

    seconds: list[float]
    setup: float
    faults: list[str]
    engine: str


def sweep(record, where, size, digits):
    """Time a step of each network with every setting, as far as there is time."""
    started, ((x, labels), _) = time.perf_counter(), digits
    record.head("network", "sizes", "µs a step (quartiles)", "/ as they are", "set-up, s", "remarks")
    with tempfile.TemporaryDirectory() as folder:
        save(folder, x, labels)
        for key in size.swept:
            row, settings = shorten(ROWS[key], size, len(x)), choose_settings(key, size.examples is not None)
            sweep_row(record, where, row, settings, Path(folder), size.rounds, started + SECONDS)


def choose_settings(key, short):
    """List the settings for a network, each {name: size}; a short run has all, for whatever network."""
    settings = [{}]
    for values, rows in SWEEPS:
        if key in rows or short:
            chosen = (dict(zip(values, each, strict=True)) for each in itertools.product(*values.values()))
            settings += [each for each in chosen if any(getattr(sizes, name) != n for name, n in each.items())]
    return [*settings, {}]


def sweep_row(record, where, row, settings, folder, rounds, end):
    """Record the times of a network with each setting; those for which there is no time are named."""
    remaining, usual, child = list(settings), None, None
    if time.perf_counter() < end - LONGEST:
        child = Child(time_settings, where, row, settings, folder, rounds, **patience_until(end))
    try:
        for trial in child or ():
            setting, middle = describe(remaining.pop(0)), float(np.median(trial.seconds))
            usual = usual or middle
            record.row(row, setting, *trial_cells(row, trial, usual))
            record.problems.extend(f"{row}, {setting}: {fault}" for fault in trial.faults)
            if time.perf_counter() > end - LONGEST:
                break
            child.patience = patience_until(end)["patience"]
    except RuntimeError as error:
        record.row(row, describe(remaining.pop(0)), *[ABSENT] * 3, f"FAILED: {error}")
        record.problems.append(f"{row}: the sweep failed")
    finally:
        if child:
            child.stop()
    if remaining:
        record.row(row, "; ".join(map(describe, remaining)), *[ABSENT] * 3, "not tried")


def patience_until(end):
    """Return how long to wait for answers, but not beyond the end."""
    left = max(1.0, end - time.perf_counter())
    return {name: min(seconds, left) for name, seconds in PATIENCE.items()}


def describe(setting):
    """Describe a setting."""
    return ", ".join(f"{name} {n}" for name, n in setting.items()) or "as they are"


def trial_cells(row, trial, usual):
    """Cells of a setting."""
    low, middle, high = np.quantile(trial.seconds, [0.25, 0.5, 0.75]) / row.steps
    return (
        f"{1e6 * middle:.1f} ({1e6 * low:.1f}–{1e6 * high:.1f})",
        f"{middle * row.steps / usual:.3f}",
        f"{trial.setup:.2f}",
        "; ".join([trial.engine, *trial.faults]),
    )


def time_settings(report, where, row, settings, folder, rounds):
    """Train a network with each setting, and report the times."""
    prepare(where)
    x, labels = (np.array(np.load(folder / name, mmap_mode="r")[: row.examples]) for name in FILES)
    train, begun, model = contenders(where)["cupy xpnet"].make(row, x, labels), start(row).layers, None
    usual = {name: getattr(sizes, name) for setting in settings for name in setting}
    for setting in settings:
        vars(sizes).update(usual | setting)
        epochs = []
        train(epochs.append, 1 + rounds)
        first, seconds = epochs[0], [epoch.seconds for epoch in epochs[1:]]
        model = model or first  # the first setting has the sizes as they are
        setup = max(0.0, first.seconds - float(np.median(seconds)))
        report(Trial(seconds, setup, find_faults(row, begun, model, first), first.engine))


def find_faults(row, begun, model, epoch):
    """List what is wrong with an epoch: it ran no graph, or its results differ from those of another."""
    faults = [] if epoch.engine.startswith(GRAPH) else ["no graph"]
    if not abs(epoch.cost - model.cost) <= (RELU_COST_BOUND if row.relu else COST_BOUND) * model.cost:
        faults.append(f"the cost {epoch.cost:.6f} in place of {model.cost:.6f}")
    if not row.relu and not (off := largest_difference(begun, model.layers, epoch.layers)) <= BOUND:
        faults.append(f"weights differ by {off:.1e} of their change")
    return faults
