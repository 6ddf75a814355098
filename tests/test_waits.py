"""No step waits for the device: on arrays that refuse to tell, on CuPy over host memory, PyTorch's "meta", and JAX."""

from typing import Any

import host_cupy
import numpy as np
import pytest
import waits
from silent import XP, HostAskedError, Silent
from trainings import TRAININGS, TWINS, Training
from waits import HERE, PLACES, Watched, assert_no_waits, network, prepare_steps, prepare_training


@pytest.fixture(params=HERE)
def watched(request: pytest.FixtureRequest) -> Watched:
    """Each place where it can be seen what a step asks for."""
    return PLACES[request.param]()


def find_trainings(name: str) -> list[Training]:
    """All where that is quick; on JAX, those that test_trainings.py does not compile."""
    return {"jax": TWINS, "torch": TRAININGS[::5], "torch replayed": TRAININGS[::2]}.get(name, TRAININGS)


WATCHED = [(name, each) for name in HERE for each in find_trainings(name)]


@pytest.mark.parametrize(("watched", "training"), WATCHED, indirect=["watched"], ids=str)
def test_no_step_waits(watched, training):
    counts = watched.count(prepare_training(watched.backend, training))
    assert_no_waits(counts)
    assert counts.launches() > 0


# What waits is found


FOUND = {
    "silent": "asked for the value of an array",
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


@pytest.mark.parametrize(
    "ask",
    [float, int, bool, iter, list, len, np.asarray, lambda x: x.item(), lambda x: x.tolist(), lambda x: 1 in x],
)
def test_silent_arrays_refuse_to_tell(ask):
    with pytest.raises(HostAskedError, match="asked for the value"):
        ask(Silent(np.ones(1)))
    with pytest.raises(HostAskedError, match="made an array of float"):
        XP.asarray(1.0)


@pytest.mark.needs("torch")
def test_a_program_that_copies_to_the_device_is_found():
    """Recording does not refuse it: array_api_compat makes a tensor of this number whenever it is called."""
    watched = PLACES["torch replayed"]()

    def step(state: Any, minibatch: Any, xp: Any) -> Any:
        return state._replace(cost=xp.hypot(state.cost, 2.0))

    with pytest.raises(AssertionError, match=r"copy to the device: 1 × asarray at xpnet/backends/replay/_tape.py:\d+"):
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
