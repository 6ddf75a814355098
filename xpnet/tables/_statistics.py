"""Statistics: how much higher the target is, on average, in rows with a value that has no input of its own.

Such values are names, codes and numbers of groups, of which there are too many for an input each. A text counts as a
whole, and by its words, too, if that predicts better. The effects of all these tokens on the target are found by ridge
regression. Of a token that is alone in its n rows, the effect is then the mean of their targets less that of all rows,
times n / (n + penalty): target encoding, as in D. Micci-Barreca, "A Preprocessing Scheme for High-Cardinality
Categorical Attributes in Classification and Prediction Problems" (SIGKDD Explorations 3, 2001).

A row that is learnt from gets the statistics of rows outside its own part, as a new row gets those of all rows. What
would not predict rows of other parts is left out, so that a column of random texts has no statistics.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from xpnet.tables._cells import WHOLE_NUMBER, Cells, label, rewrite

PENALTIES = (
    300.0,
    100.0,
    30.0,
    10.0,
    3.0,
    1.0,
    0.3,
)  # in rows; the first one after which effects predict worse is last
STEPS = 8  # of conjugate gradients; the first one is exact if no row has two tokens
MOST_TOKENS = 20_000
MOST_CLASSES = 10  # the most frequent ones, on which effects are inputs
FEW_VALUES = 64  # of a column that has no words, or of numbers that name nothing
REPEATS = 2  # how often numbers that name something occur, on average
SURE = 2.0  # standard errors by which the squared error must fall
LEAST_ROWS = 20
COUNT_UNIT = 0.25  # of the logarithm of how often a value occurs, which is then as large as other inputs
WORD = re.compile(r"[^\W\d_]+|\d+")


class Goal(NamedTuple):
    """What statistics are of.

    Parameters
    ----------
    names
        Names of the targets: labels of classes, or numbers of several targets, or one empty text.
    targets
        Numbers of about the size of 1, (n, n_targets), whose mean is 0.
    weight
        The weight of each row, (n,).
    part
        The number of the part in which each row is, (n,).
    """

    names: tuple[str, ...]
    targets: np.ndarray
    weight: np.ndarray
    part: np.ndarray


def make_goal(y: np.ndarray, labels: Sequence[str], weight: np.ndarray | None, part: np.ndarray) -> Goal:
    """Make the goal of targets (n,) or (n, k), or classes (n,) with these labels.

    Numbers are scaled by median and quartiles and clipped smoothly at ±3, so that no wrong one spoils a mean.
    """
    n = len(y)
    weight = np.ones(n) if weight is None else weight / weight.mean()
    if labels:
        frequent = np.argsort(-np.bincount(y), kind="stable")[:MOST_CLASSES] if len(labels) > 2 else [1]
        classes = np.sort(frequent)
        names, targets = tuple(labels[k] for k in classes), (y[:, None] == classes).astype(np.float64)
    else:
        y = y.reshape(n, -1).astype(np.float64)
        names = tuple(map(str, range(y.shape[1]))) if y.shape[1] > 1 else ("",)
        low, middle, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(high > low, high - low, np.ptp(y, axis=0))
        targets = (y - middle) / np.where(spread > 0, spread, 1.0)
        targets /= np.sqrt(1 + (targets / 3) ** 2)
    return Goal(names, targets - np.average(targets, axis=0, weights=weight), weight, part)


class Tokens(NamedTuple):
    """Which of the different values of a column have which tokens, in pairs of numbers."""

    n_values: int
    n_tokens: int
    value: np.ndarray
    token: np.ndarray

    @classmethod
    def pair(cls, values: Iterable[Iterable[str]], places: dict[str, int], n_tokens: int) -> Tokens:
        """Pair values, each given as its tokens, with those of n tokens that have a place."""
        values = [*values]
        pairs = [(k, places[token]) for k, tokens in enumerate(values) for token in tokens if token in places]
        return cls(len(values), n_tokens, *np.array(pairs, np.intp).reshape(-1, 2).T)

    def add_up(self, numbers: np.ndarray) -> np.ndarray:
        """Sum numbers of the tokens of each value."""
        return np.bincount(self.value, numbers[self.token], self.n_values)

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
            image = self.collect(weights * self.add_up(direction)) + penalty * direction
            step = square / (direction @ image)
            effects += step * direction
            residual = residual - step * image
            scaled = residual / diagonal
            square, before = residual @ scaled, square
            direction = scaled + square / before * direction
        return effects


@dataclass(frozen=True)
class StatisticsColumn:
    """The statistics of values: each of their tokens adds its numbers to the inputs."""

    kind: ClassVar[str] = "statistics"
    name: str
    targets: tuple[str, ...]
    words: bool  # whether texts are taken apart
    tokens: tuple[str, ...]
    numbers: tuple[float, ...]  # for each token its effect on each target, and how often it is a value

    def __post_init__(self) -> None:
        """Refuse numbers that are not those of the tokens."""
        np.reshape(np.asarray(self.numbers, np.float64), (len(self.tokens), len(self.inputs)))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        effects = [f"effect on {target!r}" if target else "effect" for target in self.targets]
        return tuple(f"{self.name} ({what})" for what in (*effects, "rows"))

    @cached_property
    def table(self) -> np.ndarray:
        """The numbers of each token, (n_tokens, n_inputs)."""
        return np.reshape(self.numbers, (len(self.tokens), len(self.inputs)))

    def encode(self, cells: Cells, marks: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs (n, n_inputs); no value is of a kind that training did not have."""
        codes, values = list_values(cells)
        split = (split_text(value) if self.words else [value] for value in values)
        tokens = Tokens.pair(split, self.places, len(self.tokens))
        return _add_up_rows(tokens, self.table, codes), np.zeros(len(codes), bool)

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of each token in the table, and of whole numbers as pandas may write them, too."""
        places = {token: k for k, token in enumerate(self.tokens)}
        return {rewrite(token): k for token, k in places.items()} | places

    def describe(self) -> str:
        """Describe what is done with the column."""
        return f"mean targets of {len(self.tokens):,} {'texts and words' if self.words else 'values'}"


def list_values(cells: Cells) -> tuple[np.ndarray, Sequence[str]]:
    """Return the number of each row's value, -1 if it is missing, and the different values as texts."""
    if cells.numbers is None:
        return cells.codes, cells.values
    numbers, codes = np.unique(cells.numbers, return_inverse=True)
    is_missing = np.isnan(numbers)
    return np.where(is_missing[codes], -1, codes), [label(number) for number in numbers[~is_missing]]


