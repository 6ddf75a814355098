"""Calibrations and novelty: what they must give, and which operations end them."""

import copy
import math
import random
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpnet import SGD, ArgumentError, DivergenceError, Ensemble, Network
from xpnet.export import to_onnx

from . import oracle as known
from . import own
from .exports import run_onnx
from .generate import Operation, register
from .world import (
    Containers,
    Examples,
    Failure,
    Interrupt,
    Interrupted,
    World,
    assert_close,
    assert_same,
    clone,
    draw_optimizer,
    is_installed,
    make_network,
    make_optimizer,
    make_oracle,
    new_path,
    to_host,
)

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

ONE_SIGMA = math.erf(math.sqrt(0.5))
LEVELS = 0.5, 0.68, 0.9, 0.95
WITH_KINKS = "relu", "leaky_relu", "elu", "selu"


def drop_single(a: np.ndarray) -> np.ndarray:
    """A single target has no axis."""
    return a[..., 0] if a.shape[-1] == 1 else a


def draw_size(world: World, r: random.Random, *sizes: int) -> int:
    """A number of examples; the first one on JAX, which compiles for each."""
    return sizes[0] if world.place == "jax" else r.choice(sizes)


def draw_any_optimizer(world: World, r: random.Random) -> tuple[Any, ...]:
    """The numbers of an optimizer of any structure; of one on JAX."""
    return ("Adam", {}) if world.place == "jax" else draw_optimizer(r)


def is_calibrated(net: Any) -> bool:
    return net.calibration is not None or net.temperature is not None


# Calibrating


def can_calibrate(net: Any) -> bool:
    """Whether there are error bars, or probabilities that a temperature calibrates."""
    needed = {"regression": net.output_activation, "classification": "softmax"}.get(net.task, "sigmoid")
    return net.output_activation == needed


def is_finite(net: Any, x: np.ndarray) -> bool:
    return bool(np.isfinite(to_host(net.forward(x))).all())


@operation(weight=3)
def calibrate(world: World, r: random.Random) -> None:
    """The network is calibrated; how, is compared by the operations that read."""
    examples = Examples(world.net, r, draw_size(world, r, 20, 12, 45))
    if world.net.task != "regression" and r.random() < 0.2 and is_finite(world.net, examples.x):
        examples.y = to_host(world.net.predict(examples.x))  # all of them right
    x, y = examples.data

    def act(net: Any, containers: Containers) -> None:
        net.calibrate(containers.examples(x, y))

    if not can_calibrate(world.net) or not is_finite(world.net, x):
        require_refusal(world.net, lambda: act(world.net, Containers(world)), "calibrate")
        return
    world.act(r, act)
    if world.oracle is not None:
        world.oracle.calibrate(x, y)
        compare_temperatures(world, examples)


def require_refusal(net: Any, act: Any, what: str) -> None:
    before = net.fingerprint()
    try:
        act()
    except (ValueError, TypeError):
        if net.fingerprint() != before:
            raise Failure(f"{what} was refused, and changed the network") from None
    else:
        raise Failure(f"{what} was not refused")


def compare_temperatures(world: World, examples: Examples) -> None:
    """The oracle's temperature, or one that is as good where the log loss is flat; it is taken over."""
    net, oracle = world.net, world.oracle
    if net.temperature is None:
        return
    z, y = oracle.feed_forward(examples.x)[0][-1], oracle.target_rows(examples.y)
    losses = [known.log_loss_of_logits(z / t, y, net.task) for t in (net.temperature, oracle.temperature)]
    if not 0.2 * (1 - 1e-6) <= net.temperature <= 100 * (1 + 1e-6):
        raise Failure(f"temperature: {net.temperature}")
    if abs(math.log(net.temperature / oracle.temperature)) > (1e-5 if world.exact else 1e-2):
        assert_close(*losses, 1e-10 if world.exact else 1e-4, "log loss at the temperature", 1.0)
    oracle.temperature = net.temperature


# Reading


