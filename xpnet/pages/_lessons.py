"""Lessons: pages for a browser on which a learner takes a step of training, and sees how neurons learn."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet._checks import check_folder
from xpnet._names import explain_unknown
from xpnet.errors import ArgumentError
from xpnet.files import write_file
from xpnet.pages._page import fill_page

# Two inputs, two hidden units, and one output or two: with two, the sum of BP2 has two terms
HIDDEN = {"w": [[0.5, -1.0], [1.5, 2.0]], "b": [0.25, -0.5]}
STEP = {
    "x": [[1.0, 0.5], [-1.0, 2.0]],
    "lr": 0.5,
    "networks": [
        {"layers": [HIDDEN, {"w": [[2.0, -1.5]], "b": [0.75]}], "y": [[1.0], [0.0]]},
        {"layers": [HIDDEN, {"w": [[2.0, -1.5], [-1.0, 0.5]], "b": [0.75, -0.25]}], "y": [[1.0, 0.0], [0.0, 1.0]]},
    ],
}
NEURON = {"w": 2.0, "b": 2.0, "x": 1.0, "y": 0.0, "lr": 0.15, "epochs": 300}  # as in the book, chapter 3

# Examples with two inputs and two classes: name -> what a page calls them
PLANES = {"clusters": "clusters", "circles": "circles", "exclusive_or": "exclusive or", "spiral": "spiral"}
N_EXAMPLES = 120
REACH = 2.45  # no coordinate is larger


def make_examples(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Make the examples of the lesson "plane": "clusters", "circles", "exclusive_or" or "spiral".

    Returns inputs of shape (120, 2), with two decimals, and targets of shape (120, 1), which are 0 and 1 in turn.

    Raises
    ------
    ArgumentError
        If there are no examples of that name.

    Examples
    --------
    >>> X, y = make_examples("circles")
    >>> np.hypot(*X[y[:, 0] == 1].T).max() < np.hypot(*X[y[:, 0] == 0].T).min()  # a disc in a ring
    np.True_
    """
    if not isinstance(name, str) or name not in PLANES:
        raise ArgumentError(explain_unknown("name", name, PLANES))
    rng = np.random.default_rng(0)
    y = np.arange(N_EXAMPLES) % 2
    noise, (u, v) = rng.normal(size=(N_EXAMPLES, 2)), rng.uniform(size=(2, N_EXAMPLES))
    if name == "clusters":
        x = np.where(y == 1, 1.0, -1.0)[:, None] + 0.7 * noise
    elif name == "exclusive_or":
        sides = rng.choice([-1, 1], size=N_EXAMPLES)
        x = np.stack([sides * (0.2 + 2 * u), sides * np.where(y == 1, -1, 1) * (0.2 + 2 * v)], axis=1)
    else:
        along = np.arange(N_EXAMPLES) // 2 / (N_EXAMPLES / 2 - 1)  # an arm, from 0 to 1
        is_spiral = name == "spiral"
        radius = 0.2 + 2.1 * along if is_spiral else np.where(y == 1, np.sqrt(u), 1.6 + 0.6 * u)
        angle = 2 * np.pi * (1.5 * along + y / 2 if is_spiral else v)
        x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * is_spiral * noise
    return np.clip(x, -REACH, REACH).round(2), y[:, None].astype(np.float64)


def _describe_planes() -> dict[str, Any]:
    """Describe the examples, in hundredths, and NumPy's generators for some seeds."""
    states = [np.random.PCG64(seed).state["state"] for seed in range(10)]
    return {
        "data": {name: (100 * make_examples(name)[0]).round().astype(int).tolist() for name in PLANES},
        "labels": list(PLANES.values()),
        "count": N_EXAMPLES,
        "seeds": [[hex(state["state"]), hex(state["inc"])] for state in states],
    }


# name -> title, a function that returns the numbers that it begins with, and the scripts before its own
LESSONS: dict[str, tuple[str, Callable[[], dict[str, Any]], tuple[str, ...]]] = {
    "step": ("One step of training", lambda: STEP, ("training.js", "formulas.js")),
    "neuron": ("A saturated neuron", lambda: NEURON, ("training.js",)),
    "plane": ("Watch it learn", _describe_planes, ("training.js", "random.js")),
}


def write_lesson(lesson: str, path: str | os.PathLike[str]) -> None:
    """Write a page to learn from: one HTML file that a browser opens without a server, and that loads nothing.

    Parameters
    ----------
    lesson
        "step": a small network takes a step of training: forward, BP1, BP2, BP3, BP4, update. Each number shows its
        formula with the numbers in it. Weights, biases, examples and the learning rate can be changed.
        "neuron": a neuron that begins far from its target learns, with the quadratic cost and with cross-entropy.
        "plane": a network with two inputs learns to tell two classes apart. The page shows the plane, colored by the
        output and by each hidden unit, and z, a and δ of an example at every unit.
    path
        The file. An existing file is replaced whole, or not at all.

    Raises
    ------
    ArgumentError
        If there is no lesson of that name.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_lesson("step", f"{folder}/step.html")
    """
    if not isinstance(lesson, str) or lesson not in LESSONS:
        raise ArgumentError(explain_unknown("lesson", lesson, LESSONS))
    title, describe, scripts = LESSONS[lesson]
    check_folder(path)
    styles = ["lessons.css", f"{lesson}.css"]
    write_file(path, fill_page(title, "lesson_files", lesson, describe(), scripts, styles).encode())
