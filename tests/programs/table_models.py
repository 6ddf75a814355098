"""Random tables: TableEncoder beside its description, and what TableClassifier and TableRegressor promise."""

import copy
import importlib
import json
import random
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, r2_score

from xpnet import Ensemble, Network
from xpnet.estimators import TableClassifier, TableEncoder, TableRegressor
from xpnet.tables.columns import find_texts, from_plain
from xpnet.tables.reading import read_table

from .estimators import World, copy_by_pickle, draw_weights, observe
from .generate import Operation, register
from .own_estimators import CutOutput
from .world import Failure, Interrupted, assert_close, new_path, to_host

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)
TEXTS = ("text", "category", "declared number", "code")
KINDS = (*TEXTS, "unit", "marked", "number", "count", "truth", "date", "written date", "written number")
PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}  # in days
ROUNDING = 2e-5  # of float32, in which networks of tables compute


# Tables


def draw_table(r: random.Random, n: int | None = None, kinds: tuple[str, ...] = ()) -> Any:
    """Draw a table of pandas, whose first column holds numbers; of given kinds of columns, or of any."""
    import pandas

    n = n or r.choice([12, 24, 40])
    names = [name for name in KINDS if name != "written date" or r.random() < 0.2]  # which takes long to read
    kinds = kinds or ("number", *r.choices(names, k=r.randint(1, 4)))
    rng = np.random.default_rng(r.randrange(2**32))
    return pandas.DataFrame(
        {f"{kind} {k}": draw_column(rng, kind, n, r.random() < 0.4) for k, kind in enumerate(kinds)}
    )


def kinds_of(table: Any) -> tuple[str, ...]:
    return tuple(name.rpartition(" ")[0] for name in table.columns)


def draw_column(rng: np.random.Generator, kind: str, n: int, holes: bool) -> Any:
    """Draw a column that is never constant; some values are missing, but none of the first four, nor the last."""
    import pandas

    numbers = np.round(rng.normal(size=n), 2)
    numbers[:2] = -1.0, 1.0
    days = np.datetime64("2024-01-01", "s") + np.r_[0, 1, rng.integers(0, 700, n - 2)].astype("timedelta64[D]")
    mostly_0 = rng.random(n) < rng.choice([0.2, 1.0])  # and so are the quartiles
    twice = np.r_[0, 0, 1, 1, rng.integers(0, 10, n - 4)]
    values: Any = {
        "number": numbers,
        "written number": [f"{value:.2f}".replace(".", ",") for value in numbers],
        "unit": [f"{value:.2f} kg" for value in numbers],
        "marked": [("DQ" if k % 5 == 4 else f"{value:.2f}{'+' * (k % 5 == 3)}") for k, value in enumerate(numbers)],
        "count": rng.integers(0, 4, n) * mostly_0 + np.arange(n) // (n - 1),
        "text": [("cat", "dog", "eel", "cat", "dog", "eel", "cat", "dog", "eel", "one of its kind")[k] for k in twice],
        "category": [("sea", "land")[k % 2] for k in range(n)],
        "declared number": np.array([8001.0, 8050.0, 2.5])[np.arange(n) % 3],
        "code": [("01067", "80331", "10115")[k % 3] for k in twice],
        "truth": np.arange(n) % 3 == 0,
        "date": days,
        "written date": [*(f"{day:%d.%m.%Y}" for day in days.tolist()[:-1]), "31.12.2024"],
    }[kind]
    values = np.array(values, object) if isinstance(values, list) else values
    if holes and kind not in ("count", "truth"):
        values[rng.choice(np.arange(4, n - 1), 3, replace=False)] = None
    return pandas.Categorical(values) if kind in ("category", "declared number") else values


def list_containers(table: Any) -> list[Callable[[Any], Any]]:
    """List the containers that keep the cells of a table, and what is declared of them."""
    import pyarrow

    others = []
    if find_spec("polars") and "declared number" not in kinds_of(table):
        others = [importlib.import_module("polars").from_pandas]
    to_arrow = partial(pyarrow.Table.from_pandas, preserve_index=False)
    return [to_arrow, lambda table: table.set_axis(range(7, 7 + len(table))), copy.copy, *others]


