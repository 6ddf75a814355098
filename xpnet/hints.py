"""Hints about unknown names and arguments: what was probably meant, also in the words of other libraries."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar, cast

from xpnet.checks import choices, show
from xpnet.errors import ArgumentError

T = TypeVar("T")
MAX_COMPARED = 100  # characters of a name; comparing takes memory and time

# names in other libraries and in books -> names here, or the argument as it is written here; the first one that is
# accepted is suggested
NAMES_ELSEWHERE = {
    # activations, costs, metrics, initial weights
    "acc": ("accuracy",),
    "bce": ("cross_entropy",),
    "binary_crossentropy": ("cross_entropy",),
    "categorical_crossentropy": ("cross_entropy",),
    "he": ("he_normal",),
    "huber_loss": ("huber",),
    "l1_loss": ("mae",),
    "linear": ("identity",),
    "logistic": ("sigmoid",),
    "mean_absolute_error": ("mae",),
    "mean_squared_error": ("mse",),
    "mse_loss": ("mse",),
    "nll": ("log_likelihood",),
    "pinball": ("quantile(0.1, 0.5, 0.9)",),
    "quantile": ("quantile(0.1, 0.5, 0.9)",),
    "swish": ("silu",),
    "xavier": ("glorot_uniform",),
    # quantities of a history
    "val_acc": ("validation_accuracy",),
    "val_accuracy": ("validation_accuracy",),
    "val_loss": ("validation_cost",),
    # arguments of Network
    "criterion": ("cost", "loss"),
    "dropout_rate": ("dropout",),
    "hidden_layer_sizes": ("sizes",),
    "kernel_initializer": ("init",),
    "layer_sizes": ("sizes",),
    "n_estimators": ("members",),
    "n_members": ("members",),
    "loss": ("cost",),
    "loss_fn": ("cost",),
    "random_state": ("seed",),
    # arguments of train
    "early_stopping": ("callbacks=[EarlyStopping()]",),
    "eta": ("lr",),
    "evaluation_data": ("validation_data",),
    "learning_rate": ("lr", "peak"),
    "learning_rate_init": ("lr",),
    "max_iter": ("epochs", "max_epochs"),
    "mini_batch_size": ("batch_size",),
    "n_epochs": ("epochs",),
    "n_jobs": ("blas_threads",),
    "num_epochs": ("epochs",),
    "patience": ("n_iter_no_change", "callbacks=[EarlyStopping(patience=5)]"),
    "shuffle": ("sampling",),
    "steps_per_epoch": ("steps",),
    "training_data": ("train_data",),
    "validation_fraction": ("validation_split",),
    "verbose": ("progress=False",),
    # arguments of optimizers
    "alpha": ("rho", "weight_decay"),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "betas": ("beta1",),
    "decay": ("weight_decay",),
    "eps": ("epsilon",),
    "l2": ("weight_decay", "alpha"),
    "lmbda": ("weight_decay", "alpha"),
    "momentum": ("optimizer=SGD(momentum=0.9)",),
    "weight_decay": ("optimizer=SGD(weight_decay=1e-4)", "alpha"),
    # arguments of schedules and callbacks
    "filename": ("path",),
    "filepath": ("path",),
    "log_dir": ("folder",),
    "lr": ("peak", "learning_rate_init"),
    "max_lr": ("peak",),
    "min_lr": ("least",),
    "restore_best_weights": ("restore_best",),
    # arguments of the estimators
    "cost": ("loss",),
    "epochs": ("max_iter", "max_epochs"),
    "hidden": ("hidden_layer_sizes",),
    "members": ("n_estimators",),
    "optimizer": ("solver",),
    "seed": ("random_state",),
    "sizes": ("hidden_layer_sizes",),
    "validation_split": ("validation_fraction",),
    # attributes of a network
    "backprop": ("backward",),
    "biases": ("b",),
    "cost_derivative": ("deltas",),
    "feedforward": ("forward",),
    "fit": ("train",),
    "rng": ("make_rng",),
    "score": ("measure",),
    "sgd": ("train",),
    "total_cost": ("cost",),
    "update_mini_batch": ("minibatch_update",),
    "weights": ("w",),
}

# methods of the book's networks, which `xpnet.learn.book` has by the same names
OF_THE_BOOK = ("SGD", "backprop", "feedforward", "total_cost", "update_mini_batch")

# layers of other libraries that networks do not have -> how to get the same outputs without them
LAYERS_ELSEWHERE = {
    "BatchNorm1d": "fold its factor and shift into the Linear layer before it",
    "BatchNormalization": "fold its factor and shift into the Dense layer before it",
    "LogSoftmax": "put Softmax in its place, and take the logarithm of the outputs",
    "Normalization": "fold its factor and shift into the first Dense layer",
}

# public names, and their optional arguments, which people look for in other places
OWNERS = {
    "Network.train": (
        *("epochs", "batch_size", "lr", "test_data", "optimizer", "sampling", "validation_data", "validation_split"),
        *("sample_weight", "class_weight", "slopes", "slope_weight", "callbacks", "metrics", "training_metrics"),
        *("steps", "cache", "chunk_steps"),
        *("checkpoint", "every", "resume", "blas_threads", "distributed", "progress"),
    ),
    "Network.measure": ("metrics",),
    "Network": (
        *("activation", "output_activation", "cost", "task", "init", "dropout", "scale", "standardize", "backend"),
        *("device", "dtype", "seed"),
    ),
    "SGD": ("momentum", "nesterov", "weight_decay"),
    "EarlyStopping": ("patience", "monitor", "mode", "min_delta", "restore_best"),
}
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

    names, word = list(names), str(name)[:MAX_COMPARED].lower()
    near = [other for other in NAMES_ELSEWHERE.get(word, ()) if other in names]
    return next(iter(near or difflib.get_close_matches(word, names, n=1)), None)


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


def explain_attribute(kind: type, name: str) -> str:
    """Format the message for an attribute that a class does not have, with its equivalent if there is one.

    Python itself suggests names of a similar spelling.

    Examples
    --------
    >>> class Net:
    ...     def train(self): ...
    >>> explain_attribute(Net, "SGD"), explain_attribute(Net, "trane")  # doctest: +NORMALIZE_WHITESPACE
    ("'Net' object has no attribute 'SGD'; its equivalent is 'train', and xpnet.learn.book has it as in the book",
     "'Net' object has no attribute 'trane'")
    """
    equivalents = [other for other in NAMES_ELSEWHERE.get(name.lower(), ()) if hasattr(kind, other)]
    hint = f"; its equivalent is {equivalents[0]!r}" if equivalents else ""
    if hint and name in OF_THE_BOOK:
        hint += ", and xpnet.learn.book has it as in the book"
    return f"{kind.__name__!r} object has no attribute {name!r}{hint}"


def unsupported_layer(place: str, kind: str, supported: Iterable[str]) -> str:
    """Format the message for a layer of another library that networks do not have: the remedy, and those they have.

    Examples
    --------
    >>> unsupported_layer("layer 2 (Conv2d)", "Conv2d", ["Linear", "ReLU"])
    'layer 2 (Conv2d) is not supported; networks have Linear, ReLU'
    """
    remedy = f"; {LAYERS_ELSEWHERE[kind]}" if kind in LAYERS_ELSEWHERE else ""
    return f"{place} is not supported{remedy}; networks have {', '.join(supported)}"


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


# Signatures, and arguments that do not fit them


def explain_arguments(target: T) -> T:
    """Decorate a function, or a class, so that a call with wrong arguments says what was probably meant.

    The signature does not change, and is inspected only after Python has refused a call.

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
        target.__init__ = _explain_calls(target.__init__, target.__name__)
        return target
    function = cast(Callable[..., Any], target)
    return cast(T, _explain_calls(function, function.__qualname__.removesuffix(".__init__").rpartition(".")[2]))


