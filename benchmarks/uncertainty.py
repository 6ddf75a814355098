"""Are the error bars right? Regressions whose noise is known, over several seeds; see README.md in this folder."""

import argparse
import warnings

import numpy as np
from machine import machine

from xpnet import SGD, Adam, DivergenceError, Network, OneCycle
from xpnet.activations import Activation, softplus
from xpnet.costs import gaussian

EXAMPLES = 2000
PLACES = np.array([-1.5, -0.5, 0.5, 1.5])
NORMAL_90 = 1.2815515655446004  # the 0.9-quantile of the standard normal distribution


def true_std(x):
    return 0.05 + 0.15 * (x + 2)


def draw(rng, n, scale=1.0):
    """Draw y = sin 2x plus normal noise that grows with x."""
    x = rng.uniform(-2, 2, n)
    return x[:, None], scale * (np.sin(2 * x) + true_std(x) * rng.standard_normal(n))


def show(name, rows, digits=3):
    """Print mean, lowest and highest over the seeds, of one or several numbers."""
    values = zip(*(np.atleast_1d(row) for row in rows))
    print(f"{name:34s}", *(f"{np.mean(v):8.{digits}f} ({min(v):.{digits}f} to {max(v):.{digits}f})" for v in values))


def fit(cost, outputs, seed, epochs):
    """Train a network on data of its own, and return it with test data."""
    rng = np.random.default_rng(seed)
    net = Network([1, 64, 64, outputs], activation="tanh", cost=cost, standardize=True, seed=seed)
    net.train(draw(rng, EXAMPLES), epochs, 32, OneCycle(0.01), optimizer=Adam(), progress=False)
    return net, *draw(rng, 5 * EXAMPLES)


def show_spreads(seeds, epochs):
    """Print learnt and true standard deviations and quantiles, and how many test targets they cover."""
    stds, coverages, costs, fractions, widths = [], [], [], [], []
    for seed in seeds:
        net, x, y = fit("gaussian", 2, seed, epochs)
        mean, std = net.predict(x), net.predict_std(x)
        stds.append(net.predict_std(PLACES[:, None]))
        coverages.append(np.mean(np.abs(y - mean) <= NORMAL_90 * std))
        exact = np.log(true_std(x[:, 0])) + 0.5 * ((y - np.sin(2 * x[:, 0])) / true_std(x[:, 0])) ** 2
        costs.append(np.mean(np.log(std) + 0.5 * ((y - mean) / std) ** 2 - exact))
        net, x, y = fit("quantile(0.1, 0.5, 0.9)", 3, seed, epochs)
        quantiles = net.predict(x)
        fractions.append(
            [*(y[:, None] < quantiles).mean(axis=0), np.mean((quantiles[:, 0] <= y) & (y < quantiles[:, 2]))]
        )
        widths.append(np.diff(net.predict(PLACES[:, None])[:, [0, 2]])[:, 0] / (2 * NORMAL_90))
    print(f"{'x':34s}", *(f"{x:8.1f}{17 * ' '}" for x in PLACES))
    print(f"{'true standard deviation':34s}", *(f"{std:8.3f}{17 * ' '}" for std in true_std(PLACES)))
    show("learnt by gaussian", stds)
    show("learnt by quantiles, width / 2.563", widths)
    show("80 % interval covers, gaussian", coverages)
    show("cost above that of the truth, nats", costs)
    show("below 0.1, 0.5, 0.9; inside", fractions)


def show_dropout(seeds, epochs):
    """Print the spread of samples with dropout where there are examples, and in a gap between them."""
    rows = []
    for seed in seeds:
        x, y = draw(np.random.default_rng(seed), EXAMPLES)
        seen = np.abs(x[:, 0]) > 0.75
        net = Network([1, 128, 128, 1], activation="relu", task="regression", dropout=0.1, standardize=True, seed=seed)
        net.train((x[seen], y[seen]), epochs, 32, OneCycle(0.01), optimizer=Adam(), progress=False)
        std = net.sample(np.linspace(-4, 4, 81)[:, None], 100).std(axis=0)[:, 0]
        place = np.abs(np.linspace(-4, 4, 81))
        rows.append([std[(place > 0.75) & (place < 2)].mean(), std[place < 0.75].mean(), std[place > 2].mean()])
    show("samples: data, gap, outside", rows)


# Ways to make a standard deviation of a weighted input, each with its derivative

FORMS = {
    "variance = softplus + 1e-6": (
        lambda z, xp: xp.sqrt(softplus.value(z, xp) + 1e-6),
        lambda z, a, xp: 0.5 / (1.0 + xp.exp(-z)) / a,
    ),
    "variance = exp": (lambda z, xp: xp.exp(0.5 * z), lambda z, a, xp: 0.5 * a),
    "std = softplus + 1e-3": (
        lambda z, xp: softplus.value(z, xp) + 1e-3,
        lambda z, a, xp: 1.0 / (1.0 + xp.exp(-z)),
    ),
}


def make_form(name):
    """Make the Gaussian cost with another output activation."""
    value, slope = FORMS[name]

    def whole_value(z, xp):
        return xp.concat([z[..., :1], value(z[..., 1:], xp)], axis=-1)

    def pullback(g, z, a, xp):
        return xp.concat([g[..., :1], g[..., 1:] * slope(z[..., 1:], a[..., 1:], xp)], axis=-1)

    return gaussian._replace(name=name, activation=Activation(f"of {name}", whole_value, pullback))


def show_forms(seeds, epochs):
    """Print how many trainings diverge with each form, by optimizer, data and learning rate, of as many as seeds."""
    data = {"standardized": (True, 1.0, 0), "targets times 30": (False, 30.0, 0), "2 % outliers": (True, 1.0, 20)}
    rates = {"SGD": (0.003, 0.01, 0.03, 0.1), "Adam": (0.001, 0.01)}
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # of targets far from their scale
        for kind, (standardize, scale, shift) in data.items():
            for name, optimizer in {"SGD": SGD(momentum=0.9), "Adam": Adam()}.items():
                for form in FORMS:
                    diverged = [0] * len(rates[name])
                    for i, lr in enumerate(rates[name]):
                        for seed in seeds:
                            x, y = draw(np.random.default_rng(seed), EXAMPLES // 2, scale)
                            y[::50] += shift
                            options = {"activation": "tanh", "standardize": standardize, "seed": seed}
                            net = Network([1, 32, 32, 2], cost=make_form(form), **options)
                            try:
                                net.train((x, y), epochs, 32, OneCycle(lr), optimizer=optimizer, progress=False)
                            except DivergenceError:
                                diverged[i] += 1
                    print(
                        f"{kind:18s} {name:5s} {form:28s}", *(f"{n} at {lr:<6}" for n, lr in zip(diverged, rates[name]))
                    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--epochs", type=int, default=60, help="of each training (%(default)s)")
    parser.add_argument("--forms", action="store_true", help="compare ways to make a standard deviation instead")
    options = parser.parse_args()
    print(machine())
    for part in (show_forms,) if options.forms else (show_spreads, show_dropout):
        part(range(options.seeds), options.epochs)


if __name__ == "__main__":
    main()
