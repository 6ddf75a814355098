"""check_backprop: what its report says of the programs of learners, and how it reads any result."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from reference import sigmoid

from xpnet import ArgumentError, Network
from xpnet.learn import check_backprop
from xpnet.learn._cases import Cases
from xpnet.learn._mistakes import FREQUENT, RARE, backpropagate

TABLE = tomllib.loads((Path(__file__).parent / "backprop_mistakes.toml").read_text(encoding="utf-8"))
ROWS = TABLE["general"]["rows"]["source"]
NAMES = {(mistake["equation"], mistake["words"]): name for name, mistake in reversed(TABLE["mistakes"].items())}


def edit(layout, *edits):
    """Change the source of a program."""
    source = TABLE["general"][layout]["source"]
    for old, new in edits:
        assert old in source, old
        source = source.replace(old, new)
    return source


def compile_program(source, act=sigmoid, slope_of_a=lambda a: a * (1 - a)):
    """Run the source, for the quadratic cost."""
    names = {
        "np": np,
        "act": lambda l, z: act(z),
        "slope": lambda l, z: slope_of_a(act(z)),
        "slope_of_a": lambda l, a: slope_of_a(a),
        "output_slope": lambda z: slope_of_a(act(z)),
        "cost_gradient": lambda a, y: a - y,
        "output_error": lambda z, a, y: (a - y) * slope_of_a(act(z)),
    }
    exec(source, names)
    return names["backward"]


def write(*names, end="return gw, gb", layout="rows"):
    """A program with mistakes of the table, which ends in its own way."""
    edits = [pair for name in names for pair in TABLE["mistakes"][name][layout]]
    return compile_program(edit(layout, *edits).replace("return gw, gb", end))


def name_explanations(check):
    """The names of the mistakes in each explanation."""
    return [tuple(NAMES[m.equation, m.mistake] + PLACES[m.layers] for m in e) for e in check.explanations]


PLACES = {"all": "", "hidden": " hidden", "last": " last"}


def test_the_report_says_in_which_layers_a_mistake_is():
    edited = edit("rows", ("@ activations[l]\n", "@ activations[l + (l < L - 1)]\n"))
    check = check_backprop(compile_program(edited), [3, 4, 4, 2])
    assert "\nThe likely mistake: BP4, in the hidden layers only, is off by one layer" in repr(check)
    end = "return [w / m for w in gw[:-1]] + gw[-1:], [b / m for b in gb[:-1]] + gb[-1:]"  # the mean only in the loop
    check = check_backprop(write("BP1", end=end), [3, 4, 4, 2])
    assert name_explanations(check) == [("BP3-sum last", "BP4-sum last")]
    assert check.equation == "BP3 and BP4"


def test_a_mistake_with_a_number_is_named_with_the_number():
    source = ROWS.replace(
        "gw[l] = delta.T @ activations[l]\n",
        "gw[l] = delta.T @ activations[l]\n"
        "        weights = [*weights[:l], weights[l] - 0.5 * gw[l], *weights[l + 1 :]]\n",
    )
    check = check_backprop(compile_program(source), [3, 4, 4, 2])
    assert check.explanations[0][0].mistake == "uses weights that are updated already, with the learning rate 0.5"
    assert check.equation == "BP2"


def test_a_sum_over_softmax_units_is_not_a_sum_over_everything():
    """Both are 0, but one has a number for each example."""
    program = compile_program(
        edit("rows", *TABLE["mistakes"]["BP3-axis"]["rows"]),
        lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        np.ones_like,
    )
    check = check_backprop(program, [3, 2], output_activation="softmax", cost="cross_entropy")
    assert name_explanations(check) == [("BP3-axis",)]


def test_a_right_program_passes_in_both_layouts_and_reductions():
    check = check_backprop(write(), [3, 4, 2])
    assert check.passed
    assert (check.equation, check.explanations, check.notes) == (None, [], [])
    assert [(row["layer"], row["parameter"]) for row in check.rows] == [(1, "w"), (1, "b"), (2, "w"), (2, "b")]
    lines = repr(check).splitlines()
    assert lines[0] == "Backpropagation in 3-4-2: sigmoid; quadratic cost, mean over the examples in rows"
    assert lines[-1] == "passed"
    assert check_backprop(write(layout="columns"), [3, 4, 2], layout="columns").passed
    assert check_backprop(write("BP1"), [3, 4, 2], reduction="sum").passed


def test_the_report_names_equation_layer_mistake_and_remedy():
    check = check_backprop(write("BP2"), [3, 4, 5, 2])
    assert not check.passed
    assert (check.equation, check.wrong) == ("BP2", [(1, "w"), (1, "b"), (2, "w"), (2, "b")])
    assert repr(check).splitlines()[-4:] == [
        "FAILED: w and b of layers 1 and 2",
        "The likely mistake: BP2 leaves out σ′(z)",
        "  BP2, the error of a hidden layer: δ = (wᵀ δ of the next layer) ⊙ σ′(z)",
        "  To fix it, multiply by σ′(z) of the layer whose δ it is",
    ]


def test_the_other_reduction_is_an_argument_not_only_a_mistake():
    check = check_backprop(write("BP1"), [3, 4, 2])  # right for the sum
    assert 'or say reduction="sum"' in repr(check)
    check = check_backprop(write(), [3, 4, 2], reduction="sum")
    assert 'or say reduction="mean"' in repr(check)


def test_mistakes_that_need_equal_widths_to_run_are_named_too():
    check = check_backprop(write("BP2-layer"), [3, 4, 2])
    assert (check.equation, name_explanations(check)) == ("BP2", [("BP2-layer",)])
    assert isinstance(check.error, ValueError)
    assert "The table is that of another network, 4-4-4, which shows the mistake" in check.notes
    assert any(
        re.match(r"With the sizes 3-4-2 and 5 examples in rows, your function raised ValueError in line 1\d", note)
        for note in check.notes
    )


def test_a_mistake_that_only_raises_is_named():
    """σ′ of the identity is 1, in any layer, but of its shape."""
    program = compile_program(edit("rows", *TABLE["mistakes"]["BP2-z-layer"]["rows"]), lambda z: z, np.ones_like)
    check = check_backprop(program, [3, 4, 2], activation="identity", output_activation="identity")
    assert (name_explanations(check), len(check.wrong)) == ([("BP2-z-layer",)], 0)


def test_mistakes_hidden_by_layers_of_one_unit_are_found():
    check = check_backprop(write("BP4-transposed"), [1, 1, 1])
    assert name_explanations(check) == [("BP4-transposed",)]
    assert check.notes == ["The table is that of another network, 5-3-4, which shows the mistake"]


ERROR = "output_error(zs[l], activations[-1], y)"


@pytest.mark.parametrize(
    ("names", "edits"),
    [
        (("BP1-sign", "BP3"), []),
        (("BP2", "BP4-twice"), []),
        (("BP1", "BP1-slope"), [(f"{ERROR} / m", "activations[-1] - y")]),
        (("BP1-half", "BP1-sign"), [(ERROR, f"-2 * {ERROR}")]),
        (
            ("BP3", "BP3-sum"),
            [(f"{ERROR} / m", ERROR), ("activations[l]\n", "activations[l] / m\n"), ("delta.sum(axis=0)", "delta[0]")],
        ),
    ],
)
def test_two_mistakes_are_named_together(names, edits):
    program = compile_program(edit("rows", *edits)) if edits else write(*names)
    check = check_backprop(program, [3, 4, 2])
    assert set(names) in [set(explanation) for explanation in name_explanations(check)]
    equations = sorted({name[:3] for name in names})
    assert check.equation == " and ".join(equations)
    assert f"Together: {equations[0]} " in repr(check)


@pytest.mark.slow
@pytest.mark.parametrize("fresh", TABLE["fresh"], ids=lambda fresh: fresh["words"])
def test_a_fresh_mistake_is_located_and_named(fresh):
    check = check_backprop(compile_program(edit("rows", *fresh["edits"])), [3, 5, 2])
    assert (check.passed, check.equation) == (False, fresh["equation"])
    assert fresh["words"] in repr(check)


def draw_case(kind, sizes, **settings):
    (case,) = Cases(Network(sizes, **settings).value.model, settings, "rows", "mean", np.random.default_rng(0)).draw(
        kind, 1
    )
    return case


def find_wrong(case, lines):
    """Which gradients are wrong with these lines, those of the weights or of the biases; None if shapes do not fit."""
    try:
        gradients = [*backpropagate(case, lines)][::-1]
    except ValueError:
        return None
    pairs = [(name, yours, right) for layers in zip(gradients, case.right) for name, yours, right in zip("wb", *layers)]
    return {name for name, yours, right in pairs if yours.shape != right.shape or not np.allclose(yours, right)}


def test_each_row_of_the_table_runs_and_changes_what_its_equation_computes():
    cases = [
        draw_case("deep", [4, 4], activation="silu", output_activation="softmax", cost="cross_entropy"),
        draw_case("shallow", [4, 4, 1], activation="silu", output_activation="softplus"),
    ]
    assert [find_wrong(case, {}) for case in cases] == [set(), set()]
    for mistake in [*FREQUENT, *RARE]:
        parts = {"BP3": {"b"}, "BP4": {"w"}}.get(mistake.equation, {"w", "b"})
        assert parts in [find_wrong(case, mistake.lines) for case in cases], mistake


def test_a_program_for_one_depth_only_passes():
    """Run with more layers, one fills in the first two, and another has the activation of the outputs too early."""
    source = ROWS.replace("act(l, zs[l])", "(act(l, zs[l]) if l else np.tanh(zs[l]))")
    source = source.replace("slope(l, zs[l])", "(slope(l, zs[l]) if l else 1 - np.tanh(zs[l]) ** 2)")
    settings = {"activation": "tanh", "output_activation": "sigmoid"}
    assert check_backprop(compile_program(source), [3, 4, 2], **settings).passed
    source = ROWS.replace("L = len(x), len(weights)", "L = len(x), 2")
    source = source.replace("[None] * L, [None] * L", "[0 * w for w in weights], [0 * b for b in biases]")
    assert check_backprop(compile_program(source), [3, 4, 2]).passed


def test_a_mistake_in_the_forward_pass_is_called_so():
    check = check_backprop(write("forward-biases"), [3, 4, 2])
    assert check.equation == "forward"
    assert repr(check).splitlines()[-3:] == [
        "The likely mistake: the forward pass forgets the biases",
        "  the forward pass, z = w a + b and a = σ(z), layer by layer",
        "  To fix it, add b: z = w a + b",
    ]


@pytest.mark.slow
def test_an_unknown_mistake_in_the_forward_pass_may_be_one_of_bp1():
    unknown = compile_program(ROWS.replace("+ biases[l]", "+ biases[l] ** 2"))
    assert check_backprop(unknown, [3, 4, 2]).equation == "BP1 or forward"


OTHER_EDITS = {
    "BP1": ("y) / m", "y) / m * 1.7", "All layers are wrong: look at the error of the outputs, BP1"),
    "BP2": (
        "* slope(l, zs[l])",
        "* slope(l, zs[l]) ** 3",
        "The last layer is right, so BP1 is too: look at BP2",
    ),
    "BP3": ("delta.sum(axis=0)", "delta.sum(axis=0) ** 3", "Only biases are wrong, so the errors δ are right"),
    "BP4": ("activations[l]\n", "np.cos(activations[l])\n", "Only weights are wrong, so the errors δ are right"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_EDITS)
def test_unknown_mistakes_are_located_by_what_is_right(name):
    old, new, sentence = OTHER_EDITS[name]
    assert old in ROWS
    check = check_backprop(compile_program(ROWS.replace(old, new)), [3, 4, 2])
    assert (check.equation, check.explanations) == (name[:3], [])
    assert check.notes[0] == "No mistake known here, nor two together, gives these gradients"
    assert check.notes[1].startswith(sentence)
    assert any(note.startswith("Each wrong gradient is 1.7 times the right one") for note in check.notes) == (
        name == "BP1"
    )


@pytest.mark.parametrize(
    ("layers", "note"),
    [
        ([0, 1, 2], "w and b of layers 1, 2 and 3 are 0: were they filled in, or is δ 0 there?"),
        ([2], "w and b of layer 3 are 0: were they filled in?"),
    ],
)
@pytest.mark.slow
def test_gradients_that_were_not_filled_in_blame_no_equation(layers, note):
    end = f"for l in {layers}: gw[l], gb[l] = 0 * gw[l], 0 * gb[l]\n    return gw, gb"
    check = check_backprop(write(end=end), [3, 4, 2, 2])
    assert (check.equation, check.notes) == (None, [note])


@pytest.mark.parametrize(
    ("line", "equation", "sentence"),
    [
        (
            "gw[1], gb[1] = np.cos(gw[1]), np.cos(gb[1])",
            "BP3 and BP4",
            "In layer 1 a gradient is right, so the errors δ of all layers are: look at BP3 and BP4 of layer 2",
        ),
        (
            "gw[0], gb[0], gb[1] = np.cos(gw[0]), np.cos(gb[0]), np.cos(gb[1])",
            None,
            "More than one equation seems to be wrong. Begin at the outputs: fix layer 2, and check again",
        ),
    ],
)
@pytest.mark.slow
def test_a_right_gradient_clears_the_errors_of_its_layer_and_the_later_ones(line, equation, sentence):
    check = check_backprop(write(end=f"{line}; return gw, gb"), [3, 4, 2, 2])
    assert (check.equation, check.notes[1]) == (equation, sentence)


def test_a_program_for_another_cost_or_activation_is_recognized():
    program = compile_program(ROWS, np.tanh, lambda a: 1 - a**2)
    check = check_backprop(program, [3, 4, 2], output_activation="tanh")
    assert check.notes == ['Your gradients are right for activation="tanh": give this argument if you mean that']
    twice = compile_program(ROWS.replace("/ m", "/ m * 2 / y.shape[1]"))
    assert 'right for cost="mse"' in check_backprop(twice, [3, 4, 3]).notes[0]


@pytest.mark.parametrize(
    ("end", "note"),
    [
        ("return gb, gw", "Your function returns the biases' gradients first, as the book's backprop does"),
        ("return gw[::-1], gb[::-1]", "Your function returns the layers in the reverse order"),
        (
            "return gb[::-1], gw[::-1]",
            "Your function returns the biases' gradients first, and the layers in the reverse",
        ),
        ("return list(zip(gw, gb))", "Your function returns a pair for each layer; return two lists"),
        ("return gw, [b[None] for b in gb]", "The numbers are right, but not the shapes"),
        (
            "weights[1] *= 2; x += 1; return gw, gb",
            "Your function changes its arguments: the weights of layer 2 and x.",
        ),
        ("return [w * np.nan for w in gw], gb", "There are NaN or infinity among your gradients"),
        ("pass", "Your function returns None; end it with a return of two lists"),
        (
            "return gw",
            "Your function returns an array of shape (4, 3) for the weights; return a list",
        ),
        ("return gw[0]", "Your function returns an array of shape (4, 3); return two lists"),
        ("return gw, gb, x", "Your function returns a list of 3; return two lists"),
        (
            "return [w for w in gw], gb[1:]",
            "Your function returns a list of 1 for the biases; return a list",
        ),
        ("return [None, gw[1]], gb", "The gradient of the weights of layer 1 is None: it was not filled in"),
        ("return gw, ['b', gb[1]]", "The gradient of the biases of layer 1 is no array of numbers: 'b'"),
        ("return [gw[0] + 0j, gw[1]], gb", "The gradient of the weights of layer 1 is complex; return real numbers"),
        (
            "return gw, [gb[0], list(gb[1] + 1j)]",
            "The gradient of the biases of layer 2 is complex; return real numbers",
        ),
        ("raise KeyError(L)", "With the sizes 3-4-2 and 5 examples in rows, your function raised KeyError in line 1"),
    ],
)
def test_results_that_are_not_as_agreed_fail_with_a_sentence(end, note):
    check = check_backprop(write(end=end), [3, 4, 2])
    assert not check.passed
    assert check.explanations == []
    assert any(sentence.startswith(note) for sentence in check.notes), check.notes
    assert check.notes[0] in repr(check)


@pytest.mark.parametrize(
    ("names", "end", "equation", "note"),
    [
        ((), "return [w.ravel() for w in gw], gb", None, "The numbers are right, but not the shapes"),
        (
            ("BP1-sign",),
            "return gw, [b[None] for b in gb]",
            "BP1",
            "The shapes of the biases' gradients are wrong, too: they must be those of the biases",
        ),
        (("BP4-twice",), "return [w.ravel() for w in gw], gb", "BP4", "The shapes of the weights' gradients are wrong"),
        pytest.param(
            *((), "return [w.sum() for w in gw], gb", "BP4"),
            "The shapes of w of layers 1 and 2 are wrong: give them those",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *((), "return [1.0, 2.0], [3.0, 4.0]", None),
            "The shapes of w and b of layers 1 and 2 are wrong: give them those of the weights and biases",
            marks=pytest.mark.slow,
        ),
        (("BP3-all",), "return gw, gb", "BP3", None),  # the mistake itself makes the shapes
        (("BP4-transposed",), "return gw, gb", "BP4", None),
    ],
)
def test_wrong_shapes_are_told_apart_from_wrong_numbers(names, end, equation, note):
    check = check_backprop(write(*names, end=end), [3, 4, 2])
    assert check.equation == equation
    assert [(name,) for name in names] == name_explanations(check)
    assert not check.notes if note is None else any(sentence.startswith(note) for sentence in check.notes), check.notes


def test_the_wrong_order_does_not_hide_a_mistake():
    check = check_backprop(write("BP3-twice", end="return gb, gw"), [3, 4, 2])
    assert name_explanations(check) == [("BP3-twice",)]
    assert check.notes[0].startswith("Your function returns the biases' gradients first")


@pytest.mark.slow
def test_sums_that_are_kept_between_calls_are_noticed_and_blame_no_equation():
    kept = []

    def backward(weights, biases, x, y):
        gw, gb = write()(weights, biases, x, y)
        if kept and kept[-1].shape != gb[0].shape:
            kept.clear()  # so they begin at 0 where the network is another one
        kept.append(gb[0])
        return gw, [sum(kept), *gb[1:]]

    check = check_backprop(backward, [3, 4, 2])
    assert not check.passed
    assert check.notes == [
        "Called again with the same arguments, your function returns other numbers: it keeps something between calls, "
        "such as sums that do not begin at 0, or draws random numbers"
    ]
    assert (check.equation, check.wrong) == (None, [(1, "b")])


def test_a_signature_that_does_not_fit_is_named():
    check = check_backprop(lambda weights, biases: None, [3, 2])
    assert check.notes[0].endswith("It is called as backward(weights, biases, x, y)")
    assert isinstance(check.error, TypeError)
    assert check.rows == []


@pytest.mark.parametrize(("layout", "other"), [("rows", "columns"), ("columns", "rows")])
def test_a_program_for_the_other_layout_is_told_the_argument(layout, other):
    check = check_backprop(write(layout=other), [3, 4, 2], layout=layout)
    assert check.notes[-1] == f'It runs with layout="{other}", examples in {other}: give this argument if you mean that'
    assert "your function raised ValueError" in check.notes[0]
    neither = check_backprop(write("BP2-transposed"), [3, 4, 2])
    assert not any("It runs with" in note for note in neither.notes)


@pytest.mark.parametrize(
    ("backward", "options", "message"),
    [
        (3, {}, "backward=3 must be a function of (weights, biases, x, y)"),
        (write(), {"layout": "cols"}, "layout='cols' is unknown; choose from 'rows', 'columns'"),
        (write(), {"reduction": "average"}, "reduction='average' is unknown; choose from 'mean', 'sum'"),
        (write(), {"seed": 1.5}, "seed=1.5 must be None or a whole number of at least 0"),
    ],
)
def test_wrong_arguments_raise(backward, options, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        check_backprop(backward, [3, 2], **options)


def test_the_report_on_the_page_is_that_of_its_program():
    """Apart from the errors of right gradients, which are rounding."""
    page = (Path(__file__).parents[1] / "docs" / "learn" / "check-your-backprop.md").read_text()
    shown = page.partition("shows the report:\n\n```text\n")[2].partition("\n```")[0].splitlines()
    report = repr(check_backprop(write("BP3-sum"), [3, 4, 2])).splitlines()
    assert [line.split() for line in shown if "right " not in line] == [
        line.split() for line in report if "right " not in line
    ]
