"""Files of the book's network2.py: read and written exactly; anything else is refused by name."""

import json
import os
import tracemalloc
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpnet import SGD, BackendError, CheckpointError, Network
from xpnet.learn import network2

# Files hold NumPy's numbers, on whichever library
pytestmark = pytest.mark.not_on("jax")

X = np.random.default_rng(0).random((6, 3))
LABELS = np.array([0, 1, 0, 1, 1, 0])
NAMES = {"quadratic": "QuadraticCost", "cross_entropy": "CrossEntropyCost"}


class Book:
    """What network2.py does, written anew from the book's description: columns of numbers, one example at a time."""

    def __init__(self, sizes: list[int], cost: str, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.sizes, self.cost = sizes, cost
        self.biases = [rng.standard_normal((n, 1)) for n in sizes[1:]]
        self.weights = [rng.standard_normal((n, m)) / np.sqrt(m) for m, n in pairwise(sizes)]

    def feedforward(self, a: np.ndarray) -> np.ndarray:
        for w, b in zip(self.weights, self.biases):
            a = 1.0 / (1.0 + np.exp(-(np.dot(w, a) + b)))
        return a

    def total_cost(self, x: np.ndarray, y: np.ndarray) -> float:
        total = 0.0
        for row, target in zip(x, y):
            a, t = self.feedforward(row[:, None]), target[:, None]
            if self.cost == "QuadraticCost":
                total += 0.5 * np.linalg.norm(a - t) ** 2
            else:
                total += np.sum(-t * np.log(a) - (1 - t) * np.log(1 - a))
        return total / len(x)

    def save(self, path: Path) -> None:
        weights, biases = ([array.tolist() for array in arrays] for arrays in (self.weights, self.biases))
        with open(path, "w") as file:
            json.dump({"sizes": self.sizes, "weights": weights, "biases": biases, "cost": self.cost}, file)

    @classmethod
    def load(cls, path: Path) -> "Book":
        with open(path) as file:
            record = json.load(file)
        book = cls(record["sizes"], record["cost"])
        book.weights, book.biases = ([np.array(array) for array in record[key]] for key in ("weights", "biases"))
        return book


def assert_equal_layers(net: Network, book: Book) -> None:
    for w, b, book_w, book_b in zip(net.w, net.b, book.weights, book.biases, strict=True):
        np.testing.assert_array_equal(net.backend.to_numpy(w), book_w)
        np.testing.assert_array_equal(net.backend.to_numpy(b), book_b[:, 0])


# There and back


@pytest.mark.parametrize("cost", NAMES)
def test_a_network_of_the_book_computes_the_same_here(tmp_path: Path, place: Place, dtype: str, cost: str) -> None:
    book = Book([3, 4, 5, 2], NAMES[cost])
    book.save(tmp_path / "net")
    net = network2.load(tmp_path / "net", dtype=dtype, **place._asdict())
    assert (net.sizes, net.activation, net.output_activation) == ([3, 4, 5, 2], ["sigmoid", "sigmoid"], "sigmoid")
    assert (net.cost_name, net.dtype, net.task) == (cost, dtype, "classification")
    assert str(net.backend) == str(Network([3, 2], **place._asdict()).backend)
    close = {"rtol": 1e-12 if dtype == "float64" else 2e-6}
    wanted = np.hstack([book.feedforward(x[:, None]) for x in X]).T
    np.testing.assert_allclose(net.backend.to_numpy(net.forward(X)), wanted, **close)
    y = np.eye(2)[LABELS]
    np.testing.assert_allclose(net.cost((X, y)), book.total_cost(X, y), **close)
    assert net.evaluate((X, LABELS)) == int((wanted.argmax(axis=1) == LABELS).sum())


@pytest.mark.parametrize("cost", NAMES)
def test_a_file_written_here_is_the_books_byte_for_byte(tmp_path: Path, place: Place, cost: str) -> None:
    book = Book([3, 4, 2], NAMES[cost])
    book.save(tmp_path / "there")
    net = network2.load(tmp_path / "there", **place._asdict())
    assert_equal_layers(net, book)  # float64, unless another dtype is given
    network2.save(net, tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_a_trained_network_goes_to_the_book_and_comes_back_exactly(tmp_path: Path, place: Place, dtype: str) -> None:
    net = Network([3, 4, 2], cost="cross_entropy", dtype=dtype, seed=1, **place._asdict())
    net.train((X, LABELS), epochs=2, optimizer=SGD(momentum=0.9), progress=False)
    network2.save(net, str(tmp_path / "net"))
    assert_equal_layers(net, Book.load(tmp_path / "net"))
    back = network2.load(str(tmp_path / "net"), dtype=dtype, **place._asdict())
    assert_equal_layers(back, Book.load(tmp_path / "net"))
    assert (back.cost_name, back.optimizer, back.notes) == ("cross_entropy", SGD(), {})


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_float64_comes_back_exactly(tmp_path: Path, numbers: list[float]) -> None:
    net = Network([2, 2], dtype="float64")
    net.layers = [(np.reshape(numbers[:4], (2, 2)), numbers[4:])]
    network2.save(net, tmp_path / "net")
    back = network2.load(tmp_path / "net")
    assert [*back.w[0].ravel(), *back.b[0]] == numbers
    assert [np.signbit(number) for number in back.w[0].ravel()] == [np.signbit(number) for number in numbers[:4]]


@pytest.mark.parametrize("n_out", [1, 2])
def test_a_network_without_hidden_layers_goes_and_comes(tmp_path: Path, n_out: int) -> None:
    net = Network([3, n_out], dtype="float64", seed=1)
    network2.save(net, tmp_path / "net")
    back = network2.load(tmp_path / "net")
    assert (back.sizes, back.task) == ([3, n_out], net.task)
    np.testing.assert_array_equal(back.forward(X), net.forward(X))


def test_the_seed_decides_how_it_trains(tmp_path: Path) -> None:
    Book([3, 4, 2], "QuadraticCost").save(tmp_path / "net")
    nets = [network2.load(tmp_path / "net", seed=seed) for seed in (1, 1, 2)]
    for net in nets:
        net.train((X, LABELS), epochs=2, batch_size=2, lr=1.0, progress=False)
    np.testing.assert_array_equal(nets[0].w[0], nets[1].w[0])
    assert not np.array_equal(nets[0].w[0], nets[2].w[0])


def test_wrong_arguments_are_no_fault_of_the_file(tmp_path: Path) -> None:
    Book([3, 2], "QuadraticCost").save(tmp_path / "net")
    for error, options, message in (
        (ValueError, {"dtype": "float16"}, "dtype='float16' is unknown; choose from 'float32', 'float64'"),
        (ValueError, {"seed": -1}, "seed=-1 must be None or a whole number of at least 0"),
        (BackendError, {"backend": "nothing"}, "backend='nothing'"),
    ):
        with pytest.raises(error, match=message) as caught:
            network2.load(tmp_path / "net", **options)
        assert not isinstance(caught.value, CheckpointError)


# What network2.py does not have


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"activation": "relu"}, r"activation=\['relu'\]"),
        ({"output_activation": "softmax", "cost": "log_likelihood"}, "output_activation='softmax'"),
        ({"task": "classification"}, "output_activation='softmax'"),
        ({"task": "regression"}, "output_activation='identity'"),
        ({"cost": "mse"}, "cost='mse'"),
        ({"cost": "absolute"}, "cost='absolute'"),
        ({"dropout": 0.5}, r"dropout=\[0\.0, 0\.5\]"),
        ({"scale": 1 / 255}, r"scale=0\.0039"),
        ({"standardize": True}, "standardize=True"),
        ({"task": "multilabel"}, "task='multilabel'"),
        ({"task": "regression", "output_activation": "sigmoid"}, "task='regression'"),
    ],
    ids=str,
)
def test_a_network_that_the_book_does_not_have_is_refused(tmp_path: Path, options: Any, argument: str) -> None:
    (tmp_path / "net").write_text("as it was")
    message = (
        rf"^{argument}.* cannot be written for network2\.py; its networks have sigmoid neurons, the costs 'quadratic', "
        r"'cross_entropy' and, here, the task 'classification'; use Network.save, which writes every network$"
    )
    with pytest.raises(ValueError, match=message):
        network2.save(Network([3, 4, 2], **options), tmp_path / "net")
    assert (tmp_path / "net").read_text() == "as it was"