def split_text(text: str) -> list[str]:
    """Return a text and its words; a text that is a word alone has no others.

    Examples
    --------
    >>> split_text("Flat 12b"), split_text("Flat")
    (['Flat 12b', 'flat', '12', 'b'], ['Flat'])
    """
    words = WORD.findall(text.lower())
    return [text] if words == [text.lower()] else [*dict.fromkeys([text, *words])]


def learn_statistics(
    cells: Cells, rows: np.ndarray, goal: Goal, usual: Iterable[str] = (), are_groups: bool = False
) -> tuple[StatisticsColumn, np.ndarray] | None:
    """Learn the statistics of a column, unless they say nothing.

    Parameters
    ----------
    cells
        The cells of the column: texts, or numbers.
    rows
        The numbers of the rows of the goal.
    goal
        The targets of the rows.
    usual
        The values that have inputs of their own. Nothing is learnt from rows with these: together, both would tell the
        targets of a row's own part, by the difference.
    are_groups
        Whether they may be numbers of groups: their statistics must say more than those of bins, which inputs tell.

    Returns
    -------
    column, x
        The column, and its inputs for the rows, (n, n_inputs), by the statistics of other parts; or None.
    """
    codes, values = list_values(cells)
    codes, usual = codes[rows], {*usual}
    learns = np.array([*(value not in usual for value in values), False])[codes]
    if np.count_nonzero(learns) < LEAST_ROWS:
        return None
    counts = np.bincount(codes[learns], minlength=len(values))
    sums = _sum_others(codes, learns, len(values), goal)
    fit = _fit([[value] for value in values], codes, learns, sums, goal)
    before, have_words = _square(goal.targets, goal, learns), False
    if are_groups:
        bins = _number_bins(values, counts)
        before = _fit([[str(k)] for k in bins], codes, learns, sums, goal).errors
    elif np.count_nonzero(counts) > FEW_VALUES:
        other = _fit([split_text(value) for value in values], codes, learns, sums, goal, least=2)
        if have_words := _are_less(other.errors, fit.errors, codes[learns]):
            fit = other
    if not _are_less(fit.errors, before, codes[learns]):
        return None
    numbers = tuple(np.round(fit.numbers, 6).ravel().tolist())
    return StatisticsColumn(cells.column, goal.names, have_words, fit.tokens, numbers), fit.x