# The encoder


def encode(known: Any, new: Any, kind: str, bins: int) -> np.ndarray:
    """Encode a column as docs/use/table-columns.md describes it, (n, n_inputs)."""
    if kind in TEXTS:
        return encode_texts(*([show_cell(cell) for cell in column] for column in (known, new)), bins)
    if kind == "marked":
        return encode_marked([*known], [*new], bins)
    known, new = (to_numbers(column, kind) for column in (known, new))
    present = known[~np.isnan(known)]
    if present.min() == present.max() and len(present) == len(known):
        return np.empty((len(new), 0))
    median = np.median(present)
    filled = np.where(np.isnan(new), median, new)
    columns = [filled] if bins == 0 else encode_in_bins(present, filled, median, bins)
    if len(present) < len(known):
        columns.append(np.isnan(new).astype(float))
    if "date" in kind:
        for period in PERIODS.values():
            if np.ptp(present / period % 1) > 0:
                columns += [wave(2 * np.pi * filled / period) for wave in (np.sin, np.cos)]
    return np.stack(columns, axis=1)


def to_numbers(column: Any, kind: str) -> np.ndarray:
    """The numbers of a column, or the days since 1970 of its dates."""
    import pandas

    if kind == "unit":
        return np.array([np.nan if pandas.isna(text) else float(text.removesuffix(" kg")) for text in column])
    if kind == "written number":
        return np.array([np.nan if pandas.isna(text) else float(text.replace(",", ".")) for text in column])
    if "date" in kind:
        dates = pandas.to_datetime(column, format="%d.%m.%Y" if kind == "written date" else None)
        return ((dates - pandas.Timestamp(0)) / pandas.Timedelta(days=1)).to_numpy(float)
    return column.to_numpy(float)


def encode_marked(known: list[Any], new: list[Any], bins: int) -> np.ndarray:
    """Numbers, which are missing beside a mark of a single row, and an input for each mark, and for rare ones."""
    import pandas

    marks = [["" if pandas.isna(text) else text.lstrip("-.0123456789") for text in column] for column in (known, new)]
    usual = [mark for mark in ("+", "DQ") if marks[0].count(mark) > 1]
    rare = ["rare"] if any(marks[0].count(mark) == 1 for mark in ("+", "DQ")) else []
    numbers = []
    for texts, beside in zip((known, new), marks, strict=True):
        pairs = zip(map(str, texts), beside, strict=True)  # "nan" or "None" if missing
        written = [text[: len(text) - len(mark)] if mark in ("", *usual) else "" for text, mark in pairs]
        numbers.append(pandas.Series([float(number.replace("None", "") or "nan") for number in written]))
    x = encode(*numbers, "number", bins)
    places = [[mark if mark in usual else "rare" if mark else ""] for mark in marks[1]]
    return np.concatenate([x, np.array(places) == np.array([*usual, *rare])], axis=1) if [*usual, *rare] else x


def encode_in_bins(known: np.ndarray, new: np.ndarray, median: float, bins: int) -> list[np.ndarray]:
    """One column scaled by quartiles, and one for each bin between quantiles."""
    known = np.sort(known)
    quarter = known[np.rint(np.linspace(0, len(known) - 1, 5)).astype(int)]
    scale = quarter[3] - quarter[1] or (known[-1] - known[0]) / 2 or 1.0
    z = (new - median) / scale
    columns = [z / np.sqrt(1 + (z / 3) ** 2)]
    edges = np.unique(known[np.rint(np.linspace(0, len(known) - 1, bins + 1)).astype(int)])
    last = len(edges) - 2
    for k in range(last + 1 if last > 0 else 0):
        inside = (new - edges[k]) / (edges[k + 1] - edges[k])
        columns.append(np.clip(inside, -1 if k == 0 else 0, 2 if k == last else 1))
    return columns


def show_cell(cell: Any) -> str | None:
    """The text that a cell stands for, whatever stands beside it; None if it is missing."""
    if cell is None or cell != cell:
        return None
    text = str(cell).removesuffix(".0")
    return "0" if text == "-0" else text


