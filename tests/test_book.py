"""The book's interface: its steps, lines, lists and files."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import reference

import xpnet
from xpnet import CheckpointError
from xpnet.learn import book
from xpnet.learn.book import CrossEntropyCost, FirstNetwork, Network, QuadraticCost, load, load_data_wrapper

# test_trainings.py and test_backends.py see what JAX may do otherwise
pytestmark = pytest.mark.not_on("jax")

COSTS = {"quadratic": QuadraticCost, "cross_entropy": CrossEntropyCost}
SIZES = [5, 4, 3]
DOCS = Path(__file__).parents[1] / "docs"


def make_pairs(n, seed=0):
    """Columns, as in the book: inputs, and targets with a single 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    x = rng.normal(size=(n, 5, 1))
    return [(x[i], np.eye(3)[labels[i]][:, None]) for i in range(n)]


def with_classes(pairs):
    return [(x, int(np.argmax(y))) for x, y in pairs]


def as_layers(net):
    return [(w, b[:, 0]) for w, b in zip(net.weights, net.biases, strict=True)]


def book_cost(cost, layers, pairs, lmbda):
    """The book's cost: the mean over the data, and λ/2n ‖w‖² with the n of these data."""
    xs, ys = np.array([x[:, 0] for x, _ in pairs]), np.array([y[:, 0] for _, y in pairs])
    _, mean = reference.mean_gradient(layers, ["sigmoid", "sigmoid"], cost, xs, ys)
    return mean + lmbda / (2 * len(pairs)) * sum(np.sum(w**2) for w, _ in layers)


@pytest.mark.parametrize("lmbda", [0.0, 2.5])
@pytest.mark.parametrize("cost", COSTS)
def test_two_epochs_are_those_of_the_per_example_program(backend, cost, lmbda):
    pairs = make_pairs(23)
    net = Network(SIZES, COSTS[cost], backend=backend, seed=3)
    before, rng = as_layers(net), np.random.default_rng()
    rng.bit_generator.state = net.net.value.generator
    net.SGD(pairs, 2, 5, 0.7, lmbda=lmbda)
    orders = [rng.permutation(23), rng.permutation(23)]
    batches = [order[k : k + 5] for order in orders for k in range(0, 23, 5)]
    assert len(batches[4]) == 3  # the remainder is a minibatch of its own
    layers = before
    for batch in batches:
        layers = step(layers, cost, [pairs[i] for i in batch], 0.7, lmbda / 23)
    for (w, b), (w_book, b_book) in zip(as_layers(net), layers, strict=True):
        np.testing.assert_allclose(w, w_book, rtol=0, atol=1e-13)
        np.testing.assert_allclose(b, b_book, rtol=0, atol=1e-13)
    assert np.abs(layers[0][0] - before[0][0]).max() > 1e-2


def step(layers, cost, pairs, eta, decay):
    """The book's step, w ← (1 − ηλ/n) w − η/m Σ ∂C/∂w with decay = λ/n, example by example."""
    each = [reference.gradient(layers, ["sigmoid", "sigmoid"], cost, x[:, 0], y[:, 0])[0] for x, y in pairs]
    return [
        (
            (1 - eta * decay) * w - eta / len(pairs) * sum(grads[l][0] for grads in each),
            b - eta / len(pairs) * sum(grads[l][1] for grads in each),
        )
        for l, (w, b) in enumerate(layers)
    ]


@pytest.mark.parametrize("lmbda", [0.0, 2.5])
@pytest.mark.parametrize("cost", COSTS)
def test_a_step_is_that_of_the_per_example_program(backend, cost, lmbda):
    net = Network(SIZES, COSTS[cost], backend=backend, seed=3)
    layers, pairs = as_layers(net), make_pairs(7)
    net.update_mini_batch(pairs, 0.7, lmbda, 23)
    net.update_mini_batch(iter(pairs[:3]), 0.7, lmbda=lmbda, n=23)
    layers = step(step(layers, cost, pairs, 0.7, lmbda / 23), cost, pairs[:3], 0.7, lmbda / 23)
    for (w, b), (w_book, b_book) in zip(as_layers(net), layers, strict=True):
        np.testing.assert_allclose(w, w_book, rtol=0, atol=1e-13)
        np.testing.assert_allclose(b, b_book, rtol=0, atol=1e-13)


