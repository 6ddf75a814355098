"""Long runs: what nobody uses is released. `benchmarks/long_runs.py` measures memory, files and threads."""

import gc
import weakref

import host_cupy
import numpy as np
import pytest

from xpnet import SGD, Network
from xpnet.activations import Activation
from xpnet.costs import Cost
from xpnet.training.callback import Callback

# What stands in for the device makes and keeps objects of its own; array-api-strict runs a plain loop, as NumPy can
pytestmark = pytest.mark.not_on(host_cupy.NAME, "strict-device1")

X, Y = np.random.default_rng(0).uniform(size=(2, 80, 3))
OPTIONS = {"epochs": 1, "batch_size": 2, "progress": False}


class Table:
    """A user's functions, with data of their own."""

    def __init__(self, backend):
        self.data = backend.asarray(np.ones(3), "float32")

    def bend(self, z, xp):
        return z * self.data

    def slope(self, g, z, a, xp):
        return g * self.data

    def cost(self, a, y, xp):
        return xp.sum((a - y) * (a - y), axis=-1)

    def gradient(self, a, y, xp):
        return 2.0 * (a - y) * self.data


class Careful(SGD):
    """A user's optimizer."""

    def __init__(self, table):
        super().__init__()
        object.__setattr__(self, "table", table)

    @property
    def update(self):
        table, update = self.table, super().update
        return lambda layers, *rest: update(layers, *rest) if table.data is not None else None


def test_what_users_gave_goes_with_the_last_network(backend, frozen):
    tables = [Table(backend) for _ in range(3)]
    gone = [weakref.ref(table) for table in tables]
    sigma = Activation("mine", tables[0].bend, tables[0].slope)
    cost = Cost("my cost", tables[1].cost, tables[1].gradient)
    net = Network([3, 3, 3], activation=sigma, output_activation="identity", cost=cost, backend=backend, seed=0)
    net.train((X, Y), lr=1e-3, optimizer=Careful(tables[2]), **OPTIONS)
    copy = net.copy()
    copy.train((X, Y), lr=1e-3, **OPTIONS)
    del tables, sigma, cost, net
    gc.collect()
    assert [table() is None for table in gone] == [False, False, False]
    copy.train((X, Y), lr=1e-3, **OPTIONS)
    del copy
    gc.collect()
    assert [table() is None for table in gone] == [True, True, True]


@pytest.fixture
def frozen():
    """Let the garbage collector leave out all objects that are there, of which libraries have a million."""
    gc.freeze()


def count_objects():
    gc.collect()
    return len(gc.get_objects())


class Objects(Callback):
    """Counts the objects after each epoch."""

    def __init__(self):
        self.counts = []

    def on_epoch_end(self, logs):
        self.counts.append(count_objects())


@pytest.mark.parametrize("endless", [False, True])
def test_steps_leave_nothing(backend, endless, frozen):
    """Of arrays, and of batches from a generator, which are never kept."""
    net, objects = Network([3, 4, 3], backend=backend, seed=0), Objects()
    batches = ((X[:2], Y[:2]) for _ in iter(int, 1))
    data, steps = (batches, 40) if endless else ((X, Y), None)
    net.train(data, steps=steps, lr=1e-3, callbacks=[objects], **{**OPTIONS, "epochs": 6})
    assert objects.counts[-1] - objects.counts[1] < 40  # in four epochs of 40 steps, which add rows to the history
