"""PyTorch's modules: made from the parts of a network, and converted to parts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from xpnet.core.activations import (
    ACTIVATIONS,
    Activation,
    find_kind,
    gelu,
    gelu_tanh,
    make_elu,
    make_leaky_relu,
    mean_std,
    selu,
    softmax,
    softplus,
)
from xpnet.errors import ArgumentError
from xpnet.export.parts import Part

# Modules that PyTorch lacks


class FixedNumbers(nn.Module):
    """Base class of modules with numbers that are not trained: buffers, which move with the module."""

    def __init__(self, *numbers: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in zip(type(self).__annotations__, numbers):
            self.register_buffer(name, tensor)


class Scale(FixedNumbers):
    """Multiplies inputs of any dtype by a number."""

    factor: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.factor.dtype) * self.factor


class Standardize(FixedNumbers):
    """Scales inputs to mean 0 and standard deviation 1."""

    mean: torch.Tensor
    std: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.std


class Rescale(FixedNumbers):
    """Scales standardized outputs back to the units of the targets."""

    factor: torch.Tensor
    shift: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.shift


SCALINGS = {"scale": Scale, "standardize": Standardize, "rescale": Rescale}  # by the kind of their part


class Sort(nn.Module):
    """Sorts quantiles in increasing order; columns come in blocks, one for each level."""

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = tuple(levels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (len(self.levels), -1)).sort(dim=-2).values.flatten(-2)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class Exp(nn.Module):
    """The exponential function."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.exp(z)


