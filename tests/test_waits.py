"""No step waits for the device: on CuPy over host memory, on PyTorch's device "meta", and traced by JAX."""

from typing import Any

import host_cupy
import numpy as np
import pytest
import waits
from test_costs import PAIRS, count_outputs, targets
from test_optimizers import EVERY
from waits import HERE, PLACES, STEPS, N, Watched, Y, assert_no_waits, network, prepare_steps

from xpnet import Adam, Network
from xpnet.core.activations import ACTIVATIONS


@pytest.fixture(params=HERE)
def watched(request: pytest.FixtureRequest) -> Watched:
    """Each place where it can be seen what a step asks for."""
    return PLACES[request.param]()


def check(watched: Watched, net: Network, *args: Any, **more: Any) -> None:
    counts = watched.count(prepare_steps(net, *args, **more))
    assert_no_waits(counts)
    assert counts.launches() > 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_step_waits_with_any_activation(watched, activation):
    check(watched, network(watched.backend, activation=activation))


FIRST = {cost: output for output, cost in reversed(PAIRS)}  # of each cost; the activations are tested above
FUSED = [("sigmoid", "cross_entropy"), ("softmax", "cross_entropy")]  # with a delta of their own


@pytest.mark.parametrize(("output", "cost"), [pair for pair in PAIRS if FIRST[pair[1]] == pair[0] or pair in FUSED])
def test_no_step_waits_with_any_cost(watched, output, cost):
    y = targets(output, np.random.default_rng(2), N, 3)
    given = None if output == "mean_std" else output  # which its cost brings
    net = network(watched.backend, count_outputs(cost, 3), output_activation=given, cost=cost)
    check(watched, net, y)


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_no_step_waits_with_any_optimizer(watched, optimizer):
    check(watched, network(watched.backend), Y, optimizer)


def test_no_step_waits_with_dropout_weights_penalty_classes_and_bytes(watched):
    check(watched, network(watched.backend, dropout=[0.2, 0.5]), Y, Adam())
    pixels = np.random.default_rng(3).integers(256, size=(N, 5), dtype=np.uint8)
    net = network(watched.backend, task="classification", dropout=0.3)
    labels, weight, decay = np.arange(N, dtype=np.int32) % 3, np.ones(N, np.float32), np.full(STEPS, 0.1, np.float32)
    check(watched, net, labels, Adam(), x=pixels, scale=np.float32(1 / 255), weight=weight, decay=decay)


# What waits is found


FOUND = {
    host_cupy.NAME: r"waits for the device, by a synchronization: 1 × at xpnet/backends/_cupy.py:\d+",
    "torch": r"waits for the device, by a copy to the host: 1 × aten._to_copy.default at xpnet/backends/_torch.py:\d+",
    "torch replayed": r"\.detach is not an attribute that can be recorded",
    "jax": "called on traced array",
}


def test_a_step_that_brings_a_value_to_the_host_is_found(watched, request):
    def step(state: Any, minibatch: Any, xp: Any) -> Any:
        watched.backend.to_numpy(minibatch.lr)
        return state

    with pytest.raises(Exception, match=FOUND[request.node.callspec.params["watched"]]):
        assert_no_waits(watched.count(prepare_steps(network(watched.backend))._replace(step=step)))


@pytest.mark.needs("torch")
def test_a_program_that_copies_to_the_device_is_found():
    """Recording does not refuse it: array_api_compat makes a tensor of this number whenever it is called."""
    watched = PLACES["torch replayed"]()

    def step(state: Any, minibatch: Any, xp: Any) -> Any:
        return state._replace(cost=xp.hypot(state.cost, 2.0))

    with pytest.raises(AssertionError, match=r"copy to the device: 1 × asarray at xpnet/backends/replay/tape.py:\d+"):
        watched.count(prepare_steps(network(watched.backend))._replace(step=step))


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("operation", "wait"),
    [
        ("float(x[0, 0])", "synchronization"),
        ("bool((x > 0).any())", "synchronization"),
        ("x[x > 0]", "synchronization"),
        ("torch.nonzero(x)", "synchronization"),
        ("torch.equal(x, x)", "synchronization"),
        ("x.tolist()", "copy to the host"),
        ("torch.asarray(2.0, device=x.device)", "copy to the device"),
        ("x.new_tensor([2.0])", "copy to the device"),
        ("x * torch.zeros(())", "copy to the device"),
        ("x.copy_(torch.zeros(3, 4))", "copy to the device"),
    ],
)
def test_operations_of_torch_that_wait(operation, wait):
    torch = pytest.importorskip("torch")
    names = {"torch": torch, "x": torch.zeros(3, 4, device="meta")}
    with waits.watching_torch():
        eval("torch.where(x > 0, torch.maximum(2.0 * x, torch.full((), 1.0, device=x.device)), 0.0)[1, ...]", names)
    with pytest.raises(AssertionError, match=f"by a {wait}"), waits.watching_torch():
        eval(operation, names)


@pytest.mark.needs("jax")
def test_a_compiled_step_that_calls_python_is_found():
    jax, watched = pytest.importorskip("jax"), PLACES["jax"]()

    def step(state: Any, minibatch: Any, xp: Any) -> Any:
        return state._replace(cost=jax.pure_callback(np.copy, jax.typeof(state.cost), state.cost))

    with pytest.raises(AssertionError, match="by a synchronization: 1 × pure_callback"):
        assert_no_waits(watched.count(prepare_steps(network(watched.backend))._replace(step=step)))
