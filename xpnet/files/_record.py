"""Records: a network, and its training if it has one, as plain values and NumPy arrays by name; and back."""

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpnet._checks import Count, Real, check_dict, check_number, count, require, require_keys, warn
from xpnet._identity import PYTHON, describe, digest_text
from xpnet.core.arrays import Array, leaves, map_arrays, rebuild
from xpnet.core.calibration import Calibration
from xpnet.core.dropout import init_dropout
from xpnet.core.laplace import Laplace, unfold_laplace
from xpnet.core.model import Model, Seeds, count_parameters
from xpnet.core.novelty import Novelty
from xpnet.core.optimizers import OPTIMIZERS, SGD, Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data import place_scaling
from xpnet.data.sampling import Order, check_order
from xpnet.errors import ArgumentError
from xpnet.value import (
    MOST_RUNS,
    History,
    Moment,
    Objective,
    Provenance,
    Run,
    Value,
    check_calibration,
    check_generator,
    check_parts,
    init_optimizer,
    parse_layers,
)
from xpnet.value.structure import choose_own, describe_own, parse_model

Part = TypeVar("Part", Novelty, Scaling, Order)
Check = Callable[[str, Any], object]

SETTINGS = {*inspect.signature(parse_model).parameters, "dtype"}  # of a network
# The plain values of a record
PLAIN = (
    "settings",  # the arguments of Network
    "optimizer",  # its name and numbers; None for an optimizer of the user's own class
    "generator",
    "seeds",
    "notes",
    "history",
    "training",  # the plain values of a moment; None for a network alone
    "feature_names",
    "validation_examples",  # of each calibration, by the name of its array
    "provenance",
    "functions",  # digests of the user's own by argument, and "python", if there are any
    "objective",
)


class Record(NamedTuple):
    """A network, and its training if it has one."""

    plain: dict[str, Any]  # by the names in `PLAIN`
    arrays: dict[str, np.ndarray]  # "layers.0.w", "optimizer.0", "dropout.step", "scaling.x_mean", ...


# To records


def make_record(value: Value, moment: Moment | None = None) -> Record:
    """Make a record of a network, and of its training. Synchronizes.

    Parameters
    ----------
    value
        What the network is.
    moment
        The moment of its training, if that is to be resumed.
    """
    optimizer = encode_optimizer(value.optimizer)
    if optimizer is None:
        warn(f"optimizer={value.optimizer!r} is of your own class and is not saved; reset_optimizer(...) after loading")
    own = {name: digest_text(text) for name, text in describe_own(value.model).items()}
    plain = {
        "settings": value.settings,
        "optimizer": optimizer,
        "generator": dict(value.generator),
        "seeds": value.seeds._asdict(),
        "notes": value.notes,
        "history": [
            {str(name): _plain_value(name, number) for name, number in row.items()} for row in value.history.copy_rows()
        ],
        "training": None,
        "feature_names": value.feature_names and list(value.feature_names),
        "validation_examples": {
            f"calibration.{n}": calibration.examples for n, calibration in _list_calibrations(value).items()
        },
        "provenance": value.provenance.to_dict(),
        "functions": {"python": PYTHON, **own} if own else {},
        "objective": value.objective._asdict(),
    }
    arrays = name_arrays(value, with_optimizer=optimizer is not None)
    if moment is not None:
        plain["training"], others = _encode_moment(moment)
        arrays |= others
    return Record(plain, arrays)


