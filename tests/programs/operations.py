"""What programs do with a network: each operation checks what must be true after it."""

import copy
import csv
import itertools
import math
import os
import random
from functools import partial
from typing import Any

import numpy as np

from xpnet import (
    LBFGS,
    SGD,
    CSVLog,
    DivergenceError,
    EarlyStopping,
    LevenbergMarquardt,
    ModelCheckpoint,
    Network,
    ReduceLROnPlateau,
    Term,
    check_gradients,
)

from . import oracle as known
from . import own
from .generate import Operation, register
from .world import (
    FEW_BATCHES,
    INITIALIZERS,
    LOG_LOSSES,
    Containers,
    Examples,
    Failure,
    Interrupt,
    Interrupted,
    Items,
    Meddle,
    Training,
    World,
    assert_close,
    assert_same,
    assert_same_ends,
    clone,
    describe_end,
    draw_metrics,
    draw_optimizer,
    draw_training,
    is_installed,
    layers_of,
    make_network,
    make_optimizer,
    make_oracle,
    make_tensor,
    near,
    new_path,
    place_arguments,
    place_of,
    scaling_of,
    strip_times,
    to_host,
)

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

SMOOTH_COSTS = ("quadratic", "cross_entropy", "log_likelihood", "mse", "poisson")
WITH_KINKS = ("relu", "leaky_relu", "elu", "selu")
SATURATED = ("relu", "sigmoid", "tanh", "softplus")  # far below 0


# Training


@operation(weight=8)
def train(world: World, r: random.Random) -> None:
    """Every option of a training, beside the oracle; options that must not matter differ for the clone."""
    training = draw_training(world, r)
    x, y = training.examples.data
    world.log.append(f"n={training.examples.n} {training.expected}")
    oracle, copies, weights = copy.deepcopy(world.oracle), (x.copy(), y.copy()), world.net.w
    before = [to_host(w).copy() for w in weights]

    def act(net: Network, containers: Containers) -> None:
        options = vary_options(world, training.options, containers)
        net.train(containers.examples(x, y), **options, callbacks=training.make_callbacks())

    error = world.act(r, act)
    if not all(np.array_equal(a, b) for a, b in zip((x, y), copies)):
        raise Failure("training wrote into its data")
    if not all(np.array_equal(to_host(a), b) for a, b in zip(weights, before)):
        raise Failure("training wrote into weights that were read before")
    follow_training(world, oracle, training, error)


def vary_options(world: World, options: dict[str, Any], containers: Containers) -> dict[str, Any]:
    """The same options, with their data in other containers, and with others that change no weight."""
    options, r = dict(options), containers.r
    for name in (name for name in ("sample_weight", "slopes") if name in options):
        options[name] = containers.array(options[name])
    if "validation_data" in options:
        options["validation_data"] = containers.examples(*options["validation_data"])
    if r is None:
        return options
    if world.place == "numpy" and r.random() < 0.3:
        options["blas_threads"] = r.choice([1, 2, 3])
    if r.random() < 0.2:
        options |= {"checkpoint": new_path(), "every": r.choice(["epoch", 1, 2, 5])}
    world.log.append(f"{[*options]}")
    return options


def follow_training(
    world: World, oracle: known.Oracle | None, training: Training, error: DivergenceError | None
) -> None:
    """Train the oracle of before in the same way, and compare."""
    if oracle is None:
        return
    x, y = training.examples.data
    if error is None:
        world.oracle = oracle
        exact = 1e-7 if "slopes" in training.expected else 1e-10  # the oracle's gradients of slopes are differences
        world.follow(lambda oracle: oracle.train(x, y, **training.expected), "after train", exact)
    elif world.exact:
        rows = oracle.train(x, y, **training.expected)
        if np.isfinite([row["cost"] for row in rows]).all() and oracle.is_finite:
            raise Failure(f"it diverges, and the oracle does not: {error}")


@operation(weight=1)
def repeat_rows(world: World, r: random.Random) -> None:
    """Weights that are whole numbers are repeated rows, in minibatches of all examples."""
    net, examples = world.in_float64().net, Examples(world.net, r, r.choice([3, 6]))
    if any(net.dropout) or (net.standardize and net.scaling is None) or world.place == "jax":
        return
    numbers = np.array([1 + r.randint(0, 2), *(r.randint(0, 3) for _ in range(examples.n - 1))])
    optimizer, options = make_optimizer(draw_optimizer(r)), {"epochs": 3, "batch_size": 99, "lr": 0.05}
    pair = net.copy(), net.copy()
    for each in pair:
        each.reset_optimizer(optimizer)
    try:
        pair[0].train(examples.data, **options, sample_weight=numbers, progress=False)
        pair[1].train(tuple(np.repeat(a, numbers, axis=0) for a in examples.data), **options, progress=False)
    except DivergenceError:
        return
    for a, b in zip(pair[0].w, pair[1].w):
        assert_close(a, b, 1e-7, "weights against repeated rows")
    assert_close(pair[0].history["cost"], pair[1].history["cost"], 1e-8, "costs against repeated rows")


@operation(weight=2)
def minibatch_update(world: World, r: random.Random) -> None:
    """A step of plain gradient descent."""
    examples, lr = Examples(world.net, r), r.choice([0.01, 0.1])
    fit_scaling_once(world, examples)

    def act(net: Network, containers: Containers) -> None:
        net.minibatch_update(examples.data if containers.r is None else list(zip(*examples.data)), lr)

    def replay(oracle: known.Oracle) -> None:
        grads, _ = oracle.gradient(*examples.data)
        oracle.forget_calibration()
        oracle.layers = [(w - lr * gw, b - lr * gb) for (w, b), (gw, gb) in zip(oracle.layers, grads)]

    if world.act(r, act) is None:
        world.follow(replay, "after minibatch_update")


