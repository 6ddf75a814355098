"""The notebooks as they are stored, and the exercises. The build of the documentation runs the notebooks."""

import contextlib
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from xpnet.learn import check_backprop
from xpnet.learn.exercises import check_numbers, check_prediction, make_backward

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_the_notebooks_are_found():
    assert [path.name for path in NOTEBOOKS] == [
        "exercises_by_hand.ipynb",
        "exercises_slow_learning.ipynb",
        "exercises_training.ipynb",
        "exercises_write.ipynb",
        "neural_network_from_scratch.ipynb",
        "write_your_own_training_loop.ipynb",
    ]


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_one_title_which_comes_first(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    titles = [line for text in texts for line in text.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert cells[0]["source"][0].startswith(titles[0])


# Exercises

PAGES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["cells"]
    for path in NOTEBOOKS
    if path.stem.startswith("exercises_")
}


class Exercise(NamedTuple):
    """An exercise: its page, its text, its cells of code by their tags, and its solutions in words."""

    page: str
    text: str
    starters: list[dict]
    solutions: list[dict]
    words: list[str]


def has_tag(cell, tag):
    return tag in cell["metadata"].get("tags", [])


def read_exercises(page):
    """Read the exercises of a page, in order."""
    exercises = []
    for cell in PAGES[page]:
        source = "".join(cell["source"])
        if source.startswith("## "):
            exercises.append(Exercise(page, source, [], [], []))
        elif has_tag(cell, "starter"):
            exercises[-1].starters.append(cell)
        elif has_tag(cell, "solution"):
            exercises[-1].solutions.append(cell)
        elif source.startswith("<details>"):
            exercises[-1].words.append(source)
    return exercises


EXERCISES = {
    f"{page}-{number}": exercise for page in PAGES for number, exercise in enumerate(read_exercises(page), start=1)
}


def read_minutes(exercise):
    """Return how long an exercise takes, from the line that also says what it needs, and what one learns."""
    line = " ".join(exercise.text.split("\n\n")[1].split())
    minutes = re.fullmatch(r"\*(\d+) minutes\. Needs: .+\. You learn: .+\.\*", line)
    assert minutes, line
    return int(minutes[1])


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


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_exercises_begins_with_its_question_and_says_how_long_it_takes(page):
    _, question, *texts = "".join(PAGES[page][0]["source"]).split("\n\n")
    assert re.fullmatch(r"\*[A-Z].+\?\*", question)
    minutes = sum(read_minutes(exercise) for exercise in read_exercises(page))
    assert 15 <= minutes <= 40
    assert f" about {5 * round(minutes / 5)} minutes" in " ".join(" ".join(texts).split())


def test_each_equation_is_asked_for_and_exercises_end_in_a_picture():
    needs = "\n".join(exercise.text for exercise in EXERCISES.values())
    assert all(needs.count(f"[BP{k}]") >= 3 for k in range(1, 5))
    drawn = [exercise for exercise in EXERCISES.values() if "draw" in exercise.text.splitlines()[0]]
    assert len(drawn) >= 2
    for exercise in drawn:
        assert "# Draw here" in "".join(exercise.starters[0]["source"])
        assert exercise.solutions[0]["metadata"]["mystnb"]["image"]["alt"]


@pytest.mark.parametrize(("name", "exercise"), EXERCISES.items(), ids=EXERCISES)
def test_an_exercise_has_a_number_what_it_needs_and_hidden_solutions_with_the_check_of_the_starter(name, exercise):
    assert re.match(rf"## {name.rpartition('-')[2]}\. [A-Z][a-z ]+: .+\n\n", exercise.text)
    assert 2 <= read_minutes(exercise) <= 10
    (starter,), (solution,), (words,) = exercise.starters, exercise.solutions, exercise.words
    assert words.startswith("<details><summary>Solution</summary>\n\n")
    assert words.endswith("\n\n</details>")
    assert has_tag(solution, "hide-cell")  # in the site
    assert solution["metadata"]["jupyter"] == {"source_hidden": True}
    assert not has_tag(starter, "hide-cell")
    assert "jupyter" not in starter["metadata"]
    check, other = ("".join(cell["source"]).rpartition("\n\n")[2] for cell in (starter, solution))
    assert check == other


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_a_starter_fails_its_check_and_the_solution_passes(exercise):
    outputs, _ = run_page(exercise.page)
    starter, solution = (outputs[cells[0]["id"]] for cells in (exercise.starters, exercise.solutions))
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
    exercise = EXERCISES[name]
    names = dict(run_page(exercise.page, everything=False)[1])
    check = "".join(exercise.starters[0]["source"]).rpartition("\n\n")[2]
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
