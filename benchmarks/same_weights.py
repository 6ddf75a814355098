"""Show that two checkouts of xpnet train to the same weights, bit for bit, or one with each loop of NumPy.

    python same_weights.py BEFORE AFTER
    python same_weights.py BEFORE --save lines.jsonl
    python same_weights.py AFTER --against lines.jsonl
    python same_weights.py CHECKOUT --loops

Each checkout runs the same random trainings in a process of its own: of networks, ensembles, estimators, and searches
over estimators. For each it writes a line of JSON: how it was set up, and SHA-256 digests of the weights, the
optimizer's memory, costs and outputs. The lines of the two are then compared. Only the public API is used, so that any
two checkouts that share it can be compared. Exits with status 1 if they differ.

Bits depend on the processor and on the versions of the libraries: compare on one machine, in one environment.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

BACKENDS = ("numpy", "torch", "jax")
DOORS = ("network", "network", "ensemble", "estimator")  # what trains, in turn
ACTIVATIONS = (
    *("sigmoid", "tanh", "relu", "leaky_relu", "leaky_relu(0.2)", "elu", "elu(2.0)", "selu", "softplus", "silu"),
    *("gelu", "gelu_tanh", "identity", "softmax", "exp"),
)
BOUNDED = ("sigmoid", "tanh", "softmax")
INITS = (
    *("scaled_normal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform"),
    *("lecun_normal", "orthogonal", "zeros", "normal"),
)
ANY_OUTPUT = ("quadratic", "absolute", "huber", "huber(2.0)")  # costs that go with every output activation
KEPT = ("arrays", "pairs", "data set")  # sources whose examples xpnet has all at once
HELD_OUT = 40  # examples for validation and test
TIMES = ("seconds", "examples_per_second")  # columns of the history that differ from run to run

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
LOOPS = {  # to be compared with that in C on one thread: options of the process
    "in Python": ["--without=xpnet.backends.replay.loops"],
    "in C, two threads": ["--threads=2"],
    "in C, three threads": ["--threads=3"],
}


class Dice:
    """A random generator that gives plain Python values, which can be written as JSON."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def one_of(self, *options: Any) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)


# Drawing a training: everything in it is plain JSON; objects of xpnet are lists, see `make`


