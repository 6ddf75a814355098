"""Compare ways to choose where to compute next for a surrogate: by chance, and by the spread of an ensemble."""

import sys
import time

import numpy as np

from xpnet import Ensemble, LevenbergMarquardt

SEEDS, ROUNDS, NEW = 5, 14, 10


def f(x):
    """A wave with a narrow peak."""
    return np.sin(3 * x[:, 0]) + np.exp(-30 * ((x[:, 0] - 0.5) ** 2 + (x[:, 1] + 0.5) ** 2))


CHOICES = {
    "chance": lambda std, rng: rng.choice(len(std), NEW, replace=False),
    "chance, by std²": lambda std, rng: rng.choice(len(std), NEW, replace=False, p=std**2 / (std**2).sum()),
    "the largest std": lambda std, rng: np.argsort(std)[-NEW:],
}


def errors(choose, seed):
    """Root-mean-square errors of the ensemble after each round, with 20, 30, ... points."""
    rng, test = np.random.default_rng(seed), np.random.default_rng(99).uniform(-1, 1, (5000, 2))
    x, found = rng.uniform(-1, 1, (20, 2)), []
    for _ in range(ROUNDS):
        settings = {"activation": "tanh", "task": "regression", "standardize": True, "dtype": "float64"}
        ensemble = Ensemble([2, 15, 1], members=5, **settings, seed=seed)
        ensemble.train((x, f(x)), epochs=60, optimizer=LevenbergMarquardt(weight_decay=1e-5), progress=False)
        found.append(np.sqrt(((ensemble.predict(test) - f(test)) ** 2).mean()))
        candidates = rng.uniform(-1, 1, (2000, 2))
        _, std = ensemble.predict(candidates, return_std=True)
        x = np.concatenate([x, candidates[choose(std, rng)]])
    return found


def main():
    """Print a table, and return what is not as the page on regression says."""
    medians = {}
    print("| points chosen by | 50 | 100 | 150 points | CPU s |\n| --- | --- | --- | --- | --- |")
    for name, choose in CHOICES.items():
        start = time.process_time()
        medians[name] = np.median([errors(choose, seed) for seed in range(SEEDS)], axis=0)
        numbers = [f"{medians[name][points // NEW - 2]:.3f}" for points in (50, 100, 150)]
        print(f"| {name} | {' | '.join(numbers)} | {time.process_time() - start:.1f} |")
    last = {name: errors[-1] for name, errors in medians.items()}
    best = min(last, key=last.__getitem__)
    return [] if best == "chance, by std²" else [f"{best} has the smallest error, not chance by std²"]


if __name__ == "__main__":
    sys.exit("\n".join(main()) or 0)
