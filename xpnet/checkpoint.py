"""Files: a network as a plain record, to and from a safetensors file with a JSON header; nothing is executed."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from xpnet.checks import check_folder, warn
from xpnet.core.arrays import leaves
from xpnet.core.model import Model
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.sgd import SGD
from xpnet.core.optimizers.table import OPTIMIZERS
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.errors import CheckpointError
from xpnet.files import read_file, write_file

FORMAT = 4
SETTINGS = {  # the arguments of Network that a file holds
    *("sizes", "activation", "output_activation", "cost", "task"),
    *("dropout", "scale", "standardize", "dtype"),
}
OTHER_TENSORS = re.compile(rf"optimizer\.\d+|dropout\.step|scaling\.({'|'.join(Scaling._fields)})")  # besides layers


class Record(NamedTuple):
    """A network as plain values and NumPy arrays."""

    settings: dict[str, Any]  # the arguments of Network
    optimizer: dict[str, Any] | None  # its name and numbers; None for an optimizer of the user's own class
    generator: dict[str, Any]  # state of the generator
    seeds: dict[str, Any]
    notes: dict[str, Any]  # of the user
    arrays: dict[str, np.ndarray]  # "layers.0.w", "optimizer.0", "dropout.step", "scaling.x_mean", ...


def make_record(
    settings: dict[str, Any],
    state: State,
    scaling: Scaling | None,
    optimizer: Optimizer,
    generator: dict[str, Any],
    seeds: dict[str, Any],
    notes: dict[str, Any],
) -> Record:
    """Make a record of a network, whose state and scaling are given as NumPy arrays."""
    arrays: dict[str, np.ndarray] = {}
    for l, (w, b) in enumerate(state.layers):
        arrays[f"layers.{l}.w"], arrays[f"layers.{l}.b"] = w, b[0]
    description = _describe(optimizer)
    if description is None:
        warn(f"optimizer={optimizer!r} is of your own class and is not saved; reset_optimizer(...) after loading")
    else:
        arrays |= {f"optimizer.{i}": array for i, array in enumerate(leaves(state.optimizer.memory))}
    if state.dropout is not None:
        arrays["dropout.step"] = state.dropout.step
    if scaling is not None:
        arrays |= {f"scaling.{name}": array for name, array in scaling._asdict().items() if array is not None}
    return Record(settings, description, generator, seeds, notes, arrays)


def write(path: str | os.PathLike[str], record: Record) -> None:
    """Write a record; an existing file is replaced whole, or not at all."""
    check_folder(path)
    arrays = {name: np.asarray(array, order="C") for name, array in record.arrays.items()}
    header = {"format": FORMAT, **record._asdict()}
    del header["arrays"]
    try:
        text = json.dumps({**header, "notes": dict(record.notes)}, default=np.generic.item)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"notes of the network must be a dict of plain values, as in JSON ({error})") from error
    write_file(path, safetensors.numpy.save(arrays, {"xpnet": text}))


def read(path: str | os.PathLike[str]) -> Record:
    """Read a record, and check as much of it as is possible without making a network.

    Raises
    ------
    CheckpointError
        If the file is not a safetensors file, or not one of xpnet's, or of a later format, or contradicts itself.
    OSError
        If it cannot be read at all.
    """
    content = read_file(path)
    try:
        arrays = safetensors.numpy.load(content)  # checks that the file is one of its kind
        header = json.loads(_read_metadata(content)["xpnet"])
        if type(header["format"]) is not int or header["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {header['format']!r} and this version of xpnet reads {FORMAT}; "
                "use one that reads it"
            )
        _refuse_unknown("key", set(header) - {"format", *Record._fields})
        settings = dict(header["settings"])
        _check_settings(settings, arrays)
        notes = header.get("notes", {})  # older files have none
        if not isinstance(notes, dict):
            raise TypeError(f"notes={notes!r} must be a dict")
        return Record(settings, header["optimizer"], header["generator"], header["seeds"], notes, arrays)
    except CheckpointError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet network ({type(error).__name__}: {error}); give a file written by "
            "Network.save"
        ) from error


def _read_metadata(content: bytes) -> dict[str, str]:
    """Read the metadata of a safetensors file: its header, in JSON, follows the header's length in 8 bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]).get("__metadata__", {})


@contextmanager
def explain_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors in the contents of a record into a CheckpointError that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        hint = "; give your own objects as custom=[...]" if "is unknown" in str(error) else ""
        problem = f"{error} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} holds a network that is not valid: {problem}{hint}") from error


# What a record holds


def settings_of(record: Record, custom: Iterable[Any]) -> dict[str, Any]:
    """Return the arguments of Network, with the user's own objects in the place of their names."""
    own = {str(getattr(value, "name", type(value).__name__)): value for value in custom}
    settings = dict(record.settings)
    for name in ("output_activation", "cost"):
        settings[name] = own.get(settings[name], settings[name])
    if isinstance(settings["activation"], list):
        settings["activation"] = [own.get(name, name) for name in settings["activation"]]
    return settings


