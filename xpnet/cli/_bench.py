"""Benchmark: the time of a training step on every backend and device of this machine."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import count, in_range
from xpnet._names import explain_unknown
from xpnet.backends import BACKENDS, get_backend, load_backend
from xpnet.errors import ArgumentError, BackendError
from xpnet.inference import table
from xpnet.network.network import Network
from xpnet.value import History

PAUSE = 0.06  # seconds in which a library's threads stop spinning; they would slow down the next library
NOTICEABLE = 0.2  # seconds that one library must start before another, for this to be said
FEWEST_STEPS, MOST_STEPS = 10, 10_000  # in a repetition of about `seconds`
MOST_ELEMENTS = 2**25  # of the random inputs (128 MiB in float32), unless FEWEST_STEPS steps need more


class Library(NamedTuple):
    """An array library and its devices on this machine; its text is a line of ``xpnet backends``."""

    name: str
    devices: tuple[str, ...]
    reason: str = ""  # why it cannot be used, and the remedy
    remark: str = ""  # how it repeats steps

    def __str__(self) -> str:
        """Show the name and the devices, or the reason."""
        if self.reason:
            return f"{self.name:8}cannot be used: {self.reason}"
        return f"{self.name:8}can be used on {', '.join(self.devices)}, {self.remark}"


@dataclass(frozen=True)
class Comparison:
    """The result of `compare_backends`; printing it shows a table and names the fastest backend.

    Attributes
    ----------
    title : str
        The step that was timed.
    rows : list of dict
        For each backend and device, the fastest first: ``backend``, ``device``, ``seconds`` (a step: the median over
        the repetitions), ``low`` and ``high`` (its quartiles), ``steps`` (of a repetition), ``examples_per_second``,
        ``relative`` (seconds divided by the seconds of the fastest), and ``start`` (seconds that the first training
        takes besides its steps, as to compile them).
    unusable : list of Library
        Libraries that cannot be used here, with the reasons.
    """

    title: str
    rows: list[dict[str, Any]]
    unusable: list[Library]

    @property
    def fastest(self) -> dict[str, Any]:
        """The row with the shortest time per step."""
        return self.rows[0]

    def __repr__(self) -> str:
        """Show title, table, the reasons why libraries cannot be used, and the fastest."""
        head = ["backend", "device", "µs a step", "quartiles", "examples/s", "relative", "start, s"]
        lines = [
            [
                row["backend"],
                row["device"],
                f"{1e6 * row['seconds']:,.1f}",
                f"{1e6 * row['low']:,.1f} to {1e6 * row['high']:,.1f}",
                f"{row['examples_per_second']:,.0f}",
                f"{row['relative']:.2f}",
                f"{row['start']:.2f}",
            ]
            for row in self.rows
        ]
        shown = [self.title, table([head, *lines], left=(0, 1)), *map(str, self.unusable), self._verdict()]
        return "\n".join(shown)

    def _verdict(self) -> str:
        best, *others = self.rows
        near = [_format_place(row) for row in others if row["low"] <= best["high"]]
        doubt = f" (too close to call: {', '.join(near)})" if near else ""
        verdict = f"Fastest: {_format_place(best)}, {1e6 * best['seconds']:,.1f} µs a step{doubt}"
        # How long a training must be for the fastest to make up for its start
        lengths = {
            _format_place(row): (best["start"] - row["start"]) / (row["seconds"] - best["seconds"])
            for row in others
            if best["start"] - row["start"] > NOTICEABLE and row["seconds"] > best["seconds"]
        }
        if not lengths:
            return verdict
        sooner = max(lengths, key=lengths.__getitem__)
        return f"{verdict}\nFor a training of fewer than {lengths[sooner]:,.0f} steps: {sooner}, which starts sooner"


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
    """Time a training step of a network on each backend and device of this machine in turn.

    Each backend trains a copy of the network, so all start with the same weights; see `time_step`.

    Parameters
    ----------
    net
        The network, on any backend. It is not changed.
    batch_size, steps, seconds, repeats, seed
        As in `time_step`.
    backends
        Names of the backends to time; by default all.

    Returns
    -------
    Comparison
        One row for each backend and device, the fastest first, and the reasons why other libraries cannot be used.

    Raises
    ------
    ArgumentError
        If an argument is wrong.
    BackendError
        If no backend can be used.

    Examples
    --------
    >>> comparison = compare_backends(Network([4, 3, 2], seed=0), backends=["numpy"], steps=10, repeats=3)
    >>> comparison.fastest["backend"], comparison.fastest["relative"], len(comparison.rows)
    ('numpy', 1.0, 1)
    """
    _check(batch_size, steps, seconds, repeats)
    rows, unusable = [], []
    _train(Network([1, 1]), 1, 1, 1, seed)  # so that the start of the first library is not also that of xpnet itself
    for library in list_libraries(_parse_backends(backends)):
        if library.reason:
            unusable.append(library)
        for device in library.devices:
            try:
                there = net.to(library.name, device)
                times, taken, start = time_step(
                    there, batch_size, steps=steps, seconds=seconds, repeats=repeats, seed=seed
                )
            except (RuntimeError, TypeError, MemoryError) as error:  # no float64, or too little memory
                unusable.append(Library(library.name, (), f"on {device}: {error}"))
            else:
                rows.append(
                    {"backend": library.name, "device": device, **_summary(times), "steps": taken, "start": start}
                )
    if not rows:
        raise BackendError("no backend can be used: " + "; ".join(library.reason for library in unusable))
    rows.sort(key=lambda row: row["seconds"])
    for row in rows:
        row["examples_per_second"] = batch_size / row["seconds"]
        row["relative"] = row["seconds"] / rows[0]["seconds"]
    return Comparison(_describe_step(net, batch_size, repeats), rows, unusable)


def time_step(
    net: Network,
    batch_size: int = 10,
    *,
    steps: int | None = None,
    seconds: float = 0.2,
    repeats: int = 7,
    seed: int = 0,
) -> tuple[np.ndarray, int, float]:
    """Time a training step of a network on its own backend, using the ``seconds`` in the history of `Network.train`.

    A repetition is an epoch of random examples. The first one, in which libraries compile and caches fill, does not
    count. The learning rate is 0: a step computes as much as with any other rate, and the weights do not change.

    Parameters
    ----------
    net
        The network; a copy of it is trained, with its own optimizer.
    batch_size
        Examples in a minibatch.
    steps
        Steps in a repetition. By default, the number that takes about `seconds`, from 10 to 10,000; fewer if the
        examples would need much memory.
    seconds
        Length of a repetition.
    repeats
        Number of timed repetitions.
    seed
        Seed of the examples.

    Returns
    -------
    times : ndarray
        Seconds per step, one number for each repetition.
    steps : int
        Steps of a repetition.
    start : float
        Seconds that the first training took besides its steps, such as to compile them: 0 if this process compiled
        such a training before.

    Examples
    --------
    >>> times, steps, start = time_step(Network([4, 3, 2], seed=0), steps=10, repeats=3)
    >>> times.shape, steps, bool((times > 0).all())
    ((3,), 10, True)
    """
    _check(batch_size, steps, seconds, repeats)
    net = net.copy()
    time.sleep(PAUSE)
    few = FEWEST_STEPS if steps is None else min(FEWEST_STEPS, steps)
    began = time.perf_counter()
    _train(net, batch_size, few, 1, seed)
    first = time.perf_counter() - began
    steps = _choose_steps(seconds, net, batch_size, seed) if steps is None else steps
    times = _time_epochs(net, batch_size, steps, repeats, seed)
    return times, steps, max(0.0, first - few * float(np.median(times)))


def list_libraries(names: Sequence[str] = tuple(BACKENDS)) -> Iterator[Library]:
    """List libraries with their devices, or the reason why they cannot be used.

    Examples
    --------
    >>> print(*list_libraries(["numpy"]))  # doctest: +ELLIPSIS
    numpy   can be used on cpu...
    """
    for name in names:
        try:
            backend = load_backend(name)
            get_backend(name)
            yield Library(name, tuple(backend.devices()), remark=backend.remark)
        except RuntimeError as error:
            yield Library(name, (), str(error))


def random_examples(net: Network, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw random inputs (n, n_in) and targets for a network: classes (n,), or rows (n, n_targets).

    Examples
    --------
    >>> x, y = random_examples(Network([4, 3, 2], seed=0), n=5)
    >>> x.shape, x.dtype, y.shape
    ((5, 4), dtype('float32'), (5,))
    """
    rng, n_out = np.random.default_rng(seed), net.value.model.n_targets
    x = rng.standard_normal((n, net.sizes[0]), np.dtype(net.dtype).type)
    if net.task == "classification":
        return x, rng.integers(n_out, size=n)
    if net.task == "regression":
        low, high = max(net.sigmas[-1].low, -1.0), min(net.sigmas[-1].high, 1.0)
        return x, rng.uniform(low, high, (n, n_out))
    return x, rng.integers(2, size=(n, n_out))


