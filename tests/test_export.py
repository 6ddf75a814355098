"""Networks for onnxruntime, PyTorch, JAX and from PyTorch and JAX: the outputs are the same."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import NOT_INSTALLED, run_command
from numpy.testing import assert_allclose, assert_array_equal

from xpnet import Adam, ArgumentError, Ensemble, Network, export
from xpnet.activations import Activation
from xpnet.core.activations import ACTIVATIONS
from xpnet.export import from_jax, from_torch, to_jax, to_onnx, to_torch
from xpnet.export.parts import require_networks

if "torch" not in NOT_INSTALLED:
    import torch
    from torch import nn
if "jax" not in NOT_INSTALLED:
    import jax

NAMES = [*ACTIVATIONS, "leaky_relu(0.1)", "elu(0.5, 1.5)", "elu(2.0, 1.0)"]
# Of a network with these arguments, the last number of units, and whether it is trained with scaled targets
TASKS = {
    "the book's": (4, {}),
    "classification": (4, {"task": "classification"}),
    "log-likelihood": (4, {"task": "classification", "cost": "log_likelihood"}),
    "binary": (1, {"task": "binary"}),
    "multilabel": (4, {"task": "multilabel"}),
    "regression": (2, {"task": "regression"}),
    "huber": (2, {"task": "regression", "cost": "huber(0.5)"}),
    "poisson": (2, {"task": "regression", "cost": "poisson"}),
    "gaussian": (4, {"cost": "gaussian"}),
    "quantiles": (6, {"cost": "quantile(0.1, 0.5, 0.9)"}),
}
# Targets of a Poisson regression cannot be standardized
CASES = [(task, standardize) for task in TASKS for standardize in (False, True) if not standardize or task != "poisson"]
DTYPES = ("float32", "float64", "float64", "float32")  # of each task one without scaling, and the other with it
in_every_case = pytest.mark.parametrize(
    ("task", "standardize", "dtype"), [(*case, DTYPES[k % 4]) for k, case in enumerate(CASES)]
)
needs_torch, needs_jax = pytest.mark.needs("torch"), pytest.mark.needs("jax")
needs_onnxruntime = pytest.mark.needs("onnx", "onnxruntime")
RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers():
    """Draw the same numbers in a test, whichever tests ran before."""
    RNG.bit_generator.state = START


def open_onnx(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run_onnx(net, x, tmp_path, **options):
    to_onnx(net, tmp_path / "net.onnx", **options)
    session = open_onnx(tmp_path / "net.onnx")
    assert [value.name for value in (*session.get_inputs(), *session.get_outputs())] == ["x", "y"]
    return session.run(["y"], {"x": x})[0]


def run_torch(net, x, folder=None):
    return to_torch(net)(torch.from_numpy(x)).detach().numpy()


def run_jax(net, x, folder=None):
    with jax.enable_x64(net.dtype == "float64"):
        f, params = to_jax(net)
        return np.asarray(f(params, x))


LIBRARIES = {run_onnx: ("onnx", "onnxruntime"), run_torch: ("torch",), run_jax: ("jax",)}
in_every_library = pytest.mark.parametrize(
    "run", [pytest.param(run, marks=pytest.mark.needs(*names)) for run, names in LIBRARIES.items()]
)


def find_order(net, outputs):
    """For each row, the columns in the order of exported networks, whose quantiles of a target increase."""
    m, n = outputs.shape
    n_targets = net.value.model.n_targets
    if "quantile" not in net.cost_name:
        return np.tile(np.arange(n), (m, 1))
    levels = np.argsort(outputs.reshape(m, -1, n_targets), axis=1)
    return (levels * n_targets + np.arange(n_targets)).reshape(m, n)


def assert_close(actual, expected, factor=1.0):
    """Equal to 1e-5 in float32, and to 1e-12 in float64, of the largest number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    tolerance = factor * (1e-5 if expected.dtype == "float32" else 1e-12)
    assert np.abs(actual - expected).max() <= tolerance * max(1e-3, np.abs(expected).max())


def assert_agrees(outputs, net, x):
    """The outputs are those of a network."""
    expected = net.backend.to_numpy(net.forward(x))
    expected = np.take_along_axis(expected, find_order(net, expected), axis=1)
    assert expected.dtype == net.dtype
    assert 1e-3 < np.abs(expected).max() < np.inf
    assert_close(outputs, expected)


def train(net, x):
    """Train a network a little, so that it has a scaling; classes for classifiers, else targets far from 0."""
    n = net.value.model.n_targets
    y = RNG.integers(0, 2, len(x)) if net.sizes[-1] == 1 else RNG.integers(0, 2, (len(x), n))
    if net.task == "classification":
        y = RNG.integers(0, n, len(x))
    elif net.task == "regression":
        y = RNG.uniform(100, 200, (len(x), n)) if net.standardize else RNG.uniform(0.1, 0.9, (len(x), n))
    net.train((x, y), epochs=1, progress=False)
    return net


def make_chain(name, dtype):
    """A hidden layer and an output layer of an activation; exp of exp would be too large."""
    cost = "cross_entropy" if name == "softmax" else None
    hidden = "tanh" if name == "exp" else name
    return Network(
        [5, 8, 3], activation=hidden, output_activation=name, cost=cost, init="scaled_normal", dtype=dtype, seed=1
    )


@needs_onnxruntime
@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_computes_large_and_small_inputs_of_activations(name, dtype, tmp_path):
    """Each z by itself, to the tolerance of that output where it is above 1."""
    z = np.concatenate([np.linspace(-80, 80, 161), np.linspace(-1, 1, 41)]).astype(dtype)[:, None] * np.ones(2, dtype)
    net = Network(
        [2, 2], output_activation=name, cost="cross_entropy" if name == "softmax" else None, dtype=dtype, init="zeros"
    )
    net.w = [np.eye(2)]
    expected = net.forward(z)
    tolerance = (1e-5 if dtype == "float32" else 1e-12) * np.maximum(1, np.abs(expected))
    assert (np.abs(run_onnx(net, z, tmp_path) - expected) <= tolerance).all()