def layers_of(record: Record) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases of each layer."""
    n_layers = len(record.settings["sizes"]) - 1
    return [(record.arrays[f"layers.{l}.w"], record.arrays[f"layers.{l}.b"]) for l in range(n_layers)]


def seeds_of(record: Record) -> dict[str, int]:
    """Return the seeds."""
    for seed in dict(record.seeds).values():
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"seed {seed!r} must be a whole number of 32 bits")
    return dict(record.seeds)


def generator_of(record: Record) -> dict[str, Any]:
    """Return the state of the generator."""
    generator = record.generator
    if generator["state"]["inc"] % 2 == 0:  # PCG64 would give few different numbers, and draw a permutation without end
        raise ValueError("the state of its generator has an even increment")
    return generator


def optimizer_of(record: Record) -> Optimizer:
    """Return the optimizer; plain SGD if the record does not hold it."""
    return SGD() if record.optimizer is None else _build(record.optimizer)


def memory_of(record: Record, n: int) -> list[np.ndarray]:
    """Return the n arrays of the optimizer's memory."""
    _refuse_unknown(
        "tensor", {x for x in record.arrays if x.startswith("optimizer.")} - {f"optimizer.{i}" for i in range(n)}
    )
    arrays = [record.arrays[f"optimizer.{i}"] for i in range(n)]
    if any(np.isnan(array).any() for array in arrays):
        raise ValueError("the state of its optimizer holds NaN")
    return arrays


def dropout_step_of(record: Record) -> np.ndarray:
    """Return the step of dropout, (1,)."""
    step = record.arrays["dropout.step"]
    if (step.shape, step.dtype) != ((1,), np.int32):
        raise ValueError(f"dropout.step of shape {step.shape} and dtype {step.dtype} must be one int32 number")
    return step


def scaling_of(record: Record, model: Model) -> Scaling | None:
    """Return the scaling, if there is one."""
    arrays = {name: record.arrays.get(f"scaling.{name}") for name in Scaling._fields}
    if all(array is None for array in arrays.values()):
        return None
    for name, array in arrays.items():
        shape = (1, model.n_in if name.startswith("x") else model.n_targets)
        if array is not None and (array.shape != shape or not np.isfinite(array).all()):
            raise ValueError(f"scaling.{name} of shape {array.shape} must be finite numbers of shape {shape}")
        if array is not None and name.endswith("std") and not (array > 0).all():
            raise ValueError(f"scaling.{name} must be above 0")
    if arrays["x_mean"] is None or arrays["x_std"] is None or (arrays["y_mean"] is None) != (arrays["y_std"] is None):
        raise ValueError("scaling lacks a mean or a standard deviation")
    return Scaling(**arrays)


def _check_settings(settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Refuse unknown names, and settings that contradict the tensors, before anything of their size is made."""
    _refuse_unknown("setting", set(settings) - SETTINGS)
    layers = len(settings["sizes"]) - 1
    shapes = [arrays[f"layers.{l}.w"].shape for l in range(layers)]
    if not shapes or shapes != list(zip(settings["sizes"][1:], settings["sizes"])):
        raise ValueError(f"sizes={settings['sizes']} contradicts weights of the shapes {shapes}")
    dtypes = {str(array.dtype) for name, array in arrays.items() if not name.startswith("dropout.")}
    if dtypes != {settings["dtype"]}:
        raise ValueError(f"dtype={settings['dtype']!r} contradicts tensors of {sorted(dtypes)}")
    tensors = {f"layers.{l}.{part}" for l in range(layers) for part in "wb"}
    others = {name for name in arrays if name not in tensors and not OTHER_TENSORS.fullmatch(name)}
    for name in sorted(name for name in others if name.startswith("layers.")):
        raise ValueError(f"sizes={settings['sizes']} contradicts the tensor {name!r}")
    _refuse_unknown("tensor", others)


def _refuse_unknown(kind: str, names: Iterable[str]) -> None:
    """Refuse names that no version of xpnet writes: nothing in a file is ignored."""
    for name in sorted(names):
        raise ValueError(f"the {kind} {name!r} is not one of xpnet's")


def _describe(optimizer: Any) -> dict[str, Any] | None:
    """Describe an optimizer by its name and numbers; None for an optimizer of the user's own class."""
    if OPTIMIZERS.get(type(optimizer).__name__) is not type(optimizer):
        return None
    description: dict[str, Any] = {"name": type(optimizer).__name__}
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        description[field.name] = _describe(value) if field.name == "optimizer" else value
        if description[field.name] is None:
            return None
    return description


def _build(description: dict[str, Any]) -> Optimizer:
    options = dict(description)
    kind = OPTIMIZERS[options.pop("name")]
    if "optimizer" in options:
        options["optimizer"] = _build(options["optimizer"])
    return kind(**options)
