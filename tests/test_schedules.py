import math

import numpy as np
import pytest
from test_backprop import make

from xpnet import Constant, Cosine, Exponential, InverseScaling, Network, OneCycle, Step
from xpnet.core.schedules import SCHEDULES, Schedule

# Rates are numbers of the host
pytestmark = pytest.mark.not_on("strict-device1", "torch", "jax")


def all_rates(schedule, total):
    return [schedule(step, total) for step in range(total)]


def test_constant():
    assert all_rates(Constant(0.3), 3) == [0.3, 0.3, 0.3]


def test_step_drops_at_its_points():
    """Of 10 steps the point ½ is before the sixth, ⁴⁄₅ before the ninth; a point of 0 is before the first."""
    assert all_rates(Step(2.0, factor=0.5, at=(0.5, 0.8)), 10) == [2.0] * 5 + [1.0] * 3 + [0.5] * 2
    assert all_rates(Step(2.0, factor=0.5, at=(0.0,)), 3) == [1.0, 1.0, 1.0]
    assert all_rates(Step(2.0, factor=0.5, at=()), 3) == [2.0, 2.0, 2.0]
    assert all_rates(Step(2.0, factor=0.0, at=(0.5,)), 4) == [2.0, 2.0, 0.0, 0.0]
    assert all_rates(Step(1.0), 4) == pytest.approx([1.0, 1.0, 0.1, 0.01], rel=1e-15)  # as it is unless told otherwise
    assert all_rates(Step(1.0, factor=0.5, at=(0.75, 0.5)), 4) == [1.0, 1.0, 0.5, 0.25]  # the order is no matter
    assert Step(1.0, at=[0.5]) == Step(1.0, at=(0.5,))
    assert hash(Step(1.0, at=[0.5])) == hash(Step(1.0, at=(0.5,)))


@pytest.mark.parametrize(("point", "total"), [(0.55, 100), (0.07, 100), (0.28, 25), (0.14, 50)])
def test_step_drops_at_the_step_that_a_point_names(point, total):
    """0.55 of 100 steps are 55, though 0.55 · 100 is rounded to 55.00000000000001."""
    first = round(point * total)
    assert all_rates(Step(1.0, factor=0.5, at=(point,)), total) == [1.0] * first + [0.5] * (total - first)


def test_exponential_goes_from_its_first_to_its_last_rate():
    found = all_rates(Exponential(0.8, 0.1), 4)
    assert found == pytest.approx([0.8, 0.4, 0.2, 0.1], rel=1e-14)
    assert all_rates(Exponential(0.1, 0.8), 4) == pytest.approx([0.1, 0.2, 0.4, 0.8], rel=1e-14)
    assert all_rates(Exponential(0.8, 0.1), 1) == [0.8]


def test_inverse_scaling_whatever_the_total():
    for total in (0, 5, 1000):
        found = [InverseScaling(0.5, power=2.0)(step, total) for step in range(4)]
        assert found == pytest.approx([0.5, 0.5 / 4, 0.5 / 9, 0.5 / 16], rel=1e-15)
    assert InverseScaling(0.5)(3, 0) == 0.25  # the root, unless told otherwise
    assert all_rates(InverseScaling(0.5, power=0.0), 3) == [0.5, 0.5, 0.5]


def test_cosine_without_warmup():
    """Of 4 steps the middles are at ⅛, ⅜, ⅝, ⅞ of the way."""
    expected = [0.2 + 0.5 * (1.0 - 0.2) * (1 + math.cos(math.pi * t)) for t in (1 / 8, 3 / 8, 5 / 8, 7 / 8)]
    assert all_rates(Cosine(1.0, final=0.2), 4) == pytest.approx(expected, rel=1e-14)
    assert all_rates(Cosine(1.0, final=0.2), 1) == pytest.approx([0.6], rel=1e-14)  # halfway


