"""Which library trains a network fastest on this machine? A step of training, timed on every backend and device."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import BACKENDS, get_backend, load
from xpnet.errors import BackendError, between, count, unknown
from xpnet.inspection import table
from xpnet.network import Network

PAUSE = 0.06  # seconds: threads of a library spin on after their work, and would slow the next one
LEAST, MOST = 10, 10_000  # steps of a repetition, where their time decides how many
NUMBERS = 2**25  # that random inputs may have, unless LEAST steps need more: 128 MiB in float32


class Library(NamedTuple):
    """An array library, and where it can compute on this machine; printed, it is a line of ``xpnet backends``."""

    name: str
    devices: tuple[str, ...]
    reason: str = ""  # why it cannot be used, and what to do

    def __str__(self) -> str:
        """Name and devices, or the reason."""
        found = f"cannot be used: {self.reason}" if self.reason else f"can be used on {', '.join(self.devices)}"
        return f"{self.name:8}{found}"


@dataclass(frozen=True)
class Comparison:
    """What `compare_backends` found; printing it shows a table, and says which is the fastest.

    Attributes
    ----------
    title : str
        What was timed.
    rows : list of dict
        For each backend and device, the fastest first: ``backend``, ``device``, ``seconds`` (a step: the median over
        the repetitions), ``low`` and ``high`` (its quartiles), ``steps`` (of a repetition), ``examples_per_second``,
        and ``relative`` (seconds divided by those of the fastest).
    unusable : list of Library
        Libraries that cannot be used here, each with the reason.
    """

    title: str
    rows: list[dict[str, Any]]
    unusable: list[Library]

    @property
    def fastest(self) -> dict[str, Any]:
        """The row with the least time a step."""
        return self.rows[0]

    def __repr__(self) -> str:
        """Title, table of what can be used, reasons of what cannot, and the fastest."""
        head = ["backend", "device", "µs a step", "quartiles", "examples/s", "relative"]
        lines = [
            [
                row["backend"],
                row["device"],
                f"{1e6 * row['seconds']:,.1f}",
                f"{1e6 * row['low']:,.1f} to {1e6 * row['high']:,.1f}",
                f"{row['examples_per_second']:,.0f}",
                f"{row['relative']:.2f}",
            ]
            for row in self.rows
        ]
        shown = [self.title, table([head, *lines], left=(0, 1)), *map(str, self.unusable), self._verdict()]
        return "\n".join(shown)

    def _verdict(self) -> str:
        best, *others = self.rows
        near = [_place(row) for row in others if row["low"] <= best["high"]]
        doubt = f" (too close to call: {', '.join(near)})" if near else ""
        return f"Fastest: {_place(best)}, {1e6 * best['seconds']:,.1f} µs a step{doubt}"


def compare_backends(
    net: Network,
    batch_size: int = 10,
    *,
    steps: int | None = None,
    seconds: float = 0.2,
    repeats: int = 7,
    backends: Sequence[str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Time a step of training a network on every backend and device of this machine, one after the other.

    Each trains a copy of the network, so all begin with the same weights, as `time_step` says.

    Parameters
    ----------
    net
        The network, on any backend; it is not changed.
    batch_size, steps, seconds, repeats, seed
        As in `time_step`.
    backends
        Names of those to time; all unless given.

    Returns
    -------
    Comparison
        A row for each backend and device, the fastest first; and why the others cannot be used.

    Raises
    ------
    ValueError
        If an argument is wrong.
    BackendError
        If no backend can be used.

    Examples
    --------
    >>> found = compare_backends(Network([4, 3, 2], seed=0), backends=["numpy"], steps=10, repeats=3)
    >>> found.fastest["backend"], found.fastest["relative"], len(found.rows)
    ('numpy', 1.0, 1)
    """
    _check(batch_size, steps, seconds, repeats)
    rows, unusable = [], []
    for library in libraries(_names(backends)):
        if library.reason:
            unusable.append(library)
        for device in library.devices:
            try:
                there = net.to(library.name, device)
                each, taken = time_step(there, batch_size, steps=steps, seconds=seconds, repeats=repeats, seed=seed)
            except (RuntimeError, TypeError, MemoryError) as error:  # as float64, or memory, that it has not
                unusable.append(Library(library.name, (), f"on {device}: {error}"))
            else:
                rows.append({"backend": library.name, "device": device, **_summary(each), "steps": taken})
    if not rows:
        raise BackendError("no backend can be used: " + "; ".join(each.reason for each in unusable))
    rows.sort(key=lambda row: row["seconds"])
    for row in rows:
        row["examples_per_second"] = batch_size / row["seconds"]
        row["relative"] = row["seconds"] / rows[0]["seconds"]
    return Comparison(_title(net, batch_size, repeats), rows, unusable)


