"""The course of training: counts and curves, and a callback that follows scikit-learn's rules for convergence."""

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from xpnet._checks import warn
from xpnet.core.arrays import Layers
from xpnet.estimators._parameters import Settings
from xpnet.training import Plan
from xpnet.training.callback import Callback, Training
from xpnet.value import FITTED_TO_WEIGHTS

SMALLEST_RATE = 1e-6  # an adaptive learning rate that has become as small as this ends training
LEAST_FALL = 1e7 * sys.float_info.epsilon  # of the cost along a line, as a fraction of it: SciPy's for L-BFGS
COUNTS = ("n_iter_", "t_", "loss_", "lr_scale_", "no_improvement_count_")  # that solvers without epochs have, too


@dataclass
class Tally:
    """Counts and curves over successive calls of `fit` and `partial_fit`, by their names as fitted attributes.

    Training writes into it.
    """

    n_iter_: int = 0  # epochs, or iterations of L-BFGS, of the last call
    t_: int = 0  # examples seen
    loss_: float | None = None  # of the last epoch
    lr_scale_: float = 1.0  # multiplies the schedule
    no_improvement_count_: int = 0  # successive epochs
    loss_curve_: Any = None  # a list; None with L-BFGS, which has no epochs
    best_loss_: Any = math.inf  # None: early stopping watches validation data instead
    # None without validation data
    validation_scores_: Any = None
    validation_loss_curve_: Any = None
    best_validation_score_: Any = None
    best_validation_loss_: Any = None

    def begin_epochs(self, *, validates: bool, early_stopping: bool) -> None:
        """Continue the curves of earlier calls, or begin them."""
        self.loss_curve_ = self.loss_curve_ or []
        self.best_loss_ = None if early_stopping else math.inf if self.best_loss_ is None else self.best_loss_
        if not validates:
            self.validation_scores_ = self.validation_loss_curve_ = None
            self.best_validation_score_ = self.best_validation_loss_ = None
        elif self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_, self.best_validation_loss_ = -math.inf, math.inf

    def list_attributes(self) -> dict[str, Any]:
        """List the fitted attributes; `read_tally` copies the lists before another fit goes on with them."""
        names = COUNTS if self.loss_curve_ is None else vars(self)
        return {name: getattr(self, name) for name in names}


def read_tally(attributes: Mapping[str, Any]) -> Tally:
    """Read a tally from the fitted attributes of an estimator; a new one if there are none."""
    names = [field.name for field in fields(Tally) if field.name in attributes]
    return Tally(**copy.deepcopy({name: attributes[name] for name in names}))