class ScaledELU(nn.Module):
    """An ELU times a number."""

    def __init__(self, alpha: float, scale: float) -> None:
        super().__init__()
        self.alpha, self.scale = alpha, scale

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.scale * nn.functional.elu(z, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, scale={self.scale}"


class MeanStd(nn.Module):
    """Keeps the first half of the columns, means; in the second, makes standard deviations of softplus as variance."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        mean, z = torch.chunk(z, 2, dim=-1)
        return torch.cat([mean, torch.sqrt(nn.functional.softplus(z, threshold=LINEAR_FROM) + 1e-6)], dim=-1)


LINEAR_FROM = 40.0  # from here on, softplus is the identity in float64; PyTorch begins at 20


# From parts to modules


def make_sequential(parts: Iterable[Part]) -> nn.Sequential:
    """Make a module from parts, on the CPU and in evaluation mode, in which dropout does nothing.

    Raises
    ------
    ArgumentError
        If an activation is not xpnet's own.
    """
    return nn.Sequential(*(_make_module(part) for part in parts)).train(False)


def _make_module(part: Part) -> nn.Module:
    if part.kind == "activation":
        return _make_activation(*part.values)
    if part.kind == "dropout":
        return nn.Dropout(*part.values)
    if part.kind == "sort":
        return Sort(part.values[0].tolist())
    tensors = [torch.from_numpy(np.array(array, order="C")) for array in part.values]  # copies
    if part.kind == "dense":
        return _make_linear(*tensors)
    return SCALINGS[part.kind](*tensors)


def _make_linear(w: torch.Tensor, b: torch.Tensor) -> nn.Linear:
    linear = nn.Linear(w.shape[1], w.shape[0], device="meta")  # draws no random numbers
    linear.weight, linear.bias = nn.Parameter(w), nn.Parameter(b)
    return linear


# Kinds of activations whose modules have no options
_PLAIN: dict[str, type[nn.Module]] = {
    **{"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "identity": nn.Identity, "silu": nn.SiLU},
    **{"exp": Exp, "mean_std": MeanStd},
}
# Kinds of activations -> functions of their numbers
_MODULES: dict[str | None, Callable[..., nn.Module]] = {
    **_PLAIN,
    "softmax": lambda: nn.Softmax(dim=-1),
    "softplus": lambda: nn.Softplus(threshold=LINEAR_FROM),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "leaky_relu": nn.LeakyReLU,
    "elu": lambda alpha, scale: nn.ELU(alpha) if scale == 1.0 else ScaledELU(alpha, scale),
}


def _make_activation(sigma: Activation) -> nn.Module:
    kind, numbers = find_kind(sigma)
    if sigma.value == selu.value:
        return nn.SELU()
    if kind in _MODULES:
        return _MODULES[kind](*numbers)
    raise ArgumentError(
        f"activation={sigma.name!r} is your own and has no module of PyTorch; write one, and build the nn.Sequential "
        "from net.layers, or use an activation of xpnet"
    )


# From modules to parts


def take_sequential_apart(module: Any) -> list[Part]:
    """List the parts of an nn.Sequential, with its arrays on the host.

    Raises
    ------
    ArgumentError
        If it is not an nn.Sequential, or overrides `forward`; or if it has a layer that networks do not support; the
        message names it.
    """
    if not _is_plain(module):
        raise ArgumentError(
            f"module must be an nn.Sequential, not of type {type(module).__name__}; put its layers, in their "
            "order, into nn.Sequential(...)"
        )
    return [part._replace(place=place) for place, layer in _layers(module) for part in [_read_layer(place, layer)]]


def _is_plain(module: Any) -> bool:
    """Tell whether a module does nothing except apply its layers in order."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _layers(module: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """List the layers, including those of a Sequential inside the Sequential."""
    for name, layer in module.named_modules(remove_duplicate=False):  # named_children() lists a shared module once
        if not name or "." in name:  # the module itself, or one inside a layer
            continue
        if isinstance(layer, nn.Sequential) and _is_plain(layer):
            yield from _layers(layer, f"{prefix}{name}.")
        else:
            yield f"layer {prefix}{name} ({type(layer).__name__})", layer


def _read_layer(place: str, layer: nn.Module) -> Part:
    reader = _READERS.get(type(layer))
    part = None if reader is None else reader(layer)
    if part is None:
        supported = ", ".join(kind.__name__ for kind in _READERS if kind.__module__ != __name__)
        raise ArgumentError(
            f"module: {place} is {layer}, which networks do not have; they have {supported}, with options that they "
            "can have"
        )
    return part


def _read_linear(layer: nn.Linear) -> Part:
    w = _to_numpy(layer.weight)
    b = np.zeros(len(w), w.dtype) if layer.bias is None else _to_numpy(layer.bias)
    return Part("dense", (w, b))


def _read_scaling(kind: str, layer: FixedNumbers) -> Part:
    return Part(kind, tuple(map(_to_numpy, layer.buffers())))


def _to_numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)  # NumPy lacks bfloat16; float32 holds every number of half precision
    return tensor.numpy()


def _read_if(condition: bool, kind: str, *values: Any) -> Part | None:
    return Part(kind, values) if condition else None


def _activation(sigma: Activation) -> Callable[[Any], Part]:
    return lambda layer: Part("activation", (sigma,))


_READERS: dict[type[nn.Module], Callable[[Any], Part | None]] = {
    nn.Linear: _read_linear,
    nn.Flatten: lambda layer: _read_if((layer.start_dim, layer.end_dim) == (1, -1), "flatten"),
    nn.Dropout: lambda layer: _read_if(layer.p < 1, "dropout", layer.p),
    **{module: _activation({**ACTIVATIONS, "mean_std": mean_std}[kind]) for kind, module in _PLAIN.items()},
    nn.GELU: lambda layer: Part("activation", (gelu_tanh if layer.approximate == "tanh" else gelu,)),
    nn.ELU: lambda layer: Part("activation", (make_elu(layer.alpha),)),
    nn.SELU: _activation(selu),
    nn.Softplus: lambda layer: _read_if(layer.beta == 1 and layer.threshold >= 20, "activation", softplus),
    nn.LeakyReLU: lambda layer: Part("activation", (make_leaky_relu(layer.negative_slope),)),
    nn.Softmax: lambda layer: _read_if(layer.dim in (-1, 1), "activation", softmax),
    ScaledELU: lambda layer: Part("activation", (make_elu(layer.alpha, layer.scale),)),
    **{module: partial(_read_scaling, kind) for kind, module in SCALINGS.items()},
    Sort: lambda layer: Part("sort", (np.array(layer.levels),)),
}
