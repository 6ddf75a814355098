"""Equations that no page, test or other benchmark has: coefficients, long times, and conditions between points.

    python benchmarks/unseen_equations.py [--questions inverse field times pairs] [--seeds 5] [--peers]

The problems, and what is asked of xpnet, were written down before anything was measured. `inverse`: coefficients of
three systems from noisy data, beside SciPy's `least_squares` with `solve_ivp`, and a parametric bootstrap of it.
`field`: a conductivity that varies, beside the same with a spline. `times`: an oscillator, a front and a wave over long
times; `pairs`: a period, an integral and a mixed derivative. Both are beside PyTorch's L-BFGS with the same network and
points, and weights chosen by hand, in the seconds that are allowed. `--peers` measures the other programs alone.

Prints tables of medians; exits with status 1 if something that is asked is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from harness import Report, machine
from residuals import PI, Problem, be, grid, line, solve_by_torch
from scipy.fft import dct, idct
from scipy.integrate import solve_bvp, solve_ivp
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

from xpnet import Term

# Inverse problems. Asked: standard errors within 10 % of SciPy's and of a bootstrap's (medians of the ratios), and
# coefficients within half a standard error of SciPy's.
NEAR, CLOSE, SAMPLES = 0.1, 0.5, 200


class Inverse(NamedTuple):
    """A system with unknown coefficients, and when and how well its states are observed."""

    rates: Callable  # of (states, coefficients): a list
    first: Callable  # of coefficients: the states at time 0
    end: float
    observed: list[int]
    noise: float
    n: int
    true: dict[str, float]
    guess: dict[str, float]


INVERSES = {
    "predators": Inverse(
        lambda z, q: [z[0] * (q["birth"] - q["loss"] * z[1]), z[1] * (q["gain"] * z[0] - q["death"])],
        lambda q: [1.0, 0.7],
        *(8.0, [0, 1], 0.1, 30),
        {"birth": 1.5, "loss": 1.0, "gain": 0.8, "death": 1.0},
        dict.fromkeys(("birth", "loss", "gain", "death"), 1.0),
    ),
    "epidemic": Inverse(  # only the infected are observed, and the first ones are unknown
        lambda z, q: [-q["spread"] * z[0] * z[1], z[1] * (q["spread"] * z[0] - q["cure"])],
        lambda q: [1.0 - 0.02 * q["seed"], 0.02 * q["seed"]],
        *(12.0, [1], 0.015, 25),
        {"spread": 1.8, "cure": 0.5, "seed": 1.0},
        {"spread": 1.0, "cure": 1.0, "seed": 2.0},
    ),
    "drug": Inverse(  # in blood, from where it moves to tissue and back; only blood is observed
        lambda z, q: [q["back"] * z[1] - (q["out"] + q["over"]) * z[0], q["over"] * z[0] - q["back"] * z[1]],
        lambda q: [1.0, 0.0],
        *(8.0, [0], 0.02, 20),
        {"out": 0.6, "over": 0.8, "back": 0.5},
        dict.fromkeys(("out", "over", "back"), 1.0),
    ),
}


def integrate(problem: Inverse, t: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Solve a system at increasing times; return the observed states, (n, observed)."""
    q = dict(zip(problem.true, coefficients))
    options = {"t_eval": t, "method": "LSODA", "rtol": 1e-9, "atol": 1e-11}
    found = solve_ivp(lambda _, z: problem.rates(z, q), (0.0, problem.end), problem.first(q), **options)
    return found.y[problem.observed].T


