"""Search 24 settings of a classifier of digits, each with 5 folds, and fit the best on all examples.

Everything that is not in the grid is as in scikit-learn: Adam, and an end when the training loss has not improved by
1e-4 for 10 epochs.
"""

import functools

FOLDS = 5


def prepare(folder, full, **_):
    """Scikit-learn comes with the data."""


def fit(search, dtype):
    """Search, and return the scores."""
    import warnings

    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    warnings.simplefilter("ignore")  # some fits end before they converge
    search.fit((x / 16).astype(dtype), y)
    scores = search.cv_results_["mean_test_score"]
    return {"best_score": scores.max(), "mean_score": scores.mean(), "best": search.best_params_}


def with_sklearn(folder, grid, epochs, batch_size, dtype):
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(max_iter=epochs, batch_size=batch_size, random_state=0)
    return fit(GridSearchCV(classifier, grid, cv=FOLDS, n_jobs=2), dtype)


def with_xpnet(folder, grid, epochs, batch_size, dtype, backend):
    from xpnet.estimators import MLPClassifier, MLPSearchCV

    classifier = MLPClassifier(max_iter=epochs, batch_size=batch_size, random_state=0, backend=backend)
    jobs = 2 if backend == "numpy" else None  # every process would compile for itself
    return fit(MLPSearchCV(classifier, grid, cv=FOLDS, n_jobs=jobs), dtype)


CONTENDERS = {
    "xpnet-numpy": functools.partial(with_xpnet, backend="numpy"),
    "xpnet-jax": functools.partial(with_xpnet, backend="jax"),
    "sklearn": with_sklearn,
}
