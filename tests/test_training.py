import sys

import numpy as np
import pytest
from helpers import assert_same, layers_of, make, snapshot

from xpnet import L1, SGD, Adam, AdamW, Clip, DivergenceError, MaxNorm, Network

# Where test_trainings.py, or another test here, sees what a library may do otherwise
ON_NUMPY = pytest.mark.not_on("strict-device1", "torch", "jax")

SIZES, N, M = [5, 4, 3], 23, 4  # 23 examples in minibatches of 4: the last holds 3


def problem(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, SIZES[0])), rng.uniform(size=(N, SIZES[-1]))


@pytest.mark.not_on("jax")  # see test_float64_needs_no_global_setting_and_leaves_none
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dtype_stays_what_was_asked_for(place, dtype):
    net = make(place, SIZES, "relu", "softmax", "cross_entropy", dtype=dtype)
    x = problem()[0].astype("float64" if dtype == "float32" else "float32")
    history = net.train((x, np.arange(N) % 3), epochs=1, batch_size=M, optimizer=SGD(momentum=0.9), progress=False)
    arrays = [p for layer in [*net.layers, *net.backward(x, np.arange(N) % 3)] for p in layer]
    arrays += [p for pair in net.state.optimizer.memory for p in pair] + [net.forward(x), net.state.cost]
    assert {str(array.dtype).split(".")[-1] for array in arrays} == {dtype}
    assert type(history["cost"][0]) is float
    assert type(net.cost((x, np.arange(N) % 3))) is float