@in_every_library
def test_pixels_are_bytes_or_floats_of_networks_of_every_backend(run, place, tmp_path):
    pixels = RNG.integers(0, 256, (20, 6), dtype=np.uint8)
    for dtype in ("float32", "float64") if place.device is None else ("float32",):
        net = Network([6, 5, 3], scale=1 / 255, task="classification", dtype=dtype, seed=0, **place._asdict())
        options = {"input_dtype": "uint8"} if run is run_onnx else {}
        assert_agrees(run(net, pixels, tmp_path, **options), net, pixels)
        assert_agrees(run(net, pixels.astype(dtype), tmp_path), net, pixels)


@needs_onnxruntime
@in_every_case
def test_onnxruntime_computes_every_task_and_the_mean_of_an_ensemble(task, standardize, dtype, tmp_path):
    """For members that are trained on different rows: their weights differ, and their scalings."""
    n_out, arguments = TASKS[task]
    x = RNG.normal(50, 10, (40, 5)).astype(dtype)
    members = [
        train(Network([5, 6, n_out], activation="tanh", standardize=standardize, dtype=dtype, seed=k, **arguments), own)
        for k, own in enumerate((x[:30], x[10:], x[::2]))
    ]
    assert_agrees(run_onnx(members[0], x, tmp_path), members[0], x)
    ensemble = Ensemble.of(members)
    if ensemble[0].task != "regression":
        expected = ensemble.predict_proba(x)
    elif task == "gaussian":
        expected = np.concatenate(ensemble.predict(x, return_std=True), axis=1)
    else:
        expected = ensemble.predict(x)
    if task == "quantiles":
        expected = expected.transpose(0, 2, 1).reshape(len(x), n_out)
    assert expected.dtype == dtype
    assert np.abs(expected).max() > 1e-3
    assert_close(run_onnx(ensemble, x, tmp_path), expected)


@pytest.mark.needs("onnx", "onnxruntime", "torch")
@pytest.mark.parametrize("task", ["classification", "binary"])
def test_exported_probabilities_are_calibrated(task, dtype, tmp_path):
    """By the temperature of a network, and by that of an ensemble, which its members do not have by themselves."""
    n_out, arguments = TASKS[task]
    x, y = RNG.normal(size=(200, 5)).astype(dtype), RNG.integers(0, max(n_out, 2), 200)
    ensemble = Ensemble([5, 6, n_out], 2, dtype=dtype, init="normal", seed=0, **arguments)
    ensemble.train((x[:100], y[:100]), epochs=1, progress=False)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    for net in (ensemble, ensemble[0]):
        before = net.predict_proba(x)
        net.calibrate((x[100:], y[100:]))
        assert abs(net.predict_proba(x) - before).max() > 0.01
        assert_allclose(run_onnx(net, x, tmp_path), net.predict_proba(x), atol=tolerance)
    assert_allclose(run_torch(net, x), net.predict_proba(x), atol=tolerance)


@pytest.mark.needs("onnx")
def test_the_metadata_say_what_the_network_is(tmp_path):
    import onnx

    import xpnet

    net = Network([4, 6, 3], activation="relu", task="classification", dropout=0.25, scale=0.5)
    net.feature_names = ["w", "x", "y", "z"]
    net.notes = {"labels": ["a", "b", "c"], "number": np.float64(2.5)}
    to_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version, model.model_version) == ("xpnet", xpnet.__version__, 1)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == {
        "task": "classification",
        "n_classes": "3",
        "sizes": "[4, 6, 3]",
        "activation": '["relu"]',
        "output_activation": "softmax",
        "cost": "cross_entropy",
        "dropout": "[0.0, 0.25]",
        "scale": "0.5",
        "standardize": "false",
        "dtype": "float32",
        "feature_names": '["w", "x", "y", "z"]',
        "notes": json.dumps({"labels": ["a", "b", "c"], "number": 2.5}),
    }
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    ]
    assert shapes == [["batch", 4], ["batch", 3]]
    operators = "Mul Gemm Relu Gemm Softmax Identity ArgMax Gather Identity"
    assert [node.op_type for node in model.graph.node] == operators.split()


# Activations of the user's own

bump = Activation(
    "bump", lambda z, xp: 2.0 / (1.0 + z * z) + xp.where(z > 0.0, -xp.abs(z), xp.sin(z)), lambda g, z, a, xp: g
)


def change_in_place(a, xp):
    last = a[..., -1:]
    first = xp.concat([last, a[..., :-1]], axis=-1)
    a += 1.0
    return first * a - xp.max(last, axis=-1, keepdims=True)


OWN = {
    "bump": bump.value,
    "kinked": lambda z, xp: z * xp.astype(z >= 0.0, z.dtype) + 0.25 * xp.astype(z <= 0.0, z.dtype) * z**2,
    "reversed": lambda z, xp: xp.concat([-z[..., 2:], 1.0 - z[..., :2]], axis=-1) / (1.0 + abs(z[..., ::-1])),
    "normalized": lambda z, xp: (z - xp.max(z, axis=-1, keepdims=True)) / xp.sum(z * z, axis=-1, keepdims=True),
    "in place": lambda z, xp: change_in_place(1.0 * z, xp),
    "functions": lambda z, xp: xp.sqrt(z * z + 1.0) + xp.log(1.0 + xp.abs(z)) - xp.where(z < 0.0, xp.sign(z), 2.0),
}


