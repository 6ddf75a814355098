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
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from xpnet import Ensemble, History, Network, plots
from xpnet.cli import main
from xpnet.estimators import MLPClassifier

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


DRAW = {
    "history": lambda: plots.history(history(1.0, training_accuracy=accuracy)),
    "compare": lambda: plots.compare({str(rate): history(rate) for rate in (1.0, 2.0, 3.0)}),
    "confusion": lambda: plots.confusion(three_classes(), points()),
    "mistakes": lambda: plots.mistakes(images()[0], images()[1:]),
    "weights": draw_weights,
    "activations": draw_activations,
    "decision_boundary": lambda: plots.decision_boundary(three_classes(), *points(), resolution=50),
    "error_bars": lambda: plots.error_bars(gaussian(), *CURVE),
    "predicted_against_true": lambda: plots.predicted_against_true(gaussian(), noisy()),
    "residuals": lambda: plots.residuals(gaussian(), noisy()),
    "calibration": lambda: plots.calibration(gaussian(), noisy()),
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


def test_a_figure_is_shown_by_a_notebook():
    assert DRAW["history"]()._repr_png_().startswith(b"\x89PNG")


def test_every_function_has_a_baseline():
    assert set(plots.__all__) == set(DRAW) == {path.stem for path in BASELINES.glob("*.png")}


# All of them


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.mistakes(images()[0], images()[1:], ax=ax),
        lambda ax: plots.mistakes(images()[0], (images()[1], images()[0].predict(images()[1])), ax=ax),
        lambda ax: plots.weights(images()[0], ax=ax),
        lambda ax: plots.activations(images()[0], images()[1][0], ax=ax),
    ],
    ids=["mistakes", "no mistakes", "weights", "activations"],
)
def test_pictures_of_several_axes_take_the_place_of_one(draw):
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    assert draw(right) is figure
    assert figure.axes[0] is left
    assert right not in figure.axes
    (panel,) = figure.subfigs
    figure.draw_without_rendering()
    assert panel.bbox.x0 >= left.bbox.x1
    alone = Figure()
    with pytest.raises(ValueError, match=r"ax has no place in a grid; give axes that subplots\(\) made, as in figure"):
        draw(alone.add_axes((0, 0, 1, 1)))
    assert len(alone.axes) == 1


def test_pyplot_is_never_imported():
    """It would choose a backend of matplotlib, and keep every figure."""
    sources = [path.read_text(encoding="utf-8") for path in Path(plots.__file__).parent.glob("*.py")]
    assert len(sources) > 5
    assert not any(re.search(r"^\s*(import|from) .*pyplot", source, re.MULTILINE) for source in sources)


def test_networks_and_data_on_any_backend(place, backend):
    (X, y), dtype = points(), "float64"
    net = three_classes(dtype=dtype, **place._asdict())
    on_device = backend.asarray(X, dtype), backend.asarray(y)
    expected = [text.get_text() for text in plots.confusion(three_classes(), (X, y)).axes[0].texts]
    for data in ((X, y), on_device, [*zip(X, y)]):
        assert [text.get_text() for text in plots.confusion(net, data).axes[0].texts] == expected
    scaled = Network([2, 3], task="classification", standardize=True, seed=0, **place._asdict())
    scaled.train((X, y), epochs=1, progress=False)
    assert sum(int(text.get_text()) for text in plots.confusion(scaled, (X, y)).axes[0].texts) == len(y)
    assert len(plots.mistakes(net, on_device, shape=(1, 2)).axes) == 2
    assert plots.decision_boundary(net, *on_device, resolution=5).axes
    assert plots.weights(net, shape=(1, 2)).axes
    assert plots.activations(net, on_device[0][0, :]).axes
    ensemble = Ensemble([1, 2], 2, cost="gaussian", seed=0, dtype=dtype, **place._asdict())
    column = backend.asarray(CURVE[0], dtype)
    drawn = plots.error_bars(ensemble, column, backend.asarray(CURVE[1], dtype)).axes[0]
    assert np.allclose(drawn.lines[0].get_xydata(), np.stack(CURVE, axis=1))


# The numbers that are drawn


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
    assert [text.get_text() for text in only.get_legend().get_texts()] == ["training_accuracy"]