def encode_texts(known: list[Any], new: list[Any], bins: int) -> np.ndarray:
    """An input for each value of two rows or more, for missing values if they are as frequent, and for rare ones."""
    counts = {text: known.count(text) for text in known}
    usual = sorted(text for text, count in counts.items() if count >= 2 and text is not None)
    marks_missing, has_rare = counts.get(None, 0) >= 2, any(count < 2 for count in counts.values())
    if bins and len(usual) == 2 and not (marks_missing or has_rare):
        return np.array([[-1.0 if text == usual[0] else 1.0 if text == usual[1] else 0.0] for text in new])
    places = [*usual, *([None] if marks_missing else [])]
    x = np.zeros((len(new), len(places) + has_rare))
    for row, text in zip(x, new, strict=True):
        place = places.index(text) if text in places else len(places)
        row[place : place + 1] = 1.0
    return x if x.shape[1] > 1 else x[:, :0]


@operation(weight=3, reads=True)
def encoder(world: World, r: random.Random) -> None:
    """TableEncoder beside its description; on rows, in other containers, and from plain values."""
    import pandas

    table, bins = draw_table(r), r.choice([0, 2, 5, 32])
    new = draw_table(r, kinds=kinds_of(table))
    fitted = TableEncoder(bins=bins).fit(r.choice(list_containers(table))(table))
    x = fitted.transform(new)
    kinds = kinds_of(table)
    expected = [encode(table[name], new[name], kind, bins) for name, kind in zip(table.columns, kinds, strict=True)]
    assert_close(x, np.concatenate(expected, axis=1), 1e-6 if bins else 1e-12, f"the encoded {kinds}, bins={bins}")
    if len(fitted.get_feature_names_out()) != x.shape[1] or x.dtype != ("float32" if bins else "float64"):
        raise Failure(f"{len(fitted.get_feature_names_out())} names of {x.shape[1]} inputs in {x.dtype}")
    net = Network([1, 1])
    net.notes = {"columns": json.loads(json.dumps(fitted.columns_))}
    again = TableEncoder.from_network(net)
    order = r.sample(range(len(new)), len(new))
    others = {
        "in another container": fitted.transform(r.choice(list_containers(new))(new)),
        "from plain values, with columns in another order": again.transform(new[r.sample([*new], len(new.columns))]),
        "in another order": fitted.transform(new.iloc[order])[np.argsort(order)],
        "by a pickle": copy_by_pickle(fitted).transform(new),
    }
    rows, columns = new.to_dict("records"), from_plain(fitted.columns_)
    others["as dicts"] = fitted.transform([dict(r.sample([*row.items()], len(row))) for row in rows])
    if not {"written number"} < {"written number", "unit", "marked"} & {*kinds}:  # else there are points and commas
        path = new_path(".csv")
        new.to_csv(path, index=False, sep=";", decimal="," if "written number" in kinds else ".")
        others["in a file"] = read_table(path, find_texts(columns)).encode(columns).x
    if "declared number" not in kinds:
        others["as an array"] = TableEncoder(bins=bins).fit(table.to_numpy()).transform(new.to_numpy())
    for name, other in others.items():
        if not np.array_equal(other, x):
            raise Failure(f"{name} a table of {kinds} is encoded otherwise, bins={bins}")
    k = r.randrange(len(new))
    for row in (new.iloc[k : k + 1], new.iloc[k], rows[k]):
        if not np.array_equal(fitted.transform(row), x[k : k + 1]):
            raise Failure(f"row {k} of a table of {kinds}, a {type(row)}, is encoded otherwise, bins={bins}")
    wrong = new.assign(**{"number 0": pandas.Series(["a"] * len(new), dtype=object)})
    refused = observe(lambda encoder: encoder.transform(wrong), fitted).error
    if not isinstance(refused, ValueError) or "number 0" not in str(refused):
        raise Failure(f"texts in place of numbers: {refused!r}")


# The models


class Case(NamedTuple):
    """A table with targets, and the settings of a model that is to learn them."""

    model: type
    settings: dict[str, Any]
    table: Any
    y: np.ndarray
    options: dict[str, Any]  # of fit

    def fit(self, table: Any = None, y: Any = None, **options: Any) -> Any:
        """Fit a model to the table, or to another."""
        table, y = self.table if table is None else table, self.y if y is None else y
        return self.model(**self.settings).fit(table, y, **{**self.options, **options})

    @property
    def is_classifier(self) -> bool:
        return self.model is TableClassifier