def test_the_loop_of_the_book_gives_the_network_of_sgd():
    pairs = make_pairs(23)
    net, by_hand = FirstNetwork(SIZES, seed=3), FirstNetwork(SIZES, seed=3)
    order = by_hand.net.make_rng().permutation(23)
    for k in range(0, 23, 5):
        by_hand.update_mini_batch([pairs[i] for i in order[k : k + 5]], 3.0)
    net.SGD(pairs, 1, 5, 3.0)
    for w, w_by_hand in zip(net.weights, by_hand.weights, strict=True):
        np.testing.assert_allclose(w, w_by_hand, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eta": -1}, "eta=-1 must be"),
        ({"lmbda": -0.1}, r"lmbda=-0.1 must be .*0 turns the penalty off"),
        ({"lmbda": 5.0}, r"lmbda=5.0 needs n, the number of training examples; give n=len\(training_data\)"),
        ({"lmbda": 5.0, "n": 0}, "n=0 must be"),
        ({"mini_batch": []}, r"mini_batch must be a list of at least one pair \(x, y\)"),
        ({"mini_batch": [(np.ones((4, 1)), 0)]}, r"x of mini_batch\[0\] has shape \(4, 1\), but must have \(5, 1\)"),
    ],
)
def test_a_step_with_wrong_arguments_changes_nothing(change, message):
    net = Network(SIZES, seed=0)
    before = net.weights
    with pytest.raises(ValueError, match=message):
        net.update_mini_batch(**({"mini_batch": make_pairs(4), "eta": 0.1} | change))
    np.testing.assert_array_equal(net.weights[0], before[0])


def test_a_step_that_diverges_changes_nothing():
    net = Network([1, 1], seed=0)
    before = net.weights
    with pytest.raises(xpnet.DivergenceError, match="diverged in a minibatch update"):
        net.update_mini_batch([([1e10], [0.5])], 1e308, lmbda=1.0, n=1)
    np.testing.assert_array_equal(net.weights[0], before[0])


@pytest.mark.parametrize("cost", COSTS)
def test_costs_have_the_functions_of_the_book(cost):
    net = Network(SIZES, COSTS[cost], seed=1)
    x, y = make_pairs(1)[0]
    y = 0.8 * y + 0.1
    _, last = as_layers(net)
    hidden = 1 / (1 + np.exp(-(net.weights[0] @ x + net.biases[0])))
    z, a = last[0] @ hidden + last[1][:, None], net.feedforward(x)
    value = {
        "quadratic": np.sum((a - y) ** 2) / 2,
        "cross_entropy": -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a)),
    }[cost]
    assert type(net.cost.fn(a, y)) is float
    assert net.cost.fn(a, y) == pytest.approx(value, rel=1e-13)
    assert net.cost.fn(a, y) == pytest.approx(net.total_cost([(x, y)], 0.0), rel=1e-13)
    delta = net.cost.delta(z, a, y)
    expected = {"quadratic": (a - y) * a * (1 - a), "cross_entropy": a - y}[cost]
    assert delta.shape == (3, 1)
    np.testing.assert_allclose(delta, expected, atol=1e-15)
    np.testing.assert_allclose(delta, net.backprop(x, y)[0][-1], atol=1e-15)  # BP3: ∂C/∂b = δ


def test_a_cost_of_outputs_that_are_exactly_0_or_1():
    a, y = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])
    assert (CrossEntropyCost.fn(a, y), CrossEntropyCost.fn(a, 1 - y)) == (0.0, np.inf)


@pytest.mark.parametrize("shape", [(3, 1), (3,), (3, 2)], ids=str)
@pytest.mark.parametrize("cost", [QuadraticCost, CrossEntropyCost])
def test_a_cost_takes_vectors_and_several_columns_as_the_book_s(cost, shape):
    a, y = np.random.default_rng(0).uniform(size=(2, *shape))
    right = {
        QuadraticCost: 0.5 * np.linalg.norm(a - y) ** 2,
        CrossEntropyCost: np.sum(np.nan_to_num(-y * np.log(a) - (1 - y) * np.log(1 - a))),
    }
    assert cost.fn(a, y) == pytest.approx(right[cost], rel=1e-14)


