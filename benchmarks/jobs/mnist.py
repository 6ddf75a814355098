"""Train 784-256-10 on MNIST, from bytes in files to the predictions for the test images.

All contenders have ReLU, softmax, cross-entropy, Adam at 0.001, minibatches of 128, float32 and the same epochs.
"""

import functools

import numpy as np

from jobs.files import load, store

UNITS, BATCH_SIZE, LR = 256, 128, 0.001
FILES = ("x", "y", "x_test", "y_test")


def prepare(folder, full):
    from xpnet.datasets import mnist, mnist_sample

    (x, y), (x_test, y_test) = mnist() if full else mnist_sample()
    x, x_test = (np.rint(255 * pixels).astype(np.uint8) for pixels in (x, x_test))
    store(folder, x=x, y=y, x_test=x_test, y_test=y_test)


def with_xpnet(folder, epochs, backend):
    from xpnet import Adam, Network

    x, y, x_test, y_test = load(folder, *FILES)
    net = Network(
        [784, UNITS, 10],
        activation="relu",
        task="classification",
        init="glorot_uniform",
        scale=1 / 255,
        backend=backend,
        seed=0,
    )
    net.train((x, y), epochs, BATCH_SIZE, LR, optimizer=Adam(), progress=False)
    return {"accuracy": net.accuracy((x_test, y_test))}


def with_estimator(folder, epochs, library):
    import warnings

    if library == "xpnet":
        from xpnet.estimators import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier

    x, y, x_test, y_test = load(folder, *FILES)
    x, x_test = (pixels.astype(np.float32) / 255 for pixels in (x, x_test))
    warnings.simplefilter("ignore")  # it has not converged
    settings = {"batch_size": BATCH_SIZE, "learning_rate_init": LR, "max_iter": epochs, "random_state": 0}
    classifier = MLPClassifier((UNITS,), **settings).fit(x, y)
    return {"accuracy": classifier.score(x_test, y_test)}


def with_torch(folder, epochs):
    import torch
    from torch import nn

    x, y, x_test, y_test = map(torch.from_numpy, load(folder, *FILES))
    x, x_test = x.float() / 255, x_test.float() / 255
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))
    optimizer, cost = torch.optim.Adam(model.parameters(), LR, fused=True), nn.CrossEntropyLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH_SIZE):
            optimizer.zero_grad()
            cost(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return {"accuracy": (model(x_test).argmax(1) == y_test).float().mean().item()}


def with_skorch(folder, epochs):
    import torch
    from skorch import NeuralNetClassifier
    from torch import nn

    x, y, x_test, y_test = load(folder, *FILES)
    x, x_test = (pixels.astype(np.float32) / 255 for pixels in (x, x_test))
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        nn.Sequential(nn.Linear(784, UNITS), nn.ReLU(), nn.Linear(UNITS, 10)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=LR,
        batch_size=BATCH_SIZE,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    ).fit(x, y)
    return {"accuracy": float((net.predict(x_test) == y_test).mean())}


def with_keras(folder, epochs):
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    x, y, x_test, y_test = load(folder, *FILES)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Dense(UNITS, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((784,)), *layers])
    model.compile(
        keras.optimizers.Adam(LR), "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=20
    )
    model.fit(x, y, BATCH_SIZE, epochs, verbose=0)
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
