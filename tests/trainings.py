"""A list of trainings in which every part of a step occurs, for tests that look at steps in one way or another.

The parts of a step do not know one another, so not every combination is a training: each activation, output, cost,
optimizer, kind of dropout, of weights and of data occurs, in turns that do not go together.
"""

from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
from helpers import targets
from test_optimizers import ONE_OF_EACH

from xpnet.core.activations import ACTIVATIONS

QUANTILES = "quantile(0.1, 0.5, 0.9)"
EACH = [*ACTIVATIONS, "leaky_relu(0.2)", "elu(0.5, 3.0)"]
HIDDEN = [*zip(EACH, EACH[8:] + EACH[:8])]  # of two layers
ANY = ["quadratic", "absolute", "huber", "huber(0.5)"]  # costs of any output; "mse" and "mae" are multiples of two
OUTPUTS = [
    *zip(("relu", "softmax", "exp", "sigmoid"), ANY),
    *(("sigmoid", "cross_entropy"), ("softmax", "cross_entropy"), ("softmax", "log_likelihood"), ("exp", "poisson")),
    *(("mean_std", "gaussian"), ("identity", QUANTILES), ("softplus", "mse"), ("tanh", "mae")),
]
RATES = [0.0, [0.2, 0.5, 0.4], 0.0, [0.0, 0.5, 0.0], [0.3, 0.0, 0.0]]  # of dropout; with and without inputs
N_IN, N_TARGETS = 5, 3


class Training(NamedTuple):
    """What to make a network of, and how to train it."""

    hidden: tuple[str, str]
    output: str
    cost: str
    rates: Any
    optimizer: Any
    weighted: bool
    in_bytes: bool  # inputs are pixels, which a scale makes numbers
    in_classes: bool  # targets are whole numbers

    def __str__(self) -> str:
        return f"{self.hidden[1]}-{self.output}-{self.cost}-{self.optimizer}"

    @property
    def sizes(self) -> list[int]:
        return [N_IN, 4, 6, N_TARGETS * {"gaussian": 2, QUANTILES: 3}.get(self.cost, 1)]

    @property
    def options(self) -> dict[str, Any]:
        """Options of a Network."""
        output = None if self.output == "mean_std" else self.output  # which its cost brings
        scale = {"scale": 1 / 255} if self.in_bytes else {}
        return {
            "activation": [*self.hidden],
            "output_activation": output,
            "cost": self.cost,
            "dropout": self.rates,
            **scale,
        }

    def draw(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Draw n examples: inputs, targets, and their weights."""
        rng = np.random.default_rng(4)
        pixels = rng.integers(256, size=(n, N_IN), dtype=np.uint8)
        x = pixels if self.in_bytes else rng.standard_normal((n, N_IN))
        y = rng.integers(N_TARGETS, size=n) if self.in_classes else targets(self.output, rng, n, N_TARGETS)
        return x, y, rng.uniform(0.1, 2.0, n) if self.weighted else None


def make(
    hidden: tuple[str, str], output: tuple[str, str], rates: Any, optimizer: Any, weighted: bool, kind: int
) -> Training:
    """Put the parts together; every fourth kind has bytes, every other has classes if the output bears them."""
    return Training(
        hidden, *output, rates, optimizer, weighted, kind == 3, kind % 2 == 0 and output[0] in ("sigmoid", "softmax")
    )


KINDS = range(4)
PARTS = HIDDEN, OUTPUTS, RATES, ONE_OF_EACH, [False, True, False], KINDS
TRAININGS = [make(*parts) for parts in islice(zip(*map(cycle, PARTS)), len(OUTPUTS))]
# Their costs have the operations of others
TWINS = [each for each in TRAININGS if each.cost in ("quadratic", "huber(0.5)", "log_likelihood", "mae")]
