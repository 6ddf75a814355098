"""Activations of a user's own: of several kinds, and all of one name, so that only what they are tells them apart."""

from collections.abc import Callable
from functools import partial, wraps
from inspect import getclosurevars
from typing import Any

from xpnet.core.activations import tanh

FACTORS = (0.5, 1.0, 2.0)


class Bend:
    """Its state is the factor."""

    name = "bend"

    def __init__(self, by: float) -> None:
        self.by = by

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.by})"

    def value(self, z: Any, xp: Any) -> Any:
        return xp.tanh(self.by * z)

    def pullback(self, g: Any, z: Any, a: Any, xp: Any) -> Any:
        return g * self.by * (1.0 - a * a)


class Closed:
    """Its functions enclose the factor."""

    name = "bend"

    def __init__(self, by: float) -> None:
        def value(z: Any, xp: Any) -> Any:
            return xp.tanh(by * z)

        def pullback(g: Any, z: Any, a: Any, xp: Any) -> Any:
            return g * by * (1.0 - a * a)

        self.by, self.value, self.pullback = by, value, pullback

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.by})"


class Wrapped(Closed):
    """Its functions have the names and the module of xpnet's."""

    def __init__(self, by: float) -> None:
        super().__init__(by)
        self.value, self.pullback = wraps(tanh.value)(self.value), wraps(tanh.pullback)(self.pullback)


class Partial(Closed):
    """Its functions are of a module, and get the factor as an argument."""

    def __init__(self, by: float) -> None:
        super().__init__(by)
        self.value, self.pullback = partial(bend, by), partial(pull_bend_back, by)


def bend(by: float, z: Any, xp: Any) -> Any:
    return xp.tanh(by * z)


def pull_bend_back(by: float, g: Any, z: Any, a: Any, xp: Any) -> Any:
    return g * by * (1.0 - a * a)


KINDS: list[Callable[[float], Any]] = [Bend, Closed, Wrapped, Partial]


def find_factors(net: Any) -> list[float | None]:
    """The factor of each hidden layer's activation; None for xpnet's."""
    return [find_factor(sigma.value) for sigma in net.value.model.sigmas[:-1]]


def find_factor(value: Any) -> float | None:
    """The factor of a function `value`, which no attribute tells: it would be part of what the function is."""
    if isinstance(value, partial):
        return value.args[0]
    if isinstance(getattr(value, "__self__", None), Bend):
        return value.__self__.by
    return getclosurevars(value).nonlocals.get("by") if is_closure(value) else None


def is_closure(value: Any) -> bool:
    return getattr(value, "__closure__", None) is not None and value.__code__.co_freevars == ("by",)


def can_pickle(net: Any) -> bool:
    """Whether no function encloses something, for which there is no pickle."""
    return not any(is_closure(sigma.value) for sigma in net.value.model.sigmas)


def make_all() -> list[Any]:
    """All that a file may be made with."""
    return [kind(by) for kind in KINDS for by in FACTORS]
