"""The claims on MNIST: the notebook's last cell, the book's result, and the agreement of backends over an epoch."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import GPU, PLACES, marked
from test_backprop import layers_of

from xpnet import Network
from xpnet.datasets import mnist


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
    pytest.importorskip("torchvision")
    return mnist(mnist_root)


@pytest.mark.slow
def test_the_notebooks_last_cell(notebook_data, capsys):
    """Its call as it stands, on a part of the images: reading all of them takes long. The accuracy is tested below."""
    from torch.utils.data import Subset

    train_data, test_data = (Subset(data, range(n)) for data, n in zip(notebook_data, (6000, 1000), strict=True))

    net = Network([784, 20, 10])
    net.train(train_data, epochs=20, batch_size=30, lr=0.01, test_data=test_data)

    assert len(capsys.readouterr().out.splitlines()) == 20
    assert net.evaluate(test_data)["correct"] == net.history["test_correct"][-1]
    costs = net.history["cost"]
    assert all(later < earlier for earlier, later in pairwise(costs)), costs  # whatever the seed, at so small a rate


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "options", "least"),
    [
        pytest.param(20, {"epochs": 20, "batch_size": 30, "lr": 0.01}, 0.82, id="the notebook's call"),
        pytest.param(30, {"epochs": 3, "batch_size": 10, "lr": 3.0}, 0.92, id="the book's network"),
    ],
)
def test_accuracy(full, hidden, options, least):
    """With one seed; `benchmarks/accuracy.py` has five, and the book's 30 epochs."""
    train_data, test_data = full
    net = Network([784, hidden, 10], seed=0)
    net.train(train_data, **options, progress=False)
    assert net.accuracy(test_data) >= least


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(["torch", "jax", *GPU]))
def test_backends_agree_after_an_epoch_of_mnist(full, name):
    """Per layer ‖Δw − Δw′‖ ≤ 1e-9 ‖Δw‖, with Δw the change over one epoch at lr 3.0."""
    places = [PLACES[each]() for each in ("numpy", name)]
    nets = [Network([784, 30, 10], seed=0, dtype="float64", **place._asdict()) for place in places]
    start = layers_of(nets[0])
    for net in nets:
        net.train(full[0], epochs=1, batch_size=10, lr=3.0, progress=False)
    for old, one, other in zip(start, *map(layers_of, nets), strict=True):
        for part in (0, 1):
            assert np.linalg.norm(other[part] - one[part]) <= 1e-9 * np.linalg.norm(one[part] - old[part])
