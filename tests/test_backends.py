import copy
import gc
import importlib
import pickle
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from helpers import installed

from xpnet import (
    L1,
    Adam,
    BackendError,
    Clip,
    Ensemble,
    MaxNorm,
    Network,
    get_backend,
)
from xpnet.activations import Activation
from xpnet.backends.base import on_host
from xpnet.core.activations import make_leaky_relu


def test_a_library_and_a_device_are_found_by_their_names():
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    strict = pytest.importorskip("array_api_strict")
    assert repr(get_backend()) == repr(get_backend(device="cpu")) == "<Backend numpy on cpu>"
    backend = get_backend("numpy")
    assert get_backend(backend, "cpu") is backend
    assert [get_backend(module).name for module in (np, torch, jnp)] == ["numpy", "torch", "jax"]
    assert get_backend("jax", "cpu:0").device.id == 0
    assert get_backend(strict, "device1").device == strict.Device("device1")
    jax = sys.modules["jax"]
    with jax.default_device("cpu"):
        assert get_backend("jax").device == jax.devices("cpu")[0]


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    installed(
        [
            ("nunpy", None, "backend='nunpy' is unknown; .*'dpnp' .did you mean 'numpy'"),
            (3, None, "backend=3 is unknown.*or give an Array API namespace module"),
            (None, "gpu", "device='gpu' is unknown; .*or name the library too"),
            ("numpy", "cuda", "device='cuda' contradicts backend=.numpy."),
            (get_backend("numpy"), "cuda", "device='cuda' contradicts backend=.numpy."),
            ("torch", 0, "device=0 cannot be used .*it has cpu"),
            ("torch", "meta", "device='meta' cannot be used with backend=.torch."),
            ("jax", "cpu:7", "device='cpu:7' cannot be used .*it has cpu:0"),
            ("jax", "cpu:x", "device='cpu:x' cannot be used .*it has cpu:0"),
            ("jax", "", "device='' cannot be used .*it has cpu:0"),
            ("dpnp", "nonsense", "device='nonsense' cannot be used .*SYCL devices found here"),
            ("cupy", "cpu", "device='cpu' contradicts backend=.cupy., which takes .cuda. or .cuda:N."),
            ("cupy", "cuda:x", "device='cuda:x' contradicts backend=.cupy."),
            ("array_api_strict", "device9", "backend=array_api_strict with device='device9' cannot be used"),
            ("array_api_strict", "Device", "with device='Device' cannot be used"),  # a word that each of them has
            (sys, None, "^backend=sys cannot be used.*give an Array API namespace module"),
        ]
    ),
)
def test_what_is_not_available_raises_at_construction(backend, device, message):
    if backend in ("torch", "jax", "cupy", "dpnp", "array_api_strict"):
        module = pytest.importorskip(backend)
        backend = module if backend == "array_api_strict" else backend
    with pytest.raises(BackendError, match=message):
        Network([2, 1], backend=backend, device=device)


@pytest.mark.parametrize("name", ["cupy", "torch", "jax"])
def test_a_library_that_is_not_installed_names_its_extra(name, monkeypatch):
    for module in [*sys.modules]:
        if module.split(".")[0] == name or module == f"xpnet.backends._{name}":
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    extra = "cuda13" if name == "cupy" else name
    with pytest.raises(BackendError, match=rf"^backend='{name}' cannot be imported.*pip install -e '\.\[{extra}\]'"):
        Network([2, 1], backend=name)


WITHOUT_EXTENSION = """
import sys
sys.modules["xpnet.backends.replay.loops"] = None
import numpy as np
from xpnet import Network
net = Network([3, 2], seed=0)
net.train((np.ones((200, 3)), np.arange(200) % 2), epochs=2, batch_size=4, progress=False)
[net.predict(np.ones(3)) for _ in range(210)]
print(net.engine, net.backend.remark, sep="; ")
"""


