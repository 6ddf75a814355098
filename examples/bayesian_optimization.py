"""Bayesian optimization: find the minimum of an expensive function in 40 runs, by the error bars of an ensemble."""

import argparse

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm, qmc

from xpnet import Ensemble, LevenbergMarquardt

LEAST = -3.86278  # of hartmann


def hartmann(x):
    """The Hartmann function of three variables from 0 to 1, in place of a simulation that takes hours."""
    scales = np.array([[3.0, 10.0, 30.0], [0.1, 10.0, 35.0], [3.0, 10.0, 30.0], [0.1, 10.0, 35.0]])
    centers = np.array(
        [[0.3689, 0.117, 0.2673], [0.4699, 0.4387, 0.747], [0.1091, 0.8732, 0.5547], [0.0381, 0.5743, 0.8828]]
    )
    distances = (scales * (x[:, None, :] - centers) ** 2).sum(axis=-1)
    return -np.exp(-distances) @ [1.0, 1.2, 3.0, 3.2]


def fit_ensemble(x, y, seed):
    """Train an ensemble, and return its posterior: mean, standard deviation, and the derivatives of both."""
    ensemble = Ensemble(
        [x.shape[1], 20, 1],
        members=5,
        activation="tanh",
        task="regression",
        standardize=True,
        dtype="float64",
        seed=seed,
    )
    ensemble.train((x, y), epochs=40, optimizer=LevenbergMarquardt(weight_decay=1e-5), progress=False)
    ensemble.fit_laplace((x, y))
    return ensemble.posterior


def expected_improvement(best, mean, std, mean_jacobian, std_jacobian):
    """Compute by how much the function is expected to be below the best value, and the gradient of that."""
    z = (best - mean) / std
    below, density = norm.cdf(z), norm.pdf(z)
    return std * (z * below + density), density[:, None] * std_jacobian - below[:, None] * mean_jacobian


def choose_point(posterior, best, low, high, rng):
    """Find the point of a box with the largest expected improvement."""

    def negative_log(point):
        improvement, gradient = expected_improvement(best, *posterior(point[None]))
        improvement = max(improvement[0], 1e-300)
        return -np.log(improvement), -gradient[0] / improvement

    candidates = rng.uniform(low, high, (300, len(low)))
    improvements, _ = expected_improvement(best, *posterior(candidates))
    starts = candidates[np.argsort(improvements)[-3:]]
    found = [minimize(negative_log, start, jac=True, bounds=[*zip(low, high)], method="L-BFGS-B") for start in starts]
    return min(found, key=lambda result: result.fun).x


def optimize(f, n_inputs, seed, fit=fit_ensemble, first_runs=10, runs=40):
    """Minimize a function of inputs from 0 to 1; return all points and values.

    New points lie in a box around the best one, a trust region that grows after an improvement and shrinks else
    (D. Eriksson et al., "Scalable Global Optimization via Local Bayesian Optimization", NeurIPS 2019).
    """
    rng, half_width = np.random.default_rng(seed), 0.4
    x = qmc.LatinHypercube(n_inputs, rng=rng).random(first_runs)
    y = f(x)
    while len(x) < runs:
        center, best = x[y.argmin()], y.min()
        low, high = np.maximum(center - half_width, 0.0), np.minimum(center + half_width, 1.0)
        new = choose_point(fit(x, y, seed), best, low, high, rng)
        x, y = np.vstack([x, new]), np.append(y, f(new[None]))
        half_width = min(1.5 * half_width, 0.5) if y[-1] < best else 0.75 * half_width
    return x, y


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="number of runs, of which the first ten are a design (40)")
    x, y = optimize(hartmann, 3, seed=0, runs=parser.parse_args().runs)
    for runs in range(10, len(y) + 1, 10):
        print(f"{runs} runs: least value {y[:runs].min():.4f}, {y[:runs].min() - LEAST:.5f} above the minimum")
    print(f"best point: {x[y.argmin()].round(3)}")


if __name__ == "__main__":
    main()
