"""Which tests run, and where.

Every test runs with all its parameters on NumPy, and on GPUs. On another library, a test runs with the last
combination of its parameters: the mathematics is the same there, and what can fail is an operation, which has to run
there once. The tests of modules that are not about what that library may do otherwise are slow there. CuPy on host
memory runs alone.
"""

from typing import Any

import host_cupy
import pytest
from helpers import GPU, HOST, INSTALLED, LEFT_OUT

# Modules about what a library may do otherwise than NumPy
ABOUT = {
    f"test_{name}"
    for name in ["activations", "backends", "backprop", "costs", "devices", "novelty", "training", "waits"]
}
RECORDED = {f"test_{name}" for name in ["data", "distributed", "dropout", "processes", "replay", "trainings"]}
ON_CUPY = {
    f"test_{name}"
    for name in [
        "ensemble",
        "estimators_everywhere",
        "gpu",
        "host_cupy",
        "inspection",
        "network",
        "programs",
        "scale",
        "scaling",
        "uncertainty",
        "validation",
    ]
}
MODULES = {
    "strict-device1": ABOUT | RECORDED,
    "torch": ABOUT | RECORDED,
    "jax": ABOUT,  # which compiles for half a second
    "dpnp": ABOUT,
    host_cupy.NAME: ABOUT | RECORDED | ON_CUPY,
}


def get_place(item: pytest.Item) -> Any:
    """Return the name of the place that a test runs on, or None."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return next((params[name] for name in ("place", "other", "eager") if name in params), None)


def needs_host(item: pytest.Item) -> bool:
    """Whether a test runs CuPy on host memory."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    asks = "host" in getattr(item, "fixturenames", ()) and "host" not in params
    return asks or any(isinstance(value, str) and value == host_cupy.NAME for value in params.values())


def is_about_other_things(item: pytest.Item) -> bool:
    """Whether a test runs on a library that its module is not about."""
    return item.path.stem not in MODULES.get(get_place(item), {item.path.stem})


def can_run(item: pytest.Item) -> bool:
    """Whether what a test needs is here, and neither of the marks `on` and `not_on` forbids its place."""
    has_what_it_needs = all(INSTALLED[name] for mark in item.iter_markers("needs") for name in mark.args)
    has_gpu = not {*GPU} <= {*LEFT_OUT}
    if (needs_host(item) and HOST is None) or (item.get_closest_marker("gpu") and not has_gpu):
        return False
    if any("empty parameter set" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip")):
        return False
    marks = (mark for mark in item.iter_markers() if mark.name in ("on", "not_on") and get_place(item) in mark.args)
    runs_there = next((mark.name == "on" for mark in marks), True)
    return runs_there and has_what_it_needs


def choose(items: list[pytest.Item], on_host: bool, every: bool) -> list[pytest.Item]:
    """Choose the tests that run, and mark those that are slow where they run."""
    kept = [item for item in items if can_run(item) and needs_host(item) == on_host]
    for item in filter(is_about_other_things, kept):
        item.add_marker(pytest.mark.slow)
    if every:
        return kept
    if on_host:
        kept = [item for item in kept if not is_about_other_things(item)]
    last = {}  # combination of a test on a place; in float64, where a float32 that comes in by mistake is seen
    for item in kept:
        once = get_place(item) in MODULES and not item.get_closest_marker("everywhere")
        last[(get_place(item), item.nodeid.split("[")[0]) if once else item] = item
    chosen = {*last.values()}
    return [item for item in kept if item in chosen]
