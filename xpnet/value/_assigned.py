"""Checks of parts that users assign to a network or that a file holds."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from xpnet._checks import check_dict, count, is_list, require, show
from xpnet.backends.base import Place
from xpnet.core.arrays import Array, Layers
from xpnet.core.calibration import Calibration, check_errors
from xpnet.core.laplace import Laplace
from xpnet.core.model import Model, Seeds, count_parameters
from xpnet.core.novelty import MOST_DIRECTIONS, Novelty
from xpnet.core.optimizers import Optimizer, is_optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data import place_scaling
from xpnet.data.conversion import as_real_array
from xpnet.data.sampling import make_generator
from xpnet.errors import ArgumentError
from xpnet.value._places import init_optimizer
from xpnet.value._value import FITTED_TO_WEIGHTS, Objective, Value
from xpnet.value.structure import find_difference, parse_feature_names

FITTED_TO_LAYERS = {**FITTED_TO_WEIGHTS, "objective": Objective()}  # likewise, once users change weights themselves


# Weights, biases and scalings


def split_pairs(layers: Any, name: str = "layers") -> tuple[list[Any], list[Any]]:
    """Split a list of pairs (w, b) into weights and biases."""
    if not is_list(layers) or not all(is_list(layer) and len(layer) == 2 for layer in layers):
        raise ArgumentError(f"{name} must be a list of pairs (w, b)")
    return [w for w, _ in layers], [b for _, b in layers]


def parse_layers(weights: Any, biases: Any, model: Model, place: Place, name: str = "") -> Layers:
    """Check weights (n_out, n_in) and biases (n_out,), (1, n_out) or (n_out, 1), and copy them to the device.

    There, biases are (1, n_out). `name` is that of what they are of, for messages.
    """
    shapes = [([shape], [(shape[0],), (1, shape[0]), (shape[0], 1)]) for shape in model.shapes]
    parsed: list[list[Array]] = []
    for part, arrays, allowed in zip("wb", (weights, biases), zip(*shapes)):
        part = f"{part} of {name}" if name else part
        if not is_list(arrays) or len(arrays) != len(allowed):
            has = f"has {len(arrays)} arrays" if is_list(arrays) else f"is a {type(arrays).__name__}"
            raise ArgumentError(f"{part} {has}, but must be a list of {len(allowed)}, one array for each layer")
        parsed.append([_parse_parameter(f"{part}[{l}]", *pair, place) for l, pair in enumerate(zip(arrays, allowed))])
    return tuple(zip(*parsed))


def _parse_parameter(name: str, array: Any, shapes: Sequence[tuple[int, ...]], place: Place) -> Array:
    """Check an array of weights or biases, which may have any of the shapes, and copy it to the device as a matrix."""
    x = as_real_array(array, name)
    if tuple(x.shape) not in shapes:
        raise ArgumentError(f"{name} has shape {tuple(x.shape)}, but must have {shapes[0]}")
    backend = place.backend
    with place.scope():
        x = backend.asarray(x, place.dtype, name)
        if not backend.all_finite([x]):
            raise ArgumentError(f"{name} holds NaN or infinity")
        return backend.copy(backend.xp.reshape(x, shapes[min(1, len(shapes) - 1)]))


def assign_layers(value: Value, weights: Any = None, biases: Any = None, name: str = "") -> Value:
    """Replace weights, biases, or both; `name` is that of the argument, for messages."""
    w, b = split_pairs(value.layers)
    layers = parse_layers(w if weights is None else weights, b if biases is None else biases, *value[:2], name)
    state = value.state._replace(layers=layers)
    return value._replace(stored=state, **FITTED_TO_LAYERS, provenance=value.provenance._replace(edited=True))


def assign_scaling(value: Value, scaling: Any) -> Value:
    """Replace the scaling of `standardize`; None means that there is none yet."""
    placed = None
    if scaling is not None:
        if not isinstance(scaling, Scaling):
            raise ArgumentError(f"scaling={scaling!r} must be a Scaling, such as that of another network, or None")
        arrays = (x if x is None else as_real_array(x, "scaling") for x in scaling)
        placed = place_scaling(Scaling._make(arrays), value.model, value.place)
    return value._replace(scaling=placed, **FITTED_TO_WEIGHTS, novelty=None)


# Whole values and states


def check_value(value: Any, present: Value) -> Value:
    """Refuse what is not a value of a network with the same model and place, or has parts that do not fit it."""
    with _explain("value", present):
        if not isinstance(value, Value):
            raise ArgumentError(f"it is {show(value)}")
        if value.place != present.place:
            raise ArgumentError(f"it is in {value.dtype} on {value.backend.name}")
        if difference := find_difference(value.model, present.model):
            raise ArgumentError(difference)
        check_parts(value, present)
        if value.stored is not present.stored or value.optimizer is not present.optimizer:
            _check_arrays(value.state, value.optimizer, present)
    return value


def check_parts(value: Value, present: Value) -> None:
    """Refuse a value of which parts that are not those of `present` do not fit its model."""
    for name, check in PARTS.items():
        part, is_optional = getattr(value, name), Value._field_defaults.get(name, name) is None
        if part is not getattr(present, name) and not (part is None and is_optional):
            check(part, value.model)


def check_state(state: Any, present: Value) -> State:
    """Refuse what is not the state of a network with this value, or of one like it."""
    with _explain("state", present):
        if not isinstance(state, State):
            raise ArgumentError(f"it is {show(state)}")
        _check_arrays(state, present.optimizer, present)
    return state


def _check_arrays(state: State, optimizer: Optimizer, present: Value) -> None:
    """Refuse a state whose arrays are others than those of the network, or than those that its optimizer has."""
    for part, expected in (("layers", present.layers), ("dropout", present.state.dropout)):
        if _outline(getattr(state, part)) != _outline(expected):
            raise ArgumentError(f"its {part} have other shapes, types or dtypes")
    if not is_optimizer(optimizer):
        raise ArgumentError(f"its optimizer is {show(optimizer)}")
    fresh = init_optimizer(optimizer, present.layers, present.place)
    if _outline(state.optimizer, typed=False) != _outline(fresh, typed=False):  # numbers need not be arrays
        raise ArgumentError(f"its optimizer has another state than that of {show(optimizer)}")


def _outline(nest: Any, *, typed: bool = True) -> Any:
    """Describe the arrays of a nest by their shapes and dtypes, and by their types, which tell the libraries apart."""
    if isinstance(nest, tuple):
        return tuple(_outline(part, typed=typed) for part in cast("tuple[Any, ...]", nest))
    kind = cast("type[Any]", type(nest))
    return typed and kind, tuple(getattr(nest, "shape", ())), getattr(nest, "dtype", kind)


@contextmanager
def _explain(name: str, present: Value) -> Generator[None, None, None]:
    """Say what a value or a state must be, where it may hold anything."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name} must be an earlier {name} of this network, or that of one with the same arguments, in "
            f"{present.dtype} on {present.backend.name}; {error}"
        ) from error


