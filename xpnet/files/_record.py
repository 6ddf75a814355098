"""Records: a network and its training as plain values and NumPy arrays."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from xpnet._checks import check_dict, check_number, count, in_range, require_keys, warn
from xpnet.backends.identity import PYTHON, digest_text
from xpnet.core.arrays import Array, leaves
from xpnet.core.calibration import Calibration
from xpnet.core.laplace import Laplace
from xpnet.core.model import Model
from xpnet.core.novelty import Novelty
from xpnet.core.optimizers import OPTIMIZERS, SGD
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data.sampling import Order, check_order
from xpnet.errors import ArgumentError
from xpnet.value import Moment, Objective, Value, check_calibration, check_generator
from xpnet.value.structure import choose_own, parse_model

SETTINGS = {*inspect.signature(parse_model).parameters, "dtype"}  # of a network, that a record holds
MAX_WRAPPERS = 20  # optimizers around each other
MAX_DEPTH = 100  # of nested values: so that whatever copies or shows them does not overflow the stack
# Tensors besides those of layers. Callbacks store states of the network, under names of their own
CALIBRATION = re.compile(r"calibration\.(0|[1-9]\d{0,8})")  # with the number of members, or 0 for the network alone
OTHER_TENSORS = re.compile(
    rf"optimizer\.\d+|dropout\.step|scaling\.({'|'.join(Scaling._fields)})|{CALIBRATION.pattern}(\.widths)?"
    rf"|novelty\.({'|'.join(Novelty._fields)})|laplace\.({'|'.join(Laplace._fields)})"
)
ORDER_TENSORS = [f"order.{name}" for name in Order._fields]
CALLBACK_TENSORS = re.compile(r"(callbacks\.(\d+)\.([^.]+)\.)(layers\.\d+\.[wb]|optimizer\.\d+|dropout\.step)")

Fit = TypeVar("Fit", Laplace, Novelty)
Calibrations: TypeAlias = Mapping[int, Calibration]  # by the number of members, or 0 for a network alone
NO_CALIBRATIONS: Calibrations = MappingProxyType({})


# The plain values of a moment of a training; those of its position stand together
POSITION = ("epoch", "steps", "total_steps", "examples", "cost", "weight", "lr", "seconds", "generator")
TRAINING = ("position", "lr_scale", "stopped", "call", "callbacks", "group")


class Record(NamedTuple):
    """A network, and its training if it has one, as plain values and NumPy arrays."""

    settings: dict[str, Any]  # the arguments of Network
    optimizer: dict[str, Any] | None  # its name and numbers; None for an optimizer of the user's own class
    generator: dict[str, Any]  # state of the generator
    seeds: dict[str, Any]
    notes: dict[str, Any]  # of the user
    history: list[dict[str, Any]]  # rows of the history
    training: dict[str, Any] | None  # the plain values of a moment
    arrays: dict[str, np.ndarray]  # "layers.0.w", "optimizer.0", "dropout.step", "scaling.x_mean", ...
    feature_names: list[str] | None  # None if they are not known
    validation_examples: dict[str, int]  # of each calibration, by its name
    provenance: dict[str, Any]
    functions: dict[str, str]  # digests of the user's own by argument, and "python", if there are any
    objective: dict[str, Any]


def make_record(
    value: Value,
    moment: Moment | None = None,
    shared: Calibrations = NO_CALIBRATIONS,
    functions: Mapping[str, str] = MappingProxyType({}),
) -> Record:
    """Make a record of a network, and of its training. Synchronizes.

    Parameters
    ----------
    value
        What the network is.
    moment
        The moment of its training, if that is to be resumed.
    shared
        The calibration of the ensemble that it belongs to, by the number of its members.
    functions
        What `describe_own` says of its model; left out where the record holds the functions themselves.
    """
    description = encode_optimizer(value.optimizer)
    if description is None:
        warn(f"optimizer={value.optimizer!r} is of your own class and is not saved; reset_optimizer(...) after loading")
    calibrations = list_calibrations(value, shared)
    digests = {name: digest_text(text) for name, text in functions.items()}
    arrays = name_arrays(value, shared, description is not None)
    for i, callback in enumerate(() if moment is None else moment.callbacks):
        for name, state in callback["values"].items():
            if isinstance(state, State):
                named = _name_arrays(f"callbacks.{i}.{name}.", state, description is not None)
                arrays |= _to_users(named, value.backend.to_numpy)
    if moment is not None and moment.order is not None:
        arrays |= dict(zip(ORDER_TENSORS, moment.order))
    return Record(
        settings=value.settings,
        optimizer=description,
        generator=dict(value.generator),
        seeds=value.seeds._asdict(),
        notes=value.notes,
        history=[
            {str(name): _plain_value(name, value) for name, value in row.items()} for row in value.history.copy_rows()
        ],
        training=None if moment is None else describe_moment(moment),
        arrays=arrays,
        feature_names=None if value.feature_names is None else list(value.feature_names),
        validation_examples={_name(n): calibration.examples for n, calibration in calibrations.items()},
        provenance=value.provenance.to_dict(),
        functions={"python": PYTHON, **digests} if digests else {},
        objective=value.objective._asdict(),
    )


def describe_moment(moment: Moment) -> dict[str, Any]:
    """Return the plain values of a moment, without those of the network."""
    fields: dict[str, Any] = moment._asdict()
    callbacks = [
        {
            **callback,
            "values": {name: value for name, value in callback["values"].items() if not isinstance(value, State)},
        }
        for callback in moment.callbacks
    ]
    fields |= {"position": {name: fields[name] for name in POSITION}, "callbacks": callbacks}
    return {name: fields[name] for name in TRAINING}


def list_calibrations(value: Value, shared: Calibrations) -> Calibrations:
    """List the calibration of a network itself, by the number 0, and that of its ensemble."""
    return dict(shared) if value.calibration is None else {0: value.calibration, **shared}


def name_arrays(
    value: Value,
    shared: Calibrations = NO_CALIBRATIONS,
    with_optimizer: bool = True,
) -> dict[str, np.ndarray]:
    """Return all arrays of a network by their names, as users see them: biases are (n_out,). Synchronizes."""
    arrays = _to_users(_name_arrays("", value.state, with_optimizer), value.backend.to_numpy)
    if value.laplace is not None:
        arrays |= {f"laplace.{name}": array for name, array in value.laplace._asdict().items()}
    if value.novelty is not None:
        arrays |= {f"novelty.{name}": array for name, array in value.novelty._asdict().items()}
    if value.scaling is not None:
        exact = value.scaling.exact._asdict()
        arrays |= {f"scaling.{name}": array for name, array in exact.items() if array is not None}
    for members, calibration in list_calibrations(value, shared).items():
        arrays |= name_arrays_of(_name(members), calibration)
    return arrays


def _to_users(placed: Iterable[tuple[str, Array]], to_numpy: Callable[[Array], np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {name: to_numpy(array) for name, array in placed}
    return arrays | {name: array[0] for name, array in arrays.items() if name.endswith(".b")}


def _name(members: int) -> str:
    """Name a calibration: of a network alone by 0, and of an ensemble's by the number of its members."""
    return f"calibration.{members}"