@needs_onnxruntime
@pytest.mark.parametrize("name", OWN)
def test_an_activation_of_your_own_is_recorded(name, dtype, tmp_path):
    x = RNG.normal(size=(9, 3)).astype(dtype)
    own = Activation(name, OWN[name], lambda g, z, a, xp: g)
    net = Network([3, 4, 2], activation=own, dtype=dtype, seed=0)
    assert_agrees(run_onnx(net, x, tmp_path), net, x)


REFUSED = {
    "it uses cumulative_sum, which has no operator here": lambda z, xp: xp.cumulative_sum(z, axis=-1),
    "__bool__ cannot be recorded": lambda z, xp: z if z > 0 else -z,
    "an operand of type ndarray comes from elsewhere": lambda z, xp: z * np.ones(1),
    "it computes with an array of its own": lambda z, xp: z * xp.asarray([float(k) for k in range(z.shape[1])]),
    "columns are taken as in z[..., a:b]": lambda z, xp: z[::-1, :],
    "mixes examples, or has results that are not (batch, n)": lambda z, xp: z - xp.max(z, axis=0, keepdims=True),
    "it depends on the number of examples": lambda z, xp: z / z.shape[0],
    "it uses xp.where without a comparison": lambda z, xp: xp.where(z, z, 0.0),
    "it converts to int8": lambda z, xp: xp.astype(z > 0, xp.int8) * z,
    "array of the same shape and dtype": lambda z, xp: z > 0,
}


