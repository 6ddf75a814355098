"""Threads and processes: networks that train at once, are used while they train, and go to other processes."""

import copy
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import snapshot

from xpnet import SGD, Network
from xpnet.core.arrays import leaves
from xpnet.training.callback import Callback

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(84, 5)), np.arange(84) % 3  # 12 minibatches of one shape
OPTIONS = {"epochs": 2, "batch_size": 7, "lr": 0.1, "progress": False}


@pytest.fixture
def busy():
    """Change between Python threads after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def make(backend, **options):
    return Network([5, 4, 3], backend=backend, **{"seed": 0, "standardize": True, **options})


@pytest.mark.not_on("strict-device1")
def test_networks_that_train_in_threads_equal_those_that_train_in_turn(backend, busy):
    """Of different dtypes too, and where threads begin with the first use of a library's settings."""

    def train(case):
        seed, dtype, optimizer = case
        net = make(backend, seed=seed, dtype=dtype, dropout=0.2)
        net.train((X, Y), optimizer=optimizer, **OPTIONS)
        return snapshot(net)

    cases = [(0, "float32", SGD(momentum=0.5)), (1, "float64", SGD(momentum=0.5)), (2, "float32", SGD(momentum=0.5))]
    with ThreadPoolExecutor(3) as pool:
        at_once = list(pool.map(train, cases))
    for state, case in zip(at_once, cases):
        np.testing.assert_equal(state, train(case))


@pytest.mark.not_on("jax")
def test_eight_threads_predict_at_once(backend, busy):
    net = make(backend)
    net.train((X, Y), **OPTIONS)
    parts = [X[i : i + 10] for i in range(0, 75, 5)]
    expected = [net.backend.to_numpy(net.predict_proba(part)) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for outputs, values in zip(pool.map(net.predict_proba, parts), expected, strict=True):
                np.testing.assert_array_equal(backend.to_numpy(outputs), values)


class Outputs(Callback):
    """Keeps the outputs of a network after each chunk."""

    def __init__(self, net):
        self.net, self.outputs = net, {digest(net)}

    def on_chunk_end(self, n_steps):
        self.outputs.add(digest(self.net))


def digest(net):
    return net.backend.to_numpy(net.forward(X)).tobytes()


def test_whoever_predicts_during_training_sees_whole_states(backend, busy):
    net = make(backend)
    outputs = Outputs(net)
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(net.train, (X, Y), callbacks=[outputs], **{**OPTIONS, "epochs": 5})
        seen = {digest(net)}
        while not training.done():
            seen.add(digest(net))
            time.sleep(1e-4)  # or the training hardly comes to its turn
    training.result()
    assert seen <= outputs.outputs


@pytest.mark.parametrize(
    "use",
    [
        Network.forward,
        Network.jacobian,
        lambda net, x: net.copy().forward(x),
        lambda net, x: net.to(dtype="float64").forward(x),
        lambda net, x: pickle.loads(pickle.dumps(net)).forward(x),
        lambda net, x: np.concatenate([p for layer in net.layers for p in layer], axis=None),
        lambda net, x: np.concatenate(
            leaves((net.value.state, net.value.exact_scaling)), axis=None
        ),  # what `save` writes
    ],
    ids=["forward", "jacobian", "copy", "to", "pickle", "layers", "save"],
)
@pytest.mark.slow
def test_a_network_that_changes_at_any_moment_is_seen_before_or_after(use):
    """Another thread may assign a value between any two instructions: here it does so at every third of them."""
    before, after = (make("numpy", seed=seed) for seed in (0, 1))
    for net in (before, after):
        net.train((X * (1 + net.seeds.split % 7), Y), **OPTIONS)
    expected = [use(net, X).tolist() for net in (before, after)]
    assert expected[0] != expected[1]
    moments, left = 0, -1
    while left < 0:
        net, left = before.copy(), moments

        def trace(frame, event, arg):
            nonlocal left
            if frame.f_code.co_filename != Network.copy.__code__.co_filename:
                return None
            frame.f_trace_opcodes = True
            left -= event == "opcode"
            if left == -1:
                vars(net)["_value"] = after.value  # noqa: B023
            return trace

        debugger = sys.gettrace()
        sys.settrace(trace)
        try:
            result = use(net, X).tolist()
        finally:
            sys.settrace(debugger)
        assert result in expected, f"at instruction {moments}"
        moments += 3  # two reads have more instructions between them
    assert moments > 0


class Growing:
    """A number in the row of an epoch, to which another is added when it is copied or saved, as by another thread."""

    def __init__(self, row):
        self.row = row

    def tolist(self):
        self.row["another"] = 1.0
        return 0.5

    def __reduce__(self):
        return float, (self.tolist(),)


@pytest.mark.parametrize("use", [copy.deepcopy, Network.copy, pickle.dumps, lambda net: net.save(net.notes["path"])])
def test_a_row_of_the_history_may_grow_while_it_is_copied(use, tmp_path):
    net, row = make("numpy"), {"epoch": 1, "cost": 1.0}
    row["growing"] = Growing(row)
    net.history.rows.append(row)
    net.notes["path"] = str(tmp_path / "net")
    use(net)
    assert "another" in row


class Freed:
    """Notes, when it is freed, whether a network's state and scaling belong together; other threads might look then."""

    def __init__(self, net):
        self.net, self.seen = net, []

    def __del__(self):
        self.seen.append((self.net.state.cost is self, self.net.scaling is None))


def test_state_and_scaling_are_taken_over_before_anything_is_freed():
    """Freeing an array may let another thread run, as it does on JAX."""
    net = make("numpy")
    freed = Freed(net)
    seen = freed.seen
    net.state = net.state._replace(cost=freed)
    del freed
    net.train((X, Y), **OPTIONS)
    assert seen == [(False, False)]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    "arguments",
    [
        ("numpy", "fork", "spawn"),
        pytest.param(("torch", "loader"), marks=pytest.mark.needs("torch")),
    ],
    ids=" ".join,
)
def test_networks_train_in_other_processes_and_on_batches_from_them(arguments):
    """Run `processes.py`; fail with what it says."""
    program = [sys.executable, "-W", "error", str(Path(__file__).with_name("processes.py")), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
