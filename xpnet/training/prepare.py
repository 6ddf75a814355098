"""Preparing the data of `train`: open and check them, weigh examples, split some off, balance classes, and scale.

The functions are in this order, from top to bottom. Each of these steps takes sources and returns others.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpnet.backends.choose import to_host
from xpnet.checks import has_entries, has_methods, in_range, show, warn, yes_or_no
from xpnet.core.arrays import Array, blocks
from xpnet.core.minibatch import one_hot
from xpnet.core.scaling import Scaler, Scaling, compute_scaling
from xpnet.data.gathered import Gathered, Stored, copy_rows, share_rows, with_weight
from xpnet.data.opening import holds_arrays, make_source
from xpnet.data.reader import Reader
from xpnet.data.resident import Resident, Rows, scale_columns
from xpnet.data.sampling import Sampling, in_order, leave_out_weightless, split_rows
from xpnet.data.scaling import place_scaling
from xpnet.data.slopes import parse_slope_weight, with_slopes
from xpnet.data.source import Columns, Source, with_bar
from xpnet.data.streams import Batches, SharedBatches, SharedPass, check_repeatable, refuse_iterator
from xpnet.data.weights import check_some_weight, is_balanced, parse_class_weight, parse_sample_weight
from xpnet.errors import ArgumentError
from xpnet.training.arguments import Request
from xpnet.training.plan import Job, Plan

# Limits for the mean and the standard deviation of targets, within which error bars of the Gaussian cost are about
# right, so that one standard deviation covers about 68 %. In two problems of 1,000 examples each, it covers 70 and 63 %
# at a mean of 30, and 100 % at 100; 68 and 67 % at a standard deviation of 3, and 29 and 41 % at 30; 73 and 68 % at
# 0.03, and 77 and 75 % at 0.01
FARTHEST, WIDEST, NARROWEST = 50.0, 5.0, 0.02

Result = TypeVar("Result")


class Sources(NamedTuple):
    """The data on which a network is trained, validated and tested."""

    train: Source
    validation: Source | None
    test: Source | None


def open_sources(
    request: Request, plan: Plan, reader: Reader, split_seeds: Sequence[int], progress: bool
) -> list[Sources]:
    """Open the data of a training, weight examples, split some off, and balance classes. Changes nothing.

    Parameters
    ----------
    request
        The arguments of `train`.
    plan
        The plan of one of the networks, whose epochs and steps are those of all.
    reader
        The reader of the networks; their examples are not scaled yet.
    split_seeds
        For each network, the seed of its validation split.
    progress
        Whether to show bars.
    """
    _check_request(request, len(split_seeds))
    reader = reader.unscaled()
    train = weigh(open_training_data(request, plan, reader, progress), request.sample_weight)
    train = add_slopes(train, request)
    reader = reader._replace(feature_names=train.reader.feature_names)
    validation, test = (
        None if data is None else make_source(data, name, reader, epochs=plan.epochs, progress=progress)
        for name, data in (("validation_data", request.validation_data), ("test_data", request.test_data))
    )
    parts, held_out = zip(*split_for_each(train, request, split_seeds))
    if is_balanced(request.class_weight):
        parts = map_shared(balance, parts)
    return [Sources(part, validation if own is None else own, test) for part, own in zip(parts, held_out)]


def _check_request(request: Request, networks: int) -> None:
    """Refuse two arguments that both say what to train or validate on, and data that are read too often."""
    split = request.validation_split
    names = [name for name in ("rows", "validation_rows") if getattr(request, name) is not None]
    if names and split is not None:
        raise ArgumentError(f"validation_split={show(split)} contradicts {names[-1]}; leave one of them out")
    if request.validation_rows is not None and request.validation_data is not None:
        raise ArgumentError("validation_data contradicts validation_rows; leave one of them out")
    if networks > 1:
        refuse_iterator(request.validation_data, "validation_data")
        refuse_iterator(request.test_data, "test_data")
    if split is not None:
        _check_split("validation_split", split)
        if request.validation_data is not None:
            raise ArgumentError(f"validation_split={show(split)} contradicts validation_data; give one of the two")


def _check_split(argument: str, value: Any) -> None:
    if _is_fraction(value):
        remedy = "it is the fraction of the examples to validate on; or give their row numbers, or a splitter"
        in_range(argument, value, 0, 1, remedy, includes_low=False)


def _is_splitter(split: Any) -> bool:
    """Tell whether an object is like the splitters of scikit-learn: strings and tensors have a method `split`, too."""
    return (
        has_methods(split, "split") and not isinstance(split, (str, bytes, bytearray)) and not hasattr(split, "shape")
    )


def _is_fraction(split: Any) -> bool:
    """Tell whether a split is meant to be a fraction, right or wrong, and not a splitter or a list of row numbers."""
    return not _is_splitter(split) and not isinstance(split, (list, tuple, range)) and getattr(split, "shape", ()) == ()


def open_training_data(request: Request, plan: Plan, reader: Reader, progress: bool) -> Source:
    """Open the training data; examples have the weights of their classes, unless these are "balanced"."""
    return make_source(
        request.train_data,
        "train_data",
        reader._replace(class_weight=parse_class_weight(request.class_weight, reader)),
        epochs=plan.epochs,
        steps=plan.steps,
        cache=yes_or_no("cache", request.cache),
        progress=progress,
    )


def weigh(train: Source, sample_weight: Any) -> Source:
    """Multiply the weights of examples by the user's, if there are any."""
    if sample_weight is None:
        return train
    train = _require_stored(train, "sample_weight")
    return with_weight(train, parse_sample_weight(sample_weight, len(train), train.reader))