def _are_less(errors: np.ndarray, others: np.ndarray, codes: np.ndarray) -> bool:
    """Tell whether errors (m, k) are less than others, beyond chance; rows with the same value are not independent."""
    gains, counts = np.bincount(codes, (others - errors).sum(axis=1)), np.bincount(codes)
    mean = gains.sum() / len(codes)
    return bool(len(codes) * mean > SURE * np.sqrt(((gains - counts * mean) ** 2).sum()))


class _Fit(NamedTuple):
    tokens: tuple[str, ...]
    numbers: np.ndarray  # of the tokens, (n_tokens, n_inputs), from all rows
    x: np.ndarray  # inputs of the rows, from those of other parts, (n, n_inputs)
    errors: np.ndarray  # squared, of the rows that are learnt from, (m, n_targets)


def _square(errors: np.ndarray, goal: Goal, learns: np.ndarray) -> np.ndarray:
    """Square errors (n, n_targets), with the weights of the rows, of those that are learnt from."""
    return (goal.weight[:, None] * errors**2)[learns]


def _number_bins(values: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """Number the bins, of about as many rows each, in which whole numbers are."""
    order = np.argsort([*map(float, values)])
    bins = np.empty(len(values), np.intp)
    bins[order] = FEW_VALUES // 2 * (np.cumsum(counts[order]) - counts[order] / 2) / counts.sum()
    return bins


def _sum_others(codes: np.ndarray, learns: np.ndarray, n_values: int, goal: Goal) -> np.ndarray:
    """Sum weights and targets of rows with each value, (n_parts + 1, n_targets + 1, n_values).

    The sums are over the rows outside each part, and last over all.
    """
    n_parts, size = goal.part.max() + 1, n_values + 1  # missing values are last
    index, weight = goal.part * size + codes % size, goal.weight * learns
    each = [np.bincount(index, weight * numbers, n_parts * size) for numbers in (np.ones(len(codes)), *goal.targets.T)]
    sums = np.stack(each).reshape(len(each), n_parts, size)[..., :-1].swapaxes(0, 1)
    total = sums.sum(axis=0)
    return np.concatenate([total - sums, total[None]])


def _fit(
    split: Sequence[Sequence[str]], codes: np.ndarray, learns: np.ndarray, sums: np.ndarray, goal: Goal, least: int = 1
) -> _Fit:
    """Find the effects of tokens that are in some rows at least, with the best penalty."""
    counts: Counter[str] = Counter()
    for tokens, count in zip(split, np.bincount(codes[learns], minlength=len(split)).tolist()):
        counts.update(dict.fromkeys(tokens, count))
    names = tuple(token for token, count in counts.most_common(MOST_TOKENS) if count >= least)
    places = {token: k for k, token in enumerate(names)}
    tokens, whole = (Tokens.pair(part, places, len(names)) for part in (split, (tokens[:1] for tokens in split)))

    def find_numbers(sums: np.ndarray, penalty: float) -> np.ndarray:
        weights, *targets = sums
        rows = COUNT_UNIT * np.log1p(np.maximum(whole.collect(weights), 0))
        return np.stack([*(tokens.find_effects(its, weights, penalty) for its in targets), rows], axis=1)

    best = None
    for penalty in PENALTIES:
        x = np.empty((len(codes), len(goal.names) + 1))
        for part, others in enumerate(sums[:-1]):
            rows = np.flatnonzero(goal.part == part)
            x[rows] = _add_up_rows(tokens, find_numbers(others, penalty), codes[rows])
        errors = _square(goal.targets - x[:, :-1], goal, learns)
        if best is not None and errors.sum() > best[2].sum():
            break
        best = penalty, x, errors
    penalty, x, errors = best
    return _Fit(names, find_numbers(sums[-1], penalty), x, errors)


def _add_up_rows(tokens: Tokens, numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Sum numbers (n_tokens, k) of the tokens of the value of each row, (n, k); 0 where it is missing."""
    return np.stack([np.append(tokens.add_up(column), 0.0) for column in numbers.T], axis=1)[codes]


def name_groups(cells: Cells, rows: np.ndarray) -> bool:
    """Tell whether numbers may be names of groups or years: whole ones of which many occur several times."""
    codes, values = list_values(cells)
    counts = np.bincount(codes[rows] + 1, minlength=len(values) + 1)[1:]
    known = np.flatnonzero(counts)
    is_often = FEW_VALUES < len(known) <= counts.sum() / REPEATS
    return is_often and all(WHOLE_NUMBER.fullmatch(values[k]) for k in known)
