"""What the cells of a table become: each by itself, whatever equals it and whatever holds it."""

from contextlib import suppress
from copy import copy
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from helpers import run_command

pytestmark = pytest.mark.needs("pandas", "sklearn")

DAYS = [datetime(2024, 1, 1), datetime(2024, 1, 2, 12)]
INDIA = timezone(timedelta(hours=5, minutes=30))
ALIKE: list[list[Any]] = [  # equal, or almost, and different texts
    [1, True],
    [1.0, True, "true"],
    [0, False, -0.0, "", None],
    [Decimal("1.10"), "1.10", 1.1],
    [np.float32(0.1), 0.1, 0.10000000149011612],
    [2**53, 2**53 + 1, 2.0**53],
    [DAYS[0].replace(tzinfo=INDIA), DAYS[0].replace(tzinfo=INDIA).astimezone(UTC)],
    [date(2024, 1, 1), DAYS[0], "2024-01-01"],
    [None, float("nan"), Decimal("nan"), "nan"],
]


@pytest.mark.parametrize("cells", ALIKE, ids=str)
@pytest.mark.parametrize("categories", [(), ("a",)], ids=["read", "declared"])
@pytest.mark.filterwarnings("ignore:X has values that training did not have")
def test_a_cell_becomes_the_same_whatever_stands_beside_it(cells, categories):
    """Whatever equals it, whichever comes first, in training and later, alone or not."""
    import pandas

    from xpnet.estimators import TableEncoder

    def table(values):
        return pandas.DataFrame({"a": pandas.Series([*values], dtype=object)})

    words, learnt = [*"abcdefghij"], None
    for known in (cells, cells[::-1], [*cells[1:], *cells[:1]]):
        encoder = TableEncoder(categories).fit(table(2 * [*known, *words]))
        learnt = learnt or encoder.columns_
        assert encoder.columns_ == learnt
        alone = np.concatenate([encoder.transform(table([cell])) for cell in cells])
        for order in ([*range(len(cells))], [*range(len(cells))][::-1], [1, 0, -1]):
            np.testing.assert_array_equal(encoder.transform(table([cells[k] for k in order])), alone[order])


@pytest.mark.parametrize(
    ("trained", "new", "accepted"),
    [
        (["25/12/2024", "03/04/2024"], ["03/04/2024", "04/25/2024"], [0, 1]),
        (["2024-01-01T00:00Z", "2024-02-01T00:00Z"], ["2024-01-01T00:00Z", "2024-01-01T00:00"], [0]),
        ([1.5, 2.5], ["1.234", "1,5"], [0, 1]),
        ([1.5, 2.5], ["2", "1,5"], [0, 1, "both"]),
        (["1,5", "2,5"], [3.5, "3.5"], [0]),
        ([True, False], ["true", "0"], [0, 1, "both"]),
        (["a", "b", "a", "b", "1"], ["2", "a"], [0, 1, "both"]),
    ],
)
def test_no_row_changes_how_another_is_read(trained, new, accepted):
    """Together, they are refused or read as one by one."""
    import pandas

    from xpnet.estimators import TableEncoder

    encoder = TableEncoder().fit(pandas.DataFrame({"a": trained}))
    alone: dict[Any, Any] = {}
    for k, rows in {0: new[:1], 1: new[1:], "both": new}.items():
        with suppress(ValueError):
            alone[k] = encoder.transform(pandas.DataFrame({"a": rows}))
    assert [*alone] == accepted
    if "both" in alone:
        np.testing.assert_array_equal(alone["both"], np.concatenate([alone[0], alone[1]]))


def to_arrow(table):
    from pyarrow import Table

    return Table.from_pandas(table)


def to_polars(table):
    import polars

    return polars.from_pandas(table)


def in_arrow(table):
    """With columns of pandas that Arrow keeps, also dictionaries."""
    from pandas import ArrowDtype

    return to_arrow(table).to_pandas(types_mapper=ArrowDtype)


