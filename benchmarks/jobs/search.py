"""Search 24 settings of a classifier of digits, each with 5 folds, and fit the best on all examples.

Everything that is not in the grid is as scikit-learn has it: Adam, and an end when the training loss has not improved
by 1e-4 for 10 epochs.
"""

import functools

import numpy as np

FOLDS = 5
TOLERANCE, PATIENCE = 1e-4, 10  # defaults of scikit-learn


def load(dtype):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(dtype), y


def prepare(folder, full, **_):
    """Scikit-learn comes with the data."""


def search_with(searched, grid, data, **options):
    """Search, and return the scores."""
    import warnings

    warnings.simplefilter("ignore")  # some fits end before they converge
    search = searched(grid, cv=FOLDS, **options).fit(*data)
    return describe(search.cv_results_["mean_test_score"], search.best_params_)


def describe(scores, best):
    return {"best_score": scores.max(), "mean_score": scores.mean(), "best": best}


def with_sklearn(folder, grid, epochs, batch_size, dtype):
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(max_iter=epochs, batch_size=batch_size, random_state=0)
    return search_with(functools.partial(GridSearchCV, classifier), grid, load(dtype), n_jobs=2)


def with_xpnet(folder, grid, epochs, batch_size, dtype, backend):
    from xpnet.estimators import MLPClassifier, MLPSearchCV

    classifier = MLPClassifier(max_iter=epochs, batch_size=batch_size, random_state=0, backend=backend)
    jobs = 2 if backend == "numpy" else None  # every process would compile for itself
    return search_with(functools.partial(MLPSearchCV, classifier), grid, load(dtype), n_jobs=jobs)


def with_torch(folder, grid, epochs, batch_size, dtype):
    from joblib import Parallel, delayed
    from sklearn.model_selection import ParameterGrid, StratifiedKFold

    x, y = load(dtype)
    settings, folds = list(ParameterGrid(grid)), list(StratifiedKFold(FOLDS).split(x, y))
    fit = delayed(score_with_torch)
    with Parallel(n_jobs=2) as run:
        scores = run(fit(x, y, *fold, epochs, batch_size, **setting) for setting in settings for fold in folds)
    scores = np.reshape(scores, (len(settings), FOLDS)).mean(axis=1)
    best = int(scores.argmax())
    fit_with_torch(x, y, epochs, batch_size, **settings[best])
    return describe(scores, settings[best])


def score_with_torch(x, y, training, test, epochs, batch_size, **setting):
    import torch

    torch.set_num_threads(1)  # as there are as many processes as cores
    model = fit_with_torch(x[training], y[training], epochs, batch_size, **setting)
    with torch.no_grad():
        return float((model(torch.from_numpy(x[test])).argmax(1).numpy() == y[test]).mean())


def fit_with_torch(x, y, epochs, batch_size, hidden_layer_sizes, activation, alpha, learning_rate_init):
    import torch
    from torch import nn

    torch.manual_seed(0)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    hidden, m = hidden_layer_sizes[0], min(200, len(x)) if batch_size == "auto" else batch_size
    layers = nn.Linear(64, hidden), nn.ReLU() if activation == "relu" else nn.Tanh(), nn.Linear(hidden, 10)
    model = nn.Sequential(*layers).to(x.dtype)
    weights, biases = (
        [parameter for name, parameter in model.named_parameters() if name.endswith(kind)]
        for kind in ("weight", "bias")
    )
    groups = [{"params": weights, "weight_decay": alpha / m}, {"params": biases}]
    optimizer, cost = torch.optim.Adam(groups, learning_rate_init, fused=True), nn.CrossEntropyLoss()
    best, since = float("inf"), 0
    for _ in range(epochs):
        total = torch.zeros(())
        for rows in torch.randperm(len(x)).split(m):
            optimizer.zero_grad()
            loss = cost(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += len(rows) * loss.detach()
        loss = total.item() / len(x)
        since = since + 1 if loss > best - TOLERANCE else 0
        best = min(best, loss)
        if since > PATIENCE:
            break
    return model


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_xpnet, backend="numpy"),
    "xpnet-jax": functools.partial(with_xpnet, backend="jax"),
    "sklearn": with_sklearn,
    "torch": with_torch,
}
