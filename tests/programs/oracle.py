"""What xpnet promises to compute, written a second time in float64 from docs/reference/functions.md alone.

It imports nothing of xpnet, so that a mistake there is not repeated here. Weights are (n_out, n_in), biases (n_out,).
An optimizer is a tuple of its name and numbers, ``("Adam", {"beta1": 0.8})``, or a wrapper, its number and what it
wraps, ``("Clip", 0.5, ("SGD", {}))``; a schedule is a tuple of its name and numbers, ``("Cosine", 0.1, 0.0, 0.01)``.
"""

import copy
import math
from functools import partial
from inspect import signature
from statistics import NormalDist

import numpy as np

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
WRAPPERS = ("L1", "Clip", "MaxNorm")
LARGER_IS_BETTER = ("accuracy", "correct", "r2", "top_")
LONG_NAMES = {"mean_absolute_error": "mae", "mean_squared_error": "mse", "root_mean_squared_error": "rmse"}
BINS = 15  # of the expected calibration error
SATURATED = ("sigmoid", "tanh", "elu", "selu", "silu", "gelu", "gelu_tanh", "bend")
TINY = 1e-100  # a step into the imaginary direction

_erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(z):
    e = np.exp(-np.where(z.real >= 0, z, -z))
    return np.where(z.real >= 0, 1, e) / (1 + e)


def softplus(z):
    """That of a complex number is that of its real part, and its slope: NumPy's complex log1p is less exact."""
    real = np.maximum(z.real, 0) + np.log1p(np.exp(-np.abs(z.real)))
    return real + 1j * z.imag * sigmoid(z.real) if np.iscomplexobj(z) else real


def softmax(z):
    e = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def gelu(z):
    """Z Φ(z); the error function of a complex number is that of its real part, and its slope."""
    cdf = (1 + _erf(z.real / math.sqrt(2))) / 2
    return z * (cdf + 1j * z.imag * np.exp(-(z.real**2) / 2) / math.sqrt(2 * math.pi) if np.iscomplexobj(z) else cdf)


def gelu_tanh(z):
    return z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def mean_std(z):
    means, variances = np.split(z, 2, axis=-1)
    return np.concatenate([means, np.sqrt(softplus(variances) + 1e-6)], axis=-1)


def leaky_relu(z, slope=0.01):
    return np.where(z.real > 0, z, slope * z)


def elu(z, alpha=1.0, scale=1.0):
    return scale * np.where(z.real > 0, z, alpha * np.expm1(np.where(z.real > 0, 0, z)))


ACTIVATIONS = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.where(z.real > 0, z, 0),  # a slope of 0 would make infinity NaN
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": partial(elu, alpha=SELU_ALPHA, scale=SELU_SCALE),
    "softplus": softplus,
    "silu": lambda z: z * sigmoid(z),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "exp": np.exp,
    "identity": lambda z: z,
    "mean_std": mean_std,
    "softmax": softmax,
    "bend": lambda z, by: np.tanh(by * z),  # a user's own
}


def parse(name):
    """Split a name and its numbers: "elu(0.5, 1.0)" into "elu" and [0.5, 1.0]."""
    name, _, numbers = name.partition("(")
    return name, [float(number) for number in numbers.rstrip(")").split(",") if number]


def activate(name, z):
    name, numbers = parse(name)
    return ACTIVATIONS[name](z, *numbers)


def differentiate(function, x):
    """The derivative of a function that is applied to each element, by a complex step, which rounds nothing off."""
    return function(x + TINY * 1j).imag / TINY


def keep(a):
    """Round nothing."""
    return a


def pull_back(name, g, z, round=keep):
    """Take the gradient with respect to the activations back to the weighted inputs."""
    if name == "softmax":
        a = softmax(z)
        return a * (round(g) - round(g * a).sum(axis=-1, keepdims=True))
    slope = differentiate(partial(activate, name), z)
    return g * (slope + round_difference(name, slope, round))


def round_difference(name, slope, round):
    """By how much rounding changes the slope of an activation that is a difference from 1."""
    return 0.0 if round is keep or parse(name)[0] not in SATURATED else round(1.0 + 0.0 * slope) - 1.0


def quantile_levels(cost):
    name, levels = parse(cost)
    return levels if name == "quantile" else []


def count_targets(cost, n_out):
    return n_out // 2 if cost == "gaussian" else n_out // max(1, len(quantile_levels(cost)))


def gaussian_cost(a, y):
    means, stds = np.split(a, 2, axis=1)
    d = (means - y) / stds
    is_far = np.abs(d) > 5
    safe = np.where(is_far, d, 5.0)
    half = np.where(is_far, 12.5 + 25 * np.log(np.abs(safe) / 5), d * d / 2)
    s = np.where(is_far, 25 / safe, d)
    return (np.log(stds) + half + math.log(2 * math.pi) / 2).sum(axis=1), np.concatenate([s, 1 - s * d], 1) / np.tile(
        stds, 2
    )


def quantile_cost(a, y, levels):
    costs, gradients = 0.0, []
    for level, part in zip(levels, np.split(a, len(levels), axis=1)):
        e = y - part
        costs = costs + np.maximum(level * e, (level - 1) * e).sum(axis=1)
        gradients.append(np.where(e < 0, 1 - level, np.where(e > 0, -level, 0.5 - level)))
    return costs, np.concatenate(gradients, axis=1)


def unfused_cost(cost, a, y):
    """The cost of each example, and its gradient with respect to the outputs."""
    name, numbers = parse(cost)
    if name == "gaussian":
        return gaussian_cost(a, y)
    if name == "quantile":
        return quantile_cost(a, y, numbers)
    e, k = a - y, y.shape[1]
    if name == "huber":
        d = (numbers or [1.0])[0]
        near = np.minimum(np.abs(e), d)
        return (near**2 / 2 + d * (np.abs(e) - near)).sum(axis=1), np.clip(e, -d, d)
    return {
        "quadratic": ((e**2).sum(axis=1) / 2, e),
        "absolute": (np.abs(e).sum(axis=1), np.sign(e)),
        "mse": ((e**2).mean(axis=1), 2 * e / k),
        "mae": (np.abs(e).mean(axis=1), np.sign(e) / k),
    }[name]