def fit_scaling_once(world: World, examples: Examples) -> None:
    """Fit the scaling of a network that has none yet, where an operation needs one."""
    if world.net.standardize and world.net.scaling is None:
        world.net.fit_scaling(examples.data)
        if world.oracle is not None:
            world.oracle.fit_scaling(*examples.data)


@operation(weight=5)
def stream(world: World, r: random.Random) -> None:
    """The batches of a loader are the minibatches; with `steps`, an epoch goes on where the last one ended.

    Examples have the weights of their classes.
    """
    n = None if world.place == "jax" else r.choice([2, 8, 13, 20])
    net, examples, optimizer = world.net, Examples(world.net, r, n), draw_optimizer(r)
    if world.place == "jax":
        optimizer = ("Adam", {})
    fit_scaling_once(world, examples)
    size = r.choice(FEW_BATCHES if world.place == "jax" else [2, 3, 7])
    batches = [tuple(a[start : start + size] for a in examples.data) for start in range(0, examples.n, size)]
    kind, steps = r.choice(["iterable", "generator", "loader of torch", "steps"]), r.randint(1, 3)
    epochs, chunk_steps = 1 if kind == "generator" else 2, None if world.place == "jax" else r.choice([1, 3, 50])
    classes = {k: r.choice([0.0, 0.5, 3.0]) for k in range(1, max(2, net.sizes[-1]))}  # and 1 for class 0
    weights = {"class_weight": classes} if net.task in ("classification", "binary") else {}
    world.log.append(f"{kind} {size} n={examples.n} {optimizer} {weights}")

    def act(net: Network, containers: Containers) -> None:
        data: Any = Batches(batches)
        if kind == "generator":
            data = iter(batches)
        elif kind == "loader of torch" and is_installed("torch"):
            from torch.utils.data import DataLoader, TensorDataset

            data = DataLoader(TensorDataset(*map(make_tensor, examples.data)), batch_size=size)
        options = weights | ({"steps": steps} if kind == "steps" else {})
        net.reset_optimizer(make_optimizer(optimizer))
        net.train(data, epochs=epochs, lr=0.05, chunk_steps=chunk_steps, progress=False, **options)

    def replay(oracle: known.Oracle) -> list[dict[str, Any]]:
        oracle.optimizer, oracle.memory = optimizer, {}
        oracle.forget_calibration()
        per_epoch, sums = steps if kind == "steps" else len(batches), []
        for x, y in (batches * 6)[: epochs * per_epoch]:
            weight = oracle.class_weights(classes, oracle.labels(y), ...) if weights else np.ones(len(x))
            costs = oracle.take_step(oracle.scale_inputs(x), oracle.scale_targets(y), 0.05, weight)
            sums.append((0.0 if costs is None else weight @ costs, weight.sum()))
        costs, weight = np.reshape(sums, (epochs, per_epoch, 2)).sum(axis=1).T
        return [{"epoch": k, "cost": cost, "lr": 0.05} for k, cost in enumerate(costs / weight, 1)]

    if world.act(r, act) is None:
        world.follow(replay, f"after a stream, {kind}")


