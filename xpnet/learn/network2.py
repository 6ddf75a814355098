"""Files of the book's network2.py: networks as JSON, read without executing anything."""

import json
import os
from collections.abc import Sequence
from reprlib import repr as shorten
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import check_folder, choices, refuse_duplicates
from xpnet.backends import get_backend
from xpnet.core.activations import sigmoid
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files import read_file, write_file
from xpnet.network.network import Network
from xpnet.value.structure import infer_task, parse_dtype

COSTS = {"QuadraticCost": "quadratic", "CrossEntropyCost": "cross_entropy"}  # names in the files -> names here
KEYS = ("sizes", "weights", "biases", "cost")


class Contents(NamedTuple):
    """The contents of a file of network2.py. All its neurons are sigmoid neurons."""

    sizes: list[int]
    weights: list[np.ndarray]  # (n_out, n_in) for each layer
    biases: list[np.ndarray]  # (n_out, 1) for each layer
    cost: str  # "quadratic" or "cross_entropy"


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Write the file that the book's network2.py writes: sizes, weights, biases and cost, as JSON. Synchronizes.

    The file holds nothing else: no state of the optimizer or the generator, and no `notes`. Use `Network.save` if you
    want to continue training later.

    Parameters
    ----------
    net
        The network, on any backend.
    path
        The file. An existing file is replaced whole, or not at all.

    Raises
    ------
    ArgumentError
        If network2.py cannot represent the network: it has only sigmoid neurons, the quadratic cost and cross-entropy,
        and neither dropout nor scaling of inputs.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> net = Network([784, 30, 10], cost="cross_entropy", dtype="float64", seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(net, f"{folder}/network")
    ...     again = load(f"{folder}/network")
    >>> bool((again.w[0] == net.w[0]).all())
    True
    """
    check_network(net)
    to_numpy = net.backend.to_numpy
    weights, biases = [to_numpy(w) for w in net.w], [to_numpy(b)[:, None] for b in net.b]
    check_folder(path)
    write_file(path, encode(Contents(net.sizes, weights, biases, net.cost_name)).encode())


def load(
    path: str | os.PathLike[str],
    *,
    backend: Any = None,
    device: Any = None,
    dtype: Any = "float64",
    seed: int | None = None,
) -> Network:
    """Read a network from a file written by the book's network2.py or by `save`.

    Parameters
    ----------
    path
        The file, JSON with the keys "sizes", "weights", "biases" and "cost".
    backend, device
        Where the network is to compute.
    dtype
        "float64", the dtype of the numbers in the file, or "float32", to which they are rounded.
    seed
        Seed of the network's own generator, for training.

    Returns
    -------
    Network
        A network of sigmoid neurons with these weights and biases; its cost is "quadratic" or "cross_entropy".

    Raises
    ------
    CheckpointError
        If the file does not hold such a network; the message says what is wrong.
    OSError
        If it cannot be read.
    """
    dtype, backend = parse_dtype(dtype), get_backend(backend, device)
    content = read_file(path)
    try:
        sizes, weights, biases, cost = decode(content.decode(), dtype)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not hold a network of network2.py ({error}); give a file written by the book's network2.py "
            "or by network2.save"
        ) from error
    net = Network(sizes, cost=cost, init="zeros", backend=backend, dtype=dtype, seed=seed)
    net.layers = list(zip(weights, biases))
    return net


def encode(contents: Contents) -> str:
    """Return the text that network2.py would write; its decimals give exactly the same float64 numbers.

    Examples
    --------
    >>> encode(Contents([2, 1], [np.array([[0.1, 2.0]])], [np.array([[-3.0]])], "quadratic"))
    '{"sizes": [2, 1], "weights": [[[0.1, 2.0]]], "biases": [[[-3.0]]], "cost": "QuadraticCost"}'
    """
    file_names = {name: file_name for file_name, name in COSTS.items()}
    record = {
        "sizes": contents.sizes,
        "weights": [w.tolist() for w in contents.weights],
        "biases": [b.tolist() for b in contents.biases],
        "cost": file_names[contents.cost],
    }
    return json.dumps(record)


def decode(text: str, dtype: str) -> Contents:
    """Parse the text of a file; arrays are made only after all their numbers have been checked.

    Raises
    ------
    ArgumentError
        If anything in it is wrong, missing or unknown.

    Examples
    --------
    >>> text = '{"sizes": [2, 1], "weights": [[[0.1, 2]]], "biases": [[[-3]]], "cost": "QuadraticCost"}'
    >>> decode(text, "float64")
    Contents(sizes=[2, 1], weights=[array([[0.1, 2. ]])], biases=[array([[-3.]])], cost='quadratic')
    """
    record = json.loads(
        text, parse_int=_parse_integer, parse_constant=_refuse_constant, object_pairs_hook=refuse_duplicates
    )
    if not isinstance(record, dict):
        raise ArgumentError(f"it must be an object with the keys {choices(KEYS)}, not {shorten(record)}")
    for key in sorted(record.keys() - KEYS):
        raise ArgumentError(f"the key {shorten(key)} is unknown; choose from {choices(KEYS)}")
    for key in KEYS:
        if key not in record:
            raise ArgumentError(f"the key {key!r} is missing")
    sizes = _parse_sizes(record["sizes"])
    if not isinstance(record["cost"], str) or record["cost"] not in COSTS:
        raise ArgumentError(f"cost={shorten(record['cost'])} is unknown; choose from {choices(COSTS)}")
    weights = _parse_matrices("weights", record["weights"], list(zip(sizes[1:], sizes)), dtype)
    biases = _parse_matrices("biases", record["biases"], [(n_out, 1) for n_out in sizes[1:]], dtype)
    return Contents(sizes, weights, biases, COSTS[record["cost"]])


def check_network(net: Network) -> None:
    """Check that network2.py can represent a network.

    Raises
    ------
    ArgumentError
        If it cannot; the message names the first argument of `Network` that network2.py lacks.
    """
    task = infer_task(sigmoid, net.sizes[-1])
    others = {
        f"activation={net.activation!r}": any(name != "sigmoid" for name in net.activation),
        f"output_activation={net.output_activation!r}": net.output_activation != "sigmoid",
        f"cost={net.cost_name!r}": net.cost_name not in COSTS.values(),
        f"dropout={net.dropout!r}": any(net.dropout),
        f"scale={net.scale!r}": net.scale is not None,
        "standardize=True": net.standardize or net.scaling is not None,
        f"task={net.task!r}": net.task != task,
    }
    for argument, is_other in others.items():
        if is_other:
            raise ArgumentError(
                f"{argument} cannot be written for network2.py; its networks have sigmoid neurons, the costs "
                f"{choices(COSTS.values())} and, here, the task {task!r}; use Network.save, which writes every network"
            )


def _parse_integer(digits: str) -> int | float:
    """Convert a whole number; one of more than 64 bits becomes a float, or infinity if it exceeds that range too."""
    return int(digits) if len(digits) < 19 else float(digits)


def _refuse_constant(name: str) -> None:
    raise ArgumentError(f"it holds {name}, which is not JSON")


def _parse_sizes(sizes: Any) -> list[int]:
    if not isinstance(sizes, list) or len(sizes) < 2:
        raise ArgumentError(f"sizes={shorten(sizes)} must be a list with the number of units of at least two layers")
    for l, size in enumerate(sizes):
        if type(size) is not int or size < 1:
            raise ArgumentError(f"sizes[{l}]={shorten(size)} must be a whole number of at least 1")
    return sizes


def _parse_matrices(key: str, matrices: Any, shapes: Sequence[tuple[int, int]], dtype: str) -> list[np.ndarray]:
    """Parse a matrix for each layer: a list of rows, each a list of finite numbers."""
    if not isinstance(matrices, list) or len(matrices) != len(shapes):
        raise ArgumentError(f"{key} must be a list of {len(shapes)} matrices, one for each layer after the inputs")
    return [_parse_matrix(f"{key}[{l}]", rows, shape, dtype) for l, (rows, shape) in enumerate(zip(matrices, shapes))]


def _parse_matrix(name: str, rows: Any, shape: tuple[int, int], dtype: str) -> np.ndarray:
    n_rows, n_columns = shape
    if not isinstance(rows, list) or len(rows) != n_rows:
        raise ArgumentError(f"{name} must be a list of {n_rows} rows of {n_columns} numbers, to match sizes")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != n_columns:
            raise ArgumentError(f"{name}[{i}]={shorten(row)} must be a list of {n_columns} numbers, to match sizes")
        if not set(map(type, row)) <= {int, float}:  # True and False are neither
            wrong = next(value for value in row if type(value) not in (int, float))
            raise ArgumentError(f"{name}[{i}] holds {shorten(wrong)}, but must hold numbers")
    with np.errstate(over="ignore"):
        matrix = np.array(rows, np.float64).astype(dtype)
    if not np.isfinite(matrix).all():
        raise ArgumentError(f"{name} holds a number that is infinite in {dtype}")
    return matrix
