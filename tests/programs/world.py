"""Random networks, data and trainings; a network's clones and its data in other containers; what must be equal."""

import atexit
import copy
import functools
import itertools
import math
import os
import pickle
import random
import shutil
import tempfile
from collections import Counter
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import xpnet
from xpnet import Callback, DivergenceError, EarlyStopping, Ensemble, Network, ReduceLROnPlateau
from xpnet.core import optimizers as table

from . import oracle as known
from . import own

KINDS_OF_NETWORK = [  # task, output activation, cost, outputs for each target
    ("regression", None, None, 1),
    ("regression", "identity", "huber", 1),
    ("regression", None, "huber(0.5)", 1),
    ("regression", None, "absolute", 1),
    ("regression", None, "mse", 1),
    ("regression", None, "mae", 1),
    ("regression", "tanh", None, 1),
    ("regression", "softplus", None, 1),
    ("regression", "exp", "poisson", 1),
    ("regression", "sigmoid", None, 1),
    ("regression", "leaky_relu(0.1)", None, 1),
    ("regression", "relu", "quadratic", 1),
    (None, None, "gaussian", 2),
    (None, None, "gaussian", 2),
    (None, None, "quantile(0.1, 0.5, 0.9)", 3),
    (None, None, "quantile(0.2, 0.8)", 2),
    (None, None, "quantile(0.3)", 1),
    ("classification", None, None, 1),
    ("classification", "softmax", "log_likelihood", 1),
    (None, "softmax", "quadratic", 1),
    (None, "sigmoid", "cross_entropy", 1),
    (None, "tanh", "huber", 1),
    ("binary", None, None, 1),
    ("multilabel", None, None, 1),
    (None, "sigmoid", "mse", 1),
    (None, None, None, 1),
]
HIDDEN = [
    *("sigmoid", "tanh", "relu", "leaky_relu", "leaky_relu(0.1)", "elu", "elu(0.5, 1.0)", "selu"),
    *("softplus", "silu", "gelu", "gelu_tanh", "identity", "softmax"),
]
INITIALIZERS = [
    *("normal", "scaled_normal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform"),
    *("lecun_normal", "orthogonal"),
]
# Each structure compiles on JAX, for half a second: there all programs share these, and the numbers of their examples
FEW_STRUCTURES = [
    {"sizes": [3, 4, 2], "activation": "tanh", "task": "regression", "standardize": True},
    {"sizes": [2, 3], "task": "classification"},
    {"sizes": [2, 5, 4], "activation": "gelu", "cost": "gaussian", "dropout": [0.0, 0.3]},
]
FEW_EXAMPLES, FEW_BATCHES = [8], [3]
LOG_LOSSES = ("log_loss", "calibrated_log_loss")
RANGES = {"sigmoid": (0, 1), "tanh": (-1, 1), "softplus": (0.0625, 3), "relu": (0, 3), "exp": (0.0625, 3)}


class Failure(AssertionError):  # noqa: N818
    """What was promised does not hold; `generate.run` adds where that was, and what had been drawn."""

    kind: str  # by which failures are counted
    place: int  # of the operation in its program
    trace: str
    log: list[str] | None
    settings: dict[str, Any] | None


class Interrupted(Exception):  # noqa: N818
    """What `Interrupt` raises."""


class Interrupt(Callback):
    """Raise once, at a place and after a number of calls there."""

    def __init__(self, where: str, after: int = 0, armed: bool = True) -> None:
        self.where, self.after, self.armed = where, after, armed

    def on_train_begin(self, training: Any) -> None:
        self._come("begin")

    def on_epoch_begin(self, epoch: int) -> None:
        self._come("epoch")

    def on_chunk_end(self, steps: int) -> None:
        self._come("chunk")

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        self._come("end")

    def _come(self, where: str) -> None:
        if not self.armed or where != self.where:
            return
        if self.after == 0:
            self.armed = False
            raise Interrupted(where)
        self.after -= 1


class Meddle(Callback):
    """At the end of an epoch, halves the weights, or stops the training."""

    def __init__(self, epoch: int, act: str) -> None:
        self.epoch, self.act = epoch, act

    def on_train_begin(self, training: Any) -> None:
        self.training = training

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        if logs["epoch"] != self.epoch:
            return
        if self.act == "stop":
            self.training.stopped = True
        else:
            net = self.training.net.copy()
            net.w = [0.5 * to_host(w) for w in net.w]
            self.training.value = net.value


# Files


@functools.cache
def folder() -> str:
    path = tempfile.mkdtemp(prefix="programs")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


