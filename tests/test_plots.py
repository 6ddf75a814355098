"""Pictures: the numbers that are drawn, by what matplotlib holds of them, and one small baseline image of each.

Baselines are in tests/pictures. They have no texts, and their axes are in a fixed grid, so that they do not depend on
fonts and on matplotlib's layout, which changes by some pixels from version to version. They are blurred to be compared,
as edges of cells are rounded to pixels differently. `python tests/test_plots.py` draws them again, for changes that are
meant: look at them before they are committed.
"""

import math
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from numpy.testing import assert_allclose, assert_array_equal

from xpnet import ArgumentError, Ensemble, History, Network, plots
from xpnet.estimators import MLPClassifier, TableClassifier, TableRegressor

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

BASELINES = Path(__file__).parent / "pictures"
# Of `difference`: baselines are by matplotlib 3.11.2, from which 3.8.4 differs by up to 2.4; the wrong pictures below
# differ by 5.8 or more
TOLERANCE = 4

# Deterministic networks and data, so that no training is in the pictures


def history(rate, epochs=8, **more):
    """A history whose cost decreases as rate / epoch."""
    rows = [{"epoch": k, "cost": rate / k, "validation_cost": rate / k + 0.1} for k in range(1, epochs + 1)]
    return History([{**row, **{name: value(row["epoch"]) for name, value in more.items()}} for row in rows])


def three_classes(**options):
    """A network with two inputs that predicts the class of the nearest of three directions."""
    net = Network([2, 3], task="classification", **options)
    angles = 2 * np.pi * np.arange(3) / 3
    net.layers = [(np.stack([np.cos(angles), np.sin(angles)], axis=1) * 3, np.zeros(3))]
    return net


def points():
    """Points in a circle, with classes that the network above gives to all but two of them."""
    angles = 2 * np.pi * (np.arange(30) + 0.5) / 30
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.linspace(0.3, 1, 30)[:, None]
    y = (np.floor(angles / (2 * np.pi / 3) + 0.5) % 3).astype(int)
    y[[3, 14]] = 2
    return X, y


