"""From any source of examples to arrays on the device, and the order in which minibatches are drawn.

A `Reader` knows what a network takes: it checks, moves and encodes. `Reader.source` makes one of three sources of
what the user gives, and each answers the same three questions: how many minibatches an epoch has (`steps`), what to
train on, a chunk of minibatches at a time (`chunks`), and what to look at, a block of examples at a time (`blocks`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

import array_api_compat
import numpy as np

from xpnet.activations import Activation
from xpnet.arrays import Array, blocks, bound
from xpnet.backends import Backend, as_array, host_array, on_host
from xpnet.errors import warn
from xpnet.examples import Examples
from xpnet.scaling import Scaling


class Chunk(NamedTuple):
    """Minibatches of one size: examples on the device, and which of them each step takes."""

    examples: Examples
    index: np.ndarray  # (steps, m) int32, on the host


class Source(Protocol):
    """Where examples come from."""

    def steps(self, sampling: "Sampling", batch_size: int) -> int | None:
        """How many minibatches an epoch has; None if only its end will tell."""
        ...

    def chunks(self, sampling: "Sampling", rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch, at most `most` of them together."""
        ...

    def blocks(self, width: int) -> Iterator[Examples]:
        """Every example once, in order, as many together as may make `width` numbers each."""
        ...

    def scaled(self, scaling: Scaling) -> "Source":
        """Give the same source, its examples scaled."""
        ...


class Sampling(NamedTuple):
    """How an epoch's minibatches are drawn."""

    steps: Callable[[int, int], int]  # (number of examples, batch size) -> number of minibatches
    draw: Callable[[int, int, np.random.Generator], Iterator[np.ndarray]]  # -> their indices, (steps, m) int32


