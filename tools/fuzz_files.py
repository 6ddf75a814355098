"""Load many damaged and hostile files: python tools/fuzz_files.py --number 100000 [--seed 1] [--seconds 600].

Files of all kinds (optimizers, costs, dropout, scaling, notes, trainings that were interrupted) are changed at random:
their settings, the names, types, shapes and numbers of their tensors, the text of their header, their bytes. Most get
the right checksum afterwards, so that the checks behind it are reached. Each file is then loaded, and many
checkpoints are resumed too. All that may happen is

- a network, which predicts, trains one step, and is saved and loaded again. Training may diverge, but only where the
  file holds extreme numbers;
- a CheckpointError that names the file; for a training that is resumed, also a ValueError that names a difference.

Anything else is a failure: another exception, a warning, a second of CPU time, or memory beyond a multiple of the
file's size. It is printed with the number of the file; `--only NUMBER`, with the same seed, tries that file again. A
process that hangs shows its stack and ends.

`fuzz_files_by_coverage.py`, beside this file, goes on from the files that reach new lines of xpnet.
"""

import argparse
import copy
import faulthandler
import functools
import hashlib
import itertools
import json
import math
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

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
from xpnet.core.arrays import leaves
from xpnet.core.optimizers.adam import AdamHat

TOGETHER = 500  # files of one task of a process
SLOWEST = 1.0  # seconds of CPU time that a file may take
SMALL = 400_000  # bytes that loading or resuming may always take, however small the file is
FACTOR = 46  # times the file's size that it may take besides; a list in a list has 2 bytes in JSON, and 96 in Python
LONGEST = 4000  # characters of a message
EXTREME = 1e4  # numbers that are larger, or smaller than 1 divided by it, may make a training diverge

N = 11  # examples: by 4, two whole minibatches and a smaller one
LOG = "log.csv"


# Files to begin with


class Kind(NamedTuple):
    """A network, and how it is trained."""

    network: dict[str, Any]
    training: dict[str, Any]
    callbacks: Callable[[], list[Callback]] = list


class Seed(NamedTuple):
    """A file that xpnet has written."""

    kind: Kind
    content: bytes
    is_checkpoint: bool


def all_callbacks() -> list[Callback]:
    """Make a callback of each kind that remembers something."""
    return [EarlyStopping(3, monitor="cost"), ReduceLROnPlateau(0.5, 1, monitor="cost"), CSVLog(LOG)]


KINDS = [
    Kind({"sizes": [3, 4, 2]}, {}),
    Kind({"sizes": [3, 2], "output_activation": "tanh", "dtype": "float64"}, {"optimizer": SGD(weight_decay=0.1)}),
    Kind(
        {"sizes": [3, 4, 2], "task": "classification", "dropout": 0.5},
        {"optimizer": SGD(momentum=0.9, nesterov=True), "lr": OneCycle(0.1)},
        all_callbacks,
    ),
    Kind({"sizes": [3, 4, 1], "task": "binary", "activation": "relu"}, {"optimizer": RMSProp()}, all_callbacks),
    Kind({"sizes": [3, 4, 2], "task": "multilabel", "activation": "leaky_relu(0.2)"}, {"optimizer": Adam()}),
    Kind(
        {"sizes": [3, 4, 2], "task": "regression", "standardize": True, "dropout": [0.2, 0.5], "dtype": "float64"},
        {"optimizer": MaxNorm(Clip(L1(Adam(weight_decay=0.1), 1e-3), 0.5), 1.5)},
        all_callbacks,
    ),
    Kind({"sizes": [3, 4, 2], "cost": "gaussian", "standardize": True}, {"optimizer": AdamW()}, all_callbacks),
    Kind({"sizes": [2, 3, 3, 6], "cost": "quantile(0.1, 0.5, 0.9)", "activation": ["elu(0.5)", "gelu"]}, {}),
    Kind({"sizes": [3, 2], "task": "regression", "cost": "huber(0.5)", "scale": 1 / 255}, {"optimizer": AdamHat()}),
    Kind({"sizes": [3, 4, 1], "task": "regression", "output_activation": "exp", "cost": "poisson"}, {"lr": 0.1}),
    Kind({"sizes": [3, 5, 3], "output_activation": "softmax", "activation": "silu"}, {"sampling": "replacement"}),
]


