"""Masks of dropout: the same bits on every backend and however a batch is cut, fair coins, and only in training."""

import copy
import itertools

import numpy as np
import pytest
from helpers import assert_same, snapshot
from hypothesis import given
from hypothesis import strategies as st
from test_backprop import layers_of

from xpnet import SGD, Adam, Network, get_backend
from xpnet.core.activations import sigmoid, softmax
from xpnet.core.dropout import drop, init_dropout, keep_mask
from xpnet.training.steps import ChunkRunner

# Trainings with dropout are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")

SIZES, N, M = [5, 4, 3], 23, 4  # 23 examples in minibatches of 4: the last holds 3
OPTIONS = {"batch_size": M, "lr": 0.5, "progress": False}


def problem():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, SIZES[0])), rng.uniform(size=(N, SIZES[-1]))


def network(place, dropout=0.5, dtype="float64", **options):
    options = {"sizes": SIZES, "seed": 3, **options}
    return Network(**options, dropout=dropout, dtype=dtype, **place._asdict())


# The hash


def mask(seed, step, layer, rows, units, rate, backend=None):
    """What `kept` says, as a NumPy array; integers are given as Python's."""
    backend = get_backend("numpy") if backend is None else backend

    def integers(values):
        return backend.asarray(np.array(values).astype(np.uint32).view(np.int32))

    places = (integers(list(rows)), integers(list(units)), integers([int(rate * 2**31)]))
    found = keep_mask(integers([seed]), integers([step]), layer, *places, backend.xp)
    assert found.dtype == backend.xp.bool
    return backend.to_numpy(found)


def mix(h):
    """Wellons' lowbias32, in whole numbers that do not overflow."""
    h ^= h >> 16
    h = h * 0x7FEB352D & 0xFFFFFFFF
    h ^= h >> 15
    h = h * 0x846CA68B & 0xFFFFFFFF
    return h ^ (h >> 16)


def stays(seed, step, layer, row, unit, rate):
    """Whether one unit stays, from the definition."""
    key = mix(mix(mix(seed) ^ step) ^ (layer + 1))
    return mix((mix(key ^ row) + unit * 0x9E3779B9) & 0xFFFFFFFF) & 0x7FFFFFFF >= int(rate * 2**31)


def expected(seed, step, layer, m, n, rate):
    return np.array([[stays(seed, step, layer, row, unit, rate) for unit in range(n)] for row in range(m)])


PLACES_IN_TIME = list(itertools.product([0, 1, 2**31, 2**32 - 1, 2718281828], [0, 1, 12345, 2**31 - 1], [0, 1, 5]))


@pytest.mark.on("torch")
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 1e-9, 1 - 1e-9])
def test_masks_are_the_same_bits_on_every_backend(backend, rate):
    """Against whole numbers of Python, so the sign bit, wrapping products and shifts are all looked at."""
    for seed, step, layer in PLACES_IN_TIME:
        found = mask(seed, step, layer, range(5), range(7), rate, backend)
        np.testing.assert_array_equal(found, expected(seed, step, layer, 5, 7, rate))


@given(
    rows=st.lists(st.integers(0, 40), min_size=1, max_size=9),
    units=st.lists(st.integers(0, 40), min_size=1, max_size=9),
    rate=st.floats(0.05, 0.95),
)
def test_any_rows_and_units_in_any_order_are_those_of_the_whole(rows, units, rate):
    whole = mask(7, 9, 1, range(41), range(41), rate)
    np.testing.assert_array_equal(mask(7, 9, 1, rows, units, rate), whole[rows][:, units])


# The statistics: of bits that are always the same, so these pass or fail for good. There are 5 bounds of 4 standard
# deviations on rates, 33 on correlations and 6 on counts; chance alone would miss one of them in 360 such files.

SIDE = range(1000)