@dataclass(eq=False, repr=False)
class Convergence(Callback):
    """Records each epoch, changes the learning rate, and stops training when it has converged.

    Parameters
    ----------
    settings
        The settings.
    watched
        What decides on validation data: the "score" or the "loss"; "" if training ends without them.
    tally
        Where epochs are recorded, after `begin_epochs`.
    n
        Number of training examples.
    score_name
        What the logs call the validation score.
    loss, validation_loss
        Turn a mean cost on training or validation data into the loss to report.
    """

    settings: Settings
    watched: str
    tally: Tally
    n: int
    score_name: str
    loss: Callable[[float], float]
    validation_loss: Callable[[float], float]

    def __post_init__(self) -> None:
        """Find the rule of the learning rate; there is no best epoch yet."""
        self.checked = self.settings.checked
        power = f" with power_t={self.checked.power_t:g}" if self.settings.rule == "invscaling" else ""
        self.rate_rule = self.settings.rule + power
        self.best_layers: Layers | None = None

    def on_train_begin(self, training: Training) -> None:
        """Start `fit` with the full learning rate, and `partial_fit` with that of the last call."""
        self.training, self.tally.n_iter_ = training, 0
        # As in scikit-learn, a first call may end with its initial weights; a later call that finds nothing better
        # keeps its last ones
        self.best_layers = training.value.layers if self.tally.validation_scores_ == [] else None
        if not self.settings.partial:
            self.tally.lr_scale_ = 1.0
        training.lr_scale = self.tally.lr_scale_

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Record the epoch, and decide how training continues."""
        score, cost = logs.get(f"validation_{self.score_name}", math.nan), logs.get("validation_cost", math.nan)
        self.record(self.loss(logs["cost"]), score, self.validation_loss(cost))
        self._count_improvement()
        self._steer()
        epochs = self.settings.epochs
        if self.tally.n_iter_ == epochs and not self.settings.partial and not self.training.stopped:
            name = type(self.settings.optimizer).__name__ if self.settings.by_steps else "Stochastic Optimizer"
            warn(
                f"{name}: Maximum iterations ({epochs}) reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
            )

    def on_train_end(self) -> None:
        """Give the network the weights of the best epoch, with early stopping, also after Ctrl-C."""
        if self.watched and self.best_layers is not None:
            value = self.training.value
            best = value.state._replace(layers=self.best_layers)
            self.training.value = value._replace(stored=best, **FITTED_TO_WEIGHTS)

    def get_state(self) -> dict[str, Any]:
        """Return the tally, the learning rate and the best epoch with its weights."""
        state = {"tally": copy.deepcopy(vars(self.tally)), "rate": self.training.lr_scale}
        if self.best_layers is None or not self.training.position.total_steps:  # then `on_train_begin` finds them again
            return state
        return {**state, "best_state": self.training.value.state._replace(layers=self.best_layers)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the tally, the learning rate and the best epoch with its weights."""
        self.tally = read_tally(state["tally"])
        self.training.lr_scale = float(state["rate"])
        if self.training.position.total_steps:
            self.best_layers = state["best_state"].layers if "best_state" in state else None

    def record(self, loss: float, score: float = math.nan, validation_loss: float = math.nan) -> None:
        """Record an epoch; one in which training diverged has no losses."""
        tally = self.tally
        tally.n_iter_ += 1
        tally.t_ += self.n
        tally.loss_ = loss
        tally.loss_curve_.append(loss)
        self._print(f"Iteration {tally.n_iter_}, loss = {loss:.8f}")
        if tally.validation_scores_ is not None:
            tally.validation_scores_.append(score)
            tally.validation_loss_curve_.append(validation_loss)
            self._print(f"Validation score: {score:f}")
            if self.watched == "loss":
                self._print(f"Validation loss: {validation_loss:.8f}")

    def _count_improvement(self) -> None:
        """Count successive epochs that do not improve by `tol`, and remember the best epoch."""
        tally, tol, losses = self.tally, self.checked.tol, self.tally.loss_curve_
        # Steps of all examples converge to any precision, so that only a fraction of the loss says when to stop
        scale = abs if self.settings.by_steps else lambda loss: 1.0
        improved, best = True, False
        if tally.best_loss_ is not None:
            improved = not losses[-1] > tally.best_loss_ - tol * scale(losses[-1])
            if self.settings.bayesian and len(losses) > 1:
                improved = abs(losses[-1] - losses[-2]) > tol * scale(losses[-1])
            tally.best_loss_ = min(tally.best_loss_, losses[-1])
        if tally.validation_scores_ is not None:
            score, loss = tally.validation_scores_[-1], tally.validation_loss_curve_[-1]
            if self.watched == "score":
                improved, best = not score < tally.best_validation_score_ + tol, score > tally.best_validation_score_
            elif self.watched == "loss":  # NaN is no improvement
                improved = loss <= tally.best_validation_loss_ - tol * scale(loss)
                best = loss < tally.best_validation_loss_
            tally.best_validation_score_ = max(tally.best_validation_score_, score)
            tally.best_validation_loss_ = min(tally.best_validation_loss_, loss)
        if best:
            self.best_layers = self.training.value.layers
        # A loss that comes again says only that the step before was not taken, unless none is for long
        repeats = count_repeats(losses) if self.settings.by_steps else 0
        if improved:
            tally.no_improvement_count_ = 0
        elif repeats == 0:
            tally.no_improvement_count_ += 1
        elif repeats > max(self.checked.n_iter_no_change, self.settings.most_trials):
            tally.no_improvement_count_ = repeats

    def _steer(self) -> None:
        """Set the learning rate of the next epoch, or end training."""
        tally, checked, training = self.tally, self.checked, self.training
        scale = tally.lr_scale_
        if self.settings.rule == "invscaling":
            tally.lr_scale_ = max((tally.t_ + 1.0) ** -checked.power_t, sys.float_info.min)  # others divide by it
        if tally.no_improvement_count_ > checked.n_iter_no_change:
            name = f"Validation {self.watched}" if self.watched else "Training loss"
            outcome = "Stopping."
            if self.settings.rule == "adaptive" and checked.learning_rate_init * scale > SMALLEST_RATE:
                tally.lr_scale_, tally.no_improvement_count_ = scale / 5.0, 0
                outcome = f"Setting learning rate to {checked.learning_rate_init * tally.lr_scale_:f}"
            else:
                training.stopped = True
                outcome = f"Learning rate too small. {outcome}" if self.settings.rule == "adaptive" else outcome
            self._print(
                f"{name} did not improve more than tol={checked.tol:f} for {checked.n_iter_no_change} consecutive "
                f"epochs. {outcome}"
            )
        training.lr_scale *= tally.lr_scale_ / scale

    def _print(self, line: str) -> None:
        if self.checked.verbose:
            print(line)


