"""What the parameters of an estimator mean: checked, and turned into what a network is made of and trained by."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from xpnet import arguments, names
from xpnet.activations import Activation
from xpnet.adaptive import AdamHat
from xpnet.costs import Cost
from xpnet.data import Sampling, cut
from xpnet.errors import between, choices, count, in_range, unknown, yes_or_no
from xpnet.initializers import Initializer
from xpnet.optimizers import SGD, Optimizer
from xpnet.schedules import Schedule

SOLVERS = ("adam", "sgd", "lbfgs")
LEARNING_RATES = ("constant", "invscaling", "adaptive")
# scikit-learn's names, and ours
ACTIVATIONS = {"logistic": "sigmoid"}
NAMES = (*ACTIVATIONS, *names.ACTIVATIONS)
LOSSES = {"log_loss": "cross_entropy", "squared_error": "quadratic"}


def is_called(given: Any, name: str) -> bool:
    """Whether a parameter that takes names and objects is this name."""
    return isinstance(given, str) and given == name


def check(est: Any) -> None:
    """Check every parameter that nothing else checks, with the ranges that scikit-learn has.

    Raises
    ------
    ValueError
        If one is wrong; the message names it.
    """
    if isinstance(est.solver, str) and est.solver not in SOLVERS:
        raise ValueError(unknown("solver", est.solver, SOLVERS) + ", or give an optimizer, as in SGD(momentum=0.9)")
    if isinstance(est.learning_rate, str) and est.learning_rate not in LEARNING_RATES:
        raise ValueError(unknown("learning_rate", est.learning_rate, LEARNING_RATES) + ", or give a schedule")
    if not isinstance(est.solver, str) and not arguments.is_optimizer(est.solver):
        raise TypeError(
            f"solver={est.solver!r} must be one of {choices(SOLVERS)}, or an optimizer, as in SGD(momentum=0.9)"
        )
    if not isinstance(est.learning_rate, str) and not callable(est.learning_rate):
        raise ValueError(
            f"learning_rate={est.learning_rate!r} must be one of {choices(LEARNING_RATES)}, or a schedule; the number "
            "is learning_rate_init"
        )
    if not is_called(est.batch_size, "auto"):
        count("batch_size", est.batch_size, 1)
    for name in ("max_iter", "max_fun"):
        count(name, getattr(est, name), 1)
    if est.n_iter_no_change != math.inf:
        count("n_iter_no_change", est.n_iter_no_change, 1)
    if not isinstance(est.verbose, int) or est.verbose < 0:
        raise ValueError(f"verbose={est.verbose!r} must be True or False, or a number of at least 0")
    arguments.callbacks(est.callbacks)
    for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping", "progress"):
        yes_or_no(name, getattr(est, name))
    for name in ("alpha", "power_t", "tol"):
        in_range(name, getattr(est, name), 0, math.inf, "0 turns it off")
    between("learning_rate_init", est.learning_rate_init, 0, math.inf, "0.001 is usual")
    for name in ("validation_fraction", "momentum", "beta_1", "beta_2"):
        in_range(name, getattr(est, name), 0, 1, "0.1 is usual" if name == "validation_fraction" else "0.9 is usual")
    between("epsilon", est.epsilon, 0, math.inf, "1e-8 is usual")
    if is_called(est.solver, "lbfgs"):
        for name, off in (("dropout", not np.any(est.dropout)), ("callbacks", not est.callbacks)):
            if not off:
                raise ValueError(
                    f"{name}={getattr(est, name)!r} is for solvers that train epoch by epoch, which lbfgs does not; "
                    "leave it out, or give solver='adam'"
                )


def hidden_sizes(given: Any) -> list[int]:
    """Number of units of each hidden layer, from a number or a list of them."""
    sizes: list[Any] = list(given) if hasattr(given, "__iter__") and not isinstance(given, str) else [given]
    try:
        if min(sizes, default=1) <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [count("hidden_layer_sizes", size, 1) for size in sizes]
    except TypeError as error:
        raise ValueError(f"hidden_layer_sizes={given!r} must be a whole number, or a list of them") from error


def hidden(given: Any, layers: int) -> list[Activation]:
    """Activations of the hidden layers, from one of scikit-learn's names or ours, or a list with one for each."""

    def ours(each: Any) -> Any:
        return ACTIVATIONS.get(each, each) if isinstance(each, str) else each

    several = isinstance(given, (list, tuple)) and not isinstance(given, Activation)
    for each in given if several else [given]:
        if isinstance(each, str) and each.partition("(")[0] not in NAMES:
            raise ValueError(unknown("activation", each, NAMES))
    return arguments.hidden([ours(each) for each in given] if several else ours(given), layers)


