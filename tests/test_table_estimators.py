"""TableClassifier and TableRegressor: from any table to predictions, in scikit-learn."""

import dataclasses
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from programs import table_models
from programs.generate import Program, run
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score, recall_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from xpnet import Callback, Ensemble
from xpnet.core.regression import Tokens, leave_residuals
from xpnet.errors import BackendError
from xpnet.estimators import TableClassifier, TableEncoder, TableRegressor
from xpnet.tables import hold_out
from xpnet.tables._cells import label
from xpnet.tables._encoder import fit_to_targets
from xpnet.tables._statistics import make_goal
from xpnet.tables.reading import read_table

pytestmark = pytest.mark.needs("pandas")

SMALL: dict[str, Any] = {"members": 4, "hidden_layer_sizes": 16, "max_epochs": 25, "random_state": 0}
FEW = {**SMALL, "max_epochs": 2}
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(60, 3))
KINDS = np.array(["cat", "dog", "eel"])[np.arange(60) % 3]
DAYS = np.arange(60)
HEIGHT = NUMBERS[:, 0] + 2 * (KINDS == "eel")


def pets(n=60):
    """A table of numbers, texts, truth values, dates and categories, with holes."""
    import pandas

    table = pandas.DataFrame({"length": NUMBERS[:n, 0], "kind": KINDS[:n], "tame": NUMBERS[:n, 1] > 0})
    table["born"] = pandas.Timestamp("2024-01-01") + pandas.to_timedelta(np.arange(n), "D")
    table["home"] = pandas.Categorical(np.array(["sea", "land"])[np.arange(n) % 2])
    table.loc[[1, 5, 9], "length"], table.loc[[2, 4], "kind"] = np.nan, None
    return table


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for name in table_models.OPERATIONS for seed in range(9 if name == "encoder" else 2)],
)
def test_random_tables_keep_what_is_promised(name, seed):
    """Beside an oracle of the encoder; what else is promised stands in the functions of these names."""
    failure = run(Program("estimators", seed, ((name, seed),)), "numpy")
    assert failure is None, (failure, failure.trace)


QUICK = {"members": 2, "hidden_layer_sizes": 4, "max_epochs": 1, "random_state": 0}


def routes(n=600, seed=0, kind="texts"):
    """A table with a column that names groups, and a number; the target is the effect of the group and the number."""
    import pandas

    rng = np.random.default_rng(seed)
    number, slope, noise = rng.integers(0, 120, n), rng.normal(size=n), 0.2 * rng.normal(size=n)
    names = {
        "texts": [f"{chr(65 + k // 26)}{chr(97 + k % 26)}" for k in number],
        "numbers": number * 7.0 + 1,
        "pairs": [f"r{k // 2}" for k in rng.permutation(n)],
        "words": [f"No. {rng.integers(99)}{rng.integers(99)} {k % 11}xyz" for k in number],
    }
    effects = np.sin(3 * (number % 11)) if kind == "words" else np.sin(number**2)
    return pandas.DataFrame({"route": names[kind], "slope": slope}), effects + 0.1 * slope + noise


def find_statistics(model):
    return [rules for rules in model.encoder_.columns_ if rules["kind"] == "statistics"]


def test_a_column_without_a_name_has_no_statistics():
    import pandas

    y = np.arange(240) % 60
    table = pandas.DataFrame({"Unnamed: 0": [f"n{k}" for k in y], "n": np.arange(240) % 7})
    assert find_statistics(TableRegressor(**FEW).fit(table.set_axis(["name", "n"], axis=1), y))
    assert not find_statistics(TableRegressor(**FEW).fit(table, y))


@pytest.mark.parametrize("kind", ["texts", "numbers", "words"])
def test_values_without_inputs_of_their_own_have_statistics(kind, tmp_path):
    """They are honest: out of fold, errors are those of new rows, and so is what the statistics say of them."""
    X, y = routes(1600, kind=kind)
    model = TableRegressor(**SMALL).fit(X[:800], y[:800])
    (rules,) = find_statistics(model)
    assert (rules["name"], rules["words"]) == ("route", kind == "words")
    assert model.score(X[800:], y[800:]) > 0.8
    assert abs(model.score(X[800:], y[800:]) - r2_score(y[:800], model.oof_prediction_)) < 0.06
    low, high = model.interval(X[800:])
    assert 0.85 < np.mean((low <= y[800:]) & (y[800:] <= high)) < 0.96
    place = [*model.encoder_.get_feature_names_out()].index("route (effect)")
    effect = model.encoder_.transform(X)[:, place]
    assert np.corrcoef(effect[800:], y[800:])[0, 1] > 0.9
    model.ensemble_.save(tmp_path / "net")
    again = TableEncoder.from_network(Ensemble.load(tmp_path / "net"))
    assert_array_equal(again.transform(X[:5]), model.encoder_.transform(X[:5]))
    new = X[:3].assign(route=[X["route"][1], -7.0 if kind == "numbers" else "new", X["route"][0]])
    assert model.encoder_.transform(new)[:, place].tolist() == [effect[1], 0, effect[0]]
    if kind == "numbers":  # as a file has them
        texts = X[:9].assign(
            route=[f"{route:{['', '+', ' '][k % 3]}.{k % 2}f}" for k, route in enumerate(X["route"][:9])]
        )
        assert_array_equal(model.encoder_.transform(texts), model.encoder_.transform(X[:9]))
        codes = [f"c{k % 97}" for k in range(1600)]  # say nothing, but may be statistics
        halves = TableRegressor(**QUICK).fit(X.assign(route=X["route"] / 2, code=codes), y)
        smooth = TableRegressor(**QUICK).fit(X, X["route"] / 100 + np.random.default_rng(0).normal(size=1600))
        assert find_statistics(halves) == find_statistics(smooth) == []


def test_effects_beside_a_column_that_tells_most():
    """They are found in what it leaves, and keep a model honest."""
    import pandas

    rng = np.random.default_rng(9)
    area, town = rng.uniform(400, 3000, 3400), rng.integers(0, 60, 3400)
    X = pandas.DataFrame({"area": area, "town": [f"town {k}" for k in town]})
    y = area * 100 + town * 1000 + rng.normal(0, 8000, 3400)
    model = TableRegressor(**SMALL).fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.95
    assert abs(model.score(X[400:], y[400:]) - r2_score(y[:400], model.oof_prediction_)) < 0.02
    weight = np.where(rng.uniform(size=800) < 0.5, 1.0, 1e-9)
    weighted = TableRegressor(**FEW).fit(X[:800], np.where(weight == 1, y[:800], -y[:800]), sample_weight=weight)
    for its in (model, weighted):
        place = [*its.encoder_.get_feature_names_out()].index("town (further effect)")
        assert np.corrcoef(its.encoder_.transform(X)[800:, place], town[800:])[0, 1] > 0.9
    means = pandas.Series(y[:400]).groupby(X["town"][:400]).mean()  # of which areas tell most
    known, place = X["town"].isin(means.index), [*model.encoder_.get_feature_names_out()].index("town (effect)")
    assert np.corrcoef(model.encoder_.transform(X)[known, place], means[X["town"][known]])[0, 1] > 0.9