_numbers = itertools.count()


def new_path(suffix: str = "") -> str:
    """A path where nothing is."""
    return os.path.join(folder(), f"{next(_numbers)}{suffix}")


def remove_paths() -> None:
    """Remove what a program has written."""
    for entry in os.scandir(folder()):
        shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)


# Places


def place_arguments(place: str) -> dict[str, Any]:
    """What to give to Network to have it at a place."""
    if place == "strict":  # whose other device finds more mistakes
        import array_api_strict

        return {"backend": array_api_strict, "device": array_api_strict.Device("device1")}
    names = {"numpy": "numpy", "torch": "torch", "jax": "jax", "cupy-on-host": "cupy"}
    return {"backend": names[place], "device": "cpu" if place in ("torch", "jax") else None}


def place_of(net: Any) -> dict[str, Any]:
    """What to give to `load` or `to` to have another network where this one is."""
    name, xp = net.backend.name, net.backend.xp
    return {"backend": name if name in ("numpy", "torch", "jax", "cupy") else xp, "device": net.backend.device}


def to_host(a: Any) -> np.ndarray:
    """An array of any library as one of NumPy."""
    if isinstance(a, np.ndarray) or np.isscalar(a):
        return np.asarray(a)
    if hasattr(a, "detach"):
        return a.detach().cpu().numpy()
    if type(a).__module__.startswith("array_api_strict"):
        import array_api_strict

        return np.asarray(a.to_device(array_api_strict.Device("CPU_DEVICE")))
    return a.get() if hasattr(a, "get") else np.asarray(a)


def layers_of(net: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(to_host(w).astype(float), to_host(b).astype(float)) for w, b in net.layers]


# Comparisons


