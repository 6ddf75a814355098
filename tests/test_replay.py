"""Steps that are replayed give, bit for bit, what a plain loop gives; what cannot be recorded goes by that loop."""

import copy
import gc
import operator
import re
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import host_cupy
import numpy as np
import pytest
from helpers import HOST, LEFT_OUT, PLACES, Place, assert_same, is_flushing, marked, snapshot, targets
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trainings import TRAININGS

from xpnet import L1, LBFGS, SGD, Adam, Callback, Clip, LevenbergMarquardt, MaxNorm, Network, OneCycle, get_backend
from xpnet.backends import _subnormals
from xpnet.backends._numpy import NumPyBackend
from xpnet.backends.base import Backend
from xpnet.backends.replay import _program as program
from xpnet.backends.replay._program import ReplayLoop
from xpnet.core.arrays import leaves
from xpnet.core.minibatch import Batch

# On CuPy, where a plain loop is slow, a step that is not recorded brings a warning, which test_gpu.py looks at
pytestmark = pytest.mark.filterwarnings("ignore:the steps cannot run as a CUDA graph")

SIZES, N, M = [5, 4, 3], 55, 4
X = np.random.default_rng(0).standard_normal((N, 5)).astype(np.float32)
Y = np.random.default_rng(1).uniform(size=(N, 3)).astype(np.float32)
LABELS = np.random.default_rng(2).integers(3, size=N)
PIXELS = np.random.default_rng(3).integers(256, size=(N, 5), dtype=np.uint8)
SOFT = targets("softmax", np.random.default_rng(4), N, 40)
WIDE = np.asfortranarray(np.repeat(X.astype(np.float64), 2, axis=1))[:, ::2]
ON_CUPY_TOO = pytest.mark.parametrize(
    "eager", marked(["numpy", "torch", "cupy", host_cupy.NAME]), indirect=True
)  # where steps are captured as well


@pytest.fixture(autouse=True)
def thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that stay what they are here, whatever is fastest."""
    for name, number in {"MIN_RECORDED_STEPS": 8, "LARGE_MINIBATCH": 10**9, "MAX_UNROLLED": 8}.items():
        monkeypatch.setattr(program, name, number)


@pytest.fixture(params=[name for name in ("numpy", "torch") if name not in LEFT_OUT])
def eager(request: pytest.FixtureRequest) -> Place:
    """A library without a compiler."""
    return PLACES[request.param]()


@contextmanager
def plain_loop() -> Iterator[None]:
    """Nothing is replayed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReplayLoop, "_find_program", lambda *_: None)
        yield


def network(place: Place, sizes: Sequence[int] = SIZES, **options: Any) -> Network:
    return Network(sizes, **{"activation": "tanh", "seed": 3, **options}, **place._asdict())


def train(net: Network, data: Any = (X, Y), **options: Any) -> None:
    net.train(data, **{"epochs": 2, "batch_size": M, "lr": 0.1, "progress": False, **options})


def is_replayed(net: Network) -> bool:
    """Whether most steps of the last training were replayed."""
    return net.engine.startswith(("replay", "CUDA graph"))


def is_in_c(net: Network) -> bool:
    """Whether steps that are replayed are so by the loop in C."""
    return net.backend.name == "numpy" and NumPyBackend.shares_steps


def assert_alike(net: Network, data: Any = (X, Y), replays: bool | None = True, **options: Any) -> None:
    """Training gives what the plain loop gives, and replays its steps, or does not, or may do either (None)."""
    twin = net.copy()
    with plain_loop():
        train(twin, data, **options)
    assert not is_replayed(twin)
    train(net, data, **options)
    assert_same(net, snapshot(twin))
    assert net.history["cost"] == twin.history["cost"]
    assert replays in (None, is_replayed(net))


# Everything that xpnet has is recorded


