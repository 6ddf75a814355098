"""Several networks of one shape as one: every array of their states gets an axis of networks in front.

The mathematics means only the last two axes, (examples, units), and carries the others along. Numbers and vectors get
axes of length 1, so that they fit the weights of all networks: () and (1,) become (networks, 1, 1).
"""

from collections.abc import Callable, Sequence
from typing import Any

from xpnet.core.arrays import Array, Namespace
from xpnet.core.step import State

PARTS = ("layers", "optimizer", "dropout")


def join(states: Sequence[State], stack: Callable[[list[Array]], Array], xp: Namespace) -> State:
    """Join the states of networks into one, whose arrays have an axis of networks in front. It has no cost yet.

    Parameters
    ----------
    states
        The states. Weight decay may be None for some of them, which then have 0.
    stack
        Makes one array of several of the same shape; that of the backend.
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
    layers, optimizer, dropout = (join_nests([getattr(state, name) for state in states], stack, xp) for name in PARTS)
    return State(layers, optimizer, states[0].cost, dropout)


def split(
    joined: State, states: Sequence[State], unstack: Callable[[Array], Sequence[Array]], xp: Namespace
) -> list[State]:
    """Split a joined state into those of the networks, in the shapes of the states that were joined.

    Parameters
    ----------
    joined
        A state that has come of the joined one.
    states
        The states that were joined.
    unstack
        Makes copies of the parts of an array along its first axis; that of the backend.
    xp
        Namespace of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> states = [State(((np.full((2, 3), k), np.ones((1, 2))),), np.array(0.9), np.zeros(4)) for k in range(5)]
    >>> joined = join(states, np.stack, np)._replace(cost=np.zeros((5, 4)))
    >>> split(joined, states, list, np)[3].layers[0][0]
    array([[3, 3, 3],
           [3, 3, 3]])
    """
    nests = ([getattr(state, name) for state in states] for name in PARTS)
    parts = zip(*(_split(getattr(joined, name), nest, unstack, xp) for name, nest in zip(PARTS, nests)))
    costs = unstack(joined.cost)
    return [State(layers, optimizer, cost, dropout) for (layers, optimizer, dropout), cost in zip(parts, costs)]


def join_nests(nests: Sequence[Any], stack: Callable[[list[Array]], Array], xp: Namespace) -> Any:
    """Join nests of arrays into one; the parameters are those of `join`."""
    first = next((nest for nest in nests if nest is not None), None)
    if first is None:
        return None
    if isinstance(first, tuple):
        return _like(first, [join_nests(parts, stack, xp) for parts in zip(*nests, strict=True)])
    joined = stack([0.0 * first if x is None else x for x in nests])
    return joined if first.ndim == 2 else xp.reshape(joined, (len(nests), 1, -1))


def _split(joined: Any, nests: Sequence[Any], unstack: Callable[[Array], Sequence[Array]], xp: Namespace) -> list[Any]:
    first = next((nest for nest in nests if nest is not None), None)
    if first is None:
        return [None] * len(nests)
    if isinstance(first, tuple):
        parts = [_split(part, [nest[i] for nest in nests], unstack, xp) for i, part in enumerate(joined)]
        return [_like(first, part) for part in zip(*parts)] if parts else [first] * len(nests)
    if first.ndim < 2:
        joined = xp.reshape(joined, (len(nests), *first.shape))
    return [None if nest is None else x for x, nest in zip(unstack(joined), nests)]


def _like(nest: tuple[Any, ...], parts: Sequence[Any]) -> Any:
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)
