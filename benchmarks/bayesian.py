"""Bayesian Levenberg-Marquardt: the test error of few examples, and how many new targets lie within its error bars.

    python benchmarks/bayesian.py errors|bars [--seeds 5]

`errors`: the weight of a wing, a function of ten variables (A. Forrester, A. Sobester and A. Keane, "Engineering Design
via Surrogate Modelling", Wiley 2008), learnt from 256 examples by networks 10-20-20-1, with `bayesian` and without.
`bars`: the intervals of 90 % of two functions, among the examples, in a gap and outside. It ends with status 1 if an
ensemble with `fit_laplace` holds fewer than 85 % of the targets anywhere.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from xpnet import Adam, Ensemble, LevenbergMarquardt, Network, OneCycle

LOW = np.array([150.0, 220.0, 6.0, -10.0, 16.0, 0.5, 0.08, 2.5, 1700.0, 0.025])
HIGH = np.array([200.0, 300.0, 10.0, 10.0, 45.0, 1.0, 0.18, 6.0, 2500.0, 0.08])
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64", "standardize": True}
BAYESIAN = LevenbergMarquardt(bayesian=True)
Function = Callable[[np.ndarray], np.ndarray]


def weigh_wing(u: np.ndarray) -> np.ndarray:
    """Compute the weight of wings, in pounds, from variables in [0, 1], (n, 10)."""
    area, fuel, aspect, sweep, pressure, taper, thickness, load, weight, paint = (LOW + (HIGH - LOW) * u).T
    cosine = np.cos(np.radians(sweep))
    powers = area**0.758 * fuel**0.0035 * (aspect / cosine**2) ** 0.6 * pressure**0.006 * taper**0.04
    return 0.036 * powers * (100 * thickness / cosine) ** -0.3 * (load * weight) ** 0.49 + area * paint


def compare_errors(seeds: int) -> bool:
    """Print the median test errors, in standard deviations of the targets; return whether `bayesian` has the least."""
    trainings = {"plain, 100 steps": (LevenbergMarquardt(), 100), "bayesian, 300 steps": (BAYESIAN, 300)}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in trainings}
    for seed in range(seeds):
        x, test = (np.random.default_rng(own).uniform(size=(n, 10)) for own, n in ((seed, 256), (999, 5000)))
        y, truth = weigh_wing(x), weigh_wing(test)
        for name, (optimizer, epochs) in trainings.items():
            net, start = Network([10, 20, 20, 1], seed=seed, **OPTIONS), time.process_time()
            net.train((x, y), epochs, optimizer=optimizer, progress=False)
            seconds = time.process_time() - start
            error = float(np.sqrt(np.mean((net.predict(test) - truth) ** 2)) / truth.std())
            results[name].append((error, seconds))
    medians = {name: np.median(values, axis=0) for name, values in results.items()}
    for name, (error, seconds) in medians.items():
        print(f"{name:22s} {error:.4f}  {seconds:5.1f} s")
    return medians["bayesian, 300 steps"][0] < medians["plain, 100 steps"][0] / 3


def draw_curve(seed: int) -> tuple[np.ndarray, Function, Function, dict[str, np.ndarray]]:
    """Draw inputs of a curve with a gap; return them, the function, the noise, and where to test."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(-4, -1, 50), rng.uniform(1, 4, 50)])[:, None]
    regions = {
        "inside": np.concatenate([np.linspace(-4, -1, 300), np.linspace(1, 4, 300)])[:, None],
        "gap": np.linspace(-0.9, 0.9, 300)[:, None],
        "outside": np.concatenate([np.linspace(-6, -4.2, 150), np.linspace(4.2, 6, 150)])[:, None],
    }
    return x, lambda x: np.sin(1.5 * x[:, 0]), lambda x: np.full(len(x), 0.1), regions


