"""Weights of examples and of classes: the cost is a weighted mean, against loops and scikit-learn."""

import copy

import numpy as np
import pytest
import reference
from helpers import Batches, Items, assert_layers, assert_same, layers_of, refused, snapshot

from xpnet import (
    SGD,
    AdamW,
    Clip,
    Ensemble,
    Network,
    OneCycle,
    ReduceLROnPlateau,
    RMSProp,
)
from xpnet.data.sampling import SAMPLING, Sampling

# Trainings with weights are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")

N = 12
X = np.random.default_rng(0).standard_normal((N, 3))
Y = np.random.default_rng(1).uniform(size=(N, 2))
LABELS = np.array([0, 1, 1, 2, 1, 0, 1, 1, 1, 1, 2, 1])
WEIGHTS = np.random.default_rng(2).uniform(0.1, 3.0, N)
FULL = {"epochs": 3, "batch_size": N, "lr": 0.5, "progress": False}


def network(place, sizes=(3, 4, 2), dtype="float64", **options):
    return Network(sizes, seed=5, dtype=dtype, **{"activation": "tanh", **options}, **place._asdict())


def classifier(place, **options):
    return network(place, (3, 4, 3), task="classification", **options)


def trained(net, data, **options):
    net.train(data, **{**FULL, **options})
    return net


def assert_close(net, other, rtol=1e-10):
    """The same weights but for rounding."""
    assert_layers(net, layers_of(other), rtol, 1e-12)


# The weighted mean


@pytest.mark.parametrize(
    ("output", "cost"), [("sigmoid", "quadratic"), ("sigmoid", "cross_entropy"), ("softmax", "cross_entropy")]
)
@pytest.mark.parametrize(("first", "scale"), [(1.0, 1.0), (0.0, 1.0), (1e-10, 1.0), (1e-20, 1e-10), (1.0, 1e20)])
@pytest.mark.on("torch")
def test_steps_and_costs_of_epochs_are_weighted_means(place, output, cost, first, scale):
    """Minibatches of 5, 5 and 2; the weights of the first in the first epoch may be tiny, and its step is like others.

    If they are 0, its step is left out, and its learning rate with it.
    """
    net = network(place, output_activation=output, cost=cost)
    y = Y / Y.sum(axis=1, keepdims=True) if output == "softmax" else Y
    schedule, weight, rng = OneCycle(1.0), WEIGHTS.copy(), net.make_rng()
    weight[copy.deepcopy(rng).permutation(N)[:5]] *= first
    weight *= scale
    lrs = [schedule(step, 6) for step in range(6)]
    layers, costs = reference.train(net, X, y, [reference.draw(N, 5, rng) for _ in range(2)], lrs, weight)
    history = net.train((X, y), 2, 5, schedule, sample_weight=weight, progress=False)
    assert_layers(net, layers, 1e-10, 1e-13)
    np.testing.assert_allclose(history["cost"], costs, rtol=1e-12)
    assert history["lr"] == [lrs[2], lrs[5]]


# Minibatches that count for nothing

OPTIMIZERS = [SGD(momentum=0.9, weight_decay=0.1), RMSProp(), Clip(AdamW(), 0.1)]


def fixed(monkeypatch, index):
    """Draw the same minibatches every epoch."""
    index = np.array(index, np.int32)
    monkeypatch.setitem(
        SAMPLING, "shuffle", Sampling("mine", lambda n, b: len(index), lambda n, b, *before: ([index], *before))
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: type(each).__name__)
def test_a_minibatch_without_weight_is_a_step_that_was_not_made(place, monkeypatch, optimizer):
    """In the middle of a chunk and at both ends, momentum, means and masks included; bit for bit."""
    a, b, c = range(4), range(4, 8), range(8, 12)
    for silent, left in ((a, [b, c]), (b, [a, c]), (c, [a, b])):
        weight = WEIGHTS.copy()
        weight[list(silent)] = 0.0
        nets = [network(place, dropout=0.5) for _ in range(2)]
        for net, index in zip(nets, ([a, b, c], left), strict=True):
            fixed(monkeypatch, index)
            trained(net, (X, Y), lr=0.1, optimizer=optimizer, sample_weight=weight)
        assert_same(nets[0], snapshot(nets[1]))
        np.testing.assert_allclose(nets[0].history["cost"], nets[1].history["cost"], rtol=1e-12)


def test_replacement_draws_only_examples_that_have_weight(place, tmp_path):
    """One of 12: most epochs of one minibatch would draw none of them, and have no cost."""
    weight, inputs = np.where(np.arange(N) == 3, 2.0, 0.0), np.where(np.arange(N)[:, None] == 3, X, 1e9)
    np.save(tmp_path / "x.npy", inputs)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    options = {"epochs": 6, "batch_size": 9, "sampling": "replacement", "lr": 0.1, "progress": False}
    expected = trained(network(place), (X[[3] * 9], Y[[3] * 9]), epochs=6, lr=0.1)
    for x in (inputs, mapped):
        net = network(place)
        net.train((x, Y), sample_weight=weight, callbacks=[ReduceLROnPlateau(0.1, 1, monitor="cost")], **options)
        assert_close(net, expected)
        np.testing.assert_allclose(net.history["cost"], expected.history["cost"], rtol=1e-9)
        assert net.history["lr"] == [0.1] * 6
    ensemble = Ensemble.of([network(place)] * 2)
    ensemble.train((inputs, Y), rows=[range(6), [3, 7]], sample_weight=weight, **options)
    assert_close(ensemble[0], expected)
    assert_close(ensemble[1], expected)
    options |= {"batch_size": 2, "epochs": 20, "class_weight": {0: 0, 1: 0}}
    assert np.isfinite(trained(classifier(place), (X[:5], LABELS[:5]), **options).history["cost"]).all()


