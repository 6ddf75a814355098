"""Targets that lie far outside of all others are named, and honest ones with heavy tails are not."""

import numpy as np
import pytest

from xpnet.tables._outliers import find_wrong_targets

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
    assert not any(len(find_wrong_targets(y, np.zeros(N))) for y in draws)


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
