"""ONNX: networks as files for onnxruntime and other programs that read this format."""

import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet._checks import check_folder, choices, install_command, yes_or_no
from xpnet.core.activations import Activation, find_kind
from xpnet.core.calibration import ONE_SIGMA, find_error
from xpnet.errors import ArgumentError
from xpnet.export._table_graph import add_columns
from xpnet.export.graph import Graph, Symbol, ValueInfo, add_recorded
from xpnet.export.parts import Part, require_networks, take_apart, take_laplace, warn_of_losses
from xpnet.files import write_file
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables.columns import Column
from xpnet.tables.encoding import choose_columns, find_labels
from xpnet.version import __version__

__all__ = [
    "describe_onnx",
    "to_onnx",
]

OPSET = 17  # of 2022; the first with all operators that are used here
IR_VERSION = 8  # the version of the file format that belongs to this opset
OTHER_SETS = {"LabelEncoder": "ai.onnx.ml"}  # operators that belong to another set
OTHER_OPSET = 3  # its version that belongs to the same release of ONNX
MOST_BYTES = 2**31 - 1  # in a file: a limit of protobuf


def to_onnx(
    net: Network | Ensemble,
    path: str | os.PathLike[str],
    *,
    encoder: Any = None,
    input_dtype: str | None = None,
    return_std: bool = False,
) -> None:
    """Write a network as an ONNX file, which computes `Network.forward`: its output "y" for its input "x".

    Probabilities are calibrated, as `Network.predict_proba` returns them, and quantiles sorted, as by
    `Network.predict`. Of an ensemble, "y" is the mean over the members; standard deviations are those of
    `Ensemble.predict`. The file includes scaling of inputs and outputs, but not dropout. The rows of "x" and "y" are
    examples, in any number. The settings of the network are in the metadata.

    If the network was trained on a table, the file takes the table: in place of "x", it has an input (batch, 1) for
    each column, with its name. Numbers are float64, NaN where they are missing; dates are days since 1970, in the same
    way; texts are strings without spaces around them, empty where they are missing. If classes have labels, in
    ``net.notes["labels"]``, an output "label" (batch,) is the label of the predicted class. If a column has the name of
    an output, this has an underscore behind it.

    Parameters
    ----------
    net
        The network or the ensemble, on any backend.
    path
        The file. An existing file is replaced whole, or not at all.
    encoder
        The fitted `TableEncoder` whose inputs the network was trained on. The networks of ``xpnet train`` know theirs;
        False writes a file that takes encoded numbers, "x".
    input_dtype
        The dtype of "x": by default the network's; "uint8" for bytes, if the network has `scale`. onnxruntime refuses
        arrays of any other dtype.
    return_std
        Write an output "std" (batch, n_targets), too: after `fit_laplace`, the standard deviations that
        `Network.predict` returns with `return_std`.

    Raises
    ------
    ArgumentError
        If `net` is neither a `Network` nor an `Ensemble`, or `encoder` is not fitted; or if `encoder`, `input_dtype`
        or `return_std` does not fit the network, if your own activation cannot be written, or if the file would be too
        large.
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
    networks = require_networks(net)
    columns = choose_columns(networks[0], encoder)
    dtype = _parse_input_dtype(networks[0], input_dtype, bool(columns))
    check_folder(path)
    if yes_or_no("return_std", return_std) and not all(network.value.laplace for network in networks):
        raise ArgumentError(
            'return_std=True needs fit_laplace; of a network with cost="gaussian", "y" has the standard deviations'
        )
    content = encode_model(net, dtype, columns, return_std)
    warn_of_losses(net, takes_table=bool(columns), has_std=return_std)
    write_file(path, content)


def encode_model(net: Network | Ensemble, input_dtype: str, columns: Sequence[Column], return_std: bool) -> bytes:
    """Return the bytes of the file that `to_onnx` writes. Synchronizes."""
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise ImportError(f"to_onnx needs onnx ({error}); install it with: {install_command('onnx')}") from error
    graph, first = make_graph(net, input_dtype, columns, return_std), require_networks(net)[0]
    if first.task in ("classification", "binary") and (labels := find_labels(first)):
        _add_label(graph, labels)
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MOST_BYTES:
        raise ArgumentError(
            f"net has {size:,} bytes of weights, but an ONNX file holds at most {MOST_BYTES:,}; use net.save(path), "
            'which has no such limit, or net.to(dtype="float32") if it is float64'
        )
    others = {OTHER_SETS[operator] for operator, *_ in graph.nodes if operator in OTHER_SETS}
    content = helper.make_graph(
        [_make_node(*node) for node in graph.nodes],
        "xpnet",
        [_make_value(value) for value in graph.inputs],
        [_make_value(value) for value in graph.outputs],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    model = helper.make_model(
        content,
        opset_imports=[helper.make_opsetid("", OPSET), *(helper.make_opsetid(name, OTHER_OPSET) for name in others)],
        ir_version=IR_VERSION,
        producer_name="xpnet",
        producer_version=__version__,
        model_version=1,
    )
    helper.set_model_props(model, describe_settings(require_networks(net)))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _make_value(value: ValueInfo) -> Any:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(object if value.dtype == "string" else value.dtype))
    return helper.make_tensor_value_info(value.name, kind, ["batch", *value.shape], value.description)


def _make_node(operator: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> Any:
    from onnx import helper

    outputs = [output, f"{output}_places"] if operator == "TopK" else [output]
    if operator == "Cast":
        attributes = {"to": helper.np_dtype_to_tensor_dtype(np.dtype(attributes["to"]))}
    return helper.make_node(operator, inputs, outputs, output, domain=OTHER_SETS.get(operator, ""), **attributes)


def describe_onnx(path: str | os.PathLike[str]) -> list[str]:
    """Describe the inputs and outputs of a file that `to_onnx` wrote, line by line; further lines are for columns."""
    import onnx

    graph = onnx.load_model(os.fspath(path)).graph
    outputs = ", ".join(map(_describe_value, graph.output))
    if not graph.input[0].doc_string:
        return [f"{_describe_value(graph.input[0])}, {outputs}"]
    lines = [f"  {_describe_value(value)}: {value.doc_string}" for value in graph.input]
    return [f"{outputs}, from the columns of a table; NaN, or an empty string, is a missing value:", *lines]


def _describe_value(value: Any) -> str:
    from onnx import TensorProto, helper

    kind = value.type.tensor_type
    is_text = kind.elem_type == TensorProto.STRING
    dtype = "string" if is_text else helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    shape = ", ".join(size.dim_param or str(size.dim_value) for size in kind.shape.dim)
    return f"{value.name} ({shape}) of {dtype}"


def describe_settings(networks: Sequence[Network]) -> dict[str, str]:
    """Describe networks as texts, or JSON where a value is not a text: settings, classes, names of inputs, `notes`.

    Members of an ensemble have the same settings; the notes are those of the first.

    Examples
    --------
    >>> describe_settings([Network([4, 3], task="classification")])["n_classes"]
    '3'
    """
    net = networks[0]
    settings = {
        **net.settings,
        "members": len(networks) if len(networks) > 1 else None,
        "task": net.task,
        "n_classes": {"classification": net.sizes[-1], "binary": 2}.get(net.task),
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
        raise ArgumentError(f"net.notes cannot be written as JSON ({error}); keep plain values there") from error


def make_graph(net: Network | Ensemble, input_dtype: str, columns: Sequence[Column], return_std: bool) -> Graph:
    """Make the graph of a network, or of the members of an ensemble, for encoded inputs or the columns of a table.

    Members are computed one after the other. One product for the layers of all members, with their weights in one
    array, was up to 20 % slower in onnxruntime, which prepares the weights of single layers beforehand.
    """
    networks = require_networks(net)
    first = networks[0]
    graph = Graph(first.dtype)
    if columns:
        x = add_columns(graph, columns)
    else:
        x = graph.input(ValueInfo("x", input_dtype, (first.sizes[0],)))
        if input_dtype != graph.dtype:
            x = graph.add("Cast", [x], to=graph.dtype)
    dtype = "float64" if columns else graph.dtype
    outputs, last = list[Symbol](), list[Part]()
    for k, member in enumerate(networks):
        parts, suffix = take_apart(member, "float64", temperature=net.temperature), f"_of_{k}" if k else ""
        if net.temperature is not None:  # the members have a geometric mean: the activation is that of their mean z
            parts, last = parts[:-1], parts[-1:]
        results = _add_parts(graph, parts, x, dtype, suffix)
        outputs += [_add_bars(graph, member, parts, results, suffix) if return_std else results[-1]]
    y = _add_mean(graph, outputs, return_std or first.value.model.cost.has_std)
    if not return_std:
        y = _add_parts(graph, last, y, graph.dtype, "")[-1]
        graph.output(y, ValueInfo("y", graph.dtype, (y.n,)))
        return graph
    mean, std = (graph.take_columns(y, half) for half in np.split(np.arange(y.n), 2))
    if net.calibration is not None:
        factor = find_error(net.calibration, ONE_SIGMA).astype(graph.dtype)
        std = graph.add("Mul", [std, graph.constant("calibration", factor)])
    for name, part in (("y", mean), ("std", std)):
        graph.output(part, ValueInfo(name, graph.dtype, (part.n,)))
    return graph


def _add_parts(graph: Graph, parts: Sequence[Part], x: Symbol, dtype: str, suffix: str) -> list[Symbol]:
    """Add the parts of a network, for inputs of this dtype: they are scaled in it, and then converted.

    The list has the inputs, and the results of each part.
    """
    results, layer = [x], 0
    for part in parts:
        if part.kind in ("scale", "standardize", "rescale"):
            values = tuple(array.astype(graph.dtype if layer else dtype) for array in part.values)
            part = part._replace(values=values)
        elif not layer and dtype != graph.dtype:
            x = results[-1] = graph.add("Cast", [x], to=graph.dtype)
            dtype = graph.dtype
        layer += part.kind == "dense"
        x = _add_part(graph, part, x, f"{layer}{suffix}")
        results.append(x)
    return results


def _add_bars(graph: Graph, net: Network, parts: Sequence[Part], results: Sequence[Symbol], suffix: str) -> Symbol:
    """Add means, and standard deviations of a Laplace approximation, as `laplace.outputs_with_stds` does."""
    factor, noise = map(graph.constant, ("factor", "noise"), take_laplace(net.value))
    dense = [k for k, part in enumerate(parts) if part.kind == "dense"]
    a, variances = results[dense[-1] + 2], list[Symbol]()
    for unit in np.eye(a.n, dtype=graph.dtype):
        g, slopes = graph.add("Add", [graph.add("Mul", [a, 0.0]), graph.constant("unit", unit)]), list[Symbol]()
        for l, k in reversed([*enumerate(dense, 1)]):
            w = parts[k].values[0]
            delta = add_recorded(graph, parts[k + 1].values[0], [g, *results[k + 1 : k + 3]], "pullback")
            rows, columns = np.divmod(np.arange(w.size), w.shape[1])
            pair = graph.take_columns(delta, rows), graph.take_columns(results[k], columns)
            slopes = [graph.add("Mul", pair), delta, *slopes]
            if l > 1:
                g = graph.add("MatMul", [delta, graph.constant(f"w_{l}{suffix}", w)], w.shape[1])
        products = graph.add("MatMul", [graph.add("Concat", slopes, factor.n, axis=-1), factor])
        variances.append(graph.add("ReduceSumSquare", [products], 1, axes=[-1], keepdims=1))
    n = noise.n
    if a.n > n:  # the second half are predicted standard deviations
        own = graph.take_columns(a, np.arange(n, a.n))
        spread = graph.add("Mul", [4.0, graph.add("Concat", variances[n:], n, axis=-1)])
        noise = graph.add("Mul", [noise, graph.add("Add", [graph.add("Mul", [own, own]), spread])])
    std = graph.add("Sqrt", [graph.add("Add", [graph.add("Concat", variances[:n], n, axis=-1), noise])])
    if parts[-1].kind == "rescale":
        std = graph.add("Mul", [std, graph.constant("y_std", parts[-1].values[0][:n].astype(graph.dtype))])
    return graph.add("Concat", [graph.take_columns(results[-1], np.arange(n)), std], 2 * n, axis=-1)


def _add_label(graph: Graph, labels: Sequence[str]) -> None:
    """Add an output with the labels of the predicted classes, (batch,)."""
    y = Symbol(graph.outputs[0].name, graph.outputs[0].shape[-1])
    if y.n == 1:
        is_second = graph.add("Greater", [y, 0.5])
        axis = graph.constant("axis_1", np.array([1], np.int64))
        number = graph.add("Squeeze", [graph.add("Cast", [is_second], to="int64"), axis])
    else:
        number = graph.add("ArgMax", [y], 1, axis=1, keepdims=0)
    texts = graph.constant("labels", np.array(labels, object))
    graph.output(graph.add("Gather", [texts, number], axis=0), ValueInfo("label", "string", ()))


def _add_mean(graph: Graph, outputs: Sequence[Symbol], has_std: bool) -> Symbol:
    """Add the mean over members; standard deviations are joined with the variance of the means."""
    members = float(len(outputs))
    if members == 1:
        return outputs[0]
    mean = graph.add("Div", [graph.add("Sum", outputs), members])  # onnxruntime has no Mean of float64
    if not has_std:
        return mean
    means, stds = np.split(np.arange(mean.n), 2)
    mean, squares = graph.take_columns(mean, means), list[Symbol]()
    for a in outputs:
        difference = graph.add("Sub", [graph.take_columns(a, means), mean])
        squares += [graph.add("Mul", [term, term]) for term in (difference, graph.take_columns(a, stds))]
    std = graph.add("Sqrt", [graph.add("Div", [graph.add("Sum", squares), members])])
    return graph.add("Concat", [mean, std], 2 * mean.n, axis=-1)


def _add_part(graph: Graph, part: Part, x: Symbol, layer: str) -> Symbol:
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
    """Add an activation: as operators that are made for it where they are faster, else as networks compute it."""
    kind, _ = find_kind(sigma)
    forms = {**FORMS, **SINGLE_FORMS} if graph.dtype == "float32" else FORMS
    return forms[kind](graph, z) if kind in forms else add_recorded(graph, sigma, [z])


def _operator(name: str, **attributes: Any) -> Callable[[Graph, Symbol], Symbol]:
    return lambda graph, z: graph.add(name, [z], **attributes)


def _add_gelu(graph: Graph, z: Symbol) -> Symbol:
    half = graph.add("Mul", [0.5, z])
    erf = graph.add("Erf", [graph.add("Mul", [z, math.sqrt(0.5)])])
    return graph.add("Mul", [half, graph.add("Add", [erf, 1.0])])


# Kinds of activations -> functions of the graph and z. Elu, Selu and Softplus are not among these operators: with them,
# onnxruntime 1.32 took 1.4 to 3 times as long for a network [100, 256, 256, 10]
FORMS: dict[str | None, Callable[[Graph, Symbol], Symbol]] = {
    "sigmoid": _operator("Sigmoid"),
    "relu": _operator("Relu"),
    "softmax": _operator("Softmax", axis=-1),
}
# For float32 only: in float64, onnxruntime does not implement Erf, nor, in version 1.20, the operator into which it
# fuses z · sigmoid(z)
SINGLE_FORMS: dict[str | None, Callable[[Graph, Symbol], Symbol]] = {
    "gelu": _add_gelu,
    "silu": lambda graph, z: graph.add("Mul", [z, graph.add("Sigmoid", [z])]),
}


def _parse_input_dtype(net: Network, value: Any, takes_table: bool) -> str:
    if value is None:
        return net.dtype
    if takes_table:
        raise ArgumentError(
            f"input_dtype={value!r} is for encoded inputs, and this file takes the columns of a table; leave it out, "
            "or give encoder=False (in the shell: --encoded)"
        )
    accepted = [net.dtype] if net.scale is None else [net.dtype, "uint8"]  # bytes are for networks that scale
    name = value if isinstance(value, str) else np.dtype(value).name
    if name not in accepted:
        raise ArgumentError(f"input_dtype={value!r} is not available for this network; choose from {choices(accepted)}")
    return name
