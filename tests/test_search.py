"""MLPSearchCV and MLPRandomSearchCV: the results of scikit-learn's searches, from fits that are trained together."""

import json
import pickle
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import Interrupt
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import joblib
import sklearn
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from xpnet import SGD, ArgumentError, Callback, CheckpointError, Constant, Network
from xpnet.estimators import MLPClassifier, MLPEnsembleClassifier, MLPRandomSearchCV, MLPRegressor, MLPSearchCV
from xpnet.estimators import _search as search
from xpnet.estimators import _trials as trials

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger than sample size"),
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
SCORES = X @ RNG.standard_normal((5, 3))
THREE, TWO, LABELS = SCORES.argmax(axis=1), (SCORES[:, 0] > 0).astype(int), (SCORES > 0).astype(int)
NUMBER, NUMBERS = SCORES[:, 0], SCORES[:, :2]
WEIGHT = RNG.uniform(0.5, 2.0, 60)
SOME = np.where(np.arange(60) % 4, WEIGHT, 0.0)
GROUPS = np.arange(60) % 7
# With a rate by which scores differ after few epochs
SMALL = {
    "hidden_layer_sizes": (6,),
    "max_iter": 3,
    "batch_size": 16,
    "learning_rate_init": 0.05,
    "random_state": 0,
}
ALPHAS = {"alpha": [1e-4, 1.0, 10.0]}
CLASSIFIER, REGRESSOR = MLPClassifier(**SMALL), MLPRegressor(**SMALL)
PIPELINE = Pipeline([("scale", StandardScaler()), ("mlp", CLASSIFIER)])


class Count(Callback):
    """Counts epochs; copies count together."""

    epochs = 0

    def on_epoch_end(self, logs):
        Count.epochs += 1


@pytest.fixture(autouse=True)
def no_epochs(monkeypatch):
    monkeypatch.setattr(Count, "epochs", 0)


def show(value):
    """Its text, without addresses."""
    return re.sub(r"0x[0-9A-Fa-f]+", "", str(value))


def last(estimator):
    """The estimator, or the last of a pipeline."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def assert_equal_results(mine, other, tolerance=1e-9):
    """All that a search has found is that of scikit-learn's, except times."""
    results, expected = mine.cv_results_, other.cv_results_
    assert list(results) == list(expected)
    for name, values in expected.items():
        if name.startswith("param"):
            assert [*map(show, results[name])] == [*map(show, values)]
        elif name.endswith("_time"):
            assert results[name].shape == values.shape
            assert (results[name] >= 0).all()
        else:
            assert_allclose(results[name], values, rtol=tolerance, atol=tolerance, err_msg=name)
    assert {name for name in vars(mine) if name.endswith("_")} == {n for n in vars(other) if n.endswith("_")}
    for name in ("best_index_", "best_params_", "n_splits_", "multimetric_", "scorer_", "best_estimator_"):
        assert show(getattr(mine, name, None)) == show(getattr(other, name, None))
    if hasattr(other, "best_score_"):
        assert mine.best_score_ == pytest.approx(other.best_score_, rel=tolerance, nan_ok=True)
    if hasattr(other, "best_estimator_"):
        for a, b in zip(last(mine.best_estimator_).coefs_, last(other.best_estimator_).coefs_, strict=True):
            assert_array_equal(np.asarray(a), np.asarray(b))


def make(grid=ALPHAS, estimator=CLASSIFIER, **options):
    return MLPSearchCV(estimator, grid, **{"cv": 2, **options})


def count_programs(search):
    """In how many programs the settings were trained: those of one have the same time."""
    return len({*search.cv_results_["mean_fit_time"].round(12)})


def search_both(estimator, grid, x=X, y=THREE, *, tolerance=1e-9, given=None, **options):
    """Search in both ways, and compare."""
    options, given = {"cv": 2, **options}, given or {}
    before = repr(estimator)
    mine = make(grid, estimator, **options).fit(x, y, **given)
    assert repr(estimator) == before
    assert not hasattr(last(estimator), "network_")
    other = GridSearchCV(estimator, grid, **options).fit(x, y, **given)
    assert_equal_results(mine, other, tolerance)
    return mine, other


