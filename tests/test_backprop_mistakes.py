"""check_backprop names mistakes as people write them: those of backprop_mistakes.toml, which tells where they are from.

`python tests/test_backprop_mistakes.py 100` counts how often each is named in 100 random networks.
"""

import re
import sys
import tomllib
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from xpnet import Network
from xpnet.core.activations import ACTIVATIONS
from xpnet.core.costs import COSTS, Fused
from xpnet.learn import check_backprop

TABLE = tomllib.loads((Path(__file__).parent / "backprop_mistakes.toml").read_text(encoding="utf-8"))
PROGRAMS, MISPRINTS = TABLE["programs"], {misprint["name"]: misprint for misprint in TABLE["misprints"]}
MISTAKES = TABLE["mistakes"]
NOT_FOR_SUMS = ("BP1", "BP3-sum", "BP4-sum")  # nothing to forget
NEED_SIGMA = [name for name in MISTAKES if name.startswith(("forward-list", "forward-linear"))]
NEED_OUTPUT_SLOPE = [name for name in MISTAKES if re.fullmatch("(BP1|forward-.*)-(slope|of-[az])", name)]
IN_LAYERS = [name for name in MISTAKES if name.startswith(("BP3", "BP4")) and name not in NOT_FOR_SUMS]


def replace(source, edits):
    for old, new in edits:
        assert old in source, old
        source = source.replace(old, new, 1)
    return source


def run(program, /, **names):
    names["np"] = np
    exec(program, names)
    return names["backward"]


# Misprints in seven styles


def compile_misprint(style, activation, misprint):
    """Run the source of a program, with a misprint if one is given; for softmax outputs in its own words."""
    source = replace(PROGRAMS[style]["source"], misprint["edits"] if misprint else ())
    if activation == "sigmoid":
        return run(source, act=lambda z: 1 / (1 + np.exp(-z)), slope=lambda a: a * (1 - a))
    return run(source, act=np.tanh, slope=lambda a: 1 - a**2)


def draw_question(misprint, rng):
    """Draw sizes and settings of a network for a misprint."""
    needs = misprint.get("needs", ())
    named = next((name for name in ("sigmoid", "tanh") if name in needs), None)
    activation = named or str(rng.choice(["sigmoid", "tanh"]))
    fewest = 4 if "deeper" in needs else 3 if "deep" in needs else 2
    n_layers = 3 if misprint["style"] == "two" else int(rng.integers(fewest, 6))
    square = "square" in needs or rng.random() < 0.25
    sizes = [int(rng.integers(2, 7))] * n_layers if square else rng.integers(1, 8, size=n_layers).tolist()
    settings = {"activation": activation, "output_activation": activation}
    if "cross_entropy" in needs:
        settings["cost"] = "cross_entropy"
    if "softmax" in needs:
        settings |= {"output_activation": "softmax", "cost": "cross_entropy"}
        sizes[-1] = max(sizes[-1], 2)
    if "one output" in needs:
        sizes[-1] = 1
    return sizes, settings


def is_named(misprint, check):
    """Tell whether a mistake or a note of the report says the misprint, not only the table or a formula."""
    mistakes = [f"{mistake.equation} {mistake.mistake}" for mistakes in check.explanations for mistake in mistakes]
    text = "\n".join([*mistakes, *check.notes]).replace("−", "-")
    return re.search(misprint["words"], text, re.IGNORECASE) is not None


def count_located_and_named(name, times):
    """Count in how many random networks, among those in which it changes something, it is located, and named."""
    misprint, rng = MISPRINTS[name], np.random.default_rng([7, sorted(MISPRINTS).index(name)])
    located = named = made = 0
    while made < times:
        sizes, settings = draw_question(misprint, rng)
        program = compile_misprint(misprint["style"], settings["activation"], misprint)
        layout = PROGRAMS[misprint["style"]]["layout"]
        check = check_backprop(program, sizes, layout=layout, seed=int(rng.integers(1000)), **settings)
        if not check.passed or check.notes:
            made += 1
            named += is_named(misprint, check)
            located += is_named(misprint, check) or check.equation in misprint["equation"]
    return located, named


@pytest.mark.slow  # there are many; the program below takes more networks for each
@pytest.mark.parametrize("name", MISPRINTS)
def test_each_misprint_is_located_and_named(name):
    assert count_located_and_named(name, 1) == (1, 1)


def check_right_program(style, seed):
    """Check a right program of a style in a random network: as it is, for the sum, or in float32."""
    rng, layout = np.random.default_rng([5, seed]), PROGRAMS[style]["layout"]
    sizes, settings = draw_question({"style": style}, rng)
    program, kind = compile_misprint(style, settings["activation"], None), rng.choice(["plain", "sum", "float32"])

    def backward(weights, biases, x, y):
        if kind == "float32":
            weights, biases = ([np.float32(array) for array in arrays] for arrays in (weights, biases))
            x, y = np.float32(x), np.float32(y)
        gw, gb = program(weights, biases, x, y)
        factor = x.shape[layout == "columns"] if kind == "sum" else 1
        return [factor * g for g in gw], [factor * g for g in gb]

    reduction = "sum" if kind == "sum" else "mean"
    return check_backprop(backward, sizes, layout=layout, reduction=reduction, seed=seed, **settings)


@pytest.mark.parametrize("style", PROGRAMS)
def test_no_right_program_is_accused(style):
    for seed in range(3):
        check = check_right_program(style, seed)
        assert check.passed, check
        assert not check.notes


# Frequent mistakes, with every activation and cost