# Weights of classes


@pytest.mark.parametrize("labels", [LABELS, LABELS % 2], ids=["all classes", "a class is missing"])
def test_balanced_is_that_of_scikit_learn(place, labels):
    """n / (K · number of the class), K the classes that are there."""
    theirs = pytest.importorskip("sklearn.utils.class_weight").compute_sample_weight("balanced", labels)
    net = trained(classifier(place), (X, labels), batch_size=5, class_weight="balanced")
    assert_close(net, trained(classifier(place), (X, labels), batch_size=5, sample_weight=theirs))
    assert not np.allclose(theirs, 1.0)


@pytest.mark.parametrize("kind", [float, np.bool_])
def test_classes_are_named_by_numbers_of_any_kind(kind):
    """0.0 and False are the class 0, as they are in a dict, and as targets of one output may be of either kind."""
    nets = [Network([3, 4, 1], task="binary", seed=5) for _ in range(2)]
    for net, weights in zip(nets, ({kind(0): 3.0, kind(1): 0.5}, {0: 3.0, 1: 0.5})):
        trained(net, (X, (LABELS > 0).astype(kind)), class_weight=weights)
    assert_same(nets[0], snapshot(nets[1]))


@pytest.mark.parametrize("classes", ["balanced", {0: 2.0, 1: 0.5, 2: 3.0}], ids=str)
def test_weights_of_examples_and_of_classes_multiply(place, classes):
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    both = WEIGHTS * sklearn.compute_sample_weight(classes, LABELS)
    net = trained(classifier(place), (X, LABELS), batch_size=5, sample_weight=WEIGHTS, class_weight=classes)
    assert_close(net, trained(classifier(place), (X, LABELS), batch_size=5, sample_weight=both))


# Wrong weights


def wrong_at_5(number):
    return np.where(np.arange(N) == 5, number, 1.0)


AS_ARRAYS = "=?.* needs all examples beforehand; give train_data as arrays, as pairs, or as a data set with cache=True"
BEFOREHAND = {"sample_weight": np.ones(N)}, {"class_weight": "balanced"}
NO_CLASSES = r"class_weight=.* needs one class per example, .* task='{}' has none; use sample_weight"
NOTHING = "sample_weight and class_weight leave every example of train_data with weight zero"
# Arguments of `train`, and what the error says
REFUSED = [
    (
        {"sample_weight": np.ones(N + 1)},
        r"sample_weight has shape \(13,\), but must have \(12,\): one number per example",
    ),
    ({"sample_weight": 1.0}, r"sample_weight has shape \(\), but must have \(12,\)"),
    ({"sample_weight": wrong_at_5(-0.5)}, r"sample_weight holds -0\.5; give numbers of at least 0"),
    ({"sample_weight": wrong_at_5(np.inf)}, "sample_weight holds NaN or infinity; give finite numbers"),
    ({"sample_weight": np.zeros(N)}, NOTHING),
    ({"sample_weight": "balanced"}, "sample_weight has dtype .*; give real numbers"),
    *(
        ({"train_data": data, **options, **weights}, f"{next(iter(weights))}{AS_ARRAYS}")
        for data, options in ((Batches(X, LABELS, 5), {"steps": 2}), (Items(X, LABELS), {"cache": False}))
        for weights in BEFOREHAND
    ),
    ({"class_weight": {3: 1.0}}, "class_weight names the class 3; choose from 0, 1, 2"),
    ({"class_weight": {"0": 1.0}}, "class_weight names the class '0'; choose from 0, 1, 2"),
    *(
        ({"class_weight": {0: wrong}}, "class_weight=.* must be a finite number of at least 0; that of 0 is not")
        for wrong in (-1.0, float("nan"), "heavy", [1.0, 2.0])
    ),
    (
        {"class_weight": {0: 0, 1: 0, 2: 0}},
        "class_weight=.* gives every class the weight 0; leave one of them above it",
    ),
    ({"class_weight": "balancd"}, r"class_weight='balancd' must be None, 'balanced' or \{label: number\}"),
    ({"class_weight": [1.0, 2.0, 3.0]}, r"class_weight=\[1\.0, 2\.0, 3\.0\] must be None, 'balanced' or"),
    ({"train_data": (X, np.zeros(N, int)), "class_weight": {0: 0.0}}, NOTHING),
    ({"sample_weight": LABELS == 2, "class_weight": {2: 0.0}}, NOTHING),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_wrong_weights_are_refused(arguments, message):
    net = Network([3, 3], task="classification", seed=0)
    with refused(net, (ValueError, TypeError), message):
        net.train(**{"train_data": (X, LABELS), **FULL, **arguments})


@pytest.mark.parametrize("given", ["balanced", {0: 1.0}], ids=str)
@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_weights_of_classes_need_one_class_an_example(task, given):
    net = Network([3, 2], task=task, seed=0)
    with refused(net, ValueError, NO_CLASSES.format(task)):
        net.train((X, Y > 0.5), **FULL, class_weight=given)
