"""Statistics: how much higher the target is, on average, in rows with a value that has no input of its own.

Such values are names, codes and numbers of groups, of which there are too many for an input each. A text counts as a
whole, and by its words, too, if that predicts better. The effects of all these tokens on the target are found by ridge
regression. Of a token that is alone in its n rows, the effect is then the mean of their targets less that of all rows,
times n / (n + penalty): target encoding, as in D. Micci-Barreca, "A Preprocessing Scheme for High-Cardinality
Categorical Attributes in Classification and Prediction Problems" (SIGKDD Explorations 3, 2001).

Where another column tells most, a group's effect is lost in the targets. So there are effects on what linear regression
on the usual inputs leaves of them, too, and these decide which tokens and which penalty predict best.

A row that is learnt from gets the statistics of rows outside its own part, as a new row gets those of all rows. What
would not predict rows of other parts beyond the usual inputs is left out, so that a column of random texts has no
statistics.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from xpnet.core.regression import Tokens
from xpnet.tables._cells import WHOLE_NUMBER, Cells, count_rows, number_texts, to_texts

PENALTIES = 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3  # in rows; the first one after which effects predict worse is last
MOST_TOKENS = 20_000
MOST_CLASSES = 10  # the most frequent ones, on which effects are inputs
FEW_VALUES = 64  # of a column that has no words, or of numbers that name nothing
REPEATS = 1.1  # how often numbers that name something occur, on average
SURE = 2.0  # standard errors by which the squared error must fall
SURE_BY_ROWS = 4.0  # the same, if rows count as independent, though each of two rows of a value predicts the other
LEAST_ROWS = 20
COUNT_UNIT = 0.25  # of the logarithm of how often a value occurs, which is then as large as other inputs
WORD = re.compile(r"[^\W\d_]+|\d+")


class Goal(NamedTuple):
    """The targets of the rows, whose means are the statistics.

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
    weights = np.ones(n) if weight is None else weight / weight.mean()
    if labels:
        frequent = np.argsort(-np.bincount(y), kind="stable")[:MOST_CLASSES] if len(labels) > 2 else [1]
        names = tuple(name for k, name in enumerate(labels) if k in frequent)
        targets = (y[:, None] == np.sort(frequent)).astype(np.float64)
    else:
        y = y.reshape(n, -1).astype(np.float64)
        names = tuple(map(str, range(y.shape[1]))) if y.shape[1] > 1 else ("",)
        low, middle, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(high > low, high - low, np.ptp(y, axis=0))
        targets = (y - middle) / np.where(spread > 0, spread, 1.0)
        targets /= np.sqrt(1 + (targets / 3) ** 2)
    return Goal(names, targets - np.average(targets, axis=0, weights=weights), weights, part)


