"""Tables: what files, cells and columns become, and what is refused because it can be read in two ways."""

import math
import re
import sys
import warnings
from contextlib import suppress
from copy import copy
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run_command

from xpnet import Network
from xpnet.tables import TableEncoder, hold_out
from xpnet.tables.columns import Encoding, NumberColumn, from_plain
from xpnet.tables.reading import read_table

pytestmark = [pytest.mark.needs("pandas"), pytest.mark.needs("pyarrow"), pytest.mark.needs("sklearn")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test writes its files into a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frame(**columns):
    import pandas

    return pandas.DataFrame({name: pandas.Series([*cells], dtype=object) for name, cells in columns.items()})


def read(text, target="y", name="table.csv", *, texts=(), decimal="", **options):
    """Write a file, and read it as the command does."""
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(name, texts, decimal).split(target, **options)


# Files


def write_letters(name, n=30):
    import pandas

    numbers = np.random.default_rng(0).normal(size=(n, 2))
    table = pandas.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "y": np.array([*"pqr"])[np.arange(n) % 3]})
    if name.endswith(".parquet"):
        table.to_parquet(name)
    else:
        table.to_csv(name, index=False, sep={"t": "\t", "s": ";"}.get(name[0], ","))
    return table


@pytest.mark.parametrize("name", ["p.csv", "t.tsv", "p.csv.gz", "p.parquet", "s.csv", "-"])
def test_every_kind_of_file_gives_the_same_arrays(name, monkeypatch):
    table = write_letters("p.csv" if name == "-" else name)
    if name == "-":
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(Path("p.csv").read_bytes())))
    X, y, groups = read_table(name).split("y")
    np.testing.assert_array_equal(TableEncoder().fit_transform(X), table[["a", "b"]].to_numpy())
    assert (y.labels, y.y.tolist(), groups) == (("p", "q", "r"), [0, 1, 2] * 10, None)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("\ufeffa|é\n\n1|2\n3|4\n".encode(), ["a", "é"]),
        ("a b\té\n1\t2\n3\t4\n".encode("utf-16"), ["a b", "é"]),
        (b'"a;b","c, d"\n1,2\n3,4\n', ["a;b", "c, d"]),
        (b"a, b\r\n\r\n1, 2\r\n3, 4\r\n\r\n", ["a", "b"]),
        ("a,\u2028b;é\n1;2\n3;4\n".encode(), ["a,\u2028b", "é"]),
    ],
)
def test_encodings_and_separators(content, names):
    Path("t.csv").write_bytes(content)
    table = read_table("t.csv").frame
    assert ([*table], table.to_numpy().tolist()) == (names, [[1, 2], [3, 4]])


def test_a_file_of_windows_is_read_and_said():
    with pytest.warns(
        UserWarning, match=r"table\.csv is not in UTF-8; its letters are read as those of Windows, cp1252"
    ):
        X, _, _ = read("größe,y\n1,2\n3,4\n".encode("latin-1"))
    assert [*X.cells] == ["größe"]


def test_a_target_keeps_its_unit(capsys):
    Path("t.csv").write_text("a,y\n" + "".join(f"{k},{k}.5 kg\n" for k in range(30)))
    words = ["train", "t.csv", "--target", "y", "--epochs", 1, "--members", 1, "--save", "net", "--quiet"]
    assert run_command(capsys, *words)[0] == 0
    assert run_command(capsys, "evaluate", "net", "t.csv")[0] == 0
    Path("t.csv").write_text("a,y\n1,5 g\n")
    status, _, err = run_command(capsys, "evaluate", "net", "t.csv")
    assert status == 1
    assert (
        "t.csv holds '5 g' in row 1 of column 'y' (rows count from 1, without the header), which is not a number w"
        in err
    )


def test_quotes_keep_separators_and_large_files_are_read_whole():
    read('"a, b";"y"\n"1, 2";"3"\n"1, 3";"4"\n')  # a comma within quotes separates nothing, though each line has one
    assert read_table("table.csv").frame.to_numpy().tolist() == [["1, 2", 3], ["1, 3", 4]]
    text = "text;y\n" + "".join(f'"line {k}\nof, two";{k}\n' for k in range(9000))
    X, y, _ = read(text)
    assert (len(X), y.y[-1]) == (9000, 8999)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", "b", "Z"], ("Z", "a", "b")),
        ([10, 9, 9, -1], ("-1", "9", "10")),
        ([1.0, 2.0, 2.0, 0.0], ("0", "1", "2")),
        ([True, False, True, True], ("False", "True")),
        (["1.5", "2.5", "high", "2.5"], ("1.5", "2.5", "high")),
        ([1.0, 2.5, 2.0, 0.0], ()),
        (range(21), ()),
        (range(20), tuple(map(str, range(20)))),
    ],
    ids=str,
)
def test_classes_are_texts_and_few_whole_numbers_in_order(values, labels):
    text = "x,y\n" + "".join(f"{-k - 1},{value}\n" for k, value in enumerate(values))
    _, targets, _ = read(text)
    assert targets.labels == labels
    if labels:
        assert [labels[k] for k in targets.y] == [str(int(v)) if isinstance(v, float) else str(v) for v in values]
    else:
        assert (targets.y.dtype, targets.y.tolist()) == (np.float64, [*values])


def test_codes_with_zeros_in_front_are_texts():
    text = "zip,n,f,m,t\n80331,1,1.5,,01\n,20,00.5,007,True\n01067,3,1,8,False\n"
    for content in (text.encode(), text.encode("utf-16")):
        Path("t.csv").write_bytes(content)
        table = read_table("t.csv").frame
        assert [column.dtype.kind in "if" for _, column in table.items()] == [False, True, True, False, False]
        assert table["zip"].fillna("").tolist() == ["80331", "", "01067"]
        assert table["m"].fillna("").tolist() == ["", "007", "8"]
    Path("t.csv").write_text("a,b\n1.50,01\n")
    assert read_table("t.csv", ["x", "a"]).copy_columns(["a", "b"]) == {"a": ["1.50"], "b": ["01"]}


