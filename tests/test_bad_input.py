"""Bad input: each gets an error that names the argument, the value and the remedy, and changes nothing."""

import copy
import inspect
import json
import pickle
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from helpers import Items, Stream, refused

import xpnet
from xpnet import (
    SGD,
    Adam,
    ArgumentError,
    Callback,
    Clip,
    CSVLog,
    EarlyStopping,
    Ensemble,
    Network,
    ReduceLROnPlateau,
    TensorBoard,
)
from xpnet.core.activations import ACTIVATIONS, Activation
from xpnet.core.costs import COSTS
from xpnet.core.initializers import INITIALIZERS
from xpnet.core.optimizers import OPTIMIZERS
from xpnet.core.schedules import SCHEDULES
from xpnet.inference.metrics import METRICS
from xpnet.training.callback import EVALUATED

X = np.random.default_rng(0).random((6, 3))
LABELS = np.array([0, 1, 0, 1, 1, 0])
GOOD = (X, LABELS)
ONE_HOT = np.eye(2)[LABELS]
TEMPERATURES = np.linspace(266.0, 320.0, 6)


@pytest.fixture
def net():
    """A classifier [3, 4, 2] that has been trained, so that there is something to lose."""
    net = Network([3, 4, 2], task="classification", seed=0)
    net.train(GOOD, epochs=2, batch_size=2, lr=0.1, optimizer=SGD(momentum=0.9), progress=False)
    return net


def train(net, data=GOOD, **options):
    return net.train(data, **{"epochs": 1, "optimizer": net.optimizer, "progress": False, **options})


class OwnCost:
    """The quadratic cost, or what is wrong about it."""

    def __init__(self, value, gradient):
        self.value, self.gradient = value, gradient


class Misspelt(Callback):
    def on_batch_end(self, steps):
        pass


class Letters(Callback):
    adds = "score"


def make(**options):
    """What makes a network that is a classifier, if nothing else is given."""
    return lambda net: Network(**{"sizes": [3, 4, 2], **options})


def make_and_train(y, **options):
    return lambda net: train(Network([3, 4, 1], **options), (X, y))


def training(**options):
    return lambda net: train(net, **options)


def monitor(name):
    return training(callbacks=[EarlyStopping(monitor=name)])


def assign(name, value):
    return lambda net: setattr(net, name, value)


