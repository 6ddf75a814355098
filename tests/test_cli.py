import errno
import io
import json
import os
import re
import signal
import subprocess
import sys

import mpi
import numpy as np
import pytest
from helpers import run_command

from xpnet import Ensemble, Network
from xpnet.cli import main
from xpnet.cli._options import make_parser
from xpnet.training._progress import Progress


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network saved by the command line."""
    path = tmp_path_factory.mktemp("model") / "digits.safetensors"
    assert main(["train", "--epochs", "2", "--sizes", "784,30,10", "--save", str(path)]) == 0
    return path


def test_train_says_what_the_data_is_then_a_line_an_epoch_and_a_last_line(capsys):
    status, out, err = run_command(capsys, "train", "--epochs", 2, "--sizes", "784,20,10")
    assert (status, err) == (0, "")
    assert out[0] == "mnist-sample: 6,000 examples, 784 features, 10 classes; 1,000 of them for testing"
    assert out[1].startswith("Network([784, 20, 10], activation='relu', output_activation='softmax'")
    assert [line.split(",")[0] for line in out[2:4]] == ["Epoch: 1 / 2", "Epoch: 2 / 2"]
    assert out[-1].startswith("Test accuracy: ")
    assert out[-1].endswith(" examples/s")


def test_a_network_that_is_not_trained_has_no_speed(capsys):
    _, out, _ = run_command(capsys, "train", "--epochs", 0, "--sizes", "784,5,10")
    assert out[-1] == "Test accuracy: 10.00% (100/1000) before any training"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_files_that_cannot_be_written_are_refused_before_anything_is_trained(capsys, tmp_path, monkeypatch):
    pipe, file, locked = tmp_path / "pipe", tmp_path / "file", tmp_path / "locked"
    os.mkfifo(pipe)
    file.touch()
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path not in (file, locked))  # the tests may run as root
    for words, message in (
        (["train", "--save", pipe], f"--save {pipe} is not a regular file; name another one"),
        (["train", "--checkpoint", pipe], f"--checkpoint {pipe} is not a regular file; name another one"),
        (["train", "--log", file], f"--log {file} cannot be written to; name another file, or change its permissions"),
        (["train", "--save", locked / "x"], f"--save {locked / 'x'} cannot be written to; name another file, or"),
        (["show", "nothing", "-o", pipe], f"--out {pipe} is not a regular file; name another one"),
    ):
        status, out, err = run_command(capsys, *words)
        assert (status, out) == (1, [])
        assert err.startswith(f"xpnet: error: {message}")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    _, _, err = run_command(capsys, "train", "--save", file)
    assert err == f"xpnet: error: --save {file}: no file can be created in {tmp_path}; name one in another folder\n"


def test_the_bar_is_for_terminals_alone_and_nothing_is_coloured(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    words = ["train", "--epochs", 1, "--hidden", "5"]
    assert run_command(capsys, *words)[2] == ""  # a file or a pipe
    for file in (sys.stdout, sys.stderr):
        monkeypatch.setattr(file, "isatty", lambda: True)
    _, out, err = run_command(capsys, *words)
    assert "Epoch 1/1" in err
    assert "\x1b" not in err + "".join(out)
    for words in (["--help"], ["train", "--help"], ["predict", "--help"], ["trian"], ["backends"]):
        _, out, err = run_command(capsys, *words)
        assert "\x1b" not in err + "".join(out)


def test_quiet_leaves_the_last_line_alone(capsys, tmp_path):
    words = ["train", "--epochs", 2, "--hidden", "5", "--quiet", "--save", tmp_path / "net"]
    status, out, err = run_command(capsys, *words)
    assert (status, len(out), err) == (0, 1, "")
    assert out[0].startswith("Test accuracy: ")
    assert (tmp_path / "net").exists()


def test_a_log_has_a_row_an_epoch_with_the_metrics(capsys, tmp_path):
    words = ["train", "--epochs", 2, "--hidden", "5", "--metrics", "top_3,accuracy", "--log", tmp_path / "run.csv"]
    status, out, _ = run_command(capsys, *words)
    assert status == 0
    rows = [line.split(",") for line in (tmp_path / "run.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["epoch", "1", "2"]
    logs = dict(zip(rows[0], rows[2]))
    accuracy, top_3 = float(logs["test_accuracy"]), float(logs["test_top_3"])
    assert accuracy < top_3
    assert out[-1].startswith(f"Test accuracy: {accuracy:.2%} ({accuracy * 1000:.0f}/1000), top_3: {top_3:.6g} after ")


def test_every_option_reaches_the_network(capsys, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "net.safetensors"
    words = "--data mnist-sample --sizes 784,12,10 --activation tanh --output-activation sigmoid --cost quadratic "
    words += "--epochs 1 --batch-size 50 --lr 0.5 --schedule constant --momentum 0 --weight-decay 0 --seed 3 "
    words += f"--backend torch --device cpu --dtype float64 --save {path}"
    status, out, _ = run_command(capsys, "train", *words.split())
    assert status == 0
    assert out[1] == (
        "Network([784, 12, 10], activation='tanh', output_activation='sigmoid', cost='quadratic', "
        "backend='torch', device='cpu', dtype='float64')"
    )
    from xpnet.datasets import mnist_sample

    train, _ = mnist_sample()
    net = Network([784, 12, 10], activation="tanh", backend="torch", dtype="float64", seed=3)
    net.train(train, epochs=1, batch_size=50, lr=0.5, progress=False)
    saved = Network.load(path, backend="torch")
    np.testing.assert_array_equal(saved.w[0], net.w[0])


def test_every_option_of_training_reaches_the_network(capsys, tmp_path, digits):
    from xpnet import AdamW, Cosine, EarlyStopping

    path = tmp_path / "net.safetensors"
    words = "--sizes 784,12,10 --optimizer adamw --lr 0.002 --schedule cosine --weight-decay 0.1 --dropout 0.1,0.2 "
    words += f"--standardize --validation-split 0.2 --early-stopping 1 --epochs 3 --batch-size 50 --save {path}"
    status, out, _ = run_command(capsys, "train", *words.split())
    assert status == 0
    assert "dropout=[0.1, 0.2], standardize=True" in out[1]
    assert "validation cost: " in out[2]
    net = Network([784, 12, 10], activation="relu", task="classification", dropout=[0.1, 0.2], standardize=True, seed=0)
    options = {"optimizer": AdamW(weight_decay=0.1), "validation_split": 0.2, "callbacks": [EarlyStopping(1)]}
    net.train(digits[0], 3, 50, Cosine(0.002, warmup=0.05), progress=False, **options)
    saved = Network.load(path)
    assert saved.optimizer == net.optimizer
    np.testing.assert_array_equal(saved.w[0], net.w[0])
    assert out[-1].startswith(f"Test accuracy: {net.accuracy(digits[1]):.2%}")


def test_stopping_early_is_said(capsys, monkeypatch):
    """With a rate of 0 nothing becomes better after the first epoch."""
    words = "--sizes 784,5,10 --lr 0 --validation-split 0.5 --early-stopping 2 --epochs 9"
    status, out, _ = run_command(capsys, "train", *words.split())
    assert status == 0
    assert out[-2] == "Stopped after epoch 3; the network is that of epoch 1"


def test_evaluate_and_predict_use_the_saved_network(capsys, model, tmp_path, digits):
    net, (_, (x, y)) = Network.load(model), digits
    status, out, err = run_command(capsys, "evaluate", model)
    assert (status, err) == (0, "")
    assert out == [f"Test accuracy: {net.accuracy((x, y)):.2%} ({net.evaluate((x, y))}/1000)"]
    np.save(tmp_path / "x.npy", x[:3])
    status, out, err = run_command(capsys, "predict", model, tmp_path / "x.npy")
    assert out[0] == "prediction,probability"
    rows = [line.split(",") for line in out[1:]]
    assert [row[0] for row in rows] == [str(each) for each in net.predict(x[:3])]
    np.testing.assert_array_equal(np.float32([row[1] for row in rows]), net.forward(x[:3]).max(axis=1))
    np.save(tmp_path / "one.npy", np.round(x[0] * 255).astype(np.uint8).reshape(28, 28))
    status, out, err = run_command(capsys, "predict", model, tmp_path / "one.npy", "--out", tmp_path / "p.csv")
    assert (status, out, err) == (0, [f"Wrote 1 predictions to {tmp_path / 'p.csv'}"], "")
    lines = (tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["prediction", str(net.predict(x[0]))]


def test_predict_reads_an_image(capsys, model, tmp_path, digits):
    image = pytest.importorskip("PIL.Image")
    x = digits[1][0][:1]
    path = tmp_path / "digit.png"
    image.fromarray(np.round(x.reshape(28, 28) * 255).astype(np.uint8)).save(path)
    status, out, _ = run_command(capsys, "predict", model, path)
    assert status == 0
    assert out[1].split(",")[0] == str(Network.load(model).predict(x)[0])


def test_an_image_for_other_inputs_than_pixels_is_refused(capsys, tmp_path):
    Network([3, 2]).save(tmp_path / "net")
    _, _, err = run_command(capsys, "predict", tmp_path / "net", "digit.png")
    message = "the network takes 3 inputs, which do not form a square image; give a table, or a .npy file of (n, 3)"
    assert err == f"xpnet: error: {message}\n"


def test_an_image_without_its_library(capsys, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    _, _, err = run_command(capsys, "predict", model, "digit.png")
    assert err.startswith(
        "xpnet: error: an image needs Pillow (import of PIL halted; None in sys.modules); install it "
    )


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_regression_reports_r2_and_the_mean_absolute_error(capsys, tmp_path, shape):
    x = np.linspace(0, 1, 40)[:, None]
    y = 3 * x.reshape(shape)
    path = tmp_path / "line.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[5:], y_test=y[5:])
    words = ["--hidden", "3,3", "--activation", "elu(1.0, 2.0),tanh", "--epochs", 50]
    model = tmp_path / "line.safetensors"
    status, out, _ = run_command(capsys, "train", "--data", path, *words, "--save", model)
    assert status == 0
    assert out[0] == f"{path}: 75 examples, 1 feature, a target from 0 to 3; 35 of them for testing"
    assert out[1].startswith("Network([1, 3, 3, 1]")
    assert "activation=['elu(1.0, 2.0)', 'tanh'], output_activation='identity', cost='quadratic'" in out[1]
    errors = 3 * x[5:] - Network.load(model).forward(x[5:])
    r2 = 1 - (errors**2).sum() / ((3 * x[5:] - 3 * x[5:].mean()) ** 2).sum()
    scores = f"Test R2: {r2:.4f}, mean absolute error: {abs(errors).mean():.6g}"
    assert out[-1].startswith(scores)
    test_r2, test_error = (float(part.split(": ")[1]) for part in out[51].split("\t")[2:])  # of the last epoch
    assert test_r2 == pytest.approx(r2, abs=1e-6)
    assert test_error == pytest.approx(abs(errors).mean(), rel=1e-5)
    assert run_command(capsys, "evaluate", model, "--data", path)[1] == [scores]
    np.save(tmp_path / "x.npy", x[:2])
    status, out, _ = run_command(capsys, "predict", model, tmp_path / "x.npy")
    assert (status, out[0]) == (0, "prediction")
    np.testing.assert_array_equal(np.float32(out[1:]), Network.load(model).forward(x[:2])[:, 0])


@pytest.mark.parametrize(
    ("y", "options", "described", "network"),
    [
        ([0, 2, 1, 1], "", "3 classes", "[2, 256, 128, 3], activation='relu', output_activation='softmax'"),
        (
            [[0, 1], [1, 0], [1, 0], [1, 0]],
            "",
            "2 classes",
            "[2, 256, 128, 2], activation='relu', output_activation='so",
        ),
        (
            [[0, 1], [1, 1], [0, 0], [1, 0]],
            "",
            "2 labels",
            "[2, 256, 128, 2], activation='relu', output_activation='si",
        ),
        (
            [[0.5, 1], [2, 1], [0, 0], [1, 0]],
            "",
            "2 targets",
            "[2, 256, 128, 2], activation='relu', output_activation='i",
        ),
        ([0.5, 1, 2, 1], "--cost huber", "a target from 0.5 to 2", "[2, 256, 128, 1], activation='relu', output_act"),
        (
            [0, 1, 1, 0],
            "--task binary",
            "2 classes",
            "[2, 256, 128, 1], activation='relu', output_activation='sigmoid'",
        ),
    ],
)
def test_task_and_sizes_follow_the_arrays(capsys, tmp_path, y, options, described, network):
    path, model, x = tmp_path / "a.npz", tmp_path / "net", np.eye(4)[:, :2]
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    status, out, err = run_command(capsys, "train", "--data", path, "--epochs", 1, "--save", model, *options.split())
    assert (status, err) == (0, "")
    assert out[0] == f"{path}: 8 examples, 2 features, {described}; 4 of them for testing"
    assert out[1].startswith(f"Network({network}")
    np.save(tmp_path / "x.npy", x)
    status, out, _ = run_command(capsys, "predict", model, tmp_path / "x.npy")
    assert (status, len(out)) == (0, 5)
    if "targets" in described or "2 labels" in described:
        assert out[0] == "prediction_0,prediction_1"
    if "classes" in described:
        net = Network.load(model)
        outputs = net.forward(x)
        probabilities = (
            np.where(outputs > 0.5, outputs, 1 - outputs)[:, 0] if net.task == "binary" else outputs.max(axis=1)
        )
        np.testing.assert_allclose([float(line.split(",")[1]) for line in out[1:]], probabilities, rtol=1e-6)
        assert [int(line.split(",")[0]) for line in out[1:]] == net.predict(x).tolist()


def test_backends_says_what_can_be_used_and_what_to_do_else(capsys):
    status, out, _ = run_command(capsys, "backends")
    assert status == 0
    loop = "with the loop in C|with the loop in Python; for that in C, install with a C compiler"
    assert re.fullmatch(f"numpy   can be used on cpu, ({loop})", out[0])
    assert [line.split()[0] for line in out] == ["numpy", "cupy", "torch", "jax", "dpnp"]
    assert all("can be used on" in line or ("cannot be used" in line and "install" in line) for line in out)
    assert "device=None" not in "".join(out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "--activation", "rleu"], "--activation rleu is unknown; choose from 'sigmoid'"),
        (["train", "--sizes", "784,x"], "'784,x' must be whole numbers with commas"),
        (["train", "--frobnicate"], "unrecognized arguments: --frobnicate (see xpnet train --help)"),
        (
            ["train", "--epohcs", "3"],
            "xpnet train: error: unrecognized arguments: --epohcs; did you mean --epochs? (see xpnet train --help)",
        ),
        (["train", "--val=0.1"], "unrecognized arguments: --val=0.1; did you mean --validation-split? (see"),
        (["train", "--c", "x"], "did you mean --categories or --class-weight or --cost or --checkpoint? (see"),
        (["--vers"], "xpnet: error: unrecognized arguments: --vers; did you mean --version? (see xpnet --help)"),
        (["--quiet", "backends"], "xpnet backends: error: unrecognized arguments: --quiet (see xpnet backends --help)"),
        (["trian"], "invalid choice: 'trian'"),
        ([], "required: COMMAND"),
        (["train", "--lr", "nan"], "--lr nan must be a finite number of at least 0"),
        (["train", "--seed", "-1"], "--seed -1 must be None or a whole number of at least 0"),
        (
            ["train", "--optimizer", "adam", "--momentum", "0.9"],
            "--momentum 0.9 is for SGD; --optimizer adam has its own",
        ),
        (["train", "--optimizer", "lm", "--lr", "0.1"], "--lr 0.1 is for other optimizers: LevenbergMarquardt"),
        (["train", "--optimizer", "lm", "--schedule", "step"], "--schedule step is for other optimizers: lm has no"),
        (["train", "--class-weight", "1=2,3=4,1=5"], "'1=2,3=4,1=5' names a class twice; give one number for each"),
        (["train", "--dropout", "a"], "'a' must be a number, or numbers with commas"),
        (["train", "--dropout", "0.1,0.2"], "has 2 rates, but there are 3 layers that can drop"),
        (["train", "--early-stopping", "3"], "--early-stopping 3 needs --validation-split"),
        (["train", "--output-activation", "relu"], "--cost cross_entropy does not go with --output-activation relu"),
        (["train", "--data", "minst"], "--data minst is unknown; choose from mnist-sample"),
        (
            ["train", "--data", "nothing.npz"],
            "error: --data nothing.npz cannot be read (No such file or directory); give the path of an .npz file, a "
            ".npy file of inputs, or a "
            "table (.csv, .tsv, .txt, .parquet, or - for standard input), or choose from mnist-sample, mnist, "
            "fashion-mnist\n",
        ),
        (
            ["train", "--sizes", "784,30,3"],
            "--sizes 784,30,3 does not fit mnist-sample, which has 784 features and 10 classes; give --sizes 784,30,10",
        ),
        (
            ["train", "--sizes", ""],
            "argument --sizes: it does not name any layer; give the units of each, as in 784,30,10",
        ),
        (["train", "--data=--"], "error: --data=--: -- is not a value"),
        (["train", "--blas-threads", "9" * 20], 'must be a whole number of at least 1, below 10001, or "auto"'),
        (["train", "--sizes", "784,10", "--hidden", "5"], "argument --hidden: not allowed with argument --sizes"),
        (["train", "--class-weight", "even"], "'even' must be balanced, or a number for each class: yes=5,no=1"),
        (
            ["train", "--class-weight", "a=2"],
            "--class-weight names the class 'a'; classes of arrays are numbers, as in",
        ),
        (["train", "--class-weight", "12=2"], "--class-weight names the class 12; choose from 0, 1"),
        (
            ["train", "--target", "y"],
            "--target is for tables (.csv, .tsv, .txt, .parquet, or - for standard input; or .npy files), and --data",
        ),
        (["train", "--ignore", "y"], "--ignore is for tables (.csv"),
        (["train", "--test-split", "0.5"], "--test-split is for tables (.csv"),
        (["train", "--test-last"], "--test-last is for tables (.csv"),
        (["train", "--test-group", "a"], "--test-group is for tables (.csv"),
        (["train", "--test-group", "a", "--test-last"], "argument --test-last: not allowed with argument --test-group"),
        (["train", "--log", "no/such/folder/x"], "there is no folder"),
        (["train", "--log", "."], "--log . is a folder; name a file in it"),
        (["predict", "nothing", "x.npy", "--out", "."], "--out . is a folder; name a file in it"),
        (["train", "--save", "no/such/folder/x"], "error: --save no/such/folder/x: there is no folder "),
        (["export", "nothing", "-o", "no/such/folder/x"], "error: --out no/such/folder/x: there is no folder "),
        *[
            (
                [command, "nothing", *files],
                "error: MODEL nothing cannot be read (No such file or directory); give the path of a file written by "
                "xpnet train --save\n",
            )
            for command, *files in (
                ["evaluate"],
                ["predict", "x.npy"],
                ["export", "-o", "x.onnx"],
                ["show", "-o", "x.html"],
            )
        ],
        (["evaluate", "."], "error: MODEL . cannot be read ("),
        (["evaluate", __file__], "does not hold an xpnet network"),
    ],
)
def test_a_wrong_option_or_file_ends_with_one_clear_line(capsys, words, message):
    status, _, err = run_command(capsys, *words)
    assert status in (1, 2)
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert "error: " in err


def test_broken_files_end_with_one_clear_line(capsys, model, tmp_path):
    for name, content in (("a.npz", b"broken"), ("b.npy", b"broken"), ("c.png", b"broken")):
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with open(tmp_path / "several.npy", "wb") as file:
        np.savez(file, a=np.zeros(2))
    np.save(tmp_path / "narrow.npy", np.ones((2, 5)))
    np.savez(tmp_path / "few.npz", x_train=np.ones((2, 5)))
    one = {name: np.ones((2, 1)) for name in ("x_train", "y_train", "x_test")}
    np.savez(tmp_path / "empty.npz", **one, y_test=np.ones(0))
    np.savez(tmp_path / "scalar.npz", **one, y_test=np.ones(()))
    np.savez(tmp_path / "real.npz", **one, y_test=np.ones(2))
    for words, message in (
        (["train", "--data", tmp_path / "a.npz"], "must hold the arrays x_train"),
        (["train", "--data", tmp_path / "few.npz"], "must hold the arrays x_train"),
        (["train", "--data", tmp_path / "empty.npz"], "y_test has shape (0,), but must hold an example in each row"),
        (["train", "--data", tmp_path / "scalar.npz"], "y_test has shape (), but must hold an example in each row"),
        (
            ["train", "--data", tmp_path / "real.npz", "--task", "classification"],
            "holds targets of dtype float64; classes are whole numbers from 0, and for real targets give --task",
        ),
        (["predict", model, tmp_path / "b.npy"], "is not an array of numbers"),
        (["predict", model, tmp_path / "objects.npy"], "is not an array of numbers"),
        (
            ["predict", model, tmp_path / "several.npy"],
            "several.npy holds several arrays; give one, written by numpy.save",
        ),
        (
            ["evaluate", model, "--data", "mnist-sample", "--target", tmp_path / "b.npy"],
            "--target is for .npy files, and --data mnist-sample is not one",
        ),
        (["predict", model, tmp_path / "narrow.npy"], "x has shape (2, 5)"),
        (["predict", model, tmp_path / "c.png"], "is not an image"),
        *[
            (
                ["predict", model, tmp_path / name],
                f"error: FILE {tmp_path / name} cannot be read (No such file or directory); give the path of a table, "
                "a .npy array or an image\n",
            )
            for name in ("none.png", "none.npy", "none.csv")
        ],
        (["evaluate", model, "--data", tmp_path / "none.npz"], f"--data {tmp_path / 'none.npz'} cannot be read (No"),
    ):
        status, out, err = run_command(capsys, *words)
        assert (status, len(err.splitlines()), out) == (1, 1, []), err
        assert message in err


def test_members_are_trained_on_any_data(capsys, tmp_path, digits):
    path, (_, test_data) = tmp_path / "many", digits
    status, out, err = run_command(capsys, "train", "--members", 2, "--hidden", 5, "--epochs", 2, "--save", path)
    assert (status, err) == (0, "")
    assert out[1].startswith("Ensemble([784, 5, 10], members=2, activation='relu'")
    for line in out[2:4]:
        assert re.fullmatch(r"Epoch: \d / 2,\t validation: accuracy 0\.\d+, calibrated log loss \S+", line)
        assert len(line.expandtabs()) <= 80
    ensemble = Ensemble.load(path)
    score = f"Test accuracy: {ensemble.accuracy(test_data):.2%} ({ensemble.evaluate(test_data)}/1000), log loss: "
    assert out[-1].startswith(score)
    assert out[-1].split(" after")[0] == run_command(capsys, "evaluate", path)[1][0]
    np.save(tmp_path / "x.npy", test_data[0][:3])
    rows = [line.split(",") for line in run_command(capsys, "predict", path, tmp_path / "x.npy")[1][1:]]
    probabilities = ensemble.predict_proba(test_data[0][:3])
    assert [int(row[0]) for row in rows] == probabilities.argmax(axis=1).tolist()
    np.testing.assert_array_equal(np.float32([row[1] for row in rows]), probabilities.max(axis=1))


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        ("train", 'give dtype="float64"', "give --dtype float64"),
        ("train", "cost='quantile(0.1, 0.9)' has none", "--cost 'quantile(0.1, 0.9)' has none"),
        (
            "train",
            "give weight_decay, standardize=True, or a smaller lr",
            "give --weight-decay, --standardize, or a smaller --lr",
        ),
        ("train", "standardize=False, resume=True", "--no-standardize, --resume"),
        ("train", "optimizer=SGD(momentum=0.9, lr=f(2))", "--optimizer SGD(momentum=0.9, lr=f(2))"),
        ("train", "the seed of batch_size.csv, 'epochs=3' or sample_weight=2", None),
        ("show", "give image=False, white=2.0 or epochs=3", "give --no-image, --white 2.0 or epochs=3"),
    ],
)
def test_messages_name_the_options_of_the_command(command, message, expected):
    files = ["m", "-o", "x"] if command == "show" else []
    parser = make_parser().parse_args([command, *files]).command
    assert parser.name_options(message) == (expected or message)


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_one_line_about_options(capsys, tmp_path):
    x, y = np.zeros((50, 2)), np.linspace(100, 200, 50)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["train", tmp_path / "a.npz", "--epochs", 1, "--hidden", 2, "--cost", "gaussian"]
    status, _, err = run_command(capsys, *words, "--task", "regression")
    assert (status, len(err.splitlines())) == (0, 1), err
    assert err.startswith("xpnet: warning: targets have mean 150 and ")
    assert err.endswith("; give --standardize, or scale the targets yourself\n")


def interrupt(monkeypatch, epoch, number=signal.SIGINT):
    """Send the process a signal at the beginning of an epoch, by default that of Ctrl-C."""
    begin = Progress.on_epoch_begin

    def on_epoch_begin(self, now):
        if now == epoch:
            signal.raise_signal(number)
        begin(self, now)

    monkeypatch.setattr(Progress, "on_epoch_begin", on_epoch_begin)


def test_an_interrupt_ends_without_a_traceback(capsys, monkeypatch):
    interrupt(monkeypatch, 2)
    status, out, err = run_command(capsys, "train", "--hidden", 5)
    assert (status, err) == (130, "xpnet: interrupted\n")
    assert out[-1].startswith("Epoch: 1 / 15,")


def test_an_interrupt_saves_what_there_is(capsys, monkeypatch, tmp_path):
    path = tmp_path / "net.safetensors"
    words = ["train", "--hidden", 5, "--schedule", "constant", "--save", path]
    run_command(capsys, *words, "--epochs", 2)
    two_epochs = Network.load(path)
    path.unlink()
    interrupt(monkeypatch, 3)
    for also in ("", ", in place of the earlier file"):
        status, _, err = run_command(capsys, *words, "--epochs", 9)
        said = f"interrupted in epoch 3 of 9; the network so far is saved to {path}{also}"
        assert (status, err) == (130, f"xpnet: {said}\n")
    saved = Network.load(path)
    np.testing.assert_array_equal(saved.w[0], two_epochs.w[0])


def test_an_interrupt_before_the_first_step_keeps_the_old_file(capsys, monkeypatch, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    interrupt(monkeypatch, 1)
    status, _, err = run_command(capsys, "train", "--hidden", 5, "--save", path, "--force")
    assert (status, err) == (130, "xpnet: interrupted before the first step; nothing is saved\n")
    assert path.read_bytes() == b"old"


def start(*words, unbuffered=""):
    command = [sys.executable, "-m", "xpnet", *map(str, words)]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}  # by which a closed pipe is noticed earlier
    # Tests that run in the background of a shell ignore Ctrl-C, and so would what they start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_ctrl_c_from_a_terminal_saves_what_there_is(tmp_path):
    path = tmp_path / "net.safetensors"
    with start("train", "--hidden", 5, "--epochs", 20_000, "--save", path) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert lines[2].startswith("Epoch: 1 / 20000")
    assert process.returncode == 130
    assert err.startswith("xpnet: interrupted in epoch ")
    assert err.count("\n") == 1
    assert Network.load(path).sizes == [784, 5, 10]


@pytest.mark.slow
def test_a_training_with_a_checkpoint_goes_on(capsys, monkeypatch, tmp_path):
    """As if it had not been interrupted."""
    path, words = tmp_path / "run", ["train", "--hidden", 5, "--epochs", 3, "--checkpoint"]
    run_command(capsys, *words, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, 2, signal.SIGTERM)
        status, _, err = run_command(capsys, *words, path)
    assert (status, err) == (143, f"xpnet: interrupted in epoch 2 of 3; --resume continues the training in {path}\n")
    status, _, err = run_command(capsys, *words, path, "--resume")
    assert (status, err) == (0, f"Resuming the training in {path}: epoch 2 of 3\n")
    nets = [Network.load(tmp_path / name) for name in ("run", "whole")]
    for w, wanted in zip(nets[0].w, nets[1].w):
        np.testing.assert_array_equal(w, wanted)
    assert nets[0].history["test_cost"] == nets[1].history["test_cost"]


def test_another_training_is_not_gone_on_with(capsys, tmp_path):
    words = ["train", "--quiet", "--hidden", 2, "--epochs", 1, "--validation-split", 0.5, "--task", "classification"]
    words += ["--checkpoint", tmp_path / "run"]
    assert run_command(capsys, *words, "--early-stopping", 1, "--schedule", "cosine")[0] == 0
    for others, message in [
        (
            ["--early-stopping", 5, "--schedule", "cosine"],
            "with EarlyStopping(patience=1), but this one has EarlyStopping(",
        ),
        (
            ["--early-stopping", 1, "--schedule", "step"],
            "with --lr Cosine(peak=0.1, warmup=0.05, final=0.0), but this one",
        ),
        (
            ["--early-stopping", 1, "--schedule", "cosine", "--class-weight", "balanced"],
            "with --class-weight None, but this one has --class-weight balanced; give the same",
        ),
        (["--seed", 8], "with --seed 0, but this one has --seed 8; give the same"),
    ]:
        status, _, err = run_command(capsys, *words, "--resume", *others)
        assert (status, len(err.splitlines())) == (1, 1), err
        assert message in err


def test_wrong_options_of_checkpoints_are_one_line(capsys, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(b"old")
    for words, message in [
        (["--resume"], "--resume needs --checkpoint, the file to write, as in run.safetensors"),
        (["--every", "epoch"], "--every needs --checkpoint, the file to write"),
        (["--checkpoint", path], f"--checkpoint {path} exists already; give --resume to continue the training in it"),
        (["--checkpoint", path, "--resume"], f"{path} does not hold an xpnet network"),
        (["--checkpoint", tmp_path], "is a folder; name a file in it"),
    ]:
        status, out, err = run_command(capsys, "train", "--quiet", *words)
        assert (status, len(err.splitlines()), out) == (1, 1, []), err
        assert message in err
    for wrong in ("week", "0", "0s", "1.5", "-3"):
        with pytest.raises(SystemExit):
            main(["train", f"--every={wrong}"])
        assert "must be epoch, a number of steps such as 1000, or a time such as 30s" in capsys.readouterr().err
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("text", "every"), [("epoch", "epoch"), ("100", 100), ("30s", 30), ("1.5min", 90), ("2 h", 7200)]
)
def test_a_time_has_a_unit(text, every):
    parsed = make_parser().parse_args(["train", "--every", text]).every
    assert (parsed.total_seconds() if isinstance(every, int) and every != 100 else parsed) == every


PATHS = [
    ("predict m t.csv -o t.csv", "--out t.csv would overwrite FILE t.csv"),
    ("predict m t.csv -o m", "--out m would overwrite MODEL m"),
    ("predict m link -o t.csv", "--out t.csv would overwrite FILE link"),
    ("predict m t.csv -o hard", "--out hard would overwrite FILE t.csv"),
    ("export m -o m", "--out m would overwrite MODEL m"),
    ("show m -o m", "--out m would overwrite MODEL m"),
    *[
        (f"train --data t.csv --target y {option} t.csv", f"{option} t.csv would overwrite --data t.csv")
        for option in ("--save", "--checkpoint", "--log", "--plot")
    ],
    ("train --save hanging --log new", "--log new would be the same file as --save hanging"),
    ("train --checkpoint x --save x", "--checkpoint x would be the same file as --save x"),
    ("train --checkpoint m --resume --save ./m", "--checkpoint m would be the same file as --save m"),
]


@pytest.mark.parametrize(("words", "message"), PATHS)
def test_a_file_that_is_read_or_written_is_not_written_over(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name in ("m", "t.csv"):
        (tmp_path / name).write_text(name)
    os.link("t.csv", "hard")
    os.symlink("t.csv", "link")
    os.symlink("new", "hanging")
    files = sorted(os.listdir())
    status, out, err = run_command(capsys, *words.split())
    command = words.split()[0]
    error = f"xpnet {command}: error: {message}; name another file (see xpnet {command} --help)\n"
    assert (status, out, err) == (2, [], error)
    assert sorted(os.listdir()) == files
    assert [(tmp_path / name).read_text() for name in ("m", "t.csv", "hard")] == ["m", "t.csv", "t.csv"]


def test_with_a_closed_stream_for_errors_the_status_says_it(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it then
    assert main(["evaluate", "nothing"]) == 1
    sys.stderr.close()
    assert capsys.readouterr().out == ""


def test_a_closed_pipe_ends_the_command_quietly():
    with start("--help") as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_predictions_that_are_not_read_to_the_end_are_an_error(tmp_path, unbuffered):
    """Without a buffer, Python writes as much of a text as it can, and does not say that some is missing."""
    Network([1, 1], seed=0).save(tmp_path / "net")
    np.save(tmp_path / "x.npy", np.zeros((20_000, 1)))  # a pipe holds less
    with start("predict", tmp_path / "net", tmp_path / "x.npy", unbuffered=unbuffered) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize("buffering", [1, -1], ids=["by lines", "in blocks"])
@pytest.mark.parametrize(("saves", "status"), [(True, 0), (False, 141)])
def test_without_a_reader_a_training_goes_on_if_it_writes_a_file(monkeypatch, tmp_path, saves, status, buffering):
    """As after ``| head -1``."""
    read, write = os.pipe()
    os.close(read)
    path, words = tmp_path / "net.safetensors", ["train", "--sizes", "784,5,10", "--epochs", "2"]
    with open(write, "w", buffering=buffering) as pipe:  # which fails here if it still holds text at its end
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main([*words, *(["--save", str(path)] if saves else [])]) == status
    assert path.exists() == saves
    if saves:
        net = Network.load(path)
        assert len(net.history) == 2
        assert net.notes["score"].startswith("Test accuracy: ")


def test_a_pipe_that_windows_has_closed_counts_as_closed(monkeypatch, tmp_path):
    """It gives another error there."""

    class Pipe(io.StringIO):
        def write(self, text):
            raise OSError(errno.EINVAL, "Invalid argument")

        def fileno(self):
            return null.fileno()

    with open(os.devnull, "w") as null:
        monkeypatch.setattr(sys, "stdout", Pipe())
        path = tmp_path / "net.safetensors"
        assert main(["train", "--sizes", "784,5,10", "--epochs", "1", "--save", str(path)]) == 0
    assert path.exists()


def test_standard_output_may_lack_characters(monkeypatch, capsys, tmp_path):
    """As files and pipes on Windows do: what is for people is escaped; predictions are never altered."""
    folder, out = str(tmp_path / "北京"), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, "cp1252"))
    (tmp_path / "北京").mkdir()
    assert main(["train", "--sizes", "784,5,10", "--epochs", "0", "--save", f"{folder}/net"]) == 0
    assert b"\\u5317\\u4eac" in out.getvalue()
    (tmp_path / "t.csv").write_text("x,city\n" + 10 * "0,北京\n1,Zürich\n", encoding="utf-8")
    pytest.importorskip("pandas")
    model = tmp_path / "cities"
    words = [str(tmp_path / "t.csv"), "--target", "city", "--epochs", "1", "--members", "1", "--save", str(model)]
    assert main(["train", *words]) == 0
    capsys.readouterr()
    written = len(out.getvalue())
    assert main(["predict", str(model), str(tmp_path / "t.csv")]) == 1
    assert len(out.getvalue()) == written
    error = "standard output is in cp1252, which has no '北京'; write a file, in UTF-8, by --out"
    assert capsys.readouterr().err.endswith(f"xpnet: error: {error}\n")
    assert main(["predict", str(model), str(tmp_path / "t.csv"), "-o", str(tmp_path / "p.csv")]) == 0
    assert "北京" in (tmp_path / "p.csv").read_text(encoding="utf-8")


def test_the_version_is_a_line(capsys):
    status, (line,), _ = run_command(capsys, "--version")
    assert (status, line.partition(".")[0]) == (0, "xpnet 0")


# Several processes that train one network


COMMANDS = """
import json, sys
from xpnet.cli import main
for words, status in json.loads(sys.argv[1]):
    assert main(words) == status, words