def add_slopes(train: Source, request: Request) -> Source:
    """Add the derivatives of the targets with respect to the inputs, if there are any."""
    weight = parse_slope_weight(request.slopes, request.slope_weight)
    return train if request.slopes is None else with_slopes(_require_stored(train, "slopes"), request.slopes, weight)


def _require_stored(source: Source, argument: str, data: str = "train_data") -> Stored:
    if not isinstance(source, (Resident, Gathered)):
        raise ArgumentError(
            f"{argument} needs all examples beforehand; give {data} as arrays, as pairs, or as a data set with "
            "cache=True"
        )
    return source


def split_for_each(train: Source, request: Request, split_seeds: Sequence[int]) -> list[tuple[Source, Source | None]]:
    """Give each network its training data, and the examples that `validation_split` holds out, if any.

    Several networks share the examples. A lone network gets copies of its rows if they are in memory.
    """
    networks, take = len(split_seeds), share_rows
    if request.validation_rows is not None:
        train, splits = choose_splits(train, request, networks)
    elif request.rows is not None:
        train = _require_stored(train, "rows")
        return [(share_rows(train, rows), None) for rows in parse_rows("rows", request.rows, networks, len(train))]
    elif request.validation_split is not None:
        train, take = _require_stored(train, "validation_split"), copy_rows if networks == 1 else share_rows
        split = partial(choose_rows, train, "validation_split", request.validation_split, request.train_data)
        is_own = _is_fraction(request.validation_split)  # of each network
        splits = [split(seed) for seed in split_seeds] if is_own else [split(split_seeds[0])] * networks
    elif isinstance(train, Batches) and networks > 1:
        shared = SharedPass(train)
        return [(SharedBatches(shared), None) for _ in split_seeds]
    else:
        return [(train, None)] * networks
    unweighted = replace(train, weights=None)  # to validate on
    parts = {id(split): (take(train, split[0]), take(unweighted, split[1])) for split in splits}
    return [parts[id(split)] for split in splits]


