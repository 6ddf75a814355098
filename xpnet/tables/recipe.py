"""The recipe for tables: an ensemble that predicts well without tuning, and knows how well.

Each member leaves out a fold of the rows, and keeps the epoch that predicts this fold best. So every row has a member
that has not been trained on it: these predictions calibrate the ensemble, and no rows are given up for that.

The inputs come from `TableEncoder` with bins, a piecewise-linear encoding (Y. Gorishniy, I. Rubachev and A. Babenko,
"On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022). They are centered, and scaled column by
column: what a first, short training finds important varies more, so the members learn it first, and overfit less to the
other columns. A. Radhakrishnan, D. Beaglehole, P. Pandit and M. Belkin ("Mechanism for feature learning in neural
networks and backpropagation-free machine learning models", Science 2024) learn such a scale from gradients.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import warn
from xpnet.core.backprop import forward
from xpnet.core.model import Model
from xpnet.core.optimizers import SGD, AdamW, needs_all_examples
from xpnet.core.scaling import Scaling
from xpnet.core.schedules import Cosine
from xpnet.core.temperature import can_temper, find_logits, find_shift
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import Metric, accuracy, calibrated_log_loss, mean_absolute_error, r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables.folds import Folds, choose_training_rows, predict_out_of_fold
from xpnet.training import parse_metrics, parse_optimizer
from xpnet.training.callback import Callback
from xpnet.training.callbacks import EarlyStopping
from xpnet.value.structure import parse_cost

__all__ = [
    "LR",
    "WEIGHT_DECAY",
    "Examples",
    "Recipe",
    "calibrate_members",
    "choose_epoch_metrics",
    "choose_members",
    "choose_scaling",
    "give_scaling",
    "leaves_out_rows",
    "make_members",
    "make_schedule",
    "measure_rises",
    "train_members",
]

BATCH_SIZES = {1_500: 32, 3_000: 64, 12_000: 128}  # below these numbers of rows
LARGEST_BATCH_SIZE = 256
EPOCHS, FEWEST_EPOCHS = 30, 10
MOST_EXAMPLES = 4_000_000  # in all epochs of a member; more only if there would be fewer than the fewest epochs
MEMBERS, MEMBERS_FOR_MANY, MANY_ROWS = 8, 4, 10_000  # each of the few is trained longer than more could be
HIDDEN = (128, 128)  # units of the hidden layers
LR, WEIGHT_DECAY = 5e-3, 0.1  # of AdamW: the largest rate, and its decoupled decay
WARMUP = 0.1  # the fraction of all steps in which the learning rate rises
PROBES, PROBE_EPOCHS = 4, 10  # members of the first training, and their epochs
PROBE_ROWS, PROBE_FOLD_ROWS = 10_000, 2_500  # that each of them sees at most, in training and in its fold
FLOAT32 = np.finfo(np.float32)  # holds means and deviations of targets
LEAST_VARIANCE = 0.01  # of all inputs of a column; it counts as this, so that nothing rare becomes very large
LEAST_SHARE = 0.02  # of the mean variance that a column gets, though it is not important
UNKNOWN_ROWS = 1  # whose class nothing tells, though they count in the calibration


@dataclass(frozen=True)
class Recipe:
    """How the members are made and trained; `benchmarks/tables.py` measures it.

    Parameters
    ----------
    members
        Number of networks.
    hidden
        Number of units of each hidden layer.
    patience
        Number of epochs without improvement after which a member stops; None: never.
    network, training
        Arguments of `Ensemble` and of `Ensemble.train`; what is not given is chosen by the number of rows.
    """

    members: int = MEMBERS
    hidden: tuple[int, ...] = HIDDEN
    patience: int | None = 8
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def complete(self, n: int) -> "Recipe":
        """Choose for n rows what is not given; fewer epochs for many rows, so that training ends in minutes.

        Examples
        --------
        >>> [Recipe().complete(n).training["epochs"] for n in (1_000, 50_000, 200_000, 1_000_000)]
        [30, 30, 20, 10]
        """
        epochs = min(EPOCHS, max(MOST_EXAMPLES // n, FEWEST_EPOCHS))
        training = {"epochs": epochs, "optimizer": AdamW(weight_decay=WEIGHT_DECAY), **self.training}
        if not needs_all_examples(parse_optimizer("optimizer", training["optimizer"])):
            batch_size = next((size for rows, size in BATCH_SIZES.items() if n < rows), LARGEST_BATCH_SIZE)
            training = {"batch_size": batch_size, "lr": make_schedule(LR), **training}
        return replace(self, training=training)


def choose_members(n: int) -> int:
    """Choose the number of members for n rows.

    Examples
    --------
    >>> choose_members(9_999), choose_members(10_000)
    (8, 4)
    """
    return MEMBERS if n < MANY_ROWS else MEMBERS_FOR_MANY


def make_schedule(lr: float) -> Cosine:
    """Make the schedule of the learning rate, of which `lr` is the largest."""
    return Cosine(lr, warmup=WARMUP)


class Examples(NamedTuple):
    """Encoded rows of a table, to learn from.

    Parameters
    ----------
    x
        Encoded inputs (n, n_in).
    y
        Classes (n,), or targets (n,) or (n, k).
    classes
        Number of classes; None for a regression.
    weight
        The weight of each row, (n,).
    """

    x: np.ndarray
    y: np.ndarray
    classes: int | None = None
    weight: np.ndarray | None = None

    @property
    def targets(self) -> np.ndarray:
        """Targets of a regression (n, k), or one-hot rows."""
        if self.classes is None:
            return self.y.reshape(len(self.y), -1)
        return (self.y[:, None] == np.arange(self.classes)).astype(np.float64)


def weigh_rows(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Resample rows, each about as often as its weight demands, so that metrics of the new ones are weighted.

    Examples
    --------
    >>> weigh_rows(np.array([4, 5, 6]), np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0]))
    array([4, 5, 5])
    """
    edges = np.cumsum(weight[rows])
    if edges[-1] == 0:
        return rows
    return rows[np.searchsorted(edges, (np.arange(len(rows)) + 0.5) / len(rows) * edges[-1])]