def draw_case(world: World, r: random.Random, n: int | None = None, model: type | None = None) -> Case:
    """Draw a table, targets that depend on its first column, and tiny settings."""
    table = draw_table(r, n or r.choice([24, 40]))
    rng, number = np.random.default_rng(r.randrange(2**32)), table["number 0"].fillna(0.0).to_numpy()
    model = model or r.choice([TableClassifier, TableRegressor])
    settings = {
        "members": r.choice([1, 2, 3, 5]),
        "hidden_layer_sizes": r.choice([4, (5, 3)]),
        "max_epochs": r.choice([1, 3]),
        "bins": r.choice([0, 4, 32]),
        "random_state": r.randrange(1000),
        "patience": r.choice([1, 15]),
        "network": r.choice([None, {"activation": "tanh"}, {"dropout": 0.2}, {"seed": 7}]),
        "training": r.choice([None, {"batch_size": 8}, {"optimizer": "adam", "lr": 0.01}]),
        **world.where,
    }
    if model is TableRegressor:
        y = np.round(8 * (number + rng.normal(size=len(table)))) / 8  # few bits, so that sums are exact in any order
        return Case(model, settings, table, np.stack([y, 10 - y], axis=1) if r.random() < 0.2 else y, {})
    labels = r.choice([np.array(list("bca")), np.array([7, -1, 3]), np.array([False, True])])
    y = labels[(rng.permutation(len(table)) + (number > 0)) % len(labels)]
    return Case(model, settings | {"class_weight": r.choice([None, "balanced"])}, table, y, {})


def predict_all(model: Any, table: Any) -> list[np.ndarray]:
    """Everything that a model predicts of a table."""
    found = [model.predict(table), model.novelty(table)]
    if isinstance(model, TableClassifier):
        return [*found, model.predict_proba(table)]
    return [*found, model.predict(table, return_std=True)[1], *model.interval(table, 0.5)]


def assert_equal_predictions(a: list[np.ndarray], b: list[np.ndarray], what: str) -> None:
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        if not np.array_equal(x, y):
            raise Failure(f"{what}: prediction {k} differs: {x.tolist()} and {y.tolist()}"[:800])


def get_out_of_fold(model: Any) -> np.ndarray:
    return model.oof_proba_ if isinstance(model, TableClassifier) else model.oof_prediction_


@operation(reads=True)
def table_copies(world: World, r: random.Random) -> None:
    """Copies, a second fit, and the file of the ensemble predict the same; so do rows in another order."""
    case = draw_case(world, r)
    model, new = case.fit(), draw_table(r, kinds=kinds_of(case.table))
    expected = predict_all(model, new)
    way = r.choice([copy_by_pickle, copy.copy, copy.deepcopy])
    assert_equal_predictions(predict_all(way(model), new), expected, way.__name__)
    container, other = r.choices(list_containers(new), k=2)
    if r.random() < 0.3 and "declared number" not in kinds_of(new):
        container = other = methodcaller("to_numpy")
    again = case.fit(container(case.table))
    assert_equal_predictions(predict_all(again, other(new)), expected, f"fit on {container}")
    if not np.array_equal(get_out_of_fold(again), get_out_of_fold(model), equal_nan=True):
        raise Failure(f"fit on {container}: out-of-fold predictions differ")
    order = r.sample(range(len(new)), len(new))
    for k, (x, y) in enumerate(zip(predict_all(model, new.iloc[order]), expected, strict=True)):
        if x.dtype.kind == "f":
            assert_close(x, y[order], ROUNDING, f"prediction {k} in another order", max(1e-2, np.abs(y).max()))
    path = new_path(".npz")
    model.ensemble_.save(path)
    loaded = Ensemble.load(path, backend=world.where.get("backend"))
    x = TableEncoder.from_network(loaded).transform(new[r.sample([*new], len(new.columns))])
    method = "predict_proba" if case.is_classifier else "predict"
    found, expected = getattr(loaded, method)(x), getattr(model, method)(new)
    assert_close(found, expected, ROUNDING, "the ensemble of a file")


