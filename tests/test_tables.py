"""The command on people's own data: CSV and Parquet files."""

import json
import os
import re
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from shutil import copyfile
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import run_command
from hypothesis import example, given
from hypothesis import strategies as st
from test_checkpoint import forge, put
from test_cli import interrupt

from xpnet import Adam, CheckpointError, EarlyStopping, Ensemble, Network
from xpnet.cli import main
from xpnet.cli._results import choose_groups
from xpnet.tables.columns import Bins, CategoryColumn, DateColumn, NumberColumn, count_inputs, from_plain, to_plain
from xpnet.tables.folds import choose_training_rows, make_folds
from xpnet.tables.held_out import HoldOut
from xpnet.tables.reading import Columns, read_table
from xpnet.tables.recipe import Recipe, choose_scaling

pytestmark = [pytest.mark.needs("pandas"), pytest.mark.needs("pyarrow")]

PETS = ("cat", "dog", "eel")


HELD_OUT = {"test_split": 0.2, "seed": 0, "group": None, "last": False, "rows": 90, "test_rows": 18, "cost": 1.0}


def pets(n=90, seed=0):
    """A table of three kinds that differ in weight and length."""
    import pandas

    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    numbers = {"weight": 10 * kind + rng.normal(size=n), "length": 100 - 30 * kind + rng.normal(size=n)}
    return pandas.DataFrame({**numbers, "kind": np.array(PETS)[kind]})


def line(n=60):
    """A table with a real target."""
    import pandas

    x = np.random.default_rng(0).normal(size=(n, 2))
    return pandas.DataFrame({"a": x[:, 0], "b": 1000 * x[:, 1], "y": 50 + 7 * x[:, 0] - 3 * x[:, 1]})


def read_parts(name, target, task=None, *, bins=0, validation_split=None, ignore=(), **hold_out):
    """The rows that the command trains, validates and tests on, encoded by what is learnt without those for testing."""
    from xpnet.estimators import TableEncoder

    rule = HoldOut(**hold_out)
    table = read_table(name, [] if rule.group is None else [rule.group])
    X, y, groups = table.split(target, ignore=ignore, group=rule.group, task=task)
    division = rule.divide(y.y, name, groups, validation_split)
    encoder = TableEncoder(bins=bins).fit(X[~division.test])
    rows = {"train": division.train, "validation": division.validation, "test": division.test}
    parts = {part: (encoder.transform(X[of_part]), y[of_part].y) for part, of_part in rows.items() if of_part.any()}
    return SimpleNamespace(**parts, division=division, labels=y.labels, columns=from_plain(encoder.columns_))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder with pets.csv, line.csv and coded.csv, and networks trained on the first and the last."""
    made = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        pets().to_csv("pets.csv", index=False)
        line().to_csv("line.csv", index=False)
        write("a,k,y\n" + "1,p,0\n2,q,1\n3,r,0\n" * 9, "coded.csv")
        plain = ["--members", "1", "--bins", "0", "--quiet"]
        assert main(["train", "pets.csv", "--target", "kind", "--epochs", "1", *plain, "--save", "net"]) == 0
        assert main(["train", "coded.csv", "--target", "y", "--epochs", "0", *plain, "--save", "coded"]) == 0
        for path in ("net", "coded"):
            Ensemble.load(path)[0].save(path)
    return made


@pytest.fixture
def folder(originals, tmp_path, monkeypatch):
    """A folder with copies of pets.csv and line.csv, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    for name in ("pets.csv", "line.csv"):
        copyfile(originals / name, name)
    return tmp_path


def numbers(*names):
    """Columns of numbers."""
    return tuple(NumberColumn(name, 0.0, False) for name in names)


def write(text, name="table.csv"):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


def refused(capsys, *words):
    """The one line with which a command refuses something."""
    status, out, err = run_command(capsys, *words)
    assert (status, out, err.count("\n")) == (1, [], 1), (out, err)
    return err


# From a table to predictions


@pytest.mark.parametrize("bins", [0, 32])
def test_columns_far_from_0_keep_their_digits(capsys, folder, bins):
    """A time in seconds since 1970, and a target of ten million: rounded to float32, they have a few values."""
    import pandas

    t = 1.7e9 + np.random.default_rng(0).uniform(0, 3600, 300)
    table = pandas.DataFrame({"t": t, "y": 1e7 + np.sin(t / 700)})
    table.to_csv("far.csv", index=False)
    words = ("train", "--data", "far.csv", "--target", "y", "--members", 2, "--epochs", 30, "--bins")
    status, _, err = run_command(capsys, *words, bins, "--save", "far.safetensors")
    assert status == 0, err
    status, _, err = run_command(capsys, "predict", "far.safetensors", "far.csv", "-o", "predicted.csv")
    assert status == 0, err
    predicted = pandas.read_csv("predicted.csv")["prediction"].to_numpy()
    assert len(np.unique(predicted)) > 290
    assert ((predicted - table["y"]) ** 2).mean() < 0.05 * table["y"].var()


def test_an_ensemble_learns_the_classes_of_a_table_and_predicts_its_texts(capsys, folder):
    words = ["train", "--data", "pets.csv", "--target", "kind", "--members", 3, "--epochs", 10, "--save", "net"]
    status, out, err = run_command(capsys, *words)
    assert (status, err) == (0, "")
    assert out[0] == "pets.csv: 90 examples, 66 inputs from 2 columns, 3 classes; 18 of them for testing"
    assert out[1].startswith(
        "Ensemble([66, 128, 128, 3], members=3, activation='relu', output_activation='softmax', cost='cross_entropy', "
        "standardize=True"
    )
    for epoch, line in enumerate(out[2:12], 1):
        assert re.fullmatch(rf"Epoch: {epoch} / 10,\t validation: accuracy \S+, calibrated log loss \S+", line)
    assert re.match(r"Test accuracy: 100\.00% \(18/18\), log loss: 0\.\d{4} after ", out[-1])
    ensemble = Ensemble.load("net")
    assert (len(ensemble), ensemble.feature_names[0]) == (3, "weight (scaled)")
    assert ensemble.temperature == 1  # as all rows left out are classified correctly
    assert {network.notes["score"] for network in ensemble} == {out[-1].split(" after")[0]}
    assert os.path.getsize("net") < 3 * 4.2 * (66 * 128 + 128**2 + 3 * 128) + 70_000  # without AdamW's averages

    other = pets(30, seed=1)
    other[["length", "kind", "weight"]].assign(name="x").to_parquet("other.parquet")  # in another order, with one more
    (said,) = run_command(capsys, "evaluate", "net", "--data", "other.parquet")[1]
    assert said.startswith("Accuracy on all 30 rows: 100.00% (30/30), log loss: 0.")
    other.drop(columns="kind").to_csv("unknown.csv", index=False)
    status, out, err = run_command(capsys, "predict", "net", "unknown.csv")
    assert (status, out[0], err) == (0, "prediction,probability", "")
    rows = [row.split(",") for row in out[1:]]
    assert [row[0] for row in rows] == other["kind"].tolist()
    from xpnet.estimators import TableEncoder

    x = TableEncoder.from_network(ensemble).transform(other)
    np.testing.assert_array_equal(np.float32([row[1] for row in rows]), ensemble.predict_proba(x).max(axis=1))
    np.save("x.npy", x)
    assert run_command(capsys, "predict", "net", "x.npy")[1] == out  # arrays are in the order of the inputs


def test_columns_of_the_input_stand_before_the_predictions(capsys, model, monkeypatch):
    """As they are written there."""
    from io import BytesIO, TextIOWrapper

    write('length, code,weight,kind,a;b\n0100.50,007,1e0,cat,NA\n70,,10.0,dog,"x, y"\n')
    status, out, err = run_command(capsys, "predict", model, "table.csv")
    assert (status, err) == (0, "")
    kept = ["code,length,a;b,kind", "007,0100.50,NA,cat", ',70,"x, y",dog']
    words = ["predict", model, "--keep", "code, length", "--keep", "a;b,kind,code"]
    assert run_command(capsys, *words, "table.csv") == (0, [f"{a},{b}" for a, b in zip(kept, out)], "")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(Path("table.csv").read_bytes())))
    assert run_command(capsys, *words, "-")[1][1] == f"{kept[1]},{out[1]}"
    pets(2).assign(id=[3.0, np.nan], seen=["2024-01-05", None]).astype({"seen": "datetime64[ns]"}).to_parquet(
        "p.parquet"
    )
    out = run_command(capsys, "predict", model, "p.parquet", "--keep", "seen,id")[1]
    assert [line.split(",")[:2] for line in out] == [["seen", "id"], ["2024-01-05", "3"], ["", ""]]


def test_columns_that_cannot_be_kept_are_refused(capsys, model):
    np.save("x.npy", np.ones((1, 2)))
    pets(2).assign(probability=1).to_csv("p.csv", index=False)
    for file, name, message in (
        ("pets.csv", "id", "pets.csv has no column 'id' for --keep; choose from 'weight', 'length', 'kind'"),
        ("x.npy", "id", "--keep is for tables (.csv, .tsv, .txt, .parquet, or - for standard input), and FILE x.npy"),
        (
            "p.csv",
            "probability",
            "--keep names 'probability', and a column of the predictions has this name; rename it",
        ),
    ):
        assert message in refused(capsys, "predict", model, file, "--keep", name, "-o", "out.csv")
        assert not Path("out.csv").exists()