class Batches:
    """An iterable of batches that can be iterated again, without a length."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


@operation(weight=2, reads=True)
def epochs_without_weight(world: World, r: random.Random) -> None:
    """An epoch that sees only a class without weight changes nothing, and callbacks do not wait for it."""
    if world.place == "jax":  # which would compile this network
        return
    net = make_small(world, [2, 3], task="classification")
    n, epochs, labels = 4, r.choice([6, 12]), []
    x = Examples(net, r, n).x
    while len(labels) < epochs:
        labels += [r.choice([0, 0, 1, 2])] * r.randint(1, 3)
    batches = [(x, np.full(n, label)) for label in labels]
    plateau, stop = ("cost", 0.5, r.choice([1, 2]), 9.0), ("cost", r.choice([2, 3, 9]), 9.0, r.random() < 0.5)
    callbacks = [
        ReduceLROnPlateau(0.5, plateau[2], monitor="cost", min_delta=9.0),
        EarlyStopping(stop[1], monitor="cost", min_delta=9.0, restore_best=stop[3]),
    ]
    oracle, rows = make_oracle(net), []
    watch = known.Watch(oracle, stop, plateau)
    options = {"lr": 0.1, "class_weight": {0: 0.0, 2: 3.0}, "callbacks": callbacks, "progress": False}
    net.train(Batches(batches), epochs=epochs, steps=1, **options)
    for epoch, label in enumerate(labels[:epochs], 1):
        rate, weight = 0.1 * watch.factor, np.full(n, [0.0, 1.0, 3.0][label])
        costs = oracle.take_step(x, oracle.target_rows(batches[epoch - 1][1]), rate, weight)
        rows.append({"epoch": epoch, "cost": math.nan if costs is None else costs.mean(), "lr": rate})
        if watch.ends(rows[-1]):
            break
    watch.restore()
    ends = describe_end(layers_of(net), strip_times(net.history.rows)), describe_end(oracle.layers, rows)
    assert_same_ends(*ends, {}, 1e-7, "after epochs without weight")


def make_small(world: World, sizes: list[int], **settings: Any) -> Network:
    """A network in float64 for an operation that few networks of programs are fit for, at the place of the world."""
    common = {name: world.settings[name] for name in ("backend", "device", "seed")}
    return make_network(common, sizes=sizes, dtype="float64", **settings)


@operation(weight=2)
def read_again(world: World, r: random.Random) -> None:
    """A data set that is read again each epoch trains as one that is kept; test data are reported as measured."""
    training, test = draw_training(world, r), Examples(world.net, r)
    options = {name: value for name, value in training.options.items() if name not in STORED}
    if "validation_data" not in options:
        options.pop("metrics", None)
    data, kept, again = Items(*training.examples.data), world.net.copy(), world.net.copy()
    try:
        kept.train(data, **options)
        again.train(data, **options, cache=False, test_data=test.data)
    except DivergenceError:
        return
    for a, b in zip(again.w, kept.w):
        assert_close(a, b, world.tolerance(1e-9, 1e-3), "cache=False", max(1e-2, np.abs(to_host(b)).max()))
    expected = again.measure(test.data, metrics=[] if again.task == "regression" else ["correct"])
    if again.task == "regression":
        expected.pop("size")
    for name, value in expected.items():
        if not near(again.history[f"test_{name}"][-1], value, world.tolerance(1e-9, 1e-4)):
            raise Failure(f"test_{name} is {again.history[f'test_{name}'][-1]}, measured {value}")


STORED = ("sample_weight", "validation_split", "class_weight", "slopes", "slope_weight")  # what needs stored data


@operation(weight=1, reads=True)
def diverge(world: World, r: random.Random) -> None:
    """A step from a finite cost to infinite weights is refused, and not taken."""
    net, data, before = world.net.copy(), Examples(world.net, r).data, layers_of(world.net)
    rate, optimizer = 1e308 if net.dtype == "float64" else 1e38, SGD(weight_decay=1e6)
    if all((np.abs(w) < 1e-3).all() for w, _ in before):
        return
    try:
        net.train(data, epochs=1, batch_size=99, lr=rate, optimizer=optimizer, progress=False)
        raise Failure("weights have become infinite")
    except DivergenceError:
        if not all(np.array_equal(a, b) for pair in zip(layers_of(net), before) for a, b in zip(*pair)):
            raise Failure("a network that diverges has other weights") from None


@operation(weight=1)
def fit_least_squares(world: World, r: random.Random) -> None:
    """Levenberg-Marquardt, cost by cost."""
    own, world = world, world.in_float64()
    net, examples, oracle = world.net, Examples(world.net, r), world.oracle
    if net.cost_name not in ("quadratic", "mse") or any(net.dropout) or oracle is None:
        return
    if world.place == "cupy-on-host":  # where cuSOLVER is not
        return
    fit_scaling_once(world, examples)
    numbers = {"damping": r.choice([1e-3, 1.0]), "weight_decay": r.choice([0.0, 1e-3])}
    weight = {"sample_weight": examples.weights} if r.random() < 0.3 else {}
    world.log.append(f"n={examples.n} {numbers} {[*weight]}")

    def act(net: Network, containers: Containers) -> None:
        data, optimizer = containers.examples(*examples.data), LevenbergMarquardt(**numbers)
        net.reset_optimizer()
        net.train(data, epochs=4, optimizer=optimizer, **weight, progress=False)

    at_kinks = is_at_kink(net, oracle.feed_forward(examples.x)[0], 1e-9)
    if world.act(r, act) is None and not at_kinks:
        expected = oracle.fit_least_squares(*examples.data, 4, **numbers, **weight)
        for cost, other in zip(net.history["cost"], expected):
            if not near(cost, other, 1e-6):
                raise Failure(f"costs of Levenberg-Marquardt: {net.history['cost']}, expected {expected}")
    own.take_over(world)


@operation(weight=1)
def fit_by_lbfgs(world: World, r: random.Random) -> None:
    """L-BFGS with any cost: the first one is the oracle's, and none is above the one before."""
    own, world = world, world.in_float64()
    net, examples, oracle = world.net, Examples(world.net, r), world.oracle
    if any(net.dropout) or oracle is None:
        return
    fit_scaling_once(world, examples)
    decay = r.choice([0.0, 1e-3])
    world.log.append(f"n={examples.n} weight_decay={decay}")

    def act(net: Network, containers: Containers) -> None:
        net.reset_optimizer()
        net.train(containers.examples(*examples.data), epochs=4, optimizer=LBFGS(weight_decay=decay), progress=False)

    expected = oracle.cost(*examples.data) + 0.5 * decay * sum(float((w**2).sum()) for w, _ in layers_of(net))
    if world.act(r, act) is None:
        costs = net.history["cost"]
        if not near(costs[0], expected, 1e-9) or (np.diff(costs) > 0).any():
            raise Failure(f"costs of L-BFGS: {costs}, of which the first should be {expected}, and none rise")
    own.take_over(world)


@operation(weight=1, reads=True)
def fit_without_effect(world: World, r: random.Random) -> None:
    """Levenberg-Marquardt where no weight has an effect, as all outputs are saturated: every step fails."""
    if world.place in ("jax", "cupy-on-host"):  # as above; and where cuSOLVER is not
        return
    net = make_small(world, [2, 3, 1], output_activation=r.choice(SATURATED), cost="quadratic")
    net.b = [np.zeros(3), [-1000.0]]
    (x, y), before = Examples(net, r, 8).data, layers_of(net)
    net.train((x, y), epochs=4, optimizer=LevenbergMarquardt(), progress=False)
    if not all(np.array_equal(a, b) for old, new in zip(before, layers_of(net)) for a, b in zip(old, new)):
        raise Failure("weights that have no effect have changed")
    assert_close(net.history["cost"], np.full(4, make_oracle(net).cost(x, y)), 1e-12, "costs of steps that fail")


