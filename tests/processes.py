"""Train networks in other processes, and compare with this one; `test_processes.py` runs it.

A backend brings no other library than its own.

    python processes.py LIBRARY METHOD [METHOD ...]
    python processes.py LIBRARY loader

The methods are those of `multiprocessing` to start a process. It is a program of its own: a process that is forked from
that of the tests would inherit the threads of all libraries.
"""

import multiprocessing
import sys
from functools import partial

import numpy as np

from xpnet import SGD, Network

LIBRARIES = {"torch", "jax", "cupy"}
X, Y = np.random.default_rng(0).normal(size=(56, 5)).astype(np.float32), np.arange(56) % 3
OPTIONS = {"epochs": 2, "batch_size": 7, "lr": 0.1, "progress": False}


def make(library, seed):
    return Network([5, 4, 3], seed=seed, backend=library, device="cpu", activation="leaky_relu(0.2)", standardize=True)


def train(net):
    """Train a network, on from where it is."""
    net.train((X, Y), optimizer=SGD(momentum=0.5), **OPTIONS)
    return net


def make_and_train(library, seed):
    return train(make(library, seed))


def assert_equal(nets, others):
    for net, other in zip(nets, others, strict=True):
        for array, expected in zip(
            (*net.w, *net.b, net.predict_proba(X)), (*other.w, *other.b, other.predict_proba(X))
        ):
            np.testing.assert_array_equal(np.asarray(array), np.asarray(expected))
        assert net.history.to_dict()["cost"] == other.history.to_dict()["cost"]


def compare(library, method):
    """Make and train a network in another process and here, then train it on by the same two ways."""
    with multiprocessing.get_context(method).Pool(1) as pool:
        alone, there = ([*way(partial(make_and_train, library), [0])] for way in (map, pool.map))
        assert_equal(there, alone)
        alone, there = ([*way(train, [net.copy() for net in alone])] for way in (map, pool.map))
        assert_equal(there, alone)


def train_on_loader(library):
    """Train on a DataLoader without workers, and with one for each pass or for all."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    examples, nets = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), []
    workers = {"num_workers": 1, "multiprocessing_context": "fork"}
    for options in ({}, workers, {**workers, "persistent_workers": True}):
        loader = DataLoader(examples, batch_size=7, sampler=range(55, -1, -1), **options)
        net = make(library, seed=0)
        net.train(loader, **OPTIONS)
        nets.append(net)
    assert_equal(nets[1:], nets[:-1])


if __name__ == "__main__":
    library, *methods = sys.argv[1:]
    if methods == ["loader"]:
        train_on_loader(library)
    else:
        for method in methods:
            compare(library, method)
    brought = (LIBRARIES - {library}) & sys.modules.keys()
    assert not brought, f"a backend brings its own library only, and this one brings {brought}"
