"""Model: the structure of a network, without its weights."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from xpnet.core.activations import Activation
from xpnet.core.costs import Cost, Output

__all__ = [
    "Model",
    "Seeds",
    "count_parameters",
]


class Model(NamedTuple):
    """The structure of a network: everything except its weights, its optimizer and its device.

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    sigmas
        Activation functions of the layers after the inputs.
    cost
        The cost function; it must accept the activation of the output layer.
    task
        What the outputs stand for: "classification", "binary", "multilabel" or "regression".
    dropout
        Dropout rates of the inputs and of each hidden layer.
    scale
        Multiplies the inputs; None leaves them as they are.
    standardize
        Whether inputs, and the targets of a regression, are standardized.
    given_task
        The task as the user gave it; None if it was inferred from the output layer.

    Examples
    --------
    >>> from xpnet.core.activations import sigmoid
    >>> from xpnet.core.costs import quadratic
    >>> model = Model((3, 4, 2), (sigmoid, sigmoid), quadratic, "classification", (0.0, 0.5))
    >>> model.n_in, model.n_out, model.shapes
    (3, 2, [(4, 3), (2, 4)])
    """

    sizes: tuple[int, ...]
    sigmas: tuple[Activation, ...]
    cost: Cost
    task: str
    dropout: tuple[float, ...]
    scale: float | None = None
    standardize: bool = False
    given_task: str | None = None

    def settings(self, dtype: str) -> dict[str, Any]:
        """Return the arguments that make a network of this structure, which computes in a dtype."""
        *hidden, output = (sigma.name for sigma in self.sigmas)
        return {
            "sizes": list(self.sizes),
            "activation": hidden,
            "output_activation": output,
            "cost": self.cost.name,
            "task": self.given_task,
            "dropout": list(self.dropout),
            "scale": self.scale,
            "standardize": self.standardize,
            "dtype": dtype,
        }

    @property
    def program(self) -> "Model":
        """The model without the rates of dropout, which are numbers in the state: only where it applies."""
        return self._replace(dropout=tuple(float(rate > 0) for rate in self.dropout))

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self.sizes[0]

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.sizes[-1]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes (n_out, n_in) of the weights of each layer."""
        return list(zip(self.sizes[1:], self.sizes))

    @property
    def output(self) -> Output:
        """The cost combined with the activation of the output layer."""
        return self.cost.combine(self.sigmas[-1])

    @property
    def n_targets(self) -> int:
        """Number of targets of an example; fewer than outputs for costs with several outputs for each target."""
        return self.n_out // self.cost.outputs_per_target

    @property
    def scales_targets(self) -> bool:
        """Whether targets can be standardized: those of a regression whose outputs have no bounds."""
        output = self.sigmas[-1]
        return self.task == "regression" and output.low == -math.inf and output.high == math.inf

    @property
    def n_weights(self) -> int:
        """Number of weights, without biases."""
        return sum(n_out * n_in for n_out, n_in in self.shapes)

    def step_size(self, rows: int) -> int:
        """Number of weights and of activations for `rows` examples: measures the memory that a step works through."""
        return self.n_weights + rows * sum(self.sizes)

    def multiplications(self, rows: int) -> int:
        """Number of multiplications in the largest matrix product of a forward pass."""
        return rows * max(n_out * n_in for n_out, n_in in self.shapes)


def count_parameters(sizes: Sequence[int]) -> int:
    """Count the weights and biases of a network.

    Examples
    --------
    >>> count_parameters([3, 4, 2])
    26
    """
    return sum(n_out * (n_in + 1) for n_in, n_out in pairwise(sizes))


class Seeds(NamedTuple):
    """Seeds of a network's random choices that do not use its generator."""

    dropout: int
    split: int
