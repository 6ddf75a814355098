"""PyTorch: networks to and from an nn.Sequential."""

from types import ModuleType
from typing import Any

from xpnet._checks import install_command
from xpnet.export.parts import put_together, require_network, take_apart, warn_of_losses
from xpnet.network.network import Network


def to_torch(net: Network) -> Any:
    """Make an nn.Sequential whose outputs are those of `Network.forward`, in the dtype of the network, on the CPU.

    Quantiles are sorted, as by `Network.predict`, and probabilities calibrated, as by `Network.predict_proba`. The
    module includes scaling of inputs and outputs, in xpnet's own modules, and nn.Dropout where the network has dropout.
    It is in evaluation mode; call ``module.train()`` to train it. It shares no memory with the network.

    Parameters
    ----------
    net
        The network, on any backend.

    Returns
    -------
    torch.nn.Sequential
        The module. It takes rows (m, n_in) of the network's dtype, or of any dtype if the network has `scale`.

    Raises
    ------
    ArgumentError
        If `net` is not a `Network`; or if the network has an activation of your own.
    ImportError
        If PyTorch is not installed.

    Examples
    --------
    >>> net = Network([3, 4, 2], activation="relu", task="classification", seed=0)
    >>> to_torch(net)
    Sequential(
      (0): Linear(in_features=3, out_features=4, bias=True)
      (1): ReLU()
      (2): Linear(in_features=4, out_features=2, bias=True)
      (3): Softmax(dim=-1)
    )
    """
    parts = take_apart(require_network(net), temperature=net.temperature)
    warn_of_losses(net)
    return _import_modules("to_torch").make_sequential(parts)


def from_torch(
    module: Any,
    *,
    task: str | None = None,
    cost: Any = None,
    backend: Any = None,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
) -> Network:
    """Make a network with the weights of an nn.Sequential; its outputs are those of the module in evaluation mode.

    The module may have Linear layers, with or without bias; after each of them one of ReLU, Sigmoid, Tanh, SiLU, GELU,
    ELU, SELU, Softplus, LeakyReLU, Softmax and Identity; Dropout; Flatten at the front; and everything that `to_torch`
    makes. Append ``nn.Softmax(dim=-1)`` to a classifier that ends in logits.

    Parameters
    ----------
    module
        The nn.Sequential, on any device.
    task, cost
        As in `Network`, for `measure` and further training. With neither, the cost is cross-entropy for a softmax or
        sigmoid output, and quadratic for most others.
    backend, device
        Where the network is to compute.
    dtype
        "float32" or "float64"; by default the dtype of the weights.
    seed
        Seed of the network's own generator, for training.

    Returns
    -------
    Network
        A network with copies of the weights.

    Raises
    ------
    ArgumentError
        If `module` is not an nn.Sequential; or if it has a layer that networks do not support; the message names its
        number and kind.

    Examples
    --------
    >>> from torch import nn
    >>> from_torch(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid()), task="binary").sizes
    [3, 4, 1]
    """
    parts = _import_modules("from_torch").take_sequential_apart(module)
    return put_together(parts, "module", task=task, cost=cost, backend=backend, device=device, dtype=dtype, seed=seed)


def _import_modules(function: str) -> ModuleType:
    try:
        from xpnet.export import _torch_modules
    except ImportError as error:
        raise ImportError(f"{function} needs PyTorch ({error}); install it with: {install_command('torch')}") from error
    return _torch_modules
