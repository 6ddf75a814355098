"""What a network is at one moment."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.value._assigned import FITTED_TO_LAYERS as FITTED_TO_LAYERS
    from xpnet.value._assigned import assign_biases as assign_biases
    from xpnet.value._assigned import assign_layers as assign_layers
    from xpnet.value._assigned import assign_scaling as assign_scaling
    from xpnet.value._assigned import assign_weights as assign_weights
    from xpnet.value._assigned import parse_biases as parse_biases
    from xpnet.value._assigned import parse_weights as parse_weights
    from xpnet.value._assigned import split_pairs as split_pairs
    from xpnet.value._history import History as History
    from xpnet.value._html import make_table as make_table
    from xpnet.value._moment import NO_CALL as NO_CALL
    from xpnet.value._moment import Moment as Moment
    from xpnet.value._parts import check_calibration as check_calibration
    from xpnet.value._parts import check_generator as check_generator
    from xpnet.value._parts import check_parts as check_parts
    from xpnet.value._parts import check_state as check_state
    from xpnet.value._parts import check_value as check_value
    from xpnet.value._places import change_optimizer as change_optimizer
    from xpnet.value._places import copy_to_device as copy_to_device
    from xpnet.value._places import copy_to_host as copy_to_host
    from xpnet.value._places import copy_value as copy_value
    from xpnet.value._places import init_optimizer as init_optimizer
    from xpnet.value._places import init_value as init_value
    from xpnet.value._provenance import MOST_RUNS as MOST_RUNS
    from xpnet.value._provenance import Provenance as Provenance
    from xpnet.value._provenance import Run as Run
    from xpnet.value._provenance import name_of as name_of
    from xpnet.value._value import FITTED_TO_WEIGHTS as FITTED_TO_WEIGHTS
    from xpnet.value._value import Objective as Objective
    from xpnet.value._value import Value as Value

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
    "assign_biases",
    "assign_layers",
    "assign_scaling",
    "assign_weights",
    "change_optimizer",
    "check_calibration",
    "check_generator",
    "check_parts",
    "check_state",
    "check_value",
    "copy_to_device",
    "copy_to_host",
    "copy_value",
    "init_optimizer",
    "init_value",
    "make_table",
    "name_of",
    "parse_biases",
    "parse_weights",
    "split_pairs",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_history": ("History",),
        "_html": ("make_table",),
        "_assigned": (
            "assign_biases",
            "assign_layers",
            "assign_scaling",
            "assign_weights",
            "FITTED_TO_LAYERS",
            "parse_biases",
            "parse_weights",
            "split_pairs",
        ),
        "_parts": (
            "check_calibration",
            "check_generator",
            "check_parts",
            "check_state",
            "check_value",
        ),
        "_places": (
            "change_optimizer",
            "copy_value",
            "init_optimizer",
            "init_value",
            "copy_to_device",
            "copy_to_host",
        ),
        "_moment": ("NO_CALL", "Moment"),
        "_provenance": (
            "MOST_RUNS",
            "Provenance",
            "Run",
            "name_of",
        ),
        "_value": (
            "FITTED_TO_WEIGHTS",
            "Objective",
            "Value",
        ),
    },
)
