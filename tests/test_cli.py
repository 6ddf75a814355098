"""The command: on arrays, on tables, and what it says and writes when something is wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import run_command
from programs import generate as programs

from xpnet import SGD, AdamW, Cosine, EarlyStopping, Ensemble, Network
from xpnet.cli import main
from xpnet.training._progress import Progress

needs_tables = pytest.mark.needs("pandas", "sklearn")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network saved by the command line."""
    path = tmp_path_factory.mktemp("model") / "digits.safetensors"
    assert main(["train", "--epochs", "2", "--hidden", "30", "--save", str(path)]) == 0
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    """Run a command that must succeed without a remark, and return its lines."""
    status, out, err = run_command(capsys, *words)
    assert (status, err) == (0, ""), err
    return out


def refused(capsys, *words):
    """The one line with which a command refuses something."""
    status, _, err = run_command(capsys, *words)
    assert status in (1, 2)
    assert err.count("\n") == 1, err
    assert "error: " in err
    return err


# Arrays


def test_train_says_what_the_data_is_then_a_line_an_epoch_and_a_last_line(capsys, folder):
    words = ["train", "--epochs", 2, "--hidden", 5, "--metrics", "top_3", "--log", "run.csv", "--save", "net"]
    out = run(capsys, *words)
    assert out[0] == "mnist-sample: 6,000 examples, 10 classes; 1,000 of them for testing"
    assert out[1].startswith("Network([784, 5, 10], activation='relu', output_activation='softmax'")
    assert [line.split(",")[0] for line in out[2:4]] == ["Epoch: 1 / 2", "Epoch: 2 / 2"]
    names, *rows = (line.split(",") for line in Path("run.csv").read_text().splitlines())
    logs = dict(zip(names, rows[1], strict=True))
    accuracy, top_3 = float(logs["test_accuracy"]), float(logs["test_top_3"])
    score = f"Test accuracy: {accuracy:.2%} ({accuracy * 1000:.0f}/1000), top_3: {top_3:.6g}"
    assert out[4] == "Saved to net"
    assert out[5].startswith(f"{score} after ")
    assert Network.load("net").notes == {"data": "mnist-sample", "score": score}
    assert "exists already; give --force to replace it" in refused(capsys, *words)
    assert len(run(capsys, *words, "--force", "--quiet")) == 1


def test_every_option_reaches_the_network(capsys, folder, digits):
    pytest.importorskip("torch")
    words = "--hidden 12 --activation tanh --output-activation sigmoid --cost quadratic --epochs 1 --batch-size 50 "
    words += "--lr 0.5 --schedule constant --momentum 0 --weight-decay 0 --seed 3 --backend torch --dtype float64"
    run(capsys, "train", *words.split(), "--save", "net")
    net = Network([784, 12, 10], activation="tanh", backend="torch", dtype="float64", seed=3)
    net.train(digits[0], epochs=1, batch_size=50, lr=0.5, progress=False)
    np.testing.assert_array_equal(Network.load("net", backend="torch").w[0], net.w[0])

    words = "--hidden 12 --optimizer adamw --lr 0.002 --schedule cosine --weight-decay 0.1 --dropout 0.1,0.2 "
    words += "--epochs 3 --standardize --validation-split 0.2 --early-stopping 1 --class-weight 0=2 --force"
    run(capsys, "train", *words.split(), "--save", "net")
    net = Network([784, 12, 10], activation="relu", task="classification", dropout=[0.1, 0.2], standardize=True, seed=0)
    options = {"optimizer": AdamW(weight_decay=0.1), "validation_split": 0.2, "callbacks": [EarlyStopping(1)]}
    net.train(digits[0], 3, 32, Cosine(0.002, warmup=0.05), progress=False, class_weight={0: 2}, **options)
    np.testing.assert_array_equal(Network.load("net").w[0], net.w[0])


