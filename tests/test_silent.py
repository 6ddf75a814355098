"""No step asks for a value on the host: every step runs on arrays that refuse to tell."""

from typing import Any

import numpy as np
import pytest
from helpers import flat
from silent import XP, HostAskedError, Silent, silenced, told
from test_costs import PAIRS, count_outputs, targets
from test_optimizers import EVERY
from waits import gather

from xpnet import SGD, Adam, Network
from xpnet.core.activations import ACTIVATIONS
from xpnet.core.arrays import map_arrays, select
from xpnet.core.minibatch import Batch, Encoding, Examples, make_minibatch
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.step import State, make_step
from xpnet.estimators import lbfgs

M, N = 4, 12
X = np.random.default_rng(0).standard_normal((N, 5))
LR = np.full(3, 0.05)
INDEX = np.arange(12, dtype=np.int32).reshape(3, M)


def check_steps(net: Network, step: Any, state: Any, data: tuple[Examples, Encoding], batches: Batch) -> None:
    """Three steps on silent arrays, and the same as the network's own backend takes them."""
    silent, silent_data, all_batches = silenced(state), silenced(data), silenced(batches)
    for i in range(3):
        silent = step(silent, gather(silent_data, select(all_batches, i), XP), XP)
    expected = net.backend.loop(step, make_minibatch)(state, batches, data)
    for ours, plain in zip(flat(told(silent)), flat(expected), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-14)


def check(net: Network, y: np.ndarray, optimizer: Optimizer | None = None, **more: Any) -> None:
    net.reset_optimizer(optimizer or SGD())
    encoding = Encoding(np.arange(3, dtype=np.int32), more.pop("scale", None))
    examples = Examples(more.pop("x", X), y, more.pop("weight", None))
    state = net.state._replace(cost=np.zeros(M))
    step = make_step(net.sigmas, net.output, net.optimizer.update)
    check_steps(net, step, state, (examples, encoding), Batch(INDEX, LR, **more))


def network(outputs: int = 3, **options: Any) -> Network:
    return Network([5, 4, outputs], **{"activation": "tanh", "dtype": "float64", "seed": 0, **options})


Y = np.random.default_rng(1).uniform(size=(N, 3))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    check(network(activation=activation), Y)


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_every_output_with_every_cost(output, cost):
    net = network(count_outputs(cost, 3), output_activation=output, cost=cost)
    check(net, targets(output, np.random.default_rng(2), N, 3))


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_every_optimizer(optimizer):
    check(network(), Y, optimizer)


def test_dropout():
    check(network(dropout=[0.2, 0.5]), Y, Adam())


def test_weights_penalty_classes_and_bytes():
    weight = np.ones(N)
    pixels = np.random.default_rng(3).integers(256, size=(N, 5), dtype=np.uint8)
    net = network(task="classification", dropout=0.3)
    more = {"decay": np.full(3, 0.1)}
    with np.errstate(all="ignore"):
        check(net, np.arange(N, dtype=np.int32) % 3, Adam(), x=pixels, weight=weight, scale=np.float64(1 / 255), **more)


def test_the_gradients_of_lbfgs():
    net = network()
    step = make_step(net.sigmas, net.output, lbfgs.add_gradients)
    zeros = map_arrays(lambda x: 0.0 * x, net.state.layers)
    data = Examples(X, Y), Encoding(np.arange(3, dtype=np.int32))
    check_steps(net, step, State(net.state.layers, zeros, np.zeros(M)), data, Batch(INDEX, LR))


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