def choose_splits(train: Source, request: Request, networks: int) -> tuple[Stored, list[tuple[np.ndarray, np.ndarray]]]:
    """Choose the rows that each network trains on, by default all others, and those of its `validation_rows`."""
    train = _require_stored(train, "validation_rows")
    validation = parse_rows("validation_rows", request.validation_rows, networks, len(train))
    if request.rows is not None:
        return train, list(zip(parse_rows("rows", request.rows, networks, len(train)), validation))
    names = [f"validation_rows[{k}]" for k in range(networks)]
    return train, [(list_others(name, rows, len(train)), rows) for name, rows in zip(names, validation)]


def list_others(name: str, rows: np.ndarray, n: int, data: str = "train_data") -> np.ndarray:
    """List all other rows of n, to train on; refuse to leave none."""
    others = np.setdiff1d(np.arange(n, dtype=np.int32), rows)
    if len(others) == 0:
        raise ArgumentError(f"{name} holds all {n} rows of {data}; leave some to train on")
    return others


def parse_rows(name: str, rows: Any, members: int, n: int, data: str = "train_data") -> list[np.ndarray]:
    """Check lists of rows of n examples, one for each member of an ensemble; `name` is that of the argument."""
    has_each = has_entries(rows)
    if not has_each or len(rows) != members:
        has = f"has {len(rows)} entries" if has_each else f"is {rows!r}"
        raise ArgumentError(f"{name} {has}, but must be a list of {members} arrays of row numbers, one for each member")
    return [parse_part(f"{name}[{k}]", part, n, data) for k, part in enumerate(rows)]


def parse_part(name: str, part: Any, n: int, data: str = "train_data") -> np.ndarray:
    """Check a list of rows of n examples; `name` is that of the argument."""
    try:
        part = np.asarray(to_host(part))
    except ValueError as error:
        raise ArgumentError(f"{name} must list row numbers, whole numbers ({error})") from error
    if part.shape == (0,):
        raise ArgumentError(f"{name} is empty; give at least one row")
    if part.ndim != 1 or part.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name} has shape {part.shape} and dtype {part.dtype}, but must list row numbers, whole numbers; for a "
            "mask, give numpy.flatnonzero(mask)"
        )
    if part.min() < 0 or part.max() >= n:
        raise ArgumentError(f"{name} goes from {part.min()} to {part.max()}, but {data} has {n} rows, from 0")
    return part.astype(np.int32)


def refuse_repeated(name: str, rows: np.ndarray) -> None:
    """Refuse a list of rows that would count some of them more than once; `name` is that of the argument."""
    numbers, counts = np.unique(rows, return_counts=True)
    if len(numbers) < len(rows):
        first = int(np.argmax(counts > 1))
        raise ArgumentError(
            f"{name} lists row {numbers[first]} {counts[first]} times; give each row once, as numpy.unique does"
        )