# Grids: what is varied, and in how many programs its networks are trained

LOSS = {"scoring": "neg_log_loss"}
ONE_ALPHA, TWO_ALPHAS = {"alpha": [1.0]}, {"alpha": [1.0, 10.0]}
GRIDS = {
    "one program": (
        CLASSIFIER,
        [
            {"learning_rate_init": [0.001, 0.1], "alpha": [1.0]},
            {"batch_size": [7, "auto", 100], "random_state": [1]},
            {"class_weight": ["balanced", {0: 2.0}], "shuffle": [False]},
            {"early_stopping": [True], "n_iter_no_change": [1], "max_iter": [9]},
            {"early_stopping": ["loss"], "n_iter_no_change": [3], "max_iter": [9]},
            {},
        ],
        LOSS,
        1,
    ),
    "solvers": (
        CLASSIFIER,
        [{"solver": ["adam", SGD(momentum=0.5)]}, {"solver": ["lbfgs"], "max_fun": [3]}],
        LOSS,
        3,
    ),
    "sparse": (CLASSIFIER, TWO_ALPHAS, {"x": sparse.coo_array(X), "y": sparse.csr_matrix(LABELS)}, 1),
    "transformers": (
        PIPELINE,
        [{"scale": ["passthrough", MinMaxScaler()]}, {"scale__with_mean": [False], "mlp__alpha": [1.0, 10.0]}],
        LOSS,
        1,
    ),
    "folds and weights": (
        CLASSIFIER,
        TWO_ALPHAS,
        {"given": {"groups": GROUPS, "sample_weight": SOME.tolist(), "X_val": None}, "cv": GroupKFold(2), **LOSS},
        1,
    ),
    "a fold without a class": (
        CLASSIFIER,
        TWO_ALPHAS,
        {"cv": [(np.flatnonzero(THREE != 1), np.arange(20)), (np.arange(40), np.arange(40, 60))]},
        1,
    ),
    "folds of one class": (CLASSIFIER, ONE_ALPHA, {"y": np.where(np.arange(60) < 40, 0, TWO), "cv": KFold(3)}, 1),
    "last step": (PIPELINE, {"mlp": [CLASSIFIER, MLPClassifier(**SMALL, activation="tanh")]}, LOSS, 2),
}


@pytest.mark.parametrize("case", GRIDS)
def test_scores_are_those_of_grid_search(case):
    estimator, grid, options, n_programs = GRIDS[case]
    mine, _ = search_both(estimator, grid, **options)
    assert count_programs(mine) == n_programs


def test_a_splitter_that_can_be_asked_once_is_asked_once():
    mine = make(ONE_ALPHA, cv=(pair for pair in KFold(2).split(X))).fit(X, THREE)
    assert_equal_results(mine, GridSearchCV(CLASSIFIER, ONE_ALPHA, cv=KFold(2)).fit(X, THREE))


def test_folds_are_transformed_once_for_settings_with_the_same_transformers():
    """The lambda counts: once for each fold and for the last fit; again for each score."""
    seen = []
    pipeline = make_pipeline(FunctionTransformer(lambda x: seen.append(len(x)) or x), CLASSIFIER)
    make({"mlpclassifier__alpha": [1.0, 2.0, 3.0]}, pipeline).fit(X, THREE)
    assert len(seen) == 2 + 6 + 1


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame, y = pandas.DataFrame(X, columns=list("abcde")), pandas.Series(THREE, index=range(100, 160))
    mine, other = search_both(PIPELINE, {"mlp__alpha": [1.0, 2.0]}, frame, y)
    assert list(mine.feature_names_in_) == list(other.feature_names_in_) == list("abcde")
    assert mine.best_estimator_[-1].network_.feature_names is None  # the scaler gives arrays
    assert_array_equal(mine.predict(frame), other.predict(frame))


