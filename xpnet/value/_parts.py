"""Checks of values and their parts, wherever they come from: a file, or the user. What they accept, files hold."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import Any, TypeAlias, cast

import numpy as np

from xpnet._checks import check_dict, count, require, show
from xpnet.backends.base import Place
from xpnet.core.calibration import Calibration, check_errors
from xpnet.core.laplace import Laplace
from xpnet.core.members import MemberState
from xpnet.core.model import Model, Seeds
from xpnet.core.novelty import MOST_DIRECTIONS, Novelty
from xpnet.core.optimizers import Optimizer, is_optimizer
from xpnet.core.step import State
from xpnet.data import PlacedScaling, place_scaling
from xpnet.errors import ArgumentError
from xpnet.value._history import History
from xpnet.value._places import init_optimizer
from xpnet.value._provenance import Provenance
from xpnet.value._value import Objective, Value
from xpnet.value.structure import find_difference, parse_feature_names


def check_value(value: Any, present: Value) -> Value:
    """Refuse what is not a value of a network with the same model and place, or has parts that do not fit it."""
    if not isinstance(value, Value):
        raise _refuse("value", present, f"it is {show(value)}")
    for name, (kind, _) in PARTS.items():
        if not isinstance(part := getattr(value, name), kind):
            raise _refuse("value", present, f"its {name} is {show(part)}")
    if value.place != present.place:
        raise _refuse("value", present, f"it is in {value.dtype} on {value.backend.name}")
    difference = find_difference(value.model, present.model)
    if difference is not None:
        raise _refuse("value", present, difference)
    try:
        check_parts(value, present)
    except ArgumentError as error:
        raise _refuse("value", present, str(error)) from error
    if value.scaling is not None and value.scaling is not present.scaling:
        _check_scaling(value.scaling, present)
    if value.stored is not present.stored or value.optimizer is not present.optimizer:
        _check_arrays("value", value.state, value.optimizer, present)
    return value


def check_parts(value: Value, present: Value) -> None:
    """Refuse a value of which parts that are not those of `present` do not fit its model."""
    for name, (_, check) in PARTS.items():
        part = getattr(value, name)
        if check is not None and part is not None and part is not getattr(present, name):
            check(part, value.model)


def check_state(state: Any, present: Value) -> State:
    """Refuse what is not the state of a network with this value, or of one like it."""
    if not isinstance(state, State):
        raise _refuse("state", present, f"it is {show(state)}")
    _check_arrays("state", state, present.optimizer, present)
    return state


def _check_arrays(name: str, state: State, optimizer: Optimizer, present: Value) -> None:
    """Refuse a state whose arrays are others than those of the network, or than those that its optimizer has."""
    for part, expected in (("layers", present.layers), ("dropout", present.state.dropout)):
        if _outline(getattr(state, part)) != _outline(expected):
            raise _refuse(name, present, f"its {part} have other shapes, types or dtypes")
    if not is_optimizer(optimizer):
        raise _refuse(name, present, f"its optimizer is {show(optimizer)}")
    fresh = init_optimizer(optimizer, present.layers, present.place)
    if _outline(state.optimizer, typed=False) != _outline(fresh, typed=False):  # numbers need not be arrays
        raise _refuse(name, present, f"its optimizer has another state than that of {show(optimizer)}")


def _check_scaling(scaling: PlacedScaling, present: Value) -> None:
    """Refuse a scaling for other inputs or targets, or of another place."""
    try:
        placed = place_scaling(scaling.exact, present.model, present.place)
    except (ArgumentError, AttributeError, TypeError) as error:  # it holds something else than arrays
        raise _refuse("value", present, f"its scaling does not fit: {error}") from error
    if _outline((scaling.exact, scaling.rounded)) != _outline((placed.exact, placed.rounded)):
        raise _refuse("value", present, "its scaling has other shapes, types or dtypes")


def _outline(nest: Any, *, typed: bool = True) -> Any:
    """Describe the arrays of a nest by their shapes and dtypes, and by their types, which tell the libraries apart."""
    if isinstance(nest, tuple):
        return tuple(_outline(part, typed=typed) for part in cast("tuple[Any, ...]", nest))
    kind = cast("type[Any]", type(nest))
    return typed and kind, tuple(getattr(nest, "shape", ())), getattr(nest, "dtype", kind)


def _refuse(name: str, present: Value, problem: str) -> ArgumentError:
    return ArgumentError(
        f"{name} must be an earlier {name} of this network, or that of one with the same arguments, in {present.dtype} "
        f"on {present.backend.name}; {problem}"
    )


# The parts


def check_calibration(calibration: Calibration, model: Model, name: str = "calibration") -> Calibration:
    """Refuse what cannot be the calibration of a network; `name` is for messages."""
    errors, examples, temperature, widths = calibration
    if widths is not None:
        _check_widths(f"{name}.widths", widths, model)
    if model.task == "regression":
        if temperature is not None:
            raise ArgumentError(f"{name}.temperature={temperature!r} is for classes, and this is one of a regression")
        _check_errors(name, errors, model)
    elif errors is not None or not (isinstance(temperature, float) and 0 < temperature < np.inf):
        raise ArgumentError(
            f"{name} of shape {np.shape(cast(Any, errors))} must be the temperature of a classification, above 0, (1,)"
        )
    count(f"{name}.examples", examples, 0 if errors is None else len(errors))
    return calibration


def _check_errors(name: str, errors: Any, model: Model) -> None:
    shape = (model.n_targets, max(1, len(model.cost.levels)))
    fits = _is_float64(errors) and errors.ndim == 3 and errors.shape[1:] == shape and len(errors)
    if not fits:
        raise ArgumentError(f"{name} of shape {np.shape(errors)} must be float64 errors of a regression, (n, *{shape})")
    least = -np.inf if model.cost.levels else 0.0  # differences, or distances
    if not (np.isfinite(errors).all() and errors.min() >= least and (errors[1:] >= errors[:-1]).all()):
        raise ArgumentError(f"{name} must be finite numbers in increasing order, and distances at least 0")
    check_errors(errors, model.cost.levels)


def _check_widths(name: str, widths: Any, model: Model) -> None:
    fits = _is_float64(widths) and widths.ndim == 3 and widths.shape[:2] == (model.n_targets, 2) and widths.shape[2]
    if not fits or model.cost.levels or model.task != "regression":
        raise ArgumentError(
            f"{name} of shape {np.shape(widths)} must be float64 widths of error bars, (n_targets, 2, n)"
        )
    if not (np.isfinite(widths).all() and (np.diff(widths[:, 0]) >= 0).all() and (widths[:, 1] > 0).all()):
        raise ArgumentError(f"{name} must be finite numbers, predictions in increasing order and widths above 0")


def _check_laplace(laplace: Laplace, model: Model) -> None:
    """Refuse what cannot be the uncertainty of a network's weights."""
    n = sum(n_out * (n_in + 1) for n_out, n_in in model.shapes)
    for (name, array), shape in zip(laplace._asdict().items(), ((n, n), (1,))):
        if not _is_float64(array) or array.shape != shape or not np.isfinite(array).all():
            raise ArgumentError(f"laplace.{name} must be finite float64 numbers of the shape {shape}")
    if laplace.noise[0] <= 0 or (np.diagonal(laplace.covariance) <= 0).any():
        raise ArgumentError("laplace.noise and the diagonal of laplace.covariance must be above 0")