def _encode_moment(moment: Moment) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the plain values of a training, and the arrays of its order and of what its callbacks remember."""
    arrays = {} if moment.order is None else _name_parts("order", moment.order)
    callbacks: list[dict[str, Any]] = []
    for i, callback in enumerate(moment.callbacks):
        states = {name: part for name, part in callback["values"].items() if isinstance(part, State)}
        for name, state in states.items():
            arrays |= _name_state(f"callbacks.{i}.{name}.", state, moment.value.backend.to_numpy)
        values = {name: part for name, part in callback["values"].items() if name not in states}
        callbacks.append({"name": callback["name"], "values": values})
    position, others = ({name: getattr(moment, name) for name in checks} for checks in (POSITION, TRAINING))
    return {"position": position, **others, "callbacks": callbacks}, arrays


def name_arrays(value: Value, with_optimizer: bool = True) -> dict[str, np.ndarray]:
    """Return all arrays of a network by their names, as users see them: biases are (n_out,). Synchronizes."""
    arrays = _name_state("", value.state, value.backend.to_numpy, with_optimizer)
    for name, part in {"novelty": value.novelty, "scaling": value.exact_scaling}.items():
        arrays |= {} if part is None else _name_parts(name, part)
    if (laplace := value.laplace) is not None:
        arrays |= {"laplace.triangle": laplace.triangle, "laplace.noise": laplace.noise}
    for n, calibration in _list_calibrations(value).items():
        arrays |= name_calibration(f"calibration.{n}", calibration)
    return arrays


def _name_state(
    prefix: str, state: State, to_numpy: Callable[[Array], np.ndarray], with_optimizer: bool = True
) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for l, (w, b) in enumerate(state.layers):
        arrays[f"{prefix}layers.{l}.w"], arrays[f"{prefix}layers.{l}.b"] = to_numpy(w), to_numpy(b)[0]
    for i, array in enumerate(leaves(state.optimizer.memory) if with_optimizer else ()):
        arrays[f"{prefix}optimizer.{i}"] = to_numpy(array)
    if state.dropout is not None:
        arrays[f"{prefix}dropout.step"] = to_numpy(state.dropout.step)
    return arrays


def _name_parts(name: str, parts: Novelty | Scaling | Order) -> dict[str, np.ndarray]:
    return {f"{name}.{field}": array for field, array in parts._asdict().items() if array is not None}


def name_calibration(name: str, calibration: Calibration) -> dict[str, np.ndarray]:
    """Name the arrays of a calibration: its errors, and widths if it has any; or its temperature, (1,)."""
    if calibration.errors is None:
        return {name: np.array([calibration.temperature])}
    widths = {} if calibration.widths is None else {f"{name}.widths": calibration.widths}
    return {name: calibration.errors, **widths}


def _list_calibrations(value: Value) -> dict[int, Calibration]:
    """List the calibration of a network itself, by the number 0, and that of its ensemble, by its number of members."""
    own = {} if value.calibration is None else {0: value.calibration}
    return own if value.shared is None else {**own, value.shared[0]: value.shared[1]}


def encode_optimizer(optimizer: Any) -> dict[str, Any] | None:
    """Encode an optimizer as its name and numbers; None for an optimizer of the user's own class."""
    if OPTIMIZERS.get(type(optimizer).__name__) is not type(optimizer):
        return None
    description: dict[str, Any] = {"name": type(optimizer).__name__}
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        description[field.name] = encode_optimizer(value) if field.name == "optimizer" else value
    return None if None in description.values() else description


def _plain_value(name: str, value: Any) -> Any:
    if value is None or type(value) in (float, int, bool, str):  # fast path: there may be thousands of rows
        return value
    value = value.tolist() if hasattr(value, "tolist") else value  # from NumPy or another library
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        warn(f"history[{name!r}] holds an object of type {type(value).__name__}, which is not saved")
        return None
    return value


# Fingerprints


def fingerprint(value: Value) -> str:
    """Compute the digest of a network. Synchronizes."""
    plain = {
        "settings": value.settings,
        "optimizer": encode_optimizer(value.optimizer) or describe(value.optimizer),
        "generator": value.generator,
        "seeds": value.seeds._asdict(),
        "feature_names": value.feature_names,
        "coefficients": value.objective.coefficients,
    }
    if functions := describe_own(value.model):
        plain["functions"] = functions
    with value.scope():
        return _digest_all(plain, name_arrays(value._replace(shared=None)))


