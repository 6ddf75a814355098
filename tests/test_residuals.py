"""Differential equations: the derivatives in them, and networks that solve them."""

import math
from itertools import pairwise

import host_cupy
import numpy as np
import pytest
from helpers import assert_same, snapshot

from xpnet import SGD, Callback, DivergenceError, EarlyStopping, LevenbergMarquardt, Network, ReduceLROnPlateau, Term
from xpnet.core.activations import ACTIVATIONS, Activation
from xpnet.core.arrays import split_layers
from xpnet.physics._residuals import evaluate, linearize, mean_cost
from xpnet.physics._taylor import Series, pull_rows, taylor
from xpnet.value import Objective

RNG = np.random.default_rng(0)
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64", "seed": 0}


def make(sizes=(1, 8, 1), **options):
    return Network(list(sizes), **{**OPTIONS, **options})


def on(backend, function, *arrays):
    """Compute a function of float64 arrays and their namespace; return arrays of NumPy."""
    with backend.scope("float64"):
        result = function(*(backend.asarray(x, "float64") for x in arrays), backend.xp)
        return [backend.to_numpy(x) for x in (result if isinstance(result, (list, tuple)) else [result])]


def flatten(layers):
    return np.concatenate([np.asarray(part).ravel() for layer in layers for part in layer])


def unflatten(parameters, sizes, xp):
    """Layers of a vector of weights and biases, of any library."""
    shapes = tuple((np.empty((n_out, n_in)), np.empty((1, n_out))) for n_in, n_out in pairwise(sizes))
    return split_layers(parameters[:, None], shapes, xp)


def central(function, parameters, h=1e-6):
    """The derivatives of an array by each parameter, along a last axis."""
    units = h * np.eye(len(parameters))
    return np.stack([(function(parameters + e) - function(parameters - e)) / (2 * h) for e in units], axis=-1)


X = RNG.uniform(-1, 1, (5, 2))
SMOOTH = [name for name in ACTIVATIONS if name != "softmax"]


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_outputs_by_inputs_and_weights(backend, name):
    sizes, sigma = (2, 3, 2, 2), ACTIVATIONS[name]
    net = make(sizes, activation=name, seed=3)
    net.b = [np.array([0.3, -0.2, 0.4])[: len(b)] for b in net.b]  # away from kinks
    parameters = flatten(net.layers)
    g = [RNG.standard_normal(shape) for shape in ((5, 2), (2, 5, 2), (2, 5, 2))]

    def outputs(parameters, x, xp):
        sigmas = (sigma, sigma, ACTIVATIONS["identity"])
        return taylor(unflatten(parameters, sizes, xp), sigmas, x, xp)[0]

    def rows(parameters, x, g0, g1, g2, xp):
        sigmas, layers = (sigma, sigma, ACTIVATIONS["identity"]), unflatten(parameters, sizes, xp)
        return pull_rows(layers, taylor(layers, sigmas, x, xp)[1], Series(g0, g1, g2), xp)

    u, du, ddu = on(backend, outputs, parameters, X)
    np.testing.assert_allclose(u, net.forward(X), rtol=1e-12)
    np.testing.assert_allclose(du, np.moveaxis(net.jacobian(X), -1, 0), rtol=1e-10, atol=1e-13)
    second = np.diagonal(net.hessian(X), axis1=2, axis2=3)
    np.testing.assert_allclose(ddu, np.moveaxis(second, -1, 0), rtol=1e-10, atol=1e-13)

    def product(parameters):
        parts = on(backend, outputs, parameters, X)
        return sum((part * weights).reshape(-1, 5, 2).sum(axis=(0, 2)) for part, weights in zip(parts, g, strict=True))

    (jacobian,) = on(backend, rows, parameters, X, *g)
    np.testing.assert_allclose(jacobian, central(product, parameters), rtol=1e-5, atol=1e-9 * np.abs(jacobian).max())