def test_files_are_read_with_the_decimal_mark_of_training():
    """Also whole prices, which show none; and the target."""
    rows = "1.234,5;2.469\n12.345;24.690\n2.500;5.000\n1.000,25;2.000,5\n" * 5
    X, y, _ = read(f"price;y\n{rows}", task="regression")
    encoder = TableEncoder().fit(X)
    assert encoder.transform(X)[:4, 0].tolist() == [1234.5, 12345, 2500, 1000.25]
    assert y.y[:4].tolist() == [2469, 24690, 5000, 2000.5]
    _, classes, _ = read("x;y\n1,5;1,0\n2,5;2\n3,5;1\n4,5;2,00\n")
    assert (classes.labels, classes.y.tolist()) == (("1", "2"), [0, 1, 0, 1])
    Path("new.csv").write_text("x;y\n1,5;1,0\n2,5;2\n")
    assert read_table("new.csv", decimal=",").read_targets({"target": "y"}, ["1,0", "2"]).y.tolist() == [0, 1]
    notes = {"target": "y", **X.marks._asdict()}
    columns = from_plain(encoder.columns_)
    Path("new.csv").write_text("price;y\n12.345;24.690\n2.500;5.000\n")
    new = read_table("new.csv", decimal=",")
    assert new.encode(columns).x[:, 0].tolist() == [12345, 2500]
    assert new.read_targets(notes, ()).y.tolist() == [24690, 5000]
    Path("new.csv").write_text("price;y\n3.5;1.5\n")
    for call in (lambda table: table.encode(columns), lambda table: table.read_targets(notes, ())):
        with pytest.raises(ValueError, match=r"new\.csv holds .* write all with decimal commas, as in 12,5, and"):
            call(read_table("new.csv", decimal=","))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "table.csv cannot be read as a table (No columns to parse from file)"),
        ("a,y\n", {}, "table.csv has no rows below the names of its columns"),
        ("a,y\n1,2,0\n3,4,1\n", {}, "table.csv cannot be read as a table (Length of header"),
        ("a,y\n1,0\n1,2,0\n", {}, "Expected 2 fields in line 3, saw 3); give a Parquet file, or CSV in UTF-8"),
        (b"\x81,y\n1,2\n", {}, "table.csv cannot be read as a table ('charmap' codec"),
        ("a;b,y\n1;2,0\n2;3,1\n", {}, "the columns of table.csv may be separated by commas or semicolons; put quotes"),
        ("a,y\n1,0\n", {"target": None}, "table.csv needs --target, the column to predict; choose from 'a', 'y'"),
        (
            "a,y\n1,0\n",
            {"target": "b"},
            "table.csv has no column 'b' for --target; choose from 'a', 'y'",
        ),
        ("a,y\n1,0\n", {"ignore": ["b"]}, "table.csv has no column 'b' for --ignore"),
        ("a,y\n1,0\n", {"group": "b"}, "table.csv has no column 'b' for --test-group"),
        ("Rent,y\n1,0\n", {"categories": ["rent"]}, "for --categories; choose from 'Rent', 'y' (did you mean 'Rent'?)"),
        ("a,y\n1,\n2,\n", {}, "table.csv has no value in column 'y', the target"),
        ("a,y\n1,7\n2,7\n", {}, "column 'y' of table.csv holds 7 in every row; give a target whose values differ"),
        ("a,y\n1,7.5\n2,7.5\n", {}, "column 'y' of table.csv holds 7.5 in every row; give a target"),
        ("a,y\n1,0.5\n2,-inf\n", {}, "table.csv holds '-inf' in row 2 of column 'y'"),
        (
            "a,y\n1,x\n2,1\n",
            {"task": "regression"},
            "--task regression needs plain numbers, as in 1234.5",
        ),
        (
            "a,y\n" + "".join(f"{-k},n{k}\n" for k in range(42)),
            {},
            "table.csv holds 'n0' in row 1 of column 'y' (rows count from 1, without the header), one of 42 different",
        ),
        (
            "a,y\n" + "".join(f"{-k},{k}{'+' * (k == 9)}\n" for k in range(42)),
            {},
            "'9+' in row 10 of column 'y' (rows count from 1, without the header), which is not a number; --task",
        ),
        (
            "a;y\n" + "".join(f"{-k},5;{'on request' if k == 9 else f'1.{k:03},50'}\n" for k in range(42)),
            {},
            "'on request' in row 10 of column 'y' (rows count from 1, without the header), which is not a number; --ta",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(text, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(text, **{"target": "y", **options})


@pytest.mark.parametrize(("library", "file"), [("pandas", "p.csv"), ("pyarrow", "p.parquet")])
def test_without_its_library_a_table_says_what_to_install(monkeypatch, library, file):
    write_letters(file)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{file} needs pandas and pyarrow .* pip install -e '.\[tables\]'"):
        read_table(file)
    Path("t.parquet").write_text("nonsense")
    with pytest.raises((ValueError, ImportError), match=r"t\.parquet"):
        read_table("t.parquet")


def test_a_table_that_does_not_fit_the_network_is_refused(capsys):
    Path("t.csv").write_text("a,k,y\n" + "1,p,0\n2,q,1\n3,p,0\n" * 9)
    words = ["train", "t.csv", "--target", "y", "--epochs", 0, "--members", 1, "--bins", 0, "--save", "net"]
    assert run_command(capsys, *words)[0] == 0
    for text, message in (
        ("a,y\n1,0\n", "new.csv lacks columns that the network was trained on: 'k'; it has the columns 'a', 'y'"),
        ("a,k\n1,p\n", "new.csv has no column 'y' for the target; choose from 'a', 'k'"),
        (
            "a,k,y\n1,p,5\n",
            "new.csv holds '5' in row 1 of column 'y' (rows count from 1, without the header), whi",
        ),
        ("a,k,y\nheavy,p,0\n", "new.csv holds 'heavy' in row 1 of column 'a'"),
    ):
        Path("new.csv").write_text(text)
        status, _, err = run_command(capsys, "evaluate", "net", "new.csv")
        assert status == 1
        assert err.startswith(f"xpnet: error: {message}")


# Cells

ISO_DAYS = [19723, 19752, 19753]  # 2024-01-01, 2024-01-30, 2024-01-31


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.5", "2", ""], [1.5, 2, np.nan]),
        (["1.234,5", "2", "7,25"], [1234.5, 2, 7.25]),
        (["0,123", "1,234", "2,345"], [0.123, 1.234, 2.345]),
        (["1,234.5", "2,000", "3"], [1234.5, 2000, 3]),
        (["1 234", "2 000 000", "3"], [1234, 2e6, 3]),
        (["1'234", "-5", "−3"], [1234, -5, -3]),
        (["1.234", "2.345", "3.456"], [1.234, 2.345, 3.456]),
        (["12%", "3.5 %", "?"], [12, 3.5, np.nan]),
        (["1e3", "-", "2E-1"], [1000, np.nan, 0.2]),
        (["True", "FALSE", ""], [1, 0, np.nan]),
        (["2024-01-01", "2024-01-30", "2024-01-31"], ISO_DAYS),
        (["01.01.2024", "30.1.2024", "31.01.2024"], ISO_DAYS),
        (["1/1/2024", "1/30/2024", "1/31/2024"], ISO_DAYS),
        (["1/1/24", "30/1/24", "31/1/24"], ISO_DAYS),
        (["1 Jan 2024", "30 Jan 2024", "31 Jan 2024"], ISO_DAYS),
        (["2024-01", "2024-01-30", "2024-01-31"], ISO_DAYS),
        (["1 May 2024", "2 May 2024", "3 May 2024"], [19844, 19845, 19846]),
        (["1.1.2024 12:00:00.0000009", "2.1.2024 12:00:00.0"], [19723.5, 19724.5]),
        (["January 1, 2024", "January 30, 2024", "January 31, 2024"], ISO_DAYS),
        (["2024-01-01T02:00:00+02:00", "2024-01-30T00:00Z", "2024-01-30 23:00:00-0100"], ISO_DAYS),
        (["2024/01/01 00:00", "2024/01/30 12:00", "."], [19723, 19752.5, np.nan]),
        (
            ["14:30", "9:05:30", "125:00", "2:30 PM", "2:30pm", "12:05am", "NA"],
            [52200, 32730, 450000, 52200, 52200, 300, np.nan],
        ),
        (["2024/01/01", "2024/01/30", "N/A"], [19723, 19752, np.nan]),
    ],
    ids=str,
)
def test_texts_that_are_numbers_or_dates(cells, numbers):
    numbers, median = np.array(numbers), np.nanmedian(numbers)
    filled = np.where(np.isnan(numbers), median, numbers)
    X, _, _ = read("\n".join(["x\ty", *(f'"{cell}"\t{k}' for k, cell in enumerate(cells))]))
    for table in (X, frame(x=[cell or None for cell in cells])):
        np.testing.assert_allclose(TableEncoder().fit_transform(table)[:, 0], filled, rtol=1e-12)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["01067", "10115", "80331"], "category"),
        (["01067", "1.5", "2"], "number"),
        (["01067", "A12", "A13", "7"], "category"),
        (["0", "10", "-01"], "number"),
        (["00", "10", "11"], "category"),
        (["14:75", "3:2", "1:02:3"], "category"),
        ([time(14, 30), time(9, 5)], "number"),
        ([2**53, 1, 2], "number"),
        ([Decimal("1.5"), Decimal(2)], "number"),
        ([date(2024, 1, 1), date(2024, 1, 2)], "date"),
        (["1x" * 10**6, "a", "b"], "category"),
        (["9" * 20, "8"], "number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cells_are(cells, kind):
    assert TableEncoder().fit(frame(a=cells * 2)).columns_[0]["kind"] == kind


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([None, None], r"X has no column to predict from \('a': left out: no values\)"),
        ([1.0, 1.0], "'a': left out: always '1'"),
        ([1.0], r"Found array with 1 sample\(s\) while a minimum of 2 is required"),
        (["p", "q", "r"], "'a': left out: another value in every row"),
        ([["p"], ["q"]], "'a': left out: another value in every row"),
        (["5 kg", "5 kg"], "'a': left out: always '5 kg'"),
    ],
    ids=str,
)
def test_a_table_that_tells_no_rows_apart_is_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(frame(a=cells))


