"""Full MNIST: its files, the notebook's last cell, the book's result, and the agreement of backends."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import GPU, PLACES, layers_of, marked

from xpnet import Network
from xpnet.data.datasets import FIRST_LABELS
from xpnet.datasets import mnist

BOOK = {"epochs": 1, "batch_size": 10, "lr": 3.0, "progress": False}


@pytest.fixture(scope="module")
def notebook_data(mnist_root):
    """MNIST as the notebook has it: torchvision's data set with these transforms, and a one-hot target."""
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("torchvision.datasets")
    transforms = pytest.importorskip("torchvision.transforms")
    transform = transforms.Compose([transforms.ToTensor(), torch.nn.Flatten(), torch.squeeze])
    options = {
        "root": mnist_root,
        "download": False,
        "transform": transform,
        "target_transform": lambda label: torch.nn.functional.one_hot(torch.tensor(label), 10).float(),
    }
    return datasets.MNIST(train=True, **options), datasets.MNIST(train=False, **options)


@pytest.fixture(scope="module")
def full(mnist_root):
    return mnist(mnist_root)


@pytest.fixture(scope="module")
def some(full):
    """20,000 of its examples: 2,000 minibatches."""
    return tuple(part[:20_000] for part in full[0])


@pytest.fixture(scope="module")
def of_the_book(some):
    """The book's network on NumPy, in float64: the weights before and after these minibatches, and the network."""
    net = Network([784, 30, 10], dtype="float64", seed=0)
    start = layers_of(net)
    net.train(some, **BOOK)
    return start, layers_of(net), net


@pytest.mark.slow
def test_mnist_is_the_bytes_of_its_files(full, mnist_root):
    """All labels, and every hundredth image."""
    raw = mnist_root / "MNIST" / "raw"
    for (x, y), part, n in zip(full, ("train", "t10k"), (60_000, 10_000), strict=True):
        pixels = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8, offset=16).reshape(n, 784)[::100]
        assert x.shape == (n, 784)
        np.testing.assert_array_equal(x[::100], pixels.astype("float32") / np.float32(255))
        np.testing.assert_array_equal(y, np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8, offset=8))
    assert full[0][1][:10].tolist() == FIRST_LABELS["MNIST"]


@pytest.mark.slow
def test_the_notebooks_last_cell(notebook_data, capsys):
    """Its call as it stands, on a part of the images: reading all of them takes long."""
    from torch.utils.data import Subset

    train_data, test_data = (Subset(data, range(n)) for data, n in zip(notebook_data, (600, 100), strict=True))

    net = Network([784, 20, 10])
    net.train(train_data, epochs=20, batch_size=30, lr=0.01, test_data=test_data)

    assert len(capsys.readouterr().out.splitlines()) == 20
    assert net.evaluate(test_data) == net.history["test_correct"][-1]
    costs = net.history["cost"]
    assert all(later < earlier for earlier, later in pairwise(costs)), costs  # whatever the seed, at so small a rate


@pytest.mark.slow
def test_the_accuracy_of_the_book(full, of_the_book):
    """After 2,000 minibatches of one seed; `benchmarks/accuracy.py` has five seeds, and the book's 30 epochs."""
    assert of_the_book[2].accuracy(full[1]) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(["torch", "jax", *GPU]))
def test_backends_agree_after_2000_minibatches_of_mnist(some, of_the_book, name):
    """Per layer ‖Δw − Δw′‖ ≤ 1e-9 ‖Δw‖, with Δw the change over them at lr 3.0."""
    start, end, _ = of_the_book
    net = Network([784, 30, 10], dtype="float64", seed=0, **PLACES[name]()._asdict())
    net.train(some, **BOOK)
    for old, one, other in zip(start, end, layers_of(net), strict=True):
        for part in (0, 1):
            assert np.linalg.norm(other[part] - one[part]) <= 1e-9 * np.linalg.norm(one[part] - old[part])