@operation(weight=1)
def solve(world: World, r: random.Random) -> None:
    """A differential equation with an unknown coefficient: the last cost is that by differences of the oracle."""
    own, world = world, world.in_float64()
    if world.place in ("jax", "cupy-on-host"):  # slow, or without cuSOLVER
        return
    net, kinds = world.net, {known.parse(name)[0] for name in (*world.net.activation, world.net.output_activation)}
    changed = any(net.dropout) or net.standardize or net.scale or net.scaling is not None
    if changed or kinds & {*WITH_KINKS, "softmax", "mean_std"} or world.oracle is None:
        own = world = copy.copy(world)
        world.net = net = make_small(world, [2, 4, 1], activation="tanh", task="regression")
        world.oracle, world.exact = make_oracle(net), True
    x = Examples(net, r).x
    k, weight, second, n = r.randrange(net.sizes[0]), r.choice([0.5, 2.0]), r.choice([0.0, 0.5]), len(x)
    redraw = {"redraw": r.choice([1, 2])} if r.random() < 0.5 else {}
    seen, drawn = [x], [x]

    def residual(x: Any, u: Any, du: Any, ddu: Any, xp: Any, c: Any) -> Any:
        seen.append(take_value(x))
        return (second * ddu[k] + c * du[k] - u + x[:, :1])[:, 0]

    def draw(rng: Any, n: int) -> np.ndarray:
        drawn.append(rng.uniform(-2, 2, (n, net.sizes[0])))
        return drawn[-1]

    def act(net: Network, containers: Containers) -> None:
        terms = [Term(residual, containers.array(x), weight=weight, draw=draw if redraw else None)]
        net.solve(terms, 4, coefficients={"c": 0.5}, progress=False, **redraw)

    world.log.append(f"n={n} k={k} second={second} {redraw}")
    error = world.act(r, act)
    world.begin_anew()
    if error is None:
        costs, c, x = net.history["cost"], net.history["c"][-1], to_host(seen[-1])
        if len(drawn) > 1 and (len(x) != n or len({*map(tuple, x)} & {*map(tuple, drawn[-1])}) != n):
            raise Failure("points that were drawn anew are not different ones of the last candidates")
        slopes = [differentiate_twice(world.oracle.forward, x, k, step) for step in (1.0, 0.5)]
        residuals = [(second * both[1] + c * both[0] - world.oracle.forward(x) + x[:, :1])[:, 0] for both in slopes]
        rough, expected = (0.5 * weight * (part**2).mean() for part in residuals)
        if not near(rough, expected, 1e-5):
            world.skipped["an equation with large derivatives, which differences miss"] += 1
        elif not near(costs[-1], expected, 1e-4) or (not redraw and any(b > a for a, b in itertools.pairwise(costs))):
            raise Failure(f"costs of an equation: {costs}, expected {expected} at the end")
    own.take_over(world)


def take_value(x: Any) -> Any:
    """The points that a residual gets, which carry derivatives where these are wanted."""
    return take_value(x.value) if hasattr(x, "tangent") else x


