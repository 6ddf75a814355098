"""The notebooks as they are stored, and the exercises. The build of the documentation runs the notebooks."""

import contextlib
import io
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from xpnet.learn import check_backprop
from xpnet.learn.exercises import check_numbers, check_prediction, make_backward

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert (cell["outputs"], cell["execution_count"]) == ([], None), "".join(cell["source"])
    # An editor adds which Python it used, and its own settings of cells; ours are descriptions of pictures, and what
    # is hidden
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell["metadata"].keys() <= {"jupyter", "mystnb", "tags"} for cell in notebook["cells"])
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)


# Exercises

PAGES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["cells"]
    for path in NOTEBOOKS
    if path.stem.startswith("exercises_")
}


def has_tag(cell, tag):
    return tag in cell["metadata"].get("tags", [])


# "page-number" -> the cell in which an answer begins, and the one with the solution
EXERCISES = {
    f"{page}-{number}": pair
    for page, cells in PAGES.items()
    for number, pair in enumerate(
        zip(*([cell for cell in cells if has_tag(cell, tag)] for tag in ("starter", "solution")), strict=True), start=1
    )
}


def run_code(code, names):
    """Run code with these names, and return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


@cache
def run_page(page, everything=True):
    """Run a page, without its starters and solutions if not everything. Return what each cell prints, and the names."""
    cells = [cell for cell in PAGES[page] if cell["cell_type"] == "code"]
    if any("matplotlib" in "".join(cell["source"]) for cell in cells):
        pytest.importorskip("matplotlib").use("agg")
    chosen = [cell for cell in cells if everything or not (has_tag(cell, "starter") or has_tag(cell, "solution"))]
    names: dict = {}
    return {cell["id"]: run_code("".join(cell["source"]), names) for cell in chosen}, names


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
def test_a_starter_fails_its_check_and_the_solution_passes(name):
    outputs, _ = run_page(name.rpartition("-")[0])
    starter, solution = (outputs[cell["id"]] for cell in EXERCISES[name])
    assert re.search("^(Not yet|FAILED): ", starter, re.MULTILINE)
    assert not re.search("^(Right|passed)$", starter, re.MULTILINE)
    assert solution.splitlines()[-1] in ("Right", "passed")
    assert "Not yet" not in solution


# The checks of the exercises


@pytest.mark.parametrize(
    ("check", "printed"),
    [
        (lambda: check_prediction([[2, "b"], [1, "b"]], [(1, "b"), (2, "b")]), "Right"),
        (lambda: check_prediction([(1, "b")], [(1, "b")], "a report"), "a report\nRight"),
        (lambda: check_prediction([], [(1, "b")], "a report"), "Not yet: 0 wrong, 1 missing"),
        (lambda: check_prediction([(1, "b"), (1, "w")], [(1, "b"), (2, "b")]), "Not yet: 1 wrong, 1 missing"),
        (lambda: check_prediction(np.array([[0, 1]]), [(0, 1)], example=(0, 0)), "Right"),
        (lambda: check_prediction(None, []), "Not yet: there is no prediction"),
        (lambda: check_numbers(0.12345, 0.12344), "Right"),
        (lambda: check_numbers(None, 1.0), "Not yet: there is no answer"),
        (lambda: check_numbers([2, 4], [1, 2]), "Not yet: 0 of 2 right\nEach is 2 times what it should be"),
        (
            lambda: check_numbers([[1, 2], [3]], np.ones((2, 2))),
            "Not yet: give numbers in an array of the shape (2, 2)",
        ),
        (
            lambda: check_numbers([1, 1], np.ones((2, 1))),
            "Not yet: your answer has the shape (2,); give numbers in an array of the shape (2, 1)",
        ),
    ],
)
def test_a_check_says_what_is_wrong_and_which_form_of_answer_it_asks_for(capsys, check, printed):
    check()
    assert capsys.readouterr().out == f"{printed}\n"


@pytest.mark.parametrize("prediction", [[("b", 1)], [("b",)], "b", [None], [1], 5])
def test_a_prediction_in_another_form_is_told_the_form(capsys, prediction):
    check_prediction(prediction, [(1, "b")])
    form = "Not yet: give a list of pairs such as [(2, 'w')], or an empty list for none\n"
    assert capsys.readouterr().out == form


def test_the_equations_of_the_exercises_are_right_and_each_can_be_replaced():
    assert check_backprop(make_backward(), [3, 4, 2]).passed
    wrong = {
        "bp1": (lambda z, a, y: a - y, [(1, "w"), (1, "b"), (2, "w"), (2, "b")]),
        "bp2": (lambda delta, w, z: delta @ w, [(1, "w"), (1, "b")]),
        "bp3": (lambda delta: delta[0], [(1, "b"), (2, "b")]),
        "bp4": (lambda delta, a: delta.T @ a, [(1, "w"), (2, "w")]),
    }
    for name, (equation, rows) in wrong.items():
        assert check_backprop(make_backward(**{name: equation}), [3, 4, 2]).wrong == rows


def run_check(name, answer):
    """Run the check of an exercise after an answer; return what it prints, and the names of its page."""
    names = dict(run_page(name.rpartition("-")[0], everything=False)[1])
    check = "".join(EXERCISES[name][0]["source"]).rpartition("\n\n")[2]
    return run_code(f"{answer}\n{check}", names), names


def test_a_gradient_of_one_bias_can_be_given_as_a_number():
    answer = "gb1, gb2, gw2 = [0.02387, -0.00031], 0.00196, [0.03454, 0.00173]"
    assert run_check("exercises_by_hand-3", answer)[0] == "Right\n"


def test_a_step_that_writes_into_its_arguments_leaves_the_network_of_the_exercises_alone():
    step = "def take_step(w, v, g, lr, momentum):\n    v *= momentum\n    v -= lr * g\n    w += v\n    return w, v\n"
    before = run_page("exercises_training", everything=False)[1]["net"].copy()
    printed, names = run_check("exercises_training-4", step)
    assert printed == "Right\n"
    for layer, other in zip(before.layers, names["net"].layers):
        np.testing.assert_array_equal(layer.w, other.w)
        np.testing.assert_array_equal(layer.b, other.b)