@pytest.mark.needs("torch")
@pytest.mark.parametrize(("dispatch", "estimator", "y"), [(False, REGRESSOR, NUMBER), (True, CLASSIFIER, THREE)])
def test_tensors(dispatch, estimator, y):
    import torch

    with sklearn.config_context(array_api_dispatch=dispatch):
        mine, _ = search_both(estimator, TWO_ALPHAS, torch.asarray(X), torch.asarray(y))
        assert isinstance(mine.predict(torch.asarray(X)), torch.Tensor)


# Scores, ranks and refits


@pytest.mark.parametrize(
    "options",
    [
        {"refit": lambda results: 1},
        {"scoring": ("accuracy", "f1_macro"), "refit": False, "return_train_score": True},
        {"scoring": {"a": "accuracy", "loss": make_scorer(log_loss, response_method="predict_proba")}, "refit": "a"},
        {
            "scoring": lambda est, x, y, sample_weight=None: {"a": est.score(x, y, sample_weight), "b": 1.0},
            "refit": "a",
        },
    ],
    ids=["own refit", "tuple", "dict", "own dict"],
)
def test_scoring_and_refit(options):
    """With weights, which some versions of scikit-learn give to the scorers that take them."""
    mine, _ = search_both(CLASSIFIER, TWO_ALPHAS, given={"sample_weight": WEIGHT}, **options)
    if options.get("refit") is False:
        with pytest.raises(AttributeError, match="has no attribute 'predict'"):
            mine.predict(X)


def test_scorers_that_take_no_weights():
    def score(estimator, x, y):
        return estimator.score(x, y)

    with pytest.warns(UserWarning, match=r"The scoring .* does not support sample_weight, which may lead to"):
        search_both(CLASSIFIER, TWO_ALPHAS, given={"sample_weight": SOME}, scoring=score)
    mine = make(ONE_ALPHA, scoring={"own": score, "accuracy": "accuracy"}, refit="own")
    with pytest.warns(UserWarning, match=r"does not support sample_weight"):
        mine.fit(X, THREE, sample_weight=SOME)
    assert_array_equal(mine.cv_results_["mean_test_own"], mine.cv_results_["mean_test_accuracy"])


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_scorer_that_fails(tmp_path):
    """The others go on, also of a search that is resumed."""

    def fail(estimator, x, y):
        raise RuntimeError("no score")

    some = {"scoring": {"a": fail, "accuracy": "accuracy"}, "refit": "accuracy"}
    for scoring in ({"scoring": fail}, some):
        with pytest.warns(UserWarning, match="Scoring failed"):
            mine, other = search_both(CLASSIFIER, ONE_ALPHA, **scoring)
    with pytest.warns(UserWarning, match=r"Scoring failed(.|\n)*RuntimeError: no score"):
        mine.fit(X, THREE, checkpoint=tmp_path / "run")
    assert_equal_results(mine.fit(X, THREE, checkpoint=tmp_path / "run", resume=True), other)
    with pytest.raises(RuntimeError, match="no score"):
        make(scoring=fail, error_score="raise").fit(X, THREE)


# Settings that fail


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:One or more of the (test|train) scores are non-finite")
@pytest.mark.parametrize(
    ("estimator", "grid", "y", "error_score"),
    [
        (REGRESSOR, {"learning_rate_init": [1e300, 0.01], "solver": ["sgd"]}, NUMBER, np.nan),
        (PIPELINE, {"scale__with_mean": [True, "no"]}, THREE, -1.0),
    ],
    ids=["diverging", "scaler"],
)
def test_settings_that_fail_have_the_error_score_or_raise(estimator, grid, y, error_score):
    with pytest.warns(FitFailedWarning):
        mine, _ = search_both(estimator, grid, y=y, error_score=error_score)
    scores = mine.cv_results_["mean_test_score"]
    assert np.isnan(scores).any() if np.isnan(error_score) else (scores == -1.0).any()
    messages = []
    for kind in (MLPSearchCV, GridSearchCV):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  the messages are compared
            kind(estimator, grid, cv=2, error_score="raise").fit(X, y)
        messages.append(re.sub(r"steps \d+ to \d+", "", str(caught.value)))
    assert messages[0] == messages[1]


