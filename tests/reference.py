"""A network straight from the equations, an example at a time, in NumPy float64: slow, obvious, independent of xpnet.

Weights are (n_out, n_in), biases (n_out,), an example x is (n_in,) and its target y (n_out,).
"""

import numpy as np

ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0),
    "identity": lambda z: z,
    "softmax": lambda z: np.exp(z) / np.sum(np.exp(z)),
}


def jacobian(name, z):
    """∂a_k/∂z_j, written out."""
    a = ACTIVATIONS[name](z)
    if name == "softmax":
        return np.diag(a) - np.outer(a, a)
    slope = {"sigmoid": a * (1 - a), "tanh": 1 - a**2, "relu": np.where(z > 0, 1.0, 0.0), "identity": np.ones_like(z)}
    return np.diag(slope[name])


def cost(name, output, a, y):
    """Cost of one example."""
    if name == "quadratic":
        return 0.5 * np.sum((a - y) ** 2)
    if output == "softmax":
        return -np.sum(y * np.log(a))
    return -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))


def cost_gradient(name, output, a, y):
    """∇ₐC of one example."""
    if name == "quadratic":
        return a - y
    return -y / a if output == "softmax" else (a - y) / (a * (1 - a))


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


def mean_gradient(layers, activations, cost_name, xs, ys):
    """The mean over a minibatch, of gradients and of costs."""
    each = [gradient(layers, activations, cost_name, x, y) for x, y in zip(xs, ys, strict=True)]
    grads = [
        tuple(np.mean([grads[l][part] for grads, _ in each], axis=0) for part in (0, 1)) for l in range(len(layers))
    ]
    return grads, np.mean([cost for _, cost in each])


def train(layers, activations, cost_name, xs, ys, batches, lrs, momentum=0.0, nesterov=False, weight_decay=0.0):
    """SGD over minibatches, lists of indices; returns the layers."""
    layers = [(w.copy(), b.copy()) for w, b in layers]
    velocity = [(0 * w, 0 * b) for w, b in layers]
    for batch, lr in zip(batches, lrs, strict=True):
        grads, _ = mean_gradient(layers, activations, cost_name, xs[batch], ys[batch])
        for l, ((w, b), (vw, vb), (gw, gb)) in enumerate(zip(layers, velocity, grads, strict=True)):
            gw = gw + weight_decay * w
            vw, vb = momentum * vw - lr * gw, momentum * vb - lr * gb
            velocity[l] = vw, vb
            if nesterov:
                layers[l] = w + momentum * vw - lr * gw, b + momentum * vb - lr * gb
            else:
                layers[l] = w + vw, b + vb
    return layers