def choose_rows(
    train: Stored, argument: str, split: Any, data: Any, seed: int, name: str = "train_data"
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows to train on and those to validate on, each in increasing order; `name` is that of the data."""
    if _is_splitter(split):
        parts = ask_splitter(argument, split, data, name)
        argument += ".split(X, y)"
        training, validation = (parse_part(argument, part, len(train), name) for part in parts)
        refuse_repeated(argument, validation)
        return np.sort(training), np.sort(validation)
    if _is_fraction(split):
        return draw_rows(train, argument, split, seed)
    validation = parse_part(argument, split, len(train), name)
    refuse_repeated(argument, validation)
    return list_others(argument, validation, len(train), name), np.sort(validation)


def ask_splitter(argument: str, splitter: Any, data: Any, name: str) -> tuple[Any, Any]:
    """Ask a splitter of scikit-learn for its last split: of splits by time, the one with the most to train on."""
    if not holds_arrays(data):
        raise ArgumentError(
            f"{argument}={show(splitter)} splits X and y; give {name} as a tuple (X, y), or the row numbers to "
            "validate on"
        )
    try:
        ((training, validation),) = deque(splitter.split(*data), maxlen=1)
    except (TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"{argument}={show(splitter)} cannot split {name} into rows to train and to validate on ({error}); if it "
            "needs groups, give the row numbers to validate on, as in next(splitter.split(X, y, groups))[1]"
        ) from error
    return training, validation


def draw_rows(train: Stored, argument: str, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows to validate on; of each class its share."""
    reader, y = train.reader, train.columns.y
    labels = None
    with reader.scope():
        if reader.model.task == "classification":
            labels = reader.backend.to_numpy(y if y.ndim == 1 else reader.backend.xp.argmax(y, axis=-1))
        elif reader.model.task == "binary":
            labels = reader.backend.to_numpy(y[:, 0] > 0.5)
    if math.ceil(fraction * len(train)) == len(train):
        raise ArgumentError(
            f"{argument}={fraction!r} leaves none of the {len(train)} examples to train on; give a smaller "
            "fraction, or validation_data"
        )
    return split_rows(len(train), fraction, np.random.default_rng(seed), labels)


def split_data(data: Any, split: Any, seed: int, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows of the user's data to train on and those to validate on, each in increasing order."""
    _check_split("split", split)
    source = make_source(data, "data", reader.unscaled())
    return choose_rows(_require_stored(source, "split_rows", "data"), "split", split, data, seed, "data")


def balance(train: Source) -> Source:
    """Weigh the examples so that all classes have the same total weight."""
    stored = train.source if isinstance(train, Rows) else _require_stored(train, 'class_weight="balanced"')
    reader, backend, xp = train.reader, train.reader.backend, train.reader.backend.xp
    counts, targets = np.zeros(max(2, reader.model.n_out)), stored.columns.y
    with reader.scope():
        classes = reader.encoding().classes
        own_targets = xp.take(targets, backend.asarray(train.rows), axis=0) if isinstance(train, Rows) else targets
        for y in blocks(own_targets, reader.model.n_out):
            rows = one_hot(y, classes, getattr(xp, reader.dtype), xp) if y.ndim == 1 else y
            counts += backend.to_numpy(xp.sum(reader.class_columns(rows), axis=0))
        occurring = counts > 0
        weights = np.zeros((1, len(counts)))
        weights[0, occurring] = counts.sum() / (occurring.sum() * counts[occurring])
        weight = reader.look_up_class_weight(targets, backend.asarray(weights, reader.dtype))
    weighted = with_weight(stored, weight)
    return replace(train, source=weighted) if isinstance(train, Rows) else weighted


def map_shared(function: Callable[[Source], Result], sources: Sequence[Source]) -> list[Result]:
    """Apply a function to each source, and only once to one that several networks share."""
    return [*map(cache(function), sources)]


def choose_sampling(sampling: Sampling, train: Source) -> Sampling:
    """Draw no examples without weight, if the sampling draws with replacement; refuse data that have no others."""
    stored = train.source if isinstance(train, Rows) else train
    if not isinstance(stored, (Resident, Gathered)) or stored.weights is None:
        return sampling
    weight = stored.weights.on_host
    weight = weight[train.rows] if isinstance(train, Rows) else weight
    check_some_weight(float(np.max(weight)), "train_data")
    return leave_out_weightless(sampling, weight)


def fit_for_each(jobs: Sequence[Job], scalings: Sequence[Scaler | None], progress: bool = False) -> list[Scaler]:
    """Fit a scaling for each network that has none; those with the same examples share it."""
    sources = [job.source.shared.batches if isinstance(job.source, SharedBatches) else job.source for job in jobs]
    fit = cache(partial(fit_scaling, progress=progress))
    return [fit(source) if scaling is None else scaling for source, scaling in zip(sources, scalings)]


def fit_scaling(train: Source, progress: bool = False) -> Scaler:
    """Fit a scaling to the training data; with a bar if it takes a noticeable time."""
    check_repeatable(train, "standardize=True")
    reader = train.reader
    with reader.scope():
        blocks_of_rows = train.blocks(4 * reader.model.n_in)
        if progress:
            blocks_of_rows = with_bar(blocks_of_rows, "Standardizing train_data", train)
        scaling = compute_scaling(blocks_of_rows, reader.model.scales_targets, reader.place.moments)
        _check_scaling(scaling, reader.dtype)
        return place_scaling(scaling, reader.model, reader.place)


def _check_scaling(scaling: Scaling, dtype: str) -> None:
    """Refuse means and deviations that the dtype cannot represent."""
    for name, array in scaling._asdict().items():
        if array is None:
            continue
        with np.errstate(over="ignore"):
            rounded = array.astype(dtype)
        usable = np.isfinite(rounded) & ((rounded > 0) | (not name.endswith("std")))
        if not usable.all():
            kind = "input" if name.startswith("x") else "target"
            raise ArgumentError(
                f"standardize=True cannot scale {kind} {np.flatnonzero(~usable)[0]} of train_data: its numbers differ "
                f"by more, or by less, than {dtype} can represent; scale it yourself, or leave it out"
            )


def scale_for_each(jobs: Sequence[Job], scalings: Sequence[Scaler | None]) -> list[Job]:
    """Scale the examples of several networks: once if all have the same scaling, else block by block.

    Numbers that the dtype would round are scaled before they are shared: by the first network's scaling, for all
    networks whose scaling is close enough to it.
    """
    first, place = scalings[0], jobs[0].source.reader.place
    if first is None:
        return list(jobs)
    scale_shared = cache(partial(scale_columns, scaling=first, place=place))
    if all(scaling is first for scaling in scalings):
        scale: Callable[[Source], Source] = cache(partial(scale_at_once, scaling=first, scale_shared=scale_shared))
        return [scale_job(job, scale) for job in jobs]
    return [
        scale_job(job, partial(scale_by_blocks, scaling=own, first=first, scale_shared=scale_shared))  # type: ignore[arg-type]
        for job, own in zip(jobs, scalings)
    ]


def scale_job(job: Job, scale: Callable[[Source], Source]) -> Job:
    """Scale the examples to train, to validate and to test on."""
    sources = {"source": job.source, "validation": job.validation, "test": job.test}
    return job._replace(**{name: scale(source) for name, source in sources.items() if source is not None})


def scale_at_once(source: Source, scaling: Scaler, scale_shared: Callable[[Columns], Columns]) -> Source:
    """Scale a source as a whole; `scale_shared` scales inputs and targets, which others may share, once for all."""
    if isinstance(source, (Resident, Rows)):
        return source.with_scaled(scale_shared(source.columns), scaling)
    return source.scaled(scaling)


def scale_by_blocks(
    source: Source, scaling: Scaler, first: Scaler, scale_shared: Callable[[Columns], Columns]
) -> Source:
    """Scale each block of a source when it is read; `scale_shared` scales by the scaling of the first network."""
    rows = Rows(source, in_order((len(source),))) if isinstance(source, Resident) else source
    if isinstance(rows, Rows) and rows.source.is_wide and scaling.exact.is_near(first.exact):
        rows = rows.with_scaled(scale_shared(rows.columns), first)
    return rows.scaled(scaling)


def check_target_scale(targets: Iterable[Array], reader: Reader) -> None:
    """Warn once if a cost predicts standard deviations, and the targets are not on a scale for it. Synchronizes.

    The targets are arrays (n, n_targets), as the network sees them.
    """
    distribution = reader.model.cost.distribution
    if distribution is None or distribution.std is None:
        return
    for y in targets:
        columns = reader.place.moments(y)
        means, stds = columns.mean, np.sqrt(columns.squares / columns.n)
        far = (abs(means) > FARTHEST) | (stds > WIDEST) | ((stds > 0) & (stds < NARROWEST))
        if far.any():
            warn(
                f"targets have mean {means[far][0]:.3g} and standard deviation {stds[far][0]:.3g}, and the cost "
                f"{reader.model.cost.name!r} gives wrong error bars unless these are about 0 and 1; give "
                "standardize=True, or scale the targets yourself"
            )
            return