@pytest.mark.everywhere
@ON_CUPY_TOO
@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_every_part_of_a_step(eager, training):
    """In turn in float32 and in float64, but other parts on PyTorch than on NumPy."""
    dtype = ("float32", "float64")[(TRAININGS.index(training) + (eager.backend == "torch")) % 2]
    x, y, weight = training.draw(N)
    net = network(eager, training.sizes, **training.options, dtype=dtype)
    assert_alike(net, (x, y), optimizer=training.optimizer, sample_weight=weight, lr=OneCycle(0.02))
    if is_in_c(net):
        assert net.engine == "replay of recorded steps in C"  # else it would name operations in Python
    if any(net.dropout):
        assert snapshot(net).dropout.step.tolist() == [2 * 14]


class Stream:
    """Batches of several sizes."""

    def __iter__(self) -> Iterator[Any]:
        sizes = [4] * 8 + [2] * 9 + [5]
        return iter([(X[end - size : end], Y[end - size : end]) for size, end in zip(sizes, np.cumsum(sizes))])


@ON_CUPY_TOO
@pytest.mark.parametrize(
    ("made", "data", "options"),
    [
        ({"task": "classification", "scale": 1 / 255}, (PIXELS, LABELS), {"class_weight": "balanced"}),
        ({"task": "regression", "standardize": True}, (WIDE, Y[:, ::-1]), {}),
        ({}, Stream(), {"optimizer": SGD(momentum=0.9)}),
        ({}, (X, Y), {"batch_size": 1, "lr": 0.05}),  # the gradient is then a column times a row
        ({"dropout": 0.25}, (X[:21], Y[:21]), {"epochs": 10, "optimizer": Adam()}),  # 5 minibatches an epoch
        *(
            ({"sizes": [5, 4, 40], "output_activation": "softmax", "cost": cost}, (X, SOFT), {})
            for cost in ("log_likelihood", "cross_entropy", "quadratic")
        ),
    ],
    ids=[
        *("weights of classes", "standardized", "stream", "minibatches of one", "epochs of few"),
        *("log-likelihood of many outputs", "cross-entropy of many", "squares of many"),
    ],
)
def test_any_data(eager, made, data, options):
    net = network(eager, **made)
    for _ in range(2):  # what was recorded is replayed in later trainings
        assert_alike(net, data, **options)


@ON_CUPY_TOO
@pytest.mark.parametrize("steps", [7, 8, 17, 57])
def test_any_number_of_steps(eager, steps):
    rng = np.random.default_rng(6)
    data = rng.standard_normal((2 * steps, 5)), rng.uniform(size=(2 * steps, 3))
    net = network(eager, dropout=0.25)
    assert_alike(net, data, replays=steps >= 8, epochs=1, batch_size=2, optimizer=Adam())


@ON_CUPY_TOO
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), MaxNorm(Adam(weight_decay=0.1), 1.1)], ids=str)
def test_minibatches_without_weight_are_left_out(eager, optimizer):
    """The second, third and tenth count for nothing."""
    net, weight = network(eager, dropout=0.5), np.random.default_rng(5).uniform(0.1, 2, N)
    drawn = net.make_rng().permutation(N)[: N - N % M].reshape(-1, M)
    weight[drawn[[1, 2, 9]]] = 0.0
    assert_alike(net, optimizer=optimizer, sample_weight=weight)
    assert snapshot(net).dropout.step.tolist() == [2 * 14 - 3]


@pytest.mark.parametrize(("first", "second"), [(L1, Clip), (Clip, MaxNorm), (MaxNorm, L1), (L1, L1)])
def test_wrappers_of_optimizers_are_not_taken_for_one_another(eager, first, second):
    net = network(eager)
    for optimizer in (first(SGD(), 0.01), second(SGD(), 0.5), first(second(SGD(), 0.5), 0.01)):
        assert_alike(net, epochs=1, optimizer=optimizer)


# Activations of the user's


class Own:
    """An activation of a function of z and xp; half of its pullback is as good as any to compare loops."""

    name = "own"

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def value(self, z: Any, xp: Any) -> Any:
        return self.function(z, xp)

    def pullback(self, g: Any, z: Any, a: Any, xp: Any) -> Any:
        return 0.5 * g


