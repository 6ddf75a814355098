"""Parts of `test_clusters.py` that workers import; and the same searches as a program.

    python clusters.py BACKEND

The program compares a search by one of joblib's backends with one in a single process. A process that is forked from
that of the tests would inherit the threads of all libraries.
"""

import os
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import threadpoolctl
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from xpnet.estimators import MLPClassifier, MLPRegressor
from xpnet.training.callback import Callback

# Training ends after the fourth epoch, without the warning that max_iter was reached
OPTIONS = {"hidden_layer_sizes": (8,), "batch_size": 100, "tol": 1e9, "n_iter_no_change": 2, "random_state": 0}
GRID = {"alpha": [1e-4, 1.0, 10.0], "learning_rate_init": [0.001, 0.01]}


def make_problem(kind):
    """Return an estimator with data."""
    if kind == "classifier":
        x, y = load_digits(return_X_y=True)
        return MLPClassifier(**OPTIONS), x / 16, y
    x, y = load_diabetes(return_X_y=True)
    return MLPRegressor(**OPTIONS), scale(x), scale(y)


def assert_equal_results(search, expected, x):
    """Scores and predictions agree up to rounding, which may depend on how memory is aligned."""
    scores = [name for name in expected.cv_results_ if "_test_score" in name]
    assert len(scores) == 2 + expected.n_splits_ + 1  # mean, std, each fold, rank
    for name in scores:
        np.testing.assert_allclose(search.cv_results_[name], expected.cv_results_[name], rtol=1e-9, err_msg=name)
    assert search.best_params_ == expected.best_params_
    np.testing.assert_allclose(search.predict(x), expected.predict(x), rtol=1e-9)


def fit_and_predict(estimator, x, y):
    """Fit, and return the estimator, its probabilities, and the process in which this happened."""
    return estimator.fit(x, y), estimator.predict_proba(x), os.getpid()


class Hold(Callback):
    """Holds one fit, or several in different processes, after the second epoch, until the process is killed.

    The number of the process is written to a file in `folder`. A fit that comes later is not held.
    """

    def __init__(self, folder, fits=1):
        self.folder, self.fits = folder, fits

    def on_epoch_end(self, logs):
        place = logs["epoch"] == 2 and next((i for i in range(self.fits) if self._take(i)), None)
        if place is None or place is False:
            return
        unfinished = Path(self.folder) / f"{place}.unfinished"
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(unfinished.with_suffix(".held"))
        time.sleep(60)
        raise TimeoutError("nobody has killed this process")

    def _take(self, place):
        try:
            (Path(self.folder) / str(place)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Threads(Callback):
    """Writes to a file for each process with how many threads it multiplies matrices."""

    def __init__(self, folder):
        self.folder = folder

    def on_epoch_end(self, logs):
        numbers = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        (Path(self.folder) / str(os.getpid())).write_text(f"{max(numbers)}")


class Inputs:
    """A matrix that notes where it is unpickled: each time, a line of `log` with the process and the file of its data.

    The file is empty if the data came with the pickle.
    """

    def __init__(self, array, log):
        self.array, self.log = array, log
        self.shape = array.shape

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        return self.array[rows]

    def __reduce__(self):
        return unpickle_inputs, (self.array, self.log)


def unpickle_inputs(array, log):
    with open(log, "a") as file:  # a short line is appended whole
        file.write(f"{os.getpid()} {array.filename if isinstance(array, np.memmap) else ''}\n")
    return Inputs(array, log)


if __name__ == "__main__":
    for kind in ("classifier", "regressor"):
        estimator, x, y = make_problem(kind)
        expected = GridSearchCV(estimator, GRID, cv=2).fit(x, y)
        with joblib.parallel_config(backend=sys.argv[1], n_jobs=2):
            assert_equal_results(GridSearchCV(estimator, GRID, cv=2).fit(x, y), expected, x)
