"""Requirements of optimizers that take whole steps: all examples in each; Levenberg-Marquardt has more."""

from collections.abc import Sequence

import numpy as np

from xpnet.backends.base import Backend
from xpnet.backends.memory import count_parameters, on_host_only, require_bytes
from xpnet.checks import warn
from xpnet.core.costs import Cost
from xpnet.core.least_squares import SQUARED, gradient_and_curvature, is_least_squares
from xpnet.core.optimizers.levenberg_marquardt import LevenbergMarquardt
from xpnet.data.gathered import Gathered
from xpnet.data.reader import Reader
from xpnet.data.resident import Resident, Rows
from xpnet.errors import ArgumentError, unless_stopped
from xpnet.state.history import History
from xpnet.training.callback import Callback
from xpnet.training.callbacks import ReduceLROnPlateau
from xpnet.training.plan import Job

MATRICES = 5  # of P × P numbers in memory during a step, about: measured with NumPy for P = 3,151, it is 4.5
BYTES = 8  # of a number in float64
SOLVERS = "diagonal", "inv", "solve"  # what steps use of the extension linalg of the array API standard
# The least λ in ½ λ ‖w‖² that has much effect. With 661 weights trained on 256 noisy targets, the test cost was 0.05 to
# 0.2 without decay, 0.04 to 0.07 with λ = 1e-6, 0.02 to 0.03 with 1e-5, and 0.002 with 1e-4, in three draws
LEAST_DECAY = 1e-5
# As a fraction of the targets, from which weights fit much of their noise: docs/use/regression.md has the figures
MOST_WEIGHTS = 2 / 3


def use_all_examples(jobs: Sequence[Job]) -> Sequence[Job]:
    """Give jobs minibatches of all examples, which their optimizer needs. Changes nothing.

    Warns if Levenberg-Marquardt can fit the noise.

    Raises
    ------
    ArgumentError
        If the optimizer cannot train such a network, or with such data.
    MemoryError
        If the machine has not enough memory.
    """
    optimizer = jobs[0].plan.optimizer
    for job in jobs:
        refuse_rates(job.callbacks, type(optimizer).__name__)
        _check_dropout(job)
        if not isinstance(job.source, (Resident, Rows, Gathered)):
            raise ArgumentError(
                f"{optimizer!r} needs all examples in every step; give train_data as arrays, as pairs, or as a data "
                "set with cache=True"
            )
        if isinstance(optimizer, LevenbergMarquardt):
            _check_least_squares(job, optimizer)
    if isinstance(optimizer, LevenbergMarquardt):
        reader = jobs[0].source.reader
        require_solver(reader.backend, reader.model.sizes, len(jobs))
        _warn_of_fitted_noise(jobs)
    return [job._replace(plan=job.plan._replace(batch_size=len(job.source))) for job in jobs]  # type: ignore[arg-type]


def _warn_of_fitted_noise(jobs: Sequence[Job]) -> None:
    """Warn once if there are nearly as many weights and biases as targets, and nothing else bounds them."""
    for job in jobs:
        reader, source = job.source.reader, job.source
        n_parameters = count_parameters(reader.model.sizes)
        numbers = reader.model.n_targets * (1 if reader.slope_weight is None else 1 + reader.model.n_in)
        n_fitted = _count_fitted(source) * numbers  # type: ignore[arg-type]
        if n_parameters >= MOST_WEIGHTS * n_fitted and _is_unregularized(job, len(source)):  # type: ignore[arg-type]
            bayesian = "bayesian=True, or " if reader.slope_weight is None else ""
            warn(
                f"LevenbergMarquardt learns much of the noise of {n_fitted:,} targets, if there is any, with "
                f"{n_parameters:,} weights and biases; give {bayesian}weight_decay=1e-4, say (alpha in the estimators),"
                " or stop early on validation data, or make the network smaller"
            )
            return


def _count_fitted(source: Resident | Rows | Gathered) -> int:
    """Count the examples that training sees: those with a weight, and each once, however often it was drawn."""
    stored, rows = (source.source, source.rows) if isinstance(source, Rows) else (source, np.arange(len(source)))
    if stored.weights is not None:
        rows = rows[stored.weights.on_host[rows] > 0]
    return len(np.unique(rows))