@pytest.mark.needs("onnx")
@pytest.mark.parametrize("reason", REFUSED)
def test_an_activation_that_cannot_be_recorded_is_refused_and_the_file_stays(reason, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")

    def compute(z, xp):
        return z if isinstance(z, np.ndarray) else REFUSED[reason](z, xp)

    net = Network([3, 4, 2], activation=Activation("odd", compute, lambda g, z, a, xp: g))
    with pytest.raises(ValueError, match="activation='odd' cannot be written as ONNX operators: ") as refusal:
        to_onnx(net, path)
    assert reason in str(refusal.value)
    assert "write its value with +, -, *, /, ** and xp.exp" in str(refusal.value)
    assert path.read_bytes() == b"before"


# Tables


def make_table(n, seed=0):
    """A table with columns of all kinds, some with the names of the file's own outputs, constants and nodes."""
    import pandas

    rng = np.random.default_rng(seed)
    table = pandas.DataFrame(
        {
            "y": rng.normal(5, 20, n),  # marked where it is missing
            "label": rng.choice(["no", "yes"], n),
            "Concat_1": rng.choice(["a", "b", "3", "d", None], n, p=[0.4, 0.3, 0.1, 0.1, 0.1]),
            "medians": rng.lognormal(3, 2, n),
            "share": [f"{share:.1f} %" for share in rng.uniform(0, 100, n)],
            "seen": pandas.Timestamp(2020, 1, 1) + pandas.to_timedelta(rng.integers(0, 24 * 999, n), "h"),
            "id": "always the same",
            "time": 1.7e9 + rng.uniform(0, 3600, n),
            "rooms": rng.integers(1, 6, n),
            "points": rng.choice(["5", "6", "7", "7+", "DQ"], n),
            "w_1": rng.choice(["north", "south", "east", *"rstuvwxyz"], n, p=[0.4, 0.3, 0.21, *[0.01] * 9]),
        }
    )
    table.loc[table.index % 7 == 3, "y"] = np.nan
    return table


def feed(table):
    """A table as inputs of a file, by the rules that the page on exports gives."""
    import pandas

    feeds = {}
    for name, column in table.drop(columns="id").items():
        if name == "share":
            column = column.str.removesuffix(" %").astype(float)
        elif name == "points":
            feeds["points (text)"] = column.str.replace(r"\d", "", regex=True).astype(object).to_numpy()[:, None]
            column = column.str.extract(r"(\d)", expand=False).astype(float)
        elif name == "seen":
            column = (column - pandas.Timestamp(1970, 1, 1)) / pandas.Timedelta(days=1)
        is_number = pandas.api.types.is_numeric_dtype(column)
        feeds[name] = (column.astype(float) if is_number else column.fillna("").astype(object)).to_numpy()[:, None]
    return feeds


@pytest.mark.filterwarnings("ignore:X has values that training did not have")
@pytest.mark.needs("onnx", "onnxruntime", "pandas")
@pytest.mark.filterwarnings("ignore:several columns")
@pytest.mark.parametrize(
    ("n_out", "arguments", "make_y", "bins", "dtype"),
    [
        (3, {"task": "classification"}, lambda y: (y * 3).astype(int), 16, "float32"),
        (1, {"task": "binary"}, lambda y: (y > 0.5).astype(int), 0, "float64"),
        (2, {"cost": "gaussian"}, lambda y: 20 * y, 16, "float64"),
    ],
    ids=["classes", "two classes", "gaussian"],
)
def test_the_encoder_of_a_table_is_in_the_file(n_out, arguments, make_y, bins, dtype, tmp_path):
    """Also for values that training has not seen: missing and unknown ones, and those beyond the edges of all bins."""
    from xpnet.estimators import TableEncoder

    encoder = TableEncoder(bins=bins).fit(make_table(300))
    x, y = encoder.transform(make_table(300)), make_y(RNG.uniform(size=300))
    ensemble = Ensemble(
        [x.shape[1], 8, n_out], 2, activation="tanh", standardize=True, dtype=dtype, seed=0, **arguments
    )
    ensemble.train((x, y), epochs=2, lr=0.05, progress=False)
    names = ["first", "second", "thírd"][: max(n_out, 2)]
    for net in ensemble:
        net.notes = {"labels": names}
    to_onnx(ensemble, tmp_path / "net.onnx", encoder=encoder)
    session = open_onnx(tmp_path / "net.onnx")
    table = make_table(100, seed=1)
    table.loc[:1, "Concat_1"] = "NA", "null"  # missing
    for k, name in enumerate(table.columns.drop(["id", "Concat_1"])):
        table.loc[10 * k : 10 * k + 1, name] = None
    table.loc[95:97, ["Concat_1", "label", "w_1"]] = "unknown"
    table.loc[98, "Concat_1"] = "3.0"
    table.loc[97:99, ["y", "medians", "time"]] = [[-1e3, 0.0, 1.6e9], [1e3, 1e9, 1.8e9], [1e6, -1e9, 0.0]]
    outputs = session.run(None, feed(table))
    with pytest.warns(UserWarning, match="values that training did not have"):
        x = encoder.transform(table)
    is_classes = ensemble[0].task != "regression"
    assert [value.name for value in session.get_outputs()] == (["y_", "label_"] if is_classes else ["y_"])
    if is_classes:
        expected = ensemble.predict_proba(x)
        assert outputs[1].tolist() == [names[k] for k in ensemble.predict(x)]
    else:
        expected = np.stack(ensemble.predict(x, return_std=True), axis=1)
    assert outputs[0].dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    assert_allclose(outputs[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.needs("onnx", "onnxruntime", "pandas", "pyarrow")
@pytest.mark.filterwarnings("ignore:the network is calibrated, and what is exported is not")
def test_the_command_writes_the_columns_of_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = make_table(200)[["y", "Concat_1", "seen", "rooms"]]
    table.to_csv("table.csv", index=False)
    words = "train table.csv --target rooms --task regression --epochs 1 --test-split 0 --quiet --save net --members 1"
    assert run_command(capsys, *words.split())[0] == 0
    status, lines, _ = run_command(capsys, "export", "net", "-o", "net.onnx")
    assert status == 0
    assert lines == [
        "Wrote net.onnx: y_ (batch, 1) of float32, from the columns of a table; NaN, or an empty string, is a missing "
        "value:",
        f"  y (batch, 1) of float64: number, in 32 bins; missing values become {table['y'].median():g}, and are marked",
        "  Concat_1 (batch, 1) of string: category: '3', 'a', 'b', 'd', missing",
        "  seen (batch, 1) of float64: date: days since 1970 (in 32 bins), place in the year, place in the week, place "
        "in the day; missing values become 2021-07-10T04:00:00",
    ]
    net = Ensemble.load("net")[0]
    feeds = feed(table.assign(id=0))
    del feeds["rooms"]
    assert run_command(capsys, "predict", "net", "table.csv", "--out", "predictions.csv")[0] == 0
    expected = np.loadtxt("predictions.csv", skiprows=1)
    assert_allclose(open_onnx("net.onnx").run(None, feeds)[0][:, 0], expected, atol=1e-5)
    status, lines, _ = run_command(capsys, "export", "net", "-o", "net.onnx", "--encoded")
    assert (status, lines) == (0, [f"Wrote net.onnx: x (batch, {net.sizes[0]}) of float32, y (batch, 1) of float32"])


@pytest.mark.needs("onnx", "onnxruntime", "pandas")
@pytest.mark.filterwarnings("ignore:the network is calibrated, and what is exported is not")
def test_statistics_of_the_targets_are_in_the_file(tmp_path):
    """Of texts and of numbers, also those that are new, missing or written otherwise; but not of words."""
    import pandas

    from xpnet.estimators import TableRegressor

    rng = np.random.default_rng(0)
    group = rng.integers(0, 100, 400)
    table = pandas.DataFrame(
        {"code": [f"{k:03}" for k in group], "firm": 3.0 * group + 1, "size": rng.normal(size=400)}
    )
    y = np.sin(group**2)
    model = TableRegressor(members=2, hidden_layer_sizes=8, max_epochs=3, random_state=0).fit(table, y)
    inputs = {"code (effect)", "code (rows)", "firm (further effect)", "firm (rows)"}
    assert inputs < {*model.encoder_.get_feature_names_out()}
    to_onnx(model.ensemble_, tmp_path / "net.onnx")
    table.loc[:3, "code"], table.loc[2:5, "firm"] = ["new", "", "001.0", "001"], [-1.0, 1e9, 1.5, 1.0]
    feeds = {name: column.to_numpy()[:, None] for name, column in table.items()}
    outputs = open_onnx(tmp_path / "net.onnx").run(None, feeds)
    table.loc[1, "code"] = None
    assert_allclose(outputs[0][:, 0], model.predict(table), atol=1e-5)
    table["code"] = [f"{rng.integers(1e6)} {'abcdefghij'[k % 10] * 3}" for k in group]
    model.fit(table, np.sin(group % 10))
    with pytest.raises(ValueError, match="column 'code' is taken apart into words, which ONNX cannot do; give encoder"):
        to_onnx(model.ensemble_, tmp_path / "net.onnx")


# What is refused

NET, PAIR = Network([3, 4, 2], seed=0), Ensemble([3, 4, 2], 2, seed=0)
LAYERS = [(np.ones((4, 3)), np.ones(4)), (np.ones((2, 4)), np.ones(2))]
TURNED = [(w.T, b) for w, b in LAYERS]


def encoder_of(*names):
    import pandas

    from xpnet.estimators import TableEncoder

    return TableEncoder().fit(pandas.DataFrame({name: [1, 2] for name in names}))


def with_notes(net):
    net.notes = {"place": object()}
    return net


class Residual(nn.Sequential if "torch" not in NOT_INSTALLED else object):
    def forward(self, x):
        return x + super().forward(x)


REFUSALS = {  # by the library that they need: what is called, what the message names, the remedy
    "onnx": [
        (lambda: to_onnx(SimpleNamespace(network_=NET), "x"), "SimpleNamespace", "give net.network_"),
        (lambda: to_onnx(3, "x"), "net must be a Network or an Ensemble", "not of type int"),
        (lambda: to_onnx(NET, "x", input_dtype="uint8"), "input_dtype='uint8'", "choose from 'float32'"),
        (lambda: to_onnx(with_notes(Network([3, 2])), "x"), "net.notes", "keep plain values there"),
        (lambda: to_onnx(NET, "x", encoder=encoder_of("a", "b")), "encoder makes 2 inputs", "give the encoder"),
        (lambda: to_onnx(NET, "x", return_std=True), "return_std=True needs fit_laplace", 'cost="gaussian"'),
        (lambda: to_onnx(NET, "x", return_std=1), "return_std=1", "True or False"),
        (lambda: to_onnx(NET, "x", encoder=3), "encoder=3", "a fitted TableEncoder, or False"),
    ],
    "torch": [
        (lambda: to_torch(PAIR), "net must be a Network", "give its members one by one, as in net[0]"),
        (lambda: to_torch(Network([3, 4, 2], activation=bump)), "activation='bump'", "write one"),
        (lambda: from_torch(nn.Linear(3, 2)), "module must be an nn.Sequential, not of type Linear", "put its layers"),
        (lambda: from_torch(Residual(nn.Linear(3, 3))), "not of type Residual", "put its layers"),
        (lambda: from_torch(nn.Sequential(nn.Linear(3, 2), sorting()), cost="huber"), "cost='huber'", "leave out cost"),
    ],
    "jax": [
        (lambda: to_jax(Network([3, 2], dtype="float64")), "net computes in float64", "jax_enable_x64"),
        (lambda: to_jax(NET, return_std=True), "to_jax(return_std=True) needs", "regression"),
        (lambda: to_jax(NET, return_std="no"), "return_std='no'", "True or False"),
        (lambda: to_jax(NET)[0](TURNED, np.ones(3)), "params has arrays of shapes [((3, 4)", "but must have"),
        (lambda: to_jax(NET)[0](LAYERS, np.ones(2)), "x has shape (2,)", "must hold the 3 inputs"),
    ],
    "": [
        (lambda: from_jax(NET, TURNED), "w of params[0] has shape (3, 4)", "must have (4, 3)"),
        (lambda: from_jax(NET, [LAYERS[0], (LAYERS[1][0], np.full(2, np.nan))]), "b of params[1]", "NaN"),
        (lambda: from_jax(NET, {"w": 1}), "params", "a list of pairs (w, b)"),
        (lambda: from_jax(PAIR, LAYERS), "(4, 3)", "begin with 2 members"),
        (
            lambda: from_jax(PAIR, [[np.stack([a, a]) for a in w_b] for w_b in TURNED]),
            "w of params[0][0]",
            "(4, 3)",
        ),
    ],
}
ROWS = [row for library, rows in REFUSALS.items() if library not in NOT_INSTALLED for row in rows]


@pytest.mark.parametrize(("call", "named", "remedy"), ROWS, ids=[row[1] for row in ROWS])
def test_what_cannot_be_exported_is_refused(call, named, remedy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as refusal:
        call()
    assert named in str(refusal.value)
    assert remedy in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("onnx")
def test_a_file_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("xpnet.export.onnx.MOST_BYTES", 100)
    with pytest.raises(ArgumentError, match=r"net has 1,640 bytes .* at most 100; use net.s"):
        to_onnx(Network([40, 10]), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "library"), [("to_onnx", "onnx"), ("to_torch", "torch"), ("from_torch", "torch"), ("to_jax", "jax")]
)
def test_a_library_that_is_missing_is_named(name, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "xpnet.export._torch_modules", raising=False)
    monkeypatch.delattr("xpnet.export._torch_modules", raising=False)
    with pytest.raises(ImportError, match=rf"^{name} needs .* \(.*install -e '\.\[{library}\]'"):
        getattr(export, name)(NET, *["net.onnx"][: name == "to_onnx"])


# PyTorch


@needs_torch
@pytest.mark.parametrize("name", NAMES)
def test_pytorch_computes_every_activation_and_back(name, dtype):
    x = RNG.normal(0, 3, (50, 5)).astype(dtype)
    net = make_chain(name, dtype)
    assert_agrees(run_torch(net, x), net, x)
    again = from_torch(to_torch(net))
    assert again.dtype == dtype
    assert [sigma.value for sigma in again.sigmas] == [sigma.value for sigma in net.sigmas]
    assert_array_equal(again.forward(x), net.forward(x))


@needs_torch
@in_every_case
def test_pytorch_computes_every_task_and_back(task, standardize, dtype):
    n_out, arguments = TASKS[task]
    x = RNG.normal(50, 10, (40, 5)).astype(dtype)
    net = Network(
        [5, 6, n_out], activation="tanh", standardize=standardize, dropout=[0.1, 0.5], dtype=dtype, seed=0, **arguments
    )
    net = train(net, x)
    assert_agrees(run_torch(net, x), net, x)
    cost = None if task == "quantiles" else net.cost_name  # quantiles have their levels in the module
    again = from_torch(to_torch(net), task=arguments.get("task"), cost=cost)
    for name in ("sizes", "task", "cost_name", "dropout", "scale", "standardize"):
        assert getattr(again, name) == getattr(net, name)
    assert_array_equal(again.predict(x), net.predict(x))


@needs_torch
def test_a_module_has_memory_of_its_own_and_draws_no_random_numbers():
    net = Network([3, 4, 2], dropout=0.5, seed=0)
    before, state = net.w[0].copy(), torch.get_rng_state()
    module = to_torch(net)
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    assert [type(layer).__name__ for layer in module] == ["Linear", "Sigmoid", "Dropout", "Linear", "Sigmoid"]
    with torch.no_grad():
        module[0].weight.zero_()
    assert_array_equal(net.w[0], before)
    assert all(parameter.requires_grad for parameter in module.parameters())


@needs_torch
def test_a_network_of_pytorchs_layers_has_the_same_outputs(dtype):
    x = RNG.normal(size=(9, 6)).astype(dtype)
    layers = [
        nn.ReLU(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.SiLU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.ELU(),
        nn.ELU(0.5),
        nn.SELU(),
    ]
    layers += [nn.Softplus(), nn.LeakyReLU(), nn.LeakyReLU(0.2), nn.Softmax(-1), nn.Softmax(1), nn.Identity()]
    for layer in layers:
        inner = nn.Sequential(nn.Linear(5, 5, bias=False), layer)
        module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), layer, nn.Dropout(0.3), inner, inner, nn.Linear(5, 4))
        module = module.to(getattr(torch, dtype)).train(False)
        net = from_torch(module)
        assert net.dropout == [0.0, 0.3, 0.0, 0.0]
        assert_agrees(module(torch.from_numpy(x.reshape(9, 2, 3))).detach().numpy(), net, x)


@needs_torch
def test_layers_without_activations_and_settings_of_the_network():
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2), nn.Softmax(dim=-1)).to(torch.float64)
    net = from_torch(module, backend="torch", dtype="float32")
    assert (net.activation, net.output_activation, net.task) == (["identity"], "softmax", "classification")
    assert (net.cost_name, net.backend.name, net.dtype) == ("cross_entropy", "torch", "float32")
    assert from_torch(nn.Sequential(nn.Linear(2, 3), nn.Sigmoid()), task="multilabel").task == "multilabel"
    assert from_torch(nn.Sequential(nn.Linear(2, 1)), cost="huber").cost_name == "huber"
    half = nn.Sequential(nn.Linear(2, 1)).to(torch.bfloat16)
    assert from_torch(half).w[0][0, 0] == half[0].weight[0, 0].item()


