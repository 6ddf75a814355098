"""A network's settings and weights <-> a safetensors file: plain arrays and a JSON header, nothing that is executed."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from xpnet.errors import CheckpointError

FORMAT = 1


def write(path: str | os.PathLike[str], settings: dict[str, Any], layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a network; an existing file is replaced at once, at the end, or not at all.

    Parameters
    ----------
    path
        The file.
    settings
        What rebuilds the network, of JSON's types.
    layers
        Weights (n_out, n_in) and biases (n_out,) of each layer.
    """
    arrays = {}
    for l, (w, b) in enumerate(layers):
        arrays[f"layers.{l}.w"], arrays[f"layers.{l}.b"] = np.ascontiguousarray(w), np.ascontiguousarray(b)
    header = {"xpnet": json.dumps({"format": FORMAT, "settings": settings})}
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_bytes(save(arrays, header))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[tuple[np.ndarray, np.ndarray]]]:
    """Read what `write` wrote.

    Raises
    ------
    CheckpointError
        If the file is not a safetensors file, or not one of xpnet's, or of a later format.
    OSError
        If it cannot be read at all.
    """
    with open(path, "rb"):  # a missing or unreadable file is an OSError that names it
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["xpnet"])
            if header["format"] != FORMAT:
                raise CheckpointError(
                    f"{path} has format {header['format']!r} and this version of xpnet reads {FORMAT}; upgrade xpnet"
                )
            settings = dict(header["settings"])
            count = len(settings["sizes"]) - 1
            layers = [(file.get_tensor(f"layers.{l}.w"), file.get_tensor(f"layers.{l}.b")) for l in range(count)]
            _check_match(settings, layers)
    except CheckpointError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet network ({type(error).__name__}: {error}); give a file by Network.save"
        ) from error
    return settings, layers


def _check_match(settings: dict[str, Any], layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Refuse settings that contradict the tensors, before anything of the size they claim is made."""
    shapes = [w.shape for w, _ in layers]
    if not shapes or shapes != list(zip(settings["sizes"][1:], settings["sizes"])):
        raise ValueError(f"sizes={settings['sizes']} contradicts weights of the shapes {shapes}")
    dtypes = {str(array.dtype) for layer in layers for array in layer}
    if dtypes != {settings["dtype"]}:
        raise ValueError(f"dtype={settings['dtype']!r} contradicts tensors of {sorted(dtypes)}")