def test_without_the_loop_in_c_numpy_replays_in_python():
    out = subprocess.run([sys.executable, "-c", WITHOUT_EXTENSION], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch("replay of recorded steps; with the loop in Python; .* install with a C compiler\n", out)


def test_auto_says_what_it_is(capsys):
    backend = get_backend(device="auto")
    assert f'device="auto" is {backend.name} on' in capsys.readouterr().err


# CuPy, as far as it can be seen without a GPU


@pytest.fixture
def gpus(monkeypatch):
    """Make CuPy see a number of GPUs, the first of them current."""
    cupy = pytest.importorskip("cupy")
    monkeypatch.setattr(cupy.cuda.runtime, "getDevice", lambda: 0)
    return lambda count: monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: count)


def test_cupy_without_enough_gpus_says_how_many(gpus):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        with pytest.raises(BackendError, match=r"^backend='cupy' with device='cuda' finds no usable GPU .*nvidia-smi"):
            Network([2, 1], device="cuda")
    for count, message in ((1, "1 GPU visible, counted from 0"), (2, "2 GPUs visible")):
        gpus(count)
        with pytest.raises(BackendError, match=f"device='cuda:{count}' is not available: {message}"):
            get_backend(device=f"cuda:{count}")


def test_cupy_that_cannot_multiply_names_the_libraries_extra(gpus, monkeypatch):
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.is_available():
        pytest.skip("a GPU can be used here")
    gpus(1)
    importlib.import_module("xpnet.backends._cupy")._check_device.cache_clear()
    monkeypatch.setattr(cupy, "ones", lambda *args, **options: 1 / 0)  # as without CUDA's libraries, if any are here
    with pytest.raises(BackendError, match=r"cannot multiply on cuda.*CUDA libraries.*pip install -e '\.\[cuda13\]'"):
        get_backend("cupy", "cuda")


# Arrays


def test_arrays_of_every_library_come_to_the_device(backend, dtype):
    sources = [[1, 2], np.array([1, 2], np.uint8), np.array([9, 1, 9, 2])[1::2], np.array([2.0, 1.0])[::-1]]
    for name in ("torch", "jax.numpy", "array_api_strict"):
        if name.split(".")[0] in sys.modules:
            sources.append(sys.modules[name].asarray([1.0, 2.0]))
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        sources += [
            torch.tensor([-1j, -2j]).conj().imag,
            torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        ]  # a negative bit
    for source in sources:
        x = backend.asarray(source, dtype)
        assert str(x.dtype).endswith(dtype)
        assert x.device == backend.asarray([0.0]).device
        with backend.scope(dtype):
            assert sorted(backend.to_numpy(x).tolist()) == [1.0, 2.0]


@pytest.mark.not_on("numpy", "strict-device1", "torch")
def test_results_do_not_depend_on_what_happens_to_the_input_afterwards(place):
    """JAX computes later, and shares host memory that is aligned to 64 bytes."""
    raw = np.empty(4 * 2000 * 300 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    x = raw[start : start + 4 * 2000 * 300].view(np.float32).reshape(2000, 300)
    net = Network([300, 300, 300, 5], seed=0, **place._asdict())
    for compute in (net.forward, lambda x: net.backward(x, np.arange(2000) % 5)[0].w):
        x[:] = 1.0
        expected = np.array(net.backend.to_numpy(compute(x)))
        found = compute(x)
        x[:] = -5.0
        np.testing.assert_array_equal(net.backend.to_numpy(found), expected)


def test_device_arrays_are_not_moved_to_the_host_silently(place):
    strict = pytest.importorskip("array_api_strict")
    x = strict.ones((3, 2), device=strict.Device("device1"))
    net = Network([2, 1], **place._asdict())
    if not net.backend.on_host:
        pytest.skip("this network is not on the host")
    with pytest.raises(TypeError, match=r"x is on .*device1.* move the network to the data with net\.to\(array_api"):
        net.forward(x)


class OnSYCL:
    """Stands for an array of dpnp on a CPU, whose memory only SYCL can read."""

    device = "Device(opencl:cpu:0)"

    def __dlpack_device__(self):
        return 14, 0


def test_the_host_is_what_both_the_library_and_dlpack_call_a_cpu():
    strict = pytest.importorskip("array_api_strict")
    assert on_host(np.ones(2))
    assert on_host(strict.ones(2))
    assert not on_host(strict.ones(2, device=strict.Device("device1")))  # which DLPack calls a CPU
    assert not on_host(OnSYCL())


def test_pinned_tensors_are_in_the_memory_of_the_host():
    torch = pytest.importorskip("torch")

    class Pinned(torch.Tensor):
        """Stands for a tensor of DataLoader(pin_memory=True), which needs a GPU."""

        def __dlpack_device__(self):
            return 3, 0

    x, net = torch.ones((4, 2)), Network([2, 1], seed=0)
    np.testing.assert_array_equal(net.forward(x.as_subclass(Pinned)), net.forward(x))


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 1, 4), (3, 5, 1)])
def test_matrices_are_multiplied_where_they_are_broadcast(backend, shape):
    """Derivatives of all outputs multiply such views."""
    x, y = np.arange(1.0, 1 + np.prod(shape)).reshape(shape), np.arange(24.0).reshape(4, 6)
    with backend.scope("float64"):
        view = backend.xp.broadcast_to(backend.asarray(x), (3, 5, 4))
        product = backend.xp.matmul(view, backend.asarray(y))
    np.testing.assert_array_equal(backend.to_numpy(product), np.broadcast_to(x, (3, 5, 4)) @ y)