# What a message must name -> the layers
REFUSED_MODULES = {
    "layer 1 (Conv2d)": lambda: [nn.Linear(3, 2), nn.Conv2d(1, 1, 1)],
    "layer 1.0 (BatchNorm1d)": lambda: [nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2))],
    "layer 2 (Flatten)": lambda: [nn.Linear(3, 2), nn.ReLU(), nn.Flatten()],
    "Flatten(start_dim=0, end_dim=-1)": lambda: [nn.Flatten(0), nn.Linear(3, 2)],
    "layer 0 (ReLU)": lambda: [nn.ReLU()],
    "layer 2 (Tanh)": lambda: [nn.Linear(3, 2), nn.ReLU(), nn.Tanh()],
    "layer 1 (Dropout)": lambda: [nn.Dropout(), nn.Dropout()],
    "Dropout(p=1, inplace=False)": lambda: [nn.Dropout(1), nn.Linear(3, 2)],
    "must end in a linear layer": lambda: [nn.Linear(3, 2), nn.Dropout()],
    "Softmax(dim=0)": lambda: [nn.Linear(3, 2), nn.Softmax(dim=0)],
    "Softplus(beta=2, threshold=20.0)": lambda: [nn.Linear(3, 2), nn.Softplus(2)],
    "Softplus(beta=1.0, threshold=10)": lambda: [nn.Linear(3, 2), nn.Softplus(threshold=10)],
    "slope=1.5": lambda: [nn.Linear(3, 2), nn.LeakyReLU(1.5)],
    "layer 1 (Standardize)": lambda: [nn.Linear(3, 2), standardized()[0]],
    "layer 0 (Rescale)": lambda: [standardized()[-1]],
    "layer 0 (Sort)": lambda: [sorting()],
    "layer 2 (Linear)": lambda: [nn.Linear(3, 2), sorting(), nn.Linear(2, 2)],
    "w of layers[1]": lambda: [nn.Linear(3, 2), nn.Linear(5, 2)],
}