@pytest.mark.parametrize(
    "wrap",
    [
        copy,
        pytest.param(to_arrow, marks=pytest.mark.needs("pyarrow")),
        pytest.param(in_arrow, marks=pytest.mark.needs("pyarrow")),
        pytest.param(to_polars, marks=pytest.mark.needs("pyarrow", "polars")),
    ],
)
@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ([8001, 8050, None], ("8001", "8050")),
        ([2.5, 1.0, None], ("1", "2.5")),
        ([True, False], ("False", "True")),
        (["84+", "84", "120"], ("120", "84", "84+")),
        (DAYS, ("2024-01-01", "2024-01-02 12:00:00")),
    ],
    ids=str,
)
def test_a_declared_category_is_one(wrap, cells, values):
    """Whatever its values look like, and whatever holds them; also if a new table does not declare it."""
    import pandas

    from xpnet.estimators import TableEncoder

    plain = pandas.DataFrame({"a": cells * 3})
    declared = plain.assign(a=pandas.Categorical(plain["a"], categories=[*plain["a"].dropna().unique()[::-1]]))
    if wrap is to_polars and not isinstance(cells[0], str):  # it declares texts alone
        wrap = to_arrow
    encoder = TableEncoder().fit(wrap(declared))
    assert encoder.columns_ == TableEncoder(["a"]).fit(plain).columns_
    assert encoder.columns_[0]["values"] == [*values]
    expected = encoder.transform(declared)
    for table in (plain, wrap(declared), wrap(declared[::-1])[::-1] if wrap in (copy, in_arrow) else declared):
        np.testing.assert_array_equal(encoder.transform(table), expected)


def test_declared_categories_do_not_show_how_numbers_are_written():
    import pandas

    from xpnet.estimators import TableEncoder

    table = pandas.DataFrame({"k": pandas.Categorical(["1,5", "1,7"] * 2), "a": ["1.5", "2.5"] * 2})
    columns = TableEncoder().fit(table).columns_
    assert columns[0]["values"] == ["1,5", "1,7"]
    assert (columns[1]["decimal"], columns[1]["grouped"]) == (".", False)


@pytest.mark.needs("pyarrow")
def test_the_command_takes_declared_categories(tmp_path, monkeypatch, capsys):
    """Of features and of the target; a row with an unknown one is novel."""
    import pandas

    from xpnet.estimators import TableEncoder
    from xpnet.tables.reading import read_table

    monkeypatch.chdir(tmp_path)
    numbers = np.arange(120)
    table = pandas.DataFrame({"k": numbers % 3, "a": numbers % 7 + 0.5, "y": numbers % 30})
    table.astype({"k": "category", "y": "category"}).to_parquet("t.parquet")
    X, y, _ = read_table("t.parquet").split("y")
    assert len(y.labels) == 30
    assert TableEncoder().fit(X).columns_[0]["values"] == ["0", "1", "2"]
    words = ["train", "t.parquet", "--target", "a", "--ignore", "y", "--members", 1, "--epochs", 1, "--save", "net"]
    assert run_command(capsys, *words)[0] == 0
    table[:4].assign(k=[0, 1, 7, 2], a=0).to_csv("new.csv", index=False)
    _, out, err = run_command(capsys, "predict", "net", "new.csv", "--novelty")
    assert [float(line.split(",")[1]) == 1 for line in out[1:]] == [False, False, True, False]
    assert err == "xpnet: new.csv has values that training did not have: unknown in 'k' (1)\n"
    (tmp_path / "n.csv").write_text("k;a\n0;1.234\n1;1,5\n")
    table.drop(columns="y").assign(z=numbers).to_parquet("t.parquet")
    assert run_command(capsys, *["train", "t.parquet", "--target", "z", "--epochs", 0, "--save", "other"])[0] == 0
    _, _, err = run_command(capsys, "predict", "other", "n.csv")
    assert "holds '1.234' in row 1 of column 'a'" in err
    assert "which may be 1.234 or 1234" in err


