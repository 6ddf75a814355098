"""Whatever is in a file, loading it gives a network of use, or an error that names the file.

Files of all kinds are damaged and forged at random, most with the right checksum afterwards, so that the checks behind
it are reached. `pytest tests/test_fuzz.py -m slow --hypothesis-profile=search` tries many more than the tests do.
"""

import contextlib
import copy
import functools
import hashlib
import itertools
import json
import math
import re
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_checkpoint import seal

from xpnet import (
    L1,
    SGD,
    Adam,
    AdamW,
    Callback,
    CheckpointError,
    Clip,
    CSVLog,
    DivergenceError,
    EarlyStopping,
    MaxNorm,
    Network,
    OneCycle,
    ReduceLROnPlateau,
    RMSProp,
)
from xpnet.checkpoint import archive
from xpnet.core.arrays import leaves
from xpnet.core.optimizers.adam import AdamHat
from xpnet.estimators import MLPClassifier, MLPEnsembleRegressor, MLPRegressor, MLPSearchCV

# What a file says of its scaling may fit the data badly, which says nothing of the file
pytestmark = pytest.mark.filterwarnings("ignore:targets have mean .* and the cost 'gaussian' gives wrong error bars")

SLOWEST = 3.0  # seconds of CPU time that loading or resuming may take, even on a busy machine
SMALL, FACTOR = 400_000, 46  # bytes that it may always allocate, and times the size of the file that it may besides
LONGEST = 4000  # characters of a message
EXTREME = 1e4  # numbers that are larger, or smaller than 1 divided by it, may make a training diverge
N = 11  # examples: by 4, two whole minibatches and a smaller one

# Files to begin with


@dataclass
class Kind:
    """A network, and how it is trained."""

    network: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    has_callbacks: bool = False


class File(NamedTuple):
    """A file that xpnet has written."""

    kind: Kind
    content: bytes
    is_checkpoint: bool


KINDS = [
    Kind({"sizes": [3, 4, 2]}),
    Kind({"sizes": [3, 2], "output_activation": "tanh", "dtype": "float64"}, {"optimizer": SGD(weight_decay=0.1)}),
    Kind(
        {"sizes": [3, 4, 2], "task": "classification", "dropout": 0.5},
        {"optimizer": SGD(momentum=0.9, nesterov=True), "lr": OneCycle(0.1)},
        True,
    ),
    Kind({"sizes": [3, 4, 1], "task": "binary", "activation": "relu"}, {"optimizer": RMSProp()}, True),
    Kind({"sizes": [3, 4, 2], "task": "multilabel", "activation": "leaky_relu(0.2)"}, {"optimizer": Adam()}),
    Kind(
        {"sizes": [3, 4, 2], "task": "regression", "standardize": True, "dropout": [0.2, 0.5], "dtype": "float64"},
        {"optimizer": MaxNorm(Clip(L1(Adam(weight_decay=0.1), 1e-3), 0.5), 1.5)},
        True,
    ),
    Kind({"sizes": [3, 4, 2], "cost": "gaussian", "standardize": True}, {"optimizer": AdamW()}, True),
    Kind({"sizes": [2, 3, 3, 6], "cost": "quantile(0.1, 0.5, 0.9)", "activation": ["elu(0.5)", "gelu"]}),
    Kind({"sizes": [3, 2], "task": "regression", "cost": "huber(0.5)", "scale": 1 / 255}, {"optimizer": AdamHat()}),
    Kind({"sizes": [3, 4, 1], "task": "regression", "output_activation": "exp", "cost": "poisson"}, {"lr": 0.1}),
    Kind({"sizes": [3, 5, 3], "output_activation": "softmax", "activation": "silu"}, {"sampling": "replacement"}),
]


class Interrupt(Callback):
    """Interrupt a training after some chunks of steps."""

    def __init__(self, chunks: float) -> None:
        self.chunks = chunks

    def on_chunk_end(self, steps: int) -> None:
        self.chunks -= 1
        if self.chunks < 0:
            raise KeyboardInterrupt