def test_the_derivative_of_the_quadratic_cost():
    a, y = np.array([[0.8], [0.4]]), np.array([[1.0], [0.0]])
    np.testing.assert_allclose(FirstNetwork([2, 2], seed=0).cost_derivative(a, y), [[-0.2], [0.4]], atol=1e-15)


@pytest.mark.parametrize("cost", COSTS)
def test_the_four_lists_and_the_lines(backend, capsys, cost):
    pairs, others = make_pairs(23), make_pairs(9, seed=1)
    net = Network(SIZES, COSTS[cost], backend=backend, seed=3)
    lists = net.SGD(
        *(pairs, 2, 5, 0.7),
        lmbda=2.5,
        evaluation_data=with_classes(others),
        monitor_evaluation_cost=True,
        monitor_evaluation_accuracy=True,
        monitor_training_cost=True,
        monitor_training_accuracy=True,
    )
    evaluation_cost, evaluation_accuracy, training_cost, training_accuracy = lists
    assert [len(values) for values in lists] == [2] * 4
    assert evaluation_cost[1] == pytest.approx(book_cost(cost, as_layers(net), others, 2.5), rel=1e-12)
    assert training_cost[1] == pytest.approx(book_cost(cost, as_layers(net), pairs, 2.5), rel=1e-12)
    for values, data in ((evaluation_accuracy, others), (training_accuracy, pairs)):
        assert values[1] == sum(int(np.argmax(net.feedforward(x)) == np.argmax(y)) for x, y in data)
        assert type(values[1]) is int
    expected = []
    for j in range(2):
        expected += [
            f"Epoch {j} training complete",
            f"Cost on training data: {training_cost[j]}",
            f"Accuracy on training data: {training_accuracy[j]} / 23",
            f"Cost on evaluation data: {evaluation_cost[j]}",
            f"Accuracy on evaluation data: {evaluation_accuracy[j]} / 9",
            "",
        ]
    out, err = capsys.readouterr()
    assert (out.splitlines(), err) == (expected, "")
    assert net.total_cost(pairs, 2.5) == net.total_cost(with_classes(pairs), 2.5, convert=True) == training_cost[1]
    assert net.accuracy(pairs, convert=True) == net.evaluate(with_classes(pairs)) == training_accuracy[1]


def test_lists_that_nobody_asked_for_are_empty(capsys):
    lists = Network(SIZES, seed=0).SGD(make_pairs(4), 1, 2, 0.1, evaluation_data=make_pairs(3), lmbda=0.1)
    assert lists == ([], [], [], [])
    assert capsys.readouterr().out == "Epoch 0 training complete\n\n"


def test_the_first_network_prints_the_lines_of_chapter_1(capsys):
    training_data, _, test_data = load_data_wrapper("mnist-sample")
    net = FirstNetwork([784, 30, 10], seed=0)
    assert net.cost is QuadraticCost
    assert 0.95 < net.weights[0].std() < 1.05
    assert net.SGD(training_data, 2, 10, 3.0, test_data=test_data) == ([], [], [], [])
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Epoch 0: \d+ / 1000", first)
    assert second == f"Epoch 1: {net.evaluate(test_data)} / 1000"
    assert net.evaluate(test_data) > 500


def test_the_initializers_draw_again():
    net = Network([400, 50], seed=0)
    assert net.weights[0].std() == pytest.approx(1 / 20, rel=0.05)
    first = net.weights[0]
    net.large_weight_initializer()
    assert net.weights[0].std() == pytest.approx(1, rel=0.05)
    net.default_weight_initializer()
    assert net.weights[0].std() == pytest.approx(1 / 20, rel=0.05)
    assert (net.weights[0] != first).any()
    assert net.biases[0].shape == (50, 1)