def break_down(step, total):
    """A schedule that ends with something that is no rate."""
    return 0.1 if step < 5 else -1.0


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_an_error_in_one_fit_does_not_end_the_others():
    grid = [{"learning_rate": [Constant(0.1), break_down]}, {"hidden_layer_sizes": [(4,)]}]
    with pytest.warns(FitFailedWarning, match="lr must be a finite number of at least 0, but the schedule gave -1"):
        search_both(MLPClassifier(**SMALL, solver="sgd", warm_start=True), grid, scoring="neg_log_loss")


# Random searches


def test_a_random_search_is_that_of_scikit_learn():
    settings = {"alpha": loguniform(1e-4, 1.0), "activation": ["relu", "tanh"], "batch_size": [10, 16]}
    options = {"n_iter": 3, "cv": 2, "scoring": "neg_log_loss", "return_train_score": True}
    mine = MLPRandomSearchCV(CLASSIFIER, settings, random_state=np.random.RandomState(3), **options).fit(X, THREE)
    assert count_programs(mine) == 2
    assert_equal_results(mine, RandomizedSearchCV(CLASSIFIER, settings, random_state=3, **options).fit(X, THREE))


# In scikit-learn


def test_a_fitted_search():
    mine, other = search_both(PIPELINE, {"mlp__alpha": [1.0]})
    again = pickle.loads(pickle.dumps(mine))
    for fitted in (mine, again):
        for name in ("predict", "predict_proba"):
            assert_array_equal(getattr(fitted, name)(X), getattr(other, name)(X))
        assert fitted.score(X, THREE) == other.score(X, THREE)
        assert (fitted.n_features_in_, *fitted.classes_) == (5, 0, 1, 2)
    assert_equal_results(again, other)
    assert is_classifier(mine)
    assert is_regressor(make(estimator=REGRESSOR))
    assert not hasattr(mine, "transform")
    with pytest.raises(NotFittedError):
        make({"mlp__alpha": [1.0, 2.0]}, PIPELINE).predict(X)


def test_the_estimator_does_not_change_and_a_search_can_be_fitted_again():
    estimator, pipeline = MLPClassifier(**SMALL, callbacks=[Count()]).fit(X, THREE), clone(PIPELINE)
    before, steps = dict(vars(estimator)), list(pipeline.steps)
    mine = make(estimator=estimator).fit(X, THREE)
    assert vars(estimator) == before
    assert Count.epochs == 3 * (1 + 6 + 1)  # the one fit before, those of the folds, and the last one
    make({"mlp__alpha": [1.0]}, pipeline).fit(X, THREE)
    assert all(a is b for a, b in zip(pipeline.steps, steps))
    assert not hasattr(pipeline[0], "mean_")
    mine.set_params(param_grid={"alpha": [2.0]}, cv=3).fit(X, TWO)
    assert_equal_results(mine, GridSearchCV(estimator, {"alpha": [2.0]}, cv=3).fit(X, TWO))


def test_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    make(verbose=1).fit(X, THREE)
    shown = capsys.readouterr()
    assert "Fitting 2 folds for each of 3 candidates, totalling 6 fits" in shown.out
    assert shown.err.count("\r  0%|") == 1


# Workers


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # a setting fails
def test_workers_change_nothing():
    """Threads; `test_parallel.py` has processes."""
    grid = [{"alpha": [0.1, 1.0, 2.0]}, {"solver": ["lbfgs"]}, {"alpha": [-1]}]
    options = {"cv": 2, "scoring": "neg_log_loss"}
    other = make(grid, **options).fit(X, THREE)
    with joblib.parallel_config("threading"):
        mine = make(grid, n_jobs=2, **options).fit(X, THREE)
    assert_equal_results(mine, other, 1e-12)


