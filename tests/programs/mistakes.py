"""Mistakes: every public door refuses a wrong argument with an error of xpnet's that says where, and changes nothing.

Two tables are crossed: the doors with the kind of each of their arguments, and for each kind the values that are wrong.
"""

import inspect
import math
import os
import reprlib
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple

import numpy as np

import xpnet
from xpnet import (
    L1,
    LBFGS,
    SGD,
    Adam,
    ArgumentError,
    CheckpointError,
    DivergenceError,
    EarlyStopping,
    Ensemble,
    LevenbergMarquardt,
    ModelCheckpoint,
    Network,
    ReduceLROnPlateau,
    RMSProp,
)

from . import own
from .generate import Operation, register
from .world import (
    Examples,
    Failure,
    Interrupt,
    Interrupted,
    World,
    assert_same,
    make_network,
    metrics_of,
    new_path,
    place_of,
)

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)


class Case(NamedTuple):
    """What is called: a network, or an ensemble; and right examples for it."""

    target: Any
    net: Network  # the target itself, or its first member
    examples: Examples

    @property
    def members(self) -> int:
        """The number of networks."""
        return 1 if self.target is self.net else len(self.target)


# A kind of argument: the values that are wrong, or a function that lists those that are for a network
Kind = list[Any] | Callable[[Case], list[Any]]


def list_wrong(kind: Kind, case: Case) -> list[Any]:
    return kind if isinstance(kind, list) else kind(case)


# None is one of them wherever it is not the default

NOT_NUMBERS = "3", "nope", "", [], [1.0], {}, object(), np.ones(2), 1j
NOT_ARRAYS = 5, "nope", [["a"]], {1: 2}, object(), [[1, 2], [3]], len
FOLDER = tempfile.gettempdir()
FLAGS = [*NOT_NUMBERS, 0, 1, math.nan]
NAMES = [*NOT_NUMBERS, 3, 2.5, True]
FRACTIONS = [*NOT_NUMBERS, len, True, math.nan, 0, 1, 1.5, -0.5]
NONNEGATIVE = [*NOT_NUMBERS, len, True, math.nan, math.inf, -1]
POSITIVE, BELOW_1 = [*NONNEGATIVE, 0], [*NONNEGATIVE, 1, 1.5]
FACTORS = [*NOT_NUMBERS, len, True, 0, 0.0, math.nan, math.inf, 1e400]
SEEDS = ["3", "nope", {}, object(), len, -1, 1.5, math.nan]
THREADS = [*NOT_NUMBERS, 0, -1, 1.5, 10**6, "AUTO"]
RESUMPTIONS = [*FLAGS, True]  # which needs a checkpoint
MOMENTS = [0, -1, 1.5, "nope", "", [], {}, object(), np.ones(3), timedelta(0), timedelta(-1), math.nan]
FILE_NAMES = [3, 2.5, [], {}, object(), np.ones(2)]
PATHS = [*FILE_NAMES, os.path.join(FOLDER, "nowhere", "x"), FOLDER]
BACKENDS = ["numppy", "", 3, [], {}, object(), math]
DEVICES = ["tpu:3", "nope", "", 5.5, [], {}, object()]
DTYPES = ["float16", "double", "", 3, int, np.int32, "int32", [], {}, object()]
COSTS = [3, "nope", "", [], {}, object(), len, "huber(0)", "huber(-1)", "huber(1, 2)", "quantile()", "quantile(2)"]
WRAPPED = [3, "nope", "", SGD, [], {}, object(), len, 0.1]
POINTS = [3, 0.5, "nope", {}, object(), [1.5], [-0.1], ["a"], [None], [math.nan], len]
LEVEL_LISTS = [0.9, "nope", [], {}, object(), *([p] for p in (0, 1, 2.0, math.nan, "a", None)), np.ones((2, 2)) / 2]
MONITORS = [3, 2.5, [], {}, object(), len, True, np.ones(3)]
SCALINGS = [3, "nope", (1, 2), [None], {}, object(), np.ones(2)]


def at_least(least: int) -> list[Any]:
    """What is no whole number of at least `least`."""
    return [*NOT_NUMBERS, len, True, 1.5, math.nan, math.inf, least - 1, -7]


def rates(case: Case) -> list[Any]:
    """Finite numbers of at least 0, or functions; an ensemble takes a list with one for each member."""
    wrong = ["3", "nope", "", [], {}, object(), np.ones(case.members + 1), 1j, SGD, True, -0.1, [-0.1] * case.members]
    return [*wrong, math.nan, math.inf, -math.inf, [0.1] * (case.members + 1), np.ones((2, 2))]


