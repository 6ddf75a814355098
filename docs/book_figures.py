"""Draws the figures of the book's chapters 1 and 3 for learn/book-figures.md; conf.py calls `draw`.

book_results.json holds the curves of our trainings: for each call of learn/book.md, in the order of the page, a curve
for each seed. book_published.json holds the numbers of the book's figures, from the JSON files in the folder fig/ of
its repository, with accuracies in percent.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xpnet.learn import book
from xpnet.plots import curve_style

FOLDER = Path(__file__).parent


class Curve(NamedTuple):
    """A curve of a figure."""

    run: str  # a name in book_results.json
    name: str  # of the accuracy or cost
    label: str = "xpnet"


class Plot(NamedTuple):
    """A figure of the book."""

    label: str  # of the y axis
    curves: tuple[Curve, ...]
    start: int = 0  # the first epoch that is drawn
    scale: str | None = None  # of the x axis, where that is the number of training examples


TRAINING_COST, TEST_COST = "cost on the training data", "cost on the test data"
TRAINING, TEST, VALIDATION = (f"accuracy on the {name} data (%)" for name in ("training", "test", "validation"))
ACCURACY, SIZE = "accuracy (%)", "number of training examples"
MORE = Curve("more-data", "validation", "neural network")


def compare_data(run):
    """Make the figure of the accuracies on training and test data."""
    return Plot(ACCURACY, (Curve(run, "training", "training data"), Curve(run, "evaluation", "test data")))


def compare_weights(suffix):
    """Make the figure of the two ways of drawing the first weights."""
    old = Curve(f"large-weights{suffix}", "evaluation", "weights from N(0, 1)")
    return Plot(VALIDATION, (old, Curve(f"small-weights{suffix}", "evaluation", "weights from N(0, 1/n)")))


# Names of the book's figures, as those of its files -> what they show; "first" is a list of numbers in chapter 1
PLOTS = {
    "first": Plot(TEST, (Curve("first", "test"),)),
    "overfitting1": Plot(TRAINING_COST, (Curve("overfitting", "training cost"),), start=200),
    "overfitting2": Plot(TEST, (Curve("overfitting", "evaluation"),), start=200),
    "overfitting3": Plot(TEST_COST, (Curve("overfitting", "evaluation cost"),)),
    "overfitting4": Plot(TRAINING, (Curve("overfitting", "training"),)),
    "overfitting_full": compare_data("overfitting-all"),
    "regularized1": Plot(TRAINING_COST, (Curve("regularized", "training cost"),), start=200),
    "regularized2": Plot(TEST, (Curve("regularized", "evaluation"),), start=200),
    "regularized_full": compare_data("regularized-all"),
    "more_data": Plot(VALIDATION, (MORE,), scale="linear"),
    "more_data_log": Plot(VALIDATION, (MORE,), scale="log"),
    "more_data_comparison": Plot(VALIDATION, (MORE, Curve("svm", "validation", "SVM")), scale="log"),
    "weight_initialization_30": compare_weights(""),
    "weight_initialization_100": compare_weights("-100"),
    "multiple_eta": Plot(
        TRAINING_COST, tuple(Curve(f"rate-{eta}", "training cost", f"η = {eta}") for eta in ("0.025", "0.25", "2.5"))
    ),
}
NEURONS = {"neuron_quadratic": (book.QuadraticCost, 0.15), "neuron_cross_entropy": (book.CrossEntropyCost, 0.005)}
STARTS = ((0.6, 0.9), (2.0, 2.0))  # weight and bias

DESCRIPTIONS = {  # for readers who do not see the figures
    "first": "Rises from 91 to 95 percent in 30 epochs; the book's six numbers are at the top of our range",
    "neuron_quadratic": "From w = b = 2, the cost stays near 0.45 for about 150 epochs before it falls",
    "neuron_cross_entropy": "From both starts, the cost falls from the first epoch on, and faster from w = b = 2",
    "overfitting1": "Falls smoothly to 0.004; the book's curve is at the upper edge of our range",
    "overfitting2": "Nearly constant between 82 and 84 percent; the book's curve is at the lower end of our range",
    "overfitting3": "Falls to 1.2 in about 15 epochs, and then rises to 1.7",
    "overfitting4": "Rises to 100 percent in less than 100 epochs",
    "overfitting_full": "Rises to 98 percent on the training data, and to 95 percent on the test data",
    "regularized1": "Falls smoothly to 0.11; the book's curve is close to ours",
    "regularized2": "Rises from 87 to 88 percent; the book's curve is below our range, and rises as much",
    "regularized_full": "Both end near 96 percent, less than a point apart",
    "more_data": "Rises steeply to 94 percent with 10,000 examples, and slowly to 96 percent with 50,000",
    "more_data_log": "Rises with every doubling of the examples, more slowly the more there are",
    "more_data_comparison": "The neural network is above the SVM everywhere; they are 44 points apart at 100 examples",
    "weight_initialization_30": "Smaller weights begin at 93 percent, larger ones at 87; both end at 96 percent",
    "weight_initialization_100": "Smaller weights begin at 93 percent, larger ones at 90; both end near 98 percent",
    "multiple_eta": "Falls smoothly with the smallest rate, levels off with the middle one, jumps with the largest",
}


@cache
def read(name):
    """Read one of the files of results."""
    return json.loads((FOLDER / name).read_text())


def draw(name):
    """Draw a figure of the book: the mean and the range of our trainings, and the book's curve dotted on top."""
    figure = Figure(figsize=(5.5, 3.1), layout="constrained")
    ax = figure.subplots()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if name in NEURONS:
        draw_neurons(ax, *NEURONS[name])
    else:
        draw_curves(ax, PLOTS[name], "the book" if name == "first" else f"the book, {name}")
    ax.legend(fontsize="small", ncols=1 if len(ax.get_lines()) < 6 else 2)  # a tall one would lie on curves
    return figure