# Parts, and folds one by one


@pytest.mark.parametrize(("most", "most_bytes", "expected_sizes"), [(2, 1 << 28, [1, 2, 1, 2]), (9, 1, [3, 3])])
def test_networks_that_need_too_much_memory_together_are_trained_in_parts(
    monkeypatch, most, most_bytes, expected_sizes
):
    """In halves of those that do not fit; or fold by fold, if the examples of all folds do not."""
    train, sizes = trials.train, []

    def refuse(jobs, **options):
        if len(jobs) > most:
            raise MemoryError
        sizes.append(len(jobs))
        return train(jobs, **options)

    monkeypatch.setattr(trials, "train", refuse)
    monkeypatch.setattr(trials, "MAX_BYTES", most_bytes)
    search_both(CLASSIFIER, ALPHAS, scoring="neg_log_loss")
    assert sizes == expected_sizes


# Ctrl-C


def test_an_interrupt_leaves_the_results_so_far():
    grid = [{"alpha": [0.1, 1.0]}, {"hidden_layer_sizes": [(4,)]}]
    estimator = MLPClassifier(**SMALL, callbacks=[Interrupt(2)])
    mine = make(scoring="neg_log_loss").fit(X, THREE)
    with pytest.raises(KeyboardInterrupt):
        mine.set_params(estimator=estimator, param_grid=grid).fit(X, THREE)
    assert mine.cv_results_["params"] == [{"alpha": 0.1}, {"alpha": 1.0}]  # the other group had not begun
    assert {name for name in vars(mine) if name.endswith("_")} == {"cv_results_"}  # nothing of an earlier fit
    # All of them had taken the steps of the second epoch
    two = MLPClassifier(**{**SMALL, "max_iter": 2})
    other = GridSearchCV(two, grid[0], cv=2, scoring="neg_log_loss", refit=False).fit(X, THREE)
    assert_allclose(mine.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])
    with pytest.raises(NotFittedError):
        mine.predict(X)


def test_an_interrupt_leaves_the_slices_that_workers_have_done(tmp_path):
    grid = [{"alpha": [0.1, 1.0]}, {"callbacks": [[Interrupt(1)]], "alpha": [2.0, 3.0]}]
    mine = make(grid, n_jobs=2)
    with joblib.parallel_config("threading"), pytest.raises(KeyboardInterrupt):
        mine.fit(X, THREE, checkpoint=tmp_path / "run", every=2)
    assert mine.cv_results_["params"] == [{"alpha": 0.1}, {"alpha": 1.0}]


@pytest.mark.parametrize("call", [1, 4])
def test_an_interrupt_while_networks_are_scored_leaves_the_settings_that_were(call):
    calls = []

    def score(estimator, x, y):
        calls.append(estimator)
        if len(calls) == call:
            raise KeyboardInterrupt
        return 0.5

    mine = make(scoring=score)
    with pytest.raises(KeyboardInterrupt):
        mine.fit(X, THREE)
    assert getattr(mine, "cv_results_", {}).get("params") == ([{"alpha": 1e-4}] if call == 4 else None)


def test_an_interrupt_leaves_no_settings_that_had_not_begun():
    mine = make(estimator=MLPClassifier(**SMALL, callbacks=[Interrupt(1)]))
    with pytest.raises(KeyboardInterrupt):
        mine.fit(X, THREE)
    assert not hasattr(mine, "cv_results_")  # in the first epoch of the first network


# Checkpoints


@pytest.fixture
def fits(monkeypatch):
    """Counts the fits of searches, and ends one with an error after some calls, each for a slice of the settings."""
    counts, fit_trials = SimpleNamespace(numbers=[], calls=None), search.fit_trials

    def count(trials, *arguments, **options):
        if len(counts.numbers) == counts.calls:
            raise RuntimeError("the end")
        counts.numbers.append(len(trials))
        return fit_trials(trials, *arguments, **options)

    monkeypatch.setattr(search, "fit_trials", count)
    return counts