def sorting():
    return to_torch(Network([3, 2], cost="quantile(0.1, 0.9)"))[-1]


def standardized():
    return to_torch(train(Network([2, 2], task="regression", standardize=True), RNG.normal(size=(9, 2))))


@needs_torch
@pytest.mark.parametrize("name", REFUSED_MODULES)
def test_a_layer_that_a_network_has_not_is_named(name):
    with pytest.raises(ArgumentError, match=re.escape(name)):
        from_torch(nn.Sequential(*REFUSED_MODULES[name]()))


@needs_torch
def test_scales_of_inputs_or_outputs_alone_are_read():
    module, x = standardized(), RNG.normal(size=(5, 2)).astype("float32")
    for part in (module[1:], module[:-1]):
        net = from_torch(part)
        assert net.standardize
        assert_agrees(part(torch.from_numpy(x)).detach().numpy(), net, x)


# JAX


@pytest.fixture
def in_float64():
    """JAX computes in float64."""
    with jax.enable_x64(True):
        yield


def assert_gradient_is_that_of_backward(f, params, net, x, y):
    """With respect to the parameters, of the quadratic cost."""

    @jax.jit
    @jax.grad
    def gradient(params):
        return 0.5 * jax.numpy.mean(jax.numpy.sum((f(params, x) - y) ** 2, -1))

    for layer, expected in zip(gradient(params), net.backward(x, y)):
        for array, own in zip(expected, layer):
            assert_close(own, array, 10)