def costs_and_deltas(cost, output, z, y, round=keep):
    """The cost of each example, and BP1."""
    a = activate(output, z)
    if cost in ("cross_entropy", "log_likelihood"):
        each = softplus(z) - y * z if output == "sigmoid" else -y * log_softmax(z)
        return each.sum(axis=1), a - y
    if cost == "poisson":
        return (a - y * z).sum(axis=1), a - y
    costs, gradient = unfused_cost(cost, a, y)
    return costs, pull_back(output, gradient, z, round)


def multiply(a, b, round=keep):
    """The product of two matrices; what it rounds is relative to the sizes of the terms, which may cancel."""
    sizes = np.abs(a) @ np.abs(b)
    return a @ b + (round(sizes) - sizes)


def feed_forward(layers, activations, x, masks=None, round=keep):
    """Weighted inputs and activations of all layers; `masks` by the number of the layer, 0 for the inputs."""
    masks, zs = masks or {}, []
    a_s = [round(x * masks.get(0, 1.0))]
    for l, ((w, b), name) in enumerate(zip(layers, activations), 1):
        zs.append(multiply(a_s[-1], w.T, round) + b)
        a_s.append(round(activate(name, zs[-1]) * masks.get(l, 1.0)))
    return zs, a_s


def backpropagate(layers, activations, zs, delta, masks=None, round=keep):
    """The deltas of all layers, from those of the last."""
    masks, deltas = masks or {}, [round(delta)]
    for l in reversed(range(1, len(layers))):
        g = multiply(deltas[0], layers[l][0], round) * masks.get(l, 1.0)
        deltas.insert(0, round(pull_back(activations[l - 1], g, zs[l - 1], round)))
    return deltas


def gradient(layers, activations, cost, x, y, weight=None, masks=None, round=keep):
    """The gradient of the mean cost of a minibatch, and the cost of each example."""
    zs, a_s = feed_forward(layers, activations, x, masks, round)
    costs, delta = costs_and_deltas(cost, activations[-1], zs[-1], y, round)
    weight = np.ones(len(x)) if weight is None else weight
    deltas = backpropagate(layers, activations, zs, delta * (weight / weight.sum())[:, None], masks, round)
    ones = np.ones((1, len(x)))
    return [(multiply(d.T, a, round), multiply(ones, d, round)[0]) for d, a in zip(deltas, a_s)], costs


def slope_gradient(layers, activations, x, slopes, slope_weight, weight=None, round=keep):
    """The gradient of the mean of ½ Σ λ (∂a/∂x − slopes)², and the part of each example; slopes of NaN are left out.

    With c = λ (∂a/∂x − slopes) of an output, it is the change of the gradient of the output if x moves along c.
    """
    of_differences, factors = keep if round is keep else Rounding("float64", 0), {}
    for l, (name, z) in enumerate(zip(activations[:-1], feed_forward(layers, activations, x)[0]), 1):
        slope = differentiate(partial(activate, name), z)  # whose rounding is the same in all differences
        factors[l] = 1 + round_difference(name, slope, round) / np.where(slope == 0, 1, slope)
    share = np.full(len(x), 1.0 / len(x)) if weight is None else weight / weight.sum()

    def deltas_of(unit, x):
        zs, a_s = feed_forward(layers, activations, x)
        return backpropagate(layers, activations, zs, pull_back(activations[-1], unit, zs[-1]), factors), a_s

    grads, costs = [(0 * w, 0 * b) for w, b in layers], np.zeros(len(x))
    for k, row in enumerate(np.eye(slopes.shape[1])):
        unit = np.broadcast_to(row, (len(x), len(row)))
        errors = round(deltas_of(unit, x)[0][0] @ layers[0][0]) - slopes[:, k]
        errors[np.isnan(slopes[:, k])] = 0.0
        c = slope_weight * errors
        step = 1e-3 / max(1.0, np.abs(c).max())  # of differences of fourth order
        for place, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            deltas, a_s = deltas_of(unit * share[:, None], x + place * step * c)
            parts = [(of_differences(d.T @ a), of_differences(d.sum(axis=0))) for d, a in zip(deltas, a_s)]
            factor /= 12 * step
            grads = [(gw + factor * w, gb + factor * b) for (gw, gb), (w, b) in zip(grads, parts)]
        costs += (c * errors).sum(axis=1) / 2
    return [(round(w), round(b)) for w, b in grads], costs


def update(optimizer, layers, grads, memory, lr, round=keep):
    """Take a step; returns the new layers and writes into the memory of the optimizer."""
    name, options = optimizer[:2]
    if name == "Clip":
        norm = math.sqrt(sum((part**2).sum() for pair in grads for part in pair))
        factor = min(1.0, options / norm) if norm else 1.0
        return update(optimizer[2], layers, [(factor * w, factor * b) for w, b in grads], memory, lr, round)
    if name == "L1":
        grads = [(gw + options * np.sign(w), gb) for (gw, gb), (w, _) in zip(grads, layers)]
        return update(optimizer[2], layers, grads, memory, lr, round)
    if name == "MaxNorm":
        layers = update(optimizer[2], layers, grads, memory, lr, round)
        return [
            (w * np.minimum(1, options / np.maximum(np.linalg.norm(w, axis=1), 1e-300))[:, None], b) for w, b in layers
        ]
    decay = options.get("weight_decay", 0.01 if name == "AdamW" else 0.0)
    if name == "AdamW":
        layers = [((1 - lr * decay) * w, b) for w, b in layers]
    else:
        grads = [(gw + decay * w, gb) for (gw, gb), (w, _) in zip(grads, layers)]
    memory["t"] = memory.get("t", 0) + 1
    parts = [p for pair in layers for p in pair]
    step = STEPS[name]
    numbers = {k: each.default for k, each in signature(step).parameters.items() if each.default is not each.empty}
    numbers |= {k: v for k, v in options.items() if k != "weight_decay"}
    numbers = {k: v if isinstance(v, bool) else float(round(v)) for k, v in numbers.items()}
    dtype = getattr(round, "dtype", float)  # in which squares may overflow
    new = []
    for k, (p, g) in enumerate(zip(parts, [g for pair in grads for g in pair])):
        g, m, s = (np.asarray(part, dtype) for part in (g, *memory.get(k, (0.0, 0.0))))
        change, memory[k] = step(g, m, s, memory["t"], lr, **numbers)
        new.append(p + change)
    return list(zip(new[::2], new[1::2]))