def check_resumes(path, fits, start, calls=1, every=2, **given):
    """A search that ends after a slice of settings and is resumed finds what one finds that is not interrupted."""
    whole = start().fit(X, THREE, checkpoint=f"{path}-whole", every=every, **given)
    fits.numbers.clear()
    fits.calls = calls
    with pytest.raises(RuntimeError, match="the end"):
        start().fit(X, THREE, checkpoint=path, every=every, **given)
    done, fits.calls = sum(fits.numbers), None
    resumed = start().fit(X, THREE, checkpoint=path, every=every, resume=True, **given)
    n_fits = len(whole.cv_results_["params"]) * whole.n_splits_
    assert 0 < done < n_fits == sum(fits.numbers)  # none is repeated
    assert_equal_results(resumed, whole, tolerance=0)


SEARCHES = {
    "plain": (lambda: make(TWO_ALPHAS, refit=False), {"every": 1}),
    "a dictionary": (
        lambda: make({"mlp__alpha": [0.1, 1.0]}, PIPELINE, cv=GroupKFold(2), scoring=score_twice, refit="a"),
        {"groups": GROUPS, "every": 1},
    ),
    "random": (
        lambda: MLPRandomSearchCV(
            MLPClassifier(**{**SMALL, "random_state": np.random.RandomState(5)}),
            {"alpha": loguniform(1e-3, 1.0)},
            n_iter=3,
            cv=StratifiedKFold(2, shuffle=True, random_state=1),
            random_state=1,
        ),
        {"sample_weight": WEIGHT},
    ),
    "workers": (
        lambda: make(
            [{"alpha": [0.1, 1.0]}, {"solver": ["lbfgs"], "max_fun": [3]}],
            cv=4,
            n_jobs=2,
            return_train_score=True,
        ),
        {"calls": 2},  # one for each worker
    ),
}


def score_twice(estimator, x, y):
    return {"a": estimator.score(x, y), "b": np.float32(len(x))}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_is_resumed_is_the_uninterrupted_one(tmp_path, fits, name):
    start, given = SEARCHES[name]
    with joblib.parallel_config("threading"):
        check_resumes(tmp_path / "run", fits, start, **given)


@pytest.mark.filterwarnings("ignore:One or more of the (test|train) scores are non-finite")
def test_settings_that_fail_are_remembered_as_failed(tmp_path, fits):
    """Also if only settings that fail are done."""
    given, message = (
        {"checkpoint": tmp_path / "run", "every": 1},
        r"4 fits failed out of a total of 6(.|\n)*alpha=-1 must",
    )
    mine = make({"alpha": [-1, 1.0, -2]}, scoring="neg_log_loss")
    with pytest.warns(FitFailedWarning, match=message):
        whole = clone(mine).fit(X, THREE)
    fits.calls = 1 + len(fits.numbers)
    with pytest.raises(RuntimeError, match="the end"):
        clone(mine).fit(X, THREE, **given)
    fits.calls = None
    with pytest.warns(FitFailedWarning, match=message):
        resumed = clone(mine).fit(X, THREE, **given, resume=True)
    assert fits.numbers == [6] + [2] * 3
    assert_equal_results(resumed, whole)


def test_an_interrupted_slice_is_not_written(tmp_path, fits):
    """Ctrl-C leaves its scores in `cv_results_`, but its networks have not been trained to the end."""
    grid = [{"alpha": [*range(10)]}, {"callbacks": [[Interrupt(3)]]}]
    mine = make(grid)
    with pytest.raises(KeyboardInterrupt):
        mine.fit(X, THREE, checkpoint=tmp_path / "run")
    assert len(mine.cv_results_["params"]) == 11
    assert len(json.loads((tmp_path / "run").read_text())["fits"]) == 20


