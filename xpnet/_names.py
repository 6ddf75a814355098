"""Hints about unknown names and arguments: what was probably meant, also in the words of other libraries.

`_names.json` lists names in other libraries and in books, and what stands for each here: names, arguments as they are
written, or a sentence; the first that fits is suggested.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

from xpnet._checks import choices, show
from xpnet.errors import ArgumentError

T = TypeVar("T")
MAX_COMPARED = 100  # characters of a name; comparing takes memory and time
# how the first argument is called where a function takes examples
EXAMPLES = ("train_data", "test_data", "validation_data", "data", "batch")


def find_nearest(name: object, names: Iterable[str]) -> str | None:
    """Find the name that was probably meant: the equivalent of a name in other libraries, or a similar spelling.

    Examples
    --------
    >>> find_nearest("val_loss", ["cost", "validation_cost"]), find_nearest("rleu", ["relu", "tanh"])
    ('validation_cost', 'relu')
    >>> print(find_nearest("x", ["relu"]))
    None
    """
    import difflib  # rarely needed, and slow to import

    names, word = list(names), str(name)[:MAX_COMPARED]
    near = [other for other in list_equivalents(word) if other in names]
    return next(iter(near or difflib.get_close_matches(word.lower(), names, n=1)), None)


def list_equivalents(name: str) -> list[str]:
    """List what stands here for a name in other libraries or in books.

    Examples
    --------
    >>> list_equivalents("min_lr"), list_equivalents("anything")
    (['least'], [])
    """
    import json

    return json.loads(Path(__file__).with_name("_names.json").read_bytes()).get(name.lower(), [])


def explain_unknown(argument: str, name: object, names: Iterable[str]) -> str:
    """Format the message for an unknown name: the accepted names, and the one that was probably meant.

    Examples
    --------
    >>> explain_unknown("activation", "rleu", ["relu", "tanh"])
    "activation='rleu' is unknown; choose from 'relu', 'tanh' (did you mean 'relu'?)"
    """
    names = list(names)
    near = find_nearest(name, names)
    hint = f" (did you mean {near!r}?)" if near else ""
    return f"{argument}={show(name)} is unknown; choose from {choices(names)}{hint}"


def look_up(argument: str, name: object, table: Mapping[str, Any]) -> Any:
    """Find a named object, or raise a ValueError that lists the choices.

    Examples
    --------
    >>> look_up("size", "small", {"small": 1, "large": 2})
    1
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ArgumentError(explain_unknown(argument, name, table))


def explain_attribute(kind: type, name: str) -> str:
    """Format the message for an attribute that a class does not have, with its equivalent if there is one.

    Python itself suggests names of a similar spelling.

    Examples
    --------
    >>> class Net:
    ...     def train(self): ...
    >>> explain_attribute(Net, "fit"), explain_attribute(Net, "trane")
    ("'Net' object has no attribute 'fit'; its equivalent is 'train'", "'Net' object has no attribute 'trane'")
    """
    equivalents = [other for other in list_equivalents(name) if hasattr(kind, other)]
    hint = f"; its equivalent is {equivalents[0]!r}" if equivalents else ""
    return f"{kind.__name__!r} object has no attribute {name!r}{hint}"


# Arguments that do not fit a signature


def explain_arguments(target: T) -> T:
    """Decorate a function, or a class and its public methods, so that wrong arguments say what was probably meant.

    Signatures do not change, and are inspected only after Python has refused a call.

    Examples
    --------
    >>> @explain_arguments
    ... def train(data, *, lr=0.1): ...
    >>> train([], learning_rate=0.2)
    Traceback (most recent call last):
        ...
    xpnet.ArgumentError: learning_rate=0.2 is not an argument of train (did you mean 'lr'?); choose from 'data', 'lr'
    """
    if isinstance(target, type):
        for name, member in [*_list_methods(target).items()]:
            if name in vars(target):
                setattr(target, name, _explain_calls(member, name))
        target.__init__ = _explain_calls(target.__init__, target.__name__)
        return target
    function = cast(Callable[..., Any], target)
    return cast(T, _explain_calls(function, function.__name__))


def suggest_argument(name: str, names: Iterable[str], kind: type | None = None) -> str:
    """Format a hint at what an unknown argument meant: one of `names`, or an optional argument of a class's methods.

    Examples
    --------
    >>> class Net:
    ...     def __init__(self, dropout=0.0): ...
    >>> suggest_argument("verbose", ["lr", "progress"]), suggest_argument("lr", ["beta1"])
    (' (did you mean progress=False?)', ' (lr is an argument of train)')
    >>> suggest_argument("dropuot", ["w", "b"], Net)
    " (did you mean 'dropout', an argument of Net?)"
    """
    import difflib

    names, owners = list(names), {} if kind is None else _list_owners(kind)
    meant = {text.partition("=")[0]: text for text in (name, *list_equivalents(name))}
    for argument, text in meant.items():
        if argument in names:
            return f" (did you mean {text if '=' in text else repr(text)}?)"
    for argument, text in meant.items():
        if argument in owners:
            return f" ({argument} is an argument of {owners[argument]})"
        if " is " in text:
            return f" ({text})"
    near = difflib.get_close_matches(name.lower(), [*names, *owners], n=1)
    if not near:
        return ""
    owner = "" if near[0] in names else f", an argument of {owners[near[0]]}"
    return f" (did you mean {near[0]!r}{owner}?)"