def inputs(case: Case) -> list[Any]:
    """Inputs, one row or several."""
    x, n_in = case.examples.x, case.net.sizes[0]
    wide = np.ones((3, n_in + 1))
    wrong = [
        *NOT_ARRAYS[n_in == 1 :],
        wide,
        wide[0],
        wide[:, :0],
        x.astype(str),
        x.astype(complex),
        x[:, None, None, 1:],
    ]
    return wrong


def targets(case: Case) -> list[Any]:
    """Targets of the examples, and of nothing else."""
    y = np.asarray(case.examples.y)
    wide = np.ones((len(y), case.net.sizes[-1] + 7))
    return [*NOT_ARRAYS, y[:-1], y[:0], wide, y.astype(str), y.astype(complex), np.full(y.shape, np.nan)]


def examples(case: Case) -> list[Any]:
    """Pairs of inputs and targets."""
    x, y = case.examples.x, case.examples.y
    nan = np.full(x.shape, np.nan)
    return [
        *(5, "nope", object(), {}, [], len, x, (x,), (x, y, y), (x[:0], y[:0]), iter([]), [(x[0],)], [3]),
        *((wrong, y) for wrong in (*NOT_ARRAYS, x[:-1], x[:, :0], np.ones((len(x), x.shape[1] + 1)), nan, None)),
        *((x, wrong) for wrong in (*targets(case), None)),
    ]


def example_weights(case: Case) -> list[Any]:
    """Weights of the examples: numbers of at least 0, not all of them 0."""
    one = np.ones(case.examples.n)
    return [*NOT_ARRAYS, one[:-1], -one, 0 * one, one[:, None] * [1, 1], np.nan * one, np.inf * one, "balanced", 2.0]


def class_weights(case: Case) -> list[Any]:
    """Weights of classes, for tasks that have classes."""
    wrong = [{99: 1}, {-1: 1}, {"a": 1}, {0: -1}, {0: "a"}, {0: math.nan}, {0: math.inf}, {0: 0, 1: 0, 2: 0}, {0: [1]}]
    has_classes = case.net.task in ("classification", "binary")
    return [
        *wrong[: 9 if case.net.sizes[-1] < 4 else 7],
        "balancedd",
        3,
        [1.0, 2.0],
        *([] if has_classes else ["balanced"]),
    ]


def slopes(case: Case) -> list[Any]:
    """Derivatives of the targets of a regression, one for each of the outputs."""
    good = np.ones((case.examples.n, case.net.sizes[-1], case.net.sizes[0]))
    has_none = case.net.task != "regression" or case.net.value.model.n_targets < case.net.sizes[-1]
    return [
        *NOT_ARRAYS,
        good[:-1],
        good[..., None],
        good * np.nan,
        good * np.inf,
        good + 1j,
        *([good] if has_none else []),
    ]


def metric_lists(case: Case) -> list[Any]:
    """Lists of metrics for the task."""
    other = "accuracy" if case.net.task == "regression" else "r2"
    return ["mae", 3, {}, object(), ["nope"], [3], [None], ["top_99"], ["top_0"], [other], ["mae", "mae"], [int]]


def callback_lists(case: Case) -> list[Any]:
    """Lists of callbacks; for an ensemble also functions that make them."""
    one = EarlyStopping(monitor="cost")
    wrong = [3, "nope", [3], EarlyStopping, [EarlyStopping], one, [one, one], [EarlyStopping(monitor="nope")], object()]
    return [
        *wrong,
        *([len] if case.target is case.net else [lambda: [], lambda k: one, lambda k: [one]][: case.members + 1]),
    ]


def optimizers(case: Case) -> list[Any]:
    """Optimizers; an ensemble takes a list with one of the same kind for each member."""
    wrong = [3, "sgdd", "", SGD, object(), len, {}, [], [SGD()] * (case.members + 1), [3] * case.members]
    return [*wrong, *([[SGD(), Adam()]] if case.members == 2 else [])]


def rows_of_members(case: Case) -> list[Any]:
    """For each member, rows of the examples."""
    n, k = case.examples.n, case.members
    parts = [[n], [-1], [0.5], [], [True] * n, [[0]], 0, "0", None, ["a"], [[0], [0, 1]], [0, np.nan], [2**40]]
    return [3, "nope", {}, object(), np.arange(n), [[0]] * (k + 1), [], *([part] * k for part in parts)]


