"""How far rows are from the training data."""

import pickle

import numpy as np
import pytest
from programs import oracle

from xpnet import Network
from xpnet.backends import to_host

N = 60
RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(N, 2))
# Columns that depend on one another, of other sizes and far from 0; the last one never varies
X = np.column_stack([BASE, BASE.sum(axis=1) + 0.3 * RNG.normal(size=N), np.zeros(N)]) * [1, 100, 0.1, 1] + [
    5,
    0,
    0,
    0.1,
]
NEW = np.stack([*X[:9], X.mean(axis=0), *(X[:9] + np.array([0.5, 0, -0.1, 0])), *(X[:3] + 0.1 * np.eye(4)[3])])


def network(n_in=4, **options):
    return Network([n_in, 3, 1], task="regression", seed=0, **options)


def novelty(model, x):
    return to_host(model.novelty(x))


def expected_novelty(x, new):
    """By its definition: the distance of each training row is measured from all others, one after the other."""
    own, distances = oracle.square_distances(x, new)
    return (own < distances[:, None]).sum(axis=1) / (len(x) + 1)


@pytest.mark.parametrize("standardize", [False, True])
def test_novelty_is_the_fraction_of_training_rows_that_are_nearer(place, standardize):
    net = network(standardize=standardize, dtype="float64", **place._asdict())
    if standardize:
        net.fit_scaling((X, X[:, 0]))
    net.fit_novelty(X)
    found = net.novelty(NEW)
    assert found.device == net.w[0].device
    np.testing.assert_allclose(to_host(found), expected_novelty(X, NEW), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_in", [8, 400])  # more are projected onto 256 directions
def test_of_new_rows_like_those_of_the_training_one_in_ten_is_farther_than_nine_tenths(n_in):
    """There may be fewer training rows than columns; and rows in which no column is unusual by itself are far away."""
    rng = np.random.default_rng(1)
    mixing = 1e-3 * rng.normal(size=(4, n_in))
    x, new = (rng.normal(size=(n, 4)) @ mixing + 1e-4 * rng.normal(size=(n, n_in)) for n in (200, 1000))
    units = np.geomspace(1.0, 1e5, n_in)
    x, new = x * units, new * units
    net = network(n_in)
    net.fit_novelty(x)
    assert 0.05 < (novelty(net, new) > 0.9).mean() < 0.13
    assert 0.4 < novelty(net, new).mean() < 0.55
    shuffled = np.stack([rng.permutation(column) for column in new.T], axis=-1)
    assert (novelty(net, shuffled) > 0.99).mean() > 0.95
    new[:, 0] += 30 * x[:, 0].std()  # the column with the smallest unit
    assert (novelty(net, new) > 0.99).mean() > 0.95


def test_novelty_is_kept_until_the_inputs_are_others(tmp_path):
    net = network(standardize=True)
    net.train((X, X[:, 0]), epochs=1, progress=False)
    net.fit_novelty(X)
    before = novelty(net, NEW)
    net.save(tmp_path / "net")
    content = (tmp_path / "net").read_bytes()
    assert not any(row.astype(dtype).tobytes() in content for row in X for dtype in ("f4", "f8"))
    net.w = net.w
    for twin in (pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "net"), net):
        np.testing.assert_array_equal(novelty(twin, NEW), before)
    np.testing.assert_allclose(novelty(net.to(dtype="float64"), NEW), before, atol=1.5 / N)  # a rank may be another
    for change in (
        lambda net: net.train((X, X[:, 0]), epochs=1, lr=0.0, progress=False),
        lambda net: net.minibatch_update((X, X[:, 0]), 0.1),
        lambda net: net.fit_scaling((X, X[:, 0])),
    ):
        twin = net.copy()
        change(twin)
        with pytest.raises(ValueError, match=r"^novelty needs to know the training data; call fit_novelty\(x\) with"):
            twin.novelty(X)


def test_rows_may_come_one_by_one_or_in_blocks_or_batches_or_as_bytes():
    net, wide = network(), Network([4, 100_000, 1], task="regression", init="zeros")  # which reads 41 rows at once
    for model in (net, wide):
        model.fit_novelty(X)
    np.testing.assert_allclose(novelty(wide, NEW), novelty(net, NEW), atol=1.5 / N)
    assert net.novelty(NEW[0]).shape == ()
    assert net.novelty(NEW[0]) == net.novelty(NEW)[0]
    np.testing.assert_array_equal(novelty(net, iter([NEW[:5], NEW[5:]])), novelty(net, NEW))
    pixels = np.random.default_rng(0).integers(0, 256, (N, 4), np.uint8)
    scaled, plain = network(scale=1 / 255), network()
    scaled.fit_novelty(pixels)
    plain.fit_novelty(pixels / 255)
    np.testing.assert_allclose(novelty(scaled, pixels), novelty(plain, pixels / 255), atol=1.5 / N)


def test_numbers_far_from_0_keep_their_digits():
    far, near = network(standardize=True), network(standardize=True)
    for net, shift in ((near, 0), (far, 1e9)):
        net.fit_scaling((X + shift, X[:, 0]))
        net.fit_novelty(X + shift)
    np.testing.assert_allclose(novelty(far, NEW + 1e9), novelty(near, NEW), atol=1.5 / N)


def test_at_most_9999_distances_are_kept():
    """Then no row seems farther than it is among all of them."""
    x, net = np.random.default_rng(0).normal(size=(20_000, 4)), network(dtype="float64")
    net.fit_novelty(x)
    rows = x[::40]
    assert net.novelty([[99.0] * 4]) == 0.9999
    squares = np.sort((x**2).sum(axis=1))  # nearly the distances
    np.testing.assert_allclose(net.novelty(rows), np.searchsorted(squares, (rows**2).sum(axis=1)) / 20_001, atol=0.02)
    assert net.novelty(x).mean() <= 0.5


def test_rows_that_cannot_be_fitted_change_nothing():
    net = network()
    net.fit_novelty(X)
    before = novelty(net, NEW)
    with pytest.raises(ValueError, match="fit_novelty needs at least 20 rows, and x has 19; give all training rows"):
        net.fit_novelty(X[:19])
    large = X.copy()
    large[3, 2] = 1e30
    message = (
        "fit_novelty squares the inputs, and some in column 2 of x, counted from 0, are too large for float32; scale"
    )
    with pytest.raises(ValueError, match=message):
        net.fit_novelty(large)
    np.testing.assert_array_equal(novelty(net, NEW), before)
    assert net.novelty([3e38, 0, 0, 0]) == np.float32(N / (N + 1))  # its square is infinite
