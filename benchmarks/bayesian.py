"""Bayesian Levenberg-Marquardt: the test error of few examples, and how many new targets lie within its error bars.

    python benchmarks/bayesian.py errors|weights|bars|elsewhere|noise|targets [--seeds 5]

`errors`: the weight of a wing, a function of ten variables (A. Forrester, A. Sobester and A. Keane, "Engineering Design
via Surrogate Modelling", Wiley 2008), learnt from 256 examples by networks 10-20-20-1, with `bayesian` and without.
`weights`: the test error of plain Levenberg-Marquardt as a multiple of that with `bayesian`, by the number of weights.
`bars`: the intervals of 90 % of two functions, among the examples, in a gap and outside. It ends with status 1 if an
ensemble with `fit_laplace` holds fewer than 85 % of the targets anywhere. `elsewhere`: five functions that the
pages do not use, beside scikit-learn's Gaussian process; it ends with status 1 below 80 % inside. `noise`: a curve
whose noise grows eleven times, where it is quiet, where it is noisy, and outside; it ends with status 1 unless the
ensemble with `cost="gaussian"` and `fit_laplace` holds 84 to 95 % there, and 80 % outside. `targets`: two targets with
unlike noise, beside a network for each.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from xpnet import Adam, Ensemble, LevenbergMarquardt, Network, OneCycle

LOW = np.array([150.0, 220.0, 6.0, -10.0, 16.0, 0.5, 0.08, 2.5, 1700.0, 0.025])
HIGH = np.array([200.0, 300.0, 10.0, 10.0, 45.0, 1.0, 0.18, 6.0, 2500.0, 0.08])
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64", "standardize": True}
BAYESIAN = LevenbergMarquardt(bayesian=True)
BOTH = 'ensemble, "gaussian" and fit_laplace'
SHARES = (0.3, 0.5, 0.67, 0.85, 1.0)  # of weights and biases among targets
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


def compare_weights(seeds: int) -> bool:
    """Print how many times the error of `bayesian` the plain one is, by weights per target; return if it grows."""
    grows = True
    for function, n_in in ((friedman, 5), (circuit, 6)):
        for noise in (0.0, 0.03, 0.1):
            medians = []
            for share in SHARES:
                n_hidden, ratios = round(share * 256 / (n_in + 2)), list[float]()
                for seed in range(seeds):
                    rng = np.random.default_rng(seed)
                    x = rng.uniform(-1, 1, (2256, n_in))
                    truth = function(x) / function(x).std()
                    y, errors = truth[:256] + noise * rng.standard_normal(256), []
                    for optimizer in (LevenbergMarquardt(), BAYESIAN):
                        net = Network([n_in, n_hidden, 1], seed=seed, **OPTIONS)
                        net.train((x[:256], y), 100, optimizer=optimizer, progress=False)
                        errors.append(np.sqrt(np.mean((net.predict(x[256:]) - truth[256:]) ** 2)))
                    ratios.append(errors[0] / errors[1])
                medians.append(np.median(ratios))
            print(f"{function.__name__:9s} noise {noise:4.0%}", *(f"{median:5.1f}" for median in medians))
            grows = grows and (noise == 0.0 or medians[-1] > 1.5 * medians[0])
    return grows


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


def ripple(x: np.ndarray) -> np.ndarray:
    """Of one variable: a wave on a line."""
    return 2.0 * x[:, 0] + np.sin(8.0 * x[:, 0])


def cliff(x: np.ndarray) -> np.ndarray:
    """Of two variables: steep along a curve."""
    return np.tanh(8.0 * (x[:, 0] + 0.5 * x[:, 1] ** 2 - 0.6)) + x[:, 1]


def branin(x: np.ndarray) -> np.ndarray:
    """Of two variables: F. H. Branin, IBM Journal of Research and Development 16, 1972, in hundreds."""
    p, q = 7.5 * x[:, 0] + 2.5, 7.5 * x[:, 1] + 7.5
    valley = q - 5.1 / (4.0 * np.pi**2) * p**2 + 5.0 / np.pi * p - 6.0
    return (valley**2 + 10.0 * (1.0 - 1.0 / (8.0 * np.pi)) * np.cos(p) + 10.0) / 100.0


def friedman(x: np.ndarray) -> np.ndarray:
    """Of five variables: J. H. Friedman, The Annals of Statistics 19, 1991."""
    u = (x + 1.0) / 2.0
    return 10.0 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20.0 * (u[:, 2] - 0.5) ** 2 + 10.0 * u[:, 3] + 5.0 * u[:, 4]


def circuit(x: np.ndarray) -> np.ndarray:
    """Of six variables: the voltage of a circuit; E. N. Ben-Ari and D. M. Steinberg, Quality Engineering 19, 2007."""
    low, high = np.array([[50.0, 25.0, 0.5, 1.2, 0.25, 50.0], [150.0, 70.0, 3.0, 2.5, 1.2, 300.0]])
    b1, b2, f, c1, c2, beta = (low + (high - low) * (x + 1.0) / 2.0).T
    base, gain = 12.0 * b2 / (b1 + b2), beta * (c2 + 9.0)
    return ((base + 0.74) * gain + 11.35 * f) / (gain + f) + 0.74 * f * gain / ((gain + f) * c1)


ELSEWHERE: tuple[tuple[Function, int, int], ...] = (  # functions that no page uses, their variables, and examples
    *((ripple, 1, 60), (cliff, 2, 200), (branin, 2, 150)),
    *((friedman, 5, 300), (circuit, 6, 300)),
)


def draw_elsewhere(function: Function, n_in: int, n: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw inputs of a function in a cube, but for a slab, and where to test."""
    rng = np.random.default_rng(seed)
    cube, wide = rng.uniform(-1, 1, (8000, n_in)), rng.uniform(-1.5, 1.5, (8000, n_in))
    slab = np.abs(cube[:, 0] - 0.1) < 0.25
    outside = wide[(np.abs(wide) > 1.1).any(axis=1)][:1000]
    return cube[~slab][:n], {"inside": cube[~slab][n : n + 1000], "gap": cube[slab][:1000], "outside": outside}