def name_arrays_of(name: str, calibration: Calibration) -> dict[str, np.ndarray]:
    """Name the arrays of a calibration: its errors, and widths if it has any; or its temperature, (1,)."""
    if calibration.errors is None:
        return {name: np.array([calibration.temperature])}
    widths = {} if calibration.widths is None else {f"{name}.widths": calibration.widths}
    return {name: calibration.errors, **widths}


def _name_arrays(prefix: str, state: State, with_optimizer: bool) -> Iterator[tuple[str, Array]]:
    """Name the arrays of a network's state."""
    for l, (w, b) in enumerate(state.layers):
        yield f"{prefix}layers.{l}.w", w
        yield f"{prefix}layers.{l}.b", b
    if with_optimizer:
        for i, array in enumerate(leaves(state.optimizer.memory)):
            yield f"{prefix}optimizer.{i}", array
    if state.dropout is not None:
        yield f"{prefix}dropout.step", state.dropout.step


# What a record holds


def settings_of(record: Record, custom: Iterable[Any]) -> dict[str, Any]:
    """Return the arguments of Network, with the user's own objects in place of their names."""
    custom, digests, settings = list(custom), _functions_of(record), dict(record.settings)
    for name in ("output_activation", "cost"):
        settings[name] = choose_own(name, settings[name], custom, digests)
    if isinstance(settings["activation"], list):
        names = enumerate(settings["activation"])
        settings["activation"] = [choose_own(f"activation[{l}]", name, custom, digests) for l, name in names]
    return settings