@pytest.mark.needs("pyarrow")
def test_categories_and_codes_in_files(tmp_path):
    """Categories of any kind that pandas has written, and digits with zeros in front, which it reads as numbers."""
    import pandas

    from xpnet.tables.reading import read_table

    cells = {"i": [3, 5, None, 3], "b": [True, False] * 2, "d": DAYS * 2, "s": ["1", "2"] * 2}
    declared = pandas.DataFrame({name: pandas.Categorical(values) for name, values in cells.items()})
    declared.assign(n=range(4)).to_parquet(tmp_path / "t.parquet")
    table = read_table(str(tmp_path / "t.parquet"))
    assert table.declared == [*cells]
    assert {name: column.values for name, column in table.open([*cells], [*cells]).items()} == {
        "i": ["3", "5"],
        "b": ["True", "False"],
        "d": ["2024-01-01", "2024-01-02 12:00:00"],
        "s": ["1", "2"],
    }
    text = "zip,n,f,m,t\n80331,1,1.5,,01\n,20,00.5,007,True\n01067,3,1,8,False\n"
    for name, encoding in (("t.csv", "utf-8"), ("u.csv", "utf-16")):
        (tmp_path / name).write_bytes(text.encode(encoding))
        frame = read_table(str(tmp_path / name)).frame
        assert [column.dtype.kind for _, column in frame.items()] == ["O", "i", "f", "O", "O"]
        assert frame["zip"].fillna("").tolist() == ["80331", "", "01067"]
        assert frame["m"].fillna("").tolist() == ["", "007", "8"]
    commas = text.replace(",", ";").replace("00.5", "0,5").replace("1.5", "1,5")
    (tmp_path / "c.csv").write_text(commas)
    assert read_table(str(tmp_path / "c.csv")).frame["m"].fillna("").tolist() == ["", "007", "8"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["01067", "10115", "80331"], "category"),
        (["01067", "1.5", "2"], "number"),
        (["01067", "A12", "A13", "7"], "category"),
        (["0", "10", "-01"], "number"),
        (["00", "10", "11"], "category"),
        ([2**53, 2**53 + 1], "category"),
        ([str(2**53), str(2**53 + 1)], "category"),
        ([Decimal(2**53), Decimal(2**53 + 1)], "category"),
        ([2.0**53, 2.0**53 + 2], "number"),
        ([2**53, 1, 2], "number"),
        (["9" * 401, "a", "b"], "category"),
        (["9" * 20, "8"], "number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_digits_are(cells, kind):
    import pandas

    from xpnet.estimators import TableEncoder

    encoder = TableEncoder().fit(pandas.DataFrame({"a": cells * 2}))
    assert encoder.columns_[0]["kind"] == kind
    if kind == "category":
        assert len(np.unique(encoder.transform(pandas.DataFrame({"a": cells})), axis=0)) == len(cells)


def test_a_text_of_megabytes_is_one_among_others():
    import pandas

    from xpnet.estimators import TableEncoder

    long = ["x" * 10**7, "1" * 10**7, "1/2/" * 10**6]
    encoder = TableEncoder().fit(pandas.DataFrame({"a": [*"aabb", *long]}))
    assert encoder.get_feature_names_out().tolist() == ["a=a", "a=b", "a (rare)"]
    np.testing.assert_array_equal(encoder.transform(pandas.DataFrame({"a": long})), [[0, 0, 1]] * 3)


@pytest.mark.parametrize(
    ("trained", "cells", "places"),
    [
        (["1", "2", "a"], [1.0, "1.0", "2", "3.0", "1.00"], [0, 0, 1, None, None]),
        (["1.0", "2.0", "a"], [1, 1.0, "2", "2.0"], [0, 0, 1, 1]),
        (["1", "1.0", "a"], ["1", "1.0", 1.0], [0, 1, 0]),
        ([DAYS[0], "a", "b"], [DAYS[0], "2024-01-01", "2024-01-01 00:00:00"], [0, 0, 0]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:X has values that training did not have")
def test_a_value_is_found_as_files_of_pandas_write_it(trained, cells, places):
    """A column of whole numbers has .0 where a value is missing, and days have 00:00:00 beside times."""
    import pandas

    from xpnet.estimators import TableEncoder

    encoder = TableEncoder(["a"]).fit(pandas.DataFrame({"a": pandas.Series(trained * 2, dtype=object)}))
    x = encoder.transform(pandas.DataFrame({"a": pandas.Series(cells, dtype=object)}))
    assert [row.argmax() if row.any() else None for row in x] == places


@pytest.mark.parametrize("bins", [0, 4])
def test_columns_are_learnt_from_their_rows_alone(bins):
    """Whatever stands in the others, such as those of a test."""
    import pandas

    from xpnet.tables._cells import Marks
    from xpnet.tables.columns import LIMITS, learn_columns, open_columns

    def learn(seed):
        rng = np.random.default_rng([1, seed])
        numbers, days, texts = np.arange(90.0) % 40, np.arange(90) % 37, np.array([*"abc"])[np.arange(90) % 3]
        if seed:
            numbers[60:], days[60:], texts[60:] = rng.normal(size=30), rng.integers(900, size=30), "z"
            numbers[60] = np.nan
        dates = pandas.Timestamp("2024-01-01") + pandas.to_timedelta(days, unit="h")
        frame = pandas.DataFrame({"number": numbers, "date": dates, "text": texts})
        frame.loc[70, "date"] = pandas.NaT if seed else frame["date"][70]
        return learn_columns("X", open_columns(frame, "X"), np.arange(90) < 60, Marks(), LIMITS, bins)

    assert learn(0) == learn(1)
    assert [column.kind for column in learn(0)] == ["number", "date", "category"]