@pytest.mark.slow
@needs_jax
@pytest.mark.parametrize("name", NAMES)
def test_jax_computes_and_differentiates_every_activation(name, in_float64):
    """Compiled, mapped over examples, of first and second order; at kinks, too, as the first row has z = 0."""
    x, y = RNG.normal(0, 3, (6, 5)), RNG.uniform(0, 1, (6, 3))
    x[0] = 0.0
    net = make_chain(name, "float64")
    net.b = [np.zeros(8), np.zeros(3)]
    f, params = to_jax(net)
    f = jax.jit(f)
    assert_close(f(params, x), net.forward(x))
    assert_close(jax.jit(jax.vmap(jax.jacrev(f, 1), (None, 0)))(params, x), net.jacobian(x), 10)
    assert_close(jax.jacfwd(f, 1)(params, x[1]), net.jacobian(x[1]), 10)
    if name != "softmax":  # its network has another cost
        assert_gradient_is_that_of_backward(f, params, net, x, y)
    if not name.startswith(("elu", "selu")):  # their second derivatives have no value at 0
        assert_close(jax.jit(jax.vmap(jax.hessian(f, 1), (None, 0)))(params, x), net.hessian(x), 100)


@pytest.mark.slow
@needs_jax
@in_every_case
def test_jax_computes_every_task_and_back(task, standardize, dtype):
    n_out, arguments = TASKS[task]
    x = RNG.normal(50, 10, (40, 5)).astype(dtype)
    net = train(Network([5, 6, n_out], standardize=standardize, dropout=0.5, dtype=dtype, seed=0, **arguments), x)
    expected = net.forward(x)
    with jax.enable_x64(dtype == "float64"):
        f, params = to_jax(net)
        f = jax.jit(f)
        assert_close(f(params, x[0]), expected[0])
        assert_close(f(params, x.reshape(4, 2, 5, 5)), expected.reshape(4, 2, 5, n_out))
        assert_close(jax.jacfwd(f, 1)(params, x[1]), net.jacobian(x[1]), 10)
        assert_array_equal(from_jax(net, params).forward(x), expected)


@needs_jax
def test_an_ensemble_is_one_function_of_jax():
    """Each member with its scaling; changed parameters come back to their members."""
    x, y = RNG.normal(50, 10, (40, 2)).astype("float32"), RNG.normal(100, 5, (40, 1)).astype("float32")
    ensemble = Ensemble([2, 4, 1], members=3, task="regression", standardize=True, seed=0)
    ensemble.train((x, y), epochs=2, rows=[range(20), range(10, 30), range(40)], progress=False)
    f, params = to_jax(ensemble)
    assert_close(jax.jit(f)(params, x), ensemble.forward(x))
    assert f(params, x[0]).shape == (3, 1)
    changed = from_jax(ensemble, [(2 * w, b - 1) for w, b in params])
    assert_close(f([(2 * w, b - 1) for w, b in params], x), changed.forward(x))
    for before, after in zip(ensemble, changed):
        assert_array_equal(after.w[1], 2 * before.w[1])


@needs_jax
def test_jax_differentiates_activations_of_your_own_by_their_pullbacks():
    """One that mixes its outputs, and one whose pullback is not its derivative: a step with the slope of a line."""
    roll = Activation(
        "roll",
        lambda z, xp: xp.concat([2.0 * z[..., 1:], z[..., :1] ** 2], axis=-1),
        lambda g, z, a, xp: xp.concat([2.0 * z[..., :1] * g[..., -1:], 2.0 * g[..., :-1]], axis=-1),
    )
    through = Activation("through", lambda z, xp: xp.sign(z), lambda g, z, a, xp: g)
    net = Network([3, 5, 4, 2], activation=[roll, through], task="regression", seed=0)
    f, params = to_jax(net)
    x, y = RNG.normal(size=(7, 3)).astype("float32"), RNG.normal(size=(7, 2)).astype("float32")
    assert_gradient_is_that_of_backward(f, params, net, x, y)
    assert_close(jax.vmap(jax.jacfwd(f, 1), (None, 0))(params, x), net.jacobian(x))


# Error bars of weights


def fit_laplace(activation, x, seed=0, dtype="float64", n_out=2, **options):
    """A network with a Laplace approximation, of targets with a mean far from 0."""
    options = {"task": "regression", "standardize": True, **options}
    sizes = [x.shape[1], 5, 5, 5, 5, n_out * (2 if options.get("cost") == "gaussian" else 1)]
    net = Network(sizes, activation=activation, dtype=dtype, seed=seed, **options)
    y = 100 + np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1)[:, :n_out]
    net.train((x, y), 5, 4, optimizer=Adam(), lr=0.03, progress=False)
    net.fit_laplace((x, y))
    return net


def run_onnx_with_std(net, x, folder):
    to_onnx(net, folder / "net.onnx", return_std=True)
    session = open_onnx(folder / "net.onnx")
    assert [value.name for value in session.get_outputs()] == ["y", "std"]
    return session.run(None, {"x": x})


def run_jax_with_std(net, x, folder):
    with jax.enable_x64(require_networks(net)[0].dtype == "float64"):
        f, params = to_jax(net, return_std=True)
        return jax.jit(f)(params, x)


in_both_libraries = pytest.mark.parametrize(
    "run",
    [
        pytest.param(run_onnx_with_std, marks=needs_onnxruntime),
        pytest.param(run_jax_with_std, marks=[needs_jax, pytest.mark.slow]),
    ],
)