def step_of_sgd(g, v, _, t, lr, momentum=0.0, nesterov=False):
    v = momentum * v - lr * g
    return (momentum * v - lr * g if nesterov else v), (v, 0.0)


def step_of_rmsprop(g, _, s, t, lr, rho=0.99, epsilon=1e-8):
    s = rho * s + (1 - rho) * g**2
    return -lr * g / (np.sqrt(s) + epsilon), (0.0, s)


def step_of_adam(g, m, s, t, lr, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return -lr * m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + epsilon), (m, s)


def step_of_adam_hat(g, m, s, t, lr, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return -lr * math.sqrt(1 - beta2**t) * m / (1 - beta1**t) / (np.sqrt(s) + epsilon), (m, s)


STEPS = {
    "SGD": step_of_sgd,
    "RMSProp": step_of_rmsprop,
    "Adam": step_of_adam,
    "AdamW": step_of_adam,
    "AdamHat": step_of_adam_hat,
}


def learning_rate(schedule, step, total):
    name, *numbers = schedule
    t = (step + 0.5) / total
    if name == "Constant":
        return numbers[0]
    if name == "Step":
        lr, factor, points = numbers
        return lr * factor ** sum(step / total >= point for point in points)
    if name == "Exponential":
        first, final = numbers
        return first * (final / first) ** (step / max(1, total - 1))
    if name == "falling":
        return numbers[0] * (1 - step / total)
    if name == "InverseScaling":
        lr, power = numbers
        return lr / (step + 1) ** power
    if name == "Cosine":
        peak, warmup, final = numbers
        half_turn = math.pi * (t - warmup) / (1 - warmup)
        return peak * t / warmup if t < warmup else final + (peak - final) * (1 + math.cos(half_turn)) / 2
    peak, warmup = numbers  # OneCycle
    return peak * t / warmup if t < warmup else peak * (1 - t) / (1 - warmup)


def mix(h):
    """Mix the bits of unsigned 32-bit integers."""
    with np.errstate(over="ignore"):
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    return h ^ (h >> np.uint32(16))


def dropout_mask(seed, step, layer, rows, units, rate):
    """The factors of `units` units in `rows` rows: 0, or 1 / (1 − rate)."""
    seed, step, layer, row = (np.asarray(number, np.uint32) for number in (seed, step, layer, np.arange(rows)[:, None]))
    start = mix(mix(mix(mix(seed) ^ step) ^ (layer + np.uint32(1))) ^ row)
    with np.errstate(over="ignore"):
        hashes = mix(start + np.arange(units, dtype=np.uint32) * np.uint32(0x9E3779B9))
    return ((hashes & np.uint32(0x7FFFFFFF)) >= math.floor(rate * 2**31)) / (1 - rate)


def initial_variances(name, n_in, n_out):
    """The variances of initial weights and biases."""
    if name == "orthogonal":
        return 1 / max(n_in, n_out), 0.0
    if name in ("normal", "scaled_normal"):
        return 1.0 if name == "normal" else 1 / n_in, 1.0
    inputs = (n_in + n_out) / 2 if name.startswith("glorot") else n_in
    return (2 if name.startswith("he") else 1) / inputs, 0.0


def split_rows(n, fraction, seed, labels=None):
    """The rows to train on and those to validate on: systematic sampling of a random order, sorted by class."""
    rng = np.random.default_rng(seed)
    order = list(rng.permutation(n))
    if labels is not None:
        order.sort(key=lambda row: labels[row])
    size, start = math.ceil(fraction * n), int(rng.integers(n))
    held = sorted(order[(k * n + start) // size] for k in range(size))
    return np.array(sorted({*range(n)} - {*held})), np.array(held)


def draw_minibatches(rng, n, batch_size, sampling="shuffle", weight=None):
    """The rows of each minibatch of an epoch."""
    m = min(batch_size, n)
    if sampling == "shuffle":
        order = rng.permutation(n)
        return [order[start : start + m] for start in range(0, n, m)]
    rows = np.arange(n) if weight is None else np.flatnonzero(weight)
    return list(rows[rng.integers(len(rows), size=(n // m, m), dtype=np.int32)])


def conformal_error(errors, level, lower=False):
    """The ⌈(n + 1) level⌉-th smallest error of each column, or the ⌊(n + 1) level⌋-th; None if there are too few."""
    n = len(errors)
    rank = math.floor((n + 1) * level + 1e-9) if lower else math.ceil((n + 1) * level - 1e-9)
    return np.sort(errors, axis=0)[rank - 1] if 1 <= rank <= n else None


def order_quantiles(quantiles, levels):
    """Move quantiles (..., n_levels) that cross away from the median, so that intervals around it only get longer."""
    ordered = np.array(quantiles)
    below = sum(level < 0.5 for level in levels)
    for k in range(below - 2 + (below < len(levels)), -1, -1):
        ordered[..., k] = np.minimum(ordered[..., k], ordered[..., k + 1])
    if below < len(levels) and below and levels[below] != 0.5:  # no median: the two around it part
        low = quantiles[..., below - 1]
        ordered[..., below] = np.maximum(quantiles[..., below], low)
    for k in range(below + 1, len(levels)):
        ordered[..., k] = np.maximum(ordered[..., k], ordered[..., k - 1])
    return ordered


def find_temperature(logits, y, task):
    """The temperature between 0.2 and 100 with the least log loss, by a fine grid; 1 where all examples are right."""
    is_right = logits.argmax(1) == y.argmax(1) if task == "classification" else ((logits > 0) == y)
    if is_right.all():
        return 1.0
    low, high = math.log(0.2), math.log(100)
    for _ in range(12):  # each round narrows the bracket by ten
        grid = np.linspace(low, high, 21)
        losses = [log_loss_of_logits(logits / math.exp(t), y, task) for t in grid]
        k = int(np.argmin(losses))
        low, high = grid[max(0, k - 1)], grid[min(20, k + 1)]
    return math.exp((low + high) / 2)


def log_loss_of_logits(z, y, task):
    if task == "classification":
        return -(y * log_softmax(z)).sum(axis=1).mean()
    return (softplus(z) - y * z).sum(axis=1).mean()


def normal_width(level):
    """The half width, in standard deviations, of the interval that holds a normal error with this probability."""
    return NormalDist().inv_cdf((1 + level) / 2)


def mean_and_std(members, has_std):
    """Mean and standard deviation of the predictions of an ensemble, (members, n, outputs)."""
    if not has_std:
        return members.mean(axis=0), members.std(axis=0)
    means, stds = np.split(members, 2, axis=-1)
    return means.mean(axis=0), np.sqrt((stds**2).mean(axis=0) + means.var(axis=0))


def measure(name, a, y, task):
    """A metric of outputs, or of points for costs with several outputs for each target."""
    name = LONG_NAMES.get(name, name)
    e = a - y
    if name.startswith("top_"):
        ranks = np.argsort(-a, axis=1, kind="stable")[:, : int(name[4:])]  # of equal outputs the first ranks higher
        return float((ranks == y.argmax(axis=1)[:, None]).any(axis=1).mean())
    if name == "r2":
        return mean_r2(e, y)
    if name in ("mae", "mse", "rmse"):
        return float({"mae": np.abs(e).mean(), "mse": (e**2).mean(), "rmse": math.sqrt((e**2).mean())}[name])
    if name == "log_loss":
        return mean_log_loss(a, y, task)
    hits = a.argmax(axis=1) == y.argmax(axis=1) if task == "classification" else ((a > 0.5) == (y > 0.5)).all(axis=1)
    if name == "expected_calibration_error":
        return calibration_error(a.max(axis=1) if task == "classification" else np.maximum(a, 1 - a)[:, 0], hits)
    if name == "calibrated_log_loss":
        return least_log_loss(a, y, task)
    return int(hits.sum()) if name == "correct" else float(hits.mean())


def mean_r2(e, y):
    """A constant target scores 1 if it is predicted exactly, else 0."""
    scores = []
    for errors, column in zip(e.T, y.T):
        spread = 0.0 if (column == column[0]).all() else ((column - column.mean()) ** 2).sum()
        scores.append(1 - (errors**2).sum() / spread if spread else float(not errors.any()))
    return float(np.mean(scores))


def mean_log_loss(a, y, task):
    if task == "classification":
        p = a / a.sum(axis=1, keepdims=True)
        return float(-(y * np.log(np.maximum(p, np.finfo(float).tiny))).sum(axis=1).mean())
    low, rest = np.finfo(float).tiny, np.finfo(float).eps / 4
    losses = -y * np.log(np.maximum(a, low)) - (1 - y) * np.log(np.maximum(1 - a, rest))
    return float(losses.sum(axis=1).mean())


def calibration_error(confidence, hits):
    """The mean distance, over 15 bins of the confidence, between it and the fraction that is right."""
    bins = np.clip(np.ceil(confidence * BINS), 1, BINS)
    return sum(abs((hits - confidence)[bins == k].sum()) for k in range(1, BINS + 1)) / len(hits)


def least_log_loss(a, y, task):
    """The log loss at the best temperature: the least of a grid, refined by a parabola in its logarithm."""
    tiny = np.finfo(float).tiny
    z = np.log(np.maximum(a, tiny))
    if task == "binary":
        z = z - np.log(np.maximum(1 - a, np.finfo(float).eps / 4))
    grid = np.linspace(-0.5, 2.5, 13)
    losses = np.array([log_loss_of_logits(z / math.exp(t), y, task) for t in grid])
    k = int(np.clip(np.argmin(losses), 1, len(grid) - 2))
    a2, a1, a0 = np.polyfit([-1, 0, 1], losses[k - 1 : k + 2], 2)
    vertex = -a1 / (2 * a2) if a2 else math.inf
    return float(losses.min() if abs(vertex) >= 1 else a0 - a1**2 / (4 * a2))


class Rounding:
    """Rounds numbers to a dtype, after it has changed them at random by at most eight times the dtype's relative error.

    So it shows where a sum of many errors changes a sign, of which an optimizer may make much. Without a seed, it only
    rounds.
    """

    def __init__(self, dtype, seed=None):
        self.dtype, self.rng = dtype, np.random.default_rng(seed)
        self.epsilon = 0.0 if seed is None else 8 * np.finfo(dtype).eps

    def __call__(self, a):
        a = a * (1 + self.epsilon * self.rng.uniform(-1, 1, np.shape(a)))
        return np.asarray(a).astype(self.dtype).astype(float)


class Oracle:
    """A network: its layers, its optimizer with its memory, scaling, calibration, and generator of minibatches."""

    def __init__(
        self,
        sizes,
        activations,
        cost,
        task,
        layers,
        rng,
        dropout=(),
        dropout_seed=0,
        split_seed=0,
        step=0,
        standardize=False,
        scale=None,
    ):
        self.sizes, self.activations, self.cost_name, self.task = sizes, activations, cost, task
        self.layers = [(np.array(w, float), np.array(b, float)) for w, b in layers]
        self.rng, self.dropout, self.dropout_seed, self.split_seed = rng, dropout, dropout_seed, split_seed
        self.standardize, self.scale, self.scaling = standardize, scale, None
        self.optimizer, self.memory, self.step = ("SGD", {}), {}, step
        self.shifts = self.errors = self.temperature = None  # what `calibrate` finds
        self.round = keep  # or a `Rounding`, for an oracle that errs as a network of its dtype does
        self.levels, self.n_targets = quantile_levels(cost), count_targets(cost, sizes[-1])
        bounded = activations[-1] not in ("identity", "mean_std") and not activations[-1].startswith("leaky_relu")
        self.scales_targets = task == "regression" and not bounded

    # Data

    def target_rows(self, y):
        """Targets as rows; classes one-hot."""
        y = np.asarray(y)
        if self.task == "classification" and y.ndim == 1 and self.sizes[-1] > 1:
            return np.eye(self.sizes[-1])[y.astype(int)]
        return y.reshape(len(y), -1).astype(float)

    def labels(self, y):
        """The class of each example."""
        rows = self.target_rows(y)
        return rows.argmax(axis=1) if rows.shape[1] > 1 else (rows[:, 0] > 0.5).astype(int)

    def fit_scaling(self, x, y):
        """Learn means and standard deviations; a column of equal values is only shifted."""
        self.forget_calibration()
        columns = [np.asarray(x, float).reshape(len(x), -1)] + ([self.target_rows(y)] if self.scales_targets else [])
        self.scaling = [
            part
            for values in columns
            for part in (
                np.where(np.ptp(values, axis=0) == 0, values[0], values.mean(axis=0)),
                np.where(np.ptp(values, axis=0) == 0, 1.0, values.std(axis=0)),
            )
        ]

    def scale_inputs(self, x):
        x = self.round(np.asarray(x, float).reshape(len(x), -1))
        if self.scale:
            return x * self.scale
        return x if self.scaling is None else (x - self.scaling[0]) / self.scaling[1]

    @property
    def target_scaling(self):
        return (0.0, 1.0) if self.scaling is None or len(self.scaling) < 4 else self.scaling[2:]

    def scale_targets(self, y):
        mean, std = self.target_scaling
        return (self.round(self.target_rows(y)) - mean) / std

    def scale_slopes(self, slopes):
        """Derivatives of the targets by the inputs, (n, n_targets, n_in), in the units that the layers see."""
        factors = 1.0 / self.scale if self.scale else 1.0 if self.scaling is None else self.scaling[1]
        return slopes * factors / np.broadcast_to(self.target_scaling[1], self.n_targets)[:, None]

    def scale_back(self, a):
        mean, std = self.target_scaling
        blocks = np.split(a, a.shape[-1] // self.n_targets, axis=-1)
        means = [0.0 if self.cost_name == "gaussian" and k == 1 else mean for k in range(len(blocks))]
        return np.concatenate([block * std + shift for block, shift in zip(blocks, means)], axis=-1)

    # Predictions

    def feed_forward(self, x, masks=None):
        return feed_forward(self.layers, self.activations, self.scale_inputs(x), masks)

    def forward(self, x, masks=None):
        return self.scale_back(self.feed_forward(x, masks)[1][-1])

    def costs_and_deltas(self, x, y):
        z = self.feed_forward(x)[0][-1]
        return costs_and_deltas(self.cost_name, self.activations[-1], z, self.scale_targets(y))

    def cost(self, x, y):
        return float(self.costs_and_deltas(x, y)[0].mean())

    def deltas(self, x, y):
        zs = self.feed_forward(x)[0]
        return backpropagate(self.layers, self.activations, zs, self.costs_and_deltas(x, y)[1])

    def gradient(self, x, y, weight=None, masks=None):
        scaled = self.scale_inputs(x), self.scale_targets(y)
        return gradient(self.layers, self.activations, self.cost_name, *scaled, weight, masks, self.round)

    def masks(self, n, step=None):
        """The masks of a step, by the number of the layer."""
        step = self.step if step is None else step
        return {
            l: dropout_mask(self.dropout_seed, step, l, n, self.sizes[l], rate)
            for l, rate in enumerate(self.dropout)
            if rate
        }

    def quantiles(self, x):
        """Sorted quantiles (n, n_targets, n_levels), calibrated if they are."""
        blocks = np.split(self.forward(x), len(self.levels), axis=1)
        quantiles = np.sort(np.stack(blocks, axis=-1), axis=-1)
        return quantiles if self.shifts is None else order_quantiles(quantiles + self.shifts, self.levels)

    def points(self, x):
        """What metrics compare with the targets: probabilities, means, or medians."""
        if self.levels:
            return self.quantiles(x)[..., self.levels.index(0.5) if len(self.levels) > 1 else 0]
        if self.task != "regression":
            return self.probabilities(x)
        return self.forward(x)[:, : self.n_targets]

    def probabilities(self, x):
        if self.temperature is None:
            return self.forward(x)
        return activate(self.activations[-1], self.feed_forward(x)[0][-1] / self.temperature)

    def metric(self, name, x, y):
        return measure(name, self.round(self.points(x)), self.target_rows(y), self.task)

    # Calibration

    def forget_calibration(self):
        self.shifts = self.errors = self.temperature = None

    def calibrate(self, x, y):
        """Find shifts of quantiles, sorted errors of means in standard deviations, or a temperature."""
        self.forget_calibration()
        rows = self.target_rows(y)
        if self.task != "regression":
            self.temperature = find_temperature(self.feed_forward(x)[0][-1], rows, self.task)
        elif self.levels:
            errors = rows[..., None] - self.quantiles(x)
            self.shifts = np.stack(
                [conformal_error(errors[..., k], level, level < 0.5) for k, level in enumerate(self.levels)], axis=-1
            )
        else:
            mean, std = self.mean_and_std(x)
            self.errors = np.sort(np.abs(rows - mean) / std, axis=0)

    def mean_and_std(self, x):
        """Mean and standard deviation as the network gives them, not calibrated; 1 without standard deviations."""
        a = self.forward(x)
        return (a, np.ones_like(a)) if self.cost_name != "gaussian" else np.split(a, 2, axis=1)

    def interval(self, x, level):
        """The ends of the interval; None if there are too few errors, or quantiles at other levels."""
        if self.levels:
            ends = [(1 - level) / 2, (1 + level) / 2]
            places = [k for end in ends for k, each in enumerate(self.levels) if abs(each - end) < 1e-9]
            quantiles = self.quantiles(x)
            return tuple(quantiles[..., k] for k in places) if len(places) == 2 else None
        mean, std = self.mean_and_std(x)
        width = normal_width(level) if self.errors is None else conformal_error(self.errors, level)
        return None if width is None else (mean - width * std, mean + width * std)

    # Training

    def use(self, optimizer):
        """Take an optimizer; an equal one continues with its memory, a different one starts anew."""
        if optimizer is not None and optimizer != self.optimizer:
            self.optimizer, self.memory = optimizer, {}

    @property
    def is_finite(self):
        return all(np.isfinite(part).all() for pair in self.layers for part in pair)

    def take_step(self, x, y, lr, weight=None, slopes=None, slope_weight=1.0):
        """Take a step with a minibatch of scaled examples; returns their costs, or None if they have no weight."""
        if weight is not None and not weight.any():
            return None
        masks = self.masks(len(x))
        self.step += 1
        grads, costs = gradient(self.layers, self.activations, self.cost_name, x, y, weight, masks, self.round)
        if slopes is not None:
            slopes, slope_weight = self.round(slopes), np.asarray(slope_weight)
            others, more = slope_gradient(self.layers, self.activations, x, slopes, slope_weight, weight, self.round)
            costs = costs + more
            grads = [(gw + w, gb + b) for (gw, gb), (w, b) in zip(grads, others)]
        layers = update(self.optimizer, self.layers, grads, self.memory, lr, self.round)
        self.layers = [(self.round(w), self.round(b)) for w, b in layers]
        return costs

    def class_weights(self, class_weight, labels, rows):
        """The weight of each example by its class; balanced by the rows that are trained on."""
        n_classes = max(2, self.sizes[-1])
        if class_weight == "balanced":
            counts = np.bincount(labels[rows], minlength=n_classes)
            total = counts.sum() / np.count_nonzero(counts)
            factors = np.array([total / count if count else 0.0 for count in counts])
        else:
            factors = np.array([class_weight.get(k, 1.0) for k in range(n_classes)])
        return factors[labels]

    def train(
        self,
        x,
        y,
        epochs,
        batch_size,
        lr,
        optimizer=None,
        sampling="shuffle",
        sample_weight=None,
        class_weight=None,
        slopes=None,
        slope_weight=1.0,
        validation_data=None,
        validation_split=None,
        metrics=(),
        training_metrics=(),
        stop=None,
        plateau=None,
        meddle=None,
        rows=None,
    ):
        """Train as Network.train does; returns the rows of the history.

        `lr` is a schedule. `stop` is (monitor, patience, min_delta, restore_best) and `plateau` (monitor, factor,
        patience, min_delta). `meddle` is an epoch, and whether to "halve" the weights at its end, or to "stop". `rows`
        are those of a member of an ensemble.
        """
        self.forget_calibration()
        self.use(optimizer)
        x, y = np.asarray(x, float), np.asarray(y)
        rows = np.arange(len(x)) if rows is None else np.asarray(rows)
        if isinstance(validation_split, list):
            rows, held = np.setdiff1d(rows, validation_split), validation_split
            validation_data = x[held], y[held]
        elif validation_split is not None:
            labels = self.labels(y) if self.task in ("classification", "binary") else None
            rows, held = split_rows(len(x), validation_split, self.split_seed, labels)
            validation_data = x[held], y[held]
        weight = None if sample_weight is None else np.asarray(sample_weight, float)[rows]
        if class_weight is not None:
            factors = self.class_weights(class_weight, self.labels(y), rows)[rows]
            weight = factors if weight is None else weight * factors
        data = x[rows], y[rows]
        if self.standardize and self.scaling is None:
            self.fit_scaling(*data)
        more = {} if slopes is None else {"slopes": self.scale_slopes(slopes[rows]), "slope_weight": slope_weight}
        watch = Watch(self, stop, plateau)
        per_epoch = max(1, len(rows) // batch_size) if sampling == "replacement" else -(-len(rows) // batch_size)
        for epoch in range(1, epochs + 1):
            row = self.train_epoch(epoch, data, batch_size, lr, epochs * per_epoch, sampling, weight, watch, **more)
            row |= {f"training_{name}": self.metric(name, *data) for name in training_metrics}
            if validation_data is not None:
                row["validation_cost"] = self.cost(*validation_data)
                row |= {f"validation_{name}": self.metric(name, *validation_data) for name in metrics}
            ends = watch.ends(row)
            if meddle == (epoch, "halve"):
                self.layers = [(w / 2, b) for w, b in self.layers]
            if ends or meddle == (epoch, "stop"):
                break
        watch.restore()
        return watch.history

    def train_epoch(
        self, epoch, data, batch_size, schedule, total, sampling, weight, watch, slopes=None, slope_weight=1.0
    ):
        x, y = self.scale_inputs(data[0]), self.scale_targets(data[1])
        cost, seen, lr = 0.0, 0.0, math.nan
        for index in draw_minibatches(self.rng, len(x), batch_size, sampling, weight):
            lr = learning_rate(schedule, watch.steps, total) * watch.factor
            watch.steps += 1
            part = None if weight is None else weight[index]
            more = {} if slopes is None else {"slopes": slopes[index], "slope_weight": slope_weight}
            costs = self.take_step(x[index], y[index], lr, part, **more)
            if costs is not None:
                part = np.ones(len(index)) if part is None else part
                cost, seen = cost + (part * costs).sum(), seen + part.sum()
        return {"epoch": epoch, "cost": cost / seen if seen else math.nan, "lr": lr}

    def fit_least_squares(self, x, y, epochs, damping=1e-3, weight_decay=0.0, sample_weight=None):
        """Train by Levenberg-Marquardt from a fresh state; returns the costs before each step.

        They end where units are saturated: the rounding of their slopes decides how the next step goes.
        """
        self.forget_calibration()
        x, y = self.scale_inputs(x), self.scale_targets(y)
        weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, float)
        share, mu, growth, costs = weight / weight.sum(), None, 2.0, []
        for _ in range(epochs):
            residuals, jacobian, decay = self.linearize(x, y, share, weight_decay)
            square, slope = jacobian.T @ jacobian, jacobian.T @ residuals + decay * self.join()
            largest = square.diagonal().max()
            mu = damping * largest if mu is None else min(max(mu, 1e-14 * largest), 1e14 * largest)
            costs.append(self.penalized_cost(x, y, share, weight_decay))
            if largest < 1e-6:
                break
            before, change = self.layers, -np.linalg.solve(square + np.diag(decay + mu), slope)
            self.layers = self.split(self.join() + change)
            fall = costs[-1] - self.penalized_cost(x, y, share, weight_decay)
            if fall > 0:
                gain = fall / (change @ (mu * change - slope) / 2)
                mu, growth = mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
            else:
                self.layers, mu, growth = before, mu * growth, min(2 * growth, 2.0**20)
        return costs

    def fit_laplace(self, x, y, sample_weight=None, precisions=None):
        """The covariance of the parameters, and the variance of the noise, by MacKay's formulas.

        `precisions` are those to begin with, as `groups` orders them, and that of the noise, if there are any.
        """
        x, y = self.scale_inputs(x), self.scale_targets(y)
        weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, float)
        share, n, k = weight / weight.sum(), np.count_nonzero(weight), y.shape[1]
        factor = 2 / k if self.cost_name == "mse" else 1.0
        residuals, jacobian, _ = self.linearize(x, y, share, 0.0)
        hessians = np.array([n * part.T @ part for part in (jacobian[target::k] for target in range(k))])
        squares, theta = (
            n * np.array([part @ part for part in (residuals[target::k] for target in range(k))]),
            self.join(),
        )
        variance = share @ (y - share @ y) ** 2
        groups, units = self.group_parameters(share @ x**2, variance.mean())
        alpha, beta = (0.01 * units, 1 / (factor * variance)) if precisions is None else precisions
        for _ in range(100):
            inverse = np.linalg.inv(np.tensordot(beta, hessians, 1) + np.diag(alpha[groups]))
            determined = np.clip(1 - alpha[groups] * inverse.diagonal(), 0, 1)
            most, gamma = 1e4 * units, np.bincount(groups, determined)
            new = gamma / np.maximum(np.bincount(groups, theta**2), 1e-3 / most)
            new = np.clip(np.minimum(np.where(gamma < 1e-3, most, new), most), alpha / 10, 10 * alpha)
            new = np.sqrt(alpha * new)
            shares = np.maximum(beta * np.einsum("ij,kji->k", inverse, hessians), 0)
            free = n - gamma.sum() * shares / max(shares.sum(), TINY)
            noise = np.clip(free / np.maximum(squares, 1e-14 * n), beta / 10, 10 * beta)
            noise = np.where(free > 1e-3 * n, noise, beta)
            old, alpha, beta = np.append(alpha, beta), new, noise
            if (np.abs(np.append(alpha, beta) - old) <= 1e-3 * old).all():
                break
        return np.linalg.inv(np.tensordot(beta, hessians, 1) + np.diag(alpha[groups])), 1 / (beta * factor)

    def group_parameters(self, input_squares, variance):
        """The group of each parameter, in the order of `join`, and the precision that is usual in each."""
        groups, units, last = [], [], len(self.layers) - 1
        for l, (w, b) in enumerate(self.layers):
            usual = 1 / variance if l == last else 1.0
            columns = np.where(input_squares > 0, input_squares, 1.0) if l == 0 else np.ones(1)
            groups.append(np.broadcast_to(len(units) + np.arange(len(columns)), w.shape).ravel())
            units += [*(usual * columns), usual]
            groups.append(np.full(len(b), len(units) - 1))
        return np.concatenate(groups), np.array(units)

    def std_of_weights(self, x, covariance, noise):
        """The standard deviations of targets where the weights are uncertain."""
        variance = np.einsum("nki,ij,nkj->nk", slopes := self.weight_slopes(x), covariance, slopes)
        return np.sqrt(noise + variance) * self.target_scaling[1]

    def covariance_between_rows(self, x, covariance):
        """The covariance of outputs between rows, (n, n, n_targets), where the weights are uncertain."""
        slopes = self.weight_slopes(x)
        return np.einsum("nki,ij,mkj->nmk", slopes, covariance, slopes) * np.ravel(self.target_scaling[1]) ** 2

    def weight_slopes(self, x):
        """The derivatives of the outputs with respect to the parameters, (n, n_out, n_parameters)."""
        x, point = self.scale_inputs(x), self.join()

        def outputs(parameters):
            return feed_forward(self.split(parameters), self.activations, x)[1][-1]

        return np.stack([outputs(point + TINY * 1j * unit).imag / TINY for unit in np.eye(len(point))], -1)

    def linearize(self, x, y, share, weight_decay):
        """The residuals whose half squared sum is the cost, their Jacobian, and the decay of each parameter."""
        root = np.sqrt(share * (2 / y.shape[1] if self.cost_name == "mse" else 1.0))[:, None]

        def residuals(parameters):
            return (root * (feed_forward(self.split(parameters), self.activations, x)[1][-1] - y)).ravel()

        point, decays = self.join(), [(0 * w + weight_decay, 0 * b) for w, b in self.layers]
        columns = [residuals(point + TINY * 1j * unit).imag / TINY for unit in np.eye(len(point))]
        return (
            residuals(point),
            np.stack(columns, axis=-1),
            np.concatenate([p.ravel() for pair in decays for p in pair]),
        )

    def penalized_cost(self, x, y, share, weight_decay):
        zs, _ = feed_forward(self.layers, self.activations, x)
        costs, _ = costs_and_deltas(self.cost_name, self.activations[-1], zs[-1], y)
        return share @ costs + weight_decay / 2 * sum((w**2).sum() for w, _ in self.layers)

    def join(self):
        return np.concatenate([part.ravel() for pair in self.layers for part in pair])

    def split(self, parameters):
        parts = np.split(parameters, np.cumsum([part.size for pair in self.layers for part in pair])[:-1])
        shapes = [part.shape for pair in self.layers for part in pair]
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes)]
        return list(zip(arrays[::2], arrays[1::2]))


class Watch:
    """Early stopping and a falling learning rate, as the callbacks do it."""

    def __init__(self, oracle, stop, plateau):
        self.oracle, self.stop, self.plateau = oracle, stop, plateau
        self.history, self.steps, self.factor = [], 0, 1.0
        self.best = {}  # of the callbacks: the best value, and its epoch
        self.waited, self.state = 0, None

    def improves(self, key, monitor, min_delta, row):
        value = -row[monitor] if any(name in monitor for name in LARGER_IS_BETTER) else row[monitor]
        gain = self.best[key][0] - value if key in self.best else math.inf
        if math.isnan(value) or not gain > min_delta:
            return False
        self.best[key] = value, row["epoch"]
        return True

    def ends(self, row):
        """Take the row of an epoch; tell whether training stops."""
        self.history.append(row)
        has_cost = not math.isnan(row["cost"])
        if self.plateau and has_cost:
            monitor, factor, patience, min_delta = self.plateau
            self.waited = 0 if self.improves("plateau", monitor, min_delta, row) else self.waited + 1
            if self.waited == patience:
                self.factor, self.waited = max(1e-6, factor * self.factor), 0
        if not self.stop:
            return False
        monitor, patience, min_delta, _ = self.stop
        if self.improves("stop", monitor, min_delta, row):
            self.state = copy.deepcopy((self.oracle.layers, self.oracle.memory, self.oracle.step))
            return False
        since = self.history[self.best.get("stop", (0, 0))[1] :]
        return sum(not math.isnan(each["cost"]) for each in since) >= patience

    def restore(self):
        """Go back to the best epoch, if that is wanted."""
        if self.stop and self.stop[3] and self.state is not None:
            self.oracle.layers, self.oracle.memory, self.oracle.step = self.state


# Out of fold


def predict_out_of_fold(means, stds, unseen):
    """For each example the mean and deviation of the members that have not seen it, and what all of them would gain.

    Means and deviations (None if members have none) are (members, n, targets); unseen is (members, n).
    """
    members, n, targets = means.shape
    mean, std, gain = np.zeros((n, targets)), np.ones((n, targets)), np.zeros((n, targets))
    for i in range(n):
        new, old = means[unseen[:, i], i], means[~unseen[:, i], i]
        variance = old.var(axis=0, ddof=1) if len(old) > 1 else np.zeros(targets)
        mean[i], gain[i] = new.mean(axis=0), (1 / len(new) - 1 / members) * variance
        if stds is not None:
            std[i] = np.sqrt((stds[unseen[:, i], i] ** 2).mean(axis=0) + variance)
    return mean, std, gain


def fit_widths(predicted, errors, gain, most):
    """The mean error of a target as a function of its prediction, with so many knots: out of fold, by all members."""
    order, n = np.argsort(predicted, kind="stable"), len(predicted)
    centers = np.linspace(0, 1, min(max(n // 50, 1), most))
    knots = []
    for center in centers:
        weight = np.zeros(n)
        for rank, i in enumerate(order):
            weight[i] = max(1 - abs((rank + 0.5) / n - center) * (len(centers) - 1), 0)
        knots.append([(weight * part).sum() / weight.sum() for part in (predicted, errors, errors**2, gain)])
    place, width, square, less = np.array(knots).T
    width = np.maximum(width, 0.01 * errors.mean()) if errors.any() else np.ones_like(width)
    part = less * n / (n + 1000) / np.where(square > 0, square, math.inf)
    of_all = width * np.sqrt(np.maximum(1 - part, 0.25))
    return (lambda x: np.interp(x, place, width)), (lambda x: np.interp(x, place, of_all))


# Novelty


def square_distances(x, new):
    """The squared distances of training rows, each from the others, and of new rows from all of them."""
    std = np.where(x.max(axis=0) > x.min(axis=0), x.std(axis=0), 1.0)

    def square_distance(row, rows):
        centered, away = (rows - rows.mean(axis=0)) / std, (row - rows.mean(axis=0)) / std
        covariance = centered.T @ centered / (len(x) - 1) + 0.01 * np.eye(len(away))
        return away @ np.linalg.solve(covariance, away)

    own = [square_distance(row, np.delete(x, i, axis=0)) for i, row in enumerate(x)]
    return np.array(own), np.array([square_distance(row, x) for row in new])
