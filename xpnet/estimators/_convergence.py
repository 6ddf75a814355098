"""The course of training: counts and curves, and a callback that follows scikit-learn's rules for convergence."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from xpnet._checks import check_number, count, in_range, warn
from xpnet.core.arrays import Layers
from xpnet.errors import ArgumentError
from xpnet.estimators._parameters import FitSettings
from xpnet.training import Plan
from xpnet.training.callback import Callback, Training
from xpnet.value import FITTED_TO_WEIGHTS

# value of `FitSettings.early_stopping` -> the name of what is watched
WATCHED = {None: "Training loss", "score": "Validation score", "loss": "Validation loss"}
SMALLEST_RATE = 1e-6  # an adaptive learning rate that has become as small as this ends training
LEAST_FALL = 1e7 * sys.float_info.epsilon  # of the cost along a line, as a fraction of it: SciPy's for L-BFGS


@dataclass
class Tally:
    """Counts and curves over successive calls to `fit` and `partial_fit`. Training writes into it."""

    n_iter: int = 0  # epochs, or iterations of L-BFGS, of the last call
    n_seen: int = 0  # examples seen
    loss: float | None = None  # of the last epoch; None before the first
    lr_scale: float = 1.0  # multiplies the schedule
    n_without_improvement: int = 0  # successive epochs
    has_epochs: bool = False  # whether there are curves; L-BFGS has none
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = math.inf  # None: early stopping watches validation data instead
    validates: bool = False  # whether there are validation data
    validation_scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_score: float = -math.inf
    best_validation_loss: float = math.inf

    def begin_epochs(self, *, validates: bool, early_stopping: bool) -> None:
        """Continue the curves of earlier calls, or begin them. The lists are new."""
        self.has_epochs, self.loss_curve = True, [*self.loss_curve]
        if early_stopping:
            self.best_loss = None
        elif self.best_loss is None:
            self.best_loss = math.inf
        begins = not (validates and self.validates)
        self.validation_scores = [] if begins else [*self.validation_scores]
        self.validation_losses = [] if begins else [*self.validation_losses]
        if begins:
            self.best_score, self.best_validation_loss = -math.inf, math.inf
        self.validates = validates


# field of `Tally` -> attribute of a fitted estimator
COUNTS = {
    "n_iter": "n_iter_",
    "n_seen": "t_",
    "loss": "loss_",
    "lr_scale": "_lr_scale",
    "n_without_improvement": "_no_improvement_count",
}
CURVES = {"loss_curve": "loss_curve_", "best_loss": "best_loss_"}  # of solvers that have epochs
VALIDATION = {  # None without validation data
    "validation_scores": "validation_scores_",
    "validation_losses": "validation_loss_curve_",
    "best_score": "best_validation_score_",
    "best_validation_loss": "best_validation_loss_",
}
TALLY_ATTRIBUTES = (*COUNTS.values(), *CURVES.values(), *VALIDATION.values())


def write_tally(tally: Tally) -> dict[str, Any]:
    """List the fitted attributes that hold a tally."""
    attributes = {name: getattr(tally, field) for field, name in COUNTS.items()}
    if tally.loss is None:
        del attributes["loss_"]
    if tally.has_epochs:
        attributes |= {name: getattr(tally, field) for field, name in CURVES.items()}
        attributes |= {name: getattr(tally, field) if tally.validates else None for field, name in VALIDATION.items()}
    return attributes


def read_tally(attributes: Mapping[str, Any]) -> Tally:
    """Read a tally from the fitted attributes of an estimator, of scikit-learn's too; a new one if there are none."""
    has_epochs = "loss_curve_" in attributes
    validates = has_epochs and attributes.get("validation_scores_") is not None
    curves = (CURVES if has_epochs else {}) | (VALIDATION if validates else {})
    fields = {field: attributes[name] for field, name in COUNTS.items() if name in attributes}
    fields |= {field: attributes.get(name) for field, name in curves.items()}
    if validates and fields["validation_losses"] is None:  # scikit-learn records no losses
        fields |= {"validation_losses": [math.nan] * len(fields["validation_scores"]), "best_validation_loss": math.inf}
    return Tally(**fields, has_epochs=has_epochs, validates=validates)