def shuffle(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw every example once, in random order; the last minibatch holds what is left.

    Examples
    --------
    >>> [index.shape for index in shuffle(10, 4, np.random.default_rng(0))]
    [(2, 4), (1, 2)]
    """
    return cut(rng.permutation(n).astype(np.int32), batch_size)


def cut(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut indices into minibatches, and one more of what is left, if anything."""
    n = len(order)
    m = min(batch_size, n)
    whole = n - n % m
    yield order[:whole].reshape(-1, m)
    if whole < n:
        yield order[None, whole:]


def replacement(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw n // batch_size minibatches, at least one, each example from all.

    Examples
    --------
    >>> [index.shape for index in replacement(10, 4, np.random.default_rng(0))]
    [(2, 4)]
    """
    m = min(batch_size, n)
    yield rng.integers(n, size=(n // m, m), dtype=np.int32)


SAMPLING = {
    "shuffle": Sampling(lambda n, batch_size: math.ceil(n / batch_size), shuffle),
    "replacement": Sampling(lambda n, batch_size: max(1, n // batch_size), replacement),
}


def split(index: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Cut minibatches into equal chunks of at most `most`, and at most one smaller: few shapes to compile.

    Examples
    --------
    >>> [len(part) for part in split(np.zeros((11, 5)), most=4)]
    [4, 4, 3]
    """
    if len(index):
        size = math.ceil(len(index) / math.ceil(len(index) / most))
        for start in range(0, len(index), size):
            yield index[start : start + size]


class Reader(NamedTuple):
    """What a network takes, and how it comes to the device.

    Parameters
    ----------
    backend, dtype
        Where arrays go, and the dtype they have there.
    n_in, n_out
        Width of inputs and targets.
    output
        The activation whose values targets must be among.
    scaling
        What inputs and targets are standardized by, if anything.
    scale
        What inputs are multiplied by as a minibatch is gathered, if anything: bytes then stay bytes on the device.
    class_weight
        How much examples of each class count, (1, K), where it is not the same.
    warns
        Whether pixels that seem not to be scaled are worth a warning.
    """

    backend: Backend
    dtype: str
    n_in: int
    n_out: int
    output: Activation
    scaling: Scaling | None = None
    scale: Array | None = None
    class_weight: Array | None = None
    warns: bool = True

    def inputs(self, x: Any, name: str) -> Array:
        """Check and move inputs, (n, n_in), and standardize them. Synchronizes."""
        return self.finite(self.moved(x, name), name)

    def moved(self, x: Any, name: str) -> Array:
        """Move inputs of shape (n, n_in), or (n, ...) of as many elements, to (n, n_in) on the device."""
        x = numbers(x, name)
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.n_in:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, but must have (n, {self.n_in}): {self._remedy(x)}")
        if x.shape[0] == 0:
            raise ValueError(f"{name} is empty: it has shape {tuple(x.shape)}")
        in_bytes = _is_bytes(x)
        if in_bytes and self.scale is None and self.warns and (largest := _bounds(x)[1]) > 1:
            warn(
                f"{name} holds uint8 values up to {largest}, which are not scaled; divide them by 255, or make the "
                "network with scale=1/255"
            )
        stays = in_bytes and self.scale is not None
        x = self.backend.asarray(x, None if stays else self.dtype, name)
        return x if x.ndim == 2 else self.backend.xp.reshape(x, (-1, self.n_in))  # JAX copies even to the same shape

    def finite(self, x: Array, name: str) -> Array:
        """Check the numbers of inputs that have been moved, and standardize them. Synchronizes."""
        if self.scale is None or not _is_bytes(x):
            self._check_finite(x, name)
        return x if self.scaling is None else self.scaling.inputs(x)

    def targets(self, y: Any, name: str) -> Array:
        """Check and move targets: classes (n,), or rows (n, n_out); (n,) too for one output. Synchronizes.

        Classes stay what they are, (n,) int32; all else becomes (n, n_out).
        """
        y = numbers(y, name)
        if y.ndim > 0 and y.shape[0] == 0:
            raise ValueError(f"{name} is empty: it has shape {tuple(y.shape)}")
        if y.ndim == 1 and self.n_out > 1:
            return self._labels(y, name)
        if y.ndim == 0 or math.prod(y.shape[1:]) != self.n_out:
            raise ValueError(
                f"{name} has shape {tuple(y.shape)}, but must have (n, {self.n_out})"
                + (", or (n,) of integer classes" if self.n_out > 1 else " or (n,)")
            )
        y = self.backend.xp.reshape(self.backend.asarray(y, self.dtype, name), (-1, self.n_out))
        self._check_finite(y, name)
        self._check_reach(y, name)
        return y if self.scaling is None else self.scaling.targets(y)

    def examples(self, x: Any, y: Any, name: str) -> Examples:
        """Check, move and encode inputs and targets of the same examples. Synchronizes."""
        x, y = self.inputs(x, f"X of {name}"), self.targets(y, f"y of {name}")
        if x.shape[0] != y.shape[0]:
            raise ValueError(f"X of {name} has {x.shape[0]} examples and y of {name} has {y.shape[0]}; give as many")
        weight = None if self.class_weight is None else self.weights(y, self.class_weight)
        return Examples(x, y, weight, self.scale, self.numbered(y))

    def numbered(self, y: Array) -> Array | None:
        """Numbers of the classes, (n_out,), where targets are such numbers; None where they are rows."""
        xp = self.backend.xp
        return xp.arange(self.n_out, dtype=xp.int32, device=y.device) if y.ndim == 1 else None

    def weights(self, y: Array, class_weight: Array) -> Array:
        """How much each example counts, (n,), by its class; `y` are targets as `targets` gives them."""
        xp = self.backend.xp
        if y.ndim == 1:
            return xp.take(class_weight[0, :], y, axis=0)
        return xp.sum(self.classes(y) * class_weight, axis=-1)

    def classes(self, y: Array) -> Array:
        """Encoded targets with a column for each class, (n, K), also where one output stands for two."""
        return y if self.n_out > 1 else self.backend.xp.concat([1.0 - y, y], axis=-1)

    def pairs(self, items: Iterable[Any], name: str) -> Examples:
        """Check, move and encode a number of (x, y) pairs. Synchronizes."""
        xs, ys = [], []
        for i, item in enumerate(items):
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise TypeError(
                    f"item {i} of {name} is not an (x, y) pair but of type {type(item).__name__}; "
                    "arrays are given together, as a tuple (X, y)"
                )
            xs.append(item[0])
            ys.append(item[1])
        if not xs:
            raise ValueError(f"{name} is empty")
        return self.examples(stack(xs, f"x of {name}"), stack(ys, f"y of {name}"), name)

    def source(
        self,
        given: Any,
        name: str,
        *,
        epochs: int = 1,
        steps: int | None = None,
        cache: bool = True,
        progress: bool = False,
    ) -> Source:
        """Make a source of what the user gives.

        Parameters
        ----------
        given
            A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set; an iterable of batches.
        name
            What errors call it.
        epochs
            How often it will be gone through.
        steps
            Minibatches an epoch, of an iterable of batches only.
        cache
            Whether a data set is read once and kept, or read again each epoch.
        progress
            Whether reading a data set shows a bar.

        Raises
        ------
        TypeError, ValueError
            If it is none of these, or holds what the network cannot take.
        """
        if given is None:
            raise ValueError(f"{name} is missing: give (X, y), pairs, a data set or an iterable of batches")
        if isinstance(given, (str, bytes, Mapping)) or array_api_compat.is_array_api_obj(given):
            raise TypeError(f"{name} is of type {type(given).__name__}; {KINDS}")
        mapped = hasattr(given, "__len__") and hasattr(given, "__getitem__")
        if not mapped and isinstance(given, Iterable):
            if epochs > 1 and steps is None and isinstance(given, Iterator):
                raise ValueError(
                    f"{name} is an iterator, which can be gone through only once, not epochs={epochs} times; give an "
                    "object that can be iterated again, such as a DataLoader, or steps="
                )
            return Batches(given, self, name, steps)
        if not mapped:
            raise TypeError(f"{name} is of type {type(given).__name__}; {KINDS}")
        if steps is not None:
            raise ValueError(f"steps={steps!r} is for an iterable of batches; {name} has a length, so give epochs")
        if isinstance(given, tuple) and len(given) == 2 and not all(isinstance(each, tuple) for each in given):
            return Kept(self.examples(*given, name))
        if len(given) == 0:
            raise ValueError(f"{name} is empty")
        if isinstance(given, (tuple, list)):
            return Kept(self.pairs(given, name))
        pixels = untransformed(given, raw=self.scale is not None)
        if pixels is not None:
            return Kept(self.examples(*pixels, name))
        if not cache:
            return Reread(given, self, name)
        return Kept(self.pairs(items(given, name, progress), name))

    def _remedy(self, x: Array) -> str:
        if self.n_in == 1 and x.ndim == 1:
            return "one feature an example is a column, x.reshape(-1, 1)"
        if x.ndim == 2 and tuple(x.shape) == (self.n_in, 1):
            return "a column is not an example; give it as a row, x.T or x[:, 0]"
        if x.ndim == 1 and x.shape[0] == self.n_in:
            return "an example is a row, so one example is x[None, :]"
        return f"a row an example, {self.n_in} features in each"

    def _labels(self, y: Array, name: str) -> Array:
        xp = array_api_compat.array_namespace(y)
        if not xp.isdtype(y.dtype, "integral"):
            raise ValueError(
                f"{name} has shape {tuple(y.shape)} and dtype {y.dtype}, but must have (n, {self.n_out}), "
                "or (n,) of integer classes"
            )
        low, high = _bounds(y)
        if low < 0 or high >= self.n_out:
            raise ValueError(
                f"{name} holds the label {low if low < 0 else high}; with {self.n_out} outputs, "
                f"labels go from 0 to {self.n_out - 1}"
            )
        return self.backend.asarray(y, "int32", name)

    def _check_finite(self, x: Array, name: str) -> None:
        if not self.backend.all_finite([x]):
            raise ValueError(f"{name} holds NaN or infinity (as {self.dtype}); remove or replace such examples")

    def _check_reach(self, y: Array, name: str) -> None:
        xp, slack = self.backend.xp, 1e-4
        low, high = self.output.low, self.output.high
        least, largest = float(xp.min(y)), float(xp.max(y))
        if least < low - slack or largest > high + slack:
            raise ValueError(
                f"{name} goes from {least:.6g} to {largest:.6g}, but the {self.output.name} output reaches only "
                f'[{low:g}, {high:g}]; for real targets make the network with task="regression" and the identity '
                "output; two classes of one output are 0 and 1"
            )
        if self.output.total is not None:
            off = float(xp.max(xp.abs(xp.sum(y, axis=-1) - self.output.total)))
            if off > slack:
                raise ValueError(
                    f"{name} has a row whose sum is off {self.output.total:g} by {off:.6g}, but a row of "
                    f"{self.output.name} outputs adds up to it; give classes or one-hot rows, "
                    'or for several labels an example task="multilabel"'
                )


KINDS = (
    "give a tuple (X, y) of arrays, a sequence of (x, y) pairs, a data set with __len__ and __getitem__, "
    "or an iterable of batches (X, y)"
)


@dataclass(frozen=True)
class Kept:
    """Examples that lie on the device from the first epoch to the last."""

    examples: Examples

    def steps(self, sampling: Sampling, batch_size: int) -> int:
        """Minibatches of an epoch."""
        return sampling.steps(self.examples.x.shape[0], batch_size)

    def chunks(self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch."""
        for index in sampling.draw(self.examples.x.shape[0], batch_size, rng):
            for part in split(index, most):
                yield Chunk(self.examples, part)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Slices of the examples."""
        parts = [blocks(part, width) for part in self.examples[:3] if part is not None]
        for x, y, *weight in zip(*parts):
            yield self.examples._replace(x=x, y=y, weight=weight[0] if weight else None)

    def scaled(self, scaling: Scaling) -> "Kept":
        """Scale the examples."""
        x, y = scaling.inputs(self.examples.x), scaling.targets(self.examples.y)
        return Kept(self.examples._replace(x=x, y=y))


class InTurn:
    """Base class of sources whose examples come to the device when their turn comes; the order is that of `Kept`."""

    reader: Reader

    def __len__(self) -> int:
        """Count the examples."""
        raise NotImplementedError

    def read(self, index: np.ndarray) -> Examples:
        """Bring some of the examples to the device."""
        raise NotImplementedError

    def steps(self, sampling: Sampling, batch_size: int) -> int:
        """Minibatches of an epoch."""
        return sampling.steps(len(self), batch_size)

    def chunks(self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch, as few together as memory asks for, and at least one."""
        for index in sampling.draw(len(self), batch_size, rng):
            for part in split(index, min(most, bound(index.shape[1], self.reader.n_in))):
                yield Chunk(self.read(part.ravel()), in_order(part.shape))

    def blocks(self, width: int) -> Iterator[Examples]:
        """Every example once, in order."""
        for part in split(np.arange(len(self), dtype=np.int32), bound(1, width)):
            yield self.read(part)


class Reread(InTurn):
    """A map-style data set whose items differ each time they are read (random transforms)."""

    def __init__(self, dataset: Any, reader: Reader, name: str) -> None:
        self.dataset, self.name = dataset, name
        reader.pairs([dataset[0]], name)  # a look at the first item, before anything is trained
        self.reader = reader._replace(warns=False)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.dataset)

    def read(self, index: np.ndarray) -> Examples:
        """Read items."""
        return self.reader.pairs((self.dataset[int(i)] for i in index), self.name)

    def scaled(self, scaling: Scaling) -> "Reread":
        """Scale what is read from now on."""
        self.reader = self.reader._replace(scaling=scaling)
        return self


class Batches:
    """An iterable of batches (X, y), never kept: read again each epoch, or `steps` of it an epoch."""

    def __init__(self, batches: Iterable[Any], reader: Reader, name: str, per_epoch: int | None) -> None:
        self.batches, self.reader, self.name, self.per_epoch = batches, reader, name, per_epoch
        self.restarts = per_epoch is None and not isinstance(batches, Iterator)
        begun = iter(batches)
        first = list(islice(begun, 1))
        next(self._read(first))  # a look at the first batch, before anything is trained
        self._begun: Iterator[Any] | None = chain(first, begun)  # the pass that is going on
        self.reader = reader._replace(warns=False)

    def steps(self, sampling: Sampling, batch_size: int) -> int | None:
        """Batches an epoch, if it is known."""
        if self.per_epoch is not None:
            return self.per_epoch
        try:
            return len(self.batches)  # type: ignore
        except TypeError:  # no length, or a DataLoader of something that has none
            return None

    def chunks(self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Batches of one epoch; neighbours of equal size go together."""
        group: list[Examples] = []
        for examples in self._read(self._epoch()):
            m = examples.x.shape[0]
            if group and (not _alike(examples, group[0]) or len(group) >= min(most, bound(m, self.reader.n_in))):
                yield self._join(group)
                group = []
            group.append(examples)
        if group:
            yield self._join(group)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Every batch once, a large one in slices."""
        for batch in self._read(self._pass()):
            yield from Kept(batch).blocks(width)

    def scaled(self, scaling: Scaling) -> "Batches":
        """Scale what is read from now on."""
        self.reader = self.reader._replace(scaling=scaling)
        return self

    def _pass(self) -> Iterator[Any]:
        """Take the pass that is going on, or begin one."""
        begun, self._begun = self._begun, None
        return iter(self.batches) if begun is None else begun

    def _epoch(self) -> Iterator[Any]:
        """Batches of an epoch: a pass, or with `steps` so many, from where the last epoch stopped."""
        if self.per_epoch is None:
            yield from self._pass()
            return
        left = self.per_epoch
        while left:
            anew, batches, before = self._begun is None, self._pass(), left
            for batch in islice(batches, left):
                left -= 1
                yield batch
            if anew and left == before:
                raise ValueError(
                    f"{self.name} ended {left} batches before steps={self.per_epoch}, and cannot be begun again"
                )
            self._begun = batches if left == 0 else None

    def _read(self, batches: Iterable[Any]) -> Iterator[Examples]:
        i = -1
        for i, batch in enumerate(batches):
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise TypeError(f"batch {i} of {self.name} is not a pair (X, y) but of type {type(batch).__name__}")
            x, y = batch
            yield self.reader.examples(x, y, f"batch {i} of {self.name}")
        if i < 0:
            raise ValueError(
                f"{self.name} gave no batch; an iterator can be gone through only once, so give an object that can be "
                "iterated again, such as a DataLoader"
            )

    def _join(self, group: Sequence[Examples]) -> Chunk:
        xp, (m, _) = self.reader.backend.xp, group[0].x.shape
        x, y, weight = (None if part[0] is None else xp.concat(list(part), axis=0) for part in list(zip(*group))[:3])
        return Chunk(group[0]._replace(x=x, y=y, weight=weight), in_order((len(group), m)))


def _alike(a: Examples, b: Examples) -> bool:
    """Whether batches can go together: of the same size, and stored in the same way."""
    return all((x.shape, x.dtype) == (y.shape, y.dtype) for x, y in zip(a[:2], b[:2]))


def need_again(source: Source, argument: str) -> None:
    """Refuse a source that can be gone through only once, where training is not all that is to be done with it."""
    if isinstance(source, Batches) and not source.restarts:
        raise ValueError(
            f"{argument} goes through the training data besides training on it, and train_data can be gone through "
            "only once; give arrays, a data set, or an object that can be iterated again, without steps="
        )


def numbers(x: Any, name: str) -> Array:
    """Have an array of real numbers, of whichever library; refuse objects, strings and complex numbers."""
    if type(x) is np.ndarray and x.dtype.char in "?bBhHiIlLqQfd":
        return x  # at once: predicting one example takes microseconds
    if hasattr(x, "toarray"):
        raise TypeError(f"{name} is sparse; give its toarray()")
    try:
        x = np.asarray(x, np.float64) if _is_mixed(x) else as_array(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be made an array ({error}); give an array, or rows of equal length") from error
    xp = array_api_compat.array_namespace(x)
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; give its filled() values")
    if (isinstance(x, np.ndarray) and x.dtype.kind not in "buif") or not _is_real(x, xp):
        raise TypeError(f"{name} has dtype {x.dtype}; give real numbers, and classes as whole numbers from 0")
    return x


def _is_mixed(x: Any) -> bool:
    """Whether this is a table whose columns are real numbers, but of several kinds, or of kinds that NumPy has not."""
    dtypes = list(x.dtypes) if getattr(x, "ndim", 0) == 2 and hasattr(x, "dtypes") else []
    real = all(getattr(each, "kind", "") in tuple("buif") for each in dtypes)
    return real and (len(set(dtypes)) > 1 or not all(isinstance(each, np.dtype) for each in dtypes))


def _bounds(y: Array) -> tuple[int, int]:
    """Smallest and largest of whole numbers. Synchronizes."""
    y = host_array(y) if on_host(y) else y  # JAX can read 64-bit integers only in a setting of its own
    xp = array_api_compat.array_namespace(y)
    return int(xp.min(y)), int(xp.max(y))


def _is_bytes(x: Array) -> bool:
    return x.dtype == (np.uint8 if isinstance(x, np.ndarray) else array_api_compat.array_namespace(x).uint8)


def _is_real(x: Array, xp: Any) -> bool:
    return xp.isdtype(x.dtype, ("bool", "integral", "real floating"))


def stack(values: Sequence[Any], name: str) -> Array:
    """Put single examples into one array, in their own library."""
    try:
        arrays = [as_array(value) for value in values]
        return array_api_compat.array_namespace(arrays[0]).stack(arrays)
    except (ValueError, TypeError, RuntimeError) as error:
        shapes = sorted({tuple(numbers(value, name).shape) for value in values})[:3]
        raise ValueError(f"{name} differ from example to example (shapes {shapes}); make them equal") from error


def in_order(shape: tuple[int, ...]) -> np.ndarray:
    """Indices 0, 1, 2, ... as minibatches of the given shape."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


def items(dataset: Any, name: str, progress: bool) -> Iterator[Any]:
    """Read a data set item by item, with a bar on standard error."""
    from tqdm.auto import tqdm

    bar = tqdm(range(len(dataset)), f"Reading {name}", leave=False, disable=not progress)
    return (dataset[i] for i in bar)


def untransformed(dataset: Any, raw: bool = False) -> tuple[Array, Array] | None:
    """Take pixels and labels out of a torchvision data set that has no transform, without reading it item by item.

    Axes are ordered as torchvision's ToTensor would do it, and pixels scaled too, unless they are to be raw. None for
    any other data set, and where items are made by other code than torchvision's.
    """
    if not type(dataset).__getitem__.__module__.startswith("torchvision."):
        return None
    if getattr(dataset, "transform", dataset) is not None or not hasattr(dataset, "targets"):
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
