"""Trainings straight from the equations, in NumPy float64; the equations are those of `programs.oracle`."""

import numpy as np
from programs import oracle


def draw(n, size, rng, sampling="shuffle"):
    """The rows of each minibatch of an epoch."""
    if sampling == "replacement":
        return [*rng.integers(n, size=(max(1, n // size), min(n, size)), dtype=np.int32)]
    order = rng.permutation(n)
    return [order[start : start + size] for start in range(0, n, size)]


def train(net, x, y, epochs, rates, weight=None):
    """Layers after epochs of minibatches, and the cost of each: Σ w c / Σ w with each c before its minibatch's update.

    The layers are those of a network to begin with; minibatches without weight are left out.
    """
    names, rates, costs = [*net.activation, net.output_activation], iter(rates), []
    layers = [tuple(np.array(net.backend.to_numpy(part)) for part in layer) for layer in net.layers]
    weight = np.ones(len(x)) if weight is None else weight
    for minibatches in epochs:
        cost = 0.0
        for rows in minibatches:
            rate, each = next(rates), weight[rows]
            if each.sum() > 0:
                grads, of_examples = oracle.gradient(layers, names, net.cost_name, x[rows], y[rows], each)
                cost += each @ of_examples
                layers = [(w - rate * gw, b - rate * gb) for (w, b), (gw, gb) in zip(layers, grads, strict=True)]
        costs.append(cost / sum(weight[rows].sum() for rows in minibatches))
    return layers, costs
