"""Temperature scaling: the calibration of probabilities by one number.

A network that is too sure ranks the classes well, and its probabilities are too near to 0 and 1. Its weighted inputs z
of the output layer, divided by a temperature T > 1, give probabilities softmax(z / T) that are as often right as they
say; T is the one with the least log loss on validation data (C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On
Calibration of Modern Neural Networks", ICML 2017).
"""

import math
from collections.abc import Callable

import numpy as np

from xpnet.core.activations import Activation, sigmoid, softmax
from xpnet.core.arrays import Array, Layers, Namespace, Same
from xpnet.core.costs import cross_entropy
from xpnet.core.model import Model

__all__ = [
    "can_temper",
    "combine",
    "compute_log_loss",
    "find_logits",
    "find_shift",
    "find_temperature",
    "output_of",
    "sum_confidence_errors",
    "temper",
]

# Between these; the lowest turns 0.61 into 0.9
LOWEST, HIGHEST = 0.2, 100.0
TOLERANCE = 1e-6  # of a minimum
LEAST_DEVIATION = 0.2  # of logits that say nothing, beside a shift; of smaller ones, the shift would be far larger
PENALTY = 0.1  # of the squares of biases and of the slope from 1, as if normal with a variance of 10
GOLDEN = (math.sqrt(5) - 1) / 2
CONFIDENCE_BINS = 15  # of the expected calibration error, as in Guo et al.


def can_temper(model: Model) -> bool:
    """Tell whether outputs are probabilities that a temperature calibrates: softmax, or sigmoids of separate labels."""
    return model.sigmas[-1].name == ("softmax" if model.task == "classification" else "sigmoid")


def temper(layers: Layers, temperature: float) -> Layers:
    """Divide the weighted inputs of the output layer by a temperature.

    Examples
    --------
    >>> temper(((np.ones((1, 1)), np.ones((1, 1))),), 2.0)
    ((array([[0.5]]), array([[0.5]])),)
    """
    *hidden, (w, b) = layers
    return (*hidden, (w / temperature, b / temperature))


def find_temperature(logits: np.ndarray, y: np.ndarray, task: str) -> float:
    """Find the temperature, between 0.2 and 100, at which the log loss is least; 1 where all examples are right.

    There it falls with the temperature without end, so they do not tell how sure to be of others.

    Parameters
    ----------
    logits
        Weighted inputs of the output layer, (n, n_out) in float64.
    y
        Targets, (n, n_out): one-hot rows for a classification, or 0 and 1.
    task
        The task.

    Examples
    --------
    Odds of 9 : 1 where 3 of 4 are right:

    >>> round(find_temperature(np.full((4, 1), np.log(9.0)), np.array([[1.0], [1.0], [1.0], [0.0]]), "binary"), 4)
    2.0
    """
    if _are_right(logits, y, task).all():
        return 1.0

    output = cross_entropy.combine(output_of(task))  # exact, also where 1 − p rounds to 0

    def log_loss(log_temperature: float) -> float:
        z = logits / math.exp(log_temperature)
        losses: np.ndarray = output.value(z, z, y, np)
        return float(losses.mean())

    return math.exp(find_minimum(log_loss, math.log(LOWEST), math.log(HIGHEST)))