def test_derivatives_of_second_derivatives_are_those_of_sympy(backend):
    """Of σ(w x + b) v + c, with a closed form of the slopes of σ, and without one."""
    sympy = pytest.importorskip("sympy")
    w, b, v, c, x = symbols = sympy.symbols("w b v c x")
    at = (0.7, -0.3, 1.3, 0.4), np.array([[0.5], [-1.2]])
    for sigma, function in (("tanh", sympy.tanh), ("sigmoid", lambda z: 1 / (1 + sympy.exp(-z)))):
        second = sympy.diff(v * function(w * x + b) + c, x, 2)
        exact = [sympy.lambdify(symbols, sympy.diff(second, one))(*at[0], at[1][:, 0]) for one in symbols[:4]]

        def rows(parameters, x, xp, sigma=sigma):
            sigmas, layers = (ACTIVATIONS[sigma], ACTIVATIONS["identity"]), unflatten(parameters, (1, 1, 1), xp)
            one = xp.ones_like(x)[None, ...]
            zeros = xp.zeros_like(one)
            g = Series(xp.zeros_like(x), zeros, one)
            return pull_rows(layers, taylor(layers, sigmas, x, xp)[1], g, xp)

        (ours,) = on(backend, rows, np.array(at[0]), at[1])
        np.testing.assert_allclose(ours, np.stack(np.broadcast_arrays(*exact), axis=1), rtol=1e-12, atol=1e-15)


def burgers_with_a_twist(x, u, du, ddu, xp, nu, k):
    """Nonlinear in all it gets, with two outputs; (m,)."""
    return (du[1] * u + xp.sin(k * x) * ddu[0] * du[0] - nu**2 * ddu[1])[:, 0] + u[:, 1] * du[0][:, 1]


@pytest.mark.not_on("jax", host_cupy.NAME)  # compiles for ten seconds; lacks cuSOLVER
@pytest.mark.parametrize("m", [5, 60], ids=["few points", "many points"])
def test_the_linear_problem_of_nonlinear_residuals(backend, m):
    sizes, x = (2, 3, 2), np.random.default_rng(1).uniform(-1, 1, (m, 2))
    start = np.concatenate([flatten(make(sizes, seed=1).layers), [0.4, 1.5]])
    sigmas = (ACTIVATIONS["tanh"], ACTIVATIONS["identity"])

    def call(function):
        def of_arrays(parameters, x, y, xp):
            terms = [
                Term(burgers_with_a_twist, x, weight=3.0),
                Term(lambda x, u, du, ddu, xp, k, **_: u[:, :1] - k * x[:, 1:], y, weight=0.5),
            ]
            coefficients = {"nu": parameters[-2], "k": parameters[-1]}
            return function(terms, unflatten(parameters, sizes, xp), sigmas, coefficients, xp)

        return lambda parameters: on(backend, of_arrays, parameters, x, x[:3])

    def residuals(terms, *arguments):
        return [math.sqrt(term.weight / term.x.shape[0]) * evaluate(term, *arguments) for term in terms]

    def equations(*arguments):
        return [*linearize(*arguments)[:4], linearize(*arguments).solve(0.1, arguments[-1])]

    r = np.concatenate(call(residuals)(start))
    jacobian = central(lambda p: np.concatenate(call(residuals)(p))[:, 0], start)
    _, gradient, largest, cost, step = call(equations)(start)
    np.testing.assert_allclose(gradient, jacobian.T @ r, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(largest, (jacobian**2).sum(axis=0).max(), rtol=1e-6)
    np.testing.assert_allclose(cost, 0.5 * (r**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(call(mean_cost)(start)[0], cost, rtol=1e-12)
    damped = jacobian.T @ jacobian + 0.1 * np.eye(len(start))
    np.testing.assert_allclose(step, -np.linalg.solve(damped, jacobian.T @ r), rtol=1e-5, atol=1e-7)


LINE = np.linspace(0, 1, 20)[:, None]
DECAY = Term(lambda x, u, du, ddu, xp, c: du[0] + c * u, LINE)
START = Term(lambda x, u, *_: u - 1.0, [[0.0]])
END = Term(lambda x, u, *_: u - math.exp(-2.0), [[1.0]])


@pytest.mark.not_on(host_cupy.NAME)
def test_a_network_solves_an_equation_and_learns_its_coefficient(place):
    """u′ = −c u with u(0) = 1 and u(1) = e⁻², so c = 2 and u(½) = 1/e."""
    net = make(**place._asdict())
    history = net.solve([DECAY, START, END], steps=40, coefficients={"c": 1.0}, progress=False)
    assert history["c"][-1] == pytest.approx(2.0, abs=2e-4)
    assert net.backend.to_numpy(net.forward([[0.5]])) == pytest.approx(np.exp(-1.0), abs=2e-5)
    assert history is net.history
    assert history["epoch"] == [*range(1, 41)]
    assert (np.diff(history["cost"]) <= 0).all()
    how = "damping=0.001, bayesian=False); epochs=40, batch_size=22, sampling='residuals of 3 terms, learning c'"
    assert f"Trained by LevenbergMarquardt(weight_decay=0.0, {how}" in str(net.provenance)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), LevenbergMarquardt()])