def test_columns_go_in_and_come_out(backend):
    net = Network(SIZES, backend=backend, seed=1)
    (x, y), (other, _) = make_pairs(2)
    a = x
    for w, b in zip(net.weights, net.biases, strict=True):
        a = 1 / (1 + np.exp(-(w @ a + b)))
    np.testing.assert_allclose(net.feedforward(x), a, atol=1e-14)
    assert net.feedforward(np.hstack([x, other])).shape == (3, 2)
    nabla_b, nabla_w = net.backprop(x, y)
    grads, _ = reference.gradient(as_layers(net), ["sigmoid", "sigmoid"], "cross_entropy", x[:, 0], y[:, 0])
    for gb, gw, (gw_reference, gb_reference) in zip(nabla_b, nabla_w, grads, strict=True):
        np.testing.assert_allclose(gw, gw_reference, atol=1e-14)
        np.testing.assert_allclose(gb, gb_reference[:, None], atol=1e-14)
    net.weights = [0 * w for w in net.weights]
    net.biases = [0 * b for b in net.biases]
    assert (net.feedforward(x) == 0.5).all()
    assert (net.sizes, net.num_layers, repr(net)) == (SIZES, 3, "Network([5, 4, 3], cost=CrossEntropyCost)")


def test_files_are_those_of_network2(tmp_path):
    net = Network(SIZES, QuadraticCost, seed=1)
    net.save(tmp_path / "network")
    record = json.loads((tmp_path / "network").read_text())
    assert (record["sizes"], record["cost"]) == (SIZES, "QuadraticCost")
    assert record["weights"] == [w.tolist() for w in net.weights]
    again = load(tmp_path / "network")
    assert again.cost is QuadraticCost
    for w, w_again in zip(net.weights, again.weights, strict=True):
        np.testing.assert_array_equal(w_again, w)
    again.SGD(make_pairs(4), 1, 2, 0.1)
    (tmp_path / "other").write_text("{}")
    with pytest.raises(CheckpointError, match=r"does not hold a network of network2\.py"):
        load(tmp_path / "other")


def test_training_data_stay_in_their_order():
    pairs = make_pairs(8)
    order = [id(x) for x, _ in pairs]
    Network(SIZES, seed=0).SGD(pairs, 1, 3, 0.1)
    assert [id(x) for x, _ in pairs] == order


def test_an_iterator_of_pairs_and_a_single_output_can_be_trained(capsys):
    net = Network([1, 1], QuadraticCost, seed=0)
    net.weights, net.biases = [[[0.6]]], [[[0.9]]]  # the neuron at the beginning of chapter 3, with its rate
    assert round(net.feedforward([[1.0]]).item(), 2) == 0.82
    pairs = zip([np.array([[1.0]])], [np.array([[0.0]])], strict=True)
    _, _, costs, correct = net.SGD(pairs, 300, 1, 0.15, monitor_training_cost=True, monitor_training_accuracy=True)
    assert round(net.feedforward([[1.0]]).item(), 2) == 0.09  # as the book says
    assert costs[-1] == pytest.approx(net.feedforward([[1.0]]).item() ** 2 / 2)
    assert (correct[0], correct[-1]) == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eta": -1}, "eta=-1 must be"),
        ({"epochs": -1}, "epochs=-1 must be"),
        ({"mini_batch_size": 0}, "mini_batch_size=0 must be"),
        ({"lmbda": -0.1}, r"lmbda=-0.1 must be .*0 turns the penalty off"),
        ({"monitor_evaluation_cost": True}, "monitor_evaluation_cost=True needs evaluation_data; give test_data"),
        ({"monitor_evaluation_accuracy": True}, "monitor_evaluation_accuracy=True needs evaluation_data"),
        (
            {"training_data": []},
            r"training_data must be a list of at least one pair \(x, y\), like those of load_data_wr",
        ),
        ({"training_data": [1, 2]}, r"training_data must be a list of at least one pair \(x, y\)"),
        (
            {"training_data": [(np.ones((4, 1)), 0)]},
            r"x of training_data\[0\] has shape \(4, 1\), but must have \(5, 1\), to match sizes",
        ),
        (
            {"test_data": [(np.ones((5, 1)), np.ones((2, 1)))]},
            r"y of test_data\[0\] has shape \(2, 1\), but must have \(3, 1\), to match sizes",
        ),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(change, message):
    net = Network(SIZES, seed=0)
    before = net.weights
    call = {"training_data": make_pairs(4), "epochs": 1, "mini_batch_size": 2, "eta": 0.1} | change
    with pytest.raises(ValueError, match=message):
        net.SGD(**call)
    np.testing.assert_array_equal(net.weights[0], before[0])


