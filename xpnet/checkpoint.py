"""A network <-> a safetensors file: plain arrays and a JSON header, nothing that is executed."""

import json
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from xpnet.arrays import leaves, map_arrays, refill
from xpnet.backends import Backend
from xpnet.errors import CheckpointError, need_folder, warn
from xpnet.names import OPTIMIZERS
from xpnet.optimizers import SGD, Optimizer
from xpnet.scaling import Scaling

if TYPE_CHECKING:
    from xpnet.network import Network

FORMAT = 4


def save(net: "Network", path: str | os.PathLike[str]) -> None:
    """Write a network; an existing file is replaced at once, at the end, or not at all."""
    need_folder(path)
    to_numpy, state = net.backend.to_numpy, net.state
    arrays: dict[str, np.ndarray] = {}
    for l, (w, b) in enumerate(state.layers):
        arrays[f"layers.{l}.w"], arrays[f"layers.{l}.b"] = to_numpy(w), to_numpy(b)[0]
    optimizer = _described(net.optimizer)
    if optimizer is None:
        warn(f"optimizer={net.optimizer!r} is of your own class and is not saved; reset_optimizer(...) after loading")
    else:
        arrays |= {f"optimizer.{i}": to_numpy(leaf) for i, leaf in enumerate(_remembered(state.optimizer))}
    if state.dropout is not None:
        arrays["dropout.step"] = to_numpy(state.dropout.step)
    if net.scaling is not None:
        arrays |= {f"scaling.{k}": to_numpy(v) for k, v in net.scaling._asdict().items() if v is not None}
    header = {
        "format": FORMAT,
        "settings": {
            "sizes": net.sizes,
            "activation": net.activation,
            "output_activation": net.output_activation,
            "cost": net.cost_name,
            "task": net.asked_task,
            "dropout": net.dropout,
            "scale": net.scale,
            "standardize": net.standardize,
            "dtype": net.dtype,
        },
        "optimizer": optimizer,
        "generator": net.rng.bit_generator.state,
        "seeds": net.seeds._asdict(),
    }
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_bytes(safetensors.numpy.save(arrays, {"xpnet": json.dumps(header, default=np.generic.item)}))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(kind: "type[Network]", path: str | os.PathLike[str], backend: Backend, custom: Iterable[Any]) -> "Network":
    """Read what `save` wrote.

    Raises
    ------
    CheckpointError
        If the file is not a safetensors file, or not one of xpnet's, or of a later format, or contradicts itself.
    OSError
        If it cannot be read at all.
    """
    header, arrays = _read(path)
    own = {str(getattr(each, "name", type(each).__name__)): each for each in custom}
    try:
        settings = dict(header["settings"])
        for name in ("output_activation", "cost"):
            settings[name] = own.get(settings[name], settings[name])
        if isinstance(settings["activation"], list):
            settings["activation"] = [own.get(name, name) for name in settings["activation"]]
        net = kind(**settings, backend=backend)
        net.layers = [(arrays[f"layers.{l}.w"], arrays[f"layers.{l}.b"]) for l in range(net.num_layers - 1)]
        _restore(net, header, arrays)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        hint = "; give objects of your own as custom=[...]" if "is unknown" in str(error) else ""
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} holds a network that cannot be: {what}{hint}") from error
    return net


def _restore(net: "Network", header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Give a new network all but its weights."""
    net.rng.bit_generator.state = header["generator"]
    vars(net)["seeds"] = type(net.seeds)(**{name: _seed(seed) for name, seed in dict(header["seeds"]).items()})
    net.reset_optimizer(SGD() if header["optimizer"] is None else _built(header["optimizer"]))
    with net.backend.scope(net.dtype):
        state, to_numpy = net.state, net.backend.to_numpy
        if header["optimizer"] is not None:
            fresh = map_arrays(to_numpy, state.optimizer)
            found = (arrays[f"optimizer.{i}"] for i in range(len(_remembered(fresh))))
            filled = refill(fresh, [leaf if leaf.ndim == 0 else next(found) for leaf in leaves(fresh)])
            if any(np.isnan(leaf).any() for leaf in leaves(filled)):
                raise ValueError("the state of its optimizer holds NaN")
            state = state._replace(optimizer=net.owned(filled))
        masks = net.masks()
        if masks is not None:
            (step,) = refill((masks.step,), [arrays["dropout.step"]])
            state = state._replace(dropout=net.owned(masks._replace(step=step)))
        net.state = state
        known = {name: arrays.get(f"scaling.{name}") for name in Scaling._fields}
        if any(array is not None for array in known.values()):
            _check_scaling(known, net.sizes)
            net.scaling = net.owned(Scaling(**known))  # type: ignore


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file, as far as they can be checked without making a network."""
    with open(path, "rb"):  # a missing or unreadable file is an OSError that names it
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["xpnet"])
            if header["format"] != FORMAT:
                raise CheckpointError(
                    f"{path} has format {header['format']!r} and this version of xpnet reads {FORMAT}; "
                    "use one that reads it"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            _check_match(dict(header["settings"]), arrays)
    except CheckpointError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet network ({type(error).__name__}: {error}); give a file by Network.save"
        ) from error
    return header, arrays


def _check_match(settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Refuse settings that contradict the tensors, before anything of the size they claim is made."""
    layers = len(settings["sizes"]) - 1
    shapes = [arrays[f"layers.{l}.w"].shape for l in range(layers)]
    if not shapes or shapes != list(zip(settings["sizes"][1:], settings["sizes"])):
        raise ValueError(f"sizes={settings['sizes']} contradicts weights of the shapes {shapes}")
    dtypes = {str(array.dtype) for name, array in arrays.items() if not name.startswith("dropout.")}
    if dtypes != {settings["dtype"]}:
        raise ValueError(f"dtype={settings['dtype']!r} contradicts tensors of {sorted(dtypes)}")


def _check_scaling(known: dict[str, np.ndarray | None], sizes: list[int]) -> None:
    for name, array in known.items():
        wanted = (1, sizes[0 if name[0] == "x" else -1])
        if array is not None and (array.shape != wanted or not np.isfinite(array).all()):
            raise ValueError(f"scaling.{name} of shape {array.shape} must be finite numbers of {wanted}")
        if array is not None and name.endswith("std") and not (array > 0).all():
            raise ValueError(f"scaling.{name} must be above 0")
    if known["x_mean"] is None or known["x_std"] is None or (known["y_mean"] is None) != (known["y_std"] is None):
        raise ValueError("scaling lacks a mean or a standard deviation")


def _remembered(state: Any) -> list[Any]:
    """What an optimizer remembers: the arrays of its state that are more than numbers of its settings."""
    return [leaf for leaf in leaves(state) if leaf.ndim > 0]


def _seed(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**32:
        raise ValueError(f"seed {given!r} must be a whole number of 32 bits")
    return given


def _described(optimizer: Any) -> dict[str, Any] | None:
    """Describe an optimizer by its name and numbers; None for one of a user's own class."""
    if OPTIMIZERS.get(type(optimizer).__name__) is not type(optimizer):
        return None
    described: dict[str, Any] = {"name": type(optimizer).__name__}
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        described[field.name] = _described(value) if field.name == "optimizer" else value
        if described[field.name] is None:
            return None
    return described


def _built(described: dict[str, Any]) -> Optimizer:
    options = dict(described)
    kind = OPTIMIZERS[options.pop("name")]
    if "optimizer" in options:
        options["optimizer"] = _built(options["optimizer"])
    return kind(**options)
