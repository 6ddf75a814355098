"""`open_data` opens the examples of a training from any source; `Data` holds them, and divides, weighs and scales them.

Opening reads and checks, and changes nothing. `Data` are immutable: each of these steps returns others, which share
arrays where they can, so that several networks may train on the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, islice
from typing import Any

import array_api_compat
import numpy as np

from xpnet._checks import check_count, count, is_list, show, yes_or_no
from xpnet.backends.base import as_array
from xpnet.core.arrays import Array
from xpnet.core.minibatch import Examples
from xpnet.data._outside import HostRows, gather_examples, stays_in_place
from xpnet.data._scaling import PlacedScaling
from xpnet.data._splits import check_split, choose_rows, is_fraction, list_others, parse_part, parse_rows
from xpnet.data._streams import Dataset, make_batches, read_item
from xpnet.data._weights import (
    balance_classes,
    is_balanced,
    parse_class_weight,
    parse_sample_weight,
    parse_slope_weight,
    parse_slopes,
    relative_weight,
)
from xpnet.data.conversion import holds_arrays, is_pair, stack, stays_outside
from xpnet.data.reader import Reader, name_part
from xpnet.data.source import Resident, Source, Stored, digest_arrays, identify, make_bar
from xpnet.errors import ArgumentError

__all__ = [
    "Data",
    "add_slopes",
    "describe_for_each",
    "open_data",
    "open_source",
    "scale_for_each",
    "split_data",
]

CHOICES = (
    "give a tuple (X, y) of arrays, a sequence of (x, y) pairs, a data set with __len__ and __getitem__, "
    "or an iterable of batches (X, y)"
)
PARTS = "train", "validation", "test"


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
        What the user gave: the training data, which splitters of scikit-learn ask for, and "steps", "class_weight" and
        "sample_weight", which `describe_for_each` describes.
    balanced
        Whether `begin` is still to balance classes, for ``class_weight="balanced"``.
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
        train = self.train.require_stored("rows" if validation_rows is None else "validation_rows")
        validation, n = self.validation, len(train)
        if validation_rows is not None:
            if validation is not None:
                raise ArgumentError("validation_data contradicts validation_rows; leave one of them out")
            held_out = parse_part("validation_rows", validation_rows, n)
            rows = list_others("validation_rows", held_out, n) if rows is None else rows
            validation = _take(_weigh_only(train, held_out, validation_weight), held_out, copy)
        train = _take(train, parse_part("rows", rows, n), copy)
        arguments = {**self.arguments, "train_data": None}  # of which these are other rows
        return replace(self, train=train, validation=validation, arguments=arguments)

    def part_for_each(self, rows: Any, validation_rows: Any, members: int) -> list["Data"]:
        """Take a part for each of several networks; `rows` and `validation_rows` are lists with an entry for each."""
        if rows is None and validation_rows is None:
            return [self] * members
        n = len(self.train.require_stored("rows" if validation_rows is None else "validation_rows"))
        pairs = zip(parse_rows("rows", rows, members, n), parse_rows("validation_rows", validation_rows, members, n))
        return [self.part(*pair) for pair in pairs]

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
        if self.validation is not None:
            raise ArgumentError(f"validation_split={show(split)} contradicts validation_data; give one of the two")
        train, data = self.train.require_stored("validation_split"), self.arguments.get("train_data")
        return self.part(*choose_rows(train, "validation_split", split, data, seed), copy=copy)

    def split_for_each(self, split: Any, seeds: Sequence[int]) -> list["Data"]:
        """Hold out a part for each of several networks, by its seed; rows that all of them leave out are shared."""
        if is_fraction(split):
            return [self.split(split, seed, copy=len(seeds) == 1) for seed in seeds]
        return [self.split(split, seeds[0], copy=len(seeds) == 1)] * len(seeds)

    def begin(self) -> "Data":
        """Return the data for a training: classes weigh the same, if that was asked for."""
        return replace(self, train=(_balance(self.train) if self.balanced else self.train).begin(), balanced=False)

    def fit_scaling(self, progress: bool = False) -> PlacedScaling:
        """Fit a scaling to the examples to train on; with a bar if it takes a noticeable time. Synchronizes."""
        return self.train.fit_scaling(progress)

    def scaled(self, scaling: PlacedScaling) -> "Data":
        """Scale all examples."""
        (scaled,) = scale_for_each([self], [scaling])
        return scaled


def _take(source: Stored, rows: np.ndarray, copy: bool) -> Stored:
    """Take rows of a source; those of a memory map are never copied."""
    part = source.take(rows)
    return part.copied() if copy and isinstance(part, Resident) and not stays_outside(part.examples.x) else part


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
    slope_weight, cache = parse_slope_weight(slopes, slope_weight, reader.model.n_in), yes_or_no("cache", cache)
    steps = None if steps is None else count("steps", steps, 1)
    reader = reader.unscaled()
    options: dict[str, Any] = {"epochs": epochs, "progress": progress}
    with reader.scope():  # for the user's own code, too
        weighing = _weigh_classes(reader, class_weight)
        train = open_source(train_data, name, weighing, steps=steps, cache=cache, **options)
        if sample_weight is not None:
            train = train.require_stored("sample_weight")
            weight = parse_sample_weight(sample_weight, len(train), reader.backend, reader.dtype)
            train = train.weigh(relative_weight(weight, reader.dtype, "train_data"))
        train = add_slopes(train, slopes, slope_weight)
        if is_balanced(class_weight):
            train.require_stored('class_weight="balanced"')
        reader = reader._replace(feature_names=train.reader.feature_names)
        validation, test = (
            None if data is None else open_source(data, watched, reader, **options)
            for watched, data in (("validation_data", validation_data), ("test_data", test_data))
        )
    arguments = {"train_data": train_data, "steps": steps, "class_weight": class_weight, "sample_weight": sample_weight}
    return Data(train, validation, test, arguments, is_balanced(class_weight))


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
    return reader._replace(class_weight=weights.astype(reader.dtype))


def add_slopes(source: Source, slopes: Any, slope_weight: float | list[float] = 1.0) -> Source:
    """Give the examples of a source slopes if there are any, scaled as they are, and their weight. Synchronizes."""
    if slopes is None:
        return source
    reader, stored = source.reader, source.require_stored("slopes")
    examples = stored.examples._replace(slopes=parse_slopes(slopes, len(stored), reader))
    return replace(stored, examples=examples, reader=reader._replace(slope_weight=slope_weight))


def _weigh_only(source: Stored, rows: np.ndarray, weight: np.ndarray | None) -> Stored:
    """Weigh some rows, by the largest weight among them; without weights, all examples count the same."""
    if weight is None:
        return source.with_weight(None)
    dtype = source.reader.dtype
    weights = np.zeros(source.examples.y.shape[0], dtype)
    weights[source.number(rows)] = relative_weight(weight[rows], dtype, "validation_rows")
    return source.with_weight(weights)


def _balance(train: Source) -> Stored:
    """Weigh the examples so that all classes have the same total weight."""
    stored = train.require_stored('class_weight="balanced"')
    reader, y = train.reader, stored.read_targets()
    if y.ndim == 1:
        counts = np.bincount(y, minlength=reader.model.n_out)
    else:
        counts = reader.class_columns(y).sum(axis=0, dtype=np.float64)
    reader = reader._replace(class_weight=balance_classes(counts).astype(reader.dtype))
    return stored.weigh(reader.weigh_classes(stored.examples.y))


def split_data(data: Any, split: Any, seed: int, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows of the user's data to train on and those to validate on, each in increasing order."""
    check_split("split", split)  # before data are read
    source = open_source(data, "data", reader.unscaled()).require_stored("split_rows", "data")
    return choose_rows(source, "split", split, data, seed, "data")