def fingerprint_members(fingerprints: Sequence[str], calibration: Calibration | None) -> str:
    """Compute the digest of an ensemble, from those of its members in their order, and from its calibration."""
    arrays = {} if calibration is None else name_calibration("calibration", calibration)
    return _digest_all({"members": fingerprints}, arrays)


def _digest_all(plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        # All zeros get a plus sign: nothing depends on theirs, and equal trainings have been seen to differ in it
        little = (array + array.dtype.type(0)).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


# From records, which may come from anywhere: nothing in them is ignored. Arrays are taken out of a dict as they are
# read, so those that are left are unknown


def _optional(check: Callable[..., object]) -> Check:
    return lambda name, value: value is None or check(name, value)


def _of_type(expected: str, *kinds: type) -> Check:
    return lambda name, value: require(type(value) in kinds, name, value, expected)


_text, _flag = _of_type("a text", str), _of_type("true or false", bool)
# What a moment holds besides its value, its order and its callbacks; the first stand together in a record
POSITION: dict[str, Check] = {
    "epoch": Count(1),
    "steps": Count(0),
    "total_steps": Count(0),
    "examples": Count(0),
    "cost": check_number,
    "weight": Real(0, math.inf),
    "lr": Real(0, math.inf),
    "seconds": Real(0, math.inf),
    "generator": _optional(lambda _, generator: check_generator(generator)),
}
TRAINING: dict[str, Check] = {
    "lr_scale": Real(0, math.inf),
    "stopped": _flag,
    "error": _text,
    "call": check_dict,
    "group": _optional(Count(0)),
}
RUN: dict[str, Check] = {
    name: {str: _text, bool: _flag, int: Count(0), float: Real(0, math.inf)}[kind]
    for name, kind in Run.__annotations__.items()
}


def _check_all(place: str, plain: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Refuse what is not a dict with these keys, or has values of other kinds."""
    require_keys(place, plain, checks)
    for name, check in checks.items():
        check(f"{place}.{name}", plain[name])
    return plain


def refuse_unknown(kind: str, names: Iterable[str]) -> None:
    """Refuse names that no version of xpnet writes: nothing in a file is ignored."""
    for name in sorted(names):
        raise ArgumentError(f"the {kind} {name!r} is not one of xpnet's")


def check_sizes(record: Record) -> None:
    """Refuse settings that contradict the weights, before anything of that size is allocated."""
    settings = record.plain["settings"]
    require_keys("settings", settings, SETTINGS)
    sizes = settings["sizes"]
    shapes = [record.arrays[f"layers.{l}.w"].shape for l in range(len(sizes) - 1)]
    if not shapes or shapes != list(zip(sizes[1:], sizes)):
        raise ArgumentError(f"sizes={sizes} contradicts weights of the shapes {shapes}")


def settings_of(record: Record, custom: Iterable[Any]) -> dict[str, Any]:
    """Return the arguments of Network, with the user's own objects in place of their names."""
    custom, settings, digests = list(custom), dict(record.plain["settings"]), record.plain["functions"]
    hidden = [f"activation[{l}]" for l in range(len(settings["sizes"]) - 2)]
    for name, digest in check_dict("functions", digests).items():
        _text(f"functions.{name}", digest)
    refuse_unknown("function", digests.keys() - {"python", "output_activation", "cost", *hidden})
    for name in ("output_activation", "cost"):
        settings[name] = choose_own(name, settings[name], custom, digests)
    if isinstance(settings["activation"], list):
        pairs = zip(hidden, settings["activation"], strict=True)
        settings["activation"] = [choose_own(argument, name, custom, digests) for argument, name in pairs]
    return settings


def restore(record: Record, present: Value) -> Moment:
    """Return everything in a record but its settings, for a network with the structure and the place of `present`.

    It is the moment of the training, as it was written; without one, a moment at which a training may begin.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the record is not that of such a network.
    """
    plain, arrays, model = record.plain, dict(record.arrays), present.model
    names, scaling, history = plain["feature_names"], _take_parts(arrays, "scaling", Scaling), plain["history"]
    require(isinstance(names, list | None), "feature_names", names, "a list of strings")
    require(isinstance(history, list), "history", history, "a list of rows")
    for row in history:
        check_number("cost", check_dict("a row of the history", row)["cost"])
    require_keys("objective", plain["objective"], Objective._fields)
    weight, pairs = (plain["objective"][name] for name in Objective._fields)
    if pairs is not None:
        pairs = {name: tuple(pair) for name, pair in check_dict("coefficients", pairs).items()}
    calibrations = _take_calibrations(plain, arrays, model)
    own = calibrations.pop(0, None)
    require(len(calibrations) <= 1, "validation_examples", [*calibrations], "those of the network and of one ensemble")
    value = Value(
        model=model,
        place=present.place,
        stored=present.stored,
        single_rows=present.single_rows,
        optimizer=SGD() if plain["optimizer"] is None else _decode_optimizer(plain["optimizer"]),
        generator=plain["generator"],
        seeds=Seeds(**check_dict("seeds", plain["seeds"])),
        scaling=None if scaling is None else place_scaling(scaling, model, present.place),
        feature_names=None if names is None else tuple(names),
        calibration=own,
        shared=next(iter(calibrations.items()), None),
        laplace=_take_laplace(arrays, model),
        novelty=_take_parts(arrays, "novelty", Novelty),
        provenance=_parse_provenance(plain["provenance"]),
        history=History(history),
        notes=check_dict("notes", plain["notes"]),
        objective=Objective(weight, pairs),
    )
    check_parts(value, present)
    value = value._replace(stored=_take_state(arrays, value, present))
    moment = Moment(value) if plain["training"] is None else _take_moment(plain, arrays, value, present)
    refuse_unknown("tensor", arrays)
    return moment


def _take_moment(plain: Mapping[str, Any], arrays: dict[str, np.ndarray], value: Value, present: Value) -> Moment:
    training, order = dict(check_dict("training", plain["training"])), _take_parts(arrays, "order", Order)
    position = _check_all("position", training.pop("position"), POSITION)
    callbacks: list[dict[str, Any]] = []
    for i, callback in enumerate(training.pop("callbacks")):
        require_keys("a callback", callback, ("name", "values"))
        states: dict[str, dict[str, np.ndarray]] = {}
        for name in [name for name in arrays if name.startswith(f"callbacks.{i}.")]:
            _, _, key, tensor = name.split(".", 3)
            states.setdefault(key, {})[tensor] = arrays.pop(name)
        values = dict(check_dict("values of a callback", callback["values"]))
        for key, tensors in states.items():
            values[key] = _take_state(tensors, value, present)
            refuse_unknown("tensor", tensors)
        callbacks.append({"name": callback["name"], "values": values})
    _check_all("training", training, TRAINING)
    # Or a forged epoch, of which past ones are drawn again, would take forever
    if position["epoch"] - 1 != len(value.history):
        raise ArgumentError(f"position.epoch={position['epoch']} contradicts a history of {len(value.history)} epochs")
    # Before the first step, the network still has the optimizer of its previous training
    has_states = any(isinstance(part, State) for callback in callbacks for part in callback["values"].values())
    if training["call"]["optimizer"] != plain["optimizer"] and (position["total_steps"] or has_states):
        raise ArgumentError(f"optimizer={plain['optimizer']!r} contradicts that of its training")
    return Moment(value, **position, **training, callbacks=callbacks, order=order and check_order(order))


def _take_parts(arrays: dict[str, np.ndarray], name: str, kind: type[Part]) -> Part | None:
    """Take the arrays of a named tuple, unchecked; None if there are none."""
    parts: list[Any] = [arrays.pop(f"{name}.{field}", None) for field in kind._fields]
    return None if all(part is None for part in parts) else kind(*parts)


def _take_laplace(arrays: dict[str, np.ndarray], model: Model) -> Laplace | None:
    if "laplace.noise" not in arrays:
        return None
    n = count_parameters(model.sizes)
    size, triangle = n * (n + 1) // 2, arrays.pop("laplace.triangle", np.zeros(0))
    require(triangle.shape == (size,), "laplace.triangle", triangle, f"the {size} numbers of a triangle")
    return unfold_laplace(triangle, arrays.pop("laplace.noise"))


def _take_calibrations(plain: Mapping[str, Any], arrays: dict[str, np.ndarray], model: Model) -> dict[int, Calibration]:
    """Take the calibrations of a network, for ensembles by their number of members, or 0 for the network alone."""
    calibrations: dict[int, Calibration] = {}
    for name, examples in check_dict("validation_examples", plain["validation_examples"]).items():
        array, widths, n = arrays.pop(name), arrays.pop(f"{name}.widths", None), int(name.removeprefix("calibration."))
        require(name == f"calibration.{n}" and n >= 0, "validation_examples", name, "names of calibrations")
        errors, temperature = (array, None) if model.task == "regression" else (None, array.item())
        calibration = Calibration(errors, examples, temperature, widths)
        calibrations[n] = check_calibration(calibration, model, name)
    return calibrations


def _take_state(arrays: dict[str, np.ndarray], value: Value, present: Value) -> State:
    """Take the state of a network with the optimizer and seeds of `value`, the structure and place of `present`."""
    model, (backend, dtype, _) = present.model, present.place

    def take(name: str) -> np.ndarray:
        array = arrays.pop(name)
        require(array.dtype == dtype, f"dtype of {name}", str(array.dtype), f"{dtype!r}, as in the settings")
        return array

    weights, biases = ([take(f"layers.{l}.{part}") for l in range(len(model.shapes))] for part in "wb")
    layers = parse_layers(weights, biases, model, present.place)
    state, dropout = init_optimizer(value.optimizer, layers, present.place), None
    with present.scope():
        memory = map_arrays(backend.to_numpy, state.memory)
        memory = rebuild(memory, [take(f"optimizer.{i}") for i in range(len(leaves(memory)))])
        if not all(np.isfinite(array).all() for array in leaves(memory)):
            raise ArgumentError("the memory of the optimizer must be finite")
        state = state._replace(memory=backend.copy_nest(memory, dtype))
        if any(model.dropout):
            step = arrays.pop("dropout.step")
            outline = step.shape, step.dtype
            require(outline == ((1,), np.int32), "dropout.step", outline, "one int32 number")
            dropout = init_dropout(value.seeds.dropout, model.dropout)._replace(step=step)  # type: ignore[union-attr]
        dropout, cost = (backend.copy_nest(nest, dtype) for nest in (dropout, np.zeros(1)))
    return State(layers, state, cost, dropout)


def _decode_optimizer(description: Any) -> Optimizer:
    options = dict(check_dict("optimizer", description))
    kind = OPTIMIZERS[options.pop("name")]
    if "optimizer" in options:
        options["optimizer"] = _decode_optimizer(options["optimizer"])
    return kind(**options)


def _parse_provenance(plain: Any) -> Provenance:
    require_keys("provenance", plain, Provenance._fields)
    seed, init, runs, edited, earlier = (plain[name] for name in Provenance._fields)
    numbers = seed if isinstance(seed, list) else [0 if seed is None else seed]
    fits = all(type(number) is int and number >= 0 for number in numbers)
    require(fits, "provenance.seed", seed, "null, a whole number of at least 0, or a list of them")
    _optional(_text)("provenance.init", init)
    _flag("provenance.edited", edited)
    count("provenance.earlier", earlier, 0)
    require(
        isinstance(runs, list) and len(runs) <= MOST_RUNS, "provenance.runs", runs, f"a list of at most {MOST_RUNS}"
    )
    runs = tuple(Run(**_check_all(f"provenance.runs[{i}]", run, RUN)) for i, run in enumerate(runs))
    return Provenance(tuple(seed) if isinstance(seed, list) else seed, init, runs, edited, earlier)