def observe(problem: Inverse, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw times and noisy observations."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0.0, problem.end, problem.n))
    exact = integrate(problem, t, np.array([*problem.true.values()]))
    return t, exact + problem.noise * rng.standard_normal(exact.shape)


def fit_by_scipy(simulate: Callable, y: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit coefficients by least squares; return them and their covariance, with the noise from the residuals."""
    found = least_squares(lambda q: (simulate(q) - y).ravel(), guess, x_scale="jac", diff_step=1e-5, bounds=(0, np.inf))
    noise = 2.0 * found.cost / (y.size - guess.size)
    return found.x, noise * np.linalg.inv(found.jac.T @ found.jac)


def bootstrap(simulate: Callable, y: np.ndarray, best: np.ndarray, seed: int) -> np.ndarray:
    """Compute standard errors from fits of new observations around the best fit."""
    rng, fit = np.random.default_rng(1000 + seed), simulate(best)
    noise = np.sqrt(np.sum((fit - y) ** 2) / (y.size - best.size))
    fits = [fit_by_scipy(simulate, fit + noise * rng.standard_normal(y.shape), best)[0] for _ in range(SAMPLES)]
    return np.std(fits, axis=0, ddof=1)


# A field: u_t = (a(x) u_x)_x on [0, 1], u = 1 and 0 at the ends, a unknown, 150 noisy observations of u. Asked: the
# error of a at most 1.25 times that of a spline with seven knots fitted by SciPy (medians), and the band of 90 % holds
# 80 % of a or more (mean).
FIELD_NOISE, FIELD_N, KNOTS, MORE, HELD = 0.01, 150, 7, 1.25, 0.8
FIELD_X = np.linspace(0.0, 1.0, 101)


def conduct(x):
    """The conductivity."""
    return 0.1 * (1.0 + 0.5 * np.sin(2.5 * x + 0.5) - 0.4 * x**2)


def begin_heat(x, sin=np.sin):
    return 1.0 - x + 0.5 * sin(2 * PI * x)


def diffuse(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Solve for conductivities at the middles between the points of FIELD_X; return u at rows (x, t) with rising t."""
    h = FIELD_X[1]

    def rates(_, u):
        whole = np.concatenate([[1.0], u, [0.0]])
        return np.diff(a * np.diff(whole)) / h**2

    start = begin_heat(FIELD_X)[1:-1]
    options = {"method": "LSODA", "lband": 1, "uband": 1, "rtol": 1e-7, "atol": 1e-9}
    u = solve_ivp(rates, (0.0, 1.0), start, t_eval=x[:, 1], **options).y
    return np.array([np.interp(point, FIELD_X, [1.0, *column, 0.0]) for point, column in zip(x[:, 0], u.T)])


def observe_field(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.0, 1.0, (FIELD_N, 2))
    x = x[np.argsort(x[:, 1])]
    return x, diffuse(conduct(0.5 * (FIELD_X[1:] + FIELD_X[:-1])), x) + FIELD_NOISE * rng.standard_normal(FIELD_N)


# Long times. Asked: the relative error (median of the seeds) in the seconds, and less than PyTorch's; the oscillator's
# error with every seed.


def brusselator(rng):
    """u′ = 1 − 4u + u²v and v′ = 3u − u²v: bursts, to t = 12; inputs are t / 6 − 1, outputs u / 2 and v / 4."""

    def first(x, u, du, ddu, xp):
        p, q = 2.0 * u[:, :1], 4.0 * u[:, 1:]
        return du[0][:, :1] / 6.0 - (1.0 - 4.0 * p + p * p * q) / 2.0

    def second(x, u, du, ddu, xp):
        p, q = 2.0 * u[:, :1], 4.0 * u[:, 1:]
        return du[0][:, 1:] / 6.0 - (3.0 * p - p * p * q) / 4.0

    points, start = line(200, -1, 1), line(1, -1, -1)
    terms = [Term(first, points), Term(second, points)]
    terms += [Term(lambda x, u, *_: u[:, :1] - 0.5, start, 100.0), Term(lambda x, u, *_: u[:, 1:] - 0.5, start, 100.0)]
    t = np.linspace(0.0, 12.0, 400)
    options = {"t_eval": t, "method": "DOP853", "rtol": 1e-11, "atol": 1e-12}
    y = solve_ivp(
        lambda _, z: [1 - 4 * z[0] + z[0] ** 2 * z[1], 3 * z[0] - z[0] ** 2 * z[1]], (0, 12), [1, 2], **options
    ).y
    return Problem((1, 20, 20, 2), 300, terms, t[:, None] / 6 - 1, y.T / [2, 4], 1e-2, 10.0)


def begin_fronts(x, exp):
    return 0.8 * exp(-40.0 * (x + 0.4) ** 2) + 0.3 * exp(-40.0 * (x - 0.45) ** 2)


def fisher(rng):
    """u_t = D u_xx + 6 u (1 − u), D = 0.001: two bumps become plateaus, whose fronts meet."""
    diffusion, growth = 1e-3, 6.0

    def equation(x, u, du, ddu, xp):
        return du[1] - diffusion * ddu[0] - growth * u * (1.0 - u)

    def start(x, u, du, ddu, xp):
        return u - begin_fronts(x[:, :1], xp.exp)

    def draw(rng, n):
        return rng.uniform([-1, 0], [1, 1], (n, 2))

    begin, sides = grid(np.linspace(-1, 1, 100), [0.0]), grid([-1.0, 1.0], np.linspace(0, 1, 20))
    terms = [Term(equation, draw(rng, 1000), 0.1, draw), Term(start, begin, 100.0)]
    terms += [Term(lambda x, u, du, ddu, xp: du[0], sides, 0.1)]
    n, steps = 512, 4000  # exact in each half: of reaction, and of diffusion by cosines
    x, decay = (np.arange(n) + 0.5) * 2 / n - 1, np.exp(-diffusion * (np.arange(n) * PI / 2) ** 2 / steps)
    u, grow, rows = begin_fronts(x, np.exp), np.exp(0.5 * growth / steps), []
    for k in range(1, steps + 1):
        u = grow * u / (1 + (grow - 1) * u)
        u = idct(decay * dct(u))
        u = grow * u / (1 + (grow - 1) * u)
        if k % (steps // 20) == 0:
            rows.append(u[::4])
    points = grid(x[::4], np.arange(1, 21) / 20)
    return Problem((2, 20, 20, 20, 1), 300, terms, points, np.concatenate(rows)[:, None], 4e-3, 20.0)


def klein_gordon(rng):
    """u_tt = u_xx − 25 u with the modes 1 and 3 on [0, 1], to t = 2; the second input is t − 1."""
    waves = [(k, size, np.sqrt((k * PI) ** 2 + 25.0)) for k, size in ((1, 1.0), (3, 0.5))]

    def equation(x, u, du, ddu, xp):
        return (ddu[1] - ddu[0] + 25.0 * u) / 100.0

    def start(x, u, du, ddu, xp):
        return u - xp.sin(PI * x[:, :1]) - 0.5 * xp.sin(3 * PI * x[:, :1])

    begin, sides = grid(np.linspace(0, 1, 50), [-1.0]), grid([0.0, 1.0], np.linspace(-1, 1, 50))
    terms = [Term(equation, rng.uniform([0, -1], [1, 1], (600, 2))), Term(start, begin, 10.0)]
    terms += [Term(lambda x, u, du, ddu, xp: du[1] / 10.0, begin, 10.0), Term(be(0.0), sides, 10.0)]
    points = grid(np.linspace(0, 1, 50), np.linspace(-1, 1, 80))
    exact = sum(size * np.sin(k * PI * points[:, :1]) * np.cos(w * (points[:, 1:] + 1)) for k, size, w in waves)
    return Problem((2, 20, 20, 20, 1), 300, terms, points, exact, 1e-3, 8.0)


TIMES = {"brusselator": brusselator, "fisher": fisher, "klein-gordon": klein_gordon}

# Conditions between points. Asked: the relative error (median) in the seconds, and less than PyTorch's.


def duffing(rng):
    """u″ + 0.3 u′ + u + u³ = cos t, with the period of the force; the input is t / π − 1."""

    def equation(x, u, du, ddu, xp):
        return ddu[0] / PI**2 + 0.3 * du[0] / PI + u + u**3 + xp.sin(PI * x + 0.5 * PI)

    both = np.array([[[-1.0], [1.0]]])
    terms = [Term(equation, line(80, -1, 1)), Term(lambda x, u, *_: u[:, 0] - u[:, 1], both, 10.0)]
    terms += [Term(lambda x, u, du, ddu, xp: du[0][:, 0] - du[0][:, 1], both, 1.0)]
    t = np.linspace(0, 2 * PI, 200)
    found = solve_bvp(
        lambda t, z: [z[1], np.cos(t) - 0.3 * z[1] - z[0] - z[0] ** 3],
        lambda a, b: a - b,
        *(t, np.array([np.sin(t), np.cos(t)])),
        tol=1e-10,
        max_nodes=100_000,
    )
    return Problem((1, 20, 20, 1), 200, terms, t[:, None] / PI - 1, found.sol(t)[:1].T, 1e-4, 3.0)


def condensate(rng):
    """−u″ / π² + 2 u³ = μ u on [0, 1], u = 0 at its ends, ∫ u² = 1: the ground state and its unknown energy."""
    z, w = np.polynomial.legendre.leggauss(32)
    nodes, w = 0.5 * (z + 1)[None, :, None], 0.5 * w

    def equation(x, u, du, ddu, xp, energy):
        return -ddu[0] / PI**2 + 2.0 * u**3 - energy * u

    def norm_is_one(x, u, du, ddu, xp, **_):
        return xp.sum(xp.asarray(w) * u[..., 0] ** 2, axis=1) - 1.0

    ends = Term(lambda x, u, *_, **numbers: u, line(2, 0, 1), 10.0)
    terms = [Term(equation, line(60, 0, 1)), ends, Term(norm_is_one, nodes, 10.0)]
    x = np.linspace(0, 1, 200)
    found = solve_bvp(
        lambda x, z, p: [z[1], PI**2 * (2 * z[0] ** 3 - p[0] * z[0]), z[0] ** 2],
        lambda a, b, p: [a[0], b[0], a[2], b[2] - 1],
        *(x, np.array([1.4 * np.sin(PI * x), 1.4 * PI * np.cos(PI * x), x]), [3.5]),
        tol=1e-10,
        max_nodes=100_000,
    )
    energy = {"energy": (1.0, float(found.p[0]))}
    return Problem((1, 20, 20, 1), 200, terms, x[:, None], found.sol(x)[:1].T, 1e-4, 3.0, energy)


def sine_gordon(rng):
    """u_xy = sin u, along the characteristics: a kink, 4 arctan e^(x + y)."""

    def kink(points):
        return 4 * np.arctan(np.exp(points.sum(axis=-1, keepdims=True)))

    edges = np.concatenate([grid([-2.0], np.linspace(-2, 2, 40)), grid(np.linspace(-2, 2, 40), [-2.0])])
    known = kink(edges)

    def equation(x, u, du, ddu, xp):
        return ddu[0, 1] - xp.sin(u)

    def edge(x, u, du, ddu, xp):
        return u - xp.asarray(known)

    terms = [Term(equation, rng.uniform(-2, 2, (300, 2))), Term(edge, edges, 10.0)]
    points = grid(np.linspace(-2, 2, 50), np.linspace(-2, 2, 50))
    return Problem((2, 20, 20, 1), 200, terms, points, kink(points), 1e-4, 5.0)


PAIRS = {"duffing": duffing, "condensate": condensate, "sine-gordon": sine_gordon}


# Peers


def fit_spline(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the conductivity by a spline; return it and its standard deviation at FIELD_X."""
    knots = np.linspace(0.0, 1.0, KNOTS)
    middles = 0.5 * (FIELD_X[1:] + FIELD_X[:-1])
    best, covariance = fit_by_scipy(
        lambda q: diffuse(np.maximum(CubicSpline(knots, q)(middles), 1e-4), x), y, np.full(KNOTS, 0.1)
    )
    basis = CubicSpline(knots, np.eye(KNOTS))(FIELD_X)
    return basis @ best, np.sqrt(np.einsum("ij,jk,ik->i", basis, covariance, basis))


def ask_inverse(report: Report, seeds: int, peers: bool) -> None:
    report.head("system", "coefficient", "SciPy, median", "its standard error", "bootstrap / SciPy", "SciPy's seconds")
    for name, problem in INVERSES.items():
        best, errors, ratios, seconds = [], [], [], []
        for seed in range(seeds):
            t, y = observe(problem, seed)
            simulate, start = partial(integrate, problem, t), time.process_time()
            fit, covariance = fit_by_scipy(simulate, y, np.array([*problem.guess.values()]))
            seconds.append(time.process_time() - start)
            best.append(fit)
            errors.append(np.sqrt(np.diag(covariance)))
            ratios.append(bootstrap(simulate, y, fit, seed) / errors[-1])
        for key, *shown in zip(problem.true, *(np.median(part, axis=0) for part in (best, errors, ratios))):
            report.row(name, key, *(f"{number:.3g}" for number in shown), f"{np.median(seconds):.2f}")


def ask_field(report: Report, seeds: int, peers: bool) -> None:
    report.head("contender", "relative error, median", "held by 90 %, mean", "seconds, median")
    found = []
    for seed in range(seeds):
        x, y = observe_field(seed)
        start, exact = time.process_time(), conduct(FIELD_X)
        a, std = fit_spline(x, y)
        held = np.mean(np.abs(a - exact) <= 1.645 * std)
        found.append((np.linalg.norm(a - exact) / np.linalg.norm(exact), held, time.process_time() - start))
    error, _, seconds = np.median(found, axis=0)
    report.row("SciPy, spline", f"{error:.1e}", f"{np.mean(found, axis=0)[1]:.0%}", f"{seconds:.1f}")


def ask_errors(report: Report, seeds: int, peers: bool, problems: dict[str, Callable]) -> None:
    report.head("problem", "contender", "relative error, median", "least", "largest", "seconds, median")
    for name, make in problems.items():
        errors, seconds = [], []
        for seed in range(seeds):
            problem = make(np.random.default_rng(seed))
            start = time.process_time()
            u = solve_by_torch(problem, seed, problem.seconds)
            seconds.append(time.process_time() - start)
            errors.append(np.linalg.norm(u - problem.exact) / np.linalg.norm(problem.exact))
        shown = [f"{value:.1e}" for value in (np.median(errors), min(errors), max(errors))]
        report.row(name, "PyTorch, L-BFGS", *shown, f"{np.median(seconds):.1f}")


QUESTIONS = {
    "inverse": ask_inverse,
    "field": ask_field,
    "times": lambda *arguments: ask_errors(*arguments, TIMES),
    "pairs": lambda *arguments: ask_errors(*arguments, PAIRS),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=[*QUESTIONS], help="them (all)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    parser.add_argument("--peers", action="store_true", help="measure the other programs alone")
    args = parser.parse_args()
    report = Report()
    report.line(f"{machine('scipy')}; seeds 0 to {args.seeds - 1}, processor seconds.")
    for question in args.questions:
        QUESTIONS[question](report, args.seeds, args.peers)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