def draw(seed: int, index: int, backends: list[str]) -> dict[str, Any]:
    """Draw a whole training: what trains, and on what."""
    dice, backend = Dice(seed, index), backends[index % len(backends)]
    door = DOORS[index // len(backends) % len(DOORS)]
    training = draw_estimator(dice, backend) if door == "estimator" else draw_training(dice, backend, door)
    return {"index": index, "backend": backend, "door": door} | training


def draw_training(dice: Dice, backend: str, door: str) -> dict[str, Any]:
    """Draw data, a network or an ensemble, and one or two calls to `train`."""
    kind, n_out, targets, output = draw_problem(dice)
    few_shapes = backend == "jax"  # it compiles for each, and what it compiled for one training serves others too
    widths = (1, 4, 10, 32) if few_shapes else range(1, 41)
    n_in = 784 if dice.chance(0.1) else dice.one_of(*widths)
    n = dice.one_of(*((20, 64, 150, 400) if few_shapes or n_in == 784 else (20, 35, 64, 100, 150, 333, 1000, 3000)))
    hidden = dice.one_of(0, 1, 1, 1, 2) if few_shapes else dice.one_of(0, 1, 1, 1, 2, 2, 3)
    sizes = [n_in, *(dice.one_of(*widths) for _ in range(hidden)), n_out]
    settings = {"sizes": sizes, **output, **draw_network(dice, len(sizes) - 2)}
    form = dice.one_of("float64", "float64", "float32", "bytes", "units")
    settings |= {"bytes": {"scale": 1 / 255}, "units": {"standardize": True}}.get(form, {})
    training = {"backend": backend, "kind": kind, "n": n, "inputs": form, "targets": targets, "calls": []}
    training |= {"images": n_in == 784 and dice.chance(0.5), "network": settings}
    training["members"] = dice.whole(1, 5) if door == "ensemble" else None
    for _ in range(dice.one_of(1, 1, 1, 2) if few_shapes else dice.one_of(1, 2)):
        training["calls"].append(draw_call(dice, training))
    return training


def draw_problem(dice: Dice) -> tuple[str, int, str, dict[str, Any]]:
    """Draw the kind of problem, the number of outputs, the form of the targets, and a cost that goes with them."""
    kind = dice.one_of("classification", "classification", "classification", "binary", "multilabel", "regression")
    if kind == "classification":
        names = dice.one_of(
            *({"task": kind}, {"task": kind, "cost": "log_likelihood"}, {}),
            *({"output_activation": "softmax", "cost": cost} for cost in ("cross_entropy", "log_likelihood")),
            *({"output_activation": "sigmoid", "cost": cost} for cost in ("cross_entropy", "quadratic")),
            {"output_activation": dice.one_of(*BOUNDED), "cost": dice.one_of(*ANY_OUTPUT)},
        )
        return kind, dice.one_of(2, 3, 10), dice.one_of("classes", "classes", "one-hot"), names
    if kind == "binary":
        names = dice.one_of({"task": kind}, {"cost": "cross_entropy"}, {"cost": dice.one_of(*ANY_OUTPUT)})
        return kind, 1, dice.one_of("zeros and ones", "column of zeros and ones"), names
    if kind == "multilabel":
        return kind, dice.one_of(2, 5), "labels", {"task": kind}
    n_out = dice.one_of(1, 1, 2, 5)
    if dice.chance(0.15):
        return kind, n_out, "counts", {"task": kind, "output_activation": "exp", "cost": "poisson"}
    if dice.chance(0.3):
        return kind, n_out, "real", {"task": kind, "cost": dice.one_of(*ANY_OUTPUT)}
    output = dice.one_of(*(name for name in ACTIVATIONS if name != "softmax"))
    names = {"output_activation": output, "cost": dice.one_of(*ANY_OUTPUT)}
    task = {"task": kind} if output in BOUNDED or dice.chance(0.5) else {}
    return kind, n_out, "real" if output == "identity" else "from 0 to 1", task | names


def draw_network(dice: Dice, hidden: int) -> dict[str, Any]:
    """Draw what a network has besides sizes and outputs."""
    names = [dice.one_of(*ACTIVATIONS) for _ in range(hidden)]
    names[1:] = [name if name != "exp" else "sigmoid" for name in names[1:]]  # exp(exp(z)) overflows
    if names and names[0] != "exp" and dice.chance(0.4):
        names = [names[0]] * hidden
    settings: dict[str, Any] = {"activation": names, "dtype": dice.one_of("float32", "float64")}
    settings["seed"] = dice.whole(0, 10**6)
    if dice.chance(0.5) and "exp" not in names:
        settings["init"] = dice.one_of(*(INITS if set(names) <= set(BOUNDED) else INITS[:-1]))
    if dice.chance(0.3):
        rates = [dice.one_of(0.0, 0.2, 0.5) for _ in range(hidden + 1)]
        settings["dropout"] = rates if hidden == 0 or dice.chance(0.5) else dice.one_of(0.1, 0.5)
    return settings


def draw_call(dice: Dice, training: dict[str, Any]) -> dict[str, Any]:
    """Draw a call to `train`, its source of examples, and what is done with the network before a second call."""
    n, classes = training["n"], training["kind"] in ("classification", "binary")
    source = dice.one_of(
        "arrays", "arrays", "arrays", "pairs", "data set", "data set, read again", "batches", "endless"
    )
    if source == "endless" and training["inputs"] == "units":
        source = "batches"  # standardize=True needs a source with an end
    kept, often = source in KEPT, 0.2 if training["backend"] == "jax" else 0.4
    call: dict[str, Any] = {"source": source, "lr": None}
    train: dict[str, Any] = {"epochs": dice.whole(1, 3), "batch_size": dice.one_of(1, 7, 10, 32, n, 2 * n)}
    if training["calls"] and not training["members"]:
        call["before"] = dice.one_of(None, "copy", "save and load", "other dtype", "minibatch update")
    if not training["calls"] or dice.chance(0.5):  # else the second call goes on with the optimizer of the first
        call["optimizer"] = draw_optimizer(dice)
    if dice.chance(0.85):
        call["lr"] = draw_rate(dice, training, adaptive="SGD" not in json.dumps(call.get("optimizer", "SGD")))
    train["sampling"] = dice.one_of("shuffle", "shuffle", "replacement")
    if source in ("batches", "endless"):
        call["sizes"] = [[dice.one_of(1, 5, 10), dice.one_of(2, 40)], [dice.one_of(3, 7), dice.one_of(1, 3)]]
    if source == "endless":
        train["steps"] = dice.one_of(3, 20, 50, 100)
    if source == "data set, read again":
        train["cache"] = False
    if kept and n >= 60 and dice.chance(0.25):
        train["validation_split"] = 0.25
    elif dice.chance(often):
        call["validation"] = dice.one_of("arrays", "pairs", "data set", "batches")
    if dice.chance(often):
        call["test"] = dice.one_of("arrays", "pairs", "data set", "batches")
    if kept and dice.chance(0.45):
        call["weights"] = dice.one_of("any", "mostly 0", "mostly 0")
        if call["weights"] == "mostly 0":
            train["batch_size"] = dice.one_of(1, 7, 10, 32 if n >= 64 else 5)
    if classes and dice.chance(0.3):
        balanced = kept and dice.chance(0.5)
        train["class_weight"] = "balanced" if balanced else {0: dice.one_of(0.0, 0.3), 1: 2.5}
    validated = "validation" in call or "validation_split" in train
    if (validated or "test" in call) and dice.chance(0.8):
        train["metrics"] = draw_metrics(dice, training)
    if source != "endless" and dice.chance(0.2):
        train["training_metrics"] = draw_metrics(dice, training)
    if dice.chance(0.35):
        call["callbacks"] = draw_callbacks(dice, validated)
    if training["members"] and call["lr"] is not None and dice.chance(0.4):
        call["lr"] = [draw_rate(dice, training, adaptive=True) for _ in range(training["members"])]
    if training["members"] and kept and not validated and dice.chance(0.3):
        train["rows"] = [dice.rng.integers(n, size=dice.one_of(n // 2, n)).tolist() for _ in range(training["members"])]
    return call | {"train": train}


def draw_estimator(dice: Dice, backend: str) -> dict[str, Any]:
    """Draw data, an estimator, and a grid to search, or none."""
    kind = dice.one_of("classification", "classification", "binary", "regression")
    ends = "Regressor" if kind == "regression" else "Classifier"
    targets = {"classification": "classes", "binary": "zeros and ones", "regression": "real"}[kind]
    hidden = dice.one_of([], [4], [10], [10, 4])
    settings = {"hidden_layer_sizes": hidden, "solver": dice.one_of("adam", "adam", "sgd", "lbfgs"), "tol": 1e-3}
    settings |= {"activation": dice.one_of("relu", "tanh", "logistic"), "max_iter": dice.whole(2, 6)}
    settings |= {"batch_size": dice.one_of("auto", 7, 32), "n_iter_no_change": dice.one_of(1, 10)}
    settings |= {"random_state": dice.whole(0, 10**6), "dtype": dice.one_of(None, "float32", "float64")}
    settings["alpha"] = dice.one_of(0.0, 1e-4, 0.1)
    if settings["solver"] == "sgd":
        settings |= {"learning_rate": dice.one_of("constant", "adaptive", "invscaling"), "momentum": 0.5}
    if settings["solver"] != "lbfgs":
        settings |= {"early_stopping": dice.chance(0.4), "dropout": dice.one_of(0.0, 0.0, 0.2)}
    training = {"kind": kind, "n": dice.one_of(64, 150), "inputs": dice.one_of("float64", "float32", "units")}
    training |= {"targets": targets, "images": False, "grid": None, "estimator": settings}
    training["network"] = {"sizes": [dice.one_of(4, 10), dice.one_of(1, 2) if kind == "regression" else 1]}
    if kind == "classification":
        training["network"]["sizes"][-1] = 3
    if dice.chance(0.7):
        grid = {"alpha": [1e-4, 0.1], "learning_rate_init": [0.001, 0.01], "activation": ["relu", "tanh"]}
        grid |= {"hidden_layer_sizes": [[4], [10]], "random_state": [0, 1], "batch_size": [16, 32]}
        names = [list(grid)[place] for place in sorted(dice.rng.permutation(len(grid))[: dice.whole(1, 3)])]
        training["grid"] = {name: grid[name] for name in names}
        training |= {"folds": dice.whole(2, 3), "random": dice.chance(0.3)}
    is_ensemble = training["grid"] is None and settings["solver"] != "lbfgs" and dice.chance(0.5)
    settings |= {"n_estimators": 3, "bootstrap": dice.chance(0.5)} if is_ensemble else {}
    return training | {"class": f"MLP{'Ensemble' * is_ensemble}{ends}"}


def draw_optimizer(dice: Dice) -> list[Any]:
    """Draw an optimizer, and what is put around it."""
    decay = dice.one_of({}, {"weight_decay": 1e-3})
    optimizer = dice.one_of(
        *(["SGD", decay], ["SGD", {"momentum": 0.9, **decay}]),
        ["SGD", {"momentum": 0.5, "nesterov": True, **decay}],
        ["RMSProp", {**dice.one_of({}, {"rho": 0.9, "epsilon": 1e-6}), **decay}],
        ["Adam", {**dice.one_of({}, {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}), **decay}],
        ["AdamW", dice.one_of({}, {"weight_decay": 0.1, "beta1": 0.0}, {"weight_decay": 0.0})],
    )
    if dice.chance(0.45):
        modifiers = [("L1", 1e-4), ("Clip", dice.one_of(0.1, 2.0)), ("MaxNorm", dice.one_of(0.5, 3.0))]
        for place in dice.rng.permutation(3)[: dice.whole(1, 3)]:
            name, number = modifiers[place]
            optimizer = [name, optimizer, number]
    return optimizer


def draw_rate(dice: Dice, training: dict[str, Any], adaptive: bool) -> Any:
    """Draw a learning rate or a schedule, small where a network could diverge."""
    network = training["network"]
    bounded = training["kind"] != "regression" and set(network["activation"]) <= set(BOUNDED)
    lr = dice.one_of(0.001, 0.01) if adaptive else dice.one_of(0.05, 0.5, 3.0) if bounded else dice.one_of(0.001, 0.01)
    lr *= 1e9 if dice.chance(0.03) else 1.0  # training may diverge
    return dice.one_of(
        *(lr, lr, ["Constant", lr], ["Step", lr, {"factor": 0.5, "at": [0.3, 0.6]}]),
        *(["Exponential", lr, 0.01 * lr], ["InverseScaling", lr, {"power": 0.25}]),
        *(["Cosine", lr, {"warmup": 0.1, "final": 0.1 * lr}], ["OneCycle", lr, {"warmup": 0.3}]),
    )


def draw_metrics(dice: Dice, training: dict[str, Any]) -> list[str]:
    """Draw some metrics that go with the kind of problem."""
    kind, names = training["kind"], ["mean_absolute_error", "mean_squared_error"]
    names += ["r2"] if kind == "regression" else ["accuracy", "correct"]
    names += ["top_3"] if kind == "classification" and training["network"]["sizes"][-1] > 3 else []
    return [names[place] for place in sorted(dice.rng.permutation(len(names))[: dice.whole(1, 3)])]


def draw_callbacks(dice: Dice, validated: bool) -> list[Any]:
    """Draw callbacks so impatient that they act within three epochs."""
    watched = {"monitor": "validation_cost" if validated else "cost", "patience": 1}
    watched["min_delta"] = dice.one_of(0.0, 0.05, 10.0)
    stop = ["EarlyStopping", {**watched, "restore_best": dice.chance(0.7)}]
    reduce = ["ReduceLROnPlateau", {**watched, "factor": 0.3}]
    return dice.one_of([stop], [reduce], [reduce, stop])


# Making its data


class DataSet:
    """A map-style data set."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.x[i], self.y[i]


class Batches:
    """Batches that can be iterated over again, of sizes that repeat: pairs of a size and how often it comes."""

    def __init__(self, x: np.ndarray, y: np.ndarray, sizes: list[list[int]]) -> None:
        ends = np.cumsum(np.resize([size for size, times in sizes for _ in range(times)], len(x)))
        places = [int(end) for end in ends if end < len(x)]
        self.batches = list(zip(np.split(x, places), np.split(y, places)))

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def make_data(training: dict[str, Any], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets that have to do with each other; no product of a BLAS is needed to make them."""
    n, sizes, form = training["n"] + HELD_OUT, training["network"]["sizes"], training["inputs"]
    x = rng.standard_normal((n, sizes[0]))
    if sizes[0] == 784:
        x *= rng.random(x.shape) < 0.1  # like pixels, few of which are inked
    signal = x[:, rng.integers(sizes[0], size=sizes[-1])] + 0.3 * rng.standard_normal((n, sizes[-1]))
    if form == "units":
        x = x * 10.0 ** rng.uniform(-2, 2, sizes[0]) + rng.uniform(-5, 5, sizes[0])
    x = np.minimum(80 * np.abs(x), 255).astype(np.uint8) if form == "bytes" else x
    x = x.astype(np.float32) if form == "float32" else x
    return x.reshape(n, 28, 28) if training["images"] else x, make_targets(training["targets"], signal)


def make_targets(form: str, signal: np.ndarray) -> np.ndarray:
    """Turn real numbers into targets; of classes, each occurs twice at least."""
    outputs = signal.shape[1]
    labels = np.argmax(signal, axis=1)
    labels[: 2 * outputs] = np.arange(2 * outputs) % outputs
    ones = (signal > 0).astype(np.int64)
    ones[:4, 0] = 0, 1, 0, 1
    return {
        **{"classes": labels, "one-hot": np.eye(outputs)[labels], "labels": ones},
        **{"zeros and ones": ones[:, 0], "column of zeros and ones": ones.astype(float)},
        **{"real": signal, "from 0 to 1": 0.5 + 0.5 * np.tanh(signal), "counts": np.floor(2 * np.abs(signal))},
    }[form]


def open_source(form: str, x: np.ndarray, y: np.ndarray, sizes: list[list[int]] | None = None) -> Any:
    """Examples in one of the forms that `train` takes."""
    if form == "arrays":
        return x, y
    if form == "pairs":
        return list(zip(x, y))
    if form.startswith("data set"):
        return DataSet(x, y)
    batches = Batches(x, y, sizes or [[20, 1]])
    return chain.from_iterable(repeat(batches)) if form == "endless" else batches


def make_weights(call: dict[str, Any], n: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of the examples. If they are mostly 0, those of about half of all minibatches are all 0."""
    weights = rng.uniform(0.1, 3.0, n)
    if call["weights"] == "mostly 0":
        zero = rng.random(n) < 0.5 ** (1.0 / call["train"]["batch_size"])
        zero[rng.permutation(n)[: 5 if "validation_split" in call["train"] else 1]] = False  # some have to count
        weights[zero] = 0.0
    return weights


def make(given: Any) -> Any:
    """Make the object of xpnet that a list stands for: its name, its arguments, and a dict of its options, if any."""
    import xpnet

    if not isinstance(given, list):
        return given
    if not isinstance(given[0], str):  # one for each member
        return [make(each) for each in given]
    name, *arguments = given
    options = arguments.pop() if isinstance(arguments[-1], dict) else {}
    return getattr(xpnet, name)(*map(make, arguments), **options)


# Running it


def run(training: dict[str, Any], seed: int, threads: int | None = None) -> dict[str, Any]:
    """Train as described; returns digests of the results, and the name of the exception, if there was one."""
    rng = np.random.default_rng([seed, training["index"], 1])
    x, y = make_data(training, rng)
    if training["door"] == "estimator":
        return run_estimator(training, x, y, rng)
    is_shared = threads is not None and training["door"] == "network"  # networks of an ensemble have a thread each
    return run_network(training, x, y, rng, {"blas_threads": threads} if is_shared else {})


def run_network(
    training: dict[str, Any], x: np.ndarray, y: np.ndarray, rng: np.random.Generator, options: dict[str, int | None]
) -> dict[str, Any]:
    """Train a network or an ensemble, with the same options in each call."""
    import xpnet

    place = {"backend": training["backend"], "device": "cpu"}
    if members := training["members"]:
        net = xpnet.Ensemble(members=members, **training["network"], **place)
    else:
        net = xpnet.Network(**training["network"], **place)
    histories, raised = [], None
    try:
        for call in training["calls"]:
            net = prepare(net, call.get("before"), x, y)
            trained = train(net, call | {"train": call["train"] | options}, x, y, rng)
            for history in (each.to_dict() for each in (trained if members else [trained])):
                histories.append({name: of_numbers(history[name]) for name in sorted(history) if name not in TIMES})
    except Exception as error:  # which one it is, is a result too; its message may change
        raised = type(error).__name__
    networks, seen = list(net) if members else [net], x[-HELD_OUT:]
    outputs = {
        "forward": [of_array(each.backend.to_numpy(each.forward(seen))) for each in networks],
        "predict": of_array(net.backend.to_numpy(net.predict(seen))),
    }
    memory = [of_nest(each.backend, each.state.optimizer) for each in networks]
    return {
        "layers": list(map(of_layers, networks)),
        "memory": memory,
        "history": histories,
        "raised": raised,
    } | outputs


def run_estimator(training: dict[str, Any], x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Fit an estimator, or search the best settings of one."""
    from xpnet import estimators

    x, seen, y = x[:-HELD_OUT], x[-HELD_OUT:], y[:-HELD_OUT]
    settings = {"backend": training["backend"], "device": "cpu"} | training["estimator"]
    fitted, grid, raised, results = getattr(estimators, training["class"])(**settings), training["grid"], None, {}
    if grid and training["random"]:
        fitted = estimators.MLPRandomSearchCV(fitted, grid, n_iter=2, random_state=0, cv=training["folds"])
    elif grid:
        fitted = estimators.MLPSearchCV(fitted, grid, cv=training["folds"])
    try:
        fitted.fit(x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        results["predict"] = of_array(np.asarray(fitted.predict(seen)))
        if grid:
            scores = {name: column for name, column in fitted.cv_results_.items() if name.endswith("test_score")}
            results["scores"] = {name: of_numbers(scores[name]) for name in sorted(scores)}
            results["best"] = str(fitted.best_params_)
            fitted = fitted.best_estimator_
        networks = fitted.ensemble_ if "Ensemble" in training["class"] else [fitted.network_]
        results["layers"] = list(map(of_layers, networks))
    except Exception as error:
        raised = type(error).__name__
    return results | {"raised": raised}


def prepare(net: Any, what: str | None, x: np.ndarray, y: np.ndarray) -> Any:
    """Do what is to be done with a network before it is trained again; the working folder is a temporary one."""
    if what == "copy":
        return net.copy()
    if what == "save and load":
        net.save("net.safetensors")
        return type(net).load("net.safetensors", backend=net.backend.name, device="cpu")
    if what == "other dtype":
        return net.to(dtype="float32" if net.dtype == "float64" else "float64")
    if what == "minibatch update":
        net.minibatch_update((x[:8], y[:8]), lr=0.001)
    return net


def train(net: Any, call: dict[str, Any], x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Any:
    """Call `train` as described; returns its history, or those of the members."""
    n = len(x) - HELD_OUT
    options = dict(call["train"])
    for name in ("validation", "test"):
        if name in call:
            options[f"{name}_data"] = open_source(call[name], x[n:], y[n:])
    if "weights" in call:
        options["sample_weight"] = make_weights(call, n, rng)
    options["callbacks"] = [make(each) for each in call.get("callbacks", [])]
    source = open_source(call["source"], x[:n], y[:n], call.get("sizes"))
    return net.train(source, lr=make(call["lr"]), optimizer=make(call.get("optimizer")), progress=False, **options)


def of_layers(net: Any) -> list[str]:
    """Digests of the weights and biases of a network."""
    return [of_array(net.backend.to_numpy(array)) for array in (*net.w, *net.b)]


def of_nest(backend: Any, nest: Any) -> Any:
    """Digests of the arrays in a tuple of tuples."""
    if isinstance(nest, tuple):
        return [of_nest(backend, part) for part in nest]
    return None if nest is None else of_array(backend.to_numpy(nest))


def of_array(x: np.ndarray) -> str:
    """Digest of an array: of its dtype, shape and bytes."""
    return hashlib.sha256(f"{x.dtype} {x.shape} ".encode() + x.tobytes()).hexdigest()


def of_numbers(numbers: list[Any]) -> str:
    """Digest of numbers of any type, to the last bit."""
    return hashlib.sha256(repr([float(number) for number in numbers]).encode()).hexdigest()


def work(args: argparse.Namespace) -> None:
    """Run all trainings with the xpnet of one checkout, in a process that has been started for it."""
    if args.without:
        sys.modules[args.without] = None  # as if it had not been built
    import xpnet

    if not Path(xpnet.__file__).resolve().is_relative_to(args.worker.resolve()):
        raise SystemExit(f"xpnet was imported from {xpnet.__file__}, not from {args.worker}")
    warnings.simplefilter("ignore")
    libraries = {name: version(name) for name in ("numpy", *args.backends)}
    print(json.dumps({"seed": args.seed, "backends": args.backends, "libraries": libraries}), flush=True)
    for index in range(args.count) if args.only is None else [args.only]:
        training = draw(args.seed, index, args.backends)
        print(json.dumps({"training": training} | run(training, args.seed, args.threads)), flush=True)
        if index % 60 == 59 and "jax" in sys.modules:
            sys.modules["jax"].clear_caches()  # gigabytes of compiled programs


# Comparing


def run_checkout(checkout: Path, args: argparse.Namespace, loop: Sequence[str] = ()) -> list[str]:
    """Run the process of a checkout, in a folder outside of it, and return its lines."""
    options = [f"--worker={checkout.resolve()}", f"--seed={args.seed}", f"--count={args.count}", *loop]
    options += [] if args.only is None else [f"--only={args.only}"]
    command = [sys.executable, "-P", str(Path(__file__).resolve()), *options, "--backends", *args.backends]
    env = os.environ | ONE_THREAD | {"PYTHONPATH": str(checkout.resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)  # one checkout shall not run what the other has compiled
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"the trainings of {checkout} have failed; see above")
    return done.stdout.splitlines()


def compare(before: list[str], after: list[str]) -> bool:
    """Report the trainings that differ, and how many are equal; tells whether all are."""
    known = {line["training"]["index"]: line for line in map(json.loads, before[1:])}
    found = {line["training"]["index"]: line for line in map(json.loads, after[1:])}
    if before[0] != after[0] or not found or not set(found) <= set(known):
        raise SystemExit(f"other trainings ran before: {len(known)} of {before[0]}, and now {len(found)} of {after[0]}")
    ran, equal, raised = Counter(), Counter(), Counter()
    for index, new in found.items():
        old, training = known[index], new["training"]
        differing = [name for name in new if new[name] != old.get(name)]
        if differing:
            print(f"training {index} differs in {', '.join(differing)}: {json.dumps(training)}")
        if new["raised"] != old["raised"]:
            print(f"    it raised {old['raised']} before, and {new['raised']} now")
        key = training["backend"], "search" if training.get("grid") else training["door"]
        ran[key] += 1
        equal[key] += not differing
        raised[new["raised"]] += 1
    for backend, door in sorted(ran):
        print(f"{backend}, {door}: {equal[backend, door]} of {ran[backend, door]} are equal")
    print("raised: " + (", ".join(f"{name} {raised[name]}" for name in raised if name) or "none"))
    print(f"{equal.total()} of {ran.total()} trainings are equal bit for bit")
    return equal == ran


def compare_loop(name: str, in_c: list[str], args: argparse.Namespace) -> bool:
    """Compare another loop with that in C on one thread."""
    print(f"{name}:")
    return compare(in_c, run_checkout(args.checkouts[0], args, LOOPS[name]))


def main() -> None:
    """Read the options, run the trainings, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, help="folders that hold the package: BEFORE and AFTER")
    parser.add_argument("--count", type=int, default=200, help="number of trainings (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn from (%(default)s)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="run this one training alone")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=BACKENDS, help="in turn (all)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the lines of the only checkout")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with lines kept, in place of BEFORE")
    parser.add_argument("--loops", action="store_true", help="compare the loops of NumPy in the only checkout")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--without", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    if len(args.checkouts) != 2 - bool(args.save or args.against or args.loops):
        parser.error("give BEFORE and AFTER, or one checkout with --save or --against")
    if args.loops:
        args.backends = ["numpy"]
    runs = [run_checkout(checkout, args) for checkout in args.checkouts]
    if args.loops:
        equal = [compare_loop(name, runs[0], args) for name in LOOPS]
        return sys.exit(0 if all(equal) else 1)
    if args.save:
        args.save.write_text("\n".join(runs[0]) + "\n")
        return None
    if args.against:
        runs.insert(0, args.against.read_text().splitlines())
    return sys.exit(0 if compare(*runs) else 1)


if __name__ == "__main__":
    main()