def test_arrays_on_another_device_are_moved_to_the_networks():
    strict = pytest.importorskip("array_api_strict")
    net = Network([2, 1], backend=strict, device=strict.Device("device1"))
    out = net.forward(strict.ones((3, 2), device=strict.Device("device2")))
    assert out.device == strict.Device("device1")


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", installed(["numpy", "torch", "jax"]))
def test_backends_are_copied_and_pickled_by_their_names(name, way):
    backend = get_backend(name)
    twin = way(backend)
    assert type(twin) is type(backend)
    assert (twin.name, twin.device) == (backend.name, backend.device)


def test_copies_do_not_change_with_the_original(backend):
    for shape in ((), (3,), (3, 4)):
        x = np.ones(shape, np.float32)
        with backend.scope("float32"):
            y = backend.copy(backend.asarray(x, "float32"))
            assert tuple(y.shape) == shape
            x += 1
            np.testing.assert_array_equal(backend.to_numpy(y), np.ones(shape))


# JAX


@pytest.fixture
def compilations():
    """Count JAX's compilations: a function that says how many there were since it was last called."""
    jax = pytest.importorskip("jax")
    events: list[str] = []

    def listen(name: str, seconds: float, **_: object) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            events.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)

    def since() -> int:
        found = len(events)
        events.clear()
        return found

    return since  # the listener stays, as JAX 0.8 has no way to remove one


@pytest.mark.needs("jax")
def test_predictions_and_evaluations_with_other_weights_compile_nothing_again(compilations):
    x, labels = np.random.default_rng(0).standard_normal((23, 5)), np.arange(23) % 3

    def use(seed):
        net = Network([5, 4, 3], backend="jax", task="classification", seed=seed)
        return net.predict(x), net.predict_proba(x[0]), net.measure((x, labels), metrics=["accuracy", plus_one])

    first = use(0)
    assert compilations() > 0
    assert not np.array_equal(first[1], use(1)[1])
    assert compilations() == 0


@pytest.mark.needs("jax")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_numbers_of_rows_are_compiled(compilations, dtype):
    x = np.random.default_rng(0).standard_normal((40, 5)).astype(dtype)
    net = Network([5, 4, 3], backend="jax", task="classification", dtype=dtype, seed=0)
    other = net.to(backend="numpy")
    for m in range(1, 41):
        np.testing.assert_allclose(net.predict_proba(x[:m]), other.predict_proba(x[:m]), rtol=1e-5)
    assert compilations() <= 7 * 3  # 1, 2, 4, 8, 16, 32 and 64 rows


def plus_one(y_true, y_pred):
    return float(len(y_true)) + 1.0


@pytest.mark.needs("jax")
def test_nothing_is_compiled_where_jax_is_not_to_compile():
    import jax

    x, labels = np.random.default_rng(0).standard_normal((8, 5)), np.arange(8) % 3
    on_jax, on_numpy = (Network([5, 3], backend=name, task="classification", seed=0) for name in ("jax", "numpy"))
    with jax.disable_jit():
        found = train_and_predict(on_jax, x, labels)
    np.testing.assert_allclose(found, train_and_predict(on_numpy, x, labels), rtol=1e-5)