def test_digits_are_trained_at_a_small_rate_with_dropout(capsys, folder, digits):
    run(capsys, "train", "--epochs", 1, "--save", "net")
    net = Network([784, 256, 128, 10], activation="relu", task="classification", dropout=[0.1] * 3, seed=0)
    net.train(
        digits[0], 1, 32, Cosine(0.03, warmup=0.03), optimizer=SGD(momentum=0.9, weight_decay=0.001), progress=False
    )
    np.testing.assert_array_equal(Network.load("net").w[0], net.w[0])
    run(capsys, "train", "--epochs", 0, "--dropout", 0, "--save", "plain")
    assert Network.load("plain").dropout == [0.0] * 3


def test_evaluate_and_predict_use_the_saved_network(capsys, model, folder, digits):
    net, (_, (x, y)) = Network.load(model), digits
    assert run(capsys, "evaluate", model) == [
        f"Test accuracy: {net.accuracy((x, y)):.2%} ({net.evaluate((x, y))}/1000)"
    ]
    np.save("x.npy", x[:3])
    out = run(capsys, "predict", model, "x.npy")
    assert out[0] == "prediction,probability"
    rows = [line.split(",") for line in out[1:]]
    assert [row[0] for row in rows] == [str(each) for each in net.predict(x[:3])]
    np.testing.assert_array_equal(np.float32([row[1] for row in rows]), net.forward(x[:3]).max(axis=1))
    pixels = np.round(x[0] * 255).astype(np.uint8).reshape(28, 28)
    np.save("one.npy", pixels)
    assert run(capsys, "predict", model, "one.npy", "-o", "p.csv") == ["Wrote 1 predictions to p.csv"]
    assert Path("p.csv").read_text().splitlines()[1].startswith(f"{net.predict(x[0])},")
    pytest.importorskip("PIL.Image").fromarray(pixels).save("digit.png")
    assert run(capsys, "predict", model, "digit.png")[1].startswith(f"{net.predict(x[0])},")
    out = run(capsys, "info", model)
    assert out[0] == f"{model}: {net}"
    assert out[1:3] == ["Trained on mnist-sample", net.notes["score"]]
    assert out[-3].startswith("Seed 0, ")


