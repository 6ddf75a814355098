"""What a step of training asks of a device, on a machine without a GPU: places that stand for one, and tell.

A step must not wait for the device: no value comes to the host, and nothing is copied there or back. On a GPU that
would cost more than the step itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import host_cupy
import numpy as np
from helpers import HOST, LEFT_OUT, NOT_INSTALLED
from host_cupy.counts import Counts
from trainings import Training

from xpnet import SGD, Network, get_backend
from xpnet.core.arrays import map_arrays, select, take_examples
from xpnet.core.minibatch import Batch, Encoding, Examples, Minibatch, make_minibatch
from xpnet.core.step import make_step

M, N, STEPS = 4, 8, 2
X = np.random.default_rng(0).standard_normal((N, 5))
Y = np.random.default_rng(1).uniform(size=(N, 3))
WAITS = ("synchronization", "copy to the device", "copy to the host")


def assert_no_waits(counts: Counts) -> None:
    for wait in WAITS:
        assert counts[wait] == 0, f"a step waits for the device, by a {wait}: {counts.lines(wait)}"


def network(backend: Any, outputs: int = 3, **options: Any) -> Network:
    return Network([5, 4, outputs], **{"activation": "tanh", "seed": 0, **options}, backend=backend)


class Steps(NamedTuple):
    """Steps that can be taken, with everything on the device."""

    backend: Any
    step: Callable[..., Any]
    data: Any
    state: Any
    batches: Any


def prepare_steps(net: Network, y: np.ndarray = Y, optimizer: Any = None, x: np.ndarray = X, **more: Any) -> Steps:
    """Prepare the steps of a network on its device; `more` may have a scale, weights of examples, and decay."""
    net.reset_optimizer(optimizer or SGD())
    backend = net.backend
    with backend.scope(net.dtype):
        encoding = Encoding(np.arange(3, dtype=np.int32), more.pop("scale", None))
        x, y = (a.astype(net.dtype) if a.dtype == np.float64 else a for a in (x, y))
        data = map_arrays(backend.asarray, (Examples(x, y), encoding))
        state = net.state._replace(cost=backend.asarray(np.zeros(M, net.dtype)))
        index, lr = np.arange(N, dtype=np.int32).reshape(STEPS, M), np.full(STEPS, 0.05, net.dtype)
        batches = map_arrays(backend.asarray, Batch(index, lr, **more))
        return Steps(backend, make_step(net.sigmas, net.output, net.optimizer.update), data, state, batches)


def prepare_training(backend: Any, training: Training, dtype: str = "float32") -> Steps:
    """Prepare the steps of a training of the list."""
    x, y, weight = training.draw(N)
    more: dict[str, Any] = {"x": x, "scale": np.dtype(dtype).type(1 / 255) if training.in_bytes else None}
    if weight is not None:
        more |= {"weight": weight.astype(dtype).reshape(STEPS, M), "decay": np.full(STEPS, 0.1, dtype)}
    net = Network(training.sizes, **training.options, seed=0, dtype=dtype, backend=backend)
    return prepare_steps(net, y.astype(np.int32) if training.in_classes else y, training.optimizer, **more)


def gather(data: tuple[Examples, Encoding], batch: Batch, xp: Any) -> Minibatch:
    """Take the examples of a step and decode them, as a loop does."""
    return make_minibatch(take_examples(data[0], batch.index, xp), data[1], batch, xp)


def count_plain_steps(steps: Steps, counting: Any, number: int = 0) -> Counts:
    """Take steps by a plain loop, up to the one of this number; return what was counted in it."""
    backend, step, data, state, batches = steps
    with backend.scope("float32"):
        for i in range(number + 1):
            with counting() if i == number else nullcontext() as counts:
                state = step(state, gather(data, select(batches, i), backend.xp), backend.xp)
    return counts


# PyTorch


def meta_backend() -> Any:
    """Make a backend on PyTorch's device "meta", in the place of a GPU: no tensor there has values to ask for."""
    import torch

    from xpnet.backends._torch import TorchBackend

    class MetaBackend(TorchBackend):
        def __init__(self) -> None:
            super().__init__("cpu")
            self.device = torch.device("meta")

        def shares_memory(self, x: Any, y: Any) -> bool:
            return x.untyped_storage()._cdata == y.untyped_storage()._cdata  # there are no addresses

    return MetaBackend()


@contextmanager
def watching_torch() -> Iterator[Counts]:
    """Count the operations of PyTorch, down to those that its own functions are made of; fail at one that waits."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    ask_for_values = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}  # item, equal, nonzero, masks
    from_host = {torch.tensor, torch.asarray, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor}
    counts = Counts()

    def count(what: str, function: Any) -> None:
        counts.add(what, str(function))
        assert_no_waits(counts)

    class WatchFunctions(TorchFunctionMode):  # below, what is made on "meta" of a number never was on the host
        def __torch_function__(self, function: Any, types: Any, args: Any = (), options: Any = None) -> Any:
            if function in from_host and not isinstance(args[-1], torch.Tensor):
                count("copy to the device", function.__name__)
            return function(*args, **options or {})

    class WatchOperations(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), options: Any = None) -> Any:
            options = options or {}
            devices = [x.device.type for x in tree_leaves((args, options)) if isinstance(x, torch.Tensor)]
            target = torch.device(options.get("device") or (devices or ["cpu"])[0]).type
            if ask_for_values & {*function.tags}:
                count("synchronization", function)
            elif "cpu" in (target, *devices):
                count(f"copy to the {'host' if target == 'cpu' and 'meta' in devices else 'device'}", function)
            else:
                count("kernel", function)
            return function(*args, **options)

    with WatchFunctions(), WatchOperations():
        yield counts


# JAX


def count_traced_operations(steps: Steps) -> Counts:
    """Count what a compiled step is made of. Tracing fails where it asks for a value."""
    import jax

    backend, step, data, state, batches = steps
    counts = Counts()

    def count(program: Any) -> None:
        for operation in program.eqns:
            name = str(operation.primitive)
            kind = (
                "copy to the device" if name == "device_put" else "synchronization" if operation.effects else "kernel"
            )
            counts.add("synchronization" if "callback" in name else kind, name)
            for inner in jax.tree.leaves(operation.params):
                if hasattr(inner, "eqns"):
                    count(inner)

    def take_step(state: Any, batch: Any, data: Any) -> Any:
        return step(state, gather(data, batch, backend.xp), backend.xp)

    with backend.scope("float32"):
        count(jax.make_jaxpr(take_step)(state, select(batches, 0), data))
    return counts


class Watched(NamedTuple):
    """A library where it can be seen what steps ask of a device."""

    backend: Any
    count: Callable[[Steps], Counts]


PLACES: dict[str, Callable[[], Watched]] = {
    host_cupy.NAME: lambda: Watched(
        get_backend("cupy"), lambda steps: count_plain_steps(steps, HOST.counting, 1)
    ),  # the first compiles
    "torch": lambda: Watched(meta_backend(), lambda steps: count_plain_steps(steps, watching_torch)),
    "jax": lambda: Watched(get_backend("jax", "cpu"), count_traced_operations),
}
HERE = [name for name in PLACES if name not in LEFT_OUT and name.split()[0] not in NOT_INSTALLED]
