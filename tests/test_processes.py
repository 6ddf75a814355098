"""Threads and processes: networks that train at once, are used while they train, and go to other processes."""

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
        net.train((X, Y), optimizer=optimizer, **{**OPTIONS, "epochs": 5})
        assert net.engine != "plain loop: there were too few steps to record them"
        return snapshot(net)

    cases = [(0, "float32", SGD(momentum=0.5)), (1, "float64", SGD(momentum=0.5)), (2, "float32", SGD(momentum=0.5))]
    with ThreadPoolExecutor(3) as pool:
        at_once = list(pool.map(train, cases))
    for state, case in zip(at_once, cases):
        np.testing.assert_equal(state, train(case))


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
        lambda net, x: net.copy().forward(x),
        lambda net, x: pickle.loads(pickle.dumps(net)).forward(x),
        lambda net, x: np.concatenate([p for layer in net.layers for p in layer], axis=None),
        lambda net, x: np.concatenate(
            leaves((net.value.state, net.value.exact_scaling)), axis=None
        ),  # what `save` writes
    ],
    ids=["forward", "copy", "pickle", "layers", "save"],
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
