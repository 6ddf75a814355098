"""`TableClassifier` and `TableRegressor`: the recipe of `xpnet.tabular` on tables, as estimators."""

import copy
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import joblib
import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from xpnet.backends.base import Backend
from xpnet.backends.choose import backend_of, to_host
from xpnet.core.arrays import Array
from xpnet.ensemble import Ensemble
from xpnet.estimators.architecture import choose_backend, parse_hidden_sizes
from xpnet.estimators.base import BaseModel
from xpnet.estimators.checkpoints import require_seed
from xpnet.estimators.inputs import move_to, parse_sample_weight, same_place, validate_targets
from xpnet.estimators.settings import make_random_state
from xpnet.estimators.tables import TableEncoder, check_table
from xpnet.estimators.targets import MULTICLASS, MULTILABEL, Classification, Labels, Regression, learn_labels
from xpnet.tabular import Recipe, make_folds, make_members, train_members
from xpnet.training.checkpointing import Every
from xpnet.wording.checks import check_lengths, count, yes_or_no
from xpnet.wording.hints import explain_arguments

Self = TypeVar("Self", bound="BaseTableModel")
MAX_SEED = np.iinfo(np.int32).max


class TableData(NamedTuple):
    """The checked arguments of a fit, on the host, without rows of weight 0."""

    table: Any  # (n, n_features), a DataFrame of pandas or an array
    problem: Classification | Regression
    y: np.ndarray  # classes (n,), or numbers (n,) or (n, k)
    weight: np.ndarray | None  # (n,)
    target: str  # its name


@dataclass(eq=False, repr=False)
class TableParameters:
    """The parameters of both, exactly as the user gave them."""

    members: int = 8
    _: KW_ONLY
    hidden_layer_sizes: Any = None
    max_epochs: int = Recipe.epochs
    bins: int = 32
    categories: Sequence[str] = ()
    n_jobs: int | None = None
    random_state: Any = None
    progress: bool = False
    backend: Any = None
    device: Any = None