def test_bytes_stay_bytes(capsys, folder, digits):
    """A network for them multiplies them by 1/255, and so do the others, in the commands."""
    net, (images, numbers) = Network([784, 10], task="classification", scale=1 / 255, seed=0), digits[1]
    net.save("digits")
    accuracy = net.accuracy((np.round(255 * images).astype(np.uint8), numbers))
    assert run(capsys, "evaluate", "digits")[0].startswith(f"Test accuracy: {accuracy:.2%} (")
    x, y = np.random.default_rng(0).integers(0, 256, (40, 6), np.uint8), np.arange(40) % 3
    np.savez("a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["a.npz", "--hidden", 4, "--epochs", 3, "--save", "net"]
    score = run(capsys, "train", *words)[-1].split(" after")[0]
    net = Network.load("net")
    assert net.scale == 1 / 255
    assert run(capsys, "evaluate", "net", "a.npz") == [score]
    np.save("x.npy", x)
    np.save("y.npy", y)
    predicted = [line.split(",")[0] for line in run(capsys, "predict", "net", "x.npy")[1:]]
    assert predicted == net.predict(x).astype(str).tolist()
    out = run(capsys, "train", "x.npy", "--target", "y.npy", *words[1:-1], "other", "--test-last", "--test-split", 0.25)
    assert out[0] == "x.npy: 40 examples, 3 classes; 10 of them for testing"
    other = Network.load("other")
    assert out[-1].startswith(f"Test accuracy: {other.accuracy((x[30:], y[30:])):.2%}")
    all_rows = run(capsys, "evaluate", "other", "x.npy", "--target", "y.npy")
    assert all_rows[0].startswith(f"All 40 rows: accuracy: {other.accuracy((x, y)):.2%}")


@pytest.mark.parametrize(
    ("y", "options", "described", "network"),
    [
        ([0, 2, 1, 1], "", "3 classes", "3], activation='relu', output_activation='softmax'"),
        ([[0, 1], [1, 0], [1, 0], [1, 0]], "", "2 classes", "2], activation='relu', output_activation='softmax'"),
        ([[0, 1], [1, 1], [0, 0], [1, 0]], "", "2 classes", "2], activation='relu', output_activation='sigmoid'"),
        ([[0.5, 1], [2, 1], [0, 0], [1, 0]], "", "2 targets", "2], activation='relu', output_activation='identity'"),
        ([0.5, 1, 2, 1], "--cost gaussian", "a target from 0.5 to 2", "2], activation='relu', output_act"),
        ([0, 1, 1, 0], "--task binary", "2 classes", "1], activation='relu', output_activation='sigmoid'"),
    ],
)
def test_task_and_sizes_follow_the_arrays(capsys, folder, y, options, described, network):
    x = np.eye(4)[:, :2]
    np.savez("a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    np.save("x.npy", x)
    out = run(capsys, "train", "a.npz", "--epochs", 1, "--save", "net", *options.split())
    assert out[0] == f"a.npz: 8 examples, {described}; 4 of them for testing"
    assert out[1].startswith(f"Network([2, 256, 128, {network}")
    out, net = run(capsys, "predict", "net", "x.npy"), Network.load("net")
    rows = np.array([line.split(",") for line in out[1:]], float)
    if net.task in ("classification", "binary"):
        a = np.asarray(net.forward(x))
        expected = np.where(a > 0.5, a, 1 - a)[:, 0] if net.task == "binary" else a.max(axis=1)
        assert rows[:, 0].tolist() == net.predict(x).tolist()
        np.testing.assert_allclose(rows[:, 1], expected, rtol=1e-6)
    elif options:
        assert out[0] == "prediction,std"
        np.testing.assert_allclose(rows.T, net.predict(x, return_std=True), rtol=1e-6)
    else:
        assert out[0] == "prediction_0,prediction_1"
        np.testing.assert_allclose(rows, net.predict(x), rtol=1e-6)
    if net.task != "regression":
        heading, *lines = run(capsys, "predict", "net", "x.npy", "--probabilities")
        p = np.asarray(net.predict_proba(x))
        p = np.stack([1 - p[:, 0], p[:, 0]], axis=1) if net.task == "binary" else p
        n = p.shape[1]
        assert heading == ",".join([out[0], *(f"probability of {k}" for k in range(n))])
        listed = [line.split(",") for line in lines]
        assert [row[:-n] for row in listed] == [line.split(",") for line in out[1:]]
        np.testing.assert_allclose(np.array([row[-n:] for row in listed], float), p, rtol=1e-6)
    scores = run(capsys, "evaluate", "net", "a.npz")
    if "target" in described:
        assert scores[0].startswith(
            f"Test R2: {net.measure((x, np.array(y)), metrics=['r2'])['r2']:.4f}, mean absolute"
        )


def test_backends_says_what_can_be_used_and_what_to_do_else(capsys):
    out = run(capsys, "backends")
    assert [line.split()[0] for line in out] == ["numpy", "cupy", "torch", "jax", "dpnp"]
    assert all("can be used on" in line or ("cannot be used" in line and "install" in line) for line in out)


# Tables


def write_pets(n=90):
    """Write a table of three kinds that differ in weight and length."""
    import pandas

    rng, kind = np.random.default_rng(0), np.arange(n) % 3
    table = pandas.DataFrame({"weight": 10 * kind + rng.normal(size=n), "length": 100 - 30 * kind, "id": np.arange(n)})
    table["born"] = pandas.Timestamp("2024-01-01") + pandas.to_timedelta(np.arange(n) // 9, "D")
    table = table.assign(kind=np.array(["cat", "dog", "eel"])[kind])
    table.to_csv("pets.csv", index=False)
    return table


@needs_tables
@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.parametrize("seed", [0, 2, 8, 10, 13])  # two without some targets, and the last with intervals
def test_all_commands_on_a_random_table(seed):
    """Beside Python: what is predicted, its intervals, novelty and scores, its export and its page."""
    failure = programs.run(programs.Program("doors", seed, (("shell", seed),)), "numpy")
    assert failure is None, (failure, failure.trace)


@needs_tables
def test_the_command_is_the_estimator(capsys, folder):
    """It trains a `TableClassifier` on the rows that `hold_out` leaves, and writes its ensemble."""
    from xpnet.estimators import TableClassifier
    from xpnet.tables import hold_out

    table = write_pets()
    words = (
        "--target kind --ignore id --members 3 --hidden 5 --epochs 25 --lr 0.1 --schedule constant --seed 3 --bins 4"
    )
    words += " --optimizer adam --batch-size 16 --dropout 0.2 --early-stopping 1 --dtype float64 --class-weight cat=2"
    out = run(capsys, "train", "pets.csv", *words.split(), "--metrics", "top_2", "--save", "net")
    assert out[:2] == ["pets.csv: 90 examples, 3 classes; 18 of them for testing", "Columns: number (2), date (1)"]
    assert out[2].startswith("Epoch: 1 / 25,\t validation: accuracy ")
    network = {"dropout": 0.2, "dtype": "float64", "seed": 3}
    training = {"optimizer": "adam", "lr": 0.1, "batch_size": 16, "class_weight": {0: 2}, "metrics": ["top_2"]}
    X, y = table[["weight", "length", "born"]], table["kind"]
    train, test = hold_out(y, seed=3)
    settings = {"hidden_layer_sizes": 5, "max_epochs": 25, "patience": 1, "bins": 4}
    model = TableClassifier(3, **settings, network=network, training=training).fit(X.iloc[train], y[train])
    saved = Ensemble.load("net")
    for mine, its in zip(saved, model.ensemble_, strict=True):
        np.testing.assert_array_equal(mine.w[0], its.w[0])
    assert len(saved.histories[0]) < 25
    score = str(model.describe_scores(X.iloc[test], y[test]))
    assert out[-1].startswith(f"Test {score} after ")
    assert saved[2].notes["score"] == f"Test {score}"

    out = run(capsys, "evaluate", "net", "pets.csv")
    assert out[1] == f"The network was trained on a table of this name; its score then: Test {score}"
    out = run(capsys, "predict", "net", "pets.csv", "--keep", "id,kind")
    assert out[0] == "id,kind,prediction,probability"
    rows = np.array([line.split(",") for line in out[1:]])
    table.rename(columns={"id": "probability of cat"}).to_csv("other.csv", index=False)
    words = ["predict", "net", "other.csv", "--keep", "probability of cat"]
    assert run(capsys, *words)[0] == "probability of cat,prediction,probability"
    assert "--keep names 'probability of cat', which a column of the pred" in refused(capsys, *words, "--probabilities")
    np.testing.assert_array_equal(rows[:, :3], np.stack([table["id"].astype(str), y, model.predict(X)], axis=1))
    out = run(capsys, "info", "net")
    assert out[:2] == [f"net: {saved}", "Trained on pets.csv"]
    assert "Target: 'kind', classes 'cat', 'dog', 'eel'" in out
    importances = saved[0].notes["importances"]
    start = "  {:.3f} ± {:.3f}  'length'  number, in 2 bins; missing values become ".format(*importances["length"])
    assert any(line.startswith(start) for line in out)
    first = max(importances, key=lambda name: importances[name][0])
    assert f"  {first!r}  " in out[out.index("Columns, by importance (± standard deviation over the networks):") + 1]
    run(capsys, "train", "pets.csv", "--target", "weight", "--optimizer", "lm", "--hidden", 2, "--dtype", "float64")


@needs_tables
def test_targets_that_look_wrong_are_written_with_their_rows(capsys, folder):
    """Rows count from 1; the first has no target."""
    table = write_pets()
    table.loc[0, "weight"], table.loc[40, "weight"] = None, 90.0
    table.to_csv("pets.csv", index=False)
    words = ["train", "pets.csv", "--target", "weight", "--members", 4, "--epochs", 5, "--hidden", 4, "--ignore", "id"]
    out = run(capsys, *words, "--test-split", 0, "--check", "wrong.csv")
    heading, first, *others = Path("wrong.csv").read_text().splitlines()
    assert heading == "row,target,prediction,lower,upper,false_alarms"
    assert first.startswith("41,90.0,")
    assert all(float(line.split(",")[-1]) <= 1 for line in others)
    assert f"Check: {1 + len(others)} of 89 targets look wrong, and about 1 would by chance; see wrong.csv" in out
    out = run(capsys, *words, "--members", 1, "--check", "wrong.csv")
    assert any(" of 15 targets look wrong" in line for line in out)  # a fifth of the 72 rows to train on


@needs_tables
def test_with_the_last_rows_held_out_folds_are_consecutive(capsys, folder, monkeypatch):
    from xpnet.estimators import TableRegressor

    table = write_pets()
    words = ["train", "pets.csv", "--target", "weight", "--members", 4, "--epochs", 3, "--hidden", 4]
    for options, heading in ((["--test-split", 0], "Out-of-fold R2: "), (["--test-last"], "Test R2: ")):
        assert run(capsys, *words, *options, "--save", "net", "--force")[-1].startswith(heading)
    ensemble, X = Ensemble.load("net"), table.drop(columns="weight")
    folds = [np.arange(54, 72), np.arange(36, 54), np.arange(18, 36), np.arange(18)]
    settings = {"hidden_layer_sizes": 4, "max_epochs": 3, "network": {"seed": 0}}
    model = TableRegressor(4, **settings).fit(X[:72], table["weight"][:72], folds=folds)
    np.testing.assert_array_equal(ensemble[0].w[0], model.ensemble_[0].w[0])
    assert "Calibrated: error bars, by the errors of 72 predictions" in run(capsys, "info", "net")
    monkeypatch.setattr("xpnet.tables.recipe.MANY_ROWS", 80)  # of 90, 72 to train on
    run(capsys, *words[:4], *words[6:], "--test-last", "--save", "many")
    assert len(Ensemble.load("many")) == 8
    run(capsys, *words, "--lr", 0.01, "--save", "other")
    assert "lr=Cosine(peak=0.01, warmup=0.1, final=0.0)" in "".join(run(capsys, "info", "other"))


@needs_tables
def test_a_new_table_is_read_with_the_decimal_mark_of_training(capsys, folder):
    """Which 2.500 does not show."""
    rows = [f"{k},5;{k}.000;{3 * k}" for k in range(1, 40)]
    Path("t.csv").write_text("\n".join(["a;b;y", *rows]))
    Path("new.csv").write_text("a;b\n7;2.500\n")
    words = ["t.csv", "--target", "y", "--task", "regression", "--members", 1, "--bins", 0, "--epochs", 1]
    run(capsys, "train", *words, "--save", "net")
    predicted = run(capsys, "predict", "net", "new.csv")[1]
    assert float(predicted) == pytest.approx(
        float(Ensemble.load("net").predict(np.array([[7.0, 2500.0]]))[0]), rel=1e-5
    )


@needs_tables
@pytest.mark.filterwarnings("always")  # a command prints them
def test_whole_groups_are_held_out(capsys, folder):
    table = write_pets().assign(house=lambda table: table["id"] // 9)
    table.insert(0, "country", "NL")
    table.to_csv("pets.csv", index=False)
    words = ["train", "pets.csv", "--target", "weight", "--test-group", "house", "--members", 2, "--epochs", 1]
    out = run(capsys, *words, "--save", "net")
    assert out[0].endswith("; 18 of them for testing")
    assert out[1] == "Columns: left out (2), number (2), date (1), category (1)"
    net = Ensemble.load("net")
    assert not any("house" in name for name in net.feature_names)
    net[0].notes = {**net[0].notes, "importances": {name: [0, 0] for name in net[0].notes["importances"]}}
    net.save("net")
    lines = run(capsys, "info", "net")
    first = lines.index("  'country'  left out: always 'NL'")
    assert lines[first + 1] == "  'house'  left out: its groups are held out as a whole"
    assert sum("  0.000 ± 0.000  " in line for line in lines[:first]) == 4, "columns that are left out come last"
    Path("t.csv").write_text("g,a,y\n" + "".join(f"{'pq'[k % 2]},{k},{k / 7}\n" for k in range(8)) + ",8,9\n")
    words[1:5] = ["t.csv", "--target", "y", "--test-group"]
    error = refused(capsys, *words[:5], "g")
    assert "t.csv has no value in row 9 of column 'g' (rows count from 1, without the header), whose groups" in error
    write_pets().sort_values("kind").to_csv("t.csv", index=False)
    words = ["train", "t.csv", "--target", "kind", "--test-last", "--test-split", 0.7, "--hidden", 4, "--epochs", 1]
    _, _, err = run_command(capsys, *words)
    assert err.startswith("xpnet: warning: t.csv has no rows of 'dog', 'eel' to train on")


@needs_tables
@pytest.mark.filterwarnings("always")
def test_remarks_on_rows_are_one_line(capsys, folder):
    """Unknown and missing values, rows without a target, and targets that may be wrong, by their rows in the file."""
    table = write_pets()
    table.loc[3, "kind"], table.loc[7, "weight"], table.loc[50, "weight"] = "yeti", None, 1e6
    table.to_csv("t.csv", index=False)
    words = ["train", "t.csv", "--target", "weight", "--members", 4, "--epochs", 1, "--hidden", 4, "--save", "net"]
    _, out, err = run_command(capsys, *words, "--test-split", 0)
    assert out[1] == "Rows: 1 of 90 rows have no 'weight' and are left out"
    assert err.startswith(
        "xpnet: warning: column 'weight' of t.csv (rows count from 1, without the header) has 1e+06 in"
    )
    assert " in row 51, and the others are " in err
    table.assign(born=None).to_csv("new.csv", index=False)
    remark = "xpnet: new.csv has values that training did not have, missing or unknown, in 'born' (90)"
    status, out, err = run_command(capsys, "predict", "net", "new.csv", "--novelty")
    assert (status, err.splitlines()) == (0, [remark])
    assert {line.split(",")[-1] for line in out[1:]} == {"1.0"}
    status, _, err = run_command(capsys, "evaluate", "net", "new.csv")
    assert (status, err.splitlines()) == (0, [remark, "xpnet: 1 of 90 rows have no 'weight' and are left out"])


# What is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "required: COMMAND"),
        ("trian", "invalid choice: 'trian'"),
        ("train --epoch 3", "unrecognized arguments: --epoch (did you mean --epochs?) (see xpnet train --help)"),
        ("predict net t.csv u.csv", "unrecognized arguments: u.csv (see xpnet predict --help)"),
        ("predict t.csv net", "t.csv is a table; give a file written by xpnet train --save first, as MODEL"),
        ("train --epochs many", "argument --epochs: invalid int value: 'many'"),
        ("train --hidden 784,x", "argument --hidden: invalid sizes value: '784,x'"),
        ("train --dropout a", "argument --dropout: invalid rates value: 'a'"),
        ("train --class-weight even", "argument --class-weight: invalid weights value: 'even'"),
        ("show m --image 8 -o p", "argument --image: invalid pixels value: '8'"),
        ("train --activation rleu", "activation='rleu' is unknown"),
        ("train --lr nan", "lr=nan must be a finite number"),
        ("train --seed -1", "seed=-1 must be None or a whole number"),
        ("train --schedule fast", "schedule='fast' is unknown"),
        ("train --optimizer adam --momentum 0.9", "momentum=0.9 is not an argument of Adam"),
        ("train --optimizer lm --schedule step", "is for other optimizers: LevenbergMarquardt uses all examples"),
        ("train --optimizer lbfgs --batch-size 9", "batch_size=9 is for other optimizers: LBFGS uses all examples"),
        ("train --output-activation relu", "cost='cross_entropy' does not go with output_activation='relu'"),
        ("train --early-stopping 3", "monitor='validation_cost', which this training does not compute"),
        ("train --class-weight 12=2", "class_weight='12' is unknown; choose from '0', '1'"),
        ("train minst", "DATA minst is unknown; choose from mnist-sample"),
        ("train few.npz", "few.npz must hold the arrays x_train, y_train, x_test, y_test"),
        ("train old.npz", "old.npz must hold the arrays x_train, y_train, x_test, y_test"),
        ("train real.npz --task classification", "real.npz holds targets of dtype float64, and classes are whole num"),
        ("train nothing.npz", "No such file or directory: 'nothing.npz'"),
        ("train --every 10min", "needs checkpoint=, the file to write"),
        ("train --every week --checkpoint x", "every='week' must be \"epoch\", a number of minibatches"),
        ("train --checkpoint old", "checkpoint='old' exists already; give resume=True"),
        ("train --checkpoint new --resume --save old", "--save old exists already; give --force to replace it"),
        ("train --checkpoint old --resume", "old does not hold an xpnet network"),
        *[
            (
                f"train {option}",
                f"{option.split()[0]} is for tables (.csv, .tsv, .txt, .parquet, or - for standard input)",
            )
            for option in (
                "--ignore y",
                "--target y",
                "--test-split 0.5",
                "--test-last",
                "--test-group a",
                "--members 2",
            )
        ],
        *[
            (f"train t.csv --target y --task {task}", f"--task {task} is not for tables; choose from classification, r")
            for task in ("multilabel", "binary", "other")
        ],
        (
            "train t.XLSX --target y",
            "(.csv, .tsv, .txt, .parquet, or - for standard input), and t.XLSX is not; save the",
        ),
        ("train t.csv --log x", "--log is for arrays, and t.csv is not; leave it out"),
        ("train x.npy", "x.npy needs its targets in another file: give --target, as in --target y.npy"),
        ("train --save nowhere/x", "there is no folder "),
        ("train --log .", "--log . is not a file; name another one"),
        ("evaluate nothing", "No such file or directory: 'nothing'"),
        ("evaluate old", "old does not hold an xpnet network"),
        ("predict net x.npy --keep a", "--keep is for tables, and x.npy is not one"),
        ("predict net t.csv", "t.csv is a table, and the network was not trained on one"),
        ("predict net x.png", "the network takes 3 inputs, which do not form a square image"),
        ("predict net x.npy --interval 0.9", "--interval 0.9 is for regressions"),
        ("predict real x.npy --interval 90", "--interval=90.0 must be above 0 and below 1"),
        ("predict real x.npy --interval 0.9", "--interval 0.9: interval needs error bars"),
        ("predict real x.npy --probabilities", "--probabilities is for classes, and the network predicts numbers"),
        ("predict net x.npy --novelty", "call fit_novelty(x) with their inputs first"),
        ("predict net old.npy", "old.npy is not an array of numbers"),
        ("show -o page", "show needs either MODEL"),
        *[
            (f"{words} {written}", f"{written} is also {read}; name another file")
            for words, written, read in (
                ("predict m t.csv", "--out t.csv", "file t.csv"),
                ("predict m link", "--out t.csv", "file link"),
                ("predict m t.csv", "--out hard", "file t.csv"),
                ("export m", "--out m", "model m"),
                ("train t.csv --target y", "--save t.csv", "data t.csv"),
                ("train x.npy --target y.npy", "--checkpoint y.npy", "target y.npy"),
            )
        ],
    ],
)
def test_a_wrong_option_or_file_ends_with_one_clear_line(capsys, folder, words, message):
    """And changes no file."""
    Network([3, 2], task="classification").save("net")
    Network([3, 2], task="regression").save("real")
    for name in ("old", "old.npy", "old.npz", "m", "t.csv", "y.npy"):
        Path(name).write_text("mine")
    np.save("x.npy", np.ones((2, 3)))
    np.savez("few.npz", x_train=np.ones((2, 5)))
    np.savez("real.npz", **dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), np.ones((2, 1))))
    os.link("t.csv", "hard")
    os.symlink("t.csv", "link")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert message in refused(capsys, *words.split())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_one_line(capsys, folder):
    x, y = np.zeros((50, 2)), np.linspace(100, 200, 50)
    np.savez("a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    _, _, err = run_command(capsys, "train", "a.npz", "--epochs", 1, "--hidden", 2, "--cost", "gaussian")
    assert err.startswith("xpnet: warning: targets have mean 150 and ")
    assert err.count("\n") == 1


# Ctrl-C, and streams


def interrupt(monkeypatch, epoch, number=signal.SIGINT):
    """Send the process a signal at the beginning of an epoch, by default that of Ctrl-C."""
    name_epoch = Progress.name_epoch

    def interrupted(self):
        if self.trainings[0].position.epoch == epoch:
            signal.raise_signal(number)
        name_epoch(self)

    monkeypatch.setattr(Progress, "name_epoch", interrupted)


def test_an_interrupt_saves_what_there_is(capsys, monkeypatch, folder):
    words = ["train", "--hidden", 5, "--schedule", "constant"]
    run(capsys, *words, "--epochs", 2, "--save", "two")
    interrupt(monkeypatch, 3)
    status, _, err = run_command(capsys, *words, "--epochs", 9, "--save", "net")
    assert (status, err) == (130, "xpnet: interrupted; the network so far is saved to net\n")
    np.testing.assert_array_equal(Network.load("net").w[0], Network.load("two").w[0])
    interrupt(monkeypatch, 1)
    before = Path("net").read_bytes()
    assert run_command(capsys, *words, "--save", "net", "--force")[::2] == (130, "xpnet: interrupted\n")
    assert Path("net").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param([], id="arrays"),
        pytest.param(["pets.csv", "--target", "kind", "--members", 2], marks=needs_tables, id="table"),
    ],
)
def test_a_training_with_a_checkpoint_goes_on(capsys, monkeypatch, folder, data, number, status):
    """As if it had not been interrupted."""
    if data:
        write_pets()
    words = ["train", *data, "--hidden", 5, "--epochs", 3, "--checkpoint"]
    run(capsys, *words, "whole", "--save", "net")
    with monkeypatch.context() as patch:
        interrupt(patch, 2, number)
        assert run_command(capsys, *words, "run")[0] == status
    code, _, err = run_command(capsys, *words, "run", "--resume", "--save", "other")
    assert (code, err) == (0, "Resuming the training in run: epoch 2 of 3\n")
    kind = Ensemble if data else Network
    assert kind.load("other").fingerprint() == kind.load("net").fingerprint()
    difference = "member 0 of run holds a training with seed=" if data else "seed=0, but this one has seed=8"
    assert difference in refused(capsys, *words, "run", "--resume", "--seed", 8)