"""


@pytest.mark.needs("mpi4py", "mpiexec")
def test_ranks_share_a_training_and_one_of_them_prints_and_writes_files(tmp_path, capsys, monkeypatch):
    """The network is that of one process, bit for bit; an error of one rank ends the command on all.

    Rank 0 checks the files that it is to write, while the other reads the data.
    """

    def words(name):
        files = {"--save": "safetensors", "--log": "csv"}
        named = [word for option, suffix in files.items() for word in (option, str(tmp_path / f"{name}.{suffix}"))]
        sizes = ["--sizes", "784,12,10", "--validation-split", "0.1", "--early-stopping", "3"]
        return ["train", "--distributed", "--shards", "2", "--epochs", "2", *sizes, *named]

    wrong = tmp_path / "no" / "file"
    commands = json.dumps([(["train", "--distributed", "--save", str(wrong)], 1), (words("two"), 0)])
    lines = mpi.run(2, "-c", COMMANDS, commands).splitlines()
    (error,) = (line for line in lines if line.startswith("xpnet: "))
    assert error.startswith(f"xpnet: error: --save {wrong}: ")

    monkeypatch.delenv("PMI_SIZE", raising=False)
    _, expected, _ = run_command(capsys, *words("one"))
    said = [line for line in lines if not line.startswith("xpnet: ")]
    assert [line.partition(" after ")[0] for line in said] == [
        line.replace("one", "two").partition(" after ")[0] for line in expected
    ]
    two, one = (Network.load(tmp_path / f"{name}.safetensors") for name in ("two", "one"))
    np.testing.assert_equal([*two.w, *two.b], [*one.w, *one.b])
    assert two.notes["score"] == one.notes["score"]
    assert len((tmp_path / "two.csv").read_text().splitlines()) == 3


@pytest.mark.needs("mpi4py")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shards", "8"], "--shards 8 needs --distributed"),
        (["--distributed", "--shards", "6"], "--shards 6 must be a power of two and a multiple of the number of"),
        (["--distributed", "x.csv"], "--distributed is for arrays, and --data x.csv is a table; leave it out"),
    ],
)
def test_what_cannot_be_shared_is_refused(words, message, capsys):
    status, out, err = run_command(capsys, "train", *words)
    assert (status, out) == (1, [])
    assert err.startswith(f"xpnet: error: {message}")
