"""The number of BLAS threads: set for a call, put back after it, and otherwise left alone."""

import sys

import numpy as np
import pytest
from helpers import installed
from test_bad_input import refused

from xpnet import Network
from xpnet.cli import main
from xpnet.training.callbacks import Callback

threadpoolctl = pytest.importorskip("threadpoolctl")

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
OPTIONS = {"epochs": 1, "batch_size": 4, "progress": False}


def counts():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]


class Seen(Callback):
    """What the number of threads is during training."""

    def on_epoch_end(self, logs):
        self.counts = counts()


class Stop(Callback):
    """Ends training by an exception."""

    def on_epoch_end(self, logs):
        raise KeyboardInterrupt


@pytest.mark.parametrize("backend", installed(["numpy", "torch"]))
def test_threads_are_set_for_the_call_and_put_back(backend):
    net, seen = Network([3, 2], seed=0, backend=backend), Seen()
    with threadpoolctl.threadpool_limits(2):
        before = counts()
        net.train((X, Y), callbacks=[seen], blas_threads=1, **OPTIONS)
        assert set(seen.counts) == {1}
        assert counts() == before
        net.train((X, Y), callbacks=[seen], **OPTIONS)
        assert seen.counts == before


def test_threads_are_put_back_after_an_exception():
    with threadpoolctl.threadpool_limits(2):
        before = counts()
        with pytest.raises(KeyboardInterrupt):
            Network([3, 2], seed=0).train((X, Y), callbacks=[Stop()], blas_threads=1, **OPTIONS)
        assert counts() == before


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", True], ids=repr)
def test_a_wrong_number_is_refused(number):
    net = Network([3, 2], seed=0)
    with refused(net, ValueError, f"blas_threads={number!r} must be"):
        net.train((X, Y), blas_threads=number, **OPTIONS)


def test_jax_has_threads_of_its_own():
    pytest.importorskip("jax")
    net = Network([3, 2], seed=0, backend="jax")
    with refused(net, ValueError, r"blas_threads=1 has no effect on backend='jax', which has its own threads"):
        net.train((X, Y), blas_threads=1, **OPTIONS)


def test_without_threadpoolctl_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    net = Network([3, 2], seed=0)
    with refused(
        net, ImportError, r'blas_threads needs threadpoolctl .* pip install "xpnet\[threads\]", or set OPENBLAS'
    ):
        net.train((X, Y), blas_threads=1, **OPTIONS)
    net.train((X, Y), **OPTIONS)


def test_the_command_takes_it(capsys):
    assert main(["train", "--epochs", "1", "--blas-threads", "1"]) == 0
    assert main(["train", "--epochs", "1", "--blas-threads", "0"]) != 0
    assert "blas_threads=0 must be" in capsys.readouterr().err