def test_texts_that_are_missing_in_a_file_are_so_elsewhere_unless_training_had_them():
    """Values of a DataFrame may mean Namibia."""
    X, _, _ = read("a,y\np,0\np,1\nq,2\nNA,3\nnull,4\np,5\np,6")
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["a=p", "a (missing)", "a (rare)"]
    assert encoder.transform([{"a": "NULL"}, {"a": "z"}]).tolist() == [[0, 1, 0], [0, 0, 1]]
    encoder = TableEncoder().fit(frame(a=["NA", "DE", "NA", "DE", None, None]))
    assert encoder.transform({"a": "NA"}).tolist() == [[0, 1, 0]]


def learn(cells, new):
    """Return what is learnt, and the inputs of new rows, which are those of each row alone, by their names."""
    table = frame(a=cells, n=range(len(cells)))
    encoder = TableEncoder().fit(table)
    with warnings.catch_warnings(action="error"):
        encoder.transform(table)  # it knows all that training had
    x = encoder.transform(frame(a=new, n=range(len(new))))
    rows = [encoder.transform(frame(a=new[k : k + 1], n=[k])) for k in range(len(new))]
    np.testing.assert_array_equal(np.concatenate(rows), x)
    described = [column.describe() for column in from_plain(encoder.columns_) if column.name == "a"]
    return described, dict(zip(encoder.get_feature_names_out()[:-1], x.T.tolist()))