def test_a_checkpoint_of_a_search_that_exists_is_not_replaced(tmp_path, fits, capsys):
    path, mine = tmp_path / "run", make()
    mine.fit(X, THREE, checkpoint=path, resume=True)
    assert f"There is no checkpoint {path} yet: the search starts from the beginning\n" in capsys.readouterr().err
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"run' exists already; give resume=True to continue the search in it"):
        mine.fit(X, TWO, checkpoint=path)
    assert path.read_bytes() == before
    assert fits.numbers == [6]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file that a search over ALPHAS in two folds wrote."""
    path = tmp_path_factory.mktemp("search") / "run"
    make().fit(X, THREE, checkpoint=path)
    return path.read_bytes()


OTHERS = [  # what is changed, and what the error says of it
    ({"param_grid": {"alpha": [1e-4, 2.0, 10.0]}}, {}, "setting 1=alpha=1.0, but this one has alpha=2.0"),
    ({"param_grid": ONE_ALPHA}, {}, "number of settings=3, but this one has 1"),
    ({"estimator": MLPClassifier(**{**SMALL, "max_iter": 6})}, {}, "max_iter=3, but this one has 6"),
    ({"estimator": MLPRegressor(**SMALL)}, {}, "estimator=MLPClassifier, but this one has MLPRegressor"),
    ({"scoring": "neg_log_loss"}, {}, "scoring=None, but this one has 'neg_log_loss'"),
    ({"error_score": 0.0}, {}, "error_score=nan, but this one has 0.0"),
    ({"return_train_score": True}, {}, "return_train_score=False, but this one has True"),
    ({"cv": KFold(2)}, {}, "with cv="),
    ({}, {"X": X + 1}, "with X="),
    ({}, {"y": (THREE + 1) % 3}, "with y="),
    ({}, {"sample_weight": WEIGHT}, "with sample_weight="),
]


@pytest.mark.parametrize(("options", "given", "message"), OTHERS, ids=str)
def test_another_search_is_refused_by_name(tmp_path, written, fits, options, given, message):
    path = tmp_path / "run"
    path.write_bytes(written)
    mine = make().set_params(**options)
    with pytest.raises(ArgumentError, match=re.escape(message) + ".*; give the same, or another checkpoint"):
        mine.fit(**{"X": X, "y": THREE, "checkpoint": path, "resume": True, **given})
    assert (path.read_bytes(), fits.numbers) == (written, [])
    assert not [attribute for attribute in vars(mine) if attribute.endswith("_")]


def test_steps_and_functions_are_compared(tmp_path, fits):
    """Also where they are settings, whose repr scikit-learn shortens, with callbacks whose repr is an address."""

    def resume(scoring=None, **parameters):
        mlp = MLPClassifier(**SMALL, callbacks=[Interrupt(99)], **parameters)
        grid = {"mlp": [mlp], "scale": [FunctionTransformer(np.abs)]}
        make(grid, PIPELINE, scoring=scoring).fit(X, THREE, checkpoint=tmp_path / "run", resume=True)

    scorings = [lambda model, x, y: 1.0, lambda model, x, y: 2.0]
    resume(scorings[0])
    resume(scorings[0], verbose=True)
    assert fits.numbers == [2]
    with pytest.raises(ArgumentError, match=r"setting 0=.*tol=0.0001, .*, but this one has .* tol=0.2,"):
        resume(scorings[0], tol=0.2)
    with pytest.raises(ArgumentError, match=r"scoring=<function .*<lambda> \w{16}>, but this one has <function"):
        resume(scorings[1])


UNREPEATABLE = [
    (make(estimator=MLPClassifier(**{**SMALL, "random_state": None})), {}, "random_state to be a number"),
    (make({"random_state": [0, None]}), {}, "random_state to be a number"),
    (
        make({"mlpclassifier__alpha": [1.0]}, make_pipeline(GaussianRandomProjection(3), CLASSIFIER)),
        {},
        "gaussianrandomprojection__random_state to be",
    ),
    (MLPRandomSearchCV(CLASSIFIER, ALPHAS, n_iter=2), {}, "the random_state of the search"),
    (make(cv=ShuffleSplit(3)), {}, "cv=ShuffleSplit(n_splits=3, random_state=None, "),
    (make(), {"X_val": X, "y_val": THREE}, "with groups= and sample_weight= alone"),
    (make(), {"every": 0}, "every=0 must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("mine", "given", "message"), UNREPEATABLE, ids=range(len(UNREPEATABLE)))
def test_a_search_that_cannot_be_resumed_is_refused_at_once(tmp_path, fits, mine, given, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        mine.fit(X, THREE, **{"checkpoint": tmp_path / "run", **given})
    assert not (tmp_path / "run").exists()
    assert not fits.numbers


def test_a_damaged_file_of_a_search_is_refused(tmp_path, written, fits):
    path, mine = tmp_path / "run", make()
    some = np.linspace(0, len(written) - 1, 8).astype(int)
    damaged = [written[:i] + bytes([written[i] ^ 1]) + written[i + 1 :] for i in some] + [written[:i] for i in some]
    Network([2, 1], seed=0).save(tmp_path / "network")
    network = (tmp_path / "network").read_bytes()
    for content in (*damaged, written + b" ", b"", b"[]", b"[" * 10**5, b"\xff", network):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="run does not hold an xpnet search"):
            mine.fit(X, THREE, checkpoint=path, resume=True)
    assert not fits.numbers


# What is left to scikit-learn


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"error_score": "rise"}, (X, THREE), "error_score='rise' must be 'raise', or a number"),
        ({"param_grid": {"alpha": []}}, (X, THREE), "'alpha' need to be a non-empty sequence"),
        ({"param_grid": {"alfa": [1]}}, (X, THREE), "Invalid parameter 'alfa' for estimator"),
        ({}, (X, THREE[:40]), "inconsistent numbers of samples"),
        ({}, (np.full_like(X, np.nan), THREE), r"All the 6 fits failed(.|\n)*Input X contains NaN"),
        ({}, (X,), r"All the 6 fits failed(.|\n)*requires y to be passed, but the target y is None"),
    ],
)
def test_bad_input_is_refused_before_anything_trains(options, data, message):
    mine = make(estimator=MLPClassifier(**SMALL, callbacks=[Count()])).set_params(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        mine.fit(*data)
    assert Count.epochs == 0
    assert not [name for name in vars(mine) if name.endswith("_")]


class OnFewColumns(MLPClassifier):
    """A user's class with a `fit` of its own."""

    def fit(self, X, y, **arguments):
        return super().fit(X[:, :2], y, **arguments)

    def predict(self, X):
        return super().predict(X[:, :2])