def test_a_cost_is_one_of_two_classes():
    with pytest.raises(ValueError, match=r"must be one of the classes 'QuadraticCost', 'CrossEntropyCost'"):
        Network(SIZES, cost="quadratic")


def test_the_sample_has_the_form_of_the_book():
    training_data, validation_data, test_data = load_data_wrapper("mnist-sample")
    (x_train, y_train), (x_test, _) = xpnet.datasets.mnist_sample()
    x, y = training_data[7]
    np.testing.assert_array_equal(x[:, 0], x_train[7])
    np.testing.assert_array_equal(y[:, 0], np.eye(10)[y_train[7]])
    np.testing.assert_array_equal(validation_data[0][0][:, 0], x_train[4000])
    assert validation_data[0][1] == y_train[4000]
    np.testing.assert_array_equal(test_data[-1][0][:, 0], x_test[-1])
    assert type(test_data[-1][1]) is int
    with pytest.raises(ValueError, match=r"data='sample' is unknown; choose from 'mnist', 'mnist-sample'"):
        load_data_wrapper("sample")


def test_without_mnist_the_error_names_the_sample(monkeypatch, tmp_path):
    def fail(root, validation):
        raise ImportError("MNIST is not here")

    monkeypatch.setattr(book, "mnist", fail)
    with pytest.raises(ImportError, match=r'MNIST is not here; load_data_wrapper\("mnist-sample"\) returns the'):
        load_data_wrapper(root=tmp_path)


def test_mnist_is_split_as_in_the_book(monkeypatch):
    rng = np.random.default_rng(0)
    parts = tuple((rng.random((n, 784), dtype=np.float32), rng.integers(10, size=n)) for n in (5, 3, 2))
    monkeypatch.setattr(book, "mnist", lambda root, validation: parts if validation == 10_000 else None)
    assert [len(part) for part in load_data_wrapper()] == [5, 3, 2]


# The pages: their tables and figures show the results in docs/book_results.json


def test_the_tables_of_the_book_show_the_results():
    """A call's row names the curve and the epoch, and has the mean, the range and the number of seeds."""
    results = json.loads((DOCS / "book_results.json").read_text())
    calls, count = list(results), 0
    for offset, chapter in zip((0, 5), (DOCS / "learn" / "book.md").read_text().split("### Chapter")[1:], strict=True):
        for call, what, epoch, ours in re.findall(r"\| (\d+) \| ([\w ]+), (\w+) epoch \| [^|]+ \| (.*) \|", chapter):
            curves = results[calls[offset + int(call) - 1]]["curves"].values()
            choose = {"first": lambda curve: curve[0], "last": lambda curve: curve[-1], "best": max}[epoch]
            values = [choose(curve[what.removesuffix(" accuracy")]) for curve in curves]
            unit, digits = (" %", ".2f") if what.endswith("accuracy") else ("", ".4f")
            mean, low, high = (format(f(values), digits) for f in (np.mean, min, max))
            assert ours == f"{mean}{unit} ({low} to {high}, {len(values)} seeds)"
            count += 1
    assert count == 40


def test_the_table_with_more_data_shows_the_results():
    results = json.loads((DOCS / "book_results.json").read_text())
    networks = np.array([curves["validation"] for curves in results["more-data"]["curves"].values()])
    machines = results["svm"]["curves"]["0"]["validation"]
    rows = re.findall(
        r"\| [\d,]+ \| [\d.]+ % \| (.*) \| [\d.]+ % \| (.*) \|", (DOCS / "learn/book-figures.md").read_text()
    )
    for column, svm, (ours, theirs) in zip(networks.T, machines, rows, strict=True):
        assert ours == f"{column.mean():.2f} % ({column.min():.2f} to {column.max():.2f}, 5 seeds)"
        assert theirs == f"{svm:.2f} %"


