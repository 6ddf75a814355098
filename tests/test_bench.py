"""Timing a step on every backend: which rows there are, what they say, and which wins. No test looks at real times."""

import functools
import itertools
import time

import pytest
from helpers import assert_same, run_command, snapshot

from xpnet import AdamW, BackendError, Network
from xpnet.cli import _bench as bench
from xpnet.cli._bench import compare_backends, list_libraries, random_examples, time_step

QUICK = {"steps": 10, "repeats": 2}
WORDS = ["--steps", 10, "--repeats", 2, "--sizes", "6,5,3"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Do not wait for the threads of other libraries."""
    monkeypatch.setattr(bench, "PAUSE", 0.0)


@functools.cache
def usable():
    """Backends and devices, in the order in which they are timed."""
    return [(each.name, device) for each in list_libraries() for device in each.devices]


@pytest.fixture(params=["slower and slower", "faster and faster"])
def clock(request, monkeypatch):
    """A clock by which what is timed first, or last, takes least."""
    ticks = itertools.accumulate(k if request.param.startswith("slower") else 1 / k for k in itertools.count(1))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    return request.param


def net(**options):
    return Network([6, 5, 3], seed=0, **options)


def test_every_backend_and_device_has_a_row_and_the_others_a_reason(capsys):
    status, out, err = run_command(capsys, "bench", *WORDS)
    assert (status, err) == (0, "")
    assert out[0] == "A step of 6-5-3 (sigmoid, sigmoid, quadratic), batch 10, float32: median of 2 repetitions"
    assert out[1].split()[2:] == ["µs", "a", "step", "quartiles", "examples/s", "relative", "start,", "s"]
    rows = out[2 : 2 + len(usable())]
    assert sorted(tuple(line.split()[:2]) for line in rows) == sorted(usable())
    _, listed, _ = run_command(capsys, "backends")
    unusable = [line for line in listed if "cannot be used: " in line]
    verdict = 2 + len(usable()) + len(unusable)
    assert out[2 + len(usable()) : verdict] == unusable
    assert out[verdict].startswith("Fastest: {} on {}, ".format(*rows[0].split()))


@pytest.mark.needs("torch")
def test_the_fastest_is_that_of_least_time_whenever_its_turn_comes(clock):
    found = compare_backends(net(), batch_size=7, backends=["numpy", "torch"], **QUICK)
    times = [row["seconds"] for row in found.rows]
    assert times == sorted(times)
    assert found.fastest == found.rows[0]
    usable = [("numpy", "cpu"), *(("torch", device) for device in bench.load_backend("torch").devices())]
    turn = usable if clock == "slower and slower" else usable[::-1]
    assert [(row["backend"], row["device"]) for row in found.rows] == turn
    for row in found.rows:
        assert row["low"] <= row["seconds"] <= row["high"]
        assert row["relative"] == row["seconds"] / times[0]
        assert row["examples_per_second"] == 7 / row["seconds"]
        assert row["steps"] == 10
    assert "\nFastest: {} on {}, ".format(*turn[0]) in repr(found)


def row(name, seconds, low, high, start=0.0):
    values = {"seconds": seconds, "low": low, "high": high, "examples_per_second": 10 / seconds, "relative": seconds}
    return {"backend": name, "device": "cpu", "start": start, **values}


def test_what_lies_within_the_quartiles_is_said_to_be_too_close():
    rows = [row("a", 1.0, 0.9, 1.2), row("b", 1.3, 1.2, 1.4), row("c", 2.0, 1.9, 2.1)]
    last = repr(bench.Comparison("title", rows, [])).splitlines()[-1]
    assert last == "Fastest: a on cpu, 1,000,000.0 µs a step (too close to call: b on cpu)"
    last = repr(bench.Comparison("title", rows[::2], [])).splitlines()[-1]
    assert last == "Fastest: a on cpu, 1,000,000.0 µs a step"


def test_a_short_training_is_for_what_starts_soonest():
    rows = [row("a", 1.0, 0.9, 1.1, start=9.0), row("b", 1.5, 1.4, 1.6, start=3.0), row("c", 4.0, 3.0, 5.0, start=2.0)]
    *_, one, two = repr(bench.Comparison("title", rows[:2], [])).splitlines()
    assert one == "Fastest: a on cpu, 1,000,000.0 µs a step"
    assert two == "For a training of fewer than 12 steps: b on cpu, which starts sooner"
    assert rows[0]["start"] + 12 * 1.0 == rows[1]["start"] + 12 * 1.5
    assert repr(bench.Comparison("title", rows, [])).endswith("fewer than 12 steps: b on cpu, which starts sooner")
    assert "sooner" not in repr(bench.Comparison("title", [row("a", 1.0, 0.9, 1.1, start=0.1), rows[1]], []))


def test_the_start_is_what_a_first_training_takes_besides_its_steps(monkeypatch):
    """It has ten steps, or those of a repetition if these are fewer: more may not fit into memory."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))  # a first training takes 3
    for steps, few in ((2, 2), (20, 10)):
        times, _, start = time_step(net(), steps=steps, repeats=3)
        assert start == pytest.approx(3 - few * times[0])
    ticks = itertools.accumulate(itertools.count())
    assert time_step(net(), steps=2, repeats=3)[2] == 0.0  # where the later steps took longer


def test_there_are_as_many_steps_as_take_the_time_and_fit_the_memory(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))  # every epoch takes as long
    assert time_step(net(), seconds=0.1, repeats=1)[1] == bench.FEWEST_STEPS
    monkeypatch.setattr(bench, "MOST_STEPS", 70)
    assert time_step(net(), seconds=1e9, repeats=1)[1] == 70
    monkeypatch.setattr(bench, "MOST_ELEMENTS", 30 * 10 * (6 + 3))
    assert time_step(net(), seconds=1e9, repeats=1)[1] == 30
    assert time_step(net(), batch_size=1000, seconds=1e9, repeats=1)[1] == bench.FEWEST_STEPS


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ([4, 3], {"task": "multilabel"}),
        ([4, 3], {"task": "regression", "output_activation": "elu(0.5)"}),
        ([4, 3], {"task": "regression", "output_activation": "relu"}),
    ],
)
@pytest.mark.slow
def test_networks_of_every_kind_can_learn_from_random_examples(sizes, options):
    each, _, _ = time_step(Network(sizes, seed=0, **options), **QUICK)
    assert each.shape == (2,)