def differentiate_twice(function: Any, x: np.ndarray, k: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second derivative of a function of rows with respect to a column, by differences."""
    h, first, second = np.eye(x.shape[1])[k], 1e-6 * factor, 3e-4 * factor
    slope = (function(x + first * h) - function(x - first * h)) / (2 * first)
    return slope, (function(x + second * h) - 2 * function(x) + function(x - second * h)) / second**2


@operation(weight=3)
def resume(world: World, r: random.Random) -> None:
    """A training that was interrupted up to three times, and resumed, is the uninterrupted one, with its logs."""
    training, logs = draw_training(world, r), draw_logs(r)
    data, oracle = training.examples.data, copy.deepcopy(world.oracle)
    path, files, others = new_path(), (new_path(".csv"), new_path()), (new_path(".csv"), new_path())
    order = r.randrange(10**6)
    options = {**training.options, "checkpoint": path, "every": r.choice(["epoch", 1, 2, 5, 10**6])}
    world.log.append(f"n={training.examples.n} {training.expected} every={options['every']} {logs}")
    whole = world.net.copy()
    try:
        whole.train(data, **training.options, callbacks=arrange(training, logs, files, order))
    except DivergenceError:
        return
    door, net = clone(world.net, r)
    goes_on = not training.callbacks and training.expected["lr"][0] in ("Constant", "InverseScaling")
    if goes_on and r.random() < 0.5:  # a training that has ended, with more epochs
        net.train(data, **options | {"epochs": 1}, callbacks=arrange(training, logs, others, order))
    for attempt in range(4):
        interrupt = Interrupt(r.choice(["epoch", "chunk", "chunk", "end"]), r.randrange(8), armed=attempt < 3)
        callbacks = arrange(training, logs, others, order, interrupt)
        try:
            net.train(data, **options, resume=os.path.exists(path), callbacks=callbacks)
            break
        except Interrupted:
            world.log.append(f"interrupted at {interrupt.where}")
            net = (
                net
                if r.random() < 0.5
                else Network.load(path, **place_of(net), custom=own.make_all())
                if r.random() < 0.5
                else world.net.copy()
            )
    assert_same(net, whole, f"resumed, begun by a clone by {door}")
    compare_logs(whole, files, others)
    world.net = net
    follow_training(world, oracle, training, None)


@operation(weight=2, reads=True)
def resume_waiting(world: World, r: random.Random) -> None:
    """Callbacks that wait for an improvement go on where they were, after an interrupt in any epoch."""
    if world.place == "jax":  # as above
        return
    net, kind = make_small(world, [2, 1], task="regression"), r.choice([*[ReduceLROnPlateau] * 3, EarlyStopping])
    make = partial(kind, patience=r.choice([2, 3, 4]), min_delta=9.0, monitor="cost")
    data, whole, resumed = Examples(net, r, 4).data, net.copy(), net.copy()
    stop, path = Interrupt(r.choice(["epoch", "end"]), r.randint(1, 5)), new_path()
    options = {"epochs": 8, "lr": 0.1, "progress": False}
    whole.train(data, **options, callbacks=[make()])
    options |= {"checkpoint": path, "every": r.choice(["epoch", 100, 100])}  # and at the end, which is quicker
    try:
        resumed.train(data, **options, callbacks=[make(), stop])
    except Interrupted:
        resumed = net.copy()
        resumed.train(data, **options, callbacks=[make(), stop], resume=True)
    assert_same(resumed, whole, f"resumed with {kind.__name__}")


@operation(weight=1)
def interrupt(world: World, r: random.Random) -> None:
    """An exception at any place leaves a whole network, which goes on from there."""
    training, where, after = draw_training(world, r), r.choice(["begin", "epoch", "chunk", "end"]), r.randrange(8)
    before = world.net.fingerprint()
    world.log.append(f"{where} {after} n={training.examples.n} {training.expected}")

    def act(net: Network, containers: Containers) -> None:
        callbacks = [*training.make_callbacks(), Interrupt(where, after)]
        if where == "chunk":  # of which data that stay outside memory may have others
            containers = Containers(world)
        try:
            net.train(containers.examples(*training.examples.data), **training.options, callbacks=callbacks)
        except Interrupted:
            world.log.append("interrupted")

    world.act(r, act)
    if where == "begin" and after == 0 and world.net.fingerprint() != before:
        raise Failure("an exception before training has changed the network")
    world.begin_anew()


def draw_logs(r: random.Random) -> list[str]:
    """Which files callbacks write."""
    return r.sample(["rows", "best"], r.choice([0, 0, 1, 2]))


def arrange(
    training: Training, logs: list[str], files: tuple[str, str], order: int, interrupt: Any = None
) -> list[Any]:
    """Callbacks of a training, with those that write files, and one that interrupts, in random order."""
    callbacks = training.make_callbacks()
    callbacks += [CSVLog(files[0])] if "rows" in logs else []
    callbacks += [ModelCheckpoint(files[1], monitor="cost")] if "best" in logs else []
    callbacks.append(interrupt or Interrupt("begin", armed=False))
    random.Random(order).shuffle(callbacks)
    return sorted(callbacks, key=lambda callback: isinstance(callback, Meddle))  # which others see the weights before


def compare_logs(net: Network, files: tuple[str, str], others: tuple[str, str]) -> None:
    """The files of both trainings hold the same, which is the history, and the best network."""
    if os.path.exists(files[0]):
        rows, resumed = (read_rows(path) for path in (files[0], others[0]))
        if strip_times(rows) != strip_times(resumed):
            raise Failure(f"the log of the resumed training differs: {rows} and {resumed}")
        for row, expected in zip(rows, net.history.rows, strict=True):
            if not all(near(float(row[name]), float(value), 0.0) for name, value in expected.items()):
                raise Failure(f"the log holds {row}, and the history {expected}")
    if os.path.exists(files[1]):
        best, resumed = (Network.load(path, **place_of(net), custom=own.make_all()) for path in (files[1], others[1]))
        assert_same(resumed, best, "the best network of the resumed training")


def read_rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Assignments and clones


@operation(weight=1)
def assign(world: World, r: random.Random) -> None:
    """New weights and biases, in any containers; what the caller does with the arrays later changes nothing."""
    rng, how, old = np.random.default_rng(r.randrange(2**32)), r.choice(["w", "b", "layers"]), layers_of(world.net)
    factor = 0.0 if r.random() < 0.3 else 1 / 16  # 0 makes all outputs equal
    new = [tuple(0.0 + factor * rng.integers(-16, 17, part.shape) for part in pair) for pair in old]  # and no -0.0

    def act(net: Network, containers: Containers) -> None:
        pairs = [tuple(containers.array(part.copy()) for part in pair) for pair in new]
        setattr(net, how, pairs if how == "layers" else [pair[how == "b"] for pair in pairs])
        for part in (part for pair in pairs for part in pair):
            if isinstance(part, np.ndarray) and part.flags.writeable:
                part[...] = 7

    world.act(r, act)
    expected = [(v if how != "b" else w, c if how != "w" else b) for (w, b), (v, c) in zip(old, new)]
    for pair, others in zip(layers_of(world.net), expected):
        if not all(np.array_equal(a, b) for a, b in zip(pair, others)):
            raise Failure(f"assigned {how} differ")
    if world.oracle is not None:
        world.oracle.layers = expected
        world.oracle.forget_calibration()


@operation(weight=1)
def scale(world: World, r: random.Random) -> None:
    """Forget the scaling, fit it, or assign another."""
    net, how, examples = world.net, r.choice(["forget", "fit", "assign"]), Examples(world.net, r)
    if not net.standardize or (how == "assign" and net.scaling is None):
        return

    def act(net: Network, containers: Containers) -> None:
        if how == "forget":
            net.scaling = None
        elif how == "fit":
            net.fit_scaling(containers.examples(*examples.data))
        else:
            net.scaling = net.scaling._replace(x_mean=net.scaling.x_mean + 0.5)

    world.act(r, act)
    if world.oracle is None:
        return
    world.oracle.forget_calibration()
    if how == "fit":
        world.oracle.fit_scaling(*examples.data)
        for part, expected in zip(scaling_of(net), world.oracle.scaling, strict=True):
            assert_close(part, expected, 1e-12, "fit_scaling")
    world.oracle.scaling = scaling_of(net)


@operation(weight=1)
def reset_optimizer(world: World, r: random.Random) -> None:
    """Forget what the optimizer remembers, or take another one."""
    spec = draw_optimizer(r) if r.random() < 0.6 and world.place != "jax" else None
    if spec is None and world.oracle is None:
        return
    world.act(r, lambda net, containers: net.reset_optimizer(make_optimizer(spec)))
    if world.oracle is not None:
        world.oracle.optimizer, world.oracle.memory = spec or world.oracle.optimizer, {}


@operation(weight=2)
def replace_by_clone(world: World, r: random.Random) -> None:
    """The program goes on with a clone; names, notes and the generator come along."""
    net = world.net
    if r.random() < 0.5:
        net.feature_names = r.choice([None, [f"input {k}" for k in range(net.sizes[0])]])
        net.notes = r.choice([{}, {"a": 1, "b": [1.5, None, "ä"]}, {"deep": {"x": [True]}}])
    door, new = clone(net, r)
    assert_same(new, net, f"clone by {door}")
    if (new.feature_names, new.notes) != (net.feature_names, net.notes):
        raise Failure(f"clone by {door}: names {new.feature_names}, notes {new.notes}")
    if new.value.generator != net.value.generator:
        raise Failure(f"clone by {door}: the generator")
    world.net = new


@operation(weight=1)
def move(world: World, r: random.Random) -> None:
    """To another backend and back: nothing is lost."""
    net, other = world.net, r.choice(["numpy", "torch" if is_installed("torch") else "numpy"])
    there = net.to(other)
    back = there.to(**place_of(net))
    assert_same(there, net, f"moved to {other}")
    assert_same(back, net, f"moved to {other} and back")
    x = Examples(net, r).x
    if np.isfinite(to_host(there.forward(x))).all():
        assert_close(there.forward(x), back.forward(x), world.tolerance(1e-9, 1e-4), f"forward on {other}")
    world.net = back


@operation(weight=2)
def change_dtype(world: World, r: random.Random) -> None:
    """In another dtype it is the same but for rounding; its optimizer goes on, or begins anew."""
    net, dtype = world.net, r.choice(["float32", "float64"])
    if world.place == "jax" and dtype != net.dtype:  # which would compile it
        return
    world.net, world.settings = net.to(**place_of(net), dtype=dtype), {**world.settings, "dtype": dtype}
    for pair, others in zip(layers_of(world.net), layers_of(net)):
        if not all(np.array_equal(part, other.astype(dtype)) for part, other in zip(pair, others)):
            raise Failure(f"in {dtype}, other weights")
    if world.net.value.calibration is None and (world.oracle is None or r.random() < 0.5):
        world.begin_anew()
    elif world.oracle is not None:
        world.exact = world.exact and dtype == "float64"
        world.oracle.layers, world.oracle.scaling = layers_of(world.net), scaling_of(world.net)


# What only reads


@operation(weight=1, reads=True)
def initial_weights(world: World, r: random.Random) -> None:
    """Of many layers, each weight has the mean 0 and the variance of its initializer, within six deviations."""
    name, count = r.choice([*INITIALIZERS, *4 * ["orthogonal"]]), 60
    sizes = [r.randint(1, 3), r.randint(1, 3)]
    net = Network(sizes * count, init=name, dtype="float64", seed=r.randrange(10**6), **place_arguments(world.place))
    for k in range(2):
        layers = layers_of(net)[k::2]
        w, b = (np.stack(parts) for parts in zip(*layers))
        weights, biases = known.initial_variances(name, sizes[k], sizes[1 - k])
        for part, variance in ((w, weights), (b, biases)):
            if (np.abs(part.mean(axis=0)) > 6 * np.sqrt(variance / len(part))).any():
                raise Failure(f"{name}: a mean of {part.mean(axis=0)}")
            if abs((part**2).mean() - variance) > 6 * variance * np.sqrt(2 / part.size):
                raise Failure(f"{name}: a mean square of {(part**2).mean()}, expected {variance}")
        if name == "orthogonal":
            products = w @ w.swapaxes(1, 2) if w.shape[1] <= w.shape[2] else w.swapaxes(1, 2) @ w
            assert_close(products, np.broadcast_to(np.eye(min(sizes)), products.shape), 1e-12, "orthogonal weights")


def is_at_kink_of_cost(net: Network, a: np.ndarray, y: np.ndarray, within: float) -> bool:
    """Whether rounding decides the slope of the cost: an output is its target."""
    if not net.cost_name.startswith(("absolute", "mae", "quantile")):
        return False
    y = np.reshape(y, (len(y), 1, -1))
    return bool((np.abs(np.reshape(a, (len(y), -1, y.shape[-1])) - y) < within * np.maximum(1.0, np.abs(y))).any())


def is_at_kink(net: Network, zs: list[np.ndarray], within: float = 1e-15) -> bool:
    """Whether rounding decides the slope of a unit: its weighted input is 0, but for what saturated units add."""
    kinks = [known.parse(name)[0] in WITH_KINKS for name in (*net.activation, net.output_activation)]
    return any(has and np.abs(z).min() < within for has, z in zip(kinks, zs))


@operation(weight=5, reads=True)
def outputs(world: World, r: random.Random) -> None:
    """Outputs, activations, deltas, gradient, in other containers and row by row."""
    net, examples, oracle = world.net, Examples(world.net, r), world.oracle
    x, y = examples.data
    a, close = to_host(net.forward(x)), world.tolerance()
    if oracle is not None:
        assert_close(a, oracle.forward(x), close, "forward")
        for part, expected in zip(net.activations(x), oracle.feed_forward(x)[1], strict=True):
            assert_close(part, expected, close, "activations", max(1.0, np.abs(expected).max()))
        cost = oracle.cost(x, y)
        assert_close(net.cost((x, y)), cost, close, "cost", max(1.0, cost))
        within = world.tolerance(1e-15, 1e-5)
        if is_at_kink(net, oracle.feed_forward(x)[0], within) or is_at_kink_of_cost(net, a, y, within):
            return
        deltas = oracle.deltas(x, y)
        largest = max(np.abs(part).max() for part in (*deltas, *(w for w, _ in oracle.layers)))
        rounding = 1e-7 * largest  # times the slopes of saturated units
        for part, expected in zip(net.deltas(x, y), deltas, strict=True):
            assert_close(part, expected, close, "deltas", max(1e-2, np.abs(expected).max(), rounding))
        for pair, others in zip(net.backward(x, y), oracle.gradient(x, y)[0], strict=True):
            for part, expected in zip(pair, others):
                scale = max(1e-2, np.abs(expected).max(), cost / 100, rounding)
                assert_close(part, expected, close, "backward", scale)
    other = Containers(world, r).array(x)
    assert_close(net.forward(other), a, world.tolerance(1e-12, 1e-5), "forward of another container")
    rows = np.stack([to_host(net.forward(row)) for row in x])
    assert_close(rows, a, world.tolerance(1e-11, 1e-4), "forward row by row")


@operation(weight=3, reads=True)
def predict(world: World, r: random.Random) -> None:
    """Predictions, of rows, of single ones and of batches, calibrated or not."""
    net, oracle, x = world.net, world.oracle, Examples(world.net, r).x
    p, close = to_host(net.predict(x)), world.tolerance()
    assert_close(
        net.predict(Containers(world, r).array(x)), p, 1e-12 if world.exact else 1e-3, "predict of another container"
    )
    sure = slice(None) if net.task == "regression" else find_sure(net.task, to_host(net.predict_proba(x)))
    batches = (x[start : start + 5] for start in range(0, len(x), 5))
    for other, how in (
        (np.stack([to_host(net.predict(row)) for row in x]), "row by row"),
        (net.predict(batches), "of batches"),
    ):
        assert_close(to_host(other)[sure], p[sure], world.tolerance(1e-11, 1e-3), f"predict {how}")
    if oracle is None:
        return
    if net.task == "regression":
        expected = oracle.quantiles(x) if oracle.levels else oracle.points(x)
        assert_close(p, expected.reshape(p.shape), close, "predict")
        return
    expected = oracle.probabilities(x)
    assert_close(net.predict_proba(x), expected, close, "predict_proba")
    classes = expected.argmax(axis=1) if net.task == "classification" else (expected > 0.5).reshape(p.shape)
    if not (p == classes)[find_sure(net.task, expected)].all():
        raise Failure("predict: other classes")


def find_sure(task: str, probabilities: np.ndarray) -> np.ndarray:
    """Tell which classes rounding does not decide."""
    if task == "classification":
        ordered = np.sort(probabilities, axis=1)
        return ordered[:, -1] - ordered[:, -2] > 1e-6
    sure = np.abs(probabilities - 0.5) > 1e-6
    return sure[:, 0] if task == "binary" and sure.ndim == 2 else sure


@operation(weight=3, reads=True)
def measure(world: World, r: random.Random) -> None:
    """The cost and all metrics, of data in other containers and of batches."""
    net, examples, oracle = world.net, Examples(world.net, r), world.oracle
    names = draw_metrics(net, r) if r.random() < 0.8 else None
    if net.task == "binary" and oracle is not None and (oracle.probabilities(examples.x) < 1 - 1e-6).all():
        names = [*(names or ()), *LOG_LOSSES]
    measure_ties(world, r)
    data = Containers(world, r).examples(*examples.data)
    if r.random() < 0.3:
        data = iter([tuple(a[start : start + 3] for a in examples.data) for start in range(0, examples.n, 3)])
    world.log.append(f"{names} n={examples.n}")
    scores = net.measure(data, metrics=names)
    if scores["size"] != examples.n:
        raise Failure(f"size {scores['size']} of {examples.n}")
    if "correct" in scores and scores["correct"] != net.evaluate(examples.data):
        raise Failure(f"evaluate counts {net.evaluate(examples.data)}, measure {scores['correct']}")
    if oracle is None:
        return
    cost, rough = oracle.cost(*examples.data), world.tolerance(1e-8, 5e-3)
    assert_close(scores["cost"], cost, rough, "cost", max(1.0, abs(cost)))
    for name in scores.keys() - {"cost", "size"}:
        if not world.exact and net.task != "regression":
            continue  # near a tie, or a limit of float32
        expected = oracle.metric(name, *examples.data)
        assert_close(scores[name], expected, rough, f"metric {name}", max(1.0, abs(expected)))


@operation(weight=1, reads=True)
def measure_sure_network(world: World, r: random.Random) -> None:
    """The log loss of a network whose probabilities are those of even odds, or round to 0 and to 1."""
    if world.place == "jax":  # as above
        return
    net = make_small(world, [2, 1], task="binary")
    net.layers = [([[r.choice([50.0, 100.0]), r.choice([50.0, -200.0])]], [0.0])]
    examples = Examples(net, r, 8)
    examples.x = np.round(examples.x)
    scores, oracle = net.measure(examples.data, metrics=[*LOG_LOSSES]), make_oracle(net)
    for name in LOG_LOSSES:
        assert_close(scores[name], oracle.metric(name, *examples.data), 1e-9, f"metric {name} of a sure network")


def measure_ties(world: World, r: random.Random) -> None:
    """Of equal outputs, the first one ranks higher."""
    net = Network([2, 4], task="classification", init="zeros", **place_arguments(world.place))
    net.b, examples, names = [[r.choice([0.0, 1.0]) for _ in range(4)]], Examples(net, r), ["top_1", "top_2", "top_3"]
    a, y = to_host(net.forward(examples.x)), np.eye(4)[known_labels(net, examples.y)]
    scores, expected = (
        net.measure(examples.data, metrics=names),
        [known.measure(name, a, y, net.task) for name in names],
    )
    if not all(near(scores[name], value, 1e-6) for name, value in zip(names, expected)):
        raise Failure(f"of outputs that are equal: {scores}, expected {expected}")


@operation(weight=2, reads=True)
def differentiate(world: World, r: random.Random) -> None:
    """Derivatives with respect to the inputs, against one another and against differences."""
    net, x = world.in_float64().net, Examples(world.net, r, r.choice([1, 3])).x
    value, jacobian = map(to_host, net.value_and_jacobian(x))
    if not np.isfinite(value).all():
        return
    assert_close(value, net.forward(x), 1e-12, "value of value_and_jacobian")
    assert_close(net.jacobian(Containers(world, r).array(x)), jacobian, 1e-12, "jacobian of another container")
    g = np.random.default_rng(r.randrange(2**32)).integers(-8, 9, value.shape) / 4
    assert_close(net.vjp(x, g), np.einsum("mk,mki->mi", g, jacobian), 1e-9, "vjp")
    largest = max(1e-2, np.abs(jacobian).max())
    if net.task == "regression" and not known.quantile_levels(net.cost_name):
        expected = jacobian[:, : known.count_targets(net.cost_name, net.sizes[-1])]
        predicted = to_host(net.predict_jacobian(x)).reshape(expected.shape)
        assert_close(predicted, expected, 1e-12, "predict_jacobian", largest)
    assert_close(np.stack([to_host(net.jacobian(row)) for row in x]), jacobian, 1e-11, "jacobian row by row", largest)
    if any(known.parse(name)[0] in WITH_KINKS for name in (*net.activation, net.output_activation)):
        return
    forward = net.forward if world.oracle is None else world.oracle.forward
    unit = 1.0 if net.scaling is None else net.scaling.x_std[0]
    steps = 1e-6 * unit * np.ones(net.sizes[0]) / (net.scale or 1)
    hessian = to_host(net.hessian(x))
    assert_close(hessian, hessian.swapaxes(-1, -2), 1e-9, "hessian, transposed")
    for i, step in enumerate(steps):
        h = step * np.eye(net.sizes[0])[i]
        differences = (to_host(forward(x + h)) - to_host(forward(x - h))) / (2 * step)
        rounding = 1e-11 * np.abs(value).max() / step
        assert_close(jacobian[:, :, i], differences, 1e-5, "jacobian against differences", max(largest, 1e5 * rounding))
        differences = (to_host(net.jacobian(x + h)) - to_host(net.jacobian(x - h))) / (2 * step)
        scale = max(1e-2, np.abs(hessian).max(), 1e-6 * largest / step)
        assert_close(hessian[:, :, :, i], differences, 1e-4, "hessian against differences", scale)


@operation(weight=1, reads=True)
def differentiate_cost(world: World, r: random.Random) -> None:
    """The Hessian of the cost times a vector, and `check_gradients`."""
    net, oracle = world.in_float64().net, world.oracle
    x, y = Examples(net, r, r.choice([2, 3])).data
    kinks = any(known.parse(name)[0] in WITH_KINKS for name in (*net.activation, net.output_activation))
    if oracle is None or kinks or net.cost_name not in SMOOTH_COSTS:
        return
    direction = [(np.ones(w.shape) / 4, np.ones(b.shape) / 8) for w, b in oracle.layers]
    layers, step, grads = oracle.layers, 1e-5, []
    for signed in (step, -step):
        oracle.layers = [(w + signed * v, b + signed * c) for (w, b), (v, c) in zip(layers, direction)]
        grads.append(oracle.gradient(x, y)[0])
    oracle.layers = layers
    for pair, up, down in zip(net.hvp(x, y, direction), *grads, strict=True):
        for part, a, b in zip(pair, up, down):
            expected = (a - b) / (2 * step)
            assert_close(part, expected, 1e-4, "hvp", max(0.1, np.abs(expected).max(), 1e-5 * np.abs(a).max() / step))
    if world.place != "jax" and np.isfinite(net.cost((x, y))) and not check_gradients(net, x, y, most=20).passed:
        raise Failure("check_gradients refuses a right gradient")


@operation(weight=2, reads=True)
def sample(world: World, r: random.Random) -> None:
    """Samples are outputs with the masks of the first steps; fewer samples are the first of more."""
    net, oracle, x = world.net, world.oracle, Examples(world.net, r, r.choice([1, 3])).x
    if not any(net.dropout):
        return
    samples = to_host(net.sample(x, 4))
    assert_close(net.sample(x, 2), samples[:2], world.tolerance(1e-12, 1e-5), "fewer samples")
    for i in range(4 if oracle is not None else 0):
        expected = oracle.forward(x, oracle.masks(len(x), step=i))
        assert_close(samples[i], expected, world.tolerance(), "a sample", max(1.0, np.abs(expected).max()))


@operation(weight=1, reads=True)
def split_and_drop(world: World, r: random.Random) -> None:
    """The rows of a split, and the masks of a step, by their public names."""
    net, oracle, examples = world.net, world.oracle, Examples(world.net, r)
    fraction, step = r.choice([0.2, 0.4]), r.randrange(100)
    labels = known_labels(net, examples.y)
    if examples.n >= 5:
        rows = net.split_rows(Containers(world, r).examples(*examples.data), fraction)
        expected = known.split_rows(examples.n, fraction, net.seeds.split, labels)
        if not all(np.array_equal(a, b) for a, b in zip(rows, expected, strict=True)):
            raise Failure(f"split_rows: {rows}, expected {expected}")
    if not any(net.dropout) or oracle is None:
        return
    expected = oracle.masks(examples.n, step)
    for l, mask in enumerate(net.dropout_masks(step, examples.n)):
        if (mask is None) != (l not in expected):
            raise Failure(f"dropout_masks of layer {l}: {mask}")
        if mask is not None:
            assert_close(mask, expected[l], world.tolerance(1e-15, 1e-6), f"dropout_masks of layer {l}")


def known_labels(net: Network, y: np.ndarray) -> np.ndarray | None:
    """The classes by which a split is stratified."""
    if net.task not in ("classification", "binary"):
        return None
    y = np.asarray(y).reshape(len(y), -1)
    return y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)


@operation(weight=1, reads=True)
def describe(world: World, r: random.Random) -> None:
    """What is shown of a network."""
    net = world.net
    if not repr(net).startswith("Network(") or str(net.sizes) not in repr(net):
        raise Failure(f"repr {net!r}")
    number = sum(part.size for pair in layers_of(net) for part in pair)
    if net.summary().parameters != number:
        raise Failure(f"summary counts {net.summary().parameters} parameters of {number}")
    if set(net.history.to_dict()) != {name for row in net.history.rows for name in row}:
        raise Failure("history.to_dict")