def make_scaling(examples: Examples) -> Scaling:
    """Make the scaling of all members: inputs are centered, and the targets of a regression standardized."""
    mean, y = examples.x.mean(axis=0, dtype=np.float64)[None], examples.targets
    if examples.classes is not None:
        return Scaling(mean, np.ones_like(mean))
    y_mean, y_std = y.mean(axis=0, dtype=np.float64)[None], y.std(axis=0, dtype=np.float64)[None]
    # Where all targets are equal, they are predicted: the members' outputs are then multiplied by the rounding
    rounding = FLOAT32.eps * np.where(y_mean == 0, 1.0, np.abs(y_mean))
    y_std = np.where(y.max(axis=0) > y.min(axis=0), y_std, rounding)
    for k, (center, spread) in enumerate(zip(y_mean[0], y_std[0])):
        if not (abs(center) < FLOAT32.max and FLOAT32.tiny < spread < FLOAT32.max):
            raise ArgumentError(
                f"target {k} has the mean {center:.6g} and the standard deviation {spread:.6g}, which float32 cannot "
                "hold; give it in another unit, such that its numbers are near 1"
            )
    return Scaling(mean, np.ones_like(mean), y_mean, y_std)


def choose_scaling(
    examples: Examples,
    recipe: Recipe,
    folds: Folds,
    columns: Sequence[int],
    threads: int | str = "auto",
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Scaling:
    """Choose the scaling of all members, by a short training of a few of them if they leave out rows.

    Parameters
    ----------
    examples, recipe, folds
        As in `train_members`.
    columns
        The number of inputs of each column of the table.
    threads
        Number of threads for the members.
    callbacks
        Those of the first member in the short training.
    settings
        Further arguments of `Ensemble`: `seed`, `backend`, `device`.
    """
    scaling, n, epochs = make_scaling(examples), len(examples.x), recipe.training["epochs"]
    if not (leaves_out_rows(folds) and epochs):
        return scaling
    rng = np.random.default_rng(settings.get("seed"))
    training = {"epochs": min(epochs, PROBE_EPOCHS), "callbacks": lambda k: [] if k else callbacks}
    if "batch_size" in recipe.training:
        training["batch_size"] = recipe.training["batch_size"]
    short = Recipe(min(len(folds), PROBES), recipe.hidden, training=training).complete(n)
    rows = [rng.permutation(rows)[:PROBE_ROWS] for rows in choose_training_rows(folds, n, rng)[:PROBES]]
    left_out = [rng.permutation(fold)[:PROBE_FOLD_ROWS] for fold in folds[:PROBES]]
    ensemble = make_members(examples, short, **settings)
    give_scaling(ensemble, scaling)
    _train(ensemble, examples, short, rows, left_out, threads=threads, progress=False)
    rises = np.concatenate(
        [
            measure_rises(network, examples.x[fold], examples.targets[fold], columns, rng)
            for network, fold in zip(ensemble, left_out)
        ],
        axis=1,
    )
    # The standard error is added because a column counts as what it may well be: few rows hardly tell which matter
    importance = np.maximum(rises.mean(axis=1), 0) + rises.std(axis=1) / np.sqrt(rises.shape[1])
    return scaling._replace(x_std=1 / weigh_inputs(examples.x, columns, importance)[None])


def measure_rises(
    network: Network, x: np.ndarray, targets: np.ndarray, columns: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Measure how much the cost of each row rises when a column is shuffled, (columns, rows). Synchronizes.

    In the mean over the rows, this is permutation importance (L. Breiman, "Random Forests", Machine Learning, 2001).
    Only what the column contributes to the first layer is computed anew.

    Parameters
    ----------
    network
        A trained member.
    x
        Encoded inputs of rows that it has left out, (n, n_in).
    targets
        Their targets (n, n_targets), or one-hot rows.
    columns
        The number of inputs of each column.
    rng
        Shuffles.
    """
    value = network.value
    to_numpy, sigmas, output = value.backend.to_numpy, value.model.sigmas, value.model.output
    (w, b), *others = ((to_numpy(w), to_numpy(b)) for w, b in value.layers)
    if network.scaling is not None:
        x, targets = network.scaling.inputs(x), network.scaling.targets(targets)
    x = x.astype(w.dtype)

    def costs(z: np.ndarray) -> np.ndarray:
        zs, activations = forward(tuple(others), sigmas[1:], sigmas[0].value(z, np), np)
        return output.value([z, *zs][-1], activations[-1], targets, np)

    z, ends = x @ w.T + b, np.cumsum(columns)
    before, rises = costs(z), np.empty((len(ends), len(x)))
    for k, inputs in enumerate(slice(end - size, end) for end, size in zip(ends, columns)):
        shuffled = x[rng.permutation(len(x)), inputs]
        rises[k] = costs(z + (shuffled - x[:, inputs]) @ w[:, inputs].T) - before
    return rises


def weigh_inputs(x: np.ndarray, columns: Sequence[int], importance: np.ndarray) -> np.ndarray:
    """Return the factor of each input, (n_in,), so that the variance of a column is in proportion to its importance.

    Of many rows, to its root: they tell what columns of little importance say. The variance of all inputs together
    stays.

    Examples
    --------
    >>> x = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    >>> weigh_inputs(x, [2, 1], np.array([1.0, 2.0]))
    array([0.70710678, 0.70710678, 1.41421356])
    """
    starts, mean = np.cumsum(columns) - np.asarray(columns), x.mean(axis=0, dtype=np.float64)
    variances = np.einsum("ij,ij->j", x, x, dtype=np.float64) / len(x) - mean**2  # without a copy of x
    variance = np.maximum(np.add.reduceat(variances, starts), LEAST_VARIANCE)
    wanted = importance if len(x) < MANY_ROWS else np.sqrt(importance)
    wanted = np.maximum(wanted, LEAST_SHARE * wanted.mean()) if wanted.any() else np.ones_like(wanted)
    return np.repeat(np.sqrt(wanted / variance * (variance.sum() / wanted.sum())), columns)


def make_members(examples: Examples, recipe: Recipe, **settings: Any) -> Ensemble:
    """Make the members, with initial weights; `standardize` scales their inputs.

    Parameters
    ----------
    examples
        What they are to learn.
    recipe
        How many members there are, and what they look like; complete.
    settings
        Further arguments of `Ensemble`: `seed`, `backend`, `device`.
    """
    settings, n_out = {"activation": "relu", "standardize": True, **settings, **recipe.network}, examples.classes
    if n_out is None:
        cost = settings.get("cost")
        settings["task"] = "regression"
        n_out = examples.targets.shape[1] * (parse_cost(cost).outputs_per_target if cost else 1)
    elif {"output_activation", "cost"} & settings.keys():
        settings = {"output_activation": "softmax", "cost": "cross_entropy", **settings}
    else:
        settings["task"] = "classification"
    return Ensemble([examples.x.shape[1], *recipe.hidden, n_out], recipe.members, **settings)  # type: ignore[misc]


def give_scaling(ensemble: Ensemble, scaling: Scaling) -> None:
    """Give all members a scaling of the inputs, and of the targets unless their cost is for targets as they are."""
    scales_targets = ensemble[0].value.model.scales_targets
    for network in ensemble:
        network.scaling = scaling if scales_targets else Scaling(scaling.x_mean, scaling.x_std)


def train_members(ensemble: Ensemble, examples: Examples, recipe: Recipe, folds: Folds, **options: Any) -> None:
    """Train the members, each on the rows outside its fold.

    Parameters
    ----------
    ensemble
        The members, from `make_members`.
    examples
        What they learn.
    recipe
        How to train; complete.
    folds
        The rows that each member leaves out; if there are none, members are trained to the end.
    options
        Further arguments of `Ensemble.train`.
    """
    rng = np.random.default_rng(recipe.network.get("seed", ensemble.seeds[0]))
    _train(ensemble, examples, recipe, choose_training_rows(folds, len(examples.x), rng), folds, **options)
    for network in ensemble:
        network.reset_optimizer(SGD())  # AdamW's averages would make files three times as large


def calibrate_members(ensemble: Ensemble, examples: Examples, folds: Folds) -> None:
    """Calibrate trained members by the rows that they left out, if they did.

    The calibration is of the rows as they are: where these have weights, the biases of the last layer are shifted, so
    that mean probabilities are the frequencies of the classes. Of few rows, by which epochs were chosen, nearly all can
    be right, and would make the members too sure: so a part of each target, of one row in all, is shared by all
    classes. Arguments are those of `train_members`.
    """
    model = ensemble[0].value.model
    if not (leaves_out_rows(folds) and ensemble.histories[0] and (model.task == "regression" or can_temper(model))):
        return
    y = examples.targets
    if model.task == "classification":
        if examples.weight is not None:  # predict rows as frequent as in the table
            p = predict_out_of_fold(ensemble, examples.x, folds)
            rows = np.isfinite(p[:, 0])
            shift = find_shift(find_logits(p[rows], model.task, np), y[rows])
            for network in ensemble:
                *others, last = map(network.backend.to_numpy, network.b)
                network.b = [*others, last + shift]
        y = (y + UNKNOWN_ROWS / y.size) / (1 + UNKNOWN_ROWS / len(y))
    try:
        ensemble.calibrate((examples.x, y), rows=folds)
    except ValueError as error:
        warn(f"the model is not calibrated: {error}")  # its probabilities or error bars stay as they are


def leaves_out_rows(folds: Folds) -> bool:
    """Tell whether members leave out rows, by which they are judged and calibrated."""
    return any(map(len, folds))


def _train(
    ensemble: Ensemble,
    examples: Examples,
    recipe: Recipe,
    rows: Sequence[np.ndarray],
    folds: Folds,
    **options: Any,
) -> None:
    """Train each member on its rows, until it no longer improves on its fold."""
    left_out = leaves_out_rows(folds)
    settings = dict(recipe.training)
    metrics = choose_epoch_metrics(ensemble[0].value.model, left_out, settings.pop("metrics", ()))
    callbacks: Any = settings.pop("callbacks", ())
    is_function, stopping = callable(callbacks), []
    if left_out and recipe.patience is not None:
        monitor = "validation_calibrated_log_loss" if calibrated_log_loss in metrics else "validation_cost"
        stopping = [EarlyStopping(recipe.patience, monitor=monitor)]
    if left_out and examples.weight is not None:
        folds = [weigh_rows(fold, examples.weight) for fold in folds]
    ensemble.train(
        (examples.x, examples.y),
        rows=rows,
        validation_rows=folds if left_out else None,
        sample_weight=examples.weight,
        callbacks=(lambda k: [*copy.deepcopy(stopping), *callbacks(k)]) if is_function else [*stopping, *callbacks],
        **{"metrics" if left_out else "training_metrics": metrics},
        **settings,
        **options,
    )


def choose_epoch_metrics(model: Model, left_out: bool, extra: Sequence[Any]) -> list[Metric]:
    """Choose the metrics of each epoch: the usual ones, in the units of the targets, and those that the user wants."""
    usual = list[Metric]()
    if model.task == "regression":  # the cost is that of standardized targets
        usual = [r2, mean_absolute_error]
    elif left_out:
        is_judged = model.task in calibrated_log_loss.tasks and can_temper(model)
        usual = [accuracy, calibrated_log_loss] if is_judged else [accuracy]
    return list(dict.fromkeys([*usual, *parse_metrics("metrics", extra, model)]))
