"""Exported files that are run: ONNX by onnxruntime, modules by PyTorch, functions by JAX, pages by Node.js."""

import json
import random
import shutil
import subprocess
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import Ensemble, Network
from xpnet.export import from_jax, from_torch, to_jax, to_onnx, to_torch, write_page

from . import own
from .generate import Operation, register
from .oracle import quantile_levels
from .world import Examples, Failure, World, assert_close, make_network, new_path, to_host

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

NODE = shutil.which("node")
LARGEST = 1e6  # beyond, rounding in one library and the other differs by more than a tolerance


def draw_model(world: World, r: random.Random) -> Network | Ensemble:
    """The network of the world, or an ensemble with it; calibrated or not."""
    model: Any = world.net.copy()
    if r.random() < 0.5:
        others = [make_network(world.settings, seed=r.randrange(99)) for _ in range(r.randint(0, 2))]
        for net in others:
            net.feature_names, net.scaling = model.feature_names, model.scaling
        model = Ensemble.of([model, *others])
    if r.random() < 0.5:
        with suppress(ValueError):  # where there is nothing to calibrate
            model.calibrate(Examples(world.net, r, 33).data)
    world.log.append(f"{type(model).__name__} of {len(members_of(model))}, temperature {model.temperature}")
    return model


def members_of(model: Network | Ensemble) -> list[Network]:
    return [*model] if isinstance(model, Ensemble) else [model]


def outputs_of(model: Network | Ensemble, x: np.ndarray) -> np.ndarray:
    """What an exported model must compute, (n, n_out): means, sorted quantiles, probabilities."""
    nets = members_of(model)
    if model.temperature is not None:
        return to_host(model.predict_proba(x)).reshape(len(x), -1)
    outputs = np.stack([to_host(net.forward(x)) for net in nets])
    if nets[0].cost_name == "gaussian":
        means, stds = np.split(outputs, 2, axis=-1)
        variance = np.mean(stds**2 + (means - means.mean(axis=0)) ** 2, axis=0)
        return np.concatenate([means.mean(axis=0), np.sqrt(variance)], axis=1)
    if levels := len(quantile_levels(nets[0].cost_name)):
        sorted_ = np.sort(outputs.reshape(len(nets), len(x), levels, -1), axis=2)
        outputs = sorted_.reshape(outputs.shape)
    return outputs.mean(axis=0)


def draw_rows(world: World, r: random.Random) -> np.ndarray:
    """Some inputs in the dtype of the network."""
    return Examples(world.net, r, r.choice([1, 4])).x.astype(world.net.dtype)


def are_usual(outputs: np.ndarray) -> bool:
    """Whether outputs are finite, and small enough to be compared."""
    return bool(np.isfinite(outputs).all() and np.abs(outputs).max() < LARGEST)


def run_onnx(path: str, inputs: dict[str, Any], names: list[str] | None = None) -> list[np.ndarray]:
    """Run an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"]).run(names, inputs)


def run_page(path: str, states: Any) -> list[tuple[list[float], list[float], list[list[float]]]]:
    """Run the script of a page; return inputs, outputs and derivatives for each state of its sliders."""
    Path(file := new_path(".json")).write_text(json.dumps(states))
    command = [str(NODE), str(Path(__file__).with_name("page.js")), path, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Failure(f"a page in JavaScript: {done.stderr[-600:]}")
    return json.loads(done.stdout)


@operation(weight=4, reads=True)
def onnx(world: World, r: random.Random) -> None:
    """A file of ONNX computes the same, for bytes too."""
    if any(own.find_factors(world.net)):  # which files cannot hold
        return
    if not find_spec("onnx") or not find_spec("onnxruntime"):
        return
    model, x, path = draw_model(world, r), draw_rows(world, r), new_path(".onnx")
    is_bytes = world.net.scale is not None and np.array_equal(x, x.astype(np.uint8)) and r.random() < 0.5
    to_onnx(model, path, input_dtype="uint8" if is_bytes else None)
    expected = outputs_of(model, x)
    if are_usual(expected):
        (y,) = run_onnx(path, {"x": x.astype(np.uint8) if is_bytes else x}, ["y"])
        assert_close(y, expected, 1e-10 if world.exact else 1e-4, "onnxruntime")


@operation(weight=4, reads=True)
def torch(world: World, r: random.Random) -> None:
    """A module of PyTorch computes the same, and so does the network that is made of it."""
    if any(own.find_factors(world.net)):  # which files cannot hold
        return
    if not find_spec("torch"):
        return
    import torch as library

    net, x = members_of(draw_model(world, r))[0], draw_rows(world, r)
    module, expected = to_torch(net), outputs_of(net, x)
    if not are_usual(expected):
        return
    tolerance = 1e-10 if world.exact else 1e-4
    assert_close(module(library.from_numpy(x)).detach().numpy(), expected, tolerance, "PyTorch")
    back = from_torch(module, cost=net.cost_name, dtype=net.dtype)
    assert_close(outputs_of(back, x), expected, tolerance, "from PyTorch")


@operation(weight=3, reads=True)
def jax(world: World, r: random.Random) -> None:
    """A function of JAX computes the same as `forward`, and its parameters come back."""
    if any(own.find_factors(world.net)):  # which files cannot hold
        return
    if not find_spec("jax"):
        return
    import jax as library

    model, x = draw_model(world, r), draw_rows(world, r)
    expected = to_host(model.forward(x))
    if not are_usual(expected):
        return
    with library.enable_x64(world.net.dtype == "float64"):  # also where numbers were float32 before
        f, params = to_jax(model)
        assert_close(np.asarray(f(params, x)), expected, 1e-10 if world.exact else 1e-4, "JAX")
        if not np.array_equal(to_host(from_jax(model, params).forward(x)), expected):
            raise Failure("from JAX: other outputs")


@operation(weight=3, reads=True)
def page(world: World, r: random.Random) -> None:
    """The page computes the same in JavaScript, with its derivatives."""
    if any(own.find_factors(world.net)):  # which files cannot hold
        return
    if NODE is None:
        return
    model, x, path = draw_model(world, r), draw_rows(world, r), new_path(".html")
    write_page(model, path)
    expected = outputs_of(model, x)
    if not are_usual(expected):
        return
    _, outputs, slopes = zip(*run_page(path, x.tolist()))
    tolerance = 1e-10 if world.exact else 1e-4
    assert_close(np.array(outputs, float), expected, tolerance, "a page in JavaScript")
    if isinstance(model, Network) and model.temperature is None and not quantile_levels(model.cost_name):
        slopes, expected = np.array(slopes, float), to_host(model.jacobian(x))
        assert_close(slopes, expected, 10 * tolerance, "derivatives of a page", max(1.0, np.abs(expected).max()))