class OnFewRows(Pipeline):
    """A user's class with a `fit` of its own, as in imbalanced-learn."""

    def fit(self, X, y, **arguments):
        return super().fit(X[::3], y[::3], **arguments)


@pytest.mark.parametrize(
    ("estimator", "name", "y"),
    [
        (TransformedTargetRegressor(MLPRegressor(**SMALL), transformer=StandardScaler()), "regressor__alpha", NUMBER),
        (
            make_pipeline(StandardScaler(), MLPEnsembleClassifier(**SMALL, n_estimators=2)),
            "mlpensembleclassifier__alpha",
            THREE,
        ),
        (OnFewColumns(**SMALL), "alpha", THREE),
        (OnFewRows([("mlp", CLASSIFIER)]), "mlp__alpha", THREE),
    ],
)
def test_other_estimators_are_fitted_one_by_one(estimator, name, y, tmp_path):
    ours, theirs = (kind(estimator, {name: [10.0]}, cv=2).fit(X, y) for kind in (MLPSearchCV, GridSearchCV))
    assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert_array_equal(ours.predict(X), theirs.predict(X))
    with pytest.raises(ValueError, match=r"^checkpoint= is for searches over .*; leave check"):
        clone(ours).fit(X, y, checkpoint=tmp_path / "file")
