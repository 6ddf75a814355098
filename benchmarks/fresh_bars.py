"""Error bars of functions that no page, test or other benchmark has, beside scikit-learn's Gaussian process.

    python benchmarks/fresh_bars.py [--questions unlike varying slopes optimize] [--seeds 5] [--peers]

The functions, and what is asked of xpnet, were written down before anything was measured. `unlike`: targets of unlike
noise. `varying`: noise that varies with the inputs. `slopes`: noisy slopes, some of them missing. `optimize`: Bayesian
optimization. `--peers` measures the Gaussian process alone.

Prints tables of means and medians; exits with status 1 if something that is asked is missed.
"""

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from harness import Report, ask
from optimization import FITS, optimize
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from xpnet import Ensemble, LevenbergMarquardt

PI = np.pi

# Error bars. Asked: 90 % intervals hold 87 to 93 % of new targets, of each target (`unlike`), at the quiet and at the
# noisy end (`varying`); outside the examples 80 % or more. The quietest target's error is at most 1.25 times that of a
# network of its own. With slopes, the error is at most half of that without.
LEAST, MOST, OUTSIDE, ALONE, LESS = 0.87, 0.93, 0.8, 1.25, 0.5


class Regression(NamedTuple):
    """A function of inputs in [-1, 1], its noise there, (n, targets) or (n,), and the number of examples."""

    n_in: int
    function: Callable
    noise: Callable
    n: int
    hidden: tuple[int, ...] = (12, 12)


def ishigami(x):
    """T. Ishigami and T. Homma, Proc. ISUMA, 1990, divided by its standard deviation."""
    a, b, c = PI * x.T
    return (np.sin(a) + 7.0 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)) / 3.72


def franke(x):
    """R. Franke, Naval Postgraduate School NPS-53-79-003, 1979."""
    p, q = 4.5 * (x.T + 1.0)
    hills = 0.75 * np.exp(-((p - 2) ** 2 + (q - 2) ** 2) / 4) + 0.75 * np.exp(-((p + 1) ** 2) / 49 - (q + 1) / 10)
    return hills + 0.5 * np.exp(-((p - 7) ** 2 + (q - 3) ** 2) / 4) - 0.2 * np.exp(-((p - 4) ** 2) - (q - 7) ** 2)


UNLIKE = {
    "dish": Regression(
        3,
        lambda x: np.stack(
            [x[:, 0] * np.exp(-(x[:, 1] ** 2)) + 0.5 * np.sin(2 * x[:, 2]), 20 * (x[:, 0] ** 2 - x[:, 1] * x[:, 2])], 1
        ),
        lambda x: np.tile([0.02, 4.0], (len(x), 1)),
        200,
    ),
    "rig": Regression(
        2,
        lambda x: np.stack(
            [np.tanh(3 * x[:, 0]) + x[:, 1], np.exp(x[:, 0] + x[:, 1]), 10 * np.cos(3 * x[:, 0] * x[:, 1])], 1
        ),
        lambda x: np.tile([0.01, 0.5, 3.0], (len(x), 1)),
        150,
    ),
}
VARYING = {  # the last input tells the quiet end from the noisy one
    "swell": Regression(
        1, lambda x: 2 * x[:, 0] * np.cos(4 * x[:, 0]), lambda x: 0.03 + 0.4 / (1 + np.exp(-6 * x[:, -1])), 200
    ),
    "terrain": Regression(
        2, lambda x: np.sin(4 * x[:, 0]) + 2 * x[:, 0] * x[:, 1], lambda x: 0.04 * np.exp(1.3 * (x[:, -1] + 1)), 400
    ),
}
SLOPES = {  # with the noise of the slopes, and the fraction of slopes that are missing
    "ishigami": (Regression(3, ishigami, lambda x: np.full(len(x), 0.1), 150, (20, 20)), 0.3, 0.0),
    "franke": (Regression(2, franke, lambda x: np.full(len(x), 0.03), 40), 0.1, 0.5),
}