@pytest.mark.parametrize(
    ("rate", "where"),
    [(0.1, (0, 0, 0)), (0.5, (0, 0, 1)), (0.8, (1, 0, 1)), (0.1, (2**32 - 1, 100_000, 2)), (0.5, (99, 1, 7))],
)
def test_a_million_draws_keep_their_rate_within_four_sigma(rate, where):
    share = mask(*where, SIDE, SIDE, rate).mean()
    assert abs(share - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / 1e6)


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "where"), [(0.1, (0, 0, 0)), (0.5, (31337, 1000, 1)), (0.8, (0, 0, 0))])
def test_neighbours_do_not_know_of_each_other(rate, where):
    """Of steps, layers, seeds, rows and units that differ by a lag: no correlation beyond 4 / √n."""
    seed, step, layer = where
    base = mask(seed, step, layer, SIDE, SIDE, rate)
    found = []
    for lag in (1, 16):
        found.append(correlation(base, mask(seed, step, layer, range(lag, 1000 + lag), SIDE, rate)))
        found.append(correlation(base, mask(seed, step, layer, SIDE, range(lag, 1000 + lag), rate)))
        found.append(correlation(base, mask(seed, step + lag, layer, SIDE, SIDE, rate)))
        found.append(correlation(base, mask(seed, step, layer + lag, SIDE, SIDE, rate)))
        found.append(correlation(base, mask(seed + lag, step, layer, SIDE, SIDE, rate)))
    found.append(correlation(base, base.T))  # rows do to units what units do to rows
    assert len(found) == 11
    assert np.abs(found).max() < 4 / np.sqrt(1e6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_rows_and_units_keep_as_many_as_coins_would(rate):
    """The variance of the counts, relative to the binomial one, has standard deviation √(2 / 1000): no unit is dead."""
    counts = mask(5, 6, 1, SIDE, SIDE, rate)
    for axis in (0, 1):
        ratio = counts.sum(axis=axis).var(ddof=1) / (1000 * rate * (1 - rate))
        assert abs(ratio - 1) < 4 * np.sqrt(2 / 1000)


# A step


def written_out(layers, activations, masks, x, y):
    """One step of gradient descent at η = 1 on the quadratic cost with sigmoid outputs; masks times 1 / (1 − rate)."""
    value = {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    }
    pull = {"sigmoid": lambda g, a: g * a * (1 - a), "softmax": lambda g, a: a * (g - (g * a).sum(1, keepdims=True))}
    seen, whole = [x * masks[0]], []  # activations with and without their masks
    for (w, b), name, kept_ in zip(layers, [*activations, "sigmoid"], [*masks[1:], 1.0], strict=True):
        whole.append(value[name](seen[-1] @ w.T + b))
        seen.append(whole[-1] * kept_)
    delta = pull["sigmoid"]((seen[-1] - y) / len(x), whole[-1])
    moved = []
    for l in reversed(range(len(layers))):
        w, b = layers[l]
        moved.insert(0, (w - delta.T @ seen[l], b - delta.sum(axis=0)))
        if l:
            delta = pull[activations[l - 1]]((delta @ w) * masks[l], whole[l - 1])
    return moved


@pytest.mark.parametrize(
    ("activations", "rates"),
    [
        (["sigmoid", "sigmoid"], [0.0, 0.5, 0.0]),
        (["softmax", "sigmoid"], [0.3, 0.0, 0.0]),
        (["sigmoid", "softmax"], [0.0, 0.0, 0.6]),
        (["softmax", "sigmoid"], [0.2, 0.5, 0.4]),
    ],
)
def test_steps_are_those_of_the_masks_and_each_has_its_own(place, activations, rates):
    """Two full-batch steps, in calls of their own: row i of a mask is that of the i-th example in the drawn order."""
    sizes, n = [5, 6, 4, 3], 8
    net = network(place, rates, sizes=sizes, activation=activations)
    rng, x, y = copy.deepcopy(net.rng), *(part[:n] for part in problem())
    layers = layers_of(net)
    for step in range(2):
        order = rng.permutation(n)
        masks = [
            expected(net.seeds.dropout, step, layer, n, size, rate) / (1 - rate)
            for layer, (size, rate) in enumerate(zip(sizes, rates))
        ]
        assert any(0 < (m == 0).mean() < 1 for m in masks)
        layers = written_out(layers, activations, masks, x[order], y[order])
        net.train((x, y), epochs=1, batch_size=n, lr=1.0, progress=False)
        for (w, b), (ew, eb) in zip(layers_of(net), layers, strict=True):
            np.testing.assert_allclose(w, ew, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(b, eb, rtol=1e-10, atol=1e-12)


def test_dropping_preserves_the_mean(backend):
    """Over m rows an activation a has standard error a √(rate / (1 − rate) / m): 4 of them, for 3 + 4 units."""
    m, rates = 40_000, [0.2, 0.6]
    x = np.tile([0.5, -2.0, 3.0], (m, 1))
    z = np.tile([-1.0, 0.0, 0.5, 2.0], (m, 1))
    w, b = np.zeros((4, 3)), np.zeros((1, 4))
    with backend.scope("float64"):
        state = init_dropout(11, rates)
        state = state._replace(
            **{name: backend.asarray(getattr(state, name)) for name in ("seed", "step")},
            thresholds=tuple(backend.asarray(each) for each in state.thresholds),
            scales=tuple(backend.asarray(each) for each in state.scales),
        )
        put = [backend.asarray(each) for each in (x, z, w, b)]
        seen, (dropped, *_), after = drop(state, [sigmoid, softmax], put[0], (tuple(put[2:]),), backend.xp)
        a = backend.to_numpy(dropped.value(put[1], backend.xp))
        seen, step = backend.to_numpy(seen), backend.to_numpy(after.step)
    for got, whole, rate in ((seen, x, rates[0]), (a, 1 / (1 + np.exp(-z)), rates[1])):
        error = np.abs(whole[0]) * np.sqrt(rate / (1 - rate) / m)
        assert (np.abs(got.mean(axis=0) - whole[0]) < 4 * error).all()
        np.testing.assert_allclose(got[got != 0], (whole / (1 - rate))[got != 0], rtol=1e-12)
    assert step.tolist() == [1]


# In training and nowhere else


def test_outside_training_nothing_is_dropped(place, dtype):
    x, y = problem()
    net, plain = network(place, [0.3, 0.8], dtype), network(place, 0.0, dtype)
    net.train((x, y), epochs=1, **OPTIONS)
    plain.layers = net.layers
    state = snapshot(net)

    def looks(net):
        gradient = [part for layer in net.backward(x, y) for part in layer]
        arrays = [net.forward(x), net.predict(x), net.forward(x[0]), *net.activations(x), *net.deltas(x, y), *gradient]
        return [net.backend.to_numpy(array) for array in arrays] + [net.cost((x, y)), net.evaluate((x, y))]

    for got, again, without in zip(looks(net), looks(net), looks(plain), strict=True):
        np.testing.assert_array_equal(got, again)
        np.testing.assert_array_equal(got, without)
    assert_same(net, state)
    for each in (net, plain):
        each.minibatch_update((x, y), 0.5)
    for (w, b), (ew, eb) in zip(layers_of(net), layers_of(plain), strict=True):
        np.testing.assert_array_equal(w, ew)
        np.testing.assert_array_equal(b, eb)
    np.testing.assert_array_equal(snapshot(net).dropout.step, state.dropout.step)


def test_validation_is_without_dropout(place):
    net = network(place)
    history = net.train(problem(), epochs=2, validation_data=problem(), **OPTIONS)
    assert history["validation_cost"][-1] == net.cost(problem())


def test_initial_weights_and_minibatches_do_not_depend_on_dropout(place):
    net, plain = network(place), network(place, 0.0)
    for (w, b), (ew, eb) in zip(layers_of(net), layers_of(plain), strict=True):
        np.testing.assert_array_equal(w, ew)
        np.testing.assert_array_equal(b, eb)
    for each in (net, plain):
        each.train(problem(), epochs=1, **OPTIONS)
    assert net.rng.bit_generator.state == plain.rng.bit_generator.state
    assert not np.array_equal(layers_of(net)[0][0], layers_of(plain)[0][0])


@pytest.mark.parametrize("rate", [0.0, 0, [0.0, 0.0], (0, 0)], ids=str)
def test_rate_zero_is_the_identity(place, dtype, rate):
    plain = Network(SIZES, dtype=dtype, seed=3, **place._asdict())
    net = network(place, rate, dtype)
    for each in (net, plain):
        each.train(problem(), epochs=2, **OPTIONS)
    assert_same(net, snapshot(plain))


def test_a_number_is_the_rate_of_every_hidden_layer_and_of_no_input(place):
    one, several = (network(place, rates, sizes=[5, 4, 4, 3]) for rates in (0.5, [0.0, 0.5, 0.5]))
    for each in (one, several):
        each.train(problem(), epochs=2, **OPTIONS)
    assert one.dropout == several.dropout == [0.0, 0.5, 0.5]
    assert_same(one, snapshot(several))


def test_inputs_drop_where_there_are_no_hidden_layers(place):
    net, plain = (network(place, rates, sizes=[5, 3]) for rates in ([0.5], 0.0))
    for each in (net, plain):
        each.train(problem(), epochs=1, **OPTIONS)
    assert not np.array_equal(layers_of(net)[0][0], layers_of(plain)[0][0])


# Going on


@pytest.mark.not_on("strict-device1", "torch")
@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=lambda each: type(each).__name__)
def test_two_trainings_are_one(place, dtype, optimizer):
    whole, parts, again = (network(place, [0.2, 0.5], dtype) for _ in range(3))
    whole.train(problem(), epochs=5, optimizer=optimizer, **OPTIONS)
    for epochs in (2, 3):
        parts.train(problem(), epochs=epochs, optimizer=optimizer, **OPTIONS)
    assert_same(parts, snapshot(whole))
    assert snapshot(whole).dropout.step.tolist() == [5 * 6]
    # masks do not begin anew with each call
    again.train(problem(), epochs=2, optimizer=optimizer, **OPTIONS)
    with again.backend.scope(dtype):
        dropout = init_dropout(again.seeds.dropout, again.dropout)
        again.state = again.state._replace(dropout=again.backend.copy_nest(dropout, dtype))
    again.train(problem(), epochs=3, optimizer=optimizer, **OPTIONS)
    assert not np.array_equal(layers_of(again)[0][0], layers_of(whole)[0][0])


def test_an_interruption_gives_back_the_step(place, monkeypatch):
    """The interruption comes when the steps are done."""
    net = network(place)
    net.train(problem(), epochs=1, **OPTIONS)
    twin, before, run = net.copy(), snapshot(net), ChunkRunner.run

    def interrupted(*args):
        run(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(ChunkRunner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.train(problem(), epochs=1, **OPTIONS)
    monkeypatch.undo()
    assert_same(net, before)
    net.rng = copy.deepcopy(twin.rng)
    for each in (net, twin):
        each.train(problem(), epochs=2, **OPTIONS)
    assert_same(net, snapshot(twin))


def test_the_step_counter_wraps_without_a_warning(place, dtype):
    net = network(place, 0.5, dtype)
    with net.backend.scope(dtype):
        step = net.backend.asarray(np.array([2**31 - 3], np.int32))
    net.state = net.state._replace(dropout=net.state.dropout._replace(step=step))
    net.train(problem(), epochs=1, **OPTIONS)
    assert snapshot(net).dropout.step.tolist() == [2**31 - 3 + 6 - 2**32]


# Wrong rates


@pytest.mark.parametrize("wrong", [1.0, 1, -0.1, float("nan"), float("inf"), "half", None, True])
@pytest.mark.parametrize("several", [False, True])
def test_a_rate_out_of_range_is_refused(wrong, several):
    message = r"^dropout=.* must be in \[0, 1\); 0 turns it off, 0\.5 is usual for hidden layers$"
    with pytest.raises(ValueError, match=message) as caught:
        Network(SIZES, dropout=[0.1, wrong] if several else wrong)
    assert repr(wrong) in str(caught.value)


@pytest.mark.parametrize("rates", [[], [0.5], [0.1, 0.5, 0.5], (0.5,)])
def test_a_wrong_number_of_rates_is_refused(rates):
    message = rf"has {len(rates)} rates, but there are 2 layers that can drop: the inputs and 1 hidden ones"
    with pytest.raises(ValueError, match=message):
        Network(SIZES, dropout=rates)


def test_dropout_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match=r"dropout=0\.5 is for hidden layers, .*none; for the inputs give \[0\.5\]"):
        Network([5, 3], dropout=0.5)
    assert Network([5, 3], dropout=0.0).dropout == [0.0]


def test_repr_names_the_rates():
    assert "dropout=[0.0, 0.5]" in repr(Network(SIZES, dropout=0.5))
    assert "dropout" not in repr(Network(SIZES, dropout=[0.0, 0.0]))