class Interrupt(Callback):
    """Interrupt a training after some chunks of steps."""

    def __init__(self, chunks: float = math.inf) -> None:
        self.chunks = chunks

    def on_chunk_end(self, steps: int) -> None:
        """Count the chunks."""
        self.chunks -= 1
        if self.chunks < 0:
            raise KeyboardInterrupt


def make_data(net: Network) -> tuple[np.ndarray, np.ndarray]:
    """Make examples for any network."""
    rng, shape = np.random.default_rng(0), (N, net.view.model.n_targets)
    x = rng.random((N, net.sizes[0]))
    if net.task == "regression":
        return x, np.full(shape, 0.25) + 0.5 * (rng.random(shape) if net.output_activation != "softmax" else 0)
    if net.task == "classification":
        return x, np.arange(N) % net.sizes[-1]
    return x, rng.integers(0, 2, shape)


def train(net: Network, kind: Kind, path: Path, resume: bool, chunks: float = math.inf) -> None:
    """Train a network as it is usual for its kind, with a checkpoint."""
    options = {"epochs": 2, "batch_size": 4, "lr": 0.05, "every": 10**6, "progress": False, **kind.training}
    net.train(
        make_data(net), callbacks=[*kind.callbacks(), Interrupt(chunks)], checkpoint=path, resume=resume, **options
    )


@functools.cache
def make_seeds() -> list[Seed]:
    """Write files of all kinds, in the current folder; they are the same each time."""
    with mock.patch("time.perf_counter", itertools.count().__next__):  # files hold the seconds of an epoch
        return [seed for kind in KINDS for seed in make_seeds_of(kind)]


def make_seeds_of(kind: Kind) -> list[Seed]:
    """Write files of one kind: of a network and its checkpoints, from the beginning to the end of its training."""
    path, seeds = Path("seed"), []
    net = Network(**kind.network, seed=1)
    net.notes = {"labels": ["ja", "ä"], "deep": {"a": [1, 2.5, None, True]}}
    net.save(path)
    seeds.append(Seed(kind, path.read_bytes(), False))
    for chunks in (0, 1, 3, 4, math.inf):  # at the beginning, in the middle of an epoch, and at the end
        path.unlink()
        with suppress(KeyboardInterrupt):
            train(net, kind, path, False, chunks)
        seeds.append(Seed(kind, path.read_bytes(), True))
    net.save(path)
    seeds.append(Seed(kind, path.read_bytes(), False))
    path.unlink()
    return seeds


# Changes


class Tensor(NamedTuple):
    """A tensor of a file."""

    dtype: str
    shape: list[Any]
    content: bytes


class Parts(NamedTuple):
    """A file in its parts."""

    record: dict[str, Any]  # the JSON in the metadata
    tensors: dict[str, Tensor]