SUM = Activation("sum", lambda z, xp: xp.sum(z, axis=-1), lambda g, z, a, xp: g)
LONG_VALUE = OwnCost(lambda a, y, xp: (a - y) ** 2, lambda a, y, xp: a - y)
PULL = Activation("pull", lambda z, xp: z, lambda g, z, a, xp: xp.sum(g, axis=-1))
WIDE = OwnCost(lambda a, y, xp: xp.sum(a - y, axis=-1), lambda a, y, xp: xp.astype(a - y, xp.float64))
NUMBER = OwnCost(lambda a, y, xp: xp.sum(a - y, axis=-1), lambda a, y, xp: 1.0)
REGRESSION = Network([3, 1], task="regression", seed=0)
MEMBERS = Ensemble([3, 2], members=2, task="classification", seed=0)
NO_CLASSES = r' needs classes.*task="regression"'
SIGMOID = r"but the sigmoid output reaches only \[0, 1\].*make the network with task=\"regression\""
TOGETHER = r"^train takes X and y together, as in train\(\(X, y\)\)$"
# What is called, and what its error says: the argument, its value and the remedy. That every argument of every method
# is checked at all, the random mistakes of `programs` show
REFUSED = [
    # the constructor
    (make(sizes=[3]), r"sizes=\[3\] must have at least two layers.*\[784, 30, 10\]"),
    (make(sizes=[True, 2.0]), r"sizes\[0\]=True must be a whole number of at least 1"),
    (make(sizes={10, 4, 3}), r"sizes=\{10, 3, 4\} must list the number of units of each layer.*\[784, 30, 10\]"),
    (make(sizes=[3, 1], output_activation="softmax"), r'sizes ends in 1, .*2 outputs, or task="binary"'),
    (make(activation="swish"), "activation='swish' is unknown; choose from 'sigmoid'.*did you mean 'silu'"),
    (make(activation=["relu", "relu"]), r"\['relu', 'relu'\] names 2 layers, but there are 1 hidden"),
    (make(activation=SUM), r"activation 'sum': value must return an array of shape \(2, 4\)"),
    (make(activation=PULL), r"activation 'pull': pullback must return an array of shape \(2, 4\)"),
    (make(output_activation=np.ones(2)), r"output_activation=array\(\[1\., 1\.\]\) is unknown; choose from"),
    (make(cost="bce"), r"cost='bce' is unknown.*did you mean 'cross_entropy'\?"),
    (make(cost=LONG_VALUE), r"cost 'OwnCost': value .* of shape \(2,\) .* returned shape \(2, 2\)"),
    (make(cost=WIDE), "cost 'OwnCost': gradient .* dtype float32 .*, but returned .* dtype float64"),
    (make(cost=NUMBER), r"cost 'OwnCost': gradient .*, but returned 1\.0"),
    (make(dtype=None), r"dtype=None is unknown; choose from 'float32', 'float64'"),  # NumPy's float64
    (make(seed=1.5), r"seed=1\.5 must be None or a whole number of at least 0"),
    (
        make(cost="cross_entropy", output_activation="relu"),
        "cost='cross_entropy' does not go with output_activation='relu'; it needs one of 'sigmoid', 'softmax'",
    ),
    (
        make(task="regression", output_activation="softmax"),
        "output_activation='softmax' contradicts task='regression', which goes with 'identity', .*leave one",
    ),
    (make(task="classification", cost="quadratic"), "cost='quadratic' contradicts task=.*'cross_entropy', 'log_like"),
    (make(task="binary"), r'task="binary" has 1 output, but sizes ends in 2; .*task="multilabel"'),
    (make(lr=0.1), r"^lr=0\.1 is not an argument of Network \(lr is an argument of train\); "),
    (lambda net: Network(), r"^Network\.__init__\(\) missing 1 required positional argument: 'sizes'$"),
    # training
    (training(lr=np.inf), "lr=inf must be a finite number of at least 0"),
    (training(steps=2), "steps=2 is for an iterable of batches; train_data has a length, so give epochs"),
    (training(sampling="shufle"), r"sampling='shufle' is unknown; .*'replacement' \(did you mean 'shuffle'\?\)"),
    (training(optimizer=Adam(epsilon=1e-50)), 'optimizer\'s number 1e-50 is 0.0 in float32.*dtype="float64"'),
    (training(optimizer=Clip(SGD(), 1e50)), r"the optimizer's number 1e\+50 is inf in float32"),
    (training(callbacks=[Misspelt()]), r"Misspelt\.on_batch_end would never be called; a callback has on_chunk_end"),
    (training(callbacks=[Letters()]), r"Letters\.adds='score' must be a tuple of names"),
    (monitor("val_loss"), "monitor='val_loss', .*did you mean 'validation_cost'"),
    (monitor("loss"), "monitor='loss', .*did you mean 'cost'"),
    (training(verbose=0), r"^verbose=0 is not .* train \(did you mean 'progress=False'\?\); choose"),
    (training(momentum=0.9), r" train \(did you mean 'optimizer=SGD\(momentum=0\.9\)'\?\); "),
    (training(dropout=0.5), r" of train \(dropout is an argument of Network\); choose from"),
    (training(nonsense=None), "^nonsense=None is not an argument of train; choose from"),
    (lambda net: net.train(X, LABELS, 1, 3, 0.1, GOOD), TOGETHER),
    (lambda net: net.train(X, LABELS.tolist(), epochs=1), TOGETHER),
    (lambda net: MEMBERS.train(X, LABELS, epochs=1), TOGETHER),
    (lambda net: net.train(x=X, y=LABELS), r"^x=.* is not .*train \(train_data is X and y together.*\(\(X, y\)\)\);"),
    (lambda net: net.train(epochs=3), r"^Network\.train\(\) missing 1 required positional argument: 'train_data'$"),
    (lambda net: Adam(lr=0.1), r"^lr=0\.1 is not an argument of Adam \(lr is an argument of train\); choose from 'b"),
    (lambda net: Adam(eps=1e-7), r"^eps=1e-07 is not an argument of Adam \(did you mean 'epsilon'\?\); choose"),
    # targets that an output cannot reach, and what needs classes
    (make_and_train(TEMPERATURES), "y of train_data goes from 266 to 320, " + SIGMOID),
    (make_and_train(LABELS * 2 - 1, task="binary"), "goes from -1 to 1, " + SIGMOID),
    (make_and_train(TEMPERATURES, output_activation="tanh"), r"but the tanh output reaches only \[-1, 1\]"),
    (make_and_train(-TEMPERATURES, output_activation="relu"), r"but the relu output reaches only \[0, inf\]"),
    (lambda net: REGRESSION.accuracy((X, TEMPERATURES)), f"accuracy{NO_CLASSES}.*use predict or measure"),
    (lambda net: Ensemble.of([REGRESSION]).evaluate((X, TEMPERATURES)), f"evaluate{NO_CLASSES}.*use predict or"),
    (lambda net: REGRESSION.evaluate((X, TEMPERATURES)), f"evaluate{NO_CLASSES}.*use predict or measure"),
    (lambda net: REGRESSION.predict_proba(X), f"predict_proba{NO_CLASSES}"),
    (
        lambda net: REGRESSION.measure((X, TEMPERATURES), metrics=["accuracy"]),
        "metrics holds 'accuracy', which is for 'classification', 'binary', 'multilabel'",
    ),
    # other methods
    (lambda net: train(net, None), r"train_data is of type NoneType; give a tuple \(X, y\) of arrays"),
    (lambda net: train(net, Stream()), "train_data yielded no batch"),
    (lambda net: net.minibatch_update(Stream(GOOD), 0.1), "batch is an iterable of batches; give one"),
    (lambda net: net.predict(X[:, :1]), r"x has shape \(6, 1\), but must have \(n, 3\)"),
    (lambda net: net.forward(X[0][:, None]), r"x has shape \(3, 1\), .*: a column.*a row, x\.T"),
    (lambda net: net.forward(X[:0]), r"x is empty: it has shape \(0, 3\)"),
    (lambda net: net.forward([[1, 2, 3], [1, 2]]), "x cannot be converted to an array.*rows"),
    (lambda net: Network([1, 2]).forward(np.ones(5)), r"x has shape \(5,\), .*x\.reshape\(-1, 1\)"),
    (lambda net: net.predict(X, return_sdt=True), r"^return_sdt=True .* predict \(did you mean 'return_std'\?\);"),
    (lambda net: MEMBERS.forward(data=X), "^data=.* is not an argument of forward.*; choose from 'x'$"),
    (lambda net: MEMBERS.evaluate((X, LABELS[:5])), "X of test_data has 6 examples and y"),
    (lambda net: MEMBERS.save(3), "path=3 must be a path"),
    (lambda net: net.fit_novelty(5), r"x has shape \(\), but must have \(n, 3\)"),
    (lambda net: net.history["loss"], "'loss' is not in this history; .*did you mean 'cost'"),
    # attributes
    (assign("w", [np.ones((4, 3))]), "w has 1 arrays, but must be a list of 2"),
    (assign("w", 5), "w is a int, but must be a list of 2"),
    (assign("w", [np.ones((3, 4)), np.ones((2, 4))]), r"w\[0\] has shape \(3, 4\), but must have \(4, 3\)"),
    (assign("w", [np.ones((4, 3)) * 1j, np.ones((2, 4))]), r"w\[0\] has dtype complex128"),
    (assign("b", [np.ones(4), [1.0, np.inf]]), r"b\[1\] holds NaN or infinity"),
    (assign("layers", []), "w of layers has 0 arrays"),
    (assign("layers", [np.ones((4, 3))]), r"layers must be a list of pairs \(w, b\)"),
    (assign("task", "binary"), "task .*cannot be assigned; make a new Network"),
    (assign("optimizer", SGD()), "optimizer .*; call reset_optimizer"),
    (assign("lr", 3), r"lr of .*\(lr is an argument of train\); choose from 'w'"),
    (assign("scalling", 3), r"scalling .*\(did you mean 'scaling'\?\); choose"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_wrong_is_refused_with_the_remedy(net, call, message):
    with refused(net, (ValueError, TypeError, AttributeError, KeyError), message):
        call(net)


@pytest.mark.parametrize("numbers", [(3, 2), np.array([3, 2]), [np.int32(3), np.int64(2)], iter([3, 2])])
def test_whole_numbers_of_any_kind_are_sizes(numbers):
    assert Network(numbers).sizes == [3, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": ["r2"]},
        {"training_metrics": ["r2"]},
        {"validation_split": 1.5},
        {"threads": 0},
        {"optimizer": "lbfgs", "lr": 0.1},
    ],
)
@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_what_is_wrong_whatever_the_data_is_refused_before_they_are_read(kind, options):
    """Reading may take long, and a generator would have lost its first batch."""
    if kind is Network and "threads" in options:
        options = {"blas_threads": 0}
    batches = iter([(X, LABELS)])
    with pytest.raises(ArgumentError, match=f"{[*options][-1]}"):
        kind([3, 4], task="classification", seed=0).train(batches, epochs=1, progress=False, **options)
    assert len(list(batches)) == 1


# Data, wherever it is given: as train_data, test_data, batch or data

VERBS = {
    "train_data": train,
    "test_data": lambda net, data: train(net, test_data=data),
    "batch": lambda net, data: net.minibatch_update(data, 0.1),
    "data": lambda net, data: net.cost(data),
}


def changed(value, dtype=float):
    x = X.astype(dtype)
    x[2, 1] = value
    return x


BAD_DATA = [
    # no examples, or nothing that holds any
    ([], ValueError, r"{name} is empty"),
    (X, TypeError, r"{name} is of type ndarray; give a tuple \(X, y\)"),
    ([X, LABELS], TypeError, r"item 0 of {name} is not an \(x, y\) pair.*together, as a tuple \(X, y\)"),
    ([(X[0], 0), (X[1], 0, 1)], TypeError, r"item 1 of {name} is not an \(x, y\) pair but of type tuple"),
    # shapes
    ((np.ones((6, 4)), LABELS), ValueError, r"X of {name} has shape \(6, 4\), but must have \(n, 3\)"),
    ((X, LABELS[:0]), ValueError, r"y of {name} is empty: it has shape \(0,\)"),
    ((X[0][:, None], [0]), ValueError, r"X of {name} has shape \(3, 1\).*a column is not an example; .*x\.T"),
    ((X, LABELS[:5]), ValueError, r"X of {name} has 6 examples and y of {name} has 5"),
    ((X, 1), ValueError, r"y of {name} has shape \(\), but must have \(n, 2\), or \(n,\) of integer classes"),
    ([(X[0], 0), (X[1, :2], 1)], ValueError, r"x of {name} differ from example to example.*\(2,\), \(3,\)"),
    # labels
    ((X, LABELS - 1), ValueError, r"y of {name} holds the label -1; with 2 outputs, labels go from 0 to 1"),
    ((X, LABELS + 1), ValueError, r"y of {name} holds the label 2; with 2 outputs, labels go from 0 to 1"),
    ((X, LABELS.astype(float)), ValueError, r"y of {name} has shape \(6,\) and dtype float64.*integer classes"),
    # values
    ((changed(np.nan), LABELS), ValueError, r"X of {name} holds NaN.*in row 2, column 1, .*; remove or replace"),
    ((X, changed(np.inf)[:, :2]), ValueError, r"y of {name} holds NaN or infinity .*, first in row 2, column 1"),
    # targets that the softmax output cannot reach
    ((X, ONE_HOT + 1), ValueError, r"y of {name} goes from 1 to 2, but the softmax output reaches only \[0, 1\]"),
    ((X, np.ones((6, 2))), ValueError, r"y of {name} has a row whose sum differs from 1 by 1.*softmax.*multilabel"),
    # dtypes that are not real numbers
    ((X.astype(object), LABELS), TypeError, r"X of {name} has dtype object; give real numbers"),
    ((X, LABELS.astype(str)), TypeError, r"y of {name} has dtype <U.*; give real numbers"),
    (([[1, 2, 3], [1, "two", 3]], [0, 1]), TypeError, r"X of {name} .*; give .* \('two' in row 1, column 1, counted"),
    # ragged lists
    (([[1, 2, 3], [1, 2]], [0, 1]), ValueError, r"X of {name} cannot be converted to an array.* equal length"),
]


@pytest.mark.parametrize(
    ("name", "data", "error", "message"), [(name, *case) for name, case in zip(cycle(VERBS), BAD_DATA)]
)
def test_data_that_the_network_cannot_take_is_refused(net, name, data, error, message):
    """All ways read data by the same functions, so each case goes one way, in turn."""
    with refused(net, error, message.replace("{name}", name)):
        VERBS[name](net, data)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((X, LABELS + 9), ValueError, r"y of batch 0 of {name} holds the label 10"),
        (X, TypeError, r"batch 0 of {name} is not a pair \(X, y\) but of type ndarray"),
    ],
)
def test_an_iterable_whose_first_batch_is_bad_changes_nothing(net, batch, error, message):
    with refused(net, error, message.replace("{name}", "train_data")):
        train(net, Stream(batch), optimizer=SGD(momentum=0.5))
    with refused(net, error, message.replace("{name}", "test_data")):
        train(net, test_data=Stream(batch))


