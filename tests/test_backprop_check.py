"""check_backprop: what its report says of the programs of learners, and how it reads any result."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from programs.oracle import sigmoid

from xpnet import ArgumentError, Network
from xpnet.learn import check_backprop
from xpnet.learn._cases import Cases, Form
from xpnet.learn._mistakes import FREQUENT, RARE, backpropagate

TABLE = tomllib.loads((Path(__file__).parent / "backprop_mistakes.toml").read_text(encoding="utf-8"))


def write(*edits, end="return gw, gb", layout="rows", act=sigmoid, slope=lambda a: a * (1 - a)):
    """A program for the quadratic cost with mistakes, which are of the table or edits, that ends in its own way."""
    source = TABLE["general"][layout]["source"]
    for edit in edits:
        for old, new in TABLE["mistakes"][edit][layout] if isinstance(edit, str) else [edit]:
            assert old in source, old
            source = source.replace(old, new)
    names = {
        "np": np,
        "act": lambda l, z: act(z),
        "slope": lambda l, z: slope(act(z)),
        "slope_of_a": lambda l, a: slope(a),
        "output_slope": lambda z: slope(act(z)),
        "cost_gradient": lambda a, y: a - y,
        "output_error": lambda z, a, y: (a - y) * slope(act(z)),
    }
    exec(source.replace("return gw, gb", end), names)
    return names["backward"]


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def assert_reports(program, equation, *lines, sizes=(3, 4, 2), **options):
    """A check fails with this equation. Its report has these lines, or beginnings…, besides formulas."""
    check = check_backprop(program, sizes, **options)
    told = [line for line in repr(check).partition("\nFAILED")[2].splitlines()[1:] if not line.startswith("  ")]
    assert (check.passed, check.equation, len(told)) == (False, equation, len(lines)), told
    for line, right in zip(told, lines):
        assert line.startswith(right.removesuffix("…")) if right.endswith("…") else line == right, told
    return check


# A program with mistakes, options, the equation, and the report
ERROR, BP3 = "output_error(zs[l], activations[-1], y)", "delta.sum(axis=0)"
UPDATED = "; weights = [*weights[:l], weights[l] - 0.5 * gw[l], *weights[l + 1 :]]\n"
DEEP, DEEPER, UNKNOWN = (
    {"sizes": [3, 4, 2, 2]},
    {"sizes": [3, 4, 4, 2]},
    "No mistake known here, nor two together, gives these gradients",
)
RAISED = "With the sizes 3-4-2 and 5 examples in rows, your function raised ValueError in line 1…"
REPORTS = [
    (
        *(write(("@ activations[l]\n", "@ activations[l + (l < L - 1)]\n")), DEEPER, "BP4"),
        ["The likely mistake: BP4, in the hidden layers only, is off by one layer…"],
    ),
    (  # the mean only in the loop
        write("BP1", end="return [w / m for w in gw[:-1]] + gw[-1:], [b / m for b in gb[:-1]] + gb[-1:]"),
        *(DEEPER, "BP3 and BP4"),
        [
            "Together: BP3, in the last layer only, does not divide by the number of examples…",
            "and BP4, in the last layer only, does not divide by the number of examples…",
        ],
    ),
    (
        *(write(("activations[l]\n", f"activations[l]{UPDATED}")), DEEPER, "BP2"),
        ["The likely mistake: BP2 uses weights that are updated already, with the learning rate 0.5"],
    ),
    (  # the sums over the units and over everything are 0, but one has a number for each example
        write("BP3-axis", act=softmax, slope=np.ones_like),
        *({"sizes": [3, 2], "output_activation": "softmax", "cost": "cross_entropy"}, "BP3"),
        ["The likely mistake: BP3 sums over the units, not over the examples"],
    ),
    (
        *(write("BP2-layer"), {}, "BP2"),
        [
            "The likely mistake: BP2 is off by one layer: it takes the weights of the layer itself…",
            "The table is that of another network, 4-4-4, which shows the mistake",
            RAISED,
        ],
    ),
    (
        *(write("BP2-transposed"), {}, "BP2"),
        [
            "The likely mistake: BP2 multiplies by w where wᵀ belongs…",
            "The table is that of another network, 4-4-4, which shows the mistake",
            RAISED,
        ],
    ),
    (
        *(write("forward-transposed"), {"sizes": [3, 2]}, "forward"),
        [
            "The likely mistake: the forward pass multiplies by wᵀ where w belongs…",
            "The table is that of another network, 4-4, which shows the mistake",
            "With the sizes 3-2 and 4 examples in rows, your function raised ValueError…",
        ],
    ),
    (
        *(write("BP4-transposed"), {"sizes": [1, 1, 1]}, "BP4"),
        [
            "The likely mistake: BP4 gives the transposed gradient…",
            "The table is that of another network, 5-3-4, which shows the mistake",
        ],
    ),
    (
        *(write("BP1-sign", "BP3"), {}, "BP1 and BP3"),
        ["Together: BP1 has the wrong sign…", "and BP3 takes the δ of the first example…"],
    ),
    (
        *(write("BP2", "BP4-twice"), {}, "BP2 and BP4"),
        ["Together: BP2 leaves out σ′(z)", "and BP4 divides by the number of examples again"],
    ),
    (
        *(write((f"{ERROR} / m", "activations[-1] - y")), {}, "BP1"),
        ["Together: BP1 does not divide by the number of examples…", "and BP1 leaves out σ′(z)"],
    ),
    (
        *(write((ERROR, f"-2 * {ERROR}")), {}, "BP1"),
        ["The likely mistake: BP1 multiplies by -2, as by a learning rate"],
    ),
    (
        write((f"{ERROR} / m", ERROR), ("activations[l]\n", "activations[l] / m\n"), (BP3, "delta[0]")),
        *({}, "BP3"),
        ["The likely mistake: BP3 keeps the first example only, instead of the sum"],
    ),
    (
        *(write(act=np.tanh, slope=lambda a: 1 - a**2), {"output_activation": "tanh"}, "forward"),
        ["The likely mistake: the forward pass takes tanh and its slope in place of σ and σ′"],
    ),
    (
        *(write((ERROR, "np.sign(activations[-1] - y) / y.shape[1] * slope(l, zs[l])")), {}, "BP1"),
        ["The likely mistake: BP1 is that of the mean absolute error, mae"],
    ),
    (
        *(write(("/ m", "/ m * 2 / y.shape[1]")), {"sizes": [3, 4, 3]}, "BP1"),
        ["The likely mistake: BP1 is 2 / n_out times as large, as for the mean of (a − y)² over the outputs"],
    ),
    (
        *(write("BP1-sign", end="return gw, [b[None] for b in gb]"), {}, "BP1"),
        [
            "The likely mistake: BP1 has the wrong sign…",
            "The shapes of the biases' gradients are wrong, too: they must be those of the biases",
        ],
    ),
    (
        *(write("BP4-twice", end="return [w.ravel() for w in gw], gb"), {}, "BP4"),
        ["The likely mistake: BP4 divides by the number…", "The shapes of the weights' gradients are wrong, too…"],
    ),
    # Mistakes that make the shapes, or do not fit each other
    (write("BP3-all"), {}, "BP3", ["The likely mistake: BP3 sums over the units too"]),
    (write("BP4-transposed"), {}, "BP4", ["The likely mistake: BP4 gives the transposed gradient…"]),
    (
        *(write("BP3-twice", end="return gb, gw"), {}, "BP3"),
        [
            "The likely mistake: BP3 divides by the number of examples again",
            "Your function returns the biases' gradients first…",
        ],
    ),
    (
        *(write(layout="columns"), {}, None),
        [
            "With the sizes 3-4-2 and 5 examples in rows, your function raised ValueError…",
            'It runs with layout="columns", examples in columns: give this argument if you mean that',
        ],
    ),
    (
        *(write(), {"layout": "columns"}, None),
        [
            "With the sizes 3-4-2 and 5 examples in columns, your function raised ValueError…",
            'It runs with layout="rows", examples in rows: give this argument if you mean that',
        ],
    ),
]
# Those that are not in the table: where they are follows from what is right
UNKNOWN_REPORTS = [
    (write(("+ biases[l]", "+ biases[l] ** 2")), {}, "BP1 or forward", [UNKNOWN, "All layers are wrong: look at the…"]),
    (
        *(write(("y) / m", "y) / m * 1.7")), {}, "BP1"),
        [
            "The likely mistake: BP1 multiplies by 1.7, as by a learning rate",
        ],
    ),
    (
        *(write(("* slope(l, zs[l])", "* slope(l, zs[l]) ** 3")), {}, "BP2"),
        [UNKNOWN, "The last layer is right, so BP1 is too: look at BP2…"],
    ),
    (write((BP3, f"{BP3} ** 3")), {}, "BP3", [UNKNOWN, "Only biases are wrong, so the errors δ are right…"]),
    (
        *(write(("activations[l]\n", "np.cos(activations[l])\n")), {}, "BP4"),
        [UNKNOWN, "Only weights are wrong, so the errors δ are right…"],
    ),
    (
        *(write(end="return [0 * w for w in gw], [0 * b for b in gb]"), DEEP, None),
        ["w and b of layers 1, 2 and 3 are 0: were they filled in, or is δ 0 there?…"],
    ),
    (
        *(write(end="gw[2], gb[2] = 0 * gw[2], 0 * gb[2]; return gw, gb"), DEEP, None),
        ["w and b of layer 3 are 0: were they filled in?…"],
    ),
    (
        *(write(end="gw[1], gb[1] = np.cos(gw[1]), np.cos(gb[1]); return gw, gb"), DEEP, "BP3 and BP4"),
        [UNKNOWN, "In layer 1 a gradient is right, so the errors δ of all layers are: look at BP3 and BP4 of layer 2"],
    ),
    (
        write(end="gw[0], gb[0], gb[1] = np.cos(gw[0]), np.cos(gb[0]), np.cos(gb[1]); return gw, gb"),
        *(DEEP, None),
        [UNKNOWN, "More than one equation seems to be wrong. Begin at the outputs: fix layer 2, and check again"],
    ),
    (
        *(write(end="return [1.0001 * w for w in gw], gb"), {}, "BP4"),
        [
            "The likely mistake: BP4 multiplies by 1.0001, as by a learning rate",
        ],
    ),
    (
        *(write(end="return [w.sum() for w in gw], gb"), {}, "BP4"),
        [UNKNOWN, "The shapes of w of layers 1 and 2 are wrong: give them those…"],
    ),
    (
        *(write(end="return [1.0, 2.0], [3.0, 4.0]"), {}, None),
        [UNKNOWN, "The shapes of w and b of layers 1 and 2 are wrong: give them those of the weights and biases"],
    ),
    # Two of the table, of which the second takes the first layer's gradient, wrong by the first, to the last
    (
        *(write("BP2", end="return gw, [gb[0]] * L"), DEEPER, "BP2 and BP3"),
        ["Together: BP2 leaves out σ′(z)", "and BP3 gives the gradient of the first layer for each…"],
    ),
]


@pytest.mark.parametrize(
    ("program", "options", "equation", "lines"),
    [*REPORTS, *(pytest.param(*report, marks=pytest.mark.slow) for report in UNKNOWN_REPORTS)],
)
def test_the_report_names_and_locates_mistakes(program, options, equation, lines):
    assert_reports(program, equation, *lines, **options)


@pytest.mark.parametrize(
    ("end", "line"),
    [
        ("return gb, gw", "Your function returns the biases' gradients first, as the book's backprop does…"),
        ("return gw[::-1], gb[::-1]", "Your function returns the layers in the reverse order…"),
        (
            "return gb[::-1], gw[::-1]",
            "Your function returns the biases' gradients first, and the layers in the reverse…",
        ),
        ("return 0.5, gw, gb", "Your function returns a number too, such as the cost…"),
        ("return [g for pair in zip(gw, gb) for g in pair]", "Your function returns one list; return two…"),
        ("return list(zip(gw, gb))", "Your function returns a pair for each layer; return two lists…"),
        ("return gw, [b[None] for b in gb]", "The numbers are right, but not the shapes…"),
        ("return [w.ravel() for w in gw], gb", "The numbers are right, but not the shapes…"),
        (
            "weights[1] *= 2; x += 1; return gw, gb",
            "Your function changes its arguments: the weights of layer 2 and x.…",
        ),
        ("return [w * np.nan for w in gw], gb", "There are NaN or infinity among your gradients…"),
        ("pass", "Your function returns None; end it with a return of two lists…"),
        (
            "return gw",
            "Your function returns an array of shape (4, 3) for the weights; return a list…",
        ),
        ("return gw[0]", "Your function returns an array of shape (4, 3); return two lists…"),
        ("return gw, gb, x", "Your function returns a list of 3; return two lists…"),
        (
            "return [w for w in gw], gb[1:]",
            "Your function returns a list of 1 for the biases; return a list…",
        ),
        ("return [None, gw[1]], gb", "The gradient of the weights of layer 1 is None: it was not filled in"),
        ("return gw, ['b', gb[1]]", "The gradient of the biases of layer 1 is no array of numbers: 'b'"),
        ("return [gw[0] + 0j, gw[1]], gb", "The gradient of the weights of layer 1 is complex; return real numbers"),
        (
            "return gw, [gb[0], list(gb[1] + 1j)]",
            "The gradient of the biases of layer 2 is complex; return real numbers",
        ),
        ("raise KeyError(L)", "With the sizes 3-4-2 and 5 examples in rows, your function raised KeyError in line 1…"),
    ],
)
def test_results_that_are_not_as_agreed_fail_with_a_sentence(end, line):
    assert_reports(write(end=end), None, line)


def test_a_signature_that_does_not_fit_is_named():
    line = "With the sizes 3-2 and 4 examples in rows, your function raised TypeError: …"
    check = assert_reports(lambda weights, biases: None, None, line, sizes=[3, 2])
    assert "It is called as backward(weights, biases, x, y)" in check.notes[0]
    assert isinstance(check.error, TypeError)
    assert check.rows == []


def test_a_mistake_that_only_raises_is_named():
    """σ′ of the identity is 1, in any layer, but of its shape."""
    lines = [
        "The likely mistake: BP2 is off by one layer: it takes σ′(z)…",
        "The table is that of another network, 4-4-4, for which your function runs",
        RAISED,
    ]
    options = {"activation": "identity", "output_activation": "identity"}
    check = assert_reports(write("BP2-z-layer", act=lambda z: z, slope=np.ones_like), "BP2", *lines, **options)
    assert check.wrong == []
    assert isinstance(check.error, ValueError)


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


def test_a_mistake_in_the_forward_pass_is_called_so():
    check = check_backprop(write("forward-biases"), [3, 4, 2])
    assert check.equation == "forward"
    assert repr(check).splitlines()[-3:] == [
        "The likely mistake: the forward pass forgets the biases",
        "  the forward pass, z = w a + b and a = σ(z), layer by layer",
        "  To fix it, add b: z = w a + b",
    ]


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
        "such as sums that do not begin at 0, or draws random numbers: turn dropout off"
    ]
    assert (check.equation, check.wrong) == (None, [(1, "b")])


@pytest.mark.slow
@pytest.mark.parametrize("fresh", TABLE["fresh"], ids=lambda fresh: fresh["words"])
def test_a_fresh_mistake_is_located_and_named(fresh):
    check = check_backprop(write(*fresh["edits"]), [3, 5, 2])
    assert (check.passed, check.equation) == (False, fresh["equation"])
    assert fresh["words"] in repr(check)


def draw_case(kind, sizes, **settings):
    (case,) = Cases(
        Network(sizes, **settings).value.model, settings, Form("rows"), "mean", np.random.default_rng(0)
    ).draw(kind, 1)
    return case._replace(earlier=case._replace(x=case.x[::-1] + 1, y=case.y[::-1] + 1))


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


def turn(arrays):
    return [array.T for array in arrays]


def test_labels_are_accepted_for_several_sigmoids_as_for_a_softmax():
    def with_labels(right):
        return lambda weights, biases, x, y: right(weights, biases, x, np.eye(len(biases[-1]))[y])

    check = check_backprop(with_labels(write()), [3, 4, 2])
    assert (check.passed, check.title.endswith("in rows, labels")) == (True, True)
    ((mistake,),) = check_backprop(with_labels(write(("* slope(l, zs[l])", ""))), [3, 4, 2]).explanations
    assert (mistake.equation, mistake.mistake) == ("BP2", "leaves out σ′(z)")
    for output in ({}, {"output_activation": "identity"}):  # one output has no labels, and numbers have none
        check = check_backprop(with_labels(write()), [3, 4, 1 + len(output)], **output)
        assert "raised IndexError" in str(check)


def test_weights_that_are_transposed_labels_and_dicts_are_accepted():
    right = write(act=softmax, slope=np.ones_like)

    def backward(weights, biases, x, y):
        assert y.shape == x.shape[:1]
        assert weights[0].shape == (x.shape[1], len(biases[0]))
        gw, gb = right(turn(weights), biases, x, np.eye(len(biases[-1]))[y])
        return {"dW1": turn(gw)[0], "db1": gb[0]}

    check = check_backprop(backward, [3, 2], output_activation="softmax", cost="cross_entropy")
    assert check.passed
    assert check.title.endswith("in rows, weights (n_in, n_out), labels")


def test_flat_biases_beside_columns_are_accepted():
    columns = write(layout="columns")

    def backward(weights, biases, x, y):
        gw, gb = columns(weights, [b[:, np.newaxis] for b in biases], x, y)
        return {"dW2": gw[1], "dW1": gw[0], "db2": gb[1][:, 0], "db1": gb[0][:, 0]}

    check = check_backprop(backward, [3, 4, 2], layout="columns")
    assert check.passed
    assert check.title.endswith("in columns, biases (n_out,)")


def test_one_sum_in_all_places_of_the_biases_is_named_beside_weights_that_are_transposed():
    everything = write("BP3-all")

    def backward(weights, biases, x, y):
        gw, gb = everything(turn(weights), biases, x, y)
        return turn(gw), [sums + 0 * b for sums, b in zip(gb, biases)]

    assert_reports(backward, "BP3", "The likely mistake: BP3 sums over the units too")


def test_a_mistake_in_one_layer_and_one_of_an_earlier_call_are_named():
    for edit, named in [
        (("* slope(l, zs[l])", "* (1 if l == 1 else slope(l, zs[l]))"), ("BP2", "leaves out σ′(z)", "in layer 2")),
        (("+ biases[l]", "+ biases[l] * (l > 0)"), ("forward", "forgets the biases", "in layer 1")),
    ]:
        (mistakes,) = check_backprop(write(edit), [3, 4, 5, 2]).explanations
        assert [(m.equation, m.mistake, m.place) for m in mistakes] == [named]
    kept = {}
    earlier = ("activations[l]\n", "kept.setdefault((l, *(w.shape for w in weights), x.shape), activations[l])\n")
    program = write(earlier)
    program.__globals__["kept"] = kept
    assert "earlier call" in repr(check_backprop(program, [3, 4, 2]))


def test_a_program_for_one_depth_only_passes():
    """Run with more layers, one fills in the first two, and another has the activation of the outputs too early."""
    tanh = ("act(l, zs[l])", "(act(l, zs[l]) if l else np.tanh(zs[l]))")
    slope = ("slope(l, zs[l])", "(slope(l, zs[l]) if l else 1 - np.tanh(zs[l]) ** 2)")
    settings = {"activation": "tanh", "output_activation": "sigmoid"}
    assert check_backprop(write(tanh, slope), [3, 4, 2], **settings).passed
    zeros = ("[None] * L, [None] * L", "[0 * w for w in weights], [0 * b for b in biases]")
    assert check_backprop(write(("L = len(x), len(weights)", "L = len(x), 2"), zeros), [3, 4, 2]).passed


def test_a_program_that_raises_for_other_sizes_passes_with_a_note():
    check = check_backprop(write(end="assert x.shape != (4, 4); return gw, gb"), [3, 4, 2])
    assert check.passed
    assert isinstance(check.error, AssertionError)
    assert check.notes[-1].endswith(". For the sizes that you gave it runs")


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
