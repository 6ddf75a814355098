import math
import re

import numpy as np
import pytest
from helpers import Stream, assert_same, make, snapshot

from xpnet import ArgumentError, Constant, Cosine, Exponential, InverseScaling, Network, OneCycle, Step
from xpnet.core.schedules import SCHEDULES

# Rates are numbers of the host
pytestmark = pytest.mark.not_on("strict-device1", "torch", "jax")


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (Constant(0.3), [0.3, 0.3, 0.3]),
        # Of 10 steps the point ½ is before the sixth, ⁴⁄₅ before the ninth; a point of 0 is before the first
        (Step(2.0, factor=0.5, at=(0.8, 0.5)), [2.0] * 5 + [1.0] * 3 + [0.5] * 2),
        (Step(2.0, factor=0.5, at=(0.0,)), [1.0, 1.0, 1.0]),
        (Step(1.0), [1.0, 1.0, 0.1, 0.01]),
        (Exponential(0.8, 0.1), [0.8, 0.4, 0.2, 0.1]),
        (Exponential(0.8, 0.1), [0.8]),
        (InverseScaling(0.5), [0.5, 0.5 / math.sqrt(2), 0.5 / math.sqrt(3), 0.25]),
        (InverseScaling(0.5, power=2.0), [0.5, 0.5 / 4, 0.5 / 9, 0.5 / 16]),
        # Of 4 steps the middles are at ⅛, ⅜, ⅝, ⅞ of the way
        (Cosine(1.0, final=0.2), [0.2 + 0.4 * (1 + math.cos(math.pi * t / 8)) for t in (1, 3, 5, 7)]),
        (
            Cosine(2.0, warmup=0.4, final=0.5),
            [0.25, 0.75, 1.25, 1.75]
            + [0.5 + 0.75 * (1 + math.cos(math.pi * (t - 0.4) / 0.6)) for t in (0.45, 0.55, 0.65, 0.75, 0.85, 0.95)],
        ),
        (
            OneCycle(2.0, warmup=0.4),
            [0.25, 0.75, 1.25, 1.75] + [2 * (1 - t) / 0.6 for t in (0.45, 0.55, 0.65, 0.75, 0.85, 0.95)],
        ),
        (OneCycle(1.0, warmup=0.0), [7 / 8, 5 / 8, 3 / 8, 1 / 8]),
        (SCHEDULES["exponential"](0.3), [0.3, 0.03, 0.003]),
        (SCHEDULES["cosine"](0.3), [Cosine(0.3, warmup=0.05)(step, 3) for step in range(3)]),
    ],
)
def test_rates(schedule, rates):
    assert [schedule(step, len(rates)) for step in range(len(rates))] == pytest.approx(rates, rel=1e-14)


@pytest.mark.parametrize(("point", "total"), [(0.55, 100), (0.07, 100), (0.28, 25), (0.14, 50)])
def test_step_drops_at_the_step_that_a_point_names(point, total):
    """0.55 of 100 steps are 55, though 0.55 · 100 is rounded to 55.00000000000001."""
    first = round(point * total)
    assert [Step(1.0, at=(point,))(step, total) < 1.0 for step in (first - 1, first)] == [False, True]


def test_schedules_are_equal_if_their_numbers_are():
    assert Step(1.0, at=[0.5]) == Step(1.0, at=(0.5,)) != Step(1.0)
    assert hash(Step(1.0, at=[0.5])) == hash(Step(1.0, at=(0.5,)))
    assert all(make(0.3) == make(0.3) for make in SCHEDULES.values())


# In training


def test_a_rate_reaches_the_device_in_the_network_s_dtype(place):
    """The first step by a gradient of 1 is the rate itself."""
    net = make(place, [1, 1], "tanh", "identity", "quadratic", dtype="float32")
    net.layers = [([[0.0]], [0.0])]
    net.train((np.zeros((4, 1)), -np.ones((4, 1))), epochs=1, batch_size=4, lr=np.float64(0.1), progress=False)
    assert str(net.b[0].dtype).endswith("float32")
    assert float(net.b[0][0]) == -np.float32(0.1)


# What is refused


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        (OneCycle, "lr=OneCycle is a class; give one of its objects, such as OneCycle(0.1)"),
        ("cosine", "lr='cosine' must be a finite number of at least 0"),
        (True, "lr=True must be a finite number of at least 0"),
        (lambda step, total: -0.1, "the schedule gave -0.1 at step 1"),
        (lambda step, total: "a", "must return a number"),
        (lambda step: 0.1, "must be a function of (step, total)"),
    ],
)
def test_what_is_no_schedule_is_refused_before_the_first_step(lr, message):
    net = Network([1, 1], seed=0)
    before = snapshot(net)
    with pytest.raises(ArgumentError, match=re.escape(message)):
        net.train((np.zeros((4, 1)), np.zeros((4, 1))), lr=lr, progress=False)
    assert_same(net, before)


def test_an_error_inside_a_schedule_is_its_own():
    """It is not taken for a function of other arguments."""

    def broken(step: int, total: int) -> float:
        return step + None

    with pytest.raises(TypeError, match="unsupported operand"):
        Network([1, 1], seed=0).train((np.zeros((4, 1)), np.zeros((4, 1))), lr=broken, progress=False)


def test_a_schedule_needs_to_know_how_long_training_will_be():
    """A constant rate needs no total."""
    net, batches = Network([1, 1], seed=0), Stream(*[(np.zeros((2, 1)), np.zeros((2, 1)))] * 3)
    with pytest.raises(ArgumentError, match=r"lr is a schedule, which needs the number of steps, .*; give steps"):
        net.train(batches, epochs=2, lr=OneCycle(0.1), progress=False)
    history = net.train(batches, epochs=2, lr=OneCycle(0.1), steps=3, progress=False)
    assert history["lr"] == pytest.approx([OneCycle(0.1)(2, 6), OneCycle(0.1)(5, 6)])
    assert net.train(batches, epochs=1, lr=Constant(0.2), progress=False)["lr"] == [0.2]
