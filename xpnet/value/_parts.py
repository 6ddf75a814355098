"""Checks of the parts of a value, wherever they come from: a file, or the user. What they accept, files hold."""

from typing import Any, cast

import numpy as np

from xpnet.core.calibration import Calibration, check_errors
from xpnet.core.laplace import Laplace
from xpnet.core.model import Model
from xpnet.core.novelty import MOST_DIRECTIONS, Novelty
from xpnet.errors import ArgumentError
from xpnet.value._plain import check_dict, check_whole, require
from xpnet.value._value import Objective


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
    check_whole(f"{name}.examples", examples, 0 if errors is None else len(errors))
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


def check_laplace(laplace: Laplace, model: Model) -> Laplace:
    """Refuse what cannot be the uncertainty of a network's weights."""
    n = sum(n_out * (n_in + 1) for n_out, n_in in model.shapes)
    for (name, array), shape in zip(laplace._asdict().items(), ((n, n), (1,))):
        if not _is_float64(array) or array.shape != shape or not np.isfinite(array).all():
            raise ArgumentError(f"laplace.{name} must be finite float64 numbers of the shape {shape}")
    if laplace.noise[0] <= 0 or (np.diagonal(laplace.covariance) <= 0).any():
        raise ArgumentError("laplace.noise and the diagonal of laplace.covariance must be above 0")
    return laplace


def check_novelty(novelty: Novelty, model: Model) -> Novelty:
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
    return novelty


def _is_float64(array: Any) -> bool:
    return type(array) is np.ndarray and array.dtype == np.float64


def check_objective(objective: Objective) -> Objective:
    """Refuse what weights cannot have been fitted to."""
    weight, pairs = objective
    require(type(weight) in (int, float) and 0 <= weight < np.inf, "slope_weight", weight, "a number of at least 0")
    for name, pair in check_dict("coefficients", {} if pairs is None else pairs).items():
        numbers = [*cast("tuple[Any, ...]", pair)] if isinstance(pair, tuple) else []
        fits = [*map(type, numbers)] == [float, float] and bool(np.isfinite(numbers).all())
        require(fits, f"coefficients[{name!r}]", pair, "two finite numbers")
    return objective


def check_seeds(seeds: Any) -> dict[str, int]:
    """Check the seeds of dropout and of the validation split, by their names."""
    for seed in check_dict("seeds", seeds).values():
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise ArgumentError(f"seed {seed!r} must be a whole number of 32 bits")
    return seeds


def check_generator(generator: Any) -> dict[str, Any]:
    """Check the state of PCG64: NumPy accepts incomplete ones, and truncates fractions."""
    keys, numbers = {"bit_generator", "state", "has_uint32", "uinteger"}, {"state", "inc"}
    if set(check_dict("generator", generator)) != keys or generator["bit_generator"] != "PCG64":
        raise ArgumentError(f"the generator must be a PCG64 with {sorted(keys)}")
    if set(check_dict("the state of the generator", generator["state"])) != numbers:
        raise ArgumentError(f"the state of the generator must have {sorted(numbers)}")
    for name in sorted(numbers):
        check_whole(name, generator["state"][name], 0, 2**128)
    check_whole("has_uint32", generator["has_uint32"], 0, 2)
    check_whole("uinteger", generator["uinteger"], 0, 2**32)
    # PCG64 would give few different numbers, and drawing a permutation would never end
    if generator["state"]["inc"] % 2 == 0:
        raise ArgumentError("the state of its generator has an even increment")
    return generator
