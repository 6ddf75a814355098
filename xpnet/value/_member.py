"""The state of a network that is joined with others, copied only when it is needed."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from xpnet.core.arrays import Layers
from xpnet.core.step import State


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
        self._layers: Any = None
        self._state: Any = None
        self._lock = Lock()  # several threads may read a network

    @property
    def layers(self) -> Layers:
        """Its layers."""
        with self._lock:
            return self._state.layers if self._joined is None else self._copy_layers(self._joined)

    def state(self) -> State:
        """Return its state."""
        with self._lock:
            joined = self._joined
            if joined is not None:
                layers = self._copy_layers(joined)
                rest = self._copy(joined._replace(layers=()), self._k, self._axes._replace(layers=()))
                self._state, self._joined = rest._replace(layers=layers), None
            return self._state

    def __reduce__(self) -> Any:
        """Copy and pickle the state, not what it is a part of."""
        return whole, (self.state(),)

    def _copy_layers(self, joined: State) -> Layers:
        if self._layers is None:
            self._layers = self._copy(joined.layers, self._k, self._axes.layers)
        return self._layers


def whole(state: State | MemberState) -> State:
    """Return a state, copied out of the joined state if it is part of one."""
    return state.state() if isinstance(state, MemberState) else state
