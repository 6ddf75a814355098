"""The recipe for tables: folds, members, weights, and what is predicted out of fold."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from xpnet.core.activations import softmax
from xpnet.core.calibration import find_wrong_targets, judge_classes, judge_numbers
from xpnet.tables.folds import choose_training_rows, make_folds, predict_out_of_fold
from xpnet.tables.recipe import (
    LEAST_SHARE,
    Examples,
    Recipe,
    calibrate_members,
    choose_scaling,
    give_scaling,
    make_members,
    make_scaling,
    make_schedule,
    measure_rises,
    train_members,
    weigh_inputs,
    weigh_rows,
)

pytestmark = pytest.mark.not_on("jax")  # TableClassifier learns by the whole recipe there
SMALL = Recipe(members=4, hidden=(16,), training={"epochs": 15, "batch_size": 5, "lr": make_schedule(0.02)})
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype("float32")
REAL = np.stack([X[:, 0] + X[:, 1], 1000 - X[:, 2]], axis=1).astype(float)
CLASSES = (X[:, 0] > 0.5).astype(int) + (X[:, 0] > 1)


def train(x, y, recipe=SMALL, classes=None, place=None, weight=None, **options):
    """Train members by the recipe, and return them with their folds."""
    folds = make_folds(len(x), recipe.members, np.random.default_rng(1), classes=None if classes is None else y)
    examples = Examples(x, y, classes, weight)
    recipe = recipe.complete(len(x))
    ensemble = make_members(examples, recipe, seed=1, **({} if place is None else place._asdict()))
    give_scaling(ensemble, make_scaling(examples))
    train_members(ensemble, examples, recipe, folds, progress=False, **options)
    calibrate_members(ensemble, examples, folds)
    return ensemble, folds


@pytest.mark.parametrize(
    ("rows", "members", "sizes", "left_out"),
    [
        *((100, 1, {20}, 20), (100, 2, {25}, 50), (100, 3, {25}, 75)),
        *((100, 64, {12, 13}, 100), (1000, 64, {20}, 1000), (1000, 40, {25}, 1000)),
    ],
)
def test_few_members_leave_out_a_small_part_and_no_fold_is_too_small(rows, members, sizes, left_out):
    folds = make_folds(rows, members, np.random.default_rng(0))
    assert (len(folds), {*map(len, folds)}) == (members, sizes)
    assert len(np.unique(np.concatenate(folds))) == left_out


def test_each_fold_has_its_share_of_each_class():
    classes = np.repeat([0, 1, 2], [60, 20, 10])
    folds = make_folds(90, 5, np.random.default_rng(0), classes=classes)
    assert [np.bincount(classes[fold]).tolist() for fold in folds] == [[12, 4, 2]] * 5


def test_members_train_on_as_many_rows_outside_their_folds():
    folds = make_folds(43, 4, np.random.default_rng(0))
    rows = choose_training_rows(folds, 43, np.random.default_rng(0))
    assert [len(part) for part in rows] == [32] * 4
    assert not any(np.isin(part, fold).any() for part, fold in zip(rows, folds))
    folds = np.split(np.arange(43), [20, 23, 26])  # by groups of different size: as many would be few
    rows = choose_training_rows(folds, 43, np.random.default_rng(0))
    assert [len(part) for part in rows] == [43 - len(fold) for fold in folds]


def test_minibatches_grow_with_the_table():
    many = np.zeros((20_000, 2), "float32")
    ensemble = make_members(Examples(many, np.zeros(20_000)), Recipe(3).complete(20_000))
    assert (len(ensemble), ensemble[0].sizes) == (3, [2, 128, 128, 1])
    assert [Recipe().complete(n).training["batch_size"] for n in (50, 2000, 5000, 20_000)] == [32, 64, 128, 256]
    ours = Recipe(1, (5,), training={"batch_size": 7, "epochs": 70, "lr": 0.1, "optimizer": "sgd"}).complete(10**6)
    assert make_members(Examples(many, np.zeros(20_000), 3), ours)[0].sizes == [2, 5, 3]
    assert (ours.hidden, ours.training) == ((5,), {"batch_size": 7, "epochs": 70, "lr": 0.1, "optimizer": "sgd"})
    assert {"batch_size", "lr"}.isdisjoint(Recipe(training={"optimizer": "lbfgs"}).complete(50).training)


def test_a_regression_on_every_backend(place, backend):
    """Two targets of different size, each predicted in its unit."""
    ensemble, folds = train(X, REAL, place=place)
    predicted = backend.to_numpy(ensemble.predict(X))
    assert predicted.shape == (60, 2)
    assert (((predicted - REAL) ** 2).mean(axis=0) < 0.5 * REAL.var(axis=0)).all()
    found = predict_out_of_fold(ensemble, X, folds)
    for network, fold in zip(ensemble, folds):
        np.testing.assert_allclose(found[fold], backend.to_numpy(network.predict(X[fold])), rtol=1e-5)
    expected, _ = train(X, REAL)
    np.testing.assert_allclose(predicted, expected.predict(X), rtol=1e-3, atol=1e-3)


@pytest.mark.not_on("strict-device1")
def test_classes_on_every_backend(place, backend):
    ensemble, folds = train(X, CLASSES, classes=3, place=place)
    assert ensemble.temperature > 0
    found = predict_out_of_fold(ensemble, X, folds)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    for k, fold in enumerate(folds):  # at the temperature of the ensemble
        power = backend.to_numpy(ensemble.forward(X[fold]))[k] ** (1 / ensemble.temperature)
        np.testing.assert_allclose(found[fold], power / power.sum(axis=1, keepdims=True), rtol=1e-4)
    assert (found.argmax(axis=1) == CLASSES).mean() > 0.7


@pytest.mark.parametrize("weight", [None, 1.0 + CLASSES])
def test_a_row_of_each_class_in_equal_parts_counts_in_the_calibration(weight):
    """Or few rows that are nearly all right would make members too sure."""
    ensemble, folds = train(X, CLASSES, classes=3, weight=weight)
    z = np.log(predict_out_of_fold(ensemble, X, folds)) * ensemble.temperature
    share = (np.eye(3)[CLASSES] + 1 / 180) * 60 / 61

    def log_loss(t):
        return -(share * log_softmax(z / t, axis=1)).sum()

    found = minimize_scalar(log_loss, bounds=(0.2, 10), method="bounded", options={"xatol": 1e-6}).x
    assert ensemble.temperature == pytest.approx(found, rel=1e-3)


def test_rows_left_out_by_several_members_or_by_none():
    recipe = Recipe(members=2, hidden=(4,))
    ensemble = make_members(Examples(X, REAL[:, 0]), recipe, seed=0)
    found = predict_out_of_fold(ensemble, X, [np.array([0, 1]), np.array([1, 2])])
    one, other = (network.forward(X[:3]) for network in ensemble)
    np.testing.assert_allclose(found[:3], [one[0], (one[1] + other[1]) / 2, other[2]], rtol=1e-6)
    assert np.isnan(found[3:]).all()


def test_rows_left_out_by_all_members():
    """They are predicted as new rows are."""
    ensemble, _ = train(X, CLASSES, classes=3)
    expected = ensemble.predict_proba(X)
    np.testing.assert_allclose(predict_out_of_fold(ensemble, X, [np.arange(60)] * 4), expected, rtol=1e-5)


def test_weights_decide_which_epoch_a_member_keeps():
    """As if the fold had each row as often as it weighs."""
    weight = np.where(np.arange(60) % 3 == 0, 2.0, 1.0)
    ensemble, folds = train(X, REAL, weight=weight)
    rows = weigh_rows(folds[0], weight)
    assert len(rows) == len(folds[0])
    cost = ensemble[0].cost((X[rows], REAL[rows]))
    np.testing.assert_allclose(min(ensemble.histories[0]["validation_cost"]), cost, rtol=1e-4)


def test_rows_by_their_weights():
    rows, weight = np.arange(10, 20), np.r_[np.zeros(10), [5.0] * 2, [0.0] * 4, [2.5] * 4]
    counts = np.bincount(weigh_rows(rows, weight), minlength=20)
    assert counts[10:12].tolist() in ([3, 2], [2, 3])
    assert not counts[12:16].any()
    assert counts[16:].sum() == 5
    np.testing.assert_array_equal(weigh_rows(rows, np.zeros(20)), rows)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e8])
def test_a_constant_is_predicted_where_all_targets_are_one(constant):
    y = np.stack([np.full(60, constant), REAL[:, 0]], axis=1)
    ensemble, _ = train(X, y)
    np.testing.assert_allclose(np.asarray(ensemble.predict(X))[:, 0], constant, rtol=1e-5, atol=1e-5)


def test_targets_far_from_zero_keep_their_spread():
    scaling = make_scaling(Examples(X, 1e9 + REAL))
    np.testing.assert_allclose(scaling.y_std, REAL.std(axis=0)[None], rtol=1e-5)


@pytest.mark.not_on("strict-device1")
def test_columns_vary_by_what_a_short_training_finds_important(place):
    """Two columns of two inputs each; the classes depend on the second."""
    x = RNG.normal(size=(400, 4)).astype("float32") * [1, 1, 0.1, 0.1]
    y = (x[:, 2] > 0.03).astype(int)
    recipe = SMALL.complete(400)
    folds = make_folds(400, 4, np.random.default_rng(1), classes=y)
    examples = Examples(x, y, 2)
    scaling = choose_scaling(examples, recipe, folds, [2, 2], seed=1, **place._asdict())
    variance = scaling.inputs(x).var(axis=0).reshape(2, 2)
    assert variance[1].sum() > 2 * variance[0].sum()
    np.testing.assert_allclose(scaling.x_std[0, ::2], scaling.x_std[0, 1::2])  # inputs of a column stay together
    np.testing.assert_allclose(scaling.inputs(x).mean(axis=0), 0, atol=1e-5)
    ensemble = make_members(examples, recipe, seed=1, **place._asdict())
    give_scaling(ensemble, scaling)
    np.testing.assert_allclose(ensemble[3].scaling.x_std, scaling.x_std)


def test_the_unit_of_targets_changes_no_importance():
    folds = make_folds(60, 4, np.random.default_rng(1))
    targets = (REAL[:, 0], 4096 * (REAL[:, 0] + 8))
    scalings = [choose_scaling(Examples(X, y), SMALL, folds, [1, 1, 1], seed=1) for y in targets]
    np.testing.assert_allclose(scalings[0].x_std, scalings[1].x_std, rtol=1e-3)


def test_the_short_training_is_no_longer_than_that_of_the_members():
    folds, found = make_folds(60, 4, np.random.default_rng(1)), []
    for epochs in (1, 10, 20):
        recipe = Recipe(4, (16,), training={"epochs": epochs}).complete(60)
        found.append(choose_scaling(Examples(X, CLASSES, 3), recipe, folds, [1, 1, 1], seed=1).x_std)
    assert (found[0] != found[1]).any()
    np.testing.assert_array_equal(found[1], found[2])


@pytest.mark.parametrize("classes", [None, 2])
def test_the_cost_of_each_row_that_is_left_out_rises_by_that_of_all_inputs_of_a_column(classes):
    y = CLASSES % 2 if classes else REAL
    ensemble, folds = train(X, y, classes=classes)
    scaling = ensemble[0].scaling
    targets = np.eye(2)[y] if classes else y
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    for network, fold in zip(ensemble, folds):

        def costs(x, network=network, fold=fold):
            a = np.asarray(network.forward(x))
            if classes:
                return -np.log(a[np.arange(len(fold)), y[fold]])
            return (((a - y[fold]) / scaling.y_std) ** 2).sum(axis=1) / 2

        measured = measure_rises(network, X[fold], targets[fold], [1, 2], rng)
        for column, rises in zip([[0], [1, 2]], measured):
            x = X[fold]
            x[:, column] = x[again.permutation(len(fold))][:, column]
            np.testing.assert_allclose(rises, costs(x) - costs(X[fold]), rtol=1e-3, atol=1e-5)


def test_a_column_counts_as_its_rise_plus_the_standard_error(monkeypatch):
    rises = iter(np.array([[[3, 5, 3, 5], [-7, -8, -7, -8], [9, 1, 9, 1]]] * 4, float))
    monkeypatch.setattr("xpnet.tables.recipe.measure_rises", lambda *arguments: next(rises))
    recipe, folds = SMALL.complete(60), make_folds(60, 4, np.random.default_rng(1))
    scaling = choose_scaling(Examples(X, CLASSES, 3), recipe, folds, [1, 1, 1], seed=1)
    expected = weigh_inputs(X, [1, 1, 1], np.array([4 + 1 / 4, 0.5 / 4, 5 + 4 / 4]))
    np.testing.assert_allclose(1 / scaling.x_std[0], expected)


@pytest.mark.parametrize(("rows", "ratio"), [(9_999, 4), (10_000, 2)])
def test_columns_of_many_rows_vary_by_the_root_of_their_importance(rows, ratio):
    x = RNG.normal(size=(rows, 2)) * [5, 0.5]
    variance = (x * weigh_inputs(x, [1, 1], np.array([4.0, 1.0]))).var(axis=0)
    np.testing.assert_allclose(variance[0] / variance[1], ratio)
    np.testing.assert_allclose(variance.sum(), x.var(axis=0).sum())
    variance = (x * weigh_inputs(x, [1, 1], np.array([0.0, 1.0]))).var(axis=0)
    np.testing.assert_allclose(variance[0] / variance[1], LEAST_SHARE / 2)


def test_columns_that_nothing_tells_apart_vary_as_much_as_each_other():
    x = RNG.normal(size=(50, 3)) * [1, 5, 0.2]
    variance = (x * weigh_inputs(x, [1, 1, 1], np.zeros(3))).var(axis=0)
    np.testing.assert_allclose(variance, x.var(axis=0).mean())


def test_no_input_becomes_very_large_because_it_is_rare():
    x = np.zeros((10_000, 2))
    x[:, 0], x[0, 1] = RNG.normal(size=10_000), 1
    assert weigh_inputs(x, [1, 1], np.array([0.0, 1.0]))[1] < 15


# Wrong targets

N = 400
HONEST = {
    "normal": lambda rng: rng.standard_normal(N),
    "incomes": lambda rng: np.exp(2 * rng.standard_normal(N)),
    "heavier incomes": lambda rng: -np.exp(3 * rng.standard_normal(N)),
    "Student, 2 degrees": lambda rng: rng.standard_t(2, N),
    "Cauchy": lambda rng: rng.standard_cauchy(N),
    "counts with many zeros": lambda rng: rng.poisson(0.2, N),
    "claims of few": lambda rng: np.where(rng.random(N) < 0.15, np.exp(7 + 1.5 * rng.standard_normal(N)), 0.0),
    "two groups": lambda rng: rng.standard_normal(N) + 1000 * (rng.random(N) < 0.5),
    "a small group": lambda rng: rng.standard_normal(N) + 1000 * (np.arange(N) < 5),
    "a constant and two others": lambda rng: np.where(np.arange(N) < 2, [[1e3], [5.0]][0], 0.0),
    "a constant": lambda rng: np.full(N, 3.0),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_targets_are_not_named(kind):
    draws = [HONEST[kind](np.random.default_rng(seed)).astype(float) for seed in range(20)]
    named = sum(len(find_wrong_targets(y, np.zeros(N))) for y in draws)
    assert named <= (kind == "Cauchy")  # whose tail is as heavy as the rule can know: 1 in 200 of such tables has one


@pytest.mark.parametrize("kind", ["normal", "Student, 2 degrees", "counts with many zeros", "two groups"])
@pytest.mark.parametrize("wrong", [[1e6], [-1e6], [99999.0, 99999.0], [1e5, -3e4, 2e6]])
def test_wrong_targets_are_named_the_farthest_first(kind, wrong):
    y = HONEST[kind](np.random.default_rng(0)).astype(float)
    rows = np.arange(100, 100 + len(wrong))
    y[rows] = wrong
    expected = rows[np.argsort(-np.abs(wrong), kind="stable")]
    np.testing.assert_array_equal(find_wrong_targets(y, np.zeros(N)), expected)
    np.testing.assert_array_equal(find_wrong_targets(y, np.full(N, np.nan)), expected)


def test_wrong_targets_are_those_that_are_not_predicted():
    y = np.random.default_rng(0).standard_normal(N)
    y[:3] = 500.0
    predicted = np.zeros(N)
    predicted[:2] = 400.0, 300.0
    assert find_wrong_targets(y, predicted).tolist() == [1, 2]


def test_how_far_outside_and_of_how_many():
    y = np.random.default_rng(0).standard_normal(N)
    for value, count in ((20.0, 0), (100.0, 1)):
        y[0] = value
        assert len(find_wrong_targets(y, np.zeros(N))) == count
    few, enough = (
        np.r_[1e6, np.random.default_rng(0).standard_normal(n)] for n in (50, 51)
    )  # an odd number has one at the median
    assert [len(find_wrong_targets(each, np.zeros(len(each)))) for each in (few, enough)] == [0, 1]
    many = np.r_[np.full(10, 1e6), np.random.default_rng(0).standard_normal(990)]
    assert len(find_wrong_targets(many, np.zeros(1000))) == 10
    assert len(find_wrong_targets(many[:-1], np.zeros(999))) == 0  # one in a hundred is the most


@pytest.mark.parametrize("kind", ["standard_normal", "standard_cauchy", "standard_exponential"])
def test_of_honest_errors_about_one_is_judged_a_false_alarm(kind):
    """Errors twice as large for predictions above the median, which the units follow; seven wrong ones stand out."""
    counts = list[int]()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        predicted = rng.standard_normal(N)
        errors = getattr(rng, kind)(N) * np.where(predicted > 0, 2.0, 1.0)
        half, false_alarms = judge_numbers(predicted + errors, predicted)
        counts.append(np.count_nonzero(false_alarms <= 1))
        assert np.mean(np.abs(errors) <= half) == pytest.approx(0.9, abs=0.01)
        errors[:7] = 1e7
        half, false_alarms = judge_numbers(predicted + errors, predicted)
        assert (false_alarms[:7] < 0.5).all()
        assert kind == "standard_cauchy" or half[predicted > 1].mean() > 1.1 * half[predicted < -1].mean()
    assert np.mean(counts) < 1.3
    assert judge_numbers(np.ones(N), np.ones(N))[1].min() == N


@pytest.mark.parametrize("noise", [0.0, 1.0, 1.5])
def test_of_classes_that_are_not_wrong_about_one_is_a_false_alarm(noise):
    """Noise in the logits makes the smallest probabilities too small."""
    counts = list[int]()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, (600, 3))
        right, p = softmax.value(logits, np), softmax.value(logits + noise * rng.standard_normal((600, 3)), np)
        y = (rng.random(600)[:, None] > right.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        own, false_alarms = judge_classes(y, p)
        np.testing.assert_array_equal(own, p[np.arange(600), y])
        assert (np.diff(false_alarms[np.argsort(own)]) >= 0).all()
        assert false_alarms.max() <= 600
        counts.append(np.count_nonzero(false_alarms <= 1))
    assert 0.5 < np.mean(counts) < 1.5


def test_ten_wrong_classes_stand_out_among_rows_that_are_easy_to_tell_apart():
    rng = np.random.default_rng(0)
    y, p = np.zeros(1000, int), np.linspace(0.001, 0.2, 1000)[:, None] * [-1, 1] + [1, 0]
    y[rng.random(1000) < p[:, 1]] = 1
    y[:10] = 1
    p[:10] = [1 - 1e-6, 1e-6]
    assert np.flatnonzero(judge_classes(y, p)[1] < 0.5).tolist() == [*range(10)]
    false_alarms = judge_classes(y, np.full((1000, 2), 0.5))[1]
    np.testing.assert_array_equal(false_alarms, 1000)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("wrong", "listed"), [(10, 10), (20, 0), (60, 0)])
def test_probabilities_that_are_rounded_to_0_are_judged_too(wrong, listed, dtype):
    """More rows than may be wrong are none."""
    y, p = np.arange(200) < wrong, np.tile([1, 0], (200, 1)).astype(dtype)
    p[100:] = np.linspace([0.5, 0.5], [0.9, 0.1], 100)
    own, false_alarms = judge_classes(y.astype(int), p)
    assert np.count_nonzero(false_alarms <= 1) == listed
    assert (own[false_alarms <= 1] == 0).all()


def test_classes_that_are_all_right_are_no_false_alarms():
    """Though those that tell how right the probabilities are hardly differ."""
    p = np.linspace([0.301, 0.699], [0.3, 0.7], 50_000)
    assert judge_classes(np.ones(50_000, int), p)[1].min() > 1000
