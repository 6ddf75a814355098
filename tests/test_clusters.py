"""Searches on clusters: by joblib's own workers, and by Dask on a cluster of two processes.

A worker that is killed, data that are sent once, and threads that do not crowd the cores: what docs/use/parallel.md and
docs/use/clusters.md say about these is shown here.
"""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import joblib
from clusters import GRID, Hold, Inputs, Threads, assert_equal_results, fit_and_predict, make_problem
from helpers import installed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from xpnet.backends.threads import THREAD_VARIABLES
from xpnet.estimators import MLPSearchCV

PAGES = Path(__file__).parents[1] / "docs" / "use"


def find_program(page):
    """Return the only example of a page that is a whole program."""
    examples = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    (program,) = (example for example in examples if "__main__" in example)
    return program


DASK_PROGRAM, MEMORY_PROGRAM = find_program("clusters.md"), find_program("parallel.md")
SEARCHES = [GridSearchCV, MLPSearchCV]  # kinds of search that must all do what this module says
needs_dask = pytest.mark.needs("distributed")
FIXTURES = {"loky": "loky", "dask": "client"}  # of joblib's backends that use processes
every_search = pytest.mark.parametrize("make_search", SEARCHES)


@pytest.fixture(scope="module")
def environment():
    """Without the numbers of threads that conftest.py sets, which workers would inherit."""
    with pytest.MonkeyPatch.context() as environment:
        for variable in THREAD_VARIABLES:
            environment.delenv(variable, raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(environment):
    """A cluster of two processes on this machine."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def client(cluster):
    """A client of the cluster; a worker that an earlier test has killed is there again."""
    cluster.wait_for_workers(2, timeout=30)
    return cluster


@pytest.fixture
def without_manager(client):
    """Copies of data stay on all workers: the memory manager would remove all but one, every two seconds.

    With it, `scatter` may copy for ever what the manager removes (https://github.com/dask/distributed/pull/8796).
    """
    client.amm.stop()
    yield
    client.amm.start()


@pytest.fixture(scope="module")
def loky(environment):
    """joblib's default workers, which are shared by the tests, and would stay for minutes."""
    yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


# Equal results


@every_search
@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("threading", "classifier"),
        ("threading", "regressor"),
        pytest.param("loky", "classifier", marks=pytest.mark.slow),
        pytest.param("dask", "regressor", marks=[needs_dask, pytest.mark.slow]),
    ],
)
def test_a_search_by_workers_equals_one_in_a_single_process(way, kind, make_search, request):
    if way in FIXTURES:
        request.getfixturevalue(FIXTURES[way])
    estimator, x, y = make_problem(kind)
    expected = GridSearchCV(estimator, GRID, cv=2).fit(x, y)
    assert np.ptp(expected.cv_results_["mean_test_score"]) > 0.1
    with joblib.parallel_config(backend=way, n_jobs=2):
        search = make_search(estimator, GRID, cv=2).fit(x, y)
    assert_equal_results(search, expected, x)


