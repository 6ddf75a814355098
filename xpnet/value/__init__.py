"""The value of a network: its whole state at one moment."""

from xpnet.value._assigned import (
    FITTED_TO_LAYERS,
    assign_layers,
    assign_scaling,
    check_calibration,
    check_generator,
    check_parts,
    check_state,
    check_value,
    parse_layers,
    split_pairs,
)
from xpnet.value._history import (
    MOST_RUNS,
    History,
    Provenance,
    Run,
    make_table,
    name_of,
)
from xpnet.value._places import (
    change_optimizer,
    copy_to_device,
    copy_to_host,
    copy_value,
    init_optimizer,
    init_value,
)
from xpnet.value._single_rows import compute_activations
from xpnet.value._value import FITTED_TO_WEIGHTS, NO_CALL, Moment, Objective, Value

__all__ = [
    "FITTED_TO_LAYERS",
    "FITTED_TO_WEIGHTS",
    "MOST_RUNS",
    "NO_CALL",
    "History",
    "Moment",
    "Objective",
    "Provenance",
    "Run",
    "Value",
    "assign_layers",
    "assign_scaling",
    "change_optimizer",
    "check_calibration",
    "check_generator",
    "check_parts",
    "check_state",
    "check_value",
    "compute_activations",
    "copy_to_device",
    "copy_to_host",
    "copy_value",
    "init_optimizer",
    "init_value",
    "make_table",
    "name_of",
    "parse_layers",
    "split_pairs",
]