def weight_lists(case: Case) -> list[Any]:
    """A matrix for each layer."""
    return _parameters([np.asarray(case.net.backend.to_numpy(w)) for w in case.net.w])


def bias_lists(case: Case) -> list[Any]:
    """A vector for each layer."""
    return _parameters([np.asarray(case.net.backend.to_numpy(b)) for b in case.net.b])


def _parameters(arrays: list[np.ndarray]) -> list[Any]:
    last = [
        [np.ones((*array.shape, 2)), array * np.nan, array * np.inf, array + 1j, "a", None] for array in arrays[-1:]
    ]
    return [3, "nope", {}, object(), [], arrays[:-1], [*arrays, arrays[0]], *([*arrays[:-1], each] for each in last[0])]


def layer_lists(case: Case) -> list[Any]:
    """A pair of weights and biases for each layer."""
    layers = [(w, b) for w, b in case.net.layers]
    wrong = [(w, w) for w, _ in layers], [(b, b) for _, b in layers], [(w, b, b) for w, b in layers]
    return [
        3,
        "nope",
        {},
        object(),
        [],
        layers[:-1],
        [*layers, layers[0]],
        [3] * len(layers),
        wrong[1],
        wrong[2],
        case.net.w,
    ]


def column_names(case: Case) -> list[Any]:
    """A different text for each input."""
    n = case.net.sizes[0]
    return [3, "a" * n, [1] * n, ["a"] * (n + 1), [], object(), [None] * n, *([["a"] * n] if n > 1 else [])]


def cotangents(case: Case) -> list[Any]:
    """Gradients with respect to the outputs."""
    good = np.ones((case.examples.n, case.net.sizes[-1]))
    return [*NOT_ARRAYS, good[:-1], good[:, 1:], good[:, :, None], good + 1j, np.ones((case.examples.n, 99))]


def levels(case: Case) -> list[Any]:
    """Levels of intervals; with quantiles, there are few."""
    return [*FRACTIONS, *([0.123456] if case.net.cost_name.startswith("quantile") else [])]


def networks(case: Case) -> list[Any]:
    """Networks with the same settings."""
    net = case.net
    other = Network([net.sizes[0] + 1, 1], **place_of(net))
    return [3, "nope", net, [], [3], [net, 5], [net, other], {}, object()]


# Of constructors


def size_lists(case: Case) -> list[Any]:
    """Numbers of units."""
    wrong = [
        3,
        "32",
        {3, 2},
        {},
        object(),
        [],
        [3],
        [3, 0],
        [-1, 2],
        [3, 2.0],
        [3, "2"],
        [3, None],
        [True, 2],
        [[3], 2],
    ]
    return [*wrong, np.array(3), len, [3, math.nan]]


def activations(case: Case) -> list[Any]:
    """Activations of hidden layers, for all or for each."""
    hidden = len(case.net.sizes) - 2
    return [3, "nope", "", object(), len, {}, ["tanh"] * (hidden + 1), ["nope"] * max(1, hidden), [3] * max(1, hidden)]


def dropouts(case: Case) -> list[Any]:
    """Rates of dropout, for the hidden layers or for each that can drop."""
    layers = len(case.net.sizes) - 1
    return ["3", "nope", {}, object(), True, 1, 1.5, -0.1, math.nan, [0.1] * (layers + 1), [1] * layers, ["a"] * layers]


# The arguments of each door, and the kind of each. Those without a default are given a right value, unless it is
# their turn to be wrong

