"""Mistakes in the four equations of backpropagation: how a gradient check finds them, and how they affect training.

`break_equation` makes a mistake in one equation, compares the gradient with central differences, and trains with and
without the mistake. The mathematics in `xpnet.core` is unchanged: the equations are repeated here as functions that can
be replaced one by one, and training is a plain loop over `Network.backward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layer, Layers, Namespace
from xpnet.core.backprop import matmul_like_weights
from xpnet.core.costs import Output
from xpnet.data.datasets import mnist_sample
from xpnet.data.sampling import shuffle
from xpnet.inspection.derivatives import gradients
from xpnet.inspection.summary import table
from xpnet.learn.gradcheck import GradientCheck, check_gradients
from xpnet.network import Network
from xpnet.wording.checks import count, install_command
from xpnet.wording.hints import look_up

__all__ = ["MISTAKES", "RIGHT", "Comparison", "Equations", "Mistake", "break_equation"]

SIZES, BATCH_SIZE, LR = [784, 30, 10], 10, 3.0  # the book's first network
MOST_CHECKED = 30  # parameters of each array
VISIBLE = 0.02  # smaller differences of accuracies may be chance


class Equations(NamedTuple):
    """The four equations, as functions of arrays with one row for each of m examples.

    Parameters
    ----------
    bp1
        ``(output, z, a, y, xp)`` -> Δ = ∂C/∂z of the output layer (m, n_out), for the mean cost C, so with its 1/m;
        `output` is a `xpnet.core.costs.Output`.
    bp2
        ``(delta, w, sigma, z, a, xp)`` -> Δ of a hidden layer with z and a (m, n), from the Δ and the w of the next.
    bp3
        ``(delta, xp)`` -> ∂C/∂b of a layer, (1, n_out).
    bp4
        ``(a, delta, xp)`` -> ∂C/∂w of a layer, (n_out, n_in), from the activations (m, n_in) of the one before.
    """

    bp1: Callable[[Output, Array, Array, Array, Namespace], Array]
    bp2: Callable[[Array, Array, Activation, Array, Array, Namespace], Array]
    bp3: Callable[[Array, Namespace], Array]
    bp4: Callable[[Array, Array, Namespace], Array]


# The equations as in `xpnet.core.backprop`


def _bp1(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    return output.delta(z, a, y, xp) / y.shape[-2]


def _bp2(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return sigma.pullback(xp.matmul(delta, w), z, a, xp)


def _bp3(delta: Array, xp: Namespace) -> Array:
    return xp.sum(delta, axis=-2, keepdims=True)


def _bp4(a: Array, delta: Array, xp: Namespace) -> Array:
    return matmul_like_weights(delta.mT, a, xp)


RIGHT = Equations(_bp1, _bp2, _bp3, _bp4)


# Mistakes


def _forget_the_mean(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    return output.delta(z, a, y, xp)


def _forget_the_slope(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return xp.matmul(delta, w)


def _take_one_example(delta: Array, xp: Namespace) -> Array:
    return delta[..., :1, :]


def _mix_the_examples(a: Array, delta: Array, xp: Namespace) -> Array:
    return matmul_like_weights(delta.mT, xp.flip(a, axis=-2), xp)


class Mistake(NamedTuple):
    """A mistake in one of the four equations.

    Parameters
    ----------
    equation
        Its name, such as "BP2".
    formula
        The correct equation, in words and symbols.
    mistake
        The mistake, as a phrase that follows the name of the equation.
    equations
        The four equations with the mistake, such as ``RIGHT._replace(bp2=my_function)``.
    """

    equation: str
    formula: str
    mistake: str
    equations: Equations


MISTAKES = {
    mistake.equation: mistake
    for mistake in (
        Mistake(
            "BP1",
            "the error of the outputs: δ = ∇C ⊙ σ′(z), divided by the number of examples",
            "does not divide by the number of examples in the minibatch",
            RIGHT._replace(bp1=_forget_the_mean),
        ),
        Mistake(
            "BP2",
            "the error of a hidden layer: δ = (wᵀ δ of the next layer) ⊙ σ′(z)",
            "leaves out σ′(z)",
            RIGHT._replace(bp2=_forget_the_slope),
        ),
        Mistake(
            "BP3",
            "the gradient of the biases: ∂C/∂b = δ, summed over the examples",
            "takes the δ of the first example instead of the sum",
            RIGHT._replace(bp3=_take_one_example),
        ),
        Mistake(
            "BP4",
            "the gradient of the weights: ∂C/∂w = δ aᵀ, summed over the examples",
            "multiplies the δ of an example by the activations of another example",
            RIGHT._replace(bp4=_mix_the_examples),
        ),
    )
}


def _backpropagate(
    equations: Equations,
    layers: Layers,
    sigmas: Sequence[Activation],
    output: Output,
    zs: Sequence[Array],
    activations: Sequence[Array],
    y: Array,
    xp: Namespace,
) -> Layers:
    """Compute the gradient as `core.backprop.backward` does, but with these equations."""
    delta = equations.bp1(output, zs[-1], activations[-1], y, xp)
    grads = []
    for l in reversed(range(len(layers))):
        grads.append((equations.bp4(activations[l], delta, xp), equations.bp3(delta, xp)))
        if l:
            delta = equations.bp2(delta, layers[l][0], sigmas[l - 1], zs[l - 1], activations[l], xp)
    return tuple(grads[::-1])


class _BrokenNetwork(Network):
    """A network whose `backward` uses its own equations. `train` does not use them; `_train_plainly` does."""

    _equations = RIGHT  # copied with the network

    def backward(self, x: Any, y: Any) -> list[Layer]:
        """Compute the gradient by the network's own equations."""
        grads = gradients(self.view, x, y, partial(_backpropagate, self._equations))
        with self.backend.scope(self.dtype):
            return [Layer(gw, gb[0, ...]) for gw, gb in grads]


