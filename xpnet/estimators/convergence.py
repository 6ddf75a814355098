"""When training ends, and what is kept of each epoch: scikit-learn's rules, as a callback."""

import math
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from xpnet.callbacks import Callback, Training
from xpnet.errors import warn
from xpnet.estimators.settings import rule

LEAST = 1e-6  # an adaptive learning rate that is no larger is not divided again
KEPT = ("loss_curve_", "best_loss_", "validation_scores_", "validation_loss_curve_", "best_validation_score_")


def forget(est: Any) -> None:
    """Have nothing done, and no fitted attributes that say what it was like."""
    est.t_, est._lr_scale, est._no_improvement_count = 0, 1.0, 0
    for name in (*KEPT, "loss_", "n_iter_"):
        vars(est).pop(name, None)


def begin(est: Any, validates: bool) -> None:
    """Have the fitted attributes of epochs: those of the calls that this one goes on from, or empty ones.

    Lists are new: those of a copy of the estimator, or from before a call that fails, stay as they are.
    """
    known = {name: vars(est).get(name) for name in KEPT}
    est.loss_curve_ = [*(known["loss_curve_"] or ())]
    est.validation_scores_ = [*(known["validation_scores_"] or ())] if validates else None
    est.validation_loss_curve_ = [*(known["validation_loss_curve_"] or ())] if validates else None
    score, loss = known["best_validation_score_"], known["best_loss_"]
    est.best_validation_score_ = (-math.inf if score is None else score) if validates else None
    est.best_loss_ = None if est.early_stopping else math.inf if loss is None else loss


class Convergence(Callback):
    """Keep what the epochs were like in the fitted attributes, and stop when they bring nothing more.

    Parameters
    ----------
    est
        The estimator, with the attributes of its last epoch, or of none.
    n
        Number of training examples.
    once
        Whether this is one epoch of many calls (`partial_fit`), which is never said to have converged or not.
    loss, validation_loss
        What to report for a mean cost of training and of validation data.
    """

    def __init__(self, est: Any, n: int, once: bool, loss: Any, validation_loss: Any) -> None:
        self.est, self.n, self.once, self.rule = est, n, once, rule(est)
        self.loss, self.validation_loss = loss, validation_loss

    def on_train_begin(self, training: Training) -> None:
        """Take up the learning rate where the last call left it, or begin."""
        self.training, self.best = training, None
        self.est.n_iter_ = 0
        if not self.once:
            self.est._lr_scale = 1.0
        training.lr_scale = self.est._lr_scale

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Keep, say, count, steer, stop."""
        est = self.est
        est.n_iter_ += 1
        est.t_ += self.n
        est.loss_ = self.loss(logs["cost"])
        est.loss_curve_.append(est.loss_)
        self._say(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        if "validation_cost" in logs:
            est.validation_loss_curve_.append(self.validation_loss(logs["validation_cost"]))
            est.validation_scores_.append(logs[f"validation_{est._score_name}"])
            self._say(f"Validation score: {est.validation_scores_[-1]:f}")
        self._count()
        self._steer()
        if est.n_iter_ == est.max_iter and not self.once and not self.training.stopped:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
            )

    def _count(self) -> None:
        """Count the epochs since the last that was better by `tol`, and keep the best."""
        est = self.est
        if est.early_stopping:
            worse = est.validation_scores_[-1] < est.best_validation_score_ + est.tol
        else:
            worse = est.loss_ > est.best_loss_ - est.tol
            est.best_loss_ = min(est.best_loss_, est.loss_)
        if est.validation_scores_ and est.validation_scores_[-1] > est.best_validation_score_:
            est.best_validation_score_, self.best = est.validation_scores_[-1], self.training.net.state
        est._no_improvement_count = est._no_improvement_count + 1 if worse else 0

    def _steer(self) -> None:
        """Set the learning rate of the next epoch, or end training."""
        est, training = self.est, self.training
        scale = est._lr_scale
        if self.rule.invscaling:
            est._lr_scale = (est.t_ + 1.0) ** -self.rule.power
        if est._no_improvement_count > est.n_iter_no_change:
            watched = "Validation score" if est.early_stopping else "Training loss"
            said = f"{watched} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} consecutive epochs."
            if not self.rule.adaptive:
                training.stopped = True
                self._say(f"{said} Stopping.")
            elif est.learning_rate_init * scale <= LEAST:
                training.stopped = True
                self._say(f"{said} Learning rate too small. Stopping.")
            else:
                est._lr_scale, est._no_improvement_count = scale / 5.0, 0
                self._say(f"{said} Setting learning rate to {est.learning_rate_init * est._lr_scale:f}")
        training.lr_scale *= est._lr_scale / scale

    def on_train_end(self) -> None:
        """Give the best weights back, where `early_stopping` has looked for them."""
        if self.best is not None and self.est.early_stopping:
            net = self.training.net
            net.state = net.state._replace(layers=self.best.layers)

    def _say(self, line: str) -> None:
        if self.est.verbose:
            print(line)


def not_converged(result: Any, max_iter: int) -> None:
    """Warn if L-BFGS ended before it had converged."""
    if result.status == 0:
        return
    message = f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n{result.message}\n"
    if result.nit >= max_iter:
        message += f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
    message += "\nYou might also want to scale the data, with sklearn.preprocessing.StandardScaler, say."
    warn(message, ConvergenceWarning)
