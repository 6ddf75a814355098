import math
import re
from decimal import Decimal
from functools import lru_cache, partial

import numpy as np
import pytest
from helpers import assert_same, layers_of, make, regression_problem, snapshot

from xpnet import (
    L1,
    LBFGS,
    SGD,
    Adam,
    AdamW,
    ArgumentError,
    Clip,
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    LevenbergMarquardt,
    MaxNorm,
    Network,
    OneCycle,
    RMSProp,
    Step,
)
from xpnet.core.activations import make_elu, make_leaky_relu
from xpnet.core.arrays import leaves
from xpnet.core.costs import make_huber
from xpnet.core.optimizers import AdamHat

# test_trainings.py compares each of them on other libraries with NumPy
pytestmark = pytest.mark.not_on("strict-device1", "torch", "jax")

PLAIN = [
    SGD(),
    SGD(weight_decay=0.1),
    SGD(momentum=0.9),
    SGD(momentum=0.9, weight_decay=0.1),
    SGD(momentum=0.8, nesterov=True),
    SGD(momentum=0.8, nesterov=True, weight_decay=0.1),
    RMSProp(),
    RMSProp(rho=0.9, epsilon=1e-3, weight_decay=0.1),
    Adam(),
    Adam(beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
    AdamW(weight_decay=0.0),
    AdamW(beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
    AdamHat(beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
]
# Numbers such that some gradients and rows are shortened and some not (asserted below)
MODIFIED = [
    modify(optimizer)
    for modify in (lambda o: L1(o, 0.05), lambda o: Clip(o, 0.17), lambda o: MaxNorm(o, 1.1))
    for optimizer in (PLAIN[3], PLAIN[11])
]
NESTED = [
    Clip(L1(SGD(momentum=0.9), 0.05), 0.17),
    L1(Clip(SGD(momentum=0.9), 0.3), 0.05),
    MaxNorm(Clip(L1(AdamW(weight_decay=0.1), 0.05), 0.15), 1.1),
]
EVERY = [*PLAIN, *MODIFIED, *NESTED]
ONE_OF_EACH = [PLAIN[0], PLAIN[3], PLAIN[5], PLAIN[7], PLAIN[9], PLAIN[11], PLAIN[12], *MODIFIED[::2], NESTED[2]]

SIZES, N, M, LR, EPOCHS = [5, 4, 3], 24, 4, 0.05, 4  # 6 steps an epoch
PROBLEM = regression_problem(SIZES, N)
options = {"batch_size": M, "lr": LR, "progress": False}


def network(place, **more):
    return make(place, SIZES, "tanh", "sigmoid", "quadratic", seed=3, **more)


def minibatches(epochs):
    """Those that the seed stands for: drawn after the initial weights, a permutation an epoch."""
    rng = Network(SIZES, seed=3).make_rng()
    return [batch for _ in range(epochs) for batch in rng.permutation(N).reshape(-1, M)]


@lru_cache
def by_torch(optimizer):
    """What torch.optim and formulas written out make of the network's start, and how often each modifier did something.

    Weight decay is given to the weights alone. A learning rate is constant here: torch multiplies the velocity by it.
    """
    torch = pytest.importorskip("torch")
    x, y = PROBLEM
    start = [p for layer in layers_of(Network(SIZES, dtype="float64", activation="tanh", seed=3)) for p in layer]
    w1, b1, w2, b2 = parameters = [torch.tensor(p, requires_grad=True) for p in start]
    modifiers, inner, hits = [], optimizer, {}
    while isinstance(inner, (L1, Clip, MaxNorm)):
        modifiers.append(inner)
        inner = inner.optimizer
    decayed = [{"params": [w1, w2], "weight_decay": inner.weight_decay}, {"params": [b1, b2], "weight_decay": 0.0}]
    if isinstance(inner, SGD):
        theirs = torch.optim.SGD(decayed, lr=LR, momentum=inner.momentum, nesterov=inner.nesterov)
    elif isinstance(inner, RMSProp):
        theirs = torch.optim.RMSprop(decayed, lr=LR, alpha=inner.rho, eps=inner.epsilon)
    else:
        kind = torch.optim.AdamW if isinstance(inner, AdamW) else torch.optim.Adam
        theirs = kind(decayed, lr=LR, betas=(inner.beta1, inner.beta2), eps=inner.epsilon)
    for t, batch in enumerate(minibatches(EPOCHS), 1):
        if isinstance(inner, AdamHat):  # torch divides √s by √(1 − β₂ᵗ) before it adds ε
            for group in theirs.param_groups:
                group["eps"] = inner.epsilon / math.sqrt(1.0 - inner.beta2**t)
        a = torch.sigmoid(torch.tanh(torch.tensor(x[batch]) @ w1.T + b1) @ w2.T + b2)
        theirs.zero_grad()
        (0.5 * ((a - torch.tensor(y[batch])) ** 2).sum() / M).backward()
        for modifier in modifiers:
            if isinstance(modifier, L1):
                for w in (w1, w2):
                    w.grad += modifier.strength * w.detach().sign()
            if isinstance(modifier, Clip):
                norm = math.sqrt(sum(float((p.grad**2).sum()) for p in parameters))
                hits.setdefault("clip", []).append(norm > modifier.norm)
                for p in parameters:
                    p.grad *= min(1.0, modifier.norm / norm)
        theirs.step()
        for modifier in modifiers:
            for w in (w1, w2) if isinstance(modifier, MaxNorm) else ():
                with torch.no_grad():
                    norms = (w**2).sum(dim=1, keepdim=True).sqrt()
                    hits.setdefault("max", []).extend((norms > modifier.norm).flatten().tolist())
                    w *= torch.clamp(modifier.norm / norms, max=1.0)
    assert all(any(each) and not all(each) for each in hits.values())
    return [p.detach().numpy() for p in parameters]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_trajectory_against_torch_optim_at_constant_lr(place, optimizer):
    """24 steps in float64, every weight within 1e-9."""
    net, expected = network(place), by_torch(optimizer)
    net.train(PROBLEM, epochs=EPOCHS, optimizer=optimizer, **options)
    for ours, theirs in zip([p for layer in layers_of(net) for p in layer], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("optimizer", ONE_OF_EACH, ids=str)
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")], ids=" to ".join)
def test_training_goes_on_in_another_dtype_with_what_the_optimizer_remembers(place, optimizer, dtypes):
    """Its numbers are those of a new network in that dtype: 0.9, and not the nearest one in float32."""
    first, second = dtypes
    net, whole = network(place, dtype=first), network(place, dtype=second)
    for one in (net, whole):
        one.train(PROBLEM, 2, optimizer=optimizer, **options)
    before = snapshot(net)
    net = net.to(dtype=second)
    after, fresh = snapshot(net), snapshot(whole)
    assert after.optimizer.hyperparameters == fresh.optimizer.hyperparameters
    for old, new in zip(leaves(before.optimizer.memory), leaves(after.optimizer.memory), strict=True):
        np.testing.assert_array_equal(new, old.astype(new.dtype))
    assert [x.dtype for x in leaves(after)] == [x.dtype for x in leaves(fresh)]
    for one in (net, whole):
        one.train(PROBLEM, 1, optimizer=optimizer, **options)
    for w, expected, start in zip(*([w for w, _ in snapshot(one).layers] for one in (net, whole)), before.layers):
        assert np.linalg.norm(w - expected) <= 1e-4 * np.linalg.norm(expected - start[0])


# State


@pytest.mark.parametrize(("y", "expected"), [(-1e5, -2.0), (0.0, 0.0)], ids=["1e22", "0"])
def test_clipping_of_gradients_that_are_huge_or_zero(place, y, expected):
    """Gradients of 1e22, whose squares float32 cannot hold, are scaled down to the norm as any others."""
    net = make(place, [2, 1], "identity", "identity", "quadratic", dtype="float32")
    net.layers = [([[0.0, 0.0]], [0.0])]
    net.train(([[1e17, 0.0]], [[y]]), epochs=1, lr=1.0, optimizer=Clip(SGD(), 2.0), progress=False)
    np.testing.assert_allclose(net.backend.to_numpy(net.w[0]), [[expected, 0.0]], rtol=1e-6)
    assert abs(float(net.b[0][0])) < 1e-6


def test_adam_and_adamw_of_equal_numbers_are_not_equal():
    assert Adam(weight_decay=0.01) != AdamW(weight_decay=0.01)
    assert L1(SGD(), 1.0) != MaxNorm(SGD(), 1.0)
    assert L1(SGD(), 1.0) != L1(SGD(momentum=0.9), 1.0)


# Names, defaults, and what is refused


@pytest.mark.parametrize(
    ("optimizer", "lr"),
    [
        (SGD(), 0.01),
        (Adam(), 0.001),
        (MaxNorm(Clip(RMSProp(), 1.0), 1.0), 0.001),
    ],
    ids=str,
)
def test_without_a_rate_an_optimizer_has_its_own(optimizer, lr):
    assert optimizer.default_lr == lr
    net = Network([3, 2], seed=0)
    history = net.train(([[1.0, 2.0, 3.0]], [[0.0, 1.0]]), epochs=1, lr=None, optimizer=optimizer, progress=False)
    assert history["lr"] == [lr]


class Whole(SGD):
    """Steps of all examples."""

    needs_all_examples = True


class Demanding(Whole):
    """It says what it needs besides."""

    def __init__(self, linalg=(), needed=0, dtype=None):
        super().__init__()
        vars(self).update(linalg=linalg, needed=needed, dtype=dtype)

    def bytes_needed(self, model, *, slopes):
        return self.needed

    def check_network(self, model, dtype, to_array, xp, slope_weight):
        if dtype == self.dtype:
            raise ArgumentError(f"not in {dtype}")

    def explain_noise(self, model, n_targets, alpha):
        return f"{n_targets} targets, alpha={alpha}"


def test_an_optimizer_of_ones_own_says_what_it_needs():
    x, y = np.random.default_rng(0).random((7, 3)), np.eye(7, 2)
    nets = [Network([3, 2], seed=0, dtype="float64") for _ in range(2)]
    for net, optimizer, batch_size in zip(nets, (Whole(), SGD()), (None, 7)):
        net.train((x, y), epochs=2, batch_size=batch_size, optimizer=optimizer, progress=False)
    np.testing.assert_allclose(nets[0].w[0], nets[1].w[0], rtol=1e-12)
    for error, message, own in (
        (ArgumentError, r"^Demanding needs linalg\.nothing, which backend=numpy lacks", Demanding(["inv", "nothing"])),
        (MemoryError, r"^Demanding with the 8 weights and biases of \[3, 2\] needs about", Demanding(needed=10**18)),
        (ArgumentError, "^not in float64$", Demanding(dtype="float64")),
    ):
        before = snapshot(nets[0])
        with pytest.raises(error, match=message):
            nets[0].train((x, y), epochs=1, optimizer=own, progress=False)
        assert_same(nets[0], before)
    with pytest.warns(UserWarning, match=r"^14 targets, alpha=0\.0$"):
        nets[0].train((x, y), epochs=1, optimizer=Demanding(), progress=False)


AT_LEAST_0, ABOVE_0, FRACTION = (
    "must be a finite number of at least 0",
    "must be a finite number above 0",
    "must be in [0, 1)",
)
# What errors say of an argument of each; they begin with its name and its value
OUT_OF_RANGE = {
    SGD: [
        f"momentum=1.0 {FRACTION}; 0 turns it off",
        f"momentum='0.9' {FRACTION}",
        f"weight_decay=-1.0 {AT_LEAST_0}; 0 turns it off",
        "nesterov=1 must be True or False",
        "nesterov=True needs momentum; give momentum=0.9, say",
    ],
    RMSProp: [
        f"rho=1.0 {FRACTION}; 0.99 is usual",
        f"epsilon=0 {ABOVE_0}; 1e-8 is usual",
        f"weight_decay=nan {AT_LEAST_0}",
    ],
    Adam: [f"beta1=1.0 {FRACTION}; 0.9 is usual", f"beta2=-0.5 {FRACTION}; 0.999 is usual", f"epsilon=inf {ABOVE_0}"],
    AdamW: [f"weight_decay=-0.1 {AT_LEAST_0}"],
    partial(L1, SGD()): [f"strength=0.0 {ABOVE_0}; leave L1 out to turn it off"],
    partial(Clip, norm=1.0): ["optimizer=1.0 is not an optimizer; give one, as in Clip(SGD(), 1.0)"],
    partial(Clip, SGD()): [f"norm=inf {ABOVE_0}; leave Clip out"],
    partial(MaxNorm, SGD()): [f"norm=[1] {ABOVE_0}; leave MaxNorm out"],
    partial(L1, strength=0.1): ["optimizer=1.0 is not an optimizer; give one, as in L1(SGD(), 1.0)"],
    LBFGS: [f"weight_decay=-1.0 {AT_LEAST_0}", "history=0 must be a whole number of at least 1"],
    LevenbergMarquardt: [
        f"weight_decay=-1.0 {AT_LEAST_0}",
        f"damping=0.0 {ABOVE_0}; 1e-3 is usual",
        "bayesian=1 must be True or False",
    ],
    partial(LevenbergMarquardt, weight_decay=0.1): [
        "bayesian=True finds the weight decay, and contradicts weight_decay=0.1; give one"
    ],
    Constant: [f"lr=nan {AT_LEAST_0}"],
    Step: [f"lr=-1.0 {AT_LEAST_0}"],
    partial(Step, 1.0): [
        f"factor=-0.1 {AT_LEAST_0}; 0.1 is usual",
        "at=0.5 must be a tuple of fractions of all steps, as in (0.5, 0.75)",
    ],
    partial(Exponential, final=0.1): [f"lr=0.0 {ABOVE_0}"],
    partial(Exponential, 0.1): [f"final=0.0 {ABOVE_0}"],
    InverseScaling: [f"lr=inf {AT_LEAST_0}"],
    partial(InverseScaling, 0.1): [f"power=-1.0 {AT_LEAST_0}; 0.5 is usual"],
    Cosine: [f"peak='0.1' {AT_LEAST_0}"],
    partial(Cosine, 0.1): [f"warmup=1.0 {FRACTION}; it is a fraction of all steps", f"final=-0.1 {AT_LEAST_0}"],
    OneCycle: [f"peak=None {AT_LEAST_0}"],
    partial(OneCycle, 0.1): [f"warmup=-0.1 {FRACTION}"],
    make_leaky_relu: [f"slope=1.0 {FRACTION}; 0.01 is usual", f"slope=[0.1] {FRACTION}"],
    make_elu: [f"alpha=-1.0 {AT_LEAST_0}; 1 is usual", f"scale=0.0 {ABOVE_0}; 1 is usual"],
    make_huber: [f"delta={delta} {ABOVE_0}" for delta in ("-1.0", "0.0", "inf", "nan", "'1'", "[1.0]")],
}


@pytest.mark.parametrize(("create", "message"), [(kind, each) for kind, own in OUT_OF_RANGE.items() for each in own])
def test_numbers_out_of_range_are_refused(create, message):
    """Of optimizers, schedules, activations and costs."""
    name, value = message.partition(" ")[0].split("=")
    with pytest.raises(ArgumentError, match="^" + re.escape(message)):
        create(**{name: eval(value, {**vars(math)})})


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: Step(1.0, at=(30, 60)), "at=30 must be in [0, 1); each is a fraction of all steps"),
        (lambda: L1(SGD, 0.1), "SGD'> is not an optimizer; give one, as in L1(SGD(), 1.0)"),
        (lambda: Clip(LBFGS(), 1.0), "cannot be wrapped in Clip"),
        (lambda: MaxNorm(LevenbergMarquardt(), 1.0), "cannot be wrapped in MaxNorm"),
    ],
)
def test_what_does_not_go_together_is_refused(create, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        create()


@pytest.mark.parametrize("kind", [np.float16, np.array, Decimal], ids=repr)
def test_numbers_of_any_kind_become_floats_and_are_saved(tmp_path, kind):
    h, path = kind("0.5") if kind is Decimal else kind(0.5), tmp_path / "net"
    optimizers = {
        SGD(momentum=h, nesterov=np.bool_(True), weight_decay=h): SGD(momentum=0.5, nesterov=True, weight_decay=0.5),
        MaxNorm(Clip(L1(AdamW(weight_decay=h), h), h), h): MaxNorm(Clip(L1(AdamW(weight_decay=0.5), 0.5), 0.5), 0.5),
    }
    for optimizer, same in optimizers.items():
        assert repr(optimizer) == repr(same)
        net = Network([1, 2, 2], dropout=h, scale=h, task="classification")
        net.train(
            ([[0.0], [1.0]], [0, 1]), np.int64(2), np.int8(2), Cosine(h, h, h), optimizer=optimizer, progress=False
        )
        net.save(path)
        assert Network.load(path).optimizer == same
    assert repr([Step(h, h, (h,)), Exponential(h, h)]) == repr([Step(0.5, 0.5, (0.5,)), Exponential(0.5, 0.5)])


@pytest.mark.parametrize("wrong", [Adam, math, 0.9], ids=str)
def test_what_is_no_optimizer_is_refused_and_nothing_changes(wrong):
    net = Network([3, 2], seed=0)
    before = snapshot(net)
    for use in (lambda: net.train(([[1, 2, 3]], [[0, 1]]), optimizer=wrong), lambda: net.reset_optimizer(wrong)):
        with pytest.raises(ArgumentError, match=r"optimizer=.* is not an optimizer; give "):
            use()
    assert_same(net, before)
    assert net.optimizer == SGD()


def test_a_name_stands_for_an_optimizer_with_its_defaults():
    net = Network([3, 2], seed=0)
    net.train(([[1, 2, 3]], [[0, 1]]), epochs=1, optimizer="adam", progress=False)
    assert net.optimizer == Adam()
    for name, hint in (("rms_prop", r" \(did you mean 'rmsprop'\?\)"), ("maxnorm", "")):
        message = f"^optimizer='{name}' is unknown; choose from 'sgd', 'rmsprop', 'adam', .*'{hint}$"
        with pytest.raises(ValueError, match=message):
            net.reset_optimizer(name)
    assert net.optimizer == Adam()
    net.reset_optimizer("lm")
    assert net.optimizer == LevenbergMarquardt()