@operation(reads=True)
def table_resume(world: World, r: random.Random) -> None:
    """A fit that was cut after some epochs, and goes on from its file, is the uninterrupted one."""
    case = draw_case(world, r)
    case.settings.update(max_epochs=4)
    expected, path, every = predict_all(case.fit(), case.table), new_path(), r.choice([1, 2, "epoch"])
    lines = r.randrange(5)
    try:
        with redirect_stdout(CutOutput(lines)):
            case._replace(settings={**case.settings, "progress": True}).fit(checkpoint=path, every=every)
    except Interrupted:
        pass
    resumed = case.fit(checkpoint=path, every=every, resume=True)
    assert_equal_predictions(predict_all(resumed, case.table), expected, f"cut after {lines} lines, every={every}")


def find_folds(model: Any, case: Case) -> list[np.ndarray]:
    """Find the rows that each member left out: those that it alone predicts as the out-of-fold predictions say."""
    x, out_of_fold = model.encoder_.transform(case.table), get_out_of_fold(model)
    outputs = np.stack([to_host(member.forward(x)).astype(float) for member in model.ensemble_])
    if case.is_classifier:
        power = outputs ** (1 / model.ensemble_.temperature)
        outputs = power / power.sum(axis=-1, keepdims=True)
    out_of_fold = out_of_fold.reshape(len(x), -1)
    distances = np.abs(outputs - out_of_fold).max(axis=-1) / max(1.0, np.nanmax(np.abs(out_of_fold)))
    known = ~np.isnan(out_of_fold).any(axis=1)
    nearest = np.argmin(np.nan_to_num(distances, nan=np.inf), axis=0)
    if (off := distances[nearest, np.arange(len(x))][known].max(initial=0.0)) > ROUNDING:
        raise Failure(f"an out-of-fold prediction is not that of one member, by {off:.3g}")
    return [np.flatnonzero(known & (nearest == k)) for k in range(len(outputs))]


@operation(weight=2, reads=True)
def table_folds(world: World, r: random.Random) -> None:
    """Out-of-fold predictions are of members that did not learn from the row, and calibrate the ensemble."""
    case = draw_case(world, r)
    rng, groups = np.random.default_rng(r.randrange(2**32)), None
    if r.random() < 0.5:
        groups = case.options["groups"] = np.r_[np.arange(8), rng.integers(0, 8, len(case.y) - 8)]
    members, own = case.settings["members"], []
    if groups is None and r.random() < 0.5:
        own = case.options["folds"] = np.array_split(rng.permutation(len(case.y)), max(members, 4))[:members]
    model = case.fit()
    folds = find_folds(model, case)
    check_scores(model, case)
    sizes = [*map(len, folds)]
    if members >= 4 and sum(sizes) < len(case.y):
        raise Failure("some rows have no out-of-fold prediction")
    if groups is not None:
        for fold in folds:
            if {*groups[fold]} & {*np.delete(groups, fold)}:
                raise Failure("a group is in two folds")
    elif own:
        for fold, chosen in zip(folds, own, strict=True):
            if {*fold.tolist()} != {*chosen.tolist()}:
                raise Failure(f"rows {sorted(fold)} were left out, and not {sorted(chosen)}")
    elif max(sizes) - min(sizes) > 1 or (members > 1 and abs(min(sizes) - len(case.y) / max(members, 4)) > 1):
        raise Failure(f"the folds of {members} members have {sizes} of {len(case.y)} rows")
    elif case.is_classifier and members > 1:
        for label in model.classes_:
            counts = [np.sum(case.y[fold] == label) for fold in folds]
            if max(counts) - min(counts) > 1:
                raise Failure(f"the folds have {counts} rows of {label!r}")
    check_calibration(model, case, folds)
    if not case.is_classifier:
        check_leakage(model, case, folds, r)


def weigh_classes(case: Case) -> np.ndarray:
    """The weight of each class, by which predictions are chosen."""
    counts = np.unique(case.y, return_counts=True)[1]
    is_balanced = case.settings["class_weight"] == "balanced"
    return len(case.y) / (len(counts) * counts) if is_balanced else np.ones(len(counts))


