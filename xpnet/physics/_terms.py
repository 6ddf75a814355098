"""Arguments of `solve`: the network, coefficients and terms, checked before anything has changed."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from xpnet._checks import choices, in_range, is_list, show
from xpnet.core.arrays import Array
from xpnet.core.optimizers import LevenbergMarquardt
from xpnet.errors import ArgumentError
from xpnet.physics._residuals import Present, Term, compute_rows, evaluate, find_dependence
from xpnet.physics._taylor import find_jump
from xpnet.training import check_machine
from xpnet.training.callback import LOGS
from xpnet.value import Value

LEAST_JUMP = 1e-6  # of a derivative of an activation; of continuous ones, rounding makes less
ARGUMENTS = ("x", "u", "du", "ddu", "xp")  # of a residual


def check_network(value: Value) -> None:
    """Refuse a network that `solve` cannot fit."""
    model = value.model
    if value.dtype != "float64":
        raise ArgumentError(f'solve needs float64, and the network has {value.dtype}; give dtype="float64"')
    if model.standardize or model.scale is not None or value.scaling is not None:
        raise ArgumentError(
            "solve differentiates with respect to the inputs, so it does not go with standardize=True, a scaling or "
            "scale=; leave them out, and choose units in which x and u are about 1"
        )
    if any(model.dropout):
        raise ArgumentError(f"solve does not go with dropout={list(model.dropout)}; leave dropout out")
    with value.scope():
        z = value.backend.asarray(np.linspace(-1.0, 1.0, 4)[None, :], value.dtype)
        for sigma in model.sigmas:
            part, whole = (value.backend.to_numpy(sigma.value(rows, value.xp)) for rows in (z[:, :2], z))
            if not np.allclose(part, whole[:, :2], equal_nan=True):
                raise ArgumentError(
                    f"solve needs activations that act on each unit by itself, unlike {sigma.name!r}; give a smooth "
                    'one, such as activation="tanh" and output_activation="identity"'
                )
    check_machine(LevenbergMarquardt(), value.backend, model)


def parse_coefficients(coefficients: Any) -> dict[str, float]:
    """Check the first values of unknown coefficients."""
    if coefficients is None:
        return {}
    if not isinstance(coefficients, dict):
        raise ArgumentError(f"coefficients={show(coefficients)} must be a dict of first values, such as {{'c': 1.0}}")
    first = cast("dict[str, Any]", coefficients)
    for name in first:
        if name in (*ARGUMENTS, *LOGS):
            raise ArgumentError(
                f"coefficients has the name {name!r}, which means something else in a residual or a history; choose "
                f"another than {choices((*ARGUMENTS, *LOGS))}"
            )
    read = partial(in_range, low=-math.inf, high=math.inf, remedy="give a first guess", includes_low=False)
    return {name: read(f"coefficients[{name!r}]", number) for name, number in first.items()}


def parse_terms(terms: Any, names: Sequence[str], value: Value) -> tuple[Term, ...]:
    """Check terms; their points move to the device, and their residuals get only the coefficients that they take."""
    if not is_list(terms) or not terms or not all(isinstance(term, Term) for term in terms):
        raise ArgumentError(f"terms={show(terms)} must be a list of xpnet.Term, one for each equation")
    taken = [find_coefficients(term.residual, names) for term in terms]
    for k, (term, used) in enumerate(zip(terms, taken)):
        try:
            inspect.signature(term.residual).bind(*ARGUMENTS, **dict.fromkeys(used))
        except TypeError as error:
            raise ArgumentError(
                f"the residual of term {k} has other arguments than {', '.join([*ARGUMENTS, *used])} ({error}); each "
                f"coefficient among them needs a first value in coefficients, which has {choices(names) or 'none'}"
            ) from None
    for name in names:
        if not any(name in used for used in taken):
            raise ArgumentError(
                f"coefficients has {name!r}, which no residual takes; write it as a further argument, as in "
                f"residual(x, u, du, ddu, xp, {name})"
            )
    return tuple(
        replace(term, x=read_points(term.x, f"x of term {k}", value), residual=Residual(term.residual, its_names))
        for k, (term, its_names) in enumerate(zip(terms, taken))
    )


class Residual(NamedTuple):
    """A residual of the user's, and the names of the coefficients that it takes."""

    function: Any
    names: tuple[str, ...]

    def __call__(self, *arguments: Any, **coefficients: Any) -> Any:
        """Call it with these coefficients, and no others."""
        return self.function(*arguments, **{name: coefficients[name] for name in self.names})


def find_coefficients(residual: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Find the names that a residual takes as arguments.

    Examples
    --------
    >>> find_coefficients(lambda x, u, du, ddu, xp, nu: du[0] - nu * ddu[0], ["nu", "c"])
    ('nu',)
    """
    parameters = inspect.signature(residual).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return tuple(name for name in names if takes_all or name in parameters)


def read_points(x: Any, name: str, value: Value) -> Array:
    """Check points and move them to the device as rows."""
    return value.reader.read_inputs(value.reader.as_rows(x, name)[0], name)


def check_residuals(terms: Sequence[Term], present: Present, value: Value) -> None:
    """Compute and differentiate each residual once, to say what is wrong with it before anything has changed."""
    rng = np.random.default_rng(0)
    for k, term in enumerate(terms):
        name = f"the residual of term {k}"
        try:
            evaluate(term, *present)
        except IndexError as error:
            raise ArgumentError(
                f"{name} has an index that is out of range ({error}); du and ddu have 0 to {value.model.n_in - 1}, for "
                f"each input, and u and each of these have the columns 0 to {value.model.n_out - 1}, for each output"
            ) from error
        if term.draw is not None:
            check_other_points(term, present, name, value)
        try:
            next(compute_rows(term, *present))
            with np.errstate(all="ignore"):
                mixes_rows, takes_second = find_dependence(
                    term, *present, lambda shape: value.backend.asarray(rng.standard_normal(shape), value.dtype)
                )
        except (TypeError, AttributeError) as error:
            raise ArgumentError(
                f"{name} cannot be differentiated ({error}); it must use operators and functions of xp alone, and so "
                "must activations of your own"
            ) from error
        if mixes_rows:
            raise ArgumentError(
                f"{name} mixes points: it must use each row of u, du and ddu by itself, without means, sums, "
                "differences or sorting over the rows; a coefficient, say, can stand for a mean"
            )
        if takes_second:
            check_smoothness(name, value)


def check_other_points(term: Term, present: Present, name: str, value: Value) -> None:
    """Refuse a residual that cannot be computed at other points than those of its term, which are drawn anew."""
    try:
        evaluate(replace(term, x=value.xp.concat([term.x, term.x])), *present)
    except Exception as error:
        raise ArgumentError(
            f"{name} fails at other points than the {term.x.shape[0]} of x ({error}), and draw= draws others; compute "
            "from x what belongs to the points, in place of an array of fixed length, or leave draw out"
        ) from error


def check_smoothness(name: str, value: Value) -> None:
    """Refuse activations without the second derivative that a residual needs."""
    z = value.backend.asarray(np.linspace(-8.0, 8.0, 65)[None, :], value.dtype)
    for sigma in value.model.sigmas:
        if float(find_jump(sigma, z, value.xp)) > LEAST_JUMP:
            raise ArgumentError(
                f"{name} has second derivatives, and the activation {sigma.name!r} has none that is continuous; give "
                'a smooth one, such as activation="tanh"'
            )