def test_inputs_of_a_row_do_not_know_the_targets_of_its_part(monkeypatch):
    """But for choices by all rows, such as the number of steps of the regression."""
    monkeypatch.setattr("xpnet.core.regression.MOST_STEPS", 3)
    X, y = routes()
    y = y + 2 * X["slope"].to_numpy()  # which a regression finds
    part, others = np.arange(600) % 8, y.copy()
    others[:17:8] = y[[16, 0, 8]]  # three targets of the first part change places
    one, other = (fit_to_targets(TableEncoder(bins=32), X, make_goal(its, (), None, part)) for its in (y, others))
    assert_array_equal(one[part == 0], other[part == 0])
    assert (one[part > 0, :2] != other[part > 0, :2]).any(axis=0).all()


def test_inputs_of_some_rows_of_a_file_are_those_of_a_table_of_them(tmp_path):
    X, y = routes()
    y, rows = y + 2 * X["slope"], np.arange(599, 100, -1)
    X.assign(y=y).to_csv(tmp_path / "t.csv", index=False)
    features, *_ = read_table(str(tmp_path / "t.csv")).split("y")
    goal, tables = make_goal(y[rows].to_numpy(), (), None, np.arange(499) % 8), (features[rows], X.iloc[rows])
    one, other = (fit_to_targets(TableEncoder(bins=32), table, goal) for table in tables)
    assert_array_equal(one, other)


def test_residuals_are_those_of_least_squares_without_each_part():
    rng = np.random.default_rng(0)
    x, part, weight = rng.normal(size=(60, 3)) + 5, np.arange(60) % 4, rng.uniform(0.5, 2.0, 60)
    targets = (x - 5) @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(60, 2))
    rest, centered = leave_residuals(x, targets, weight, part), x - x.mean(axis=0)
    for k in range(5):
        root = np.sqrt(weight * (part != k))[:, None]
        slopes = np.linalg.lstsq(root * centered, root * targets, rcond=None)[0]
        np.testing.assert_allclose(rest[k], targets - centered @ slopes, atol=0.02)
    np.testing.assert_array_equal(leave_residuals(1e200 * x, targets, weight, part)[0], targets)
    noise = rng.normal(size=(60, 2))  # is not predicted
    np.testing.assert_array_equal(
        leave_residuals(x, noise - noise.mean(axis=0), weight, part)[2], noise - noise.mean(axis=0)
    )
    np.testing.assert_array_equal(leave_residuals(x[:, :0], targets, weight, part)[4], targets)


def test_effects_are_those_of_ridge_regression():
    split, places = [["a", "b"], ["b", "c"], ["a", "new"], ["c"]], {"a": 0, "b": 1, "c": 2}
    has = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]])
    weights, means = np.array([5.0, 1.0, 2.0, 7.0]), np.array([1.0, -2.0, 0.5, 0.3])
    effects = Tokens.pair(split, places, 3).find_effects(weights * means, weights, 0.7)
    expected = np.linalg.solve(has.T * weights @ has + 0.7 * np.eye(3), has.T @ (weights * means))
    np.testing.assert_allclose(effects, expected, rtol=1e-4)
    alone, counts = {str(k): k for k in range(50)}, np.arange(50.0) ** 2  # shrunken means, found at once
    effects = Tokens.pair([[name] for name in alone], alone, 50).find_effects(2 * counts, counts, 0.7)
    np.testing.assert_allclose(effects, 2 * counts / (counts + 0.7), rtol=1e-9)


@pytest.mark.parametrize("kind", ["texts", "numbers", "pairs"])
def test_random_values_have_no_statistics(kind):
    """They would have some, and predict well out of fold alone, if any row were encoded by its own target."""
    X, y = routes(kind=kind)
    y = np.random.default_rng(1).permutation(y)
    assert find_statistics(TableRegressor(**QUICK).fit(X, y)) == []
    assert find_statistics(TableClassifier(**QUICK).fit(X, y > 0)) == []


def test_few_values_of_many_rows_have_statistics_though_one_of_them_tells_most():
    import pandas

    state, effects = np.repeat(np.arange(52), 50 + (np.arange(52) < 40)), np.where(np.arange(52) == 45, 9.0, 0.1)
    y = effects[state] + np.random.default_rng(0).normal(size=len(state))
    (rules,) = find_statistics(TableRegressor(**QUICK).fit(pandas.DataFrame({"state": [f"s{k}" for k in state]}), y))
    assert {*rules["tokens"]} > {f"s{k}" for k in range(40, 52)}


def test_statistics_of_frequent_values_of_wrong_targets_and_of_groups():
    import pandas

    X, y = routes()
    rest = TableRegressor(**QUICK).fit(X.assign(route=X["route"].where(X.index % 2 == 0, "usual")), y)
    assert "usual" not in find_statistics(rest)[0]["tokens"]
    assert "route=usual" in rest.encoder_.get_feature_names_out()
    wrong = np.where(np.arange(600) == 7, 99999.0, y)
    model = TableRegressor(**QUICK).fit(X, y)
    with pytest.warns(UserWarning, match="99999 in row 7"):
        other = TableRegressor(**QUICK).fit(X, wrong)
    effects, others = (each.encoder_.transform(X)[:, 0] for each in (model, other))
    assert np.corrcoef(effects, others)[0, 1] > 0.99
    groups = pandas.factorize(X["route"])[0]
    for members in (1, 4):  # whose names say nothing about other groups
        assert find_statistics(TableRegressor(**{**QUICK, "members": members}).fit(X, y, groups=groups)) == []
    rng = np.random.default_rng(0)
    groups, effects = rng.integers(0, 100, 600), rng.normal(size=100)  # of numbers that bins overfit
    assert find_statistics(TableRegressor(**QUICK).fit(X.assign(route=groups), effects[groups], groups=groups)) == []
    model = TableRegressor(**QUICK).fit(X, y, folds=[[]] * 2)
    assert len(find_statistics(model)) == 1
    model = TableRegressor(**QUICK).fit(X, np.stack([y, -y], axis=1))
    assert model.encoder_.get_feature_names_out()[:3].tolist() == [
        *("route (effect on '0')", "route (effect on '1')", "route (further effect on '0')")
    ]
    classes = np.array(["low", "mid", "high"])[np.digitize(y, [-0.5, 0.5])]
    model = TableClassifier(**SMALL).fit(X[["route"]], classes)  # which has no other inputs
    assert [*model.encoder_.get_feature_names_out()] == [
        *(
            f"route ({effect} on {name!r})"
            for effect in ("effect", "further effect")
            for name in ("high", "low", "mid")
        ),
        "route (rows)",
    ]
    assert (model.predict(X[["route"]]) == classes).mean() > 0.8
    weight = np.where(X["slope"] > 0, 1.0, 1e-9)
    X.loc[X["slope"] > 0, "slope"] = 0.0
    model = TableRegressor(**QUICK).fit(X, np.where(weight == 1, y, -y), sample_weight=weight)
    assert np.corrcoef(model.encoder_.transform(X)[:, 0], y)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        *(([False, True], bool), ([3, 7, -1], int), (["a", "b", "c"], "category")),
        *(([False, True], "boolean"), ([2**53, 2**53 + 1], "Int64"), (["a", "b"], "string"), ([1.0, 2.0], float)),
        pytest.param([False, True], "bool[pyarrow]", marks=pytest.mark.needs("pyarrow")),
    ],
)
def test_classes_of_any_kind_from_a_table_with_holes(classes, dtype):
    import pandas

    number = (HEIGHT > 0.5).astype(int) + (HEIGHT > 1.5 if len(classes) == 3 else 0)
    y = pandas.Series(np.array(classes)[number], name="answer").astype(dtype)
    model = TableClassifier(**SMALL).fit(pets(), y)
    assert [*map(repr, model.classes_.tolist())] == [*map(repr, sorted(classes))]
    notes = model.ensemble_[0].notes
    assert (notes["target"], notes["labels"]) == ("answer", [*map(label, sorted(classes))])
    assert model.score(pets(), y) == accuracy_score(y, model.predict(pets())) > 0.7
    assert model.feature_names_in_.tolist() == list(pets().columns)
    assert model.n_features_in_ == 5


