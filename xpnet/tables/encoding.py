"""How the columns of a table become inputs, as plain numbers: for graphs and pages, which have no xpnet."""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

from xpnet._checks import show
from xpnet.errors import ArgumentError
from xpnet.network.network import Network
from xpnet.tables.columns import (
    WAVES,
    Bins,
    Column,
    DateColumn,
    DroppedColumn,
    NumberColumn,
    from_plain,
    name_inputs,
)

__all__ = ["ColumnTerm", "choose_columns", "find_columns", "find_labels", "list_terms"]


class ColumnTerm(NamedTuple):
    """An input that is a function of a number v, with z = (v − offset) / divisor.

    Parameters
    ----------
    kind
        - "linear": z, between `low` and `high`
        - "squash": z / √(1 + (z/3)²)
        - "wave": sin(2πz)
        - "missing": 1 if the number is missing, otherwise 0
    """

    kind: str
    offset: float = 0.0
    divisor: float = 1.0
    low: float = -inf
    high: float = inf


def list_terms(column: NumberColumn | DateColumn) -> list[ColumnTerm]:
    """List the inputs that a column of numbers, or of dates as days since 1970, becomes.

    A missing number is replaced by the median of the column, before it is encoded.

    Examples
    --------
    >>> list_terms(NumberColumn("mass", 3.5, missing=True))
    [ColumnTerm(kind='linear', offset=0.0, divisor=1.0, low=-inf, high=inf),
     ColumnTerm(kind='missing', offset=0.0, divisor=1.0, low=-inf, high=inf)]
    """
    terms = [ColumnTerm("linear")] if column.bins is None else _list_bins(column.bins, column.median)
    if column.missing:
        terms.append(ColumnTerm("missing"))
    if isinstance(column, DateColumn):
        periods = [WAVES[wave] for wave in column.waves]
        terms += [ColumnTerm("wave", -shift * period, period) for period in periods for shift in (0.0, 0.25)]
    return terms


def _list_bins(bins: Bins, median: float) -> list[ColumnTerm]:
    terms, last = [ColumnTerm("squash", median, bins.scale)], len(bins.edges) - 2
    for k, (low, high) in enumerate(zip(bins.edges, bins.edges[1:])):
        # The first bin goes on below its edge, and the last one above
        terms.append(ColumnTerm("linear", low, high - low, 0.0 if k else -1.0, 1.0 if k < last else 2.0))
    return terms


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
    columns = tuple(column for column in columns if not isinstance(column, DroppedColumn))
    if any(not column.name for column in columns):
        raise ArgumentError(
            "the table has a column without a name, and inputs need names; give it one, and train again"
        )
    return columns


def _read_encoder(net: Network, encoder: Any) -> tuple[Column, ...]:
    if not hasattr(encoder, "columns_"):
        raise ArgumentError(
            f"encoder={show(encoder)} must be a fitted TableEncoder, or False if the inputs are to be encoded numbers"
        )
    columns = from_plain(encoder.columns_)
    n, names = len(name_inputs(columns)), net.feature_names
    if n != net.sizes[0] or (names is not None and names != name_inputs(columns)):
        others = f"{net.sizes[0]:,}" if n != net.sizes[0] else "others"
        raise ArgumentError(
            f"encoder makes {n:,} inputs, and the network was trained on {others}; give the encoder that it was "
            "trained with"
        )
    return columns


def find_labels(net: Network) -> list[str] | None:
    """Find the labels of the classes in the notes of a network, which may hold anything."""
    n = 2 if net.task == "binary" else net.sizes[-1]
    labels: Any = net.notes.get("labels")
    are_fit = isinstance(labels, (list, tuple)) and len(labels) == n and all(isinstance(text, str) for text in labels)
    return list(labels) if are_fit and net.task != "regression" else None