def check_scores(model: Any, case: Case) -> None:
    """Check the scores out of fold against those of scikit-learn."""
    out_of_fold = get_out_of_fold(model).reshape(len(case.y), -1)
    rows = np.isfinite(out_of_fold).all(axis=1)
    y, predicted, text = case.y[rows], out_of_fold[rows], str(model.describe_scores())
    if case.is_classifier:
        best = (predicted * weigh_classes(case)).argmax(axis=1)
        score = f"accuracy: {accuracy_score(y, model.classes_[best]):.2%} ("
    elif case.y.ndim == 1:
        score = f"R2: {r2_score(y, predicted):.4f}, mean absolute error: "
    else:
        score = "R2: "
    if not text.startswith(score):
        raise Failure(f"scores out of fold: {text!r}, and not {score!r}")


def check_calibration(model: Any, case: Case, folds: list[np.ndarray]) -> None:
    """Check that calibrating the ensemble anew, by these folds and a row of all classes, changes nothing."""
    x, ensemble, y = model.encoder_.transform(case.table), copy.deepcopy(model.ensemble_), case.y
    if case.is_classifier:
        y = (np.asarray(y)[:, None] == model.classes_) * (1 - 1 / (len(y) + 1)) + 1 / (len(y) + 1) / len(model.classes_)
    ensemble.calibrate((x, y), rows=folds)
    if case.is_classifier:
        assert_close(ensemble.predict_proba(x), model.predict_proba(case.table), 1e-4, "probabilities calibrated anew")
    else:
        for found, expected in zip(ensemble.interval(x, 0.5), model.interval(case.table, 0.5), strict=True):
            assert_close(found, expected, 1e-4, "intervals calibrated anew")


def check_leakage(model: Any, case: Case, folds: list[np.ndarray], r: random.Random) -> None:
    """Swap the targets of two rows that a member left out: it stays the same, and all others do not."""
    # One epoch and no bins, as epochs and the scaling of bins are chosen by all rows; 16 units, of which each row makes
    # some active
    case.settings.update(max_epochs=1, bins=0, hidden_layer_sizes=16)
    k = r.randrange(len(folds))
    targets = case.y.reshape(len(case.y), -1)[:, 0]
    pairs = [(i, j) for i in folds[k] for j in folds[k] if targets[i] != targets[j]]
    if not pairs:
        return
    i, j = r.choice(pairs)
    y = case.y.copy()
    y[[i, j]] = y[[j, i]]
    plain, swapped = case.fit(), case.fit(y=y)
    learnt = []
    for member, (a, b) in enumerate(zip(plain.ensemble_, swapped.ensemble_, strict=True)):
        weights = [np.concatenate([to_host(part).ravel() for part in (*net.w, *net.b)]) for net in (a, b)]
        if member == k:
            assert_close(weights[1], weights[0], ROUNDING, "weights that do not depend on the rows left out")
        else:
            learnt.append(not np.array_equal(weights[0], weights[1]))
    if len(learnt) > 1 and not any(learnt):  # all units of a member may be dead for these rows
        raise Failure(f"some members should have learnt from rows {i} and {j}")


