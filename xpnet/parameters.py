"""What comes from outside into a network: weights, biases, a user's own functions. All of it is checked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xpnet.activations import Activation
from xpnet.arrays import Array, leaves, map_arrays, refill
from xpnet.backends import Backend
from xpnet.backprop import State
from xpnet.costs import Cost
from xpnet.data import numbers
from xpnet.names import ACTIVATIONS, COSTS

if TYPE_CHECKING:
    from xpnet.network import Network


class Fixed:
    """Base class of what keeps its settings and shows them: the rest was made of them, so none can be assigned."""

    fixed: ClassVar[tuple[str, ...]] = (
        *("sizes", "num_layers", "activation", "output_activation", "cost", "cost_name", "task", "asked_task"),
        *("sigmas", "output", "dropout", "scale", "standardize", "dtype", "backend", "optimizer", "seeds"),
    )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set what can be set, or is not there yet."""
        if name in self.fixed and "state" in vars(self):
            remedy = "call reset_optimizer(...)" if name == "optimizer" else "make a new Network"
            raise AttributeError(f"{name} of a network cannot be assigned; {remedy}")
        super().__setattr__(name, value)

    def __copy__(self: Any) -> Any:
        return self.copy()

    def __getstate__(self: Any) -> dict[str, Any]:
        """What a pickle holds: arrays as NumPy's, so that none becomes another than it was."""
        with self.backend.scope(self.dtype):
            state, scaling = map_arrays(self.backend.to_numpy, (self.state, self.scaling))
        return {**vars(self), "state": state, "scaling": scaling}

    def __setstate__(self: Any, known: dict[str, Any]) -> None:
        """Bring the arrays back to the device."""
        vars(self).update(known)
        with self.backend.scope(self.dtype):
            vars(self).update(state=self.owned(known["state"]), scaling=self.owned(known["scaling"]))

    def __repr__(self: Any) -> str:
        hidden = dict.fromkeys(self.activation)
        shown = {
            "activation": (self.activation[0] if len(hidden) == 1 else self.activation) if hidden else None,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "dropout": self.dropout if any(self.dropout) else None,
            "scale": self.scale,
            "standardize": self.standardize or None,
            "backend": self.backend.name,
            "device": self.backend.device_name,
            "dtype": self.dtype,
        }
        return f"Network({self.sizes}, {', '.join(f'{k}={v!r}' for k, v in shown.items() if v is not None)})"


def pairs(layers: Any) -> tuple[list[Any], list[Any]]:
    """Weights and biases of a list of pairs (w, b)."""
    if not isinstance(layers, (tuple, list)) or not all(
        isinstance(layer, (tuple, list)) and len(layer) == 2 for layer in layers
    ):
        raise TypeError("layers must be a list of pairs (w, b)")
    return [w for w, _ in layers], [b for _, b in layers]


def checked(net: "Network", name: str, arrays: Sequence[Any]) -> list[Array]:
    """Arrays of the network's own for its weights (`name` is "w") or its biases ("b")."""
    shapes = [(m, n) if name == "w" else (1, m) for n, m in zip(net.sizes, net.sizes[1:])]
    if not isinstance(arrays, (tuple, list)):
        raise TypeError(f"{name} must be a list of {len(shapes)} arrays, not a {type(arrays).__name__}")
    if len(arrays) != len(shapes):
        raise ValueError(f"{name} has {len(arrays)} arrays, but the network has {len(shapes)} layers of weights")
    found, backend = [], net.backend
    with backend.scope(net.dtype):
        for l, (array, shape) in enumerate(zip(arrays, shapes)):
            label = f"{name}[{l}]"
            x = numbers(array, label)
            wanted = shape if name == "w" else shape[1:]
            if tuple(x.shape) not in ({wanted} if name == "w" else {wanted, shape, shape[::-1]}):
                raise ValueError(f"{label} has shape {tuple(x.shape)}, but must have {wanted}")
            x = backend.asarray(x, net.dtype, label)
            if not backend.all_finite([x]):
                raise ValueError(f"{label} holds NaN or infinity")
            found.append(backend.own(backend.xp.reshape(x, shape)))
    return found


def renumbered(net: "Network") -> State:
    """State whose optimizer has its numbers anew, in the network's dtype; what it remembers stays."""
    with net.backend.scope(net.dtype):
        fresh = net.optimizer.init(net.state.layers, net.number)
    both = zip(leaves(fresh), leaves(net.state.optimizer))
    return net.state._replace(optimizer=refill(fresh, [new if new.ndim == 0 else old for new, old in both]))


def tried(backend: Backend, dtype: str, sigmas: Sequence[Activation], cost: Cost, sizes: Sequence[int]) -> None:
    """Call the functions of a user's own activations and cost once, to see that they give the right shapes."""
    with backend.scope(dtype), np.errstate(all="ignore"):
        for sigma, n in zip(sigmas, sizes[1:]):
            if sigma.name.partition("(")[0] not in ACTIVATIONS:
                z = backend.asarray(np.linspace(0.1, 0.9, 2 * n).reshape(2, n), dtype)
                _give(f"activation {sigma.name!r}: value", sigma.value(z, backend.xp), z, z.shape)
                _give(f"activation {sigma.name!r}: pullback", sigma.pullback(z, z, z, backend.xp), z, z.shape)
        if cost.name.partition("(")[0] not in COSTS and cost.value and cost.gradient:
            a, y = (backend.asarray(np.full((2, sizes[-1]), each), dtype) for each in (0.25, 0.5))
            _give(f"cost {cost.name!r}: value", cost.value(a, y, backend.xp), y, (2,))
            _give(f"cost {cost.name!r}: gradient", cost.gradient(a, y, backend.xp), y, y.shape)


def _give(what: str, found: Any, given: Array, shape: tuple[int, ...]) -> None:
    if tuple(getattr(found, "shape", (None,))) != tuple(shape) or found.dtype != given.dtype:
        is_ = f"shape {tuple(found.shape)} and dtype {found.dtype}" if hasattr(found, "dtype") else repr(found)
        raise ValueError(
            f"{what} must give an array of shape {tuple(shape)} and dtype {given.dtype} for one of shape "
            f"{tuple(given.shape)}, but gave {is_}"
        )
