"""Ridge regression on the tokens of values, such as the words of texts: many inputs, of which each value has a few."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

__all__ = ["Tokens"]

STEPS = 8  # of conjugate gradients; the first one is exact if no row has two tokens


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
