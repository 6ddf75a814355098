"""The number of threads that multiply matrices: set for a call, put back after it, and otherwise left alone."""

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import threadpoolctl
from helpers import installed, refused, two_blas_threads

from xpnet import Network, get_backend
from xpnet.backends._machine import THREAD_VARIABLES, Workers
from xpnet.backends._numpy import NumPyBackend
from xpnet.training.callback import Callback

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
OPTIONS = {"epochs": 1, "batch_size": 4, "progress": False}
BACKENDS = installed(["numpy", "torch"])


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """Begin with two threads, and without the numbers that conftest.py puts into the environment."""
    for variable in THREAD_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    if torch:
        torch.set_num_threads(2)
    with two_blas_threads():
        yield
    if torch:
        torch.set_num_threads(before)


def threads(backend):
    """The number of threads of a backend."""
    if backend == "torch":
        return sys.modules["torch"].get_num_threads()
    return count_blas_threads()


def count_blas_threads():
    return min(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")


def step_threads(backend):
    """The number of threads that share the work of a step; with the loop in C, these are its own, and BLAS uses one."""
    if backend != "numpy" or not NumPyBackend.shares_steps:
        return threads(backend)
    from xpnet.backends.replay.loops import get_threads

    assert count_blas_threads() == 1
    return get_threads()


class Seen(Callback):
    """What the number of threads is during training."""

    def __init__(self, backend):
        self.backend = backend

    def on_epoch_end(self, logs):
        self.threads = step_threads(self.backend)


class Stop(Callback):
    """Ends training by an exception."""

    def on_epoch_end(self, logs):
        raise KeyboardInterrupt


def threads_during_training(backend, sizes=(3, 2), data=(X, Y), **options):
    """Train a network, and return the number of threads meanwhile; afterwards it must be what it was."""
    before, seen = threads(backend), Seen(backend)
    net = Network(sizes, seed=0, backend=backend)
    net.train(data, callbacks=[seen], **{**OPTIONS, **options})
    assert threads(backend) == before
    return seen.threads


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_products_get_one_thread_and_large_ones_what_there_is(backend, monkeypatch):
    monkeypatch.setattr(NumPyBackend, "shares_steps", False)
    get_backend(backend)  # imports it
    assert threads_during_training(backend) == 1
    large = np.zeros((1024, 4096), np.float32), np.arange(1024) % 2
    # 1024 examples, 4096 inputs and 4 outputs make 2²⁴ multiplications, as many as ask for threads
    assert threads_during_training(backend, (4096, 4), large, batch_size=1024) == 2
    assert threads_during_training(backend, (4096, 4), large, batch_size=1023) == 1


@pytest.mark.skipif(not NumPyBackend.shares_steps, reason="without the loop in C")
def test_threads_of_the_loop_in_c_share_steps_of_any_size():
    assert threads_during_training("numpy") == 2
    assert threads_during_training("numpy", blas_threads=3) == 3


@pytest.mark.parametrize("shares_steps", [False, NumPyBackend.shares_steps])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_environment_wins_and_an_explicit_number_over_it(backend, shares_steps, monkeypatch):
    monkeypatch.setattr(NumPyBackend, "shares_steps", shares_steps)
    get_backend(backend)  # imports it
    assert threads_during_training(backend, blas_threads=2) == 2
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "2")
        assert threads_during_training(backend) == 2
        assert threads_during_training(backend, blas_threads=1) == 1
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_are_put_back_after_an_exception(backend):
    net = Network([3, 2], seed=0, backend=backend)
    for number in ("auto", 1):
        with pytest.raises(KeyboardInterrupt):
            net.train((X, Y), callbacks=[Stop()], blas_threads=number, **OPTIONS)
        assert threads(backend) == 2


@pytest.mark.parametrize("name", BACKENDS)
def test_threads_are_put_back_after_calls_that_overlap_or_are_within_others(name):
    backend = get_backend(name)
    first_began, second_began, first_ended = Event(), Event(), Event()

    def first():
        with backend.limit_threads(1):
            first_began.set()
            assert second_began.wait(10)
        first_ended.set()
        return threads(name)

    def second():
        assert first_began.wait(10)
        with backend.limit_threads(1):
            second_began.set()
            assert first_ended.wait(10)
        return threads(name)

    with ThreadPoolExecutor(2) as pool:
        assert [done.result() for done in (pool.submit(first), pool.submit(second))] == [2, 2]
    with backend.limit_threads(1):
        with backend.limit_threads(1):  # as of a training that a callback of another one begins
            pass
        assert threads(name) == 1
    assert threads(name) == 2


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", "many", True, None], ids=repr)
def test_a_wrong_number_is_refused(number):
    net = Network([3, 2], seed=0)
    message = f'blas_threads={number!r} must be a whole number of at least 1, or "auto"'
    with refused(net, ValueError, message):
        net.train((X, Y), blas_threads=number, **OPTIONS)


@pytest.mark.needs("jax")
def test_jax_has_threads_of_its_own():
    net = Network([3, 2], seed=0, backend="jax")
    with refused(net, ValueError, r"blas_threads=1 has no effect on backend='jax', which has its own threads"):
        net.train((X, Y), blas_threads=1, **OPTIONS)
    net.train((X, Y), **OPTIONS)


def test_the_estimators_choose_too(monkeypatch):
    monkeypatch.setattr(NumPyBackend, "shares_steps", False)
    from xpnet.estimators import MLPClassifier

    seen = Seen("numpy")
    MLPClassifier(max_iter=300, tol=1.0, n_iter_no_change=2, callbacks=[seen]).fit(X, Y)
    assert seen.threads == 1
    assert threads("numpy") == 2


def test_ctrl_c_leaves_workers_usable():
    workers, started, ready = Workers(2), Event(), Event()
    main_thread = threading.get_ident()

    def work(i):
        started.set()
        ready.wait(10)
        return i

    def interrupt():
        started.wait(10)
        time.sleep(0.05)  # until the main thread waits in C: between two instructions, the signal would not wake it
        signal.pthread_kill(main_thread, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        workers.map(work, iter(range(4)))
    ready.set()
    assert workers.map(lambda i: -i, range(5)) == [0, -1, -2, -3, -4]
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda i: 1 // i, range(3))
    workers.close()
