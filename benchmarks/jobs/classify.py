"""Train a classifier on arrays in files, and classify the test examples.

The examples are MNIST, as bytes, or a million rows of 20 columns, seven of which decide the class. All contenders have
ReLU, softmax, cross-entropy, Adam at 0.001, float32, and the same hidden layers, minibatches and epochs.
"""

import functools
import itertools

import numpy as np

from jobs.files import load, store

LR = 0.001
FILES = ("x", "y", "x_test", "y_test")


def prepare(folder, full, data, **_):
    if data == "mnist":
        from xpnet.datasets import mnist, mnist_sample

        (x, y), (x_test, y_test) = mnist() if full else mnist_sample()
        x, x_test = (np.rint(255 * pixels).astype(np.uint8) for pixels in (x, x_test))
        return store(folder, x=x, y=y, x_test=x_test, y_test=y_test)
    n = 1_000_000 if full else 40_000
    x = np.random.default_rng(0).standard_normal((n + n // 10, 20), np.float32)
    y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + x[:, 4] - x[:, 5] * x[:, 6] > 0.8).astype(np.int64)
    return store(folder, x=x[:n], y=y[:n], x_test=x[n:], y_test=y[n:])


def with_xpnet(folder, data, hidden, epochs, batch_size, backend):
    from xpnet import Adam, Network

    x, y, x_test, y_test = load(folder, *FILES)
    net = Network(
        [x.shape[1], *hidden, y.max() + 1],
        activation="relu",
        task="classification",
        init="glorot_uniform",
        scale=1 / 255 if x.dtype == np.uint8 else None,
        backend=backend,
        seed=0,
    )
    net.train((x, y), epochs, batch_size, LR, optimizer=Adam(), progress=False)
    return {"accuracy": net.accuracy((x_test, y_test))}


def with_estimator(folder, data, hidden, epochs, batch_size, library):
    import warnings

    if library == "xpnet":
        from xpnet.estimators import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier

    x, y, x_test, y_test = load(folder, *FILES)
    if x.dtype == np.uint8:
        x, x_test = (pixels.astype(np.float32) / 255 for pixels in (x, x_test))
    warnings.simplefilter("ignore")  # it has not converged
    settings = {"batch_size": batch_size, "learning_rate_init": LR, "max_iter": epochs, "random_state": 0}
    return {"accuracy": MLPClassifier(hidden, **settings).fit(x, y).score(x_test, y_test)}


def with_torch(folder, data, hidden, epochs, batch_size):
    import torch
    from torch import nn

    x, y, x_test, y_test = map(torch.from_numpy, load(folder, *FILES))
    if x.dtype == torch.uint8:
        x, x_test = x.float() / 255, x_test.float() / 255
    torch.manual_seed(0)
    layers = [(nn.Linear(*pair), nn.ReLU()) for pair in itertools.pairwise([x.shape[1], *hidden, int(y.max()) + 1])]
    model = nn.Sequential(*list(itertools.chain(*layers))[:-1])  # the cost includes the softmax
    optimizer, cost = torch.optim.Adam(model.parameters(), LR, fused=True), nn.CrossEntropyLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            optimizer.zero_grad()
            cost(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return {"accuracy": (model(x_test).argmax(1) == y_test).float().mean().item()}


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_xpnet, backend="numpy"),
    "xpnet-jax": functools.partial(with_xpnet, backend="jax"),
    "xpnet-estimator": functools.partial(with_estimator, library="xpnet"),
    "sklearn": functools.partial(with_estimator, library="sklearn"),
    "torch": with_torch,
}
