"""No step asks for a value on the host: every fold runs on arrays that refuse to tell."""

from typing import Any

import numpy as np
import pytest
from helpers import flat
from silent import XP, HostAskedError, Silent, silenced, told
from test_costs import PAIRS, targets
from test_optimizers import EVERY

from xpnet import SGD, Adam, Network
from xpnet.arrays import map_arrays, part
from xpnet.backprop import Spec, State, make_step
from xpnet.estimators import lbfgs
from xpnet.examples import Batch, Examples, gather
from xpnet.names import ACTIVATIONS
from xpnet.optimizers import Optimizer

M, N = 4, 12
X = np.random.default_rng(0).standard_normal((N, 5))
LR = np.full(3, 0.05)
INDEX = np.arange(12, dtype=np.int32).reshape(3, M)


def folded(net: Network, step: Any, state: Any, examples: Examples, batches: Batch) -> None:
    """Three steps on silent arrays, and the same as the network's own backend takes them."""
    silent, data, all_batches = silenced(state), silenced(examples), silenced(batches)
    for i in range(3):
        silent = step(silent, gather(data, part(all_batches, i), XP), XP)
    expected = net.backend.fold(step, gather, state, batches, examples)
    for ours, plain in zip(flat(told(silent)), flat(expected), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-14)


def check(net: Network, y: np.ndarray, optimizer: Optimizer | None = None, **more: Any) -> None:
    net.reset_optimizer(optimizer or SGD())
    options = {name: more.pop(name) for name in ("weight", "scale", "classes") if name in more}
    examples = Examples(more.pop("x", X), y, **options)
    state = net.state._replace(cost=np.zeros(M))
    folded(net, net.step(net.optimizer), state, examples, Batch(INDEX, LR, **more))


def network(**options: Any) -> Network:
    return Network([5, 4, 3], **{"activation": "tanh", "dtype": "float64", "seed": 0, **options})


Y = np.random.default_rng(1).uniform(size=(N, 3))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    check(network(activation=activation), Y)


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_every_output_with_every_cost(output, cost):
    check(network(output_activation=output, cost=cost), targets(output, np.random.default_rng(2), N, 3))


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_every_optimizer(optimizer):
    check(network(), Y, optimizer)


def test_dropout():
    check(network(dropout=[0.2, 0.5]), Y, Adam())


@pytest.mark.parametrize("live", [None, np.array([True, False, True])], ids=["all live", "one is not"])
def test_weights_penalty_classes_and_bytes(live):
    weight = np.ones(N)
    weight[4:8] = 1.0 if live is None else 0.0
    pixels = np.random.default_rng(3).integers(256, size=(N, 5), dtype=np.uint8)
    classes = {"classes": np.arange(3, dtype=np.int32), "scale": np.float64(1 / 255)}
    net = network(task="classification", dropout=0.3)
    more = {"live": live, "decay": np.full(3, 0.1)}
    with np.errstate(all="ignore"):
        check(net, np.arange(N, dtype=np.int32) % 3, Adam(), x=pixels, weight=weight, **classes, **more)


def test_the_gradients_of_lbfgs():
    net = network()
    step = make_step(Spec(net.sigmas, net.output, lbfgs._add_up))
    zeros = map_arrays(lambda x: 0.0 * x, net.state.layers)
    folded(net, step, State(net.state.layers, zeros, np.zeros(M)), Examples(X, Y), Batch(INDEX, LR))


@pytest.mark.parametrize(
    "ask",
    [float, int, bool, iter, list, len, np.asarray, lambda x: x.item(), lambda x: x.tolist(), lambda x: 1 in x],
)
def test_it_would_be_seen(ask):
    with pytest.raises(HostAskedError, match="asked for the value"):
        ask(Silent(np.ones(1)))
    with pytest.raises(HostAskedError, match="made an array of float"):
        XP.asarray(1.0)


def test_an_activation_of_the_users_that_asks_is_caught():
    class Asks:
        def value(self, z: Any, xp: Any) -> Any:
            return z * (1.0 if xp.max(z) > 1e9 else 0.5)

        def pullback(self, g: Any, z: Any, a: Any, xp: Any) -> Any:
            return 0.5 * g

    with pytest.raises(HostAskedError):
        check(network(activation=Asks()), Y)