OF_TRAIN = {
    "train_data": examples,
    "epochs": at_least(0),
    "batch_size": at_least(1),
    "lr": rates,
    "test_data": examples,
    "optimizer": optimizers,
    "sampling": NAMES,
    "validation_data": examples,
    "validation_split": FRACTIONS,
    "sample_weight": example_weights,
    "class_weight": class_weights,
    "slopes": slopes,
    "slope_weight": [*NONNEGATIVE, 2.0, [1.0] * 99],  # which needs slopes
    "callbacks": callback_lists,
    "metrics": metric_lists,
    "training_metrics": metric_lists,
    "steps": at_least(1),
    "chunk_steps": at_least(1),
    "cache": FLAGS,
    "checkpoint": PATHS,
    "every": MOMENTS,
    "resume": RESUMPTIONS,
    "progress": FLAGS,
}
OF_BOTH: dict[str, dict[str, Kind]] = {
    "forward": {"x": inputs},
    "sample": {"x": inputs, "n": at_least(1)},
    "predict": {"x": inputs, "return_std": FLAGS},
    "predict_proba": {"x": inputs},
    "predict_jacobian": {"x": inputs, "return_std": FLAGS},
    "jacobian": {"x": inputs},
    "value_and_jacobian": {"x": inputs},
    "hessian": {"x": inputs},
    "vjp": {"x": inputs, "g": cotangents},
    "measure": {"data": examples, "metrics": metric_lists},
    "evaluate": {"test_data": examples},
    "accuracy": {"data": examples},
    "cost": {"data": examples},
    "calibrate": {"validation_data": examples},
    "coverage": {"data": examples, "levels": LEVEL_LISTS},
    "interval": {"x": inputs, "level": levels},
    "fit_novelty": {"x": inputs},
    "novelty": {"x": inputs},
    "save": {"path": PATHS},
    "to": {"backend": BACKENDS, "device": DEVICES, "dtype": DTYPES},
    "of": {"networks": networks},
    "load": {"path": PATHS, "backend": BACKENDS},
    "feature_names =": {"feature_names": column_names},
}
FIXED = {f"{name} =": {name: NAMES} for name in ("sizes", "dropout", "cost", "optimizer", "seed", "lr", "dropot")}
OF_NETWORK = {
    **OF_BOTH,
    **FIXED,
    "train": {**OF_TRAIN, "blas_threads": THREADS, "distributed": BACKENDS},
    "minibatch_update": {"batch": examples, "lr": rates},
    "reset_optimizer": {"optimizer": optimizers},
    "fit_scaling": {"data": examples},
    "split_rows": {"data": examples, "split": FRACTIONS},
    "dropout_masks": {"step": at_least(0), "m": at_least(1)},
    "predict_std": {"x": inputs},
    "activations": {"x": inputs},
    "backward": {"x": inputs, "y": targets},
    "deltas": {"x": inputs, "y": targets},
    "hvp": {"x": inputs, "y": targets, "direction": layer_lists},
    "w =": {"w": weight_lists},
    "b =": {"b": bias_lists},
    "layers =": {"layers": layer_lists},
    "scaling =": {"scaling": SCALINGS},
}
OF_ENSEMBLE = {
    **OF_BOTH,
    "train": {**OF_TRAIN, "rows": rows_of_members, "validation_rows": rows_of_members, "threads": THREADS},
    "predict_proba": {"x": inputs, "return_std": FLAGS},
    "jacobian": {"x": inputs, "return_std": FLAGS},
    "value_and_jacobian": {"x": inputs, "return_std": FLAGS},
    "hessian": {"x": inputs, "return_std": FLAGS},
    "vjp": {"x": inputs, "g": cotangents, "return_std": FLAGS},
    "cost": {"data": examples, "return_std": FLAGS},
    "calibrate": {"validation_data": examples, "rows": rows_of_members},
    "best": {"data": examples, "metric": NAMES},
}


# That messages use for an argument; not every network has the quantiles of a level
OTHER_NAMES = {"levels": ["level"], "networks": ["network"], "layers": ["w[", "b["], "x": ["level="]}


# The arguments of constructors