def images():
    """A network that finds out which quarter of an image is bright, and images with two wrong labels."""
    net = Network([16, 4], task="classification")
    quarters = np.zeros((4, 4, 4))
    for k in range(4):
        quarters[k, 2 * (k // 2) : 2 * (k // 2) + 2, 2 * (k % 2) : 2 * (k % 2) + 2] = 1 + k
    net.layers = [(quarters.reshape(4, 16), np.zeros(4))]
    return net, quarters.reshape(4, 16) / 4, np.array([0, 1, 0, 2])


def gaussian(members=3):
    """An ensemble whose means are k x, and whose noise is about 0.7."""
    ensemble = Ensemble([1, 2], members, cost="gaussian", seed=0)
    for k, net in enumerate(ensemble):
        net.layers = [([[float(k)], [0.0]], [0.0, 0.0])]
    return ensemble


def noisy(n=120):
    """Examples of a line and a noise that is mostly smaller than that of the network above."""
    x = np.linspace(-2, 2, n)
    return x[:, None], x + 0.5 * np.sin(7 * np.arange(n)) ** 3


CURVE = (np.linspace(0, 2, 9), np.array([0.1, -0.2, 0.5, 0.6, 1.4, 1.0, 1.7, 1.6, 2.3]))


def accuracy(epoch):
    return 1 - 0.5 / epoch


def draw_activations():
    net = Network([9, 12, 4], activation="tanh", task="classification")
    numbers = np.linspace(-1, 1, 9 * 12 + 12 * 4)
    net.w = [np.sin(7 * numbers[:108]).reshape(12, 9), np.cos(9 * numbers[108:]).reshape(4, 12)]
    net.b = [np.zeros(12), np.zeros(4)]
    return plots.activations(net, np.linspace(0, 1, 9))


def draw_weights():
    net = Network([12, 5, 1])
    net.w = [np.sin(np.arange(60.0)).reshape(5, 12), np.zeros((1, 5))]
    return plots.weights(net, shape=(3, 4))


def draw_importances():
    net = Network([2, 1])
    net.notes = {"importances": {f"x{k}": [0.05 + 0.1 * (k % 3), 0.02 * k] for k in range(6)}}
    return plots.importances(net, 5)


class Classes:
    """A model of three classes whose probabilities rise, fall and stay, as a function of any column."""

    classes_ = np.array(["cat", "dog", "eel"])

    def partial_dependence(self, X, column, points):
        values = np.linspace(0, 4, points) if column == "mass" else np.array(["a", "b", "c"])
        mean = np.linspace(0.1, 0.5, len(values))
        return values, np.stack([mean, 0.6 - mean, np.full_like(mean, 0.4)], axis=1), 0.05 + np.zeros((len(values), 3))


def draw_partial_dependence():
    left, right = Figure().subplots(1, 2)
    plots.partial_dependence(Classes(), None, "mass", ax=left)
    return plots.partial_dependence(Classes(), None, "kind", ax=right)


DRAW = {
    "history": lambda: plots.history(history(1.0, training_accuracy=accuracy)),
    "compare": lambda: plots.compare({str(rate): history(rate) for rate in (1.0, 2.0, 3.0)}),
    "mistakes": lambda: plots.mistakes(images()[0], images()[1:]),
    "weights": draw_weights,
    "activations": draw_activations,
    "decision_boundary": lambda: plots.decision_boundary(three_classes(), *points(), resolution=50),
    "error_bars": lambda: plots.error_bars(gaussian(), *CURVE),
    "calibration": lambda: plots.calibration(gaussian(), noisy()),
    "importances": draw_importances,
    "partial_dependence": draw_partial_dependence,
}


def save(name, path):
    """Save what a picture has in its axes, small, and with the settings of matplotlib that are its own."""
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = DRAW[name]()
        assert isinstance(figure, Figure)
        for text in figure.findobj(Text):
            text.set_visible(False)
        figure.set_layout_engine("none")
        figure.set_size_inches(5, 4)
        columns = int(np.ceil(np.sqrt(len(figure.axes))))
        for k, ax in enumerate(figure.axes):
            row, column = divmod(k, columns)
            ax.set_axes_locator(None)
            ax.set(position=[(column + 0.1) / columns, 1 - (row + 0.9) / columns, 0.8 / columns, 0.8 / columns])
        figure.savefig(path, dpi=80, metadata={"Software": None})


def difference(name, path):
    """Root of the mean squared difference from the baseline, in bytes, of means over 8 by 8 pixels."""
    images = (255 * imread(file)[..., :3].astype(float) for file in (BASELINES / f"{name}.png", path))
    drawn, expected = (image.reshape(40, 8, 50, 8, 3).mean(axis=(1, 3)) for image in images)
    return np.sqrt(np.mean((drawn - expected) ** 2))


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_looks_as_it_did(name, tmp_path):
    save(name, tmp_path / "drawn.png")
    assert difference(name, tmp_path / "drawn.png") < TOLERANCE


def test_every_function_has_a_baseline():
    assert set(plots.__all__) == set(DRAW) == {path.stem for path in BASELINES.glob("*.png")}


# All of them


@pytest.mark.parametrize(
    "draw",
    [
        lambda net, X, y, ax: plots.mistakes(net, (X, y), ax=ax),
        lambda net, X, y, ax: plots.mistakes(net, (X, net.predict(X)), ax=ax),  # none
        lambda net, X, y, ax: plots.weights(net, ax=ax),
        lambda net, X, y, ax: plots.activations(net, X[0], ax=ax),
    ],
)
def test_pictures_of_several_axes_take_the_place_of_one(draw):
    figure, alone = Figure(layout="constrained"), Figure()
    left, right = figure.subplots(1, 2)
    assert draw(*images(), right) is figure
    assert figure.axes[0] is left
    assert right not in figure.axes
    (panel,) = figure.subfigs
    figure.draw_without_rendering()
    assert panel.bbox.x0 >= left.bbox.x1
    with pytest.raises(ArgumentError, match=r"ax has no place in a grid; give axes that subplots\(\) made"):
        draw(*images(), alone.add_axes((0, 0, 1, 1)))
    assert len(alone.axes) == 1


def test_networks_and_data_on_any_backend(place, backend):
    (X, y), dtype = points(), "float64"
    net = three_classes(dtype=dtype, **place._asdict())
    on_device = backend.asarray(X, dtype), backend.asarray(y)
    for data in ((X, y), on_device, [*zip(X, y)]):
        assert len(plots.mistakes(net, data, shape=(1, 2)).axes) == 2
    assert plots.decision_boundary(net, *on_device, resolution=5).axes
    assert plots.weights(net, shape=(1, 2)).axes
    assert plots.activations(net, on_device[0][0, :]).axes
    ensemble = Ensemble([1, 2], 2, cost="gaussian", seed=0, dtype=dtype, **place._asdict())
    column = backend.asarray(CURVE[0], dtype)
    drawn = plots.error_bars(ensemble, column, backend.asarray(CURVE[1], dtype)).axes[0]
    assert np.allclose(drawn.lines[0].get_xydata(), np.stack(CURVE, axis=1))


# The numbers that are drawn


def words(labels):
    return [label.get_text() for label in labels]


def drawn_in(axes):
    """What the images in the axes show."""
    return [ax.images[0].get_array().ravel() for ax in axes]


def lines(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


def test_history_draws_costs_and_beside_them_accuracies():
    costs, accuracies = plots.history(history(1.0, 3, training_accuracy=accuracy)).axes
    assert lines(costs)["cost"] == [[1, 1.0], [2, 0.5], [3, 1 / 3]]
    assert list(lines(costs)) == ["cost", "validation_cost"]
    assert lines(accuracies) == {"training_accuracy": [[1, 0.5], [2, 0.75], [3, 1 - 0.5 / 3]]}
    assert (costs.get_ylabel(), accuracies.get_ylabel()) == ("cost", "accuracy")
    (only,) = plots.history(history(1.0, 3, training_accuracy=accuracy), "training_accuracy").axes
    assert list(lines(only)) == ["training_accuracy"]
    assert only.get_xlabel() == "epoch"
    assert words(only.get_legend().get_texts()) == ["training_accuracy"]


def test_a_binary_task_has_two_classes():
    net = Network([2, 1], task="binary", dtype="float64")
    net.layers = [([[1, 0]], [0])]
    X, y = np.array([[2.0, 0], [-1, 0], [3, 0]]), [1, 1, 1]
    figure = plots.mistakes(net, (X, y), shape=(2, 1))
    assert [ax.get_title() for ax in figure.axes] == [f"1 → 0 ({1 / (1 + np.exp(-1)):.0%})"]


def test_mistakes_are_the_surest_and_show_the_data_as_given():
    """In spite of scaling and standardization; several blocks of examples are put in one order."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (500, 9)).astype(np.uint8), rng.integers(0, 3, 500)
    for options in ({"scale": 1 / 255}, {"standardize": True}):
        data = (X, y) if "scale" in options else (X.astype(float), y)
        net = Network([9, 3], task="classification", seed=0, **options)
        net.train(data, epochs=1, progress=False)
        p = net.predict_proba(data[0])
        wrong = np.flatnonzero(p.argmax(axis=1) != y)
        surest = wrong[np.argsort(-p[wrong].max(axis=1), kind="stable")][:6]
        figure = plots.mistakes(net, data, 6)
        assert np.array_equal(drawn_in(figure.axes), X[surest])
        assert figure.get_suptitle().startswith(f"{len(wrong)} of 500 examples are classified wrongly; the 6 surest")


def test_weights_have_one_scale_around_zero():
    net, _, _ = images()
    *units, bar = plots.weights(net).axes
    assert [ax.get_title() for ax in units] == ["0", "1", "2", "3"]
    assert np.array_equal(drawn_in(units), net.w[0])
    ((low, high),) = {ax.images[0].get_clim() for ax in units}
    assert low == -high
    assert bar.get_ylabel() == "weight"
    assert plots.weights(net, 2).get_suptitle() == "Weights of the first 2 of 4 units"


def test_activations_draws_those_of_the_network():
    net = Network([6, 5, 3], task="classification", seed=0)
    x = np.linspace(0, 1, 6, dtype=np.float32)
    first, hidden, outputs = (a.ravel() for a in net.activations(x))
    panels = plots.activations(net, x[None, :], shape=(2, 3), labels=["a", "b", "c"]).axes
    assert np.array_equal(drawn_in(panels[:1])[0], first)
    cells = panels[1].images[0].get_array()
    assert np.allclose(cells.compressed(), hidden)
    assert cells.mask.sum() == 1  # a grid of 2 by 3 for 5 units
    assert np.allclose([bar.get_width() for bar in panels[2].patches], outputs)
    assert words(panels[2].get_yticklabels()) == ["a", "b", "c"]


def test_error_bars_are_drawn_over_numbers_far_from_0():
    x = 1.7e9 + np.linspace(0, 3600, 50)[:, None]
    net = Network([1, 4, 2], cost="gaussian", standardize=True, seed=0)
    net.train((x, np.sin(x[:, 0] / 700)), epochs=1, progress=False)
    (ax,) = plots.error_bars(net, x, np.sin(x[:, 0] / 700)).axes
    points = max(ax.lines, key=lambda line: line.get_marker() != "None").get_xdata()
    assert_allclose(points, x[:, 0], rtol=1e-15)
    assert_allclose(ax.get_xlim(), 1.7e9 + np.array([-900, 4500]), rtol=1e-12)  # a quarter of the range beyond


def test_decision_boundary_shades_the_class_of_each_point():
    X, y = points()
    figure = plots.decision_boundary(three_classes(), X, y, resolution=40)
    ax = figure.axes[0]
    shades = ax.images[0].get_array().reshape(-1, 3)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < X[:, 0].min()
    assert top > X[:, 1].max()
    grid = np.stack(np.meshgrid(np.linspace(left, right, 40), np.linspace(bottom, top, 40)), axis=-1).reshape(-1, 2)
    predicted = three_classes().predict(grid)
    brightness = [shades[predicted == k].mean() for k in range(3)]
    assert min(abs(np.diff(sorted(brightness)))) > 0.05  # told apart in grey
    for k, drawn in enumerate(ax.collections[-3:]):
        assert np.allclose(drawn.get_offsets(), X[y == k])


def band(ax, k):
    """Lower and upper edge of a band over the grid."""
    vertices = ax.collections[k].get_paths()[0].vertices
    xs = np.unique(vertices[:, 0])
    return xs, *(np.array([edge(vertices[vertices[:, 0] == x, 1]) for x in xs]) for edge in (np.min, np.max))


def test_error_bars_are_noise_and_disagreement():
    ensemble = gaussian()
    ax = plots.error_bars(ensemble, *CURVE, sigmas=1.5, margin=0.5).axes[0]
    xs, low, high = band(ax, 0)
    assert (xs[0], xs[-1]) == (-1, 3)
    mean, std = ensemble.predict(xs[:, None], return_std=True)
    assert np.allclose([low, high], [mean - 1.5 * std, mean + 1.5 * std], atol=1e-5)
    xs, low, high = band(ax, 1)
    assert np.allclose(high - low, 3 * np.abs(xs) * np.std([0, 1, 2]), atol=1e-5)
    names = ["examples", "noise and disagreement, 1.5σ", "disagreement alone, 1.5σ", "mean of the networks"]
    assert words(ax.get_legend().get_texts()) == names
    (ax,) = plots.error_bars(ensemble[1], *CURVE).axes
    xs, low, high = band(ax, 0)
    assert np.allclose((high - low) / 4, ensemble[1].predict_std(xs[:, None]), atol=1e-5)
    assert len(ax.collections) == 1


def histogram(net, data, **options):
    """What a calibration plot of a regression draws."""
    return plots.calibration(net, data, **options).axes[0].patches[-1].get_data()


def test_calibration_of_error_bars_is_the_histogram_of_the_integral_transform():
    """Bins between quantiles are as wide as their levels are apart; after a calibration it is flat on the same data."""
    net, (x, y) = gaussian()[1], noisy()
    z = (y - net.predict(x)) / net.predict_std(x)
    below = [0.5 * (1 + math.erf(each / 2**0.5)) for each in z.tolist()]
    drawn = histogram(net, (x, y), bins=8)
    assert_allclose(drawn.values, np.histogram(below, 8, (0, 1), density=True)[0])
    assert drawn.values[0] < 0.2
    net.calibrate((x, y))
    ends = histogram(net, (x, y), bins=4).values[[0, 3]]
    assert ends.sum() == pytest.approx(2, abs=0.1)  # half of the targets are outside of the middle half
    net = Network([1, 2], cost="quantile(0.25, 0.75)")
    net.layers = [([[0.0], [0.0]], [-0.5, 0.5])]
    drawn = histogram(net, (x, y))
    assert drawn.edges.tolist() == [0, 0.25, 0.75, 1]
    assert_allclose(drawn.values * [0.25, 0.5, 0.25] * 120, [(y <= -0.5).sum(), (abs(y) < 0.5).sum(), (y > 0.5).sum()])
    assert np.ptp(drawn.values) > 0.5
    net.calibrate((x, y))
    assert_allclose(histogram(net, (x, y)).values, 1, atol=0.1)


def test_calibration_of_classes_is_a_reliability_diagram():
    net = Network([1, 1], task="binary", dtype="float64")
    net.layers = [([[1.0]], [0.0])]
    x = np.log([[1 / 9], [1 / 9], [1 / 9], [1 / 9], [4.0], [4.0]])  # probabilities of 0.1 and 0.8
    ax = plots.calibration(net, (x, [0, 1, 0, 0, 1, 1])).axes[0]
    assert_allclose(ax.containers[0].lines[0].get_xydata(), [[0.1, 0.25], [0.8, 1.0]])
    assert ax.texts[0].get_text() == "expected calibration error 0.167"  # (4 (0.9 − 0.75) + 2 (1 − 0.8)) / 6
    net, X, y = images()
    (ax,), p = plots.calibration(net, (X, y)).axes, net.predict_proba(X)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("probability of the predicted class", "fraction that is right")
    right = (p.argmax(axis=1) == y)[p.max(axis=1) >= 0.9]
    assert ax.containers[0].lines[0].get_xydata()[-1, 1] == right.mean()


def test_classifiers_are_drawn_as_their_networks_with_their_classes():
    X, y = points()
    classes = ["left", "right", "top"]
    names = np.array(classes)[y]
    model = MLPClassifier((4,), max_iter=200, tol=10.0, random_state=0).fit(X, names)
    drawn = (
        plots.calibration(net, (X, c)).axes[0].lines[1].get_xydata() for net, c in ((model, names), (model.network_, y))
    )
    assert_array_equal(*drawn)
    boundary = plots.decision_boundary(model, X, names, resolution=20).axes[0]
    assert words(boundary.get_legend().get_texts()) == classes
    assert words(plots.activations(model, X[0]).axes[2].get_yticklabels()) == classes
    wrong = plots.mistakes(model, (X, names), shape=(1, 2))
    assert wrong.get_suptitle() == plots.mistakes(model.network_, (X, y), shape=(1, 2)).get_suptitle()
    with pytest.raises(ArgumentError, match="y has the class 'up', which the estimator has not learned; it knows"):
        plots.mistakes(model, (X, np.where(names == "top", "up", names)))


@pytest.mark.needs("pandas")
@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_tables_are_encoded_as_their_estimators_do(kind):
    X = np.random.default_rng(0).integers(0, 2, (60, 2)) * 5 - 2  # so that there are as many inputs as columns
    model = kind(2, hidden_layer_sizes=4, max_epochs=2, random_state=0).fit(X, y := X[:, 0] + X[:, 1])
    encoded = model.encoder_.transform(X), np.searchsorted(np.unique(y), y) if kind is TableClassifier else y
    drawn = (plots.calibration(*each).axes[0] for each in ((model, (X, y)), (model.ensemble_, encoded)))
    assert_array_equal(
        *(ax.lines[1].get_xydata() if kind is TableClassifier else ax.patches[-1].get_data()[0] for ax in drawn)
    )
    for draw in (plots.decision_boundary, plots.error_bars, lambda *data: plots.mistakes(data[0], data[1:])):
        with pytest.raises(ArgumentError, match=r"give net.ensemble_, and net.encoder_.transform\(X\) as its inputs"):
            draw(model, X, y)


@pytest.mark.needs("pandas")
def test_labels_of_many_values_do_not_overlap():
    names = np.array([f"{k:02} {'long ' * 9}" for k in range(30)])
    model = SimpleNamespace(partial_dependence=lambda X, column, points: (names, np.arange(30.0), np.ones(30)))
    figure = plots.partial_dependence(model, None, "name")
    FigureCanvasAgg(figure).draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert not any(left.overlaps(right) for left, right in pairwise(boxes))
    assert figure.axes[0].get_position().height > 0.4


def test_the_partial_dependence_of_two_classes_is_that_of_the_second():
    import pandas

    X = np.random.default_rng(0).normal(size=(60, 2))
    model = TableClassifier(2, hidden_layer_sizes=4, max_epochs=2, random_state=0).fit(X, X[:, 0] > 0)
    values, mean, std = model.partial_dependence(X, 0, points=7)
    ax = plots.partial_dependence(model, X, 0, points=7).axes[0]
    assert_array_equal(ax.lines[0].get_xydata(), np.stack([values, mean[:, 1]], axis=1))
    assert (len(ax.lines), ax.get_xlabel(), ax.get_ylabel()) == (1, "0", "mean probability of True")
    days = pandas.date_range("2024-01-01", periods=60)
    dates = pandas.DataFrame({"day": days, "there": days.tz_localize("UTC")})
    model.fit(dates, X[:, 0] > 0)
    for column in dates:
        expected = model.partial_dependence(dates, column, points=7)[0]
        of_days = plots.partial_dependence(model, dates, column, points=7).axes[0]
        assert_array_equal(of_days.lines[0].get_xdata(), expected)
        assert of_days.get_xticklabels()[0].get_rotation() == 30
    band = ax.collections[0].get_paths()[0].get_extents()
    assert_allclose([band.ymin, band.ymax], [(mean - std)[:, 1].min(), (mean + std)[:, 1].max()])


# What is refused

NET, REGRESSION = Network([4, 3], task="classification", seed=0), Network([1, 1], task="regression", seed=0)
DATA = (np.eye(4), [0, 1, 2, 0])
H = History([{"epoch": 1, "cost": 0.5}])


@pytest.mark.parametrize(
    ("draw", "argument", "remedy"),
    [
        (lambda: plots.history(NET), "history=", "such as net.history"),
        (lambda: plots.history(H, "loss"), "'loss'", "it has 'epoch', 'cost'"),
        (lambda: plots.compare([]), "histories", "give at least one, as in [h1, h2]"),
        (lambda: plots.compare([H, 5]), "history '2'", "such as net.history"),
        (lambda: plots.mistakes(REGRESSION, DATA), "mistakes", "needs classes"),
        (lambda: plots.mistakes(MLPClassifier(), DATA), "net is of type", "give a Network or an Ensemble, or a fitted"),
        (lambda: plots.mistakes(NET, (np.eye(3), [0, 1, 2])), "X of data", "(3, 3)"),
        (lambda: plots.mistakes(NET, DATA, labels=["a"]), "labels=['a']", "must have 3 names"),
        (lambda: plots.mistakes(NET, DATA, 0), "n=0", "at least 1"),
        (lambda: plots.weights(Network([6, 2])), "weights", "give shape=(rows, columns) with 6 pixels"),
        (lambda: plots.weights(NET, shape=(3, 2)), "shape=(3, 2)", "has 6 pixels, and this network has 4"),
        (lambda: plots.weights(gaussian()), "weights", "give a member of the ensemble, as in ensemble[0]"),
        (lambda: plots.calibration(REGRESSION, CURVE), "calibration", "needs error bars"),
        (lambda: plots.calibration(NET, DATA, bins=1), "bins=1", "at least 2"),
        (lambda: plots.activations(NET, np.eye(4)), "activations draws", "and x has 4; give one, as in x[0]"),
        (lambda: plots.decision_boundary(NET, *DATA), "decision_boundary", "2 inputs, and this one has 4"),
        (lambda: plots.error_bars(NET, *CURVE), "error_bars", "a regression with 1 input and 1 target"),
        (lambda: plots.error_bars(REGRESSION, *CURVE), "error_bars", 'a network with cost="gaussian"'),
        (lambda: plots.error_bars(gaussian(), *CURVE, sigmas=0), "sigmas=0", "2 is common"),
        (lambda: plots.importances(NET), "importances", "fit one whose members leave out rows"),
        (lambda: plots.partial_dependence(NET, None, 0), "model is of type Network", "give a fitted TableClassifier"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, argument, remedy):
    with pytest.raises(
        (ArgumentError, KeyError), match=f'^"?{re.escape(argument)}.*{re.escape(remedy)}'
    ):  # a KeyError is quoted
        draw()


def test_without_matplotlib_it_says_what_to_install():
    hidden = "import sys; sys.modules['matplotlib'] = None; from xpnet import plots"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert "ImportError: xpnet.plots needs matplotlib 3.8 or newer (" in done.stderr
    assert "install it with: pip install -e '.[plots]'" in done.stderr


if __name__ == "__main__":
    BASELINES.mkdir(exist_ok=True)
    for each in DRAW:
        save(each, BASELINES / f"{each}.png")