def test_numbers_from_a_table_with_holes():
    model = TableRegressor(**SMALL).fit(pets(), HEIGHT)
    predicted = model.predict(pets())
    assert predicted.shape == (60,)
    assert model.score(pets(), HEIGHT) == r2_score(HEIGHT, predicted) > 0.7
    np.testing.assert_array_equal(
        TableRegressor(**SMALL).fit(pets(), HEIGHT, np.full(60, 3.0)).predict(pets()), predicted
    )
    weight = np.arange(60.0)
    assert model.score(pets(), HEIGHT, weight) == r2_score(HEIGHT, predicted, sample_weight=weight)


@pytest.mark.parametrize("kind", [TableRegressor, TableClassifier])  # the last on each library: it has more methods
@pytest.mark.not_on("jax")  # where the ensembles behind them are tested
def test_results_lie_where_x_lies(kind, place, backend):
    """Arrays of every library, and a table, whose results are NumPy's."""
    import pandas

    y = (HEIGHT > 0.5).astype(int)
    options = FEW if kind is TableRegressor else {**FEW, "class_weight": {0: 1.0, 1: 3.0}}
    expected = kind(**options).fit(NUMBERS, y)
    model = kind(**options).fit(backend.asarray(NUMBERS, "float32"), backend.asarray(y))
    x = backend.asarray(NUMBERS, "float32")
    assert model.ensemble_.backend.name == backend.name
    methods = ["predict", "predict_proba"] if kind is TableClassifier else ["predict"]
    for method in methods:
        result = getattr(model, method)(x)
        assert type(result) is type(x)
        np.testing.assert_allclose(backend.to_numpy(result), getattr(expected, method)(NUMBERS), rtol=1e-3, atol=1e-3)
    if kind is TableClassifier:
        assert type(model.predict(x, return_proba=True)[1]) is type(x)
    targets = backend.asarray(y)
    assert model.score(x, targets) == pytest.approx(expected.score(NUMBERS, y), abs=0.02)
    assert model.check(targets, false_alarms=1e6).shape == expected.check(y, false_alarms=1e6).shape
    assert model.describe_scores(x, targets)
    table = pandas.DataFrame(NUMBERS)
    there = kind(**FEW, **place._asdict()).fit(table, y)
    assert there.ensemble_.backend.name == backend.name
    assert type(there.predict(table)) is np.ndarray
    if kind is TableClassifier:
        assert [type(part) for part in there.predict(table, return_proba=True)] == [np.ndarray] * 2


class InPandas:
    """A table of another library, which pandas takes over by its method; its data are itself, as in Arrow's columns."""

    data = property(lambda self: self)

    def __init__(self, frame):
        self.frame = frame

    def to_pandas(self):
        return self.frame


class InArrow:
    """A table of another library, which Arrow takes over."""

    def __init__(self, frame):
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        import pyarrow

        return pyarrow.Table.from_pandas(self.frame).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("wrap", [InPandas, pytest.param(InArrow, marks=pytest.mark.needs("pyarrow"))])
def test_tables_of_other_libraries(wrap):
    expected = TableRegressor(**FEW).fit(pets(), HEIGHT)
    model = TableRegressor(**FEW).fit(wrap(pets()), HEIGHT)
    np.testing.assert_array_equal(model.predict(wrap(pets())), expected.predict(pets()))


@pytest.mark.parametrize("bins", [0, 32])
def test_columns_far_from_0_keep_their_digits(bins):
    """A time in seconds since 1970, and a target of ten million: rounded to float32, they have a few values."""
    t = 1.7e9 + np.random.default_rng(0).uniform(0, 3600, (300, 1))
    y = 1e7 + np.sin(t[:, 0] / 700)
    predicted = TableRegressor(2, max_epochs=30, random_state=0, bins=bins).fit(t, y).predict(t)
    assert len(np.unique(predicted)) > 290
    assert ((predicted - y) ** 2).mean() < 0.05 * y.var()


def test_error_bars_grow_with_the_noise():
    x = np.random.default_rng(0).uniform(0, 3, size=(1200, 1))
    y = 10 * x[:, 0] + x[:, 0] * np.random.default_rng(1).normal(size=1200)
    model = TableRegressor(**{**SMALL, "max_epochs": 15}).fit(x[:600], y[:600])
    mean, std = model.predict(x[600:], return_std=True)
    np.testing.assert_array_equal(mean, model.predict(x[600:]))
    small, large = (std[part].mean() for part in (x[600:, 0] < 1, x[600:, 0] > 2))
    assert large > 2 * small
    for level, tolerance in ((0.5, 0.08), (0.9, 0.05)):
        low, high = model.interval(x[600:], level)
        assert abs(np.mean((low <= y[600:]) & (y[600:] <= high)) - level) < tolerance
    with pytest.raises(ValueError, match=r"level=1\.5"):
        model.interval(x, 1.5)
    with pytest.raises(ValueError, match="return_std=2 must be True or False"):
        model.predict(x, return_std=2)


# Explanations


def three_columns(n=400):
    """A table whose target depends on a number and on a text, and a number that says nothing."""
    import pandas

    rng = np.random.default_rng(0)
    X = pandas.DataFrame({"kind": rng.choice(["cat", "dog"], n), "noise": rng.uniform(-1, 1, n), "always": 1})
    X["slope"] = rng.uniform(-1, 1, n)
    return X, 3 * X["slope"] + 0.5 * (X["kind"] == "dog") + 0.1 * rng.standard_normal(n)


def test_importances_are_those_of_scikit_learn_and_stay_with_the_ensemble(tmp_path):
    """Shuffling adds twice the variance of what depends on a column: 2 · 3 for the slope, 2 · 0.0625 for the kind."""
    from sklearn.feature_selection import SelectFromModel
    from sklearn.inspection import permutation_importance

    X, y = three_columns()
    model = TableRegressor(**SMALL).fit(X[:300], y[:300])
    importances, std = model.feature_importances_, model.feature_importances_std_
    np.testing.assert_allclose(importances, [0.02, 0, 0, 0.98], atol=0.01)
    assert importances.sum() == pytest.approx(1)
    assert importances[2] == std[2] == 0
    assert (std[[0, 1, 3]] > 0).all()
    assert std.max() < 0.25
    expected = permutation_importance(model, X[300:], y[300:], random_state=0).importances_mean
    np.testing.assert_allclose(importances, expected / expected.sum(), atol=0.015)
    assert SelectFromModel(model, prefit=True, threshold=0.5).get_support().tolist() == [False] * 3 + [True]
    model.ensemble_.save(tmp_path / "net")
    ensemble = Ensemble.load(tmp_path / "net")
    ensemble.calibrate((model.encoder_.transform(X), y))
    expected = {name: [importances[k], std[k]] for k, name in ((0, "kind"), (1, "noise"), (3, "slope"))}
    assert ensemble[1].notes["importances"] == expected


