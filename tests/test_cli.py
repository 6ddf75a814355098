import subprocess
import sys

import numpy as np
import pytest

from xpnet.cli import main
from xpnet.core.schedules import SCHEDULES


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network saved by the command line."""
    path = tmp_path_factory.mktemp("model") / "digits.safetensors"
    assert main(["train", "--epochs", "2", "--sizes", "784,30,10", "--save", str(path)]) == 0
    return path


def run(capsys, *words):
    """Status, lines of standard output, and standard error, of a command in this process."""
    capsys.readouterr()
    try:
        status = main([str(word) for word in words])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_train_shows_a_line_an_epoch_a_bar_and_a_last_line(capsys):
    status, out, err = run(capsys, "train", "--epochs", 2, "--sizes", "784,20,10")
    assert status == 0
    assert out[0].startswith("Network([784, 20, 10], activation='relu', output_activation='softmax'")
    assert [line.split(",")[0] for line in out[1:3]] == ["Epoch: 1 / 2", "Epoch: 2 / 2"]
    assert out[-1].startswith("Test accuracy: ")
    assert out[-1].endswith(" examples/s")
    assert "Epoch 2/2" in err


def test_every_option_reaches_the_network(capsys, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "net.safetensors"
    words = "--data mnist-sample --sizes 784,12,10 --activation tanh --output-activation sigmoid --cost quadratic "
    words += "--epochs 1 --batch-size 50 --lr 0.5 --schedule constant --momentum 0 --weight-decay 0 --seed 3 "
    words += f"--backend torch --device cpu --dtype float64 --save {path}"
    status, out, _ = run(capsys, "train", *words.split())
    assert status == 0
    assert out[0] == (
        "Network([784, 12, 10], activation='tanh', output_activation='sigmoid', cost='quadratic', "
        "backend='torch', device='cpu', dtype='float64')"
    )
    from xpnet import Network
    from xpnet.datasets import mnist_sample

    train, _ = mnist_sample()
    net = Network([784, 12, 10], activation="tanh", backend="torch", dtype="float64", seed=3)
    net.train(train, epochs=1, batch_size=50, lr=0.5, progress=False)
    saved = Network.load(path, backend="torch")
    np.testing.assert_array_equal(saved.w[0], net.w[0])


def test_every_option_of_training_reaches_the_network(capsys, tmp_path, digits):
    from xpnet import AdamW, Cosine, EarlyStopping, Network

    path = tmp_path / "net.safetensors"
    words = "--sizes 784,12,10 --optimizer adamw --lr 0.002 --schedule cosine --weight-decay 0.1 --dropout 0.1,0.2 "
    words += f"--standardize --validation-split 0.2 --early-stopping 1 --epochs 3 --batch-size 50 --save {path}"
    status, out, _ = run(capsys, "train", *words.split())
    assert status == 0
    assert "dropout=[0.1, 0.2], standardize=True" in out[0]
    assert "validation cost: " in out[1]
    net = Network([784, 12, 10], activation="relu", task="classification", dropout=[0.1, 0.2], standardize=True, seed=0)
    options = {"optimizer": AdamW(weight_decay=0.1), "validation_split": 0.2, "callbacks": [EarlyStopping(1)]}
    net.train(digits[0], 3, 50, Cosine(0.002, warmup=0.05), progress=False, **options)
    saved = Network.load(path)
    assert saved.optimizer == net.optimizer
    np.testing.assert_array_equal(saved.w[0], net.w[0])
    assert out[-1].startswith(f"Test accuracy: {net.accuracy(digits[1]):.2%}")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_every_optimizer_learns_by_every_schedule_without_more_options(capsys, optimizer, schedule):
    words = ["--optimizer", optimizer, "--schedule", schedule, "--sizes", "784,20,10", "--epochs", 2]
    status, out, _ = run(capsys, "train", *words)
    assert status == 0
    assert float(out[-1].split()[2].rstrip("%")) > 50  # chance is 10


def test_stopping_early_is_said(capsys, monkeypatch):
    """With a rate of 0 nothing becomes better after the first epoch."""
    words = "--sizes 784,5,10 --lr 0 --validation-split 0.5 --early-stopping 2 --epochs 9"
    status, out, _ = run(capsys, "train", *words.split())
    assert status == 0
    assert out[-2] == "Stopped after epoch 3; the network is that of epoch 1"


@pytest.mark.slow
def test_the_recipe_of_mnist_reaches_98_percent_mean_over_5_seeds_in_5_epochs(capsys, monkeypatch, mnist_root):
    pytest.importorskip("torchvision")
    monkeypatch.setenv("XPNET_DATA", str(mnist_root))
    accuracies = []
    for seed in range(5):
        status, out, _ = run(capsys, "train", "--data", "mnist", "--seed", seed)
        assert status == 0
        assert out[-2].startswith("Epoch: 5 / 5")
        accuracies.append(float(out[-1].split()[2].rstrip("%")))
    assert np.mean(accuracies) >= 98.2, accuracies


def test_evaluate_and_predict_use_the_saved_network(capsys, model, tmp_path, digits):
    from xpnet import Network

    net, (_, (x, y)) = Network.load(model), digits
    status, out, err = run(capsys, "evaluate", model)
    assert (status, err) == (0, "")
    assert out == [f"Test accuracy: {net.accuracy((x, y)):.2%} ({net.evaluate((x, y))}/1000)"]
    np.save(tmp_path / "x.npy", x[:3])
    status, out, err = run(capsys, "predict", model, tmp_path / "x.npy")
    assert [line.split("\t")[0] for line in out] == [str(each) for each in net.predict(x[:3])]
    np.save(tmp_path / "one.npy", np.round(x[0] * 255).astype(np.uint8).reshape(28, 28))
    status, out, err = run(capsys, "predict", model, tmp_path / "one.npy")
    assert out[0].split("\t")[0] == str(net.predict(x[0]))


def test_predict_reads_an_image(capsys, model, tmp_path, digits):
    image = pytest.importorskip("PIL.Image")
    from xpnet import Network

    x = digits[1][0][:1]
    path = tmp_path / "digit.png"
    image.fromarray(np.round(x.reshape(28, 28) * 255).astype(np.uint8)).save(path)
    status, out, _ = run(capsys, "predict", model, path)
    assert status == 0
    assert out[0].split("\t")[0] == str(Network.load(model).predict(x)[0])


def test_data_from_an_npz_file(capsys, tmp_path, digits):
    (x, y), (xt, yt) = digits
    path = tmp_path / "digits.npz"
    np.savez(path, x_train=x[:200], y_train=y[:200], x_test=xt[:50], y_test=yt[:50])
    status, out, _ = run(capsys, "train", "--data", path, "--epochs", 1)
    assert status == 0
    assert "/50)" in out[-1]


def test_regression_reports_a_cost(capsys, tmp_path):
    x = np.linspace(0, 1, 40)[:, None]
    path = tmp_path / "line.npz"
    np.savez(path, x_train=x, y_train=3 * x, x_test=x, y_test=3 * x)
    words = ["--sizes", "1,3,3,1", "--task", "regression", "--activation", "elu(1.0, 2.0),tanh", "--epochs", 50]
    model = tmp_path / "line.safetensors"
    status, out, _ = run(capsys, "train", "--data", path, *words, "--save", model)
    assert status == 0
    assert out[-1].startswith("Test cost: ")
    assert "activation=['elu(1.0, 2.0)', 'tanh'], output_activation='identity', cost='quadratic'" in out[0]
    np.save(tmp_path / "x.npy", x[:2])
    status, out, _ = run(capsys, "predict", model, tmp_path / "x.npy")
    assert len(out) == 2
    assert status == 0


def test_backends_says_what_can_be_used_and_what_to_do_else(capsys):
    status, out, _ = run(capsys, "backends")
    assert status == 0
    assert out[0].split() == ["numpy", "can", "be", "used", "on", "cpu"]
    assert [line.split()[0] for line in out] == ["numpy", "cupy", "torch", "jax"]
    assert all("can be used on" in line or ("cannot be used" in line and "install" in line) for line in out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "--activation", "rleu"], "activation='rleu' is unknown; choose from 'sigmoid'"),
        (["train", "--sizes", "784,x"], "'784,x' must be whole numbers with commas"),
        (["train", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["trian"], "invalid choice: 'trian'"),
        ([], "required: COMMAND"),
        (["train", "--sizes", "784"], "must name at least two layers"),
        (["train", "--lr", "nan"], "--lr=nan must be a finite number of at least 0"),
        (["train", "--epochs", "-1"], "epochs=-1 must be a whole number of at least 0"),
        (["train", "--batch-size", "0"], "batch_size=0 must be a whole number of at least 1"),
        (["train", "--momentum", "1"], "momentum=1.0 must be in [0, 1)"),
        (
            ["train", "--optimizer", "adam", "--momentum", "0.9"],
            "--momentum 0.9 is for SGD; --optimizer adam has its own",
        ),
        (["train", "--optimizer", "adagrad"], "argument --optimizer: invalid choice: 'adagrad'"),
        (["train", "--schedule", "cosin"], "argument --schedule: invalid choice: 'cosin'"),
        (["train", "--schedule", "exponential", "--lr", "0"], "lr=0.0 must be a finite number above 0"),
        (["train", "--dropout", "1"], "dropout=1.0 must be in [0, 1)"),
        (["train", "--dropout", "a"], "'a' must be a number, or numbers with commas"),
        (["train", "--dropout", "0.1,0.2"], "has 2 rates, but there are 3 layers that can drop"),
        (["train", "--weight-decay", "-1"], "weight_decay=-1.0 must be a finite number of at least 0"),
        (["train", "--validation-split", "1"], "validation_split=1.0 must be above 0 and below 1"),
        (["train", "--early-stopping", "0", "--validation-split", "0.1"], "patience=0 must be a whole number"),
        (["train", "--early-stopping", "3"], "--early-stopping 3 needs --validation-split"),
        (["train", "--output-activation", "relu"], "cost='cross_entropy' does not go with output_activation='relu'"),
        (["train", "--data", "minst"], "--data minst is unknown; choose from mnist-sample"),
        (["train", "--data", "nothing.npz"], "No such file or directory: 'nothing.npz'"),
        (["train", "--sizes", "784,3"], "the label 9; with 3 outputs, labels go from 0 to 2"),
        (["train", "--device", "gpu"], "device='gpu' is unknown"),
        (["train", "--save", "no/such/folder/x"], "there is no folder"),
        (["evaluate", "nothing"], "No such file or directory: 'nothing'"),
        (["evaluate", __file__], "does not hold an xpnet network"),
    ],
)
def test_a_wrong_option_or_file_ends_with_one_clear_line(capsys, words, message):
    status, _, err = run(capsys, *words)
    assert status in (1, 2)
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert "error: " in err


def test_broken_files_end_with_one_clear_line(capsys, model, tmp_path):
    for name, content in (("a.npz", b"broken"), ("b.npy", b"broken"), ("c.png", b"broken")):
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "narrow.npy", np.ones((2, 5)))
    np.savez(tmp_path / "few.npz", x_train=np.ones((2, 5)))
    for words, message in (
        (["train", "--data", tmp_path / "a.npz"], "must hold the arrays x_train"),
        (["train", "--data", tmp_path / "few.npz"], "must hold the arrays x_train"),
        (["predict", model, tmp_path / "b.npy"], "is not an array of numbers"),
        (["predict", model, tmp_path / "objects.npy"], "is not an array of numbers"),
        (["predict", model, tmp_path / "narrow.npy"], "x has shape (2, 5)"),
        (["predict", model, tmp_path / "c.png"], "is not an image"),
        (["predict", model, tmp_path / "none.png"], "No such file"),
    ):
        status, out, err = run(capsys, *words)
        assert (status, len(err.splitlines()), out) == (1, 1, []), err
        assert message in err


def test_an_interrupt_ends_without_a_traceback(capsys, monkeypatch):
    from xpnet import Network

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Network, "train", interrupted)
    status, _, err = run(capsys, "train")
    assert (status, err) == (130, "xpnet: interrupted\n")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "xpnet", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xpnet 0.")
    done = subprocess.run([sys.executable, "-m", "xpnet", "evaluate", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