@pytest.mark.parametrize(
    ("cells", "new", "described", "inputs"),
    [
        (["550公尺", "12 公尺"], ["7公尺", ""], ["number, in 公尺; missing values become 281"], {"a": [7, 281]}),
        (["$1,200", "-$5.5", "$ 7"], ["$7"], ["number, as in 1,234.5, in $; missing values become 7"], {"a": [7]}),
        (["Rs 8", "Rs 7", "?"] * 2, ["Rs 7"], ["number, in Rs; missing values become 7.5, and are marked"], 2),
        (["1:2", "Room 5", "Room 6"] * 2, ["Room 5"], ["category: '1:2', 'Room 5', 'Room 6'"], 3),
        (["4wd", "fwd", "4wd", "5"] * 2, ["4wd"], ["category: '4wd', '5', 'fwd'"], 3),
        (
            ["52", "57", "84", "70", "70", "84+", "120+", "DQ", "< 5"] * 2 + ["7 a", "7 b"],
            ["84", "84+", "DQ", "< 5", "9 <", "new", "7 a", 5, ""],
            [
                "number; missing values and other texts become 70, and are marked",
                "texts beside or in place of these: '+', '<', 'DQ', rare or unknown",
            ],
            {
                "a": [84, 84, 70, 5, 9, 70, 70, 5, 70],
                "a (missing)": [0, 0, 1, 0, 0, 1, 1, 0, 1],
                "a=+": [0, 1, 0, 0, 0, 0, 0, 0, 0],
                "a=<": [0, 0, 0, 1, 1, 0, 0, 0, 0],
                "a=DQ": [0, 0, 1, 0, 0, 0, 0, 0, 0],
                "a (rare)": [0, 0, 0, 0, 0, 1, 1, 0, 0],
            },
        ),
        (
            ["7 kg", "8 kg", "9", "9"],
            ["7 kg", "9"],
            [
                "number, in kg; missing values and other texts become 8.5",
                "texts beside or in place of these: 'no unit'",
            ],
            {"a": [7, 9], "a=no unit": [0, 1]},
        ),
        (
            ["soon", "31.1.2024", "1.2.2024", "soon", "3.2.2024"],
            ["soon", "1.2.2024"],
            [
                "date as in 31.12.2024: days since 1970, place in the year, place in the week; "
                "missing values and other texts become 2024-02-01, and are marked",
                "texts beside or in place of these: 'soon'",
            ],
            7,
        ),
        (
            [np.inf, 1.0, 2.0, np.inf],
            [1, np.inf],
            [
                "number; missing values and other texts become 1.5, and are marked",
                "texts beside or in place of these: 'inf'",
            ],
            {"a": [1, 1.5], "a (missing)": [0, 1], "a=inf": [0, 1]},
        ),
        (
            ["1.5", "2.5", "2", 3.428, "4.5", "7,5", "7,5"],
            ["7,5", "1.5", 3.428],
            2,
            {"a": [7.5, 1.5, 3.428], "a=decimal ,": [1, 0, 0]},
        ),
        (["1" * 400, "1", "2"], ["3", "1" * 400], 2, {"a": [3, 1.5], "a (missing)": [0, 1], "a (rare)": [0, 1]}),
        (["1e999", "1", "2"], ["3", "1e999"], 2, {"a": [3, 1.5], "a (missing)": [0, 1], "a (rare)": [0, 1]}),
        (["A", "A", "B", "B", "B", "7", 7, "1.5", 1.5], ["7", 1.5], ["category: '1.5', '7', 'A', 'B'"], 4),
        ([["p"], ["q"]] * 2, [["p"]], ["category: \"['p']\", \"['q']\""], {"a=['p']": [1], "a=['q']": [0]}),
        (["2024-12-31", "31.12.2023", "30.12.2023"], ["30.12.2023"], 2, 7),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:X has values that training did not have")
def test_columns_that_mix(cells, new, described, inputs):
    learnt, x = learn(cells, new)
    assert described in (learnt, len(learnt))
    assert inputs in (x, len(x))


@pytest.mark.parametrize(
    ("columns", "message", "first"),
    [
        ({"a": ["a, b", "1,234", "5,678"]}, "X holds '1,234' in row 2 .*, which is taken as 1234; write all", 3456),
        ({"a": ["1,234", "5,678"]}, "X holds '1,234' in row 1 of column 'a' .*, which is taken as 1234; write", 1234),
        (
            {"a": ["2,25", "3,5"], "b": ["1.5", "2.5"], "c": ["1.5", "1,234.5"]},
            "X holds '2,25' in row 1 of column 'a' .*, and other columns have decimal points, as in 12.5; write all",
            2.25,
        ),
        ({"a": ["1/2/2024", "3/4/2024"]}, "'1/2/2024' in row 1 .*, which is read as in 12/31/2024; write dates", 19724),
        ({"a": ["1/2/2024", "3/4/2024"], "b": ["31.1.24", "1.1.24"]}, "is read as in 31/12/2024; write", 19754),
        (
            {"a": ["2024-01-01T00:00", "2024-01-02T00:00Z"]},
            "with and without a time zone in .*; write",
            19723,
        ),
        ({"a": [datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC)]}, "with and without a time zone", 19723),
    ],
    ids=str,
)
def test_what_can_be_read_in_two_ways_is_said(columns, message, first):
    with pytest.warns(UserWarning, match=message):
        encoder = TableEncoder().fit(frame(**columns))
    for rows in (slice(None), slice(1)):
        assert encoder.transform(frame(**columns)[rows])[0, 0] == first


def test_durations_are_days():
    import pandas

    table = pandas.DataFrame({"a": pandas.to_timedelta(["1 day", "36 hours"])})
    assert TableEncoder().fit_transform(table).tolist() == [[1], [1.5]]


def test_names_are_made_different():
    """Of columns and of inputs, as pandas does; those without a name are left out."""
    X, targets, _ = read("a,y, y,Unnamed: 3,b\n1,0,2,5,0\n2,1,4,6,1\n")
    encoder = TableEncoder().fit(X)
    assert targets.y.tolist() == [0, 1]
    assert {c["name"]: c.get("reason") for c in encoder.columns_} == {
        "a": None,
        "y.1": None,
        "Unnamed: 3": "it has no name, as numbers of rows in files of pandas",
        "b": "it equals the target in every row",
    }
    X, _, _ = read("y,b\n0,0\n1,1\n")
    with pytest.raises(ValueError, match=r"column to predict from \('b': left out: it equals the target in every row"):
        TableEncoder().fit(X)
    table = frame(a=[1, None, 3], b=[1, 2, 3], c=[4, 5, 6], d=range(3)).set_axis(["a", "a (missing)", "a", ""], axis=1)
    encoder = TableEncoder().fit(table)
    assert encoder.get_feature_names_out().tolist() == ["a", "a (missing)", "a (missing).1", "a.1"]
    assert encoder.transform(table)[:, 3].tolist() == [4, 5, 6]


GERMAN = ["1.234.567", "12.345", "2.500", "7.000.000"]  # whole numbers, with points for thousands


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        ({"a": GERMAN}, [1234567, 12345, 2500, 7000000]),
        ({"a": ["1.234", "2.500", "3.100", "7"], "b": ["1,5", "2", "3", "4"]}, [1234, 2500, 3100, 7]),
        ({"a": ["1.234,5", "2.500", "3,125", "7"]}, [1234.5, 2500, 3.125, 7]),
        ({"a": ["1,234", "2,500", "3,100", "7"], "b": ["1.5", "2", "3", "4"]}, [1234, 2500, 3100, 7]),
        ({"a": ["1.234", "12.345", "2.500", "7"]}, [1.234, 12.345, 2.5, 7]),
        ({"a": ["1.234 %", "12,5%", "2.500%", "7%"]}, [1234, 12.5, 2500, 7]),
        ({"a": ["1'234", "12'345.5", "2.500", "7"]}, [1234, 12345.5, 2.5, 7]),
    ],
    ids=str,
)
def test_rows_are_read_alike_with_and_without_the_others(columns, numbers):
    """The decimal mark that training found is used again, where a new table does not show it."""
    table = frame(**columns, n=range(4), x=[0.5, 3.428, 1.5, 2.5])
    encoder = TableEncoder().fit(table)
    whole = encoder.transform(table)
    assert whole[:, 0].tolist() == numbers
    for rows in ([0], [1], [2], [3], [0, 2], [3, 0]):
        np.testing.assert_array_equal(encoder.transform(table.iloc[rows]), whole[rows])


