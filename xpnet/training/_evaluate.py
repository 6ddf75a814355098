"""Evaluation: cost and metrics of a network on a source, block by block, in one pass."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from xpnet.backends import Backend
from xpnet.backends.base import precision
from xpnet.core.arrays import Array, Function, Layers, Namespace
from xpnet.core.backprop import forward
from xpnet.core.minibatch import Encoding, Examples, decode
from xpnet.core.model import Model
from xpnet.data.open import open_source
from xpnet.data.source import Source
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import Metric, accuracy, correct, mean_absolute_error, r2
from xpnet.training._arguments import parse_metrics
from xpnet.training._plan import Plan
from xpnet.training.callback import Quantity, Watcher
from xpnet.value import Value


def measure(value: Value, source: Source, metrics: Sequence[Metric] = ()) -> dict[str, Any]:
    """Compute the mean cost over the examples of a source, and metrics, by name. Synchronizes.

    The cost is the cost of the data alone, without penalties, on standardized targets, weighted by the examples'
    weights if they have any. Metrics are computed on the original scale, not on the standardized one, and of calibrated
    probabilities if there are any.
    """
    model, backend = value.model, value.backend
    evaluate_block = partial(_evaluate_block, model)
    measure_block = partial(_measure_block, model.task, tuple(metric.measure for metric in metrics))
    calibrated = value.calibrated_layers
    sums: list[tuple[Any, Any]] = []  # of the costs of each block, and of the weights
    sizes: list[int] = []
    parts: list[Any] = []
    with value.scope():
        encoding = source.reader.encoding()
        for block in source.blocks(2 * sum(model.sizes)):
            cost, a, y = backend.call(evaluate_block, value.layers, encoding, block)
            sums.append((cost, a.shape[0] if block.weight is None else value.xp.sum(block.weight)))
            sizes.append(a.shape[0])
            if metrics:
                if calibrated is not value.layers:
                    _, a, y = backend.call(evaluate_block, calibrated, encoding, block)
                with value.output_scope():
                    a = value.choose_points(model.cost.blocks(value.scale_back(a), value.xp))
                    y = value.scale_targets_back(y)
                    parts.append(backend.call(measure_block, a, y))
        with value.output_scope():
            scores = _combine(metrics, parts, sizes, backend)
        cost, weight = (sum(map(float, column)) for column in zip(*sums))
    return {"cost": cost / weight, "size": sum(sizes), **scores}


def measure_data(value: Value, data: Any, metrics: Sequence[Any] | None, name: str = "data") -> dict[str, Any]:
    """Measure on the user's data, with the user's metrics; `name` is that of the argument, for messages."""
    parsed = choose_metrics(value.model, metrics)
    return measure(value, open_source(data, name, value.reader), parsed)


def measure_predictions(
    value: Value, predict: Callable[[Array], Array], source: Source, metrics: Sequence[Metric], width: int
) -> dict[str, Any]:
    """Compute metrics of what `predict` returns for the inputs of a source, in the units of the targets. Synchronizes.

    `value` is that of the network that they are for. The source does not standardize; it is read in blocks that take
    `width` numbers for each row.
    """
    backend, task = value.backend, value.model.task
    encoding = source.reader.encoding()._replace(scale=None)
    sizes: list[int] = []
    parts: list[Any] = []
    with value.scope():
        for block in source.blocks(width):
            sizes.append(block.y.shape[0])
            if metrics:
                a = predict(block.x)
                with backend.scope(precision(a)):
                    _, y = decode(a, block.y, encoding, value.xp)
                    y = backend.asarray(y, precision(a))
                    parts.append(_measure_block(task, [metric.measure for metric in metrics], a, y, value.xp))
        with backend.scope(precision(tuple(parts))):
            scores = _combine(metrics, parts, sizes, backend)
    return {"size": sum(sizes), **scores}


def _combine(metrics: Sequence[Metric], parts: Sequence[Any], sizes: Sequence[int], backend: Backend) -> dict[str, Any]:
    """Combine what blocks contribute to each metric."""
    return {metric.name: metric.combine(part, sizes, backend) for metric, part in zip(metrics, zip(*parts))}


def _evaluate_block(
    model: Model, layers: Layers, encoding: Encoding, block: Examples, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Compute the sum of the costs of a block of examples, their outputs, and their targets."""
    x, y = decode(block.x, block.y, encoding, xp)
    zs, activations = forward(layers, model.sigmas, x, xp)
    cost = model.output.with_inputs(x).value(zs[-1], activations[-1], y, xp)
    return xp.sum(cost if block.weight is None else block.weight * cost), activations[-1], y


def _measure_block(
    task: str, measures: Sequence[Function], a: Array, y: Array, xp: Namespace
) -> tuple[tuple[Array, ...], ...]:
    """Compute what a block of predictions and targets contributes to each metric."""
    return tuple(measure(y, a, task, xp) for measure in measures)


def choose_metrics(model: Model, metrics: Sequence[Any] | None) -> Sequence[Metric]:
    """Parse metrics; None stands for the usual ones of the task, if the cost has one number for each target."""
    if metrics is not None:
        return parse_metrics("metrics", metrics, model)
    if model.task != "regression":
        return [correct, accuracy]
    return [r2, mean_absolute_error] if model.cost.has_point else []


def require_classes(value: Value, what: str) -> None:
    """Refuse a regression; `what` needs classes."""
    if value.model.task == "regression":
        raise ArgumentError(
            f'{what} needs classes, and a network with task="regression" (the {value.model.sigmas[-1].name} output) '
            "has none; use predict or measure"
        )


class Evaluate(Watcher):
    """Add cost and metrics on a source to the logs of each epoch, as in "validation_cost".

    Parameters
    ----------
    prefix
        "training", "validation" or "test".
    source
        The examples.
    metrics
        The metrics.
    omit
        Which of "cost" and "size" to leave out.
    """

    def __init__(
        self,
        prefix: str,
        source: Source,
        metrics: Sequence[Metric],
        omit: Sequence[str] = ("size",),
    ) -> None:
        self.prefix, self.source, self.metrics = prefix, source, tuple(metrics)
        names = [name for name in ("cost", "size", *(metric.name for metric in metrics)) if name not in omit]
        self.adds = tuple(f"{prefix}_{name}" for name in names)
        self.quantities = {f"{prefix}_{metric.name}": Quantity(metric.better, metric.whole) for metric in metrics}

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Evaluate the network as it stands."""
        scores = measure(self.training.value, self.source, self.metrics)
        logs.update({name: scores[name.removeprefix(f"{self.prefix}_")] for name in self.adds})


def make_evaluations(
    plan: Plan, training: Source | None, validation: Source | None, test: Source | None
) -> list[Evaluate]:
    """Make the callbacks that evaluate training, validation and test data after each epoch."""
    metrics, evaluations = plan.metrics, list[Evaluate]()
    if metrics and validation is None and test is None:
        raise ArgumentError(
            f"metrics={[metric.name for metric in metrics]} need validation_data, validation_split or test_data; "
            "metrics on the training data are training_metrics"
        )
    if training is not None:
        training.check_repeatable("training_metrics")
        evaluations.append(Evaluate("training", training, plan.training_metrics, ("cost", "size")))
    if validation is not None:
        evaluations.append(Evaluate("validation", validation, metrics))
    if test is not None and test.reader.model.task == "regression":
        evaluations.append(Evaluate("test", test, metrics))
    elif test is not None:
        evaluations.append(Evaluate("test", test, list(dict.fromkeys((correct, accuracy, *metrics))), ()))
    return evaluations
