"""History: the quantities of every epoch of a training."""

from collections.abc import Iterator, Sequence
from typing import Any

from xpnet._checks import choices
from xpnet._names import find_nearest
from xpnet.value._html import make_table

ROWS_SHOWN = 6  # in a notebook, at the beginning and at the end


class History:
    """The quantities of every epoch.

    ``history["cost"]`` is a list with one entry per epoch; ``history.rows`` is a list of dicts. Every epoch has
    ``epoch``, ``cost`` (the mean over its examples, each seen before the update of its own minibatch), ``lr`` (of its
    last step), ``seconds`` and ``examples_per_second``; with validation data ``validation_cost``; with test data
    ``test_cost``, and unless it is a regression ``test_size``, ``test_correct`` and ``test_accuracy``; and metrics by
    their names, as in ``validation_accuracy`` and ``training_accuracy``.

    Examples
    --------
    >>> history = History([{"epoch": 1, "cost": 0.5}])
    >>> history["cost"]
    [0.5]
    >>> history.to_dict()
    {'epoch': [1], 'cost': [0.5]}

    See Also
    --------
    xpnet.plots.history : Draws it.
    """

    def __init__(self, rows: Sequence[dict[str, Any]] = ()) -> None:
        self.rows = list(rows)
        self.engine = ""  # how most of the steps ran, as in `Network.engine`

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles hold."""
        return {**vars(self), "rows": self.copy_rows()}

    def copy_rows(self) -> list[dict[str, Any]]:
        """Copy the rows as they are now: another thread may be training, and add to the last one."""
        return [row.copy() for row in list(self.rows)]

    def __len__(self) -> int:
        """Count the epochs."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        return iter(self.rows)

    def __getitem__(self, name: str | int | slice) -> Any:
        """Look up one quantity over the epochs by its name, or the row of one epoch by its number."""
        if not isinstance(name, str):
            return self.rows[name]
        names = self.to_dict()
        if name not in names and self.rows:
            near = find_nearest(name, names)
            hint = f" (did you mean {near!r}?)" if near else ""
            raise KeyError(f"{name!r} is not in this history; it has {choices(names)}{hint}")
        return names.get(name, [])

    def __repr__(self) -> str:
        if not self.rows:
            return "History(0 epochs)"
        return f"History({len(self)} epochs, cost {self.rows[0]['cost']:.6g} -> {self.rows[-1]['cost']:.6g})"

    def _repr_html_(self) -> str:
        """Return a table of the epochs for notebooks; of a long training, the first epochs and the last ones."""
        if not self.rows:
            return make_table([["epoch"]], caption=repr(self))
        columns, rows = self.to_dict(), [*range(len(self))]
        shown = rows if len(rows) <= 2 * ROWS_SHOWN else [*rows[:ROWS_SHOWN], None, *rows[-ROWS_SHOWN:]]
        lines = [["…" if k is None else _format(values[k]) for values in columns.values()] for k in shown]
        return make_table([[*columns], *lines], caption=repr(self))

    def to_dict(self) -> dict[str, list[Any]]:
        """Return every quantity over the epochs; None where an epoch lacks it."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row.get(name) for row in self.rows] for name in names}

    def to_pandas(self) -> Any:
        """Make a pandas DataFrame with one row per epoch (``pip install pandas``)."""
        try:
            import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
        except ImportError as error:
            raise ImportError(f"to_pandas needs pandas ({error}); install it with: pip install pandas") from error
        return pd.DataFrame(self.rows)


def _format(value: Any) -> str:
    """Format a value of a row: numbers with six digits, and nothing where the epoch lacks it."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
