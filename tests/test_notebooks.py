"""The notebooks as they are stored, and the exercises. The build of the documentation runs the notebooks."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_the_notebooks_are_found():
    assert [path.name for path in NOTEBOOKS] == [
        "exercises.ipynb",
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


class Exercise(NamedTuple):
    """An exercise: its section, its text, its cells of code by their tags, and its solutions in words."""

    section: str
    text: str
    starters: list[dict]
    solutions: list[dict]
    words: list[str]


def has_tag(cell, tag):
    return tag in cell["metadata"].get("tags", [])


def read_exercises():
    """Read the exercises, in order."""
    section, exercises = "", []
    for cell in json.loads((EXAMPLES / "exercises.ipynb").read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if source.startswith("## "):
            section = source.splitlines()[0].removeprefix("## ").partition(":")[0]
        elif source.startswith("### "):
            exercises.append(Exercise(section, source, [], [], []))
        elif has_tag(cell, "starter"):
            exercises[-1].starters.append(cell)
        elif has_tag(cell, "solution"):
            exercises[-1].solutions.append(cell)
        elif source.startswith("<details>"):
            exercises[-1].words.append(source)
    return exercises


EXERCISES = read_exercises()
CELLS = json.loads((EXAMPLES / "exercises.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def run_code(code, names):
    """Run code with these names, and return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


def run_cells(cells):
    """Run cells of the notebook of exercises. Return what each prints, and the names that they leave."""
    names: dict = {}
    return {cell["id"]: run_code("".join(cell["source"]), names) for cell in cells}, names


@pytest.fixture(scope="module")
def outputs():
    """Return what each cell prints."""
    return run_cells(CODE)[0]


@pytest.fixture(scope="module")
def common():
    """Return the names that are there for all exercises."""
    return run_cells(cell for cell in CODE if not has_tag(cell, "starter") and not has_tag(cell, "solution"))[1]


@pytest.fixture
def names(common):
    """Return a copy of these names."""
    return dict(common)


def test_there_are_three_exercises_to_each_equation_and_to_training():
    sections = [exercise.section for exercise in EXERCISES]
    assert list(dict.fromkeys(sections)) == ["BP1", "BP2", "BP3", "BP4", "Training"]
    assert min(sections.count(section) for section in sections) >= 3


@pytest.mark.parametrize(("number", "exercise"), [*enumerate(EXERCISES, 1)], ids=range(1, len(EXERCISES) + 1))
def test_an_exercise_has_a_number_what_it_needs_and_hidden_solutions_with_the_check_of_the_starter(number, exercise):
    title, needs = exercise.text.split("\n\n")[:2]
    assert re.fullmatch(rf"### {number}\. [A-Z][a-z ]+: .+", title)
    minutes = re.fullmatch(r"\*(\d+) minutes\. Needs: .+\.\*", needs, re.DOTALL)
    assert 2 <= int(minutes[1]) <= 10
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
@pytest.mark.parametrize("exercise", EXERCISES, ids=range(1, len(EXERCISES) + 1))
def test_a_starter_fails_its_check_and_the_solution_passes(outputs, exercise):
    starter, solution = (outputs[cells[0]["id"]] for cells in (exercise.starters, exercise.solutions))
    assert re.search("^(Not yet|FAILED): ", starter, re.MULTILINE)
    assert not re.search("^(Right|passed)$", starter, re.MULTILINE)
    assert solution.splitlines()[-1] in ("Right", "passed")
    assert "Not yet" not in solution


# The checks of the exercises


@pytest.mark.parametrize(
    ("call", "printed"),
    [
        ('check_prediction([[2, "b"], [1, "b"]], [(1, "b"), (2, "b")])', "Right"),
        ('check_prediction([(1, "b"), (1, "w")], [(1, "b"), (2, "b")])', "Not yet: 1 wrong, 1 missing"),
        ("check_prediction(np.array([[0, 1]]), [(0, 1)], example=(0, 0))", "Right"),
        ("check_prediction(None, [])", "Not yet: there is no prediction"),
        *(
            (
                f'check_prediction({prediction}, [(1, "b")])',
                "Not yet: give a list of pairs such as [(2, 'w')], or an empty list for none",
            )
            for prediction in ('[("b", 1)]', '"b"', "[None]")
        ),
        ('check_choice("A lot", "a", ["a", "b"], 1)', "Not yet: choose from 'a', 'b'"),
        ('check_choice("b", "a", ["a", "b"], 1)', "Not yet: something else happens"),
        ('check_choice("a", "a", ["a", "b"], 1)', "1\nRight"),
        ("check_numbers(0.12345, 0.12344)", "Right"),
        ("check_numbers([[1, 2], [3]], np.ones((2, 2)))", "Not yet: give numbers in an array of the shape (2, 2)"),
        (
            "check_numbers([1, 1], np.ones((2, 1)))",
            "Not yet: your answer has the shape (2,); give numbers in an array of the shape (2, 1)",
        ),
    ],
)
def test_a_check_says_which_form_of_answer_it_asks_for(names, call, printed):
    assert run_code(call, names) == f"{printed}\n"


def test_a_gradient_of_one_bias_can_be_given_as_a_number(names):
    check = "".join(EXERCISES[8].starters[0]["source"]).rpartition("\n\n")[2]
    assert run_code(f"gb1, gb2 = [0.02386, -0.00031], 0.00195\n{check}", names) == "Right\n"


def test_a_step_that_writes_into_its_arguments_leaves_the_network_of_the_exercises_alone(names):
    check = "".join(EXERCISES[18].starters[0]["source"]).rpartition("\n\n")[2]
    step = "def take_step(w, v, g, lr, momentum):\n    v *= momentum\n    v -= lr * g\n    w += v\n    return w, v\n"
    before = {name: names[name].copy() for name in ("w1", "b1", "w2", "b2")}
    assert [run_code(f"{step}\n{check}", names) for _ in range(2)] == ["Right\n"] * 2
    for name, array in before.items():
        np.testing.assert_array_equal(names[name], array)