@pytest.mark.parametrize(
    ("trained", "new", "message"),
    [
        (
            GERMAN,
            "3.5",
            "X holds '3.5' in row 1 of column 'a' (rows count from 1, without the header), unlike",
        ),
        (["1,5", "2,5"], "1,234.5", "write all with decimal commas, as in 12,5, and without"),
        (["1,5", "2,5"], "3.428", "unlike other numbers, here or in training; write all with decimal"),
        (["1.5", "2.5"], "3,5", "write all with decimal points, as in 12.5, and without"),
        (["1.5", "2.5"], "3,428", "unlike other numbers, here or in training; write all with decimal"),
        (["1", "2"], "3,428", "unlike other numbers, here or in training; write all with decimal"),
        ([3.428, 2.5], "1.234 ", None),
        (
            ["1,5", "2,5"],
            "12%",
            "X holds '12%' in row 1 of column 'a' (rows count from 1, without the header), which is not a",
        ),
        (["1,5", "2,5"], "x", "which is not a number; it held those in training"),
        (
            ["1.1.2024", "31.1.2024"],
            "now",
            "holds 'now' in row 1 of column 'a' (rows count from 1, without",
        ),
        (["2024-01-05", "2024-02-05"], "today", "which is not a date as in 2024-12-31"),
        (
            ["2024-01-05", "2024-02-05"],
            3,
            "X holds '3' in row 1 of column 'a' (rows count from 1, without the header), which is not a date",
        ),
    ],
    ids=str,
)
def test_what_is_not_written_as_in_training_is_refused(trained, new, message):
    encoder = TableEncoder().fit(frame(a=trained))
    if message is None:
        assert encoder.transform(frame(a=[new])).tolist() == [[float(new)]]
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        encoder.transform(frame(a=[new]))


def test_real_numbers_are_not_read_as_texts():
    """Whatever the decimal mark of texts in training."""
    encoder = TableEncoder().fit(frame(a=GERMAN, b=[0.5, 1.5, 2.5, 3.5]))
    np.testing.assert_array_equal(encoder.transform(frame(a=[3.428], b=[3.428])), [[3.428, 3.428]])
    np.testing.assert_array_equal(encoder.transform(frame(a=["3.428"], b=["3.428"])), [[3428, 3428]])
    np.testing.assert_array_equal(encoder.transform(frame(a=[3.428, "3.428"], b=[1, 2])), [[3.428, 1], [3428, 2]])