def make_data(net: Network) -> tuple[np.ndarray, np.ndarray]:
    rng, shape = np.random.default_rng(0), (N, net.view.model.n_targets)
    x = rng.random((N, net.sizes[0]))
    if net.task == "regression":
        return x, np.full(shape, 0.25) + 0.5 * (rng.random(shape) if net.output_activation != "softmax" else 0)
    return x, np.arange(N) % net.sizes[-1] if net.task == "classification" else rng.integers(0, 2, shape)


def train(net: Network, kind: Kind, path: Path, resume: bool, chunks: float = math.inf) -> None:
    callbacks = [EarlyStopping(3, monitor="cost"), ReduceLROnPlateau(0.5, 1, monitor="cost"), CSVLog("log.csv")]
    callbacks = [*(callbacks if kind.has_callbacks else []), Interrupt(chunks)]
    options = {"epochs": 2, "batch_size": 4, "lr": 0.05, "every": 10**6, "progress": False, **kind.training}
    net.train(make_data(net), callbacks=callbacks, checkpoint=path, resume=resume, **options)


@functools.cache
def make_files() -> list[File]:
    """Write the files of all kinds: of networks, and of trainings at the beginning, in the middle, and at the end."""
    files = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for kind in KINDS:
            net = Network(**kind.network, seed=1)
            net.notes = {"labels": ["ja", "ä"], "deep": {"a": [1, 2.5, None, True]}}
            files.append(File(kind, net._encode(), False))
            for chunks in (0, 3, math.inf):
                with contextlib.suppress(KeyboardInterrupt):
                    train(net, kind, Path("run"), False, chunks)
                files.append(File(kind, Path("run").read_bytes(), True))
                Path("run").unlink()
            if net.task == "regression":
                x, y = make_data(net)
                net.calibrate((-x, y))  # not what it was trained on
            files.append(File(kind, net._encode(), False))
    return files


# Values that are not expected

NAMES = (
    *("SGD", "RMSProp", "Adam", "AdamHat", "AdamW", "L1", "Clip", "MaxNorm", "sigmoid", "tanh", "relu", "softmax"),
    *("identity", "exp", "leaky_relu(0.5)", "elu(1e308)", "elu(nan)", "leaky_relu(1e-320)", "huber(1e-320)", "huber"),
    *("cross_entropy", "log_likelihood", "poisson", "gaussian", "quantile(0.5)", "quantile(1e-9,0.5)", "float32"),
    *("float64", "classification", "binary", "multilabel", "regression", "PCG64", "MT19937", "EarlyStopping", "CSVLog"),
    *("F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "C64", "F64", "F32", "I32", "__metadata__"),
    *("", "x", "evil", "ä", "\ud800", "\0", "../../x", "%d", "{}", "%", "1", "9" * 4000, "x" * 20_000),
)
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 2**128 - 1, 2**128, -(2**63)),
    *(10**30, 10**400, 0.5, 1.5, 2.5, -0.5, 0.9999999999, 1e-8, 1e-45, 5e-324, 1e-300, 1e30, 1e38, 3.5e38, 1e300),
    *(-1e300, math.nan, math.inf, -math.inf, "@raw:1e999@", "@raw:-0@", "@raw:1E400@"),
)
ODD = (
    *(None, True, False, [], {}, [[]], [{}], {"": 0}, [0, 0], {"a": 1}, [["name", "SGD"]]),
    *([2**63, 0], [0, 2**63], [2**62, 4], [2**64], [-1], [1] * 70, [2**32, 2**32]),
)
ITEMS = (0, 0.5, "x", [], {}, None, [0, 0.5], {"name": "SGD"}, "@raw:9e9@")
NO_JSON = ("@raw:@", "@raw:}@", "@raw:[1,]@", "@raw:01@", "@raw:x@", "@raw:[[[[[@")
TWEAKS: tuple[Callable[[Any], Any], ...] = (
    *(lambda x: x + 1, lambda x: x - 1, lambda x: -x, lambda x: 2 * x, lambda x: x / 2, lambda x: 1e10 * x),
    *(lambda x: 1e30 * x, lambda x: x * x, float, str),
)
FLOATS = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 5e-324, -1e-45, 1e-38, 1e-20, 1e-7, 1e5, 1e10),
    *(1e19, -1e19, 1e30, -1e30, 3.4e38, -3.4e38, 1e154, 1e300, -1.7e308),
)
TENSORS = (
    *("novelty.mean", "novelty.whitening", "novelty.distances"),
    *("evil", "optimizer.0", "optimizer.9", "optimizer.٣", "layers.9.w", "layers.0.w.x", "dropout.step", "\ud800"),
    *("scaling.y_std", "scaling.y_mean", "callbacks.0.best_state.layers.0.w", "callbacks.9.x.layers.0.w"),
    *(f"callbacks.{'9' * 5000}.x.layers.0.w", "callbacks.0.best.dropout.step", "calibration.1", "calibration.0"),
    "calibration.1.widths",
)
KEYS = ("evil", "", "name", "norm", "optimizer", "momentum", "best_state")
TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I32": np.dtype("<i4")}
MARKS = (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"9", b"-", b"e9", b"\0", b"\xff", b"null")