def test_confusion_counts():
    net, (X, y) = three_classes(), points()
    figure = plots.confusion(net, (X, y), labels=["left", "up", "down"])
    ax, predicted = figure.axes[0], net.predict(X)
    counts = {(i, j): np.sum((y == i) & (predicted == j)) for i in range(3) for j in range(3)}
    drawn = {(t.get_position()[1], t.get_position()[0]): int(t.get_text()) for t in ax.texts}
    assert drawn == {cell: n for cell, n in counts.items() if n}
    assert sum(n for (i, j), n in drawn.items() if i != j) == 2
    fractions = ax.images[0].get_array()
    assert np.allclose(fractions, [[counts[i, j] / np.sum(y == i) for j in range(3)] for i in range(3)])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["left", "up", "down"]


def luminance(color):
    """As in WCAG 2."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return np.dot(channels, (0.2126, 0.7152, 0.0722))


def test_numbers_in_cells_can_be_read():
    """Their contrast with the cell is at least 4.5, on every colour of the map."""
    net = Network([1, 2], task="classification")
    net.layers = [([[0], [1]], [0, 0])]  # class 1 for x > 0
    for n in range(1, 11):  # and 20 - n in the cell beside it
        X, y = np.where(np.arange(20) < n, 1.0, -1.0)[:, None], np.ones(20, dtype=int)
        ax = plots.confusion(net, (X, y)).axes[0]
        for text in ax.texts:
            column, row = text.get_position()
            cell = ax.images[0].to_rgba(ax.images[0].get_array())[row, column]
            lightest, darkest = sorted((luminance(cell[:3]), luminance(text.get_color())), reverse=True)
            assert (lightest + 0.05) / (darkest + 0.05) >= 4.5


def test_a_binary_task_has_two_classes():
    net = Network([2, 1], task="binary", dtype="float64")
    net.layers = [([[1, 0]], [0])]
    X, y = np.array([[2.0, 0], [-1, 0], [3, 0]]), [1, 1, 1]
    assert [text.get_text() for text in plots.confusion(net, (X, y)).axes[0].texts] == ["1", "2"]
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
        assert [ax.images[0].get_array().ravel().tolist() for ax in figure.axes] == X[surest].tolist()
        assert figure.get_suptitle().startswith(f"{len(wrong)} of 500 examples are classified wrongly; the 6 surest")


def test_no_mistakes_are_said_to_be_none():
    net, X, _ = images()
    figure = plots.mistakes(net, (X, np.arange(4)))
    assert figure.get_suptitle() == "0 of 4 examples are classified wrongly"
    assert not figure.axes


def test_weights_have_one_scale_around_zero():
    net, _, _ = images()
    *units, bar = plots.weights(net).axes
    assert [ax.get_title() for ax in units] == ["0", "1", "2", "3"]
    assert np.array_equal([ax.images[0].get_array().ravel() for ax in units], net.w[0])
    limits = {ax.images[0].get_clim() for ax in units}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    assert bar.get_ylabel() == "weight"
    assert plots.weights(net, 2).get_suptitle() == "Weights of the first 2 of 4 units"


def test_activations_draws_those_of_the_network():
    net = Network([6, 5, 3], task="classification", seed=0)
    x = np.linspace(0, 1, 6, dtype=np.float32)
    first, hidden, outputs = (a.ravel() for a in net.activations(x))
    panels = plots.activations(net, x[None, :], shape=(2, 3), labels=["a", "b", "c"]).axes
    assert np.array_equal(panels[0].images[0].get_array().ravel(), first)
    cells = panels[1].images[0].get_array()
    assert np.allclose(cells.compressed(), hidden)
    assert cells.mask.sum() == 1  # a grid of 2 by 3 for 5 units
    assert np.allclose([bar.get_width() for bar in panels[2].patches], outputs)
    assert [label.get_text() for label in panels[2].get_yticklabels()] == ["a", "b", "c"]


def test_error_bars_are_drawn_over_numbers_far_from_0():
    x = 1.7e9 + np.linspace(0, 3600, 50)[:, None]
    net = Network([1, 4, 2], cost="gaussian", standardize=True, seed=0)
    net.train((x, np.sin(x[:, 0] / 700)), epochs=1, progress=False)
    (ax,) = plots.error_bars(net, x, np.sin(x[:, 0] / 700)).axes
    points = max(ax.lines, key=lambda line: line.get_marker() != "None").get_xdata()
    np.testing.assert_allclose(points, x[:, 0], rtol=1e-15)


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
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    names = ["examples", "noise and disagreement, 1.5σ", "disagreement alone, 1.5σ", "mean of the networks"]
    assert labels == names


def test_error_bars_of_one_network_are_noise():
    net = gaussian()[1]
    ax = plots.error_bars(net, *CURVE).axes[0]
    xs, low, high = band(ax, 0)
    assert np.allclose((high - low) / 4, net.predict_std(xs[:, None]), atol=1e-5)
    assert len(ax.collections) == 1


def test_predictions_are_drawn_against_targets_and_their_differences():
    net, (x, y) = gaussian()[1], noisy()
    ax = plots.predicted_against_true(net, (x, y)).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), np.stack([y, net.predict(x)], axis=1), atol=1e-6)
    r2, rmse = 1 - np.mean((y - x[:, 0]) ** 2) / y.var(), np.sqrt(np.mean((y - x[:, 0]) ** 2))
    assert ax.get_title() == f"R² {r2:.3f}, RMSE {rmse:.3g}"
    ax = plots.residuals(net, (x, y)).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), np.stack([x[:, 0], y - x[:, 0]], axis=1), atol=1e-6)
    medians = [np.median((y - x[:, 0])[12 * k : 12 * k + 12]) for k in range(10)]
    np.testing.assert_allclose(ax.lines[2].get_ydata(), medians, atol=1e-6)
    assert len(plots.residuals(net, (x[:50], y[:50])).axes[0].lines) == 2


def test_each_target_has_axes_of_its_own_and_quantiles_their_median():
    net = Network([1, 6], cost="quantile(0.1, 0.5, 0.9)", seed=0)
    y = np.stack([noisy()[1], -noisy()[1]], axis=1)
    for draw in (plots.predicted_against_true, plots.residuals):
        one, two = draw(net, (noisy()[0], y)).axes
        assert (one.get_xlabel()[-8:], two.get_xlabel()[-8:]) == ("target 0", "target 1")
    np.testing.assert_allclose(two.lines[0].get_xdata(), net.predict(noisy()[0])[:, 1, 1], atol=1e-6)
    net.calibrate((noisy()[0], y))
    predicted = draw(net, (noisy()[0], y)).axes[1].lines[0].get_xdata()
    np.testing.assert_allclose(predicted, net.predict(noisy()[0])[:, 1, 1], atol=1e-6)
    figure = Figure()
    grid = figure.subplots(1, 2)
    assert plots.residuals(net, (noisy()[0], y), ax=grid[1]) is figure
    assert len(plots.calibration(net, (noisy()[0], y), ax=grid[0]).axes[0].patches) == 3
    net = Network([1, 1], cost="quantile(0.3)", seed=0)  # the only quantile
    net.calibrate(noisy())
    predicted = draw(net, noisy()).axes[0].lines[0].get_xdata()
    np.testing.assert_allclose(predicted, net.predict(noisy()[0]), atol=1e-6)


def test_calibration_of_error_bars_is_the_histogram_of_the_integral_transform():
    """Bins between quantiles are as wide as their levels are apart; after a calibration it is flat on the same data."""
    net, (x, y) = gaussian()[1], noisy()
    z = (y - net.predict(x)) / net.predict_std(x)
    below = [0.5 * (1 + math.erf(each / 2**0.5)) for each in z.tolist()]
    drawn = plots.calibration(net, (x, y), bins=8).axes[0].patches[-1].get_data()
    np.testing.assert_allclose(drawn.values, np.histogram(below, 8, (0, 1), density=True)[0])
    assert drawn.values[0] < 0.2
    net.calibrate((x, y))
    ends = plots.calibration(net, (x, y), bins=4).axes[0].patches[-1].get_data().values[[0, 3]]
    assert ends.sum() == pytest.approx(2, abs=0.1)  # half of the targets are outside of the middle half
    net = Network([1, 2], cost="quantile(0.25, 0.75)")
    net.layers = [([[0.0], [0.0]], [-0.5, 0.5])]
    drawn = plots.calibration(net, (x, y)).axes[0].patches[-1].get_data()
    assert drawn.edges.tolist() == [0, 0.25, 0.75, 1]
    np.testing.assert_allclose(
        drawn.values * [0.25, 0.5, 0.25] * 120, [(y <= -0.5).sum(), (abs(y) < 0.5).sum(), (y > 0.5).sum()]
    )
    assert np.ptp(drawn.values) > 0.5
    net.calibrate((x, y))
    np.testing.assert_allclose(plots.calibration(net, (x, y)).axes[0].patches[-1].get_data().values, 1, atol=0.1)


def test_calibration_of_classes_is_a_reliability_diagram():
    net = Network([1, 1], task="binary", dtype="float64")
    net.layers = [([[1.0]], [0.0])]
    x = np.log([[1 / 9], [1 / 9], [1 / 9], [1 / 9], [4.0], [4.0]])  # probabilities of 0.1 and 0.8
    ax = plots.calibration(net, (x, [0, 1, 0, 0, 1, 1])).axes[0]
    np.testing.assert_allclose(ax.containers[0].lines[0].get_xydata(), [[0.1, 0.25], [0.8, 1.0]])
    assert ax.texts[0].get_text() == "expected calibration error 0.167"  # (4 (0.9 − 0.75) + 2 (1 − 0.8)) / 6
    net, X, y = images()
    ax = plots.calibration(net, (X, y)).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("probability of the predicted class", "fraction that is right")
    points = ax.containers[0].lines[0].get_xydata()
    p = net.predict_proba(X)
    is_right = p.argmax(axis=1) == y
    assert points[-1, 1] == is_right[p.max(axis=1) >= 0.9].mean()


def words(labels):
    return [label.get_text() for label in labels]


def test_classifiers_are_drawn_as_their_networks_with_their_classes():
    X, y = points()
    classes = ["left", "right", "top"]
    names = np.array(classes)[y]
    model = MLPClassifier((4,), max_iter=200, tol=10.0, random_state=0).fit(X, names)
    confusion = plots.confusion(model, (X, names)).axes[0]
    assert words(confusion.texts) == words(plots.confusion(model.network_, (X, y)).axes[0].texts)
    assert words(confusion.get_yticklabels()) == classes
    drawn = (
        plots.calibration(net, (X, c)).axes[0].lines[1].get_xydata() for net, c in ((model, names), (model.network_, y))
    )
    np.testing.assert_array_equal(*drawn)
    boundary = plots.decision_boundary(model, X, names, resolution=20).axes[0]
    assert words(boundary.get_legend().get_texts()) == classes
    assert words(plots.activations(model, X[0]).axes[2].get_yticklabels()) == classes
    with pytest.raises(
        ValueError, match="y has the class 'up', which the estimator has not learnt; it knows 'left', 'r"
    ):
        plots.confusion(model, (X, np.where(names == "top", "up", names)))
    with pytest.raises(TypeError, match=r"data is of type list; give \(X, y\) for an estimator"):
        plots.confusion(model, [(X[0], "top")])


# What is refused

NET, REGRESSION = Network([4, 3], task="classification", seed=0), Network([4, 1], task="regression", seed=0)
DATA = (np.eye(4), [0, 1, 2, 0])
H = History([{"epoch": 1, "cost": 0.5}])
MULTILABEL = Network([4, 3], task="multilabel", seed=0)


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plots.history(NET), TypeError, "history is of type Network; give net.history"),
        (lambda: plots.history([0.5]), TypeError, "history is of type list; give the History that train returned"),
        (lambda: plots.history(History()), ValueError, "history has no epochs; train first"),
        (lambda: plots.history(H, ["cost"]), TypeError, "history takes names of quantities, 'epoch', 'cost'; axes are"),
        (lambda: plots.history(H, "loss"), KeyError, "'loss' is not in this history; it has 'epoch', 'cost'"),
        (lambda: plots.compare(H), TypeError, r"histories is of type History; give several, as in \[h1, h2\] or \{"),
        (lambda: plots.compare([]), ValueError, r"histories is empty; give at least one, as in \[h1, h2\]"),
        (lambda: plots.compare([H, 5]), TypeError, "history '2' is of type int; give the History that train"),
        (lambda: plots.compare({"a": History()}), ValueError, "history 'a' has no epochs; train first"),
        (lambda: plots.compare([H], np.ones(2)), TypeError, r"quantity=array\(\[1., 1.\]\) must be the name of a quan"),
        (lambda: plots.history(H, ax=np.array([1, 2])), TypeError, r"ax is of type ndarray; give axes of one picture"),
        (lambda: plots.confusion(REGRESSION, DATA), ValueError, "confusion needs classes, and a network with task="),
        (
            lambda: plots.confusion(MULTILABEL, DATA),
            ValueError,
            'confusion needs one class for each example, and a network with task="multilabel" has several',
        ),
        (lambda: plots.confusion(MLPClassifier(), DATA), TypeError, "net is of type MLPClassifier; give a Network or"),
        (lambda: plots.confusion(NET, (np.eye(3), [0, 1, 2])), ValueError, r"X of data has shape \(3, 3\), but must"),
        (lambda: plots.confusion(NET, DATA, labels=["a"]), ValueError, r"labels=\['a'\] must have 3 names, one for"),
        (lambda: plots.mistakes(NET, DATA, 0), ValueError, "n=0 must be a whole number of at least 1"),
        (
            lambda: plots.mistakes(Network([6, 2], task="classification"), DATA),
            ValueError,
            r"mistakes draws inputs as a square image, and this network has 6 inputs; give shape=\(rows, columns\)",
        ),
        (lambda: plots.weights(NET, shape=(3, 2)), ValueError, r"shape=\(3, 2\) has 6 pixels, and this network has 4"),
        (lambda: plots.weights(NET, shape=4), ValueError, r"shape=4 must be two numbers, \(rows, columns\)"),
        (lambda: plots.weights(gaussian()), TypeError, r"weights draws one network; give a member of the ensemble"),
        (lambda: plots.weights(5), TypeError, "net is of type int; give a Network"),
        (
            lambda: plots.residuals(NET, DATA),
            ValueError,
            "residuals needs a regression, and the task of this network",
        ),
        (
            lambda: plots.calibration(REGRESSION, DATA),
            ValueError,
            "calibration needs error bars, and this network has",
        ),
        (lambda: plots.calibration(NET, DATA, bins=1), ValueError, "bins=1 must be a whole number of at least 2"),
        (
            lambda: plots.predicted_against_true(Network([1, 2], cost="quantile(0.1, 0.9)"), CURVE),
            ValueError,
            "pictures compare one number with each target, and cost='quantile",
        ),
        (
            lambda: plots.activations(NET, np.eye(4)),
            ValueError,
            r"activations draws one example, and x has 4; give one, as in x\[0\]",
        ),
        (
            lambda: plots.decision_boundary(Network([3, 2], task="classification"), np.eye(3), [0, 1, 1]),
            ValueError,
            "decision_boundary needs a network with 2 inputs, and this one has 3",
        ),
        (lambda: plots.error_bars(NET, *CURVE), ValueError, "error_bars needs a regression, and the task of this net"),
        (lambda: plots.error_bars(REGRESSION, *CURVE), ValueError, "error_bars draws 1 input, and this network has 4"),
        (
            lambda: plots.error_bars(Network([1, 2], task="regression"), *CURVE),
            ValueError,
            "error_bars draws 1 target, and this network has 2",
        ),
        (
            lambda: plots.error_bars(Network([1, 1], task="regression"), *CURVE),
            ValueError,
            "error_bars needs an Ensemble, or a network with cost=\"gaussian\"; this has cost='quadratic'",
        ),
        (lambda: plots.error_bars(gaussian(), [], []), ValueError, "X of the data is empty"),
        (lambda: plots.error_bars(gaussian(), *CURVE, sigmas=0), ValueError, "sigmas=0 must be a finite number above"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, error, message):
    with pytest.raises(error, match=message):
        draw()


def test_without_matplotlib_it_says_what_to_install():
    hidden = "import sys; sys.modules['matplotlib'] = None; from xpnet import plots"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: xpnet.plots needs matplotlib 3.8 or newer (")
    assert message.endswith("); install it with: pip install -e '.[plots]' in a checkout of xpnet")


# The command


def test_the_command_draws_the_learning_curve(tmp_path, capsys):
    path = tmp_path / "curve.png"
    assert main(["train", "--epochs", "2", "--hidden", "5", "--quiet", "--plot", str(path)]) == 0
    assert capsys.readouterr().err == ""
    assert np.ptp(imread(path)[..., :3]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plot", "curve.xyz"], "--plot curve.xyz must end in .png, .pdf, .svg, .jpg, which names its format"),
        (["--plot", "curve"], "--plot curve must end in .png"),
        (["--plot", "no/such/folder/curve.png"], "there is no folder"),
        (["--plot", "."], "--plot . is a folder; name a file in it"),
        (["--plot", "curve.png", "--epochs", "0"], "--plot curve.png needs epochs to draw, and --epochs is 0"),
    ],
)
def test_the_command_refuses_a_picture_before_training(words, message, capsys, monkeypatch):
    monkeypatch.setattr(Network, "train", None)
    assert main(["train", *words]) == 1
    assert message in capsys.readouterr().err


def test_the_command_says_what_to_install_before_training(capsys, monkeypatch):
    monkeypatch.setattr(Network, "train", None)
    monkeypatch.delitem(sys.modules, "xpnet.plots")
    monkeypatch.delattr("xpnet.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", "--plot", "curve.png"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("xpnet: error: --plot curve.png: xpnet.plots needs matplotlib 3.8 or newer (")
    assert error.endswith("install it with: pip install -e '.[plots]' in a checkout of xpnet\n")


if __name__ == "__main__":
    BASELINES.mkdir(exist_ok=True)
    for each in DRAW:
        save(each, BASELINES / f"{each}.png")