@pytest.mark.parametrize(
    ("trained", "new", "accepted"),
    [
        (["25/12/2024", "03/04/2024"], ["03/04/2024", "04/25/2024"], [0]),
        (["2024-01-01T00:00Z", "2024-02-01T00:00Z"], ["2024-01-01T00:00Z", "2024-01-01T00:00"], [0]),
        ([1.5, 2.5], ["1.234", "1,5"], [0, 1]),
        ([1.5, 2.5], ["2", "1,5"], [0, 1, "both"]),
        (["1,5", "2,5"], [3.5, "4.5"], [0]),
        (["84,5", "90+", "90+", "7"], [3.428, "90+"], [0, 1, "both"]),
        (["84,5", "90+", "90+", "7"], [3.428, math.inf], [0, 1, "both"]),
        (["1,234.5", "5", "7"], [3.428, "1,234"], [0, 1, "both"]),
        (["52", "57", "84+", "84+"], ["1,5", "2.5"], [1]),
        (["52 kg", "57 kg", "60 kg", "1,5", "1,5"], ["1,5", "52 kg"], [0, 1, "both"]),
        (["52", "57", "84+", "84+"], ["1,234", "2.5"], [1]),
        ([1.5, 1.5, "a, b", "a, b", "c"], [1.5, "a, b"], [0, 1, "both"]),
        ([timedelta(days=1), timedelta(hours=6)], [timedelta(days=2), 3], [0, 1, "both"]),
        ([True, False], ["true", "0"], [0, 1, "both"]),
        (["a", "b", "a", "b", "1"], ["2", "a"], [0, 1, "both"]),
        (["now", "now", "later", "later"], ["now", "later"], [0, 1, "both"]),
    ],
)
@pytest.mark.filterwarnings("ignore:X has values that training did not have", "ignore:.* is taken as 1.5")
def test_no_row_changes_how_another_is_read(trained, new, accepted):
    """Together, they are refused or read as one by one."""
    encoder = TableEncoder().fit(frame(a=trained))
    alone: dict[Any, Any] = {}
    for k, rows in {0: new[:1], 1: new[1:], "both": new}.items():
        with suppress(ValueError):
            alone[k] = encoder.transform(frame(a=rows))
    assert [*alone] == accepted
    if "both" in alone:
        np.testing.assert_array_equal(alone["both"], np.concatenate([alone[0], alone[1]]))


# Rows without pandas

NOON = datetime(2024, 1, 31, 12)
VALUES = [
    ([1.5, None, 2.5, 7], [1, 2.5, np.float32(0.5), np.int64(3), None, np.nan, True, Decimal("0.5"), "4"]),
    ([1.5, 2.0, 2.5], ["3", " 2.5 ", 7]),
    (GERMAN, ["1.234", "7", None]),
    (["1 kg", "2 kg", "2.5 kg", "DQ", "DQ"], ["7 kg", "DQ", "x", 3, None]),
    ([True, False, True], [np.bool_(True), False, 1, "true", "FALSE", None]),
    ([8001, 8050, 8001, 8050, 7], ["8001", 8050, 8050.0, None, 5]),
    (["a", "b", "a", "b", "c"], ["a", " b", "B", None, "", np.str_("a"), 7]),
    ([NOON, datetime(2024, 2, 1)], [NOON, date(2024, 3, 1), np.datetime64("2024-03-01T06:00"), None, "2024-05-05"]),
    ([NOON.replace(tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)], [NOON.replace(tzinfo=timezone(timedelta(hours=2)))]),
    (["31.1.2024 12:30", "1.2.2024 0:00"], ["02.02.2024 23:59", "3.2.2024 1:05", None, "?"]),
    (["2024-01-31", "2024-02"], ["2024-03-01 06:00:00,5", "2024-03", "9999-12-31"]),
    (["2024-01-31T12:00Z", "2024-02-01T12:00Z"], ["2024-03-01 06:00:00.123456789 +0200", "0001-01-01T00:00+02:00"]),
    ([timedelta(days=1), timedelta(hours=6)], [timedelta(days=2), np.timedelta64(36, "h"), None]),
]


@pytest.mark.parametrize(("trained", "new"), VALUES, ids=range(len(VALUES)))
@pytest.mark.filterwarnings("ignore:X has values that training did not have")
def test_a_row_is_read_alike_in_every_container(trained, new, monkeypatch):
    import pandas

    new = [*new, pandas.NA, pandas.NaT] if None in new else new
    table = frame(a=trained, n=range(len(trained)))
    encoder = TableEncoder(["a"] if trained[0] == 8001 else []).fit(
        table if trained[0] != NOON else table.infer_objects()
    )
    whole = encoder.transform(pandas.DataFrame({"n": 0, "a": pandas.Series(new, dtype=object)}))
    rows = [{"n": 0, "a": value, "unknown": "x"} for value in new]
    for k, row in enumerate(rows):
        for one in (row, pandas.Series(row, dtype=object), frame(n=[0], a=[new[k]])):
            np.testing.assert_array_equal(encoder.transform(one), whole[k : k + 1], str(row))
    monkeypatch.setitem(sys.modules, "pandas", None)
    np.testing.assert_array_equal(encoder.transform(rows), whole)
    np.testing.assert_array_equal(encoder.transform(rows[0]), whole[:1])


def test_the_row_of_a_table_with_equal_names():
    table = frame(a=[1, 2, 3], b=[4, 6, 5]).set_axis(["a", "a"], axis=1)
    encoder = TableEncoder().fit(table)
    np.testing.assert_array_equal(encoder.transform(table[:1]), [[1, 4]])


def test_a_value_is_unseen_if_it_is_for_a_part():
    parts = NumberColumn("a", 1.0, missing=False), NumberColumn("a", 1.0, missing=True)
    encoding = Encoding(parts)
    assert encoding.encode(encoding.open_rows([{"a": None}, {"a": 3}], "X")).unseen.tolist() == [[True], [False]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"A": 1, "k": "p"},
            "X lacks columns that the network was trained on: 'a'; it has the columns 'A', 'k'",
        ),
        ([{"a": 1, "k": "p"}, {"a": 1}], "X lacks columns that the network was trained on: 'k'"),
        ({"a": [1, 2], "k": ["p", "q"]}, "X is a dict of columns; give pandas.DataFrame(X), or a dict for each row"),
        ({"a": "heavy", "k": "p"}, "X holds 'heavy' in row 1 of column 'a'"),
        ({"a": np.inf, "k": "p"}, "X holds 'inf' in row 1 of column 'a'"),
        ({"a": np.ma.masked, "k": "p"}, "X is a masked array, or holds one"),
    ],
    ids=str,
)
def test_a_row_that_does_not_fit_is_refused(row, message):
    encoder = TableEncoder().fit(frame(a=[1, 2, 3, 4], k=["p", "q", "p", "q"]))
    with pytest.raises(ValueError, match=re.escape(message)):
        encoder.transform(row)


