"""Compare xpnet's estimators with scikit-learn's: the time of `fit`, and the accuracy of the networks.

Prints two tables; README.md in this folder describes the method. Exits with status 1 if the two do not train the same
network, or if their mean accuracies differ by more than 3 standard errors. It never fails because of a time.
"""

import argparse
import os
import sys
import time
import warnings

import numpy as np
from machine import machine
from sklearn import neural_network as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from xpnet import estimators as ours
from xpnet.datasets import mnist

PAUSE = 0.06  # seconds: BLAS threads keep spinning after their work and would slow the next contender


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="timed fits per library (%(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="networks per library for the accuracy (%(default)s)")
    parser.add_argument("--parts", nargs="*", choices=["speed", "accuracy"], default=["speed", "accuracy"])
    parser.add_argument("--quick", action="store_true", help="small data and few epochs, to test the script")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # some fits end before they converge
    print(f"{machine('sklearn', 'scipy')}\n")
    good = [PARTS[part](args) for part in args.parts]
    sys.exit(0 if all(good) else "the two differ: see the tables")


def speed(args):
    """Time `fit` with both libraries in turn; the seed is the same, so the networks must be the same."""
    print("| data | settings | epochs | scikit-learn | xpnet | ratio (rounds) | largest difference of a weight |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    good = True
    for name, x, y, settings in fits(args):
        seconds = {module: [] for module in (theirs, ours)}
        fitted = {}
        for _ in range(1 if args.quick else args.rounds):
            for module, taken in seconds.items():
                time.sleep(PAUSE)
                started = time.perf_counter()
                fitted[module] = module.MLPClassifier(random_state=0, **settings).fit(x, y)
                taken.append(time.perf_counter() - started)
        mine, other = fitted[ours], fitted[theirs]
        apart = max(np.abs(a - b).max() for a, b in zip(mine.coefs_, other.coefs_))
        # In float32 rounding differences grow, so the predictions are compared instead
        same = mine.n_iter_ == other.n_iter_ and apart < 1e-6 if x.dtype == np.float64 else agree(mine, other, x) > 0.99
        good &= bool(same)
        ratios = np.array(seconds[ours]) / np.array(seconds[theirs])
        print(
            f"| {name}, {x.dtype} | {describe(settings)} | {mine.n_iter_} | {np.median(seconds[theirs]):.2f} s | "
            f"{np.median(seconds[ours]):.2f} s | {np.median(ratios):.2f} ({ratios.min():.2f}-{ratios.max():.2f}) | "
            f"{apart:.1e}{'' if same else ' DIFFERENT'} |",
            flush=True,
        )
    print()
    return good


def fits(args):
    """Yield the name, X, y and settings of each timed fit."""
    x, y = load_digits(return_X_y=True)
    short = {"max_iter": 10} if args.quick else {}
    yield "digits", x, y, short
    yield "digits", x / 16, y, short
    yield "digits", (x / 16).astype(np.float32), y, short
    yield "digits", x / 16, y, {"batch_size": 50, "max_iter": 10 if args.quick else 50}
    yield "digits", x / 16, y, {"batch_size": 10, "max_iter": 2 if args.quick else 20}
    yield "digits", x / 16, y, {"solver": "sgd", "learning_rate_init": 0.1, **short}
    yield "digits", x / 16, y, {"solver": "lbfgs", **short}
    if not args.quick and os.environ.get("XPNET_DATA"):
        (x, y), _ = mnist()
        x, y = np.asarray(x, np.float64).reshape(len(x), -1), np.asarray(y)
        yield "MNIST", x, y, {}
        yield "MNIST", x.astype(np.float32), y, {"max_iter": 10}
        yield "MNIST", x, y, {"batch_size": 50, "max_iter": 2}
        yield "MNIST", x, y, {"batch_size": 10, "max_iter": 1}
        yield "MNIST", x.astype(np.float32), y, {"batch_size": 10, "max_iter": 1}


def agree(mine, other, x):
    return (mine.predict(x) == other.predict(x)).mean()


def describe(settings):
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"


def accuracy(args):
    """Compare the mean test scores over the seeds, with their standard errors."""
    print("| data | score | scikit-learn | xpnet | difference, in standard errors of it |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    good = True
    for name, kind, x, y, settings in problems(args):
        parts = train_test_split(x, y, test_size=0.25, random_state=0)
        scaler = StandardScaler().fit(parts[0])
        x_train, x_test = (scaler.transform(part) for part in parts[:2])
        scores = {
            module: np.array(
                [
                    getattr(module, kind)(random_state=seed, **settings).fit(x_train, parts[2]).score(x_test, parts[3])
                    for seed in range(2 if args.quick else args.seeds)
                ]
            )
            for module in (theirs, ours)
        }
        errors = {module: each.std(ddof=1) / np.sqrt(len(each)) for module, each in scores.items()}
        off = scores[ours].mean() - scores[theirs].mean()
        together = np.hypot(*errors.values())
        good &= bool(abs(off) <= 3 * together)
        shown = " | ".join(f"{scores[module].mean():.4f} ± {errors[module]:.4f}" for module in (theirs, ours))
        what = "accuracy" if kind == "MLPClassifier" else "R²"
        print(f"| {name} | {what} | {shown} | {off:+.1e}, {abs(off) / together if off else 0:.2f} |", flush=True)
    print()
    return good


def problems(args):
    """Yield the name, class of estimator, X, y and settings of each problem."""
    few = {"max_iter": 20} if args.quick else {}
    yield "breast cancer", "MLPClassifier", *load_breast_cancer(return_X_y=True), few
    yield "diabetes", "MLPRegressor", *load_diabetes(return_X_y=True), few or {"learning_rate_init": 0.01}
    if not args.quick:
        yield "digits", "MLPClassifier", *load_digits(return_X_y=True), {}
        x, y = make_classification(50_000, 40, n_informative=20, n_classes=5, random_state=0)
        yield "synthetic, 50,000", "MLPClassifier", x, y, {"max_iter": 20}


PARTS = {"speed": speed, "accuracy": accuracy}

if __name__ == "__main__":
    main()
