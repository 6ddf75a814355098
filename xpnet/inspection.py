"""Looking inside a network, and through it: activations, errors, derivatives by the inputs, and a summary."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xpnet.arrays import Array, blocks
from xpnet.backprop import deltas as propagate
from xpnet.backprop import forward, pullback
from xpnet.data import numbers
from xpnet.examples import scaled

if TYPE_CHECKING:
    from xpnet.network import Network


def activations(net: "Network", x: Any) -> list[Array]:
    """Activations of every layer, from the inputs on; see `Network.activations`."""
    rows, single = net.rows(x)
    found = forward(net.state.layers, net.sigmas, scaled(rows, net.factor, net.backend.xp), net.backend.xp)[1]
    return [net.backend.xp.asarray(a[0, ...] if single else a, copy=True) for a in found]


def deltas(net: "Network", x: Any, y: Any) -> list[Array]:
    """Errors of every layer; see `Network.deltas`."""
    (x, y, *_), single = net.examples(x, y)
    zs, a = forward(net.state.layers, net.sigmas, x, net.backend.xp)
    delta = net.output.delta(zs[-1], a[-1], y, net.backend.xp)
    found = propagate(net.state.layers, net.sigmas, zs, a, delta, net.backend.xp)
    return [each[0, ...] if single else each for each in found]


def vjp(net: "Network", x: Any, g: Any) -> Array:
    """Gradient by the inputs; see `Network.vjp`."""
    rows, single = net.rows(x)
    rows = scaled(rows, net.factor, net.backend.xp)
    wanted = (net.sizes[-1],) if single else (rows.shape[0], net.sizes[-1])
    g = numbers(g, "g")
    if tuple(g.shape) != wanted:
        raise ValueError(f"g has shape {tuple(g.shape)}, but must have {wanted}: a number for each output")
    g = net.backend.asarray(g, net.dtype, "g")
    found = _pullback(net, rows, g[None, :] if single else g)
    return found[0, ...] if single else found


def jacobian(net: "Network", x: Any) -> Array:
    """Derivatives of the outputs by the inputs; see `Network.jacobian`."""
    rows, single = net.rows(x)
    xp, n_out = net.backend.xp, net.sizes[-1]
    rows = scaled(rows, net.factor, xp)
    # One pull back of every output at once: unit vectors on an axis in front, so arrays are n_out times as large
    units = xp.eye(n_out, dtype=rows.dtype, device=rows.device)[:, None, :]
    found = [_pullback(net, block, units) for block in blocks(rows, 2 * n_out * max(net.sizes))]
    found = xp.permute_dims(xp.concat(found, axis=1), (1, 0, 2))
    return found[0, ...] if single else found


def _pullback(net: "Network", rows: Array, g: Array) -> Array:
    """gᵀ ∂a/∂x, from inputs that are scaled already, with the factors of all scaling."""
    xp, scaling = net.backend.xp, net.scaling
    zs, a = forward(net.state.layers, net.sigmas, rows, xp)
    if scaling is not None and scaling.y_std is not None:
        g = g * scaling.y_std
    g = pullback(net.state.layers, net.sigmas, zs, a, xp.broadcast_to(g, (*g.shape[:-2], *a[-1].shape)), xp)
    g = g if net.factor is None else g * net.factor
    return g if scaling is None else g / scaling.x_std


@dataclass(frozen=True)
class Summary:
    """What a network is made of; printing it shows a table.

    Attributes
    ----------
    rows : list of dict
        For each layer: ``layer``, ``units``, ``activation``, ``weights`` (shape), ``parameters``, ``bytes``, ``flops``
        (of a forward pass of one example: a multiplication and an addition for each weight, an addition for each bias;
        the activation function does not count).
    parameters, bytes, flops : int
        Of all layers.

    Examples
    --------
    >>> from xpnet import Network
    >>> Network([3, 4, 2]).summary()
    layer  units  activation  weights  parameters  bytes  flops an example
        1      4  sigmoid     (4, 3)           16     64                28
        2      2  sigmoid     (2, 4)           10     40                18
    total                                      26    104                46
    """

    rows: list[dict[str, Any]]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(row["parameters"] for row in self.rows)

    @property
    def bytes(self) -> int:
        """Memory of weights and biases."""
        return sum(row["bytes"] for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass of one example."""
        return sum(row["flops"] for row in self.rows)

    def __repr__(self) -> str:
        """Table of the layers."""
        head = ["layer", "units", "activation", "weights", "parameters", "bytes", "flops an example"]
        lines = [[str(value) for value in row.values()] for row in self.rows]
        total = ["total", "", "", "", str(self.parameters), str(self.bytes), str(self.flops)]
        return table([head, *lines, total], left=(2, 3))


def summary(net: "Network") -> Summary:
    """Layers, shapes, parameters, bytes and operations; see `Network.summary`."""
    rows = []
    for l, (n_in, n_out, sigma) in enumerate(zip(net.sizes, net.sizes[1:], net.sigmas), 1):
        parameters = n_out * n_in + n_out
        size = parameters * (4 if net.dtype == "float32" else 8)
        flops = 2 * n_out * n_in + n_out
        values = (l, n_out, sigma.name, (n_out, n_in), parameters, size, flops)
        rows.append(dict(zip(("layer", "units", "activation", "weights", "parameters", "bytes", "flops"), values)))
    return Summary(rows)


def table(lines: list[list[str]], left: tuple[int, ...] = ()) -> str:
    """Lay out rows of words in columns, those in `left` to the left, others to the right.

    Examples
    --------
    >>> print(table([["layer", "size"], ["1", "30"]]))
    layer  size
        1    30
    """
    widths = [max(len(word) for word in column) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            word.ljust(w) if i in left else word.rjust(w) for i, (word, w) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )
