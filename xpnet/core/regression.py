"""Linear regression of targets, by conjugate gradients: on the inputs of rows, and on the tokens of values.

The method for the normal equations is that of M. Hestenes and E. Stiefel ("Methods of Conjugate Gradients for Solving
Linear Systems", Journal of Research of the National Bureau of Standards 49, 1952). On inputs, the first steps find what
many rows tell, and later ones fit noise, so they end where rows that a regression has not seen are predicted worse:
their number takes the place of a penalty. Tokens, such as the words of texts, are many inputs, of which each value has
a few; their penalty is given (ridge regression).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

__all__ = ["Tokens", "leave_residuals"]

MOST_STEPS = 30  # on inputs
STEPS = 8  # on tokens; the first one is exact if no row has two


@np.errstate(over="ignore", invalid="ignore")  # a step that overflows is not taken
def leave_residuals(x: np.ndarray, targets: np.ndarray, weight: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Compute what regressions leave of the targets in all rows, whether they were learnt from or not.

    Parameters
    ----------
    x, targets
        Inputs (n, n_in), and targets (n, n_targets) whose mean is 0.
    weight, part
        The weight of each row, and the number of its part, from 0, (n,).

    Returns
    -------
    ndarray
        Shape (n_parts + 1, n, n_targets), of x's dtype: by the regression without each part, and by that on all rows,
        last. Where inputs predict no rows of other parts, they are the targets.
    """
    (n, k), parts = targets.shape, np.arange(int(part.max()) + 2)
    mean = x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    learns = np.repeat((part[:, None] != parts) * weight[:, None], k, axis=1).astype(x.dtype)
    rest, tiny = np.tile(targets, len(parts)).astype(x.dtype), np.finfo(x.dtype).tiny
    best, least = rest, np.inf
    direction, before = np.zeros((x.shape[1], len(parts) * k), x.dtype), np.ones(len(parts) * k, x.dtype)
    for _ in range(MOST_STEPS):
        own = rest.reshape(n, -1, k)[np.arange(n), part]
        error = weight @ (own**2).sum(axis=1)
        if not error < least:
            break
        best, least = rest, error
        weighted = learns * rest
        slope = x.T @ weighted - mean[:, None] * weighted.sum(axis=0)
        square = (slope**2).sum(axis=0)
        direction = slope + square / np.maximum(before, tiny) * direction
        image = x @ direction - mean @ direction
        rest = rest - square / np.maximum((learns * image**2).sum(axis=0), tiny) * image
        before = square
    return np.moveaxis(best.reshape(n, -1, k), 1, 0)


class Tokens(NamedTuple):
    """Which of the different values of a column have which tokens, in pairs of numbers."""

    n_values: int
    n_tokens: int
    value: np.ndarray
    token: np.ndarray

    @classmethod
    def pair(cls, values: Iterable[Iterable[str]], places: dict[str, int], n_tokens: int) -> "Tokens":
        """Pair values, each given as its tokens, with those of n tokens that have a place."""
        values = [*values]
        pairs = [(k, places[token]) for k, tokens in enumerate(values) for token in tokens if token in places]
        return cls(len(values), n_tokens, *np.array(pairs, np.intp).reshape(-1, 2).T)

    def add_up(self, numbers: np.ndarray) -> np.ndarray:
        """Sum numbers of the tokens of each value, (n_tokens, k), and of a missing one, (n_values + 1, k)."""
        return np.stack(
            [np.bincount(self.value, column[self.token], self.n_values + 1) for column in numbers.T], axis=1
        )

    def collect(self, numbers: np.ndarray) -> np.ndarray:
        """Sum numbers of the values that have each token."""
        return np.bincount(self.token, numbers[self.value], self.n_tokens)

    def find_effects(self, sums: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
        """Find the effects of tokens whose sums predict the targets best, with a penalty on their squares.

        Parameters
        ----------
        sums, weights
            Of the targets of the rows with each value, and of their weights.
        penalty
            Of ridge regression. Its normal equations are solved by conjugate gradients, preconditioned by the diagonal.
        """
        diagonal = self.collect(weights) + penalty
        residual, effects = self.collect(sums), np.zeros(self.n_tokens)
        direction = residual / diagonal
        square = start = residual @ direction
        for _ in range(STEPS):
            if square <= 1e-9 * start:
                break
            values = np.bincount(self.value, direction[self.token], self.n_values)
            image = self.collect(weights * values) + penalty * direction
            step = square / (direction @ image)
            effects += step * direction
            residual = residual - step * image
            scaled = residual / diagonal
            square, before = residual @ scaled, square
            direction = scaled + square / before * direction
        return effects