def hold_elsewhere(seeds: int) -> bool:
    """Print how many new targets of functions that no page uses the intervals hold; return whether it is enough."""
    inside = []
    for function, n_in, n in ELSEWHERE:
        held: dict[str, list[list[float]]] = {}
        for seed in range(seeds):
            x, regions = draw_elsewhere(function, n_in, n, seed)
            rng, noise = np.random.default_rng(1000 + seed), 0.1 * function(x).std()
            y = function(x) + noise * rng.standard_normal(n)
            predictors = {name: model.interval for name, model in make_models(x, y, seed)}
            for name, interval in (predictors | {"Gaussian process": fit_process(x, y)}).items():
                fractions = []
                for points in regions.values():
                    low, high = interval(points, 0.9)
                    new = function(points) + noise * rng.standard_normal(len(points))
                    fractions.append(float(np.mean((low <= new) & (new <= high))))
                held.setdefault(name, []).append(fractions)
        print_held(function.__name__, [*regions], held)
        inside.append(np.mean(held["ensemble, fit_laplace"], axis=0)[0])
    return min(inside) > 0.8


def fit_process(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]:
    """Fit scikit-learn's Gaussian process with a length for each input and noise; return its intervals."""
    kernel = 1.0 * RBF(np.ones(x.shape[1])) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0).fit(x, y)

    def interval(points: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        mean, std = process.predict(points, return_std=True)
        half = norm.ppf(0.5 + level / 2.0) * std
        return mean - half, mean + half

    return interval


def measure_noise(seeds: int) -> bool:
    """Print how many new targets with noise that grows the intervals hold; return whether they are enough."""

    def function(x: np.ndarray) -> np.ndarray:
        return np.sin(3.0 * x[:, 0])

    def noise(x: np.ndarray) -> np.ndarray:
        return 0.03 + 0.075 * (np.clip(x[:, 0], -2.0, 2.0) + 2.0)

    edges = {"quiet": (-2.0, -1.0), "middle": (-1.0, 1.0), "noisy": (1.0, 2.0), "outside": (2.0, 3.0)}
    regions = {name: np.linspace(*ends, 1000)[:, None] for name, ends in edges.items()}
    regions["outside"] = np.concatenate([-regions["outside"], regions["outside"]])
    is_enough = True
    for n in (60, 200, 600):
        held: dict[str, list[list[float]]] = {}
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            x = rng.uniform(-2.0, 2.0, (n, 1))
            y = function(x) + noise(x) * rng.standard_normal(n)
            predictors = {name: model.interval for name, model in make_models(x, y, seed, (10, 10), 100)}
            for name, interval in (predictors | {"Gaussian process": fit_process(x, y)}).items():
                fractions = []
                for points in regions.values():
                    low, high = interval(points, 0.9)
                    new = function(points) + noise(points) * rng.standard_normal(len(points))
                    fractions.append(float(np.mean((low <= new) & (new <= high))))
                held.setdefault(name, []).append(fractions)
        print_held(f"{n} examples", [*regions], held)
        quiet, middle, noisy, outside = np.mean(held[BOTH], axis=0)
        is_enough &= all(0.84 < part < 0.95 for part in (quiet, middle, noisy)) and bool(outside > 0.8)
    return is_enough


def measure_targets(seeds: int) -> bool:
    """Print coverage and errors for two targets with unlike noise; return whether each interval holds enough."""
    noise, epochs = np.array([0.03, 1.5]), 300
    results: dict[str, list[np.ndarray]] = {"one network": [], "a network for each": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-2.0, 2.0, (3150, 2))
        truth = np.stack([np.sin(2.0 * x[:, 0]) + x[:, 1] ** 2, 5.0 * np.cos(x[:, 0] * x[:, 1])], axis=1)
        y = truth + noise * rng.standard_normal(x.shape)
        for name, groups in zip(results, ([[0, 1]], [[0], [1]])):
            numbers = []
            for columns in groups:
                ensemble = Ensemble([2, 12, 12, len(columns)], 5, seed=seed, **OPTIONS)
                ensemble.train((x[:150], y[:150, columns]), epochs, optimizer=BAYESIAN, progress=False)
                ensemble.fit_laplace((x[:150], y[:150, columns]))
                parts = (*ensemble.interval(x[150:], 0.9), ensemble.predict(x[150:]))
                low, high, mean = (part.reshape(3000, -1) for part in parts)
                is_held = (low <= y[150:, columns]) & (y[150:, columns] <= high)
                error = np.sqrt(np.mean((mean - truth[150:, columns]) ** 2, axis=0))
                numbers.append([is_held.mean(axis=0), error / noise[columns]])
            results[name].append(np.concatenate(numbers, axis=1))
    for name, values in results.items():
        (quiet, noisy), errors = 100.0 * np.mean(values, axis=0)[0], np.median(values, axis=0)[1]
        print(f"{name:20s} holds {quiet:.0f} and {noisy:.0f} %; error / noise {errors[0]:.2f} and {errors[1]:.2f}")
    return bool((np.mean(results["one network"], axis=0)[0] > 0.84).all())


def make_models(
    x: np.ndarray, y: np.ndarray, seed: int, hidden: Sequence[int] = (20, 20), epochs: int = 150
) -> Iterator[tuple[str, Network | Ensemble]]:
    """Train a model of each kind."""
    n, sizes = len(x), [x.shape[1], *hidden, 1]
    net = Network(sizes, seed=seed, **OPTIONS)
    net.train((x, y), epochs, optimizer=BAYESIAN, progress=False)
    net.fit_laplace((x, y))
    yield "network, fit_laplace", net
    ensemble = Ensemble(sizes, 5, seed=seed, **OPTIONS)
    ensemble.train((x, y), epochs, optimizer=BAYESIAN, progress=False)
    ensemble.fit_laplace((x, y))
    yield "ensemble, fit_laplace", ensemble
    both = Ensemble([*sizes[:-1], 2], 5, cost="gaussian", seed=seed, **OPTIONS)
    both.train((x, y), epochs, optimizer=BAYESIAN, progress=False)
    both.fit_laplace((x, y))
    yield BOTH, both
    gaussian = Ensemble([*sizes[:-1], 2], 5, cost="gaussian", seed=seed, **OPTIONS)
    gaussian.train((x, y), 200, lr=OneCycle(0.01), optimizer=Adam(), progress=False)
    yield 'ensemble, cost="gaussian"', gaussian
    order = np.random.default_rng(seed).permutation(n)
    held_out, train = order[: n // 5], order[n // 5 :]
    calibrated = Network(sizes, seed=seed, **OPTIONS)
    calibrated.train((x[train], y[train]), epochs, optimizer=BAYESIAN, progress=False)
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
        print_held(name, [*regions], held)
        is_enough &= bool((np.mean(held["ensemble, fit_laplace"], axis=0)[:3] > 0.85).all())
    return is_enough


def print_held(name: str, regions: list[str], held: dict[str, list[list[float]]]) -> None:
    """Print the mean percentages of targets that were held, and the least of a seed."""
    print(f"\n{name:38s}" + "".join(f"{region:>16s}" for region in regions))
    for model_name, values in held.items():
        cells = zip(100 * np.mean(values, axis=0), 100 * np.min(values, axis=0))
        print(f"{model_name:38s}" + "".join(f"{mean:9.0f} ({least:3.0f})" for mean, least in cells), flush=True)


def main() -> int:
    """Answer one of the questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=[*QUESTIONS])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # plain Levenberg-Marquardt warns of more weights than examples
    return 0 if QUESTIONS[options.question](options.seeds) else 1


QUESTIONS = {
    **{"errors": compare_errors, "weights": compare_weights, "bars": measure_bars, "elsewhere": hold_elsewhere},
    **{"noise": measure_noise, "targets": measure_targets},
}

if __name__ == "__main__":
    sys.exit(main())
