"""What a network gives for inputs, a block of rows at a time: memory is bounded, however many there are."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xpnet.arrays import Array, blocks
from xpnet.backprop import forward
from xpnet.data import numbers
from xpnet.examples import scaled

if TYPE_CHECKING:
    from xpnet.network import Network

TOGETHER = 1 << 22  # numbers of all layers that are computed together: 16 MiB


def outputs(net: "Network", x: Any, of: Callable[[Array], Array] = lambda a: a) -> Array:
    """Outputs for an example or for rows, or what `of` makes of them; without the axis of rows for one example."""
    x, single = as_rows(x, net.sizes[0])
    reader, xp, found = net.reader(), net.backend.xp, []
    for block in blocks(reader.moved(x, "x"), sum(net.sizes), TOGETHER):
        rows = scaled(reader.finite(block, "x"), reader.scale, xp)  # while the block is in the cache
        a = forward(net.state.layers, net.sigmas, rows, xp)[1][-1]
        found.append(of(a if net.scaling is None else net.scaling.outputs(a)))
    whole = found[0] if len(found) == 1 else xp.concat(found, axis=0)
    return whole[0, ...] if single else whole


def as_rows(x: Any, n_in: int) -> tuple[Array, bool]:
    """Inputs as rows, and whether they were a single example."""
    x = numbers(x, "x")
    single = x.ndim == 1 and x.shape[0] == n_in
    return (x[None, :] if single else x), single
