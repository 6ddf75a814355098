"""The page: one HTML file with the network, the code that draws it, and a policy that forbids loading anything else."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from math import ceil, inf, isinf
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import check_folder, choices, count, in_range
from xpnet.core.activations import ACTIVATIONS, Activation, find_kind
from xpnet.data.datasets import mnist_sample
from xpnet.errors import ArgumentError
from xpnet.export.parts import Part, require_networks, take_apart, warn_of_calibration
from xpnet.files import write_file
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables.columns import (
    CategoryColumn,
    Column,
    DateColumn,
    DroppedColumn,
    MarkColumn,
    NumberColumn,
    StatisticsColumn,
    choose_input_dtype,
)
from xpnet.tables.encoding import find_columns, find_importances, find_labels

MOST_BYTES = 2**27  # of weights; as base64 in the page, they take four thirds of this
FARTHEST = 1e307  # the largest end of a slider: JSON has no infinity, and the slider's length must be finite too
WHITES = (1, 16, 255)  # usual values of a white pixel: fractions, scikit-learn's digits, bytes
MNIST = (28, 28)  # drawings of this size are prepared as MNIST's digits were
TITLE = "Look inside a network"

# Names of the arrays of each kind of part, in the order of its values
ARRAYS = {
    "scale": ("factor",),
    "standardize": ("mean", "std"),
    "dense": ("w", "b"),
    "rescale": ("factor", "shift"),
    "sort": ("levels",),
}
EXACT = ("standardize", "rescale")  # parts whose arrays are always float64


class InputImage(NamedTuple):
    """The image that inputs are shown as."""

    height: int
    width: int
    white: float  # the value of a white pixel; a black one is 0


def write_page(
    net: Network | Ensemble,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    image: tuple[int, int] | bool | None = None,
    white: float | None = None,
) -> None:
    """Write a page that shows a network at work in a browser: one HTML file that loads nothing and sends nothing.

    If the inputs are an image, you draw it; otherwise there is a slider for each input, or each column of a table that
    the network was trained on. The page shows the activations of every layer, the outputs, as from `Network.forward`,
    with calibrated probabilities, and their derivatives with respect to what you set. It computes in float64, with
    float32 or float64 weights as they are. Of an ensemble, it shows the mean over the members, and the layers of the
    first one.

    Inputs have the names in `net.feature_names`; classes and targets those in `net.notes`, if it has "labels" and
    "target" as ``xpnet train`` writes them. Otherwise they are numbered.

    Parameters
    ----------
    net
        The network or the ensemble, on any backend.
    path
        The file. An existing file is replaced whole, or not at all.
    title
        The heading of the page.
    image
        Height and width of the image, if the inputs are an image. False: they are not. By default, 784 inputs are an
        image of 28 × 28 pixels, and others are not an image.
    white
        The value of a white pixel; black is 0. The default is 1/scale for a network with `scale`. If inputs are
        standardized, it is the first of 1, 16 and 255 that fits the means and standard deviations of the pixels.
        Otherwise it is 1, because the network does not know the range of its inputs. With a wrong value, many answers
        are wrong.

    Raises
    ------
    ArgumentError
        If `net` is neither a `Network` nor an `Ensemble`, or `title` not a text; or if `image` or `white` does not fit
        the network, if it has an activation of your own, or if it is too large.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> net = Network([784, 30, 10], task="classification", seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(net, f"{folder}/digits.html")
    """
    page = make_page(net, title=title, image=image, white=white)
    check_folder(path)
    write_file(path, page.encode(errors="replace"))


def make_page(
    net: Network | Ensemble,
    *,
    title: str | None = None,
    image: tuple[int, int] | bool | None = None,
    white: float | None = None,
) -> str:
    """Return the text of the file that `write_page` writes; the arguments and errors are the same. Synchronizes.

    Examples
    --------
    >>> make_page(Network([3, 4, 2])).splitlines()[0]
    '<!doctype html>'
    """
    require_networks(net)
    if title is not None and not isinstance(title, str):
        raise ArgumentError(f"title={title!r} must be a text")
    picture = choose_picture(net, image, white)
    kind = "sliders" if picture is None else "drawing"
    warn_of_calibration(net)
    return fill_page(TITLE if title is None else title, "page_files", kind, describe_network(net, picture), ["page.js"])


def fill_page(
    title: str, folder: str, kind: str, network: dict[str, Any], scripts: Sequence[str], styles: Sequence[str] = ()
) -> str:
    """Put a page together from its files: the body of that kind, scripts, styles, and a network as plain values.

    `scripts` and `styles` are those in the folder that the page has before the script of its kind.

    Examples
    --------
    >>> fill_page("Sliders", "page_files", "sliders", {}, ["page.js"]).splitlines()[0]
    '<!doctype html>'
    """
    shared = [f"page_files/{name}" for name in ("network.js", "elements.js", "charts.js")]
    own = [f"{folder}/{name}" for name in (*scripts, f"{kind}.js")]
    script = '"use strict";\n\n' + "\n".join(map(_read, (*shared, *own)))
    style = "\n".join(map(_read, ("page_files/page.css", *(f"{folder}/{name}" for name in styles))))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    values = {
        "policy": policy,
        "title": escape(title),
        "style": style,
        "body": _read(f"{folder}/{kind}.html"),
        # A browser would end the script at "</script>" in a name
        "network": json.dumps(network, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _read("page_files/page.html"))


def describe_network(net: Network | Ensemble, picture: InputImage | None) -> dict[str, Any]:
    """Describe a network, or the members of an ensemble, as plain values, with arrays as texts in base64. Synchronizes.

    Examples
    --------
    >>> net = Network([3, 4, 2], task="classification", seed=0)
    >>> [part["kind"] for part in describe_network(net, None)["members"][0]]
    ['dense', 'activation', 'dense', 'activation']
    """
    members = [take_apart(member, "float64", temperature=net.temperature) for member in require_networks(net)]
    size = sum(array.nbytes for parts in members for part in parts if part.kind in ARRAYS for array in part.values)
    if size > MOST_BYTES:
        raise ArgumentError(
            f"net has {size:,} bytes of weights, but a page holds at most {MOST_BYTES:,}; show a smaller network, or "
            'net.to(dtype="float32") if it is float64'
        )
    # Calibrated probabilities have a geometric mean: that of the mean of what goes into the last activation
    after = [] if net.temperature is None else [parts.pop() for parts in members][:1]
    net = require_networks(net)[0]
    description: dict[str, Any] = {
        "sizes": net.sizes,
        "task": net.task,
        "dtype": net.dtype,
        "parameters": net.summary().parameters,
        "members": [[describe_part(part, net.dtype) for part in parts if part.kind != "dropout"] for parts in members],
        "after": [describe_part(part, net.dtype) for part in after],
        "labels": _name_outputs(net),
        "adds_to_one": net.sigmas[-1].total == 1.0,
        "levels": net.value.model.cost.levels,
    }
    if picture is None:
        names = net.feature_names or [f"input {i}" for i in range(net.sizes[0])]
        columns = find_columns(net) or [NumberColumn(name, 0.0, missing=False) for name in names]
        fields = describe_fields(columns, _find_ranges(net, members[0]))
        numbers, importances = [k for k, field in enumerate(fields) if "terms" in field], find_importances(net)
        over = max(numbers, key=lambda k: importances.get(fields[k]["name"], (0.0, 0.0))[0], default=None)
        return {**description, "fields": fields, "over": over, "rounds": choose_input_dtype(columns) == "float32"}
    examples = _choose_examples() if picture[:2] == MNIST else []
    return {**description, "image": picture._asdict(), "examples": examples}


def describe_part(part: Part, dtype: str) -> dict[str, Any]:
    """Describe a part as plain values.

    Examples
    --------
    >>> describe_part(Part("scale", (0.5,)), "float32")
    {'kind': 'scale', 'arrays': {'factor': 'AAAAPw=='}}
    """
    if part.kind == "activation":
        return {"kind": part.kind, **_describe_activation(part.values[0])}
    dtype = "float64" if part.kind in EXACT else dtype
    arrays = {name: _encode(values, dtype) for name, values in zip(ARRAYS[part.kind], part.values)}
    return {"kind": part.kind, "arrays": arrays}


def _describe_activation(sigma: Activation) -> dict[str, Any]:
    kind, numbers = find_kind(sigma)
    if kind is None:
        raise ArgumentError(
            f"activation={sigma.name!r} is your own, and a page cannot compute it; it has "
            f"{choices(sorted(ACTIVATIONS))}. For a network with another, use xpnet.plots.activations, or "
            "xpnet.export.to_onnx"
        )
    return {"name": kind, "label": sigma.name, "numbers": list(numbers)}


# What the inputs are


def choose_picture(
    net: Network | Ensemble, image: tuple[int, int] | bool | None = None, white: float | None = None
) -> InputImage | None:
    """Choose how inputs are shown as an image, as `write_page` does; None if they are not an image. Synchronizes.

    Examples
    --------
    >>> choose_picture(Network([784, 10], scale=1 / 255))
    InputImage(height=28, width=28, white=255.0)
    """
    net = require_networks(net)[0]
    n_in = net.sizes[0]
    if image is None:
        image = MNIST if n_in == MNIST[0] * MNIST[1] else False
    if image is False:
        if white is not None:
            raise ArgumentError(
                f"white={white!r} is for images, but the inputs are not an image; leave it out, or give image"
            )
        return None
    height, width = _parse_size(image)
    if height * width != n_in:
        raise ArgumentError(
            f"image={image!r} has {height * width:,} pixels, but the network has {n_in:,} inputs; they must match, or "
            "give image=False if the inputs are not an image"
        )
    if white is None:
        white = _find_white(net)
    in_range("white", white, 0, inf, "1 is usual, and 255 for bytes", includes_low=False)
    return InputImage(height, width, float(white))


def _parse_size(image: Any) -> tuple[int, int]:
    try:
        height, width = (count("image", size, 1) for size in image)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"image={image!r} must be the height and the width of an image in pixels, as in (28, 28), or False if the "
            "inputs are not an image"
        ) from error
    return height, width


def _find_white(net: Network) -> float:
    if net.scale:
        return 1 / net.scale
    statistics = _find_statistics(take_apart(net))
    return 1.0 if statistics is None else guess_white(*statistics)


def _find_statistics(parts: list[Part]) -> tuple[np.ndarray, ...] | None:
    """Find the means and standard deviations of standardized inputs; None for others."""
    return next((part.values for part in parts if part.kind == "standardize"), None)


def guess_white(mean: np.ndarray, std: np.ndarray) -> float:
    """Guess the value of a white pixel from the means and standard deviations of pixels.

    Values from 0 to w with mean m and standard deviation s have s² ≤ m (w − m), so w is at least m + s²/m (Bhatia and
    Davis, American Mathematical Monthly 107, 2000). The guess is the first usual value that is not below this.

    Examples
    --------
    >>> guess_white(np.array([0.0, 7.0]), np.array([1.0, 5.0]))  # 7 + 25/7 = 10.6
    16.0
    """
    mean, std = mean.astype(np.float64), std.astype(np.float64)
    if mean.min() < 0:
        return 1.0  # a black pixel is not 0, so the inequality does not apply
    gray = mean > 0
    # A pixel that is always the same has the standard deviation 1 in a scaling
    variance = np.where(std[gray] == 1, 0, std[gray] ** 2)
    least = float(np.max(mean[gray] + variance / mean[gray], initial=0))
    rounding = 1e-3 * least  # of float32, generously
    return float(next((white for white in WHITES if white >= least - rounding), ceil(least)))


def _choose_examples() -> list[dict[str, str]]:
    """Take the first test image of each digit, as bytes in base64."""
    _, (images, labels) = mnist_sample()
    rows = [int(np.argmax(labels == digit)) for digit in range(10)]
    return [{"name": str(digit), "pixels": _encode(images[row] * 255, "uint8")} for digit, row in zip(range(10), rows)]


def describe_fields(columns: Sequence[Column], ranges: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Describe the columns of a table as fields to set: numbers with the terms that they become, and choices with rows.

    A column that holds both has a field for each, and so has each input that is a statistic of the targets.

    Parameters
    ----------
    columns
        The columns that a network was trained on.
    ranges
        For each input of the network, the ends of a slider; their middle is the mean.

    Examples
    --------
    >>> describe_fields([CategoryColumn("sex", ("f", "m"), missing=False, rare=False, signed=True)], [[-2.8, 3.2]])
    [{'name': 'sex', 'start': 1, 'options': ['f', 'm', 'another'], 'rows': [[-1.0], [1.0], [0.0]]}]
    >>> firm = StatisticsColumn("firm", ("",), words=False, tokens=("a", "b"), numbers=(0.5, 0.4, 1.0, -0.5, 0.2, 0.7))
    >>> [(field["name"], field["start"]) for field in describe_fields([firm], [[-1.0, 1.0], [-1.0, 1.0], [0.0, 2.0]])]
    [('firm (effect)', 0.0), ('firm (further effect)', 0.0), ('firm (rows)', 1.0)]
    """
    fields: list[dict[str, Any]] = []
    numbers = {column.name for column in columns if isinstance(column, NumberColumn | DateColumn)}
    first = 0
    for column in columns:
        column_ranges = np.array(ranges[first : first + len(column.inputs)])
        first += len(column_ranges)
        if isinstance(column, CategoryColumn):
            name = column.name if column.name not in numbers else f"{column.name} (text)"
            fields.append({"name": name, **_describe_choice(column, column_ranges.mean(axis=1))})
        elif isinstance(column, StatisticsColumn):
            inputs = (NumberColumn(name, float(ends.mean()), False) for name, ends in zip(column.inputs, column_ranges))
            fields += map(_describe_number, inputs, column_ranges)
        elif not isinstance(column, DroppedColumn):
            fields.append(_describe_number(column, column_ranges[0]))
    return fields


def _describe_choice(column: CategoryColumn, means: np.ndarray) -> dict[str, Any]:
    """Describe a choice, which begins with the option that is most frequent by the means of its inputs."""
    options = [*column.values, *(["missing"] if column.missing else [])]
    options.append("rare or unknown" if column.rare else "another")
    rows = column.lookup.rows[: len(options)]
    start = int(np.argmax(rows @ means))
    if isinstance(column, MarkColumn):
        options, start, rows = ["none", *options], 0, np.concatenate([0 * rows[:1], rows])
    return {"start": start, "options": options, "rows": rows.tolist()}


def _describe_number(column: NumberColumn | DateColumn, ends: np.ndarray) -> dict[str, Any]:
    """Describe a number. With bins, its slider spans the values of training, or six of their scales."""
    name = f"{column.name} (days since 1970)" if isinstance(column, DateColumn) else column.name
    start = float(ends.mean())
    if column.bins is not None:
        start, reach = column.median, 3 * column.bins.scale
        ends = np.array([start - reach, start + reach])
        if column.bins.edges:
            ends = np.array([column.bins.edges[0], column.bins.edges[-1]])
    terms = [
        {key: None if isinstance(value, float) and isinf(value) else value for key, value in term._asdict().items()}
        for term in column.terms.values()
    ]
    range_ = np.clip(ends, -FARTHEST, FARTHEST).tolist()
    return {"name": name, "start": start, "range": range_, "median": column.median, "terms": terms}


def _find_ranges(net: Network, parts: list[Part]) -> list[list[float]]:
    """Choose the ends of the slider of each input: three standard deviations around the mean, or around 0."""
    n_in = net.sizes[0]
    mean, std = _find_statistics(parts) or (np.zeros(n_in), np.ones(n_in))
    mean, std, factor = mean.astype(np.float64), std.astype(np.float64), np.float64(net.scale or 1.0)
    with np.errstate(over="ignore"):
        ends = np.stack([mean - 3 * std, mean + 3 * std], axis=1) / factor
    return np.clip(ends, -FARTHEST, FARTHEST).tolist()


# What the outputs are


def _name_outputs(net: Network) -> list[str]:
    """Name the outputs: classes, labels, or targets with their statistics. A binary task has two classes."""
    n = 2 if net.task == "binary" else net.sizes[-1]
    if net.task != "regression":
        return find_labels(net) or [str(k) for k in range(n)]
    n_targets, cost = net.value.model.n_targets, net.value.model.cost
    target = net.notes.get("target")
    targets = [target] if isinstance(target, str) and n_targets == 1 else _number("output", n_targets)
    if cost.outputs_per_target == 1:
        return targets
    if cost.name == "gaussian":
        kinds = ["mean", "standard deviation"]
    else:
        kinds = [f"quantile {level:g}" for level in cost.levels] or _number("number", cost.outputs_per_target)
    if targets == ["output"]:
        targets = ["the output"]
    return [f"{kind} of {target}" for kind in kinds for target in targets]


def _number(name: str, n: int) -> list[str]:
    return [name] if n == 1 else [f"{name} {k}" for k in range(n)]


# Texts


def _encode(array: Any, dtype: str) -> str:
    return base64.b64encode(np.asarray(array, np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (files("xpnet") / "pages" / name).read_text(encoding="utf-8")