def run_program(path, *arguments, workers=2):
    """Run a program in its folder, where n_jobs=-1 means so many workers, and return what it prints."""
    command = [sys.executable, "-W", "error", str(path), *arguments]
    environment = os.environ | {"LOKY_MAX_CPU_COUNT": str(workers)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=path.parent, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_search_by_forked_workers_equals_one_in_a_single_process():
    run_program(Path(__file__).with_name("clusters.py"), "multiprocessing")


def fit_by_workers(library, **options):
    """Fit by two workers: their estimators predict and train on as one that was fitted here, and hold no data."""
    estimator, x, y = make_problem("classifier")
    estimator.set_params(backend=library, device="cpu")
    expected = clone(estimator).fit(x, y)
    with joblib.parallel_config(n_jobs=2, **options):
        results = joblib.Parallel()(joblib.delayed(fit_and_predict)(estimator, x, y) for _ in range(2))
    for fitted, predicted, process in results:
        assert process != os.getpid()
        np.testing.assert_array_equal(fitted.predict_proba(x), predicted)
        np.testing.assert_allclose(predicted, expected.predict_proba(x), rtol=1e-9)
        assert len(pickle.dumps(fitted)) < x.nbytes / 10
    np.testing.assert_allclose(
        results[0][0].partial_fit(x, y).predict_proba(x), expected.partial_fit(x, y).predict_proba(x), rtol=1e-9
    )


@pytest.mark.slow
def test_estimators_that_loky_has_fitted_come_back_whole(loky):
    fit_by_workers("numpy", backend="loky")


@needs_dask
@pytest.mark.slow
@pytest.mark.parametrize("library", installed(["torch", "jax"]))
def test_estimators_that_dask_has_fitted_come_back_whole(client, library):
    fit_by_workers(library, backend="dask")


# A worker that is killed


@contextmanager
def kill_held(folder, fits=1):
    """Kill the processes that `Hold` holds, as soon as they are all held; they must have been at the end."""
    ended, killed = threading.Event(), []

    def kill():
        while not ended.wait(0.01):
            held = [int(path.read_text()) for path in folder.glob("*.held")]
            if len(held) == fits and os.getpid() not in held:
                for process in held:
                    os.kill(process, signal.SIGKILL)
                killed.extend(held)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        ended.set()
        killer.join()
    assert len({*killed}) == fits


@needs_dask
@pytest.mark.slow
@every_search
def test_dask_gives_the_fits_of_a_killed_worker_to_another(client, without_manager, make_search, tmp_path):
    """If no data is lost with it: all arrays are on all workers."""
    estimator, x, y = make_problem("classifier")
    folds, processes = list(StratifiedKFold(2).split(x, y)), client.run(os.getpid).values()
    expected = GridSearchCV(estimator, GRID, cv=folds).fit(x, y)
    search = make_search(estimator.set_params(callbacks=[Hold(tmp_path)]), GRID, cv=folds)
    arrays = [x, y, *(rows for fold in folds for rows in fold)]
    with joblib.parallel_config(backend="dask", n_jobs=2, scatter=arrays), kill_held(tmp_path) as killed:
        search.fit(x, y)
    assert {*killed} < {*processes}
    assert_equal_results(search, expected, x)


@needs_dask
@pytest.mark.slow
def test_a_search_whose_data_are_lost_with_all_workers_can_be_repeated(client, without_manager, tmp_path):
    from distributed import CancelledError

    estimator, x, y = make_problem("classifier")
    expected = GridSearchCV(estimator, GRID, cv=2).fit(x, y)
    search = MLPSearchCV(estimator.set_params(callbacks=[Hold(tmp_path, fits=2)]), GRID, cv=2)
    workers = {"backend": "dask", "n_jobs": 2, "scatter": [x, y]}
    with joblib.parallel_config(**workers), pytest.raises(CancelledError), kill_held(tmp_path, fits=2):
        search.fit(x, y)
    client.wait_for_workers(2, timeout=60)  # `scatter` hangs if a worker ends, or comes, in the middle of it
    with joblib.parallel_config(**workers):
        assert_equal_results(search.fit(x, y), expected, x)


@pytest.mark.slow
def test_a_search_by_loky_ends_with_a_killed_worker_and_can_be_repeated(loky, tmp_path):
    estimator, x, y = make_problem("classifier")
    expected = GridSearchCV(estimator, GRID, cv=2).fit(x, y)
    search = MLPSearchCV(estimator.set_params(callbacks=[Hold(tmp_path)]), GRID, cv=2, n_jobs=2)
    with pytest.raises(TerminatedWorkerError, match=r"the workers are \{SIGKILL\(-9\)"), kill_held(tmp_path):
        search.fit(x, y)
    assert_equal_results(search.fit(x, y), expected, x)


# Data that are sent once


def search_inputs(make_search, log, x, y, *, scatter=False, **options):
    """Search, and return the process and the file of the data for each time that a worker unpickled the inputs."""
    estimator, inputs = make_problem("classifier")[0], Inputs(x, log)
    if scatter:
        options["scatter"] = [inputs, y]
    with joblib.parallel_config(n_jobs=2, **options):
        make_search(estimator, GRID, cv=2, refit=False, pre_dispatch="all").fit(inputs, y)
    lines = [line.partition(" ") for line in log.read_text().splitlines()]
    return [(int(process), file) for process, _, file in lines if int(process) != os.getpid()]  # Dask hashes them here


@needs_dask
@pytest.mark.slow
@every_search
def test_dask_sends_scattered_data_once_to_each_worker(client, without_manager, make_search, tmp_path):
    _, x, y = make_problem("classifier")
    scattered = search_inputs(make_search, tmp_path / "scattered", x, y, scatter=True, backend="dask")
    assert sorted(process for process, _ in scattered) == sorted(client.run(os.getpid).values())
    sent = search_inputs(make_search, tmp_path / "sent", x, y, backend="dask")
    assert len(sent) > 2 if make_search is GridSearchCV else len(sent) == 2  # a worker does all its fits in one task


@pytest.mark.slow
@every_search
def test_loky_writes_data_of_more_than_a_megabyte_to_one_file(loky, make_search, tmp_path):
    _, x, y = make_problem("classifier")
    assert x.nbytes < 2**20
    mapped = search_inputs(make_search, tmp_path / "mapped", np.tile(x, (2, 1)), np.tile(y, 2), backend="loky")
    (file,) = {file for _, file in mapped}
    assert file
    sent = search_inputs(make_search, tmp_path / "sent", x, y, backend="loky")
    assert {file for _, file in sent} == {""}
    assert len(sent) > 2 if make_search is GridSearchCV else len(sent) == 2


# Threads


def search_large(make_search, folder, **options):
    """Search with products that are large enough for several threads, and return how many each process used."""
    estimator, x, y = make_problem("classifier")
    # 512 examples, 64 inputs and 512 units make 2²⁴ multiplications
    estimator.set_params(hidden_layer_sizes=(512,), batch_size=512, callbacks=[Threads(folder)])
    with joblib.parallel_config(n_jobs=2, **options):
        make_search(estimator, {"alpha": [0.1, 1.0]}, cv=2, refit=False).fit(x, y)
    return {int(path.name): int(path.read_text()) for path in folder.iterdir()}


@needs_dask
@pytest.mark.slow
@every_search
def test_workers_of_dask_multiply_with_one_thread(client, make_search, tmp_path):
    threads = search_large(make_search, tmp_path, backend="dask")
    assert {*threads} <= {*client.run(os.getpid).values()}
    assert {*threads.values()} == {1}


@pytest.mark.slow
@every_search
def test_workers_of_loky_share_the_cores(loky, make_search, tmp_path):
    threads = search_large(make_search, tmp_path, backend="loky")
    assert os.getpid() not in threads
    assert {*threads.values()} == {max(joblib.cpu_count() // 2, 1)}


# The programs of the pages


@needs_dask
@pytest.mark.slow
def test_the_program_for_dask_runs(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(DASK_PROGRAM)
    assert float(re.search(r"accuracy (0\.\d+)", run_program(program))[1]) > 0.85


@pytest.mark.slow
def test_the_program_that_keeps_its_fits_does_not_repeat_them(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(MEMORY_PROGRAM)
    first = run_program(program)
    assert [line[:4] > "0.85" for line in first.splitlines()] == [True] * 4
    *kept, lost = ((path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("output.pkl")))
    assert len(kept) == 7
    lost[0].unlink()
    assert run_program(program, workers=1) == first
    assert [(path, path.stat().st_mtime_ns) for path, _ in kept] == kept
    assert lost[0].stat().st_mtime_ns > lost[1]