def find_shift(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Find the shift of the logits of each class, (n_out,), at which the log loss is least, beside a temperature.

    The mean probability of each class is then its frequency, which weights in the training have changed (A. Alexandari,
    A. Kundaje and A. Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift
    Adaptation", ICML 2020). This is a logistic regression on the logits with one slope, the inverse of the temperature.
    A weak penalty leaves classes alone that nothing is known about.

    Parameters
    ----------
    logits
        Weighted inputs of the output layer, (n, n_out) in float64.
    y
        One-hot rows, (n, n_out).

    Examples
    --------
    Trained as if both classes were equally frequent, where one is in 3 of 4 examples:

    >>> z, y = np.zeros((400, 2)), np.eye(2)[[0, 0, 0, 1] * 100]
    >>> softmax.value(z + find_shift(z, y), np)[0].round(2)
    array([0.75, 0.25])
    """
    # SciPy comes with scikit-learn, and both only with tables
    from scipy.optimize import minimize  # type: ignore

    logits = logits - logits.mean(axis=1, keepdims=True)
    usual = np.r_[1.0, np.zeros(logits.shape[1])]  # the slope, and the bias of each class

    def measure(slope_and_biases: np.ndarray) -> tuple[float, np.ndarray]:
        p = softmax.value(slope_and_biases[0] * logits + slope_and_biases[1:], np)
        change = slope_and_biases - usual
        loss = compute_log_loss(y, p, "classification", np) + PENALTY / 2 * np.sum(change**2)
        return loss, np.r_[np.sum((p - y) * logits), np.sum(p - y, axis=0)] + PENALTY * change

    low, high = max(1 / HIGHEST, LEAST_DEVIATION / max(1.0, float(logits.std()))), 1 / LOWEST
    slope = np.clip(1 / find_temperature(logits, y, "classification"), low, high)
    if (logits.argmax(axis=1) == y.argmax(axis=1)).all():  # then the slope stays, as in `find_temperature`
        low = high = slope
    bounds = [(low, high), *[(None, None)] * logits.shape[1]]
    how = {"jac": True, "method": "L-BFGS-B", "options": {"ftol": 0.0, "gtol": 1e-6, "maxiter": 1_000}}
    found = np.asarray(minimize(measure, [slope, *usual[1:]], bounds=bounds, **how).x)  # type: ignore
    return found[1:] / found[0]


def _are_right(logits: np.ndarray, y: np.ndarray, task: str) -> np.ndarray:
    if task == "classification":
        return y[np.arange(len(y)), logits.argmax(axis=-1)] == 1
    return (logits > 0) == y


def combine(p: Array, task: str, xp: Namespace) -> Array:
    """Combine calibrated probabilities of several networks, (members, ..., n): their normalized geometric mean.

    It is the probability of the mean of the weighted inputs. The arithmetic mean is less sure than each of the members,
    and would need another temperature than they do (R. Rahaman and A. Thiery, "Uncertainty Quantification and Deep
    Ensembles", NeurIPS 2021), which cannot be found where each example has only one member that has not learnt from it.

    Examples
    --------
    >>> combine(np.array([[0.5], [0.9]]), "binary", np)  # odds of 1 and 9
    array([0.75])
    """
    return output_of(task).value(xp.mean(find_logits(p, task, xp), axis=0), xp)


def find_logits(p: Same, task: str, xp: Namespace) -> Same:
    """Find the weighted inputs, up to a constant, for which `output_of` gives these probabilities (..., n).

    Examples
    --------
    >>> find_logits(np.array([0.5, 0.75]), "binary", np).round(2)
    array([0. , 1.1])
    """
    z = _log(p, xp)
    return z if task == "classification" else z - _log_of_rest(p, xp)


def _log(p: Same, xp: Namespace) -> Same:
    return xp.log(xp.clip(p, float(xp.finfo(p.dtype).smallest_normal), 1.0))


def _log_of_rest(p: Same, xp: Namespace) -> Same:
    limits = xp.finfo(p.dtype)
    return xp.log(xp.clip(1.0 - p, float(limits.eps) / 4, 1.0))  # half of what 1 − p is, if it is not 0


def output_of(task: str) -> Activation:
    """Return the activation whose outputs are the probabilities of a task."""
    return softmax if task == "classification" else sigmoid


def compute_log_loss(y: Array, p: Array, task: str, xp: Namespace) -> Array:
    """Compute the sum of the log losses of examples with the targets y and the probabilities p, (n, n_out).

    Examples
    --------
    >>> y, p = np.array([[1.0], [0.0]]), np.array([[0.5], [0.75]])
    >>> round(float(compute_log_loss(y, p, "binary", np) / np.log(2)), 4)
    3.0
    """
    loss = -xp.sum(y * _log(p, xp))
    return loss if task == "classification" else loss - xp.sum((1.0 - y) * _log_of_rest(p, xp))


def sum_confidence_errors(confidence: Same, is_right: Same, xp: Namespace) -> Same:
    """Sum in 15 equal bins of the confidence, (n,), by how much more examples are right, (n,), than it says: (15,).

    The expected calibration error is the sum of their absolute values, divided by n (M. P. Naeini, G. Cooper and M.
    Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015).

    Examples
    --------
    >>> errors = sum_confidence_errors(np.array([0.75, 0.75, 1.0]), np.array([True, False, True]), np)
    >>> [(k, float(error)) for k, error in enumerate(errors) if error]
    [(11, -0.5)]
    """
    number = xp.clip(xp.ceil(confidence * CONFIDENCE_BINS), 1, CONFIDENCE_BINS)
    errors = xp.astype(is_right, confidence.dtype) - confidence
    bins = (xp.where(number == k, errors, xp.zeros_like(errors)) for k in range(1, CONFIDENCE_BINS + 1))
    return xp.stack([xp.sum(part) for part in bins])


def find_minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Find the minimum of a function with one valley between two numbers, by golden sections.

    Where it is flat, it takes the right end.

    Examples
    --------
    >>> round(find_minimum(lambda x: (x - 0.3) ** 2, -1.0, 2.0), 4)
    0.3
    """
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > TOLERANCE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