def test_importances_of_classes_and_without_rows_left_out():
    X, y = three_columns()
    few = {**SMALL, "members": 2}
    noise = np.random.default_rng(1).standard_normal((400, 6))  # whose importance may come out below 0
    classifier = TableClassifier(**few).fit(np.c_[noise, X["slope"]], y > 0)
    assert classifier.feature_importances_[6] > 0.8
    assert classifier.feature_importances_.min() == 0
    whole = TableRegressor(**{**few, "max_epochs": 1}, network={"standardize": False})
    assert whole.fit(X, y).feature_importances_.shape == (4,)
    assert not hasattr(whole.fit(X, y, folds=[[], []]), "feature_importances_")


@pytest.mark.parametrize(("column", "categories"), [("slope", None), ("kind", ["kind"])])
@pytest.mark.parametrize("kind", [TableRegressor, TableClassifier])
def test_partial_dependence_is_that_of_scikit_learn(kind, column, categories):
    from sklearn.inspection import partial_dependence

    X, y = three_columns(100)
    X.loc[3, "noise"], y = np.nan, y if kind is TableRegressor else np.digitize(y, [0, 1])
    model = kind(**FEW).fit(X, y)
    values, mean, std = model.partial_dependence(X[:30], column, points=5)
    assert set(values) <= set(X[column][:30])
    assert len(values) == len({*values}) == (2 if categories else 5)
    expected = partial_dependence(
        model, X[:30], [column], custom_values={column: values}, categorical_features=categories, kind="average"
    )
    np.testing.assert_allclose(mean, expected["average"].T.squeeze(), rtol=1e-5)
    if kind is TableClassifier:  # at the temperature of the ensemble, which a member alone lacks
        assert (std < 0.05).all()
        return
    members = []
    for network in model.ensemble_:
        model.ensemble_ = Ensemble.of([network])
        members.append(model.partial_dependence(X[:30], column, points=5)[1])
    np.testing.assert_allclose(std, np.std(members, axis=0), rtol=1e-3)


@pytest.mark.parametrize(("rows", "members", "batch_size"), [(10_000, 4, 128), (2_000, 8, 64)])
def test_members_and_minibatches_are_chosen_by_the_number_of_rows_with_weight(rows, members, batch_size):
    x = np.arange(10_000.0)[:, None]
    model = TableRegressor(hidden_layer_sizes=1, max_epochs=1, bins=0).fit(x, x[:, 0], np.arange(10_000) < rows)
    assert len(model.ensemble_) == members
    assert {network.provenance.runs[-1].batch_size for network in model.ensemble_} == {batch_size}


def test_values_of_a_partial_dependence():
    """Dates, durations, many texts, truth values with holes; and columns of arrays by their numbers."""
    import pandas

    X = pets()
    X["note"], X["wait"] = [f"n{k // 2:02}" for k in range(60)], pandas.to_timedelta(np.arange(60) - 9, "h")
    model = TableRegressor(**FEW).fit(X, HEIGHT)
    dates, *_ = model.partial_dependence(X, "born", points=4)
    assert [*dates] == [*pandas.to_datetime(["2024-01-01", "2024-01-21", "2024-02-09", "2024-02-29"])]
    texts = X.assign(born=X["born"].dt.strftime("%d.%m.%Y"))
    assert [*TableRegressor(**FEW).fit(texts, HEIGHT).partial_dependence(texts, "born", points=4)[0]] == [*dates]
    assert [*model.partial_dependence(X, "wait", points=2)[0]] == [X["wait"].min(), X["wait"].max()]
    X["kind"] = ["eel"] * 30 + ["cat"] * 20 + ["dog", None] * 5
    assert [*model.partial_dependence(X, "kind", points=2)[0]] == ["cat", "eel"]
    assert [*model.partial_dependence(X, "kind")[0]] == ["cat", "dog", "eel"]
    array = TableRegressor(**FEW).fit(NUMBERS, HEIGHT)
    assert len(array.partial_dependence(NUMBERS[:4], 2, points=3)[0]) == 3
    assert array.partial_dependence(NUMBERS, 2, points=2)[0].tolist() == [NUMBERS[:, 2].min(), NUMBERS[:, 2].max()]
    rare = np.c_[NUMBERS[:, :2], np.arange(60).clip(57)]
    assert array.partial_dependence(rare, 2, points=3)[0].tolist() == [57, 58, 59]
    medians = TableRegressor(**FEW, network={"cost": "quantile(0.1, 0.5, 0.9)"}).fit(NUMBERS, HEIGHT)
    assert [part.shape for part in medians.partial_dependence(NUMBERS, 2, points=3)] == [(3,)] * 3
    for column, table, message in (
        ("always", X.assign(always=1), "column 'always' is none of those that become inputs; choose from 'length', 'k"),
        ("kind", X.assign(kind=None), "X has no value in column 'kind'; give rows that have some"),
    ):
        with pytest.raises(ValueError, match=message):
            model.partial_dependence(table, column)


def test_rows_of_wrong_numbers_are_found_by_their_labels():
    X, y = three_columns()
    y.index = X.index = [f"r{k}" for k in range(400)]
    y += 4.0 * (y.index == "r9") + 2.0 * (y.index == "r30")
    model = TableRegressor(**SMALL).fit(X, y, sample_weight=np.r_[0.0, np.ones(399)])
    strange = model.check(y)
    assert strange.index[:2].tolist() == ["r9", "r30"]
    assert len(strange) < 6
    k, row = 9, strange.iloc[0]
    assert (row["target"], row["prediction"]) == (y.iloc[k], model.oof_prediction_[k])
    assert row["lower"] < row["prediction"] < row["upper"] < row["target"]
    whole = model.check(y, false_alarms=1e6)
    assert len(whole) == 399  # all that have a weight
    assert whole["false_alarms"].is_monotonic_increasing
    assert whole[whole["false_alarms"] <= 1].equals(strange)
    assert ((whole["lower"] <= whole["target"]) & (whole["target"] <= whole["upper"])).mean() == pytest.approx(
        0.9, abs=0.02
    )


def test_rows_of_wrong_classes_are_found_by_their_numbers():
    X, y = three_columns()
    y = np.where(y > 0, "high", "low")
    wrong = np.argsort(-np.abs(X["slope"].to_numpy()))[:3]
    y[wrong] = np.where(y[wrong] == "high", "low", "high")
    model = TableClassifier(**{**SMALL, "max_epochs": 8}).fit(X, y)
    strange = model.check(y, false_alarms=2)
    assert {*strange.index[:3]} == {*wrong}
    assert strange["target"].tolist() == y[strange.index].tolist()
    assert (strange["target"] != strange["prediction"]).all()
    np.testing.assert_array_equal(
        strange["probability"], model.oof_proba_[strange.index, (strange["target"] == "low").astype(int)]
    )


def test_what_check_needs():
    X, y = three_columns()
    model = TableRegressor(**FEW).fit(X, y)
    with pytest.raises(ValueError, match="X in fit has 400 examples and y has 399"):
        model.check(y[1:])
    with pytest.raises(ValueError, match="false_alarms=0 must be a finite number above 0; 1 is usual"):
        model.check(y, false_alarms=0)
    with pytest.raises(ValueError, match="no rows were left out in fit, which check needs; fit without empty folds"):
        TableRegressor(**{**FEW, "members": 1}).fit(X, y, folds=[[]]).check(y)
    two = np.stack([y, y], axis=1)
    with pytest.raises(ValueError, match=r"y has shape \(400, 2\); check takes a single target, so fit one model to"):
        TableRegressor(**FEW).fit(X, two).check(two)