OF_SETTINGS = {
    "sizes": size_lists,
    "activation": activations,
    "output_activation": NAMES,
    "cost": COSTS,
    "task": NAMES,
    "init": NAMES,
    "dropout": dropouts,
    "scale": FACTORS,
    "standardize": FLAGS,
    "backend": BACKENDS,
    "device": DEVICES,
    "dtype": DTYPES,
    "seed": SEEDS,
}
WATCHED = {"monitor": MONITORS, "mode": NAMES, "min_delta": NONNEGATIVE}
# What is made, right arguments without which it cannot be made, and the kinds of its arguments
CONSTRUCTORS: list[tuple[Callable[..., Any], dict[str, Any], dict[str, Kind]]] = [
    (Network, {}, OF_SETTINGS),
    (Ensemble, {"members": 2}, {**OF_SETTINGS, "members": at_least(1)}),
    (SGD, {}, {"momentum": BELOW_1, "nesterov": FLAGS, "weight_decay": NONNEGATIVE}),
    (RMSProp, {}, {"rho": BELOW_1, "epsilon": POSITIVE, "weight_decay": NONNEGATIVE}),
    (Adam, {}, {"beta1": BELOW_1, "beta2": BELOW_1, "epsilon": POSITIVE, "weight_decay": NONNEGATIVE}),
    (LBFGS, {}, {"weight_decay": NONNEGATIVE, "history": at_least(1)}),
    (LevenbergMarquardt, {}, {"damping": POSITIVE, "weight_decay": NONNEGATIVE}),
    (L1, {"optimizer": SGD(), "strength": 0.1}, {"optimizer": WRAPPED, "strength": NONNEGATIVE}),
    (xpnet.Clip, {"optimizer": SGD(), "limit": 1.0}, {"optimizer": WRAPPED, "limit": POSITIVE}),
    (xpnet.MaxNorm, {"optimizer": SGD(), "limit": 1.0}, {"optimizer": WRAPPED, "limit": POSITIVE}),
    (xpnet.Constant, {"lr": 0.1}, {"lr": NONNEGATIVE}),
    (xpnet.Step, {"lr": 0.1}, {"lr": NONNEGATIVE, "factor": NONNEGATIVE, "at": POINTS}),
    (xpnet.Exponential, {"lr": 0.1, "final": 0.01}, {"lr": POSITIVE, "final": POSITIVE}),
    (xpnet.InverseScaling, {"lr": 0.1}, {"lr": NONNEGATIVE, "power": NONNEGATIVE}),
    (xpnet.Cosine, {"peak": 0.1}, {"peak": NONNEGATIVE, "warmup": BELOW_1, "final": NONNEGATIVE}),
    (xpnet.OneCycle, {"peak": 0.1}, {"peak": NONNEGATIVE, "warmup": BELOW_1}),
    (EarlyStopping, {}, {**WATCHED, "patience": at_least(1), "restore_best": FLAGS}),
    (ReduceLROnPlateau, {}, {**WATCHED, "patience": at_least(1), "factor": FRACTIONS, "least": BELOW_1}),
    (ModelCheckpoint, {"path": "x"}, {"path": FILE_NAMES, "monitor": MONITORS, "mode": NAMES}),
    (xpnet.CSVLog, {"path": "x"}, {"path": FILE_NAMES}),
]


def right_value(name: str, case: Case) -> Any:
    """Return a right value of an argument that has no default."""
    given = case.examples
    if name in ("train_data", "validation_data", "test_data", "data", "batch"):
        return given.x, given.y
    if name == "path":
        path = new_path(".safetensors")
        case.target.save(path)
        return path
    g = np.ones((given.n, case.net.sizes[-1]))
    rest = {"split": 0.5, "step": 0, "m": 1, "lr": 0.1}
    return {"x": given.x, "y": given.y, "g": g, "direction": case.net.layers, **rest}[name]


def accompany(argument: str, case: Case) -> dict[str, Any]:
    """Return other arguments, without which this one would be refused or not be read."""
    return {
        "metrics": {"validation_data": right_value("data", case)},
        "every": {"checkpoint": new_path(".safetensors")},
    }.get(argument, {})


def call(case: Case, door: str, arguments: Mapping[str, Any]) -> None:
    """Call a method, or assign."""
    name, is_assignment, _ = door.partition(" =")
    if is_assignment:
        setattr(case.target, name, *arguments.values())
    elif door == "of":
        Ensemble.of(**arguments)
    else:
        getattr(case.target, name)(**arguments)


def draw_mistake(case: Case, r: Random) -> tuple[str, str, dict[str, Any]]:
    """Draw a door, one of its arguments, and a call in which this one is wrong."""
    doors = OF_NETWORK if case.target is case.net else OF_ENSEMBLE
    door = r.choice([*doors, *["train"] * 12])  # which has by far the most arguments
    argument = r.choice([*doors[door]])
    parameters: dict[str, Any] = {}
    if "=" not in door:
        parameters = dict(inspect.signature(getattr(Ensemble if door == "of" else type(case.target), door)).parameters)
        parameters.pop("self", None)
    wrong = list_wrong(doors[door][argument], case)
    if "=" not in door and parameters[argument].default is not None:
        wrong = [*wrong, None]
    arguments = accompany(argument, case) if door == "train" else {}
    for name, parameter in parameters.items():
        if name != argument and parameter.default is inspect.Parameter.empty:
            arguments[name] = right_value(name, case)
    if door == "train":
        arguments["progress"] = False
    return door, argument, {**arguments, argument: r.choice(wrong)}


def describe(door: str, argument: str, arguments: Mapping[str, Any]) -> str:
    """What is wrong about a call, in one line."""
    return f"{door}({argument}): {reprlib.repr(arguments[argument])}"