def start(*words, unbuffered=""):
    command = [sys.executable, "-m", "xpnet", *map(str, words)]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}  # by which a closed pipe is noticed earlier
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("unbuffered", [pytest.param("", marks=pytest.mark.slow), "1"])
def test_predictions_that_are_not_read_to_the_end_are_an_error(folder, unbuffered):
    """Without a buffer, Python writes as much of a text as it can, and does not say that some is missing."""
    Network([1, 1], seed=0).save("net")
    np.save("x.npy", np.zeros((20_000, 1)))  # a pipe holds less
    with start("predict", "net", "x.npy", unbuffered=unbuffered) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


EVIL = "\x1b[2J\x9b1m\u202e\r\nForged: 100%北"


@needs_tables
def test_nothing_from_a_file_acts_on_the_terminal(capsys, monkeypatch, folder):
    """Names of columns, of classes and of the file itself; predictions in a file or a pipe stay as they are."""
    table = write_pets().rename(columns={"weight": EVIL}).replace("cat", EVIL)
    table.to_csv(f"{EVIL}.csv", index=False)
    train = ["train", f"{EVIL}.csv", "--target", "kind", "--epochs", 1, "--members", 1, "--save", f"net{EVIL}"]
    predict = ["predict", f"net{EVIL}", f"{EVIL}.csv"]
    for words in (train, ["info", f"net{EVIL}"], ["show", f"net{EVIL}", "-o", f"p{EVIL}"], ["evaluate", *predict[1:]]):
        _, out, err = run_command(capsys, *words)
        lines = [line.replace("\t", " ") for line in (*out, *err.splitlines())]
        assert lines
        assert all(line.isprintable() and not line.startswith("Forged") for line in lines), lines
    assert EVIL.splitlines()[0] in "".join(run(capsys, *predict))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert all(line.isprintable() for line in run(capsys, *predict))


@needs_tables
def test_classes_that_are_formulas_are_named(capsys, folder):
    Path("t.csv").write_text("x,y\n" + "1,=A1+1\n2,usual\n3,-1\n" * 9)
    run(capsys, "train", "t.csv", "--target", "y", "--epochs", 1, "--members", 1, "--save", "net")
    _, out, err = run_command(capsys, "predict", "net", "t.csv")
    assert err == "xpnet: a spreadsheet may compute these classes: '=A1+1'\n"
    assert {line.split(",")[0] for line in out[1:]} <= {"=A1+1", "usual", "-1"}


def test_the_version_is_a_line(capsys):
    (line,) = run(capsys, "--version")
    assert line.startswith("xpnet 0.")