# Categories

DAYS = [datetime(2024, 1, 1), datetime(2024, 1, 2, 12)]


def to_arrow(table):
    from pyarrow import Table

    return Table.from_pandas(table)


def in_arrow(table):
    """With columns of pandas that Arrow keeps, also dictionaries."""
    from pandas import ArrowDtype

    return to_arrow(table).to_pandas(types_mapper=ArrowDtype)


@pytest.mark.parametrize("wrap", [copy, to_arrow, in_arrow])
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

    plain = pandas.DataFrame({"a": cells * 3})
    declared = plain.assign(a=pandas.Categorical(plain["a"], categories=[*plain["a"].dropna().unique()[::-1]]))
    encoder = TableEncoder().fit(wrap(declared))
    assert encoder.columns_ == TableEncoder(["a"]).fit(plain).columns_
    assert encoder.columns_[0]["values"] == [*values]
    for table in (plain, wrap(declared)):
        np.testing.assert_array_equal(encoder.transform(table), encoder.transform(declared))


def test_declared_categories_do_not_show_how_numbers_are_written():
    columns = TableEncoder(["k"]).fit(frame(k=["1,5", "1,7"] * 2, a=["1.5", "2.5"] * 2)).columns_
    assert (columns[0]["values"], columns[1]["decimal"]) == (["1,5", "1,7"], ".")
    X, _, _ = read("k,a,y\n" + '"1,5",1.5,1\n"1,7",2.5,2\n' * 2, texts=["k"], categories=["k"])
    assert TableEncoder().fit(X).columns_[0]["values"] == ["1,5", "1,7"]