floats = st.sampled_from([math.nan, math.inf]) | st.sampled_from(FLOATS)
depths = st.sampled_from([5, 50, 150, 400, 900, *range(940, 1000), 100_000])
values = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(NAMES),
    st.sampled_from(ODD).map(copy.deepcopy),
    depths.map(lambda depth: f"@raw:{'[' * depth}{']' * depth}@"),
    st.sampled_from(NO_JSON),
    st.builds(lambda item, n: [copy.copy(item) for _ in range(n)], st.sampled_from(ITEMS), st.sampled_from([10, 5000])),
    st.sampled_from(ITEMS).map(lambda item: {f"{i}": copy.copy(item) for i in range(1000)}),
)


# Changes: functions of hypothesis's `draw`, which change what they get


def write_json(value: Any) -> str:
    """Write JSON, with raw text where a string says so, as '@raw:1e999@' does."""
    return re.sub(r'"@raw:((?:[^"\\]|\\.)*?)@"', lambda match: json.loads(f'"{match[1]}"'), json.dumps(value))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """List all places in nested dicts and lists: the container, and the key or number."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def change_value(draw: Any, record: Any) -> None:
    """Replace, tweak, remove, add or exchange a value of nested JSON."""
    found = [*places(record)]
    # In any part of the record, so that the many values of a training do not hide the others
    parts = [record, *(container[key] for container, key in found if isinstance(container[key], dict))]
    choices = [*places(draw(st.sampled_from(parts)))]
    if not choices:
        return
    container, key = draw(st.sampled_from(choices))
    old, action = container[key], draw(st.sampled_from(["replace", "replace", "tweak", "remove", "add", "exchange"]))
    if action == "tweak" and isinstance(old, (int, float)) and not isinstance(old, bool):
        with contextlib.suppress(OverflowError):
            container[key] = draw(st.sampled_from(TWEAKS))(old)
    elif action == "remove":
        del container[key]
    elif action == "add" and isinstance(container, list):
        container[key : key + 1] = draw(st.sampled_from([[old, old], [old, draw(values)]]))
    elif action == "add":  # a new key, or one that is there twice
        twice = f"@raw:{json.dumps(key)}: {json.dumps(old)}, {json.dumps(key)}@"
        container[draw(st.sampled_from([*KEYS, *map(str, container), twice, twice]))] = draw(values)
    elif action == "exchange":
        other, there = draw(st.sampled_from(found))
        container[key] = json.loads(json.dumps(other[there]))  # a copy, or a value would be in itself
    else:
        container[key] = draw(values)


def change_tensor(draw: Any, tensors: dict[str, list[Any]]) -> None:
    """Change a number of a tensor or all; remove, rename, double, reshape or exchange it, or give it another type."""
    name, new = draw(st.sampled_from([*tensors])), draw(st.sampled_from([*tensors, *TENSORS]))
    dtype, shape, array = tensors[name]
    action = draw(st.sampled_from(["one", "one", "all", "remove", "rename", "double", "type", "reshape", "exchange"]))
    if action in ("one", "all") and array.size:
        number = draw(floats if array.dtype.kind == "f" else st.integers(-(2**31), 2**31 - 1))
        with np.errstate(all="ignore"):
            array.reshape(-1)[slice(None) if action == "all" else draw(st.integers(0, array.size - 1))] = number
    elif action == "remove":
        del tensors[name]
    elif action == "rename":
        tensors[new] = tensors.pop(name)
    elif action == "double":
        tensors[new] = [dtype, shape, array.copy()]
    elif action == "type":
        tensors[name] = [draw(st.sampled_from([*TYPES])), shape, array]
        with np.errstate(all="ignore"):
            tensors[name][2] = array.astype(TYPES[tensors[name][0]])
    elif action == "reshape":
        flat, axis = array.reshape(-1), draw(st.integers(0, len(shape)))
        longer = [*shape[:axis], draw(st.sampled_from([0, 1, 2])), *shape[axis:]]
        shapes = [shape[::-1], longer, [len(flat)], [len(flat) + 1], [], [0], [0, 2**63], [1] * 40]
        shape = draw(st.sampled_from(shapes))
        tensors[name] = [dtype, shape, np.resize(flat, min(math.prod(shape), 1000))]
    else:
        other = draw(st.sampled_from([*tensors]))
        tensors[name], tensors[other] = tensors[other], tensors[name]


def forge(draw: Any, content: bytes) -> bytes:
    """Change what is in a file: its record, its tensors, or what its header says of these."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    record = json.loads(header.pop("__metadata__")["xpnet"])
    tensors = {}
    for name, entry in header.items():
        array = np.frombuffer(content[end:][slice(*entry["data_offsets"])], TYPES[entry["dtype"]])
        tensors[name] = [entry["dtype"], entry["shape"], array.copy()]
    lies = False
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 6]))):
        action = draw(st.sampled_from(["record", "record", "record", "tensor", "tensor", "lie"]))
        lies = lies or action == "lie"
        if action == "tensor" and tensors:
            change_tensor(draw, tensors)
        else:
            change_value(draw, record)
    entries, body = {}, b""
    for name, (dtype, shape, array) in tensors.items():
        offsets = [len(body), len(body) + array.nbytes]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        body += array.tobytes()
    header = {"__metadata__": {"xpnet": write_json({**record, "checksum": "0" * 64})}, **entries}
    if lies:
        change_value(draw, header)
    head = write_json(header).encode("utf-8", "surrogatepass")
    return len(head).to_bytes(8, "little") + head + body


