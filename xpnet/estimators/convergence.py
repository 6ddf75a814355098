"""When training ends, and what is kept of each epoch: scikit-learn's rules, as a callback."""

import math
from collections.abc import Callable
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from xpnet.core.arrays import Layers
from xpnet.estimators.fitted import Curves, Tally
from xpnet.estimators.settings import Descent, Settings
from xpnet.training.callback import Callback, Training
from xpnet.wording.checks import warn

# value of `Descent.early_stopping` -> the name of what is watched
WATCHED = {None: "Training loss", "score": "Validation score", "loss": "Validation loss"}
LEAST_RATE = 1e-6  # an adaptive learning rate is not divided again once it is as small as this


class Convergence(Callback):
    """Records each epoch, changes the learning rate, and stops when training has converged.

    Parameters
    ----------
    settings, descent
        The settings.
    tally, curves
        Where epochs are recorded; they continue those of earlier calls.
    n
        Number of training examples.
    score_name
        What the logs call the validation score.
    loss, validation_loss
        Turn a mean cost of training and of validation data into the loss to report.
    """

    def __init__(
        self,
        settings: Settings,
        descent: Descent,
        tally: Tally,
        curves: Curves,
        n: int,
        *,
        score_name: str,
        loss: Callable[[float], float],
        validation_loss: Callable[[float], float],
    ) -> None:
        self.settings, self.descent, self.tally, self.curves = settings, descent, tally, curves
        self.n, self.score_name = n, score_name
        self.loss, self.validation_loss = loss, validation_loss

    @property
    def kept_epoch(self) -> int | None:
        """The best epoch, with `early_stopping`."""
        return self.best_epoch

    def on_train_begin(self, training: Training) -> None:
        """Start `fit` with the full learning rate, and `partial_fit` with that of the last call."""
        self.training, self.tally.n_iter = training, 0
        # A first call may end with its initial weights; a later one that finds nothing better keeps its last ones, as
        # scikit-learn's does
        starts = self.curves.validation is not None and not self.curves.validation.scores
        self.best_layers: Layers | None = training.net.view.layers if starts else None
        self.best_epoch: int | None = None
        if not self.settings.partial:
            self.tally.lr_scale = 1.0
        training.lr_scale = self.tally.lr_scale

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Record the epoch, and decide how to go on."""
        tally, max_iter = self.tally, self.settings.max_iter
        if self.curves.validation is None:
            self._record(self.loss(logs["cost"]))
        else:
            score, cost = logs[f"validation_{self.score_name}"], logs["validation_cost"]
            self._record(self.loss(logs["cost"]), score, self.validation_loss(cost))
        self._compare_with_best()
        self._steer()
        if tally.n_iter == max_iter and not self.settings.partial and not self.training.stopped:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization hasn't converged "
                "yet.",
                ConvergenceWarning,
            )

    def on_train_end(self) -> None:
        """Restore the weights of the best epoch, with `early_stopping`."""
        if self.descent.early_stopping and self.best_layers is not None:
            net = self.training.net
            net.state = net.state._replace(layers=self.best_layers)

    def record_divergence(self) -> None:
        """Record the epoch in which training diverged, which has no losses."""
        self._record(math.nan, math.nan, math.nan)

    def _record(self, loss: float, score: float = math.nan, validation_loss: float = math.nan) -> None:
        """Record an epoch."""
        tally, curves = self.tally, self.curves
        tally.n_iter += 1
        tally.n_seen += self.n
        tally.loss = loss
        curves.loss.append(loss)
        self._print(f"Iteration {tally.n_iter}, loss = {loss:.8f}")
        if curves.validation is not None:
            curves.validation.scores.append(score)
            curves.validation.loss.append(validation_loss)
            self._print(f"Validation score: {score:f}")
            if self.descent.early_stopping == "loss":
                self._print(f"Validation loss: {validation_loss:.8f}")

    def _compare_with_best(self) -> None:
        """Count successive epochs that do not improve by `tol`, and remember the best one."""
        curves, validation, tol = self.curves, self.curves.validation, self.settings.tol
        watched, improved, best = self.descent.early_stopping, True, False
        if curves.best_loss is not None:
            improved = not curves.loss[-1] > curves.best_loss - tol
            curves.best_loss = min(curves.best_loss, curves.loss[-1])
        if validation is not None:
            score, loss = validation.scores[-1], validation.loss[-1]
            if watched == "score":
                improved, best = not score < validation.best_score + tol, score > validation.best_score
            elif watched == "loss":  # NaN is no improvement
                improved, best = loss <= validation.best_loss - tol, loss < validation.best_loss
            validation.best_score = max(validation.best_score, score)
            validation.best_loss = min(validation.best_loss, loss)
        if best:
            self.best_layers, self.best_epoch = self.training.net.view.layers, self.tally.n_iter
        self.tally.n_without_improvement = 0 if improved else self.tally.n_without_improvement + 1

    def _steer(self) -> None:
        """Set the learning rate of the next epoch, or end training."""
        tally, descent, rule, training = self.tally, self.descent, self.descent.rate_rule, self.training
        scale = tally.lr_scale
        if rule.invscaling:
            tally.lr_scale = (tally.n_seen + 1.0) ** -rule.power
        if tally.n_without_improvement > descent.n_iter_no_change:
            message = (
                f"{WATCHED[descent.early_stopping]} did not improve more than tol={self.settings.tol:f} for "
                f"{descent.n_iter_no_change} consecutive epochs."
            )
            if not rule.adaptive:
                training.stopped = True
                self._print(f"{message} Stopping.")
            elif rule.initial * scale <= LEAST_RATE:
                training.stopped = True
                self._print(f"{message} Learning rate too small. Stopping.")
            else:
                tally.lr_scale, tally.n_without_improvement = scale / 5.0, 0
                self._print(f"{message} Setting learning rate to {rule.initial * tally.lr_scale:f}")
        training.lr_scale *= tally.lr_scale / scale

    def _print(self, line: str) -> None:
        if self.settings.verbose:
            print(line)


def warn_if_not_converged(result: Any, max_iter: int) -> None:
    """Warn if L-BFGS ended before it converged."""
    if result.status == 0:
        return
    message = f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n{result.message}\n"
    if result.nit >= max_iter:
        message += f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
    message += "\nYou might also want to scale the data, with sklearn.preprocessing.StandardScaler, say."
    warn(message, ConvergenceWarning)