@operation(weight=3, reads=True)
def error_bars(world: World, r: random.Random) -> None:
    """Intervals, standard deviations and coverage of a regression, calibrated or not."""
    net, oracle = world.net, world.oracle
    if net.task != "regression" or oracle is None:
        return
    examples, level = Examples(net, r), r.choice(LEVELS)
    x, _ = examples.data
    if not np.isfinite(oracle.forward(x)).all():
        return
    if oracle.levels:
        compare_quantiles(world, examples)
        return
    mean, std = oracle.mean_and_std(x)
    assert_close(net.predict(x), drop_single(mean), world.tolerance(1e-8, 5e-3), "predict")
    if net.cost_name != "gaussian" and oracle.errors is None:
        for act in (lambda: net.interval(x), lambda: net.predict_std(x), lambda: net.coverage(examples.data)):
            require_refusal(net, act, "error bars without any")
        return
    factor = 1.0 if oracle.errors is None else known.conformal_error(oracle.errors, ONE_SIGMA)
    scale = max(np.abs(mean).max(), np.abs(factor * std).max(), 1e-3)
    for a in (net.predict_std(x), net.predict(x, return_std=True)[1]):
        assert_close(a, drop_single(factor * std), world.tolerance(1e-8, 5e-3), "standard deviations", scale)
    ends = oracle.interval(x, level)
    if ends is None:
        require_refusal(net, lambda: net.interval(x, level), f"interval at {level} of few examples")
        return
    for name, a, b in zip(("low", "high"), net.interval(x, level), ends):
        assert_close(a, drop_single(b), world.tolerance(1e-8, 5e-3), f"interval: {name}", scale)
    compare_coverage(world, examples, [level], np.stack(ends, axis=-1))


def compare_quantiles(world: World, examples: Examples) -> None:
    net, oracle, (x, _) = world.net, world.oracle, examples.data
    quantiles = oracle.quantiles(x)
    shaped = drop_single(quantiles[..., 0]) if quantiles.shape[-1] == 1 else quantiles
    assert_close(
        net.predict(x),
        shaped[:, 0] if shaped.ndim == 3 and shaped.shape[1] == 1 else shaped,
        world.tolerance(1e-8, 5e-3),
        "quantiles",
    )
    level = oracle.levels[-1] - oracle.levels[0]
    ends = oracle.interval(x, level)
    if ends is None or level < 1e-9:
        require_refusal(net, lambda: net.interval(x, level), "interval without its quantiles")
    else:
        for a, b in zip(net.interval(x, level), ends):
            assert_close(a, drop_single(b), world.tolerance(1e-8, 5e-3), "interval between quantiles")
    require_refusal(net, lambda: net.predict_std(x), "standard deviations beside quantiles")
    compare_coverage(world, examples, oracle.levels, quantiles)


def compare_coverage(world: World, examples: Examples, levels: Any, bounds: np.ndarray) -> None:
    """Count targets below quantiles (n, n_targets, n_levels), or within the ends of one interval."""
    net, oracle = world.net, world.oracle
    y = oracle.target_rows(examples.y)[..., None]
    rows = net.coverage(examples.data, levels).rows
    if world.exact and np.abs(y - bounds).min() > 1e-9 * np.abs(bounds).max():
        inside = y <= bounds if oracle.levels else (y >= bounds[..., :1]) & (y <= bounds[..., 1:])
        assert_close([row["measured"] for row in rows], inside.mean(axis=0).ravel(), 1e-12, "coverage", 1.0)
    n, of_calibration = examples.n, None if net.calibration is None else len(net.calibration)
    for row in rows:
        variance = row["nominal"] * (1 - row["nominal"]) / n  # of a binomial number, or one of a beta distribution
        variance *= 1 if of_calibration is None else (of_calibration + 1 + n) / (of_calibration + 2)
        assert_close(row["standard_error"], math.sqrt(variance), 1e-9, "standard error of the coverage")