@pytest.mark.parametrize("verb", ["forward", "predict", "predict_proba", "activations", "jacobian"])
@pytest.mark.parametrize(
    "data", [(X, np.arange(6)), (X, [0, 1] * 3), (X, np.eye(6)), list(zip(X, range(6))), Items(X, np.eye(6))]
)
def test_inputs_are_given_without_targets(net, verb, data):
    message = r"^x holds inputs and targets, and predictions need the inputs alone, as in net\.forward\(X\)$"
    with refused(net, ValueError, message):
        getattr(net, verb)(data)
    if verb != "activations":
        with pytest.raises(ValueError, match=message):
            getattr(Ensemble([3, 2], 2, task="classification"), verb)(data)


def test_a_tuple_of_two_examples_is_no_pair_of_inputs_and_targets():
    net = Network([6, 2], task="classification", seed=0)
    for pair in ((X[0], X[1]), (X[0], [1, 2, 3])):
        assert Network([3, 2], task="classification", seed=0).forward(pair).shape == (2, 2)
    for pair in ((X[:2], X[2:4]), (X[:2], X[2:4].tolist())):  # images of 2 × 3 pixels
        assert net.forward(pair).shape == (2, 2)


@pytest.mark.parametrize("on_device", [False, True])
def test_every_backend_refuses_what_numpy_refuses(place, backend, on_device):
    net = Network([3, 4, 2], seed=0, **place._asdict())
    for data, message in (
        ((X, LABELS * 7), "y of train_data holds the label 7; with 2 outputs, labels go from 0 to 1"),
        ((changed(np.nan), LABELS), "X of train_data holds NaN or infinity .*, first in row 2, column 1"),
        ((X, 3.0 * ONE_HOT), "y of train_data goes from 0 to 3, but the sigmoid output reaches only"),
    ):
        if on_device:
            data = tuple(backend.asarray(part, "float32" if part.dtype == float else "int32") for part in data)
        with refused(net, ValueError, message):
            train(net, data)


