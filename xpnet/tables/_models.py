"""`TableClassifier` and `TableRegressor`: from a table to predictions of its targets, by the recipe in `recipe`."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from xpnet._checks import (
    check_dict,
    check_lengths,
    count,
    has_entries,
    in_range,
    list_names,
    printable,
    warn,
    yes_or_no,
)
from xpnet._names import explain_arguments
from xpnet.backends import backend_of
from xpnet.core.arrays import Array
from xpnet.core.calibration import judge_classes, judge_numbers
from xpnet.core.model import Model
from xpnet.data import check_some_weight, parse_rows
from xpnet.errors import ArgumentError
from xpnet.estimators.base import BaseModel, bring_home
from xpnet.estimators.inputs import (
    check_sample_weight,
    choose_backend,
    draw_seeds,
    drop_single_output,
    move_to,
    parse_hidden_sizes,
    require_seed,
    validate_targets,
)
from xpnet.estimators.targets import (
    MULTICLASS,
    MULTILABEL,
    Classification,
    Regression,
    learn_labels,
)
from xpnet.inference import LEAST_ROWS
from xpnet.inference.metrics import Metric
from xpnet.network.ensemble import Ensemble, parse_seeds
from xpnet.tables._cells import label
from xpnet.tables._encoder import TableEncoder, check_table, encode_table, fit_to_targets, get_columns, to_frame
from xpnet.tables._explain import (
    choose_values,
    compute_partial_dependence,
    label_rows,
    measure_importances,
    read_texts,
    warn_of_wrong_targets,
)
from xpnet.tables._statistics import make_goal
from xpnet.tables.columns import BINS, Encoded, count_inputs, find_inputs, group_parts, name_inputs
from xpnet.tables.encoding import find_importances
from xpnet.tables.folds import divide_rows, make_folds, number_groups, predict_out_of_fold
from xpnet.tables.phases import LARGE, MoveBar, show_phase
from xpnet.tables.reading import Features, Targets, describe_columns
from xpnet.tables.recipe import (
    Examples,
    Recipe,
    calibrate_members,
    choose_members,
    choose_scaling,
    give_scaling,
    leaves_out_rows,
    make_members,
    train_members,
)
from xpnet.tables.scores import score, score_predictions
from xpnet.training import Every, parse_metrics


@dataclass(eq=False, repr=False)
class TableParameters:
    """The parameters of both, exactly as the user gave them."""

    members: int | None = None
    _: KW_ONLY
    hidden_layer_sizes: Any = Recipe.hidden
    max_epochs: int | None = None
    patience: int | None = Recipe.patience
    bins: int = BINS
    categories: Sequence[str] = ()
    n_jobs: int | None = None
    random_state: Any = None
    progress: bool = False
    backend: Any = None
    device: Any = None
    network: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None


class Lesson(NamedTuple):
    """The rows of a table to learn from, with their targets and weights, and the choices of how to learn.

    Parameters
    ----------
    table
        Its rows that have a weight, as `check_table` returns them.
    y
        The targets of all rows, as the user gave them.
    n
        Number of all rows.
    rows
        The numbers of those that have a weight.
    problem
        The labels of classes, or that targets are numbers.
    targets
        The targets of the rows, with numbers in place of classes.
    weight
        The weight of each row, with that of its class; None if all are equal.
    class_weight
        The weight of each class, if the user gave some.
    recipe
        How many members there are, and how they are trained.
    place
        The seed and the backend of the members.
    folds
        The rows that each member leaves out.
    part
        The part of each row, from `divide_rows`.
    """

    table: Any
    y: Any
    n: int
    rows: np.ndarray
    problem: Any
    targets: np.ndarray
    weight: np.ndarray | None
    class_weight: np.ndarray | None
    recipe: Recipe
    place: dict[str, Any]
    folds: list[np.ndarray]
    part: np.ndarray

    @property
    def labels(self) -> list[str]:
        """The labels of classes as texts; none of numbers."""
        return [] if self.problem.numeric else [label(value) for value in self.problem.classes]

    def describe(self) -> dict[str, Any]:
        """Describe the table in the notes of a network."""
        name = self.y.column if isinstance(self.y, Targets) else getattr(self.y, "name", None)
        return {
            "target": name if isinstance(name, str) else "y",
            "labels": self.labels,
            "unit": self.y.unit if isinstance(self.y, Targets) else "",
            **(self.table.marks._asdict() if isinstance(self.table, Features) else {}),
        }


class BaseTableModel(TableParameters, BaseModel):
    """Base class of `TableClassifier` and `TableRegressor`."""

    _numeric: ClassVar[bool]  # whether targets are numbers, rather than labels

    # Set by `fit`
    n_features_in_: int
    encoder_: TableEncoder
    ensemble_: Ensemble
    _scores: str | None
    classes_: np.ndarray
    oof_proba_: np.ndarray
    oof_prediction_: np.ndarray
    _problem: Any  # a `Classification` or a `Regression`
    _class_weight: np.ndarray | None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        folds: Any = None,
        checkpoint: Any = None,
        every: Every | None = None,
        resume: bool = False,
    ) -> Self:
        """Fit the encoder to a table, and the networks to its targets.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            The table, as `TableEncoder` takes it; or an array of any library, which comes to the host to be encoded. X
            and y may also be the `Features` and `Targets` of a file, from `xpnet.tables.reading`.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: labels or numbers.
        sample_weight : array of shape (n_samples,), optional
            Weights of the rows, at least 0; rows of weight 0 are left out. They count in training, and where members
            are judged by their folds, but not in the calibration: probabilities and intervals are for rows as frequent
            as in the table.
        groups : array of shape (n_samples,), optional
            The group of each row: a patient, a day. Members leave out whole groups, so they are judged and calibrated
            for rows of groups that they do not know. `hold_out` chooses rows for testing in the same way.
        folds : sequence of arrays, optional
            The numbers of the rows that each member leaves out, instead of folds at random: the last rows, say. If they
            are all empty, members learn from all rows, for all epochs, and are not calibrated.
        checkpoint, every, resume
            A file for the whole training, when to write it, and whether to resume the training in it, as in
            `xpnet.Ensemble.train`: bit for bit, with the same number of threads. `random_state` must be a whole number.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ArgumentError
            If a parameter, X or y is wrong; the estimator is then unchanged.
        FileExistsError, CheckpointError
            If there is a checkpoint and `resume` is not given; if it is damaged, or holds another training.
        """
        if y is None:  # in the words of scikit-learn
            raise ArgumentError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        threads = "auto" if self.n_jobs is None else effective_n_jobs(self.n_jobs)
        stand_in = copy.copy(self)  # scikit-learn's checks set `n_features_in_` and `feature_names_in_` on it
        lesson = stand_in._read(X, y, sample_weight, groups, folds, checkpoint)
        encoder, examples = stand_in._encode_examples(lesson)
        ensemble = stand_in._make_members(lesson, encoder, examples, threads)
        train_members(
            ensemble,
            examples,
            lesson.recipe,
            lesson.folds,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
            threads=threads,
            progress=self.progress,
        )
        predicted, scores = stand_in._judge_members(ensemble, lesson, encoder, examples)
        out_of_fold = np.full((lesson.n, predicted.shape[1]), np.nan, predicted.dtype)
        out_of_fold[lesson.rows] = predicted
        stand_in.encoder_, stand_in.ensemble_, stand_in._scores = encoder, ensemble, scores
        stand_in._problem, stand_in._class_weight = lesson.problem, lesson.class_weight
        if self._numeric:
            stand_in.oof_prediction_ = drop_single_output(out_of_fold)
        else:
            stand_in.classes_, stand_in.oof_proba_ = lesson.problem.classes, out_of_fold
        self.__dict__ = vars(stand_in)  # at once: an interrupt comes before it or after it
        return self

    def describe_scores(self, X: Any = None, y: Any = None) -> str:
        """Describe how good predictions are, in the units of the targets.

        The scores are R² and the mean absolute error, or the accuracy and the log loss; and the metrics in `training`.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features), optional
            A table that `fit` has not seen. Unless given, the scores are those out of fold, of the rows of `fit`.
        y : array of shape (n_samples,) or (n_samples, n_outputs), optional
            Its targets.

        Returns
        -------
        str
            A line such as "R2: 0.4578, mean absolute error: 47.7605, within 90% intervals: 89.8%".

        Raises
        ------
        ArgumentError
            If only one is given; or if neither is, and no rows were left out in `fit`.
        """
        check_is_fitted(self)
        if (X is None) != (y is None):
            got = "X" if y is None else "y"
            raise ArgumentError(f"describe_scores got {got} alone; give X and y, or neither for scores out of fold")
        if X is None:
            if self._scores is None:
                raise ArgumentError("no rows were left out in fit, which the scores out of fold need; give X and y")
            return self._scores
        y = self._encode_targets(y)
        with self._show_phase("Scoring", len(y)):
            x, metrics = self._encode(X).x, self._parse_metrics(self.ensemble_[0].value.model)
            check_lengths("X", len(x), "y", len(y))
            if self._class_weight is None:
                return score(self.ensemble_, (x, y), metrics)
            p = self.ensemble_.backend.to_numpy(self.ensemble_.predict_proba(x))
            return score_predictions(self.ensemble_, y, p, metrics, self._class_weight)

    def partial_dependence(self, X: Any, column: Any, *, points: int = 40) -> tuple[Any, np.ndarray, np.ndarray]:
        """Compute the mean prediction as a function of one column, and its spread over the members.

        All rows get the same value in the column, and keep their values in the others (J. Friedman, "Greedy Function
        Approximation: A Gradient Boosting Machine", Annals of Statistics 29, 2001).

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            The rows over which predictions are averaged; some hundreds are enough.
        column : str or int
            The name of the column; of an array its number, from 0.
        points
            The largest number of values: quantiles of numbers and dates, otherwise the most frequent values.

        Returns
        -------
        values : array of shape (n_values,)
            Values of the column in X, in order; texts of numbers or dates as these.
        mean, std : ndarray of shape (n_values,), (n_values, n_outputs) or (n_values, n_classes)
            The mean of `predict`, or of `predict_proba`, and the standard deviation of the means of single members. Of
            several quantiles, they are those of the median.

        Raises
        ------
        ArgumentError
            If X does not fit, or if the column is left out, or lacks values.
        """
        check_is_fitted(self)
        points, X = count("points", points, 2), check_table(self.encoder_, X, reset=False)
        frame, name = to_frame(X), f"x{column}" if isinstance(column, int) else column
        columns = get_columns(self.encoder_)
        inputs, x = find_inputs(columns, name), self._encode(X).x
        values = read_texts(frame[name], group_parts(columns)[name][0])
        rows = choose_values(values, points)
        if not len(rows):
            raise ArgumentError(f"X has no value in column {name!r}; give rows that have some")
        mean, std = compute_partial_dependence(self.ensemble_, x, inputs, rows)
        return values.iloc[rows].to_numpy(), drop_single_output(mean), drop_single_output(std)

    def check(self, y: Any, *, false_alarms: float = 1.0) -> Any:
        """Find the rows of `fit` whose targets look wrong, by predictions out of fold.

        Of numbers, these are errors that are too large for the errors of rows with similar predictions; of classes,
        those that are too improbable. Rows without a prediction out of fold are not checked.

        Parameters
        ----------
        y : array of shape (n_samples,)
            The targets, as in `fit`.
        false_alarms
            How many rows to expect among those that are returned if no target is wrong. A larger number returns more.

        Returns
        -------
        pandas.DataFrame
            A row for each, the worst first, with the index of y, or the numbers of rows from 0. The columns are
            "target" and "prediction"; "lower" and "upper", an interval that holds 90 % of the targets, or the
            "probability" of the target; and "false_alarms", the number of rows at least as strange to expect if no
            target is wrong.

        Raises
        ------
        ArgumentError
            If y has another length than in `fit`, or several columns; or if no rows were left out in `fit`.
        """
        check_is_fitted(self)
        out_of_fold = self.oof_prediction_ if self._numeric else self.oof_proba_
        in_range("false_alarms", false_alarms, 0, math.inf, "1 is usual", includes_low=False)
        targets = self._encode_targets(y)
        check_lengths("X in fit", len(out_of_fold), "y", len(targets))
        if targets.ndim > 1:
            raise ArgumentError(f"y has shape {targets.shape}; check takes a single target, so fit one model to each")
        rows = np.flatnonzero(~np.isnan(out_of_fold.reshape(len(targets), -1)[:, 0]))
        if not len(rows):
            raise ArgumentError("no rows were left out in fit, which check needs; fit without empty folds")
        import pandas

        frame = pandas.DataFrame(self._judge(targets[rows], out_of_fold[rows]), label_rows(y, rows))
        return frame.sort_values("false_alarms", kind="stable").query("false_alarms <= @false_alarms")

    @property
    def n_iter_(self) -> int:
        """Number of epochs of the member that was trained longest."""
        check_is_fitted(self)
        return max(map(len, self.ensemble_.histories))

    @property
    def feature_importances_(self) -> np.ndarray:
        """Permutation importance of each column, (n_features,)."""
        return self._importances[:, 0]

    @property
    def feature_importances_std_(self) -> np.ndarray:
        """Standard deviation of the importance over the members, (n_features,)."""
        return self._importances[:, 1]

    @property
    def _importances(self) -> np.ndarray:
        check_is_fitted(self)
        importances = find_importances(self.ensemble_[0])
        if not importances:
            raise AttributeError("importances are measured on rows that members leave out, and fit had folds of none")
        names = [*group_parts(get_columns(self.encoder_))][: self.n_features_in_]
        return np.array([importances.get(name, (0.0, 0.0)) for name in names])

    def novelty(self, X: Any) -> Array:
        """Compute how unlike the rows of `fit` each row is, from 0 to 1: see `xpnet.Ensemble.novelty`.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            A table with the columns of that in `fit`; or rows of one: a dict, a Series with names, or a list of dicts.

        Returns
        -------
        array of shape (n_samples,)
            The fraction of the rows of `fit` that are nearer to the others: 0.5 is usual, and of rows like those, 1 %
            exceed 0.99. It is 1 for a row with a value of a kind that `fit` did not have: missing, or an unknown text.

        Raises
        ------
        ArgumentError
            If `fit` had fewer than 20 rows.
        """
        encoded = self._encode(X)
        return move_to(encoded.novelty(self.ensemble_), backend_of(X))

    # Stages of `fit`, each of which returns what the next ones need

    def _read(self, X: Any, y: Any, sample_weight: Any, groups: Any, folds: Any, checkpoint: Any) -> Lesson:
        """Read the rows that have a weight, and choose which of them each member leaves out."""
        backend, table = choose_backend(self, backend_of(X)), check_table(self, X, reset=True)
        values, n = self._read_targets(y), len(table)
        check_lengths("X", n, "y", len(values))
        weight, rows = check_sample_weight(sample_weight, n), np.arange(n)
        if weight is not None and not weight.all():
            check_some_weight(float(weight.max()), "X")
            rows = np.flatnonzero(weight)
            table = table.iloc[rows] if hasattr(table, "iloc") else table[rows]
            values, weight = values[rows], weight[rows]
        recipe = self._parse_recipe(len(rows))
        if checkpoint is not None and "seed" not in recipe.network:
            require_seed(checkpoint, self.random_state)
        seed = recipe.network.get("seed", draw_seeds(self.random_state, 1)[0])
        parse_seeds(seed, recipe.members)  # or folds would refuse it in words of NumPy
        groups, problem = number_groups("X", n, groups, rows), self._learn(values, y)
        targets, weight, class_weight = weigh_targets(problem, values, weight)
        if folds is None:
            own, rng = None if self._numeric else targets, np.random.default_rng(seed)
            folds = make_folds(len(rows), recipe.members, rng, classes=own, groups=groups)
        else:
            folds = find_folds(folds, recipe.members, rows, n)
        part = divide_rows(len(rows), folds, np.random.default_rng(seed), groups)
        place = {"seed": seed, "backend": backend}
        return Lesson(table, y, n, rows, problem, targets, weight, class_weight, recipe, place, folds, part)

    def _encode_examples(self, lesson: Lesson) -> tuple[TableEncoder, Examples]:
        """Fit an encoder, and encode the rows."""
        with self._show_phase("Encoding columns", len(lesson.rows)):
            encoder = TableEncoder(self.categories, bins=self.bins)
            goal = make_goal(lesson.targets, lesson.labels, lesson.weight, lesson.part)
            x = fit_to_targets(encoder, lesson.table, goal)
        if self.progress:
            print(printable(f"Columns: {describe_columns(get_columns(encoder))}"), flush=True)
        return encoder, Examples(x, lesson.targets, len(lesson.labels) or None, lesson.weight)

    def _make_members(self, lesson: Lesson, encoder: TableEncoder, examples: Examples, threads: Any) -> Ensemble:
        """Make the members, which know the table, and scale their inputs by a short training."""
        recipe, columns = lesson.recipe, get_columns(encoder)
        ensemble = make_members(examples, recipe, **lesson.place)
        model = ensemble[0].value.model
        if self._numeric:
            model.cost.require_point("the scores")
        self._parse_metrics(model)  # wrong ones are refused before any training
        if self.bins and "standardize" not in recipe.network:
            with self._show_phase("Measuring columns", len(lesson.rows)) as bar:
                sizes, watch = [*count_inputs(columns).values()], [MoveBar(bar)]
                scaling = choose_scaling(examples, recipe, lesson.folds, sizes, threads, watch, **lesson.place)
            give_scaling(ensemble, scaling)
        ensemble.feature_names = name_inputs(columns)
        for network in ensemble:  # so that the commands read a table for them from their file
            network.notes = {**lesson.describe(), "columns": encoder.columns_}
        return ensemble

    def _judge_members(
        self, ensemble: Ensemble, lesson: Lesson, encoder: TableEncoder, examples: Examples
    ) -> tuple[np.ndarray, str | None]:
        """Calibrate trained members by the rows that they left out; return predictions of these, and their scores."""
        x, folds, scores = examples.x, lesson.folds, None
        with self._show_phase("Calibrating", len(x)):
            calibrate_members(ensemble, examples, folds)
            if len(x) >= LEAST_ROWS:
                ensemble.fit_novelty(x)
            predicted = predict_out_of_fold(ensemble, x, folds)
            if leaves_out_rows(folds):
                metrics = self._parse_metrics(ensemble[0].value.model)
                scores = score_predictions(ensemble, lesson.targets, predicted, metrics, lesson.class_weight)
                importances = measure_importances(ensemble, examples, folds, count_inputs(get_columns(encoder)))
                for network in ensemble:
                    network.notes = {**network.notes, "importances": importances}
        if self._numeric and ensemble.histories[0]:
            warn_of_wrong_targets(lesson.y, lesson.rows, lesson.targets, predicted)
        return predicted, scores

    def _show_phase(self, name: str, rows: int) -> Any:
        """Show the name of a phase; from a certain number of cells, it may take long."""
        return show_phase(name, self.progress, rows * self.n_features_in_ >= LARGE)

    # Checks

    def _learn(self, values: np.ndarray, y: Any) -> Classification | Regression:
        """Learn which labels there are, or check numbers; y is what the user gave."""
        raise NotImplementedError

    def _judge(self, y: np.ndarray, out_of_fold: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of `check` for targets (n,) and their predictions out of fold."""
        raise NotImplementedError

    def _read_targets(self, y: Any) -> np.ndarray:
        """Check the type of targets; those of a file are known."""
        return y.values if isinstance(y, Targets) else validate_targets(y, numeric=self._numeric)

    def _encode_targets(self, y: Any) -> Any:
        """Check targets as in `fit`, and number classes."""
        y = self._read_targets(y)
        self._problem.check(y)
        return self._problem.encode(y)

    def _parse_metrics(self, model: Model) -> list[Metric]:
        """Check the metrics of the user."""
        return parse_metrics("metrics", (self.training or {}).get("metrics") or (), model)

    def _parse_recipe(self, n: int) -> Recipe:
        """Check the parameters, and choose for n rows what is not given."""
        network, training = (
            {name: value for name, value in check_dict(argument, mapping or {}).items() if value is not None}
            for argument, mapping in (("network", self.network), ("training", self.training))
        )
        if "task" in network:
            raise ArgumentError(
                f"network has task={network['task']!r}, and {type(self).__name__} its own; leave it out"
            )
        if self.max_epochs is not None:
            training = {"epochs": count("max_epochs", self.max_epochs, 1), **training}
        return Recipe(
            members=choose_members(n) if self.members is None else count("members", self.members, 1),
            hidden=tuple(parse_hidden_sizes(self.hidden_layer_sizes)),
            patience=None if self.patience is None else count("patience", self.patience, 1),
            network=network,
            training=training,
        ).complete(n)

    # Predicting

    def _encode(self, X: Any) -> Encoded:
        """Turn a table into inputs of the networks."""
        check_is_fitted(self)
        return encode_table(self.encoder_, X)

    def _compute(self, X: Any, method: str, **options: Any) -> Any:
        """Call a method of the ensemble for a table; return its result, or its two results, where X lies."""
        x = self._encode(X).x
        result = getattr(self.ensemble_, method)(x, **options)
        return bring_home(result, self.ensemble_.backend, backend_of(X))

    # scikit-learn's protocols

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "ensemble_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags


@explain_arguments
@dataclass(eq=False, repr=False)
class TableClassifier(ClassifierMixin, BaseTableModel):
    """Predict classes from a table of numbers, texts, dates and missing values, without tuning.

    A `TableEncoder` with bins turns the table into numbers, scaled by how much each column matters in a short training.
    An ensemble of small networks learns from them. Each member leaves out a part of the rows, its fold, and keeps the
    epoch that is best on it. The folds calibrate the probabilities, so no rows are given up for that.

    It needs pandas, the extra ``tables``.

    Parameters
    ----------
    members
        Number of networks. Fewer are faster and a little less accurate. None chooses by the number of rows: 8, or 4
        from 10,000.
    hidden_layer_sizes
        Number of units of each hidden layer: one number, or a list.
    max_epochs
        Maximum number of epochs; the learning rate falls until then. A member stops earlier if its fold shows no
        improvement. None chooses by the number of rows: 30, or 10 to 29 for more than 133,000.
    patience
        Number of epochs without improvement on its fold after which a member stops; None: it does not stop earlier.
    bins
        As in `TableEncoder`; 0 leaves numbers in one column.
    categories
        Columns whose values are categories, though they are numbers or dates, as in `TableEncoder`.
    n_jobs
        Number of threads for the members on a CPU; -1 for one on each core. None chooses by the cores that the process
        may use and the size of the networks. The same number gives the same results bit for bit.
    random_state
        Draws folds, initial weights and minibatches: a number, a `numpy.random.RandomState`, or None for NumPy's global
        one.
    progress
        Whether to print what ``xpnet train`` prints: a bar on standard error for what is being done, and on standard
        output the kinds of the columns, and a line per epoch with scores of the folds in the units of the targets.
    backend, device
        Where the networks compute, as in `xpnet.Network`. Unless given, it is where X lies, and NumPy for tables.
    network : mapping, optional
        Other arguments of `xpnet.Ensemble`, such as ``{"activation": "tanh", "dropout": 0.1}``: `activation`,
        `output_activation`, `cost`, `init`, `dropout`, `standardize`, `dtype` and `seed`. With `standardize`,
        columns are not scaled by their importance. `seed` is used in place of `random_state`.
    training : mapping, optional
        Other arguments of `xpnet.Ensemble.train`, such as ``{"optimizer": "adam", "lr": 0.01}``: `epochs`, `lr`,
        `batch_size`, `optimizer`, `sampling`, `class_weight`, `metrics` and `callbacks`. The classes in its
        `class_weight` are numbers from 0, in the order of `classes_`; unlike those of the estimator, they move the
        probabilities.
    class_weight
        Weights of the classes, {label: number}; or "balanced", so that all classes have the same total weight. They
        count in training and in `predict`, and do not change probabilities, which are those of the table's frequencies.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    encoder_ : TableEncoder
        The encoder, which knows what is done with each column.
    ensemble_ : Ensemble
        The networks, which can do more: `save` writes a file that the ``xpnet`` command reads.
    oof_proba_ : ndarray of shape (n_samples, n_classes)
        Out-of-fold probabilities: each row of the X of `fit`, predicted by the members that left it out. NaN for rows
        of weight 0, and with fewer than 4 members for those that all of them learned from.
    feature_importances_ : ndarray of shape (n_features,)
        Permutation importance of each column: how much the cost of the rows that a member left out rises when the
        column is shuffled among them, in the mean over the members. They sum to 1; that of a column that is left out
        is 0. Without rows left out, there are no importances.
    feature_importances_std_ : ndarray of shape (n_features,)
        Standard deviation of the importance over the members, in the same unit.
    n_features_in_ : int
        Number of columns of the table.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if they have some.
    n_iter_ : int
        Number of epochs of the member that was trained longest.

    Examples
    --------
    >>> import pandas
    >>> from sklearn.datasets import load_wine
    >>> wine = load_wine(as_frame=True)
    >>> table = wine.data.assign(hue=pandas.cut(wine.data.hue, 3, labels=["low", "mid", "high"]))
    >>> classifier = TableClassifier(random_state=0).fit(table[::2], wine.target[::2])
    >>> classifier.score(table[1::2], wine.target[1::2]) > 0.9
    True
    """

    _: KW_ONLY
    class_weight: Any = None

    _numeric = False

    def predict(self, X: Any, return_proba: bool = False) -> Any:
        """Predict the class of each row.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            A table with the columns of that in `fit`; or rows of one: a dict, a Series with names, or a list of dicts.
        return_proba
            Whether to return the probability of each predicted class as well.

        Returns
        -------
        array of shape (n_samples,), or a pair of arrays
            The most probable classes; with `class_weight`, those with the largest product of weight and probability.
            Numbers in the library of X, on its device; NumPy arrays for tables and texts.
        """
        yes_or_no("return_proba", return_proba)
        x = self._encode(X).x
        value, p = self.ensemble_[0].value, self.ensemble_.predict_proba(x)
        xp, weighted = value.backend.xp, p
        if self._class_weight is not None:
            with value.scope():
                weighted = p * value.backend.asarray(self._class_weight, value.dtype)
        result = self._problem.decode(weighted, value)
        if return_proba:
            with value.scope():
                one_hot = xp.eye(p.shape[1], dtype=p.dtype, device=p.device)
                result = result, xp.vecdot(p, xp.take(one_hot, xp.argmax(weighted, axis=1), axis=0))
        return bring_home(result, value.backend, backend_of(X))

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class: the geometric mean of the members, calibrated.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As in `predict`.

        Returns
        -------
        array of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return self._compute(X, "predict_proba")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of predictions, by `sklearn.metrics.accuracy_score`, on the host.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As in `predict`.
        y : array of shape (n_samples,)
            True classes.
        sample_weight : array of shape (n_samples,), optional
            Weights of the rows.
        """
        return self._score(accuracy_score, X, y, sample_weight)

    def _learn(self, values: np.ndarray, y: Any) -> Classification:
        if isinstance(y, Targets):
            known = {*values.tolist()}
            if missing := [text for text in y.labels if text not in known]:
                warn(f"{y.table} has no rows of {list_names(missing)} to train on: all of them are held out")
            return Classification(np.array(y.labels, object), MULTICLASS, class_weight=self.class_weight)
        labels = learn_labels(values)
        if labels.task == MULTILABEL:
            raise ArgumentError(f"y has shape {values.shape}, several labels for each row; give one class for each row")
        if len(labels.classes) < 2:
            raise ArgumentError(f"y has one class, {labels.classes.tolist()[0]!r}; give rows of at least two classes")
        # An output for each class, also if there are two
        return replace(labels, task=MULTICLASS, class_weight=self.class_weight)

    def _judge(self, y: np.ndarray, out_of_fold: np.ndarray) -> dict[str, np.ndarray]:
        p, false_alarms = judge_classes(y, out_of_fold)
        target, prediction = self.classes_[y], self.classes_[out_of_fold.argmax(axis=1)]
        return {"target": target, "prediction": prediction, "probability": p, "false_alarms": false_alarms}


@explain_arguments
@dataclass(eq=False, repr=False)
class TableRegressor(RegressorMixin, BaseTableModel):
    """Predict numbers from a table of numbers, texts, dates and missing values, without tuning.

    It works as `TableClassifier` does, and has the same parameters except `class_weight`, the same attributes except
    `classes_`, and the same methods except `predict_proba`. Several targets are predicted together.

    Parameters
    ----------
    members, hidden_layer_sizes, max_epochs, patience, bins, categories, n_jobs, random_state, progress
        As in `TableClassifier`.
    backend, device, network, training
        As in `TableClassifier`.

    Attributes
    ----------
    oof_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Out-of-fold predictions: each row of the X of `fit`, predicted by the members that left it out. NaN for rows of
        weight 0, and with fewer than 4 members for those that all of them learned from.
    encoder_, ensemble_, feature_importances_, feature_importances_std_, n_features_in_, feature_names_in_, n_iter_
        As in `TableClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> regressor = TableRegressor(random_state=0).fit(X[::2], y[::2])
    >>> regressor.score(X[1::2], y[1::2]) > 0.3
    True
    >>> low, high = regressor.interval(X[1::2], level=0.9)
    >>> bool(0.8 < ((low <= y[1::2]) & (y[1::2] <= high)).mean() < 1)
    True
    """

    _numeric = True

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict numbers: the mean over the members.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            A table with the columns of that in `fit`; or rows of one: a dict, a Series with names, or a list of dicts.
        return_std
            Whether to return the standard deviation of the targets around the predictions as well.

        Returns
        -------
        array, or a pair of arrays
            Shape (n_samples,), or (n_samples, n_outputs) for several targets; in the library of X, on its device; NumPy
            arrays for tables.
        """
        return self._compute(X, "predict", return_std=yes_or_no("return_std", return_std))

    def interval(self, X: Any, level: float = 0.9) -> tuple[Array, Array]:
        """Predict the interval that holds the target with a probability of `level`.

        Its width follows the out-of-fold errors of rows with similar predictions.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As in `predict`.
        level
            The probability, above 0 and below 1.

        Returns
        -------
        low, high
            Two arrays of the shape that `predict` returns.
        """
        return self._compute(X, "interval", level=level)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R² of predictions, by `sklearn.metrics.r2_score`, on the host.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As in `predict`.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        sample_weight : array of shape (n_samples,), optional
            Weights of the rows.
        """
        return self._score(r2_score, X, y, sample_weight)

    def _learn(self, values: np.ndarray, y: Any) -> Regression:
        problem = Regression(1 if values.ndim == 1 else values.shape[1], "squared_error")
        problem.check(values)
        return problem

    def _judge(self, y: np.ndarray, out_of_fold: np.ndarray) -> dict[str, np.ndarray]:
        half, false_alarms = judge_numbers(y, out_of_fold)
        return {
            "target": y,
            "prediction": out_of_fold,
            "lower": out_of_fold - half,
            "upper": out_of_fold + half,
            "false_alarms": false_alarms,
        }


def find_folds(folds: Sequence[Any], members: int, rows: np.ndarray, n: int) -> list[np.ndarray]:
    """Find the folds of the user, numbers of the n rows of X, among the rows that have a weight."""
    if has_entries(folds) and len(folds) == members and all(has_entries(fold) and len(fold) == 0 for fold in folds):
        return [np.array([], np.int32)] * members
    parts = parse_rows("folds", folds, members, n, "X")
    found = [np.flatnonzero(np.isin(rows, part)).astype(np.int32) for part in parts]
    for k, fold in enumerate(found):
        if len(fold) in (0, len(rows)):
            raise ArgumentError(
                f"folds[{k}] leaves out {len(fold)} of the {len(rows)} rows that have a weight; give some, not all"
            )
    return found


def weigh_targets(
    problem: Classification | Regression, y: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Number classes, and multiply the weights of rows by theirs; return both, and the weight of each class."""
    targets, own, class_weight = problem.encode(y), problem.weigh_classes(y, partial=False), None
    if own is not None:
        weight, class_weight = own if weight is None else weight * own, np.ones(problem.n_outputs)
        class_weight[targets] = own
    return targets, None if weight is None or np.ptp(weight) == 0 else weight, class_weight