@operation(weight=2, reads=True)
def table_weights(world: World, r: random.Random) -> None:
    """Rows of weight 0 are as if left out."""
    case, rng = draw_case(world, r), np.random.default_rng(r.randrange(2**32))
    weight = rng.choice([1.0, 2.0], len(case.y))
    weight[4 : 4 + len(case.y) // 5] = 0.0
    rows = np.flatnonzero(weight)
    groups = rng.integers(0, 9, len(case.y)) if r.random() < 0.3 else None
    options = [{}, {}] if groups is None else [{"groups": groups}, {"groups": groups[rows]}]
    part = case.table.iloc[rows]
    whole = case.fit(sample_weight=weight, **options[0])
    rest = case.fit(part, case.y[rows], sample_weight=weight[rows], **options[1])
    assert_equal_predictions(predict_all(whole, case.table), predict_all(rest, case.table), "weights of 0")
    if not np.array_equal(get_out_of_fold(whole)[rows], get_out_of_fold(rest), equal_nan=True):
        raise Failure("with weights of 0, out-of-fold predictions differ")
    if not np.isnan(np.delete(get_out_of_fold(whole), rows, axis=0)).all():
        raise Failure("rows of weight 0 have out-of-fold predictions")


@operation(reads=True)
def table_class_weights(world: World, r: random.Random) -> None:
    """Weights of classes are weights of rows, and multiply those."""
    case = draw_case(world, r, model=TableClassifier)
    weight = draw_weights(r, len(case.y)) if r.random() < 0.5 else np.ones(len(case.y))
    labels, counts = np.unique(case.y, return_counts=True)
    balanced = (len(case.y) / (len(labels) * counts))[np.searchsorted(labels, case.y)]
    case.settings.update(class_weight="balanced")
    by_class = case.fit(sample_weight=weight)
    case.settings.update(class_weight=None)
    by_row = case.fit(sample_weight=weight * balanced)
    assert_close(by_row.predict_proba(case.table), by_class.predict_proba(case.table), 1e-4, "balanced classes")


@operation(reads=True)
def table_outputs(world: World, r: random.Random) -> None:
    """Probabilities add up to 1; intervals lie around predictions, and grow with their level alike in all rows."""
    case = draw_case(world, r)
    case.settings["members"] = max(4, case.settings["members"])  # so that enough rows are left out for level 0.9
    model, table = case.fit(), case.table
    novelty = model.novelty(table)
    far = model.novelty(table.assign(**{"number 0": 1e3})).min() if case.settings["bins"] == 0 else 1.0
    if not ((novelty >= 0) & (novelty < 1)).all() or far < 0.9:  # bins clip what is far
        raise Failure(f"novelty {novelty}, and {far} far away")
    mean = model.predict(table)
    if case.is_classifier:
        p = model.predict_proba(table)
        assert_close(p.sum(axis=1), np.ones(len(table)), 1e-5, "the sum of probabilities")
        best = (p * weigh_classes(case)).argmax(axis=1)
        if not np.array_equal(model.classes_, np.unique(case.y)) or not np.array_equal(mean, model.classes_[best]):
            raise Failure("the predicted class does not have the largest product of weight and probability")
        return
    members = np.stack([to_host(member.predict(model.encoder_.transform(table))) for member in model.ensemble_])
    assert_close(mean, members.mean(axis=0).reshape(mean.shape), ROUNDING, "the mean over the members")
    std, halves = model.predict(table, return_std=True)[1], []
    for level in (0.3, 0.6827, 0.9):
        low, high = model.interval(table, level)
        assert_close((low + high) / 2, mean, ROUNDING, "the middle of an interval", max(1.0, np.abs(high).max()))
        halves.append((high - low) / 2)
        ratio = (halves[-1] / std).reshape(len(table), -1)
        assert_close(ratio, np.broadcast_to(ratio[0], ratio.shape), 1e-3, "the width of an interval over the deviation")
    if not (halves[0] <= halves[1]).all() or not (halves[1] <= halves[2]).all():
        raise Failure("an interval of a higher level is narrower")
    assert_close(halves[1], std, 1e-3, "the standard deviation, half of a 68 % interval")


@operation(reads=True)
def table_wrong_targets(world: World, r: random.Random) -> None:
    """Intervals hold the good rows after one or two wrong targets, and a warning names one that is far outside."""
    case = draw_case(world, r, 150, TableRegressor)
    level, wrong = r.choice([0.5, 0.8, 0.9]), r.choice([99999.0, -999.0])
    rows, y = r.sample(range(150), r.choice([1, 2])), case.y.copy()
    y[rows] = wrong
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = case.fit(y=y)
    if not any(f"{wrong:g}" in str(each.message) and str(min(rows)) in str(each.message) for each in caught):
        raise Failure(f"no warning names the target {wrong:g} in row {min(rows)}")
    low, high = model.interval(case.table, level)
    held = np.delete((low <= case.y) & (case.y <= high), rows, axis=0).mean()
    if held < level - 0.2:
        raise Failure(f"an interval of level {level} holds {held:.2f} of the good rows beside {wrong:g} in {rows}")