def _list_methods(kind: type) -> dict[str, Callable[..., Any]]:
    members = {name: member for base in reversed(kind.__mro__) for name, member in vars(base).items()}
    return {k: member for k, member in members.items() if isinstance(member, FunctionType) and not k.startswith("_")}


def _list_owners(kind: type) -> dict[str, str]:
    """List the optional arguments of a class and of its public methods, and the names of those that have each."""
    import inspect  # slow to import

    owners: dict[str, str] = {}
    for owner, function in {kind.__name__: kind, **_list_methods(kind)}.items():
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not parameter.empty:
                owners[name] = f"{owners[name]} and {owner}" if name in owners else owner
    return owners


def _explain_calls(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap a function, which messages call `name`."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError:
            message = _explain_call(function, name, args, options)
            if message is None:
                raise
        raise ArgumentError(message)

    return call


def _explain_call(
    function: Callable[..., Any], name: str, args: Sequence[Any], options: Mapping[str, Any]
) -> str | None:
    """Format the message for an argument that does not fit a function; None if Python's own message is clear."""
    import inspect

    parameters, kind = dict(inspect.signature(function).parameters), None
    if any(value.kind in (value.VAR_POSITIONAL, value.VAR_KEYWORD) for value in parameters.values()):
        return None
    if parameters.pop("self", None) and args:
        kind, args = type(args[0]), args[1:]
    by_position = [key for key, value in parameters.items() if value.kind is value.POSITIONAL_OR_KEYWORD]
    takes_data = bool(by_position) and by_position[0] in EXAMPLES
    together = f"X and y are given together, as in {name}((X, y))"
    for key, value in options.items():
        if key not in parameters:
            hint = (
                f" ({together})" if takes_data and key in ("x", "X", "y") else suggest_argument(key, parameters, kind)
            )
            return (
                f"{key}={_format_briefly(value)} is not an argument of {name}{hint}; choose from {choices(parameters)}"
            )
    for k, (key, value) in enumerate(zip(by_position, args)):
        if key in options:
            return _explain_duplicate(name, by_position, k, value, options, takes_data=takes_data)
    if len(args) <= len(by_position):
        return None
    if not by_position:  # an optimizer: in other libraries, the learning rate comes first
        example = f"{name}({next(iter(parameters))}={_format_briefly(args[0])})"
        return f"{name} takes its arguments by name, as in {example}; lr is an argument of train"
    message = f"{name} takes {choices(by_position)} by position, but was given {len(args)} arguments"
    if takes_data and hasattr(args[1], "__len__") and not isinstance(args[0], tuple):  # X, not (X, y)
        return f"{message}; {together}"
    if by_position[0] == "sizes" and all(isinstance(size, int) for size in args):
        return f"{message}; sizes is one list, as in {name}({list(args)})"
    if by_name := list(parameters)[len(by_position) :]:
        message += f"; give others by name, as in {by_name[0]}={_format_briefly(args[len(by_position)])}"
    return message


def _explain_duplicate(
    name: str, by_position: Sequence[str], k: int, value: Any, options: Mapping[str, Any], *, takes_data: bool
) -> str:
    """Format the message for an argument at position k that is also given by name."""
    key = by_position[k]
    by_name = f"{key}={_format_briefly(options[key])}"
    if takes_data and k == 1 and hasattr(value, "__len__"):
        return f"{key} is an array; X and y are given together, as in {name}((X, y), {by_name})"
    message = f"{name} was given {key} twice: {_format_briefly(value)} by position, and {by_name}"
    others = [other for other in by_position[k + 1 :] if other not in options]
    if not others:
        return f"{message}; give it once"
    order = f"by position it takes {choices(by_position)}, in this order"
    return f"{message}; {order}; give others by name, as in {others[0]}={_format_briefly(value)}"


def _format_briefly(value: Any) -> str:
    """Format a plain value, or a few of them in a list or tuple; dots for anything else, which may be long."""
    plain = (bool, int, float, str, type(None))
    is_short = isinstance(value, (list, tuple)) and len(value) <= 5 and all(isinstance(item, plain) for item in value)
    return repr(value) if is_short or isinstance(value, plain) else "..."
