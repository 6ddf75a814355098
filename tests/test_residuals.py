"""Differential equations: networks that solve them."""

import math
import re
from dataclasses import replace

import host_cupy
import numpy as np
import pytest
from helpers import assert_same, flatten, is_flushing, snapshot, tanh_network, with_parameters

from xpnet import SGD, Callback, DivergenceError, Ensemble, LevenbergMarquardt, Network, ReduceLROnPlateau, Term
from xpnet.activations import Activation
from xpnet.core import arrays
from xpnet.value import Objective

LINE = np.linspace(0, 1, 20)[:, None]
DECAY = Term(lambda x, u, du, ddu, xp, c: du[0] + c * u, LINE)
START = Term(lambda x, u, *_: u - 1.0, [[0.0]])
END = Term(lambda x, u, *_: u - math.exp(-2.0), [[1.0]])
TIMES = np.random.default_rng(1).uniform(0, 1, (12, 1))
SEEN = np.exp(-2.0 * TIMES) + 0.02 * np.random.default_rng(2).standard_normal(TIMES.shape)
FIRST, OTHERS = slice(None, 4), slice(4, None)
TERMS, CALL = [DECAY, START, END], {"coefficients": {"c": 1.0}, "progress": False}


def make(sizes=(1, 8, 1), **options):
    return tanh_network(sizes, **options)


def observe(rows=slice(None), weight=1.0, **options):
    seen = SEEN[rows]
    return Term(lambda x, u, du, ddu, xp: u - xp.asarray(seen, device=u.device), TIMES[rows], weight, **options)


class Watch(Callback):
    """Calls a function of the training after each step."""

    def __init__(self, call):
        self.call = call

    def on_train_begin(self, training):
        self.training, self.first = training, training.value

    def on_epoch_end(self, logs):
        self.call(self, logs)


# Steps and solutions


def test_steps_flush_subnormal_numbers():
    seen = []
    term = Term(lambda x, u, du, *_: (seen.append(is_flushing()), du[0] + u)[1], LINE)
    make(backend="numpy").solve([term], steps=1, progress=False)
    assert True in seen
    assert not is_flushing()


def burgers_with_a_twist(x, u, du, ddu, xp, nu, k):
    """Nonlinear in all it gets, with two outputs; (m,)."""
    r = du[1] * u + xp.sin(k * x[:, :2]) * ddu[0] * du[0] - nu**2 * ddu[1]
    return r[:, 0] + u[:, 1] * du[0][:, 1] * ddu[0, 1][:, 0]


def other_equation(x, u, du, ddu, xp, k, **_):
    return u[:, :1] - k * x[:, 1:2]


def couples(x, u, du, ddu, xp, nu, **_):
    """Couples the three points of a row, (m, 3, ...)."""
    first = u[:, 0, 0] * ddu[1, 0][:, 1, 1] - nu * xp.sum(du[1] * ddu[0, 0], axis=(1, 2))
    return first + x[:, 1, 0] * u[:, 2, 1] * ddu[0, 2][:, 0, 1]