def train_and_predict(net, x, labels):
    net.train((x, labels), epochs=1, batch_size=4, progress=False)
    return net.predict_proba(x)


@pytest.mark.needs("jax")
def test_arrays_that_jax_only_traces_are_refused():
    import jax

    net = Network([5, 3], backend="jax", seed=0)
    for transform in (jax.jit, jax.vmap):
        with pytest.raises(TypeError, match=r"^x has no values, as JAX only traces what is computed .*to_jax\s"):
            transform(net.forward)(jax.numpy.ones((2, 5)))


@pytest.mark.needs("jax")
def test_networks_one_after_the_other_share_what_is_compiled(compilations):
    """As in a search: each network is gone when the next one is made, and activations and cost are new.

    Other numbers of an optimizer and of dropout compile nothing again.
    """
    x, y = np.random.default_rng(0).standard_normal((8, 5)), np.random.default_rng(1).uniform(size=(8, 3))
    options, counts = {"epochs": 1, "batch_size": 4, "progress": False}, []
    for i, number in enumerate((0.25, 0.25, 0.5), 1):
        optimizer = Adam(beta1=0.5 + 0.1 * i, beta2=0.9 + 0.01 * i, epsilon=1e-4 * i, weight_decay=0.1 * i)
        optimizer = MaxNorm(Clip(L1(optimizer, 0.1 * i), 0.1 * i), 1.0 * i)
        steep = Activation("steep", partial(multiply, number), partial(multiply, number))
        functions = {"activation": [make_leaky_relu(number), steep], "cost": f"huber({number})"}
        net = Network([5, 4, 4, 3], backend="jax", dropout=[0.1 * i, 0.0, 0.2 * i], **functions)
        net.train((x, y), optimizer=optimizer, **options)
        copy = net.copy()
        copy.train((x, y), **options)
        del net, copy
        gc.collect()
        counts.append(compilations())
    assert [count > 0 for count in counts] == [True, False, True]


def multiply(factor, x, *others):
    return factor * x


@pytest.mark.needs("jax")
def test_minibatches_without_weight_compile_nothing_again(compilations):
    """How many there are differs from epoch to epoch: the shapes do not, and there are two programs at most."""
    x, y = np.random.default_rng(0).standard_normal((64, 5)), np.random.default_rng(1).uniform(size=(64, 3))
    weight = (np.arange(64) < 8).astype(float)
    net = Network([5, 4, 3], backend="jax", seed=0)
    options = {"batch_size": 4, "lr": 0.01, "sample_weight": weight, "progress": False}
    net.train((x, y), epochs=4, **options)
    assert compilations() > 0
    net.train((x, y), epochs=8, **options)
    assert compilations() == 0


def test_float64_needs_no_global_setting_and_leaves_none():
    jax = pytest.importorskip("jax")
    assert not jax.config.jax_enable_x64
    net = Network([3, 2], backend="jax", dtype="float64", seed=0)
    x = np.array([[1e-12, 1, 1]])
    net.train((x, [[0.5, 0.5]]), epochs=1, progress=False)
    assert not jax.config.jax_enable_x64
    assert str(net.forward(x).dtype) == "float64"
    assert {str(p.dtype) for layer in [*net.layers, *net.backward(x, [[0, 1]])] for p in layer} == {"float64"}


# Torch


def on_torch(dtype="float64", **settings):
    """A network of regression, standardized by numbers far from 0, with a function of PyTorch that is the same."""
    from xpnet.export import to_torch

    settings = {"activation": "tanh", "task": "regression", "standardize": True, "backend": "torch", **settings}
    net = Network([4, 5, 2], dtype=dtype, seed=0, **settings)
    rng = np.random.default_rng(0)
    net.fit_scaling((rng.normal(1e4, 2.0, (50, 4)), rng.normal(3.0, 4.0, (50, 2))))
    return net, to_torch(net.to(dtype="float64"))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 1, 2, 2)], ids=str)
