"""Several networks of one shape as one: every array of their states gets an axis of networks in front.

The mathematics means only the last two axes, (examples, units), and carries the others along. Numbers and vectors get
axes of length 1, so that they fit the weights of all networks: () and (1,) become (networks, 1, 1).
"""

from collections.abc import Sequence
from typing import Any

from xpnet.core.arrays import Namespace
from xpnet.core.step import State

PARTS = ("layers", "optimizer", "dropout")


def join(states: Sequence[State], xp: Namespace) -> State:
    """Join the states of networks into one state, whose arrays have an axis of networks in front. The cost is not used.

    Weight decay may be None for some of them, which then have 0.

    Examples
    --------
    >>> import numpy as np
    >>> state = State(((np.ones((2, 3)), np.ones((1, 2))),), np.array(0.9), np.zeros(4))
    >>> joined = join([state] * 5, np)
    >>> joined.layers[0][0].shape, joined.optimizer.shape
    ((5, 2, 3), (5, 1, 1))
    """
    layers, optimizer, dropout = (_join([getattr(state, name) for state in states], xp) for name in PARTS)
    return State(layers, optimizer, states[0].cost, dropout)


def split(joined: State, states: Sequence[State], xp: Namespace) -> list[State]:
    """Split a joined state into those of the networks, in the shapes of the states that were joined.

    The arrays are views, where the library has views.

    Examples
    --------
    >>> import numpy as np
    >>> states = [State(((np.full((2, 3), k), np.ones((1, 2))),), np.array(0.9), np.zeros(4)) for k in range(5)]
    >>> joined = join(states, np)._replace(cost=np.zeros((5, 4)))
    >>> split(joined, states, np)[3].layers[0][0]
    array([[3, 3, 3],
           [3, 3, 3]])
    """
    parts = zip(*(_split(getattr(joined, name), [getattr(state, name) for state in states], xp) for name in PARTS))
    return [
        State(layers, optimizer, cost, dropout)
        for (layers, optimizer, dropout), cost in zip(parts, xp.unstack(joined.cost))
    ]


def _join(nests: Sequence[Any], xp: Namespace) -> Any:
    first = next((nest for nest in nests if nest is not None), None)
    if first is None:
        return None
    if isinstance(first, tuple):
        return _like(first, [_join(parts, xp) for parts in zip(*nests, strict=True)])
    arrays = [0.0 * first if x is None else x for x in nests]
    shape = (1,) * (2 - first.ndim) + tuple(first.shape)
    matrices = arrays if first.ndim >= 2 else [xp.reshape(x, shape) for x in arrays]
    return xp.stack([x.mT for x in matrices]).mT  # each in the memory order of a single network


def _split(joined: Any, nests: Sequence[Any], xp: Namespace) -> list[Any]:
    if joined is None:
        return [None] * len(nests)
    if isinstance(joined, tuple):
        parts = [_split(part, [nest[i] for nest in nests], xp) for i, part in enumerate(joined)]
        return [_like(joined, part) for part in zip(*parts)] if parts else [joined] * len(nests)
    return [
        None if like is None else x if x.ndim == like.ndim else xp.reshape(x, like.shape)
        for x, like in zip(xp.unstack(joined), nests)
    ]


def _like(nest: tuple[Any, ...], parts: Sequence[Any]) -> Any:
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)