@pytest.mark.not_on("jax", host_cupy.NAME)  # compiles for ten seconds; lacks cuSOLVER
@pytest.mark.parametrize(
    ("activation", "m"),  # few points and many
    [
        *(
            pytest.param(name, 5, marks=pytest.mark.slow)
            for name in ("sigmoid", "softplus", "silu", "gelu_tanh", "exp")
        ),
        *(("gelu", 5), ("tanh", 60)),
    ],
)
def test_a_step_solves_the_damped_linear_problem(place, m, activation):
    """−(JᵀJ + μ)⁻¹ Jᵀr, with the derivatives of the residuals by central differences."""
    sizes, x = (3, 2, 2, 2), np.random.default_rng(1).uniform(-1, 1, (m, 3))
    net = make(sizes, activation=activation, seed=1)
    parts = [(burgers_with_a_twist, x, 3.0), (other_equation, x[:3], 0.5)]
    parts += [(couples, np.random.default_rng(2).uniform(-1, 1, (m // 2, 3, 3)), 2.0)]
    points = np.concatenate([at.reshape(-1, 3) for _, at, _ in parts])
    ends = np.cumsum([at.size // 3 for _, at, _ in parts])[:-1]

    def residuals(parameters):
        other, (nu, k) = with_parameters(net, parameters[:-2]), parameters[-2:]
        first, second = np.moveaxis(other.jacobian(points), -1, 0), np.moveaxis(other.hessian(points), (-2, -1), (0, 1))
        results, outputs = [], other.forward(points)
        for (residual, at, weight), rows in zip(parts, np.split(np.arange(len(points)), ends)):
            shape = (*at.shape[:-1], 2)
            du, dudu = first[:, rows].reshape(3, *shape), second[:, :, rows].reshape(3, 3, *shape)
            ddu = {**{pair: dudu[pair] for pair in np.ndindex(3, 3)}, **{i: dudu[i, i] for i in range(3)}}
            r = residual(at, outputs[rows].reshape(shape), du, ddu, np, nu=nu, k=k)
            results.append(math.sqrt(weight / len(at)) * r.reshape(-1))
        return np.concatenate(results)

    start = np.array([*flatten(net), 0.4, 1.5])
    r, units = residuals(start), 1e-5 * np.eye(len(start))
    jacobian = np.stack([(residuals(start + e) - residuals(start - e)) / 2e-5 for e in units], axis=1)
    square = jacobian.T @ jacobian
    damping = 0.3 * square.diagonal().max()
    step = -np.linalg.solve(square + damping * np.eye(len(start)), jacobian.T @ r)
    terms = [Term(residual, at, weight) for residual, at, weight in parts]
    solver = make(sizes, activation=activation, seed=1, **place._asdict())
    last = solver.solve(terms, 1, coefficients={"nu": 0.4, "k": 1.5}, damping=0.3, progress=False)[-1]
    np.testing.assert_allclose(np.array([*flatten(solver), last["nu"], last["k"]]) - start, step, rtol=1e-4, atol=1e-8)
    cost = 0.5 * (residuals(start + step) ** 2).sum()
    assert last["cost"] == pytest.approx(cost, rel=1e-6)
    assert cost < 0.5 * r @ r


@pytest.mark.not_on(host_cupy.NAME)
def test_a_network_solves_an_equation_and_learns_its_coefficient(place):
    """u′ = −c u with u(0) = 1 and u(1) = e⁻², so c = 2 and u(½) = 1/e."""
    net = make(**place._asdict())
    history = net.solve(TERMS, steps=40, **CALL)
    assert history["c"][-1] == pytest.approx(2.0, abs=2e-4)
    assert net.backend.to_numpy(net.forward([[0.5]])) == pytest.approx(np.exp(-1.0), abs=2e-5)
    assert history is net.history
    assert history["epoch"] == [*range(1, 41)]
    assert (np.diff(history["cost"]) <= 0).all()
    how = "damping=0.001, bayesian=False); epochs=40, batch_size=22, sampling='residuals of 3 terms, learning c'"
    assert f"Trained by LevenbergMarquardt(weight_decay=0.0, {how}" in str(net.provenance)


@pytest.mark.slow
@pytest.mark.not_on(host_cupy.NAME)
def test_points_of_a_row_belong_together(place):
    """u′ = −sin x, periodic, which leaves a constant open, and the mean 0; so u = cos x."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    points = np.pi * np.linspace(-1, 1, 30)[:, None]
    ends = [
        Term(lambda x, u, *_: u[:, 0, :] - u[:, 1, :], [[[-np.pi], [np.pi]]]),
        Term(lambda x, u, du, ddu, xp: du[0][:, 0, 0] - du[0][:, 1, 0], [[[-np.pi], [np.pi]]]),
        Term(
            lambda x, u, du, ddu, xp: xp.sum(xp.asarray(weights, device=u.device) * u[..., 0], axis=1),
            [np.pi * nodes[:, None]],
        ),
    ]
    net = make(**place._asdict())
    history = net.solve([Term(lambda x, u, du, ddu, xp: ddu[0] + xp.cos(x), points), *ends], steps=40, progress=False)
    assert history["cost"][-1] < 1e-6
    assert net.backend.to_numpy(net.forward(points)) == pytest.approx(np.cos(points), abs=2e-3)


@pytest.mark.parametrize("m", [pytest.param(5, marks=pytest.mark.slow), 60])
def test_rows_that_are_summed_in_blocks(monkeypatch, m):
    x, steps = np.random.default_rng(0).uniform(-1, 1, (m, 3, 3)), []
    for elements in (arrays.BLOCK_ELEMENTS, 80):
        monkeypatch.setattr(arrays, "BLOCK_ELEMENTS", elements)
        net = make((3, 4, 2))
        history = net.solve([Term(couples, x)], 2, coefficients={"nu": 1.0}, progress=False)
        steps.append([*history["nu"], *history["cost"], *flatten(net)])
    np.testing.assert_allclose(*steps, rtol=1e-9)


def test_a_mixed_derivative_that_is_not_used_at_first():
    calls = []

    def residual(x, u, du, ddu, xp):
        calls.append(u)
        return u if len(calls) < 30 else ddu[0, 1]

    with pytest.raises(ValueError, match=re.escape("give its Term pairs=[(0, 1)]")):
        make((2, 4, 1)).solve([Term(residual, np.tile(LINE, 2))], 20, progress=False)
    net = make((2, 4, 1))
    net.solve([Term(residual, np.tile(LINE, 2), pairs=[(0, 1)])], 20, progress=False)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), LevenbergMarquardt()])
def test_a_network_keeps_its_own_optimizer(optimizer):
    net, x = make(), np.tile(LINE, (4, 1))
    net.train((x, x), 2, optimizer=optimizer, progress=False)
    before = net.value
    net.solve([Term(lambda x, u, *_: u - 2.0, x)], 3, progress=False)
    assert net.optimizer == optimizer
    assert net.value.state.optimizer is before.state.optimizer
    assert net.value.generator == before.generator


def draw_line(rng, n):
    return rng.uniform(0, 1, (n, 1))


@pytest.mark.parametrize("redraw", [1, 2])
def test_points_are_drawn_anew_where_residuals_are_large(redraw):
    """A tenth of the region of draws has nearly all of the residuals."""
    seen, calls = [], []

    def residual(x, u, du, ddu, xp):
        seen.append(x)
        return 0.001 * u + 10.0 * xp.astype(x > 0.9, u.dtype)

    def draw(rng, n):
        calls.append(n)
        return draw_line(rng, n)

    results = []
    for _ in range(2):
        net = make()
        history = net.solve(
            [Term(residual, LINE, 1.0, draw), replace(START, weight=1.0)], steps=5, redraw=redraw, progress=False
        )
        results.append((net.fingerprint(), history["cost"]))
    assert results[0] == results[1]
    assert net.value.generator != make().value.generator
    assert calls == [200] * (8 if redraw == 1 else 4)
    plain = [x for x in seen if isinstance(x, np.ndarray) and len(x) == 20]
    assert all(len(np.unique(x)) == len(x) for x in plain)  # no point is drawn twice
    assert (plain[0] > 0.9).mean() == 0.1
    assert (plain[-1] > 0.9).mean() > 0.3


def test_a_second_call_goes_on_with_weights_and_coefficients(place, tmp_path):
    """Other first values, or weights, begin anew. A damping of 1e9 makes steps that change nothing."""
    net, short = make(**place._asdict()), {"damping": 1e9, "progress": False}
    found = net.solve(TERMS, 12, **CALL)["c"][-1]
    net.save(tmp_path / "net")
    for same in (net.copy(), Network.load(tmp_path / "net", **place._asdict())):
        assert same.fingerprint() == net.fingerprint()
        assert same.value.objective == net.value.objective
        assert same.solve(TERMS, 1, coefficients={"c": 1.0}, **short)["c"] == [pytest.approx(found, abs=1e-3)]
    other = net.copy()
    assert other.solve(TERMS, 1, coefficients={"c": 1.5}, **short)["c"] == [pytest.approx(1.5, abs=1e-3)]
    net.layers = net.layers
    assert net.solve(TERMS, 1, coefficients={"c": 1.0}, **short)["c"] == [pytest.approx(1.0, abs=1e-3)]


def test_a_value_that_a_callback_gives_brings_its_coefficients_or_keeps_them():
    def solve(change):
        def give(watch, logs):
            if logs["epoch"] == 5:
                watch.training.value = change(watch.first, watch.training.value)

        return make().solve(TERMS, 8, callbacks=[Watch(give)], **CALL)["c"]

    plain, other = solve(lambda first, now: now), Objective(coefficients={"c": (1.0, 5.0, False)})
    begun_again = solve(lambda first, now: first)
    assert begun_again == solve(lambda first, now: first._replace(objective=now.objective))
    assert begun_again[5:] != plain[5:]
    assert solve(lambda first, now: now._replace(objective=other))[5:] != plain[5:]


# Weights of terms


@pytest.mark.not_on(host_cupy.NAME)
def test_weights_are_found_from_derivatives(place):
    """1 / mean ‖∂r/∂w‖², by central differences; of observations, precision times 0.01 / Σ precision · this mean."""
    net, stds, call = make(**place._asdict()), (0.05, 0.2), {"damping": 1e9, **CALL}

    def residuals(parameters):
        other = with_parameters(make(), parameters)
        du = other.jacobian(LINE)[:, :, 0] + 1.0 * other.forward(LINE)
        return [1e3 * du[:, 0], other.forward(START.x)[:, 0] - 1.0, *(other.forward(TIMES[k]) - SEEN[k] for k in parts)]

    parts, start, units = [FIRST, OTHERS], np.array(flatten(make())), 1e-5 * np.eye(len(flatten(make())))
    sides = [zip(*(residuals(start + sign * unit) for unit in units)) for sign in (1, -1)]
    squares = [np.sum((np.array(a) - np.array(b)) ** 2) / 4e-10 / len(a[0]) for a, b in zip(*sides)]
    r, precisions = residuals(start), [4 / stds[0] ** 2, 8 / stds[1] ** 2]
    precisions = np.array(precisions) * 0.01 / np.dot(precisions, squares[2:])
    equation = Term(lambda x, u, du, ddu, xp, c: 1e3 * (du[0] + c * u), LINE)
    terms = [equation, START, *(observe(rows, None, noise=std) for rows, std in zip(parts, stds))]
    for weights, own in (((1 / squares[0], 1 / squares[1], *precisions), [None] * 4), ((1.0, 2.0, 3.0, 4.0),) * 2):
        weighed = [replace(term, weight=weight) for term, weight in zip(terms, own)]
        cost = 0.5 * sum(w * np.mean(part**2) for w, part in zip(weights, r))
        assert net.copy().solve(weighed, 1, **call)["cost"][0] == pytest.approx(cost, rel=1e-4)
    stds = [math.sqrt(np.mean(part**2)) for part in r[2:]]
    costs = [
        net.copy().solve([equation, START, *seen], 1, **call)["cost"]
        for seen in (
            [observe(rows, None, noise="estimate") for rows in parts],
            [observe(rows, None, noise=std) for rows, std in zip(parts, stds)],
        )
    ]
    assert costs[0] == pytest.approx(costs[1])


def test_weights_change_with_the_network_and_units_do_not_matter():
    """The cost rises where weights are found anew, after each 10 steps, and only there."""
    costs = []
    for factor in (1.0, 1e3):
        net = make()
        wave = Term(lambda x, u, du, ddu, xp, f=factor: f * (ddu[0] + 400.0 * u), LINE)
        other = Term(lambda x, u, du, ddu, xp, f=factor: f * (ddu[0] * u + du[0]), LINE)
        first = net.solve([wave, START], 40, progress=False)["cost"]
        costs.append([*first, *net.solve([other, START], 20, progress=False)["cost"]])
    np.testing.assert_allclose(*costs, rtol=0.02)
    assert (np.flatnonzero(np.diff(costs[0]) > 0.0) + 1).tolist() == [40, 50]


@pytest.mark.parametrize(("factor", "is_found_anew"), [(1.3, False), (3.0, True)])
def test_weights_stay_while_they_are_about_right(factor, is_found_anew):
    """A callback changes the network after 5 steps; with a damping of 1e12, steps change nothing."""

    def give(watch, logs):
        if logs["epoch"] == 5:
            parameters = flatten(make())
            parameters[16:24] *= factor  # the weights of the output
            watch.training.value = with_parameters(make(), parameters).value

    decay = Term(lambda x, u, du, *_: du[0] + u, LINE)
    costs = make().solve([decay, START], 12, damping=1e12, callbacks=[Watch(give)], progress=False)["cost"]
    assert costs[9] == pytest.approx(costs[6], rel=1e-6)
    assert (costs[11] != pytest.approx(costs[9], rel=1e-3)) == is_found_anew


# Windows of time


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize(
    ("edges", "of_steps"),
    [
        ([0.2, 0.4, 0.6], (0.2, 0.2, 0.4, 0.6, 0.6, 0.9)),
        ([0.2, 0.6], (0.2, 0.2, 0.6, 0.6, 0.9, 0.9)),
        (np.array([0.2, 0.6, 0.9]), (0.2, 0.2, 0.6, 0.6, 0.9, 0.9)),
    ],
)
def test_points_are_let_in_window_by_window(place, edges, of_steps):
    """With a damping of 1e9, steps change nothing; windows share them, and the last one has all points."""
    x = np.random.default_rng(0).uniform(0, 0.9, (15, 2))
    x[:2, 1] = 0.9, 0.2
    pairs = np.stack([0.5 * x[1:], x[1:]], axis=1)
    terms = [
        Term(lambda x, u, *_: u[:, 0] + 1.0, x, weight=2.0),
        Term(lambda x, u, *_: u[:, 1, :] - 2.0 * u[:, 0, :], pairs, weight=1.0),
    ]
    net = make((2, 4, 1), **place._asdict())
    u = make((2, 4, 1)).forward
    values = [u(x) + 1.0, u(pairs[:, 1]) - 2.0 * u(pairs[:, 0])]
    history = net.solve(terms, 6, time=1, edges=edges, damping=1e9, progress=False)
    costs = [
        sum(w * 0.5 * np.mean((at[:, 1:] <= edge) * r**2) for w, r, at in zip((2.0, 1.0), values, (x, x[1:])))
        for edge in of_steps
    ]
    np.testing.assert_allclose(history["cost"], costs, rtol=1e-4)


def test_points_are_drawn_where_they_count():
    """Half of the points are drawn in proportion to residuals up to the edge, the others evenly."""
    seen, parts = [], []
    draws = {"x": draw_line(np.random.default_rng(0), 400), "draw": draw_line}
    term = Term(lambda x, u, *_: (seen.append(x), 0.01 * u + 1.0)[1], **draws)

    def count(watch, logs):
        (*_, last) = (x for x in seen if isinstance(x, np.ndarray) and len(x) == 400)
        parts.append(np.mean(last < 0.2))

    make().solve([term], 6, redraw=2, time=0, edges=[0.2], damping=1e9, callbacks=[Watch(count)], progress=False)
    assert max(parts[0], parts[-1]) < 0.3 < 0.5 < parts[2] < 0.7


@pytest.mark.slow
def test_a_window_without_effect_does_not_end_the_training():
    """At first only u(0) = 1 counts, which has no residual, so that the damping grows to its bound."""
    net = make()
    net.solve([START], 60, progress=False)
    late = Term(lambda x, u, *_: u - x, LINE[10:])
    history = net.solve([START, late], 50, time=0, edges=[0.3], progress=False)
    assert len(history) > 26
    np.testing.assert_allclose(net.forward(LINE[10:]), LINE[10:], atol=1e-2)


# Standard errors and bounds of coefficients

EXACT = [Term(DECAY.residual, LINE, weight=1e3), Term(START.residual, START.x, weight=1e3)]


def fit_decay(weights=1.0):
    """Fit e⁻ᶜᵗ to the observations by Gauss and Newton; return c, the residuals, and their derivatives."""
    t, c = TIMES, 2.0
    for _ in range(20):
        r, slope = np.exp(-c * t) - SEEN, -t * np.exp(-c * t)
        c -= np.sum(weights * slope * r) / np.sum(weights * slope**2)
    return c, r, slope


@pytest.fixture(scope="module")
def solved():
    """The network and the terms that it has solved."""
    net, terms = make(), [*EXACT, observe(noise=0.02)]
    net.solve(terms, 40, **CALL)
    return net, terms


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize("noise", [pytest.param(0.03, marks=pytest.mark.slow), "estimate"])
def test_standard_errors_are_those_of_least_squares(place, noise):
    """The variance of c is σ² / Σ s², with the slopes s of e⁻ᶜᵗ, and σ² is Σ r² / (n − 1), if it is estimated."""
    net, terms = make(**place._asdict()), [*EXACT, observe(noise=noise)]
    history = net.solve(terms, steps=60, **CALL)
    c, r, slope = fit_decay()
    std = math.sqrt(np.sum(r**2) / 11) if noise == "estimate" else noise
    error, check = std / math.sqrt(np.sum(slope**2)), net.check_solution(terms)
    (row,), known = check.coefficients, check.covariance.item()
    assert (row["coefficient"], row["value"], row["at_bound"]) == ("c", history["c"][-1], False)
    assert row["value"] == pytest.approx(c, abs=0.1 * error)
    assert row["standard_error"] == pytest.approx(error, rel=0.01)
    assert known == pytest.approx(row["standard_error"] ** 2)
    assert history["c_standard_error"] == [None] * (len(history) - 1) + [pytest.approx(error, rel=0.01)]
    assert [term["noise"] for term in check.terms] == [0.0, 0.0, pytest.approx(std, rel=0.01)]
    assert [term["points"] for term in check.terms] == [20, 1, 12]
    assert check.terms[-1]["residual"] == pytest.approx(math.sqrt(np.mean(r**2)), rel=0.01)
    assert "standard error" in repr(check)
    assert "<table>" in check._repr_html_()


def test_each_term_has_its_own_noise_and_weight():
    """The fit is by the weights w/m of the residuals, so the variance of c is Σ w² σ² s² / (Σ w s²)² with these."""
    net, terms = make(), [*EXACT, observe(FIRST, noise=0.01, weight=0.5), observe(OTHERS, noise=0.1, weight=2.0)]
    net.solve(terms, steps=40, **CALL)
    weights, variances = (np.repeat(pair, [4, 8])[:, None] for pair in ([0.5 / 4, 2.0 / 8], [1e-4, 1e-2]))
    c, _, slope = fit_decay(weights)
    error = math.sqrt(np.sum(weights**2 * variances * slope**2)) / np.sum(weights * slope**2)
    (row,) = net.check_solution(terms).coefficients
    assert row["value"] == pytest.approx(c, abs=0.1 * error)
    assert row["standard_error"] == pytest.approx(error, rel=0.01)
    checks = [net.check_solution([*EXACT, observe(noise="estimate", weight=weight)]) for weight in (0.5, 2.0)]
    assert checks[0].terms[-1]["noise"] == pytest.approx(checks[1].terms[-1]["noise"], rel=0.01)
    with pytest.raises(ValueError, match='give dtype="float64"'):
        net.to(dtype="float32").check_solution(terms)


def test_a_check_has_residuals_elsewhere_and_whether_the_cost_falls():
    """The residual 3x has the root mean square √3 at uniform points of [0, 1], and 0 where it was fitted."""
    net, cost = make(), lambda: net.history["cost"]
    many = Term(lambda x, u, *_: 0.0 * u + 3.0 * x, np.zeros((2000, 1)), draw=draw_line)
    net.solve([START, Term(DECAY.residual, LINE)], 30, coefficients={"c": 1.0}, progress=False)
    check = net.check_solution([START, many, DECAY])
    assert check.terms[1]["residual"] == 0.0
    assert check.terms[1]["residual_elsewhere"] == pytest.approx(math.sqrt(3.0), rel=0.05)
    assert math.isnan(check.terms[0]["residual_elsewhere"])
    assert check.cost == {"cost": cost()[-1], "lowered_in_10_steps": pytest.approx(1.0 - cost()[-1] / cost()[-11])}
    assert "lowered in 10 steps" in repr(check)
    net.solve(TERMS, 10, **CALL)
    assert math.isnan(net.check_solution(TERMS).cost["lowered_in_10_steps"])
    nothing = [Term(lambda x, u, *_: 0.0 * u, LINE)]
    net.solve(nothing, 15, progress=False)
    assert net.check_solution(nothing).cost == {"cost": 0.0, "lowered_in_10_steps": 0.0}


def is_zero(x, u, *_):
    return 0.0 * u[..., :1]


BOX, SIDES = (np.stack(np.meshgrid([0.0, *side, 1.0], [0.0, 1e3, 2e3]), axis=-1).reshape(-1, 2) for side in ([0.5], []))


@pytest.mark.parametrize(
    ("n_in", "terms", "elsewhere"),
    [
        # The square of sin 19πx is 0 at the 20 points, and sin² 0.4π between them
        (1, [Term(lambda x, u, du, ddu, xp: 0.0 * u + xp.sin(19 * np.pi * x), LINE)], [0.905]),
        # Pairs belong together
        (
            1,
            [Term(lambda x, u, du, ddu, xp: 0.0 * u[:, 0] + x[:, 1] - x[:, 0], np.stack([LINE, LINE + 3.0], 1))],
            [9.0],
        ),
        # Beside the equation, neither points of a boundary nor observations nor numbers for each point
        (2, [Term(is_zero, np.repeat(SIDES, 9, axis=0)), Term(is_zero, BOX)], [math.nan, 0.0]),
        (1, [Term(is_zero, LINE, noise=1.0), Term(is_zero, LINE[1:])], [math.nan, 0.0]),
        (
            1,
            [Term(lambda x, u, *_: 0.0 * u + LINE, LINE), Term(is_zero, LINE), Term(is_zero, LINE[1:])],
            [math.nan, 0.0, math.nan],
        ),
    ],
)
def test_equations_are_checked_between_their_points(n_in, terms, elsewhere):
    net = make((n_in, 4, 1))
    net.solve([replace(START, x=np.zeros((1, n_in)))], 1, progress=False)
    found = [row["residual_elsewhere"] ** 2 for row in net.check_solution(terms).terms]
    np.testing.assert_allclose(found, elsewhere, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({}, ""),
        ({"residual_elsewhere": math.nan}, ""),
        ({"residual_elsewhere": 0.201}, "Term 0: the residual is larger at new points"),
        ({"noise": 0.066}, "Term 0: the residual is above the noise"),  # 0.1 is 1.5 times 0.067, for 8 points
        ({"noise": 0.067}, ""),
        ({"lowered_in_10_steps": 0.0031, "coefficient": None}, ""),
        ({"lowered_in_10_steps": 0.0031, "coefficient": None, "noise": 0.067}, "The cost still falls"),
        ({"lowered_in_10_steps": 0.0029, "coefficient": None, "noise": 0.067}, ""),
        ({"lowered_in_10_steps": 0.11}, "The cost still falls"),
        ({"shift": -0.021}, "c: the shift is large beside the standard error"),
        ({"shift": -0.021, "standard_error": math.nan}, ""),
    ],
)
def test_a_check_prints_what_is_doubtful(solved, changes, doubt):
    rows = (
        {"term": 0, "points": 8, "residual": 0.1, "residual_elsewhere": 0.199, "noise": 0.0},
        {"cost": 0.1, "lowered_in_10_steps": 0.09},
        {"coefficient": "c", "value": 1.0, "standard_error": 0.1, "shift": 0.019, "at_bound": False},
    )
    term, cost, coefficient = ({name: changes.get(name, part) for name, part in row.items()} for row in rows)
    coefficients = [coefficient] if coefficient["coefficient"] else []
    check = replace(solved[0].check_solution(solved[1]), terms=[term], cost=cost, coefficients=coefficients)
    assert [part.startswith(doubt) for part in check.doubts] == [True] * bool(doubt)
    assert all(part in repr(check) and part in check._repr_html_() for part in check.doubts)


def test_standard_errors_hold_between_the_points_of_an_equation():
    """Five points of it leave c free between them: its standard error is 2.6 times as large there."""
    net, terms = make(), [Term(DECAY.residual, LINE[[0, 5, 10, 14, 19]], weight=1e3), EXACT[1], observe(noise=0.02)]
    history, (c, _, slope) = net.solve(terms, 30, **CALL), fit_decay()
    check, error = net.check_solution(terms), 0.02 / math.sqrt(np.sum(slope**2))
    (row,) = check.coefficients
    assert row["standard_error"] == pytest.approx(error, rel=0.01)
    assert history["c_standard_error"][-1] == row["standard_error"]
    assert row["value"] + row["shift"] == pytest.approx(c, abs=0.02 * error)
    assert any("larger at new points" in doubt for doubt in check.doubts)


def test_shifts_are_what_exact_equations_would_change():
    net, loose = make(), [Term(DECAY.residual, LINE, weight=0.03), EXACT[1], observe(noise=0.02)]
    found = net.solve(loose, steps=40, **CALL)["c"][-1]
    (row,) = net.check_solution(loose).coefficients
    assert row["shift"] == pytest.approx(fit_decay()[0] - found, rel=0.2)
    assert abs(row["shift"]) > 0.1 * row["standard_error"]


def test_noise_is_that_of_the_best_coefficients(solved):
    """With another c than that of the solution, Σ r² is without what c and the weights can still explain."""
    net, terms = solved[0].copy(), [*EXACT, observe(noise="estimate")]
    right = net.check_solution(terms).terms[-1]["noise"]
    net.value = net.value._replace(objective=Objective(coefficients={"c": (1.0, 2.1, False)}))
    assert net.check_solution(terms).terms[-1]["noise"] == pytest.approx(right, rel=0.02)


def test_coefficients_without_a_standard_error():
    """Nothing determines a and b of u′ = −a b u by themselves; and without noise=, there is no noise."""
    net = make()
    product = Term(lambda x, u, du, ddu, xp, a, b: du[0] + a * b * u, LINE, weight=1e3)
    terms, call = [product, EXACT[1], observe(noise=0.02)], {"coefficients": {"a": 1.0, "b": 1.5}, "progress": False}
    history = net.solve(terms, steps=40, **call)
    assert [row["standard_error"] for row in net.check_solution(terms).coefficients] == [math.inf, math.inf]
    assert history["a_standard_error"][-1] == math.inf
    history = net.solve([*terms[:2], observe()], steps=5, **call)
    assert "a_standard_error" not in history.to_dict()
    assert np.isnan(net.check_solution([*terms[:2], observe()]).covariance).all()
    few = net.check_solution([*terms[:2], observe(slice(1), noise="estimate")])
    assert np.isnan([few.terms[-1]["noise"], *few.covariance.flat]).sum() >= 3


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize(
    ("m", "ends"), [pytest.param(10, (2.5, None), marks=pytest.mark.slow), (20, (None, 1.5)), (20, (0.0, 9.0))]
)
def test_coefficients_stay_within_bounds(place, tmp_path, m, ends):
    """With c at its bound, the network is e⁻ᶜᵗ; with few points and many."""
    equation = Term(DECAY.residual, np.linspace(0, 1, m)[:, None], weight=1e3)
    net, terms, first = make(**place._asdict()), [equation, EXACT[1], observe(noise=0.02)], ends[0] or 1.5
    bounds, seen = {"c": ends}, []
    watch = Watch(lambda _, logs: seen.append(logs["c"]))
    history = net.solve(terms, 60, coefficients={"c": first}, bounds=bounds, callbacks=[watch], progress=False)
    low, high = (end or none for end, none in zip(ends, (-math.inf, math.inf)))
    assert low <= min(seen) <= max(seen) <= high
    c, is_at_bound = min(max(fit_decay()[0], low), high), ends != (0.0, 9.0)
    assert history["c"][-1] == (c if is_at_bound else pytest.approx(c, abs=5e-3))
    x = [[0.0], [0.5], [1.0]]
    np.testing.assert_allclose(net.backend.to_numpy(net.forward(x)), np.exp(-c * np.array(x)), atol=2e-3)
    net.save(tmp_path / "net")
    for same in (net, Network.load(tmp_path / "net", **place._asdict())):
        (row,) = same.check_solution(terms).coefficients
        assert row["at_bound"] == is_at_bound == math.isnan(row["standard_error"])
    assert "yes" in repr(net.check_solution(terms)) or not is_at_bound


def test_bounds_hold_where_a_call_goes_on(solved):
    net, call = solved[0].copy(), {"coefficients": {"c": 1.0}, "damping": 1e9, "progress": False}
    assert net.solve(TERMS, 1, bounds={"c": (None, 1.5)}, **call)["c"] == [1.5]


@pytest.mark.not_on(host_cupy.NAME)
def test_error_bars_of_a_solution_are_those_of_its_coefficients(place, tmp_path):
    """Noise of the observations changes c, and e⁻ᶜᵗ by t e⁻ᶜᵗ times as much; with c at a bound, nothing changes."""
    net, terms, x = make(**place._asdict()), [*EXACT, observe(noise=0.02)], np.array([[0.2], [0.5], [0.9]])
    net.solve(terms, 40, **CALL)
    net.fit_laplace(terms)
    expected = x * np.exp(-2.0 * x) * net.check_solution(terms).coefficients[0]["standard_error"]
    net.save(tmp_path / "net")
    for same in (net, Network.load(tmp_path / "net", **place._asdict())):
        std = same.predict_std(x)
        np.testing.assert_allclose(same.backend.to_numpy(std)[:, None], expected, rtol=0.05)
    net.solve(terms, 10, coefficients={"c": 1.0}, bounds={"c": (None, 1.5)}, progress=False)
    net.fit_laplace(terms)
    assert (net.backend.to_numpy(net.predict_std(x))[:, None] < 0.1 * expected).all()


def test_observations_in_two_terms_have_the_error_bars_of_one(solved):
    (net, _), loose, stds = solved, [Term(DECAY.residual, LINE, weight=0.03), EXACT[1]], []
    net, whole = net.copy(), [*loose, observe(noise=0.02)]
    halves = [observe(FIRST, noise=0.02, weight=1 / 3), observe(OTHERS, noise=0.02, weight=2 / 3)]
    for terms in (whole, [*loose, *halves]):
        net.fit_laplace(terms)
        stds.append(net.predict_std(LINE))
    np.testing.assert_allclose(*stds, rtol=1e-6)


def test_a_coefficient_without_an_effect_widens_no_error_bars(solved):
    net, stds = solved[0].copy(), []
    decay = Term(lambda x, u, du, ddu, xp, c, d: du[0] + c * u + 0.0 * d, LINE, weight=1e3)
    for equation, first in ((EXACT[0], {"c": 1.0}), (decay, {"c": 2.0, "d": 1.0})):
        terms = [observe(noise=0.02), equation, EXACT[1]]
        net.solve(terms, 8, coefficients=first, progress=False)
        net.fit_laplace(terms)
        stds.append(net.predict_std(LINE[1:]))
    np.testing.assert_allclose(*stds, rtol=0.02)


@pytest.mark.slow
def test_error_bars_of_a_field_hold_it():
    """u′ = −k(x) u with a second output k, known from u alone: bars are wide where it is not seen, and hold it."""
    x = np.random.default_rng(0).uniform(0, 1, (60, 1))
    seen = np.exp(-x - 0.5 * x**2) + 0.01 * np.random.default_rng(1).standard_normal(x.shape)
    terms = [
        Term(lambda x, u, du, ddu, xp: du[0][:, :1] + u[:, 1:] * u[:, :1], LINE, weight=100.0),
        Term(lambda x, u, du, ddu, xp: u[:, :1] - seen, x, weight=1.0, noise="estimate"),
    ]
    ensemble = Ensemble([1, 10, 10, 2], members=2, activation="tanh", task="regression", dtype="float64", seed=0)
    for net in ensemble:
        net.solve(terms, 40, progress=False)
    ensemble.fit_laplace(terms)
    net = ensemble[0]
    assert net.check_solution(terms).coefficients == []
    assert net.check_solution(terms).terms[1]["noise"] == pytest.approx(0.01, rel=0.2)
    at = np.array([[0.5], [0.6], [1.0]])
    exact = np.concatenate([np.exp(-at - 0.5 * at**2), 1.0 + at], axis=1)
    for model in (net, ensemble):
        mean, std = model.predict(at, return_std=True)
        assert (np.abs(mean - exact) < 3.0 * std).all()
        assert std[0, 0] < 0.01 < 0.015 < std[0, 1] < std[2, 1] < model.predict([[2.0]], return_std=True)[1][0, 1]


def test_noise_whose_square_is_no_number():
    terms = [DECAY, observe(weight=None, noise=1e-200)]
    history = make().solve(terms, 3, coefficients={"c": 1.0}, progress=False)
    assert history["cost"][-1] < history["cost"][0]


def test_an_observation_of_a_sum_determines_no_part_of_it():
    net, terms = make(), [Term(lambda x, u, du, ddu, xp, a, b: a + b + 0.0 * u, [[0.0]], noise=0.1)]
    net.solve(terms, 3, coefficients={"a": 1.0, "b": 1.0}, progress=False)
    assert [row["standard_error"] for row in net.check_solution(terms).coefficients] == [np.inf, np.inf]


@pytest.mark.parametrize("noise", [None, "estimate"])
def test_error_bars_of_a_solution_need_its_noise(solved, noise):
    with pytest.raises(ValueError, match="fit_laplace needs the noise of observations; give their terms noise="):
        solved[0].fit_laplace([*EXACT, observe(slice(1), noise=noise)])


def test_a_solution_to_check():
    with pytest.raises(ValueError, match="whose last training was solve; call solve before"):
        make().check_solution(TERMS)


def test_it_ends_where_no_step_lowers_the_cost():
    net, flat = make(), [Term(lambda x, u, *_: 0.0 * u + 1.0, LINE)]
    with pytest.warns(UserWarning, match="none of the .* steps of solve lowered the cost, 0.5"):
        history = net.solve(flat, progress=False)
    assert len(history) < 25
    assert history["cost"] == [0.5] * len(history)
    with pytest.warns(UserWarning, match="none of the 60 steps"):
        history = net.solve([Term(lambda x, u, *_: 0.0 * u + x, LINE, draw=draw_line)], 60, redraw=30, progress=False)
    assert len(set(history["cost"])) == 2  # those of the first points, and of those that were drawn


@pytest.mark.parametrize("kind", ["slopes", "solve"])
def test_error_bars_need_what_the_weights_were_fitted_to(kind):
    net, train, slopes = make(), {"epochs": 2, "lr": 0.1, "progress": False}, 1.0 + 0.0 * LINE
    if kind == "solve":
        net.solve([START], 3, progress=False)
    else:
        net.train((LINE, LINE), slopes=slopes, **train)
    for each in (net, net.copy()):
        with pytest.raises(ValueError, match="solve; .*terms" if kind == "solve" else "slopes, too, .*give slopes="):
            each.fit_laplace((LINE, LINE))
    with pytest.raises(ValueError, match=r"slopes are for training examples, .*leave them out"):
        net.fit_laplace([START], slopes=slopes)
    net.train((LINE, LINE), **train)
    net.fit_laplace((LINE, LINE))
    with pytest.raises(ValueError, match=r"slopes are for a network that was trained with them, .*leave them out"):
        net.fit_laplace((LINE, LINE), slopes=slopes)


# What is refused


def own_soft(z, xp):
    return z / xp.sum(xp.abs(z), axis=-1, keepdims=True)


OWN = Activation("own", own_soft, lambda g, z, a, xp: g)
FEW, ONE_NUMBER = (Term(lambda x, u, *_, shape=shape: u[0] if shape else 1.0, LINE) for shape in (True, False))
BAD_PAIRS = [(0,), ("a", None), (math.nan, None), (2, 0), (1, 1), (1.5, None), (None, 0.5)]
REFUSED = [
    ({"dtype": "float32"}, {}, 'dtype="float64"'),
    ({"standardize": True}, {}, "does not go with standardize=True, a scaling or scale=; leave them out"),
    ({"scale": 0.5}, {}, "does not go with standardize=True, a scaling or scale=; leave them out"),
    ({"dropout": 0.5}, {}, "does not go with dropout=[0.0, 0.5]; leave dropout out"),
    ({"activation": "softmax"}, {}, "unlike 'softmax'; give a smooth one"),
    ({"activation": OWN}, {}, "by itself, unlike 'own'; give a smooth one"),
    *(({"activation": name}, {}, f"a kink, unlike '{name}'; give a smooth one") for name in ("relu", "elu", "selu")),
    ({}, {"terms": DECAY}, "must be a list of xpnet.Term"),
    ({}, {"terms": []}, "terms=[] must be a list of xpnet.Term"),
    ({}, {"terms": [Term(START.residual, [[0.0, 1.0]])]}, "x of term 0 has shape (1, 2), but must have (n, 1)"),
    ({}, {"terms": [Term(START.residual, [[np.nan]])]}, "x of term 0 holds NaN or infinity"),
    ({}, {"terms": [Term(START.residual, [[[0.0], [np.nan]]])]}, "x of term 0 holds NaN or infinity"),
    ({}, {"terms": [Term(START.residual, [LINE, LINE[1:]])]}, "shapes [(20, 1), (19, 1)]; give one array. For pairs"),
    ({}, {"terms": [Term(START.residual, [[[0.0], [1.0]], [[0.0]]])]}, "shapes [(2, 1), (1, 1)]; give one array"),
    ({}, {"terms": [Term(START.residual, [LINE, LINE])]}, "make it by np.stack([left, right], axis=1)"),
    (
        {},
        {"terms": [Term(START.residual, np.ones((2, 2, 2)))]},
        "has shape (2, 2, 2), but must have (m, 1), or",
    ),
    ({}, {"terms": [Term(START.residual, np.ones((2, 1, 1, 1)))]}, "must have (m, 1), or (m, k, 1)"),
    ({}, {"terms": [Term(START.residual, np.ones((2, 2, 1)))]}, "a residual has shape (2, 2, 1) at 2 points"),
    (
        {},
        {"terms": [Term(lambda x, u, du, ddu, xp: ddu[0, 1], LINE)]},
        "no ddu[0, 1]: give two numbers of inputs, from 0 to 0",
    ),
    ({}, {"terms": [START, EXACT[0], END]}, "terms [0, 2] have no weight, but others do; give a weight to every term"),
    ({}, {"steps": -1}, "steps=-1 must be a whole number of at least 0"),
    ({}, {"redraw": 0}, "redraw=0 must be a whole number of at least 1"),
    ({}, {"damping": 0}, "damping=0 must be a finite number above 0; 1e-3 is usual"),
    ({}, {"callbacks": [ReduceLROnPlateau()]}, "ReduceLROnPlateau is for other optimizers: solve has no learning rate"),
    ({}, {"coefficients": ["c"]}, "coefficients=['c'] must be a dict of first values"),
    ({}, {"coefficients": {"c": np.inf}}, "coefficients['c']=inf must be a finite number"),
    ({}, {"coefficients": {"cost": 1.0}}, "coefficients has the name 'cost'"),
    ({}, {"coefficients": {"c": 1.0, "k": 1.0}}, "coefficients has 'k', which no residual takes"),
    ({}, {"bounds": [("c", 0)]}, "bounds=[('c', 0)] must be a dict"),
    *(
        ({}, {"bounds": {name: pair}}, f"bounds['{name}']={pair!r} must be a pair (low, high) in increasing order")
        for name, pair in {"k": (0, None), "c": 0}.items()
    ),
    *(({}, {"bounds": {"c": pair}}, f"bounds['c']={pair!r} must be a pair") for pair in BAD_PAIRS),
    ({}, {"time": 0}, "edges=None must be a list of numbers in increasing order"),
    ({}, {"edges": [0.5]}, "time=None must be a whole number of at least 0"),
    ({}, {"time": 1, "edges": [0.5]}, "time=1 must be the number of an input, from 0 to 0"),
    ({}, {"time": 0, "edges": []}, "edges=[] must be a list of numbers in increasing order, above 0"),
    ({}, {"time": 0, "edges": [0.5, "a"]}, "edges=[0.5, 'a'] must be a list of numbers"),
    ({}, {"time": 0, "edges": [0.0, 0.5]}, "increasing order, above 0 and at most 1, the times of points (input 0)"),
    ({}, {"time": 0, "edges": [0.5, 1.5]}, "edges=[0.5, 1.5] must be a list of numbers in increasing order"),
    ({}, {"time": 0, "edges": [0.5, 0.5]}, "edges=[0.5, 0.5] must be a list of numbers in increasing order"),
    ({}, {"time": 0, "edges": [0.5], "steps": 1}, "steps=1 must be at least the number of windows of edges=[0.5]"),
    ({}, {"terms": [FEW]}, "a residual has shape (1,) at 20 points, but must have (20,)"),
    ({}, {"terms": [ONE_NUMBER]}, "a residual has shape () at 20 points"),
    ({}, {"terms": [Term(lambda x, u, *_: np.sin(u), LINE)]}, "term 0 cannot be computed and differentiated"),
    ({}, {"terms": [Term(lambda x, u, *_: u - LINE[1:], LINE)]}, "with arrays that have a row for each point"),
    ({}, {"terms": [START, Term(lambda x, u, du, xp: u, LINE)]}, "term 1 cannot be computed and differentiated"),
    ({}, {"terms": [Term(lambda x, u, du, *_: du[1], LINE)]}, "term 0 cannot be computed and differentiated"),
]


@pytest.mark.parametrize(("options", "arguments", "message"), REFUSED)
def test_wrong_arguments_change_nothing(options, arguments, message):
    net = make(**options)
    before = net.value
    defaults = {"terms": [DECAY], "coefficients": None if "terms" in arguments else {"c": 1.0}, "progress": False}
    with pytest.raises(ValueError, match=re.escape(message)):
        net.solve(**{**defaults, **arguments})
    assert net.value is before


@pytest.mark.parametrize("wrong", [{"residual": 1.0}, {"weight": 0.0}, {"draw": (0, 1)}, {"noise": 0.0}])
def test_wrong_terms(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=re.escape(f"{name}={value} must be ")):
        Term(**{"residual": START.residual, "x": LINE, **wrong})


def test_observations_are_not_drawn():
    with pytest.raises(ValueError, match="draw does not go with noise"):
        Term(START.residual, LINE, draw=draw_line, noise="estimate")


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
    lambda x, u, du, ddu, xp: u - u[:1, :],
    lambda x, u, du, ddu, xp: xp.concat([u[:1, :] - u[16:17, :], u[1:, :]]),
]
ROW_BY_ROW = [
    lambda x, u, du, ddu, xp: u - xp.asarray(LINE**2, device=u.device),
    lambda x, u, du, ddu, xp: u - x / xp.max(x),
    lambda x, u, du, ddu, xp: xp.where(x > 0.5, xp.exp(50.0 * u) - 1.0, 0.0 * u),
    lambda x, u, du, ddu, xp: (1e12 * u - 1e12 * u * xp.cos(x) + 1e-9 * ddu[0])[:, 0],
    lambda x, u, du, ddu, xp: xp.log(u + 1.0) * u if bool(xp.all(u > -1.0)) else None,
]


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize("mixes", [True, False])
def test_a_residual_that_mixes_rows_is_refused(place, mixes):
    for residual in MIXED if mixes else ROW_BY_ROW:
        net = make(**place._asdict())
        net.layers = [(np.ones(w.shape), np.zeros(b.shape)) for w, b in net.layers]  # u increases
        before, terms = net.value, [START, Term(residual, LINE)]
        if mixes:
            with pytest.raises(ValueError, match="the residual of term 1 mixes rows"):
                net.solve(terms, 2, progress=False)
            assert net.value is before
        else:
            net.solve(terms, 2, progress=False)


def test_draw_gives_as_many_points_as_it_is_asked_for():
    net = make()
    for x in (LINE, np.tile(LINE, (10, 1))[:, None, :]):
        with pytest.raises(ValueError, match=re.escape(f"draw of term 0 has shape {x.shape}, but must have (200, 1)")):
            net.solve([Term(START.residual, LINE, draw=lambda rng, n, x=x: x)], redraw=2, progress=False)
        assert len(net.history) == 2
    with pytest.raises(ValueError, match=re.escape("draw of term 0 has shape (19, 1), but must have (20, 1)")):
        net.check_solution([Term(START.residual, LINE, draw=lambda rng, n: LINE[1:])])


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize("x", [LINE, LINE[1:]], ids=["at first", "at points that are drawn"])
def test_residuals_that_are_not_finite(place, x):
    net = make(**place._asdict())
    before = snapshot(net)
    term = Term(lambda x, u, du, ddu, xp: u / x, x, draw=lambda rng, n: np.zeros((n, 1)))
    with pytest.raises(DivergenceError, match=r"residuals of terms \[1\] or their derivatives are not finite"):
        net.solve([START, term], redraw=2, progress=False)
    assert len(net.history) == (0 if x is LINE else 2)
    if x is LINE:
        assert_same(net, before)