def explain_methods(kind: type[T]) -> type[T]:
    """Decorate a class as `explain_arguments` does, and its public methods too."""
    for name, member in [*vars(kind).items()]:
        if isinstance(member, FunctionType) and not name.startswith("_"):
            setattr(kind, name, _explain_calls(member, name))
    return explain_arguments(kind)


def suggest_argument(name: str, names: Iterable[str]) -> str:
    """Format a hint at what an unknown argument meant: one of `names`, or an argument of something else.

    Examples
    --------
    >>> suggest_argument("verbose", ["lr", "progress"]), suggest_argument("lr", ["beta1"])
    (' (did you mean progress=False?)', ' (lr is an argument of train)')
    >>> suggest_argument("dropuot", ["w", "b"])
    " (did you mean 'dropout', an argument of Network?)"
    """
    import difflib

    names, owners = list(names), _list_owners()
    meant = {text.partition("=")[0]: text for text in (name, *NAMES_ELSEWHERE.get(name.lower(), ()))}
    for argument, text in meant.items():
        if argument in names:
            return f" (did you mean {text if '=' in text else repr(text)}?)"
    for argument in meant:
        if argument in owners:
            return f" ({argument} is an argument of {owners[argument]})"
    near = difflib.get_close_matches(name.lower(), [*names, *owners], n=1)
    if not near:
        return ""
    owner = "" if near[0] in names else f", an argument of {owners[near[0]]}"
    return f" (did you mean {near[0]!r}{owner}?)"


def _list_owners() -> dict[str, str]:
    """List the optional arguments that people look for in other places, and the function or class that has each."""
    owners: dict[str, str] = {}
    for owner, arguments in OWNERS.items():
        for argument in arguments:
            before = f"{owners[argument]} and " if argument in owners else ""
            owners[argument] = before + owner.rpartition(".")[2]
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
    import inspect  # slow to import

    parameters = dict(inspect.signature(function).parameters)
    if parameters.pop("self", None):
        args = args[1:]
    by_position = [key for key, value in parameters.items() if value.kind is value.POSITIONAL_OR_KEYWORD]
    takes_data = bool(by_position) and by_position[0] in EXAMPLES
    together = f"X and y are given together, as in {name}((X, y))"
    for key, value in options.items():
        if key not in parameters:
            hint = f" ({together})" if takes_data and key in ("x", "X", "y") else suggest_argument(key, parameters)
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