class Convergence(Callback):
    """Records each epoch, changes the learning rate, and stops training when it has converged.

    Parameters
    ----------
    settings
        The settings.
    tally
        Where epochs are recorded, after `begin_epochs`.
    n
        Number of training examples.
    score_name
        What the logs call the validation score.
    loss, validation_loss
        Turn a mean cost on training or validation data into the loss to report.
    """

    def __init__(
        self,
        settings: FitSettings,
        tally: Tally,
        n: int,
        score_name: str,
        loss: Callable[[float], float],
        validation_loss: Callable[[float], float],
    ) -> None:
        self.settings, self.tally, self.n, self.score_name = settings, tally, n, score_name
        self.loss, self.validation_loss, self.rate_rule = loss, validation_loss, settings.rule
        self.best_layers: Layers | None = None
        self.best_epoch: int | None = None

    @property
    def kept_epoch(self) -> int | None:
        """The best epoch, with `early_stopping`."""
        return self.best_epoch

    def on_train_begin(self, training: Training) -> None:
        """Start `fit` with the full learning rate, and `partial_fit` with that of the last call."""
        self.training, self.tally.n_iter = training, 0
        # As in scikit-learn, a first call may end with its initial weights; a later call that finds nothing better
        # keeps its last ones
        starts = self.tally.validates and not self.tally.validation_scores
        self.best_layers, self.best_epoch = training.value.layers if starts else None, None
        if not self.settings.partial:
            self.tally.lr_scale = 1.0
        training.lr_scale = self.tally.lr_scale

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Record the epoch, and decide how training continues."""
        tally, epochs = self.tally, self.settings.epochs
        if tally.validates:
            score, cost = logs[f"validation_{self.score_name}"], logs["validation_cost"]
            self._record(self.loss(logs["cost"]), score, self.validation_loss(cost))
        else:
            self._record(self.loss(logs["cost"]))
        self._compare_with_best()
        self._steer()
        if tally.n_iter == epochs and not self.settings.partial and not self.training.stopped:
            name = type(self.settings.optimizer).__name__ if self.settings.by_steps else "Stochastic Optimizer"
            warn(
                f"{name}: Maximum iterations ({epochs}) reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
            )

    def on_train_end(self) -> None:
        """Give the network the weights of the best epoch, with `early_stopping`, also after Ctrl-C."""
        if self.settings.early_stopping and self.best_layers is not None:
            value = self.training.value
            best = value.state._replace(layers=self.best_layers)
            self.training.value = value._replace(stored=best, **FITTED_TO_WEIGHTS)

    def get_state(self) -> dict[str, Any]:
        """Return the tally, the learning rate and the best epoch with its weights."""
        tally = {name: [*value] if isinstance(value, list) else value for name, value in vars(self.tally).items()}
        state = {"tally": tally, "rate": self.training.lr_scale, "best_epoch": self.best_epoch}
        if self.best_layers is None or not self.training.position.total_steps:  # then `on_train_begin` finds them again
            return state
        return {**state, "best_state": self.training.value.state._replace(layers=self.best_layers)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the tally, the learning rate and the best epoch with its weights."""
        values, rate, best_epoch = state["tally"], in_range("rate", state["rate"], 0, math.inf), state["best_epoch"]
        if not isinstance(values, dict) or values.keys() != vars(self.tally).keys():
            raise ArgumentError(f"the tally must have {list(vars(self.tally))}")
        values = {name: _check_entry(name, value, getattr(self.tally, name)) for name, value in values.items()}
        self.best_epoch = None if best_epoch is None else count("best_epoch", best_epoch, 0)
        vars(self.tally).update(values)
        self.training.lr_scale = rate
        if self.training.position.total_steps:
            self.best_layers = state["best_state"].layers if "best_state" in state else None

    def record_divergence(self) -> None:
        """Record the epoch in which training diverged, without losses."""
        self._record(math.nan, math.nan, math.nan)

    def _record(self, loss: float, score: float = math.nan, validation_loss: float = math.nan) -> None:
        """Record an epoch."""
        tally = self.tally
        tally.n_iter += 1
        tally.n_seen += self.n
        tally.loss = loss
        tally.loss_curve.append(loss)
        self._print(f"Iteration {tally.n_iter}, loss = {loss:.8f}")
        if tally.validates:
            tally.validation_scores.append(score)
            tally.validation_losses.append(validation_loss)
            self._print(f"Validation score: {score:f}")
            if self.settings.early_stopping == "loss":
                self._print(f"Validation loss: {validation_loss:.8f}")

    def _compare_with_best(self) -> None:
        """Count successive epochs that do not improve by `tol`, and remember the best epoch."""
        tally, tol = self.tally, self.settings.tol
        watched, improved, best = self.settings.early_stopping, True, False
        if tally.best_loss is not None:
            # Steps of all examples converge to any precision, so that only a fraction of the loss says when to stop
            least = tol * abs(tally.loss_curve[-1]) if self.settings.by_steps else tol
            improved = not tally.loss_curve[-1] > tally.best_loss - least
            if self.settings.bayesian and len(tally.loss_curve) > 1:
                improved = abs(tally.loss_curve[-1] - tally.loss_curve[-2]) > least
            tally.best_loss = min(tally.best_loss, tally.loss_curve[-1])
        if tally.validates:
            score, loss = tally.validation_scores[-1], tally.validation_losses[-1]
            if watched == "score":
                improved, best = not score < tally.best_score + tol, score > tally.best_score
            elif watched == "loss":  # NaN is no improvement
                least = tol * abs(loss) if self.settings.by_steps else tol
                improved, best = loss <= tally.best_validation_loss - least, loss < tally.best_validation_loss
            tally.best_score = max(tally.best_score, score)
            tally.best_validation_loss = min(tally.best_validation_loss, loss)
        if best:
            self.best_layers, self.best_epoch = self.training.value.layers, tally.n_iter
        # A loss that comes again says only that the step before was not taken, unless none is for long
        repeats = count_repeats(tally.loss_curve) if self.settings.by_steps else 0
        if improved:
            tally.n_without_improvement = 0
        elif repeats == 0:
            tally.n_without_improvement += 1
        elif repeats > max(self.settings.n_iter_no_change, self.settings.most_trials):
            tally.n_without_improvement = repeats

    def _steer(self) -> None:
        """Set the learning rate of the next epoch, or end training."""
        tally, settings, training = self.tally, self.settings, self.training
        scale = tally.lr_scale
        if settings.invscaling:
            tally.lr_scale = max((tally.n_seen + 1.0) ** -settings.power_t, sys.float_info.min)  # others divide by it
        if tally.n_without_improvement > settings.n_iter_no_change:
            message = (
                f"{WATCHED[settings.early_stopping]} did not improve more than tol={settings.tol:f} for "
                f"{settings.n_iter_no_change} consecutive epochs."
            )
            if not settings.adaptive:
                training.stopped = True
                self._print(f"{message} Stopping.")
            elif settings.learning_rate_init * scale <= SMALLEST_RATE:
                training.stopped = True
                self._print(f"{message} Learning rate too small. Stopping.")
            else:
                tally.lr_scale, tally.n_without_improvement = scale / 5.0, 0
                self._print(f"{message} Setting learning rate to {settings.learning_rate_init * tally.lr_scale:f}")
        training.lr_scale *= tally.lr_scale / scale

    def _print(self, line: str) -> None:
        if self.settings.verbose:
            print(line)