# Parts of a value


def check_calibration(calibration: Calibration, model: Model, name: str = "calibration") -> Calibration:
    """Refuse what cannot be the calibration of a network; `name` is for messages."""
    errors, examples, temperature, widths = calibration
    levels, is_regression = model.cost.levels, model.task == "regression"
    if is_regression:
        require(temperature is None, f"{name}.temperature", temperature, "None, for a regression")
        _check_numbers(name, errors, (None, model.n_targets, max(1, len(levels))))
        _check_order(name, cast(np.ndarray, errors), least=-np.inf if levels else 0.0)  # differences, or distances
        check_errors(cast(np.ndarray, errors), levels)
    else:
        fits = errors is None and isinstance(temperature, float) and 0 < temperature < np.inf
        require(fits, name, calibration, "the temperature of a classification, above 0")
    if widths is not None:
        require(is_regression and not levels, f"{name}.widths", widths, "None but for error bars of a regression")
        _check_numbers(f"{name}.widths", widths, (model.n_targets, 2, None))
        _check_order(f"{name}.widths", widths[:, 0].T)
        require(bool((widths[:, 1] > 0).all()), f"{name}.widths", widths, "above 0")
    count(f"{name}.examples", examples, 0 if errors is None else len(errors))
    return calibration


def _check_laplace(laplace: Laplace, model: Model) -> None:
    n = count_parameters(model.sizes)
    factor = laplace.factor
    _check_numbers("laplace.factor", factor, (n, n))
    _check_numbers("laplace.noise", laplace.noise, (model.n_targets,))
    is_triangle = bool((np.diagonal(factor) > 0).all() and (np.triu(factor, 1) == 0).all())
    require(is_triangle, "laplace.factor", factor, "a lower triangle with a diagonal above 0")
    require(bool((laplace.noise >= 0).all()), "laplace.noise", laplace.noise, "variances of at least 0")