@pytest.mark.parametrize("kind", ["array", "labels", "columns"])
def test_a_wrong_target_is_named(kind):
    """By its row and column; that intervals hold for the other rows is tried on random tables."""
    import pandas

    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 3))
    target: Any = np.sin(3 * x[:, 0]) + x[:, 1] + 0.2 * rng.standard_normal(200)
    target[5] = 999.0
    message = r"^y \(rows count from 0\) has 999 in row 5, and the others are -\d\S* to [1-4]\S*; .* correct them, or"
    if kind == "labels":
        target, message = pandas.Series(target, [f"r{k}" for k in range(200)]), "^y has 999 in row 'r5', and"
    elif kind == "columns":
        target[7] = 999.0
        target = pandas.DataFrame({"good": x[:, 2], "bad": target})
        message = "^column 'bad' of y has 999 in row 5, 999 in row 7, and .* correct them, or leave their"
    with pytest.warns(UserWarning, match=message) as caught:
        TableRegressor(**{**SMALL, "max_epochs": 8}).fit(x, target, np.r_[0.0, np.ones(199)])
    assert [one.filename for one in caught] == [__file__]


def test_groups_are_left_out_together():
    """The rows of a group are alike, and groups differ: who knows one row of a group knows the others."""
    group = np.repeat(np.arange(40), 15)
    x = np.random.default_rng(0).normal(size=(40, 3))[group]
    y = np.random.default_rng(1).normal(size=40)[group] + 0.1 * np.random.default_rng(2).normal(size=600)
    some = {**SMALL, "max_epochs": 12}
    model, naive = TableRegressor(**some).fit(x, y, groups=group), TableRegressor(**some).fit(x, y)
    assert r2_score(y, model.oof_prediction_) < 0.3
    assert r2_score(y, naive.oof_prediction_) > 0.8
    names, weight = np.array([f"group {k:02}" for k in group]), np.where(group < 3, 0.0, 1.0)
    numbered, named = (TableRegressor(**FEW).fit(x, y, weight, groups=groups) for groups in (group, names))
    rest = TableRegressor(**FEW).fit(x[45:], y[45:], groups=names[45:])
    np.testing.assert_array_equal(named.oof_prediction_[45:], rest.oof_prediction_)
    assert np.isfinite(numbered.oof_prediction_).sum() == 600 - 45
    with pytest.raises(ValueError, match="groups has one group, and groups are left out as a whole"):
        model.fit(x, y, group == 3, groups=group)
    with pytest.raises(ValueError, match="X has 600 examples and groups has 9; they must match"):
        model.fit(x, y, groups=group[:9])
    with pytest.raises(ValueError, match=r"groups has shape \(600, 3\), or lacks values; give one group for each row"):
        model.fit(x, y, groups=x)


def test_a_class_of_rows_of_weight_zero_is_none():
    model = TableClassifier(**FEW).fit(pets(), np.where(DAYS < 20, "yeti", KINDS), DAYS // 20)
    assert model.classes_.tolist() == ["cat", "dog", "eel"]


def test_weights_of_classes_find_more_of_the_rare_class():
    x = np.random.default_rng(0).normal(size=(300, 2))
    y = np.where(x[:, 0] + np.random.default_rng(1).normal(size=300) > 2.0, "rare", "usual")
    settings = {**SMALL, "max_epochs": 15}
    plain, balanced = (TableClassifier(**settings, class_weight=weight).fit(x, y) for weight in (None, "balanced"))
    rare = [recall_score(y, model.predict(x), pos_label="rare") for model in (plain, balanced)]
    assert rare[0] < 0.6
    assert rare[1] > 0.7
    ratio = {name: 0.5 / np.mean(y == name) for name in ("rare", "usual")}
    by_class = TableClassifier(**settings, class_weight=ratio).fit(x, y)
    np.testing.assert_allclose(by_class.predict_proba(x), balanced.predict_proba(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(by_class.predict(x), balanced.predict(x))
    for model in (plain, balanced):  # whose class is not always the most probable one
        classes, p = model.predict(x, return_proba=True)
        np.testing.assert_array_equal(classes, model.predict(x))
        np.testing.assert_array_equal(p, model.predict_proba(x)[np.arange(300), (classes == "usual").astype(int)])
        (label, *others), (probability,) = model.predict(x[7:8], return_proba=True)
        assert (label, others, probability) == (classes[7], [], pytest.approx(p[7]))
    with pytest.raises(ValueError, match="return_proba=2 must be True or False"):
        plain.predict(x, return_proba=2)

    def recall(labels, predicted):
        return recall_score(labels, predicted, pos_label=0)

    scored = TableClassifier(**settings, class_weight=ratio, training={"metrics": [recall, "top_1"]}).fit(x, y)
    weighted = scored.oof_proba_ * [ratio[name] for name in scored.classes_]
    for text, p, answers in (
        (scored.describe_scores(), scored.oof_proba_, scored.classes_[weighted.argmax(axis=1)]),
        (scored.describe_scores(x, y), scored.predict_proba(x), scored.predict(x)),
    ):
        right = accuracy_score(y, answers)
        expected = [f"accuracy: {right:.2%} ({300 * right:.0f}/300)", f"log loss: {log_loss(y, p):.4f}"]
        expected += [f"recall: {recall_score(y, answers, pos_label='rare'):.6g}", f"top_1: {right:.6g}"]
        assert text == ", ".join(expected)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weigh", ["rows", "rows by a column", "classes", "both"])
def test_probabilities_are_for_rows_as_frequent_as_in_the_table_whatever_the_weights(tmp_path, classes, weigh):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4600, 3))
    z = np.stack([x[:, 0] + 2, x[:, 1], -x[:, 0]], axis=1)[:, :classes]
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    known, new, weight, options = y[:600], y[600:], None, {}
    if weigh in ("rows", "both"):
        weight = np.where(known == 1, 5.0, 1.0)
    elif weigh == "rows by a column":
        weight = np.exp(x[:600, 0])
    if weigh in ("classes", "both"):
        options["class_weight"] = {0: 0.5, 1: 3.0}
    model = TableClassifier(**{**SMALL, "max_epochs": 15}, **options).fit(x[:600], known, weight)
    frequency = np.bincount(known) / 600
    np.testing.assert_allclose(model.oof_proba_.mean(axis=0), frequency, atol=2e-3)
    p = model.predict_proba(x[600:])
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(new) / 4000, atol=0.03)
    best = p * [0.5, 3.0, 1.0][:classes] if options else p
    np.testing.assert_array_equal(model.predict(x[600:]), best.argmax(axis=1))
    few = TableClassifier(**{**SMALL, "members": 2}, **options).fit(x[:600], known, weight)  # not all are left out
    left_out = np.isfinite(few.oof_proba_[:, 0])
    np.testing.assert_allclose(
        few.oof_proba_[left_out].mean(axis=0), np.bincount(known[left_out]) / left_out.sum(), atol=5e-3
    )
    model.ensemble_.save(tmp_path / "net")
    np.testing.assert_array_equal(Ensemble.load(tmp_path / "net").predict_proba(model.encoder_.transform(x[600:])), p)


@pytest.mark.parametrize("n", [2, 3, 9])
@pytest.mark.filterwarnings("ignore:the model is not calibrated")
def test_few_rows(n):
    table = pets(10)[-n:]
    labels = np.array(["a", "b", "c"])[np.minimum(np.arange(n), 2)]
    classifier = TableClassifier(**{**FEW, "members": 8}).fit(table, labels)
    assert classifier.predict_proba(pets()).shape == (60, len(np.unique(labels)))
    assert np.isfinite(classifier.oof_proba_).all()
    regressor = TableRegressor(**{**FEW, "members": 8}).fit(table, np.arange(n))
    assert np.isfinite(regressor.predict(pets())).all()
    if n > 2:
        assert (regressor.predict(pets(), return_std=True)[1] > 0).all()