def draw_cube(seed: int) -> tuple[np.ndarray, Function, Function, dict[str, np.ndarray]]:
    """Draw inputs in a cube with a hole, for a function whose noise grows with the first of them."""
    rng = np.random.default_rng(seed)
    cube, wide = rng.uniform(-1, 1, (8000, 3)), rng.uniform(-1.5, 1.5, (8000, 3))
    hole = (np.abs(cube) < 0.5).all(axis=1)
    inside = cube[~hole][400:2400]
    regions = {
        "inside": inside,
        "gap": cube[hole][:500],
        "outside": wide[(np.abs(wide) > 1.1).any(axis=1)][:1000],
        "least noise": inside[inside[:, 0] < -0.5],
        "most noise": inside[inside[:, 0] > 0.5],
    }

    def function(x: np.ndarray) -> np.ndarray:
        return np.sin(3 * x[:, 0]) + x[:, 1] ** 2 * x[:, 2] + np.exp(-4 * (x**2).sum(axis=1))

    return cube[~hole][:400], function, lambda x: 0.05 + 0.15 * np.clip(x[:, 0] + 1, 0, 2), regions


def make_models(x: np.ndarray, y: np.ndarray, seed: int) -> Iterator[tuple[str, Network | Ensemble]]:
    """Train a model of each kind."""
    n, sizes = len(x), [x.shape[1], 20, 20, 1]
    net = Network(sizes, seed=seed, **OPTIONS)
    net.train((x, y), 150, optimizer=BAYESIAN, progress=False)
    net.fit_laplace((x, y))
    yield "network, fit_laplace", net
    ensemble = Ensemble(sizes, 5, seed=seed, **OPTIONS)
    ensemble.train((x, y), 150, optimizer=BAYESIAN, progress=False)
    ensemble.fit_laplace((x, y))
    yield "ensemble, fit_laplace", ensemble
    gaussian = Ensemble([*sizes[:-1], 2], 5, cost="gaussian", seed=seed, **OPTIONS)
    gaussian.train((x, y), 200, lr=OneCycle(0.01), optimizer=Adam(), progress=False)
    yield 'ensemble, cost="gaussian"', gaussian
    order = np.random.default_rng(seed).permutation(n)
    held_out, train = order[: n // 5], order[n // 5 :]
    calibrated = Network(sizes, seed=seed, **OPTIONS)
    calibrated.train((x[train], y[train]), 150, optimizer=BAYESIAN, progress=False)
    calibrated.calibrate((x[held_out], y[held_out]))
    yield "network, calibrated", calibrated


def measure_bars(seeds: int) -> bool:
    """Print how many new targets the intervals hold; return whether ensembles with `fit_laplace` hold enough."""
    is_enough = True
    for name, draw in (("curve", draw_curve), ("cube", draw_cube)):
        held: dict[str, list[list[float]]] = {}
        for seed in range(seeds):
            x, function, noise, regions = draw(seed)
            rng = np.random.default_rng(1000 + seed)
            y = function(x) + noise(x) * rng.standard_normal(len(x))
            for model_name, model in make_models(x, y, seed):
                fractions = []
                for points in regions.values():
                    low, high = model.interval(points, 0.9)
                    new = function(points) + noise(points) * rng.standard_normal(len(points))
                    fractions.append(float(np.mean((low <= new) & (new <= high))))
                held.setdefault(model_name, []).append(fractions)
        print(f"\n{name:28s}" + "".join(f"{region:>16s}" for region in regions))
        for model_name, values in held.items():
            cells = zip(100 * np.mean(values, axis=0), 100 * np.min(values, axis=0))
            print(f"{model_name:28s}" + "".join(f"{mean:9.0f} ({least:3.0f})" for mean, least in cells))
        is_enough &= bool((np.mean(held["ensemble, fit_laplace"], axis=0)[:3] > 0.85).all())
    return is_enough


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=["errors", "bars"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # plain Levenberg-Marquardt warns of more weights than examples
    return 0 if {"errors": compare_errors, "bars": measure_bars}[options.question](options.seeds) else 1


if __name__ == "__main__":
    sys.exit(main())
