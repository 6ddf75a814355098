"""Error bars of functions that no page, test or other benchmark has, beside scikit-learn's Gaussian process.

    python benchmarks/unseen_bars.py [--questions unlike varying slopes optimize] [--seeds 5] [--peers]

The functions, and what is asked of xpnet, were written down before anything was measured. `unlike`: targets of unlike
noise. `varying`: noise that varies with the inputs. `slopes`: noisy slopes, some of them missing. `optimize`: Bayesian
optimization. `--peers` measures the Gaussian process alone.

Prints tables of means and medians; exits with status 1 if something that is asked is missed.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from harness import Report, machine
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel

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


def fit_process(x: np.ndarray, y: np.ndarray, kernel=RBF) -> GaussianProcessRegressor:
    """Fit a Gaussian process with a length for each input and one noise."""
    kernel = 1.0 * kernel(np.ones(x.shape[1])) + WhiteKernel(0.1, (1e-8, 1e1))
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0).fit(x, y)


# Bayesian optimization in [0, 1]⁴ by 10 runs at random and 30 chosen. Asked: a regret (median) of 0.001 standard
# deviations of the function.
RUNS, BEGIN, REGRET = 40, 10, 1e-3
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


def improve_by_process(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose the next run by the expected improvement of a Gaussian process."""
    process, n_in = fit_process(x, y, lambda lengths: Matern(lengths, nu=2.5)), x.shape[1]

    def lose(at):
        mean, std = process.predict(np.atleast_2d(at), return_std=True)
        z = (y.min() - mean) / np.maximum(std, 1e-12)
        return -np.log(np.maximum(std * (z * norm.cdf(z) + norm.pdf(z)), 1e-300))

    near = np.clip(x[np.argmin(y)] + 0.05 * rng.standard_normal((200, n_in)), 0, 1)
    candidates = np.concatenate([rng.uniform(size=(1000, n_in)), near])
    starts = candidates[np.argsort(lose(candidates))[:3]]
    found = [minimize(lambda at: lose(at)[0], start, bounds=[(0, 1)] * n_in) for start in starts]
    return min(found, key=lambda result: result.fun).x


# Asking


def draw_regions(problem: Regression, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw where to test: among the examples, at both ends of the last input, and outside."""
    cube, wide = (rng.uniform(-limit, limit, (6000, problem.n_in)) for limit in (1.0, 1.5))
    quiet, noisy = cube[:, -1] < -1 / 3, cube[:, -1] > 1 / 3
    outside = wide[(np.abs(wide) > 1.1).any(axis=1)]
    return {"inside": cube, "quiet": cube[quiet], "noisy": cube[noisy], "outside": outside}


def ask_process(x: np.ndarray, y: np.ndarray) -> Callable:
    """Fit a Gaussian process to each target; return its means and standard deviations at points."""
    found = [fit_process(x, column) for column in y.reshape(len(y), -1).T]

    def predict(points):
        pairs = [process.predict(points, return_std=True) for process in found]
        mean, std = (np.stack(part, axis=1) for part in zip(*pairs))
        return (mean, std) if y.ndim > 1 else (mean[:, 0], std[:, 0])

    return predict


def judge(problem: Regression, predict: Callable, rng: np.random.Generator) -> list[float]:
    """Find the relative errors of the means of the targets, then what is held of each, by region."""
    regions = draw_regions(problem, rng)
    exact, (mean, _) = problem.function(regions["inside"]), predict(regions["inside"])
    errors = np.sqrt(np.mean((mean - exact) ** 2, axis=0)) / exact.std(axis=0)
    held = [hold(add_noise(problem, points, rng), *predict(points)) for points in regions.values()]
    return np.concatenate([np.ravel(part) for part in (errors, *held)]).tolist()


def ask_bars(report: Report, seeds: int, peers: bool, problems: dict[str, Regression]) -> None:
    report.head("function", "contender", "relative errors, median", *REGIONS, "seconds, median")
    for name, problem in problems.items():
        found, seconds = [], []
        for seed in range(seeds):
            x, y, rng = draw_examples(problem, seed)
            start = time.process_time()
            predict = ask_process(x, y)
            seconds.append(time.process_time() - start)
            found.append(judge(problem, predict, rng))
        show_bars(report, name, "Gaussian process", found, seconds)


def show_bars(report: Report, name: str, contender: str, found: list[list[float]], seconds: list[float]) -> None:
    """Write a row: errors of all targets, and what is held of each, by region."""
    errors, *held = np.split(np.array(found), 5, axis=1)
    shown = [" ".join(f"{value:.2g}" for value in np.median(errors, axis=0))]
    shown += [" ".join(f"{value:.0%}" for value in part.mean(axis=0)) for part in held]
    report.row(name, contender, *shown, f"{np.median(seconds):.1f}")


def ask_optimize(report: Report, seeds: int, peers: bool) -> None:
    report.head("function", "contender", "regret, median", "least", "largest", "seconds, median")
    least, std = find_minimum(valleys, 4)
    regrets, seconds = [], []
    for seed in range(seeds):
        rng, start = np.random.default_rng(seed), time.process_time()
        x = rng.uniform(size=(BEGIN, 4))
        while len(x) < RUNS:
            x = np.concatenate([x, improve_by_process(x, valleys(x), rng)[None]])
        seconds.append(time.process_time() - start)
        regrets.append((valleys(x).min() - least) / std)
    shown = [f"{value:.1e}" for value in (np.median(regrets), min(regrets), max(regrets))]
    report.row("valleys", "Gaussian process", *shown, f"{np.median(seconds):.1f}")


REGIONS = ("inside", "quiet", "noisy", "outside")
QUESTIONS = {
    "unlike": lambda *arguments: ask_bars(*arguments, UNLIKE),
    "varying": lambda *arguments: ask_bars(*arguments, VARYING),
    "slopes": lambda *arguments: ask_bars(*arguments, {name: problem for name, (problem, *_) in SLOPES.items()}),
    "optimize": ask_optimize,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=[*QUESTIONS], help="them (all)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    parser.add_argument("--peers", action="store_true", help="measure the Gaussian process alone")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of bounds that the Gaussian process reaches
    report = Report()
    report.line(f"{machine('scipy', 'sklearn')}; seeds 0 to {args.seeds - 1}, processor seconds.")
    for question in args.questions:
        QUESTIONS[question](report, args.seeds, args.peers)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