@in_both_libraries
@pytest.mark.parametrize(
    ("activation", "dtype", "cost"),
    [
        (["tanh", "relu", "gelu", "elu"], "float32", "quadratic"),
        pytest.param(["sigmoid", "identity", "silu", "softplus"], "float64", "gaussian", marks=pytest.mark.slow),
        pytest.param(["leaky_relu", "softmax", "gelu_tanh", "elu(0.5, 1.5)"], "float32", "mse", marks=pytest.mark.slow),
    ],
)
def test_error_bars_of_weights_are_those_of_predict(run, activation, dtype, cost, tmp_path):
    """Of a network and of an ensemble, before and after their calibration."""
    x = RNG.normal(size=(30, 3)).astype(dtype)
    members = [fit_laplace(activation, own, seed, dtype, cost=cost) for seed, own in enumerate((x[:20], x[5:]))]
    for net in (members[0], Ensemble.of(members)):
        for calibrated in (False, True):
            if calibrated:
                net.calibrate((x + 1, 100 + x[:, :2]))
            mean, std = net.predict(3 * x, return_std=True)
            assert std.max() > 1.3 * std.min()
            for found, expected in zip(run(net, 3 * x, tmp_path), (mean, std)):
                assert_close(found, expected, 10)


@needs_onnxruntime
def test_error_bars_of_weights_are_in_the_file_of_a_table_with_a_single_target(tmp_path):
    pandas = pytest.importorskip("pandas")
    from xpnet.tables import TableEncoder

    table = pandas.DataFrame(RNG.normal(size=(30, 3)), columns=["y", "std", "c"])
    encoder = TableEncoder().fit(table)
    x = encoder.transform(table)
    net = fit_laplace("tanh", x, dtype="float32", n_out=1, standardize=False)
    to_onnx(net, tmp_path / "net.onnx", encoder=encoder, return_std=True)
    session = open_onnx(tmp_path / "net.onnx")
    assert [value.name for value in session.get_outputs()] == ["y_", "std_"]
    outputs = session.run(None, {name: table[[name]].to_numpy() for name in table})
    for found, expected in zip(outputs, net.predict(x, return_std=True)):
        assert_close(found, expected[:, None])


@needs_onnxruntime
def test_a_pullback_that_has_no_operators_is_refused_and_the_file_without_error_bars_is_written_with_a_warning(
    tmp_path,
):
    own = Activation("own", lambda z, xp: xp.tanh(z), lambda g, z, a, xp: g * xp.round(1.0 - a * a))
    net = fit_laplace(own, RNG.normal(size=(30, 3)))
    with pytest.raises(ArgumentError, match=r"'own' cannot be written .*: it uses round.*; write its pullback with"):
        to_onnx(net, tmp_path / "net.onnx", return_std=True)
    with pytest.warns(UserWarning, match="what is exported lacks the error bars of fit_laplace"):
        run_onnx(net, RNG.normal(size=(9, 3)), tmp_path)


@pytest.mark.slow
@needs_jax
def test_error_bars_of_weights_in_the_units_of_targets_are_a_function_of_jax(tmp_path):
    x = RNG.normal(size=(30, 3))
    net = fit_laplace("tanh", x, standardize=False)
    assert_close(run_jax_with_std(net, x, tmp_path)[1], net.predict_std(x))


@pytest.mark.slow
@needs_jax
def test_jax_differentiates_error_bars(in_float64):
    x = RNG.normal(size=(30, 3))
    net = fit_laplace("tanh", x)
    with pytest.warns(UserWarning, match="lacks the error bars of fit_laplace.* with return_std=True"):
        f, params = to_jax(net)
    assert_close(f(params, x), net.forward(x))
    f, params = to_jax(net, return_std=True)
    std = jax.jit(lambda x: f(params, x)[1][..., 1])
    steps = 1e-5 * np.eye(3)
    slope, expected = jax.grad(std)(x[0]), (std(x[0] + steps) - std(x[0] - steps)) / 2e-5
    assert np.abs(expected).max() > 1e-3
    assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.slow
@needs_jax
@pytest.mark.parametrize("cost", ["gaussian", "mse"])
def test_jax_has_the_standard_deviations_of_ensembles(cost):
    """Calibrated out of fold, which gives widths that follow the mean."""
    x = RNG.normal(size=(40, 3)).astype("float32")
    y, folds = 100 + x[:, :1] + 0.1 * RNG.normal(size=(40, 1)), np.arange(40).reshape(4, 10)
    n_out = {"gaussian": 2, "mse": 1}[cost]
    ensemble = Ensemble([3, 4, n_out], 4, cost=cost, task="regression", standardize=True, seed=0)
    ensemble.train((x, y), 3, validation_rows=folds, progress=False)
    ensemble.calibrate((x, y), rows=folds)
    for found, expected in zip(run_jax_with_std(ensemble, x, None), ensemble.predict(x, return_std=True)):
        assert_close(found, expected[:, None])


# Pipelines


@pytest.mark.needs("onnx", "onnxruntime", "skl2onnx")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_file_of_a_pipeline_is_joined_from_two(tmp_path):
    import onnx
    import skl2onnx
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from xpnet.estimators import MLPClassifier

    X, y = RNG.normal(size=(30, 4)), np.arange(30) % 3  # in float64, as NumPy makes it
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=5, random_state=0)).fit(X, y)
    to_onnx(pipeline[-1].network_.to(dtype="float32"), tmp_path / "net.onnx")
    net = onnx.load(tmp_path / "net.onnx")
    first = skl2onnx.to_onnx(pipeline[:-1], X[:1].astype("float32"), target_opset=net.opset_import[0].version)
    model = onnx.compose.merge_models(first, net, io_map=[(first.graph.output[0].name, "x")])
    (outputs,) = open_onnx(model.SerializeToString()).run(["y"], {"X": X.astype("float32")})
    assert_allclose(outputs, pipeline.predict_proba(X), atol=1e-6)
