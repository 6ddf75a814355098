"""Compare ``solver="lbfgs"`` with scikit-learn's, which calls SciPy: losses, iterations, and time of the processor."""

import argparse
import sys
import time
import warnings

import numpy as np
from harness import Report, machine
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale

from xpnet.estimators import MLPClassifier, MLPRegressor

CLASSES, NUMBERS = (MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)
FEW = 20  # iterations, after which losses have not been driven apart by rounding
CLOSE = 1e-3  # of the losses after so many: above scikit-learn's by more is a mistake


def make_problems():
    """Make 20 problems: the classes of both libraries, X, y, the dtype of X, and parameters."""
    rng = np.random.default_rng(0)
    digits, iris, wine, cancer, diabetes = (
        load(return_X_y=True)
        for load in (
            datasets.load_digits,
            datasets.load_iris,
            datasets.load_wine,
            datasets.load_breast_cancer,
            datasets.load_diabetes,
        )
    )
    friedman = datasets.make_friedman1(2000, noise=1.0, random_state=0)
    larger = datasets.make_friedman1(5000, noise=0.1, random_state=1)
    blobs = datasets.make_classification(3000, 20, n_informative=10, n_classes=4, random_state=0)
    moons = datasets.make_moons(500, noise=0.2, random_state=0)
    noisy = rng.normal(size=(300, 4))
    labels = (noisy[:, 0] + rng.normal(size=300) > 0).astype(int)
    cube = rng.uniform(-2, 2, (300, 3))
    surface = np.sin(2 * cube[:, 0]) * cube[:, 1] + cube[:, 2] ** 2
    counts = rng.poisson(np.exp(cube[:, 0] / 2)).astype(float)
    pixels, scaled = digits[0] / 16, scale(diabetes[0])

    def problem(kinds, x, y, dtype, sizes, alpha, activation="relu", **others):
        options = {"hidden_layer_sizes": sizes, "alpha": alpha, "activation": activation, **others}
        return kinds, x.astype(dtype), y, options

    return {
        "digits": problem(CLASSES, pixels, digits[1], "float64", (100,), 1e-4),
        "digits, tanh": problem(CLASSES, pixels, digits[1], "float32", (30,), 1e-2, "tanh"),
        "digits, two layers": problem(CLASSES, pixels, digits[1], "float64", (50, 50), 1.0),
        "iris": problem(CLASSES, scale(iris[0]), iris[1], "float64", (10,), 1e-3),
        "iris, as it is": problem(CLASSES, iris[0], iris[1], "float32", (10,), 1e-4),
        "wine": problem(CLASSES, scale(wine[0]), wine[1], "float64", (20,), 0.1, "logistic"),
        "wine, as it is": problem(CLASSES, wine[0], wine[1], "float64", (20,), 1e-4),
        "cancer": problem(CLASSES, scale(cancer[0]), cancer[1], "float32", (15,), 1e-2, "tanh"),
        "four classes": problem(CLASSES, *blobs, "float64", (40,), 1e-4),
        "four classes, two layers": problem(CLASSES, *blobs, "float32", (40, 20), 1e-2, "tanh"),
        "moons": problem(CLASSES, *moons, "float64", (20, 20), 1e-4, "tanh"),
        "noisy labels": problem(CLASSES, noisy, labels, "float64", (5,), 0.0, "tanh"),
        "diabetes": problem(NUMBERS, scaled, diabetes[1] / 100, "float64", (100,), 1e-4),
        "diabetes, tanh": problem(NUMBERS, scaled, diabetes[1] / 100, "float32", (30,), 1.0, "tanh"),
        "diabetes, y as it is": problem(NUMBERS, scaled, diabetes[1], "float64", (30,), 1e-2, "tanh"),
        "friedman": problem(NUMBERS, *friedman, "float64", (50,), 1e-3),
        "friedman, tanh": problem(NUMBERS, *friedman, "float32", (50,), 1e-3, "tanh"),
        "friedman, 5,000": problem(NUMBERS, *larger, "float64", (100, 50), 1e-4),
        "surface": problem(NUMBERS, cube, surface, "float64", (20, 10), 0.0, "tanh"),
        "counts": problem(NUMBERS, cube, counts, "float64", (20,), 0.1, "tanh", loss="poisson"),
    }


def fit(kind, x, y, options, iterations, rounds):
    """Fit an estimator several times; return its loss, its iterations, and the least time of the processor."""
    seconds = []
    for _ in range(rounds):
        estimator = kind(solver="lbfgs", max_iter=iterations, random_state=0, **options)
        began = time.process_time()
        estimator.fit(x, y)
        seconds.append(time.process_time() - began)
    return estimator.loss_, estimator.n_iter_, min(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="fits of each, of which the fastest counts (%(default)s)")
    args, report = parser.parse_args(), Report()
    warnings.simplefilter("ignore", ConvergenceWarning)
    report.line(f"{machine()}; ratios are of xpnet to scikit-learn")
    report.head("problem", "iterations allowed", "loss", "ratio", "iterations", "ratio of times")
    ratios = {iterations: [] for iterations in (FEW, 200)}
    for name, ((ours, theirs), x, y, options) in make_problems().items():
        for iterations, found in ratios.items():
            loss, steps, seconds = fit(ours, x, y, options, iterations, args.rounds)
            other, their_steps, their_seconds = fit(theirs, x, y, options, iterations, args.rounds)
            found.append((loss / other, seconds / their_seconds))
            report.row(
                name, iterations, f"{loss:.4g}", f"{found[-1][0]:.4f}", f"{steps}, {their_steps}", f"{found[-1][1]:.2f}"
            )
            if iterations == FEW and loss > (1 + CLOSE) * other:
                report.problems.append(
                    f"{name}: after {FEW} iterations the loss is {loss / other:.4f} of scikit-learn's"
                )
    for iterations, found in ratios.items():
        losses, times = np.array(found).T
        report.line(
            f"{iterations} iterations: losses {np.exp(np.log(losses).mean()):.4f} of scikit-learn's (geometric mean; "
            f"{losses.min():.3f} to {losses.max():.3f}), times {np.median(times):.2f} (median)"
        )
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
