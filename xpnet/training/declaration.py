"""Public methods that only declare their arguments, for a function that takes them by name."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


def declares_arguments_of(function: Callable[..., Any]) -> Callable[[Method], Method]:
    """Decorate a method that has a signature and a docstring, for editors and for `help`, and no body.

    A call of it calls `function` with all arguments by name, defaults included, so that none is written twice.

    Examples
    --------
    >>> def describe(**arguments):
    ...     return arguments
    >>> @declares_arguments_of(describe)
    ... def train(data, epochs=20, *, lr=None): ...
    >>> train([1.0], lr=0.1)
    {'data': [1.0], 'epochs': 20, 'lr': 0.1}
    """

    def decorate(method: Method) -> Method:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            method(*args, **options)  # does nothing, but Python checks the call
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            return function(**bound.arguments)

        return cast(Method, call)

    return decorate