def take_apart(content: bytes) -> Parts:
    """Take a file apart."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    record = json.loads(header.pop("__metadata__")["xpnet"])
    return Parts(
        record,
        {
            name: Tensor(entry["dtype"], entry["shape"], content[end:][slice(*entry["data_offsets"])])
            for name, entry in header.items()
        },
    )


def put_together(parts: Parts, rng: random.Random) -> bytes:
    """Put a file together, and perhaps lie about its tensors."""
    entries, body = {}, b""
    for name, tensor in parts.tensors.items():
        offsets = [len(body), len(body) + len(tensor.content)]
        entries[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
        body += tensor.content
    text = write_json({**parts.record, "checksum": "0" * 64} if rng.random() < 0.98 else parts.record)
    header: dict[str, Any] = {"__metadata__": {"xpnet": text}, **entries}
    if entries and rng.random() < 0.05:
        lie(rng.choice([*entries.values()]), rng)
    if rng.random() < 0.02:
        change_value(header, rng)
    head = write_json(header).encode("utf-8", "surrogatepass")
    if rng.random() < 0.02:
        head += b" " * rng.choice([1, 8, 10_000])
    length = len(head) if rng.random() < 0.98 else rng.choice([0, 1, len(head) - 1, len(head) + 1, 2**63, 2**64 - 1])
    if rng.random() < 0.02:
        body = rng.choice([b"", body[:-1], body + b"\0", body * 2])
    return length.to_bytes(8, "little") + head + body


def lie(entry: dict[str, Any], rng: random.Random) -> None:
    """Let the entry of a tensor say something else than is there."""
    start, end = entry["data_offsets"]
    numbers = [0, 1, -1, start, end, start - 1, start + 1, end - 1, end + 1, 2**31, 2**63 - 1, 2**63, 2**64, 1.5, None]
    which = rng.randrange(3)
    if which == 0:
        entry["data_offsets"] = [rng.choice(numbers), rng.choice([end, rng.choice(numbers)])]
    elif which == 1:
        entry["shape"] = rng.choice([[2**63, 0], [0, 2**63], [2**62, 4], [2**64], [-1], [1] * 70, [2**32, 2**32]])
    else:
        entry["dtype"] = rng.choice(["F16", "BF16", "F8_E4M3", "F4", "I64", "U8", "BOOL", "C64", "F64", "evil", "", 5])


def seal(content: bytes) -> bytes:
    """Give a file the right checksum, if it has any."""
    before = b'\\"checksum\\": \\"'
    start = content.find(before) + len(before)
    if start < len(before) or start + 64 > len(content):
        return content
    zeros = content[:start] + b"0" * 64 + content[start + 64 :]
    return content[:start] + hashlib.sha256(zeros).hexdigest().encode() + content[start + 64 :]


RAW = re.compile(r'"@raw:(.*?)@"')  # text that no value in Python is written as


def write_json(value: Any) -> str:
    """Write JSON, with raw text where a string says so."""
    return RAW.sub(lambda match: json.loads(f'"{match[1]}"'), json.dumps(value))


NAMES = (
    *("SGD", "RMSProp", "Adam", "AdamHat", "AdamW", "L1", "Clip", "MaxNorm", "sigmoid", "tanh", "relu", "softmax"),
    *("identity", "exp", "leaky_relu(0.5)", "elu(1e308)", "elu(nan)", "leaky_relu(1e-320)", "huber(1e-320)", "huber"),
    *("cross_entropy", "log_likelihood", "poisson", "gaussian", "quantile(0.5)", "quantile(1e-9,0.5)", "float32"),
    *("float64", "classification", "binary", "multilabel", "regression", "PCG64", "MT19937", "EarlyStopping", "CSVLog"),
    *("", "x", "evil", "ä", "\ud800", "\0", "../../x", "%d", "{}", "%", "1", "9" * 4000, "x" * 20_000),
)
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 2**128 - 1, 2**128, -(2**63)),
    *(10**30, 10**400, 0.5, 1.5, 2.5, -0.5, 0.9999999999, 1e-8, 1e-45, 5e-324, 1e-300, 1e30, 1e38, 3.5e38, 1e300),
    *(-1e300, math.nan, math.inf, -math.inf, "@raw:1e999@", "@raw:-0@", "@raw:1E400@"),
)
ODD = (None, True, False, [], {}, [[]], [{}], {"": 0}, [0, 0], {"a": 1}, [["name", "SGD"]])


TWEAKS: tuple[Callable[[Any], Any], ...] = (
    *(lambda x: x + 1, lambda x: x - 1, lambda x: -x, lambda x: 2 * x, lambda x: x / 2, lambda x: 1e10 * x),
    *(lambda x: 1e30 * x, lambda x: x * x, float, str),
)


def make_value(rng: random.Random) -> Any:
    """Make any JSON value, among them deep and long ones."""
    which = rng.random()
    if which < 0.4:
        return rng.choice(NUMBERS)
    if which < 0.65:
        return rng.choice(NAMES)
    if which < 0.9:
        return copy.deepcopy(rng.choice(ODD))
    depth = rng.choice([5, 50, 150, 400, 900, *range(940, 1000), 100_000])
    if which < 0.93:
        return f"@raw:{'[' * depth}{']' * depth}@"
    if which < 0.94:
        return rng.choice(["@raw:@", "@raw:}@", "@raw:[1,]@", "@raw:01@", "@raw:x@", f"@raw:{'[' * depth}@"])
    item = rng.choice([0, 0.5, "x", [], {}, None, [0, 0.5], {"name": "SGD"}, "@raw:9e9@"])
    length = rng.choice([10, 100, 5000])
    items = [copy.copy(item) for _ in range(length)]  # or a change of one would change all, and changes would multiply
    return items if which < 0.985 else {f"{i}": item for i, item in enumerate(items)}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """List all places in nested dicts and lists: the container, and the key or number."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def change_value(record: dict[str, Any], rng: random.Random) -> None:
    """Change, remove, add, or exchange values of nested JSON."""
    choices = [*places(record)]
    if not choices:
        return
    container, key = rng.choice(choices)
    which, old = rng.random(), container[key]
    if which < 0.45:
        container[key] = make_value(rng)
    elif which < 0.65 and isinstance(old, (int, float)) and not isinstance(old, bool):
        with suppress(OverflowError):
            container[key] = rng.choice(TWEAKS)(old)
    elif which < 0.75:
        del container[key]
    elif which < 0.85:
        other, there = rng.choice(choices)
        if json.dumps(old) not in json.dumps(other[there]):  # no value in itself
            container[key] = json.loads(json.dumps(other[there]))
    elif isinstance(container, dict):
        # A key that is there twice, or one that is new
        name = rng.choice(["evil", "", "name", "norm", "optimizer", "momentum", "best_state", *map(str, container)])
        if rng.random() < 0.5:
            name = f"@raw:{json.dumps(key)}: {json.dumps(old)}, {json.dumps(key)}@"
        container[name] = make_value(rng)
    else:
        container[key : key + 1] = rng.choice([[old, old], [], [old, make_value(rng)]])


