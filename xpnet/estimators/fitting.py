"""How an estimator is fitted: its network made, its examples brought there, and one of the two ways to train."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

import xpnet.estimators.checking as checking
import xpnet.estimators.lbfgs as lbfgs
import xpnet.estimators.settings as settings
from xpnet import arguments, evaluation, training
from xpnet.arrays import Array, Namespace
from xpnet.backends import Backend
from xpnet.callbacks import Callback, Progress
from xpnet.data import Kept
from xpnet.errors import DivergenceError, warn
from xpnet.estimators.convergence import KEPT, Convergence, begin, forget, not_converged
from xpnet.estimators.following import brought, float_of, home, on_the_host, place
from xpnet.estimators.sparse_rows import SparseRows
from xpnet.examples import Examples, rows
from xpnet.initializers import Initializer
from xpnet.metrics import Metric, predictions
from xpnet.network import Network

Source = Kept | SparseRows


class Head(NamedTuple):
    """What the output layer of an estimator is."""

    units: int
    activation: Any
    cost: Any
    task: str | None


def fit(est: Any, X: Any, y: Any, sample_weight: Any, validation_data: Any, classes: Any, once: bool) -> None:
    """Fit an estimator; see `Perceptron.fit`.

    Parameters
    ----------
    est
        The estimator.
    X, y, sample_weight, validation_data
        As there.
    classes
        All labels, where y may lack some.
    once
        Whether to train for one epoch, on from the last call.
    """
    settings.check(est)
    goes_on = (once or est.warm_start) and hasattr(est, "network_")
    here = checking.home_of(est, X, "partial_fit" if once else "fit") if goes_on else home(X)
    X, y = checking.examples(est, X, y, reset=not goes_on)
    given, y = y, est._encoded(y, goes_on, classes)
    own = checking.weights(sample_weight, X.shape[0])
    by_class = est._class_weights(given, once)
    random_state = check_random_state(est.random_state)
    if not (goes_on and once):
        sizes = [X.shape[1], *settings.hidden_sizes(est.hidden_layer_sizes), est._head(y).units]
        init = _weights_of(est, sizes) if goes_on else settings.uniform(est.activation, random_state, len(sizes) - 2)
        dtype = float_of(X) if est.dtype is None else arguments.dtype(est.dtype)
        seed = int(random_state.randint(2**31 - 1)) if np.any(est.dropout) else 0
        if not goes_on:
            forget(est)
        est.network_ = network(est, sizes, est._head(y), init, checking.chosen(est, here), dtype, seed)
    est._home = here
    weight = own if by_class is None else by_class if own is None else own * by_class
    weight, largest = checking.relative(weight, est.network_.dtype, "X")
    with est.network_.backend.scope(est.network_.dtype):
        source = _source(est, X, y, weight)
        if settings.is_called(est.solver, "lbfgs"):
            _minimize(est, source, est.alpha / largest, validation_data)
        else:
            _descend(est, source, own, est.alpha / largest, validation_data, random_state, once)


def network(
    est: Any, sizes: Sequence[int], head: Head, init: Initializer, backend: Backend, dtype: str, seed: int = 0
) -> Network:
    """Make the network of an estimator."""
    return Network(
        sizes,
        activation=settings.hidden(est.activation, len(sizes) - 2),
        output_activation=head.activation,
        cost=head.cost,
        task=head.task,
        init=init,
        dropout=est.dropout,
        backend=backend,
        dtype=dtype,
        seed=seed,
    )


def _weights_of(est: Any, sizes: list[int]) -> Initializer:
    """Take the weights of the last fit as initial ones."""
    if sizes != est.network_.sizes:
        raise ValueError(
            f"warm_start=True goes on with a network of the sizes {est.network_.sizes}, but X, y and "
            f"hidden_layer_sizes now ask for {sizes}; give warm_start=False to begin anew"
        )
    return settings.given(zip(map(on_the_host, est.coefs_), map(on_the_host, est.intercepts_)))


def _source(est: Any, X: Any, y: Any, weight: Any) -> Source:
    """Examples as a network trains on them, on its device."""
    net = est.network_
    reader = net.reader()
    targets = reader.targets(brought(y, net.backend), "y")
    weight = None if weight is None else net.backend.asarray(weight, net.dtype)
    examples = Examples(None, targets, weight, None, reader.numbered(targets))
    if sparse.issparse(X):
        return SparseRows(X, examples, reader)
    return Kept(examples._replace(x=reader.inputs(brought(X, net.backend, net.dtype), "X")))


def _minimize(est: Any, source: Source, alpha: float, validation_data: Any) -> None:
    """Fit by L-BFGS."""
    if validation_data is not None:
        raise ValueError(
            "validation_data is for solvers that train epoch by epoch, which lbfgs does not; leave it out, or give "
            "solver='adam'"
        )
    reported = est._reported(source.examples)

    def say(iteration: int, loss: float) -> None:
        if est.verbose:
            print(f"Iteration {iteration}, loss = {reported(loss):.8f}")

    options = {"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol}
    result = lbfgs.minimize(est.network_, source, alpha, options, say)
    for name in KEPT:  # it has no epochs
        vars(est).pop(name, None)
    est.n_iter_, est.loss_ = min(result.nit, est.max_iter), reported(float(result.fun))
    not_converged(result, est.max_iter)


def _descend(
    est: Any,
    source: Source,
    own: Any,
    alpha: float,
    validation_data: Any,
    random_state: np.random.RandomState,
    once: bool,
) -> None:
    """Fit by stochastic gradient descent."""
    if est.early_stopping and once:
        raise ValueError("partial_fit does not support early_stopping=True")
    validation = None
    if validation_data is not None:
        validation = _validation(est, validation_data)
    elif est.early_stopping:
        source, validation = _split(est, source, own, random_state)
    n = source.examples.y.shape[0]
    if est.batch_size != "auto" and est.batch_size > n:
        warn(f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n}")
    plan = training.Plan(
        epochs=1 if once else est.max_iter,
        batch_size=min(200 if est.batch_size == "auto" else int(est.batch_size), n),
        optimizer=settings.optimizer(est),
        schedule=settings.schedule(est),
        sampling=settings.sampling(random_state, est.shuffle),
        alpha=alpha,
    )
    if once and getattr(plan.schedule, "needs_total", True):
        raise ValueError(
            f"learning_rate={est.learning_rate!r} is a schedule over all steps, of which partial_fit does not know how "
            "many there will be; call fit, or give a constant one"
        )
    begin(est, validates=validation is not None)
    callbacks = [
        *([] if validation is None else [_watch(est, validation)]),
        Convergence(est, n, once, *(each and est._reported(each.examples) for each in (source, validation))),
        *est.callbacks,
        *([Progress()] if est.progress else []),
    ]
    try:
        training.train(est.network_, plan, source, callbacks)
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
    except DivergenceError as error:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed: {error}"
        ) from error


def _validation(est: Any, given: Any) -> Source:
    """Examples of `validation_data`."""
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise ValueError("validation_data must be a tuple (X, y) or (X, y, sample_weight)")
    if checking.is_away(est, here := home(given[0])):
        there = place(est.network_.backend)
        raise ValueError(
            f"validation_data is of {place(here)}, and the X of fit of {there}; give both in one library and on "
            "one device, or choose where to compute by backend= and device="
        )
    X, y = checking.examples(est, *given[:2], reset=False)
    weight = checking.weights(given[2] if len(given) == 3 else None, X.shape[0])
    weight, _ = checking.relative(weight, est.network_.dtype, "validation_data")
    return _source(est, X, est._encoded(y, True, None), weight)


def _split(est: Any, source: Source, own: Any, random_state: np.random.RandomState) -> tuple[Source, Source]:
    """Examples to train and to validate on: those that scikit-learn would take; the latter without class weights."""
    y, backend = source.examples.y, est.network_.backend
    held: Any = train_test_split(
        np.arange(y.shape[0], dtype=np.int32),
        random_state=random_state,
        test_size=est.validation_fraction,
        stratify=backend.to_numpy(y)[:, 0] if est._task == "binary" else None,
    )
    if len(held[1]) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")

    def part(index: np.ndarray, weight: Any) -> Source:
        examples = rows(source.examples, backend.asarray(index), backend.xp)
        if weight is not None:
            weight, _ = checking.relative(weight[index], est.network_.dtype, "a part that early_stopping makes")
            weight = backend.asarray(weight, est.network_.dtype)
        examples = examples._replace(weight=weight)
        return Kept(examples) if isinstance(source, Kept) else SparseRows(source.x[index], examples, source.reader)

    weight = None if source.examples.weight is None else backend.to_numpy(source.examples.weight)
    return part(held[0], weight), part(held[1], own)


def _watch(est: Any, validation: Source) -> Callback:
    """What computes loss and score on validation data, the latter by scikit-learn, on the host."""
    to_numpy, weight = est.network_.backend.to_numpy, validation.examples.weight
    weight = None if weight is None else to_numpy(weight)

    def measure(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, Array]:
        return predictions(y, est._task, xp), predictions(a, est._task, xp)

    def combine(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
        y_true, y_pred = (np.concatenate([to_numpy(part) for part in each]) for each in zip(*parts))
        return float(est._score(y_true, y_pred, sample_weight=weight)) if np.isfinite(y_pred).all() else np.nan

    return evaluation.watch(est.network_, "validation", validation, [Metric(est._score_name, measure, combine)])
