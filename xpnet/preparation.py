"""What `train` makes ready before its first step: sources, what is split off for validation, weights, scaling."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet.arrays import Array, blocks
from xpnet.data import Kept, Reader, Source, need_again, numbers
from xpnet.errors import between, choices
from xpnet.examples import Examples, encoded, rows
from xpnet.scaling import Scaling, learn

if TYPE_CHECKING:
    from xpnet.network import Network


class Sources(NamedTuple):
    """What to train on, what to validate and test on if anything, and the scaling that all of them have."""

    train: Source
    validation: Source | None
    test: Source | None
    scaling: Scaling | None


def prepare(
    net: "Network",
    train_data: Any,
    validation_data: Any,
    test_data: Any,
    *,
    validation_split: float | None,
    sample_weight: Any,
    class_weight: Any,
    epochs: int,
    steps: int | None,
    cache: bool,
    progress: bool,
) -> Sources:
    """Read, check, move, split, weight and scale; the arguments are those of `Network.train`. Changes nothing."""
    if validation_split is not None:
        between("validation_split", validation_split, 0, 1, "it is the part of the examples to validate on")
        if validation_data is not None:
            raise ValueError(f"validation_split={validation_split!r} contradicts validation_data; give one of the two")
    reader = net.reader()
    weights = _class_weights(net, class_weight)
    training = reader if weights is None else reader._replace(class_weight=weights)
    source = training.source(train_data, "train_data", epochs=epochs, steps=steps, cache=cache, progress=progress)
    if sample_weight is not None:
        source = Kept(_weighted(_kept(source, "sample_weight"), sample_weight, reader))
    validation = None
    if validation_split is not None:
        source, validation = _split(net, _kept(source, "validation_split"), validation_split)
    if isinstance(class_weight, str):
        source = Kept(_balanced(_kept(source, 'class_weight="balanced"'), reader))
    weight = source.examples.weight if isinstance(source, Kept) else None
    if weight is not None and not bool(net.backend.xp.any(weight > 0)):
        raise ValueError("sample_weight and class_weight leave every example of train_data with the weight 0")
    scaling = net.scaling
    if net.standardize and scaling is None:
        scaling = _learnt(net, source)
        source, reader = source.scaled(scaling), reader._replace(scaling=scaling)
        validation = None if validation is None else validation.scaled(scaling)
    if validation_data is not None:
        validation = reader.source(validation_data, "validation_data", epochs=epochs, progress=progress)
    test = None if test_data is None else reader.source(test_data, "test_data", epochs=epochs, progress=progress)
    return Sources(source, validation, test, scaling)


def _kept(source: Source, argument: str) -> Examples:
    if not isinstance(source, Kept):
        raise ValueError(
            f"{argument} needs all examples beforehand; give train_data as arrays, as pairs, or as a data set with "
            "cache=True"
        )
    return source.examples


def _weighted(examples: Examples, given: Any, reader: Reader) -> Examples:
    """Examples with the user's weights, times those of their classes."""
    backend, n = reader.backend, examples.x.shape[0]
    weight = numbers(given, "sample_weight")
    if tuple(weight.shape) != (n,):
        raise ValueError(f"sample_weight has shape {tuple(weight.shape)}, but must have ({n},): a number an example")
    weight = backend.asarray(weight, reader.dtype, "sample_weight")
    if not backend.all_finite([weight]):
        raise ValueError("sample_weight holds NaN or infinity; give finite numbers of at least 0")
    low, high = float(backend.xp.min(weight)), float(backend.xp.max(weight))
    if low < 0 or high == 0:
        what = f"holds {low:g}" if low < 0 else "is 0 for every example"
        raise ValueError(f"sample_weight {what}; give numbers of at least 0, and not all of them 0")
    weight = weight / high  # only ratios count, and sums shall not overflow
    weight = backend.xp.where(weight < float(np.finfo(reader.dtype).tiny), 0.0 * weight, weight)
    return _times(examples, weight)


