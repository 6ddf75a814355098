"""When training ends, and what is kept of each epoch: scikit-learn's rules, as a callback."""

from collections.abc import Callable
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from xpnet.checks import warn
from xpnet.core.arrays import Layers
from xpnet.estimators.fitted import Curves, Tally
from xpnet.estimators.settings import Descent, Settings
from xpnet.training.callbacks import Callback, Training

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
        self.best_layers: Layers | None = None

    def on_train_begin(self, training: Training) -> None:
        """Start `fit` with the full learning rate, and `partial_fit` with that of the last call."""
        self.training, self.tally.n_iter = training, 0
        if not self.settings.partial:
            self.tally.lr_scale = 1.0
        training.lr_scale = self.tally.lr_scale

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Record the epoch, and decide how to go on."""
        tally, curves, max_iter = self.tally, self.curves, self.settings.max_iter
        tally.n_iter += 1
        tally.n_seen += self.n
        tally.loss = self.loss(logs["cost"])
        curves.loss.append(tally.loss)
        self._print(f"Iteration {tally.n_iter}, loss = {tally.loss:.8f}")
        if curves.validation_scores is not None and curves.validation_loss is not None:
            curves.validation_loss.append(self.validation_loss(logs["validation_cost"]))
            curves.validation_scores.append(logs[f"validation_{self.score_name}"])
            self._print(f"Validation score: {curves.validation_scores[-1]:f}")
        self._compare_with_best(tally.loss)
        self._steer()
        if tally.n_iter == max_iter and not self.settings.partial and not self.training.stopped:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization hasn't converged "
                "yet.",
                ConvergenceWarning,
            )

    def on_train_end(self) -> None:
        """Restore the weights of the best epoch, with `early_stopping`."""
        if self.best_layers is not None and self.descent.early_stopping:
            net = self.training.net
            net.state = net.state._replace(layers=self.best_layers)

    def _compare_with_best(self, loss: float) -> None:
        """Count successive epochs that do not improve by `tol`, and remember the best one."""
        curves, tol = self.curves, self.settings.tol
        scores, best_score = curves.validation_scores, curves.best_validation_score
        improved = True
        if curves.best_loss is not None:
            improved = not loss > curves.best_loss - tol
            curves.best_loss = min(curves.best_loss, loss)
        if scores and best_score is not None:
            if self.descent.early_stopping:
                improved = not scores[-1] < best_score + tol
            if scores[-1] > best_score:
                curves.best_validation_score = scores[-1]
                self.best_layers = self.training.net.state.layers
        self.tally.n_without_improvement = 0 if improved else self.tally.n_without_improvement + 1

    def _steer(self) -> None:
        """Set the learning rate of the next epoch, or end training."""
        tally, descent, rule, training = self.tally, self.descent, self.descent.rate_rule, self.training
        scale = tally.lr_scale
        if rule.invscaling:
            tally.lr_scale = (tally.n_seen + 1.0) ** -rule.power
        if tally.n_without_improvement > descent.n_iter_no_change:
            watched = "Validation score" if descent.early_stopping else "Training loss"
            message = (
                f"{watched} did not improve more than tol={self.settings.tol:f} for {descent.n_iter_no_change} "
                "consecutive epochs."
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
