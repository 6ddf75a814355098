"""check_backprop names mistakes as people write them: sixty, of which thirty were put aside when it was written.

`python tests/test_backprop_mistakes.py` counts how often each is located and named in 100 random networks.
"""

import numpy as np
import pytest
from backprop_mistakes import (
    LAYOUTS,
    MISPRINTS,
    PROGRAMS,
    PUT_ASIDE,
    compile_program,
    draw_question,
    is_located,
    is_named,
)

from xpnet.learn import check_backprop

SUMS = {"rows": lambda x: len(x), "columns": lambda x: x.shape[1]}


def count_located_and_named(name, times):
    """Count in how many random networks, among those in which it changes something, a mistake is located, and named."""
    misprint, rng = MISPRINTS[name], np.random.default_rng([7, sorted(MISPRINTS).index(name)])
    located = named = made = 0
    while made < times:
        sizes, settings = draw_question(misprint, rng)
        program = compile_program(misprint.style, settings["activation"], misprint)
        seed = int(rng.integers(1000))
        check = check_backprop(program, sizes, layout=LAYOUTS[misprint.style], seed=seed, **settings)
        if check.passed and not check.notes:
            continue
        made += 1
        named += is_named(misprint, check)
        located += is_named(misprint, check) or is_located(misprint, check)
    return located, named


def check_right_program(style, seed):
    """Check a right program of a style in a random network: as it is, for the sum, or in float32."""
    rng, layout = np.random.default_rng([5, seed]), LAYOUTS[style]
    activation = str(rng.choice(["sigmoid", "tanh"]))
    n_layers = 3 if style == "two" else int(rng.integers(2, 6))
    square = rng.random() < 0.3
    sizes = [int(rng.integers(1, 7))] * n_layers if square else rng.integers(1, 8, size=n_layers).tolist()
    kind, program = rng.choice(["plain", "sum", "float32"]), compile_program(style, activation)

    def backward(weights, biases, x, y):
        if kind == "float32":
            weights, biases = ([np.float32(array) for array in arrays] for arrays in (weights, biases))
            x, y = np.float32(x), np.float32(y)
        gw, gb = program(weights, biases, x, y)
        factor = SUMS[layout](x) if kind == "sum" else 1
        return [factor * g for g in gw], [factor * g for g in gb]

    settings = {"activation": activation, "output_activation": activation}
    reduction = "sum" if kind == "sum" else "mean"
    return check_backprop(backward, sizes, layout=layout, reduction=reduction, seed=seed, **settings)


def test_half_of_the_mistakes_were_put_aside():
    assert (len(MISPRINTS), len(PUT_ASIDE)) == (60, 30)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUT_ASIDE))
def test_a_mistake_that_was_put_aside_is_located_and_named(name):
    assert count_located_and_named(name, 1) == (1, 1)


@pytest.mark.slow  # there are many; the program below takes 100 networks for each
@pytest.mark.parametrize("name", MISPRINTS)
def test_each_mistake_is_located_and_named(name):
    assert count_located_and_named(name, 2) == (2, 2)


@pytest.mark.parametrize("style", PROGRAMS)
def test_no_right_program_is_accused(style):
    for seed in range(5):
        check = check_right_program(style, seed)
        assert check.passed, check
        assert not check.notes


if __name__ == "__main__":
    passed = sum(check_right_program(style, seed).passed for style in PROGRAMS for seed in range(100))
    print(f"{passed} of {100 * len(PROGRAMS)} right programs pass")
    for name in MISPRINTS:
        located, named = count_located_and_named(name, 100)
        place = "put aside" if name in PUT_ASIDE else ""
        print(f"{name}: located in {located}, named in {named} of 100 {place}")
