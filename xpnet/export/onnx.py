"""ONNX: networks as files for onnxruntime and other programs that read this format."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.checkpoint.files import write_file
from xpnet.core.activations import Activation, find_kind
from xpnet.export.graph import Graph, Symbol, add_recorded
from xpnet.export.parts import Part, require_network, take_apart
from xpnet.network import Network
from xpnet.wording.checks import check_folder, choices, install_command
from xpnet.wording.version import __version__

OPSET = 17  # of 2022; the first with all operators that are used here
IR_VERSION = 8  # the version of the file format that belongs to this opset
MOST_BYTES = 2**31 - 1  # in a file: a limit of protobuf


def to_onnx(net: Network, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> None:
    """Write a network as an ONNX file, which computes `Network.forward`: its output "y" for its input "x".

    Quantiles are sorted, as `Network.predict` sorts them, and probabilities are calibrated, as `Network.predict_proba`
    calibrates them. The file includes scaling of inputs and outputs, but not dropout. The rows of "x" and "y" are
    examples, in any number. The settings of the network are in the metadata.

    Parameters
    ----------
    net
        The network, on any backend.
    path
        The file. An existing file is replaced whole, or not at all.
    input_dtype
        The dtype of "x": by default the network's; "uint8" for bytes, if the network has `scale`. onnxruntime refuses
        arrays of any other dtype.

    Raises
    ------
    TypeError
        If `net` is not a `Network`.
    ValueError
        If `input_dtype` is wrong, if your own activation cannot be written, or if the file would be too large.
    OSError
        If the file cannot be written.
    ImportError
        If onnx is not installed.

    Examples
    --------
    >>> import tempfile
    >>> net = Network([784, 30, 10], task="classification", scale=1 / 255, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(net, f"{folder}/digits.onnx", input_dtype="uint8")
    """
    net = require_network(net)
    dtype = _parse_input_dtype(net, input_dtype)
    check_folder(path)
    write_file(path, encode(net, dtype))


def encode(net: Network, input_dtype: str) -> bytes:
    """Return the bytes of the file that `to_onnx` writes. Synchronizes."""
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ImportError(f"to_onnx needs onnx ({error}); install it with: {install_command('onnx')}") from error
    graph = make_graph(net, input_dtype)
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MOST_BYTES:
        raise ValueError(
            f"net has {size:,} bytes of weights, but an ONNX file holds at most {MOST_BYTES:,}; use net.save(path), "
            'which has no such limit, or net.to(dtype="float32") if it is float64'
        )
    types = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "uint8": TensorProto.UINT8}
    content = helper.make_graph(
        [
            helper.make_node(operator, inputs, outputs, outputs[0], **attributes)
            for operator, inputs, outputs, attributes in list_nodes(graph)
        ],
        "xpnet",
        [helper.make_tensor_value_info("x", types[input_dtype], ["batch", net.sizes[0]])],
        [helper.make_tensor_value_info("y", types[net.dtype], ["batch", net.sizes[-1]])],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    model = helper.make_model(
        content,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="xpnet",
        producer_version=__version__,
        model_version=1,
    )
    helper.set_model_props(model, describe_settings(net))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def list_nodes(graph: Graph) -> list[tuple[str, list[str], list[str], dict[str, Any]]]:
    """List the nodes as ONNX has them: operator, inputs, outputs, attributes."""
    from onnx import helper

    to = helper.np_dtype_to_tensor_dtype(np.dtype(graph.dtype))
    return [
        (
            operator,
            inputs,
            [output, f"{output}_places"] if operator == "TopK" else [output],
            {"to": to} if operator == "Cast" else attributes,
        )
        for operator, inputs, output, attributes in graph.nodes
    ]


def describe_settings(net: Network) -> dict[str, str]:
    """Describe a network as texts, or JSON where a value is not a text: settings, classes, names of inputs, `notes`.

    Examples
    --------
    >>> describe_settings(Network([4, 3], task="classification"))["n_classes"]
    '3'
    """
    settings = {
        "task": net.task,
        "n_classes": {"classification": net.sizes[-1], "binary": 2}.get(net.task),
        "sizes": net.sizes,
        "activation": net.activation,
        "output_activation": net.output_activation,
        "cost": net.cost_name,
        "dropout": net.dropout,
        "scale": net.scale,
        "standardize": net.standardize,
        "dtype": net.dtype,
        "feature_names": net.feature_names,
        "notes": net.notes or None,
    }
    try:
        return {
            key: value if isinstance(value, str) else json.dumps(value, default=np.generic.item)
            for key, value in settings.items()
            if value is not None
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"net.notes cannot be written as JSON ({error}); keep plain values there") from error


def make_graph(net: Network, input_dtype: str) -> Graph:
    """Make the graph of a network; a Cast node converts inputs of another dtype."""
    graph = Graph(net.dtype)
    symbol, layer = Symbol("x", net.sizes[0]), 0
    if input_dtype != net.dtype:
        symbol = graph.add("Cast", [symbol])
    for part in take_apart(net):
        layer += part.kind == "dense"
        symbol = _add_part(graph, part, symbol, layer)
    graph.finish(symbol, "y")
    return graph


def _add_part(graph: Graph, part: Part, x: Symbol, layer: int) -> Symbol:
    match part.kind:
        case "scale":
            return graph.add("Mul", [x, graph.constant("scale", part.values[0])])
        case "standardize":
            mean, std = (graph.constant(f"x_{name}", array) for name, array in zip(("mean", "std"), part.values))
            return graph.add("Div", [graph.add("Sub", [x, mean]), std])
        case "dense":
            w, b = (graph.constant(f"{name}_{layer}", array) for name, array in zip("wb", part.values))
            return graph.add("Gemm", [x, w, b], b.n, transB=1)
        case "activation":
            return add_activation(graph, part.values[0], x)
        case "rescale":
            factor, shift = (graph.constant(f"y_{name}", array) for name, array in zip(("std", "mean"), part.values))
            return graph.add("Add", [graph.add("Mul", [x, factor]), shift])
        case "sort":
            return _add_sort(graph, x, len(part.values[0]))
        case _:  # dropout, which is only for training
            return x


def _add_sort(graph: Graph, x: Symbol, n: int) -> Symbol:
    """Sort across n blocks of columns: the first block gets the smallest values, and so on."""
    shapes = [
        graph.constant(name, np.array(shape, np.int64))
        for name, shape in (("blocks", [0, n, x.n // n]), ("columns", [0, x.n]), ("n_blocks", [n]))
    ]
    blocks = graph.add("Reshape", [x, shapes[0]], x.n // n)
    return graph.add("Reshape", [graph.add("TopK", [blocks, shapes[2]], axis=1, largest=0), shapes[1]], x.n)


def add_activation(graph: Graph, sigma: Activation, z: Symbol) -> Symbol:
    """Add an activation: as operators that are made for it where ONNX has them, else as networks compute it."""
    kind, numbers = find_kind(sigma)
    forms = {**FORMS, **SINGLE_FORMS} if graph.dtype == "float32" else FORMS
    return forms[kind](graph, z, *numbers) if kind in forms else add_recorded(graph, sigma, z)


def _operator(name: str, **attributes: Any) -> Callable[[Graph, Symbol], Symbol]:
    return lambda graph, z: graph.add(name, [z], **attributes)


def _add_elu(graph: Graph, z: Symbol, alpha: float, scale: float) -> Symbol:
    if scale == 1.0:
        return graph.add("Elu", [z], alpha=alpha)
    return graph.add("Selu", [z], alpha=alpha, gamma=scale)


def _add_gelu(graph: Graph, z: Symbol) -> Symbol:
    half = graph.add("Mul", [0.5, z])
    erf = graph.add("Erf", [graph.add("Mul", [z, math.sqrt(0.5)])])
    return graph.add("Mul", [half, graph.add("Add", [erf, 1.0])])


# Kinds of activations -> functions of the graph, z and their numbers
FORMS: dict[str | None, Callable[..., Symbol]] = {
    "sigmoid": _operator("Sigmoid"),
    "tanh": _operator("Tanh"),
    "relu": _operator("Relu"),
    "softmax": _operator("Softmax", axis=-1),
    "identity": lambda graph, z: z,
}
# For float32 only: in float64, onnxruntime does not implement Elu, Selu, Softplus and Erf, nor, in version 1.20, the
# operator into which it fuses z · sigmoid(z). Besides, operators store their attributes in float32
SINGLE_FORMS: dict[str | None, Callable[..., Symbol]] = {
    "leaky_relu": lambda graph, z, slope: graph.add("LeakyRelu", [z], alpha=slope),
    "elu": _add_elu,  # and SELU
    "softplus": _operator("Softplus"),
    "gelu": _add_gelu,
    "silu": lambda graph, z: graph.add("Mul", [z, graph.add("Sigmoid", [z])]),
}


def _parse_input_dtype(net: Network, value: Any) -> str:
    if value is None:
        return net.dtype
    accepted = (net.dtype, "uint8")
    name = value if isinstance(value, str) else _name_of_dtype(value)
    if name not in accepted:
        raise ValueError(f"input_dtype={value!r} is not available here; choose from {choices(accepted)}")
    if name == "uint8" and net.scale is None:
        raise ValueError(
            f"input_dtype={value!r} is for a network with scale, as in Network(..., scale=1/255); leave it out"
        )
    return name


def _name_of_dtype(value: Any) -> str:
    try:
        return np.dtype(value).name
    except TypeError:
        return str(value).split(".")[-1]  # another library's, as in torch.float32