def damage(draw: Any, content: bytes) -> bytes:
    """Change the bytes of a file, without regard to what it holds: often its first ones, or its header."""
    end = 8 + int.from_bytes(content[:8], "little")
    most = draw(st.sampled_from([8, min(end, len(content)), len(content)]))
    start, length = draw(st.integers(0, max(0, most - 1))), draw(st.sampled_from([0, 1, 2, 4, 8, 64, 500, 10**6]))
    part, rest = content[start : start + length], content[start + length :]
    other = draw(st.sampled_from(make_files())).content
    replacements = [b"", part * 2, part * 50, other[start : start + length], draw(st.sampled_from(MARKS))]
    replacements += [draw(st.binary(min_size=min(length, 8), max_size=8)), bytes(byte ^ 16 for byte in part)]
    return content[:start] + draw(st.sampled_from(replacements)) + rest


@st.composite
def hostile_files(draw: Any) -> tuple[File, bytes, bool]:
    """Draw a file, what it was changed to, and whether its checksum is made right."""
    file = draw(st.sampled_from(make_files()))
    content, actions = file.content, draw(st.sampled_from(["forge", "forge", "forge", "damage", "forge, damage"]))
    content = forge(draw, content) if "forge" in actions else content
    content = damage(draw, content) if "damage" in actions else content
    return file, content, draw(st.sampled_from([True, True, True, True, False]))


# Fits of estimators, and searches