def _check_novelty(novelty: Novelty, model: Model) -> None:
    """Refuse what novelty cannot be computed from."""
    shapes = {"mean": (1, model.n_in), "whitening": (model.n_in, min(model.n_in, MOST_DIRECTIONS))}
    for name, array in novelty._asdict().items():
        if not _is_float64(array) or array.shape != shapes.get(name, (array.size,)):
            what = f"of shape {array.shape} and dtype {array.dtype}" if hasattr(array, "dtype") else "absent"
            raise ArgumentError(f"novelty.{name} is {what}; it must be float64 numbers for {model.n_in} inputs")
        if not np.isfinite(array).all():
            raise ArgumentError(f"novelty.{name} must be finite numbers")
    distances = novelty.distances
    if not len(distances) or distances[0] < 0 or (np.diff(distances) < 0).any():
        raise ArgumentError("novelty.distances must be numbers of at least 0 in increasing order")


def _is_float64(array: Any) -> bool:
    return type(array) is np.ndarray and array.dtype == np.float64


def _check_objective(objective: Objective, _: Model) -> None:
    """Refuse what weights cannot have been fitted to."""
    weight, pairs = objective
    require(type(weight) in (int, float) and 0 <= weight < np.inf, "slope_weight", weight, "a number of at least 0")
    for name, pair in check_dict("coefficients", {} if pairs is None else pairs).items():
        numbers = [*cast("tuple[Any, ...]", pair)] if isinstance(pair, tuple) else []
        fits = [*map(type, numbers)] == [float, float] and bool(np.isfinite(numbers).all())
        require(fits, f"coefficients[{name!r}]", pair, "two finite numbers")


def _check_seeds(seeds: Seeds, _: Model) -> None:
    """Refuse what cannot be the seeds of dropout and of the validation split."""
    for seed in seeds:
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise ArgumentError(f"seed {seed!r} must be a whole number of 32 bits")


def check_generator(generator: Any) -> dict[str, Any]:
    """Check the state of PCG64: NumPy accepts incomplete ones, and truncates fractions."""
    keys, numbers = {"bit_generator", "state", "has_uint32", "uinteger"}, {"state", "inc"}
    if set(check_dict("generator", generator)) != keys or generator["bit_generator"] != "PCG64":
        raise ArgumentError(f"the generator must be a PCG64 with {sorted(keys)}")
    if set(check_dict("the state of the generator", generator["state"])) != numbers:
        raise ArgumentError(f"the state of the generator must have {sorted(numbers)}")
    for name in sorted(numbers):
        count(name, generator["state"][name], 0, 2**128)
    count("has_uint32", generator["has_uint32"], 0, 2)
    count("uinteger", generator["uinteger"], 0, 2**32)
    # PCG64 would give few different numbers, and drawing a permutation would never end
    if generator["state"]["inc"] % 2 == 0:
        raise ArgumentError("the state of its generator has an even increment")
    return generator


Check: TypeAlias = Callable[[Any, Model], object]
PARTS: dict[str, tuple[type | UnionType, Check | None]] = {  # `_check_arrays` checks the optimizer
    "model": (Model, None),
    "place": (Place, None),
    "stored": (State | MemberState, None),
    "generator": (dict, lambda generator, _: check_generator(generator)),
    "seeds": (Seeds, _check_seeds),
    "provenance": (Provenance, None),
    "history": (History, None),
    "scaling": (PlacedScaling | None, None),
    "feature_names": (tuple | None, lambda names, model: parse_feature_names(names, model.n_in)),  # type: ignore[reportMissingTypeArgument]
    "calibration": (Calibration | None, check_calibration),
    "laplace": (Laplace | None, _check_laplace),
    "novelty": (Novelty | None, _check_novelty),
    "objective": (Objective, _check_objective),
}