@pytest.mark.parametrize("input_dtype", ["float32", "float64"])
def test_forward_is_part_of_pytorchs_graph(input_dtype, dtype, shape):
    """So what comes before and after it is differentiated through it, as through the module of the same network."""
    torch = pytest.importorskip("torch")
    net, module = on_torch(dtype)
    start = torch.tensor(np.random.default_rng(1).normal(1e4, 2.0, shape), dtype=getattr(torch, input_dtype))
    slopes = []
    for f in (net.forward, lambda x: module(x.double().reshape(-1, 4))):
        x = start.clone().requires_grad_()
        ((f(x) ** 2).sum() + ((x - 1e4) ** 2).sum()).backward()
        slopes.append(x.grad)
    assert slopes[0].dtype == start.dtype
    rtol = 1e-12 if input_dtype == dtype == "float64" else 2e-3 if input_dtype == "float32" else 1e-4
    torch.testing.assert_close(*slopes, rtol=rtol, atol=rtol)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("members", [0, 2])
def test_the_gradient_is_that_of_the_weights_of_forward(members):
    torch = pytest.importorskip("torch")
    net, _ = on_torch()
    model = Ensemble.of([net, net.copy()]) if members else net
    x = (1e4 + torch.ones(3, 4, dtype=torch.float64)).requires_grad_()
    expected, outputs = torch.autograd.grad(model.forward(x).sum(), x), model.forward(x)
    member = model[0] if members else model
    member.w = [0.5 * w for w in member.w]
    assert torch.equal(*torch.autograd.grad(outputs.sum(), x), *expected)


@pytest.mark.needs("torch")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # which PyTorch itself calls
def test_nothing_else_leaves_pytorchs_graph_in_silence():
    torch = pytest.importorskip("torch")
    net, _ = on_torch(dropout=0.1)
    net.calibrate((np.ones((20, 4)), np.arange(40.0).reshape(20, 2)))
    classifier, both = Network([4, 2], task="classification", backend="torch", seed=0), Ensemble.of([net, net.copy()])
    x, y, g = 1e4 + torch.ones(3, 4), torch.ones(3, 2), torch.ones(3, 2)
    recorded = x.clone().requires_grad_()
    message = " requires gradients, and of a network only forward with backend='torch' is part of PyTorch's graph"
    for method in (
        *(net.predict, net.interval, net.activations, net.jacobian, net.hessian, net.sample, both.predict),
        *(both.jacobian, classifier.predict_proba, net.to("numpy").forward, lambda x: net.vjp(x, g)),
        *(lambda x: net.backward(x, y), lambda x: net.hvp(x, y, net.layers)),
    ):
        with pytest.raises(TypeError, match=f"^x{message}; give x.detach\\(\\), and take derivatives by"):
            method(recorded)
        with torch.no_grad():
            method(recorded)
    for name, method in (("g", lambda g: net.vjp(x, g)), ("y of the batch", lambda y: net.backward(x, y))):
        with pytest.raises(TypeError, match=f"^{name}{message}"):
            method(torch.ones(3, 2, requires_grad=True))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(TypeError, match=f"^x{message}"):
        net.forward(torch.autograd.forward_ad.make_dual(x, x))
    (gradient,) = torch.autograd.grad(net.forward(recorded).sum(), recorded, create_graph=True)
    with pytest.raises(TypeError, match=r"only first derivatives .*; net\.hessian"):
        gradient.sum().backward()
    with pytest.raises(TypeError, match=r"^torch\.func\.vmap and jacrev .*; net\.jacobian"):
        torch.func.jacrev(net.forward)(x[0])


@pytest.mark.gpu
def test_cupy_computes_on_the_device_that_was_asked_for():
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no usable GPU here")
    last = cupy.cuda.runtime.getDeviceCount() - 1
    net = Network([3, 4, 2], device=f"cuda:{last}", seed=0)
    before = cupy.cuda.runtime.getDevice()
    net.train((np.ones((9, 3)), np.arange(9) % 2), epochs=2, batch_size=4, progress=False)
    assert cupy.cuda.runtime.getDevice() == before
    assert {p.device.id for layer in net.layers for p in layer} == {last}
    with pytest.raises(TypeError, match=r"x is on .*net\.to\(\"cupy\"\)"):
        net.to("numpy").forward(net.forward(np.ones((1, 3))))
