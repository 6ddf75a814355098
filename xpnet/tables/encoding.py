"""How the columns of a table become inputs, as plain numbers: for graphs and pages, which have no xpnet."""

from typing import Any

from xpnet._checks import show
from xpnet.errors import ArgumentError
from xpnet.network.network import Network
from xpnet.tables.columns import Column, from_plain, name_inputs

__all__ = ["choose_columns", "find_columns", "find_importances", "find_labels"]


def find_columns(net: Network) -> tuple[Column, ...]:
    """Find the columns of the table that a network was trained on; none if its notes, which may hold anything, do not.

    Examples
    --------
    >>> find_columns(Network([2, 1]))
    ()
    """
    try:
        columns = from_plain(net.notes.get("columns"))
    except ValueError:
        return ()
    return columns if name_inputs(columns) == net.feature_names else ()


def choose_columns(net: Network, encoder: Any = None) -> tuple[Column, ...]:
    """Choose the columns that become the inputs of a network: those of an encoder, or those in its notes.

    Columns that are left out are not among them; there are none with ``encoder=False``.
    """
    if encoder is False:
        return ()
    columns = find_columns(net) if encoder is None else _read_encoder(net, encoder)
    return tuple(column for column in columns if column.inputs)


def _read_encoder(net: Network, encoder: Any) -> tuple[Column, ...]:
    if not hasattr(encoder, "columns_"):
        raise ArgumentError(
            f"encoder={show(encoder)} must be a fitted TableEncoder, or False if the inputs are to be encoded numbers"
        )
    columns = from_plain(encoder.columns_)
    names = name_inputs(columns)
    if len(names) != net.sizes[0] or net.feature_names not in (None, names):
        others = f"{net.sizes[0]:,}" if len(names) != net.sizes[0] else "others"
        raise ArgumentError(
            f"encoder makes {len(names):,} inputs, and the network was trained on {others}; give the encoder that it "
            "was trained with"
        )
    return columns


def find_labels(net: Network) -> list[str] | None:
    """Find the labels of the classes in the notes of a network, which may hold anything."""
    n = 2 if net.task == "binary" else net.sizes[-1]
    labels: Any = net.notes.get("labels")
    are_fit = isinstance(labels, (list, tuple)) and len(labels) == n and all(isinstance(text, str) for text in labels)
    return list(labels) if are_fit and net.task != "regression" else None


def find_importances(net: Network) -> dict[str, tuple[float, float]]:
    """Find the importance of each column and its spread in the notes of a network; none if these hold others."""
    try:
        return {str(name): (float(mean), float(std)) for name, (mean, std) in net.notes["importances"].items()}
    except (LookupError, AttributeError, TypeError, ValueError):
        return {}
