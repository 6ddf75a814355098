"""Whether functions always compute the same, so that what was recorded of them stays valid."""

from functools import partial
from types import FunctionType
from typing import Any


def is_fixed(step: Any) -> bool:
    """Tell whether all functions of a step are xpnet's, so that it always computes the same.

    A user's function may depend on a global variable, or on an attribute that changes.

    Examples
    --------
    >>> import math
    >>> from xpnet.core.activations import relu, sigmoid
    >>> is_fixed((sigmoid, relu)), is_fixed((sigmoid, math.tanh))
    (True, False)

    Also methods of xpnet's objects are:

    >>> from xpnet.core.optimizers.sgd import SGD
    >>> is_fixed(SGD(momentum=0.9).update)
    True
    """
    if isinstance(step, partial):
        return is_fixed((step.func, step.args, tuple(step.keywords.values())))
    if isinstance(step, tuple):
        return all(is_fixed(part) for part in step) and (type(step) is tuple or _is_of_xpnet(type(step)))
    return step is None or isinstance(step, (int, float, str)) or _is_of_xpnet(step)


def _is_of_xpnet(x: Any) -> bool:
    """Tell where something was defined, not by its attribute `__module__`, which `functools.wraps` copies."""
    function = getattr(x, "__func__", x)  # of a method
    if isinstance(function, FunctionType):
        return function.__globals__["__name__"].split(".")[0] == "xpnet"
    return (x if isinstance(x, type) else type(x)).__module__.split(".")[0] == "xpnet"