def in_place(z: Any, xp: Any) -> Any:
    same, part = z, z[:, :2]
    same *= 0.5
    same += 1.0
    same -= xp.max(same, axis=-1, keepdims=True)
    same /= 3.0
    part *= 2.0
    return z


def changed_constant(z: Any, xp: Any) -> Any:
    same = xp.zeros_like(z)
    again, part = same + z, same[1:, :]
    part += z[1:, :]
    same += 0.5
    return again + same


def changed_between(z: Any, xp: Any) -> Any:
    """The tanh of an array before it is doubled, and of a part of it, and after; the same function twice is one."""
    doubled = z + 0.0
    before, part = xp.tanh(doubled), doubled[:, 2:]
    doubled *= 2.0
    whole = xp.tanh(doubled)
    part *= 2.0
    return xp.tanh(doubled) + whole - 0.25 * before + xp.exp(z) - xp.exp(z)


def changed_result(z: Any, xp: Any) -> Any:
    """As softplus adds 1 to e^z, for which somebody else asks."""
    e = xp.exp(z)
    e += 1.0
    return xp.log(e) + 0.1 * xp.exp(z)


RECORDED: dict[str, Callable[[Any, Any], Any]] = {
    "a constant that is changed in place": changed_constant,
    "in place": in_place,
    "changed in place between two calls": changed_between,
    "where, of a number and an array": lambda z, xp: xp.where(z > 0.0, 1.0, z) + xp.where(z > 0.0, z, 0.0),
    "numbers first": lambda z, xp: 1.5 - 3.5 / (1.0 + z * z) * 2.0 + 0.25,
    "squares and roots": lambda z, xp: xp.sqrt(z**2 + 1.0) - (z * z + 1.0) ** 0.5 + z**2.0,
    "powers": lambda z, xp: xp.tanh(z**3) + (z * z + 1.0) ** -2 + xp.tanh(xp.pow(z, 3.0)) + (z * z + 1.0) ** z,
    "means": lambda z, xp: (z - xp.mean(z, axis=-1, keepdims=True)) / (1.0 + xp.var(z, axis=-1, keepdims=True)),
    "bounds": lambda z, xp: xp.minimum(xp.maximum(-0.5, z), 0.0) + xp.maximum(z, xp.max(z, axis=0)) + xp.clip(z, -1, 1),
    "order": lambda z, xp: xp.sort(z, axis=-1) + xp.flip(z, axis=-1) + xp.roll(z, 1, axis=-1),
    "parts": lambda z, xp: xp.concat([z[:, :2], -z[:, 2:]], axis=1),
    "units": lambda z, xp: z[:, [3, 2, 1, 0]] * z[0, 0],
    "shapes": lambda z, xp: xp.reshape(xp.reshape(z, (-1,)) * 2.0, z.shape) + z.mT[:1, :].mT,
    "what is not used": lambda z, xp: (xp.exp(z), z * xp.ones_like(z) + xp.arange(4, dtype=z.dtype))[1],
    "sums and maxima": lambda z, xp: z / (1.0 + xp.sum(xp.abs(z))) - 0.1 * xp.sum(z, axis=0) + xp.sum(z, axis=(0, 1)),
    "products": lambda z, xp: z @ xp.eye(4, dtype=z.dtype) + 0.01 * xp.matmul(z, z.mT) @ z,
    "products of two dtypes": lambda z, xp: (
        xp.matmul(z, xp.eye(4, dtype=xp.float32))
        + 0.1 * xp.matmul(z[None, ...], xp.ones((4,), dtype=xp.float32))[0, :, None]
    ),
}
# What cannot be captured: a list of indices comes from the host; and what has no kernel in `host_cupy`
NOT_CAPTURED = {"units", "products of two dtypes"}
NOT_ON_HOST = {"means", "norms"}


def caught(function: Callable[[], float]) -> float:
    try:
        return function()
    except Exception:
        return 0.0


def fail(name: str) -> Any:
    raise TypeError(f"{name} is no array")


def mean_of_positives(z: Any, xp: Any) -> Any:
    found = z[z > 0.0]
    return z - xp.sum(found) / (1 + found.shape[0])