def strip_times(rows: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


def assert_same(a: Any, b: Any, what: str, history: bool = True) -> None:
    """Two networks are the same, bit for bit, and their histories but for times and rounding."""
    if a.fingerprint() != b.fingerprint():
        raise Failure(f"{what}: another network; {describe_difference(a, b)}")
    tolerance = 1e-12 if a.dtype == "float64" else 1e-6  # sums of costs may be divided otherwise
    if history and not same_rows(strip_times(a.history.rows), strip_times(b.history.rows), tolerance):
        raise Failure(f"{what}: another history: {strip_times(a.history.rows)} and {strip_times(b.history.rows)}")


def same_rows(rows: list[dict[str, Any]], others: list[dict[str, Any]], tolerance: float = 0.0) -> bool:
    return len(rows) == len(others) and all(
        row.keys() == other.keys() and all(near(row[name], other[name], tolerance) for name in row)
        for row, other in zip(rows, others)
    )


def near(a: float, b: float, tolerance: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance * max(1.0, abs(b))


def describe_difference(a: Any, b: Any) -> str:
    parts = [(p, q) for pair, other in zip(layers_of(a), layers_of(b)) for p, q in zip(pair, other)]
    if any(p.shape != q.shape for p, q in parts):
        return "the shapes of weights differ"
    largest = max(np.abs(p - q).max(initial=0) for p, q in parts)
    return f"weights differ by {largest:.3g}" if largest else "the weights are equal"


def assert_close(a: Any, b: Any, tolerance: float, what: str, scale: float | None = None) -> None:
    """Two arrays differ by at most `tolerance` times `scale`, the largest number of the second unless given."""
    a, b = to_host(a).astype(float), to_host(b).astype(float)
    if a.shape != b.shape:
        raise Failure(f"{what}: shapes {a.shape} and {b.shape}")
    scale = max(np.abs(b).max(initial=0), 1e-3) if scale is None else scale
    difference = np.abs(a - b).max(initial=0)
    if not difference <= tolerance * scale and np.abs(b).max(initial=0) < np.finfo("float32").max / 100:
        raise Failure(f"{what}: off by {difference:.3g} of {scale:.3g}")


# Networks


def draw_settings(r: random.Random, place: str = "numpy", dtype: str | None = None) -> dict[str, Any]:
    """Arguments of Network."""
    common = {
        **place_arguments(place),
        "seed": r.randrange(10**6),
        "dtype": dtype or r.choice(["float32", "float64"]),
    }
    if place == "jax":
        return {**r.choice(FEW_STRUCTURES), **common}
    task, output, cost, each = r.choice(KINDS_OF_NETWORK)
    targets = {"classification": r.randint(2, 6), "binary": 1}.get(task, r.randint(1, 4))
    hidden = [r.randint(1, 7) for _ in range(r.choice([0, 1, 1, 1, 2, 3]))]
    activations = [r.choice(HIDDEN) if r.random() < 0.9 else r.choice(own.KINDS)(r.choice(own.FACTORS)) for _ in hidden]
    settings = {"sizes": [r.randint(1, 5), *hidden, targets * each], **common}
    if hidden:
        settings["activation"] = activations if r.random() < 0.7 else activations[0]
    given = {"task": task, "output_activation": output, "cost": cost, "init": r.choice([None, None, *INITIALIZERS])}
    settings |= {name: value for name, value in given.items() if value is not None}
    if r.random() < 0.3:
        rates = [r.choice([0.0, 0.3]) for _ in range(len(hidden) + 1)]
        settings["dropout"] = r.choice([0.2, 0.5]) if hidden and r.random() < 0.5 else rates
    kind = r.random()
    if kind < 0.4:
        settings["standardize"] = True
    elif kind < 0.5:
        settings["scale"] = r.choice([1 / 255, 0.5])
    return settings


def make_network(settings: dict[str, Any], **changes: Any) -> Network:
    return Network(**{**settings, **changes})


def make_oracle(net: Any) -> known.Oracle:
    """An oracle with the weights, scaling and generator of a network; its optimizer begins anew."""
    dropout, factors = net.state.dropout, own.find_factors(net)
    hidden = [f"{name}({by})" if by else name for name, by in zip(net.activation, factors)]
    new = known.Oracle(
        net.sizes,
        [*hidden, net.output_activation],
        net.cost_name,
        net.task,
        layers_of(net),
        net.make_rng(),
        dropout=net.dropout,
        dropout_seed=net.seeds.dropout,
        split_seed=net.seeds.split,
        step=0 if dropout is None else int(to_host(dropout.step)[0]),
        standardize=net.standardize,
        scale=net.scale,
    )
    new.scaling = scaling_of(net)
    return new


def scaling_of(net: Any) -> list[np.ndarray] | None:
    return None if net.scaling is None else [part[0] for part in net.scaling if part is not None]


def clone(net: Network, r: random.Random) -> tuple[str, Network]:
    """The same network by a random door, and its name."""
    door = r.choice([door for door in DOORS if door != "pickle" or own.can_pickle(net)])
    return door, DOORS[door](net, r)


def pickle_network(net: Network, r: random.Random) -> Network:
    return pickle.loads(pickle.dumps(net, r.choice([2, 4, 5])))


def reload(net: Network, r: random.Random) -> Network:
    path = new_path(".safetensors")
    net.save(path)
    return Network.load(path, **place_of(net), custom=own.make_all())


def reload_in_ensemble(net: Network, r: random.Random) -> Network:
    path = new_path(".zip")
    Ensemble.of([net]).save(path)
    return Ensemble.load(path, **place_of(net), custom=own.make_all())[0]


DOORS = {
    "copy": lambda net, r: net.copy(),
    "copy.copy": lambda net, r: copy.copy(net),
    "copy.deepcopy": lambda net, r: copy.deepcopy(net),
    "to": lambda net, r: net.to(**place_of(net)),
    "Ensemble.of": lambda net, r: Ensemble.of([net])[0],
    "pickle": pickle_network,
    "save": reload,
    "Ensemble.save": reload_in_ensemble,
}


# Data


class Examples:
    """Random examples for a network: x, y, weights, n. Numbers have few bits, so that each dtype holds them."""

    def __init__(self, net: Any, r: random.Random, n: int | None = None) -> None:
        rng = np.random.default_rng(r.randrange(2**32))
        self.n = n or r.choice(FEW_EXAMPLES if net.backend.name == "jax" else [1, 2, 3, 5, 8, 13, 20, 33])
        self.x = self._draw_inputs(net, r, rng)
        self.y = self._draw_targets(net, r, rng)
        self.weights = rng.integers(0, 5, self.n) / 4.0
        if not self.weights.any():
            self.weights[:] = 1.0
        if r.random() < 0.4:
            self.weights *= 2.0 ** rng.integers(-33, 34, self.n)  # over 20 orders of magnitude

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x, self.y

    def _draw_inputs(self, net: Any, r: random.Random, rng: np.random.Generator) -> np.ndarray:
        n_in = net.sizes[0]
        x = draw_numbers(rng, -2, 2, (self.n, n_in))
        if net.scale and net.scale < 0.1:
            x = rng.integers(0, 256, (self.n, n_in)).astype(float)
        elif net.standardize and r.random() < 0.5:
            x = x * 2.0 ** rng.integers(-1, 4, n_in) + 2.0 * rng.integers(-20, 21, n_in)
        if r.random() < 0.1:
            x[:, r.randrange(n_in)] = 1.0
        return x

    def _draw_targets(self, net: Any, r: random.Random, rng: np.random.Generator) -> np.ndarray:
        k, output, n = known.count_targets(net.cost_name, net.sizes[-1]), net.output_activation, self.n
        if net.task == "classification":
            labels = rng.integers(0, k, n)
            return labels if output != "tanh" and r.random() < 0.6 else np.eye(k)[labels]
        if net.task == "multilabel":
            return rng.integers(0, 2, (n, k)).astype(float)
        if net.task == "binary":
            y = rng.integers(0, 2, (n, 1))
        elif net.cost_name == "poisson":
            y = rng.integers(0, 5, (n, k)).astype(float)
        elif output == "softmax":
            y = known.softmax(draw_numbers(rng, -2, 2, (n, k)))
        else:
            y = draw_numbers(rng, *RANGES.get(output, (-2, 2)), (n, k))
            if output not in RANGES and net.standardize and r.random() < 0.5:
                y = y * 2.0 ** rng.integers(-1, 4, k) + 2.0 * rng.integers(-20, 21, k)
        return y if k > 1 or r.random() < 0.5 else y[:, 0]


def draw_numbers(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of 1/16."""
    return rng.integers(int(low * 16), int(high * 16) + 1, size=shape) / 16.0


class Items:
    """A map-style data set."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], self.y[i]


def make_strided(a: np.ndarray) -> np.ndarray:
    steps = tuple(slice(None, None, 2) for _ in a.shape)
    larger = np.zeros([2 * size for size in a.shape], a.dtype)
    larger[steps] = a
    return larger[steps]


def make_read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def make_memmap(a: np.ndarray) -> np.ndarray:
    path = new_path(".npy")
    np.save(path, a)
    return np.load(path, mmap_mode="r")


@functools.cache
def is_installed(library: str) -> bool:
    """Whether a library is here; programs draw the same without it, and do without what they drew."""
    return find_spec(library) is not None


def make_tensor(a: np.ndarray) -> Any:
    if not is_installed("torch"):
        return a
    import torch

    return torch.tensor(a)


def make_strict(a: np.ndarray) -> Any:
    import array_api_strict

    return array_api_strict.asarray(a)


def make_jax(a: np.ndarray) -> Any:
    if not is_installed("jax"):
        return a
    import jax

    with jax.enable_x64(True):
        return jax.numpy.asarray(a)


CONTAINERS = {
    "as it is": np.asarray,
    "Fortran order": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "a list": lambda a: a.tolist(),
    "read-only": make_read_only,
    "bytes swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "strided": make_strided,
    "a memory map": make_memmap,
    "longdouble": lambda a: a.astype(np.longdouble) if a.dtype.kind == "f" else a,
    "torch": make_tensor,
    "strict": make_strict,
    "jax": make_jax,
}


def vary_array(a: Any, r: random.Random, float32: bool = True) -> tuple[str, Any]:
    """The same numbers in another container, dtype or memory order, and its name."""
    a, names = np.asarray(a), [*CONTAINERS]
    narrow = [*(("float32", "float16") if a.dtype.kind == "f" else ()), "int64", "int32", "uint8"]
    if float32:  # not where the dtype decides in which one means are computed
        with np.errstate(all="ignore"):
            names += [name for name in narrow if np.array_equal(a, a.astype(name))]
    name = r.choice(names)
    return name, a.astype(name) if name in narrow else CONTAINERS[name](a)


def vary_examples(x: Any, y: Any, r: random.Random, float32: bool = True) -> tuple[str, Any]:
    """The same examples in the same order in another form, and its name."""
    form = r.choice(["arrays"] * 4 + ["pairs", "a data set", "a data set of torch", "rows of two axes"])
    if form == "pairs" and len(x) > 1:
        return form, list(zip(x, y))
    if form == "a data set" or (form == "a data set of torch" and not is_installed("torch")):
        return form, Items(x, y)
    if form == "a data set of torch":
        from torch.utils.data import TensorDataset

        return form, TensorDataset(make_tensor(x), make_tensor(y))
    if form == "rows of two axes":
        return form, (x[:, None, :], y)
    (name, x), (other, y) = vary_array(x, r, float32), vary_array(y, r, float32)
    return f"x {name}, y {other}", (x, y)


class Containers:
    """Hands data on as they are, or in other containers, whose names it logs."""

    def __init__(self, world: "World", r: random.Random | None = None) -> None:
        self.world, self.r = world, r
        self.float32 = world.exact or not world.net.standardize

    def array(self, a: Any) -> Any:
        return a if self.r is None else self._log(vary_array(a, self.r, self.float32))

    def examples(self, x: Any, y: Any) -> Any:
        return (x, y) if self.r is None else self._log(vary_examples(x, y, self.r, self.float32))

    def _log(self, varied: tuple[str, Any]) -> Any:
        self.world.log.append(varied[0])
        return varied[1]


# Trainings


def make_optimizer(spec: tuple[Any, ...] | None) -> Any:
    """The optimizer that a tuple of the oracle stands for."""
    if spec is None:
        return None
    kind = table.OPTIMIZERS[spec[0]]
    return kind(make_optimizer(spec[2]), spec[1]) if spec[0] in known.WRAPPERS else kind(**spec[1])


def draw_optimizer(r: random.Random) -> tuple[Any, ...]:
    decay = {"weight_decay": r.choice([0.001, 0.1])} if r.random() < 0.4 else {}
    numbers = r.random() < 0.5
    spec: tuple[Any, ...] = r.choice(
        [
            ("SGD", decay),
            ("SGD", {"momentum": r.choice([0.5, 0.9]), "nesterov": numbers, **decay}),
            ("RMSProp", {**({"rho": 0.9, "epsilon": 1e-4} if numbers else {}), **decay}),
            ("Adam", {**({"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6} if numbers else {}), **decay}),
            ("AdamW", decay),
            ("AdamHat", decay),
        ]
    )
    for _ in range(r.choice([0, 0, 0, 1, 2])):
        spec = (r.choice(known.WRAPPERS), r.choice([0.01, 0.5, 1.0]), spec)
    return spec


def falling(rate: float, step: int, total: int) -> float:
    return rate * (1 - step / total)


def make_schedule(spec: tuple[Any, ...]) -> Any:
    """The schedule that a tuple of the oracle stands for; "falling" is a user's own function."""
    if spec[0] == "falling":
        return functools.partial(falling, spec[1])  # and no lambda, which other processes would not get
    return getattr(xpnet, spec[0])(*spec[1:])


def draw_schedule(r: random.Random) -> tuple[Any, ...]:
    return r.choice(
        [
            ("Constant", r.choice([0.01, 0.1])),
            ("Step", 0.1, 0.5, (0.25, 0.5)),
            ("Exponential", 0.1, 0.01),
            ("InverseScaling", 0.1, 0.5),
            ("Cosine", 0.1, r.choice([0.0, 0.3]), r.choice([0.0, 0.01])),
            ("OneCycle", 0.1, r.choice([0.2, 0.5])),
            ("falling", 0.1),
        ]
    )


def metrics_of(net: Any) -> list[str]:
    """All metrics that a network has."""
    levels, n_out = known.quantile_levels(net.cost_name), net.sizes[-1]
    if len(levels) > 1 and 0.5 not in levels:
        return []
    names = ["mae", "mse", "rmse", *known.LONG_NAMES]
    if net.task == "regression":
        return [*names, "r2"]
    names += ["accuracy", "correct"]
    names += [f"top_{k}" for k in range(1, n_out)] if net.task == "classification" and n_out > 2 else []
    if net.output_activation not in ("softmax", "sigmoid") or net.task == "multilabel":
        return names
    # Of one sigmoid, 1 − p may be nothing but rounding, and so its logarithm
    return [*names, "expected_calibration_error", *(LOG_LOSSES if net.task == "classification" else ())]


def draw_metrics(net: Any, r: random.Random) -> list[str]:
    names = metrics_of(net)
    return r.sample(names, min(len(names), r.randint(0, 3)))


class Training(NamedTuple):
    """A training as Network.train takes it, and as the oracle does."""

    examples: Examples
    options: dict[str, Any]
    expected: dict[str, Any]
    callbacks: list[Any]  # functions of the number of a member that make them

    def make_callbacks(self, member: int = 0) -> list[Any]:
        return [make(member) for make in self.callbacks]


def draw_training(world: "World", r: random.Random, net: Any = None) -> Training:
    """Examples, options and callbacks for a network, that of the world unless given."""
    net = world.net if net is None else net
    is_few = net.backend.name == "jax"
    examples, schedule = Examples(net, r), draw_schedule(r)
    optimizer = None if r.random() < 0.4 else ("Adam", {}) if is_few else draw_optimizer(r)
    same = {  # options that both take in the same form
        "epochs": r.choice([1, 1, 2, 3, 6]),
        "batch_size": r.choice(FEW_BATCHES if is_few else [1, 2, 3, 4, 7, 10, 30]),
        **_draw_weights(net, examples, r),
        **_draw_slopes(net, examples, r),
        **_draw_validation(net, examples, r),
    }
    if r.random() < 0.2:
        same["sampling"] = "replacement"
    if r.random() < 0.2:
        same["training_metrics"] = draw_metrics(net, r)
    chunks = {} if is_few else {"chunk_steps": r.choice([1, 2, 5, 50])}  # or time decides where a training diverges
    callbacks, watches = _draw_callbacks(same, r)
    if r.random() < 0.2:
        epoch, epochs, act = r.randrange(same["epochs"]), same["epochs"], r.choice(["halve", "stop"])
        each = r.random() < 0.5  # of the members, or the first alone
        callbacks.append(lambda member: Meddle(1 + (epoch + member) % epochs if each or not member else 0, act))
        watches["meddle"] = epoch + 1, act
    rate = schedule[1] if schedule[0] == "Constant" and r.random() < 0.5 else make_schedule(schedule)
    options = {**same, **chunks, "lr": rate, "optimizer": make_optimizer(optimizer), "progress": False}
    return Training(examples, options, {**same, "lr": schedule, "optimizer": optimizer, **watches}, callbacks)


def _draw_weights(net: Any, examples: Examples, r: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if r.random() < 0.3:
        options["sample_weight"] = examples.weights
    if net.task in ("classification", "binary") and r.random() < 0.3:
        classes = {k: r.choice([0.5, 1.0, 3.0]) for k in range(max(2, net.sizes[-1])) if r.random() < 0.6}
        options["class_weight"] = "balanced" if r.random() < 0.5 else classes or {0: 2.0}
    return options


SMOOTH = {"sigmoid", "tanh", "softplus", "silu", "gelu_tanh", "exp", "identity"}  # for the oracle's differences


def _draw_slopes(net: Any, examples: Examples, r: random.Random) -> dict[str, Any]:
    """Slopes for a regression without dropout, whose outputs are the targets."""
    has_targets = known.count_targets(net.cost_name, net.sizes[-1]) == net.sizes[-1] and not any(net.dropout)
    names = {sigma.name for sigma in net.value.model.sigmas}
    if net.task != "regression" or not has_targets or not names <= SMOOTH or r.random() < 0.6:
        return {}
    rng = np.random.default_rng(r.randrange(2**32))
    slopes = draw_numbers(rng, -2, 2, (examples.n, net.sizes[-1], net.sizes[0])) * (net.scale or 1.0)
    if r.random() < 0.4:
        slopes[rng.uniform(size=slopes.shape) < 0.3] = np.nan  # but the first, as not all may be missing
        slopes[0, 0, 0] = 1.0
    return {"slopes": slopes, "slope_weight": r.choice([0.25, 1.0, [0.5 * (k % 3) for k in range(net.sizes[0])]])}


def _draw_validation(net: Any, examples: Examples, r: random.Random) -> dict[str, Any]:
    kind = r.random()
    if kind < 0.25 and examples.n >= 5:
        rows = sorted(r.sample(range(examples.n), 2))
        options: dict[str, Any] = {"validation_split": r.choice([0.2, 0.4, rows])}
        examples.weights[examples.weights == 0] = 0.25  # or all that is trained on may have none
    elif kind < 0.5:
        options = {"validation_data": Examples(net, r).data}
    else:
        return {}
    return {**options, "metrics": draw_metrics(net, r)}


def _draw_callbacks(same: dict[str, Any], r: random.Random) -> tuple[list[Any], dict[str, Any]]:
    """Callbacks that watch a quantity, and what the oracle calls them."""
    monitors = ["cost", *(f"training_{name}" for name in same.get("training_metrics", ()))]
    if "metrics" in same:
        monitors += ["validation_cost", *(f"validation_{name}" for name in same["metrics"])]
    monitor, kind = r.choice(monitors), r.random()
    if kind >= 0.45:
        return [], {}
    same["epochs"] *= 2
    if kind < 0.25:
        patience, least, restore = r.choice([1, 2, 3]), r.choice([0.0, 0.05]), r.random() < 0.7
        named = {"monitor": monitor, "min_delta": least, "restore_best": restore}
        return [lambda member: EarlyStopping(patience, **named)], {"stop": (monitor, patience, least, restore)}
    patience, least = r.choice([1, 2, 3]), r.choice([0.0, 0.05, 1e9])  # it improves once by the last, and not again
    named = {"monitor": monitor, "min_delta": least}
    return [lambda member: ReduceLROnPlateau(0.5, patience, **named)], {"plateau": (monitor, 0.5, patience, least)}


# Worlds

SPREADS = 8  # of oracles that round at random, by which a network may differ from an oracle that does not


def describe_end(layers: Any, rows: list[dict[str, Any]] | None) -> dict[str, np.ndarray]:
    """What a training has come to, by name: the weights and biases of each layer, and the columns of the history."""
    parts = [np.concatenate([part.ravel() for part in pair]) for pair in layers]
    end = {f"weights and biases of layer {l}": part for l, part in enumerate(parts, 1)}
    for name in sorted({name for row in rows or () for name in row}):
        end[name] = np.array([row.get(name, math.nan) for row in rows], float)
    return end


def assert_same_ends(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], limits: dict[str, float], tolerance: float, what: str
) -> None:
    """Each part differs by at most its limit, and a tolerance relative to its size."""
    if found.keys() != expected.keys():
        raise Failure(f"{what}: history has {[*found]}, expected {[*expected]}")
    for name, part in expected.items():
        if found[name].shape != part.shape:
            raise Failure(f"{what}: another number of epochs: {found[name]}, expected {part} of {name}")
        scale = np.nanmax(np.abs(part), initial=0.01 if "layer" in name else 1.0)
        is_near = np.abs(found[name] - part) <= tolerance * scale + SPREADS * limits.get(name, 0.0)
        is_near |= (found[name] == part) | (np.isnan(found[name]) & np.isnan(part))
        is_near |= np.isinf(found[name]) & (np.abs(part) > np.finfo("float32").max)
        if not is_near.all():
            off = np.nanmax(np.abs(found[name] - part))
            raise Failure(f"{what}: {name}: off by {off:.3g} of {scale:.3g}: {found[name]}, expected {part}"[:600])


def measure_rounding(run: Any, expected: dict[str, np.ndarray], dtype: str) -> dict[str, float] | None:
    """By how much each part of an end differs with rounding; None if that changes the number of epochs, or diverges.

    ``run(rounding)`` returns the end, or None.
    """
    limits = dict.fromkeys(expected, 0.0)
    for seed in (None, 0, 1, 2, 3):
        end = run(known.Rounding(dtype, seed))
        if end is None or any(part.shape != expected[name].shape for name, part in end.items()):
            return None
        for name, part in end.items():
            limits[name] = max(limits[name], np.nanmax(np.abs(part - expected[name]), initial=0.0))
    layers = [name for name in limits if "layer" in name]
    return limits | dict.fromkeys(layers, max(limits[name] for name in layers))  # in which one it shows is chance


def run_oracle(before: known.Oracle, replay: Any, rounding: Any = known.keep) -> dict[str, np.ndarray] | None:
    """What an oracle comes to that rounds; None if it diverges."""
    oracle = copy.deepcopy(before)
    oracle.round = rounding
    rows = replay(oracle)
    return describe_end(oracle.layers, rows) if oracle.is_finite else None


class World:
    """A network and its oracle, which programs act on.

    Attributes
    ----------
    net : Network
    oracle : Oracle or None
        None if the network is not followed any more.
    settings : dict
        The arguments that the network was made with.
    exact : bool
        Whether it computes in float64, and has done so since its optimizer began.
    place : str
        The name of its place.
    log : list of str
        What the current operation has drawn, for a report.
    skipped : Counter
        How often something was not compared, by the reason.
    """

    def __init__(self, seed: int, place: str = "numpy", dtype: str | None = None) -> None:
        r, self.place, self.net = random.Random(seed), place, None
        while self.net is None:
            self.settings = draw_settings(r, place, dtype)
            try:
                self.net = make_network(self.settings)
            except ValueError as error:  # some outputs do not go with some sizes
                if not any(word in str(error) for word in ("softmax", "contradicts", "one unit")):
                    raise
        self.exact, self.log = self.net.dtype == "float64", []
        self.skipped: Counter[str] = Counter()
        self.oracle: known.Oracle | None = make_oracle(self.net)

    def fingerprint(self) -> str:
        """What an operation that only reads must leave as it is."""
        return self.net.fingerprint()

    def tolerance(self, exact: float = 1e-9, rough: float = 2e-3) -> float:
        """A tolerance for float64, or for float32."""
        return exact if self.exact else rough

    def begin_anew(self) -> None:
        """Follow the network again from where it is, with a fresh optimizer."""
        self.net.reset_optimizer(xpnet.SGD())
        self.oracle, self.exact = make_oracle(self.net), self.net.dtype == "float64"

    @property
    def dtype(self) -> str:
        """In which the network computes, or has computed what its optimizer remembers."""
        return "float64" if self.exact else "float32"

    def in_float64(self) -> "World":
        """This world if it computes in float64, else another one that does, with the same numbers."""
        if self.exact:
            return self
        other = copy.copy(self)
        other.net, other.oracle = self.net.to(**place_of(self.net), dtype="float64"), copy.deepcopy(self.oracle)
        other.exact = True
        return other

    def take_over(self, other: "World") -> None:
        """Go on with the network of another world, from `in_float64`, with a fresh optimizer."""
        if other is not self:
            self.net = other.net.to(**place_of(self.net), dtype=self.net.dtype)
        self.begin_anew()

    def follow(self, replay: Any, what: str, exact: float = 1e-10) -> None:
        """Let the oracle do what the network has done, and compare weights, histories and generators.

        Where they differ by more than a tolerance, oracles that round as the network may do say by how much they may.
        The oracle then takes over the weights of the network, or what an optimizer makes of rounding would add up.

        Parameters
        ----------
        replay
            ``replay(oracle)``; returns the rows of the history, or None.
        what
            Is told of a failure.
        exact
            The tolerance in float64.
        """
        if self.oracle is None:
            return
        before, self.oracle = self.oracle, copy.deepcopy(self.oracle)
        rows = replay(self.oracle)  # before its layers are read
        expected = describe_end(self.oracle.layers, rows)
        found = describe_end(layers_of(self.net), None if rows is None else strip_times(self.net.history.rows))
        need = self.compare(found, expected, functools.partial(run_oracle, before, replay), what, exact)
        if need == "impossible":
            return self.begin_anew()
        if self.oracle.rng.bit_generator.state != self.net.value.generator:
            raise Failure(f"{what}: the generator is in another state")
        self.oracle.layers, self.oracle.scaling = layers_of(self.net), scaling_of(self.net)
        return self.begin_anew() if need == "rounding" else None

    def compare(
        self, found: dict[str, Any], expected: dict[str, Any], run: Any, what: str, exact: float = 1e-10
    ) -> str:
        """Compare two ends within a tolerance, or within what `measure_rounding` of `run` says.

        Returns
        -------
        str
            "nothing" if that was not needed, "rounding" if it was, "impossible" if rounding decides too much.
        """
        tolerance = self.tolerance(exact, 1e-5)
        try:
            assert_same_ends(found, expected, {}, tolerance, what)
            return "nothing"
        except Failure:
            limits = measure_rounding(run, expected, self.dtype)
        if limits is None:
            self.skipped[f"rounding in {self.dtype} decides when a training stops"] += 1
            return "impossible"
        assert_same_ends(found, expected, limits, tolerance, what)
        sizes = {name: np.nanmax(np.abs(part), initial=0.01) for name, part in expected.items() if "layer" in name}
        if any(SPREADS * limits[name] > 0.01 * size for name, size in sizes.items()):
            self.skipped[f"rounding in {self.dtype} may change a layer by 1 %"] += 1
        return "rounding"

    def act(self, r: random.Random, act: Any) -> DivergenceError | None:
        """Do something to the network and to a clone by a random door, with data in other containers.

        Both are the same afterwards, bit for bit.

        Parameters
        ----------
        r
            Draws the door and the containers.
        act
            ``act(net, containers)``, with `Containers`.

        Returns
        -------
        DivergenceError or None
            What both raised.
        """
        door, twin = clone(self.net, r)
        self.log.append(f"clone by {door}")
        assert_same(twin, self.net, f"clone by {door}")
        errors = [attempt(act, self.net, Containers(self)), attempt(act, twin, Containers(self, r))]
        if (errors[0] is None) != (errors[1] is None):
            raise Failure(f"{errors[0] or errors[1]}, but not both of the network and its clone by {door}")
        assert_same(twin, self.net, ", ".join(self.log[-4:]))
        if errors[0] is not None:
            self.begin_anew()  # from before the chunk in which it diverged
        return errors[0]


def attempt(act: Any, net: Any, containers: Containers) -> DivergenceError | None:
    try:
        act(net, containers)
    except DivergenceError as error:
        return error
    return None
