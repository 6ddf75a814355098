import dataclasses

import array_api_strict
import numpy as np
import pytest
from helpers import Steep, assert_same, host, layers_of, make, snapshot
from numpy.random import PCG64

from xpnet import SGD, Adam, ArgumentError, Callback, Ensemble, Network
from xpnet.backends import to_host
from xpnet.core.arrays import leaves
from xpnet.core.scaling import Scaling

# test_trainings.py and test_backends.py see what JAX may do otherwise
pytestmark = pytest.mark.not_on("jax")


def test_the_attributes_of_the_notebooks_class(place):
    net = Network([784, 20, 10], **place._asdict())
    assert (net.num_layers, net.sizes) == (3, [784, 20, 10])
    assert [tuple(array.shape) for array in (*net.w, *net.b)] == [(20, 784), (10, 20), (20,), (10,)]
    text = repr(net)
    assert text.startswith("Network([784, 20, 10], activation='sigmoid', output_activation='sigmoid', cost='quadratic'")
    assert f"backend={net.backend.name!r}" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("task", "activation", "cost"),
    [
        ("classification", "softmax", "cross_entropy"),
        ("multilabel", "sigmoid", "cross_entropy"),
        ("regression", "identity", "quadratic"),
    ],
)
def test_a_task_sets_output_and_cost(task, activation, cost):
    net = Network([3, 2], task=task)
    assert (net.task, net.output_activation, net.cost_name) == (task, activation, cost)


@pytest.mark.parametrize(
    ("activation", "n_out", "task"),
    [
        ("sigmoid", 3, "classification"),
        ("softmax", 2, "classification"),
        ("tanh", 2, "classification"),
        ("sigmoid", 1, "binary"),
        ("tanh", 1, "regression"),
        ("identity", 3, "regression"),
        ("relu", 1, "regression"),
    ],
)
def test_the_task_that_an_output_stands_for(activation, n_out, task):
    assert Network([3, n_out], output_activation=activation).task == task


# Weights in and out


def test_the_arrays_of_the_weights_are_read_only(place):
    """What readers of the book write first. The arrays of some libraries can be written, but no tuple can."""
    net = make(place, [3, 4, 2], "sigmoid", "sigmoid", "quadratic", seed=0)
    before = snapshot(net)
    for arrays in (net.w, net.b, net.layers):
        with pytest.raises(TypeError, match="does not support item assignment"):
            arrays[0] = arrays[1]
    for array in (*net.w, *net.b) if net.backend.name == "numpy" else ():
        with pytest.raises(ValueError, match="read-only"):
            array -= 1.0
    for name in ("w", "b"):
        with pytest.raises((TypeError, ValueError)), net.backend.scope("float64"):
            getattr(net, name)[0] -= 1.0
    assert_same(net, before)


