"""How well a network does on a source: its cost and metrics, block by block, in one pass."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xpnet.backprop import forward
from xpnet.callbacks import Evaluate
from xpnet.data import Source, need_again
from xpnet.examples import decoded
from xpnet.metrics import Metric, accuracy, correct
from xpnet.preparation import Sources

if TYPE_CHECKING:
    from xpnet.network import Network


def measure(net: "Network", source: Source, metrics: Sequence[Metric] = ()) -> dict[str, Any]:
    """Mean cost over the examples of a source, and metrics, by name. Synchronizes, at the end.

    The cost is that of the data alone, as the network sees it, each example by its weight if it has one. Metrics see
    outputs and targets as the user does.
    """
    xp, sizes, weights, costs = net.backend.xp, [], [], []
    parts: list[list] = [[] for _ in metrics]
    for block in source.blocks(2 * sum(net.sizes)):
        x, y, weight, *_ = decoded(block, xp)
        zs, activations = forward(net.state.layers, net.sigmas, x, xp)
        cost = net.output.value(zs[-1], activations[-1], y, xp)
        costs.append(xp.sum(cost if weight is None else weight * cost))
        sizes.append(x.shape[0])
        weights.append(x.shape[0] if weight is None else xp.sum(weight))
        a = activations[-1]
        if net.scaling is not None:
            a, y = net.scaling.outputs(a), net.scaling.outputs(y)
        for part, metric in zip(parts, metrics):
            part.append(metric.measure(y, a, net.task, xp))
    scores = {metric.name: metric.combine(part, sizes, net.backend) for metric, part in zip(metrics, parts)}
    cost, weight = (sum(float(each) for each in parts) for parts in (costs, weights))
    return {"cost": cost / weight, "size": sum(sizes), **scores}


def classified(net: "Network", data: Any) -> tuple[int, int]:
    """How many examples are classified correctly, and of how many. Synchronizes."""
    need_classes(net, "the number classified correctly")
    scores = measure(net, net.reader().source(data, "data"), [correct])
    return scores["correct"], scores["size"]


def need_classes(net: "Network", what: str) -> None:
    """Refuse what a regression has not."""
    if net.task == "regression":
        raise ValueError(
            f'{what} needs classes, and a network with task="regression" (the {net.output_activation} output) has '
            "none; use predict or cost"
        )


def callbacks(
    net: "Network", sources: Sources, metrics: Sequence[Metric], training_metrics: Sequence[Metric]
) -> list[Evaluate]:
    """What looks at training, validation and test data after each epoch."""
    if metrics and sources.validation is None and sources.test is None:
        raise ValueError(
            f"metrics={[metric.name for metric in metrics]} need validation_data, validation_split or test_data; "
            "those of the training data are training_metrics"
        )
    found = []
    if training_metrics:
        need_again(sources.train, "training_metrics")
        found.append(watch(net, "training", sources.train, training_metrics, leave=("cost", "size")))
    if sources.validation is not None:
        found.append(watch(net, "validation", sources.validation, metrics, leave=("size",)))
    if sources.test is not None:
        regression = net.task == "regression"
        counted = () if regression else (correct, accuracy)
        wanted = dict.fromkeys((*counted, *metrics))
        found.append(watch(net, "test", sources.test, list(wanted), leave=("size",) if regression else ("cost",)))
    return found


def watch(
    net: "Network", what: str, source: Source, metrics: Sequence[Metric], leave: Sequence[str] = ("size",)
) -> Evaluate:
    """Make a callback that adds cost and metrics on a source to each epoch's logs, as in "validation_cost"."""
    names = [name for name in ("cost", "size", *(metric.name for metric in metrics)) if name not in leave]

    def score() -> dict[str, Any]:
        scores = measure(net, source, metrics)
        return {f"{what}_{name}": scores[name] for name in names}

    return Evaluate([f"{what}_{name}" for name in names], score)