def two_names(z: Any, xp: Any) -> Any:
    """Two equal results are one array to the replay, so the plain loop, where they are two, takes over."""
    one, other = xp.tanh(z), xp.tanh(z)
    one *= 0.5
    return one + other


REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "float()": lambda z, xp: z / max(1.0, float(xp.max(xp.abs(z)))),
    "if": lambda z, xp: z if xp.any(z > 1.5) else 0.5 * z,
    "item()": lambda z, xp: z / (1.0 + abs(xp.max(z).item())),
    "as many as are above 0": mean_of_positives,
    "assignment": lambda z, xp: (z.__setitem__((slice(None), 0), 0.5), z)[1],
    "an exception that is caught": lambda z, xp: z * (1.0 + caught(lambda: float(xp.max(z)))),
    "a check of the type": lambda z, xp: z if type(z).__name__ in ("ndarray", "Tensor") else fail(type(z).__name__),
    "a conversion to an array": lambda z, xp: z * (1.0 + np.asarray(z).max()),
    "what two names stand for": two_names,
}


def power_in_place(z: Any, xp: Any) -> Any:
    same = z
    same **= 2
    return 0.1 * z


def mask_in_place(z: Any, xp: Any) -> Any:
    mask = z > 0.0
    same = mask
    same &= z < 1.0
    return z * xp.astype(mask, z.dtype)


def number_in_place(z: Any, xp: Any) -> Any:
    """NumPy's sum is a number, of which the other name keeps its value; PyTorch's is an array."""
    total = same = xp.sum(xp.abs(z))
    same *= 0.5
    return z / (1.0 + total)


EITHER: dict[str, Callable[[Any, Any], Any]] = {
    "a result that is changed in place": changed_result,
    "remainders": lambda z, xp: z % 2.0 + z // 1.0 + 2.0**z - (+z),
    "a power in place": power_in_place,
    "a mask in place": mask_in_place,
    "norms": lambda z, xp: z / (1.0 + xp.linalg.vector_norm(z, axis=-1, keepdims=True)),
    "where, of numbers": lambda z, xp: z * xp.astype(xp.where(z > 0.0, 1.0, 0.5), z.dtype),
    "out=": lambda z, xp: xp.add(xp.abs(z, out=z), 1.0) * z,
    "a value that fills an array": lambda z, xp: z - 0.1 * xp.full_like(z, xp.max(z)),
    "sums of no axis": lambda z, xp: 0.5 * xp.sum(z, axis=(), dtype=z.dtype) + 0.5 * xp.max(z, axis=()),
    "elements": lambda z, xp: (
        xp.take(z, xp.asarray([-1, 0, 1, 2]), axis=1) + xp.take(z[0, :], xp.asarray([0, 1, 1, 0]))
    ),
    "two dtypes": lambda z, xp: xp.astype(
        xp.where(z > 0.0, z, xp.astype(-z, xp.float64)) + xp.maximum(z, xp.astype(-z, xp.float64)), z.dtype
    ),
    "a number in place": number_in_place,
    "copies": lambda z, xp: copy.copy(z) + copy.deepcopy(z),
}
ON_NUMPY: dict[str, Callable[[Any, Any], Any]] = {
    "NumPy's own functions": lambda z, xp: np.maximum(z, 0) / (1 + np.abs(np.sum(z, axis=-1, keepdims=True))),
    "an axis by position": lambda z, xp: z - xp.sum(z, -1, None, True) + xp.max(z, 0),
    "a sum's out by position": lambda z, xp: z + xp.sum(z, 0, None, False, xp.zeros_like(z[0, :])),
    "a method of a function": lambda z, xp: z / (1.0 + xp.add.reduce(xp.abs(z), axis=1, keepdims=True)),
    "functions that write into an argument": lambda z, xp: (xp.put(z, [0, 1], 0.5), z)[1],
}
ON_TORCH: dict[str, Callable[[Any, Any], Any]] = {
    "relu_": lambda z, xp: (xp.relu_(z), z * 0.5)[1],
    "PyTorch's own functions": lambda z, xp: z * (0.5 if sys.modules["torch"].equal(z, z) else 1.0),
}


