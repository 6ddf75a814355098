"""Inverse problems: coefficients and standard errors of `Network.solve` beside SciPy's, and bands of a field.

Coefficients of Michaelis and Menten's kinetics with decay, from 30 times and two observations at each, with noise of
0.05: beside `scipy.optimize.least_squares` of the curves that `solve_ivp` integrates, and, with `--bootstrap N`, beside
the standard deviations of N fits to resampled observations. A field k in u′ = −k(x) u from 60 observations of u: how
much of it is within bands of 90 %.

Exits with status 1 if it misses what docs/use/inverse-problems.md says.
"""

import argparse
import sys
import time
import warnings

import numpy as np
from harness import Report, machine
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from xpnet import Network, Term

END, NOISE, NAMES = 4.0, 0.05, ("v", "k", "d")
TRUE, FIRST = (1.5, 0.6, 0.8), (1.0, 1.0, 1.0)
FIELD_NOISE = 0.02


def line(n):
    return np.linspace(-1, 1, n)[:, None]


def make(sizes, seed):
    return Network(sizes, activation="tanh", task="regression", dtype="float64", seed=seed)


def integrate(q, times):
    def rates(_, z):
        rate = q[0] * z[0] / (q[1] + z[0])
        return -rate, rate - q[2] * z[1]

    tolerance = {"rtol": 1e-9, "atol": 1e-11}
    return solve_ivp(rates, [0, END], [2.0, 0.0], t_eval=times, method="LSODA", **tolerance).y.T


def list_terms(times, seen):
    """Time is 2 (x + 1)."""

    def consume(x, u, du, ddu, xp, v, k):
        return du[0][:, :1] / 2 * (k + u[:, :1]) + v * u[:, :1]

    def decay(x, u, du, ddu, xp, d):
        return (du[0][:, 1:] + du[0][:, :1]) / 2 + d * u[:, 1:]

    def compare(output, values, at, **options):
        return Term(lambda x, u, *_: u[:, output] - values, at, **options)

    terms = [Term(equation, line(80)) for equation in (consume, decay)]
    terms += [compare(output, 2.0 - 2.0 * output, [[-1.0]]) for output in (0, 1)]
    at = (times / 2 - 1)[:, None]
    return terms + [compare(output, seen[:, output], at, noise=NOISE) for output in (0, 1)]


def compare_coefficients(seed, n_bootstrap, report):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, END, 30))
    seen = integrate(TRUE, times) + NOISE * rng.standard_normal((30, 2))
    terms, net, started = list_terms(times, seen), make([1, 16, 16, 2], seed), time.process_time()
    net.solve(terms, 200, coefficients=dict(zip(NAMES, FIRST)), progress=False)
    check = net.check_solution(terms)
    seconds, started = time.process_time() - started, time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of negative guesses
        fit = least_squares(lambda q: ((integrate(q, times) - seen) / NOISE).ravel(), FIRST, diff_step=1e-5)
    its_seconds, its_errors = time.process_time() - started, np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
    q, errors = (np.array([row[name] for row in check.coefficients]) for name in ("value", "standard_error"))
    shares, away = errors / its_errors, np.abs(q - fit.x) / its_errors
    report.row(f"coefficients, seed {seed}", f"{shares.min():.3f} to {shares.max():.3f}", f"{away.max():.1e}",
               f"{seconds:.1f}", f"{its_seconds:.2f}")  # fmt: skip
    if max(away.max(), np.abs(shares - 1.0).max()) > 0.05:
        report.problems.append(f"seed {seed}: values or standard errors differ from SciPy's by 5 %")
    if n_bootstrap:
        curve, fits = integrate(q, times), []
        for _ in range(n_bootstrap):
            again = list_terms(times, curve + NOISE * rng.standard_normal(curve.shape))
            history = net.copy().solve(again, 40, coefficients=dict(zip(NAMES, q)), progress=False)
            fits.append([history[name][-1] for name in NAMES])
        ratios = ", ".join(f"{ratio:.2f}" for ratio in errors / np.std(fits, axis=0, ddof=1))
        report.row(f"bootstrap, seed {seed}", ratios, "", "", "")


def cover_field(seed):
    """Return the parts of u and k that are within their bands, and the mean standard deviations."""
    rng, x = np.random.default_rng(seed), line(41)
    points = rng.uniform(-1, 1, (60, 1))

    def solution(x):
        return 2.0 * np.exp(-(x + 1) - 0.25 * (np.cos(2) - np.cos(2 * x)))

    seen = solution(points) + FIELD_NOISE * rng.standard_normal(points.shape)
    terms = [
        Term(lambda x, u, du, *_: du[0][:, :1] + u[:, 1:] * u[:, :1], line(60)),
        Term(lambda x, u, *_: u[:, :1] - seen, points, noise="estimate"),
    ]
    net = make([1, 16, 16, 2], seed)
    net.solve(terms, 200, progress=False)
    net.fit_laplace(terms)
    mean, std = net.predict(x, return_std=True)
    exact = np.hstack([solution(x), 1.0 + 0.5 * np.sin(2 * x)])
    return (np.abs(mean - exact) < 1.645 * std).mean(axis=0), np.sqrt(np.mean((mean - exact) ** 2, axis=0)), std.mean(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    parser.add_argument("--fields", type=int, default=16, help="number of seeds of the field (16)")
    parser.add_argument("--bootstrap", type=int, default=0, help="fits to resampled observations, for seed 0 (none)")
    args = parser.parse_args()
    report = Report()
    report.line(f"{machine()}; processor seconds.")
    report.head("problem", "standard errors / SciPy's", "largest |difference| / standard error", "seconds", "SciPy's")
    for seed in range(args.seeds):
        compare_coefficients(seed, args.bootstrap if seed == 0 else 0, report)
    covered, errors, stds = (np.array(part) for part in zip(*map(cover_field, range(args.fields))))
    report.line(
        f"Field: {100 * covered.mean(0)[1]:.0f} % of k within 90 % bands (least {100 * covered[:, 1].min():.0f}), "
        f"{100 * covered.mean(0)[0]:.0f} % of u; errors of k {np.median(errors[:, 1]):.3f}, "
        f"standard deviations {np.median(stds[:, 1]):.3f} (medians)"
    )
    if covered.mean(0).min() < 0.85:
        report.problems.append("bands of a field hold less than 85 %")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