def test_cosine_with_warmup():
    """Of 10 steps the middles are at 0.05, 0.15, ...; the first 4 warm up, the others go down by (t − 0.4) / 0.6."""
    found = all_rates(Cosine(2.0, warmup=0.4, final=0.5), 10)
    assert found[:4] == pytest.approx([2 * t / 0.4 for t in (0.05, 0.15, 0.25, 0.35)], rel=1e-14)
    down = [0.5 + 0.75 * (1 + math.cos(math.pi * (t - 0.4) / 0.6)) for t in (0.45, 0.55, 0.65, 0.75, 0.85, 0.95)]
    assert found[4:] == pytest.approx(down, rel=1e-14)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_one_cycle_is_two_straight_lines():
    found = all_rates(OneCycle(2.0, warmup=0.4), 10)
    assert found[:4] == pytest.approx([0.25, 0.75, 1.25, 1.75], rel=1e-14)
    assert found[4:] == pytest.approx([2 * (1 - t) / 0.6 for t in (0.45, 0.55, 0.65, 0.75, 0.85, 0.95)], rel=1e-14)
    assert all_rates(OneCycle(1.0, warmup=0.0), 4) == pytest.approx([7 / 8, 5 / 8, 3 / 8, 1 / 8], rel=1e-14)


# In training


class _Tilt:
    """−a, of which the gradient is −1 everywhere."""

    def value(self, a, y, xp):
        return xp.sum(-a, axis=-1)

    def gradient(self, a, y, xp):
        return 0.0 * y - 1.0


def test_a_rate_reaches_the_device_in_the_network_s_dtype(place):
    net = make(place, [1, 1], "tanh", "identity", _Tilt(), dtype="float32")
    net.layers = [([[0.0]], [0.0])]
    net.train((np.zeros((4, 1)), np.zeros((4, 1))), epochs=1, batch_size=4, lr=np.float64(0.1), progress=False)
    assert str(net.b[0].dtype).endswith("float32")
    assert float(net.b[0][0]) == np.float32(0.1)


# Names, and what is refused


NAMED = {  # rates of 20 steps at the steps 0, 1, 9, 10, 15 and 19
    "constant": [0.3] * 6,
    "step": [0.3, 0.3, 0.3, 0.03, 0.003, 0.003],
    "exponential": [0.3 * 0.01 ** (step / 19) for step in (0, 1, 9, 10, 15, 19)],
    "inverse-scaling": [0.3 / math.sqrt(1 + step) for step in (0, 1, 9, 10, 15, 19)],
    "cosine": [
        0.3 * 0.025 / 0.05,
        *(0.15 * (1 + math.cos(math.pi * ((step + 0.5) / 20 - 0.05) / 0.95)) for step in (1, 9, 10, 15, 19)),
    ],
    "one-cycle": [0.3 * (step + 0.5) / 20 / 0.2 for step in (0, 1)]
    + [0.3 * (1 - (step + 0.5) / 20) / 0.8 for step in (9, 10, 15, 19)],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_name_is_a_schedule_of_the_rate_that_is_given(name):
    schedule: Schedule = SCHEDULES[name](0.3)
    assert [schedule(step, 20) for step in (0, 1, 9, 10, 15, 19)] == pytest.approx(NAMED[name], rel=1e-12)
    assert SCHEDULES[name](0.3) == schedule


FINITE = "must be a finite number of at least 0"
PART = r"must be in \[0, 1\); it is a fraction of all steps"


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: Step(-1.0), rf"lr=-1\.0 {FINITE}; it is the first learning rate"),
        (lambda: Step(1.0, factor=-0.1), rf"factor=-0\.1 {FINITE}; 0\.1 is usual"),
        (lambda: Step(1.0, at=0.5), r"at=0\.5 must be a tuple of fractions of all steps, as in \(0\.5, 0\.75\)"),
        (lambda: Step(1.0, at=(0.5, 1.0)), r"at=1\.0 must be in \[0, 1\); each is a fraction of all steps"),
        (lambda: Step(1.0, at=(30, 60)), r"at=30 must be in \[0, 1\); each is a fraction of all steps"),
        (lambda: Exponential(0.0, 0.1), r"lr=0\.0 must be a finite number above 0; it is the first learning rate"),
        (lambda: Exponential(0.1, 0.0), r"final=0\.0 must be a finite number above 0; .* never reaches 0"),
        (lambda: Exponential(0.1, math.nan), r"final=nan must be a finite number above 0"),
        (lambda: InverseScaling(math.inf), rf"lr=inf {FINITE}"),
        (lambda: InverseScaling(0.1, power=-1.0), rf"power=-1\.0 {FINITE}; 0\.5 is usual"),
        (lambda: Cosine("0.1"), rf"peak='0\.1' {FINITE}; it is the largest learning rate"),
        (lambda: Cosine(0.1, warmup=1.0), rf"warmup=1\.0 {PART}"),
        (lambda: Cosine(0.1, final=-0.1), rf"final=-0\.1 {FINITE}; it is the last learning rate"),
        (lambda: OneCycle(None), rf"peak=None {FINITE}; it is the largest learning rate"),
        (lambda: OneCycle(0.1, warmup=-0.1), rf"warmup=-0\.1 {PART}"),
    ],
)
def test_numbers_out_of_range_are_refused(create, message):
    with pytest.raises(ValueError, match=message):
        create()


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        (OneCycle, r"lr=OneCycle is a class; give one of its objects, such as OneCycle\(0\.1\)"),
        (-0.1, rf"lr=-0\.1 {FINITE}; 0\.01 is a usual one"),
        ("cosine", rf"lr='cosine' {FINITE}"),
        (lambda step, total: -0.1, r"lr must be a finite number of at least 0, but the schedule gave -0\.1 at step 1"),
        (lambda step, total: "a", r"must return a number"),
        (True, rf"lr=True {FINITE}"),
        (lambda step: 0.1, r"must be a function of \(step, total\)"),
    ],
)
def test_what_is_no_schedule_is_refused_before_the_first_step(lr, message):
    net = Network([1, 1], seed=0)
    before, rng = net.b[0].copy(), net.value.generator
    with pytest.raises(ValueError, match=message):
        net.train((np.zeros((4, 1)), np.zeros((4, 1))), lr=lr, progress=False)
    np.testing.assert_array_equal(net.b[0], before)
    assert net.value.generator == rng


