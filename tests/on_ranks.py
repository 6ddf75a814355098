"""Train networks on several ranks; `test_distributed.py` runs it.

    mpiexec -n RANKS python on_ranks.py CASE [CASE ...]

Rank 0 prints what each case returns. It is a program of its own, so that one start of mpiexec runs many cases.
"""

import hashlib
import os
import signal
import sys
import warnings

import numpy as np
from mpi4py import MPI

from xpnet import SGD, Adam, Callback, Clip, EarlyStopping, LevenbergMarquardt, Network, ReduceLROnPlateau
from xpnet.distributed import Distributed, _on_ranks
from xpnet.distributed._runner import SharedRunner

COMM = MPI.COMM_WORLD
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(603, 6)).astype(np.float32), RNG.integers(3, size=603)
WEIGHTS = RNG.uniform(0.0, 2.0, len(X))
SHARED = Distributed(COMM, shards=8) if 8 % COMM.size == 0 else None
FEW = X[:75], Y[:75]  # 8 minibatches an epoch; their 10 examples, or 5, leave some of 8 shards empty


def make(sizes=(6, 8, 3), **options):
    """Make a network, another one on ranks other than 0: those take over rank 0's."""
    return Network([*sizes], seed=0 if COMM.rank == 0 else 7, **options)


def digest(net, comm=COMM):
    """Compute a digest of the weights, which must be the same on all ranks."""
    arrays = [np.ascontiguousarray(net.backend.to_numpy(x)) for x in (*net.w, *net.b)]
    result = hashlib.sha256(b"".join(x.tobytes() for x in arrays)).hexdigest()[:16]
    assert set(comm.allgather(result)) == {result}
    return result


# Equal to one process


def as_one_process():
    """Two epochs on all ranks, and in one process."""
    engines = []
    for optimizer, dropout, weight in ((SGD(momentum=0.5), 0.2, None), (Clip(Adam(), 0.1), 0.0, WEIGHTS)):
        options = {"epochs": 2, "batch_size": 8, "lr": 0.01, "optimizer": optimizer, "sample_weight": weight}
        shared, alone = make(dropout=dropout), Network([6, 8, 3], seed=0, dropout=dropout)
        costs = shared.train((X, Y), distributed=COMM, progress=False, **options)["cost"]
        np.testing.assert_allclose(costs, alone.train((X, Y), progress=False, **options)["cost"], rtol=1e-6)
        for own, expected in zip((*shared.w, *shared.b), (*alone.w, *alone.b)):
            assert np.abs(own - expected).max() < 1e-6 * np.abs(expected).max()
        assert (shared.provenance.runs[-1].processes, alone.provenance.runs[-1].processes) == (COMM.size, 1)
        digest(shared)
        engines.append(shared.engine)
    return engines[0]


def data_sets():
    """A data set that is read again each epoch: every rank reads its part of each minibatch."""
    items = Items()
    net = make()
    net.train(items, epochs=1, batch_size=12, distributed=COMM, cache=False, progress=False)
    alone = Network([6, 8, 3], seed=0)
    alone.train((X[:60], Y[:60]), epochs=1, batch_size=12, progress=False)
    np.testing.assert_allclose(net.w[0], alone.w[0], rtol=1e-5)
    return len(items.read), COMM.allreduce(len(items.read))


class Items:
    """A map-style data set that counts what is read."""

    def __init__(self):
        self.read = set()

    def __len__(self):
        return 60

    def __getitem__(self, i):
        self.read.add(i)
        return X[i], Y[i]


# The same bits on any number of ranks


WAYS = (
    (SGD(momentum=0.9), [0.1, 0.3], None),
    (Adam(), 0.2, WEIGHTS[: len(FEW[0])]),
    (Clip(SGD(), 0.1), 0.0, None),  # the order in which a norm is added up is that of the gradients in memory
)


