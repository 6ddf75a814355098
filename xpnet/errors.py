"""The exceptions that xpnet raises."""

__all__ = [
    "ArgumentError",
    "BackendError",
    "CheckpointError",
    "DivergenceError",
]


class ArgumentError(ValueError, TypeError):
    """An argument is wrong, or data given as one; the message names it, and says what is accepted.

    Nothing has changed then. It is both a ValueError and a TypeError, so code that expects either works.
    """


class BackendError(ArgumentError, RuntimeError):
    """A backend or device is not available; the message says why and what to do."""


class CheckpointError(ArgumentError):
    """A file does not hold what is to be read from it, such as a network or a training, or is damaged."""


class DivergenceError(ArithmeticError):
    """Training produced numbers that are not finite; the network is as it was before them."""


for kind in (ArgumentError, BackendError, CheckpointError, DivergenceError):
    kind.__module__ = "xpnet"  # where users find it, and what tracebacks call it