@pytest.mark.everywhere
@ON_CUPY_TOO
@pytest.mark.parametrize("name", [*RECORDED, *EITHER])
def test_functions_of_the_array_api_give_the_numbers_of_the_plain_loop(eager, name):
    """Most are recorded."""
    on_cupy = eager.backend == "cupy"
    if on_cupy and HOST and name in NOT_ON_HOST:
        pytest.skip("host_cupy has no kernel for it")
    dtype = "float64" if name == "products of two dtypes" else "float32"  # which is the other one
    net = network(eager, activation=Own({**RECORDED, **EITHER}[name]), dtype=dtype)
    assert_alike(net, replays=not (on_cupy and name in NOT_CAPTURED) if name in RECORDED else None, epochs=1)
    if name == "order" and is_in_c(net):  # sorting and turning have no translation
        assert re.fullmatch(r"replay of recorded steps in C, \d of \d\d operations in Python", net.engine)


@pytest.mark.everywhere
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_goes_by_the_plain_loop(eager, name):
    assert_alike(network(eager, activation=Own(REFUSED[name])), epochs=1, replays=False)


@pytest.mark.parametrize(("library", "name"), [*(("numpy", k) for k in ON_NUMPY), *(("torch", k) for k in ON_TORCH)])
def test_what_only_one_library_has_gives_the_numbers_of_the_plain_loop(library, name):
    place = PLACES[library]()
    assert_alike(network(place, activation=Own({**ON_NUMPY, **ON_TORCH}[name])), replays=None, epochs=1)


@pytest.mark.parametrize("form", ["z + own", "xp.maximum(z, own)", "xp.where(own > 0, z, own)", "z[:, own]"])
def test_arrays_of_the_users_own_go_by_the_plain_loop(eager, form):
    """They may be others the next time."""
    rng, backend = np.random.default_rng(7), get_backend(*eager)

    def value(z: Any, xp: Any) -> Any:
        drawn = rng.permutation(4) if "[" in form else rng.standard_normal(4).astype("float32")
        return eval(form, {"z": z, "xp": xp, "own": backend.asarray(drawn)})

    net = network(eager, activation=Own(value))
    train(net, epochs=1)
    assert not is_replayed(net)


@ON_CUPY_TOO
def test_a_step_with_a_function_of_ones_own_is_recorded_in_each_training(eager):
    """A notebook may have assigned another number to a global variable that it reads."""
    limit = [9.0]
    net = network(eager, activation=Own(lambda z, xp: xp.minimum(xp.tanh(z), limit[0])))
    for limit[0] in (9.0, 0.9, 0.5):
        assert_alike(net, epochs=1)


# Exceptions


def armed(eager: Place, fails: Callable[[int, Any, Any], None]) -> tuple[Network, list[int]]:
    """A network that has been trained, whose activation fails as it is told from now on, and the calls it has had."""
    calls = []

    def value(z: Any, xp: Any) -> Any:
        calls.append(len(calls) + 1)
        if ready:
            fails(calls[-1], z, xp)
        return xp.tanh(z)

    ready: list[bool] = []
    net = network(eager, activation=Own(value))
    train(net, optimizer=Adam())
    ready.append(True)
    calls.clear()
    return net, calls


WHOLE = (X[: N - N % M], Y[: N - N % M])  # one loop of 13 steps


@pytest.mark.parametrize("error", [TypeError, KeyboardInterrupt])
def test_an_exception_of_the_users_comes_out_at_once_and_the_network_is_as_it_was(eager, error):
    """Raised when a step is recorded."""

    def fails(call: int, z: Any, xp: Any) -> None:
        if call == 1:
            raise error("mine")

    net, calls = armed(eager, fails)
    before = snapshot(net)
    with pytest.raises(error, match=r"^mine$"):
        train(net, WHOLE, epochs=1)
    assert len(calls) == (1 if error is KeyboardInterrupt else 2)  # else recording is tried once more
    assert_same(net, before)


