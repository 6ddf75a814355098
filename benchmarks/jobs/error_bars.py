"""Train 16 networks on a noisy regression, each with early stopping, and predict mean and standard deviation.

Friedman's first problem: 10 inputs, of which 5 matter, and noise of a known variance. Inputs and targets are in
standard units. Each member is 10-64-64-1 with ReLU, Adam at 0.001 and minibatches of 64. It holds out a tenth of the
examples, and stops when R² on them has not improved by 1e-4 for 10 epochs. Its weights are then those of the best
epoch.
"""

import functools

import numpy as np

from jobs.files import load, store

SIZES, BATCH_SIZE, LR = [10, 64, 64, 1], 64, 0.001
TOLERANCE, PATIENCE, HELD_OUT = 1e-4, 10, 0.1
NOISE = 0.2  # standard deviation
FILES = ("x", "y", "x_test", "y_test")


def prepare(folder, full, **_):
    rng, n = np.random.default_rng(0), 4000 if full else 400
    x = rng.uniform(-1, 1, (2 * n, 10))
    u = (x + 1) / 2
    y = 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2 + 10 * u[:, 3] + 5 * u[:, 4]
    y = (y - y.mean()) / y.std() + NOISE * rng.standard_normal(2 * n)
    x, y = (np.sqrt(3) * x).astype(np.float32), y.astype(np.float32)
    store(folder, x=x[:n], y=y[:n], x_test=x[n:], y_test=y[n:])


def judge(mean, std, y):
    """Compute R² and the mean negative log-likelihood of the targets, whose noise is known."""
    variance = std**2 + NOISE**2
    r2 = 1 - ((y - mean) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    nll = 0.5 * (np.log(2 * np.pi * variance) + (y - mean) ** 2 / variance).mean()
    return {"r2": float(r2), "nll": float(nll), "spread": float(std.mean())}


SETTINGS = {
    "hidden_layer_sizes": SIZES[1:-1],
    "batch_size": BATCH_SIZE,
    "learning_rate_init": LR,
    "early_stopping": True,
    "validation_fraction": HELD_OUT,
    "tol": TOLERANCE,
    "n_iter_no_change": PATIENCE,
}


def with_estimator(folder, members, epochs, backend):
    from xpnet.estimators import MLPEnsembleRegressor

    x, y, x_test, y_test = load(folder, *FILES)
    options = {"n_estimators": members, "bootstrap": False, "backend": backend, "random_state": 0}
    regressor = MLPEnsembleRegressor(max_iter=epochs, **options, **SETTINGS).fit(x, y)
    return judge(*regressor.predict(x_test, return_std=True), y_test)


def with_sklearn(folder, members, epochs):
    from sklearn.ensemble import BaggingRegressor
    from sklearn.neural_network import MLPRegressor

    x, y, x_test, y_test = load(folder, *FILES)
    regressor = MLPRegressor(max_iter=epochs, **SETTINGS)
    bag = BaggingRegressor(regressor, members, bootstrap=False, n_jobs=2, random_state=0).fit(x, y)
    predictions = np.stack([member.predict(x_test) for member in bag.estimators_])
    epochs = np.mean([member.n_iter_ for member in bag.estimators_])
    return {**judge(predictions.mean(axis=0), predictions.std(axis=0), y_test), "epochs": epochs}


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_estimator, backend="numpy"),
    "xpnet-jax": functools.partial(with_estimator, backend="jax"),
    "sklearn": with_sklearn,
}