@dataclass(frozen=True)
class Comparison:
    """The result of `break_equation`; printing it shows two tables.

    Attributes
    ----------
    mistake : Mistake
        The mistake.
    checks : tuple of GradientCheck
        The checks of the gradient before training, without and with the mistake.
    accuracies : tuple of list
        The test accuracies after each epoch, without and with the mistake.
    """

    mistake: Mistake
    checks: tuple[GradientCheck, GradientCheck]
    accuracies: tuple[list[float], list[float]]

    def __repr__(self) -> str:
        right, broken = self.checks
        errors = [["layer", "", "right", "with the mistake", ""]]
        for row, broken_row in zip(right.rows, broken.rows):
            verdict = "passed" if broken_row["error"] <= broken.tolerance else "FAILED"
            errors.append(
                [str(row["layer"]), row["parameter"], f"{row['error']:.1e}", f"{broken_row['error']:.1e}", verdict]
            )
        epochs = [["epoch", "right", "with the mistake"]]
        for epoch, (accuracy, broken_accuracy) in enumerate(zip(*self.accuracies), 1):
            epochs.append([str(epoch), f"{accuracy:.1%}", f"{broken_accuracy:.1%}"])
        return "\n".join(
            [
                f"{self.mistake.equation}, {self.mistake.formula}",
                f"The mistake: it {self.mistake.mistake}",
                "",
                f"Gradient and central differences, largest relative error ({right.tolerance:g} passes)",
                table(errors, left=(1, 4)),
                self._explain_check(),
                "",
                "Test accuracy after each epoch",
                table(epochs),
                self._explain_curve(),
            ]
        )

    def _explain_check(self) -> str:
        """Format the places where the check fails."""
        broken = self.checks[1]
        failed = [f"{r['parameter']} of layer {r['layer']}" for r in broken.rows if not r["error"] <= broken.tolerance]
        return f"The check fails for {', '.join(failed)}" if failed else "The check does not find it"

    def _explain_curve(self) -> str:
        """Format whether the learning curve shows the mistake."""
        right, broken = (accuracies[-1] for accuracies in self.accuracies)
        if abs(right - broken) < VISIBLE:
            return "The learning curve does not show the mistake"
        direction = "less" if broken < right else "more"
        return f"The learning curve shows it: {100 * abs(right - broken):.1f} points {direction}"

    def plot(self, ax: Any = None) -> Any:
        """Draw the two learning curves with matplotlib (``pip install -e '.[plots]'``).

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default axes of a new figure.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        figure = make_figure() if ax is None else ax.figure
        ax = figure.add_subplot() if ax is None else ax
        right, broken = self.accuracies
        epochs = range(1, len(right) + 1)
        ax.plot(epochs, right, "o-", label="right")
        ax.plot(epochs, broken, "s--", label=f"{self.mistake.equation} {self.mistake.mistake}")
        ax.set(xlabel="epoch", ylabel="test accuracy", ylim=(0, 1), xticks=epochs)
        ax.legend()
        return figure


def make_figure() -> Any:
    """Make a figure of matplotlib, or raise ImportError with the command that installs it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"plot needs matplotlib ({error}); install it with: {install_command('plots')}") from error
    return Figure(layout="constrained")


