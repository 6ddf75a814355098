"""The checks of the exercises: they say whether an answer is right, without telling the right one.

Read this file after the exercises, as it holds BP3 and BP4; BP1 and BP2 are those of `xpnet.core`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xpnet.core import activations as core
from xpnet.core.backprop import forward
from xpnet.core.costs import Composed, quadratic

__all__ = [
    "check_numbers",
    "check_prediction",
    "make_backward",
    "sigmoid",
]


def sigmoid(z: Any) -> Any:
    """Compute 1 / (1 + exp(−z)) of a number or an array."""
    return 1 / (1 + np.exp(-z))


def _bp1(z: Any, a: Any, y: Any) -> Any:
    return Composed(core.sigmoid, quadratic).delta(z, a, y, np)


def _bp2(delta: Any, w: Any, z: Any) -> Any:
    return core.sigmoid.pullback(delta @ w, z, sigmoid(z), np)


def _bp3(delta: Any) -> Any:
    return delta.mean(axis=0)


def _bp4(delta: Any, a: Any) -> Any:
    return delta.T @ a / len(a)


def make_backward(
    *,
    bp1: Callable[..., Any] = _bp1,
    bp2: Callable[..., Any] = _bp2,
    bp3: Callable[..., Any] = _bp3,
    bp4: Callable[..., Any] = _bp4,
) -> Callable[..., Any]:
    """Make a function for `check_backprop` from equations of your own; those that you do not give are right.

    The network is one of sigmoid units with the quadratic cost. Examples are in rows, and so are their errors: row i of
    δ is ∂C_x/∂z of example i. BP3 and BP4 take the mean over the m examples.

    Parameters
    ----------
    bp1
        ``bp1(z, a, y)`` -> δ of the output layer, (m, n_out) like z, a and y.
    bp2
        ``bp2(delta, w, z)`` -> δ of a hidden layer, (m, n) like its z, from the δ (m, n_out) and the w (n_out, n) of
        the next.
    bp3
        ``bp3(delta)`` -> the gradient of the biases, (n_out,).
    bp4
        ``bp4(delta, a)`` -> the gradient of the weights, (n_out, n_in), from δ and the inputs a (m, n_in) of the layer.

    Returns
    -------
    callable
        ``backward(weights, biases, x, y)`` -> the gradients of the weights and those of the biases, two lists.

    Examples
    --------
    >>> from xpnet.learn import check_backprop
    >>> check_backprop(make_backward(bp3=lambda delta: delta.sum(axis=0)), [3, 4, 2]).wrong
    [(1, 'b'), (2, 'b')]
    """

    def backward(weights: Any, biases: Any, x: Any, y: Any) -> tuple[list[Any], list[Any]]:
        layers: Any = [*zip(weights, biases)]
        zs, activations = forward(layers, [core.sigmoid] * len(weights), x, np)
        delta = bp1(zs[-1], activations[-1], y)
        gw, gb = [], []
        for l in reversed(range(len(weights))):
            gw.insert(0, bp4(delta, activations[l]))
            gb.insert(0, bp3(delta))
            if l > 0:
                delta = bp2(delta, weights[l], zs[l - 1])
        return gw, gb

    return backward


def check_numbers(answer: Any, right: Any) -> None:
    """Print whether numbers are right, to 0.0001; if each is wrong by the same factor, print that.

    Examples
    --------
    >>> check_numbers([0.5, 0.7], [0.5, 0.25])
    Not yet: 1 of 2 right
    """
    right = np.array(right, dtype=float)
    form = f"numbers in an array of the shape {right.shape}" if right.ndim else "a single number"
    try:
        answer = np.array(answer, dtype=float)
    except (TypeError, ValueError):
        print(f"Not yet: give {form}")
        return
    if np.isnan(answer).any():  # None becomes NaN
        print("Not yet: there is no answer")
    elif answer.shape != right.shape:
        print(f"Not yet: your answer has the shape {answer.shape}; give {form}")
    elif np.allclose(answer, right, rtol=1e-4, atol=1e-4):
        print("Right")
    else:
        factor = np.vdot(answer, right) / np.vdot(right, right)
        close = np.isclose(answer, right, rtol=1e-4, atol=1e-4)
        print(f"Not yet: {close.sum()} of {close.size} right")
        if close.size > 1 and factor and np.allclose(answer, factor * right, rtol=1e-2, atol=1e-4):
            print(f"Each is {factor:.3g} times what it should be")


def check_prediction(
    prediction: Any, outcome: Iterable[tuple[Any, Any]], report: Any = None, example: tuple[Any, Any] = (2, "w")
) -> None:
    """Print whether a prediction, a list of pairs such as the example, has come true; only then print the report.

    Examples
    --------
    >>> check_prediction([(1, "b"), (1, "w")], [(1, "b"), (2, "b")])
    Not yet: 1 wrong, 1 missing
    """
    if prediction is None:
        print("Not yet: there is no prediction")
        return
    texts, right = [isinstance(value, str) for value in example], set(outcome)
    try:
        pairs = {tuple(pair) for pair in prediction}
    except TypeError:
        pairs = {()}
    if any([isinstance(value, str) for value in pair] != texts for pair in pairs):
        print(f"Not yet: give a list of pairs such as {[example]}, or an empty list for none")
    elif pairs != right:
        print(f"Not yet: {len(pairs - right)} wrong, {len(right - pairs)} missing")
    else:
        if report is not None:
            print(report)
        print("Right")