def _choose_steps(seconds: float, net: Network, batch_size: int, seed: int) -> int:
    """Find how many steps take about `seconds`, by doubling: with few steps, the epoch's own overhead counts."""
    most = max(FEWEST_STEPS, min(MOST_STEPS, MOST_ELEMENTS // (batch_size * (net.sizes[0] + net.sizes[-1]))))
    steps = FEWEST_STEPS
    while True:
        step_time = max(_time_epochs(net, batch_size, steps, 1, seed)[0], 1e-9)
        if steps == most or steps * step_time > 0.7 * seconds:
            return steps
        steps = int(min(most, max(2 * steps, seconds / step_time)))


def _time_epochs(net: Network, batch_size: int, steps: int, repeats: int, seed: int) -> np.ndarray:
    """Measure the seconds per step in each epoch after the first."""
    return np.array(_train(net, batch_size, steps, 1 + repeats, seed)["seconds"][1:]) / steps


def _train(net: Network, batch_size: int, steps: int, epochs: int, seed: int) -> History:
    return net.train(random_examples(net, steps * batch_size, seed), epochs, batch_size, lr=0.0, progress=False)


def _check(batch_size: int, steps: int | None, seconds: float, repeats: int) -> None:
    count("batch_size", batch_size, 1)
    if steps is not None:
        count("steps", steps, 1)
    in_range("seconds", seconds, 0, np.inf, "0.2 is usual", includes_low=False)
    count("repeats", repeats, 1)


def _parse_backends(backends: Sequence[str] | None) -> list[str]:
    """List the names of backends without repetition."""
    if backends is None:
        return list(BACKENDS)
    names = list(dict.fromkeys([backends] if isinstance(backends, str) else backends))
    if not names:
        raise ArgumentError(f"backends={backends!r} is empty; leave it out to time all")
    for name in names:
        if name not in BACKENDS:
            raise BackendError(explain_unknown("backend", name, BACKENDS))
    return names


def _summary(times: np.ndarray) -> dict[str, float]:
    """Compute median and quartiles."""
    low, middle, high = (float(quantile) for quantile in np.quantile(times, [0.25, 0.5, 0.75]))
    return {"seconds": middle, "low": low, "high": high}


def _describe_step(net: Network, batch_size: int, repeats: int) -> str:
    hidden = dict.fromkeys(net.activation)
    functions = [*hidden, net.output_activation, net.cost_name]
    sizes = "-".join(map(str, net.sizes))
    return (
        f"A step of {sizes} ({', '.join(functions)}), batch {batch_size}, {net.dtype}: median of {repeats} repetitions"
    )


def _format_place(row: dict[str, Any]) -> str:
    return f"{row['backend']} on {row['device']}"