def _functions_of(record: Record) -> dict[str, str]:
    """Return the digests of the user's own functions, with the version of Python that compiled them."""
    digests = check_dict("functions", record.functions)
    if not all(isinstance(text, str) for text in digests.values()):
        raise ArgumentError(f"functions={digests!r} must be texts")
    hidden = {f"activation[{l}]" for l in range(len(record.settings["sizes"]) - 2)}
    refuse_unknown("function", digests.keys() - {"python", "output_activation", "cost", *hidden})
    return digests


def tensors_of(record: Record) -> dict[str, np.ndarray]:
    """Return the arrays of the network's state, by name."""
    others = ("callbacks.", "order.", "scaling.", "calibration.", "laplace.", "novelty.")
    return {name: array for name, array in record.arrays.items() if not name.startswith(others)}


def order_of(record: Record) -> Order | None:
    """Return the order of the examples, if a training has one."""
    arrays = [record.arrays[name] for name in ORDER_TENSORS if name in record.arrays]
    return check_order(Order(*arrays)) if arrays else None


def callback_tensors_of(record: Record) -> dict[tuple[int, str], dict[str, np.ndarray]]:
    """Return the states of the network that callbacks remember: (number of the callback, name) -> arrays by name."""
    states: dict[tuple[int, str], dict[str, np.ndarray]] = {}
    for name, array in record.arrays.items():
        if match := CALLBACK_TENSORS.fullmatch(name):
            _, i, key, tensor = match.groups()
            states.setdefault((int(i), key), {})[tensor] = array
    return states