def edit(layout, reduction, name):
    """Make a mistake in the source of a program."""
    edits = dict(MISTAKES[name][layout]) if name else {}
    if reduction == "sum":  # a program without 1/m; "BP1-twice" is then the mean in place of the sum
        edits[" / m\n"] = " / m\n" if name == "BP1-twice" else "\n"
    return replace(TABLE["general"][layout]["source"], edits.items())


def edit_layers(layout, reduction, name, layers):
    """Make a mistake in BP3 or BP4 in the source of a program, in the hidden layers or in the last one only."""
    condition = {
        "rows": {"hidden": "l < L - 1", "last": "l == L - 1"},
        "columns": {"hidden": "l > 1", "last": "l == 1"},
    }
    return "\n".join(
        line if line == wrong else f"{wrong} if {condition[layout][layers]} else {line.partition(' = ')[2]}"
        for line, wrong in zip(*(edit(layout, reduction, n).splitlines() for n in (None, name)), strict=True)
    )


def compile_general(source, model):
    """Run the source, with the activations and the cost of a model."""
    sigmas, output = model.sigmas, model.output

    def act(l, z):
        return sigmas[l].value(z, np)

    def slope(l, z):
        return sigmas[l].pullback(np.ones_like(z), z, act(l, z), np)

    def slope_of_a(l, a):
        return sigmas[l].pullback(np.ones_like(a), a, a, np)

    def output_slope(z):
        a = act(-1, z)
        return a * (1 - a) if sigmas[-1].name == "softmax" else slope(-1, z)

    def cost_gradient(a, y):
        return output.cost.gradient(a, y, np)

    def output_error(z, a, y):
        return a - y if isinstance(output, Fused) else cost_gradient(a, y) * slope(-1, z)

    return run(source, **locals())


def draw_settings(rng):
    """Draw sizes, activations and a cost that go together."""
    elementwise = [name for name in ACTIVATIONS if name != "softmax"]
    cost = COSTS[rng.choice(list(COSTS))]
    output = str(rng.choice(cost.outputs or elementwise))
    sizes = rng.integers(1, 9, size=rng.integers(2, 6)).tolist()
    outputs = cost.outputs_per_target
    sizes[-1] = max(2 if output == "softmax" else 1, -(-sizes[-1] // outputs) * outputs)
    return sizes, {"activation": str(rng.choice(elementwise)), "output_activation": output, "cost": cost.name}


def check_random(name, rng, layers="all"):
    """Check a program with this mistake in a random network; None where it cannot be made."""
    sizes, settings = draw_settings(rng)
    layout = str(rng.choice(["rows", "columns"]))
    reduction = "mean" if name in NOT_FOR_SUMS else str(rng.choice(["mean", "sum"]))
    model = Network(sizes, **settings).value.model
    if name in NEED_OUTPUT_SLOPE and isinstance(model.output, Fused):
        return None  # there is no σ′
    if name in NEED_SIGMA and (len(sizes) < 3 or settings["activation"] == "identity"):
        return None  # there is no hidden σ to leave out
    if layers != "all" and len(sizes) == 2:
        return None  # the last layer is the only one
    source = edit(layout, reduction, name) if layers == "all" else edit_layers(layout, reduction, name, layers)
    program, seed = compile_general(source, model), int(rng.integers(1000))
    return check_backprop(program, sizes, layout=layout, reduction=reduction, seed=seed, **settings)


def count_named(name, times, rng, layers="all"):
    """Count how often a mistake alone is named, among the networks in which it changes a gradient."""
    named = made = 0
    equation, words = MISTAKES[name]["equation"], MISTAKES[name]["words"]
    while made < times:
        check = check_random(name, rng, layers)
        if check is not None and not check.passed:
            made += 1
            is_of_sum = "sum over" in check.title and name.endswith("-twice")
            place = {"all": "", "hidden": "in the hidden layers", "last": "in the last layer"}[layers]
            right = (equation, "divides by the number of examples" if is_of_sum else words, place)
            named += [[(m.equation, m.mistake, m.place) for m in e] for e in check.explanations] == [[right]]
    return named


@pytest.mark.slow  # there are many
@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_named(name):
    assert count_named(name, 1, np.random.default_rng(1)) == 1


@pytest.mark.parametrize(("name", "layers"), [*zip(IN_LAYERS, cycle(["hidden", "last"]))])
def test_a_mistake_in_one_of_two_lines_is_named(name, layers):
    assert count_named(name, 1, np.random.default_rng(4), layers) == 1


def test_right_programs_for_any_cost_pass():
    rng = np.random.default_rng(3)
    for _ in range(8):
        assert check_random(None, rng).passed


if __name__ == "__main__":
    times = int(sys.argv[1])
    passed = sum(check_right_program(style, seed).passed for style in PROGRAMS for seed in range(100))
    passed += sum(check_random(None, np.random.default_rng([2, i])).passed for i in range(100))
    print(f"{passed} of {100 * len(PROGRAMS) + 100} right programs pass")
    for name, misprint in MISPRINTS.items():
        located, named = count_located_and_named(name, times)
        aside = "put aside" if "put_aside" in misprint else ""
        print(f"{name}: located in {located}, named in {named} of {times}", aside)
    for number, name in enumerate(MISTAKES):
        print(f"{name}: named in {count_named(name, times, np.random.default_rng([3, number]))} of {times}")
    for number, name in enumerate(IN_LAYERS):
        for layers in ("hidden", "last"):
            named = count_named(name, times, np.random.default_rng([4, number]), layers)
            print(f"{name}, {layers} layers only: named in {named} of {times}")