def test_an_exception_that_numbers_bring_about_comes_out_at_its_step(eager):
    def fails(call: int, z: Any, xp: Any) -> None:
        if float(xp.max(xp.abs(z))) > 1e3:
            raise ValueError("too large")

    net, calls = armed(eager, fails)
    before, x = snapshot(net), WHOLE[0].copy()
    x[net.make_rng().permutation(len(x))[12 * M]] = 1e6
    with pytest.raises(ValueError, match=r"^too large$"):
        train(net, (x, WHOLE[1]), epochs=1)
    assert len(calls) == 1 + 13  # once to write it down, which float() refuses
    assert_same(net, before)


@pytest.mark.parametrize("wrong", [lambda z, xp: z + xp.ones_like(z)[:, :3], lambda z, xp: z[9, 9]])
def test_an_error_of_the_library_is_that_of_the_plain_loop(eager, wrong):
    messages = []
    for context in (plain_loop, nullcontext):
        net, _ = armed(eager, lambda call, z, xp: wrong(z, xp))
        with context(), pytest.raises((ValueError, RuntimeError, IndexError)) as error:
            train(net)
        messages.append((type(error.value), str(error.value)))
    assert messages[0] == messages[1]


# Memory


@ON_CUPY_TOO
@pytest.mark.parametrize("in_bytes", [False, True])
def test_the_callers_arrays_and_the_state_before_are_not_written_to(eager, in_bytes):
    backend = get_backend(*eager)
    raw = [PIXELS, LABELS.astype(np.int32)] if in_bytes else [X, Y]
    x, y, weight = (backend.asarray(each.copy()) for each in (*raw, np.linspace(0, 1, N, dtype=np.float32)))
    options = {"task": "classification", "scale": 1 / 255} if in_bytes else {"activation": "identity"}
    net = network(eager, **options, dropout=[0.25, 0.5])
    for optimizer in (Adam(), SGD(momentum=0.9, nesterov=True)):
        net.reset_optimizer(optimizer)
        old = leaves(net.state)
        before = [np.array(backend.to_numpy(each)) for each in (*old, x, y, weight)]
        for one in (net, net, net.copy()):
            train(one, (x, y), optimizer=optimizer, sample_weight=weight)
            assert is_replayed(one)
        for now, then in zip((*old, x, y, weight), before, strict=True):
            np.testing.assert_array_equal(backend.to_numpy(now), then)


class Meddle(Callback):
    """Change weights after every second epoch, and keep every state with what it was."""

    def on_train_begin(self, training: Any) -> None:
        self.training, self.kept = training, []

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        value = self.training.value
        self.kept.append((value.state, snapshot(self.training.net)))
        if len(self.kept) % 2:
            return
        halves = tuple((0.5 * w, b) for w, b in value.layers)
        self.training.value = value._replace(stored=value.state._replace(layers=halves))


@ON_CUPY_TOO
@pytest.mark.parametrize("n", [20, 21, 52])
def test_states_between_epochs_are_the_users_to_keep_and_to_change(eager, n):
    meddle, again, data = Meddle(), Meddle(), (X[:n], Y[:n])
    net = network(eager)
    twin = net.copy()
    train(net, data, epochs=6, optimizer=SGD(momentum=0.5), callbacks=[meddle])
    assert is_replayed(net)
    with plain_loop():
        train(twin, data, epochs=6, optimizer=SGD(momentum=0.5), callbacks=[again])
    assert_same(net, snapshot(twin))
    for (state, then), (_, expected) in zip(meddle.kept, again.kept, strict=True):
        for now, before, plain in zip(leaves(state._replace(cost=None)), leaves(then), leaves(expected), strict=True):
            np.testing.assert_array_equal(net.backend.to_numpy(now), before)
            np.testing.assert_array_equal(before, plain)