def same_bits(backend="numpy", comm=COMM, shards=8, ways=WAYS):
    """Train in three ways."""
    results, distributed = [], Distributed(comm, shards)
    for optimizer, dropout, weight in ways:
        net = make(dropout=dropout, backend=backend)
        options = {"epochs": 5, "batch_size": 10, "lr": 0.05, "progress": False}
        history = net.train(FEW, optimizer=optimizer, sample_weight=weight, distributed=distributed, **options)
        assert net.engine.startswith("replay of recorded steps")
        results.append((digest(net, comm), history["cost"][-1]))
    return results


def one_shard_each():
    """The same with two shards, on the first two ranks of four."""
    two = COMM.Split(COMM.rank // 2)
    return same_bits(comm=two, shards=2) if COMM.rank < 2 else None


def same_bits_torch():
    """The same with PyTorch, in one way."""
    return same_bits("torch", ways=[(Clip(Adam(), 0.1), [0.1, 0.3], WEIGHTS[: len(FEW[0])])])


LONG = {"epochs": 4, "batch_size": 10, "lr": 0.05, "optimizer": SGD(momentum=0.5), "progress": False}


def whole():
    """Train without an interruption."""
    net = make(dropout=0.2, standardize=True)
    history = net.train(FEW, distributed=SHARED, **LONG)
    return digest(net), history["cost"]


def interrupted(path):
    """Train until one rank receives SIGTERM in the middle of an epoch: in the first of two chunks in the second one."""
    return interrupt_in(3, checkpoint=path, every=10**6)


def interrupted_at_the_end():
    """Train until one rank receives SIGTERM in the last chunk."""
    return interrupt_in(8)


def interrupt_in(number, **options):
    run, chunks = SharedRunner.run_chunk, []

    def interrupt(runner, state, chunk):
        chunks.append(chunk)
        if len(chunks) == number and COMM.rank == COMM.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return run(runner, state, chunk)

    SharedRunner.run_chunk = interrupt
    net = make(dropout=0.2, standardize=True)
    try:
        net.train(FEW, distributed=SHARED, **options, **LONG)
    except SystemExit as stop:
        SharedRunner.run_chunk = run
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        return stop.code, COMM.allgather(len(net.history))


def resumed(path):
    """Resume that training."""
    net = make(dropout=0.2, standardize=True)
    history = net.train(FEW, distributed=SHARED, checkpoint=path, every=10**6, resume=True, **LONG)
    return digest(net), history["cost"]


# What rank 0 tells the others


class Meddle(Callback):
    """Change what callbacks may change, or fail."""

    def __init__(self, what):
        self.what = what

    def on_train_begin(self, training):
        assert COMM.rank == 0
        self.training = training

    def on_epoch_end(self, logs):
        logs["seen"] = logs.pop("examples_per_second")
        if self.what == "state":
            net = self.training.net.copy()
            net.layers = [(10 + np.zeros_like(w), np.zeros_like(b)) for w, b in net.layers]
            self.training.value = net.value
        elif logs["epoch"] == 2:
            if self.what == "stop":
                self.training.stopped = True
            else:
                raise self.what


class OddError(Exception):
    """An error that cannot be sent to another process."""

    def __reduce__(self):
        raise TypeError("not this one")


def callbacks():
    """Rank 0's callbacks change the training of all ranks."""
    options = {"batch_size": 25, "distributed": COMM, "progress": False}
    stopped = [make() for _ in range(3)]
    plateau = ReduceLROnPlateau(0.1, patience=1, monitor="validation_cost", min_delta=9.0)
    stop = EarlyStopping(patience=2, min_delta=9.0)
    stopped[0].train(FEW, epochs=9, lr=1.0, validation_data=(X, Y), callbacks=[plateau, stop], **options)
    stopped[1].train(FEW, epochs=9, callbacks=[Meddle("stop")], **options)
    stopped[2].train(FEW, epochs=1, callbacks=[Meddle("state")], **options)
    best = Network([6, 8, 3], seed=0)
    best.train(FEW, epochs=1, batch_size=25, lr=1.0, progress=False)  # whose weights early stopping restores
    np.testing.assert_allclose(stopped[0].w[0], best.w[0], rtol=1e-5)
    assert stopped[2].w[0].max() == stopped[2].w[0].min() == 10
    for net in stopped:
        digest(net)
        assert set(map(str, COMM.allgather(net.history.rows))) == {str(net.history.rows)}
    errors = []
    for error in (ValueError("mine"), KeyboardInterrupt(), OddError("mine")):
        errors += fail(make(), FEW, epochs=5, callbacks=[Meddle(error)], **options)
    return [[round(rate, 3) for rate in stopped[0].history["lr"]], len(stopped[1].history), *errors]


def fail(net, data, **options):
    """Train, and return the error of each rank."""
    before, rng = digest_alone(net), str(net.value.generator)
    try:
        net.train(data, **{"distributed": COMM, "progress": False, **options})
    except BaseException as error:
        if not options.get("callbacks"):
            assert (digest_alone(net), str(net.value.generator)) == (before, rng)
        return COMM.allgather(f"{type(error).__name__}: {error}")
    return COMM.allgather("no error")


def digest_alone(net):
    return hashlib.sha256(b"".join(w.tobytes() for w in net.w)).hexdigest()


def diverged():
    """All ranks raise the error, and have the last finite weights."""
    net = Network([6, 3], task="regression", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            net.train((100 * X, 100 * X[:, :3]), epochs=20, lr=5.0, distributed=COMM, progress=False)
        except ArithmeticError as error:
            digest(net)
            return str(error)[:17]


def other_weights():
    """One rank gets other weights than the others."""
    run = SharedRunner.run_chunk

    def disturb(runner, state, chunk):
        changes, *others = run(runner, state, chunk)
        ((w, b),) = changes["stored"].layers
        return {"stored": changes["stored"]._replace(layers=((w + COMM.rank, b),))}, *others

    SharedRunner.run_chunk = disturb
    try:
        make((6, 3)).train(FEW, epochs=3, distributed=COMM, progress=False)
    except RuntimeError as error:
        SharedRunner.run_chunk = run
        return COMM.allgather(str(error))


# What is refused


class OwnSGD(SGD):
    """An optimizer of the user's own class."""


def refused():
    """Errors of one rank, and of all; the network does not change."""
    last = COMM.rank == COMM.size - 1
    x, y = FEW
    calls = {
        "other numbers": (make(), (x + last, y), {}),
        "fewer": (make(), (x[last:], y[last:]), {}),
        "other sizes": (make((6, 8 + last, 3)), FEW, {}),
        "other epochs": (make(), FEW, {"epochs": 2 + last}),
        "other optimizer": (make(), FEW, {"optimizer": SGD(momentum=0.5 + 0.1 * last)}),
        "own optimizer": (make(), FEW, {"optimizer": OwnSGD(momentum=0.5 + 0.1 * last)}),
        "other shards": (make(), FEW, {"distributed": Distributed(COMM, 4 << last)}),
        "one fails": (make(), (x[:, last:], y), {}),
        "all fail": (make(), FEW, {"epochs": -1}),
        "no path": (make(), FEW, {"checkpoint": "nowhere/run.safetensors"}),
        "monitor": (make(), FEW, {"callbacks": [EarlyStopping()]}),
        "schedule": (make(), FEW, {"lr": lambda step, total: -1.0}),
        "batches": (make(), iter([FEW] * 3), {}),
        "all examples": (
            make((6, 1), task="regression", dtype="float64"),
            (x, x[:, 0]),
            {"optimizer": LevenbergMarquardt()},
        ),
    }
    errors = {name: fail(net, data, **{"epochs": 1, **options}) for name, (net, data, options) in calls.items()}
    version = _on_ranks.__version__
    _on_ranks.__version__ = "0.0.0" if last else version
    errors["other version"] = fail(make(), FEW, epochs=1)
    _on_ranks.__version__ = version
    return errors


if __name__ == "__main__":
    for case in sys.argv[1:]:
        name, *arguments = case.split("=")
        result = globals()[name](*arguments)
        if COMM.rank == 0:
            print(name, repr(result), flush=True)
