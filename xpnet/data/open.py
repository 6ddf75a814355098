"""`open_data` opens the examples of a training from any source; `Data` holds them, and divides, weighs and scales them.

Opening reads and checks, and changes nothing. `Data` are immutable: each of these steps returns others, which share
arrays where they can, so that several networks may train on the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain, islice
from typing import Any, TypeGuard

import array_api_compat
import numpy as np

from xpnet._checks import check_count, count, show, yes_or_no
from xpnet.core.arrays import blocks
from xpnet.core.minibatch import Examples, one_hot
from xpnet.core.scaling import PlacedScaling, Scaling, compute_scaling
from xpnet.data._digest import fingerprint_all, fingerprint_weights
from xpnet.data._feature_names import name_part
from xpnet.data._gathered import (
    Gathered,
    RowSource,
    Stored,
    copy_rows,
    gather_examples,
    replace_weight,
    share_rows,
    with_weight,
)
from xpnet.data._host_rows import HostRows, stays_in_place
from xpnet.data._scaling import place_scaling
from xpnet.data._slopes import parse_slope_weight, with_slopes
from xpnet.data._splits import check_split, choose_rows, is_fraction, list_others, parse_part, parse_rows
from xpnet.data._streams import Batches, Dataset, SharedBatches, SharedPass, check_repeatable, make_batches, read_item
from xpnet.data._vision import pixels_and_labels
from xpnet.data._weights import (
    balance_classes,
    check_some_weight,
    is_balanced,
    parse_class_weight,
    parse_sample_weight,
    relative_weight,
)
from xpnet.data.conversion import is_pair, stays_outside
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, in_order, leave_out_weightless
from xpnet.data.source import Resident, Rows, Source, identify, make_bar, scale_examples, with_bar
from xpnet.errors import ArgumentError

__all__ = [
    "Data",
    "choose_sampling",
    "describe_for_each",
    "fit_scaling",
    "fit_scalings",
    "open_data",
    "open_source",
    "scale_for_each",
    "share_batches",
    "split_data",
]

CHOICES = (
    "give a tuple (X, y) of arrays, a sequence of (x, y) pairs, a data set with __len__ and __getitem__, "
    "or an iterable of batches (X, y)"
)


@dataclass(frozen=True, eq=False)
class Data:
    """Examples to train, to validate and to test on. They equal only themselves: networks that share them do so by it.

    Parameters
    ----------
    train
        The examples to train on.
    validation, test
        Those to validate and to test on, if any.
    arguments
        What the user gave: the training data, which splitters of scikit-learn ask for, and "steps", "class_weight",
        "sample_weight" and "slope_weight", by which `describe_for_each` describes them.
    balanced
        Whether `balance` is still to be called, for ``class_weight="balanced"``.
    """

    train: Source
    validation: Source | None = None
    test: Source | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    balanced: bool = False

    def part(
        self, rows: Any = None, validation_rows: Any = None, *, validation_weight: Any = None, copy: bool = False
    ) -> "Data":
        """Take a part of the training data, and another one to validate on.

        Parameters
        ----------
        rows
            The numbers of the rows to train on; one may occur several times. All, unless given; or all others, if there
            are `validation_rows`.
        validation_rows
            Those to validate on, where all examples count the same.
        validation_weight
            Weights (n,) by which they count instead, an array on the host.
        copy
            Whether rows that are in memory are copied, which makes them faster to read; else they are shared.
        """
        if rows is None and validation_rows is None:
            return self
        train = self._find_rows("rows" if validation_rows is None else "validation_rows")
        take, n = copy_rows if copy else share_rows, len(train)
        arguments = {**self.arguments, "train_data": None}  # of which these are other rows
        if validation_rows is None:
            return replace(self, train=take(train, parse_part("rows", rows, n)), arguments=arguments)
        if self.validation is not None:
            raise ArgumentError("validation_data contradicts validation_rows; leave one of them out")
        held_out = parse_part("validation_rows", validation_rows, n)
        training = list_others("validation_rows", held_out, n) if rows is None else parse_part("rows", rows, n)
        validation = take(_weigh_only(train, held_out, validation_weight), held_out)
        return replace(self, train=take(train, training), validation=validation, arguments=arguments)

    def _find_rows(self, argument: str) -> RowSource:
        """Return the source of the training data, whose rows can be taken; `argument` needs these, for messages."""
        return self.train if isinstance(self.train, Rows) else _require_stored(self.train, argument)

    def part_for_each(self, rows: Any, validation_rows: Any, members: int) -> list["Data"]:
        """Take a part for each of several networks; `rows` and `validation_rows` are lists with an entry for each."""
        if rows is None and validation_rows is None:
            return [self] * members
        n = len(self._find_rows("rows" if validation_rows is None else "validation_rows"))
        if validation_rows is None:
            return [self.part(own_rows) for own_rows in parse_rows("rows", rows, members, n)]
        held_out = parse_rows("validation_rows", validation_rows, members, n)
        if rows is None:
            training = [list_others(f"validation_rows[{k}]", own_rows, n) for k, own_rows in enumerate(held_out)]
        else:
            training = parse_rows("rows", rows, members, n)
        return [self.part(*pair) for pair in zip(training, held_out)]

    def split(self, split: Any, seed: int, *, copy: bool = False) -> "Data":
        """Hold out a part of the training data to validate on.

        Parameters
        ----------
        split
            A fraction, of each class its share; the numbers of the rows; or a splitter of scikit-learn's, whose last
            split is taken.
        seed
            Draws the rows of a fraction.
        copy
            As in `part`.
        """
        check_split("validation_split", split)
        if self.validation is not None:
            raise ArgumentError(f"validation_split={show(split)} contradicts validation_data; give one of the two")
        train = self._find_rows("validation_split")
        arrays = _find_arrays(self.arguments.get("train_data"))
        return self.part(*choose_rows(train, "validation_split", split, arrays, seed), copy=copy)

    def split_for_each(self, split: Any, seeds: Sequence[int]) -> list["Data"]:
        """Hold out a part for each of several networks, by its seed; rows that all of them leave out are shared."""
        if is_fraction(split):
            return [self.split(split, seed, copy=len(seeds) == 1) for seed in seeds]
        return [self.split(split, seeds[0], copy=len(seeds) == 1)] * len(seeds)

    def balance(self) -> "Data":
        """Weigh the examples to train on so that all classes have the same total weight, if that was asked for."""
        return replace(self, train=_balance(self.train), balanced=False) if self.balanced else self

    def fit_scaling(self, progress: bool = False) -> PlacedScaling:
        """Fit a scaling to the examples to train on; with a bar if it takes a noticeable time. Synchronizes."""
        return fit_scaling(self.train, progress)

    def scaled(self, scaling: PlacedScaling) -> "Data":
        """Scale all examples."""
        (scaled,) = scale_for_each([self], [scaling])
        return scaled


def open_data(
    train_data: Any,
    reader: Reader,
    *,
    name: str = "train_data",
    validation_data: Any = None,
    test_data: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    slopes: Any = None,
    slope_weight: Any = 1.0,
    epochs: int = 1,
    steps: int | None = None,
    cache: bool = True,
    progress: bool = False,
) -> Data:
    """Open the examples of a training. Nothing is scaled yet. Synchronizes.

    Parameters
    ----------
    train_data
        A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set; an iterable of batches.
    reader
        The reader of the networks, such as ``net.value.reader``, which checks the examples and moves them.
    name
        The name of the training data in messages; "" where `X` and `y` are arguments of their own.
    validation_data, test_data
        The same, to validate and to test on.
    sample_weight, class_weight, slopes, slope_weight, steps, cache
        As in `xpnet.Network.train`.
    epochs
        Number of passes over the data.
    progress
        Whether reading a data set shows a bar.

    Raises
    ------
    ArgumentError
        If data, weights or slopes do not fit the networks, or one another.
    """
    slope_weight, cache = parse_slope_weight(slopes, slope_weight), yes_or_no("cache", cache)
    steps = None if steps is None else count("steps", steps, 1)
    reader = reader.unscaled()
    options: dict[str, Any] = {"epochs": epochs, "progress": progress}
    with reader.scope():  # for the user's own code, too
        weighing = _weigh_classes(reader, class_weight)
        train = open_source(train_data, name, weighing, steps=steps, cache=cache, **options)
        if sample_weight is not None:
            train = _weigh_examples(_require_stored(train, "sample_weight"), sample_weight)
        if slopes is not None:
            train = with_slopes(_require_stored(train, "slopes"), slopes, slope_weight)
        if is_balanced(class_weight):
            _require_stored(train, 'class_weight="balanced"')
        reader = reader._replace(feature_names=train.reader.feature_names)
        validation, test = (
            None if data is None else open_source(data, watched, reader, **options)
            for watched, data in (("validation_data", validation_data), ("test_data", test_data))
        )
    arguments = {"train_data": train_data, "steps": steps, "class_weight": class_weight, "sample_weight": sample_weight}
    return Data(train, validation, test, {**arguments, "slope_weight": slope_weight}, is_balanced(class_weight))


def _weigh_classes(reader: Reader, class_weight: Any) -> Reader:
    """Return a reader that gives examples the weights of their classes, unless these are "balanced" later."""
    model = reader.model
    if class_weight is None:
        return reader
    if model.task not in ("classification", "binary"):
        raise ArgumentError(
            f"class_weight={class_weight!r} needs one class per example, and a network with task={model.task!r} has "
            "none; use sample_weight"
        )
    if is_balanced(class_weight):
        return reader
    weights = parse_class_weight(class_weight, range(max(2, model.n_out)))
    with reader.scope():
        return reader._replace(class_weight=reader.backend.asarray(weights[None, :], reader.dtype))


def _weigh_examples(source: Stored, sample_weight: Any) -> Stored:
    """Multiply the weights of examples by the user's, divided by the largest of these."""
    reader = source.reader
    weight = parse_sample_weight(sample_weight, len(source), reader.backend, reader.dtype)
    with reader.scope():
        if not float(reader.backend.xp.max(weight)) > 0:
            raise ArgumentError(
                "sample_weight is 0 for every example; give numbers of at least 0, and not all of them 0"
            )
        return with_weight(source, relative_weight(weight, reader.dtype, reader.backend.xp))