# Files that hold something else


def text(**changes: Any) -> str:
    """A file of a network [2, 2, 1], with other values for some keys; None leaves a key out."""
    record = {
        "sizes": [2, 2, 1],
        "weights": [[[0.5, -1.0], [2.0, 3]], [[1e-3, 0]]],
        "biases": [[[0.0], [1.0]], [[-1.5]]],
        "cost": "QuadraticCost",
        **changes,
    }
    return json.dumps({key: value for key, value in record.items() if value is not None})


def refuse(path: Path, content: str | bytes, reason: str | None = None) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError, match=reason) as caught:
        network2.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} does not hold a network of network2.py (")
    assert message.endswith("; give a file written by the book's network2.py or by network2.save")
    assert len(message) < 500 + len(str(path))


WEIGHTS = [[[0.5, -1.0], [2.0, 3.0]], [[1e-3, 0.0]]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # no JSON of an object
        ("", r"\(Expecting value: line 1 column 1"),
        (b"\x80\x04K\x01.", "'utf-8' codec can't decode byte 0x80"),
        (text().encode("utf-16"), "'utf-8' codec can't decode byte"),
        ("\ufeff" + text(), "Unexpected UTF-8 BOM"),
        (text() + "}", "Extra data"),
        (text()[:-1], "delimiter"),
        ("null", "it must be an object with the keys 'sizes', 'weights', 'biases', 'cost', not None"),
        ("[1, 2]", r"it must be an object with the keys .*, not \[1, 2\]"),
        ("[" * 200_000, "recursion|Stack overflow"),
        ('{"a":' * 200_000, "recursion|Stack overflow"),
        # keys
        (text(sizes=None), "the key 'sizes' is missing"),
        (text(cost=None), "the key 'cost' is missing"),
        (text(evil=1), "the key 'evil' is unknown; choose from 'sizes', 'weights', 'biases', 'cost'"),
        (text(**{"\ud800": 1}), r"the key '\\ud800' is unknown"),
        (text()[:-1] + ', "sizes": [2, 2, 1]}', "the key 'sizes' appears twice"),
        (text(**{"x" * 10**6: 1}), r"the key 'x+\.\.\.x+' is unknown"),
        # cost
        (
            text(cost="LogLikelihoodCost"),
            "cost='LogLike.*' is unknown; choose from 'QuadraticCost', 'CrossEntropyCost'",
        ),
        (text(cost="quadratic"), "cost='quadratic' is unknown; choose from"),
        (text(cost=["QuadraticCost"]), r"cost=\['QuadraticCost'\] is unknown"),
        (text(cost="A" * 10**6), r"cost='A+\.\.\.A+' is unknown"),
        # sizes
        (text(sizes="221"), "sizes='221' must be a list with the number of units of at least two layers"),
        (text(sizes={"a": 2}), "sizes={'a': 2} must be a list"),
        (text(sizes=[]), r"sizes=\[\] must be a list with the number of units of at least two layers"),
        (text(sizes=[2]), r"sizes=\[2\] must be a list with the number of units of at least two layers"),
        (text(sizes=[2, 0, 1]), r"sizes\[1\]=0 must be a whole number of at least 1"),
        (text(sizes=[2, -2, 1]), r"sizes\[1\]=-2 must be"),
        (text(sizes=[2, 2.0, 1]), r"sizes\[1\]=2\.0 must be"),
        (text(sizes=[2, True, 1]), r"sizes\[1\]=True must be"),
        (text(sizes=[2, "2", 1]), r"sizes\[1\]='2' must be"),
        (text(sizes=[2, [2], 1]), r"sizes\[1\]=\[2\] must be"),
        (text(sizes=[2**63, 2, 1]), r"sizes\[0\]=9\.22\S+ must be"),
        (text(sizes=[1] * 10**5 + ["x" * 10**6]), r"sizes\[100000\]='x+\.\.\.x+' must be"),
        (text(sizes=[10**17, 10**17]), "weights must be a list of 1 matrices, one for each layer after the inputs"),
        (text(sizes=[2, 10**17, 1]), r"weights\[0\] must be a list of 100000000000000000 rows of 2 numbers"),
        # weights and biases that contradict sizes
        (text(sizes=[2, 1, 1]), r"weights\[0\] must be a list of 1 rows of 2 numbers, to match sizes"),
        (text(sizes=[3, 2, 1]), r"weights\[0\]\[0\]=\[0\.5, -1\.0\] must be a list of 3 numbers, to match sizes"),
        (text(sizes=[2, 2]), "weights must be a list of 1 matrices"),
        (text(weights=[]), "weights must be a list of 2 matrices, one for each layer after the inputs"),
        (text(weights=3), "weights must be a list of 2 matrices"),
        (text(weights={"0": WEIGHTS[0], "1": WEIGHTS[1]}), "weights must be a list of 2 matrices"),
        (text(weights=[WEIGHTS[0], 1.0]), r"weights\[1\] must be a list of 1 rows of 2 numbers"),
        (text(weights=[WEIGHTS[0], [1.0, 2.0]]), r"weights\[1\] must be a list of 1 rows of 2 numbers"),
        (text(weights=[[[1, 2], [3]], WEIGHTS[1]]), r"weights\[0\]\[1\]=\[3\] must be a list of 2 numbers"),
        (text(weights=[[[1, 2], [3, 4, 5]], WEIGHTS[1]]), r"weights\[0\]\[1\]=\[3, 4, 5\] must be a list of 2"),
        (text(weights=[[[1, 2], "34"], WEIGHTS[1]]), r"weights\[0\]\[1\]='34' must be a list of 2 numbers"),
        (text(biases=[[0.0, 1.0], [-1.5]]), r"biases\[0\]\[0\]=0\.0 must be a list of 1 numbers, to match sizes"),
        (text(biases=[[[0.0, 1.0]], [[-1.5]]]), r"biases\[0\] must be a list of 2 rows of 1 numbers, to match sizes"),
        (text(biases=[[[0.0], [1.0]]]), "biases must be a list of 2 matrices"),
        # numbers
        (text(weights=[WEIGHTS[0], [[True, 1.0]]]), r"weights\[1\]\[0\] holds True, but must hold numbers"),
        (text(weights=[WEIGHTS[0], [["1", 1.0]]]), r"weights\[1\]\[0\] holds '1', but must hold numbers"),
        (text(weights=[WEIGHTS[0], [[None, 1.0]]]), r"weights\[1\]\[0\] holds None, but must hold numbers"),
        (text(weights=[WEIGHTS[0], [[[1.0], 1.0]]]), r"weights\[1\]\[0\] holds \[1\.0\], but must hold numbers"),
        (text(biases=[[[0.0], [{}]], [[-1.5]]]), r"biases\[0\]\[1\] holds {}, but must hold numbers"),
        (text(biases=[[[0.0], [np.nan]], [[-1.5]]]), "it holds NaN, which is not JSON"),
        (text(biases=[[[0.0], [np.inf]], [[-1.5]]]), "it holds Infinity, which is not JSON"),
        (text(biases=[[[0.0], [-np.inf]], [[-1.5]]]), "it holds -Infinity, which is not JSON"),
        (text().replace("-1.5", "1e999"), r"biases\[1\] holds a number that is infinite in float64"),
        (text().replace("-1.5", "-1" + "0" * 400), r"biases\[1\] holds a number that is infinite in float64"),
        (text().replace("-1.5", "9" * 10**6), r"biases\[1\] holds a number that is infinite in float64"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_of_something_else_is_refused_with_the_reason(tmp_path: Path, content: Any, reason: str) -> None:
    refuse(tmp_path / "net", content, reason)


def test_the_file_that_is_changed_above_loads(tmp_path: Path) -> None:
    (tmp_path / "net").write_text(text())
    assert [w.tolist() for w in network2.load(tmp_path / "net").w] == WEIGHTS


def test_a_number_too_large_for_float32_is_named_and_loads_in_float64(tmp_path: Path) -> None:
    (tmp_path / "net").write_text(text().replace("-1.5", "1e200"))
    with pytest.raises(CheckpointError, match=r"biases\[1\] holds a number that is infinite in float32"):
        network2.load(tmp_path / "net", dtype="float32")
    assert network2.load(tmp_path / "net").b[1].tolist() == [1e200]


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(len(text())):
        refuse(tmp_path / "net", text()[:length])


def test_files_of_xpnet_are_another_kind(tmp_path: Path) -> None:
    Network([2, 2, 1]).save(tmp_path / "net")
    refuse(tmp_path / "net", (tmp_path / "net").read_bytes())
    (tmp_path / "net").write_text(text())
    with pytest.raises(CheckpointError, match="does not hold an xpnet network"):
        Network.load(tmp_path / "net")


def test_paths_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    net = Network([2, 1])
    with pytest.raises(FileNotFoundError, match="nothing"):
        network2.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"net: there is no folder .*nothing"):
        network2.save(net, tmp_path / "nothing" / "net")
    for method in (network2.load, partial(network2.save, net)):
        with pytest.raises(IsADirectoryError, match=str(tmp_path)):
            method(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for method in (network2.load, partial(network2.save, Network([2, 1]))):
        with pytest.raises(OSError, match=r"Not a regular file: .*pipe"):
            method(tmp_path / "pipe")


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        text(sizes=[10**9, 10**9], weights=[[]], biases=[[]]),
        text(sizes=[10**9, 1], weights=[[[0.5] * 1000]], biases=[[[0.5]]]),
        "[" + "[]," * 50_000 + "[]]",
        '{"weights": [' + "{}," * 50_000 + "{}]}",
        "[" * 100_000,
        '"' + "x" * 100_000 + '"',
    ],
    ids=lambda content: content[:30],
)
def test_memory_stays_within_a_factor_of_the_file(tmp_path: Path, content: str) -> None:
    """An empty list is three characters in the file, and some sixty bytes in Python."""
    refuse(tmp_path / "net", content)
    tracemalloc.start()
    try:
        refuse(tmp_path / "net", content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(content) + 200_000


# Anything at all

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**63, 10**400]),
    st.floats(-100, 100),
    st.sampled_from([1e39, float("nan"), float("inf"), "", "1", "sizes", "QuadraticCost", "CrossEntropyCost"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["sizes", "x"]), inner, max_size=2),
    max_leaves=6,
)