def find_convergence(plan: Plan) -> Convergence:
    """Find the callback that follows scikit-learn's rules in the plan of a fit."""
    return next(callback for callback in plan.callbacks if isinstance(callback, Convergence))


class LineConvergence(Convergence):
    """Follows scikit-learn's rules for L-BFGS: an iteration is a line that leads to a lower cost.

    Training ends where no part of the gradient is above `tol`, where a line hardly lowers the cost, after `lines`
    lines, and with the line that makes more than `max_fun` evaluations.
    """

    def on_train_begin(self, training: Training) -> None:
        """Begin to count; there are no curves."""
        self.training, self.tally.n_iter, self.tally.has_epochs = training, 0, False
        self.cost, self.length = math.inf, 0.0  # where the line begins, and the length along it that comes next
        self.is_lost = False  # whether the last line led nowhere; then the next one follows the gradient

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Record an iteration where a line ends, and decide whether it was the last one."""
        line, to_numpy = self.training.value.state.optimizer.memory, self.training.net.backend.to_numpy
        length, self.length = self.length, float(to_numpy(line.length))
        if to_numpy(line.trials) > 0:
            return
        tally, settings, old_cost, self.cost = self.tally, self.settings, self.cost, float(to_numpy(line.cost))
        tally.loss = self.loss(self.cost)
        was_lost, self.is_lost = self.is_lost, length == 0.0
        if self.is_lost:
            is_level = was_lost
        else:
            tally.n_iter += 1
            self._print(f"Iteration {tally.n_iter}, loss = {tally.loss:.8f}")
            is_level = old_cost - self.cost <= LEAST_FALL * max(abs(old_cost), abs(self.cost), 1.0)
        if tally.n_iter >= settings.lines:  # type: ignore[operator]
            self._give_up(f"max_iter={settings.lines} is too small for it.")
        elif logs["epoch"] > settings.max_fun:
            self._give_up(f"max_fun={settings.max_fun} evaluations are too few for it.")
        elif is_level or abs(to_numpy(line.gradient)).max() <= settings.tol:
            self.training.stopped = True

    def _give_up(self, reason: str) -> None:
        """End training before it has converged, with a warning."""
        self.training.stopped = True
        warn(
            f"lbfgs failed to converge after {self.tally.n_iter} iteration(s): {reason}\n"
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


def _check_entry(name: str, value: Any, initial: Any) -> Any:
    """Check a value of a tally that was read from a file; `initial` is its value when a fit begins."""
    place = f"tally.{name}"
    if isinstance(initial, list):
        if not isinstance(value, list):
            raise ArgumentError(f"{place}={value!r} must be a list")
        return [check_number(place, number) for number in value]
    if isinstance(initial, bool) or (name == "best_loss" and initial is None):  # as the arguments of the fit have it
        if value is not initial:
            raise ArgumentError(f"{place}={value!r} must be {initial!r} in this fit")
        return value
    if isinstance(initial, int):
        return count(place, value, 0)
    if name == "loss" and value is None:
        return None
    if name == "lr_scale":
        return in_range(place, value, 0, math.inf, includes_low=False)
    return check_number(place, value)
