"""Unknown names and arguments: the one that was probably meant, also in the words of other libraries.

`_names.json` lists names in other libraries and in books, and what stands for each here: names, arguments as they are
written, or a sentence; the first that fits is suggested.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, TypeVar, get_origin

from xpnet._checks import choices, show
from xpnet.errors import ArgumentError

Kind = TypeVar("Kind", bound=type)
MAX_COMPARED = 100  # characters of a name; comparing takes memory and time
EXAMPLES = ("train_data", "test_data", "validation_data", "data", "batch")  # first arguments of methods


@functools.cache
def _read_equivalents() -> dict[str, list[str]]:
    import json

    return json.loads(Path(__file__).with_name("_names.json").read_bytes())


def find_nearest(name: object, names: Iterable[str]) -> str | None:
    """Find what was probably meant: the equivalent of a name in other libraries, or a similar spelling.

    >>> find_nearest("val_loss", ["cost", "validation_cost"]), find_nearest("rleu", ["relu", "tanh"])
    ('validation_cost', 'relu')
    >>> find_nearest("verbose", ["lr", "progress"])
    'progress=False'
    """
    import difflib  # rarely needed, and slow to import

    names, word = list(names), str(name)[:MAX_COMPARED].lower()
    near = [text for text in _read_equivalents().get(word, ()) if text.partition("=")[0] in names]
    return next(iter(near or difflib.get_close_matches(word, names, n=1)), None)


def suggest(name: object, names: Iterable[str]) -> str:
    """Format a hint at what was probably meant; an empty text if that is unclear.

    >>> suggest("rleu", ["relu", "tanh"]), suggest("lr", ["beta1"]), suggest("q", ["relu"])
    (" (did you mean 'relu'?)", ' (lr is an argument of train)', '')
    """
    near = find_nearest(name, names)
    if near is not None:
        return f" (did you mean {near!r}?)"
    return "".join(f" ({text})" for text in _read_equivalents().get(str(name).lower(), ()) if " " in text)


def explain_unknown(argument: str, name: object, names: Iterable[str]) -> str:
    """Format the message for an unknown name: the accepted names, and the one that was probably meant."""
    names = list(names)
    return f"{argument}={show(name)} is unknown; choose from {choices(names)}{suggest(name, names)}"


def look_up(argument: str, name: object, table: Mapping[str, Any]) -> Any:
    """Find a named object, or raise an ArgumentError that lists the choices."""
    if isinstance(name, str) and name in table:
        return table[name]
    raise ArgumentError(explain_unknown(argument, name, table))


def explain_arguments(kind: Kind) -> Kind:
    """Decorate a class so that an unknown argument of it or of its public methods says what was probably meant.

    Signatures are inspected only after a call has failed. They show kinds without the checks of `check_fields`.

    >>> @explain_arguments
    ... class Net:
    ...     def train(self, data, *, lr=0.1): ...
    >>> Net().train([], learning_rate=0.2)
    Traceback (most recent call last):
    xpnet.ArgumentError: learning_rate=0.2 is not an argument of train (did you mean 'lr'?); choose from 'data', 'lr'
    """
    for name in ["__init__", *(name for name in vars(kind) if not name.startswith("_"))]:
        member = vars(kind).get(name, kind.__init__)
        if isinstance(member, FunctionType):
            hints = member.__annotations__
            hints.update({key: hint.__origin__ for key, hint in hints.items() if get_origin(hint) is Annotated})
            setattr(kind, name, _explain_calls(member, kind.__name__ if name == "__init__" else name))
    return kind


def _explain_calls(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap a method, which messages call `name`."""

    @functools.wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except TypeError:
            message = _explain_call(method, name, args, options)
            if message is None:
                raise
        raise ArgumentError(message)

    return call


def _explain_call(method: Callable[..., Any], name: str, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """Format the message for an unknown argument, or for X and y one by one; None if the error is another."""
    import inspect  # slow to import

    parameters = inspect.signature(method).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    names = [*parameters][1:]
    for key, value in options.items():
        if key not in names:
            return (
                f"{key}={show(value)} is not an argument of {name}{suggest(key, names)}; choose from {choices(names)}"
            )
    if len(args) > 2 and names[0] in EXAMPLES and hasattr(args[2], "__len__") and not isinstance(args[1], tuple):
        return f"{name} takes X and y together, as in {name}((X, y))"
    return None