def layers_of(tensors: dict[str, np.ndarray], n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases of each of n layers."""
    _refuse_others(tensors, "layers.", [f"layers.{l}.{part}" for l in range(n) for part in "wb"])
    return [(tensors[f"layers.{l}.w"], tensors[f"layers.{l}.b"]) for l in range(n)]


def memory_of(tensors: dict[str, np.ndarray], n: int) -> list[np.ndarray]:
    """Return the n arrays of the optimizer's memory."""
    names = [f"optimizer.{i}" for i in range(n)]
    _refuse_others(tensors, "optimizer.", names)
    return [tensors[name] for name in names]


def dropout_step_of(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the step of dropout, (1,)."""
    step = tensors["dropout.step"]
    if (step.shape, step.dtype) != ((1,), np.int32):
        raise ArgumentError(f"dropout.step of shape {step.shape} and dtype {step.dtype} must be one int32 number")
    return step


def feature_names_of(record: Record) -> list[str] | None:
    """Return the names of the inputs, if they are known."""
    names = record.feature_names
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ArgumentError(f"feature_names={names!r} must be a list of strings")
    return names


def history_of(record: Record) -> list[dict[str, Any]]:
    """Return the rows of the history."""
    if not isinstance(record.history, list):
        raise ArgumentError("history must be a list of rows")
    for row in record.history:
        check_number("cost", check_dict("a row of the history", row)["cost"])
    return record.history


def optimizer_of(record: Record) -> Optimizer:
    """Return the optimizer; plain SGD if the record does not hold it."""
    return SGD() if record.optimizer is None else _decode_optimizer(record.optimizer)


def fit_of(record: Record, name: str, kind: type[Fit]) -> Fit | None:
    """Return what was fitted to the weights, such as "laplace", if anything was."""
    arrays = [record.arrays.get(f"{name}.{part}") for part in kind._fields]
    return None if all(array is None for array in arrays) else kind(*arrays)  # type: ignore[arg-type]


def scaling_of(record: Record) -> Scaling | None:
    """Return the scaling of a network, unchecked, if it has one."""
    arrays = {name: record.arrays.get(f"scaling.{name}") for name in Scaling._fields}
    if all(array is None for array in arrays.values()):
        return None
    return Scaling(**arrays)  # type: ignore[arg-type]


def calibrations_of(record: Record, model: Model) -> dict[int, Calibration]:
    """Return the calibrations of a network, for ensembles by their number of members, or 0 for the network alone."""
    calibrations, examples = {}, validation_examples_of(record)
    for name, array in record.arrays.items():
        if not CALIBRATION.fullmatch(name):
            continue
        n, widths = examples[name], record.arrays.get(f"{name}.widths")
        if model.task == "regression":
            calibration = Calibration(array, n, widths=widths)
        else:
            calibration = Calibration(None, n, temperature=_temperature_of(name, array), widths=widths)
        calibrations[int(name.removeprefix("calibration."))] = check_calibration(calibration, model, name)
    widths = {name for name in record.arrays if name.startswith("calibration.") and name.endswith(".widths")}
    refuse_unknown("tensor", {name for name in widths if name.removesuffix(".widths") not in record.arrays})
    return calibrations


def _temperature_of(name: str, array: np.ndarray) -> float:
    """Refuse what cannot be the temperature of a calibration."""
    if array.shape != (1,) or array.dtype != np.float64:
        raise ArgumentError(f"{name} of shape {array.shape} must be the temperature of a classification, above 0, (1,)")
    return float(array[0])


def objective_of(record: Record) -> Objective:
    """Return what the weights were fitted to besides targets."""
    require_keys("objective", record.objective, Objective._fields)
    weight, pairs = (record.objective[name] for name in Objective._fields)
    pairs = None if pairs is None else {name: tuple(pair) for name, pair in check_dict("coefficients", pairs).items()}
    return Objective(weight, pairs)


def validation_examples_of(record: Record) -> dict[str, int]:
    """Return the number of validation examples of each calibration, by its name."""
    examples = record.validation_examples
    require_keys("validation_examples", examples, filter(CALIBRATION.fullmatch, record.arrays))
    for name, n in examples.items():
        count(f"validation_examples of {name}", n, len(record.arrays[name]))
    return examples


def training_of(record: Record) -> dict[str, Any] | None:
    """Return the plain values of the moment of a training, if there is one."""
    if record.training is None:
        return None
    training = check_dict("training", record.training)
    require_keys("training", training, TRAINING)
    position = training["position"]
    refuse_unknown("key", set(position) - set(POSITION))
    if position["generator"] is not None:
        check_generator(position["generator"])
    for name, least in {"epoch": 1, "steps": 0, "total_steps": 0, "examples": 0}.items():
        count(f"position.{name}", position[name], least)
    check_number("position.cost", position["cost"])
    for name in ("weight", "lr", "seconds"):
        in_range(f"position.{name}", position[name], 0, math.inf)
    # Or a forged epoch, of which past ones are drawn again, would take forever
    if position["epoch"] - 1 != len(history_of(record)):
        raise ArgumentError(f"position.epoch={position['epoch']} contradicts a history of {len(record.history)} epochs")
    in_range("lr_scale", training["lr_scale"], 0, math.inf)
    if training["group"] is not None:
        count("group", training["group"], 0)
    if not isinstance(training["stopped"], bool) or not isinstance(training["call"], dict):
        raise ArgumentError("training must hold stopped and call")
    for callback in training["callbacks"]:
        if set(check_dict("a callback", callback)) != {"name", "values"}:
            raise ArgumentError("a callback must have a name and values")
        check_dict("values of a callback", callback["values"])
    states = callback_tensors_of(record)
    for i, _ in states:
        if i >= len(training["callbacks"]):
            raise ArgumentError(f"there is no callback {i}")
    order_of(record)  # raises if there is one that is not valid
    # Before the first step, the network still has the optimizer of its previous training
    if training["call"]["optimizer"] != record.optimizer and (position["total_steps"] or states):
        raise ArgumentError(f"optimizer={record.optimizer!r} contradicts that of its training")
    return training


def check_tensors(record: Record) -> None:
    """Refuse unknown names, and settings that contradict the tensors, before anything of that size is allocated."""
    settings, arrays = record.settings, record.arrays
    require_keys("settings", settings, SETTINGS)
    layers = len(settings["sizes"]) - 1
    shapes = [arrays[f"layers.{l}.w"].shape for l in range(layers)]
    if not shapes or shapes != list(zip(settings["sizes"][1:], settings["sizes"])):
        raise ArgumentError(f"sizes={settings['sizes']} contradicts weights of the shapes {shapes}")
    dtypes = {str(array.dtype) for name, array in arrays.items() if not _has_own_dtype(name, array)}
    if dtypes != {settings["dtype"]}:
        raise ArgumentError(f"dtype={settings['dtype']!r} contradicts tensors of {sorted(dtypes)}")
    tensors = {f"layers.{l}.{part}" for l in range(layers) for part in "wb"}
    unexpected = {name for name in arrays if name not in tensors and not OTHER_TENSORS.fullmatch(name)}
    for name in sorted(name for name in unexpected if name.startswith("layers.")):
        raise ArgumentError(f"sizes={settings['sizes']} contradicts the tensor {name!r}")
    is_training = record.training is not None
    of_training = {name for name in unexpected if name in ORDER_TENSORS or CALLBACK_TENSORS.fullmatch(name)}
    unknown = unexpected - of_training if is_training else unexpected
    refuse_unknown("tensor", unknown)


def _has_own_dtype(name: str, array: np.ndarray) -> bool:
    """Tell whether a tensor may have a dtype of its own, as scalings and calibrations in float64 do."""
    holds_float64 = name.startswith(("scaling.", "calibration.", "laplace.", "novelty."))
    return name.endswith("dropout.step") or name in ORDER_TENSORS or (holds_float64 and array.dtype == np.float64)


def refuse_unknown(kind: str, names: Iterable[str]) -> None:
    """Refuse names that no version of xpnet writes: nothing in a file is ignored."""
    for name in sorted(names):
        raise ArgumentError(f"the {kind} {name!r} is not one of xpnet's")


def _refuse_others(tensors: dict[str, np.ndarray], prefix: str, names: Iterable[str]) -> None:
    refuse_unknown("tensor", {name for name in tensors if name.startswith(prefix)} - set(names))


def check_depth(value: Any, depth: int = 0) -> None:
    """Refuse values that are nested more deeply than any file needs; `depth` is the depth of `value` itself.

    Examples
    --------
    >>> check_depth({"a": [1, 2]})
    """
    if depth > MAX_DEPTH:
        raise ArgumentError(f"its values are nested more than {MAX_DEPTH} deep")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list, tuple)):
            check_depth(item, depth + 1)


def encode_optimizer(optimizer: Any, depth: int = 0) -> dict[str, Any] | None:
    """Encode an optimizer as its name and numbers; None for an optimizer of the user's own class."""
    if depth > MAX_WRAPPERS:
        raise ArgumentError(f"optimizer={optimizer!r} is wrapped more than {MAX_WRAPPERS} times; files hold no more")
    if OPTIMIZERS.get(type(optimizer).__name__) is not type(optimizer):
        return None
    description: dict[str, Any] = {"name": type(optimizer).__name__}
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        description[field.name] = encode_optimizer(value, depth + 1) if field.name == "optimizer" else value
        if description[field.name] is None:
            return None
    return description


def _decode_optimizer(description: dict[str, Any], depth: int = 0) -> Optimizer:
    if depth > MAX_WRAPPERS:
        raise ArgumentError(f"its optimizer is wrapped more than {MAX_WRAPPERS} times")
    options = dict(check_dict("optimizer", description))
    kind = OPTIMIZERS[options.pop("name")]
    if "optimizer" in options:
        options["optimizer"] = _decode_optimizer(options["optimizer"], depth + 1)
    return kind(**options)


def _plain_value(name: str, value: Any) -> Any:
    if value is None or type(value) in (float, int, bool, str):  # fast path: there may be thousands of rows
        return value
    value = value.tolist() if hasattr(value, "tolist") else value  # from NumPy or another library
    try:
        json.dumps(value)
        check_depth([value], 2)  # in a row, in the history
    except (TypeError, ValueError, RecursionError):
        warn(f"history[{name!r}] holds an object of type {type(value).__name__}, which is not saved")
        return None
    return value