def test_weights_are_assigned_in_any_form_and_copied(place, dtype):
    net = make(place, [3, 2], "sigmoid", "sigmoid", "quadratic", dtype=dtype)
    w, b = np.arange(6, dtype=dtype).reshape(2, 3), np.array([7, 8], dtype)
    net.w = [w]
    for form in (b[:, None], b[None, :], b):
        net.b = [form]
        assert host(net, net.b)[0].tolist() == [7, 8]
    w += 100
    assert host(net, net.w)[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    net.layers = net.layers
    assert host(net, net.b)[0].tolist() == [7, 8]


# Counting and predicting


def probe(place, task, outputs):
    """A network whose outputs for the examples 0, 1, ... are the given rows: identity weights under the activation."""
    outputs = np.asarray(outputs, float)
    net = Network([len(outputs), outputs.shape[1]], task=task, dtype="float64", **place._asdict())
    z = {"regression": lambda a: a, "classification": np.log}.get(task, lambda a: np.log(a / (1 - a)))(outputs)
    net.layers = [(z.T, np.zeros(outputs.shape[1]))]
    return net, np.eye(len(outputs))


def test_classification_counts_and_predicts_the_largest_output(place):
    net, x = probe(place, "classification", [[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.4, 0.35, 0.25]])
    predicted = net.predict(x)
    assert to_host(predicted).tolist() == [0, 1, 2, 0]
    assert predicted.device == net.w[0].device
    assert int(net.predict(x[2])) == 2
    np.testing.assert_allclose(to_host(net.predict_proba(x))[3], [0.4, 0.35, 0.25])
    labels = [0, 1, 1, 1]
    assert net.evaluate((x, labels)) == net.evaluate((x, np.eye(3)[labels])) == 2
    assert net.accuracy((x, labels)) == 0.5
    assert (type(net.evaluate((x, labels))), type(net.accuracy((x, labels)))) == (int, float)


def test_a_regression_predicts_as_many_numbers_as_targets(place):
    """Targets (n,) minus predictions (n, 1) would be (n, n)."""
    net, x = probe(place, "regression", [[3.5], [2.0], [-1.0]])
    assert to_host(net.predict(x)).tolist() == [3.5, 2.0, -1.0]
    assert to_host(net.predict(x[0])).tolist() == 3.5
    assert tuple(net.forward(x).shape) == (3, 1)
    net, x = probe(place, "regression", [[3.5, -1.0], [2.0, 7.0]])
    # ½ (0.5² + 0) for the first, ½ (0 + 1²) for the second: mean 0.3125
    assert net.cost((x, [[3.0, -1.0], [2.0, 6.0]])) == pytest.approx(0.3125)


# Fingerprints, and what else the seed determines

DATA = np.arange(40.0).reshape(20, 2) ** 0.5, np.arange(20.0)


def trained(**options):
    net = Network([2, 3, 1], **{"task": "regression", "dropout": 0.5, "standardize": True, "seed": 0, **options})
    net.train(DATA, epochs=1, lr=0.1, optimizer=SGD(momentum=0.9), progress=False)
    return net


def test_a_copy_has_its_own_history_and_notes():
    net = trained()
    net.notes = {"a": [1]}
    for copy in (net.copy(), net.to(dtype="float64")):
        copy.notes["a"].append(2)
        copy.history.rows[0]["cost"] = 0.0
        for memory, own in zip(leaves(copy.state.optimizer.memory), leaves(net.state.optimizer.memory)):
            np.testing.assert_allclose(memory, own)
    assert net.notes == {"a": [1]}
    assert net.history["cost"] != [0.0]
    states = [one.state.optimizer._replace(memory=()) for one in (net.to(dtype="float64"), trained(dtype="float64"))]
    np.testing.assert_array_equal(*map(leaves, states))  # numbers that are rounded from the exact ones


def test_a_network_goes_back_to_an_earlier_value(place, dtype):
    net = make(place, [2, 4, 1], "tanh", "identity", "quadratic", seed=0, dropout=0.2, dtype=dtype)
    before, first = net.value, net.fingerprint()
    history = net.train(DATA, epochs=2, batch_size=4, lr=0.01, progress=False)
    trained = net.fingerprint()
    net.value = before
    assert net.fingerprint() == first
    assert len(net.history) == 0
    assert net.train(DATA, epochs=2, batch_size=4, lr=0.01, progress=False)["cost"] == history["cost"]
    assert net.fingerprint() == trained


REGRESSION = {"activation": "tanh", "task": "regression", "dropout": 0.1, "dtype": "float64", "seed": 0}
# Arguments that leave all shapes as they are, or not -> what the message says of them
OTHER_ARGUMENTS = [
    ({"activation": "relu"}, r"activation=\['relu'\], and this one has activation=\['tanh'\]"),
    ({"activation": Steep(1.0)}, r"activation=\['steep'\]"),
    ({"output_activation": "softplus"}, "output_activation='softplus'"),
    ({"cost": "huber"}, "cost='huber', and this one has cost='quadratic'"),
    ({"cost": "gaussian", "output_activation": None}, "output_activation='mean_std'"),
    ({"standardize": True}, "standardize=True, and this one has standardize=False"),
    ({"scale": 0.5}, "scale=0.5, and this one has scale=None"),
    ({"dropout": 0.2}, r"dropout=\[0.0, 0.2\], and this one has dropout=\[0.0, 0.1\]"),
    ({"sizes": [2, 4, 2]}, r"sizes=\[2, 4, 2\], and this one has sizes=\[2, 3, 2\]"),
    ({"dtype": "float32"}, "it is in float32 on numpy"),
    ({"backend": array_api_strict}, "it is in float64 on array_api_strict"),
]


def regression(sizes=(2, 3, 2), **options):
    return Network(sizes, **{**REGRESSION, **options})


@pytest.mark.parametrize(("arguments", "message"), OTHER_ARGUMENTS)
def test_a_value_is_that_of_a_network_with_the_same_arguments(arguments, message):
    """Also in callbacks, and for the members of an ensemble."""
    wrong = regression(**arguments).value
    net, ensemble = regression(), Ensemble([2, 3, 2], 2, **REGRESSION)
    before = net.value, ensemble[1].value

    class Assign(Callback):
        def on_train_begin(self, training):
            training.value = wrong

    def train(model):
        model.train(([[0.0, 1.0]], [[0.0, 1.0]]), 1, callbacks=[Assign()], progress=False)

    message = rf"^value must be .* of one with the same arguments, in float64 on numpy; .*{message}"
    for assign in (
        lambda: setattr(net, "value", wrong),
        lambda: setattr(ensemble[1], "value", wrong),
        lambda: train(net),
        lambda: train(ensemble),
    ):
        with pytest.raises(ArgumentError, match=message):
            assign()
    assert (net.value, ensemble[1].value) == before


def test_a_value_of_a_network_with_the_same_arguments_is_taken():
    """Also of one with another seed, and of one with another object for an equal activation."""
    for activation in ("leaky_relu(0.2)", Steep(1.0)):
        net, other = regression(activation=activation), regression(activation=activation, seed=1, init="zeros")
        net.value = other.value
        assert_same(net, snapshot(other))
        with pytest.raises(ArgumentError, match="activation"):
            net.value = regression(activation="leaky_relu(0.3)" if activation != "steep" else Steep(2.0)).value


def wrong_parts():
    """Parts of a value that do not fit, by what the message says; a function of the value makes each."""

    def replace(**parts):
        return lambda value: value._replace(**parts)

    def inside(field, **parts):
        return lambda value: value._replace(**{field: getattr(value, field)._replace(**parts)})

    for field in ("stored", "seeds", "model", "scaling", "feature_names", "calibration", "laplace", "novelty"):
        yield "value must be an earlier value of this network", replace(**{field: "text"})
    yield "its optimizer is <class", replace(optimizer=SGD)
    yield r"its optimizer has another state than that of SGD\(momentum=0.9", replace(optimizer=SGD(momentum=0.9))
    for part in ("layers", "dropout"):
        for wrong in ("ab", 1, (("a", "b"), ("c", "d")), (([1], [2]), ([1], [2]))):
            yield f"its {part} have other", inside("stored", **{part: wrong})
    yield "its optimizer has another state", inside("stored", optimizer=None)
    yield "generator=.* must be the state of a PCG64", replace(generator={"state": 1})
    yield "seed=-1 must be a whole number", inside("seeds", split=-1)
    yield r"feature_names=\('a',\) must be 2 different strings", replace(feature_names=("a",))
    wrong = Scaling(*np.ones((4, 1, 3)))
    yield "scaling.x_mean has", lambda value: value._replace(scaling=dataclasses.replace(value.scaling, exact=wrong))
    yield "calibration is .*, but must be finite float64", inside("calibration", errors=[1.0, 2.0])
    yield "calibration.temperature=2.0 must be None", inside("calibration", temperature=2.0)
    yield "calibration.examples=2 must be a whole number of at least 8", inside("calibration", examples=2)


@pytest.fixture(scope="module")
def fitted():
    """A network that has all parts."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((8, 2)), rng.standard_normal((8, 2))
    net = regression(standardize=True)
    net.train(data, 1, progress=False)
    net.fit_laplace(data)
    net.fit_novelty(np.repeat(data[0], 3, axis=0))
    net.calibrate((data[0] + 1, data[1]))
    net.feature_names = "a", "b"
    return net


@pytest.mark.parametrize(("message", "change"), [*wrong_parts()])
def test_a_part_of_a_value_that_does_not_fit_is_named(fitted, message, change):
    before = fitted.value
    with pytest.raises(ArgumentError, match=message):
        fitted.value = change(before)
    assert fitted.value is before


@pytest.mark.parametrize("name", ["value", "state"])
def test_something_else_than_a_value_or_a_state_is_refused(name):
    net = Network([2, 1], task="binary", seed=0)
    before = net.value
    message = rf"^{name} must be an earlier {name} of this network, or that of one with the same arguments, in float32"
    others = [Network([2, 3]), Network([2, 1], dtype="float64"), Network([2, 1], dropout=[0.5])]
    for wrong in (*(getattr(other, name) for other in others), None, net.layers):
        with pytest.raises(ArgumentError, match=message):
            setattr(net, name, wrong)
    assert net.value is before


CHANGES = {
    "weights": lambda net: setattr(net, "w", [2 * w for w in net.w]),
    "the optimizer": lambda net: net.reset_optimizer(Adam()),
    "the optimizer's memory": lambda net: net.reset_optimizer(SGD(momentum=0.9)),
    "the generator": lambda net: setattr(net, "value", net.value._replace(generator=PCG64(1).state)),
    "a minibatch": lambda net: net.minibatch_update(DATA, 0.1),
    "the scaling": lambda net: setattr(net, "scaling", net.scaling._replace(x_mean=net.scaling.x_mean + 1)),
    "names": lambda net: setattr(net, "feature_names", ("a", "b")),
    "the calibration": lambda net: net.calibrate((DATA[0] + 0.5, DATA[1])),
    "novelty": lambda net: net.fit_novelty(DATA[0]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_changes_with(change):
    net = trained()
    before = net.fingerprint()
    assert trained().fingerprint() == before
    CHANGES[change](net)
    assert net.fingerprint() != before


@pytest.mark.parametrize("options", [{"seed": 1}, {"dropout": 0.25}, {"dtype": "float64"}, {"standardize": False}])
def test_other_settings_have_another_fingerprint(options):
    assert trained(**options).fingerprint() != trained().fingerprint()


def test_a_fingerprint_holds_neither_the_place_nor_the_past(place, tmp_path):
    net = trained()
    twin = net.to(**place._asdict())
    net.notes, net.history = {"a": 1}, Network([1, 1]).history
    net.save(tmp_path / "net")
    assert twin.fingerprint() == net.fingerprint() == Network.load(tmp_path / "net").fingerprint()
    ensembles = Ensemble.of([net, trained(seed=1)]), Ensemble.of([twin, trained(seed=1).to(**place._asdict())])
    assert ensembles[0].fingerprint() == ensembles[1].fingerprint() != Ensemble.of([net]).fingerprint()


def test_signs_of_zeros_do_not_change_a_fingerprint():
    net = Network([2, 1], seed=0)
    net.b = [[0.0]]
    before = net.fingerprint()
    net.b = [[-0.0]]
    assert net.fingerprint() == before


def test_what_split_rows_and_dropout_masks_refuse():
    net = Network([2, 1], task="regression", seed=0)
    with pytest.raises(ArgumentError, match="split_rows needs all examples beforehand; give data as arrays"):
        net.split_rows(iter([DATA]), 0.5)
    with pytest.raises(ArgumentError, match=r"split=1\.5 must be above 0 and below 1"):
        net.split_rows(DATA, 1.5)
    with pytest.raises(ArgumentError, match="dropout_masks needs dropout, and this network has none"):
        net.dropout_masks(0, 3)


def test_chunks_have_as_many_steps_as_asked_for(place):
    class Count(Callback):
        def on_train_begin(self, training):
            self.steps = []

        def on_chunk_end(self, steps):
            self.steps.append(steps)

    weights, options = [], {"epochs": 1, "batch_size": 3, "lr": 0.1, "progress": False}
    for chunk_steps, steps in ((2, [2, 2, 2, 1]), (None, [6, 1]), (3, [3, 3, 1])):
        net, count = Network([2, 1], task="regression", seed=0, **place._asdict()), Count()
        model, callbacks = (Ensemble.of([net]), lambda _, count=count: [count]) if chunk_steps == 3 else (net, [count])
        model.train(DATA, chunk_steps=chunk_steps, callbacks=callbacks, **options)
        weights.append(layers_of(model[0] if chunk_steps == 3 else net)[0][0])
        assert count.steps == steps
    np.testing.assert_allclose(weights[1:], [weights[0]] * 2, rtol=1e-6)
    with pytest.raises(ArgumentError, match="chunk_steps=0 must be a whole number of at least 1"):
        net.train(DATA, chunk_steps=0)