def _weigh_only(source: RowSource, rows: np.ndarray, weight: np.ndarray | None) -> RowSource:
    """Weigh some rows, by the largest weight among them; without weights, all examples count the same."""
    if weight is None:
        return replace_weight(source, None)
    reader, stored = source.reader, source.source if isinstance(source, Rows) else source
    check_some_weight(float(weight[rows].max()), "validation_rows")
    weights = np.zeros(len(stored))
    weights[source.rows[rows] if isinstance(source, Rows) else rows] = relative_weight(weight[rows], reader.dtype, np)
    with reader.scope():
        return replace_weight(source, reader.backend.asarray(weights, reader.dtype))


def _require_stored(source: Source, argument: str, data: str = "train_data") -> Stored:
    if not isinstance(source, (Resident, Gathered)):
        raise ArgumentError(
            f"{argument} needs all examples beforehand; give {data} as arrays, as pairs, or as a data set with "
            "cache=True"
        )
    return source


def _find_arrays(data: Any) -> tuple[Any, Any] | None:
    """Return data that are a tuple (X, y), which splitters divide; None for others."""
    return data if holds_arrays(data) else None


def split_data(data: Any, split: Any, seed: int, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows of the user's data to train on and those to validate on, each in increasing order."""
    check_split("split", split)
    source = open_source(data, "data", reader.unscaled())
    return choose_rows(_require_stored(source, "split_rows", "data"), "split", split, _find_arrays(data), seed, "data")


def _balance(train: Source) -> Source:
    """Weigh the examples so that all classes have the same total weight."""
    stored = train.source if isinstance(train, Rows) else _require_stored(train, 'class_weight="balanced"')
    reader, backend, xp = train.reader, train.reader.backend, train.reader.backend.xp
    counts, targets = np.zeros(max(2, reader.model.n_out)), stored.examples.y
    with reader.scope():
        classes = reader.encoding().classes
        own_targets = xp.take(targets, backend.asarray(train.rows), axis=0) if isinstance(train, Rows) else targets
        for y in blocks(own_targets, reader.model.n_out):
            rows = one_hot(y, classes, getattr(xp, reader.dtype), xp) if y.ndim == 1 else y
            counts += backend.to_numpy(xp.sum(reader.class_columns(rows), axis=0))
        weights = balance_classes(counts)[None, :]
        weight = reader.look_up_class_weight(targets, backend.asarray(weights, reader.dtype))
    weighted = with_weight(stored, weight)
    return replace(train, source=weighted) if isinstance(train, Rows) else weighted


def choose_sampling(sampling: Sampling, train: Source) -> Sampling:
    """Draw no examples without weight, if the sampling draws with replacement; refuse data that have no others."""
    if not isinstance(train, (Resident, Rows, Gathered)) or train.examples.weight is None:
        return sampling
    weight = train.weight
    assert weight is not None
    check_some_weight(float(np.max(weight)), "train_data")
    return leave_out_weightless(sampling, weight)


def describe_for_each(data: Sequence[Data]) -> list[dict[str, Any]]:
    """Describe data that are not scaled yet by plain values, to compare them with those of another training.

    What several networks share is read once. Synchronizes.
    """
    sources = [fingerprint_all(getattr(part, name) for part in data) for name in ("train", "validation", "test")]
    descriptions: list[dict[str, Any]] = []
    for part, train, validation, test in zip(data, *sources):
        others = {name: part.arguments.get(name) for name in ("steps", "slope_weight")}
        weights = fingerprint_weights(
            part.arguments.get("class_weight"), part.arguments.get("sample_weight"), part.train.reader
        )
        examples = {"train_data": train, "validation_data": validation, "test_data": test}
        descriptions.append({**others, **weights, **examples})
    return descriptions


def share_batches(data: Sequence[Data]) -> list[Data]:
    """Let several networks that train on the same batches share each pass over them."""
    share = cache(SharedPass)
    if len(data) == 1:
        return [*data]
    return [
        replace(part, train=SharedBatches(share(part.train))) if isinstance(part.train, Batches) else part
        for part in data
    ]


def fit_scalings(
    data: Sequence[Data], scalings: Sequence[PlacedScaling | None], progress: bool = False
) -> list[PlacedScaling]:
    """Fit a scaling for each network that has none; those with the same examples share it."""
    sources = [part.train.shared.batches if isinstance(part.train, SharedBatches) else part.train for part in data]
    fit = cache(partial(fit_scaling, progress=progress))
    return [fit(source) if scaling is None else scaling for source, scaling in zip(sources, scalings)]


def fit_scaling(train: Source, progress: bool = False) -> PlacedScaling:
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


def scale_for_each(data: Sequence[Data], scalings: Sequence[PlacedScaling | None]) -> list[Data]:
    """Scale the examples of several networks: once if all have the same scaling, else block by block.

    Numbers that the dtype would round are scaled before they are shared: by the first network's scaling, for all
    networks whose scaling is close enough to it.
    """
    first = scalings[0]
    if first is None:
        return [*data]
    scale_shared = _scale_once(first)
    if all(scaling is first for scaling in scalings):
        scale: Callable[[Source], Source] = cache(partial(_scale_at_once, scaling=first, scale_shared=scale_shared))
        return [_scale(part, scale) for part in data]
    by_blocks: Any = partial(_scale_by_blocks, first=first, scale_shared=scale_shared)
    return [_scale(part, partial(by_blocks, scaling=scaling)) for part, scaling in zip(data, scalings)]


def _scale(data: Data, scale: Callable[[Source], Source]) -> Data:
    """Scale the examples to train, to validate and to test on."""
    sources = {"train": data.train, "validation": data.validation, "test": data.test}
    return replace(data, **{name: scale(source) for name, source in sources.items() if source is not None})


def _scale_once(scaling: PlacedScaling) -> Callable[[Resident], Resident]:
    """Return a function that scales sources, and arrays that several of them share only once."""
    scaled: dict[tuple[int, ...], Examples] = {}

    @cache
    def scale(source: Resident) -> Resident:
        key = identify(source.examples)
        if key not in scaled:
            scaled[key] = scale_examples(source.examples, scaling, source.reader.place)
        examples = scaled[key]._replace(weight=source.examples.weight)
        return Resident(examples, source.reader._replace(scaling=scaling))

    return scale


def _scale_at_once(source: Source, scaling: PlacedScaling, scale_shared: Callable[[Resident], Resident]) -> Source:
    """Scale a source as a whole; `scale_shared` scales examples that others may share."""
    if isinstance(source, Rows):
        return replace(source, source=scale_shared(source.source))
    return scale_shared(source) if isinstance(source, Resident) else source.scaled(scaling)


def _scale_by_blocks(
    source: Source, scaling: PlacedScaling, first: PlacedScaling, scale_shared: Callable[[Resident], Resident]
) -> Source:
    """Scale each block of a source when it is read; `scale_shared` scales by the scaling of the first network."""
    rows = Rows(source, in_order((len(source),))) if isinstance(source, Resident) else source
    if isinstance(rows, Rows) and rows.source.is_wide and scaling.exact.is_near(first.exact):
        rows = replace(rows, source=scale_shared(rows.source))
    return rows.scaled(scaling)


def open_source(
    data: Any,
    name: str,
    reader: Reader,
    *,
    epochs: int = 1,
    steps: int | None = None,
    cache: bool = True,
    progress: bool = False,
) -> Source:
    """Make a source from the user's data.

    Parameters
    ----------
    data
        A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set; an iterable of batches.
    name
        Its name in error messages.
    reader
        Checks the examples and moves them to the device.
    epochs
        Number of passes over it.
    steps
        Minibatches per epoch, for an iterable of batches only.
    cache
        Whether a data set is read once and kept on the device, or read again each epoch.
    progress
        Whether reading a data set shows a bar.

    Raises
    ------
    ArgumentError
        If it is none of these, or holds examples that do not fit the network.
    """
    if data is None:
        raise ArgumentError(f"{name} is missing: give (X, y), pairs, a data set or an iterable of batches")
    if isinstance(data, (str, bytes, memoryview, Mapping)) or array_api_compat.is_array_api_obj(data):
        raise ArgumentError(f"{name} is of type {type(data).__name__}; {CHOICES}")
    has_length = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if not has_length and isinstance(data, Iterable):
        if epochs > 1 and steps is None and isinstance(data, Iterator):
            raise ArgumentError(
                f"{name} is an iterator, which can be iterated over only once, not epochs={epochs} times; give an "
                "object that can be iterated over again, such as a DataLoader, or steps="
            )
        return make_batches(data, name, reader, steps)
    if not has_length:
        raise ArgumentError(f"{name} is of type {type(data).__name__}; {CHOICES}")
    if steps is not None:
        raise ArgumentError(f"steps={steps!r} is for an iterable of batches; {name} has a length, so give epochs")
    if holds_arrays(data):
        return _open_arrays(*data, name, reader)
    n_items = _count_items(data, name)
    if n_items == 0:
        raise ArgumentError(f"{name} is empty")
    check_count(name, n_items)
    if isinstance(data, (tuple, list)):
        return _read_pairs(data, name, reader)
    pixels = pixels_and_labels(data, raw=reader.model.scale is not None)
    if pixels is not None:
        return Resident(reader.read_examples(*pixels, name), reader)
    if not cache:
        reader = _read_pairs([read_item(data, 0, name)], name, reader).reader  # checked before training begins
        return Dataset(data, name, reader._replace(warns=False))
    return _read_pairs(_items(data, name, progress), name, reader)


def holds_arrays(data: Any) -> TypeGuard[tuple[Any, Any]]:
    """Tell whether data are a tuple (X, y), and not two pairs.

    Examples
    --------
    >>> holds_arrays(([[1.0], [2.0]], [3.0, 4.0])), holds_arrays((([1.0], 3.0), ([2.0], 4.0)))
    (True, False)
    """
    return isinstance(data, tuple) and len(data) == 2 and not all(isinstance(part, tuple) for part in data)


def _open_arrays(x: Any, y: Any, name: str, reader: Reader) -> Stored:
    """Make a source of inputs and targets: inputs that stay outside are gathered, all others are moved at once.

    A memory map that NumPy can compute with as it is stays in place, unless it exceeds the free memory.
    """
    if isinstance(x, HostRows) and x.rows is None and stays_in_place(x.inputs, reader):
        x = x.inputs
    is_gathered = stays_outside(x) and not stays_in_place(x, reader)
    reader = reader.learn_names(x, name_part("X", name))
    if is_gathered:
        return gather_examples(x, y, name, reader)
    return Resident(reader.read_examples(x, y, name), reader)


def _read_pairs(pairs: Iterable[Any], name: str, reader: Reader) -> Resident:
    """Read (x, y) pairs; all of them have the column names of the first, if it has any."""
    remaining = iter(pairs)
    first = list(islice(remaining, 1))
    if first and is_pair(first[0]):
        reader = reader.learn_names(first[0][0], f"x of item 0 of {name}")
    return Resident(reader.read_pairs(chain(first, remaining), name), reader)


def _items(dataset: Any, name: str, progress: bool) -> Iterator[Any]:
    """Read a data set item by item, with a bar on standard error."""
    bar = make_bar(range(len(dataset)), desc=f"Reading {name}", leave=False, disable=not progress)
    return (read_item(dataset, i, name) for i in bar)


def _count_items(data: Any, name: str) -> int:
    try:
        return len(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"{name} is of type {type(data).__name__}, which has no length ({error}); {CHOICES}"
        ) from error
