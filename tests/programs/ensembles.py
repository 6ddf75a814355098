"""Ensembles: members beside lone networks, and what is computed of all members beside the oracle."""

import copy
import math
import pickle
import random
from functools import partial
from typing import Any

import numpy as np

from xpnet import SGD, Adam, Clip, DivergenceError, Ensemble, MaxNorm, Network
from xpnet.core.scaling import Scaling

from . import oracle as known
from . import own
from .calibrations import (
    LEVELS,
    ONE_SIGMA,
    can_calibrate,
    compare_slopes,
    draw_any_optimizer,
    draw_size,
    drop_single,
    is_calibrated,
    is_smooth,
    require_refusal,
)
from .generate import Operation, register
from .operations import Batches
from .world import (
    Examples,
    Failure,
    Interrupt,
    Interrupted,
    Training,
    World,
    assert_close,
    assert_same,
    describe_end,
    draw_training,
    layers_of,
    make_network,
    make_optimizer,
    make_oracle,
    metrics_of,
    new_path,
    place_of,
    strip_times,
    to_host,
    vary_examples,
)

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

# For each member one, of one kind: only the numbers differ
OPTIMIZER_LISTS = [
    [Adam(beta1=0.8), Adam(), Adam(epsilon=1e-3)],
    [SGD(momentum=0.5), SGD(momentum=0.9), SGD(momentum=0.7)],
    [SGD(weight_decay=0.1), SGD(weight_decay=0.2), SGD(weight_decay=0.3)],
    [Clip(SGD(), 0.1), Clip(SGD(), 1.0), Clip(SGD(), 0.5)],
    [MaxNorm(Adam(), 0.5), MaxNorm(Adam(), 1.0), MaxNorm(Adam(), 2.0)],
]
HUGE_RATE = 1e150
RATES = [0.01, 0.02, 0.05]


def draw_number(r: random.Random) -> int:
    """Draw the number of members: few, or so many that a group goes on when some have stopped."""
    return r.randint(9, 17) if r.random() < 0.25 else r.choice([1, 2, 3])


def make_members(world: World, r: random.Random, members: int | None = None) -> list[Network]:
    members = 2 if world.place == "jax" else members or draw_number(r)  # there each number compiles
    return [make_network(world.settings, seed=r.randrange(1000)) for _ in range(members)]


def make_ensemble(world: World, lone: list[Network], r: random.Random) -> Ensemble:
    """An ensemble of the same networks, made of them or as they were made."""
    if r.random() < 0.5:
        return Ensemble.of(lone)
    settings = {name: value for name, value in world.settings.items() if name != "seed"}
    return Ensemble(**settings, members=len(lone), seed=[int(net.provenance.seed) for net in lone])


def reload(ensemble: Ensemble) -> Ensemble:
    path = new_path(".zip")
    ensemble.save(path)
    return Ensemble.load(path, **place_of(ensemble[0]), custom=own.make_all())


DOORS = {
    "copy": Ensemble.copy,
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda ensemble: pickle.loads(pickle.dumps(ensemble)),
    "save": reload,
    "to": lambda ensemble: ensemble.to(**place_of(ensemble[0])),
}


def clone(ensemble: Ensemble, r: random.Random) -> tuple[str, Ensemble]:
    door = r.choice([door for door in DOORS if door != "pickle" or own.can_pickle(ensemble[0])])
    return door, DOORS[door](ensemble)


def assert_same_members(a: Any, b: Any, what: str) -> None:
    for k, (one, other) in enumerate(zip(a, b, strict=True)):
        assert_same(one, other, f"{what}: member {k}")


def compare_with_lone(world: World, ensemble: Ensemble, starts: list[Network], act: Any, what: str) -> list[int]:
    """Each member is what ``act(k, net)`` makes of a lone network, but for rounding; return those that diverge."""
    diverged = []
    for k, start in enumerate(starts):
        run = partial(run_alone, start, partial(act, k))
        expected = run()
        if expected is None:
            diverged.append(k)
        else:
            world.compare(describe_network(ensemble[k]), expected, run, f"{what}: member {k}")
    return diverged


