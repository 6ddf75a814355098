"""Learn the flow through a borehole, a function of 8 inputs, and differentiate the network at many points.

All contenders train 8-64-64-1 with tanh and Adam on a few thousand points, in standard units that they compute
themselves, and give the derivatives in physical units. Scikit-learn has no derivatives; central differences of its
predictions take their place.
"""

import functools

import numpy as np

from jobs.files import load, store

UNITS, BATCH_SIZE, LR = 64, 50, 0.002
LOW = [0.05, 100.0, 63_070.0, 990.0, 63.1, 700.0, 1120.0, 9855.0]
HIGH = [0.15, 50_000.0, 115_600.0, 1110.0, 116.0, 820.0, 1680.0, 12_045.0]
FILES = ("x", "y", "points", "slopes")


def borehole(x):
    """Flow of water through a borehole, and its exact derivatives (Harper and Gupta, 1983)."""
    radius, influence, upper, upper_head, lower, lower_head, length, conductivity = x.T
    logarithm = np.log(influence / radius)
    resistance = 2 * length * upper / (radius**2 * conductivity)
    below = logarithm * (1 + upper / lower) + resistance
    head = upper_head - lower_head
    flow = 2 * np.pi * upper * head / below
    slopes = [
        -flow / below * (-(1 + upper / lower) / radius - 2 * resistance / radius),
        -flow / below * (1 + upper / lower) / influence,
        flow / upper - flow / below * (logarithm / lower + resistance / upper),
        flow / head,
        flow / below * logarithm * upper / lower**2,
        -flow / head,
        -flow / below * resistance / length,
        flow / below * resistance / conductivity,
    ]
    return flow, np.stack(slopes, axis=1)


def prepare(folder, full, **_):
    rng, n = np.random.default_rng(0), 4000 if full else 500
    x, points = (rng.uniform(LOW, HIGH, (m, 8)) for m in (n, 25 * n))
    store(folder, x=x, y=borehole(x)[0], points=points, slopes=borehole(points)[1])


def judge(found, slopes):
    """Compute the error of derivatives relative to their size, with all inputs in units of their ranges."""
    ranges = np.subtract(HIGH, LOW)
    squares = (((array * ranges) ** 2).mean() for array in (found - slopes, slopes))
    return {"error": np.sqrt(np.divide(*squares))}


def with_xpnet(folder, epochs, backend):
    from xpnet import Adam, Network

    x, y, points, slopes = load(folder, *FILES)
    net = Network(
        [8, UNITS, UNITS, 1],
        activation="tanh",
        task="regression",
        init="glorot_uniform",
        standardize=True,
        backend=backend,
        seed=0,
    )
    net.train((x, y), epochs, BATCH_SIZE, LR, optimizer=Adam(), progress=False)
    return judge(net.backend.to_numpy(net.jacobian(points))[:, 0, :], slopes)


def with_sklearn(folder, epochs):
    import warnings

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y, points, slopes = load(folder, *FILES)
    warnings.simplefilter("ignore")  # it has not converged
    regressor = MLPRegressor(
        hidden_layer_sizes=(UNITS, UNITS),
        activation="tanh",
        batch_size=BATCH_SIZE,
        learning_rate_init=LR,
        max_iter=epochs,
        n_iter_no_change=epochs,
        alpha=0.0,
        random_state=0,
    )
    scaled = TransformedTargetRegressor(make_pipeline(StandardScaler(), regressor), transformer=StandardScaler())
    scaled.fit(x, y)
    found = np.empty_like(points)
    for i, step in enumerate(1e-4 * x.std(axis=0)):
        moved = np.zeros(8)
        moved[i] = step
        found[:, i] = (scaled.predict(points + moved) - scaled.predict(points - moved)) / (2 * step)
    return judge(found, slopes)


def with_torch(folder, epochs):
    import torch
    from torch import nn

    x, y, points, slopes = load(folder, *FILES)
    x_mean, x_std, y_mean, y_std = x.mean(axis=0), x.std(axis=0), y.mean(), y.std()
    x, points = (torch.from_numpy((rows - x_mean) / x_std).float() for rows in (x, points))
    y = torch.from_numpy((y - y_mean) / y_std).float()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, UNITS), nn.Tanh(), nn.Linear(UNITS, UNITS), nn.Tanh(), nn.Linear(UNITS, 1))
    optimizer, cost = torch.optim.Adam(model.parameters(), LR, fused=True), nn.MSELoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH_SIZE):
            optimizer.zero_grad()
            cost(model(x[rows])[:, 0], y[rows]).backward()
            optimizer.step()
    points.requires_grad_()  # faster than vmap(jacrev(model)), and enough for a network with one output
    (found,) = torch.autograd.grad(model(points).sum(), points)
    return judge(found.numpy() * y_std / x_std, slopes)


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_xpnet, backend="numpy"),
    "xpnet-jax": functools.partial(with_xpnet, backend="jax"),
    "sklearn": with_sklearn,
    "torch": with_torch,
}
