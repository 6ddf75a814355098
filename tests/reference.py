"""A network straight from the equations, an example at a time, in NumPy float64: slow, obvious, independent of xpnet.

Weights are (n_out, n_in), biases (n_out,), an example x is (n_in,) and its target y (n_out,).
"""

import math

import numpy as np

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def normal_cdf(z):
    """Φ(z) of each element, by the error function of the standard library."""
    return np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in z])


def normal_density(z):
    """φ(z) = Φ′(z)."""
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def gelu_tanh_argument(z):
    """What the tanh of the approximate GELU is taken of, and its derivative."""
    return np.sqrt(2 / np.pi) * (z + 0.044715 * z**3), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)


def mean_std(z):
    """Means, then standard deviations whose square is softplus plus a millionth."""
    means, rest = np.split(z, 2)
    return np.concatenate([means, np.sqrt(np.log(1 + np.exp(rest)) + 1e-6)])


def mean_std_slope(z):
    means, rest = np.split(z, 2)
    return np.concatenate([np.ones_like(means), 1 / (1 + np.exp(-rest)) / (2 * np.split(mean_std(z), 2)[1])])


ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0),
    "identity": lambda z: z,
    "softmax": lambda z: np.exp(z) / np.sum(np.exp(z)),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * (np.exp(z) - 1)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": lambda z: z * normal_cdf(z),
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh(gelu_tanh_argument(z)[0])),
    "exp": np.exp,
    "mean_std": mean_std,
}


def gelu_tanh_slope(z):
    inner, slope = gelu_tanh_argument(z)
    return (1 + np.tanh(inner)) / 2 + z / 2 / np.cosh(inner) ** 2 * slope


SLOPES = {
    "sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "tanh": lambda z: 1 / np.cosh(z) ** 2,
    "relu": lambda z: np.where(z > 0, 1.0, 0.0),
    "identity": np.ones_like,
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.01),
    "elu": lambda z: np.where(z > 0, 1, np.exp(z)),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(z)),
    "softplus": lambda z: 1 / (1 + np.exp(-z)),
    "silu": lambda z: 1 / (1 + np.exp(-z)) + z * np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "gelu": lambda z: normal_cdf(z) + z * normal_density(z),
    "gelu_tanh": gelu_tanh_slope,
    "exp": np.exp,
    "mean_std": mean_std_slope,
}


def jacobian(name, z):
    """∂a_k/∂z_j, written out."""
    if name == "softmax":
        a = ACTIVATIONS[name](z)
        return np.diag(a) - np.outer(a, a)
    return np.diag(SLOPES[name](z))


def cost(name, output, a, y):
    """Cost of one example."""
    if name == "quadratic":
        return 0.5 * np.sum((a - y) ** 2)
    if name == "mse":
        return np.mean((a - y) ** 2)
    if name == "mae":
        return np.mean(np.abs(a - y))
    if name == "gaussian":
        mean, std = np.split(a, 2)
        distance = np.abs(y - mean) / std
        normal = -np.log(np.exp(-(distance**2) / 2) / np.sqrt(2 * np.pi * std**2))
        student = 25 * np.log(distance / 5) + 12.5 + np.log(std) + np.log(2 * np.pi) / 2
        return np.sum(np.where(distance <= 5, normal, student))
    if name == "quantile(0.1, 0.5, 0.9)":
        below, median, above = (y - part for part in np.split(a, 3))
        return sum(
            np.sum(np.where(error > 0, level * error, (level - 1) * error))
            for level, error in ((0.1, below), (0.5, median), (0.9, above))
        )
    if name == "absolute":
        return np.sum(np.abs(a - y))
    if name == "huber":
        distance = np.abs(a - y)
        return np.sum(np.where(distance <= 1, distance**2 / 2, distance - 1 / 2))
    if name == "poisson":
        return np.sum(a - y * np.log(a))
    if name == "log_likelihood" or output == "softmax":
        return -np.sum(y * np.log(a))
    return -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))


def cost_gradient(name, output, a, y):
    """∇ₐC of one example."""
    if name == "quadratic":
        return a - y
    if name == "mse":
        return 2 * (a - y) / len(a)
    if name == "mae":
        return np.where(a > y, 1, np.where(a < y, -1, 0)) / len(a)
    if name == "gaussian":
        mean, std = np.split(a, 2)
        is_far = np.abs(y - mean) > 5 * std
        slopes = np.where(is_far, 25 / (mean - y), (mean - y) / std**2)
        return np.concatenate([slopes, np.where(is_far, -24, 1 - (y - mean) ** 2 / std**2) / std])
    if name == "quantile(0.1, 0.5, 0.9)":
        parts = zip((0.1, 0.5, 0.9), np.split(a, 3), strict=True)
        return np.concatenate([np.where(part > y, 1 - level, -level) for level, part in parts])
    if name == "absolute":
        return np.where(a > y, 1, np.where(a < y, -1, 0))
    if name == "huber":
        return np.where(np.abs(a - y) <= 1, a - y, np.where(a > y, 1, -1))
    if name == "poisson":
        return 1 - y / a
    if name == "log_likelihood" or output == "softmax":
        return -y / a
    return (a - y) / (a * (1 - a))


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
