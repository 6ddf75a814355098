"""Lessons: pages for a browser on which a learner takes a step of training, and sees why a neuron learns slowly."""

from __future__ import annotations

import os
from typing import Any

from xpnet.checkpoint.writing import write_file
from xpnet.checks import check_folder
from xpnet.errors import ArgumentError
from xpnet.export.page import fill_page
from xpnet.hints import explain_unknown

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

# name -> title, the numbers that it begins with, and the scripts of its own
LESSONS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "step": ("One step of training", STEP, ("charts.js", "training.js", "formulas.js", "step.js")),
    "neuron": ("A saturated neuron", NEURON, ("charts.js", "training.js", "neuron.js")),
}


def write_lesson(lesson: str, path: str | os.PathLike[str]) -> None:
    """Write a page to learn from: one HTML file that a browser opens without a server, and that loads nothing.

    Parameters
    ----------
    lesson
        "step": a small network takes a step of training: forward, BP1, BP2, BP3, BP4, update. Each number shows its
        formula with the numbers in it. Weights, biases, examples and the learning rate can be changed.
        "neuron": a neuron that begins far from its target learns, with the quadratic cost and with cross-entropy.
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
    title, numbers, scripts = LESSONS[lesson]
    check_folder(path)
    write_file(path, fill_page(title, lesson, numbers, scripts, ["lessons.css", f"{lesson}.css"]).encode())
