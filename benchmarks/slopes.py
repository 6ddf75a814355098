"""Compare networks trained on a few runs with slopes: with more runs without, in size, and Bayesian ones with others.

The function is the weight of a light aircraft's wing, with ten inputs (A. Forrester, A. Sobester and A. Keane,
"Engineering Design via Surrogate Modelling", 2008). README.md in this folder describes the runs.
"""

import argparse
import sys
import time
import warnings
from itertools import pairwise

import numpy as np
from harness import Report, machine

from xpnet import Adam, Cosine, Ensemble, LevenbergMarquardt, Network
from xpnet.estimators import MLPRegressor

LOW = np.array([150, 220, 6, -10, 16, 0.5, 0.08, 2.5, 1700, 0.025])
HIGH = np.array([200, 300, 10, 10, 45, 1.0, 0.18, 6.0, 2500, 0.08])
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64", "standardize": True}
FEW, MANY, TEST = 256, 1024, 5000
SIZES = ([10, 10, 1], [10, 20, 1], [10, 40, 1], [10, 20, 20, 1])
DECAYS = (1e-6, 1e-5, 1e-4, 1e-3)


def wing_weight(x):
    """Return the weight in pounds of each row: area, fuel, aspect, sweep, pressure, taper, thickness, load, ..."""
    area, fuel, aspect, sweep, pressure, taper, thickness, load, gross, paint = x.T
    cosine = np.cos(sweep * np.pi / 180)
    shape = (aspect / cosine**2) ** 0.6 * taper**0.04 * (100 * thickness / cosine) ** -0.3
    return 0.036 * area**0.758 * fuel**0.0035 * pressure**0.006 * shape * (load * gross) ** 0.49 + area * paint


def slopes_of(x):
    """Return the derivatives of the weight by each input, by steps into the imaginary direction: they are exact."""
    return np.stack([wing_weight(x + 1e-100j * unit).imag / 1e-100 for unit in np.eye(10)], axis=1)


def levenberg_marquardt(x, y, slopes, seed):
    """Train by Levenberg-Marquardt."""
    net = Network([10, 20, 1], seed=seed, **OPTIONS)
    net.train((x, y), epochs=200, optimizer=LevenbergMarquardt(), slopes=slopes, progress=False)
    return net


def adam(x, y, slopes, seed):
    """Train by Adam, with all examples in every step."""
    net, options = Network([10, 20, 1], seed=seed, **OPTIONS), {"optimizer": Adam(), "lr": Cosine(0.01)}
    net.train((x, y), epochs=3000, batch_size=len(x), slopes=slopes, progress=False, **options)
    return net


def lbfgs(x, y, slopes, seed):
    """Train by L-BFGS."""
    options = {"solver": "lbfgs", "alpha": 0.0, "tol": 1e-9, "max_iter": 3000, "max_fun": 4000, "standardize": True}
    regressor = MLPRegressor(hidden_layer_sizes=(20,), activation="tanh", random_state=seed, **options)
    return regressor.fit(x, y, slopes=slopes)


METHODS = {"Levenberg-Marquardt": levenberg_marquardt, "L-BFGS": lbfgs, "Adam": adam}


def run(train, n, with_slopes, seed):
    """Train once; return the error on other points, in standard deviations, and the seconds of the processor."""
    x = np.random.default_rng(seed).uniform(LOW, HIGH, (n, 10))
    x_test = np.random.default_rng(999).uniform(LOW, HIGH, (TEST, 10))
    y, slopes, start = wing_weight(x), slopes_of(x) if with_slopes else None, time.process_time()
    model = train(x, y, slopes, seed)
    seconds, y_test = time.process_time() - start, wing_weight(x_test)
    return np.sqrt(np.mean((model.predict(x_test) - y_test) ** 2)) / y_test.std(), seconds


def draw_wing(n, noise, seed):
    """Draw runs of the wing, and slopes that are off by a fraction of their size; and other points."""
    rng = np.random.default_rng(seed)
    x, x_test = rng.uniform(LOW, HIGH, (n, 10)), np.random.default_rng(999).uniform(LOW, HIGH, (TEST, 10))
    slopes = slopes_of(x)
    slopes = slopes * (1 + noise * rng.standard_normal(slopes.shape))
    return x, wing_weight(x), slopes, x_test, wing_weight(x_test)


