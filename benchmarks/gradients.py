"""How a gradient is found, and what L-BFGS makes of it.

    python benchmarks/gradients.py nudges|lbfgs

`nudges`: the gradient of the book's first network for ten digits, by backpropagation and by nudging each weight and
bias; it ends with status 1 if the two differ. `lbfgs`: the cost that `LBFGS` reaches, as a multiple of that of SciPy's
L-BFGS-B with as many evaluations; it ends with status 1 if the median is above 1.2.
"""

import argparse
import sys
import time
from statistics import median

import numpy as np
from scipy.optimize import minimize

from xpnet import LBFGS, Network
from xpnet.core.backprop import backward, forward
from xpnet.datasets import mnist_sample

ROUNDS, CALLS, NUDGE = 7, 200, 1e-6


def compare_with_nudges() -> bool:
    """Print both times, the median of some rounds; return whether the gradients agree."""
    (x, labels), _ = mnist_sample()
    net = Network([784, 30, 10], dtype="float64", seed=0)
    model, layers, x, y = net.value.model, net.value.layers, np.asarray(x[:10], np.float64), np.eye(10)[labels[:10]]

    def compute_cost() -> float:
        zs, activations = forward(layers, model.sigmas, x, np)
        return float(model.output.value(zs[-1], activations[-1], y, np).mean())

    def compute_gradient() -> list[np.ndarray]:
        passed = forward(layers, model.sigmas, x, np)
        return [part for layer in backward(layers, model.sigmas, model.output, *passed, y, np) for part in layer]

    def nudge_each() -> list[np.ndarray]:
        before, gradients = compute_cost(), []
        for array in (part for layer in layers for part in layer):
            gradients.append(np.zeros(array.shape))
            for at in np.ndindex(array.shape):
                kept = array[at]
                array[at] = kept + NUDGE
                gradients[-1][at] = (compute_cost() - before) / NUDGE
                array[at] = kept
        return gradients

    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            gradient = compute_gradient()
        seconds.append((time.perf_counter() - began) / CALLS)
    began = time.perf_counter()
    nudged = nudge_each()
    slow, fast = time.perf_counter() - began, median(seconds)
    print(f"nudges {slow:.1f} s, backpropagation {1000 * fast:.2f} ms: {slow / fast:,.0f} times as long")
    return all(np.allclose(p, q, atol=1e-6) for p, q in zip(gradient, nudged))


def compare_with_scipy() -> bool:
    """Print the ratios of costs for six problems; return whether their median is at most 1.2."""
    ratios = []
    for seed in range(6):
        x = np.random.default_rng(seed).uniform(-2, 2, (300, 3))
        y = np.sin(2 * x[:, :1]) * x[:, 1:2] + x[:, 2:] ** 2
        net = Network([3, 20, 10, 1], activation="tanh", task="regression", dtype="float64", seed=seed)
        model, start = net.value.model, net.value.layers
        shapes = [part.shape for layer in start for part in layer]
        ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            parts = [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes)]  # noqa: B023
            layers = tuple(zip(parts[::2], parts[1::2]))
            zs, activations = forward(layers, model.sigmas, x, np)  # noqa: B023
            grads = backward(layers, model.sigmas, model.output, zs, activations, y, np)  # noqa: B023
            cost = float(model.output.value(zs[-1], activations[-1], y, np).mean())  # noqa: B023
            return cost, np.concatenate([part.ravel() for layer in grads for part in layer])

        flat = np.concatenate([part.ravel() for layer in start for part in layer])
        for evaluations in (100, 300, 1000):
            options = {"maxfun": evaluations, "maxiter": 10**6, "ftol": 0.0, "gtol": 0.0}
            theirs = minimize(objective, flat, method="L-BFGS-B", jac=True, options=options).fun
            mine = net.copy()
            mine.train((x, y), evaluations, optimizer=LBFGS(), progress=False)
            ratios.append(mine.cost((x, y)) / theirs)
    print(f"L-BFGS: {median(ratios):.2f} times SciPy's cost ({min(ratios):.2f} to {max(ratios):.2f})")
    return median(ratios) <= 1.2


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=["nudges", "lbfgs"])
    question = parser.parse_args().question
    return 0 if {"nudges": compare_with_nudges, "lbfgs": compare_with_scipy}[question]() else 1


if __name__ == "__main__":
    sys.exit(main())