def draw_curves(ax, plot, book_label):
    """Draw our curves, and then the book's on top of them, with that label."""
    published = []
    for k, (run, name, label) in enumerate(plot.curves):
        values = np.array([curves[name] for curves in read("book_results.json")[run]["curves"].values()])[
            :, plot.start :
        ]
        x = read("book_published.json")["sizes"] if plot.scale else np.arange(values.shape[1]) + plot.start
        (line,) = ax.plot(x, values.mean(axis=0), label=label, **curve_style(k, len(x)))
        if len(values) > 1:
            ax.fill_between(x, values.min(axis=0), values.max(axis=0), alpha=0.25, color=line.get_color(), linewidth=0)
        book_values = read("book_published.json")["curves"][run][name]
        published.append((x, [np.nan if value is None else value for value in book_values[plot.start :]]))
    for k, (x, values) in enumerate(published):
        # All in the colour of texts, as each lies near the one of ours that shows the same
        style = {"color": rcParams["text.color"], "linewidth": 1.2, "linestyle": ":"}
        gaps = np.isnan(values).any()
        ax.plot(x, values, label=None if k else book_label, **style, marker="." if gaps else None, markersize=4)
    ax.set(xlabel=SIZE if plot.scale else "epoch", ylabel=plot.label)
    if plot.scale:
        ax.set_xscale(plot.scale)


@cache
def train_neuron(cost, eta, weight, bias):
    """Train the neuron at the beginning of chapter 3 to answer 1 with 0. Return its outputs, the first included."""
    net = book.Network([1, 1], cost)
    net.weights, net.biases = [[[weight]]], [[[bias]]]
    pair, outputs = (np.ones((1, 1)), np.zeros((1, 1))), []
    for _ in range(300):
        outputs.append(net.feedforward(pair[0]).item())
        net.update_mini_batch([pair], eta)
    return [*outputs, net.feedforward(pair[0]).item()]


def draw_neurons(ax, cost, eta):
    """Draw the cost of the neuron from both starts."""
    for k, (weight, bias) in enumerate(STARTS):
        costs = [cost.fn(np.array([[a]]), np.zeros((1, 1))) for a in train_neuron(cost, eta, weight, bias)]
        ax.plot(costs, label=f"w = {weight}, b = {bias}", **curve_style(k, len(costs)))
    ax.set(xlabel="epoch", ylabel="cost")
