"""The exceptions that xpnet raises besides ValueError and TypeError."""


class BackendError(RuntimeError, ValueError):
    """A backend or device is not available; the message says why and what to do.

    It is a ValueError too, because the value of ``backend=`` or ``device=`` is wrong.
    """


class DivergenceError(ArithmeticError):
    """Training produced numbers that are not finite; the network is as it was before them."""


class CheckpointError(ValueError):
    """A file does not hold a network."""