def time_step(
    net: Network,
    batch_size: int = 10,
    *,
    steps: int | None = None,
    seconds: float = 0.2,
    repeats: int = 7,
    seed: int = 0,
) -> tuple[np.ndarray, int]:
    """Time a step of training a network where it is, by the ``seconds`` of the history of `Network.train`.

    A repetition is an epoch of random examples. The first one, in which libraries compile and caches fill, does not
    count. The learning rate is 0: a step computes all that it would with another, and weights stay as they are.

    Parameters
    ----------
    net
        The network; a copy of it is trained, by its own optimizer.
    batch_size
        Examples of a step.
    steps
        Steps of a repetition; unless given, as many as take about `seconds`, from 10 to 10,000, fewer if the examples
        would fill much memory.
    seconds
        What a repetition is to take.
    repeats
        How many repetitions count.
    seed
        Of the examples.

    Returns
    -------
    each : ndarray
        Seconds a step, one number for each repetition.
    steps : int
        Steps of a repetition.

    Examples
    --------
    >>> each, steps = time_step(Network([4, 3, 2], seed=0), steps=10, repeats=3)
    >>> each.shape, steps, bool((each > 0).all())
    ((3,), 10, True)
    """
    _check(batch_size, steps, seconds, repeats)
    net = net.copy()
    time.sleep(PAUSE)
    steps = _steps_in(seconds, net, batch_size, seed) if steps is None else steps
    return _epochs(net, batch_size, steps, repeats, seed), steps


def libraries(names: Sequence[str] = tuple(BACKENDS)) -> Iterator[Library]:
    """Look for libraries by name: where each can be used, or why it cannot.

    Examples
    --------
    >>> print(*libraries(["numpy"]))
    numpy   can be used on cpu
    """
    for name in names:
        try:
            backend = load(name)
            get_backend(name)
            yield Library(name, tuple(backend.devices()))
        except RuntimeError as error:
            yield Library(name, (), str(error))


def random_examples(net: Network, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs and targets that a network can learn from: (n, n_in) and classes (n,), or rows (n, n_out).

    Examples
    --------
    >>> x, y = random_examples(Network([4, 3, 2], seed=0), n=5)
    >>> x.shape, x.dtype, y.shape
    ((5, 4), dtype('float32'), (5,))
    """
    rng, n_out = np.random.default_rng(seed), net.sizes[-1]
    x = rng.standard_normal((n, net.sizes[0]), np.dtype(net.dtype).type)
    if net.task == "classification":
        return x, rng.integers(n_out, size=n)
    if net.task == "regression":
        low, high = max(net.sigmas[-1].low, -1.0), min(net.sigmas[-1].high, 1.0)
        return x, rng.uniform(low, high, (n, n_out))
    return x, rng.integers(2, size=(n, n_out))


def _steps_in(seconds: float, net: Network, batch_size: int, seed: int) -> int:
    """How many steps take about so long, by trying more and more: an epoch has its own cost, large beside few steps."""
    most = max(LEAST, min(MOST, NUMBERS // (batch_size * (net.sizes[0] + net.sizes[-1]))))
    steps = LEAST
    while True:
        each = max(_epochs(net, batch_size, steps, 1, seed)[0], 1e-9)
        if steps == most or steps * each > 0.7 * seconds:
            return steps
        steps = int(min(most, max(2 * steps, seconds / each)))


def _epochs(net: Network, batch_size: int, steps: int, repeats: int, seed: int) -> np.ndarray:
    """Seconds a step of each epoch but the first."""
    data = random_examples(net, steps * batch_size, seed)
    history = net.train(data, 1 + repeats, batch_size, lr=0.0, progress=False)
    return np.array(history["seconds"][1:]) / steps


def _check(batch_size: int, steps: int | None, seconds: float, repeats: int) -> None:
    count("batch_size", batch_size, 1)
    if steps is not None:
        count("steps", steps, 1)
    between("seconds", seconds, 0, np.inf, "0.2 is usual")
    count("repeats", repeats, 1)


def _names(given: Sequence[str] | None) -> list[str]:
    """Names of backends, each once."""
    names = list(BACKENDS) if given is None else list(dict.fromkeys([given] if isinstance(given, str) else given))
    if not names:
        raise ValueError(f"backends={given!r} names none; leave it out for all")
    for name in names:
        if name not in BACKENDS:
            raise BackendError(unknown("backend", name, BACKENDS))
    return names


def _summary(each: np.ndarray) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = (float(part) for part in np.quantile(each, [0.25, 0.5, 0.75]))
    return {"seconds": middle, "low": low, "high": high}


def _title(net: Network, batch_size: int, repeats: int) -> str:
    hidden = dict.fromkeys(net.activation)
    functions = [*hidden, net.output_activation, net.cost_name]
    sizes = "-".join(map(str, net.sizes))
    return (
        f"A step of {sizes} ({', '.join(functions)}), batch {batch_size}, {net.dtype}: median of {repeats} repetitions"
    )


def _place(row: dict[str, Any]) -> str:
    return f"{row['backend']} on {row['device']}"