def draw_wave(n, noise, seed):
    """Draw points of a wave in two dimensions, likewise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n + 1000, 2))
    y = np.sin(2 * x[:, 0]) * x[:, 1]
    slopes = np.stack([2 * np.cos(2 * x[:, 0]) * x[:, 1], np.sin(2 * x[:, 0])], axis=1)
    slopes = slopes * (1 + noise * rng.standard_normal(slopes.shape))
    return x[:n], y[:n], slopes[:n], x[n:], y[n:]


def train_with_slopes(sizes, data, optimizer, steps, seed, members=1):
    """Train by Levenberg-Marquardt; return error, seconds, and the fraction of new targets in the 90 % intervals."""
    x, y, slopes, x_test, y_test = data
    net, start = Ensemble(sizes, members=members, seed=seed, **OPTIONS), time.process_time()
    net.train((x, y), epochs=steps, optimizer=optimizer, slopes=slopes, progress=False)
    seconds, inside = time.process_time() - start, np.nan
    error = abs(net.predict(x_test) - y_test)
    if optimizer.bayesian:
        net.fit_laplace((x, y), slopes=slopes)
        inside = np.mean(error < 1.645 * net.predict(x_test, return_std=True)[1])
    return np.sqrt(np.mean(error**2)) / y_test.std(), seconds, inside


def compare_sizes(report, seeds):
    """Compare sizes of networks trained on exact slopes, with 100 steps."""
    report.head("runs", "sizes", "weights", "error, median", "seconds of the processor, median")
    for n in (64, FEW):
        for sizes in SIZES:
            weights = sum(a * b + b for a, b in pairwise(sizes))
            rows = [
                train_with_slopes(sizes, draw_wing(n, 0.0, seed), LevenbergMarquardt(), 100, seed)
                for seed in range(seeds)
            ]
            error, seconds, _ = np.median(rows, axis=0)
            report.row(n, "-".join(map(str, sizes)), weights, f"{error:.1e}", f"{seconds:.1f}")


def compare_bayesian(report, seeds):
    """Compare Bayesian training with slopes with the best of four weight decays, with 200 steps; and count coverage."""
    report.head("function", "noise of slopes", "method", "error, median", "seconds", "in 90 % intervals", "least")
    methods = [(f"weight_decay={decay:g}", LevenbergMarquardt(weight_decay=decay), 1) for decay in DECAYS]
    methods += [(f"bayesian, {members}", LevenbergMarquardt(bayesian=True), members) for members in (1, 5)]
    cases = [("wing, 64 runs", draw_wing, 64, [10, 20, 1]), ("wave, 40 points", draw_wave, 40, [2, 12, 1])]
    for name, draw, n, sizes in cases:
        for noise in (0.0, 0.1):
            for method, optimizer, members in methods:
                rows = [
                    train_with_slopes(sizes, draw(n, noise, seed), optimizer, 200, seed, members)
                    for seed in range(seeds)
                ]
                error, seconds, inside = np.median(rows, axis=0)
                least = min(row[2] for row in rows)
                report.row(name, noise, method, f"{error:.1e}", f"{seconds:.1f}", f"{inside:.0%}", f"{least:.0%}")


COMPARISONS = {"sizes": compare_sizes, "bayesian": compare_bayesian}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", nargs="?", choices=COMPARISONS, help="in place of that with more runs")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="methods to run (all)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    args = parser.parse_args()
    report = Report()
    report.line(f"{machine('scipy')}; seeds 0 to {args.seeds - 1}.")
    warnings.simplefilter("ignore")  # of networks that can fit all targets exactly, and of steps that run out
    if args.comparison:
        COMPARISONS[args.comparison](report, args.seeds)
        return report.end()
    report.head("method", "runs", "slopes", "error, median", "least", "greatest", "seconds of the processor, median")
    for name in args.methods:
        medians = []
        for n, with_slopes in ((FEW, False), (MANY, False), (FEW, True)):
            outcomes = [run(METHODS[name], n, with_slopes, seed) for seed in range(args.seeds)]
            errors, seconds = map(list, zip(*outcomes, strict=True))
            shown = [f"{value:.1e}" for value in (np.median(errors), min(errors), max(errors))]
            report.row(name, n, "yes" if with_slopes else "no", *shown, f"{np.median(seconds):.1f}")
            medians.append(np.median(errors))
        if not medians[2] <= medians[1]:
            report.problems.append(f"{name}: {FEW} runs with slopes are worse than {MANY} without")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