class BaseTableModel(TableParameters, BaseModel):
    """Base class of `TableClassifier` and `TableRegressor`."""

    _fitted_model: ClassVar[tuple[str, type]] = "ensemble_", Ensemble

    # Set by `fit`
    encoder_: TableEncoder
    ensemble_: Ensemble
    classes_: np.ndarray
    _labels: Labels

    def fit(
        self: Self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        checkpoint: Any = None,
        every: Every | None = None,
        resume: bool = False,
    ) -> Self:
        """Fit the encoder and the networks to a table and targets.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            The table: of pandas, of another library with ``to_pandas()``, or an array of any library. Arrays on a
            device come to the host to be encoded.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: labels or numbers.
        sample_weight : array of shape (n_samples,), optional
            Weights of the rows, at least 0. Rows of weight 0 are left out. The fold that a member leaves out counts
            without weights.
        checkpoint, every, resume
            A file for the whole training, when to write it, and whether to resume the training in it, as in
            `xpnet.Ensemble.train`: bit for bit, with the same number of threads. `random_state` must be a whole number.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is wrong; the estimator is then unchanged.
        FileExistsError, CheckpointError
            If there is a checkpoint and `resume` is not given; if it is damaged, or holds another training.
        """
        recipe, threads = self._parse_recipe(), choose_threads(self.n_jobs)
        progress = yes_or_no("progress", self.progress)
        if checkpoint is not None:
            require_seed(checkpoint, self.random_state)
        stand_in = copy.copy(self)  # scikit-learn's checks set `n_features_in_` and `feature_names_in_` on it
        data = self._check(stand_in, X, y, sample_weight)
        encoder = TableEncoder(self.categories, bins=self.bins).fit(data.table)
        x = encoder.transform(data.table)
        seed = int(make_random_state(self.random_state).randint(MAX_SEED))
        labels = data.problem.labels
        classes = None if labels is None else data.y
        folds = make_folds(len(x), recipe.members, np.random.default_rng(seed), classes=classes)
        backend = choose_backend(self, backend_of(X))  # type: ignore[arg-type]
        n_classes = None if labels is None else len(labels.classes)
        ensemble = make_members(x, data.y, recipe, n_classes, seed=seed, backend=backend)
        describe_table(ensemble, encoder, labels, data.target)
        train_members(
            ensemble,
            x,
            data.y,
            recipe,
            folds,
            sample_weight=data.weight,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
            threads=threads,
            progress=progress,
        )
        fitted = {"encoder_": encoder, "ensemble_": ensemble}
        if labels is not None:
            fitted |= {"_labels": labels, "classes_": labels.classes}
        self.__dict__ = {**vars(stand_in), **fitted}  # at once: an interrupt comes before it or after it
        return self

    @property
    def n_iter_(self) -> int:
        """Number of epochs of the member that was trained longest."""
        check_is_fitted(self)
        return max(map(len, self.ensemble_.histories))

    def _parse_recipe(self) -> Recipe:
        hidden = None if self.hidden_layer_sizes is None else tuple(parse_hidden_sizes(self.hidden_layer_sizes))
        members, epochs = count("members", self.members, 1), count("max_epochs", self.max_epochs, 1)
        return Recipe(members=members, epochs=epochs, hidden=hidden)

    def _check(self, stand_in: Any, X: Any, y: Any, sample_weight: Any) -> TableData:
        """Check the arguments of `fit`."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        table = check_table(stand_in, to_host(X), reset=True)
        target = getattr(y, "name", None)
        y = validate_targets(y, numeric=not isinstance(self, ClassifierMixin))
        check_lengths("X", len(table), "y", len(y))
        sample_weight = parse_sample_weight(sample_weight, len(table))
        if sample_weight is not None and not sample_weight.all():
            rows = np.flatnonzero(sample_weight)
            table = table.iloc[rows] if hasattr(table, "iloc") else table[rows]
            y, sample_weight = y[rows], sample_weight[rows]
        problem = self._learn(y)
        class_weight = problem.weigh_classes(y, partial=False)
        weights = [weight for weight in (sample_weight, class_weight) if weight is not None]
        weight = np.prod(weights, axis=0) if weights else None
        return TableData(table, problem, problem.encode(y), weight, target if isinstance(target, str) else "target")

    def _learn(self, y: np.ndarray) -> Classification | Regression:
        """Learn what kind of targets y holds."""
        raise NotImplementedError

    def _encode(self, X: Any) -> np.ndarray:
        """Turn a table into the inputs of the networks."""
        check_is_fitted(self)
        return self.encoder_.transform(check_table(self, to_host(X), reset=False))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "ensemble_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags


@explain_arguments
@dataclass(eq=False, repr=False)
class TableClassifier(ClassifierMixin, BaseTableModel):
    """Predicts classes from a table, without tuning.

    Parameters
    ----------
    members
        Number of networks.
    """

    _: KW_ONLY
    class_weight: Any = None

    def predict(self, X: Any) -> Any:
        """Predict the class of each row.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            A table with the columns of that in `fit`.

        Returns
        -------
        array of shape (n_samples,)
            The most probable classes: a NumPy array, or numbers in the library of X.
        """
        x = self._encode(X)
        view = self.ensemble_[0].view
        return move_result(self._labels.decode(self.ensemble_.predict_proba(x), view), X, view.backend)

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As in `predict`.

        Returns
        -------
        array of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        x = self._encode(X)
        return move_result(self.ensemble_.predict_proba(x), X, self.ensemble_.backend)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of predictions.

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

    def _learn(self, y: np.ndarray) -> Classification:
        labels = learn_labels(y)
        if labels.kind == MULTILABEL:
            raise ValueError(f"y has shape {y.shape}, several labels for each row; give one class for each row")
        if len(labels.classes) < 2:
            raise ValueError(f"y holds one class, {labels.classes[0]!r}; give at least two classes")
        labels = replace(labels, kind=MULTICLASS)  # an output for each class, also if there are two
        return Classification(labels, "log_loss", self.class_weight)


@explain_arguments
@dataclass(eq=False, repr=False)
class TableRegressor(RegressorMixin, BaseTableModel):
    """Predicts numbers from a table, without tuning, with error bars.

    Parameters, attributes and methods are those of `TableClassifier`, except as follows.

    Parameters
    ----------
    members
        Number of networks.
    """

    def predict(self, X: Any) -> Any:
        """Predict numbers.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            A table with the columns of that in `fit`.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
            A NumPy array, or one in the library of X.
        """
        x = self._encode(X)
        return move_result(self.ensemble_.predict(x), X, self.ensemble_.backend)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R² of predictions.

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

    def _learn(self, y: np.ndarray) -> Regression:
        problem = Regression(1 if y.ndim == 1 else y.shape[1], "squared_error")
        problem.check(y)
        return problem


def choose_threads(n_jobs: Any) -> int | str:
    """Choose the number of threads; see `Ensemble.train`."""
    if n_jobs is None:
        return "auto"
    if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise ValueError(f"n_jobs={n_jobs!r} must be a number of threads, -1 for a thread on each core, or None")
    return int(joblib.effective_n_jobs(n_jobs))


def describe_table(ensemble: Ensemble, encoder: TableEncoder, labels: Labels | None, target: str) -> None:
    """Tell the networks about the table, as `xpnet train` does; so the command reads the file of `Ensemble.save`."""
    notes: dict[str, Any] = {"columns": encoder.columns_, "target": target}
    notes["labels"] = [] if labels is None else [str(label) for label in labels.classes]
    ensemble.feature_names = encoder.get_feature_names_out()
    for network in ensemble:
        network.notes = dict(notes)


def move_result(result: Any, X: Any, backend: Backend) -> Any:
    """Move a result to where X lies, from the place of a backend; texts stay on the host."""
    home = backend_of(X)
    is_text = isinstance(result, np.ndarray) and result.dtype.kind not in "biuf"
    return result if is_text or same_place(home, backend) else move_to(result, home)
