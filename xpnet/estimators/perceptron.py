"""What the classifier and the regressor share: their parameters, how they are fitted, and what they predict."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

import xpnet.estimators.lbfgs as lbfgs
import xpnet.estimators.settings as settings
from xpnet import arguments, evaluation, prediction, training
from xpnet.activations import Activation
from xpnet.arrays import Array, Namespace
from xpnet.backends import BACKENDS, Backend, get_backend
from xpnet.callbacks import Callback, Progress
from xpnet.data import Kept, Reader, numbers
from xpnet.errors import DivergenceError, warn
from xpnet.estimators.convergence import KEPT, Convergence, begin, not_converged
from xpnet.estimators.following import brought, float_of, home, is_foreign, on_the_host, place, same
from xpnet.estimators.rows import SparseRows, dense_blocks
from xpnet.examples import Examples, rows
from xpnet.initializers import Initializer
from xpnet.metrics import Metric, predictions
from xpnet.network import Network

Self = TypeVar("Self", bound="Perceptron")
Source = Kept | SparseRows


class Head(NamedTuple):
    """What the output layer of an estimator is."""

    units: int
    activation: Any
    cost: Any
    task: str | None


def has_epochs(est: Any) -> bool:
    """Whether its solver trains epoch by epoch."""
    if est.solver == "lbfgs":
        raise AttributeError("partial_fit is for solvers that train epoch by epoch; lbfgs does not")
    return True


@dataclass(eq=False, repr=False)
class Perceptron(BaseEstimator):
    """Base class of `MLPClassifier` and `MLPRegressor`; its fields are their parameters."""

    _: KW_ONLY
    solver: Any = "adam"
    alpha: float = 0.0001
    batch_size: Any = "auto"
    learning_rate: Any = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: Any = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: Any = 10
    max_fun: int = 15000
    dropout: Any = 0.0
    callbacks: Sequence[Callback] = ()
    progress: bool = False
    backend: Any = None
    device: Any = None
    dtype: Any = None

    _score_name: ClassVar[str]  # what the score is called in the logs, after "validation_"
    _score: ClassVar[Callable[..., float]]  # scikit-learn's
    _numeric: ClassVar[bool]  # whether targets are numbers

    # What the two kinds have of their own

    def _encoded(self, y: Any, goes_on: bool, classes: Any) -> Any:
        """Make targets of y; learns the labels, or checks them if training goes on."""
        raise NotImplementedError

    def _head(self, y: Any) -> Head:
        """Describe the output layer for such targets."""
        raise NotImplementedError

    def _reported(self, y: Any, weight: Any) -> Callable[[float], float]:
        """What scikit-learn reports as the loss where the network has some mean cost."""
        return float

    def _class_weights(self, y: Any, once: bool) -> Any:
        """How much each example counts by its class; None where it is not so."""
        return None

    @property
    def _task(self) -> str:
        raise NotImplementedError

    # Fitting

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> Self:
        """Fit the network to inputs and targets.

        Parameters
        ----------
        X
            Inputs (n, n_features): an array of any library, on any device; a table, a list, or a sparse matrix.
        y
            Targets: labels or numbers (n,), or rows (n, n_outputs).
        sample_weight
            How much each example counts, (n,), at least 0.
        validation_data
            A tuple (X, y) or (X, y, sample_weight): each epoch computes loss and score on it, and `early_stopping` goes
            by it, instead of a part of X.

        Returns
        -------
        self
            The estimator, fitted.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is wrong, or the weights become infinite or NaN; the estimator is as it was then.
        """
        return self._unless_it_fails(X, y, sample_weight, validation_data)

    def _unless_it_fails(self: Self, *given: Any, **options: Any) -> Self:
        """Train; when that fails, in whichever way, the estimator is as it was."""
        before, net = dict(vars(self)), vars(self).get("network_")
        state = net.state if net is not None else None
        try:
            self._train(*given, **options)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            if net is not None:
                net.state = state
            raise
        return self

    def _train(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, *, classes: Any = None, once: bool = False
    ) -> None:
        settings.check(self)
        goes_on = (once or self.warm_start) and hasattr(self, "network_")
        here = self._home_of(X, "partial_fit" if once else "fit") if goes_on else home(X)
        X, y = self._validated(X, y, reset=not goes_on)
        by_class = self._class_weights(y, once)
        y = self._encoded(y, goes_on, classes)
        weight = _weights(sample_weight, X.shape[0], by_class)
        random_state = check_random_state(self.random_state)
        if not (goes_on and once):
            dtype = float_of(X) if self.dtype is None else arguments.dtype(self.dtype)
            self._begin(X.shape[1], self._head(y), self._backend(here), dtype, random_state, goes_on)
        self._home = here
        with self.network_.backend.scope(self.network_.dtype):
            source, reported = self._source(X, y, weight), self._reported(y, weight)
            if isinstance(self.solver, str) and self.solver == "lbfgs":
                self._minimize(source, validation_data, reported)
            else:
                self._descend(source, validation_data, random_state, once, reported)

    def _begin(
        self, n_in: int, head: Head, backend: Backend, dtype: str, random_state: np.random.RandomState, goes_on: bool
    ) -> None:
        """Make the network, with weights drawn as scikit-learn draws them, or those it has if training goes on."""
        sizes = [n_in, *settings.hidden_sizes(self.hidden_layer_sizes), head.units]  # type: ignore
        init = settings.uniform(random_state, self._sigmas(len(sizes) - 2))
        if not goes_on:
            self.t_, self._lr_scale, self._no_improvement_count = 0, 1.0, 0
            for name in KEPT:
                vars(self).pop(name, None)
        elif sizes == self.network_.sizes:
            init = settings.given(zip(map(on_the_host, self.coefs_), map(on_the_host, self.intercepts_)))
        else:
            raise ValueError(
                f"warm_start=True goes on with a network of the sizes {self.network_.sizes}, but X, y and "
                f"hidden_layer_sizes now ask for {sizes}; give warm_start=False to begin anew"
            )
        seed = int(random_state.randint(2**31 - 1)) if np.any(self.dropout) else 0
        self.network_ = self._network(sizes, head, init, backend, dtype, seed)

    def _sigmas(self, layers: int) -> list[Activation]:
        return settings.hidden(self.activation, layers)  # type: ignore

    def _network(
        self, sizes: list[int], head: Head, init: Initializer, backend: Backend, dtype: str, seed: int
    ) -> Network:
        return Network(
            sizes,
            activation=self._sigmas(len(sizes) - 2),
            output_activation=head.activation,
            cost=head.cost,
            task=head.task,
            init=init,
            dropout=self.dropout,
            backend=backend,
            dtype=dtype,
            seed=seed,
        )

    def _source(self, X: Any, y: Any, weight: Any) -> Source:
        """Examples as a network trains on them, on its device."""
        net = self.network_
        reader = net.reader()
        targets = reader.targets(brought(y, net.backend), "y")
        weight = None if weight is None else net.backend.asarray(weight, net.dtype)
        examples = Examples(None, targets, weight, None, reader.numbered(targets))
        if sparse.issparse(X):
            return SparseRows(X, examples, reader)
        return Kept(examples._replace(x=reader.inputs(brought(X, net.backend, net.dtype), "X")))

    def _minimize(self, source: Source, validation_data: Any, reported: Callable[[float], float]) -> None:
        """Fit by L-BFGS."""
        if validation_data is not None:
            raise ValueError(
                "validation_data is for solvers that train epoch by epoch, which lbfgs does not; leave it out, or give "
                "solver='adam'"
            )

        def say(iteration: int, loss: float) -> None:
            if self.verbose:
                print(f"Iteration {iteration}, loss = {reported(loss):.8f}")

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        result = lbfgs.minimize(self.network_, source, self.alpha, options, say)
        self.n_iter_, self.loss_ = min(result.nit, self.max_iter), reported(float(result.fun))
        not_converged(result, self.max_iter)

    def _descend(
        self,
        source: Source,
        validation_data: Any,
        random_state: np.random.RandomState,
        once: bool,
        reported: Callable[[float], float],
    ) -> None:
        """Fit by stochastic gradient descent."""
        net, validation = self.network_, None
        if self.early_stopping and once:
            raise ValueError("partial_fit does not support early_stopping=True")
        if validation_data is not None:
            validation = self._validation(validation_data)
        elif self.early_stopping:
            source, validation = self._split(source, random_state)
        n = source.examples.y.shape[0]
        if self.batch_size != "auto" and self.batch_size > n:
            warn(f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n}")
        watchers: list[Callback] = [] if validation is None else [self._watch(validation)]
        begin(self, validates=validation is not None)
        watchers += [Convergence(self, n, once, reported), *arguments.callbacks(list(self.callbacks))]
        plan = training.Plan(
            epochs=1 if once else self.max_iter,
            batch_size=min(200 if self.batch_size == "auto" else int(self.batch_size), n),
            optimizer=settings.optimizer(self),
            schedule=settings.schedule(self),
            sampling=settings.sampling(random_state, self.shuffle),
            alpha=self.alpha,
        )
        try:
            training.train(net, plan, source, [*watchers, *([Progress()] if self.progress else [])])
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        except DivergenceError as error:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                f"preprocessed: {error}"
            ) from error

    def _validation(self, given: Any) -> Source:
        """Examples of `validation_data`."""
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ValueError("validation_data must be a tuple (X, y) or (X, y, sample_weight)")
        X, y = self._validated(*given[:2], reset=False)
        return self._source(
            X, self._encoded(y, True, None), _weights(given[2] if len(given) == 3 else None, X.shape[0])
        )

    def _split(self, source: Source, random_state: np.random.RandomState) -> tuple[Source, Source]:
        """Examples to train and to validate on: those that scikit-learn would take."""
        y, backend = source.examples.y, self.network_.backend
        held = train_test_split(
            np.arange(y.shape[0], dtype=np.int32),
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=backend.to_numpy(y)[:, 0] if self._task == "binary" else None,
        )
        if len(held[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )

        def part(index: np.ndarray) -> Source:
            examples = rows(source.examples, backend.asarray(index), backend.xp)
            return Kept(examples) if isinstance(source, Kept) else SparseRows(source.x[index], examples, source.reader)

        return part(held[0]), part(held[1])

    def _watch(self, validation: Source) -> Callback:
        """What computes loss and score on validation data, the latter by scikit-learn, on the host."""
        task, weight, to_numpy = self._task, validation.examples.weight, self.network_.backend.to_numpy
        weight = None if weight is None else to_numpy(weight)

        def measure(y: Array, a: Array, of: str, xp: Namespace) -> tuple[Array, Array]:
            return predictions(y, task, xp), predictions(a, task, xp)

        def combine(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
            y_true, y_pred = (np.concatenate([to_numpy(part) for part in each]) for each in zip(*parts))
            return float(self._score(y_true, y_pred, sample_weight=weight)) if np.isfinite(y_pred).all() else np.nan

        metric = Metric(self._score_name, measure, combine)
        return evaluation.watch(self.network_, "validation", validation, [metric])

    # Predicting

    def _outputs(self, X: Any, method: str, of: Callable[[Array], Any] = lambda a: a) -> Any:
        """What `of` makes of the outputs for X, in the library of X and on its device."""
        check_is_fitted(self)
        here, net = self._home_of(X, method), self.network_
        X = self._validated(X, reset=False)
        with net.backend.scope(net.dtype):
            if sparse.issparse(X):
                a = net.backend.xp.concat([prediction.outputs(net, block) for block in dense_blocks(X)], axis=0)
            else:
                a = prediction.outputs(net, brought(X, net.backend))
            found = of(a)
        moves = not same(here, net.backend) and not sparse.issparse(found) and str(found.dtype) != "object"
        return brought(found, here) if moves else found

    def activations(self, X: Any) -> list[Array]:
        """Activations of every layer, `n_layers_` arrays (n, units), the first X itself; in the library of X.

        Parameters
        ----------
        X
            Inputs (n, n_features); sparse ones become dense.
        """
        check_is_fitted(self)
        here, net = self._home_of(X, "activations"), self.network_
        X = self._validated(X, reset=False)
        found = net.activations(X.toarray() if sparse.issparse(X) else brought(X, net.backend))
        return [brought(a, here) for a in found]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier (all labels of an example right, if it has several), R² of a regressor.

        By `sklearn.metrics.accuracy_score` and `r2_score`, on the host.

        Parameters
        ----------
        X
            Inputs (n, n_features).
        y
            What is true, (n,) or (n, n_outputs).
        sample_weight
            How much each example counts, (n,).
        """
        predicted = on_the_host(self.predict(X))  # type: ignore
        return float(self._score(on_the_host(y), predicted, sample_weight=on_the_host(sample_weight)))

    # Where it lives, and what it is made of

    def to(self: Self, X: Any) -> Self:
        """Return a copy that predicts, and trains on, where X lies: in its library, on its device.

        Parameters
        ----------
        X
            An array; lists and tables stand for NumPy.
        """
        check_is_fitted(self)
        new = copy.copy(self)
        new._home = home(X)
        new.network_ = self.network_.to(new._home)
        return new

    @property
    def coefs_(self) -> list[Array]:
        """Copies of the weights between layers, (n_in, n_out) each, in the library of the X of `fit`; assignable."""
        return [brought(w.mT, self._home) for w in self.network_.w]

    @coefs_.setter
    def coefs_(self, coefs: Sequence[Any]) -> None:
        self.network_.w = [brought(w, self.network_.backend).mT for w in coefs]

    @property
    def intercepts_(self) -> list[Array]:
        """Copies of the biases of each layer, (n_out,), in the library of the X of `fit`; assignable."""
        return [brought(b, self._home) for b in self.network_.b]

    @intercepts_.setter
    def intercepts_(self, intercepts: Sequence[Any]) -> None:
        self.network_.b = [brought(b, self.network_.backend) for b in intercepts]

    @property
    def n_layers_(self) -> int:
        """Number of layers, inputs and outputs included."""
        return self.network_.num_layers

    @property
    def n_outputs_(self) -> int:
        """Number of outputs."""
        return self.network_.sizes[-1]

    @property
    def out_activation_(self) -> str:
        """Activation of the output layer, by scikit-learn's name."""
        name = self.network_.output_activation
        return {ours: theirs for theirs, ours in settings.ACTIVATIONS.items()}.get(name, name)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_array_api_convert__(self: Self, convert: Callable[[Any], Any]) -> Self:
        """Move by scikit-learn's own function for that."""
        return self.to(convert(self.coefs_[0])) if hasattr(self, "network_") else self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.array_api_support = True
        return tags

    # Checking what is given

    def _home_of(self, X: Any, method: str) -> Backend:
        """Library and device of X; refuse others than those of the network, unless `backend` or `device` chose it."""
        here, net = home(X), self.network_
        if self.backend is None and self.device is None and not same(here, net.backend):
            name = type(self).__name__
            raise ValueError(
                f"Inputs passed to {name}.{method}() must use the same namespace and the same device as those passed to "
                f"fit(): X is of {place(here)}, and the estimator lives on {place(net.backend)}; move it to X with "
                "est = est.to(X)"
            )
        return here

    def _backend(self, here: Backend) -> Backend:
        """Where to compute, for X that lies `here`."""
        if self.backend is None and self.device is None:
            return here
        chosen = self.backend
        if chosen is None and here.name != "numpy":
            chosen = here.name if here.name in BACKENDS else here.xp
        found = get_backend(chosen, self.device)
        return here if self.device is None and found.name == here.name else found

    def _validated(self, X: Any, y: Any = "no_validation", *, reset: bool) -> Any:
        """X, or X and y, checked: by scikit-learn where they are not arrays of another library."""
        single = isinstance(y, str)
        if is_foreign(X):
            X = numbers(X, "X")
            if X.ndim != 2:
                raise ValueError(
                    f"Expected 2D array, got {X.ndim}D array instead: X has shape {tuple(X.shape)}, but must have "
                    "(n, n_features); a single example is X[None, :]"
                )
            for n, what in zip(X.shape, ("sample", "feature")):
                if n == 0:
                    raise ValueError(
                        f"Found array with 0 {what}(s) (shape={tuple(X.shape)}) while a minimum of 1 is required by "
                        f"{type(self).__name__}."
                    )
            validate_data(self, X, y if y is None else "no_validation", reset=reset, skip_check_array=True)
            if not single and not (self._numeric and is_foreign(y)):  # labels are encoded on the host
                y = check_array(on_the_host(y), ensure_2d=False, dtype=None, input_name="y")
        else:
            kinds = {"accept_sparse": ["csr", "csc"], "dtype": [np.float64, np.float32], "order": "C", "reset": reset}
            if single:
                return validate_data(self, X, **kinds)
            X, y = validate_data(self, X, on_the_host(y), multi_output=True, y_numeric=self._numeric, **kinds)
        if single:
            return X
        check_consistent_length(X, y)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 and not is_foreign(y) else y


def _weights(given: Any, n: int, by_class: Any = None) -> Any:
    """How much each example counts, (n,), on the host; None for all the same."""
    if given is None:
        return by_class
    weight = np.full(n, given) if np.isscalar(given) else on_the_host(given)
    weight = check_array(weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {(n,)}!")
    weight = weight if by_class is None else weight * by_class
    if weight.min() < 0 or not weight.any():
        raise ValueError(
            f"sample_weight goes from {weight.min():g} to {weight.max():g}; give numbers of at least 0, and not all of "
            "them 0"
        )
    return weight
