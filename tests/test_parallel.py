"""Fits by joblib's workers, as docs/use/search.md describes them."""

import pickle
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import joblib
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.preprocessing import scale

from xpnet.estimators import MLPClassifier, MLPRegressor, MLPSearchCV

# Training ends after the fourth epoch, without the warning that max_iter was reached
OPTIONS = {"hidden_layer_sizes": (8,), "batch_size": 100, "tol": 1e9, "n_iter_no_change": 2, "random_state": 0}
# With two programs, and a setting that fails
GRID = [{"alpha": [1e-4, 10.0], "learning_rate_init": [0.01]}, {"solver": ["lbfgs"]}, {"alpha": [-1]}]


@pytest.fixture
def workers(monkeypatch):
    """End joblib's workers, which would stay for minutes; they do not inherit the numbers of threads of the tests."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.mark.parametrize(("way", "kind"), [("threading", MLPRegressor), ("loky", MLPClassifier)])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the setting that fails
def test_fits_by_workers_equal_those_of_a_single_process(way, kind, workers):
    """Up to rounding, which may depend on memory alignment; and the estimators come back whole, without the data."""
    x, y = (load_digits if kind is MLPClassifier else load_diabetes)(return_X_y=True)
    x, y = (x / 16, y) if kind is MLPClassifier else (scale(x), scale(y))
    expected = GridSearchCV(kind(**OPTIONS), GRID, cv=2).fit(x, y)
    with joblib.parallel_config(backend=way, n_jobs=2):
        searches = [search(kind(**OPTIONS), GRID, cv=2).fit(x, y) for search in (GridSearchCV, MLPSearchCV)]
        fitted = cross_validate(expected.best_estimator_, x, y, cv=2, return_estimator=True)["estimator"][0]
    assert np.ptp(expected.cv_results_["mean_test_score"][:-1]) > 0.1
    assert np.isnan(expected.cv_results_["mean_test_score"][-1])
    for found in searches:
        for name in (name for name in expected.cv_results_ if "_test_score" in name):
            np.testing.assert_allclose(found.cv_results_[name], expected.cv_results_[name], rtol=1e-9, err_msg=name)
        assert found.best_params_ == expected.best_params_
        np.testing.assert_allclose(found.predict(x), expected.predict(x), rtol=1e-9)
    assert len(pickle.dumps(fitted)) < x.nbytes / 2
    fitted.partial_fit(x, y).predict(x)


@pytest.mark.slow
def test_the_program_that_keeps_its_fits_does_not_repeat_them(tmp_path, monkeypatch, capsys):
    """With a single worker, which is this process."""
    page = (Path(__file__).parents[1] / "docs" / "use" / "search.md").read_text()
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "__main__" in code)
    program = tmp_path / "program.py"
    program.write_text(code)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # what n_jobs=-1 means
    monkeypatch.chdir(tmp_path)

    def run():
        runpy.run_path(str(program), run_name="__main__")
        return capsys.readouterr().out

    first = run()
    assert [line[:4] > "0.85" for line in first.splitlines()] == [True] * 4
    *kept, lost = ((path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("output.pkl")))
    assert len(kept) == 7
    lost[0].unlink()
    assert run() == first
    assert [(path, path.stat().st_mtime_ns) for path, _ in kept] == kept
    assert lost[0].stat().st_mtime_ns > lost[1]