def require_refusal(
    what: str, door: str, argument: str, function: Callable[..., Any], *arguments: Any, **named: Any
) -> None:
    """Require that a call is refused by xpnet, with an error about an argument that names it."""
    try:
        function(*arguments, **named)
    except OSError as error:
        if argument not in ("path", "checkpoint"):
            raise Failure(f"{what}: {error!r}") from error
    except ArgumentError as error:
        require_message(what, door, argument, error)
    except AttributeError as error:
        if door not in FIXED:
            raise Failure(f"{what}: {error!r}") from error
        require_message(what, door, argument, error)
    except Exception as error:
        raise Failure(f"{what}: {error!r}") from error
    else:
        raise Failure(f"{what} is accepted")


def require_message(what: str, door: str, argument: str, error: Exception) -> None:
    """Require that an error comes from a line of xpnet, in one short line that names the argument, or the method."""
    where = traceback.extract_tb(error.__traceback__)[-1].filename
    if f"{os.sep}xpnet{os.sep}" not in where:
        raise Failure(f"{what}: raised by {where}: {error!r}") from error
    text = str(error)
    if len(text) > 800 or "\n" in text or not text:
        raise Failure(f"{what}: the message has {len(text)} characters: {text}") from error
    if not any(name in text for name in (argument, door, *OTHER_NAMES.get(argument, ()))):
        raise Failure(f"{what}: the message does not name {argument}: {text}") from error


SEVERAL = 6  # mistakes of an operation: each takes a millisecond, and there are thousands


@operation(6, reads=True)
def mistake(world: World, r: Random) -> None:
    """A network refuses wrong arguments, and is as before."""
    make_mistakes(world, Case(world.net, world.net, Examples(world.net, r, 24)), [world.net], r)


@operation(3, reads=True)
def mistake_with_ensemble(world: World, r: Random) -> None:
    """An ensemble refuses wrong arguments, and all its members are as before."""
    members = [make_network(world.settings, seed=r.randrange(100)) for _ in range(r.choice([1, 2, 3]))]
    ensemble = Ensemble.of(members)
    make_mistakes(world, Case(ensemble, ensemble[0], Examples(ensemble[0], r, 24)), [*ensemble], r)


def make_mistakes(world: World, case: Case, networks: list[Network], r: Random) -> None:
    before = [net.copy() for net in networks]
    for _ in range(SEVERAL):
        door, argument, arguments = draw_mistake(case, r)
        what = describe(f"{type(case.target).__name__}.{door}", argument, arguments)
        world.log.append(what)
        require_refusal(what, door, argument, call, case, door, arguments)
        for k, (net, old) in enumerate(zip(networks, before)):
            assert_same(net, old, f"network {k} after the refused {what}")


@operation(3, reads=True)
def mistake_in_constructor(world: World, r: Random) -> None:
    """A network, an optimizer, a schedule or a callback is not made with a wrong argument."""
    case = Case(world.net, world.net, Examples(world.net, r, 1))
    for _ in range(2 * SEVERAL):
        make, right, kinds = r.choice([*CONSTRUCTORS, *CONSTRUCTORS[:2] * 4])
        argument = r.choice([*kinds])
        arguments = {**(world.settings if kinds.keys() >= OF_SETTINGS.keys() else {}), **right}
        if argument in ("cost", "output_activation"):
            arguments.pop("task", None)  # which would be what contradicts them
        arguments[argument] = r.choice(list_wrong(kinds[argument], case))
        what = describe(make.__name__, argument, arguments)
        world.log.append(what)
        require_refusal(what, make.__name__, argument, make, **arguments)


# Arguments that are wrong together, or at the wrong time: what is called, the error, and a word of its message

Refusal = tuple[Callable[[], Any], type[Exception] | tuple[type[Exception], ...], str]


def train(case: Case, **options: Any) -> Callable[[], Any]:
    data = case.examples.x, case.examples.y
    return partial(case.target.train, **{"train_data": data, "progress": False, **options})


def two_validations(case: Case, r: Random) -> Refusal:
    return train(case, validation_split=0.5, validation_data=right_value("data", case)), ArgumentError, "contradicts"


def metrics_of_nothing(case: Case, r: Random) -> Refusal:
    return train(case, metrics=["mae"]), ArgumentError, "metrics"


def monitor_of_nothing(case: Case, r: Random) -> Refusal:
    return train(case, callbacks=[r.choice([EarlyStopping, ReduceLROnPlateau])()]), ArgumentError, "validation_cost"


def weights_of_batches(case: Case, r: Random) -> Refusal:
    x, y = case.examples.x, case.examples.y
    batches = [(x[start : start + 4], y[start : start + 4]) for start in range(0, len(x), 4)]
    options = {"sample_weight": case.examples.weights, "validation_split": 0.5}
    name = r.choice([*options])
    return train(case, train_data=iter(batches), epochs=1, **{name: options[name]}), ArgumentError, name