@operation(weight=2, reads=True)
def laplace(world: World, r: random.Random) -> None:
    """Error bars by the uncertainty of weights, of a network that was trained, beside MacKay's formulas."""
    net = world.in_float64().net.copy()
    kinks = [known.parse(name)[0] in WITH_KINKS for name in (*net.activation, net.output_activation)]
    if net.task != "regression" or net.cost_name not in ("quadratic", "mse") or any(kinks):
        return
    if world.place in ("jax", "cupy-on-host"):  # slow, or without cuSOLVER
        return
    examples, new = Examples(net, r, r.choice([8, 20, 33])), Examples(net, r, 5)
    if (np.ptp(np.reshape(examples.y, (examples.n, -1)), axis=0) == 0).any():
        return
    try:
        net.train(examples.data, epochs=2, lr=0.01, progress=False, optimizer=SGD())
    except DivergenceError:
        return
    oracle = make_oracle(net)
    if not np.isfinite(oracle.forward(new.x)).all():
        return
    door, twin = clone(net, r)
    try:
        for each in (net, twin):
            each.fit_laplace(examples.data)
    except ArgumentError as error:
        if "cannot tell the effects" not in str(error):
            raise
        world.skipped["fit_laplace cannot tell weights apart"] += 1
        return
    assert_same(twin, net, f"fit_laplace of a clone by {door}")
    covariance, noise = oracle.fit_laplace(*examples.data)
    std, between_rows = (
        oracle.std_of_weights(new.x, covariance, noise),
        oracle.covariance_between_rows(new.x, covariance),
    )
    door, twin = clone(net, r)
    for name, each in (("", net), (f", of a clone by {door}", twin)):
        assert_close(each.predict_std(new.x), drop_single(std), 1e-6, f"error bars by fit_laplace{name}", std.max())
        assert_close(each.covariance(new.x), drop_single(between_rows), 1e-6, f"covariance{name}", between_rows.max())
    compare_slopes(net, new.x, has_std=True)
    if is_installed("onnx") and is_installed("onnxruntime") and not any(own.find_factors(net)):
        to_onnx(net, path := new_path(".onnx"), return_std=True)
        found = run_onnx(path, {"x": new.x.astype("float64")}, ["std"])[0]
        assert_close(found, std, 1e-6, "error bars by onnxruntime", std.max())


@operation(weight=2, reads=True)
def crossing_quantiles(world: World, r: random.Random) -> None:
    """Quantiles that cross after a calibration with few examples; of several levels, with and without a median."""
    if world.place == "jax":  # which would compile each of these networks
        return
    levels = r.choice(
        [
            "0.1, 0.5, 0.9",
            "0.25, 0.4, 0.5, 0.6, 0.75",
            "0.2, 0.4, 0.6, 0.8",
            "0.2, 0.3",
            "0.6, 0.7, 0.8",
            "0.3, 0.5",
            "0.5, 0.6",
        ]
    )
    each, targets = len(levels.split(",")), r.choice([1, 2])
    settings = {**world.settings, "sizes": [2, 4, each * targets], "cost": f"quantile({levels})", "dropout": 0.0}
    for name in ("task", "output_activation", "activation"):
        settings.pop(name, None)
    small = copy.copy(world)
    small.net = make_network({**settings, "init": "normal", "dtype": "float64"})
    small.exact, small.oracle = True, make_oracle(small.net)
    if small.net.standardize:
        x, y = Examples(small.net, r, 20).data
        small.net.fit_scaling((x, y))
        small.oracle.fit_scaling(x, y)
    small.net.b = [
        3 * to_host(b) for b in small.net.b
    ]  # quantiles far from each other, which the shifts bring together
    small.oracle = make_oracle(small.net)
    x, y = Examples(small.net, r, r.choice([9, 12, 30])).data
    small.net.calibrate((x, y))
    small.oracle.calibrate(x, y)
    compare_quantiles(small, Examples(small.net, r, 33))


@operation(weight=2, reads=True)
def differentiate_predictions(world: World, r: random.Random) -> None:
    """The derivatives of predictions and of standard deviations, calibrated or not, against differences."""
    net, examples = world.in_float64().net, Examples(world.net, r, draw_size(world, r, 3, 1))
    if net.task != "regression" or not is_smooth(net) or not is_finite(net, examples.x):
        return
    has_std = not known.quantile_levels(net.cost_name) and (net.cost_name == "gaussian" or is_calibrated(net))
    compare_slopes(net, examples.x, has_std)


def is_smooth(net: Network) -> bool:
    return not any(known.parse(name)[0] in WITH_KINKS for name in (*net.activation, net.output_activation))