def draw_examples(problem: Regression, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Draw inputs and noisy targets; return the generator, too."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, (problem.n, problem.n_in))
    return x, add_noise(problem, x, rng), rng


def add_noise(problem: Regression, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y = problem.function(x)
    return y + problem.noise(x) * rng.standard_normal(y.shape)


def find_slopes(function: Callable, x: np.ndarray) -> np.ndarray:
    """Differentiate a function by central differences, whose error is far below the noise."""
    return np.stack([(function(x + h) - function(x - h)) / 2e-5 for h in 1e-5 * np.eye(x.shape[1])], axis=1)


def draw_slopes(problem: Regression, noise: float, missing: float, x: np.ndarray, rng) -> np.ndarray:
    """Draw noisy slopes, (n, n_in); a fraction of them is NaN."""
    slopes = find_slopes(problem.function, x)
    slopes = slopes + noise * rng.standard_normal(slopes.shape)
    return np.where(rng.uniform(size=slopes.shape) < missing, np.nan, slopes)


def hold(y: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Compute the fraction of each column of targets within the intervals of 90 %."""
    return np.mean(np.abs(y - mean) <= norm.ppf(0.95) * std, axis=0)


def fit_process(x: np.ndarray, y: np.ndarray) -> GaussianProcessRegressor:
    """Fit a Gaussian process with a length for each input and one noise."""
    kernel = 1.0 * RBF(np.ones(x.shape[1])) + WhiteKernel(0.1, (1e-8, 1e1))
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0).fit(x, y)


# Bayesian optimization in [0, 1]⁴ by 40 runs, of which 10 are the first. Asked: a regret (median) of 0.001 standard
# deviations of the function.
REGRET = 1e-3
DEEP, FLAT = np.array([0.25, 0.7, 0.4, 0.6]), np.array([0.75, 0.3, 0.65, 0.2])


def valleys(x):
    """Two valleys on a slope."""
    deep, flat = np.exp(-3 * (x - DEEP) ** 2 @ [1, 2, 0.5, 1]), np.exp(-4 * np.sum((x - FLAT) ** 2, axis=1))
    return -deep - 0.8 * flat + 0.2 * x @ [1, -1, 0.5, 0.3]


def find_minimum(function: Callable, n_in: int) -> tuple[float, float]:
    """Find the least value of a function in a cube, and its standard deviation there."""
    x = np.random.default_rng(0).uniform(size=(20_000, n_in))
    y = function(x)
    starts = x[np.argsort(y)[:20]]
    found = [minimize(lambda at: function(at[None])[0], start, bounds=[(0, 1)] * n_in).fun for start in starts]
    return min(found), float(y.std())


# Asking


def draw_regions(problem: Regression, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw where to test: among the examples, at both ends of the last input, and outside."""
    cube, wide = (rng.uniform(-limit, limit, (6000, problem.n_in)) for limit in (1.0, 1.5))
    quiet, noisy = cube[:, -1] < -1 / 3, cube[:, -1] > 1 / 3
    outside = wide[(np.abs(wide) > 1.1).any(axis=1)]
    return {"inside": cube, "quiet": cube[quiet], "noisy": cube[noisy], "outside": outside}


def fit_processes(x: np.ndarray, y: np.ndarray, seed: int) -> Callable:
    """Fit a Gaussian process to each target; return its means and standard deviations at points."""
    found = [fit_process(x, column) for column in y.reshape(len(y), -1).T]

    def predict(points):
        pairs = [process.predict(points, return_std=True) for process in found]
        mean, std = (np.stack(part, axis=1) for part in zip(*pairs))
        return (mean, std) if y.ndim > 1 else (mean[:, 0], std[:, 0])

    return predict


def fit_ensemble(x: np.ndarray, y: np.ndarray, seed: int, hidden: tuple[int, ...] = (12, 12), **options) -> Callable:
    """Train an ensemble with the precisions found from the examples; return its predictions with bars."""
    return train_and_fit([x.shape[1], *hidden, y[0].size], "quadratic", x, y, seed, **options)


def fit_varying(x: np.ndarray, y: np.ndarray, seed: int, hidden: tuple[int, ...]) -> Callable:
    """Train an ensemble that predicts the noise, too; return its predictions with bars."""
    return train_and_fit([x.shape[1], *hidden, 2], "gaussian", x, y, seed)


def train_and_fit(sizes: list[int], cost: str, x: np.ndarray, y: np.ndarray, seed: int, **options) -> Callable:
    kind = {"activation": "tanh", "task": "regression", "dtype": "float64", "standardize": True, "seed": seed}
    ensemble = Ensemble(sizes, members=5, cost=cost, **kind)
    ensemble.train((x, y), 150, optimizer=LevenbergMarquardt(bayesian=True), progress=False, **options)
    ensemble.fit_laplace((x, y), **options)
    return partial(ensemble.predict, return_std=True)


def judge(problem: Regression, predict: Callable, rng: np.random.Generator) -> list[float]:
    """Find the relative errors of the means of the targets, then what is held of each, by region."""
    regions = draw_regions(problem, rng)
    exact, (mean, _) = problem.function(regions["inside"]), predict(regions["inside"])
    errors = np.sqrt(np.mean((mean - exact) ** 2, axis=0)) / exact.std(axis=0)
    held = [hold(add_noise(problem, points, rng), *predict(points)) for points in regions.values()]
    return np.concatenate([np.ravel(part) for part in (errors, *held)]).tolist()


def measure(problem: Regression, fit: Callable, seeds: int, slopes: tuple[float, float] | None = None) -> np.ndarray:
    """Fit with each seed; return the rows of `judge`, and the seconds as a last column."""
    rows = []
    for seed in range(seeds):
        x, y, rng = draw_examples(problem, seed)
        known = {} if slopes is None else {"slopes": draw_slopes(problem, *slopes, x, rng)}
        start = time.process_time()
        predict = fit(x, y, seed, **known)
        seconds = time.process_time() - start
        rows.append([*judge(problem, predict, np.random.default_rng(1000 + seed)), seconds])
    return np.array(rows)


def show_bars(report: Report, name: str, contender: str, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Write a row: errors of all targets, and what is held of each, by region; return both."""
    errors, *held = np.split(rows[:, :-1], 5, axis=1)
    middle, means = np.median(errors, axis=0), [part.mean(axis=0) for part in held]
    cells = [" ".join(f"{value:.2g}" for value in middle)]
    cells += [" ".join(f"{value:.0%}" for value in part) for part in means]
    report.row(name, contender, *cells, f"{np.median(rows[:, -1]):.1f}")
    return middle, means


def require_held(report: Report, name: str, held: list[np.ndarray]) -> None:
    """Note as problems what intervals hold too little or too much of."""
    for region, values in zip(REGIONS, held):
        for k, value in enumerate(values):
            low, high = (OUTSIDE, 1.0) if region == "outside" else (LEAST, MOST)
            if not low <= round(value, 2) <= high:
                report.problems.append(f"{name}: target {k}, {region}: {value:.0%} held, asked {low:.0%} to {high:.0%}")


def ask_bars(report: Report, seeds: int, peers: bool, problems: dict[str, Regression], fit: Callable) -> None:
    """Compare intervals, of several targets or with noise that varies."""
    report.head("function", "contender", "relative errors, median", *REGIONS, "seconds, median")
    for name, problem in problems.items():
        show_bars(report, name, "Gaussian process", measure(problem, fit_processes, seeds))
        if peers:
            continue
        errors, held = show_bars(report, name, "xpnet", measure(problem, partial(fit, hidden=problem.hidden), seeds))
        require_held(report, name, held)
        if len(errors) > 1:
            quiet = problem._replace(
                function=lambda x, problem=problem: problem.function(x)[:, 0],
                noise=lambda x, problem=problem: problem.noise(x)[:, 0],
            )
            alone, _ = show_bars(report, name, "xpnet, the first target alone", measure(quiet, fit_ensemble, seeds))
            report.require(f"{name}: the quiet target's error beside that alone", errors[0] / alone[0], ALONE)


def ask_slopes(report: Report, seeds: int, peers: bool) -> None:
    """Compare errors and intervals with slopes and without."""
    report.head("function", "contender", "relative errors, median", *REGIONS, "seconds, median")
    for name, (problem, *slopes) in SLOPES.items():
        show_bars(report, name, "Gaussian process, values", measure(problem, fit_processes, seeds))
        if peers:
            continue
        fit = partial(fit_ensemble, hidden=problem.hidden)
        without, _ = show_bars(report, name, "xpnet, values", measure(problem, fit, seeds))
        errors, held = show_bars(report, name, "xpnet, slopes", measure(problem, fit, seeds, slopes))
        report.require(f"{name}: the error beside that without slopes", errors[0] / without[0], LESS)
        require_held(report, f"{name}, slopes", held[:1])


def ask_optimize(report: Report, seeds: int, peers: bool) -> None:
    report.head("function", "contender", "regret, median", "least", "largest", "seconds, median")
    (least, std), medians = find_minimum(valleys, 4), dict[str, float]()
    for name, fit in FITS.items():
        if name != "ensemble" or not peers:
            regrets, seconds = [], []
            for seed in range(seeds):
                start = time.process_time()
                _, y = optimize(valleys, 4, seed, fit)
                seconds.append(time.process_time() - start)
                regrets.append((y.min() - least) / std)
            shown = [f"{value:.1e}" for value in (np.median(regrets), min(regrets), max(regrets))]
            report.row("valleys", name, *shown, f"{np.median(seconds):.1f}")
            medians[name] = float(np.median(regrets))
    if not peers:
        report.require("valleys: regret", medians["ensemble"], REGRET)


REGIONS = ("inside", "quiet", "noisy", "outside")
QUESTIONS = {
    "unlike": lambda *arguments: ask_bars(*arguments, UNLIKE, fit_ensemble),
    "varying": lambda *arguments: ask_bars(*arguments, VARYING, fit_varying),
    "slopes": ask_slopes,
    "optimize": ask_optimize,
}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of bounds that the Gaussian process reaches
    sys.exit(ask(QUESTIONS, __doc__, "the Gaussian process", "scipy", "sklearn"))