def break_equation(mistake: str | Mistake, *, epochs: int = 5, seed: int = 0) -> Comparison:
    """Make a mistake in one of the four equations, check the gradient, and train with and without the mistake.

    The network is the book's first, 784-30-10 with sigmoid neurons and the quadratic cost, in float64, trained on the
    5,000 digits that come with xpnet in minibatches of 10, with a learning rate of 3.0. Initial weights and minibatches
    are the same with and without the mistake.

    Parameters
    ----------
    mistake
        "BP1", "BP2", "BP3" or "BP4" for a mistake in `MISTAKES`, or your own `Mistake`.
    epochs
        Number of passes over the training data.
    seed
        Seed of weights and minibatches.

    Returns
    -------
    Comparison
        Prints as two tables.

    Raises
    ------
    ValueError
        If an argument is wrong.

    Examples
    --------
    >>> comparison = break_equation("BP2", epochs=1)
    >>> [check.passed for check in comparison.checks]
    [True, False]

    The check fails in the layer before the outputs, whose error comes from BP2:

    >>> [(row["layer"], row["parameter"], row["error"] < 1e-5) for row in comparison.checks[1].rows]
    [(1, 'w', False), (1, 'b', False), (2, 'w', True), (2, 'b', True)]
    """
    chosen = mistake if isinstance(mistake, Mistake) else look_up("mistake", mistake, MISTAKES)
    epochs = count("epochs", epochs, 1)
    train_data, test_data = mnist_sample()
    checks, accuracies = [], []
    for equations in (RIGHT, chosen.equations):
        net = _BrokenNetwork(SIZES, dtype="float64", seed=seed)
        net._equations = equations
        checks.append(check_gradients(net, train_data[0][:BATCH_SIZE], train_data[1][:BATCH_SIZE], most=MOST_CHECKED))
        accuracies.append(_train_plainly(net, train_data, test_data, epochs, seed))
    return Comparison(chosen, (checks[0], checks[1]), (accuracies[0], accuracies[1]))


def _train_plainly(
    net: Network,
    train_data: tuple[np.ndarray, np.ndarray],
    test_data: tuple[np.ndarray, np.ndarray],
    epochs: int,
    seed: int,
) -> list[float]:
    """Train by gradient descent with the gradient of `Network.backward`; return the test accuracy after each epoch."""
    x, y = train_data
    rng, accuracies = np.random.default_rng(seed), []
    for _ in range(epochs):
        for minibatches in shuffle(len(x), BATCH_SIZE, rng):
            for index in minibatches:
                gradient = net.backward(x[index], y[index])
                net.layers = [(w - LR * gw, b - LR * gb) for (w, b), (gw, gb) in zip(net.layers, gradient)]
        accuracies.append(net.accuracy(test_data))
    return accuracies