def _check_novelty(novelty: Novelty, model: Model) -> None:
    shapes = {"mean": (1, model.n_in), "whitening": (model.n_in, min(model.n_in, MOST_DIRECTIONS))}
    for name, array in novelty._asdict().items():
        _check_numbers(f"novelty.{name}", array, shapes.get(name, (None,)))
    _check_order("novelty.distances", novelty.distances, least=0.0)


def _check_numbers(name: str, array: Any, shape: tuple[int | None, ...]) -> None:
    """Refuse what is not a NumPy array of finite float64 numbers, of a shape in which None is any number above 0."""
    is_float64 = type(array) is np.ndarray and array.dtype == np.float64
    has = f"of shape {np.shape(array)} and dtype {array.dtype}" if hasattr(array, "dtype") else show(array)
    fits = (
        is_float64 and len(shape) == array.ndim and all(n == m or (n is None and m) for n, m in zip(shape, array.shape))
    )
    if not (fits and np.isfinite(array).all()):
        raise ArgumentError(f"{name} is {has}, but must be finite float64 numbers of the shape {shape}")


def _check_order(name: str, array: np.ndarray, least: float = -np.inf) -> None:
    """Refuse numbers that do not increase along the first axis, or begin below the least."""
    if not ((array[1:] >= array[:-1]).all() and (array[0] >= least).all()):
        raise ArgumentError(f"{name} must be numbers of at least {least:g} in increasing order")


def _check_objective(objective: Objective, model: Model) -> None:
    weight, pairs = objective
    weights: list[Any] = weight if isinstance(weight, list) and len(weight) == model.n_in else [weight]
    fits = all(type(number) in (int, float) and 0 <= number < np.inf for number in weights)
    require(fits, "slope_weight", weight, "a number of at least 0, or one for each input")
    for name, pair in check_dict("coefficients", {} if pairs is None else pairs).items():
        parts = [*cast("tuple[Any, ...]", pair)] if isinstance(pair, tuple) else []
        fits = [*map(type, parts)] == [float, float, bool] and bool(np.isfinite(parts).all())
        require(fits, f"coefficients[{name!r}]", pair, "two finite numbers, and whether the second is a bound")


def _check_seeds(seeds: Seeds, _: Model) -> None:
    for seed in seeds:
        count("seed", seed, 0, 2**32)


def check_generator(generator: Any) -> None:
    """Refuse what is not the state of a PCG64: NumPy accepts incomplete ones, and truncates fractions."""
    try:
        # With an even increment, it would give few different numbers, and drawing a permutation would never end
        fits = make_generator(generator).bit_generator.state == generator and generator["state"]["inc"] % 2 == 1
    except (KeyError, TypeError, ValueError, OverflowError):
        fits = False
    require(fits, "generator", generator, "the state of a PCG64 of NumPy")


PARTS: dict[str, Callable[[Any, Model], object]] = {  # `_check_arrays` checks the state and the optimizer
    "generator": lambda generator, _: check_generator(generator),
    "seeds": _check_seeds,
    "scaling": lambda scaling, model: place_scaling(scaling.exact, model, scaling.place),
    "feature_names": lambda names, model: parse_feature_names(names, model.n_in),
    "calibration": check_calibration,
    "shared": lambda shared, model: check_calibration(shared[1], model),
    "laplace": _check_laplace,
    "novelty": _check_novelty,
    "objective": _check_objective,
}