def test_the_same_random_state_gives_the_same_networks():
    generator = np.random.RandomState(0)
    one, same, *others = (
        TableRegressor(**{**FEW, "random_state": state}).fit(pets(), HEIGHT).predict(pets())
        for state in (0, generator, generator, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert all((one != other).any() for other in others)


def test_progress_and_threads(capsys):
    quiet = TableRegressor(**FEW).fit(pets(), HEIGHT)
    assert capsys.readouterr() == ("", "")
    loud = TableRegressor(**FEW, n_jobs=-1, progress=True).fit(pets(), HEIGHT)
    out = capsys.readouterr().out
    assert out.startswith("Columns: number (2), category (2), date (1)\nEpoch: 1 / 2,")
    assert re.search(r"Epoch: 2 / 2,\t validation: r2 \S+, mean absolute error \S+\n$", out)
    np.testing.assert_allclose(loud.predict(pets()), quiet.predict(pets()), rtol=1e-5, atol=1e-6)


def test_long_phases_have_a_line_where_no_bar_is_shown(capsys, monkeypatch):
    from tqdm import auto

    class EagerBar(auto.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options, mininterval=0, miniters=1)

    x = np.random.default_rng(0).normal(size=(400, 500)) > 0
    model = TableRegressor(2, hidden_layer_sizes=2, max_epochs=1, random_state=0, progress=True)
    model.fit(x, x[:, 0]).describe_scores(x, x[:, 0])
    out, err = capsys.readouterr()
    words = ["Encoding", "Columns:", "Measuring", "Epoch:", "Calibrating", "Scoring"]
    assert ([line.split()[0] for line in out.splitlines()], err) == (words, "")
    model.set_params(progress=False).fit(x, x[:, 0])
    assert capsys.readouterr() == ("", "")
    model.set_params(progress=True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(auto, "tqdm", EagerBar)
    model.fit(x, x[:, 0])
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["Columns:", "Epoch:"]
    phases = ["Encoding columns", "Measuring columns: 100%", "Epoch 1/1, 2 networks", "Calibrating"]
    seen = [err.index(phase) for phase in phases]
    assert seen == sorted(seen)


# What the command needs, too


def test_other_settings_of_networks_and_trainings():
    network = {"activation": "tanh", "cost": "gaussian", "dtype": "float64", "dropout": 0.1, "seed": 5}
    epochs = []

    class Count(Callback):
        def on_epoch_end(self, logs):
            epochs.append(logs["epoch"])

    training = {"optimizer": "adam", "lr": 0.01, "epochs": 3, "metrics": ["rmse"], "callbacks": lambda k: [Count()]}
    model = TableRegressor(**FEW, network=network, training=training).fit(pets(), HEIGHT)
    ensemble = model.ensemble_
    assert ensemble.seeds == Ensemble([2, 1], 4, seed=5).seeds
    expected = ("tanh", "gaussian", "float64", 2)
    settings = ensemble[0].settings
    assert (settings["activation"][0], ensemble[0].cost_name, ensemble[0].dtype, ensemble[0].sizes[-1]) == expected
    assert sorted(epochs) == sorted(4 * [1, 2, 3])
    history = ensemble.histories[0][-1]
    assert (history["epoch"], history["lr"]) == (3, 0.01)
    assert {"validation_rmse", "validation_r2", "validation_mean_absolute_error"} <= history.keys()
    plain = TableRegressor(**FEW, network={"standardize": False}).fit(pets(), HEIGHT)
    assert plain.ensemble_[0].scaling is None
    counts = TableRegressor(**FEW, network={"cost": "poisson"}, training={"epochs": 0}).fit(pets(), np.arange(60) % 4)
    assert counts.ensemble_[0].scaling.y_std is None
    np.testing.assert_array_equal(counts.ensemble_[0].scaling.x_std, 1)  # no columns are weighed without a training


def test_patience_ends_the_training_of_a_member():
    noise = np.random.default_rng(0).normal(size=60)
    models = [TableRegressor(**SMALL, patience=patience).fit(NUMBERS, noise) for patience in (1, 15, None)]
    assert models[0].n_iter_ < models[1].n_iter_ <= models[2].n_iter_ == 25
    lengths = [*map(len, models[0].ensemble_.histories)]
    assert models[0].n_iter_ == max(lengths) > min(lengths)


def test_folds_that_the_user_chooses():
    last = [np.arange(40, 60), [0, 59], np.arange(50, 60)]
    model = TableRegressor(**{**FEW, "members": 3}).fit(pets(), HEIGHT, np.arange(60), folds=last)
    assert np.flatnonzero(np.isfinite(model.oof_prediction_)).tolist() == [*range(40, 60)]  # row 0 has no weight
    model = TableRegressor(**{**SMALL, "members": 2}).fit(pets(), HEIGHT, folds=[[], []])
    assert [len(history) for history in model.ensemble_.histories] == [25, 25]
    assert "training_r2" in model.ensemble_.histories[0][0]
    assert model.ensemble_.calibration is None
    assert np.isnan(model.oof_prediction_).all()
    with pytest.raises(ValueError, match="no rows were left out in fit, which the scores out of fold need; give X and"):
        model.describe_scores()
    for name, value in (("X", pets()), ("y", HEIGHT)):
        with pytest.raises(ValueError, match=f"describe_scores got {name} alone; give X and y, or neither"):
            model.describe_scores(**{name: value})
    for wrong, message in (
        ([60], r"folds\[1\] goes from 60 to 60, but X has 60 rows, from 0"),
        *((rows, r"folds\[1\] has .* but must list row numbers, .*; for a") for rows in ([0.5], [[1]], DAYS > 40, 5)),
        ([1, [2, 3]], r"folds\[1\] must list row numbers, whole numbers \("),
        ([], r"folds\[1\] is empty; give at least one row"),
        ([0], r"folds\[1\] leaves out 0 of the 59 rows that have a weight; give some, not all"),
        ([*range(60)], r"folds\[1\] leaves out 59 of the 59 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(pets(), HEIGHT, DAYS, folds=[[1], wrong])
    for folds, what in (([[1]], "has 1 entries"), (5, "is 5")):
        with pytest.raises(ValueError, match=f"folds {what}, but must be a list of 2 arrays of row numbers"):
            model.fit(pets(), HEIGHT, folds=folds)


def test_scores_in_the_units_of_the_targets():
    both = np.stack([HEIGHT, 100 * NUMBERS[:, 1]], axis=1)
    model = TableRegressor(**SMALL, training={"metrics": ["mean_squared_error"]}).fit(pets()[:45], both[:45])
    low, high = model.interval(pets()[45:], 0.9)
    held = np.mean((low <= both[45:]) & (both[45:] <= high))
    for text, y, predicted, coverage in (
        (model.describe_scores(), both[:45], model.oof_prediction_, ""),
        (
            model.describe_scores(pets()[45:], both[45:]),
            both[45:],
            model.predict(pets()[45:]),
            f", within 90% intervals: {held:.1%}",
        ),
    ):
        error, squared = np.abs(y - predicted).mean(), ((y - predicted) ** 2).mean()
        expected = f"R2: {r2_score(y, predicted):.4f}, mean absolute error: {error:.6g}{coverage}, mean_squared_error: "
        assert text.startswith(expected)
        assert float(text.removeprefix(expected)) == pytest.approx(squared, rel=1e-5)
    classifier = TableClassifier(**SMALL).fit(pets()[:45], KINDS[:45])
    score = classifier.score(pets()[45:], KINDS[45:])
    text = str(classifier.describe_scores(pets()[45:], KINDS[45:]))
    assert text.startswith(f"accuracy: {score:.2%} ({round(15 * score)}/15), log loss: ")


def test_rows_for_testing():
    train, test = hold_out(KINDS, 0.1)
    assert sorted([*train, *test]) == [*range(60)]
    assert [(KINDS[test] == kind).sum() for kind in ("cat", "dog", "eel")] == [2, 2, 2]
    assert hold_out(HEIGHT, 0.1, last=True)[1].tolist() == [*range(54, 60)]
    assert not np.array_equal(hold_out(HEIGHT, seed=1)[1], hold_out(HEIGHT)[1])
    for options, message in (
        ({"fraction": 1.5}, r"fraction=1.5 must be in \[0, 1\)"),
        ({"groups": ["a"] * 60}, "groups has one group, and groups are left out"),
        ({"fraction": 0.999}, "fraction=0.999 leaves none of the 60 rows to train on"),
        ({"groups": [1, 2]}, "y has 60 examples and groups has 2"),
        ({"groups": KINDS, "last": True}, "last=True holds out the last rows, and groups= whole groups; give one of"),
    ):
        with pytest.raises(ValueError, match=message):
            hold_out(HEIGHT, **options)


def test_the_columns_of_a_file(tmp_path):
    """As they are written there, and classes in the order of numbers, also one that is not among the rows to learn."""
    path = tmp_path / "t.csv"
    pets().assign(y=[10, 9, 100] * 20).to_csv(path, index=False)
    X, y, groups = read_table(str(path)).split("y", group="home")
    assert groups.tolist() == ["sea", "land"] * 30
    rows = np.flatnonzero(y.y < 2)
    assert y[rows][10:12].rows.tolist() == X[rows][10:12].rows.tolist() == [15, 16]
    with pytest.warns(UserWarning, match=r"t.csv has no rows of '100' to train on: all of them are held out"):
        model = TableClassifier(**SMALL, class_weight="balanced", training={"metrics": None}).fit(X[rows], y[rows])
    assert model.classes_.tolist() == ["9", "10", "100"]
    assert {*model.predict(X)} <= {"9", "10"}
    assert model.feature_importances_.shape == model.feature_names_in_.shape  # without that of the groups
    left_out = {"kind": "left out", "name": "home", "reason": "its groups are held out as a whole"}
    assert model.ensemble_[0].notes["columns"][-1] == left_out
    assert str(model.describe_scores(X[rows], y[rows])).startswith("accuracy: ")
    rows = np.flatnonzero(y.y > 0)  # of another table, which lacks the first class
    others = dataclasses.replace(y[rows], y=y.y[rows] - 1, labels=y.labels[1:])
    assert model.describe_scores(X[rows], others) == model.describe_scores(X[rows], y[rows])


def test_a_group_that_the_columns_of_a_file_tell_apart_is_not_wrong(tmp_path):
    """Its predictions out of fold stand beside its targets, whatever the order of the rows."""
    import pandas

    flag, noise = np.isin(np.arange(200), [60, 61, 62]), np.random.default_rng(0).normal(size=(200, 2))
    table = pandas.DataFrame({"x": noise[:, 0], "flag": flag, "y": noise[:, 1] + 300 * flag})
    table.to_csv(tmp_path / "t.csv", index=False)
    X, y, _ = read_table(str(tmp_path / "t.csv")).split("y")
    rows = np.arange(200)[:39:-1]
    TableRegressor(**{**SMALL, "max_epochs": 60}, bins=0).fit(X[rows], y[rows])  # without a warning


# In scikit-learn


def test_another_fit_is_not_resumed(tmp_path):
    path = tmp_path / "fit"
    TableRegressor(**FEW).fit(pets(), HEIGHT, checkpoint=path)
    for state, y, resume, error, named in (
        (0, HEIGHT, False, FileExistsError, "resume=True"),
        (0, HEIGHT + 1, True, ValueError, "train_data"),
        (99, HEIGHT, True, ValueError, "seed"),
        (None, HEIGHT, True, ValueError, "random_state"),
    ):
        with pytest.raises(error, match=named):
            TableRegressor(**{**FEW, "random_state": state}).fit(pets(), y, checkpoint=path, resume=resume)


def test_a_wrong_parameter_changes_nothing():
    model = TableClassifier(**FEW).fit(pets(), KINDS)
    before = model.predict_proba(pets())
    for options, error, message in (
        ({"members": 0}, ValueError, "members=0 must be a whole number of at least 1"),
        ({"max_epochs": 1.5}, ValueError, "max_epochs=1.5 must be a whole number of at least 1"),
        ({"hidden_layer_sizes": [8, 0]}, ValueError, r"hidden_layer_sizes=0 must be"),
        ({"bins": 1}, ValueError, "bins=1 must be at least 2, or 0"),
        ({"categories": ["age"]}, ValueError, "categories names 'age', but X has the columns"),
        (
            {"categories": "kind, home"},
            ValueError,
            r"'kind, home' must be a sequence of names, as in \['kind', 'home'\]",
        ),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
        ({"random_state": "x"}, ValueError, "random_state='x' must be a whole number"),
        ({"progress": 2}, ValueError, "progress=2 must be True or False"),
        ({"backend": "tpu"}, BackendError, "backend='tpu' is unknown"),
        ({"patience": 0}, ValueError, "patience=0 must be a whole number of at least 1"),
        ({"network": {"sizes": [1]}}, TypeError, "sizes"),
        ({"network": {"task": "regression"}}, ValueError, "network has task='regression', and TableClassifier its own"),
        ({"network": {"seed": -1}}, ValueError, "seed=-1 must be None or a whole number of"),
        ({"network": "tanh"}, ValueError, "network='tanh' must be a dict"),
        ({"training": {"rows": []}}, TypeError, "rows"),
        ({"training": {"metrics": ["r2"]}}, ValueError, "metrics holds 'r2', which is for 'regression'"),
        ({"class_weight": {"bat": 2}}, ValueError, "class_weight names the class 'bat'; choose from 'cat', 'dog', 'e"),
    ):
        right = model.get_params()
        with pytest.raises(error, match=message):
            model.set_params(**options).fit(pets()[:50], KINDS[:50])
        np.testing.assert_array_equal(model.predict_proba(pets()), before)
        model.set_params(**right)


def test_a_wrong_metric_is_refused_before_the_short_training(monkeypatch):
    monkeypatch.setattr("xpnet.tables._models.choose_scaling", None)
    with pytest.raises(ValueError, match="metrics holds 'accuracy', which is for 'classification'"):
        TableRegressor(**FEW, training={"metrics": ["accuracy"]}).fit(pets(), HEIGHT)


@pytest.mark.parametrize(
    ("kind", "y", "message"),
    [
        (TableClassifier, ["cat"] * 60, "y has one class, 'cat'; give rows of at least two classes"),
        (TableClassifier, np.eye(3)[np.arange(60) % 3], r"y has shape \(60, 3\), several labels for each row"),
        (TableClassifier, KINDS[:9], "X has 60 examples and y has 9; they must match"),
        (TableClassifier, None, "requires y to be passed, but the target y is None"),
        (TableRegressor, np.where(np.arange(60) == 3, np.nan, HEIGHT), "Input y contains NaN"),
        (TableRegressor, KINDS, "y holds <U3, such as 'cat'; give numbers, or use a classifier for labels"),
        (
            TableRegressor,
            1e39 * (-1.0) ** DAYS,
            r"target 0 has .* deviation 1e\+39, which float32 cannot",
        ),
        (TableRegressor, 1e39 + 1e30 * HEIGHT, r"target 0 has the mean 1e\+39 .* which float32 cannot hold"),
        (TableRegressor, np.stack([HEIGHT, HEIGHT * 1e-50], 1), "target 1 has the mean .* which float32 cannot hold"),
    ],
)
def test_wrong_targets_are_refused(kind, y, message):
    with pytest.raises(ValueError, match=message):
        kind(**FEW).fit(pets(), y() if callable(y) else y)


def test_columns_have_any_order_and_others_are_ignored():
    table = pets().assign(always=1)
    model, few = TableRegressor(**FEW).fit(table, HEIGHT), pets(20)  # which lacks a column that fit left out
    kinds = TableClassifier(**FEW).fit(table.drop(columns="kind"), KINDS)
    others = few[few.columns[::-1]].assign(height=HEIGHT[:20])
    for result in (
        *(model.predict, model.interval, model.novelty, model.encoder_.transform, kinds.predict, kinds.predict_proba),
        *(lambda X: model.score(X, HEIGHT[:20]), lambda X: model.describe_scores(X, HEIGHT[:20])),
        TableEncoder.from_network(model.ensemble_).transform,
    ):
        np.testing.assert_array_equal(result(others), result(few))
    for unnamed in (table.to_numpy(object), table.set_axis(range(6), axis=1)):  # in the order of fit
        with pytest.warns(UserWarning, match="X does not have valid feature names, but TableEncoder was fitted with"):
            predicted = model.predict(unnamed)
        np.testing.assert_array_equal(predicted, model.predict(table))


def test_threads_share_a_model():
    """Rows that threads predict at once are those of one thread, bit for bit."""
    rows = pets().to_dict("records")
    for model in (TableRegressor(**FEW).fit(pets(), HEIGHT), TableClassifier(**FEW).fit(pets(), KINDS)):
        methods = [model.predict, model.novelty, getattr(model, "interval", None) or model.predict_proba]

        def predict(row, methods=methods):
            return [np.asarray(method(row)).tobytes() for method in methods]

        fresh = pickle.dumps(model)
        alone = [*map(predict, rows)]
        model = pickle.loads(fresh)  # in which nothing is computed yet
        methods[:] = [getattr(model, method.__name__) for method in methods]
        with ThreadPoolExecutor(4) as threads:
            assert [*threads.map(predict, rows)] == alone


def test_tables_that_do_not_fit():
    model = TableRegressor(**FEW)
    for kind in (TableClassifier, TableRegressor):
        with pytest.raises(NotFittedError, match=f"This {kind.__name__} instance is not fitted yet"):
            kind().predict(pets())
    model.fit(pets(), HEIGHT)
    with pytest.raises(ValueError, match="X lacks columns that the network was trained on: 'kind'; it has the columns"):
        model.predict(pets().drop(columns="kind"))
    with pytest.raises(ValueError, match=r"X lacks .*: 'kind', 'home'; it has .*; rename 'KINDS' if that is 'kind'$"):
        model.predict(pets().rename(columns={"kind": "KINDS", "home": "where"}))
    with (
        pytest.warns(UserWarning, match="X does not have valid feature names"),
        pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 5 features as input"),
    ):
        model.predict(NUMBERS)
    for row_or_column in (pets()["born"], pets().iloc[0], InPandas(pets()["kind"])):
        with pytest.raises(ValueError, match=r"X is a Series of \d+ values, and must be a table; give X.to_frame\(\)"):
            model.fit(row_or_column, HEIGHT)
    with pytest.raises(ValueError, match="leave every example of X with weight zero"):
        model.fit(pets(), HEIGHT, np.zeros(60))
    with pytest.raises(ValueError, match="Found array with 1 sample"):
        model.fit(pets()[:1], HEIGHT[:1])
    with pytest.raises(ValueError, match=r"groups has shape \(60,\), or lacks values"):
        model.fit(pets(), HEIGHT, groups=["a", "b", "c", None, "d"] * 12)


def test_names_from_elsewhere():
    with pytest.raises(TypeError, match=r"n_estimators=3 is not an argument .*did you mean 'members'"):
        TableClassifier(n_estimators=3)
    with pytest.raises(TypeError, match=r"max_iter=3 is not an argument .*did you mean 'max_epochs'"):
        TableRegressor(max_iter=3)
    with pytest.raises(AttributeError, match="no attribute 'jacobian'"):
        TableRegressor().jacobian  # noqa: B018


# A row that occurs twice may stand in two folds, so it is not the same as one row of weight 2; training is checked on
# read-only rows in float32; weights of classes, and other tables, have tests above
LEFT_OUT = (
    *("check_sample_weight_equivalence_on_dense_data", "array_api", "readonly_memmap=True)"),
    *("check_classifiers_train)", "check_regressors_train)", "class_weight_classifiers", "data_not_an_array"),
)
CHECKED: dict[str, Any] = {"members": 2, "hidden_layer_sizes": 16, "max_epochs": 2}
every_check = parametrize_with_checks([TableClassifier(**CHECKED), TableRegressor(**CHECKED)]).mark
ABOUT_REGRESSORS = ("regressor", "param", "mixin")


def repeats(estimator: Any, check: Any) -> bool:
    """Whether a check is about code that other checks reach."""
    return isinstance(estimator, TableRegressor) and not any(word in str(check) for word in ABOUT_REGRESSORS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the checks provoke them
@pytest.mark.parametrize(
    every_check.args[0],
    [
        (estimator, check)
        for estimator, check in every_check.args[1]
        if not repeats(estimator, check) and not any(name in f"{check})" for name in LEFT_OUT)
    ],
    ids=every_check.kwargs["ids"],
)
def test_the_checks_of_scikit_learn(estimator, check):
    """Arrays of other libraries are the subject of `test_results_lie_where_x_lies`."""
    learns = any(name in str(check) for name in ("classifiers_train", "regressors_train"))
    check(estimator.set_params(max_epochs=15 if learns else CHECKED["max_epochs"]))


def test_rows_unlike_those_of_fit_are_novel():
    model = TableRegressor(**FEW).fit(pets(), HEIGHT)
    far = pets().assign(length=30.0)
    assert model.novelty(far).min() > model.novelty(pets()).max() - 0.02
    assert model.novelty(pets()).shape == (60,)
    rows = pets()[:4].assign(born=[None, *pets()["born"][1:4]], home=["sea", "air", "land", None])
    message = r"^X has values that training did not have, missing or unknown, in 'born' \(1\), 'home' \(2\)$"
    with pytest.warns(UserWarning, match=message):
        novelty = model.novelty(rows)
    assert novelty.tolist() == [1, 1, model.novelty(pets()[2:3])[0], 1]
    assert novelty.dtype == "float32"
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(model)).novelty(far), model.ensemble_.novelty(model.encoder_.transform(far))
    )
    with pytest.raises(ValueError, match="novelty needs to know the training data"):
        TableRegressor(**FEW).fit(pets(19), HEIGHT[:19]).novelty(pets())
