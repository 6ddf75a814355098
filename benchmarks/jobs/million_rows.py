"""Train 20-64-64-2 for one epoch on a million rows of 20 columns, from files to the accuracy on 100,000 other rows.

The classes follow from seven of the columns. All contenders have ReLU, softmax, cross-entropy, Adam at 0.001,
minibatches of 256 and float32.
"""

import functools

import numpy as np

from jobs.files import load, store

COLUMNS, UNITS, BATCH_SIZE, LR = 20, 64, 256, 0.001
FILES = ("x", "y", "x_test", "y_test")


def prepare(folder, full):
    n = 1_000_000 if full else 40_000
    x = np.random.default_rng(0).standard_normal((n + n // 10, COLUMNS), np.float32)
    y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + x[:, 4] - x[:, 5] * x[:, 6] > 0.8).astype(np.int64)
    store(folder, x=x[:n], y=y[:n], x_test=x[n:], y_test=y[n:])


def with_xpnet(folder, backend):
    from xpnet import Adam, Network

    x, y, x_test, y_test = load(folder, *FILES)
    net = Network(
        [COLUMNS, UNITS, UNITS, 2],
        activation="relu",
        task="classification",
        init="glorot_uniform",
        backend=backend,
        seed=0,
    )
    net.train((x, y), 1, BATCH_SIZE, LR, optimizer=Adam(), progress=False)
    return {"accuracy": net.accuracy((x_test, y_test))}


def with_estimator(folder, library):
    import warnings

    if library == "xpnet":
        from xpnet.estimators import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier

    x, y, x_test, y_test = load(folder, *FILES)
    warnings.simplefilter("ignore")  # it has not converged
    settings = {"batch_size": BATCH_SIZE, "learning_rate_init": LR, "max_iter": 1, "random_state": 0}
    return {"accuracy": MLPClassifier((UNITS, UNITS), **settings).fit(x, y).score(x_test, y_test)}


def with_torch(folder):
    import torch
    from torch import nn

    x, y, x_test, y_test = map(torch.from_numpy, load(folder, *FILES))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(COLUMNS, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, 2))
    optimizer, cost = torch.optim.Adam(model.parameters(), LR, fused=True), nn.CrossEntropyLoss()
    for rows in torch.randperm(len(x)).split(BATCH_SIZE):
        optimizer.zero_grad()
        cost(model(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return {"accuracy": (model(x_test).argmax(1) == y_test).float().mean().item()}


def with_skorch(folder):
    import torch
    from skorch import NeuralNetClassifier
    from torch import nn

    x, y, x_test, y_test = load(folder, *FILES)
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        nn.Sequential(nn.Linear(COLUMNS, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, 2)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=LR,
        batch_size=BATCH_SIZE,
        max_epochs=1,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    ).fit(x, y)
    return {"accuracy": float((net.predict(x_test) == y_test).mean())}


def with_keras(folder):
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from keras.layers import Dense

    x, y, x_test, y_test = load(folder, *FILES)
    keras.utils.set_random_seed(0)
    layers = [Dense(UNITS, "relu"), Dense(UNITS, "relu"), Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((COLUMNS,)), *layers])
    model.compile(
        keras.optimizers.Adam(LR), "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=20
    )
    model.fit(x, y, BATCH_SIZE, verbose=0)
    return {"accuracy": model.evaluate(x_test, y_test, batch_size=2000, verbose=0)[1]}


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_xpnet, backend="numpy"),
    "xpnet-jax": functools.partial(with_xpnet, backend="jax"),
    "xpnet-estimator": functools.partial(with_estimator, library="xpnet"),
    "sklearn": functools.partial(with_estimator, library="sklearn"),
    "torch": with_torch,
    "skorch": with_skorch,
    "keras": with_keras,
}
NEEDS = {}  # classes of xpnet.estimators
PROCESSES = ()  # contenders that use the cores by several processes