@pytest.mark.not_on("numpy")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_backends_agree_after_an_epoch_of_digits(place, dtype, digits):
    """Per layer, ‖Δw − Δw′‖ ≤ tolerance · ‖Δw‖ with Δw the change from the initial weights: they are equal exactly."""
    options, (x, y) = {"seed": 0, "dtype": dtype}, (part[:1000] for part in digits[0])
    ours, theirs = Network([784, 30, 10], **options), Network([784, 30, 10], **options, **place._asdict())
    start = layers_of(ours)
    for a, b in zip(start, layers_of(theirs), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    for net in (ours, theirs):
        net.train((x, y), epochs=1, batch_size=10, lr=3.0, progress=False)
    assert ours.value.generator == theirs.value.generator
    tolerance = 1e-3 if dtype == "float32" else 1e-9
    for (w0, b0), (w1, b1), (w2, b2) in zip(start, layers_of(ours), layers_of(theirs), strict=True):
        assert np.linalg.norm(w2 - w1) <= tolerance * np.linalg.norm(w1 - w0)
        assert np.linalg.norm(b2 - b1) <= tolerance * np.linalg.norm(b1 - b0)
        assert w2.dtype == dtype


@ON_NUMPY
def test_history_and_what_is_printed(place, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    x, _ = problem()
    labels = np.arange(N) % 3
    net = make(place, SIZES, "sigmoid", "softmax", "cross_entropy", seed=0)
    history = net.train((x, labels), epochs=2, batch_size=M, lr=0.5, test_data=(x, labels))
    out, err = capsys.readouterr()
    k = net.evaluate((x, labels))
    assert type(k) is int
    line = f"Epoch: 2 / 2,\t Nr of correctly classified samples: {k}/{N}\t accuracy: {k / N:.5f}"  # the notebook's
    assert out.splitlines()[1] == f"{line}\t cost on the test data: {net.cost((x, labels)):.6g}"
    assert len(out.splitlines()) == 2
    assert "Epoch 2/2" in err
    assert (history["test_correct"][-1], history["test_accuracy"][-1]) == (k, net.accuracy((x, labels)))
    assert "2 epochs" in repr(history)
    net.train((x, labels), epochs=1, batch_size=M, test_data=(x, labels), progress=False)
    assert capsys.readouterr() == ("", "")


def test_regression_reports_the_cost_on_test_data(capsys):
    x, y = problem()
    net = Network(SIZES, task="regression", seed=0)
    history = net.train((x, 100 * y), epochs=1, lr=1e-4, test_data=(x, 100 * y))
    assert f"cost on the test data: {history['test_cost'][0]:.6g}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"predict_proba needs classes"):
        net.predict_proba(x)


def test_metrics_are_of_calibrated_probabilities_and_the_cost_is_not():
    x, labels = problem()[0], np.arange(N) % 3
    net = Network(SIZES, task="classification", seed=0)
    net.train((x, labels), epochs=50, lr=1.0, progress=False)
    cost = net.cost((x, labels))
    net.calibrate((x, np.roll(labels, 1)))
    scores, p = net.measure((x, labels), metrics=["log_loss"]), net.predict_proba(x)[np.arange(N), labels]
    np.testing.assert_allclose([scores["log_loss"], scores["cost"]], [-np.log(p).mean(), cost], rtol=1e-5)
    assert abs(scores["log_loss"] / cost - 1) > 0.1


# Going wrong


@pytest.mark.parametrize(("size", "factor", "steps"), [(M, 1.0, "1 to 5"), (N, 1e10, "1 to 1")])
def test_divergence_names_the_place_and_gives_the_network_back(place, size, factor, steps):
    """Also in the last step: its cost, which is that before its update, is still finite."""
    optimizer = SGD(momentum=0.9)
    net = make(place, SIZES, "relu", "identity", "quadratic", dtype="float32")
    x, y = problem()
    net.train((x, y), epochs=1, batch_size=M, lr=0.01, optimizer=optimizer, progress=False)
    before, y = snapshot(net), factor * y
    assert net.cost((x, y)) < np.inf
    with pytest.raises(DivergenceError, match=rf"in epoch 1, steps {steps}, at lr=1e\+30.*Give a smaller lr"):
        net.train((x, y), epochs=1, batch_size=size, lr=1e30, optimizer=optimizer, progress=False)
    assert_same(net, before)
    assert len(net.history) == 0
    with pytest.raises(DivergenceError, match="diverged in a minibatch update, at lr=1e"):
        net.minibatch_update((x, 1e10 * y), 1e30)
    assert_same(net, before)
    net.train((x, y / factor), epochs=1, batch_size=M, lr=0.01, optimizer=optimizer, progress=False)


@ON_NUMPY
def test_a_schedule_that_is_not_finite_is_refused(place):
    net = make(place, SIZES, "sigmoid", "sigmoid", "quadratic")
    net.train(problem(), epochs=1, optimizer=SGD(momentum=0.9), progress=False)
    before, rng, history = snapshot(net), net.value.generator, net.history
    for wrong in (lambda step: 0.1, lambda step, total: None, lambda step, total: np.ones(2)):
        with pytest.raises(ValueError, match=r"must (be a function of|return a number)"):
            net.train(problem(), lr=wrong, progress=False)
    assert net.history is history
    assert net.value.generator == rng
    with pytest.raises(
        ValueError, match=r"lr must be a finite number of at least 0, but the schedule gave nan at step 1"
    ):
        net.train(problem(), lr=lambda step, total: float("nan"), progress=False)
    assert_same(net, before)


@ON_NUMPY
@pytest.mark.slow
def test_ctrl_c_at_any_line_of_a_step_leaves_the_network_as_before(place):
    """Raise KeyboardInterrupt at every fifth line of the mathematics, until training comes through; fewer on CuPy."""
    optimizer = MaxNorm(Clip(L1(AdamW(), 0.01), 0.1), 1.0)
    net = make(place, SIZES, "gelu", "sigmoid", "quadratic", seed=0, dropout=[0.2, 0.5])
    options = {"epochs": 1, "batch_size": N, "lr": 0.5, "optimizer": optimizer, "progress": False}
    net.train(problem(), **options)
    before, value = snapshot(net), net.value
    interrupted, traced = 0, set()
    for k in range(1, 10_000, 13 if place.backend == "cupy" else 5):
        net.value = value
        try:
            with InterruptAt(k, traced):
                net.train(problem(), **options)
            break
        except KeyboardInterrupt:
            interrupted += 1
            assert_same(net, before)
    assert interrupted >= 25
    assert traced >= {"core/backprop.py", "core/step.py", "core/minibatch.py"}
    assert traced >= {"core/optimizers/_adam.py", "core/optimizers/_wrappers.py"}
    assert not all(np.array_equal(a, b) for (a, _), (b, _) in zip(before.layers, snapshot(net).layers, strict=True))


@pytest.mark.slow
def test_ctrl_c_at_any_line_of_network_leaves_a_whole_network(tmp_path):
    """State and optimizer, and state and scaling, change together; at every third line."""
    data = problem()
    for k in range(1, 1000, 3):
        net = Network([SIZES[0], 3, SIZES[-1]], task="regression", standardize=True, seed=0)
        net.reset_optimizer(SGD(momentum=0.9))
        before = snapshot(net)
        try:
            with InterruptAt(k, set(), files=("network/network.py", "training/_train.py")):
                net.train(data, epochs=1, batch_size=N, lr=1e-3, optimizer=Adam(), progress=False)
            break
        except KeyboardInterrupt:
            trained = not np.array_equal(before.layers[0][0], snapshot(net).layers[0][0])
            assert trained == (net.scaling is not None)
        net.save(tmp_path / "net")
        assert_same(Network.load(tmp_path / "net"), snapshot(net))
        net.train(data, epochs=1, batch_size=N, lr=1e-3, progress=False)
    assert k > 30


class InterruptAt:
    """Raise KeyboardInterrupt at the k-th line that runs in some files, by default those of the mathematics."""

    FILES = tuple(
        f"core/{name}.py"
        for name in (
            *("backprop", "step", "activations", "costs", "dropout", "minibatch"),
            *("optimizers/_base", "optimizers/_sgd", "optimizers/_adam", "optimizers/_wrappers"),
        )
    )

    def __init__(self, k, traced, files=FILES):
        self.left, self.traced, self.files = k, traced, files

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.trace)

    def __exit__(self, *_):
        sys.settrace(self.before)

    def trace(self, frame, event, _):
        if not frame.f_code.co_filename.endswith(self.files) or "xpnet" not in frame.f_code.co_filename:
            return None
        self.traced.add(next(name for name in self.files if frame.f_code.co_filename.endswith(name)))
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.trace


# Chunks


@pytest.mark.not_on("strict-device1", "jax")
def test_global_random_state_is_neither_read_nor_changed(place):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state().clone() if torch else None
    net = make(place, SIZES, "sigmoid", "sigmoid", "quadratic", seed=None)
    net.train(problem(), epochs=1, progress=False)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    if torch:
        assert torch.equal(torch.get_rng_state(), torch_state)
