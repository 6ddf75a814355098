"""Pipelines of scikit-learn as ONNX files: converters of xpnet's estimators for skl2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.errors import ArgumentError
from xpnet.export.onnx import list_nodes, make_graph
from xpnet.export.parts import require_networks, warn_of_losses
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network

if TYPE_CHECKING:
    from xpnet.core.costs import Cost

OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
NEW_REDUCE_MAX = 18  # the opset from which ReduceMax takes its axes as an input


def register_skl2onnx() -> None:
    """Let skl2onnx convert the estimators of `xpnet.estimators`, and pipelines with them.

    The file computes what `predict` and `predict_proba` of the estimator compute: for every activation, with
    `standardize`, and for ensembles. It computes in the dtype of its inputs: ``FloatTensorType`` is float32,
    ``DoubleTensorType`` float64. Standard deviations are not in it. A fitted search is exported by its
    `best_estimator_`.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    Register once, before the conversion:

        register_skl2onnx()
        model = skl2onnx.to_onnx(pipeline, X[:1].astype("float32"), options={"zipmap": False})
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            f"register_skl2onnx needs skl2onnx ({error}); install it with: pip install skl2onnx"
        ) from error
    from xpnet import estimators

    for kind in (estimators.MLPClassifier, estimators.MLPEnsembleClassifier):
        update_registered_converter(
            kind, f"Xpnet{kind.__name__}", _set_classifier_types, _convert_classifier, options=OPTIONS
        )
    for kind in (estimators.MLPRegressor, estimators.MLPEnsembleRegressor):
        update_registered_converter(kind, f"Xpnet{kind.__name__}", _set_regressor_types, _convert_regressor)


def _set_classifier_types(operator: Any) -> None:
    """Set the types and shapes of labels and probabilities."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    estimator, n = operator.raw_operator, operator.inputs[0].get_first_dimension()
    classes, is_multilabel = _read_classes(estimator), _is_multilabel(estimator)
    labels = StringTensorType if classes.dtype.kind in "OU" and not is_multilabel else Int64TensorType
    operator.outputs[0].set_type(labels([n, len(classes)] if is_multilabel else [n]))
    operator.outputs[1].set_type(_find_type(operator)([n, len(classes)]))


def _set_regressor_types(operator: Any) -> None:
    """Set the type and shape of predictions."""
    n = operator.inputs[0].get_first_dimension()
    operator.outputs[0].set_type(_find_type(operator)([n, operator.raw_operator.n_outputs_]))


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a classifier, which compute labels and probabilities."""
    nodes, estimator = _Nodes(scope, operator, container), operator.raw_operator
    labels, probabilities = (variable.full_name for variable in operator.outputs)
    model, classes = _find_model(estimator), _read_classes(estimator)
    a = nodes.add_model(model)
    if _is_multilabel(estimator):
        nodes.add("Identity", [a], probabilities)
        is_one = nodes.add("Greater", [a, nodes.constant(np.asarray(0.5, nodes.dtype))])
        nodes.add("Cast", [is_one], labels, to=nodes.type_number("int64"))
        return
    if require_networks(model)[0].sizes[-1] == 1:
        others = nodes.add("Sub", [nodes.constant(np.asarray(1.0, nodes.dtype)), a])
        nodes.add("Concat", [others, a], probabilities, axis=1)
    else:
        nodes.add("Identity", [a], probabilities)
    number = nodes.add("ArgMax", [probabilities], axis=1, keepdims=0)
    nodes.add("Gather", [nodes.constant(classes), number], labels, axis=0)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a regressor, which compute predictions (n, n_outputs)."""
    nodes, model = _Nodes(scope, operator, container), _find_model(operator.raw_operator)
    first = require_networks(model)[0].value.model
    columns = nodes.constant(_find_columns(first.cost, first.n_out))
    nodes.add("Gather", [nodes.add_model(model), columns], operator.outputs[0].full_name, axis=1)


def _find_model(estimator: Any) -> Network | Ensemble:
    return estimator.ensemble_ if hasattr(estimator, "ensemble_") else estimator.network_


def _read_classes(estimator: Any) -> np.ndarray:
    """Return the labels as ONNX can hold them: whole numbers or strings."""
    classes = estimator.classes_
    if len(classes) == 1 and not _is_multilabel(estimator):
        raise ArgumentError(
            f"the estimator was fitted to the class {classes.tolist()[0]!r} alone; fit it to two or more"
        )
    if classes.dtype.kind in "OUS":
        return classes.astype(str).astype(object)
    return classes.astype(np.int64)  # scikit-learn has no labels with fractions


def _is_multilabel(estimator: Any) -> bool:
    return require_networks(_find_model(estimator))[0].task == "multilabel"


def _find_type(operator: Any) -> Any:
    """Find the type of results: float64 for inputs in float64, else float32."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return DoubleTensorType if isinstance(operator.inputs[0].type, DoubleTensorType) else FloatTensorType


def _find_columns(cost: Cost, n_out: int) -> np.ndarray:
    """Find the columns of the outputs that are the predictions."""
    columns = cost.point(np.arange(float(n_out))[None, :], np)[0]
    if not np.array_equal(columns, columns.astype(np.int64)):
        raise ArgumentError(f"loss={cost.name!r} predicts what is in none of its outputs, which cannot be exported")
    return columns.astype(np.int64)


class _Nodes:
    """Adds nodes with names of their own to the container of skl2onnx.

    Parameters
    ----------
    scope, operator, container
        As skl2onnx gives them to a converter.
    """

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self.scope, self.container = scope, container
        self.dtype = "float64" if "Double" in _find_type(operator).__name__ else "float32"
        self.x = self.add("Cast", [operator.inputs[0].full_name], to=self.type_number(self.dtype))

    def add_model(self, model: Network | Ensemble) -> str:
        """Add a network or an ensemble, and return the name of its outputs."""
        model = model.to("numpy", dtype=self.dtype)
        warn_of_losses(model)
        graph = make_graph(model, self.dtype)
        names = {"x": self.x} | {name: self.constant(array) for name, array in graph.constants.items()}
        for operator, inputs, outputs, attributes in list_nodes(graph):
            if operator == "ReduceMax" and self.container.target_opset >= NEW_REDUCE_MAX:
                axes = f"{outputs[0]}_axes"
                names[axes] = self.constant(np.array(attributes["axes"], np.int64))
                inputs, attributes = [*inputs, axes], {"keepdims": attributes["keepdims"]}
            names |= {output: self.scope.get_unique_variable_name(output) for output in outputs}
            self._add_node(operator, [names[name] for name in inputs], [names[name] for name in outputs], attributes)
        return names["y"]

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        output = output or self.scope.get_unique_variable_name(operator)
        self._add_node(operator, inputs, [output], attributes)
        return output

    def _add_node(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]
    ) -> None:
        name = self.scope.get_unique_operator_name(operator)
        self.container.add_node(operator, list(inputs), list(outputs), name=name, **attributes)

    def constant(self, value: np.ndarray) -> str:
        """Add an array, and return its name."""
        name, content = self.scope.get_unique_variable_name("constant"), value.ravel().tolist()
        if value.dtype.kind == "O":
            content = [text.encode() for text in content]
        self.container.add_initializer(name, self.type_number(value.dtype), value.shape, content)
        return name

    def type_number(self, dtype: Any) -> int:
        """Return the number of a dtype in ONNX."""
        from onnx import helper

        return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