def steps_of_least_squares(case: Case, r: Random) -> Refusal:
    options = {"batch_size": 3, "lr": 0.1, "sampling": "shuffle"}
    name = r.choice([*options])
    words = name if case.net.cost_name in ("quadratic", "mse") else ""  # or the cost is refused
    return train(case, optimizer=LevenbergMarquardt(), **{name: options[name]}), ArgumentError, words


def occupied_checkpoint(case: Case, r: Random) -> Refusal:
    return train(case, checkpoint=right_value("path", case)), FileExistsError, "resume=True"


def resumed_without_training(case: Case, r: Random) -> Refusal:
    return train(case, checkpoint=right_value("path", case), resume=True), CheckpointError, "no training"


def resume_otherwise(case: Case, options: dict[str, Any], name: str, value: Any) -> Refusal:
    """A training that was interrupted cannot be resumed with another value of an option."""
    path, other = new_path(".safetensors"), case.target.copy()
    with suppress(Interrupted, DivergenceError):
        train(case._replace(target=other), **options, checkpoint=path, callbacks=[Interrupt("end")])()
    options = {**options, "callbacks": [Interrupt("end", armed=False)], name: value}
    return train(case, **options, checkpoint=path, resume=True), ArgumentError, name.removesuffix("s")  # one of several


def other_training(case: Case, r: Random) -> Refusal:
    x, y = right_value("data", case)
    differences = {"batch_size": 6, "lr": 0.02, "optimizer": Adam(), "sampling": "replacement", "train_data": (-x, y)}
    name = r.choice([*differences])
    options = {"epochs": 3, "batch_size": 5, "lr": 0.01, "optimizer": SGD(momentum=0.5)}
    return resume_otherwise(case, options, name, differences[name])


def describe_settings(net: Network) -> dict[str, Any]:
    """Arguments of a network like this one, without its own functions."""
    settings = {name: getattr(net, name) for name in ("sizes", "task", "dropout", "scale", "standardize", "dtype")}
    return settings | {"activation": net.activation, "cost": net.cost_name, **place_of(net)}


def value_of_another(case: Case, r: Random) -> Refusal | None:
    """A value belongs to networks with equal settings: not to others of the same shapes."""
    net = case.net
    changes: dict[str, Any] = {
        "activation": [r.choice(["tanh", "gelu", "relu"]) for _ in net.activation],
        "cost": r.choice(["huber(0.7)", "absolute", "mse"]),
        "standardize": not net.standardize and net.scale is None,
        "dropout": [0.45] * len(net.dropout),
    }
    name = r.choice([*changes])
    if "bend" in net.activation or getattr(net, "cost_name" if name == "cost" else name) == changes[name]:
        return None
    try:
        other = Network(**{**describe_settings(net), name: changes[name]})
    except ValueError:  # some costs do not go with some outputs
        return None
    return partial(setattr, net, "value", other.value), ArgumentError, "value"


def other_seed(case: Case, r: Random) -> Refusal | None:
    """A training is resumed with the seed that it was begun with."""
    path, net = new_path(".safetensors"), case.net
    if "bend" in net.activation or net.provenance.seed is None:
        return None
    try:
        same, other = (Network(**describe_settings(net), seed=seed) for seed in (7, 8))
    except ValueError:  # some costs do not go with a task
        return None
    if case.target is not net:
        same, other = (Ensemble.of([each, each]) for each in (same, other))
    options = {"epochs": 3, "lr": 0.01, "checkpoint": path}
    with suppress(Interrupted, DivergenceError):
        train(case._replace(target=same), **options, callbacks=[Interrupt("end")])()
    if not os.path.exists(path):
        return None
    options |= {"callbacks": [Interrupt("end", armed=False)], "resume": True}
    return train(case._replace(target=other), **options), (ArgumentError, CheckpointError), "seed"