def _is_unregularized(job: Job, size: int) -> bool:
    """Tell whether a training has neither weight decay nor validation data."""
    optimizer = job.plan.optimizer
    assert isinstance(optimizer, LevenbergMarquardt)
    if optimizer.bayesian:
        return False
    decay = optimizer.weight_decay + job.plan.alpha / size
    validates = any(name.startswith("validation_") for callback in job.callbacks for name in callback.adds)
    return decay < LEAST_DECAY and not validates


def require_solver(backend: Backend, sizes: Sequence[int], networks: int = 1) -> None:
    """Refuse a library that solves no equations, and networks whose matrices do not fit into the machine's memory."""
    missing = [name for name in SOLVERS if not hasattr(getattr(backend.xp, "linalg", None), name)]
    if missing:
        raise ArgumentError(
            f"Levenberg-Marquardt needs linalg.{', linalg.'.join(missing)}, which backend={backend.name} lacks; give "
            'another optimizer, such as LBFGS(), or a network with backend="numpy"'
        )
    n_parameters = count_parameters(sizes)
    require_bytes(
        on_host_only(backend, networks * MATRICES * BYTES * n_parameters**2),
        f"Levenberg-Marquardt with the {n_parameters:,} weights and biases of {list(sizes)} needs",
        "give another optimizer, such as LBFGS(), or a smaller network",
    )


def refuse_rates(callbacks: Sequence[Callback], name: str) -> None:
    """Refuse a callback that changes learning rates."""
    if any(isinstance(callback, ReduceLROnPlateau) for callback in callbacks):
        raise ArgumentError(f"ReduceLROnPlateau is for other optimizers: {name} has no learning rate; leave it out")


def warn_of_no_step(name: str, history: History) -> None:
    """Warn that no step of a call has lowered the cost, if it had a chance: two steps or more, and a cost above 0."""
    if len(history) > 1 and history["cost"][-1] > 0.0:
        warn(
            f"none of the {len(history)} steps of {name} lowered the cost, {history['cost'][-1]:.3g}; the weights are "
            "as before. Give more steps; if that changes nothing, the weights are at a minimum or without effect, as "
            "those of units that are saturated or never active: scale the data, or try another seed or activation"
        )


def _check_dropout(job: Job) -> None:
    name, dropout = type(job.plan.optimizer).__name__, job.source.reader.model.dropout
    if any(dropout):
        raise ArgumentError(
            f"{name} does not go with dropout={list(dropout)}; leave dropout out, and give weight_decay or "
            "validation data instead"
        )


def _check_least_squares(job: Job, optimizer: LevenbergMarquardt) -> None:
    """Refuse a network that Levenberg-Marquardt cannot train."""
    reader, cost = job.source.reader, job.source.reader.model.cost
    if not is_least_squares(cost) or (optimizer.bayesian and cost.name not in SQUARED):
        costs = [f"cost={name!r}" for name in SQUARED]
        if not optimizer.bayesian:
            costs += ["cost='huber'", "a smooth one of your own"]
        raise ArgumentError(
            f"LevenbergMarquardt minimizes squared errors, and the cost is {cost.name!r}; make the network with "
            f"{', '.join(costs)}, or give another optimizer, such as LBFGS()"
        )
    if reader.slope_weight is not None and optimizer.bayesian:
        raise ArgumentError("slopes do not go with LevenbergMarquardt(bayesian=True); leave out one of the two")
    if reader.dtype != "float64":
        raise ArgumentError(
            f'LevenbergMarquardt needs float64, and the network has {reader.dtype}; give dtype="float64"'
        )
    if cost.name not in SQUARED:
        _check_gradient(cost, reader)


def _check_gradient(cost: Cost, reader: Reader) -> None:
    """Differentiate the gradient of a cost once, to say what is wrong with it before anything has changed."""
    sizes = (reader.model.n_in, reader.model.n_out, reader.model.n_out)
    with reader.scope(), np.errstate(all="ignore"):
        x, a, y = (reader.backend.asarray(np.full((1, n), 0.5), reader.dtype) for n in sizes)
        try:
            gradient_and_curvature(cost.given(x), a, y, reader.backend.xp)
        except unless_stopped(TypeError, AttributeError) as error:
            raise ArgumentError(
                f"LevenbergMarquardt cannot differentiate the gradient of cost={cost.name!r} ({error}); let it use "
                "operators and functions of xp alone, or give LBFGS()"
            ) from error