FLOATS = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 5e-324, -1e-45, 1e-38, 1e-20, 1e-7, 1e5, 1e10),
    *(1e19, -1e19, 1e30, -1e30, 3.4e38, -3.4e38, 1e154, 1e300, -1.7e308),
)


WIDTHS = {"F16": 2, "F32": 4, "F64": 8, "I32": 4, "I64": 8, "U8": 1, "BF16": 2, "BOOL": 1}
TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I32": np.dtype("<i4")}
TENSORS = (
    *("evil", "optimizer.0", "optimizer.9", "optimizer.٣", "layers.9.w", "layers.0.w.x", "dropout.step", "\ud800"),
    *("scaling.y_std", "scaling.y_mean", "callbacks.0.best_state.layers.0.w", "callbacks.9.x.layers.0.w"),
    *(f"callbacks.{'9' * 5000}.x.layers.0.w", "callbacks.0.best.dropout.step"),
)


def change_tensor(tensors: dict[str, Tensor], rng: random.Random) -> None:
    """Change, remove, add, rename, retype, reshape or exchange tensors."""
    name, which = rng.choice([*tensors]), rng.random()
    tensor = tensors[name]
    if which < 0.55 and tensor.dtype in TYPES:
        tensors[name] = change_numbers(tensor, rng)
    elif which < 0.62:
        del tensors[name]
    elif which < 0.70:
        tensors[rng.choice([*tensors, *TENSORS])] = tensor
    elif which < 0.76:
        tensors[rng.choice([*tensors, *TENSORS, name + "0", name.upper()])] = tensors.pop(name)
    elif which < 0.82:
        dtype = rng.choice([*WIDTHS])
        content = bytes(WIDTHS[dtype] * (len(tensor.content) // WIDTHS[tensor.dtype]))
        tensors[name] = Tensor(dtype, tensor.shape, content)
    elif which < 0.93:
        tensors[name] = reshape(tensor, rng)
    else:
        other = rng.choice([*tensors])
        tensors[name], tensors[other] = tensors[other], tensors[name]


def change_numbers(tensor: Tensor, rng: random.Random) -> Tensor:
    """Change one number of a tensor, or all."""
    array = np.frombuffer(tensor.content, TYPES[tensor.dtype]).copy()
    number = rng.choice(FLOATS) if array.dtype.kind == "f" else rng.randrange(-(2**31), 2**31)
    with np.errstate(all="ignore"):
        number = np.array(number).astype(array.dtype)
    if rng.random() < 0.4:
        array[...] = number
    elif len(array):
        array[rng.randrange(len(array))] = number
    return tensor._replace(content=array.tobytes())


def reshape(tensor: Tensor, rng: random.Random) -> Tensor:
    """Give a tensor another shape, and as many bytes as go with it, if they are not too many."""
    shape, which = [*tensor.shape], rng.randrange(5)
    if which == 0:
        shape.reverse()
    elif which == 1:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice([0, 1, 1, 2]))
    elif which == 2 and shape:
        shape[rng.randrange(len(shape))] += rng.choice([1, -1])
    elif which == 3:
        shape = [math.prod(shape)]
    else:
        shape = rng.choice([[], [0], [0, 2**63], [0, 2**64 - 1], [1] * 40])
    count = math.prod(shape)
    content = (4 * tensor.content)[: count * WIDTHS[tensor.dtype]] if 0 <= count < 1000 else tensor.content
    return Tensor(tensor.dtype, shape, content)


def change_bytes(content: bytes, rng: random.Random, seeds: list[Seed]) -> bytes:
    """Change a file without regard to what it holds."""
    data, which = bytearray(content), rng.randrange(7)
    end = 8 + int.from_bytes(content[:8], "little")
    most = end if 0 < end < len(data) and rng.random() < 0.5 else len(data)  # half of them in the header
    start = rng.randrange(max(most, 1))
    length = rng.choice([1, 1, 2, 4, 8, 64, 500])
    if which == 0:
        for _ in range(rng.choice([1, 1, 1, 4, 100])):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif which == 1:
        data[start : start + length] = rng.randbytes(length)
    elif which == 2:
        del data[start:]
    elif which == 3:
        del data[start : start + length]
    elif which == 4:
        data[start:start] = data[start : start + length] * rng.choice([1, 1, 50])
    elif which == 5:
        other = rng.choice(seeds).content
        data[start:] = other[rng.randrange(len(other)) if rng.random() < 0.5 else start :]
    else:
        text = rng.choice(
            [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"9", b"-", b"e9", b"\0", b"\xff", b"null"]
        )
        data[start : start + 1] = text
    return bytes(data)


def mutate(seed: Seed, rng: random.Random) -> bytes:
    """Change a file; most get the right checksum afterwards."""
    content, which = seed.content, rng.random()
    if which < 0.85:
        parts = take_apart(content)
        for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
            if parts.tensors and rng.random() < 0.35:
                change_tensor(parts.tensors, rng)
            else:
                # In a part of the record, so that the many values of a training do not hide the others
                parts_of_it = [value[key] for value, key in places(parts.record) if isinstance(value[key], dict)]
                part = rng.choice([parts.record, *parts_of_it])
                change_value(part, rng)
        content = put_together(parts, rng)
    if which > 0.82:
        for _ in range(rng.choice([1, 1, 2, 5])):
            content = change_bytes(content, rng, make_seeds())
    return seal(content) if rng.random() < 0.95 else content


# Trying a file


class Failure(Exception):  # noqa: N818
    """Something that must not happen."""


class Report(NamedTuple):
    """What came of some files."""

    counts: Counter[str]
    slowest: float = 0.0  # CPU seconds of a load or resumed training
    largest: float = 0.0  # bytes allocated meanwhile beyond SMALL, divided by the size of the file
    peak: int = 0  # bytes
    failures: tuple[str, ...] = ()

    def __add__(self, other: "Report") -> "Report":  # type: ignore[override]
        return Report(
            self.counts + other.counts,
            max(self.slowest, other.slowest),
            max(self.largest, other.largest),
            max(self.peak, other.peak),
            self.failures + other.failures,
        )


REASONS = {  # patterns of messages -> what they are counted as; the first that fits counts
    "its checksum does not fit|has no checksum": "checksum",
    "has format": "format",
    "its header|its arrays end": "not a safetensors file",
    "JSONDecodeError|UnicodeDecodeError|Exceeds the limit": "not JSON",
    "RecursionError|nested": "too deep",
    "is not one of xpnet's|there is no callback": "unknown key, setting or tensor",
    "give the same|are fewer than": "another training",
    "no training to go on with": "no training",
    "contradicts": "settings that contradict tensors, or each other",
    "NaN or infinity|must be finite|finite numbers|above 0$|optimizer must be from": "numbers of a tensor",
    "is missing|KeyError|lacks": "something is missing",
    "is unknown": "unknown name",
    "shape": "shape of a tensor",
}


def classify(message: str) -> str:
    """Say in a few words why a file was refused."""
    return next((name for pattern, name in REASONS.items() if re.search(pattern, message)), "wrong type or value")


def is_extreme(net: Network, record: Any) -> bool:
    """Whether a network holds numbers with which predictions may overflow, and training may diverge."""
    numbers = re.findall(r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|Infinity", json.dumps(record))
    arrays = [np.asarray(array) for array in leaves((net.w, net.b, net.scaling, net.state.optimizer.memory))]
    deviations = [] if net.scaling is None else leaves((net.scaling.x_std, net.scaling.y_std))
    largest = max([*(float(abs(array).max()) for array in arrays), *map(float, numbers)])
    return largest > EXTREME or min((float(std.min()) for std in deviations), default=1.0) < 1 / EXTREME


def measure(action: Callable[[], Any], size: int, with_memory: bool) -> tuple[Any, Report]:
    """Do something; return its result or exception, and the time and memory that it took."""
    if with_memory:
        tracemalloc.start()
    started = time.process_time()
    try:
        result = action()
    except Exception as error:
        result = error
    seconds = time.process_time() - started
    peak = 0
    if with_memory:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    report = Report(Counter(), seconds, max(0, peak - SMALL) / max(size, 1), peak)
    if report.slowest > SLOWEST:
        raise Failure(f"it took {report.slowest:.2f} s of CPU time")
    if report.largest > FACTOR:
        raise Failure(f"it allocated {report.peak} bytes for a file of {size}")
    return result, report


def use(net: Network, extreme: bool, save: bool) -> Report:
    """Do with a network what people do with one."""
    data = make_data(net)
    repr((net, net.history))
    if not (np.isfinite(net.predict(data[0])).all() or extreme):
        raise Failure("predictions are not finite")
    if save:
        net.copy().save("again")
        again = Network.load("again")
        states = (leaves(each.state._replace(cost=None)) for each in (net, again))
        if not all(np.array_equal(a, b) for a, b in zip(*states, strict=True)):
            raise Failure("saved and loaded again it is another network")
    try:
        net.train(data, epochs=1, batch_size=8, lr=0.01, progress=False)
    except DivergenceError:
        if not extreme:
            raise Failure("training diverged") from None
        return Report(Counter({"divergences": 1}))
    return Report(Counter({"trainings": 1}))


def try_file(seed: Seed, content: bytes, resume: bool, thorough: bool) -> Report:
    """Load a file and use the network; or resume the training in it. A thorough try measures memory, and saves it."""
    path = Path("resumed" if resume else "loaded")
    path.write_bytes(content)
    if resume:
        net = Network(**seed.kind.network, seed=2)

        def action() -> Any:
            train(net, seed.kind, path, True)
            return net
    else:
        action = lambda: Network.load(path)  # noqa: E731
    result, report = measure(action, len(content), thorough)
    prefix = "resumed: " if resume else "loaded: "
    if isinstance(result, CheckpointError) or (resume and isinstance(result, ValueError)):
        message = str(result)
        if str(path) not in message or len(message) > LONGEST:
            raise Failure("the error does not name the file, or is too long") from result
        if not isinstance(result, CheckpointError) and classify(message) != "another training":
            raise Failure("the error names no difference") from result
        return report._replace(counts=Counter({prefix + "refused, " + classify(message): 1}))
    record = take_apart(content).record if isinstance(result, (Network, DivergenceError)) else {}
    numbers = [record.get("settings"), record.get("optimizer")]
    if resume and isinstance(result, DivergenceError):
        training = record["training"]
        if is_extreme(Network.load(path), [*numbers, training["lr_scale"]]):
            return report._replace(counts=Counter({prefix + "divergences": 1}))
    if isinstance(result, Exception):
        raise result
    counts = use(result, is_extreme(result, numbers), save=thorough).counts
    return report._replace(counts=Counter({prefix + name: n for name, n in counts.items()}))


def try_number(number: int, seed_number: int) -> Report:
    """Make and try one file; its number and the seed say all about it."""
    rng = random.Random(f"{seed_number} {number}")
    seed = rng.choice(make_seeds())
    return try_content(seed, mutate(seed, rng), f"{number}", rng)


def try_content(seed: Seed, content: bytes, name: str, rng: random.Random) -> Report:
    """Try the content of a file in the ways that are possible, and report failures."""
    report = Report(Counter(files=1))
    for resume in [False, True] if seed.is_checkpoint and rng.random() < 0.4 else [False]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                report += try_file(seed, content, resume, thorough=rng.random() < 0.2)
        except Exception as error:
            problem = "".join(traceback.format_exception(error)[-6:])
            text = f"file {name}{', resumed' if resume else ''}: {problem}"
            report += Report(Counter({"failures": 1}), failures=(text,))
    return report


def try_numbers(numbers: range, seed_number: int) -> Report:
    """Try some files."""
    report = Report(Counter())
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, 10 * SLOWEST)
        report += try_number(number, seed_number)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return report


# The whole


@functools.cache
def begin(folder: str) -> None:
    """Work in a folder of this process's own, and load each seed once: what is imported for that is not counted."""
    faulthandler.register(signal.SIGPROF, chain=True)  # shows the stack, and ends the process
    os.chdir(tempfile.mkdtemp(dir=folder))
    for seed in make_seeds():
        for resume in (False, True)[: 1 + seed.is_checkpoint]:
            try_file(seed, seed.content, resume, thorough=True)


def run(number: int, seed_number: int, seconds: float, processes: int, folder: str) -> Report:
    """Try files in several processes, until there are enough of them or the time is over."""
    report, started, printed = Report(Counter()), time.monotonic(), 0.0
    tasks = iter(range(0, number, TOGETHER))
    with ProcessPoolExecutor(processes, initializer=begin, initargs=(folder,)) as pool:
        pending = {}
        while True:
            while len(pending) < 2 * processes and time.monotonic() - started < seconds:
                first = next(tasks, None)
                if first is None:
                    break
                numbers = range(first, min(first + TOGETHER, number))
                pending[pool.submit(try_numbers, numbers, seed_number)] = numbers
            if not pending:
                return report
            done = next(as_completed(pending))
            numbers = pending.pop(done)
            try:
                part = done.result()
            except BrokenProcessPool:
                raise SystemExit(
                    f"a process crashed or hung at one of the files {numbers} or {pending.values()}"
                ) from None
            report += part
            for text in part.failures:
                print(text, flush=True)
            if time.monotonic() - printed > 300:
                printed = time.monotonic()
                print_table(report, printed - started)


def print_table(report: Report, seconds: float) -> None:
    """Print the counts."""
    for name, count in sorted(report.counts.items()):
        print(f"{count:>10,}  {name}")
    print(f"{seconds:10.0f}  seconds")
    print(f"{report.slowest:10.3f}  seconds of CPU time of the slowest")
    print(f"{report.largest:10.1f}  times the size of a file was allocated, beyond {SMALL:,} bytes")
    print(f"{report.peak:>10,}  bytes were the largest peak\n", flush=True)


def main() -> None:
    """Try files, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=10_000, help="of files")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other files")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which no more files are begun")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try this file alone")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if given.only is None:
            report = run(given.number, given.seed, given.seconds, given.processes, folder)
        else:
            begin(folder)
            report = try_number(given.only, given.seed)
            print(*report.failures)
    print_table(report, time.monotonic() - started)
    sys.exit(report.counts["failures"] > 0)


if __name__ == "__main__":
    main()
