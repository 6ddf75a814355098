"""The contenders of tables.py: each with the settings that it has by default, behind what it needs.

Each contender is a function without arguments that imports its library and returns a function of (x, y, x_test, task,
seed). That learns from x and y, and returns a `Prediction` for x_test. All run on one thread.
"""

import time
from typing import NamedTuple

import numpy as np
import pandas as pd
from table_sets import CLASSIFICATION, is_number

LEVEL = 0.9  # of intervals
MOST_CATEGORIES = 255  # that HistGradientBoosting takes
LIMIT = 60  # CPU seconds after which CatBoost stops adding trees


class Prediction(NamedTuple):
    """What a contender predicts for the test rows.

    `probabilities` have a column for each class, in sorted order; `interval` is a pair of ends.
    """

    values: np.ndarray
    probabilities: np.ndarray | None = None
    interval: tuple | None = None


def predict(model, x, task):
    """Ask a fitted estimator."""
    probabilities = model.predict_proba(x) if task == CLASSIFICATION else None
    interval = model.interval(x, LEVEL) if task != CLASSIFICATION and hasattr(model, "interval") else None
    return Prediction(np.asarray(model.predict(x)).ravel(), probabilities, interval)


def estimator(build, arrange=lambda x, x_test: (x, x_test)):
    """Make a contender's function from one of (task, x, seed) that returns an estimator, and one for its tables."""

    def fit(x, y, x_test, task, seed):
        x, x_test = arrange(x, x_test)
        return predict(build(task, x, seed).fit(x, y), x_test, task)

    return fit


def categories(x):
    """Names of the columns that hold categories or texts."""
    return [name for name in x if not is_number(x[name])]


def declared(x):
    """Names of the columns that are of a dtype of categories."""
    return [name for name in x if x[name].dtype == "category"]


def with_categories(x, x_test):
    """Return both with texts as categories, which are those of the rows to train on."""
    texts = [name for name in categories(x) if name not in declared(x)]
    known = {name: pd.CategoricalDtype(sorted(x[name].dropna().astype(str).unique())) for name in texts}
    return tuple(
        table.assign(**{c: table[c].map(str, na_action="ignore").astype(dtype) for c, dtype in known.items()})
        for table in (x, x_test)
    )


def with_few_categories(x, x_test):
    """Return both with texts as categories, without the columns that have more than MOST_CATEGORIES."""
    x, x_test = with_categories(x, x_test)
    many = [name for name in declared(x) if len(x[name].cat.categories) > MOST_CATEGORIES]
    return x.drop(columns=many), x_test.drop(columns=many)


def with_texts(x):
    """Return a copy in which categories are texts, and a hole is the text NA."""
    return x.assign(**{c: x[c].astype(object).where(x[c].notna(), "NA").astype(str) for c in categories(x)})


def hist_gradient_boosting():
    from sklearn import ensemble

    kinds = ensemble.HistGradientBoostingRegressor, ensemble.HistGradientBoostingClassifier
    return estimator(
        lambda task, x, seed: kinds[task == CLASSIFICATION](random_state=seed, categorical_features="from_dtype"),
        with_few_categories,
    )


def lightgbm():
    import lightgbm

    kinds = lightgbm.LGBMRegressor, lightgbm.LGBMClassifier
    return estimator(
        lambda task, x, seed: kinds[task == CLASSIFICATION](random_state=seed, n_jobs=1, verbose=-1), with_categories
    )


def xgboost():
    import xgboost

    settings = {"n_jobs": 1, "enable_categorical": True}

    def fit(x, y, x_test, task, seed):
        x, x_test = with_categories(x, x_test)
        if task != CLASSIFICATION:
            return predict(xgboost.XGBRegressor(random_state=seed, **settings).fit(x, y), x_test, task)
        classes, numbers = np.unique(y, return_inverse=True)
        found = predict(xgboost.XGBClassifier(random_state=seed, **settings).fit(x, numbers), x_test, task)
        return found._replace(values=classes[found.values])

    return fit


def catboost():
    import catboost

    class Stop:
        def __init__(self):
            self.began = time.process_time()

        def after_iteration(self, _):
            return time.process_time() - self.began < LIMIT

    kinds = catboost.CatBoostRegressor, catboost.CatBoostClassifier
    quiet = {"thread_count": 1, "verbose": False, "allow_writing_files": False}

    def fit(x, y, x_test, task, seed):
        model = kinds[task == CLASSIFICATION](random_seed=seed, cat_features=categories(x), **quiet)
        return predict(model.fit(with_texts(x), y, callbacks=[Stop()]), with_texts(x_test), task)

    return fit


def sklearn_mlp():
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def build(task, x, seed):
        texts = categories(x)
        numbers = [name for name in x if name not in texts]
        encoder = make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        )
        if task == CLASSIFICATION:
            return make_pipeline(encoder, MLPClassifier(random_state=seed))
        mlp = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
        return make_pipeline(encoder, mlp)

    return estimator(build, with_few_categories)


def pytabkit(name):
    """Make the contender with this name from pytabkit: it needs medians and markers in the place of holes."""

    def contender():
        import pytabkit
        import torch

        torch.set_num_threads(1)
        kinds = [getattr(pytabkit, f"{name}_{kind}") for kind in ("Regressor", "Classifier")]
        settings = {"device": "cpu", "n_cv": 1, "n_refit": 0, "n_threads": 1, "verbosity": 0}

        def fit(x, y, x_test, task, seed):
            texts, medians = categories(x), x.median(numeric_only=True)
            holes = [c for c in medians.index if x[c].isna().any()]

            def fill(x):
                markers = {f"{c}_missing": x[c].isna().astype(float) for c in holes}
                return with_texts(x).fillna(medians).assign(**markers)

            model = kinds[task == CLASSIFICATION](random_state=seed, **settings)
            model.fit(fill(x), y, cat_col_names=texts)
            return predict(model, fill(x_test), task)

        return fit

    return contender


def xpnet():
    from xpnet.estimators import TableClassifier, TableRegressor

    kinds = TableRegressor, TableClassifier
    return estimator(
        lambda task, x, seed: kinds[task == CLASSIFICATION](categories=declared(x), n_jobs=1, random_state=seed)
    )


def xpnet_mlp():
    from sklearn.pipeline import make_pipeline

    from xpnet.estimators import MLPClassifier, MLPRegressor, TableEncoder

    kinds = MLPRegressor, MLPClassifier
    settings = {"standardize": True, "early_stopping": True, "learning_rate_init": 0.01}
    return estimator(
        lambda task, x, seed: make_pipeline(
            TableEncoder(categories=declared(x)), kinds[task == CLASSIFICATION](random_state=seed, **settings)
        )
    )


OURS = "xpnet"
CONTENDERS = {
    OURS: xpnet,
    "xpnet MLP": xpnet_mlp,
    "CatBoost": catboost,
    "HistGradientBoosting": hist_gradient_boosting,
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    "RealMLP_TD": pytabkit("RealMLP_TD"),
    "TabM_D": pytabkit("TabM_D"),
    "scikit-learn MLP": sklearn_mlp,
}