def test_the_page_says_between_which_accuracies_the_mean_stays_while_it_overfits():
    results = json.loads((DOCS / "book_results.json").read_text())
    mean = np.mean([curves["evaluation"] for curves in results["overfitting"]["curves"].values()], axis=0)[200:]
    text = " ".join((DOCS / "learn" / "book-figures.md").read_text().split())
    assert f"stays between {mean.min():.2f} % and {mean.max():.2f} % from epoch 200 on" in text


def test_the_figures_of_the_book_draw_its_numbers_and_ours():
    """Each is on the page, and has a curve of the book for each of ours, of the same length, that begins alike."""
    pytest.importorskip("matplotlib", reason="needs matplotlib", exc_type=ImportError)
    figures = runpy.run_path(str(DOCS / "book_figures.py"))
    shown = re.findall(r":file: ../generated/book-(\w+)\.svg", (DOCS / "learn" / "book-figures.md").read_text())
    assert shown == list(figures["DESCRIPTIONS"])
    assert sorted(shown) == sorted([*figures["PLOTS"], *figures["NEURONS"]])
    for name in shown:
        lines = [line.get_xydata() for line in figures["draw"](name).axes[0].get_lines()]
        if name in figures["NEURONS"]:
            assert [line.shape for line in lines] == [(301, 2)] * 2
            continue
        count = len(figures["PLOTS"][name].curves)
        assert len(lines) == 2 * count
        for ours, theirs in zip(lines[:count], lines[count:], strict=True):
            np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
            np.testing.assert_allclose(ours[0], theirs[0], rtol=0.15)


def test_the_neuron_of_the_book_learns_as_slowly():
    pytest.importorskip("matplotlib", reason="needs matplotlib", exc_type=ImportError)
    figures = runpy.run_path(str(DOCS / "book_figures.py"))
    cost, eta = figures["NEURONS"]["neuron_quadratic"]
    outputs = [figures["train_neuron"](cost, eta, *start) for start in figures["STARTS"]]
    assert [f"{values[0]:.2f}" for values in outputs] == ["0.82", "0.98"]  # as the book says
    assert [f"{values[-1]:.2f}" for values in outputs] == ["0.09", "0.20"]  # 0.09 in the book
    text = " ".join((DOCS / "learn" / "book-figures.md").read_text().split())
    spans = [f"from {values[0] ** 2 / 2:.3f} to {values[-1] ** 2 / 2:.3f}" for values in outputs]
    assert f"it falls {', and '.join(spans)}" in text


def test_the_neuron_of_the_book_learns_faster_with_cross_entropy_at_the_same_rate():
    """The page says how large σ′ and the errors are, and after how many epochs the output is below 0.5."""
    pytest.importorskip("matplotlib", reason="needs matplotlib", exc_type=ImportError)
    figures = runpy.run_path(str(DOCS / "book_figures.py"))
    text = " ".join((DOCS / "learn" / "book-figures.md").read_text().split())
    (quadratic, eta), (cross_entropy, _) = figures["NEURONS"].values()
    outputs = [figures["train_neuron"](cost, eta, 2.0, 2.0) for cost in (quadratic, cross_entropy)]
    a, z = np.full((1, 1), outputs[0][0]), np.full((1, 1), 4.0)
    error, other = (cost.delta(z, a, 0.0).item() for cost in (quadratic, cross_entropy))
    assert f"σ′(z) is {(a * (1 - a)).item():.3f}, and BP1 makes the error δ = (a − y) σ′(z) = {error:.3f}" in text
    assert f"With cross-entropy, δ = a − y, which is {other:.3f}" in text
    epochs, others = (next(i for i, output in enumerate(values) if output < 0.5) for values in outputs)
    assert (
        f"At the same rate, {eta}, the output falls from 0.98 to below 0.5 in {epochs} epochs with the quadratic cost, "
        f"and in {others} with cross-entropy" in text
    )