def compare_slopes(net: Any, x: np.ndarray, has_std: bool) -> None:
    """Compare with differences, of a network or an ensemble."""
    first = net[0] if isinstance(net, Ensemble) else net
    if first.backend.name == "cupy" and known.quantile_levels(first.cost_name):
        return  # they are sorted by kernels that CuPy over host memory lacks
    unit = 1.0 if first.scaling is None else first.scaling.x_std[0]
    slopes = net.predict_jacobian(x, return_std=True) if has_std else (net.predict_jacobian(x),)
    for i, step in enumerate(1e-6 * unit * np.ones(first.sizes[0]) / (first.scale or 1)):
        h = step * np.eye(first.sizes[0])[i]
        up, down = (
            (net.predict(each, return_std=True) if has_std else (net.predict(each),)) for each in (x + h, x - h)
        )
        for name, slope, a, b in zip(
            ("predictions", "standard deviations"), slopes, map(to_host, up), map(to_host, down)
        ):
            rounding = 1e-10 * max(np.abs(a).max(), 1.0) / step
            scale = max(1e-2, np.abs(to_host(slope)).max(), 1e5 * rounding)
            assert_close(to_host(slope)[..., i], (a - b) / (2 * step), 1e-5, f"derivatives of {name}", scale)


# Novelty


@operation(weight=1)
def novelty(world: World, r: random.Random) -> None:
    """Distances of rows from each other, by brute force."""
    x, new = Examples(world.net, r, draw_size(world, r, 20, 33)).x, Examples(world.net, r, 7).x
    few = x[:19]
    require_refusal(world.net, lambda: world.net.fit_novelty(few), "fit_novelty with few rows")
    world.act(r, lambda net, containers: net.fit_novelty(containers.array(x)))
    measured = to_host(world.net.novelty(new))
    assert_close([float(to_host(world.net.novelty(row))) for row in new], measured, 1e-6, "novelty of one row", 1.0)
    if world.oracle is None or not world.exact:
        return
    own, distances = known.square_distances(world.oracle.scale_inputs(x), world.oracle.scale_inputs(new))
    for value, distance in zip(measured, distances):
        lowest, highest = ((own < distance * factor).sum() / (len(x) + 1) for factor in (1 - 1e-7, 1 + 1e-7))
        if not lowest - 1e-12 <= value <= highest + 1e-12:
            raise Failure(f"novelty: {value}, expected {lowest} to {highest}")


# The life of a calibration


class Life(NamedTuple):
    """What the steps of a life need."""

    world: World
    examples: Examples
    r: random.Random


def go_through_a_door(net: Network, life: Life) -> Network:
    return clone(net, life.r)[1]


def move_there_and_back(net: Network, life: Life) -> Network:
    place = {"backend": net.backend.xp if net.backend.name == "array_api_strict" else net.backend.name}
    return net.to("torch" if is_installed("torch") else "numpy").to(**place, device=net.backend.device)


def join_ensemble(net: Network, life: Life) -> Network:
    ensemble = Ensemble.of([net, net.copy()])
    if is_calibrated(ensemble):
        raise Failure("an ensemble of calibrated networks is calibrated")
    return ensemble.best(life.examples.data)


def read(net: Network, life: Life) -> Network:
    net.measure(life.examples.data, metrics=[]), net.cost(life.examples.data), net.forward(life.examples.x)
    return net


def reset_optimizer(net: Network, life: Life) -> Network:
    net.reset_optimizer(make_optimizer(draw_any_optimizer(life.world, life.r)) if life.r.random() < 0.7 else None)
    return net


def label(net: Network, life: Life) -> Network:
    net.notes, net.feature_names = {"a": [1, None]}, [f"column {k}" for k in range(net.sizes[0])]
    net.feature_names = None
    return net


def refuse(net: Network, life: Life) -> Network:
    x, y = life.examples.data
    wrong = (lambda: net.train((x, y), lr=-1.0)), (lambda: net.minibatch_update((x[:-1], y), 0.1))
    for act in (*wrong, lambda: net.fit_scaling((x[:-1], y)), lambda: setattr(net, "w", [3])):
        require_refusal(net, act, "a mistake")
    return net


