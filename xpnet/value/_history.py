"""How a network was made and trained: `History`, the quantities of every epoch, and `Provenance`, all runs."""

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

from xpnet._checks import choices, printable
from xpnet._names import suggest

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
            raise KeyError(f"{name!r} is not in this history; it has {choices(names)}{suggest(name, names)}")
        return names.get(name, [])

    def __repr__(self) -> str:
        if not self.rows:
            return "History(0 epochs)"
        return f"History({len(self)} epochs, cost {self.rows[0]['cost']:.6g} -> {self.rows[-1]['cost']:.6g})"

    def _repr_html_(self) -> str:
        """Return a table of the epochs for notebooks; of a long training, the first epochs and the last ones."""
        columns, rows = self.to_dict() or {"epoch": []}, [*range(len(self))]
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


def make_table(lines: Sequence[Sequence[object]], left: Sequence[int] = (), caption: str = "") -> str:
    """Lay out rows of values as a table; the first row is its head.

    Parameters
    ----------
    lines
        The rows.
    left
        Numbers of the columns that are aligned left; the others are aligned right.
    caption
        A line above the table; none if it is empty.

    Examples
    --------
    >>> print(make_table([["layer", "name"], [1, "<b>"]], left=[1]))
    <table>
    <thead><tr><th style="text-align: right">layer</th><th style="text-align: left">name</th></tr></thead>
    <tbody>
    <tr><td style="text-align: right">1</td><td style="text-align: left">&lt;b&gt;</td></tr>
    </tbody>
    </table>
    """
    head, *rows = (
        [(escape(str(value)), "left" if k in left else "right") for k, value in enumerate(line)] for line in lines
    )
    line = '<caption style="caption-side: top; text-align: left">' + escape(caption) + "</caption>\n"
    return "\n".join(
        [
            f"<table>\n{line if caption else ''}<thead>{_make_row('th', head)}</thead>",
            "<tbody>",
            *(_make_row("td", row) for row in rows),
            "</tbody>\n</table>",
        ]
    )


def _make_row(tag: str, cells: Sequence[tuple[str, str]]) -> str:
    return "<tr>" + "".join(f'<{tag} style="text-align: {side}">{text}</{tag}>' for text, side in cells) + "</tr>"


MOST_RUNS = 100  # that a network keeps: a loop may call `train` with another learning rate each time


class Run(NamedTuple):
    """One call to `train`, or several equal ones in a row.

    Parameters
    ----------
    epochs
        Number of epochs that were asked for; the history of the network has those that ran in the last call.
    batch_size
        Number of examples in a minibatch.
    sampling
        How minibatches were drawn; of an iterable of batches, how many were an epoch, if that was given.
    optimizer
        The optimizer, as the call that makes it; one of your own by the name of its class.
    lr
        The learning rate: a number, or a schedule; a function of your own by its name. Estimators add how it changes
        between epochs, as in "0.1, adaptive". Empty if the optimizer has none.
    alpha
        The penalty of the estimators, α/2m ‖w‖²; if examples are weighted, divided by the largest weight.
    backend, device
        Where it ran.
    processes
        Number of processes that shared it.
    versions
        The versions of Python, NumPy and its BLAS, of the backend's library, and of xpnet.
    calls
        Number of equal calls in a row.
    resumed
        Whether it went on with the run before it, in another place or with other versions.
    """

    epochs: int
    batch_size: int
    sampling: str
    optimizer: str
    lr: str
    alpha: float
    backend: str
    device: str
    processes: int
    versions: str
    calls: int = 1
    resumed: bool = False

    @property
    def setting(self) -> tuple[Any, ...]:
        """Where and with which versions it ran."""
        return self.backend, self.device, self.processes, self.versions

    def describe(self) -> list[str]:
        """Describe it in two lines."""
        penalty = f" and alpha={self.alpha:g}" if self.alpha else ""
        rate = f", lr={self.lr}" if self.lr else ""
        calls = f"{self.calls} times " if self.calls > 1 else ""
        verb = "Training resumed:" if self.resumed else "Trained"
        place = f"{self.backend} on {self.device}" + (f", {self.processes} processes" if self.processes > 1 else "")
        how = f"epochs={self.epochs}, batch_size={self.batch_size}, sampling={self.sampling!r}"
        lines = [f"{verb} {calls}by {self.optimizer}{rate}{penalty}; {how}", f"  with {place}; {self.versions}"]
        return [printable(line) for line in lines]


class Provenance(NamedTuple):
    """How a network was made and trained; ``print`` shows it.

    Parameters
    ----------
    seed
        The seed of the network. If none was given, the number that was drawn in its place, which gives the same network
        again. For the network of an estimator, its `random_state`, if that is a number. None if it is not known.
    init
        The name of the initializer, or those of all layers; None if it is not known.
    runs
        The calls to `train`, in their order.
    edited
        Whether the program has changed weights by itself: assigned them, or called `minibatch_update`.
    earlier
        Number of calls to `train` before those in `runs`, which holds the last 100 that differ.

    Examples
    --------
    >>> from xpnet import Network
    >>> print(Network([3, 4, 2], activation="relu", task="classification", seed=1).provenance)
    Seed 1, initial weights he_normal, scaled_normal
    """

    seed: Any = None
    init: str | None = None
    runs: tuple[Run, ...] = ()
    edited: bool = False
    earlier: int = 0

    def __str__(self) -> str:
        return "\n".join(self.describe())

    def describe(self) -> list[str]:
        """Describe it line by line."""
        seed = "not known" if self.seed is None else self.seed
        first = f"Seed {seed}, initial weights {'not known' if self.init is None else self.init}"
        first += "; weights were changed besides training" if self.edited else ""
        if self.earlier:
            first += f"; {self.earlier} earlier calls to train are not listed"
        return [printable(first), *(line for run in self.runs for line in run.describe())]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as in JSON."""
        return {**self._asdict(), "runs": [run._asdict() for run in self.runs]}

    def add(self, run: Run, resumed: bool = False) -> "Provenance":
        """Add a run, which may continue the last one after an interruption.

        Examples
        --------
        >>> run = Run(5, 30, "shuffle", "SGD()", "0.1", 0.0, "numpy", "cpu", 1, "numpy 2.0")
        >>> [one.calls for one in Provenance().add(run).add(run).add(run._replace(epochs=6)).runs]
        [2, 1]
        >>> [one.calls for one in Provenance().add(run).add(run, resumed=True).runs]
        [1]
        >>> [one.resumed for one in Provenance().add(run).add(run._replace(backend="jax"), resumed=True).runs]
        [False, True]
        """
        runs = list(self.runs)
        if resumed and runs and runs[-1].setting != run.setting:
            run = run._replace(resumed=True)
        elif resumed and runs:  # it takes the place of the last call
            last = runs.pop()
            run = run._replace(resumed=last.resumed)
            runs += [last._replace(calls=last.calls - 1)] if last.calls > 1 else []
        if runs and not run.resumed and runs[-1]._replace(calls=1) == run:
            run = run._replace(calls=runs.pop().calls + 1)
        left_out = runs[: max(0, len(runs) + 1 - MOST_RUNS)]
        earlier = self.earlier + sum(one.calls for one in left_out)
        return self._replace(runs=(*runs[len(left_out) :], run), earlier=earlier)


def name_of(function: Any) -> str:
    """Return the name of a function, or of the class of an object.

    Examples
    --------
    >>> name_of(len), name_of(partial(len, [])), name_of(1.5)
    ('len', 'len', 'float')
    """
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
