"""No step waits for the device: on CuPy over host memory, PyTorch's "meta", and JAX."""

from typing import Any

import host_cupy
import pytest
import waits
from trainings import TRAININGS, TWINS, Training
from waits import HERE, PLACES, Watched, assert_no_waits, network, prepare_steps, prepare_training


@pytest.fixture(params=HERE)
def watched(request: pytest.FixtureRequest) -> Watched:
    """Each place where it can be seen what a step asks for."""
    return PLACES[request.param]()


def find_trainings(name: str) -> list[Training]:
    """All where that is quick; on JAX, those that test_trainings.py does not compile."""
    return {"jax": TWINS, "torch": TRAININGS[::2]}.get(name, TRAININGS)


WATCHED = [(name, each) for name in HERE for each in find_trainings(name)]


@pytest.mark.parametrize(("watched", "training"), WATCHED, indirect=["watched"], ids=str)
def test_no_step_waits(watched, training):
    counts = watched.count(prepare_training(watched.backend, training))
    assert_no_waits(counts)
    assert counts.launches() > 0


# What waits is found


FOUND = {
    host_cupy.NAME: r"waits for the device, by a synchronization: 1 × at xpnet/backends/_cupy.py:\d+",
    "torch": r"waits for the device, by a copy to the host: 1 × aten._to_copy.default at xpnet/backends/_torch.py:\d+",
    "jax": "called on traced array",
}


def test_a_step_that_brings_a_value_to_the_host_is_found(watched, request):
    def step(state: Any, minibatch: Any, xp: Any) -> Any:
        watched.backend.to_numpy(minibatch.lr)
        return state

    with pytest.raises(Exception, match=FOUND[request.node.callspec.params["watched"]]):
        assert_no_waits(watched.count(prepare_steps(network(watched.backend))._replace(step=step)))


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("operation", "wait"),
    [
        ("float(x[0, 0])", "synchronization"),
        ("x[x > 0]", "synchronization"),
        ("torch.asarray(2.0, device=x.device)", "copy to the device"),
        ("x * torch.zeros(())", "copy to the device"),
    ],
)
def test_operations_of_torch_that_wait(operation, wait):
    torch = pytest.importorskip("torch")
    names = {"torch": torch, "x": torch.zeros(3, 4, device="meta")}
    with waits.watching_torch():
        eval("torch.where(x > 0, torch.maximum(2.0 * x, torch.full((), 1.0, device=x.device)), 0.0)[1, ...]", names)
    with pytest.raises(AssertionError, match=f"by a {wait}"), waits.watching_torch():
        eval(operation, names)