def describe_for_each(data: Sequence[Data]) -> list[dict[str, Any]]:
    """Describe data that are not scaled yet by plain values, to compare them with those of another training.

    What several networks share is read once. Synchronizes.
    """

    @cache
    def fingerprint(source: Source | None) -> dict[str, Any] | None:
        return None if source is None else source.fingerprint()

    descriptions: list[dict[str, Any]] = []
    for part in data:
        reader, weighs = part.train.reader, part.arguments.get("sample_weight") is not None
        weight = part.train.require_stored("sample_weight").weight if weighs else None
        classes = part.arguments.get("class_weight")
        if reader.class_weight is not None:
            classes = parse_class_weight(classes, range(max(2, reader.model.n_out))).tolist()
        descriptions.append(
            {
                "steps": part.arguments.get("steps"),
                "slope_weight": reader.slope_weight,
                "class_weight": classes,
                "sample_weight": None if weight is None else {"digest": digest_arrays([weight])},
                **{f"{name}_data": fingerprint(getattr(part, name)) for name in PARTS},
            }
        )
    return descriptions


def scale_for_each(data: Sequence[Data], scalings: Sequence[PlacedScaling | None]) -> list[Data]:
    """Scale the examples of several networks: those in memory once if all have the same scaling, else block by block.

    Numbers far from 0, and those that the dtype would round, are scaled before they are shared: by the first network's
    scaling, for all networks whose scaling is close enough to it.
    """
    first = scalings[0]
    if first is None:
        return [*data]
    are_alike, scaled = all(scaling is first for scaling in scalings), dict[tuple[int, ...], Examples]()
    are_far = any(scaling.far_inputs or scaling.widens for scaling in scalings if scaling is not None)

    def scale_shared(source: Resident) -> Examples:
        key = identify(source.examples)
        if key not in scaled:
            scaled[key] = first.examples(source.examples)
        return scaled[key]

    def scale(source: Source | None, scaling: Any) -> Any:
        if not isinstance(source, Resident):
            return None if source is None else source.scaled(scaling)
        if are_alike:
            return source.replace_scaled(scale_shared(source), scaling)
        if not (are_far or source.is_wide):
            return source.replace_scaled(source.examples, scaling, scaling.rounded)
        if scaling.exact.is_near(first.exact):
            return source.replace_scaled(scale_shared(source), scaling, scaling.after(first))
        return source.copied().scaled(scaling)

    return [
        replace(part, **{name: scale(getattr(part, name), scaling) for name in PARTS})
        for part, scaling in zip(data, scalings)
    ]


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
    has_length = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if (
        isinstance(data, (str, bytes, memoryview, Mapping))
        or array_api_compat.is_array_api_obj(data)
        or not (has_length or isinstance(data, Iterable))
    ):
        raise ArgumentError(f"{name} is of type {type(data).__name__}; {CHOICES}")
    if not has_length:
        if epochs > 1 and steps is None and isinstance(data, Iterator):
            raise ArgumentError(
                f"{name} is an iterator, which can be iterated over only once, not epochs={epochs} times; give an "
                "object that can be iterated over again, such as a DataLoader, or steps="
            )
        return make_batches(data, name, reader, steps)
    if steps is not None:
        raise ArgumentError(f"steps={steps!r} is for an iterable of batches; {name} has a length, so give epochs")
    if holds_arrays(data):
        return _open_arrays(*data, name, reader)
    n_items = _count_items(data, name)
    if n_items == 0:
        raise ArgumentError(f"{name} is empty")
    check_count(name, n_items)
    if is_list(data):
        return _read_pairs(data, name, reader)
    pixels = pixels_and_labels(data, raw=reader.model.scale is not None)
    if pixels is not None:
        return Resident(reader, reader.read_examples(*pixels, name))
    if not cache:
        reader = _read_pairs([read_item(data, 0, name)], name, reader).reader  # checked before training begins
        return Dataset(reader._replace(warns=False), data, name)
    return _read_pairs(_items(data, name, progress), name, reader)


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
    return Resident(reader, reader.read_examples(x, y, name))