@pytest.mark.not_on("jax")
def test_a_number_that_vanishes_in_another_dtype_is_named_there(place):
    net = Network([3, 2], dtype="float64", **place._asdict())
    net.train(GOOD, epochs=1, optimizer=Adam(beta2=0.999999999), progress=False)
    with pytest.raises(ValueError, match=r"the optimizer's number 0\.999999999 is 1\.0 in float32"):
        net.to(dtype="float32")
    net.reset_optimizer(Adam(beta1=0.8))
    net.train(GOOD, epochs=1, progress=False)
    twin = net.to(dtype="float32")
    assert twin.train(GOOD, epochs=1, progress=False)["lr"] == [0.001]
    assert str(twin.state.optimizer.memory.first[0][0].dtype).endswith("float32")


# Names and arguments from elsewhere


@pytest.mark.parametrize(
    ("name", "equivalent"),
    [
        *[("SGD", "train"), ("biases", "b"), ("score", "measure")],  # of the book, and of scikit-learn
        *[("forwrad", "forward"), ("_nothing", None)],
    ],
)
def test_attributes_from_elsewhere_are_named_as_they_are_here(net, name, equivalent):
    hint = rf" \(did you mean '{equivalent}'\?\)" if equivalent else ""
    for own in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert not hasattr(own, name)
        with pytest.raises(AttributeError, match=rf"^'Network' object has no attribute '{name}'{hint}$") as caught:
            getattr(own, name)
        assert caught.value.name == name


