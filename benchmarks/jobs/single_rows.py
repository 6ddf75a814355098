"""Load a saved network and classify 10,000 images, one at a time.

The network is 784-256-10 with ReLU, trained before, with the same weights for all contenders, each in the usual file
of its library.
"""

import functools
from pathlib import Path

import numpy as np

from jobs.files import load, store

SIZES = [784, 256, 10]
ROWS = 10_000


def prepare(folder, full, **_):
    """Train the network, and write it in the format of each library that is installed."""
    from importlib.util import find_spec

    from xpnet import Adam, Network
    from xpnet.datasets import mnist, mnist_sample

    train_data, (x, y) = mnist() if full else mnist_sample()
    net = Network(SIZES, activation="relu", task="classification", seed=0)
    net.train(train_data, 3, 128, 0.001, optimizer=Adam(), progress=False)
    net.save(Path(folder, "network.safetensors"))
    n = ROWS if full else ROWS // 10
    store(folder, rows=x[:n], labels=y[:n])
    layers = [(np.ascontiguousarray(w.T), np.array(b)) for w, b in net.layers]
    for library, write in WRITERS.items():
        if find_spec(library):
            write(folder, layers)


def write_estimators(folder, layers):
    import warnings

    import joblib
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    from xpnet import estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        some = np.zeros((10, SIZES[0]), np.float32), np.arange(10)
        classifier = MLPClassifier(SIZES[1:-1], max_iter=1, batch_size=10).fit(*some)
    classifier.coefs_, classifier.intercepts_ = map(list, zip(*layers))
    joblib.dump(classifier, Path(folder, "sklearn.joblib"))
    joblib.dump(estimators.MLPClassifier.from_sklearn(classifier, dtype="float32"), Path(folder, "xpnet.joblib"))


def write_torch(folder, layers):
    import torch

    model = make_torch()
    with torch.no_grad():
        for linear, (w, b) in zip(model[::2], layers):
            linear.weight.copy_(torch.tensor(w.T))
            linear.bias.copy_(torch.tensor(b))
    torch.save(model.state_dict(), Path(folder, "torch.pt"))


def make_torch():
    from torch import nn

    return nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:]))


WRITERS = {"sklearn": write_estimators, "torch": write_torch}


def count_correct(predicted, labels):
    return {"accuracy": sum(int(a) == b for a, b in zip(predicted, labels.tolist())) / len(labels)}


def with_xpnet(folder, backend):
    from xpnet import Network

    rows, labels = load(folder, "rows", "labels")
    net = Network.load(Path(folder, "network.safetensors"), backend=backend)
    return count_correct([net.predict(row) for row in rows], labels)


def with_estimator(folder, file):
    import joblib

    rows, labels = load(folder, "rows", "labels")
    classifier = joblib.load(Path(folder, file))
    return count_correct([classifier.predict(row[None])[0] for row in rows], labels)


def with_torch(folder):
    import torch

    rows, labels = load(folder, "rows", "labels")
    model = make_torch()
    model.load_state_dict(torch.load(Path(folder, "torch.pt"), weights_only=True))
    model.eval()
    with torch.inference_mode():
        return count_correct([model(torch.from_numpy(row)).argmax().item() for row in rows], labels)


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_xpnet, backend="numpy"),
    "xpnet-jax": functools.partial(with_xpnet, backend="jax"),
    "xpnet-estimator": functools.partial(with_estimator, file="xpnet.joblib"),
    "sklearn": functools.partial(with_estimator, file="sklearn.joblib"),
    "torch": with_torch,
}