def test_a_network_keeps_its_own_optimizer(optimizer):
    net, x = make(), np.tile(LINE, (4, 1))
    net.train((x, x), 2, optimizer=optimizer, progress=False)
    before = net.value
    net.solve([Term(lambda x, u, *_: u - 2.0, x)], 3, progress=False)
    assert "bayesian=False); epochs=3, batch_size=80, sampling='residuals of 1 terms'" in str(net.provenance)
    assert net.optimizer == optimizer
    assert net.value.state.optimizer is before.state.optimizer
    assert net.value.generator == before.generator


def test_coefficients_are_those_of_a_fit_of_the_exact_solution():
    """Of an oscillator, from noisy observations, by SciPy."""
    from scipy.optimize import curve_fit

    def exact(t, c, omega):
        w = np.sqrt(omega**2 - c**2)
        return np.exp(-c * t) * (np.cos(w * t) + c / w * np.sin(w * t))

    rng = np.random.default_rng(0)
    times = rng.uniform(0, 1, 30)
    observations = exact(times, 1.0, 8.0) + 0.05 * rng.standard_normal(30)
    expected, covariance = curve_fit(exact, times, observations, p0=[0.5, 7.0])

    def oscillator(t, u, du, ddu, xp, c, k):
        return (ddu[0] + 2 * c * du[0]) / 64 + k * u

    terms = [
        Term(oscillator, np.linspace(0, 1, 60)[:, None], weight=100.0),
        Term(lambda t, u, du, ddu, xp: u[:, 0] - xp.asarray(observations), times[:, None]),
        Term(START.residual, [[0.0]], weight=10.0),
        Term(lambda t, u, du, ddu, xp: du[0] / 8, [[0.0]], weight=10.0),
    ]
    last = make((1, 12, 12, 1)).solve(terms, 150, coefficients={"c": 0.0, "k": 0.5}, progress=False)[-1]
    found = np.array([last["c"], 8 * last["k"] ** 0.5])
    assert (np.abs(found - expected) < 0.2 * np.sqrt(np.diag(covariance))).all()


@pytest.mark.parametrize(("argument", "remedy"), [("slopes=", "Ensemble"), ("solve", "calibrate")])
def test_error_bars_need_weights_that_were_fitted_to_targets_alone(argument, remedy, tmp_path):
    net, train = make(), {"epochs": 2, "lr": 0.1, "progress": False}
    if argument == "solve":
        net.solve([START], 3, progress=False)
    else:
        net.train((LINE, LINE), slopes=1.0 + 0.0 * LINE, **train)
    net.save(tmp_path / "net")
    before = net.value
    for each in (net, net.copy(), Network.load(tmp_path / "net")):
        with pytest.raises(ValueError, match=f"the weights were fitted by {argument}, which .*{remedy}"):
            each.fit_laplace((LINE, LINE))
    assert net.value is before
    net.train((LINE, LINE), **train)
    net.fit_laplace((LINE, LINE))


def test_the_cost_is_the_weighted_mean_of_squared_residuals():
    net = make()
    start = Term(START.residual, START.x, weight=10.0)
    cost = net.solve([Term(lambda x, u, du, ddu, xp: du[0] + u, LINE), start], steps=5, progress=False)["cost"][-1]
    r = net.jacobian(LINE)[:, 0] + net.forward(LINE)
    assert cost == pytest.approx(0.5 * (r**2).mean() + 5.0 * (net.forward([0.0])[0] - 1.0) ** 2, rel=1e-10)


