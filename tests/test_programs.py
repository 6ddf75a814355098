"""Random programs over the public interface, beside an oracle: always the same ones, a fixed number on each place.

`python tests/run_programs.py` runs others; see CONTRIBUTING.md.
"""

import host_cupy
import pytest
from helpers import LEFT_OUT
from programs import oracle
from programs.generate import repeat_line, run, shrink, write
from run_programs import main

BACKENDS = {"strict-device1": "strict", host_cupy.NAME: "cupy-on-host"}  # of places with other names
QUICK = {("numpy", "networks"): 10}  # how many plain pytest runs too
NUMBERS = {  # of programs of each kind on each place
    "numpy": {"networks": 80, "estimators": 14, "doors": 6},
    "torch": {"networks": 20, "estimators": 3, "doors": 1},
    "strict-device1": {"networks": 10, "estimators": 2, "doors": 2},
    "jax": {"networks": 2},
    host_cupy.NAME: {"networks": 15, "doors": 3},
}
PROGRAMS = [
    pytest.param(place, kind, seed, marks=[] if seed < QUICK.get((place, kind), 0) else [pytest.mark.slow])
    for place, numbers in NUMBERS.items()
    if place not in LEFT_OUT
    for kind, number in numbers.items()
    for seed in range(number)
]


@pytest.mark.everywhere
@pytest.mark.parametrize(("place", "kind", "seed"), PROGRAMS)
def test_a_random_program_keeps_what_is_promised(place, kind, seed):
    program, backend = write(kind, seed), BACKENDS.get(place, place)
    failure = run(program, backend)
    if failure is not None:
        program, failure = shrink(program, failure, backend)
        pytest.fail(f"{failure}\nwith {failure.log}\n{repeat_line(program, backend)}", pytrace=False)


@pytest.mark.slow
def test_a_mistake_is_found_and_the_line_repeats_it(monkeypatch, capsys):
    def step_too_far(g, v, s, t, lr, momentum=0.0, nesterov=False):
        return -1.001 * lr * g, (v, s)

    monkeypatch.setitem(oracle.STEPS, "SGD", step_too_far)
    assert main(["--programs", "3"]) == 1
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("python tests/run_programs.py --repeat"))
    assert "failures" in out
    assert main(line.split()[2:]) == 1
    monkeypatch.undo()
    assert main(line.split()[2:]) == 0
