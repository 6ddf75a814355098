"""What a network gives for inputs, a block of rows at a time: memory is bounded, however many there are."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xpnet.arrays import Array, blocks
from xpnet.backprop import forward
from xpnet.examples import scaled

if TYPE_CHECKING:
    from xpnet.network import Network

TOGETHER = 1 << 20  # numbers of all layers that are looked at together: 4 MiB


def outputs(net: "Network", x: Any, of: Callable[[Array], Array] = lambda a: a) -> Array:
    """Outputs for an example or for rows, or what `of` makes of them; without the axis of rows for one example."""
    rows, single = net.rows(x)
    found = [of(_outputs(net, block)) for block in blocks(rows, sum(net.sizes), TOGETHER)]
    whole = found[0] if len(found) == 1 else net.backend.xp.concat(found, axis=0)
    return whole[0, ...] if single else whole


def _outputs(net: "Network", rows: Array) -> Array:
    xp = net.backend.xp
    a = forward(net.state.layers, net.sigmas, scaled(rows, net.factor, xp), xp)[1][-1]
    return a if net.scaling is None else net.scaling.outputs(a)