def test_weights_that_were_replaced_are_freed(eager):
    net = network(eager)
    train(net, WHOLE, epochs=5)  # without a step that is left over
    assert is_replayed(net)
    before = weakref.ref(net.value.layers[0][0])
    net.w = [0.5 * w for w in net.w]
    gc.collect()
    assert before() is None


def test_a_call_that_fails_leaves_nothing_behind(eager):
    """The last state is in the memory of the program, until a call begins with another one."""
    backend, index = get_backend(*eager), np.arange(16, dtype=np.int32).reshape(16, 1)
    run = backend.loop(lambda state, minibatch, xp: 0.5 * state + minibatch, lambda rows, encoding, batch, xp: rows)
    data, batches = (backend.asarray(np.ones((16, 3))), None), Batch(index, np.ones(16))
    first = run(backend.asarray(np.ones((1, 3))), batches, data)
    with suppress(IndexError):  # NumPy in Python takes other rows
        run(backend.asarray(np.zeros((1, 3))), batches._replace(index=index + 16), data)
    last = run(first, batches, data)
    again = run(backend.copy(first), batches, data)
    assert backend.to_numpy(last).tobytes() == backend.to_numpy(again).tobytes()


# Subnormal numbers


@pytest.fixture(params=[True, False])
def with_or_without_c(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop in C was built, or functions of the C library set the register."""
    if not request.param:
        monkeypatch.setattr(NumPyBackend, "shares_steps", False)
        monkeypatch.setattr(_subnormals, "loops", None)


def train_until_subnormal(net: Network) -> Any:
    """Train with two inputs that fade; return weights and memory."""
    for factor, epochs in ((1.0, 1), (1e-37, 2), (0.0, 12)):
        x = X * np.array([1, 1, 1, factor, factor], np.float32)
        train(net, (x, Y), epochs=epochs, optimizer=Adam(beta1=0.6, beta2=0.6))
    return snapshot(net)


@pytest.mark.skipif(sys.platform == "win32", reason="it has the real one")
def test_microsofts_library_without_the_loop_in_c(monkeypatch):
    """Its bits, by a function that changes the word of a mask as `_controlfp_s` does."""
    word = 0x208001F

    def control(present: Any, new: int, mask: int) -> None:
        nonlocal word
        word = (word & ~mask) | (new & mask)
        present._obj.value = word

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(_subnormals, "loops", None)
    monkeypatch.setattr(_subnormals, "_load", lambda name: SimpleNamespace(_controlfp_s=control))
    flush, restore = _subnormals.find_modes()
    flush()
    assert word == 0x108001F
    restore()
    assert word == 0x208001F


def has_subnormals(state: Any) -> bool:
    floats = [x for x in leaves(state) if x.dtype.kind == "f"]
    return any(((x != 0) & (np.abs(x) < np.finfo(np.float32).tiny)).any() for x in floats)


def test_subnormal_moments_are_0_in_every_loop(eager, with_or_without_c, monkeypatch):
    net, twin, other = (network(eager) for _ in range(3))
    expected = train_until_subnormal(net)
    assert not has_subnormals(expected)
    with plain_loop():
        train_until_subnormal(twin)
    assert_same(twin, expected)
    monkeypatch.setattr(type(net.backend), "_find_modes", Backend._find_modes)
    assert has_subnormals(train_until_subnormal(other))  # where a register cannot be set


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_steps_flush_and_nothing_else_does(eager, with_or_without_c, error):
    """While a step is recorded, and in the plain loop."""
    seen, after = [], []

    class Look(Callback):
        def on_chunk_end(self, steps: int) -> None:
            after.append(is_flushing())

    def fails(call: int, z: Any, xp: Any) -> None:
        seen.append(is_flushing())
        if error is not None and call > 2:
            raise error("mine")
        float(xp.max(z))  # which cannot be recorded

    net, _ = armed(eager, fails)
    with nullcontext() if error is None else pytest.raises(error, match="mine"):
        train(net, WHOLE, callbacks=[Look()])
    assert {*seen} == {True}
    assert not any(after)
    assert not is_flushing()


def test_a_thread_that_flushes_already_goes_on_with_it(eager, with_or_without_c):
    flush, restore = _subnormals.find_modes()
    try:
        flush()
        train(network(eager))
        assert is_flushing()
    finally:
        restore()
    assert not is_flushing()


@pytest.mark.parametrize("optimizer", [LBFGS(), LevenbergMarquardt()], ids=str)
def test_steps_with_all_examples_flush(eager, optimizer):
    seen = []
    activation = Own(lambda z, xp: (seen.append(is_flushing()), xp.tanh(z))[1])
    net = network(eager, activation=activation, output_activation="identity", dtype="float64")
    train(net, batch_size=None, lr=None, optimizer=optimizer)
    assert any(seen)


@pytest.mark.needs("torch")
def test_several_threads_of_pytorch_do_not_flush():
    """One that began meanwhile would do so ever after."""
    seen = []
    activation = Own(lambda z, xp: (seen.append(is_flushing()), xp.tanh(z))[1])
    train(network(PLACES["torch"](), activation=activation), blas_threads=2)
    assert not any(seen)


# Any steps


INSTRUCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sum": lambda x, y, xp: x + y,
    "difference of a number": lambda x, y, xp: 0.5 - x,
    "matrix product": lambda x, y, xp: 0.1 * (x @ y),
    "function": lambda x, y, xp: xp.tanh(x),
    "function that does not write": lambda x, y, xp: xp.roll(x, 1, axis=0),
    "choice": lambda x, y, xp: xp.where(x > y, x, 0.5 * y),
    "reduction": lambda x, y, xp: y - xp.max(x, axis=-1, keepdims=True),
    "transposition": lambda x, y, xp: x.mT,
    "copy": lambda x, y, xp: xp.asarray(x, copy=True),
    "the same": lambda x, y, xp: x,
    "sum in place": lambda x, y, xp: operator.iadd(x, 0.5 * y),
    "product in place": lambda x, y, xp: operator.imul(x, 0.5),
    "row in place": lambda x, y, xp: (operator.isub(x[0, :], 0.25), x)[1],
}
PROGRAMS = st.lists(st.tuples(st.sampled_from([*INSTRUCTIONS]), *[st.integers(0, 5)] * 3), max_size=8)


@pytest.mark.slow
@ON_CUPY_TOO
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])  # a name and a device
@given(program=PROGRAMS, after=st.tuples(*[st.integers(0, 5)] * 2), steps=st.sampled_from([8, 21, 33]))
@example(program=[("product in place", 0, 0, 0), ("sum", 0, 5, 0)], after=(0, 0), steps=21)
@example(program=[("sum", 0, 1, 2), ("product in place", 2, 2, 2), ("sum", 0, 1, 3)], after=(2, 3), steps=21)
@example(program=[("transposition", 4, 4, 4)], after=(4, 1), steps=21)  # only a view is left, in the state
def test_any_steps_on_arrays_that_share_memory_are_those_of_the_plain_loop(eager, program, after, steps):
    """A step works on six arrays, two of them its state; each instruction puts what it makes in the place of one."""
    backend, rng = get_backend(*eager), np.random.default_rng(0)
    values, index = rng.standard_normal((15, 3)), np.arange(3 * steps, dtype=np.int32).reshape(steps, 3) % 15
    start = [rng.standard_normal((3, 3)) for _ in range(2)]

    def step(state: Any, minibatch: Any, xp: Any) -> Any:
        held = [*state, minibatch, 1.0 * minibatch, minibatch + state[0], state[1]]
        for name, i, j, target in program:
            held[target] = INSTRUCTIONS[name](held[i], held[j], xp)
        return tuple(held[i] for i in after)

    def repeat() -> list[np.ndarray]:
        state = tuple(backend.asarray(each.copy()) for each in start)
        run = backend.loop(step, lambda rows, encoding, batch, xp: rows)
        found = run(state, Batch(index, np.ones(steps)), (backend.asarray(values), None))
        return [np.array(backend.to_numpy(each)) for each in found]

    with backend.scope("float64"):
        found = repeat()
        with plain_loop():
            expected = repeat()
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, wanted)