def other_activation(case: Case, r: Random) -> Refusal:
    """An activation of one's own is another one if its factor is: not the name tells, but what it is."""
    kind, factors, path = r.choice(own.KINDS), r.sample(own.FACTORS, 3), new_path(".safetensors")
    shape = {"sizes": [2, 3, 3, 1], "task": "regression", "seed": 0, **place_of(case.net)}
    net, other = (Network(**shape, activation=[kind(by), kind(by)]) for by in factors[:2])
    if net.fingerprint() == other.fingerprint():
        raise Failure(f"the fingerprints of networks with {kind(factors[0])} and {kind(factors[1])} are equal")
    how, data = r.choice(["value", "load", "resume"]), (np.ones((4, 2)), np.ones(4))
    if how == "value":
        return partial(setattr, other, "value", net.value), ArgumentError, "value"
    if how == "load":
        net.save(path)
        return partial(Network.load, path, custom=[kind(by) for by in factors[1:]]), CheckpointError, "custom"
    net.train(data, epochs=1, checkpoint=path, progress=False)
    return (
        partial(other.train, data, epochs=2, checkpoint=path, resume=True, progress=False),
        ArgumentError,
        "activation",
    )


def other_function(case: Case, r: Random) -> Refusal | None:
    """The code of a metric is the same, and its arguments are not."""
    if not metrics_of(case.net):
        return None
    own, other = ([partial(constant, number)] for number in r.sample(range(9), 2))
    options = {"epochs": 3, "lr": 0.01, "validation_data": right_value("data", case), "metrics": own}
    return resume_otherwise(case, options, "metrics", other)


def constant(number: float, y: Any, a: Any) -> float:
    return float(number)


def damaged_file(case: Case, r: Random) -> Refusal:
    path = right_value("path", case)
    with open(path, "rb") as file:
        content = file.read()
    place = r.randrange(len(content))
    flipped = content[:place] + bytes([content[place] ^ (1 << r.randrange(8))]) + content[place + 1 :]
    with open(path, "wb") as file:
        file.write(r.choice([b"", b"nonsense", content[:place], content + b"\0", flipped]))
    return partial(type(case.target).load, path), CheckpointError, ""


def file_of_another_kind(case: Case, r: Random) -> Refusal:
    other = Ensemble if case.target is case.net else Network
    return partial(other.load, right_value("path", case)), CheckpointError, ""


def error_of_a_callback(case: Case, r: Random) -> Refusal:
    return train(case, callbacks=[Interrupt("begin")]), Interrupted, ""


def no_classes(case: Case, r: Random) -> Refusal | None:
    data, x = right_value("data", case), case.examples.x
    calls = {"predict_proba": x, "evaluate": data, "accuracy": data}
    name = r.choice([*calls])
    return (
        None
        if case.net.task != "regression"
        else (partial(getattr(case.target, name), calls[name]), ArgumentError, name)
    )


def no_regression(case: Case, r: Random) -> Refusal | None:
    data, x = right_value("data", case), case.examples.x
    name, value = r.choice([("interval", x), ("coverage", data), ("predict_jacobian", x)])
    return None if case.net.task == "regression" else (partial(getattr(case.target, name), value), ArgumentError, name)


def no_novelty(case: Case, r: Random) -> Refusal | None:
    other = make_like(case)
    return partial(other.novelty, case.examples.x), ArgumentError, "fit_novelty"


def make_like(case: Case) -> Any:
    """A copy that no longer knows how novel rows are."""
    other = case.target.copy()
    for net in [other] if case.target is case.net else other:
        net.scaling = net.scaling
    return other


CONTRADICTIONS = [
    *(two_validations, metrics_of_nothing, monitor_of_nothing, weights_of_batches, steps_of_least_squares),
    *(occupied_checkpoint, resumed_without_training, other_training, *[other_function] * 3),
    *(value_of_another, value_of_another, other_seed, other_activation, other_activation),
    *(damaged_file, file_of_another_kind),
    *(error_of_a_callback, no_classes, no_regression, no_novelty),
]


@operation(6, reads=True)
def contradiction(world: World, r: Random) -> None:
    """What is wrong only together, or at the wrong time, changes nothing either."""
    is_ensemble = r.random() < 0.4
    target = Ensemble.of([world.net, world.net]) if is_ensemble else world.net
    case = Case(target, target[0] if is_ensemble else target, Examples(world.net, r, 24))
    make = r.choice(CONTRADICTIONS)
    what = f"{make.__name__}{' of an ensemble' if is_ensemble else ''}"
    refusal = make(case, r)
    if refusal is None:
        return
    call_wrongly, kind, word = refusal
    before = target.copy()
    try:
        call_wrongly()
    except kind as error:
        if word not in str(error):
            raise Failure(f"{what}: the message does not say {word}: {error}") from error
    except Exception as error:
        raise Failure(f"{what}: {error!r}") from error
    else:
        raise Failure(f"{what}: accepted")
    for net, old in zip(target, before) if is_ensemble else [(target, before)]:
        assert_same(net, old, f"after {what}")