def run_alone(start: Network, act: Any, rounding: Any = None) -> dict[str, np.ndarray] | None:
    """What becomes of a lone network, whose weights may be rounded before; None if it diverges."""
    net = start.copy()
    if rounding is not None:
        net.layers = [(rounding(w), rounding(b)) for w, b in layers_of(net)]
    try:
        act(net)
    except DivergenceError:
        return None
    return describe_network(net)


def describe_network(net: Network) -> dict[str, np.ndarray]:
    return describe_end(layers_of(net), strip_times(net.history.rows))


# Trainings


def draw_rows(n: int, members: int, r: random.Random, all_n: bool) -> list[np.ndarray]:
    """Rows for each member: some may occur twice, and members may have different numbers of them."""
    size = n if all_n else r.choice([n, max(1, n // 2)])
    sizes = [size if all_n or r.random() < 0.7 else r.randint(1, n) for _ in range(members)]
    return [np.array([r.randrange(n) for _ in range(size)]) for size in sizes]


def draw_differences(
    world: World, training: Training, members: int, r: random.Random
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Options of Ensemble.train, and those of each lone network, which get only their own rows."""
    options, n, compiles = dict(training.options), training.examples.n, world.place == "jax"
    if "class_weight" in options:
        options["class_weight"] = "balanced"  # among the rows of each member
    if "sample_weight" in options:
        weight = options["sample_weight"]
        options["sample_weight"] = np.where(weight > 0, weight, 0.25)  # or the rows of a member may have none
    alone = [{} for _ in range(members)]
    optimizers = repeat_to(members, OPTIMIZER_LISTS[0] if compiles else r.choice(OPTIMIZER_LISTS))
    for name, values in (("lr", draw_rates(members, r)), ("optimizer", optimizers)):
        if r.random() < 0.3:
            options[name] = values
            for own, value in zip(alone, values):
                own[name] = value
    rows = held = None
    if n > 1 and r.random() < 0.3:
        sizes = [3 if compiles else r.randint(1, n - 1) for _ in range(members)]
        held = [np.array(r.sample(range(n), size)) for size in sizes]
        options.pop("validation_split", None), options.pop("validation_data", None)
        options["validation_rows"] = held
    if "validation_split" not in options and r.random() < 0.4:
        rows = options["rows"] = draw_rows(n, members, r, compiles)
    x, y = training.examples.data
    for k, own in enumerate(alone):
        part = rows[k] if rows else np.setdiff1d(np.arange(n), held[k]) if held else np.arange(n)
        own["train_data"] = x[part], y[part]
        own |= {name: options[name][part] for name in ("sample_weight", "slopes") if name in options}
        if held:
            own["validation_data"] = x[held[k]], y[held[k]]
    return options, alone


def repeat_to(members: int, values: list[Any]) -> list[Any]:
    """One of the values for each member, in turn."""
    return [values[k % len(values)] for k in range(members)]


def draw_rates(members: int, r: random.Random) -> list[float]:
    rates = repeat_to(members, RATES)
    if r.random() < 0.3:
        rates[r.randrange(members)] = HUGE_RATE  # at which most networks diverge
    return rates


@operation(weight=4, reads=True)
def train_together(world: World, r: random.Random) -> None:
    """Members are trained as lone networks are, with all that may differ between them."""
    lone = make_members(world, r)
    ensemble = make_ensemble(world, lone, r)
    training = draw_training(world, r, lone[0])
    options, alone = draw_differences(world, training, len(lone), r)
    if world.place == "numpy" and r.random() < 0.3:
        options["threads"] = r.choice([1, 2])
    world.log.append(f"{len(lone)} members, n={training.examples.n}, {options}")
    door, twin = clone(ensemble, r)
    assert_same_members(twin, ensemble, f"clone by {door}")
    makes = r.random() < 0.6
    errors = train_both(world, [ensemble, twin], training, options, makes, r)
    if world.exact or "memory map" not in world.log[-1]:  # whose chunks are scaled one by one
        assert_same_members(twin, ensemble, f"clone by {door}, {world.log[-1]}")

    def act(k: int, net: Network) -> None:
        own = {**options, **alone[k], "callbacks": training.make_callbacks(k if makes else 0)}
        net.train(**{name: value for name, value in own.items() if name not in ("rows", "validation_rows", "threads")})

    diverged = compare_with_lone(world, ensemble, lone, act, "trained together")
    names = [str(error).partition(" diverged")[0].split(" ", 1)[-1] for error in errors]
    if names != [", ".join(map(str, diverged))] * (2 if diverged else 0):
        raise Failure(f"members {diverged} diverge alone, together: {errors}")


def train_both(
    world: World, ensembles: list[Ensemble], training: Training, options: dict[str, Any], makes: bool, r: random.Random
) -> list[DivergenceError]:
    """Train an ensemble and its clone, the latter with the data in another form; return what they raise.

    Members have callbacks of their own where a function makes them.
    """
    name, data = vary_examples(*training.examples.data, r, world.exact or not world.net.standardize)
    world.log.append(name)
    errors = []
    for ensemble, train_data in zip(ensembles, (training.examples.data, data)):
        callbacks = training.make_callbacks if makes else training.make_callbacks()
        try:
            ensemble.train(train_data, **options, callbacks=callbacks)
        except DivergenceError as error:
            errors.append(error)
    return errors


@operation(weight=1, reads=True)
def stream_together(world: World, r: random.Random) -> None:
    """All members see the same batches of an iterable, as a lone network does."""
    lone = make_members(world, r)
    ensemble, examples, m = make_ensemble(world, lone, r), Examples(lone[0], r), draw_size(world, r, 3, 2, 7)
    batches = [tuple(a[start : start + m] for a in examples.data) for start in range(0, examples.n, m)]
    options = {"epochs": 2, "lr": 0.05, "optimizer": make_optimizer(draw_any_optimizer(world, r)), "progress": False}
    if r.random() < 0.4 and not lone[0].standardize:  # which needs a pass of its own
        options["steps"] = r.randint(1, len(batches))
    try:
        ensemble.train(Batches(batches), **options)
    except DivergenceError:
        return
    compare_with_lone(world, ensemble, lone, lambda k, net: net.train(Batches(batches), **options), "a stream")


@operation(weight=2, reads=True)
def members_alone_and_together(world: World, r: random.Random) -> None:
    """Members that are trained alone, and assigned to, between trainings of all."""
    ensemble = make_ensemble(world, make_members(world, r, 3), r)
    for _ in range(r.randint(2, 4)):
        lone, choose = [net.copy() for net in ensemble], r.choice([train_all, train_one, assign_one, reset_one])
        act, what = choose(world, lone, r), choose.__name__
        world.log.append(what)
        try:
            if choose is train_all:
                act(0, ensemble)
            else:
                for k, net in enumerate(ensemble):
                    act(k, net)
        except DivergenceError:
            return
        compare_with_lone(world, ensemble, lone, act, what)
        door, new = clone(ensemble, r)
        assert_same_members(new, ensemble, f"clone by {door}")
        ensemble = new


def train_all(world: World, lone: list[Network], r: random.Random) -> Any:
    training = draw_training(world, r, lone[0])
    options = dict(training.options)
    if len({repr(net.optimizer) for net in lone}) > 1:
        options["optimizer"] = options["optimizer"] or SGD()  # members of one training need optimizers of one kind
    return lambda k, net: net.train(training.examples.data, **options, callbacks=training.make_callbacks())


def train_one(world: World, lone: list[Network], r: random.Random) -> Any:
    chosen, act = r.randrange(len(lone)), train_all(world, lone, r)
    return lambda k, net: act(k, net) if k == chosen else None


def assign_one(world: World, lone: list[Network], r: random.Random) -> Any:
    chosen = r.randrange(len(lone))
    return lambda k, net: setattr(net, "w", [0.5 * to_host(w) for w in net.w]) if k == chosen else None


def reset_one(world: World, lone: list[Network], r: random.Random) -> Any:
    chosen, optimizer = r.randrange(len(lone)), make_optimizer(draw_any_optimizer(world, r))
    return lambda k, net: net.reset_optimizer(optimizer) if k == chosen else None


@operation(weight=2, reads=True)
def resume_together(world: World, r: random.Random) -> None:
    """A training of several networks that was interrupted, and resumed, is as one that was not."""
    lone = make_members(world, r)
    training = draw_training(world, r, lone[0])
    options = dict(training.options)
    if r.random() < 0.3:
        options["lr"] = repeat_to(len(lone), RATES)
    where, after, is_first = r.choice(["begin", "epoch", "chunk", "end"]), r.randrange(8), r.random() < 0.5
    every, path, place = r.choice(["epoch", 1, 4]), new_path(".zip"), r.randrange(len(lone))
    world.log.append(f"{len(lone)} members, {where} {after} {every} {options}")

    def make_callbacks(armed: bool) -> Any:
        def make(k: int) -> list[Any]:
            own, interrupt = training.make_callbacks(k), [Interrupt(where, after, armed and k == place)]
            return interrupt + own if is_first else own + interrupt

        return make

    whole, cut, later = (make_ensemble(world, lone, r) for _ in range(3))
    data = training.examples.data
    try:
        whole.train(data, **options, callbacks=make_callbacks(False))
    except DivergenceError:
        return
    try:
        cut.train(data, **options, callbacks=make_callbacks(True), checkpoint=path, every=every)
        later = cut
    except Interrupted:
        later.train(data, **options, callbacks=make_callbacks(False), checkpoint=path, every=every, resume=True)
    assert_same_members(later, whole, "resumed together")


# Outputs


def make_trained(world: World, r: random.Random, members: int | None = None) -> Ensemble | None:
    """Networks that were each trained with other examples, so that their scalings differ; None if one diverges."""
    networks = make_members(world, r, members)
    for net in networks:
        try:
            net.train(Examples(net, r, draw_size(world, r, 12, 5)).data, epochs=2, lr=0.02, progress=False)
        except DivergenceError:
            return None
    return Ensemble.of(networks)


def forward_all(ensemble: Ensemble, x: np.ndarray) -> np.ndarray | None:
    """The outputs of the oracles of all members; None if they are far from the numbers that are computed well."""
    a = np.stack([make_oracle(net).forward(x) for net in ensemble])
    return a if np.isfinite(a).all() and np.abs(a).max() < 1e6 else None


@operation(weight=3, reads=True)
def outputs_of_ensemble(world: World, r: random.Random) -> None:
    """Means and spreads of predictions, of derivatives and of costs; metrics of the mean; the best member."""
    ensemble = make_trained(world, r)
    if ensemble is None:
        return
    examples = Examples(ensemble[0], r, draw_size(world, r, 9, 4, 1))
    a = forward_all(ensemble, examples.x)
    if a is None:
        return
    assert_close(ensemble.forward(examples.x), a, world.tolerance(1e-8, 5e-3), "outputs of all members")
    compare_predictions(world, ensemble, examples, a)
    compare_scores(world, ensemble, examples)
    if world.exact and world.place != "jax":  # which compiles all of them
        compare_derivatives(ensemble, examples)
    if any(ensemble[0].dropout):
        drawn = np.stack([to_host(net.sample(examples.x, 3)) for net in ensemble])
        assert_close(ensemble.sample(examples.x, 3), drawn, 1e-9 if world.exact else 1e-4, "samples of all members")


def compare_predictions(world: World, ensemble: Ensemble, examples: Examples, a: np.ndarray) -> None:
    first, x, close = ensemble[0], examples.x, world.tolerance(1e-8, 5e-3)
    scale = max(1e-3, np.abs(a).max())
    if first.task != "regression":
        mean, std = ensemble.predict_proba(x, return_std=True)
        assert_close(mean, a.mean(axis=0), close, "mean probabilities", 1.0)
        assert_close(std, a.std(axis=0), 10 * close, "spread of probabilities", scale)
        require_refusal(first, lambda: ensemble.predict(x, return_std=True), "the spread of classes")
        return
    if known.quantile_levels(first.cost_name):
        quantiles = np.stack([make_oracle(net).quantiles(x) for net in ensemble])
        mean, std = (shape_quantiles(part) for part in (quantiles.mean(axis=0), quantiles.std(axis=0)))
    else:
        parts = known.mean_and_std(a, first.cost_name == "gaussian")
        mean, std = (drop_single(part) for part in parts)
    predicted = ensemble.predict(x, return_std=True)
    assert_close(predicted[0], mean, close, "mean of the members", scale)
    assert_close(predicted[1], std, 10 * close, "spread of the members", scale)
    assert_close(ensemble.predict(x), mean, close, "prediction of the ensemble", scale)


def shape_quantiles(quantiles: np.ndarray) -> np.ndarray:
    """Drop the axes of a single target, or level, of (n, n_targets, n_levels)."""
    if quantiles.shape[-1] == 1:
        return drop_single(quantiles[..., 0])
    return quantiles[:, 0] if quantiles.shape[1] == 1 else quantiles


def points_of(ensemble: Ensemble, x: np.ndarray) -> np.ndarray:
    """What metrics of an ensemble compare with the targets."""
    return np.mean([make_oracle(net).points(x) for net in ensemble], axis=0)


def is_clear(p: np.ndarray) -> bool:
    """Whether rounding cannot change classes."""
    p = np.sort(np.concatenate([p, np.full((len(p), 1), 0.5)], axis=1), axis=1)
    return bool((np.diff(p, axis=1) > 1e-6).all())


def compare_scores(world: World, ensemble: Ensemble, examples: Examples) -> None:
    (x, y), first, close = examples.data, ensemble[0], world.tolerance(1e-8, 5e-3)
    costs = np.array([make_oracle(net).cost(x, y) for net in ensemble])
    mean, std = ensemble.cost((x, y), return_std=True)
    scale = max(1.0, costs.max())
    assert_close(mean, costs.mean(), close, "mean cost", scale)
    assert_close(std, costs.std(), 10 * close, "spread of the costs", scale)
    best = make_oracle(ensemble.best((x, y))).cost(x, y)
    assert_close(best, costs.min(), close, "cost of the best member", scale)
    names = [name for name in metrics_of(first) if name in ("mae", "mse", "rmse", "r2", "log_loss") or world.exact]
    names = [name for name in names if name != "calibrated_log_loss"]
    if not names:
        return
    p = points_of(ensemble, x)
    if first.task != "regression" and not is_clear(p):
        names = ["mae", "mse"]
    scores = ensemble.measure((x, y), metrics=names)
    for name in names:
        expected = known.measure(name, p, make_oracle(first).target_rows(y), first.task)
        assert_close(scores[name], expected, close, f"{name} of an ensemble", max(1.0, abs(expected)))
    if first.task != "regression":
        assert_close(ensemble.evaluate((x, y)), ensemble.measure((x, y))["correct"], 0.0, "evaluate of an ensemble")
    each = [make_oracle(net).metric("mae", x, y) for net in ensemble]
    best = make_oracle(ensemble.best((x, y), "mae")).metric("mae", x, y)
    assert_close(best, min(each), close, "the best by a metric", max(1.0, *each))


def compare_derivatives(ensemble: Ensemble, examples: Examples) -> None:
    """Means and spreads over the members of what each computes alone."""
    x = examples.x
    g = np.ones((examples.n, ensemble[0].sizes[-1]))
    for name, arguments in (("jacobian", (x,)), ("hessian", (x,)), ("vjp", (x, g))):
        each = np.stack([to_host(getattr(net, name)(*arguments)) for net in ensemble])
        mean, std = getattr(ensemble, name)(*arguments, return_std=True)
        scale = max(1e-2, np.abs(each).max())
        assert_close(mean, each.mean(axis=0), 1e-8, f"mean {name}", scale)
        assert_close(std, each.std(axis=0), 1e-6, f"spread of the {name}", scale)
        assert_close(getattr(ensemble, name)(*arguments), mean, 1e-12, f"{name} without spread", scale)
    (value, spread), (matrix, _) = ensemble.value_and_jacobian(x, return_std=True)
    each = to_host(ensemble.forward(x))
    scale = max(1e-2, np.abs(each).max())
    assert_close(value, each.mean(axis=0), 1e-9, "mean value", scale)
    assert_close(spread, each.std(axis=0), 1e-6, "spread of the value", scale)
    assert_close(matrix, ensemble.jacobian(x), 1e-9, "derivatives beside values")


# Calibration


@operation(weight=4, reads=True)
def calibrate_together(world: World, r: random.Random) -> None:
    """An ensemble calibrated by examples that no member has seen, or out of fold; and what keeps that."""
    ensemble = make_trained(world, r, r.choice([1, 2, 3, 4]))
    if ensemble is None:
        return
    n = draw_size(world, r, 20, 45, 130)
    examples, new = Examples(ensemble[0], r, n), Examples(ensemble[0], r, 9)
    rows = None
    if r.random() < 0.6:
        rows = [np.array(sorted(r.sample(range(n), r.randint(n // 2, n)))) for _ in ensemble]
    if forward_all(ensemble, examples.x) is None or forward_all(ensemble, new.x) is None:
        return
    if not can_calibrate(ensemble[0]) or not have_spread(ensemble, examples, new, rows):
        return
    door, twin = clone(ensemble, r)
    if r.random() < 0.4:  # of which nothing is left
        ensemble.calibrate(Examples(ensemble[0], r, n).data, [np.arange(n)] * len(ensemble))
    ensemble.calibrate(examples.data, rows)
    name, data = vary_examples(*examples.data, r, world.exact or not world.net.standardize)
    world.log.append(f"{len(ensemble)} members, n={n}, rows={rows}, {name}")
    twin.calibrate(data, rows)
    assert_same_members(twin, ensemble, f"calibrated clone by {door}")
    if world.exact:
        compare_calibration(world, ensemble, examples, rows, new, r.choice(LEVELS))
        if ensemble[0].task == "regression" and is_smooth(ensemble[0]) and world.place != "jax":
            compare_slopes(ensemble, new.x[:2], not known.quantile_levels(ensemble[0].cost_name))
    compare_lives(world, ensemble, new, r)


def have_spread(ensemble: Ensemble, examples: Examples, new: Examples, rows: Any) -> bool:
    """Whether errors are divided by deviations that are more than rounding."""
    first = ensemble[0]
    if first.task != "regression" or known.quantile_levels(first.cost_name) or first.cost_name == "gaussian":
        return True
    if rows is not None:
        return True
    parts = [known.mean_and_std(forward_all(ensemble, each.x), False) for each in (examples, new)]
    return all((std > 1e-5 * max(1.0, np.abs(mean).max())).all() for mean, std in parts)


def choose_unseen(members: int, n: int, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Whether a member has not seen an example, (members, n), of those that any has not seen; and which these are."""
    unseen = np.full((members, n), rows is None)
    for k, part in enumerate(rows or ()):
        unseen[k, part] = True
    kept = unseen.any(axis=0)
    return unseen[:, kept], kept


def compare_calibration(
    world: World, ensemble: Ensemble, examples: Examples, rows: Any, new: Examples, level: float
) -> None:
    oracles = [make_oracle(net) for net in ensemble]
    unseen, kept = choose_unseen(len(oracles), examples.n, rows)
    x, y = examples.x[kept], oracles[0].target_rows(examples.y)[kept]
    if oracles[0].task != "regression":
        compare_temperature(ensemble, oracles, x, y, unseen, new)
    elif oracles[0].levels:
        members = np.stack([oracle.quantiles(x) for oracle in oracles])
        quantiles = (members * unseen[..., None, None]).sum(axis=0) / unseen.sum(axis=0)[:, None, None]
        compare_quantiles(ensemble, oracles, y[..., None] - quantiles, new)
    else:
        expected = expect_errors(oracles, x, y, None if rows is None else unseen, new.x)
        if expected is not None:
            compare_intervals(ensemble, *expected, new, level)


def compare_temperature(
    ensemble: Ensemble, oracles: list[Any], x: np.ndarray, y: np.ndarray, unseen: np.ndarray, new: Examples
) -> None:
    members, task = np.stack([oracle.feed_forward(x)[0][-1] for oracle in oracles]), oracles[0].task
    z = (members * unseen[..., None]).sum(axis=0) / unseen.sum(axis=0)[:, None]
    expected, t = known.find_temperature(z, y, task), ensemble.temperature
    if abs(np.log(t / expected)) > 1e-5:
        losses = [known.log_loss_of_logits(z / each, y, task) for each in (t, expected)]
        assert_close(*losses, 1e-10, "log loss at the temperature of an ensemble", 1.0)
    z = np.stack([oracle.feed_forward(new.x)[0][-1] for oracle in oracles]) / t
    if np.abs(z).max() > 30:  # probabilities that are nearly 1 have lost digits
        return
    p = known.activate(oracles[0].activations[-1], z.mean(axis=0))
    assert_close(ensemble.predict_proba(new.x), p, 1e-7, "calibrated probabilities of an ensemble", 1.0)
    scores, rows = ensemble.measure(new.data, metrics=["mae"]), oracles[0].target_rows(new.y)
    assert_close(scores["mae"], np.abs(p - rows).mean(), 1e-7, "a metric of calibrated probabilities", 1.0)


def compare_quantiles(ensemble: Ensemble, oracles: list[Any], errors: np.ndarray, new: Examples) -> None:
    levels = oracles[0].levels
    shifts = [known.conformal_error(errors[..., k], level, level < 0.5) for k, level in enumerate(levels)]
    mean = np.mean([oracle.quantiles(new.x) for oracle in oracles], axis=0)
    quantiles = known.order_quantiles(mean + np.stack(shifts, axis=-1), levels)
    assert_close(ensemble.predict(new.x), shape_quantiles(quantiles), 1e-8, "calibrated quantiles of an ensemble")


def expect_errors(
    oracles: list[Any], x: np.ndarray, y: np.ndarray, unseen: np.ndarray | None, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Means and deviations of new rows, and the errors that the latter are multiplied by.

    None where rounding decides: widths follow the order of the predictions, of which some are equal; or intervals are
    as long with constant ones.
    """
    has_std = oracles[0].cost_name == "gaussian"
    mean, std = known.mean_and_std(np.stack([oracle.forward(new) for oracle in oracles]), has_std)
    members = np.stack([oracle.forward(x) for oracle in oracles])
    if unseen is None:
        center, width = known.mean_and_std(members, has_std)
        return mean, std, np.abs(y - center) / width
    means, stds = np.split(members, 2, axis=-1) if has_std else (members, None)
    center, width, gain = known.predict_out_of_fold(means, stds, unseen)
    if (np.diff(np.sort(center, axis=0), axis=0) < 1e-9 * np.abs(center).max()).any():
        return None
    errors, deviations = np.zeros_like(y), np.zeros_like(mean)
    center_of_all, width_of_all = known.mean_and_std(members, has_std)
    for k in range(y.shape[1]):
        distance, choices = np.abs(y[:, k] - center[:, k]), []
        width_of_all[:, k] = width_of_all[:, k] if has_std else 1.0
        for most in (8, 1):
            own, of_all = known.fit_widths(center[:, k], distance / width[:, k], gain[:, k] / width[:, k] ** 2, most)
            unit_of_all = own(center_of_all[:, k]) * width_of_all[:, k]
            unit = np.minimum(own(center[:, k]) * width[:, k], unit_of_all)
            choices.append((np.quantile(distance / unit, 0.9) * math.exp(np.log(unit_of_all).mean()), unit, of_all))
        if len(y) >= 100 and abs(choices[0][0] / choices[1][0] - 1) < 1e-6:
            return None
        _, unit, of_all = choices[int(choices[0][0] > choices[1][0])]
        distance_of_all = np.abs(y[:, k] - center_of_all[:, k]) / (of_all(center_of_all[:, k]) * width_of_all[:, k])
        errors[:, k] = np.maximum(np.sort(distance / unit), np.sort(distance_of_all))
        deviations[:, k] = of_all(mean[:, k]) * (std[:, k] if has_std else 1.0)
    return mean, deviations, errors


def compare_intervals(
    ensemble: Ensemble, mean: np.ndarray, std: np.ndarray, errors: np.ndarray, new: Examples, level: float
) -> None:
    scale = max(1e-2, np.abs(mean).max())
    assert_close(ensemble.predict(new.x), drop_single(mean), 1e-8, "mean of a calibrated ensemble", scale)
    factor = known.conformal_error(errors, ONE_SIGMA)
    deviation = drop_single(factor * std)
    scale = max(scale, np.abs(deviation).max())
    assert_close(ensemble.predict(new.x, return_std=True)[1], deviation, 1e-6, "calibrated spread", scale)
    width = known.conformal_error(errors, level)
    if width is None:
        require_refusal(ensemble[0], lambda: ensemble.interval(new.x, level), "interval of few examples")
        return
    scale = max(scale, np.abs(width * std).max())
    for sign, end in zip((-1, 1), ensemble.interval(new.x, level)):
        assert_close(end, drop_single(mean + sign * width * std), 1e-6, "interval of an ensemble", scale)
    y = new.y.reshape(mean.shape)
    distance = np.abs(y - mean) - width * std
    if np.abs(distance).min() > 1e-6 * scale:
        measured = [row["measured"] for row in ensemble.coverage(new.data, [level]).rows]
        assert_close(measured, (distance <= 0).mean(axis=0), 1e-12, "coverage of an ensemble", 1.0)


def predict_calibrated(ensemble: Ensemble, x: np.ndarray) -> np.ndarray:
    if ensemble[0].task != "regression":
        return to_host(ensemble.predict_proba(x))
    if known.quantile_levels(ensemble[0].cost_name):
        return to_host(ensemble.predict(x))
    return np.stack([to_host(end) for end in ensemble.interval(x, 0.8)])


def compare_lives(world: World, ensemble: Ensemble, new: Examples, r: random.Random) -> None:
    """Clones are calibrated as it is, its members alone are not; a change of one member ends it for all."""
    before = predict_calibrated(ensemble, new.x)
    door, other = clone(ensemble, r)
    if not np.array_equal(predict_calibrated(other, new.x), before):
        raise Failure(f"calibrated clone by {door} of an ensemble predicts something else")
    if any(is_calibrated(net) for net in ensemble):
        raise Failure("a member of a calibrated ensemble is calibrated")
    if is_calibrated(Ensemble.of(ensemble)):
        raise Failure("an ensemble that was made of members of another one is calibrated")
    change = r.choice([assign_to_member, update_member, assign_scaling_of_member])
    change(other[r.randrange(len(other))], new)
    if is_calibrated(other) or not is_calibrated(ensemble):
        raise Failure(f"{change.__name__}: a calibrated ensemble, of which a member was changed, is calibrated")


def assign_to_member(net: Network, examples: Examples) -> None:
    net.b = net.b


def assign_scaling_of_member(net: Network, examples: Examples) -> None:
    net.scaling = net.scaling or Scaling(np.zeros((1, net.sizes[0])), np.ones((1, net.sizes[0])))


def update_member(net: Network, examples: Examples) -> None:
    net.minibatch_update(examples.data, 0.0)


@operation(weight=1, reads=True)
def novelty_of_ensemble(world: World, r: random.Random) -> None:
    """The first member keeps the novelty, through every door."""
    ensemble = Ensemble.of(make_members(world, r))
    x, new = Examples(ensemble[0], r, 24).x, Examples(ensemble[0], r, 5).x
    ensemble.fit_novelty(x)
    before = to_host(ensemble.novelty(new))
    alone = ensemble[0].copy()
    alone.fit_novelty(x)
    door, other = clone(ensemble, r)
    for net in (alone, other):
        if not np.array_equal(to_host(net.novelty(new)), before):
            raise Failure(f"novelty of an ensemble, or of its clone by {door}, differs")
