"""A network straight from the equations, an example at a time, in NumPy float64: slow, obvious, independent of xpnet.

Weights are (n_out, n_in), biases (n_out,), an example x is (n_in,) and its target y (n_out,). Functions take complex
numbers too, and derivatives are imaginary parts: f(z + ih) = f(z) + ih f′(z) is exact for an h of 1e-30.
"""

import math

import numpy as np
from scipy.special import erfc

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
STEP = 1e-30


def size(x):
    """The absolute value of real numbers, and its continuation."""
    return np.where(x.real < 0, -x, x)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def mean_std(z):
    """Means, then standard deviations whose square is softplus plus a millionth."""
    means, rest = np.split(z, 2)
    return np.concatenate([means, np.sqrt(np.log(1 + np.exp(rest)) + 1e-6)])


ACTIVATIONS = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "identity": lambda z: z,
    "softmax": lambda z: np.exp(z) / np.sum(np.exp(z)),
    "leaky_relu": lambda z: np.where(z.real > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z.real > 0, z, np.exp(z) - 1),
    "selu": lambda z: SELU_SCALE * np.where(z.real > 0, z, SELU_ALPHA * (np.exp(z) - 1)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * erfc(-z / math.sqrt(2)) / 2,
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "exp": np.exp,
    "mean_std": mean_std,
}


def differentiate(function, z):
    """The derivatives of a function of a vector, by each of its numbers, along a last axis."""
    return np.stack([function(z + 1j * STEP * unit).imag / STEP for unit in np.eye(len(z))], axis=-1)


def jacobian(name, z):
    """∂a_k/∂z_j."""
    return differentiate(ACTIVATIONS[name], z)


def cost(name, output, a, y):
    """Cost of one example."""
    if name in ("quadratic", "mse"):
        return np.sum((a - y) ** 2) / (2 if name == "quadratic" else len(a))
    if name in ("absolute", "mae"):
        return np.sum(size(a - y)) / (1 if name == "absolute" else len(a))
    if name == "gaussian":
        mean, std = np.split(a, 2)
        distance = size(y - mean) / std
        normal = -np.log(np.exp(-(distance**2) / 2) / np.sqrt(2 * np.pi * std**2))
        student = 25 * np.log(distance / 5) + 12.5 + np.log(std) + np.log(2 * np.pi) / 2
        return np.sum(np.where(distance.real <= 5, normal, student))
    if name == "quantile(0.1, 0.5, 0.9)":
        errors = zip((0.1, 0.5, 0.9), (y - part for part in np.split(a, 3)))
        return sum(np.sum(np.where(error.real > 0, level * error, (level - 1) * error)) for level, error in errors)
    if name == "huber":
        distance = size(a - y)
        return np.sum(np.where(distance.real <= 1, distance**2 / 2, distance - 1 / 2))
    if name == "poisson":
        return np.sum(a - y * np.log(a))
    if name == "log_likelihood" or output == "softmax":
        return -np.sum(y * np.log(a))
    return -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))


def cost_gradient(name, output, a, y):
    """∇ₐC of one example."""
    return differentiate(lambda a: cost(name, output, a, y), a)


def gradient(layers, activations, cost_name, x, y):
    """∂C/∂w and ∂C/∂b of each layer for one example, by BP1 to BP4 with whole Jacobians, and its cost."""
    zs, a_s = [], [x]
    for (w, b), name in zip(layers, activations, strict=True):
        zs.append(w @ a_s[-1] + b)
        a_s.append(ACTIVATIONS[name](zs[-1]))
    delta = jacobian(activations[-1], zs[-1]).T @ cost_gradient(cost_name, activations[-1], a_s[-1], y)  # BP1
    grads = []
    for l in reversed(range(len(layers))):
        grads.insert(0, (np.outer(delta, a_s[l]), delta))  # BP4, BP3
        if l:
            delta = jacobian(activations[l - 1], zs[l - 1]).T @ (layers[l][0].T @ delta)  # BP2
    return grads, cost(cost_name, activations[-1], a_s[-1], y)


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
            rate, total = next(rates), weight[rows].sum()
            each = [(weight[i], *gradient(layers, names, net.cost_name, x[i], y[i])) for i in rows]
            cost += sum(w * c for w, _, c in each)
            if total > 0:
                layers = [
                    tuple(p - rate * sum(w * g[l][part] for w, g, _ in each) / total for part, p in enumerate(layer))
                    for l, layer in enumerate(layers)
                ]
        costs.append(cost / sum(weight[rows].sum() for rows in minibatches))
    return layers, costs
