"""Long runs: what nobody uses is released. `benchmarks/long_runs.py` measures memory, files and threads."""

import gc
import weakref

import numpy as np

from xpnet import SGD, Network
from xpnet.activations import Activation
from xpnet.costs import Cost

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


def test_what_users_gave_goes_with_the_last_network(backend):
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