def cost(loss: Any) -> Cost:
    """Cost function, from one of scikit-learn's names or ours, or an object of the user's own."""
    if isinstance(loss, str) and loss.partition("(")[0] not in (known := (*LOSSES, *names.COSTS)):
        raise ValueError(unknown("loss", loss, known) + ", or give an object with value and gradient")
    return arguments.cost(LOSSES.get(loss, loss) if isinstance(loss, str) else loss, "loss")


def uniform(activation: Any, random_state: np.random.RandomState, layers: int) -> Initializer:
    """Initial weights and biases as scikit-learn draws them, layer after layer: U(−r, r), r² = c / (n_in + n_out).

    c is 2 for a layer of sigmoid units, else 6; that of the output is as that of the last of the hidden `layers`. By
    Glorot and Bengio, AISTATS 2010, equation 16.
    """
    c = [2.0 if sigma.name == "sigmoid" else 6.0 for sigma in hidden(activation, layers)]
    if not layers and is_called(activation, "logistic"):
        c = [2.0]
    left = iter([*c, c[-1] if c else 6.0])

    def draw(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
        r = math.sqrt(next(left) / (n_in + n_out))
        w = random_state.uniform(-r, r, (n_in, n_out))
        return w.T, random_state.uniform(-r, r, n_out)

    return draw


def given(layers: Iterable[tuple[Any, Any]]) -> Initializer:
    """Initial weights and biases that are there already: (n_in, n_out) and (n_out,) of layer after layer."""
    left = iter(layers)

    def draw(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
        w, b = next(left)
        return w.T, b

    return draw


def optimizer(est: Any) -> Optimizer:
    """What `solver` means."""
    if not isinstance(est.solver, str):
        return est.solver
    if est.solver == "sgd":
        return SGD(momentum=est.momentum, nesterov=bool(est.nesterovs_momentum and est.momentum))
    return AdamHat(beta1=est.beta_1, beta2=est.beta_2, epsilon=est.epsilon)


def schedule(est: Any) -> Schedule:
    """Learning rate as a function of the step, but for what `Convergence` does between epochs."""
    given = est.learning_rate_init if isinstance(est.learning_rate, str) else est.learning_rate
    return arguments.schedule(given, "learning_rate")


def sampling(random_state: np.random.RandomState, shuffled: bool) -> Sampling:
    """Draw minibatches as scikit-learn does: each epoch shuffles the order of the last one; or always in order."""
    order = np.zeros(0, np.int32)

    def draw(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        nonlocal order
        order = order if len(order) else np.arange(n, dtype=np.int32)
        if shuffled:
            order = order[random_state.permutation(n)]  # as sklearn.utils.shuffle, in a twentieth of the time
        return cut(order, batch_size)

    return Sampling(lambda n, batch_size: math.ceil(n / batch_size), draw)


class Rule(NamedTuple):
    """What steers the learning rate between epochs."""

    invscaling: bool
    adaptive: bool
    power: float


def rule(est: Any) -> Rule:
    """What `learning_rate` does between epochs; Adam has its own rates."""
    name = est.learning_rate if isinstance(est.learning_rate, str) else ""
    steered = not is_called(est.solver, "adam")
    return Rule(steered and name == "invscaling", steered and name == "adaptive", est.power_t)
