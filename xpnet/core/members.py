"""Joining the states of several networks of one shape: every array gets a leading axis of networks.

The mathematics uses only the last two axes, (examples, units), and carries the others along. Numbers and vectors get
axes of length 1, so that they broadcast against the weights of all networks: () and (1,) become (networks, 1, 1).
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeAlias

from xpnet.core.arrays import Array, Layers, Namespace, Nest, combine_arrays, map_arrays
from xpnet.core.step import State

__all__ = [
    "MemberState",
    "dimensions",
    "extract",
    "join",
    "join_nests",
    "whole",
]

Axes: TypeAlias = "int | tuple[Axes, ...] | None"  # a nest of the numbers of axes of arrays

FIELDS = ("layers", "optimizer", "dropout")


def join(states: Sequence[State], stack: Callable[[list[Array]], Array], xp: Namespace) -> State:
    """Join the states of networks into one, whose arrays have a leading axis of networks. Its cost is not joined.

    Parameters
    ----------
    states
        The states. If weight decay is None for some of them, it becomes 0.
    stack
        Stacks arrays of the same shape, as the backend's `stack` does.
    xp
        Namespace of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> state = State(((np.ones((2, 3)), np.ones((1, 2))),), np.array(0.9), np.zeros(4))
    >>> joined = join([state] * 5, np.stack, np)
    >>> joined.layers[0][0].shape, joined.optimizer.shape
    ((5, 2, 3), (5, 1, 1))
    """
    layers, optimizer, dropout = (join_nests([getattr(state, name) for state in states], stack, xp) for name in FIELDS)
    return State(layers, optimizer, states[0].cost, dropout)


def dimensions(state: State) -> State:
    """List the number of axes of each array of a state, for `extract`."""
    return map_arrays(lambda x: x.ndim, state)


def extract(joined: Any, k: int, axes: Axes, take: Callable[[Array, int], Array], xp: Namespace) -> Any:
    """Copy the part of one network out of a joined nest of arrays.

    Parameters
    ----------
    joined
        A nest of arrays with an axis of networks, such as the layers of a joined state.
    k
        The index of the network on that axis.
    axes
        The number of axes of each array of the network before it was joined; None for an array that it does not have.
    take
        Copies an item of an array's first axis, as the backend's `take_part` does.
    xp
        Namespace of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> states = [State(((np.full((2, 3), k), np.ones((1, 2))),), np.array(0.9), np.zeros(4)) for k in range(5)]
    >>> joined, axes, take = join(states, np.stack, np), dimensions(states[3]), lambda x, k: x[k].copy()
    >>> extract(joined.layers, 3, axes.layers, take, np)[0][0]
    array([[3, 3, 3],
           [3, 3, 3]])
    >>> extract(joined.optimizer, 3, axes.optimizer, take, np)
    array(0.9)
    """

    def copy(n_axes: int, whole: Array) -> Array:
        part = take(whole, k)
        return part if n_axes == 2 else xp.reshape(part, (-1,) if n_axes else ())

    return combine_arrays(copy, axes, joined)


def join_nests(nests: Sequence[Nest], stack: Callable[[list[Array]], Array], xp: Namespace) -> Any:
    """Join nests of arrays into one; the parameters are those of `join`."""
    first = next((nest for nest in nests if nest is not None), None)
    if first is None:
        return None
    if isinstance(first, tuple):
        return getattr(first, "_make", tuple)(join_nests(parts, stack, xp) for parts in zip(*nests, strict=True))
    arrays: list[Any] = [0.0 * first if x is None else x for x in nests]
    joined = stack(arrays)
    return joined if first.ndim == 2 else xp.reshape(joined, (len(nests), 1, -1))


class MemberState:
    """The state of one of several joined networks, copied out of the joined state only when needed.

    Most states in the middle of a training are never read, and copying many small arrays takes longer than the steps.

    Parameters
    ----------
    joined
        The joined state; it is held until the whole state has been copied.
    k
        The index of the network.
    axes
        The `dimensions` of its state before it was joined.
    copy
        A function (nest, k, axes) that copies the part of the network out of a nest.
    """

    def __init__(self, joined: State, k: int, axes: State, copy: Callable[[Any, int, Any], Any]) -> None:
        self._joined: State | None = joined
        self._k, self._axes, self._copy = k, axes, copy
        self._parts: dict[str, Any] = {}  # that have been copied
        self._lock = Lock()  # several threads may read a network

    @property
    def layers(self) -> Layers:
        """Its layers."""
        return self._take("layers")

    def state(self) -> State:
        """Return its state."""
        return State(*map(self._take, State._fields))

    def __reduce__(self) -> Any:
        """Copy and pickle the state, not what it is a part of."""
        return whole, (self.state(),)

    def _take(self, name: str) -> Any:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = self._copy(getattr(self._joined, name), self._k, getattr(self._axes, name))
            if len(self._parts) == len(State._fields):
                self._joined = None
            return self._parts[name]


def whole(state: State | MemberState) -> State:
    """Return a state, copied out of the joined state if it is part of one."""
    return state.state() if isinstance(state, MemberState) else state
