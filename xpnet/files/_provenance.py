"""The provenance of a network in a file: checked, as it may come from anywhere."""

from typing import Any

from xpnet._checks import require, require_keys
from xpnet.value import MOST_RUNS, Provenance, Run

# The type of a value, as `Run` names it -> what it must be
EXPECTED = {str: "a text", bool: "true or false", int: "a whole number of at least 0", float: "a number of at least 0"}


def parse_provenance(plain: Any) -> Provenance:
    """Make the provenance of plain values, which may come from a file; refuse others.

    Examples
    --------
    >>> parse_provenance({"seed": 7, "init": "zeros", "runs": [], "edited": False, "earlier": 0})
    Provenance(seed=7, init='zeros', runs=(), edited=False, earlier=0)
    """
    require_keys("provenance", plain, Provenance._fields)
    seed, init, runs, edited, earlier = (plain[name] for name in Provenance._fields)
    require(_is_seed(seed), "provenance.seed", seed, "null, a whole number of at least 0, or a list of them")
    require(isinstance(init, str | None), "provenance.init", init, "null or a text")
    is_list = isinstance(runs, list) and len(runs) <= MOST_RUNS
    require(is_list, "provenance.runs", runs, f"a list of at most {MOST_RUNS}")
    require(isinstance(edited, bool), "provenance.edited", edited, "true or false")
    require(type(earlier) is int and earlier >= 0, "provenance.earlier", earlier, EXPECTED[int])
    seed = tuple(seed) if isinstance(seed, list) else seed
    runs = tuple(_parse_run(f"provenance.runs[{i}]", run) for i, run in enumerate(runs))
    return Provenance(seed, init, runs, edited, earlier)


def _parse_run(place: str, plain: Any) -> Run:
    require_keys(place, plain, Run._fields)
    for name, kind in Run.__annotations__.items():
        value = plain[name]
        fits = type(value) is kind and (kind in (str, bool) or value >= 0)  # NaN is not
        require(fits, f"{place}.{name}", value, EXPECTED[kind])
    return Run(**plain)


def _is_seed(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(item) is int and item >= 0 for item in value)
    return value is None or (type(value) is int and value >= 0)