def test_fewer_points_than_weights_take_the_same_steps():
    """25 parameters and 7 residuals; the same points four times have the same cost, and 28."""
    points, nets = LINE[::3], [make(), make()]
    for net, x in zip(nets, (points[:6], np.tile(points[:6], (4, 1))), strict=True):
        start = Term(START.residual, np.zeros((len(x) // 6, 1)))
        net.solve([Term(lambda x, u, du, ddu, xp: du[0] + u, x), start], steps=8, progress=False)
    np.testing.assert_allclose(flatten(nets[0].layers), flatten(nets[1].layers), rtol=1e-6)


def draw_line(rng, n):
    return rng.uniform(0, 1, (n, 1))


def spike(x, u, du, ddu, xp):
    return 0.001 * u + 10.0 * xp.astype(x > 0.9, u.dtype)


@pytest.mark.parametrize("redraw", [1, 2])
def test_points_are_drawn_anew_where_residuals_are_large(redraw):
    """A tenth of the region of draws has nearly all of the residuals."""
    seen, calls = [], []

    def residual(x, *others):
        seen.append(x)
        return spike(x, *others)

    def draw(rng, n):
        calls.append(n)
        return rng.uniform(0, 1, (n, 1))

    results = []
    for _ in range(2):
        net = make()
        terms = [Term(residual, LINE, draw=draw), START]
        history = net.solve(terms, steps=5, redraw=redraw, progress=False)
        results.append((net.fingerprint(), history["cost"]))
    assert results[0] == results[1]
    assert net.value.generator != make().value.generator
    assert calls == [200] * (8 if redraw == 1 else 4)
    plain = [x for x in seen if isinstance(x, np.ndarray) and len(x) == 20]
    assert plain[0] is not plain[-1]
    assert all(len(np.unique(x)) == len(x) for x in plain)  # no point is drawn twice
    assert (plain[0] > 0.9).mean() == 0.1
    assert (plain[-1] > 0.9).mean() > 0.3
    assert terms[0].x is LINE


def test_a_second_call_goes_on_with_weights_and_coefficients(place, tmp_path):
    """Other first values, or weights, begin anew."""
    terms, call = [DECAY, START, END], {"coefficients": {"c": 1.0}, "progress": False}
    net = make(**place._asdict())
    found = net.solve(terms, 12, **call)["c"][-1]
    assert net.copy().solve([DECAY, END], 1, **call, damping=1e9)["c"] == [pytest.approx(found, abs=1e-3)]
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net", **place._asdict())
    assert loaded.fingerprint() == net.fingerprint()
    assert loaded.value.objective == net.value.objective == net.copy().value.objective
    loaded.value = loaded.value._replace(objective=Objective())
    assert loaded.fingerprint() != net.fingerprint()
    for other in ({"c": 1.5}, {"c": 1.5, "k": 1.0}):
        terms = [*terms, Term(lambda x, u, du, ddu, xp, k: 0.0 * k + 0.0 * u, LINE)] if "k" in other else terms
        begun = net.copy().solve(terms, 1, coefficients=other, damping=1e9, progress=False)
        assert begun["c"] == [pytest.approx(1.5, abs=1e-3)]
    net.layers = net.layers
    assert net.solve([DECAY, END], 1, **call, damping=1e9)["c"] == [pytest.approx(1.0, abs=1e-3)]


def test_the_best_step_has_its_own_coefficients():
    class Distance(Callback):
        adds = ("distance",)

        def on_epoch_end(self, logs):
            logs["distance"] = abs(logs["c"] - 1.6)

    net, terms, call = make(), [DECAY, START, END], {"coefficients": {"c": 1.0}, "progress": False}
    best = EarlyStopping(30, monitor="distance", mode="min")
    history = net.solve(terms, 20, **call, callbacks=[Distance(), best])
    assert best.best_epoch < 20
    assert net.value.objective.coefficients == {"c": (1.0, history["c"][best.best_epoch - 1])}
    assert history["c"][-1] != history["c"][best.best_epoch - 1]
    value = net.value

    class Return(Callback):
        def on_train_begin(self, training):
            self.training = training

        def on_epoch_end(self, logs):
            if logs["epoch"] == 10:
                self.training.value = value

    call |= {"damping": 1e6}  # short steps
    other = net.copy()
    other.solve(terms, 10, coefficients={"c": 1.0}, progress=False)
    assert other.solve(terms, 11, **call, callbacks=[Return()])["c"][-1] == pytest.approx(
        history["c"][best.best_epoch - 1], abs=1e-3
    )


def test_a_value_that_a_callback_gives_brings_its_coefficients_or_keeps_them():
    class Give(Callback):
        def __init__(self, change):
            self.change = change

        def on_train_begin(self, training):
            self.training, self.first = training, training.value

        def on_epoch_end(self, logs):
            if logs["epoch"] == 5:
                self.training.value = self.change(self.first, self.training.value)

    def solve(change):
        call = {"coefficients": {"c": 1.0}, "callbacks": [Give(change)], "progress": False}
        return make().solve([DECAY, START, END], 8, **call)["c"]

    plain, other = solve(lambda first, now: now), Objective(coefficients={"c": (1.0, 5.0)})
    begun_again = solve(lambda first, now: first)
    assert begun_again == solve(lambda first, now: first._replace(objective=now.objective))
    assert begun_again[5:] != plain[5:]
    assert solve(lambda first, now: now._replace(objective=other))[5:] != plain[5:]


class StopAt(Callback):
    """Raise an exception after a step."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_epoch_end(self, logs):
        if logs["epoch"] == self.step:
            raise self.error


def test_an_interrupt_leaves_the_network_with_the_best_weights_so_far():
    whole, stopped = make(), make()
    history = whole.solve([DECAY, START, END], steps=3, coefficients={"c": 1.0}, progress=False)
    callbacks = [StopAt(3, KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        stopped.solve([DECAY, START, END], steps=9, coefficients={"c": 1.0}, callbacks=callbacks, progress=False)
    assert_same(stopped, snapshot(whole))
    assert stopped.history["c"] == history["c"]


def test_callbacks_watch_and_change_it(tmp_path):
    net, path = make(), tmp_path / "net.safetensors"
    early = EarlyStopping(monitor="cost", patience=2, min_delta=1e-3, restore_best=True)
    history = net.solve([DECAY, START, END], coefficients={"c": 1.0}, callbacks=[early], progress=False)
    assert len(history) < 30
    net.save(path)
    assert Network.load(path).history["c"] == history["c"]

    class Reset(Callback):
        def on_train_begin(self, training):
            self.training, self.first = training, training.value

        def on_epoch_end(self, logs):
            if logs["epoch"] == 4:
                self.training.value = self.first

    again = net.solve([DECAY, START, END], 5, coefficients={"c": 1.0}, callbacks=[Reset()], progress=False)
    assert again["cost"][4] > again["cost"][3]


def test_it_ends_where_no_step_lowers_the_cost():
    net = make()
    with pytest.warns(UserWarning, match="none of the .* steps of solve lowered the cost, 0.5; the"):
        history = net.solve([Term(lambda x, u, *_: 0.0 * u + 1.0, LINE)], progress=False)
    assert len(history) < 25
    assert history["cost"] == [0.5] * len(history)
    with pytest.raises(KeyboardInterrupt):  # and no warning
        net.solve(
            [Term(lambda x, u, *_: 0.0 * u + 1.0, LINE)], callbacks=[StopAt(3, KeyboardInterrupt())], progress=False
        )
    with pytest.warns(UserWarning, match="none of the 60 steps of solve"):
        history = net.solve([Term(lambda x, u, *_: 0.0 * u + x, LINE, draw=draw_line)], 60, redraw=30, progress=False)
    assert [*dict.fromkeys(history["cost"])] == [history["cost"][0], history["cost"][-1]]  # those of the drawn points


def own_soft(z, xp):
    return z / xp.sum(xp.abs(z), axis=-1, keepdims=True)


OWN = Activation("own", own_soft, lambda g, z, a, xp: g)
REFUSED = [
    ({"dtype": "float32"}, {}, 'solve needs float64, and the network has float32; give dtype="float64"'),
    (
        {"standardize": True},
        {},
        "it does not go with standardize=True, a scaling or scale=; leave them out, and",
    ),
    ({"scale": 0.5}, {}, "it does not go with standardize=True, a scaling or scale=; leave them out, and choose"),
    ({"dropout": 0.5}, {}, r"solve does not go with dropout=\[0.0, 0.5\]; leave dropout out"),
    ({"activation": "softmax"}, {}, "activations that act on each unit by itself, unlike 'softmax'; give a smooth one"),
    ({"activation": OWN}, {}, "solve needs activations that act on each unit by itself, unlike 'own'"),
    ({}, {"terms": DECAY}, r"terms=Term\(.* must be a list of xpnet.Term, one for each equation"),
    ({}, {"terms": []}, r"terms=\[\] must be a list of xpnet.Term"),
    ({}, {"terms": [Term(spike, [[0.0, 1.0]])]}, r"x of term 0 has shape \(1, 2\), but must have \(n, 1\)"),
    ({}, {"terms": [Term(spike, [[np.nan]])]}, "x of term 0 holds NaN or infinity"),
    ({}, {"steps": -1}, "steps=-1 must be a whole number of at least 0"),
    ({}, {"redraw": 0}, "redraw=0 must be a whole number of at least 1"),
    ({}, {"damping": 0}, "damping=0 must be a finite number above 0; 1e-3 is usual"),
    ({}, {"callbacks": [ReduceLROnPlateau()]}, "ReduceLROnPlateau is for other optimizers: solve has no learning rate"),
    ({}, {"coefficients": ["c"]}, r"coefficients=\['c'\] must be a dict of first values, such as \{'c': 1.0\}"),
    ({}, {"coefficients": {"c": np.inf}}, r"coefficients\['c'\]=inf must be a finite number above -inf; give a first"),
    ({}, {"coefficients": {"cost": 1.0}}, "coefficients has the name 'cost', which means something else in a residual"),
    (
        {},
        {"coefficients": {"c": 1.0, "k": 1.0}},
        "coefficients has 'k', which no residual takes; write it as a",
    ),
    (
        {},
        {"terms": [Term(lambda x, u, *_: u[0], LINE)]},
        r"a residual has shape \(1,\) at 20 points, but must have",
    ),
    (
        {},
        {"terms": [Term(lambda x, u, *_: 1.0, LINE)]},
        r"a residual has shape \(\) at 20 points, but must have",
    ),
    (
        {},
        {"terms": [Term(lambda x, u, *_: np.sin(u), LINE)]},
        r"the residual of term 0 cannot be differentiated \(.*\); it must use operators and functions of xp alone",
    ),
]


OBSERVED = Term(lambda x, u, du, ddu, xp: u - xp.asarray(LINE**2, device=u.device), LINE)
REFUSED += [
    ({}, {"terms": [Term(lambda x, u, du, xp: u, LINE)]}, "of term 0 has other arguments than x, u, du, ddu, xp "),
    (
        {},
        {"terms": [OBSERVED, Term(lambda x, u, du, ddu, xp, c, k: k * u, LINE)], "coefficients": {"c": 1.0}},
        "of term 1 has other arguments .*'k'.*; each coefficient .* first value in coefficients, which has 'c'",
    ),
    ({}, {"terms": [Term(lambda x, u, du, *_: du[1], LINE)]}, "of term 0 has an index .*; du and ddu have 0 to 0, for"),
    (
        {},
        {"terms": [Term(OBSERVED.residual, LINE, draw=draw_line)]},
        "of term 0 fails at other points than the 20 of x .*; compute from x what belongs to the points",
    ),
]


@pytest.mark.parametrize(("options", "arguments", "message"), REFUSED)
def test_wrong_arguments_change_nothing(options, arguments, message):
    net = make(**options)
    before = net.value
    defaults = {"terms": [DECAY], "coefficients": None if "terms" in arguments else {"c": 1.0}, "progress": False}
    with pytest.raises(ValueError, match=message):
        net.solve(**{**defaults, **arguments})
    assert net.value is before


MATRIX = np.random.default_rng(2).standard_normal((20, 20))
MIXED = [
    lambda x, u, du, ddu, xp: u - xp.mean(u),
    lambda x, u, du, ddu, xp: (u * xp.mean(ddu[0]))[:, 0],
    lambda x, u, du, ddu, xp: xp.where(x > 0.5, u - xp.flip(du[0], axis=0), u),
    lambda x, u, du, ddu, xp: xp.sort(u, axis=0) - x,  # it is sorted already
    lambda x, u, du, ddu, xp: xp.concat([u[:1, :], u[1:, :] - u[:-1, :]]),
    lambda x, u, du, ddu, xp: xp.matmul(xp.asarray(MATRIX, device=u.device), u),
    lambda x, u, du, ddu, xp: u / xp.max(xp.abs(u)),
    lambda x, u, du, ddu, xp: u * xp.exp(20.0 * x) - 1e-5 * xp.sum(u),
]
ROW_BY_ROW = [
    OBSERVED.residual,
    lambda x, u, du, ddu, xp: u - x / xp.max(x),
    lambda x, u, du, ddu, xp: xp.where(x > 0.5, xp.exp(50.0 * u) - 1.0, 0.0 * u),
    lambda x, u, du, ddu, xp: (1e12 * u - 1e12 * u * xp.cos(x) + 1e-9 * ddu[0])[:, 0],
    lambda x, u, du, ddu, xp: xp.log(u + 1.0) * u if bool(xp.all(u > -1.0)) else None,
]


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize(("residuals", "mixes"), [(MIXED, True), (ROW_BY_ROW, False)])
def test_a_residual_that_mixes_rows_is_refused(place, residuals, mixes):
    for residual in residuals:
        net = make(**place._asdict())
        net.layers = [(np.ones(w.shape), np.zeros(b.shape)) for w, b in net.layers]  # u increases
        before, terms = net.value, [START, Term(residual, LINE)]
        if mixes:
            with pytest.raises(ValueError, match="the residual of term 1 mixes points: it must use each row of u, du"):
                net.solve(terms, 2, progress=False)
            assert net.value is before
        else:
            net.solve(terms, 2, progress=False)


@pytest.mark.not_on(host_cupy.NAME, "jax")
def test_activations_need_the_derivatives_of_the_residuals(place):
    clipped = Activation(
        "clipped", lambda z, xp: xp.clip(z, -3.0, 3.0), lambda g, z, a, xp: xp.where(xp.abs(z) < 3.0, g, 0.0 * g)
    )
    steep = Activation("steep", lambda z, xp: xp.sin(30.0 * z), lambda g, z, a, xp: 30.0 * g * xp.cos(30.0 * z))
    kinked = ["relu", "leaky_relu(0.9)", "elu", "selu", clipped]
    for activation in [*kinked, steep, "gelu", "softplus", "identity"]:
        net = make((1, 4, 4, 1), activation=[activation, "tanh"], **place._asdict())
        net.solve([Term(lambda x, u, du, *_: du[0] + u, LINE)], 2, progress=False)
        curved = [START, Term(lambda x, u, du, ddu, xp: ddu[0] ** 2 + u, LINE)]
        if activation in kinked:
            with pytest.raises(ValueError, match="term 1 has second derivatives, and the activation '"):
                net.solve(curved, 2, progress=False)
        else:
            net.solve(curved, 2, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"residual": 1.0}, r"residual=1.0 must be a function \(x, u, du, ddu, xp\) -> residuals \(m,\) or \(m, 1\)"),
        ({"weight": 0.0}, "weight=0.0 must be a finite number above 0; 1 is usual"),
        ({"draw": (0, 1)}, r"draw=\(0, 1\) must be a function \(rng, n\) -> points \(n, n_in\), or None"),
    ],
)
def test_wrong_terms(arguments, message):
    with pytest.raises(ValueError, match=message):
        Term(**{"residual": spike, "x": LINE, **arguments})


def test_draw_gives_as_many_points_as_it_is_asked_for():
    net = make()
    with pytest.raises(ValueError, match="draw of term 0 has 20 points, but must have 200"):
        net.solve([Term(START.residual, LINE, draw=lambda rng, n: LINE)], redraw=2, progress=False)
    assert len(net.history) == 2


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize("x", [LINE, LINE[1:]], ids=["at first", "at points that are drawn"])
def test_residuals_that_are_not_finite(place, x):
    net = make(**place._asdict())
    before = snapshot(net)
    term = Term(lambda x, u, du, ddu, xp: u / x, x, draw=lambda rng, n: np.zeros((n, 1)))
    with pytest.raises(DivergenceError, match="residuals or their derivatives are not finite; the network has"):
        net.solve([term], redraw=2, progress=False)
    assert len(net.history) == (0 if x is LINE else 2)
    if x is LINE:
        assert_same(net, before)