@pytest.mark.filterwarnings("always")  # a command prints them
@pytest.mark.parametrize("members", [3, 1])
def test_a_wrong_target_is_named_by_its_row_of_the_file(capsys, folder, members):
    """Not by its place among those to train on; a row without a target counts, and so do those held out."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    y = [f"{number:.3f}" for number in x + rng.standard_normal(200)]
    y[9], y[20], y[199] = "", "-77777", "88888"
    write("x,y\n" + "".join(f"{a:.3f},{b}\n" for a, b in zip(x, y)), "far.csv")
    for last in (True, False):
        words = ["far.csv", "--target", "y", "--members", members, "--epochs", 3, "--hidden", 8, "--test-last"]
        status, _, err = run_command(capsys, "train", *(words if last else words[:-1]), "--quiet")
        assert status == 0
        where = "xpnet: warning: column 'y' of far.csv (rows count from 1, without the header) has"
        assert err.startswith(f"{where} 88888 in row 200, -77777 in row 21, and the others are -")
        assert err.endswith("correct them, or leave their rows out\n")
        assert err.count("\n") == 1


def test_a_real_target_is_predicted_with_intervals(capsys, folder):
    words = ["--data", "line.csv", "--target", "y", "--members", 3, "--epochs", 20, "--save", "net"]
    status, out, err = run_command(capsys, "train", *words, "--metrics", "mean_squared_error,r2")
    assert (status, err) == (0, "")
    y = line()["y"].to_numpy()
    target = f"a target from {y.min():.6g} to {y.max():.6g}"
    assert out[0] == f"line.csv: 60 examples, 66 inputs from 2 columns, {target}; 12 of them for testing"
    assert out[1].startswith(
        "Ensemble([66, 128, 128, 1], members=3, activation='relu', output_activation='identity', cost='quadratic'"
    )
    assert all(len(text.expandtabs()) <= 120 for text in out[2:22])
    assert re.fullmatch(r"Epoch: 1 / 20,\t validation: r2 \S+, mean absolute error \S+, mean squared error \S+", out[2])
    from xpnet.estimators import TableEncoder

    ensemble = Ensemble.load("net")
    x = TableEncoder.from_network(ensemble).transform(line())
    assert ensemble[0].notes["labels"] == []
    status, out, _ = run_command(capsys, "evaluate", "net", "--data", "line.csv", "--metrics", "mean_squared_error")
    errors = y - ensemble.predict(x)
    r2 = 1 - (errors**2).sum() / ((y - y.mean()) ** 2).sum()
    assert r2 > 0.8
    scores, squared = out[0].rsplit(": ", 1)
    assert scores == f"R2 on all 60 rows: {r2:.4f}, mean absolute error: {abs(errors).mean():.6g}, mean_squared_error"
    assert float(squared) == pytest.approx((errors**2).mean(), rel=1e-5)  # the command's is computed in float32
    assert re.match(
        r"R2 on the 12 rows that training held out: \S+, mean absolute error: \S+, within 90% inter", out[1]
    )
    status, out, _ = run_command(capsys, "predict", "net", "line.csv", "--interval", 0.8, "--out", "p.csv")
    assert out == ["Wrote 60 predictions to p.csv"]
    lines = (folder / "p.csv").read_text().splitlines()
    assert lines[0] == "prediction,lower,upper"
    table = np.array([text.split(",") for text in lines[1:]], np.float32)
    np.testing.assert_array_equal(table, np.stack([ensemble.predict(x), *ensemble.interval(x, 0.8)], axis=1))
    assert run_command(capsys, "predict", "net", "line.csv")[1][0] == "prediction"


def test_a_cost_with_several_outputs_for_the_target_has_them(capsys, folder):
    words = ["--data", "line.csv", "--target", "y", "--members", 2, "--epochs", "1"]
    status, out, _ = run_command(capsys, "train", *words, "--cost", "gaussian", "--save", "net")
    assert status == 0
    assert out[1].startswith("Ensemble([66, 128, 128, 2], members=2")
    from xpnet.estimators import TableEncoder

    ensemble = Ensemble.load("net")
    x = TableEncoder.from_network(ensemble).transform(line())
    status, out, _ = run_command(capsys, "predict", "net", "line.csv", "--interval", 0.9)
    assert out[0] == "prediction,std,lower,upper"
    table = np.array([text.split(",") for text in out[1:]], np.float32)
    expected = np.stack([*ensemble.predict(x, return_std=True), *ensemble.interval(x)], axis=1)
    np.testing.assert_array_equal(table, expected)
    for members in ([], ["--members", 1]):
        words = [*words[:4], *members, *words[6:], "--cost", "quantile(0.1, 0.5, 0.9)"]
        assert run_command(capsys, "train", *words, "--sizes", "66,5,3", "--quiet")[0] == 0
    status, _, err = run_command(capsys, "train", *words[:-1], "quantile(0.1, 0.9)")
    assert status == 1
    assert "the scores compare one number with each target, and --cost 'quantile(0.1, 0.9)' has none; add 0.5" in err


def test_intervals_that_a_model_cannot_give_are_refused(capsys, model):
    message = "--interval 0.9 is for regressions, and net predicts classes; leave it out"
    assert message in refused(capsys, "predict", model, "pets.csv", "--interval", 0.9)
    Network([2, 1], task="regression", seed=0).save("plain")
    np.save("x.npy", np.ones((1, 2)))
    message = (
        "--interval 0.9 needs error bars, and plain has none: `xpnet train` calibrates them for tables, and --cost"
    )
    assert message in refused(capsys, "predict", "plain", "x.npy", "--interval", 0.9)
    message = "--interval 90.0 must be above 0 and below 1; 0.9 is usual"
    assert message in refused(capsys, "predict", "plain", "x.npy", "--interval", 90)


def test_rows_unlike_those_of_the_training_are_novel(capsys, folder):
    words = ["--target", "y", "--members", 2, "--epochs", 1, "--hidden", 4, "--save", "net"]
    assert run_command(capsys, "train", "line.csv", *words)[0] == 0
    line().head(9).to_csv("few.csv", index=False)
    line().assign(a=1e6).to_csv("far.csv", index=False)
    usual, far = (run_command(capsys, "predict", "net", f"{name}.csv", "--novelty")[1] for name in ("few", "far"))
    assert usual[0].split(",")[-1] == "novelty"
    shares = [np.array([float(row.split(",")[-1]) for row in rows[1:]]) for rows in (usual, far)]
    assert shares[0].mean() < 0.5 < 0.8 < shares[1].min()
    Network([2, 1], task="regression", seed=0).save("plain")
    np.save("x.npy", np.ones((1, 2)))
    message = "--novelty needs to know the rows of the training, and plain does not: `xpnet train` learns them from a"
    assert message in refused(capsys, "predict", "plain", "x.npy", "--novelty")


def test_options_of_tables_reach_the_training(capsys, folder):
    pets().assign(id=np.arange(90), name="x").to_csv("more.csv")
    words = "--target kind --ignore id --ignore name --test-split 0 --hidden 5 --no-standardize --epochs 1 --save net"
    words += " --class-weight cat=2,dog=0.5 --metrics top_1,top_2 --log run.csv"
    words += " --schedule constant --lr 0.01 --momentum 0 --weight-decay 0 --batch-size 30 --optimizer sgd --dropout 0"
    words += " --members 1 --validation-split 0 --bins 0"
    status, out, _ = run_command(capsys, "train", "--data", "more.csv", *words.split(), "--ignore", "Unnamed: 0")
    assert (status, out[0]) == (0, "more.csv: 90 examples, 2 features, 3 classes")
    assert out[-1].startswith("Training accuracy: ")
    assert "training_top_2" in (folder / "run.csv").read_text().splitlines()[0]
    net = Network([2, 5, 3], activation="relu", task="classification", seed=0)
    x, y = pets()[["weight", "length"]].to_numpy(), np.arange(90) % 3
    net.train((x, y), 1, 30, 0.01, class_weight={0: 2, 1: 0.5}, progress=False)
    np.testing.assert_array_equal(Ensemble.load("net")[0].w[0], net.w[0])


# Members


def test_members_leave_out_groups_and_consecutive_rows_as_testing_does(capsys, folder):
    table = visits()
    table.to_csv("t.csv", index=False)
    data = read_parts("t.csv", "effect", group="patient")
    rows = np.flatnonzero(data.division.train)

    def choose(members):
        chosen = choose_groups(members, data.division, len(rows), "t.csv")
        return make_folds(len(rows), members, np.random.default_rng(0), groups=chosen)

    patients = table.set_index("dose")["patient"]
    folds = [set(patients[data.train[0][fold, 0]]) for fold in choose(4)]
    n = len(set(patients[data.train[0][:, 0]]))
    assert sum(map(len, folds)) == len(set.union(*folds)) == n
    words = ["train", "t.csv", "--target", "effect", "--test-group", "patient", "--epochs", 1, "--quiet"]
    assert run_command(capsys, *words, "--members", 2 * n, "--save", "net")[0] == 0
    said = f"Members: {2 * n}, each of which left out one of {min(n, 8)} folds"
    assert said in run_command(capsys, "info", "net")[1]
    data = read_parts("t.csv", "effect", last=True, ignore=["patient"])
    rows, n = np.flatnonzero(data.division.train), len(data.train[1])
    for members, kept in ((2, 1 / 2), (4, 0)):
        folds = choose(members)
        assert [np.ptp(fold) + 1 - len(fold) for fold in folds] == [0] * members
        assert n - len(np.unique(np.concatenate(folds))) == pytest.approx(kept * n, abs=2)


def test_members_without_rows_to_leave_out_are_refused(capsys, folder):
    write("g,a,y\n" + "".join(f"{'ppq'[k % 3]},{k},{k / 7}\n" for k in range(9)), "t.csv")
    message = "each member leaves out a part of the rows, and t.csv has one group to train on; give --members 1 --val"
    words = ["train", "t.csv", "--target", "y", "--test-group", "g"]
    assert message in refused(capsys, *words)
    assert run_command(capsys, *words, "--members", 1, "--validation-split", 0, "--epochs", 1, "--quiet")[0] == 0


def test_options_reach_all_members(capsys, folder):
    words = "--members 5 --hidden 5 --epochs 6 --lr 0.1 --schedule constant --optimizer adam --weight-decay 0.1"
    words += " --batch-size 16 --class-weight cat=2 --dropout 0.2 --early-stopping 1 --seed 3 --dtype float64 --bins 4"
    words += " --metrics top_2 --save net --log run.csv"
    status, out, err = run_command(capsys, "train", "pets.csv", "--target", "kind", *words.split())
    assert (status, err) == (0, "")
    data = read_parts("pets.csv", "kind", bins=4, seed=3)
    settings = {"activation": "relu", "task": "classification", "dropout": 0.2, "standardize": True, "dtype": "float64"}
    ensemble = Ensemble([data.train[0].shape[1], 5, 3], 5, seed=3, **settings)
    folds = make_folds(72, 5, np.random.default_rng(3), classes=data.train[1])
    columns = count_inputs(data.columns)
    recipe = Recipe(5, (5,), epochs=6, batch_size=16)
    scaling = choose_scaling(*data.train, recipe, folds, columns, 3, seed=3)
    for network in ensemble:
        network.scaling = scaling
    stopping = [EarlyStopping(1, monitor="validation_calibrated_log_loss") for _ in ensemble]
    histories = ensemble.train(
        data.train,
        *(6, 16, 0.1),
        optimizer=Adam(weight_decay=0.1),
        rows=choose_training_rows(folds, 72, np.random.default_rng(3)),
        validation_rows=folds,
        class_weight={0: 2},
        callbacks=lambda k: stopping[k : k + 1],
        metrics=["calibrated_log_loss"],
        progress=False,
    )
    for mine, saved in zip(ensemble, Ensemble.load("net")):
        np.testing.assert_array_equal(saved.w[0], mine.w[0])
    names, *rows = (line.split(",") for line in Path("run.csv").read_text().splitlines())
    assert {"member", "epoch", "cost", "validation_accuracy", "validation_top_2"} <= set(names)
    assert [row[:2] for row in rows] == [[str(k), str(row["epoch"])] for k in range(5) for row in histories[k]]
    assert "top_2: " in out[-1]
    best = [one.best_epoch for one in stopping]
    assert any(one.stopped_epoch for one in stopping)
    assert out[-2] == f"Each network is that of its best epoch, {min(best)} to {max(best)}"


def test_without_rows_for_testing_the_score_is_that_of_the_rows_left_out(capsys, folder):
    words = ["train", "line.csv", "--target", "y", "--test-split", 0, "--members", 4, "--epochs", 2, "--quiet"]
    (said,) = run_command(capsys, *words, "--save", "net")[1]
    data, ensemble = read_parts("line.csv", "y", bins=32, test_split=0), Ensemble.load("net")
    x, y = data.train
    predicted = np.empty(60)
    for net, rows in zip(ensemble, make_folds(60, 4, np.random.default_rng(0))):
        predicted[rows] = net.predict(x[rows])
    r2, error = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2), np.abs(y - predicted).mean()
    assert said.startswith(f"Out-of-fold R2: {r2:.4f}, mean absolute error: {error:.6g} after ")
    (said,) = run_command(capsys, *words[:6], "--members", 1, "--epochs", 2, "--quiet")[1]
    assert said.startswith("Validation R2: ")


def test_interrupted_members_are_saved_and_resumed(capsys, monkeypatch, folder):
    words = ["train", "line.csv", "--target", "y", "--members", 2, "--epochs", 4, "--hidden", 5]
    assert run_command(capsys, *words, "--save", "whole")[0] == 0
    words += ["--save", "net", "--checkpoint", "run", "--log", "run.csv"]
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        status, _, err = run_command(capsys, *words)
    said = "interrupted in epoch 3 of 4; the networks so far are saved to net, without calibration; --resume continues"
    assert (status, err) == (130, f"xpnet: {said} the training in run\n")
    assert Ensemble.load("net").calibration is None
    assert Path("run.csv").read_text().startswith("member,epoch,cost,")
    assert run_command(capsys, *words, "--resume")[0] == 0
    whole, resumed = map(Ensemble.load, ("whole", "net"))
    np.testing.assert_array_equal(resumed[1].w[0], whole[1].w[0])
    np.testing.assert_array_equal(resumed.calibration, whole.calibration)
    assert len(Path("run.csv").read_text().splitlines()) == 1 + 2 * 4


def test_info_describes_the_ensemble(capsys, folder):
    words = ["train", "pets.csv", "--target", "kind", "--members", 2, "--epochs", 1, "--save", "net", "--quiet"]
    (score,) = run_command(capsys, *words)[1]
    ensemble, out = Ensemble.load("net"), run_command(capsys, "info", "net")[1]
    assert out[0] == f"net: {ensemble}"
    assert out[1:7] == [
        score.split(" after")[0],
        "Held out for testing: 18 of 90 rows, at random (test split 0.2, seed 0)",
        "Members: 2, each of which left out one of 4 folds",
        f"Calibrated: probabilities at the temperature {ensemble.temperature:.3g}",
        "Target: 'kind', classes 'cat', 'dog', 'eel'",
        "Inputs: 66, from 2 columns",
    ]
    assert out[7].startswith("  'weight'  number, in 32 bins; missing values become ")
    assert out[9].startswith("Member 0: Trained for 1 epoch on pets.csv, training cost ")


@pytest.mark.parametrize(
    "options",
    [
        "--sizes 66,1 --members 2",
        "--optimizer lm --hidden 2 --dtype float64 --bins 0",
        "--optimizer sgd --members 2",
        "--standardize --members 2",
        "--cost huber --members 2",
    ],
)
def test_other_settings_leave_the_rest_of_the_recipe(capsys, folder, options):
    words = ["train", "line.csv", "--target", "y", "--epochs", 5, "--quiet", *options.split()]
    status, (said,), err = run_command(capsys, *words)
    assert (status, err) == (0, "")
    assert re.match(r"Test R2: [01]\.\d{4}, .* within 90% intervals: ", said)


# Reading


@pytest.mark.parametrize("name", ["pets.csv", "pets.tsv", "pets.csv.gz", "pets.parquet", "semicolons.csv"])
def test_every_kind_of_file_gives_the_same_arrays(folder, name):
    table = pets()
    table.to_csv("pets.tsv", index=False, sep="\t")
    table.to_csv("pets.csv.gz", index=False)
    table.to_parquet("pets.parquet")
    table.to_csv("semicolons.csv", index=False, sep=";")
    columns = Columns(numbers("length", "weight"), "kind", PETS)
    read = read_table(name)
    np.testing.assert_array_equal(read.inputs(columns)[0], table[["length", "weight"]].to_numpy())
    np.testing.assert_array_equal(read.targets(columns).y, np.arange(90) % 3)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", "b", "Z"], ("Z", "a", "b")),
        ([10, 9, 9, -1], ("-1", "9", "10")),
        ([1.0, 2.0, 2.0, 0.0], ("0", "1", "2")),
        ([True, False, True, True], ("False", "True")),
        ([1.0, 2.5, 2.0, 0.0], ()),
        (range(30), ()),
        (range(20), tuple(map(str, range(20)))),
    ],
    ids=str,
)
def test_classes_are_texts_and_few_whole_numbers_in_order(folder, values, labels):
    import pandas

    pandas.DataFrame({"x": -np.arange(1.0, 1 + len(values)), "y": list(values)}).to_csv("table.csv", index=False)
    _, targets, _ = read_table("table.csv").split("y")
    assert targets.labels == labels
    y = targets.y
    if labels:
        assert [labels[k] for k in y] == [str(int(v)) if isinstance(v, float) else str(v) for v in values]
    else:
        assert (y.dtype, y.tolist()) == (np.float64, list(values))
        assert read_table("table.csv").split("y", task="regression")[1].labels == ()


def test_examples_are_held_out_at_random_with_the_same_part_of_each_class():
    def choose(y, seed=0):
        return HoldOut(seed=seed).divide(y, "t.csv").test

    y = np.repeat([0, 1, 2], [50, 30, 20])
    tested = choose(y)
    assert np.bincount(y[tested]).tolist() == [10, 6, 4]
    assert np.array_equal(choose(y), tested)
    assert not np.array_equal(choose(y, seed=1), tested)
    real = [choose(np.arange(100.0), seed) for seed in (0, 1)]
    assert real[0].sum() == real[1].sum() == 20
    assert not np.array_equal(*real)
    for rows in (np.eye(3, dtype=int)[y], y[:, None], y.astype(np.uint8)):
        assert np.bincount(y[choose(rows)]).tolist() == [10, 6, 4]


@pytest.mark.parametrize("bins", [0, 8])
@pytest.mark.parametrize("way", [{}, {"last": True}, {"group": "group"}], ids=str)
def test_columns_are_learnt_without_the_rows_for_testing(folder, bins, way):
    """Whatever stands in those rows, other rows become the same inputs; and each class has its part of them."""
    import pandas

    n, rng = 120, np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "number": rng.normal(size=n),
            "colour": rng.choice(["red", "blue"], n),
            "day": (pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.integers(300, size=n), "D")).astype(str),
            "group": [f"g{k}" for k in np.arange(n) % 15],
            "kind": np.array(["cat", "dog", "eel"])[(rng.permutation(n) > 60) + 0 + (rng.permutation(n) > 100)],
        }
    )
    table.loc[::10, "kind"] = None  # rows without a target are left out
    options = {"target": "kind", "test_split": 0.25, "validation_split": 0.2, "bins": bins, **way}

    def read(table):
        table.to_csv("t.csv", index=False)
        return read_parts("t.csv", **options)

    first = read(table)
    rows, test = np.flatnonzero(table["kind"].notna()), first.division.test
    table.loc[rows[test], ["number", "colour", "day"]] = [1e9, "a new one", "1724-01-01"]
    second = read(table)
    assert to_plain(second.columns) == to_plain(first.columns)
    for before, after in ((first.train, second.train), (first.validation, second.validation)):
        np.testing.assert_array_equal(after[0], before[0])
    assert not np.array_equal(second.test[0], first.test[0])
    if not way:
        counts = np.bincount(np.concatenate([first.train[1], first.validation[1], first.test[1]]))
        for fraction, (_, y) in ((0.25, first.test), (0.15, first.validation)):
            assert np.abs(np.bincount(y) - fraction * counts).max() <= 1


def visits(n_groups=12, seed=0):
    """A table of several rows for each patient, whose name tells the answer, in the order of time."""
    import pandas

    rng = np.random.default_rng(seed)
    patient = np.sort(rng.integers(n_groups, size=8 * n_groups))
    numbers = {"dose": rng.normal(size=len(patient)), "effect": rng.normal(size=n_groups)[patient]}
    return pandas.DataFrame({**numbers, "patient": [f"{k:03}" for k in patient]})


def test_whole_groups_are_held_out(capsys, folder):
    """To test on and to validate on; by their texts, in whatever order the rows are."""
    table = visits()
    table.to_csv("t.csv", index=False)
    words = ["train", "t.csv", "--target", "effect", "--test-group", "patient", "--epochs", 1, "--save", "net"]
    status, out, err = run_command(capsys, *words, "--validation-split", 0.3)
    assert (status, err) == (0, "")
    assert out.pop(2) == "One network instead of an ensemble, because --validation-split is for one"
    parts = {}
    for shuffled in (table, table.sample(frac=1, random_state=0)):
        shuffled.to_csv("t.csv", index=False)
        data = read_parts("t.csv", "effect", group="patient", validation_split=0.3)
        for name in ("train", "validation", "test"):
            rows = set(getattr(data, name)[0][:, 0])
            held = table[table["dose"].isin(rows)]
            parts.setdefault(name, set(held["patient"]))
            assert (len(held), set(held["patient"])) == (len(rows), parts[name])
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == table["patient"].nunique()
    n, (n_test, n_validation) = len(table), (len(getattr(data, name)[1]) for name in ("test", "validation"))
    assert abs(n_test - 0.2 * n) < 8 > abs(n_validation - 0.3 * (n - n_test))
    groups = f"{len(parts['test'])} and {len(parts['validation'])} of 12 groups of 'patient'"
    assert out[0].endswith(f"; {n_test} of them for testing and {n_validation} for validation: {groups}")
    assert out[1] == "Columns: 1 number; left out 'patient' (its groups are held out as a whole)"
    net = Ensemble.load("net")[0]
    assert len(net.history["validation_cost"]) == 1
    assert "patient" not in "".join(net.feature_names)

    # The saved file knows which rows were held out, if a table has the same rows, in whatever order
    tested = f"R2 on the {n_test} rows that training held out: {out[-1].split(': ', 1)[1].split(' after')[0]}"
    assert run_command(capsys, "evaluate", "net", "t.csv")[1][1:] == [tested]
    described = (
        f"Held out for testing: {n_test} of {n} rows, whole groups of 'patient' at random (test split 0.2, seed 0)"
    )
    assert described in run_command(capsys, "info", "net")[1]
    table.assign(effect=table["effect"] + (table.index == 3)).to_csv("t.csv", index=False)
    assert len(run_command(capsys, "evaluate", "net", "t.csv")[1]) == 1 + (
        str(table["patient"][3]) not in parts["test"]
    )
    for other in (table[1:], table.drop(columns="patient"), table.assign(patient="one")):
        other.to_csv("t.csv", index=False)
        status, out, err = run_command(capsys, "evaluate", "net", "t.csv")
        assert (status, len(out), err) == (0, 1, "")


def test_the_last_rows_are_held_out(capsys, folder):
    table = pets(50)
    table.to_csv("t.csv", index=False)
    words = ["--test-last", "--epochs", 1, "--save", "net"]
    status, out, err = run_command(capsys, "train", "t.csv", "--target", "kind", *words, "--validation-split", 0.25)
    assert (status, err) == (0, "")
    assert out[0].endswith("; the last 10 of them for testing and the 10 before them for validation")
    data = read_parts("t.csv", "kind", last=True, validation_split=0.25)
    weights = [part[0][:, 0] for part in (data.train, data.validation, data.test)]
    np.testing.assert_array_equal(np.concatenate(weights), table["weight"])
    assert run_command(capsys, "evaluate", "net", "t.csv")[1][1].startswith(
        "Accuracy on the 10 rows that training held"
    )
    assert "Held out for testing: the last 10 of 50 rows" in run_command(capsys, "info", "net")[1]
    table[::-1].to_csv("t.csv", index=False)  # other rows are the last ones
    assert len(run_command(capsys, "evaluate", "net", "t.csv")[1]) == 1
    for name, values in (("x", np.arange(20.0)[:, None]), ("y", np.arange(20.0))):
        np.save(name, values)
    words = ["x.npy", "--target", "y.npy", *words, "--validation-split", 0.25]
    status, out, _ = run_command(capsys, "train", *words, "--force")
    assert out[0] == (
        "x.npy: 20 examples, 1 feature, a target from 0 to 19; the last 4 of them for testing and the 4 before them "
        "for validation"
    )
    assert run_command(capsys, "evaluate", "net", "x.npy", "--target", "y.npy")[1][1].startswith("R2 on the 4 rows")


@pytest.mark.filterwarnings("always")  # a command prints them
def test_classes_that_are_all_held_out_are_warned_of(capsys, folder):
    pets().sort_values("kind").to_csv("t.csv", index=False)
    words = ["--target", "kind", "--test-last", "--test-split", 0.7, "--members", 2, "--epochs", 1, "--quiet"]
    status, _, err = run_command(capsys, "train", "t.csv", *words)
    message = "t.csv has no rows of 'dog', 'eel' to train on: all of them are held out"
    assert (status, err) == (0, f"xpnet: warning: {message}\n")


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.6])
@pytest.mark.parametrize("sizes", [[1, 1], [50, 3], [9, 9, 9], [1] * 30, [40, *[2] * 30]], ids=str)
def test_groups_of_any_size_leave_some_on_both_sides(sizes, fraction):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n = len(groups)
    chosen = [HoldOut(fraction, seed, "g").divide(np.zeros(n), "t.csv", groups).test for seed in range(5)]
    for rows in chosen:
        assert 0 < rows.sum() < n
        assert not set(groups[rows]) & set(groups[~rows])
        assert rows.sum() <= max(fraction * n + 1, min(sizes))
    if min(sizes) == max(sizes) == 1 < len(sizes) - 1:
        assert len({tuple(rows) for rows in chosen}) == 5


def test_groups_that_cannot_be_held_out_are_refused(capsys, folder):
    for cells, message in (
        (
            "aa b",
            "t.csv has no value in row 3 of column 'g' (rows count from 1, without the header), and --test-group n",
        ),
        (
            "aaaa",
            "--test-split 0.2 holds out whole groups, but t.csv has only one group of 'g'; give another column as -",
        ),
        (
            "aabb",
            "--validation-split 0.5 holds out whole groups, but t.csv has only one group of 'g' that is not for "
            "testing; give another column as --test-group, or --validation-split 0",
        ),
    ):
        write("g,a,y\n" + "".join(f"{cell.strip()},{k},{k / 7}\n" for k, cell in enumerate(cells)), "t.csv")
        words = ["train", "t.csv", "--target", "y", "--test-group", "g", "--validation-split", 0.5]
        assert message in refused(capsys, *words)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "pets.csv needs --target, the column to predict; choose from 'weight', 'length', 'kind'"),
        (
            "--target kin",
            "pets.csv has no column 'kin' for --target; choose from 'weight', 'length', 'kind' (did you mean",
        ),
        ("--target kind --ignore id", "pets.csv has no column 'id' for --ignore; choose from 'weight'"),
        (
            "--target kind --ignore weight --ignore length",
            "no column besides 'kind', 'weight', 'length' to predict from",
        ),
        ("--target kind --categories weight,kind", "--categories names 'kind', which is the target"),
        ("--target kind --ignore kind", "--ignore names 'kind', which is the target"),
        (
            "--target kind --task regression",
            "which is not a number; --task regression needs plain numbers, as in 1234.5",
        ),
        ("--target kind --task binary", "--task binary needs 2 classes, but 'kind' of pets.csv has 3"),
        (
            "--target kind --task multilabel",
            "--task multilabel needs several targets in an .npz file; pets.csv has one",
        ),
        ("--target weight --ignore kind --task classification", "holds 90 different values in 90 rows, such as '-"),
        (
            "--target kind --sizes 2,9,4",
            "--sizes 2,9,4 does not fit pets.csv, which has 66 inputs from 2 columns and 3 classes; give --sizes "
            "66,9,3, or leave it out",
        ),
        (
            "--target kind --class-weight cat=1,cow=2",
            "--class-weight names the class 'cow'; choose from 'cat', 'dog', 'eel'",
        ),
        ("--target kind --test-group kid", "pets.csv has no column 'kid' for --test-group; choose from 'weight'"),
        ("--target kind --test-group kind", "--test-group names 'kind', which is the target"),
        (
            "--target kind --test-group weight --test-split 0",
            "--test-group weight needs rows to hold out; give --test-s",
        ),
        ("--target kind --test-last --test-split 0", "--test-last needs rows to hold out; give --test-split above 0"),
        (
            "--target kind --test-last --validation-split 0.999",
            "--validation-split 0.999 leaves none of the 72 rows of",
        ),
        (
            "--target kind --members 3 --validation-split 0.2",
            "--validation-split is for one network, and --members 3 makes several; leave one of them out",
        ),
        ("--target kind --test-split 0.999", "--test-split 0.999 leaves none of the 90 rows of pets.csv to train on"),
    ],
)
def test_a_wrong_option_of_a_table_is_refused(capsys, folder, options, message):
    assert message in refused(capsys, "train", "--data", "pets.csv", *options.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "table.csv cannot be read as a table (No columns to parse from file); give a Parquet file, or CSV in UTF-8",
        ),
        ("a,y\n", "table.csv has no rows below the names of its columns"),
        (
            "a,y\n1,2,0\n3,4,1\n",
            "table.csv cannot be read as a table (Length of header or names does not match length of data",
        ),
        (
            "a,y\n1,0\n1,2,0\n",
            "table.csv cannot be read as a table (Error tokenizing data. C error: Expected 2 fields in line 3, saw 3); "
            "each row needs as many cells as the header",
        ),
        ("a,y\n1,\n2,\n", "table.csv has no value in column 'y', the target"),
        ("a,y\n1,0\n2024-01-05,1\n3,1\n", "table.csv holds '2024-01-05' in row 2 of column 'a'"),
        (
            "a,y\n1,0\ninf,1\n3,1\n",
            "table.csv holds inf in row 2 of column 'a' (rows count from 1, without the header); give finite",
        ),
        ("a,y\n1,0.5\n2,-inf\n", "table.csv holds -inf in row 2 of column 'y'"),
        ("a,y\n1,7\n2,7\n", "column 'y' of table.csv holds '7' in every row; classes must differ"),
        (
            ",a,y\n0,1,7\n1,2,8\n",
            "has a column without a name, as pandas writes row numbers; leave it out with --ignore 'Unnamed: 0'",
        ),
        (
            "1,7\n2,8\n",
            "table.csv has no column 'y' for --target; choose from '1', '7'; its first line must hold the names",
        ),
    ],
)
def test_a_table_that_cannot_be_learnt_is_refused_with_row_and_column(capsys, folder, text, message):
    write(text)
    assert message in refused(capsys, "train", "--data", "table.csv", "--target", "y")


def test_broken_parquet_is_refused(capsys, folder):
    write("nonsense", "t.parquet")
    assert "t.parquet cannot be read as a table (" in refused(capsys, "train", "--data", "t.parquet", "--target", "y")
    assert "--data no.csv cannot be read (No such file or directory); give" in refused(
        capsys, "train", "--data", "no.csv", "--target", "y"
    )


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("a,y,y", "'y'"),
        ("y,a,y,y.1", "'y'"),  # pandas makes y.2 of the copy
        ("a;y;y", "'y'"),
        ("a,y, y", "'y'"),
        ("\ufeffy,a,a,y", "'y', 'a'"),
        ("NA,NA,y", "'NA'"),
    ],
)
def test_columns_of_one_name_are_refused(capsys, folder, header, names):
    """A copy of the target would give a network the answer."""
    separator = next((c for c in ";\t" if c in header), ",")
    n = len(header.split(separator))
    write("\n".join([header, *(separator.join([str(k % 2)] * n) for k in range(20))]))
    message = f"table.csv has several columns named {names}; give each its own name, or leave out all but one"
    assert message in refused(capsys, "train", "--data", "table.csv", "--target", "y")


def test_columns_of_one_name_in_parquet_are_refused(capsys, folder):
    from pyarrow import parquet, table

    parquet.write_table(table([[1.0, 2.0]] * 3, names=["a", "y", "y "]), "t.parquet")
    message = "t.parquet has several columns named 'y'; give each its own name"
    assert message in refused(capsys, "train", "--data", "t.parquet", "--target", "y")
    parquet.write_table(table([[1.0, 2.0]] * 3, names=["a", "y", "y"]), "t.parquet")
    assert message in refused(capsys, "train", "--data", "t.parquet", "--target", "y")


def test_names_that_pandas_gives_to_copies_are_names(capsys, folder):
    write("y,y.1\n" + "1,2\n2,1\n" * 5)
    status, out, err = run_command(capsys, "train", "--data", "table.csv", "--target", "y", "--epochs", 1)
    assert (status, err) == (0, "")
    assert out[0].startswith("table.csv: 10 examples, 1 feature, 2 classes")


def test_numbers_of_many_digits(capsys, folder):
    write("a,y\n1,0\n" + "7" * 400 + ",1\n")
    words = ["train", "--data", "table.csv", "--epochs", 1]
    message = f"table.csv holds '{'7' * 40}...' in row 2 of column 'a' (rows count from 1, without the header), which "
    for options in (["--target", "y"], ["--target", "a", "--task", "regression"]):
        assert f"{message}is too large for a number of 64 bits" in refused(capsys, *words, *options)
    write("a,y\n" + f"1,0\n{'7' * 25},1\n" * 5)
    x, _ = read_table("table.csv").inputs(Columns(numbers("a"), "y"))
    np.testing.assert_array_equal(x[:2, 0], [1, 7 * (10**25 - 1) / 9])  # more than 64 bits, but a number


@pytest.fixture
def model(originals, folder):
    """A network trained on pets.csv."""
    return copyfile(originals / "net", "net")


def test_a_table_that_does_not_fit_the_network_is_refused(capsys, model):
    message = "line.csv lacks columns that the network was trained on: 'weight', 'length'"
    assert message in refused(capsys, "predict", model, "line.csv")
    assert message in refused(capsys, "evaluate", model, "--data", "line.csv")
    pets().drop(columns="kind").to_csv("bare.csv", index=False)
    message = "bare.csv has no column 'kind' for the target; choose from 'weight', 'length'"
    assert message in refused(capsys, "evaluate", model, "--data", "bare.csv")
    pets().replace("eel", "cow").to_csv("cows.csv", index=False)
    message = (
        "cows.csv holds 'cow' in row 3 of column 'kind' (rows count from 1, without the header), which is not a class"
    )
    assert message in refused(capsys, "evaluate", model, "--data", "cows.csv")
    assert "--data is missing: give a table with the column 'kind'" in refused(capsys, "evaluate", model)
    pets().assign(weight="heavy").to_csv("texts.csv", index=False)
    assert "texts.csv holds 'heavy' in row 1 of column 'weight'" in refused(capsys, "predict", model, "texts.csv")


@pytest.mark.filterwarnings("default::UserWarning")
def test_too_few_rows_to_calibrate_are_warned_of(capsys, folder):
    write("x,y\n" + "".join(f"{k % 3},{k}\n" for k in range(5)))
    words = ["train", "--data", "table.csv", "--target", "y", "--task", "regression", "--epochs", 1, "--members", 1]
    _, _, err = run_command(capsys, *words, "--validation-split", 0.3)
    message = "the model is not calibrated: calibrate needs at least 3 examples, and there were 1; give more"
    assert f"xpnet: warning: {message}" in err


def test_columns_of_another_kind_than_in_training_are_refused(capsys, folder):
    import pandas as pd

    days, numbers = pd.date_range("2024-01-01", periods=40), np.linspace(0, 1, 40)
    rates = [f"{100 * number:.1f}%" for number in numbers]
    for name, day, y in (
        ("train", days, rates),
        ("zoned", days.tz_localize("UTC"), rates),
        ("numbers", numbers, rates),
        ("empty", np.full(40, np.nan), rates),
        ("plain", days, numbers),
    ):
        pd.DataFrame({"day": day, "y": y}).to_parquet(f"{name}.parquet")
    words = ["--data", "train.parquet", "--target", "y", "--save", "net", "--members", 1, "--epochs", 1]
    assert run_command(capsys, "train", *words)[0] == 0
    for name, message in (
        ("zoned", "the dates in column 'day' of zoned.parquet have a time zone, and in training have no time zone"),
        ("numbers", "numbers.parquet holds numbers in column 'day', which held dates in training"),
        ("plain", "plain.parquet holds targets without %, and training had them with %"),
    ):
        assert message in refused(capsys, "evaluate", "net", "--data", f"{name}.parquet")
    assert run_command(capsys, "evaluate", "net", "--data", "empty.parquet")[0] == 0
    Ensemble.load("net")[0].save("net")
    forge(Path("net"), lambda header, arrays: header["notes"]["columns"][0].update(waves=["moon"]))
    assert "waves=('moon',) of a column in its notes must be among" in refused(capsys, "info", "net")


def test_a_network_that_was_not_trained_on_a_table_does_not_know_columns(capsys, folder):
    net = Network([2, 3], task="classification", seed=0)
    net.feature_names, net.notes = ["weight", "length"], {"target": "kind"}  # the user's own
    net.save("net")
    for words in (["predict", "net", "pets.csv"], ["evaluate", "net", "--data", "pets.csv"]):
        assert "pets.csv is a table, and the network does not know its columns" in refused(capsys, *words)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("labels", wrong) for wrong in (None, "abc", ["a", "b"], ["a", "b", "b"], ["a", "b", "c", "c"], [])],
        *[("labels", wrong) for wrong in ([0, 1, 2], [["a"], "b", "c"], {"a": 1, "b": 2, "c": 3})],
        *[("target", wrong) for wrong in (None, 3, ["kind"])],
        *[("decimal", wrong) for wrong in (None, ";", [","])],
        ("grouped", 1),
        ("columns", []),
        *[("held_out", wrong) for wrong in (None, {}, {**HELD_OUT, "rows": "90"}, {**HELD_OUT, "test_split": 1.0})],
    ],
    ids=str,
)
def test_a_file_with_notes_that_do_not_fit_is_refused(capsys, model, tmp_path, name, value):
    forge(tmp_path / model, put("notes", name, value=value))
    message = refused(capsys, "evaluate", model, "pets.csv")
    assert re.search(f"net holds a network that is not valid: (the )?{name}.* in its notes", message)


@pytest.mark.parametrize(("library", "file"), [("pandas", "pets.csv"), ("pyarrow", "pets.parquet")])
def test_without_its_library_a_table_says_what_to_install(capsys, folder, monkeypatch, library, file):
    pets().to_parquet("pets.parquet")
    monkeypatch.setitem(sys.modules, library, None)
    message = refused(capsys, "train", "--data", file, "--target", "kind")
    assert message.startswith(f"xpnet: error: {file} needs {library} (")
    assert message.endswith("; install it with: pip install -e '.[tables]' in a checkout of xpnet\n")


# Texts, dates, missing values


def penguins(n=120, seed=0):
    """A table with all that real ones have; its kinds differ in mass."""
    import pandas

    rng = np.random.default_rng(seed)
    species, sex = rng.choice(["Adelie", "Gentoo"], n), rng.choice(["male", "female"], n)
    mass = 3500 + 1500 * (species == "Gentoo") + 600 * (sex == "male") + rng.normal(0, 100, n).round()
    frame = pandas.DataFrame(
        {
            "id": np.arange(n),
            "species": species,
            "bill": mass / 100 + rng.normal(0, 2, n).round(2),
            "sex": sex,
            "seen": pandas.to_datetime("2007-11-01") + pandas.to_timedelta(rng.integers(0, 700, n), unit="D"),
            "planet": "Earth",
            "mass": mass,
        }
    )
    frame.loc[5:20, "bill"] = np.nan
    frame.loc[8:14, "sex"] = None
    frame.loc[[0, 1], "mass"] = np.nan
    return frame


@pytest.mark.filterwarnings("ignore:the network is calibrated, and what is exported is not")
def test_a_real_table_is_learnt_end_to_end(capsys, folder, monkeypatch):
    from io import BytesIO, TextIOWrapper

    penguins().to_csv("p.csv", index=False)
    words = ["train", "p.csv", "--target", "mass", "--ignore", "id", "--bins", 0, "--epochs", 30, "--save", "net"]
    status, out, err = run_command(capsys, *words, "--members", 1)
    assert (status, err) == (0, "")
    assert out[:4] == [
        "p.csv: 118 examples, 12 inputs from 4 columns, a target from 3260 to 5782; 24 of them for testing "
        "and 19 for validation",
        "Rows: 2 of 120 rows have no 'mass' and are left out",
        "Columns: 1 number; categories 'species' (2), 'sex' (3); dates 'seen'; left out 'planet' (always 'Earth')",
        "Missing values become the median, marked, in 'bill' (16); a value of their own in 'sex' (7)",
    ]
    net = Ensemble.load("net")[0]
    assert json.loads(json.dumps(net.notes)) == net.notes
    assert net.feature_names[:5] == ("species=Adelie", "species=Gentoo", "bill", "bill (missing)", "sex=female")
    assert float(out[-1].split("R2: ")[1].split(",")[0]) > 0.8
    status, out, err = run_command(capsys, "evaluate", "net", "p.csv")
    assert out[0].startswith("R2 on all 118 rows: 0.")
    assert err == "xpnet: p.csv: 2 of 120 rows have no 'mass' and are left out\n"

    # The same rows in another file: other order, dates of another format, no target, standard input
    other = penguins()[["sex", "seen", "bill", "species"]]
    other["seen"] = other["seen"].dt.strftime("%d.%m.%Y")
    text = other.to_csv(index=False, sep=";").encode("utf-16")
    predictions = run_command(capsys, "predict", "net", "p.csv")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(text)))
    assert run_command(capsys, "predict", "net", "-") == predictions
    from xpnet.estimators import TableEncoder

    x = TableEncoder.from_network(net).transform(penguins())
    np.testing.assert_array_equal(np.float32(predictions[1][1:]), net.predict(x).astype(np.float32))
    status, out, _ = run_command(capsys, "info", "net")
    assert (status, out[1][:9]) == (0, "Test R2: ")
    assert out[11].startswith("Member 0: Trained for ")
    assert out[2:11] == [
        "Held out for testing: 24 of 118 rows, at random (test split 0.2, seed 0)",
        "Calibrated: error bars, by the errors of 19 predictions",
        "Target: 'mass', a number",
        "Inputs: 12, from 4 columns",
        "  'species'  category: 'Adelie', 'Gentoo'",
        f"  'bill'     number; missing values become {net.notes['columns'][1]['median']:g}, and are marked",
        "  'sex'      category: 'female', 'male', missing",
        "  'seen'     date as in 2024-12-31: days since 1970, place in the year, place in the week; missing values "
        f"become {np.datetime64(round(net.notes['columns'][3]['median'] * 86400), 's').item():%Y-%m-%d}",
        "  'planet'   left out: always 'Earth'",
    ]
    assert net.provenance.seed == 0
    assert run_command(capsys, "show", "net", "-o", "net.html")[0] == 0


def test_a_column_that_numbers_the_rows_is_named_with_its_remedy(capsys, folder):
    """Not what measures something: real or scattered numbers, time, and what repeats or is missing."""
    rng, n = np.random.default_rng(0), 40
    ids = {"order": rng.permutation(n) + 0.0, "some left": np.sort(rng.permutation(2 * n)[:n])}
    ids["patientId"] = rng.permutation(1000 * n)[:n]
    others = {"mass": rng.normal(size=n), "people": rng.permutation(1000 * n)[:n], "year": 1950 + np.arange(n)}
    others |= {"twice": np.minimum(np.arange(n), n - 2), "gap": np.where(np.arange(n) == 3, np.nan, np.arange(n))}
    table = penguins(n).drop(columns="id").assign(**ids, **others, name=[f"bird {k}" for k in range(n)])
    table.to_csv("p.csv", index=False)
    words = ["train", "p.csv", "--target", "species", "--epochs", 0, "--bins", 0]
    status, out, err = run_command(capsys, *words)
    assert (status, err) == (0, "")
    assert "'name' (another value in every row)" in out[1]
    assert out[3] == (
        "Like an id, 'order', 'some left', 'patientId' have another whole number in every row: if that says nothing "
        "about new rows, add --ignore order --ignore 'some left' --ignore patientId"
    )
    out = run_command(capsys, *words, "--ignore", "order,some left,patientId")[1]
    assert out[3].startswith("Ensemble(")


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ("--target sex --task binary", "prediction,probability"),
        ("--target mass --cost gaussian", "prediction,std"),
    ],
)
@pytest.mark.filterwarnings("ignore:the network is calibrated, and what is exported is not")
def test_every_task_takes_such_a_table(capsys, folder, options, header):
    penguins().to_csv("p.csv", index=False)
    words = [*options.split(), "--members", 2, "--epochs", 1]
    status, _, err = run_command(capsys, "train", "p.csv", *words, "--save", "net")
    assert (status, err) == (0, "")
    for command in (["evaluate", "net", "p.csv"], ["show", "net", "-o", "page.html"]):
        assert run_command(capsys, *command)[0] == 0
    status, out, _ = run_command(capsys, "predict", "net", "p.csv")
    assert (status, out[0]) == (0, header)


def test_what_is_learnt_is_what_scikit_learn_learns(folder):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    from xpnet.estimators import TableEncoder

    rng, n = np.random.default_rng(0), 300
    import pandas

    frame = pandas.DataFrame({"a": rng.normal(size=n), "k": rng.choice([*"abcdefgh"], n, p=[0.3, *[0.1] * 7])})
    frame.loc[rng.choice(n, 20), "a"] = np.nan
    other = frame.assign(k=rng.choice([*"abcxyz"], n))
    for options in ({"min_frequency": 30}, {"min_frequency": 0.1, "max_categories": 4}):
        hot = OneHotEncoder(**options, handle_unknown="infrequent_if_exist", sparse_output=False)
        theirs = make_column_transformer((SimpleImputer(strategy="median", add_indicator=True), ["a"]), (hot, ["k"]))
        mine = TableEncoder(**options).fit(frame)
        theirs.fit(frame)
        for table in (frame, other):
            np.testing.assert_array_equal(mine.transform(table), theirs.transform(table))


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
        (["January 1, 2024", "January 30, 2024", "January 31, 2024"], ISO_DAYS),
        (["2024-01-01T02:00:00+02:00", "2024-01-30T00:00Z", "2024-01-30 23:00:00-0100"], ISO_DAYS),
        (["2024/01/01 00:00", "2024/01/30 12:00", "."], [19723, 19752.5, np.nan]),
    ],
    ids=str,
)
def test_texts_that_are_numbers_or_dates(folder, cells, numbers):
    from pandas import DataFrame

    from xpnet.tables._cells import find_marks, open_column, read_cells

    write("\n".join(["x\ty", *(f'"{cell}"\t1' for cell in cells)]))
    column = open_column(read_table("table.csv").frame["x"], "X", "x")
    np.testing.assert_allclose(read_cells(column, find_marks([column])).values, numbers, rtol=1e-12)
    if "" not in cells:  # as texts in a DataFrame
        column = open_column(DataFrame({"x": cells})["x"], "X", "x")
        np.testing.assert_allclose(read_cells(column, find_marks([column])).values, numbers, rtol=1e-12)


@pytest.mark.needs("pandas")
def test_words_for_the_time_are_no_dates():
    """Pandas takes them for the time at which it reads them."""
    from pandas import DataFrame

    from xpnet.estimators import TableEncoder

    words = TableEncoder().fit_transform(DataFrame({"when": ["now", "today", "now", "later", "later"]}))
    np.testing.assert_array_equal(words, np.eye(3)[[1, 2, 1, 0, 0]])
    dates = TableEncoder().fit(DataFrame({"when": ["2024-01-05", "2024-02-05"]}))
    for word in ("now", "today"):
        with pytest.raises(ValueError, match=f"holds '{word}' in row 2 .* which is not a date as in 2024-12-31"):
            dates.transform(DataFrame({"when": ["2024-01-05", word]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'a,y\n"1,234",0\n"5,678",1\n',
            "holds '1,234' in row 1 of column 'a' (rows count from 1, without the header), which may be 1234 or 1.234; "
            "write numbers without thousands separators",
        ),
        (
            'a;b;y\n1,5;2.25;0\n2,5;3.5;1\n"3";4;0\n',
            "has decimal points, as in '2.25' in row 1 of column 'b' (rows count from 1, without the header), and "
            "decimal commas, as in '1,5' in row 1 of column 'a'",
        ),
        (
            "a,y\n1/2/2024,0\n3/4/2024,1\n",
            "holds '1/2/2024' in row 1 of column 'a' (rows count from 1, without the header), whose day and month "
            "cannot be told apart; write dates as in 2024-12-31",
        ),
        ("a,y\n2024-01-05,0\n5.1.2024,1\n", "holds '2024-01-05' in row 1 of column 'a'"),
        ("a,y\n2024-01-05,0\n5.1.2024,1\n", "and dates that are written otherwise; write all alike, or leave the col"),
        ("a,y\n2024-01-05T10:00Z,0\n2024-01-06T10:00,1\n", "holds '2024-01-06T10:00' in row 2 of column 'a'"),
        ("a,y\n1,0\n12%,1\n", "holds '1' in row 1 of column 'a' (rows count from 1, without the header), and num"),
        ("a,y\n1,0\n2,1\nx,0\n", "holds 'x' in row 3 of column 'a' (rows count from 1, without the header), and numb"),
        ("a,b,y\n1,0,0\n2,1,1\n", "column 'b' of table.csv equals the target in every row, which would give the net"),
        ("b,a,y\nu,1,u\nv,2,v\n", "column 'b' of table.csv equals the target in every row, which would give the net"),
        ("a,y\n,0\n,1\n,0\n", "table.csv has no column to predict from ('a': left out: no values)"),
        ("a,y\np,0\nq,1\nr,0\n", "table.csv has no column to predict from ('a': left out: another value in every row)"),
        ("a;b,y\n1;2,0\n2;3,1\n", "its columns may be separated by commas or semicolons; put quotes around names"),
        ("a,a (missing),y\n1,5,0\n,6,1\n3,7,0\n4,8,1\n", "whose inputs would both be named 'a (missing)'; rename one"),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_refused(capsys, folder, text, message):
    write(text)
    words = ["train", "table.csv", "--target", "y", "--test-split", 0, "--task", "classification", "--bins", 0]
    assert message in refused(capsys, *words)


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
        ({"a": ["1.234", "2.500", "3.100", None], "b": ["1,5", "2", "3", "4"]}, [1234, 2500, 3100, 2500]),
    ],
    ids=str,
)
def test_rows_are_read_alike_with_and_without_the_others(columns, numbers):
    """The decimal mark that training found is used again, where a new table does not show it."""
    from pandas import DataFrame

    from xpnet.estimators import TableEncoder

    frame = DataFrame({**columns, "n": range(4), "x": [0.5, 3.428, 1.5, 2.5]})
    encoder = TableEncoder().fit(frame)
    whole = encoder.transform(frame)
    assert whole[:, 0].tolist() == numbers
    for rows in ([0], [1], [2], [3], [0, 2], [1, 2], [3, 0]):
        np.testing.assert_array_equal(encoder.transform(frame.iloc[rows]), whole[rows])


@pytest.mark.parametrize(
    ("trained", "new", "message"),
    [
        (GERMAN, "3.5", "X holds '3.5' in row 1 of column 'a' (rows count from 1, without the header), but other "),
        (GERMAN, "3.5", "numbers, here or in training, have decimal commas, as in 12,5; write all numbers alike"),
        (["1,5", "2,5"], "1,234.5", "have decimal commas, as in 12,5; write all numbers alike"),
        (["1,5", "2,5"], "3.428", "which may be 3.428 or 3428; write numbers without thousands separators, and with"),
        (["1.5", "2.5"], "3,5", "have decimal points, as in 12.5; write all numbers alike"),
        (["1.5", "2.5"], "3,428", "which may be 3428 or 3.428; write numbers without thousands separators"),
        (["1.234", "2.345"], "1.234.567", "have decimal points, as in 12.5; write all numbers alike"),
        (["1,234.5", "2"], "3,5", "have decimal points, as in 12.5; write all numbers alike"),
        (["1", "2"], "3,428", "which may be 3428 or 3.428; write numbers without thousands separators"),
    ],
)
def test_numbers_that_are_not_written_as_in_training_are_refused(trained, new, message):
    from pandas import DataFrame

    from xpnet.estimators import TableEncoder

    encoder = TableEncoder().fit(DataFrame({"a": trained}))
    with pytest.raises(ValueError, match=re.escape(message)):
        encoder.transform(DataFrame({"a": [new]}))


def test_real_numbers_are_not_read_as_texts():
    """Whatever the decimal mark of texts in training."""
    from pandas import DataFrame
    from pyarrow import table

    from xpnet.estimators import TableEncoder

    encoder = TableEncoder().fit(DataFrame({"a": GERMAN, "b": [0.5, 1.5, 2.5, 3.5]}))
    for frame in (DataFrame({"a": [3.428], "b": [3.428]}), table({"a": [3.428], "b": [3.428]})):
        np.testing.assert_array_equal(encoder.transform(frame), [[3.428, 3.428]])
    np.testing.assert_array_equal(encoder.transform(DataFrame({"a": ["3.428"], "b": ["3.428"]})), [[3428, 3428]])
    for cell in ("7,5", "?"):  # beside texts, too
        with pytest.raises(ValueError, match=r"X holds '3\.4280' in row 1 .* have decimal commas"):
            encoder.transform(DataFrame({"a": [3.428, cell], "b": [1.5, 2.5]}))
        with pytest.raises(ValueError, match="and numbers that are written otherwise"):
            TableEncoder().fit(DataFrame({"a": [cell, 3.428, "2,5", "1,5"]}))
    encoder = TableEncoder().fit(DataFrame({"a": [3.428, 2.5]}))  # which shows no mark, so that a new table may
    np.testing.assert_array_equal(encoder.transform(DataFrame({"a": ["2", "1,5"]})), [[2], [1.5]])
    with pytest.raises(ValueError, match=r"holds '1\.234' in row 1 .* which may be 1\.234 or 1234"):
        encoder.transform(DataFrame({"a": ["1.234", "1,5"]}))


def prices(n=120, seed=0):
    """A table of prices, with points for thousands and commas for decimals, and the target twice the price."""
    rows = []
    for cents in 50 * np.random.default_rng(seed).integers(2000, 2000000, n):
        texts = [f"{value / 100:,.0f}" if value % 100 == 0 else f"{value / 100:,.2f}" for value in (cents, 2 * cents)]
        rows.append(";".join(texts).translate(str.maketrans(",.", ".,")))
    return rows


def test_files_are_read_with_the_decimal_mark_of_training(capsys, folder, monkeypatch):
    """Also whole prices, which show none; and the target."""
    from io import BytesIO, TextIOWrapper

    rows = prices()
    whole = [k for k, row in enumerate(rows) if "," not in row]
    assert len(whole) > 20
    write("\n".join(["price;y", *rows]), "t.csv")
    write("\n".join(["price;y", *(rows[k] for k in whole)]), "new.csv")
    words = ["train", "t.csv", "--target", "y", "--task", "regression", "--save", "net", "--members", 2, "--epochs", 20]
    assert run_command(capsys, *words)[0] == 0
    assert Ensemble.load("net")[1].notes["decimal"] == ","
    predictions = run_command(capsys, "predict", "net", "t.csv")[1][1:]
    status, out, err = run_command(capsys, "predict", "net", "new.csv")
    assert (status, err) == (0, "")
    np.testing.assert_allclose(np.float64(out[1:]), np.float64(predictions)[whole], rtol=1e-5)
    with open("new.csv", "rb") as file:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(file.read())))
    assert run_command(capsys, "predict", "net", "-")[1] == out
    for name in ("t.csv", "new.csv"):
        assert float(run_command(capsys, "evaluate", "net", name)[1][0].split(": ")[1].split(",")[0]) > 0.9
    assert run_command(capsys, "show", "net", "-o", "page.html")[0] == 0
    message = "but other numbers, here or in training, have decimal commas, as in 12,5; write all numbers alike"
    for text in ("price\n3.5\n", "price;y\n5;1.5\n"):
        write(text, "points.csv")
        assert f"points.csv holds '{text.split()[-1][-3:]}' in row 1" in refused(capsys, "predict", "net", "points.csv")
        assert message in refused(capsys, "predict", "net", "points.csv")


@pytest.mark.parametrize(
    ("trained", "new", "message"),
    [
        ("a,y\n1.5,1\n2.25,2\n", "a;y\n3,5;1\n", "holds '3,5' in row 1 of column 'a'"),
        ("a,y\n1.5,1\n2.25,2\n", "a;y\n3.428;1,5\n", "holds '3.428' in row 1 of column 'a'"),
        ("a,y\n1.5,1\n2.25,2\n", "a;y\n3;1,5\n", "holds '1,5' in row 1 of column 'y'"),
        ("b,a,y\n3,1.5,1\n4,2.25,2\n", "b;a;z\n1;3.428;1,5\n", "holds '3.428' in row 1 of column 'a'"),
        ("a,y\n1.234,1\n12.345,2\n", "a,y\n1.234.567,1\n2.345,1\n", "holds '1.234.567' in row 1 of column 'a'"),
        ('a,y\n"1,234.5",1\n"1,234",2\n', "a;y\n3,5;1\n", "holds '3,5' in row 1 of column 'a'"),
    ],
)
def test_files_with_decimal_commas_are_refused_after_points(capsys, folder, trained, new, message):
    write(trained + trained.split("\n", 1)[1] * 20, "t.csv")
    words = ["train", "t.csv", "--target", "y", "--task", "regression", "--epochs", 0, "--save", "net"]
    assert run_command(capsys, *words)[0] == 0
    write(new, "new.csv")
    assert message in refused(capsys, "predict", "net", "new.csv")


def test_other_encodings_and_separators(capsys, folder):
    for name, content, names in (
        ("bar.txt", "\ufeffa|é\n\n1|2\n3|4\n".encode(), ["a", "é"]),
        ("spaces.txt", b"a   b\n1   2\n3   4\n", ["a", "b"]),
        ("tabs.csv", "a b\té\n1\t2\n3\t4\n".encode("utf-16"), ["a b", "é"]),
        ("quotes.csv", b'"a;b","c, d"\n1,2\n3,4\n', ["a;b", "c, d"]),
        ("blank.csv", b"a, b\n\n1, 2\n3, 4\n\n", ["a", "b"]),
        ("lines.csv", "a,\u2028b;é\n1;2\n3;4\n".encode(), ["a,\u2028b", "é"]),
    ):
        (folder / name).write_bytes(content)
        table = read_table(name)
        assert (table.names, table.frame.to_numpy().tolist()) == (names, [[1, 2], [3, 4]]), name
    write('"a, b";"c"\n"1, 2";"3"\n')  # a comma within quotes separates nothing, though each line has one
    assert read_table("table.csv").frame.to_numpy().tolist() == [["1, 2", 3]]
    (folder / "latin.csv").write_bytes("é,y\n1,2\n".encode("latin-1"))
    message = "latin.csv cannot be read as a table ('utf-8' codec can't decode byte 0xe9"
    assert message in refused(capsys, "train", "latin.csv", "--target", "y")


def test_values_that_training_did_not_know(capsys, folder):
    """Unknown values are rare ones, and are counted; columns that hold something else are refused."""
    import pandas

    frame = penguins().assign(code=[f"{k:02}" for k in np.arange(120) % 6], rare=["a", "b", "c", *["d"] * 117])
    frame.to_csv("p.csv", index=False)
    words = ["train", "p.csv", "--target", "mass", "--ignore", "id,seen", "--ignore", "planet", "--save", "net"]
    words += ["--members", 1, "--bins", 0]
    _, out, _ = run_command(capsys, *words, "--categories", "code", "--epochs", 1)
    assert "categories 'species' (2), 'sex' (3), 'code' (6), 'rare' (2)" in "".join(out)
    net = Ensemble.load("net")[0]
    assert "code=05" in net.feature_names  # 05 is not 5
    inputs = {name: k for k, name in enumerate(net.feature_names)}

    def encode(**columns):
        frame.head(4).assign(**columns).to_csv("new.csv", index=False)
        return read_table("new.csv", ["code"]).inputs(Columns.of(net.feature_names, net.notes, 0))

    encoded = encode(code="07", rare=["e", "a", None, "d"], sex="?", species=3)
    x, notes = encoded.x, encoded.describe("new.csv")
    assert x[:, inputs["rare (rare)"]].tolist() == [1, 1, 1, 0]
    assert not x[:, [k for name, k in inputs.items() if name.startswith(("code", "sex"))]].any()
    assert notes == ["new.csv has values that training did not have: unknown in 'species' (4), 'sex' (4), 'code' (4)"]
    assert encoded.rows.all()
    assert run_command(capsys, "predict", "net", "new.csv")[2] == "".join(f"xpnet: {note}\n" for note in notes)
    assert encode(code=["00", "6", "01", None]).rows.tolist() == [False, True, False, True]
    for columns, message in (
        ({"bill": "long"}, "new.csv holds 'long' in row 1 of column 'bill' (rows count from 1, without the header)"),
        ({"bill": "12%"}, "new.csv holds numbers with % in column 'bill', and training had without %"),
        ({"bill": "2024-01-05"}, "which is not a number; it held numbers in training"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            encode(**columns)
    pandas.DataFrame({"bill": [1]}).to_csv("new.csv", index=False)
    assert "new.csv lacks columns that the network was trained on: 'species', 'sex', 'code'" in refused(
        capsys, "predict", "net", "new.csv"
    )


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[1], [2]], "X holds unhashable type: 'list' in column 'a'; give numbers, dates or texts"),
        ([1j, 2j], "X holds complex128 in column 'a'; give numbers, dates or texts"),
        ([np.timedelta64(1, "D"), np.timedelta64(2, "D")], "X holds timedelta64"),
        ([1, "x"], "X holds 'x' in row 2 of column 'a'"),
        ([np.inf, 1.0], "X holds inf in row 1 of column 'a'"),
    ],
    ids=str,
)
def test_cells_of_other_kinds_are_refused(cells, message):
    import pandas

    from xpnet.estimators import TableEncoder

    with pytest.raises(ValueError, match=re.escape(message)):
        TableEncoder().fit(pandas.DataFrame({"a": cells}))


def test_many_categories_are_capped(folder):
    import pandas

    values = np.repeat([f"v{k:04}" for k in range(100)], 50)
    pandas.DataFrame({"v": values, "y": np.arange(5000) % 2}).to_csv("t.csv", index=False)
    data = read_parts("t.csv", "y")
    assert data.train[0].shape == (4000, 40)
    np.testing.assert_array_equal(data.train[0].sum(axis=1), 1)


@pytest.mark.parametrize(
    ("column", "name", "value"),
    [
        (0, "decimal", ";"),
        (0, "grouped", 1),
        (0, "median", "3"),
        (0, "median", float("inf")),
        (0, "kind", "other"),
        *(
            (0, "bins", wrong)
            for wrong in ({"scale": 1.0}, [], {"scale": 0.0, "edges": []}, {"scale": 1.0, "edges": 1})
        ),
        *(
            (0, "bins", {"scale": 1.0, "edges": edges})
            for edges in ([0.0, 1.0], [0.0, 2.0, 2.0], [0.0, 1.0, float("nan")])
        ),
        (1, "values", [1]),
        (1, "signed", True),
        (1, "x", 1),
    ],
    ids=str,
)
def test_a_file_with_columns_that_do_not_fit_is_refused(capsys, originals, folder, column, name, value):
    forge(copyfile(originals / "coded", folder / "net"), put("notes", "columns", column, name, value=value))
    for words in (["predict", "net", originals / "coded.csv"], ["info", "net"]):
        assert "net holds a network that is not valid: " in refused(capsys, *words)


def test_save_replaces_networks_of_the_same_data_and_target(capsys, folder):
    words = ["train", "--epochs", 1, "--quiet", "--save", "net"]
    assert run_command(capsys, *words, "pets.csv", "--target", "kind")[0] == 0
    assert len(Ensemble.load("net")) == 8
    assert run_command(capsys, *words, "./pets.csv", "--target", "kind", "--hidden", 5, "--members", 1)[0] == 0
    assert Ensemble.load("net")[0].sizes == [66, 5, 3]
    message = "--save net holds another network, trained on pets.csv to predict 'kind'; give --force to replace it"
    assert message in refused(capsys, *words, "line.csv", "--target", "y")
    assert message in refused(capsys, *words, "pets.csv", "--target", "weight")
    assert Ensemble.load("net")[0].sizes == [66, 5, 3]
    assert run_command(capsys, *words, "line.csv", "--target", "y", "--force")[0] == 0
    for name, y in (("x", np.eye(20, 3)), ("y", np.arange(20) % 2), ("z", np.arange(20) % 4)):
        np.save(name, y)
    words[-1] = "of-arrays"
    assert run_command(capsys, *words, "x.npy", "--target", "y.npy")[0] == 0
    assert run_command(capsys, *words, "x.npy", "--target", "y.npy", "--hidden", 5)[0] == 0
    message = "--save of-arrays holds another network, trained on x.npy and y.npy; give --force to replace it"
    assert message in refused(capsys, *words, "x.npy", "--target", "z.npy")
    assert message in refused(capsys, *words, "x.npy")
    words[-1] = "net"
    write("mine", "net")
    assert "--save net holds something other than a network" in refused(capsys, *words, "line.csv", "--target", "y")
    Network([2, 1]).save("net")
    assert "--save net holds another network; give --force" in refused(capsys, *words, "line.csv", "--target", "y")
    status, _, err = run_command(capsys, "train", "line.csv", "--data", "pets.csv")
    assert (status, err.split(" (see")[0]) == (
        2,
        "xpnet train: error: DATA is given twice: line.csv and --data pets.csv",
    )


def test_a_table_has_threads_only_where_the_library_has_some(capsys, folder):
    pytest.importorskip("jax")
    message = "--blas-threads 1 has no effect on --backend jax, which has its own threads"
    words = ["train", "pets.csv", "--target", "kind", "--epochs", 1, "--blas-threads", 1]
    assert message in refused(capsys, *words, "--backend", "jax")


def test_save_compares_the_network_with_the_one_that_it_replaces(capsys, folder):
    """On the rows that the new one is tested on, and for as long as the data have what the earlier one needs."""

    def train(*options):
        words = ["train", "pets.csv", "--target", "kind", "--save", "net", "--epochs", 1, "--bins", 0]
        status, out, err = run_command(capsys, *words, *options)
        assert (status, err) == (0, "")
        return next(line for line in out if line.startswith("Saved")), out[-1].split(" after")[0]

    def without_heading(score):
        return score.removeprefix("Test ")

    saved, first = train("--members", 1)
    assert saved == "Saved to net"
    saved, again = train("--members", 1, "--metrics", "mae")
    assert re.search(r"an ensemble with accuracy: .*, mae: \S+ on these test rows; now it is .*, mae: ", saved)
    saved, second = train("--members", 2, "--hidden", 5, "--ignore", "weight")
    assert again.startswith(first)
    expected = f"an ensemble with {without_heading(first)} on these test rows; now it is {without_heading(second)}"
    assert saved == f"Saved to net, in place of {expected}"
    saved, third = train("--members", 2, "--seed", 1)
    pattern = "an ensemble with accuracy: .* on these test rows, some of which it may have been trained on; now it is "
    assert re.fullmatch(f"Saved to net, in place of {pattern}{re.escape(without_heading(third))}", saved)
    saved, fourth = train("--members", 2, "--test-split", 0)
    assert saved.startswith(f'Saved to net, in place of an ensemble: "{third}"; now it is accuracy: ')
    pets().drop(columns="weight").to_csv("pets.csv", index=False)
    saved, last = train("--members", 1)
    expected = f'an ensemble that cannot be evaluated on these test rows: "{fourth}"; now it is {without_heading(last)}'
    assert saved == f"Saved to net, in place of {expected}"
    write("mine", "net")
    assert train("--force")[0] == "Saved to net, in place of something other than a network"
    digits = ["train", "--hidden", 5, "--epochs", 1, "--save", "digits"]
    score = run_command(capsys, *digits)[1][-1].removeprefix("Test ").split(" after")[0]
    saved = run_command(capsys, *digits, "--seed", 1)[1][-2]
    assert saved.startswith(
        f"Saved to digits, in place of a network with {score} on these test rows; now it is accurac"
    )


def test_info_of_other_networks(capsys, folder):
    net = Network([3, 2], task="classification", seed=0)
    net.save("net")
    assert run_command(capsys, "info", "net")[1] == [
        f"net: {net}",
        "Not trained; 8 weights and biases",
        "Inputs: 3",
        "Seed 0, initial weights scaled_normal",
    ]


EVIL = "\x1b[2J\x9b1m\u202e\r\nForged: 100%"


def show(capsys, *words):
    """Run a command; nothing that it prints may act on a terminal, or begin a line of its own."""
    _, out, err = run_command(capsys, *words)
    lines = [line.replace("\t", " ") for line in (*out, *err.splitlines())]
    assert all(line.isprintable() and not line.startswith("Forged") for line in lines)
    return "\n".join(lines)


def test_nothing_from_a_file_acts_on_the_terminal(capsys, originals, folder):
    """Notes, names of columns and classes, the name of the file itself, and errors that quote what is in a file."""
    for place in (("notes", "data"), ("notes", "score"), ("notes", "target")):
        forge(copyfile(originals / "net", folder / "net"), put(*place, value=EVIL))
        assert "\\x1b[2J\\x9b1m\\u202e\\r\\n" in show(capsys, "info", "net")
    left_out = {"kind": "left out", "name": EVIL, "reason": EVIL}
    forge(folder / "net", lambda header, arrays: header["notes"]["columns"].append(left_out))
    assert show(capsys, "info", "net").count("\\u202e") == 3
    long = {"kind": "left out", "name": 9999 * "n", "reason": "x"}
    forge(folder / "net", lambda header, arrays: header["notes"]["columns"].append(long))
    assert sum(len(line) > 999 for line in show(capsys, "info", "net").splitlines()) == 1  # others are not as wide
    path = copyfile(originals / "net", folder / EVIL)
    forge(path, put(EVIL, value=1))
    assert show(capsys, "info", path).count("\\x1b[2J") == 2
    with pytest.raises(CheckpointError) as caught:
        Network.load(path)
    assert str(caught.value).isprintable()
    write(f'a,"{EVIL}"\n' + "1,p\n2,q\n" * 9, f"{EVIL}.csv")
    assert show(capsys, "train", f"{EVIL}.csv", "--target", "a", "--epochs", 0).count("\\u202e") == 2


def test_names_of_files_do_not_act_on_the_terminal(capsys, folder):
    """Those to write and those to resume; an option may be the name of a file too, as `*` of the shell finds it."""
    words = ["train", "pets.csv", "--target", "kind", "--save", f"s{EVIL}", "--checkpoint", f"c{EVIL}"]
    assert show(capsys, *words, "--epochs", 1, "--resume").count("\\u202e") == 2
    assert show(capsys, *words, "--epochs", 1).count("\\u202e") == 1
    for command, *options in (["predict", "pets.csv"], ["export"], ["show"]):
        assert show(capsys, command, f"s{EVIL}", *options, "-o", f"o{EVIL}").count("\\u202e") == 1
    assert show(capsys, *words, "--plot", f"{EVIL}.png", "--epochs", 1, "--resume").count("\\u202e") == 3
    assert show(capsys, "train", f"--{EVIL}").count("\\u202e") == 1
    assert show(capsys, "train", "--checkpoint", EVIL, "--log", EVIL).count("\\u202e") == 2


def test_classes_that_are_formulas_are_written_as_they_are_and_named(capsys, monkeypatch, folder):
    """The file is data, for programs too; a terminal gets no control characters."""
    classes = ["=cmd|' /C calc'!A0", "\x1b[2J", "-1"]
    write("x,y\n" + "".join(f"{k},{name}\n" for k, name in enumerate(classes)) * 9, "t.csv")
    words = ["train", "t.csv", "--target", "y", "--epochs", 1, "--quiet", "--save", "net"]
    assert run_command(capsys, *words)[0] == 0
    remark = "xpnet: a spreadsheet takes these classes for formulas: \"=cmd|' /C calc'!A0\"\n"
    assert run_command(capsys, "predict", "net", "t.csv", "-o", "p.csv")[2] == remark
    predicted = {line.rpartition(",")[0] for line in Path("p.csv").read_text().splitlines()[1:]}
    assert predicted <= {*classes}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert show(capsys, "predict", "net", "t.csv").count("\n") == 28


# Bins


FLOATS = st.floats(-1e307, 1e307) | st.integers(-3, 3) | st.just(np.nan)


@given(values=st.lists(FLOATS, min_size=2, max_size=12), n_bins=st.integers(2, 9), new=st.lists(FLOATS, max_size=3))
@pytest.mark.filterwarnings("ignore:X has values that training did not have")
@example(values=[0.0, 5e-324, 1e-323, 1e307], n_bins=2, new=[1.0, -1e307])
def test_numbers_are_scaled_and_encoded_in_bins(values, n_bins, new):
    import pandas

    from xpnet.estimators import TableEncoder

    known = sorted(value for value in values if value == value)
    frame, new = pandas.DataFrame({"a": np.array(values, float)}), np.array([*new, *known, np.nan], float)
    if not known or (len(set(known)) == 1 and len(known) == len(values)):
        with pytest.raises(ValueError, match="no column to predict from"):
            TableEncoder(bins=n_bins).fit(frame)
        return
    encoder = TableEncoder(bins=n_bins).fit(frame)
    x = encoder.transform(pandas.DataFrame({"a": new}))
    names, column = encoder.get_feature_names_out(), encoder.columns_[0]
    assert (x.dtype, x.shape) == ("float32", (len(new), len(set(names))))
    median, scale, edges = column["median"], *column["bins"].values()
    assert len(edges) <= n_bins + 1
    assert set(edges) <= set(known)
    if edges:
        assert (edges[0], edges[-1]) == (known[0], known[-1])
    if column["missing"]:
        assert names[-1] == "a (missing)"
        np.testing.assert_array_equal(x[:, -1], np.isnan(new))
    for row, value in zip(x, np.where(np.isnan(new), median, new)):
        z = float(np.clip((Fraction(value) - Fraction(median)) / Fraction(scale), -(10**100), 10**100))
        expected = [z / np.sqrt(1 + (z / 3) ** 2)]
        for k, (low, high) in enumerate(pairwise(map(Fraction, edges))):
            part = (Fraction(value) - low) / (high - low)
            expected.append(float(np.clip(part, -1 if k == 0 else 0, 2 if k == len(edges) - 2 else 1)))
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-6, atol=1e-6)
    again = TableEncoder()
    again.columns_ = json.loads(json.dumps(encoder.columns_))
    np.testing.assert_array_equal(again.transform(pandas.DataFrame({"a": new})), x)


@pytest.mark.needs("pandas", "sklearn")
def test_what_has_bins():
    """Quantiles, as many bins as there are values for, and dates; two texts are -1 and 1, and unknown ones 0."""
    import pandas

    from xpnet.estimators import TableEncoder

    n = 321
    frame = pandas.DataFrame(
        {
            "mass": np.arange(n)[::-1],
            "children": np.arange(n) % 4,
            "rain": np.where(np.arange(n) < 300, 0.0, np.arange(n)),
            "truth": np.arange(n) % 2 == 0,
            "day": pandas.to_datetime("2024-01-01") + pandas.to_timedelta(np.arange(n) // 80, unit="D"),
            "sex": np.where(np.arange(n) % 3 == 0, "m", "f"),
            "kind": np.array(["a", "b", "c"])[np.arange(n) % 3],
        }
    )
    encoder = TableEncoder(bins=32).fit(frame)
    columns = {column["name"]: column for column in encoder.columns_}
    assert columns["mass"]["bins"] == {"scale": 160.0, "edges": list(range(0, n, 10))}
    assert columns["children"]["bins"]["edges"] == [0, 1, 2, 3]
    assert columns["rain"]["bins"]["scale"] == 160.0  # half of the range: the quartiles are equal
    assert columns["truth"]["bins"]["edges"] == []
    assert encoder.get_feature_names_out()[33:].tolist() == [
        *("children (scaled)", "children (0 to 1)", "children (1 to 2)", "children (2 to 3)"),
        *("rain (scaled)", "rain (0 to 300)", "rain (300 to 310)", "rain (310 to 320)", "truth (scaled)"),
        *("day (scaled)", *(f"day (2024-01-0{k} to 2024-01-0{k + 1})" for k in range(1, 5))),
        *(f"day ({wave}, {part})" for wave in ("year", "week") for part in ("sine", "cosine")),
        *("sex=m", "kind=a", "kind=b", "kind=c"),
    ]
    new = frame.head(3).assign(day=["2023-12-31", "2024-01-02 12:00", None], sex=["m", "f", "?"])
    with pytest.warns(UserWarning, match=r"did not have: missing in 'day' \(1\); unknown in 'sex' \(1\)$"):
        x = dict(zip(encoder.get_feature_names_out(), encoder.transform(new).T))
    assert x["sex=m"].tolist() == [1, -1, 0]
    assert [x[f"day (2024-01-0{k} to 2024-01-0{k + 1})"].tolist() for k in (1, 2)] == [[-1, 1, 1], [0, 0.5, 1]]
    later = frame.head(1).assign(mass=np.inf)
    with pytest.raises(ValueError, match="X holds inf in row 1 of column 'mass'"):
        encoder.transform(later)
    assert TableEncoder(bins=32).fit(frame[["sex", "kind"]]).transform(frame[["sex", "kind"]]).dtype == "float64"


@pytest.mark.needs("pandas", "sklearn")
def test_bins_of_times_within_a_second_have_names_of_their_own():
    import pandas

    from xpnet.estimators import TableEncoder

    times = pandas.to_datetime("2024-01-01") + pandas.to_timedelta(np.arange(9), unit="ms")
    names = TableEncoder(bins=8).fit(pandas.DataFrame({"at": times})).get_feature_names_out()
    assert len(set(names)) == 1 + 8 + 2 * 3


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (DateColumn("a", 0.0, False, "", False, (), Bins(1.0, (0.0, 1.0, 1e9))), "is too far for a date"),
        (DateColumn("a", -1e300, False, "", False, ()), "is too far for a date"),
        (CategoryColumn("a", ("b",), False, True, True), "is signed, but does not have two values alone"),
        (CategoryColumn("a", ("b", "c"), True, False, True), "is signed, but does not have two values alone"),
    ],
)
def test_columns_of_a_file_that_no_table_gives_are_refused(column, message):
    with pytest.raises(ValueError, match=message):
        from_plain(to_plain([column]))


# For scikit-learn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_frequency": 1.5}, "min_frequency=1.5 must be a number of rows, a fraction of them between 0 and 1, or"),
        ({"max_categories": 1}, "max_categories=1 must be a whole number of at least 2, or None"),
        *(({"bins": n}, f"bins={n!r} must be a whole number of at least 2, or 0 to") for n in (1, True, 8.0)),
        ({"categories": None}, "categories=None must be a sequence of names"),
        ({"categories": iter(["id"])}, "must be a sequence of names, as in ['year']"),
        ({"categories": ["sexes"]}, "categories names 'sexes', but X has the columns 'id', 'species'"),
    ],
)
def test_a_wrong_parameter_of_the_encoder_is_refused(options, message):
    from xpnet.estimators import TableEncoder

    encoder = TableEncoder().fit(penguins().iloc[:, :3])
    before = {**vars(encoder), **options}
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        encoder.set_params(**options).fit(penguins())
    assert vars(encoder) == before


def test_the_encoder_of_a_network_without_columns(monkeypatch):
    from xpnet.estimators import TableEncoder

    with pytest.raises(ValueError, match="net has no columns in its notes; xpnet train writes them"):
        TableEncoder.from_network(Network([2, 1]))
    with pytest.raises(TypeError, match="net is of type int; give a Network or an Ensemble"):
        TableEncoder.from_network(1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"TableEncoder needs pandas .* pip install -e '\.\[tables\]'"):
        TableEncoder().fit([[1.0], [2.0]])


@pytest.mark.slow
def test_the_encoder_passes_the_checks_of_scikit_learn():
    from sklearn.utils.estimator_checks import check_estimator

    from xpnet.estimators import TableEncoder

    check_estimator(TableEncoder(bins=4))


def test_the_page_shows_what_the_command_prints(capsys, folder):
    """But for numbers, and for lines of longer trainings."""

    def blur(lines):
        return [re.sub(r"-?\d+\.?\d*", "0", " ".join(line.split())) for line in lines if not line.startswith("Each")]

    page = (Path(__file__).parents[1] / "docs" / "use" / "tables.md").read_text(encoding="utf-8")
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})
    words = ["train", "penguins.csv", "--target", "body_mass_g", "--save", "penguins.safetensors"]
    _, out, _ = run_command(capsys, *words, "--epochs", 1)
    reading, training = (block.splitlines() for block in re.findall(r"```text\n(.*?)\n```", page, re.DOTALL))
    assert blur([*out[:4], *out[5:-1]]) == blur([*reading, training[0], *training[-3:-1]])
