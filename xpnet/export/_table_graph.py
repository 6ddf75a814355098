"""The encoding of a table as ONNX operators: an input for each column, and from them the inputs of a network."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from xpnet.errors import ArgumentError
from xpnet.export.graph import Graph, Symbol, ValueInfo
from xpnet.tables.columns import (
    CategoryColumn,
    Column,
    ColumnTerm,
    DateColumn,
    NumberColumn,
    StatisticsColumn,
    choose_input_dtype,
    find_texts,
)


class _Place(NamedTuple):
    """Which input of the network a term is, and which of the columns of numbers it is a function of."""

    place: int
    source: int
    term: ColumnTerm


def add_columns(graph: Graph, columns: Sequence[Column]) -> Symbol:
    """Add an input for each column, (batch, 1), and nodes that compute the inputs of a network, (batch, n_in).

    Numbers and dates are float64, NaN where they are missing, and dates are days since 1970; texts are strings, empty
    where they are missing. A column that holds both has an input for each, and other parts of a column share one. All
    columns of numbers are computed together. The result is float64, and rounded where the encoder rounds it.
    """
    texts = find_texts(columns)
    symbols = _add_inputs(graph, columns, texts)
    numbers: list[Symbol] = []
    medians, terms, lookups, n = [], [], {}, 0
    for column, symbol in zip(columns, symbols):
        if isinstance(column, CategoryColumn):
            places = {**column.lookup.places, "": column.lookup.missing}
            rows = column.lookup.rows
            lookups[n] = _add_lookup(graph, f"{column.name}_rows", symbol, places, column.lookup.unknown, rows)
        elif isinstance(column, StatisticsColumn):
            lookups[n] = _add_statistics(graph, column, symbol, column.name in texts)
        elif isinstance(column, NumberColumn | DateColumn):
            terms += [_Place(n + k, len(numbers), term) for k, term in enumerate(column.terms.values())]
            numbers.append(symbol)
            medians.append(column.median)
        n += len(column.inputs)
    blocks, places = _add_numbers(graph, numbers, np.array(medians), terms) if numbers else ([], [])
    for first, block in lookups.items():
        blocks.append(block)
        places += range(first, first + block.n)
    x = graph.take_columns(graph.add("Concat", blocks, n, axis=1), np.argsort(places))
    if choose_input_dtype(columns) == "float32":
        x = graph.add("Cast", [graph.add("Cast", [x], to="float32")], to="float64")
    return x


def _add_inputs(graph: Graph, columns: Sequence[Column], texts: Collection[str]) -> list[Symbol]:
    """Add the inputs; return that of each column."""
    inputs: dict[tuple[str, str], list[Column]] = {}
    for column in columns:
        dtype = "string" if isinstance(column, CategoryColumn) or column.name in texts else "float64"
        inputs.setdefault((column.name, dtype), []).append(column)
    symbols = {}
    for (name, dtype), parts in inputs.items():
        described = (replace(part, format="") if isinstance(part, DateColumn) else part for part in parts)
        description = "; and ".join(part.describe() for part in described)
        is_second = dtype == "string" and (name, "float64") in inputs
        symbol = graph.input(ValueInfo(f"{name} (text)" if is_second else name, dtype, (1,), description))
        symbols |= dict.fromkeys(parts, symbol)
    return [symbols[column] for column in columns]


def _add_lookup(
    graph: Graph, name: str, texts: Symbol, places: Mapping[str, int], unknown: int, rows: np.ndarray
) -> Symbol:
    """Add the rows at the places of texts; other ones are at that of the unknown."""
    numbers = graph.add(
        "LabelEncoder",
        [texts],
        keys_strings=[*places],
        values_int64s=[*places.values()],
        default_int64=unknown,
    )
    numbers = graph.add("Squeeze", [numbers, graph.constant("axis_1", np.array([1], np.int64))])
    table = graph.constant(name, rows.astype(np.float64))
    return graph.add("Gather", [table, numbers], table.n, axis=0)


def _add_statistics(graph: Graph, column: StatisticsColumn, values: Symbol, are_texts: bool) -> Symbol:
    """Add the inputs of texts, or of numbers, each compared with all that training had."""
    name = f"{column.name}_statistics"
    if column.words:
        raise ArgumentError(
            f"column {column.name!r} is taken apart into words, which ONNX cannot do; give encoder=False, and the "
            "model what encoder_.transform returns, or train without the column"
        )
    if are_texts:
        rows = np.append(column.table, np.zeros((1, len(column.inputs))), axis=0)
        return _add_lookup(graph, name, values, column.places, len(column.tokens), rows)
    keys = graph.constant(f"{column.name}_values", np.array([[*map(float, column.tokens)]]))
    is_value = graph.add("Cast", [graph.add("Equal", [values, keys], keys.n)], keys.n, to="float64")
    table = graph.constant(name, column.table)
    return graph.add("MatMul", [is_value, table], table.n)


def _add_numbers(
    graph: Graph, numbers: Sequence[Symbol], medians: np.ndarray, terms: Sequence[_Place]
) -> tuple[list[Symbol], list[int]]:
    """Add the inputs that are functions of numbers, in a block for each kind; return these, and their places."""
    values = graph.add("Concat", numbers, len(numbers), axis=1)
    missing = graph.add("IsNaN", [values])
    values = graph.add("Where", [missing, graph.constant("medians", medians), values])
    blocks, places = [], []
    for kind in ("linear", "squash", "wave", "missing"):
        of_kind = [term for term in terms if term.term.kind == kind]
        if of_kind:
            x = graph.add("Cast", [missing], to="float64") if kind == "missing" else values
            x = graph.take_columns(x, np.array([term.source for term in of_kind]))
            blocks.append(_add_terms(graph, kind, x, [term.term for term in of_kind]))
            places += [term.place for term in of_kind]
    return blocks, places


def _add_terms(graph: Graph, kind: str, x: Symbol, terms: Sequence[ColumnTerm]) -> Symbol:
    """Add inputs of one kind, of x (batch, n) with a column for each of them."""
    offset, divisor, low, high = (
        np.array([getattr(term, name) for term in terms]) for name in ("offset", "divisor", "low", "high")
    )
    if offset.any():
        x = graph.add("Sub", [x, graph.constant(f"{kind}_offset", offset)])
    if (divisor != 1).any():
        x = graph.add("Div", [x, graph.constant(f"{kind}_divisor", divisor)])
    if np.isfinite(low).any():
        x = graph.add("Max", [x, graph.constant(f"{kind}_low", low)])
        x = graph.add("Min", [x, graph.constant(f"{kind}_high", high)])
    if kind == "wave":
        return graph.add("Sin", [graph.add("Mul", [x, graph.constant("circle", np.array(2 * math.pi))])])
    if kind == "squash":
        one, three = (graph.constant(name, np.array(value)) for name, value in (("one", 1.0), ("three", 3.0)))
        third = graph.add("Div", [x, three])
        return graph.add("Div", [x, graph.add("Sqrt", [graph.add("Add", [graph.add("Mul", [third, third]), one])])])
    return x