def test_the_network_is_left_as_it_was():
    first = net(dtype="float64")
    first.train(random_examples(first, 20), epochs=1, optimizer=AdamW(weight_decay=0.1), progress=False)
    before, rows, stream = snapshot(first), list(first.history.rows), first.value.generator
    compare_backends(first, **QUICK)
    assert_same(first, before)
    assert first.history.rows == rows
    assert first.value.generator == stream


def test_options_reach_the_network(capsys):
    words = "--sizes 4,5,3,2 --task regression --activation elu(0.5),tanh --batch-size 3 --dtype float64 --repeats 1"
    status, out, _ = run_command(capsys, "bench", *words.split(), "--seconds", 0.001, "--backend", "numpy", "--seed", 1)
    assert status == 0
    assert out[0].startswith("A step of 4-5-3-2 (elu(0.5, 1.0), tanh, identity, quadratic), batch 3, float64: ")
    assert out[2].split()[:2] == ["numpy", "cpu"]
    assert len(out) == 4


def test_a_device_that_fails_is_listed_and_the_others_are_timed(monkeypatch):
    monkeypatch.setattr(bench.load_backend("numpy"), "devices", lambda: ["cpu", "teapot"])
    found = compare_backends(net(), backends=["numpy"], **QUICK)
    assert [each["device"] for each in found.rows] == ["cpu"]
    (failed,) = found.unusable
    assert str(failed).startswith("numpy   cannot be used: on teapot: device='teapot' contradicts backend=\"numpy\"")


def test_a_device_without_enough_memory_is_listed(monkeypatch):
    """CuPy's own error of that is a MemoryError."""

    def full(*args, **options):
        raise MemoryError("Out of memory allocating 3 bytes")

    monkeypatch.setattr(bench, "time_step", full)
    with pytest.raises(BackendError, match="no backend can be used: on cpu: Out of memory allocating 3 bytes"):
        compare_backends(net(), backends=["numpy"], **QUICK)


def test_where_nothing_can_be_used_the_error_says_why(monkeypatch):
    monkeypatch.setitem(bench.BACKENDS, "torch", ("_not_there", "pip install nothing"))
    with pytest.raises(BackendError, match=r"no backend can be used: backend='torch' cannot be imported .*nothing"):
        compare_backends(net(), backends=["torch"], **QUICK)
    found = compare_backends(net(), backends=["torch", "numpy", "numpy"], **QUICK)
    assert [each["backend"] for each in found.rows] == ["numpy"]
    assert [each.name for each in found.unusable] == ["torch"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-size", "0"], "--batch-size 0 must be a whole number of at least 1"),
        (["--steps", "0"], "--steps 0 must be a whole number of at least 1"),
        (["--seconds", "0"], "--seconds 0.0 must be a finite number above 0"),
        (["--seconds", "1", "--steps", "2"], "argument --steps: not allowed with argument --seconds"),
        (["--sizes", "784,x"], "'784,x' must be whole numbers with commas"),
        (
            ["--backend", "numpi"],
            "--backend numpi is unknown; choose from 'numpy', 'cupy', 'torch', 'jax', 'dpnp' (did you mean",
        ),
    ],
)
def test_a_wrong_option_ends_with_one_clear_line(capsys, words, message):
    status, out, err = run_command(capsys, "bench", *words)
    assert status in (1, 2)
    assert out == []
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert "error: " in err


def test_no_names_of_backends_are_an_error():
    with pytest.raises(ValueError, match=r"backends=\[\] is empty; leave it out to time all"):
        compare_backends(net(), backends=[])