def interrupt(net: Network, life: Life) -> Network:
    try:
        net.train(life.examples.data, progress=False, callbacks=[Interrupt("begin")])
    except Interrupted:
        return net
    raise Failure("Interrupt has not interrupted")


def diverge(net: Network, life: Life) -> Network:
    try:
        net.minibatch_update(life.examples.data, 1e300)
    except (DivergenceError, ValueError):  # the latter if the scaling is not known
        return net
    raise SkipStep


def train(net: Network, life: Life) -> Network:
    try:
        net.train(life.examples.data, epochs=1, lr=1e-3, progress=False)
    except DivergenceError:
        raise SkipStep from None
    return net


def assign_weights(net: Network, life: Life) -> Network:
    name = life.r.choice(["w", "b", "layers", "state"])
    setattr(net, name, getattr(net, name))
    return net


def forget_scaling(net: Network, life: Life) -> Network:
    net.scaling = None
    return net


def fit_scaling(net: Network, life: Life) -> Network:
    if not net.standardize:
        raise SkipStep
    net.fit_scaling(life.examples.data)
    return net


def update(net: Network, life: Life) -> Network:
    if net.standardize and net.scaling is None:
        raise SkipStep
    try:
        net.minibatch_update(life.examples.data, 1e-3)
    except DivergenceError:
        raise SkipStep from None
    return net


class SkipStep(Exception):  # noqa: N818
    """A step that this network cannot take."""


# Each step, and whether it ends a calibration, and the novelty
STEPS = [
    *((step, False, False) for step in (go_through_a_door, move_there_and_back, join_ensemble, read)),
    *((step, False, False) for step in (reset_optimizer, label, refuse, interrupt, diverge)),
    (assign_weights, True, False),
    *((step, True, True) for step in (train, update, forget_scaling, fit_scaling)),
]


@operation(weight=4, reads=True)
def life(world: World, r: random.Random) -> None:
    """A calibrated network beside one that never was: both take the same steps, until they are equal again."""
    plain = world.net.copy()
    examples, x = Examples(plain, r, 45), Examples(plain, r, 5).x
    if not can_calibrate(plain) or not is_finite(plain, examples.x) or not is_finite(plain, x):
        return
    clear(plain)
    net = plain.copy()
    net.calibrate(examples.data)
    net.fit_novelty(examples.x)
    alive = {"calibration": True, "novelty": True}
    for _ in range(r.randint(1, 5)):
        (step, *ends), seed = r.choice(STEPS), r.randrange(2**40)
        world.log.append(step.__name__)
        before = predict_calibrated(net, x, alive)
        try:
            net, plain = (step(each, Life(world, examples, random.Random(seed))) for each in (net, plain))
        except SkipStep:
            return
        alive = {name: is_alive and not end for (name, is_alive), end in zip(alive.items(), ends)}
        require_alive(net, x, alive, step.__name__)
        if not any(alive.values()):
            assert_same(net, plain, f"{step.__name__}, after which nothing is left")
            return
        for a, b in zip(predict_calibrated(net, x, alive), before):
            if not np.array_equal(a, b, equal_nan=True) and alive["calibration"]:
                raise Failure(f"{step.__name__}: calibrated predictions differ")


def clear(net: Network) -> None:
    """End a calibration and the novelty, by an assignment."""
    net.scaling = net.scaling


def predict_calibrated(net: Network, x: np.ndarray, alive: dict[str, bool]) -> list[np.ndarray]:
    """What a calibration, and the novelty, change."""
    parts = [to_host(net.novelty(x))] if alive["novelty"] else []
    if not alive["calibration"]:
        return parts
    if net.task != "regression":
        return [*parts, to_host(net.predict_proba(x))]
    if known.quantile_levels(net.cost_name):
        return [*parts, to_host(net.predict(x))]
    return [*parts, *map(to_host, net.interval(x, 0.8)), to_host(net.predict_std(x))]


def require_alive(net: Network, x: np.ndarray, alive: dict[str, bool], what: str) -> None:
    if is_calibrated(net) != alive["calibration"]:
        raise Failure(f"{what}: the calibration {'has gone' if alive['calibration'] else 'is still there'}")
    if not alive["novelty"]:
        require_refusal(net, lambda: net.novelty(x), f"novelty after {what}")