FIT: dict[str, Any] = {"hidden_layer_sizes": (3,), "batch_size": 5, "max_iter": 3, "random_state": 0}
STEPS = {**FIT, "solver": "sgd", "n_iter_no_change": 1}
EARLY = {**FIT, "validation_fraction": 0.3, "early_stopping": "loss", "standardize": True, "dropout": 0.1}
FITS: dict[str, Callable[[], Any]] = {
    "adam": lambda: MLPClassifier(**FIT),
    "adaptive": lambda: MLPRegressor(**STEPS, learning_rate="adaptive", tol=0.5),
    "invscaling": lambda: MLPClassifier(**STEPS, learning_rate="invscaling"),
    "early stopping": lambda: MLPRegressor(**EARLY),
    "ensemble": lambda: MLPEnsembleRegressor(n_estimators=2, **EARLY),
    "search": lambda: MLPSearchCV(MLPClassifier(**FIT), {"alpha": [0.1, 1.0]}, cv=2, return_train_score=True),
}
X, Y = np.random.default_rng(1).standard_normal((2, 12, 3))
Y = (Y[:, 0] > 0).astype(int)


def fit(name: str, path: Path, chunks: float = math.inf, **options: Any) -> Any:
    estimator = FITS[name]()
    if name != "search":
        estimator.set_params(callbacks=[Interrupt(chunks)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        return estimator.fit(X, Y, checkpoint=path, **options)


@functools.cache
def make_fits() -> dict[str, bytes]:
    """Write the checkpoints of fits that were interrupted in the second epoch, and of a search that has ended."""
    for name in FITS:
        fit(name, Path(name), chunks=1)
    return {name: Path(name).read_bytes() for name in FITS}


def seal_search(record: dict[str, Any]) -> bytes:
    text = write_json(record)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f'{text[:-1]}, "checksum": "{digest}"}}\n'.encode("utf-8", "surrogatepass")


@st.composite
def hostile_fits(draw: Any) -> tuple[str, bytes]:
    """Draw a fit or a search, and what its file is changed to, with the right checksum."""
    name = draw(st.sampled_from([*FITS]))
    content = make_fits()[name]
    if name == "search":
        record = json.loads(content)
        del record["checksum"]
        record["fits"] = record["fits"][: draw(st.sampled_from([0, 1, 2]))]
        change_value(draw, record)
        return name, seal_search(record)
    members = archive.decode(content, name) if name == "ensemble" else [content]
    path, parts = Path("member"), []
    for k, member in enumerate(members):
        path.write_bytes(forge(draw, member) if k == 0 else member)
        seal(path)
        parts.append(path.read_bytes())
    return name, archive.encode(parts) if name == "ensemble" else parts[0]


# What may come of a file


def is_extreme(net: Network, record: dict[str, Any]) -> bool:
    """Whether a network holds numbers with which predictions may overflow, and training may diverge."""
    described = json.dumps([record["settings"], record["optimizer"], (record.get("training") or {}).get("lr_scale")])
    numbers = re.findall(r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|Infinity", described)
    arrays = [
        np.asarray(array) for array in leaves((net.w, net.b, net.scaling, net.calibration, net.state.optimizer.memory))
    ]
    deviations = [] if net.scaling is None else leaves((net.scaling.x_std, net.scaling.y_std))
    largest = max([*(float(abs(array).max()) for array in arrays), *map(float, numbers)])
    return largest > EXTREME or min((float(std.min()) for std in deviations), default=1.0) < 1 / EXTREME


def try_file(path: Path, kind: Kind, resume: bool, measures_memory: bool = False) -> str:
    """Load a file, or resume the training in it, use the network, and say what came of it; else raise."""
    net = Network(**kind.network, seed=2)
    tracemalloc.start() if measures_memory else None
    try:
        with limits(path.stat().st_size):
            if resume:
                train(net, kind, path, True)
            else:
                net = Network.load(path)
    except (CheckpointError, ValueError) as error:
        check_refusal(error, path, resume)
        return "refused"
    except DivergenceError:
        assert resume
        assert is_extreme(Network.load(path), read_record(path))
        return "diverged"
    return use(net, is_extreme(net, read_record(path)))


def check_refusal(error: Exception, path: Path, resume: bool) -> None:
    """An error names the file; one that is no CheckpointError names a difference to the training that is resumed."""
    text = str(error)
    assert str(path) in text
    assert len(text) < LONGEST
    assert isinstance(error, CheckpointError) or (resume and re.search("give the same|are fewer than", text)), text


@contextlib.contextmanager
def limits(size: int) -> Iterator[None]:
    """Fail if the block takes long, or much memory for a file of this size, if that is traced."""
    started = time.process_time()
    try:
        yield
    finally:
        seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seconds < SLOWEST
        assert peak < SMALL + FACTOR * size


def read_record(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["xpnet"])


def use(net: Network, extreme: bool) -> str:
    """Do with a network what people do with one."""
    data = make_data(net)
    repr((net, net.history))
    assert extreme or np.isfinite(net.predict(data[0])).all(), "predictions are not finite"
    net.copy().save("again")
    states = [leaves(each.state._replace(cost=None)) for each in (net, Network.load("again"))]
    assert all(np.array_equal(a, b) for a, b in zip(*states, strict=True)), "saved and loaded it is another network"
    try:
        net.train(data, epochs=1, batch_size=8, lr=0.01, progress=False)
    except DivergenceError:
        assert extreme
        return "diverged"
    return "trained"


# The tests


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Files are written to the current folder, without waiting for the disk; what is imported for them is, before."""
    with contextlib.chdir(tmp_path_factory.mktemp("fuzz")), mock.patch("os.fsync"):
        with mock.patch("time.perf_counter", itertools.count().__next__):  # or files differ in the seconds they hold
            make_files()
        yield


def try_hostile_file(file: File, content: bytes, is_sealed: bool) -> list[str]:
    """Load it, and resume it if it was a checkpoint; one in four with its memory measured, which takes time."""
    outcomes, path = [], Path("hostile")
    for way in ("loaded", "resumed")[: 1 + file.is_checkpoint]:
        path.write_bytes(content)
        if is_sealed:
            seal(path)
        outcomes.append(f"{way}: {try_file(path, file.kind, way == 'resumed', measures_memory=len(content) % 4 == 0)}")
    return outcomes


@pytest.mark.slow
def test_the_files_to_begin_with_load_and_resume():
    for file in make_files()[::5]:
        assert {*try_hostile_file(file, file.content, False)} <= {"loaded: trained", "resumed: trained"}


@pytest.mark.slow
def test_a_hostile_file_is_a_network_of_use_or_refused_by_name():
    """Some of them are the one, and some the other."""
    outcomes = Counter()

    @settings(max_examples=max(200, settings().max_examples), suppress_health_check=[*HealthCheck])
    @given(hostile_files())
    def try_many(drawn):
        outcomes.update(try_hostile_file(*drawn))

    try_many()
    assert {*outcomes} >= {f"{way}: {what}" for way in ("loaded", "resumed") for what in ("trained", "refused")}


@pytest.mark.slow
def test_a_hostile_file_of_a_fit_or_a_search_is_resumed_or_refused_by_name():
    outcomes = Counter()

    @settings(max_examples=max(200, settings().max_examples), suppress_health_check=[*HealthCheck])
    @given(hostile_fits())
    def try_many(drawn):
        name, content = drawn
        path = Path("hostile")
        path.write_bytes(content)
        try:
            with limits(len(content)):
                fit(name, path, resume=True).predict(X)
            outcomes["resumed"] += 1
        except (CheckpointError, ValueError) as error:
            if not isinstance(error.__cause__, DivergenceError):  # by forged numbers
                check_refusal(error, path, True)
            outcomes["refused"] += 1

    try_many()
    assert {*outcomes} == {"resumed", "refused"}


@pytest.mark.parametrize("error", [KeyError("x"), UserWarning("x"), CheckpointError("no file is named"), MemoryError()])
def test_anything_else_is_a_failure(monkeypatch, error):
    monkeypatch.setattr(Network, "load", mock.Mock(side_effect=error))
    with pytest.raises(AssertionError if isinstance(error, CheckpointError) else type(error)):
        try_hostile_file(make_files()[0], b"", False)


def test_a_network_that_predicts_nan_without_reason_is_a_failure(monkeypatch):
    monkeypatch.setattr(Network, "predict", lambda net, x: np.array([np.nan]))
    with pytest.raises(AssertionError, match="predictions are not finite"):
        try_hostile_file(make_files()[0], make_files()[0].content, False)