def test_the_error_of_a_property_stays_as_it_is():
    class Own(Network):
        @property
        def broken(self):
            return self.nothing

    with pytest.raises(AttributeError, match=r"^'Own' object has no attribute 'nothing'$"):
        _ = Own([3, 2]).broken


def test_a_type_error_from_inside_a_call_stays_as_it_is(net):
    def metric(y_true, y_pred):
        return (lambda: 0)(lr=3)

    with pytest.raises(TypeError, match=r"<lambda>\(\) got an unexpected keyword argument 'lr'$"):
        train(net, test_data=GOOD, metrics=[metric])


def test_hints_name_what_there_is():
    pytest.importorskip("sklearn")
    from xpnet.estimators import MLPClassifier, MLPEnsembleClassifier, TableClassifier

    tables = (ACTIVATIONS, COSTS, INITIALIZERS, METRICS, EVALUATED, SCHEDULES, OPTIMIZERS)
    explained = (Network, Network.train, Ensemble, *SCHEDULES.values(), *OPTIMIZERS.values())
    explained += (EarlyStopping, ReduceLROnPlateau, CSVLog, TensorBoard, MLPClassifier, MLPEnsembleClassifier)
    explained += (TableClassifier,)
    names = {*dir(Network)}.union(*tables, *(inspect.signature(each).parameters for each in explained))
    elsewhere = json.loads((Path(xpnet.__file__).parent / "_names.json").read_text())
    texts = {text.partition(" is ")[0] for meant in elsewhere.values() for text in meant}
    assert {text.partition("=")[0] for text in texts} <= names
    assert [*elsewhere] == sorted({name.lower() for name in elsewhere})