@st.composite
def changed_texts(draw: st.DrawFn) -> str:
    """The text of a network in which one to three places hold another value, or are gone, or have a new neighbour."""
    record = json.loads(text())
    for _ in range(draw(st.integers(1, 3))):
        parent, key = record, draw(st.sampled_from([*record] or ["sizes"]))
        while isinstance(parent.get(key) if isinstance(parent, dict) else parent[key], list):
            child = parent[key]
            if not child or draw(st.integers(0, 3)) == 0:
                break
            parent, key = child, draw(st.integers(0, len(child) - 1))
        change = draw(st.sampled_from(["set", "remove", "insert"]))
        if change == "remove" and key in (parent if isinstance(parent, dict) else range(len(parent))):
            del parent[key]
        elif change == "insert" and isinstance(parent, list):
            parent.insert(key, draw(VALUES))
        else:
            parent[key] = draw(st.floats(-100, 100) | VALUES)
    return json.dumps(record)


@st.composite
def changed_bytes(draw: st.DrawFn) -> bytes:
    """The text of a network in which some bytes are others."""
    content = bytearray(text().encode())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content) - 1))
        piece = draw(st.binary(max_size=3) | st.sampled_from([b"0", b"-", b"[", b"]", b",", b"e", b".", b" "]))
        content[start : start + draw(st.integers(0, 3))] = piece
    return bytes(content)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(changed_texts().map(str.encode) | changed_bytes() | st.binary(max_size=20))
def test_every_file_gives_a_network_that_trains_or_a_checkpoint_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net").write_bytes(content)
    try:
        net = network2.load(tmp_path / "net")
    except CheckpointError:
        refuse(tmp_path / "net", content)
        return
    record = json.loads(content)
    assert net.sizes == record["sizes"]
    assert [w.tolist() for w in net.w] == record["weights"]
    assert [[[x] for x in b.tolist()] for b in net.b] == record["biases"]
    x = np.ones((2, net.sizes[0]))
    assert np.isfinite(net.forward(x)).all()
    net.train((x, [0, 0]), epochs=1, progress=False)
    network2.save(net, tmp_path / "net")
    network2.load(tmp_path / "net")