def find_convergence(plan: Plan) -> Convergence:
    """Find the callback that follows scikit-learn's rules in the plan of a fit."""
    return next(callback for callback in plan.callbacks if isinstance(callback, Convergence))


class LineConvergence(Convergence):
    """Follows scikit-learn's rules for L-BFGS: an iteration is a line that leads to a lower cost.

    Training ends where no part of the gradient is above `tol`, where a line hardly lowers the cost, after `max_iter`
    lines, and with the line that makes more than `max_fun` evaluations.
    """

    def on_train_begin(self, training: Training) -> None:
        """Begin to count; there are no curves."""
        self.training, self.tally.n_iter_, self.tally.loss_curve_ = training, 0, None
        self.cost, self.length = math.inf, 0.0  # where the line begins, and the length along it that comes next
        self.is_lost = False  # whether the last line led nowhere; then the next one follows the gradient

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Record an iteration where a line ends, and decide whether it was the last one."""
        line, to_numpy = self.training.value.state.optimizer.memory, self.training.net.backend.to_numpy
        length, self.length = self.length, float(to_numpy(line.length))
        if to_numpy(line.trials) > 0:
            return
        tally, checked, old_cost, self.cost = self.tally, self.checked, self.cost, float(to_numpy(line.cost))
        tally.loss_ = self.loss(self.cost)
        was_lost, self.is_lost = self.is_lost, length == 0.0
        if self.is_lost:
            is_level = was_lost
        else:
            tally.n_iter_ += 1
            self._print(f"Iteration {tally.n_iter_}, loss = {tally.loss_:.8f}")
            is_level = old_cost - self.cost <= LEAST_FALL * max(abs(old_cost), abs(self.cost), 1.0)
        if tally.n_iter_ >= checked.max_iter:
            self._give_up(f"max_iter={checked.max_iter} is too small for it.")
        elif logs["epoch"] > checked.max_fun:
            self._give_up(f"max_fun={checked.max_fun} evaluations are too few for it.")
        elif is_level or abs(to_numpy(line.gradient)).max() <= checked.tol:
            self.training.stopped = True

    def _give_up(self, reason: str) -> None:
        """End training before it has converged, with a warning."""
        self.training.stopped = True
        warn(
            f"lbfgs failed to converge after {self.tally.n_iter_} iteration(s): {reason}\n"
            "You might also want to scale the data, with sklearn.preprocessing.StandardScaler, say.",
            ConvergenceWarning,
        )


def count_repeats(losses: Sequence[float]) -> int:
    """Count how often the last loss has come again at the end.

    Examples
    --------
    >>> count_repeats([3.0, 2.0, 2.0, 2.0]), count_repeats([2.0, 2.0, 1.0])
    (2, 0)
    """
    return sum(1 for _ in takewhile(lambda loss: loss == losses[-1], reversed(losses))) - 1