@dataclass(frozen=True)
class StatisticsColumn:
    """The statistics of values: each of their tokens adds its numbers to the inputs."""

    kind: ClassVar[str] = "statistics"
    name: str
    targets: tuple[str, ...]
    words: bool  # whether texts are taken apart
    tokens: tuple[str, ...]
    numbers: tuple[float, ...]  # for each token its effects on the targets and on their rests, and how often it occurs

    def __post_init__(self) -> None:
        """Refuse numbers that are not those of the tokens."""
        _ = self.table

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        effects = [f"effect on {target!r}" if target else "effect" for target in self.targets]
        return tuple(f"{self.name} ({what})" for what in (*effects, *(f"further {its}" for its in effects), "rows"))

    @cached_property
    def table(self) -> np.ndarray:
        """The numbers of each token, (n_tokens, n_inputs)."""
        return np.asarray(self.numbers, np.float64).reshape(len(self.tokens), len(self.inputs))

    def encode(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs (n, n_inputs); no value is of a kind that training did not have."""
        cells = to_texts(cells)
        split = (split_words(value) if self.words else [value] for value in cells.values)
        tokens = Tokens.pair(split, self.places, len(self.tokens))
        return tokens.add_up(self.table)[cells.codes], np.zeros(cells.n_rows, bool)

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of each token in the table, and of whole numbers as pandas may write them, too."""
        return number_texts(self.tokens)

    def describe(self) -> str:
        """Describe what is done with the column."""
        return f"mean targets by {'text and word' if self.words else 'value'} ({len(self.tokens):,})"


def split_words(text: str) -> list[str]:
    """Return a text and its words; a text that is a word alone has no others.

    Examples
    --------
    >>> split_words("Flat 12b"), split_words("Flat")
    (['Flat 12b', 'flat', '12', 'b'], ['Flat'])
    """
    words = WORD.findall(text.lower())
    return [text] if words == [text.lower()] else [*dict.fromkeys([text, *words])]


class _Rows(NamedTuple):
    """Rows of a column to learn from."""

    goal: Goal
    codes: np.ndarray  # the numbers of their values; -1 where they are missing
    weight: np.ndarray  # 0 for rows that nothing is learnt from
    rest: np.ndarray  # of their targets, by the regression without their part, (n, n_targets)
    sums: np.ndarray  # weights, targets and rests of rows with each value: outside each part, and in all of them, last

    @classmethod
    def make(cls, goal: Goal, rest: np.ndarray, codes: np.ndarray, learns: np.ndarray, n_values: int) -> "_Rows":
        """Compute the sums, (n_parts + 1, 1 + 2 * n_targets, n_values)."""
        weight, size, sums = goal.weight * learns, n_values + 1, []
        for part, its_rest in enumerate(rest):
            its = weight * (goal.part != part)
            columns = its, *(its * np.hstack([goal.targets, its_rest]).T)
            sums.append([np.bincount(codes % size, column, size)[:-1] for column in columns])  # missing values are last
        return cls(goal, codes, weight, rest[goal.part, np.arange(len(codes))], np.array(sums))

    def square(self, errors: np.ndarray) -> np.ndarray:
        """Sum the weighted squares of errors of each row, (n,)."""
        return self.weight * (errors**2).sum(axis=1)

    def are_less(self, squares: np.ndarray, others: np.ndarray) -> bool:
        """Tell whether squares of errors are less than others, beyond chance; rows of a value are not independent."""
        gains, weights = (np.bincount(self.codes + 1, column) for column in (others - squares, self.weight))
        return _is_sure(gains, weights, SURE)

    def fit(self, split: Sequence[Sequence[str]], above: float = 0.0) -> "_Fit":
        """Find the effects of the tokens of values, whose weights are above some, with the best penalty."""
        counts: Counter[str] = Counter()
        for tokens, count in zip(split, self.sums[-1, 0].tolist()):
            counts.update(dict.fromkeys(tokens, count))
        names = tuple(token for token, count in counts.most_common(MOST_TOKENS) if count > above)
        places = {token: k for k, token in enumerate(names)}
        tokens, whole = (Tokens.pair(part, places, len(names)) for part in (split, (its[:1] for its in split)))

        def find_numbers(sums: np.ndarray, penalty: float) -> np.ndarray:
            weights, *targets = sums
            rows = COUNT_UNIT * np.log1p(whole.collect(weights))
            return np.stack([*(tokens.find_effects(its, weights, penalty) for its in targets), rows], axis=1)

        def cross_fit(penalty: float) -> tuple[np.ndarray, np.ndarray]:
            x = np.empty((len(self.codes), self.sums.shape[1]))
            for part, others in enumerate(self.sums[:-1]):
                rows = np.flatnonzero(self.goal.part == part)
                x[rows] = tokens.add_up(find_numbers(others, penalty))[self.codes[rows]]
            return x, self.square(self.rest - x[:, len(self.goal.names) : -1])

        best, (x, squares) = PENALTIES[0], cross_fit(PENALTIES[0])
        for penalty in PENALTIES[1:]:
            its_x, its_squares = cross_fit(penalty)
            if its_squares.sum() > squares.sum():
                break
            best, x, squares = penalty, its_x, its_squares
        return _Fit(names, find_numbers(self.sums[-1], best), x, squares)


class _Fit(NamedTuple):
    tokens: tuple[str, ...]
    numbers: np.ndarray  # of the tokens, (n_tokens, n_inputs), from all rows
    x: np.ndarray  # inputs of the rows, from those of other parts, (n, n_inputs)
    squares: np.ndarray  # of the errors of the rows, (n,)


def _is_sure(gains: np.ndarray, weights: np.ndarray, errors: float) -> bool:
    """Tell whether the sum of independent gains is more than a number of standard errors above 0."""
    spread = gains - weights * gains.sum() / weights.sum()
    return bool(gains.sum() > errors * np.sqrt((spread**2).sum()))


def learn_statistics(
    cells: Cells, rows: np.ndarray, goal: Goal, rest: np.ndarray, usual: Iterable[str], has_words: bool
) -> tuple[StatisticsColumn, np.ndarray] | None:
    """Learn the statistics of a column of texts, or of numbers that may name groups, unless they say nothing.

    Parameters
    ----------
    cells
        The cells of the column.
    rows
        The numbers of the rows of the goal.
    goal
        The targets of the rows.
    rest
        What other inputs leave of them, from `leave_residuals`.
    usual
        The values that have inputs of their own. Nothing is learnt from rows with these: together, both would tell the
        targets of a row's own part, by the difference.
    has_words
        Whether values may be taken apart.

    Returns
    -------
    column, x
        The column, and its inputs for the rows, (n, n_inputs), by the statistics of other parts; or None.
    """
    cells = to_texts(cells)
    codes, values, usual = cells.codes[rows], cells.values, {*usual}
    learns = np.array([*(value not in usual for value in values), False])[codes]
    if np.count_nonzero(learns) < LEAST_ROWS:
        return None
    data, words = _Rows.make(goal, rest, codes, learns, len(values)), False
    fit = data.fit([[value] for value in values])
    if has_words and np.count_nonzero(data.sums[-1, 0]) > FEW_VALUES:
        other = data.fit([split_words(value) for value in values], above=1.0)
        if words := data.are_less(other.squares, fit.squares):
            fit = other
    before = data.square(data.rest)
    predicts = data.are_less(fit.squares, before)
    if not (predicts or words):  # where one of few values has most of the gain, values tell little, and rows can tell
        predicts = _is_sure(before - fit.squares, data.weight, SURE_BY_ROWS)
    if not predicts:
        return None
    numbers = tuple(np.round(fit.numbers, 6).ravel().tolist())
    return StatisticsColumn(cells.column, goal.names, words, fit.tokens, numbers), fit.x


def name_groups(cells: Cells, rows: np.ndarray) -> bool:
    """Tell whether numbers may name groups or years: whole ones, of many values that occur several times."""
    cells = to_texts(cells)
    counts = count_rows(cells, rows)
    known = np.flatnonzero(counts)
    is_often = FEW_VALUES < len(known) <= counts.sum() / REPEATS
    return bool(is_often) and all(WHOLE_NUMBER.fullmatch(cells.values[k]) for k in known.tolist())