def _class_weights(net: "Network", given: Any) -> Array | None:
    """Weights of the classes, (1, K), from a mapping."""
    if given is None:
        return None
    if net.task not in ("classification", "binary"):
        raise ValueError(
            f"class_weight={given!r} needs one class an example, and a network with task={net.task!r} has none; "
            "use sample_weight"
        )
    if isinstance(given, str) and given == "balanced":
        return None
    if not isinstance(given, Mapping):
        raise ValueError(f'class_weight={given!r} must be "balanced", or a mapping from classes to numbers')
    classes = max(2, net.sizes[-1])
    weights = np.ones((1, classes))
    for label, weight in given.items():
        if label not in range(classes):
            raise ValueError(f"class_weight names the class {label!r}; choose from {choices(range(classes))}")
        label = int(label)  # True and 1.0 are 1
        try:
            weights[0, label] = weight
        except (TypeError, ValueError):
            weights[0, label] = np.nan
        if not 0 <= weights[0, label] < np.inf:
            raise ValueError(
                f"class_weight={given!r}: the weight {weight!r} of {label!r} must be a finite number of at least 0"
            )
    if not weights.any():
        raise ValueError(f"class_weight={given!r} gives every class the weight 0; leave one of them above it")
    with net.backend.scope(net.dtype):
        return net.backend.asarray(weights, net.dtype)


def _balanced(examples: Examples, reader: Reader) -> Examples:
    """Examples whose classes count the same all together: n / (K · number of the class), times their weights."""
    backend, xp = reader.backend, reader.backend.xp
    counts = np.zeros(max(2, reader.n_out))
    for y in blocks(examples.y, reader.n_out):
        targets = encoded(y, examples.classes, getattr(xp, reader.dtype), xp)
        counts += backend.to_numpy(xp.sum(reader.classes(targets), axis=0))
    present = counts > 0
    weights = np.zeros((1, len(counts)))
    weights[0, present] = counts.sum() / (present.sum() * counts[present])
    return _times(examples, reader.weights(examples.y, backend.asarray(weights, reader.dtype)))


def _times(examples: Examples, weight: Array) -> Examples:
    """Examples whose weights are multiplied by others."""
    return examples._replace(weight=weight if examples.weight is None else weight * examples.weight)


def _split(net: "Network", examples: Examples, part: float) -> tuple[Kept, Kept]:
    """Examples to train and to validate on: the same ones each time for a network, stratified by class."""
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            f'validation_split needs scikit-learn ({error}); install it with: pip install "xpnet[sklearn]", or give '
            "validation_data"
        ) from error
    backend, xp = net.backend, net.backend.xp
    labels = None
    if net.task == "classification":
        labels = backend.to_numpy(xp.argmax(examples.y, axis=-1) if examples.classes is None else examples.y)
    elif net.task == "binary":
        labels = backend.to_numpy(examples.y[:, 0] > 0.5)
    index = np.arange(examples.x.shape[0], dtype=np.int32)
    try:
        halves = train_test_split(index, test_size=float(part), random_state=net.seeds.split, stratify=labels)
    except ValueError as error:
        raise ValueError(
            f"validation_split={part!r} cannot be had of these {len(index)} examples ({error}); give validation_data"
        ) from error
    taken = [backend.asarray(np.sort(half)) for half in halves]
    train, validation = (rows(examples, index, xp) for index in taken)
    return Kept(train), Kept(validation._replace(weight=None))  # weights are for training


def _learnt(net: "Network", source: Source) -> Scaling:
    """Scaling learnt from what is trained on."""
    need_again(source, "standardize=True")
    backend, sigma = net.backend, net.sigmas[-1]
    unbounded = sigma.low == -np.inf and sigma.high == np.inf
    found = learn(source.blocks(4 * net.sizes[0]), net.task == "regression" and unbounded, backend.xp, backend.to_numpy)
    for name, array in found._asdict().items():
        wrong = [] if array is None else np.flatnonzero(~_usable(array, net.dtype, above=name.endswith("std")))
        if len(wrong):
            what = "input" if name[0] == "x" else "target"
            raise ValueError(
                f"standardize=True cannot scale {what} {wrong[0]} of train_data: its "
                f"numbers differ by more, or by less, than {net.dtype} holds; scale it yourself, or leave it out"
            )
    return net.owned(found)


def _usable(array: np.ndarray, dtype: str, above: bool) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    return np.isfinite(rounded) & ((rounded > 0) | (not above))