@pytest.mark.parametrize(
    ("trained", "cells", "places"),
    [
        (["1", "2", "a"], [1.0, "1.0", "2", "3.0", "1.00"], [0, 0, 1, None, None]),
        (["1.0", "2.0", "a"], [1, 1.0, "2", "2.0"], [0, 0, 1, 1]),
        (["1", "1.0", "a"], ["1", "1.0", 1.0], [0, 1, 0]),
        ([" b", "b ", "a"], ["b", "a", None], [1, 0, None]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:X has values that training did not have")
def test_a_value_is_found_as_files_of_pandas_write_it(trained, cells, places):
    """A column of whole numbers has .0 where a value is missing."""
    x = TableEncoder(["a"]).fit(frame(a=trained * 2)).transform(frame(a=cells))
    assert [row.argmax() if row.any() else None for row in x] == places


@pytest.mark.filterwarnings("always")
def test_values_that_training_did_not_know():
    """Unknown values are rare ones, and are counted where there were none."""
    known = frame(rare=[*"abc", *"d" * 9], sex=[*"mf" * 6], n=range(12))
    encoder = TableEncoder().fit(known)
    inputs = {name: k for k, name in enumerate(encoder.get_feature_names_out())}
    message = r"^X has values that training did not have, missing or unknown, in 'sex' \(2\), 'n' \(1\)$"
    with pytest.warns(UserWarning, match=message):
        x = encoder.transform(frame(rare=["e", "a", None, "d"], sex=["?", "m", "x", "f"], n=[1, None, 2, 3]))
    assert x[:, inputs["rare (rare)"]].tolist() == [1, 1, 1, 0]
    assert x[:, [inputs["sex=f"], inputs["sex=m"]]].tolist() == [[0, 0], [0, 1], [0, 0], [1, 0]]
    assert x[1, inputs["n"]] == 5.5


def test_what_is_learnt_is_what_scikit_learn_learns():
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    rng, n = np.random.default_rng(0), 300
    table = pandas.DataFrame({"a": rng.normal(size=n), "k": rng.choice([*"abcdefgh"], n, p=[0.3, *[0.1] * 7])})
    table.loc[rng.choice(n, 20), "a"] = np.nan
    other = table.assign(k=rng.choice([*"abcxyz"], n))
    for options in ({"min_frequency": 30}, {"min_frequency": 0.1, "max_categories": 4}):
        hot = OneHotEncoder(**options, handle_unknown="infrequent_if_exist", sparse_output=False)
        theirs = make_column_transformer((SimpleImputer(strategy="median", add_indicator=True), ["a"]), (hot, ["k"]))
        mine = TableEncoder(**options).fit(table)
        theirs.fit(table)
        for rows in (table, other):
            np.testing.assert_array_equal(mine.transform(rows), theirs.transform(rows))
    many = TableEncoder().fit(frame(v=[f"v{k:04}" for k in range(100)] * 50))
    assert len(many.get_feature_names_out()) == 40


# Bins


def test_what_has_bins():
    """Quantiles, as many bins as there are values for, and dates; two texts are -1 and 1, and unknown ones 0."""
    import pandas

    n = 321
    table = pandas.DataFrame(
        {
            "mass": np.arange(n)[::-1],
            "children": np.arange(n) % 4,
            "rain": np.where(np.arange(n) < 300, 0.0, np.arange(n)),
            "truth": np.arange(n) % 2 == 0,
            "day": pandas.to_datetime("2024-01-01") + pandas.to_timedelta(np.arange(n) // 80, unit="D"),
            "sex": np.where(np.arange(n) % 3 == 0, "m", "f"),
            "kind": np.array(["a", "b", "c"])[np.arange(n) % 3],
            "odd": ["a rare one", *np.where(np.arange(n - 1) % 2, "a", "b")],
        }
    )
    encoder = TableEncoder(bins=32).fit(table)
    columns = {column["name"]: column for column in encoder.columns_}
    assert columns["mass"]["bins"] == {"scale": 160.0, "edges": list(range(0, n, 10))}
    assert columns["children"]["bins"]["edges"] == [0, 1, 2, 3]
    assert columns["rain"]["bins"]["scale"] == 160.0  # half of the range: the quartiles are equal
    assert columns["truth"]["bins"]["edges"] == []
    assert encoder.get_feature_names_out()[32:].tolist() == [
        "mass (310 to 320)",
        *("children (scaled)", "children (0 to 1)", "children (1 to 2)", "children (2 to 3)"),
        *("rain (scaled)", "rain (0 to 300)", "rain (300 to 310)", "rain (310 to 320)", "truth (scaled)"),
        *("day (scaled)", *(f"day (2024-01-0{k} to 2024-01-0{k + 1})" for k in range(1, 5))),
        *(f"day ({wave}, {part})" for wave in ("year", "week") for part in ("sine", "cosine")),
        *("sex=m", "kind=a", "kind=b", "kind=c", "odd=a", "odd=b", "odd (rare)"),
    ]
    new = table.head(3).assign(day=["2023-12-31", "2024-01-02 12:00", None], sex=["m", "f", "?"])
    with pytest.warns(UserWarning, match=r"did not have, missing or unknown, in 'day' \(1\), 'sex' \(1\)$"):
        x = dict(zip(encoder.get_feature_names_out(), encoder.transform(new).T))
    assert x["sex=m"].tolist() == [1, -1, 0]
    assert [x[f"day (2024-01-0{k} to 2024-01-0{k + 1})"].tolist() for k in (1, 2)] == [[-1, 1, 1], [0, 0.5, 1]]
    assert TableEncoder(bins=32).fit(table[["sex", "kind"]]).transform(table[["sex", "kind"]]).dtype == "float64"
    times = pandas.to_datetime("2024-01-01") + pandas.to_timedelta(np.arange(9), unit="ms")  # within a second
    names = TableEncoder(bins=8).fit(pandas.DataFrame({"at": times})).get_feature_names_out()
    assert len(set(names)) == 1 + 8 + 2 * 3
    far = encoder.transform(table.head(2).assign(mass=[1e300, -1e300]))
    assert far[:, 0].tolist() == [3, -3]


@pytest.mark.parametrize("bins", [0, 4])
def test_columns_are_learnt_from_their_rows_alone(bins):
    """Whatever stands in the others, such as those of a test; how values are written is told by all."""
    rows = [f"{k % 40},{1 + k % 28}.1.2024,{'abc'[k % 3]},{k % 9}{'+' * (k == 9)},{k}" for k in range(90)]
    other = [*rows[:60], *(f"{1000 * k},{1 + k % 28}.12.1900,z,{k % 9}+,{k}" for k in range(60, 90))]
    learnt = []
    for lines in (rows, other):
        X, _, _ = read("\n".join(["n,d,t,m,y", *lines]))
        learnt.append(TableEncoder(bins=bins).fit(X[:60]).columns_)
    assert learnt[0] == learnt[1]
    assert [column["kind"] for column in learnt[0]] == ["number", "date", "category", "number", "mark"]


# For scikit-learn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_frequency": 1.5}, "min_frequency=1.5 must be above 0 and below 1; or a number of rows, or"),
        ({"max_categories": 1}, "max_categories=1 must be a whole number of at least 2"),
        *(({"bins": n}, f"bins={n!r} must be ") for n in (1, True, 8.0)),
        ({"categories": "a, b"}, "categories='a, b' must be a sequence of names, as in ['a', 'b']"),
        ({"categories": ["sexes"]}, "categories names 'sexes', but X has the columns 'id', 'sex'"),
    ],
)
def test_a_wrong_parameter_of_the_encoder_is_refused(options, message):
    table = frame(id=range(4), sex=[*"mfmf"])
    encoder = TableEncoder().fit(table)
    before = {**vars(encoder), **options}
    with pytest.raises(ValueError, match=re.escape(message)):
        encoder.set_params(**options).fit(table)
    assert vars(encoder) == before


def test_the_encoder_of_a_network_without_columns(monkeypatch):
    net = Network([2, 1])
    with pytest.raises(ValueError, match="net has no columns in its notes; xpnet train writes them"):
        TableEncoder.from_network(net)
    for wrong in ("abc", [{"kind": "other"}], [{"kind": "number", "name": "a"}], [3]):
        net.notes = {"columns": wrong}
        with pytest.raises(ValueError, match="the columns in its notes are not valid: "):
            TableEncoder.from_network(net)
    with pytest.raises(TypeError, match="net is of type int; give a Network or an Ensemble"):
        TableEncoder.from_network(1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"TableEncoder needs pandas .* pip install -e '\.\[tables\]'"):
        TableEncoder().fit([[1.0], [2.0]])


@pytest.mark.slow
def test_the_encoder_passes_the_checks_of_scikit_learn():
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(TableEncoder(bins=4))


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.6])
@pytest.mark.parametrize("sizes", [[1, 1], [50, 3], [9, 9, 9], [1] * 30, [40, *[2] * 30]], ids=str)
def test_groups_of_any_size_leave_some_on_both_sides(sizes, fraction):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n, chosen = len(groups), []
    for seed in range(5):
        train, test = hold_out(np.zeros(n), fraction, groups=groups, seed=seed)
        assert not set(groups[train]) & set(groups[test])
        assert 0 < len(test) <= max(fraction * n + 1, min(sizes))
        assert sorted([*train, *test]) == [*range(n)]
        chosen.append(tuple(test))
    if min(sizes) == max(sizes) == 1 < len(sizes) - 1:
        assert len({*chosen}) == 5