def test_an_error_inside_a_schedule_is_its_own():
    """It is not taken for a function of other arguments."""

    def broken(step: int, total: int) -> float:
        return step + None

    with pytest.raises(TypeError, match="unsupported operand"):
        Network([1, 1], seed=0).train((np.zeros((4, 1)), np.zeros((4, 1))), lr=broken, progress=False)


def test_a_schedule_needs_to_know_how_long_training_will_be():
    """An iterable of batches has no length of its own; a rate that does not ask for the total needs none."""
    batches = iter_again([(np.zeros((2, 1)), np.zeros((2, 1)))] * 3)
    net = Network([1, 1], seed=0)
    with pytest.raises(ValueError, match=r"lr is a schedule, which needs the number of steps, .*; give steps"):
        net.train(batches, epochs=1, lr=OneCycle(0.1), progress=False)
    history = net.train(batches, epochs=2, lr=OneCycle(0.1), steps=3, progress=False)
    assert history["lr"] == pytest.approx([OneCycle(0.1)(2, 6), OneCycle(0.1)(5, 6)])
    assert net.train(batches, epochs=1, lr=Constant(0.2), progress=False)["lr"] == [0.2]


@pytest.mark.parametrize("lr", [OneCycle(0.1), Cosine(0.1), Exponential(0.1, 0.01)], ids=lambda lr: type(lr).__name__)
def test_more_batches_than_the_length_says_are_refused_in_the_first_epoch(lr):
    """Later, a cosine would rise again, and a line fall below 0."""

    class Batches:
        def __init__(self, items):
            self.items = items

        def __len__(self):
            return 2

        def __iter__(self):
            return iter(self.items)

    batches = Batches([(np.zeros((2, 1)), np.zeros((2, 1)))] * 3)
    net = Network([1, 1], seed=0)
    with pytest.raises(ValueError, match=r"lr is a schedule for the 2 batches an epoch .* yields more; give steps"):
        net.train(batches, epochs=4, lr=lr, progress=False)
    assert not net.history.rows
    assert len(net.train(batches, epochs=4, lr=lr, steps=3, progress=False)) == 4
    assert len(net.train(batches, epochs=4, lr=0.1, progress=False)) == 4


def iter_again(items):
    class Stream:
        def __iter__(self):
            return iter(items)

    return Stream()