def _read_pairs(pairs: Iterable[Any], name: str, reader: Reader) -> Resident:
    """Read (x, y) pairs; all of them have the column names of the first, if it has any."""
    remaining = iter(pairs)
    first = list(islice(remaining, 1))
    if first and is_pair(first[0]):
        reader = reader.learn_names(first[0][0], f"x of item 0 of {name}")
    return Resident(reader, reader.read_pairs(chain(first, remaining), name))


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


def pixels_and_labels(dataset: Any, raw: bool = False) -> tuple[Array, Array] | None:
    """Take pixels and labels out of a torchvision data set without a transform.

    Axes are ordered as by torchvision's ToTensor. Pixels are scaled as there, too, unless `raw` is true.

    Returns
    -------
    tuple or None
        None for any other data set, and for a subclass that makes its items by its own code.
    """
    module = getattr(type(dataset).__getitem__, "__module__", "")  # a method written in C has none
    has_transform = getattr(dataset, "transform", dataset) is not None
    if not module.startswith("torchvision.") or has_transform or not hasattr(dataset, "targets"):
        return None
    pixels, labels = as_array(getattr(dataset, "data", None)), dataset.targets
    if str(pixels.dtype).split(".")[-1] != "uint8":
        return None
    pixels = np.asarray(pixels)
    if pixels.ndim == 4:
        pixels = np.moveaxis(pixels, -1, 1)  # channels come first
    if getattr(dataset, "target_transform", None) is not None:
        labels = stack([dataset.target_transform(int(label)) for label in labels], "y")
    return pixels if raw else pixels.astype(np.float32) / np.float32(255), labels
